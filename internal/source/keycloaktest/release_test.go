package keycloaktest

import (
	"net/http"
	"slices"
	"testing"
)

// Keycloak before 26.0 enables a disabled LDAP account again when somebody lists the members
// of an LDAP group, even if an administrator disabled the account. Measured: on 24.0.5 and
// 25.0.6 only the member list does so; on 26.0.8 no call does.
func TestWhatEnablesAgainWhomAnAdminDisabled(t *testing.T) {
	l := StartLDAP(t, people(2), map[string][]string{"staff": {"feda"}})
	r := Shared(t).NewRealm(t, Spec{})
	r.Federate(t, l, FederationOptions{})
	id := r.UserID(t, "feda")
	for _, row := range []struct {
		name    string
		ask     func()
		enables bool
	}{
		{"nothing", func() {}, false},
		{"count", func() { count(t, r, id, "staff") }, false},
		{"own", func() { own(t, r, id, "/staff") }, false},
		{"users/{id}", func() { r.ClearUserCache(t); get[account](t, r, "/users/"+id) }, false},
		{"members", func() { members(t, r, "/staff") }, r.Server.Before(2600)},
		{"users by name", func() { r.UserID(t, "feda") }, false},
		{"users by email", func() { get[[]account](t, r, "/users?exact=true&email=feda@example.org") }, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			r.Do(t, http.MethodPut, "/users/"+id, object{"enabled": false}, nil)
			row.ask()
			disabled := get[[]account](t, r, "/users?enabled=false&max=-1")
			enabled := !slices.ContainsFunc(disabled, func(a account) bool { return a.ID == id })
			equal(t, "enabled again", enabled, row.enables)
		})
	}
}
