package reconcile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"groupsync/internal/match"
	"groupsync/internal/memory"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// Limits are the configured guards. A limit of 0 is off.
type Limits struct {
	MaxRemovals  int           // in a pass, and within Window
	Window       time.Duration // how far back removals count
	MaxRatio     float64       // of a group's members, and of all managed memberships
	FreeRemovals int           // a group may always lose so many
	MaxGone      int           // people gone at once
	Grace        time.Duration // how long removals that rest on a federation must be wanted
	Floor        int           // administrators that must remain
	Stop         bool          // a trip stops every write, not only removals
	Forgets      bool          // memory does not outlive the process, which makes one pass
}

// Removal is somebody who leaves a user group, with the evidence for it. There
// is none without: only the guards make it.
type Removal struct {
	user     target.User
	evidence source.Evidence
}

// Write is everything that the guards let through for one user group.
type Write struct {
	group    target.Group // as it was planned on
	admins   bool
	floor    []string // administrators of whom the floor is counted
	add      []Addition
	remove   []Removal
	approved bool // by its digest: no limit counts
}

// Cleared is what the guards returned, in the order in which it is to be
// written: groups that only gain, mixed, groups that only lose, administrators
// last; the smallest first within each. Apply takes nothing else.
type Cleared struct {
	writes []Write
	limits Limits
}

// Judged is a plan with each change's guard, and what is cleared of it.
type Judged struct {
	Groups    []JudgedGroup // in the plan's order
	Trips     []report.Trip
	Digest    string // of every removal that has evidence, withheld ones included; empty where there is none
	Cleared   Cleared
	lifted    bool           // the digest was approved
	wouldTrip []report.Guard // the guards that the approval lifted
	pending   []source.User  // the plan's
}

// JudgedGroup is one group's changes with the guard that withholds each.
type JudgedGroup struct {
	Plan     GroupPlan
	AddGuard report.Guard      // withholds every addition; empty: none is withheld
	Evidence []source.Evidence // by Plan.Remove; invalid where the second look denied it
	Fallen   string            // how it fell since its last accepted pass, removals or not; empty: it did not
	Guards   []report.Guard    // by Plan.Remove; empty: cleared
}

// withheld returns the guards that withhold something of the group, sorted in
// the guards' order.
func (g JudgedGroup) withheld() []report.Guard {
	var found []report.Guard
	for _, guard := range report.Guards {
		missing := guard == report.MissingSource && len(g.Plan.Missing) > 0
		if missing || guard == g.AddGuard && len(g.Plan.Add) > 0 || slices.Contains(g.Guards, guard) {
			found = append(found, guard)
		}
	}
	return found
}

// Claims returns what the second look must bear out, group by group.
func (p Plan) Claims() []source.Claim {
	var claims []source.Claim
	for _, g := range p.Groups {
		for _, c := range g.Remove {
			claims = append(claims, c.Claim)
		}
	}
	return claims
}

// Judge holds the plan against the guards. The confirmation answers
// plan.Claims, verdict by verdict. It can only shrink the plan. approve is the
// digest whose removals the limits are lifted for, or empty; one that is not
// the plan's lifts nothing.
func Judge(plan Plan, src *source.Snapshot, tgt *target.Snapshot, confirmation source.Confirmation, limits Limits, mem memory.Memory, now time.Time, approve string) Judged {
	j := &judge{plan: plan, src: src, tgt: tgt, confirmation: confirmation, limits: limits, mem: mem, now: now}
	j.pending = plan.Pending
	j.prepare()
	j.lifted = approve != "" && approve == j.Digest
	j.federation()
	j.confirm()
	j.missingSource()
	j.views()
	j.admins()
	if j.lifted {
		trial := Judge(plan, src, tgt, confirmation, limits, mem, now, "")
		for _, g := range report.Guards {
			if g.Rule().Liftable && slices.ContainsFunc(trial.Trips, func(t report.Trip) bool { return t.Guard == g }) {
				j.wouldTrip = append(j.wouldTrip, g)
			}
		}
	}
	if !j.lifted && j.Digest != "" { // without evidence all is withheld by now, and no approval would help
		j.fall()
		j.removals()
		j.gone()
		j.grace()
	}
	if limits.Stop {
		j.stop()
	}
	j.clear()
	return j.Judged
}

