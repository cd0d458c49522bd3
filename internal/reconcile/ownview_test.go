package reconcile_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"groupsync/internal/match"
	"groupsync/internal/report"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target/clearmltest"
)

// stage is a realm in which Keycloak's lists and tokens can disagree, with a stand-in for
// ClearML. Everyone has signed in to ClearML: each person is in the teams that the claim of
// the person's token names.
type stage struct {
	*site
	people []string          // usernames; they are the ClearML ids too
	ids    map[string]string // account id by username
	setup  setup
}

// scene describes a stage.
type scene struct {
	server *keycloaktest.Server // nil: the shared one
	spec   keycloaktest.Spec
	staff  []string            // people of LDAP; nil: the variable staff
	ldap   map[string][]string // groups of LDAP, by name, with their members
	build  func(*keycloaktest.Realm, *keycloaktest.LDAP) *keycloaktest.Federation
	people []string // people besides those of spec; nil: the staff, if there is LDAP
	noLDAP bool     // build gets no LDAP
	teams  []string // teams of ClearML, named as in the claim, sorted
	paths  bool     // the claim contains paths
	setup  setup
}

func newStage(t *testing.T, sc scene) *stage {
	t.Helper()
	if sc.server == nil {
		sc.server = keycloaktest.Shared(t)
	}
	for i, u := range sc.spec.Users {
		sc.spec.Users[i].Email = u.Username + "@example.org"
	}
	s := &stage{site: &site{now: noon, teams: sc.teams}, ids: make(map[string]string)}
	s.realm = sc.server.NewRealm(t, sc.spec)
	s.realm.AddClearML(t, sc.paths)
	if sc.build != nil {
		if !sc.noLDAP {
			if sc.staff == nil {
				sc.staff = staff
			}
			s.ldap = keycloaktest.StartLDAP(t, sc.staff, sc.ldap)
		}
		s.fed = sc.build(s.realm, s.ldap)
		if sc.people == nil {
			sc.people = sc.staff
		}
	}
	s.realm.ClearUserCache(t)
	s.clearml = clearmltest.New(t, clearmltest.Options{})
	for _, team := range sc.teams {
		if team != "Admins" {
			s.clearml.AddTeam(team)
		}
	}
	for _, u := range sc.spec.Users {
		s.person(t, u.Username)
	}
	for _, name := range sc.people {
		s.person(t, name)
	}
	s.login(t, s.people...)
	s.setup = sc.setup
	s.setup.rules = func(o *match.Options) {
		o.FullPath = sc.paths
		if sc.setup.rules != nil {
			sc.setup.rules(o)
		}
	}
	s.rec = s.reconciler(t, s.setup)
	return s
}

// person adds the account's user to ClearML, in no team yet.
func (s *stage) person(t *testing.T, name string) {
	t.Helper()
	id := s.realm.UserID(t, name)
	s.ids[name] = id
	s.people = append(s.people, name)
	s.clearml.AddUser(clearmltest.User{ID: name, Name: name, Email: name + "@example.org",
		Providers: map[string]any{"keycloak": map[string]any{"id": id}}})
}

// login signs people in to ClearML: their memberships become those of their tokens.
func (s *stage) login(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		claim := s.realm.ClaimOf(t, s.ids[name])
		for _, team := range s.teams {
			if team == "Admins" {
				continue
			}
			members := slices.DeleteFunc(s.clearml.Members(team), func(id string) bool { return id == name })
			if slices.Contains(claim, team) {
				members = append(members, name)
			}
			s.clearml.SetMembers(team, members...)
		}
	}
}

// law checks that no person's sign-in would change a membership, with an empty user cache in
// Keycloak. People who cannot sign in are left out.
func (s *stage) law(t *testing.T, when string, leftOut ...string) {
	t.Helper()
	s.clearCaches(t)
	for _, name := range s.people {
		if slices.Contains(leftOut, name) {
			continue
		}
		claim := s.realm.ClaimOf(t, s.ids[name])
		for _, team := range s.teams {
			holds, has := slices.Contains(claim, team), slices.Contains(s.clearml.Members(team), name)
			if team != "Admins" && holds != has {
				t.Errorf("%s: the token of %s has %s: %v, ClearML has: %v", when, name, team, holds, has)
			}
		}
	}
}

