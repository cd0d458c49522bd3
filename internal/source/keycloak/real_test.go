package keycloak

import (
	"context"
	"fmt"
	"net/http"
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

// counted counts the attempts by the name of their call.
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

// pickAll selects every group, and the role where one is given.
func pickAll(role string) func(source.Catalog) source.Selection {
	return func(c source.Catalog) source.Selection {
		sel := source.Selection{Role: role}
		for _, g := range c.Groups() {
			sel.Groups = append(sel.Groups, g.ID)
		}
		return sel
	}
}

func mustRead(t testing.TB, s *Source, role string) *source.Snapshot {
	t.Helper()
	snap, err := s.Read(t.Context(), pickAll(role))
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	return snap
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

// wantError holds the error to the reason, and to every piece of the sentence.
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
	snap := mustRead(t, newSource(t, c), "")
	if diff := cmp.Diff(want, membersOf(snap)); diff != "" {
		t.Errorf("members by path (-want +got):\n%s", diff)
	}
	groups, users, memberships := snap.Counts()
	if groups != 153 || users != 130 || memberships != 130+15+1 {
		t.Errorf("counts are %d groups, %d users, %d memberships; want 153, 130, 146", groups, users, memberships)
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
	if limit := groups + 16 + 5; seen.total() > limit { // 16 parents
		t.Errorf("%d requests, want at most %d: %v", seen.total(), limit, seen.calls)
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
			{Username: "nobody", Groups: []string{"/clerks"}},
		},
		Composites: map[string][]string{
			"top": {"middle"}, "middle": {"low"}, "low": {"boss"}, "shop/owner": {"boss", "shop/a/b"},
		},
		ServiceRoles: []string{"view-users", "view-realm", "view-clients"},
	})
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
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			snap := mustRead(t, newSource(t, configOf(r)), row.role)
			if diff := cmp.Diff(row.want, names(snap, snap.HoldersOfRole())); diff != "" {
				t.Errorf("holders of %s (-want +got):\n%s", row.role, diff)
			}
			if got := snap.Role(); got.Found != (row.want != nil) || !slices.Equal(got.Near, row.near) {
				t.Errorf("the role %s: found %v, near %q; want %v, %q", row.role, got.Found, got.Near, row.want != nil, row.near)
			}
		})
	}
	t.Run("without view-clients a client role is an error that names it", func(t *testing.T) {
		r := keycloaktest.Shared(t).NewRealm(t, keycloaktest.Spec{Groups: []string{"/a"}, Users: []keycloaktest.User{{Username: "u", Roles: []string{"shop/owner"}}}})
		_, err := newSource(t, configOf(r)).Read(t.Context(), pickAll("shop/owner"))
		wantError(t, err, fault.Forbidden, `reading the role "shop/owner"`, `the client "groupsync" needs view-clients of realm-management`)
	})
	t.Run("without view-clients a realm role follows the realm's composites", func(t *testing.T) {
		r := keycloaktest.Shared(t).NewRealm(t, keycloaktest.Spec{Groups: []string{"/a"},
			Users:      []keycloaktest.User{{Username: "u", Roles: []string{"top"}}, {Username: "w", Roles: []string{"shop/owner"}}},
			Composites: map[string][]string{"top": {"boss"}, "shop/owner": {"boss"}}})
		snap := mustRead(t, newSource(t, configOf(r)), "boss")
		if got := names(snap, snap.HoldersOfRole()); !slices.Equal(got, []string{"u"}) {
			t.Errorf("holders are %q, want u", got)
		}
		// The second look asks for the roles in effect, so the other one is not removed.
		c := mustConfirm(t, newSource(t, configOf(r)), snap, source.Claim{Why: source.NotMember, User: userOf(t, snap, "w"), Role: "boss"})
		wantDoubt(t, c, 0, "they hold the role boss in effect")
	})
}

func mustConfirm(t testing.TB, s *Source, snap *source.Snapshot, claims ...source.Claim) source.Confirmation {
	t.Helper()
	c, err := s.Confirm(t.Context(), snap, claims, nil)
	if err != nil {
		t.Fatalf("Confirm: %v", err)
	}
	if len(c.Verdicts) != len(claims) {
		t.Fatalf("%d verdicts for %d claims", len(c.Verdicts), len(claims))
	}
	return c
}

func wantDoubt(t testing.TB, c source.Confirmation, i int, doubt string) {
	t.Helper()
	if v := c.Verdicts[i]; v.Evidence.Valid() || !strings.Contains(v.Doubt, doubt) {
		t.Errorf("verdict %d is evidence %q, doubt %q; want the doubt %q", i, v.Evidence, v.Doubt, doubt)
	}
}

