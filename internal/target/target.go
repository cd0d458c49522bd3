// Package target holds what groupsync has read from ClearML: users, user groups and their
// members. A Snapshot is complete or does not exist. ClearML has two views of the members: each
// group has a list of its members, and each user has a list of the user's groups (sec_groups).
// A Snapshot reports the groups whose two views differ. The package clearml reads from and writes
// to a server. The package clearmltest simulates a server for tests.
package target

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"groupsync/internal/fault"
)

// Admins is the name of the built-in group whose members are administrators. groupsync recognizes
// the group by this name together with Group.System. It does not use the id of the group, because
// documents about ClearML disagree on the id (reference/clearml-api.md).
const Admins = "Admins"

// Everybody is the name of the built-in group of all users, service accounts included
// (reference/clearml-api.md). groupsync recognizes the group by this name together with
// Group.System.
const Everybody = "Users"

// AdminRoleID is the id of the Group that AdminRole makes from ClearML's role admin.
const AdminRoleID = "role:admin"

// The roles that groupsync gives to users. It gives no other role.
const (
	RoleAdmin = "admin"
	RoleUser  = "user"
)

// Administrator reports whether ClearML lets a user with this role read and write user groups:
// admin, root or system (reference/clearml-api.md). groupsync's own user needs one of them. Of
// these three roles, groupsync gives people only RoleAdmin.
func Administrator(role string) bool {
	return slices.Contains([]string{RoleAdmin, "root", "system"}, role)
}

// BuiltinNames are the names of the built-in groups.
var BuiltinNames = []string{Admins, Everybody, "Queue admins"}

// Builtin reports whether a name is in BuiltinNames. groupsync writes no group that has such a
// name, and no group that has Group.System. The name counts too, because ClearML's API reference
// is ambiguous about the field `system`. groupsync writes only one built-in group: Admins, if
// admins.groups or admins.role is set, and admins.via is group or both.
func Builtin(name string) bool { return slices.Contains(BuiltinNames, name) }

// Identity is groupsync's own user in ClearML, from the token that a login returned.
type Identity struct {
	User string // the id
	Name string
	Role string
}

// User is a ClearML user.
type User struct {
	ID, Name, GivenName, FamilyName, Email, Role string

	// Providers holds, by the name of each sign-in provider that the user has used, the values in
	// ClearML's record that can be the user's id at that provider, sorted. Often there is none.
	// groupsync matches the user to an account by these ids. If Providers is nil, the server
	// returned no providers for any user.
	Providers map[string][]string
	// Groups are the ids of the user's groups, from the user list (sec_groups).
	Groups         []string
	ServiceAccount bool
}

// Member is a member of a user group, from the member list of the group.
type Member struct{ ID, Name, Email string }

