package reconcile

import (
	"errors"
	"slices"
	"time"

	"groupsync/internal/journal"
	"groupsync/internal/plan"
	"groupsync/internal/report"
)

// ledger is the last change that groupsync made to each membership, by user group id and
// user id. An entry stands as long as ClearML shows what was written. It is kept for the
// metrics and decides nothing.
//
// The journal tells the changes of other processes, those that ended and those that run
// beside this one. It does not tell of a change that
// somebody else undid and that Keycloak did not want again at that time, because no pass
// had anything to write about it. If Keycloak wants the change again after a restart, it
// counts as undone.
type ledger map[string]map[string]entry

// entry is one change that groupsync made.
type entry struct {
	action string    // added or removed
	at     time.Time // start of the pass
}

// The actions of changes.
const (
	added   = "add"
	removed = "remove"
)

// undone are changes of groupsync that somebody else undid and that the plan wants again:
// the action, by user group id and user id.
type undone map[string]map[string]string

func (u undone) enter(group, user, action string) {
	if u[group] == nil {
		u[group] = make(map[string]string)
	}
	u[group][user] = action
}

// mark marks the changes in the report of the pass that found them undone, and counts them.
func (u undone) mark(r *report.Report) {
	for _, g := range r.Groups {
		for action, list := range map[string][]report.Change{added: g.Add, removed: g.Remove} {
			for i := range list {
				if u[g.ID][list[i].ID] == action {
					list[i].Reverted = true
					r.Reverted[action]++
				}
			}
		}
	}
}

// reverted returns the changes that somebody else has undone: the plan wants them again.
// What is no longer as it was written is struck, so that each counts once.
func (l ledger) reverted(p plan.Plan) undone {
	found := make(undone)
	planned := make(map[string]bool, len(p.Groups))
	for _, g := range p.Groups {
		id := g.Feed.Group.ID
		planned[id] = true
		entries := l[id]
		if len(entries) == 0 {
			continue
		}
		present, wanted := idSet(g.Feed.Group.MemberIDs()), make(map[string]string)
		for _, x := range g.Add {
			wanted[x.User.ID] = added
		}
		for _, x := range g.Remove {
			wanted[x.User.ID] = removed
		}
		for user, e := range entries {
			if present[user] == (e.action == added) {
				continue
			}
			if wanted[user] == e.action {
				found.enter(id, user, e.action)
			}
			delete(entries, user)
		}
	}
	for id := range l {
		if !planned[id] {
			delete(l, id)
		}
	}
	return found
}

// replay enters what a pass of another process found and did.
func (l ledger) replay(r report.Report) {
	for _, g := range r.Groups {
		for _, c := range slices.Concat(g.Add, g.Remove) {
			if c.Reverted && !l[g.ID][c.ID].at.After(r.Started) {
				delete(l[g.ID], c.ID) // it was counted then
			}
		}
	}
	l.enter(r)
}

// enter takes in the changes that were made. A change of a later pass stays: a report of
// another process can come late.
func (l ledger) enter(r report.Report) {
	for _, g := range r.Groups {
		l.changes(g.ID, entry{added, r.Started}, g.Add)
		l.changes(g.ID, entry{removed, r.Started}, g.Remove)
	}
}

func (l ledger) changes(group string, made entry, changes []report.Change) {
	for _, c := range changes {
		if c.Outcome != report.Done || l[group][c.ID].at.After(made.at) {
			continue
		}
		if l[group] == nil {
			l[group] = make(map[string]entry)
		}
		l[group][c.ID] = made
	}
}

// recall enters the changes of other processes into the ledger: those of the reports that
// came to the journal since the last recall. Each report is read once. One that cannot be
// believed is left out, and the log says so.
func (r *Reconciler) recall(p *pass) {
	if r.Journal == nil {
		return
	}
	passes, err := r.Journal.Passes()
	if err != nil {
		p.log.Warn("the journal is skipped", "error", err)
		return
	}
	there := make(map[string]bool, len(passes))
	for _, pass := range passes {
		if there[pass] = true; r.seen[pass] {
			continue
		}
		r.seen[pass] = true
		rep, err := r.Journal.Get(pass)
		switch {
		case errors.Is(err, journal.ErrNoReport): // another process removed it meanwhile
		case err != nil:
			p.log.Warn("a report in the journal is skipped", "error", err)
		default:
			r.ledger.replay(rep)
		}
	}
	for pass := range r.seen {
		if !there[pass] {
			delete(r.seen, pass)
		}
	}
}
