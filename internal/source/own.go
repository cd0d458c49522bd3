package source

import (
	"slices"
	"strings"
)

// side says whether an account's own side has one of the groups in question: in, out, or unclear
// if Keycloak's answers do not decide.
type side int

const (
	unclear side = iota
	in
	out
)

// own returns whether the account's own side has one of the sources with this leaf name.
// Keycloak counts the account's groups whose names contain the name. If groups that are no
// sources have such names too, the count can include them. own then also uses the account's list
// of groups from Keycloak's user cache (reference/keycloak-own-view.md, "The rule that fits
// every row"). old reports that this list and the count differ. If s is unclear, a is the denial.
func (w *weigher) own(u User, name string, sources []Group) (s side, old bool, a Answer) {
	o, read := w.second.Own[OwnKey{u.ID, name}]
	if !read {
		return unclear, false, doubt(Unclear, "the account's own side was not read for the group %q%s", name, w.because(u))
	}
	counted := w.snap.Catalog().Containing(name)
	isSource := func(id string) bool { return slices.ContainsFunc(sources, func(g Group) bool { return g.ID == id }) }
	others, holds := 0, false
	for _, id := range o.Cached {
		if slices.Contains(counted, id) {
			others++
			holds = holds || isSource(id)
		}
	}
	old = o.Asked && others != o.Count
	switch {
	case !w.snap.Catalog().Tied(o, name, sources):
		if o.Count == 0 {
			return out, old, a
		}
		return in, old, a
	case !o.Asked:
		return unclear, false, doubt(Unclear, "Keycloak's count of the account's groups with %q in the name does not decide, because it can include other groups; the list of the account's groups was not read%s", name, w.because(u))
	case holds:
		return in, old, a
	case o.Count == others:
		return out, old, a
	}
	a = doubt(Unclear, "the names of other groups contain %q, and Keycloak's user cache is too old to tell which of them the account has; a periodic sync of changed users or clearing the user cache refreshes it", name)
	a.Stale = true
	return unclear, true, a
}

// Tied reports whether o.Count leaves open whether the account is in a source with the name. The
// account's list of groups in Keycloak's user cache must then be read too. A count of 0 decides.
// Any other count decides only if no group outside the sources has a name that contains the
// name. If the name contains a backslash, no count decides: a database may read the backslash as
// an escape character, and count groups with other names.
func (c Catalog) Tied(o Own, name string, sources []Group) bool {
	if strings.Contains(name, `\`) {
		return true
	}
	return o.Count > 0 && slices.ContainsFunc(c.Containing(name), func(id string) bool {
		return !slices.ContainsFunc(sources, func(g Group) bool { return g.ID == id })
	})
}

// leafNames returns the sources' leaf names, sorted, each once.
func leafNames(sources []Group) []string {
	names := make([]string, len(sources))
	for i, g := range sources {
		names[i] = g.Name
	}
	slices.Sort(names)
	return slices.Compact(names)
}
