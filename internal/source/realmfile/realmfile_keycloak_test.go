package realmfile_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"groupsync/internal/source"
	"groupsync/internal/source/keycloak"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/source/realmfile"
)

func TestMain(m *testing.M) { os.Exit(keycloaktest.Main(m)) }

const example = "../../../examples/realm/clearml-realm.json"

// reader holds the methods that both sources have.
type reader interface {
	Catalog(context.Context) (source.Catalog, error)
	Read(context.Context, source.Catalog, source.Selection) (*source.Snapshot, error)
	LookUp(context.Context, *source.Snapshot, []source.Person, []source.Federation) (*source.Snapshot, error)
	Confirm(context.Context, *source.Snapshot, []source.Question, []source.Federation) (source.Confirmation, error)
}

// read reads all groups and the given roles.
func read(ctx context.Context, r reader, roles ...string) (*source.Snapshot, error) {
	catalog, err := r.Catalog(ctx)
	if err != nil {
		return nil, err
	}
	selection := source.Selection{Roles: roles}
	for _, g := range catalog.Groups() {
		selection.Groups = append(selection.Groups, g.ID)
	}
	return r.Read(ctx, catalog, selection)
}

// told is a snapshot in paths and usernames. An import keeps these even if ids change.
type told struct {
	Groups      []string
	Users       []string
	Members     map[string][]string
	Roles       []source.RoleHolders
	Holders     map[string][]string
	Federations []source.Federation
	Duplicates  bool
	Counts      [3]int
}

func tell(s *source.Snapshot, roles ...string) told {
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
	t := told{Members: map[string][]string{}, Holders: map[string][]string{}, Federations: s.Catalog().Federations(), Duplicates: s.Catalog().DuplicateEmails()}
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
	for _, name := range roles {
		t.Holders[name] = names(s.HoldersOfRole(name))
		role := *s.Role(name)
		role.Direct, role.Groups = nil, nil
		for _, u := range s.Role(name).Direct {
			role.Direct = append(role.Direct, source.User{Username: u.Username, Enabled: u.Enabled, ServiceAccount: u.ServiceAccount})
		}
		slices.SortFunc(role.Direct, func(a, b source.User) int { return cmp.Compare(a.Username, b.Username) })
		for _, id := range s.Role(name).Groups {
			role.Groups = append(role.Groups, path(id))
		}
		t.Roles = append(t.Roles, role)
	}
	return t
}

// handmade is a realm without ids. It has features that the example realm lacks: names in
// capitals, a composite of a composite, and a role that a group's parent gives.
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
		{"the example realm", string(text), []string{"clearml-admin", "clearml/operator", "platform-lead", "clearml-admni", "clearml/Operator"}},
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
			compare(t, live, file)
			compare(t, live, file, row.roles...)
		})
	}
}

func compare(t *testing.T, live, file reader, roles ...string) {
	t.Helper()
	want, err := read(t.Context(), live, roles...)
	if err != nil {
		t.Fatal(err)
	}
	got, err := read(t.Context(), file, roles...)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(tell(want, roles...), tell(got, roles...)); diff != "" {
		t.Errorf("with the roles %q (- server, + file):\n%s", roles, diff)
	}
	if diff := gocmp.Diff(answers(t, live, want, roles), answers(t, file, got, roles)); diff != "" {
		t.Errorf("look-ups and answers with the roles %q (- server, + file):\n%s", roles, diff)
	}
}

// answers looks up the people in a source. It then asks about every person and group: is the
// person in the group, out of it, without the role, a holder of the role, and gone. It
// returns the parts of the answers that contain no id.
func answers(t *testing.T, r reader, snap *source.Snapshot, roles []string) []string {
	t.Helper()
	var all []string
	people := []source.Person{
		{Key: "nobody", Email: "nobody@example.com", IDs: []string{"11111111-2222-3333-4444-555555555555"}},
		{Key: "nobody by email", Email: "nobody@example.com"}, {Key: "no email"},
	}
	for _, u := range snap.Users() {
		people = append(people,
			source.Person{Key: u.Username + " by id", IDs: []string{u.ID}},
			source.Person{Key: u.Username + " by email", Email: strings.ToUpper(u.Email)},
			source.Person{Key: u.Username + " by an old id", IDs: []string{"11111111-2222-3333-4444-555555555555"}, Email: u.Email},
			source.Person{Key: u.Username + " with an email that nobody has", IDs: []string{u.ID}, Email: "nobody@example.com"})
	}
	snap, err := r.LookUp(t.Context(), snap, people, nil)
	if err != nil {
		t.Fatal(err)
	}
	var questions []source.Question
	var names []string
	ask := func(who, what string, q source.Question) {
		questions, names = append(questions, q), append(names, who+" "+what)
	}
	for _, p := range people {
		found, _ := snap.Found(p.Key)
		line := fmt.Sprintf("found %s: by id %v, %s", p.Key, found.ByID, found.Doubt)
		for _, u := range found.Accounts {
			line += " " + u.Username
		}
		all = append(all, line)
		for _, by := range []source.GoneBy{source.ByID, source.ByEmail} {
			ask(p.Key, "gone by "+string(by), source.Question{User: p.Key, GoneBy: by})
		}
	}
	for _, u := range snap.Users() {
		one := []source.User{u}
		for _, g := range snap.Catalog().Groups() {
			ask(u.Username, "out of "+g.Path, source.Question{Accounts: one, Sources: []source.Group{g}})
			if u.Enabled { // a disabled account is granted nothing
				ask(u.Username, "in "+g.Path, source.Question{Accounts: one, Sources: []source.Group{g}, Grant: true})
			}
		}
		for _, role := range roles {
			ask(u.Username, "without "+role, source.Question{Accounts: one, Role: role})
			if u.Enabled {
				ask(u.Username, "holds "+role, source.Question{Accounts: one, Role: role, Grant: true})
			}
		}
	}
	c, err := r.Confirm(t.Context(), snap, questions, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range c.Answers {
		all = append(all, fmt.Sprintf("%s: %s%s, waits %v", names[i], a.Evidence, a.Doubt, a.Evidence.Waits()))
	}
	slices.Sort(all)
	return all
}
