// Package source says what a snapshot of the identity provider is, and what
// evidence is. Both can be had only whole: a Snapshot is built by NewSnapshot
// from parts that add up, Evidence only by Weigh from a second, independent
// look. The packages below it read the parts: keycloak from a real server,
// realmfile from a realm's export.
package source

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"groupsync/internal/fault"
)

// Group is one group of the realm, at whatever depth. Groups are told apart by
// id: a group named "a/b" has the same path as a group b in a.
type Group struct {
	ID     string
	Name   string
	Path   string // built by NewCatalog from names and parents, with the leading slash
	Parent string // the parent's id; empty at the top
}

// User is an account of the realm, as a brief representation tells it.
type User struct {
	ID, Username, Email, FirstName, LastName string

	Enabled        bool
	Federation     string // id of the user-storage component; empty for a local account
	ServiceAccount bool   // set by NewSnapshot
}

// Federation is a user-storage component of the realm (LDAP, for example).
type Federation struct {
	ID, Name string
	Enabled  bool
}

// Catalog is the complete, counted list of a realm's groups, sorted by path and
// then id. The zero Catalog is empty.
type Catalog struct {
	groups []Group
	byID   map[string]int
}

// NewCatalog builds the list from groups in any order, computing each one's
// path. counted is what the realm itself says its number is; a list of another
// length, a repeated id, or a parent that is not in the list is an error, since
// a list without an error is not a complete list (reference/keycloak-api.md).
func NewCatalog(groups []Group, counted int) (Catalog, error) {
	if len(groups) != counted {
		return Catalog{}, fault.New(fault.Keycloak, fault.Incomplete,
			"Keycloak listed %d groups but counts %d: the list is not complete; check that the client's service account holds view-users, and run again if groups were being changed", len(groups), counted)
	}
	if len(groups) == 0 {
		return Catalog{}, fault.New(fault.Keycloak, fault.Incomplete,
			"the realm has no groups: nothing is synchronized from an empty realm; check keycloak.realm")
	}
	c := Catalog{groups: slices.Clone(groups), byID: make(map[string]int, len(groups))}
	for i, g := range c.groups {
		if _, twice := c.byID[g.ID]; twice || g.ID == "" {
			return Catalog{}, fault.New(fault.Keycloak, fault.Incomplete,
				"Keycloak listed the group %q (id %q) twice, so another may be missing; run again", g.Name, g.ID)
		}
		c.byID[g.ID] = i
	}
	for i := range c.groups {
		path, err := c.path(i)
		if err != nil {
			return Catalog{}, err
		}
		c.groups[i].Path = path
	}
	slices.SortFunc(c.groups, func(a, b Group) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.ID, b.ID))
	})
	for i, g := range c.groups {
		c.byID[g.ID] = i
	}
	return c, nil
}

