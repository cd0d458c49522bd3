package reconcile

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/match"
	"groupsync/internal/memory"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// TestWhoIsWho tests situations in which it is not obvious which account a ClearML user has.
func TestWhoIsWho(t *testing.T) {
	admins := func(o *match.Options) { o.AdminGroups = []string{"ops"} }
	const dot = "/team: ann\nteam = ann\nAdmins! = ann\n/ops: ann\nboth ann\n"
	for _, tt := range []struct {
		name    string
		world   string
		options func(*match.Options)
		want    []string
		trips   []string
		exit    int
	}{
		{
			name:    "an account that signs in by google bears the email of an administrator: neither granted nor removed anything",
			world:   "both ann\nkeycloak boss\nclearml mallory google email=boss@example.com\n/ops: ann boss\n/team: ann\nteam = ann mallory\nAdmins! = ann",
			options: admins,
			want:    []string{"=mallory@team other_provider", "?boss@Admins"},
		},
		{
			name:    "a local break-glass administrator with the email of somebody who is no administrator keeps Admins",
			world:   "both ann\nkeycloak root\nclearml rescue local email=root@example.com\n/ops: ann\n/team: ann root\nteam = ann\nAdmins! = ann rescue",
			options: admins,
			want:    []string{"?root@team", "=rescue@Admins local"},
		},
		{
			name:  "an old account with a recycled address: no grant",
			world: "both ann\nkeycloak new email=shared@example.com\nclearml old id=11111111-2222-3333-4444-555555555555 email=shared@example.com\n/team: ann new\nteam = ann",
			want:  []string{},
		},
		{
			name:  "an old account with a recycled address stays while the new colleague is in",
			world: "both ann\nkeycloak new email=shared@example.com\nclearml old id=11111111-2222-3333-4444-555555555555 email=shared@example.com\n/team: ann new\nteam = ann old",
			want:  []string{"=old@team rekeyed"},
		},
		{
			name:  "an old account with a recycled address is removed when the new colleague is out too",
			world: "both ann\nkeycloak new email=shared@example.com\nclearml old id=11111111-2222-3333-4444-555555555555 email=shared@example.com\n/team: ann\nteam = ann old",
			want:  []string{"-old@team applied not_member"},
		},
		{
			name:    "a disabled administrator whose id is kept loses Admins although a second account of that email exists",
			world:   "duplicates\nboth ann boss\ndisable boss\nkeycloak twin email=boss@example.com\n/ops: ann twin\n/team: ann\nteam = ann\nAdmins! = ann boss",
			options: admins,
			want:    []string{"-boss@Admins applied disabled", "?twin@Admins"},
		},
		{
			name:    "without a kept id a second account of the email keeps the administrator, who is reported",
			world:   "duplicates\nboth ann\nkeycloak boss disabled\nkeycloak twin email=boss@example.com\nclearml boss\n/ops: ann twin\n/team: ann\nteam = ann\nAdmins! = ann boss",
			options: admins,
			want:    []string{"=boss@Admins ambiguous"},
			trips:   []string{"ambiguous Admins: groupsync cannot tell which Keycloak account 1 administrators have. At least one possible account of each is still an administrator in Keycloak, so nobody was removed. The report names them under kept; correct the email or the sign-in in ClearML, or remove the administrator there"},
			exit:    2,
		},
		{
			name:  "without a kept id two accounts of one email: no grant, one of them in",
			world: "duplicates\nboth ann\nkeycloak one email=b@example.com\nkeycloak two email=b@example.com\nclearml b email=b@example.com\n/team: ann one\nteam = ann",
			want:  []string{},
		},
		{
			name:  "without a kept id two accounts of one email: removed when both are out",
			world: "duplicates\nboth ann\nkeycloak one email=b@example.com\nkeycloak two email=b@example.com disabled\nclearml b email=b@example.com\n/team: ann\nteam = ann b",
			want:  []string{"-b@team applied not_member"},
		},
		{
			name:  "email, username and name all changed, an id is kept: matched",
			world: "both ann\nkeycloak new email=new@example.com name=New_Name\nclearml old id=kc-new email=old@example.com name=Old_Name\n/team: ann new\nteam = ann old",
			want:  []string{},
		},
		{
			name:  "a disabled namesake keeps nobody",
			world: "both ann\nkeycloak lee name=Ann_Lee disabled\nclearml leaver name=Ann_Lee\n/team: ann lee\nteam = ann leaver",
			want:  []string{"-leaver@team applied gone"},
		},
		{
			name:  "a namesake in another group keeps nobody",
			world: "both ann\nkeycloak lee name=Ann_Lee\nclearml leaver name=Ann_Lee\n/team: ann\n/other: lee\nteam = ann leaver\nother =",
			want:  []string{"?lee@other", "-leaver@team applied gone"},
		},
		{
			name:  "a disabled leaver whose mailbox was renamed is removed: the id decides",
			world: "both ann\nkeycloak bob email=renamed@example.com disabled\nclearml bob id=kc-bob\n/team: ann\nteam = ann bob",
			want:  []string{"-bob@team applied disabled"},
		},
		{
			name:  "the Kelvin sign is no k: another address",
			world: "both ann\nkeycloak kit email=\u212Ait@example.com\nclearml kit\n/team: ann kit\nteam = ann",
			want:  []string{"?kit@team"},
		},
		{
			name:  "a dotted capital I is no i: another address",
			world: "both ann\nkeycloak kit email=k\u0130t@example.com\nclearml kit\n/team: ann kit\nteam = ann",
			want:  []string{"?kit@team"},
		},
		{
			name:  "ASCII case is folded",
			world: "both ann\nkeycloak kit email=KIT@Example.com\nclearml kit\n/team: ann kit\nteam = ann",
			want:  []string{"+kit@team applied"},
		},
		{
			name:    "a leaver known by id whose address was given to a new colleague: the leaver loses Admins, the colleague gets what is hers",
			world:   dot + "keycloak left disabled email=was@example.com\nclearml left id=kc-left email=shared@example.com\nkeycloak new email=shared@example.com\nclearml new id=kc-new email=shared@example.com\n/ops: ann new\n/team: ann new\nAdmins! = ann left",
			options: admins,
			want:    []string{"+new@team applied", "+new@Admins applied", "-left@Admins applied disabled"},
		},
		{
			name:    "the same, where ClearML keeps no id of the colleague's own account",
			world:   dot + "keycloak left disabled email=was@example.com\nclearml left id=kc-left email=shared@example.com\nkeycloak new email=shared@example.com\nclearml new email=shared@example.com\n/ops: ann new\n/team: ann new\nAdmins! = ann left",
			options: admins,
			want:    []string{"+new@team applied", "+new@Admins applied", "-left@Admins applied disabled"},
		},
		{
			name:    "two ClearML accounts of one id: both stay while the account is in, and are reported",
			world:   dot + "keycloak boss\nclearml b1 id=kc-boss\nclearml b2 id=kc-boss\n/ops: ann boss\nAdmins! = ann b1 b2",
			options: admins,
			want:    []string{"=b1@Admins ambiguous", "=b2@Admins ambiguous"},
			trips:   []string{"ambiguous Admins: groupsync cannot tell which Keycloak account 2 administrators have. At least one possible account of each is still an administrator in Keycloak, so nobody was removed. The report names them under kept; correct the email or the sign-in in ClearML, or remove the administrator there"},
			exit:    2,
		},
		{
			name:    "two ClearML accounts of one id: both are removed when the account is out",
			world:   dot + "keycloak boss\nclearml b1 id=kc-boss\nclearml b2 id=kc-boss\nAdmins! = ann b1 b2",
			options: admins,
			want:    []string{"-b1@Admins applied not_member", "-b2@Admins applied not_member"},
		},
		{
			name:  "a member whom only an account of another provider shares the email with is pending",
			world: "both ann\nkeycloak dan\nclearml dan google\n/team: ann dan\nteam = ann",
			want:  []string{"?dan@team"},
		},
		{
			name:  "a kept id that is a time is no id",
			world: "both ann\nkeycloak dan\nclearml dan id=2026-11-27T10:00:00Z\n/team: ann dan\nteam = ann",
			want:  []string{"+dan@team applied"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.world)
			r, _ := w.reconciler(t, wide, tt.options)
			rep := r.Pass(context.Background(), Request{MayWrite: leads, Apply: true})
			if len(rep.Errors) > 0 {
				t.Fatalf("errors: %v", rep.Errors)
			}
			if d := cmp.Diff(tt.want, lines(rep)); d != "" {
				t.Errorf("-want +got\n%s\n%q", d, trips(rep))
			}
			if d := cmp.Diff(tt.trips, trips(rep)); d != "" || rep.ExitCode() != tt.exit {
				t.Errorf("exit %d, want %d; trips -want +got\n%s", rep.ExitCode(), tt.exit, d)
			}
		})
	}
}

