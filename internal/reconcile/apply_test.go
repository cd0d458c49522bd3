package reconcile

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/fault"
	"groupsync/internal/match"
	"groupsync/internal/report"
	"groupsync/internal/target"
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
			trip:   "concurrent team: its members changed while the pass ran: planned again on what was read just before the write",
			result: report.Applied,
		},
		{
			name:  "what somebody else has already done is struck from the plan",
			world: "both a b\n/team: a\nteam = b",
			change: func(w *world) {
				w.beforeGroups = func(int) { w.setMembers("cm-team", []string{"a"}) }
			},
			want:   []string{},
			trip:   "concurrent team: its members changed while the pass ran",
			result: report.InSync,
		},
		{
			name:  "a short read just before the write is held against a second one, and nothing is written",
			world: "both a b c d e n\n/team: a b c d e n\nteam = a b c d e\nother =",
			change: func(w *world) {
				w.beforeGroups = func(call int) {
					w.setMembers("cm-team", map[bool][]string{true: {"a"}, false: {"a", "b", "c", "d", "e"}}[call == 1])
				}
			},
			want:   []string{"+n@team withheld by concurrent"},
			trip:   "concurrent team: just before the write 4 of its 5 members were missing, and a second read does not say the same: the group is not written",
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
			trip:   "concurrent team: just before the write 4 of its 5 members were missing, more than guards.max_removal_ratio 0.25: the group is not written, look at it in ClearML",
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
			trip:   "concurrent team: its members changed while the pass ran: planned again on what was read just before the write",
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
			trip:   "concurrent Admins: its members changed while the pass ran: planned again on what was read just before the write\nadmins Admins: just before the write 0 administrators would remain, admins.floor is 1: the removals of administrators are withheld",
			result: report.Guarded,
		},
		{
			name:  "a group that is gone is not written, since a write would create it",
			world: "both a\n/team: a\nteam =\nother =",
			change: func(w *world) {
				w.beforeGroups = func(int) { w.targets = w.targets[1:] }
			},
			want:   []string{"+a@team withheld by concurrent"},
			trip:   "concurrent team: the group is gone from ClearML: nothing is written, since a write would create it anew",
			result: report.Guarded,
		},
		{
			name:  "a group that was renamed is not written",
			world: "both a\n/team: a\nteam =",
			change: func(w *world) {
				w.beforeGroups = func(int) { w.targets[0].Name = "renamed" }
			},
			want:   []string{"+a@team withheld by concurrent"},
			trip:   "concurrent team: the group was renamed or changed in kind while the pass ran: the next pass pairs it anew",
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
			trip:   `canary x: the first write of this process, to "x", did more than was sent: there were 2 user groups before it and 3 after; nothing more is written until a person has looked at ClearML and restarted groupsync`,
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
			trip:   `canary x: the first write of this process, to "x", did more than was sent: the group "y" changed its name or description, or is gone; nothing more`,
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
			trip:   `canary x: the first write of this process, to "x", was read back with other members than were sent; nothing more is written in this pass`,
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
			err:    `ClearML accepted the write of "y", but by the read-back 2 changes were not made and 0 members are missing that were to stay; look at the group in ClearML`,
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
			trip:   `canary y: the write of "y" changed more than its members; nothing more is written until`,
			err:    `the write of "y" changed its name or description, or the group is gone after it; look at the group in ClearML`,
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
			trip:   `canary y: the last writes of this process, up to that of "y", lost 4 members that were to stay; nothing more is written until`,
			err:    `ClearML accepted the write of "y", but by the read-back 0 changes were not made and 4 members are missing that were to stay; look at the group in ClearML`,
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
			err:    `ClearML accepted the write of "y", but by the read-back 0 changes were not made and 1 members are missing that were to stay; look at the group in ClearML`,
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
			err:    `writing the user group "x": it is not known whether the write was carried out: connection reset; by the read-back the group is as before, and nothing more is written in this pass`,
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
			trip:   `canary x: the first write of this process, to "x", did more than was sent: there were 2 user groups before it and 3 after; nothing more`,
			err:    `writing the user group "x": it is not known whether the write was carried out: the answer names another group; by the read-back the group is as before, and nothing more is written in this pass`,
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
			rep := r.Pass(context.Background(), Request{Apply: true})
			if d := cmp.Diff(tt.writes, w.writes); d != "" {
				t.Errorf("writes: -want +got\n%s", d)
			}
			if d := cmp.Diff(tt.want, lines(rep)); d != "" {
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
		cancel() // the write in hand is finished and read back all the same
		return true, nil
	}
	r, _ := w.reconciler(t, wide, nil)
	rep := r.Pass(ctx, Request{Apply: true})
	if d := cmp.Diff([]string{"+a@x applied", "+a@y planned"}, lines(rep)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if want := "the pass was abandoned before 1 of 2 groups were written: context canceled"; len(rep.Errors) != 1 || rep.Errors[0].Text != want {
		t.Errorf("errors: got %v, want %q", rep.Errors, want)
	}
	if rep.ExitCode() != 2 {
		t.Errorf("exit code: got %d, want 2", rep.ExitCode())
	}
}

// TestALostPassDoesNotWriteWhatItHasJustRead: leadership may be lost between
// the read and the write.
func TestALostPassDoesNotWriteWhatItHasJustRead(t *testing.T) {
	w := newWorld(t, "both a\n/x: a\nx =")
	ctx, cancel := context.WithCancel(context.Background())
	w.beforeGroups = func(int) { cancel() }
	r, _ := w.reconciler(t, wide, nil)
	rep := r.Pass(ctx, Request{Apply: true})
	if d := cmp.Diff([]string{"+a@x planned"}, lines(rep)); d != "" || len(w.writes) > 0 {
		t.Errorf("writes %q; -want +got\n%s", w.writes, d)
	}
}

// TestALostLeadershipEndsTheWriting: whether it is seen before a group, or only
// by the client that is about to send; nothing counts as failed then.
func TestALostLeadershipEndsTheWriting(t *testing.T) {
	lost := errors.New("the Lease was not renewed for 11s")
	for _, tt := range []struct {
		name string
		at   int // the question, counted from 1, from which on the answer is that it is lost
		want []string
		err  string
	}{
		{"before the first group", 1, []string{"+a@x planned", "+a@y planned"}, "the pass was abandoned before 2 of 2 groups were written: the leadership is lost: the Lease was not renewed for 11s"},
		{"between the read and the write", 2, []string{"+a@x planned", "+a@y planned"}, "the pass was abandoned before 2 of 2 groups were written: the leadership is lost: the Lease was not renewed for 11s"},
		{"as the client is about to send", 3, []string{"+a@x planned", "+a@y planned"}, "the pass was abandoned before 2 of 2 groups were written: the leadership is lost: the Lease was not renewed for 11s"},
		{"after the first group", 4, []string{"+a@x applied", "+a@y planned"}, "the pass was abandoned before 1 of 2 groups were written: the leadership is lost: the Lease was not renewed for 11s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "both a\n/x: a\n/y: a\nx =\ny =")
			asked := 0
			ctx := target.WithLead(context.Background(), func() error {
				if asked++; asked >= tt.at {
					return lost
				}
				return nil
			})
			w.onWrite = func(target.Group, []string) (bool, error) { // as the client does
				err := target.Lead(ctx)
				return err == nil, err
			}
			r, _ := w.reconciler(t, wide, nil)
			rep := r.Pass(ctx, Request{Apply: true})
			if d := cmp.Diff(tt.want, lines(rep)); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
			if len(rep.Errors) != 1 || rep.Errors[0].Text != tt.err || rep.Applied.Failed != 0 {
				t.Errorf("%d failed, errors: got %v, want %q", rep.Applied.Failed, rep.Errors, tt.err)
			}
		})
	}
}

