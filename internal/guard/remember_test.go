package guard_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"groupsync/internal/guard"
	"groupsync/internal/match"
	"groupsync/internal/memory"
	"groupsync/internal/plan/plantest"
	"groupsync/internal/report"
	"groupsync/internal/source"
)

// step is one pass of a story: the world changes, the pass is judged, its cleared changes are
// written, and the memory is kept.
type step struct {
	do      string // lines that change the world
	rules   func(*match.Options)
	later   time.Duration
	away    string // federations that are not up in this pass
	approve bool   // with the digest of the pass before
	lost    bool   // the cleared changes are sent, but do not reach ClearML
	want    []string
}

func TestGuardsRemember(t *testing.T) {
	const ten = "both a b c d e f g h i j\n"
	limits := guard.Limits{MaxRemovals: 2, MaxAdminGrants: 2, Window: 24 * time.Hour, MaxRatio: 0.25, FreeRemovals: 3, MaxGone: 10, Grace: time.Hour, GoneGrace: 24 * time.Hour}
	for _, tt := range []struct {
		name  string
		world string
		rules func(*match.Options)
		steps []step
	}{
		{name: "the grace: wanted by every pass for an hour, then removed",
			world: "federation corp\n" + ten + "ldap a b\n/team: a b c d e f\nteam = a b c d e f",
			steps: []step{
				{want: []string{}},
				{do: "/team: a c d e f", want: []string{"-b@team not_member by id [grace]"}},
				{later: 30 * time.Minute, want: []string{"-b@team not_member by id [grace]"}},
				{later: 30 * time.Minute, want: []string{"-b@team not_member by id"}},
				{want: []string{}},
			}},
		{name: "the grace: a pass that does not want the removal starts the clock anew",
			world: "federation corp\n" + ten + "ldap a b\n/team: a c d e f\nteam = a b c d e f",
			steps: []step{
				{want: []string{"-b@team not_member by id [grace]"}},
				{do: "/team: a b c d e f", later: 2 * time.Hour, want: []string{}},
				{do: "/team: a c d e f", want: []string{"-b@team not_member by id [grace]"}},
			}},
		{name: "the grace: a federation that is not up starts the clock anew",
			world: "federation corp\n" + ten + "ldap a b\n/team: a c d e f\nteam = a b c d e f",
			steps: []step{
				{want: []string{"-b@team not_member by id [grace]"}},
				{later: 2 * time.Hour, away: "corp", want: []string{"-b@team not_member by id (away) [federation]"}},
				{want: []string{"-b@team not_member by id [grace]"}},
				{later: time.Hour, want: []string{"-b@team not_member by id"}},
			}},
		{name: "the grace: somebody known by the email only waits a day",
			world: ten + "clearml eve\n/team: a b c d e f\nteam = a b c d e f eve",
			steps: []step{
				{want: []string{"-eve@team gone [grace]"}},
				{later: 24*time.Hour - 1, want: []string{"-eve@team gone [grace]"}},
				{later: 1, want: []string{"-eve@team gone"}},
			}},
		{name: "the grace: a removal that other guards withhold keeps its clock",
			world: "federation corp\n" + ten + "ldap b c d\n/team: a\nteam = a b c d",
			steps: []step{
				{want: []string{"-b@team not_member by id [removals]", "-c@team not_member by id [removals]", "-d@team not_member by id [removals]"}},
				{later: time.Hour, do: "/team: a c d", want: []string{"-b@team not_member by id"}},
			}},

		{name: "the fall: until a person approves it",
			world: "federation corp\n" + ten + "ldap a\n/team: a b c d e f\nteam = a b c d e f",
			steps: []step{
				{want: []string{}},
				{do: "/team: b c d e f", want: []string{"-a@team not_member by id [fall]"}},
				{later: 48 * time.Hour, want: []string{"-a@team not_member by id [fall]"}},
				{approve: true, want: []string{"-a@team not_member by id"}},
				{want: []string{}},
				{do: "both k\nteam = b c d e f k", want: []string{"-k@team not_member by id"}},
			}},
		{name: "the fall: it is not accepted by a pass that wants no removal",
			world: "federation corp\n" + ten + "ldap a\n/team: a b c d e f\nteam = b c d e f",
			steps: []step{
				{want: []string{"+a@team from /team by id"}},
				{do: "/team: b c d e f\nteam = b c d e f", want: []string{}},
				{do: "team = a b c d e f", want: []string{"-a@team not_member by id [fall]"}},
			}},
		{name: "the fall: an approval of another group's removal does not accept it",
			world: "federation corp\n" + ten + "ldap a g\n/team: a b c d e f\n/x: b c d e f g\nteam = a b c d e f\nx = b c d e f g",
			steps: []step{
				{want: []string{}},
				{do: "/team: b c d e f\nteam = b c d e f\n/x: b c d e f", want: []string{"-g@x not_member by id [fall]"}},
				{approve: true, want: []string{"-g@x not_member by id"}},
				{do: "team = a b c d e f", want: []string{"-a@team not_member by id [fall]"}},
			}},
		{name: "the fall: people who are back end it",
			world: "federation corp\n" + ten + "ldap a b\n/team: a b c d e f\nteam = a b c d e f",
			steps: []step{
				{want: []string{}},
				{do: "/team: c d e f", want: []string{"-a@team not_member by id [fall]", "-b@team not_member by id [fall]"}},
				{do: "/team: a c d e f", want: []string{"-b@team not_member by id [grace]"}},
				{later: time.Hour, want: []string{"-b@team not_member by id"}},
			}},
		{name: "the fall: a list of ClearML's groups that lacks one takes no memory",
			world: "federation corp\n" + ten + "ldap a\n/team: a b c d e f\n/other:\nother =\nteam = a b c d e f",
			steps: []step{
				{want: []string{}},
				{do: "delete cm-team", want: []string{}},
				{do: "team = a b c d e f\n/team: b c d e f", want: []string{"-a@team not_member by id [fall]"}},
			}},
		{name: "the fall: a source group that has a new id under its old name",
			world: ten + "/team: a b c d e f\nteam = a b c d e f",
			steps: []step{
				{want: []string{}},
				{do: "id /team new-id\n/team: b c d e f", want: []string{"-a@team not_member by id [fall]"}},
				{approve: true, want: []string{"-a@team not_member by id"}},
				{do: "/team: b c d e", want: []string{"-f@team not_member by id"}},
			}},
		{name: "the fall: a federation that is gone",
			world: "federation corp\nfederation hq\n" + ten + "ldap a\n/team: a b c d e f\nteam = a b c d e f",
			steps: []step{
				{want: []string{}},
				{do: "delete hq\n/team: b c d e f", want: []string{"-a@team not_member by id [fall]"}},
				{approve: true, want: []string{"-a@team not_member by id"}},
				{do: "/team: b c d e", want: []string{"-f@team not_member by id"}},
			}},
		{name: "the fall: a group with a new id is accepted by a pass that removes nobody and misses nobody",
			world: "federation corp\n" + ten + "ldap a\n/team: a b c d e f\nteam = a b c d e f",
			steps: []step{
				{want: []string{}},
				{do: "id /team new-id", want: []string{}},
				{do: "/team: a c d e f", want: []string{"-b@team not_member by id"}},
			}},
		{name: "the fall: a group with a new id is not accepted by a pass that misses a federated member",
			world: "federation corp\n" + ten + "ldap a\n/team: a b c d e f\nteam = a b c d e f",
			steps: []step{
				{want: []string{}},
				{do: "id /team new-id\n/team: b c d e f\nteam = b c d e f", want: []string{}},
				{do: "team = a b c d e f", want: []string{"-a@team not_member by id [fall]"}},
			}},
		{name: "the fall: a group with a new id is not accepted by a pass that removes somebody",
			world: "federation corp\n" + ten + "ldap a\n/team: a b c d e f\nteam = a b c d e f",
			steps: []step{
				{want: []string{}},
				{do: "id /team new-id\n/team: a c d e f", want: []string{"-b@team not_member by id [fall]"}},
				{want: []string{"-b@team not_member by id [fall]"}},
			}},
		{name: "the fall: a federation that is gone is accepted by a pass that removes nobody and misses nobody",
			world: "federation corp\nfederation hq\n" + ten + "ldap a b\n/team: a b c d e f\nteam = a b c d e f",
			steps: []step{
				{want: []string{}},
				{do: "delete hq", want: []string{}},
				{do: "/team: a c d e f", want: []string{"-b@team not_member by id [grace]"}},
			}},
		{name: "the fall: a federation that is gone is not accepted by a pass that misses a federated member",
			world: "federation corp\nfederation hq\n" + ten + "ldap a b\n/team: a b c d e f\nteam = a b c d e f",
			steps: []step{
				{want: []string{}},
				{do: "delete hq\n/team: a c d e f\nteam = a c d e f", want: []string{}},
				{do: "team = a b c d e f", want: []string{"-b@team not_member by id [fall]"}},
			}},
		{name: "the fall: a group that a guard withholds something of is not accepted",
			world: "federation corp\n" + ten + "ldap a b\n/team: a b c d e f\nteam = a b c d e f g h i",
			steps: []step{
				{want: []string{"-g@team not_member by id [removals]", "-h@team not_member by id [removals]", "-i@team not_member by id [removals]"}},
				{do: "/team: c d e f\nteam = a c d e f", want: []string{"-a@team not_member by id [grace]"}},
			}},

		{name: "the window: removals of earlier passes count, until they are old",
			world: ten + "/team: a b c d e f g h i\nteam = a b c d e f g h i j",
			steps: []step{
				{want: []string{"-j@team not_member by id"}},
				{do: "/team: a b c d e f g h", want: []string{"-i@team not_member by id"}},
				{do: "/team: a b c d e f g", later: 24 * time.Hour, want: []string{"-h@team not_member by id [removals]"}},
				{later: 1, want: []string{"-h@team not_member by id"}},
			}},
		{name: "the window: approved removals do not count",
			world: ten + "both k l\n/team: a b c d e f g h i\nteam = a b c d e f g h i j k l",
			steps: []step{
				{want: []string{"-j@team not_member by id [removals]", "-k@team not_member by id [removals]", "-l@team not_member by id [removals]"}},
				{approve: true, want: []string{"-j@team not_member by id", "-k@team not_member by id", "-l@team not_member by id"}},
				{do: "/team: a b c d e f g", want: []string{"-h@team not_member by id", "-i@team not_member by id"}},
			}},
		{name: "D2: a removal that was sent and not made does not fill the window",
			world: ten + "/team: a b c d e f g h\nteam = a b c d e f g h i j",
			steps: []step{
				{lost: true, want: []string{"-i@team not_member by id", "-j@team not_member by id"}},
				{lost: true, want: []string{"-i@team not_member by id", "-j@team not_member by id"}},
				{want: []string{"-i@team not_member by id", "-j@team not_member by id"}},
				{do: "/team: a b c d e f g", want: []string{"-h@team not_member by id [removals]"}},
			}},
		{name: "D2: a removal that was made counts, also when the person is back",
			world: ten + "/team: a b c d e f g h\nteam = a b c d e f g h i j",
			steps: []step{
				{want: []string{"-i@team not_member by id", "-j@team not_member by id"}},
				{want: []string{}},
				{do: "team = a b c d e f g h i j", want: []string{"-i@team not_member by id [removals]", "-j@team not_member by id [removals]"}},
			}},
		{name: "the window of new administrators: all new ones are withheld, until they are approved",
			world: ten + "/ops: a b\nAdmins! =", rules: admins,
			steps: []step{
				{want: []string{"+a@Admins from /ops by id", "+b@Admins from /ops by id"}},
				{do: "/ops: a b c", later: time.Hour, want: []string{"+c@Admins from /ops by id [grants]"}},
				{approve: true, want: []string{"+c@Admins from /ops by id"}},
				{do: "/ops: a b c d", later: 22 * time.Hour, want: []string{"+d@Admins from /ops by id [grants]"}},
				{later: time.Hour + 1, want: []string{"+d@Admins from /ops by id"}},
			}},
		{name: "the window of new administrators: a grant that was sent and not made does not fill it",
			world: ten + "/ops: a b\nAdmins! =", rules: admins,
			steps: []step{
				{lost: true, want: []string{"+a@Admins from /ops by id", "+b@Admins from /ops by id"}},
				{want: []string{"+a@Admins from /ops by id", "+b@Admins from /ops by id"}},
			}},

		{name: "C4: the scope: a changed configuration waits for an approval, over passes",
			world: ten + "/team: a b c d e f\n/x: a\nteam = a b c d e f g\nx = a",
			steps: []step{
				{want: []string{"-g@team not_member by id"}},
				{rules: func(o *match.Options) { o.Mapping = map[string][]string{"x": {"team"}, "team": {"x"}} },
					want: []string{"-b@team not_member by id [scope]", "-c@team not_member by id [scope]", "-d@team not_member by id [scope]", "-e@team not_member by id [scope]", "-f@team not_member by id [scope]",
						"+b@x from /team by id", "+c@x from /team by id", "+d@x from /team by id", "+e@x from /team by id", "+f@x from /team by id"}},
				{want: []string{"-b@team not_member by id [scope]", "-c@team not_member by id [scope]", "-d@team not_member by id [scope]", "-e@team not_member by id [scope]", "-f@team not_member by id [scope]"}},
				{approve: true, want: []string{"-b@team not_member by id", "-c@team not_member by id", "-d@team not_member by id", "-e@team not_member by id", "-f@team not_member by id"}},
				{do: "/team: a b c d e", want: []string{"-f@x not_member by id"}},
			}},
		{name: "the scope: admins.via role takes no role from anybody before a person approves",
			world: ten + "clearml x role=admin id=kc-x\nkeycloak x\n/ops: a\n/idle: x\nAdmins! = a", rules: admins,
			steps: []step{
				{want: []string{}},
				{rules: byRole, want: []string{"+a@role admin from /ops by id", "-x@role admin not_member by id [scope]"}},
				{want: []string{"-x@role admin not_member by id [scope]"}},
				{approve: true, want: []string{"-x@role admin not_member by id"}},
				{want: []string{}},
			}},
		{name: "the window of new administrators: with admins.via both a person counts once",
			world: ten + "/ops: a\nAdmins! =", rules: both,
			steps: []step{
				{want: []string{"+a@Admins from /ops by id", "+a@role admin from /ops by id"}},
				{do: "/ops: a b", want: []string{"+b@Admins from /ops by id", "+b@role admin from /ops by id"}},
				{do: "/ops: a b c", want: []string{"+c@Admins from /ops by id [grants]", "+c@role admin from /ops by id [grants]"}},
				{later: 24*time.Hour + 1, want: []string{"+c@Admins from /ops by id", "+c@role admin from /ops by id"}},
			}},
		{name: "C4: the scope: a changed configuration that removes nobody is accepted",
			world: ten + "/team: a b\nteam = a b",
			steps: []step{
				{want: []string{}},
				{rules: func(o *match.Options) { o.Exclude = []string{"other"} }, want: []string{}},
				{do: "/team: a", want: []string{"-b@team not_member by id"}},
			}},
		{name: "C4: the scope: a configuration that is taken back trips nothing",
			world: ten + "/team: a b\n/ops: a\nteam = a b\nAdmins! = a b",
			rules: func(o *match.Options) { o.AdminGroups = []string{"ops", "team"} },
			steps: []step{
				{want: []string{}},
				{rules: admins, want: []string{"-b@Admins not_member by id [scope]"}},
				{rules: func(o *match.Options) { o.AdminGroups = []string{"ops", "team"} }, want: []string{}},
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, tt.world)
			if tt.rules != nil {
				b.Configure(t, tt.rules)
			}
			b.limits = limits
			digest := ""
			for i, s := range tt.steps {
				for line := range strings.Lines(s.do) {
					if name, is := strings.CutPrefix(strings.TrimSpace(line), "delete "); is {
						b.Delete(name)
					} else {
						b.Add(t, line)
					}
				}
				if s.rules != nil {
					b.Configure(t, s.rules)
				}
				b.at = b.at.Add(s.later)
				b.Away = map[string]bool{"fed-" + s.away: s.away != ""}
				b.memory = b.memory.Settled(b.Target(t).Member)
				b.before = nil
				if b.memory.Rules != "" && b.memory.Rules != b.Rules.Scope() {
					before, err := b.Rules.WithScope(b.memory.Rules)
					if err != nil {
						t.Fatal(err)
					}
					b.before = &before
				}
				if !s.approve {
					digest = ""
				}
				j := b.pass(t, digest)
				if d := cmp.Diff(s.want, plantest.Lines(j.Plan)); d != "" {
					t.Fatalf("pass %d: -want +got\n%s\n%q", i+1, d, trips(j))
				}
				digest = j.Digest
				if !s.lost {
					b.write(j)
				}
			}
		})
	}
}

