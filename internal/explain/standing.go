package explain

import (
	"slices"
	"strconv"
	"strings"

	"groupsync/internal/guard"
	"groupsync/internal/match"
	"groupsync/internal/plan"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// The values of Standing.Wants.
const (
	in      = "in"
	out     = "out"
	unknown = "unknown"
)

// standings returns one Standing for each person that the answer shows in a fed ClearML group.
// Members come first, then people whom a member list of Keycloak would add, then pending people.
func (x *explainer) standings(g plan.Group) []Standing {
	if x.Person != nil {
		return x.ofPerson(g)
	}
	list := []Standing{}
	for _, m := range g.Feed.Group.Members {
		list = append(list, x.member(g, m))
	}
	for _, c := range slices.Concat(g.Add, g.Own.Shown) {
		list = append(list, x.joiner(g, c))
	}
	for _, u := range g.Pending {
		list = append(list, x.pending(g, u))
	}
	return list
}

// ofPerson returns the standing of the answer's one person in the group. The list is empty if
// nothing links the person to the group and the question does not name the group.
func (x *explainer) ofPerson(g plan.Group) []Standing {
	p := x.Person
	is := func(c plan.Change) bool { return p.User != nil && c.User.ID == p.User.ID }
	if p.User != nil {
		if i := slices.IndexFunc(g.Feed.Group.Members, func(m target.Member) bool { return m.ID == p.User.ID }); i >= 0 {
			return []Standing{x.member(g, g.Feed.Group.Members[i])}
		}
	}
	for _, c := range slices.Concat(g.Add, g.Own.Shown) {
		if is(c) {
			return []Standing{x.joiner(g, c)}
		}
	}
	if p.User == nil {
		for _, u := range g.Pending {
			if u.ID == p.Accounts[0].ID {
				return []Standing{x.pending(g, u)}
			}
		}
	}
	if s, linked := x.absent(g); linked || x.Subject.Group != "" {
		return []Standing{s}
	}
	return []Standing{}
}

// member returns the standing of a member of the group.
func (x *explainer) member(g plan.Group, m target.Member) Standing {
	s := Standing{ID: m.ID, Name: m.Name, Email: m.Email, Has: true, Wants: in, Status: InSync, By: x.by(g, x.accountsOf(m.ID))}
	if i, known := x.tgt.UserIndex(m.ID); known {
		s.Name, s.Email = x.tgt.Users()[i].Name, x.tgt.Users()[i].Email
	}
	is := func(c plan.Change) bool { return c.User.ID == m.ID }
	keep := slices.IndexFunc(g.Keep, func(k plan.Keeper) bool { return k.Member.ID == m.ID })
	switch remove, hidden := slices.IndexFunc(g.Remove, is), slices.IndexFunc(g.Own.Hidden, is); {
	case g.Frozen():
		s.Status, s.Wants, s.Why = Frozen, unknown, frozen
	case remove >= 0:
		x.change(&s, g, g.Remove[remove])
	case hidden >= 0:
		s.Status, s.Why, s.Doubt = Hidden, "Keycloak's member list hides the person, but the person's own side has the group; groupsync follows the own side, so the person stays", g.Own.Hidden[hidden].Doubt
	case keep >= 0:
		s.Status, s.Wants, s.Why = Kept, unknown, "stays: "+stays(g.Keep[keep])
		s.Match = x.people(m.ID).Match
	default:
		s.Why, s.Match = "ClearML has the group, and so has Keycloak, by "+strings.Join(shown(s.By), ", "), x.people(m.ID).Match
	}
	return s
}

const frozen = "a source of the group is missing or cannot be read, so groupsync changes nothing in the group"

// stays returns why a member stays although no member list of Keycloak has the person.
func stays(k plan.Keeper) string {
	e := k.Exception
	if e.Match == "" {
		return meanings[string(k.Why)]
	}
	why := "an exception of users.protect keeps the membership"
	if !e.Until.IsZero() {
		why += " until " + stamp(e.Until)
	}
	if e.Reason != "" {
		why += ": " + e.Reason
	}
	return why
}

// joiner returns the standing of a person whom a member list of Keycloak shows and whom ClearML
// does not have in the group.
func (x *explainer) joiner(g plan.Group, c plan.Change) Standing {
	s := Standing{ID: c.User.ID, Name: c.User.Name, Email: c.User.Email, By: x.by(g, c.Accounts)}
	if c.Denial == source.OnlyInList {
		s.Status, s.Wants, s.Doubt = Shown, out, c.Doubt
		s.Why = "only Keycloak's member list shows the person; groupsync follows the person's own side, which does not have the group"
		return s
	}
	x.change(&s, g, c)
	return s
}

// change fills the standing s of a person whom the plan adds to the group or removes from it.
func (x *explainer) change(s *Standing, g plan.Group, c plan.Change) {
	s.Match, s.Evidence, s.Doubt, s.Guard = c.Match, c.Evidence.String(), c.Doubt, string(c.Guard)
	s.Status, s.Wants = Add, in
	does, because := "adds", "a member of "+report.Name(c.From)
	if !c.Grant() {
		s.Status, s.Wants, does, because = Remove, out, "removes", reasons[c.Why]
	}
	if c.Guard == "" {
		s.Why = "the next pass that may write " + does + " the person: " + because
		return
	}
	s.Why = "the guard " + s.Guard + " withholds the change; without it a pass " + does + " the person: " + because
	if c.Denial != source.Proved {
		s.Wants = unknown
		s.Why = "by the member lists a pass " + does + " the person, but the person's own side did not confirm the change; the guard " + s.Guard + " withholds it"
	}
	s.Detail = x.detail(g, c)
	if due, waits := guard.Due(c, x.Input); waits && !due.IsZero() && c.Guard == report.Grace {
		s.Until = &due
	}
}

// reasons describes each reason of a removal in a clause.
var reasons = map[source.Why]string{
	source.NotMember: "no account of the person is in a Keycloak group that feeds this one",
	source.Disabled:  "the account is disabled",
	source.Gone:      "Keycloak no longer has the account",
}

// detail returns the sentence of the guard that withholds a change. If the guard has several
// trips, detail takes the sentence of a trip about the group, or about the federation of the
// change. Else it takes the first trip that is not about one group, and else the first trip.
func (x *explainer) detail(g plan.Group, c plan.Change) string {
	if c.Guard == report.Grace {
		return x.grace(c)
	}
	best, rank := "", 0
	for _, t := range x.Trips {
		fits := 1
		switch {
		case t.Guard != c.Guard:
			continue
		case t.Group == g.Feed.Group.Name, c.Federation != "" && strings.Contains(t.Detail, strconv.Quote(x.federation(c.Federation))):
			fits = 3
		case t.Group == "":
			fits = 2
		}
		if fits > rank {
			best, rank = t.Detail, fits
		}
	}
	return best
}

// grace returns the sentence of the guard grace for one removal. The sentence in the guard's trip
// does not fit here, because it counts all removals of the same kind.
func (x *explainer) grace(c plan.Change) string {
	evidence := "on a federation"
	if c.Evidence.ByEmail() {
		evidence = "on an email alone, because ClearML keeps no account id of the person"
	}
	return "the evidence for the removal depends " + evidence + ". The removal waits until every pass has wanted it for " + x.Input.Limits.GraceOf(c.Evidence).String()
}

func (x *explainer) pending(g plan.Group, u source.User) Standing {
	s := Standing{ID: u.ID, Name: u.Username, Email: u.Email, Wants: in, Status: Pending, By: x.by(g, []source.User{u})}
	s.Why = meanings[string(match.Pending)]
	return s
}

// absent returns the standing of a person who is not in the group and whom the plan does not add.
// The second result is false if nothing links the person to the group. This is so if no account of
// the person is in a source of the group.
func (x *explainer) absent(g plan.Group) (Standing, bool) {
	p := x.Person
	s := Standing{Status: Out, Wants: out, By: x.by(g, p.Accounts), Why: neither}
	if p.User != nil {
		s.ID, s.Name, s.Email = p.User.ID, p.User.Name, p.User.Email
	} else {
		s.ID, s.Name, s.Email = p.Accounts[0].ID, p.Accounts[0].Username, p.Accounts[0].Email
	}
	own, enabled := x.holds(g)
	if g.Frozen() {
		s.Status, s.Wants, s.Why = Frozen, unknown, frozen
		return s, len(s.By) > 0 || own != ""
	}
	switch {
	case len(s.By) > 0:
		s.Status, s.Wants, s.Why = NotGranted, unknown, "no pass adds the person: "+x.whyNot()
	case own != "" && !enabled:
		s.Status, s.Wants, s.Why = NotGranted, unknown, "no pass adds the person: only an account that Keycloak shows as disabled has "+report.Name(own)
	case own != "":
		s.Status, s.Wants = Hidden, in
		s.Why = "the person's own side has " + report.Name(own) + ", but Keycloak's member list hides the person, so no pass adds the person; the next login to ClearML gives the group"
	default:
		return s, false
	}
	return s, true
}

const neither = "neither ClearML nor Keycloak has the person in the group"

// whyNot returns why groupsync does not add the person, although an account of the person is in a
// source of the group.
func (x *explainer) whyNot() string {
	p := x.Person
	switch {
	case !slices.ContainsFunc(p.Accounts, func(a source.User) bool { return a.Enabled }):
		if slices.ContainsFunc(p.Accounts, func(a source.User) bool { return p.Own[a.ID].Doubt != "" }) {
			return maybeDisabled
		}
		return "the account is disabled"
	case p.User == nil:
		return meanings[x.stateOf(p.Accounts[0])]
	case p.State == match.Matched:
		return "another account may have the email too, or another ClearML user may be the account"
	}
	return meanings[string(p.State)]
}

// holds looks for a source of the group on the own sides of the person's accounts. It returns
// the path of the first source that it finds, and whether that account is enabled. It prefers
// an enabled account, because nobody can log in with a disabled one. holds returns an empty
// path if no own side has a source of the group.
func (x *explainer) holds(g plan.Group) (path string, enabled bool) {
	for _, s := range g.Feed.Sources {
		for _, a := range x.Person.Accounts {
			_, has := slices.BinarySearch(x.Person.Own[a.ID].Groups, s.ID)
			switch {
			case has && a.Enabled:
				return s.Path, true
			case has && path == "":
				path = s.Path
			}
		}
	}
	return path, false
}

// people returns the accounts that could be a ClearML user's, and the state of the user. For an
// id that is not in the list of users it returns the zero Person.
func (x *explainer) people(id string) match.Person {
	i, known := x.tgt.UserIndex(id)
	if !known {
		return match.Person{}
	}
	return x.People.Person(i)
}

func (x *explainer) accountsOf(id string) []source.User {
	var accounts []source.User
	for _, a := range x.people(id).Accounts {
		accounts = append(accounts, x.src.Users()[a])
	}
	return accounts
}

// by returns the sources that list one of the accounts, and the admin role if an account holds
// it.
func (x *explainer) by(g plan.Group, accounts []source.User) []string {
	by := []string{}
	for _, s := range g.Feed.Sources {
		if slices.ContainsFunc(accounts, func(a source.User) bool { return x.listed(s.ID, a.ID) == yes }) {
			by = append(by, s.Path)
		}
	}
	if g.Feed.Role != "" && slices.ContainsFunc(accounts, func(a source.User) bool {
		_, holds := slices.BinarySearch(x.src.HoldersOfRole(g.Feed.Role), a.ID)
		return holds
	}) {
		by = append(by, "role "+g.Feed.Role)
	}
	return by
}

// shown returns each name as report.Name writes it: in quotes if it needs escapes.
func shown(list []string) []string {
	names := make([]string, len(list))
	for i, n := range list {
		names[i] = report.Name(n)
	}
	return names
}
