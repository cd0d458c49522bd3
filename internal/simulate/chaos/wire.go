// Package chaos is the network between groupsync and the models of Keycloak and ClearML. It
// delays each request by a time that only the seed decides. It causes the faults of networks,
// proxies and servers. A fault changes, delays or drops a request or its answer.
//
// Every decision comes from a hash of the seed, the request, and how often the same request came
// before. So the decision does not depend on the order in which goroutines run. If one kind of
// fault is switched off, the other faults hit the same requests as before.
//
// A node is one process of groupsync. A pass is stormy if faults can hit it. A lie is a false
// answer that looks complete and right.
package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Request is a request that reaches a model.
type Request struct {
	Node, Method, Path string
	Query              url.Values
	Header             http.Header
	Body               []byte
	Number             int // the number of the write, as Model.Sent returned it; 0: no write
}

// Answer is the answer of a model.
type Answer struct {
	Status int
	JSON   any           // the body
	Took   time.Duration // how long the server takes before it answers
}

// Model is the model of Keycloak or of ClearML.
type Model interface {
	// Answer answers one request.
	Answer(Request) Answer
	// Writes reports whether requests to the path change something in the model.
	Writes(path string) bool
	// Sent is called at the moment when the body of a write goes onto the connection. Sent
	// returns the number of the write, or 0 if the request changes nothing.
	Sent(Request) int
}

// Wire is the network between groupsync and the models.
type Wire struct {
	Seed  uint64
	Kinds map[Kind]bool // the kinds that are switched on
	Rate  float64       // the probability that a kind of fault hits a request, if the kind is active in the pass
	Storm float64       // the probability that a pass is stormy

	// Share is the probability that a kind that is switched on is active in a stormy pass. A kind
	// that is not active hits no request of the pass. If all kinds were active, few requests would
	// meet a kind from the end of the package's list of kinds, because draw uses the first kind that
	// hits.
	Share float64

	Always bool // every kind that is switched on is active in every stormy pass

	// OneView says that the model of ClearML shows the members of built-in groups only in the
	// groups' member lists, and not in the users' own lists of groups. The wire then shortens no
	// member list of such a group, because groupsync could not detect a short list without the
	// users' own lists.
	OneView bool

	Trace    io.Writer // gets a line for each fault; may be nil
	NotTaken func()    // called for each write that is refused, and that groupsync may send again; may be nil

	Short func(node, group string) // called for each user group whose members an answer shows incompletely; may be nil

	mu    sync.Mutex
	calm  bool
	pass  map[string]int  // by node: the pass that runs
	asked map[string]int  // by node and keyOf: how many requests came
	lied  map[string]bool // by node, pass, side and question: a false answer was given
	hit   map[string]bool // by node: a fault hit the running pass
	dead  map[string]bool // by node: the process was killed
	Hits  map[Kind]int    // how often each fault was caused
}

// New returns a wire without faults.
func New(seed uint64) *Wire {
	return &Wire{
		Seed: seed, Kinds: make(map[Kind]bool), pass: make(map[string]int), asked: make(map[string]int),
		lied: make(map[string]bool), hit: make(map[string]bool), dead: make(map[string]bool), Hits: make(map[Kind]int),
	}
}

// Calm ends all faults until the end of the schedule.
func (w *Wire) Calm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calm = true
}

// PassBegins records that a pass of the node begins. pass is its number.
func (w *Wire) PassBegins(node string, pass int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pass[node], w.hit[node] = pass, false
}

// Kill cuts a node off: its further requests fail.
func (w *Wire) Kill(node string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead[node] = true
}

func (w *Wire) killed(node string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dead[node]
}

// Hit reports whether a fault hit the node's running pass.
func (w *Wire) Hit(node string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hit[node]
}

// Counts returns how often each fault was caused.
func (w *Wire) Counts() map[Kind]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	counts := make(map[Kind]int, len(w.Hits))
	for k, n := range w.Hits {
		counts[k] = n
	}
	return counts
}

