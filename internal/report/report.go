// Package report is what one pass found and did, as a value. The renderers
// text and json, the metrics and the exit code all derive from it; docs/json.md
// describes its JSON form, which is kept stable.
package report

import (
	"slices"
	"time"
)

// Result is the outcome of a pass in one word.
type Result string

// The results a pass can have.
const (
	InSync  Result = "in_sync" // nothing differs
	Drift   Result = "drift"   // differences are left: a dry run, a wait, a write that failed
	Applied Result = "applied" // every difference was written and read back
	Guarded Result = "guarded" // a guard other than grace withheld something
	Error   Result = "error"   // the pass ended early
)

// Results lists every result, for metrics that start at zero.
var Results = []Result{InSync, Drift, Applied, Guarded, Error}

// Outcome says what became of one planned change.
type Outcome string

// The outcomes of a change.
const (
	Planned  Outcome = "planned"
	Done     Outcome = "applied"
	Failed   Outcome = "failed"
	Withheld Outcome = "withheld" // then Guard says by which
)

// Guard names a guard: the label of the metrics and of withheld changes.
type Guard string

// The guards, in the order in which the first that withholds a change is named.
const (
	Federation    Guard = "federation"     // a federation does not answer
	Confirm       Guard = "confirm"        // the second look disagrees
	MissingSource Guard = "missing_source" // a configured group or role does not exist
	Views         Guard = "views"          // ClearML's two views of a group disagree
	Admins        Guard = "admins"         // too few administrators would remain
	Fall          Guard = "fall"           // a group lost its federated members since the last accepted pass
	Removals      Guard = "removals"       // too many removals
	GoneLimit     Guard = "gone"           // too many people gone at once
	Grace         Guard = "grace"          // waits until later passes want it too
	Concurrent    Guard = "concurrent"     // the group changed between plan and write
	Age           Guard = "age"            // the plan became too old before it was written
	Canary        Guard = "canary"         // the first write did not do exactly what was sent
)

// Guards lists every guard, for metrics that start at zero.
var Guards = []Guard{Federation, Confirm, MissingSource, Views, Admins, Fall, Removals, GoneLimit, Grace, Concurrent, Age, Canary}

// Counts is the size of one side as it was read, disabled people included.
type Counts struct {
	Groups      int `json:"groups"`
	Users       int `json:"users"`
	Memberships int `json:"memberships"`
}

// Change is one membership to be added or removed.
type Change struct {
	ID       string  `json:"id"` // of the ClearML user
	Name     string  `json:"name"`
	Email    string  `json:"email"`
	Why      string  `json:"why"`
	Evidence string  `json:"evidence,omitempty"` // removals: what the second look found
	Outcome  Outcome `json:"outcome"`
	Guard    Guard   `json:"guard,omitempty"` // where Outcome is withheld
}

// Pending is a member by Keycloak who has no ClearML account yet.
type Pending struct {
	Username string `json:"username"`
	Email    string `json:"email"`
}

// Kept is a ClearML member who is in none of the group's sources and stays.
type Kept struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Group is one user group that Keycloak groups, or the admin role, feed.
type Group struct {
	Name     string    `json:"name"`
	ID       string    `json:"id"`
	From     []string  `json:"from"` // paths of Keycloak groups, "role NAME" for the admin role
	Add      []Change  `json:"add"`
	Remove   []Change  `json:"remove"`
	Pending  []Pending `json:"pending"`
	Kept     []Kept    `json:"kept"`
	Withheld []Guard   `json:"withheld"` // the guards that withheld something of this group
}

// Drift returns how many additions and removals are left after the pass.
func (g Group) Drift() (add, remove int) {
	return left(g.Add), left(g.Remove)
}

func left(changes []Change) (n int) {
	for _, c := range changes {
		if c.Outcome != Done {
			n++
		}
	}
	return n
}

// State returns in_sync, drift or withheld.
func (g Group) State() string {
	add, remove := g.Drift()
	switch {
	case len(g.Withheld) > 0:
		return "withheld"
	case add+remove > 0:
		return "drift"
	default:
		return "in_sync"
	}
}

// Skip is a group of either side that is left alone, or a remark about one or
// about a person.
type Skip struct {
	Name string `json:"name"`
	Side string `json:"side"` // keycloak or clearml
	Why  string `json:"why"`
}

