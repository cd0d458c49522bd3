package keycloak

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"groupsync/internal/fault"
	"groupsync/internal/source"
)

// fake is a Keycloak that answers what a test puts into it, by what follows the
// realm's name; it is for answers that the real server gives only by misfortune.
type fake struct {
	mu       sync.Mutex
	answers  map[string]http.HandlerFunc
	requests []string
	roles    []string
	life     int // seconds of a token; 0: 300
	tokens   int
}

func newFake(t *testing.T, change func(*Config)) (*fake, *Source) {
	t.Helper()
	f := &fake{roles: []string{viewUsers, viewRealm}}
	f.answers = map[string]http.HandlerFunc{
		"/groups":             answer(`[{"id":"g1","name":"eng","subGroupCount":1},{"id":"g2","name":"ops","subGroupCount":0}]`),
		"/groups/g1/children": answer(`[{"id":"g3","name":"night","subGroupCount":0}]`),
		"/groups/count":       answer(`{"count":3}`),
		"/components":         answer(`[]`),
		"/users":              answer(`[{"id":"u1","username":"ann","email":"ann@example.com","enabled":true}]`),
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
	h, ok := f.answers[path]
	if strings.HasPrefix(path, "/users/f:") {
		h, ok = f.answers["probe"]
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

// token issues one; the lock is held.
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
	const members, kc = "/groups/g1/members", "/realms/demo/protocol/openid-connect/token"
	rows := []struct {
		name   string
		path   string
		answer http.HandlerFunc
		reason fault.Reason
		pieces []string
	}{
		{"a proxy's page with 200", members, status(200, "text/html", "<html>Sign in</html>"), fault.Shape,
			[]string{"reading the members of the group /eng: answered 200 with content type \"text/html\" in place of JSON: \"<html>Sign in</html>\""}},
		{"a proxy's page in place of the users", "/users", status(200, "text/html; charset=utf-8", "<html>"), fault.Shape, []string{"listing the users: answered 200 with content type"}},
		{"204 without a body", members, status(204, "application/json", ""), fault.Shape, []string{"answered 204 with content type \"application/json\" in place of JSON: (no body)"}},
		{"an empty 200", members, answer(""), fault.Shape, []string{"the answer of 0 bytes is not whole JSON of the documented form: unexpected end of JSON input"}},
		{"null", members, answer("null"), fault.Shape, []string{"Keycloak answered null where a list belongs"}},
		{"an object in place of a list", members, answer("{}"), fault.Shape, []string{"not whole JSON of the documented form: json: cannot unmarshal object"}},
		{"a list that ends early, its length announced so", members, answer(`[{"id":"u1","username":"ann","enabled":true},`), fault.Shape, []string{"not whole JSON of the documented form: unexpected end of JSON input"}},
		{"a list that ends in an error object", members, answer(`[{"id":"u1","username":"ann","enabled":true},{"error":"unknown_error"}]`), fault.Shape, []string{"an entry lacks its id or its name"}},
		{"an error object after the list", members, answer(`[{"id":"u1","username":"ann","enabled":true}]{"error":"unknown_error"}`), fault.Shape, []string{"invalid character '{' after top-level value"}},
		{"an account that does not say whether it is enabled", members, answer(`[{"id":"u1","username":"ann"}]`), fault.Shape, []string{`the account "ann" does not say whether it is enabled`}},
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
		}, fault.Timeout, []string{"no whole answer from http://127.0.0.1:", "within 2s"}},
		{"a member listed twice", members, answer(`[{"id":"u1","username":"ann","enabled":true},{"id":"u1","username":"ann","enabled":true}]`), fault.Incomplete, []string{"somebody is listed twice"}},
		{"a redirect", members, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://login.example.com/?state=hidden", http.StatusFound)
		}, fault.Shape, []string{`a redirect (302) to "https://login.example.com/"; put the address that answers by itself into keycloak.url`}},
		{"403", members, status(403, "application/json", `{"error":"HTTP 403 Forbidden"}`), fault.Forbidden, []string{`give the service account of the client "groupsync" the role view-users of realm-management`}},
		{"403 for the federations", "/components", status(403, "application/json", `{}`), fault.Forbidden, []string{"the role view-realm of realm-management"}},
		{"500", members, status(500, "application/json", `{"error":"unknown_error"}`), fault.Server, []string{`Keycloak answered 500: "{\"error\":\"unknown_error\"}"`}},
		{"a group that vanishes before its members", members, status(404, "application/json", `{"error":"Could not find group by id"}`), fault.Incomplete, []string{"the group /eng: the group vanished during the read (404); run again"}},
		{"a group that vanishes before its children", "/groups/g1/children", status(404, "application/json", `{}`), fault.Incomplete, []string{`listing the groups below "eng": the group vanished during the read (404); run again`}},
		{"fewer children than announced", "/groups/g1/children", answer("[]"), fault.Incomplete, []string{"1 were announced and 0 listed"}},
		{"a group more in the count", "/groups/count", answer(`{"count":4}`), fault.Incomplete, []string{"Keycloak listed 3 groups but counts 4"}},
		{"a group fewer in the count", "/groups/count", answer(`{"count":2}`), fault.Incomplete, []string{"Keycloak listed 3 groups but counts 2"}},
		{"a count without a number", "/groups/count", answer(`{}`), fault.Shape, []string{"counting the groups: the answer holds no count"}},
		{"a group without a name", "/groups", answer(`[{"id":"g1"}]`), fault.Shape, []string{"listing the groups: an entry lacks its id or its name"}},
		{"a token that is a page", kc, status(200, "text/html", "<html>"), fault.Shape, []string{"signing in to Keycloak: answered 200 with content type \"text/html\""}},
		{"a token that is no JWT", kc, answer(`{"access_token":"opaque","expires_in":60}`), fault.Shape, []string{"the access token is not a JWT"}},
		{"a token without roles", kc, answer(`{"access_token":"` + jwt("1", nil) + `","expires_in":60}`), fault.Forbidden, []string{"the access token carries no client roles"}},
		{"a token with view-users only", kc, answer(`{"access_token":"` + jwt("1", []string{viewUsers}) + `","expires_in":60}`), fault.Forbidden, []string{"the access token lacks view-realm of realm-management"}},
		{"a secret that is refused", kc, status(401, "application/json", `{"error":"unauthorized_client","error_description":"Invalid client or Invalid client credentials"}`), fault.Auth,
			[]string{`the realm "demo" refuses the client "groupsync" (401 unauthorized_client: Invalid client or Invalid client credentials); check keycloak.client_id and the client secret`}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			f, s := newFake(t, nil)
			f.answers[row.path] = row.answer
			snap, err := s.Read(t.Context(), pickAll(""))
			if snap != nil {
				t.Errorf("a snapshot came of it: %v", membersOf(snap))
			}
			wantError(t, err, row.reason, row.pieces...)
			if text := err.Error(); strings.Contains(text, "s3cret") || strings.Contains(text, "hidden") || strings.Contains(text, "e30.") {
				t.Errorf("the error holds a secret: %v", err)
			}
		})
	}
	t.Run("without any of these it is a snapshot", func(t *testing.T) {
		_, s := newFake(t, nil)
		if groups, users, memberships := mustRead(t, s, "").Counts(); groups != 3 || users != 1 || memberships != 1 {
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
	mustRead(t, s, "")
	if f.tokens != 2 {
		t.Errorf("%d tokens were fetched, want 2", f.tokens)
	}
	f.answers["/users"] = status(401, "application/json", `{}`)
	_, err := s.Read(t.Context(), pickAll(""))
	wantError(t, err, fault.Auth, "listing the users: Keycloak refuses its own new token (401)")
}

func TestWhatIsRetried(t *testing.T) {
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
			_, err := s.Read(t.Context(), pickAll(""))
			if got := int(asked.Load()); got != row.tries || (err == nil) != (row.tries == 2) {
				t.Errorf("%d tries and the error %v; want %d tries", got, err, row.tries)
			}
		})
	}
	t.Run("a time-out is not", func(t *testing.T) {
		f, s := newFake(t, func(c *Config) { c.Timeout = 100 * time.Millisecond })
		f.answers["/groups/g1/members"] = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		_, err := s.Read(t.Context(), pickAll(""))
		wantError(t, err, fault.Timeout, "reading the members of the group /eng: no whole answer from", "within 100ms")
		if n := f.count("GET /groups/g1/members"); n != 1 {
			t.Errorf("%d tries, want 1", n)
		}
	})
}

