package reconcile

import (
	"groupsync/internal/plan"
	"groupsync/internal/report"
)

// ledger is the last change that this process made to each membership, by user
// group id and user id. An entry stands as long as ClearML shows what was
// written. It is kept for the metrics and decides nothing.
type ledger map[string]map[string]string

// The actions of changes.
const (
	added   = "add"
	removed = "remove"
)

// reverted returns by action how many of the changes somebody else has undone:
// the plan wants them again. What is no longer as it was written is struck, so
// that each counts once.
func (l ledger) reverted(p plan.Plan) map[string]int {
	undone := map[string]int{}
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
		for user, action := range entries {
			if present[user] == (action == added) {
				continue
			}
			if wanted[user] == action {
				undone[action]++
			}
			delete(entries, user)
		}
	}
	for id := range l {
		if !planned[id] {
			delete(l, id)
		}
	}
	return undone
}

// enter takes in the changes that were made.
func (l ledger) enter(r report.Report) {
	for _, g := range r.Groups {
		l.changes(g.ID, added, g.Add)
		l.changes(g.ID, removed, g.Remove)
	}
}

func (l ledger) changes(group, action string, changes []report.Change) {
	for _, c := range changes {
		if c.Outcome != report.Done {
			continue
		}
		if l[group] == nil {
			l[group] = make(map[string]string)
		}
		l[group][c.ID] = action
	}
}
