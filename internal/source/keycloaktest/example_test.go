package keycloaktest

import (
	"net/http"
	"testing"
)

// What groupsync check relies on when it asks for an example of a sign-in: the rights
// that the call needs, and that nothing is left behind.
func TestAnExampleOfASignIn(t *testing.T) {
	const person = "ann"
	for _, row := range []struct {
		name   string
		roles  []string
		status int
	}{
		{"view-clients and view-users are enough", []string{"view-clients", "view-users"}, http.StatusOK},
		{"view-clients alone is not", []string{"view-clients"}, http.StatusForbidden},
		{"view-users alone is not", []string{"view-users"}, http.StatusForbidden},
		{"query-clients in place of view-clients is not", []string{"query-clients", "view-users"}, http.StatusForbidden},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := Shared(t).NewRealm(t, Spec{Groups: []string{"/eng"}, Users: []User{{Username: person, Groups: []string{"/eng"}}}, ServiceRoles: row.roles})
			r.AddClearML(t, false)
			user, client := r.UserID(t, person), r.clientUUID(t, ClearML)
			for _, what := range []string{"generate-example-access-token", "generate-example-userinfo"} {
				if status, body := r.Get(t, "/clients/"+client+"/evaluate-scopes/"+what+"?scope=openid&userId="+user); status != row.status {
					t.Errorf("%s: %d %s, want %d", what, status, body, row.status)
				}
			}
			for _, sessions := range []string{"/users/" + user + "/sessions", "/clients/" + client + "/user-sessions"} {
				var left []any
				if r.Do(t, http.MethodGet, sessions, nil, &left); len(left) > 0 {
					t.Errorf("%s: %v is left", sessions, left)
				}
			}
		})
	}
}
