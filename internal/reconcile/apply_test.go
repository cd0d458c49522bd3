package reconcile

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"groupsync/internal/fault"
	"groupsync/internal/guard"
	"groupsync/internal/match"
	"groupsync/internal/plan"
	"groupsync/internal/report"
	"groupsync/internal/target"
	"groupsync/internal/target/clearml"
	"groupsync/internal/target/clearmltest"
)

func TestApply(t *testing.T) {
	tests := []struct {
		name   string
		world  string
		change func(*world)
		writes []string
		want   []string
		trip   string
		err    string
		result report.Result
	}{
		{
			name:   "the order: what only gains, mixed, what only loses, administrators; small before large",
			world:  "both a b c d\n/gain2: a b\n/gain1: a\n/mixed: a\n/loss:\ngain2 =\ngain1 =\nmixed = b\nloss = c",
			writes: []string{"gain1: a", "gain2: a b", "mixed: a", "loss: "},
			want:   []string{"+a@gain1 applied", "+a@gain2 applied", "+b@gain2 applied", "-c@loss applied not_member", "+a@mixed applied", "-b@mixed applied not_member"},
			result: report.Applied,
		},
		{
			name:  "somebody first seen in the read just before the write is not removed",
			world: "both a b new\n/team: a\nteam = b",
			change: func(w *world) {
				w.beforeGroups = func(call int) {
					if call == 1 {
						w.setMembers("cm-team", []string{"b", "new"})
					}
				}
			},
			writes: []string{"team: a new"},
			want:   []string{"+a@team applied", "-b@team applied not_member"},
			trip:   "concurrent team: the members changed while the pass ran: the changes were planned again from the last reading",
			result: report.Applied,
		},
		{
			name:  "what somebody else has already done is struck from the plan",
			world: "both a b\n/team: a\nteam = b",
			change: func(w *world) {
				w.beforeGroups = func(int) { w.setMembers("cm-team", []string{"a"}) }
			},
			want:   []string{},
			trip:   "concurrent team: the members changed while the pass ran",
			result: report.InSync,
		},
		{
			name:  "a short read just before the write is held against another one, and nothing is written",
			world: "both a b c d e n\n/team: a b c d e n\nteam = a b c d e\nother =",
			change: func(w *world) {
				w.beforeGroups = func(call int) {
					w.setMembers("cm-team", map[bool][]string{true: {"a"}, false: {"a", "b", "c", "d", "e"}}[call == 2])
				}
			},
			want:   []string{"+n@team withheld by concurrent"},
			trip:   "concurrent team: just before the write 4 of the group's 5 members were missing, and a second read did not confirm that: the group is not written, and the next pass reads it again; if that pass reports the same, look at the group in ClearML",
			result: report.Guarded,
		},
		{
			name:  "a group that really lost too many people meanwhile is not written either",
			world: "both a b c d e n\n/team: a b c d e n\nteam = a b c d e",
			change: func(w *world) {
				w.limits.MaxRatio = 0.25
				w.beforeGroups = func(int) { w.setMembers("cm-team", []string{"a"}) }
			},
			want:   []string{"+n@team withheld by concurrent"},
			trip:   "concurrent team: just before the write 4 of its 5 members were missing, more than guards.max_removal_ratio 0.25: the group is not written; look at the group in ClearML",
			result: report.Guarded,
		},
		{
			name:  "one member whom somebody else took out meanwhile is no obstacle",
			world: "both a b n\n/team: a b n\nteam = a b",
			change: func(w *world) {
				w.beforeGroups = func(int) { w.setMembers("cm-team", []string{"a"}); w.beforeGroups = nil }
			},
			writes: []string{"team: a n"},
			want:   []string{"+n@team applied"},
			trip:   "concurrent team: the members changed while the pass ran: the changes were planned again from the last reading",
			result: report.Applied,
		},
		{
			name:  "the administrators' floor is held again just before the write",
			world: "both a b\n/ops: b\nAdmins! = a b",
			change: func(w *world) {
				w.limits.Floor, w.admins = 1, []string{"ops"}
				w.beforeGroups = func(int) { w.setMembers("cm-Admins", []string{"a"}); w.beforeGroups = nil }
			},
			want:   []string{"-a@Admins withheld not_member by admins"},
			trip:   "concurrent Admins: the members changed while the pass ran: the changes were planned again from the last reading\nadmins Admins: just before the write 0 administrators would remain, admins.floor is 1: the removals of administrators are withheld",
			result: report.Guarded,
		},
		{
			name:  "a group that is gone is not written, since a write would create it",
			world: "both a\n/team: a\nteam =\nother =",
			change: func(w *world) {
				w.beforeGroups = func(int) { w.targets = w.targets[1:] }
			},
			want:   []string{"+a@team withheld by concurrent"},
			trip:   "concurrent team: the group is gone from ClearML: it is not written, because a write would create it again",
			result: report.Guarded,
		},
		{
			name:  "a group that was renamed is not written",
			world: "both a\n/team: a\nteam =",
			change: func(w *world) {
				w.beforeGroups = func(int) { w.targets[0].Name = "renamed" }
			},
			want:   []string{"+a@team withheld by concurrent"},
			trip:   "concurrent team: the group's name, or whether it is built in or assignable in ClearML, changed while the pass ran: the group is not written, and the next pass matches it again",
			result: report.Guarded,
		},
		{
			name:  "the canary: a write that creates another group stops all writing",
			world: "both a\n/x: a\n/y: a\nx =\ny =",
			change: func(w *world) {
				w.onWrite = func(g target.Group, _ []string) (bool, error) {
					w.setTarget("brand-new", nil)
					return true, nil
				}
			},
			writes: []string{"x: a"},
			want:   []string{"+a@x applied", "+a@y withheld by canary"},
			trip:   `canary x: the canary write to "x" did more than was sent: there were 2 user groups before the write and 3 after the write; nothing more is written until a person has looked at ClearML and restarted groupsync`,
			result: report.Guarded,
		},
		{
			name:  "the canary: a write that clears another group's description stops all writing",
			world: "both a\n/x: a\n/y: a\nx =\ny =",
			change: func(w *world) {
				w.onWrite = func(g target.Group, _ []string) (bool, error) {
					w.targets[1].Description = ""
					return true, nil
				}
			},
			writes: []string{"x: a"},
			want:   []string{"+a@x applied", "+a@y withheld by canary"},
			trip:   `canary x: the canary write to "x" did more than was sent: the group "y" changed its name or description, or is gone; nothing more`,
			result: report.Guarded,
		},
		{
			name:  "the canary: other members than were sent end the pass",
			world: "both a b\n/x: a\n/y: a\nx =\ny =",
			change: func(w *world) {
				w.onWrite = func(g target.Group, sent []string) (bool, error) {
					w.setMembers(g.ID, append(slices.Clone(sent), "b"))
					return false, nil
				}
			},
			want:   []string{"+a@x applied", "+a@y planned"},
			trip:   `canary x: the read-back of the canary write to "x" shows other members than were sent; nothing more is written in this pass`,
			result: report.Guarded,
		},
		{
			name:  "the read-back: a 200 that changed nothing is a failed write",
			world: "both a b\n/x: a\n/y: a\nx =\ny = b",
			change: func(w *world) {
				w.onWrite = func(g target.Group, _ []string) (bool, error) { return g.Name == "x", nil }
			},
			writes: []string{"x: a"},
			want:   []string{"+a@x applied", "+a@y failed", "-b@y failed not_member"},
			err:    `after the write of "y" the read-back shows that 2 changes were not made, and that 0 members are missing who had to stay: look at the members in ClearML; look at the group in ClearML`,
			result: report.Drift,
		},
		{
			name:  "a later write that clears its group's description stops all writing",
			world: "both a\n/x: a\n/y: a\n/z: a\nx =\ny =\nz =",
			change: func(w *world) {
				w.onWrite = func(g target.Group, _ []string) (bool, error) {
					if g.Name == "y" {
						w.targets[1].Description = ""
					}
					return true, nil
				}
			},
			writes: []string{"x: a", "y: a"},
			want:   []string{"+a@x applied", "+a@y applied", "+a@z withheld by canary"},
			trip:   `canary y: the write of "y" changed more than the group's members; nothing more is written until`,
			err:    `the write of "y" changed the group's name or description, or the group is gone after the write; look at the group in ClearML`,
			result: report.Guarded,
		},
		{
			name:  "a later write that loses more people than may leave freely stops all writing",
			world: "both a b c d e\n/x: a\n/y: a b c d e\n/z: a b c d e\nx =\ny = b c d e\nz =",
			change: func(w *world) {
				w.onWrite = func(g target.Group, _ []string) (bool, error) {
					if g.Name == "y" {
						w.setMembers(g.ID, []string{"a"})
						return false, nil
					}
					return true, nil
				}
			},
			writes: []string{"x: a"},
			want:   []string{"+a@x applied", "+a@y applied", "+a@z withheld by canary", "+b@z withheld by canary", "+c@z withheld by canary", "+d@z withheld by canary", "+e@z withheld by canary"},
			trip:   `canary y: the last writes of this process, up to the write of "y", lost 4 members who had to stay; nothing more is written until`,
			err:    `after the write of "y" the read-back shows that 0 changes were not made, and that 4 members are missing who had to stay: look at the members in ClearML; look at the group in ClearML`,
			result: report.Guarded,
		},
		{
			name:  "one member lost in a write ends the pass, and is no success",
			world: "both a b c\n/x: a\n/y: a\n/z: a\nx =\ny = b\nz = a c\nclearml loc local",
			change: func(w *world) {
				w.setTarget("y", []string{"b", "loc"})
				w.onWrite = func(g target.Group, _ []string) (bool, error) {
					if g.Name == "y" {
						w.setMembers(g.ID, []string{"a"})
						return false, nil
					}
					return true, nil
				}
			},
			writes: []string{"x: a"},
			want:   []string{"+a@x applied", "+a@y applied", "-b@y applied not_member", "=loc@y local", "-c@z planned not_member"},
			err:    `after the write of "y" the read-back shows that 0 changes were not made, and that 1 members are missing who had to stay: look at the members in ClearML; look at the group in ClearML`,
			result: report.Drift,
		},
		{
			name:  "an answer that names another group is told, though the members are right, and ends the pass",
			world: "both a\n/x: a\n/y: a\n/z: a\nx =\ny =\nz =",
			change: func(w *world) {
				w.onWrite = func(g target.Group, _ []string) (bool, error) {
					if g.Name == "y" {
						return true, &target.UncertainError{Err: fault.New(fault.ClearML, fault.Rejected, "the answer names another group")}
					}
					return true, nil
				}
			},
			writes: []string{"x: a", "y: a"},
			want:   []string{"+a@x applied", "+a@y applied", "+a@z planned"},
			err:    `writing the user group "y": it is not known whether the write was carried out: the answer names another group`,
			result: report.Drift,
		},
		{
			name:  "a write whose outcome is unknown counts when the read-back shows it",
			world: "both a\n/x: a\nx =",
			change: func(w *world) {
				w.onWrite = func(target.Group, []string) (bool, error) {
					return true, &target.UncertainError{Err: errors.New("connection reset")}
				}
			},
			writes: []string{"x: a"},
			want:   []string{"+a@x applied"},
			result: report.Applied,
		},
		{
			name:  "a write whose outcome is unknown fails when the read-back does not show it, and ends the pass",
			world: "both a\n/x: a\n/y: a\nx =\ny =",
			change: func(w *world) {
				w.onWrite = func(target.Group, []string) (bool, error) {
					return false, &target.UncertainError{Err: errors.New("connection reset")}
				}
			},
			want:   []string{"+a@x failed", "+a@y planned"},
			err:    `writing the user group "x": it is not known whether the write was carried out: connection reset; the read-back shows the group unchanged, and nothing more is written in this pass`,
			result: report.Drift,
		},
		{
			name:  "the canary: a write of unknown outcome that created another group stops all writing",
			world: "both a\n/x: a\n/y: a\nx =\ny =",
			change: func(w *world) {
				w.onWrite = func(target.Group, []string) (bool, error) {
					w.setTarget("brand-new", nil)
					return false, &target.UncertainError{Err: errors.New("the answer names another group")}
				}
			},
			want:   []string{"+a@x failed", "+a@y withheld by canary"},
			trip:   `canary x: the canary write to "x" did more than was sent: there were 2 user groups before the write and 3 after the write; nothing more`,
			err:    `writing the user group "x": it is not known whether the write was carried out: the answer names another group; the read-back shows the group unchanged, and nothing more is written in this pass`,
			result: report.Guarded,
		},
		{
			name:  "a refused write fails and the next group goes on",
			world: "both a\n/x: a\n/y: a\nx =\ny =",
			change: func(w *world) {
				w.onWrite = func(g target.Group, _ []string) (bool, error) {
					if g.Name == "x" {
						return false, errors.New("400/12: no")
					}
					return true, nil
				}
			},
			writes: []string{"y: a"},
			want:   []string{"+a@x failed", "+a@y applied"},
			err:    `writing the user group "x": 400/12: no`,
			result: report.Drift,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.world)
			if tt.change != nil {
				tt.change(w)
			}
			r, _ := w.reconciler(t, w.limits, func(o *match.Options) { o.AdminGroups = w.admins })
			rep := r.Pass(context.Background(), Request{MayWrite: leads, Apply: true})
			if d := gocmp.Diff(tt.writes, w.writes); d != "" {
				t.Errorf("writes: -want +got\n%s", d)
			}
			if d := gocmp.Diff(tt.want, lines(rep)); d != "" {
				t.Errorf("lines: -want +got\n%s", d)
			}
			if got := strings.Join(trips(rep), "\n"); !strings.HasPrefix(got, tt.trip) || tt.trip == "" && got != "" {
				t.Errorf("trips:\n got %s\nwant %s", got, tt.trip)
			}
			got := ""
			for _, e := range rep.Errors {
				got += e.Text
			}
			if got != tt.err {
				t.Errorf("errors:\n got %s\nwant %s", got, tt.err)
			}
			if rep.Result != tt.result {
				t.Errorf("result: got %s, want %s", rep.Result, tt.result)
			}
		})
	}
}

