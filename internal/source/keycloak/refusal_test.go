package keycloak

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"groupsync/internal/fault"
	"groupsync/internal/source/keycloaktest"
)

// wantSentence fails the test unless the error has the reason and exactly this text.
func wantSentence(t *testing.T, err error, reason fault.Reason, want string) {
	t.Helper()
	wantError(t, err, reason)
	if got := err.Error(); got != want {
		t.Errorf("the sentence is\n%s\nwant\n%s", got, want)
	}
	for _, secret := range []string{keycloaktest.Secret, oddSecret, "s3cret", "eyJ", "e30.", "someone@example.com"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error holds %q: %v", secret, err)
		}
	}
}

// oddSecret changes when it is form-encoded, as RFC 6749 requires in the header.
const oddSecret = "p%41 s+s:w&=ö"

// newRealmClient creates a client with a secret and a service account in the realm, with the
// admin console's defaults. It assigns the roles of realm-management to the service account,
// and returns the configuration that signs in as this client.
func newRealmClient(t *testing.T, r *keycloaktest.Realm, id, secret string, edit map[string]any, roles ...string) Config {
	t.Helper()
	rep := map[string]any{
		"clientId": id, "secret": secret, "enabled": true, "publicClient": false,
		"serviceAccountsEnabled": true, "standardFlowEnabled": false,
	}
	maps.Copy(rep, edit)
	r.Do(t, http.MethodPost, "/clients", rep, nil)
	if len(roles) > 0 {
		management := clientID(t, r, "realm-management")
		grants := make([]map[string]any, len(roles))
		for i, role := range roles {
			r.Do(t, http.MethodGet, "/clients/"+management+"/roles/"+role, nil, &grants[i])
		}
		r.Do(t, http.MethodPost, "/users/"+r.UserID(t, "service-account-"+id)+"/role-mappings/clients/"+management, grants, nil)
	}
	c := configOf(r)
	c.ClientID, c.ClientSecret = id, func() (string, error) { return secret, nil }
	return c
}

// clientID returns Keycloak's internal id of the client.
func clientID(t *testing.T, r *keycloaktest.Realm, id string) string {
	t.Helper()
	var clients []struct{ ID string }
	r.Do(t, http.MethodGet, "/clients?clientId="+id, nil, &clients)
	if len(clients) != 1 {
		t.Fatalf("%d clients named %q", len(clients), id)
	}
	return clients[0].ID
}

func attribute(name, value string) map[string]any {
	return map[string]any{"attributes": map[string]any{name: value}}
}

const (
	allowedMethod = "client.secret.authentication.allowed.method"
	lightweight   = "client.use.lightweight.access.token.enabled"
)

