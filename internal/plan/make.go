package plan

import (
	"cmp"
	"slices"
	"strings"

	"groupsync/internal/match"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// Make computes the plan. The time that it takes grows linearly with the memberships of both
// sides.
func Make(src *source.Snapshot, tgt *target.Snapshot, pairing match.Pairing, people match.People) Plan {
	p := &planner{
		src: src, tgt: tgt, people: people,
		have: make([]int32, len(tgt.Users())), in: make([]int32, len(src.Users())), place: make([]int32, len(src.Users())),
		pending: make([]bool, len(src.Users())), states: make(map[string]match.State), cannotSignIn: make(map[string]bool), asks: make(map[string]source.Person),
	}
	plan := Plan{Groups: make([]Group, len(pairing.Feeds)), Missing: pairing.Missing}
	for i, f := range pairing.Feeds {
		p.turn++
		plan.Groups[i] = p.group(f)
		if !plan.Groups[i].Frozen() {
			plan.Managed += len(f.Group.Members)
		}
	}
	p.census(&plan)
	return plan
}

// planner makes the plan, one group after the other. turn is the number of the present group.
// To mark a person for this group, planner stores turn at the index of the person in the list
// `have` or in the list `in`. This saves a new set of people for each group.
type planner struct {
	src    *source.Snapshot
	tgt    *target.Snapshot
	people match.People

	turn         int32
	have         []int32 // by target user: last turn in which the user was a member of the user group
	in           []int32 // by source user: last turn in which a source listed the enabled account
	place        []int32 // by source user: index in the result of the function `listed`; valid if the user's entry in the list `in` is the present turn
	pending      []bool  // by source user: pending in some group
	states       map[string]match.State
	cannotSignIn map[string]bool
	asks         map[string]source.Person
}

func (p *planner) group(f match.Feed) Group {
	g := Group{Feed: f, Missing: slices.Clone(f.Missing)}
	if f.Role != "" {
		if role := p.src.Role(f.Role); !role.Found {
			g.Missing = append(g.Missing, match.Missing{Kind: "role", Name: f.Role, Key: "admins.role", Near: role.Near, Several: role.Several})
		}
	}
	g.Unreadable = p.unreadable(f)
	if g.Frozen() {
		return g
	}
	listed := p.listed(f)
	p.sortOut(&g, listed)
	p.members(&g)
	for _, l := range listed {
		p.addition(&g, l)
	}
	slices.SortFunc(g.Add, compareChanges)
	slices.SortFunc(g.OtherRole, func(a, b target.User) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(g.Pending, func(a, b source.User) int { return strings.Compare(a.ID, b.ID) })
	slices.Sort(g.Federated)
	g.Federated = slices.Compact(g.Federated)
	return g
}

// unreadable returns why Keycloak cannot list the members of a source, or of a group that
// gives the admin role. It returns "" if Keycloak can list them all.
func (p *planner) unreadable(f match.Feed) string {
	ids := make([]string, 0, len(f.Sources))
	for _, s := range f.Sources {
		ids = append(ids, s.ID)
	}
	if f.Role != "" {
		if role := p.src.Role(f.Role); role != nil {
			ids = append(ids, role.Groups...)
		}
	}
	for _, id := range ids {
		if why := p.src.Unreadable(id); why != "" {
			return why
		}
	}
	return ""
}

// listing is an enabled account that a source lists.
type listing struct {
	account int
	clear   bool // the role lists the account, or a source whose name does not collide (match.Collision)
}

// listed marks and returns the enabled accounts that the sources list, in the order of the
// sources. Each account is returned once. Disabled accounts and service accounts are left out.
func (p *planner) listed(f match.Feed) []listing {
	var all []listing
	list := func(id string) *listing {
		i, _ := p.src.UserIndex(id)
		a := &p.src.Users()[i]
		if a.ServiceAccount || !a.Enabled {
			return nil
		}
		if p.in[i] != p.turn {
			// len(all) fits into an int32, because no realm has 2^31 accounts.
			p.in[i], p.place[i] = p.turn, int32(len(all)) // #nosec G115 -- so many accounts do not fit into the limit of an answer
			all = append(all, listing{account: i})
		}
		return &all[p.place[i]]
	}
	for _, s := range f.Sources {
		ids, _ := p.src.Members(s.ID)
		collides := f.Colliding(s.ID)
		all = slices.Grow(all, len(ids))
		for _, id := range ids {
			if l := list(id); l != nil {
				l.clear = l.clear || !collides
			}
		}
	}
	if f.Role != "" {
		for _, id := range p.src.HoldersOfRole(f.Role) {
			if l := list(id); l != nil {
				l.clear = true
			}
		}
	}
	return all
}

// grantSources returns the sources about which the second look asks to confirm a grant. They
// include sources that do not list the account, because a member list can miss an account.
// clear says that the role or a source that does not collide lists the account. If it is true,
// the colliding sources are left out: a group that only has the same name as an admin group
// must not confirm a grant.
func grantSources(f match.Feed, clear bool) []source.Group {
	return slices.DeleteFunc(slices.Clone(f.Sources), func(g source.Group) bool { return clear && f.Colliding(g.ID) })
}

// from returns the path of the first source that lists the account, or "" if only the admin
// role lists the account.
func (p *planner) from(sources []source.Group, account string) string {
	i := slices.IndexFunc(sources, func(g source.Group) bool {
		ids, _ := p.src.Members(g.ID)
		_, in := slices.BinarySearch(ids, account)
		return in
	})
	if i < 0 {
		return ""
	}
	return sources[i].Path
}

// sortOut fills g.Pending with the listed accounts that no ClearML user could have, and
// g.Federated with the other listed accounts that are federated.
func (p *planner) sortOut(g *Group, listed []listing) {
	for _, l := range listed {
		a := &p.src.Users()[l.account]
		switch {
		case !p.people.Claimed(l.account):
			p.pending[l.account] = true
			g.Pending = append(g.Pending, *a)
		case a.Federation != "":
			g.Federated = append(g.Federated, a.ID)
		}
	}
}

// members marks the members of the user group (have) and decides about each of them. If no
// source lists any account that could be the member's, removal proposes the removal, or keeps the
// member with a reason. If a source lists one of these accounts, and it is unclear which account is
// the member's, the member is kept.
func (p *planner) members(g *Group) {
	f := g.Feed
	for _, m := range f.Group.Members {
		u, known := p.tgt.UserIndex(m.ID)
		if !known {
			p.states[m.ID] = match.Unresolved
			g.Keep = append(g.Keep, Keeper{Member: m, Why: match.Unresolved})
			continue
		}
		p.have[u] = p.turn
		person := p.people.Person(u)
		p.remember(u, person)
		listed := slices.ContainsFunc(person.Accounts, func(a int) bool { return p.in[a] == p.turn })
		doubtful := !person.Sure && (person.State == match.Ambiguous || person.State == match.Rekeyed)
		if doubtful && person.Ask.Key != "" {
			p.asks[person.Ask.Key] = person.Ask
		}
		switch {
		case listed && doubtful:
			g.Keep = append(g.Keep, Keeper{Member: m, Why: person.State})
		case listed:
		default:
			p.removal(g, m, u, person)
		}
	}
}

// removal proposes to remove a member, or keeps the member with a reason.
func (p *planner) removal(g *Group, m target.Member, u int, person match.Person) {
	keep := func(why match.State) { g.Keep = append(g.Keep, Keeper{Member: m, Why: why}) }
	if !person.State.Removable() {
		keep(person.State)
		return
	}
	user := p.tgt.Users()[u]
	if person.State == match.GoneNow && person.GoneBy == source.ByEmail && p.renamed(g.Pending, user) {
		keep(match.Renamed)
		p.states[m.ID] = match.Renamed
		return
	}
	if e, excepted := p.people.Exception(u, g.Feed.Group); excepted {
		g.Keep = append(g.Keep, Keeper{Member: m, Why: match.Protected, Exception: e})
		p.except(m.ID, person)
		return
	}
	c := Change{
		Group: g.Feed.Group.ID, User: user, Action: Remove, Match: person.Match, State: person.State, Why: source.Gone, GoneBy: person.GoneBy,
		Sources: g.Feed.Sources,
	}
	if person.Ask.Key != "" {
		p.asks[person.Ask.Key] = person.Ask
		c.GoneBy = source.ByEmail // with a GoneBy, the second look denies the removal as long as the look-up is not answered
	}
	for _, a := range person.Accounts {
		account := p.src.Users()[a]
		c.Accounts = append(c.Accounts, account)
		if account.Enabled {
			c.Why = source.NotMember
		} else if c.Why == source.Gone {
			c.Why = source.Disabled
		}
	}
	g.Remove = append(g.Remove, c)
}

// except sets the state of a person to Protected if no account of the person is known yet. The
// caller has found that an exception keeps the person in the present group. No look-up is made
// for this person, because every pass would repeat it until the exception ends. So it stays
// unknown whether the person can still sign in, and the person must not count toward
// admins.floor.
func (p *planner) except(id string, person match.Person) {
	if person.State == match.NotAsked {
		p.states[id], p.cannotSignIn[id] = match.Protected, true
	}
}

// renamed reports whether a pending account of the group has the name of u. No account has the
// email of u, so this account probably belongs to u, with a new email.
func (p *planner) renamed(pending []source.User, u target.User) bool {
	names := match.Names(u)
	return slices.ContainsFunc(pending, func(a source.User) bool { return match.HasName(a, names) })
}

// addition proposes to add the user who certainly has the listed account. If no user certainly
// has it, addition may ask for look-ups (askClaimants).
func (p *planner) addition(g *Group, l listing) {
	u, sure := p.people.Owner(l.account)
	if !sure {
		p.askClaimants(g, l.account)
		return
	}
	person := p.people.Person(u)
	p.remember(u, person)
	if p.have[u] == p.turn {
		return
	}
	account, user := p.src.Users()[l.account], p.tgt.Users()[u]
	if g.Feed.Group.Role != "" && user.Role != target.RoleUser {
		g.OtherRole = append(g.OtherRole, user)
		return
	}
	sources := grantSources(g.Feed, l.clear)
	g.Add = append(g.Add, Change{
		Group: g.Feed.Group.ID, User: user, Action: Add, Why: source.Member, From: cmp.Or(p.from(sources, account.ID), "role "+g.Feed.Role), Match: person.Match,
		Accounts: []source.User{account}, Sources: sources, Collides: !l.clear,
	})
}

// askClaimants asks for a look-up of each user who could have a listed account, if the answer
// can decide which of them has it. If all these users are members, there is nothing to grant,
// and no look-up is made. For administrators the look-ups are made even then. Example: a member
// and somebody else have accounts with the same email, and only the account of somebody else is
// still an administrator. Without the look-up, groupsync takes that account for the member's,
// and nothing shows that the member may no longer be an administrator.
func (p *planner) askClaimants(g *Group, account int) {
	claimants := p.people.Claimants(account)
	lacks := g.Feed.Admins || slices.ContainsFunc(claimants, func(u int) bool { return p.have[u] != p.turn })
	for _, u := range claimants {
		person := p.people.Person(u)
		p.remember(u, person)
		if lacks && person.AskBeforeGrant && person.Ask.Key != "" {
			p.asks[person.Ask.Key] = person.Ask
		}
	}
}

// remember records the state of a person whom the plan concerns, and whether all accounts of
// the person are disabled.
func (p *planner) remember(u int, person match.Person) {
	id := p.tgt.Users()[u].ID
	if _, known := p.states[id]; known {
		return
	}
	p.states[id] = person.State
	if len(person.Accounts) > 0 && !slices.ContainsFunc(person.Accounts, func(a int) bool { return p.src.Users()[a].Enabled }) {
		p.cannotSignIn[id] = true
	}
}

// census fills the fields of the plan that cover all groups: the states of people and their
// numbers, the pending accounts and the look-ups.
func (p *planner) census(plan *Plan) {
	plan.People, plan.CannotSignIn, plan.Users = p.states, p.cannotSignIn, make(map[match.State]int)
	for _, state := range p.states {
		plan.Users[state]++
	}
	for i, waits := range p.pending {
		if waits {
			plan.Pending = append(plan.Pending, p.src.Users()[i])
		}
	}
	plan.Users[match.Pending] = len(plan.Pending)
	for _, ask := range p.asks {
		plan.Asks = append(plan.Asks, ask)
	}
	slices.SortFunc(plan.Asks, func(a, b source.Person) int { return strings.Compare(a.Key, b.Key) })
}
