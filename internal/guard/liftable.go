package guard

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"groupsync/internal/memory"
	"groupsync/internal/plan"
	"groupsync/internal/report"
	"groupsync/internal/source"
)

// scope withholds the removals that the plan proposes only because the configuration changed
// since the last accepted pass. They wait for an approval.
func (e *evaluation) scope() {
	for i := range e.Plan.Groups {
		g := &e.Plan.Groups[i]
		n := withhold(changesOf(g), report.Scope, func(c *plan.Change) bool { return isRemoval(c) && e.in.Scoped[c.Key()] })
		if n > 0 {
			e.trip(report.Scope, g.Feed.Group.Name, "%d removals are wanted only because groups or admins in the configuration changed after the last accepted pass: they are withheld; if the change is intended, approve them", n)
		}
	}
}

// fall says what a group has lost since its last accepted pass: a source, a federation, or too
// many of its federated members. For this guard a pass is accepted for each group alone: no
// guard withheld a change of the group or froze it, and the group had not fallen. Remember says how
// a fall is accepted. If how is empty, the group did not
// fall.
type fall struct {
	how      string
	local    bool // removals of local people are withheld too, because a source group itself is gone
	complete bool // all federated members of the last accepted pass are still there
}

// fall withholds removals from each group that fell since its last accepted pass. Probes are
// not enough for this: a probe shows that a federation answers, and not whether its answers
// lack people or groups.
func (e *evaluation) fall() {
	for i := range e.Plan.Groups {
		g, fallen := &e.Plan.Groups[i], e.fallen[i]
		if fallen.how == "" {
			continue
		}
		n := withhold(changesOf(g), report.Fall, func(c *plan.Change) bool { return provedRemoval(c) && (fallen.local || !e.local(c)) })
		if n > 0 {
			e.trip(report.Fall, g.Feed.Group.Name, "since the last accepted pass %s: %d removals are withheld; if they are correct, approve them", fallen.how, n)
		}
	}
}

// local reports whether the removal cannot come from a fault of a federation. Every account
// that could be the person's must be local. If the person is gone, two more things must be true.
// ClearML keeps at least one id of the person. And no kept id has the form of a federated id or
// was a federated account in an accepted pass.
func (e *evaluation) local(c *plan.Change) bool {
	if slices.ContainsFunc(c.Accounts, func(u source.User) bool { return u.Federation != "" }) {
		return false
	}
	if c.GoneBy == source.NotGone {
		return true
	}
	found, _ := e.in.Source.Found(c.User.ID)
	return len(found.Person.IDs) > 0 && !slices.ContainsFunc(found.Person.IDs, func(id string) bool {
		return strings.HasPrefix(id, "f:") || e.wasFederated(id)
	})
}

// wasFederated reports whether the account was federated in the last accepted pass of some
// group.
func (e *evaluation) wasFederated(account string) bool {
	for _, accepted := range e.in.Memory.Groups {
		if slices.Contains(accepted.Federated, account) {
			return true
		}
	}
	return false
}

// fell compares a group with its last accepted pass and returns how it fell. Without an
// accepted pass, or if the group is frozen, the group did not fall.
func (e *evaluation) fell(g plan.Group) fall {
	accepted, known := e.in.Memory.Groups[g.Feed.Group.ID]
	if !known || g.Frozen() {
		return fall{}
	}
	before, lost := len(accepted.Federated), 0
	for _, id := range accepted.Federated {
		if _, still := slices.BinarySearch(g.Federated, id); !still {
			lost++
		}
	}
	for _, id := range slices.Sorted(maps.Keys(accepted.Sources)) {
		if _, there := e.in.Source.Catalog().Group(id); !there {
			return fall{how: fmt.Sprintf("the Keycloak group %s (id %s) is gone or has a new id", accepted.Sources[id], id), local: true, complete: lost == 0}
		}
	}
	for _, id := range accepted.Federations {
		if _, there := e.in.Source.Catalog().Federation(id); !there {
			return fall{how: fmt.Sprintf("the federation %q (id %s) is gone or has a new id", e.in.Memory.Federations[id], id), complete: lost == 0}
		}
	}
	limits := e.in.Limits
	switch {
	case accepted.Forgotten > 0:
		return fall{how: fmt.Sprintf("the group may have lost federated members (the guards' memory had no space for the ids of its %d federated members)", accepted.Forgotten)}
	case before > 0 && len(g.Federated) == 0:
		return fall{how: fmt.Sprintf("its federated members fell from %d to none", before)}
	case lost > limits.FreeRemovals && Exceeds(lost, before, limits.MaxRatio):
		return fall{how: fmt.Sprintf("it lost %d of %d federated members (limits: guards.free_removals %d, guards.max_removal_ratio %g)", lost, before, limits.FreeRemovals, limits.MaxRatio)}
	}
	return fall{}
}

