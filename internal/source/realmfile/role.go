package realmfile

import (
	"cmp"
	"slices"
	"strings"

	"groupsync/internal/near"
	"groupsync/internal/source"
)

// role identifies a role. client is empty for a realm role.
type role struct{ client, name string }

func (r role) String() string {
	if r.client == "" {
		return source.RealmRoleName(r.name)
	}
	return r.client + "/" + r.name
}

// roles holds every role of the realm and of its clients. The value lists the roles that a
// composite contains.
type roles map[role][]role

// newRoles returns the roles that the export defines, and the roles that composites contain.
func newRoles(all Roles) roles {
	rs := make(roles)
	add := func(client string, defined []Role) {
		for _, r := range defined {
			rs[role{client, r.Name}] = rs.take(r.Composites.Realm, r.Composites.Client)
		}
	}
	add("", all.Realm)
	for client, defined := range all.Client {
		add(client, defined)
	}
	return rs
}

// take returns the named roles, sorted. If the export mentions a role and does not define it,
// take adds the role to rs: Keycloak has the role built in, or creates the role at import.
func (rs roles) take(realm []string, byClient map[string][]string) []role {
	var named []role
	for _, name := range realm {
		named = append(named, role{"", name})
	}
	for client, names := range byClient {
		for _, name := range names {
			named = append(named, role{client, name})
		}
	}
	slices.SortFunc(named, role.compare)
	for _, r := range named {
		if _, ok := rs[r]; !ok {
			rs[r] = nil
		}
	}
	return named
}

func (r role) compare(other role) int {
	return cmp.Or(strings.Compare(r.client, other.client), strings.Compare(r.name, other.name))
}

// find returns the roles that a configured name can mean (source.RealmRole). Several roles
// can match, because the client id and the role name may both contain a slash.
func (rs roles) find(name string) []role {
	ofRealm, named := source.RealmRole(name)
	var found []role
	if r := (role{"", named}); ofRealm && rs.has(r) {
		found = append(found, r)
	}
	for i := range len(named) {
		if r := (role{named[:i], named[min(i+1, len(named)):]}); !ofRealm && named[i] == '/' && r.client != "" && rs.has(r) {
			found = append(found, r)
		}
	}
	return found
}

func (rs roles) has(r role) bool { _, ok := rs[r]; return ok }

// near returns the names of roles that nearly match (see near.Names).
func (rs roles) near(name string) []string {
	var names []string
	for r := range rs {
		names = append(names, r.String())
	}
	slices.Sort(names)
	return near.Names(name, names)
}

// containers returns the role and all roles that contain it, at any depth.
func (rs roles) containers(r role) map[role]bool {
	in := map[role]bool{r: true}
	for grown := true; grown; {
		grown = false
		for outer, parts := range rs {
			if !in[outer] && slices.ContainsFunc(parts, func(part role) bool { return in[part] }) {
				in[outer], grown = true, true
			}
		}
	}
	return in
}

// holders returns the holders of the role with that configured name. The result is the one that
// package keycloak reads from a server. Holders of a composite that contains the role count as
// direct holders. The groups below a group inherit its roles.
func (r *reading) holders(name string, catalog source.Catalog) *source.RoleHolders {
	found := r.roles.find(name)
	switch len(found) {
	case 0:
		return &source.RoleHolders{Name: name, Near: r.roles.near(name)}
	case 1:
	default:
		return &source.RoleHolders{Name: name, Several: true}
	}
	h := &source.RoleHolders{Name: name, Found: true}
	giving := r.roles.containers(found[0])
	gives := func(held role) bool { return giving[held] }
	for _, a := range r.accounts {
		if slices.ContainsFunc(a.roles, gives) {
			h.Direct = append(h.Direct, a.User)
		}
	}
	var groups []string
	for id, held := range r.groupRoles {
		if slices.ContainsFunc(held, gives) {
			groups = append(groups, id)
		}
	}
	h.Groups = catalog.WithDescendants(groups)
	return h
}

// effective reports whether the account holds the role directly, or through a group or a
// composite. effective searches from the account to the role. holders searches in the other
// direction.
func (r *reading) effective(a account, name string, catalog source.Catalog) bool {
	found := r.roles.find(name)
	if len(found) != 1 {
		return false
	}
	want := found[0]
	held := slices.Clone(a.roles)
	for _, id := range a.groups {
		for g, ok := catalog.Group(id); ok; g, ok = catalog.Group(g.Parent) {
			held = append(held, r.groupRoles[g.ID]...)
		}
	}
	seen := make(map[role]bool)
	for len(held) > 0 {
		at := held[0]
		held = held[1:]
		if at == want {
			return true
		}
		if !seen[at] {
			seen[at] = true
			held = append(held, r.roles[at]...)
		}
	}
	return false
}
