// Package oracle judges what groupsync did in a simulated world. It reads only the log of
// facts (package history). It shares no code with the product, or with the models of Keycloak
// and ClearML, so it does not repeat their mistakes.
//
// A pass cannot read everything at one instant. So a change was right if its reason was true at any
// instant between the beginning of the pass and the moment when the write went onto the
// connection.
//
// In this package, a team is a user group of ClearML. A boss is an account that holds
// Keycloak's role of administrators. A candidate is an account that could be a user's. A ghost is
// an account that Keycloak deleted only because LDAP did not show the person.
package oracle

import (
	"slices"
	"sort"
	"strings"
	"time"

	"groupsync/internal/simulate/history"
)

// course holds one value over time: value[i] counts from the time at[i] on.
type course[T any] struct {
	at    []time.Time
	value []T
}

func (c *course[T]) set(t time.Time, v T) {
	c.at, c.value = append(c.at, t), append(c.value, v)
}

// get returns the value at the time t. A change at exactly t counts. If the value was not set
// before, get returns the zero value.
func (c *course[T]) get(t time.Time) (v T) {
	if c == nil {
		return v
	}
	i := sort.Search(len(c.at), func(i int) bool { return c.at[i].After(t) })
	if i == 0 {
		return v
	}
	return c.value[i-1]
}

type pair struct{ a, b string }

// account is the state of an account at some time. The id is empty if there was no account.
type account struct {
	history.Account
	ghost time.Time // when Keycloak deleted the account because LDAP did not show the person; zero: no ghost
}

// past holds all facts about the world and the settings.
type past struct {
	accounts map[string]*course[account]
	claims   map[pair]*course[bool]   // by account and group: a token of the account holds the group
	roles    map[string]*course[bool] // by account or group: it was given the role of administrators
	blind    map[string]*course[bool] // by federation: it answers and shows nobody
	listed   map[pair]*course[bool]   // by account and group: the member list shows the account
	groups   map[string]*course[history.Group]
	users    map[string]*course[history.User]
	teams    map[string]*course[history.UserGroup]
	members  map[pair]*course[bool]              // by user group and user: the user is a member
	settings map[string]*course[history.InForce] // by node
	times    []time.Time                         // the times of all these facts, in order
}

func newPast() *past {
	return &past{
		accounts: make(map[string]*course[account]), claims: make(map[pair]*course[bool]), roles: make(map[string]*course[bool]), blind: make(map[string]*course[bool]), listed: make(map[pair]*course[bool]),
		groups: make(map[string]*course[history.Group]), users: make(map[string]*course[history.User]), teams: make(map[string]*course[history.UserGroup]),
		members: make(map[pair]*course[bool]), settings: make(map[string]*course[history.InForce]),
	}
}

func of[K comparable, T any](m map[K]*course[T], k K) *course[T] {
	c := m[k]
	if c == nil {
		c = new(course[T])
		m[k] = c
	}
	return c
}

// enter records one fact about Keycloak, ClearML or the settings. For any other fact, such as a
// pass or a write, it records nothing and returns false.
func (p *past) enter(e history.Entry) bool {
	switch w := e.What.(type) {
	case history.Account:
		p.imported(e.At, w)
		of(p.accounts, w.ID).set(e.At, account{Account: w})
	case history.AccountGone:
		gone := account{}
		if w.Misread {
			gone = of(p.accounts, w.ID).get(e.At)
			gone.ghost = e.At
		}
		of(p.accounts, w.ID).set(e.At, gone)
	case history.Claim:
		of(p.claims, pair{w.Account, w.Group}).set(e.At, w.In)
	case history.Role:
		of(p.roles, w.Holder).set(e.At, w.In)
	case history.Blind:
		of(p.blind, w.Federation).set(e.At, w.Is)
	case history.Listed:
		of(p.listed, pair{w.Account, w.Group}).set(e.At, w.In)
	case history.Group:
		of(p.groups, w.ID).set(e.At, w)
	case history.GroupGone:
		of(p.groups, w.ID).set(e.At, history.Group{})
	case history.User:
		of(p.users, w.ID).set(e.At, w)
	case history.UserGone:
		of(p.users, w.ID).set(e.At, history.User{})
	case history.UserGroup:
		of(p.teams, w.ID).set(e.At, w)
	case history.UserGroupGone:
		of(p.teams, w.ID).set(e.At, history.UserGroup{})
	case history.Member:
		of(p.members, pair{w.Group, w.User}).set(e.At, w.In)
	case history.InForce:
		of(p.settings, w.Node).set(e.At, w)
	default:
		return false
	}
	p.times = append(p.times, e.At)
	return true
}

