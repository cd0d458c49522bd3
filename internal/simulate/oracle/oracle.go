package oracle

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"groupsync/internal/simulate/history"
)

// Violation is one law that was broken.
type Violation struct {
	Law  Law
	At   time.Time
	Text string
}

func (v Violation) String() string {
	return fmt.Sprintf("%s: %s: %s", v.At.Format("02 15:04:05.000"), v.Law, v.Text)
}

// Law is the text of a law.
type Law string

// The laws.
const (
	Lost      Law = "nobody loses a group that a token of the person held during the whole pass"
	Gained    Law = "nobody gains a group that no token of the person held"
	Kept      Law = "nobody loses a membership that a rule keeps"
	Wait      Law = "a removal that depends on a federation waits for the grace"
	Floor     Law = "the floor of administrators holds"
	Writers   Law = "only the leader writes"
	Bounds    Law = "a write changes only the members of an existing group that may be written"
	Canary    Law = "a server that changes more than it was asked carries out at most two writes (a canary, perhaps delivered twice)"
	Age       Law = "no plan is written after its maximum age"
	Converges Law = "without faults, passes and approvals bring both sides to the same state"
	Counts    Law = "the metrics count what happened"
	Agrees    Law = "the report agrees with what happened"
)

// pass holds the facts about one pass.
type pass struct {
	node         string
	number       int
	approved     bool
	ofOne        bool
	began, ended time.Time
	result       string
	changed      map[history.Change]time.Time // the changes that the writes of the pass made, with the time when each was first made
}

// leadership is the last renewal of the Lease.
type leadership struct {
	node  string
	until time.Time
}

// write is one write that went onto the connection.
type write struct {
	history.Sent
	at   time.Time
	pass *pass
}

// Oracle judges the facts of the log in the order of their times. Violations has what it found.
type Oracle struct {
	*past
	Violations []Violation
	Sometimes  map[string]int
	Strict     bool // also report violations by known errors that are not fixed (docs/simulation.md)

	running map[string]*pass   // by node: the pass that runs
	tried   map[pair]time.Time // by node and group: when a write was sent last
	short   map[pair]time.Time // by node and group: when an answer last left members out
	passes  []*pass            // the passes that ended
	reads   map[pair]time.Time // by node and group: when the node read the group last
	writes  map[int]*write
	leader  leadership
	leads   bool // the log has facts about the leader
	carried map[int]int
	counted map[string]history.Counters // by node: the counters of the node's metrics after its last pass
	harmed  map[string]int              // by node: the number of writes by which the server changed more than the node asked
	calm    time.Time
}

// New returns an oracle without any facts.
func New() *Oracle {
	return &Oracle{
		past: newPast(), Sometimes: make(map[string]int), running: make(map[string]*pass), tried: make(map[pair]time.Time), short: make(map[pair]time.Time),
		reads: make(map[pair]time.Time), writes: make(map[int]*write), carried: make(map[int]int), harmed: make(map[string]int), counted: make(map[string]history.Counters),
	}
}

// Judge judges the next entries of the log. Each call continues after the entries of the call
// before.
func (o *Oracle) Judge(entries []history.Entry) {
	for _, e := range entries {
		if m, is := e.What.(history.Member); is && m.By == history.Writer {
			o.changed(e.At, m)
		}
		if o.enter(e) {
			continue
		}
		switch w := e.What.(type) {
		case history.PassBegan:
			o.running[w.Node] = &pass{node: w.Node, number: w.Pass, approved: w.Approved, ofOne: w.OfOne, began: e.At, changed: make(map[history.Change]time.Time)}
		case history.PassEnded:
			o.ended(e.At, w)
		case history.Read:
			o.reads[pair{w.Node, w.Group}] = e.At
		case history.Short:
			o.short[pair{w.Node, w.Group}] = e.At
		case history.Leads:
			o.leads, o.leader = true, leadership{w.Node, w.Until}
		case history.Sent:
			o.sent(e.At, w)
		case history.SentRole:
			o.sentRole(e.At, w)
		case history.Harm:
			if x := o.writes[w.Number]; x != nil {
				o.harmed[x.Node]++
				o.Sometimes["a write did more than it said"]++
				if o.harmed[x.Node] > 2 {
					o.broken(Canary, e.At, "%s goes on writing", x.Node)
				}
			}
		case history.Carried:
			o.carried[w.Number]++
		case history.Calm:
			o.calm = e.At
		}
	}
}

