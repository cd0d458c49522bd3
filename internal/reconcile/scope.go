package reconcile

import (
	"context"
	"fmt"

	"groupsync/internal/match"
	"groupsync/internal/memory"
	"groupsync/internal/plan"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// pairs is the pairing under the present rules and, if the rules of the last accepted pass
// differ, the pairing under those.
type pairs struct {
	now    match.Pairing
	before *match.Pairing // nil: the last accepted pass had the same rules, or no pass was accepted yet
	none   bool           // the rules of the last accepted pass can no longer be applied: every removal counts as new
}

// pairer pairs the groups of both sides under two sets of rules.
type pairer func(catalog source.Catalog, groups []target.Group) (pairs, error)

// remembered returns the pairer of a pass. Its rules before are those of the last accepted
// pass.
func (r *Reconciler) remembered(mem memory.Memory) pairer {
	return func(catalog source.Catalog, groups []target.Group) (pairs, error) {
		return r.pair(catalog, groups, mem)
	}
}

// pair pairs the groups under the present rules and under those of the last accepted pass. The
// guard `scope` needs the second pairing.
func (r *Reconciler) pair(catalog source.Catalog, groups []target.Group, mem memory.Memory) (pairs, error) {
	now, err := match.Groups(catalog, groups, r.Rules)
	if err != nil || mem.Rules == "" || mem.Rules == r.Rules.Scope() {
		return pairs{now: now}, err
	}
	rules, err := r.Rules.WithScope(mem.Rules)
	if err != nil {
		return pairs{}, err
	}
	before, err := match.Groups(catalog, groups, rules)
	if err != nil { // that pairing now maps to a group that is built in
		return pairs{now: now, none: true}, nil
	}
	return pairs{now: now, before: &before}, nil
}

// selection returns which parts of the realm both pairings need.
func (p pairs) selection() source.Selection {
	if p.before == nil {
		return match.Selection(p.now)
	}
	return match.Selection(p.now, *p.before)
}

// scoped returns the removals of the plan that the rules before would not propose. If those
// rules have other sources, the second look checks their removals too. Otherwise a member list
// that hides a person would make it seem that the rules before wanted the removal.
func (r *Reconciler) scoped(ctx context.Context, p pairs, src *source.Snapshot, tgt *target.Snapshot, people match.People, now plan.Plan, known []source.Federation) (map[string]bool, error) {
	if p.before == nil && !p.none {
		return nil, nil
	}
	scoped := make(map[string]bool)
	for _, g := range now.Groups {
		for _, c := range g.Remove {
			scoped[c.Key()] = true
		}
	}
	if p.before == nil || len(scoped) == 0 {
		return scoped, nil
	}
	before := plan.Make(src, tgt, *p.before, people).Only(scoped)
	confirmation, err := r.source.Confirm(ctx, src, before.Questions(), known)
	if err != nil {
		return nil, fmt.Errorf("confirming what the rules of the last accepted pass want: %w", err)
	}
	if before, err = before.Weighed(confirmation); err != nil {
		return nil, err
	}
	for _, g := range before.Groups {
		for _, c := range g.Remove {
			if c.Evidence.Valid() {
				delete(scoped, c.Key())
			}
		}
	}
	return scoped, nil
}
