package clearml

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/fault"
	"groupsync/internal/target"
	"groupsync/internal/target/clearmltest"
)

func user(t *testing.T, snap *target.Snapshot, id string) target.User {
	t.Helper()
	i, ok := snap.UserIndex(id)
	if !ok {
		t.Fatalf("no user %s", id)
	}
	return snap.Users()[i]
}

func TestReadReturnsBothViewsWhole(t *testing.T) {
	for _, listed := range []bool{false, true} {
		t.Run(fmt.Sprintf("service accounts among the users: %v", listed), func(t *testing.T) {
			s, c := setup(t, clearmltest.Options{ServiceUsersListed: listed})
			s.AddUser(clearmltest.User{ID: "c", GivenName: "Cy", FamilyName: "X", Email: "c@x", Providers: map[string]any{
				"keycloak": map[string]any{"id": "1", "manager": map[string]any{"id": "2"}, "claims": []any{"3"}}, "google": "then",
			}})
			snap, err := c.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want := target.User{ID: "c", GivenName: "Cy", FamilyName: "X", Email: "c@x", Role: "user",
				Providers: map[string][]string{"keycloak": {"1"}, "google": {"then"}}, Groups: []string{clearmltest.UsersID}}
			if diff := cmp.Diff(want, user(t, snap, "c")); diff != "" {
				t.Errorf("user (-want +got):\n%s", diff)
			}
			if u := user(t, snap, "b"); u.Providers == nil || len(u.Providers) != 0 {
				t.Errorf("a user without providers, where others have some, is local: got %#v", u.Providers)
			}
			if u := user(t, snap, clearmltest.Self); !u.ServiceAccount || u.Role != "admin" {
				t.Errorf("the service account: %+v", u)
			}
			groups := snap.Groups()
			i := slices.IndexFunc(groups, func(g target.Group) bool { return g.ID == "cm-team" })
			team := target.Group{ID: "cm-team", Name: "team", Description: "ours", Assignable: true, Members: []target.Member{{ID: "a", Name: "Ann", Email: "a@x"}}}
			if diff := cmp.Diff(team, groups[i]); diff != "" {
				t.Errorf("group (-want +got):\n%s", diff)
			}
			if snap.Disagreements() != 0 {
				t.Errorf("%d disagreements", snap.Disagreements())
			}
		})
	}
}

func TestWhereNobodyHasProvidersTheyAreUnknown(t *testing.T) {
	_, c := setup(t, clearmltest.Options{NoProviders: true})
	snap, err := c.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if u := user(t, snap, "a"); u.Providers != nil {
		t.Errorf("got %#v, want nil", u.Providers)
	}
}

// TestWhoseIdIsKept checks that an id counts only directly under a key that holds ids, and
// that the subject has priority over the other keys.
func TestWhoseIdIsKept(t *testing.T) {
	for _, tt := range []struct {
		name, told string
		want       []string
	}{
		{"the subject", `{"sub": "mine"}`, []string{"mine"}},
		{"an id", `{"id": "mine"}`, []string{"mine"}},
		{"a user id", `{"user_id": "mine"}`, []string{"mine"}},
		{"an external id", `{"external_id": "mine"}`, []string{"mine"}},
		{"several ids, sorted, each once", `{"user_id": "b", "id": "a", "external_id": "a"}`, []string{"a", "b"}},
		{"any case of letters", `{"Sub": "mine", "ID": "another's"}`, []string{"mine"}},
		{"any case, of each key", `{"USER_ID": "b", "Id": "a", "External_Id": "c"}`, []string{"a", "b", "c"}},
		{"the subject alone, where there is one", `{"sub": "mine", "id": "1", "user_id": "another's", "external_id": "another's"}`, []string{"mine"}},
		{"a subject that is empty is none", `{"sub": "", "id": "mine"}`, []string{"mine"}},
		{"a bare string", `"mine"`, []string{"mine"}},
		{"the time of the last sign-in", `"2026-01-01T00:00:00Z"`, []string{"2026-01-01T00:00:00Z"}},

		{"somebody else's id in a claim of the realm's own", `{"manager": "another's", "sub": "mine"}`, []string{"mine"}},
		{"such a claim alone", `{"manager": "another's"}`, []string{}},
		{"an id below a claim of the realm's own", `{"manager": {"id": "another's", "sub": "another's"}}`, []string{}},
		{"an id below anything", `{"info": {"sub": "mine"}, "claims": [{"id": "mine"}]}`, []string{}},
		{"a key that only ends in id", `{"manager_id": "another's", "employee_external_id": "another's", "uid": "x"}`, []string{}},
		{"a key whose letters only look alike", `{"\u017fub": "another's", "\u0130d": "another's", "\u0131d": "another's"}`, []string{}},
		{"claims of a profile", `{"name": "x", "nickname": "x", "preferred_username": "x", "email": "x", "phone_number": "x"}`, []string{}},
		{"a list of ids is no id", `{"sub": ["another's"], "id": ["another's"]}`, []string{}},
		{"a number is no id", `{"id": 7, "user_id": true}`, []string{}},
		{"a list of strings", `["another's"]`, []string{}},
		{"an empty string", `""`, []string{}},
		{"nothing", `{}`, []string{}},
		{"null", `null`, []string{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			users, err := decodeUsers([]userRecord{{ID: "a", Providers: json.RawMessage(`{"keycloak": ` + tt.told + `}`)}})
			if err != nil {
				t.Fatal(err)
			}
			got, used := users[0].Providers["keycloak"]
			if d := cmp.Diff(tt.want, got); d != "" || !used {
				t.Errorf("has used the provider: %v; -want +got\n%s", used, d)
			}
		})
	}
}

