package reconcile

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"groupsync/internal/report"
)

// TestLawASurveyIsADryRun: a survey decides what a dry run of the same state reports. The next
// dry run shows that the survey changed nothing.
func TestLawASurveyIsADryRun(t *testing.T) {
	checkWorlds(t, func(rt *rapid.T, w *world) {
		limits := wide
		limits.Grace, limits.MaxRemovals = time.Hour, rapid.IntRange(0, 3).Draw(rt, "removals")
		r, now := w.reconciler(t, limits, adminsAndProtected)
		if rapid.Bool().Draw(rt, "there was a pass") {
			r.Pass(context.Background(), Request{MayWrite: leads})
			now.Time = now.Add(2 * time.Hour)
		}
		full := r.Pass(context.Background(), Request{DryRun: true})
		v, err := r.Survey(context.Background())
		if len(full.Errors) > 0 {
			if err == nil || err.Error() != full.Errors[0].Text {
				rt.Fatalf("the survey ends with %v, the dry run with %v", err, full.Errors)
			}
			return
		}
		if err != nil {
			rt.Fatal(err)
		}
		groups := []report.Group{}
		for _, g := range v.Plan.Groups {
			groups = append(groups, groupReport(g))
		}
		if d := cmp.Diff(full.Groups, groups); d != "" {
			rt.Fatalf("-the dry run +the survey:\n%s", d)
		}
		if d := cmp.Diff(full.Guards, v.Trips); d != "" {
			rt.Fatalf("guards, -the dry run +the survey:\n%s", d)
		}
		again := r.Pass(context.Background(), Request{DryRun: true})
		if d := cmp.Diff(lines(full), lines(again)); d != "" {
			rt.Fatalf("-before +after the survey:\n%s", d)
		}
	})
}
