package reconcile

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"groupsync/internal/guard"
	"groupsync/internal/journal"
	"groupsync/internal/match"
	"groupsync/internal/memory"
	"groupsync/internal/near"
	"groupsync/internal/plan"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// Subject is what a look is about: a person, a group, or a person in one group.
type Subject struct {
	User  string // an email, a username, or an id of either side; empty: all people in Group
	Group string // the name or id of a ClearML group, or the path, id or claim name of a Keycloak group; empty: every group that concerns User
}

// View is what a pass would find and decide about a subject now. A View of a person has only
// decisions about that person.
type View struct {
	Subject Subject
	Rules   match.Rules
	Input   guard.Input    // both sides as they were read, the memory, the limits and the time
	Pairing match.Pairing  // of all groups of both sides
	People  match.People   // its indexes are those of the snapshots in Input
	Plan    plan.Plan      // only the feeds that concern the subject; each withheld change names its guard
	Trips   []report.Trip  // the numbers in their texts count only the changes of Plan, so Look leaves out the digest to approve
	Targets []target.Group // the ClearML groups that Subject.Group names
	Sources []source.Group // the Keycloak groups that Subject.Group names
	Person  *Person        // nil: the subject is a group
	Past    journal.Past   // what the journal says about the subject's memberships
}

// Person is the person of a View: either a ClearML user with the accounts that could be this
// user's, or one account that could belong to no ClearML user.
type Person struct {
	User     *target.User                // nil: only an account
	State    match.State                 // of User
	Accounts []source.User               // every account that could be the user's, sorted by id; without a user: the one account
	Own      map[string]source.OwnGroups // by account id
	Doubt    string                      // why Accounts may lack an account; empty: it lacks none
}

// Look reads what concerns one subject and decides as a pass does, with the same functions. It
// writes nothing, does not change the memory, and may run beside a pass.
//
// Look reads all of ClearML and the whole list of Keycloak's groups. It reads the members only
// of groups that concern the subject. So a guard with a limit for a whole pass counts only the
// subject's changes and the memory. A guard that trips in a look trips in a pass too. A pass
// may trip further guards.
//
// Errors are those of a pass, *UnknownError and *SeveralError.
func (r *Reconciler) Look(ctx context.Context, s Subject) (View, error) {
	r = r.peeking(r.Now())
	ctx = target.WithPass(ctx, passID(r.Now().UTC()))
	mem, err := r.Store.Load()
	if err != nil {
		return View{}, err
	}
	l, err := r.look(ctx, s, mem, Request{})
	if err != nil {
		return View{}, err
	}
	for i := range l.view.Trips {
		l.view.Trips[i].Override = "" // the digest names a part of the plan only, so a pass would not accept it
	}
	l.readJournal(ctx)
	return l.view, nil
}

