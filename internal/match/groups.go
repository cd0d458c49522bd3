// Package match pairs the two sides: which Keycloak group feeds which ClearML user group, and
// which account is which user. A Keycloak group feeds a user group if its members belong in
// the user group. The Keycloak group is then a source of the user group.
//
// For each group and each user without a match, the package returns a reason. The package is
// pure: it reads no clock and does no I/O.
//
// At each login, ClearML itself copies a person's groups from Keycloak. This package follows
// the same rules as that login (reference/clearml-keycloak-idp.md). If the rules differed,
// groupsync and ClearML would undo each other's changes.
package match

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gobwas/glob"

	"groupsync/internal/near"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// Options are the rules as they are configured.
type Options struct {
	FullPath         bool                // claim names are full paths
	CaseInsensitive  bool                // names that differ only in upper and lower case are equal
	Include, Exclude []string            // globs that claim names must match, or must not match; a * also matches a slash
	Mapping          map[string][]string // claim name to user group names; without an entry, the claim name is the user group's name
	AdminGroups      []string            // sources of administrators: claim names, or paths that begin with a slash
	AdminRole        string              // role whose holders become administrators; empty: none
	AdminVia         Via                 // what makes an administrator in ClearML
	Protect          []string            // globs; a person whose email or id matches one keeps every membership
	Exceptions       []Exception         // memberships that some people keep, usually until a given time
	Provider         string              // ClearML's name for the sign-in by Keycloak (clearml.provider)
	KeepGone         bool                // people who are gone from Keycloak keep their memberships
}

// Via says what makes a user an administrator in ClearML.
type Via string

// The values of Via. groupsync does not know whether ClearML gives the role to the members of
// the group, or the group to the holders of the role (reference/clearml-api.md).
const (
	ViaGroup Via = ""     // membership of the built-in group Admins
	ViaRole  Via = "role" // the role admin
	ViaBoth  Via = "both"
)

// Group reports whether a pass writes the members of Admins.
func (v Via) Group() bool { return v != ViaRole }

// Role reports whether a pass sets the role admin.
func (v Via) Role() bool { return v != ViaGroup }

// Rules are Options with compiled globs. Compile makes them.
type Rules struct {
	Options
	include, exclude, protect []*glob.Pattern
	exceptions                []exception
}

