package web

import (
	"sync"
	"time"

	"groupsync/internal/memory"
	"groupsync/internal/report"
)

// kept is the number of passes that a Status remembers.
const kept = 50

// Status is the state of the sync in this process: whether it leads, the last reports, and the
// time of the next pass. The daemon updates a Status, and the page and /api/v1/status show it.
// A Status is not saved, so it is empty after a restart. Several goroutines may use it.
type Status struct {
	sync   string
	leader func() string

	mu      sync.Mutex
	standby bool
	running time.Time // zero: no pass is running
	next    time.Time // zero: no pass is due
	last    *report.Report
	planned *report.Report // the last report of a pass that had a plan
	passes  []Pass         // newest first, at most kept

	suspension memory.Suspension // the suspension that was set last; zero: no suspension was set
}

// Pass is the summary of one pass.
type Pass struct {
	Pass     string        `json:"pass"`
	Started  time.Time     `json:"started"`
	Duration float64       `json:"duration_seconds"`
	Result   report.Result `json:"result"`
	Success  bool          `json:"success"` // both sides were read completely, no write failed, and no write changed more than groupsync sent
	Applied  report.Tally  `json:"applied"`
	Left     Left          `json:"left"`
}

// Left is the number of memberships that still differ after a pass.
type Left struct {
	Add    int `json:"add"`
	Remove int `json:"remove"`
}

// NewStatus returns a Status without passes. Until SetLeader is called, the process counts as the
// leader. name is the key name of the configuration. leader returns the holder of the Lease, or an
// empty text if the holder is not known. A nil leader means that there is no Lease.
func NewStatus(name string, leader func() string) *Status {
	return &Status{sync: name, leader: leader}
}

// SetLeader sets whether this process is the leader. It also forgets all passes, because another
// process may have made newer passes.
func (s *Status) SetLeader(leads bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.standby = !leads
	s.next, s.last, s.planned, s.passes = time.Time{}, nil, nil, nil
}

// Suspend sets the suspension, on a standby too. The zero Suspension means that nothing is
// suspended.
func (s *Status) Suspend(x memory.Suspension) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.suspension = x
}

// NextPass sets the time of the next scheduled pass. A standby ignores it.
func (s *Status) NextPass(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.standby {
		s.next = at
	}
}

// Begin records that a pass begins now. The caller calls the returned function when the pass
// has ended, also after an error.
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

// Record adds the report of a pass that has ended. The caller must not change the report after
// that. A standby ignores the report.
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
		Success: r.Succeeded(), Applied: r.Applied, Left: Left{add, remove},
	}
	s.passes = append([]Pass{p}, s.passes[:min(len(s.passes), kept-1)]...)
}

// state is a copy of a Status at one moment.
type state struct {
	sync          string
	leads         bool
	hasLease      bool
	leader        string // on a standby; empty: not known
	running, next time.Time
	last, planned *report.Report // nil: none
	passes        []Pass         // newest first

	suspension memory.Suspension // the suspension that was set last, even if it has ended; zero: no suspension was set
}

func (s *Status) state() state {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := state{
		sync: s.sync, leads: !s.standby, hasLease: s.leader != nil, running: s.running, next: s.next,
		last: s.last, planned: s.planned, passes: s.passes, // no copy is needed: Record makes a new slice each time
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
