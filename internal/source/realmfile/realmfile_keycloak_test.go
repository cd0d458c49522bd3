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

// reader is what both sources are.
type reader interface {
	Read(context.Context, func(source.Catalog) source.Selection) (*source.Snapshot, error)
	Confirm(context.Context, *source.Snapshot, []source.Claim, []source.Federation) (source.Confirmation, error)
}

// everything selects all groups and the role.
func everything(role string) func(source.Catalog) source.Selection {
	return func(c source.Catalog) source.Selection {
		s := source.Selection{Role: role}
		for _, g := range c.Groups() {
			s.Groups = append(s.Groups, g.ID)
		}
		return s
	}
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

func tell(s *source.Snapshot) told {
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
	t := told{Members: map[string][]string{}, Holders: names(s.HoldersOfRole()), Federations: s.Federations()}
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
	if h := s.Role(); h != nil {
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
		{"the example realm", string(text), []string{"", "clearml-admin", "clearml/operator", "platform-lead", "clearml-admni", "clearml/Operator"}},
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
	want, err := live.Read(t.Context(), everything(role))
	if err != nil {
		t.Fatal(err)
	}
	got, err := file.Read(t.Context(), everything(role))
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(tell(want), tell(got)); diff != "" {
		t.Errorf("with the role %q (- server, + file):\n%s", role, diff)
	}
	if diff := gocmp.Diff(verdicts(t, live, want, role), verdicts(t, file, got, role)); diff != "" {
		t.Errorf("verdicts with the role %q (- server, + file):\n%s", role, diff)
	}
}

// verdicts asks both of every person whether they are in no group, disabled and
// gone, and keeps what does not hold an id.
func verdicts(t *testing.T, r reader, snap *source.Snapshot, role string) []string {
	t.Helper()
	var claims []source.Claim
	var names []string
	ask := func(u source.User, c source.Claim) {
		claims, names = append(claims, c), append(names, u.Username+" "+string(c.Why))
	}
	for _, u := range snap.Users() {
		for _, g := range snap.Catalog().Groups() {
			ask(u, source.Claim{Why: source.NotMember, User: u, Groups: []source.Group{g}})
		}
		if snap.Role() != nil && snap.Role().Found {
			ask(u, source.Claim{Why: source.NotMember, User: u, Role: role})
		}
		ask(u, source.Claim{Why: source.Disabled, User: u})
		ask(u, source.Claim{Why: source.Gone, Email: u.Email})
	}
	ask(source.User{Username: "nobody"}, source.Claim{Why: source.Gone, Email: "nobody@example.com", IDs: []string{"11111111-2222-3333-4444-555555555555"}})
	c, err := r.Confirm(t.Context(), snap, claims, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range c.Verdicts {
		doubt := v.Doubt
		for _, g := range snap.Catalog().Groups() {
			doubt = strings.ReplaceAll(doubt, g.ID, g.Path)
		}
		names[i] += ": " + v.Evidence.String() + doubt
	}
	slices.Sort(names)
	return names
}
