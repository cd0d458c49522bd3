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

// pairs holds pairings. A pairing says which Keycloak groups and roles feed which user groups.
// now is the pairing under the present rules. before is the one under the rules of the last
// accepted pass: a pass whose plan no guard withheld, or that a person approved.
type pairs struct {
	now    match.Pairing
	before *match.Pairing // nil: the last accepted pass had the same rules, or no pass was accepted yet
	none   bool           // the rules of the last accepted pass can no longer be applied: every removal counts as new
}

// pairer pairs the groups of both sides, under the present rules and under those to compare
// with.
type pairer func(catalog source.Catalog, groups []target.Group) (pairs, error)

// remembered returns the pairer of a pass. In its pairs, before is the pairing under the rules
// of the last accepted pass.
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
	if err != nil { // under those rules, a Keycloak group now feeds a built-in user group, which is not allowed
		return pairs{now: now, none: true}, nil
	}
	return pairs{now: now, before: &before}, nil
}

// selection returns the parts of the realm that the pairings need.
func (p pairs) selection() source.Selection {
	if p.before == nil {
		return match.Selection(p.now)
	}
	return match.Selection(p.now, *p.before)
}

// scoped returns the removals of the plan now that the rules before would not propose, by
// plan.Change.Key. It returns nil if the rules have not changed. A member list that hides a
// person would make it seem that the rules before wanted the removal. So the second look
// checks the removals under the rules before too.
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
