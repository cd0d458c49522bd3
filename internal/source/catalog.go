package source

import (
	"cmp"
	"slices"
	"strings"

	"groupsync/internal/fault"
)

// Group is one group of the realm, at any depth. Only the id identifies a group. A name may
// contain a slash, so two groups can have the same path.
type Group struct {
	ID     string
	Name   string // the leaf name
	Path   string // Keycloak's own path, with the leading slash
	Parent string // the parent's id; empty at the top
}

// Federation is a user-storage component of the realm (LDAP, for example).
type Federation struct {
	ID, Name string
	Enabled  bool
	Imports  bool // Keycloak copies the federation's accounts into its database
	Answered bool // the federation has answered a probe in this pass or an earlier one
	Vanished bool // the realm had the federation when the pass read the catalog, and no longer has it
}

// CatalogParts are the results of the first reads of a pass. The pass needs them to decide
// which groups' members it reads.
type CatalogParts struct {
	Groups          []Group // in any order; an empty Path is built from the names
	Counted         int     // how many groups Keycloak counts in the realm
	Federations     []Federation
	DuplicateEmails bool // the realm's setting duplicateEmailsAllowed
}

// Catalog is the complete list of a realm's groups, and of its federations. The zero Catalog
// is empty.
type Catalog struct {
	groups      []Group // sorted by path, then id
	byID        map[string]int
	federations []Federation // sorted by id
	duplicates  bool
}

// NewCatalog returns the catalog of the parts, or an error of reason incomplete. The list of
// groups must not be empty, and its length must be Counted. Every group must have an id of its
// own, and every parent must be in the list. NewCatalog checks this because Keycloak answers 200
// with a shorter list if groupsync lacks a role (reference/keycloak-api.md).
func NewCatalog(p CatalogParts) (Catalog, error) {
	if len(p.Groups) != p.Counted {
		return Catalog{}, fault.New(fault.Keycloak, fault.Incomplete,
			"Keycloak listed %d groups but counts %d: the list is not complete; check that the client's service account holds view-users, and run again if groups were being changed", len(p.Groups), p.Counted)
	}
	if len(p.Groups) == 0 {
		return Catalog{}, fault.New(fault.Keycloak, fault.Incomplete,
			"the realm has no groups: nothing is synchronized from an empty realm; check keycloak.realm")
	}
	c := Catalog{groups: slices.Clone(p.Groups), byID: make(map[string]int, len(p.Groups)), federations: slices.Clone(p.Federations), duplicates: p.DuplicateEmails}
	for i, g := range c.groups {
		if _, twice := c.byID[g.ID]; twice || g.ID == "" {
			return Catalog{}, fault.New(fault.Keycloak, fault.Incomplete,
				"Keycloak listed the group %q (id %q) twice, so another may be missing; run again", g.Name, g.ID)
		}
		c.byID[g.ID] = i
	}
	for i, g := range c.groups {
		path, err := c.pathByNames(i)
		if err != nil {
			return Catalog{}, err
		}
		c.groups[i].Path = cmp.Or(g.Path, path)
	}
	slices.SortFunc(c.groups, func(a, b Group) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.ID, b.ID))
	})
	for i, g := range c.groups {
		c.byID[g.ID] = i
	}
	slices.SortFunc(c.federations, func(a, b Federation) int { return strings.Compare(a.ID, b.ID) })
	return c, nil
}

// pathByNames builds the path of the group with index i from its name and the names of its
// parents. It returns an error if a parent is not in the list, or if the parents form a cycle.
func (c Catalog) pathByNames(i int) (string, error) {
	var path string
	for depth := 0; ; depth++ {
		g := c.groups[i]
		path = "/" + g.Name + path
		if g.Parent == "" {
			return path, nil
		}
		next, ok := c.byID[g.Parent]
		if !ok || depth > len(c.groups) {
			return "", fault.New(fault.Keycloak, fault.Incomplete,
				"the group %q has a parent that Keycloak did not list; run again", g.Name)
		}
		i = next
	}
}

