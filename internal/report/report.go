// Package report defines the report of a pass as a Go value, and its renderers. The renderers
// (Text, JSON, Diff, Markdown), the metrics and the exit code are all made from this value.
// docs/json.md describes the JSON, which stays stable. The JSON holds everything that the other
// renderers use.
package report

import (
	"slices"
	"time"
)

// Result is the outcome of a pass in one word.
type Result string

// The results of a pass.
const (
	InSync  Result = "in_sync" // nothing differs
	Drift   Result = "drift"   // differences are left, because of a dry run, a guard that only waits, or a write that failed
	Applied Result = "applied" // every difference was written and read back
	Guarded Result = "guarded" // a guard withheld a change, or tripped without withholding one; a guard with Rule.Waits does not count, and a guard with Rule.Informs counts only if it withheld a change
	Error   Result = "error"   // the pass ended before it had a plan
)

// Results lists every result. The metrics start a counter at zero for each result.
var Results = []Result{InSync, Drift, Applied, Guarded, Error}

// Outcome is the result of one planned change.
type Outcome string

// The outcomes of a change.
const (
	Planned  Outcome = "planned"
	Done     Outcome = "applied"
	Failed   Outcome = "failed"
	Withheld Outcome = "withheld" // Change.Guard names the guard
)

// Counts is the size of Keycloak or of ClearML as the pass read it. It includes disabled people.
type Counts struct {
	Groups      int `json:"groups"`
	Users       int `json:"users"`
	Memberships int `json:"memberships"`
}

// Change is one membership to add or to remove.
type Change struct {
	ID       string  `json:"id"` // id of the ClearML user
	Name     string  `json:"name"`
	Email    string  `json:"email"`
	Why      string  `json:"why"`
	Match    string  `json:"match"`              // how the person was matched: id or email
	Evidence string  `json:"evidence,omitempty"` // what the second look found on the person's own side
	Doubt    string  `json:"doubt,omitempty"`    // why the second look gave no evidence for the change
	Outcome  Outcome `json:"outcome"`
	Call     string  `json:"call,omitempty"`     // ClearML's id (meta.id) of the call that wrote the change; empty: no call was sent, or no call was answered
	Reverted bool    `json:"reverted,omitempty"` // groupsync made this change before, and somebody else undid it
	Guard    Guard   `json:"guard,omitempty"`    // the guard that withholds the change; empty unless Outcome is withheld
}

// MayBeMade reports whether the change was made or may have been made. A failed write may have
// reached ClearML, for example if no answer came.
func (c Change) MayBeMade() bool { return c.Outcome == Done || c.Outcome == Failed }

// Pending is an account that belongs in the group and has no ClearML user yet.
type Pending struct {
	Username string `json:"username"`
	Email    string `json:"email"`
}

// Kept is a ClearML member who is in no source of the group and stays. Until and Reason come
// from the exception in users.protect that keeps the member.
type Kept struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Why  string `json:"why"`

	Until  time.Time `json:"until,omitzero"`   // when the exception ends; zero: there is no exception, or the exception has no end
	Reason string    `json:"reason,omitempty"` // the reason in the exception, as configured
}

// Group is one user group whose members come from Keycloak groups or from the admin role.
type Group struct {
	Name     string    `json:"name"`
	ID       string    `json:"id"`
	From     []string  `json:"from"` // paths of Keycloak groups, "role NAME" for the admin role
	Add      []Change  `json:"add"`
	Remove   []Change  `json:"remove"`
	Pending  []Pending `json:"pending"`
	Kept     []Kept    `json:"kept"`
	Withheld []Guard   `json:"withheld"` // the guards that withheld a change of this group
	OwnView  OwnView   `json:"own_view"`
}

// OwnView counts the people for whom the group's member list in Keycloak and the person's own side
// disagree. The own side is Keycloak's answer about one account, as a login reads it. The own side
// decides, so the difference in the list is no drift.
type OwnView struct {
	Hides int `json:"hides"` // ClearML members whose own side has the group, and whom the member list does not show
	Shows int `json:"shows"` // people whom the member list shows, whose own side does not have the group, and who are no ClearML members
	// Stale means that Keycloak's user cache may be older than Keycloak's database. The cache and
	// a fresh answer differed about a person's groups, or about who holds the admin role.
	Stale bool `json:"stale"`
}

// Drift returns how many additions and removals of this group the pass did not make.
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

// State returns the state of the group after the pass. It is withheld if a guard withheld a
// change of the group, drift if changes are left for another reason, else in_sync.
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

// Skip is a group of either side that groupsync does not synchronize, or a remark about a
// group or a person.
type Skip struct {
	Name string `json:"name"`
	Side string `json:"side"` // keycloak or clearml
	Why  string `json:"why"`
}

// SkipStates are the values of Skip.Why that are states of a skipped group. Any other value is a
// remark, and GroupStates does not count it.
var SkipStates = []string{"no_target", "no_source", "builtin", "not_assignable", "duplicate", "excluded"}

// Person is an entry of Report.People, which leaves out the people with the state "matched". It is
// a ClearML user, or a Keycloak account such as a pending one.
type Person struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Side  string `json:"side"`
	State string `json:"state"`
}

// UserStates are the states of people that Report.Users counts.
var UserStates = []string{"matched", "pending", "local", "other_provider", "unknown", "service_account", "protected", "unresolved", "ambiguous", "rekeyed", "renamed", "gone", "gone_kept", "self"}

