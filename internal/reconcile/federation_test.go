package reconcile_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"groupsync/internal/guard"
	"groupsync/internal/match"
	"groupsync/internal/reconcile"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/source/keycloak"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target/clearml"
	"groupsync/internal/target/clearmltest"
	"groupsync/internal/transport"
)

func TestMain(m *testing.M) { os.Exit(keycloaktest.Main(m)) }

// staff are the people of LDAP. All are in LDAP's one group. The first two are in the local
// group /club too.
var staff = []string{"feda", "fedb", "fedc", "fedd", "fede", "fedf"}

const grace = time.Hour

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// site is the whole product with real parts. The realm has LDAP behind it. The LDAP group
// /staff has the six people of LDAP and lola, who is local. The local group /club has two of
// the six, lola and luke. ClearML is a stand-in that a first pass has filled.
type site struct {
	ldap    *keycloaktest.LDAP
	realm   *keycloaktest.Realm
	fed     *keycloaktest.Federation
	clearml *clearmltest.Server
	rec     *reconcile.Reconciler
	now     time.Time
	teams   []string // the teams that members returns, sorted
	seen    calls    // requests of the reconciler that was made last
	between func()   // called between the read and the second look; may be nil
}

// setup is what a test configures besides the defaults.
type setup struct {
	config  func(*keycloak.Config)
	clearml func(*clearml.Config)
	rules   func(*match.Options)
	limits  func(*guard.Limits)
}

// calls counts the requests to Keycloak by name.
type calls struct {
	mu sync.Mutex
	by map[string]int
}

func (c *calls) observe(a transport.Attempt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by[a.Call]++
}

// take returns the counts and resets them.
func (c *calls) take() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	by := c.by
	c.by = map[string]int{}
	return by
}

// newSite makes the site. ClearML's teams also have many users whom Keycloak never knew. So no
// limit on the share of a group trips before the guards that are tested.
func newSite(t *testing.T, o keycloaktest.FederationOptions) *site {
	t.Helper()
	s := &site{now: noon, teams: []string{"club", "staff"}}
	s.ldap = keycloaktest.StartLDAP(t, staff, map[string][]string{"staff": staff})
	s.realm = keycloaktest.Shared(t).NewRealm(t, keycloaktest.Spec{Users: []keycloaktest.User{
		{Username: "lola", Email: "lola@example.org"},
		{Username: "luke", Email: "luke@example.org"},
	}})
	s.fed = s.realm.Federate(t, s.ldap, o)
	s.realm.Do(t, http.MethodPost, "/groups", map[string]string{"name": "club"}, nil)
	s.realm.Join(t, "lola", "/club")
	s.realm.Join(t, "luke", "/club")
	s.realm.Join(t, "lola", "/staff")
	filled := want{result: report.Applied, probes: "ldap up", added: 9, members: unimported}
	if !o.NoImport {
		s.realm.Join(t, "feda", "/club")
		s.realm.Join(t, "fedb", "/club")
		filled.added, filled.members = 11, whole
	}
	s.clearml = clearmltest.New(t, clearmltest.Options{})
	for _, name := range append([]string{"lola", "luke"}, staff...) {
		s.clearml.AddUser(clearmltest.User{ID: name, Name: name, Email: name + "@example.org",
			Providers: map[string]any{"keycloak": map[string]any{"id": s.realm.UserID(t, name)}}})
	}
	var bystanders []string
	for i := range 40 {
		id := fmt.Sprintf("bystander-%02d", i)
		bystanders = append(bystanders, id)
		s.clearml.AddUser(clearmltest.User{ID: id, Name: id})
	}
	s.clearml.AddTeam("staff", bystanders...)
	s.clearml.AddTeam("club", bystanders...)
	s.rec = s.reconciler(t, setup{})
	s.pass(t, "the first pass", filled)
	return s
}

// reconciler returns a Reconciler without memory.
func (s *site) reconciler(t testing.TB, o setup) *reconcile.Reconciler {
	t.Helper()
	src, dir, options := s.parts(t, o)
	return reconcile.New(interrupted{src, s}, dir, options)
}

