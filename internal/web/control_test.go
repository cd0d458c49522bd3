package web

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"groupsync/internal/report"
)

// asked is a Control that returns the given answers and records the calls.
type asked struct {
	report  report.Report
	err     error
	log     []string
	waiting chan struct{} // Sync waits for this channel; nil: it does not wait
}

func (a *asked) Sync(_ context.Context, user string) (report.Report, error) {
	if a.waiting != nil {
		<-a.waiting
	}
	a.log = append(a.log, strings.TrimSpace("sync "+user))
	return a.report, a.err
}

func (a *asked) Approve(_ context.Context, user, digest, by string) (report.Report, error) {
	a.log = append(a.log, "approve "+digest+" by "+by+strings.TrimSuffix(" for "+user, " for "))
	return a.report, a.err
}

func (a *asked) Suspend(_ context.Context, lasts time.Duration, reason string, removalsOnly bool, by string) (string, error) {
	a.log = append(a.log, fmt.Sprintf("suspend %s %q %v by %s", lasts, reason, removalsOnly, by))
	return "suspended", a.err
}

func (a *asked) Resume(_ context.Context, by string) (string, error) {
	a.log = append(a.log, "resume by "+by)
	return "resumed", a.err
}

func (a *asked) Reload() error {
	a.log = append(a.log, "reload")
	return a.err
}