// calm makes three passes, each after the grace of the one before. Each must be in sync and
// have exit code 0, no digest and that own view. No membership may change.
func (s *stage) calm(t *testing.T, when, own string) {
	t.Helper()
	members := s.members()
	for i := range 3 {
		when := fmt.Sprintf("%s, pass %d", when, i+1)
		probed := ""
		if own != "" {
			probed = "ldap up"
		}
		r := s.pass(t, when, want{result: report.InSync, probes: probed, own: own, members: members})
		if r.ExitCode() != 0 || r.Digest != "" {
			t.Errorf("%s: exit code %d, digest %q, want 0 and none", when, r.ExitCode(), r.Digest)
		}
		s.now = s.now.Add(2 * grace)
	}
}

// leaves makes the two passes that remove a federated person from a team: one that begins the
// grace, and one after the grace.
func (s *stage) leaves(t *testing.T, name, team, own string) {
	t.Helper()
	before := s.members()
	s.pass(t, name+" has left", want{result: report.Drift, probes: "ldap up", own: own, members: before,
		removals: team + ": not_member of " + name + ", withheld by grace", trips: []string{"grace: 1 removals depend on a federation and wait until every pass has wanted them for 1h0m0s; the first pass after that makes them"}})
	s.now = s.now.Add(grace)
	var lines []string
	for line := range strings.Lines(before) {
		if strings.HasPrefix(line, team+":") {
			line = strings.Replace(line, " "+name, "", 1)
		}
		lines = append(lines, line)
	}
	s.pass(t, name+" has left for the grace", want{result: report.Applied, probes: "ldap up", own: own, members: strings.Join(lines, ""), removals: team + ": not_member of " + name + ", applied"})
	s.now = s.now.Add(grace)
}

// Issue 9, A1.
func TestTwoLDAPGroupsOfOneName(t *testing.T) {
	sc := scene{
		spec: keycloaktest.Spec{Groups: []string{"/club"}, Users: []keycloaktest.User{{Username: "luke"}}},
		ldap: map[string][]string{"eu/staff": {"feda", "fedc"}, "us/staff": {"fedb"}}, teams: []string{"club", "staff"},
		build: func(r *keycloaktest.Realm, l *keycloaktest.LDAP) *keycloaktest.Federation {
			return r.Federate(t, l, keycloaktest.FederationOptions{Subtree: true})
		},
	}
	t.Run("the list becomes empty when LDAP gets the second group", func(t *testing.T) {
		sc := sc
		sc.ldap = map[string][]string{"eu/staff": {"feda", "fedc"}}
		s := newStage(t, sc)
		if s.realm.Server.Before(2601) {
			t.Skip("the list answers 400: see the row of an older release")
		}
		s.calm(t, "one group", "")
		s.ldap.AddGroup(t, "us/staff", "fedb")
		s.calm(t, "hidden", "staff hides 2")
		s.clearCaches(t)
		s.login(t, "fedb")
		s.calm(t, "hidden, one more has signed in", "staff hides 3")
		s.law(t, "hidden")
		s.ldap.Leave(t, "fedc", "eu/staff")
		s.leaves(t, "fedc", "staff", "staff hides 2")
		s.law(t, "after the leaver")
		s.login(t, s.people...)
		s.calm(t, "after everybody signed in", "staff hides 2")
	})
	t.Run("an older release cannot list the group: it is frozen, and the pass goes on", func(t *testing.T) {
		sc.server = keycloaktest.Start(t, keycloaktest.Options{Version: keycloaktest.Version24})
		s := newStage(t, sc)
		s.realm.Join(t, "luke", "/club")
		frozen := want{result: report.Guarded, members: "club: luke\nstaff: feda fedb fedc", trips: []string{
			"missing_source staff: Keycloak cannot list the members of a group that feeds this user group, which is frozen (reading the members of the group /staff: Keycloak answered 400). " +
				"Known causes: two LDAP groups of one name under the mapper's base (rename one, or exclude the group), and in Keycloak 26.0 and older an LDAP server that is away"}}
		first := frozen
		first.added = 1
		s.pass(t, "the first pass", first)
		s.now = s.now.Add(2 * grace)
		if r := s.pass(t, "a later pass", frozen); r.Digest != "" {
			t.Errorf("there is a digest to approve: %q", r.Digest)
		}
	})
}

