package keycloak

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/source"
	"groupsync/internal/source/keycloaktest"
)

// The LDAP group /staff and the local group /club feed user groups. The local group /other
// does not. The bystanders are in LDAP only, were deleted there, or were re-created there
// under another id. The test asks about none of them.
func TestAPassLeavesKeycloakAsItWas(t *testing.T) {
	bystanders := []string{"deleted", "recreated", "newcomer"}
	l := keycloaktest.StartLDAP(t, append(bystanders, staff...), map[string][]string{"staff": staff})
	r := keycloaktest.Shared(t).NewRealm(t, keycloaktest.Spec{
		Groups: []string{"/club", "/other"}, GroupRoles: map[string][]string{"/club": {"boss"}},
		Users: []keycloaktest.User{{Username: "local", Email: "local@example.org", Groups: []string{"/club"}}, {Username: "off", Email: "off@example.org", Disabled: true, Groups: []string{"/club"}}},
	})
	f := r.Federate(t, l, keycloaktest.FederationOptions{NoSync: true})
	f.SyncGroups(t)
	for _, name := range append([]string{"deleted", "recreated"}, staff...) {
		r.UserID(t, name) // imports the person
	}
	r.Join(t, "feda", "/club")
	r.Join(t, "deleted", "/other")
	r.Join(t, "recreated", "/other")
	l.DeleteUser(t, "deleted")
	l.RecreateUser(t, "recreated")
	l.Leave(t, "fedd", "staff")
	r.SetEnabled(t, "fedc", false)
	r.ClearUserCache(t)
	before := r.State(t)
	if before.Has("newcomer") || !before.Has("deleted") {
		t.Fatal("the realm is not as the test needs it")
	}

	var seen counted
	c := configOf(r)
	c.Observe = seen.observe
	s := newSource(t, c)
	catalog := mustCatalog(t, s)
	groups := groupsOf(t, catalog, "/staff", "/club")
	snap, err := s.Read(t.Context(), catalog, source.Selection{Groups: []string{groups[0].ID, groups[1].ID}, Roles: []string{"boss"}})
	if err != nil {
		t.Fatal(err)
	}
	people := []source.Person{{Key: "gone", IDs: []string{"11111111-2222-3333-4444-555555555555"}, Email: "gone@example.org"}}
	for _, name := range []string{"fedd", "feda", "local", "off"} {
		people = append(people, source.Person{Key: name, IDs: []string{before.User(t, name).ID}}, source.Person{Key: name + " by email", Email: name + "@example.org"})
	}
	snap = mustLookUp(t, s, snap, people...)
	got := mustConfirm(t, s, snap,
		removal(groups, userOf(t, snap, "fedd")), removal(groups, userOf(t, snap, "fedc")), removal(groups, userOf(t, snap, "off")), gone(source.ByID, "gone"),
		grant(groups, userOf(t, snap, "fedb")), withRole(grant(groups[1:], userOf(t, snap, "feda")), "boss"), withRole(removal(groups, userOf(t, snap, "fedd")), "boss"),
	)
	for i, a := range got.Answers {
		if !a.Evidence.Valid() {
			t.Errorf("answer %d: %s", i, a.Doubt)
		}
	}
	if diff := cmp.Diff(before, r.State(t)); diff != "" {
		t.Errorf("the database before and after (-before +after):\n%s", diff)
	}
	t.Logf("requests: %v", seen.calls)
}