// To returns the transport through which a node sends its requests to the model m of a side.
func (w *Wire) To(side Side, node string, m Model) http.RoundTripper {
	return roundTripper{w, side, node, m}
}

type roundTripper struct {
	*Wire
	side  Side
	node  string
	model Model
}

var probed = regexp.MustCompile(`f:([^:/]+):(groupsync-probe-[A-Z0-9]+|\d{10})`)

// keyOf returns the key of a request. Equal requests have equal keys. All probes of a federation
// have one key, although each probe asks for another random name.
func (r roundTripper) keyOf(req *http.Request, body []byte) string {
	if r.side == ClearML {
		return req.URL.Path + " " + string(body)
	}
	return probed.ReplaceAllString(req.URL.Path, "f:$1:probe") + "?" + req.URL.RawQuery
}

// Rand returns a source of random numbers that only the seed and the parts decide.
func Rand(seed uint64, parts ...any) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprintln(h, parts...)
	return rand.New(rand.NewPCG(seed, h.Sum64())) // #nosec G404 -- the same seed must give the same schedule
}

// question returns a text for what a request asks. The method once gives one false answer at most for
// each text. Requests that can confirm each other have the same text, so only one of them gets a
// false answer. These are requests to Keycloak that differ only in the query parameter max, and all
// requests about the holders of a role. For ClearML the text is the parameter key, which is the
// result of keyOf.
func (r roundTripper) question(req *http.Request, key string) string {
	if r.side == ClearML {
		return key
	}
	if strings.Contains(req.URL.Path, "/roles") || strings.Contains(req.URL.Path, "/role-mappings") {
		return "who holds a role"
	}
	query := req.URL.Query()
	query.Del("max")
	return req.URL.Path + "?" + query.Encode()
}

func (r roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	q := Request{Node: r.node, Method: req.Method, Path: req.URL.Path, Query: req.URL.Query(), Header: req.Header}
	writes := r.model.Writes(q.Path)
	take := func() (err error) {
		if req.Body != nil {
			q.Body, err = io.ReadAll(req.Body)
			_ = req.Body.Close()
		}
		return err
	}
	if !writes {
		if err := take(); err != nil {
			return nil, err
		}
	}
	key := r.keyOf(req, q.Body)
	rng, fault, unique := r.draw(key, writes)
	took := time.Duration(1+rng.IntN(20)) * time.Millisecond
	if rng.IntN(6) == 0 { // some answers take longer, so that events can happen between two answers
		took *= 20
	}
	err := sleep(req.Context(), took+unique)
	if err == nil && r.killed(r.node) {
		err = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ENETDOWN}
	}
	if err == nil && fault == Refused {
		r.count(fault)
		err = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	if err != nil {
		if writes && req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	if !writes {
		return r.read(req, q, r.question(req, key), fault, rng)
	}
	if err := take(); err != nil { // the reader of the body asks the fence whether the write may still be sent (transport.WithGate)
		return nil, err
	}
	if q.Number = r.model.Sent(q); q.Number == 0 { // the request only asks whether the call exists
		return r.read(req, q, r.question(req, key), fault, rng)
	}
	return r.write(req, q, fault, rng)
}

// draw returns the fault that hits a request (empty: no fault), and the source of random numbers
// for the rest of the request. It also returns a small delay of this request, so that no two
// requests end at the same instant.
func (r roundTripper) draw(key string, writes bool) (*rand.Rand, Kind, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.asked[r.node+key]
	r.asked[r.node+key] = n + 1
	pass := r.pass[r.node]
	rng := Rand(r.Seed, r.side, r.node, key, n)
	unique := time.Duration(rng.IntN(int(time.Millisecond))) // no two requests end at one instant
	if r.calm || Rand(r.Seed, "storm", r.node, pass).Float64() >= r.Storm {
		return rng, "", unique
	}
	for _, k := range Kinds {
		rate := r.Rate
		if writes { // a schedule has few writes, so each needs a higher probability of a fault
			rate = max(rate, 0.4)
		}
		if r.Kinds[k] && k.of(r.side) && (r.Always || Rand(r.Seed, k, r.node, pass).Float64() < r.Share) && Rand(r.Seed, k, r.side, r.node, key, n).Float64() < rate {
			return rng, k, unique
		}
	}
	return rng, "", unique
}

func (r roundTripper) count(k Kind) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Trace != nil {
		fmt.Fprintf(r.Trace, "%s fault %s at %s %s\n", time.Now().Format("15:04:05.000"), k, r.side, r.node)
	}
	r.Hits[k]++
	r.hit[r.node] = true
}