// Issue 9, A2: a hardcoded mapper of a group or role cannot list members or holders.
func TestAHardcodedGroupAndRole(t *testing.T) {
	s := newStage(t, scene{
		spec: keycloaktest.Spec{Groups: []string{"/everybody"}, Roles: []string{"boss"}}, teams: []string{"Admins", "everybody"},
		build: func(r *keycloaktest.Realm, l *keycloaktest.LDAP) *keycloaktest.Federation {
			f := r.Federate(t, l, keycloaktest.FederationOptions{})
			f.AddHardcodedGroup(t, "/everybody")
			f.AddHardcodedRole(t, "boss")
			return f
		},
		setup: setup{rules: func(o *match.Options) { o.AdminRole = "boss" }},
	})
	s.clearml.SetMembers("Admins", "feda", "fedb")
	s.calm(t, "hidden", "everybody hides 6; Admins hides 2, stale")
	s.law(t, "hidden")
}

// Issue 9, A3.
func TestADefaultGroupOfARealmWithLDAP(t *testing.T) {
	spec := keycloaktest.Spec{Groups: []string{"/new"}, DefaultGroups: []string{"/new"}}
	t.Run("without import the list hides everybody: nobody is removed", func(t *testing.T) {
		s := newStage(t, scene{spec: spec, teams: []string{"new"}, build: func(r *keycloaktest.Realm, l *keycloaktest.LDAP) *keycloaktest.Federation {
			return r.Federate(t, l, keycloaktest.FederationOptions{NoImport: true})
		}})
		if got := s.members(); got != "new: feda fedb fedc fedd fede fedf" {
			t.Fatalf("after the sign-ins: %s", got)
		}
		s.calm(t, "hidden", "new hides 6")
		s.law(t, "hidden")
	})
	t.Run("with LDAP_ONLY the list shows everybody: nobody is granted the group", func(t *testing.T) {
		s := newStage(t, scene{spec: spec, teams: []string{"new"}, build: func(r *keycloaktest.Realm, l *keycloaktest.LDAP) *keycloaktest.Federation {
			return r.Federate(t, l, keycloaktest.FederationOptions{Mode: keycloaktest.LDAPOnly})
		}})
		if got := s.members(); got != "new: " {
			t.Fatalf("after the sign-ins: %s", got)
		}
		s.calm(t, "shown", "new shows 6")
		s.law(t, "shown")
	})
}

// Issue 9, A4.
func TestAMemberListedTwice(t *testing.T) {
	for _, row := range []struct {
		name  string
		spec  keycloaktest.Spec
		build func(*keycloaktest.Realm, *keycloaktest.LDAP) *keycloaktest.Federation
	}{
		{"a row in the database and a membership in LDAP", keycloaktest.Spec{Groups: []string{"/staff"}}, func(r *keycloaktest.Realm, l *keycloaktest.LDAP) *keycloaktest.Federation {
			f := r.Federate(t, l, keycloaktest.FederationOptions{NoMapper: true})
			r.Join(t, "feda", "/staff")
			f.AddGroupMapper(t, keycloaktest.GroupMapper{Name: "groups"})
			f.Sync(t)
			return f
		}},
		{"a mapper that was switched from IMPORT to READ_ONLY", keycloaktest.Spec{}, func(r *keycloaktest.Realm, l *keycloaktest.LDAP) *keycloaktest.Federation {
			f := r.Federate(t, l, keycloaktest.FederationOptions{Mode: keycloaktest.Import})
			f.SetMode(t, "groups", keycloaktest.ReadOnly)
			return f
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newStage(t, scene{spec: row.spec, ldap: map[string][]string{"staff": {"feda", "fedb"}}, build: row.build, teams: []string{"staff"}})
			listed := s.listed(t, "/staff")
			if twice := len(listed) - 2; twice < 1 {
				t.Fatalf("Keycloak lists %q: nobody twice", listed)
			}
			s.clearml.SetMembers("staff", "fedb")
			s.pass(t, "feda is missing in ClearML", want{result: report.Applied, probes: "ldap up", added: 1, members: "staff: feda fedb"})
			s.calm(t, "listed twice", "")
			s.law(t, "listed twice")
		})
	}
}

// listed returns the usernames in Keycloak's member list of the group.
func (s *stage) listed(t *testing.T, path string) []string {
	t.Helper()
	var members []struct{ Username string }
	s.realm.Do(t, http.MethodGet, "/groups/"+s.realm.GroupID(t, path)+"/members?max=-1", nil, &members)
	names := make([]string, len(members))
	for i, m := range members {
		names[i] = m.Username
	}
	return names
}

