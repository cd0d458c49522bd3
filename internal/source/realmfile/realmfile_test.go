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
		{"several realms", `[{"realm": "r"}]`, "it is a JSON array, not the JSON object of one realm; give one realm's export as kc.sh export --file writes it"},
		{"another shape", `{"realm": "r", "groups": {}}`, "groups is a JSON object, which Keycloak does not write there; export the realm again"},
		{"null", `null`, `it holds no "realm"; give one realm's export as kc.sh export --file writes it`},
		{"an error object", `{"error": "unknown_error"}`, `it holds no "realm"; give one realm's export as kc.sh export --file writes it`},
		{"something after it", `{"realm": "r"} {"error": "unknown_error"}`, "there is more text after the realm's closing brace at byte 16; give one realm's export as kc.sh export --file writes it"},
		{"no users", `{"realm": "r", "groups": [{"name": "a"}]}`, "it holds no users; export them into the same file (kc.sh export --file … --users same_file)"},
		{"people whose names it does not have", `{"realm": "r", "users": [{"username": "ann"}], "federatedUsers": [{"id": "f:1:x", "groups": ["/a"]}]}`,
			"it holds 1 federatedUsers: people of a federation that imports nobody. An export does not contain their names, so groupsync cannot use it. Use the live server"},
		{"a group that is not there", `{"realm": "r", "groups": [{"name": "a"}], "users": [{"username": "ann", "groups": ["/a/b"]}]}`,
			`the user "ann" is in the group /a/b, which the realm does not have; export the realm again`},
		{"a path of two groups", `{"realm": "r", "groups": [{"name": "a/b"}, {"name": "a", "subGroups": [{"name": "b"}]}], "users": [{"username": "ann", "groups": ["/a/b"]}]}`,
			`the user "ann" is in the group /a/b, and 2 groups have that path; rename one of them (a slash in a name looks like a parent)`},
		{"a group twice", `{"realm": "r", "groups": [{"name": "a", "id": "1"}, {"name": "b", "id": "1"}], "users": [{"username": "ann"}]}`,
			"the group /b appears twice (id 1); export the realm again"},
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
	_, err = read(t.Context(), s)
	refused(t, err, fault.Incomplete, "the realm has no groups: nothing is synchronized from an empty realm; check keycloak.realm")
}

func TestALookThatIsGivenUpIsAnError(t *testing.T) {
	s := realmfile.New(small())
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("shutting down"))
	_, err := read(ctx, s)
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
			federationType: {{ID: "1", Name: "ldap", ProviderID: "ldap", Config: map[string][]string{"enabled": {"true"}}}},
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
		snap, err := read(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		return tell(snap).Members["/a"]
	}
	if got := members(); !slices.Equal(got, []string{"bob"}) {
		t.Errorf("members at first: %v, want bob", got)
	}
	write(`{"realm": "r", "groups": [{"name": "a"}], "users": [{"username": "ann", "enabled": true, "groups": ["/a"]}, {"username": "bob", "enabled": true}]}`)
	if got := members(); !slices.Equal(got, []string{"ann"}) {
		t.Errorf("members after the edit: %v, want ann", got)
	}
	write(`{"realm": "r", "groups"`)
	_, err = read(t.Context(), s)
	refused(t, err, fault.Shape, "reading the realm file "+path+": it breaks off in the middle; export the realm again")
}

