package keycloak

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"groupsync/internal/fault"
)

// counter is a fake Keycloak that counts its concurrent requests.
type counter struct {
	mu        sync.Mutex
	now, most int
	asked     []string // paths, in the order of their arrival
	answers   map[string]http.HandlerFunc
}

// newCounter returns the server and a Source that sends at most that many requests at the
// same time. The keys of answers are the last segments of paths. The server answers every
// other request with a list.
func newCounter(t *testing.T, concurrency int, limit time.Duration, answers map[string]http.HandlerFunc) (*counter, *Source) {
	t.Helper()
	k := &counter{answers: answers}
	server := httptest.NewServer(k)
	t.Cleanup(server.Close)
	return k, newSource(t, Config{
		URL: server.URL, Realm: "demo", ClientID: "groupsync", Concurrency: concurrency, Timeout: limit,
		ClientSecret: func() (string, error) { return "s3cret", nil },
	})
}

func (k *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm() // reads the body: otherwise the server does not notice that a client gives up
	last := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	k.mu.Lock()
	k.now++
	k.most = max(k.most, k.now)
	k.asked = append(k.asked, last)
	h := k.answers[last]
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		k.now--
		k.mu.Unlock()
	}()
	switch {
	case h != nil:
	case last == "token":
		h = slowly(fmt.Sprintf(`{"access_token":%q,"expires_in":300}`, jwt("1", []string{viewUsers, viewRealm})))
	default:
		h = slowly(`[]`)
	}
	h(w, r)
}

// requests returns the paths of the requests so far.
func (k *counter) requests() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.asked)
}

// slowly sends the header at once and the body later. A request is under way until its body
// has arrived.
func slowly(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.(http.Flusher).Flush()
		time.Sleep(5 * time.Millisecond)
		fmt.Fprint(w, body)
	}
}

// hangs never answers, so the client must give up.
func hangs(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func get(ctx context.Context, s *Source, name string) error {
	_, err := list[any](ctx, s, call{name: name, doing: "reading " + name, role: viewUsers, path: []string{name}})
	return err
}

func TestConcurrencyBoundsNestedRequestsToo(t *testing.T) {
	t.Parallel()
	for _, concurrency := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d at once", concurrency), func(t *testing.T) {
			k, s := newCounter(t, concurrency, 10*time.Second, nil)
			outer, ctx := errgroup.WithContext(t.Context())
			for i := range 6 {
				outer.Go(func() error {
					if err := get(ctx, s, fmt.Sprintf("outer-%d", i)); err != nil {
						return err
					}
					if _, err := s.fresh(ctx); err != nil { // while it holds the turn of the tokens
						return err
					}
					inner, ctx := errgroup.WithContext(ctx)
					for j := range 6 {
						inner.Go(func() error {
							deepest, ctx := errgroup.WithContext(ctx)
							for range 2 {
								deepest.Go(func() error { return get(ctx, s, fmt.Sprintf("inner-%d-%d", i, j)) })
							}
							return deepest.Wait()
						})
					}
					return inner.Wait()
				})
			}
			if err := outer.Wait(); err != nil {
				t.Fatal(err)
			}
			k.mu.Lock()
			defer k.mu.Unlock()
			if k.most != concurrency {
				t.Errorf("at most %d requests were under way at once, want exactly %d", k.most, concurrency)
			}
			if want := 6 + 6 + 1 + 6*6*2; len(k.asked) != want { // one token before the first round
				t.Errorf("%d requests, want %d", len(k.asked), want)
			}
		})
	}
}

func TestNoSlotIsHeldBetweenTwoAttempts(t *testing.T) {
	t.Parallel()
	first := make(chan struct{})
	var once sync.Once
	k, s := newCounter(t, 1, 10*time.Second, map[string]http.HandlerFunc{
		"busy": func(w http.ResponseWriter, r *http.Request) {
			again := true
			once.Do(func() { again = false; close(first) })
			if again {
				answer(`[]`)(w, r)
				return
			}
			w.Header().Set("Retry-After", "1")
			status(503, "application/json", `{}`)(w, r)
		},
	})
	busy := make(chan error, 1)
	go func() { busy <- get(t.Context(), s, "busy") }()
	<-first
	if err := get(t.Context(), s, "other"); err != nil {
		t.Fatal(err)
	}
	if err := <-busy; err != nil {
		t.Fatal(err)
	}
	if want := []string{"token", "busy", "other", "busy"}; !slices.Equal(k.requests(), want) {
		t.Errorf("requests are %q, want %q: the other one did not wait for the repetition", k.requests(), want)
	}
}

