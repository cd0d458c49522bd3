package pairing

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"groupsync/internal/match"
	"groupsync/internal/near"
	"groupsync/internal/preflight"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// mostNamed is the largest number of findings about near misses (names that are nearly equal). It
// is also the largest number of warnings about collisions (names that several groups have). A
// collision of a name that makes administrators is an error: errors are always shown.
const mostNamed = 5

// cut returns the first mostNamed findings, and one finding with the number of the others. one and
// several are the noun for a finding. where is the advice of the last finding: where a person finds
// the complete list.
func cut(findings []preflight.Finding, one, several, where string) []preflight.Finding {
	if n := len(findings) - mostNamed; n > 0 {
		return append(findings[:mostNamed:mostNamed], preflight.Warn("not shown here: "+report.Counted(n, "more "+one, "more "+several), where))
	}
	return findings
}

// nearMisses finds Keycloak groups that feed nothing, perhaps because of a small difference in the
// name. There are two kinds. The name is nearly that of a ClearML group that nothing feeds. Or it
// differs from the name of a fed ClearML group only by letter case or separators.
func (p *pairing) nearMisses(context.Context) []preflight.Finding {
	pairing := p.view.Pairing
	var unfed []string
	fed := make(map[string]string) // names of fed ClearML groups, by the name without letter case and separators
	for _, f := range pairing.Feeds {
		fed[near.Fold(f.Group.Name)] = f.Group.Name
	}
	for _, s := range pairing.Skips {
		if s.Side == match.InClearML && s.Why == match.NoSource {
			unfed = append(unfed, s.Name)
		}
	}
	var findings []preflight.Finding
	for _, s := range pairing.Skips {
		if s.Side != match.InKeycloak || s.Why != match.NoTarget {
			continue
		}
		// If groups.mapping names a group that ClearML lacks, the skip has the form
		// "claim → name".
		claim, name, mapped := strings.Cut(s.Name, " → ")
		if !mapped {
			name = s.Name
		}
		alike := slices.DeleteFunc(near.Names(name, unfed), func(other string) bool { return otherPaths(name, other) })
		if f, there := fed[near.Fold(name)]; there && len(alike) == 0 {
			alike = []string{f}
		}
		if len(alike) == 0 {
			continue
		}
		seen, advice := fmt.Sprintf("the Keycloak group %q feeds nothing", s.Name), "if both mean the same group, give both the same name, or set groups.mapping"
		if mapped {
			seen, advice = fmt.Sprintf("groups.mapping gives %q the ClearML group %q, which does not exist", claim, name), "correct the name in groups.mapping"
		}
		findings = append(findings, preflight.Warn(seen+", and ClearML has "+list(alike)+". groupsync compares names exactly", advice))
	}
	if findings == nil {
		return preflight.Fine("every Keycloak group that feeds nothing has a name that clearly differs from the names of the ClearML groups")
	}
	return cut(findings, "near miss", "near misses", "groupsync --once --full lists the groups that feed nothing (no_target) and those that nothing feeds (no_source)")
}

// otherPaths reports whether two group paths have different parents. It returns false if a or b is
// a name without a parent.
func otherPaths(a, b string) bool {
	parent := func(path string) string { return strings.Trim(path[:strings.LastIndex(path, "/")+1], "/") }
	return parent(a) != "" && parent(b) != "" && near.Fold(parent(a)) != near.Fold(parent(b))
}

// collisions finds names that several Keycloak groups have, or several ClearML groups. For
// administrators the finding is an error, else a warning.
func (p *pairing) collisions(context.Context) []preflight.Finding {
	var failures, findings []preflight.Finding
	for _, f := range p.view.Pairing.Feeds {
		for _, c := range f.Collisions {
			failures = append(failures, preflight.Fail(
				fmt.Sprintf("several Keycloak groups have the name %s of admins.groups: %s. At a login ClearML treats the members of each of these groups as administrators. groupsync makes nobody an administrator by this name, and removes no administrator who is in one of these groups", strconv.Quote(c.Name), list(paths(c.Groups))),
				"rename the groups that are not meant. Until then write the path of the one that is meant into admins.groups, such as "+report.Name(c.Groups[0].Path)))
		}
		for _, groups := range p.shared(f) {
			findings = append(findings, preflight.Warn(
				fmt.Sprintf("the Keycloak groups %s have one name in the claim, %s. Everybody who is in one of them is in the ClearML group %s", list(paths(groups)), strconv.Quote(p.view.Rules.Claim(groups[0])), strconv.Quote(f.Group.Name)),
				"if only one of them is meant, rename the others. Anybody who may create a subgroup anywhere in Keycloak can create such a name"))
		}
	}
	for _, name := range p.duplicates() {
		seen := fmt.Sprintf("ClearML has several user groups with the name %s, so groupsync changes none of them", strconv.Quote(name))
		const todo = "rename all but one of them in ClearML"
		if p.view.Rules.Same(name, target.Admins) {
			failures = append(failures, preflight.Fail(seen+". Administrators are not synchronized", todo))
			continue
		}
		findings = append(findings, preflight.Warn(seen, todo))
	}
	if len(failures)+len(findings) == 0 {
		return preflight.Fine("no two Keycloak groups that feed a ClearML group have one name in the claim, and no two ClearML groups that they would feed have one name")
	}
	return append(failures, cut(findings, "collision of names", "collisions of names", "groupsync --once --full lists all of them")...)
}

// shared finds sources of a user group that have the same claim name. It returns one list of
// sources for each such name. It returns nothing if f is the feed of the administrators. For that
// feed, collisions reports the names of admins.groups that several groups have (f.Collisions).
func (p *pairing) shared(f match.Feed) (all [][]source.Group) {
	at := make(map[string]int)
	for _, g := range f.Sources {
		if f.Colliding(g.ID) || f.Admins {
			continue
		}
		claim := p.view.Rules.Key(p.view.Rules.Claim(g))
		i, met := at[claim]
		if !met {
			i = len(all)
			at[claim], all = i, append(all, nil)
		}
		all[i] = append(all[i], g)
	}
	return slices.DeleteFunc(all, func(groups []source.Group) bool { return len(groups) < 2 })
}

// duplicates returns the names that several ClearML groups have, if a Keycloak group would feed a
// ClearML group of that name.
func (p *pairing) duplicates() (names []string) {
	for _, s := range p.view.Pairing.Skips {
		if s.Why == match.Duplicate && !slices.ContainsFunc(names, func(n string) bool { return p.view.Rules.Same(n, s.Name) }) {
			names = append(names, s.Name)
		}
	}
	return names
}

func paths(groups []source.Group) []string {
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = g.Path
	}
	return names
}

func list(names []string) string {
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = strconv.Quote(n)
	}
	return preflight.Some(all)
}