// parts returns the parts of a Reconciler.
func (s *site) parts(t testing.TB, o setup) (*keycloak.Source, *clearml.Client, reconcile.Options) {
	t.Helper()
	s.seen.take()
	c := keycloak.Config{URL: s.realm.Server.URL, Realm: s.realm.Name, ClientID: s.realm.ClientID, Observe: s.seen.observe,
		ClientSecret: func() (string, error) { return s.realm.Secret, nil }}
	if o.config != nil {
		o.config(&c)
	}
	src, err := keycloak.New(c)
	if err != nil {
		t.Fatal(err)
	}
	d := clearml.Config{URL: s.clearml.URL, Keys: func() (clearml.Keys, error) { return clearml.Keys{Access: "access", Secret: "secret"}, nil }}
	if o.clearml != nil {
		o.clearml(&d)
	}
	dir, err := clearml.New(d)
	if err != nil {
		t.Fatal(err)
	}
	options := match.Options{Include: []string{"*"}, Provider: "keycloak"}
	if o.rules != nil {
		o.rules(&options)
	}
	rules, err := match.Compile(options)
	if err != nil {
		t.Fatal(err)
	}
	// The default limits, except max_gone: it must not trip before `fall`.
	limits := guard.Limits{MaxRemovals: 50, MaxAdminGrants: 3, Window: 24 * time.Hour, MaxRatio: 0.25, FreeRemovals: 3, Grace: grace, Floor: 1}
	if o.limits != nil {
		o.limits(&limits)
	}
	return src, dir, reconcile.Options{Name: "test", Rules: rules, Limits: limits,
		Now: func() time.Time { return s.now }, Log: slog.New(slog.DiscardHandler)}
}

// interrupted is the source with the site's hook between the read and the second look.
type interrupted struct {
	*keycloak.Source
	site *site
}

func (i interrupted) Confirm(ctx context.Context, snap *source.Snapshot, questions []source.Question, known []source.Federation) (source.Confirmation, error) {
	if hook := i.site.between; hook != nil {
		i.site.between = nil
		hook()
	}
	return i.Source.Confirm(ctx, snap, questions, known)
}

// The members of ClearML's teams when all is well, without the bystanders. An account that
// Keycloak does not import cannot be in a local group.
const (
	whole      = "club: feda fedb lola luke\nstaff: feda fedb fedc fedd fede fedf lola"
	unimported = "club: lola luke\nstaff: feda fedb fedc fedd fede fedf lola"
)

// want is the expected result of a pass. An empty field means that the pass must have none.
type want struct {
	result   report.Result
	removals string   // a line for each team, reason, outcome and guard, as removals returns them
	timing   bool     // the reasons depend on which of Keycloak's answers came first
	probes   string   // "ldap up" or "ldap away"; empty: no probe was needed
	own      string   // where the list and the own side disagree, as ownView returns it
	trips    []string // patterns for fits, of "guard team: detail"
	errors   []string // patterns for fits
	added    int
	members  string // members of ClearML's teams after the pass
	approve  string // digest of the pass's approval
}

// pass makes a pass that may write, compares it with w, and returns its report.
func (s *site) pass(t *testing.T, when string, w want) report.Report {
	t.Helper()
	r := s.rec.Pass(t.Context(), reconcile.Request{MayWrite: leads, Apply: true, Approval: reconcile.Approval{Digest: w.approve}})
	got := want{result: r.Result, removals: removals(r, w.timing), timing: w.timing, probes: probes(r), own: ownView(r), added: r.Applied.Added, members: s.members(), approve: w.approve}
	for i, trip := range r.Guards {
		got.trips = append(got.trips, fits(strings.TrimSpace(string(trip.Guard)+" "+trip.Group)+": "+trip.Detail, w.trips, i))
		if trip.Override != "" && trip.Override != "--approve "+cmp.Or(r.Digest, "DIGEST") {
			t.Errorf("%s: the guard %s names the override %q, the digest is %q", when, trip.Guard, trip.Override, r.Digest)
		}
	}
	for i, e := range r.Errors {
		got.errors = append(got.errors, fits(e.Text, w.errors, i))
	}
	if diff := gocmp.Diff(w.lines(), got.lines()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", when, diff)
	}
	return r
}

// lines returns the expected result line by line, so that a difference shows whole sentences.
func (w want) lines() []string {
	lines := []string{"result " + string(w.result), "probes " + w.probes, "own view " + w.own, fmt.Sprint("added ", w.added)}
	for _, part := range []struct{ name, text string }{{"removals", w.removals}, {"members", w.members}} {
		for line := range strings.Lines(part.text) {
			lines = append(lines, part.name+" "+strings.TrimSpace(line))
		}
	}
	for _, trip := range w.trips {
		lines = append(lines, "trip "+trip)
	}
	for _, e := range w.errors {
		lines = append(lines, "error "+e)
	}
	return lines
}

// fits returns the pattern with that index if it matches the text, and else the text. A
// pattern is the beginning of a text. "…" matches anything.
func fits(text string, patterns []string, place int) string {
	if place >= len(patterns) {
		return text
	}
	rest := text
	for i, piece := range strings.Split(patterns[place], "…") {
		at := strings.Index(rest, piece)
		if at < 0 || i == 0 && at > 0 {
			return text
		}
		rest = rest[at+len(piece):]
	}
	return patterns[place]
}

// leads is the Lead of the leader.
func leads() error { return nil }