// TestTheOwnSideIsRight: if the member list and the person's own side disagree, the own side
// decides in every pass, and there is no drift.
func TestTheOwnSideIsRight(t *testing.T) {
	for _, tt := range []struct {
		name  string
		world string
		want  []string
		own   report.OwnView
	}{
		{"the list hides everybody whom the token gives the group: nobody is removed", "federation corp\nboth ann bob\nldap ann bob\n/team:\nhides /team: ann bob\nteam = ann bob", []string{}, report.OwnView{Hides: 2}},
		{"the list shows everybody, no token has the group: nobody is granted it", "federation corp\nboth ann bob\nldap ann bob\n/team:\nshows /team: ann bob\nteam =", []string{}, report.OwnView{Shows: 2}},
		{"a real leaver of a group that the list hides goes out as anybody", "federation corp\nboth ann bob\nldap ann bob\n/team:\nhides /team: ann\nteam = ann bob", []string{"-bob@team applied not_member"}, report.OwnView{Hides: 1}},
		{"names that overlap: the person's own list breaks the tie, for the one who is out", "federation corp\nboth ann bob\nldap ann bob\n/team: ann\n/teamwork: bob\nteam = ann bob", []string{"-bob@team applied not_member"}, report.OwnView{}},
		{"names that overlap: the person's own list breaks the tie, for the one who is in", "federation corp\nboth ann bob\nldap ann bob\n/team: ann\nhides /team: bob\n/teamwork: bob\nteam = ann bob", []string{}, report.OwnView{Hides: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.world)
			limits := wide
			limits.MaxRatio, limits.FreeRemovals = 0.25, 3
			r, c := w.reconciler(t, limits, nil)
			for pass := range 3 {
				rep := r.Pass(context.Background(), Request{MayWrite: leads, Apply: true})
				want := tt.want
				if pass > 0 {
					want = []string{}
				}
				if d := cmp.Diff(want, lines(rep)); d != "" || len(rep.Guards)+len(rep.Errors) > 0 || rep.Digest != "" && pass > 0 || rep.ExitCode() != 0 {
					t.Fatalf("pass %d: exit %d, digest %q, trips %q, errors %v; -want +got\n%s", pass+1, rep.ExitCode(), rep.Digest, trips(rep), rep.Errors, d)
				}
				if d := cmp.Diff(tt.own, rep.Groups[0].OwnView); d != "" {
					t.Errorf("pass %d: -want +got\n%s", pass+1, d)
				}
				c.Time = c.Add(48 * time.Hour)
			}
		})
	}
}

