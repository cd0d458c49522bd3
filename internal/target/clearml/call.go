package clearml

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"syscall"

	"github.com/hashicorp/go-retryablehttp"

	"groupsync/internal/fault"
	"groupsync/internal/target"
	"groupsync/internal/transport"
)

// request is one request to the API. The body is sent as JSON.
type request struct {
	call string // for example "users.get_all"
	body any
	auth string // the Authorization header; empty: none
}

// read makes a call that changes nothing in ClearML, and decodes the answer's data into out.
// Before the first use of a call, read asks whether the server has the call (probe). If the
// server refuses the token, read logs in again and repeats the call once.
func (c *Client) read(ctx context.Context, r request, out any) error {
	if err := c.probe(ctx, r.call); err != nil {
		return err
	}
	t, err := c.current(ctx, 0)
	if err != nil {
		return err
	}
	r.auth = "Bearer " + t.text
	a, err := c.send(ctx, r)
	if refusedToken(a) {
		if t, err = c.renew(ctx, t); err != nil {
			return err
		}
		r.auth = "Bearer " + t.text
		a, err = c.send(ctx, r)
	}
	if err != nil {
		return err
	}
	return c.decode(a, r.call, out)
}

// decode decodes the data of an answer with the status 200 into out.
func (c *Client) decode(a answer, call string, out any) error {
	if err := c.secrets.Error(json.Unmarshal(a.data, out)); err != nil { // the decoder's error may quote a value
		return failf(fault.Shape, call, "the answer's data does not have the documented form: %w; groupsync may not know this version of ClearML", err)
	}
	return nil
}

// refusedToken reports whether ClearML refused the token: the answer has the envelope and the
// code 401 with the subcode 20, 22 or 30.
func refusedToken(a answer) bool {
	return a.enveloped && a.code == 401 && slices.Contains([]int{20, 22, 30}, a.subcode)
}

// probe asks whether the server has the call, and returns nil if it does. (This has nothing to do
// with a pass's probe of a federation.) ClearML looks a call up before it checks credentials
// (reference/clearml-api.md). So probe sends no credentials, and the request has no effect. The
// client remembers the calls that exist.
func (c *Client) probe(ctx context.Context, call string) error {
	if c.exists(call) {
		return nil
	}
	a, err := c.send(ctx, request{call: call, body: struct{}{}})
	switch {
	case a.enveloped && a.code == 401 && a.subcode == 20:
		c.mu.Lock()
		c.probed[call] = true
		c.mu.Unlock()
		return nil
	case err == nil:
		return failf(fault.Shape, call, "answered 200 without credentials, so a server in front of the API server adds credentials. groupsync makes no call through such a server; check clearml.url")
	}
	return err
}

// exists reports whether an earlier probe found that the server has the call.
func (c *Client) exists(call string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.probed[call]
}

// send makes one request, and repeats the request if retry allows that. If the server answers
// with an error, send returns both the answer and the error.
func (c *Client) send(ctx context.Context, r request) (answer, error) {
	body, err := json.Marshal(r.body)
	if err != nil {
		return answer{}, failf(fault.Rejected, r.call, "encoding the request: %w", err)
	}
	ctx = transport.WithCall(ctx, r.call)
	req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodPost, c.base+"/"+r.call, body)
	if err != nil {
		return answer{}, failf(fault.Connection, r.call, "clearml.url is not usable: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	if r.auth != "" {
		req.Header.Set("Authorization", r.auth)
	}
	if pass := target.Pass(ctx); pass != "" {
		req.Header.Set("X-Clearml-Trx", pass)
	}
	resp, err := c.http.Do(req)
	a := answer{}
	if resp != nil {
		defer resp.Body.Close()
	}
	if err != nil {
		err = c.unreached(r.call, err)
	} else if w := readBody(resp); tooLarge(w.err) {
		err = failf(fault.Shape, r.call, "%w; groupsync uses nothing of the answer: check clearml.url, and the proxies between groupsync and the API server", w.err)
	} else if w.err != nil {
		err = failf(fault.OfNetwork(w.err), r.call, "the answer broke off after %d bytes: %w; groupsync uses nothing of the answer", len(w.body), bare(w.err))
	} else {
		a = parse(resp, w.body)
		if c.secrets.Mask(a.id) != a.id { // the report shows the id, so an id that looks like a secret is dropped
			a.id = ""
		}
		err = c.check(r.call, a)
	}
	return a, err
}

// unreached returns the error of a request that got no answer.
func (c *Client) unreached(call string, err error) error {
	var gate *transport.GateError
	if errors.As(err, &gate) {
		return gate // the fence refused the write, so this is no error of the server
	}
	reason := fault.OfNetwork(err)
	err = bare(err)
	if errors.Is(err, context.Canceled) {
		return failf(reason, call, "abandoned before an answer came: %w", err)
	}
	if reason == fault.Timeout {
		// net/http has several texts for a time-out; use one.
		return failf(reason, call, "no answer from %s in time (an attempt may take %s): %w; check the API server, and clearml.timeout", c.base, c.timeout, context.DeadlineExceeded)
	}
	return failf(reason, call, "no connection to %s: %w; check clearml.url, clearml.ca_file and that the API server is up", c.base, err)
}

// bare returns the cause inside a *url.Error, and every other error unchanged. The text of a
// *url.Error repeats the URL.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// buffered is the body of an answer that was read to its end before retry decides. So retry can
// repeat a request whose answer broke off.
type buffered struct {
	io.Reader
	body []byte
	err  error
}

func (w *buffered) Close() error { return nil }

// readBody reads the body to its end, or returns the *buffered of an earlier call.
func readBody(resp *http.Response) *buffered {
	if w, read := resp.Body.(*buffered); read {
		return w
	}
	body, err := io.ReadAll(resp.Body) // the transport limits the size
	_ = resp.Body.Close()
	if err == nil {
		err = transport.CheckJSON(body)
	}
	w := &buffered{bytes.NewReader(body), body, err}
	resp.Body = w
	return w
}

// retry reports whether the transport repeats a request: it does if the failure may be
// temporary. A write is never repeated, whatever retry returns. Its context has the fence as the
// gate (transport.WithGate), and the transport sends a request with a gate at most once.
func retry(_ context.Context, resp *http.Response, err error) bool {
	if err != nil {
		return broken(err)
	}
	w := readBody(resp)
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return true
	}
	if w.err != nil {
		return broken(w.err)
	}
	switch resp.StatusCode {
	case http.StatusBadGateway, http.StatusGatewayTimeout, 509:
		return true
	case http.StatusNotFound:
		return !parse(resp, w.body).enveloped // the web server answered, because the API server is not running
	case http.StatusInternalServerError:
		a := parse(resp, w.body)
		return a.enveloped && a.subcode == 1 // the database is not reachable
	}
	return false
}

// tooLarge reports whether err means that an answer exceeds a limit of the transport.
func tooLarge(err error) bool {
	var large *transport.TooLargeError
	return errors.As(err, &large)
}

// broken reports whether err is a connection that was refused or broke. A time-out does not
// count, so a request that timed out is not repeated. If ClearML's database is not reachable,
// ClearML answers so after 30 s. The default timeout is longer, so this is no time-out, and the
// request is repeated (retry).
func broken(err error) bool {
	return slices.ContainsFunc([]error{syscall.ECONNREFUSED, syscall.ECONNRESET, io.EOF, io.ErrUnexpectedEOF},
		func(e error) bool { return errors.Is(err, e) })
}
