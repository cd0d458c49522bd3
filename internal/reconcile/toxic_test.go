//go:build toxic

package reconcile_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"groupsync/internal/processtest"
	"groupsync/internal/reconcile"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/source/keycloak"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target"
	"groupsync/internal/target/clearml"
)

// phase is the place in a pass at which a connection begins to fail.
type phase string

const (
	signIn   phase = "sign-in"   // before the first request to Keycloak
	read     phase = "read"      // before Keycloak's members, or ClearML's groups, are read
	confirm  phase = "confirm"   // before the second look
	reread   phase = "re-read"   // before the first group is read for its write
	write    phase = "write"     // before the first write
	readBack phase = "read-back" // after the first write
)

// The connections that fail.
const (
	toKeycloak = "groupsync to Keycloak"
	toLDAP     = "Keycloak to LDAP"
	toClearML  = "groupsync to ClearML"
)

// The toxics. If toxiproxy drops the request (upstream), the server never gets it. If
// toxiproxy drops the answer (downstream), the server has carried out the request.
var (
	latency   = toxic{"latency", `{"type": "latency", "stream": "downstream", "attributes": {"latency": 25}}`}
	bandwidth = toxic{"bandwidth", `{"type": "bandwidth", "stream": "downstream", "attributes": {"rate": 100}}`}
	slicer    = toxic{"slicer", `{"type": "slicer", "stream": "downstream", "attributes": {"average_size": 64, "size_variation": 32, "delay": 100}}`}
	resetUp   = toxic{"reset_peer of the request", `{"type": "reset_peer", "stream": "upstream", "attributes": {"timeout": 0}}`}
	resetDown = toxic{"reset_peer of the answer", `{"type": "reset_peer", "stream": "downstream", "attributes": {"timeout": 0}}`}
	timeout   = toxic{"timeout", `{"type": "timeout", "stream": "downstream", "attributes": {"timeout": 0}}`}
	hang      = toxic{"timeout of the request", `{"type": "timeout", "stream": "upstream", "attributes": {"timeout": 0}}`}
	limit     = toxic{"limit_data", `{"type": "limit_data", "stream": "downstream", "attributes": {"bytes": 100}}`}
	down      = toxic{"down", ""}
)

type toxic struct{ name, json string }

// The time limits of the clients. A busy machine needs many times longer than an idle one. So
// the limits are far above the delay of a slow toxic. Keycloak waits longer for LDAP than
// groupsync waits for Keycloak. So when LDAP hangs, groupsync always times out first.
const (
	keycloakLimit = 5 * time.Second
	ldapLimit     = 15 * time.Second
	clearmlLimit  = 2 * time.Second
)

// leg is one connection through a toxiproxy.
type leg struct {
	listen, upstream string
	proxy            *toxiproxy.Proxy // nil: connections are refused
}

func newLeg(t *testing.T, address string) *leg {
	t.Helper()
	port, err := processtest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	_, upstream, _ := strings.Cut(address, "://")
	l := &leg{listen: "127.0.0.1:" + strconv.Itoa(port), upstream: upstream}
	l.open(t, "")
	t.Cleanup(l.close)
	return l
}

// open lets connections through, with a toxic if toxicJSON is not empty. It makes a new proxy
// each time for two reasons. toxiproxy resets only connections that are newer than the toxic.
// It may also wait forever when a toxic is removed from busy connections.
func (l *leg) open(t *testing.T, toxicJSON string) {
	t.Helper()
	p := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), "leg", l.listen, l.upstream)
	if toxicJSON != "" {
		if _, err := p.Toxics.AddToxicJson(strings.NewReader(toxicJSON)); err != nil {
			t.Fatalf("%s: %v", toxicJSON, err)
		}
	}
	if err := p.Start(); err != nil {
		t.Fatalf("%s: %v", toxicJSON, err)
	}
	l.proxy = p
}

// close breaks the existing connections and refuses new ones.
func (l *leg) close() {
	if l.proxy != nil {
		l.proxy.Stop()
		l.proxy = nil
	}
}