// mustRead reads all groups and looks up the people.
func mustRead(t *testing.T, s *realmfile.Source, people ...source.Person) *source.Snapshot {
	t.Helper()
	snap, err := read(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if snap, err = s.LookUp(t.Context(), snap, people, nil); err != nil {
		t.Fatal(err)
	}
	return snap
}

func userOf(t *testing.T, snap *source.Snapshot, username string) source.User {
	t.Helper()
	for _, u := range snap.Users() {
		if u.Username == username {
			return u
		}
	}
	t.Fatalf("the snapshot has no user %q", username)
	return source.User{}
}

const federationType = "org.keycloak.storage.UserStorageProvider"

func switchOff(r *realmfile.Realm) {
	r.Components[federationType][0].Config["enabled"] = []string{"false"}
}

// Each row edits the realm between the two looks. The answers come from the second look
// only.
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
	nothing := func(*realmfile.Realm) {}
	for _, row := range []struct {
		name   string
		who    string
		grant  bool
		off    bool // the account is read as disabled
		edit   func(*realmfile.Realm)
		known  []source.Federation
		want   string // evidence or doubt
		denial source.Denial
		waits  bool
	}{
		{name: "still a member", who: "ann", edit: nothing, want: "the second read of the Keycloak group /a lists the account", denial: source.Unclear},
		{name: "a member no more", who: "ann", edit: leave(0), want: "read twice: not in the one Keycloak group"},
		{name: "a federated member no more", who: "fed", edit: leave(2), want: "read twice: not in the one Keycloak group, on the account's own side too", waits: true},
		{name: "a grant to a member", who: "ann", grant: true, edit: nothing, want: "read twice"},
		{name: "a grant to a federated member", who: "fed", grant: true, edit: nothing, want: "read twice, on the account's own side too"},
		{name: "a grant to a member no more", who: "ann", grant: true, edit: leave(0), want: "the second read of the Keycloak group /a does not list the account", denial: source.Unclear},
		{name: "a grant to somebody who is disabled since", who: "ann", grant: true, edit: disable(0), want: "the second read finds the account disabled", denial: source.Unclear},
		{name: "enabled again", who: "ann", off: true, edit: nothing, want: "the second look finds the account enabled", denial: source.Unclear},
		{name: "disabled", who: "ann", off: true, edit: disable(0), want: "read twice: the account is disabled, in Keycloak's own database too"},
		{name: "federated and disabled", who: "fed", off: true, edit: disable(2), want: "read twice: the account is disabled, in Keycloak's own database too"},
		{name: "disabled and deleted since", who: "ann", off: true, edit: func(r *realmfile.Realm) { r.Users = r.Users[1:] }, want: "the second look finds no such account", denial: source.Unclear},
		{name: "a federation that is switched off says nothing of local people", who: "ann", edit: both(leave(0), switchOff), want: "read twice: not in the one Keycloak group"},
		{name: "a federation that is switched off holds up its own people", who: "fed", edit: both(leave(2), switchOff), want: "the federation ldap is not up: it is switched off in Keycloak", denial: source.Away},
		{name: "a federation that vanished holds up its own people", who: "fed", edit: both(leave(2), func(r *realmfile.Realm) { r.Components = nil }), want: "the federation ldap is not up: it vanished from the realm between two reads", denial: source.Away},
		{name: "a federation that is only remembered is up", who: "ann", edit: leave(0), known: []source.Federation{{ID: "2", Name: "old"}}, want: "read twice: not in the one Keycloak group"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := realmfile.New(small())
			snap := mustRead(t, s)
			user := userOf(t, snap, row.who)
			user.Enabled = !row.off
			q := source.Question{Group: "g", User: "p", Grant: row.grant, Accounts: []source.User{user}, Sources: snap.Catalog().Groups()[:1]}
			s.Edit(row.edit)
			c, err := s.Confirm(t.Context(), snap, []source.Question{q}, row.known)
			if err != nil {
				t.Fatal(err)
			}
			a := c.Answers[0]
			if got := a.Evidence.String() + a.Doubt; got != row.want || a.Evidence.Waits() != row.waits || a.Denial != row.denial {
				t.Errorf("got  %s, denial %q, waits %v\nwant %s, denial %q, waits %v", got, a.Denial, a.Evidence.Waits(), row.want, row.denial, row.waits)
			}
			if want := 1 + len(row.known); len(c.Probes) != want {
				t.Errorf("%d probes, want %d", len(c.Probes), want)
			}
		})
	}
}

func TestWhoIsLookedUp(t *testing.T) {
	kelvin := "\u212Aim@example.com"
	realm := func() *realmfile.Realm {
		r := small()
		r.Users = append(r.Users,
			realmfile.User{Username: "kim", Email: "Kim@Example.com", Enabled: true},
			realmfile.User{Username: "k\u0130t", Email: "k\u0130t@example.com", Enabled: true},
			realmfile.User{Username: "service-account-app", Email: "app@example.com", Enabled: true, ServiceAccount: "app"},
			realmfile.User{Username: "two", Email: "two@example.com", Enabled: true}, realmfile.User{Username: "too", Email: "two@example.com", Enabled: true})
		return r
	}
	ids := make(map[string]string)
	s := realmfile.New(realm())
	for _, u := range mustRead(t, s).Users() {
		ids[u.Username] = u.ID
	}
	for _, row := range []struct {
		name   string
		person source.Person
		edit   func(*realmfile.Realm)
		want   []string // usernames
		byID   bool
		doubt  string
	}{
		{name: "an account with the kept id", person: source.Person{IDs: []string{ids["ann"]}, Email: "bob@example.com"}, want: []string{"ann"}, byID: true},
		{name: "no account with the kept id, and one with the email", person: source.Person{IDs: []string{"gone"}, Email: "bob@example.com"}, want: []string{"bob"}},
		{name: "letter case of ASCII is folded", person: source.Person{Email: "KIM@example.com"}, want: []string{"kim"}},
		{name: "the Kelvin sign is no k", person: source.Person{Email: kelvin}},
		{name: "an I with a dot is no i", person: source.Person{Email: "kit@example.com"}},
		{name: "an I with a dot is not folded to i in a look-up", person: source.Person{Email: "ann@exampl\u0130.com"}},
		{name: "a person without an id and an email is not found", person: source.Person{}},
		{name: "a service account is not found by its email", person: source.Person{Email: "app@example.com"}},
		{name: "two accounts of one email", person: source.Person{Email: "two@example.com"}, want: []string{"too", "two"}},
		{name: "nobody has the email", person: source.Person{Email: "nobody@example.com"}},
		{name: "a federation that is switched off blocks a person without a kept id", person: source.Person{Email: "nobody@example.com"}, edit: switchOff,
			doubt: "the federation ldap is not up, and may have the person: it is switched off in Keycloak"},
		{name: "a federation that is switched off does not block a person with a plain kept id", person: source.Person{IDs: []string{"11111111-2222-3333-4444-555555555555"}, Email: "nobody@example.com"}, edit: switchOff},
		{name: "where emails may repeat, a federation that is switched off may have another account", person: source.Person{Email: "bob@example.com"},
			edit: func(r *realmfile.Realm) { switchOff(r); r.DuplicateEmails = true }, want: []string{"bob"},
			doubt: "the federation ldap is not up, and may have the person: it is switched off in Keycloak"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := realm()
			if row.edit != nil {
				row.edit(r)
			}
			row.person.Key = "key"
			found, asked := mustRead(t, realmfile.New(r), row.person).Found("key")
			var names []string
			for _, u := range found.Accounts {
				names = append(names, u.Username)
			}
			slices.Sort(names)
			if !asked || !slices.Equal(names, row.want) || found.ByID != row.byID || found.Doubt != row.doubt {
				t.Errorf("found %q, by id %v, doubt %q\nwant %q, %v, %q", names, found.ByID, found.Doubt, row.want, row.byID, row.doubt)
			}
		})
	}
}

