//go:build toxic

package reconcile_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"groupsync/internal/reconcile"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/source/keycloak"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target"
	"groupsync/internal/target/clearml"
)

// The places of a pass at which a network begins to fail.
type phase string

const (
	signIn   phase = "sign-in"   // before the first request to Keycloak
	read     phase = "read"      // before Keycloak's members, or ClearML's groups, are read
	confirm  phase = "confirm"   // before the second look
	reread   phase = "re-read"   // before ClearML's groups are read for the first write
	write    phase = "write"     // before the first write
	readBack phase = "read-back" // after the first write
)

// The connections that fail.
const (
	toKeycloak = "groupsync to Keycloak"
	toLDAP     = "Keycloak to LDAP"
	toClearML  = "groupsync to ClearML"
)

// The toxics. What toxiproxy drops on the way up, the server never gets. What it drops
// on the way down, the server has carried out.
var (
	latency   = toxic{"latency", `{"type": "latency", "stream": "downstream", "attributes": {"latency": 25}}`}
	bandwidth = toxic{"bandwidth", `{"type": "bandwidth", "stream": "downstream", "attributes": {"rate": 100}}`}
	slicer    = toxic{"slicer", `{"type": "slicer", "stream": "downstream", "attributes": {"average_size": 64, "size_variation": 32, "delay": 100}}`}
	resetUp   = toxic{"reset_peer of the request", `{"type": "reset_peer", "stream": "upstream", "attributes": {"timeout": 0}}`}
	resetDown = toxic{"reset_peer of the answer", `{"type": "reset_peer", "stream": "downstream", "attributes": {"timeout": 0}}`}
	timeout   = toxic{"timeout", `{"type": "timeout", "stream": "downstream", "attributes": {"timeout": 0}}`}
	limit     = toxic{"limit_data", `{"type": "limit_data", "stream": "downstream", "attributes": {"bytes": 100}}`}
	down      = toxic{"down", ""}
)

type toxic struct{ name, json string }

// leg is one connection, through a toxiproxy.
type leg struct{ *toxiproxy.Proxy }

func newLeg(t *testing.T, address string) leg {
	t.Helper()
	_, upstream, _ := strings.Cut(address, "://")
	nowhere := zerolog.Nop()
	l := leg{toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), nowhere), "leg", "127.0.0.1:0", upstream)}
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Stop)
	return l
}

// begin breaks the connections that there are, and has new ones fail as the toxic says.
// toxiproxy resets only connections that are newer than the toxic.
func (l leg) begin(t *testing.T, x toxic) {
	t.Helper()
	l.Stop()
	if x == down {
		return
	}
	if _, err := l.Toxics.AddToxicJson(strings.NewReader(x.json)); err != nil {
		t.Fatalf("%s: %v", x.name, err)
	}
	if err := l.Start(); err != nil {
		t.Fatalf("%s: %v", x.name, err)
	}
}

func (l leg) end(t *testing.T) {
	t.Helper()
	l.Stop()
	l.Toxics.ResetToxics(context.Background())
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
}

// phased tells of the places of a pass.
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

// phasedDirectory tells of the places of a pass in ClearML.
type phasedDirectory struct {
	*clearml.Client
	at func(phase)
}

func (p phasedDirectory) UserGroups(ctx context.Context) ([]target.Group, error) {
	p.at(read)
	return p.Client.UserGroups(ctx)
}

func (p phasedDirectory) Groups(ctx context.Context) ([]target.Group, error) {
	p.at(reread)
	return p.Client.Groups(ctx)
}

func (p phasedDirectory) SetMembers(ctx context.Context, fence target.Fence, g target.Group, members []string) (target.Calls, error) {
	p.at(write)
	defer p.at(readBack)
	return p.Client.SetMembers(ctx, fence, g, members)
}

// strait is a site whose connections go through toxiproxies.
type strait struct {
	*site
	legs  map[string]leg
	other bool                   // who is in the groups; see truth
	reach func(phase, ...string) // told of the places of a pass and the connections that matter there
}