func (o *Oracle) broken(law Law, t time.Time, format string, args ...any) {
	o.Violations = append(o.Violations, Violation{law, t, fmt.Sprintf(format, args...)})
}

// sent judges a write at the moment in which it went onto the connection.
func (o *Oracle) sent(t time.Time, s history.Sent) {
	p := o.allowed(t, s)
	if p == nil {
		return
	}
	read, was := o.reads[pair{s.Node, s.Group}]
	if all, is := o.reads[pair{s.Node, ""}]; is && (!was || all.After(read)) && !was {
		read, was = all, true
	}
	if !was || read.Before(p.began) {
		o.broken(Bounds, t, "the user group %s was not read before it was written", s.Group)
		return
	}
	shown := read
	read = o.basis(t, read, pair{s.Node, s.Group})
	team := o.teams[s.Group].get(read)
	switch {
	case team.ID == "":
		o.broken(Bounds, t, "the user group %q does not exist: the write makes it", s.Group)
		return
	case team.Name != s.Name || team.Description != s.Description:
		o.broken(Bounds, t, "the write to the user group %q would change its name or description: it sends the name %q and the description %q", team.Name, s.Name, s.Description)
	case team.System && team.Name != admins || !team.Assignable:
		o.broken(Bounds, t, "the built-in group %q is written", team.Name)
	}
	instants := o.instants(p.began, t)
	if !o.during(p, instants, func(w at) bool { return w.fed(team) }) {
		o.broken(Bounds, t, "%q is written, and nothing of Keycloak feeds it", team.Name)
	}
	removed := 0
	for _, id := range o.membersAt(s.Group, read) {
		if !slices.Contains(s.Members, id) {
			removed++
			rests := instants
			if !o.members[pair{s.Group, id}].get(shown) {
				rests = []time.Time{t} // the member list that the pass read did not have this user, so the removal needs a reason at the moment of the write
			}
			o.removal(t, p, team, id, rests)
		}
	}
	for _, id := range s.Members {
		if !o.members[pair{s.Group, id}].get(read) {
			o.grant(t, p, team, id, instants)
		}
	}
	if team.Name == admins && team.System && removed > 0 {
		o.floor(t, p, team, s.Members, instants)
	}
}

// allowed judges whether the process may write at the time t. It returns the pass that writes, or
// nil if no pass of the process runs.
func (o *Oracle) allowed(t time.Time, s history.Sent) *pass {
	p := o.running[s.Node]
	if p == nil {
		o.broken(Writers, t, "%s writes without a pass", s.Node)
		return nil
	}
	o.writes[s.Number] = &write{s, t, p}
	if o.leads && (o.leader.node != s.Node || !t.Before(o.leader.until)) {
		o.broken(Writers, t, "%s writes, and %s leads until %s", s.Node, o.leader.node, o.leader.until.Format("15:04:05.000"))
	}
	limit := o.settings[s.Node].get(t).MaxAge
	if limit > 0 && t.Sub(p.began) > limit {
		o.broken(Age, t, "%s writes %s after its reads began", s.Node, t.Sub(p.began))
	}
	return p
}

// basis returns the time whose members a write at the time t is compared with. For the first write
// after a read, this is the time of the read. If groupsync sends the write again without another
// read, this is t, because the members can have changed since the read. key names the node and the
// group.
func (o *Oracle) basis(t, read time.Time, key pair) time.Time {
	last, again := o.tried[key]
	o.tried[key] = t
	if again && !read.After(last) {
		return t
	}
	return read
}