// begin breaks the existing connections. New ones fail as the toxic says.
func (l *leg) begin(t *testing.T, x toxic) {
	t.Helper()
	l.close()
	if x != down {
		l.open(t, x.json)
	}
}

func (l *leg) end(t *testing.T) {
	t.Helper()
	l.close()
	l.open(t, "")
}

// phased calls at when a pass reaches a phase.
type phased struct {
	*keycloak.Source
	at func(phase)
}

func (p phased) Catalog(ctx context.Context) (source.Catalog, error) {
	p.at(signIn)
	return p.Source.Catalog(ctx)
}

func (p phased) Read(ctx context.Context, c source.Catalog, sel source.Selection) (*source.Snapshot, error) {
	p.at(read)
	return p.Source.Read(ctx, c, sel)
}

func (p phased) Confirm(ctx context.Context, snap *source.Snapshot, questions []source.Question, known []source.Federation) (source.Confirmation, error) {
	p.at(confirm)
	return p.Source.Confirm(ctx, snap, questions, known)
}

// phasedDirectory calls at when a pass reaches a phase in ClearML.
type phasedDirectory struct {
	*clearml.Client
	at func(phase)
}

func (p phasedDirectory) UserGroups(ctx context.Context) ([]target.Group, error) {
	p.at(read)
	return p.Client.UserGroups(ctx)
}

func (p phasedDirectory) Group(ctx context.Context, id string) (target.Group, bool, error) {
	p.at(reread)
	return p.Client.Group(ctx, id)
}

func (p phasedDirectory) SetMembers(ctx context.Context, fence target.Fence, g target.Group, members []string) (target.Calls, error) {
	p.at(write)
	defer p.at(readBack)
	return p.Client.SetMembers(ctx, fence, g, members)
}

// strait is a site whose connections go through toxiproxies.
type strait struct {
	*site
	legs  map[string]*leg
	warm  bool                   // Keycloak's user cache is not cleared before the toxic (see survives)
	other bool                   // the people who are in the groups now (see truth)
	reach func(phase, ...string) // called with each phase of a pass and the connections that it uses
}

func newStrait(t *testing.T) *strait {
	t.Helper()
	s := &strait{site: newSite(t, keycloaktest.FederationOptions{Timeout: ldapLimit}), reach: func(phase, ...string) {}}
	s.legs = map[string]*leg{
		toKeycloak: newLeg(t, s.realm.Server.URL), toLDAP: newLeg(t, s.ldap.URL), toClearML: newLeg(t, s.clearml.URL),
	}
	s.realm.AddClearML(t, false)
	s.fed.Configure(t, "connectionUrl", "ldap://"+s.legs[toLDAP].listen)
	s.realm.Leave(t, "luke", "/club")
	s.ldap.Leave(t, "fede", "staff")
	for team, name := range map[string]string{"club": "luke", "staff": "fede"} {
		s.clearml.SetMembers(team, slices.DeleteFunc(s.clearml.Members(team), func(id string) bool { return id == name })...)
	}
	s.clearCaches(t)
	return s
}

// begin makes a Reconciler without memory, as at the start of groupsync.
func (s *strait) begin(t *testing.T) {
	t.Helper()
	s.reach = func(phase, ...string) {}
	src, dir, options := s.parts(t, setup{
		config: func(c *keycloak.Config) {
			c.URL, c.Timeout = "http://"+s.legs[toKeycloak].listen, keycloakLimit
		},
		clearml: func(c *clearml.Config) {
			c.URL, c.Timeout, c.RetryWait = "http://"+s.legs[toClearML].listen, clearmlLimit, time.Millisecond
		},
	})
	s.rec = reconcile.New(
		phased{src, func(p phase) { s.reach(p, toKeycloak, toLDAP) }},
		phasedDirectory{dir, func(p phase) { s.reach(p, toClearML) }}, options)
}

