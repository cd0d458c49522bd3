package clearml

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"groupsync/internal/fault"
	"groupsync/internal/target"
	"groupsync/internal/target/clearmltest"
	"groupsync/internal/transport"
)

// setup starts a stand-in with two people in one team, and a client that does not wait between
// attempts.
func setup(t *testing.T, o clearmltest.Options) (*clearmltest.Server, *Client) {
	t.Helper()
	s := clearmltest.New(t, o)
	keycloak := func(id string) map[string]any { return map[string]any{"keycloak": map[string]any{"sub": id}} }
	s.AddUser(clearmltest.User{ID: "a", Name: "Ann", Email: "a@x", Providers: keycloak("kc-a")})
	s.AddUser(clearmltest.User{ID: "b", Name: "Bob", Email: "b@x"})
	s.AddGroup(clearmltest.Group{ID: "cm-team", Name: "team", Description: "ours", Assignable: true, Members: []string{"a"}})
	return s, client(t, s.URL)
}

// Read reads the groups and then the users, as a pass does.
func (c *Client) Read(ctx context.Context) (*target.Snapshot, error) {
	groups, err := c.UserGroups(ctx)
	if err != nil {
		return nil, err
	}
	return c.Snapshot(ctx, groups)
}

func client(t *testing.T, url string) *Client {
	t.Helper()
	return configured(t, Config{URL: url, Keys: keys("access", "secret"), Timeout: 5 * time.Second, RetryWait: time.Millisecond})
}

func keys(access, secret string) func() (Keys, error) {
	return func() (Keys, error) { return Keys{access, secret}, nil }
}

func configured(t *testing.T, c Config) *Client {
	t.Helper()
	cl, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

// refused checks the exact text and the reason of an error. In want, URL stands for the
// server's address.
func refused(t *testing.T, c *Client, err error, want string, reason fault.Reason) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want: %s", want)
	}
	got := err.Error()
	if c != nil {
		got = strings.ReplaceAll(got, c.base[strings.Index(c.base, "://")+len("://"):], "HOST")
	}
	f := fault.Of(err)
	if f == nil || got != want || f.Reason != reason || f.System != fault.ClearML {
		t.Errorf("got  %s (%+v)\nwant %s (%s)", got, f, want, reason)
	}
	for _, secret := range []string{"c2VjcmV0", "eyJ", "s3cr3t"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error holds a secret: %v", err)
		}
	}
}

func TestNewRefusesABadConfiguration(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		config Config
		want   string
		reason fault.Reason
	}{
		{"a URL without scheme", Config{URL: "api.clearml.example.com"}, `clearml.url: "api.clearml.example.com" has no scheme: write https://api.clearml.example.com`, fault.Connection},
		{"another scheme", Config{URL: "ftp://x"}, `clearml.url: "ftp://x" has the scheme ftp: write http or https`, fault.Connection},
		{"credentials in the URL", Config{URL: "https://u:s3cr3t@x"}, "clearml.url: contains an @. Remove credentials from the URL: they have their own keys", fault.Connection},
		{"a query", Config{URL: "https://x?y"}, "clearml.url: has a query or a fragment. Remove everything after the path", fault.Connection},
		{"no secret", Config{URL: "https://x"}, "no credentials: set clearml.access_key (or access_key_file) and clearml.secret_key (or secret_key_file) to those of a ClearML administrator", fault.Auth},
		{"a CA file without certificates", Config{URL: "https://x", Keys: keys("a", "s"), CAFile: empty}, "clearml.ca_file: the CA file " + empty + " holds no PEM certificate", fault.Connection},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.config)
			refused(t, nil, err, tt.want, tt.reason)
		})
	}
}

