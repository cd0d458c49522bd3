package keycloak

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/fault"
	"groupsync/internal/source"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/transport"
)

func TestMain(m *testing.M) { os.Exit(keycloaktest.Main(m)) }

// counted counts attempts by the name of the call.
type counted struct {
	mu    sync.Mutex
	calls map[string]int
}

func (c *counted) observe(a transport.Attempt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls == nil {
		c.calls = make(map[string]int)
	}
	c.calls[a.Call]++
}

func (c *counted) total() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.calls {
		n += k
	}
	return n
}

func configOf(r *keycloaktest.Realm) Config {
	return Config{
		URL: r.Server.URL, Realm: r.Name, ClientID: r.ClientID,
		ClientSecret: func() (string, error) { return r.Secret, nil },
	}
}

func newSource(t testing.TB, c Config) *Source {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return s
}

// everything selects every group of the catalog, and the given roles.
func everything(c source.Catalog, roles ...string) source.Selection {
	sel := source.Selection{Roles: roles}
	for _, g := range c.Groups() {
		sel.Groups = append(sel.Groups, g.ID)
	}
	return sel
}

// read reads the catalog, all its groups, and the given roles.
func read(ctx context.Context, s *Source, roles ...string) (*source.Snapshot, error) {
	catalog, err := s.Catalog(ctx)
	if err != nil {
		return nil, err
	}
	return s.Read(ctx, catalog, everything(catalog, roles...))
}

func mustRead(t testing.TB, s *Source, roles ...string) *source.Snapshot {
	t.Helper()
	snap, err := read(t.Context(), s, roles...)
	if err != nil {
		t.Fatalf("reading the realm: %v", err)
	}
	return snap
}

func mustCatalog(t testing.TB, s *Source) source.Catalog {
	t.Helper()
	catalog, err := s.Catalog(t.Context())
	if err != nil {
		t.Fatalf("Catalog: %v", err)
	}
	return catalog
}

func mustLookUp(t testing.TB, s *Source, snap *source.Snapshot, people ...source.Person) *source.Snapshot {
	t.Helper()
	next, err := s.LookUp(t.Context(), snap, people, nil)
	if err != nil {
		t.Fatalf("LookUp: %v", err)
	}
	return next
}

// removal returns the question whether the accounts are out of the groups.
func removal(groups []source.Group, accounts ...source.User) source.Question {
	return source.Question{Group: "target", User: "person", Accounts: accounts, Sources: groups}
}

// grant returns the question whether the account is in one of the groups.
func grant(groups []source.Group, account source.User) source.Question {
	q := removal(groups, account)
	q.Grant = true
	return q
}

// gone returns the question whether the person with that key is gone from the realm.
func gone(by source.GoneBy, key string) source.Question {
	return source.Question{Group: "target", User: key, GoneBy: by}
}

// withRole returns the question for a user group that the role feeds too.
func withRole(q source.Question, role string) source.Question {
	q.Role = role
	return q
}

// groupsOf returns the groups with those paths.
func groupsOf(t testing.TB, c source.Catalog, paths ...string) []source.Group {
	t.Helper()
	var groups []source.Group
	for _, path := range paths {
		i := slices.IndexFunc(c.Groups(), func(g source.Group) bool { return g.Path == path })
		if i < 0 {
			t.Fatalf("the catalog has no group %s", path)
		}
		groups = append(groups, c.Groups()[i])
	}
	return groups
}

func mustConfirm(t testing.TB, s *Source, snap *source.Snapshot, questions ...source.Question) source.Confirmation {
	t.Helper()
	c, err := s.Confirm(t.Context(), snap, questions, nil)
	if err != nil {
		t.Fatalf("Confirm: %v", err)
	}
	if len(c.Answers) != len(questions) {
		t.Fatalf("%d answers to %d questions", len(c.Answers), len(questions))
	}
	return c
}

// wantDoubt fails the test unless the answer has this denial and exactly this doubt.
func wantDoubt(t testing.TB, c source.Confirmation, i int, denial source.Denial, doubt string) {
	t.Helper()
	if a := c.Answers[i]; a.Evidence.Valid() || a.Denial != denial || a.Doubt != doubt {
		t.Errorf("answer %d is evidence %q, denial %q, doubt %q\nwant denial %q, doubt %q", i, a.Evidence, a.Denial, a.Doubt, denial, doubt)
	}
}

