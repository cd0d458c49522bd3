// Package transport is the HTTP layer of the clients of Keycloak and ClearML. It retries requests,
// but limits the number of attempts and the wait that a server asks for (Retry-After). It limits
// the size of bodies, follows no redirects, and keeps no cookies. It masks secrets in errors, and
// reports every attempt for the metrics. The clients decide which failures are retried and what
// an answer means.
//
// A gate is a function that the transport asks immediately before it sends a write: may this
// process still write? If the gate returns an error, the server does not get the write.
// WithGate adds a gate to a request.
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

// The default timeouts of one attempt to send a request, body of the answer included. If
// ClearML's database is not reachable, ClearML answers with that error after 30 s
// (reference/clearml-api.md). With a shorter timeout, groupsync would not get that answer.
const (
	KeycloakTimeout = time.Minute
	ClearMLTimeout  = 40 * time.Second
)

// Attempt is one attempt to send a request, for the metrics.
type Attempt struct {
	Call string        // the name given to WithCall, for example "members"
	Code int           // HTTP status; 0 if no answer came
	Took time.Duration // from the start of the attempt to the header of the answer
}

// Options say how to reach one server.
type Options struct {
	CAFile             string        // PEM file of additional certificate authorities; empty: only those of the system
	InsecureSkipVerify bool          // accept any certificate
	Timeout            time.Duration // limit of one attempt, body of the answer included
	Connections        int           // number of idle connections to keep; 0: none, for a server that closes each connection
	RetryMax           int           // largest number of retries of a request
	WaitMin, WaitMax   time.Duration // limits of the pause between attempts; WaitMax also limits Retry-After
	// Retry reports whether the client retries a request after an attempt with this answer or
	// error. ctx is the context of the request. If Retry is nil, the client never retries. It
	// also never retries a request with a gate (WithGate).
	Retry   func(ctx context.Context, resp *http.Response, err error) bool
	Observe func(Attempt) // called after each attempt; may be nil
	Log     *slog.Logger  // gets debug lines about failed attempts; may be nil

	// Base, if it is not nil, gets the requests instead of the network. Tests that simulate the
	// servers in memory set Base. Base must read the body of a request, because reading the
	// body makes the transport ask the gate the second time (see WithGate).
	Base http.RoundTripper

	// Secrets are masked in errors. The client adds the credentials in the Authorization
	// header of each request to Secrets. If Secrets is nil, the client makes a new Secrets.
	Secrets *Secrets
}

type callKey struct{}

// WithCall returns a context for a request. The metrics and the log show name as the API call of
// the request.
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

// GateError is the error of a request whose gate returned an error. The server did not get the
// request, or got only its header.
type GateError struct{ Err error }

func (e *GateError) Error() string { return e.Err.Error() }

// Unwrap returns the gate's own error.
func (e *GateError) Unwrap() error { return e.Err }

// WithGate returns a context for a request that must be sent at most once, and only if the
// gate returns nil. The transport asks the gate twice: before it connects, and again before it
// sends the body, because connecting takes time. If the gate returns an error, the transport
// returns a *GateError with that error. Neither this package nor net/http retries such a
// request, whatever its result is.
func WithGate(ctx context.Context, gate func() error) context.Context {
	return context.WithValue(ctx, gateKey{}, gate)
}

// New returns a client with the options o. After the last attempt, the client's Do returns the
// last answer unchanged (status, headers and body), or the last error. An answer with a status
// such as 500 is no error. If a body exceeds MaxBody or MaxBodies, reading the body returns a
// *TooLargeError. New returns an error if the CA file cannot be read or holds no certificate.
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
	c.Logger = nil // retryablehttp's logger would print URLs with their query
	c.RetryMax = o.RetryMax
	c.RetryWaitMin, c.RetryWaitMax = o.WaitMin, o.WaitMax
	c.HTTPClient = &http.Client{
		Timeout:   o.Timeout,
		Transport: observed{next: bound.RoundTripper(base), observe: o.Observe, secrets: o.Secrets},
		// If the client followed a redirect, it would turn POST into GET and drop the body. So
		// it returns the 3xx answer.
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
		return resp, err // the caller of Do reads the status and the body, and closes the body
	}
	return c, nil
}

// bare returns the cause inside a *url.Error, and every other error unchanged. The text of a
// *url.Error contains the URL with its query, which can hold an email.
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

// observed is the round tripper that makes one attempt. It asks the gate, sends the request, and
// then calls observe. If the gate refuses, observed sends nothing and does not call observe.
type observed struct {
	next    http.RoundTripper
	observe func(Attempt)
	secrets *Secrets
}

func (o observed) RoundTrip(req *http.Request) (*http.Response, error) {
	if gate := gateOf(req.Context()); gate != nil {
		if err := gate(); err != nil {
			if req.Body != nil {
				_ = req.Body.Close() // a RoundTripper must close the body, also if it returns an error
			}
			return nil, &GateError{err}
		}
		if req.Body != nil {
			req = req.WithContext(req.Context()) // a RoundTripper must not change the caller's request, so this is a copy
			// If GetBody is nil, net/http cannot send the body a second time, so it does not
			// retry the request.
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

// gated is a body that asks the gate before it returns its first byte. If the gate returns an
// error, the server does not get the body.
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