func TestShutdownStopsBetweenTwoWrites(t *testing.T) {
	w := newWorld(t, "both a\n/x: a\n/y: a\nx =\ny =")
	ctx, cancel := context.WithCancel(context.Background())
	w.onWrite = func(target.Group, []string) (bool, error) {
		cancel() // the write that was begun is still finished and read back
		return true, nil
	}
	r, _ := w.reconciler(t, wide, nil)
	rep := r.Pass(ctx, Request{MayWrite: leads, Apply: true})
	if d := gocmp.Diff([]string{"+a@x applied", "+a@y planned"}, lines(rep)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if want := "the pass was abandoned before 1 of 2 groups were written: context canceled"; len(rep.Errors) != 1 || rep.Errors[0].Text != want {
		t.Errorf("errors: got %v, want %q", rep.Errors, want)
	}
	if rep.ExitCode() != 2 {
		t.Errorf("exit code: got %d, want 2", rep.ExitCode())
	}
}

// TestALostPassDoesNotWriteWhatItHasJustRead: the leadership can be lost between the read and
// the write.
func TestALostPassDoesNotWriteWhatItHasJustRead(t *testing.T) {
	w := newWorld(t, "both a\n/x: a\nx =")
	ctx, cancel := context.WithCancel(context.Background())
	w.beforeGroups = func(int) { cancel() }
	r, _ := w.reconciler(t, wide, nil)
	rep := r.Pass(ctx, Request{MayWrite: leads, Apply: true})
	if d := gocmp.Diff([]string{"+a@x planned"}, lines(rep)); d != "" || len(w.writes) > 0 {
		t.Errorf("writes %q; -want +got\n%s", w.writes, d)
	}
}

// TestAPassWhoseLeadershipIsLostWritesNothing: a pass asks before each write whether this
// process is the leader. A pass that cannot ask does not write either.
func TestAPassWhoseLeadershipIsLostWritesNothing(t *testing.T) {
	for name, lead := range map[string]func() error{
		"the Lease has another holder": func() error { return errors.New("another replica leads") },
		"nobody can say who leads":     nil,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "both a\n/x: a\nx =")
			r, _ := w.reconciler(t, wide, nil)
			rep := r.Pass(context.Background(), Request{MayWrite: lead, Apply: true})
			if len(w.writes) > 0 || len(rep.Errors) == 0 {
				t.Errorf("writes %q, errors %v", w.writes, rep.Errors)
			}
		})
	}
}

// TestAChangeSomebodyElseUndidIsCounted: a change that somebody else undid counts once, and
// only if the plan proposes the change again.
func TestAChangeSomebodyElseUndidIsCounted(t *testing.T) {
	w := newWorld(t, "both a b\n/team: a\nteam = b")
	r, _ := w.reconciler(t, wide, nil)
	pass := func(req Request) map[string]int { return r.Pass(context.Background(), req).Reverted }
	for i, step := range []struct {
		name   string
		change string
		req    Request
		want   map[string]int
	}{
		{"nothing was ours yet", "", Request{MayWrite: leads, Apply: true}, map[string]int{}},
		{"all is as it was written", "", Request{MayWrite: leads, Apply: true}, map[string]int{}},
		{"a dry run counts nothing", "team = b", Request{DryRun: true}, map[string]int{}},
		{"both changes were undone", "team = b", Request{}, map[string]int{"add": 1, "remove": 1}},
		{"each counts once", "", Request{MayWrite: leads, Apply: true}, map[string]int{}},
		{"Keycloak took a out, and so did somebody in ClearML", "/team: b\nteam = b", Request{MayWrite: leads, Apply: true}, map[string]int{}},
		{"that Keycloak wants a again is nobody's undoing", "/team: a b", Request{MayWrite: leads, Apply: true}, map[string]int{}},
		{"now it is", "team = b", Request{MayWrite: leads, Apply: true}, map[string]int{"add": 1}},
		{"what was written before a change of configuration is ours too", "reload\nteam = b", Request{MayWrite: leads, Apply: true}, map[string]int{"add": 1}},
	} {
		change, reload := strings.CutPrefix(step.change, "reload\n")
		if reload {
			r = r.Reconfigured(w, directory{w}, r.Options)
		}
		w.add(t, change)
		if d := gocmp.Diff(step.want, pass(step.req)); d != "" {
			t.Errorf("step %d, %s: -want +got\n%s", i, step.name, d)
		}
	}
}