// sentRole judges a write of one user's role. It treats the role admin as a group, and the write
// as one change of its members.
func (o *Oracle) sentRole(t time.Time, s history.SentRole) {
	p := o.allowed(t, history.Sent{Node: s.Node, Group: history.AdminRole, Number: s.Number})
	if p == nil {
		return
	}
	read, was := o.reads[pair{s.Node, history.AdminRole}]
	if !was || read.Before(p.began) {
		o.broken(Bounds, t, "the role of %s was not read before it was written", s.User)
		return
	}
	read = o.basis(t, read, pair{s.Node, history.AdminRole + " " + s.User})
	team := o.teams[history.AdminRole].get(read)
	instants := o.instants(p.began, t)
	user := func(w at) history.User { return o.users[s.User].get(w.t) }
	switch {
	case s.Role != "admin" && s.Role != "user":
		o.broken(Bounds, t, "%s is given the role %q: only the roles admin and user may be written", s.User, s.Role)
	case !o.during(p, instants, func(w at) bool { return w.fed(team) }):
		o.broken(Bounds, t, "the role admin is written, and nothing of Keycloak feeds it")
	case !o.during(p, instants, func(w at) bool { return slices.Contains([]string{"admin", "user"}, user(w).Role) }):
		o.broken(Kept, t, "%s is given the role %q, and has another role than user and admin", o.who(s.User, t), s.Role)
	}
	o.Sometimes["a role written"]++
	is := o.members[pair{history.AdminRole, s.User}].get(read)
	switch {
	case s.Role == "admin" && !is:
		o.grant(t, p, team, s.User, instants)
	case s.Role == "user" && is:
		o.removal(t, p, team, s.User, instants)
		left := slices.DeleteFunc(o.membersAt(history.AdminRole, t), func(id string) bool { return id == s.User })
		o.floor(t, p, team, left, instants)
	}
}

// membersAt returns the ids of the members of a user group (team) at the time t, sorted.
func (o *Oracle) membersAt(team string, t time.Time) []string {
	var ids []string
	for k, c := range o.members {
		if k.a == team && c.get(t) {
			ids = append(ids, k.b)
		}
	}
	slices.Sort(ids)
	return ids
}

// some reports whether the function holds returns true at one of the instants or more, with the
// settings of the node at that instant.
func (o *Oracle) some(node string, instants []time.Time, holds func(at) bool) bool {
	return slices.ContainsFunc(instants, func(t time.Time) bool { return holds(o.at(t, node)) })
}

// during does what some does, for the node of the pass p, and considers an approval. If p has one, a
// person whom a blind LDAP does not show counts as gone. The grace is then 0 in the state that the
// function holds gets, so ghosts do not count.
func (o *Oracle) during(p *pass, instants []time.Time, holds func(at) bool) bool {
	return o.some(p.node, instants, func(w at) bool {
		if p.approved {
			w.s.Grace, w.approved = 0, true
		}
		return holds(w)
	})
}

// removal judges a write at the time t that removes the user id from a group. The removal is right
// if it has a reason at one of the instants.
func (o *Oracle) removal(t time.Time, p *pass, team history.UserGroup, id string, instants []time.Time) {
	user := func(w at) history.User { return o.users[id].get(w.t) }
	gone := o.during(p, instants, func(w at) bool { return user(w).ID == "" })
	switch {
	case gone: // ClearML no longer has the user
		return
	case !o.during(p, instants, func(w at) bool { return w.ours(user(w)) }):
		o.broken(Kept, t, "%s is taken out of %q, and has never signed in by Keycloak", o.who(id, t), team.Name)
		return
	case !o.during(p, instants, func(w at) bool { return !w.protected(user(w)) }):
		o.broken(Kept, t, "%s is taken out of %q, and is protected", o.who(id, t), team.Name)
		return
	case !o.during(p, instants, func(w at) bool { return !w.in(user(w), team) }):
		o.broken(Lost, t, "%s is taken out of %q, although at every instant since %s a token of the person held the group: %s", o.who(id, t), team.Name, p.began.Format("15:04:05.000"), o.at(t, p.node).accountsOf(user(o.at(t, p.node)), team))
		return
	}
	o.Sometimes["a removal that was right"]++
	o.waited(t, p, team, id, instants)
}

