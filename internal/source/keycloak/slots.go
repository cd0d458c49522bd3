package keycloak

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// slots limits the number of concurrent requests of a Source. Nested groups of goroutines,
// probes and token requests share one semaphore.
//
// An attempt holds its slot from before it is sent until its body is closed. It does not
// hold the slot during the pause before a repetition. Otherwise a server that answers 503 to
// some requests would also stop the requests that it could answer. A goroutine that holds a
// slot waits only for the network, never for another slot or for the turn of the tokens. So
// nested requests cannot deadlock.
type slots struct {
	next  http.RoundTripper
	free  *semaphore.Weighted
	limit time.Duration // of one attempt, body included, if withLimit sets none
}

// RoundTrip waits for a slot, then sends the request with its time limit.
func (s *slots) RoundTrip(req *http.Request) (*http.Response, error) {
	outer := req.Context()
	if err := s.free.Acquire(outer, 1); err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // as a RoundTripper must
		}
		return nil, err
	}
	ctx, cancel := context.WithTimeout(outer, limitOf(outer, s.limit))
	release := sync.OnceFunc(func() { cancel(); s.free.Release(1) })
	resp, err := s.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		release()
		return nil, err
	}
	resp.Body = slotBody{resp.Body, release}
	return resp, nil
}

// slotBody releases the slot when the body is closed.
type slotBody struct {
	io.ReadCloser
	release func()
}

func (b slotBody) Close() error {
	defer b.release()
	return b.ReadCloser.Close()
}

type limitKey struct{}

// withLimit returns a context whose requests have that time limit for one attempt, in place
// of keycloak.timeout. Unlike the timeout of context.WithTimeout, the limit does not count
// the time in which a request waits for its slot or for a token.
func withLimit(ctx context.Context, limit time.Duration) context.Context {
	return context.WithValue(ctx, limitKey{}, limit)
}

// limitOf returns the limit that withLimit set, or the value otherwise if none is set.
func limitOf(ctx context.Context, otherwise time.Duration) time.Duration {
	if limit, ok := ctx.Value(limitKey{}).(time.Duration); ok {
		return limit
	}
	return otherwise
}
