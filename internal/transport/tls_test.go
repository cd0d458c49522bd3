package transport

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate returns a self-signed certificate for the host, valid until the given time.
func certificate(t *testing.T, host string, until time.Time) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: until.Add(-48 * time.Hour), NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	if ip := net.ParseIP(host); ip != nil {
		form.IPAddresses = []net.IP{ip}
	} else {
		form.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TestAServerThatCannotBeTrustedGetsNoRequest checks that the client sends nothing to a server
// whose certificate or TLS version it refuses. A request holds the credentials.
func TestAServerThatCannotBeTrustedGetsNoRequest(t *testing.T) {
	const here = "127.0.0.1"
	later, over := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	rows := []struct {
		name     string
		host     string
		until    time.Time
		version  uint16 // the highest TLS version of the server
		unknown  bool   // ca_file does not hold the authority
		insecure bool
		want     string // text in the error; empty: the request arrives
	}{
		{"TLS 1.3 with a valid certificate", here, later, tls.VersionTLS13, false, false, ""},
		{"TLS 1.2 with a valid certificate", here, later, tls.VersionTLS12, false, false, ""},
		{"TLS 1.1 is too old", here, later, tls.VersionTLS11, false, false, "protocol version not supported"},
		{"TLS 1.0 is too old", here, later, tls.VersionTLS10, false, false, "protocol version not supported"},
		{"TLS 1.1 is too old with insecure_skip_verify, too", here, later, tls.VersionTLS11, false, true, "protocol version not supported"},
		{"the certificate is for another host", "auth.example.com", later, tls.VersionTLS13, false, false, "doesn't contain any IP SANs"},
		{"the certificate's time is over", here, over, tls.VersionTLS13, false, false, "certificate has expired"},
		{"no authority that is known signed it", here, later, tls.VersionTLS13, true, false, "signed by unknown authority"},
		{"insecure_skip_verify accepts each of them", "auth.example.com", over, tls.VersionTLS13, true, true, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			cert, authority := certificate(t, row.host, row.until)
			arrived := false
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived = true }))
			srv.Config.ErrorLog = log.New(io.Discard, "", 0)
			srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS10, MaxVersion: row.version}
			srv.StartTLS()
			defer srv.Close()
			o := Options{InsecureSkipVerify: row.insecure, Retry: func(context.Context, *http.Response, error) bool { return false }}
			if !row.unknown {
				o.CAFile = filepath.Join(t.TempDir(), "ca.pem")
				if err := os.WriteFile(o.CAFile, authority, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, _, err := get(t, client(t, o), context.Background(), srv.URL)
			if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
				t.Errorf("got %v, want %q", err, row.want)
			}
			if arrived != (row.want == "") {
				t.Errorf("the request arrived: %v", arrived)
			}
		})
	}
}