// TestAChangeSomebodyElseUndidIsCounted: once, and only where the plan wants
// that very change again.
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
		{"nothing was ours yet", "", Request{Apply: true}, map[string]int{}},
		{"all is as it was written", "", Request{Apply: true}, map[string]int{}},
		{"a dry run counts nothing", "team = b", Request{DryRun: true}, nil},
		{"both changes were undone", "team = b", Request{}, map[string]int{"add": 1, "remove": 1}},
		{"each counts once", "", Request{Apply: true}, map[string]int{}},
		{"Keycloak took a out, and so did somebody in ClearML", "/team: b\nteam = b", Request{Apply: true}, map[string]int{}},
		{"that Keycloak wants a again is nobody's undoing", "/team: a b", Request{Apply: true}, map[string]int{}},
		{"now it is", "team = b", Request{Apply: true}, map[string]int{"add": 1}},
		{"what was written before a change of configuration is ours too", "reload\nteam = b", Request{Apply: true}, map[string]int{"add": 1}},
	} {
		change, reload := strings.CutPrefix(step.change, "reload\n")
		if reload {
			r = r.Succeed(w, directory{w}, r.Options)
		}
		w.add(t, change)
		if d := cmp.Diff(step.want, pass(step.req)); d != "" {
			t.Errorf("step %d, %s: -want +got\n%s", i, step.name, d)
		}
	}
}

