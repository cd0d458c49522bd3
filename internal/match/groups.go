// Package match pairs the two sides, purely: which Keycloak group is which
// ClearML user group, which person is which user, and a typed reason for each
// that is not. It agrees with ClearML's per-login sync
// (reference/clearml-keycloak-idp.md), or the two would fight.
package match

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/gobwas/glob"

	"groupsync/internal/source"
	"groupsync/internal/target"
)

// Options are the configured rules, as they are written down.
type Options struct {
	FullPath         bool                // claim names are full paths
	Include, Exclude []string            // globs over claim names; * crosses /
	Mapping          map[string][]string // claim name to user group names, in place of the identity
	AdminGroups      []string            // claim names of groups whose members are administrators
	AdminRole        string              // role whose holders are administrators; empty: none
	Protect          []string            // globs over emails and ids
	Provider         string              // ClearML's name of the sign-in provider
	KeepGone         bool                // people whom Keycloak has no more keep what they have
}

// Rules are compiled Options.
type Rules struct {
	Options
	include, exclude, protect []*glob.Pattern
}

// Compile returns the rules, or an error that quotes the glob that is none.
func Compile(o Options) (Rules, error) {
	r := Rules{Options: o}
	for _, part := range []struct {
		key   string
		globs []string
		into  *[]*glob.Pattern
	}{
		{"groups.include", o.Include, &r.include},
		{"groups.exclude", o.Exclude, &r.exclude},
		{"users.protect", lower(o.Protect), &r.protect},
	} {
		for _, pattern := range part.globs {
			g, err := glob.Compile(pattern)
			if err != nil {
				return Rules{}, fmt.Errorf("%s: %q is not a glob: %w", part.key, pattern, err)
			}
			*part.into = append(*part.into, g)
		}
	}
	return r, nil
}

func lower(in []string) []string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = strings.ToLower(s)
	}
	return out
}

func anyMatch(globs []*glob.Pattern, s string) bool {
	return slices.ContainsFunc(globs, func(g *glob.Pattern) bool { return g.Match(s) })
}

// Included reports whether a claim name is to be mirrored.
func (r Rules) Included(claim string) bool {
	return anyMatch(r.include, claim) && !anyMatch(r.exclude, claim)
}

// Claim returns the name of a group in the token's claim: its leaf name, or
// its full path with the leading slash.
func (r Rules) Claim(g source.Group) string {
	if r.FullPath {
		return g.Path
	}
	return g.Name
}

// Feed is one user group and everything that feeds it.
type Feed struct {
	Group   target.Group
	Sources []source.Group // sorted by path, then id
	Role    string         // the admin role, where it feeds the group too
	Admins  bool           // the built-in group of administrators
	Missing []Missing      // configured sources that do not exist: the group is frozen
}

// Missing is something that the configuration needs and that does not exist.
type Missing struct {
	Kind string   // "group" or "role"; "user group" for one that ClearML lacks
	Name string   // as configured
	Key  string   // the configuration key that names it
	Near []string // names that nearly match
}

// Skip is a group of either side that is left alone, or a remark about one or
// about a person.
type Skip struct {
	Name, Side, Why string
}

// Why a group is left alone. Other values of Skip.Why are remarks.
const (
	NoTarget      = "no_target"
	NoSource      = "no_source"
	Builtin       = "builtin"
	NotAssignable = "not_assignable"
	Duplicate     = "duplicate"
	Excluded      = "excluded"
)

// Sides of a Skip.
const (
	InKeycloak = "keycloak"
	InClearML  = "clearml"
)

// Pairing says which Keycloak groups feed which user groups. The administrators
// come last in Feeds, the others sorted by name; Skips are sorted too.
type Pairing struct {
	Feeds   []Feed
	Skips   []Skip
	Missing []Missing // what is missing and feeds nothing that there is, sorted by key and name
}

// Selection returns what of the realm the feeds need to be read: the members
// of every source, once each, sorted by id, and the admin role.
func (p Pairing) Selection() source.Selection {
	var sel source.Selection
	for _, f := range p.Feeds {
		for _, g := range f.Sources {
			sel.Groups = append(sel.Groups, g.ID)
		}
		sel.Role = cmp.Or(sel.Role, f.Role)
	}
	slices.Sort(sel.Groups)
	sel.Groups = slices.Compact(sel.Groups)
	return sel
}

