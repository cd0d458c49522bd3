package leavers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"groupsync/internal/match"
	"groupsync/internal/reconcile"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// Surveyor reads both sides and asks Keycloak further questions, in the same way as a pass.
type Surveyor interface {
	Survey(ctx context.Context) (reconcile.View, error)
	LookUpPeople(ctx context.Context, v reconcile.View, people []source.Person) (reconcile.View, error)
	Confirm(ctx context.Context, v reconcile.View, questions []source.Question) ([]source.Answer, error)
}

// Directory reads what ClearML users hold in addition to user groups.
type Directory interface {
	Holdings(ctx context.Context) (target.Holdings, error)
}

// Recent is the default period in which a use counts as recent.
const Recent = 30 * 24 * time.Hour

// Find reads both sides and returns the people who left and still hold something. A survey
// reads only the people of managed groups. So Find also looks up every other user who signed
// in through clearml.provider and holds, or may hold, something. Then it takes a second look
// at each person who seems to have left: it asks Keycloak about the person's accounts once
// more. If a side cannot be read, Find returns the same errors as a pass.
func Find(ctx context.Context, s Surveyor, dir Directory, recent time.Duration) (Report, error) {
	v, err := s.Survey(ctx)
	if err != nil {
		return Report{}, err
	}
	v.Rules.KeepGone = false // leavers must find people who are gone, even if users.gone lets them keep their memberships
	holdings, err := dir.Holdings(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("reading what people hold in ClearML: %w", err)
	}
	people := holders(v, holdings, recent)
	if v, err = s.LookUpPeople(ctx, v, asks(v, people)); err != nil {
		return Report{}, err
	}
	left := make([]Person, 0, len(people))
	var questions []source.Question
	for _, p := range people {
		d := decide(v, p.ID)
		if d.stays {
			continue
		}
		p.Match, p.Status, p.Why = d.match, Doubtful, d.doubt
		left = append(left, p)
		if d.doubt == "" {
			questions = append(questions, source.Question{User: p.ID, Accounts: d.accounts, GoneBy: d.goneBy})
		}
	}
	answers, err := s.Confirm(ctx, v, questions)
	if err != nil {
		return Report{}, err
	}
	r := Report{At: v.Input.Now.UTC(), Recent: recent.Seconds(), Leavers: []Person{}, InDoubt: []Person{}, NotReturned: notReturned(holdings)}
	for _, p := range left {
		if p.Why == "" {
			if p, err = answered(p, answers[0]); err != nil {
				return Report{}, err
			}
			answers = answers[1:]
		}
		if p.Status == Doubtful {
			r.InDoubt = append(r.InDoubt, p)
		} else {
			r.Leavers = append(r.Leavers, p)
		}
	}
	return r, nil
}

// notReturned returns what the server did not return, in the order of target.Holdings.
func notReturned(h target.Holdings) []NotReturned {
	list := []NotReturned{}
	if h.RulesDoubt != "" {
		list = append(list, NotReturned{Rule, h.RulesDoubt})
	}
	if h.ActivityDoubt != "" {
		list = append(list, NotReturned{RecentUse, h.ActivityDoubt})
	}
	return list
}

// holders returns every ClearML user whom Keycloak may know and who holds, or may hold,
// something, sorted by id.
func holders(v reconcile.View, holdings target.Holdings, recent time.Duration) []Person {
	memberships := memberships(v)
	rules := make(map[string][]Named)
	for _, rule := range holdings.Rules {
		for _, u := range rule.Users {
			rules[u] = append(rules[u], Named{rule.ID, rule.Name})
		}
	}
	var people []Person
	for _, u := range v.Input.Target.Users() {
		if !mayBeKnown(u, v.Rules) {
			continue
		}
		p := Person{ID: u.ID, Name: u.Name, Email: u.Email, Role: u.Role, Groups: memberships[u.ID], Rules: rules[u.ID], Holds: []Holding{}, Unknown: []Holding{}}
		if p.Groups == nil {
			p.Groups = []Membership{}
		}
		if p.Rules == nil {
			p.Rules = []Named{}
		}
		activity := holdings.Activity[u.ID]
		p.UI, p.Keys = moment(activity.UI), moment(activity.Keys)
		p.setHolds(v.Input.Now.Add(-recent), holdings.RulesDoubt != "", administers(p, v.Input.Target))
		if len(p.Holds)+len(p.Unknown) > 0 {
			people = append(people, p)
		}
	}
	return people
}

