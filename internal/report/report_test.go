package report

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func sample() Report {
	return Report{
		Pass: "20261124T120000Z-00000000", Sync: "default", Mode: "apply", Result: Guarded, Digest: "0123456789abcdef",
		Started: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), Duration: 1.5,
		Source: Counts{3, 4, 5}, Target: Counts{6, 7, 8},
		Groups: []Group{
			{Name: "quiet", ID: "q", From: []string{"/quiet"}},
			{Name: "ldap", ID: "l", From: []string{"/ldap"}, OwnView: OwnView{Hides: 2}},
			{Name: "both", ID: "b", From: []string{"/both"}, OwnView: OwnView{Hides: 1, Shows: 3}},
			{Name: "team", ID: "t", From: []string{"/a/team", "/b/team"},
				Add: []Change{{ID: "1", Name: "Ann", Email: "ann@x", Why: "member of /a/team", Match: "id", Evidence: "read twice: in the group", Outcome: Done}},
				Remove: []Change{
					{ID: "2", Name: "Bob", Why: "disabled", Match: "email", Evidence: "read twice: the account is disabled", Outcome: Withheld, Guard: Removals},
					{ID: "4", Name: "Cid", Why: "not_member", Match: "id", Doubt: "the account's own groups hold /a/team", Outcome: Withheld, Guard: Confirm}},
				Pending:  []Pending{{Username: "dan"}},
				Kept:     []Kept{{ID: "3", Name: "Eve", Why: "local"}, {ID: "9", Name: "Fay", Why: "protected", Until: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), Reason: "handover"}},
				Withheld: []Guard{Confirm, Removals}},
		},
		Skipped: []Skip{{"a", "keycloak", "no_target"}, {"b", "keycloak", "no_target"}, {"Users", "clearml", "builtin"}, {"a", "keycloak", "near miss"}},
		People:  []Person{{"3", "Eve", "clearml", "local"}},
		Guards: []Trip{
			{Guard: Confirm, Group: "team", Detail: "1 of 2 removals is not borne out"},
			{Guard: Removals, Group: "team", Detail: "too many", Override: "--approve 0123456789abcdef"},
			{Guard: Removals, Group: "team", Detail: "too many", Override: "--approve 0123456789abcdef"},
		},
		Approval: &Approval{Digest: "fedcba9876543210", By: "operator", At: time.Date(2026, 11, 24, 11, 59, 0, 0, time.UTC), Detail: "the plan has changed"},
		Applied:  Tally{Added: 1},
		Errors:   []Failure{{"clearml", "rejected", "something was refused"}},
		Users:    map[string]int{"pending": 1},
		Probes:   []Probe{{"corp", true}},
		Reverted: map[string]int{"add": 1},
	}
}

// throughJSON returns the report as a reader of its JSON gets it.
func throughJSON(t *testing.T, r Report) (read Report) {
	t.Helper()
	var b bytes.Buffer
	if err := JSON(&b, r); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b.Bytes(), &read); err != nil {
		t.Fatalf("%v\n%s", err, &b)
	}
	return read
}

func TestNothingInTheJSONIsNull(t *testing.T) {
	for name, r := range map[string]Report{
		"an empty report":      {Approval: &Approval{}},
		"a report with groups": {Approval: &Approval{}, Groups: []Group{{}}},
	} {
		var b bytes.Buffer
		if err := JSON(&b, r); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "null") {
			t.Errorf("%s:\n%s", name, &b)
		}
	}
}

