// Package guard checks a plan against the limits and returns the changes that may be written.
// A guard is a rule that withholds changes. A guard that withholds something trips. A change
// that no guard withholds is cleared. A change without evidence is never cleared: the second
// look at the person's own side must have confirmed the change.
//
// A person can approve a plan by its digest. The approval lifts the liftable guards for the
// changes that the digest names. It lifts no fixed guard.
//
// A federation is a user storage behind Keycloak, such as LDAP. A probe shows whether a
// federation answers. If it does, the federation is up.
//
// The package is pure: the caller passes the memory and the time, and the package does no I/O
// and logs nothing. A guard can only remove changes from a plan.
package guard

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"groupsync/internal/memory"
	"groupsync/internal/plan"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// Limits are the configured limits. A limit of 0 is off.
type Limits struct {
	MaxRemovals    int           // removals in a pass, and within Window
	MaxAdminGrants int           // new administrators in a pass, and within Window
	MaxAdditions   int           // additions in a pass, and within Window
	Window         time.Duration // how far back changes of earlier passes count
	MaxRatio       float64       // largest share to remove, of a group's members and of all managed memberships
	FreeRemovals   int           // for this many removals or fewer, MaxRatio does not apply
	MaxGone        int           // people gone from Keycloak at once
	Grace          time.Duration // how long every pass must want a removal whose evidence depends on a federation
	GoneGrace      time.Duration // how long every pass must want a removal whose evidence is an email alone
	MaxAge         time.Duration // how old a plan may be before each write; its age counts from the start of the pass's reads
	Floor          int           // how many administrators must remain
	Stop           bool          // guards.on_trip is stop: if a guard trips that does not only wait or report, every change is withheld
	Forgets        bool          // the process makes a single pass and keeps no memory
}

// Input is what the guards need besides the plan.
type Input struct {
	Source  *source.Snapshot
	Target  *target.Snapshot
	Probes  []source.Probe  // the probes of this pass, which show which federations are up
	Scoped  map[string]bool // by plan.Change.Key: removals that the rules of the last accepted pass would not propose
	Limits  Limits
	Memory  memory.Memory
	Now     time.Time
	Approve string // digest of an approval, which lifts the liftable guards; empty: none

	// Witnesses are admin events. A removal that they explain needs no grace.
	Witnesses []source.Witness

	// Early says that the pass runs outside the schedule. Several early passes in a row could
	// each stay below a limit. So in an early pass, the removals of earlier passes within
	// Window count toward the limits of one pass, as if this pass made them.
	Early bool

	Suspended memory.Suspension // in force at Now; zero: nothing is suspended
}

// Write is the cleared changes of one user group.
type Write struct {
	Group    target.Group // as it was read for the plan
	Admins   bool         // an administrators' group: the built-in one, or the role
	Floor    []string     // ids of the administrators who count toward admins.floor
	Add      []plan.Change
	Remove   []plan.Change // each with its evidence
	Approved bool          // a person approved the changes by their digest: the limits of liftable guards do not apply to the changes, and the writer does not check max_removal_ratio for them again
}

// Cleared is the changes that no guard withholds, in the order of writing. First come groups
// that only gain members, then groups that gain and lose, then groups that only lose, and
// administrators last. Within each of these four kinds, the group with the fewest changes
// comes first. Only Judge returns a Cleared with changes.
type Cleared struct {
	writes []Write
	limits Limits
}

// Writes returns the writes in their order.
func (c Cleared) Writes() []Write { return slices.Clone(c.writes) }

// Of returns the cleared changes of the ClearML user with the id user, in the same order.
func (c Cleared) Of(user string) Cleared {
	others := func(x plan.Change) bool { return x.User.ID != user }
	own := Cleared{limits: c.limits}
	for _, w := range c.writes {
		w.Add, w.Remove = slices.DeleteFunc(slices.Clone(w.Add), others), slices.DeleteFunc(slices.Clone(w.Remove), others)
		if len(w.Add)+len(w.Remove) > 0 {
			own.writes = append(own.writes, w)
		}
	}
	return own
}

// Limits returns the limits that Judge applied.
func (c Cleared) Limits() Limits { return c.limits }