// write makes the cleared changes in the world.
func (b *bench) write(j guard.Judged) {
	for _, w := range j.Cleared.Writes() {
		members := w.Group.MemberIDs()
		for _, c := range w.Remove {
			members = slices.DeleteFunc(members, func(m string) bool { return m == c.User.ID })
		}
		for _, c := range w.Add {
			members = append(members, c.User.ID)
		}
		b.SetMembers(w.Group.ID, members)
	}
}

func TestRemember(t *testing.T) {
	const world = "federation corp\nboth ann bob cid\nldap ann\nkeycloak dan\nkeycloak eve\n/ops: cid\n/team: ann dan eve\nteam = bob\nAdmins! ="
	b := newBench(t, world, admins)
	b.limits.MaxAdditions = 10
	earlier := now.Add(-time.Hour)
	b.memory = memory.Memory{
		Pending: map[string]time.Time{"kc-dan": earlier, "kc-old": earlier}, FailedAt: earlier, Rules: "",
		Wanted: map[string]time.Time{memory.Key("cm-team", "bob"): earlier, memory.Key("cm-team", "old"): earlier},
	}
	p, in := b.input(t, "")
	corp, _ := in.Source.Catalog().Federation("fed-corp")
	in.Probes = []source.Probe{{Federation: corp, Up: true}}
	j := guard.Judge(p, in)
	before := in.Memory.Clone()
	for _, intended := range []bool{false, true} {
		got := j.Remember(in, "rules", intended)
		want := memory.Memory{
			Federations: map[string]string{"fed-corp": "corp"}, Answered: map[string]bool{"fed-corp": true},
			Groups: map[string]memory.Accepted{
				"cm-team":   {Sources: map[string]string{"/team": "/team"}, Federated: []string{"kc-ann"}, Federations: []string{"fed-corp"}},
				"cm-Admins": {Sources: map[string]string{"/ops": "/ops"}, Federations: []string{"fed-corp"}},
			},
			Wanted: map[string]time.Time{memory.Key("cm-team", "bob"): earlier}, Pending: map[string]time.Time{"kc-dan": earlier, "kc-eve": now}, Rules: "rules",
		}
		if intended {
			want.Removed = []memory.Intent{{At: now, Group: "cm-team", User: "bob"}}
			want.Granted = []memory.Intent{{At: now, Group: "cm-Admins", User: "cid"}}
			want.Added = []memory.Intent{{At: now, Group: "cm-team", User: "ann"}, {At: now, Group: "cm-Admins", User: "cid"}}
		}
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("intended %v: -want +got\n%s", intended, d)
		}
	}
	if d := cmp.Diff(before, in.Memory, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("the memory that was given has changed\n%s", d)
	}
}

