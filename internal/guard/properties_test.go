package guard_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"groupsync/internal/guard"
	"groupsync/internal/match"
	"groupsync/internal/memory"
	"groupsync/internal/plan"
	"groupsync/internal/plan/plantest"
	"groupsync/internal/report"
	"groupsync/internal/source"
)

var everything = cmp.Options{cmp.AllowUnexported(source.Evidence{}), cmpopts.EquateEmpty()}

// drawLimits returns random limits that small worlds can exceed.
func drawLimits(t *rapid.T) guard.Limits {
	few := rapid.IntRange(0, 4)
	return guard.Limits{
		MaxRemovals: few.Draw(t, "max_removals"), MaxAdminGrants: few.Draw(t, "max_admin_grants"), MaxAdditions: few.Draw(t, "max_additions"), Window: 24 * time.Hour,
		MaxRatio: rapid.SampledFrom([]float64{0, 0.2, 0.5, 1}).Draw(t, "ratio"), FreeRemovals: few.Draw(t, "free"), MaxGone: few.Draw(t, "max_gone"), Floor: few.Draw(t, "floor"),
		Grace: time.Duration(few.Draw(t, "grace")) * time.Hour, GoneGrace: time.Duration(few.Draw(t, "gone_grace")) * time.Hour,
		Stop: rapid.IntRange(0, 4).Draw(t, "stop") == 0,
	}
}

// drawMemory returns a random memory for the plan.
func drawMemory(t *rapid.T, p plan.Plan) memory.Memory {
	m := memory.Memory{}.Clone()
	few := rapid.IntRange(0, 3)
	m.Removed, m.Granted, m.Added = intents(few.Draw(t, "removed"), now), intents(few.Draw(t, "granted"), now), intents(few.Draw(t, "added"), now)
	m.Rules = rapid.SampledFrom([]string{"", "old"}).Draw(t, "rules")
	for _, g := range p.Groups {
		for _, c := range g.Remove {
			if rapid.Bool().Draw(t, "wanted") {
				m.Wanted[memory.Key(c.Group, c.User.ID)] = now.Add(-time.Duration(rapid.IntRange(0, 5).Draw(t, "since")) * time.Hour)
			}
		}
		a := memory.Accepted{Sources: map[string]string{}}
		for _, s := range g.Feed.Sources {
			a.Sources[s.ID] = s.Path
		}
		switch rapid.IntRange(0, 5).Draw(t, "accepted") {
		case 0:
			continue
		case 1:
			a.Sources["gone"] = "/gone"
		case 2:
			a.Federations = []string{"fed-gone"}
		case 3:
			a.Federated = []string{"kc-a", "kc-b", "kc-c", "kc-gone"}
		}
		m.Groups[g.Feed.Group.ID] = a
	}
	return m
}

// situation is a random plan and the input of the guards.
type situation struct {
	text string
	plan plan.Plan
	in   guard.Input
}

func (s situation) String() string {
	return fmt.Sprintf("%s%q\nlimits %+v\nmemory %+v\nscoped %v", s.text, plantest.Lines(s.plan), s.in.Limits, s.in.Memory, s.in.Scoped)
}

func law(t *testing.T, check func(t *rapid.T, s situation)) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		text, rules := plantest.Draw(t), plantest.DrawRules(t)
		check(t, drawSituation(t, text, rules, plantest.New(t, text, rules).Pass(t)))
	})
}

func drawSituation(t *rapid.T, text string, _ func(*match.Options), p plantest.Pass) situation {
	in := guard.Input{Source: p.Source, Target: p.Target, Probes: p.Confirmation.Probes, Limits: drawLimits(t), Memory: drawMemory(t, p.Weighed), Now: now, Scoped: map[string]bool{}}
	for _, g := range p.Weighed.Groups {
		for _, c := range g.Remove {
			in.Scoped[c.Key()] = rapid.IntRange(0, 3).Draw(t, "scoped") == 0
		}
	}
	if rapid.IntRange(0, 4).Draw(t, "suspended") == 0 {
		in.Suspended = memory.Suspension{Until: now.Add(time.Hour), Reason: "r", RemovalsOnly: rapid.Bool().Draw(t, "removals_only")}
	}
	if rapid.IntRange(0, 3).Draw(t, "approve") == 0 {
		in.Approve = guard.Judge(p.Weighed, in).Digest
	}
	return situation{text, p.Weighed, in}
}

