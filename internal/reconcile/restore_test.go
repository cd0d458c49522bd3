package reconcile

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"groupsync/internal/match"
	"groupsync/internal/report"
	"groupsync/internal/source"
)

// leftOut returns what a restore left out.
func leftOut(r report.Report) (out []string) {
	for _, s := range r.Skipped {
		out = append(out, s.Name+" "+s.Why)
	}
	return out
}

// TestRestore makes one pass and restores it. Between the two the world changes.
func TestRestore(t *testing.T) {
	const swap = "both ann bob\n/team: ann\nteam = bob"
	const federated = "both ann bob\nfederation corp\nldap bob\n/team: ann\nteam = bob"
	failed := func(r *report.Report) {
		r.Applied = report.Tally{Failed: 2}
		r.Groups[0].Add[0].Outcome, r.Groups[0].Remove[0].Outcome = report.Failed, report.Failed
	}
	for _, row := range []struct {
		name   string
		world  string
		rules  func(*match.Options)
		report func(*report.Report) // changes the report of the pass
		after  func(*world)         // happens after the pass
		again  func(*Reconciler)
		want   []string // lines of the restore
		left   []string
		redone int
		now    []string // members of the group team at the end
	}{
		{
			name: "who was removed comes back, and who was added leaves", world: swap,
			want: []string{"-ann@team applied restored", "+bob@team applied"}, redone: 2, now: []string{"bob"},
		},
		{
			name: "what Keycloak wants by now is not redone", world: swap, after: func(w *world) { w.groups["/team"] = []string{"bob"} },
			want: []string{"-ann@team applied restored", "+bob@team applied"}, redone: 0, now: []string{"bob"},
		},
		{
			name: "what somebody has changed since is left out", world: swap, after: func(w *world) { w.setTarget("team", []string{"ann", "bob"}) },
			want: []string{"-ann@team applied restored"}, left: []string{`bob@example.com was not restored in the group "team": this has changed since: ClearML already shows what a restore would write`}, redone: 1, now: []string{"bob"},
		},
		{
			name: "a disabled person gets nothing back", world: swap, after: func(w *world) { w.add(t, "disable bob") },
			want: []string{"-ann@team applied restored"}, left: []string{`bob@example.com was not restored in the group "team": the person's account in Keycloak is disabled`}, redone: 1, now: nil,
		},
		{
			name: "a person who is gone from Keycloak gets nothing back", world: swap, after: func(w *world) { delete(w.users, "kc-bob") },
			want: []string{"-ann@team applied restored"}, left: []string{`bob@example.com was not restored in the group "team": groupsync grants nothing to a person without one certain Keycloak account (gone)`}, redone: 1, now: nil,
		},
		{
			name: "two accounts of one email: nothing comes back", world: "duplicates\nclearml bob\nkeycloak bob\n/team:\nteam = bob",
			after: func(w *world) { w.add(t, "keycloak rob email=bob@example.com") },
			left:  []string{`bob@example.com was not restored in the group "team": groupsync grants nothing to a person without one certain Keycloak account (ambiguous)`}, now: nil,
		},
		{
			name: "nobody comes back or leaves while a source of the group is missing", world: swap,
			again: func(r *Reconciler) {
				r.Rules = rules(t, func(o *match.Options) { o.Mapping = map[string][]string{"team": {"team"}, "ghost": {"team"}} })
			},
			left: []string{
				`ann@example.com was not restored in the group "team": a source of the group is missing or cannot be read, so the group is frozen`,
				`bob@example.com was not restored in the group "team": a source of the group is missing or cannot be read, so the group is frozen`,
			}, now: []string{"ann"},
		},
		{
			name: "somebody who is protected by now stays", world: swap, again: func(r *Reconciler) { r.Rules = rules(t, func(o *match.Options) { o.Protect = []string{"ann*"} }) },
			want: []string{"+bob@team applied"}, left: []string{`ann@example.com was not restored in the group "team": groupsync removes nobody in the state protected`}, redone: 1, now: []string{"ann", "bob"},
		},
		{
			name: "somebody whom an exception keeps by now stays", world: swap,
			again: func(r *Reconciler) {
				r.Rules = rules(t, func(o *match.Options) { o.Exceptions = []match.Exception{{Match: "ann*", Groups: []string{"team"}}} })
			},
			want: []string{"+bob@team applied"}, left: []string{`ann@example.com was not restored in the group "team": an exception of users.protect keeps the person in the group`}, redone: 1, now: []string{"ann", "bob"},
		},
		{
			name: "a group that nothing feeds any more is left alone", world: swap, after: func(w *world) { delete(w.groups, "/team") },
			left: []string{`ann@example.com was not restored in the group "team": groupsync does not manage the group now`, `bob@example.com was not restored in the group "team": groupsync does not manage the group now`}, now: []string{"ann"},
		},
		{
			name: "a federation that is up lets its people be added", world: federated,
			want: []string{"-ann@team applied restored", "+bob@team applied"}, redone: 2, now: []string{"bob"},
		},
		{
			name: "while a federation is away its people get nothing back", world: federated, after: func(w *world) { w.away = map[string]string{"fed-corp": "no answer"} },
			want: []string{"-ann@team applied restored"}, left: []string{`bob@example.com was not restored in the group "team": the federation corp is not up: no answer`}, redone: 1, now: nil,
		},
		{
			name: "the second look finds the account disabled", world: swap, after: func(w *world) {
				w.second = func(s *source.SecondLook) {
					u := account("bob")
					u.Enabled = false
					s.Accounts["kc-bob"], s.DisabledDB["kc-bob"] = source.Account{Found: true, User: u}, true
				}
			},
			want: []string{"-ann@team applied restored"}, left: []string{`bob@example.com was not restored in the group "team": the second look finds the person's account in Keycloak disabled`}, redone: 1, now: nil,
		},
		{
			name: "the second look finds no account", world: swap, after: func(w *world) {
				w.second = func(s *source.SecondLook) { s.Accounts["kc-bob"] = source.Account{} }
			},
			want: []string{"-ann@team applied restored"}, left: []string{`bob@example.com was not restored in the group "team": the second look finds no such account`}, redone: 1, now: nil,
		},
		{
			name: "the second look cannot read the account", world: swap, after: func(w *world) {
				w.second = func(s *source.SecondLook) { delete(s.Accounts, "kc-bob") }
			},
			want: []string{"-ann@team applied restored"}, left: []string{`bob@example.com was not restored in the group "team": the account was not read a second time`}, redone: 1, now: nil,
		},
		{
			name: "changes that failed and that ClearML made all the same are taken back", world: swap, report: failed,
			want: []string{"-ann@team applied restored", "+bob@team applied"}, redone: 2, now: []string{"bob"},
		},
		{
			name: "a change that failed and was not made is left out", world: swap, report: failed, after: func(w *world) { w.setTarget("team", []string{"ann", "bob"}) },
			want: []string{"-ann@team applied restored"}, left: []string{`bob@example.com was not restored in the group "team": the change was not made, or somebody has undone it since`}, redone: 1, now: []string{"bob"},
		},
		{
			name: "the limits hold: a removal beyond max_removals waits for an approval", world: "both ann bob\n/team: ann bob\nteam =",
			again: func(r *Reconciler) { r.Limits.MaxRemovals, r.Limits.Window = 1, time.Hour },
			want:  []string{"-ann@team withheld restored by removals", "-bob@team withheld restored by removals"}, redone: 2, now: []string{"ann", "bob"},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, row.world)
			r, _ := w.reconciler(t, w.limits, row.rules)
			past := r.Pass(context.Background(), Request{Apply: true, MayWrite: leads})
			if row.report != nil {
				row.report(&past)
			}
			if row.after != nil {
				row.after(w)
			}
			if row.again != nil {
				row.again(r)
			}
			dry, err := r.Restore(context.Background(), past, Request{DryRun: true})
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.Restore(context.Background(), past, Request{Apply: true, MayWrite: leads})
			if err != nil || len(got.Report.Errors) > 0 {
				t.Fatal(err, got.Report.Errors)
			}
			if d := cmp.Diff(row.want, signed(lines(got.Report)), cmpopts.EquateEmpty()); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			var planned []string
			for _, line := range row.want {
				planned = append(planned, strings.Replace(line, " applied", " planned", 1))
			}
			if d := cmp.Diff(planned, signed(lines(dry.Report)), cmpopts.EquateEmpty()); d != "" {
				t.Errorf("the dry run, -want +got:\n%s", d)
			}
			if d := cmp.Diff(row.left, leftOut(dry.Report), cmpopts.EquateEmpty()); d != "" {
				t.Errorf("left out of the dry run, -want +got:\n%s", d)
			}
			if d := cmp.Diff(row.left, leftOut(got.Report), cmpopts.EquateEmpty()); d != "" {
				t.Errorf("left out, -want +got:\n%s", d)
			}
			if got.Redone != row.redone {
				t.Errorf("%d are redone, want %d", got.Redone, row.redone)
			}
			if d := cmp.Diff(row.now, w.membersByGroup()["cm-team"], cmpopts.EquateEmpty()); d != "" {
				t.Errorf("members, -want +got:\n%s", d)
			}
		})
	}
}

