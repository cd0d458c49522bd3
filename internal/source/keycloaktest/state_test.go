package keycloaktest

import (
	"testing"
	"time"
)

func TestAStateIsReadFromTheRunningServer(t *testing.T) {
	l := StartLDAP(t, people(3), map[string][]string{"staff": {"feda"}})
	r := Shared(t).NewRealm(t, Spec{
		Groups: []string{"/eng/ops"}, Users: []User{{Username: "local", Email: "local@example.com", Disabled: true, Groups: []string{"/eng/ops"}, Roles: []string{"boss"}}},
	})
	f := r.Federate(t, l, FederationOptions{NoSync: true})
	f.SyncGroups(t)
	r.UserID(t, "feda") // imports feda
	start := time.Now()
	s := r.State(t)
	t.Logf("a state in %v", time.Since(start))
	local, fed := s.User(t, "local"), s.User(t, "feda")
	equal(t, "local", local, StoredUser{ID: local.ID, Username: "local", Email: "local@example.com", Groups: []string{"/eng/ops"}, Roles: []string{"boss"}})
	equal(t, "feda", fed, StoredUser{ID: fed.ID, Username: "feda", Email: "feda@example.org", Enabled: true, Federation: f.ID, Roles: []string{defaultRoles(r.Name)}})
	equal(t, "fedb, whom nobody asked for, is there", s.Has("fedb"), false)
	var paths []string
	for _, g := range s.Groups {
		paths = append(paths, g.Path)
	}
	equal(t, "groups", paths, []string{"/eng", "/eng/ops", "/staff"})
	equal(t, "storages", s.Storages, []string{f.ID})
	equal(t, "a second state", r.State(t), s)

	r.Join(t, "local", "/staff")
	equal(t, "after a change", r.State(t).User(t, "local").Groups, []string{"/eng/ops", "/staff"})
}