// imported removes the ghosts of a person whom Keycloak imports again as the account a. From now on
// only the new account decides the groups of the person.
func (p *past) imported(t time.Time, a history.Account) {
	for _, c := range p.accounts {
		if old := c.get(t); !old.ghost.IsZero() && old.ID != a.ID && old.Username == a.Username && old.Federation == a.Federation {
			c.set(t, account{})
		}
	}
}

// instants returns the times at which Keycloak, ClearML or the settings changed, after the parameter
// from and not after the parameter to. The first time in the result is from itself. Between two of
// these times nothing changes, so no other time needs to be looked at.
func (p *past) instants(from, to time.Time) []time.Time {
	list := []time.Time{from}
	i := sort.Search(len(p.times), func(i int) bool { return p.times[i].After(from) })
	for ; i < len(p.times) && !p.times[i].After(to); i++ {
		if p.times[i] != list[len(list)-1] {
			list = append(list, p.times[i])
		}
	}
	return list
}

func fold(email string) string {
	b := []byte(email)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// at is the state of Keycloak and ClearML at the time t, with the settings s of one process.
type at struct {
	*past
	t time.Time
	s history.Settings

	approved bool // the pass has an approval, so people whom a blind LDAP does not show count as gone
}

func (p *past) at(t time.Time, node string) at {
	return at{past: p, t: t, s: p.settings[node].get(t).Settings}
}

// account returns the account with the id, and whether there is one. A ghost counts as an account,
// because the person is still in LDAP. It counts until the grace has passed or Keycloak has
// imported the person again.
func (w at) account(id string) (account, bool) {
	a := w.accounts[id].get(w.t)
	if a.ID == "" || !a.ghost.IsZero() && w.t.Sub(a.ghost) >= w.s.Grace {
		return account{}, false
	}
	return a, true
}

// candidates returns the accounts that could be the user.
func (w at) candidates(u history.User) []account {
	if u.Kept != "" {
		if a, is := w.account(u.Kept); is {
			return []account{a}
		}
	}
	var list []account
	if u.Email == "" {
		return nil
	}
	for id := range w.accounts {
		if a, is := w.account(id); is && !a.Service && fold(a.Email) == fold(u.Email) {
			list = append(list, a)
		}
	}
	return list
}

// names returns the user groups that a Keycloak group's claim name feeds.
func (w at) names(g history.Group) []string {
	name := g.Name
	if w.s.FullPath {
		name = g.Path
	}
	if mapped, is := w.s.Mapping[name]; is {
		return mapped
	}
	return []string{name}
}

const (
	admins = "Admins"
	people = "Users"
	queues = "Queue admins"
)

// sources returns the ids of the Keycloak groups that feed a user group.
func (w at) sources(team history.UserGroup) []string {
	var ids []string
	for id := range w.groups {
		g := w.groups[id].get(w.t)
		if g.ID == "" {
			continue
		}
		switch {
		case w.ofAdmins(team):
			if w.makesAdmins(g) {
				ids = append(ids, id)
			}
		case team.System || !team.Assignable:
		case slices.Contains(w.names(g), team.Name):
			ids = append(ids, id)
		}
	}
	return ids
}

// ofAdmins reports whether groupsync writes Keycloak's administrators into the user group. This is
// the built-in group Admins, or the group that represents ClearML's role admin, or both
// (admins.via).
func (w at) ofAdmins(team history.UserGroup) bool {
	switch {
	case team.ID == history.AdminRole:
		return w.s.AdminVia == "role" || w.s.AdminVia == "both"
	case team.System && team.Name == admins:
		return w.s.AdminVia != "role"
	}
	return false
}

// fed reports whether a group or role of Keycloak feeds the user group.
func (w at) fed(team history.UserGroup) bool {
	return len(w.sources(team)) > 0 || w.ofAdmins(team) && w.s.AdminRole != ""
}

// bosses returns the ids of the Keycloak groups that make each of their members a boss. These are the
// groups that were given the role of administrators, and the groups below them.
func (w at) bosses() []string {
	var ids []string
	for id := range w.groups {
		for at := id; at != ""; {
			g := w.groups[at].get(w.t)
			if g.ID == "" {
				break
			}
			if w.roles[at].get(w.t) {
				ids = append(ids, id)
				break
			}
			at = g.Parent
		}
	}
	return ids
}

// boss reports whether a token of the account would hold the role of administrators.
func (w at) boss(a account) bool {
	if !a.Enabled || w.s.AdminRole == "" || w.approved && w.blind[a.Federation].get(w.t) {
		return false
	}
	return w.roles[a.ID].get(w.t) || w.holds(a, w.bosses())
}

// gives reports whether a token of the account would hold a group or role that feeds the user
// group.
func (w at) gives(a account, team history.UserGroup) bool {
	return w.holds(a, w.sources(team)) || w.ofAdmins(team) && w.boss(a)
}

// shows reports whether a list of Keycloak that feeds the user group shows the account when
// nothing fails.
func (w at) shows(a account, team history.UserGroup) bool {
	if !a.Enabled {
		return false
	}
	lists := w.sources(team)
	if w.ofAdmins(team) && w.s.AdminRole != "" {
		if w.roles[a.ID].get(w.t) {
			return true
		}
		lists = slices.Concat(lists, w.bosses())
	}
	return slices.ContainsFunc(lists, func(g string) bool { return w.listed[pair{a.ID, g}].get(w.t) })
}

// makesAdmins reports whether the configuration says that the group's members are
// administrators.
func (w at) makesAdmins(g history.Group) bool {
	for _, name := range w.s.AdminGroups {
		if strings.HasPrefix(name, "/") && g.Path == name || name == g.Name && !w.s.FullPath {
			return true
		}
	}
	return false
}

// holds reports whether a token of the account would hold one of the groups.
func (w at) holds(a account, groups []string) bool {
	if !a.Enabled || w.approved && w.blind[a.Federation].get(w.t) {
		return false
	}
	return slices.ContainsFunc(groups, func(g string) bool { return w.claims[pair{a.ID, g}].get(w.t) })
}

// in reports whether the user belongs in the user group: a token of one of the candidates would
// hold a group or role that feeds the user group.
func (w at) in(u history.User, team history.UserGroup) bool {
	return slices.ContainsFunc(w.candidates(u), func(a account) bool { return w.gives(a, team) })
}

// ours reports whether the user has signed in through Keycloak, and is neither groupsync's own
// user nor a service account. The model of ClearML always returns how a user has signed in, so ours
// needs no third result for an unknown sign-in.
func (w at) ours(u history.User) bool {
	return u.ID != "" && !u.Service && u.ID != w.s.Self && u.Keycloak
}

// protected reports whether users.protect keeps the memberships of the user. The setting can name
// the email of the user, or the email of a candidate. Letter case does not matter.
func (w at) protected(u history.User) bool {
	emails := []string{fold(u.Email)}
	for _, a := range w.candidates(u) {
		emails = append(emails, fold(a.Email))
	}
	return slices.ContainsFunc(w.s.Protected, func(p string) bool { return slices.Contains(emails, fold(p)) }) ||
		slices.ContainsFunc(w.s.Exceptions, func(x history.Exception) bool { return slices.Contains(emails, fold(x.User)) && w.t.Before(x.Until) })
}

// sure returns the one account that is certainly the user's. It returns false if there are
// several candidates or none, or if another user could have the account too.
func (w at) sure(u history.User) (account, bool) {
	list := w.candidates(u)
	if len(list) != 1 {
		return account{}, false
	}
	a := list[0]
	byID := a.ID == u.Kept
	if u.Kept != "" && !byID {
		return account{}, false // the account with the kept id is gone, so the account with the email may be another person's
	}
	for id := range w.users {
		o := w.users[id].get(w.t)
		if o.ID == "" || o.ID == u.ID || !w.ours(o) && o.ID != w.s.Self {
			continue
		}
		same := slices.ContainsFunc(w.candidates(o), func(x account) bool { return x.ID == a.ID })
		if same && (o.Kept == a.ID || !byID) && o.Keycloak {
			return account{}, false
		}
	}
	return a, true
}