// SkipStates are the values of Skip.Why that are states of groups; any other
// value is a remark and counts nowhere.
var SkipStates = []string{"no_target", "no_source", "builtin", "not_assignable", "duplicate", "excluded"}

// Person is somebody who is not plainly matched.
type Person struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Side  string `json:"side"`
	State string `json:"state"`
}

// UserStates are the states that a person can be in.
var UserStates = []string{"matched", "pending", "local", "other_provider", "unknown", "service_account", "protected", "unresolved", "ambiguous", "renamed", "gone", "gone_kept", "self"}

// Trip is a guard that withheld something.
type Trip struct {
	Guard    Guard  `json:"guard"`
	Group    string `json:"group"`    // empty: not about one group
	Detail   string `json:"detail"`   // number, limit and what to do
	Override string `json:"override"` // empty: nothing lifts it
}

// Tally counts the changes of a pass.
type Tally struct {
	Added   int `json:"added"`
	Removed int `json:"removed"`
	Failed  int `json:"failed"`
}

// Failure is an error that the pass met.
type Failure struct {
	System string `json:"system"` // keycloak, clearml or groupsync
	Reason string `json:"reason"`
	Text   string `json:"text"`
}

// Probe is what a federation answered in this pass.
type Probe struct {
	Federation string
	Up         bool
}

// Report is what one pass found and did. Every list is sorted and none is nil.
type Report struct {
	Pass     string    `json:"pass"`
	Sync     string    `json:"sync"`
	Mode     string    `json:"mode"` // observe or apply
	Result   Result    `json:"result"`
	Digest   string    `json:"digest"` // of the removals; empty where there are none
	Started  time.Time `json:"started"`
	Duration float64   `json:"duration_seconds"`
	Source   Counts    `json:"source"`
	Target   Counts    `json:"target"`
	Groups   []Group   `json:"groups"`
	Skipped  []Skip    `json:"skipped"`
	People   []Person  `json:"people"`
	Guards   []Trip    `json:"guards"`
	Applied  Tally     `json:"applied"`
	Errors   []Failure `json:"errors"`

	// For the metrics alone.
	Users         map[string]int `json:"-"` // number of people by state
	Probes        []Probe        `json:"-"` // of this pass; empty where none was needed
	PendingOldest time.Duration  `json:"-"` // age of the oldest pending person
	Reverted      map[string]int `json:"-"` // by action: our last changes that somebody else undid
}

// Drift returns how many additions and removals are left after the pass.
func (r Report) Drift() (add, remove int) {
	for _, g := range r.Groups {
		a, m := g.Drift()
		add, remove = add+a, remove+m
	}
	return add, remove
}

// GroupStates returns the number of groups by state.
func (r Report) GroupStates() map[string]int {
	states := make(map[string]int)
	for _, g := range r.Groups {
		states[g.State()]++
	}
	for _, s := range r.Skipped {
		if slices.Contains(SkipStates, s.Why) {
			states[s.Why]++
		}
	}
	return states
}

// Complete reports whether both sides were read whole and no write failed: what
// counts as a success.
func (r Report) Complete() bool { return len(r.Errors) == 0 && r.Applied.Failed == 0 }

// ExitCode returns the exit code of a single pass: 1 for an error, 2 where
// drift is left or a configured source is missing, else 0.
func (r Report) ExitCode() int {
	if r.Result == Error {
		return 1
	}
	add, remove := r.Drift()
	if add+remove > 0 || len(r.Errors) > 0 || r.Result == Guarded {
		return 2
	}
	return 0
}

// withholdDrift are the guards that judge drift itself: how much of it there is,
// for how long it has been there, and whether it still is. The others find that
// something is wrong with one of the sides, or with the configuration.
var withholdDrift = []Guard{Confirm, Admins, Fall, Removals, GoneLimit, Grace, Concurrent}

// OnlyDrift reports that nothing is wrong but drift: no write failed, and no
// guard tripped but those that judge drift itself.
func (r Report) OnlyDrift() bool {
	return r.Result != Error && len(r.Errors) == 0 && !slices.ContainsFunc(r.Guards, func(t Trip) bool {
		return !slices.Contains(withholdDrift, t.Guard)
	})
}
