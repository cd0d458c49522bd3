package federation

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"groupsync/internal/match"
	"groupsync/internal/preflight"
	"groupsync/internal/preflight/federation/trait"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/source/keycloak"
)

// The largest number of people and of questions in a sample. For each question, Keycloak needs
// about 10 ms and a search in LDAP.
const (
	mostPeople    = 50
	mostQuestions = 200
)

// measure takes a sample of people of federations. It asks Keycloak about the own side of each, and
// compares the answers with Keycloak's lists. source.Weigh judges the answers, as in a pass.
func (f *federations) measure(ctx context.Context) []preflight.Finding {
	// The configuration is read first, because a realm without federations needs no other read.
	settings, err := f.source.InspectFederations(ctx)
	switch {
	case err != nil:
		return []preflight.Finding{preflight.Unchecked(err, uncheckedAdvice)}
	case len(settings.Storages) == 0:
		return preflight.Fine("the realm has no user federation")
	}
	sides, err := f.pair(ctx)
	if err != nil {
		return []preflight.Finding{preflight.Unchecked(err, uncheckedAdvice)}
	}
	lists, all := trait.Lists(sides.pairing), sides.catalog.Federations()
	switch {
	case len(all) == 0:
		return preflight.Fine("the realm has no user federation")
	case len(lists) == 0:
		return preflight.Fine("no Keycloak group feeds a ClearML group, so there is nothing to compare")
	}
	findings, up := f.awake(ctx, all)
	if len(up) == 0 {
		return findings
	}
	m := &measuring{both: sides, settings: settings, federations: up, lists: lists, traits: trait.Of(settings, sides.catalog)}
	if m.snap, err = f.source.Read(ctx, sides.catalog, match.Selection(sides.pairing)); err == nil {
		err = f.lookUpMembers(ctx, m)
	}
	if err != nil {
		return append(findings, preflight.Unchecked(err, uncheckedAdvice))
	}
	m.asked = m.sample()
	confirmation, err := f.source.Confirm(ctx, m.snap, m.questions(), nil)
	if err != nil {
		return append(findings, preflight.Unchecked(err, uncheckedAdvice))
	}
	return append(findings, m.findings(confirmation)...)
}

const uncheckedAdvice = "correct the cause first, then run groupsync check again"

// awake probes the federations: it asks each one a question to see whether it answers. It returns
// a warning for each federation that is away, and the names, by id, of the federations that are up.
// A federation in keycloak.trusted_federations counts as up.
func (f *federations) awake(ctx context.Context, all []source.Federation) ([]preflight.Finding, map[string]string) {
	var findings []preflight.Finding
	up := make(map[string]string)
	for _, p := range f.source.ProbeFederations(ctx, all) {
		if p.Up || p.Trusted {
			up[p.Federation.ID] = p.Federation.Name
			continue
		}
		findings = append(findings, notMeasured(p.Federation.Name, p.Detail))
	}
	return findings, up
}

func notMeasured(federation, why string) preflight.Finding {
	return preflight.Warn("groupsync did not check the people of the federation "+federation+", because the federation is away: "+why,
		"check the federation in Keycloak and its server, then run groupsync check again")
}

// lookUpMembers looks up accounts that are in no list: those of the members of fed user groups, at
// most mostPeople. A list can hide people, and then only a look-up by id or email finds their
// accounts. lookUpMembers also adds to each list of a role the groups that give the role.
func (f *federations) lookUpMembers(ctx context.Context, m *measuring) error {
	m.people = match.Who(m.snap, m.target, f.rules)
	members := make(map[string]bool)
	for _, feed := range m.pairing.Feeds {
		for _, member := range feed.Group.Members {
			members[member.ID] = true
		}
	}
	var ask []source.Person
	for i, u := range m.target.Users() {
		p := m.people.Person(i)
		if members[u.ID] && p.Ask.Key != "" && len(p.Accounts) == 0 && len(ask) < mostPeople {
			ask = append(ask, p.Ask)
		}
	}
	snap, err := f.source.LookUp(ctx, m.snap, ask, nil)
	if err != nil {
		return fmt.Errorf("looking people up: %w", err)
	}
	m.snap, m.people = snap, match.Who(snap, m.target, f.rules)
	for i, l := range m.lists {
		if role := snap.Role(l.Role); l.Role != "" && role != nil {
			for _, id := range role.Groups {
				g, _ := m.catalog.Group(id)
				m.lists[i].Groups = append(m.lists[i].Groups, g)
			}
		}
	}
	return nil
}

