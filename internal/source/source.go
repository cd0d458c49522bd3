// Package source says what a snapshot of the identity provider is, and what
// evidence is. Both exist only whole. NewSnapshot builds a Snapshot from parts that
// add up. Weigh alone makes Evidence, from a second, independent look that asks the
// person's own side. The packages below read the parts: keycloak from a real
// server, realmfile from a realm's export.
package source

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"

	"groupsync/internal/fault"
)

// User is an account of the realm, as a brief representation tells it.
type User struct {
	ID, Username, Email, FirstName, LastName string

	Enabled        bool
	Federation     string // id of the user-storage component; empty for a local account
	ServiceAccount bool
}

var accountID = regexp.MustCompile(`^(f:[^:]+:.+|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$`)

// IsAccountID reports whether a text has the form of the ids that Keycloak gives to
// accounts: a UUID, or "f:{federation}:{id}". A realm that was imported may have others.
func IsAccountID(id string) bool { return accountID.MatchString(id) }

// FoldEmail returns the email in the form in which two emails are compared: ASCII
// letters in lower case, every other character as it is. Folding by Unicode's rules
// would make one address of two: the Kelvin sign (U+212A) is no k.
func FoldEmail(email string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, email)
}

// Selection is what a pass needs of the realm beside its catalog.
type Selection struct {
	Groups []string // ids of the groups whose members are needed
	Roles  []string // roles whose holders are needed, as configured
}

// RoleHolders are the accounts and groups that hold a role.
type RoleHolders struct {
	Name    string   // as configured
	Found   bool     // false: the realm has no such role, and the rest is empty
	Several bool     // the name can be read as several roles, and Found is false: "a/b/c" is the role b/c of a and the role c of a/b
	Partial bool     // holders through a client's composite role cannot be seen, since the reader may not see clients
	Near    []string // names of roles that nearly match, if Found is false
	Direct  []User   // holders of the role itself or of a composite that contains it
	Groups  []string // ids of the groups whose members hold it, descendants included
}

// Parts are what a reader of a realm has read, all of it in one pass.
type Parts struct {
	Catalog    Catalog
	Selection  Selection
	Members    map[string][]User       // by group id: the direct members, one whole read each
	Unreadable map[string]string       // by group id: why Keycloak cannot list the members, whoever asks
	Roles      map[string]*RoleHolders // by name, each of Selection.Roles
}

// Snapshot is one complete reading of what a pass needs of the realm. It cannot be
// built from a partial reading. It is immutable.
type Snapshot struct {
	catalog     Catalog
	users       []User // sorted by id
	byID        map[string]int
	members     map[string][]string
	repeated    map[string][]string // by group id: accounts that one answer listed twice
	unreadable  map[string]string
	roles       map[string]*RoleHolders
	holders     map[string][]string
	memberships int
	found       map[string]Found // by Person.Key
	probes      []Probe          // of the look-ups
}

