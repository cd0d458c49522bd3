package keycloaktest

import (
	"net/http"
	"testing"
)

// TestAnExampleOfASignIn checks two facts that groupsync check needs for its example of a
// sign-in: which roles the call needs, and that the call leaves no session and no event.
func TestAnExampleOfASignIn(t *testing.T) {
	const person = "ann"
	for _, row := range []struct {
		name   string
		roles  []string
		status int
		older  int // status of Keycloak 26.0 and older
	}{
		{"view-clients and view-users are enough", []string{"view-clients", "view-users"}, http.StatusOK, http.StatusOK},
		{"view-clients alone is not, but on older releases", []string{"view-clients"}, http.StatusForbidden, http.StatusOK},
		{"view-users alone is not", []string{"view-users"}, http.StatusForbidden, http.StatusForbidden},
		{"query-clients in place of view-clients is not", []string{"query-clients", "view-users"}, http.StatusForbidden, http.StatusForbidden},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := Shared(t).NewRealm(t, Spec{Groups: []string{"/eng"}, Users: []User{{Username: person, Groups: []string{"/eng"}}}, ServiceRoles: row.roles})
			r.AddClearML(t, false)
			user, client := r.UserID(t, person), r.clientUUID(t, ClearML)
			r.Do(t, http.MethodPut, "/events/config", map[string]any{"eventsEnabled": true, "adminEventsEnabled": true}, nil)
			listed := func(path string) (n int) {
				var all []any
				r.Do(t, http.MethodGet, path, nil, &all)
				return len(all)
			}
			want := row.status
			if r.Server.Before(2601) {
				want = row.older
			}
			adminEvents := listed("/admin-events")
			for _, what := range []string{"generate-example-access-token", "generate-example-userinfo"} {
				if status, body := r.Get(t, "/clients/"+client+"/evaluate-scopes/"+what+"?scope=openid&userId="+user); status != want {
					t.Errorf("%s: %d %s, want %d", what, status, body, want)
				}
			}
			for _, left := range []string{"/users/" + user + "/sessions", "/clients/" + client + "/user-sessions", "/events?user=" + user, "/events?client=" + ClearML} {
				if n := listed(left); n > 0 {
					t.Errorf("%s: %d left", left, n)
				}
			}
			if n := listed("/admin-events"); n != adminEvents {
				t.Errorf("%d admin events, %d before", n, adminEvents)
			}
			// This shows that the lists above would contain a remaining session or event.
			if n := listed("/events?client=" + r.ClientID); n == 0 {
				t.Error("the sign-in of the service account left no event")
			}
		})
	}
}