// look does the work of Look and of PassOf. It uses three fields of req: Approval, Witnesses
// and Early.
func (r *Reconciler) look(ctx context.Context, s Subject, mem memory.Memory, req Request) (*looking, error) {
	l := &looking{
		Reconciler: r, view: View{Subject: s, Rules: r.Rules}, mem: mem.Resumed(r.Now()), request: req,
		accounts: make(map[string]source.User), users: make(map[string]bool),
	}
	for _, step := range []func(context.Context) error{l.read, l.nameGroup, l.namePerson, l.witnessGroup, l.decide} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// looking is the state of one look. users and accounts have the subject and everybody who
// could be mixed up with the subject: all users who could have an account of the subject, all
// accounts that could be those users', and so on. The look needs them all to decide which
// account belongs to which user.
type looking struct {
	*Reconciler
	view    View
	judged  guard.Judged
	request Request
	mem     memory.Memory
	tgt     *target.Snapshot
	catalog source.Catalog
	pairs   pairs

	links    links
	users    map[string]bool        // by id
	accounts map[string]source.User // by id
	floor    bool                   // users and accounts include the administrators
	found    source.LookUps
	own      map[string]source.OwnGroups
}

// links finds the ClearML users to whom a given account could belong.
type links struct {
	byKept, byEmail map[string][]int // indexes in the snapshot's users: by an id that ClearML keeps from a sign-in (match.Rules.KeptIDs), and by the email in lower case (source.FoldEmail)
}

func newLinks(tgt *target.Snapshot, r match.Rules) links {
	k := links{byKept: make(map[string][]int), byEmail: make(map[string][]int)}
	for i, u := range tgt.Users() {
		for _, id := range r.KeptIDs(u) {
			k.byKept[id] = append(k.byKept[id], i)
		}
		if u.Email != "" {
			k.byEmail[source.FoldEmail(u.Email)] = append(k.byEmail[source.FoldEmail(u.Email)], i)
		}
	}
	return k
}

// of returns the indexes of the users to whom the account a could belong: ClearML keeps the
// account's id for them, or they have the account's email.
func (k links) of(a source.User) []int {
	return slices.Concat(k.byKept[a.ID], k.byEmail[source.FoldEmail(a.Email)])
}

// readJournal finds the last change of each membership of the subject. It stops after about a
// second.
func (l *looking) readJournal(ctx context.Context) {
	if l.Journal == nil {
		return
	}
	const most = time.Second // the answer to a person should come within two seconds
	begun := time.Now()
	l.view.Past = journal.PastOf(l.Journal, func(m journal.Membership) bool {
		p := l.view.Person
		return p == nil || p.User != nil && p.User.ID == m.User
	}, func() bool { return time.Since(begun) < most && ctx.Err() == nil })
}

// read reads ClearML and the list of Keycloak's groups at the same time. As in a pass, the
// members of Keycloak's groups are read later. If they were read first, and a login then added
// a person in ClearML, the plan would propose to remove that person. ClearML has two views of a
// user group: the group's member list, and the users' own lists of groups. If they disagree,
// read reads everything once more.
func (l *looking) read(ctx context.Context) error {
	if err := l.readOnce(ctx); err != nil || l.tgt.Disagreements() == 0 {
		return err
	}
	return l.readOnce(ctx)
}

func (l *looking) readOnce(ctx context.Context) error {
	work, inner := errgroup.WithContext(ctx)
	work.Go(func() (err error) {
		groups, err := l.target.UserGroups(inner)
		if err != nil {
			return err
		}
		l.tgt, err = l.target.Snapshot(inner, groups)
		return err
	})
	work.Go(func() (err error) {
		l.catalog, err = l.source.Catalog(inner)
		return err
	})
	err := work.Wait()
	if err != nil {
		return err
	}
	l.mem = l.mem.Settled(l.tgt.Member)
	l.pairs, err = l.pair(l.catalog, l.tgt.Groups(), l.mem)
	l.view.Pairing = l.pairs.now
	l.links = newLinks(l.tgt, l.Rules)
	return err
}

// nameGroup finds the groups of both sides that the subject names.
func (l *looking) nameGroup(context.Context) error {
	name := l.view.Subject.Group
	if name == "" {
		return nil
	}
	var names []string
	for _, g := range l.tgt.Groups() {
		names = append(names, g.Name)
		if g.ID == name || l.Rules.Same(g.Name, name) {
			l.view.Targets = append(l.view.Targets, g)
		}
	}
	for _, g := range l.catalog.Groups() {
		names = append(names, l.Rules.Claim(g))
		if g.ID == name || g.Path == name || l.Rules.Same(l.Rules.Claim(g), name) {
			l.view.Sources = append(l.view.Sources, g)
		}
	}
	if len(l.view.Targets)+len(l.view.Sources) > 0 {
		return nil
	}
	slices.Sort(names)
	return &UnknownError{Group: name, Near: near.Names(name, slices.Compact(names))}
}

// namePerson finds the one person that the subject names.
func (l *looking) namePerson(ctx context.Context) error {
	if l.view.Subject.User == "" {
		return nil
	}
	direct, err := l.gather(ctx, l.view.Subject.User)
	if err != nil {
		return err
	}
	if l.view.Person, err = l.choose(direct); err != nil {
		return err
	}
	undecided := slices.ContainsFunc(l.found.Found, func(f source.Found) bool {
		return f.Person.Key != "" && !f.ByID && slices.ContainsFunc(f.Person.IDs, notAccountID)
	})
	return l.gatherWitnesses(ctx, undecided)
}

// witnessGroup adds the people who are needed to decide which accounts the members of the
// subject's group have. It does nothing if the subject is a person.
func (l *looking) witnessGroup(ctx context.Context) error {
	if l.view.Person != nil {
		return nil
	}
	return l.gatherWitnesses(ctx, true)
}

// readOwn asks Keycloak for the groups of all accounts found so far (the own side).
//
// A pass avoids this question (see source.Own): Keycloak answers from its user cache, and the
// question keeps the old cache entry alive (reference/keycloak-own-view.md). A look may ask,
// because looks are rare, and the answer only decides which member lists are read.
func (l *looking) readOwn(ctx context.Context) (err error) {
	var accounts []source.User
	for _, u := range l.accounts {
		accounts = append(accounts, u)
	}
	if len(accounts) == 0 {
		return nil
	}
	slices.SortFunc(accounts, func(a, b source.User) int { return strings.Compare(a.ID, b.ID) })
	if l.own, err = l.source.GroupsOf(ctx, l.catalog, accounts, known(l.mem)); err != nil {
		return fmt.Errorf("reading the groups of the person: %w", err)
	}
	return nil
}

// gather looks for the text on both sides, and adds everybody linked to what it finds. It
// returns the indexes of the ClearML users whom the text names directly. If the text is the id
// of a ClearML user, gather does not look for the text as a username or email, because an id
// names exactly one person.
func (l *looking) gather(ctx context.Context, text string) (direct []int, err error) {
	typed := source.Person{IDs: []string{text}}
	if i, named := l.tgt.UserIndex(text); named {
		direct = []int{i}
	} else {
		direct = slices.Clone(l.links.byKept[text])
		typed.Username = text
		if strings.Contains(text, "@") {
			typed.Email = text
			direct = append(direct, l.links.byEmail[source.FoldEmail(text)]...)
		}
	}
	return direct, l.findAll(ctx, append(l.join(direct), typed))
}

// findAll looks the given people up, and then all people linked to the accounts that it finds.
func (l *looking) findAll(ctx context.Context, people []source.Person) (err error) {
	for len(people) > 0 {
		if people, err = l.find(ctx, people); err != nil {
			return err
		}
	}
	return nil
}

// join adds the users with these indexes. It returns a look-up for each user who was not added
// before.
func (l *looking) join(users []int) []source.Person {
	var people []source.Person
	for _, i := range users {
		if u := l.tgt.Users()[i]; !l.users[u.ID] {
			l.users[u.ID] = true
			people = append(people, source.Person{Key: u.ID, IDs: l.Rules.KeptIDs(u), Email: u.Email})
		}
	}
	return people
}

// find makes the look-ups of people and adds the accounts that it finds. It returns the
// look-ups of users who could have these accounts and were not added before.
func (l *looking) find(ctx context.Context, people []source.Person) ([]source.Person, error) {
	found, err := l.source.Find(ctx, l.catalog, people, known(l.mem))
	if err != nil {
		return nil, fmt.Errorf("looking the person up: %w", err)
	}
	l.found.Found = append(l.found.Found, found.Found...)
	l.found.Probes = found.Probes
	var more []source.Person
	for _, f := range found.Found {
		for _, u := range f.Accounts {
			l.accounts[u.ID] = u
			more = append(more, l.join(l.links.of(u))...)
		}
	}
	return more, nil
}

// notAccountID reports whether an id that ClearML keeps does not have the form of a Keycloak
// account id.
func notAccountID(id string) bool { return !source.IsAccountID(id) }

// gatherWitnesses helps to decide whether a value that ClearML keeps for a user was an account
// id. undecided is true if somebody has a value, such as "ann", that does not have the form of
// Keycloak's ids and is not the id of an account now. match.Who takes it for an old account id
// if some other user's value of such a form is the id of an account. Those other users are here
// called witnesses; source.Witness is something else. gatherWitnesses looks up a few of them. A
// few are enough: in a realm with such ids, nearly all people have one. If undecided is false,
// no witness is needed.
//
// gatherWitnesses also adds the users to whom a witness's account could belong, because a pass
// finds that account when it looks up any of these users. At the end it reads the groups of all
// accounts (readOwn).
func (l *looking) gatherWitnesses(ctx context.Context, undecided bool) error {
	const most = 20
	if !undecided {
		return l.readOwn(ctx)
	}
	var witnesses []source.Person
	for _, u := range l.tgt.Users() {
		if ids := l.Rules.KeptIDs(u); !l.users[u.ID] && slices.ContainsFunc(ids, notAccountID) && len(witnesses) < most {
			witnesses = append(witnesses, source.Person{Key: u.ID, IDs: ids})
		}
	}
	found, err := l.source.Find(ctx, l.catalog, witnesses, known(l.mem))
	if err != nil {
		return fmt.Errorf("looking up other users for whom ClearML keeps an id that does not have the form of a Keycloak id: %w", err)
	}
	var claimants []source.Person
	for _, f := range found.Found {
		if f.ByID {
			l.users[f.Person.Key] = true
			for _, u := range f.Accounts {
				l.accounts[u.ID] = u
				claimants = append(claimants, l.join(l.links.of(u))...)
			}
		}
	}
	if err := l.findAll(ctx, claimants); err != nil {
		return err
	}
	return l.readOwn(ctx)
}

// everybody returns a snapshot of the accounts found so far, and which of them belongs to
// which user. ok is false if no account was found.
func (l *looking) everybody() (src *source.Snapshot, people match.People, ok bool, err error) {
	if len(l.accounts) == 0 {
		return nil, people, false, nil
	}
	empty, err := source.NewSnapshot(source.Parts{Catalog: l.catalog})
	if err != nil {
		return nil, people, false, err
	}
	src, err = empty.With(l.found)
	if err != nil {
		return nil, people, false, err
	}
	return src, match.Who(src, l.tgt, l.Rules), true, nil
}

// choose returns the one person whom the text Subject.User names. direct has the indexes of the
// ClearML users whom the text names directly (gather). If the text names an account, the person
// is the ClearML user to whom the account could belong. If there is no such user, the person is
// the account alone. If the text names nobody, the error is *UnknownError. If it names several
// people, the error is *SeveralError.
func (l *looking) choose(direct []int) (*Person, error) {
	users, alone := slices.Clone(direct), []source.User{}
	src, people, any, err := l.everybody()
	if err != nil {
		return nil, err
	}
	typed := l.found.Found[slices.IndexFunc(l.found.Found, func(f source.Found) bool { return f.Person.Key == "" })]
	for _, a := range typed.Accounts {
		i, _ := src.UserIndex(a.ID)
		claimants := people.Claimants(i)
		if len(claimants) == 0 {
			alone = append(alone, a)
		}
		users = append(users, claimants...)
	}
	slices.Sort(users)
	users = slices.Compact(users)
	switch {
	case len(users)+len(alone) == 0:
		return nil, &UnknownError{User: l.view.Subject.User, Doubt: typed.Doubt}
	case len(users)+len(alone) > 1:
		several := &SeveralError{User: l.view.Subject.User}
		for _, i := range users {
			m := Match{Side: match.InClearML, ID: l.tgt.Users()[i].ID, Name: l.tgt.Users()[i].Name, Email: l.tgt.Users()[i].Email}
			if any {
				m.State = people.Person(i).State
			}
			several.Matches = append(several.Matches, m)
		}
		for _, a := range alone {
			several.Matches = append(several.Matches, Match{Side: match.InKeycloak, ID: a.ID, Name: a.Username, Email: a.Email})
		}
		return nil, several
	case len(alone) == 1:
		return &Person{Accounts: alone, Doubt: typed.Doubt}, nil
	}
	u := l.tgt.Users()[users[0]]
	p := &Person{User: &u}
	for _, f := range l.found.Found {
		if f.Person.Key == u.ID {
			p.Doubt, p.Accounts = f.Doubt, slices.Clone(f.Accounts)
		}
	}
	if any {
		p.State = people.Person(users[0]).State
	}
	return p, nil
}

// decide makes the decisions of a pass for the subject only.
func (l *looking) decide(ctx context.Context) error {
	cut := l.pairs.cut(l.concerns)
	src, err := l.source.Read(ctx, l.catalog, cut.selection())
	if err != nil {
		return err
	}
	asks := l.asks(src)
	if l.findsNobody(src, cut.now, asks) {
		cut, asks = l.pairs, nil
		if src, err = l.source.Read(ctx, l.catalog, cut.selection()); err != nil {
			return err
		}
	}
	src, people, draft, err := l.plan(ctx, src, l.tgt, cut.now, l.mem, asks)
	if err != nil {
		return err
	}
	if l.losesAdmin(draft) && !l.floor {
		l.floor = true
		if err := l.gatherAdmins(ctx); err != nil {
			return err
		}
		return l.decide(ctx)
	}
	draft = draft.Cut(l.decides(draft))
	draft.Managed = l.pairs.managed()
	confirmation, err := l.source.Confirm(ctx, src, draft.Questions(), known(l.mem))
	if err != nil {
		return fmt.Errorf("confirming the changes: %w", err)
	}
	weighed, err := draft.Weighed(confirmation)
	if err != nil {
		return err
	}
	scoped, err := l.scoped(ctx, cut, src, l.tgt, people, weighed, known(l.mem))
	if err != nil {
		return err
	}
	v := &l.view
	suspended, err := l.suspension(ctx)
	if err != nil {
		return err
	}
	v.Input = guard.Input{
		Source: src, Target: l.tgt, Probes: confirmation.Probes, Scoped: scoped, Limits: l.Limits, Memory: l.mem, Now: l.Now(),
		Approve: l.request.Approval.Digest, Witnesses: l.request.Witnesses, Early: l.request.Early, Suspended: suspended,
	}
	l.judged = guard.Judge(weighed, v.Input)
	v.People, v.Plan, v.Trips = people, l.judged.Plan, l.judged.Trips
	return l.finish()
}

// findsNobody returns true if the look has found no account at all. Three things must be true:
// the plan needs look-ups (of those that asks selects), no member list in src has an account,
// and no earlier look-up found any person who must be looked up. A look-up that finds nobody
// proves that the person is gone only if the realm is not empty. So decide then reads every
// source, to see whether the realm has people.
func (l *looking) findsNobody(src *source.Snapshot, pairing match.Pairing, asks func(source.Person) bool) bool {
	if len(src.Users()) > 0 {
		return false
	}
	asked := plan.Make(src, l.tgt, pairing, match.Who(src, l.tgt, l.Rules)).Asks
	if asks != nil {
		asked = slices.DeleteFunc(asked, func(p source.Person) bool { return !asks(p) })
	}
	found := func(p source.Person) bool {
		return slices.ContainsFunc(l.found.Found, func(f source.Found) bool { return f.Person.Key == p.Key && len(f.Accounts) > 0 })
	}
	return len(asked) > 0 && !slices.ContainsFunc(asked, found)
}

// concerns reports whether the feed, a user group with its sources, concerns the subject.
// There are three cases. The subject names a group of the feed. The subject is a person, and
// the feed is one of the administrators'. A user in l.users or an account in l.accounts has a
// group of the feed.
func (l *looking) concerns(f match.Feed) bool {
	named := slices.ContainsFunc(l.view.Targets, func(g target.Group) bool { return g.ID == f.Group.ID })
	named = named || slices.ContainsFunc(f.Sources, func(g source.Group) bool {
		return slices.ContainsFunc(l.view.Sources, func(s source.Group) bool { return s.ID == g.ID })
	})
	if named || f.Admins && l.view.Person != nil {
		return true
	}
	if slices.ContainsFunc(f.Group.Members, func(m target.Member) bool { return l.users[m.ID] }) {
		return true
	}
	for _, own := range l.own {
		if slices.ContainsFunc(f.Sources, func(g source.Group) bool { _, in := slices.BinarySearch(own.Groups, g.ID); return in }) {
			return true
		}
	}
	return false
}

// cut returns the pairs with only the feeds for which concerns returns true.
func (p pairs) cut(concerns func(match.Feed) bool) pairs {
	only := func(all match.Pairing) match.Pairing {
		all.Feeds = slices.DeleteFunc(slices.Clone(all.Feeds), func(f match.Feed) bool { return !concerns(f) })
		return all
	}
	p.now = only(p.now)
	if p.before != nil {
		before := only(*p.before)
		p.before = &before
	}
	return p
}

// managed returns how many memberships a whole pass covers, or more. A pass does not count the
// groups of which a source cannot be read. A look does not read every source, so managed counts
// these groups too. With a larger number, the limit for the share of all memberships allows
// more removals, so that guard may trip in a pass and not in the look.
func (p pairs) managed() (n int) {
	for _, f := range p.now.Feeds {
		if len(f.Missing) == 0 {
			n += len(f.Group.Members)
		}
	}
	return n
}

// asks returns a function that reports whether a look-up is needed. A nil function means that
// every look-up is needed, as for a group. For a person, the look-ups of most other people in
// the same groups change nothing.
func (l *looking) asks(src *source.Snapshot) func(source.Person) bool {
	p := l.view.Person
	if p == nil {
		return nil
	}
	needed := make(map[string]bool)
	if p.User != nil {
		// An account with the person's full name or username may be the person's, if the email
		// has changed in Keycloak. Or it belongs to another ClearML user. Only look-ups of all
		// users to whom it could belong decide this. If admins.floor matters, l.users has the
		// administrators, so accounts with their names need such look-ups too.
		var names []string
		for _, u := range l.tgt.Users() {
			if l.users[u.ID] {
				names = append(names, match.Names(u)...)
			}
		}
		for _, a := range src.Users() {
			if match.HasName(a, names) {
				for _, i := range l.links.of(a) {
					needed[l.tgt.Users()[i].ID] = true
				}
			}
		}
	}
	return func(ask source.Person) bool { return l.users[ask.Key] || needed[ask.Key] }
}

// ofPerson reports whether the change c concerns the person who is the subject.
func (l *looking) ofPerson(c plan.Change) bool {
	p := l.view.Person
	return p != nil && p.User != nil && c.User.ID == p.User.ID
}

// losesAdmin reports whether the plan would remove the person from the administrators. If so,
// admins.floor matters, and the look must find out which other administrators can still sign
// in.
func (l *looking) losesAdmin(draft plan.Plan) bool {
	return slices.ContainsFunc(draft.Groups, func(g plan.Group) bool {
		return g.Feed.Admins && slices.ContainsFunc(g.Remove, l.ofPerson)
	})
}

// gatherAdmins adds every administrator, as if each were the subject.
func (l *looking) gatherAdmins(ctx context.Context) error {
	var admins []int
	for _, f := range l.pairs.now.Feeds {
		for _, m := range f.Group.Members {
			if i, known := l.tgt.UserIndex(m.ID); known && f.Admins {
				admins = append(admins, i)
			}
		}
	}
	if err := l.findAll(ctx, l.join(admins)); err != nil {
		return err
	}
	return l.readOwn(ctx)
}

// decides returns a function that reports whether a change matters for the answer. For a
// group, every change matters. For a person, only that person's changes matter. If the person
// would stop being an administrator, all removals of administrators matter too.
func (l *looking) decides(draft plan.Plan) func(plan.Change) bool {
	if l.view.Person == nil {
		return func(plan.Change) bool { return true }
	}
	admins := make(map[string]bool) // the built-in group, the role, or both
	for _, g := range draft.Groups {
		admins[g.Feed.Group.ID] = g.Feed.Admins && l.floor
	}
	return func(c plan.Change) bool { return l.ofPerson(c) || admins[c.Group] && !c.Grant() }
}

// finish copies the person's state, accounts and groups into the view.
func (l *looking) finish() error {
	v, p := &l.view, l.view.Person
	if p == nil {
		return nil
	}
	if p.User != nil {
		l.fillPerson(p)
	}
	slices.SortFunc(p.Accounts, func(a, b source.User) int { return strings.Compare(a.ID, b.ID) })
	p.Accounts = slices.CompactFunc(p.Accounts, func(a, b source.User) bool { return a.ID == b.ID })
	p.Own = make(map[string]source.OwnGroups)
	for _, a := range p.Accounts {
		p.Own[a.ID] = l.own[a.ID]
	}
	v.Trips = append([]report.Trip{}, v.Trips...)
	return nil
}

// fillPerson sets the person's state and accounts from the plan. The plan lacks a person who
// is in no group on either side. Such a person keeps the state from choose, if choose found
// one.
func (l *looking) fillPerson(p *Person) {
	i, _ := l.tgt.UserIndex(p.User.ID)
	if state, matters := l.view.Plan.People[p.User.ID]; matters && state != match.NotAsked {
		p.State = state
	} else if state := l.view.People.Person(i).State; p.State == match.NotAsked {
		p.State = state
	}
	for _, a := range l.view.People.Person(i).Accounts {
		p.Accounts = append(p.Accounts, l.view.Input.Source.Users()[a])
	}
}
