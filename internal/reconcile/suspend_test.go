package reconcile

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"groupsync/internal/guard"
	"groupsync/internal/match"
	"groupsync/internal/memory"
	"groupsync/internal/report"
	"groupsync/internal/target"
)

// notSuspended is the Suspension of a store without a suspension.
func notSuspended(context.Context) (memory.Suspension, error) { return memory.Suspension{}, nil }

// suspensionFor returns a suspension for two hours from the start of the tests' clock.
func suspensionFor(removalsOnly bool) memory.Suspension {
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	return memory.Suspension{Until: at.Add(2 * time.Hour), Reason: "LDAP migration", By: "alice", At: at, RemovalsOnly: removalsOnly}
}

const (
	allSuspended      = `all writing is suspended until 2026-11-24T14:00:00Z ("LDAP migration")`
	removalsSuspended = `the removal of members is suspended until 2026-11-24T14:00:00Z ("LDAP migration")`
	whileWriting      = "trip suspended: a suspension began while the pass was writing: "
	whatIsLeft        = "; a write that had begun was finished, and the remaining changes are withheld; the suspension ends by itself, or by groupsync resume"
)

// TestASuspensionThatArrivesWhileAPassWrites: the write that was begun is the last one.
func TestASuspensionThatArrivesWhileAPassWrites(t *testing.T) {
	writes := []string{"first: a +b", "mixed: a +b -c", "gains: a +b", "loses: a -c"}
	for _, tt := range []struct {
		name    string
		answers func(asked int) (memory.Suspension, error) // the store's answer to each question, counted from 1
		wrote   []string
		want    []string
	}{
		{
			"everything, after the first group: no further group is read or written, and one trip says so",
			func(asked int) (memory.Suspension, error) {
				if asked == 1 {
					return memory.Suspension{}, nil
				}
				return suspensionFor(false), nil
			},
			[]string{"ask", "group", "write", "group", "ask", "ask", "ask"},
			[]string{"+b@first applied", "+b@gains withheld by suspended", "+b@mixed withheld by suspended", "-c@loses withheld by suspended", "-c@mixed withheld by suspended",
				whileWriting + allSuspended + whatIsLeft},
		},
		{
			"removals only: what only gains is written, a group that also loses somebody is withheld whole",
			func(int) (memory.Suspension, error) { return suspensionFor(true), nil },
			[]string{"ask", "group", "write", "group", "ask", "ask", "group", "write", "group", "ask"},
			[]string{"+b@first applied", "+b@gains applied", "+b@mixed withheld by suspended", "-c@loses withheld by suspended", "-c@mixed withheld by suspended",
				whileWriting + removalsSuspended + whatIsLeft},
		},
		{
			"one that is lifted again: the rest is written",
			func(asked int) (memory.Suspension, error) {
				if asked == 1 {
					return suspensionFor(false), nil
				}
				return memory.Suspension{}, nil
			},
			[]string{"ask", "ask", "group", "write", "group", "ask", "group", "write", "group", "ask", "group", "write", "group"},
			[]string{"+b@first withheld by suspended", "+b@gains applied", "+b@mixed applied", "-c@loses applied", "-c@mixed applied",
				whileWriting + allSuspended + whatIsLeft},
		},
		{
			"one that cannot be read ends the writing, as a fence does",
			func(asked int) (memory.Suspension, error) {
				if asked == 1 {
					return memory.Suspension{}, nil
				}
				return memory.Suspension{}, errors.New("the suspension is corrupt")
			},
			[]string{"ask", "group", "write", "group", "ask"},
			[]string{"+b@first applied", "error: the pass was abandoned before 3 of 4 groups were written: the suspension is corrupt"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newShelf("first: a", "mixed: a c", "gains: a", "loses: a c")
			asked := 0
			s.writer.suspension = func(context.Context) (memory.Suspension, error) {
				asked++
				s.calls = append(s.calls, "ask")
				return tt.answers(asked)
			}
			done := s.apply(cleared(wide, writes...))
			same(t, "outcomes", tt.want, said(done))
			same(t, "calls", tt.wrote, s.calls)
		})
	}
}

