package reconcile

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/match"
	"groupsync/internal/report"
)

// handover keeps bob until one hour after the start of the clock of world.reconciler.
func handover(groups ...string) func(*match.Options) {
	return func(o *match.Options) {
		o.Exceptions = []match.Exception{{Match: "bob@*", Groups: groups, Until: time.Date(2026, 11, 24, 13, 0, 0, 0, time.UTC), Reason: "handover"}}
	}
}

// TestTheEndOfAnException: passes before the end keep the member, and the first pass after the
// end removes the member. No approval is needed, because the guard `scope` remembers the same
// rules.
func TestTheEndOfAnException(t *testing.T) {
	w := newWorld(t, "both ann bob\n/team: ann\n/x: ann\nteam = ann bob\nx = ann bob")
	r, now := w.reconciler(t, wide, handover("team"))
	for _, tt := range []struct {
		at   time.Duration
		want []string
	}{
		{0, []string{"=bob@team protected", "-bob@x applied not_member"}},
		{time.Hour - 1, []string{"=bob@team protected"}},
		{time.Hour, []string{"-bob@team applied not_member"}},
		{time.Hour + 1, []string{}},
	} {
		at := *now
		now.Time = now.Add(tt.at)
		rep := r.Pass(context.Background(), Request{Apply: true, MayWrite: leads})
		now.Time = at.Time
		if d := cmp.Diff(tt.want, lines(rep)); d != "" || len(rep.Errors)+len(rep.Guards) > 0 {
			t.Errorf("%s later: %v %v, -want +got\n%s", tt.at, rep.Errors, rep.Guards, d)
		}
	}
}

// TestTheReportShowsTheException: the report shows the exception's end and reason with the
// member who is kept.
func TestTheReportShowsTheException(t *testing.T) {
	w := newWorld(t, "both ann bob\n/team: ann\nteam = ann bob")
	r, _ := w.reconciler(t, wide, handover("team", "nope"))
	rep := r.Pass(context.Background(), Request{DryRun: true})
	want := []report.Kept{{ID: "bob", Name: "bob", Why: "protected", Until: time.Date(2026, 11, 24, 13, 0, 0, 0, time.UTC), Reason: "handover"}}
	if d := cmp.Diff(want, rep.Groups[0].Kept); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	remark := report.Skip{Name: "nope", Side: "clearml", Why: "users.protect names this group in an exception, and ClearML has no such group"}
	if d := cmp.Diff([]report.Skip{remark, {Name: "idle", Side: "keycloak", Why: "no_target"}}, rep.Skipped); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if rep.ExitCode() != 0 {
		t.Errorf("the exit code is %d: a member whom an exception keeps is no drift", rep.ExitCode())
	}
}

// TestEveryAnswerEndsTheException: a look, a survey and a comparison end the exception at the
// same time as a pass.
func TestEveryAnswerEndsTheException(t *testing.T) {
	w := newWorld(t, "both ann bob\n/team: ann\nteam = ann bob")
	r, now := w.reconciler(t, wide, handover())
	for _, tt := range []struct {
		at                time.Duration
		removes, compared int // changes of the comparison with rules that have no exception
	}{{time.Hour - 1, 0, 1}, {time.Hour, 1, 0}} {
		at := *now
		now.Time = now.Add(tt.at)
		look, err := r.Look(context.Background(), Subject{User: "bob"})
		if err != nil {
			t.Fatal(err)
		}
		survey, err := r.Survey(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		present, err := r.Compare(context.Background(), rules(t, nil))
		if err != nil {
			t.Fatal(err)
		}
		without, _ := w.reconciler(t, wide, nil)
		without.Now = now.now
		changed, err := without.Compare(context.Background(), rules(t, handover()))
		if err != nil {
			t.Fatal(err)
		}
		now.Time = at.Time
		if got := len(look.Plan.Groups[0].Remove); got != tt.removes {
			t.Errorf("%s later the look has %d removals, want %d", tt.at, got, tt.removes)
		}
		if got := len(survey.Plan.Groups[0].Remove); got != tt.removes {
			t.Errorf("%s later the survey has %d removals, want %d", tt.at, got, tt.removes)
		}
		if len(present.Groups) != tt.compared || len(changed.Groups) != tt.compared {
			t.Errorf("%s later the comparisons differ in %d and %d groups, want %d", tt.at, len(present.Groups), len(changed.Groups), tt.compared)
		}
	}
}
