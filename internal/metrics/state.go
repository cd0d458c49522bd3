package metrics

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"groupsync/internal/report"
)

// state is the collector of all gauges except groupsync_build_info. Their values come from the last
// reports and the settings.
type state Metrics

// Describe implements prometheus.Collector.
func (s *state) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range []*metric{lastPass, lastSuccess, nextPass, drift, groupDrift, groups, users, pendingOldest, forgotten, ownView, adminMismatch, leavers, leaversSuccess, guardActive, federationUp, leader, suspendedUntil, applyEnabled, reloadOK, expiringSoon, tlsInsecure} {
		ch <- m.desc()
	}
}

// Collect implements prometheus.Collector.
func (s *state) Collect(ch chan<- prometheus.Metric) {
	s.mu.Lock()
	planned, last, success, next := s.planned, s.last, s.success, s.nextPass
	standby, settings, loaded := s.standby, s.settings, s.reloadOK
	left, counted := s.leavers, s.counted
	suspension := s.suspension.Current(time.Now())
	s.mu.Unlock()
	for _, action := range actions {
		until := 0.0
		if suspension.Withholds(action == "remove") {
			until = float64(suspension.Until.UnixNano()) / 1e9
		}
		ch <- suspendedUntil.gauge(until, action)
	}
	ch <- leader.gauge(number(!standby))
	ch <- applyEnabled.gauge(number(settings.Apply))
	ch <- reloadOK.gauge(number(loaded))
	expiring := 0
	if settings.Expiring != nil {
		expiring = settings.Expiring(time.Now())
	}
	ch <- expiringSoon.gauge(float64(expiring))
	for _, system := range systems {
		ch <- tlsInsecure.gauge(number(settings.Insecure[system]), string(system))
	}
	if !next.IsZero() {
		ch <- nextPass.gauge(float64(next.UnixNano()) / 1e9)
	}
	if !success.IsZero() {
		ch <- lastSuccess.gauge(float64(success.UnixNano()) / 1e9)
	}
	if last != nil {
		ch <- lastPass.gauge(float64(ended(*last).UnixNano()) / 1e9)
		for name, up := range federations(last.Probes) {
			ch <- federationUp.gauge(number(up), name)
		}
	}
	if settings.Leavers && !counted.IsZero() {
		ch <- leaversSuccess.gauge(float64(counted.UnixNano()) / 1e9)
		for holds, n := range left {
			ch <- leavers.gauge(float64(n), holds)
		}
	}
	if planned != nil {
		collect(ch, *planned)
	}
}

func collect(ch chan<- prometheus.Metric, r report.Report) {
	add, remove := r.Drift()
	ch <- drift.gauge(float64(add), "add")
	ch <- drift.gauge(float64(remove), "remove")
	for _, g := range r.Groups {
		add, remove := g.Drift()
		if add > 0 {
			ch <- groupDrift.gauge(float64(add), g.Name, "add")
		}
		if remove > 0 {
			ch <- groupDrift.gauge(float64(remove), g.Name, "remove")
		}
	}
	states := r.GroupStates()
	for _, s := range append([]string{"in_sync", "drift", "withheld"}, report.SkipStates...) {
		ch <- groups.gauge(float64(states[s]), s)
	}
	for _, s := range report.UserStates {
		ch <- users.gauge(float64(r.Users[s]), s)
	}
	ch <- pendingOldest.gauge(r.PendingOldest)
	ch <- forgotten.gauge(float64(r.Forgotten))
	var differ report.OwnView
	for _, g := range r.Groups {
		differ.Hides += g.OwnView.Hides
		differ.Shows += g.OwnView.Shows
	}
	ch <- ownView.gauge(float64(differ.Hides), "hides")
	ch <- ownView.gauge(float64(differ.Shows), "shows")
	ch <- adminMismatch.gauge(float64(r.AdminMismatch))
	active := activeGuards(r)
	for _, g := range report.Guards {
		ch <- guardActive.gauge(number(active[g]), string(g))
	}
}

// activeGuards returns the guards for which groupsync_guard_active is 1. These are the guards that
// withhold a change, and all other guards that tripped, except those with Rule.Informs. A guard
// with Rule.Informs can trip only to report something that needs no decision by a person.
func activeGuards(r report.Report) map[report.Guard]bool {
	active := make(map[report.Guard]bool)
	for _, t := range r.Guards {
		active[t.Guard] = active[t.Guard] || !t.Guard.Rule().Informs
	}
	for _, g := range r.Groups {
		for _, guard := range g.Withheld {
			active[guard] = true
		}
	}
	return active
}

// federations returns, by name, whether each federation is up. In a realm, two federations can have
// the same name. Two series with the same labels would fail the whole scrape. So federations of the
// same name share one series, which is up only if all of them are up.
func federations(probes []report.Probe) map[string]bool {
	ups := make(map[string]bool, len(probes))
	for _, p := range probes {
		up, seen := ups[p.Federation]
		ups[p.Federation] = p.Up && (up || !seen)
	}
	return ups
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// build is the collector of groupsync_build_info.
type build struct{ Options }

// Describe implements prometheus.Collector.
func (b *build) Describe(ch chan<- *prometheus.Desc) { ch <- buildInfo.desc() }

// Collect implements prometheus.Collector.
func (b *build) Collect(ch chan<- prometheus.Metric) {
	ch <- buildInfo.gauge(1, b.Version, b.Revision, runtime.Version())
}