// mayBeKnown reports whether Keycloak may know the user. Keycloak may know a person who has
// signed in through clearml.provider, or whose providers ClearML does not return.
func mayBeKnown(u target.User, r match.Rules) bool {
	_, ours := u.Providers[r.Provider]
	return !u.ServiceAccount && (ours || u.Providers == nil)
}

// setHolds sets the person's Holds and Unknown from what ClearML returned. If the person used
// ClearML after the time since, this counts as a recent use. rulesUnknown is true if ClearML
// did not return all access rules. inAdmins is true if the person is a member of the group
// Admins.
func (p *Person) setHolds(since time.Time, rulesUnknown, inAdmins bool) {
	used := p.UI != nil && p.UI.After(since) || p.Keys != nil && p.Keys.After(since)
	for _, x := range []struct {
		holding        Holding
		holds, unknown bool
	}{
		{Group, len(p.Groups) > 0, false},
		{Admin, inAdmins || target.Administrator(p.Role), p.Role == ""},
		{Rule, len(p.Rules) > 0, rulesUnknown},
		{RecentUse, used, p.UI == nil || p.Keys == nil},
	} {
		switch {
		case x.holds:
			p.Holds = append(p.Holds, x.holding)
		case x.unknown:
			p.Unknown = append(p.Unknown, x.holding)
		}
	}
}

// administers reports whether a person is in the built-in group Admins. groupsync does not
// know whether ClearML gives the members of Admins the rights of the role admin. So for
// leavers, every member counts as an administrator.
func administers(p Person, tgt *target.Snapshot) bool {
	for _, g := range tgt.Groups() {
		if g.System && g.Name == target.Admins && g.Role == "" {
			return slices.ContainsFunc(p.Groups, func(m Membership) bool { return m.ID == g.ID })
		}
	}
	return false
}

// memberships returns the groups of every user, sorted by name and id. The keys are user ids.
// A membership counts if the group lists the user, or if the user lists the group. Roles and
// the group of all users are left out.
func memberships(v reconcile.View) map[string][]Membership {
	managed := make(map[string]bool)
	for _, f := range v.Pairing.Feeds {
		managed[f.Group.ID] = true
	}
	all := make(map[string][]Membership)
	groups := make(map[string]Membership)
	ofAll := make(map[string]bool) // ids of roles and of the group of all users
	for _, g := range v.Input.Target.Groups() {
		ofAll[g.ID] = g.Role != "" || g.System && g.Name == everybody
		groups[g.ID] = Membership{Named{g.ID, g.Name}, managed[g.ID]}
		for _, u := range g.Members {
			if !ofAll[g.ID] {
				all[u.ID] = append(all[u.ID], groups[g.ID])
			}
		}
	}
	for _, u := range v.Input.Target.Users() {
		for _, id := range u.Groups {
			m := groups[id]
			m.ID = id // a group that only the user lists has no name here, but the id must be set
			if !ofAll[id] {
				all[u.ID] = append(all[u.ID], m)
			}
		}
		slices.SortFunc(all[u.ID], func(a, b Membership) int { return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID) })
		all[u.ID] = slices.Compact(all[u.ID])
	}
	return all
}

// everybody is the name of the built-in group of all users.
const everybody = "Users"

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// asks returns the people to look up in the realm, sorted by id. These are the people whom the
// survey did not look up, and about whom groupsync cannot decide without a look-up.
func asks(v reconcile.View, people []Person) []source.Person {
	var list []source.Person
	for _, p := range people {
		i, _ := v.Input.Target.UserIndex(p.ID)
		u, who := v.Input.Target.Users()[i], v.People.Person(i)
		if _, asked := v.Input.Source.Found(p.ID); asked {
			continue
		}
		// A pass does not look up people who keep every membership, so match has no question
		// for them.
		keeps := who.State == match.Protected || who.State == match.Self
		ids := v.Rules.KeptIDs(u)
		needsLookUp := who.Match != "id" && (len(ids) > 0 || len(who.Accounts) == 0 && u.Email != "")
		if who.Ask.Key != "" || keeps && needsLookUp {
			list = append(list, source.Person{Key: u.ID, IDs: ids, Email: u.Email})
		}
	}
	return list
}

