package web

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// TestWhoMaySeeNames checks access on loopback, with authentication, and with
// web.public_status.
func TestWhoMaySeeNames(t *testing.T) {
	anywhere, four, six := &net.TCPAddr{IP: net.IPv4zero, Port: 8080}, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}, &net.TCPAddr{IP: net.IPv6loopback, Port: 8080}
	users := webConfig(t, t.TempDir(), "basic_auth_users: {operator: hash}\n")
	for _, tt := range []struct {
		name   string
		access access
		host   string
		user   string
		want   error
	}{
		{"on loopback, by name", access{at: four}, "localhost:8080", "", nil},
		{"on loopback, by name in capitals", access{at: four}, "LOCALHOST", "", nil},
		{"on loopback, by address", access{at: four}, "127.0.0.1:8080", "", nil},
		{"on loopback, through a tunnel with another port", access{at: four}, "127.0.0.1:9999", "", nil},
		{"on loopback, by IPv6", access{at: six}, "[::1]:8080", "", nil},
		{"on loopback, by IPv6 without a port", access{at: six}, "[::1]", "", nil},
		{"on loopback, by the name in web.listen", access{at: four, listen: "groupsync.internal:8080"}, "groupsync.internal:8080", "", nil},
		{"on loopback, by a name that a page rebinds", access{at: four, listen: "127.0.0.1:8080"}, "attacker.example.com:8080", "", errHost},
		{"on loopback, by a name that begins like it", access{at: four}, "localhost.attacker.example.com", "", errHost},
		{"on loopback, by a name that begins like its address", access{at: four}, "127.0.0.1.attacker.example.com", "", errHost},
		{"on loopback, by another address", access{at: four}, "10.0.0.1", "", errHost},
		{"on loopback, without a host", access{at: four, listen: ":8080"}, "", "", errHost},
		{"on loopback behind a proxy, if names are public", access{at: four, public: true}, "groupsync.example.com", "", nil},
		{"anywhere", access{at: anywhere}, "localhost", "", errNames},
		{"anywhere, with a user that nobody checks", access{at: anywhere}, "localhost", "operator", errNames},
		{"anywhere, with another user than the file's", access{at: anywhere, file: users}, "groupsync", "stranger", errNames},
		{"anywhere, with a user of the file", access{at: anywhere, file: users}, "groupsync", "operator", nil},
		{"anywhere, if names are public", access{at: anywhere, public: true}, "groupsync", "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &http.Request{Host: tt.host, Header: http.Header{}}
			if tt.user != "" {
				r.SetBasicAuth(tt.user, "x")
			}
			got := tt.access.refuse(r)
			if got != tt.want && !(got == nil && tt.want == nil) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// TestWhichPagesMaySeeNames checks that pages of other sites get no answer, and that a link
// opens the page.
func TestWhichPagesMaySeeNames(t *testing.T) {
	for _, tt := range []struct {
		name, site, mode, dest string
		want                   error
	}{
		{"no browser", "", "", "", nil},
		{"a person who typed the address", "none", "navigate", "document", nil},
		{"the page itself", "same-origin", "cors", "empty", nil},
		{"a link of another site", "cross-site", "navigate", "document", nil},
		{"a frame of another site", "cross-site", "navigate", "iframe", errForeign},
		{"a picture of another site", "cross-site", "no-cors", "image", errForeign},
		{"a script of another port of this machine", "same-site", "cors", "empty", errForeign},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &http.Request{Host: "localhost", Header: http.Header{}}
			for key, value := range map[string]string{"Sec-Fetch-Site": tt.site, "Sec-Fetch-Mode": tt.mode, "Sec-Fetch-Dest": tt.dest} {
				if value != "" {
					r.Header.Set(key, value)
				}
			}
			a := access{at: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}}
			if got := a.refuse(r); got != tt.want && !(got == nil && tt.want == nil) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// TestEveryPathWithNamesIsGuarded checks that each path refuses, and that the text says how to
// allow access. Health and metrics are open.
func TestEveryPathWithNamesIsGuarded(t *testing.T) {
	base, stop := start(t, Options{Status: busy(sample()), Explainer: knowing{}, Metrics: http.HandlerFunc(ok)})
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	for path, guarded := range map[string]bool{
		"/": true, "/?user=ada": true, "/page.js": true, "/api/v1/status": true, "/api/v1/explain?user=ada": true, "/api/v1/openapi.yaml": true,
		"/healthz": false, "/readyz": false, "/metrics": false,
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "attacker.example.com"
		code, body := do(t, http.DefaultClient, req)
		want := "200"
		if guarded {
			want = "403 " + errHost.Error() + "\n"
		}
		if got := fmt.Sprint(code, " ", body); !strings.HasPrefix(got, want) || guarded && got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestNamesBehindAuthentication checks that, off loopback, the page is served to a user or
// certificate that exporter-toolkit has verified. TLS alone is not enough.
func TestNamesBehindAuthentication(t *testing.T) {
	dir := t.TempDir()
	pool := certificate(t, dir)
	alice := clientCertificate(t, dir, "alice")
	hash, err := bcrypt.GenerateFromPassword([]byte("opensesame"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	const onlyTLS = "tls_server_config: {cert_file: cert.pem, key_file: key.pem"
	for _, tt := range []struct {
		name, config string
		password     string
		certificate  *tls.Certificate
		public       bool
		code         int
	}{
		{"TLS alone", onlyTLS + "}\n", "", nil, false, 403},
		{"TLS alone, if names are public", onlyTLS + "}\n", "", nil, true, 200},
		{"a password", onlyTLS + "}\nbasic_auth_users: {operator: " + string(hash) + "}\n", "opensesame", nil, false, 200},
		{"a wrong password", onlyTLS + "}\nbasic_auth_users: {operator: " + string(hash) + "}\n", "guess", nil, true, 401},
		{"a certificate that is verified", onlyTLS + ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: cert.pem}\n", "", alice, false, 200},
		{"a certificate that nobody verifies", onlyTLS + ", client_auth_type: RequireAnyClientCert}\n", "", alice, false, 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base, stop := startAs(t, &net.TCPAddr{IP: net.IPv4zero, Port: 8080}, Options{Status: busy(calm()), Public: tt.public, ConfigFile: webConfig(t, dir, tt.config)})
			client := &tls.Config{RootCAs: pool}
			if tt.certificate != nil {
				client.Certificates = []tls.Certificate{*tt.certificate}
			}
			req, err := http.NewRequestWithContext(t.Context(), "GET", strings.Replace(base, "http:", "https:", 1)+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			if tt.password != "" {
				req.SetBasicAuth("operator", tt.password)
			}
			if code, body := do(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: client}}, req); code != tt.code {
				t.Errorf("%d, want %d: %.100s", code, tt.code, body)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}