// removals returns lines "team: reason of people, outcome by guard", sorted. A line has all
// people with the same team, reason, outcome and guard. If timing is set, the reason is left
// out.
func removals(r report.Report, timing bool) string {
	people := make(map[string][]string)
	for _, g := range r.Groups {
		for _, c := range g.Remove {
			became := string(c.Outcome)
			if c.Guard != "" {
				became += " by " + string(c.Guard)
			}
			key := g.Name + ": " + c.Why + " of %s, " + became
			if timing {
				key = g.Name + ": %s, " + became
			}
			people[key] = append(people[key], c.ID)
		}
	}
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(people)) {
		lines = append(lines, fmt.Sprintf(key, strings.Join(people[key], " ")))
	}
	return strings.Join(lines, "\n")
}

func probes(r report.Report) string {
	var all []string
	for _, p := range r.Probes {
		all = append(all, p.Federation+map[bool]string{true: " up", false: " away"}[p.Up])
	}
	return strings.Join(all, ", ")
}

// ownView returns "team hides 2, shows 1, stale" for each team, without the parts that are
// zero. A team without any is left out.
func ownView(r report.Report) string {
	var all []string
	for _, g := range r.Groups {
		var says []string
		if g.OwnView.Hides > 0 {
			says = append(says, fmt.Sprint("hides ", g.OwnView.Hides))
		}
		if g.OwnView.Shows > 0 {
			says = append(says, fmt.Sprint("shows ", g.OwnView.Shows))
		}
		if g.OwnView.Stale {
			says = append(says, "stale")
		}
		if len(says) > 0 {
			all = append(all, g.Name+" "+strings.Join(says, ", "))
		}
	}
	return strings.Join(all, "; ")
}

func (s *site) members() string {
	var lines []string
	for _, team := range s.teams {
		people := slices.DeleteFunc(s.clearml.Members(team), func(id string) bool { return strings.HasPrefix(id, "bystander-") })
		lines = append(lines, team+": "+strings.Join(people, " "))
	}
	return strings.Join(lines, "\n")
}

func (s *site) clearCaches(t *testing.T) {
	t.Helper()
	s.realm.Do(t, http.MethodPost, "/clear-user-cache", nil, nil)
}

// The kinds of LDAP outage, and how each begins and ends.
var troubles = []struct {
	name       string
	begin, end func(*keycloaktest.LDAP, testing.TB)
	timeout    time.Duration // of Keycloak's calls
}{
	{"LDAP refuses connections", (*keycloaktest.LDAP).Stop, (*keycloaktest.LDAP).Start, 0},
	{"LDAP hangs", (*keycloaktest.LDAP).Pause, (*keycloaktest.LDAP).Resume, 500 * time.Millisecond},
	{"LDAP refuses the password", answering(keycloaktest.Answers{WrongBind: true}), answering(keycloaktest.Answers{}), 0},
}

func answering(a keycloaktest.Answers) func(*keycloaktest.LDAP, testing.TB) {
	return func(l *keycloaktest.LDAP, tb testing.TB) { tb.Helper(); l.Answer(tb, a) }
}

// The removals that a plan wants while LDAP is away. An account that only the member list of a
// local group shows is enabled there as long as it is cached.
const (
	allDisabled = "club: disabled of feda fedb, withheld by federation\n" +
		"staff: disabled of feda fedb fedc fedd fede fedf, withheld by federation"
	halfCached = "club: disabled of feda fedb, withheld by federation\n" +
		"staff: disabled of feda fedb, withheld by federation\n" +
		"staff: not_member of fedc fedd fede fedf, withheld by federation"
	allMissing = "staff: gone of feda fedb fedc fedd fede fedf, withheld by federation"
)

// The messages of the guard `federation`.
const (
	probeFails  = `federation: the federation "ldap" is not up (the probe got 500 instead of a 404 from Keycloak itself): `
	switchedOff = `federation: the federation "ldap" is not up (it is switched off in Keycloak, or was deleted since the read): `
	keep        = " changes that depend on it are withheld, and its people keep their memberships; "
	checkServer = "check that its server answers Keycloak; if it stays switched off, or never answers a probe although it works, name it in keycloak.trusted_federations"
	switchOn    = "enable it again, or delete it in Keycloak if its people must lose their memberships; if it stays switched off, or never answers a probe although it works, name it in keycloak.trusted_federations"
)

