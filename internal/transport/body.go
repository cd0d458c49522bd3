package transport

import (
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
)

// The limits of a server's answers. docs/security.md lists them, with the memory that the
// process needs for them.
const (
	// MaxBody limits the body of one answer, after gzip is undone. The longest normal answer
	// is the member list of a group. 128 MiB hold about 400,000 people of Keycloak, or
	// 1,500,000 memberships of ClearML.
	MaxBody = 128 << 20

	// MaxBodies limits the bodies that a client reads at the same time. Without it, concurrent
	// requests would multiply MaxBody. If the bodies together exceed it, all of them are
	// refused.
	MaxBodies = 2 * MaxBody

	// MaxHeader limits the header of one answer.
	MaxHeader = 256 << 10
)

// TooLargeError is the error of an answer that exceeds a limit: MaxBody, MaxBodies together
// with other answers, or the limit of CheckJSON.
type TooLargeError struct{ what string }

func (e *TooLargeError) Error() string { return e.what }

func tooLarge(format string, args ...any) error {
	return &TooLargeError{fmt.Sprintf(format, args...)}
}

// Bound limits the bodies of the answers of one round tripper. The zero Bound has the limits
// MaxBody and MaxBodies.
type Bound struct {
	one, all int64    // the limits in bytes; 0: MaxBody and MaxBodies
	secrets  *Secrets // masks the errors of reading a body; may be nil
	open     atomic.Int64
	refused  atomic.Int64 // number of times that the open bodies together exceeded the limit
}

func (b *Bound) limits() (one, all int64) {
	if b.one == 0 {
		return MaxBody, MaxBodies
	}
	return b.one, b.all
}

// RoundTripper returns a round tripper that calls next and limits the bodies of its answers.
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

// bounded is a body whose Read returns a *TooLargeError after the body exceeds a limit. The
// body counts toward the bodies that are read at the same time until it is closed.
type bounded struct {
	io.ReadCloser
	bound   *Bound
	length  int64 // Content-Length; -1: unknown
	refused int64 // bound.refused when the body was opened
	read    int64
	err     error
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	one, all := b.bound.limits()
	if b.length > one { // do not read 128 MiB only to refuse them
		b.err = tooLarge("the answer is longer than %d MiB", one>>20)
		return 0, b.err
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF && b.bound.secrets != nil { // the error may quote a broken trailer
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

// smallJSON is the size in bytes up to which CheckJSON accepts every text. Such a text cannot
// become large when it is decoded.
const smallJSON = 1 << 20

// CheckJSON returns a *TooLargeError if a long text would need many times its own size in
// memory once it is decoded. An example is a list of empty objects, which no server sends.
// CheckJSON does not check that the text is JSON.
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
	// In answers of both servers, each object has an id of 32 characters or more, and each
	// other value has a key.
	if objects > len(text)/32 || values > len(text)/6 {
		return tooLarge("the answer of %d bytes holds %d objects and %d values, which is more than a normal answer of that length contains", len(text), objects, values)
	}
	return nil
}
