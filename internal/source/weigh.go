package source

import (
	"cmp"
	"fmt"
	"slices"
)

// Weigh answers each question from the second look s. A removal gets evidence only if every
// candidate is disabled, or is in no source and without the role. A grant gets evidence only if
// its one account is in a source or holds the role. If the own side of a federated account and
// the member list disagree, the own side decides (reference/keycloak-own-view.md).
func Weigh(snap *Snapshot, questions []Question, s SecondLook) Confirmation {
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
	second  SecondLook
	members map[string]map[string]bool // by group id: the ids of all members, also of disabled ones
	holders map[string]map[string]bool // by role name: the ids of all holders
}

func (s SecondLook) memberSets() map[string]map[string]bool {
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

func (s SecondLook) roleHolders(name string) map[string]bool {
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

// away returns a denial if the federation with that id is not up and not trusted, or was not
// probed. The second result reports whether there is a denial.
func (w *weigher) away(federation string) (Answer, bool) {
	i := slices.IndexFunc(w.second.Probes, func(p Probe) bool { return p.Federation.ID == federation })
	if i < 0 {
		a := doubt(Away, "the federation with the id %s was not probed", federation)
		a.Federation = federation
		return a, true
	}
	if p := w.second.Probes[i]; !p.answersCount() {
		a := doubt(Away, "the federation %s is not up: %s", cmp.Or(p.Federation.Name, p.Federation.ID), p.Detail)
		a.Federation = federation
		return a, true
	}
	return Answer{}, false
}

// removal answers the question about a removal. It calls the method out for every candidate. If
// q.GoneBy is set, it also calls the method gone, which judges the look-up of the person. If one of
// these calls returns no evidence, removal returns the denial of that call.
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
		return doubt(Unclear, "the plan names no account that could be this person")
	}
	a := Answer{Evidence: all[0], Stale: stale}
	if len(all) > 1 {
		a.Evidence.text = fmt.Sprintf("none of the %d accounts that could be this person belongs in the user group: %s", len(all), all[0].text)
		for _, e := range all[1:] {
			a.Evidence.text += "; " + e.text
			a.Evidence.waits = a.Evidence.waits || e.waits
			a.Evidence.byEmail = a.Evidence.byEmail || e.byEmail
		}
	}
	if q.ByEmail && w.snap.Catalog().HidesEmails() && !a.Evidence.waits {
		a.Evidence.waits = true
		a.Evidence.text += "; emails may repeat in the realm, so a federation may hide another account of the person"
	}
	return a
}

// out returns evidence that one account gives no right to the membership, because the account is
// disabled, or is in no source and without the role. Without such evidence it returns a denial.
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
		a := doubt(Unclear, "the second look finds the account enabled")
		a.Enabled = true
		return a
	case w.second.DisabledDB[u.ID]:
		return Answer{Evidence: Evidence{why: Disabled, text: "read twice: the account is disabled, in Keycloak's own database too"}}
	case u.Federation != "" || account.User.Federation != "":
		return Answer{Evidence: Evidence{why: Disabled, text: "read twice: the federation disables the account, but Keycloak's database does not", waits: true}}
	}
	return Answer{Evidence: Evidence{why: Disabled, text: "read twice: the account is disabled, but not in Keycloak's database (Keycloak shows the members of an organization that is switched off as disabled)", waits: true}}
}

func (w *weigher) notMember(q Question, u User) Answer {
	if len(q.Sources) == 0 && q.Role == "" {
		return doubt(Unclear, "the plan names no Keycloak group and no role that feeds the user group")
	}
	for _, g := range q.Sources {
		set, read := w.members[g.ID]
		if !read {
			return doubt(Unclear, "the members of the Keycloak group %s were not read a second time", g.Path)
		}
		if w.second.Renamed[g.ID] {
			return renamed(g)
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
				a = doubt(HiddenByList, "Keycloak's list of the group does not show the account, but the account's own side holds the group %q", name)
				a.Stale = old
				return a
			case unclear:
				return a
			}
		}
	}
	if q.Role != "" {
		if a := w.withoutRole(q, u); a.Denial != Proved {
			return a
		}
	}
	if u.Federation == "" {
		if a := w.exists(u); a.Denial != Proved {
			return a
		}
	}
	e := Evidence{why: NotMember, text: outText(len(q.Sources), q.Role), waits: u.Federation != ""}
	if u.Federation != "" {
		e.text += ", on the account's own side too"
	}
	return Answer{Evidence: e, Stale: stale}
}

