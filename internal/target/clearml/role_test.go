package clearml

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"groupsync/internal/fault"
	"groupsync/internal/target"
	"groupsync/internal/target/clearmltest"
)

// roles starts a stand-in on which ann and the client's own account have the role admin,
// and a client that manages the role.
func roles(t *testing.T) (*clearmltest.Server, *Client) {
	t.Helper()
	s := clearmltest.New(t, clearmltest.Options{RolesApart: true})
	for _, u := range []string{"ann admin", "bob user", "cid user", "dan consumer"} {
		id, role, _ := strings.Cut(u, " ")
		s.AddUser(clearmltest.User{ID: id, Name: id, Email: id + "@x", Role: role})
	}
	return s, configured(t, Config{URL: s.URL, Keys: keys("access", "secret"), Timeout: 5 * time.Second, RetryWait: time.Millisecond, AdminRole: true})
}

// admin reads the role in the way that a write needs.
func admin(t *testing.T, c *Client) target.Group {
	t.Helper()
	g, found, err := c.Group(t.Context(), target.AdminRoleID)
	if err != nil || !found {
		t.Fatalf("reading the role: found %v, %v", found, err)
	}
	return g
}

func TestTheRoleAdminIsReadAsAGroup(t *testing.T) {
	_, c := roles(t)
	snap, err := c.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all, err := c.Groups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for from, groups := range map[string][]target.Group{"the snapshot": snap.Groups(), "the list": all, "the group": {admin(t, c)}} {
		i := slices.IndexFunc(groups, func(g target.Group) bool { return g.ID == target.AdminRoleID })
		if i < 0 {
			t.Errorf("%s has no role", from)
			continue
		}
		g := groups[i]
		ids := slices.Sorted(slices.Values(g.MemberIDs()))
		if g.Name != "role admin" || g.Role != target.RoleAdmin || !slices.Equal(ids, []string{"ann", clearmltest.Self}) {
			t.Errorf("%s has %+v", from, g)
		}
	}
	if groups, _, _ := snap.Counts(); groups != 3 || snap.Disagreements() != 0 {
		t.Errorf("%d user groups, %d disagreements; the role is no user group", groups, snap.Disagreements())
	}
	plain := client(t, c.base)
	if snap, err = plain.Read(t.Context()); err != nil || slices.ContainsFunc(snap.Groups(), func(g target.Group) bool { return g.Role != "" }) {
		t.Errorf("a client that does not manage the role shows it (error %v)", err)
	}
}

func TestSetMembersOfTheRole(t *testing.T) {
	ids := func(s *clearmltest.Server, role string) (ids []string) {
		for _, u := range s.Users() {
			if u.Role == role {
				ids = append(ids, u.ID)
			}
		}
		return ids
	}
	t.Run("a promotion and a demotion are one request each, and no other call stands between", func(t *testing.T) {
		s, c := roles(t)
		g := admin(t, c)
		before := len(s.Requests())
		if _, err := c.SetMembers(t.Context(), open, g, []string{"bob", clearmltest.Self}); err != nil {
			t.Fatal(err)
		}
		var sent []string
		for _, r := range s.Requests()[before:] {
			sent = append(sent, r.Call+" "+string(r.Body))
		}
		if want := []string{`users.set_role {"role":"admin","user":"bob"}`, `users.set_role {"role":"user","user":"ann"}`}; !slices.Equal(sent, want) {
			t.Errorf("sent %q, want %q", sent, want)
		}
		if got := ids(s, "admin"); !slices.Equal(got, []string{"bob", clearmltest.Self}) {
			t.Errorf("the administrators are %q", got)
		}
		if got := ids(s, "consumer"); !slices.Equal(got, []string{"dan"}) {
			t.Errorf("the consumers are %q", got)
		}
	})
	for _, tt := range []struct {
		name    string
		arrange func(*clearmltest.Server)
		fence   func(asked *int) target.Fence
		members []string
		is      func(error) bool
		admins  []string
	}{
		{name: "a fence that refuses the first request: nothing was sent", members: []string{"ann", "bob", "cid", clearmltest.Self},
			fence: func(n *int) target.Fence { return target.Leading(refuseFrom(1, n, errors.New("lost"))) },
			is:    target.Fenced, admins: []string{"ann", clearmltest.Self}},
		{name: "a fence that refuses the second request: only a read tells", members: []string{"ann", "bob", "cid", clearmltest.Self},
			fence: func(n *int) target.Fence { return target.Leading(refuseFrom(3, n, errors.New("lost"))) },
			is:    target.Uncertain, admins: []string{"ann", "bob", clearmltest.Self}},
		{name: "a busy server at the first request: it was not taken", members: []string{"ann", "bob", clearmltest.Self},
			arrange: func(s *clearmltest.Server) { s.Inject(clearmltest.Fault{Call: roleCall, Nth: 1, Status: 429}) },
			is:      func(err error) bool { return notTakenAfter(err) >= 0 }, admins: []string{"ann", clearmltest.Self}},
		{name: "a busy server at the second request: only a read tells", members: []string{"ann", "bob", "cid", clearmltest.Self},
			arrange: func(s *clearmltest.Server) { s.Inject(clearmltest.Fault{Call: roleCall, Nth: 2, Status: 429}) },
			is:      target.Uncertain, admins: []string{"ann", "bob", clearmltest.Self}},
		{name: "an unknown user is refused", members: []string{"ann", "nobody", clearmltest.Self},
			is: func(err error) bool {
				f := fault.Of(err)
				return !target.Uncertain(err) && f != nil && f.Reason == fault.Rejected
			}, admins: []string{"ann", clearmltest.Self}},
		{name: "one's own role is refused", members: []string{"ann"},
			is: func(err error) bool {
				f := fault.Of(err)
				return !target.Uncertain(err) && f != nil && f.Reason == fault.Rejected
			}, admins: []string{"ann", clearmltest.Self}},
		{name: "an empty id is never sent", members: []string{"ann", "", clearmltest.Self},
			is: func(err error) bool {
				return err.Error() == "ClearML users.set_role: a user id is empty, so no role was set"
			}, admins: []string{"ann", clearmltest.Self}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, c := roles(t)
			if tt.arrange != nil {
				tt.arrange(s)
			}
			fence, asked := open, 0
			if tt.fence != nil {
				fence = tt.fence(&asked)
			}
			_, err := c.SetMembers(t.Context(), fence, admin(t, c), tt.members)
			if err == nil || !tt.is(err) {
				t.Errorf("the error is %v", err)
			}
			if got := ids(s, "admin"); !slices.Equal(got, tt.admins) {
				t.Errorf("the administrators are %q, want %q", got, tt.admins)
			}
		})
	}
}
