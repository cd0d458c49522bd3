package reconcile

import (
	"errors"
	"slices"
	"time"

	"groupsync/internal/journal"
	"groupsync/internal/plan"
	"groupsync/internal/report"
)

// ledger is the last change that groupsync made to each membership, by user group id and user
// id. It shows which changes somebody else has undone. An entry stays while ClearML shows the
// membership as groupsync wrote it. The ledger is only for reports and metrics, and influences
// no decision about a change.
//
// The changes of other groupsync processes come from the journal. In one case a restart makes
// a difference: somebody undoes a change, and the plan does not propose that change again. A
// process that keeps running drops the entry and never counts the undoing. The journal gets no
// report of the undoing, because it gets only reports with a change (pass.needsJournal). So
// after a restart the entry comes back from the journal. If a later plan proposes the change,
// it then counts as undone.
type ledger map[string]map[string]entry

// entry is one change that groupsync made.
type entry struct {
	action string    // added or removed
	at     time.Time // start of the pass
}

// The values of entry.action.
const (
	added   = "add"
	removed = "remove"
)

// undone is the changes of groupsync that somebody else undid and that the plan proposes
// again. The value is the action, by user group id and user id.
type undone map[string]map[string]string

func (u undone) enter(group, user, action string) {
	if u[group] == nil {
		u[group] = make(map[string]string)
	}
	u[group][user] = action
}

// mark marks the undone changes in the report of the pass that found them, and counts them.
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

// reverted returns the changes that somebody else has undone and that the plan proposes again.
// It then removes each entry that ClearML contradicts, so that each change counts once. It
// also removes the entries of groups that the plan does not have.
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

// replay enters a report of another process into the ledger.
func (l ledger) replay(r report.Report) {
	for _, g := range r.Groups {
		for _, c := range slices.Concat(g.Add, g.Remove) {
			if c.Reverted && !l[g.ID][c.ID].at.After(r.Started) {
				delete(l[g.ID], c.ID) // the other process has counted the undone change, so this process must not count it too
			}
		}
	}
	l.enter(r)
}

// enter adds the changes that the report shows as made. Reports of other processes can come
// late, so enter does not replace a change of a later pass.
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

// recall enters the changes of other processes into the ledger, from the reports in the
// journal that it has not read before. If a report cannot be read, or was cut or edited,
// recall skips the report and logs a warning.
func (r *Reconciler) recall(p *pass) {
	if r.Journal == nil {
		return
	}
	passes, err := r.Journal.Passes()
	if err != nil {
		p.log.Warn("the journal cannot be read: groupsync_reverted_changes_total leaves out the changes of other processes", "error", err)
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
		case errors.Is(err, journal.ErrNoReport): // another process has removed the report in the meantime
		case err != nil:
			p.log.Warn("a report in the journal cannot be read: groupsync_reverted_changes_total leaves out its changes", "error", err)
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