// TestNobodyIsRemovedWhileAFederationIsAway is the first table of reference/keycloak-traps.md:
// Keycloak answers 200 everywhere, and people are missing, or listed as disabled.
func TestNobodyIsRemovedWhileAFederationIsAway(t *testing.T) {
	modes := []struct {
		name       string
		options    keycloaktest.FederationOptions
		warm, cold string // removals, with full and with empty caches
		changes    string // number of removals
		healthy    string // members
	}{
		{"mapper READ_ONLY", keycloaktest.FederationOptions{Mode: keycloaktest.ReadOnly}, halfCached, allDisabled, "8", whole},
		{"mapper IMPORT", keycloaktest.FederationOptions{Mode: keycloaktest.Import}, allDisabled, allDisabled, "8", whole},
		{"no import", keycloaktest.FederationOptions{NoImport: true}, allMissing, allMissing, "6", unimported},
	}
	for _, m := range modes {
		for _, trouble := range troubles {
			t.Run(trouble.name+", "+m.name, func(t *testing.T) {
				m.options.Timeout = trouble.timeout
				s := newSite(t, m.options)
				trouble.begin(s.ldap, t)
				away := want{result: report.Guarded, removals: m.warm, probes: "ldap away", members: m.healthy,
					trips: []string{probeFails + m.changes + keep + checkServer}}
				s.pass(t, "away, warm caches", away)
				s.clearCaches(t)
				s.now = s.now.Add(2 * grace)
				away.removals = m.cold
				s.pass(t, "away for longer than the grace, cold caches", away)
				trouble.end(s.ldap, t)
				s.pass(t, "back", want{result: report.InSync, members: m.healthy})
			})
		}
	}
}

// TestNobodyIsRemovedWhereLDAPAnswersTooLittle tests what no probe shows: LDAP answers, but
// returns less than it has.
func TestNobodyIsRemovedWhereLDAPAnswersTooLittle(t *testing.T) {
	const (
		clubFell  = "fall club: since the last accepted pass its federated members fell from 2 to none: 2 removals are withheld; if they are correct, approve them"
		staffFell = "fall staff: since the last accepted pass its federated members fell from 6 to none: 6 removals are withheld; if they are correct, approve them"
	)
	for _, row := range []struct {
		name    string
		options keycloaktest.FederationOptions
		answers keycloaktest.Answers
		timing  bool   // the reasons in the first pass depend on which of Keycloak's reads came first
		first   string // removals in the first pass; empty: those in later
		later   string // removals in a pass after the grace
		trips   []string
		waits   bool // the pass after the grace begins another grace, because the first pass could not show that people are gone
		lost    bool // Keycloak loses the accounts: they come back with new ids and without the local group
	}{
		{
			name:    "people unreadable: Keycloak itself deletes them",
			answers: keycloaktest.Answers{NoUsers: true}, timing: true, waits: true,
			later: "club: gone of feda fedb, withheld by fall\nstaff: gone of feda fedb fedc fedd fede fedf, withheld by fall",
			trips: []string{clubFell, staffFell}, lost: true,
		},
		{
			name:    "people unreadable, mapper IMPORT: Keycloak itself deletes them",
			options: keycloaktest.FederationOptions{Mode: keycloaktest.Import},
			answers: keycloaktest.Answers{NoUsers: true}, timing: true,
			later: "club: gone of feda fedb, withheld by fall\nstaff: gone of feda fedb fedc fedd fede fedf, withheld by fall",
			trips: []string{clubFell, staffFell}, lost: true,
		},
		{
			name:    "people unreadable: Keycloak, told to keep them, calls them disabled",
			options: keycloaktest.FederationOptions{KeepInvalid: true},
			answers: keycloaktest.Answers{NoUsers: true},
			first:   "club: disabled of feda fedb, withheld by fall\nstaff: disabled of feda fedb, withheld by fall\nstaff: not_member of fedc fedd fede fedf, withheld by fall",
			later:   "club: disabled of feda fedb, withheld by fall\nstaff: disabled of feda fedb fedc fedd fede fedf, withheld by fall",
			trips:   []string{clubFell, staffFell},
		},
		{
			name:    "groups unreadable",
			answers: keycloaktest.Answers{NoGroups: true},
			later:   "staff: not_member of feda fedb fedc fedd fede fedf, withheld by fall",
			trips:   []string{staffFell},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t, row.options)
			s.ldap.Answer(t, row.answers)
			if row.timing {
				s.mildPass(t, "the first pass of it", whole)
			} else {
				s.pass(t, "the first pass of it", want{result: report.Guarded, probes: "ldap up", members: whole,
					removals: cmp.Or(row.first, row.later), trips: append(slices.Clip(row.trips), "grace: ")})
			}
			s.now = s.now.Add(2 * grace)
			s.clearCaches(t)
			later := want{result: report.Guarded, probes: "ldap up", members: whole, removals: row.later, trips: row.trips}
			if row.waits {
				s.mildPass(t, "a pass after the grace", whole)
				s.now = s.now.Add(2 * grace)
			}
			s.pass(t, "a pass after the grace", later)

			s.ldap.Answer(t, keycloaktest.Answers{})
			back := want{result: report.InSync, members: whole}
			if row.lost {
				// The reads of this pass make Keycloak import the accounts again.
				s.mildPass(t, "coming back", whole)
				back = want{result: report.Guarded, probes: "ldap up", removals: "club: not_member of feda fedb, withheld by fall", trips: []string{clubFell}, members: whole}
			}
			s.now = s.now.Add(2 * grace)
			s.pass(t, "back", back)
		})
	}
}

