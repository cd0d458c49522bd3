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

// pairs holds two pairings, which say which Keycloak groups and roles feed which user groups.
// In a pass, now is the pairing under the present rules. before is the pairing under the rules
// of the last accepted pass: a pass whose plan no guard withheld, or that a person approved.
// In Compare, the two fields have other meanings (see beside).
type pairs struct {
	now    match.Pairing
	before *match.Pairing // nil: the last accepted pass had the same rules, or no pass was accepted yet, or the field none is true
	none   bool           // the rules of the last accepted pass can no longer be applied, so every removal counts as one that they would not propose
}

// pairer makes the two pairings of pairs from the groups of both sides.
type pairer func(catalog source.Catalog, groups []target.Group) (pairs, error)

// remembered returns the pairer of a pass, which takes the rules of the last accepted pass
// from the memory.
func (r *Reconciler) remembered(mem memory.Memory) pairer {
	return func(catalog source.Catalog, groups []target.Group) (pairs, error) {
		return r.pair(catalog, groups, mem)
	}
}

// pair makes the pairing under the present rules and, for the guard `scope`, the pairing under
// the rules of the last accepted pass.
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
	if err != nil { // the groups.mapping of those rules names a user group that is now built in, which is not allowed
		return pairs{now: now, none: true}, nil
	}
	return pairs{now: now, before: &before}, nil
}

// selection returns the groups and roles of the realm that must be read for both pairings.
func (p pairs) selection() source.Selection {
	if p.before == nil {
		return match.Selection(p.now)
	}
	return match.Selection(p.now, *p.before)
}

// scoped returns the keys (plan.Change.Key) of some removals in now, the plan under the
// present rules: those that the rules of the last accepted pass would not propose. It returns
// nil if the rules have not changed. The second look also checks the removals under those
// earlier rules. Without this check, a member list that hides a person would make the earlier
// rules seem to propose a removal, and the guard `scope` would not withhold it.
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
		return nil, fmt.Errorf("confirming the removals that the rules of the last accepted pass propose: %w", err)
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