func (c Catalog) path(i int) (string, error) {
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

// Groups returns every group, sorted by path and then id. The caller must not
// change it.
func (c Catalog) Groups() []Group { return c.groups }

// Group returns the group with that id.
func (c Catalog) Group(id string) (Group, bool) {
	i, ok := c.byID[id]
	if !ok {
		return Group{}, false
	}
	return c.groups[i], true
}

// WithDescendants returns the ids and those of all groups below them, sorted
// by path: the groups whose members inherit a role that the given ones hold.
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

// Selection says what of a realm a pass needs beside its list of groups.
type Selection struct {
	Groups []string // ids of the groups whose members are read
	Role   string   // the admin role, "role" or "client/role"; empty: none
}

// RoleHolders tells who holds the admin role, whether directly, through a
// composite role or through a group.
type RoleHolders struct {
	Name   string   // as configured
	Found  bool     // false: the realm has no such role, and the rest is empty
	Near   []string // names of roles that nearly match, where Found is false
	Direct []User   // holders of the role itself or of a composite that contains it
	Groups []string // ids of the groups whose members hold it, descendants included
}

// Parts are what a reader of a realm has read, all of it in one pass.
type Parts struct {
	Catalog     Catalog
	Selection   Selection
	Users       []User            // the realm's own list, which lacks service accounts
	Members     map[string][]User // by group id: the direct members, one whole read each
	Role        *RoleHolders      // nil exactly where Selection.Role is empty
	Federations []Federation      // the user-storage components
}

// Snapshot is one complete reading of what a pass needs of the realm. There is
// none of a partial reading. It is immutable.
type Snapshot struct {
	catalog     Catalog
	users       []User // sorted by id
	byID        map[string]int
	members     map[string][]string
	role        *RoleHolders
	roleHolders []string
	federations []Federation
	listed      int
	memberships int
}

// NewSnapshot holds the parts against each other and returns the snapshot, or
// an error of reason incomplete: a selected group (or one that gives the admin
// role) without its members, a member listed twice, a realm without users.
//
// An account that is met twice in different states counts as disabled where
// either reading says so: it is not added anywhere, and a removal needs its
// evidence anyway. A member that the user list lacks and whose username starts
// with "service-account-" is a service account (reference/keycloak-api.md).
func NewSnapshot(p Parts) (*Snapshot, error) {
	if len(p.Users) == 0 {
		return nil, fault.New(fault.Keycloak, fault.Incomplete,
			"the realm has no users: nothing is synchronized from an empty realm; check keycloak.realm")
	}
	if (p.Selection.Role != "") != (p.Role != nil) {
		return nil, fault.New(fault.Keycloak, fault.Incomplete, "the holders of the role %q were not read", p.Selection.Role)
	}
	s := &Snapshot{
		catalog: p.Catalog, role: p.Role, federations: slices.Clone(p.Federations), listed: len(p.Users),
		byID: make(map[string]int, len(p.Users)), members: make(map[string][]string, len(p.Members)),
	}
	slices.SortFunc(s.federations, func(a, b Federation) int { return strings.Compare(a.ID, b.ID) })
	for _, u := range p.Users {
		if _, twice := s.byID[u.ID]; twice || u.ID == "" {
			return nil, fault.New(fault.Keycloak, fault.Incomplete,
				"Keycloak listed the user %q twice, so another may be missing; run again", u.Username)
		}
		s.add(u, true)
	}
	wanted := slices.Clone(p.Selection.Groups)
	if p.Role != nil {
		wanted = append(wanted, p.Role.Groups...)
		for _, u := range p.Role.Direct {
			s.add(u, false)
		}
	}
	for _, id := range wanted {
		if _, ok := p.Members[id]; !ok {
			g, _ := p.Catalog.Group(id)
			return nil, fault.New(fault.Keycloak, fault.Incomplete, "the members of the group %s were not read; run again", g.Path)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(p.Members)) {
		ids, err := s.addMembers(p.Members[id])
		if err != nil {
			g, _ := p.Catalog.Group(id)
			return nil, fault.New(fault.Keycloak, fault.Incomplete, "the members of the group %s: %w", g.Path, err)
		}
		s.members[id] = ids
		s.memberships += len(ids)
	}
	s.sortUsers()
	s.roleHolders = s.holders()
	return s, nil
}

// add merges one reading of an account into the snapshot.
func (s *Snapshot) add(u User, listed bool) {
	i, known := s.byID[u.ID]
	if !known {
		u.ServiceAccount = !listed && strings.HasPrefix(u.Username, "service-account-")
		s.byID[u.ID] = len(s.users)
		s.users = append(s.users, u)
		return
	}
	at := &s.users[i]
	at.Enabled = at.Enabled && u.Enabled
	at.Federation = cmp.Or(at.Federation, u.Federation)
}

func (s *Snapshot) addMembers(members []User) ([]string, error) {
	ids := make([]string, 0, len(members))
	for _, u := range members {
		s.add(u, false)
		ids = append(ids, u.ID)
	}
	slices.Sort(ids)
	if n := len(ids); n != len(slices.Compact(ids)) {
		return nil, fmt.Errorf("somebody is listed twice, so somebody else may be missing; run again")
	}
	return ids, nil
}

func (s *Snapshot) sortUsers() {
	slices.SortFunc(s.users, func(a, b User) int { return strings.Compare(a.ID, b.ID) })
	for i, u := range s.users {
		s.byID[u.ID] = i
	}
}

func (s *Snapshot) holders() []string {
	if s.role == nil {
		return nil
	}
	var ids []string
	for _, u := range s.role.Direct {
		ids = append(ids, u.ID)
	}
	for _, g := range s.role.Groups {
		ids = append(ids, s.members[g]...)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Catalog returns the realm's groups.
func (s *Snapshot) Catalog() Catalog { return s.catalog }

// Users returns every account that was met, sorted by id. The caller must not
// change it.
func (s *Snapshot) Users() []User { return s.users }

// UserIndex returns the place in Users of the account with that id.
func (s *Snapshot) UserIndex(id string) (int, bool) {
	i, ok := s.byID[id]
	return i, ok
}

// Members returns the ids of a group's direct members, sorted, disabled ones
// and service accounts included; false where that group was not read.
func (s *Snapshot) Members(group string) ([]string, bool) {
	ids, ok := s.members[group]
	return ids, ok
}

// Role returns what is known of the admin role; nil where none was asked for.
func (s *Snapshot) Role() *RoleHolders { return s.role }

// HoldersOfRole returns the ids of all holders of the admin role, sorted.
func (s *Snapshot) HoldersOfRole() []string { return s.roleHolders }

// Federations returns the user-storage components, sorted by id.
func (s *Snapshot) Federations() []Federation { return s.federations }

// Counts returns the number of groups of the realm, of users it lists, and of
// memberships that were read, disabled people included.
func (s *Snapshot) Counts() (groups, users, memberships int) {
	return len(s.catalog.groups), s.listed, s.memberships
}
