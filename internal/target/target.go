// Package target says what a directory with user groups is. A Snapshot of it
// can be had only whole, and tells which of its user groups look different from
// the two sides that show them. The package clearml reads and writes the real
// one; clearmltest stands in for it.
package target

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"groupsync/internal/fault"
)

// Admins is the name of the built-in group whose members are administrators;
// it is recognised by this name together with System, never by its id, which
// differs between sources (reference/clearml-api.md).
const Admins = "Admins"

// Everybody is the name of the built-in group of all users, service accounts included
// (reference/clearml-api.md). It is recognised by this name together with System.
const Everybody = "Users"

// AdminRoleID is the id of the group that stands for ClearML's role admin.
const AdminRoleID = "role:admin"

// The roles between which groupsync moves people. Every other role stays as it is.
const (
	RoleAdmin = "admin"
	RoleUser  = "user"
)

// Administrator reports whether a role may administer user groups: admin, root or system
// (reference/clearml-api.md).
func Administrator(role string) bool {
	return slices.Contains([]string{RoleAdmin, "root", "system"}, role)
}

// BuiltinNames are the names of the built-in groups.
var BuiltinNames = []string{Admins, Everybody, "Queue admins"}

// Builtin reports whether a name is that of a built-in group. Those are never
// written, whatever the server says of them, but for Admins if it is configured: the
// reference's sentence about `system` is ambiguous.
func Builtin(name string) bool { return slices.Contains(BuiltinNames, name) }

// Identity is who groupsync is, by its token.
type Identity struct {
	User string // the id
	Name string
	Role string
}

// User is an account of the directory.
type User struct {
	ID, Name, GivenName, FamilyName, Email, Role string

	// Providers holds, for each sign-in provider that the user has used, what may
	// be the user's id there, sorted; often there is none. Nil: the server tells
	// no providers of anybody.
	Providers map[string][]string
	// Groups are the ids of the user groups by the users' view (sec_groups).
	Groups         []string
	ServiceAccount bool
}

// Member is a user as a user group shows it.
type Member struct{ ID, Name, Email string }

// Group is a user group.
type Group struct {
	ID, Name, Description string
	Undescribed           bool // the server shows no description, not even an empty one
	System                bool // built in
	Assignable            bool // users can be assigned and removed
	Members               []Member

	// Role says that this is no user group of ClearML: its members are the users who
	// have that role, and to add or to remove a member is to set the user's role.
	// Plans, guards and writes treat a role like a user group. Only AdminRole makes
	// one.
	Role string
}

// AdminRole returns ClearML's role admin in the form of a user group.
func AdminRole(users []User) Group {
	g := Group{ID: AdminRoleID, Name: "role " + RoleAdmin, System: true, Assignable: true, Role: RoleAdmin}
	for _, u := range users {
		if u.Role == RoleAdmin {
			g.Members = append(g.Members, Member{ID: u.ID, Name: u.Name, Email: u.Email})
		}
	}
	return g
}

// MemberIDs returns the members' ids in the order of Members.
func (g Group) MemberIDs() []string {
	ids := make([]string, len(g.Members))
	for i, m := range g.Members {
		ids[i] = m.ID
	}
	return ids
}

// Parts are what a reader has read of the directory.
type Parts struct {
	Identity Identity
	Groups   []Group // every user group
	Users    []User  // every user, in two readings that agreed, and the service accounts

	// AdminRole asks for the role admin among the snapshot's groups.
	AdminRole bool
}

// Snapshot is one complete reading of the directory. It is immutable.
type Snapshot struct {
	identity Identity
	groups   []Group // sorted by name, then id; members sorted by id
	users    []User  // sorted by id
	byID     map[string]int
	disagree map[string]string
	oneView  bool
}

// NewSnapshot holds the parts against each other and returns the snapshot, or
// an error: no groups, no users, a user or a group listed twice (incomplete), or not one
// user with an email (shape: without emails nobody could be matched).
func NewSnapshot(p Parts) (*Snapshot, error) {
	s := &Snapshot{identity: p.Identity, groups: slices.Clone(p.Groups), users: slices.Clone(p.Users), byID: make(map[string]int, len(p.Users))}
	if len(s.users) == 0 {
		return nil, fault.New(fault.ClearML, fault.Incomplete, "ClearML lists no users: an emptied database answers so too, and nothing is synchronized from it")
	}
	if len(s.groups) == 0 {
		return nil, fault.New(fault.ClearML, fault.Incomplete, "ClearML lists no user groups, not even the built-in ones: nothing is synchronized")
	}
	slices.SortFunc(s.users, func(a, b User) int { return strings.Compare(a.ID, b.ID) })
	emails := false
	for i, u := range s.users {
		if _, twice := s.byID[u.ID]; twice {
			return nil, fault.New(fault.ClearML, fault.Incomplete, "ClearML lists the user %s twice, so another may be missing; run again", u.ID)
		}
		s.byID[u.ID] = i
		emails = emails || u.Email != ""
	}
	if !emails {
		return nil, fault.New(fault.ClearML, fault.Shape, "ClearML tells no user's email, so nobody can be matched: the credentials are not an admin's, or this server has no auth fields")
	}
	if p.AdminRole {
		s.groups = append(s.groups, AdminRole(s.users))
	}
	repeated, err := s.sortGroups()
	if err != nil {
		return nil, err
	}
	s.disagree, s.oneView = views(s)
	maps.Copy(s.disagree, repeated)
	return s, nil
}