// BuiltinError is a mapping onto a built-in user group.
type BuiltinError struct{ Claim, Group string }

func (e *BuiltinError) Error() string {
	return fmt.Sprintf("groups.mapping: %q is mapped to ClearML's built-in group %q, which is never written: map it to a group of your own", e.Claim, e.Group)
}

// Groups pairs the groups of both sides under the rules. The only error is a
// *BuiltinError.
func Groups(c source.Catalog, groups []target.Group, r Rules) (Pairing, error) {
	p := &pairer{rules: r, claims: make(map[string][]source.Group), byName: make(map[string][]target.Group), feeds: make(map[string]*Feed), skips: make(map[Skip]bool)}
	for _, g := range c.Groups() {
		claim := r.Claim(g)
		p.claims[claim] = append(p.claims[claim], g)
	}
	for _, g := range groups {
		p.byName[g.Name] = append(p.byName[g.Name], g)
	}
	if err := p.mirrored(); err != nil {
		return Pairing{}, err
	}
	p.admins()
	p.unfed(groups)
	return p.result(), nil
}

type pairer struct {
	rules  Rules
	claims map[string][]source.Group // by claim name, each sorted by path and id
	byName map[string][]target.Group
	feeds  map[string]*Feed // by user group id
	skips  map[Skip]bool
	lost   []Missing // what is missing and feeds nothing
}

func (p *pairer) skip(name, side, why string) { p.skips[Skip{name, side, why}] = true }

// mirrored pairs the claim names with the user groups that they name, directly
// or by mapping.
func (p *pairer) mirrored() error {
	folded := make(map[string]string, len(p.byName))
	for _, name := range slices.Sorted(maps.Keys(p.byName)) {
		folded[fold(name)] = name
	}
	names := slices.Collect(maps.Keys(p.claims))
	for claim := range p.rules.Mapping {
		if p.claims[claim] == nil {
			names = append(names, claim)
		}
	}
	slices.Sort(names)
	for _, claim := range names {
		targets, mapped := p.rules.Mapping[claim]
		if !p.rules.Included(claim) {
			p.skip(claim, InKeycloak, Excluded)
			continue
		}
		if !mapped {
			targets = []string{claim}
		}
		fed := false
		for _, name := range targets {
			f, err := p.feed(claim, name, mapped)
			if err != nil {
				return err
			}
			if f != nil {
				p.connect(f, claim)
				fed = true
			} else if near := folded[fold(name)]; near != "" && near != name {
				p.skip(claim, InKeycloak, fmt.Sprintf("near miss: ClearML has %q", near))
			}
		}
		if !fed && len(p.claims[claim]) == 0 {
			p.lost = append(p.lost, p.missing(claim, "groups.mapping"))
		}
		if fed && len(p.claims[claim]) > 1 {
			p.skip(claim, InKeycloak, "collision: one claim name of "+paths(p.claims[claim])+", their members are united")
		}
	}
	return nil
}

// feed returns the user group that a claim name feeds, or nil with a Skip.
func (p *pairer) feed(claim, name string, mapped bool) (*Feed, error) {
	groups := p.byName[name]
	switch {
	case target.Builtin(name), slices.ContainsFunc(groups, func(g target.Group) bool { return g.System }):
		if mapped {
			return nil, &BuiltinError{Claim: claim, Group: name}
		}
		p.skip(claim, InKeycloak, Builtin)
		return nil, nil
	case len(groups) == 0:
		if mapped {
			p.skip(claim+" → "+name, InKeycloak, NoTarget)
		} else if !slices.Contains(p.rules.AdminGroups, claim) {
			p.skip(claim, InKeycloak, NoTarget)
		}
		return nil, nil
	case len(groups) > 1:
		p.skip(name, InClearML, Duplicate)
		return nil, nil
	case !groups[0].Assignable:
		p.skip(name, InClearML, NotAssignable)
		return nil, nil
	}
	return p.feedOf(groups[0]), nil
}

func (p *pairer) feedOf(g target.Group) *Feed {
	if p.feeds[g.ID] == nil {
		p.feeds[g.ID] = &Feed{Group: g}
	}
	return p.feeds[g.ID]
}

func (p *pairer) connect(f *Feed, claim string) {
	sources := p.claims[claim]
	if len(sources) == 0 {
		f.Missing = append(f.Missing, p.missing(claim, "groups.mapping"))
		return
	}
	f.Sources = append(f.Sources, sources...)
}