// mildPass makes a pass and checks only this: the members after it, no error, and no removal
// written.
func (s *site) mildPass(t *testing.T, when, members string) report.Report {
	t.Helper()
	r := s.rec.Pass(t.Context(), reconcile.Request{MayWrite: leads, Apply: true})
	if s.members() != members || len(r.Errors) > 0 || r.Applied.Removed > 0 {
		t.Errorf("%s: the members are\n%s\nwith the removals\n%s\nand the errors %v", when, s.members(), removals(r, false), r.Errors)
	}
	return r
}

// TestAListThatLDAPCutsShortHidesPeople: a search that LDAP cuts short leaves people out of a
// list. The own side is complete. So no removal has to wait, and there is no drift.
func TestAListThatLDAPCutsShortHidesPeople(t *testing.T) {
	s := newSite(t, keycloaktest.FederationOptions{})
	for _, row := range []struct {
		limit int
		own   string
	}{{2, "staff hides 4"}, {4, "staff hides 2"}, {2, "staff hides 4"}} {
		s.ldap.Answer(t, keycloaktest.Answers{SizeLimit: row.limit})
		s.clearCaches(t)
		s.pass(t, fmt.Sprintf("%d entries a search at most", row.limit), want{result: report.InSync, probes: "ldap up", own: row.own, members: whole})
		s.now = s.now.Add(2 * grace)
	}
}

func TestMapperIMPORTDoesNotSeeWhatLDAPHoldsBack(t *testing.T) {
	s := newSite(t, keycloaktest.FederationOptions{Mode: keycloaktest.Import})
	for _, answers := range []keycloaktest.Answers{{NoGroups: true}, {SizeLimit: 2}} {
		s.ldap.Answer(t, answers)
		s.clearCaches(t)
		s.pass(t, fmt.Sprintf("%+v", answers), want{result: report.InSync, members: whole})
	}
}

// TestGroupsThatASyncDropsAndBringsBack: a sync that drops groups which LDAP does not return
// also drops their local members.
func TestGroupsThatASyncDropsAndBringsBack(t *testing.T) {
	s := newSite(t, keycloaktest.FederationOptions{DropGroups: true})
	old := s.realm.GroupID(t, "/staff")
	s.ldap.Answer(t, keycloaktest.Answers{NoGroups: true})
	s.fed.Sync(t)
	s.pass(t, "dropped", want{result: report.Error, members: whole, errors: []string{"the realm has no groups: nothing is synchronized from an empty realm; check keycloak.realm"}})
	s.ldap.Answer(t, keycloaktest.Answers{})
	s.fed.Sync(t)
	s.now = s.now.Add(2 * grace)
	s.pass(t, "back under a new id, without lola, who is local", want{result: report.Guarded, members: whole,
		removals: "staff: not_member of lola, withheld by fall",
		trips:    []string{"fall staff: since the last accepted pass the Keycloak group /staff (id " + old + ") is gone or has a new id: 1 removals are withheld; if they are correct, approve them"}})
}

func TestALeaverWhoComesBackBeforeTheGraceEnds(t *testing.T) {
	s := newSite(t, keycloaktest.FederationOptions{})
	waiting := want{result: report.Drift, probes: "ldap up", members: whole, removals: "staff: not_member of fedf, withheld by grace",
		trips: []string{"grace: 1 removals depend on a federation and wait until every pass has wanted them for 1h0m0s; the first pass after that makes them"}}
	s.ldap.Leave(t, "fedf", "staff")
	s.pass(t, "left", waiting)
	s.now = s.now.Add(grace / 2)
	s.ldap.Join(t, "fedf", "staff")
	s.pass(t, "back", want{result: report.InSync, members: whole})
	s.now = s.now.Add(grace)
	s.ldap.Leave(t, "fedf", "staff")
	s.pass(t, "left once more: the wait begins anew", waiting)
}

