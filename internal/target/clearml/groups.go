package clearml

import (
	"context"
	"slices"

	"groupsync/internal/fault"
	"groupsync/internal/target"
)

const (
	groupsCall = "permissions.get_user_groups"
	writeCall  = "permissions.add_or_update_user_group"
)

// groupRecord is a group as permissions.get_user_groups shows it. Pointers
// tell what is absent.
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

// Read returns a complete snapshot: the groups' members first, then the users.
// Where the two views of any group disagree, which a login between the two
// reads brings about too, both are read once more and the second reading is
// returned; its Disagreements then stand.
func (c *Client) Read(ctx context.Context) (*target.Snapshot, error) {
	snap, err := c.read(ctx)
	if err != nil || snap.Disagreements() == 0 {
		return snap, err
	}
	return c.read(ctx)
}

func (c *Client) read(ctx context.Context) (*target.Snapshot, error) {
	groups, err := c.Groups(ctx)
	if err != nil {
		return nil, err
	}
	users, err := c.users(ctx)
	if err != nil {
		return nil, err
	}
	t, err := c.current(ctx)
	if err != nil {
		return nil, err
	}
	return target.NewSnapshot(target.Parts{Identity: t.identity, Groups: groups, Users: users})
}

// Groups returns those of the groups that exist, in the server's order; all of
// them where no id is given. An answer with a group that was not asked for, or
// with one twice, is an error.
func (c *Client) Groups(ctx context.Context, ids ...string) ([]target.Group, error) {
	if slices.Contains(ids, "") {
		return nil, failf(fault.Rejected, groupsCall, "an empty group id is not asked for")
	}
	records, err := c.groups(ctx, ids)
	if err != nil {
		return nil, err
	}
	if len(ids) > 0 && slices.ContainsFunc(records, func(g groupRecord) bool { return g.Users == nil }) {
		if err := c.memberless(ctx, records); err != nil {
			return nil, err
		}
	}
	groups := make([]target.Group, len(records))
	for i, r := range records {
		if groups[i], err = r.group(); err != nil {
			return nil, err
		}
	}
	return groups, nil
}

// groups reads records and refuses what is not of the documented shape.
func (c *Client) groups(ctx context.Context, ids []string) ([]groupRecord, error) {
	body := map[string]any{"include_permissions": false}
	if len(ids) > 0 {
		body["groups"] = ids
	}
	var data struct {
		Groups *[]groupRecord `json:"groups"`
	}
	if err := c.call(ctx, request{call: groupsCall, body: body}, &data); err != nil {
		return nil, err
	}
	if data.Groups == nil {
		return nil, failf(fault.Shape, groupsCall, "the answer has no groups, not even an empty list: this version of ClearML is not one that groupsync knows")
	}
	seen := make(map[string]bool, len(*data.Groups))
	for _, g := range *data.Groups {
		switch {
		case g.ID == "": // the name is optional where groups are made, so one may have none
			return nil, failf(fault.Shape, groupsCall, "a group without an id (name %q): this version of ClearML is not one that groupsync knows", g.Name)
		case seen[g.ID]:
			return nil, failf(fault.Incomplete, groupsCall, "the group %q is listed twice, so another may be missing; run again", g.Name)
		case len(ids) > 0 && !slices.Contains(ids, g.ID):
			return nil, failf(fault.Shape, groupsCall, "the group %q was not asked for: the server ignores the list of ids, so nothing is read from the answer", g.Name)
		}
		seen[g.ID] = true
	}
	if len(ids) == 0 {
		return *data.Groups, everyField(*data.Groups)
	}
	return *data.Groups, nil
}

// everyField refuses a list in which no group at all has a field that the
// decisions rest on; one group without it merely has it unset.
func everyField(groups []groupRecord) error {
	if len(groups) == 0 {
		return nil // the snapshot refuses it
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
			return failf(fault.Shape, groupsCall, "no group of %d has the field %s: an answer of another shape, from which nothing is synchronized; this version of ClearML is not one that groupsync knows", len(groups), field.name)
		}
	}
	return nil
}

// memberless holds groups that came without a list of members against the list
// of all groups: absent means empty only where it does so there too. A write
// that replaces the members of a group half read would throw people out.
func (c *Client) memberless(ctx context.Context, records []groupRecord) error {
	all, err := c.groups(ctx, nil)
	if err != nil {
		return err
	}
	for _, r := range records {
		i := slices.IndexFunc(all, func(g groupRecord) bool { return g.ID == r.ID })
		if r.Users == nil && i >= 0 && len(all[i].Users) > 0 {
			return failf(fault.Shape, groupsCall, "the group %q comes without its members when it is asked for by its id: nothing is written from such an answer; this version of ClearML is not one that groupsync knows", r.Name)
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
			return g, failf(fault.Shape, groupsCall, "a member of the group %q has no id: this version of ClearML is not one that groupsync knows", r.Name)
		}
		g.Members[i] = target.Member(m)
	}
	return g, nil
}

// SetMembers replaces the members of a group that was just read by exactly
// these users; none is a legitimate number. Name and description go along as
// they were read; a description that is not shown is not sent. Never
// written: a group without an id, since that would create one, and built-in or
// unassignable ones but Admins. An error for which target.Uncertain holds
// leaves open whether it was done; so does a 200 that names another group.
func (c *Client) SetMembers(ctx context.Context, g target.Group, users []string) error {
	switch {
	case g.ID == "" || g.Name == "":
		return failf(fault.Rejected, writeCall, "a group without an id or a name is not written, since that would create one")
	case !g.Assignable, g.Name != target.Admins && (g.System || target.Builtin(g.Name)):
		return failf(fault.Rejected, writeCall, "the group %q is built in or not assignable, and never written", g.Name)
	case slices.Contains(users, ""):
		return failf(fault.Rejected, writeCall, "an empty user id is not written into the group %q", g.Name)
	}
	var data struct {
		ID string `json:"id"`
	}
	body := map[string]any{"id": g.ID, "name": g.Name, "users": append([]string{}, users...)}
	if !g.Undescribed {
		body["description"] = g.Description
	}
	err := c.call(ctx, request{call: writeCall, write: true, body: body}, &data)
	if err != nil {
		return err
	}
	if data.ID != "" && data.ID != g.ID { // where it names none, the read-back tells
		return &target.UncertainError{Err: failf(fault.Rejected, writeCall, "the answer to the write of %q (%s) names the group %q: look in ClearML for a group that was created or changed beside it", g.Name, g.ID, data.ID)}
	}
	return nil
}