// TestARestoreSaysWhatItsEvidenceIs: the report has the federations' answers. The evidence of
// each change says whether the change was made or only may have been made.
func TestARestoreSaysWhatItsEvidenceIs(t *testing.T) {
	w := newWorld(t, "both ann bob\nfederation corp\nldap ann bob\n/team: ann\nteam = bob")
	r, _ := w.reconciler(t, wide, nil)
	past := r.Pass(context.Background(), Request{Apply: true, MayWrite: leads})
	past.Pass, past.Groups[0].Remove[0].Outcome = "P1", report.Failed
	got, err := r.Restore(context.Background(), past, Request{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	g := got.Report.Groups[0]
	if d := cmp.Diff([]string{"the report of pass P1 says that groupsync may have removed the person", "the report of pass P1 says that groupsync added the person"}, []string{g.Add[0].Evidence, g.Remove[0].Evidence}); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if d := cmp.Diff([]report.Probe{{Federation: "corp", Up: true}}, got.Report.Probes); d != "" {
		t.Errorf("probes, -want +got:\n%s", d)
	}
}

// signed sorts the lines by person.
func signed(lines []string) []string {
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[1:], b[1:]) })
	return lines
}

// TestARestoreNeedsAReport tests reports that cannot be restored at all.
func TestARestoreNeedsAReport(t *testing.T) {
	w := newWorld(t, "both ann\n/team: ann\nteam =")
	r, _ := w.reconciler(t, wide, nil)
	past := r.Pass(context.Background(), Request{Apply: true, MayWrite: leads})
	for _, row := range []struct {
		name string
		edit func(*report.Report)
		want string
	}{
		{"no report at all", func(p *report.Report) { *p = report.Report{} }, "the report names no pass, so nothing was restored: give the JSON report of a pass"},
		{"of another sync", func(p *report.Report) { p.Sync = "other" }, "the report is of the sync other, and this configuration is of the sync test: nothing was restored"},
		{"a pass that wrote nothing", func(p *report.Report) {
			p.Pass, p.Groups = "P1", slices.Clone(p.Groups)
			p.Groups[0].Remove = []report.Change{{ID: "ann", Outcome: report.Withheld}}
			p.Groups[0].Add = []report.Change{{ID: "bob", Outcome: report.Planned}}
		}, "the report of pass P1 shows no change that was made or may have been made"},
	} {
		t.Run(row.name, func(t *testing.T) {
			edited := past
			row.edit(&edited)
			writes := len(w.writes)
			_, err := r.Restore(context.Background(), edited, Request{Apply: true, MayWrite: leads})
			if errorText(err) != row.want || len(w.writes) != writes {
				t.Errorf("error %q, want %q; %d writes", errorText(err), row.want, len(w.writes)-writes)
			}
		})
	}
}

