package reach_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/match"
	"groupsync/internal/preflight"
	"groupsync/internal/preflight/reach"
	"groupsync/internal/source"
	enterprise "groupsync/internal/target/clearml"
	"groupsync/internal/target/clearmltest"
)

// keycloakPeople takes the place of Keycloak in the check clearml-identity.
type keycloakPeople struct {
	asked    source.Person
	accounts []source.User
	byID     bool
	err      error
}

func (p *keycloakPeople) Accounts(_ context.Context, asked source.Person) ([]source.User, bool, error) {
	p.asked = asked
	return p.accounts, p.byID, p.err
}

// newClearML starts a stand-in with two people and one group.
func newClearML(t *testing.T, o clearmltest.Options) *clearmltest.Server {
	t.Helper()
	s := clearmltest.New(t, o)
	s.AddUser(clearmltest.User{ID: "ann", Name: "Ann", Email: "ann@example.com", Providers: map[string]any{"keycloak": map[string]any{"sub": "kc-ann"}}})
	s.AddUser(clearmltest.User{ID: "bob", Name: "Bob", Email: "bob@example.com"})
	s.AddTeam("team", "ann")
	return s
}

// clearmlChecks returns the checks of the stand-in. via is how administrators are made, and
// access and secret are the credentials.
func clearmlChecks(t *testing.T, s *clearmltest.Server, p *keycloakPeople, via match.Via, access, secret string) []preflight.Check {
	t.Helper()
	c, err := enterprise.New(enterprise.Config{
		URL: s.URL, RetryWait: time.Millisecond, Timeout: 5 * time.Second, AdminRole: via.Role(),
		Keys: func() (enterprise.Keys, error) { return enterprise.Keys{Access: access, Secret: secret}, nil },
	})
	must(t, err)
	return reach.ClearML(c, p, reach.ClearMLOptions{
		Address: reach.Address{Side: "clearml", URL: s.URL}, Provider: "keycloak", AdminsGroup: via.Group(), AdminsRole: via.Role(),
	})
}

// printed makes all checks and returns the findings as text. If there are names, it returns
// only those of the named checks.
func printed(t *testing.T, checks []preflight.Check, names ...string) string {
	t.Helper()
	var b strings.Builder
	preflight.Run(t.Context(), checks, func(f preflight.Finding) {
		if len(names) == 0 || slices.Contains(names, f.Check) {
			b.WriteString(strings.ReplaceAll(f.Line(), "    see docs/check.md#"+f.Check+"\n", ""))
		}
	})
	return b.String()
}

func TestAClearMLThatIsAsItShouldBe(t *testing.T) {
	s := newClearML(t, clearmltest.Options{})
	s.Inject(clearmltest.Fault{Call: "users.get_current_user", Data: `{"user": {"id": "x"}, "supported_features": ["experiments", "user_management"]}`})
	want := `✔ clearml-dns: the host is the IP address 127.0.0.1, so DNS is not needed
✔ clearml-tls: plain HTTP, which does not leave this machine
✔ clearml-calls: ClearML has auth.login, permissions.get_user_groups, users.get_all, users.get_service_users, permissions.add_or_update_user_group, permissions.get_access_rules, users.get_all_ex
✔ clearml-credentials: ClearML accepts the credentials, which are those of the user groupsync; a token lives 1h0m0s
✔ clearml-rights: the role "admin" may read user groups: ClearML shows 4 groups, 3 users and 4 memberships
✔ clearml-version: ClearML 3.30.0, API 2.34, feature set enterprise
✔ clearml-features: the credentials have the feature user_management
✔ clearml-builtin: the built-in groups are there: Admins, Users, Queue admins
✔ clearml-admins: the role admin and the membership of Admins agree: 0 users have both. Service accounts are not counted
✔ clearml-views: ClearML's two lists of the members agree for every user group
✔ clearml-identity: the user groupsync is a service account
`
	if d := cmp.Diff(want, printed(t, clearmlChecks(t, s, &keycloakPeople{}, match.ViaGroup, "access", "secret"))); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	for _, call := range s.Calls() {
		if strings.Contains(call, "add_or_update") {
			t.Errorf("the check made the call %s with credentials", call)
		}
	}
}