func newStrait(t *testing.T) *strait {
	t.Helper()
	s := &strait{site: newSite(t, keycloaktest.FederationOptions{Timeout: 300 * time.Millisecond}), reach: func(phase, ...string) {}}
	s.legs = map[string]leg{
		toKeycloak: newLeg(t, s.realm.Server.URL), toLDAP: newLeg(t, s.ldap.URL), toClearML: newLeg(t, s.clearml.URL),
	}
	s.realm.AddClearML(t, false)
	s.fed.Configure(t, "connectionUrl", "ldap://"+s.legs[toLDAP].Listen)
	s.realm.Leave(t, "luke", "/club")
	s.ldap.Leave(t, "fede", "staff")
	for team, name := range map[string]string{"club": "luke", "staff": "fede"} {
		s.clearml.SetMembers(team, slices.DeleteFunc(s.clearml.Members(team), func(id string) bool { return id == name })...)
	}
	src, dir, options := s.parts(t, setup{
		config: func(c *keycloak.Config) {
			c.URL, c.Timeout = "http://"+s.legs[toKeycloak].Listen, 2*time.Second
		},
		clearml: func(c *clearml.Config) {
			c.URL, c.Timeout, c.RetryWait = "http://"+s.legs[toClearML].Listen, 300*time.Millisecond, time.Millisecond
		},
	})
	s.rec = reconcile.New(
		phased{src, func(p phase) { s.reach(p, toKeycloak, toLDAP) }},
		phasedDirectory{dir, func(p phase) { s.reach(p, toClearML) }}, options)
	return s
}

// people returns who leaves and who joins next: two local people and two of LDAP.
func (s *strait) people() (out, in, leaver, joiner string) {
	if s.other {
		return "luke", "lola", "fede", "fedf"
	}
	return "lola", "luke", "fedf", "fede"
}

// truth returns who is in ClearML's teams when ClearML has what Keycloak has now.
func (s *strait) truth() string {
	if s.other {
		return "club: feda fedb luke\nstaff: feda fedb fedc fedd fede lola"
	}
	return "club: feda fedb lola\nstaff: feda fedb fedc fedd fedf lola"
}

// fail makes the connection fail with the toxic from the place on, in the next pass. It
// returns whether the place was reached.
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

// toxicRow is one toxic at one place. In its texts OUT and IN are the local people who
// leave and join, LEAVER and JOINER those of LDAP.
type toxicRow struct {
	connection string
	from       phase
	toxic      toxic
	want       want
}

// The ways in which a pass ends.
var (
	slowButWhole = want{result: report.Applied, probes: "ldap up", added: 2, members: "new club, new staff",
		removals: "club: OUT, applied\nstaff: LEAVER, applied"}
	nothing = want{result: report.Error, members: "old club, old staff"}
)

// ends returns how a pass ends that begins like w.
func (w want) ends(change func(*want)) want { change(&w); return w }

func (w want) says(texts ...string) want { w.errors = texts; return w }

// of puts the row's people into its texts.
func (s *strait) of(w want, before string) want {
	out, in, leaver, joiner := s.people()
	_ = in
	s.other = !s.other
	after := s.truth()
	s.other = !s.other
	oldClub, oldStaff, _ := strings.Cut(before, "\n")
	newClub, newStaff, _ := strings.Cut(after, "\n")
	r := strings.NewReplacer("OUT", out, "LEAVER", leaver, "JOINER", joiner,
		"old club", oldClub, "new club", newClub, "old staff", oldStaff, "new staff", newStaff, ", ", "\n")
	w.members = r.Replace(w.members)
	r = strings.NewReplacer("OUT", out, "LEAVER", leaver, "JOINER", joiner)
	w.removals, w.timing = r.Replace(w.removals), true
	return w
}