// once returns true if the node may get a false answer to a question now, and records that it gets
// one. The parameter key is the result of the method question. In one pass, a node gets only one false
// answer to each question, because no client could detect a false answer that it gets twice.
func (r roundTripper) once(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := fmt.Sprint(r.node, r.pass[r.node], r.side, key)
	if r.lied[k] {
		return false
	}
	r.lied[k] = true
	return true
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// silence simulates a request that gets no answer. It waits until a random moment shortly before
// the deadline of ctx, and returns an error. So if two requests have the same deadline, the seed
// decides which request ends first.
func (r roundTripper) silence(ctx context.Context, rng *rand.Rand) error {
	early := time.Duration(rng.IntN(int(time.Millisecond)))
	if end, limited := ctx.Deadline(); limited {
		if err := sleep(ctx, time.Until(end)-early); err != nil {
			return err
		}
		return context.DeadlineExceeded
	}
	<-ctx.Done()
	return ctx.Err()
}

// response returns an HTTP response to req. kind is the content type of the body.
func response(req *http.Request, status int, kind string, body []byte) *http.Response {
	return &http.Response{
		Status: fmt.Sprint(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: req,
	}
}

const jsonType = "application/json"

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// read answers a request that changes nothing. key is the question of the request. fault is the
// fault that hits the request, or empty.
func (r roundTripper) read(req *http.Request, q Request, key string, fault Kind, rng *rand.Rand) (*http.Response, error) {
	switch fault {
	case ResetBefore:
		r.count(fault)
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	case Timeout:
		r.count(fault)
		return nil, r.silence(req.Context(), rng)
	case HTML200, NoContent, Page404, TooMany, Unavailable, BadGateway, ServerError, GatewayTimeout, NotImplemented, Conflict, Unauthorized, GroupForbidden, GroupMissing:
		if resp := r.refuse(req, q, fault, rng); resp != nil {
			r.count(fault)
			return resp, nil
		}
	}
	a := r.model.Answer(q)
	if err := sleep(req.Context(), a.Took); err != nil {
		return nil, err
	}
	if fault.lies() && a.Status == http.StatusOK {
		if lie, group, is := r.lie(fault, q, a.JSON, rng); is && r.once(key) {
			r.count(fault)
			a.JSON = lie
			if group != "" && r.Short != nil {
				r.Short(r.node, group)
			}
		}
	}
	body := encode(a.JSON)
	resp := response(req, a.Status, jsonType, body)
	switch fault {
	case ResetIn, CutJSON, ResetAfter:
		r.count(fault)
		at, end := len(body)/2, error(io.ErrUnexpectedEOF)
		if fault != CutJSON {
			end = &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
		}
		if fault == ResetAfter {
			at = len(body)
		}
		resp.Body = &broken{bytes.NewReader(body[:at]), end}
	case ShortJSON: // the JSON in the body is not complete
		r.count(fault)
		resp.Body = io.NopCloser(bytes.NewReader(body[:max(0, len(body)-1-rng.IntN(8))]))
	case TrailingJSON:
		r.count(fault)
		resp.Body = io.NopCloser(bytes.NewReader(append(body, `{"error":"unknown_error"}`...)))
	case SlowDrip:
		r.count(fault)
		resp.Body = &drip{req.Context(), bytes.NewReader(body), time.Duration(1+rng.IntN(20)) * time.Second}
	}
	return resp, nil
}

// refuse returns an answer without asking the model, such as the error page of a proxy. It returns
// nil if the fault does not fit the request.
func (r roundTripper) refuse(req *http.Request, q Request, fault Kind, rng *rand.Rand) *http.Response {
	text := func(status int, words string) *http.Response {
		if r.side == ClearML {
			return response(req, status, jsonType, encode(map[string]any{"meta": map[string]any{"result_code": status, "result_subcode": 0, "result_msg": words}, "data": map[string]any{}}))
		}
		return response(req, status, jsonType, encode(map[string]any{"error": words}))
	}
	const page = "<html><body>a proxy's page</body></html>"
	switch fault {
	case HTML200:
		return response(req, 200, "text/html", []byte(page))
	case NoContent:
		return response(req, 204, "", nil)
	case Page404:
		return response(req, 404, "text/html", []byte(page))
	case TooMany:
		resp := response(req, 429, "text/plain", []byte("slow down"))
		resp.Header.Set("Retry-After", fmt.Sprint(60+rng.IntN(20000)))
		return resp
	case Unavailable:
		resp := text(503, "unavailable")
		if rng.IntN(2) == 0 {
			resp.Header.Set("Retry-After", fmt.Sprint(1+rng.IntN(8000)))
		}
		return resp
	case BadGateway:
		return response(req, 502, "text/html", []byte(page))
	case ServerError:
		return text(500, "unknown_error")
	case NotImplemented:
		return text(501, "not implemented")
	case GatewayTimeout:
		return response(req, 504, "text/html", []byte(page))
	case Conflict:
		return text(409, "conflict")
	case Unauthorized:
		if r.side == ClearML {
			return response(req, 401, jsonType, encode(map[string]any{"meta": map[string]any{"result_code": 401, "result_subcode": 30, "result_msg": "expired"}, "data": map[string]any{}}))
		}
		return response(req, 401, jsonType, encode(map[string]any{"error": "HTTP 401 Unauthorized"}))
	case GroupForbidden:
		if strings.HasSuffix(q.Path, "/members") {
			return text(403, "HTTP 403 Forbidden")
		}
	case GroupMissing:
		if strings.HasSuffix(q.Path, "/members") {
			return text(404, "Could not find group by id")
		}
	}
	return nil
}

// lie returns an answer that is complete and has the right form, but is false. truth is the
// model's own answer. group is the user group from whose members the lie leaves some out, or
// empty. told is false if the fault does not fit the answer, so there is no lie.
func (r roundTripper) lie(fault Kind, q Request, truth any, rng *rand.Rand) (lie any, group string, told bool) {
	switch fault {
	case Empty:
		list, is := truth.([]any)
		return []any{}, "", is && len(list) > 0
	case ShortList:
		list, is := truth.([]any)
		if !is || len(list) == 0 {
			return nil, "", false
		}
		at := rng.IntN(len(list))
		return append(append([]any{}, list[:at]...), list[min(len(list), at+1+rng.IntN(2)):]...), "", true
	case ShortMembers, ShiftedPage, TwicePage:
		envelope, is := truth.(map[string]any)
		if !is {
			return nil, "", false
		}
		data, is := envelope["data"].(map[string]any)
		if !is {
			return nil, "", false
		}
		data, group, told = r.lieOfClearML(fault, q, data, rng)
		return map[string]any{"meta": envelope["meta"], "data": data}, group, told
	}
	return nil, "", false
}

// lieOfClearML does what lie does, for an answer of ClearML. The lie lacks members of a group, or
// lacks or repeats one user in a page of users.
func (r roundTripper) lieOfClearML(fault Kind, q Request, data map[string]any, rng *rand.Rand) (lie map[string]any, group string, told bool) {
	if fault == ShortMembers {
		groups, is := data["groups"].([]any)
		if !is || len(groups) == 0 {
			return nil, "", false
		}
		at := rng.IntN(len(groups))
		g, is := groups[at].(map[string]any)
		if !is || r.OneView && g["system"] == true {
			return nil, "", false
		}
		members, is := g["users"].([]any)
		if !is || len(members) == 0 {
			return nil, "", false
		}
		short := make(map[string]any, len(g))
		for k, v := range g {
			short[k] = v
		}
		short["users"] = members[:rng.IntN(len(members))]
		groups = append([]any{}, groups...)
		groups[at] = short
		return map[string]any{"groups": groups}, fmt.Sprint(g["id"]), true
	}
	users, is := data["users"].([]any)
	if !is || len(users) < 2 || !strings.HasSuffix(q.Path, "users.get_all") {
		return nil, "", false
	}
	if fault == TwicePage {
		return map[string]any{"users": append(append([]any{}, users...), users[rng.IntN(len(users))])}, "", true
	}
	at := rng.IntN(len(users))
	return map[string]any{"users": append(append([]any{}, users[:at]...), users[at+1:]...)}, "", true
}

// write answers a request that changes something. fault is the fault that hits the request, or
// empty.
func (r roundTripper) write(req *http.Request, q Request, fault Kind, rng *rand.Rand) (*http.Response, error) {
	ctx := req.Context()
	carry := func() (*http.Response, error) {
		a := r.model.Answer(q)
		if err := sleep(ctx, time.Duration(1+rng.IntN(50))*time.Millisecond); err != nil {
			return nil, err
		}
		return response(req, a.Status, jsonType, encode(a.JSON)), nil
	}
	// The server receives the request a moment after groupsync has sent it.
	if err := sleep(ctx, time.Duration(1+rng.IntN(30))*time.Millisecond); err != nil {
		return nil, err
	}
	switch fault {
	case WriteDone500:
		r.count(fault)
		_ = r.model.Answer(q)
		return r.refuse(req, q, []Kind{ServerError, BadGateway, GatewayTimeout, HTML200}[rng.IntN(4)], rng), nil
	case WriteNot200:
		r.count(fault)
		return response(req, 200, jsonType, encode(map[string]any{"meta": map[string]any{"result_code": 200, "result_subcode": 0, "id": "nothing"}, "data": map[string]any{}})), nil
	case WriteTwice:
		r.count(fault)
		resp, err := carry()
		again := time.Duration(1+rng.IntN(4000)) * time.Millisecond
		time.AfterFunc(again, func() { _ = r.model.Answer(q) })
		return resp, err
	case WriteLate:
		r.count(fault)
		late := time.Duration(1+rng.IntN(300)) * time.Second
		time.AfterFunc(late, func() { _ = r.model.Answer(q) })
		switch rng.IntN(3) {
		case 0:
			return nil, r.silence(ctx, rng)
		case 1:
			return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
		}
		return r.refuse(req, q, GatewayTimeout, rng), nil
	case WriteDoneReset:
		r.count(fault)
		_ = r.model.Answer(q)
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	case ResetBefore:
		r.count(fault)
		return nil, &net.OpError{Op: "write", Net: "tcp", Err: syscall.ECONNRESET}
	case TooMany, Unavailable, Unauthorized, Conflict, Page404, ServerError, BadGateway, GatewayTimeout:
		r.count(fault) // the model is not asked, so the write is not carried out
		if r.NotTaken != nil {
			r.NotTaken()
		}
		return r.refuse(req, q, fault, rng), nil
	case Timeout:
		r.count(fault)
		return nil, r.silence(ctx, rng)
	}
	return carry()
}

// broken is a response body that ends with an error instead of io.EOF. The field end is this error.
type broken struct {
	*bytes.Reader
	end error
}

func (b *broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = b.end
	}
	return n, err
}

func (b *broken) Close() error { return nil }

// drip is a response body that arrives in small pieces. The field wait is the delay before each
// piece.
type drip struct {
	ctx  context.Context
	body *bytes.Reader
	wait time.Duration
}

func (d *drip) Read(p []byte) (int, error) {
	if err := sleep(d.ctx, d.wait); err != nil {
		return 0, err
	}
	return d.body.Read(p[:min(len(p), max(1, int(d.body.Size()/4)))])
}

func (d *drip) Close() error { return nil }
