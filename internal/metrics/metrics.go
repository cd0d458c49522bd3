// Package metrics holds every metric of groupsync. At each scrape, a collector makes the gauges
// about passes from the last report. So no gauge keeps a value of an older report. Counters and
// histograms count from the start of the process.
package metrics

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"groupsync/internal/fault"
	"groupsync/internal/memory"
	"groupsync/internal/report"
	"groupsync/internal/transport"
)

// Metrics are the metrics of one sync, in their own registry.
type Metrics struct {
	registry *prometheus.Registry

	duration        *prometheus.HistogramVec
	passes          *prometheus.CounterVec
	skipped         *prometheus.CounterVec
	changes         *prometheus.CounterVec
	trips           *prometheus.CounterVec
	errors          *prometheus.CounterVec
	reverted        *prometheus.CounterVec
	approvals       *prometheus.CounterVec
	requests        *prometheus.CounterVec
	requestDuration *prometheus.HistogramVec

	mu       sync.Mutex
	planned  *report.Report // the last report of a pass that had a plan
	last     *report.Report // the last report
	success  time.Time
	nextPass time.Time
	standby  bool
	settings Settings
	reloadOK bool
	leavers  map[string]int // number of leavers, by what they hold (the label holds)
	counted  time.Time      // when the leavers were last counted; zero: never

	suspension memory.Suspension // the last suspension that was set; zero: none
}

// Options are the values that do not change while the process runs.
type Options struct {
	Sync              string
	Version, Revision string
}

// Settings are the parts of the loaded configuration that the metrics show.
type Settings struct {
	Apply    bool                  // scheduled passes write
	Leavers  bool                  // the daemon counts leavers
	Expiring func(time.Time) int   // number of exceptions of users.protect that end within 7 days of a time; nil: 0
	Insecure map[fault.System]bool // sides whose certificate is not verified
}

// New returns the metrics of a sync before its first pass. If the label values of a counter are
// known, the counter has a series with the value 0 for each of them. Otherwise Prometheus would
// not count the first increase of a series.
func New(o Options, s Settings) *Metrics {
	m := &Metrics{
		settings:        s,
		reloadOK:        true,
		registry:        prometheus.NewRegistry(),
		duration:        passDuration.histogram(prometheus.ExponentialBuckets(0.1, 2, 13)),
		passes:          passesTotal.counter(),
		skipped:         passesSkipped.counter(),
		changes:         changesTotal.counter(),
		trips:           guardTrips.counter(),
		errors:          errorsTotal.counter(),
		reverted:        reverted.counter(),
		approvals:       approvals.counter(),
		requests:        requestsTotal.counter(),
		requestDuration: requestDuration.histogram(prometheus.ExponentialBuckets(0.005, 2, 14)), // up to 41 s, because ClearML can take 30 s to answer
	}
	wrapped := prometheus.WrapRegistererWith(prometheus.Labels{"sync": o.Sync}, m.registry)
	wrapped.MustRegister(m.duration, m.passes, m.skipped, m.changes, m.trips, m.errors, m.reverted, m.approvals, m.requests, m.requestDuration, (*state)(m), &build{o})
	m.start()
	return m
}

func (m *Metrics) start() {
	m.duration.WithLabelValues()
	m.skipped.WithLabelValues()
	for _, r := range report.Results {
		m.passes.WithLabelValues(string(r))
	}
	for _, g := range report.Guards {
		m.trips.WithLabelValues(string(g))
	}
	for _, result := range []string{granted, refused} {
		m.approvals.WithLabelValues(result)
	}
	for _, action := range actions {
		m.reverted.WithLabelValues(action)
		for _, result := range []report.Outcome{report.Done, report.Failed} {
			m.changes.WithLabelValues(action, string(result))
		}
	}
	for _, system := range systems {
		for _, reason := range fault.Reasons {
			m.errors.WithLabelValues(string(system), string(reason))
		}
	}
}

var (
	actions = []string{"add", "remove"}
	systems = []fault.System{fault.Keycloak, fault.ClearML}
)

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

