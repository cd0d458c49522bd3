package source

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/fault"
)

func refused(t *testing.T, err error, want string) {
	t.Helper()
	if f := fault.Of(err); f == nil || f.Error() != want || f.Reason != fault.Incomplete || f.System != fault.Keycloak {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestSnapshotRefusesPartsThatAreNotWhole(t *testing.T) {
	u := User{ID: "u", Username: "u", Enabled: true}
	c := mustCatalog(t, Group{ID: "1", Name: "a"}, Group{ID: "2", Name: "b"})
	boss := []string{"boss"}
	for _, tt := range []struct {
		name  string
		parts Parts
		want  string
	}{
		{"a selected group was not read", Parts{Selection: Selection{Groups: []string{"1", "2"}}, Members: map[string][]User{"1": nil}},
			"the members of the group /b were not read; run again"},
		{"a selected group is none of the catalog", Parts{Selection: Selection{Groups: []string{"9"}}},
			"the members of the group 9 were not read; run again"},
		{"a selected role was not read", Parts{Selection: Selection{Roles: boss}}, `the holders of the role "boss" were not read, so nothing is synchronized: report this as a fault in groupsync`},
		{"a group that gives the role was not read", Parts{Selection: Selection{Roles: boss}, Roles: map[string]*RoleHolders{"boss": {Found: true, Groups: []string{"2"}}}},
			"the members of the group /b were not read; run again"},
		{"a member has no id", Parts{Selection: Selection{Groups: []string{"1"}}, Members: map[string][]User{"1": {u, {Username: "v"}}}},
			"Keycloak listed an account without an id among the members of the group /a; run again"},
		{"a holder of a role has no id", Parts{Selection: Selection{Roles: boss}, Roles: map[string]*RoleHolders{"boss": {Found: true, Direct: []User{{Username: "v"}}}}},
			`Keycloak listed an account without an id among the holders of the role "boss"; run again`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.parts.Catalog = c
			s, err := NewSnapshot(tt.parts)
			if s != nil {
				t.Error("a snapshot was made")
			}
			refused(t, err, tt.want)
		})
	}
}

func TestAnUnreadableGroupIsRememberedWithItsReason(t *testing.T) {
	s, err := NewSnapshot(Parts{
		Catalog: mustCatalog(t, Group{ID: "1", Name: "a"}, Group{ID: "2", Name: "b"}), Selection: Selection{Groups: []string{"1", "2"}},
		Members: map[string][]User{"1": {}}, Unreadable: map[string]string{"2": "status 400"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, read := s.Members("2"); read || s.Unreadable("2") != "status 400" {
		t.Errorf("group 2: read %v, unreadable %q", read, s.Unreadable("2"))
	}
	if ids, read := s.Members("1"); !read || len(ids) > 0 || s.Unreadable("1") != "" {
		t.Errorf("group 1: %v, read %v, unreadable %q", ids, read, s.Unreadable("1"))
	}
}

// TestAnAccountListedTwiceIsOneMember covers A4: Keycloak lists an account twice if the
// database and LDAP both hold the membership.
func TestAnAccountListedTwiceIsOneMember(t *testing.T) {
	u, v := User{ID: "u", Enabled: true}, User{ID: "v", Enabled: true}
	s, err := NewSnapshot(Parts{
		Catalog: mustCatalog(t, Group{ID: "1", Name: "a"}, Group{ID: "2", Name: "b"}), Selection: Selection{Groups: []string{"1"}},
		Members: map[string][]User{"1": {v, u, v, v}, "2": {u}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if ids, _ := s.Members("1"); !slices.Equal(ids, []string{"u", "v"}) {
		t.Errorf("members %v", ids)
	}
	if groups, users, memberships := s.Counts(); groups != 2 || users != 2 || memberships != 3 {
		t.Errorf("counts %d, %d, %d", groups, users, memberships)
	}
	if got := s.Repeated("1"); !slices.Equal(got, []string{"v"}) || s.Repeated("2") != nil {
		t.Errorf("listed twice: %v in one group, %v in the other", got, s.Repeated("2"))
	}
}

func TestReadingsOfOneAccountAreMerged(t *testing.T) {
	on, off := User{ID: "u", Username: "u", Enabled: true}, User{ID: "u", Username: "u", Federation: "f"}
	bot := User{ID: "b", Username: "bot", Enabled: true}
	marked := bot
	marked.ServiceAccount = true
	for _, order := range [][]User{{on, off, bot, marked}, {marked, bot, off, on}} {
		s, err := NewSnapshot(Parts{
			Catalog: mustCatalog(t, Group{ID: "1", Name: "a"}), Selection: Selection{Groups: []string{"1"}, Roles: []string{"r"}},
			Members: map[string][]User{"1": order[:2]}, Roles: map[string]*RoleHolders{"r": {Found: true, Direct: order[2:], Groups: []string{"1"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]User{marked, off}, s.Users()); d != "" {
			t.Errorf("an account that one reading calls disabled is disabled, and one reading is enough for a federation or a service account: -want +got\n%s", d)
		}
		if got := s.HoldersOfRole("r"); !slices.Equal(got, []string{"b", "u"}) {
			t.Errorf("holders of the role, direct and by group: %v", got)
		}
		for i, u := range s.Users() {
			if at, ok := s.UserIndex(u.ID); !ok || at != i {
				t.Errorf("UserIndex(%s) = %d, %v; want %d", u.ID, at, ok, i)
			}
		}
	}
}

func TestARoleThatTheRealmLacks(t *testing.T) {
	s, err := NewSnapshot(Parts{
		Catalog: mustCatalog(t, Group{ID: "1", Name: "a"}), Selection: Selection{Roles: []string{"boss"}},
		Roles: map[string]*RoleHolders{"boss": {Name: "boss", Near: []string{"Boss"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if r := s.Role("boss"); r == nil || r.Found || !slices.Equal(r.Near, []string{"Boss"}) || len(s.HoldersOfRole("boss")) > 0 {
		t.Errorf("got %+v, holders %v", r, s.HoldersOfRole("boss"))
	}
	if r := s.Role("other"); r != nil {
		t.Errorf("a role that was not selected: %+v", r)
	}
}

func TestWithKnowsTheAccountsThatWereLookedUp(t *testing.T) {
	a, z := User{ID: "a", Enabled: true}, User{ID: "z", Enabled: true}
	base, err := NewSnapshot(Parts{Catalog: mustCatalog(t, Group{ID: "1", Name: "g"}), Selection: Selection{Groups: []string{"1"}}, Members: map[string][]User{"1": {z}}})
	if err != nil {
		t.Fatal(err)
	}
	up := Probe{Federation: Federation{ID: "f"}, Up: true}
	down := Probe{Federation: Federation{ID: "f"}, Detail: "status 500"}
	first, err := base.With(LookUps{Found: []Found{{Person: Person{Key: "ann"}, Accounts: []User{a}}}, Probes: []Probe{up}})
	if err != nil {
		t.Fatal(err)
	}
	off := z
	off.Enabled = false
	second, err := first.With(LookUps{Found: []Found{{Person: Person{Key: "bob"}, Accounts: []User{off}}}, Probes: []Probe{down}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		snap   *Snapshot
		users  []User
		found  []string
		probes []Probe
	}{
		{"the reading itself stays as it was", base, []User{z}, []string{}, nil},
		{"the first look-up adds an account, in the order of the ids", first, []User{a, z}, []string{"ann"}, []Probe{up}},
		{"the second one merges what it knows of an account, and the probes", second, []User{a, off}, []string{"ann", "bob"}, []Probe{down}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.users, tt.snap.Users()); d != "" {
				t.Errorf("users: -want +got\n%s", d)
			}
			found := []string{}
			for _, key := range []string{"ann", "bob"} {
				if f, ok := tt.snap.Found(key); ok && f.Person.Key == key {
					found = append(found, key)
				}
			}
			if d := cmp.Diff(tt.found, found); d != "" {
				t.Errorf("found: -want +got\n%s", d)
			}
			if d := cmp.Diff(tt.probes, tt.snap.Probes()); d != "" {
				t.Errorf("probes: -want +got\n%s", d)
			}
			for i, u := range tt.snap.Users() {
				if at, ok := tt.snap.UserIndex(u.ID); !ok || at != i {
					t.Errorf("UserIndex(%s) = %d, %v; want %d", u.ID, at, ok, i)
				}
			}
		})
	}
}

func TestWithRefusesAnEmptiedRealm(t *testing.T) {
	empty, err := NewSnapshot(Parts{Catalog: mustCatalog(t, Group{ID: "1", Name: "g"}), Selection: Selection{Groups: []string{"1"}}, Members: map[string][]User{"1": nil}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = empty.With(LookUps{Found: []Found{{Person: Person{Key: "ann"}}, {Person: Person{Key: "bob"}}, {Person: Person{Key: "cid"}, Doubt: "away"}}})
	refused(t, err, "the realm shows no account at all: not in the groups that were read, and not for 2 people of ClearML who were looked up; nothing is synchronized from an empty realm; check keycloak.realm")
	if s, err := empty.With(LookUps{Found: []Found{{Person: Person{Key: "ann"}, Doubt: "away"}}}); err != nil || s == nil {
		t.Errorf("a look-up in doubt says nothing of the realm: %v", err)
	}
	if s, err := empty.With(LookUps{Found: []Found{{Person: Person{Key: "ann"}}, {Person: Person{Key: "bob"}, Accounts: []User{{ID: "b"}}}}}); err != nil || s == nil {
		t.Errorf("one account was found: %v", err)
	}
}

func TestNewSnapshotLeavesItsPartsAlone(t *testing.T) {
	members := map[string][]User{"1": {{ID: "v"}, {ID: "u"}, {ID: "v"}}}
	before := maps.Clone(members)
	before["1"] = slices.Clone(members["1"])
	if _, err := NewSnapshot(Parts{Catalog: mustCatalog(t, Group{ID: "1", Name: "g"}), Selection: Selection{Groups: []string{"1"}}, Members: members}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, members); d != "" {
		t.Error(d)
	}
}