// TestOnlyWhatALimitCountsIsIntended: changes without a limit are not remembered. Changes that
// a person approved are not remembered either.
func TestOnlyWhatALimitCountsIsIntended(t *testing.T) {
	const world = "both ann bob cid dan\n/ops: cid\n/team: ann\nteam = bob\nAdmins! ="
	count := func(m memory.Memory) [3]int { return [3]int{len(m.Removed), len(m.Granted), len(m.Added)} }
	for _, tt := range []struct {
		name    string
		change  func(*guard.Limits)
		approve bool
		want    [3]int // removed, granted, added
	}{
		{"every limit is set", func(l *guard.Limits) { l.MaxAdditions = 1000 }, false, [3]int{1, 1, 2}},
		{"max_removals is off", func(l *guard.Limits) { l.MaxRemovals, l.MaxAdditions = 0, 1000 }, false, [3]int{0, 1, 2}},
		{"max_admin_grants is off", func(l *guard.Limits) { l.MaxAdminGrants, l.MaxAdditions = 0, 1000 }, false, [3]int{1, 0, 2}},
		{"max_additions is off", func(l *guard.Limits) {}, false, [3]int{1, 1, 0}},
		{"the plan is approved: what the approval does not name counts", func(l *guard.Limits) { l.MaxAdditions = 1000 }, true, [3]int{0, 0, 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, world, admins)
			tt.change(&b.limits)
			digest := ""
			if tt.approve {
				digest = b.judge(t).Digest
			}
			b.pass(t, digest)
			if got := count(b.memory); got != tt.want {
				t.Errorf("removed, granted, added: got %v, want %v", got, tt.want)
			}
		})
	}
}