func wantEvidence(t testing.TB, c source.Confirmation, i int, why source.Why, waits bool) {
	t.Helper()
	if v := c.Verdicts[i]; v.Evidence.Why() != why || v.Evidence.Waits() != waits {
		t.Errorf("verdict %d is evidence %q (%s, waits %v), doubt %q; want %s, waits %v", i, v.Evidence.Why(), v.Evidence, v.Evidence.Waits(), v.Doubt, why, waits)
	}
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
			[]string{"the access token carries no client roles", "Use lightweight access token"}},
		{"a realm without groups", with(func(s *keycloaktest.Spec) { s.Groups = nil }), nil, fault.Incomplete,
			[]string{"the realm has no groups"}},
		{"a realm without users", with(func(s *keycloaktest.Spec) { s.Users = nil }), nil, fault.Incomplete,
			[]string{"the realm has no users"}},
		{"a port that nothing listens on", plain, func(c *Config) { c.URL = "http://127.0.0.1:1" }, fault.Connection,
			[]string{"no connection to http://127.0.0.1:1: ", "connection refused; check keycloak.url"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c := configOf(server.NewRealm(t, row.spec))
			if row.change != nil {
				row.change(&c)
			}
			_, err := newSource(t, c).Read(t.Context(), pickAll(""))
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
	snap := mustRead(t, newSource(t, c), "")
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
			{Username: "left", Email: "left@example.com"},
			{Username: "off", Email: "off@example.com", Disabled: true, Groups: []string{"/eng"}},
			{Username: "admin", Email: "admin@example.com", Groups: []string{"/ops"}},
		},
	})
	var seen counted
	c := configOf(r)
	c.Observe = seen.observe
	s := newSource(t, c)
	snap := mustRead(t, s, "boss")
	eng, ops := r.GroupID(t, "/eng"), r.GroupID(t, "/ops")
	user := func(name string) source.User { return userOf(t, snap, name) }
	seen.calls = nil
	got := mustConfirm(t, s, snap,
		source.Claim{Why: source.NotMember, User: user("left"), Groups: groupsOf(eng, ops)},
		source.Claim{Why: source.NotMember, User: user("stays"), Groups: groupsOf(eng)},
		source.Claim{Why: source.Disabled, User: user("off")},
		source.Claim{Why: source.Disabled, User: user("stays")},
		source.Claim{Why: source.Gone, Email: "No.Body@example.com", IDs: []string{"11111111-2222-3333-4444-555555555555"}},
		source.Claim{Why: source.Gone, Email: "STAYS@example.com"},
		source.Claim{Why: source.Gone, Email: "other@example.com", IDs: []string{user("stays").ID}},
		source.Claim{Why: source.NotMember, User: user("left"), Groups: groupsOf(eng), Role: "boss"},
		source.Claim{Why: source.NotMember, User: user("admin"), Role: "boss"},
		source.Claim{Why: source.Gone, Email: "odd@example.com", IDs: []string{"count"}},
		source.Claim{Why: source.Gone, Email: "odd@example.com", IDs: []string{"f:x:somebody"}},
	)
	wantEvidence(t, got, 0, source.NotMember, false)
	wantDoubt(t, got, 1, "the second read of the members of the Keycloak group "+eng+" has them")
	wantEvidence(t, got, 2, source.Disabled, false)
	wantDoubt(t, got, 3, "the second look finds their account enabled")
	wantEvidence(t, got, 4, source.Gone, false)
	wantDoubt(t, got, 5, "the second look finds an account with their email")
	wantDoubt(t, got, 6, "the second look finds the account whose id is kept of them")
	wantEvidence(t, got, 7, source.NotMember, false)
	wantDoubt(t, got, 8, "the second read of the holders of the role boss has them")
	wantDoubt(t, got, 9, "the account id that is kept of them was not looked up")
	wantDoubt(t, got, 10, "the account id that is kept of them was not looked up")
	if seen.calls["members"] != 2 || seen.calls["probe"] != 0 || seen.calls["token"] != 2 {
		t.Errorf("requests are %v; want 2 members, no probe, 2 tokens", seen.calls)
	}
	t.Run("a federation of earlier passes that the realm has no more answers its probe", func(t *testing.T) {
		c, err := s.Confirm(t.Context(), snap, []source.Claim{{Why: source.NotMember, User: user("left"), Groups: groupsOf(eng)}}, []source.Federation{{ID: "lost", Name: "ldap"}})
		if err != nil {
			t.Fatal(err)
		}
		wantEvidence(t, c, 0, source.NotMember, false)
		if len(c.Probes) != 1 || !c.Probes[0].Up {
			t.Errorf("probes are %+v, want one that is up", c.Probes)
		}
	})
	t.Run("a right that was taken away since ends the look with its name", func(t *testing.T) {
		revoke(t, r, "view-users")
		_, err := s.Confirm(t.Context(), snap, []source.Claim{{Why: source.Gone, Email: "stays@example.com"}}, nil)
		wantError(t, err, fault.Forbidden, "the access token lacks view-users")
	})
}

// revoke takes a role of realm-management from the client's service account.
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
	if diff := cmp.Diff(map[string][]string{"/a": nil, "/a/b": {"u"}}, membersOf(mustRead(t, newSource(t, c), ""))); diff != "" {
		t.Errorf("members by path (-want +got):\n%s", diff)
	}
	t.Run("a server that is killed during the read ends it with an error", func(t *testing.T) {
		c.Timeout = 5 * time.Second
		_, err := newSource(t, c).Read(t.Context(), func(catalog source.Catalog) source.Selection {
			server.Kill(t)
			return pickAll("")(catalog)
		})
		wantError(t, err, fault.Connection, "no connection to "+strings.TrimRight(c.URL, "/"))
	})
	t.Run("a server that hangs ends the read with a time-out", func(t *testing.T) {
		server.Restart(t)
		c.Timeout = time.Second
		_, err := newSource(t, c).Read(t.Context(), func(catalog source.Catalog) source.Selection {
			server.Pause(t)
			return pickAll("")(catalog)
		})
		server.Resume(t)
		wantError(t, err, fault.Timeout, "no whole answer from", "within 1s")
	})
	t.Run("a pass that is called off says so, and errors.Is tells", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := newSource(t, configOf(r)).Read(ctx, func(catalog source.Catalog) source.Selection {
			cancel()
			return pickAll("")(catalog)
		})
		wantError(t, err, fault.Connection, "given up: context canceled")
	})
}

// groupsOf names groups by their ids alone.
func groupsOf(ids ...string) []source.Group {
	groups := make([]source.Group, len(ids))
	for i, id := range ids {
		groups[i] = source.Group{ID: id, Path: id}
	}
	return groups
}
