package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"groupsync/internal/guard"
	"groupsync/internal/match"
	"groupsync/internal/memory"
	"groupsync/internal/plan"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// Compare makes two plans from one reading of both sides: the present plan under the present
// rules, and the changed plan under the new rules (the parameter changed). It returns the
// differences between the two plans. Like a dry run, Compare writes nothing and does not
// change the memory. The second look checks every change of both plans, because a member list
// that hides a person can make either plan propose a wrong change.
//
// The guards judge the changed plan as if the present rules were those of the last accepted
// pass. So the guard `scope` withholds what it will withhold after the change of the rules. They
// also judge as if there were no suspension, because a suspension ends by itself.
func (r *Reconciler) Compare(ctx context.Context, changed match.Rules) (report.Comparison, error) {
	r, changed = r.peeking(r.Now()), changed.At(r.Now())
	ctx = target.WithPass(ctx, passID(r.Now().UTC()))
	mem, err := r.Store.Load()
	if err != nil {
		return report.Comparison{}, err
	}
	mem = mem.Resumed(r.Now())
	pair := r.beside(changed)
	tgt, src, err := r.read(ctx, pair)
	if err != nil {
		return report.Comparison{}, err
	}
	mem = mem.Settled(tgt.Member)
	both, err := pair(src.Catalog(), tgt.Groups())
	if err != nil {
		return report.Comparison{}, err
	}
	src, err = r.lookUpBoth(ctx, src, tgt, both, changed, mem)
	if err != nil {
		return report.Comparison{}, err
	}
	people := match.Who(src, tgt, changed)
	before := plan.Make(src, tgt, *both.before, match.Who(src, tgt, r.Rules))
	after := plan.Make(src, tgt, both.now, people)
	before, after, probes, err := r.weighBoth(ctx, src, before, after, mem)
	if err != nil {
		return report.Comparison{}, err
	}
	in := guard.Input{Source: src, Target: tgt, Probes: probes, Limits: r.Limits, Memory: mem, Now: r.Now()}
	old := guard.Judge(before, in)
	if changed.Scope() != r.Rules.Scope() {
		if in.Scoped, err = r.scoped(ctx, both, src, tgt, people, after, known(mem)); err != nil {
			return report.Comparison{}, err
		}
	}
	next := guard.Judge(after, in)
	c := report.Comparison{
		Groups:  compared(old.Plan, next.Plan),
		Guards:  without(next.Trips, old.Trips),
		Skipped: []report.Skip{},
	}
	c.Source.Groups, c.Source.Users, c.Source.Memberships = src.Counts()
	c.Target.Groups, c.Target.Users, c.Target.Memberships = tgt.Counts()
	for _, s := range without(match.Remarks(tgt, both.now, changed), match.Remarks(tgt, *both.before, r.Rules)) {
		c.Skipped = append(c.Skipped, report.Skip(s))
	}
	return c, nil
}

// beside returns the pairer of Compare: a function that makes two pairings from the groups of
// both sides (see pairs). In its result, the field now has the pairing under the new rules (the
// parameter changed), and the field before has the pairing under the present rules.
func (r *Reconciler) beside(changed match.Rules) pairer {
	return func(catalog source.Catalog, groups []target.Group) (pairs, error) {
		before, err := match.Groups(catalog, groups, r.Rules)
		if err != nil {
			return pairs{}, fmt.Errorf("the present configuration: %w", err)
		}
		now, err := match.Groups(catalog, groups, changed)
		if err != nil {
			return pairs{}, fmt.Errorf("the changed configuration: %w", err)
		}
		return pairs{now: now, before: &before}, nil
	}
}

// lookUpBoth returns the snapshot after the look-ups that at least one of the two plans needs.
func (r *Reconciler) lookUpBoth(ctx context.Context, src *source.Snapshot, tgt *target.Snapshot, both pairs, changed match.Rules, mem memory.Memory) (*source.Snapshot, error) {
	asks := slices.Concat(
		plan.Make(src, tgt, *both.before, match.Who(src, tgt, r.Rules)).Asks,
		plan.Make(src, tgt, both.now, match.Who(src, tgt, changed)).Asks,
	)
	slices.SortStableFunc(asks, func(a, b source.Person) int { return strings.Compare(a.Key, b.Key) })
	asks = slices.CompactFunc(asks, func(a, b source.Person) bool { return a.Key == b.Key })
	if len(asks) == 0 {
		return src, nil
	}
	return r.lookUp(ctx, src, asks, mem)
}

