package web

import (
	"sync"
	"time"

	"groupsync/internal/memory"
	"groupsync/internal/report"
)

// kept is the number of passes that a Status remembers.
const kept = 50

// Status is how the sync stands in this process: whether it leads, the last report,
// and when the next pass is. The daemon tells a Status what happens, and the page and
// /api/v1/status show it. Nothing of it outlives the process. It may be used by
// several goroutines.
type Status struct {
	sync   string
	leader func() string

	mu      sync.Mutex
	standby bool
	running time.Time // zero: no pass runs
	next    time.Time // zero: none is due
	last    *report.Report
	planned *report.Report // the last report of a pass that came to a plan
	passes  []Pass         // newest first, at most kept

	suspension memory.Suspension // that was set last; zero: none
}

// Pass is one pass in short.
type Pass struct {
	Pass     string        `json:"pass"`
	Started  time.Time     `json:"started"`
	Duration float64       `json:"duration_seconds"`
	Result   report.Result `json:"result"`
	Success  bool          `json:"success"` // both sides were read whole, and no write failed or did more than was sent
	Applied  report.Tally  `json:"applied"`
	Left     Left          `json:"left"`
}

// Left counts the memberships that still differ after a pass.
type Left struct {
	Add    int `json:"add"`
	Remove int `json:"remove"`
}

// NewStatus returns the status of a process that leads and has made no pass. The name
// is the configuration's. The leader function returns which process holds the Lease,
// or an empty text if that is not known; nil means that there is no Lease.
func NewStatus(name string, leader func() string) *Status {
	return &Status{sync: name, leader: leader}
}

// Lead says whether this process makes the passes from now on. It forgets all
// passes, because another process may have made passes since.
func (s *Status) Lead(leads bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.standby = !leads
	s.next, s.last, s.planned, s.passes = time.Time{}, nil, nil, nil
}

// Suspend says that this suspension was set. The zero Suspension says that none is. A
// standby shows it too.
func (s *Status) Suspend(x memory.Suspension) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.suspension = x
}

// NextPass says when the next scheduled pass is due.
func (s *Status) NextPass(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.standby {
		s.next = at
	}
}

// Begin says that a pass begins now. The caller calls the returned function when the
// pass has ended, in whatever way.
func (s *Status) Begin() (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = time.Now().UTC()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.running = time.Time{}
	}
}

// Record adds the report of a pass that has ended. The report must not change after
// that. A process that no longer leads ignores the report.
func (s *Status) Record(r report.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.standby {
		return
	}
	s.last = &r
	if r.Result != report.Error {
		s.planned = &r
	}
	add, remove := r.Drift()
	p := Pass{
		Pass: r.Pass, Started: r.Started, Duration: r.Duration, Result: r.Result,
		Success: r.Complete(), Applied: r.Applied, Left: Left{add, remove},
	}
	s.passes = append([]Pass{p}, s.passes[:min(len(s.passes), kept-1)]...)
}

// state is what a Status knows at one moment.
type state struct {
	sync          string
	leads         bool
	hasLease      bool
	leader        string // on a standby; empty: not known
	running, next time.Time
	last, planned *report.Report // nil: none
	passes        []Pass         // newest first

	suspension memory.Suspension // that was set last, also if it has ended; zero: none
}

func (s *Status) state() state {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := state{
		sync: s.sync, leads: !s.standby, hasLease: s.leader != nil, running: s.running, next: s.next,
		last: s.last, planned: s.planned, passes: s.passes, // Record never changes a list that was handed out
		suspension: s.suspension,
	}
	if s.standby && s.leader != nil {
		now.leader = s.leader()
	}
	return now
}

// ended returns when the pass ended.
func (p Pass) ended() time.Time {
	return p.Started.Add(time.Duration(p.Duration * float64(time.Second)))
}
