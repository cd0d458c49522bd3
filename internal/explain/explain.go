package explain

import (
	"cmp"
	"maps"
	"slices"

	"groupsync/internal/journal"
	"groupsync/internal/match"
	"groupsync/internal/plan"
	"groupsync/internal/reconcile"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// Of returns the answer for a View. If the View is about everybody, and not about one person or
// group (View.Subject is empty), the answer has every ClearML group.
func Of(v reconcile.View) Answer {
	x := &explainer{View: v, src: v.Input.Source, tgt: v.Input.Target, feeds: make(map[string]plan.Group, len(v.Plan.Groups))}
	for _, g := range v.Plan.Groups {
		x.feeds[g.Feed.Group.ID] = g
	}
	a := Answer{User: v.Subject.User, Group: v.Subject.Group, At: v.Input.Now.UTC(), Groups: []Group{}, Sources: []Source{}}
	if v.Person != nil {
		a.Person = x.person(*v.Person)
	}
	for _, s := range v.Sources {
		a.Sources = append(a.Sources, x.source(s))
	}
	for _, g := range v.Plan.Groups {
		if group, part := x.fed(g); part {
			a.Groups = append(a.Groups, group)
		}
	}
	for _, g := range x.tgt.Groups() {
		if group, part := x.unfed(g); part {
			a.Groups = append(a.Groups, group)
		}
	}
	a.Groups = append(a.Groups, x.lost(a.Groups)...)
	for _, g := range a.Groups {
		for i := range g.People {
			g.People[i].Last = x.last(g.ID, g.People[i].ID)
		}
	}
	a.Notes = x.notes(a)
	return a
}

type explainer struct {
	reconcile.View
	src   *source.Snapshot
	tgt   *target.Snapshot
	feeds map[string]plan.Group // by id of the ClearML group
}

// person returns the ClearML user and the Keycloak accounts of the person.
func (x *explainer) person(p reconcile.Person) *Person {
	out := &Person{State: string(p.State), Doubt: p.Doubt, Keycloak: []Account{}}
	for _, a := range p.Accounts {
		out.Keycloak = append(out.Keycloak, x.account(p, a))
	}
	if p.User == nil {
		out.State = x.stateOf(p.Accounts[0])
	} else {
		u := *p.User
		out.ClearML = &User{ID: u.ID, Name: u.Name, Email: u.Email, Role: u.Role, Providers: slices.Sorted(maps.Keys(u.Providers)), KeptIDs: append([]string{}, x.Rules.KeptIDs(u)...)}
		if out.ClearML.Providers == nil {
			out.ClearML.Providers = []string{}
		}
	}
	out.Means = meanings[out.State]
	if out.State == string(match.NotAsked) {
		out.State = string(match.Unknown)
	}
	return out
}

// stateOf returns the state of an account without a possible ClearML user.
func (x *explainer) stateOf(a source.User) string {
	switch {
	case a.ServiceAccount:
		return string(match.ServiceAccount)
	case !a.Enabled && x.Person.Own[a.ID].Doubt != "":
		return inDoubt // the account may be enabled: its federation is away (see maybeDisabled)
	case !a.Enabled:
		return disabled
	case slices.ContainsFunc(x.Plan.Pending, func(u source.User) bool { return u.ID == a.ID }):
		return string(match.Pending)
	}
	return noAccount
}

func (x *explainer) account(p reconcile.Person, a source.User) Account {
	own := p.Own[a.ID]
	out := Account{
		ID: a.ID, Username: a.Username, Email: a.Email, Enabled: a.Enabled, ServiceAccount: a.ServiceAccount,
		Federation: x.federation(a.Federation), Rivals: []string{}, SameEmail: []Namesake{}, Groups: []AccountGroup{}, Doubt: own.Doubt, AdminRole: x.adminRole(a, own),
	}
	out.Match = x.match(p, a)
	x.rivals(&out, p)
	if since, waits := x.Input.Memory.Pending[a.ID]; waits && p.User == nil {
		out.PendingSince = &since
	}
	for _, g := range x.src.Catalog().Groups() {
		_, has := slices.BinarySearch(own.Groups, g.ID)
		list := x.listed(g.ID, a.ID)
		if has || list == yes {
			out.Groups = append(out.Groups, AccountGroup{Source: x.source(g), Own: has, List: list})
		}
	}
	return out
}

// match returns what links an account to the person's ClearML user: "id" or "email". It returns
// an empty text if nothing links the two, or if there is no ClearML user. It also returns an empty
// text for a user who cannot have an account: a service account of ClearML, a user who signs in by
// another provider, or a user for whom ClearML shows no sign-in provider.
func (x *explainer) match(p reconcile.Person, a source.User) string {
	switch {
	case p.User == nil, p.State == match.Local, p.State == match.OtherProvider, p.State == match.ServiceAccount:
		return ""
	case slices.Contains(x.Rules.KeptIDs(*p.User), a.ID):
		return "id"
	case a.Email != "" && source.FoldEmail(a.Email) == source.FoldEmail(p.User.Email):
		return "email"
	}
	return ""
}

// rivals fills two lists of the account a with ClearML users other than the user of p. Rivals gets
// the users who could be this account. SameEmail gets the users who have the account's email and
// could not be the account.
func (x *explainer) rivals(a *Account, p reconcile.Person) {
	at, met := x.src.UserIndex(a.ID)
	for i, u := range x.tgt.Users() {
		switch {
		case p.User != nil && u.ID == p.User.ID:
		case met && slices.Contains(x.People.Claimants(at), i):
			a.Rivals = append(a.Rivals, u.ID)
		case a.Email != "" && source.FoldEmail(u.Email) == source.FoldEmail(a.Email):
			a.SameEmail = append(a.SameEmail, Namesake{u.ID, string(x.People.Person(i).State)})
		}
	}
}

// federation returns the name of a federation, or the id if the realm does not have it.
func (x *explainer) federation(id string) string {
	f, _ := x.src.Catalog().Federation(id)
	return cmp.Or(f.Name, id)
}

// The values of AccountGroup.List.
const (
	yes     = "yes"
	no      = "no"
	notRead = "not_read"
)

// listed returns whether the member list of a Keycloak group shows the account.
func (x *explainer) listed(group, account string) string {
	members, read := x.src.Members(group)
	if !read {
		return notRead
	}
	if _, in := slices.BinarySearch(members, account); in {
		return yes
	}
	return no
}

// adminRole returns whether the account holds the admin role, and through which groups. It
// returns nil if admins.role is empty or was not read.
func (x *explainer) adminRole(a source.User, own source.OwnGroups) *AdminRole {
	role := x.src.Role(x.Rules.AdminRole)
	if x.Rules.AdminRole == "" || role == nil {
		return nil
	}
	out := &AdminRole{Name: role.Name, Through: []string{}}
	if slices.ContainsFunc(role.Direct, func(u source.User) bool { return u.ID == a.ID }) {
		out.Through = append(out.Through, "direct")
	}
	for _, id := range role.Groups {
		_, has := slices.BinarySearch(own.Groups, id)
		if g, _ := x.src.Catalog().Group(id); has || x.listed(id, a.ID) == yes {
			out.Through = append(out.Through, g.Path)
		}
	}
	out.Held = len(out.Through) > 0
	return out
}

// source returns a Keycloak group with the ClearML groups that it feeds.
func (x *explainer) source(g source.Group) Source {
	out := Source{ID: g.ID, Path: g.Path, Claim: x.Rules.Claim(g), Feeds: []string{}, Unfed: append([]string{}, x.Rules.Unfed(x.Pairing, g)...)}
	for _, f := range x.Pairing.Feeds {
		if slices.ContainsFunc(f.Sources, func(s source.Group) bool { return s.ID == g.ID }) {
			out.Feeds = append(out.Feeds, f.Group.Name)
		}
	}
	slices.Sort(out.Feeds)
	return out
}

// asked reports whether the question includes the ClearML group with this id. sources are the
// Keycloak groups that feed the group. The question includes the group if it names no group, or
// names the group or one of its sources.
func (x *explainer) asked(id string, sources []source.Group) bool {
	if x.Subject.Group == "" {
		return true
	}
	return slices.ContainsFunc(x.Targets, func(g target.Group) bool { return g.ID == id }) ||
		slices.ContainsFunc(sources, func(s source.Group) bool {
			return slices.ContainsFunc(x.Sources, func(named source.Group) bool { return named.ID == s.ID })
		})
}

// fed returns a ClearML group that a Keycloak group or role feeds. It returns false if the group
// is not part of the answer.
func (x *explainer) fed(g plan.Group) (Group, bool) {
	f := g.Feed
	if !x.asked(f.Group.ID, f.Sources) {
		return Group{}, false
	}
	out := Group{Name: f.Group.Name, ID: f.Group.ID, From: x.from(f), Role: f.Role, Guards: x.trips(g), People: x.standings(g)}
	return out, len(out.People) > 0 || x.Person == nil || x.Subject.Group != ""
}

// from returns the Keycloak groups that feed a ClearML group.
func (x *explainer) from(f match.Feed) []Feeder {
	from := []Feeder{}
	for _, s := range f.Sources {
		from = append(from, Feeder{ID: s.ID, Path: s.Path, Claim: x.Rules.Claim(s), How: x.how(f, s)})
	}
	return from
}

// how returns the part of the configuration by which a Keycloak group feeds a ClearML group.
func (x *explainer) how(f match.Feed, s source.Group) string {
	claim := x.Rules.Claim(s)
	switch {
	case f.Admins:
		return "admins.groups"
	case slices.ContainsFunc(slices.Collect(maps.Keys(x.Rules.Mapping)), func(name string) bool { return x.Rules.Same(name, claim) }):
		return "groups.mapping"
	}
	return "name"
}

// trips returns the trips of the guards that name the group. An answer about a person has only
// the trips of two guards. The guard missing_source freezes the whole group. The guard collision
// reports that several Keycloak groups have one name of admins.groups. The trips of the other
// guards belong to single changes, and the answer shows them beside the person's change.
func (x *explainer) trips(g plan.Group) []Trip {
	out := []Trip{}
	for _, t := range x.Trips {
		concerns := x.Person == nil || t.Guard == report.MissingSource || t.Guard == report.Collision
		if t.Group == g.Feed.Group.Name && concerns {
			out = append(out, Trip{string(t.Guard), t.Detail})
		}
	}
	return out
}

// unfed returns a ClearML group that nothing feeds. It returns false if the group is not part
// of the answer: the question does not name the group, and the group has no member that the
// answer is about.
func (x *explainer) unfed(g target.Group) (Group, bool) {
	fed := slices.ContainsFunc(x.Pairing.Feeds, func(f match.Feed) bool { return f.Group.ID == g.ID })
	if fed || !x.asked(g.ID, nil) {
		return Group{}, false
	}
	out := Group{Name: g.Name, ID: g.ID, From: []Feeder{}, Unfed: x.whyUnfed(g), Guards: []Trip{}, People: []Standing{}}
	for _, m := range g.Members {
		if x.Person == nil || x.Person.User != nil && x.Person.User.ID == m.ID {
			out.People = append(out.People, Standing{ID: m.ID, Name: m.Name, Email: m.Email, Has: true, Wants: unknown, Status: Unmanaged, By: []string{}, Why: unfed(out.Unfed)})
		}
	}
	return out, len(out.People) > 0 || x.Subject.Group != ""
}

func (x *explainer) whyUnfed(g target.Group) string {
	for _, s := range x.Pairing.Skips {
		if s.Side == match.InClearML && s.Name == cmp.Or(g.Name, g.ID) && unfed(s.Why) != "" {
			return s.Why
		}
	}
	return match.NoSource
}

// lost returns the ClearML groups that the person is no longer in, if the journal has a pass that
// changed the membership. With them the answer also says which pass removed the person. lost
// leaves out the groups that the answer already has (answered).
func (x *explainer) lost(answered []Group) (lost []Group) {
	if x.Person == nil || x.Person.User == nil {
		return nil
	}
	u := x.Person.User
	for _, g := range x.tgt.Groups() {
		known := slices.ContainsFunc(answered, func(t Group) bool { return t.ID == g.ID })
		if known || !x.asked(g.ID, nil) || x.last(g.ID, u.ID) == nil {
			continue
		}
		s := Standing{ID: u.ID, Name: u.Name, Email: u.Email, Wants: out, Status: Out, By: []string{}, Why: neither}
		group := Group{Name: g.Name, ID: g.ID, From: []Feeder{}, Guards: []Trip{}, People: []Standing{s}}
		if i := slices.IndexFunc(x.Pairing.Feeds, func(f match.Feed) bool { return f.Group.ID == g.ID }); i >= 0 {
			group.From, group.Role = x.from(x.Pairing.Feeds[i]), x.Pairing.Feeds[i].Role
		} else {
			group.Unfed = x.whyUnfed(g)
		}
		lost = append(lost, group)
	}
	return lost
}

// last returns the newest change that a pass made to a membership, by the journal. It returns
// nil if the journal has no such change.
func (x *explainer) last(group, user string) *Change {
	r, known := x.Past.Latest[journal.Membership{Group: group, User: user}]
	if !known {
		return nil
	}
	return &Change{Action: r.Action, Pass: r.Pass, At: r.At, ApprovedBy: r.ApprovedBy, Why: r.Why, Match: r.Match, Evidence: r.Evidence, Call: r.Call}
}

// notes returns sentences about the limits of the answer: what depends on a whole pass, and which
// memory or journal is missing.
func (x *explainer) notes(a Answer) []string {
	notes := []string{}
	changes, stale := false, false
	for _, g := range a.Groups {
		changes = changes || slices.ContainsFunc(g.People, func(s Standing) bool { return s.Status == Add || s.Status == Remove })
		stale = stale || x.feeds[g.ID].Own.Stale
	}
	if changes {
		notes = append(notes, "The limits on all changes of a pass ("+limits+") were checked against the changes of this answer and the memory of earlier passes. If a pass wants more changes, these limits can withhold the changes shown here too.")
	}
	if changes && x.Input.Limits.Forgets {
		notes = append(notes, "This configuration has no state_dir and no Lease, so this command does not know what earlier passes found: since when a removal is wanted, and how many changes were made within guards.window.")
	}
	if stale {
		notes = append(notes, "Keycloak's user cache may be older than Keycloak's database. If it is, a login follows the old entry until the cache is refreshed. To refresh it, clear the user cache in Keycloak. For people of a federation, a periodic sync of changed users does the same each time it runs.")
	}
	if !x.Past.From.IsZero() {
		notes = append(notes, "The journal begins at "+stamp(x.Past.From)+". If this answer names no pass for a membership, groupsync has not changed the membership since then.")
	}
	for _, text := range x.Past.Skipped {
		notes = append(notes, "The journal is incomplete: "+text+".")
	}
	return notes
}

// limits names the configuration keys whose effect depends on all changes of a pass, and not only
// on those of one person.
const limits = "guards.max_removals, guards.max_removal_ratio, guards.max_gone, guards.max_admin_grants, guards.max_additions, and on_trip: stop"