// Compile returns the rules. If a pattern is not a valid glob, it returns an error that quotes
// the pattern.
func Compile(o Options) (Rules, error) {
	r := Rules{Options: o}
	for _, part := range []struct {
		key   string
		globs []string
		into  *[]*glob.Pattern
	}{
		{"groups.include", r.keys(o.Include), &r.include},
		{"groups.exclude", r.keys(o.Exclude), &r.exclude},
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
	for _, e := range o.Exceptions {
		g, err := glob.Compile(strings.ToLower(e.Match))
		if err != nil {
			return Rules{}, fmt.Errorf("users.protect: %q is not a glob: %w", e.Match, err)
		}
		r.exceptions = append(r.exceptions, exception{e, g})
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

// Included reports whether the rules select a claim name: groups.include matches and
// groups.exclude does not.
func (r Rules) Included(claim string) bool {
	return anyMatch(r.include, r.Key(claim)) && !anyMatch(r.exclude, r.Key(claim))
}

// Key returns a group name in the form in which the rules compare names: in lower case, if
// names that differ only by case are equal.
func (r Rules) Key(name string) string {
	if r.CaseInsensitive {
		return strings.ToLower(name)
	}
	return name
}

// Same reports whether two group names are equal under the rules.
func (r Rules) Same(a, b string) bool { return r.Key(a) == r.Key(b) }

func (r Rules) keys(names []string) []string {
	keys := make([]string, len(names))
	for i, n := range names {
		keys[i] = r.Key(n)
	}
	return keys
}

// Claim returns the claim name of a group: the name under which ClearML's login receives the
// group. It is the leaf name, or the path with the leading slash if groups.full_path is set.
// The path is the one that Keycloak returns. It can differ from the joined names, because an
// option of the Keycloak server escapes a slash in a name.
func (r Rules) Claim(g source.Group) string {
	if r.FullPath {
		return g.Path
	}
	return g.Name
}

// Feed is one user group and its sources.
type Feed struct {
	Group      target.Group
	Sources    []source.Group // sorted by path, then id
	Role       string         // the admin role, if it is a source too; empty: it is not
	Admins     bool           // Group is the built-in group Admins, or stands for the role admin
	Missing    []Missing      // configured sources that do not exist; if there are any, the user group is frozen, so nothing in it changes
	Collisions []Collision    // names in admins.groups that several Keycloak groups have, in the order of admins.groups
}

// Collision is a name in admins.groups that several Keycloak groups have. Such a name makes
// nobody an administrator. If it did, anyone who can create a group anywhere in the realm
// could make administrators. Such a name does not remove an administrator either.
type Collision struct {
	Name   string         // as configured
	Groups []source.Group // without the groups that are the only group of another entry of admins.groups, because these make administrators; sorted by path, then id
}

// Colliding reports whether the Keycloak group with that id is a source of the feed only
// because of a Collision.
func (f Feed) Colliding(group string) bool {
	return slices.ContainsFunc(f.Collisions, func(c Collision) bool {
		return slices.ContainsFunc(c.Groups, func(g source.Group) bool { return g.ID == group })
	})
}

// Missing is something that the configuration names or needs and that does not exist.
type Missing struct {
	Kind    string   // "group" or "role"; "user group" for a group that ClearML does not have
	Name    string   // as configured
	Key     string   // the configuration key that has the name
	Near    []string // existing names that are similar
	Several bool     // the name fits roles of several clients, so it is unknown which role is meant
}

// Skip is a group of either side that groupsync does not synchronize, or a remark about a
// group or a person.
type Skip struct {
	Name, Side, Why string
}

// Values of Skip.Why for a group that groupsync does not synchronize. Any other value is a remark.
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

// Pairing says which Keycloak groups feed which user groups. Feeds are sorted by the name of
// the user group, with the administrators' feeds last. Skips are sorted too.
type Pairing struct {
	Feeds   []Feed
	Skips   []Skip
	Missing []Missing // missing groups that belong to no entry of Feeds, sorted by key and name
}

// Selection returns what a pass must read of the realm for the pairings: the groups and roles
// that are a source of a feed. Both lists are sorted and without duplicates.
func Selection(pairings ...Pairing) source.Selection {
	var sel source.Selection
	for _, p := range pairings {
		for _, f := range p.Feeds {
			for _, g := range f.Sources {
				sel.Groups = append(sel.Groups, g.ID)
			}
			if f.Role != "" {
				sel.Roles = append(sel.Roles, f.Role)
			}
		}
	}
	slices.Sort(sel.Groups)
	sel.Groups = slices.Compact(sel.Groups)
	slices.Sort(sel.Roles)
	sel.Roles = slices.Compact(sel.Roles)
	return sel
}

// BuiltinError is the error if groups.mapping maps a claim name to a built-in user group.
type BuiltinError struct{ Claim, Group string }

func (e *BuiltinError) Error() string {
	return fmt.Sprintf("groups.mapping: %q is mapped to ClearML's built-in group %q, and a mapping cannot write a built-in group. Map it to another user group", e.Claim, e.Group)
}

// Groups pairs the groups of both sides under the rules. The only possible error is a
// *BuiltinError.
func Groups(c source.Catalog, groups []target.Group, r Rules) (Pairing, error) {
	p := &pairer{
		rules: r, catalog: c, claims: make(map[string][]source.Group), names: make(map[string]string), mapping: make(map[string][]string),
		byName: make(map[string][]target.Group), feeds: make(map[string]*Feed), skips: make(map[Skip]bool),
		makesAdmins: make(map[string]bool),
	}
	for _, g := range c.Groups() {
		claim := r.Claim(g)
		p.claims[r.Key(claim)] = append(p.claims[r.Key(claim)], g)
		p.name(claim)
	}
	for _, claim := range slices.Sorted(maps.Keys(r.Mapping)) {
		p.mapping[r.Key(claim)] = append(p.mapping[r.Key(claim)], r.Mapping[claim]...)
		p.name(claim)
	}
	for _, g := range groups {
		if g.Role == "" {
			p.byName[r.Key(g.Name)] = append(p.byName[r.Key(g.Name)], g)
		}
	}
	for _, name := range r.AdminGroups {
		for _, g := range p.adminGroups(name) {
			p.makesAdmins[g.ID] = true
		}
	}
	if err := p.mirrored(); err != nil {
		return Pairing{}, err
	}
	p.admins(groups)
	p.unfed(groups)
	return p.result(), nil
}

// pairer makes one Pairing. The keys of claims, names, mapping and byName have the form that
// Rules.Key returns.
type pairer struct {
	rules   Rules
	catalog source.Catalog
	claims  map[string][]source.Group // by claim name; each list sorted by path and id
	names   map[string]string         // by claim name: its spelling in reports
	mapping map[string][]string
	byName  map[string][]target.Group
	feeds   map[string]*Feed // by user group id
	skips   map[Skip]bool
	lost    []Missing // see Pairing.Missing

	makesAdmins map[string]bool // ids of the groups that admins.groups names; these need no user group of their name
}

// name keeps the spelling of a claim name for reports. If the name occurs in several
// spellings, the first one counts.
func (p *pairer) name(claim string) {
	if _, known := p.names[p.rules.Key(claim)]; !known {
		p.names[p.rules.Key(claim)] = claim
	}
}

func (p *pairer) skip(name, side, why string) { p.skips[Skip{name, side, why}] = true }

// mirrored makes the feeds of all groups but the administrators'. A claim name feeds the user
// groups in groups.mapping, or else the user group of the same name.
func (p *pairer) mirrored() error {
	folded := make(map[string]string, len(p.byName))
	for _, key := range slices.Sorted(maps.Keys(p.byName)) {
		name := p.byName[key][0].Name
		folded[near.Fold(name)] = name
	}
	for _, key := range slices.Sorted(maps.Keys(p.names)) {
		claim := p.names[key]
		if !p.rules.Included(claim) {
			p.skip(claim, InKeycloak, Excluded)
			continue
		}
		targets, mapped := p.mapping[key]
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
			} else if near := folded[near.Fold(name)]; near != "" && p.rules.Key(near) != p.rules.Key(name) {
				p.skip(claim, InKeycloak, fmt.Sprintf("near miss: the wanted name feeds no user group, and ClearML has the similar name %q: if the two belong together and that group is not built in, make the names equal, or correct groups.mapping", near))
			}
		}
		if !fed && len(p.claims[key]) == 0 {
			p.lost = append(p.lost, p.missing(claim, "groups.mapping"))
		}
		if fed && len(p.claims[key]) > 1 {
			p.skip(claim, InKeycloak, "collision: "+paths(p.claims[key])+" have the same claim name, so their members are united")
		}
	}
	return nil
}

// feed returns the Feed of the user group with the given name. The caller makes the claim name a
// source of this feed. mapped is true if the name comes from groups.mapping. If groupsync must
// not write the user group, or there is not exactly one, feed returns nil and records the reason
// as a Skip. In one case it records no Skip: no such user group exists, the name is not mapped,
// and admins.groups names all groups with the claim name. Such groups need no user group of
// their own name. The error is a *BuiltinError: groups.mapping names a built-in user group.
func (p *pairer) feed(claim, name string, mapped bool) (*Feed, error) {
	groups := p.byName[p.rules.Key(name)]
	switch {
	case p.builtin(name), slices.ContainsFunc(groups, func(g target.Group) bool { return g.System }):
		if mapped {
			return nil, &BuiltinError{Claim: claim, Group: name}
		}
		p.skip(claim, InKeycloak, Builtin)
		return nil, nil
	case len(groups) == 0:
		if mapped {
			p.skip(claim+" → "+name, InKeycloak, NoTarget)
		} else if slices.ContainsFunc(p.claims[p.rules.Key(claim)], func(g source.Group) bool { return !p.makesAdmins[g.ID] }) {
			p.skip(claim, InKeycloak, NoTarget)
		}
		return nil, nil
	case len(groups) > 1:
		for _, g := range groups {
			p.skip(g.Name, InClearML, Duplicate)
		}
		return nil, nil
	case !groups[0].Assignable:
		p.skip(groups[0].Name, InClearML, NotAssignable)
		return nil, nil
	}
	return p.feedOf(groups[0]), nil
}

// builtin reports whether a name is that of a built-in group, under the rules that compare
// names.
func (p *pairer) builtin(name string) bool {
	return target.Builtin(name) || slices.ContainsFunc(target.BuiltinNames, func(b string) bool { return p.rules.Key(b) == p.rules.Key(name) })
}

func (p *pairer) feedOf(g target.Group) *Feed {
	if p.feeds[g.ID] == nil {
		p.feeds[g.ID] = &Feed{Group: g}
	}
	return p.feeds[g.ID]
}

func (p *pairer) connect(f *Feed, claim string) {
	sources := p.claims[p.rules.Key(claim)]
	if len(sources) == 0 {
		f.Missing = append(f.Missing, p.missing(claim, "groups.mapping"))
		return
	}
	f.Sources = append(f.Sources, sources...)
}

func (p *pairer) missing(claim, key string) Missing {
	names := make([]string, 0, len(p.claims))
	for k := range p.claims {
		names = append(names, p.names[k])
	}
	slices.Sort(names)
	return Missing{Kind: "group", Name: claim, Key: key, Near: near.Names(claim, names)}
}

// admins makes the feeds of the administrators: the built-in group, the user group that stands
// for the role admin, or both.
func (p *pairer) admins(groups []target.Group) {
	if len(p.rules.AdminGroups) == 0 && p.rules.AdminRole == "" {
		return
	}
	var missing []Missing
	var sources []source.Group
	var collisions []Collision
	alone := make(map[string]bool) // ids of the groups that some entry of admins.groups names without a second group
	for _, name := range p.rules.AdminGroups {
		named := p.adminGroups(name)
		switch len(named) {
		case 0:
			missing = append(missing, p.missing(name, "admins.groups"))
		case 1:
			alone[named[0].ID] = true
		default:
			collisions = append(collisions, Collision{Name: name, Groups: named})
		}
		sources = append(sources, named...)
	}
	for i := range collisions {
		collisions[i].Groups = slices.DeleteFunc(slices.Clone(collisions[i].Groups), func(g source.Group) bool { return alone[g.ID] })
	}
	collisions = slices.DeleteFunc(collisions, func(c Collision) bool { return len(c.Groups) == 0 })
	fed := false
	feed := func(g target.Group) {
		f := p.feedOf(g)
		f.Admins, f.Role, f.Missing, f.Collisions = true, p.rules.AdminRole, missing, collisions
		f.Sources = append(f.Sources, sources...)
		fed = true
	}
	if p.rules.AdminVia.Group() {
		if g, there := p.adminsGroup(); there {
			feed(g)
		} else {
			p.lost = append(p.lost, Missing{Kind: "user group", Name: target.Admins, Key: "admins"})
		}
	}
	if i := slices.IndexFunc(groups, func(g target.Group) bool { return g.ID == target.AdminRoleID }); i >= 0 && p.rules.AdminVia.Role() {
		feed(groups[i])
	}
	if !fed {
		p.lost = append(p.lost, missing...)
	}
}

// adminsGroup returns ClearML's built-in group of administrators. It returns false if groupsync
// cannot write that group. If several groups have the name, or ClearML does not let users be
// added and removed (not assignable), it also records a Skip. It records none if there is no
// group of that name, or if the group is not built in.
func (p *pairer) adminsGroup() (g target.Group, there bool) {
	groups := p.byName[p.rules.Key(target.Admins)]
	switch {
	case len(groups) > 1:
		p.skip(target.Admins, InClearML, Duplicate)
	case len(groups) == 1 && groups[0].System && !groups[0].Assignable:
		p.skip(target.Admins, InClearML, NotAssignable)
	case len(groups) == 1 && groups[0].System:
		return groups[0], true
	}
	return target.Group{}, false
}

// adminGroups returns the groups that an entry of admins.groups names. An entry that begins
// with a slash is a path, and any other entry is a claim name. If a group has exactly that
// path, adminGroups returns only the groups with that path. If no group has it, adminGroups
// compares paths under the rules, possibly without regard to case.
func (p *pairer) adminGroups(name string) []source.Group {
	if !strings.HasPrefix(name, "/") {
		return p.claims[p.rules.Key(name)]
	}
	var same, folded []source.Group
	for _, g := range p.catalog.Groups() {
		if g.Path == name {
			same = append(same, g)
		}
		if p.rules.Key(g.Path) == p.rules.Key(name) {
			folded = append(folded, g)
		}
	}
	if len(same) > 0 {
		return same
	}
	return folded
}

// unfed records a Skip for each user group that nothing feeds.
func (p *pairer) unfed(groups []target.Group) {
	for _, g := range groups {
		switch {
		case g.Role != "", p.feeds[g.ID] != nil, p.skips[Skip{g.Name, InClearML, Duplicate}], p.skips[Skip{g.Name, InClearML, NotAssignable}]:
		case g.System, p.builtin(g.Name):
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
				out.Skips = append(out.Skips, Skip{f.Sources[i].Path, InKeycloak, "two groups have this path, because a name contains a slash"})
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
