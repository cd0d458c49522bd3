package pairing_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/config/clearmlenv"
	"groupsync/internal/guard"
	"groupsync/internal/match"
	"groupsync/internal/preflight"
	"groupsync/internal/preflight/pairing"
	"groupsync/internal/reconcile"
	"groupsync/internal/source/keycloak"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target/clearml"
	"groupsync/internal/target/clearmltest"
)

// site is a real Keycloak, a stand-in for ClearML, and the configuration.
type site struct {
	realm   *keycloaktest.Realm
	clearml *clearmltest.Server

	rules   match.Options
	limits  guard.Limits
	options pairing.Options
	lost    string // why the guards' memory could not be read
}

// user returns an account that is in those groups.
func user(name string, groups ...string) keycloaktest.User {
	return keycloaktest.User{Username: name, Email: name + "@example.com", FirstName: name, LastName: "Lee", Groups: groups}
}

func newSite(t *testing.T, spec keycloaktest.Spec) *site {
	t.Helper()
	s := &site{
		realm: keycloaktest.Shared(t).NewRealm(t, spec), clearml: clearmltest.New(t, clearmltest.Options{}),
		rules:  match.Options{Include: []string{"*"}, Provider: "keycloak"},
		limits: guard.Limits{MaxRemovals: 10, MaxAdminGrants: 3, Window: time.Hour, MaxRatio: 1, MaxGone: 10, GoneGrace: time.Hour},
	}
	s.options = pairing.Options{URL: s.realm.Server.URL, Realm: s.realm.Name, ClientID: "clearml", Claim: "groups", NeedsGroup: clearmlenv.Off}
	return s
}

// signIn adds ClearML users. ClearML keeps the ids of their accounts.
func (s *site) signIn(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		s.known(name, map[string]any{"sub": s.realm.UserID(t, name)})
	}
}

// known adds a ClearML user. told is what ClearML keeps of the sign-in.
func (s *site) known(name string, told map[string]any) {
	s.clearml.AddUser(clearmltest.User{ID: "cm-" + name, Name: name, Email: name + "@example.com", Providers: map[string]any{"keycloak": told}})
}

// look makes all checks and returns the findings of the named ones as text, without the links.
func (s *site) look(t *testing.T, names ...string) (text string, r preflight.Report) {
	t.Helper()
	src, err := keycloak.New(keycloak.Config{URL: s.realm.Server.URL, Realm: s.realm.Name, ClientID: s.realm.ClientID, ClientSecret: func() (string, error) { return s.realm.Secret, nil }})
	must(t, err)
	tgt, err := clearml.New(clearml.Config{URL: s.clearml.URL, Keys: func() (clearml.Keys, error) { return clearml.Keys{Access: "access", Secret: "secret"}, nil }})
	must(t, err)
	rules, err := match.Compile(s.rules)
	must(t, err)
	s.options.Open = func() (pairing.Surveyor, string) {
		return reconcile.New(src, tgt, reconcile.Options{Rules: rules, Limits: s.limits}), s.lost
	}
	return printed(t, pairing.Checks(s.options, src, tgt, nil, nil), names...)
}

