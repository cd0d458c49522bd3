// Package kubetest starts a Kubernetes API server and etcd for tests. Both are the real programs.
// A test can have a cluster of its own (Start) or share a cluster (Shared).
//
// There is no controller, scheduler or kubelet. The API server stores, validates, admits and
// authorises objects (RBAC, Pod Security) as in any cluster, but no pod runs. The environment
// variable KUBE_APISERVER names the program of the API server, which the Makefile builds from
// tools/kube. The program etcd is Debian's. go test -short skips each test that uses the package.
// If a program is missing, the test fails with a message that says what to do. The servers listen
// on 127.0.0.1 only, and end with the test binary.
package kubetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"groupsync/internal/processtest"
)

// Cluster is a running API server with its own etcd. Its methods make requests as the
// administrator.
type Cluster struct {
	*Client
	URL string // https://127.0.0.1:port

	dir       string
	etcd, api *processtest.Process
	etcdURL   string
	port      int
	http      *http.Client
}

// Start starts a cluster for the test, and ends it with the test. Starting takes about four
// seconds.
func Start(tb testing.TB) *Cluster {
	tb.Helper()
	skipShort(tb)
	c, err := start()
	if err != nil {
		tb.Fatalf("starting Kubernetes: %v", err)
	}
	tb.Cleanup(func() {
		if err := c.close(); err != nil {
			tb.Errorf("stopping Kubernetes: %v", err)
		}
	})
	return c
}

var shared = processtest.Shared[*Cluster]{Name: "Kubernetes", Start: start, Stop: (*Cluster).close}

// Shared returns the one cluster that the tests of the test binary share. The first call starts
// the cluster. TestMain of the package must call Main. A test that stops the API server must use
// Start, because other tests need the shared cluster.
func Shared(tb testing.TB) *Cluster {
	tb.Helper()
	skipShort(tb)
	return shared.Get(tb)
}

// Main runs the tests, stops what Shared started, and returns the exit code:
//
//	func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }
func Main(m interface{ Run() int }) int { return shared.Main(m) }

func skipShort(tb testing.TB) {
	tb.Helper()
	if testing.Short() {
		tb.Skip("needs a real Kubernetes API server")
	}
}

func start() (*Cluster, error) {
	if os.Getenv("KUBE_APISERVER") == "" {
		return nil, errors.New("the environment variable KUBE_APISERVER is not set, so there is no API server to start: run make test, which builds the API server and sets the variable")
	}
	if err := processtest.Install("the real Kubernetes API server", []string{"etcd"}, "etcd-server"); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "kubetest-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir}
	if err := c.launch(); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// launch starts etcd and the API server on free ports, and makes the credentials of the
// administrator.
func (c *Cluster) launch() error {
	var err error
	if c.port, err = processtest.FreePort(); err != nil {
		return err
	}
	c.URL = "https://127.0.0.1:" + strconv.Itoa(c.port)
	c.Client = &Client{cluster: c, token: rand.Text()}
	if err := c.runEtcd(); err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	if err := writeKey(c.file("accounts.key")); err != nil {
		return err
	}
	user := c.token + `,admin,admin,"system:masters"` + "\n"
	if err := os.WriteFile(c.file("tokens.csv"), []byte(user), 0o600); err != nil {
		return err
	}
	return c.runAPI()
}

func (c *Cluster) file(name string) string { return filepath.Join(c.dir, name) }

func (c *Cluster) runEtcd() error {
	port, err := processtest.FreePort()
	if err != nil {
		return err
	}
	peer, err := processtest.FreePort()
	if err != nil {
		return err
	}
	c.etcdURL = "http://127.0.0.1:" + strconv.Itoa(port)
	peerURL := "http://127.0.0.1:" + strconv.Itoa(peer)
	c.etcd, err = processtest.Start(c.file("etcd.log"), nil, "etcd", "--name=test", "--data-dir="+c.file("etcd"),
		"--listen-client-urls="+c.etcdURL, "--advertise-client-urls="+c.etcdURL,
		"--listen-peer-urls="+peerURL, "--initial-advertise-peer-urls="+peerURL, "--initial-cluster=test="+peerURL)
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: time.Second}
	return c.etcd.Await(30*time.Second, func() bool { return ok(client.Get(c.etcdURL + "/health")) })
}

// runAPI starts the API server and waits until it is ready.
func (c *Cluster) runAPI() error {
	var err error
	c.api, err = processtest.Start(c.file("apiserver.log"), nil, os.Getenv("KUBE_APISERVER"),
		"--etcd-servers="+c.etcdURL, "--endpoint-reconciler-type=none",
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port="+strconv.Itoa(c.port),
		"--cert-dir="+c.file("certs"), "--service-cluster-ip-range=10.0.0.0/24",
		"--authorization-mode=RBAC", "--token-auth-file="+c.file("tokens.csv"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+c.file("accounts.key"), "--service-account-signing-key-file="+c.file("accounts.key"),
		// The plugin ServiceAccount refuses a pod in a namespace without the account "default". A
		// controller would create that account, but no controller runs.
		"--disable-admission-plugins=ServiceAccount",
	)
	if err != nil {
		return fmt.Errorf("the API server: %w; run make tools, which builds it", err)
	}
	if err := c.api.Await(2*time.Minute, c.ready); err != nil {
		return fmt.Errorf("the API server: %w", err)
	}
	return nil
}

// ready reports whether the API server is ready (/readyz). The API server makes its certificate
// itself, so at the start the file of the certificate may be missing.
func (c *Cluster) ready() bool {
	if c.http == nil {
		cert, err := os.ReadFile(c.file("certs/apiserver.crt"))
		roots := x509.NewCertPool()
		if err != nil || !roots.AppendCertsFromPEM(cert) {
			return false
		}
		c.http = &http.Client{
			Timeout:   10 * time.Second,
			Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
		}
	}
	return ok(c.send(http.MethodGet, "/readyz", "", nil))
}

func ok(resp *http.Response, err error) bool {
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// StopAPI kills the API server: connections are refused until StartAPI.
func (c *Cluster) StopAPI(tb testing.TB) { tb.Helper(); must(tb, c.api.Kill()) }

// StartAPI starts the API server again, with the same URL, accounts and data.
func (c *Cluster) StartAPI(tb testing.TB) { tb.Helper(); must(tb, c.runAPI()) }

// close ends both servers and removes their data.
func (c *Cluster) close() error {
	var errs []error
	for _, p := range []*processtest.Process{c.api, c.etcd} {
		if p != nil {
			errs = append(errs, p.Kill())
		}
	}
	if c.http != nil {
		c.http.CloseIdleConnections()
	}
	return errors.Join(append(errs, os.RemoveAll(c.dir))...)
}

// writeKey makes the key that tokens of ServiceAccounts are signed with.
func writeKey(path string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
