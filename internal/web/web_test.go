package web

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// serve starts a server and returns its base URL and a function that stops it.
func serve(t *testing.T, metrics http.HandlerFunc) (string, func() error) {
	t.Helper()
	return start(t, Options{Metrics: metrics})
}

func start(t *testing.T, o Options) (string, func() error) {
	t.Helper()
	return startAs(t, nil, o)
}

// startAs starts a server on loopback. If at is not nil, the server behaves as if it listened
// on that address.
func startAs(t *testing.T, at net.Addr, o Options) (string, func() error) {
	t.Helper()
	o.Address, o.Log = "127.0.0.1:0", quiet
	if o.Metrics == nil {
		o.Metrics = http.NotFoundHandler()
	}
	s, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	if at != nil {
		s.http.Handler = routes(o, at)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	return "http://" + s.Addr(), func() error { cancel(); return <-done }
}

func TestRoutes(t *testing.T) {
	base, stop := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "figures") })
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, tt := range []struct {
		name, method, path string
		code               int
		body               string
	}{
		{"metrics are the handler's", "GET", "/metrics", 200, "figures"},
		{"a living process is healthy", "GET", "/healthz", 200, "ok\n"},
		{"a process that listens is ready", "GET", "/readyz", 200, "ok\n"},
		{"without a status there is no page", "GET", "/", 404, "404 page not found\n"},
		{"nothing is to be done unless it is switched on", "POST", "/-/reload", 404, "404 page not found\n"},
		{"no pass is made unless it is switched on", "POST", "/-/sync", 404, "404 page not found\n"},
		{"nothing is approved unless it is switched on", "POST", "/-/approve?digest=d1", 404, "404 page not found\n"},
		{"nothing is suspended unless it is switched on", "POST", "/-/suspend?for=2h&reason=r", 404, "404 page not found\n"},
		{"nothing is resumed unless it is switched on", "POST", "/-/resume", 404, "404 page not found\n"},
		{"health is not written to", "POST", "/healthz", 405, "Method Not Allowed\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, base+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != tt.code || string(body) != tt.body {
				t.Errorf("got %d %q %v, want %d %q", resp.StatusCode, body, err, tt.code, tt.body)
			}
		})
	}
	if err := stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
	if _, err := client.Get(base + "/healthz"); err == nil {
		t.Error("it still answers after the end")
	}
}

func TestAnAnswerUnderWayIsFinished(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	base, stop := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-release
		_, _ = io.WriteString(w, "late")
	})
	got := make(chan string, 1)
	go func() {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get(base + "/metrics")
		if err != nil {
			got <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		got <- string(body)
	}()
	<-asked
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	close(release)
	if text := <-got; text != "late" {
		t.Errorf("got %q, want the whole answer", text)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestATakenPortIsAnErrorAtStart(t *testing.T) {
	base, stop := serve(t, http.NotFound)
	defer func() { _ = stop() }()
	addr := strings.TrimPrefix(base, "http://")
	_, err := Listen(Options{Address: addr, Metrics: http.NotFoundHandler(), Log: quiet})
	want := "listening for HTTP: listen tcp " + addr + ": bind: address already in use. Free the port or set web.listen to another address"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}