// waited records a violation if a removal did not wait for the grace. instants are the times during
// the pass at which its reads can have seen the realm. The removal may be made at once if one of
// these is true:
//
//   - The pass has an approval.
//   - At one of the instants, the person had no candidate, or one that is disabled or local.
//
// Otherwise every earlier pass that began less than the grace before this pass must have proposed the
// removal. Such a pass can have proposed it if the person was out of the group at an instant of that
// pass. Passes that failed, and passes of one person, do not count.
func (o *Oracle) waited(t time.Time, p *pass, team history.UserGroup, id string, instants []time.Time) {
	now := o.at(t, p.node)
	if o.during(p, instants, func(w at) bool {
		list := w.candidates(o.users[id].get(w.t))
		return len(list) == 0 || slices.ContainsFunc(list, func(a account) bool { return a.Federation == "" || !a.Enabled })
	}) {
		return
	}
	o.Sometimes["a removal of somebody of a federation"]++
	if p.approved {
		return
	}
	for _, earlier := range o.passes {
		if earlier.ended.Before(p.began.Add(-now.s.Grace)) || earlier.result == "error" || earlier.ofOne {
			continue
		}
		if !o.some(p.node, o.instants(earlier.began, earlier.ended), func(w at) bool {
			w.s.Grace = 0 // so that ghosts do not count as accounts: Keycloak had deleted the account, so the earlier pass could not find it, and proposed the removal
			return !w.in(o.users[id].get(w.t), team)
		}) && earlier.began.After(p.began.Add(-now.s.Grace)) {
			o.broken(Wait, t, "%s is taken out of %q, although the person belonged in the group during the whole pass of %s, and the grace is %s", o.who(id, t), team.Name, earlier.began.Format("02 15:04:05"), now.s.Grace)
			return
		}
	}
}

// grant judges a write at the time t that adds the user id to a group. The addition is right if it
// has a reason at one of the instants.
func (o *Oracle) grant(t time.Time, p *pass, team history.UserGroup, id string, instants []time.Time) {
	user := func(w at) history.User { return o.users[id].get(w.t) }
	switch {
	case o.during(p, instants, func(w at) bool { return user(w).ID == "" }): // ClearML no longer has the user
	case !o.during(p, instants, func(w at) bool { return w.ours(user(w)) }):
		o.broken(Gained, t, "%s is put into %q, and has never signed in by Keycloak", o.who(id, t), team.Name)
	case !o.during(p, instants, func(w at) bool { return w.in(user(w), team) }):
		o.broken(Gained, t, "%s is put into %q, although no token of the person held the group at any instant since %s", o.who(id, t), team.Name, p.began.Format("15:04:05.000"))
	case !o.during(p, instants, func(w at) bool { _, sure := w.sure(user(w)); return sure }):
		o.broken(Gained, t, "%s is put into %q, although it was never certain which account is this user: %s", o.who(id, t), team.Name, o.at(t, p.node).accountsOf(user(o.at(t, p.node)), team))
	case team.System && !o.during(p, instants, func(w at) bool { return w.unambiguousAdmin(user(w)) }):
		o.broken(Gained, t, "%s becomes an administrator by a name that several groups have", o.who(id, t))
	default:
		o.Sometimes["a grant that was right"]++
	}
}

// unambiguousAdmin reports whether the user holds the role of administrators or is in a group
// of administrators. A group counts only if the configuration names it by its path, or by a name
// that no other group has.
func (w at) unambiguousAdmin(u history.User) bool {
	if slices.ContainsFunc(w.candidates(u), w.boss) {
		return true
	}
	for id := range w.groups {
		g := w.groups[id].get(w.t)
		if g.ID == "" || !w.makesAdmins(g) {
			continue
		}
		if !slices.Contains(w.s.AdminGroups, g.Path) && w.repeats(g) {
			continue
		}
		for _, a := range w.candidates(u) {
			if w.holds(a, []string{id}) {
				return true
			}
		}
	}
	return false
}