// TestNoToxicMakesAWrongChange breaks one connection at a time, at each place of a pass.
// A pass under it is slow but whole, or leaves what it cannot be sure of and says so.
// The next pass without it makes ClearML what the sign-ins of that moment would.
//
// The test is no part of make test yet: make test-toxics runs it. The time-outs of its
// clients are short, so a busy machine fails rows that an idle machine may pass.
func TestNoToxicMakesAWrongChange(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a real Keycloak")
	}
	for _, connection := range []string{toKeycloak, toLDAP, toClearML} {
		t.Run(connection, func(t *testing.T) {
			t.Parallel()
			s := newStrait(t)
			for _, row := range toxicRows {
				if row.connection == connection {
					t.Run(string(row.from)+", "+row.toxic.name, func(t *testing.T) { s.survives(t, row) })
				}
			}
		})
	}
}

func (s *strait) survives(t *testing.T, row toxicRow) {
	out, in, leaver, joiner := s.people()
	before := s.members()
	s.reach = func(phase, ...string) {}
	s.ldap.Leave(t, leaver, "staff")
	s.pass(t, "before", want{result: report.Drift, probes: "ldap up", members: before, timing: true, removals: "staff: " + leaver + ", withheld by grace",
		trips: []string{"grace: 1 removals rest on a federation"}})
	s.now = s.now.Add(grace)
	s.realm.Leave(t, out, "/club")
	s.realm.Join(t, in, "/club")
	s.ldap.Join(t, joiner, "staff")

	reached := s.fail(t, row.connection, row.from, row.toxic)
	s.pass(t, "with the toxic", s.of(row.want, before))
	if !reached() {
		t.Errorf("the pass did not come to the place %q", row.from)
	}
	s.legs[row.connection].end(t)
	s.other = !s.other
	if r := s.rec.Pass(t.Context(), reconcile.Request{Lead: leads, Apply: true}); len(r.Errors) > 0 || len(r.Guards) > 0 || s.members() != s.truth() {
		t.Errorf("without the toxic: %s, errors %v, guards %v, members\n%s\nwant\n%s", r.Result, r.Errors, r.Guards, s.members(), s.truth())
	}
	s.signInsChangeNothing(t)
	s.now = s.now.Add(grace)
}

// signInsChangeNothing holds that each person's token has the teams that ClearML has.
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

// The rows. A Keycloak that cannot be reached ends the pass. An LDAP that cannot be
// reached holds up its own people. A ClearML that cannot be reached is not written.
var toxicRows = slices.Concat(keycloakRows, ldapRows, clearmlRows)

func rows(connection string, from phase, ends map[toxic]want) (all []toxicRow) {
	for _, x := range []toxic{latency, bandwidth, slicer, resetUp, resetDown, timeout, limit, down} {
		w, is := ends[x]
		if !is {
			w = slowButWhole
		}
		all = append(all, toxicRow{connection, from, x, w})
	}
	return all
}

var keycloakRows = slices.Concat(
	rows(toKeycloak, read, map[toxic]want{
		resetUp:   nothing.says("reading the members of the group /…: no connection to …connection reset by peer; check keycloak.url"),
		resetDown: nothing.says("reading the members of the group /…: no connection to …connection reset by peer; check keycloak.url"),
		timeout:   nothing.says("reading the members of the group /…: no whole answer from …within 700ms; check Keycloak's health").ends(func(w *want) { w.probes = "ldap away" }),
		limit:     nothing.says("reading the members of the group /…: no connection to …unexpected EOF; check keycloak.url"),
		down:      nothing.says("reading the members of the group /…: no connection to …connection refused; check keycloak.url"),
	}),
	rows(toKeycloak, confirm, map[toxic]want{
		resetUp:   nothing.says("confirming the changes: …: no connection to …connection reset by peer; check keycloak.url"),
		resetDown: nothing.says("confirming the changes: …: no connection to …connection reset by peer; check keycloak.url"),
		timeout:   nothing.says("confirming the changes: …: no whole answer from …within 700ms; check Keycloak's health"),
		limit:     nothing.says("confirming the changes: …: no connection to …unexpected EOF; check keycloak.url"),
		down:      nothing.says("confirming the changes: …: no connection to …connection refused; check keycloak.url"),
	}),
)