// A pass cannot avoid these writes. A plain GET imports a person who is in LDAP only. It
// deletes the row of a person whom LDAP no longer has, with the local memberships. Each row
// shows what one call does to one person. A sign-in does the same.
func TestWhichCallsMakeKeycloakWrite(t *testing.T) {
	names := []string{"id-of-deleted", "id-of-recreated", "count-of-deleted", "email-of-deleted", "email-of-recreated", "email-of-newcomer", "email-of-fine", "member-new", "member-fine", "local-deleted", "local-fine", "disabled-deleted", "disabled-fine"}
	l := keycloaktest.StartLDAP(t, names, map[string][]string{"staff": {"member-new", "member-fine"}})
	r := keycloaktest.Shared(t).NewRealm(t, keycloaktest.Spec{Groups: []string{"/club", "/other"}})
	f := r.Federate(t, l, keycloaktest.FederationOptions{NoSync: true})
	f.SyncGroups(t)
	for _, name := range names {
		if name == "email-of-newcomer" || name == "member-new" {
			continue
		}
		r.UserID(t, name)
		if strings.HasPrefix(name, "local-") {
			r.Join(t, name, "/club")
		} else {
			r.Join(t, name, "/other")
		}
	}
	r.SetEnabled(t, "disabled-deleted", false)
	r.SetEnabled(t, "disabled-fine", false)
	for _, name := range names {
		if strings.HasSuffix(name, "-deleted") {
			l.DeleteUser(t, name)
		}
		if strings.HasSuffix(name, "-recreated") {
			l.RecreateUser(t, name)
		}
	}
	r.ClearUserCache(t)
	s := newSource(t, configOf(r))
	catalog := mustCatalog(t, s)
	at := r.State(t)
	id := func(name string) string { return at.User(t, name).ID }
	get := func(path ...string) call { return call{name: "t", doing: "t", path: path} }
	email := func(name string) call {
		return call{name: "t", doing: "t", path: []string{"users"}, query: map[string][]string{"email": {name + "@example.org"}, "exact": {"true"}}}
	}
	members := func(path string) call {
		return call{name: "t", doing: "t", path: []string{"groups", groupsOf(t, catalog, path)[0].ID, "members"}, query: unpaged()}
	}
	search := get("users", id("count-of-deleted"), "groups", "count")
	search.query = map[string][]string{"search": {"staff"}}
	disabled := func(name string) call {
		return call{name: "t", doing: "t", path: []string{"users"}, query: map[string][]string{"enabled": {"false"}, "exact": {"true"}, "username": {name}}}
	}
	for _, row := range []struct {
		name string
		call call
		want []string
	}{
		{"a probe", get("users", "f:"+f.ID+":groupsync-probe-x"), nil},
		{"whether the database calls an account disabled", disabled("disabled-fine"), nil},
		{"the same of somebody deleted in LDAP", disabled("disabled-deleted"), []string{"- disabled-deleted in /other"}},
		{"the email of somebody imported", email("email-of-fine"), nil},
		{"the email of somebody deleted in LDAP", email("email-of-deleted"), []string{"- email-of-deleted in /other"}},
		{"the email of somebody in LDAP only", email("email-of-newcomer"), []string{"+ email-of-newcomer"}},
		{"the email of somebody re-created", email("email-of-recreated"), []string{"+ email-of-recreated", "- email-of-recreated in /other"}},
		{"the id of somebody deleted in LDAP", get("users", id("id-of-deleted")), []string{"- id-of-deleted in /other"}},
		{"the id of somebody re-created", get("users", id("id-of-recreated")), []string{"- id-of-recreated in /other"}},
		{"the count of somebody deleted in LDAP", search, []string{"- count-of-deleted in /other"}},
		{"the members of an LDAP group", members("/staff"), []string{"+ member-new"}},
		{"the members of a local group", members("/club"), []string{"- local-deleted in /club"}},
		{"the members of a local group again", members("/club"), nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := s.send(t.Context(), row.call); err != nil {
				t.Fatal(err)
			}
			now := r.State(t)
			if got := changes(at, now); !slices.Equal(got, row.want) {
				t.Errorf("the database changed by %q, want %q", got, row.want)
			}
			at = now
		})
	}
}

// changes returns the accounts that were added and removed between two states, with the
// groups for which they have rows. An account whose row changed in any way counts as removed
// and added.
func changes(before, after keycloaktest.State) (all []string) {
	lines := func(s keycloaktest.State) map[string]string {
		m := make(map[string]string)
		for _, u := range s.Users {
			line := u.Username
			if len(u.Groups) > 0 {
				line += " in " + strings.Join(u.Groups, " ")
			}
			m[fmt.Sprintf("%+v", u)] = line
		}
		return m
	}
	b, a := lines(before), lines(after)
	for key, line := range b {
		if _, kept := a[key]; !kept {
			all = append(all, "- "+line)
		}
	}
	for key, line := range a {
		if _, was := b[key]; !was {
			all = append(all, "+ "+line)
		}
	}
	slices.Sort(all)
	return all
}