const ldapComponent = `[{"id":"c1","name":"ldap","config":{"enabled":["true"]}}]`

func probeUp(w http.ResponseWriter, r *http.Request) {
	status(404, "application/json", `{"error":"User not found"}`)(w, r)
}

func TestEachReadOfTheSecondLookStandsBetweenProbes(t *testing.T) {
	ann := source.User{ID: "u1", Username: "ann", Enabled: true, Federation: "c1"}
	claims := []source.Claim{{Why: source.NotMember, User: ann, Groups: []source.Group{{ID: "g2", Path: "/g2"}, {ID: "g3", Path: "/g3"}}}}
	down := status(500, "application/json", `{"error":"unknown_error"}`)
	rows := []struct {
		name   string
		probes []http.HandlerFunc // in order; the last one again and again
		g2, g3 http.HandlerFunc   // the members, read again; nil: none
		doubt  string             // empty: evidence, or err
		err    string
		reads  int // members calls
	}{
		{"all up", []http.HandlerFunc{probeUp}, nil, nil, "", "", 2},
		{"the first is down, so nothing is read", []http.HandlerFunc{down}, nil, nil, "the federation ldap is not up: a lookup through it answered 500 in place of 404", "", 0},
		{"the second is down, so the first read is not believed", []http.HandlerFunc{probeUp, down, probeUp}, nil, nil, "the federation ldap is not up", "", 1},
		{"the last is down", []http.HandlerFunc{probeUp, probeUp, down}, nil, nil, "the federation ldap is not up", "", 2},
		{"a 404 of somebody else's is not an answer of the federation", []http.HandlerFunc{status(404, "text/html", "<html>not here</html>")}, nil, nil, "a lookup through it answered 404 in place of 404", "", 0},
		{"a 200 is not an answer either", []http.HandlerFunc{answer(`{"id":"f:c1:x","username":"x","enabled":true}`)}, nil, nil, "answered 200 in place of 404", "", 0},
		{"a 403 is not", []http.HandlerFunc{status(403, "application/json", `{"error":"HTTP 403 Forbidden"}`)}, nil, nil, "answered 403 in place of 404", "", 0},
		{"a read that fails while a probe is down denies", []http.HandlerFunc{probeUp, down}, down, nil, "the federation ldap is not up", "", 1},
		{"a read that fails while all probes are up is an error", []http.HandlerFunc{probeUp}, nil, down, "", "reading the members of the group /eng/night: Keycloak answered 500", 2},
		{"a refusal is an error whatever the probes say", []http.HandlerFunc{probeUp, down}, status(403, "application/json", `{}`), nil, "", "the role view-users of realm-management", 1},
		{"a page in place of the members is an error", []http.HandlerFunc{probeUp}, status(200, "text/html", "<html>"), nil, "", "content type \"text/html\"", 1},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			f, s := newFake(t, nil)
			f.answers["/components"] = answer(ldapComponent)
			snap := mustRead(t, s, "")
			f.requests = nil
			var n atomic.Int32
			f.answers["probe"] = func(w http.ResponseWriter, r *http.Request) {
				row.probes[min(int(n.Add(1)), len(row.probes))-1](w, r)
			}
			for path, h := range map[string]http.HandlerFunc{"/groups/g2/members": row.g2, "/groups/g3/members": row.g3} {
				if h != nil {
					f.answers[path] = h
				}
			}
			got, err := s.Confirm(t.Context(), snap, claims, nil)
			if reads := f.count("GET /groups/g2/members") + f.count("GET /groups/g3/members"); reads != row.reads {
				t.Errorf("%d members calls, want %d: %q", reads, row.reads, f.requests)
			}
			switch {
			case row.err != "":
				if err == nil || !strings.Contains(err.Error(), row.err) {
					t.Errorf("the error is %v, want %q", err, row.err)
				}
			case err != nil:
				t.Errorf("Confirm: %v", err)
			case row.doubt != "":
				wantDoubt(t, got, 0, row.doubt)
			default:
				wantEvidence(t, got, 0, source.NotMember, true)
			}
		})
	}
}