func TestReadSaysWhatWentWrong(t *testing.T) {
	const (
		users  = "users.get_all"
		groups = "permissions.get_user_groups"
		away   = "the API server is not reachable or fails; try later, and look at the log of the proxy in front of it"
	)
	page := "<html><body>Not Found\n nginx</body></html>"
	tests := []struct {
		name    string
		options clearmltest.Options
		fault   clearmltest.Fault
		want    string
		reason  fault.Reason
	}{
		{"a proxy's 404, while the API server is away", clearmltest.Options{}, clearmltest.Fault{Call: users, Status: 404, Body: page},
			"ClearML users.get_all: 404 without ClearML's envelope (text/html, <html><body>Not Found nginx</body></html>): the API server behind the web server is not reachable, or clearml.url lacks /api", fault.Server},
		{"a proxy's 502", clearmltest.Options{}, clearmltest.Fault{Call: users, Status: 502, Body: page},
			"ClearML users.get_all: 502 without ClearML's envelope (text/html, <html><body>Not Found nginx</body></html>): " + away, fault.Server},
		{"200 with the web page", clearmltest.Options{}, clearmltest.Fault{Call: users, Status: 200, Body: page},
			"ClearML users.get_all: 200 without ClearML's envelope (text/html, <html><body>Not Found nginx</body></html>): another server answers, not ClearML's API server; set clearml.url to https://api.<domain>, or https://<web host>/api", fault.Shape},
		{"200 and an empty object", clearmltest.Options{}, clearmltest.Fault{Call: users, Status: 200, ContentType: "application/json", Body: "{}"},
			"ClearML users.get_all: 200 without ClearML's envelope (application/json, {}): another server answers, not ClearML's API server; set clearml.url to https://api.<domain>, or https://<web host>/api", fault.Shape},
		{"200 whose envelope says 500", clearmltest.Options{}, clearmltest.Fault{Call: users, Status: 200, ContentType: "application/json", Body: `{"meta":{"result_code":500},"data":{}}`},
			`ClearML users.get_all: 200 without ClearML's envelope (application/json, {"meta":{"result_code":500},"data":{}}): another server answers, not ClearML's API server; set clearml.url to https://api.<domain>, or https://<web host>/api`, fault.Shape},
		{"bytes after the envelope", clearmltest.Options{}, clearmltest.Fault{Call: users, Status: 200, ContentType: "application/json", Body: `{"meta":{"result_code":200},"data":{"users":[]}}{}`},
			`ClearML users.get_all: 200 without ClearML's envelope (application/json, {"meta":{"result_code":200},"data":{"users":[]}}{}): another server answers, not ClearML's API server; set clearml.url to https://api.<domain>, or https://<web host>/api`, fault.Shape},
		{"204 without anything", clearmltest.Options{}, clearmltest.Fault{Call: users, Status: 204},
			"ClearML users.get_all: 204 without ClearML's envelope (text/html, empty): another server answers, not ClearML's API server; set clearml.url to https://api.<domain>, or https://<web host>/api", fault.Shape},
		{"a redirect names its host", clearmltest.Options{}, clearmltest.Fault{Call: users, Status: 302, Header: map[string]string{"Location": "https://other.example.com/x?y=z"}},
			"ClearML users.get_all: redirected (302) to other.example.com, and groupsync does not follow redirects: set clearml.url to the API server's own address", fault.Shape},
		{"a withdrawn call", clearmltest.Options{}, clearmltest.Fault{Call: users, Code: 301, Subcode: 1, Text: "moved"},
			"ClearML users.get_all: the server has withdrawn this call (status 301 without the header Location), and groupsync does not know this version of ClearML: look for a newer groupsync", fault.NotFound},
		{"a proxy that asks for credentials", clearmltest.Options{}, clearmltest.Fault{Call: users, Status: 401, Body: page},
			"ClearML users.get_all: 401 without ClearML's envelope (text/html, <html><body>Not Found nginx</body></html>): a server in front of the API server asks for credentials; set clearml.url to the API server's own address", fault.Auth},
		{"a proxy that refuses", clearmltest.Options{}, clearmltest.Fault{Call: users, Status: 403, Body: "no"},
			"ClearML users.get_all: 403 without ClearML's envelope (text/html, no): a server in front of the API server refuses the request; set clearml.url to the API server's own address", fault.Forbidden},
		{"a compressed request", clearmltest.Options{}, clearmltest.Fault{Call: users, Status: 415, ContentType: "text/plain", Body: "no"},
			"ClearML users.get_all: 415 without ClearML's envelope (text/plain, no): a proxy has encoded the request's body; set clearml.url to the API server's own address", fault.Rejected},
		{"too many requests", clearmltest.Options{}, clearmltest.Fault{Call: users, Status: 429, Body: "slow"},
			"ClearML users.get_all: 429 without ClearML's envelope (text/html, slow): too many requests, also after waiting; run passes less often", fault.Server},
		{"the database is away", clearmltest.Options{}, clearmltest.Fault{Call: users, Code: 500, Subcode: 1, Text: "No replica set members"},
			"ClearML users.get_all: the server failed (500/1, No replica set members): ClearML's database is not reachable; look at the log of the API server", fault.Server},
		{"a type error", clearmltest.Options{}, clearmltest.Fault{Call: users, Code: 500, Text: "TypeError"},
			"ClearML users.get_all: the server failed (500/0, TypeError): look at the log of the API server", fault.Server},
		{"a refused field", clearmltest.Options{}, clearmltest.Fault{Call: users, Code: 400, Subcode: 14, Text: "unknown field"},
			"ClearML users.get_all: the request was refused (400/14, unknown field): look at the log of the API server", fault.Rejected},
		{"a role that may not", clearmltest.Options{}, clearmltest.Fault{Call: groups, Code: 403, Subcode: 20, Text: "required roles admin"},
			"ClearML permissions.get_user_groups: the role of these credentials may not make this call (403/20, required roles admin): give groupsync the access key of a ClearML administrator", fault.Forbidden},
		{"a token that stays refused", clearmltest.Options{}, clearmltest.Fault{Call: users, Code: 401, Subcode: 30, Text: "expired"},
			"ClearML users.get_all: a new token is refused too (401/30, expired): check the clocks of the API servers, and that all of them sign tokens with the same secret", fault.Auth},
		{"a header that gets lost", clearmltest.Options{}, clearmltest.Fault{Call: users, Code: 401, Subcode: 20, Text: "missing"},
			"ClearML users.get_all: the server received no credentials (401/20, missing): a proxy removes the Authorization header; check clearml.url", fault.Auth},
		{"another scheme is refused", clearmltest.Options{}, clearmltest.Fault{Call: users, Code: 401, Subcode: 10, Text: "scheme"},
			"ClearML users.get_all: the credentials are refused (401/10, scheme): check clearml.access_key and clearml.secret_key", fault.Auth},
		{"a login without a token", clearmltest.Options{}, clearmltest.Fault{Call: loginCall, Data: `{"nothing": 1}`},
			"ClearML auth.login: the answer holds no token; is this a ClearML API server? Check clearml.url", fault.Shape},
		{"a token that is no JWT", clearmltest.Options{}, clearmltest.Fault{Call: loginCall, Data: `{"token": "s3cr3t"}`},
			"ClearML auth.login: the token does not name groupsync's user (it is not a JWT with an identity): groupsync does not know this version of ClearML", fault.Shape},
		{"a login answer of another shape is not shown", clearmltest.Options{}, clearmltest.Fault{Call: loginCall, Status: 200, ContentType: "application/json", Body: `{"token": "s3cr3t"}`},
			"ClearML auth.login: 200 without ClearML's envelope (application/json): another server answers, not ClearML's API server; set clearml.url to https://api.<domain>, or https://<web host>/api", fault.Shape},
		{"a role that is no administrator's", clearmltest.Options{Role: "user"}, clearmltest.Fault{},
			`ClearML auth.login: the role of these credentials is "user": user groups need the access key of a ClearML administrator`, fault.Forbidden},
		{"a token without life", clearmltest.Options{TokenLife: -time.Second}, clearmltest.Fault{},
			"ClearML auth.login: the token ends before it begins (-1s of life): check the clock of the API server", fault.Shape},
		{"the open server", clearmltest.Options{Open: true}, clearmltest.Fault{},
			"ClearML has no call permissions.get_user_groups: user groups are part of ClearML Enterprise, and this server does not have them; check clearml.url, and the server's licence and version", fault.NotFound},
		{"credentials that a proxy adds", clearmltest.Options{}, clearmltest.Fault{Call: groups, Probe: true, Data: `{}`},
			"ClearML permissions.get_user_groups: answered 200 without credentials, so a server in front of the API server adds credentials. groupsync makes no call through such a server; check clearml.url", fault.Shape},
		{"an answer that breaks off, again and again", clearmltest.Options{}, clearmltest.Fault{Call: users, Truncate: 30},
			"ClearML users.get_all: the answer broke off after 30 bytes: unexpected EOF; groupsync uses nothing of the answer", fault.Connection},
		{"users are missing from the answer", clearmltest.Options{}, clearmltest.Fault{Call: users, Data: `{"people": []}`},
			"ClearML users.get_all: the answer has no users, not even an empty list: groupsync does not know this version of ClearML", fault.Shape},
		{"users are null", clearmltest.Options{}, clearmltest.Fault{Call: users, Data: `{"users": null}`},
			"ClearML users.get_all: the answer has no users, not even an empty list: groupsync does not know this version of ClearML", fault.Shape},
		{"a user without an id", clearmltest.Options{}, clearmltest.Fault{Call: users, Data: `{"users": [{"name": "x"}]}`},
			"ClearML users.get_all: the answer has a user without an id: groupsync does not know this version of ClearML", fault.Shape},
		{"a service account without an id", clearmltest.Options{}, clearmltest.Fault{Call: "users.get_service_users", Data: `{"users": [{"id": ""}]}`},
			"ClearML users.get_service_users: the answer has a user without an id: groupsync does not know this version of ClearML", fault.Shape},
		{"service users are missing from the answer", clearmltest.Options{}, clearmltest.Fault{Call: "users.get_service_users", Data: `{"x": 1}`},
			"ClearML users.get_service_users: the answer has no users, not even an empty list: groupsync does not know this version of ClearML", fault.Shape},
		{"service users are refused", clearmltest.Options{}, clearmltest.Fault{Call: "users.get_service_users", Code: 403, Subcode: 20, Text: "no"},
			"ClearML users.get_service_users: the role of these credentials may not make this call (403/20, no): give groupsync the access key of a ClearML administrator", fault.Forbidden},
		{"an emptied database", clearmltest.Options{NoServiceUsers: true}, clearmltest.Fault{Call: users, Data: `{"users": []}`},
			"ClearML returned no users, as an empty database does. Nothing was synchronized. Check ClearML's database", fault.Incomplete},
		{"a user of another shape", clearmltest.Options{}, clearmltest.Fault{Call: users, Data: `{"users": [{"id": 5}]}`},
			"ClearML users.get_all: the answer's data does not have the documented form: json: cannot unmarshal number into Go struct field userRecord.users.id of type string; groupsync may not know this version of ClearML", fault.Shape},
		{"the same page again and again", clearmltest.Options{}, clearmltest.Fault{Call: users, Data: `{"users": [{"id": "a"}]}`},
			"ClearML users.get_all: 4 readings of the user list, and no two in a row agree: users are being added or deleted; run again", fault.Incomplete},
		{"groups are missing from the answer", clearmltest.Options{}, clearmltest.Fault{Call: groups, Data: `{"list": []}`},
			"ClearML permissions.get_user_groups: the answer has no groups, not even an empty list: groupsync does not know this version of ClearML", fault.Shape},
		{"no groups at all", clearmltest.Options{}, clearmltest.Fault{Call: groups, Data: `{"groups": []}`},
			"ClearML returned no user groups, not even the built-in ones. Nothing was synchronized. Check ClearML's database", fault.Incomplete},
		{"a group without an id", clearmltest.Options{}, clearmltest.Fault{Call: groups, Data: `{"groups": [{"name": "x"}]}`},
			`ClearML permissions.get_user_groups: the answer has a group without an id (name "x"): groupsync does not know this version of ClearML`, fault.Shape},
		{"a group twice", clearmltest.Options{}, clearmltest.Fault{Call: groups, Data: `{"groups": [{"id": "g", "name": "x"}, {"id": "g", "name": "x"}]}`},
			`ClearML permissions.get_user_groups: the group "x" is listed twice, so another may be missing; run again`, fault.Incomplete},
		{"no group says whether it is built in", clearmltest.Options{}, clearmltest.Fault{Call: groups, Data: `{"groups": [{"id": "g", "name": "x", "assignable": true, "users": []}]}`},
			"ClearML permissions.get_user_groups: no group of 1 has the field system, so groupsync synchronizes nothing from the answer; groupsync does not know this version of ClearML", fault.Shape},
		{"no group says whether it is assignable", clearmltest.Options{}, clearmltest.Fault{Call: groups, Data: `{"groups": [{"id": "g", "name": "x", "system": true, "users": []}]}`},
			"ClearML permissions.get_user_groups: no group of 1 has the field assignable, so groupsync synchronizes nothing from the answer; groupsync does not know this version of ClearML", fault.Shape},
		{"no group shows its members", clearmltest.Options{}, clearmltest.Fault{Call: groups, Data: `{"groups": [{"id": "g", "name": "x", "system": true, "assignable": true}]}`},
			"ClearML permissions.get_user_groups: no group of 1 has the field users, so groupsync synchronizes nothing from the answer; groupsync does not know this version of ClearML", fault.Shape},
		{"a member without an id", clearmltest.Options{}, clearmltest.Fault{Call: groups, Data: `{"groups": [{"id": "g", "name": "x", "system": true, "assignable": true, "users": [{"name": "n"}]}]}`},
			`ClearML permissions.get_user_groups: a member of the group "x" has no id: groupsync does not know this version of ClearML`, fault.Shape},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, c := setup(t, tt.options)
			if tt.fault.Call != "" {
				s.Inject(tt.fault)
			}
			snap, err := c.Read(t.Context())
			if snap != nil {
				t.Error("there is a snapshot")
			}
			refused(t, c, err, tt.want, tt.reason)
		})
	}
}

