package realmfile_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"groupsync/internal/source"
	"groupsync/internal/source/keycloak"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/source/realmfile"
)

func TestMain(m *testing.M) { os.Exit(keycloaktest.Main(m)) }

const example = "../../../examples/realm/clearml-realm.json"

// reader is what both sources are.
type reader interface {
	Catalog(context.Context) (source.Catalog, error)
	Read(context.Context, source.Catalog, source.Selection) (*source.Snapshot, error)
	LookUp(context.Context, *source.Snapshot, []source.Person, []source.Federation) (*source.Snapshot, error)
	Confirm(context.Context, *source.Snapshot, []source.Question, []source.Federation) (source.Confirmation, error)
}

// read reads all groups and the role, and looks up everybody of the emails.
func read(t *testing.T, r reader, role string, emails ...string) *source.Snapshot {
	t.Helper()
	c, err := r.Catalog(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var s source.Selection
	if role != "" {
		s.Roles = []string{role}
	}
	for _, g := range c.Groups() {
		s.Groups = append(s.Groups, g.ID)
	}
	snap, err := r.Read(t.Context(), c, s)
	if err != nil {
		t.Fatal(err)
	}
	var people []source.Person
	for _, email := range emails {
		people = append(people, source.Person{Key: email, Email: email})
	}
	snap, err = r.LookUp(t.Context(), snap, people, nil)
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// told is a snapshot in paths and usernames, which a realm keeps through an
// import even where its ids change.
type told struct {
	Groups      []string
	Users       []string
	Members     map[string][]string
	Role        *source.RoleHolders
	Holders     []string
	Federations []source.Federation
	Counts      [3]int
}

func tell(s *source.Snapshot, role string) told {
	name := func(id string) string {
		i, _ := s.UserIndex(id)
		return s.Users()[i].Username
	}
	names := func(ids []string) []string {
		var names []string
		for _, id := range ids {
			names = append(names, name(id))
		}
		slices.Sort(names)
		return names
	}
	path := func(id string) string { g, _ := s.Catalog().Group(id); return g.Path }
	t := told{Members: map[string][]string{}, Holders: names(s.HoldersOfRole(role)), Federations: s.Catalog().Federations()}
	t.Counts[0], t.Counts[1], t.Counts[2] = s.Counts()
	for _, g := range s.Catalog().Groups() {
		t.Groups = append(t.Groups, g.Path+" below "+path(g.Parent))
		ids, _ := s.Members(g.ID)
		t.Members[g.Path] = names(ids)
	}
	for _, u := range s.Users() {
		u.ID = ""
		t.Users = append(t.Users, fmt.Sprintf("%+v", u))
	}
	slices.Sort(t.Users)
	if h := s.Role(role); h != nil {
		role := *h
		role.Direct, role.Groups = nil, nil
		for _, u := range h.Direct {
			role.Direct = append(role.Direct, source.User{Username: u.Username, Enabled: u.Enabled})
		}
		slices.SortFunc(role.Direct, func(a, b source.User) int { return cmp.Compare(a.Username, b.Username) })
		for _, id := range h.Groups {
			role.Groups = append(role.Groups, path(id))
		}
		t.Role = &role
	}
	return t
}

// handmade is a realm without ids, with what the example does not have: names
// in capitals, a composite of a composite, a role by a group's parent.
const handmade = `{"realm": "handmade", "enabled": true,
	"groups": [{"name": "a", "clientRoles": {"shop": ["seller"]}, "subGroups": [
		{"name": "b", "subGroups": [{"name": "c"}]}]}, {"name": "d"}],
	"users": [
		{"username": "Ann", "email": "Ann@Example.com", "enabled": true, "groups": ["/a/b/c", "/d"]},
		{"username": "bob", "enabled": true, "realmRoles": ["chief"]},
		{"username": "cyd", "enabled": false, "groups": ["/a"], "realmRoles": ["boss"]}],
	"clients": [{"clientId": "shop", "enabled": true}],
	"roles": {"realm": [
			{"name": "boss", "composite": true, "composites": {"client": {"shop": ["seller"]}}},
			{"name": "chief", "composite": true, "composites": {"realm": ["boss"]}}],
		"client": {"shop": [{"name": "seller"}]}}}`

func TestAFileAndTheServerGiveTheSameSnapshot(t *testing.T) {
	text, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, export string
		roles        []string
	}{
		{"the example realm", string(text), []string{"", "clearml-admin", "clearml/operator", "platform-lead", "clearml-admni", "clearml/Operator", "realm:clearml-admin", "realm:clearml/operator"}},
		{"a realm without ids", handmade, []string{"shop/seller", "boss", "chief"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			realm := keycloaktest.Shared(t).ImportRealm(t, []byte(row.export))
			realm.GrantClient(t, "view-clients")
			live, err := keycloak.New(keycloak.Config{URL: realm.Server.URL, Realm: realm.Name, ClientID: realm.ClientID,
				ClientSecret: func() (string, error) { return realm.Secret, nil }})
			if err != nil {
				t.Fatal(err)
			}
			file, err := realmfile.Parse([]byte(row.export))
			if err != nil {
				t.Fatal(err)
			}
			for _, role := range row.roles {
				compare(t, role, live, file)
			}
		})
	}
}

func compare(t *testing.T, role string, live, file reader) {
	t.Helper()
	emails := []string{"nobody@example.com", "ada@example.com", "ANN@example.com", "karen@example.com"}
	want, got := read(t, live, role, emails...), read(t, file, role, emails...)
	if diff := gocmp.Diff(tell(want, role), tell(got, role)); diff != "" {
		t.Errorf("with the role %q (- server, + file):\n%s", role, diff)
	}
	if diff := gocmp.Diff(answers(t, live, want, role), answers(t, file, got, role)); diff != "" {
		t.Errorf("answers with the role %q (- server, + file):\n%s", role, diff)
	}
}

// answers asks of every person whether they are in and out of every group and of the
// role, and of somebody whether they are gone, and keeps what does not hold an id.
func answers(t *testing.T, r reader, snap *source.Snapshot, role string) []string {
	t.Helper()
	var questions []source.Question
	var names []string
	ask := func(name string, q source.Question) {
		q.Group, q.User = "group", cmp.Or(q.User, "user")
		questions = append(questions, q)
		names = append(names, fmt.Sprintf("%s, grant %v", name, q.Grant))
	}
	for _, u := range snap.Users() {
		for _, grant := range []bool{true, false} {
			for _, g := range snap.Catalog().Groups() {
				ask(u.Username+" in "+g.Path, source.Question{Grant: grant, Accounts: []source.User{u}, Sources: []source.Group{g}})
			}
			if h := snap.Role(role); h != nil && h.Found {
				ask(u.Username+" with the role", source.Question{Grant: grant, Accounts: []source.User{u}, Role: role})
			}
		}
	}
	ask("nobody", source.Question{User: "nobody@example.com", GoneBy: source.ByEmail})
	ask("ada", source.Question{User: "ada@example.com", GoneBy: source.ByEmail})
	c, err := r.Confirm(t.Context(), snap, questions, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range c.Answers {
		names[i] += ": " + a.Evidence.String() + a.Doubt
	}
	slices.Sort(names)
	return names
}