// measuring is the state of one comparison of the lists with the own side.
type measuring struct {
	*both
	settings    keycloak.FederationSettings
	federations map[string]string // the names, by id, of the federations that are up
	lists       []trait.List
	traits      []trait.Trait
	snap        *source.Snapshot
	people      match.People
	asked       []pair
}

// pair is one question: does the own side of this account agree with this list?
type pair struct {
	user  int  // index in the snapshot's users
	list  int  // index in measuring.lists
	shown bool // the list shows the account
}

// readable reports whether Keycloak returned the list.
func (m *measuring) readable(l trait.List) bool {
	if l.Role != "" {
		role := m.snap.Role(l.Role)
		return role != nil && role.Found
	}
	return m.snap.Unreadable(l.Groups[0].ID) == ""
}

// shown returns the ids of the accounts that the list shows.
func (m *measuring) shown(l trait.List) []string {
	if l.Role != "" {
		return m.snap.HoldersOfRole(l.Role)
	}
	ids, _ := m.snap.Members(l.Groups[0].ID)
	return ids
}

// known returns a value for each of the snapshot's users: true for an enabled account of a
// federation that is up. Only these accounts can be in the sample.
func (m *measuring) known() []bool {
	known := make([]bool, len(m.snap.Users()))
	for i, u := range m.snap.Users() {
		_, up := m.federations[u.Federation]
		known[i] = up && u.Enabled
	}
	return known
}

// view holds two sets of accounts for one list: those that the list shows, and those of the members
// of the user groups that the list feeds. The keys are indexes in the snapshot's users.
type view struct {
	shown   map[int]bool // the accounts that the list shows
	members map[int]bool // the accounts that could be a member's
}

func (m *measuring) view(l trait.List) view {
	v := view{shown: make(map[int]bool), members: make(map[int]bool)}
	for _, id := range m.shown(l) {
		if u, met := m.snap.UserIndex(id); met {
			v.shown[u] = true
		}
	}
	for _, feed := range m.pairing.Feeds {
		if !slices.Contains(l.Feeds, feed.Group.ID) {
			continue
		}
		for _, member := range feed.Group.Members {
			if i, there := m.target.UserIndex(member.ID); there {
				for _, account := range m.people.Person(i).Accounts {
					v.members[account] = true
				}
			}
		}
	}
	return v
}

// sorted returns the accounts in the order in which Keycloak is asked about them. Accounts that
// only the list or only ClearML has come first, because a difference is most likely there.
func (v view) sorted(accounts []int) []int {
	rank := func(u int) int {
		if v.shown[u] != v.members[u] {
			return 0
		}
		return 1
	}
	slices.SortFunc(accounts, func(a, b int) int { return cmp.Or(rank(a)-rank(b), a-b) })
	return accounts
}

// candidates returns the accounts of both sets, in the order of sorted. The sample is taken from
// these accounts.
func (v view) candidates() []int {
	all := maps.Clone(v.shown)
	maps.Copy(all, v.members)
	return v.sorted(slices.Collect(maps.Keys(all)))
}

// pairs returns one pair for each account in people. list is the index of the list. Accounts that
// the list shows alternate with accounts that the list does not show.
func (v view) pairs(list int, people []int) []pair {
	var shown, others []pair
	for _, u := range v.sorted(slices.Clone(people)) {
		if v.shown[u] {
			shown = append(shown, pair{u, list, true})
		} else {
			others = append(others, pair{u, list, false})
		}
	}
	return inTurn([][]pair{shown, others})
}

// sample returns the questions to ask, at most mostQuestions. If there are few people and lists,
// it returns one question for each person and each list. If there are more, it takes questions
// about each list in turn.
func (m *measuring) sample() []pair {
	views := make(map[int]view)
	var candidates [][]int
	for i, l := range m.lists {
		if m.readable(l) {
			views[i] = m.view(l)
			candidates = append(candidates, views[i].candidates())
		}
	}
	people := m.choose(inTurn(candidates))
	var pairs [][]pair
	for _, i := range slices.Sorted(maps.Keys(views)) {
		pairs = append(pairs, views[i].pairs(i, people))
	}
	sample := inTurn(pairs)
	return sample[:min(len(sample), mostQuestions)]
}

