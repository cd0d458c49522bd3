package reconcile_test

import (
	"testing"

	"groupsync/internal/match"
	"groupsync/internal/report"
	"groupsync/internal/source/keycloaktest"
)

// Issue 9, C2.
func TestEverybodyBecomesAnAdministrator(t *testing.T) {
	people := []keycloaktest.User{{Username: "ann"}, {Username: "bob"}, {Username: "cid"}, {Username: "root", Roles: []string{"boss"}, Groups: []string{"/admins"}}}
	for _, row := range []struct {
		name  string
		rules func(*match.Options)
		do    func(*testing.T, *stage)
	}{
		{"the admin role is among the default roles", func(o *match.Options) { o.AdminRole = "boss" }, func(t *testing.T, s *stage) { s.realm.AddDefaultRole(t, "boss") }},
		{"everybody is in the admin group", func(o *match.Options) { o.AdminGroups = []string{"admins"} }, func(t *testing.T, s *stage) {
			for _, name := range []string{"ann", "bob", "cid", "eve"} {
				s.realm.Join(t, name, "/admins")
			}
		}},
	} {
		for _, first := range []bool{true, false} {
			when := map[bool]string{true: "on a first pass", false: "later"}[first]
			t.Run(row.name+", "+when, func(t *testing.T) {
				s := newStage(t, scene{
					spec:  keycloaktest.Spec{Groups: []string{"/admins"}, Roles: []string{"boss"}, DefaultRoles: true, Users: append(people[:4:4], keycloaktest.User{Username: "eve"})},
					teams: []string{"Admins"}, setup: setup{rules: row.rules},
				})
				s.clearml.SetMembers("Admins", "root")
				if !first {
					s.pass(t, "before", want{result: report.InSync, members: "Admins: root"})
				}
				row.do(t, s)
				withheld := want{result: report.Guarded, members: "Admins: root", trips: []string{
					"grants: 4 new administrators are wanted and 0 were made within 24h0m0s, guards.max_admin_grants is 3: all new administrators are withheld; if they are correct, approve them"}}
				s.pass(t, "everybody", withheld)
				s.now = s.now.Add(48 * grace)
				digest := s.pass(t, "everybody, days later", withheld).Digest
				s.pass(t, "approved", want{result: report.Applied, added: 4, members: "Admins: ann bob cid eve root", approve: digest})
				s.calm(t, "approved", "")
			})
		}
	}
}

// Issue 9, C3: a list shows people as holders of a role, but no token of theirs has the role.
func TestAGrantByRoleIsConfirmedByTheEffectiveRoles(t *testing.T) {
	s := newStage(t, scene{
		spec: keycloaktest.Spec{Groups: []string{"/bosses"}, GroupRoles: map[string][]string{"/bosses": {"boss"}}, DefaultGroups: []string{"/bosses"},
			Users: []keycloaktest.User{{Username: "root", Roles: []string{"boss"}}, {Username: "lola"}}},
		teams: []string{"Admins"}, setup: setup{rules: func(o *match.Options) { o.AdminRole = "boss" }},
		build: func(r *keycloaktest.Realm, l *keycloaktest.LDAP) *keycloaktest.Federation {
			return r.Federate(t, l, keycloaktest.FederationOptions{Mode: keycloaktest.LDAPOnly})
		},
	})
	s.clearml.SetMembers("Admins", "lola")
	if roles := s.realm.TokenOf(t, s.ids["feda"]).RealmRoles; len(s.listed(t, "/bosses")) != len(staff) {
		t.Fatalf("Keycloak lists %q, and the token of feda has %q", s.listed(t, "/bosses"), roles)
	}
	s.pass(t, "the first pass", want{result: report.Guarded, probes: "ldap up", own: "Admins shows 6, stale", added: 1, members: "Admins: lola root",
		removals: "Admins: not_member of lola, withheld by admins", trips: []string{"admins Admins: 0 administrators would remain"}})
	s.pass(t, "the second pass", want{result: report.Applied, probes: "ldap up", own: "Admins shows 6, stale", members: "Admins: root", removals: "Admins: not_member of lola, applied"})
	s.calm(t, "later", "Admins shows 6, stale")
}
