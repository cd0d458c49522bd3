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

// Snapshot reads the users and returns a snapshot of them and of the groups that UserGroups
// returned before. If somebody logs in between the two reads, the two views of a group can
// disagree (Snapshot.Disagreements).
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

// Groups returns the groups of UserGroups and, if Config.AdminRole is set, the role admin.
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

// maxPrepared is how often Group reads a group at most. It repeats the read until the token
// lasts for a write after the read.
const maxPrepared = 3

// Group reads one user group just before a write. After Group, SetMembers needs no other call.
// Therefore Group also probes the call of the write, and renews a token that would have to be
// renewed within the time of one attempt. found is false if there is no such group. An empty
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

// role returns the role admin as a group.
func (c *Client) role(ctx context.Context, _ string) (target.Group, bool, error) {
	users, err := c.users(ctx)
	if err != nil {
		return target.Group{}, false, err
	}
	return target.AdminRole(users), true, nil
}

// one reads a group by its id. If the record has no list of members, the group is taken from
// the list of all groups. If that list shows members, the result is an error: a write on the
// basis of the incomplete record would remove people.
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

// record asks the server for the group with the id asked, or for all groups if asked is empty.
// It returns the record of the group id, and false if the answer has no such record.
func (c *Client) record(ctx context.Context, asked, id string) (groupRecord, bool, error) {
	records, err := c.groups(ctx, asked)
	i := slices.IndexFunc(records, func(g groupRecord) bool { return g.ID == id })
	if err != nil || i < 0 {
		return groupRecord{}, false, err
	}
	return records[i], true, nil
}

// groups reads the records of all groups, or of the group with that id if id is not empty. An
// answer that is not of the documented shape is an error.
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
		case g.ID == "": // the name is optional when a group is made, so a group may have no name
			return nil, failf(fault.Shape, groupsCall, "the answer has a group without an id (name %q): groupsync does not know this version of ClearML", g.Name)
		case seen[g.ID]:
			return nil, failf(fault.Incomplete, groupsCall, "the group %q is listed twice, so another may be missing; run again", g.Name)
		case id != "" && g.ID != id:
			return nil, failf(fault.Shape, groupsCall, "the group %q is in the answer, and groupsync asked for another group: the server ignores the list of ids, so groupsync uses nothing of the answer", g.Name)
		}
		seen[g.ID] = true
	}
	if id == "" {
		return *data.Groups, everyField(*data.Groups)
	}
	return *data.Groups, nil
}

// everyField returns an error if no group at all has one of the fields that decisions need. A
// single group without a field is valid, because the server leaves out unset fields.
func everyField(groups []groupRecord) error {
	if len(groups) == 0 {
		return nil // NewSnapshot returns the error
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