type judge struct {
	Judged
	plan         Plan
	src          *source.Snapshot
	tgt          *target.Snapshot
	confirmation source.Confirmation
	limits       Limits
	mem          memory.Memory
	now          time.Time
	verdicts     [][]source.Verdict // by group, by removal
	wanted       int                // removals the plan wants, confirmed or not
}

// prepare deals the verdicts out and computes the digest.
func (j *judge) prepare() {
	var triples []string
	rest := j.confirmation.Verdicts
	for _, g := range j.plan.Groups {
		n := len(g.Remove)
		verdicts := make([]source.Verdict, n)
		rest = rest[copy(verdicts, rest):] // a verdict that is not there is no evidence
		jg := JudgedGroup{Plan: g, Guards: make([]report.Guard, n), Evidence: make([]source.Evidence, n)}
		for i, v := range verdicts {
			jg.Evidence[i] = v.Evidence
			if v.Evidence.Valid() {
				triples = append(triples, g.Feed.Group.ID+"\x00"+g.Remove[i].User.ID+"\x00remove\n")
			}
		}
		if accepted, known := j.mem.Groups[g.Feed.Group.ID]; known && len(g.Missing) == 0 {
			jg.Fallen = j.fallen(g, accepted)
		}
		j.wanted += n
		j.verdicts = append(j.verdicts, verdicts)
		j.Groups = append(j.Groups, jg)
	}
	if len(triples) > 0 {
		slices.Sort(triples)
		sum := sha256.Sum256([]byte(strings.Join(triples, "")))
		j.Digest = hex.EncodeToString(sum[:8])
	}
}

func (j *judge) trip(guard report.Guard, group, override, format string, args ...any) {
	j.Trips = append(j.Trips, report.Trip{Guard: guard, Group: group, Detail: fmt.Sprintf(format, args...), Override: override})
}

func (j *judge) approval() string { return "--approve " + j.Digest }

// withhold lets a guard withhold those removals of a group that no guard has
// withheld yet and that pick names; nil picks all. It returns how many there
// were of those picked, withheld before or not.
func (j *judge) withhold(group int, guard report.Guard, pick func(i int) bool) (n int) {
	g := &j.Groups[group]
	for i := range g.Guards {
		if pick != nil && !pick(i) {
			continue
		}
		n++
		if g.Guards[i] == "" {
			g.Guards[i] = guard
		}
	}
	return n
}

func (j *judge) withholdAll(guard report.Guard) {
	for i := range j.Groups {
		j.withhold(i, guard, nil)
	}
}

// federation: while a probe is not up, nothing is removed.
func (j *judge) federation() {
	away := j.confirmation.Away()
	if len(away) == 0 || j.wanted == 0 {
		return
	}
	j.withholdAll(report.Federation)
	for _, p := range away {
		j.trip(report.Federation, "", "", "the federation %q is not up (%s): all %d removals are withheld; see that its server answers Keycloak, or that the component is switched on", p.Federation.Name, p.Detail, j.wanted)
	}
}

// confirm: what the second look denied is withheld.
func (j *judge) confirm() {
	if len(j.confirmation.Away()) > 0 {
		return
	}
	for g, verdicts := range j.verdicts {
		denied := func(i int) bool { return !verdicts[i].Evidence.Valid() }
		if n := j.withhold(g, report.Confirm, denied); n > 0 {
			first := slices.IndexFunc(verdicts, func(v source.Verdict) bool { return !v.Evidence.Valid() })
			why := verdicts[first].Doubt
			if why == "" {
				why = "no second look was had"
			}
			j.trip(report.Confirm, j.name(g), "", "the second look does not bear out %d of %d removals (for %s: %s); the next pass looks again", n, len(verdicts), j.plan.Groups[g].Remove[first].User.Name, why)
		}
	}
}

func (j *judge) name(group int) string { return j.plan.Groups[group].Feed.Group.Name }

// missingSource: what a missing group or role feeds is frozen by the plan.
func (j *judge) missingSource() {
	for i, g := range j.plan.Groups {
		for _, m := range g.Missing {
			j.trip(report.MissingSource, j.name(i), "", "the Keycloak %s %q, named in %s, does not exist: the user group is frozen; create it or correct the configuration%s", m.Kind, m.Name, m.Key, near(m))
		}
	}
	for _, m := range j.plan.Missing {
		if m.Kind == "user group" {
			j.trip(report.MissingSource, "", "", "ClearML shows no built-in, assignable user group %q once, though %s names administrators: they are not synchronized; look at the groups in ClearML", m.Name, m.Key)
		} else {
			j.trip(report.MissingSource, "", "", "the Keycloak %s %q, named in %s, does not exist: nothing can come of it; create it or correct the configuration%s", m.Kind, m.Name, m.Key, near(m))
		}
	}
}

