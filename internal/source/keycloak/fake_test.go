package keycloak

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"groupsync/internal/fault"
)

// fake is a Keycloak whose answers a test sets, by the path after the realm's name. It is
// for answers that a real server gives only after a failure.
type fake struct {
	mu       sync.Mutex
	answers  map[string]http.HandlerFunc
	requests []string     // method and path below the realm
	queries  []url.Values // the query of each request
	roles    []string
	life     int // lifespan of a token in seconds; 0: 300
	tokens   int
}

func newFake(t *testing.T, change func(*Config)) (*fake, *Source) {
	t.Helper()
	f := &fake{roles: []string{viewUsers, viewRealm}}
	f.answers = map[string]http.HandlerFunc{
		"/groups":             answer(`[{"id":"g1","name":"eng","subGroupCount":1},{"id":"g2","name":"ops","subGroupCount":0}]`),
		"/groups/g1/children": answer(`[{"id":"g3","name":"night","subGroupCount":0}]`),
		"/groups/count":       answer(`{"count":3}`),
		"":                    answer(`{"realm":"demo","duplicateEmailsAllowed":false}`),
		"/components":         answer(`[]`),
		"/users":              answer(`[]`),
		"/groups/g1/members":  answer(`[{"id":"u1","username":"ann","enabled":true}]`),
		"/groups/g2/members":  answer(`[]`),
		"/groups/g3/members":  answer(`[]`),
	}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	c := Config{URL: server.URL, Realm: "demo", ClientID: "groupsync", ClientSecret: func() (string, error) { return "s3cret", nil }, Timeout: 2 * time.Second}
	if change != nil {
		change(&c)
	}
	return f, newSource(t, c)
}

func answer(body string) http.HandlerFunc { return status(http.StatusOK, "application/json", body) }

func status(code int, kind, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	path := strings.TrimPrefix(r.URL.Path, "/admin/realms/demo")
	f.requests = append(f.requests, r.Method+" "+path)
	f.queries = append(f.queries, r.URL.Query())
	h, ok := f.answers[path]
	if strings.HasPrefix(path, "/users/f:") {
		h, ok = f.answers["probe"]
	}
	if !ok && strings.HasPrefix(path, "/groups/") {
		h, ok = f.group(strings.TrimPrefix(path, "/groups/"))
	}
	if strings.HasPrefix(r.URL.Path, "/realms/demo/") && !ok {
		h, ok = f.token(), true
	}
	f.mu.Unlock()
	if !ok {
		h = status(http.StatusNotFound, "application/json", `{"error":"not found"}`)
	}
	h(w, r)
}

// group answers for one group as the lists of groups have it. The caller must hold the lock.
func (f *fake) group(id string) (http.HandlerFunc, bool) {
	for path, h := range f.answers {
		if path != "/groups" && !strings.HasSuffix(path, "/children") {
			continue
		}
		list := httptest.NewRecorder()
		h(list, httptest.NewRequest(http.MethodGet, path, nil))
		var groups []json.RawMessage
		_ = json.Unmarshal(list.Body.Bytes(), &groups) // a test may answer with no list
		for _, g := range groups {
			var rep groupRep
			if json.Unmarshal(g, &rep) == nil && rep.ID == id {
				return answer(string(g)), true
			}
		}
	}
	return nil, false
}

// token issues a token. The caller must hold the lock.
func (f *fake) token() http.HandlerFunc {
	f.tokens++
	life := f.life
	if life == 0 {
		life = 300
	}
	return answer(fmt.Sprintf(`{"access_token":%q,"expires_in":%d}`, jwt(fmt.Sprint(f.tokens), f.roles), life))
}

func jwt(id string, roles []string) string {
	claims := map[string]any{"jti": id}
	if roles != nil {
		claims["resource_access"] = map[string]any{"realm-management": map[string]any{"roles": roles}}
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return "e30." + base64.RawURLEncoding.EncodeToString(payload) + ".c2ln"
}

// forget clears the recorded requests.
func (f *fake) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests, f.queries = nil, nil
}

// asked counts the requests whose path begins with the prefix.
func (f *fake) asked(prefix string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.requests {
		if strings.HasPrefix(r, "GET "+prefix) {
			n++
		}
	}
	return n
}

func (f *fake) count(request string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.requests {
		if r == request {
			n++
		}
	}
	return n
}