// Trip is one trip of a guard. The guard withheld changes, or found something to report.
type Trip struct {
	Guard    Guard  `json:"guard"`
	Group    string `json:"group"`    // empty: the trip is not about one group
	Detail   string `json:"detail"`   // the number, the limit and what to do
	Override string `json:"override"` // how a person lifts the guard; empty: no approval lifts the guard
}

// Tally counts the changes of a pass.
type Tally struct {
	Added   int `json:"added"`
	Removed int `json:"removed"`
	Failed  int `json:"failed"`
}

// Failure is an error in a pass.
type Failure struct {
	System string `json:"system"` // keycloak, clearml or groupsync
	Reason string `json:"reason"`
	Text   string `json:"text"`
}

// Probe says whether a federation answered in this pass.
type Probe struct {
	Federation string `json:"federation"`
	Up         bool   `json:"up"`
}

// Approval is the result of a person's approval of withheld changes.
type Approval struct {
	Digest  string    `json:"digest"`
	By      string    `json:"by"` // who approved: the name that the HTTP server authenticated, or the operating system's user
	At      time.Time `json:"at"`
	Granted bool      `json:"granted"` // false: the digest does not match this pass's plan, so nothing was lifted
	Lifted  []Guard   `json:"lifted"`  // the guards that were lifted, in the order of Rules
	Changes int       `json:"changes"` // number of changes that the digest covers
	Detail  string    `json:"detail"`  // what was lifted, or why nothing was
}

// Report is what one pass found and did. Every list is sorted and none is nil.
type Report struct {
	Pass     string    `json:"pass"`
	Sync     string    `json:"sync"`
	Mode     string    `json:"mode"`               // observe or apply
	Person   string    `json:"person,omitempty"`   // the one person of this pass: id of the ClearML user, or of the account if ClearML has no such user; empty: everybody
	Restores string    `json:"restores,omitempty"` // id of the earlier pass whose changes were undone, in the report of a restore (the command groupsync restore); empty: this is the report of a pass
	Result   Result    `json:"result"`
	Digest   string    `json:"digest"` // the checksum that names the changes that an approval would cover; empty: there are no such changes
	Started  time.Time `json:"started"`
	Duration float64   `json:"duration_seconds"`
	Source   Counts    `json:"source"`
	Target   Counts    `json:"target"`
	Groups   []Group   `json:"groups"`
	Skipped  []Skip    `json:"skipped"`
	People   []Person  `json:"people"`
	Guards   []Trip    `json:"guards"`
	Approval *Approval `json:"approval"` // null: the pass had no approval
	Applied  Tally     `json:"applied"`
	Errors   []Failure `json:"errors"`

	AdminMismatch int            `json:"admin_mismatch"`         // users whose role and membership of Admins disagree; 0 if administrators are not managed
	Users         map[string]int `json:"users"`                  // number of people by state
	Probes        []Probe        `json:"federations"`            // the federations that this pass probed
	PendingOldest float64        `json:"pending_oldest_seconds"` // how many seconds the longest waiting person has been pending
	Reverted      map[string]int `json:"reverted"`               // number of groupsync's changes that somebody else undid, by action (add, remove)

	// Forgotten is the number of federated memberships that did not fit in the guards' memory.
	// The guard `fall` treats these memberships as lost, so it withholds the removals of federated
	// people from their user groups.
	Forgotten int `json:"forgotten_memberships,omitempty"`
}

// Whole reports whether the pass covered everybody. Only the figures of such a pass describe all
// of Keycloak and ClearML. A pass of one person and a restore are not whole.
func (r Report) Whole() bool { return r.Person == "" && r.Restores == "" }

// MayHaveChanged reports whether the pass changed something in ClearML, or may have.
func (r Report) MayHaveChanged() bool {
	return slices.ContainsFunc(r.Groups, func(g Group) bool {
		return slices.ContainsFunc(g.Add, Change.MayBeMade) || slices.ContainsFunc(g.Remove, Change.MayBeMade)
	})
}

// Drift returns how many additions and removals of all groups the pass did not make.
func (r Report) Drift() (add, remove int) {
	for _, g := range r.Groups {
		a, m := g.Drift()
		add, remove = add+a, remove+m
	}
	return add, remove
}

// GroupStates returns the number of groups by state: the states of Group.State, and SkipStates
// for the skipped groups.
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

// Succeeded reports whether the pass succeeded. A pass succeeds if it read both sides completely,
// no write failed, and no canary changed more or less than groupsync sent.
func (r Report) Succeeded() bool {
	return len(r.Errors) == 0 && r.Applied.Failed == 0 && !r.tripped(func(g Rule) bool { return g.Broken })
}

// ExitCode returns the exit code of a command that made this one pass. It is 1 if the pass ended
// before it had a plan. It is 2 if drift is left, if there was an error, or if the result is
// Guarded. Else it is 0.
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

// OnlyDrift reports whether the pass found no problem but drift. The pass had a plan and no error,
// and every guard that tripped has Rule.Drift.
func (r Report) OnlyDrift() bool {
	return r.Result != Error && len(r.Errors) == 0 && !r.tripped(func(g Rule) bool { return !g.Drift })
}

func (r Report) tripped(is func(Rule) bool) bool {
	return slices.ContainsFunc(r.Guards, func(t Trip) bool { return is(t.Guard.Rule()) })
}