// TestWhatIsWithheldIsNotIntended: only cleared changes are remembered.
func TestWhatIsWithheldIsNotIntended(t *testing.T) {
	b := newBench(t, leavers(2, 10))
	b.limits.MaxRemovals = 1
	b.pass(t, "")
	if len(b.memory.Removed) > 0 {
		t.Errorf("removed %v", b.memory.Removed)
	}
}

func TestOldIntentsAreForgotten(t *testing.T) {
	b := newBench(t, "both ann\n/team: ann\nteam = ann")
	b.memory.Removed = append(intents(1, now.Add(-24*time.Hour-1)), intents(2, now.Add(-24*time.Hour))...)
	b.memory.Granted, b.memory.Added = b.memory.Removed, b.memory.Removed
	b.pass(t, "")
	if m := b.memory; len(m.Removed) != 2 || len(m.Granted) != 2 || len(m.Added) != 2 {
		t.Errorf("removed %v, granted %v, added %v", m.Removed, m.Granted, m.Added)
	}
}

// TestAFederationIsForgottenWhenItsLossIsAccepted: until then the guard `fall` needs the
// federation's name.
func TestAFederationIsForgottenWhenItsLossIsAccepted(t *testing.T) {
	b := newBench(t, "federation corp\nboth ann bob\n/team: ann bob\nteam = ann bob")
	b.pass(t, "")
	b.memory.Answered = map[string]bool{"fed-corp": true, "fed-older": true}
	b.memory.Federations["fed-older"] = "older"
	b.Delete("corp")
	b.Add(t, "/team: ann")
	j := b.pass(t, "")
	if d := cmp.Diff(map[string]string{"fed-corp": "corp"}, b.memory.Federations); d != "" || !b.memory.Answered["fed-corp"] || b.memory.Answered["fed-older"] {
		t.Errorf("the fall is not accepted: %s%v", d, b.memory.Answered)
	}
	b.pass(t, j.Digest)
	if len(b.memory.Federations) > 0 || len(b.memory.Answered) > 0 {
		t.Errorf("the fall is accepted: %v, %v", b.memory.Federations, b.memory.Answered)
	}
}