// wantEvidence fails the test unless the answer has this reason and exactly this text.
func wantEvidence(t testing.TB, c source.Confirmation, i int, why source.Why, waits bool, text string) {
	t.Helper()
	if a := c.Answers[i]; a.Evidence.Why() != why || a.Evidence.Waits() != waits || a.Evidence.String() != text {
		t.Errorf("answer %d is evidence %q (%s, waits %v), denial %q, doubt %q\nwant %q (%s, waits %v)", i, a.Evidence, a.Evidence.Why(), a.Evidence.Waits(), a.Denial, a.Doubt, text, why, waits)
	}
}

// membersOf maps each group's path to its members' usernames, sorted.
func membersOf(snap *source.Snapshot) map[string][]string {
	all := make(map[string][]string)
	for _, g := range snap.Catalog().Groups() {
		ids, _ := snap.Members(g.ID)
		all[g.Path] = append(all[g.Path], names(snap, ids)...)
		slices.Sort(all[g.Path])
	}
	return all
}

func names(snap *source.Snapshot, ids []string) []string {
	var found []string
	for _, id := range ids {
		i, _ := snap.UserIndex(id)
		found = append(found, snap.Users()[i].Username)
	}
	slices.Sort(found)
	return found
}

func userOf(t testing.TB, snap *source.Snapshot, username string) source.User {
	t.Helper()
	for _, u := range snap.Users() {
		if u.Username == username {
			return u
		}
	}
	t.Fatalf("the snapshot has no user %q", username)
	return source.User{}
}

// wantError fails the test unless the error has the reason and contains all pieces.
func wantError(t testing.TB, err error, reason fault.Reason, pieces ...string) {
	t.Helper()
	f := fault.Of(err)
	if f == nil {
		t.Fatalf("the error is %v, want one of reason %q", err, reason)
	}
	if f.System != fault.Keycloak || f.Reason != reason {
		t.Errorf("the error is of %s/%s, want keycloak/%s: %v", f.System, f.Reason, reason, err)
	}
	for _, p := range pieces {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("the error %q lacks %q", err, p)
		}
	}
}

func TestAWholeRealmIsReadInTheBudget(t *testing.T) {
	spec := keycloaktest.Spec{Groups: []string{"/all", "/empty"}, ServiceGroups: []string{"/parent"}}
	want := map[string][]string{"/all": nil, "/empty": nil, "/parent": {"service-account-groupsync"}}
	for i := range 15 {
		path := fmt.Sprintf("/parent/child-%02d", i)
		spec.Groups = append(spec.Groups, path, path+"/deep")
		want[path], want[path+"/deep"] = nil, []string{"user-000"}
	}
	for i := range 130 {
		u := keycloaktest.User{Username: fmt.Sprintf("user-%03d", i), Email: fmt.Sprintf("User-%03d@example.com", i), Groups: []string{"/all"}, Disabled: i == 7}
		if i == 0 {
			for j := range 15 {
				u.Groups = append(u.Groups, fmt.Sprintf("/parent/child-%02d/deep", j))
			}
		}
		spec.Users = append(spec.Users, u)
		want["/all"] = append(want["/all"], u.Username)
	}
	for i := range 120 {
		spec.Groups = append(spec.Groups, fmt.Sprintf("/flat-%03d", i))
		want[fmt.Sprintf("/flat-%03d", i)] = nil
	}
	r := keycloaktest.Shared(t).NewRealm(t, spec)
	var seen counted
	c := configOf(r)
	c.Observe = seen.observe
	snap := mustRead(t, newSource(t, c))
	if diff := cmp.Diff(want, membersOf(snap)); diff != "" {
		t.Errorf("members by path (-want +got):\n%s", diff)
	}
	groups, users, memberships := snap.Counts()
	if groups != 153 || users != 131 || memberships != 130+15+1 {
		t.Errorf("counts are %d groups, %d users, %d memberships; want 153, 131 with the service account, 146", groups, users, memberships)
	}
	if u := userOf(t, snap, "user-007"); u.Enabled {
		t.Errorf("user-007 is disabled in Keycloak and reads as enabled")
	}
	if u := userOf(t, snap, "service-account-groupsync"); !u.ServiceAccount {
		t.Errorf("the service account does not read as one: %+v", u)
	}
	if u := userOf(t, snap, "user-000"); u.ServiceAccount || u.Federation != "" || u.Email != "user-000@example.com" {
		t.Errorf("user-000 reads as %+v", u)
	}
	// Expected: the children of 16 parents; token, components, realm, groups and count; one
	// search for the service account.
	if limit := groups + 16 + 5 + 1; seen.total() > limit || seen.calls["users"] > 0 {
		t.Errorf("%d requests, want at most %d and no list of all users: %v", seen.total(), limit, seen.calls)
	}
}

