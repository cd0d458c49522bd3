// Package review lists the people with access to each ClearML user group, and the reason. A
// Review is made from one survey of both sides and holds the complete list. CSV, JSON and HTML
// write a Review and need nothing else. docs/review.md describes the columns, which stay
// stable.
//
// Keycloak has two answers to who is in a group. A group's member list names the accounts in
// the group. An account's own side names the groups of the account. A login reads the own
// side.
package review

import (
	"cmp"
	"slices"
	"time"

	"groupsync/internal/explain"
	"groupsync/internal/guard"
	"groupsync/internal/journal"
	"groupsync/internal/match"
	"groupsync/internal/plan"
	"groupsync/internal/reconcile"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// Scope names the two systems of a review.
type Scope struct {
	Sync     string `json:"sync"`     // name of the configuration
	Keycloak string `json:"keycloak"` // URL
	Realm    string `json:"realm"`
	ClearML  string `json:"clearml"` // URL
}

// Review is the list of all memberships in ClearML and of the memberships that groupsync is
// about to add. Two reviews of the same state are equal.
type Review struct {
	Scope
	At       *time.Time     `json:"at"`       // when both sides had been read, in UTC; null: the time was left out
	Statuses map[Status]int `json:"statuses"` // number of rows for every status
	Rows     []Row          `json:"rows"`     // sorted by group, group id, name and user id; never nil
}

// Status is the state of a membership in one word.
type Status string

// The values of Status.
const (
	Granted   Status = "granted"   // ClearML has the membership, and Keycloak gives it
	Kept      Status = "kept"      // ClearML has the membership, Keycloak does not certainly give it, and it stays
	Leaves    Status = "leaves"    // ClearML has the membership, and a removal is planned
	Frozen    Status = "frozen"    // ClearML has the membership, and a source of the group is missing or cannot be read
	Unmanaged Status = "unmanaged" // ClearML has the membership, and no Keycloak group or role feeds the group
	Joins     Status = "joins"     // ClearML does not have the membership, and an addition is planned
)

// Statuses are all statuses, in the order of the counts in a review.
var Statuses = []Status{Granted, Kept, Leaves, Frozen, Unmanaged, Joins}

// Row is one person in one ClearML group.
type Row struct {
	Name      string     `json:"name"`
	Email     string     `json:"email"`
	UserID    string     `json:"user_id"`    // id in ClearML
	Username  string     `json:"username"`   // in Keycloak; empty: no account certainly belongs to this person
	AccountID string     `json:"account_id"` // in Keycloak; empty: no account certainly belongs to this person
	Group     string     `json:"group"`
	GroupID   string     `json:"group_id"` // target.AdminRoleID for ClearML's role admin
	Status    Status     `json:"status"`
	Reason    string     `json:"reason"`   // the reason of the status, in one word
	By        []string   `json:"by"`       // the sources that list an account of the person: paths, "role NAME"; never nil
	Matched   string     `json:"matched"`  // how the account was matched: id or email; empty: no match
	Since     *time.Time `json:"since"`    // for a removal: since when every pass has wanted it; for a membership that groupsync added: when it was added; null: not known
	Why       string     `json:"why"`      // the reason in a sentence
	Evidence  string     `json:"evidence"` // for a change: what the person's own side said
	Doubt     string     `json:"doubt"`    // for a change: why there is no evidence
	Guard     string     `json:"guard"`    // for a change: the guard that withholds it; for a frozen group: the guard that froze it
	Detail    string     `json:"detail"`   // the message of that guard
}

// Values of Row.Reason that are defined only here.
const (
	member     = "member"     // a source lists the account
	hidden     = "hidden"     // the person's own side has the group, and the member list hides the person
	missing    = "missing"    // a configured source does not exist
	unreadable = "unreadable" // Keycloak cannot list the members of a source
)

// Of returns the review of a View without a subject, which is the result of a survey.
func Of(v reconcile.View, s Scope) Review {
	r := Review{Scope: s, Statuses: make(map[Status]int, len(Statuses)), Rows: []Row{}}
	for _, status := range Statuses {
		r.Statuses[status] = 0
	}
	x := reviewer{v}
	groups := make(map[string]fed, len(v.Plan.Groups))
	for _, g := range v.Plan.Groups {
		groups[g.Feed.Group.ID] = index(g)
	}
	for _, g := range explain.Of(v).Groups {
		if everybody(g.ID, v.Input.Target) {
			continue
		}
		for _, s := range g.People {
			if row, shown := x.row(g, groups[g.ID], s); shown {
				r.Rows = append(r.Rows, row)
			}
		}
	}
	r.Rows = append(r.Rows, x.role()...)
	for _, row := range r.Rows {
		r.Statuses[row.Status]++
	}
	slices.SortFunc(r.Rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.GroupID, b.GroupID), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UserID, b.UserID))
	})
	return r
}