// choose returns the first mostPeople candidates, without repetitions. It takes only accounts for
// which known is true.
func (m *measuring) choose(candidates []int) []int {
	known := m.known()
	var chosen []int
	for _, u := range candidates {
		if known[u] && len(chosen) < mostPeople {
			chosen = append(chosen, u)
			known[u] = false
		}
	}
	return chosen
}

// inTurn returns the first of each queue, then the second of each, and so on.
func inTurn[T any](queues [][]T) []T {
	var all []T
	for i := 0; ; i++ {
		before := len(all)
		for _, q := range queues {
			if i < len(q) {
				all = append(all, q[i])
			}
		}
		if len(all) == before {
			return all
		}
	}
}

// questions returns the sample as questions about the people's own side. Each question is about one
// account and one list. If the list shows the account, it is the question of a grant: is the
// account in the group? If not, it is the question of a removal: is the account out of the group?
func (m *measuring) questions() []source.Question {
	questions := make([]source.Question, len(m.asked))
	for i, p := range m.asked {
		l, u := m.lists[p.list], m.snap.Users()[p.user]
		q := source.Question{Group: l.Feeds[0], User: u.ID, Grant: p.shown, Accounts: []source.User{u}, Role: l.Role}
		if l.Role == "" {
			q.Sources = l.Groups
		}
		questions[i] = q
	}
	return questions
}

// tally counts the clear answers about the people of one federation in one list (asked). hides
// counts people whom the list hides, and shows counts people whom the list shows wrongly.
type tally struct{ asked, hides, shows int }

func (m *measuring) findings(c source.Confirmation) []preflight.Finding {
	type key struct {
		list       int
		federation string
	}
	tallies := make(map[key]*tally)
	doubts := make(map[string][]string) // by federation: why answers are unclear
	away := make(map[string]string)
	agree := 0
	for i, a := range c.Answers {
		p := m.asked[i]
		k := key{p.list, m.snap.Users()[p.user].Federation}
		if tallies[k] == nil {
			tallies[k] = new(tally)
		}
		t := tallies[k]
		switch a.Denial {
		case source.Proved:
			agree++
		case source.HiddenByList:
			t.hides++
		case source.OnlyInList:
			t.shows++
		case source.Away:
			away[k.federation] = a.Doubt
			continue
		default:
			doubts[k.federation] = append(doubts[k.federation], a.Doubt)
			continue
		}
		t.asked++
	}
	findings := m.unreadable()
	ids := m.ids()
	for at, l := range m.lists {
		for _, id := range ids {
			findings = append(findings, m.twice(l, id)...)
			if t := tallies[key{at, id}]; t != nil {
				findings = append(findings, m.differ(l, id, *t)...)
			}
		}
	}
	for _, id := range ids {
		findings = append(findings, m.unknown(id)...)
		if away[id] != "" {
			findings = append(findings, preflight.Warn("groupsync did not check some people of the federation "+m.federations[id]+": "+away[id],
				"check the federation in Keycloak and its server, then run groupsync check again"))
		}
		if len(doubts[id]) > 0 {
			findings = append(findings, unclear(m.federations[id], doubts[id]))
		}
	}
	if agree == len(m.asked) && agree > 0 {
		findings = append(findings, preflight.Fine(m.agreement())...)
	}
	return findings
}

// ids returns the ids of the federations that are up, in the order of their names.
func (m *measuring) ids() []string {
	var ids []string
	for id := range m.federations {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int {
		return strings.Compare(m.federations[a]+"\x00"+a, m.federations[b]+"\x00"+b)
	})
	return ids
}

// agreement returns the sentence of the finding for a sample in which every answer agrees with the
// list.
func (m *measuring) agreement() string {
	asked, lists := make(map[int]bool), make(map[int]bool)
	for _, p := range m.asked {
		asked[p.user], lists[p.list] = true, true
	}
	who, known := "everybody of a federation whom groupsync knows", 0
	for _, is := range m.known() {
		if is {
			known++
		}
	}
	if len(m.asked) < known*len(lists) {
		who = fmt.Sprintf("a sample of the %d whom groupsync knows", known)
	}
	return fmt.Sprintf("Keycloak's lists and the people's own side agree: %s about %s (%s) in %d of %d lists", report.Counted(len(m.asked), "answer", "answers"), people(len(asked)), who, len(lists), len(m.lists))
}