func near(m match.Missing) string {
	if len(m.Near) == 0 {
		return ""
	}
	return fmt.Sprintf(`; did you mean "%s"?`, strings.Join(m.Near, `" or "`))
}

// views: a write replaces the whole list, so both views of it must agree.
func (j *judge) views() {
	for i, g := range j.plan.Groups {
		differ := j.tgt.Disagreement(g.Feed.Group.ID)
		if differ == "" || len(g.Add)+len(g.Remove) == 0 {
			continue
		}
		j.Groups[i].AddGuard = report.Views
		j.withhold(i, report.Views, nil)
		j.trip(report.Views, j.name(i), "", "ClearML's two views of this group disagree after a second read (%s): it is not written; look at the group in ClearML", differ)
	}
}

// admins: some administrators must remain who can still sign in.
func (j *judge) admins() {
	for i, g := range j.plan.Groups {
		if !g.Feed.Admins || len(g.Remove) == 0 || len(g.Floor) >= j.limits.Floor {
			continue
		}
		j.withhold(i, report.Admins, nil)
		j.trip(report.Admins, j.name(i), "", "%d administrators would remain, admins.floor is %d: the removals of administrators are withheld; whoever is only now added counts from the next pass on; make somebody an administrator in Keycloak first", len(g.Floor), j.limits.Floor)
	}
}

// fall: what no probe sees shows against the last accepted pass.
func (j *judge) fall() {
	for i, g := range j.plan.Groups {
		if why := j.Groups[i].Fallen; why != "" && len(g.Remove) > 0 {
			n := j.withhold(i, report.Fall, nil)
			j.trip(report.Fall, j.name(i), j.approval(), "since the last accepted pass %s: %d removals are withheld; if that is meant, approve them", why, n)
		}
	}
}

func (j *judge) fallen(g GroupPlan, accepted memory.Accepted) string {
	for _, id := range slices.Sorted(maps.Keys(accepted.Sources)) {
		if _, there := j.src.Catalog().Group(id); !there {
			return fmt.Sprintf("the Keycloak group %s (id %s) is gone or has a new id", accepted.Sources[id], id)
		}
	}
	for _, id := range accepted.Federations {
		if !slices.ContainsFunc(j.src.Federations(), func(f source.Federation) bool { return f.ID == id }) {
			return fmt.Sprintf("the federation %q (id %s) is gone or has a new id", j.mem.Federations[id], id)
		}
	}
	before, lost := len(accepted.Federated), 0
	for _, id := range accepted.Federated {
		if _, still := slices.BinarySearch(g.Federated, id); !still {
			lost++
		}
	}
	switch {
	case before > 0 && len(g.Federated) == 0:
		return fmt.Sprintf("its federated members fell from %d to none", before)
	case lost > j.limits.FreeRemovals && exceeds(lost, before, j.limits.MaxRatio):
		return fmt.Sprintf("it lost %d of %d federated members (limits: guards.free_removals %d, guards.max_removal_ratio %g)", lost, before, j.limits.FreeRemovals, j.limits.MaxRatio)
	}
	return ""
}

// exceeds reports whether n is more than that share of all; a ratio of 0 is off.
func exceeds(n, all int, ratio float64) bool {
	return ratio > 0 && float64(n) > ratio*float64(all)
}

// removals: too many in the pass, in the window, of a group or of everything.
func (j *judge) removals() {
	for i, g := range j.plan.Groups {
		n, members := len(g.Remove), len(g.Feed.Group.Members)
		if n > j.limits.FreeRemovals && exceeds(n, members, j.limits.MaxRatio) {
			j.withhold(i, report.Removals, nil)
			j.trip(report.Removals, j.name(i), j.approval(), "%d of its %d members would be removed (%.0f %%), guards.max_removal_ratio is %g and guards.free_removals %d: the group's removals are withheld; if that is meant, approve them", n, members, percent(n, members), j.limits.MaxRatio, j.limits.FreeRemovals)
		}
	}
	recent := j.mem.RemovedSince(j.now.Add(-j.limits.Window))
	if limit := j.limits.MaxRemovals; limit > 0 && j.wanted+recent > limit {
		j.withholdAll(report.Removals)
		j.trip(report.Removals, "", j.approval(), "%d removals are wanted and %d were made within %s, guards.max_removals is %d: all removals are withheld; if they are meant, approve them", j.wanted, recent, j.limits.Window, limit)
	}
	if exceeds(j.wanted, j.plan.Managed, j.limits.MaxRatio) {
		j.withholdAll(report.Removals)
		j.trip(report.Removals, "", j.approval(), "%d of all %d managed memberships would be removed (%.0f %%), guards.max_removal_ratio is %g: all removals are withheld; if they are meant, approve them", j.wanted, j.plan.Managed, percent(j.wanted, j.plan.Managed), j.limits.MaxRatio)
	}
}