func TestAHalfReadIsAnErrorAndNeverAShortResult(t *testing.T) {
	t.Parallel()
	const members, kc = "/groups/g1/members", "/realms/demo/protocol/openid-connect/token"
	rows := []struct {
		name   string
		path   string
		answer http.HandlerFunc
		reason fault.Reason
		pieces []string
	}{
		{"a proxy's page with 200", members, status(200, "text/html", "<html>Sign in</html>"), fault.Shape,
			[]string{"reading the members of the group /eng: the answer has status 200 and content type \"text/html\" instead of JSON: \"<html>Sign in</html>\""}},
		{"a proxy's page in place of the realm's settings", "", status(200, "text/html; charset=utf-8", "<html>"), fault.Shape, []string{"reading the realm's settings: the answer has status 200 and content type"}},
		{"a proxy's page in place of the federations", "/components", status(200, "text/html; charset=utf-8", "<html>"), fault.Shape, []string{"reading the realm's federations: the answer has status 200 and content type"}},
		{"204 without a body", members, status(204, "application/json", ""), fault.Shape, []string{"the answer has status 204 and content type \"application/json\" instead of JSON: (no body)"}},
		{"an empty 200", members, answer(""), fault.Shape, []string{"the answer of 0 bytes is not complete JSON of the documented form: unexpected end of JSON input"}},
		{"null", members, answer("null"), fault.Shape, []string{"Keycloak answered null instead of a list"}},
		{"an object in place of a list", members, answer("{}"), fault.Shape, []string{"not complete JSON of the documented form: json: cannot unmarshal object"}},
		{"a list that ends early, its length announced so", members, answer(`[{"id":"u1","username":"ann","enabled":true},`), fault.Shape, []string{"not complete JSON of the documented form: unexpected end of JSON input"}},
		{"a list that ends in an error object", members, answer(`[{"id":"u1","username":"ann","enabled":true},{"error":"unknown_error"}]`), fault.Shape, []string{"an entry lacks its id or its name"}},
		{"an error object after the list", members, answer(`[{"id":"u1","username":"ann","enabled":true}]{"error":"unknown_error"}`), fault.Shape, []string{"invalid character '{' after top-level value"}},
		{"an account that does not say whether it is enabled", members, answer(`[{"id":"u1","username":"ann"}]`), fault.Shape, []string{"reading the members of the group /eng: an account does not say whether it is enabled"}},
		{"a connection that breaks in the middle of the body", members, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, `[{"id":"u1",`)
		}, fault.Incomplete, []string{"reading the members of the group /eng: the answer broke off: unexpected EOF; run again"}},
		{"a body that stops coming", members, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `[{"id":"u1",`)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, fault.Timeout, []string{"no complete answer from http://127.0.0.1:", "within 2s"}},
		{"a redirect", members, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://login.example.com/?state=hidden", http.StatusFound)
		}, fault.Shape, []string{`a redirect (302) to "https://login.example.com/"; set keycloak.url to an address that answers without a redirect`}},
		{"403", members, status(403, "application/json", `{"error":"HTTP 403 Forbidden"}`), fault.Forbidden, []string{`give the service account of the client "groupsync" the role view-users of realm-management`}},
		{"403 for the federations", "/components", status(403, "application/json", `{}`), fault.Forbidden, []string{"the role view-realm of realm-management"}},
		{"500", members, status(500, "application/json", `{"error":"unknown_error"}`), fault.Server, []string{`Keycloak answered 500: "{\"error\":\"unknown_error\"}"`}},
		{"a group that vanishes before its members", members, status(404, "application/json", `{"error":"Could not find group by id"}`), fault.Incomplete, []string{"the group /eng: the group vanished during the read (404); run again"}},
		{"a group that vanishes before its children", "/groups/g1/children", status(404, "application/json", `{}`), fault.Incomplete, []string{`listing the groups below "eng": the group vanished during the read (404); run again`}},
		{"fewer children than announced", "/groups/g1/children", answer("[]"), fault.Incomplete, []string{"Keycloak announced 1 groups and listed 0"}},
		{"a group more in the count", "/groups/count", answer(`{"count":4}`), fault.Incomplete, []string{"Keycloak listed 3 groups but counts 4"}},
		{"a group fewer in the count", "/groups/count", answer(`{"count":2}`), fault.Incomplete, []string{"Keycloak listed 3 groups but counts 2"}},
		{"a count without a number", "/groups/count", answer(`{}`), fault.Shape, []string{"counting the groups: the answer holds no count"}},
		{"settings in the form of Keycloak 23", "", answer(`{"duplicateEmailsAllowed":false,"permanentLockout":false}`), fault.Shape, []string{"reading the realm's settings: the settings that Keycloak 24 added are missing, so this Keycloak is too old: groupsync supports Keycloak 24 and newer; upgrade Keycloak"}},
		{"groups in the form of releases before 23", "/groups", answer(`[{"id":"g1","name":"eng","subGroups":[]}]`), fault.Shape, []string{"listing the groups: the list does not tell how many groups are below each one, so this Keycloak is too old: groupsync supports Keycloak 24 and newer; upgrade Keycloak"}},
		{"a group without a name", "/groups", answer(`[{"id":"g1"}]`), fault.Shape, []string{"listing the groups: an entry lacks its id or its name"}},
		{"a token that is a page", kc, status(200, "text/html", "<html>"), fault.Shape, []string{"signing in to Keycloak: the answer has status 200 and content type \"text/html\""}},
		{"a token that is no JWT", kc, answer(`{"access_token":"opaque","expires_in":60}`), fault.Shape, []string{"the access token is not a JWT"}},
		{"a token without roles", kc, answer(`{"access_token":"` + jwt("1", nil) + `","expires_in":60}`), fault.Forbidden, []string{"the access token carries no client roles"}},
		{"a token with view-users only", kc, answer(`{"access_token":"` + jwt("1", []string{viewUsers}) + `","expires_in":60}`), fault.Forbidden, []string{"the access token lacks view-realm of realm-management"}},
		{"a secret that is refused", kc, status(401, "application/json", `{"error":"unauthorized_client","error_description":"Invalid client or Invalid client credentials"}`), fault.Auth,
			[]string{`the realm "demo" refuses the client "groupsync" (401 unauthorized_client: Invalid client or Invalid client credentials). The client exists, but Keycloak does not accept the secret.`}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			f, s := newFake(t, nil)
			f.answers[row.path] = row.answer
			snap, err := read(t.Context(), s)
			if snap != nil {
				t.Errorf("a snapshot came of it: %v", membersOf(snap))
			}
			wantError(t, err, row.reason, row.pieces...)
			if text := err.Error(); strings.Contains(text, "s3cret") || strings.Contains(text, "hidden") || strings.Contains(text, "ann@") || strings.Contains(text, `"ann"`) || strings.Contains(text, "e30.") {
				t.Errorf("the error holds a secret: %v", err)
			}
		})
	}
	t.Run("without any of these it is a snapshot", func(t *testing.T) {
		_, s := newFake(t, nil)
		if groups, users, memberships := mustRead(t, s).Counts(); groups != 3 || users != 1 || memberships != 1 {
			t.Errorf("counts are %d, %d, %d; want 3, 1, 1", groups, users, memberships)
		}
	})
}