// TestARefusedSignInNamesItsCause causes each refusal in a real Keycloak.
func TestARefusedSignInNamesItsCause(t *testing.T) {
	r := keycloaktest.Shared(t).NewRealm(t, keycloaktest.Spec{Groups: []string{"/a"}})
	const refuses, unread = `signing in to Keycloak: the realm "REALM" refuses the client "CLIENT" `, ". groupsync did not read the realm. To fix it, "
	noRoles := "signing in to Keycloak: the access token carries no client roles and no realm roles" + unread +
		"check 3 settings, each of which can be the cause. Assign view-users and view-realm of realm-management in Clients > CLIENT > Service account roles. " +
		`Switch on "Full scope allowed" in Clients > CLIENT > Client scopes > CLIENT-dedicated > Scope. Keep "roles" among the default scopes in Clients > CLIENT > Client scopes`
	light := `signing in to Keycloak: the client "CLIENT" gets lightweight access tokens: the access token carries no client roles, so groupsync cannot tell what it may read` + unread +
		`switch off "Always use lightweight access token" in Clients > CLIENT > Advanced > Advanced settings. If it is off, a client policy of the realm (executor use-lightweight-access-token) sets it`
	if r.Server.Before(2602) { // the token's id does not show its kind
		noRoles = strings.Replace(noRoles, "check 3", "check 4", 1) + `. Switch off "Always use lightweight access token" in Clients > CLIENT > Advanced > Advanced settings`
		light = noRoles
	}
	const assigned = "assign view-users and view-realm of realm-management "
	rows := []struct {
		name   string
		edit   map[string]any
		roles  []string
		given  string // the secret that groupsync uses; empty: the correct one
		reason fault.Reason
		want   string
	}{
		{"wrong-secret", nil, nil, "wrong", fault.Auth,
			refuses + "(401 unauthorized_client: Invalid client or Invalid client credentials). The client exists, but Keycloak does not accept the secret" + unread +
				"check keycloak.client_id and the client secret, which Keycloak shows in Clients > CLIENT > Credentials"},
		{"wrong-secret-basic-only", attribute(allowedMethod, "client_secret_basic"), nil, "wrong", fault.Auth,
			refuses + "(401 unauthorized_client: Invalid client or Invalid client credentials). The client exists, but Keycloak does not accept the secret" + unread +
				"check keycloak.client_id and the client secret, which Keycloak shows in Clients > CLIENT > Credentials"},
		{"disabled", map[string]any{"enabled": false}, nil, "", fault.Auth,
			refuses + "(401 invalid_client: Invalid client or Invalid client credentials). There is no such client, or it is disabled, or it is set to sign in without a client secret" + unread +
				`check keycloak.client_id, and that the client is enabled with the "Client Authenticator" "Client Id and Secret" in Clients > CLIENT > Credentials`},
		{"mtls", map[string]any{"clientAuthenticatorType": "client-x509"}, nil, "", fault.Auth,
			refuses + "(401 invalid_client: Invalid client or Invalid client credentials). There is no such client, or it is disabled, or it is set to sign in without a client secret" + unread +
				`check keycloak.client_id, and that the client is enabled with the "Client Authenticator" "Client Id and Secret" in Clients > CLIENT > Credentials`},
		{"signed-jwt", map[string]any{"clientAuthenticatorType": "client-jwt"}, nil, "", fault.Auth,
			refuses + "(400 invalid_client: Parameter client_assertion_type is missing). The client is set to sign in by a signed JWT, and groupsync has only a client secret" + unread +
				`set "Client Authenticator" to "Client Id and Secret" in Clients > CLIENT > Credentials`},
		{"no-service-account", map[string]any{"serviceAccountsEnabled": false}, nil, "", fault.Auth,
			refuses + "(401 unauthorized_client: Client not enabled to retrieve service account). The client has no service account" + unread +
				`switch on "Service account roles" in Clients > CLIENT > Settings > Capability config, and assign view-users and view-realm of realm-management to the service account`},
		{"public", map[string]any{"publicClient": true, "serviceAccountsEnabled": false}, nil, "", fault.Auth,
			refuses + "(401 unauthorized_client: Public client not allowed to retrieve service account). The client is public, so it has no secret and no service account" + unread +
				`switch on "Client authentication" and "Service account roles" in Clients > CLIENT > Settings > Capability config`},
		{"roles-not-assigned", nil, nil, "", fault.Forbidden,
			"signing in to Keycloak: the access token lacks view-users and view-realm of realm-management, without which Keycloak hides people and reports no error. The token carries other roles, so the missing roles are probably not assigned" + unread +
				assigned + `to the service account of the client "CLIENT" in Clients > CLIENT > Service account roles. If they are listed there, switch on "Full scope allowed" in Clients > CLIENT > Client scopes > CLIENT-dedicated > Scope`},
		{"one-role-missing", nil, []string{viewUsers}, "", fault.Forbidden,
			"signing in to Keycloak: the access token lacks view-realm of realm-management, without which Keycloak hides people and reports no error. The token carries other roles, so the missing roles are probably not assigned" + unread +
				`assign view-realm of realm-management to the service account of the client "CLIENT" in Clients > CLIENT > Service account roles. If they are listed there, switch on "Full scope allowed" in Clients > CLIENT > Client scopes > CLIENT-dedicated > Scope`},
		{"full-scope-off", map[string]any{"fullScopeAllowed": false}, []string{viewUsers, viewRealm}, "", fault.Forbidden,
			noRoles},
		{"no-scope-roles", map[string]any{"defaultClientScopes": []string{"profile", "email", "basic"}}, []string{viewUsers, viewRealm}, "", fault.Forbidden,
			noRoles},
		{"lightweight", attribute(lightweight, "true"), []string{viewUsers, viewRealm}, "", fault.Forbidden,
			light},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c := newRealmClient(t, r, row.name, keycloaktest.Secret, row.edit, row.roles...)
			if row.given != "" {
				c.ClientSecret = func() (string, error) { return row.given, nil }
			}
			_, err := newSource(t, c).fresh(t.Context())
			wantSentence(t, err, row.reason, strings.NewReplacer("REALM", r.Name, "CLIENT", row.name).Replace(row.want))
		})
	}
}

