package keycloak

import "testing"

// TestTheFederationOfAnAccount: if an account is not imported, Keycloak 24 shows its federation
// only in the account's id.
func TestTheFederationOfAnAccount(t *testing.T) {
	yes := true
	for _, row := range []struct {
		name string
		rep  userRep
		want string
	}{
		{"a local account", userRep{ID: "6f1c9f6e-0a4d-4e0a-9d2c-0a1b2c3d4e5f"}, ""},
		{"an imported account", userRep{ID: "6f1c9f6e-0a4d-4e0a-9d2c-0a1b2c3d4e5f", FederationLink: "ldap-id"}, "ldap-id"},
		{"an account that is not imported, with its origin", userRep{ID: "f:ldap-id:ann", Origin: "ldap-id"}, "ldap-id"},
		{"an account that is not imported, by its id", userRep{ID: "f:ldap-id:ann"}, "ldap-id"},
		{"a name with a colon", userRep{ID: "f:ldap-id:a:b"}, "ldap-id"},
		{"no id of a federation", userRep{ID: "f:ann"}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.rep.Username, row.rep.Enabled = "ann", &yes
			u, err := row.rep.user("reading")
			if err != nil || u.Federation != row.want {
				t.Errorf("the federation is %q (%v), want %q", u.Federation, err, row.want)
			}
		})
	}
}
