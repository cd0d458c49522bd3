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
	_, err = s.Read(t.Context(), everything(""))
	refused(t, err, fault.Incomplete, "the realm has no groups: nothing is synchronized from an empty realm; check keycloak.realm")
}

func TestALookThatIsGivenUpIsAnError(t *testing.T) {
	s := realmfile.New(small())
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("shutting down"))
	_, err := s.Read(ctx, everything(""))
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
		snap, err := s.Read(t.Context(), everything(""))
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
	_, err = s.Read(t.Context(), everything(""))
	refused(t, err, fault.Shape, "reading the realm file "+path+": it breaks off in the middle; export the realm again")
}

// Each row edits the realm between the two looks; every verdict is of the
// second one alone.
func TestConfirmIsASecondLook(t *testing.T) {
	leave := func(i int) func(*realmfile.Realm) {
		return func(r *realmfile.Realm) { r.Users[i].Groups = nil }
	}
	for _, row := range []struct {
		name  string
		who   int // place in small's users
		why   source.Why
		edit  func(*realmfile.Realm)
		known []source.Federation
		want  string // evidence or doubt; %s is the id of /a
		waits bool
	}{
		{"still a member", 0, source.NotMember, func(*realmfile.Realm) {}, nil,
			"the second read of the members of the Keycloak group /a has them", false},
		{"a member no more", 0, source.NotMember, leave(0), nil, "read twice: not in the one Keycloak group", false},
		{"a federated member no more", 2, source.NotMember, leave(2), nil, "read twice: not in the one Keycloak group", true},
		{"enabled", 0, source.Disabled, func(*realmfile.Realm) {}, nil, "the second look finds their account enabled", false},
		{"disabled", 0, source.Disabled, func(r *realmfile.Realm) { r.Users[0].Enabled = false }, nil,
			"read twice: the account is disabled", false},
		{"federated and disabled", 2, source.Disabled, func(r *realmfile.Realm) { r.Users[2].Enabled = false }, nil,
			"read twice: the account is disabled, in Keycloak's own database too", false},
		{"not gone", 0, source.Gone, func(*realmfile.Realm) {}, nil, "the second look finds an account with their email", false},
		{"gone by the email, not by the id", 0, source.Gone, func(r *realmfile.Realm) { r.Users[0].Email = "else@example.com" }, nil,
			"the second look finds the account whose id is kept of them", false},
		{"gone, in a realm with a federation", 0, source.Gone, func(r *realmfile.Realm) { r.Users = r.Users[1:] }, nil,
			"looked up: no account has the email", true},
		{"the federation is switched off", 0, source.NotMember, func(r *realmfile.Realm) {
			leave(0)(r)
			r.Components["org.keycloak.storage.UserStorageProvider"][0].Config["enabled"] = []string{"false"}
		}, nil, "the federation ldap is not up: it is switched off in Keycloak", false},
		{"the federation vanished between the looks", 0, source.NotMember, func(r *realmfile.Realm) {
			leave(0)(r)
			r.Components = nil
		}, nil, "the federation ldap is not up: it vanished from the realm between two looks", false},
		{"a federation that is only remembered", 0, source.NotMember, leave(0),
			[]source.Federation{{ID: "2", Name: "old"}}, "read twice: not in the one Keycloak group", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := realmfile.New(small())
			snap, err := s.Read(t.Context(), everything(""))
			if err != nil {
				t.Fatal(err)
			}
			group := snap.Catalog().Groups()[0]
			username := small().Users[row.who].Username
			i := slices.IndexFunc(snap.Users(), func(u source.User) bool { return u.Username == username })
			user := snap.Users()[i]
			claim := source.Claim{Why: row.why, User: user, Groups: []source.Group{group}}
			if row.why == source.Gone {
				claim = source.Claim{Why: row.why, Email: user.Email, IDs: []string{user.ID}}
			}
			s.Edit(row.edit)
			c, err := s.Confirm(t.Context(), snap, []source.Claim{claim}, row.known)
			if err != nil {
				t.Fatal(err)
			}
			v := c.Verdicts[0]
			want := row.want
			if got := v.Evidence.String() + v.Doubt; got != want || v.Evidence.Waits() != row.waits {
				t.Errorf("got  %s, waits %v\nwant %s, waits %v", got, v.Evidence.Waits(), want, row.waits)
			}
			if want := 1 + len(row.known); len(c.Probes) != want {
				t.Errorf("%d probes, want %d", len(c.Probes), want)
			}
		})
	}
}

func TestAGroupThatVanishesBetweenTheLooksIsAnError(t *testing.T) {
	s := realmfile.New(small())
	snap, err := s.Read(t.Context(), everything(""))
	if err != nil {
		t.Fatal(err)
	}
	b := snap.Catalog().Groups()[1]
	s.Edit(func(r *realmfile.Realm) { r.Groups = r.Groups[:1] })
	_, err = s.Confirm(t.Context(), snap, []source.Claim{{Why: source.NotMember, User: snap.Users()[0], Groups: []source.Group{b}}}, nil)
	refused(t, err, fault.Incomplete, "the group "+b.ID+" vanished from the realm between two looks; run again")
}