func TestWaitingForASlotIsNotTimeThatKeycloakTook(t *testing.T) {
	t.Parallel()
	slow := func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(150 * time.Millisecond)
		answer(`[]`)(w, r)
	}
	for _, row := range []struct {
		name  string
		limit time.Duration // keycloak.timeout
		own   time.Duration // the call's own limit; 0: none
	}{
		{"under keycloak.timeout", 600 * time.Millisecond, 0},
		{"under a limit of the call's own", 10 * time.Second, 600 * time.Millisecond},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			_, s := newCounter(t, 1, row.limit, map[string]http.HandlerFunc{"slow": slow})
			ctx := t.Context()
			if row.own > 0 {
				ctx = withLimit(ctx, row.own)
			}
			work, ctx := errgroup.WithContext(ctx)
			for range 8 { // 1.2 s in total
				work.Go(func() error { return get(ctx, s, "slow") })
			}
			if err := work.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestATimeOutKeepsItsReason(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it waits for seconds until requests are given up")
	}
	const limit = 400 * time.Millisecond
	// begun answers with the status and half a body, and then hangs.
	begun := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			status(code, "application/json", `[{"id":`)(w, r)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	}
	late := errors.New("the pass took longer than schedule.timeout")
	rows := []struct {
		name string
		path string
		h    http.HandlerFunc
		ctx  func(context.Context) (context.Context, context.CancelFunc)
		want string
	}{
		{"a call without an answer", "x", hangs, nil, "reading x: no complete answer from"},
		{"a call whose body stops", "x", begun(200), nil, "reading x: no complete answer from"},
		{"a refusal whose body stops", "x", begun(403), nil, "reading x: no complete answer from"},
		{"a 404 whose body stops", "x", begun(404), nil, "reading x: no complete answer from"},
		{"a token without an answer", "token", hangs, nil, "signing in to Keycloak: no complete answer from"},
		{"a token that is refused, whose body stops", "token", begun(401), nil, "signing in to Keycloak: no complete answer from"},
		{"a call with a limit of its own", "x", hangs, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return withLimit(ctx, limit/2), func() {}
		}, "within 200ms"},
		{"a context that ends", "x", hangs, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, limit/2)
		}, "reading x: given up: context deadline exceeded"},
		{"a context that ends for a reason of its own", "x", hangs, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeoutCause(ctx, limit/2, late)
		}, "reading x: given up: " + late.Error()},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			_, s := newCounter(t, 1, limit, map[string]http.HandlerFunc{row.path: row.h})
			ctx := t.Context()
			if row.ctx != nil {
				if err := get(ctx, s, "warm"); err != nil { // gets the token
					t.Fatal(err)
				}
				var cancel context.CancelFunc
				ctx, cancel = row.ctx(ctx)
				defer cancel()
			}
			wantError(t, get(ctx, s, "x"), fault.Timeout, row.want)
		})
	}
	t.Run("a context that ends while the call waits for a slot", func(t *testing.T) {
		arrived := make(chan struct{})
		k, s := newCounter(t, 1, 10*time.Second, map[string]http.HandlerFunc{"x": func(w http.ResponseWriter, r *http.Request) {
			close(arrived)
			hangs(w, r)
		}})
		holding, cancel := context.WithCancel(t.Context())
		held := make(chan error, 1)
		go func() { held <- get(holding, s, "x") }()
		<-arrived
		ctx, done := context.WithTimeout(t.Context(), limit)
		defer done()
		wantError(t, get(ctx, s, "y"), fault.Timeout, "reading y: given up: context deadline exceeded")
		cancel()
		wantError(t, <-held, fault.Connection, "reading x: given up: context canceled")
		if slices.Contains(k.requests(), "y") {
			t.Errorf("the call that waited was sent: %q", k.requests())
		}
		if err := get(t.Context(), s, "z"); err != nil {
			t.Errorf("the slot did not come back: %v", err)
		}
	})
}

func TestEverySlotComesBack(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for seconds until requests are given up")
	}
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, `[`)
	}
	drop := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for name, h := range map[string]http.HandlerFunc{
		"a time-out": hangs, "a refusal": status(403, "application/json", `{}`), "a server's error": status(500, "text/html", "<html>"),
		"no content": status(204, "", ""), "a body that breaks off": cut, "a redirect": status(302, "text/html", ""),
		"a connection that is dropped": drop, "a token that is refused": status(401, "application/json", `{}`),
		"an answer that is worth a second attempt": status(503, "application/json", `{}`),
	} {
		t.Run(name, func(t *testing.T) {
			_, s := newCounter(t, 1, 300*time.Millisecond, map[string]http.HandlerFunc{"bad": h})
			for range 2 {
				if err := get(t.Context(), s, "bad"); err == nil {
					t.Fatal("no error")
				}
			}
			if err := get(t.Context(), s, "good"); err != nil {
				t.Error(err)
			}
		})
	}
}