// beginAndWrite makes a Reconciler that has made one pass, so it knows both groups. That pass
// added a person. So the Reconciler's first write, which is checked more than later ones, is
// over.
func (s *strait) beginAndWrite(t *testing.T) {
	t.Helper()
	s.begin(t)
	out, _, _, _ := s.people()
	s.clearml.SetMembers("club", slices.DeleteFunc(s.clearml.Members("club"), func(id string) bool { return id == out })...)
	s.pass(t, "the first pass", want{result: report.Applied, added: 1, members: s.truth()})
}

// people returns who leaves and who joins next: two local people, then two of LDAP.
func (s *strait) people() (out, in, leaver, joiner string) {
	if s.other {
		return "luke", "lola", "fede", "fedf"
	}
	return "lola", "luke", "fedf", "fede"
}

// truth returns the members of ClearML's teams that agree with Keycloak now.
func (s *strait) truth() string {
	if s.other {
		return "club: feda fedb luke\nstaff: feda fedb fedc fedd fede lola"
	}
	return "club: feda fedb lola\nstaff: feda fedb fedc fedd fedf lola"
}

// fail makes the connection fail with the toxic in the next pass, from the phase on. The
// returned function reports whether the phase was reached.
func (s *strait) fail(t *testing.T, connection string, from phase, x toxic) (reached func() bool) {
	begun := false
	s.reach = func(p phase, connections ...string) {
		if !begun && p == from && slices.Contains(connections, connection) {
			begun = true
			s.legs[connection].begin(t, x)
		}
	}
	return func() bool { return begun }
}

// toxicRow is one toxic at one phase. In its texts OUT and IN are the local people who leave
// and join, and LEAVER and JOINER those of LDAP.
type toxicRow struct {
	connection string
	from       phase
	toxic      toxic
	want       want
}

// Results of a pass.
var (
	slowButWhole = want{result: report.Applied, probes: "ldap up", added: 2, members: "new club, new staff",
		removals: "club: OUT, applied\nstaff: LEAVER, applied"}
	nothing = want{result: report.Error, members: "old club, old staff"}
)

// ends returns a copy of w with the change.
func (w want) ends(change func(*want)) want { change(&w); return w }

func (w want) says(texts ...string) want { w.errors = texts; return w }

// of replaces the placeholders in the row's texts by people and members.
func (s *strait) of(w want, before string) want {
	out, _, leaver, joiner := s.people()
	s.other = !s.other
	after := s.truth()
	s.other = !s.other
	oldClub, oldStaff, _ := strings.Cut(before, "\n")
	newClub, newStaff, _ := strings.Cut(after, "\n")
	r := strings.NewReplacer("OUT", out, "staff without LEAVER", strings.Replace(oldStaff, " "+leaver, "", 1), "LEAVER", leaver, "JOINER", joiner,
		"old club", oldClub, "new club", newClub, "old staff", oldStaff, "new staff", newStaff, ", ", "\n")
	w.members = r.Replace(w.members)
	r = strings.NewReplacer("OUT", out, "LEAVER", leaver, "JOINER", joiner)
	w.removals, w.timing = r.Replace(w.removals), true
	return w
}

// TestNoToxicMakesAWrongChange breaks one connection at a time, at each phase of a pass. A
// pass with the toxic is slow but complete, or it does not write what is uncertain and says
// so. After the next pass without the toxic, ClearML has what the sign-ins of that moment
// would give. One exception: a removal that was withheld because of a federation waits for the
// whole grace again.
//
// make test-toxics runs it. make test does not, because it takes up to four minutes.
func TestNoToxicMakesAWrongChange(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a real Keycloak")
	}
	for _, leg := range []struct {
		name, connection string
		warm             bool
	}{
		{toKeycloak, toKeycloak, false}, {toLDAP, toLDAP, false}, {toLDAP + ", warm caches", toLDAP, true}, {toClearML, toClearML, false},
	} {
		t.Run(leg.name, func(t *testing.T) {
			t.Parallel()
			s := newStrait(t)
			s.warm = leg.warm
			for _, row := range toxicRows {
				if row.connection == leg.connection {
					t.Run(string(row.from)+", "+row.toxic.name, func(t *testing.T) { s.survives(t, row) })
				}
			}
		})
	}
}

