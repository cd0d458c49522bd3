package clearml

import (
	"context"
	"slices"

	"groupsync/internal/fault"
	"groupsync/internal/target"
)

const groupsCall = "permissions.get_user_groups"

// groupRecord is a group in the form of permissions.get_user_groups. A nil pointer means that
// the field is absent or null.
type groupRecord struct {
	ID          string         `json:"id"`
	Name        string         `json:"name"`
	Description *string        `json:"description"`
	System      *bool          `json:"system"`
	Assignable  *bool          `json:"assignable"`
	Users       []memberRecord `json:"users"` // nil: absent or null
}

type memberRecord struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Email string `json:"email"`
}

// Snapshot reads the users, and returns a snapshot of the users and groups. The parameter groups
// is an earlier result of UserGroups. If somebody logs in between the read of the groups and the
// read of the users, the snapshot can contain groups whose two views of their members disagree
// (target.Snapshot.Disagreement).
func (c *Client) Snapshot(ctx context.Context, groups []target.Group) (*target.Snapshot, error) {
	users, err := c.users(ctx)
	if err != nil {
		return nil, err
	}
	t, err := c.current(ctx, 0)
	if err != nil {
		return nil, err
	}
	return target.NewSnapshot(target.Parts{Identity: t.identity, Groups: groups, Users: users, AdminRole: c.adminRole})
}

// Groups returns the groups that UserGroups reads. If Config.AdminRole is set, it adds the role
// admin in the form of a group.
func (c *Client) Groups(ctx context.Context) ([]target.Group, error) {
	groups, err := c.UserGroups(ctx)
	if err != nil || !c.adminRole {
		return groups, err
	}
	users, err := c.users(ctx)
	if err != nil {
		return nil, err
	}
	return append(groups, target.AdminRole(users)), nil
}

// UserGroups returns every user group, in the server's order. An answer that lists a group
// twice is an error of reason incomplete.
func (c *Client) UserGroups(ctx context.Context) ([]target.Group, error) {
	records, err := c.groups(ctx, "")
	if err != nil {
		return nil, err
	}
	groups := make([]target.Group, len(records))
	for i, r := range records {
		if groups[i], err = r.group(); err != nil {
			return nil, err
		}
	}
	return groups, nil
}

// maxPrepared is how often Group reads a group at most. Group repeats the read if, after the
// read, the token would not last for the write.
const maxPrepared = 3

// Group reads one user group, or the role admin, just before a write. It prepares everything that
// SetMembers needs: it asks whether the server has the call that writes (probe), and renews a token
// that is due for renewal within Config.Timeout. found is false if there is no such group. An empty
// id is an error, because the server would return all groups.
func (c *Client) Group(ctx context.Context, id string) (g target.Group, found bool, err error) {
	call, read := writeCall, c.one
	switch {
	case id == "":
		return g, false, failf(fault.Rejected, groupsCall, "the group id is empty, so no request was sent")
	case id == target.AdminRoleID:
		call, read = roleCall, c.role
	}
	if err := c.probe(ctx, call); err != nil {
		return g, false, err
	}
	for range maxPrepared {
		if _, err := c.current(ctx, c.timeout); err != nil {
			return g, false, err
		}
		if g, found, err = read(ctx, id); err != nil || !found || c.held().lasts(c.timeout) {
			break
		}
	}
	return g, found, err
}

// role reads the users and returns the role admin in the form of a group. It ignores its id: it has
// that parameter only because Group calls either role or the method one, with the same arguments.
func (c *Client) role(ctx context.Context, _ string) (target.Group, bool, error) {
	users, err := c.users(ctx)
	if err != nil {
		return target.Group{}, false, err
	}
	return target.AdminRole(users), true, nil
}

