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

// standings returns how everybody of the answer stands to a ClearML group that something
// feeds: the members, then additions, then pending people.
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

// ofPerson returns how the person stands to the group. The list is empty if nothing links
// the two and the question does not name the group.
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
	if s, told := x.absent(g); told || x.Subject.Group != "" {
		return []Standing{s}
	}
	return []Standing{}
}

// member returns how a member stands to the group.
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
		s.Status, s.Why, s.Doubt = Hidden, "Keycloak's member list hides the person, the person's own side has the group, and the own side is right", g.Own.Hidden[hidden].Doubt
	case keep >= 0:
		s.Status, s.Wants, s.Why = Kept, unknown, "stays: "+stays(g.Keep[keep])
		s.Match = x.people(m.ID).Match
	default:
		s.Why, s.Match = "ClearML has the group, and so has Keycloak, by "+strings.Join(shown(s.By), ", "), x.people(m.ID).Match
	}
	return s
}

const frozen = "a source of the group is missing or cannot be read, so nothing is decided about it"

// stays says why a member whom Keycloak does not want stays.
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

// joiner returns how somebody stands whom a list has in the group and ClearML has not.
func (x *explainer) joiner(g plan.Group, c plan.Change) Standing {
	s := Standing{ID: c.User.ID, Name: c.User.Name, Email: c.User.Email, By: x.by(g, c.Accounts)}
	if c.Denial == source.OwnLacks {
		s.Status, s.Wants, s.Doubt = Shown, out, c.Doubt
		s.Why = "only Keycloak's member list shows the person, and the person's own side, which is right, does not have the group"
		return s
	}
	x.change(&s, g, c)
	return s
}

// change puts a change of the plan into a standing.
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
	if c.Denial != source.Borne {
		s.Wants = unknown
		s.Why = "by the member lists a pass " + does + " the person, and the person's own side did not confirm that; the guard " + s.Guard + " withholds the change"
	}
	s.Detail = x.detail(g, c)
	if due, waits := guard.Due(c, x.Input); waits && !due.IsZero() && c.Guard == report.Grace {
		s.Until = &due
	}
}

// reasons are the reasons of a removal in words.
var reasons = map[source.Why]string{
	source.NotMember: "no account of the person is in a Keycloak group that feeds this one",
	source.Disabled:  "the account is disabled",
	source.Gone:      "Keycloak no longer has the account",
}

// detail returns the sentence of the guard that withholds a change. Of several trips of
// the guard it is the one about the group, or about the change's federation.
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

// grace returns the sentence of the guard grace about one removal. The guard's own
// sentence is about all removals of its kind.
func (x *explainer) grace(c plan.Change) string {
	rests := "on a federation"
	if c.Evidence.ByEmail() {
		rests = "on an email alone, since ClearML keeps no account id of the person,"
	}
	return "the removal rests " + rests + " and waits until every pass has wanted it for " + x.Input.Limits.GraceOf(c.Evidence).String()
}

func (x *explainer) pending(g plan.Group, u source.User) Standing {
	s := Standing{ID: u.ID, Name: u.Username, Email: u.Email, Wants: in, Status: Pending, By: x.by(g, []source.User{u})}
	s.Why = meanings[string(match.Pending)]
	return s
}

// absent returns why the person does not have the group and no change is proposed; false: no
// account of the person is in a group that feeds it.
func (x *explainer) absent(g plan.Group) (Standing, bool) {
	p := x.Person
	s := Standing{Status: Out, Wants: out, By: x.by(g, p.Accounts), Why: neither}
	if p.User != nil {
		s.ID, s.Name, s.Email = p.User.ID, p.User.Name, p.User.Email
	} else {
		s.ID, s.Name, s.Email = p.Accounts[0].ID, p.Accounts[0].Username, p.Accounts[0].Email
	}
	if g.Frozen() {
		s.Status, s.Wants, s.Why = Frozen, unknown, frozen
		return s, len(s.By) > 0 || x.holds(g) != ""
	}
	own := x.holds(g)
	switch {
	case len(s.By) > 0:
		s.Status, s.Wants, s.Why = NotGranted, unknown, "no pass adds the person: "+x.whyNot()
	case own != "":
		s.Status, s.Wants = Hidden, in
		s.Why = "the person's own side has " + report.Name(own) + ", Keycloak's member list hides the person, so no pass proposes the group; the next login to ClearML gives it"
	default:
		return s, false
	}
	return s, true
}

const neither = "neither ClearML nor Keycloak has the person in the group"

// whyNot says why an account in a source is granted nothing.
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

// holds returns the path of the first source that an enabled account of the person has by
// its own side; empty: none.
func (x *explainer) holds(g plan.Group) string {
	for _, s := range g.Feed.Sources {
		for _, a := range x.Person.Accounts {
			if _, has := slices.BinarySearch(x.Person.Own[a.ID].Groups, s.ID); has {
				return s.Path
			}
		}
	}
	return ""
}

// people returns what is known of a ClearML user.
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

// by returns the sources that show one of the accounts, and the role if one holds it.
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

// shown returns names as a text shows them.
func shown(list []string) []string {
	names := make([]string, len(list))
	for i, n := range list {
		names[i] = report.Name(n)
	}
	return names
}
