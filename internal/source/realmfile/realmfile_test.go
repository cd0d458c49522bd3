package realmfile_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"groupsync/internal/fault"
	"groupsync/internal/source"
	"groupsync/internal/source/realmfile"
)

func TestParseRefusesWhatIsNoWholeRealm(t *testing.T) {
	for _, row := range []struct{ name, text, want string }{
		{"an empty file", ``, "it is empty; export the realm again"},
		{"a file that breaks off", `{"realm": "r", "users": [{"username": "ann"}`, "it breaks off in the middle; export the realm again"},
		{"no JSON", `{"realm": r}`, "it is not JSON at byte 11: invalid character 'r' looking for beginning of value; export the realm again"},
		{"several realms", `[{"realm": "r"}]`, "it holds a JSON array in place of one realm; give one realm's export as kc.sh export --file writes it"},
		{"another shape", `{"realm": "r", "groups": {}}`, "groups is a JSON object, which Keycloak does not write there; export the realm again"},
		{"null", `null`, `it holds no "realm"; give one realm's export as kc.sh export --file writes it`},
		{"an error object", `{"error": "unknown_error"}`, `it holds no "realm"; give one realm's export as kc.sh export --file writes it`},
		{"something after it", `{"realm": "r"} {"error": "unknown_error"}`, "something follows the realm's closing brace at byte 16; give one realm's export as kc.sh export --file writes it"},
		{"no users", `{"realm": "r", "groups": [{"name": "a"}]}`, "it holds no users; export them into the same file (kc.sh export --file … --users same_file)"},
		{"people whose names it does not have", `{"realm": "r", "users": [{"username": "ann"}], "federatedUsers": [{"id": "f:1:x", "groups": ["/a"]}]}`,
			"it holds 1 federatedUsers, people of a federation that imports nobody; an export does not tell who they are, so read the live server"},
		{"a group that is not there", `{"realm": "r", "groups": [{"name": "a"}], "users": [{"username": "ann", "groups": ["/a/b"]}]}`,
			`the user "ann" is in the group /a/b, which the realm does not have; export the realm again`},
		{"a path of two groups", `{"realm": "r", "groups": [{"name": "a/b"}, {"name": "a", "subGroups": [{"name": "b"}]}], "users": [{"username": "ann", "groups": ["/a/b"]}]}`,
			`the user "ann" is in the group /a/b, and 2 groups have that path; rename one of them (a slash in a name looks like a parent)`},
		{"a group twice", `{"realm": "r", "groups": [{"name": "a", "id": "1"}, {"name": "b", "id": "1"}], "users": [{"username": "ann"}]}`,
			"the group /b is there twice (id 1); export the realm again"},
		{"a group without a name", `{"realm": "r", "groups": [{"name": "a", "subGroups": [{"id": "1"}]}], "users": [{"username": "ann"}]}`,
			`a group below "/a/" has no name; export the realm again`},
		{"a username twice", `{"realm": "r", "users": [{"username": "ann"}, {"username": "Ann"}]}`, `two users have the username "ann"; export the realm again`},
		{"an id twice", `{"realm": "r", "users": [{"username": "ann", "id": "1"}, {"username": "bob", "id": "1"}]}`,
			`the users "ann" and "bob" have one id, 1; export the realm again`},
		{"a user without a name", `{"realm": "r", "users": [{"username": "ann"}, {"id": "1"}]}`, "user number 2 has no username; export the realm again"},
		{"a federation without a name", `{"realm": "r", "users": [{"username": "ann"}], "components": {"org.keycloak.storage.UserStorageProvider": [{"id": "1"}]}}`,
			"a user-storage component has no name; export the realm again"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := realmfile.Parse([]byte(row.text))
			refused(t, err, fault.Shape, "reading the realm in memory: "+row.want)
		})
	}
}

func refused(t *testing.T, err error, reason fault.Reason, want string) {
	t.Helper()
	f := fault.Of(err)
	if f == nil || f.System != fault.Keycloak || f.Reason != reason || err.Error() != want {
		t.Fatalf("error %v (%+v)\nwant %s of reason %s", err, f, want, reason)
	}
}

func TestAMissingFileIsNotFound(t *testing.T) {
	_, err := realmfile.Open("testdata/none.json")
	refused(t, err, fault.NotFound, "reading the realm file testdata/none.json: no such file or directory; give the path of a realm export")
}