// Gatherer returns the registry, for tests and the demo.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Observe returns a function that records the result and the duration of each request to one side.
func (m *Metrics) Observe(system fault.System) func(transport.Attempt) {
	return func(a transport.Attempt) {
		code := "none" // no answer came
		if a.Code != 0 {
			code = strconv.Itoa(a.Code)
		}
		m.requests.WithLabelValues(string(system), code).Inc()
		m.requestDuration.WithLabelValues(string(system), a.Call).Observe(a.Took.Seconds())
	}
}

// Record takes the report of a pass that has ended into the metrics. If the pass failed before it
// had a plan, the gauges about the plan keep their values. On a standby, Record changes only
// counters. The same holds for a pass of one person, and for a restore: a run of `groupsync
// restore`, which takes back the changes of a pass.
func (m *Metrics) Record(r report.Report) {
	if r.Whole() {
		m.duration.WithLabelValues().Observe(r.Duration)
		m.passes.WithLabelValues(string(r.Result)).Inc()
	}
	for _, t := range r.Guards {
		m.trips.WithLabelValues(string(t.Guard)).Inc()
	}
	for _, e := range r.Errors {
		m.errors.WithLabelValues(e.System, e.Reason).Inc()
	}
	for _, g := range r.Groups {
		m.count("add", g.Add)
		m.count("remove", g.Remove)
	}
	for action, n := range r.Reverted {
		m.reverted.WithLabelValues(action).Add(float64(n))
	}
	if a := r.Approval; a != nil {
		m.approvals.WithLabelValues(resultOf(*a)).Inc()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.standby || !r.Whole() { // only a whole pass shows the state of both sides
		return
	}
	m.last = &r
	if r.Result != report.Error {
		m.planned = &r
	}
	if r.Succeeded() {
		m.success = ended(r)
	}
}

func (m *Metrics) count(action string, changes []report.Change) {
	for _, c := range changes {
		if c.Outcome == report.Done || c.Outcome == report.Failed {
			m.changes.WithLabelValues(action, string(c.Outcome)).Inc()
		}
	}
}

// The values of the label result of groupsync_approvals_total.
const (
	granted = "granted"
	refused = "refused"
)

func resultOf(a report.Approval) string {
	if a.Granted {
		return granted
	}
	return refused
}

func ended(r report.Report) time.Time {
	return r.Started.Add(time.Duration(r.Duration * float64(time.Second)))
}

// NextPass sets the time of the next pass. On a standby NextPass does nothing.
func (m *Metrics) NextPass(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.standby {
		m.nextPass = at
	}
}

// SetLeader sets whether this process is the leader. Whether leads is true or false, SetLeader
// deletes the results of earlier passes, and of earlier counts of leavers. Another process may have
// led in the meantime or leads now, and has newer results.
func (m *Metrics) SetLeader(leads bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.standby = !leads
	m.planned, m.last, m.success, m.nextPass = nil, nil, time.Time{}, time.Time{}
	m.leavers, m.counted = nil, time.Time{}
}

// Leavers sets the numbers of leavers, which were counted at the time at. The keys of counts are
// values of the label holds. If a value is absent, the number is unknown, and has no series. On a
// standby Leavers does nothing.
func (m *Metrics) Leavers(counts map[string]int, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.standby {
		m.leavers, m.counted = counts, at
	}
}

// Suspend sets the suspension that is in force. The zero Suspension means none.
func (m *Metrics) Suspend(s memory.Suspension) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.suspension = s
}

// Configure sets the settings of a newly loaded configuration.
func (m *Metrics) Configure(s Settings) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settings, m.reloadOK = s, true
}

// Refused records that a configuration was refused and the previous one stays in force.
func (m *Metrics) Refused() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reloadOK = false
}

// Skipped counts a scheduled pass that was not made, because a whole pass was running or waiting.
func (m *Metrics) Skipped() { m.skipped.WithLabelValues().Inc() }
