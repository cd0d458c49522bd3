package transport

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// retry503 repeats 503 answers and broken connections.
func retry503(_ context.Context, resp *http.Response, err error) bool {
	return err != nil || resp.StatusCode == http.StatusServiceUnavailable
}

func client(t *testing.T, o Options) *retryablehttp.Client {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	o.WaitMin, o.WaitMax = time.Millisecond, 5*time.Millisecond
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func get(t *testing.T, c *retryablehttp.Client, ctx context.Context, url string) (*http.Response, string, error) {
	t.Helper()
	req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body), nil
}

func TestTheLastAnswerComesAsItIs(t *testing.T) {
	var calls atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.Header().Set("Retry-After", "36000") // ten hours, which must be limited
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, "away")
	}))
	defer srv.Close()
	var mu sync.Mutex
	var seen []Attempt
	c := client(t, Options{RetryMax: 2, Retry: retry503, Observe: func(a Attempt) { mu.Lock(); defer mu.Unlock(); seen = append(seen, a) }})
	start := time.Now()
	resp, body, err := get(t, c, WithCall(context.Background(), "members"), srv.URL)
	if err != nil || resp.StatusCode != 503 || body != "away" {
		t.Fatalf("got %v %q %v, want the 503 with its body", resp, body, err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("Retry-After was obeyed for %s", took)
	}
	if calls.Load() != 3 || len(seen) != 3 || seen[2].Call != "members" || seen[2].Code != 503 {
		t.Errorf("%d calls, observed %v; want 3 of call members, code 503", calls.Load(), seen)
	}
}

func TestARedirectIsTheAnswer(t *testing.T) {
	followed := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the redirect was followed by %s, with the Authorization %q", r.Method, r.Header.Get("Authorization"))
	}))
	defer followed.Close()
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		// Following a 307 or 308 would send the body again, with the credentials.
		for _, status := range []int{301, 302, 303, 307, 308} {
			for where, location := range map[string]string{"to the same host": "/elsewhere", "to another host": followed.URL} {
				t.Run(fmt.Sprintf("%s, %d %s", method, status, where), func(t *testing.T) {
					srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if r.URL.Path != "/" {
							t.Errorf("the redirect was followed to %s", r.URL)
						}
						w.Header().Set("Location", location)
						w.WriteHeader(status)
					}))
					defer srv.Close()
					req, err := retryablehttp.NewRequestWithContext(t.Context(), method, srv.URL, []byte("client_secret=opensesame"))
					if err != nil {
						t.Fatal(err)
					}
					req.Header.Set("Authorization", "Bearer opensesame")
					resp, err := client(t, Options{Retry: retry503}).Do(req)
					if err != nil {
						t.Fatal(err)
					}
					defer resp.Body.Close()
					if resp.StatusCode != status {
						t.Errorf("got %d, want %d", resp.StatusCode, status)
					}
				})
			}
		}
	}
}

// TestARequestWithAGateIsSentAtMostOnce checks that the client does not retry a request with a
// gate, whatever Options.Retry returns.
func TestARequestWithAGateIsSentAtMostOnce(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"503 with Retry-After": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
		},
		"429":                 func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
		"a broken connection": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
	always := func(context.Context, *http.Response, error) bool { return true }
	for name, answer := range answers {
		var calls, asked atomic.Int32
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			calls.Add(1)
			_, _ = io.Copy(io.Discard, r.Body)
			answer(w, r)
		}))
		for _, gated := range []bool{true, false} {
			calls.Store(0)
			asked.Store(0)
			ctx := context.Background()
			if gated {
				ctx = WithGate(ctx, func() error { asked.Add(1); return nil })
			}
			req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodPost, srv.URL, []byte("{}"))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client(t, Options{RetryMax: 3, Retry: always, Connections: 2}).Do(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			want, questions := int32(4), int32(0)
			if gated {
				want, questions = 1, 2
			}
			if calls.Load() != want || asked.Load() != questions {
				t.Errorf("%s, with a gate %v: sent %d times and asked %d times, want %d and %d", name, gated, calls.Load(), asked.Load(), want, questions)
			}
		}
		srv.Close()
	}
	// A refused connection is not repeated either.
	var attempts atomic.Int32
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	c := client(t, Options{RetryMax: 3, Retry: always, Observe: func(Attempt) { attempts.Add(1) }})
	if _, _, err := get(t, c, WithGate(context.Background(), func() error { return nil }), srv.URL); err == nil || attempts.Load() != 1 {
		t.Errorf("a refused connection: %v after %d attempts, want an error after one", err, attempts.Load())
	}
}