func TestAGroupThatVanishesBetweenTheLooksIsAnError(t *testing.T) {
	s := realmfile.New(small())
	snap := mustRead(t, s)
	b := snap.Catalog().Groups()[1]
	catalog, selection := snap.Catalog(), source.Selection{Groups: []string{b.ID}}
	s.Edit(func(r *realmfile.Realm) { r.Groups = r.Groups[:1] })
	_, err := s.Confirm(t.Context(), snap, []source.Question{{Accounts: snap.Users()[:1], Sources: []source.Group{b}}}, nil)
	refused(t, err, fault.Incomplete, "the group "+b.ID+" vanished from the realm between two reads; run again")
	_, err = s.Read(t.Context(), catalog, selection)
	refused(t, err, fault.Incomplete, "the members of the group /b were not read; run again")
}

// An export contains Keycloak's own paths. A realm written by hand has none.
func TestPathsAreKeycloaksOwn(t *testing.T) {
	s := realmfile.New(&realmfile.Realm{Name: "r", Users: []realmfile.User{{Username: "ann"}}, Groups: []realmfile.Group{
		{Name: "a/b", Path: "/a~/b"}, {Name: "a", Path: "/a", SubGroups: []realmfile.Group{{Name: "b", Path: "/a/b"}, {Name: "c"}}},
	}})
	catalog, err := s.Catalog(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, g := range catalog.Groups() {
		paths = append(paths, g.Path)
	}
	if want := []string{"/a", "/a/b", "/a/c", "/a~/b"}; !slices.Equal(paths, want) {
		t.Errorf("paths are %q, want %q", paths, want)
	}
}

// LDAP imports unless importEnabled is false, another provider only if importEnabled is
// true. internal/source/keycloak reads a server in the same way.
func TestWhichFederationsImport(t *testing.T) {
	for _, row := range []struct {
		name      string
		component realmfile.Component
		imports   bool
	}{
		{"LDAP", realmfile.Component{ProviderID: "ldap"}, true},
		{"LDAP with importEnabled true", realmfile.Component{ProviderID: "ldap", Config: map[string][]string{"importEnabled": {"true"}}}, true},
		{"LDAP with importEnabled false", realmfile.Component{ProviderID: "ldap", Config: map[string][]string{"importEnabled": {"false"}}}, false},
		{"Kerberos", realmfile.Component{ProviderID: "kerberos"}, true},
		{"a custom storage", realmfile.Component{ProviderID: "storage"}, false},
		{"a custom storage with importEnabled true", realmfile.Component{ProviderID: "storage", Config: map[string][]string{"importEnabled": {"true"}}}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.component.ID, row.component.Name = "1", "people"
			r := small()
			r.Components = map[string][]realmfile.Component{federationType: {row.component}}
			catalog, err := realmfile.New(r).Catalog(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if f := catalog.Federations()[0]; f.Imports != row.imports || !f.Enabled || catalog.DuplicateEmails() == row.imports {
				t.Errorf("the federation is %+v, emails may repeat %v; want imports %v", f, catalog.DuplicateEmails(), row.imports)
			}
		})
	}
}
