// Package plan computes the changes after which the two sides agree. A feed is one user group
// with its sources: the groups and the role whose members belong in it. A plan only proposes
// changes, from the member lists of the sources. The person's own side decides each change
// (source.Weigh): it is Keycloak's answer about one account, as opposed to a group's member
// list. The answer is the evidence of the change, or a denial. The package is pure: it reads
// no clock, does no I/O and logs nothing.
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

// Change is one membership that the plan proposes to add or to remove. It is passed by value.
// The second look sets Evidence, or Denial with Doubt. The guards set Guard. The outcome
// of a write is only in the report.
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
	Sources  []source.Group // the sources about which the second look asks: all of the feed's; an addition leaves out those that collide (see grantSources)
	Collides bool           // additions: only names in admins.groups that collide list the person

	Evidence   source.Evidence
	Denial     source.Denial
	Doubt      string
	Federation string // id of the federation that is not up, if that is the reason for Doubt

	Guard report.Guard
}

// Key identifies the change in digests and in the memory.
func (c Change) Key() string { return c.Group + "\x00" + c.User.ID + "\x00" + string(c.Action) }

// Grant reports whether the change is an addition.
func (c Change) Grant() bool { return c.Action == Add }

// Keeper is a member who stays although no source certainly lists the member.
type Keeper struct {
	Member    target.Member
	Why       match.State
	Exception match.Exception // the exception that keeps the member; zero: none
}

// Group is the drift of one user group.
type Group struct {
	Feed      match.Feed
	Add       []Change        // sorted by user id
	Remove    []Change        // sorted by user id
	Pending   []source.User   // members by Keycloak without a ClearML user, sorted by id
	Keep      []Keeper        // sorted by member id
	Federated []string        // ids of the federated accounts of ClearML users that are members by Keycloak, sorted
	Floor     []string        // ids of the administrators that count toward admins.floor; only in an administrators' feed
	OtherRole []target.User   // only if the user group is a role: administrators by Keycloak who have another ClearML role, which stays; sorted by id
	Missing   []match.Missing // configured sources that do not exist: the group is frozen, and only Feed and Unreadable are set besides

	// Unreadable says why Keycloak cannot list the members of a source. If it is set, the
	// group is frozen. If it is empty, every source was read.
	Unreadable string
	Own        OwnView // people for whom the member list and the own side disagree
}

// OwnView lists the people for whom the member list and the own side disagree.
type OwnView struct {
	Hidden []Change // removals that the list proposed, but the own side has the membership
	Shown  []Change // additions that the list proposed, but the own side does not have the membership
	Stale  bool     // an answer showed that Keycloak's user cache was out of date
}

// Frozen reports whether a source is missing or unreadable, so that no change can be planned.
func (g Group) Frozen() bool { return len(g.Missing) > 0 || g.Unreadable != "" }

// Plan is the proposed changes of a pass. Equal snapshots give equal plans.
type Plan struct {
	Groups       []Group         // in the order of the pairing's feeds
	Missing      []match.Missing // configured things that do not exist and belong to no group of Groups
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

// Only returns the plan with only those removals whose keys are given, and no other changes.
func (p Plan) Only(keys map[string]bool) Plan {
	return p.Cut(func(c Change) bool { return !c.Grant() && keys[c.Key()] })
}

// Cut returns the plan with only those changes for which keep returns true. The own side is
// not asked about a removal that Cut drops, and may have the membership. So Cut counts the
// federated accounts of such a removal as members. If it did not, the guard `fall` would take
// them for lost.
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

// Weighed returns the plan with the answers of the second look. A change that the own side
// contradicts is no drift: it moves to the group's OwnView. Weighed returns an error if the
// number of answers differs from the number of questions, or if an answer is for another
// change.
func (p Plan) Weighed(c source.Confirmation) (Plan, error) {
	p.Groups = slices.Clone(p.Groups)
	rest := c.Answers
	for i := range p.Groups {
		g := &p.Groups[i]
		asked := len(g.Add) + len(g.Remove)
		if len(rest) < asked {
			return Plan{}, fmt.Errorf("the second look answers fewer questions than were asked (%d)", len(c.Answers))
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
		return Plan{}, fmt.Errorf("the second look answers more questions than were asked (%d)", len(c.Answers))
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

// weighAll returns the changes that stay in the plan, each with its answer. It returns an
// error if an answer is for another change.
func (g *Group) weighAll(changes []Change, answers []source.Answer) ([]Change, error) {
	var kept []Change
	for i, c := range changes {
		a := answers[i]
		if !a.For(c.Group, c.User.ID, c.Grant()) || a.Evidence.Valid() && !a.Evidence.For(c.Group, c.User.ID, c.Grant()) {
			return nil, fmt.Errorf("the second look answers for another change than the one asked about, in the user group with the id %s", c.Group)
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

// hidden moves a removal to OwnView. Its federated accounts count as members of the group. If
// the state is Ambiguous or Rekeyed, the member is also listed in Keep with that reason.
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
