package reconcile

import (
	"slices"
	"strings"

	"groupsync/internal/match"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// Addition is somebody who is to join a user group.
type Addition struct {
	User target.User
	Why  string // the source that has them
}

// Candidate is somebody whom the plan wants out of a user group. It is no
// removal: that takes Evidence.
type Candidate struct {
	User  target.User
	Claim source.Claim
}

// Keeper is a member who is in none of the sources and stays all the same.
type Keeper struct {
	Member target.Member
	Why    match.State
}

// GroupPlan is what one user group lacks and has too much.
type GroupPlan struct {
	Feed      match.Feed
	Add       []Addition      // sorted by user id
	Remove    []Candidate     // sorted by user id
	Pending   []source.User   // members by Keycloak without a ClearML account, sorted by id
	Keep      []Keeper        // sorted by member id
	Federated []string        // ids of the enabled federated members by Keycloak, sorted
	Floor     []string        // ids of the administrators of whom the floor is counted: present, and not to leave; only of their own group
	Missing   []match.Missing // configured sources that do not exist: the group is frozen, and nothing else is set
}

// Plan is what would have to change for the two sides to agree, before anything
// is confirmed or guarded. It is a value: equal snapshots give equal plans.
type Plan struct {
	Groups  []GroupPlan     // in the order of the pairing's feeds
	Missing []match.Missing // what the configuration names and nothing feeds from
	Managed int             // memberships in ClearML that the plan answers for
	Users   map[match.State]int
	Pending []source.User // everybody pending anywhere, sorted by id
}

// MakePlan computes the plan. It is pure and linear in the memberships of both
// sides.
func MakePlan(src *source.Snapshot, tgt *target.Snapshot, pairing match.Pairing, people match.People, rules match.Rules) Plan {
	p := &planner{
		src: src, tgt: tgt, people: people, rules: rules,
		want: make([]int32, len(tgt.Users())), have: make([]int32, len(tgt.Users())),
		member: make([]int32, len(src.Users())), pending: make([]bool, len(src.Users())),
		unresolved: make(map[string]bool),
	}
	plan := Plan{Groups: make([]GroupPlan, len(pairing.Feeds)), Missing: pairing.Missing}
	for i, f := range pairing.Feeds {
		p.turn++
		plan.Groups[i] = p.group(f)
		if len(plan.Groups[i].Missing) == 0 {
			plan.Managed += len(f.Group.Members)
		}
	}
	plan.Users, plan.Pending = p.census()
	return plan
}

// planner marks people by the turn in which they were met, so that no group
// needs a set of its own.
type planner struct {
	src    *source.Snapshot
	tgt    *target.Snapshot
	people match.People
	rules  match.Rules

	turn       int32
	want, have []int32 // by target user
	member     []int32 // by source user
	pending    []bool  // by source user, over all groups
	unresolved map[string]bool
}

func (p *planner) group(f match.Feed) GroupPlan {
	g := GroupPlan{Feed: f, Missing: slices.Clone(f.Missing)}
	if role := p.src.Role(); f.Role != "" && !role.Found {
		g.Missing = append(g.Missing, match.Missing{Kind: "role", Name: f.Role, Key: "admins.role", Near: role.Near})
	}
	if len(g.Missing) > 0 {
		return g
	}
	desired := p.desired(&g)
	p.present(&g)
	for _, a := range desired {
		u, _ := p.people.Target(a.user)
		if p.have[u] != p.turn {
			g.Add = append(g.Add, Addition{User: p.tgt.Users()[u], Why: "member of " + a.from})
		}
	}
	slices.SortFunc(g.Add, func(a, b Addition) int { return strings.Compare(a.User.ID, b.User.ID) })
	if f.Admins {
		g.Floor = p.floor(g)
	}
	return g
}

// desire is a source user who is to be in the group, and the first source that
// has them.
type desire struct {
	user int
	from string
}

// desired marks who is to be in the group and returns them once each, in the
// order of the sources. Whoever has no account yet becomes pending.
func (p *planner) desired(g *GroupPlan) []desire {
	var all []desire
	for _, s := range g.Feed.Sources {
		ids, _ := p.src.Members(s.ID)
		all = p.desire(g, all, ids, s.Path)
	}
	if g.Feed.Role != "" {
		all = p.desire(g, all, p.src.HoldersOfRole(), "role "+g.Feed.Role)
	}
	slices.SortFunc(g.Pending, func(a, b source.User) int { return strings.Compare(a.ID, b.ID) })
	slices.Sort(g.Federated)
	return all
}

func (p *planner) desire(g *GroupPlan, all []desire, ids []string, from string) []desire {
	for _, id := range ids {
		i, _ := p.src.UserIndex(id)
		if p.member[i] == p.turn {
			continue
		}
		p.member[i] = p.turn
		account := &p.src.Users()[i]
		if account.ServiceAccount || !account.Enabled {
			continue
		}
		if account.Federation != "" {
			g.Federated = append(g.Federated, account.ID)
		}
		if u, ok := p.people.Target(i); ok {
			p.want[u] = p.turn
			all = append(all, desire{i, from})
		} else if !p.people.Ambiguous(i) {
			p.pending[i] = true
			g.Pending = append(g.Pending, *account)
		}
	}
	return all
}

// present marks who is in the group and sorts out those who are not desired:
// only a matched or a gone person can become a candidate.
func (p *planner) present(g *GroupPlan) {
	for _, m := range g.Feed.Group.Members {
		u, known := p.tgt.UserIndex(m.ID)
		if !known {
			p.unresolved[m.ID] = true
			g.Keep = append(g.Keep, Keeper{m, match.Unresolved})
			continue
		}
		p.have[u] = p.turn
		if p.want[u] == p.turn {
			continue
		}
		if claim, ok := p.claim(g.Feed, u); ok {
			g.Remove = append(g.Remove, Candidate{User: p.tgt.Users()[u], Claim: claim})
		} else {
			g.Keep = append(g.Keep, Keeper{m, p.people.State(u)})
		}
	}
}

// claim returns what a second look must bear out before that user may leave
// the group, and false where nothing could ever justify it.
func (p *planner) claim(f match.Feed, user int) (source.Claim, bool) {
	switch p.people.State(user) {
	case match.Matched:
		i, _ := p.people.Source(user)
		account := p.src.Users()[i]
		if !account.Enabled {
			return source.Claim{Why: source.Disabled, User: account}, true
		}
		return source.Claim{Why: source.NotMember, User: account, Groups: f.Sources, Role: f.Role}, true
	case match.GoneNow:
		u := p.tgt.Users()[user]
		return source.Claim{Why: source.Gone, Email: u.Email, IDs: p.rules.KeptIDs(u)}, true
	default:
		return source.Claim{}, false
	}
}

// floor returns the ids of the administrators of whom the floor is counted:
// members who stay and can still sign in. Nobody counts who is groupsync itself,
// a service account, disabled, gone or unknown, nor who is only to be added:
// until that is done and read back, nobody may rely on it.
func (p *planner) floor(g GroupPlan) []string {
	leaves := make(map[string]bool, len(g.Remove))
	for _, c := range g.Remove {
		leaves[c.User.ID] = true
	}
	var remain []string
	for _, m := range g.Feed.Group.Members {
		u, known := p.tgt.UserIndex(m.ID)
		if !known || leaves[m.ID] {
			continue
		}
		switch p.people.State(u) {
		case match.Self, match.ServiceAccount, match.GoneNow, match.GoneKept:
			continue
		}
		if i, ok := p.people.Source(u); ok && !p.src.Users()[i].Enabled {
			continue
		}
		remain = append(remain, m.ID)
	}
	return remain
}

// census counts the people by state and lists everybody pending.
func (p *planner) census() (map[match.State]int, []source.User) {
	users := make(map[match.State]int)
	for i := range p.tgt.Users() {
		users[p.people.State(i)]++
	}
	var pending []source.User
	for i, waits := range p.pending {
		if waits {
			pending = append(pending, p.src.Users()[i])
		}
	}
	users[match.Pending] = len(pending)
	users[match.Unresolved] = len(p.unresolved)
	return users, pending
}