// TestAChangeNamesTheCallThatWroteIt: a change that was not sent has no call.
func TestAChangeNamesTheCallThatWroteIt(t *testing.T) {
	w := newWorld(t, "both a b c\nfederation corp\nldap c\n/x: a b\n/y: a\nx = b c\ny = b")
	w.onWrite = func(g target.Group, _ []string) (bool, error) {
		if g.Name == "y" {
			return false, errors.New("400/12: no")
		}
		return true, nil
	}
	limits := wide
	limits.Grace = time.Hour
	r, _ := w.reconciler(t, limits, nil)
	rep := r.Pass(context.Background(), Request{MayWrite: leads, Apply: true})
	var got []string
	for _, g := range rep.Groups {
		for _, c := range slices.Concat(g.Add, g.Remove) {
			got = append(got, fmt.Sprintf("%s in %s: %s %q", c.ID, g.Name, c.Outcome, c.Call))
		}
	}
	want := []string{`a in x: applied "call-1"`, `c in x: withheld ""`, `a in y: failed "call-2"`, `b in y: failed "call-2"`}
	if d := gocmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// TestAChangeOfConfigurationForgetsNoHarm: after Reconfigured, the new Reconciler does not write if
// the old one had to stop, and it keeps the memory.
func TestAChangeOfConfigurationForgetsNoHarm(t *testing.T) {
	w := newWorld(t, "both a b\n/x: a\n/y: a\nx =\ny = b")
	w.onWrite = func(g target.Group, _ []string) (bool, error) {
		w.setTarget("new", nil) // harm: a group appears
		return true, nil
	}
	r, _ := w.reconciler(t, wide, nil)
	r.Pass(context.Background(), Request{MayWrite: leads, Apply: true})
	wrote := len(w.writes)
	next := r.Reconfigured(w, directory{w}, r.Options)
	rep := next.Pass(context.Background(), Request{MayWrite: leads, Apply: true})
	if len(w.writes) != wrote || !slices.ContainsFunc(rep.Guards, func(x report.Trip) bool { return x.Guard == report.Canary }) {
		t.Errorf("writes before %d and after %d, guards %v", wrote, len(w.writes), rep.Guards)
	}
	o := r.Options
	o.Store = nil
	if next := r.Reconfigured(w, directory{w}, o); next.Store != r.Store {
		t.Error("what the guards remember was left behind")
	}
}

// TestABrokenServerIsWrittenOnceOnly: after a harmful canary, no later pass of the process
// writes.
func TestABrokenServerIsWrittenOnceOnly(t *testing.T) {
	w := newWorld(t, "both a b\n/x: a\n/y: a\nx =\ny = b")
	w.onWrite = func(g target.Group, _ []string) (bool, error) {
		w.targets[1].Description = "changed"
		return true, nil
	}
	r, _ := w.reconciler(t, wide, nil)
	r.Pass(context.Background(), Request{MayWrite: leads, Apply: true})
	rep := r.Pass(context.Background(), Request{MayWrite: leads, Apply: true})
	if len(w.writes) != 1 {
		t.Errorf("writes: %q", w.writes)
	}
	if d := gocmp.Diff([]string{"+a@y withheld by canary", "-b@y withheld not_member by canary"}, lines(rep)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// TestAGroupThatCannotBeWrittenDoesNotStarveTheOthers: such a group ends its run and is
// written last in the next one.
func TestAGroupThatCannotBeWrittenDoesNotStarveTheOthers(t *testing.T) {
	w := newWorld(t, "both a\n/x: a\n/y: a\n/z: a\nx =\ny =\nz =")
	w.onWrite = func(g target.Group, _ []string) (bool, error) {
		if g.Name == "x" {
			return false, &target.UncertainError{Err: errors.New("504")}
		}
		return true, nil
	}
	r, _ := w.reconciler(t, wide, nil)
	r.Pass(context.Background(), Request{MayWrite: leads, Apply: true})
	next := r.Reconfigured(w, directory{w}, r.Options) // a change of the configuration does not reset this order
	rep := next.Pass(context.Background(), Request{MayWrite: leads, Apply: true})
	if d := gocmp.Diff([]string{"+a@x failed", "+a@y applied", "+a@z applied"}, lines(rep)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// TestLossesOfLongAgoDoNotAddUp: in months, several logins happen between a write and its
// read-back. The losses that they cause must not stop the daemon.
func TestLossesOfLongAgoDoNotAddUp(t *testing.T) {
	w := newWorld(t, "both a\nclearml loc local\n/x: a\nx = loc")
	r, _ := w.reconciler(t, wide, nil)
	lose := false
	w.onWrite = func(g target.Group, _ []string) (bool, error) {
		if lose {
			w.setMembers(g.ID, []string{"a"})
		}
		return !lose, nil
	}
	for i := range 10 {
		w.setTarget("x", []string{"loc"})
		lose = i%2 == 1
		if rep := r.Pass(context.Background(), Request{MayWrite: leads, Apply: true}); len(rep.Guards) > 0 || (len(rep.Errors) > 0) != lose {
			t.Fatalf("pass %d: %v %v", i+1, rep.Guards, rep.Errors)
		}
	}
	lose = true
	for range 5 {
		w.setTarget("x", []string{"loc"})
		r.Pass(context.Background(), Request{MayWrite: leads, Apply: true})
		r = r.Reconfigured(w, directory{w}, r.Options) // a change of the configuration does not reset the losses
	}
	if r.writer.broken == "" {
		t.Error("a loss in every pass does not stop the writing")
	}
}

// TestAnUnreadableSideWritesNothing: an error while reading either side ends the pass.
func TestAnUnreadableSideWritesNothing(t *testing.T) {
	for name, fail := range map[string]func(*world){
		"reading the one side: boom":   func(w *world) { w.readCM = errors.New("reading the one side: boom") },
		"reading the other side: boom": func(w *world) { w.readKC = errors.New("reading the other side: boom") },
	} {
		w := newWorld(t, "both ann bob\n/team: ann\nteam = bob")
		fail(w)
		r, _ := w.reconciler(t, wide, nil)
		rep := r.Pass(context.Background(), Request{MayWrite: leads, Apply: true})
		if len(w.writes) > 0 || rep.ExitCode() != 1 || rep.Result != report.Error || len(rep.Errors) != 1 || rep.Errors[0].Text != name {
			t.Errorf("%s: writes %q, exit %d, result %s, errors %v", name, w.writes, rep.ExitCode(), rep.Result, rep.Errors)
		}
	}
}

// shelf is a Directory of one or two groups in memory, with a hook at each call, and the
// writer that writes to it.
type shelf struct {
	groups   []target.Group
	claims   map[string][]string      // by group name: the members in the users' own lists, if those differ
	calls    []string                 // in order: "groups", "users", "group", "write"
	onCall   func(call string, n int) // called before the nth call of that kind is answered
	onWrite  func(n int, g target.Group, members []string) (write bool, err error)
	readErr  func(call string, n int) error
	counts   map[string]int
	answered target.Calls               // what SetMembers returns
	ctx      map[string]context.Context // of the last call of each kind
	pauses   []time.Duration
	writer   *writer
	log      bytes.Buffer
}

// proven returns the writer's state in which the canary of member lists is proved or not. The
// canary of the role follows it.
func proven(is bool) map[string]bool { return map[string]bool{"": is, target.RoleAdmin: is} }

// newShelf makes groups from lines "name: members". The id is "cm-" and the name. The canary
// is proved, so a write reads only its own group.
func newShelf(lines ...string) *shelf {
	s := &shelf{counts: map[string]int{}, ctx: map[string]context.Context{}}
	for _, line := range lines {
		name, members, _ := strings.Cut(line, ":")
		s.groups = append(s.groups, shelved(name, strings.Fields(members)...))
	}
	s.writer = &writer{dir: s, late: map[string]bool{}, proved: proven(true), suspension: notSuspended, pause: func(_ context.Context, d time.Duration) { s.pauses = append(s.pauses, d) }}
	return s
}

func shelved(name string, members ...string) target.Group {
	g := target.Group{ID: "cm-" + name, Name: name, Description: "about " + name, Assignable: true, System: name == target.Admins}
	for _, m := range members {
		g.Members = append(g.Members, target.Member{ID: m, Name: m})
	}
	return g
}

func (s *shelf) call(ctx context.Context, call string) error {
	s.calls = append(s.calls, call)
	s.counts[call]++
	s.ctx[call] = ctx
	if s.onCall != nil {
		s.onCall(call, s.counts[call])
	}
	if s.readErr != nil {
		return s.readErr(call, s.counts[call])
	}
	return nil
}

func (s *shelf) set(name string, members ...string) {
	i := slices.IndexFunc(s.groups, func(g target.Group) bool { return g.Name == name })
	s.groups[i].Members = shelved(name, members...).Members
}

func (s *shelf) members(name string) string {
	i := slices.IndexFunc(s.groups, func(g target.Group) bool { return g.Name == name })
	return strings.Join(s.groups[i].MemberIDs(), " ")
}

func (s *shelf) UserGroups(ctx context.Context) ([]target.Group, error) {
	err := s.call(ctx, "groups")
	return slices.Clone(s.groups), err
}

// Snapshot makes users from the groups' members. For a group in claims, the users' own lists
// show those members. For the others they show the group's members.
func (s *shelf) Snapshot(ctx context.Context, groups []target.Group) (*target.Snapshot, error) {
	if err := s.call(ctx, "users"); err != nil {
		return nil, err
	}
	users := []target.User{{ID: "somebody", Email: "somebody@example.org"}}
	for _, g := range s.groups {
		ids, told := s.claims[g.Name]
		if !told {
			ids = g.MemberIDs()
		}
		for _, id := range ids {
			i := slices.IndexFunc(users, func(u target.User) bool { return u.ID == id })
			if i < 0 {
				i, users = len(users), append(users, target.User{ID: id, Email: id + "@example.org"})
			}
			users[i].Groups = append(users[i].Groups, g.ID)
		}
	}
	return target.NewSnapshot(target.Parts{Groups: groups, Users: users})
}

func (s *shelf) Groups(ctx context.Context) ([]target.Group, error) {
	err := s.call(ctx, "groups")
	return slices.Clone(s.groups), err
}

func (s *shelf) Group(ctx context.Context, id string) (target.Group, bool, error) {
	err := s.call(ctx, "group")
	i := slices.IndexFunc(s.groups, func(g target.Group) bool { return g.ID == id })
	if err != nil || i < 0 {
		return target.Group{}, false, err
	}
	return s.groups[i], true, nil
}

func (s *shelf) SetMembers(ctx context.Context, fence target.Fence, g target.Group, members []string) (target.Calls, error) {
	if err := fence.Check(); err != nil { // as the client does
		return nil, err
	}
	write, err := true, s.call(ctx, "write")
	if err == nil && s.onWrite != nil {
		write, err = s.onWrite(s.counts["write"], g, members)
	}
	if write {
		s.set(g.Name, members...)
	}
	return s.answered, err
}

// allowed is cleared writes with the limits.
type allowed struct {
	writes []guard.Write
	limits guard.Limits
}

// cleared makes cleared writes from lines "name: members +joins -leaves", in the order of
// writing.
func cleared(limits guard.Limits, lines ...string) allowed {
	c := allowed{limits: limits}
	for _, line := range lines {
		name, rest, _ := strings.Cut(line, ":")
		w := guard.Write{Admins: name == target.Admins}
		var members []string
		for _, word := range strings.Fields(rest) {
			user := target.User{ID: word[1:], Name: word[1:]}
			switch word[0] {
			case '+':
				w.Add = append(w.Add, plan.Change{User: user, Action: plan.Add})
			case '-':
				w.Remove = append(w.Remove, plan.Change{User: user, Action: plan.Remove})
				members = append(members, word[1:])
			default:
				members, w.Floor = append(members, word), append(w.Floor, word)
			}
		}
		w.Group = shelved(name, members...)
		c.writes = append(c.writes, w)
	}
	return c
}

func (a allowed) applyTo(w *writer, ctx context.Context, log *slog.Logger, fence target.Fence) applied {
	return w.write(ctx, log, fence, a.writes, a.limits)
}

var openFence = target.NewFence(func() error { return nil })

func (s *shelf) apply(c allowed) applied {
	return s.writer.write(context.Background(), slog.New(slog.NewTextHandler(&s.log, nil)), openFence, c.writes, c.limits)
}

// said returns what a run did, as lines: the outcomes, the trips, the errors.
func said(done applied) []string {
	out := []string{}
	for _, group := range slices.Sorted(maps.Keys(done.outcomes)) {
		o := done.outcomes[group]
		name := strings.TrimPrefix(group, "cm-")
		for sign, changes := range map[string]map[string]report.Outcome{"+": o.add, "-": o.remove} {
			for user, result := range changes {
				text := sign + user + "@" + name + " " + cmp.Or(string(result), "done by somebody else")
				if result == report.Withheld {
					text += " by " + string(o.guard)
				}
				out = append(out, text)
			}
		}
	}
	slices.Sort(out)
	for _, t := range done.trips {
		out = append(out, strings.TrimRight("trip "+string(t.Guard)+" "+t.Group, " ")+": "+t.Detail)
	}
	for _, err := range done.errors {
		out = append(out, "error: "+err.Error())
	}
	return out
}

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := gocmp.Diff(want, got); d != "" {
		t.Errorf("%s: -want +got\n%s", what, d)
	}
}

func notTakenNow(after time.Duration) error {
	return &target.NotTakenError{Err: fault.New(fault.ClearML, fault.Server, "429: too many requests"), After: after}
}

const replanned = "the members changed while the pass ran: the changes were planned again from the last reading"

// TestNothingIsCalledBetweenTheReadAndTheWrite: the last call before a write is the reading
// from which the write was computed, whatever else was read before.
func TestNothingIsCalledBetweenTheReadAndTheWrite(t *testing.T) {
	for _, tt := range []struct {
		name   string
		proved bool
		vanish bool // a member disappears before the first reading
		busy   int  // how many writes the server does not take
		want   []string
	}{
		{"a later write", true, false, 0, []string{"group", "write", "group"}},
		{"the first write of the process", false, false, 0, []string{"groups", "group", "write", "groups"}},
		{"a member is missing", true, true, 0, []string{"group", "groups", "users", "group", "write", "group"}},
		{"a member is missing at the first write", false, true, 0, []string{"groups", "group", "groups", "users", "groups", "group", "write", "groups"}},
		{"a write that is not taken", true, false, 1, []string{"group", "write", "group", "write", "group"}},
		{"a first write that is not taken", false, false, 1, []string{"groups", "group", "write", "groups", "group", "write", "groups"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newShelf("team: a b c")
			s.writer.proved = proven(tt.proved)
			if tt.vanish {
				s.set("team", "a", "b")
			}
			s.onWrite = func(n int, _ target.Group, _ []string) (bool, error) {
				if n <= tt.busy {
					return false, notTakenNow(0)
				}
				return true, nil
			}
			done := s.apply(cleared(wide, "team: a b c +n"))
			same(t, "calls", tt.want, s.calls)
			if len(done.errors) > 0 || s.counts["write"] != tt.busy+1 {
				t.Errorf("errors %v, %d writes", done.errors, s.counts["write"])
			}
		})
	}
}

// TestAWriteThatIsNotTakenBeginsAgainFromTheRead: the next write includes a change that
// somebody else makes during the wait.
func TestAWriteThatIsNotTakenBeginsAgainFromTheRead(t *testing.T) {
	for _, tt := range []struct {
		name      string
		meanwhile []string // the members after the first refusal
		want      []string
		members   string
	}{
		{"nothing happens", []string{"a", "b"}, []string{"+n@team applied", "-b@team applied"}, "a n"},
		{"a login adds somebody", []string{"a", "b", "new"}, []string{"+n@team applied", "-b@team applied", "trip concurrent team: " + replanned}, "a n new"},
		{"somebody is taken out", []string{"b"}, []string{"+n@team applied", "-b@team applied", "trip concurrent team: " + replanned}, "n"},
		{"all of it is done by somebody else", []string{"a", "n"}, []string{"+n@team done by somebody else", "-b@team done by somebody else", "trip concurrent team: " + replanned}, "a n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newShelf("team: a b")
			s.onWrite = func(n int, _ target.Group, _ []string) (bool, error) {
				if n > 1 {
					return true, nil
				}
				s.set("team", tt.meanwhile...)
				return false, notTakenNow(0)
			}
			done := s.apply(cleared(wide, "team: a -b +n"))
			same(t, "what was done", tt.want, said(done))
			if s.members("team") != tt.members {
				t.Errorf("the members are %s, want %s", s.members("team"), tt.members)
			}
		})
	}
}

// TestARoundForgetsTheRoundBefore: a trip from the first round's reading is dropped in the
// next round, and does not stop a pass with on_trip: stop.
func TestARoundForgetsTheRoundBefore(t *testing.T) {
	limits := wide
	limits.Floor, limits.Stop = 1, true
	s := newShelf("Admins: a b")
	s.onCall = func(call string, n int) {
		if call == "group" {
			s.set("Admins", map[bool][]string{true: {"a", "b", "x"}, false: {"a", "b"}}[n == 1]...)
		}
	}
	s.onWrite = func(n int, g target.Group, _ []string) (bool, error) {
		if n == 1 {
			return false, notTakenNow(0)
		}
		s.onCall = nil
		return true, nil
	}
	done := s.apply(cleared(limits, "Admins: a -b +n"))
	same(t, "what was done", []string{"+n@Admins applied", "-b@Admins applied"}, said(done))
}

func TestRounds(t *testing.T) {
	const gaveUp = `error: writing the user group "x": the server did not accept the write in 3 rounds, each with a new reading: 429: too many requests; nothing more is written in this pass`
	for _, tt := range []struct {
		busy   int // how many writes the server does not take
		writes int
		want   []string
	}{
		{0, 2, []string{"+n@x applied", "+n@y applied"}},
		{maxRounds - 1, maxRounds + 1, []string{"+n@x applied", "+n@y applied"}},
		{maxRounds, maxRounds, []string{"+n@x failed", gaveUp}},
		{maxRounds + 1, maxRounds, []string{"+n@x failed", gaveUp}},
	} {
		t.Run(fmt.Sprintf("%d of %d", tt.busy, maxRounds), func(t *testing.T) {
			s := newShelf("x: a", "y: a")
			s.onWrite = func(n int, _ target.Group, _ []string) (bool, error) {
				if n <= tt.busy {
					return false, notTakenNow(0)
				}
				return true, nil
			}
			done := s.apply(cleared(wide, "x: a +n", "y: a +n"))
			same(t, "what was done", tt.want, said(done))
			if s.counts["write"] != tt.writes {
				t.Errorf("%d writes, want %d", s.counts["write"], tt.writes)
			}
			if s.writer.late["cm-x"] != (tt.busy >= maxRounds) {
				t.Error("a group that ended its run does not come last in the next, or one that did not does")
			}
		})
	}
}

func TestThePauseBetweenRoundsIsLimited(t *testing.T) {
	for _, tt := range []struct{ after, want time.Duration }{
		{0, minPause},
		{minPause - 1, minPause}, {minPause, minPause}, {minPause + 1, minPause + 1},
		{maxPause - 1, maxPause - 1}, {maxPause, maxPause}, {maxPause + 1, maxPause},
		{time.Hour, maxPause},
	} {
		s := newShelf("team: a")
		s.onWrite = func(n int, _ target.Group, _ []string) (bool, error) {
			return n > 1, map[bool]error{true: notTakenNow(tt.after)}[n == 1]
		}
		s.apply(cleared(wide, "team: a +n"))
		same(t, "pauses after "+tt.after.String(), []time.Duration{tt.want}, s.pauses)
	}
}

// TestTheEndOfThePassEndsAPause: the group for which the run waits then counts as not reached.
func TestTheEndOfThePassEndsAPause(t *testing.T) {
	s := newShelf("x: a", "y: a")
	s.writer.pause = nil // uses a timer
	ctx, cancel := context.WithCancel(context.Background())
	s.onWrite = func(int, target.Group, []string) (bool, error) {
		cancel()
		return false, notTakenNow(time.Hour)
	}
	began := time.Now()
	done := cleared(wide, "x: a +n", "y: a +n").applyTo(s.writer, ctx, slog.New(slog.DiscardHandler), openFence)
	same(t, "what was done", []string{"error: the pass was abandoned before 2 of 2 groups were written: context canceled"}, said(done))
	if took := time.Since(began); took > 10*time.Second || s.counts["write"] != 1 {
		t.Errorf("it took %s and %d writes", took, s.counts["write"])
	}
}

// TestWhatIsNotNotTakenIsSentOnce: only a write that the server certainly did not carry
// out is sent again.
func TestWhatIsNotNotTakenIsSentOnce(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want []string
	}{
		{"refused for good", errors.New("400/12: no"), []string{"+n@team failed", `error: writing the user group "team": 400/12: no`}},
		{"uncertain", &target.UncertainError{Err: errors.New("504")}, []string{"+n@team failed", `error: writing the user group "team": it is not known whether the write was carried out: 504; the read-back shows the group unchanged, and nothing more is written in this pass`}},
	} {
		s := newShelf("team: a")
		s.onWrite = func(int, target.Group, []string) (bool, error) { return false, tt.err }
		same(t, tt.name, tt.want, said(s.apply(cleared(wide, "team: a +n"))))
		if s.counts["write"] != 1 || len(s.pauses) != 0 {
			t.Errorf("%s: %d writes, pauses %v", tt.name, s.counts["write"], s.pauses)
		}
	}
}

// TestTheReadBackHasItsOwnTime: a write that used all of its time leaves the read-back its
// full time. A shutdown interrupts neither of the two, but it interrupts the read before.
func TestTheReadBackHasItsOwnTime(t *testing.T) {
	s := newShelf("team: a")
	ctx, cancel := context.WithCancel(context.Background())
	var writeEnds time.Time
	s.onCall = func(call string, n int) {
		c := s.ctx[call]
		ends, limited := c.Deadline()
		left := time.Until(ends)
		switch {
		case !limited || left < callTimeout-30*time.Second:
			t.Errorf("%s %d has %s left (limited: %v), want nearly %s", call, n, left, limited, callTimeout)
		case call == "write":
			writeEnds = ends
			cancel()
			time.Sleep(10 * time.Millisecond)
		case n == 2 && !ends.After(writeEnds):
			t.Errorf("the read-back ends at %s, with the write's %s", ends, writeEnds)
		}
		if call == "group" && n == 1 {
			return
		}
		if c.Err() != nil {
			t.Errorf("%s %d: %v", call, n, c.Err())
		}
	}
	done := cleared(wide, "team: a +n").applyTo(s.writer, ctx, slog.New(slog.DiscardHandler), openFence)
	same(t, "what was done", []string{"+n@team applied"}, said(done))

	s = newShelf("team: a")
	ctx, cancel = context.WithCancel(context.Background())
	s.onCall = func(call string, _ int) { cancel() }
	s.readErr = func(call string, _ int) error { return s.ctx[call].Err() }
	done = cleared(wide, "team: a +n").applyTo(s.writer, ctx, slog.New(slog.DiscardHandler), openFence)
	same(t, "a shutdown during the read", []string{"error: the pass was abandoned before 1 of 1 groups were written: context canceled"}, said(done))
}

func TestReadsThatFailAroundAWrite(t *testing.T) {
	boom := func(at int) func(string, int) error {
		return func(call string, n int) error {
			if call == "group" && n == at {
				return errors.New("boom")
			}
			return nil
		}
	}
	s := newShelf("x: a", "y: a")
	s.readErr = boom(1)
	same(t, "before it: the next group goes on", []string{"+n@x failed", "+n@y applied", `error: reading the user group "x" before its write: boom`}, said(s.apply(cleared(wide, "x: a +n", "y: a +n"))))
	s = newShelf("x: a b", "y: a")
	s.readErr = boom(2)
	done := s.apply(cleared(wide, "x: a -b", "y: a +n"))
	same(t, "after it: the run ends", []string{"-b@x failed", `error: reading the user group "x" back after its write, which may or may not have been made: boom`}, said(done))
	s = newShelf("x: a b", "y: a")
	s.onWrite = func(n int, _ target.Group, _ []string) (bool, error) {
		return n > 1, map[bool]error{true: notTakenNow(0)}[n == 1]
	}
	s.readErr = boom(2)
	same(t, "before the second round", []string{"+n@y applied", "-b@x failed", `error: reading the user group "x" before its write: boom`}, said(s.apply(cleared(wide, "x: a -b", "y: a +n"))))
}

// TestTheFenceEndsTheWriting: at whichever question the fence refuses, no change counts as
// failed, and nothing more is sent.
func TestTheFenceEndsTheWriting(t *testing.T) {
	lost := errors.New("the Lease was not renewed for 11s")
	abandoned := func(n int) []string {
		return []string{fmt.Sprintf("error: the pass was abandoned before %d of 2 groups were written: the leadership is lost: the Lease was not renewed for 11s", n)}
	}
	for _, tt := range []struct {
		name   string
		at     int // the fence refuses from this question on, counted from 1
		writes int
		want   []string
	}{
		{"before the first group", 1, 0, abandoned(2)},
		{"between the read and the write", 2, 0, abandoned(2)},
		{"as the client is about to send", 3, 0, abandoned(2)},
		{"before the second group", 4, 1, append([]string{"+n@x applied"}, abandoned(1)...)},
		{"between the second read and write", 5, 1, append([]string{"+n@x applied"}, abandoned(1)...)},
		{"never", 7, 2, []string{"+n@x applied", "+n@y applied"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, asked := newShelf("x: a", "y: a"), 0
			fence := target.Leading(func() error {
				if asked++; asked >= tt.at {
					return lost
				}
				return nil
			})
			done := cleared(wide, "x: a +n", "y: a +n").applyTo(s.writer, context.Background(), slog.New(slog.DiscardHandler), fence)
			same(t, "what was done", tt.want, said(done))
			if s.counts["write"] != tt.writes {
				t.Errorf("%d writes, want %d", s.counts["write"], tt.writes)
			}
			if len(done.errors) > 0 && !errors.Is(done.errors[0], target.ErrNotLeading) {
				t.Errorf("%v is not of a lost leadership", done.errors[0])
			}
		})
	}
}

// TestWithoutAFenceNothingIsWritten: the zero Fence refuses every write.
func TestWithoutAFenceNothingIsWritten(t *testing.T) {
	s := newShelf("x: a")
	done := cleared(wide, "x: a +n").applyTo(s.writer, context.Background(), slog.New(slog.DiscardHandler), target.Fence{})
	same(t, "what was done", []string{"error: the pass was abandoned before 1 of 1 groups were written: no write fence was given, so nothing is written: this is a fault in groupsync, report it"}, said(done))
	same(t, "calls", []string(nil), s.calls)
}

// TestAnOldPlanIsNotWritten: when the plan is too old, the rest waits for the next pass. The
// guard `age` reports once how much that is.
func TestAnOldPlanIsNotWritten(t *testing.T) {
	const limit = 10 * time.Minute
	trip := func(age string, changes, groups int) string {
		return fmt.Sprintf("trip age: the plan is too old: its reads began %s ago, guards.max_age is 10m0s: %d changes in %d of 3 groups were not written and are left for the next pass; if that happens again, see why ClearML answers slowly, or raise guards.max_age", age, changes, groups)
	}
	for _, tt := range []struct {
		name   string
		before time.Duration // the plan's age before the first group
		each   time.Duration // duration of each write
		want   []string
	}{
		{"one second before the limit", limit - time.Second, 0, []string{"+n@x applied", "+n@y applied", "+o@y applied", "-b@z applied"}},
		{"at the limit", limit, 0, []string{"+n@x applied", "+n@y applied", "+o@y applied", "-b@z applied"}},
		{"one second after it", limit + time.Second, 0, []string{"+n@x withheld by age", "+n@y withheld by age", "+o@y withheld by age", "-b@z withheld by age", trip("10m1s", 4, 3)}},
		{"it passes while the first group is written", limit - time.Second, 2 * time.Second, []string{"+n@x applied", "+n@y withheld by age", "+o@y withheld by age", "-b@z withheld by age", trip("10m1s", 3, 2)}},
		{"it passes while the second group is written", limit - 3*time.Second, 2 * time.Second, []string{"+n@x applied", "+n@y applied", "+o@y applied", "-b@z withheld by age", trip("10m1s", 1, 1)}},
		{"it passes while the last group is written", limit - 5*time.Second, 2 * time.Second, []string{"+n@x applied", "+n@y applied", "+o@y applied", "-b@z applied"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newShelf("x: a", "y: a", "z: a b")
			began := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
			now := began.Add(tt.before)
			s.onWrite = func(int, target.Group, []string) (bool, error) { now = now.Add(tt.each); return true, nil }
			fence := openFence.And(target.NotOlder(began, limit, func() time.Time { return now }))
			done := cleared(wide, "x: a +n", "y: a +n +o", "z: a -b").applyTo(s.writer, context.Background(), slog.New(slog.DiscardHandler), fence)
			same(t, "what was done", tt.want, said(done))
		})
	}
}

// TestAPlanBecomesTooOldDuringAWait: each new round asks the fence again.
func TestAPlanBecomesTooOldDuringAWait(t *testing.T) {
	s, old := newShelf("x: a"), error(nil)
	s.onWrite = func(int, target.Group, []string) (bool, error) { old = target.ErrTooOld; return false, notTakenNow(0) }
	done := cleared(wide, "x: a +n").applyTo(s.writer, context.Background(), slog.New(slog.DiscardHandler), target.NewFence(func() error { return old }))
	same(t, "what was done", []string{"+n@x withheld by age", "trip age: the plan is too old: 1 changes in 1 of 1 groups were not written and are left for the next pass; if that happens again, see why ClearML answers slowly, or raise guards.max_age"}, said(done))
	if s.counts["write"] != 1 || s.counts["group"] != 1 {
		t.Errorf("calls %v, want one read and one write", s.calls)
	}
}

// TestOnTripStopStopsAtWritingToo: after a trip of apply itself, the run writes nothing more,
// not even additions.
func TestOnTripStopStopsAtWritingToo(t *testing.T) {
	const gone = "the group is gone from ClearML: it is not written, because a write would create it again"
	for _, tt := range []struct {
		name   string
		floor  int
		groups []string // as they are when apply reads them
		plan   []string
		stop   []string // with on_trip: stop
		on     []string // with on_trip: additions_only
	}{
		{"a group that is gone", 0, []string{"y: a"}, []string{"x: a +n", "y: a +n"},
			[]string{"+n@x withheld by concurrent", "+n@y withheld by concurrent", "trip concurrent x: " + gone},
			[]string{"+n@x withheld by concurrent", "+n@y applied", "trip concurrent x: " + gone}},
		{"a group that was only planned again stops nothing", 0, []string{"x: a b", "y: a"}, []string{"x: a +n", "y: a +n"},
			[]string{"+n@x applied", "+n@y applied", "trip concurrent x: " + replanned},
			[]string{"+n@x applied", "+n@y applied", "trip concurrent x: " + replanned}},
		{"a floor that withholds removals withholds the group's additions too", 2, []string{"Admins: a b", "y: a"}, []string{"Admins: a -b +n", "y: a +n"},
			[]string{"+n@Admins withheld by admins", "+n@y applied", "-b@Admins withheld by admins", "trip admins Admins: just before the write 1 administrators would remain, admins.floor is 2: the removals of administrators are withheld"},
			[]string{"+n@Admins applied", "+n@y applied", "-b@Admins withheld by admins", "trip admins Admins: just before the write 1 administrators would remain, admins.floor is 2: the removals of administrators are withheld"}},
	} {
		for _, stop := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, stop %v", tt.name, stop), func(t *testing.T) {
				limits := wide
				limits.Stop, limits.Floor = stop, tt.floor
				s := newShelf(tt.groups...)
				want := tt.on
				if stop {
					want = tt.stop
				}
				same(t, "what was done", want, said(s.apply(cleared(limits, tt.plan...))))
			})
		}
	}
}

