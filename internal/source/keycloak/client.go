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
	"sync"
	"time"
	"unicode"

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

// call is one GET below the realm's admin address.
type call struct {
	name  string   // for the metrics
	doing string   // for the errors: "reading the members of the group /a"
	role  string   // of realm-management, that opens it
	path  []string // segments, not yet escaped
	query url.Values
}

func newClient(c Config, base *url.URL) (*gocloak.GoCloak, error) {
	client, err := transport.New(transport.Options{
		CAFile: c.CAFile, InsecureSkipVerify: c.InsecureSkipVerify, Timeout: c.Timeout,
		Connections: c.Concurrency, RetryMax: 3, WaitMin: 250 * time.Millisecond, WaitMax: 5 * time.Second,
		Retry: worthRetrying, Observe: c.Observe, Log: c.Log,
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

// slots bounds the requests that are under way at once, whoever sends them: nested
// groups of goroutines, probes and token requests share one semaphore.
//
// A slot belongs to one attempt on the wire, from before it is sent until its
// body is closed. It is not held during the pause before a repetition: a server
// that answers 503 would otherwise also stop the requests that it could answer.
// A goroutine that holds a slot waits only for the network, never for another
// slot or for the token's lock. Therefore nested requests cannot deadlock.
type slots struct {
	next  http.RoundTripper
	free  *semaphore.Weighted
	limit time.Duration // of one attempt, body included, where withLimit sets none
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

// withLimit returns a context whose requests have that time limit for one
// attempt, in place of keycloak.timeout. Unlike context.WithTimeout, it does not
// count the time that a request waits for its slot or for a token.
func withLimit(ctx context.Context, limit time.Duration) context.Context {
	return context.WithValue(ctx, limitKey{}, limit)
}

// limitOf returns the limit that withLimit set, or the given one.
func limitOf(ctx context.Context, otherwise time.Duration) time.Duration {
	if limit, ok := ctx.Value(limitKey{}).(time.Duration); ok {
		return limit
	}
	return otherwise
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
		resp.Body.Close()
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
	return decode(c.doing, resp, into)
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
	address := s.address(append([]string{"admin", "realms", s.config.Realm}, c.path...)...)
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
	switch {
	case fault.OfNetwork(err) == fault.Timeout:
		return fault.New(fault.Keycloak, fault.Timeout, "%s: no whole answer from %s within %s; check Keycloak's health, or raise keycloak.timeout", doing, s.base, limitOf(ctx, s.config.Timeout))
	case resp != nil && resp.StatusCode() != 0:
		return fault.New(fault.Keycloak, fault.Incomplete, "%s: the answer broke off: %w; run again", doing, err)
	}
	return fault.New(fault.Keycloak, fault.Connection, "%s: no connection to %s: %w; check keycloak.url, and keycloak.ca_file for a certificate", doing, s.base, err)
}

// refusal turns an answer that is no 2xx into an error that names the cause.
func (s *Source) refusal(c call, resp *resty.Response) error {
	code := resp.StatusCode()
	why, own := saidIn(resp)
	cause := why.after(code)
	switch {
	case code >= 500 || code == http.StatusTooManyRequests:
		return fault.New(fault.Keycloak, fault.Server, "%s: Keycloak answered %d: %s; look into Keycloak's log", c.doing, code, piece(resp))
	case code < 400:
		return fault.New(fault.Keycloak, fault.Shape, "%s: a redirect (%d) to %q; put the address that answers by itself into keycloak.url", c.doing, code, location(resp))
	case !own && refusesPath(code):
		return s.refusedOnTheWay(c.doing, resp)
	case why.Text == httpsRequired:
		return s.refusedPlainHTTP(c.doing, cause)
	case why.Text == realmOff:
		return refused(fault.Rejected, c.doing, fmt.Sprintf("the realm %q is switched off (%s)", s.config.Realm, cause),
			`switch on "Enabled" in the realm's Realm settings, or check keycloak.realm`)
	case code == http.StatusUnauthorized:
		return refused(fault.Auth, c.doing, fmt.Sprintf("Keycloak refuses its own new token (%s)", cause),
			"set keycloak.url to the address that Keycloak knows itself by (its option hostname), and check that the client is still enabled")
	case code == http.StatusForbidden:
		role := fmt.Sprintf("the role %s of %s", c.role, s.management())
		return refused(fault.Forbidden, c.doing, fmt.Sprintf("Keycloak refuses the call (%s). The call needs %s", cause, role),
			fmt.Sprintf("give the service account of the client %q %s in %s. If it has the role, switch on %s",
				s.config.ClientID, role, s.console("Service account roles"), s.fullScope()))
	case code == http.StatusNotFound:
		return s.notFound(c.doing, why, cause)
	}
	return fault.New(fault.Keycloak, fault.Rejected, "%s: Keycloak answered %d: %s; look into Keycloak's log", c.doing, code, piece(resp))
}

// What Keycloak says of a realm that takes no requests.
const (
	httpsRequired = "HTTPS required"
	realmOff      = "Realm not enabled"
)

// refused makes the error of a refusal. Its text has four parts: what happened,
// to what, what groupsync did not do, and what to do now.
func refused(reason fault.Reason, doing, what, todo string) error {
	undone := "groupsync did not complete this read"
	if doing == signingIn {
		undone = "groupsync did not read the realm"
	}
	return fault.New(fault.Keycloak, reason, "%s: %s. %s. To fix it, %s", doing, what, undone, todo)
}

// refusesPath tells the statuses of a proxy that does not let a path through.
func refusesPath(code int) bool {
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusProxyAuthRequired:
		return true
	}
	return false
}

// refusedOnTheWay is the error of a refusal that Keycloak did not write. The
// page itself is not quoted: it may repeat the address with somebody's email.
func (s *Source) refusedOnTheWay(doing string, resp *resty.Response) error {
	seen := fmt.Sprintf("%d, content type %q", resp.StatusCode(), resp.Header().Get("Content-Type"))
	if server := resp.Header().Get("Server"); server != "" {
		seen += fmt.Sprintf(", server %q", server)
	}
	path := s.base.Path + "/admin"
	if doing == signingIn {
		path = s.base.Path + "/realms"
	}
	todo := fmt.Sprintf("let the proxy pass %s from groupsync to Keycloak, or set keycloak.url to an address behind the proxy", path)
	if doing == signingIn && resp.StatusCode() == http.StatusNotFound { // Keycloak under another prefix answers with a page, too
		return refused(fault.NotFound, doing, fmt.Sprintf("there is no Keycloak at %s (%s). The path prefix is wrong, or a proxy in front of Keycloak refuses the path %s", s.base, seen, path),
			"check the path prefix in keycloak.url, for example /auth. If it is right, "+todo)
	}
	return refused(fault.Shape, doing, fmt.Sprintf("the answer (%s) does not come from Keycloak. A proxy or firewall in front of Keycloak refuses the path %s; this is not a missing role", seen, path), todo)
}

func (s *Source) refusedPlainHTTP(doing, cause string) error {
	todo := `put the https:// address of Keycloak into keycloak.url. "Require SSL" in the realm's Realm settings says who may use plain HTTP`
	if s.base.Scheme == "https" {
		todo = "let the proxy that ends TLS in front of Keycloak send X-Forwarded-Proto: https, and start Keycloak with --proxy-headers=xforwarded"
	}
	return refused(fault.Rejected, doing, fmt.Sprintf("the realm %q requires HTTPS, and the request reached Keycloak as plain HTTP (%s)", s.config.Realm, cause), todo)
}

// notFound tells what Keycloak does not find. Only an object that is missing has
// the reason NotFound, since a removal may rest on it.
func (s *Source) notFound(doing string, why said, cause string) error {
	switch why.Code {
	case "Realm not found.":
		return refused(fault.Incomplete, doing, fmt.Sprintf("the realm %q is no longer there (%s)", s.config.Realm, cause),
			"check in Keycloak whether the realm was deleted or renamed, and check keycloak.realm")
	case "HTTP 404 Not Found", "Unable to find matching target resource method":
		return refused(fault.Shape, doing, fmt.Sprintf("this Keycloak does not have the call (%s)", cause),
			"check that Keycloak's feature admin-api is enabled and that groupsync supports this version of Keycloak")
	}
	return refused(fault.NotFound, doing, fmt.Sprintf("Keycloak does not find it (%s)", cause), "run again. If that does not help, check keycloak.realm and keycloak.url")
}

// said is Keycloak's own error, as the body of a refusal holds it.
type said struct {
	Code    string `json:"error"`
	Text    string `json:"error_description"`
	Message string `json:"errorMessage"`
}

// saidIn returns Keycloak's own error. own is false if something else wrote the
// answer: a page is not JSON, a gateway's JSON has other fields, and an answer of
// Spring's has "path" besides "error". A bare {} counts as Keycloak's.
func saidIn(resp *resty.Response) (why said, own bool) {
	var fields map[string]json.RawMessage
	if !isJSON(resp) || json.Unmarshal(resp.Body(), &fields) != nil || json.Unmarshal(resp.Body(), &why) != nil {
		return said{}, false
	}
	_, foreign := fields["path"]
	return why, !foreign && (why.Code != "" || why.Message != "" || len(fields) == 0)
}

// after returns the status and Keycloak's words, on one line and in bounds.
func (w said) after(code int) string {
	const most = 160
	words := strings.Join(slices.DeleteFunc([]string{w.Code, w.Text, w.Message}, func(part string) bool { return part == "" }), ": ")
	words = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, words)
	if len(words) > most {
		words = strings.ToValidUTF8(words[:most], "") + "…"
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", code, words))
}

// console returns where something of the client is found in the admin console.
func (s *Source) console(place string) string {
	return "Clients > " + s.config.ClientID + " > " + place
}

// fullScope names the switch that keeps assigned roles out of the token.
func (s *Source) fullScope() string {
	return `"Full scope allowed" in ` + s.console("Client scopes > "+s.config.ClientID+"-dedicated > Scope")
}

// location tells where a redirect leads, without a query that may hold secrets.
func location(resp *resty.Response) string {
	u, err := url.Parse(resp.Header().Get("Location"))
	if err != nil {
		return ""
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// decode holds a 2xx to be JSON from its first byte to its last: gocloak takes
// a proxy's page for an empty list (reference/libraries.md).
func decode(doing string, resp *resty.Response, into any) error {
	if !isJSON(resp) {
		seen := piece(resp)
		if kind := resp.Header().Get("Content-Type"); doing == signingIn && !strings.HasPrefix(kind, "text/") {
			seen = "(not shown: it may hold a token)"
		}
		return fault.New(fault.Keycloak, fault.Shape, "%s: answered %d with content type %q in place of JSON: %s; check what stands between groupsync and Keycloak",
			doing, resp.StatusCode(), resp.Header().Get("Content-Type"), seen)
	}
	if err := json.Unmarshal(resp.Body(), into); err != nil {
		return fault.New(fault.Keycloak, fault.Shape, "%s: the answer of %d bytes is not whole JSON of the documented form: %w; look into Keycloak's log and run again", doing, len(resp.Body()), err)
	}
	return nil
}

func isJSON(resp *resty.Response) bool {
	kind, _, err := mime.ParseMediaType(resp.Header().Get("Content-Type"))
	return err == nil && kind == "application/json" && resp.StatusCode() != http.StatusNoContent
}

// piece is the beginning of a body, for a person to read.
func piece(resp *resty.Response) string {
	const most = 160
	body := bytes.TrimSpace(resp.Body())
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