func TestHoldersOfTheAdminRole(t *testing.T) {
	r := keycloaktest.Shared(t).NewRealm(t, keycloaktest.Spec{
		Groups:     []string{"/bosses/heirs/deep", "/chiefs", "/clerks"},
		GroupRoles: map[string][]string{"/bosses": {"boss"}, "/chiefs": {"top"}},
		Users: []keycloaktest.User{
			{Username: "direct", Roles: []string{"boss"}},
			{Username: "group", Groups: []string{"/bosses"}},
			{Username: "heir", Groups: []string{"/bosses/heirs/deep"}},
			{Username: "nested", Roles: []string{"top"}},
			{Username: "nested-group", Groups: []string{"/chiefs"}},
			{Username: "via-client", Roles: []string{"shop/owner"}},
			{Username: "seller", Roles: []string{"shop/a/b"}},
			{Username: "clerk", Roles: []string{"shop/clerk"}},
			{Username: "impostor"}, {Username: "guard"},
			{Username: "nobody", Groups: []string{"/clerks"}},
		},
		Composites: map[string][]string{
			"top": {"middle"}, "middle": {"low"}, "low": {"boss"}, "shop/owner": {"boss", "shop/a/b"},
		},
		ServiceRoles: []string{"view-users", "view-realm", "view-clients"},
	})
	// In a Spec, a slash ends the name of a client, so the test creates these roles itself.
	for role, holder := range map[string]string{"shop/clerk": "impostor", "night/watch": "guard"} {
		r.Do(t, http.MethodPost, "/roles", map[string]any{"name": role}, nil)
		var rep map[string]any
		r.Do(t, http.MethodGet, "/roles/"+url.PathEscape(role), nil, &rep)
		r.Do(t, http.MethodPost, "/users/"+r.UserID(t, holder)+"/role-mappings/realm", []any{rep}, nil)
	}
	rows := []struct {
		name, role string
		want       []string
		near       []string
	}{
		{"a realm role directly, by group, by parent, by composites of depth three and of a client", "boss",
			[]string{"direct", "group", "heir", "nested", "nested-group", "via-client"}, nil},
		{"a client role whose name has a slash, and a composite with it", "shop/a/b", []string{"seller", "via-client"}, nil},
		{"a role with another letter case is not there and is named", "Boss", nil, []string{"boss"}},
		{"a misspelt client role is not there and is named", "shop/ownre", nil, []string{"shop/owner"}},
		{"a name with a slash is a client's role, though a realm role bears it", "shop/clerk", []string{"clerk"}, nil},
		{"the realm role of that name is written with realm:", "realm:shop/clerk", []string{"impostor"}, nil},
		{"a realm role with a slash is not found by its bare name and is named", "night/watch", nil, []string{"realm:night/watch"}},
		{"a realm role with a slash", "realm:night/watch", []string{"guard"}, nil},
		{"realm: before a name without a slash is that realm role too", "realm:boss", []string{"direct", "group", "heir", "nested", "nested-group", "via-client"}, nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			snap := mustRead(t, newSource(t, configOf(r)), row.role)
			holders := snap.HoldersOfRole(row.role)
			if diff := cmp.Diff(row.want, names(snap, holders)); diff != "" {
				t.Errorf("holders of %s (-want +got):\n%s", row.role, diff)
			}
			if got := snap.Role(row.role); got.Found != (row.want != nil) || !slices.Equal(got.Near, row.near) {
				t.Errorf("the role %s: found %v, near %q; want %v, %q", row.role, got.Found, got.Near, row.want != nil, row.near)
			}
		})
	}
	t.Run("without view-clients a client role is an error that names it", func(t *testing.T) {
		r := keycloaktest.Shared(t).NewRealm(t, keycloaktest.Spec{Groups: []string{"/a"}, Users: []keycloaktest.User{{Username: "u", Roles: []string{"shop/owner"}}}})
		_, err := read(t.Context(), newSource(t, configOf(r)), "shop/owner")
		wantError(t, err, fault.Forbidden, `reading the role "shop/owner"`, `the service account of the client "groupsync" the role view-clients of realm-management`)
	})
	t.Run("without view-clients a realm role follows the realm's composites", func(t *testing.T) {
		r := keycloaktest.Shared(t).NewRealm(t, keycloaktest.Spec{Groups: []string{"/a"},
			Users:      []keycloaktest.User{{Username: "u", Roles: []string{"top"}}, {Username: "w", Roles: []string{"shop/owner"}}},
			Composites: map[string][]string{"top": {"boss"}, "shop/owner": {"boss"}}})
		snap := mustRead(t, newSource(t, configOf(r)), "boss")
		if got := names(snap, snap.HoldersOfRole("boss")); !slices.Equal(got, []string{"u"}) {
			t.Errorf("holders are %q, want u", got)
		}
		// The second look reads the roles in effect, so w is not removed.
		snap = mustLookUp(t, newSource(t, configOf(r)), snap, source.Person{Key: "w", IDs: []string{r.UserID(t, "w")}})
		c := mustConfirm(t, newSource(t, configOf(r)), snap, withRole(removal(nil, userOf(t, snap, "w")), "boss"))
		wantDoubt(t, c, 0, source.Unclear, "the account holds the role boss in effect, perhaps through a client's role. groupsync cannot read the clients' roles. Give the service account of keycloak.client_id the role view-clients")
	})
	t.Run("a service account that holds the role reads as one", func(t *testing.T) {
		r := keycloaktest.Shared(t).NewRealm(t, keycloaktest.Spec{Groups: []string{"/a"}, Users: []keycloaktest.User{
			{Username: "service-account-person", Roles: []string{"boss"}}, {Username: "ann", Roles: []string{"boss"}},
		}})
		var rep map[string]any
		r.Do(t, http.MethodGet, "/roles/boss", nil, &rep)
		r.Do(t, http.MethodPost, "/users/"+r.UserID(t, "service-account-groupsync")+"/role-mappings/realm", []any{rep}, nil)
		snap := mustRead(t, newSource(t, configOf(r)), "boss")
		for name, want := range map[string]bool{"service-account-groupsync": true, "service-account-person": false, "ann": false} {
			if u := userOf(t, snap, name); u.ServiceAccount != want {
				t.Errorf("%s reads as service account: %v, want %v", name, u.ServiceAccount, want)
			}
		}
	})
}