func people(n int) string { return report.Counted(n, "person", "people") }

// unreadable returns an error for each group whose members Keycloak cannot list.
func (m *measuring) unreadable() []preflight.Finding {
	var findings []preflight.Finding
	for _, l := range m.lists {
		if l.Role != "" || m.readable(l) {
			continue
		}
		because, advice := trait.Explain(trait.Causes(m.traits, []trait.List{l}, "", true))
		findings = append(findings, preflight.Fail(m.snap.Unreadable(l.Groups[0].ID)+". groupsync changes nothing in the ClearML groups that this group feeds. "+because, advice))
	}
	return findings
}

// differ returns a warning if the list hides people of the federation, and another one if the list
// shows people wrongly. t has the numbers.
func (m *measuring) differ(l trait.List, federation string, t tally) []preflight.Finding {
	var findings []preflight.Finding
	add := func(n int, hides bool, verb string, is state, undone string) {
		if n == 0 {
			return
		}
		because, advice := trait.Explain(trait.Causes(m.traits, []trait.List{l}, federation, hides))
		findings = append(findings, preflight.Warn(fmt.Sprintf("%s %s %s of the federation %s who %s by their own side (groupsync checked %s of the federation). %s %s",
			l, verb, people(n), m.federations[federation], is.of(n), people(t.asked), undone, because), advice))
	}
	in, out := state{"is in the group", "are in the group"}, state{"is not in the group", "are not in the group"}
	if l.Role != "" {
		in, out = state{"holds the role", "hold the role"}, state{"does not hold the role", "do not hold the role"}
	}
	add(t.hides, true, "hides", in, "groupsync does not add these people.")
	add(t.shows, false, "shows", out, "groupsync adds none of these people, because it follows their own side.")
	return findings
}

// state is a phrase in the form for one person, and in the form for several.
type state struct{ one, several string }

func (s state) of(n int) string {
	if n == 1 {
		return s.one
	}
	return s.several
}

// twice returns a warning if the list shows people of the federation more than once.
func (m *measuring) twice(l trait.List, federation string) []preflight.Finding {
	if l.Role != "" {
		return nil
	}
	n := 0
	for _, id := range m.snap.Repeated(l.Groups[0].ID) {
		if i, met := m.snap.UserIndex(id); met && m.snap.Users()[i].Federation == federation {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return []preflight.Finding{preflight.Warn(
		fmt.Sprintf("%s shows %s of the federation %s twice: LDAP and Keycloak's database both hold the membership. If LDAP ends the membership, the row in the database keeps the person in the group, for a login too. A mapper that was switched from the mode IMPORT to READ_ONLY leaves such rows", l, people(n), m.federations[federation]),
		"set the mode of "+trait.Mappers(m.settings, l, federation)+" to IMPORT, take these people out of the group in Keycloak, and set the mode back")}
}

// unknown returns a finding if the checks have found no enabled account of the federation. Keycloak
// can then not be asked about anybody of that federation.
func (m *measuring) unknown(federation string) []preflight.Finding {
	for i, is := range m.known() {
		if is && m.snap.Users()[i].Federation == federation {
			return nil
		}
	}
	seen := "groupsync knows nobody of the federation " + m.federations[federation] + ": no list that feeds a ClearML group shows anybody of it, and no member of these ClearML groups belongs to it"
	causes := trait.Causes(m.traits, m.lists, federation, true)
	if len(causes) == 0 {
		return preflight.Fine(seen)
	}
	because, advice := trait.Explain(causes)
	return []preflight.Finding{preflight.Warn(seen+". "+because, advice)}
}

func unclear(federation string, doubts []string) preflight.Finding {
	n := len(doubts)
	slices.Sort(doubts)
	return preflight.Warn(fmt.Sprintf("unclear: %s about people of the federation %s: %s", report.Counted(n, "answer", "answers"), federation, strings.Join(slices.Compact(doubts), "; ")),
		"run the check again. If the answers stay unclear, look into Keycloak's log")
}