// TestNoToxicMakesAWrongChangeWithoutMemory: a groupsync without memory gets shortened answers
// from LDAP. It does not know that the groups had people of LDAP. So the guard `fall` cannot
// compare, and only the grace withholds the removals.
func TestNoToxicMakesAWrongChangeWithoutMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a real Keycloak")
	}
	t.Parallel()
	s := newStrait(t)
	s.begin(t)
	s.legs[toLDAP].begin(t, limit)
	held := want{result: report.Drift, probes: "ldap up", members: s.truth(), timing: true,
		removals: "club: feda fedb, withheld by grace\nstaff: feda fedb fedc fedd fedf, withheld by grace",
		trips:    []string{"grace: 7 removals depend on a federation and wait until every pass has wanted them for 1h0m0s"}}
	s.pass(t, "the first pass", held)
	s.now = s.now.Add(grace - time.Minute)
	s.pass(t, "a minute before the grace ends", held)
	s.legs[toLDAP].end(t)
	s.now = s.now.Add(time.Minute)
	s.settles(t, "without the toxic", s.truth())
	s.signInsChangeNothing(t)
}

// survives makes the passes of one row. With warm caches it checks only ClearML's members
// after the pass with the toxic. Keycloak then still shows some people as they were, and the
// order of its answers decides which guard withholds a removal, and why.
func (s *strait) survives(t *testing.T, row toxicRow) {
	s.beginAndWrite(t)
	out, in, leaver, joiner := s.people()
	before := s.members()
	s.ldap.Leave(t, leaver, "staff")
	s.pass(t, "before", want{result: report.Drift, probes: "ldap up", members: before, timing: true, removals: "staff: " + leaver + ", withheld by grace",
		trips: []string{"grace: 1 removals depend on a federation"}})
	s.now = s.now.Add(grace)
	s.realm.Leave(t, out, "/club")
	s.realm.Join(t, in, "/club")
	s.ldap.Join(t, joiner, "staff")

	reached, w := s.fail(t, row.connection, row.from, row.toxic), s.of(row.want, before)
	if s.warm {
		s.rec.Pass(t.Context(), reconcile.Request{MayWrite: leads, Apply: true})
		if got := s.members(); got != w.members {
			t.Errorf("with the toxic: members\n%s\nwant\n%s", got, w.members)
		}
	} else {
		s.clearCaches(t)
		s.pass(t, "with the toxic", w)
	}
	if !reached() {
		t.Errorf("the pass did not come to the place %q", row.from)
	}
	s.legs[row.connection].end(t)
	s.other = !s.other

	if strings.Contains(row.want.removals, "LEAVER, withheld by federation") {
		s.settles(t, "without the toxic", strings.Replace(s.truth(), joiner, "fede fedf", 1), report.Grace)
		s.now = s.now.Add(grace)
	}
	s.settles(t, "at last", s.truth())
	s.signInsChangeNothing(t)
	s.now = s.now.Add(grace)
}

// settles makes a pass and checks the members after it. The pass must have no error, and only
// the given guards may trip.
func (s *strait) settles(t *testing.T, when, members string, guards ...report.Guard) {
	t.Helper()
	r := s.rec.Pass(t.Context(), reconcile.Request{MayWrite: leads, Apply: true})
	var tripped []report.Guard
	for _, trip := range r.Guards {
		tripped = append(tripped, trip.Guard)
	}
	if len(r.Errors) > 0 || !slices.Equal(tripped, guards) || s.members() != members {
		t.Errorf("%s: %s, errors %v, guards %v, members\n%s\nwant the guards %v, members\n%s", when, r.Result, r.Errors, r.Guards, s.members(), guards, members)
	}
}

// signInsChangeNothing checks that each person's token has the same teams as ClearML.
func (s *strait) signInsChangeNothing(t *testing.T) {
	t.Helper()
	s.clearCaches(t)
	for _, name := range append([]string{"lola", "luke"}, staff...) {
		claim := s.realm.Claim(t, name)
		for _, team := range s.teams {
			if holds, has := slices.Contains(claim, team), slices.Contains(s.clearml.Members(team), name); holds != has {
				t.Errorf("the token of %s has %s: %v, ClearML has: %v", name, team, holds, has)
			}
		}
	}
}