// TestAChangeOfConfigurationForgetsNoHarm: a Reconciler that succeeds another
// writes no more where that one may not, and remembers what its guards do.
func TestAChangeOfConfigurationForgetsNoHarm(t *testing.T) {
	w := newWorld(t, "both a b\n/x: a\n/y: a\nx =\ny = b")
	w.onWrite = func(g target.Group, _ []string) (bool, error) {
		w.setTarget("new", nil) // harm: a group appears
		return true, nil
	}
	r, _ := w.reconciler(t, wide, nil)
	r.Pass(context.Background(), Request{Apply: true})
	wrote := len(w.writes)
	next := r.Succeed(w, directory{w}, r.Options)
	rep := next.Pass(context.Background(), Request{Apply: true})
	if len(w.writes) != wrote || !slices.ContainsFunc(rep.Guards, func(x report.Trip) bool { return x.Guard == report.Canary }) {
		t.Errorf("writes before %d and after %d, guards %v", wrote, len(w.writes), rep.Guards)
	}
	o := r.Options
	o.Store = nil
	if next := r.Succeed(w, directory{w}, o); next.Store != r.Store {
		t.Error("what the guards remember was left behind")
	}
}

// TestABrokenServerIsWrittenOnceOnly: after a canary that did harm, no later
// pass of the process writes.
func TestABrokenServerIsWrittenOnceOnly(t *testing.T) {
	w := newWorld(t, "both a b\n/x: a\n/y: a\nx =\ny = b")
	w.onWrite = func(g target.Group, _ []string) (bool, error) {
		w.targets[1].Description = "changed"
		return true, nil
	}
	r, _ := w.reconciler(t, wide, nil)
	r.Pass(context.Background(), Request{Apply: true})
	rep := r.Pass(context.Background(), Request{Apply: true})
	if len(w.writes) != 1 {
		t.Errorf("writes: %q", w.writes)
	}
	if d := cmp.Diff([]string{"+a@y withheld by canary", "-b@y withheld not_member by canary"}, lines(rep)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// TestAGroupThatCannotBeWrittenDoesNotStarveTheOthers: it ends its run, and
// comes last in the next.
func TestAGroupThatCannotBeWrittenDoesNotStarveTheOthers(t *testing.T) {
	w := newWorld(t, "both a\n/x: a\n/y: a\n/z: a\nx =\ny =\nz =")
	w.onWrite = func(g target.Group, _ []string) (bool, error) {
		if g.Name == "x" {
			return false, &target.UncertainError{Err: errors.New("504")}
		}
		return true, nil
	}
	r, _ := w.reconciler(t, wide, nil)
	r.Pass(context.Background(), Request{Apply: true})
	next := r.Succeed(w, directory{w}, r.Options) // nor does a change of configuration forget it
	rep := next.Pass(context.Background(), Request{Apply: true})
	if d := cmp.Diff([]string{"+a@x failed", "+a@y applied", "+a@z applied"}, lines(rep)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// TestLossesOfLongAgoDoNotAddUp: a daemon that runs for months meets a login
// between write and read-back now and then.
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
		if rep := r.Pass(context.Background(), Request{Apply: true}); len(rep.Guards) > 0 || (len(rep.Errors) > 0) != lose {
			t.Fatalf("pass %d: %v %v", i+1, rep.Guards, rep.Errors)
		}
	}
	lose = true
	for range 5 {
		w.setTarget("x", []string{"loc"})
		r.Pass(context.Background(), Request{Apply: true})
		r = r.Succeed(w, directory{w}, r.Options) // a change of configuration forgets none
	}
	if r.writer.broken == "" {
		t.Error("a loss in every pass does not stop the writing")
	}
}

// TestAnUnreadableSideWritesNothing: an error of either side ends the pass.
func TestAnUnreadableSideWritesNothing(t *testing.T) {
	for name, fail := range map[string]func(*world){
		"reading the one side: boom":   func(w *world) { w.readCM = errors.New("reading the one side: boom") },
		"reading the other side: boom": func(w *world) { w.readKC = errors.New("reading the other side: boom") },
	} {
		w := newWorld(t, "both ann bob\n/team: ann\nteam = bob")
		fail(w)
		r, _ := w.reconciler(t, wide, nil)
		rep := r.Pass(context.Background(), Request{Apply: true})
		if len(w.writes) > 0 || rep.ExitCode() != 1 || rep.Result != report.Error || len(rep.Errors) != 1 || rep.Errors[0].Text != name {
			t.Errorf("%s: writes %q, exit %d, result %s, errors %v", name, w.writes, rep.ExitCode(), rep.Result, rep.Errors)
		}
	}
}