func TestARightThatIsTakenAwayDuringTheLookEndsIt(t *testing.T) {
	f, s := newFake(t, nil)
	snap := mustRead(t, s, "")
	f.answers["/users"] = func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.roles = []string{viewRealm, "query-users"} // with these, Keycloak answers 200 and nobody
		f.mu.Unlock()
		answer("[]")(w, r)
	}
	_, err := s.Confirm(t.Context(), snap, []source.Claim{{Why: source.Gone, Email: "ann@example.com"}}, nil)
	wantError(t, err, fault.Forbidden, "the access token lacks view-users of realm-management")
}

func TestALookThatIsCalledOffIsAnErrorAndNoVerdict(t *testing.T) {
	f, s := newFake(t, nil)
	f.answers["/components"] = answer(ldapComponent)
	f.answers["probe"] = probeUp
	snap := mustRead(t, s, "")
	for _, at := range []string{"probe", "/groups/g2/members"} {
		ctx, cancel := context.WithCancel(t.Context())
		good := f.answers[at]
		f.answers[at] = func(w http.ResponseWriter, r *http.Request) {
			cancel()
			<-r.Context().Done()
		}
		c, err := s.Confirm(ctx, snap, []source.Claim{{Why: source.NotMember, User: source.User{ID: "u1"}, Groups: []source.Group{{ID: "g2", Path: "/g2"}}}}, nil)
		wantError(t, err, fault.Connection, "given up: context canceled")
		if len(c.Verdicts) > 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("called off at %s: verdicts %v, error %v; want none, and one that is context.Canceled", at, c.Verdicts, err)
		}
		f.answers[at] = good
	}
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
	mustRead(t, s, "")
	mustRead(t, s, "")
	_, err := s.Read(t.Context(), pickAll(""))
	wantError(t, err, fault.Auth, "reading the client secret: open client_secret: no such file or directory; check keycloak.client_secret_file")
	if f.tokens != 2 {
		t.Errorf("%d tokens, want 2", f.tokens)
	}
}

