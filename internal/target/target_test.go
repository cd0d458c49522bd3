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
		{"no users", Parts{Groups: []Group{g}}, "ClearML returned no users, as an empty database does. Nothing was synchronized. Check ClearML's database", fault.Incomplete},
		{"no groups", Parts{Users: []User{u}}, "ClearML returned no user groups, not even the built-in ones. Nothing was synchronized. Check ClearML's database", fault.Incomplete},
		{"a user twice", Parts{Users: []User{u, u}, Groups: []Group{g}}, "ClearML lists the user u twice, so another may be missing; run again", fault.Incomplete},
		{"a group twice", Parts{Users: []User{u}, Groups: []Group{g, g}}, `ClearML lists the user group "team" twice, so another may be missing; run again`, fault.Incomplete},
		{"nobody has an email", Parts{Users: []User{{ID: "u"}}, Groups: []Group{g}}, "ClearML returned no user's email, so groupsync can match nobody, and nothing was synchronized. Give groupsync the access key of a ClearML administrator. If it has one, this server does not return emails (include_auth of users.get_all): check the server's version", fault.Shape},
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
		{"a cut member list", Group{}, users("g"), "0 members only in the group's list, 1 only in the users' own lists, 0 in both"},
		{"a stale list of the user's own", Group{Members: []Member{{ID: "u"}}}, users("h"), "1 members only in the group's list, 0 only in the users' own lists, 0 in both"},
		{"a server that shows nobody's groups", Group{Members: []Member{{ID: "u"}}}, users(), "ClearML returned no groups for any user (sec_groups)"},
		{"a member whom the user list lacks is no disagreement", Group{Members: []Member{{ID: "u"}, {ID: "ghost"}}}, users("g"), ""},
		{"a service account without auth fields is no disagreement", Group{Members: []Member{{ID: "u"}, {ID: "bot"}}}, users("g"), ""},
		{"a member twice freezes the group alone", Group{Members: []Member{{ID: "u"}, {ID: "u"}}}, users("g"), "1 members are listed twice, so others may be missing"},
		{"built-in groups are not compared", Group{Name: "Users", System: true}, users("g"), ""},
		{"the administrators are", Group{Name: Admins, System: true}, users("g"), "0 members only in the group's list, 1 only in the users' own lists, 0 in both"},
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

// TestAServerThatLeavesBuiltInGroupsOutOfTheUsersView checks that the views of the Admins
// group are not compared then, and that those of ordinary groups are compared as usual.
func TestAServerThatLeavesBuiltInGroupsOutOfTheUsersView(t *testing.T) {
	admins := func(members ...string) Group { return built("adm", Admins, members...) }
	everybody := built("all", "Users", "u", "v", "bot", "ghost")
	team := func(members ...string) Group { return group("g", "team", members...) }
	const absent = "ClearML returned no groups for any user (sec_groups)"
	tests := []struct {
		name         string
		groups       []Group
		claims       []string // groups of the user u
		oneView      bool
		admins, team string
	}{
		{"both views show both kinds", []Group{admins("u"), everybody, team("u")}, []string{"adm", "all", "g"}, false, "", ""},
		{"built-in groups are left out", []Group{admins("u", "v"), everybody, team("u")}, []string{"g"}, true, "", ""},
		{"built-in groups are left out, and the team's list is cut", []Group{admins("u"), everybody, team()}, []string{"g"}, true, "", "0 members only in the group's list, 1 only in the users' own lists, 0 in both"},
		{"built-in groups are left out, and no team has members", []Group{admins("u"), everybody, team()}, nil, true, "", ""},
		{"all groups are left out: ordinary ones disagree", []Group{admins("u"), everybody, team("u")}, nil, true, "", absent},
		{"one claim of any built-in group: there are two views, and Admins disagrees", []Group{admins("u"), everybody, team("u")}, []string{"all", "g"}, false, "1 members only in the group's list, 0 only in the users' own lists, 0 in both", ""},
		{"Admins claimed by its only member", []Group{admins("u"), team("u")}, []string{"adm", "g"}, false, "", ""},
		{"Admins claimed, its list cut", []Group{admins(), everybody, team("u")}, []string{"adm", "g"}, false, "0 members only in the group's list, 1 only in the users' own lists, 0 in both", ""},
		{"built-in groups without members: there may be two views", []Group{admins(), team("u")}, []string{"g"}, false, "", ""},
		{"built-in groups with only service accounts and unknown users: there may be two views", []Group{admins("bot", "ghost"), team("u")}, []string{"g"}, false, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := NewSnapshot(Parts{Groups: tt.groups, Users: []User{{ID: "u", Email: "u@x", Groups: tt.claims}, {ID: "v"}, {ID: "bot", ServiceAccount: true}}})
			if err != nil {
				t.Fatal(err)
			}
			if s.OneView() != tt.oneView {
				t.Errorf("one view: %v, want %v", s.OneView(), tt.oneView)
			}
			if a, g := s.Disagreement("adm"), s.Disagreement("g"); a != tt.admins || g != tt.team {
				t.Errorf("disagreements of Admins and team: %q and %q, want %q and %q", a, g, tt.admins, tt.team)
			}
		})
	}
}

func group(id, name string, members ...string) Group {
	g := Group{ID: id, Name: name}
	for _, m := range members {
		g.Members = append(g.Members, Member{ID: m})
	}
	return g
}

func built(id, name string, members ...string) Group {
	g := group(id, name, members...)
	g.System = true
	return g
}
