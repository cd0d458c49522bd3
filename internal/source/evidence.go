package source

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Why says for what reason an account is out of a user group, or in.
type Why string

// The reasons there are. A removal is made for one of the first three only.
const (
	NotMember Why = "not_member" // the account is known and enabled, and in none of the sources
	Disabled  Why = "disabled"   // the account is disabled
	Gone      Why = "gone"       // the realm has the account no more
	Member    Why = "member"     // the account is in a source: the reason of a grant
)

// GoneBy says how the other side knows a person whom the realm has no more.
type GoneBy string

// The ways there are.
const (
	NotGone GoneBy = ""      // the person is not gone
	ByID    GoneBy = "id"    // by the account's id, which the realm has no more
	ByEmail GoneBy = "email" // by the email only
)

// Question is one change that a plan proposes, put to the person's own side.
type Question struct {
	Group, User string // ids of the user group and of the user on the other side
	Grant       bool   // false: a removal
	// Accounts are, for a grant, the one account; for a removal, every account that
	// could be the person.
	Accounts []User
	GoneBy   GoneBy  // removals: the person, or one of the accounts, is gone from the realm
	Sources  []Group // every Keycloak group that feeds the user group
	Role     string  // the admin role, if that feeds the user group too
}

// Probe is one federation's answer to a look-up of a name that nobody can have.
type Probe struct {
	Federation Federation
	Up         bool
	Trusted    bool   // keycloak.trusted_federations names it: its silence means nothing
	Detail     string // why it is not up, for a person to read
}

// Silent reports that the federation is not up and has no say about people who are
// not surely its own: it is switched off, or has never answered a probe. A federation
// that vanished during the pass may have had anybody: its people vanished with it.
func (p Probe) Silent() bool {
	return !p.Up && !p.Federation.Vanished && (!p.Federation.Enabled || !p.Federation.Answered)
}

// speaks reports whether what Keycloak says of the federation's people counts.
func (p Probe) speaks() bool { return p.Up || p.Trusted }

// mergeProbes returns one probe a federation, sorted by id. A federation is up only
// if it was up in all of them.
func mergeProbes(a, b []Probe) []Probe {
	all := slices.Concat(a, b)
	slices.SortStableFunc(all, func(x, y Probe) int { return strings.Compare(x.Federation.ID, y.Federation.ID) })
	var merged []Probe
	for _, p := range all {
		if n := len(merged); n > 0 && merged[n-1].Federation.ID == p.Federation.ID {
			if merged[n-1].Up {
				merged[n-1] = p
			}
			continue
		}
		merged = append(merged, p)
	}
	return merged
}

// Blocks returns the first federation that keeps an empty look-up from saying that
// the person is gone: one that is away may have the person. A silent federation blocks
// only people whom it may have had: those without a kept id of Keycloak's form, and
// those whose kept id is of the federation's own form.
func Blocks(p Person, probes []Probe) (Probe, bool) {
	for _, probe := range probes {
		if probe.speaks() {
			continue
		}
		own := func(id string) bool { return strings.HasPrefix(id, "f:"+probe.Federation.ID+":") }
		if !probe.Silent() || !slices.ContainsFunc(p.IDs, IsAccountID) || slices.ContainsFunc(p.IDs, own) {
			return probe, true
		}
	}
	return Probe{}, false
}

// Account is a reading of one account by its id.
type Account struct {
	Found bool
	User  User
}

// Own is what the realm computes from one account's own side, for one name.
type Own struct {
	Count int // groups of the account whose names contain the name, read past Keycloak's user cache

	// Cached are the ids of the account's groups as the user cache has them. They
	// are asked for only where Count alone decides nothing.
	Cached []string
	Asked  bool // Cached was asked for
}

// OwnKey names one entry of Second.Own.
type OwnKey struct{ Account, Name string }

// Held names one entry of Second.Effective.
type Held struct{ Account, Role string }

// Second is what a second look at the realm found. A reader fills in what the
// questions need. What it could not read is an error of the look, or an entry of
// Failed; it is never an empty entry here.
type Second struct {
	Probes     []Probe                 // each federation that was probed, once; not up if any of its probes was not
	Members    map[string][]User       // by group id: the direct members, read again
	Roles      map[string]*RoleHolders // by name, read again
	Accounts   map[string]Account      // by id, for accounts that are disabled
	DisabledDB map[string]bool         // ids that the database itself lists as disabled
	Own        map[OwnKey]Own          // for accounts of federations
	Effective  map[Held]bool           // whether the account holds the role in effect
	Failed     map[string]string       // by account id: why its own side could not be read
	Federated  bool                    // the realm has, or had, federations
}