// written returns the cleared changes by key.
func written(j guard.Judged) map[string]plan.Change {
	all := make(map[string]plan.Change)
	for _, w := range j.Cleared.Writes() {
		for _, c := range slices.Concat(w.Add, w.Remove) {
			all[c.Key()] = c
		}
	}
	return all
}

func changesOf(p plan.Plan) (all []plan.Change) {
	for _, g := range p.Groups {
		all = append(all, slices.Concat(g.Add, g.Remove)...)
	}
	return all
}

// TestLawGuardsOnlyShrink: each cleared change is in the plan, unchanged, and has its own
// evidence. Every other change names a guard.
func TestLawGuardsOnlyShrink(t *testing.T) {
	law(t, func(t *rapid.T, s situation) {
		j := guard.Judge(s.plan, s.in)
		may := written(j)
		for _, c := range changesOf(s.plan) {
			out, is := may[c.Key()]
			delete(may, c.Key())
			if is && !c.Evidence.For(c.Group, c.User.ID, c.Grant()) {
				t.Fatalf("%s\ncleared without evidence: %+v", s, c)
			}
			if d := cmp.Diff(c, out, everything); is && d != "" {
				t.Fatalf("%s\ncleared and changed\n%s", s, d)
			}
		}
		if len(may) > 0 {
			t.Fatalf("%s\ncleared, and not in the plan: %v", s, may)
		}
		judged := changesOf(j.Plan)
		if len(judged) != len(changesOf(s.plan)) {
			t.Fatalf("%s\nthe judged plan has %d changes", s, len(judged))
		}
		may = written(j)
		for _, c := range judged {
			if _, is := may[c.Key()]; is == (c.Guard != "") {
				t.Fatalf("%s\ncleared %v, and withheld by %q: %s", s, is, c.Guard, c.Key())
			}
			if c.Guard != "" && !slices.ContainsFunc(j.Trips, func(t report.Trip) bool { return t.Guard == c.Guard }) {
				t.Fatalf("%s\n%s withholds %s and did not trip", s, c.Guard, c.Key())
			}
		}
	})
}

// TestLawTheInputStaysAsItIs: Judge changes neither the plan nor the memory.
func TestLawTheInputStaysAsItIs(t *testing.T) {
	law(t, func(t *rapid.T, s situation) {
		dump := func() string { return fmt.Sprintf("%+v\n%+v\n%+v\n%+v", s.plan, s.in, *s.in.Source, *s.in.Target) }
		before := dump()
		j := guard.Judge(s.plan, s.in)
		judged := fmt.Sprintf("%+v", j)
		j.Remember(s.in, "new", true)
		if d := cmp.Diff(before, dump()); d != "" {
			t.Fatalf("%s\nthe input changed\n%s", s, d)
		}
		if d := cmp.Diff(judged, fmt.Sprintf("%+v", j)); d != "" {
			t.Fatalf("%s\nremembering changed the judgement\n%s", s, d)
		}
	})
}

// TestLawTheOrderOfTheInputChangesNothing: two readings that differ only in their order give
// the same result.
func TestLawTheOrderOfTheInputChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, rules := plantest.Draw(t), plantest.DrawRules(t)
		s := drawSituation(t, text, rules, plantest.New(t, text, rules).Pass(t))
		p := plantest.New(t, plantest.Shuffled(text, rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))), rules).Pass(t)
		in := s.in
		in.Source, in.Target, in.Probes = p.Source, p.Target, p.Confirmation.Probes
		in.Memory.Removed, in.Memory.Granted, in.Memory.Added = slices.Clone(in.Memory.Removed), slices.Clone(in.Memory.Granted), slices.Clone(in.Memory.Added)
		slices.Reverse(in.Memory.Removed)
		a, b := guard.Judge(s.plan, s.in), guard.Judge(p.Weighed, in)
		if d := cmp.Diff(a.Plan, b.Plan, everything); d != "" {
			t.Fatalf("%s\nshuffled, the plan is judged otherwise\n%s", s, d)
		}
		if cmp.Diff(trips(a), trips(b))+cmp.Diff(cleared(a), cleared(b)) != "" || a.Digest != b.Digest {
			t.Fatalf("%s\nshuffled, it is judged otherwise\n%q %q\n%q %q\n%s %s", s, trips(a), trips(b), cleared(a), cleared(b), a.Digest, b.Digest)
		}
	})
}