func TestARefusedTokenIsRenewedOnceForAll(t *testing.T) {
	f, s := newFake(t, nil)
	old := "Bearer " + jwt("1", f.roles)
	for path, h := range f.answers {
		if strings.HasSuffix(path, "/members") {
			f.answers[path] = func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") == old {
					status(401, "application/json", `{"error":"HTTP 401 Unauthorized"}`)(w, r)
					return
				}
				h(w, r)
			}
		}
	}
	mustRead(t, s)
	if f.tokens != 2 {
		t.Errorf("%d tokens were fetched, want 2", f.tokens)
	}
	f.answers["/components"] = status(401, "application/json", `{}`)
	_, err := read(t.Context(), s)
	wantError(t, err, fault.Auth, "reading the realm's federations: Keycloak refuses its own new token (401)")
}

func TestWhatIsRetried(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name  string
		code  int
		tries int
	}{
		{"429 is tried again", 429, 2}, {"502 is tried again", 502, 2}, {"503 is tried again", 503, 2}, {"504 is tried again", 504, 2},
		{"500 is not: it is how a federation that is away answers", 500, 1}, {"403 is not", 403, 1},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			f, s := newFake(t, nil)
			var asked atomic.Int32
			good := f.answers["/groups/g1/members"]
			f.answers["/groups/g1/members"] = func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) == 1 {
					w.Header().Set("Retry-After", "0")
					status(row.code, "application/json", `{}`)(w, r)
					return
				}
				good(w, r)
			}
			_, err := read(t.Context(), s)
			if got := int(asked.Load()); got != row.tries || (err == nil) != (row.tries == 2) {
				t.Errorf("%d tries and the error %v; want %d tries", got, err, row.tries)
			}
		})
	}
	t.Run("a time-out is not", func(t *testing.T) {
		f, s := newFake(t, func(c *Config) { c.Timeout = 100 * time.Millisecond })
		f.answers["/groups/g1/members"] = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		_, err := read(t.Context(), s)
		wantError(t, err, fault.Timeout, "reading the members of the group /eng: no complete answer from", "within 100ms")
		if n := f.count("GET /groups/g1/members"); n != 1 {
			t.Errorf("%d tries, want 1", n)
		}
	})
}