// Evidence is what bears out one change. Only Weigh makes it; the zero value is
// none, and Valid tells. It names the change that it is for.
type Evidence struct {
	group, user string
	grant       bool
	why         Why
	text        string
	waits       bool
	byEmail     bool
}

// Valid reports whether the evidence was made by Weigh.
func (e Evidence) Valid() bool { return e.why != "" }

// For reports whether the evidence is for that change: the user group and the user
// by their ids on the other side, and the direction.
func (e Evidence) For(group, user string, grant bool) bool {
	return e.Valid() && e.group == group && e.user == user && e.grant == grant
}

// Why returns the reason that the evidence bears out.
func (e Evidence) Why() Why { return e.why }

// String returns the evidence in words, for the audit line and the report. It names
// no person.
func (e Evidence) String() string { return e.text }

// Waits reports whether the removal rests on what a federation (or an organization)
// said, or on somebody's absence in a realm with federations, so that every pass
// must want it for guards.federation_grace.
func (e Evidence) Waits() bool { return e.waits }

// ByEmail reports whether the person was judged by the email only, so that every
// pass must want the removal for guards.gone_grace.
func (e Evidence) ByEmail() bool { return e.byEmail }

// Denial says why there is no evidence for a change.
type Denial string

// The denials there are.
const (
	Borne    Denial = ""        // there is evidence
	OwnHas   Denial = "hides"   // the person's own side has the group and the list hides it: in sync, nobody is removed
	OwnLacks Denial = "shows"   // only the list shows the person: nobody is granted anything
	Away     Denial = "away"    // a federation that has a say is not up
	Unclear  Denial = "unclear" // the second look disagrees, or could not be had
)

// Answer is the answer to one question: Evidence, or the doubt that denies it.
type Answer struct {
	group, user string
	grant       bool

	Evidence   Evidence
	Denial     Denial
	Doubt      string // in words, naming no person; empty exactly if Evidence is valid
	Federation string // id of the federation that is not up, for Away
	Stale      bool   // the account's cached side was seen to differ from the fresh one
}

// For reports whether the answer is for that change.
func (a Answer) For(group, user string, grant bool) bool {
	return a.group == group && a.user == user && a.grant == grant
}

// Confirmation is the outcome of a second look.
type Confirmation struct {
	Answers []Answer // one a question, in the questions' order
	Probes  []Probe  // sorted by federation id; empty if none was needed
}

// Away returns the probes that were not up and whose silence counts.
func (c Confirmation) Away() []Probe {
	return slices.DeleteFunc(slices.Clone(c.Probes), Probe.speaks)
}

// Weigh answers each question from the second look. A removal needs every account
// that could be the person to be out; a grant needs the one account to be in. The
// own side of a federation's people is right where the member list disagrees
// (reference/keycloak-own-view.md).
func Weigh(snap *Snapshot, questions []Question, s Second) Confirmation {
	w := &weigher{snap: snap, second: s, members: s.memberSets(), holders: make(map[string]map[string]bool)}
	for name := range s.Roles {
		w.holders[name] = s.roleHolders(name)
	}
	c := Confirmation{Answers: make([]Answer, len(questions)), Probes: mergeProbes(snap.Probes(), s.Probes)}
	for i, q := range questions {
		if q.Grant {
			c.Answers[i] = w.grant(q)
		} else {
			c.Answers[i] = w.removal(q)
		}
		a := &c.Answers[i]
		a.group, a.user, a.grant = q.Group, q.User, q.Grant
		if e := &a.Evidence; e.Valid() {
			e.group, e.user, e.grant = q.Group, q.User, q.Grant
		}
	}
	return c
}

type weigher struct {
	snap    *Snapshot
	second  Second
	members map[string]map[string]bool // enabled and disabled members, by group id
	holders map[string]map[string]bool // by role name
}

func (s Second) memberSets() map[string]map[string]bool {
	sets := make(map[string]map[string]bool, len(s.Members))
	for group, users := range s.Members {
		set := make(map[string]bool, len(users))
		for _, u := range users {
			set[u.ID] = true
		}
		sets[group] = set
	}
	return sets
}

func (s Second) roleHolders(name string) map[string]bool {
	role := s.Roles[name]
	if role == nil || !role.Found {
		return nil
	}
	held := make(map[string]bool)
	for _, u := range role.Direct {
		held[u.ID] = true
	}
	for _, g := range role.Groups {
		for _, u := range s.Members[g] {
			held[u.ID] = true
		}
	}
	return held
}

func doubt(d Denial, format string, args ...any) Answer {
	return Answer{Denial: d, Doubt: fmt.Sprintf(format, args...)}
}