// TestAGroupThatClearMLDoesNotListNeedsNoFederation: the memory keeps the group's own entry, and
// forgets the federation.
func TestAGroupThatClearMLDoesNotListNeedsNoFederation(t *testing.T) {
	b := newBench(t, "federation corp\nboth ann\n/team: ann\nteam = ann\nother =")
	b.pass(t, "")
	b.Delete("corp")
	b.Delete("cm-team")
	b.pass(t, "")
	if len(b.memory.Federations) > 0 || len(b.memory.Groups["cm-team"].Federations) != 1 {
		t.Errorf("federations %v, group %+v", b.memory.Federations, b.memory.Groups["cm-team"])
	}
}

// TestOnlyAFederationThatIsUpHasAnswered: the memory keeps that a federation answered once, also
// while the federation is not up.
func TestOnlyAFederationThatIsUpHasAnswered(t *testing.T) {
	b := newBench(t, "federation corp\nfederation hq away\nboth ann\nclearml eve\n/team: ann\nteam = ann eve")
	b.pass(t, "")
	if d := cmp.Diff(map[string]bool{"fed-corp": true}, b.memory.Answered); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	b.Away["fed-corp"] = true
	b.pass(t, "")
	if d := cmp.Diff(map[string]bool{"fed-corp": true}, b.memory.Answered); d != "" {
		t.Errorf("after it was away: -want +got\n%s", d)
	}
}

