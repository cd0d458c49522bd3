// Package plan computes what would have to change for the two sides to agree. A plan
// only proposes, by the member lists; the person's own side decides (source.Weigh).
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

// The actions there are.
const (
	Add    Action = "add"
	Remove Action = "remove"
)

// Change is one membership that the plan proposes to add or to remove. The record is
// passed on by value: the second look adds Evidence, or the Denial with its Doubt; the
// guards add Guard; apply adds Outcome.
type Change struct {
	Group  string // id of the user group
	User   target.User
	Action Action
	Why    source.Why
	From   string // additions: the first source that lists the person
	Match  string // how the person was matched: "id" or "email"
	State  match.State

	Accounts []source.User // of an addition the one account, of a removal every account that could be the person
	GoneBy   source.GoneBy
	Sources  []source.Group // the sources that the own side is asked for: all of the group's, of an addition without those that collide
	Collides bool           // additions: only names of admins.groups that collide list the person

	Evidence   source.Evidence
	Denial     source.Denial
	Doubt      string
	Federation string // id of the federation that is not up, if that is the doubt

	Guard   report.Guard
	Outcome report.Outcome
}

// Key names the change in digests and in the guards' memory.
func (c Change) Key() string { return c.Group + "\x00" + c.User.ID + "\x00" + string(c.Action) }

// Grant reports whether the change is an addition.
func (c Change) Grant() bool { return c.Action == Add }

// Keeper is a member who is in none of the sources, or not surely in one, and stays.
type Keeper struct {
	Member    target.Member
	Why       match.State
	Exception match.Exception // that keeps the member; zero: none does
}

// Group is what one user group lacks and has too much.
type Group struct {
	Feed      match.Feed
	Add       []Change        // sorted by user id
	Remove    []Change        // sorted by user id
	Pending   []source.User   // members by Keycloak without a ClearML account, sorted by id
	Keep      []Keeper        // sorted by member id
	Federated []string        // ids of the federated accounts of ClearML users that Keycloak has in the group, sorted
	Floor     []string        // ids of the administrators that count toward admins.floor; only of their own group
	OtherRole []target.User   // of a role: administrators by Keycloak whose role in ClearML is another one, which stays; sorted by id
	Missing   []match.Missing // configured sources that do not exist: the group is frozen, and nothing else is set

	// Unreadable says why Keycloak cannot list the members of a source: the group is
	// frozen. Empty: every source was read.
	Unreadable string
	Own        OwnView // where the list and the person's own side disagree
}

// OwnView lists the people for whom the member list and the own side disagree.
type OwnView struct {
	Hidden []Change // removals that the list proposed: the own side holds the group
	Shown  []Change // additions that the list proposed: the own side lacks the group
	Stale  bool     // Keycloak's user cache was seen to be old
}

// Frozen reports whether nothing of the group can be planned.
func (g Group) Frozen() bool { return len(g.Missing) > 0 || g.Unreadable != "" }

// Plan is what would have to change. It is a value: equal snapshots give equal plans.
type Plan struct {
	Groups  []Group         // in the order of the pairing's feeds
	Missing []match.Missing // what the configuration names and nothing feeds from
	Managed int             // memberships in ClearML that the plan answers for
	Users   map[match.State]int
	People  map[string]match.State // by id of the ClearML user: the state of everybody who matters
	Barred  map[string]bool        // by id of the ClearML user: no account of the person is known that could still sign in
	Pending []source.User          // everybody pending anywhere, sorted by id
	Asks    []source.Person        // whom the realm must be asked for first, sorted by key
}

// Questions returns what the second look must answer, group by group, additions
// first.
func (p Plan) Questions() []source.Question {
	var questions []source.Question
	for _, g := range p.Groups {
		for _, c := range slices.Concat(g.Add, g.Remove) {
			questions = append(questions, source.Question{
				Group: c.Group, User: c.User.ID, Grant: c.Grant(), Accounts: c.Accounts, GoneBy: c.GoneBy, Sources: c.Sources, Role: g.Feed.Role,
			})
		}
	}
	return questions
}

// Only returns the plan with the removals that keys names, and nothing else to do.
func (p Plan) Only(keys map[string]bool) Plan {
	return p.Cut(func(c Change) bool { return !c.Grant() && keys[c.Key()] })
}

// Cut returns the plan with the changes that keep names, and nothing else to do. Nobody
// asks the own side about a removal that is left out, and the own side may hold the group.
// So its federated accounts count as members, and the guard fall does not take them for
// lost.
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

// federated returns the ids of those accounts of the change that are of a federation.
func (c Change) federated() []string {
	var ids []string
	for _, u := range c.Accounts {
		if u.Federation != "" {
			ids = append(ids, u.ID)
		}
	}
	return ids
}

// Weighed returns the plan with what the second look said of each change. A change
// that the own side contradicts leaves the plan for the group's OwnView: that is no
// drift. An answer that is not for the change it answers is an error.
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
			g.Floor = g.floor(p.People, p.Barred)
		}
	}
	if len(rest) > 0 {
		return Plan{}, fmt.Errorf("the second look answers more questions than were asked (%d)", len(c.Answers))
	}
	return p, nil
}

// weigh puts the answers into the group's changes, additions first. A change that the
// own side contradicts moves to OwnView.
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

// weighAll returns the changes that stay in the plan, each with its answer.
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
		case source.OwnHas:
			g.hidden(c)
		case source.OwnLacks:
			g.Own.Shown = append(g.Own.Shown, c)
		default:
			kept = append(kept, c)
		}
	}
	return kept, nil
}

// hidden moves a removal to OwnView. The member counts among the group's federated
// people, and stays with a reason if nobody can say which account is the person's.
func (g *Group) hidden(c Change) {
	g.Own.Hidden = append(g.Own.Hidden, c)
	if c.State == match.Ambiguous || c.State == match.Rekeyed {
		g.Keep = append(g.Keep, Keeper{Member: target.Member{ID: c.User.ID, Name: c.User.Name, Email: c.User.Email}, Why: c.State})
	}
	g.Federated = append(g.Federated, c.federated()...)
}

// floor returns the members that count toward admins.floor: those whom the plan does
// not remove and who can still sign in. Not counted are groupsync's own account,
// service accounts, people who are disabled, gone or unknown to ClearML, and people
// whom the plan is about to add.
func (g Group) floor(people map[string]match.State, barred map[string]bool) []string {
	leaves := make(map[string]bool, len(g.Remove))
	for _, c := range g.Remove {
		leaves[c.User.ID] = true
	}
	var remain []string
	for _, m := range g.Feed.Group.Members {
		switch state, known := people[m.ID]; {
		case !known, leaves[m.ID], barred[m.ID]:
		case state == match.Self, state == match.ServiceAccount, state == match.GoneNow, state == match.GoneKept, state == match.Unresolved:
		default:
			remain = append(remain, m.ID)
		}
	}
	return remain
}

func compareChanges(a, b Change) int { return strings.Compare(a.User.ID, b.User.ID) }