// Group is a user group.
type Group struct {
	ID, Name, Description string
	Undescribed           bool // the server returned no description, so Description is unknown
	System                bool // built in
	Assignable            bool // users can be assigned and removed
	Members               []Member

	// Role is empty for a user group. If it is not empty, the Group is this role of ClearML. Its
	// members are the users who have the role, and adding or removing a member sets that user's
	// role. So plans and guards treat a role like a user group. Only AdminRole sets this field.
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

// Parts are the inputs of NewSnapshot: what a client has read.
type Parts struct {
	Identity Identity
	Groups   []Group // every user group
	Users    []User  // every user, service accounts included

	// AdminRole adds the role admin to the snapshot's groups.
	AdminRole bool
}

// Snapshot is one complete reading of ClearML. It is immutable.
type Snapshot struct {
	identity Identity
	groups   []Group // sorted by name, then id; members sorted by id
	users    []User  // sorted by id
	byID     map[string]int
	disagree map[string]string
	oneView  bool
}

// NewSnapshot returns the snapshot of the parts, and compares the two views of each group. If
// there are no groups or no users, or if a user or a group is listed twice, a part of the answer
// may be missing. NewSnapshot then returns a *fault.Error with the reason fault.Incomplete. If no
// user has an email, groupsync can match nobody, and the reason is fault.Shape.
func NewSnapshot(p Parts) (*Snapshot, error) {
	s := &Snapshot{identity: p.Identity, groups: slices.Clone(p.Groups), users: slices.Clone(p.Users), byID: make(map[string]int, len(p.Users))}
	if len(s.users) == 0 {
		return nil, fault.New(fault.ClearML, fault.Incomplete, "ClearML returned no users, as an empty database does. Nothing was synchronized. Check ClearML's database")
	}
	if len(s.groups) == 0 {
		return nil, fault.New(fault.ClearML, fault.Incomplete, "ClearML returned no user groups, not even the built-in ones. Nothing was synchronized. Check ClearML's database")
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
		return nil, fault.New(fault.ClearML, fault.Shape, "ClearML returned no user's email, so groupsync can match nobody, and nothing was synchronized. Give groupsync the access key of a ClearML administrator. If it has one, this server does not return emails (include_auth of users.get_all): check the server's version")
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

// sortGroups sorts the groups and their members. If ClearML lists a member of a group twice, another
// member may be missing in the list. For each such group, repeated has a sentence that says this
// in the report. Its keys are the ids of the groups. If a group is listed twice, sortGroups returns
// an error.
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

// sortMembers returns a copy sorted by id, without duplicates.
func sortMembers(members []Member) []Member {
	sorted := slices.Clone(members)
	slices.SortFunc(sorted, func(a, b Member) int { return strings.Compare(a.ID, b.ID) })
	return slices.CompactFunc(sorted, func(a, b Member) bool { return a.ID == b.ID })
}

// claims are the members of each group according to the users' own lists of groups (sec_groups).
// The outer key is the id of a group, the inner key the id of a user.
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

// bothKnow reports whether a user can appear in both views of a group: in the group's list of
// members, and in the users' own lists of groups. The parameter member is the user's id. The user
// must be in the user list, and must be no service account, because ClearML lists service accounts
// without their groups.
func (s *Snapshot) bothKnow(member string) bool {
	i, known := s.byID[member]
	return known && !s.users[i].ServiceAccount
}

// oneViewOf reports whether the server leaves built-in groups out of the users' own lists of
// groups, which are c. The server does so if two things are true. No user's list has any built-in
// group. And at least one built-in group has a member who could be in both views (bothKnow).
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

// views compares the two views of the members. It returns, by group id, a text about each group
// whose views disagree. A member whom only the group's list can contain is no disagreement
// (bothKnow). oneView is true if the users' own lists leave out built-in groups (oneViewOf). Of
// the built-in groups, only Admins is compared, and only if oneView is false.
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
			disagree[g.ID] = fmt.Sprintf("%d members only in the group's list, %d only in the users' own lists, %d in both", onlyGroup, onlyUsers, both)
			if len(c) == 0 {
				disagree[g.ID] = "ClearML returned no groups for any user (sec_groups)"
			}
		}
	}
	return disagree, oneView
}

// Identity returns groupsync's own user.
func (s *Snapshot) Identity() Identity { return s.identity }

// Groups returns every user group, and the role admin if Parts.AdminRole was set. The groups
// are sorted by name and then id, their members by id. The caller must not change the slice.
func (s *Snapshot) Groups() []Group { return s.groups }

// Users returns every user, sorted by id. The caller must not change the slice.
func (s *Snapshot) Users() []User { return s.users }

// UserIndex returns the index in Users of the user with that id. It returns false if there is
// no such user.
func (s *Snapshot) UserIndex(id string) (int, bool) {
	i, ok := s.byID[id]
	return i, ok
}

// Member reports whether the user is a member of the user group. known is false if ClearML has
// no such group.
func (s *Snapshot) Member(group, user string) (is, known bool) {
	for _, g := range s.groups {
		if g.ID == group {
			return slices.ContainsFunc(g.Members, func(m Member) bool { return m.ID == user }), true
		}
	}
	return false, false
}

// Disagreement returns a text on how the two views of the group with that id differ. The text is
// empty if the views agree.
func (s *Snapshot) Disagreement(group string) string { return s.disagree[group] }

// OneView reports whether the server leaves built-in groups out of the users' own lists of groups
// (sec_groups). Then groupsync cannot compare two views of the group Admins, and does not notice
// if the server cuts the member list of Admins. Every report then has a remark about it.
func (s *Snapshot) OneView() bool { return s.oneView }

// Disagreements returns the number of groups whose two views differ.
func (s *Snapshot) Disagreements() int { return len(s.disagree) }

// Counts returns the number of user groups, of users, and of memberships in these groups. The role
// admin does not count as a user group.
func (s *Snapshot) Counts() (groups, users, memberships int) {
	for _, g := range s.groups {
		if g.Role == "" {
			groups++
			memberships += len(g.Members)
		}
	}
	return groups, len(s.users), memberships
}