// removals withholds removals if there are too many of them. There are three limits: for the
// share of one group's members, for the number of removals within the window, and for the
// share of all memberships.
func (e *evaluation) removals() {
	limits := e.in.Limits
	for i := range e.Plan.Groups {
		g := &e.Plan.Groups[i]
		n, members := count(changesOf(g), provedRemoval), len(g.Feed.Group.Members)
		if recent := e.recent(*g); n > 0 {
			n, members = n+recent, members+recent
		}
		if n > limits.FreeRemovals && Exceeds(n, members, limits.MaxRatio) {
			withhold(changesOf(g), report.Removals, provedRemoval)
			e.trip(report.Removals, g.Feed.Group.Name, "%d of its %d members would be removed (%.0f %%), guards.max_removal_ratio is %g and guards.free_removals %d: the group's removals are withheld; if they are correct, approve them", n, members, percent(n, members), limits.MaxRatio, limits.FreeRemovals)
		}
	}
	wanted, recent := e.count(plan.Remove), memory.Since(e.in.Memory.Removed, e.since())
	if exceedsLimit(wanted, recent, limits.MaxRemovals) {
		withhold(e.changes(), report.Removals, isRemoval)
		e.trip(report.Removals, "", "%d removals are wanted and %d were made within %s, guards.max_removals is %d: all removals are withheld; if they are correct, approve them", wanted, recent, limits.Window, limits.MaxRemovals)
	}
	if wanted > limits.FreeRemovals && Exceeds(wanted, e.Plan.Managed, limits.MaxRatio) {
		withhold(e.changes(), report.Removals, isRemoval)
		e.trip(report.Removals, "", "%d of all %d managed memberships would be removed (%.0f %%), guards.max_removal_ratio is %g and guards.free_removals %d: all removals are withheld; if they are correct, approve them", wanted, e.Plan.Managed, percent(wanted, e.Plan.Managed), limits.MaxRatio, limits.FreeRemovals)
	}
}

// recent returns how many people earlier passes removed from the group within the window. It
// does not count people who are members again. In a scheduled pass the limit for the
// share of one group counts only that pass's own removals, so recent returns 0.
func (e *evaluation) recent(g plan.Group) int {
	if !e.in.Early {
		return 0
	}
	people := make(map[string]bool)
	for _, i := range e.in.Memory.Removed {
		if i.Group == g.Feed.Group.ID && !i.At.Before(e.since()) {
			people[i.User] = true
		}
	}
	for _, m := range g.Feed.Group.Members {
		delete(people, m.ID)
	}
	return len(people)
}

func count(changes []*plan.Change, is func(*plan.Change) bool) (n int) {
	for _, c := range changes {
		if is(c) {
			n++
		}
	}
	return n
}

// gone withholds all removals if too many people are gone from Keycloak at once. The likely
// cause is that the realm lost these people.
func (e *evaluation) gone() {
	people := make(map[string]bool)
	for _, c := range e.changes() {
		if provedRemoval(c) && c.GoneBy != source.NotGone {
			people[c.User.ID] = true
		}
	}
	limit := e.in.Limits.MaxGone
	if limit == 0 || len(people) == 0 {
		return
	}
	if len(people) > limit {
		withhold(e.changes(), report.GoneLimit, isRemoval)
		e.trip(report.GoneLimit, "", "%d people are gone from Keycloak at once, guards.max_gone is %d: all removals are withheld; if these people were deleted on purpose, approve the removals", len(people), limit)
		return
	}
	// The memory does not keep why a person was removed, so every removed person counts as gone.
	if recent := memory.PeopleSince(e.in.Memory.Removed, e.since()); e.in.Early && len(people)+recent > limit {
		withhold(e.changes(), report.GoneLimit, isRemoval)
		e.trip(report.GoneLimit, "", "%d people are gone from Keycloak, and %d people were removed within %s, guards.max_gone is %d: this pass runs outside the schedule, so its removals are withheld until the next scheduled pass; if these people were deleted on purpose, approve the removals", len(people), recent, e.in.Limits.Window, limit)
	}
}

// grants withholds all new administrators if there are too many within the window
// (max_admin_grants), and all additions if there are too many (max_additions). So many are
// probably a mistake or an attack. groupsync cannot tell which of them are right, so it makes
// none of them.
func (e *evaluation) grants() {
	limits := e.in.Limits
	newAdmin := func(c *plan.Change) bool { return isAddition(c) && e.admins(c) && c.Evidence.Valid() && !c.Collides }
	people := make(map[string]bool) // a person who gains both the group and the role counts once
	for _, c := range e.changes() {
		if newAdmin(c) {
			people[c.User.ID] = true
		}
	}
	wanted, recent := len(people), memory.PeopleSince(e.in.Memory.Granted, e.since())
	if exceedsLimit(wanted, recent, limits.MaxAdminGrants) {
		withhold(e.changes(), report.Grants, newAdmin)
		e.trip(report.Grants, "", "%d new administrators are wanted and %d were made within %s, guards.max_admin_grants is %d: all new administrators are withheld; if they are correct, approve them", wanted, recent, limits.Window, limits.MaxAdminGrants)
	}
	wanted, recent = e.count(plan.Add), memory.Since(e.in.Memory.Added, e.since())
	if exceedsLimit(wanted, recent, limits.MaxAdditions) {
		withhold(e.changes(), report.Grants, isAddition)
		e.trip(report.Grants, "", "%d additions are wanted and %d were made within %s, guards.max_additions is %d: all additions are withheld; if they are correct, approve them", wanted, recent, limits.Window, limits.MaxAdditions)
	}
}

