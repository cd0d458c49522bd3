package keycloak

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// slots is a transport that limits how many requests a Source has open at the same time. A slot
// is the permission to send one request. All requests of the Source share the slots, also probes
// and token requests.
//
// An attempt holds its slot from before it is sent until the body of the answer is closed. An
// attempt does not hold a slot during the pause before a retry. If it did, a server that
// answers 503 to some requests would also hold up the requests that it can answer.
//
// The slots cannot deadlock: a goroutine that holds a slot waits only for the network. It
// never waits for a second slot, and never for a goroutine that fetches a token (see tokens).
type slots struct {
	next  http.RoundTripper
	free  *semaphore.Weighted
	limit time.Duration // time limit of one attempt, body included, if withLimit sets no other limit
}

// RoundTrip waits for a slot, then sends the request with its time limit.
func (s *slots) RoundTrip(req *http.Request) (*http.Response, error) {
	outer := req.Context()
	if err := s.free.Acquire(outer, 1); err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // a RoundTripper must close the body, also if it returns an error
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

// withLimit returns a context for requests with a timeout of their own, instead of
// keycloak.timeout. The timeout is for one attempt. Unlike the timeout of context.WithTimeout, it
// does not include the time in which a request waits for its slot or for a token.
func withLimit(ctx context.Context, limit time.Duration) context.Context {
	return context.WithValue(ctx, limitKey{}, limit)
}

// limitOf returns the timeout that withLimit has set. If there is none, it returns the value of the
// parameter otherwise.
func limitOf(ctx context.Context, otherwise time.Duration) time.Duration {
	if limit, ok := ctx.Value(limitKey{}).(time.Duration); ok {
		return limit
	}
	return otherwise
}