func TestWrongCredentialsAreNeverShown(t *testing.T) {
	s := clearmltest.New(t, clearmltest.Options{})
	c := configured(t, Config{URL: s.URL, Keys: keys("access", "s3cr3t")})
	_, err := c.Read(t.Context())
	refused(t, c, err, "ClearML auth.login: wrong credentials (401/22, Unauthorized (invalid credentials) (failed to locate provided credentials)): check clearml.access_key and clearml.secret_key", fault.Auth)
	s.Inject(clearmltest.Fault{Call: loginCall, Status: 500, Body: "Basic YWNjZXNzOnMzY3IzdA== means s3cr3t"})
	_, err = c.Read(t.Context())
	refused(t, c, err, "ClearML auth.login: 500 without ClearML's envelope (text/html, Basic [hidden] means [hidden]): the API server is not reachable or fails; try later, and look at the log of the proxy in front of it", fault.Server)
}

// TestKeysMayRotate checks that the client reads the keys again if they are refused with the
// token.
func TestKeysMayRotate(t *testing.T) {
	s, _ := setup(t, clearmltest.Options{AccessKey: "access", SecretKey: "new"})
	current, reads := Keys{"access", "old-s3cr3t"}, 0
	c := configured(t, Config{URL: s.URL, RetryWait: time.Millisecond, Keys: func() (Keys, error) { reads++; return current, nil }})
	if _, err := c.Read(t.Context()); fault.Of(err) == nil || fault.Of(err).Reason != fault.Auth {
		t.Fatalf("with the old secret: %v", err)
	}
	current.Secret = "new"
	if _, err := c.Read(t.Context()); err != nil {
		t.Errorf("after the rotation: %v", err)
	}
	if _, err := c.Read(t.Context()); err != nil || reads != 2 {
		t.Errorf("read %d times, want once for each login: %v", reads, err)
	}
}

