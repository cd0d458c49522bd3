package keycloaktest

import (
	"os"
	"testing"
	"time"
)

// TestAChangeOnOneNodeIsSeenOnTheOther starts two nodes with one database and a shared
// cache. It changes something on the first node, and checks the four views of a person and a
// group on both. The caches of both nodes are warm before the change.
func TestAChangeOnOneNodeIsSeenOnTheOther(t *testing.T) {
	if os.Getenv("KEYCLOAK_VERSION") == "" {
		t.Skip("starts two more servers: make test-keycloak-versions")
	}
	start := time.Now()
	first, second := StartCluster(t)
	t.Logf("two nodes in %v", time.Since(start).Round(time.Second))
	l := StartLDAP(t, people(2), map[string][]string{"staff": {"feda"}})
	r := first.NewRealm(t, Spec{Groups: []string{"/local"}, Users: []User{{Username: "ann"}}})
	r.AddClearML(t, false)
	f := r.Federate(t, l, FederationOptions{})
	in, out := views{1, 1, 1, 1}, views{}
	for _, row := range []struct {
		name, user, group string
		change            func()
		first, second     views
	}{
		{"nothing has changed: a local person is out", "ann", "/local", func() {}, out, out},
		{"a local person joins", "ann", "/local", func() { r.Join(t, "ann", "/local") }, in, in},
		{"a local person leaves", "ann", "/local", func() { r.Leave(t, "ann", "/local") }, out, out},
		{"a person of LDAP joins a local group", "feda", "/local", func() { r.Join(t, "feda", "/local") }, in, in},
		{"a person of LDAP leaves a local group", "feda", "/local", func() { r.Leave(t, "feda", "/local") }, out, out},
		{"nothing has changed: a person of LDAP is in", "feda", "/staff", func() {}, in, in},
		{"a person leaves in LDAP: each node's cache is old, list and count are not", "feda", "/staff",
			func() { l.Leave(t, "feda", "staff") }, views{Claim: 1, Own: 1}, views{Claim: 1, Own: 1}},
		{"the cache is cleared on the first node", "feda", "/staff", func() { r.ClearUserCache(t) }, out, out},
		{"a person joins in LDAP", "feda", "/staff", func() { l.Join(t, "feda", "staff") }, views{Members: 1, Count: 1}, views{Members: 1, Count: 1}},
		{"changed people are synchronized on the first node", "feda", "/staff", func() { f.SyncChangedUsers(t) }, in, in},
	} {
		t.Run(row.name, func(t *testing.T) {
			id := r.UserID(t, row.user)
			for _, s := range []*Server{first, second} {
				own(t, r.On(s), id, row.group) // warms the cache
			}
			row.change()
			equal(t, "second node: claim, members, own, count", view(t, r.On(second), id, row.group), row.second)
			equal(t, "first node: claim, members, own, count", view(t, r, id, row.group), row.first)
		})
	}
}
