package report

import "slices"

// Guard is the name of a guard, as in the label `guard` of the metrics and in withheld
// changes.
type Guard string

// The guards. Rules describes each guard.
const (
	Suspended     Guard = "suspended"
	Federation    Guard = "federation"
	Confirm       Guard = "confirm"
	MissingSource Guard = "missing_source"
	Collision     Guard = "collision"
	Views         Guard = "views"
	Ambiguity     Guard = "ambiguous"
	Admins        Guard = "admins"
	Scope         Guard = "scope"
	Fall          Guard = "fall"
	Removals      Guard = "removals"
	GoneLimit     Guard = "gone"
	Grants        Guard = "grants"
	Grace         Guard = "grace"
	Age           Guard = "age"
	Concurrent    Guard = "concurrent"
	Canary        Guard = "canary"
)

// Rule describes one guard: a row of the table Rules. Exit codes, counters, on_trip, the flag
// --drift-ok, Kubernetes Events and the documentation are made from the row.
type Rule struct {
	Guard     Guard
	Withholds string // what the guard withholds, for the documentation
	Liftable  bool   // an approval lifts the guard
	Drift     bool   // a trip means only that drift is left; false: a trip means that Keycloak, ClearML or the configuration needs a repair
	Waits     bool   // the guard stops withholding by itself at a known time, so its trip does not count for on_trip or for the result "guarded"
	Event     bool   // groupsync makes a Kubernetes Event of a trip
	Reports   bool   // the guard withholds nothing, and its trips only report
	Informs   bool   // a trip may only inform, such as that a pass planned a group again because its members had changed; the metrics show the guard as active only if it withholds a change
	Broken    bool   // a trip means that the pass failed
}

// Rules is the table of guards. If several guards withhold one change, the report names the guard
// that comes first in this table.
var Rules = []Rule{
	{Guard: Suspended, Withholds: "every change, or every removal, while a person has suspended writing (`groupsync suspend`)", Drift: true, Waits: true},
	{Guard: Federation, Withholds: "changes of people whose federation (LDAP) is away, although Keycloak answers 200", Event: true},
	{Guard: Confirm, Withholds: "a change that the person's own side does not confirm", Drift: true, Event: true},
	{Guard: MissingSource, Withholds: "every change of a user group that a missing or unreadable group or role feeds", Event: true},
	{Guard: Collision, Withholds: "new administrators through a group name that several Keycloak groups have", Event: true},
	{Guard: Views, Withholds: "every change of a user group, if ClearML's list of its members differs from the groups that ClearML shows for each user", Event: true},
	{Guard: Ambiguity, Withholds: "nothing; it reports an administrator who stays because several accounts could be this person", Reports: true, Drift: true, Event: true},
	{Guard: Admins, Withholds: "removals that would leave fewer than `admins.floor` administrators", Drift: true, Event: true},
	{Guard: Scope, Withholds: "removals that are wanted only because the configuration changed after the last accepted pass", Liftable: true, Drift: true, Event: true},
	{Guard: Fall, Withholds: "removals from a user group, if since the last accepted pass it lost federated members, or one of its Keycloak groups or federations is gone or has a new id", Liftable: true, Drift: true, Event: true},
	{Guard: Removals, Withholds: "all removals, if they are more than `max_removals` in a pass or `window`, or more than `max_removal_ratio` of all memberships; the removals from one user group, if they are more than `max_removal_ratio` of its members", Liftable: true, Drift: true, Event: true},
	{Guard: GoneLimit, Withholds: "all removals, while more than `max_gone` people are gone at once", Liftable: true, Drift: true, Event: true},
	{Guard: Grants, Withholds: "all new administrators, if they are more than `max_admin_grants`; all additions, if they are more than `max_additions`; both limits are for a pass or `window`", Liftable: true, Drift: true, Event: true},
	{Guard: Grace, Withholds: "a removal whose evidence depends on a federation, or only on a look-up by email, until every pass has wanted the removal for the whole grace", Liftable: true, Drift: true, Waits: true},
	{Guard: Age, Withholds: "changes that are not written within `max_age` after the reading", Drift: true, Event: true},
	{Guard: Concurrent, Withholds: "changes that became uncertain because the group changed between plan and write", Drift: true, Informs: true},
	{Guard: Canary, Withholds: "every later write, if a canary did more or less than was sent", Event: true, Broken: true},
}

// Guards lists the names of the guards in the order of Rules. The metrics start a counter at zero
// for each name.
var Guards = func() []Guard {
	names := make([]Guard, len(Rules))
	for i, r := range Rules {
		names[i] = r.Guard
	}
	return names
}()

// Rule returns the guard's row of Rules. For an unknown name it returns a Rule with only the
// name.
func (g Guard) Rule() Rule {
	i := slices.IndexFunc(Rules, func(r Rule) bool { return r.Guard == g })
	if i < 0 {
		return Rule{Guard: g}
	}
	return Rules[i]
}
