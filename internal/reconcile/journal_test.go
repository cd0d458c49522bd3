package reconcile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"groupsync/internal/journal"
	"groupsync/internal/report"
	"groupsync/internal/target"
)

// journaled returns a Reconciler with a journal, as a process that started the given number of
// hours after the first one.
func (w *world) journaled(t *testing.T, d Journal, hours int) *Reconciler {
	t.Helper()
	r, c := w.reconciler(t, w.limits, nil)
	c.Time = c.Add(time.Duration(hours) * time.Hour)
	r.Journal = d
	return r
}

func journalIn(t *testing.T) journal.Dir {
	return journal.Dir{Path: filepath.Join(t.TempDir(), "journal"), Sync: "test", Keep: 100}
}

// passes returns the results of the stored reports, newest last.
func passes(t *testing.T, d journal.Dir) (results []string) {
	t.Helper()
	for r, err := range d.List() {
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, strings.Join(lines(r), " "))
	}
	return results
}

// TestWhichPassesTheJournalHas: the journal has the passes that could write and that made,
// failed or withheld a change.
func TestWhichPassesTheJournalHas(t *testing.T) {
	for _, tt := range []struct {
		name   string
		world  string
		change func(*world)
		req    Request
		want   []string
	}{
		{name: "a pass that changed something", world: "both a b\n/x: a\nx = b", req: Request{MayWrite: leads, Apply: true}, want: []string{"+a@x applied -b@x applied not_member"}},
		{name: "a pass in which a write failed", world: "both a\n/x: a\nx =", change: func(w *world) {
			w.onWrite = func(target.Group, []string) (bool, error) { return false, errors.New("400/12: no") }
		}, req: Request{MayWrite: leads, Apply: true}, want: []string{"+a@x failed"}},
		{name: "a pass in which a guard withheld something", world: "both a\nfederation corp\nldap a\n/x:\nx = a", change: func(w *world) { w.away = map[string]string{"fed-corp": "away"} },
			req: Request{MayWrite: leads, Apply: true}, want: []string{"-a@x withheld not_member by federation"}},
		{name: "a pass in sync has none", world: "both a\n/x: a\nx = a", req: Request{MayWrite: leads, Apply: true}},
		{name: "a dry run has none", world: "both a\n/x: a\nx =", req: Request{DryRun: true}},
		{name: "a pass that may not write has none", world: "both a\n/x: a\nx =", req: Request{}},
		{name: "a pass that may not write has none, also if a guard withholds something", world: "both a\nfederation corp\nldap a\n/x:\nx = a", change: func(w *world) { w.away = map[string]string{"fed-corp": "away"} }, req: Request{}},
		{name: "a pass that could not read has none", world: "both a\n/x: a\nx =", change: func(w *world) { w.readKC = errors.New("away") }, req: Request{MayWrite: leads, Apply: true}},
		{name: "a pass that lost the lead before its first write has none", world: "both a\n/x: a\nx =", req: Request{MayWrite: func() error { return errors.New("lost") }, Apply: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, d := newWorld(t, tt.world), journalIn(t)
			if tt.change != nil {
				tt.change(w)
			}
			r := w.journaled(t, d, 0)
			rep := r.Pass(context.Background(), tt.req)
			got := passes(t, d)
			if diff := gocmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if len(got) == 0 {
				return
			}
			stored, err := d.Get(rep.Pass)
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(text(t, rep), text(t, stored)); diff != "" {
				t.Errorf("the stored report is not the pass's: -want +got\n%s", diff)
			}
		})
	}
}