func TestRefusalsOfTheRealServer(t *testing.T) {
	server := keycloaktest.Shared(t)
	plain := keycloaktest.Spec{Groups: []string{"/a"}, Users: []keycloaktest.User{{Username: "u"}}}
	with := func(change func(*keycloaktest.Spec)) keycloaktest.Spec {
		spec := plain
		change(&spec)
		return spec
	}
	rows := []struct {
		name   string
		spec   keycloaktest.Spec
		change func(*Config)
		reason fault.Reason
		pieces []string
	}{
		{"a wrong secret", plain, func(c *Config) { c.ClientSecret = func() (string, error) { return "wrong", nil } }, fault.Auth,
			[]string{`refuses the client "groupsync" (401 unauthorized_client`, "check keycloak.client_id and the client secret"}},
		{"a client that does not exist", plain, func(c *Config) { c.ClientID = "nobody" }, fault.Auth,
			[]string{`refuses the client "nobody" (401 invalid_client`}},
		{"a realm that does not exist", plain, func(c *Config) { c.Realm = "nowhere" }, fault.NotFound,
			[]string{`there is no realm "nowhere" at http://127.0.0.1:`, "check keycloak.realm"}},
		{"a path prefix that the server does not have", plain, func(c *Config) { c.URL += "/auth" }, fault.NotFound,
			[]string{"the path prefix in keycloak.url"}},
		{"query-groups only", with(func(s *keycloaktest.Spec) { s.ServiceRoles = []string{"query-groups"} }), nil, fault.Forbidden,
			[]string{"the access token lacks view-users and view-realm of realm-management"}},
		{"view-users without view-realm", with(func(s *keycloaktest.Spec) { s.ServiceRoles = []string{"view-users"} }), nil, fault.Forbidden,
			[]string{"the access token lacks view-realm of realm-management"}},
		{"a lightweight token", with(func(s *keycloaktest.Spec) { s.Lightweight = true }), nil, fault.Forbidden,
			[]string{"the access token carries no client roles", `"Always use lightweight access token"`}},
		{"a realm without groups", with(func(s *keycloaktest.Spec) { s.Groups = nil }), nil, fault.Incomplete,
			[]string{"the realm has no groups"}},
		{"a port that nothing listens on", plain, func(c *Config) { c.URL = "http://127.0.0.1:1" }, fault.Connection,
			[]string{"no connection to http://127.0.0.1:1: ", "connection refused; check keycloak.url"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c := configOf(server.NewRealm(t, row.spec))
			if row.change != nil {
				row.change(&c)
			}
			_, err := read(t.Context(), newSource(t, c))
			wantError(t, err, row.reason, row.pieces...)
		})
	}
}

