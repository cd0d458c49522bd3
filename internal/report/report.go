// Package report is what one pass found and did, as a value. The renderers (Text, JSON,
// Diff, Markdown), the metrics and the exit code derive from it. docs/json.md describes
// the JSON, which stays stable; every renderer works from the JSON alone.
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
	Match    string  `json:"match"`              // how the person was matched: id or email
	Evidence string  `json:"evidence,omitempty"` // what the person's own side said
	Doubt    string  `json:"doubt,omitempty"`    // why there is no evidence
	Outcome  Outcome `json:"outcome"`
	Call     string  `json:"call,omitempty"`     // ClearML's id of the call that wrote it (meta.id); empty: none was sent, or none was answered
	Reverted bool    `json:"reverted,omitempty"` // somebody else undid this change, which groupsync had made
	Guard    Guard   `json:"guard,omitempty"`    // the guard that withholds the change; empty unless Outcome is withheld
}

// MayBeMade reports whether the change was made or may have been made. A write that failed
// may have reached ClearML all the same, for example if no answer came.
func (c Change) MayBeMade() bool { return c.Outcome == Done || c.Outcome == Failed }

// Pending is a member by Keycloak who has no ClearML account yet.
type Pending struct {
	Username string `json:"username"`
	Email    string `json:"email"`
}

// Kept is a ClearML member who is in none of the group's sources and stays. Until and
// Reason are those of the exception of users.protect that keeps the member.
type Kept struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Why  string `json:"why"`

	Until  time.Time `json:"until,omitzero"`   // when the exception ends; zero: it has no end, or there is none
	Reason string    `json:"reason,omitempty"` // as configured
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
	OwnView  OwnView   `json:"own_view"`
}

// OwnView counts the people of one group for whom Keycloak's member list and the
// person's own side disagree. The own side is right, so this is no drift.
type OwnView struct {
	Hides int `json:"hides"` // members whom the list does not show
	Shows int `json:"shows"` // people in the list whose token does not hold the group
	// Stale says that Keycloak's user cache may be older than its database: it was seen
	// to differ from a fresh reading, or it alone tells who holds a role.
	Stale bool `json:"stale"`
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
var UserStates = []string{"matched", "pending", "local", "other_provider", "unknown", "service_account", "protected", "unresolved", "ambiguous", "rekeyed", "renamed", "gone", "gone_kept", "self"}

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
	Federation string `json:"federation"`
	Up         bool   `json:"up"`
}

// Approval is what became of a person's approval of withheld changes.
type Approval struct {
	Digest  string    `json:"digest"`
	By      string    `json:"by"` // the authenticated name, or the operating system's user
	At      time.Time `json:"at"`
	Granted bool      `json:"granted"` // false: the digest is not that of this pass's plan, and nothing was lifted
	Lifted  []Guard   `json:"lifted"`  // the guards that were lifted, in the order of the table
	Changes int       `json:"changes"` // how many changes the digest covers
	Detail  string    `json:"detail"`  // what was lifted, or why nothing was
}

// Report is what one pass found and did. Every list is sorted and none is nil.
type Report struct {
	Pass     string    `json:"pass"`
	Sync     string    `json:"sync"`
	Mode     string    `json:"mode"`               // observe or apply
	Person   string    `json:"person,omitempty"`   // the pass was made for this person only: id of the ClearML user, or of the account of somebody whom ClearML does not know; empty: for everybody
	Restores string    `json:"restores,omitempty"` // id of the pass whose changes this pass took back; empty: it mirrored Keycloak
	Result   Result    `json:"result"`
	Digest   string    `json:"digest"` // names the changes that an approval can clear; empty if there are none
	Started  time.Time `json:"started"`
	Duration float64   `json:"duration_seconds"`
	Source   Counts    `json:"source"`
	Target   Counts    `json:"target"`
	Groups   []Group   `json:"groups"`
	Skipped  []Skip    `json:"skipped"`
	People   []Person  `json:"people"`
	Guards   []Trip    `json:"guards"`
	Approval *Approval `json:"approval"` // null: the pass was given no approval
	Applied  Tally     `json:"applied"`
	Errors   []Failure `json:"errors"`

	AdminMismatch int            `json:"admin_mismatch"`         // users whose role and membership of Admins disagree; 0 if administrators are not managed
	Users         map[string]int `json:"users"`                  // number of people by state
	Probes        []Probe        `json:"federations"`            // the federations that this pass probed
	PendingOldest float64        `json:"pending_oldest_seconds"` // how long the longest waiting person has been pending
	Reverted      map[string]int `json:"reverted"`               // by action: changes of groupsync that somebody else undid

	// Forgotten counts the federated memberships that the guards' memory has no place for.
	// The guard fall withholds removals of federated people from their user groups.
	Forgotten int `json:"forgotten_memberships,omitempty"`
}

// Whole reports whether the pass mirrored everybody, so that its figures are the state of
// both sides. A pass of one person and a restore are not whole.
func (r Report) Whole() bool { return r.Person == "" && r.Restores == "" }

// MayHaveChanged reports whether the pass changed something in ClearML, or may have.
func (r Report) MayHaveChanged() bool {
	return slices.ContainsFunc(r.Groups, func(g Group) bool {
		return slices.ContainsFunc(g.Add, Change.MayBeMade) || slices.ContainsFunc(g.Remove, Change.MayBeMade)
	})
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

// Complete reports whether the pass was a success: both sides were read whole, no
// write failed, and no write did more than was sent.
func (r Report) Complete() bool {
	return len(r.Errors) == 0 && r.Applied.Failed == 0 && !r.tripped(func(g Rule) bool { return g.Broken })
}

// ExitCode returns the exit code of a single pass: 1 for an error; 2 when drift is
// left, when a guard that is no matter of drift tripped, or when an administrator
// stays because groupsync cannot tell who that person is; else 0.
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

// OnlyDrift reports that nothing is wrong but drift: no write failed, and every
// guard that tripped judges drift itself.
func (r Report) OnlyDrift() bool {
	return r.Result != Error && len(r.Errors) == 0 && !r.tripped(func(g Rule) bool { return !g.Drift })
}

func (r Report) tripped(is func(Rule) bool) bool {
	return slices.ContainsFunc(r.Guards, func(t Trip) bool { return is(t.Guard.Rule()) })
}
