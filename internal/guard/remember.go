package guard

import (
	"maps"
	"slices"
	"time"

	"groupsync/internal/memory"
	"groupsync/internal/plan"
)

// Remember returns the memory for the next pass, before any change is written. If intended is
// true, the cleared changes are about to be written, and the memory includes them. So they
// count toward the limits of later passes even if the process crashes during the writes. scope
// is match.Rules.Scope of the rules of the plan.
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
		// A group that fell (see fall) keeps its old entry, so that the next pass finds the fall
		// again. Two things accept the fall. A person approves removals from the group. Or the
		// pass removes nobody from the group and finds all its federated members, for example
		// after its Keycloak group got a new id.
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

// Of returns j with only the cleared changes of one user. The plan and the trips stay as they
// are.
func (j Judged) Of(user string) Judged {
	j.Cleared = j.Cleared.Of(user)
	return j
}

// Intended returns mem with the cleared changes that count toward a limit added, and nothing
// else changed. It is for a pass of one person and for a restore. Their plans do not have
// everybody, so the entries for groups, waiting removals and pending people must stay.
func (j Judged) Intended(mem memory.Memory, in Input) memory.Memory {
	next := mem.Clone()
	j.intend(&next, in)
	return next
}

// acceptsRules reports whether the rules of this pass become those of the last accepted pass.
// They do not in two cases. If a group is frozen or a source is missing, the effect of the
// rules there is unknown. If a removal that only the new rules propose is not cleared, the
// next pass must find it again.
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

// intend adds the cleared changes that count toward a limit to the memory. Changes that an
// approval names count toward no limit.
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

// forget removes a federation from next, the memory, when two things are true: the realm no
// longer has the federation, and the realm did not have it at the last accepted pass of any
// group that ClearML lists now. Until then the guard `fall` needs the federation's entry. forget
// removes no entry of a group, even if ClearML does not list the group now. So one list that is
// too short does not erase what `fall` needs about a group.
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

// wantedSince returns the new Memory.Wanted: since when every pass has proposed each removal
// with evidence. A removal that lost its evidence, for example because a probe failed, loses
// its time too.
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

// clock returns the removal's key in Memory.Wanted. The key is another one if the evidence
// becomes an email alone, so the grace then starts again.
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