func percent(n, all int) float64 { return 100 * float64(n) / float64(max(all, 1)) }

// gone: many people gone at once are more likely a realm that lost them.
func (j *judge) gone() {
	people := make(map[string]bool)
	for _, g := range j.plan.Groups {
		for _, c := range g.Remove {
			if c.Claim.Why == source.Gone {
				people[c.User.ID] = true
			}
		}
	}
	if limit := j.limits.MaxGone; limit > 0 && len(people) > limit {
		j.withholdAll(report.GoneLimit)
		j.trip(report.GoneLimit, "", j.approval(), "%d people are gone from Keycloak at once, guards.max_gone is %d: all removals are withheld; if they were deleted on purpose, approve them", len(people), limit)
	}
}

// grace: what rests on a federation waits until every pass has wanted it long
// enough.
func (j *judge) grace() {
	waiting, fresh, last := 0, false, time.Time{}
	for i, g := range j.Groups {
		waits := func(r int) bool {
			if !g.Evidence[r].Waits() || j.limits.Grace == 0 {
				return false
			}
			since, known := j.mem.Wanted[memory.Key(g.Plan.Feed.Group.ID, g.Plan.Remove[r].User.ID)]
			if !known {
				fresh = true
				return true
			}
			due := since.Add(j.limits.Grace)
			if !j.now.Before(due) {
				return false
			}
			if due.After(last) {
				last = due
			}
			return true
		}
		waiting += j.withhold(i, report.Grace, waits)
	}
	if waiting == 0 {
		return
	}
	// The text holds no time that differs between two looks at one state.
	advice := "the first pass after that removes them"
	switch {
	case j.limits.Forgets:
		advice = "a single pass cannot wait: set state_dir so that passes remember, or guards.federation_grace: 0s"
	case !fresh:
		advice = "the last of them is due at " + last.UTC().Format(time.RFC3339)
	}
	j.trip(report.Grace, "", j.approval(), "%d removals rest on a federation and wait until every pass has wanted them for %s; %s", waiting, j.limits.Grace, advice)
}

// stop: with on_trip: stop, a trip of any guard but grace withholds every change.
func (j *judge) stop() {
	for _, t := range j.Trips {
		if t.Guard == report.Grace {
			continue
		}
		j.withholdAll(t.Guard)
		for i := range j.Groups {
			if j.Groups[i].AddGuard == "" {
				j.Groups[i].AddGuard = t.Guard
			}
		}
		return
	}
}

// clear collects what no guard withholds, in the order of writing.
func (j *judge) clear() {
	j.Cleared.limits = j.limits
	for _, g := range j.Groups {
		w := Write{group: g.Plan.Feed.Group, admins: g.Plan.Feed.Admins, floor: g.Plan.Floor, approved: j.lifted}
		if g.AddGuard == "" {
			w.add = g.Plan.Add
		}
		for i, c := range g.Plan.Remove {
			if g.Guards[i] == "" && g.Evidence[i].Valid() {
				w.remove = append(w.remove, Removal{user: c.User, evidence: g.Evidence[i]})
			}
		}
		if len(w.add)+len(w.remove) > 0 {
			j.Cleared.writes = append(j.Cleared.writes, w)
		}
	}
	slices.SortStableFunc(j.Cleared.writes, func(a, b Write) int {
		if d := a.rank() - b.rank(); d != 0 {
			return d
		}
		return len(a.add) + len(a.remove) - len(b.add) - len(b.remove)
	})
}

// removals returns how many removals were cleared.
func (c Cleared) removals() (n int) {
	for _, w := range c.writes {
		n += len(w.remove)
	}
	return n
}

// rank orders the writes: what only gains first, administrators last.
func (w Write) rank() int {
	switch {
	case w.admins:
		return 3
	case len(w.remove) == 0:
		return 0
	case len(w.add) > 0:
		return 1
	default:
		return 2
	}
}