// sortGroups sorts the groups and their members. It returns, by group id, which list of
// members repeats somebody: such a list may lack somebody else.
func (s *Snapshot) sortGroups() (repeated map[string]string, err error) {
	repeated = make(map[string]string)
	slices.SortFunc(s.groups, func(a, b Group) int {
		return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID)
	})
	seen := make(map[string]bool, len(s.groups))
	for i := range s.groups {
		g := &s.groups[i]
		if seen[g.ID] {
			return nil, fault.New(fault.ClearML, fault.Incomplete, "ClearML lists the user group %q twice, so another may be missing; run again", g.Name)
		}
		seen[g.ID] = true
		listed := len(g.Members)
		g.Members = sortMembers(g.Members)
		if n := listed - len(g.Members); n > 0 {
			repeated[g.ID] = fmt.Sprintf("%d members are listed twice, so others may be missing", n)
		}
	}
	return repeated, nil
}

// sortMembers returns a copy sorted by id, each member once.
func sortMembers(members []Member) []Member {
	sorted := slices.Clone(members)
	slices.SortFunc(sorted, func(a, b Member) int { return strings.Compare(a.ID, b.ID) })
	return slices.CompactFunc(sorted, func(a, b Member) bool { return a.ID == b.ID })
}

// claims are the users' own view of the groups: user ids by group id.
type claims map[string]map[string]bool

func (s *Snapshot) claims() claims {
	c := make(claims, len(s.groups))
	for _, u := range s.users {
		for _, g := range u.Groups {
			if c[g] == nil {
				c[g] = make(map[string]bool)
			}
			c[g][u.ID] = true
		}
	}
	return c
}

// bothKnow reports whether a member of a group is somebody whom both views
// can know: in the user list, and not a service account, which is listed
// without its groups.
func (s *Snapshot) bothKnow(member string) bool {
	i, known := s.byID[member]
	return known && !s.users[i].ServiceAccount
}

// oneViewOf reports whether the server leaves built-in groups out of the users'
// own view: no user claims a built-in group, although one has members.
func (s *Snapshot) oneViewOf(c claims) bool {
	members := false
	for _, g := range s.groups {
		if !g.System || g.Role != "" {
			continue
		}
		if len(c[g.ID]) > 0 {
			return false
		}
		members = members || slices.ContainsFunc(g.Members, func(m Member) bool { return s.bothKnow(m.ID) })
	}
	return members
}

// views holds the two views of each group against each other, on the ids that
// both can know: a member whom the user list lacks is no disagreement. Of the
// built-in groups only Admins is compared, and not if there is one view of it.
func views(s *Snapshot) (disagree map[string]string, oneView bool) {
	c := s.claims()
	oneView = s.oneViewOf(c)
	disagree = make(map[string]string)
	for _, g := range s.groups {
		if g.Role != "" || g.System && (g.Name != Admins || oneView) {
			continue
		}
		both, onlyGroup := 0, 0
		for _, m := range g.Members {
			switch {
			case c[g.ID][m.ID]:
				both++
			case s.bothKnow(m.ID):
				onlyGroup++
			}
		}
		if onlyUsers := len(c[g.ID]) - both; onlyGroup+onlyUsers > 0 {
			disagree[g.ID] = fmt.Sprintf("%d only in the group's list, %d only in the users' own, %d in both", onlyGroup, onlyUsers, both)
			if len(c) == 0 {
				disagree[g.ID] = "no user is shown with any group at all (sec_groups)"
			}
		}
	}
	return disagree, oneView
}

// Identity returns who groupsync is.
func (s *Snapshot) Identity() Identity { return s.identity }

// Groups returns every user group, and the roles that stand as groups, sorted by name
// and then id, each one's members by id. The caller must not change it.
func (s *Snapshot) Groups() []Group { return s.groups }

// Users returns every user, sorted by id. The caller must not change it.
func (s *Snapshot) Users() []User { return s.users }

// UserIndex returns the place in Users of the user with that id.
func (s *Snapshot) UserIndex(id string) (int, bool) {
	i, ok := s.byID[id]
	return i, ok
}

// Member reports whether the user group has that member; known is false if the
// directory has no such group.
func (s *Snapshot) Member(group, user string) (is, known bool) {
	for _, g := range s.groups {
		if g.ID == group {
			return slices.ContainsFunc(g.Members, func(m Member) bool { return m.ID == user }), true
		}
	}
	return false, false
}

// Disagreement says how the two views of a group differ; empty where they agree.
func (s *Snapshot) Disagreement(group string) string { return s.disagree[group] }

// OneView reports whether the server shows the members of built-in groups only
// in the group's own list: built-in groups have members, and no user's own list
// of groups (sec_groups) holds a built-in group. The Admins group is then
// written by that one view, so a member list that the server cut short would
// not be noticed. A report should say so.
func (s *Snapshot) OneView() bool { return s.oneView }

// Disagreements returns how many groups look different from the two sides.
func (s *Snapshot) Disagreements() int { return len(s.disagree) }

// Counts returns the number of user groups, users and memberships.
func (s *Snapshot) Counts() (groups, users, memberships int) {
	for _, g := range s.groups {
		if g.Role == "" {
			groups++
			memberships += len(g.Members)
		}
	}
	return groups, len(s.users), memberships
}
