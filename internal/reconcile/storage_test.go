package reconcile_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"groupsync/internal/reconcile"
	"groupsync/internal/report"
	"groupsync/internal/source/keycloak"
	"groupsync/internal/source/keycloaktest"
)

// What needs a server that was started with options.
func TestAServerWithOptions(t *testing.T) {
	server := keycloaktest.Start(t, keycloaktest.Options{Storage: true, EscapeSlashes: true})
	storage := func(t *testing.T, foreign keycloaktest.ForeignID) *stage {
		return newStage(t, scene{
			server: server, noLDAP: true, people: keycloaktest.StoragePeople, teams: []string{"staff"},
			spec: keycloaktest.Spec{Groups: []string{"/staff", "/other"}, Users: []keycloaktest.User{{Username: "lola", Groups: []string{"/staff"}}, {Username: "luke", Groups: []string{"/staff"}}}},
			build: func(r *keycloaktest.Realm, _ *keycloaktest.LDAP) *keycloaktest.Federation {
				return r.AddStorage(t, "people", "/staff", foreign)
			},
		})
	}
	const (
		everybody = "staff: lola luke stored-ann stored-bob"
		both      = "staff: not_member of stored-ann stored-bob"
	)
	waits := []string{"grace: 2 removals rest on a federation and wait"}
	// Issue 9, A7.
	t.Run("a storage that parses foreign ids answers the probe by a number", func(t *testing.T) {
		s := storage(t, keycloaktest.ForeignParsed)
		s.calm(t, "in sync", "")
		s.law(t, "in sync")
		s.configure(t, "group", "/other")
		s.pass(t, "its people have left", want{result: report.Drift, probes: "people up", members: everybody, removals: both + ", withheld by grace", trips: waits})
		s.now = s.now.Add(grace)
		s.pass(t, "its people have left for the grace", want{result: report.Applied, probes: "people up", members: "staff: lola luke", removals: both + ", applied"})
		s.law(t, "after the grace")
	})
	t.Run("a storage that fails on every foreign id never answers: its people wait, nobody else, until it is trusted", func(t *testing.T) {
		s := storage(t, keycloaktest.ForeignThrown)
		s.calm(t, "in sync", "")
		s.configure(t, "group", "/other")
		s.realm.Leave(t, "luke", "/staff")
		s.realm.DeleteUser(t, "lola")
		silent := []string{`federation: the federation "people" is not up (a lookup through it answered 500 in place of 404; it has never answered a probe): 2` + keep + checkServer}
		s.pass(t, "its people have left, and local people", want{result: report.Guarded, probes: "people away", members: "staff: lola stored-ann stored-bob",
			removals: "staff: gone of lola, withheld by grace\nstaff: not_member of luke, applied\n" + both + ", withheld by federation", trips: append(slices.Clone(silent), "grace: 1 removals rest on a federation")})
		s.now = s.now.Add(2 * grace)
		s.pass(t, "after the grace", want{result: report.Guarded, probes: "people away", members: "staff: stored-ann stored-bob", trips: silent,
			removals: "staff: gone of lola, applied\n" + both + ", withheld by federation"})

		s.setup.config = func(c *keycloak.Config) { c.Trusted = []string{"people"} }
		s.rec = s.reconciler(t, s.setup)
		s.pass(t, "trusted", want{result: report.Drift, probes: "people away", members: "staff: stored-ann stored-bob", removals: both + ", withheld by grace", trips: waits})
		s.now = s.now.Add(grace)
		s.pass(t, "trusted for the grace", want{result: report.Applied, probes: "people away", members: "staff: ", removals: both + ", applied"})
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

// configure changes a setting of the user storage.
func (s *stage) configure(t *testing.T, key, value string) {
	t.Helper()
	var whole map[string]any
	s.realm.Do(t, http.MethodGet, "/components/"+s.fed.ID, nil, &whole)
	whole["config"].(map[string]any)[key] = []string{value}
	s.realm.Do(t, http.MethodPut, "/components/"+s.fed.ID, whole, nil)
}

// Issue 9, A8: an organization that is switched off makes its members look disabled,
// and the database does not say so.
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
	waits := want{result: report.Drift, members: everybody, removals: "staff: disabled of olga, withheld by grace", trips: []string{"grace: 1 removals rest on"}}
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

// Issue 9, F3.
func TestAnLDAPEntryWithoutAUsername(t *testing.T) {
	for _, rdn := range []string{"uid", "cn"} {
		t.Run("rdnLDAPAttribute "+rdn, func(t *testing.T) {
			s := newStage(t, scene{
				ldap: map[string][]string{"staff": staff[:3], "other": {"fedd"}}, teams: []string{"other", "staff"},
				build: func(r *keycloaktest.Realm, l *keycloaktest.LDAP) *keycloaktest.Federation {
					return r.Federate(t, l, keycloaktest.FederationOptions{RDNAttribute: rdn})
				},
			})
			s.ldap.AddUserWithoutUID(t, "nameless")
			s.ldap.Join(t, "nameless", "staff")
			s.ldap.Join(t, "fede", "other")
			t.Logf("Keycloak lists %q in staff", s.listed(t, "/staff"))
			members := s.members()
			r := s.mildPass(t, "the first pass of it", strings.Replace(members, "other: fedd", "other: fedd fede", 1))
			t.Logf("%s: %+v, own view %q", r.Result, r.Guards, ownView(r))
			s.now = s.now.Add(2 * grace)
			s.clearCaches(t)
			r = s.mildPass(t, "after the grace", strings.Replace(members, "other: fedd", "other: fedd fede", 1))
			t.Logf("%s: %+v, own view %q", r.Result, r.Guards, ownView(r))
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
	s.mildPassOf(t, "changes of every kind")
	s.now = s.now.Add(grace)
	s.mildPassOf(t, "after the grace")
	if got := s.members(); got != "club: lola\nstaff: feda" {
		t.Errorf("in the end:\n%s", got)
	}
	if diff := gocmp.Diff(before, s.realm.State(t)); diff != "" {
		t.Errorf("the passes changed Keycloak (-before +after):\n%s", diff)
	}
}

// mildPassOf makes a pass of which only this is held: no error.
func (s *stage) mildPassOf(t *testing.T, when string) {
	t.Helper()
	r := s.rec.Pass(t.Context(), reconcile.Request{Lead: leads, Apply: true})
	if len(r.Errors) > 0 {
		t.Errorf("%s: %v", when, r.Errors)
	}
	t.Logf("%s: %s, %+v\n%s", when, r.Result, r.Guards, removals(r, false))
}