// away denies what rests on a federation that is not up; false if it is up.
func (w *weigher) away(federation string) (Answer, bool) {
	i := slices.IndexFunc(w.second.Probes, func(p Probe) bool { return p.Federation.ID == federation })
	if i < 0 {
		a := doubt(Away, "the federation with the id %s was not probed", federation)
		a.Federation = federation
		return a, true
	}
	if p := w.second.Probes[i]; !p.speaks() {
		a := doubt(Away, "the federation %s is not up: %s", cmp.Or(p.Federation.Name, p.Federation.ID), p.Detail)
		a.Federation = federation
		return a, true
	}
	return Answer{}, false
}

// removal asks every account that could be the person, and whether the person is
// gone. The first that is not out denies the removal.
func (w *weigher) removal(q Question) Answer {
	var all []Evidence
	stale := false
	for _, u := range q.Accounts {
		a := w.out(q, u)
		if !a.Evidence.Valid() {
			return a
		}
		stale = stale || a.Stale
		all = append(all, a.Evidence)
	}
	if q.GoneBy != NotGone {
		a := w.gone(q)
		if !a.Evidence.Valid() {
			return a
		}
		all = append(all, a.Evidence)
	}
	if len(all) == 0 {
		return doubt(Unclear, "no account was named that could be this person")
	}
	a := Answer{Evidence: all[0], Stale: stale}
	if len(all) > 1 {
		a.Evidence.text = fmt.Sprintf("each of %d accounts that could be this person is out: %s", len(all), all[0].text)
		for _, e := range all[1:] {
			a.Evidence.text += "; " + e.text
			a.Evidence.waits = a.Evidence.waits || e.waits
			a.Evidence.byEmail = a.Evidence.byEmail || e.byEmail
		}
	}
	return a
}

// out asks one account whether it is out of every source.
func (w *weigher) out(q Question, u User) Answer {
	if u.Federation != "" {
		if a, is := w.away(u.Federation); is {
			return a
		}
	}
	if !u.Enabled {
		return w.disabled(u)
	}
	return w.notMember(q, u)
}

func (w *weigher) disabled(u User) Answer {
	account, read := w.second.Accounts[u.ID]
	switch {
	case !read:
		return doubt(Unclear, "the account was not read a second time")
	case !account.Found:
		return doubt(Unclear, "the second look finds no such account")
	case account.User.Enabled:
		return doubt(Unclear, "the second look finds the account enabled")
	case w.second.DisabledDB[u.ID]:
		return Answer{Evidence: Evidence{why: Disabled, text: "read twice: the account is disabled, in Keycloak's own database too"}}
	case u.Federation != "" || account.User.Federation != "":
		return Answer{Evidence: Evidence{why: Disabled, text: "read twice: the federation disables the account, Keycloak's database does not", waits: true}}
	}
	return Answer{Evidence: Evidence{why: Disabled, text: "read twice: the account is disabled, but not in Keycloak's database (an organization may be switched off)", waits: true}}
}

func (w *weigher) notMember(q Question, u User) Answer {
	if len(q.Sources) == 0 && q.Role == "" {
		return doubt(Unclear, "nothing was named that feeds the user group")
	}
	for _, g := range q.Sources {
		set, read := w.members[g.ID]
		if !read {
			return doubt(Unclear, "the members of the Keycloak group %s were not read a second time", g.Path)
		}
		if set[u.ID] {
			return doubt(Unclear, "the second read of the Keycloak group %s lists the account", g.Path)
		}
	}
	stale := false
	if u.Federation != "" {
		for _, name := range leafNames(q.Sources) {
			side, old, a := w.own(u, name, q.Sources)
			switch stale = stale || old; side {
			case in:
				a = doubt(OwnHas, "Keycloak's list of the group does not show the account, the account's own side holds the group %q", name)
				a.Stale = old
				return a
			case unclear:
				return a
			}
		}
	}
	if q.Role != "" {
		if a := w.withoutRole(q, u); a.Denial != Borne {
			return a
		}
	}
	e := Evidence{why: NotMember, text: outText(len(q.Sources), q.Role), waits: u.Federation != ""}
	if u.Federation != "" {
		e.text += ", on the account's own side too"
	}
	return Answer{Evidence: e, Stale: stale}
}

func outText(sources int, role string) string {
	switch {
	case sources == 0:
		return "read twice: without the role " + role
	case sources == 1 && role == "":
		return "read twice: not in the one Keycloak group"
	case role == "":
		return fmt.Sprintf("read twice: in none of %d Keycloak groups", sources)
	case sources == 1:
		return "read twice: not in the one Keycloak group, and without the role " + role
	}
	return fmt.Sprintf("read twice: in none of %d Keycloak groups, and without the role %s", sources, role)
}