// TestTheRulesAreAccepted: the rules are accepted by an approval, or if their change removes
// nobody.
func TestTheRulesAreAccepted(t *testing.T) {
	mapped := func(claim, group string) func(*match.Options) {
		return func(o *match.Options) { o.Mapping = map[string][]string{claim: {group}} }
	}
	for _, tt := range []struct {
		name   string
		before string // the scope in the memory
		scoped bool   // only the changed rules propose a removal
		grant  bool
		world  string // additional lines
		rules  func(*match.Options)
		want   string
	}{
		{name: "the first pass ever", want: "new"},
		{name: "the first pass after an upgrade, whatever is wanted", scoped: true, want: "new"},
		{name: "a change that removes nobody", before: "old", want: "new"},
		{name: "a change that removes somebody", before: "old", scoped: true, want: "old"},
		{name: "a change that removes somebody and is approved", before: "old", scoped: true, grant: true, want: "new"},
		{name: "a change that removes somebody, approved while the views differ", before: "old", scoped: true, grant: true, world: "view team bob", want: "old"},
		{name: "a group is frozen because Keycloak cannot list a source", before: "old", world: "/x: ann\nunreadable /x\nx = bob", want: "old"},
		{name: "a group is frozen because a source is missing", before: "old", world: "x = bob", rules: mapped("taem", "x"), want: "old"},
		{name: "a source is missing that feeds nothing", before: "old", rules: mapped("taem", "y"), want: "old"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, "both ann bob\n/team: ann\nteam = ann bob\n"+tt.world)
			if tt.rules != nil {
				b.Configure(t, tt.rules)
			}
			if tt.scoped {
				b.before = rulesOf(func(o *match.Options) { o.Exclude = []string{"team"} })
			}
			b.memory.Rules = tt.before
			digest := ""
			if tt.grant {
				digest = b.judge(t).Digest
			}
			p, in := b.input(t, digest)
			if got := guard.Judge(p, in).Remember(in, "new", true).Rules; got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestAMemoryOfTheVersionBefore: the memory loads. It has no rules, so no removal comes from
// another scope. Its removals count by number.
func TestAMemoryOfTheVersionBefore(t *testing.T) {
	const text = `{
		"federations": {"fed-corp": "corp"},
		"groups": {"cm-team": {"sources": {"/team": "/team"}, "federated": ["kc-ann"], "federations": ["fed-corp"]}},
		"wanted": {"cm-team/bob": "2026-11-24T11:00:00Z"},
		"removed": [{"at": "2026-11-24T10:00:00Z", "count": 3}, {"at": "2026-11-24T11:00:00Z", "count": 1}],
		"pending": {"kc-dan": "2026-11-23T00:00:00Z"},
		"planned": "2026-11-24T11:00:00Z",
		"failed_at": "0001-01-01T00:00:00Z"
	}`
	b := newBench(t, "federation corp\nboth ann bob cid\nldap ann bob\nkeycloak dan\n/team: ann dan\nteam = ann bob cid")
	if err := json.Unmarshal([]byte(text), &b.memory); err != nil {
		t.Fatal(err)
	}
	b.memory = b.memory.Resumed(now).Settled(b.Target(t).Member)
	b.limits.Grace = time.Hour
	for _, tt := range []struct {
		limit int
		want  []string
	}{
		{6, []string{"-bob@team not_member by id", "-cid@team not_member by id", "?dan@team"}},
		{5, []string{"-bob@team not_member by id [removals]", "-cid@team not_member by id [removals]", "?dan@team"}},
	} {
		b.limits.MaxRemovals = tt.limit
		p, in := b.input(t, "")
		j := guard.Judge(p, in)
		if d := cmp.Diff(tt.want, plantest.Lines(j.Plan)); d != "" {
			t.Errorf("max_removals %d: -want +got\n%s\n%q", tt.limit, d, trips(j))
		}
		m := j.Remember(in, b.Rules.Scope(), true)
		if m.Rules != b.Rules.Scope() || !m.Pending["kc-dan"].Equal(time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("rules %q, pending %v", m.Rules, m.Pending)
		}
	}
	for _, trip := range b.judge(t).Trips {
		if trip.Guard == report.Scope || trip.Guard == report.Fall {
			t.Errorf("the first pass after the upgrade trips %s: %s", trip.Guard, trip.Detail)
		}
	}
}
