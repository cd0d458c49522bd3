package source

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/fault"
)

func mustCatalog(t *testing.T, groups ...Group) Catalog {
	t.Helper()
	c, err := NewCatalog(groups, len(groups))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCatalogRefusesAListThatIsNotWhole(t *testing.T) {
	a, b := Group{ID: "1", Name: "a"}, Group{ID: "2", Name: "b", Parent: "1"}
	tests := []struct {
		name    string
		groups  []Group
		counted int
		want    string
	}{
		{"the count is larger: a list without an error is not a complete list", []Group{a}, 1000, "Keycloak listed 1 groups but counts 1000: the list is not complete; check that the client's service account holds view-users, and run again if groups were being changed"},
		{"the list is empty and the count says so", nil, 0, "the realm has no groups: nothing is synchronized from an empty realm; check keycloak.realm"},
		{"a group is listed twice", []Group{a, a}, 2, `Keycloak listed the group "a" (id "1") twice, so another may be missing; run again`},
		{"a parent is missing", []Group{b}, 1, `the group "b" has a parent that Keycloak did not list; run again`},
		{"parents form a ring", []Group{{ID: "1", Name: "a", Parent: "2"}, b}, 2, `the group "b" has a parent that Keycloak did not list; run again`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewCatalog(tt.groups, tt.counted)
			if f := fault.Of(err); f == nil || f.Error() != tt.want || f.Reason != fault.Incomplete {
				t.Errorf("got %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestCatalogBuildsPathsAndDescendants(t *testing.T) {
	c := mustCatalog(t, Group{ID: "3", Name: "c", Parent: "2"}, Group{ID: "2", Name: "b", Parent: "1"}, Group{ID: "1", Name: "a"}, Group{ID: "4", Name: "a/b"})
	var got []string
	for _, g := range c.Groups() {
		got = append(got, g.ID+" "+g.Path)
	}
	if d := cmp.Diff([]string{"1 /a", "2 /a/b", "4 /a/b", "3 /a/b/c"}, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"2", "3"}, c.WithDescendants([]string{"2"})); d != "" {
		t.Error(d)
	}
}

func TestSnapshotRefusesPartsThatAreNotWhole(t *testing.T) {
	u, v := User{ID: "u", Username: "u", Enabled: true}, User{ID: "v", Username: "v", Enabled: true}
	c := mustCatalog(t, Group{ID: "1", Name: "a"}, Group{ID: "2", Name: "b"})
	tests := []struct {
		name  string
		parts Parts
		want  string
	}{
		{"no users", Parts{Catalog: c}, "the realm has no users: nothing is synchronized from an empty realm; check keycloak.realm"},
		{"a user listed twice", Parts{Catalog: c, Users: []User{u, u}}, `Keycloak listed the user "u" twice, so another may be missing; run again`},
		{"a selected group that was not read", Parts{Catalog: c, Users: []User{u}, Selection: Selection{Groups: []string{"1", "2"}}, Members: map[string][]User{"1": nil}}, "the members of the group /b were not read; run again"},
		{"a member listed twice", Parts{Catalog: c, Users: []User{u, v}, Selection: Selection{Groups: []string{"1"}}, Members: map[string][]User{"1": {u, v, u}}}, "the members of the group /a: somebody is listed twice, so somebody else may be missing; run again"},
		{"a role that was asked for and not read", Parts{Catalog: c, Users: []User{u}, Selection: Selection{Role: "boss"}}, `the holders of the role "boss" were not read`},
		{"a group that gives the role and was not read", Parts{Catalog: c, Users: []User{u}, Selection: Selection{Role: "boss"}, Role: &RoleHolders{Found: true, Groups: []string{"2"}}}, "the members of the group /b were not read; run again"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := NewSnapshot(tt.parts)
			if f := fault.Of(err); s != nil || f == nil || f.Error() != tt.want || f.Reason != fault.Incomplete {
				t.Errorf("got %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestSnapshotMergesWhatIsMetTwice(t *testing.T) {
	on, off := User{ID: "u", Username: "u", Enabled: true}, User{ID: "u", Username: "u", Federation: "f"}
	bot := User{ID: "b", Username: "service-account-x", Enabled: true}
	s, err := NewSnapshot(Parts{
		Catalog: mustCatalog(t, Group{ID: "1", Name: "a"}), Users: []User{on}, Selection: Selection{Groups: []string{"1"}, Role: "r"},
		Members: map[string][]User{"1": {off, bot}}, Role: &RoleHolders{Found: true, Direct: []User{bot}, Groups: []string{"1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	bot.ServiceAccount = true
	if d := cmp.Diff([]User{bot, off}, s.Users()); d != "" {
		t.Errorf("an account in two states counts as disabled; -want +got\n%s", d)
	}
	if !slices.Equal(s.HoldersOfRole(), []string{"b", "u"}) {
		t.Errorf("holders of the role: %v", s.HoldersOfRole())
	}
}

func TestWeigh(t *testing.T) {
	u := User{ID: "u", Username: "u", Enabled: true}
	ldap := User{ID: "u", Username: "u", Enabled: true, Federation: "f"}
	off := func(u User) User { u.Enabled = false; return u }
	up := []Probe{{Federation: Federation{ID: "f", Name: "corp"}, Up: true}}
	role := func(holders ...User) *RoleHolders { return &RoleHolders{Found: true, Direct: holders} }
	tests := []struct {
		name      string
		claim     Claim
		second    Second
		federated bool
		evidence  string
		waits     bool
		doubt     string
	}{
		{name: "not_member: in none of the sources, read twice", claim: Claim{Why: NotMember, User: u, Groups: []Group{{ID: "1", Path: "/a"}}},
			second: Second{Members: map[string][]User{"1": {}}}, evidence: "read twice: not in the one Keycloak group"},
		{name: "not_member: a source that was not read again denies", claim: Claim{Why: NotMember, User: u, Groups: []Group{{ID: "1", Path: "/a"}, {ID: "2", Path: "/b"}}},
			second: Second{Members: map[string][]User{"1": {}}}, doubt: "the members of the Keycloak group /b were not read a second time"},
		{name: "not_member: the second read has them", claim: Claim{Why: NotMember, User: u, Groups: []Group{{ID: "1", Path: "/a"}}},
			second: Second{Members: map[string][]User{"1": {u}}}, doubt: "the second read of the members of the Keycloak group /a has them"},
		{name: "not_member: a federated person waits", claim: Claim{Why: NotMember, User: ldap, Groups: []Group{{ID: "1", Path: "/a"}}},
			second: Second{Members: map[string][]User{"1": {}}, Probes: up}, evidence: "read twice: not in the one Keycloak group", waits: true},
		{name: "not_member: still holds the role directly", claim: Claim{Why: NotMember, User: u, Role: "boss"},
			second: Second{Role: role(u)}, doubt: "the second read of the holders of the role boss has them"},
		{name: "not_member: still holds the role by group", claim: Claim{Why: NotMember, User: u, Role: "boss"},
			second: Second{Role: &RoleHolders{Found: true, Groups: []string{"1"}}, Members: map[string][]User{"1": {u}}}, doubt: "the second read of the holders of the role boss has them"},
		{name: "not_member: holds the role in effect, which nobody saw", claim: Claim{Why: NotMember, User: u, Role: "boss"},
			second: Second{Role: role(), Effective: map[string]bool{"u": true}}, doubt: "they hold the role boss in effect"},
		{name: "not_member: the effective roles were not read", claim: Claim{Why: NotMember, User: u, Role: "boss"},
			second: Second{Role: role()}, doubt: "the roles that they hold in effect were not read"},
		{name: "not_member: the role is gone in the second look", claim: Claim{Why: NotMember, User: u, Role: "boss"},
			second: Second{Role: &RoleHolders{}}, doubt: "the holders of the role boss were not read a second time"},
		{name: "not_member: without the role, in no group", claim: Claim{Why: NotMember, User: u, Role: "boss"},
			second: Second{Role: role(), Effective: map[string]bool{"u": false}}, evidence: "read twice: without the role boss"},
		{name: "disabled: a local account", claim: Claim{Why: Disabled, User: off(u)},
			second: Second{Accounts: map[string]Account{"u": {true, off(u)}}}, evidence: "read twice: the account is disabled"},
		{name: "disabled: enabled again", claim: Claim{Why: Disabled, User: off(u)},
			second: Second{Accounts: map[string]Account{"u": {true, u}}}, doubt: "the second look finds their account enabled"},
		{name: "disabled: the account is gone meanwhile", claim: Claim{Why: Disabled, User: off(u)},
			second: Second{Accounts: map[string]Account{"u": {}}}, doubt: "the second look finds no such account"},
		{name: "disabled: not read again", claim: Claim{Why: Disabled, User: off(u)}, doubt: "their account was not read a second time"},
		{name: "disabled: by the federation, which waits", claim: Claim{Why: Disabled, User: off(ldap)},
			second: Second{Accounts: map[string]Account{"u": {true, off(ldap)}}, Probes: up}, evidence: "read twice: the account is disabled by the federation", waits: true},
		{name: "disabled: federated, by the database itself, which does not wait", claim: Claim{Why: Disabled, User: off(ldap)},
			second: Second{Accounts: map[string]Account{"u": {true, off(ldap)}}, Probes: up, DisabledDB: map[string]bool{"u": true}}, evidence: "read twice: the account is disabled, in Keycloak's own database too"},
		{name: "gone: no account has the email", claim: Claim{Why: Gone, Email: "A@x"},
			second: Second{Emails: map[string][]User{"a@x": {}}}, evidence: "looked up: no account has the email"},
		{name: "gone: waits in a realm with federations", claim: Claim{Why: Gone, Email: "a@x"}, federated: true,
			second: Second{Emails: map[string][]User{"a@x": {}}, Probes: up}, evidence: "looked up: no account has the email", waits: true},
		{name: "gone: the email was not looked up", claim: Claim{Why: Gone, Email: "a@x"}, doubt: "their email was not looked up"},
		{name: "gone: an account has the email", claim: Claim{Why: Gone, Email: "a@x"},
			second: Second{Emails: map[string][]User{"a@x": {u}}}, doubt: "the second look finds an account with their email"},
		{name: "gone: the kept id is an account's", claim: Claim{Why: Gone, Email: "a@x", IDs: []string{"u"}},
			second: Second{Emails: map[string][]User{"a@x": {}}, Accounts: map[string]Account{"u": {true, u}}}, doubt: "the second look finds the account whose id is kept of them"},
		{name: "gone: the kept id was not looked up", claim: Claim{Why: Gone, Email: "a@x", IDs: []string{"u"}},
			second: Second{Emails: map[string][]User{"a@x": {}}}, doubt: "the account id that is kept of them was not looked up"},
		{name: "gone: no email", claim: Claim{Why: Gone}, doubt: "without an email nothing tells whether the person is gone"},
		{name: "a probe that is not up denies whatever was read", claim: Claim{Why: NotMember, User: u, Groups: []Group{{ID: "1", Path: "/a"}}},
			second: Second{Members: map[string][]User{"1": {}}, Probes: []Probe{{Federation: Federation{ID: "f", Name: "corp"}, Detail: "status 500"}}}, doubt: "the federation corp is not up: status 500"},
		{name: "no reason is no evidence", doubt: `no such reason: ""`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := Weigh([]Claim{tt.claim}, tt.second, tt.federated).Verdicts[0]
			if v.Evidence.String() != tt.evidence || v.Doubt != tt.doubt || v.Evidence.Waits() != tt.waits || v.Evidence.Valid() != (tt.doubt == "") {
				t.Errorf("got %q, waits %v, doubt %q\nwant %q, waits %v, doubt %q", v.Evidence, v.Evidence.Waits(), v.Doubt, tt.evidence, tt.waits, tt.doubt)
			}
		})
	}
}