// TestAGateKeepsTheRequestBack checks that the client asks the gate before it connects, and again
// before it sends the body.
func TestAGateKeepsTheRequestBack(t *testing.T) {
	var whole atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err == nil && string(body) == "{}" {
			whole.Add(1)
		}
	}))
	defer srv.Close()
	for at := range 2 {
		lost, asked := errors.New("lost"), 0
		ctx := WithGate(context.Background(), func() error {
			if asked++; asked > at {
				return lost
			}
			return nil
		})
		req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodPost, srv.URL, []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = client(t, Options{RetryMax: 3, Retry: func(context.Context, *http.Response, error) bool { return true }}).Do(req)
		var gate *GateError
		if !errors.As(err, &gate) || !errors.Is(err, lost) || asked != at+1 || whole.Load() != 0 {
			t.Errorf("refused at question %d: %v after %d questions, %d whole requests", at+1, err, asked, whole.Load())
		}
	}
}

func TestWhatMayNotBeRepeatedIsSentOnce(t *testing.T) {
	var calls atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer srv.Close()
	c := client(t, Options{RetryMax: 3, Retry: func(context.Context, *http.Response, error) bool { return false }})
	if _, _, err := get(t, c, context.Background(), srv.URL); err != nil || calls.Load() != 1 {
		t.Fatalf("%d calls, error %v; want one", calls.Load(), err)
	}
}

func TestACancelledContextEndsTheAttempts(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	defer srv.Close()
	stop := errors.New("leadership lost")
	ctx, cancel := context.WithCancelCause(context.Background())
	c := client(t, Options{RetryMax: 5, Retry: func(context.Context, *http.Response, error) bool { cancel(stop); return true }})
	if _, _, err := get(t, c, ctx, srv.URL); !errors.Is(err, stop) && !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want %v", err, stop)
	}
}

func TestTheDebugLineHoldsNoQuery(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer srv.Close()
	var log strings.Builder
	c := client(t, Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if _, _, err := get(t, c, context.Background(), srv.URL+"/users?email=ann@example.com"); err == nil {
		t.Fatal("no error")
	}
	if got := log.String(); !strings.Contains(got, "request attempt failed") || strings.Contains(got, "ann@") {
		t.Errorf("the log: %s", got)
	}
}

func TestCertificates(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
	defer srv.Close()
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	bad := write("bad.pem", []byte("not a certificate"))
	never := func(context.Context, *http.Response, error) bool { return false }

	if _, body, err := get(t, client(t, Options{CAFile: good, Retry: never}), context.Background(), srv.URL); err != nil || body != "ok" {
		t.Errorf("with its authority: %q, %v", body, err)
	}
	if _, body, err := get(t, client(t, Options{InsecureSkipVerify: true, Retry: never}), context.Background(), srv.URL); err != nil || body != "ok" {
		t.Errorf("insecure: %q, %v", body, err)
	}
	if _, _, err := get(t, client(t, Options{Retry: never}), context.Background(), srv.URL); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without its authority: got %v, want a certificate error", err)
	}
	if _, err := New(Options{CAFile: bad}); err == nil || err.Error() != "the CA file "+bad+" holds no PEM certificate" {
		t.Errorf("got %v", err)
	}
	if _, err := New(Options{CAFile: filepath.Join(dir, "none.pem")}); err == nil || !strings.HasPrefix(err.Error(), "reading the CA file: open ") {
		t.Errorf("got %v", err)
	}
}

func TestInTheClear(t *testing.T) {
	for address, want := range map[string]bool{
		"https://auth.example.com": false, "http://auth.example.com": true, "http://10.0.0.7:8008": true,
		"http://[2001:db8::1]": true, "http://localhost:8080/auth": false, "http://LOCALHOST": false, "http://127.3.2.1:8080": false,
		"http://[::1]:8080": false, "http://localhost.example.com": true, "https://10.0.0.7": false, "": false,
	} {
		if got := InTheClear(address); got != want {
			t.Errorf("InTheClear(%q) = %v", address, got)
		}
	}
}