var (
	awayRead = want{result: report.Guarded, probes: "ldap away", added: 1, members: "new club, old staff", trips: []string{probeFails},
		removals: "club: OUT, applied\nclub: feda fedb, withheld by federation\nstaff: feda fedb fedc fedd LEAVER, withheld by federation"}
	awayLook = want{result: report.Guarded, probes: "ldap away", added: 1, members: "new club, old staff", trips: []string{probeFails},
		removals: "club: OUT, applied\nstaff: LEAVER, withheld by federation"}
	hangs = nothing.ends(func(w *want) { w.probes = "ldap away" })
)

var ldapRows = slices.Concat(
	rows(toLDAP, read, map[toxic]want{
		resetUp: awayRead, resetDown: awayRead, down: awayRead,
		timeout: hangs.says("reading the members of the group /…: no whole answer from …the federation ldap is not up"),
		limit:   awayRead,
	}),
	rows(toLDAP, confirm, map[toxic]want{
		resetUp: awayLook, resetDown: awayLook, down: awayLook,
		timeout: hangs.says("confirming the changes: …: no whole answer from …the federation ldap is not up"),
		limit:   awayLook,
	}),
)

const clearmlAway = "ClearML permissions.get_user_groups: no connection to "

var (
	unread = want{result: report.Drift, probes: "ldap up", members: "old club, old staff", removals: "club: OUT, failed\nstaff: LEAVER, failed"}
	// A write that the server may have carried out ends the writing of the pass.
	notMade = want{result: report.Drift, probes: "ldap up", members: "old club, old staff", removals: "club: OUT, failed\nstaff: LEAVER, planned"}
	made    = notMade.ends(func(w *want) { w.members = "new club, old staff" })
)

func unreadFor(cause string) want {
	return unread.says(`reading the user group "club" before its write: `+clearmlAway+"…"+cause, `reading the user group "staff" before its write: `+clearmlAway+"…"+cause)
}

func notReadBack(cause string) []string {
	return []string{`reading the user group "club" back after its write, which may or may not have been made: ` + clearmlAway + "…" + cause}
}

var clearmlRows = slices.Concat(
	rows(toClearML, read, map[toxic]want{
		resetUp:   nothing.says(clearmlAway + "…connection reset by peer"),
		resetDown: nothing.says(clearmlAway + "…connection reset by peer"),
		timeout:   nothing.says(clearmlAway + "…EOF"),
		limit:     nothing.says(clearmlAway + "…unexpected EOF"),
		down:      nothing.says(clearmlAway + "…connection refused"),
	}),
	rows(toClearML, reread, map[toxic]want{
		resetUp: unreadFor("connection reset by peer"), resetDown: unreadFor("connection reset by peer"), timeout: unreadFor("EOF"), limit: unreadFor("unexpected EOF"),
		down: unreadFor("connection refused"),
	}),
	rows(toClearML, write, map[toxic]want{
		resetUp:   notMade.says(notReadBack("connection reset by peer")...),
		resetDown: made.says(notReadBack("connection reset by peer")...),
		timeout:   made.says(notReadBack("EOF")...),
		limit:     made.says(notReadBack("unexpected EOF")...),
		down:      unreadFor("connection refused"),
	}),
	rows(toClearML, readBack, map[toxic]want{
		resetUp: made.says(notReadBack("connection reset by peer")...), resetDown: made.says(notReadBack("connection reset by peer")...),
		timeout: made.says(notReadBack("EOF")...), limit: made.says(notReadBack("unexpected EOF")...), down: made.says(notReadBack("connection refused")...),
	}),
)