// TestOnTripStopEndsWithThePass: a trip does not affect the next pass.
func TestOnTripStopEndsWithThePass(t *testing.T) {
	limits := wide
	limits.Stop = true
	s := newShelf("y: a")
	s.apply(cleared(limits, "x: a +n", "y: a +n"))
	same(t, "the next pass", []string{"+n@y applied"}, said(s.apply(cleared(limits, "y: a +n"))))
}

// TestLostMembers: the tolerance for members lost in writes is lostFreely, and not
// guards.free_removals.
func TestLostMembers(t *testing.T) {
	members := []string{"a", "b", "c", "d", "e", "f"}
	for _, free := range []int{0, 3, 100} {
		for lost := 1; lost <= 5; lost++ {
			t.Run(fmt.Sprintf("%d lost, free_removals %d", lost, free), func(t *testing.T) {
				limits := wide
				limits.FreeRemovals = free
				s := newShelf("x: "+strings.Join(members, " "), "y: a")
				s.onWrite = func(_ int, g target.Group, sent []string) (bool, error) {
					s.set("x", sent[lost:]...) // "n" is sent last, so it stays
					return false, nil
				}
				done := s.apply(cleared(limits, "x: "+strings.Join(members, " ")+" +n", "y: a +n"))
				want := []string{"+n@x applied"}
				text := fmt.Sprintf(`error: after the write of "x" the read-back shows that 0 changes were not made, and that %d members are missing who had to stay: look at the members in ClearML; look at the group in ClearML`, lost)
				if lost > lostFreely {
					halted := fmt.Sprintf(`the last writes of this process, up to the write of "x", lost %d members who had to stay; nothing more is written until a person has looked at ClearML and restarted groupsync`, lost)
					want = append(want, "+n@y withheld by canary", "trip canary x: "+halted, text)
					same(t, "the next pass says so again", []string{"+n@y withheld by canary", "trip canary: " + halted}, said(s.apply(cleared(limits, "y: a +n"))))
				} else {
					want = append(want, text)
				}
				same(t, "what was done", want, said(done))
				if halts := s.writer.broken != ""; halts != (lost > lostFreely) {
					t.Errorf("writing has stopped for good: %v", halts)
				}
			})
		}
	}
}

