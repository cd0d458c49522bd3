// Package source defines a snapshot of the identity provider, and evidence. Both are always
// complete. NewSnapshot builds a Snapshot only from parts that add up. Weigh makes Evidence
// from a second, independent look, which asks the person's own side. Recorded makes the
// evidence of a restore from a report. The packages below read the parts: keycloak from a
// real server, realmfile from a realm's export.
package source

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"

	"groupsync/internal/fault"
)

// User is an account of the realm, with the fields of a brief representation.
type User struct {
	ID, Username, Email, FirstName, LastName string

	Enabled        bool
	Federation     string // id of the user-storage component; empty for a local account
	ServiceAccount bool
}

var accountID = regexp.MustCompile(`^(f:[^:]+:.+|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$`)

// IsAccountID reports whether a text has the form of the ids that Keycloak gives to
// accounts: a UUID, or "f:{federation}:{id}". An imported realm may have ids of other forms.
func IsAccountID(id string) bool { return accountID.MatchString(id) }

// FoldEmail returns the form of the email in which two emails are compared: ASCII letters in
// lower case, every other character unchanged. Unicode's rules would make two different
// addresses equal: they fold the Kelvin sign (U+212A) to k.
func FoldEmail(email string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, email)
}

// Selection names the groups and roles of the realm that a pass needs, beside the catalog.
type Selection struct {
	Groups []string // ids of the groups whose members are needed
	Roles  []string // roles whose holders are needed, as configured
}

// RoleHolders are the accounts and groups that hold a role.
type RoleHolders struct {
	Name string // as configured

	// Found is false if the realm has no such role, or if Several is true. Then Direct and
	// Groups are empty.
	Found bool

	// Several says that the name matches several roles. Then Found is false. Example:
	// "a/b/c" is the role b/c of the client a and the role c of the client a/b.
	Several bool

	// Partial says that the reader may not see clients, so holders through a client's
	// composite role can be missing.
	Partial bool

	Near   []string // names of roles that nearly match, if Found is false
	Direct []User   // holders of the role itself or of a composite that contains it
	Groups []string // ids of the groups whose members hold the role, descendants included
}

// Parts are the results of all reads of one realm in one pass.
type Parts struct {
	Catalog    Catalog
	Selection  Selection
	Members    map[string][]User       // by group id: the direct members, from one complete answer each
	Unreadable map[string]string       // by group id: why Keycloak cannot list the members for any reader
	Roles      map[string]*RoleHolders // by name; an entry for each of Selection.Roles
}

// Snapshot is one complete reading of the groups, accounts and roles that a pass needs. It
// cannot be built from a partial reading. It is immutable.
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

// NewSnapshot checks the parts against each other and returns the snapshot. It returns an
// error of reason incomplete if a selected role was not read, if an account has no id, or if
// a group was not read. The groups are the selected ones and those that give a selected
// role. A group was read if it has members, or a reason why they cannot be listed.
//
// If two readings of an account differ, the account is disabled if either reading says so.
// If one answer lists an account twice, the account is one member: Keycloak lists it twice
// when the database and LDAP both hold the membership (reference/keycloak-own-view.md).
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
				return nil, fault.New(fault.Keycloak, fault.Incomplete, "Keycloak listed an account without an id among the holders of the role %q; run again", name)
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
				return nil, fault.New(fault.Keycloak, fault.Incomplete, "Keycloak listed an account without an id among the members of the group %s; run again", g.Path)
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

// repeats returns the ids that occur more than once in the sorted list, each once.
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

// Users returns every account that was read in a group, as a holder of a role or by a
// look-up, sorted by id. The caller must not change the slice.
func (s *Snapshot) Users() []User { return s.users }

// UserIndex returns the index in Users of the account with that id.
func (s *Snapshot) UserIndex(id string) (int, bool) {
	i, ok := s.byID[id]
	return i, ok
}

// Members returns the ids of a group's direct members, sorted. They include disabled
// accounts and service accounts. The second result is false if the group was not read.
func (s *Snapshot) Members(group string) ([]string, bool) {
	ids, ok := s.members[group]
	return ids, ok
}

// Repeated returns the ids of the accounts that one answer of Keycloak listed more than once
// as members of a group, sorted. The database and LDAP both hold such a membership.
func (s *Snapshot) Repeated(group string) []string { return s.repeated[group] }

// Unreadable returns why Keycloak cannot list the members of a group, or "" if it can.
func (s *Snapshot) Unreadable(group string) string { return s.unreadable[group] }

// Role returns the holders of a selected role, or nil if the role was not selected.
func (s *Snapshot) Role(name string) *RoleHolders { return s.roles[name] }

// HoldersOfRole returns the ids of all holders of a selected role, sorted.
func (s *Snapshot) HoldersOfRole(name string) []string { return s.holders[name] }

// Counts returns how many groups the realm has, and how many accounts and memberships were
// read, disabled people included.
func (s *Snapshot) Counts() (groups, users, memberships int) {
	return len(s.catalog.groups), len(s.users), s.memberships
}