func TestAGrantedApprovalInOneSentence(t *testing.T) {
	at := time.Date(2026, 11, 24, 12, 59, 0, 0, time.FixedZone("CET", 3600))
	for _, tt := range []struct {
		approval Approval
		want     string
	}{
		{Approval{Digest: "d1", By: "operator", At: at, Granted: true, Lifted: []Guard{Removals, Grants}, Changes: 8}, "approval of d1 by operator at 2026-11-24T11:59:00Z: granted: lifted removals, grants for 8 changes"},
		{Approval{Digest: "d1", By: "op\nguard", At: at, Granted: true, Changes: 1}, `approval of d1 by "op\nguard" at 2026-11-24T11:59:00Z: granted: lifted no guard for 1 change`},
	} {
		if got := tt.approval.String(); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

// TestJSONKeys fixes the key names that other programs rely on.
func TestJSONKeys(t *testing.T) {
	var b bytes.Buffer
	if err := JSON(&b, sample()); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	group := got["groups"].([]any)[3].(map[string]any)
	for _, tt := range []struct {
		what string
		of   any
		want []string
	}{
		{"the pass", got, []string{"admin_mismatch", "applied", "approval", "digest", "duration_seconds", "errors", "federations", "groups", "guards", "mode", "pass", "pending_oldest_seconds", "people", "result", "reverted", "skipped", "source", "started", "sync", "target", "users"}},
		{"an approval", got["approval"], []string{"at", "by", "changes", "detail", "digest", "granted", "lifted"}},
		{"a federation", got["federations"].([]any)[0], []string{"federation", "up"}},
		{"source", got["source"], []string{"groups", "memberships", "users"}},
		{"a group", group, []string{"add", "from", "id", "kept", "name", "own_view", "pending", "remove", "withheld"}},
		{"an own view", group["own_view"], []string{"hides", "shows", "stale"}},
		{"an addition", group["add"].([]any)[0], []string{"email", "evidence", "id", "match", "name", "outcome", "why"}},
		{"a removal", group["remove"].([]any)[0], []string{"email", "evidence", "guard", "id", "match", "name", "outcome", "why"}},
		{"a removal in doubt", group["remove"].([]any)[1], []string{"doubt", "email", "guard", "id", "match", "name", "outcome", "why"}},
		{"somebody pending", group["pending"].([]any)[0], []string{"email", "username"}},
		{"somebody kept", group["kept"].([]any)[0], []string{"id", "name", "why"}},
		{"somebody kept by an exception", group["kept"].([]any)[1], []string{"id", "name", "reason", "until", "why"}},
		{"a skip", got["skipped"].([]any)[0], []string{"name", "side", "why"}},
		{"a person", got["people"].([]any)[0], []string{"id", "name", "side", "state"}},
		{"a guard", got["guards"].([]any)[0], []string{"detail", "group", "guard", "override"}},
		{"applied", got["applied"], []string{"added", "failed", "removed"}},
	} {
		var keys []string
		for k := range tt.of.(map[string]any) {
			keys = append(keys, k)
		}
		if d := cmp.Diff(map[string]bool{}, difference(tt.want, keys)); d != "" {
			t.Errorf("%s: keys differ\n%s", tt.what, d)
		}
	}
}

func difference(a, b []string) map[string]bool {
	d := map[string]bool{}
	for _, s := range append(append([]string{}, a...), b...) {
		d[s] = !d[s]
	}
	for k, odd := range d {
		if !odd {
			delete(d, k)
		}
	}
	return d
}

func TestExitCode(t *testing.T) {
	change := func(o Outcome) []Group { return []Group{{Add: []Change{{Outcome: o}}}} }
	for _, tt := range []struct {
		name   string
		report Report
		want   int
		only   bool // want of OnlyDrift
	}{
		{"in sync", Report{Result: InSync}, 0, true},
		{"everything applied", Report{Result: Applied, Groups: change(Done)}, 0, true},
		{"pending people are no drift", Report{Result: InSync, Groups: []Group{{Pending: []Pending{{}}}}}, 0, true},
		{"a dry run with drift", Report{Result: Drift, Groups: change(Planned)}, 2, true},
		{"something withheld", Report{Result: Guarded, Groups: change(Withheld), Guards: []Trip{{Guard: Removals}, {Guard: Grace}}}, 2, true},
		{"something withheld because a federation is away", Report{Result: Guarded, Groups: change(Withheld), Guards: []Trip{{Guard: Grace}, {Guard: Federation}}}, 2, false},
		{"a write that did more than was sent", Report{Result: Guarded, Groups: change(Done), Guards: []Trip{{Guard: Canary}}}, 2, false},
		{"a group that ClearML shows differently", Report{Result: Guarded, Guards: []Trip{{Guard: Views}}}, 2, false},
		{"a write that failed", Report{Result: Drift, Groups: change(Failed), Errors: []Failure{{}}}, 2, false},
		{"a write that did other than it should", Report{Result: Drift, Groups: change(Done), Errors: []Failure{{}}}, 2, false},
		{"a missing source without drift", Report{Result: Guarded, Guards: []Trip{{Guard: MissingSource}}}, 2, false},
		{"an error", Report{Result: Error}, 1, false},
	} {
		if got := tt.report.ExitCode(); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
		if got := tt.report.OnlyDrift(); got != tt.only {
			t.Errorf("%s: only drift: got %t, want %t", tt.name, got, tt.only)
		}
	}
}

func TestGroupStates(t *testing.T) {
	r := sample()
	want := map[string]int{"in_sync": 3, "withheld": 1, "no_target": 2, "builtin": 1}
	if d := cmp.Diff(want, r.GroupStates()); d != "" {
		t.Error(d)
	}
	if add, remove := r.Drift(); add != 0 || remove != 2 {
		t.Errorf("drift: %d to add, %d to remove; want 0 and 2", add, remove)
	}
}