// TestFederationsHoldUpTheirOwnPeopleOnly: a federation that is switched off, never answered,
// or is trusted does not withhold changes of other people.
func TestFederationsHoldUpTheirOwnPeopleOnly(t *testing.T) {
	const people = "federation corp\nboth ann loc fed\nldap fed\nclearml gone id=11111111-2222-3333-4444-555555555555\n/team: ann\nteam = ann loc fed gone"
	away := map[string]string{"fed-corp": "status 500"}
	for _, tt := range []struct {
		name   string
		change func(*world)
		mem    memory.Memory
		want   []string
		trip   string
	}{
		{
			name: "switched off: local people and people with a plain id go, its own stay",
			change: func(w *world) {
				w.federations[0].Enabled = false
				w.away = map[string]string{"fed-corp": "it is switched off in Keycloak"}
			},
			want: []string{"-fed@team withheld not_member by federation", "-gone@team applied gone", "-loc@team applied not_member"},
			trip: `federation: the federation "corp" is not up (it is switched off in Keycloak): 1 changes that depend on it are withheld, and its people keep their memberships; enable it again, or delete it in Keycloak if its people must lose their memberships; if it stays switched off, or never answers a probe although it works, name it in keycloak.trusted_federations`,
		},
		{
			name:   "never answered a probe: the same",
			change: func(w *world) { w.away = away },
			want:   []string{"-fed@team withheld not_member by federation", "-gone@team applied gone", "-loc@team applied not_member"},
			trip:   `federation: the federation "corp" is not up (status 500): 1 changes that depend on it are withheld, and its people keep their memberships; check that its server answers Keycloak; if it stays switched off, or never answers a probe although it works, name it in keycloak.trusted_federations`,
		},
		{
			name:   "answered before and is away now: whoever is gone may be of it",
			change: func(w *world) { w.away = away },
			mem:    memory.Memory{Federations: map[string]string{"fed-corp": "corp"}, Answered: map[string]bool{"fed-corp": true}},
			want:   []string{"-fed@team withheld not_member by federation", "-gone@team withheld gone by federation", "-loc@team applied not_member"},
			trip:   `federation: the federation "corp" is not up (status 500): 2 changes that depend on it are withheld`,
		},
		{
			name:   "trusted: its silence means nothing",
			change: func(w *world) { w.away, w.trusted = away, []string{"corp"} },
			want:   []string{"-fed@team applied not_member", "-gone@team applied gone", "-loc@team applied not_member"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, people)
			tt.change(w)
			r, _ := w.reconciler(t, wide, nil)
			if err := r.Store.Save(tt.mem); err != nil {
				t.Fatal(err)
			}
			rep := r.Pass(context.Background(), Request{MayWrite: leads, Apply: true})
			if d := cmp.Diff(tt.want, lines(rep)); d != "" {
				t.Errorf("-want +got\n%s\n%q", d, trips(rep))
			}
			if got := trips(rep); tt.trip == "" && len(got) > 0 || tt.trip != "" && (len(got) != 1 || got[0][:min(len(got[0]), len(tt.trip))] != tt.trip) {
				t.Errorf("trips:\n got %q\nwant %q", got, tt.trip)
			}
		})
	}
}