func TestControl(t *testing.T) {
	applied := report.Report{Pass: "p1", Result: report.Applied, Digest: "d1", Applied: report.Tally{Added: 1, Removed: 2}}
	guarded := report.Report{Pass: "p2", Result: report.Guarded, Digest: "d2", Guards: []report.Trip{{Guard: report.Removals, Detail: "60 are wanted"}},
		Groups: []report.Group{{Remove: []report.Change{{Name: "ann", Outcome: report.Withheld, Guard: report.Removals}}}}}
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	granted := applied
	granted.Approval = &report.Approval{Digest: "d1", By: "op", At: at, Granted: true, Lifted: []report.Guard{report.Removals}, Changes: 2}
	changed := guarded
	changed.Approval = &report.Approval{Digest: "d1", By: "op", At: at, Detail: "the plan has changed: its digest is d2"}
	twice := report.Report{Pass: "p3", Result: report.InSync, Approval: &report.Approval{Digest: "d1", By: "op", At: at, Detail: "there is nothing to approve"}}
	hostile := report.Report{Pass: "p5", Result: report.Guarded, Guards: []report.Trip{{Guard: report.Views, Detail: "team\nerror: forged"}}, Errors: []report.Failure{{Text: "\x1b[2J"}}}
	for _, tt := range []struct {
		name   string
		asked  asked
		method string
		path   string
		header string // Sec-Fetch-Site
		code   int
		body   string
		log    string
	}{
		{"a pass", asked{report: applied}, "POST", "/-/sync", "", 200, "pass p1: applied; 1 added, 2 removed, 0 failed; left to add 0, to remove 0; digest d1\n", "sync"},
		{"a pass that a guard stops is a pass", asked{report: guarded}, "POST", "/-/sync", "", 200, "pass p2: guarded; 0 added, 0 removed, 0 failed; left to add 0, to remove 1; digest d2\nguard removals: 60 are wanted\n", "sync"},
		{"a pass of one person", asked{report: applied}, "POST", "/-/sync?user=ann%40example.com", "", 200, "pass p1: applied; 1 added, 2 removed, 0 failed; left to add 0, to remove 0; digest d1\n", "sync ann@example.com"},
		{"a user that is empty is not everybody", asked{report: applied}, "POST", "/-/sync?user=", "", 400, "user is empty, so no pass was made. Use POST /-/sync?user=… with an email, a username or an id, or POST /-/sync for everybody\n", ""},
		{"an approved pass of one person", asked{report: applied}, "POST", "/-/approve?digest=d1&user=ann", "", 200, "pass p1: applied; 1 added, 2 removed, 0 failed; left to add 0, to remove 0; digest d1\n", "approve d1 by anonymous via HTTP for ann"},
		{"somebody whom nobody knows", asked{err: &Refusal{404, errors.New("nobody zoe")}}, "POST", "/-/sync?user=zoe", "", 404, "nobody zoe\n", "sync zoe"},
		{"a standby says who leads", asked{err: &Refusal{503, errors.New("x leads")}}, "POST", "/-/sync", "", 503, "x leads\n", "sync"},
		{"an approved pass", asked{report: granted}, "POST", "/-/approve?digest=d1", "", 200, "approval of d1 by op at 2026-11-24T12:00:00Z: granted: lifted removals for 2 changes\npass p1: applied; 1 added, 2 removed, 0 failed; left to add 0, to remove 0; digest d1\n", "approve d1 by anonymous via HTTP"},
		{"a plan that has changed", asked{report: changed}, "POST", "/-/approve?digest=d1", "", 409, "approval of d1 by op at 2026-11-24T12:00:00Z: refused: the plan has changed: its digest is d2\npass p2: guarded; 0 added, 0 removed, 0 failed; left to add 0, to remove 1; digest d2\nguard removals: 60 are wanted\n", "approve d1 by anonymous via HTTP"},
		{"an approval that was given before", asked{report: twice}, "POST", "/-/approve?digest=d1", "", 409, "approval of d1 by op at 2026-11-24T12:00:00Z: refused: there is nothing to approve\npass p3: in_sync; 0 added, 0 removed, 0 failed; left to add 0, to remove 0\n", "approve d1 by anonymous via HTTP"},
		{"names forge no line of an answer", asked{report: hostile}, "POST", "/-/sync", "", 200, "pass p5: guarded; 0 added, 0 removed, 0 failed; left to add 0, to remove 0\nguard views: team\\nerror: forged\nerror: \\x1b[2J\n", "sync"},
		{"an approval of nothing", asked{}, "POST", "/-/approve", "", 400, "no digest was given, so nothing was approved. Use POST /-/approve?digest=…, with the digest in the summary line of the pass\n", ""},
		{"a reload", asked{}, "POST", "/-/reload", "", 200, "the configuration was reloaded\n", "reload"},
		{"a reload of a bad file", asked{err: errors.New("mode: \"on\" is unknown")}, "POST", "/-/reload", "", 500, "mode: \"on\" is unknown\n", "reload"},
		{"a suspension", asked{}, "POST", "/-/suspend?for=2h&reason=LDAP+migration", "", 200, "suspended\n", `suspend 2h0m0s "LDAP migration" false by anonymous via HTTP`},
		{"a suspension of removals", asked{}, "POST", "/-/suspend?for=90m&reason=r&removals_only=true", "", 200, "suspended\n", `suspend 1h30m0s "r" true by anonymous via HTTP`},
		{"a suspension that is refused", asked{err: &Refusal{400, errors.New("a suspension needs a reason")}}, "POST", "/-/suspend?for=2h", "", 400, "a suspension needs a reason\n", `suspend 2h0m0s "" false by anonymous via HTTP`},
		{"a suspension of no time", asked{}, "POST", "/-/suspend?reason=r", "", 400, "for=\"\" is not a duration, so nothing was suspended. Use POST /-/suspend?for=2h&reason=…\n", ""},
		{"a suspension of odd removals", asked{}, "POST", "/-/suspend?for=2h&reason=r&removals_only=yes%0aplease", "", 400, "removals_only=\"yes\\nplease\" is neither true nor false, so nothing was suspended\n", ""},
		{"a suspension that a page asks for", asked{}, "POST", "/-/suspend?for=2h&reason=r", "same-origin", 403, "groupsync does not accept this request from a page in a browser, so nothing was done. Use curl\n", ""},
		{"the end of one", asked{}, "POST", "/-/resume", "", 200, "resumed\n", "resume by anonymous via HTTP"},
		{"the end of one that a page asks for", asked{}, "POST", "/-/resume", "cross-site", 403, "groupsync does not accept this request from a page in a browser, so nothing was done. Use curl\n", ""},
		{"no suspension on GET", asked{}, "GET", "/-/suspend?for=2h&reason=r", "", 405, "Method Not Allowed\n", ""},
		{"nothing is done on GET", asked{}, "GET", "/-/sync", "", 405, "Method Not Allowed\n", ""},
		{"nothing is done for a foreign page in a browser", asked{}, "POST", "/-/sync", "cross-site", 403, "groupsync does not accept this request from a page in a browser, so nothing was done. Use curl\n", ""},
		{"nor for one that claims this server's name", asked{}, "POST", "/-/approve?digest=d1", "same-origin", 403, "groupsync does not accept this request from a page in a browser, so nothing was done. Use curl\n", ""},
		{"a pass that came to no plan", asked{report: report.Report{Pass: "p4", Result: report.Error, Errors: []report.Failure{{Text: "Keycloak is away"}}}}, "POST", "/-/approve?digest=d1", "", 502, "pass p4: error; 0 added, 0 removed, 0 failed; left to add 0, to remove 0\nerror: Keycloak is away\n", "approve d1 by anonymous via HTTP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base, stop := start(t, Options{Control: &tt.asked})
			req, err := http.NewRequestWithContext(t.Context(), tt.method, base+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if tt.header != "" {
				req.Header.Set("Sec-Fetch-Site", tt.header)
			}
			code, body := do(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, req)
			if code != tt.code || body != tt.body {
				t.Errorf("got %d %q\nwant %d %q", code, body, tt.code, tt.body)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			if got := strings.Join(tt.asked.log, ","); got != tt.log {
				t.Errorf("it was asked %q, want %q", got, tt.log)
			}
		})
	}
}

func do(t *testing.T, c *http.Client, req *http.Request) (int, string) {
	t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// TestAnAnswerIsNoPage checks that a browser does not read an answer with a name in it as
// HTML.
func TestAnAnswerIsNoPage(t *testing.T) {
	markup := report.Report{Pass: "p1", Result: report.Guarded, Guards: []report.Trip{{Guard: report.Views, Detail: "<script>alert(1)</script>"}}}
	base, _ := start(t, Options{Control: &asked{report: markup}})
	for _, path := range []string{"/-/sync", "/-/sync?user=", "/-/approve?digest=%3Cscript%3E"} {
		resp, err := http.Post(base+path, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		for name, want := range map[string]string{"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
}

// TestNoPageMakesACall sends to each path the requests that a browser may send for a page: a
// form, a script, a page with DNS rebinding, and a browser that sends only one of the two
// headers.
func TestNoPageMakesACall(t *testing.T) {
	paths := []string{"/-/sync", "/-/approve?digest=d1", "/-/reload", "/-/suspend?for=2h&reason=r", "/-/resume"}
	for _, tt := range []struct {
		name   string
		header map[string]string
		body   string
		code   int
	}{
		{"a form of another site", map[string]string{"Origin": "https://evil.example.com", "Sec-Fetch-Site": "cross-site", "Content-Type": "application/x-www-form-urlencoded"}, "digest=d1", 403},
		{"a form of an old browser, which tells the origin only", map[string]string{"Origin": "https://evil.example.com", "Content-Type": "text/plain"}, "x", 403},
		{"a form with a file", map[string]string{"Origin": "https://evil.example.com", "Content-Type": "multipart/form-data; boundary=x"}, "--x--", 403},
		{"a page in a sandbox, whose origin is null", map[string]string{"Origin": "null"}, "", 403},
		{"a page that bears this server's name by DNS rebinding", map[string]string{"Origin": "http://HOST", "Sec-Fetch-Site": "same-origin"}, "", 403},
		{"the same from a browser that tells the origin only", map[string]string{"Origin": "http://HOST"}, "", 403},
		{"a page of a neighbour's host", map[string]string{"Sec-Fetch-Site": "same-site"}, "", 403},
		{"a value of the header that nobody knows", map[string]string{"Sec-Fetch-Site": "elsewhere"}, "", 403},
		{"a script with JSON", map[string]string{"Origin": "https://evil.example.com", "Content-Type": "application/json"}, "{}", 403},
		{"curl, which says nothing", nil, "", 200},
		{"curl with a body, which is not read for what to do", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, "user=ann&digest=d2", 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := asked{report: report.Report{Pass: "p1", Result: report.InSync}}
			base, stop := start(t, Options{Control: &c})
			for _, path := range paths {
				req, err := http.NewRequestWithContext(t.Context(), "POST", base+path, strings.NewReader(tt.body))
				if err != nil {
					t.Fatal(err)
				}
				for key, value := range tt.header {
					req.Header.Set(key, strings.Replace(value, "HOST", req.Host, 1))
				}
				code, body := do(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, req)
				if code != tt.code {
					t.Errorf("%s: got %d %q, want %d", path, code, body, tt.code)
				}
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			want := "sync,approve d1 by anonymous via HTTP,reload,suspend 2h0m0s \"r\" false by anonymous via HTTP,resume by anonymous via HTTP"
			if tt.code != 200 {
				want = ""
			}
			if got := strings.Join(c.log, ","); got != want {
				t.Errorf("it was asked %q, want %q", got, want)
			}
		})
	}
}

// TestAnAnswerTakesAsLongAsAPass checks that the timeouts of ordinary requests, which are
// short here, do not cut the answer off.
func TestAnAnswerTakesAsLongAsAPass(t *testing.T) {
	c := &asked{report: report.Report{Pass: "late"}, waiting: make(chan struct{})}
	s, err := Listen(Options{Address: "127.0.0.1:0", Metrics: http.NotFoundHandler(), Control: c, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	s.http.ReadTimeout, s.http.WriteTimeout = 50*time.Millisecond, 50*time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- s.Serve(ctx) }()
	time.AfterFunc(300*time.Millisecond, func() { close(c.waiting) })
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+s.Addr()+"/-/sync", nil)
	if err != nil {
		t.Fatal(err)
	}
	code, body := do(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, req)
	if code != 200 || !strings.HasPrefix(body, "pass late: ") {
		t.Errorf("got %d %q", code, body)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// TestABodyThatNeverComesHoldsNothingUp checks that the caller waits no longer than the
// ordinary timeout, and that the process can stop.
func TestABodyThatNeverComesHoldsNothingUp(t *testing.T) {
	s, err := Listen(Options{Address: "127.0.0.1:0", Metrics: http.NotFoundHandler(), Control: &asked{}, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	s.http.ReadTimeout = 200 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- s.Serve(ctx) }()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	answer := make([]byte, 100)
	n, err := conn.Read(answer)
	if err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 400 ") {
		t.Errorf("got %q, %v", answer[:n], err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// TestTLSAndAuthentication checks that, with a web configuration, every path requires both.
func TestTLSAndAuthentication(t *testing.T) {
	dir := t.TempDir()
	pool := certificate(t, dir)
	hash, err := bcrypt.GenerateFromPassword([]byte("opensesame"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	file := webConfig(t, dir, fmt.Sprintf("tls_server_config: {cert_file: cert.pem, key_file: key.pem}\nbasic_auth_users: {prometheus: %q}\n", hash))
	base, stop := start(t, Options{ConfigFile: file})
	base = strings.Replace(base, "http:", "https:", 1)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool}}}
	for _, tt := range []struct {
		password string
		code     int
	}{{"", 401}, {"wrong", 401}, {"opensesame", 200}} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", base+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		if tt.password != "" {
			req.SetBasicAuth("prometheus", tt.password)
		}
		if code, _ := do(t, client, req); code != tt.code {
			t.Errorf("with the password %q: %d, want %d", tt.password, code, tt.code)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestWhatIsOpenToEverybodyIsWarnedOf checks the warnings on an address that is not loopback.
// A web configuration that does not authenticate everybody does not prevent them.
func TestWhatIsOpenToEverybodyIsWarnedOf(t *testing.T) {
	anywhere, here := &net.TCPAddr{IP: net.IPv4zero, Port: 8080}, &net.TCPAddr{IP: net.IPv6loopback, Port: 8080}
	for _, tt := range []struct {
		name, config string
		at           net.Addr
		warned       bool
	}{
		{"no web configuration", "", anywhere, true},
		{"no web configuration, on loopback", "", here, false},
		{"TLS alone", "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n", anywhere, true},
		{"a certificate if there is one", "tls_server_config: {client_auth_type: VerifyClientCertIfGiven}\n", anywhere, true},
		{"any certificate", "tls_server_config: {client_auth_type: RequireAnyClientCert}\n", anywhere, true},
		{"a certificate that is verified", "tls_server_config: {client_auth_type: RequireAndVerifyClientCert}\n", anywhere, false},
		{"a password", "basic_auth_users: {a: hash}\n", anywhere, false},
		{"nobody's password", "basic_auth_users: {}\n", anywhere, true},
	} {
		var log strings.Builder
		o := Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Control: &asked{}, Status: NewStatus("s", nil), Public: true}
		if tt.config != "" {
			o.ConfigFile = webConfig(t, t.TempDir(), tt.config)
		}
		warn(o, tt.at)
		for _, open := range []string{"Anybody who can connect to web.listen can make passes", "Anybody who can connect to web.listen can read people's names"} {
			if warned := strings.Contains(log.String(), open); warned != tt.warned {
				t.Errorf("%s: warned that %s: %t\n%s", tt.name, open, warned, log.String())
			}
		}
		log.Reset()
		o.Control, o.Public = nil, false
		if warn(o, tt.at); log.Len() > 0 {
			t.Errorf("%s: nothing is open, but\n%s", tt.name, log.String())
		}
	}
}

// certificate writes cert.pem and key.pem for loopback, and returns the certificate authority.
func certificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	write(t, filepath.Join(dir, "cert.pem"), string(cert))
	write(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return pool
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func webConfig(t *testing.T, dir, text string) string {
	t.Helper()
	path := filepath.Join(dir, "web.yaml")
	write(t, path, text)
	return path
}

func TestABadWebConfigurationIsAnErrorAtStart(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"an unknown key", "tls: {}\n", "field tls not found in type web.Config"},
		{"a password that is not hashed", "basic_auth_users: {a: opensesame}\n", "crypto/bcrypt: hashedSecret too short to be a bcrypted password"},
		{"a hash in the wrong place is not shown", "basic_auth_users: $2y$10$opensesame\n", "cannot unmarshal !!str a value into map"},
		{"a certificate that is not there", "tls_server_config: {cert_file: no.pem, key_file: no.pem}\n", "no.pem: no such file or directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := webConfig(t, t.TempDir(), tt.text)
			_, err := Listen(Options{Address: "127.0.0.1:0", ConfigFile: file, Metrics: http.NotFoundHandler(), Log: quiet})
			if err == nil || !strings.HasPrefix(err.Error(), "web.config_file: "+file+": ") || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "opensesame") {
				t.Errorf("got %v\nwant %s", err, tt.want)
			}
		})
	}
}