// renamed returns the denial for a group that got another name or path while the pass read.
// The group may feed another user group now, and people may have joined it after the rename.
func renamed(g Group) Answer {
	return doubt(Unclear, "the Keycloak group %s was renamed or moved while the pass read", g.Path)
}

// exists denies the removal of a user from the user group if Keycloak no longer has the local
// account. A deleted account is in no member list, but the person may have a new account that
// belongs in the group: for example, the account was imported again under a new id. So the next
// pass looks up the person. A federated account needs no such check, because the second look counts
// its groups, and Keycloak answers that question with an error if the account is gone.
func (w *weigher) exists(u User) Answer {
	account, read := w.second.Accounts[u.ID]
	switch {
	case !read:
		return doubt(Unclear, "the account was not read a second time%s", w.because(u))
	case !account.Found:
		return doubt(Unclear, "the second look finds no such account")
	case account.User.Federation != "":
		return doubt(Unclear, "the first read shows the account as local, and the second look finds it in a federation, so the account's own side was not read")
	}
	return Answer{}
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

// withoutRole returns a denial if the account holds the admin role, or if the second look does
// not decide. It returns an empty answer if the account does not hold the role.
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
	if u.Federation != "" {
		switch side, old, a := w.ownOfRole(u, role); side {
		case in:
			a = doubt(HiddenByList, "Keycloak's list of holders does not show the account, but the account's own side holds a group that gives the role %s", q.Role)
			a.Stale = old
			return a
		case unclear:
			return a
		}
	}
	held, read := w.second.Effective[Held{u.ID, q.Role}]
	switch {
	case !read:
		return doubt(Unclear, "the roles that the account holds in effect were not read%s", w.because(u))
	case held && u.Federation != "":
		a := doubt(HiddenByList, "Keycloak's list of holders does not show the account, but the account holds the role %s in effect; if the role was taken away, Keycloak's user cache is old: a periodic sync of changed users or clearing the user cache refreshes it", q.Role)
		a.Stale = true
		return a
	case held && role.Partial:
		return doubt(Unclear, "the account holds the role %s in effect, perhaps through a client's role. groupsync cannot read the clients' roles. Give the service account of keycloak.client_id the role view-clients", q.Role)
	case held:
		return doubt(Unclear, "the account holds the role %s in effect; if the role was taken away, Keycloak's user cache is old: clearing the user cache refreshes it", q.Role)
	}
	return Answer{}
}

// ownOfRole returns whether a federated account is in a group that gives the role: s is in, out or
// unclear. It does not use the account's roles, because Keycloak reads them from the user cache,
// which can be out of date. Instead it calls the method own for the name of each group. The
// method own uses Keycloak's count of the account's groups with that name, and this count is fresh
// (reference/keycloak-own-view.md). old is true if the user cache differs from such a count. If s
// is unclear, a is the denial.
func (w *weigher) ownOfRole(u User, role *RoleHolders) (s side, old bool, a Answer) {
	groups := w.snap.Catalog().groupsOf(role.Groups)
	if len(groups) < len(role.Groups) {
		return unclear, false, doubt(Unclear, "a group that gives the role %s was made while the pass read", role.Name)
	}
	for _, g := range groups {
		if w.second.Renamed[g.ID] {
			return unclear, false, renamed(g)
		}
	}
	for _, name := range leafNames(groups) {
		side, stale, a := w.own(u, name, groups)
		old = old || stale
		if side != out {
			return side, old, a
		}
	}
	return out, old, Answer{}
}

func (w *weigher) because(u User) string {
	if why := w.second.Failed[u.ID]; why != "" {
		return ": " + why
	}
	return ""
}