// TestLawANarrowerLimitClearsNothingMore: with a stricter limit, no additional change is
// cleared.
func TestLawANarrowerLimitClearsNothingMore(t *testing.T) {
	narrow := map[string]func(*guard.Limits){
		"max_removals":      func(l *guard.Limits) { lower(&l.MaxRemovals) },
		"max_admin_grants":  func(l *guard.Limits) { lower(&l.MaxAdminGrants) },
		"max_additions":     func(l *guard.Limits) { lower(&l.MaxAdditions) },
		"max_gone":          func(l *guard.Limits) { lower(&l.MaxGone) },
		"max_removal_ratio": func(l *guard.Limits) { l.MaxRatio = map[float64]float64{0: 1, 1: 0.5, 0.5: 0.2, 0.2: 0.1}[l.MaxRatio] },
		"free_removals":     func(l *guard.Limits) { l.FreeRemovals = max(0, l.FreeRemovals-1) },
		"window":            func(l *guard.Limits) { l.Window += time.Hour },
		"federation_grace":  func(l *guard.Limits) { l.Grace += time.Hour },
		"gone_grace":        func(l *guard.Limits) { l.GoneGrace += time.Hour },
		"floor":             func(l *guard.Limits) { l.Floor++ },
		"on_trip":           func(l *guard.Limits) { l.Stop = true },
	}
	var keys []string
	for k := range narrow {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	law(t, func(t *rapid.T, s situation) {
		s.in.Approve = ""
		wide := written(guard.Judge(s.plan, s.in))
		key := rapid.SampledFrom(keys).Draw(t, "narrower")
		in := s.in
		narrow[key](&in.Limits)
		for k := range written(guard.Judge(s.plan, in)) {
			if _, is := wide[k]; !is {
				t.Fatalf("%s\na narrower %s lets %q through", s, key, k)
			}
		}
	})
}

// lower makes a limit stricter. 0 means that the limit is off.
func lower(limit *int) {
	switch *limit {
	case 0:
		*limit = 4
	case 1:
	default:
		*limit--
	}
}

// TestLawAnApprovalLiftsOnlyWhatItNames: an approval clears all changes that are cleared
// without it. In addition it clears only removals and grants that the digest names and that no
// fixed guard withholds. Another digest changes nothing.
func TestLawAnApprovalLiftsOnlyWhatItNames(t *testing.T) {
	fixed := []report.Guard{report.Suspended, report.Federation, report.Confirm, report.MissingSource, report.Collision, report.Views, report.Admins}
	law(t, func(t *rapid.T, s situation) {
		s.in.Approve, s.in.Limits.Stop = "", false
		none := guard.Judge(s.plan, s.in)
		in := s.in
		in.Approve = "0000000000000000"
		other := guard.Judge(s.plan, in)
		if cmp.Diff(none.Plan, other.Plan, everything) != "" || other.Granted {
			t.Fatalf("%s\nanother digest is judged otherwise", s)
		}
		if none.Digest == "" {
			return
		}
		in.Approve = none.Digest
		ok := guard.Judge(s.plan, in)
		before, after := written(none), written(ok)
		for k := range before {
			if _, is := after[k]; !is {
				t.Fatalf("%s\nthe approval withholds %q", s, k)
			}
		}
		for i, c := range changesOf(none.Plan) {
			if got := changesOf(ok.Plan)[i].Guard; slices.Contains(fixed, c.Guard) && got != c.Guard {
				t.Fatalf("%s\nthe approval lifts %s for %q", s, c.Guard, c.Key())
			}
		}
		for _, trip := range ok.Trips {
			if trip.Guard.Rule().Liftable {
				t.Fatalf("%s\n%s trips in spite of the approval", s, trip.Guard)
			}
		}
	})
}

// TestLawASuspensionClearsOnlyWhatItSays: a suspension of all writing clears nothing. A
// suspension of removals clears the same additions as without it, and nothing else.
func TestLawASuspensionClearsOnlyWhatItSays(t *testing.T) {
	law(t, func(t *rapid.T, s situation) {
		s.in.Suspended = memory.Suspension{}
		want := written(guard.Judge(s.plan, s.in))
		for key, c := range want {
			if c.Action == plan.Remove {
				delete(want, key)
			}
		}
		s.in.Suspended = memory.Suspension{Until: now.Add(time.Hour), Reason: "r", RemovalsOnly: true}
		if d := cmp.Diff(want, written(guard.Judge(s.plan, s.in)), everything); d != "" {
			t.Fatalf("%s\nremovals only: -want +cleared\n%s", s, d)
		}
		s.in.Suspended.RemovalsOnly = false
		if may := written(guard.Judge(s.plan, s.in)); len(may) > 0 {
			t.Fatalf("%s\ncleared although everything is suspended: %v", s, may)
		}
	})
}

// TestLawEvidenceOfAnotherChangeClearsNothing: if two changes swap their evidence, both are
// withheld.
func TestLawEvidenceOfAnotherChangeClearsNothing(t *testing.T) {
	law(t, func(t *rapid.T, s situation) {
		s.in.Limits, s.in.Memory, s.in.Scoped = guard.Limits{}, memory.Memory{}, nil
		for i := range s.plan.Groups {
			g := &s.plan.Groups[i]
			for _, list := range [][]plan.Change{g.Add, g.Remove} {
				if len(list) < 2 {
					continue
				}
				list[0].Evidence, list[1].Evidence = list[1].Evidence, list[0].Evidence
				may := written(guard.Judge(s.plan, s.in))
				for _, c := range list[:2] {
					if _, is := may[c.Key()]; is {
						t.Fatalf("%s\ncleared by the evidence of another change: %+v", s, c)
					}
				}
				list[0].Evidence, list[1].Evidence = list[1].Evidence, list[0].Evidence
			}
		}
	})
}

// TestLawTheFloorHolds: at least as many administrators as the floor remain, or none is
// removed.
func TestLawTheFloorHolds(t *testing.T) {
	law(t, func(t *rapid.T, s situation) {
		for _, w := range guard.Judge(s.plan, s.in).Cleared.Writes() {
			if w.Admins && len(w.Remove) > 0 && len(w.Floor) < s.in.Limits.Floor {
				t.Fatalf("%s\nremoves administrators below the floor: %v", s, w.Floor)
			}
		}
	})
}

// TestLawTheWindowHolds: including the remembered changes, no more removals and new
// administrators are cleared than the limits allow, unless a person approved them.
func TestLawTheWindowHolds(t *testing.T) {
	law(t, func(t *rapid.T, s situation) {
		j := guard.Judge(s.plan, s.in)
		if j.Granted {
			return
		}
		removed, granted, added := len(s.in.Memory.Removed), len(s.in.Memory.Granted), len(s.in.Memory.Added)
		was := [3]int{removed, granted, added}
		for _, w := range j.Cleared.Writes() {
			removed += len(w.Remove)
			added += len(w.Add)
			if w.Admins {
				granted += len(w.Add)
			}
		}
		for i, n := range []int{removed, granted, added} {
			limit := []int{s.in.Limits.MaxRemovals, s.in.Limits.MaxAdminGrants, s.in.Limits.MaxAdditions}[i]
			if limit > 0 && n > was[i] && n > limit {
				t.Fatalf("%s\n%d changes, the limit is %d (removals, new administrators, additions: number %d)", s, n, limit, i)
			}
		}
	})
}