// NewSnapshot holds the parts against each other and returns the snapshot. It
// returns an error of reason incomplete if a selected group (or one that gives a
// selected role) has neither members nor a reason why they cannot be listed.
//
// An account that is met twice in different states counts as disabled if either
// reading says so. An account that one whole answer lists twice is one member:
// Keycloak lists it so when the database and LDAP both hold the membership
// (reference/keycloak-own-view.md).
func NewSnapshot(p Parts) (*Snapshot, error) {
	s := &Snapshot{
		catalog: p.Catalog, unreadable: maps.Clone(p.Unreadable), roles: maps.Clone(p.Roles),
		byID: make(map[string]int), members: make(map[string][]string, len(p.Members)), repeated: make(map[string][]string), holders: make(map[string][]string, len(p.Roles)),
	}
	wanted := slices.Clone(p.Selection.Groups)
	for _, name := range p.Selection.Roles {
		role := p.Roles[name]
		if role == nil {
			return nil, fault.New(fault.Keycloak, fault.Incomplete, "the holders of the role %q were not read", name)
		}
		wanted = append(wanted, role.Groups...)
		for _, u := range role.Direct {
			if u.ID == "" {
				return nil, fault.New(fault.Keycloak, fault.Incomplete, "the holders of the role %q: an account without an id; run again", name)
			}
			s.add(u)
		}
	}
	for _, id := range wanted {
		_, read := p.Members[id]
		if _, unreadable := p.Unreadable[id]; !read && !unreadable {
			g, _ := p.Catalog.Group(id)
			return nil, fault.New(fault.Keycloak, fault.Incomplete, "the members of the group %s were not read; run again", cmp.Or(g.Path, id))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(p.Members)) {
		ids := make([]string, 0, len(p.Members[id]))
		for _, u := range p.Members[id] {
			if u.ID == "" {
				g, _ := p.Catalog.Group(id)
				return nil, fault.New(fault.Keycloak, fault.Incomplete, "the members of the group %s: an account without an id; run again", g.Path)
			}
			s.add(u)
			ids = append(ids, u.ID)
		}
		slices.Sort(ids)
		if twice := repeats(ids); len(twice) > 0 {
			s.repeated[id] = twice
		}
		s.members[id] = slices.Compact(ids)
		s.memberships += len(s.members[id])
	}
	s.sortUsers()
	for name, role := range s.roles {
		s.holders[name] = s.holdersOf(role)
	}
	return s, nil
}

// repeats returns those of the sorted ids that stand there more than once, each once.
func repeats(ids []string) []string {
	var twice []string
	for i := 1; i < len(ids); i++ {
		if ids[i] == ids[i-1] {
			twice = append(twice, ids[i])
		}
	}
	return slices.Compact(twice)
}

// add merges one reading of an account into the snapshot.
func (s *Snapshot) add(u User) {
	i, known := s.byID[u.ID]
	if !known {
		s.byID[u.ID] = len(s.users)
		s.users = append(s.users, u)
		return
	}
	at := &s.users[i]
	at.Enabled = at.Enabled && u.Enabled
	at.ServiceAccount = at.ServiceAccount || u.ServiceAccount
	at.Federation = cmp.Or(at.Federation, u.Federation)
}

func (s *Snapshot) sortUsers() {
	slices.SortFunc(s.users, func(a, b User) int { return strings.Compare(a.ID, b.ID) })
	for i, u := range s.users {
		s.byID[u.ID] = i
	}
}

func (s *Snapshot) holdersOf(role *RoleHolders) []string {
	var ids []string
	for _, u := range role.Direct {
		ids = append(ids, u.ID)
	}
	for _, g := range role.Groups {
		ids = append(ids, s.members[g]...)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Catalog returns the realm's groups and federations.
func (s *Snapshot) Catalog() Catalog { return s.catalog }

// Users returns every account that was met, in groups, as holder of a role or by a
// look-up, sorted by id. The caller must not change it.
func (s *Snapshot) Users() []User { return s.users }

// UserIndex returns the place in Users of the account with that id.
func (s *Snapshot) UserIndex(id string) (int, bool) {
	i, ok := s.byID[id]
	return i, ok
}

// Members returns the ids of a group's direct members, sorted, disabled ones and
// service accounts included; false if the group was not read.
func (s *Snapshot) Members(group string) ([]string, bool) {
	ids, ok := s.members[group]
	return ids, ok
}

// Repeated returns the ids of the accounts that Keycloak's one answer listed more than
// once as members of a group, sorted. The database and LDAP both hold such a membership.
func (s *Snapshot) Repeated(group string) []string { return s.repeated[group] }

// Unreadable returns why Keycloak cannot list the members of a group; empty if it
// can.
func (s *Snapshot) Unreadable(group string) string { return s.unreadable[group] }

// Role returns what is known of a selected role; nil if the role was not selected.
func (s *Snapshot) Role(name string) *RoleHolders { return s.roles[name] }

// HoldersOfRole returns the ids of all holders of a selected role, sorted.
func (s *Snapshot) HoldersOfRole(name string) []string { return s.holders[name] }

// Counts returns the number of groups of the realm, of accounts that were met, and
// of memberships that were read, disabled people included.
func (s *Snapshot) Counts() (groups, users, memberships int) {
	return len(s.catalog.groups), len(s.users), s.memberships
}
