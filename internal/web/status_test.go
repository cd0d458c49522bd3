package web

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/report"
)

// TestStatusRemembersTheLastFiftyPasses checks the order, newest first, and that a list that
// was returned does not change.
func TestStatusRemembersTheLastFiftyPasses(t *testing.T) {
	s := NewStatus("s", nil)
	for i := range 60 {
		s.Record(report.Report{Pass: fmt.Sprint(i), Result: report.InSync})
	}
	before := s.state().passes
	s.Record(report.Report{Pass: "60", Result: report.Drift, Duration: 1.5, Applied: report.Tally{Failed: 1},
		Groups: []report.Group{{Add: []report.Change{{Outcome: report.Failed}}, Remove: []report.Change{{Outcome: report.Withheld}, {Outcome: report.Done}}}}})
	after := s.state().passes
	if len(before) != kept || before[0].Pass != "59" || before[kept-1].Pass != "10" {
		t.Errorf("%d passes from %s to %s", len(before), before[0].Pass, before[len(before)-1].Pass)
	}
	if len(after) != kept || after[kept-1].Pass != "11" {
		t.Errorf("%d passes, the oldest is %s", len(after), after[len(after)-1].Pass)
	}
	want := Pass{Pass: "60", Result: report.Drift, Duration: 1.5, Applied: report.Tally{Failed: 1}, Left: Left{Add: 1, Remove: 1}}
	if d := cmp.Diff(want, after[0]); d != "" {
		t.Error(d)
	}
}

// TestStatusAfterAFailedPass checks that the last report with a plan is kept.
func TestStatusAfterAFailedPass(t *testing.T) {
	s := NewStatus("s", nil)
	s.Record(report.Report{Pass: "a", Result: report.Drift})
	s.Record(report.Report{Pass: "b", Result: report.Error, Errors: []report.Failure{{Text: "away"}}})
	if now := s.state(); now.last.Pass != "b" || now.planned.Pass != "a" || now.passes[0].Success || !now.passes[1].Success {
		t.Errorf("%+v", now)
	}
}

// TestAStandbyKnowsNothing checks that a process that no longer leads forgets its passes, and
// ignores the report of a pass that ends later.
func TestAStandbyKnowsNothing(t *testing.T) {
	s := NewStatus("s", func() string { return "pod-b" })
	s.Record(report.Report{Pass: "a", Result: report.InSync})
	s.NextPass(time.Now())
	if leader := s.state().leader; leader != "" {
		t.Errorf("a leader names %q as the leader of its page", leader)
	}
	s.SetLeader(false)
	s.Record(report.Report{Pass: "b", Result: report.InSync})
	s.NextPass(time.Now())
	now := s.state()
	if now.leads || now.leader != "pod-b" || now.last != nil || now.planned != nil || len(now.passes) != 0 || !now.next.IsZero() {
		t.Errorf("a standby: %+v", now)
	}
	s.SetLeader(true)
	if now := s.state(); !now.leads || now.last != nil {
		t.Errorf("a new leader: %+v", now)
	}
}

// TestARunningPassIsTold checks that a pass counts as running from its beginning to its end.
func TestARunningPassIsTold(t *testing.T) {
	s := NewStatus("s", nil)
	end := s.Begin()
	if s.state().running.IsZero() {
		t.Error("no pass runs while one does")
	}
	end()
	if !s.state().running.IsZero() {
		t.Error("a pass runs after its end")
	}
}