// TestGrantsAreGuarded checks who becomes an administrator, and through which source.
func TestGrantsAreGuarded(t *testing.T) {
	group := func(o *match.Options) { o.AdminGroups = []string{"ops"} }
	path := func(o *match.Options) { o.AdminGroups = []string{"/ops"} }
	role := func(o *match.Options) { o.AdminRole = "boss" }
	limited := wide
	limited.MaxAdminGrants = 3
	for _, tt := range []struct {
		name    string
		world   string
		options func(*match.Options)
		change  func(*world)
		want    []string
		trips   []string
	}{
		{
			name:    "a second group of the admin group's leaf name grants nothing, and takes nothing",
			world:   "both ann bob eve\n/ops: ann bob\n/x:\n/x/ops: eve\nAdmins! = ann",
			options: group,
			want:    []string{"+bob@Admins withheld by collision", "+eve@Admins withheld by collision"},
			trips:   []string{`collision Admins: several Keycloak groups have the name "ops" of admins.groups ("/ops", "/x/ops"): nobody becomes an administrator through that name, and 2 new administrators are withheld; write the path of the right group into admins.groups`},
		},
		{
			name:    "a path in admins.groups counts that group only",
			world:   "both ann bob eve\n/ops: ann bob\n/x:\n/x/ops: eve\nAdmins! = ann eve",
			options: path,
			want:    []string{"+bob@Admins applied", "-eve@Admins applied not_member"},
		},
		{
			name:    "as many new administrators as the limit are made",
			world:   "both a b c\n/ops: a b c\nAdmins! =",
			options: group,
			want:    []string{"+a@Admins applied", "+b@Admins applied", "+c@Admins applied"},
		},
		{
			name:    "everybody put into the admin group: all of them are withheld, not the first three",
			world:   "both a b c d\n/ops: a b c d\nAdmins! =",
			options: group,
			want:    []string{"+a@Admins withheld by grants", "+b@Admins withheld by grants", "+c@Admins withheld by grants", "+d@Admins withheld by grants"},
			trips:   []string{"grants: 4 new administrators are wanted and 0 were made within 24h0m0s, guards.max_admin_grants is 3: all new administrators are withheld; if they are correct, approve them"},
		},
		{
			name:    "a grant by role is confirmed by the person's effective roles",
			world:   "both ann bob\nrole boss: ann bob\nAdmins! =",
			options: role,
			change: func(w *world) {
				w.second = func(s *source.SecondLook) { s.Effective[source.Held{Account: "kc-bob", Role: "boss"}] = false }
			},
			want:  []string{"+ann@Admins applied", "+bob@Admins withheld by confirm"},
			trips: []string{"confirm Admins: the second look did not confirm 1 of 2 changes (the first unconfirmed change: the account does not hold the role boss in effect; if the role was given just now, Keycloak's user cache is old): they are withheld, and the next pass checks them again"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.world)
			if tt.change != nil {
				tt.change(w)
			}
			r, _ := w.reconciler(t, limited, tt.options)
			rep := r.Pass(context.Background(), Request{MayWrite: leads, Apply: true})
			if d := cmp.Diff(tt.want, lines(rep)); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
			if d := cmp.Diff(tt.trips, trips(rep)); d != "" {
				t.Errorf("trips: -want +got\n%s", d)
			}
		})
	}
}