// repeats reports whether another Keycloak group has the same leaf name as g.
func (w at) repeats(g history.Group) bool {
	for id := range w.groups {
		if o := w.groups[id].get(w.t); o.ID != "" && o.ID != g.ID && o.Name == g.Name {
			return true
		}
	}
	return false
}

// floor judges whether a write leaves at least admins.floor administrators. members are the ids of
// the members after the write. groupsync's own user and service accounts do not count.
func (o *Oracle) floor(t time.Time, p *pass, team history.UserGroup, members []string, instants []time.Time) {
	n := 0
	for _, id := range members {
		if o.some(p.node, instants, func(w at) bool {
			u := o.users[id].get(w.t)
			return u.ID != "" && u.ID != w.s.Self && !u.Service && o.members[pair{team.ID, id}].get(w.t)
		}) {
			n++
		}
	}
	o.Sometimes["an administrator removed"]++
	if limit := o.settings[p.node].get(t).Floor; n < limit {
		o.broken(Floor, t, "%d administrators are left, the floor is %d", n, limit)
	}
}

// who returns a phrase that describes a user, for the text of a violation.
func (o *Oracle) who(id string, t time.Time) string {
	u := o.users[id].get(t)
	return fmt.Sprintf("%s (%s, kept %q, email %q)", id, u.Name, u.Kept, u.Email)
}

// accountsOf returns a phrase that describes the candidates of a user, for the text of a violation.
func (w at) accountsOf(u history.User, team history.UserGroup) string {
	text := ""
	for _, a := range w.candidates(u) {
		text += fmt.Sprintf("[account %s, username %s, federation %q, enabled: %t, deleted because LDAP did not show the person: %t, a token gives the membership: %t]", a.ID, a.Username, a.Federation, a.Enabled, !a.ghost.IsZero(), w.gives(a, team))
	}
	return text
}

// changed records a change of a membership that a write of groupsync made.
func (o *Oracle) changed(t time.Time, m history.Member) {
	w := o.writes[m.Write]
	if w == nil {
		o.broken(Writers, t, "a membership of %q changed by a write that no process sent", m.Group)
		return
	}
	c := history.Change{Group: m.Group, User: m.User, Add: m.In}
	if w.pass.changed[c].IsZero() {
		w.pass.changed[c] = t
	}
}

// ended judges the report of a pass: its changes, its exit code and its place in the journal.
func (o *Oracle) ended(t time.Time, e history.PassEnded) {
	p := o.running[e.Node]
	if p == nil {
		return
	}
	delete(o.running, e.Node)
	p.ended, p.result = t, e.Result
	o.passes = append(o.passes, p)
	for _, c := range e.Done {
		// If somebody else made the change first, no write of the pass made the change. The report
		// is still right if ClearML had the result of the change at an instant of the pass.
		if p.changed[c].IsZero() && !slices.ContainsFunc(o.instants(p.began, t), func(x time.Time) bool { return o.members[pair{c.Group, c.User}].get(x) == c.Add }) && !o.hidden(p, c) {
			o.broken(Agrees, t, "the pass %s reports %s as done, and ClearML never had that result", e.ID, text(c))
		}
	}
	for c, at := range p.changed {
		if !slices.Contains(e.Done, c) && !slices.Contains(e.Failed, c) && !o.raced(p, c, at) && !o.hidden(p, c) {
			o.broken(Agrees, t, "the pass %s made %s, and its report does not say so (result %s)", e.ID, text(c), e.Result)
		}
	}
	o.counts(t, e)
	left := e.Left > 0 || len(e.Errors) > 0 || e.Result == "error" || e.Result == "guarded"
	if left != (e.Exit != 0) {
		o.broken(Agrees, t, "the pass %s has exit code %d, and its report has result %s, %d changes left, errors: %s; the exit code must be 0 if nothing is left, withheld or failed, and otherwise not 0", e.ID, e.Exit, e.Result, e.Left, strings.Join(e.Errors, "; "))
	}
	if e.HasJournal && len(p.changed) > 0 && !e.Journaled {
		o.broken(Agrees, t, "the pass %s changed something, and the journal has no report of it", e.ID)
	}
}