func text(t *testing.T, r report.Report) string {
	t.Helper()
	var b strings.Builder
	if err := report.JSON(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestAJournalThatCannotBeWrittenStopsNoWrite: the report has the error, and its result does
// not change.
func TestAJournalThatCannotBeWrittenStopsNoWrite(t *testing.T) {
	w, d := newWorld(t, "both a\n/x: a\nx ="), journalIn(t)
	if err := os.WriteFile(d.Path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	rep := w.journaled(t, d, 0).Pass(context.Background(), Request{MayWrite: leads, Apply: true})
	want := []report.Failure{{System: "groupsync", Reason: "journal", Text: "storing the report of this pass in the journal: open " + d.Path + ": not a directory: make room in state_dir, or make it writable; the log has the changes of this pass"}}
	got := rep.Errors
	if len(got) == 1 { // the temporary file has a random name
		got[0].Text = strings.Replace(got[0].Text, filepath.Join(d.Path, "."+rep.Pass+".json"), d.Path, 1)
		before, after, _ := strings.Cut(got[0].Text, d.Path)
		_, after, _ = strings.Cut(after, ":")
		got[0].Text = before + d.Path + ":" + after
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("errors: -want +got\n%s", diff)
	}
	if len(w.writes) != 1 || rep.Result != report.Applied || rep.ExitCode() != 2 || rep.Succeeded() {
		t.Errorf("writes %v, result %s, exit code %d, complete %v", w.writes, rep.Result, rep.ExitCode(), rep.Succeeded())
	}
}

// TestAChangeUndoneAcrossARestartIsCountedOnce: each step is the only pass of a new process,
// which knows the earlier passes only from the journal.
func TestAChangeUndoneAcrossARestartIsCountedOnce(t *testing.T) {
	none := map[string]int{}
	apply := Request{MayWrite: leads, Apply: true}
	for _, tt := range []struct {
		name  string
		steps []life
	}{
		{"undone and written again", []life{{"", apply, none}, {"", apply, none}, {"team = b", apply, map[string]int{"add": 1, "remove": 1}}, {"", apply, none}, {"team = b", apply, map[string]int{"add": 1, "remove": 1}}}},
		{"undone, and counted by a pass that may not write", []life{{"", apply, none}, {"team = b", Request{}, map[string]int{"add": 1, "remove": 1}}, {"", Request{}, none}, {"", apply, none}}},
		{"undone, and a dry run looks", []life{{"", apply, none}, {"team = b", Request{DryRun: true}, none}, {"", apply, map[string]int{"add": 1, "remove": 1}}}},
		{"undone by whoever also changed Keycloak", []life{{"", apply, none}, {"/team: b\nteam = b", apply, none}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, d := newWorld(t, "both a b\n/team: a\nteam = b"), journalIn(t)
			for i, step := range tt.steps {
				w.add(t, step.change)
				got := w.journaled(t, d, i).Pass(context.Background(), step.req).Reverted
				if diff := gocmp.Diff(step.want, got); diff != "" {
					t.Errorf("process %d: -want +got\n%s", i+1, diff)
				}
			}
		})
	}
}

// life is what happens before the only pass of a process, and what that pass counts.
type life struct {
	change string
	req    Request
	want   map[string]int
}

// counting is a journal that counts the reads of each report.
type counting struct {
	journal.Dir
	reads map[string]int
}

func (c *counting) Get(pass string) (report.Report, error) {
	c.reads[pass]++
	return c.Dir.Get(pass)
}

// TestEachReportOfAnotherProcessIsReadOnce: this is true for the life of the process, also
// after a change of the configuration. A process reads none of its own reports.
func TestEachReportOfAnotherProcessIsReadOnce(t *testing.T) {
	w, c := newWorld(t, "both a b\n/team: a\nteam ="), &counting{journalIn(t), make(map[string]int)}
	apply := Request{MayWrite: leads, Apply: true}
	earlier := w.journaled(t, c.Dir, 0).Pass(context.Background(), apply)
	r := w.journaled(t, c, 1)
	w.add(t, "/team: a b")
	r.Pass(context.Background(), apply)
	w.add(t, "/team: a")
	beside := w.journaled(t, c.Dir, 2).Pass(context.Background(), apply)
	r.Pass(context.Background(), apply)
	r.Reconfigured(w, directory{w}, r.Options).Pass(context.Background(), apply)
	if diff := gocmp.Diff(map[string]int{earlier.Pass: 1, beside.Pass: 1}, c.reads); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// TestWhatAnotherProcessTakesBackIsNotUndone: one process removes a person, and another
// process with the same journal restores the membership. The restore is a change of groupsync
// too, so the next pass of the first process counts nothing as undone.
func TestWhatAnotherProcessTakesBackIsNotUndone(t *testing.T) {
	w, d := newWorld(t, "both a\n/team:\nteam = a"), journalIn(t)
	apply := Request{MayWrite: leads, Apply: true}
	daemon := w.journaled(t, d, 0)
	past := daemon.Pass(context.Background(), apply)
	restored, err := w.journaled(t, d, 1).Restore(context.Background(), past, apply)
	if err != nil || restored.Report.Applied.Added != 1 {
		t.Fatal(err, lines(restored.Report))
	}
	next := daemon.Pass(context.Background(), apply)
	if next.Applied.Removed != 1 || len(next.Reverted) > 0 {
		t.Errorf("the next pass: %q, reverted %v", lines(next), next.Reverted)
	}
}

// TestAReportThatComesLateUndoesNoLaterEntry: of two changes of a membership the later pass
// counts, in whatever order they reach the ledger.
func TestAReportThatComesLateUndoesNoLaterEntry(t *testing.T) {
	at := func(hour int, change report.Change) report.Report {
		g := report.Group{ID: "g", Add: []report.Change{change}}
		return report.Report{Started: time.Date(2026, 11, 24, hour, 0, 0, 0, time.UTC), Groups: []report.Group{g}}
	}
	made, undone := report.Change{ID: "a", Outcome: report.Done}, report.Change{ID: "a", Outcome: report.Planned, Reverted: true}
	l := make(ledger)
	l.enter(at(2, made))
	l.replay(at(1, made))
	l.replay(at(1, undone))
	if e := l["g"]["a"]; e.at.Hour() != 2 {
		t.Errorf("the entry is %+v", e)
	}
	l.replay(at(3, undone))
	if _, left := l["g"]["a"]; left {
		t.Error("a change that was counted as undone is still there")
	}
}

// TestAReportThatCannotBeBelievedIsNotReplayed: such a report does not enter the ledger.
func TestAReportThatCannotBeBelievedIsNotReplayed(t *testing.T) {
	w, d := newWorld(t, "both a\n/team: a\nteam ="), journalIn(t)
	rep := w.journaled(t, d, 0).Pass(context.Background(), Request{MayWrite: leads, Apply: true})
	file := filepath.Join(d.Path, rep.Pass+".json")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(data, ' '), 0o600); err != nil {
		t.Fatal(err)
	}
	w.add(t, "team =")
	if got := w.journaled(t, d, 1).Pass(context.Background(), Request{MayWrite: leads, Apply: true}); len(got.Reverted) > 0 || len(got.Errors) > 0 {
		t.Errorf("reverted %v, errors %v", got.Reverted, got.Errors)
	}
}
