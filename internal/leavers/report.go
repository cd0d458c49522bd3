// Package leavers finds people who are disabled or gone in Keycloak and still hold
// something in ClearML. It only reads. find.go reads and decides, report.go holds what was
// found, and text.go writes it for a person.
package leavers

import (
	"io"
	"time"

	"groupsync/internal/report"
)

// Report says who left and what they still hold. Text needs nothing beside it, and
// docs/leavers.md describes its JSON, which stays stable. No list is nil.
type Report struct {
	At      time.Time `json:"at"`             // when both sides had been read, in UTC
	Recent  float64   `json:"recent_seconds"` // a use in so many seconds before At counts as recent
	Leavers []Person  `json:"leavers"`        // disabled or gone, sorted by id
	InDoubt []Person  `json:"in_doubt"`       // groupsync cannot tell whether they left, sorted by id
	Untold  []Untold  `json:"untold"`         // what the server tells of nobody, or not completely
}

// Status says whether a person left.
type Status string

// The statuses there are.
const (
	Disabled Status = "disabled" // every account that could be the person is disabled, or gone
	Gone     Status = "gone"     // Keycloak has the person no more
	Doubtful Status = "unknown"  // groupsync cannot tell
)

// Holding is one kind of what a person can hold: a value of the label holds of
// groupsync_leavers.
type Holding string

// The kinds there are.
const (
	Group     Holding = "group"      // a user group, but not the group of all users
	Admin     Holding = "admin"      // the role of an administrator, or membership of Admins
	Rule      Holding = "rule"       // an access rule that names the person
	RecentUse Holding = "recent_use" // a recent use of the UI or of API keys
)

// Holdings lists the kinds in the order of reports.
var Holdings = []Holding{Group, Admin, Rule, RecentUse}

// Person is a ClearML user who holds something, or may hold something that ClearML does
// not tell.
type Person struct {
	ID      string       `json:"id"`
	Name    string       `json:"name"`
	Email   string       `json:"email"`
	Status  Status       `json:"status"`
	Match   string       `json:"match"` // how the accounts were found: id or email; empty: there are none
	Why     string       `json:"why"`   // the evidence; of somebody in doubt, the doubt
	Groups  []Membership `json:"groups"`
	Role    string       `json:"role"` // in ClearML; empty: not told
	Rules   []Named      `json:"rules"`
	UI      *time.Time   `json:"last_ui_use"`      // null: not told
	Keys    *time.Time   `json:"last_api_key_use"` // null: not told
	Holds   []Holding    `json:"holds"`            // what the person surely holds
	Unknown []Holding    `json:"unknown"`          // what the person may hold: ClearML does not tell
}

// Membership is a user group of a person.
type Membership struct {
	Named
	Managed bool `json:"managed"` // groupsync keeps the group equal to Keycloak
}

// Named is a group or an access rule.
type Named struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Untold is something that the server does not tell.
type Untold struct {
	What Holding `json:"what"`
	Why  string  `json:"why"`
}

// ExitCode returns 2 if anybody who left, or may have left, holds something or may hold
// something; else 0.
func (r Report) ExitCode() int {
	if len(r.Leavers)+len(r.InDoubt) > 0 {
		return 2
	}
	return 0
}

// Count returns how many leavers hold each kind. A kind is missing if no leaver surely
// holds it and somebody may: then nobody knows that the number is 0.
func (r Report) Count() map[Holding]int {
	counts, unsure := make(map[Holding]int), make(map[Holding]bool)
	for _, p := range r.Leavers {
		for _, h := range p.Holds {
			counts[h]++
		}
		for _, h := range p.Unknown {
			unsure[h] = true
		}
	}
	for _, p := range r.InDoubt {
		for _, list := range [][]Holding{p.Holds, p.Unknown} {
			for _, h := range list {
				unsure[h] = true
			}
		}
	}
	for _, h := range Holdings {
		if _, some := counts[h]; !some && !unsure[h] {
			counts[h] = 0
		}
	}
	return counts
}

// JSON writes the report as one indented JSON object and a newline. Characters that a
// terminal could take for its own are escaped.
func JSON(w io.Writer, r Report) error { return report.WriteJSON(w, r) }