// gone returns evidence that the person, or the account id that ClearML keeps, is gone. The
// evidence comes from the look-up. The look-up has a doubt if a federation that may have the
// person was not up, before or after it. For a look-up with a doubt, gone returns a denial.
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
		return doubt(Unclear, "the person has no email, so groupsync cannot tell whether the person is gone")
	case f.ByID:
		return doubt(Unclear, "the look-up finds the account whose id ClearML keeps")
	case slices.ContainsFunc(f.Accounts, func(u User) bool { return !isAccount(q.Accounts, u.ID) }):
		return doubt(Unclear, "the look-up finds another account with the email, and the plan does not name that account")
	}
	e := Evidence{why: Gone, text: "looked up: Keycloak has neither the id that ClearML keeps nor the email", waits: w.second.Federated}
	if len(f.Accounts) > 0 { // the person has an account with a new id; removal checks each of these accounts
		e.text = "looked up: Keycloak no longer has the id that ClearML keeps"
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

// grant answers the question about a grant. First, a list of the second read must show the
// account. Then the account's own side decides. grant asks the own side about every source
// and about the role, because one list can show the account wrongly while another list hides
// it. The denial is OnlyInList only if the own side has answered for every source and the role.
func (w *weigher) grant(q Question) Answer {
	if len(q.Accounts) != 1 {
		return doubt(Unclear, "a grant needs exactly one account, but the plan names %d", len(q.Accounts))
	}
	u := q.Accounts[0]
	if u.Federation != "" {
		if a, is := w.away(u.Federation); is {
			return a
		}
	}
	l, a := w.lists(q, u)
	if a.Denial != Proved {
		return a
	}
	if u.Federation == "" && l.group != nil {
		return Answer{Evidence: Evidence{why: Member, text: "read twice"}}
	}
	denied := shown(q, l)
	for _, side := range []Answer{w.inGroups(q, u), w.inRole(q, u, l.role)} {
		switch {
		case side.Evidence.Valid():
			return side
		case side.Denial == Unclear && denied.Denial != Unclear:
			denied = side
		}
		denied.Stale = denied.Stale || side.Stale
	}
	return denied
}

// listing says which lists of the second read show an account.
type listing struct {
	group *Group // the first source whose member list shows the account; nil: no member list shows it
	role  bool   // the list of the role's holders shows the account
}

// lists returns which lists of the second read show the account. The answer is a denial if no
// list shows the account, if a list says that the account is disabled, or if a list was not read.
func (w *weigher) lists(q Question, u User) (listing, Answer) {
	var l listing
	for _, g := range q.Sources {
		set, read := w.members[g.ID]
		switch {
		case !read:
			return l, doubt(Unclear, "the members of the Keycloak group %s were not read a second time", g.Path)
		case w.second.Renamed[g.ID]:
			return l, renamed(g)
		case disabled(w.second.Members[g.ID], u.ID):
			return l, doubt(Unclear, "the second read finds the account disabled")
		case set[u.ID] && l.group == nil:
			l.group = &g
		}
	}
	l.role = w.holders[q.Role][u.ID]
	switch {
	case l.role && w.disabledHolder(q.Role, u.ID):
		return l, doubt(Unclear, "the second read finds the account disabled")
	case l.role, l.group != nil:
		return l, Answer{}
	case len(q.Sources) == 0 && q.Role == "":
		return l, doubt(Unclear, "the plan names no Keycloak group and no role that feeds the user group")
	case len(q.Sources) == 0:
		return l, doubt(Unclear, "the second read of the holders of the role %s does not list the account", q.Role)
	case len(q.Sources) == 1 && q.Role == "":
		return l, doubt(Unclear, "the second read of the Keycloak group %s does not list the account", q.Sources[0].Path)
	case q.Role == "":
		return l, doubt(Unclear, "the second read of %d Keycloak groups lists the account in none of them", len(q.Sources))
	}
	return l, doubt(Unclear, "the second read lists the account neither in a Keycloak group of administrators nor among the holders of the role %s", q.Role)
}

// shown returns the denial for an account that a list shows, although its own side has
// neither a source nor the role.
func shown(q Question, l listing) Answer {
	switch {
	case l.group == nil:
		return doubt(OnlyInList, "Keycloak's list of holders shows the account, but the account does not hold the role %s in effect", q.Role)
	case len(q.Sources) == 1:
		return doubt(OnlyInList, "Keycloak's list of the group %s shows the account, but the account's own side does not hold the group", l.group.Path)
	}
	return doubt(OnlyInList, "Keycloak's list of the group %s shows the account, but the account's own side holds none of the %d groups that feed the user group", l.group.Path, len(q.Sources))
}

// inGroups checks the account's own side for every source. It returns evidence if the account is
// in a source, and a denial if the own side is unclear. It returns an empty answer if the
// account is certainly in no source. It also returns an empty answer for a local account,
// because the member lists are right about local accounts.
func (w *weigher) inGroups(q Question, u User) Answer {
	if u.Federation == "" {
		return Answer{}
	}
	var none Answer
	stale := false
	for _, name := range leafNames(q.Sources) {
		side, old, a := w.own(u, name, q.Sources)
		stale = stale || old
		switch side {
		case in:
			return Answer{Evidence: Evidence{why: Member, text: "read twice, on the account's own side too"}, Stale: old}
		case unclear:
			none = a
		}
	}
	none.Stale = stale
	return none
}

// disabled reports whether one of the users is the account with that id and is disabled.
func disabled(users []User, id string) bool {
	return slices.ContainsFunc(users, func(u User) bool { return u.ID == id && !u.Enabled })
}

// disabledHolder reports whether the second read lists the account as a disabled holder of the
// role.
func (w *weigher) disabledHolder(role, id string) bool {
	holders := w.second.Roles[role]
	return disabled(holders.Direct, id) || slices.ContainsFunc(holders.Groups, func(g string) bool { return disabled(w.second.Members[g], id) })
}

// direct reports whether the second read lists the account as a holder of the role itself, or
// of a composite that contains it.
func (w *weigher) direct(role, id string) bool {
	return slices.ContainsFunc(w.second.Roles[role].Direct, func(u User) bool { return u.ID == id })
}

// inRole checks whether the account holds the role, directly or through groups and composites.
// listed says that the list of the role's holders shows the account. The account's roles come from
// Keycloak's user cache, so they alone are no evidence. The result depends on both:
//
//   - The roles were not read: a denial.
//   - The account holds the role and is listed: evidence. If only groups give the role to a
//     federated account, its own side must have one of these groups; otherwise a denial.
//   - The account holds the role and is not listed: a denial.
//   - The account does not hold the role: a denial if it is local and listed; otherwise an empty
//     answer.
func (w *weigher) inRole(q Question, u User, listed bool) Answer {
	if q.Role == "" {
		return Answer{}
	}
	held, read := w.second.Effective[Held{u.ID, q.Role}]
	switch {
	case !read:
		return doubt(Unclear, "the roles that the account holds in effect were not read%s", w.because(u))
	case held && listed && u.Federation != "" && !w.direct(q.Role, u.ID):
		side, _, a := w.ownOfRole(u, w.second.Roles[q.Role])
		switch side {
		case in:
			return Answer{Evidence: Evidence{why: Member, text: "read twice, and the account holds the role in effect"}}
		case out:
			a = doubt(Unclear, "the account holds the role %s in effect, but by a fresh count it is in none of the groups that give the role; Keycloak's user cache is old: a periodic sync of changed users or clearing the user cache refreshes it", q.Role)
			a.Stale = true
		}
		return a
	case held && listed:
		return Answer{Evidence: Evidence{why: Member, text: "read twice, and the account holds the role in effect"}}
	case held:
		a := doubt(Unclear, "the account holds the role %s in effect, but Keycloak's list of holders does not show the account; if the role was taken away, Keycloak's user cache is old: a periodic sync of changed users or clearing the user cache refreshes it", q.Role)
		a.Stale = true
		return a
	case listed && u.Federation == "":
		return doubt(Unclear, "the account does not hold the role %s in effect; if the role was given just now, Keycloak's user cache is old", q.Role)
	}
	return Answer{Stale: listed}
}