func TestARealNameIsNeverAskedForThroughAFederation(t *testing.T) {
	f, s := newFake(t, nil)
	f.answers["/components"] = answer(ldapComponent)
	f.answers["probe"] = probeUp
	snap := mustRead(t, s, "")
	claims := []source.Claim{
		{Why: source.Disabled, User: source.User{ID: "f:c1:ann", Username: "ann", Federation: "c1"}},
		{Why: source.Gone, Email: "ann@example.com", IDs: []string{"f:c1:ann", "", "..", "count", "profile", "a/b", "u9"}},
	}
	got := mustConfirm(t, s, snap, claims...)
	wantDoubt(t, got, 0, "their account was not read a second time")
	wantDoubt(t, got, 1, "the second look finds an account with their email") // the fake lists ann whatever is asked
	for _, r := range f.requests {
		if strings.HasPrefix(r, "GET /users/") && !strings.HasPrefix(r, "GET /users/f:c1:groupsync-probe-") && r != "GET /users/u9" {
			t.Errorf("asked for %s", r)
		}
	}
}

func TestAFailedReadNamesTheFederationThatIsAway(t *testing.T) {
	f, s := newFake(t, nil)
	f.answers["/components"] = answer(ldapComponent)
	f.answers["/groups/g1/members"] = status(500, "application/json", `{"error":"unknown_error"}`)
	f.answers["probe"] = status(500, "application/json", `{"error":"unknown_error"}`)
	_, err := s.Read(t.Context(), pickAll(""))
	wantError(t, err, fault.Server, "reading the members of the group /eng: Keycloak answered 500", "the federation ldap is not up (a lookup through it answered 500 in place of 404): look after it first")
	if p := probesOf(err); len(p) != 1 || p[0].Up {
		t.Errorf("the error's probes are %+v, want ldap, not up", p)
	}
	f.answers["probe"] = probeUp
	_, err = s.Read(t.Context(), pickAll(""))
	wantError(t, err, fault.Server, "every federation is up")
}

func TestConfigurationThatIsRefused(t *testing.T) {
	rows := []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no URL", func(c *Config) { c.URL = "" }, "keycloak.url is empty; write it as https://auth.example.com"},
		{"a URL without a scheme", func(c *Config) { c.URL = "auth.example.com" }, `keycloak.url "auth.example.com" does not begin with http:// or https://; write it as https://auth.example.com`},
		{"a URL with a host and port but no scheme", func(c *Config) { c.URL = "auth.example.com:8443" }, `keycloak.url "auth.example.com:8443" does not begin with http:// or https://; write it as https://auth.example.com`},
		{"a URL that does not parse", func(c *Config) { c.URL = "https://user:pw@[::1" }, "keycloak.url is not a URL; write it as https://auth.example.com"},
		{"a URL with credentials", func(c *Config) { c.URL = "https://user:pw@auth.example.com" }, "keycloak.url holds credentials; put them into keycloak.client_id and keycloak.client_secret"},
		{"a URL without a host", func(c *Config) { c.URL = "https:///auth" }, `keycloak.url "https:///auth" names no host; write it as https://auth.example.com`},
		{"a URL with a query", func(c *Config) { c.URL = "https://a.example.com?x=1" }, `keycloak.url "https://a.example.com?x=1" has a query or a fragment; leave them out`},
		{"a URL into a realm", func(c *Config) { c.URL = "https://a.example.com/realms/demo" }, `keycloak.url "https://a.example.com/realms/demo" goes into a realm; end it before /realms, and name the realm in keycloak.realm`},
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
