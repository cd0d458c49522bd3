package clearml

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/fault"
	"groupsync/internal/target"
	"groupsync/internal/target/clearmltest"
)

func TestHoldings(t *testing.T) {
	s, c := setup(t, clearmltest.Options{})
	s.AddRule(clearmltest.Rule{ID: "r2", Name: "zeta", Users: []string{"b", "a", "b"}})
	s.AddRule(clearmltest.Rule{ID: "r1", Users: []string{"a"}, Groups: []string{"cm-team"}})
	s.AddRule(clearmltest.Rule{ID: "r0", Groups: []string{"cm-team"}})
	for i, u := range []clearmltest.User{
		{ID: "text", Activity: map[string]any{"last_ui_access": "2026-11-20T10:00:00.5+02:00", "last_credentials_login": "2026-11-21T10:00:00"}},
		{ID: "number", Activity: map[string]any{"last_ui_access": 1_700_000_000, "last_credentials_login": 1_700_000_000_000}},
		{ID: "odd", Activity: map[string]any{"last_ui_access": "yesterday", "last_credentials_login": nil, "last_provider": "keycloak"}},
		{ID: "nothing told"},
	} {
		u.Name, u.Email = u.ID, fmt.Sprintf("%d@x", i)
		s.AddUser(u)
	}
	got, err := c.Holdings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := target.Holdings{
		Rules: []target.AccessRule{{ID: "r1", Users: []string{"a"}}, {ID: "r2", Name: "zeta", Users: []string{"a", "b"}}},
		Activity: map[string]target.Activity{
			"text":   {UI: time.Date(2026, 11, 20, 8, 0, 0, 5e8, time.UTC), Keys: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)},
			"number": {UI: time.Unix(1_700_000_000, 0).UTC(), Keys: time.Unix(1_700_000_000, 0).UTC()},
			"odd":    {},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// TestActivityOfManyPages checks that all pages are read: the server cuts a page at 500 users.
func TestActivityOfManyPages(t *testing.T) {
	s, c := setup(t, clearmltest.Options{})
	for i := range 1100 {
		s.AddUser(clearmltest.User{ID: fmt.Sprintf("u%04d", i), Email: fmt.Sprintf("%d@y", i), Activity: map[string]any{"last_ui_access": "2026-11-20T10:00:00Z"}})
	}
	got, err := c.Holdings(t.Context())
	if err != nil || len(got.Activity) != 1100 {
		t.Errorf("the activity of %d people, %v", len(got.Activity), err)
	}
}

// TestHoldingsThatTheServerDoesNotTell checks that data which the server lacks, refuses or
// returns in another form gives a doubt. It must give neither an empty list nor an error.
func TestHoldingsThatTheServerDoesNotTell(t *testing.T) {
	many := `{"rules": [` + strings.Repeat(`{"id": "x", "users": []},`, 499) + `{"id": "r", "users": ["a"]}]}`
	for _, row := range []struct {
		name            string
		options         clearmltest.Options
		fault           clearmltest.Fault
		rules, activity string // parts of the doubts
		kept            int    // number of rules
	}{
		{"no call for rules", clearmltest.Options{NoAccessRules: true}, clearmltest.Fault{}, "ClearML has no call permissions.get_access_rules: check", "", 0},
		{"no activity", clearmltest.Options{NoActivity: true}, clearmltest.Fault{}, "", "the server returned no user's activity", 1},
		{"rules are refused", clearmltest.Options{}, clearmltest.Fault{Call: rulesCall, Code: 403, Subcode: 20}, "the role of these credentials may not", "", 0},
		{"activity is refused", clearmltest.Options{}, clearmltest.Fault{Call: activityCall, Code: 400, Subcode: 12}, "", "the request was refused (400/12", 1},
		{"no list of rules", clearmltest.Options{}, clearmltest.Fault{Call: rulesCall, Data: `{}`}, "has no list of rules", "", 0},
		{"two lists of rules", clearmltest.Options{}, clearmltest.Fault{Call: rulesCall, Data: `{"rules": [], "old_rules": []}`}, "has no list of rules", "", 0},
		{"null in place of rules", clearmltest.Options{}, clearmltest.Fault{Call: rulesCall, Data: `{"rules": null}`}, "do not have the documented form", "", 0},
		{"a rule that names neither users nor groups", clearmltest.Options{}, clearmltest.Fault{Call: rulesCall, Data: `{"rules": [{"id": "r", "principals": ["a"]}]}`}, "names neither users nor groups", "", 0},
		{"a user without an id", clearmltest.Options{}, clearmltest.Fault{Call: rulesCall, Data: `{"rules": [{"id": "r", "users": [{"name": "a"}]}]}`}, "do not have the documented form", "", 0},
		{"users as objects, under another key", clearmltest.Options{}, clearmltest.Fault{Call: rulesCall, Data: `{"access_rules": [{"users": [{"id": "a"}]}]}`}, "", "", 1},
		{"exactly as many rules as a page has", clearmltest.Options{}, clearmltest.Fault{Call: rulesCall, Data: many}, "exactly 500 rules. ClearML cuts its user list after 500 users, and may cut this list too, so rules may be missing: look at the access rules in ClearML", "", 1},
		{"activity of another form", clearmltest.Options{}, clearmltest.Fault{Call: activityCall, Data: `{"users": [{"id": "a", "activity": "often"}]}`}, "", "does not have the documented form", 1},
		{"no users in the activity", clearmltest.Options{}, clearmltest.Fault{Call: activityCall, Data: `{}`}, "", "has no users", 1},
		{"every page is the same", clearmltest.Options{}, clearmltest.Fault{Call: activityCall, Data: `{"users": [{"id": "a", "activity": {}}]}`}, "", "", 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, c := setup(t, row.options)
			s.AddRule(clearmltest.Rule{ID: "r", Users: []string{"a"}})
			s.AddUser(clearmltest.User{ID: "c", Email: "c@x", Activity: map[string]any{"last_ui_access": "2026-11-20T10:00:00Z"}})
			if row.fault.Call != "" {
				s.Inject(row.fault)
			}
			h, err := c.Holdings(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for what, d := range map[string][2]string{"rules": {row.rules, h.RulesDoubt}, "activity": {row.activity, h.ActivityDoubt}} {
				if (d[0] == "") != (d[1] == "") || !strings.Contains(d[1], d[0]) {
					t.Errorf("the doubt about %s is %q, want %q", what, d[1], d[0])
				}
			}
			if len(h.Rules) != row.kept {
				t.Errorf("%d rules, want %d", len(h.Rules), row.kept)
			}
		})
	}
}

// TestHoldingsOfAServerThatIsAway checks that a server that is not reachable gives an error,
// because it may answer later.
func TestHoldingsOfAServerThatIsAway(t *testing.T) {
	for _, call := range []string{rulesCall, activityCall} {
		s, c := setup(t, clearmltest.Options{})
		s.Inject(clearmltest.Fault{Call: call, Code: 500, Subcode: 0})
		if _, err := c.Holdings(t.Context()); err == nil || fault.Of(err).Reason != fault.Server {
			t.Errorf("%s: got %v", call, err)
		}
	}
}
