package match

import (
	"slices"
	"strings"

	"groupsync/internal/source"
)

// Unfed returns the reasons why the Keycloak group feeds no user group. They are values of
// Skip.Why, sorted, without duplicates. If the group feeds a user group, Unfed returns nil.
func (r Rules) Unfed(p Pairing, g source.Group) []string {
	feeds := func(f Feed) bool {
		return slices.ContainsFunc(f.Sources, func(s source.Group) bool { return s.ID == g.ID })
	}
	if slices.ContainsFunc(p.Feeds, feeds) {
		return nil
	}
	claim := r.Claim(g)
	targets := r.targets(claim)
	var why []string
	for _, s := range p.Skips {
		switch {
		case s.Side == InKeycloak && (r.Same(s.Name, claim) || strings.HasPrefix(r.Key(s.Name), r.Key(claim)+" → ")):
		case s.Side == InClearML && (s.Why == Duplicate || s.Why == NotAssignable) && slices.ContainsFunc(targets, func(t string) bool { return r.Same(t, s.Name) }):
		default:
			continue
		}
		why = append(why, s.Why)
	}
	slices.Sort(why)
	return slices.Compact(why)
}

// targets returns the names of the user groups that a claim name maps to: those in
// groups.mapping, or the claim name itself.
func (r Rules) targets(claim string) []string {
	var targets []string
	mapped := false
	for name, groups := range r.Mapping {
		if r.Same(name, claim) {
			mapped = true
			targets = append(targets, groups...)
		}
	}
	if !mapped {
		return []string{claim}
	}
	slices.Sort(targets)
	return slices.Compact(targets)
}