func TestARealmWithoutGroupsIsIncomplete(t *testing.T) {
	s, err := realmfile.Parse([]byte(`{"realm": "r", "users": [{"username": "ann"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Catalog(t.Context())
	refused(t, err, fault.Incomplete, "the realm has no groups: nothing is synchronized from an empty realm; check keycloak.realm")
}

func TestALookThatIsGivenUpIsAnError(t *testing.T) {
	s := realmfile.New(small())
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("shutting down"))
	_, err := s.Catalog(ctx)
	refused(t, err, fault.Connection, "reading the realm in memory: given up: shutting down")
}

// small is a realm of one group with three members, one of them federated.
func small() *realmfile.Realm {
	return &realmfile.Realm{
		Name:   "small",
		Groups: []realmfile.Group{{Name: "a"}, {Name: "b"}},
		Users: []realmfile.User{
			{Username: "ann", Email: "ann@example.com", Enabled: true, Groups: []string{"/a"}},
			{Username: "bob", Email: "bob@example.com", Enabled: true, Groups: []string{"/a"}},
			{Username: "fed", Email: "fed@example.com", Enabled: true, Groups: []string{"/a"}, FederationLink: "1"},
		},
		Components: map[string][]realmfile.Component{
			"org.keycloak.storage.UserStorageProvider": {{ID: "1", Name: "ldap", Config: map[string][]string{"enabled": {"true"}}}},
		},
	}
}

func TestAFileIsReadAtEveryLook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "realm.json")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"realm": "r", "groups": [{"name": "a"}], "users": [{"username": "ann", "enabled": true}, {"username": "bob", "enabled": true, "groups": ["/a"]}]}`)
	s, err := realmfile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	members := func() []string {
		return tell(read(t, s, ""), "").Members["/a"]
	}
	if got := members(); !slices.Equal(got, []string{"bob"}) {
		t.Errorf("members at first: %v, want bob", got)
	}
	write(`{"realm": "r", "groups": [{"name": "a"}], "users": [{"username": "ann", "enabled": true, "groups": ["/a"]}, {"username": "bob", "enabled": true}]}`)
	if got := members(); !slices.Equal(got, []string{"ann"}) {
		t.Errorf("members after the edit: %v, want ann", got)
	}
	write(`{"realm": "r", "groups"`)
	_, err = s.Catalog(t.Context())
	refused(t, err, fault.Shape, "reading the realm file "+path+": it breaks off in the middle; export the realm again")
}

const storage = "org.keycloak.storage.UserStorageProvider"

// Each row edits the realm between the two looks. Every answer is of the second look
// alone.
func TestConfirmIsASecondLook(t *testing.T) {
	leave := func(i int) func(*realmfile.Realm) {
		return func(r *realmfile.Realm) { r.Users[i].Groups = nil }
	}
	disable := func(i int) func(*realmfile.Realm) {
		return func(r *realmfile.Realm) { r.Users[i].Enabled = false }
	}
	both := func(edits ...func(*realmfile.Realm)) func(*realmfile.Realm) {
		return func(r *realmfile.Realm) {
			for _, edit := range edits {
				edit(r)
			}
		}
	}
	off := func(r *realmfile.Realm) { r.Components[storage][0].Config["enabled"] = []string{"false"} }
	vanish := func(r *realmfile.Realm) { r.Components = nil }
	nothing := func(*realmfile.Realm) {}
	for _, row := range []struct {
		name   string
		who    int // place in small's users
		grant  bool
		before func(*realmfile.Realm)
		edit   func(*realmfile.Realm)
		want   string // evidence or doubt
		waits  bool
	}{
		{"still a member", 0, false, nothing, nothing, "the second read of the Keycloak group /a lists the account", false},
		{"a member no more", 0, false, nothing, leave(0), "read twice: not in the one Keycloak group", false},
		{"a federated member no more", 2, false, nothing, leave(2), "read twice: not in the one Keycloak group, on the account's own side too", true},
		{"a member for a grant", 0, true, nothing, nothing, "read twice", false},
		{"a federated member for a grant", 2, true, nothing, nothing, "read twice, on the account's own side too", false},
		{"no member for a grant", 0, true, nothing, leave(0), "the second read of the Keycloak group /a does not list the account", false},
		{"enabled again", 0, false, disable(0), func(r *realmfile.Realm) { r.Users[0].Enabled = true }, "the second look finds the account enabled", false},
		{"disabled", 0, false, disable(0), nothing, "read twice: the account is disabled, in Keycloak's own database too", false},
		{"federated and disabled", 2, false, disable(2), nothing, "read twice: the account is disabled, in Keycloak's own database too", false},
		{"the federation is switched off: a local person goes", 0, false, nothing, both(leave(0), off), "read twice: not in the one Keycloak group", false},
		{"the federation is switched off: its person stays", 2, false, nothing, both(leave(2), off), "the federation ldap is not up: it is switched off in Keycloak", false},
		{"the federation vanished between the looks: its person stays", 2, false, nothing, both(leave(2), vanish), "the federation ldap is not up: it vanished from the realm between two looks", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := realmfile.New(small())
			s.Edit(row.before)
			snap := read(t, s, "")
			username := small().Users[row.who].Username
			i := slices.IndexFunc(snap.Users(), func(u source.User) bool { return u.Username == username })
			q := source.Question{Group: "g", User: "u", Grant: row.grant, Accounts: []source.User{snap.Users()[i]}, Sources: snap.Catalog().Groups()[:1]}
			s.Edit(row.edit)
			c, err := s.Confirm(t.Context(), snap, []source.Question{q}, nil)
			if err != nil {
				t.Fatal(err)
			}
			a := c.Answers[0]
			if got := a.Evidence.String() + a.Doubt; got != row.want || a.Evidence.Waits() != row.waits {
				t.Errorf("got  %s, waits %v\nwant %s, waits %v", got, a.Evidence.Waits(), row.want, row.waits)
			}
		})
	}
}

