package transport

import (
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
)

// The bounds of what a server may send. docs/security.md states them, and what they
// mean for the memory of the process.
const (
	// MaxBody limits the body of one answer, after gzip is undone. The longest answer
	// that is in order is the list of a group's members: 128 MiB hold about 400,000
	// people of Keycloak's, or 1,500,000 memberships of ClearML's.
	MaxBody = 128 << 20

	// MaxBodies limits the bodies that a client reads at the same time. Without it,
	// concurrent requests would multiply MaxBody. Where the bodies exceed it together, all
	// of them are refused.
	MaxBodies = 2 * MaxBody

	// MaxHeader limits the header of one answer.
	MaxHeader = 256 << 10
)

// TooLargeError is the error of an answer that exceeds a limit: MaxBody, MaxBodies
// together with others, or the values that CheckJSON allows.
type TooLargeError struct{ what string }

func (e *TooLargeError) Error() string { return e.what }

func tooLarge(format string, args ...any) error {
	return &TooLargeError{fmt.Sprintf(format, args...)}
}

// Bound limits the bodies of the answers of one round tripper. The zero Bound has the
// limits MaxBody and MaxBodies.
type Bound struct {
	one, all int64    // the limits; 0: MaxBody and MaxBodies
	secrets  *Secrets // masks the errors of reading a body; may be nil
	open     atomic.Int64
	refused  atomic.Int64 // how many times the open bodies exceeded the limit together
}

func (b *Bound) limits() (one, all int64) {
	if b.one == 0 {
		return MaxBody, MaxBodies
	}
	return b.one, b.all
}

// RoundTripper returns a round tripper that does as next does, with bounded bodies.
func (b *Bound) RoundTripper(next http.RoundTripper) http.RoundTripper {
	return roundTripperFunc(func(req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if resp != nil && resp.Body != nil && resp.StatusCode != http.StatusSwitchingProtocols {
			resp.Body = &bounded{ReadCloser: resp.Body, bound: b, length: resp.ContentLength, refused: b.refused.Load()}
		}
		return resp, err
	})
}

type roundTripperFunc func(*http.Request) (*http.Response, error)

func (f roundTripperFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// bounded is a body that ends in a *TooLargeError where it exceeds the bound. It counts
// toward the bodies that are read at the same time until it is closed.
type bounded struct {
	io.ReadCloser
	bound   *Bound
	length  int64 // as the header announces it; -1: unknown
	refused int64 // of the bound, when the body was opened
	read    int64
	err     error
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	one, all := b.bound.limits()
	if b.length > one { // do not read 128 MiB in order to refuse them
		b.err = tooLarge("the answer is longer than %d MiB", one>>20)
		return 0, b.err
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF && b.bound.secrets != nil { // a broken trailer is quoted
		err = b.bound.secrets.Error(err)
	}
	b.read += int64(n)
	open := b.bound.open.Add(int64(n))
	switch {
	case b.read > one:
		b.err = tooLarge("the answer is longer than %d MiB", one>>20)
	case open > all, b.bound.refused.Load() != b.refused:
		b.bound.refused.CompareAndSwap(b.refused, b.refused+1)
		b.err = tooLarge("the answers that are read at the same time are longer than %d MiB together", all>>20)
	default:
		return n, err
	}
	return 0, b.err
}

func (b *bounded) Close() error {
	b.bound.open.Add(-b.read)
	b.read = 0
	if b.err == nil {
		b.err = http.ErrBodyReadAfterClose
	}
	return b.ReadCloser.Close()
}

// smallJSON is the size up to which CheckJSON accepts every text: decoded, it cannot be
// large.
const smallJSON = 1 << 20

// CheckJSON returns a *TooLargeError if a long text would take many times its own size once it is
// decoded: a list of empty objects, for example, which no server sends. It does not check
// that the text is JSON.
func CheckJSON(text []byte) error {
	if len(text) <= smallJSON {
		return nil
	}
	var objects, values int
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case '{':
			objects++
		case ',', '[':
			values++
		}
	}
	// Both servers name each object by an id of 32 characters or more, and each other
	// value by a key.
	if objects > len(text)/32 || values > len(text)/6 {
		return tooLarge("the answer of %d bytes holds %d objects and %d values, which is more than an answer of that length can hold in order", len(text), objects, values)
	}
	return nil
}