const ldapComponent = `[{"id":"c1","name":"ldap","providerId":"ldap","config":{"enabled":["true"]}}]`

func probeUp(w http.ResponseWriter, r *http.Request) {
	status(404, "application/json", `{"error":"User not found"}`)(w, r)
}

func probeDown(w http.ResponseWriter, r *http.Request) {
	status(500, "application/json", `{"error":"unknown_error"}`)(w, r)
}

func TestASecretIsReadAgainBeforeEveryToken(t *testing.T) {
	secrets := []string{"first", "second"}
	var asked int
	f, s := newFake(t, func(c *Config) {
		c.ClientSecret = func() (string, error) {
			asked++
			if asked > len(secrets) {
				return "", errors.New("open client_secret: no such file or directory")
			}
			return secrets[asked-1], nil
		}
	})
	mustRead(t, s)
	mustRead(t, s)
	_, err := read(t.Context(), s)
	wantError(t, err, fault.Auth, "reading the client secret: open client_secret: no such file or directory; check keycloak.client_secret_file")
	if f.tokens != 2 {
		t.Errorf("%d tokens, want 2", f.tokens)
	}
}

func TestAFailedReadNamesTheFederationThatIsAway(t *testing.T) {
	f, s := newFake(t, nil)
	f.answers["/components"] = answer(ldapComponent)
	f.answers["/groups/g1/members"] = status(500, "application/json", `{"error":"unknown_error"}`)
	f.answers["probe"] = status(500, "application/json", `{"error":"unknown_error"}`)
	_, err := read(t.Context(), s)
	wantError(t, err, fault.Server, "reading the members of the group /eng: Keycloak answered 500", "the federation ldap is not up (the probe got 500 instead of a 404 from Keycloak itself). Repair the federation first")
	if p := probesOf(err); len(p) != 1 || p[0].Up {
		t.Errorf("the error's probes are %+v, want ldap, not up", p)
	}
	f.answers["probe"] = probeUp
	_, err = read(t.Context(), s)
	wantError(t, err, fault.Server, "every federation is up")
	f.answers["/components"] = answer(`[{"id":"c1","name":"ldap","providerId":"ldap","config":{"enabled":["false"]}}]`)
	_, err = read(t.Context(), s)
	wantError(t, err, fault.Server, "reading the members of the group /eng: Keycloak answered 500")
	if strings.Contains(err.Error(), "federation") || probesOf(err) != nil {
		t.Errorf("a federation that is switched off is blamed: %v", err)
	}
}

func TestConfigurationThatIsRefused(t *testing.T) {
	rows := []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no URL", func(c *Config) { c.URL = "" }, "keycloak.url: is missing: write https://auth.example.com"},
		{"a URL without a scheme", func(c *Config) { c.URL = "auth.example.com:8443" }, `keycloak.url: "auth.example.com:8443" has no scheme: write https://auth.example.com:8443`},
		{"a URL with credentials", func(c *Config) { c.URL = "https://user:pw@auth.example.com" }, "keycloak.url: contains an @. Remove credentials from the URL: they have their own keys"},
		{"a URL without a host", func(c *Config) { c.URL = "https:///auth" }, `keycloak.url: "https:///auth" has no host: write https://auth.example.com`},
		{"a URL with a query", func(c *Config) { c.URL = "https://a.example.com?x=1" }, "keycloak.url: has a query or a fragment. Remove everything after the path"},
		{"a URL into a realm", func(c *Config) { c.URL = "https://a.example.com/realms/demo" }, `keycloak.url: "https://a.example.com/realms/demo" contains a realm. Remove /realms/ and everything after it, and write the realm into keycloak.realm`},
		{"no realm", func(c *Config) { c.Realm = "" }, "keycloak.realm is empty; name the realm whose groups are read"},
		{"no client", func(c *Config) { c.ClientID = "" }, "keycloak.client_id is empty; name the client whose service account reads the realm"},
		{"no secret", func(c *Config) { c.ClientSecret = nil }, "keycloak.client_secret is not set; set it, or keycloak.client_secret_file"},
		{"a CA file that is not there", func(c *Config) { c.CAFile = "/nowhere/ca.pem" }, "keycloak: reading the CA file: open /nowhere/ca.pem: no such file or directory"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c := Config{URL: "https://auth.example.com", Realm: "demo", ClientID: "groupsync", ClientSecret: func() (string, error) { return "", nil }}
			row.change(&c)
			if _, err := New(c); err == nil || err.Error() != row.want {
				t.Errorf("the error is %v, want %q", err, row.want)
			}
		})
	}
}
