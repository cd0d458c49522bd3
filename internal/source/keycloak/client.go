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

// Roles of realm-management that the calls need (reference/keycloak-api.md).
const (
	viewUsers   = "view-users"
	viewRealm   = "view-realm"
	viewClients = "view-clients"
)

// all is the value of the parameter max that requests every entry in one answer. If groupsync
// read several pages, the list could change between two pages.
const all = "-1"

// call describes one GET of Keycloak's admin API.
type call struct {
	name  string   // name of the call in the metrics
	doing string   // first words of the errors, for example "reading the members of the group /a"
	role  string   // role of realm-management that the call needs
	path  []string // segments of the path, not escaped
	query url.Values

	ofServer bool // true: the path is below /admin; false: it is below /admin/realms/{realm}
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
	// The transport slots limits the time of each attempt, so the HTTP client has no time limit. A
	// limit of the HTTP client would also count the time in which an attempt waits for its slot,
	// the permission to send the request.
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

// worthRetrying reports whether groupsync sends a request again after this result. A retry is
// harmless, because all requests are GETs or the POST for the token. After a 500 or a timeout, a
// retry would not help: Keycloak answers 500 if a federation is away, and does not answer in time
// if a federation hangs.
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

// roundTripper returns an answer or an error, but never both, as http.RoundTripper requires.
// The round tripper of retryablehttp returns both if the context ends when an answer arrives.
type roundTripper struct{ next http.RoundTripper }

func (r roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.next.RoundTrip(req)
	if err != nil && resp != nil {
		_ = resp.Body.Close()
		resp = nil
	}
	return resp, err
}

// silent is a logger that drops the log lines of resty. resty would print URLs to stderr, and
// a URL can contain an email.
type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}

// list sends one GET whose answer is an array. If the answer is null, list returns an error of
// reason shape.
func list[T any](ctx context.Context, s *Source, c call) ([]T, error) {
	var items []T
	if err := s.get(ctx, c, &items); err != nil {
		return nil, err
	}
	if items == nil {
		return nil, fault.New(fault.Keycloak, fault.Shape, "%s: Keycloak answered null instead of a list; check the proxies between groupsync and Keycloak", c.doing)
	}
	return items, nil
}

// get sends one GET and decodes the answer into the value. If the status is not 2xx, or the
// answer is not complete JSON, get returns an error.
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

// send returns the answer to one GET, whatever its status. If Keycloak refuses the token (401),
// send gets a newer token and tries once more.
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

// aboutRealm changes the reason of a sign-in error from not_found to incomplete. The sign-in
// finds no realm, but the caller would take not_found for a missing account. A removal may rely
// on a missing account.
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
	if err = s.incompleteAnswer(ctx, c.doing, resp, err); err != nil {
		return nil, err
	}
	return resp, nil
}

// isNetworkError reports whether an error comes from the network. All other errors of a request
// are about the content of the answer.
func isNetworkError(err error) bool {
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

// incompleteAnswer returns the error for a request without a complete answer. err is the error of
// the request. incompleteAnswer returns nil if err is nil. It also returns nil if the status is
// not 2xx and only the body cannot be parsed: the caller then makes an error from the status.
func (s *Source) incompleteAnswer(ctx context.Context, doing string, resp *resty.Response, err error) error {
	if err == nil {
		return nil
	}
	if resp != nil && resp.StatusCode() > 299 && ctx.Err() == nil && !isNetworkError(err) {
		return nil
	}
	if ctx.Err() != nil { // resty hides the context's error from errors.Is
		cause, reason := context.Cause(ctx), fault.OfNetwork(ctx.Err())
		return fault.New(fault.Keycloak, reason, "%s: given up: %w", doing, cause)
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // the text of url.Error repeats the query, which may hold an email
	}
	var large *transport.TooLargeError
	switch {
	case errors.As(err, &large):
		return fault.New(fault.Keycloak, fault.Shape, "%s: %w; check keycloak.url, and the proxies between groupsync and Keycloak. If several groups have hundreds of thousands of members, lower keycloak.concurrency", doing, large)
	case fault.OfNetwork(err) == fault.Timeout:
		return fault.New(fault.Keycloak, fault.Timeout, "%s: no complete answer from %s within %s; check Keycloak's health, or raise keycloak.timeout", doing, s.base, limitOf(ctx, s.config.Timeout))
	case resp != nil && resp.StatusCode() != 0:
		return fault.New(fault.Keycloak, fault.Incomplete, "%s: the answer broke off: %w; run again", doing, err)
	}
	return fault.New(fault.Keycloak, fault.Connection, "%s: no connection to %s: %w; check keycloak.url. If the error is about a certificate, check keycloak.ca_file", doing, s.base, err)
}

// location returns the target of a redirect, without the query, which may hold secrets.
func (s *Source) location(resp *resty.Response) string {
	u, err := url.Parse(resp.Header().Get("Location"))
	if err != nil {
		return ""
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return s.secrets.Mask(u.String())
}

// decode decodes a 2xx answer. It returns an error if the body is not complete JSON. gocloak
// has no such check: it would read the HTML page of a proxy as an empty list
// (reference/libraries.md).
func (s *Source) decode(doing string, resp *resty.Response, into any) error {
	if !isJSON(resp) {
		seen := s.piece(resp)
		if kind := resp.Header().Get("Content-Type"); doing == signingIn && !strings.HasPrefix(kind, "text/") {
			seen = "(not shown: it may hold a token)"
		}
		return fault.New(fault.Keycloak, fault.Shape, "%s: the answer has status %d and content type %q instead of JSON: %s; check the proxies between groupsync and Keycloak",
			doing, resp.StatusCode(), s.header(resp, "Content-Type"), seen)
	}
	if err := transport.CheckJSON(resp.Body()); err != nil {
		return fault.New(fault.Keycloak, fault.Shape, "%s: %w; check the proxies between groupsync and Keycloak", doing, err)
	}
	if err := s.secrets.Error(json.Unmarshal(resp.Body(), into)); err != nil { // the error may quote a piece of the answer, so secrets are masked
		return fault.New(fault.Keycloak, fault.Shape, "%s: the answer of %d bytes is not complete JSON of the documented form: %w; look into Keycloak's log and run again", doing, len(resp.Body()), err)
	}
	return nil
}

func isJSON(resp *resty.Response) bool {
	kind, _, err := mime.ParseMediaType(resp.Header().Get("Content-Type"))
	return err == nil && kind == "application/json" && resp.StatusCode() != http.StatusNoContent
}

// header returns a header of the answer for an error message, with secrets masked.
func (s *Source) header(resp *resty.Response, name string) string {
	return s.secrets.Mask(resp.Header().Get(name))
}

// piece returns the beginning of a body for an error message, with secrets masked.
func (s *Source) piece(resp *resty.Response) string {
	// The function masks the first `looked` bytes, and then cuts the text to `most` bytes. looked is
	// larger than most, because masking can make the text shorter.
	const most, looked = 160, 64 << 10
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