// TestASuspensionDuringTheReadOfAGroup: the write of that group is still made.
func TestASuspensionDuringTheReadOfAGroup(t *testing.T) {
	s := newShelf("first: a", "second: a")
	suspended := memory.Suspension{}
	s.writer.suspension = func(context.Context) (memory.Suspension, error) { return suspended, nil }
	s.onCall = func(call string, n int) {
		if call == "group" && n == 1 {
			suspended = suspensionFor(false)
		}
	}
	done := s.apply(cleared(wide, "first: a +b", "second: a +b"))
	same(t, "outcomes", []string{"+b@first applied", "+b@second withheld by suspended", whileWriting + allSuspended + whatIsLeft}, said(done))
	same(t, "writes", 1, s.counts["write"])
}

// TestAWriteThatIsNotTakenAsksAgain: each new round asks the store again before the read.
func TestAWriteThatIsNotTakenAsksAgain(t *testing.T) {
	s := newShelf("first: a")
	suspended := memory.Suspension{}
	s.writer.suspension = func(context.Context) (memory.Suspension, error) { return suspended, nil }
	s.onWrite = func(int, target.Group, []string) (bool, error) {
		suspended = suspensionFor(false)
		return false, notTakenNow(0)
	}
	done := s.apply(cleared(wide, "first: a +b"))
	same(t, "outcomes", []string{"+b@first withheld by suspended", whileWriting + allSuspended + whatIsLeft}, said(done))
	same(t, "writes", 1, s.counts["write"])
	if log := s.log.String(); !strings.Contains(log, "membership change begins") || !strings.Contains(log, "outcome=withheld") {
		t.Errorf("the audit log does not end what it began:\n%s", log)
	}
}

// TestASuspensionWithOnTripStop: a suspension of removals does not stop additions.
func TestASuspensionWithOnTripStop(t *testing.T) {
	s := newShelf("loses: a c", "gains: a")
	s.writer.suspension = func(context.Context) (memory.Suspension, error) { return suspensionFor(true), nil }
	done := s.apply(cleared(guard.Limits{Stop: true}, "loses: a -c", "gains: a +b"))
	same(t, "outcomes", []string{"+b@gains applied", "-c@loses withheld by suspended", whileWriting + removalsSuspended + whatIsLeft}, said(done))
}

// roles is a shelf whose group is a role: SetMembers sends a request for each person.
type roles struct{ *shelf }

func (s roles) SetMembers(ctx context.Context, fence target.Fence, g target.Group, members []string) (target.Calls, error) {
	have := g.MemberIDs()
	for _, m := range members {
		if slices.Contains(have, m) {
			continue
		}
		if err := fence.Check(); err != nil {
			if len(have) > len(g.MemberIDs()) {
				return nil, &target.UncertainError{Err: err}
			}
			return nil, err
		}
		_ = s.call(ctx, "write")
		have = append(have, m)
		s.set(g.Name, have...)
	}
	return nil, nil
}

// TestASuspensionBetweenTwoPeopleOfARole: a role needs one request for each person, and after
// the suspension no further request is sent.
func TestASuspensionBetweenTwoPeopleOfARole(t *testing.T) {
	for _, proved := range []bool{true, false} {
		s := newShelf("role: a")
		s.groups[0].Role = target.RoleAdmin
		s.writer.dir, s.writer.proved = roles{s}, proven(proved)
		suspended := memory.Suspension{}
		s.writer.suspension = func(context.Context) (memory.Suspension, error) { return suspended, nil }
		s.onCall = func(call string, n int) {
			if call == "write" && n == 1 {
				suspended = suspensionFor(false)
			}
		}
		c := cleared(wide, "role: a +b +c")
		c.writes[0].Group.Role = target.RoleAdmin
		done := s.apply(c)
		same(t, "outcomes", []string{"+b@role applied", "+c@role withheld by suspended", whileWriting + allSuspended + whatIsLeft}, said(done))
		same(t, "members", "a b", s.members("role"))
	}
}