// TestLossesAddUp: losses add up over passes without a clean write between them. A pass that
// wrote nothing is not a clean write.
func TestLossesAddUp(t *testing.T) {
	s := newShelf("x: a b c d e", "gone: a")
	lose := func(plan string) {
		s.onWrite = func(_ int, g target.Group, sent []string) (bool, error) { s.set("x", sent[1:]...); return false, nil }
		s.apply(cleared(wide, plan))
	}
	lose("x: a b c d e +n")
	lose("x: b c d e n +o")
	s.apply(cleared(wide, "nowhere: a +n")) // withheld: ClearML does not have the group
	s.onWrite = func(int, target.Group, []string) (bool, error) {
		return false, &target.UncertainError{Err: errors.New("504")}
	}
	s.apply(cleared(wide, "x: c d e n o +p")) // not carried out
	if s.writer.lost != 2 {
		t.Errorf("lost %d, want 2", s.writer.lost)
	}
	s.onWrite = nil
	s.apply(cleared(wide, "x: c d e n o +p"))
	if s.writer.lost != 0 {
		t.Errorf("after a clean write: lost %d, want 0", s.writer.lost)
	}
}

// TestMembersMissingBeforeTheWrite: the group is not written if too many members are missing,
// by number and by share.
func TestMembersMissingBeforeTheWrite(t *testing.T) {
	all := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}
	for _, tt := range []struct {
		missing, free int
		ratio         float64
		writes        bool
	}{
		{2, 3, 0.1, true}, {3, 3, 0.1, true}, {4, 3, 0.1, false}, // n-1, n and n+1 of free_removals
		{2, 0, 0.3, true}, {3, 0, 0.3, true}, {4, 0, 0.3, false}, // n-1, n and n+1 of the ratio
		{1, 0, 0.05, false}, // free_removals is 0
		{9, 0, 0, true},     // a ratio of 0 is off
	} {
		for _, proved := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d of 10, free %d, ratio %g, proved %v", tt.missing, tt.free, tt.ratio, proved), func(t *testing.T) {
				limits := wide
				limits.FreeRemovals, limits.MaxRatio = tt.free, tt.ratio
				s := newShelf("team: " + strings.Join(all[tt.missing:], " "))
				s.writer.proved = proven(proved)
				done := s.apply(cleared(limits, "team: "+strings.Join(all, " ")+" +n"))
				want := []string{"+n@team applied", "trip concurrent team: " + replanned}
				if !tt.writes {
					want = []string{"+n@team withheld by concurrent", fmt.Sprintf("trip concurrent team: just before the write %d of its 10 members were missing, more than guards.max_removal_ratio %g: the group is not written; look at the group in ClearML", tt.missing, tt.ratio)}
				}
				same(t, "what was done", want, said(done))
			})
		}
	}
}

