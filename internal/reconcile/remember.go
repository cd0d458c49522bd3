package reconcile

import (
	"maps"
	"slices"
	"time"

	"groupsync/internal/match"
	"groupsync/internal/memory"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// lesson is what a pass has to remember. It is pure: nothing in it changes.
type lesson struct {
	judged Judged
	src    *source.Snapshot
	tgt    *target.Snapshot
	away   bool // a probe was not up
	now    time.Time
	window time.Duration
}

// remember returns the memory after the pass. written counts the removals that
// were written, or are about to be.
func (l lesson) remember(mem memory.Memory, written int) memory.Memory {
	j, src, now := l.judged, l.src, l.now
	next := mem.Clone()
	next.Planned, next.FailedAt = now, time.Time{}
	for _, f := range src.Federations() {
		next.Federations[f.ID] = f.Name
	}
	next.Wanted = j.wantedSince(mem, l.away, now)
	for _, g := range j.Groups {
		// No probe is made where no removal is wanted, so a fall is not accepted
		// in silence: it takes an approval, or the people being back.
		if !l.away && len(g.withheld()) == 0 && (g.Fallen == "" || j.lifted) {
			next.Groups[g.Plan.Feed.Group.ID] = accept(g.Plan, src)
		}
	}
	l.forget(next)
	if written > 0 && !j.lifted {
		next.Removed = append(next.Removed, memory.Removed{At: now, Count: written})
	}
	next.Removed = slices.DeleteFunc(next.Removed, func(r memory.Removed) bool { return r.At.Before(now.Add(-l.window)) })
	next.Pending = make(map[string]time.Time, len(j.pending))
	for _, u := range j.pending {
		next.Pending[u.ID] = now
		if since, known := mem.Pending[u.ID]; known {
			next.Pending[u.ID] = since
		}
	}
	return next
}

// forget drops the federations that the realm has no more and that no user
// group's last accepted pass still had: only then was their loss accepted
// everywhere. A group that ClearML does not list keeps its entry, since one
// short list must not take the guard's memory, but needs no federation.
func (l lesson) forget(next memory.Memory) {
	needed := make(map[string]bool)
	for _, f := range l.src.Federations() {
		needed[f.ID] = true
	}
	for _, g := range l.tgt.Groups() {
		for _, id := range next.Groups[g.ID].Federations {
			needed[id] = true
		}
	}
	maps.DeleteFunc(next.Federations, func(id, _ string) bool { return !needed[id] })
}

// wantedSince keeps the clock of what is still wanted; a probe that was not up
// resets every clock.
func (j Judged) wantedSince(mem memory.Memory, away bool, now time.Time) map[string]time.Time {
	wanted := make(map[string]time.Time)
	if away {
		return wanted
	}
	for _, g := range j.Groups {
		for i, c := range g.Plan.Remove {
			if !g.Evidence[i].Valid() {
				continue
			}
			key := memory.Key(g.Plan.Feed.Group.ID, c.User.ID)
			wanted[key] = now
			if since, known := mem.Wanted[key]; known {
				wanted[key] = since
			}
		}
	}
	return wanted
}

func accept(g GroupPlan, src *source.Snapshot) memory.Accepted {
	a := memory.Accepted{Sources: make(map[string]string, len(g.Feed.Sources)), Federated: g.Federated}
	for _, s := range g.Feed.Sources {
		a.Sources[s.ID] = s.Path
	}
	for _, f := range src.Federations() {
		a.Federations = append(a.Federations, f.ID)
	}
	return a
}

// pendingOldest returns how long the longest waiting of them has been pending.
func pendingOldest(mem memory.Memory, now time.Time) time.Duration {
	var oldest time.Duration
	for _, since := range mem.Pending {
		oldest = max(oldest, now.Sub(since))
	}
	return oldest
}

// stateCounts returns the census with the names that the report uses.
func stateCounts(users map[match.State]int) map[string]int {
	counts := make(map[string]int, len(report.UserStates))
	for _, s := range report.UserStates {
		counts[s] = users[match.State(s)]
	}
	return counts
}