func TestProvidersThatAreNoObject(t *testing.T) {
	_, err := decodeUsers([]userRecord{{ID: "a", Providers: json.RawMessage(`["keycloak"]`)}})
	refused(t, nil, err, "ClearML users.get_all: the providers of the user a are not an object: groupsync does not know this version of ClearML", fault.Shape)
	users, err := decodeUsers([]userRecord{{ID: "a", Providers: json.RawMessage(`null`)}})
	if err != nil || users[0].Providers != nil {
		t.Errorf("null is absent: got %v, %v", users, err)
	}
}

func TestAServerWithoutServiceAccountsIsWarnedOfOnce(t *testing.T) {
	s, _ := setup(t, clearmltest.Options{NoServiceUsers: true})
	var log bytes.Buffer
	c := configured(t, Config{URL: s.URL, Keys: keys("access", "secret"), Log: slog.New(slog.NewTextHandler(&log, nil))})
	for range 2 {
		if _, err := c.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), `level=WARN msg="this ClearML does not list its service accounts: protect them by users.protect" call=users.get_service_users`); n != 1 {
		t.Errorf("warned %d times:\n%s", n, log.String())
	}
}

// TestAUserHiddenByADeletionIsFound deletes a user while the client is between two pages. One
// existing user is then missing from the answers, although every answer is 200.
func TestAUserHiddenByADeletionIsFound(t *testing.T) {
	s, c := setup(t, clearmltest.Options{})
	for i := range 700 {
		s.AddUser(clearmltest.User{ID: fmt.Sprintf("u%04d", i)})
	}
	s.Before("users.get_all", func(n int) {
		if n == 2 {
			s.RemoveUser("u0000") // now page 1 starts one user later
		}
	})
	snap, err := c.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, n, _ := snap.Counts(); n != 702 {
		t.Errorf("%d users, want the 702 that live", n)
	}
	if n := s.Count("users.get_all"); n != 3*(1+pagesAtOnce) {
		t.Errorf("%d requests, want three readings of the first page and %d at once", n, pagesAtOnce)
	}
}

func TestAnInsertionBetweenPagesIsReadAgain(t *testing.T) {
	s, c := setup(t, clearmltest.Options{})
	for i := range 700 {
		s.AddUser(clearmltest.User{ID: fmt.Sprintf("u%04d", i)})
	}
	s.Before("users.get_all", func(n int) {
		if n == 2 {
			s.AddUser(clearmltest.User{ID: "aa"}) // now page 1 repeats one user
		}
	})
	snap, err := c.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, n, _ := snap.Counts(); n != 704 {
		t.Errorf("%d users, want 704", n)
	}
}

func TestAListThatNeverRestsIsRefused(t *testing.T) {
	s, c := setup(t, clearmltest.Options{})
	s.After("users.get_all", func(n int) { s.AddUser(clearmltest.User{ID: fmt.Sprintf("z%d", n)}) })
	_, err := c.Read(t.Context())
	refused(t, c, err, "ClearML users.get_all: 4 readings of the user list, and no two in a row agree: users are being added or deleted; run again", fault.Incomplete)
}

// TestAServerThatLeavesBuiltInGroupsOutIsReadOnce checks that the member list of Admins alone counts
// if the users' own lists of groups do not contain built-in groups.
func TestAServerThatLeavesBuiltInGroupsOutIsReadOnce(t *testing.T) {
	s, c := setup(t, clearmltest.Options{NoBuiltinSecGroups: true})
	s.SetMembers("Admins", "a")
	snap, err := c.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !snap.OneView() || snap.Disagreements() != 0 {
		t.Errorf("one view %v, %d disagreements, want true and none", snap.OneView(), snap.Disagreements())
	}
	if groups, users := s.Count(groupsCall), s.Count("users.get_all"); groups != 1 || users != 4 {
		t.Errorf("%d readings of the groups and %d of the users, want 1 and 4: everything is read once", groups, users)
	}
	s.TruncateMembers(1)
	s.SetMembers("team", "a", "b") // an ordinary group is still judged by both views
	if snap, err = c.Read(t.Context()); err != nil || snap.Disagreement("cm-team") == "" || snap.Disagreement(clearmltest.AdminsID) != "" {
		t.Errorf("a cut list: %v, disagreements of the team %q and of Admins %q", err, snap.Disagreement("cm-team"), snap.Disagreement(clearmltest.AdminsID))
	}
	both, c := setup(t, clearmltest.Options{})
	both.SetMembers("Admins", "a")
	if snap, err := c.Read(t.Context()); err != nil || snap.OneView() {
		t.Errorf("a server that shows both views: %v, one view %v", err, snap.OneView())
	}
}

func TestACutMemberListIsADisagreement(t *testing.T) {
	s, c := setup(t, clearmltest.Options{})
	s.SetMembers("team", "a", "b")
	s.TruncateMembers(1)
	snap, err := c.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := snap.Disagreement("cm-team"); d != "0 members only in the group's list, 1 only in the users' own lists, 1 in both" {
		t.Errorf("got %q", d)
	}
}
