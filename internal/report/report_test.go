package report

import (
	"bytes"
	"encoding/json"
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
			{Name: "team", ID: "t", From: []string{"/a/team", "/b/team"},
				Add:      []Change{{ID: "1", Name: "Ann", Email: "ann@x", Why: "member of /a/team", Outcome: Done}},
				Remove:   []Change{{ID: "2", Name: "Bob", Why: "disabled", Evidence: "read twice: the account is disabled", Outcome: Withheld, Guard: Removals}},
				Pending:  []Pending{{Username: "dan"}},
				Kept:     []Kept{{ID: "3", Name: "Eve", Why: "local"}},
				Withheld: []Guard{Removals}},
		},
		Skipped: []Skip{{"a", "keycloak", "no_target"}, {"b", "keycloak", "no_target"}, {"Users", "clearml", "builtin"}, {"a", "keycloak", "near miss"}},
		People:  []Person{{"3", "Eve", "clearml", "local"}},
		Guards:  []Trip{{Guard: Removals, Group: "team", Detail: "too many", Override: "--approve 0123456789abcdef"}},
		Applied: Tally{Added: 1},
		Errors:  []Failure{{"clearml", "rejected", "something was refused"}},
		Users:   map[string]int{"pending": 1},
	}
}

func TestText(t *testing.T) {
	want := `team  (from /a/team, /b/team)
  + Ann <ann@x>  applied (member of /a/team)
  - Bob  withheld by removals (disabled, read twice: the account is disabled)
  = Eve  stays: local
  ? dan  waits for the first login
left alone, keycloak: no_target: a, b
left alone, clearml: builtin: Users
left alone, keycloak: near miss: a
guard removals: team: too many
error: something was refused
keycloak 3 groups, 4 users, 5 memberships; clearml 6 groups, 7 users, 8 memberships
guarded (apply): 1 added, 0 removed, 0 failed; drift left: 0 to add, 1 to remove; pending: 1
digest of the removals: 0123456789abcdef
`
	var b bytes.Buffer
	if err := Text(&b, sample()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
}

// TestJSONKeys pins the names that others rely on.
func TestJSONKeys(t *testing.T) {
	var b bytes.Buffer
	if err := JSON(&b, sample()); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	group := got["groups"].([]any)[1].(map[string]any)
	for _, tt := range []struct {
		what string
		of   any
		want []string
	}{
		{"the pass", got, []string{"applied", "digest", "duration_seconds", "errors", "groups", "guards", "mode", "pass", "people", "result", "skipped", "source", "started", "sync", "target"}},
		{"source", got["source"], []string{"groups", "memberships", "users"}},
		{"a group", group, []string{"add", "from", "id", "kept", "name", "pending", "remove", "withheld"}},
		{"an addition", group["add"].([]any)[0], []string{"email", "id", "name", "outcome", "why"}},
		{"a removal", group["remove"].([]any)[0], []string{"email", "evidence", "guard", "id", "name", "outcome", "why"}},
		{"somebody pending", group["pending"].([]any)[0], []string{"email", "username"}},
		{"somebody kept", group["kept"].([]any)[0], []string{"id", "name", "why"}},
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
		only   bool // drift
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
	want := map[string]int{"in_sync": 1, "withheld": 1, "no_target": 2, "builtin": 1}
	if d := cmp.Diff(want, r.GroupStates()); d != "" {
		t.Error(d)
	}
	if add, remove := r.Drift(); add != 0 || remove != 1 {
		t.Errorf("drift: %d to add, %d to remove; want 0 and 1", add, remove)
	}
}