// TestARealmThatTakesNobodyNamesItsCause changes settings of the realm, so it needs its own
// realm.
func TestARealmThatTakesNobodyNamesItsCause(t *testing.T) {
	r := keycloaktest.Shared(t).NewRealm(t, keycloaktest.Spec{Groups: []string{"/a"}})
	set := func(t *testing.T, key string, broken, whole any) {
		r.Do(t, http.MethodPut, "", map[string]any{key: broken}, nil)
		t.Cleanup(func() { r.Do(t, http.MethodPut, "", map[string]any{key: whole}, nil) })
	}
	s := newSource(t, configOf(r))
	if _, err := s.token(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Run("HTTPS is required and keycloak.url is http", func(t *testing.T) {
		set(t, "sslRequired", "all", "external")
		_, err := s.fresh(t.Context())
		wantSentence(t, err, fault.Rejected, `signing in to Keycloak: the realm "`+r.Name+`" requires HTTPS, and the request reached Keycloak as plain HTTP (403 invalid_request: HTTPS required). groupsync did not read the realm. `+
			`To fix it, put the https:// address of Keycloak into keycloak.url. "Require SSL" in the realm's Realm settings says who may use plain HTTP`)
	})
	t.Run("HTTPS is required and the proxy that ends TLS does not tell Keycloak", func(t *testing.T) {
		set(t, "sslRequired", "all", "external")
		proxy := httptest.NewTLSServer(httputil.NewSingleHostReverseProxy(parsed(t, r.Server.URL)))
		t.Cleanup(proxy.Close)
		c := configOf(r)
		c.URL, c.InsecureSkipVerify = proxy.URL, true
		_, err := newSource(t, c).fresh(t.Context())
		wantSentence(t, err, fault.Rejected, `signing in to Keycloak: the realm "`+r.Name+`" requires HTTPS, and the request reached Keycloak as plain HTTP (403 invalid_request: HTTPS required). groupsync did not read the realm. `+
			`To fix it, let the proxy that ends TLS in front of Keycloak send X-Forwarded-Proto: https, and start Keycloak with --proxy-headers=xforwarded`)
	})
	t.Run("the realm is switched off", func(t *testing.T) {
		if _, err := s.fresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		set(t, "enabled", false, true)
		// Keycloak still answers admin calls with a token that it issued before.
		if err := get(t.Context(), s, "groups"); err != nil {
			t.Errorf("an admin call with an older token: %v", err)
		}
		_, err := s.fresh(t.Context())
		wantSentence(t, err, fault.Rejected, `signing in to Keycloak: the realm "`+r.Name+`" is switched off (403 access_denied: Realm not enabled). groupsync did not read the realm. `+
			`To fix it, switch on "Enabled" in the realm's Realm settings, or check keycloak.realm`)
	})
	t.Run("a client policy forbids the client's way to sign in", func(t *testing.T) {
		put := func(path, key string, value any) {
			r.Do(t, http.MethodPut, "/client-policies/"+path, map[string]any{key: value}, nil)
		}
		put("profiles", "profiles", []any{map[string]any{"name": "jwt", "executors": []any{map[string]any{
			"executor": "secure-client-authenticator", "configuration": map[string]any{"allowed-client-authenticators": []string{"client-jwt"}}}}}})
		put("policies", "policies", []any{map[string]any{"name": "jwt", "enabled": true, "profiles": []string{"jwt"},
			"conditions": []any{map[string]any{"condition": "any-client", "configuration": map[string]any{}}}}})
		t.Cleanup(func() { put("policies", "policies", []any{}); put("profiles", "profiles", []any{}) })
		_, err := s.fresh(t.Context())
		wantSentence(t, err, fault.Auth, `signing in to Keycloak: the realm "`+r.Name+`" refuses the client "groupsync" (400 invalid_request: Configured client authentication method not allowed for client). `+
			`A client policy of the realm does not allow the way in which the client is set to sign in. groupsync did not read the realm. `+
			`To fix it, let the policy allow the authenticator client-secret for this client (Realm settings > Client policies, executor secure-client-authenticator)`)
	})
	t.Run("a call needs a role that is not there", func(t *testing.T) {
		if r.Server.Before(2601) {
			t.Skip("Keycloak 26.0 and older answer with an empty list")
		}
		if _, err := s.fresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := list[any](t.Context(), s, call{name: "clients", doing: "listing the clients", role: viewClients, path: []string{"clients"}})
		wantSentence(t, err, fault.Forbidden, `listing the clients: Keycloak refuses the call (403 HTTP 403 Forbidden). The call needs the role view-clients of realm-management. groupsync did not complete this read. `+
			`To fix it, give the service account of the client "groupsync" the role view-clients of realm-management in Clients > groupsync > Service account roles. `+
			`If it has the role, switch on "Full scope allowed" in Clients > groupsync > Client scopes > groupsync-dedicated > Scope`)
	})
	t.Run("what is missing is told from a call that Keycloak does not have", func(t *testing.T) {
		more := ""
		if r.Server.Before(2600) {
			more = ": For more on this error consult the server log at the debug level."
		}
		err := s.get(t.Context(), call{doing: "looking up a user", role: viewUsers, path: []string{"users", "nobody"}}, nil)
		wantSentence(t, err, fault.NotFound, `looking up a user: Keycloak does not find the requested object (404 User not found`+more+`). groupsync did not complete this read. To fix it, run again. If that does not help, check keycloak.realm and keycloak.url`)
		err = s.get(t.Context(), call{doing: "listing the gnomes", role: viewUsers, path: []string{"gnomes"}}, nil)
		wantSentence(t, err, fault.Shape, `listing the gnomes: this Keycloak does not have the call (404 HTTP 404 Not Found`+more+`). groupsync did not complete this read. To fix it, check that Keycloak's feature admin-api is enabled and that groupsync supports this version of Keycloak`)
	})
	t.Run("a proxy lets only /realms through", func(t *testing.T) {
		keycloak := httputil.NewSingleHostReverseProxy(parsed(t, r.Server.URL))
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if strings.HasPrefix(req.URL.Path, "/admin") {
				w.Header().Set("Server", "nginx")
				status(403, "text/html", "<html><title>403 Forbidden</title>"+req.URL.String())(w, req)
				return
			}
			keycloak.ServeHTTP(w, req)
		}))
		t.Cleanup(proxy.Close)
		c := configOf(r)
		c.URL = proxy.URL
		err := newSource(t, c).get(t.Context(), call{doing: "looking up an email", role: viewUsers, path: []string{"users"}, query: url.Values{"email": {"someone@example.com"}}}, nil)
		wantSentence(t, err, fault.Shape, `looking up an email: the answer (403, content type "text/html", server "nginx") does not come from Keycloak. `+
			`A proxy or firewall in front of Keycloak refuses the path /admin; this is not a missing role. groupsync did not complete this read. `+
			`To fix it, let the proxy pass /admin from groupsync to Keycloak, or set keycloak.url to an address behind the proxy`)
	})
}