// Judged is the result of Judge: the plan with the guard of each withheld change, and the
// changes that are cleared.
type Judged struct {
	Plan           plan.Plan // each withheld change names its guard
	Trips          []report.Trip
	Digest         string // digest of the changes that have evidence and that an approval names (see names); empty: there are none
	Changes        int    // how many changes the digest names
	Cleared        Cleared
	Lifted         []report.Guard // the guards that the approval lifted, in the order of report.Rules
	Granted        bool           // the approval names the digest of this plan
	fallen         []fall         // how each group fell since its last accepted pass, in the order of Plan.Groups
	admin          []string       // ids of the administrators' groups: the built-in one, or the role
	namesAdditions bool           // the additions exceed max_additions, so the digest names them too
}

// Withheld returns the guards that withhold a change of the group or freeze it, in the order
// of report.Guards.
func Withheld(g plan.Group) []report.Guard {
	var found []report.Guard
	for _, guard := range report.Guards {
		is := func(c plan.Change) bool { return c.Guard == guard }
		frozen := guard == report.MissingSource && g.Frozen()
		if frozen || slices.ContainsFunc(g.Add, is) || slices.ContainsFunc(g.Remove, is) {
			found = append(found, guard)
		}
	}
	return found
}

// Judge applies the guards to the plan, in the order of report.Guards. If several guards
// withhold a change, the change names the first one.
func Judge(p plan.Plan, in Input) Judged {
	e := newEvaluation(p, in)
	e.Granted = in.Approve != "" && in.Approve == e.Digest
	e.fixed()
	if e.Granted {
		lifted := newEvaluation(p, in)
		lifted.fixed()
		at := len(lifted.Trips)
		lifted.liftable()
		for _, rule := range report.Rules {
			if slices.ContainsFunc(lifted.Trips[at:], func(t report.Trip) bool { return t.Guard == rule.Guard }) {
				e.Lifted = append(e.Lifted, rule.Guard)
			}
		}
	} else {
		e.liftable()
	}
	if in.Limits.Stop {
		e.stop()
	}
	e.clear()
	return e.Judged
}

// evaluation holds one plan while the guards judge it: the result so far, and the input.
type evaluation struct {
	Judged
	in Input
}

func newEvaluation(p plan.Plan, in Input) *evaluation {
	e := &evaluation{in: in}
	e.Plan = p
	e.Plan.Groups = slices.Clone(p.Groups)
	var keys []string
	for i := range e.Plan.Groups {
		g := &e.Plan.Groups[i]
		g.Add, g.Remove = slices.Clone(g.Add), slices.Clone(g.Remove)
		if g.Feed.Admins {
			e.admin = append(e.admin, g.Feed.Group.ID)
		}
		e.fallen = append(e.fallen, e.fell(*g))
	}
	e.namesAdditions = exceedsLimit(e.count(plan.Add), memory.Since(in.Memory.Added, e.since()), in.Limits.MaxAdditions)
	for _, c := range e.changes() {
		if e.names(*c) && c.Evidence.Valid() {
			keys = append(keys, c.Key()+"\n")
		}
	}
	if e.Changes = len(keys); len(keys) > 0 {
		slices.Sort(keys)
		sum := sha256.Sum256([]byte(strings.Join(keys, "")))
		e.Digest = hex.EncodeToString(sum[:8])
	}
	return e
}

// fixed applies the guards that an approval does not lift.
func (e *evaluation) fixed() {
	e.suspended()
	e.federation()
	e.confirm()
	e.missingSource()
	e.collision()
	e.views()
	e.ambiguity()
	e.floor()
}

// liftable applies the guards that an approval lifts.
func (e *evaluation) liftable() {
	e.scope()
	e.fall()
	e.removals()
	e.gone()
	e.grants()
	e.grace()
}

// changes returns pointers to every change of the plan, group by group.
func (e *evaluation) changes() []*plan.Change {
	var all []*plan.Change
	for i := range e.Plan.Groups {
		all = append(all, changesOf(&e.Plan.Groups[i])...)
	}
	return all
}

func changesOf(g *plan.Group) []*plan.Change {
	var all []*plan.Change
	for i := range g.Add {
		all = append(all, &g.Add[i])
	}
	for i := range g.Remove {
		all = append(all, &g.Remove[i])
	}
	return all
}

