package keycloak

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"groupsync/internal/source"
)

// TestFind checks that Find looks up the ids first, then the exact email and the exact username.
// Find finds a service account only by its username.
func TestFind(t *testing.T) {
	users := map[string]string{ // by query
		"email=ann@example.com":        accountOf("1-1", "ann", "ann@example.com"),
		"email=app@example.com":        accountOf("5-5", "service-account-app", "app@example.com"),
		"username=ann":                 accountOf("1-1", "ann", "ann@example.com"),
		"username=ANN":                 accountOf("1-1", "ann", "ann@example.com"),
		"username=ann@example.com":     accountOf("2-2", "ann@example.com", "other@example.com"),
		"username=an":                  accountOf("1-1", "ann", "ann@example.com"), // a server that answers more than the exact name
		"username=service-account-app": accountOf("5-5", "service-account-app", "app@example.com"),
	}
	for _, row := range []struct {
		name   string
		person source.Person
		ids    []string // ids of the expected accounts
		asked  []string // expected queries, without those for service accounts
	}{
		{"an id that is found: no look-up by username", source.Person{IDs: []string{"9-9"}, Username: "9-9"}, []string{"9-9"}, nil},
		{"a username", source.Person{IDs: []string{"ann"}, Username: "ann"}, []string{"1-1"}, []string{"username=ann"}},
		{"a username in capitals", source.Person{Username: "ANN"}, []string{"1-1"}, []string{"username=ANN"}},
		{"an email that is somebody else's username", source.Person{Email: "ann@example.com", Username: "ann@example.com"}, []string{"1-1", "2-2"}, []string{"email=ann@example.com", "username=ann@example.com"}},
		{"an account whose username only begins with the text", source.Person{Username: "an"}, nil, []string{"username=an"}},
		{"a service account by its username", source.Person{Username: "service-account-app"}, []string{"5-5"}, []string{"username=service-account-app"}},
		{"a service account is not found by its email", source.Person{Email: "app@example.com"}, nil, []string{"email=app@example.com"}},
		{"neither id, email nor username", source.Person{}, nil, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			f, s := newFake(t, nil)
			var asked []string
			f.answers["/users"] = func(w http.ResponseWriter, r *http.Request) {
				q := r.URL.Query()
				body := ""
				for _, key := range []string{"email", "username"} {
					if q.Has(key) {
						if q.Get("exact") != "true" {
							t.Errorf("a query for a name is not exact: %s", r.URL.RawQuery)
						}
						asked = append(asked, key+"="+q.Get(key))
						body = users[key+"="+q.Get(key)]
					}
				}
				answer("["+body+"]")(w, r)
			}
			f.answers["/users/9-9"] = answer(accountOf("9-9", "nine", ""))
			catalog, err := s.Catalog(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			found, err := s.Find(t.Context(), catalog, []source.Person{row.person}, nil)
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, u := range found.Found[0].Accounts {
				ids = append(ids, u.ID)
				if want := strings.HasPrefix(u.Username, "service-account-"); u.ServiceAccount != want {
					t.Errorf("%s is a service account: %v, want %v", u.Username, u.ServiceAccount, want)
				}
			}
			slices.Sort(ids)
			if !slices.Equal(ids, row.ids) || !slices.Equal(asked, row.asked) || found.Found[0].Doubt != "" {
				t.Errorf("found %q (doubt %q) by %q; want %q by %q", ids, found.Found[0].Doubt, asked, row.ids, row.asked)
			}
		})
	}
}

// TestGroupsOf checks that GroupsOf probes a federation before and after it reads the groups of
// the federation's people. For local people it makes no probes.
func TestGroupsOf(t *testing.T) {
	const away = "the federation ldap is not up, so groups that come from it can be missing: "
	local, fed := source.User{ID: "1-1"}, source.User{ID: "2-2", Federation: "c1"}
	for _, row := range []struct {
		name   string
		user   source.User
		answer http.HandlerFunc
		probe  http.HandlerFunc
		groups []string
		doubt  string
		probes int
	}{
		{"a local account", local, answer(`[{"id":"g2","name":"ops"},{"id":"g1","name":"eng"}]`), probeDown, []string{"g1", "g2"}, "", 0},
		{"an account of a federation that is up", fed, answer(`[{"id":"g1","name":"eng"}]`), probeUp, []string{"g1"}, "", 2},
		{"an account of a federation that is away", fed, answer(`[]`), probeDown, nil, away, 2},
		{"an account that vanished", local, status(404, "application/json", `{"error":"User not found"}`), probeUp, nil, noAccount, 0},
		{"an account that Keycloak fails on", local, status(500, "application/json", `{"error":"unknown_error"}`), probeUp, nil, failed, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			f, s := newFake(t, nil)
			f.answers["/components"] = answer(ldapComponent)
			f.answers["/users/"+row.user.ID+"/groups"], f.answers["probe"] = row.answer, row.probe
			catalog, err := s.Catalog(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			found, err := s.GroupsOf(t.Context(), catalog, []source.User{row.user}, nil)
			if err != nil {
				t.Fatal(err)
			}
			own := found[row.user.ID]
			if !slices.Equal(own.Groups, row.groups) || !strings.HasPrefix(own.Doubt, row.doubt) || (own.Doubt == "") != (row.doubt == "") {
				t.Errorf("groups %q, doubt %q; want %q, %q", own.Groups, own.Doubt, row.groups, row.doubt)
			}
			if n := f.asked("/users/f:c1:"); n != row.probes {
				t.Errorf("%d probes, want %d", n, row.probes)
			}
		})
	}
	t.Run("a refusal is an error", func(t *testing.T) {
		f, s := newFake(t, nil)
		f.answers["/users/1-1/groups"] = status(403, "application/json", `{}`)
		catalog, err := s.Catalog(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err = s.GroupsOf(t.Context(), catalog, []source.User{local}, nil); err == nil || !strings.HasPrefix(err.Error(), "reading the groups of an account: ") {
			t.Errorf("got %v", err)
		}
	})
}