// weighBoth takes one second look at the changes of both plans. It returns both plans with the
// answers, and the probes of the second look.
func (r *Reconciler) weighBoth(ctx context.Context, src *source.Snapshot, before, after plan.Plan, mem memory.Memory) (_, _ plan.Plan, _ []source.Probe, err error) {
	r.Step("taking the second look")
	questions := before.Questions()
	n := len(questions)
	seen, err := r.source.Confirm(ctx, src, append(questions, after.Questions()...), known(mem))
	if err != nil {
		return plan.Plan{}, plan.Plan{}, nil, fmt.Errorf("confirming the changes: %w", err)
	}
	n = min(n, len(seen.Answers)) // prevents a panic; if answers are missing, Weighed returns an error
	if before, err = before.Weighed(source.Confirmation{Answers: seen.Answers[:n]}); err != nil {
		return plan.Plan{}, plan.Plan{}, nil, err
	}
	after, err = after.Weighed(source.Confirmation{Answers: seen.Answers[n:]})
	return before, after, seen.Probes, err
}

// compared returns the user groups in which the plans differ, sorted by name and id.
func compared(before, after plan.Plan) []report.Difference {
	old, next := byID(before), byID(after)
	list := []report.Difference{}
	for _, p := range []plan.Plan{before, after} {
		for _, g := range p.Groups {
			id := g.Feed.Group.ID
			d := report.Difference{
				Name: g.Feed.Group.Name, ID: id,
				FromPresent: feeders(old[id].Feed), FromChanged: feeders(next[id].Feed),
				Add: changes(only(old[id], next[id], additions)), Remove: changes(only(old[id], next[id], removals)),
				NotAdded: dropped(old[id].Add, next[id].Add), NotRemoved: dropped(old[id].Remove, next[id].Remove),
			}
			if len(d.Add)+len(d.Remove)+len(d.NotAdded)+len(d.NotRemoved) > 0 {
				list = append(list, d)
			}
		}
	}
	slices.SortFunc(list, func(a, b report.Difference) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	return slices.CompactFunc(list, func(a, b report.Difference) bool { return a.ID == b.ID }) // a group that is in both plans is listed once
}

// byID returns the groups of the plan by the id of the user group.
func byID(p plan.Plan) map[string]plan.Group {
	groups := make(map[string]plan.Group, len(p.Groups))
	for _, g := range p.Groups {
		groups[g.Feed.Group.ID] = g
	}
	return groups
}

// only returns the changes that the changed plan proposes for a group, and the present plan
// does not. before and after are this group in the present plan and in the changed plan. A
// change that both plans propose is left out in two cases: the present plan has evidence for
// it, or both plans ask the own side the same question about it. In the second case both plans
// wait for the same answer. In any other case the present plan lacks evidence that the changed
// plan can have. Then only the changed rules lead to the change, so it must be returned.
func only(before, after plan.Group, changes func(plan.Group) []plan.Change) []plan.Change {
	old := byKey(changes(before))
	sameRole := before.Feed.Role == after.Feed.Role
	return slices.DeleteFunc(slices.Clone(changes(after)), func(c plan.Change) bool {
		o, there := old[c.Key()]
		return there && (o.Evidence.Valid() || sameRole && sameQuestion(o, c))
	})
}

func additions(g plan.Group) []plan.Change { return g.Add }
func removals(g plan.Group) []plan.Change  { return g.Remove }

func byKey(changes []plan.Change) map[string]plan.Change {
	m := make(map[string]plan.Change, len(changes))
	for _, c := range changes {
		m[c.Key()] = c
	}
	return m
}

// sameQuestion reports whether the second look asks the own side the same question about both
// changes.
func sameQuestion(a, b plan.Change) bool {
	return a.GoneBy == b.GoneBy &&
		slices.EqualFunc(a.Sources, b.Sources, func(x, y source.Group) bool { return x.ID == y.ID }) &&
		slices.EqualFunc(a.Accounts, b.Accounts, func(x, y source.User) bool { return x.ID == y.ID })
}

// dropped returns the changes of the present plan, before, that are not in the changed plan,
// after. It clears the guard of each, because the changed plan does not propose the change, so
// no guard withholds it there.
func dropped(before, after []plan.Change) []report.Change {
	next := byKey(after)
	left := slices.DeleteFunc(slices.Clone(before), func(c plan.Change) bool {
		_, there := next[c.Key()]
		return there
	})
	for i := range left {
		left[i].Guard = ""
	}
	return changes(left)
}

// without returns the elements of list that are not in other.
func without[T comparable](list, other []T) []T {
	there := make(map[T]bool, len(other))
	for _, x := range other {
		there[x] = true
	}
	return append([]T{}, slices.DeleteFunc(slices.Clone(list), func(x T) bool { return there[x] })...)
}