// TestAFederationThatIsOffHoldsUpItsOwnPeopleOnly: if a federation is switched off, or its
// server is gone for good, its own people keep what they have. Other removals are written:
// those of local people who leave, and of deleted accounts of the database.
func TestAFederationThatIsOffHoldsUpItsOwnPeopleOnly(t *testing.T) {
	for _, row := range []struct {
		name    string
		options keycloaktest.FederationOptions
		off, on func(*testing.T, *site)
		first   string // removals in the first pass
		trip    string
		gone    bool // a person whose account is deleted can be removed
	}{
		{
			name: "switched off, mapper READ_ONLY", options: keycloaktest.FederationOptions{Mode: keycloaktest.ReadOnly},
			off:   func(t *testing.T, s *site) { s.fed.SetEnabled(t, false) },
			on:    func(t *testing.T, s *site) { s.fed.SetEnabled(t, true) },
			first: allDisabled, trip: switchedOff + "8" + keep + switchOn, gone: true,
		},
		{
			name: "switched off, mapper IMPORT", options: keycloaktest.FederationOptions{Mode: keycloaktest.Import},
			off:   func(t *testing.T, s *site) { s.fed.SetEnabled(t, false) },
			on:    func(t *testing.T, s *site) { s.fed.SetEnabled(t, true) },
			first: allDisabled, trip: switchedOff + "8" + keep + switchOn, gone: true,
		},
		{
			name: "its server is gone for good", options: keycloaktest.FederationOptions{},
			off:   func(t *testing.T, s *site) { s.ldap.Stop(t) },
			on:    func(t *testing.T, s *site) { s.ldap.Start(t) },
			first: halfCached, trip: probeFails + "8" + keep + checkServer,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t, row.options)
			off := want{result: report.Guarded, probes: "ldap away", members: whole, removals: row.first, trips: []string{row.trip}}
			row.off(t, s)
			s.pass(t, "off", off)
			s.now = s.now.Add(2 * grace)
			s.clearCaches(t)
			off.removals = allDisabled
			s.pass(t, "off for longer than the grace", off)

			s.realm.Leave(t, "luke", "/club")
			left := off
			left.removals = strings.Replace(allDisabled, "\n", "\nclub: not_member of luke, applied\n", 1)
			left.members = strings.Replace(whole, " luke", "", 1)
			s.pass(t, "a local person leaves", left)

			s.realm.DeleteUser(t, "lola")
			gone := left
			gone.removals = strings.Replace(allDisabled, "\n", "\nclub: gone of lola, withheld by grace\n", 1) + "\nstaff: gone of lola, withheld by grace"
			gone.trips = append(slices.Clone(off.trips), "grace: 2 removals depend on a federation and wait")
			if !row.gone {
				gone.removals = strings.ReplaceAll(gone.removals, "by grace", "by federation")
				gone.trips = []string{strings.Replace(row.trip, "8 changes", "10 changes", 1)}
			}
			s.pass(t, "a local account is deleted", gone)
			s.now = s.now.Add(2 * grace)
			if row.gone {
				gone.removals = strings.ReplaceAll(gone.removals, "withheld by grace", "applied")
				gone.trips = off.trips
				gone.members = strings.ReplaceAll(left.members, " lola", "")
			}
			s.pass(t, "a local account is deleted for longer than the grace", gone)

			row.on(t, s)
			s.clearCaches(t)
			if row.gone {
				s.pass(t, "on again", want{result: report.InSync, members: gone.members})
			}
		})
	}
}

func TestAFederationThatIsDeletedTakesItsPeopleAlongOnlyWhenApproved(t *testing.T) {
	s := newSite(t, keycloaktest.FederationOptions{})
	s.fed.Delete(t)
	gone := `: since the last accepted pass the federation "ldap" (id ` + s.fed.ID + ") is gone or has a new id: "
	deleted := want{result: report.Guarded, members: whole,
		removals: "club: gone of feda fedb, withheld by fall\nstaff: gone of feda fedb fedc fedd fede fedf, withheld by fall",
		trips:    []string{"fall club" + gone + "2 removals are withheld; if they are correct, approve them", "fall staff" + gone + "6 removals are withheld; if they are correct, approve them"}}
	first := deleted
	first.trips = append(slices.Clip(deleted.trips), "grace: 8 removals depend on a federation")
	s.pass(t, "deleted", first)
	s.now = s.now.Add(2 * grace)
	digest := s.pass(t, "deleted for longer than the grace", deleted).Digest
	left := "club: lola luke\nstaff: lola"
	s.pass(t, "approved", want{result: report.Applied, members: left, approve: digest,
		removals: "club: gone of feda fedb, applied\nstaff: gone of feda fedb fedc fedd fede fedf, applied"})
	s.pass(t, "the pass after", want{result: report.InSync, members: left})
}

// TestAFederationThatIsAwayForAPartOfThePass: probes only before and after the whole pass
// would not show these outages.
func TestAFederationThatIsAwayForAPartOfThePass(t *testing.T) {
	for _, row := range []struct {
		name    string
		before  func(*testing.T, *site)
		between func(*testing.T, *site)
		want    want
	}{
		{
			name:    "away during the read, back for the second look",
			before:  func(t *testing.T, s *site) { s.ldap.Stop(t) },
			between: func(t *testing.T, s *site) { s.ldap.Start(t) },
			want: want{result: report.Guarded, members: whole, probes: "ldap up", removals: strings.ReplaceAll(halfCached, "by federation", "by confirm"), trips: []string{
				"confirm club: the second look did not confirm 2 of 2 changes (the first unconfirmed change: the second look finds the account enabled): they are withheld, and the next pass checks them again",
				"confirm staff: the second look did not confirm 6 of 6 changes (the first unconfirmed change: the second look finds the account enabled): they are withheld, and the next pass checks them again"}},
		},
		{
			name:    "there for the read, away in the second look",
			before:  func(t *testing.T, s *site) { s.ldap.Leave(t, "fedf", "staff"); s.realm.Leave(t, "luke", "/club") },
			between: func(t *testing.T, s *site) { s.ldap.Stop(t) },
			want: want{result: report.Guarded, members: strings.Replace(whole, " luke", "", 1), probes: "ldap away",
				removals: "club: not_member of luke, applied\nstaff: not_member of fedf, withheld by federation", trips: []string{probeFails + "1" + keep + checkServer}},
		},
		{
			name:    "deleted between the read and the second look, which only a local person needs",
			before:  func(t *testing.T, s *site) { s.realm.Leave(t, "luke", "/club") },
			between: func(t *testing.T, s *site) { s.fed.Delete(t) },
			want:    want{result: report.Applied, members: strings.Replace(whole, " luke", "", 1), removals: "club: not_member of luke, applied"},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t, keycloaktest.FederationOptions{})
			row.before(t, s)
			s.between = func() { row.between(t, s) }
			s.pass(t, "the pass", row.want)
		})
	}
}

