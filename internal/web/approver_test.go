package web

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"groupsync/internal/report"
)

// TestWhoApproves checks that the name is one that exporter-toolkit has authenticated, and
// never one that a request only claims.
func TestWhoApproves(t *testing.T) {
	dir := t.TempDir()
	pool := certificate(t, dir)
	hash, err := bcrypt.GenerateFromPassword([]byte("opensesame"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	users := fmt.Sprintf("basic_auth_users: {operator: %q}\n", hash)
	tlsOnly := "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n"
	clients := func(auth string) string {
		ca := ""
		if strings.Contains(auth, "Verify") {
			ca = ", client_ca_file: cert.pem"
		}
		return "tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_auth_type: " + auth + ca + "}\n"
	}
	alice, unnamed := clientCertificate(t, dir, "alice"), clientCertificate(t, dir, "")
	for _, tt := range []struct {
		name, config string // empty config: no web configuration
		user         string
		certificate  *tls.Certificate
		want         string
	}{
		{"nobody", "", "", nil, "anonymous via HTTP"},
		{"a name that nobody checks", "", "operator", nil, "anonymous via HTTP"},
		{"a name that nobody checks, with TLS", tlsOnly, "operator", nil, "anonymous via HTTP"},
		{"a user with a password", users, "operator", nil, "operator"},
		{"a user with a password, with TLS", tlsOnly + users, "operator", nil, "operator"},
		{"a client certificate", clients("RequireAndVerifyClientCert"), "", alice, "alice"},
		{"a client certificate, and a name that nobody checks", clients("RequireAndVerifyClientCert"), "operator", alice, "alice"},
		{"a client certificate and a user with a password", clients("RequireAndVerifyClientCert") + users, "operator", alice, "operator"},
		{"a client certificate that is verified where there is one", clients("VerifyClientCertIfGiven"), "", alice, "alice"},
		{"a client certificate that nobody verifies", clients("RequireAnyClientCert"), "", alice, "anonymous via HTTP"},
		{"a client certificate without a common name", clients("RequireAndVerifyClientCert"), "", unnamed, "anonymous via HTTP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &asked{report: report.Report{Approval: &report.Approval{Granted: true}}}
			o := Options{Control: c}
			if tt.config != "" {
				o.ConfigFile = webConfig(t, dir, tt.config)
			}
			base, stop := start(t, o)
			if strings.Contains(tt.config, "tls_server_config") {
				base = strings.Replace(base, "http:", "https:", 1)
			}
			client := &tls.Config{RootCAs: pool}
			if tt.certificate != nil {
				client.Certificates = []tls.Certificate{*tt.certificate}
			}
			req, err := http.NewRequestWithContext(t.Context(), "POST", base+"/-/approve?digest=d1", nil)
			if err != nil {
				t.Fatal(err)
			}
			if tt.user != "" {
				req.SetBasicAuth(tt.user, "opensesame")
			}
			if code, body := do(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: client}}, req); code != 200 {
				t.Errorf("%d %s", code, body)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			if got, want := strings.Join(c.log, ","), "approve d1 by "+tt.want; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// clientCertificate returns a client certificate that the server's certificate in dir has
// signed.
func clientCertificate(t *testing.T, dir, commonName string) *tls.Certificate {
	t.Helper()
	ca, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour), Subject: pkix.Name{CommonName: commonName},
		DNSNames: []string{"client"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Leaf, &key.PublicKey, ca.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
