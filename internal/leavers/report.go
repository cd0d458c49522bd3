// Package leavers finds people who are disabled or gone in Keycloak and still hold something
// in ClearML. It only reads. find.go reads and decides, report.go defines the result, and
// text.go writes the result for a person.
//
// A person can hold four kinds of things: a user group, the rights of an administrator, an
// access rule that names the person, and a recent use of ClearML.
package leavers

import (
	"io"
	"time"

	"groupsync/internal/report"
)

// Report lists the people who left and what they still hold. It holds everything that Text
// writes. docs/leavers.md describes the JSON of a Report, which stays stable. No list is nil.
type Report struct {
	At          time.Time     `json:"at"`             // when both sides had been read, in UTC
	Recent      float64       `json:"recent_seconds"` // a use within this many seconds before At counts as recent
	Leavers     []Person      `json:"leavers"`        // disabled or gone, sorted by id
	InDoubt     []Person      `json:"in_doubt"`       // groupsync cannot tell whether these people left, sorted by id
	NotReturned []NotReturned `json:"untold"`         // what the server did not return, or not completely
}

// Status says whether a person left.
type Status string

// The values of Status.
const (
	Disabled Status = "disabled" // at least one account that could be the person's is disabled, and every other one is disabled or gone
	Gone     Status = "gone"     // Keycloak no longer has the person
	Doubtful Status = "unknown"  // groupsync cannot tell whether the person left
)

// Holding is one kind of thing that a person can hold. The metric groupsync_leavers has the
// same values in its label `holds`.
type Holding string

// The values of Holding.
const (
	Group     Holding = "group"      // a user group, but not the group of all users
	Admin     Holding = "admin"      // the role of an administrator, or membership of the group Admins
	Rule      Holding = "rule"       // an access rule that names the person
	RecentUse Holding = "recent_use" // a recent use of the UI or of API keys
)

// Holdings lists the kinds in the order of reports.
var Holdings = []Holding{Group, Admin, Rule, RecentUse}

// Person is a ClearML user who holds something, or who may hold something that ClearML did not
// return.
type Person struct {
	ID      string       `json:"id"`
	Name    string       `json:"name"`
	Email   string       `json:"email"`
	Status  Status       `json:"status"`
	Match   string       `json:"match"` // how the person's accounts were found: id or email; empty: there are no accounts
	Why     string       `json:"why"`   // what shows that the person left; for a person in doubt, why groupsync cannot tell
	Groups  []Membership `json:"groups"`
	Role    string       `json:"role"` // in ClearML; empty: ClearML did not return it
	Rules   []Named      `json:"rules"`
	UI      *time.Time   `json:"last_ui_use"`      // null: ClearML did not return it
	Keys    *time.Time   `json:"last_api_key_use"` // null: ClearML did not return it
	Holds   []Holding    `json:"holds"`            // what the person certainly holds
	Unknown []Holding    `json:"unknown"`          // what the person may hold, because ClearML did not return it
}

// Membership is a user group of a person.
type Membership struct {
	Named
	Managed bool `json:"managed"` // groupsync synchronizes the group
}

// Named is a group or an access rule.
type Named struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// NotReturned is a kind of thing that the server did not return, or not completely, and the
// reason.
type NotReturned struct {
	What Holding `json:"what"`
	Why  string  `json:"why"`
}

// ExitCode returns 2 if there is a leaver or a person in doubt; else 0.
func (r Report) ExitCode() int {
	if len(r.Leavers)+len(r.InDoubt) > 0 {
		return 2
	}
	return 0
}

// Count returns the number of leavers who certainly hold each kind. A kind is missing in the
// map if its number would be 0 and somebody may hold it, because 0 could be wrong.
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

// JSON writes the report as one indented JSON object and a newline. It escapes characters that
// could control a terminal.
func JSON(w io.Writer, r Report) error { return report.WriteJSON(w, r) }