func TestKeysThatCannotBeReadAreAnError(t *testing.T) {
	s, _ := setup(t, clearmltest.Options{})
	c := configured(t, Config{URL: s.URL, Keys: func() (Keys, error) { return Keys{}, errors.New("there is no file x: put the secret there") }})
	_, err := c.Read(t.Context())
	refused(t, c, err, "ClearML auth.login: reading the credentials: there is no file x: put the secret there", fault.Auth)
}

func TestABaseURLWithoutItsPrefix(t *testing.T) {
	s, _ := setup(t, clearmltest.Options{Base: "/api"})
	c := client(t, strings.TrimSuffix(s.URL, "/api"))
	_, err := c.Read(t.Context())
	refused(t, c, err, "ClearML permissions.get_user_groups: 405 without ClearML's envelope (text/html, <!doctype html><html><head><title>ClearML</title></head></html>): another server answers, not ClearML's API server; set clearml.url to https://api.<domain>, or https://<web host>/api", fault.Shape)
	if _, err := client(t, s.URL+"/").Read(t.Context()); err != nil {
		t.Errorf("with its prefix and a trailing slash: %v", err)
	}
}

func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, "http://"+l.Addr().String())
	l.Close()
	_, err = c.Read(t.Context())
	refused(t, c, err, "ClearML permissions.get_user_groups: no connection to http://HOST: dial tcp HOST: connect: connection refused; check clearml.url, clearml.ca_file and that the API server is up", fault.Connection)
}