// staleCache is what the report says about a user cache that an answer showed to be old.
const staleCache = `user cache for staff: Keycloak's user cache may be older than Keycloak's database. If it is, a login follows the old entry until the cache is refreshed. To refresh it, clear the user cache in Keycloak. For people of a federation, a periodic sync of changed users does the same each time it runs.`

// Issue 9, A5.
func TestAnOldUserCache(t *testing.T) {
	ldap := func(r *keycloaktest.Realm, l *keycloaktest.LDAP) *keycloaktest.Federation {
		return r.Federate(t, l, keycloaktest.FederationOptions{})
	}
	t.Run("holds up neither who left nor who joined, and is not asked", func(t *testing.T) {
		s := newStage(t, scene{ldap: map[string][]string{"staff": {"feda", "fedb"}}, build: ldap, teams: []string{"staff"}})
		s.ldap.Leave(t, "fedb", "staff")
		s.ldap.Join(t, "fedc", "staff")
		if b, c := s.realm.ClaimOf(t, s.ids["fedb"]), s.realm.ClaimOf(t, s.ids["fedc"]); !slices.Contains(b, "staff") || slices.Contains(c, "staff") {
			t.Fatalf("the claims of fedb and fedc are %q and %q: the cache is not old", b, c)
		}
		s.pass(t, "the first pass", want{result: report.Drift, probes: "ldap up", added: 1, members: "staff: feda fedb fedc",
			removals: "staff: not_member of fedb, withheld by grace", trips: []string{"grace: 1 removals depend on a federation"}})
		s.now = s.now.Add(grace)
		s.pass(t, "after the grace", want{result: report.Applied, probes: "ldap up", members: "staff: feda fedc", removals: "staff: not_member of fedb, applied"})
		s.calm(t, "later", "")
		if n := s.seen.take()["own_groups"]; n > 0 {
			t.Errorf("%d times the cached side was asked", n)
		}
		s.law(t, "with the cache cleared")
	})
	t.Run("is told of where names contain one another, and only there is it asked", func(t *testing.T) {
		s := newStage(t, scene{ldap: map[string][]string{"staff": {"feda", "fedb"}, "staff-eu": {"feda", "fedb"}}, build: ldap, teams: []string{"staff", "staff-eu"}})
		if s.realm.Server.Before(2600) {
			t.Skip("the user cache does not keep the groups of LDAP, so it is never old")
		}
		s.ldap.Leave(t, "fedb", "staff")
		// The count is 1, and the cached list has two groups that this one could be.
		r := s.pass(t, "the cache is old", want{result: report.InSync, probes: "ldap up", own: "staff hides 1, stale", members: "staff: feda fedb\nstaff-eu: feda fedb"})
		var text strings.Builder
		if err := report.Text(&text, r, report.Style{}); err != nil || !strings.Contains(text.String(), staleCache) {
			t.Errorf("the report (%v) does not say %q:\n%s", err, staleCache, text.String())
		}
		s.clearCaches(t)
		s.leaves(t, "fedb", "staff", "")
		s.calm(t, "later", "")
		s.law(t, "later")
	})
}

// Issue 9, F5: a mapper lists the members of the LDAP group dev for every Keycloak group with
// that name. So the list of /projects/dev shows the people of /dev.
func TestALocalSubgroupWithTheNameOfAnLDAPGroup(t *testing.T) {
	s := newStage(t, scene{
		spec: keycloaktest.Spec{Groups: []string{"/projects/dev"}, Users: []keycloaktest.User{{Username: "lola", Groups: []string{"/projects/dev"}}}},
		ldap: map[string][]string{"dev": {"feda", "fedb"}}, teams: []string{"/dev", "/projects/dev"}, paths: true,
		build: func(r *keycloaktest.Realm, l *keycloaktest.LDAP) *keycloaktest.Federation {
			f := r.Federate(t, l, keycloaktest.FederationOptions{})
			r.Join(t, "fedc", "/projects/dev")
			return f
		},
	})
	if got := s.members(); got != "/dev: feda fedb\n/projects/dev: fedc lola" {
		t.Fatalf("after the sign-ins:\n%s", got)
	}
	s.calm(t, "shown", "/projects/dev shows 2")
	s.law(t, "shown")
	s.clearml.SetMembers("/projects/dev", "feda", "lola")
	s.pass(t, "feda was added by hand, fedc is missing", want{result: report.Applied, probes: "ldap up", added: 1, own: "/projects/dev shows 1", members: "/dev: feda fedb\n/projects/dev: feda fedc lola"})
}