// The rows. If Keycloak cannot be reached, the pass ends. If LDAP cannot be reached, its own
// people keep what they have. If ClearML cannot be reached, nothing is written.
var toxicRows = slices.Concat(keycloakRows, ldapRows, clearmlRows)

// rows makes the rows of one phase. A row ends as in ends, or else slow but complete. The
// stand-in for ClearML closes each connection after its answer, even if that answer is
// dropped. So the client waits for an answer only if the request is dropped.
func rows(connection string, from phase, ends map[toxic]want) (all []toxicRow) {
	toxics := []toxic{latency, bandwidth, slicer, resetUp, resetDown, timeout, limit, down}
	if connection == toClearML {
		toxics = append(toxics, hang)
	}
	for _, x := range toxics {
		w, is := ends[x]
		if !is {
			w = slowButWhole
		}
		all = append(all, toxicRow{connection, from, x, w})
	}
	return all
}

var keycloakRows = slices.Concat(
	rows(toKeycloak, signIn, map[toxic]want{
		resetUp:   nothing.says("signing in to Keycloak: no connection to …connection reset by peer; check keycloak.url"),
		resetDown: nothing.says("signing in to Keycloak: no connection to …connection reset by peer; check keycloak.url"),
		timeout:   nothing.says("signing in to Keycloak: no complete answer from …within …; check Keycloak's health"),
		limit:     nothing.says("signing in to Keycloak: no connection to …unexpected EOF; check keycloak.url"),
		down:      nothing.says("signing in to Keycloak: no connection to …connection refused; check keycloak.url"),
	}),
	rows(toKeycloak, read, map[toxic]want{
		resetUp:   nothing.says("reading the members of the group /…: no connection to …connection reset by peer; check keycloak.url"),
		resetDown: nothing.says("reading the members of the group /…: no connection to …connection reset by peer; check keycloak.url"),
		timeout:   nothing.says("reading the members of the group /…: no complete answer from …within …; check Keycloak's health").ends(func(w *want) { w.probes = "ldap away" }),
		limit:     nothing.says("reading the members of the group /…: no connection to …unexpected EOF; check keycloak.url"),
		down:      nothing.says("reading the members of the group /…: no connection to …connection refused; check keycloak.url"),
	}),
	rows(toKeycloak, confirm, map[toxic]want{
		resetUp:   nothing.says("confirming the changes: …: no connection to …connection reset by peer; check keycloak.url"),
		resetDown: nothing.says("confirming the changes: …: no connection to …connection reset by peer; check keycloak.url"),
		timeout:   nothing.says("confirming the changes: …: no complete answer from …within …; check Keycloak's health"),
		limit:     nothing.says("confirming the changes: …: no connection to …unexpected EOF; check keycloak.url"),
		down:      nothing.says("confirming the changes: …: no connection to …connection refused; check keycloak.url"),
	}),
)

var (
	awayRead = want{result: report.Guarded, probes: "ldap away", added: 1, members: "new club, old staff", trips: []string{probeFails},
		removals: "club: OUT, applied\nclub: feda fedb, withheld by federation\nstaff: feda fedb fedc fedd LEAVER, withheld by federation"}
	// LDAP answers the probe, whose answer is small, and seems to have no people.
	cutRead = want{result: report.Guarded, probes: "ldap up", added: 1, members: "new club, old staff",
		removals: "club: OUT, applied\nclub: feda fedb, withheld by fall\nstaff: feda fedb fedc fedd LEAVER, withheld by fall",
		trips: []string{"fall club: since the last accepted pass its federated members fell from 2 to none: 2 removals are withheld", "fall staff: since the last accepted pass its federated members fell from 5 to none: 5 removals are withheld",
			"grace: 6 removals depend on a federation and wait until every pass has wanted them for 1h0m0s"}}
	cutLook = want{result: report.Guarded, probes: "ldap up", added: 1, members: "new club, staff without LEAVER", removals: "club: OUT, applied\nstaff: LEAVER, applied",
		trips: []string{"confirm staff: the second look did not confirm 1 of 2 changes (the first unconfirmed change: the second read of the Keycloak group /staff does not list the account): they are withheld"}}
	awayLook = want{result: report.Guarded, probes: "ldap away", added: 1, members: "new club, old staff", trips: []string{probeFails},
		removals: "club: OUT, applied\nstaff: LEAVER, withheld by federation"}
	hangs = nothing.ends(func(w *want) { w.probes = "ldap away" })
)