func TestAnUnknownAuthority(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	c := client(t, s.URL)
	_, err := c.Read(t.Context())
	refused(t, c, err, "ClearML permissions.get_user_groups: no connection to https://HOST: tls: failed to verify certificate: x509: certificate signed by unknown authority; check clearml.url, clearml.ca_file and that the API server is up", fault.Connection)
}

func TestSilence(t *testing.T) {
	s, _ := setup(t, clearmltest.Options{})
	c := configured(t, Config{URL: s.URL, Keys: keys("access", "secret"), Timeout: 100 * time.Millisecond})
	s.Inject(clearmltest.Fault{Call: "users.get_all", Hang: true})
	_, err := c.Read(t.Context())
	refused(t, c, err, "ClearML users.get_all: no answer from http://HOST in time (an attempt may take 100ms): context deadline exceeded; check the API server, and clearml.timeout", fault.Timeout)
	if n := s.Count("users.get_all"); n != 1 {
		t.Errorf("asked %d times: silence is not repeated", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.Heal()
	s.Before("users.get_all", func(int) { cancel() })
	if _, err = c.Read(ctx); err == nil || err.Error() != "ClearML users.get_all: abandoned before an answer came: context canceled" {
		t.Errorf("a cancelled read: %v", err)
	}
}

func TestReadsAreRepeatedOnWhatMayPass(t *testing.T) {
	tests := []struct {
		name  string
		fault clearmltest.Fault
	}{
		{"429", clearmltest.Fault{Status: 429}},
		{"502", clearmltest.Fault{Status: 502}},
		{"503 with an absurd Retry-After, which is clamped", clearmltest.Fault{Status: 503, Header: map[string]string{"Retry-After": "99999999"}}},
		{"504", clearmltest.Fault{Status: 504}},
		{"509", clearmltest.Fault{Status: 509}},
		{"500/1", clearmltest.Fault{Code: 500, Subcode: 1}},
		{"404 without the envelope", clearmltest.Fault{Status: 404}},
		{"a reset", clearmltest.Fault{Reset: true}},
		{"a broken answer", clearmltest.Fault{Truncate: 50}},
		{"an expired token", clearmltest.Fault{Code: 401, Subcode: 30}},
		{"credentials that a proxy lost once", clearmltest.Fault{Code: 401, Subcode: 20}},
		{"credentials unknown once", clearmltest.Fault{Code: 401, Subcode: 22}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, c := setup(t, clearmltest.Options{})
			tt.fault.Call, tt.fault.Nth = "users.get_all", 2
			s.Inject(tt.fault)
			if _, err := c.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := s.Count("users.get_all"); n != 5 { // two readings of two pages, and one repetition
				t.Errorf("%d requests, want 5", n)
			}
			want := 1
			if tt.fault.Code == 401 {
				want = 2
			}
			if n := s.Count(loginCall); n != want {
				t.Errorf("%d logins, want %d", n, want)
			}
		})
	}
}

func TestRequestsAreAsTheServerWantsThem(t *testing.T) {
	s, _ := setup(t, clearmltest.Options{})
	var attempts []transport.Attempt
	c := configured(t, Config{URL: s.URL, Keys: keys("access", "secret"), Observe: func(a transport.Attempt) { attempts = append(attempts, a) }})
	ctx := target.WithPass(t.Context(), "pass-7")
	for range 2 {
		if _, err := c.Read(ctx); err != nil {
			t.Fatal(err)
		}
	}
	var calls []string
	for _, r := range s.Requests() {
		name := r.Call
		if r.Probe {
			name = "probe " + name
		}
		calls = append(calls, name)
		if r.Trx != "pass-7" || r.Header.Get("Content-Encoding") != "" || r.Header.Get("Cookie") != "" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: headers %v", name, r.Header)
		}
	}
	groups, users, service := "permissions.get_user_groups", "users.get_all", "users.get_service_users"
	want := []string{
		"probe " + groups, loginCall, groups, "probe " + users, users, users, users, users, "probe " + service, service,
		groups, users, users, users, users, service,
	}
	if !slices.Equal(calls, want) {
		t.Errorf("calls\ngot  %v\nwant %v", calls, want)
	}
	if len(attempts) != len(want) || attempts[0].Call != groups || attempts[0].Code != 401 || attempts[1].Call != loginCall || attempts[1].Code != 200 {
		t.Errorf("observed %v", attempts)
	}
	if body := string(s.Requests()[1].Body); body != `{"expiration_sec":3600}` {
		t.Errorf("login asks for %s", body)
	}
}