// decision is the result for one person before the second look.
type decision struct {
	stays    bool   // an enabled account could be the person's, or the user does not come from Keycloak
	doubt    string // why groupsync cannot tell whether the person left; if doubt is empty and stays is false, the person seems to have left
	match    string
	accounts []source.User // every account that could be the person's
	goneBy   source.GoneBy
}

// decide returns whether the person with the ClearML id left. A person left only if every
// account that could be the person's is disabled or gone. groupsync removes a disabled or gone
// person from a group under the same condition.
func decide(v reconcile.View, id string) decision {
	i, _ := v.Input.Target.UserIndex(id)
	u, who := v.Input.Target.Users()[i], v.People.Person(i)
	d := decision{match: who.Match, goneBy: who.GoneBy}
	disabled, enabled, others := 0, 0, 0
	for _, a := range who.Accounts {
		account := v.Input.Source.Users()[a]
		d.accounts = append(d.accounts, account)
		owner, owned := v.People.Owner(a)
		switch {
		case !account.Enabled:
			disabled++
		case owned && owner != i:
			enabled, others = enabled+1, others+1
		default:
			enabled++
		}
	}
	found, asked := v.Input.Source.Found(id)
	switch {
	case who.State == match.ServiceAccount, who.State == match.Local:
		d.stays = true
	case who.State == match.Rekeyed && enabled > 0:
		d.doubt = "the account whose id ClearML keeps is gone, and another, enabled account has the email; the next login to ClearML corrects the id"
	case disabled > 0 && enabled > 0:
		d.doubt = fmt.Sprintf("%d accounts could be the person, and %d of them are enabled", len(d.accounts), enabled)
	case asked && found.Doubt != "":
		d.doubt = found.Doubt
	case enabled > 0 && others == enabled:
		d.doubt = "an enabled account has the email, and that account belongs to another ClearML user"
	case enabled > 0:
		d.stays = true
	case disabled > 0, who.GoneBy == source.ByID:
	case who.GoneBy == source.ByEmail:
		d.doubt = renamed(v, u)
	case who.State == match.OtherProvider:
		d.doubt = "Keycloak has no account with the id or email that ClearML has of the person, and the person signs in by another provider too"
	case u.Email == "":
		d.doubt = "ClearML has no email for the person, so groupsync cannot look the person up in Keycloak"
	case u.Providers == nil:
		d.doubt = "Keycloak has no account with the id or email that ClearML has of the person, and ClearML does not return whether the person ever signed in through Keycloak"
	default:
		d.doubt = "Keycloak has no account with the id or email that ClearML has of the person, and groupsync cannot tell whether the person ever had one"
	}
	return d
}

// renamed returns a doubt if the email of a person may have changed in Keycloak. This is so if
// an enabled account has the person's name and belongs to no ClearML user. If there is no such
// account, renamed returns an empty text.
func renamed(v reconcile.View, u target.User) string {
	names := match.Names(u)
	for i, a := range v.Input.Source.Users() {
		if a.Enabled && !v.People.Claimed(i) && match.HasName(a, names) {
			return "no account has the email, and an enabled account without a ClearML user has the same name; the email may have changed"
		}
	}
	return ""
}

// answered returns the person with the status and reason of the second look.
func answered(p Person, a source.Answer) (Person, error) {
	if !a.For("", p.ID, false) {
		return p, fmt.Errorf("the second look answers for another person, so no leavers are listed: report this as a fault in groupsync")
	}
	switch e := a.Evidence; {
	case !e.Valid():
		p.Why = a.Doubt
	case e.Why() == source.Gone:
		p.Status, p.Why = Gone, e.String()
	default:
		p.Status, p.Why = Disabled, e.String()
	}
	return p, nil
}
