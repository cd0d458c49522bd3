// Package plan computes the changes after which the two sides agree. A feed is one user group
// with its sources: the groups and the role whose members belong in it. A plan only proposes
// changes, from the member lists of the sources.
//
// The second look then asks Keycloak about the person's account (the own side) and decides
// about each change (source.Weigh). Its answer is the evidence of the change, or a denial.
//
// The package is pure: it reads no clock, does no I/O and logs nothing.
package plan

import (
	"fmt"
	"slices"
	"strings"

	"groupsync/internal/match"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// Action is the direction of a change. The zero value is invalid.
type Action string

// The actions of a change.
const (
	Add    Action = "add"
	Remove Action = "remove"
)

// Change is one membership that the plan proposes to add or to remove. It is passed by value, and
// filled in step by step. The second look sets Evidence, or why there is none: Denial (the kind of
// the reason) and Doubt (the reason in words). After the second look, a change that stays in the
// plan without evidence has the Denial source.Away or source.Unclear. If the second look gave no
// valid answer, Denial is empty, and the guard `confirm` withholds the change. The guards set
// Guard. Only the report has the outcome of the write.
type Change struct {
	Group  string // id of the user group
	User   target.User
	Action Action
	Why    source.Why
	From   string // additions: path of the first source that lists the person, or the role
	Match  string // how the person was matched: "id" or "email"
	State  match.State

	Accounts []source.User // an addition: the one account; a removal: every account that could be the person's
	GoneBy   source.GoneBy
	Sources  []source.Group // the sources about which the second look asks: all sources of the feed; for an addition, see grantSources
	Collides bool           // additions: the person is listed only by sources with a colliding name (match.Collision)

	Evidence   source.Evidence
	Denial     source.Denial
	Doubt      string
	Federation string // id of the federation that is not up, if that is the reason for Doubt

	Guard report.Guard
}

// Key returns a text that is different for each group, user and action. It identifies the
// change in digests and between plans.
func (c Change) Key() string { return c.Group + "\x00" + c.User.ID + "\x00" + string(c.Action) }

// Grant reports whether the change is an addition.
func (c Change) Grant() bool { return c.Action == Add }

// Keeper is a member who stays although no source certainly lists the member.
type Keeper struct {
	Member    target.Member
	Why       match.State
	Exception match.Exception // the exception that keeps the member; zero: none
}

// Group is the drift of one user group: the changes that the plan proposes, and what else the
// plan finds there.
type Group struct {
	Feed      match.Feed
	Add       []Change        // sorted by user id
	Remove    []Change        // sorted by user id
	Pending   []source.User   // accounts that belong in the group and have no ClearML user, sorted by id
	Keep      []Keeper        // sorted by member id
	Federated []string        // ids of the federated accounts that belong in the group and could be a ClearML user's, sorted
	Floor     []string        // ids of the administrators who count toward admins.floor; only in an administrators' feed
	OtherRole []target.User   // only if the user group is a role: people whom Keycloak makes administrators and whose other ClearML role groupsync does not change; sorted by id
	Missing   []match.Missing // configured sources that do not exist; if there are any, the group is frozen, and only Feed and Unreadable are set too

	// Unreadable says why Keycloak cannot list the members of a source. If it is set, the
	// group is frozen. If it is empty, every source was read.
	Unreadable string
	Own        OwnView // people for whom the member list and the own side disagree
}

// OwnView lists the people for whom the member list and the own side disagree.
type OwnView struct {
	Hidden []Change // removals that the member lists proposed; the own side has the membership, so the person stays
	Shown  []Change // additions that the member lists proposed; the own side does not have the membership, so nobody is added
	Stale  bool     // an answer showed that Keycloak's user cache was out of date
}

// Frozen reports whether a source is missing or unreadable, so that no change can be planned.
func (g Group) Frozen() bool { return len(g.Missing) > 0 || g.Unreadable != "" }

// Plan is the proposed changes of a pass. Equal snapshots give equal plans.
type Plan struct {
	Groups       []Group         // in the order of the pairing's feeds
	Missing      []match.Missing // configured groups that do not exist and belong to no group of Groups
	Managed      int             // memberships in ClearML that the plan covers: those of the groups that are not frozen
	Users        map[match.State]int
	People       map[string]match.State // by ClearML user id: the state of every person whom this plan concerns
	CannotSignIn map[string]bool        // by ClearML user id: no account is known with which the person could still sign in
	Pending      []source.User          // the pending accounts of all groups, sorted by id
	Asks         []source.Person        // look-ups that the realm must answer first, sorted by key
}

// Questions returns the questions of the second look, in the order of the groups. In each
// group the additions come first.
func (p Plan) Questions() []source.Question {
	var questions []source.Question
	for _, g := range p.Groups {
		for _, c := range slices.Concat(g.Add, g.Remove) {
			questions = append(questions, source.Question{
				Group: c.Group, User: c.User.ID, Grant: c.Grant(), Accounts: c.Accounts, GoneBy: c.GoneBy, Sources: c.Sources, Role: g.Feed.Role, ByEmail: c.Match == "email",
			})
		}
	}
	return questions
}

// Only returns the plan without additions, and with only the removals whose keys (Change.Key)
// are given.
func (p Plan) Only(keys map[string]bool) Plan {
	return p.Cut(func(c Change) bool { return !c.Grant() && keys[c.Key()] })
}

// Cut returns the plan with only those changes for which keep returns true. If Cut drops a
// removal, the second look does not ask about it, and the own side may have the membership. So
// Cut counts the federated accounts of that removal as members. If it did not, the guard
// `fall` would take these members for lost.
func (p Plan) Cut(keep func(Change) bool) Plan {
	drop := func(c Change) bool { return !keep(c) }
	p.Groups = slices.Clone(p.Groups)
	for i := range p.Groups {
		g := &p.Groups[i]
		g.Federated = slices.Clone(g.Federated)
		for _, c := range g.Remove {
			if drop(c) {
				g.Federated = append(g.Federated, c.federated()...)
			}
		}
		slices.Sort(g.Federated)
		g.Federated = slices.Compact(g.Federated)
		g.Add = slices.DeleteFunc(slices.Clone(g.Add), drop)
		g.Remove = slices.DeleteFunc(slices.Clone(g.Remove), drop)
	}
	return p
}

// federated returns the ids of the change's accounts that come from a federation.
func (c Change) federated() []string {
	var ids []string
	for _, u := range c.Accounts {
		if u.Federation != "" {
			ids = append(ids, u.ID)
		}
	}
	return ids
}

// Weighed returns the plan with the answers of the second look. If the own side contradicts a
// change, the change leaves the plan and moves to the group's OwnView. Weighed returns an
// error if the number of answers differs from the number of questions, or if an answer is for
// another change.
func (p Plan) Weighed(c source.Confirmation) (Plan, error) {
	p.Groups = slices.Clone(p.Groups)
	rest := c.Answers
	for i := range p.Groups {
		g := &p.Groups[i]
		asked := len(g.Add) + len(g.Remove)
		if len(rest) < asked {
			return Plan{}, fmt.Errorf("the second look answers fewer questions than were asked (%d answers), so the changes were not judged: report this as a fault in groupsync", len(c.Answers))
		}
		if err := g.weigh(rest[:asked]); err != nil {
			return Plan{}, err
		}
		rest = rest[asked:]
		if g.Feed.Admins {
			g.Floor = g.floor(p.People, p.CannotSignIn)
		}
	}
	if len(rest) > 0 {
		return Plan{}, fmt.Errorf("the second look answers more questions than were asked (%d answers), so the changes were not judged: report this as a fault in groupsync", len(c.Answers))
	}
	return p, nil
}

// weigh sets the answers in the group's changes, additions first. A change that the own side
// contradicts moves to OwnView.
func (g *Group) weigh(answers []source.Answer) error {
	adds := answers[:len(g.Add)]
	removes := answers[len(g.Add):]
	g.Keep, g.Federated = slices.Clone(g.Keep), slices.Clone(g.Federated)
	var err error
	if g.Add, err = g.weighAll(g.Add, adds); err != nil {
		return err
	}
	if g.Remove, err = g.weighAll(g.Remove, removes); err != nil {
		return err
	}
	slices.SortFunc(g.Keep, func(a, b Keeper) int { return strings.Compare(a.Member.ID, b.Member.ID) })
	slices.Sort(g.Federated)
	g.Federated = slices.Compact(g.Federated)
	return nil
}

// weighAll returns the changes that stay in the plan, each with its answer. It moves the other
// changes to OwnView. It returns an error if an answer is for another change.
func (g *Group) weighAll(changes []Change, answers []source.Answer) ([]Change, error) {
	var kept []Change
	for i, c := range changes {
		a := answers[i]
		if !a.For(c.Group, c.User.ID, c.Grant()) || a.Evidence.Valid() && !a.Evidence.For(c.Group, c.User.ID, c.Grant()) {
			return nil, fmt.Errorf("the second look answers for another change than the one asked about, in the user group with the id %s, so the changes were not judged: report this as a fault in groupsync", c.Group)
		}
		c.Evidence, c.Denial, c.Doubt, c.Federation = a.Evidence, a.Denial, a.Doubt, a.Federation
		if a.Evidence.Valid() {
			c.Why = a.Evidence.Why()
		}
		g.Own.Stale = g.Own.Stale || a.Stale
		switch a.Denial {
		case source.HiddenByList:
			g.hidden(c)
		case source.OnlyInList:
			g.Own.Shown = append(g.Own.Shown, c)
		default:
			kept = append(kept, c)
		}
	}
	return kept, nil
}

// hidden moves the removal c to OwnView. The accounts of the removal that are federated count
// as members of the group. If it is unclear which account is the person's (Ambiguous,
// Rekeyed), the person is also listed in Keep.
func (g *Group) hidden(c Change) {
	g.Own.Hidden = append(g.Own.Hidden, c)
	if c.State == match.Ambiguous || c.State == match.Rekeyed {
		g.Keep = append(g.Keep, Keeper{Member: target.Member{ID: c.User.ID, Name: c.User.Name, Email: c.User.Email}, Why: c.State})
	}
	g.Federated = append(g.Federated, c.federated()...)
}

// floor returns the ids of the members that count toward admins.floor: those whom the plan
// does not remove and who can still sign in. These do not count: groupsync's own user, service
// accounts, people who are disabled, gone or unknown to ClearML, and people whom the plan
// adds.
func (g Group) floor(people map[string]match.State, cannotSignIn map[string]bool) []string {
	leaves := make(map[string]bool, len(g.Remove))
	for _, c := range g.Remove {
		leaves[c.User.ID] = true
	}
	var remain []string
	for _, m := range g.Feed.Group.Members {
		switch state, known := people[m.ID]; {
		case !known, leaves[m.ID], cannotSignIn[m.ID]:
		case state == match.Self, state == match.ServiceAccount, state == match.GoneNow, state == match.GoneKept, state == match.Unresolved:
		default:
			remain = append(remain, m.ID)
		}
	}
	return remain
}

func compareChanges(a, b Change) int { return strings.Compare(a.User.ID, b.User.ID) }