// TestNewAdministratorsAddUp: the limit counts the grants of earlier passes. An approval lifts
// it only for the administrators that it names.
func TestNewAdministratorsAddUp(t *testing.T) {
	limits := wide
	limits.MaxAdminGrants = 2
	w := newWorld(t, "both a b c d\n/ops: a b\nAdmins! =")
	r, c := w.reconciler(t, limits, func(o *match.Options) { o.AdminGroups = []string{"ops"} })
	pass := func(when, digest string, want ...string) report.Report {
		t.Helper()
		rep := r.Pass(context.Background(), Request{MayWrite: leads, Apply: true, Approval: Approval{Digest: digest, By: "grace"}})
		if d := cmp.Diff(append([]string{}, want...), lines(rep)); d != "" {
			t.Fatalf("%s: -want +got\n%s", when, d)
		}
		return rep
	}
	pass("two are within the limit", "", "+a@Admins applied", "+b@Admins applied")
	w.groups["/ops"] = []string{"a", "b", "c", "d"}
	rep := pass("two more are beyond it", "", "+c@Admins withheld by grants", "+d@Admins withheld by grants")
	rep = pass("they are approved", rep.Digest, "+c@Admins applied", "+d@Admins applied")
	want := &report.Approval{Digest: rep.Digest, By: "grace", At: c.Time, Granted: true, Lifted: []report.Guard{report.Grants}, Changes: 2, Detail: "the guards grants were lifted for 2 changes"}
	if d := cmp.Diff(want, rep.Approval); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	rep = pass("approving twice approves nothing", rep.Digest)
	if a := rep.Approval; a.Granted || len(rep.Errors) > 0 || rep.Result != report.InSync {
		t.Errorf("approving twice: %+v, errors %v, result %s", a, rep.Errors, rep.Result)
	}
}

// TestAWriteThatWasNotMadeDoesNotFillTheWindow: a change counts only if the next reading shows
// it.
func TestAWriteThatWasNotMadeDoesNotFillTheWindow(t *testing.T) {
	limits := wide
	limits.MaxRemovals = 1
	store := new(memory.Process)
	w := newWorld(t, "both a b c\n/team: a b\nteam = a b c")
	pass := func(when string, want ...string) {
		t.Helper()
		r, _ := w.reconciler(t, limits, nil)
		r.Store = store
		rep := r.Pass(context.Background(), Request{MayWrite: leads, Apply: true})
		if d := cmp.Diff(want, lines(rep)); d != "" {
			t.Fatalf("%s: -want +got\n%s", when, d)
		}
	}
	// A process that is killed before its write has already saved the intent.
	killed, _ := w.reconciler(t, limits, nil)
	killed.Store = killedAfterSaving{store}
	func() {
		defer func() { _ = recover() }()
		killed.Pass(context.Background(), Request{MayWrite: leads, Apply: true})
	}()
	if mem, _ := store.Load(); len(mem.Removed) != 1 {
		t.Fatalf("the intent was not remembered before the write: %+v", mem.Removed)
	}
	pass("the removal was never made, so the limit is free", "-c@team applied not_member")
	w.groups["/team"] = []string{"a"}
	pass("the removal was made, so the limit is used up", "-b@team withheld not_member by removals")
}