// names reports whether the digest names the change c if c has evidence. An approval of the
// digest covers the changes that it names. A change without evidence is in no digest. Of the
// changes with evidence, the digest names every removal. It names every new administrator, except
// those who are listed only through a name that collides. It names every addition if the
// additions exceed max_additions.
func (j Judged) names(c plan.Change) bool {
	return c.Action == plan.Remove || j.admins(&c) && !c.Collides || j.namesAdditions
}

// admins reports whether the change is in an administrators' group.
func (j Judged) admins(c *plan.Change) bool { return slices.Contains(j.admin, c.Group) }

// count returns the number of changes with that action that have evidence.
func (e *evaluation) count(a plan.Action) (n int) {
	for _, c := range e.changes() {
		if c.Action == a && c.Evidence.Valid() {
			n++
		}
	}
	return n
}

// since returns the beginning of the window.
func (e *evaluation) since() time.Time { return e.in.Now.Add(-e.in.Limits.Window) }

func exceedsLimit(wanted, recent, limit int) bool {
	return limit > 0 && wanted > 0 && wanted+recent > limit
}

// Exceeds reports whether n is more than the given ratio of all. If ratio is 0, there is no
// limit, and Exceeds returns false.
func Exceeds(n, all int, ratio float64) bool {
	return ratio > 0 && float64(n) > ratio*float64(all)
}

func percent(n, all int) float64 { return 100 * float64(n) / float64(max(all, 1)) }

func (e *evaluation) trip(guard report.Guard, group, format string, args ...any) {
	override := ""
	if guard.Rule().Liftable && e.Digest != "" {
		override = "--approve " + e.Digest
	}
	e.Trips = append(e.Trips, report.Trip{Guard: guard, Group: group, Detail: fmt.Sprintf(format, args...), Override: override})
}

// withhold sets the guard of the changes that pick selects. A change that another guard
// withholds keeps that guard. The result is how many changes pick selected, including changes
// that another guard withholds.
func withhold(changes []*plan.Change, guard report.Guard, pick func(*plan.Change) bool) (n int) {
	for _, c := range changes {
		if !pick(c) {
			continue
		}
		n++
		if c.Guard == "" {
			c.Guard = guard
		}
	}
	return n
}

func isRemoval(c *plan.Change) bool  { return c.Action == plan.Remove }
func isAddition(c *plan.Change) bool { return c.Action == plan.Add }

// provedRemoval reports whether the change is a removal with evidence. Only such removals
// count toward a limit, because a removal without evidence is never written.
func provedRemoval(c *plan.Change) bool { return isRemoval(c) && c.Evidence.Valid() }

// stop withholds every change if a guard has tripped. It is called only if guards.on_trip is
// stop. Trips of guards that only wait (Rule.Waits) or only report (Rule.Reports) do not
// count.
func (e *evaluation) stop() {
	for _, t := range e.Trips {
		if rule := t.Guard.Rule(); rule.Waits || rule.Reports {
			continue
		}
		withhold(e.changes(), t.Guard, func(*plan.Change) bool { return true })
		return
	}
}

// clear collects the changes that no guard withholds, in the order of writing.
func (e *evaluation) clear() {
	e.Cleared.limits = e.in.Limits
	for _, g := range e.Plan.Groups {
		w := Write{Group: g.Feed.Group, Admins: g.Feed.Admins, Floor: g.Floor, Approved: e.Granted}
		for _, c := range changesOf(&g) {
			switch {
			case c.Guard != "" || !c.Evidence.For(c.Group, c.User.ID, c.Grant()):
			case c.Action == plan.Add:
				w.Add = append(w.Add, *c)
			default:
				w.Remove = append(w.Remove, *c)
			}
		}
		if len(w.Add)+len(w.Remove) > 0 {
			e.Cleared.writes = append(e.Cleared.writes, w)
		}
	}
	slices.SortStableFunc(e.Cleared.writes, func(a, b Write) int {
		if d := a.rank() - b.rank(); d != 0 {
			return d
		}
		return len(a.Add) + len(a.Remove) - len(b.Add) - len(b.Remove)
	})
}

// rank returns the position of a write in the order that Cleared describes, from 0 to 3.
func (w Write) rank() int {
	switch {
	case w.Admins:
		return 3
	case len(w.Remove) == 0:
		return 0
	case len(w.Add) > 0:
		return 1
	default:
		return 2
	}
}