// TestAPassUnderASuspension checks what such a pass plans, withholds and reports, and that the
// suspension ends by itself.
func TestAPassUnderASuspension(t *testing.T) {
	for _, tt := range []struct {
		name         string
		removalsOnly bool
		world        string
		want         []string
		trips        []string
		result       report.Result
		code         int
	}{
		{"everything", false, "both ann bob\n/team: ann\nteam = bob", []string{"+ann@team withheld by suspended", "-bob@team withheld not_member by suspended"},
			[]string{allSuspended + ": 2 changes are withheld; the suspension ends by itself, or by groupsync resume"}, report.Drift, 2},
		{"removals only", true, "both ann bob\n/team: ann\nteam = bob", []string{"+ann@team applied", "-bob@team withheld not_member by suspended"},
			[]string{removalsSuspended + ": 1 changes are withheld; the suspension ends by itself, or by groupsync resume"}, report.Drift, 2},
		{"where nothing differs, the report tells of it all the same", false, "both ann\n/team: ann\nteam = ann", []string{},
			[]string{allSuspended + ": 0 changes are withheld; the suspension ends by itself, or by groupsync resume"}, report.InSync, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.world)
			r, at := w.reconciler(t, wide, nil)
			var log bytes.Buffer
			r.Log = slog.New(slog.NewTextHandler(&log, nil))
			if err := r.Store.(*memory.Process).Suspend(t.Context(), suspensionFor(tt.removalsOnly)); err != nil {
				t.Fatal(err)
			}
			rep := r.Pass(t.Context(), Request{Apply: true, MayWrite: leads})
			same(t, "changes", tt.want, lines(rep))
			var trips []string
			for _, x := range rep.Guards {
				trips = append(trips, x.Detail)
			}
			same(t, "trips", tt.trips, trips)
			if rep.Result != tt.result || rep.ExitCode() != tt.code {
				t.Errorf("result %s, exit code %d; want %s, %d", rep.Result, rep.ExitCode(), tt.result, tt.code)
			}
			if !strings.Contains(log.String(), `msg="pass ended"`) || !strings.Contains(log.String(), "suspended_until=2026-11-24T14:00:00.000Z") {
				t.Errorf("the pass's line does not tell of the suspension:\n%s", log.String())
			}
			at.Time = at.Add(2 * time.Hour)
			rep = r.Pass(t.Context(), Request{Apply: true, MayWrite: leads})
			if add, remove := rep.Drift(); add+remove != 0 || len(rep.Guards) > 0 {
				t.Errorf("after its end: %q, %q", lines(rep), rep.Guards)
			}
		})
	}
}

// unreadable is a store with a suspension that cannot be read.
type unreadable struct{ memory.Process }

func (*unreadable) Suspension(context.Context) (memory.Suspension, error) {
	return memory.Suspension{}, errors.New("suspension.json: the suspension is corrupt")
}

func TestASuspensionThatCannotBeReadEndsThePass(t *testing.T) {
	w := newWorld(t, "both ann\n/team: ann\nteam =")
	r, _ := w.reconciler(t, wide, nil)
	r.Store = new(unreadable)
	rep := r.Pass(t.Context(), Request{Apply: true, MayWrite: leads})
	const want = "finding out whether writing is suspended: suspension.json: the suspension is corrupt"
	if len(rep.Errors) != 1 || rep.Errors[0].Text != want || rep.Result != report.Error || len(w.writes) > 0 {
		t.Errorf("%s, errors %q, writes %q; want %s", rep.Result, rep.Errors, w.writes, want)
	}
	if _, err := r.Look(t.Context(), Subject{User: "ann"}); err == nil || err.Error() != want {
		t.Errorf("a look: %v, want %s", err, want)
	}
}

// TestALookTellsOfASuspension: a look names the same guard as a pass.
func TestALookTellsOfASuspension(t *testing.T) {
	w := newWorld(t, "both ann\n/team: ann\nteam =")
	r, _ := w.reconciler(t, wide, func(o *match.Options) {})
	if err := r.Store.(*memory.Process).Suspend(t.Context(), suspensionFor(false)); err != nil {
		t.Fatal(err)
	}
	v, err := r.Look(t.Context(), Subject{User: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	if c := v.Plan.Groups[0].Add[0]; c.Guard != report.Suspended || len(v.Trips) != 1 || v.Trips[0].Guard != report.Suspended {
		t.Errorf("guard %q, trips %v", c.Guard, v.Trips)
	}
}