func (p *pairer) missing(claim, key string) Missing {
	return Missing{Kind: "group", Name: claim, Key: key, Near: Near(claim, slices.Sorted(maps.Keys(p.claims)))}
}

// admins makes the feed of the built-in group of administrators.
func (p *pairer) admins() {
	if len(p.rules.AdminGroups) == 0 && p.rules.AdminRole == "" {
		return
	}
	var missing []Missing
	var sources []source.Group
	for _, claim := range p.rules.AdminGroups {
		if len(p.claims[claim]) == 0 {
			missing = append(missing, p.missing(claim, "admins.groups"))
		}
		sources = append(sources, p.claims[claim]...)
	}
	groups := p.byName[target.Admins]
	switch {
	case len(groups) > 1:
		p.skip(target.Admins, InClearML, Duplicate)
	case len(groups) == 1 && groups[0].System && !groups[0].Assignable:
		p.skip(target.Admins, InClearML, NotAssignable)
	case len(groups) == 1 && groups[0].System:
		f := p.feedOf(groups[0])
		f.Admins, f.Role, f.Missing = true, p.rules.AdminRole, missing
		f.Sources = append(f.Sources, sources...)
		return
	}
	p.lost = append(p.lost, missing...)
	p.lost = append(p.lost, Missing{Kind: "user group", Name: target.Admins, Key: "admins"})
}

// unfed skips the user groups that nothing feeds.
func (p *pairer) unfed(groups []target.Group) {
	for _, g := range groups {
		switch {
		case p.feeds[g.ID] != nil, p.skips[Skip{g.Name, InClearML, Duplicate}], p.skips[Skip{g.Name, InClearML, NotAssignable}]:
		case g.System, target.Builtin(g.Name):
			p.skip(g.Name, InClearML, Builtin)
		default:
			p.skip(cmp.Or(g.Name, g.ID), InClearML, NoSource)
		}
	}
}

func (p *pairer) result() Pairing {
	out := Pairing{Feeds: make([]Feed, 0, len(p.feeds)), Skips: slices.Collect(maps.Keys(p.skips)), Missing: p.lost}
	for _, f := range p.feeds {
		slices.SortFunc(f.Sources, func(a, b source.Group) int {
			return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.ID, b.ID))
		})
		f.Sources = slices.CompactFunc(f.Sources, func(a, b source.Group) bool { return a.ID == b.ID })
		for i := 1; i < len(f.Sources); i++ {
			if f.Sources[i].Path == f.Sources[i-1].Path {
				out.Skips = append(out.Skips, Skip{f.Sources[i].Path, InKeycloak, "two groups share this path: a name holds a slash"})
			}
		}
		out.Feeds = append(out.Feeds, *f)
	}
	slices.SortFunc(out.Feeds, func(a, b Feed) int {
		return cmp.Or(boolCompare(a.Admins, b.Admins), strings.Compare(a.Group.Name, b.Group.Name), strings.Compare(a.Group.ID, b.Group.ID))
	})
	slices.SortFunc(out.Skips, compareSkips)
	out.Skips = slices.Compact(out.Skips)
	slices.SortFunc(out.Missing, func(a, b Missing) int {
		return cmp.Or(strings.Compare(a.Key, b.Key), strings.Compare(a.Name, b.Name))
	})
	return out
}

func compareSkips(a, b Skip) int {
	return cmp.Or(strings.Compare(a.Side, b.Side), strings.Compare(a.Why, b.Why), strings.Compare(a.Name, b.Name))
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	default:
		return -1
	}
}

func paths(groups []source.Group) string {
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = g.Path
	}
	return strings.Join(names, ", ")
}

// fold is for near misses only: names compare byte for byte.
func fold(s string) string {
	return strings.NewReplacer(" ", "", "-", "", "_", "").Replace(strings.ToLower(s))
}

// Near returns up to three of the names that nearly match one: the same but
// for case, blanks, dashes and the path before it, or at most two letters off.
func Near(name string, names []string) []string {
	const most = 3
	leaf := fold(name[strings.LastIndex(name, "/")+1:])
	var near []string
	for _, n := range names {
		other := fold(n[strings.LastIndex(n, "/")+1:])
		if n == name || other != leaf && (len(leaf) < 4 || levenshtein.ComputeDistance(leaf, other) > 2) {
			continue
		}
		if near = append(near, n); len(near) == most {
			break
		}
	}
	return near
}
