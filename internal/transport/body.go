package transport

import (
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
)

// The limits of a server's answers. docs/security.md says how much memory the process needs at
// these limits.
const (
	// MaxBody is the largest size of the body of one answer, in bytes, after decompression.
	// The longest normal answer is the member list of a group. 128 MiB are enough for about
	// 400,000 members of a Keycloak group, or for 1,500,000 memberships in ClearML's answer.
	MaxBody = 128 << 20

	// MaxBodies is the largest size, in bytes, of all bodies together that a client reads at
	// the same time. Without this limit, several concurrent requests could each use MaxBody.
	// If the bodies together are larger, reading any of them returns an error.
	MaxBodies = 2 * MaxBody

	// MaxHeader is the largest size of the header of one answer, in bytes.
	MaxHeader = 256 << 10
)

// TooLargeError is the error if an answer exceeds MaxBody, if it exceeds MaxBodies together
// with other answers, or if CheckJSON refuses it.
type TooLargeError struct{ what string }

func (e *TooLargeError) Error() string { return e.what }

func tooLarge(format string, args ...any) error {
	return &TooLargeError{fmt.Sprintf(format, args...)}
}

// Bound limits the bodies of the answers of one round tripper. The zero Bound has the limits
// MaxBody and MaxBodies.
type Bound struct {
	one, all int64        // the limits in bytes; 0: MaxBody and MaxBodies
	secrets  *Secrets     // masks the errors of reading a body; may be nil
	open     atomic.Int64 // bytes that were read of all bodies that are not closed yet
	refused  atomic.Int64 // how often the open bodies together exceeded the limit; each time, every body that is open returns an error
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

// bounded is a body whose Read returns a *TooLargeError if this body exceeds the limit for one
// body, or if all open bodies together exceed their limit. A body is open until Close is called.
type bounded struct {
	io.ReadCloser
	bound   *Bound
	length  int64 // Content-Length; -1: unknown
	refused int64 // the value of bound.refused when the body was opened
	read    int64
	err     error
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	one, all := b.bound.limits()
	if b.length > one { // Content-Length is too large already, so nothing is read
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

// smallJSON is the size in bytes up to which CheckJSON accepts every text. Whatever such a text
// contains, its decoded form needs little memory.
const smallJSON = 1 << 20

// CheckJSON returns a *TooLargeError if the decoded form of a long JSON text could need many times
// as much memory as the text. An example is a list of a million empty objects. Keycloak and
// ClearML never send such a text, but a broken or hostile server can. CheckJSON does not check
// that the text is valid JSON.
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
	// In the answers of Keycloak and ClearML, each object has an id of 32 characters or more. So
	// an object takes more than 32 bytes. Each value that is no object has a key, so the value
	// and its key take more than 6 bytes.
	if objects > len(text)/32 || values > len(text)/6 {
		return tooLarge("the answer of %d bytes holds %d objects and %d values, which is more than a normal answer of that length contains", len(text), objects, values)
	}
	return nil
}
