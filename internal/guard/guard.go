// Package guard holds a plan against the limits and returns the part of it that may be
// written. It is pure: it is handed the memory and the time, does no I/O and logs
// nothing. A guard can only shrink a plan.
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
	Window         time.Duration // how far back changes count
	MaxRatio       float64       // share of a group's members, and of all managed memberships
	FreeRemovals   int           // this many removals are below every share
	MaxGone        int           // people gone at once
	Grace          time.Duration // how long removals that rest on a federation must be wanted
	GoneGrace      time.Duration // how long removals that rest on an email alone must be wanted
	MaxAge         time.Duration // how long after its reads began a plan is written
	Floor          int           // administrators that must remain
	Stop           bool          // a trip stops every write, not only removals
	Forgets        bool          // memory does not outlive the process, which makes one pass
}

// Input is what a plan is judged by.
type Input struct {
	Source  *source.Snapshot
	Target  *target.Snapshot
	Probes  []source.Probe  // what the federations answered in this pass
	Scoped  map[string]bool // by plan.Change.Key: removals that the rules of the last accepted pass would not make
	Limits  Limits
	Memory  memory.Memory
	Now     time.Time
	Approve string // digest whose changes the liftable guards let pass; empty: none

	// Witnesses end the grace of the removals that they explain.
	Witnesses []source.Witness

	// Early says that the pass does not come by the schedule. Passes that come one after the
	// other would each stay below a share, so the removals of Window count as if this pass
	// made them.
	Early bool

	Suspended memory.Suspension // in force at Now; zero: nothing is suspended
}

// Write is everything that the guards let through for one user group.
type Write struct {
	Group    target.Group // as it was planned on
	Admins   bool         // the built-in group of administrators
	Floor    []string     // ids of the administrators that count toward admins.floor
	Add      []plan.Change
	Remove   []plan.Change // each with its evidence
	Approved bool          // a person approved the changes by their digest: no limit counts
}

// Cleared is what the guards let through, in the order in which it is to be written:
// groups that only gain, mixed groups, groups that only lose, administrators last; the
// smallest first within each. Only Judge makes one that is not empty.
type Cleared struct {
	writes []Write
	limits Limits
}

// Writes returns the writes in their order.
func (c Cleared) Writes() []Write { return slices.Clone(c.writes) }

// Of returns what was let through of one user's changes, in the same order.
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

// Limits returns the limits that the plan was judged by.
func (c Cleared) Limits() Limits { return c.limits }

// Judged is a plan with each change's guard, and what is cleared of it.
type Judged struct {
	Plan    plan.Plan // every change names the guard that withholds it
	Trips   []report.Trip
	Digest  string // of every removal and every grant of administration that has evidence; empty if there is none
	Changes int    // how many changes the digest names
	Cleared Cleared
	Lifted  []report.Guard // the guards that the approval lifted, in the order of the table
	Granted bool           // the approval is for this plan
	fallen  []fall         // by group
	admin   []string       // ids of the groups of administrators: the built-in one, or the role
	most    bool           // the additions exceed max_additions, so that an approval names them too
}

// Withheld returns the guards that withhold something of a group, in the order of the
// table.
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

// Judge holds the plan against the guards in the order of the table. The first guard
// that withholds a change is the change's guard.
func Judge(p plan.Plan, in Input) Judged {
	j := newJudge(p, in)
	j.Granted = in.Approve != "" && in.Approve == j.Digest
	j.fixed()
	if j.Granted {
		lifted := newJudge(p, in)
		lifted.fixed()
		at := len(lifted.Trips)
		lifted.liftable()
		for _, rule := range report.Rules {
			if slices.ContainsFunc(lifted.Trips[at:], func(t report.Trip) bool { return t.Guard == rule.Guard }) {
				j.Lifted = append(j.Lifted, rule.Guard)
			}
		}
	} else {
		j.liftable()
	}
	if in.Limits.Stop {
		j.stop()
	}
	j.clear()
	return j.Judged
}

type judge struct {
	Judged
	in Input
}