// everybody reports whether a group is ClearML's built-in group of all users. A review leaves
// this group out: every user is a member, so the membership gives nobody more access than
// others have (reference/clearml-api.md).
func everybody(id string, tgt *target.Snapshot) bool {
	return slices.ContainsFunc(tgt.Groups(), func(g target.Group) bool { return g.ID == id && g.System && g.Name == target.Everybody })
}

// fed is a group of the plan, with the states of its kept members and with its changes. The
// keys of both maps are ids of ClearML users.
type fed struct {
	plan.Group
	kept    map[string]match.State
	changes map[string]plan.Change
}

func index(g plan.Group) fed {
	f := fed{g, make(map[string]match.State, len(g.Keep)), make(map[string]plan.Change, len(g.Add)+len(g.Remove))}
	for _, k := range g.Keep {
		f.kept[k.Member.ID] = k.Why
	}
	for _, c := range slices.Concat(g.Add, g.Remove) {
		f.changes[c.User.ID] = c
	}
	return f
}

type reviewer struct{ reconcile.View }

// row returns the row of one person in the group g. s, from the package explain, says how the
// person is related to the group. f is the same group in the plan, or empty if nothing feeds
// the group. row returns false if ClearML does not have the membership and no addition is
// planned.
func (x reviewer) row(g explain.Group, f fed, s explain.Standing) (Row, bool) {
	row := Row{
		Name: s.Name, Email: s.Email, UserID: s.ID, Group: g.Name, GroupID: g.ID,
		By: s.By, Why: s.Why, Evidence: s.Evidence, Doubt: s.Doubt, Guard: s.Guard, Detail: s.Detail,
	}
	x.person(&row)
	kept, stays := f.kept[s.ID]
	change := f.changes[s.ID]
	switch s.Status {
	case explain.InSync:
		row.Status, row.Reason = Granted, member
		row.Since = x.given(g.ID, s.ID)
	case explain.Kept, explain.Hidden:
		row.Status, row.Reason = Kept, string(kept)
		if !stays { // the plan's Keep does not have the person, so no rule keeps the member: the person stays because the own side has the group
			row.Status, row.Reason = Granted, hidden
		}
		row.Since = x.given(g.ID, s.ID)
	case explain.Remove:
		row.Status, row.Reason = Leaves, string(change.Why)
		if since, known := guard.WantedSince(change, x.Input); known {
			since = since.UTC()
			row.Since = &since
		}
	case explain.Add:
		row.Status, row.Reason = Joins, member
	case explain.Frozen:
		x.frozen(&row, g, f)
	case explain.Unmanaged:
		row.Status, row.Reason = Unmanaged, g.Unfed
	default: // the person is pending, or only a member list shows the person: there is no access, and none is planned
		return Row{}, false
	}
	return row, true
}

// given returns when groupsync added a membership, according to the journal. It returns nil if
// the newest change of the membership in the journal is a removal, or if the journal has no
// change of the membership.
func (x reviewer) given(group, user string) *time.Time {
	last, known := x.Past.Latest[journal.Membership{Group: group, User: user}]
	if !known || last.Action != journal.Added {
		return nil
	}
	at := last.At
	return &at
}

// frozen sets the reason and the guard of a row in a frozen group.
func (x reviewer) frozen(row *Row, g explain.Group, f fed) {
	row.Status, row.Reason = Frozen, unreadable
	if len(f.Missing) > 0 {
		row.Reason = missing
	}
	if len(g.Guards) > 0 {
		row.Guard, row.Detail = g.Guards[0].Guard, g.Guards[0].Detail
	}
}

// person sets the fields that come from the ClearML user and the matched account.
func (x reviewer) person(row *Row) {
	i, known := x.Input.Target.UserIndex(row.UserID)
	if !known {
		return
	}
	u, p := x.Input.Target.Users()[i], x.People.Person(i)
	row.Name, row.Email, row.Matched = u.Name, u.Email, p.Match
	if p.Sure {
		account := x.account(p)
		row.Username, row.AccountID = account.Username, account.ID
	}
}

func (x reviewer) account(p match.Person) source.User { return x.Input.Source.Users()[p.Accounts[0]] }

// role returns the rows of ClearML's role admin. It returns nil if the configuration manages
// the role, because the role is then among the groups.
func (x reviewer) role() []Row {
	tgt := x.Input.Target
	if slices.ContainsFunc(tgt.Groups(), func(g target.Group) bool { return g.ID == target.AdminRoleID }) {
		return nil
	}
	g := target.AdminRole(tgt.Users())
	var rows []Row
	for _, m := range g.Members {
		row := Row{
			Name: m.Name, Email: m.Email, UserID: m.ID, Group: g.Name, GroupID: g.ID, Status: Unmanaged, Reason: match.NoSource,
			By: []string{}, Why: "admins.via is group, so groupsync does not manage ClearML's role admin",
		}
		x.person(&row)
		rows = append(rows, row)
	}
	return rows
}