// TestReadingsThatDiffer: a missing member must be missing from both views of the group and
// from the last reading too.
func TestReadingsThatDiffer(t *testing.T) {
	doubt := []string{"+n@team withheld by concurrent", "trip concurrent team: just before the write 1 of the group's 3 members were missing, and a second read did not confirm that: the group is not written, and the next pass reads it again; if that pass reports the same, look at the group in ClearML"}
	goes := []string{"+n@team applied", "trip concurrent team: " + replanned}
	whole, short := []string{"a", "b", "c"}, []string{"a", "b"}
	for _, tt := range []struct {
		name                       string
		first, list, claims, third []string
		want                       []string
	}{
		{"somebody took the member out: every reading is short", short, short, short, short, goes},
		{"the server cuts its lists: the users' own view has the member", short, short, whole, short, doubt},
		{"only the first is short", short, whole, whole, whole, doubt},
		{"the first and the list are short", short, short, short, whole, doubt},
		{"the list alone is whole", short, whole, whole, short, doubt},
		{"the first alone is whole: the next pass finds out", whole, short, whole, short, []string{"+n@team applied"}},
	} {
		for _, proved := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, proved %v", tt.name, proved), func(t *testing.T) {
				s := newShelf("team: a b c")
				s.writer.proved = proven(proved)
				s.claims = map[string][]string{"team": tt.claims}
				s.onCall = func(call string, n int) {
					switch {
					case s.counts["write"] > 0:
					case call == "group" && n == 1:
						s.set("team", tt.first...)
					case call == "groups":
						s.set("team", tt.list...)
					case call == "group":
						s.set("team", tt.third...)
					}
				}
				same(t, "what was done", tt.want, said(s.apply(cleared(wide, "team: a b c +n"))))
			})
		}
	}
}