func TestAnAccessTokenThatEndsMidPullIsRenewed(t *testing.T) {
	spec := keycloaktest.Spec{TokenSeconds: 2, Users: []keycloaktest.User{{Username: "u"}}}
	for i := range 30 {
		spec.Groups = append(spec.Groups, fmt.Sprintf("/g-%02d", i))
	}
	r := keycloaktest.Shared(t).NewRealm(t, spec)
	var seen counted
	c := configOf(r)
	c.Observe, c.Concurrency = func(a transport.Attempt) {
		seen.observe(a)
		if a.Code == http.StatusUnauthorized {
			t.Errorf("%s was answered 401: the token was renewed too late", a.Call)
		}
		time.Sleep(200 * time.Millisecond)
	}, 1
	snap := mustRead(t, newSource(t, c))
	if groups, _, _ := snap.Counts(); groups != 30 || seen.calls["token"] < 3 {
		t.Errorf("%d groups with %d tokens; want 30 with at least 3", groups, seen.calls["token"])
	}
}

func TestConfirmInARealmWithoutFederations(t *testing.T) {
	r := keycloaktest.Shared(t).NewRealm(t, keycloaktest.Spec{
		Groups:     []string{"/eng", "/ops"},
		GroupRoles: map[string][]string{"/ops": {"boss"}},
		Users: []keycloaktest.User{
			{Username: "stays", Email: "stays@example.com", Groups: []string{"/eng"}},
			{Username: "left", Email: "left@example.com", Groups: []string{"/ops"}},
			{Username: "off", Email: "off@example.com", Disabled: true, Groups: []string{"/eng"}},
			{Username: "admin", Email: "admin@example.com", Groups: []string{"/ops"}},
		},
	})
	var seen counted
	c := configOf(r)
	c.Observe = seen.observe
	s := newSource(t, c)
	snap := mustRead(t, s, "boss")
	eng, ops := groupsOf(t, snap.Catalog(), "/eng"), groupsOf(t, snap.Catalog(), "/ops")
	user := func(name string) source.User { return userOf(t, snap, name) }
	r.Leave(t, "left", "/ops")
	lookedUp := mustLookUp(t, s, snap,
		source.Person{Key: "gone", Email: "No.Body@example.com", IDs: []string{"11111111-2222-3333-4444-555555555555"}},
		source.Person{Key: "gone by email", Email: "no.body@example.com"},
		source.Person{Key: "rekeyed", Email: "LEFT@example.com", IDs: []string{"11111111-2222-3333-4444-555555555555"}},
		source.Person{Key: "moved", Email: "other@example.com", IDs: []string{user("stays").ID}},
		source.Person{Key: "unusual ids", Email: "odd@example.com", IDs: []string{"count", "profile", "..", "", "a/b", "f:x:somebody"}},
		source.Person{Key: "no email", IDs: []string{"11111111-2222-3333-4444-555555555555"}},
	)
	if seen.calls["probe"] != 0 || seen.calls["users"] != 0 {
		t.Errorf("requests of the look-up are %v; want no probe and no list of all users", seen.calls)
	}
	seen.calls = nil
	left := user("left")
	got := mustConfirm(t, s, lookedUp,
		removal(slices.Concat(eng, ops), left),
		removal(eng, user("stays")),
		removal(eng, user("off")),
		gone(source.ByID, "gone"),
		gone(source.ByEmail, "gone by email"),
		gone(source.ByID, "moved"),
		gone(source.ByID, "unusual ids"),
		gone(source.ByID, "no email"),
		gone(source.ByID, "nobody asked"),
		withRole(removal(eng, left), "boss"),
		withRole(removal(nil, user("admin")), "boss"),
		source.Question{User: "rekeyed", Accounts: []source.User{left}, Sources: eng, GoneBy: source.ByID},
		grant(eng, user("stays")),
		grant(ops, user("stays")),
		withRole(grant(nil, user("admin")), "boss"),
		removal(eng, user("off"), left),
	)
	wantEvidence(t, got, 0, source.NotMember, false, "read twice: in none of 2 Keycloak groups")
	wantDoubt(t, got, 1, source.Unclear, "the second read of the Keycloak group /eng lists the account")
	wantEvidence(t, got, 2, source.Disabled, false, "read twice: the account is disabled, in Keycloak's own database too")
	wantEvidence(t, got, 3, source.Gone, false, "looked up: Keycloak has neither the id that ClearML keeps nor the email")
	wantEvidence(t, got, 4, source.Gone, false, "looked up: no account has the email; ClearML keeps no account id, so the person is judged by the email only")
	wantDoubt(t, got, 5, source.Unclear, "the look-up finds the account whose id ClearML keeps")
	wantEvidence(t, got, 6, source.Gone, false, "looked up: Keycloak has neither the id that ClearML keeps nor the email")
	wantDoubt(t, got, 7, source.Unclear, "the person has no email, so groupsync cannot tell whether the person is gone")
	wantDoubt(t, got, 8, source.Unclear, "the person was not looked up in Keycloak")
	wantEvidence(t, got, 9, source.NotMember, false, "read twice: not in the one Keycloak group, and without the role boss")
	wantDoubt(t, got, 10, source.Unclear, "the second read of the holders of the role boss lists the account")
	wantEvidence(t, got, 11, source.NotMember, false, "none of the 2 accounts that could be this person belongs in the user group: read twice: not in the one Keycloak group; looked up: Keycloak no longer has the id that ClearML keeps")
	wantEvidence(t, got, 12, source.Member, false, "read twice")
	wantDoubt(t, got, 13, source.Unclear, "the second read of the Keycloak group /ops does not list the account")
	wantEvidence(t, got, 14, source.Member, false, "read twice, and the account holds the role in effect")
	wantEvidence(t, got, 15, source.Disabled, false, "none of the 2 accounts that could be this person belongs in the user group: read twice: the account is disabled, in Keycloak's own database too; read twice: not in the one Keycloak group")
	if seen.calls["members"] != 2 || seen.calls["probe"] != 0 || seen.calls["own_count"] != 0 || seen.calls["own_groups"] != 0 || seen.calls["token"] != 2 {
		t.Errorf("requests are %v; want 2 members, no probe, nobody's own side, 2 tokens", seen.calls)
	}
	t.Run("a federation of earlier passes that the realm has no more answers its probe", func(t *testing.T) {
		known := []source.Federation{{ID: "lost", Name: "ldap", Answered: true}}
		next, err := s.LookUp(t.Context(), snap, []source.Person{{Key: "gone", Email: "no.body@example.com", IDs: []string{"1-2"}}}, known)
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.Confirm(t.Context(), next, []source.Question{gone(source.ByID, "gone"), removal(eng, left)}, known)
		if err != nil {
			t.Fatal(err)
		}
		wantEvidence(t, c, 0, source.Gone, true, "looked up: Keycloak has neither the id that ClearML keeps nor the email")
		wantEvidence(t, c, 1, source.NotMember, false, "read twice: not in the one Keycloak group")
		if len(c.Probes) != 1 || !c.Probes[0].Up {
			t.Errorf("probes are %+v, want one that is up", c.Probes)
		}
	})
	t.Run("a right that was taken away since ends the look with its name", func(t *testing.T) {
		revoke(t, r, "view-users")
		_, err := s.Confirm(t.Context(), snap, []source.Question{removal(eng, left)}, nil)
		wantError(t, err, fault.Forbidden, "the access token lacks view-users")
	})
}