type killedAfterSaving struct{ *memory.Process }

func (k killedAfterSaving) Save(m memory.Memory) error {
	if err := k.Process.Save(m); err != nil {
		return err
	}
	panic("killed")
}

// TestAChangedConfigurationWaits: a removal that only the changed rules want is withheld until
// it is approved, even after restarts. A removal because of a changed Keycloak group is not
// withheld.
func TestAChangedConfigurationWaits(t *testing.T) {
	before := func(o *match.Options) { o.Mapping = map[string][]string{"a": {"team"}, "b": {"team"}} }
	after := func(o *match.Options) { o.Mapping = map[string][]string{"a": {"team"}} }
	store := new(memory.Process)
	w := newWorld(t, "both ann bob cid\n/a: ann cid\n/b: bob\nteam = ann bob cid")
	digest := ""
	pass := func(when string, options func(*match.Options), approve string, want ...string) report.Report {
		t.Helper()
		r, _ := w.reconciler(t, wide, options) // each pass is a new process
		r.Store = store
		rep := r.Pass(context.Background(), Request{MayWrite: leads, Apply: true, Approval: Approval{Digest: approve}})
		if d := cmp.Diff(append([]string{}, want...), lines(rep)); d != "" {
			t.Fatalf("%s: -want +got\n%s\n%q", when, d, trips(rep))
		}
		return rep
	}
	if err := store.Save(memory.Memory{}); err != nil { // as after an upgrade: the memory has no rules
		t.Fatal(err)
	}
	pass("the rules are accepted", before, "")
	w.groups["/a"] = []string{"ann"}
	rep := pass("the mapping lost b, and cid left a", after, "", "-bob@team withheld not_member by scope", "-cid@team applied not_member")
	want := "scope team: 1 removals are wanted only because groups or admins in the configuration changed after the last accepted pass: they are withheld; if the change is intended, approve them"
	if d := cmp.Diff([]string{want}, trips(rep)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	digest = pass("still withheld", after, "", "-bob@team withheld not_member by scope").Digest
	pass("the old rules want nothing", before, "")
	pass("approved", after, digest, "-bob@team applied not_member")
	w.setTarget("team", []string{"ann", "bob"})
	pass("the new rules are accepted by now", after, "", "-bob@team applied not_member")
}

// TestAPlanThatIsTooOldIsNotWritten: the writing stops at max_age, and the report says how
// much is left.
func TestAPlanThatIsTooOldIsNotWritten(t *testing.T) {
	for _, tt := range []struct {
		took time.Duration
		want []string
	}{
		{10 * time.Minute, []string{"+a@x applied", "+a@y applied"}},
		{10*time.Minute + time.Second, []string{"+a@x applied", "+a@y withheld by age"}},
	} {
		t.Run(fmt.Sprint(tt.took), func(t *testing.T) {
			w := newWorld(t, "both a\n/x: a\n/y: a\nx =\ny =")
			limits := wide
			limits.MaxAge = 10 * time.Minute
			var r *Reconciler
			var c *clock
			r, c = w.reconciler(t, limits, nil)
			w.onWrite = func(target.Group, []string) (bool, error) { c.Time = c.Add(tt.took); return true, nil }
			rep := r.Pass(context.Background(), Request{MayWrite: leads, Apply: true})
			if d := cmp.Diff(tt.want, lines(rep)); d != "" {
				t.Errorf("-want +got\n%s\n%q", d, trips(rep))
			}
		})
	}
}