// TestWhatIsWrongInClearML makes each mistake in the stand-in.
func TestWhatIsWrongInClearML(t *testing.T) {
	const service = "make a service account with the rights of an administrator in ClearML, and give groupsync its credentials (since ClearML 3.25, with CLEARML__services__organization__allow_service_user_admins=true)\n"
	ownKeys := func(s *clearmltest.Server) {
		s.AddUser(clearmltest.User{ID: "boss", Name: "The Boss", Email: "boss@example.com", Role: "admin", Providers: map[string]any{"keycloak": map[string]any{"sub": "kc-boss"}}})
		s.SetMembers("Admins", "boss")
		s.SetCredentials("access", "secret", "boss")
	}
	for _, tt := range []struct {
		name    string
		options clearmltest.Options
		mistake func(*clearmltest.Server)
		people  keycloakPeople
		via     match.Via
		secret  string // empty: the right one
		check   string
		want    string
	}{
		{name: "the open server has no user groups", options: clearmltest.Options{Open: true}, check: "clearml-calls",
			want: `✘ clearml-calls: ClearML has no call permissions.get_user_groups
    check clearml.url, and that the server is ClearML Enterprise with user groups (its feature user_management)
! clearml-calls: ClearML has no call users.get_service_users, so groupsync does not know the service accounts
    name the service accounts in users.protect
✘ clearml-calls: ClearML has no call permissions.add_or_update_user_group
    check clearml.url, and that the server is ClearML Enterprise with user groups (its feature user_management)
! clearml-calls: ClearML has no call permissions.get_access_rules, so groupsync leavers does not know who is in an access rule
    look up in ClearML what the command groupsync leavers lists as unknown; passes do not need this call
✔ clearml-calls: ClearML has auth.login, users.get_all, users.get_all_ex
`},
		{name: "the server does not list its service accounts", options: clearmltest.Options{NoServiceUsers: true}, check: "clearml-calls",
			want: `! clearml-calls: ClearML has no call users.get_service_users, so groupsync does not know the service accounts
    name the service accounts in users.protect
✔ clearml-calls: ClearML has auth.login, permissions.get_user_groups, users.get_all, permissions.add_or_update_user_group, permissions.get_access_rules, users.get_all_ex
`},
		{name: "the server does not have the calls of leavers", options: clearmltest.Options{NoAccessRules: true}, check: "clearml-calls",
			mistake: func(s *clearmltest.Server) {
				s.Inject(clearmltest.Fault{Call: "users.get_all_ex", Probe: true, Code: 404, Text: "no such call"})
			},
			want: `! clearml-calls: ClearML has no call permissions.get_access_rules, so groupsync leavers does not know who is in an access rule
    look up in ClearML what the command groupsync leavers lists as unknown; passes do not need this call
! clearml-calls: ClearML has no call users.get_all_ex, so groupsync leavers does not know when people last used ClearML
    look up in ClearML what the command groupsync leavers lists as unknown; passes do not need this call
✔ clearml-calls: ClearML has auth.login, permissions.get_user_groups, users.get_all, users.get_service_users, permissions.add_or_update_user_group
`},
		{name: "the role admin is written, and the server does not let anybody set it", via: match.ViaBoth, check: "clearml-calls",
			mistake: func(s *clearmltest.Server) {
				s.Inject(clearmltest.Fault{Call: "users.set_role", Probe: true, Code: 404, Text: "no such call"})
			},
			want: `✘ clearml-calls: ClearML has no call users.set_role
    set admins.via to group: this server does not let groupsync set the role of a user
✔ clearml-calls: ClearML has auth.login, permissions.get_user_groups, users.get_all, users.get_service_users, permissions.add_or_update_user_group, permissions.get_access_rules, users.get_all_ex
`},
		{name: "the role admin is written, and the server lets it be set", via: match.ViaRole, check: "clearml-calls",
			want: "✔ clearml-calls: ClearML has auth.login, permissions.get_user_groups, users.get_all, users.get_service_users, permissions.add_or_update_user_group, users.set_role, permissions.get_access_rules, users.get_all_ex\n"},
		{name: "something before the server adds credentials", check: "clearml-calls",
			mistake: func(s *clearmltest.Server) { s.Inject(clearmltest.Fault{Probe: true, Data: `{}`}) },
			want: `✘ clearml-calls: ClearML auth.login: answered 200 without credentials, so a server in front of the API server adds credentials. groupsync makes no call through such a server; check clearml.url
    check clearml.url: https://api.<domain>, or https://<web host>/api
`},
		{name: "the secret is wrong", secret: "s3cret-wrong", check: "clearml-credentials",
			want: `✘ clearml-credentials: ClearML auth.login: wrong credentials (401/22, Unauthorized (invalid credentials) (failed to locate provided credentials)): check clearml.access_key and clearml.secret_key
    check clearml.access_key and clearml.secret_key: ClearML shows them only once, so make new ones if in doubt
`},
		{name: "the credentials are no administrator's", options: clearmltest.Options{Role: "user"}, check: "clearml-rights",
			want: `✘ clearml-rights: ClearML auth.login: the role of these credentials is "user": user groups need the access key of a ClearML administrator
    give groupsync the access key of a ClearML administrator
`},
		{name: "the role may log in, and not read user groups", options: clearmltest.Options{Role: "superuser"}, check: "clearml-rights",
			want: `✘ clearml-rights: ClearML permissions.get_user_groups: the role of these credentials may not make this call (403/20, Unauthorized (user role is not allowed): required roles system, root, admin): give groupsync the access key of a ClearML administrator
    give groupsync the access key of a ClearML administrator
`},
		{name: "no user has an email", check: "clearml-rights",
			mistake: func(s *clearmltest.Server) {
				s.RemoveUser("ann")
				s.RemoveUser("bob")
				s.AddUser(clearmltest.User{ID: "cyn", Name: "Cyn"})
			},
			want: `✘ clearml-rights: ClearML returned no user's email, so groupsync can match nobody, and nothing was synchronized. Give groupsync the access key of a ClearML administrator. If it has one, this server does not return emails (include_auth of users.get_all): check the server's version
    correct this cause: groupsync makes no pass until it can read all users and user groups
`},
		{name: "the features lack user groups", check: "clearml-features",
			mistake: func(s *clearmltest.Server) {
				s.Inject(clearmltest.Fault{Call: "users.get_current_user", Data: `{"user": {"features": {"vaults": true, "user_management": false, "a\u001b[2J": true}}}`})
			},
			want: `! clearml-features: the credentials do not have the feature user_management, which the calls for user groups need. Their features are a\x1b[2J, vaults
    give the user a group with the feature user_management, or check the server's licence
`},
		{name: "a service account has no user record", check: "clearml-features",
			want: "✔ clearml-features: the user groupsync is a service account, which has no features of its own; the check clearml-rights has read the user groups\n"},
		{name: "a service account of a server that does not list them", options: clearmltest.Options{NoServiceUsers: true}, check: "clearml-features",
			want: "✔ clearml-features: the user groupsync is a service account, which has no features of its own; the check clearml-rights has read the user groups\n"},
		{name: "the server fails on a service account", check: "clearml-features",
			mistake: func(s *clearmltest.Server) {
				s.Inject(clearmltest.Fault{Call: "users.get_current_user", Code: 403, Subcode: 20, Text: "no"})
			},
			want: `! clearml-features: groupsync could not complete this check: ClearML users.get_current_user: the role of these credentials may not make this call (403/20, no): give groupsync the access key of a ClearML administrator
    there is nothing to do if the check clearml-rights is ok: it has read the user groups
`},
		{name: "the server tells no features", check: "clearml-features", mistake: ownKeys,
			want: `! clearml-features: groupsync could not complete this check: ClearML users.get_current_user: the answer lists no features
    there is nothing to do if the check clearml-rights is ok: it has read the user groups
`},
		{name: "built-in groups are away, doubled, unmarked", check: "clearml-builtin",
			mistake: func(s *clearmltest.Server) {
				s.RemoveGroup(clearmltest.QueueAdminsID)
				s.AddTeam("Admins")
				s.AddGroup(clearmltest.Group{ID: clearmltest.UsersID, Name: "Users"})
			},
			want: `✘ clearml-builtin: ClearML shows 2 user groups named "Admins", which is the name of a built-in group
    rename the groups that are not built in
! clearml-builtin: the user group "Users" is not marked as built in (system)
    look at the groups in ClearML's settings, under Users & Groups
! clearml-builtin: ClearML shows no user group "Queue admins", which is built in
    look at the groups in ClearML's settings, under Users & Groups
`},
		{name: "the members of Admins cannot be changed", check: "clearml-builtin",
			mistake: func(s *clearmltest.Server) {
				s.AddGroup(clearmltest.Group{ID: clearmltest.AdminsID, Name: "Admins", System: true})
			},
			want: `✘ clearml-builtin: the members of the user group "Admins" cannot be changed (assignable is false)
    set admins.via to role, so that groupsync writes the role admin and not the group. Or remove admins.groups and admins.role, and make administrators in ClearML without groupsync
`},
		{name: "a pass sets the role alone, and Admins is away", via: match.ViaRole, check: "clearml-builtin",
			mistake: func(s *clearmltest.Server) { s.RemoveGroup(clearmltest.AdminsID) },
			want: `! clearml-builtin: ClearML shows no user group "Admins", which is built in
    look at the groups in ClearML's settings, under Users & Groups
`},
		{name: "a pass sets the role alone, and the members of Admins cannot be changed", via: match.ViaRole, check: "clearml-builtin",
			mistake: func(s *clearmltest.Server) {
				s.AddGroup(clearmltest.Group{ID: clearmltest.AdminsID, Name: "Admins", System: true})
			},
			want: "✔ clearml-builtin: the built-in groups are there: Admins, Users, Queue admins\n"},
		{name: "a pass sets the role and the group, and Admins is away", via: match.ViaBoth, check: "clearml-builtin",
			mistake: func(s *clearmltest.Server) { s.RemoveGroup(clearmltest.AdminsID) },
			want: `✘ clearml-builtin: ClearML shows no user group "Admins", which is built in
    look at the groups in ClearML's settings, under Users & Groups
`},
		{name: "role and group disagree, and a pass sets both", via: match.ViaBoth, options: clearmltest.Options{RolesApart: true}, check: "clearml-admins",
			mistake: func(s *clearmltest.Server) {
				s.AddUser(clearmltest.User{ID: "cyn", Name: "Cyn", Email: "cyn@example.com", Role: "admin"})
			},
			want: `! clearml-admins: users who have the role admin and are not members of Admins: cyn. A pass sets both, the group and the role, for the people whom it finds in Keycloak
    look at their role in ClearML's settings, under Users & Groups
`},
		{name: "a role without the group is right if a pass sets the role alone", via: match.ViaRole, options: clearmltest.Options{RolesApart: true}, check: "clearml-admins",
			mistake: func(s *clearmltest.Server) {
				s.AddUser(clearmltest.User{ID: "cyn", Name: "Cyn", Email: "cyn@example.com", Role: "admin"})
			},
			want: "✔ clearml-admins: groupsync writes only the role admin. 0 users have both the role and the membership of Admins, and 1 only the role. Service accounts are not counted\n"},
		{name: "role and group disagree", options: clearmltest.Options{RolesApart: true}, check: "clearml-admins",
			mistake: func(s *clearmltest.Server) {
				s.AddUser(clearmltest.User{ID: "cyn", Name: "Cyn", Email: "cyn@example.com", Role: "admin"})
				s.AddUser(clearmltest.User{ID: "dan", Name: "Dan", Email: "dan@example.com", Role: "root"})
				s.AddUser(clearmltest.User{ID: "eve", Name: "Eve", Email: "eve@example.com", Role: "system"})
				s.SetMembers("Admins", "ann", "dan")
			},
			want: `! clearml-admins: users who have the role admin and are not members of Admins: cyn. groupsync writes only the group, so these users keep the role
    look at their role in ClearML's settings, under Users & Groups
! clearml-admins: members of Admins whose role is not one of an administrator: ann. On this server, membership of the group alone may not give administrator rights
    try what such a user may do, and set the role in ClearML's settings, under Users & Groups
`},
		{name: "a list of members is cut short, of a group with a hostile name", check: "clearml-views",
			mistake: func(s *clearmltest.Server) {
				s.AddTeam("\u202e<script>\n", "ann", "bob")
				s.AddUser(clearmltest.User{ID: "cyn"})
				s.TruncateMembers(1)
			},
			want: `! clearml-views: ClearML's two lists of the members of the user group "\u202e<script>\n" differ: 0 members only in the group's list, 1 only in the users' own lists, 1 in both. groupsync writes nothing into such a group (guard views)
    run the check again, because a login between the two reads can cause this too. If the difference stays, open the group in ClearML and save it
`},
		{name: "built-in groups are shown from one side", options: clearmltest.Options{NoBuiltinSecGroups: true}, check: "clearml-views",
			want: `! clearml-views: ClearML returns only one list of the members of built-in groups, so groupsync cannot detect that the list of Admins is incomplete
    look at the members of Admins after the first pass that changes them
`},
		{name: "the credentials are a person's own, by the kept id", check: "clearml-identity", mistake: ownKeys,
			people: keycloakPeople{accounts: []source.User{{ID: "kc-boss"}}, byID: true},
			want: `! clearml-identity: the credentials belong to a person: the ClearML user boss is the Keycloak account kc-boss, matched by the id. When that person leaves, the credentials end, and groupsync stops
    ` + service},
		{name: "the credentials are a person's own, by the email", check: "clearml-identity", mistake: ownKeys,
			people: keycloakPeople{accounts: []source.User{{ID: "kc-other"}}},
			want: `! clearml-identity: the credentials belong to a person: the ClearML user boss is the Keycloak account kc-other, matched by the email. When that person leaves, the credentials end, and groupsync stops
    ` + service},
		{name: "the credentials are a local account's", check: "clearml-identity", mistake: ownKeys,
			want: "✔ clearml-identity: the user boss is no service account, and Keycloak has no account that could be it\n"},
		{name: "Keycloak cannot be asked about the identity", check: "clearml-identity", mistake: ownKeys,
			people: keycloakPeople{err: errors.New("the federation is not up")},
			want: `! clearml-identity: groupsync could not complete this check: the federation is not up
    look in ClearML whether the user boss is a person. If so, ` + service},
		{name: "the service accounts may not be listed a second time", check: "clearml-identity",
			mistake: func(s *clearmltest.Server) {
				s.Inject(clearmltest.Fault{Call: "users.get_service_users", Nth: 2, Code: 403, Subcode: 20, Text: "feature"})
			},
			want: `! clearml-identity: groupsync could not complete this check: ClearML users.get_service_users: the role of these credentials may not make this call (403/20, feature): give groupsync the access key of a ClearML administrator
    look in ClearML whose credentials groupsync has
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newClearML(t, tt.options)
			if tt.mistake != nil {
				tt.mistake(s)
			}
			secret := "secret"
			if tt.secret != "" {
				secret = tt.secret
			}
			got := printed(t, clearmlChecks(t, s, &tt.people, tt.via, "access", secret), tt.check)
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
			if strings.Contains(got, "Boss") || strings.Contains(got, "boss@example.com") || strings.Contains(got, "s3cret") {
				t.Errorf("the finding names a person or a secret: %s", got)
			}
		})
	}
}

// TestWhoseCredentialsTheyAre: Keycloak is asked only for the kept id and the email of the
// user that groupsync signs in as.
func TestWhoseCredentialsTheyAre(t *testing.T) {
	s := newClearML(t, clearmltest.Options{})
	s.AddUser(clearmltest.User{ID: "boss", Email: "boss@example.com", Role: "admin", Providers: map[string]any{"keycloak": map[string]any{"sub": "kc-boss"}, "other": map[string]any{"sub": "x"}}})
	s.SetCredentials("access", "secret", "boss")
	p := &keycloakPeople{}
	printed(t, clearmlChecks(t, s, p, match.ViaGroup, "access", "secret"))
	if d := cmp.Diff(source.Person{Key: "boss", IDs: []string{"kc-boss"}, Email: "boss@example.com"}, p.asked); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// TestAClearMLThatHangs: a side that hangs is an error within the limit of one check. The
// other checks are not made.
func TestAClearMLThatHangs(t *testing.T) {
	s := newClearML(t, clearmltest.Options{})
	s.Inject(clearmltest.Fault{Probe: true, Hang: true})
	checks := clearmlChecks(t, s, &keycloakPeople{}, match.ViaGroup, "access", "secret")
	for i := range checks {
		checks[i].Limit = 300 * time.Millisecond
	}
	r := preflight.Run(t.Context(), checks, func(preflight.Finding) {})
	if n := r.Count(preflight.Error); n != 1 || r.Count(preflight.Warning) != 8 {
		t.Errorf("%d errors and %d warnings, want 1 and 8: %+v", n, r.Count(preflight.Warning), r.Findings)
	}
}