func newJudge(p plan.Plan, in Input) *judge {
	j := &judge{in: in}
	j.Plan = p
	j.Plan.Groups = slices.Clone(p.Groups)
	var keys []string
	for i := range j.Plan.Groups {
		g := &j.Plan.Groups[i]
		g.Add, g.Remove = slices.Clone(g.Add), slices.Clone(g.Remove)
		if g.Feed.Admins {
			j.admin = append(j.admin, g.Feed.Group.ID)
		}
		j.fallen = append(j.fallen, j.fell(*g))
	}
	j.most = exceedsLimit(j.count(plan.Add), memory.Since(in.Memory.Added, j.since()), in.Limits.MaxAdditions)
	for _, c := range j.changes() {
		if j.names(*c) && c.Evidence.Valid() {
			keys = append(keys, c.Key()+"\n")
		}
	}
	if j.Changes = len(keys); len(keys) > 0 {
		slices.Sort(keys)
		sum := sha256.Sum256([]byte(strings.Join(keys, "")))
		j.Digest = hex.EncodeToString(sum[:8])
	}
	return j
}

// fixed are the guards that no approval lifts.
func (j *judge) fixed() {
	j.suspended()
	j.federation()
	j.confirm()
	j.missingSource()
	j.collision()
	j.views()
	j.ambiguity()
	j.floor()
}

// liftable are the guards that an approval lifts.
func (j *judge) liftable() {
	j.scope()
	j.fall()
	j.removals()
	j.gone()
	j.grants()
	j.grace()
}

// changes returns pointers to every change of the plan, group by group.
func (j *judge) changes() []*plan.Change {
	var all []*plan.Change
	for i := range j.Plan.Groups {
		all = append(all, changesOf(&j.Plan.Groups[i])...)
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

// names reports whether the digest names a change of that kind: every removal, every new
// administrator, and every addition if there are too many of them.
func (j Judged) names(c plan.Change) bool {
	return c.Action == plan.Remove || j.admins(&c) && !c.Collides || j.most
}

// admins reports whether the change is of the administrators.
func (j Judged) admins(c *plan.Change) bool { return slices.Contains(j.admin, c.Group) }

// count returns how many changes of that direction have evidence.
func (j *judge) count(a plan.Action) (n int) {
	for _, c := range j.changes() {
		if c.Action == a && c.Evidence.Valid() {
			n++
		}
	}
	return n
}

// since is the beginning of the window.
func (j *judge) since() time.Time { return j.in.Now.Add(-j.in.Limits.Window) }

func exceedsLimit(wanted, recent, limit int) bool {
	return limit > 0 && wanted > 0 && wanted+recent > limit
}

// Exceeds reports whether n is more than that share of all; a ratio of 0 is off.
func Exceeds(n, all int, ratio float64) bool {
	return ratio > 0 && float64(n) > ratio*float64(all)
}

func percent(n, all int) float64 { return 100 * float64(n) / float64(max(all, 1)) }

func (j *judge) trip(guard report.Guard, group, format string, args ...any) {
	override := ""
	if guard.Rule().Liftable && j.Digest != "" {
		override = "--approve " + j.Digest
	}
	j.Trips = append(j.Trips, report.Trip{Guard: guard, Group: group, Detail: fmt.Sprintf(format, args...), Override: override})
}

// withhold lets a guard withhold the changes that pick names and that no guard
// withholds yet. It returns how many changes pick named, withheld before or not.
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

// provedRemoval reports a removal that has evidence. Only those count against a limit:
// the others are not made whatever the limit.
func provedRemoval(c *plan.Change) bool { return isRemoval(c) && c.Evidence.Valid() }

// stop withholds every change if on_trip is stop and a guard tripped that neither only
// waits nor only reports.
func (j *judge) stop() {
	for _, t := range j.Trips {
		if rule := t.Guard.Rule(); rule.Waits || rule.Reports {
			continue
		}
		withhold(j.changes(), t.Guard, func(*plan.Change) bool { return true })
		return
	}
}

// clear collects what no guard withholds, in the order of writing.
func (j *judge) clear() {
	j.Cleared.limits = j.in.Limits
	for _, g := range j.Plan.Groups {
		w := Write{Group: g.Feed.Group, Admins: g.Feed.Admins, Floor: g.Floor, Approved: j.Granted}
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
			j.Cleared.writes = append(j.Cleared.writes, w)
		}
	}
	slices.SortStableFunc(j.Cleared.writes, func(a, b Write) int {
		if d := a.rank() - b.rank(); d != 0 {
			return d
		}
		return len(a.Add) + len(a.Remove) - len(b.Add) - len(b.Remove)
	})
}

// rank orders the writes: what only gains first, administrators last.
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