func TestAReadThatAFederationHangsIsAnErrorThatNamesIt(t *testing.T) {
	s := newSite(t, keycloaktest.FederationOptions{Timeout: time.Minute})
	s.rec = s.reconciler(t, setup{config: func(c *keycloak.Config) { c.Timeout = 2 * time.Second }})
	s.ldap.Pause(t)
	const away = "the federation ldap is not up (Keycloak did not answer the probe within 2s). Repair the federation first"
	s.pass(t, "hanging", want{result: report.Error, probes: "ldap away", members: whole,
		errors: []string{"…: no complete answer from …" + away}})
	s.ldap.Resume(t)
	s.realm.Leave(t, "luke", "/club")
	s.between = func() { s.ldap.Pause(t) }
	s.pass(t, "hanging in the second look", want{result: report.Error, probes: "ldap away", members: whole,
		errors: []string{"confirming the changes: reading the members of the group /club: no complete answer from …" + away}})
	s.ldap.Resume(t)
}

// otherwise are the rows of TestWhatIsTrueIsRemoved in which older releases of Keycloak behave
// differently. No removal comes sooner there. The tests of keycloaktest and of the source show
// the answers of those releases.
var otherwise = map[string]struct {
	than    int
	because string
}{
	"an outage begins the grace anew":                                           {2601, "the list of each group answers 400 while LDAP is away, so its user group is frozen"},
	"a person deleted in LDAP waits for the grace and is then removed":          {2601, "the second look finds no such account, while the user cache still has the person"},
	"a local person who joins while LDAP is down is added":                      {2601, "the list of each group answers 400 while LDAP is away"},
	"a federated person disabled in Keycloak's own database is removed at once": {2600, "a read of the members enables the person again"},
}