func parsed(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestAnAnswerThatIsNotKeycloaksIsNoMissingRole uses answers of proxies and other servers, which a
// Keycloak never gives. The error must not blame a missing role.
func TestAnAnswerThatIsNotKeycloaksIsNoMissingRole(t *testing.T) {
	const page = "text/html; charset=utf-8"
	rows := []struct {
		name   string
		answer http.HandlerFunc
		seen   string // the answer as quoted in the error; empty: the answer counts as Keycloak's
		reason fault.Reason
	}{
		{"a page with 403", status(403, page, "<html>Forbidden</html>"), `403, content type "text/html; charset=utf-8"`, fault.Shape},
		{"a page with 404", status(404, page, "<html>Not Found</html>"), `404, content type "text/html; charset=utf-8"`, fault.Shape},
		{"a page with 401", status(401, page, "<html>Log in</html>"), `401, content type "text/html; charset=utf-8"`, fault.Shape},
		{"407", status(407, page, "<html>"), `407, content type "text/html; charset=utf-8"`, fault.Shape},
		{"plain text", status(403, "text/plain", "RBAC: access denied"), `403, content type "text/plain"`, fault.Shape},
		{"an empty 404", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, `404, content type ""`, fault.Shape},
		{"a gateway's JSON", status(404, "application/json", `{"message":"no Route matched with those values"}`), `404, content type "application/json"`, fault.Shape},
		{"a gateway's JSON that has an error too", status(404, "application/json", `{"timestamp":"x","status":404,"error":"Not Found","path":"/admin"}`), `404, content type "application/json"`, fault.Shape},
		{"a gateway's JSON whose error is an object", status(403, "application/json", `{"error":{"code":403}}`), `403, content type "application/json"`, fault.Shape},
		{"JSON that is no object", status(404, "application/json", `[]`), `404, content type "application/json"`, fault.Shape},
		{"Keycloak's 403", status(403, "application/json", `{"error":"HTTP 403 Forbidden"}`), "", fault.Forbidden},
		{"Keycloak's 404", status(404, "application/json;charset=UTF-8", `{"error":"User not found"}`), "", fault.NotFound},
		{"Keycloak's other form", status(404, "application/json", `{"errorMessage":"User not found"}`), "", fault.NotFound},
		{"a realm that is gone", status(404, "application/json", `{"error":"Realm not found."}`), "", fault.Incomplete},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			_, s := newCounter(t, 1, 10*time.Second, map[string]http.HandlerFunc{"x": row.answer})
			err := get(t.Context(), s, "x")
			if row.seen == "" {
				wantError(t, err, row.reason)
				return
			}
			wantSentence(t, err, row.reason, "reading x: the answer ("+row.seen+`) does not come from Keycloak. A proxy or firewall in front of Keycloak refuses the path /admin; this is not a missing role. groupsync did not complete this read. `+
				`To fix it, let the proxy pass /admin from groupsync to Keycloak, or set keycloak.url to an address behind the proxy`)
		})
	}
	t.Run("at the token endpoint", func(t *testing.T) {
		_, s := newCounter(t, 1, 10*time.Second, map[string]http.HandlerFunc{"token": status(403, page, "<html>Forbidden</html>")})
		_, err := s.fresh(t.Context())
		wantSentence(t, err, fault.Shape, `signing in to Keycloak: the answer (403, content type "text/html; charset=utf-8") does not come from Keycloak. A proxy or firewall in front of Keycloak refuses the path /realms; this is not a missing role. groupsync did not read the realm. `+
			`To fix it, let the proxy pass /realms from groupsync to Keycloak, or set keycloak.url to an address behind the proxy`)
	})
	t.Run("a page with 404 at the token endpoint, as of a Keycloak with another path prefix", func(t *testing.T) {
		_, s := newCounter(t, 1, 10*time.Second, map[string]http.HandlerFunc{"token": status(404, page, "<html><body><h1>Resource not found</h1></body></html>")})
		_, err := s.fresh(t.Context())
		wantSentence(t, err, fault.NotFound, `signing in to Keycloak: there is no Keycloak at `+s.base.String()+` (404, content type "text/html; charset=utf-8"). The path prefix is wrong, or a proxy in front of Keycloak refuses the path /realms. groupsync did not read the realm. `+
			`To fix it, check the path prefix in keycloak.url, for example /auth. If it is right, let the proxy pass /realms from groupsync to Keycloak, or set keycloak.url to an address behind the proxy`)
	})
	for name, answer := range map[string]http.HandlerFunc{
		"a realm that is gone when the token is renewed": status(404, "application/json", `{"error":"Realm does not exist"}`),
		"a page in place of the renewed token":           status(404, page, "<html>"),
	} {
		t.Run(name+" is not the call's object that is gone", func(t *testing.T) {
			var tokens int
			_, s := newCounter(t, 1, 10*time.Second, map[string]http.HandlerFunc{"token": func(w http.ResponseWriter, r *http.Request) {
				if tokens++; tokens > 1 {
					answer(w, r)
					return
				}
				slowly(`{"access_token":"`+jwt("1", []string{viewUsers, viewRealm})+`","expires_in":0}`)(w, r)
			}})
			if err := get(t.Context(), s, "x"); err != nil {
				t.Fatal(err)
			}
			wantError(t, get(t.Context(), s, "x"), fault.Incomplete, "signing in to Keycloak: there is no ")
		})
	}
	t.Run("words that would forge a line", func(t *testing.T) {
		_, s := newCounter(t, 1, 10*time.Second, map[string]http.HandlerFunc{"x": status(403, "application/json", `{"error":"a\nerror: forged \u001b[31m`+strings.Repeat("é", 200)+`"}`)})
		err := get(t.Context(), s, "x")
		wantError(t, err, fault.Forbidden, "(403 a error: forged  [31mé")
		if strings.ContainsAny(err.Error(), "\n\x1b") || strings.Count(err.Error(), "é") > 80 {
			t.Errorf("the error is %q", err)
		}
	})
}

// TestATokenOfAnOlderKeycloakIsToldByNothing covers tokens whose id does not show their
// kind. Keycloak before 26.2 issues such tokens.
func TestATokenOfAnOlderKeycloakIsToldByNothing(t *testing.T) {
	_, s := newCounter(t, 1, 10*time.Second, map[string]http.HandlerFunc{
		"token": answer(`{"access_token":"` + jwt("6dedabc2-0468-0544-99bc-90efd7e40668", nil) + `","expires_in":60}`),
	})
	_, err := s.fresh(t.Context())
	wantSentence(t, err, fault.Forbidden, `signing in to Keycloak: the access token carries no client roles and no realm roles. groupsync did not read the realm. `+
		`To fix it, check 4 settings, each of which can be the cause. Assign view-users and view-realm of realm-management in Clients > groupsync > Service account roles. `+
		`Switch on "Full scope allowed" in Clients > groupsync > Client scopes > groupsync-dedicated > Scope. Keep "roles" among the default scopes in Clients > groupsync > Client scopes. `+
		`Switch off "Always use lightweight access token" in Clients > groupsync > Advanced > Advanced settings`)
}