var ldapRows = slices.Concat(
	rows(toLDAP, read, map[toxic]want{
		resetUp: awayRead, resetDown: awayRead, down: awayRead,
		timeout: hangs.says("reading the members of the group /…: no complete answer from …the federation ldap is not up"),
		limit:   cutRead,
	}),
	rows(toLDAP, confirm, map[toxic]want{
		resetUp: awayLook, resetDown: awayLook, down: awayLook,
		timeout: hangs.says("confirming the changes: …: no complete answer from …the federation ldap is not up"),
		limit:   cutLook,
	}),
)

const (
	clearmlAway = "ClearML permissions.get_user_groups: no connection to "
	clearmlDumb = "ClearML permissions.get_user_groups: no answer from …in time"
)

var (
	unread = want{result: report.Drift, probes: "ldap up", members: "old club, old staff", removals: "club: OUT, failed\nstaff: LEAVER, failed"}
	// A write that the server may have carried out ends the writing of the pass.
	notMade = want{result: report.Drift, probes: "ldap up", members: "old club, old staff", removals: "club: OUT, failed\nstaff: LEAVER, planned"}
	made    = notMade.ends(func(w *want) { w.members = "new club, old staff" })
)

func unreadFor(cause string) want {
	return unread.says(`reading the user group "club" before its write: `+cause, `reading the user group "staff" before its write: `+cause)
}

func notReadBack(cause string) []string {
	return []string{`reading the user group "club" back after its write, which may or may not have been made: ` + cause}
}

var clearmlRows = slices.Concat(
	rows(toClearML, read, map[toxic]want{
		resetUp:   nothing.says(clearmlAway + "…connection reset by peer"),
		resetDown: nothing.says(clearmlAway + "…connection reset by peer"),
		timeout:   nothing.says(clearmlAway + "…EOF"),
		limit:     nothing.says(clearmlAway + "…unexpected EOF"),
		down:      nothing.says(clearmlAway + "…connection refused"),
		hang:      nothing.says(clearmlDumb),
	}),
	rows(toClearML, reread, map[toxic]want{
		resetUp: unreadFor(clearmlAway + "…connection reset by peer"), resetDown: unreadFor(clearmlAway + "…connection reset by peer"), timeout: unreadFor(clearmlAway + "…EOF"), limit: unreadFor(clearmlAway + "…unexpected EOF"),
		down: unreadFor(clearmlAway + "…connection refused"), hang: unreadFor(clearmlDumb),
	}),
	rows(toClearML, write, map[toxic]want{
		resetUp:   notMade.says(notReadBack(clearmlAway + "…connection reset by peer")...),
		resetDown: made.says(notReadBack(clearmlAway + "…connection reset by peer")...),
		timeout:   made.says(notReadBack(clearmlAway + "…EOF")...),
		limit:     made.says(notReadBack(clearmlAway + "…unexpected EOF")...),
		down:      unreadFor(clearmlAway + "…connection refused"),
		hang:      notMade.says(notReadBack(clearmlDumb)...),
	}),
	rows(toClearML, readBack, map[toxic]want{
		resetUp: made.says(notReadBack(clearmlAway + "…connection reset by peer")...), resetDown: made.says(notReadBack(clearmlAway + "…connection reset by peer")...),
		timeout: made.says(notReadBack(clearmlAway + "…EOF")...), limit: made.says(notReadBack(clearmlAway + "…unexpected EOF")...), down: made.says(notReadBack(clearmlAway + "…connection refused")...),
		hang: made.says(notReadBack(clearmlDumb)...),
	}),
)