func TestARealmWithoutPeopleIsRefusedByTheLookUp(t *testing.T) {
	r := keycloaktest.Shared(t).NewRealm(t, keycloaktest.Spec{Groups: []string{"/a"}})
	s := newSource(t, configOf(r))
	snap := mustRead(t, s)
	_, err := s.LookUp(t.Context(), snap, []source.Person{{Key: "1", Email: "ann@example.com"}}, nil)
	wantError(t, err, fault.Incomplete, "the realm shows no account at all: not in the groups that were read, and not for 1 people of ClearML who were looked up; nothing is synchronized from an empty realm; check keycloak.realm")
}

// revoke removes a role of realm-management from the client's service account.
func revoke(t testing.TB, r *keycloaktest.Realm, role string) {
	t.Helper()
	var clients []struct{ ID string }
	r.Do(t, http.MethodGet, "/clients?clientId=realm-management", nil, &clients)
	var rep map[string]any
	r.Do(t, http.MethodGet, "/clients/"+clients[0].ID+"/roles/"+role, nil, &rep)
	r.Do(t, http.MethodDelete, "/users/"+r.UserID(t, "service-account-"+r.ClientID)+"/role-mappings/clients/"+clients[0].ID, []any{rep}, nil)
}

func TestKeycloakUnderAPathPrefix(t *testing.T) {
	server := keycloaktest.Start(t, keycloaktest.Options{Path: "/auth"})
	r := server.NewRealm(t, keycloaktest.Spec{Groups: []string{"/a/b"}, Users: []keycloaktest.User{{Username: "u", Groups: []string{"/a/b"}}}})
	c := configOf(r)
	c.URL += "/"
	if diff := cmp.Diff(map[string][]string{"/a": nil, "/a/b": {"u"}}, membersOf(mustRead(t, newSource(t, c)))); diff != "" {
		t.Errorf("members by path (-want +got):\n%s", diff)
	}
	t.Run("a server that is killed during the read ends it with an error", func(t *testing.T) {
		c.Timeout = 5 * time.Second
		s := newSource(t, c)
		catalog := mustCatalog(t, s)
		server.Kill(t)
		_, err := s.Read(t.Context(), catalog, everything(catalog))
		wantError(t, err, fault.Connection, "no connection to "+strings.TrimRight(c.URL, "/"))
	})
	t.Run("a server that hangs ends the read with a time-out", func(t *testing.T) {
		server.Restart(t)
		catalog := mustCatalog(t, newSource(t, configOf(r)))
		c.Timeout = time.Second
		s := newSource(t, c)
		server.Pause(t)
		_, err := s.Read(t.Context(), catalog, everything(catalog))
		server.Resume(t)
		wantError(t, err, fault.Timeout, "no complete answer from", "within 1s")
	})
	t.Run("a pass that is called off says so, and errors.Is tells", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := newSource(t, configOf(r))
		catalog := mustCatalog(t, s)
		cancel()
		_, err := s.Read(ctx, catalog, everything(catalog))
		wantError(t, err, fault.Connection, "given up: context canceled")
	})
}