func printed(t *testing.T, checks []preflight.Check, names ...string) (text string, r preflight.Report) {
	t.Helper()
	var b strings.Builder
	r = preflight.Run(t.Context(), checks, func(f preflight.Finding) {
		for _, name := range names {
			if f.Check == name {
				b.WriteString(strings.ReplaceAll(f.Line(), "    see docs/check.md#"+f.Check+"\n", ""))
			}
		}
	})
	return b.String(), r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestPairingOnKeycloak(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a real Keycloak")
	}
	for _, tt := range []struct {
		name  string
		spec  keycloaktest.Spec
		build func(*testing.T, *site)
		check string
		want  string
	}{
		{"which group feeds which", keycloaktest.Spec{Groups: []string{"/lab/ops", "/ml", "/sales"}, Users: []keycloaktest.User{user("ann", "/ml"), user("bob", "/lab/ops")}},
			func(t *testing.T, s *site) {
				s.signIn(t, "ann", "bob")
				s.clearml.AddTeam("ops", "cm-bob")
				s.clearml.AddTeam("research", "cm-ann")
				s.clearml.AddTeam("guests")
				s.rules.Mapping = map[string][]string{"ml": {"research"}}
				s.rules.AdminGroups, s.rules.AdminRole = []string{"sales"}, "boss"
			}, "pairing-groups", `✔ 3 ClearML groups are fed by 3 Keycloak groups: ops from /lab/ops; research from /ml; Admins from /sales, the role boss
✔ 1 Keycloak group has no ClearML group of the same name, so groupsync skips them: lab
✔ 1 ClearML group is fed by no Keycloak group, so groupsync leaves their members alone: guests
`},
		{"more feeds than are named", keycloaktest.Spec{Groups: strings.Split("/a1 /a2 /a3 /a4 /a5 /a6 /a7 /a8 /a9 /b1 /b2", " "), Users: []keycloaktest.User{user("ann", "/a1")}},
			func(t *testing.T, s *site) {
				s.signIn(t, "ann")
				for _, name := range strings.Split("a1 a2 a3 a4 a5 a6 a7 a8 a9 b1 b2", " ") {
					s.clearml.AddTeam(name)
				}
			}, "pairing-groups", `✔ 11 ClearML groups are fed by 11 Keycloak groups
`},
		{"nothing feeds anything", keycloaktest.Spec{Groups: []string{"/x"}, Users: []keycloaktest.User{user("ann", "/x")}},
			func(t *testing.T, s *site) { s.signIn(t, "ann") }, "pairing-groups", `! no Keycloak group feeds a ClearML group, so groupsync changes nothing
    make a ClearML group with the name of a Keycloak group, or set groups.mapping, and check groups.include
✔ 1 Keycloak group has no ClearML group of the same name, so groupsync skips them: x
`},
		{"groups that are left out or cannot be written", keycloaktest.Spec{Groups: []string{"/ops", "/secret", "/fixed"}, Users: []keycloaktest.User{user("ann", "/ops")}},
			func(t *testing.T, s *site) {
				s.signIn(t, "ann")
				s.clearml.AddTeam("ops")
				s.clearml.AddTeam("secret")
				s.clearml.AddGroup(clearmltest.Group{ID: "fixed", Name: "fixed"})
				s.rules.Exclude = []string{"secret"}
			}, "pairing-groups", `✔ 1 ClearML group is fed by 1 Keycloak group: ops from /ops
✔ 1 ClearML group is fed by no Keycloak group, so groupsync leaves their members alone: secret
✔ 1 Keycloak group is left out by groups.include and groups.exclude: secret
! 1 ClearML group has members that cannot be changed (assignable is false), so groupsync does not write them: fixed
    let the members be changed in ClearML, or leave the group out with groups.exclude
`},
		{"a role of a client that cannot be read", keycloaktest.Spec{Groups: []string{"/ops"}, Roles: []string{"app/boss"}, Users: []keycloaktest.User{user("ann", "/ops")}},
			func(t *testing.T, s *site) {
				s.signIn(t, "ann")
				s.clearml.AddTeam("ops")
				s.rules.AdminRole = "app/boss"
			}, "pairing-groups", `✘ reading the role "app/boss": the name means a role of a client, and groupsync cannot read the clients' roles. Give the service account of the client "groupsync" the role view-clients of realm-management
    correct this cause: a pass would fail for the same reason
`},
		{"without a survey nothing else is looked at", keycloaktest.Spec{Groups: []string{"/ops"}},
			func(t *testing.T, s *site) { s.rules.Mapping = map[string][]string{"ops": {"Admins"}} }, "pairing-people", `! groupsync did not make this check, because it could not survey both sides
    see the check pairing-groups
`},

		{"near misses", keycloaktest.Spec{Groups: []string{"/Data Science", "/devs", "/enginers", "/team-17", "/Ops", "/ops", "/fine"}, Users: []keycloaktest.User{user("ann", "/fine")}},
			func(t *testing.T, s *site) {
				s.signIn(t, "ann")
				for _, name := range []string{"data-science", "dev", "engineers", "team-18", "ops", "fine"} {
					s.clearml.AddTeam(name)
				}
				s.rules.Mapping = map[string][]string{"fine": {"fine", "team_18"}}
			}, "pairing-near-misses", `! the Keycloak group "Data Science" feeds nothing, and ClearML has "data-science". groupsync compares names exactly
    if both mean the same group, give both the same name, or set groups.mapping
! the Keycloak group "Ops" feeds nothing, and ClearML has "ops". groupsync compares names exactly
    if both mean the same group, give both the same name, or set groups.mapping
! the Keycloak group "devs" feeds nothing, and ClearML has "dev". groupsync compares names exactly
    if both mean the same group, give both the same name, or set groups.mapping
! the Keycloak group "enginers" feeds nothing, and ClearML has "engineers". groupsync compares names exactly
    if both mean the same group, give both the same name, or set groups.mapping
! groups.mapping gives "fine" the ClearML group "team_18", which does not exist, and ClearML has "team-18". groupsync compares names exactly
    correct the name in groups.mapping
`},
		{"more near misses than are named", keycloaktest.Spec{Groups: strings.Split("/Ada /Bob /Cyn /Dan /Eve /Fay", " "), Users: []keycloaktest.User{user("ann", "/Ada")}},
			func(t *testing.T, s *site) {
				s.signIn(t, "ann")
				for _, name := range strings.Split("ada bob cyn dan eve fay", " ") {
					s.clearml.AddTeam(name)
				}
			}, "pairing-near-misses", `! the Keycloak group "Ada" feeds nothing, and ClearML has "ada". groupsync compares names exactly
    if both mean the same group, give both the same name, or set groups.mapping
! the Keycloak group "Bob" feeds nothing, and ClearML has "bob". groupsync compares names exactly
    if both mean the same group, give both the same name, or set groups.mapping
! the Keycloak group "Cyn" feeds nothing, and ClearML has "cyn". groupsync compares names exactly
    if both mean the same group, give both the same name, or set groups.mapping
! the Keycloak group "Dan" feeds nothing, and ClearML has "dan". groupsync compares names exactly
    if both mean the same group, give both the same name, or set groups.mapping
! the Keycloak group "Eve" feeds nothing, and ClearML has "eve". groupsync compares names exactly
    if both mean the same group, give both the same name, or set groups.mapping
! not shown here: 1 more near miss
    groupsync --once --full lists the groups that feed nothing (no_target) and those that nothing feeds (no_source)
`},
		{"whole paths are near misses only of the same path", keycloaktest.Spec{Groups: []string{"/a/dev", "/lab/ops"}, Users: []keycloaktest.User{user("ann", "/a/dev")}},
			func(t *testing.T, s *site) {
				s.signIn(t, "ann")
				s.clearml.AddTeam("b/dev")
				s.clearml.AddTeam("ops")
				s.rules.FullPath = true
			}, "pairing-near-misses", `! the Keycloak group "/lab/ops" feeds nothing, and ClearML has "ops". groupsync compares names exactly
    if both mean the same group, give both the same name, or set groups.mapping
`},
		{"no near miss", keycloaktest.Spec{Groups: []string{"/ops", "/sales"}, Users: []keycloaktest.User{user("ann", "/ops")}},
			func(t *testing.T, s *site) {
				s.signIn(t, "ann")
				s.clearml.AddTeam("ops")
				s.clearml.AddTeam("research")
			}, "pairing-near-misses", `✔ every Keycloak group that feeds nothing has a name that clearly differs from the names of the ClearML groups
`},

		{"several Keycloak groups of one name", keycloaktest.Spec{Groups: []string{"/a/ops", "/b/ops", "/x/idle", "/y/idle"}, Users: []keycloaktest.User{user("ann", "/a/ops")}},
			func(t *testing.T, s *site) { s.signIn(t, "ann"); s.clearml.AddTeam("ops") }, "pairing-collisions", `! the Keycloak groups "/a/ops", "/b/ops" have one name in the claim, "ops". Everybody who is in one of them is in the ClearML group "ops"
    if only one of them is meant, rename the others. Anybody who may create a subgroup anywhere in Keycloak can create such a name
`},
		{"several Keycloak groups of the name that makes administrators", keycloaktest.Spec{Groups: []string{"/it/admins", "/guests/admins"}, Users: []keycloaktest.User{user("ann", "/it/admins")}},
			func(t *testing.T, s *site) { s.signIn(t, "ann"); s.rules.AdminGroups = []string{"admins"} }, "pairing-collisions", `✘ several Keycloak groups have the name "admins" of admins.groups: "/guests/admins", "/it/admins". At a login ClearML treats the members of each of these groups as administrators. groupsync makes nobody an administrator by this name, and removes no administrator who is in one of these groups
    rename the groups that are not meant. Until then write the path of the one that is meant into admins.groups, such as /guests/admins
`},
		{"the administrators are named by a path", keycloaktest.Spec{Groups: []string{"/it/admins", "/guests/admins"}, Users: []keycloaktest.User{user("ann", "/it/admins")}},
			func(t *testing.T, s *site) { s.signIn(t, "ann"); s.rules.AdminGroups = []string{"/it/admins"} }, "pairing-collisions", `✔ no two Keycloak groups that feed a ClearML group have one name in the claim, and no two ClearML groups that they would feed have one name
`},
		{"several ClearML groups of one name", keycloaktest.Spec{Groups: []string{"/ops", "/it"}, Users: []keycloaktest.User{user("ann", "/ops")}},
			func(t *testing.T, s *site) {
				s.signIn(t, "ann")
				s.clearml.AddTeam("ops")
				s.clearml.AddGroup(clearmltest.Group{ID: "ops-2", Name: "ops", Assignable: true})
				s.clearml.AddGroup(clearmltest.Group{ID: "admins-2", Name: "Admins", Assignable: true})
				s.rules.AdminGroups = []string{"it"}
			}, "pairing-collisions", `✘ ClearML has several user groups with the name "Admins", so groupsync changes none of them. Administrators are not synchronized
    rename all but one of them in ClearML
! ClearML has several user groups with the name "ops", so groupsync changes none of them
    rename all but one of them in ClearML
`},

		{"people of every kind", keycloaktest.Spec{DuplicateEmails: true, Groups: []string{"/ops"},
			Users: []keycloaktest.User{user("ann", "/ops"), user("bob", "/ops"), user("cyn", "/ops"), user("dan", "/ops"), {Username: "eve", Email: "twin@example.com", Groups: []string{"/ops"}}, {Username: "eve2", Email: "twin@example.com", Groups: []string{"/ops"}}, {Username: "fay", Email: "fay@example.com", Disabled: true}}},
			func(t *testing.T, s *site) {
				s.signIn(t, "ann", "fay")
				s.known("bob", map[string]any{"email": "x"})
				s.known("cyn", map[string]any{"sub": "11111111-2222-3333-4444-555555555555"})
				s.known("gus", map[string]any{"sub": "11111111-2222-3333-4444-666666666666"})
				s.clearml.AddUser(clearmltest.User{ID: "cm-eve", Email: "twin@example.com", Providers: map[string]any{"keycloak": map[string]any{"x": ""}}})
				s.clearml.AddTeam("ops", "cm-ann", "cm-bob", "cm-cyn", "cm-eve", "cm-gus", "cm-fay")
			}, "pairing-people", `✔ people of the groups: 2 matched by the id, 1 by the email, 1 pending (in Keycloak, and not yet signed in to ClearML), 1 ambiguous, 1 rekeyed, 1 gone from Keycloak, 1 disabled there, 0 others
! 1 ClearML user is ambiguous: several accounts could be this person, or several users could be one account. groupsync grants nothing to them. Their ids in ClearML: cm-eve
    look at each with groupsync explain ID, and correct the email in ClearML or in Keycloak, so that one account is left
! 1 ClearML user is rekeyed: the account whose id ClearML keeps is gone, and another account has the email. groupsync grants nothing to them. Their ids in ClearML: cm-cyn
    look at each with groupsync explain ID. If both accounts are of one person, let the person sign in to ClearML, and run the check again. If the email now belongs to another person, correct the old user in ClearML before that person signs in
`},
		{"nobody is matched by the id", keycloaktest.Spec{Groups: []string{"/ops"}, Users: []keycloaktest.User{user("ann", "/ops")}},
			func(t *testing.T, s *site) { s.known("ann", map[string]any{}); s.clearml.AddTeam("ops", "cm-ann") }, "pairing-people", `✔ people of the groups: 0 matched by the id, 1 by the email, 0 pending (in Keycloak, and not yet signed in to ClearML), 0 ambiguous, 0 rekeyed, 0 gone from Keycloak, 0 disabled there, 0 others
! nobody is matched by the id. Everybody is matched by the email alone, so groupsync treats a person whose email changes in Keycloak as gone
    look whether ClearML can keep the data of the sign-in provider (include_providers_info). Until then change an email on both sides
`},
		{"an email identifies nobody", keycloaktest.Spec{DuplicateEmails: true, Groups: []string{"/ops", "/crm"}, Users: []keycloaktest.User{user("kit", "/ops"), user("lou", "/ops")}},
			func(t *testing.T, s *site) {
				s.realm.AddStorage(t, "crm", "/crm", keycloaktest.ForeignThrown)
				s.signIn(t, "kit")
				s.known("lou", map[string]any{})
				s.clearml.AddTeam("ops", "cm-kit", "cm-lou")
			}, "pairing-people", `✔ people of the groups: 1 matched by the id, 1 by the email, 0 pending (in Keycloak, and not yet signed in to ClearML), 0 ambiguous, 0 rekeyed, 0 gone from Keycloak, 0 disabled there, 0 others
! 1 person is matched by the email only, the realm allows duplicate emails, and it has a federation, which can hide a second account. groupsync adds none of these people to a group. They get their groups at their next login to ClearML
    switch duplicate emails off in the realm, or look whether ClearML can keep the data of the sign-in provider (include_providers_info)
`},
		{"nobody signed in by that provider", keycloaktest.Spec{Groups: []string{"/ops"}, Users: []keycloaktest.User{user("ann", "/ops")}},
			func(t *testing.T, s *site) {
				s.signIn(t, "ann")
				s.clearml.AddTeam("ops", "cm-ann")
				s.rules.Provider = "oidc"
			}, "pairing-people", `✔ people of the groups: 0 matched by the id, 0 by the email, 1 pending (in Keycloak, and not yet signed in to ClearML), 0 ambiguous, 0 rekeyed, 0 gone from Keycloak, 0 disabled there, 1 others
! nobody is matched: oidc is the value of clearml.provider, but no user has signed in through that provider. Users signed in through keycloak
    set clearml.provider to the name that ClearML has for the sign-in through Keycloak
`},
		{"nobody has signed in yet", keycloaktest.Spec{Groups: []string{"/ops"}, Users: []keycloaktest.User{user("ann", "/ops"), user("bob")}},
			func(t *testing.T, s *site) { s.signIn(t, "bob"); s.clearml.AddTeam("ops") }, "pairing-people", `✔ people of the groups: 0 matched by the id, 0 by the email, 1 pending (in Keycloak, and not yet signed in to ClearML), 0 ambiguous, 0 rekeyed, 0 gone from Keycloak, 0 disabled there, 0 others
! nobody of the groups is matched, so groupsync changes nothing
    let somebody who is in one of the groups sign in to ClearML, and compare the emails of both sides
`},

		{"administrators would change", keycloaktest.Spec{Groups: []string{"/it"}, Roles: []string{"boss"},
			Users: []keycloaktest.User{user("ann", "/it"), user("bob", "/it"), user("cyn"), {Username: "dan", Email: "dan@example.com", Roles: []string{"boss"}}}},
			func(t *testing.T, s *site) {
				s.signIn(t, "ann", "bob", "cyn", "dan")
				s.clearml.SetMembers("Admins", "cm-cyn", "cm-bob")
				s.rules.AdminGroups, s.rules.AdminRole = []string{"it"}, "boss"
				s.limits.Floor, s.limits.MaxAdminGrants = 2, 1
			}, "pairing-admins", `! the first apply would make administrators (Admins): ann@example.com (by /it, withheld by the guard grants); dan@example.com (by role boss, withheld by the guard grants)
    look whether each of them should be one. If not, take them out of the Keycloak group or role that the finding names
! the first apply would remove administrators (Admins): cyn@example.com (not_member, withheld by the guard admins)
    if somebody should stay, put this person into the Keycloak group or role that makes administrators, or into users.protect
! after the first apply, 1 administrator who can sign in would be left in Admins, and admins.floor is 2. groupsync removes no administrator while fewer than admins.floor would be left
    add a person to a group of admins.groups, or give a person admins.role, or lower admins.floor
`},
		{"no administrator would change", keycloaktest.Spec{Groups: []string{"/it"}, Users: []keycloaktest.User{user("ann", "/it")}},
			func(t *testing.T, s *site) {
				s.signIn(t, "ann")
				s.clearml.SetMembers("Admins", "cm-ann")
				s.rules.AdminGroups, s.limits.Floor = []string{"it"}, 1
			}, "pairing-admins", `✔ the first apply would change no administrator
`},
		{"administrators are not configured", keycloaktest.Spec{Groups: []string{"/it"}, Users: []keycloaktest.User{user("ann", "/it")}},
			func(t *testing.T, s *site) { s.signIn(t, "ann"); s.clearml.AddTeam("it") }, "pairing-admins", `✔ the configuration names no administrators, so groupsync does not touch them
`},
		{"administrators cannot be written", keycloaktest.Spec{Groups: []string{"/it"}, Users: []keycloaktest.User{user("ann", "/it")}},
			func(t *testing.T, s *site) {
				s.signIn(t, "ann")
				s.clearml.AddGroup(clearmltest.Group{ID: clearmltest.AdminsID, Name: "Admins", System: true})
				s.rules.AdminGroups = []string{"it"}
			}, "pairing-admins", `! the configuration names administrators, and ClearML has no group that they could be written to
    see the check clearml-builtin
`},

		{"guards that would trip", keycloaktest.Spec{Groups: []string{"/ops", "/ml"}, Users: []keycloaktest.User{user("ann", "/ops"), user("bob", "/ml"), user("cyn"), user("dan", "/ml")}},
			func(t *testing.T, s *site) {
				s.signIn(t, "ann", "bob", "cyn", "dan")
				s.clearml.AddTeam("ops", "cm-bob", "cm-cyn")
				s.clearml.AddTeam("ml", "cm-dan")
				s.limits.MaxRemovals = 1
				s.rules.Mapping = map[string][]string{"Ops": {"ml"}}
				s.lost = "configmaps is forbidden"
			}, "pairing-guards", `! groupsync could not read the memory of earlier passes, so the guards decide here as in a first pass: configmaps is forbidden
    correct this cause. If the daemon can read its memory, its guards use the memory, and may withhold other changes than shown here
! the guard missing_source would trip. ml: the Keycloak group "Ops", named in groups.mapping, does not exist: the user group is frozen; create it or correct the configuration; did you mean "ops"?
    correct this cause: no approval lifts this guard
! the guard removals would withhold 2 changes. 2 removals are wanted and 0 were made within 1h0m0s, guards.max_removals is 1: all removals are withheld; if they are correct, approve them
    look at the changes with a dry run, groupsync --once. If they are right, approve them with the command that it prints
`},
		{"a guard that only waits", keycloaktest.Spec{Groups: []string{"/ops"}, Users: []keycloaktest.User{user("ann", "/ops")}},
			func(t *testing.T, s *site) {
				s.signIn(t, "ann")
				s.known("gus", map[string]any{"email": "x"})
				s.clearml.AddTeam("ops", "cm-ann", "cm-gus")
			}, "pairing-guards", `✔ the guard grace would withhold 1 change. 1 removals depend on an email alone, because ClearML keeps no account id of the person, and wait until every pass has wanted them for 1h0m0s; the first pass after that makes them. A later pass makes these changes, if its plan proposes them too
`},
		{"no guard would trip", keycloaktest.Spec{Groups: []string{"/ops"}, Users: []keycloaktest.User{user("ann", "/ops")}},
			func(t *testing.T, s *site) { s.signIn(t, "ann"); s.clearml.AddTeam("ops") }, "pairing-guards", `✔ no guard would withhold anything at the first apply, which would make 1 change
`},

		{"people whom the sign-in shuts out", keycloaktest.Spec{Groups: []string{"/ops", "/it", "/secret", "/other"}, Users: []keycloaktest.User{
			user("ann", "/ops"), user("bob", "/it"), user("cyn", "/secret"), user("dan", "/other"), user("eve"), user("fay", "/ops"), {Username: "gus", Email: "gus@example.com", Disabled: true}}},
			func(t *testing.T, s *site) {
				s.signIn(t, "ann", "bob", "cyn", "dan", "eve", "gus")
				s.known("ida", map[string]any{"email": "x"})
				s.clearml.AddUser(clearmltest.User{ID: "cm-local", Email: "local@example.com"})
				s.clearml.AddTeam("ops")
				s.clearml.AddTeam("secret")
				s.rules.AdminGroups, s.rules.Exclude = []string{"it"}, []string{"secret"}
				s.options.NeedsGroup = clearmlenv.On
			}, "pairing-shut-out", `! ClearML refuses people who are in no group that it knows (prohibit_user_signup_if_not_in_group). 2 people whom ClearML knows cannot sign in: dan@example.com, eve@example.com
    put them into a Keycloak group that has a ClearML group of the same name, or switch the setting off
`},
		{"nobody is shut out", keycloaktest.Spec{Groups: []string{"/ops"}, Users: []keycloaktest.User{user("ann", "/ops")}},
			func(t *testing.T, s *site) {
				s.signIn(t, "ann")
				s.clearml.AddTeam("ops")
				s.options.NeedsGroup = clearmlenv.Unknown
				s.clearml.SetConnections(map[string]any{"provider": "keycloak", "group_enabled": true, "group_prohibit_user_login_if_not_in_group": true})
			}, "pairing-shut-out", `✔ ClearML refuses people who are in no group that it knows (prohibit_user_signup_if_not_in_group). Everybody whom ClearML knows and who may sign in through Keycloak is in such a group
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, tt.spec)
			tt.build(t, s)
			got, _ := s.look(t, tt.check)
			got = strings.ReplaceAll(got, tt.check+": ", "")
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("%s\n-want +got\n%s\n%s", tt.check, d, got)
			}
		})
	}
}