// counts compares how the metrics grew in a pass with the changes that the report calls done or
// failed. (ended compares the report with what happened in ClearML.)
func (o *Oracle) counts(t time.Time, e history.PassEnded) {
	add := func(list []history.Change, adds bool) (n int) {
		for _, c := range list {
			n += number(c.Add == adds)
		}
		return n
	}
	was := o.counted[e.Node]
	o.counted[e.Node] = e.Counted
	want := history.Counters{
		Added: was.Added + add(e.Done, true), Removed: was.Removed + add(e.Done, false),
		NotAdded: was.NotAdded + add(e.Failed, true), NotRemoved: was.NotRemoved + add(e.Failed, false),
	}
	if e.Counted != want {
		o.broken(Counts, t, "after the pass %s the metrics of %s are %+v, they should be %+v", e.ID, e.Node, e.Counted, want)
	}
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// hidden reports whether the report may be wrong about the removal c for a known reason: during the
// pass, an answer of ClearML lacked members of the group. If it lacked the removed person, a
// removal that was not made looks done. If Strict is set, hidden returns false.
func (o *Oracle) hidden(p *pass, c history.Change) bool {
	if c.Add || o.Strict || o.short[pair{p.node, c.Group}].Before(p.began) {
		return false
	}
	o.Sometimes["a removal that the report gets wrong after a short answer"]++
	return true
}

// raced reports whether the report of the pass may lack the change c, which a write made at the time
// t. It may if ClearML already had the result of c at an earlier instant of the pass. Then somebody
// else undid that result before t, and the write restored it without a planned change.
func (o *Oracle) raced(p *pass, c history.Change, t time.Time) bool {
	return slices.ContainsFunc(o.instants(p.began, t), func(x time.Time) bool {
		return x.Before(t) && o.members[pair{c.Group, c.User}].get(x) == c.Add
	})
}

func text(c history.Change) string {
	if c.Add {
		return fmt.Sprintf("the addition of %s to %s", c.User, c.Group)
	}
	return fmt.Sprintf("the removal of %s from %s", c.User, c.Group)
}

// Settled judges the end of a schedule: both sides must agree. Since the fact Calm, nothing has
// changed, and passes have run. Settled uses the settings of node at the time t. The parameter frozen
// names the user groups in which some guard may withhold changes for ever. Settled skips them.
func (o *Oracle) Settled(t time.Time, node string, frozen []string) {
	w := o.at(t, node)
	w.s.Grace = 0
	for id := range o.teams {
		team := o.teams[id].get(t)
		if team.ID == "" || !w.fed(team) || w.twins(team) || slices.Contains(frozen, team.Name) {
			continue
		}
		for uid := range o.users {
			u := o.users[uid].get(t)
			a, sure := w.sure(u)
			if !w.ours(u) || !sure {
				continue
			}
			claim, is := w.gives(a, team), o.members[pair{id, uid}].get(t)
			listed := w.shows(a, team)
			switch {
			case claim == is:
			case claim && !listed, !claim && listed && is: // the list and the own side disagree, so groupsync waits for the next login
				o.Sometimes["somebody whom only a login settles"]++
			case claim && w.s.HidesEmails && a.ID != u.Kept: // groupsync grants nothing on an email alone
				o.Sometimes["somebody whom an email does not identify"]++
			case id == history.AdminRole && u.Role != "admin" && u.Role != "user": // groupsync changes no other role
				o.Sometimes["somebody with another role"]++
			case w.protected(u): // a rule keeps the memberships of the user
			case claim && team.System && !w.unambiguousAdmin(u):
			default:
				o.broken(Converges, t, "%s: is a member of %q: %t, a token of the person gives this membership: %t; both must be equal", o.who(uid, t), team.Name, is, claim)
			}
		}
	}
}

// twins reports whether another user group of ClearML has the same name.
func (w at) twins(team history.UserGroup) bool {
	for id := range w.teams {
		if o := w.teams[id].get(w.t); o.ID != "" && o.ID != team.ID && o.Name == team.Name {
			return true
		}
	}
	return false
}
