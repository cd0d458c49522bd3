package reach_test

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/preflight"
	"groupsync/internal/preflight/reach"
)

// findingsOf makes the check of that name and returns its findings as text.
func findingsOf(t *testing.T, ctx context.Context, checks []preflight.Check, name string) string {
	t.Helper()
	i := slices.IndexFunc(checks, func(c preflight.Check) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("there is no check %s", name)
	}
	var text strings.Builder
	for _, f := range checks[i].Run(ctx) {
		f.Check = name
		text.WriteString(f.Line())
	}
	return strings.ReplaceAll(text.String(), "\n    see \n", "\n")
}

// serveTLS serves on the loopback with the certificate.
func serveTLS(t *testing.T, handler http.Handler, cert tls.Certificate) string {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes fail on purpose
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

const day = 24 * time.Hour

func TestTLS(t *testing.T) {
	ours, other := newAuthority(t, "Our Authority"), newAuthority(t, "Other Authority")
	until := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.DateOnly) }
	valid := ours.server(t, -day, 90*day+time.Hour, "127.0.0.1")
	const caAdvice = "    put the PEM of that authority into keycloak.ca_file. If the authority is a public one, the server does not send the intermediate certificate. Configure the server to send the complete chain\n"
	for _, tt := range []struct {
		name     string
		cert     tls.Certificate
		ca       string
		insecure bool
		want     string
	}{
		{"a valid chain to the authority of the CA file", valid, ours.file(t), false,
			`✔ keycloak-tls: TLS 1.3, a certificate chain to "CN=Our Authority" that is valid until ` + until(90*day+time.Hour) + "\n"},
		{"it ends soon", ours.server(t, -day, 3*day+time.Hour, "127.0.0.1"), ours.file(t), false,
			`! keycloak-tls: the certificate of "CN=the server" ends on ` + until(3*day+time.Hour) + ", in 3 days. After that groupsync makes no pass\n    renew the certificate, and check why it was not renewed automatically\n"},
		{"it has expired", ours.server(t, -9*day, -2*day, "127.0.0.1"), ours.file(t), false,
			`✘ keycloak-tls: the certificate of "CN=the server" expired on ` + until(-2*day) + "\n    renew the certificate on the server, and check the clock of this machine\n"},
		{"it is not valid yet", ours.server(t, 2*day, 9*day, "127.0.0.1"), ours.file(t), false,
			`✘ keycloak-tls: the certificate of "CN=the server" is valid only from ` + until(2*day) + " on\n    renew the certificate on the server, and check the clock of this machine\n"},
		{"it is for other names, hostile ones", ours.server(t, -day, 90*day, "a.example", "<script>\x1b[2J"), ours.file(t), false,
			"✘ keycloak-tls: the certificate is for a.example, <script>\\x1b[2J, and not for 127.0.0.1\n    put a host that the certificate names into keycloak.url, or give the server a certificate that names 127.0.0.1\n"},
		{"it is for no name", ours.server(t, -day, 90*day), ours.file(t), false,
			"✘ keycloak-tls: the certificate is for no host, and not for 127.0.0.1\n    put a host that the certificate names into keycloak.url, or give the server a certificate that names 127.0.0.1\n"},
		{"no authority is known", valid, "", false,
			`✘ keycloak-tls: the certificate was not issued by an authority that groupsync trusts; the issuer is "CN=Our Authority"` + "\n" + caAdvice},
		{"the CA file holds another authority", valid, other.file(t), false,
			`✘ keycloak-tls: the certificate was not issued by an authority that groupsync trusts; the issuer is "CN=Our Authority", and keycloak.ca_file does not contain the issuer` + "\n" + caAdvice},
		{"any certificate is accepted, and this one is valid", valid, ours.file(t), true,
			"! keycloak-tls: groupsync accepts any certificate (keycloak.insecure_skip_verify), although this certificate is valid\n    remove keycloak.insecure_skip_verify\n"},
		{"any certificate is accepted, and this one has expired", ours.server(t, -9*day, -2*day, "127.0.0.1"), ours.file(t), true,
			`! keycloak-tls: groupsync accepts any certificate (keycloak.insecure_skip_verify). Without that setting groupsync would refuse this certificate: the certificate of "CN=the server" expired on ` + until(-2*day) +
				"\n    renew the certificate on the server, and check the clock of this machine; then remove keycloak.insecure_skip_verify\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := serveTLS(t, http.NotFoundHandler(), tt.cert)
			if d := cmp.Diff(tt.want, findingsOf(t, t.Context(), reachOf(url, tt.ca, tt.insecure), "keycloak-tls")); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

func reachOf(url, ca string, insecure bool) []preflight.Check {
	return reach.Keycloak(nil, reach.KeycloakOptions{Address: reach.Address{Side: "keycloak", URL: url, CAFile: ca, InsecureSkipVerify: insecure}})
}

func TestPlainHTTP(t *testing.T) {
	for url, want := range map[string]string{
		"http://localhost:8080": "✔ keycloak-tls: plain HTTP, which does not leave this machine\n",
		"http://127.0.0.2/auth": "✔ keycloak-tls: plain HTTP, which does not leave this machine\n",
		"http://[::1]:8080":     "✔ keycloak-tls: plain HTTP, which does not leave this machine\n",
		"http://keycloak:8080": "! keycloak-tls: groupsync sends its secret and its tokens over plain HTTP to keycloak. Anybody on the network between them can read these\n" +
			"    put an https:// address into keycloak.url\n",
	} {
		if got := findingsOf(t, t.Context(), reachOf(url, "", false), "keycloak-tls"); got != want {
			t.Errorf("%s: %s", url, got)
		}
	}
}

func TestNoTLSConnection(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	silentListener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { silentListener.Close() })
	refused, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	refused.Close()
	const advice = "\n    check keycloak.url, its port, and the firewalls between groupsync and the server\n"
	for _, tt := range []struct{ name, url, want string }{
		{"nobody listens", "https://" + refused.Addr().String(), "dial tcp " + refused.Addr().String() + ": connect: connection refused"},
		{"the server speaks plain HTTP", strings.Replace(plain.URL, "http:", "https:", 1), "http: server gave HTTP response to HTTPS client"},
		{"the server is silent", "https://" + silentListener.Addr().String(), "context deadline exceeded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			want := "✘ keycloak-tls: no TLS connection to " + tt.url + ": " + tt.want + advice
			if d := cmp.Diff(want, findingsOf(t, ctx, reachOf(tt.url, "", false), "keycloak-tls")); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

func TestDNS(t *testing.T) {
	for _, tt := range []struct{ name, url, want string }{
		{"an address needs no DNS", "https://127.0.0.1:8443", "✔ keycloak-dns: the host is the IP address 127.0.0.1, so DNS is not needed\n"},
		{"a name of this machine", "https://localhost", "✔ keycloak-dns: the host localhost has the address 127.0.0.1\n"},
		{"a name that is in no DNS", "https://auth.invalid", "✘ keycloak-dns: DNS has no address for the host auth.invalid (no such host)\n    check the host in keycloak.url, and the DNS settings of the machine or pod\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Replace(findingsOf(t, t.Context(), reachOf(tt.url, "", false), "keycloak-dns"), "127.0.0.1, ::1", "127.0.0.1", 1)
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}
