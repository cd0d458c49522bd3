package guard

import (
	"maps"
	"slices"
	"time"

	"groupsync/internal/memory"
	"groupsync/internal/plan"
)

// Remember returns the memory after the plan was judged, and before anything of it is
// written. intended says that the cleared changes are about to be sent: they are
// remembered first, so that a crash in the middle does not start the window anew. scope
// is match.Rules.Scope of the rules that the plan was made under.
func (j Judged) Remember(in Input, scope string, intended bool) memory.Memory {
	next := in.Memory.Clone()
	next.FailedAt = time.Time{}
	for _, f := range in.Source.Catalog().Federations() {
		next.Federations[f.ID] = f.Name
	}
	for _, p := range in.Probes {
		if p.Up {
			next.Answered[p.Federation.ID] = true
		}
	}
	next.Wanted = j.wantedSince(in)
	for i, g := range j.Plan.Groups {
		// A fall is not accepted in silence. An approval that names removals of the group
		// accepts the fall. So does a pass that removes nobody and finds all federated
		// members, in a group with a new id for example.
		fell, removes := j.fallen[i], len(g.Remove) > 0
		if len(Withheld(g)) == 0 && (fell.how == "" || j.Granted && removes || fell.complete && !removes) {
			next.Groups[g.Feed.Group.ID] = accept(g, in)
		}
	}
	j.forget(next, in)
	if next.Rules == "" || j.acceptsRules(in) {
		next.Rules = scope
	}
	if intended {
		j.intend(&next, in)
	}
	old := func(i memory.Intent) bool { return i.At.Before(in.Now.Add(-in.Limits.Window)) }
	next.Removed, next.Granted, next.Added = slices.DeleteFunc(next.Removed, old), slices.DeleteFunc(next.Granted, old), slices.DeleteFunc(next.Added, old)
	next.Pending = make(map[string]time.Time, len(j.Plan.Pending))
	for _, u := range j.Plan.Pending {
		next.Pending[u.ID] = in.Now
		if since, known := in.Memory.Pending[u.ID]; known {
			next.Pending[u.ID] = since
		}
	}
	return next
}

// Of returns the judgement with what was let through of one user's changes only.
func (j Judged) Of(user string) Judged {
	j.Cleared = j.Cleared.Of(user)
	return j
}

// Intended returns the memory with the cleared changes that a limit counts, and with
// nothing else of the plan. It is for a pass of one person, whose plan tells of nobody
// else: what the memory holds of groups, of waiting removals and of pending people stays.
func (j Judged) Intended(mem memory.Memory, in Input) memory.Memory {
	next := mem.Clone()
	j.intend(&next, in)
	return next
}

// acceptsRules reports whether the rules of this pass become those of the last accepted
// pass. They do not while a group is frozen or a source is missing: nobody knows yet what
// the rules want there. Neither do they while a removal that only they want is not
// cleared: the next pass must still tell it from the others.
func (j Judged) acceptsRules(in Input) bool {
	if len(j.Plan.Missing) > 0 || slices.ContainsFunc(j.Plan.Groups, plan.Group.Frozen) {
		return false
	}
	for _, g := range j.Plan.Groups {
		for _, c := range g.Remove {
			if in.Scoped[c.Key()] && (c.Guard != "" || !c.Evidence.Valid()) {
				return false
			}
		}
	}
	return true
}

// intend remembers the cleared changes that a limit counts. A change that an approval
// names counts against no limit.
func (j Judged) intend(next *memory.Memory, in Input) {
	for _, w := range j.Cleared.writes {
		for _, c := range w.Remove {
			if (in.Limits.MaxRemovals > 0 || in.Early) && !j.Granted {
				next.Removed = append(next.Removed, memory.Intent{At: in.Now, Group: c.Group, User: c.User.ID})
			}
		}
		for _, c := range w.Add {
			if j.Granted && j.names(c) {
				continue
			}
			if w.Admins && in.Limits.MaxAdminGrants > 0 {
				next.Granted = append(next.Granted, memory.Intent{At: in.Now, Group: c.Group, User: c.User.ID})
			}
			if in.Limits.MaxAdditions > 0 {
				next.Added = append(next.Added, memory.Intent{At: in.Now, Group: c.Group, User: c.User.ID})
			}
		}
	}
}

// forget removes a federation from the memory when two things are true: the realm no
// longer has it, and no group's last accepted pass used it. Until then the guard fall
// still needs the entry. A group that ClearML does not list keeps its entry, since one
// short list must not take the guard's memory, but needs no federation.
func (j Judged) forget(next memory.Memory, in Input) {
	needed := make(map[string]bool)
	for _, f := range in.Source.Catalog().Federations() {
		needed[f.ID] = true
	}
	for _, g := range in.Target.Groups() {
		for _, id := range next.Groups[g.ID].Federations {
			needed[id] = true
		}
	}
	maps.DeleteFunc(next.Federations, func(id, _ string) bool { return !needed[id] })
	maps.DeleteFunc(next.Answered, func(id string, _ bool) bool { return !needed[id] })
}

// wantedSince keeps the clock of every removal that still has evidence. A removal that
// lost its evidence, because a probe was not up for example, loses its clock.
func (j Judged) wantedSince(in Input) map[string]time.Time {
	wanted := make(map[string]time.Time)
	for _, g := range j.Plan.Groups {
		for _, c := range g.Remove {
			if !c.Evidence.Valid() {
				continue
			}
			key := clock(c)
			wanted[key] = in.Now
			if since, known := in.Memory.Wanted[key]; known {
				wanted[key] = since
			}
		}
	}
	return wanted
}

// clock names the removal's entry in Memory.Wanted. A removal that comes to rest on an
// email alone begins to wait anew.
func clock(c plan.Change) string {
	key := memory.Key(c.Group, c.User.ID)
	if c.Evidence.ByEmail() {
		key += "/email"
	}
	return key
}

func accept(g plan.Group, in Input) memory.Accepted {
	a := memory.Accepted{Sources: make(map[string]string, len(g.Feed.Sources)), Federated: g.Federated}
	for _, s := range g.Feed.Sources {
		a.Sources[s.ID] = s.Path
	}
	for _, f := range in.Source.Catalog().Federations() {
		a.Federations = append(a.Federations, f.ID)
	}
	return a
}
