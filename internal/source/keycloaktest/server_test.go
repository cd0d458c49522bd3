package keycloaktest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"testing"
)

// TestMain runs the tests on a server of their own. Some tests measure Keycloak's user cache, and
// other tests of the lent server can clear that cache for all realms.
func TestMain(m *testing.M) {
	os.Unsetenv(lentVariable)
	os.Exit(Main(m))
}

func get[T any](tb testing.TB, r *Realm, path string) T {
	tb.Helper()
	status, body := r.Get(tb, path)
	if status != http.StatusOK {
		tb.Fatalf("GET %s: %d %s", path, status, body)
	}
	var out T
	if err := json.Unmarshal(body, &out); err != nil {
		tb.Fatalf("GET %s: %v in %s", path, err, body)
	}
	return out
}

type account struct {
	ID, Username, FederationLink string
	Enabled                      bool
}

func usernames(accounts []account) []string {
	var names []string
	for _, a := range accounts {
		names = append(names, a.Username)
	}
	slices.Sort(names)
	return names
}

func equal(tb testing.TB, what string, got, want any) {
	tb.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		tb.Errorf("%s\n got %s\nwant %s", what, g, w)
	}
}

func TestARealmIsWhatItsSpecSays(t *testing.T) {
	r := Shared(t).NewRealm(t, Spec{
		Groups:     []string{"/eng/ops/night", "/eng", "/sales"},
		GroupRoles: map[string][]string{"/eng": {"boss"}, "/sales": {"shop/seller"}},
		Users: []User{
			{Username: "ann", Email: "ann@example.com", Groups: []string{"/eng", "/eng/ops/night"}},
			{Username: "bob", Disabled: true, Groups: []string{"/eng"}, Roles: []string{"chief"}},
		},
		Composites:    map[string][]string{"chief": {"boss", "shop/seller"}},
		ServiceRoles:  []string{"view-users", "view-realm", "view-clients"},
		ServiceGroups: []string{"/sales"},
	})

	equal(t, "groups", get[object](t, r, "/groups/count"), object{"count": 4})
	eng := get[[]account](t, r, "/groups/"+r.GroupID(t, "/eng")+"/members")
	equal(t, "members of /eng", usernames(eng), []string{"ann", "bob"})
	equal(t, "bob is enabled", eng[1].Enabled, false)
	equal(t, "members of /eng/ops/night",
		usernames(get[[]account](t, r, "/groups/"+r.GroupID(t, "/eng/ops/night")+"/members")), []string{"ann"})
	equal(t, "members of /sales",
		usernames(get[[]account](t, r, "/groups/"+r.GroupID(t, "/sales")+"/members")), []string{"service-account-groupsync"})
	equal(t, "holders of chief", usernames(get[[]account](t, r, "/roles/chief/users")), []string{"bob"})
	equal(t, "roles in chief", len(get[[]object](t, r, "/roles/chief/composites")), 2)
	equal(t, "groups with boss", get[[]object](t, r, "/roles/boss/groups")[0]["path"], "/eng")

	r.Leave(t, "ann", "/eng")
	r.Join(t, "ann", "/sales")
	r.SetEnabled(t, "bob", true)
	r.EditUser(t, "ann", func(user object) { user["email"] = "ann@example.org" })
	equal(t, "people with the new email", usernames(get[[]account](t, r, "/users?exact=true&email=ann@example.org")), []string{"ann"})
	r.DeleteGroup(t, "/eng/ops/night")
	equal(t, "members of /eng after the changes",
		get[[]account](t, r, "/groups/"+r.GroupID(t, "/eng")+"/members"), []account{{ID: eng[1].ID, Username: "bob", Enabled: true}})
	r.DeleteUser(t, "bob")
	equal(t, "users at the end", usernames(get[[]account](t, r, "/users")), []string{"ann"})
}

// The members of a group do not show which accounts are service accounts. The quoted search
// by username or email leaves service accounts out, and ignores case.
func TestServiceAccountsAreToldByTheQuotedSearch(t *testing.T) {
	r := Shared(t).NewRealm(t, Spec{
		Groups: []string{"/staff"}, ServiceGroups: []string{"/staff"},
		Users: []User{{Username: "ann", Email: "ann@example.com", Groups: []string{"/staff"}}},
	})
	for _, brief := range []string{"true", "false"} {
		keys := map[string]bool{}
		for _, member := range get[[]object](t, r, "/groups/"+r.GroupID(t, "/staff")+"/members?briefRepresentation="+brief) {
			if member["username"] == "service-account-groupsync" {
				for key := range member {
					keys[key] = true
				}
			}
		}
		equal(t, "a member of brief="+brief+" tells its client", keys["serviceAccountClientId"], false)
		equal(t, "a member of brief="+brief+" is there", keys["id"], true)
	}
	for search, want := range map[string][]string{
		"service-account-groupsync": {}, "ann": {"ann"}, "ANN": {"ann"}, "ann@example.com": {"ann"}, "an": {},
	} {
		equal(t, "users?search with quotes: "+search, usernames(get[[]account](t, r, "/users?search=%22"+search+"%22")), want)
	}
}

func TestWithoutViewUsersTheListIsEmptyAndTheCountIsNot(t *testing.T) {
	r := Shared(t).NewRealm(t, Spec{Groups: []string{"/a", "/b"}, ServiceRoles: []string{"query-groups"}})
	equal(t, "groups", len(get[[]object](t, r, "/groups")), 0)
	equal(t, "count", get[object](t, r, "/groups/count"), object{"count": 2})
}

func TestAServerComesBackWithItsRealmsUnderAPathPrefix(t *testing.T) {
	s := Start(t, Options{Path: "/auth"})
	r := s.NewRealm(t, Spec{Groups: []string{"/a"}})
	s.Kill(t)
	if resp, err := http.Get(s.URL); err == nil {
		t.Errorf("a killed server answers %s", resp.Status)
	}
	s.Restart(t)
	equal(t, "count", get[object](t, r, "/groups/count"), object{"count": 1})
	s.Pause(t)
	if answers(s.URL + "/realms/master") {
		t.Error("a paused server answers")
	}
	s.Resume(t)
	equal(t, "count", get[object](t, r, "/groups/count"), object{"count": 1})
}
