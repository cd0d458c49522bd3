package reconcile_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"groupsync/internal/report"
	"groupsync/internal/source/keycloak"
	"groupsync/internal/source/keycloaktest"
)

// TestAServerWithOptions tests what needs a server with other start options.
func TestAServerWithOptions(t *testing.T) {
	server := keycloaktest.Start(t, keycloaktest.Options{EscapeSlashes: true})
	storage := func(t *testing.T, foreign keycloaktest.ForeignID) *stage {
		return newStage(t, scene{
			server: server, noLDAP: true, people: keycloaktest.StoragePeople, teams: []string{"other", "staff"},
			spec: keycloaktest.Spec{Groups: []string{"/staff", "/other"}, Users: []keycloaktest.User{{Username: "lola", Groups: []string{"/staff"}}, {Username: "luke", Groups: []string{"/staff"}}}},
			build: func(r *keycloaktest.Realm, _ *keycloaktest.LDAP) *keycloaktest.Federation {
				return r.AddStorage(t, "people", "/other", foreign)
			},
		})
	}
	const (
		other = "other: stored-ann stored-bob\nstaff: "
		both  = "staff: not_member of stored-ann stored-bob"
	)
	// In ClearML the people of the storage are also members of staff, but not in Keycloak.
	astray := func(s *stage) { s.clearml.SetMembers("staff", "lola", "luke", "stored-ann", "stored-bob") }
	waits := []string{"grace: 2 removals depend on a federation and wait"}
	// Issue 9, A7.
	t.Run("a storage that parses foreign ids answers the probe by a number", func(t *testing.T) {
		s := storage(t, keycloaktest.ForeignParsed)
		s.calm(t, "in sync", "")
		s.law(t, "in sync")
		astray(s)
		s.pass(t, "its people are to leave", want{result: report.Drift, probes: "people up", members: other + "lola luke stored-ann stored-bob", removals: both + ", withheld by grace", trips: waits})
		s.now = s.now.Add(grace)
		s.pass(t, "its people are to leave for the grace", want{result: report.Applied, probes: "people up", members: other + "lola luke", removals: both + ", applied"})
		s.law(t, "after the grace")
	})
	t.Run("a storage that fails on every foreign id never answers: its people wait, nobody else, until it is trusted", func(t *testing.T) {
		s := storage(t, keycloaktest.ForeignThrown)
		s.calm(t, "in sync", "")
		astray(s)
		s.realm.Leave(t, "luke", "/staff")
		s.realm.DeleteUser(t, "lola")
		silent := []string{`federation: the federation "people" is not up (the probe got 500 instead of a 404 from Keycloak itself; this federation has never answered a probe): 2` + keep + checkServer}
		s.pass(t, "its people are to leave, and local people", want{result: report.Guarded, probes: "people away", members: other + "lola stored-ann stored-bob",
			removals: "staff: gone of lola, withheld by grace\nstaff: not_member of luke, applied\n" + both + ", withheld by federation", trips: append(slices.Clone(silent), "grace: 1 removals depend on a federation")})
		s.now = s.now.Add(2 * grace)
		s.pass(t, "after the grace", want{result: report.Guarded, probes: "people away", members: other + "stored-ann stored-bob", trips: silent,
			removals: "staff: gone of lola, applied\n" + both + ", withheld by federation"})

		s.setup.config = func(c *keycloak.Config) { c.Trusted = []string{"people"} }
		s.rec = s.reconciler(t, s.setup)
		s.pass(t, "trusted", want{result: report.Drift, probes: "people away", members: other + "stored-ann stored-bob", removals: both + ", withheld by grace", trips: waits})
		s.now = s.now.Add(grace)
		s.pass(t, "trusted for the grace", want{result: report.Applied, probes: "people away", members: other + "", removals: both + ", applied"})
		s.law(t, "trusted", "lola")
	})
	// Issue 9, C6.
	t.Run("a slash in a name is escaped in the path, and so in the claim", func(t *testing.T) {
		s := newStage(t, scene{
			server: server, noLDAP: true, paths: true, people: []string{}, teams: []string{"/a/b", "/a~/b"},
			spec: keycloaktest.Spec{Groups: []string{"/a/b"}, Users: []keycloaktest.User{{Username: "ann"}, {Username: "bob", Groups: []string{"/a/b"}}}},
			build: func(r *keycloaktest.Realm, _ *keycloaktest.LDAP) *keycloaktest.Federation {
				slashed := r.Do(t, http.MethodPost, "/groups", map[string]string{"name": "a/b"}, nil)
				r.Do(t, http.MethodPut, "/users/"+r.UserID(t, "ann")+"/groups/"+slashed, nil, nil)
				return nil
			},
		})
		if got := s.members(); got != "/a/b: bob\n/a~/b: ann" {
			t.Fatalf("after the sign-ins:\n%s", got)
		}
		s.calm(t, "two claim names", "")
		s.clearml.SetMembers("/a/b", "ann")
		s.clearml.SetMembers("/a~/b", "bob")
		s.pass(t, "exchanged in ClearML", want{result: report.Applied, added: 2, members: "/a/b: bob\n/a~/b: ann",
			removals: "/a/b: not_member of ann, applied\n/a~/b: not_member of bob, applied"})
		s.law(t, "in the end")
	})
}