// TestAdministratorsWhomOnlyOneViewShows: groupsync cannot tell whether a person removed the
// administrator or the server returned a short list. So Admins is left to the next pass.
func TestAdministratorsWhomOnlyOneViewShows(t *testing.T) {
	s := newShelf("Admins: a b", "team: a")
	s.claims = map[string][]string{"Admins": {}}
	done := s.apply(cleared(wide, "Admins: a c -b"))
	same(t, "what was done", []string{"-b@Admins withheld by concurrent", "trip concurrent Admins: just before the write 1 of the group's 3 members were missing, and a second read did not confirm that: the group is not written, and the next pass reads it again; if that pass reports the same, look at the group in ClearML"}, said(done))
}

// TestAFirstWriteThatWasNotReadBackIsHeldAgainstWhatWasBeforeIt: the next first write is
// compared with the groups as they were before the write that could not be read back.
func TestAFirstWriteThatWasNotReadBackIsHeldAgainstWhatWasBeforeIt(t *testing.T) {
	for _, tt := range []struct {
		name string
		harm func(*shelf) // what the first write did besides its members
		want []string
	}{
		{"no harm: the next write is the canary", func(*shelf) {}, []string{"+n@y applied"}},
		{"another group lost its description: nothing more is written", func(s *shelf) { s.groups[2].Description = "" }, []string{
			"+n@y withheld by canary",
			`trip canary y: a canary write could not be read back, and since then more has changed in ClearML than was sent: the group "z" changed its name or description, or is gone; nothing more is written until a person has looked at ClearML and restarted groupsync`,
		}},
		{"a group was made: nothing more is written", func(s *shelf) { s.groups = append(s.groups, shelved("new")) }, []string{
			"+n@y withheld by canary",
			`trip canary y: a canary write could not be read back, and since then more has changed in ClearML than was sent: there were 3 user groups before the write and 4 after the write; nothing more is written until a person has looked at ClearML and restarted groupsync`,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newShelf("x: a", "y: a", "z: a")
			s.writer.proved = proven(false)
			s.onWrite = func(int, target.Group, []string) (bool, error) {
				tt.harm(s)
				return true, nil
			}
			s.readErr = func(call string, n int) error {
				if call == "groups" && s.counts["write"] == 1 {
					return errors.New("boom")
				}
				return nil
			}
			same(t, "the first pass", []string{"+n@x failed", `error: reading the user group "x" back after its write, which may or may not have been made: boom`}, said(s.apply(cleared(wide, "x: a +n"))))
			s.readErr, s.onWrite = nil, nil
			same(t, "the second pass", tt.want, said(s.apply(cleared(wide, "y: a +n"))))
			if harmed := len(tt.want) > 1; s.writer.proved[""] == harmed || s.counts["write"] != map[bool]int{true: 1, false: 2}[harmed] {
				t.Errorf("proved %v, %d writes", s.writer.proved, s.counts["write"])
			}
		})
	}
}

// TestEachKindOfWriteHasItsCanary: a member list and a role are written by different calls, so
// a role that was written well proves nothing about a member list.
func TestEachKindOfWriteHasItsCanary(t *testing.T) {
	for _, tt := range []struct {
		name  string
		kinds []string // of the writes, in order: the values of target.Group.Role
		want  []string // the calls around the last write
	}{
		{"a member list after a role", []string{target.RoleAdmin, ""}, []string{"groups", "group", "write", "groups"}},
		{"a role after a member list", []string{"", target.RoleAdmin}, []string{"groups", "group", "write", "groups"}},
		{"a second member list", []string{"", ""}, []string{"group", "write", "group"}},
		{"a second role", []string{target.RoleAdmin, target.RoleAdmin}, []string{"group", "write", "group"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newShelf("x: a", "y: a")
			s.writer.proved = proven(false)
			for i, name := range []string{"x", "y"} {
				s.groups[i].Role, s.calls = tt.kinds[i], nil
				c := cleared(wide, name+": a +n")
				c.writes[0].Group.Role = tt.kinds[i]
				same(t, name, []string{"+n@" + name + " applied"}, said(s.apply(c)))
			}
			same(t, "calls", tt.want, s.calls)
		})
	}
}

// TestRemovalsThatBecameTooLargeAShare: the group shrank between plan and write.
func TestRemovalsThatBecameTooLargeAShare(t *testing.T) {
	for _, tt := range []struct {
		free     int
		ratio    float64
		approved bool
		removed  bool
	}{
		{1, 0.25, false, false}, {2, 0.25, false, true}, {3, 0.25, false, true}, // 2 leave, and half of the group is more than the ratio
		{0, 0.49, false, false}, {0, 0.5, false, true}, {0, 0.51, false, true}, // 2 of 4
		{0, 0, false, true}, {0, 0.1, true, true}, // the ratio is off, or an approval lifts it
	} {
		t.Run(fmt.Sprintf("free %d, ratio %g, approved %v", tt.free, tt.ratio, tt.approved), func(t *testing.T) {
			limits := wide
			limits.FreeRemovals, limits.MaxRatio = tt.free, tt.ratio
			s := newShelf("team: a x l1 l2") // somebody else has added x and removed l3
			c := cleared(limits, "team: a l3 -l1 -l2 -l3 +n")
			c.writes[0].Approved = tt.approved
			c.writes[0].Group = shelved("team", "a", "l1", "l2", "l3")
			done := s.apply(c)
			want := []string{"+n@team applied", "-l1@team applied", "-l2@team applied", "-l3@team done by somebody else", "trip concurrent team: " + replanned}
			members := "a n x"
			if !tt.removed {
				want = []string{"+n@team applied", "-l1@team withheld by concurrent", "-l2@team withheld by concurrent", "-l3@team done by somebody else",
					fmt.Sprintf("trip concurrent team: %s, and now 2 removals of 4 members are more than guards.max_removal_ratio %g: these removals are withheld", replanned, tt.ratio)}
				members = "a l1 l2 n x"
			}
			same(t, "what was done", want, said(done))
			if s.members("team") != members {
				t.Errorf("the members are %q, want %q", s.members("team"), members)
			}
		})
	}
}

func TestTheFloorJustBeforeTheWrite(t *testing.T) {
	for floor, removed := range map[int]bool{1: true, 2: true, 3: false} { // 2 administrators remain
		limits := wide
		limits.Floor = floor
		s := newShelf("Admins: a b l")
		done := s.apply(cleared(limits, "Admins: a b -l"))
		want := []string{"-l@Admins applied"}
		if !removed {
			want = []string{"-l@Admins withheld by admins", "trip admins Admins: just before the write 2 administrators would remain, admins.floor is 3: the removals of administrators are withheld"}
		}
		same(t, fmt.Sprintf("floor %d", floor), want, said(done))
		if wrote := s.counts["write"] == 1; wrote != removed {
			t.Errorf("floor %d: written %v", floor, wrote)
		}
	}
}

// TestTheCanaryIsComparedWithTheLastReading: a change that somebody else makes between the
// list of all groups and the reading of the group is not an effect of the write.
func TestTheCanaryIsComparedWithTheLastReading(t *testing.T) {
	for _, tt := range []struct {
		name string
		list func(*shelf) // changes what the list shows, before it is read; the last reading shows the groups unchanged
	}{
		{"another description", func(s *shelf) { s.groups[0].Description = "old words" }},
		{"not there yet", func(s *shelf) { s.groups = s.groups[1:] }},
	} {
		s := newShelf("x: a", "y: a")
		s.writer.proved = proven(false)
		groups := slices.Clone(s.groups)
		s.onCall = func(call string, n int) {
			if s.groups = slices.Clone(groups); call == "groups" && n == 1 {
				tt.list(s)
			}
			if call == "write" {
				s.onCall = nil
			}
		}
		same(t, tt.name, []string{"+n@x applied"}, said(s.apply(cleared(wide, "x: a +n"))))
		if !s.writer.proved[""] || s.writer.broken != "" {
			t.Errorf("%s: proved %v, broken %q", tt.name, s.writer.proved, s.writer.broken)
		}
	}
}