// one is a method: it reads a single group by its id. If the record has no list of members, the
// method reads all groups, and takes the group's record from that answer. If the second record has
// no members either, the group is empty. If it has members, the server hides the members of a group
// that is read by its id. This is an error, because a write based on the first record would remove
// people.
func (c *Client) one(ctx context.Context, id string) (target.Group, bool, error) {
	r, found, err := c.record(ctx, id, id)
	if err == nil && found && r.Users == nil {
		if r, found, err = c.record(ctx, "", id); err == nil && len(r.Users) > 0 {
			err = failf(fault.Shape, groupsCall, "the group %q has no list of members when it is read by its id: groupsync writes nothing from such an answer; groupsync does not know this version of ClearML", r.Name)
		}
	}
	if err != nil || !found {
		return target.Group{}, false, err
	}
	g, err := r.group()
	return g, err == nil, err
}

// record returns the record of the group whose id is the parameter id. The parameter asked says
// what to request from the server: if it is empty, all groups, and otherwise the group with that
// id. record returns false if the answer has no such record.
func (c *Client) record(ctx context.Context, asked, id string) (groupRecord, bool, error) {
	records, err := c.groups(ctx, asked)
	i := slices.IndexFunc(records, func(g groupRecord) bool { return g.ID == id })
	if err != nil || i < 0 {
		return groupRecord{}, false, err
	}
	return records[i], true, nil
}

// groups reads the records of all groups if id is empty, and otherwise of the group with that id.
// An answer that does not have the documented form is an error.
func (c *Client) groups(ctx context.Context, id string) ([]groupRecord, error) {
	body := map[string]any{"include_permissions": false}
	if id != "" {
		body["groups"] = []string{id}
	}
	var data struct {
		Groups *[]groupRecord `json:"groups"`
	}
	if err := c.read(ctx, request{call: groupsCall, body: body}, &data); err != nil {
		return nil, err
	}
	if data.Groups == nil {
		return nil, failf(fault.Shape, groupsCall, "the answer has no groups, not even an empty list: groupsync does not know this version of ClearML")
	}
	seen := make(map[string]bool, len(*data.Groups))
	for _, g := range *data.Groups {
		switch {
		case g.ID == "": // an empty name is no fault: ClearML can create a group without a name
			return nil, failf(fault.Shape, groupsCall, "the answer has a group without an id (name %q): groupsync does not know this version of ClearML", g.Name)
		case seen[g.ID]:
			return nil, failf(fault.Incomplete, groupsCall, "the group %q is listed twice, so another may be missing; run again", g.Name)
		case id != "" && g.ID != id:
			return nil, failf(fault.Shape, groupsCall, "the answer has the group %q, and groupsync asked only for another group, by its id. The server ignores the ids in a request, so groupsync uses nothing of the answer: check the server's version", g.Name)
		}
		seen[g.ID] = true
	}
	if id == "" {
		return *data.Groups, everyField(*data.Groups)
	}
	return *data.Groups, nil
}

// everyField checks that each field that groupsync needs is present in at least one group. It
// does not demand the field in every group, because the server leaves out unset fields.
func everyField(groups []groupRecord) error {
	if len(groups) == 0 {
		return nil // target.NewSnapshot returns an error for an empty list
	}
	for _, field := range []struct {
		name string
		has  func(groupRecord) bool
	}{
		{"system", func(g groupRecord) bool { return g.System != nil }},
		{"assignable", func(g groupRecord) bool { return g.Assignable != nil }},
		{"users", func(g groupRecord) bool { return g.Users != nil }},
	} {
		if !slices.ContainsFunc(groups, field.has) {
			return failf(fault.Shape, groupsCall, "no group of %d has the field %s, so groupsync synchronizes nothing from the answer; groupsync does not know this version of ClearML", len(groups), field.name)
		}
	}
	return nil
}

func (r groupRecord) group() (target.Group, error) {
	g := target.Group{ID: r.ID, Name: r.Name, Undescribed: r.Description == nil, Members: make([]target.Member, len(r.Users))}
	if r.Description != nil {
		g.Description = *r.Description
	}
	if r.System != nil {
		g.System = *r.System
	}
	if r.Assignable != nil {
		g.Assignable = *r.Assignable
	}
	for i, m := range r.Users {
		if m.ID == "" {
			return g, failf(fault.Shape, groupsCall, "a member of the group %q has no id: groupsync does not know this version of ClearML", r.Name)
		}
		g.Members[i] = target.Member(m)
	}
	return g, nil
}
