// Package source holds what a pass has read from Keycloak. A Snapshot is one complete reading of
// the realm. Evidence is the proof that one proposed change is right. A change without Evidence
// is not written.
//
// A Snapshot comes from member lists, which answer "who is in this group?". NewSnapshot returns
// an error if a needed list was not read.
//
// The second look reads the realm again, after the plan is made. It also asks the own side of
// the accounts: Keycloak's answer to "is this account in this group?". Weigh makes the
// Evidence from the second look. For a restore, Recorded makes the Evidence from the report
// of an earlier pass.
//
// Package source sends no requests. Package keycloak reads a real server, and package
// realmfile reads a realm's export.
package source

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"

	"groupsync/internal/fault"
)

// User is an account of the realm. All fields except ServiceAccount come from Keycloak's short
// form of an account (briefRepresentation=true).
type User struct {
	ID, Username, Email, FirstName, LastName string

	Enabled        bool
	Federation     string // id of the federation that the account comes from; empty: a local account
	ServiceAccount bool
}

var accountID = regexp.MustCompile(`^(f:[^:]+:.+|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$`)

// IsAccountID reports whether a text has the form of the ids that Keycloak gives to
// accounts: a UUID, or "f:{federation}:{id}". An imported realm may have ids of other forms.
func IsAccountID(id string) bool { return accountID.MatchString(id) }

// FoldEmail returns the email with its ASCII letters in lower case. Two emails are the same
// if FoldEmail returns the same text for both. Other characters stay unchanged, because
// Unicode's rules would make two different addresses equal. For example, they turn the Kelvin
// sign (U+212A) into k.
func FoldEmail(email string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, email)
}

// Selection says which groups' members and which roles' holders a pass must read.
type Selection struct {
	Groups []string // group ids
	Roles  []string // names of roles, as the configuration writes them
}

// RoleHolders are the accounts and groups that hold a role.
type RoleHolders struct {
	Name string // the role's name, as the configuration writes it

	// Found is false if the realm has no such role, or if Several is true. Then Direct and
	// Groups are empty.
	Found bool

	// Several says that the name matches several roles. Then Found is false. Example:
	// "a/b/c" is the role b/c of the client a and the role c of the client a/b.
	Several bool

	// Partial says that groupsync may not read the clients' roles. A client's role can be a
	// composite that contains this role. The holders of such a composite are then missing from
	// Direct and Groups.
	Partial bool

	Near   []string // names of roles that nearly match, if Found is false
	Direct []User   // accounts to which the role, or a composite that contains it, is assigned
	Groups []string // ids of the groups that give the role to their members: groups with the role, and all groups below them
}

// Parts are the results of all reads of one realm in one pass.
type Parts struct {
	Catalog    Catalog
	Selection  Selection
	Members    map[string][]User       // by group id: the direct members; each list comes from one complete answer
	Unreadable map[string]string       // by group id: why Keycloak cannot list the members; the cause is not a missing role of groupsync
	Roles      map[string]*RoleHolders // by name; an entry for each of Selection.Roles
}

// Snapshot is one complete reading of the groups, accounts and roles that a pass needs.
// NewSnapshot refuses an incomplete reading. A Snapshot never changes.
type Snapshot struct {
	catalog     Catalog
	users       []User // sorted by id
	byID        map[string]int
	members     map[string][]string
	repeated    map[string][]string // by group id: the accounts that one member list contains twice
	unreadable  map[string]string
	roles       map[string]*RoleHolders
	holders     map[string][]string
	memberships int
	found       map[string]Found // by Person.Key
	probes      []Probe          // made before and after the look-ups
}

// NewSnapshot returns the snapshot of the parts. It returns an error of reason incomplete if
// an account has no id, or if a selected role, a selected group or a group that gives a
// selected role was not read. A group was read if it has an entry in Parts.Members or in
// Parts.Unreadable.
//
// If the parts contain an account twice, and one reading says that the account is disabled, the
// account is disabled in the snapshot. If one member list contains an account twice, the account
// counts as one member. Keycloak lists an account twice if its database and LDAP both hold the
// membership (reference/keycloak-own-view.md).
func NewSnapshot(p Parts) (*Snapshot, error) {
	s := &Snapshot{
		catalog: p.Catalog, unreadable: maps.Clone(p.Unreadable), roles: maps.Clone(p.Roles),
		byID: make(map[string]int), members: make(map[string][]string, len(p.Members)), repeated: make(map[string][]string), holders: make(map[string][]string, len(p.Roles)),
	}
	wanted := slices.Clone(p.Selection.Groups)
	for _, name := range p.Selection.Roles {
		role := p.Roles[name]
		if role == nil {
			return nil, fault.New(fault.Keycloak, fault.Incomplete, "the holders of the role %q were not read, so nothing is synchronized: report this as a fault in groupsync", name)
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

// add adds one reading of an account. If the snapshot has the account already, add merges both
// readings: the account is disabled, federated or a service account if one of them says so.
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

// Users returns the accounts of the snapshot, sorted by id. The snapshot has an account if a
// group's member list had it, if the list of a role's holders had it, or if a look-up found
// it. The caller must not change the slice.
func (s *Snapshot) Users() []User { return s.users }

// UserIndex returns the index in Users of the account with that id.
func (s *Snapshot) UserIndex(id string) (int, bool) {
	i, ok := s.byID[id]
	return i, ok
}

// Members returns the ids of a group's direct members, sorted. They include disabled accounts
// and service accounts. The second result is false if the pass did not need the group, or if
// Keycloak cannot list its members (see Unreadable).
func (s *Snapshot) Members(group string) ([]string, bool) {
	ids, ok := s.members[group]
	return ids, ok
}

// Repeated returns the ids of the accounts that Keycloak listed more than once in the member
// list of the group, sorted. Keycloak lists an account twice if its database and LDAP both hold
// the membership.
func (s *Snapshot) Repeated(group string) []string { return s.repeated[group] }

// Unreadable returns why Keycloak cannot list the members of a group, or "" if it can.
func (s *Snapshot) Unreadable(group string) string { return s.unreadable[group] }

// Role returns the holders of a selected role, or nil if the role was not selected.
func (s *Snapshot) Role(name string) *RoleHolders { return s.roles[name] }

// HoldersOfRole returns the ids of all holders of a selected role, sorted: the direct holders,
// and the members of the groups that give the role.
func (s *Snapshot) HoldersOfRole(name string) []string { return s.holders[name] }

// Counts returns how many groups the realm has, and how many accounts and memberships were
// read. Disabled accounts count too.
func (s *Snapshot) Counts() (groups, users, memberships int) {
	return len(s.catalog.groups), len(s.users), s.memberships
}
