package keycloak

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"groupsync/internal/fault"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/transport"
)

// TestTheMethodThatTheClientAcceptsIsFoundAndKept uses one Source while the test changes, in
// a real Keycloak, which methods the client accepts.
func TestTheMethodThatTheClientAcceptsIsFoundAndKept(t *testing.T) {
	r := keycloaktest.Shared(t).NewRealm(t, keycloaktest.Spec{Groups: []string{"/a"}})
	// The encoded forms of this id and this secret differ from the plain forms.
	c := newRealmClient(t, r, "group sync+1", oddSecret, nil, viewUsers, viewRealm)
	var seen []string
	c.Observe = func(a transport.Attempt) { seen = append(seen, a.Call) }
	s := newSource(t, c)
	id := clientID(t, r, url.QueryEscape("group sync+1"))
	for _, row := range []struct {
		accepts string
		want    []string // expected calls of the sign-in
	}{
		{"", []string{"token"}},
		{"client_secret_basic", []string{"token", "discovery", "token"}},
		{"client_secret_basic", []string{"token"}},
		{"", []string{"token"}},
		{"client_secret_post", []string{"token", "discovery", "token"}},
		{"client_secret_post", []string{"token"}},
	} {
		var client map[string]any // the whole representation: Keycloak 26.0 resets fields that an update leaves out
		r.Do(t, http.MethodGet, "/clients/"+id, nil, &client)
		maps.Copy(client, attribute(allowedMethod, row.accepts))
		r.Do(t, http.MethodPut, "/clients/"+id, client, nil)
		seen = nil
		if _, err := s.fresh(t.Context()); err != nil {
			t.Errorf("the client accepts %q: %v", row.accepts, err)
		}
		want := row.want
		if r.Server.Before(2601) { // these releases accept both methods, whatever the client is set to
			want = []string{"token"}
		}
		if !slices.Equal(seen, want) {
			t.Errorf("the client accepts %q: the calls are %q, want %q", row.accepts, seen, want)
		}
	}
}

func TestTheOtherMethodIsTriedOnceAndOnlyWhereItIsOffered(t *testing.T) {
	t.Parallel()
	refusal := status(401, "application/json", `{"error":"unauthorized_client","error_description":"Invalid client or Invalid client credentials"}`)
	methods := func(names string) http.HandlerFunc {
		return answer(`{"token_endpoint_auth_methods_supported":[` + names + `]}`)
	}
	onlyBasic := func(other http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if _, _, ok := r.BasicAuth(); ok {
				other(w, r)
				return
			}
			refusal(w, r)
		}
	}
	const discovery = "openid-configuration"
	for _, row := range []struct {
		name      string
		token     http.HandlerFunc
		discovery http.HandlerFunc
		reason    fault.Reason
		want      []string
	}{
		{"it is not offered", refusal, methods(`"client_secret_post","private_key_jwt"`), fault.Auth, []string{"token", discovery}},
		{"the document is not there", refusal, status(404, "text/html", "<html>"), fault.Auth, []string{"token", discovery}},
		{"the document does not come", refusal, hangs, fault.Auth, []string{"token", discovery}},
		{"both are refused", refusal, methods(`"client_secret_basic"`), fault.Auth, []string{"token", discovery, "token"}},
		{"the second try times out", onlyBasic(hangs), methods(`"client_secret_basic"`), fault.Timeout, []string{"token", discovery, "token"}},
		{"the realm is off", status(403, "application/json", `{"error":"access_denied","error_description":"Realm not enabled"}`), nil, fault.Rejected, []string{"token"}},
		{"the server fails", status(500, "application/json", `{"error":"unknown_error"}`), nil, fault.Server, []string{"token"}},
		{"a reason that groupsync does not know", status(403, "application/json", `{"error":"access_denied","error_description":"odd"}`), nil, fault.Auth, []string{"token"}},
		{"a proxy refuses", status(401, "text/html", "<html>"), nil, fault.Shape, []string{"token"}},
		{"a method that nobody offers is asked for", status(401, "application/json", `{"error":"unauthorized_client","error_description":"Invalid method used to get client secret. Client requires method 'odd'"}`),
			methods(`"client_secret_post"`), fault.Auth, []string{"token", discovery}},
	} {
		t.Run(row.name, func(t *testing.T) {
			k, s := newCounter(t, 1, 400*time.Millisecond, map[string]http.HandlerFunc{"token": row.token, discovery: row.discovery})
			_, err := s.fresh(t.Context())
			wantError(t, err, row.reason)
			if got := k.requests(); !slices.Equal(got, row.want) {
				t.Errorf("the requests are %q, want %q", got, row.want)
			}
		})
	}
	t.Run("the secret stands in no address, and by one method at a time", func(t *testing.T) {
		var asked []string
		_, s := newCounter(t, 1, 10*time.Second, map[string]http.HandlerFunc{
			discovery: methods(`"client_secret_basic"`),
			"token": func(w http.ResponseWriter, r *http.Request) {
				id, secret, _ := r.BasicAuth()
				asked = append(asked, fmt.Sprintf("%q %q %q %q", r.URL.RawQuery, id, secret, r.PostForm))
				refusal(w, r)
			},
		})
		s.config.ClientSecret = func() (string, error) { return oddSecret, nil }
		_, err := s.fresh(t.Context())
		wantSentence(t, err, fault.Auth, `signing in to Keycloak: the realm "demo" refuses the client "groupsync" (401 unauthorized_client: Invalid client or Invalid client credentials). The client exists, but Keycloak does not accept the secret. `+
			`groupsync did not read the realm. To fix it, check keycloak.client_id and the client secret, which Keycloak shows in Clients > groupsync > Credentials`)
		want := []string{
			`"" "" "" map["client_id":["groupsync"] "client_secret":["p%41 s+s:w&=ö"] "grant_type":["client_credentials"]]`,
			`"" "groupsync" "p%2541+s%2Bs%3Aw%26%3D%C3%B6" map["grant_type":["client_credentials"]]`,
		}
		if !slices.Equal(asked, want) {
			t.Errorf("the token requests are\n%s\nwant\n%s", strings.Join(asked, "\n"), strings.Join(want, "\n"))
		}
	})
}
