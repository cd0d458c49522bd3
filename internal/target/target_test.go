package target

import (
	"testing"

	"groupsync/internal/fault"
)

func TestSnapshotRefusesPartsThatAreNotWhole(t *testing.T) {
	u := User{ID: "u", Email: "u@x"}
	g := Group{ID: "g", Name: "team"}
	tests := []struct {
		name   string
		parts  Parts
		want   string
		reason fault.Reason
	}{
		{"no users", Parts{Groups: []Group{g}}, "ClearML lists no users: an emptied database answers so too, and nothing is synchronized from it", fault.Incomplete},
		{"no groups", Parts{Users: []User{u}}, "ClearML lists no user groups, not even the built-in ones: nothing is synchronized", fault.Incomplete},
		{"a user twice", Parts{Users: []User{u, u}, Groups: []Group{g}}, "ClearML lists the user u twice, so another may be missing; run again", fault.Incomplete},
		{"a group twice", Parts{Users: []User{u}, Groups: []Group{g, g}}, `ClearML lists the user group "team" twice, so another may be missing; run again`, fault.Incomplete},
		{"a member twice", Parts{Users: []User{u}, Groups: []Group{{ID: "g", Name: "team", Members: []Member{{ID: "u"}, {ID: "u"}}}}}, `the members of the user group "team": u is listed twice, so somebody else may be missing`, fault.Incomplete},
		{"nobody has an email", Parts{Users: []User{{ID: "u"}}, Groups: []Group{g}}, "ClearML tells no user's email, so nobody can be matched: the credentials are not an admin's, or this server has no auth fields", fault.Shape},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := NewSnapshot(tt.parts)
			if f := fault.Of(err); s != nil || f == nil || f.Error() != tt.want || f.Reason != tt.reason {
				t.Errorf("got %v\nwant %s (%s)", err, tt.want, tt.reason)
			}
		})
	}
}

func TestViewsAreHeldAgainstEachOther(t *testing.T) {
	users := func(groups ...string) []User {
		return []User{{ID: "u", Email: "u@x", Groups: groups}, {ID: "bot", ServiceAccount: true}}
	}
	tests := []struct {
		name  string
		group Group
		users []User
		want  string
	}{
		{"both views agree", Group{Members: []Member{{ID: "u"}}}, users("g"), ""},
		{"a cut member list", Group{}, users("g"), "0 only in the group's list, 1 only in the users' own, 0 in both"},
		{"a stale list of the user's own", Group{Members: []Member{{ID: "u"}}}, users("h"), "1 only in the group's list, 0 only in the users' own, 0 in both"},
		{"a server that shows nobody's groups", Group{Members: []Member{{ID: "u"}}}, users(), "no user is shown with any group at all (sec_groups)"},
		{"a member whom the user list lacks is no disagreement", Group{Members: []Member{{ID: "u"}, {ID: "ghost"}}}, users("g"), ""},
		{"a service account without auth fields is no disagreement", Group{Members: []Member{{ID: "u"}, {ID: "bot"}}}, users("g"), ""},
		{"built-in groups are not compared", Group{Name: "Users", System: true}, users("g"), ""},
		{"the administrators are", Group{Name: Admins, System: true}, users("g"), "0 only in the group's list, 1 only in the users' own, 0 in both"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.group.ID = "g"
			s, err := NewSnapshot(Parts{Groups: []Group{tt.group}, Users: tt.users})
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Disagreement("g"); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
