// Package transport is the HTTP ground that both clients stand on: bounded
// attempts and bodies, retries with a clamped Retry-After, no redirects, no
// cookies, no secret in an error's text, and an observer that is told of every attempt. What may be retried, and what an
// answer means, is the business of the client.
package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// How long one request may take, body included, if the configuration does not say.
// ClearML is silent for 30 s before it says that its database is away, so a shorter
// time never hears it (reference/clearml-api.md).
const (
	KeycloakTimeout = time.Minute
	ClearMLTimeout  = 40 * time.Second
)

// Attempt is one request that was sent, as the metrics count it.
type Attempt struct {
	Call string        // the name given to WithCall, for example "members"
	Code int           // HTTP status; 0 where no answer came
	Took time.Duration // from sending to the answer's header
}

// Options say how one side is reached.
type Options struct {
	CAFile             string        // PEM file of further authorities; empty: the system's only
	InsecureSkipVerify bool          // accept any certificate
	Timeout            time.Duration // of one attempt, body included
	Connections        int           // idle connections kept; 0: none is kept, for servers that close each
	RetryMax           int           // attempts beyond the first
	WaitMin, WaitMax   time.Duration // bounds of the pause between attempts, Retry-After included
	// Retry says whether an attempt's outcome is worth another one; ctx is the
	// request's. It is not asked about a request with a gate (WithGate).
	Retry   func(ctx context.Context, resp *http.Response, err error) bool
	Observe func(Attempt) // may be nil
	Log     *slog.Logger  // debug lines of attempts that failed; may be nil

	// Base sends the requests in place of the network, for tests that keep both sides in
	// memory. It must read a request's body, because a gate is asked then. nil: the network.
	Base http.RoundTripper

	// Secrets are masked in the errors. What a request bears in its header
	// Authorization is added to them. nil: a set of its own.
	Secrets *Secrets
}

type callKey struct{}

// WithCall names the call that a request makes, for the metrics and the log.
func WithCall(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, callKey{}, name)
}

// callOf returns the name given to WithCall, or "other".
func callOf(ctx context.Context) string {
	if name, ok := ctx.Value(callKey{}).(string); ok {
		return name
	}
	return "other"
}

type gateKey struct{}

func gateOf(ctx context.Context) func() error {
	gate, _ := ctx.Value(gateKey{}).(func() error)
	return gate
}

// GateError is the error of a request that a gate kept back. No whole request
// was sent.
type GateError struct{ Err error }

func (e *GateError) Error() string { return e.Err.Error() }

// Unwrap returns the gate's own error.
func (e *GateError) Unwrap() error { return e.Err }

// WithGate returns a context for a request that must be sent at most once, and
// only while the gate returns nil. The transport asks the gate twice: before it
// dials, and again when the connection is there and the body is about to go,
// because dialling takes time. An error of the gate is returned as *GateError.
// Nothing in this package, and nothing in net/http, repeats such a request,
// whatever its outcome is.
func WithGate(ctx context.Context, gate func() error) context.Context {
	return context.WithValue(ctx, gateKey{}, gate)
}

// New returns a client for the options. After the last attempt its Do returns
// the last answer as it came (status, headers and body), or the last error; an
// answer of any status is never turned into an error. Reading a body ends in a
// *TooLargeError where the body exceeds MaxBody. New returns an error where the CA
// file cannot be read or holds no certificate.
func New(o Options) (*retryablehttp.Client, error) {
	base := o.Base
	if base == nil {
		network, err := baseTransport(o)
		if err != nil {
			return nil, err
		}
		base = network
	}
	if o.Secrets == nil {
		o.Secrets = new(Secrets)
	}
	o.Secrets.addProxies()
	bound := &Bound{secrets: o.Secrets}
	c := retryablehttp.NewClient()
	c.Logger = nil // its own logger prints URLs with their query
	c.RetryMax = o.RetryMax
	c.RetryWaitMin, c.RetryWaitMax = o.WaitMin, o.WaitMax
	c.HTTPClient = &http.Client{
		Timeout:   o.Timeout,
		Transport: observed{next: bound.RoundTripper(base), observe: o.Observe, secrets: o.Secrets},
		// A redirect turns POST into GET and drops the body; the 3xx itself is the answer.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	c.Backoff = func(low, high time.Duration, attempt int, resp *http.Response) time.Duration {
		return min(retryablehttp.DefaultBackoff(low, high, attempt, resp), high)
	}
	c.CheckRetry = func(ctx context.Context, resp *http.Response, err error) (bool, error) {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		again := gateOf(ctx) == nil && o.Retry != nil && o.Retry(ctx, resp, err)
		if o.Log != nil && (again || err != nil) {
			o.Log.DebugContext(ctx, "request attempt failed", "call", callOf(ctx), "code", code(resp), "error", bare(err), "retry", again)
		}
		return again, nil
	}
	c.ErrorHandler = func(resp *http.Response, err error, _ int) (*http.Response, error) {
		return resp, err // the caller reads status and body, and closes it
	}
	return c, nil
}

// bare takes off net/http's wording, which repeats the URL with its query.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func baseTransport(o Options) (*http.Transport, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = o.Connections
	t.DisableKeepAlives = o.Connections == 0
	t.MaxResponseHeaderBytes = MaxHeader
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.InsecureSkipVerify} // #nosec G402 -- only the operator can switch the check off, and groupsync warns of it
	if o.CAFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("reading the CA file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("loading the system's authorities: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("the CA file %s holds no PEM certificate", o.CAFile)
	}
	t.TLSClientConfig.RootCAs = pool
	return t, nil
}

// observed asks the gate before each attempt and tells the observer of it,
// below the retries.
type observed struct {
	next    http.RoundTripper
	observe func(Attempt)
	secrets *Secrets
}

func (o observed) RoundTrip(req *http.Request) (*http.Response, error) {
	if gate := gateOf(req.Context()); gate != nil {
		if err := gate(); err != nil {
			if req.Body != nil {
				_ = req.Body.Close() // as a RoundTripper must
			}
			return nil, &GateError{err}
		}
		if req.Body != nil {
			req = req.WithContext(req.Context()) // a copy, whose body may be changed
			// Without GetBody net/http has no second body to send, so it repeats nothing.
			req.Body, req.GetBody = &gated{ReadCloser: req.Body, gate: gate}, nil
		}
	}
	if _, credentials, is := strings.Cut(req.Header.Get("Authorization"), " "); is {
		o.secrets.Add(credentials)
	}
	start := time.Now()
	resp, err := o.next.RoundTrip(req)
	err = o.secrets.Error(err)
	if o.observe != nil {
		o.observe(Attempt{Call: callOf(req.Context()), Code: code(resp), Took: time.Since(start)})
	}
	return resp, err
}

// gated is a body that asks the gate before its first byte. Without its body the
// server has no whole request.
type gated struct {
	io.ReadCloser
	gate func() error
	open bool
}

func (g *gated) Read(p []byte) (int, error) {
	if !g.open {
		if err := g.gate(); err != nil {
			return 0, &GateError{err}
		}
		g.open = true
	}
	return g.ReadCloser.Read(p)
}

func code(resp *http.Response) int {
	if resp == nil {
		return 0
	}
	return resp.StatusCode
}
