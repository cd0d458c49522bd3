package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"groupsync/internal/kube/kubetest"
	"groupsync/internal/report"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target/clearmltest"
)

// TestMain lets the test binary also be groupsync, or a program with a fault, so that tests
// can kill it.
func TestMain(m *testing.M) {
	switch what := os.Getenv("BE_GROUPSYNC"); what {
	case "":
		// Under the race detector a process sleeps for a second when it exits. The tests
		// start some hundreds of processes, and a race is reported without the sleep.
		if err := os.Setenv(raceOptions, strings.TrimSpace(os.Getenv(raceOptions)+" atexit_sleep_ms=0")); err != nil {
			panic(err)
		}
	case "1":
		main()
	default:
		asProcess(faulty[what])
	}
	os.Exit(kubetest.Main(runner(func() int { return withCoverDir(func() int { return keycloaktest.Main(m) }) })))
}

// withCoverDir runs the tests with a directory for the coverage counters of the processes that
// they start. Under go test -cover, a process without this directory prints a warning to
// stderr, where the transcripts expect nothing.
func withCoverDir(run func() int) int {
	if testing.CoverMode() == "" {
		return run()
	}
	dir, err := os.MkdirTemp("", "groupsync-cover-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = os.Setenv(coverDir, dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "no directory for coverage counters:", err)
		return 1
	}
	return run()
}

// raceOptions is the variable that the race detector reads when a process starts.
const raceOptions = "GORACE"

// coverDir is the variable that names the directory of coverage counters.
const coverDir = "GOCOVERDIR"

// runner makes a function usable as the argument m of a Main of another package, so that several
// Mains can be nested.
type runner func() int

func (r runner) Run() int { return r() }

// command returns groupsync as a process of its own.
func command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), "BE_GROUPSYNC=1")
	return cmd
}

// outcome is the result of one run of the command.
type outcome struct {
	code           int
	stdout, stderr string
}

// groupsync runs the command to its end.
func groupsync(t *testing.T, args ...string) outcome {
	t.Helper()
	return finish(t, command(t.Context(), args...))
}

func finish(t *testing.T, cmd *exec.Cmd) outcome {
	t.Helper()
	return start(t, cmd)()
}

// start starts a command. The function that it returns waits for the end.
func start(t *testing.T, cmd *exec.Cmd) func() outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() outcome {
		t.Helper()
		err := cmd.Wait()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	}
}

// report decodes the JSON of a pass.
func (o outcome) report(t *testing.T) report.Report {
	t.Helper()
	var r report.Report
	if err := json.Unmarshal([]byte(o.stdout), &r); err != nil {
		t.Fatalf("stdout is not one report: %v\n%s\n%s", err, o.stdout, o.stderr)
	}
	return r
}

// trap is a server in front of another one. It calls a hook with each complete request before
// it passes the request on. It can be killed while it answers.
type trap struct {
	*httptest.Server
	mu   sync.Mutex
	hook func(r *http.Request)
}

// front puts a trap in front of a handler.
func front(t *testing.T, next http.Handler) *trap {
	t.Helper()
	p := &trap{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// groupsync can still stop a write whose body has not been sent.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		p.mu.Lock()
		hook := p.hook
		p.mu.Unlock()
		if hook != nil {
			hook(r)
		}
		next.ServeHTTP(w, r)
	}))
	t.Cleanup(p.kill)
	return p
}

func (p *trap) on(hook func(*http.Request)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hook = hook
}

// kill closes the listener and breaks every connection.
func (p *trap) kill() {
	p.Listener.Close()
	p.CloseClientConnections()
}

// toServer passes requests on to a real server. It keeps the Host header of the client, because
// Keycloak makes URLs from this header.
func toServer(t *testing.T, address string) http.Handler {
	t.Helper()
	to, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host },
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			panic(http.ErrAbortHandler) // the client gets what the proxy got: a broken connection
		},
	}
}

// configure writes a configuration and returns its path. more is appended to the lines that
// every test needs.
func configure(t testing.TB, keycloak, realm, clearml string, more string) string {
	t.Helper()
	dir := t.TempDir()
	text := fmt.Sprintf(`schedule: "@every 1h"
state_dir: %s
keycloak: {url: %q, realm: %q, client_id: groupsync, client_secret: %q, timeout: 15s}
clearml: {url: %q, access_key: access, secret_key: secret, timeout: 15s}
web: {listen: "127.0.0.1:0"}
%s
`, filepath.Join(dir, "state"), keycloak, realm, keycloaktest.Secret, clearml, more)
	path := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// person adds a ClearML user who has signed in through Keycloak with this account.
func person(s *clearmltest.Server, name, keycloakID string) {
	s.AddUser(clearmltest.User{ID: "cm-" + name, Name: name, Email: name + "@example.com", Role: "user",
		Providers: map[string]any{"keycloak": map[string]any{"sub": keycloakID}}})
}

func mustContain(t testing.TB, what, text, want string) {
	t.Helper()
	if !strings.Contains(text, want) {
		t.Errorf("%s lacks\n  %s\ngot\n  %s", what, want, text)
	}
}