// Issue 9, A8: an organization that is switched off makes its members look disabled, but they
// are enabled in the database.
func TestAnOrganizationThatIsSwitchedOff(t *testing.T) {
	var o *keycloaktest.Organization
	s := newStage(t, scene{
		noLDAP: true, people: []string{"olga"}, teams: []string{"staff"},
		spec: keycloaktest.Spec{Organizations: true, Groups: []string{"/staff"}, Users: []keycloaktest.User{{Username: "lola", Groups: []string{"/staff"}}, {Username: "luke", Groups: []string{"/staff"}}}},
		build: func(r *keycloaktest.Realm, _ *keycloaktest.LDAP) *keycloaktest.Federation {
			o = r.AddOrganization(t, "acme", "olga")
			r.Join(t, "olga", "/staff")
			return nil
		},
	})
	const everybody = "staff: lola luke olga"
	waits := want{result: report.Drift, members: everybody, removals: "staff: disabled of olga, withheld by grace", trips: []string{"grace: 1 removals depend on"}}
	o.SetEnabled(t, false)
	s.pass(t, "switched off", waits)
	s.now = s.now.Add(grace / 2)
	o.SetEnabled(t, true)
	s.calm(t, "on again", "")
	o.SetEnabled(t, false)
	s.realm.SetEnabled(t, "luke", false)
	both := waits
	both.members, both.removals = "staff: lola olga", "staff: disabled of luke, applied\nstaff: disabled of olga, withheld by grace"
	s.pass(t, "switched off once more, and somebody whom the database calls disabled", both)
	s.now = s.now.Add(grace)
	s.pass(t, "switched off for the grace", want{result: report.Applied, members: "staff: lola", removals: "staff: disabled of olga, applied"})
	o.SetEnabled(t, true)
	s.pass(t, "on again after that", want{result: report.Applied, added: 1, members: "staff: lola olga"})
	s.law(t, "in the end", "luke")
}

// Issue 9, F3: an LDAP entry without a username. If cn is the RDN attribute, such an entry
// makes Keycloak's list of every group empty.
func TestAnLDAPEntryWithoutAUsername(t *testing.T) {
	for _, row := range []struct {
		rdn, listed, own, left string
	}{
		{"uid", "feda fedb fedc", "", ""},
		{"cn", "", "other hides 1; staff hides 3", "other hides 1; staff hides 2"},
	} {
		t.Run("rdnLDAPAttribute "+row.rdn, func(t *testing.T) {
			s := newStage(t, scene{
				ldap: map[string][]string{"staff": staff[:3], "other": {"fedd"}}, teams: []string{"other", "staff"},
				build: func(r *keycloaktest.Realm, l *keycloaktest.LDAP) *keycloaktest.Federation {
					return r.Federate(t, l, keycloaktest.FederationOptions{RDNAttribute: row.rdn})
				},
			})
			s.ldap.AddUserWithoutUID(t, "nameless")
			s.ldap.Join(t, "nameless", "staff")
			if listed := strings.Join(s.listed(t, "/staff"), " "); listed != row.listed {
				t.Fatalf("Keycloak lists %q, want %q", listed, row.listed)
			}
			s.clearCaches(t)
			s.calm(t, "with the entry", row.own)
			s.law(t, "with the entry")
			s.ldap.Leave(t, "fedc", "staff")
			s.leaves(t, "fedc", "staff", row.left)
			s.law(t, "after a leaver")
		})
	}
}

// Issue 9, F4.
func TestAPassLeavesKeycloakAsItWas(t *testing.T) {
	s := newStage(t, scene{
		spec: keycloaktest.Spec{Groups: []string{"/private", "/club"}, Users: []keycloaktest.User{{Username: "lola", Groups: []string{"/club"}}, {Username: "luke"}}},
		ldap: map[string][]string{"staff": {"feda", "fedb"}}, teams: []string{"club", "staff"},
		build: func(r *keycloaktest.Realm, l *keycloaktest.LDAP) *keycloaktest.Federation {
			f := r.Federate(t, l, keycloaktest.FederationOptions{})
			r.Join(t, "fede", "/private")
			r.Join(t, "fedf", "/private")
			return f
		},
	})
	s.ldap.AddUser(t, "fedx") // in LDAP only
	s.ldap.DeleteUser(t, "fede")
	s.ldap.RecreateUser(t, "fedf")
	s.ldap.Leave(t, "fedb", "staff")
	s.clearml.SetMembers("club", "luke", "fedd")
	s.clearCaches(t)
	before := s.realm.State(t)
	s.pass(t, "changes of every kind", want{result: report.Drift, probes: "ldap up", added: 1, members: "club: fedd lola\nstaff: feda fedb",
		removals: "club: not_member of luke, applied\nclub: not_member of fedd, withheld by grace\nstaff: not_member of fedb, withheld by grace", trips: []string{"grace: 2 removals depend on a federation"}})
	s.now = s.now.Add(grace)
	s.pass(t, "after the grace", want{result: report.Applied, probes: "ldap up", members: "club: lola\nstaff: feda",
		removals: "club: not_member of fedd, applied\nstaff: not_member of fedb, applied"})
	if diff := gocmp.Diff(before, s.realm.State(t)); diff != "" {
		t.Errorf("the passes changed Keycloak (-before +after):\n%s", diff)
	}
}
