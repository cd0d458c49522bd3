package clearmltest

import (
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Request is one request that the server received.
type Request struct {
	Call   string // for example "users.get_all"; the path if the request is no call
	Probe  bool   // the request had no credentials
	Trx    string // the header X-Clearml-Trx
	Header http.Header
	Body   []byte
}

// Fault is one way to fail. It matches requests to Call, or to any call if Call is empty. If
// Probe is true, it matches only requests without credentials. If Probe is false, it matches only
// requests with credentials. If Nth is 0, the fault affects all matching requests. Otherwise it
// affects only one of them: the Nth one after the call of Inject.
//
// The server first calls the function Meanwhile and waits for Delay. Then it answers as the fields
// from Hang on say, which must name only one way to answer. The server carries the request out
// only if the comment of that field says so. If none of these fields is set, the server answers as
// usual.
type Fault struct {
	Call  string
	Nth   int
	Probe bool

	Meanwhile func()        // called first; may change the server's state
	Delay     time.Duration // waits this long, after Meanwhile
	Hang      bool          // never answers
	Reset     bool          // resets the connection
	Lose      bool          // carries the request out, then resets the connection
	LoseSlow  bool          // carries the request out, then never answers
	Truncate  int           // carries the request out, and sends only this many bytes of the answer

	Code, Subcode int    // answers with the envelope and this error
	Text          string // the error's result_msg
	Status        int    // answers with this status and Body, without the envelope
	ContentType   string // type of Body; default text/html
	Body          string
	Header        map[string]string // also used with Code and Data
	Data          string            // answers 200 with the envelope and this JSON text as data
}

// Writes says how permissions.add_or_update_user_group misbehaves.
type Writes struct {
	Ignore           bool   // answers 200 and does nothing
	Merge            bool   // adds the users, and removes nobody
	ClearDescription bool   // empties the description
	DropUser         string // does not make this user a member
	CreateOther      bool   // also creates another group
	RenameOther      string // also renames the group with this name
	OtherID          bool   // answers with an id that is not the group's
}

type planned struct {
	Fault
	seen  int
	spent bool
}

type hook struct {
	call string
	run  func(n int)
}

type faults struct {
	planned       []*planned
	before, after []hook
	requests      []Request
	counts        map[string]int
	writes        Writes
	truncate      int                 // 0: no member list is cut
	stale         map[string][]string // sec_groups by user, if FreezeSecGroups was called
}

// Inject adds a fault. If several faults affect one request, the first one that was injected
// takes effect.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.planned = append(s.faults.planned, &planned{Fault: f})
}

// Heal removes all faults, including misbehaving writes, cut member lists and frozen
// sec_groups. Hooks and counts stay.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.planned, s.faults.writes, s.faults.truncate, s.faults.stale = nil, Writes{}, 0, nil
}

// Before registers a hook for a call. The server runs f before it carries out a request to this
// call. Requests without credentials run no hook. n is the number of requests with credentials
// to this call so far, this one included. f may change the server's state.
func (s *Server) Before(call string, f func(n int)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.before = append(s.faults.before, hook{call, f})
}

// After registers a hook, as Before does. But the server runs f after it has carried out a request
// to the call, and before it sends the answer.
func (s *Server) After(call string, f func(n int)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.after = append(s.faults.after, hook{call, f})
}

// MisbehaveWrites makes the server do something else than a group write asks for.
func (s *Server) MisbehaveWrites(w Writes) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.writes = w
}

// TruncateMembers cuts each member list of permissions.get_user_groups after n members.
func (s *Server) TruncateMembers(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.truncate = n
}

// FreezeSecGroups freezes the users' own view (sec_groups): later changes of groups do not
// appear in it.
func (s *Server) FreezeSecGroups() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.stale = s.secGroups(slices.Collect(maps.Values(s.users)))
}

// ExpireTokens expires every token issued so far. The server answers them with 401/30.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// Count returns the number of requests with credentials to a call.
func (s *Server) Count(call string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults.counts[call]
}

// Requests returns every request so far, in order, also those without credentials.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request{}, s.faults.requests...)
}

// Calls returns the names of the calls that came with credentials, in order.
func (s *Server) Calls() []string {
	var names []string
	for _, r := range s.Requests() {
		if !r.Probe {
			names = append(names, r.Call)
		}
	}
	return names
}

// Forget deletes the list of requests and sets the counts to zero.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.requests, s.faults.counts = nil, nil
}

// record counts a request. It returns the request's number and the fault that affects the
// request, or nil if no fault does.
func (s *Server) record(r Request) (n int, f *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.requests = append(s.faults.requests, r)
	if !r.Probe {
		if s.faults.counts == nil {
			s.faults.counts = make(map[string]int)
		}
		s.faults.counts[r.Call]++
		n = s.faults.counts[r.Call]
	}
	for _, p := range s.faults.planned {
		if p.spent || p.Probe != r.Probe || p.Call != "" && p.Call != r.Call {
			continue
		}
		p.seen++
		if p.Nth != 0 && p.Nth != p.seen {
			continue
		}
		p.spent = p.Nth != 0
		if f == nil {
			f = &p.Fault
		}
	}
	return n, f
}

func (s *Server) runHooks(after bool, call string, n int) {
	s.mu.Lock()
	hooks := s.faults.before
	if after {
		hooks = s.faults.after
	}
	s.mu.Unlock()
	for _, h := range hooks {
		if h.call == call {
			h.run(n)
		}
	}
}

// strike answers a request as the fault says. It returns false if the fault has no way to answer,
// so that the caller must answer as usual. carry carries the request out and returns the answer.
func (f *Fault) strike(s *Server, w http.ResponseWriter, r *http.Request, call string, carry func() answer) bool {
	if f.Meanwhile != nil {
		f.Meanwhile()
	}
	s.wait(r, f.Delay)
	switch {
	case f.Hang:
		s.wait(r, -1)
	case f.Reset:
		reset(w)
	case f.Lose:
		carry()
		reset(w)
	case f.LoseSlow:
		carry()
		s.wait(r, -1)
	case f.Truncate > 0:
		body := carry().encode(call)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body[:min(f.Truncate, len(body)-1)])
	case f.Code != 0:
		f.headers(w)
		failed(f.Code, f.Subcode, "%s", f.Text).send(w, r, call)
	case f.Data != "":
		f.headers(w)
		answer{code: 200, raw: f.Data}.send(w, r, call)
	case f.Status != 0:
		w.Header().Set("Content-Type", "text/html")
		if f.ContentType != "" {
			w.Header().Set("Content-Type", f.ContentType)
		}
		f.headers(w)
		w.WriteHeader(f.Status)
		_, _ = io.WriteString(w, f.Body)
	default:
		return false
	}
	return true
}

func (f *Fault) headers(w http.ResponseWriter) {
	for k, v := range f.Header {
		w.Header().Set(k, v)
	}
}

// wait waits for d, or without end if d is negative. It returns early if the client closes the
// connection or the server is closed.
func (s *Server) wait(r *http.Request, d time.Duration) {
	if d == 0 {
		return
	}
	var timer <-chan time.Time
	if d > 0 {
		timer = time.After(d)
	}
	select {
	case <-timer:
	case <-r.Context().Done():
	case <-s.done:
	}
}

func reset(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