func TestATokenIsRenewedAheadOfItsEnd(t *testing.T) {
	s, c := setup(t, clearmltest.Options{TokenLife: 2 * time.Second})
	for i := range 2 {
		if _, err := c.Groups(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := s.Count(loginCall); n != 1 {
			t.Fatalf("read %d: %d logins", i, n)
		}
	}
	left := time.Until(c.token.renewAt)
	if left <= 0 || left > 1600*time.Millisecond {
		t.Fatalf("renewed in %s, want within 1.6 s of a life of 2 s", left)
	}
	c.token.renewAt = time.Now()
	if _, err := c.Groups(t.Context()); err != nil || s.Count(loginCall) != 2 {
		t.Errorf("after that: %v, %d logins", err, s.Count(loginCall))
	}
	s.ExpireTokens()
	if _, err := c.Groups(t.Context()); err != nil || s.Count(loginCall) != 3 {
		t.Errorf("after a revocation: %v, %d logins", err, s.Count(loginCall))
	}
	if want := (target.Identity{User: "groupsync", Name: "groupsync", Role: "admin"}); c.token.identity != want {
		t.Errorf("identity %+v", c.token.identity)
	}
}

func TestManyUsersAreReadBeyondTheSilentCap(t *testing.T) {
	s, c := setup(t, clearmltest.Options{})
	for i := range 1203 {
		s.AddUser(clearmltest.User{ID: fmt.Sprintf("u%04d", i)})
	}
	snap, err := c.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, n, _ := snap.Counts(); n != 1206 { // plus a, b and the service account
		t.Errorf("%d users, want 1206", n)
	}
}