// Each row looks somebody up, and asks whether the person is gone.
func TestLookUp(t *testing.T) {
	id := func(username string) string {
		s := realmfile.New(small())
		snap := read(t, s, "")
		i := slices.IndexFunc(snap.Users(), func(u source.User) bool { return u.Username == username })
		return snap.Users()[i].ID
	}
	const lost = "11111111-2222-3333-4444-555555555555"
	for _, row := range []struct {
		name   string
		person source.Person
		edit   func(*realmfile.Realm)
		known  []source.Federation
		found  []string // usernames
		want   string   // evidence or doubt of being gone
	}{
		{"by the id", source.Person{IDs: []string{id("ann")}, Email: "other@example.com"}, nil, nil, []string{"ann"}, "the look-up finds the account whose id ClearML keeps"},
		{"by the email, case ignored", source.Person{Email: "ANN@Example.com"}, nil, nil, []string{"ann"}, "the look-up finds an account with the email, which was not asked about"},
		{"an empty email finds nobody", source.Person{}, nil, nil, nil, "without an email nothing tells whether the person is gone"},
		{"gone by the id", source.Person{IDs: []string{lost}, Email: "eve@example.com"}, nil, nil, nil, "looked up: Keycloak has neither the id that ClearML keeps nor the email"},
		{"gone by the id while the federation is switched off", source.Person{IDs: []string{lost}, Email: "eve@example.com"},
			func(r *realmfile.Realm) { r.Components[storage][0].Config["enabled"] = []string{"false"} }, nil, nil, "looked up: Keycloak has neither the id that ClearML keeps nor the email"},
		{"an id of the federation that is switched off", source.Person{IDs: []string{"f:1:eve"}, Email: "eve@example.com"},
			func(r *realmfile.Realm) { r.Components[storage][0].Config["enabled"] = []string{"false"} }, nil, nil,
			"the federation ldap is not up, and may have the person: it is switched off in Keycloak"},
		{"gone, and a federation vanished since the catalog was read", source.Person{IDs: []string{lost}, Email: "eve@example.com"},
			func(r *realmfile.Realm) { r.Components = nil }, nil, nil, "the federation ldap is not up, and may have the person: it vanished from the realm between two looks"},
		{"a federation that is only remembered is up", source.Person{IDs: []string{lost}, Email: "eve@example.com"}, nil,
			[]source.Federation{{ID: "2", Name: "old"}}, nil, "looked up: Keycloak has neither the id that ClearML keeps nor the email"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := realmfile.New(small())
			snap := read(t, s, "")
			if row.edit != nil {
				s.Edit(row.edit)
			}
			row.person.Key = "u"
			snap, err := s.LookUp(t.Context(), snap, []source.Person{row.person}, row.known)
			if err != nil {
				t.Fatal(err)
			}
			var found []string
			f, _ := snap.Found("u")
			for _, u := range f.Accounts {
				found = append(found, u.Username)
			}
			c, err := s.Confirm(t.Context(), snap, []source.Question{{Group: "g", User: "u", GoneBy: source.ByID}}, row.known)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Answers[0].Evidence.String() + c.Answers[0].Doubt; got != row.want || !slices.Equal(found, row.found) {
				t.Errorf("got  %v, %s\nwant %v, %s", found, got, row.found, row.want)
			}
		})
	}
}

func TestAGroupThatVanishesBetweenTheLooksIsAnError(t *testing.T) {
	s := realmfile.New(small())
	snap := read(t, s, "")
	b := snap.Catalog().Groups()[1]
	s.Edit(func(r *realmfile.Realm) { r.Groups = r.Groups[:1] })
	_, err := s.Confirm(t.Context(), snap, []source.Question{{Group: "g", User: "u", Accounts: snap.Users()[:1], Sources: []source.Group{b}}}, nil)
	refused(t, err, fault.Incomplete, "the group "+b.ID+" vanished from the realm between two looks; run again")
}