// withoutRole denies the removal of a holder of the admin role.
func (w *weigher) withoutRole(q Question, u User) Answer {
	role := w.second.Roles[q.Role]
	if role == nil || !role.Found {
		return doubt(Unclear, "the holders of the role %s were not read a second time", q.Role)
	}
	for _, g := range role.Groups {
		if _, read := w.members[g]; !read {
			return doubt(Unclear, "the members of a group that gives the role %s were not read a second time", q.Role)
		}
	}
	if w.holders[q.Role][u.ID] {
		return doubt(Unclear, "the second read of the holders of the role %s lists the account", q.Role)
	}
	held, read := w.second.Effective[Held{u.ID, q.Role}]
	switch {
	case !read:
		return doubt(Unclear, "the roles that the account holds in effect were not read%s", w.because(u))
	case held && u.Federation != "":
		a := doubt(OwnHas, "Keycloak's list of holders does not show the account, the account holds the role %s in effect; if that is no longer so, Keycloak's user cache is old: a periodic sync of changed users or clearing the user cache refreshes it", q.Role)
		a.Stale = true
		return a
	case held:
		return doubt(Unclear, "the account holds the role %s in effect; if that is no longer so, Keycloak's user cache is old: clearing the user cache refreshes it", q.Role)
	}
	return Answer{}
}

func (w *weigher) because(u User) string {
	if why := w.second.Failed[u.ID]; why != "" {
		return ": " + why
	}
	return ""
}

// gone holds the look-up against the claim that the person is gone. The look-up
// stood between probes of every federation.
func (w *weigher) gone(q Question) Answer {
	f, asked := w.snap.Found(q.User)
	switch {
	case !asked:
		return doubt(Unclear, "the person was not looked up in Keycloak")
	case f.Doubt != "":
		a := doubt(Unclear, "%s", f.Doubt)
		if f.Away != "" {
			a.Denial, a.Federation = Away, f.Away
		}
		return a
	case f.Person.Email == "":
		return doubt(Unclear, "without an email nothing tells whether the person is gone")
	case f.ByID:
		return doubt(Unclear, "the look-up finds the account whose id ClearML keeps")
	case slices.ContainsFunc(f.Accounts, func(u User) bool { return !isAccount(q.Accounts, u.ID) }):
		return doubt(Unclear, "the look-up finds an account with the email, which was not asked about")
	}
	e := Evidence{why: Gone, text: "looked up: Keycloak has neither the id that ClearML keeps nor the email", waits: w.second.Federated}
	if len(f.Accounts) > 0 { // rekeyed: those accounts are asked for themselves
		e.text = "looked up: Keycloak has the id that ClearML keeps no more"
	}
	if q.GoneBy == ByEmail {
		e.byEmail = true
		e.text = "looked up: no account has the email; ClearML keeps no account id, so the person is judged by the email only"
	}
	return Answer{Evidence: e}
}

func isAccount(accounts []User, id string) bool {
	return slices.ContainsFunc(accounts, func(u User) bool { return u.ID == id })
}

// grant asks whether the one account is in. If nothing bears the grant out, an answer
// that is unclear comes before one that the own side gives: only where every source
// and the role are known is the account surely out.
func (w *weigher) grant(q Question) Answer {
	if len(q.Accounts) != 1 {
		return doubt(Unclear, "a grant needs exactly one account, there are %d", len(q.Accounts))
	}
	u := q.Accounts[0]
	if u.Federation != "" {
		if a, is := w.away(u.Federation); is {
			return a
		}
	}
	if len(q.Sources) == 0 && q.Role == "" {
		return doubt(Unclear, "nothing was named that feeds the user group")
	}
	var last Answer
	for _, g := range q.Sources {
		a := w.inGroup(u, g)
		if a.Evidence.Valid() {
			return a
		}
		if last.Denial != Unclear {
			last = a
		}
	}
	if q.Role != "" {
		if a := w.holdsRole(q, u); a.Evidence.Valid() || last.Denial != Unclear {
			return a
		}
	}
	return last
}

