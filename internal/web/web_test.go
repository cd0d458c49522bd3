package web

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestServes(t *testing.T) {
	defer goleak.VerifyNone(t)
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "a_metric 1\n") })
	s, err := Listen("127.0.0.1:0", metrics)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		method, path string
		code         int
		body         string
	}{
		{"GET", "/healthz", 200, "ok\n"},
		{"GET", "/readyz", 200, "ok\n"},
		{"GET", "/metrics", 200, "a_metric 1\n"},
		{"GET", "/", 404, "404 page not found\n"},
		{"POST", "/-/sync", 404, "404 page not found\n"},
		{"POST", "/healthz", 405, "Method Not Allowed\n"},
	} {
		req, err := http.NewRequest(tt.method, "http://"+s.Addr()+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tt.code || string(body) != tt.body {
			t.Errorf("%s %s: got %d %q, want %d %q", tt.method, tt.path, resp.StatusCode, body, tt.code, tt.body)
		}
	}
	if _, err := Listen(s.Addr(), metrics); err == nil || !strings.HasPrefix(err.Error(), "listening on web.listen "+s.Addr()+": ") {
		t.Errorf("a taken port: got %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}