// TestTheAuditLogEndsWhatItBegins: each change that was begun has one end in the log, even if
// the fence refused in a later round.
func TestTheAuditLogEndsWhatItBegins(t *testing.T) {
	s, lost := newShelf("x: a"), error(nil)
	s.onWrite = func(int, target.Group, []string) (bool, error) {
		lost = errors.New("lost")
		return false, notTakenNow(0)
	}
	cleared(wide, "x: a +n").applyTo(s.writer, context.Background(), slog.New(slog.NewTextHandler(&s.log, nil)), target.NewFence(func() error { return lost }))
	log := s.log.String()
	if strings.Count(log, "membership change begins") != 1 || strings.Count(log, "membership change ended") != 1 {
		t.Errorf("the log:\n%s", log)
	}
	if want := `level=WARN msg="the server did not accept a write: the group is read and written again" group=x group_id=cm-x round=1 wait=1s error="429: too many requests"`; !strings.Contains(log, want) {
		t.Errorf("the log lacks %s:\n%s", want, log)
	}
}

// TestAWaitLosesNobody uses the real client with the stand-in for ClearML. A write is refused
// in every way that may be temporary. In the meantime an administrator or a login changes the
// group. That change must stay.
func TestAWaitLosesNobody(t *testing.T) {
	const call = "permissions.add_or_update_user_group"
	login := func(s *clearmltest.Server) { s.SetMembers("team", "a", "leaver", "login") }
	admin := func(s *clearmltest.Server) { s.SetMembers("team", "leaver") } // removes a
	describe := func(s *clearmltest.Server) {
		s.AddGroup(clearmltest.Group{ID: "cm-team", Name: "team", Description: "new words", Assignable: true, Members: []string{"a", "leaver"}})
	}
	after := map[string]string{"Retry-After": "1"}
	refusals := []struct {
		name   string
		refuse func(s *clearmltest.Server, meanwhile func())
		logins int // additional sign-ins of groupsync
		waits  time.Duration
	}{
		{"429", func(s *clearmltest.Server, m func()) {
			s.Inject(clearmltest.Fault{Call: call, Nth: 1, Status: 429, Meanwhile: m})
		}, 0, time.Second},
		{"429 with Retry-After", func(s *clearmltest.Server, m func()) {
			s.Inject(clearmltest.Fault{Call: call, Nth: 1, Status: 429, Header: map[string]string{"Retry-After": "7"}, Meanwhile: m})
		}, 0, 7 * time.Second},
		{"503 with Retry-After", func(s *clearmltest.Server, m func()) {
			s.Inject(clearmltest.Fault{Call: call, Nth: 1, Status: 503, Header: after, Meanwhile: m})
		}, 0, time.Second},
		{"401, the token expired", func(s *clearmltest.Server, m func()) {
			s.Inject(clearmltest.Fault{Call: call, Nth: 1, Code: 401, Subcode: 30, Text: "Unauthorized (invalid token) (token expired)", Meanwhile: m})
		}, 1, time.Second},
		{"401, the token was revoked", func(s *clearmltest.Server, m func()) {
			n := 0
			s.After("permissions.get_user_groups", func(int) {
				if n++; n == 2 { // after the read of the group, before its write
					s.ExpireTokens()
					m()
				}
			})
		}, 1, time.Second},
	}
	for _, refusal := range refusals {
		for _, change := range []struct {
			name, members, description string
			make                       func(*clearmltest.Server)
		}{
			{"nobody changes it", "a new", "ours", func(*clearmltest.Server) {}},
			{"a login adds somebody", "a login new", "ours", login},
			{"an administrator takes somebody out", "new", "ours", admin},
			{"an administrator changes the description", "a new", "new words", describe},
		} {
			t.Run(refusal.name+", "+change.name, func(t *testing.T) {
				s := clearmltest.New(t, clearmltest.Options{})
				for _, id := range []string{"a", "leaver", "new", "login"} {
					s.AddUser(clearmltest.User{ID: id, Email: id + "@x"})
				}
				s.AddGroup(clearmltest.Group{ID: "cm-team", Name: "team", Description: "ours", Assignable: true, Members: []string{"a", "leaver"}})
				dir, err := clearml.New(clearml.Config{URL: s.URL, RetryWait: time.Millisecond, Keys: func() (clearml.Keys, error) { return clearml.Keys{Access: "access", Secret: "secret"}, nil }})
				if err != nil {
					t.Fatal(err)
				}
				refusal.refuse(s, func() { change.make(s) })
				var pauses []time.Duration
				w := &writer{dir: dir, late: map[string]bool{}, proved: proven(false), suspension: notSuspended, pause: func(_ context.Context, d time.Duration) { pauses = append(pauses, d) }}
				plan := cleared(wide, "team: a -leaver +new")
				plan.writes[0].Group.Description = "ours"
				done := plan.applyTo(w, context.Background(), slog.New(slog.DiscardHandler), openFence)
				if len(done.errors) > 0 || !w.proved[""] {
					t.Errorf("proved %v: %v", w.proved, said(done))
				}
				g := s.Groups()[slices.IndexFunc(s.Groups(), func(g clearmltest.Group) bool { return g.ID == "cm-team" })]
				if got := strings.Join(g.Members, " "); got != change.members || g.Description != change.description {
					t.Errorf("the members are %q (%s), want %q (%s)", got, g.Description, change.members, change.description)
				}
				same(t, "pauses", []time.Duration{refusal.waits}, pauses)
				if s.Count("auth.login") != 1+refusal.logins || s.Count(call) != 2 {
					t.Errorf("%d logins and %d writes: %v", s.Count("auth.login"), s.Count(call), s.Calls())
				}
				requests := s.Requests()
				for i, r := range requests {
					if before := requests[max(i-1, 0)]; r.Call == call && !r.Probe && (before.Probe || before.Call != "permissions.get_user_groups") {
						t.Errorf("request %d, to %s, stands between the read and the write", i, before.Call)
					}
				}
			})
		}
	}
}

// TestAGroupOfAnotherKindIsNotWritten: each sign of another kind is sufficient.
func TestAGroupOfAnotherKindIsNotWritten(t *testing.T) {
	for what, change := range map[string]func(*target.Group){
		"its name":                   func(g *target.Group) { g.Name = "renamed" },
		"that it is built in":        func(g *target.Group) { g.System = true },
		"that nobody is assigned it": func(g *target.Group) { g.Assignable = false },
	} {
		s := newShelf("x: a")
		change(&s.groups[0])
		done := s.apply(cleared(wide, "x: a +n"))
		same(t, what, []string{"+n@x withheld by concurrent", "trip concurrent x: the group's name, or whether it is built in or assignable in ClearML, changed while the pass ran: the group is not written, and the next pass matches it again"}, said(done))
		if s.counts["write"] > 0 {
			t.Errorf("%s changed, and the group was written", what)
		}
	}
}

// TestAWriteThatChangesMoreThanMembersEndsAllWriting: this is so for changes of the written
// group. Until the canary is proved, it is so for changes of other groups too. Each change is
// sufficient.
func TestAWriteThatChangesMoreThanMembersEndsAllWriting(t *testing.T) {
	for _, tt := range []struct {
		name   string
		proved bool
		group  string
		change func(*target.Group)
		want   bool
	}{
		{"the name of the written group", true, "x", func(g *target.Group) { g.Name = "other" }, true},
		{"the description of the written group", true, "x", func(g *target.Group) { g.Description = "other" }, true},
		{"the id of the written group", true, "x", func(g *target.Group) { g.ID = "other" }, true},
		{"nothing of the written group", true, "x", func(*target.Group) {}, false},
		{"the name of another group, by the canary", false, "y", func(g *target.Group) { g.Name = "other" }, true},
		{"the description of another group, by the canary", false, "y", func(g *target.Group) { g.Description = "other" }, true},
		{"the id of another group, by the canary", false, "y", func(g *target.Group) { g.ID = "other" }, true},
		{"nothing of another group, by the canary", false, "y", func(*target.Group) {}, false},
	} {
		s := newShelf("x: a", "y: a")
		s.writer.proved = proven(tt.proved)
		s.onWrite = func(_ int, _ target.Group, members []string) (bool, error) {
			s.set("x", members...)
			tt.change(&s.groups[slices.IndexFunc(s.groups, func(g target.Group) bool { return g.Name == tt.group })])
			return false, nil
		}
		s.apply(cleared(wide, "x: a +n"))
		if got := s.writer.broken != ""; got != tt.want {
			t.Errorf("%s: writing has stopped for good: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestAnOddAnswerEndsThePass: the read-back shows the members that were sent, but the answer
// reported another problem. So the pass sends nothing more to the server.
func TestAnOddAnswerEndsThePass(t *testing.T) {
	for _, tt := range []struct {
		reason fault.Reason
		want   []string
	}{
		{fault.Shape, []string{"+n@x applied", `error: writing the user group "x": it is not known whether the write was carried out: odd`}},
		{fault.Rejected, []string{"+n@x applied", `error: writing the user group "x": it is not known whether the write was carried out: odd`}},
		{fault.Timeout, []string{"+n@x applied", "+n@y applied"}},
	} {
		s := newShelf("x: a", "y: a")
		s.onWrite = func(n int, _ target.Group, _ []string) (bool, error) {
			if n > 1 {
				return true, nil
			}
			return true, &target.UncertainError{Err: fault.New(fault.ClearML, tt.reason, "odd")}
		}
		same(t, string(tt.reason), tt.want, said(s.apply(cleared(wide, "x: a +n", "y: a +n"))))
	}
}
