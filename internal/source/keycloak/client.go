package keycloak

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/Nerzal/gocloak/v13"
	"github.com/go-resty/resty/v2"
	"github.com/hashicorp/go-retryablehttp"
	"golang.org/x/sync/semaphore"

	"groupsync/internal/fault"
	"groupsync/internal/transport"
)

// The roles of realm-management that open the calls (reference/keycloak-api.md).
const (
	viewUsers   = "view-users"
	viewRealm   = "view-realm"
	viewClients = "view-clients"
)

// all asks for everything in one answer: pages are not one consistent read.
const all = "-1"

// call is one GET below the admin address of the realm, or of the server.
type call struct {
	name  string   // for the metrics
	doing string   // for the errors: "reading the members of the group /a"
	role  string   // of realm-management, that opens it
	path  []string // segments, not yet escaped
	query url.Values

	ofServer bool // the path is below /admin, not below the realm
}

func newClient(c Config, base *url.URL, secrets *transport.Secrets) (*gocloak.GoCloak, error) {
	client, err := transport.New(transport.Options{
		CAFile: c.CAFile, InsecureSkipVerify: c.InsecureSkipVerify, Timeout: c.Timeout,
		Connections: c.Concurrency, RetryMax: 3, WaitMin: 250 * time.Millisecond, WaitMax: 5 * time.Second,
		Retry: worthRetrying, Observe: c.Observe, Log: c.Log, Secrets: secrets, Base: c.Transport,
	})
	if err != nil {
		return nil, err
	}
	// The slots take over the limit of one attempt: the time that an attempt
	// waits for its slot must not count as time that Keycloak took.
	client.HTTPClient.Timeout = 0
	client.HTTPClient.Transport = &slots{next: client.HTTPClient.Transport, free: semaphore.NewWeighted(int64(c.Concurrency)), limit: c.Timeout}
	rest := resty.NewWithClient(&http.Client{
		Transport:     roundTripper{&retryablehttp.RoundTripper{Client: client}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})
	rest.SetLogger(silent{})
	cloak := gocloak.NewClient(base.String())
	cloak.SetRestyClient(rest)
	return cloak, nil
}

// worthRetrying holds for GETs and for the token's POST, and there are no other
// requests. A 500 is how a federation that is away answers, and a time-out is
// how one that hangs does: neither gets better by asking three times.
func worthRetrying(_ context.Context, resp *http.Response, err error) bool {
	if err != nil {
		return fault.OfNetwork(err) == fault.Connection
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// roundTripper keeps the contract that its inner one breaks when a context ends
// together with an answer: never both an answer and an error.
type roundTripper struct{ next http.RoundTripper }

func (r roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.next.RoundTrip(req)
	if err != nil && resp != nil {
		_ = resp.Body.Close()
		resp = nil
	}
	return resp, err
}

// silent drops what resty would print to stderr, addresses with emails included.
type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}

// list is one GET whose answer is an array.
func list[T any](ctx context.Context, s *Source, c call) ([]T, error) {
	var items []T
	if err := s.get(ctx, c, &items); err != nil {
		return nil, err
	}
	if items == nil {
		return nil, fault.New(fault.Keycloak, fault.Shape, "%s: Keycloak answered null where a list belongs; check what stands between groupsync and Keycloak", c.doing)
	}
	return items, nil
}

// get decodes the whole answer of one GET into the value.
func (s *Source) get(ctx context.Context, c call, into any) error {
	resp, err := s.send(ctx, c)
	if err != nil {
		return err
	}
	if code := resp.StatusCode(); code < 200 || code > 299 {
		return s.refusal(c, resp)
	}
	return s.decode(c.doing, resp, into)
}

// send returns the answer of any status; a token that is refused is renewed once.
func (s *Source) send(ctx context.Context, c call) (*resty.Response, error) {
	tok, err := s.token(ctx)
	if err != nil {
		return nil, aboutRealm(err)
	}
	resp, err := s.sendAs(ctx, c, tok)
	if err != nil || resp.StatusCode() != http.StatusUnauthorized {
		return resp, err
	}
	if tok, err = s.renew(ctx, tok); err != nil {
		return nil, aboutRealm(err)
	}
	return s.sendAs(ctx, c, tok)
}

// aboutRealm keeps a realm that is not found from being taken for the object of
// the call: a removal may rest on a user who is not found.
func aboutRealm(err error) error {
	if isReason(err, fault.NotFound) {
		return fault.New(fault.Keycloak, fault.Incomplete, "%w", err)
	}
	return err
}

func (s *Source) sendAs(ctx context.Context, c call, tok *token) (*resty.Response, error) {
	ctx = transport.WithCall(ctx, c.name)
	path := []string{"admin"}
	if !c.ofServer {
		path = append(path, "realms", s.config.Realm)
	}
	address := s.address(append(path, c.path...)...)
	req := s.cloak.GetRequestWithBearerAuth(ctx, tok.access).SetQueryParamsFromValues(c.query)
	resp, err := req.Get(address)
	if err = s.broken(ctx, c.doing, resp, err); err != nil {
		return nil, err
	}
	return resp, nil
}

// brokeOff tells an error of the network from one about an answer's content.
func brokeOff(err error) bool {
	var n net.Error
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n)
}

func (s *Source) address(segments ...string) string {
	var b strings.Builder
	b.WriteString(s.base.String())
	for _, segment := range segments {
		b.WriteString("/" + url.PathEscape(segment))
	}
	return b.String()
}

// broken turns what the transport says in place of a whole answer into an error.
func (s *Source) broken(ctx context.Context, doing string, resp *resty.Response, err error) error {
	if err == nil {
		return nil
	}
	if resp != nil && resp.StatusCode() > 299 && ctx.Err() == nil && !brokeOff(err) {
		return nil // an error's body that does not parse is still that error
	}
	if ctx.Err() != nil { // resty hides the context's error from errors.Is
		cause, reason := context.Cause(ctx), fault.OfNetwork(ctx.Err())
		return fault.New(fault.Keycloak, reason, "%s: given up: %w", doing, cause)
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // its text would repeat the query, which may hold an email
	}
	var large *transport.TooLargeError
	switch {
	case errors.As(err, &large):
		return fault.New(fault.Keycloak, fault.Shape, "%s: %w; check keycloak.url, and what stands between groupsync and Keycloak. If several groups have hundreds of thousands of members, lower keycloak.concurrency", doing, large)
	case fault.OfNetwork(err) == fault.Timeout:
		return fault.New(fault.Keycloak, fault.Timeout, "%s: no whole answer from %s within %s; check Keycloak's health, or raise keycloak.timeout", doing, s.base, limitOf(ctx, s.config.Timeout))
	case resp != nil && resp.StatusCode() != 0:
		return fault.New(fault.Keycloak, fault.Incomplete, "%s: the answer broke off: %w; run again", doing, err)
	}
	return fault.New(fault.Keycloak, fault.Connection, "%s: no connection to %s: %w; check keycloak.url, and keycloak.ca_file for a certificate", doing, s.base, err)
}

// location tells where a redirect leads, without a query that may hold secrets.
func (s *Source) location(resp *resty.Response) string {
	u, err := url.Parse(resp.Header().Get("Location"))
	if err != nil {
		return ""
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return s.secrets.Mask(u.String())
}

// decode holds a 2xx to be JSON from its first byte to its last: gocloak takes
// a proxy's page for an empty list (reference/libraries.md).
func (s *Source) decode(doing string, resp *resty.Response, into any) error {
	if !isJSON(resp) {
		seen := s.piece(resp)
		if kind := resp.Header().Get("Content-Type"); doing == signingIn && !strings.HasPrefix(kind, "text/") {
			seen = "(not shown: it may hold a token)"
		}
		return fault.New(fault.Keycloak, fault.Shape, "%s: answered %d with content type %q in place of JSON: %s; check what stands between groupsync and Keycloak",
			doing, resp.StatusCode(), s.header(resp, "Content-Type"), seen)
	}
	if err := transport.CheckJSON(resp.Body()); err != nil {
		return fault.New(fault.Keycloak, fault.Shape, "%s: %w; check what stands between groupsync and Keycloak", doing, err)
	}
	if err := s.secrets.Error(json.Unmarshal(resp.Body(), into)); err != nil { // it may quote a number
		return fault.New(fault.Keycloak, fault.Shape, "%s: the answer of %d bytes is not whole JSON of the documented form: %w; look into Keycloak's log and run again", doing, len(resp.Body()), err)
	}
	return nil
}

func isJSON(resp *resty.Response) bool {
	kind, _, err := mime.ParseMediaType(resp.Header().Get("Content-Type"))
	return err == nil && kind == "application/json" && resp.StatusCode() != http.StatusNoContent
}

// header returns a header of the answer, for a person to read.
func (s *Source) header(resp *resty.Response, name string) string {
	return s.secrets.Mask(resp.Header().Get(name))
}

// piece is the beginning of a body, for a person to read.
func (s *Source) piece(resp *resty.Response) string {
	const most, looked = 160, 64 << 10 // a mask makes a text shorter
	body := bytes.TrimSpace(resp.Body())
	body = []byte(s.secrets.Mask(string(body[:min(len(body), looked)])))
	if len(body) == 0 {
		return "(no body)"
	}
	if len(body) > most {
		return fmt.Sprintf("%q…", body[:most])
	}
	return fmt.Sprintf("%q", body)
}

func isReason(err error, reasons ...fault.Reason) bool {
	f := fault.Of(err)
	return f != nil && slices.Contains(reasons, f.Reason)
}