// grace withholds some removals until every pass has proposed them for long enough. These are
// the removals whose evidence depends on a federation, or is an email alone.
func (e *evaluation) grace() {
	e.waiting(false, "on a federation", "guards.federation_grace")
	e.waiting(true, "on an email alone, because ClearML keeps no account id of the person,", "guards.gone_grace")
}

// GraceOf returns how long every pass must want a removal with that evidence before it is
// written. It returns 0 if the removal need not wait.
func (l Limits) GraceOf(e source.Evidence) time.Duration {
	var grace time.Duration
	if e.Waits() {
		grace = l.Grace
	}
	if e.ByEmail() {
		grace = max(grace, l.GoneGrace)
	}
	return grace
}

// Due reports whether a removal still waits for its grace at in.Now. due is the time from
// which a pass writes the removal, if every pass until then proposes it. In two cases due is
// zero. If the removal needs no grace, or has no evidence, waits is false. If no earlier pass
// proposed the removal, the grace begins now, and waits is true.
func Due(c plan.Change, in Input) (due time.Time, waits bool) {
	grace := in.Limits.GraceOf(c.Evidence)
	if !provedRemoval(&c) || grace == 0 || in.witnessed(c) {
		return time.Time{}, false
	}
	since, known := in.Memory.Wanted[clock(c)]
	if !known {
		return time.Time{}, true
	}
	due = since.Add(grace)
	return due, in.Now.Before(due)
}

// witnessed reports whether admin events explain a removal, so that an outage of a federation
// cannot have caused it. Every account that could be the person's needs such an event. An
// event about a group explains a removal only if that group is the user group's only source.
// No event explains a removal whose evidence is an email alone: the event names an account,
// and ClearML does not say that the account is the person's.
func (in Input) witnessed(c plan.Change) bool {
	if c.Evidence.ByEmail() {
		return false
	}
	var accounts []string
	for _, u := range c.Accounts {
		accounts = append(accounts, u.ID)
	}
	if len(accounts) == 0 {
		found, _ := in.Source.Found(c.User.ID)
		accounts = found.Person.IDs
	}
	explains := func(w source.Witness) bool {
		switch c.Why {
		case source.NotMember:
			return len(c.Sources) == 1 && c.Sources[0].ID == w.Group
		case source.Disabled:
			return w.Group == "" && !w.Deleted
		case source.Gone:
			return w.Deleted
		}
		return false
	}
	for _, id := range accounts {
		if !slices.ContainsFunc(in.Witnesses, func(w source.Witness) bool { return w.Account == id && explains(w) }) {
			return false
		}
	}
	return len(accounts) > 0
}

// WantedSince returns the time since which every pass has proposed a removal with evidence. It
// returns false if the memory has no such pass. Time in which passes failed does not count.
func WantedSince(c plan.Change, in Input) (time.Time, bool) {
	if c.Grant() || !c.Evidence.Valid() {
		return time.Time{}, false
	}
	since, known := in.Memory.Wanted[clock(c)]
	return since, known
}

func (e *evaluation) waiting(byEmail bool, dependsOn, key string) {
	limits := e.in.Limits
	fresh, last, longest := false, time.Time{}, time.Duration(0)
	n := withhold(e.changes(), report.Grace, func(c *plan.Change) bool {
		due, waits := Due(*c, e.in)
		if !waits || c.Evidence.ByEmail() != byEmail {
			return false
		}
		fresh = fresh || due.IsZero()
		if due.After(last) {
			last = due
		}
		longest = max(longest, limits.GraceOf(c.Evidence))
		return true
	})
	if n == 0 {
		return
	}
	// The text has no time that differs between two passes over the same state, so that their
	// reports are equal.
	advice := "the first pass after that makes them"
	switch {
	case limits.Forgets:
		advice = "a single pass cannot wait: set state_dir, so that later passes remember the time, or set " + key + ": 0s"
	case !fresh:
		advice = "the last of them is due at " + last.UTC().Format(time.RFC3339)
	}
	e.trip(report.Grace, "", "%d removals depend %s and wait until every pass has wanted them for %s; %s", n, dependsOn, longest, advice)
}