func (w *weigher) inGroup(u User, g Group) Answer {
	set, read := w.members[g.ID]
	switch {
	case !read:
		return doubt(Unclear, "the members of the Keycloak group %s were not read a second time", g.Path)
	case !set[u.ID]:
		return doubt(Unclear, "the second read of the Keycloak group %s does not list the account", g.Path)
	}
	if disabled(w.second.Members[g.ID], u.ID) {
		return doubt(Unclear, "the second read finds the account disabled")
	}
	e := Evidence{why: Member, text: "read twice"}
	if u.Federation == "" {
		return Answer{Evidence: e}
	}
	side, old, a := w.own(u, g.Name, []Group{g})
	switch side {
	case in:
		e.text += ", on the account's own side too"
		return Answer{Evidence: e, Stale: old}
	case out:
		a = doubt(OwnLacks, "Keycloak's list of the group %s shows the account, the account's own side does not hold the group", g.Path)
		a.Stale = old
	}
	return a
}

// disabled reports whether a reading of the account among the users says so.
func disabled(users []User, id string) bool {
	return slices.ContainsFunc(users, func(u User) bool { return u.ID == id && !u.Enabled })
}

// disabledHolder reports whether a second reading of the role's holders says that the
// account is disabled.
func (w *weigher) disabledHolder(role, id string) bool {
	holders := w.second.Roles[role]
	return disabled(holders.Direct, id) || slices.ContainsFunc(holders.Groups, func(g string) bool { return disabled(w.second.Members[g], id) })
}

func (w *weigher) holdsRole(q Question, u User) Answer {
	held, read := w.second.Effective[Held{u.ID, q.Role}]
	switch {
	case !w.holders[q.Role][u.ID]:
		return doubt(Unclear, "the second read of the holders of the role %s does not list the account", q.Role)
	case w.disabledHolder(q.Role, u.ID):
		return doubt(Unclear, "the second read finds the account disabled")
	case !read:
		return doubt(Unclear, "the roles that the account holds in effect were not read%s", w.because(u))
	case !held && u.Federation != "":
		a := doubt(OwnLacks, "Keycloak's list of holders shows the account, the account does not hold the role %s in effect", q.Role)
		a.Stale = true
		return a
	case !held:
		return doubt(Unclear, "the account does not hold the role %s in effect; if the role was given just now, Keycloak's user cache is old", q.Role)
	}
	return Answer{Evidence: Evidence{why: Member, text: "read twice, and the account holds the role in effect"}}
}

// side is what an account's own side says of a user group.
type side int

const (
	unclear side = iota
	in
	out
)

// own reads the account's own side for one name of the sources: the fresh count, and
// the cached list only as tie-break where the names of other groups contain this one
// (reference/keycloak-own-view.md, "The rule that fits every row"). old reports that
// the cached list was seen to differ from the count. The answer is of a side that is
// unclear.
func (w *weigher) own(u User, name string, sources []Group) (s side, old bool, a Answer) {
	o, read := w.second.Own[OwnKey{u.ID, name}]
	if !read {
		return unclear, false, doubt(Unclear, "the account's own side was not read for the group %q%s", name, w.because(u))
	}
	counted := w.snap.Catalog().Containing(name)
	isSource := func(id string) bool { return slices.ContainsFunc(sources, func(g Group) bool { return g.ID == id }) }
	others, holds := 0, false
	for _, id := range o.Cached {
		switch {
		case isSource(id) && slices.Contains(counted, id):
			holds = true
			others++
		case slices.Contains(counted, id):
			others++
		}
	}
	old = o.Asked && others != o.Count
	switch {
	case !w.snap.Catalog().Tied(o, name, sources):
		if o.Count == 0 {
			return out, old, a
		}
		return in, old, a
	case !o.Asked:
		return unclear, false, doubt(Unclear, "the names of other groups contain %q, and the account's own list was not read%s", name, w.because(u))
	case holds:
		return in, old, a
	case o.Count == others:
		return out, old, a
	}
	a = doubt(Unclear, "the names of other groups contain %q, and Keycloak's user cache is too old to tell which of them the account has; a periodic sync of changed users or clearing the user cache refreshes it", name)
	a.Stale = true
	return unclear, true, a
}

// Tied reports whether an account's count for a name decides nothing about the
// sources, so that the account's cached list must be asked for: the count is not 0
// and other groups' names contain the name, or the name holds a backslash. A database
// may take the backslash for an escape, and then counts other names than this one.
func (c Catalog) Tied(o Own, name string, sources []Group) bool {
	if strings.Contains(name, `\`) {
		return true
	}
	return o.Count > 0 && slices.ContainsFunc(c.Containing(name), func(id string) bool {
		return !slices.ContainsFunc(sources, func(g Group) bool { return g.ID == id })
	})
}

// leafNames returns the sources' leaf names, sorted, each once.
func leafNames(sources []Group) []string {
	names := make([]string, len(sources))
	for i, g := range sources {
		names[i] = g.Name
	}
	slices.Sort(names)
	return slices.Compact(names)
}