func TestWhatIsTrueIsRemoved(t *testing.T) {
	without := func(gone ...string) string {
		var lines []string
		for line := range strings.Lines(whole) {
			for _, g := range gone {
				team, name, _ := strings.Cut(g, " ")
				if strings.HasPrefix(line, team) {
					line = strings.Replace(line, " "+name, "", 1)
				}
			}
			lines = append(lines, line)
		}
		return strings.Join(lines, "")
	}
	const begun = "the first pass after that makes them"
	wait := func(until string) []string {
		return []string{"grace: 1 removals depend on a federation and wait until every pass has wanted them for 1h0m0s; " + until}
	}
	type step struct {
		name  string
		after time.Duration
		do    func(*testing.T, *site)
		want  want
	}
	for _, row := range []struct {
		name  string
		steps []step
	}{
		{"a person who leaves an LDAP group waits for the grace and is then removed", []step{
			{"the first pass", 0, func(t *testing.T, s *site) { s.ldap.Leave(t, "fedf", "staff") },
				want{result: report.Drift, probes: "ldap up", removals: "staff: not_member of fedf, withheld by grace", trips: wait(begun), members: whole}},
			{"a minute before the end", 59 * time.Minute, nil,
				want{result: report.Drift, probes: "ldap up", removals: "staff: not_member of fedf, withheld by grace", trips: wait("the last of them is due at 2026-11-24T13:00:00Z"), members: whole}},
			{"at the end", time.Minute, nil,
				want{result: report.Applied, probes: "ldap up", removals: "staff: not_member of fedf, applied", members: without("staff fedf")}},
		}},
		{"an outage begins the grace anew", []step{
			{"the first pass", 0, func(t *testing.T, s *site) { s.ldap.Leave(t, "fedf", "staff") },
				want{result: report.Drift, probes: "ldap up", removals: "staff: not_member of fedf, withheld by grace", trips: wait(begun), members: whole}},
			{"in the outage", 30 * time.Minute, func(t *testing.T, s *site) { s.ldap.Stop(t) },
				want{result: report.Guarded, probes: "ldap away", removals: halfCached, trips: []string{probeFails + "8" + keep + checkServer}, members: whole}},
			{"back, more than the grace after the first pass", 31 * time.Minute, func(t *testing.T, s *site) { s.ldap.Start(t) },
				want{result: report.Drift, probes: "ldap up", removals: "staff: not_member of fedf, withheld by grace", trips: wait(begun), members: whole}},
			{"the grace after that", grace, nil,
				want{result: report.Applied, probes: "ldap up", removals: "staff: not_member of fedf, applied", members: without("staff fedf")}},
		}},
		{"a person deleted in LDAP waits for the grace and is then removed", []step{
			{"while Keycloak's user cache still has the person", 0, func(t *testing.T, s *site) { s.ldap.DeleteUser(t, "fedf") },
				want{result: report.Guarded, probes: "ldap up", removals: "staff: not_member of fedf, withheld by confirm", trips: []string{
					`confirm staff: the second look did not confirm 1 of 1 changes (the first unconfirmed change: the account's own side was not read for the group "staff": Keycloak fails to count the groups of the account; ` +
						"if the person was deleted or hidden in LDAP, Keycloak's user cache is old; a periodic sync of changed users or clearing the user cache refreshes it): they are withheld, and the next pass checks them again"}, members: whole}},
			{"after a sync of changed users", 0, func(t *testing.T, s *site) { s.fed.SyncChangedUsers(t) },
				want{result: report.Drift, probes: "ldap up", removals: "staff: gone of fedf, withheld by grace", trips: wait(begun), members: whole}},
			{"after the grace", grace, nil,
				want{result: report.Applied, probes: "ldap up", removals: "staff: gone of fedf, applied", members: without("staff fedf")}},
		}},
		{"a federated person disabled in Keycloak's own database is removed at once", []step{
			{"the first pass", 0, func(t *testing.T, s *site) { s.realm.SetEnabled(t, "fedb", false) },
				want{result: report.Applied, probes: "ldap up", removals: "club: disabled of fedb, applied\nstaff: disabled of fedb, applied", members: without("club fedb", "staff fedb")}},
		}},
		{"a local person who leaves a local group is removed at once", []step{
			{"the first pass", 0, func(t *testing.T, s *site) { s.realm.Leave(t, "luke", "/club") },
				want{result: report.Applied, removals: "club: not_member of luke, applied", members: without("club luke")}},
		}},
		{"a local person who joins while LDAP is down is added", []step{
			{"down", 0, func(t *testing.T, s *site) { s.ldap.Stop(t); s.realm.Join(t, "luke", "/staff") },
				want{result: report.Guarded, probes: "ldap away", removals: halfCached, trips: []string{probeFails + "8" + keep + checkServer}, added: 1, members: whole + " luke"}},
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t, keycloaktest.FederationOptions{})
			if older, is := otherwise[row.name]; is && s.realm.Server.Before(older.than) {
				t.Skip(older.because)
			}
			for _, step := range row.steps {
				s.now = s.now.Add(step.after)
				if step.do != nil {
					step.do(t, s)
				}
				s.pass(t, step.name, step.want)
			}
		})
	}
}

// TestARestoreAsksKeycloakAgain: the report of an earlier pass says that fedc (of LDAP) was
// removed from club, and luke (local) from staff. While LDAP is up, both are restored. If LDAP
// goes away after the read, Keycloak still returns its copy of fedc, and only luke is
// restored.
func TestARestoreAsksKeycloakAgain(t *testing.T) {
	s := newSite(t, keycloaktest.FederationOptions{})
	past := s.rec.Pass(t.Context(), reconcile.Request{DryRun: true})
	for i := range past.Groups {
		g := &past.Groups[i]
		name := map[string]string{"club": "fedc", "staff": "luke"}[g.Name]
		g.Remove = []report.Change{{ID: name, Name: name, Email: name + "@example.org", Outcome: report.Done}}
	}
	restored := func(when, wantAdded, wantLeft string) {
		t.Helper()
		got, err := s.rec.Restore(t.Context(), past, reconcile.Request{DryRun: true})
		if err != nil || len(got.Report.Errors) > 0 {
			t.Fatal(when, err, got.Report.Errors)
		}
		var added, left []string
		for _, g := range got.Report.Groups {
			for _, c := range g.Add {
				added = append(added, g.Name+" "+c.ID)
			}
		}
		for _, x := range got.Report.Skipped {
			left = append(left, x.Name+" "+x.Why)
		}
		if a, l := strings.Join(added, ", "), strings.Join(left, ", "); a != wantAdded || !strings.HasPrefix(l, wantLeft) || wantLeft == "" && l != "" {
			t.Errorf("%s: added %q, left out %q", when, a, l)
		}
	}
	restored("LDAP is up", "club fedc, staff luke", "")
	s.between = func() { s.ldap.Stop(t) }
	restored("LDAP goes away", "staff luke", `fedc@example.org was not restored in the group "club": the federation ldap is not up`)
}