// Groups returns every group, sorted by path and then id. The caller must not change the
// slice.
func (c Catalog) Groups() []Group { return c.groups }

// Group returns the group with that id.
func (c Catalog) Group(id string) (Group, bool) {
	i, ok := c.byID[id]
	if !ok {
		return Group{}, false
	}
	return c.groups[i], true
}

// groupsOf returns the groups with those ids. It leaves out an id that the catalog lacks.
func (c Catalog) groupsOf(ids []string) []Group {
	groups := make([]Group, 0, len(ids))
	for _, id := range ids {
		if g, is := c.Group(id); is {
			groups = append(groups, g)
		}
	}
	return groups
}

// Federations returns the user-storage components of the realm, sorted by id. The caller
// must not change the slice.
func (c Catalog) Federations() []Federation { return c.federations }

// Federation returns the federation with that id.
func (c Catalog) Federation(id string) (Federation, bool) {
	for _, f := range c.federations {
		if f.ID == id {
			return f, true
		}
	}
	return Federation{}, false
}

// DuplicateEmails reports whether two accounts of the realm may share an email. They may if
// the realm's setting allows it, or if a federation does not import its accounts: the
// realm's rules do not apply to accounts outside its database.
func (c Catalog) DuplicateEmails() bool {
	return c.duplicates || slices.ContainsFunc(c.federations, func(f Federation) bool { return !f.Imports })
}

// HidesEmails reports whether a federation may hide a second account with the same email. If a
// federation answers with too few people, Keycloak deletes the imported accounts of the people
// who are missing. If the realm also allows an email twice, a deleted account can have had the
// same email as an account that is found. So the result is true if the realm has a federation
// and allows an email twice. In such a realm groupsync never knows that an account is the only one
// with its email.
func (c Catalog) HidesEmails() bool { return c.duplicates && len(c.federations) > 0 }

// Containing returns the ids of the groups that Keycloak may count for
// `users/{id}/groups/count?search=NAME`. These are the groups whose leaf name contains NAME in
// upper or lower case. In NAME, `_` stands for any character and `%` for any text, as in SQL's
// LIKE (reference/keycloak-own-view.md).
func (c Catalog) Containing(name string) []string {
	var ids []string
	for _, g := range c.groups {
		if like(strings.ToLower(g.Name), strings.ToLower(name)) || strings.EqualFold(g.Name, name) {
			ids = append(ids, g.ID)
		}
	}
	return ids
}

// like reports whether a part of the text matches the pattern, as in SQL's LIKE.
func like(text, pattern string) bool {
	if !strings.ContainsAny(pattern, `_%`) {
		return strings.Contains(text, pattern)
	}
	// The loop matches the text with "%" + pattern + "%". star is the index in p of the last % that
	// was reached. mark is the index in the text where the comparison after this % began. After a
	// mismatch, the % takes one more character of the text: mark goes up by one, and the
	// comparison begins again at mark.
	t, p := []rune(text), append(append([]rune{'%'}, []rune(pattern)...), '%')
	at, star, mark := 0, -1, 0
	j := 0
	for at < len(t) {
		switch {
		case j < len(p) && p[j] == '%':
			star, mark = j, at
			j++
		case j < len(p) && (p[j] == '_' || p[j] == t[at]):
			at++
			j++
		case star >= 0:
			mark++
			at, j = mark, star+1
		default:
			return false
		}
	}
	for j < len(p) && p[j] == '%' {
		j++
	}
	return j == len(p)
}

// WithDescendants returns the given ids and the ids of all groups below these groups, sorted
// by path. In Keycloak, the groups below a group inherit its roles.
func (c Catalog) WithDescendants(ids []string) []string {
	in := make(map[string]bool, len(ids))
	for _, id := range ids {
		in[id] = true
	}
	var all []string
	for _, g := range c.groups {
		for at, ok := g, true; ok; at, ok = c.Group(at.Parent) {
			if in[at.ID] {
				all = append(all, g.ID)
				break
			}
		}
	}
	return all
}
