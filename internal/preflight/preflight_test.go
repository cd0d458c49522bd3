package preflight_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/preflight"
)

func check(name string, findings []preflight.Finding, after ...string) preflight.Check {
	return preflight.Check{Name: name, After: after, Run: func(context.Context) []preflight.Finding { return findings }}
}

func TestRun(t *testing.T) {
	checks := []preflight.Check{
		check("reach", preflight.Fine("it answers")),
		check("roles", []preflight.Finding{preflight.Fail("the role is missing", "assign it"), preflight.Warn("one role too many", "take it away")}, "reach"),
		check("groups", preflight.Fine("never looked at"), "roles"),
		check("after a check that did not look", preflight.Fine("looked at"), "groups"),
		check("names", []preflight.Finding{preflight.Unchecked(errors.New("403"), "give view-clients"), {Level: preflight.OK, Seen: "a\x1b[31m\nb"}}),
	}
	var told strings.Builder
	r := preflight.Run(t.Context(), checks, func(f preflight.Finding) { told.WriteString(f.Line()) })
	want := `✔ reach: it answers
✘ roles: the role is missing
    assign it
    see docs/check.md#roles
! roles: one role too many
    take it away
    see docs/check.md#roles
! groups: groupsync did not make this check, because the check roles found an error
    correct that error first, then run groupsync check again
    see docs/check.md#groups
✔ after a check that did not look: looked at
! names: groupsync could not complete this check: 403
    give view-clients
    see docs/check.md#names
✔ names: a\x1b[31m\nb
! 1 check was not made. Correct what the check roles found, then run groupsync check again
3 ok, 3 warnings, 1 error
`
	if d := cmp.Diff(want, told.String()+r.Summary()); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// TestSummaryCountsTheChecksThatWereNotMade: the summary counts the checks that were not made
// in one line, and names the checks that they depend on. It does not name a check that was
// itself not made.
func TestSummaryCountsTheChecksThatWereNotMade(t *testing.T) {
	bad := []preflight.Finding{preflight.Fail("away", "look")}
	r := preflight.Run(t.Context(), []preflight.Check{
		check("a", bad), check("b", nil, "a"), check("c", nil, "a"), check("d", preflight.NotMade("e", "it could not read", "see e")),
		check("f", preflight.NotMade("b", "it could not survey", "see b")),
	}, func(preflight.Finding) {})
	want := "! 4 checks were not made. Correct what the checks a and e found, then run groupsync check again\n0 ok, 4 warnings, 1 error\n"
	if d := cmp.Diff(want, r.Summary()); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// TestRunStopsWhenTheContextIsDone: after a signal no further check is made. The findings of
// the check that the signal ended are dropped.
func TestRunStopsWhenTheContextIsDone(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	ended := preflight.Check{Name: "under way", Run: func(context.Context) []preflight.Finding {
		stop()
		return []preflight.Finding{preflight.Unchecked(errors.New("context canceled"), "look why")}
	}}
	var told []string
	r := preflight.Run(ctx, []preflight.Check{check("before", preflight.Fine("good")), ended, check("after", preflight.Fine("good"))}, func(f preflight.Finding) { told = append(told, f.Check) })
	if d := cmp.Diff([]string{"before"}, told); d != "" || len(r.Findings) != 1 {
		t.Errorf("-want +got\n%s%+v", d, r.Findings)
	}
}

// TestACheckThatHangsIsEnded: a check that hangs is ended after 20 seconds, or after its own
// limit. The next check is then made.
func TestACheckThatHangsIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		hangs := preflight.Check{Run: func(ctx context.Context) []preflight.Finding {
			<-ctx.Done()
			return []preflight.Finding{preflight.Unchecked(context.Cause(ctx), "look why")}
		}}
		longer := hangs
		hangs.Name, longer.Name, longer.Limit = "hangs", "hangs longer", time.Minute
		r := preflight.Run(t.Context(), []preflight.Check{hangs, longer, check("next", preflight.Fine("good"))}, func(preflight.Finding) {})
		if took := time.Since(start); took != 80*time.Second {
			t.Errorf("it took %s", took)
		}
		if r.Count(preflight.Warning) != 2 || r.Count(preflight.OK) != 1 {
			t.Errorf("got %+v", r.Findings)
		}
	})
}

func TestExitCode(t *testing.T) {
	for _, tt := range []struct {
		name          string
		findings      []preflight.Finding
		plain, strict int
	}{
		{"nothing was looked at", nil, 0, 0},
		{"everything is as it should be", preflight.Fine("good"), 0, 0},
		{"a warning counts only if strict", []preflight.Finding{preflight.Warn("odd", "look")}, 0, 2},
		{"an error counts always, and more than a warning", []preflight.Finding{preflight.Warn("odd", "look"), preflight.Fail("bad", "fix")}, 1, 1},
	} {
		r := preflight.Report{Findings: tt.findings}
		if got := r.ExitCode(false); got != tt.plain {
			t.Errorf("%s: exit code %d, want %d", tt.name, got, tt.plain)
		}
		if got := r.ExitCode(true); got != tt.strict {
			t.Errorf("%s, strict: exit code %d, want %d", tt.name, got, tt.strict)
		}
	}
}

func TestJSON(t *testing.T) {
	for _, tt := range []struct {
		report preflight.Report
		want   string
	}{
		{preflight.Report{}, "{\n  \"findings\": []\n}\n"},
		{preflight.Report{Findings: []preflight.Finding{{Check: "a", Level: preflight.OK, Seen: "<x> & \x1b", Docs: "d"}}},
			"{\n  \"findings\": [\n    {\n      \"check\": \"a\",\n      \"level\": \"ok\",\n      \"seen\": \"<x> & \\u001b\",\n      \"docs\": \"d\"\n    }\n  ]\n}\n"},
	} {
		var b strings.Builder
		if err := tt.report.JSON(&b); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(tt.want, b.String()); d != "" {
			t.Errorf("-want +got\n%s", d)
		}
	}
}