// TestLawARestoreTakesBackAPass: a restore right after a pass undoes every change of that
// pass, except those that the restore names as left out. It changes no other membership.
func TestLawARestoreTakesBackAPass(t *testing.T) {
	checkWorlds(t, func(rt *rapid.T, w *world) {
		limits := wide
		limits.Floor = rapid.IntRange(0, 2).Draw(rt, "floor")
		r, _ := w.reconciler(t, limits, adminsAndProtected)
		before := w.membersByGroup()
		past := r.Pass(context.Background(), Request{Apply: true, MayWrite: leads})
		if past.Applied.Added+past.Applied.Removed == 0 {
			return
		}
		got, err := r.Restore(context.Background(), past, Request{Apply: true, MayWrite: leads})
		if emptyRealm(got.Report) {
			return
		}
		if err != nil || len(got.Report.Errors) > 0 {
			rt.Fatal(err, got.Report.Errors)
		}
		after := w.membersByGroup()
		left, differ := len(got.Report.Skipped), 0
		for _, g := range got.Report.Groups {
			for _, c := range slices.Concat(g.Add, g.Remove) {
				if c.Outcome == report.Withheld { // withheld by the floor
					left++
				}
			}
		}
		for id, members := range before {
			for _, m := range slices.Concat(members, after[id]) {
				if slices.Contains(members, m) != slices.Contains(after[id], m) {
					differ++
				}
			}
		}
		if differ != left {
			rt.Fatalf("%d memberships differ from before the pass, and %d were left out\n%q\n%q\n%q", differ, left, lines(past), lines(got.Report), leftOut(got.Report))
		}
		next := r.Pass(context.Background(), Request{DryRun: true})
		if n := undoneBy(next, got.Report); n+withheldIn(got.Report) != got.Redone {
			rt.Fatalf("the next pass undoes %d changes of the restore, which says %d\n%q\n%q", n, got.Redone, lines(next), lines(got.Report))
		}
	})
}

// undoneBy returns how many of the restore's changes the plan of a later pass would undo.
func undoneBy(next, restore report.Report) (n int) {
	wanted := make(map[string]bool)
	for _, g := range next.Groups {
		for _, c := range g.Add {
			wanted["+"+g.ID+c.ID] = true
		}
		for _, c := range g.Remove {
			wanted["-"+g.ID+c.ID] = true
		}
	}
	for _, g := range restore.Groups {
		for _, c := range g.Add {
			if c.Outcome == report.Done && wanted["-"+g.ID+c.ID] {
				n++
			}
		}
		for _, c := range g.Remove {
			if c.Outcome == report.Done && wanted["+"+g.ID+c.ID] {
				n++
			}
		}
	}
	return n
}

// withheldIn returns how many changes the guards withheld.
func withheldIn(r report.Report) (n int) {
	for _, g := range r.Groups {
		for _, c := range slices.Concat(g.Add, g.Remove) {
			if c.Outcome == report.Withheld {
				n++
			}
		}
	}
	return n
}
