package clearml

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

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

// TestWhoseIdIsKept: an id counts only directly under a key that holds ids, and
// the subject outranks the other keys.
func TestWhoseIdIsKept(t *testing.T) {
	for _, tt := range []struct {
		name, told string
		want       []string
	}{
		{"the subject", `{"sub": "mine"}`, []string{"mine"}},
		{"an id", `{"id": "mine"}`, []string{"mine"}},
		{"a user id", `{"user_id": "mine"}`, []string{"mine"}},
		{"an external id", `{"external_id": "mine"}`, []string{"mine"}},
		{"several of them, sorted, each once", `{"user_id": "b", "id": "a", "external_id": "a"}`, []string{"a", "b"}},
		{"any case of letters", `{"Sub": "mine", "ID": "another's"}`, []string{"mine"}},
		{"any case, of each key", `{"USER_ID": "b", "Id": "a", "External_Id": "c"}`, []string{"a", "b", "c"}},
		{"the subject alone, where there is one", `{"sub": "mine", "id": "1", "user_id": "another's", "external_id": "another's"}`, []string{"mine"}},
		{"a subject that is empty is none", `{"sub": "", "id": "mine"}`, []string{"mine"}},
		{"a bare string", `"mine"`, []string{"mine"}},
		{"the time of the last sign-in", `"2026-01-01T00:00:00Z"`, []string{"2026-01-01T00:00:00Z"}},

		{"somebody else's id in a claim of the realm's own", `{"manager": "another's", "sub": "mine"}`, []string{"mine"}},
		{"such a claim alone", `{"manager": "another's"}`, []string{}},
		{"an id below such a claim", `{"manager": {"id": "another's", "sub": "another's"}}`, []string{}},
		{"an id below anything", `{"info": {"sub": "mine"}, "claims": [{"id": "mine"}]}`, []string{}},
		{"a key that only ends so", `{"manager_id": "another's", "employee_external_id": "another's", "uid": "x"}`, []string{}},
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
	refused(t, nil, err, "ClearML users.get_all: the providers of the user a are no object: this version of ClearML is not one that groupsync knows", fault.Shape)
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

// A deletion between two pages hides one living user, with nothing but 200s.
func TestAUserHiddenByADeletionIsFound(t *testing.T) {
	s, c := setup(t, clearmltest.Options{})
	for i := range 700 {
		s.AddUser(clearmltest.User{ID: fmt.Sprintf("u%04d", i)})
	}
	s.Before("users.get_all", func(n int) {
		if n == 2 {
			s.RemoveUser("u0000") // now page 1 starts one later
		}
	})
	snap, err := c.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, n, _ := snap.Counts(); n != 702 {
		t.Errorf("%d users, want the 702 that live", n)
	}
	if n := s.Count("users.get_all"); n != 9 {
		t.Errorf("%d requests, want three readings of three pages", n)
	}
}

func TestAnInsertionBetweenPagesIsReadAgain(t *testing.T) {
	s, c := setup(t, clearmltest.Options{})
	for i := range 700 {
		s.AddUser(clearmltest.User{ID: fmt.Sprintf("u%04d", i)})
	}
	s.Before("users.get_all", func(n int) {
		if n == 2 {
			s.AddUser(clearmltest.User{ID: "aa"}) // now page 1 repeats one
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

func TestADisagreementIsReadASecondTime(t *testing.T) {
	s, c := setup(t, clearmltest.Options{})
	s.After("permissions.get_user_groups", func(n int) {
		if n == 1 {
			s.SetMembers("team", "a", "b") // a login between the two reads
		}
	})
	snap, err := c.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := snap.Disagreement("cm-team"); d != "" {
		t.Errorf("after the second read: %s", d)
	}
	s.FreezeSecGroups()
	s.SetMembers("team", "a")
	if snap, err = c.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := snap.Disagreement("cm-team"); d != "0 only in the group's list, 1 only in the users' own, 1 in both" {
		t.Errorf("a disagreement that stays: %q", d)
	}
	if n := s.Count("permissions.get_user_groups"); n != 4 {
		t.Errorf("read %d times in all, want 4: each pass twice", n)
	}
}

// TestAServerThatLeavesBuiltInGroupsOutIsReadOnce: the users' own view says
// nothing of the built-in groups, so Admins is judged by its own list.
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
	s.SetMembers("team", "a", "b") // an ordinary group is judged by both views all the same
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
	if d := snap.Disagreement("cm-team"); d != "0 only in the group's list, 1 only in the users' own, 1 in both" {
		t.Errorf("got %q", d)
	}
}

func TestGroupsByID(t *testing.T) {
	s, c := setup(t, clearmltest.Options{})
	groups, err := c.Groups(t.Context(), "cm-team", "nobody")
	if err != nil || len(groups) != 1 || groups[0].Name != "team" {
		t.Errorf("got %v, %v", groups, err)
	}
	if groups, err = c.Groups(t.Context(), "nobody"); err != nil || len(groups) != 0 {
		t.Errorf("a group that is gone: got %v, %v", groups, err)
	}
	if groups, err = c.Groups(t.Context()); err != nil || len(groups) != 4 {
		t.Errorf("all: got %v, %v", groups, err)
	}
	if body := string(s.Requests()[len(s.Requests())-1].Body); body != `{"include_permissions":false}` {
		t.Errorf("all are asked for by %s", body)
	}
	_, err = c.Groups(t.Context(), "")
	refused(t, c, err, "ClearML permissions.get_user_groups: an empty group id is not asked for", fault.Rejected)
}

func TestGroupsByIDAreHeldAgainstTheQuestion(t *testing.T) {
	tests := []struct {
		name, data, want string
		reason           fault.Reason
	}{
		{"another group", `{"groups": [{"id": "x", "name": "other", "users": []}]}`,
			`ClearML permissions.get_user_groups: the group "other" was not asked for: the server ignores the list of ids, so nothing is read from the answer`, fault.Shape},
		{"the members left out", `{"groups": [{"id": "cm-team", "name": "team"}]}`,
			`ClearML permissions.get_user_groups: the group "team" comes without its members when it is asked for by its id: nothing is written from such an answer; this version of ClearML is not one that groupsync knows`, fault.Shape},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, c := setup(t, clearmltest.Options{})
			s.Inject(clearmltest.Fault{Call: groupsCall, Nth: 1, Data: tt.data})
			_, err := c.Groups(t.Context(), "cm-team")
			refused(t, c, err, tt.want, tt.reason)
		})
	}
	s, c := setup(t, clearmltest.Options{})
	s.SetMembers("team")
	s.Inject(clearmltest.Fault{Call: groupsCall, Nth: 1, Data: `{"groups": [{"id": "cm-team", "name": "team"}]}`})
	groups, err := c.Groups(t.Context(), "cm-team")
	if want := []target.Group{{ID: "cm-team", Name: "team", Undescribed: true, Members: []target.Member{}}}; err != nil || cmp.Diff(want, groups) != "" {
		t.Errorf("an empty group whose list is absent: got %v, %v", groups, err)
	}
}

func team(t *testing.T, c *Client) target.Group {
	t.Helper()
	groups, err := c.Groups(t.Context(), "cm-team")
	if err != nil || len(groups) != 1 {
		t.Fatalf("reading the team: %v, %v", groups, err)
	}
	return groups[0]
}

func TestSetMembersSendsTheWholeGroup(t *testing.T) {
	s, c := setup(t, clearmltest.Options{})
	g := team(t, c)
	for _, members := range [][]string{{"a", "b"}, nil} {
		if err := c.SetMembers(t.Context(), g, members); err != nil {
			t.Fatal(err)
		}
		if got := s.Members("team"); !slices.Equal(got, members) && len(got)+len(members) > 0 {
			t.Errorf("members %v, want %v", got, members)
		}
	}
	var bodies []string
	for _, r := range s.Requests() {
		if r.Call == writeCall {
			bodies = append(bodies, string(r.Body))
		}
	}
	want := []string{`{}`, `{"description":"ours","id":"cm-team","name":"team","users":["a","b"]}`, `{"description":"ours","id":"cm-team","name":"team","users":[]}`}
	if diff := cmp.Diff(want, bodies); diff != "" {
		t.Errorf("bodies, the probe's first (-want +got):\n%s", diff)
	}
}

func TestSetMembersNeverCreates(t *testing.T) {
	tests := []struct {
		name  string
		group target.Group
		users []string
		want  string
	}{
		{"a group without an id", target.Group{Name: "x", Assignable: true}, nil, "ClearML permissions.add_or_update_user_group: a group without an id or a name is not written, since that would create one"},
		{"an unassignable group", target.Group{ID: "x", Name: "x"}, nil, `ClearML permissions.add_or_update_user_group: the group "x" is built in or not assignable, and never written`},
		{"a built-in group", target.Group{ID: "x", Name: "Users", System: true, Assignable: true}, nil, `ClearML permissions.add_or_update_user_group: the group "Users" is built in or not assignable, and never written`},
		{"an empty user id", target.Group{ID: "x", Name: "x", Assignable: true}, []string{""}, `ClearML permissions.add_or_update_user_group: an empty user id is not written into the group "x"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, c := setup(t, clearmltest.Options{})
			err := c.SetMembers(t.Context(), tt.group, tt.users)
			refused(t, c, err, tt.want, fault.Rejected)
			if target.Uncertain(err) || len(s.Requests()) != 0 {
				t.Errorf("uncertain %v, %d requests", target.Uncertain(err), len(s.Requests()))
			}
		})
	}
	s, c := setup(t, clearmltest.Options{})
	if err := c.SetMembers(t.Context(), target.Group{ID: clearmltest.AdminsID, Name: target.Admins, System: true, Assignable: true}, []string{"a"}); err != nil || !slices.Equal(s.Members("Admins"), []string{"a"}) {
		t.Errorf("Admins: %v, %v", err, s.Members("Admins"))
	}
}

func TestWhatIsKnownOfAFailedWrite(t *testing.T) {
	const open = "it is not known whether the write was carried out: "
	tests := []struct {
		name      string
		fault     clearmltest.Fault
		want      string
		reason    fault.Reason
		uncertain bool
		wrote     bool
		attempts  int
	}{
		{"refused by the role", clearmltest.Fault{Code: 403, Subcode: 20, Text: "no"}, "ClearML permissions.add_or_update_user_group: the role of these credentials may not (403/20, no): give groupsync the access key of a ClearML administrator", fault.Forbidden, false, false, 1},
		{"an unknown user", clearmltest.Fault{Code: 400, Subcode: 10, Text: "Invalid user id"}, "ClearML permissions.add_or_update_user_group: the request was refused (400/10, Invalid user id): look at the log of the API server", fault.Rejected, false, false, 1},
		{"the database away", clearmltest.Fault{Code: 500, Subcode: 1, Text: "away"}, open + "ClearML permissions.add_or_update_user_group: the server failed (500/1, away): its database is away; look at the log of the API server", fault.Server, true, false, 1},
		{"a proxy's 502", clearmltest.Fault{Status: 502, Body: "bad"}, open + "ClearML permissions.add_or_update_user_group: 502 without ClearML's envelope (text/html, bad): the API server is away or failing; try later, and look at the log of the proxy before it", fault.Server, true, false, 1},
		{"a proxy's 503 without Retry-After", clearmltest.Fault{Status: 503, Body: "bad"}, open + "ClearML permissions.add_or_update_user_group: 503 without ClearML's envelope (text/html, bad): the API server is away or failing; try later, and look at the log of the proxy before it", fault.Server, true, false, 1},
		{"a proxy's 503 with Retry-After, to the end", clearmltest.Fault{Status: 503, Body: "busy", Header: map[string]string{"Retry-After": "0"}}, "ClearML permissions.add_or_update_user_group: 503 without ClearML's envelope (text/html, busy): the API server is away or failing; try later, and look at the log of the proxy before it", fault.Server, false, false, 5},
		{"429 to the end", clearmltest.Fault{Status: 429, Body: "slow"}, "ClearML permissions.add_or_update_user_group: 429 without ClearML's envelope (text/html, slow): too many requests, also after waiting; run passes less often", fault.Server, false, false, 5},
		{"a proxy's 404", clearmltest.Fault{Status: 404, Body: "away"}, open + "ClearML permissions.add_or_update_user_group: 404 without ClearML's envelope (text/html, away): the API server is away behind its web server, or clearml.url lacks /api", fault.Server, true, false, 1},
		{"a redirect", clearmltest.Fault{Status: 301, Header: map[string]string{"Location": "/x"}}, "ClearML permissions.add_or_update_user_group: redirected (301) to another path; redirects are not followed, since they drop the request: set clearml.url to the API server's own address", fault.Shape, false, false, 1},
		{"200 without the envelope", clearmltest.Fault{Status: 200, Body: "ok"}, open + "ClearML permissions.add_or_update_user_group: 200 without ClearML's envelope (text/html, ok): something else answers there; set clearml.url to https://api.<domain>, or https://<web host>/api", fault.Shape, true, false, 1},
		{"200 that names another group", clearmltest.Fault{Data: `{"id": "x"}`}, open + `ClearML permissions.add_or_update_user_group: the answer to the write of "team" (cm-team) names the group "x": look in ClearML for a group that was created or changed beside it`, fault.Rejected, true, false, 1},
		{"200 of another shape", clearmltest.Fault{Data: `{"id": 1}`}, open + "ClearML permissions.add_or_update_user_group: the answer's data is of another shape than documented: json: cannot unmarshal number into Go struct field .id of type string; is this a ClearML version that groupsync knows?", fault.Shape, true, false, 1},
		{"an answer that broke off", clearmltest.Fault{Truncate: 30}, open + "ClearML permissions.add_or_update_user_group: the answer broke off after 30 bytes: unexpected EOF; nothing of it counts", fault.Connection, true, true, 1},
		{"silence after it was carried out", clearmltest.Fault{LoseSlow: true}, open + "ClearML permissions.add_or_update_user_group: no answer from http://HOST in time (an attempt may take 200ms): context deadline exceeded; check that the API server is well, and clearml.timeout", fault.Timeout, true, true, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := setup(t, clearmltest.Options{})
			c := configured(t, Config{URL: s.URL, Keys: keys("access", "secret"), Timeout: 200 * time.Millisecond, RetryWait: time.Millisecond})
			g := team(t, c)
			tt.fault.Call = writeCall
			s.Inject(tt.fault)
			err := c.SetMembers(t.Context(), g, []string{"a", "b"})
			refused(t, c, err, tt.want, tt.reason)
			if got := target.Uncertain(err); got != tt.uncertain {
				t.Errorf("uncertain: %v, want %v", got, tt.uncertain)
			}
			if wrote := len(s.Members("team")) == 2; wrote != tt.wrote {
				t.Errorf("written: %v, want %v", wrote, tt.wrote)
			}
			if n := s.Count(writeCall); n != tt.attempts {
				t.Errorf("%d attempts, want %d", n, tt.attempts)
			}
		})
	}
}

// TestAWriteWhoseAnswerNamesNoGroup is for the read-back to judge.
func TestAWriteWhoseAnswerNamesNoGroup(t *testing.T) {
	for _, data := range []string{`{}`, `{"updated": 1}`, `{"group": {"id": "cm-team"}}`} {
		s, c := setup(t, clearmltest.Options{})
		s.Inject(clearmltest.Fault{Call: writeCall, Data: data})
		if err := c.SetMembers(t.Context(), team(t, c), []string{"a", "b"}); err != nil {
			t.Errorf("%s: %v", data, err)
		}
	}
}

func TestAWriteThatWasLostIsNotRepeated(t *testing.T) {
	for _, f := range []clearmltest.Fault{{Reset: true}, {Lose: true}} {
		s, c := setup(t, clearmltest.Options{})
		g := team(t, c)
		f.Call = writeCall
		s.Inject(f)
		err := c.SetMembers(t.Context(), g, []string{"a", "b"})
		if !target.Uncertain(err) || fault.Of(err).Reason != fault.Connection || s.Count(writeCall) != 1 {
			t.Errorf("%+v: %v, %d attempts", f, err, s.Count(writeCall))
		}
	}
}

func TestAWriteThatDidNotReachTheServerIsRepeated(t *testing.T) {
	for _, f := range []clearmltest.Fault{
		{Status: 429}, {Status: 503, Header: map[string]string{"Retry-After": "0"}}, {Code: 401, Subcode: 30},
	} {
		s, c := setup(t, clearmltest.Options{})
		g := team(t, c)
		f.Call, f.Nth = writeCall, 1
		s.Inject(f)
		if err := c.SetMembers(t.Context(), g, []string{"b"}); err != nil || !slices.Equal(s.Members("team"), []string{"b"}) {
			t.Errorf("%+v: %v, members %v", f, err, s.Members("team"))
		}
	}
	s, c := setup(t, clearmltest.Options{})
	g := team(t, c)
	if err := c.probe(t.Context(), writeCall); err != nil {
		t.Fatal(err)
	}
	s.Close()
	err := c.SetMembers(t.Context(), g, []string{"b"})
	if fault.Of(err) == nil || target.Uncertain(err) || fault.Of(err).Reason != fault.Connection {
		t.Errorf("a server that is gone: %v", err)
	}
}
