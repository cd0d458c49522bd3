package guard_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/guard"
	"groupsync/internal/match"
	"groupsync/internal/memory"
	"groupsync/internal/plan"
	"groupsync/internal/plan/plantest"
	"groupsync/internal/report"
	"groupsync/internal/source"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// wide are limits that no small world reaches.
func wide() guard.Limits {
	return guard.Limits{MaxRemovals: 1000, MaxAdminGrants: 1000, Window: 24 * time.Hour, FreeRemovals: 3, MaxGone: 100}
}

// bench is a world and the input of the guards.
type bench struct {
	*plantest.World
	limits guard.Limits
	memory memory.Memory
	before *match.Rules // rules of the last accepted pass, if they differ; nil: the same rules
	seen   []source.Witness
	at     time.Time

	suspended memory.Suspension
}

func newBench(tb plantest.TB, world string, rules ...func(*match.Options)) *bench {
	tb.Helper()
	return &bench{World: plantest.New(tb, world, rules...), limits: wide(), at: now}
}

// input returns the plan and the input of the guards.
func (b *bench) input(tb plantest.TB, approve string) (plan.Plan, guard.Input) {
	tb.Helper()
	p := b.Pass(tb)
	in := guard.Input{Source: p.Source, Target: p.Target, Probes: p.Confirmation.Probes, Limits: b.limits, Memory: b.memory, Now: b.at, Approve: approve, Witnesses: b.seen, Suspended: b.suspended.Current(b.at)}
	if b.before != nil {
		in.Scoped = b.World.Scoped(tb, *b.before, p)
	}
	return p.Weighed, in
}

func (b *bench) judge(tb plantest.TB) guard.Judged {
	tb.Helper()
	return b.approve(tb, "")
}

func (b *bench) approve(tb plantest.TB, digest string) guard.Judged {
	tb.Helper()
	p, in := b.input(tb, digest)
	return guard.Judge(p, in)
}

// pass judges the plan and keeps the memory, as if the cleared changes were written and read
// back.
func (b *bench) pass(tb plantest.TB, digest string) guard.Judged {
	tb.Helper()
	p, in := b.input(tb, digest)
	j := guard.Judge(p, in)
	b.memory = j.Remember(in, b.Rules.Scope(), true)
	return j
}

// trips returns the trips as text: "guard group: detail".
func trips(j guard.Judged) (lines []string) {
	for _, t := range j.Trips {
		lines = append(lines, strings.TrimSpace(string(t.Guard)+" "+t.Group)+": "+t.Detail)
	}
	return lines
}

// cleared returns the cleared changes as text: "team +ann -bob".
func cleared(j guard.Judged) (lines []string) {
	for _, w := range j.Cleared.Writes() {
		line := w.Group.Name
		for _, c := range w.Add {
			line += " +" + c.User.ID
		}
		for _, c := range w.Remove {
			line += " -" + c.User.ID
		}
		lines = append(lines, line)
	}
	return lines
}

func admins(o *match.Options) { o.AdminGroups = []string{"ops"} }
func byRole(o *match.Options) { o.AdminGroups, o.AdminVia = []string{"ops"}, match.ViaRole }
func both(o *match.Options)   { o.AdminGroups, o.AdminVia = []string{"ops"}, match.ViaBoth }

// names returns n names as text: "p01 p02 …".
func names(prefix string, n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("%s%02d", prefix, i+1))
	}
	return strings.Join(all, " ")
}

// leavers is a world in which the given number of a group's members leave.
func leavers(leave, of int) string {
	stay := names("p", of)[:max(0, 4*(of-leave)-1)]
	return fmt.Sprintf("both %s\n/team: %s\nteam = %s", names("p", of), stay, names("p", of))
}

// intents returns n remembered changes at that time.
func intents(n int, at time.Time) (all []memory.Intent) {
	for i := range n {
		all = append(all, memory.Intent{At: at, Group: "cm-old", User: fmt.Sprint("u", i)})
	}
	return all
}

// TestGuards has rows for each guard that judges a plan, with the full text of its trip.
func TestGuards(t *testing.T) {
	tripped := make(map[report.Guard]bool)
	for _, tt := range []struct {
		name   string
		world  string
		rules  func(*match.Options)
		change func(*bench)
		want   []string // the plan, with the guard of each change
		trips  []string
	}{
		// suspended
		{name: "a suspension withholds every change, of administrators too",
			world: "both ann bob\n/team: ann\nteam = bob\n/ops: ann\nAdmins! =", rules: admins, change: suspend(false),
			want:  []string{"+ann@team from /team by id [suspended]", "-bob@team not_member by id [suspended]", "+ann@Admins from /ops by id [suspended]"},
			trips: []string{`suspended: all writing is suspended until 2026-11-24T13:00:00Z ("move\nof LDAP"): 3 changes are withheld; the suspension ends by itself, or by groupsync resume`}},
		{name: "a suspension of removals lets additions through, with on_trip: stop too",
			world: "both ann bob\n/team: ann\nteam = bob", change: func(b *bench) { suspend(true)(b); b.limits.Stop = true },
			want:  []string{"+ann@team from /team by id", "-bob@team not_member by id [suspended]"},
			trips: []string{`suspended: the removal of members is suspended until 2026-11-24T13:00:00Z ("move\nof LDAP"): 1 changes are withheld; the suspension ends by itself, or by groupsync resume`}},
		{name: "a suspension trips where nothing differs, so that every report tells of it",
			world: "both ann\n/team: ann\nteam = ann", change: suspend(false),
			want:  []string{},
			trips: []string{`suspended: all writing is suspended until 2026-11-24T13:00:00Z ("move\nof LDAP"): 0 changes are withheld; the suspension ends by itself, or by groupsync resume`}},
		{name: "a suspension that has ended withholds nothing",
			world: "both ann\n/team: ann\nteam =", change: func(b *bench) { suspend(false)(b); b.at = b.at.Add(time.Hour) },
			want: []string{"+ann@team from /team by id"}},
		{name: "beside a suspension other guards still trip, and a change names the suspension",
			world: "federation corp away\nboth ann\nldap ann\n/team: ann\nteam =", change: suspend(false),
			want: []string{"+ann@team from /team by id (away) [suspended]"},
			trips: []string{`suspended: all writing is suspended until 2026-11-24T13:00:00Z ("move\nof LDAP"): 1 changes are withheld; the suspension ends by itself, or by groupsync resume`,
				`federation: the federation "corp" is not up (status 500): 1 changes that depend on it are withheld, and its people keep their memberships; check that its server answers Keycloak; if it stays switched off, or never answers a probe although it works, name it in keycloak.trusted_federations`}},
		// federation
		{name: "the people of a federation that is not up keep what they have, others go on",
			world: "federation corp away\nboth ann bob cid\nldap ann bob\n/team: ann\nteam = bob cid",
			want:  []string{"+ann@team from /team by id (away) [federation]", "-bob@team not_member by id (away) [federation]", "-cid@team not_member by id"},
			trips: []string{`federation: the federation "corp" is not up (status 500): 2 changes that depend on it are withheld, and its people keep their memberships; check that its server answers Keycloak; if it stays switched off, or never answers a probe although it works, name it in keycloak.trusted_federations`}},
		{name: "a federation that is switched off is told so",
			world: "federation corp off\nboth ann bob\nldap bob\n/team: ann\nteam = ann bob",
			want:  []string{"-bob@team not_member by id (away) [federation]"},
			trips: []string{`federation: the federation "corp" is not up (status 500): 1 changes that depend on it are withheld, and its people keep their memberships; enable it again, or delete it in Keycloak if its people must lose their memberships; if it stays switched off, or never answers a probe although it works, name it in keycloak.trusted_federations`}},
		{name: "a federation that is not up and that nothing rests on trips nothing",
			world: "federation corp away\nboth ann bob\n/team: ann\nteam = ann bob",
			want:  []string{"-bob@team not_member by id"}},
		{name: "a trusted federation trips nothing",
			world: "federation corp away trusted\nboth ann bob\nldap bob\n/team: ann\nteam = ann bob",
			want:  []string{"-bob@team not_member by id"}},
		{name: "each federation trips by itself",
			world: "federation corp away\nfederation hq away\nboth ann bob cid\nldap ann\nkeycloak bob ldap=hq\n/team: cid\nteam = ann bob cid",
			want:  []string{"-ann@team not_member by id (away) [federation]", "-bob@team not_member by id (away) [federation]"},
			trips: []string{
				`federation: the federation "corp" is not up (status 500): 1 changes that depend on it are withheld, and its people keep their memberships; check that its server answers Keycloak; if it stays switched off, or never answers a probe although it works, name it in keycloak.trusted_federations`,
				`federation: the federation "hq" is not up (status 500): 1 changes that depend on it are withheld, and its people keep their memberships; check that its server answers Keycloak; if it stays switched off, or never answers a probe although it works, name it in keycloak.trusted_federations`}},
		{name: "people of a federation that could not be probed",
			world:  "federation corp\nboth ann bob\nldap bob\n/team: ann\nteam = ann bob",
			change: func(b *bench) { b.Second = func(s *source.SecondLook) { s.Probes = nil } },
			want:   []string{"-bob@team not_member by id (away) [federation]"},
			trips:  []string{"federation: 1 changes are withheld: they depend on federations that this pass could not probe; if the next pass reports the same, look for the failed probes in the log"}},

		// confirm
		{name: "a removal and an addition that the second look did not confirm",
			world: "both ann bob cid dan\n/team: ann bob\nteam = cid dan",
			change: func(b *bench) {
				b.Second = func(s *source.SecondLook) {
					s.Members["/team"] = slices.DeleteFunc(s.Members["/team"], func(u source.User) bool { return u.ID == "kc-ann" })
					s.Members["/team"] = append(s.Members["/team"], source.User{ID: "kc-cid", Enabled: true})
				}
			},
			want:  []string{"+ann@team from /team by id (unclear) [confirm]", "+bob@team from /team by id", "-cid@team not_member by id (unclear) [confirm]", "-dan@team not_member by id"},
			trips: []string{"confirm team: the second look did not confirm 2 of 4 changes (the first unconfirmed change: the second read of the Keycloak group /team does not list the account): they are withheld, and the next pass checks them again"}},

		// missing_source
		{name: "a source that does not exist freezes the user group, others go on",
			world: "both ann bob\n/team: ann\nteam = bob\nx = bob", rules: func(o *match.Options) { o.Mapping = map[string][]string{"taem": {"x"}, "tame": {"x"}} },
			want: []string{"+ann@team from /team by id", "-bob@team not_member by id", `frozen x: no group "taem"`, `frozen x: no group "tame"`},
			trips: []string{
				`missing_source x: the Keycloak group "taem", named in groups.mapping, does not exist: the user group is frozen; create it or correct the configuration; did you mean "team"?`,
				`missing_source x: the Keycloak group "tame", named in groups.mapping, does not exist: the user group is frozen; create it or correct the configuration; did you mean "team"?`}},
		{name: "a role that does not exist freezes the administrators",
			world: "both ann bob\nrole bosses: ann\nrole Boss: ann\n/ops: ann\nAdmins! = bob", rules: func(o *match.Options) { o.AdminRole = "boss" },
			want:  []string{`frozen Admins: no role "boss"`},
			trips: []string{`missing_source Admins: the Keycloak role "boss", named in admins.role, does not exist: the user group is frozen; create it or correct the configuration; did you mean "Boss" or "bosses"?`}},
		{name: "A1: a source that Keycloak cannot list freezes the user group",
			world: "both ann bob\n/team: ann\nunreadable /team\nteam = bob",
			want:  []string{"frozen team: status 400"},
			trips: []string{"missing_source team: Keycloak cannot list the members of a group that feeds this user group, which is frozen (status 400). Known causes: two LDAP groups of one name under the mapper's base (rename one, or exclude the group), and in Keycloak 26.0 and older an LDAP server that is away"}},
		{name: "what feeds nothing that there is",
			world: "both ann bob\n/team: ann\nteam = bob", rules: func(o *match.Options) {
				o.AdminGroups = []string{"opps"}
				o.Mapping = map[string][]string{"x": {"y"}}
			},
			want: []string{"+ann@team from /team by id", "-bob@team not_member by id"},
			trips: []string{
				`missing_source: ClearML did not return exactly one user group "Admins" that is built in and assignable (users can be added and removed). Its members were not synchronized. Check these three points in ClearML, or set admins.via to role, or remove admins.groups and admins.role`,
				`missing_source: the Keycloak group "opps", named in admins.groups, does not exist: nothing is synchronized from it; create it or correct the configuration`,
				`missing_source: the Keycloak group "x", named in groups.mapping, does not exist: nothing is synchronized from it; create it or correct the configuration`}},

		// collision
		{name: "C1: a second group of the admin group's name makes nobody an administrator, and nobody ceases to be one",
			world: "both ann bob cid\n/ops: ann\n/x/ops: cid\nAdmins! = ann bob", rules: admins,
			want:  []string{"+cid@Admins from /x/ops by id [collision]", "-bob@Admins not_member by id"},
			trips: []string{`collision Admins: several Keycloak groups have the name "ops" of admins.groups ("/ops", "/x/ops"): nobody becomes an administrator through that name, and 1 new administrators are withheld; write the path of the right group into admins.groups`}},
		{name: "C1: with the path only that group counts",
			world: "both ann bob cid\n/ops: ann\n/x/ops: cid\nAdmins! = bob", rules: func(o *match.Options) { o.AdminGroups = []string{"/ops"} },
			want: []string{"+ann@Admins from /ops by id", "-bob@Admins not_member by id"}},
		{name: "a collision that withholds nothing is told all the same",
			world: "both ann\n/ops: ann\n/x/ops:\nAdmins! = ann", rules: admins,
			want:  []string{},
			trips: []string{`collision Admins: several Keycloak groups have the name "ops" of admins.groups ("/ops", "/x/ops"): nobody becomes an administrator through that name; write the path of the right group into admins.groups`}},
		{name: "a collision withholds no grant that another name makes",
			world: "both ann bob\n/ops: ann\n/x/ops:\n/sec: ann\nAdmins! = bob", rules: func(o *match.Options) { o.AdminGroups = []string{"ops", "sec"} },
			want:  []string{"+ann@Admins from /sec by id", "-bob@Admins not_member by id"},
			trips: []string{`collision Admins: several Keycloak groups have the name "ops" of admins.groups ("/ops", "/x/ops"): nobody becomes an administrator through that name; write the path of the right group into admins.groups`}},

		// views
		{name: "a group that ClearML shows differently from its two sides is not written, others are",
			world: "both ann bob\n/team: ann\n/x: ann\nteam = bob\nx = bob\nview team bob",
			want:  []string{"+ann@team from /team by id [views]", "-bob@team not_member by id [views]", "+ann@x from /x by id", "-bob@x not_member by id"},
			trips: []string{"views team: ClearML's two views of this group disagree after a second read (1 members only in the group's list, 0 only in the users' own lists, 0 in both): the group is not written; look at the group in ClearML"}},
		{name: "views that disagree trip nothing where nothing is to be written",
			world: "both ann\n/team: ann\nteam = ann\nview team ann", want: []string{}},

		// ambiguous
		{name: "B8: an administrator who stays because several accounts could be the person",
			world: "both ann\nkeycloak b1 email=b@x\nkeycloak b2 email=b@x\nclearml b email=b@x\nkeycloak new email=eve@example.com\nclearml eve id=kc-old\n/ops: ann b1 new\n/team: b2\nteam =\nAdmins! = ann b eve", rules: admins,
			want:  []string{"=b@Admins ambiguous", "=eve@Admins rekeyed"},
			trips: []string{"ambiguous Admins: groupsync cannot tell which Keycloak account 2 administrators have. At least one possible account of each is still an administrator in Keycloak, so nobody was removed. The report names them under kept; correct the email or the sign-in in ClearML, or remove the administrator there"}},
		{name: "somebody ambiguous in another group trips nothing",
			world: "both ann\nkeycloak new email=eve@example.com\nclearml eve id=kc-old\n/team: ann new\nteam = ann eve",
			want:  []string{"=eve@team rekeyed"}},
		{name: "an administrator who stays for another reason trips nothing",
			world: "both ann\nclearml eve local\n/ops: ann\nAdmins! = ann eve", rules: admins,
			want: []string{"=eve@Admins local"}},

		// admins
		{name: "too few administrators would remain",
			world: "both ann bob cid\n/ops: ann cid\nAdmins! = ann bob", rules: admins, change: func(b *bench) { b.limits.Floor = 2 },
			want:  []string{"+cid@Admins from /ops by id", "-bob@Admins not_member by id [admins]"},
			trips: []string{"admins Admins: 1 administrators would remain, admins.floor is 2: the removals of administrators are withheld; first make another person an administrator in Keycloak; a new administrator counts from the pass after the addition"}},
		{name: "few administrators of whom none is removed trip nothing",
			world: "both ann\n/ops: ann\nAdmins! = ann", rules: admins, change: func(b *bench) { b.limits.Floor = 2 }, want: []string{}},
		{name: "the floor is of administrators only",
			world: "both ann bob\n/team: ann\nteam = ann bob", change: func(b *bench) { b.limits.Floor = 2 }, want: []string{"-bob@team not_member by id"}},

		// scope
		{name: "C4: a removal that only a changed mapping wants",
			world: "both ann bob cid\n/team: ann bob\n/x: ann\nteam = ann bob cid\nx = ann bob",
			change: func(b *bench) {
				b.before = rulesOf(func(o *match.Options) { o.Mapping = map[string][]string{"team": {"team", "x"}} })
			},
			want:  []string{"-cid@team not_member by id", "-bob@x not_member by id [scope]"},
			trips: []string{"scope x: 1 removals are wanted only because groups or admins in the configuration changed after the last accepted pass: they are withheld; if the change is intended, approve them"}},
		{name: "C4: a removal that only a changed admins.groups wants",
			world: "both ann bob\n/ops: ann\n/sec: bob\nAdmins! = ann bob", rules: admins,
			change: func(b *bench) {
				b.before = rulesOf(func(o *match.Options) { o.AdminGroups = []string{"ops", "sec"} })
			},
			want:  []string{"-bob@Admins not_member by id [scope]"},
			trips: []string{"scope Admins: 1 removals are wanted only because groups or admins in the configuration changed after the last accepted pass: they are withheld; if the change is intended, approve them"}},
		{name: "C4: a changed Keycloak group is no scope, also where the configuration changed",
			world:  "both ann bob\n/team: ann\nteam = ann bob",
			change: func(b *bench) { b.before = rulesOf(func(o *match.Options) { o.Exclude = []string{"other"} }) },
			want:   []string{"-bob@team not_member by id"}},
		{name: "a group that the configuration before left alone",
			world:  "both ann bob\n/team: ann\nteam = bob",
			change: func(b *bench) { b.before = rulesOf(func(o *match.Options) { o.Exclude = []string{"team"} }) },
			want:   []string{"+ann@team from /team by id", "-bob@team not_member by id [scope]"},
			trips:  []string{"scope team: 1 removals are wanted only because groups or admins in the configuration changed after the last accepted pass: they are withheld; if the change is intended, approve them"}},

		// fall
		{name: "the federated members of a group fell to none",
			world:  "federation corp\nboth ann bob cid\nldap ann\n/team: bob\nteam = ann bob cid",
			change: accepted(memory.Accepted{Sources: map[string]string{"/team": "/team"}, Federations: []string{"fed-corp"}, Federated: []string{"kc-ann"}}),
			want:   []string{"-ann@team not_member by id [fall]", "-cid@team not_member by id"},
			trips:  []string{"fall team: since the last accepted pass its federated members fell from 1 to none: 1 removals are withheld; if they are correct, approve them"}},
		{name: "A6: a fall of federated members holds up nobody who was local: neither who left nor who is gone by id",
			world:  "federation corp\nboth ann bob cid\nldap ann\nclearml was-ldap id=kc-was-ldap\nclearml was-local id=kc-was-local\nclearml was-remote id=f:fed-corp:9\nclearml nameless\n/team: bob\nteam = ann bob cid nameless was-ldap was-local was-remote",
			change: accepted(memory.Accepted{Sources: map[string]string{"/team": "/team"}, Federations: []string{"fed-corp"}, Federated: []string{"kc-ann", "kc-was-ldap"}}),
			want: []string{"-ann@team not_member by id [fall]", "-cid@team not_member by id", "-nameless@team gone [fall]",
				"-was-ldap@team gone [fall]", "-was-local@team gone", "-was-remote@team gone [fall]"},
			trips: []string{"fall team: since the last accepted pass its federated members fell from 2 to none: 4 removals are withheld; if they are correct, approve them"}},
		{name: "a source has a new id under its old name",
			world:  "both ann bob cid\n/team: ann cid\nid /team 2\nteam = ann bob",
			change: accepted(memory.Accepted{Sources: map[string]string{"1": "/team"}}),
			want:   []string{"+cid@team from /team by id", "-bob@team not_member by id [fall]"},
			trips:  []string{"fall team: since the last accepted pass the Keycloak group /team (id 1) is gone or has a new id: 1 removals are withheld; if they are correct, approve them"}},
		{name: "a federation is gone",
			world: "both ann bob\nclearml cid id=kc-cid\n/team: ann\nteam = ann bob cid",
			change: func(b *bench) {
				accepted(memory.Accepted{Sources: map[string]string{"/team": "/team"}, Federations: []string{"fed-corp"}, Federated: []string{"kc-cid"}})(b)
				b.memory.Federations = map[string]string{"fed-corp": "corp"}
			},
			want:  []string{"-bob@team not_member by id", "-cid@team gone [fall]"},
			trips: []string{`fall team: since the last accepted pass the federation "corp" (id fed-corp) is gone or has a new id: 1 removals are withheld; if they are correct, approve them`}},
		{name: "a fall without removals trips nothing",
			world:  "both ann cid\n/team: ann cid\nteam = ann",
			change: accepted(memory.Accepted{Sources: map[string]string{"1": "/team"}}),
			want:   []string{"+cid@team from /team by id"}},
		{name: "a fall counts only removals that have evidence",
			world:  "federation corp away\nboth ann bob cid\nldap bob\n/team: ann\nteam = ann bob cid",
			change: accepted(memory.Accepted{Sources: map[string]string{"1": "/team"}}),
			want:   []string{"-bob@team not_member by id (away) [federation]", "-cid@team not_member by id [fall]"},
			trips: []string{
				`federation: the federation "corp" is not up (status 500): 1 changes that depend on it are withheld, and its people keep their memberships; check that its server answers Keycloak; if it stays switched off, or never answers a probe although it works, name it in keycloak.trusted_federations`,
				"fall team: since the last accepted pass the Keycloak group /team (id 1) is gone or has a new id: 1 removals are withheld; if they are correct, approve them"}},
		{name: "a group without federated members has not fallen",
			world:  "federation corp\nboth ann bob\nldap bob\n/team: ann\nteam = ann bob",
			change: accepted(memory.Accepted{Sources: map[string]string{"/team": "/team"}, Federations: []string{"fed-corp"}}),
			want:   []string{"-bob@team not_member by id"}},
		{name: "a group that was as it is trips nothing",
			world:  "federation corp\nboth ann bob cid\nldap ann\n/team: ann bob\nteam = ann bob cid",
			change: accepted(memory.Accepted{Sources: map[string]string{"/team": "/team"}, Federations: []string{"fed-corp"}, Federated: []string{"kc-ann"}}),
			want:   []string{"-cid@team not_member by id"}},

		// removals
		{name: "more removals than max_removals withhold all of them, additions go on",
			world: "both ann bob cid\n/team: ann\nteam = bob cid", change: func(b *bench) { b.limits.MaxRemovals = 1 },
			want:  []string{"+ann@team from /team by id", "-bob@team not_member by id [removals]", "-cid@team not_member by id [removals]"},
			trips: []string{"removals: 2 removals are wanted and 0 were made within 24h0m0s, guards.max_removals is 1: all removals are withheld; if they are correct, approve them"}},
		{name: "a full window trips nothing where nothing is wanted",
			world: "both ann bob\n/team: ann\nteam =", change: func(b *bench) { b.limits.MaxRemovals, b.memory.Removed = 1, intents(5, now) },
			want: []string{"+ann@team from /team by id"}},
		{name: "a group that loses too large a share keeps its people, other groups go on",
			world: "both a b c d e f g\n/big: a g\n/small: a\nbig = a b c d e f\nsmall = a b", change: func(b *bench) { b.limits.MaxRatio = 0.8 },
			want: []string{"+g@big from /big by id", "-b@big not_member by id [removals]", "-c@big not_member by id [removals]", "-d@big not_member by id [removals]",
				"-e@big not_member by id [removals]", "-f@big not_member by id [removals]", "-b@small not_member by id"},
			trips: []string{"removals big: 5 of its 6 members would be removed (83 %), guards.max_removal_ratio is 0.8 and guards.free_removals 3: the group's removals are withheld; if they are correct, approve them"}},
		{name: "more than the ratio of all managed memberships withholds every removal",
			world: "both a b c d e\n/x: a\n/y: a e\nx = a b c\ny = a c d", change: func(b *bench) { b.limits.MaxRatio = 0.5 },
			want:  []string{"-b@x not_member by id [removals]", "-c@x not_member by id [removals]", "+e@y from /y by id", "-c@y not_member by id [removals]", "-d@y not_member by id [removals]"},
			trips: []string{"removals: 4 of all 6 managed memberships would be removed (67 %), guards.max_removal_ratio is 0.5 and guards.free_removals 3: all removals are withheld; if they are correct, approve them"}},
		{name: "E5: one leaver of three memberships goes out by itself",
			world: "both a b\n/x: a\n/y: a\nx = a b\ny = a", change: func(b *bench) { b.limits.MaxRatio = 0.25 },
			want: []string{"-b@x not_member by id"}},

		// gone
		{name: "more people gone than max_gone withhold every removal, additions go on",
			world: "both ann bob cid\nclearml e1\nclearml e2\n/team: ann cid\nteam = ann bob e1 e2", change: func(b *bench) { b.limits.MaxGone = 1 },
			want:  []string{"+cid@team from /team by id", "-bob@team not_member by id [gone]", "-e1@team gone [gone]", "-e2@team gone [gone]"},
			trips: []string{"gone: 2 people are gone from Keycloak at once, guards.max_gone is 1: all removals are withheld; if these people were deleted on purpose, approve the removals"}},
		{name: "somebody gone from two groups is one person",
			world: "both ann\nclearml e1\n/team: ann\n/x: ann\nteam = ann e1\nx = ann e1", change: func(b *bench) { b.limits.MaxGone = 1 },
			want: []string{"-e1@team gone", "-e1@x gone"}},
		{name: "somebody rekeyed is gone too",
			world: "both ann\nclearml e1\nkeycloak new email=e2@example.com\nclearml e2 id=kc-e2\n/team: ann\nteam = ann e1 e2", change: func(b *bench) { b.limits.MaxGone = 1 },
			want:  []string{"-e1@team gone [gone]", "-e2@team not_member by email [gone]"},
			trips: []string{"gone: 2 people are gone from Keycloak at once, guards.max_gone is 1: all removals are withheld; if these people were deleted on purpose, approve the removals"}},

		// grants
		{name: "C2: more new administrators than max_admin_grants withhold all of them, other additions and removals go on",
			world: "both ann bob cid dan\n/ops: ann bob\n/team: cid\nteam =\nAdmins! = dan", rules: admins, change: func(b *bench) { b.limits.MaxAdminGrants = 1 },
			want:  []string{"+cid@team from /team by id", "+ann@Admins from /ops by id [grants]", "+bob@Admins from /ops by id [grants]", "-dan@Admins not_member by id"},
			trips: []string{"grants: 2 new administrators are wanted and 0 were made within 24h0m0s, guards.max_admin_grants is 1: all new administrators are withheld; if they are correct, approve them"}},
		{name: "C2: the role slipped into the default roles makes no administrators",
			world: "both a b c d\n/ops: a\nrole boss: a b c d\nAdmins! =", rules: func(o *match.Options) { o.AdminRole = "boss" }, change: func(b *bench) { b.limits.MaxAdminGrants = 3 },
			want:  []string{"+a@Admins from role boss by id [grants]", "+b@Admins from role boss by id [grants]", "+c@Admins from role boss by id [grants]", "+d@Admins from role boss by id [grants]"},
			trips: []string{"grants: 4 new administrators are wanted and 0 were made within 24h0m0s, guards.max_admin_grants is 3: all new administrators are withheld; if they are correct, approve them"}},
		{name: "more additions than max_additions withhold all of them, removals go on",
			world: "both ann bob cid\n/team: ann bob\nteam = cid", change: func(b *bench) { b.limits.MaxAdditions = 1 },
			want:  []string{"+ann@team from /team by id [grants]", "+bob@team from /team by id [grants]", "-cid@team not_member by id"},
			trips: []string{"grants: 2 additions are wanted and 0 were made within 24h0m0s, guards.max_additions is 1: all additions are withheld; if they are correct, approve them"}},
		{name: "admins.via both: somebody who gains the group and the role is one new administrator",
			world: "both ann bob\n/ops: ann bob\nAdmins! =", rules: both, change: func(b *bench) { b.limits.MaxAdminGrants = 2 },
			want: []string{"+ann@Admins from /ops by id", "+bob@Admins from /ops by id", "+ann@role admin from /ops by id", "+bob@role admin from /ops by id"}},
		{name: "admins.via both: one new administrator too many withholds the group and the role",
			world: "both ann bob\n/ops: ann bob\nAdmins! =", rules: both, change: func(b *bench) { b.limits.MaxAdminGrants = 1 },
			want:  []string{"+ann@Admins from /ops by id [grants]", "+bob@Admins from /ops by id [grants]", "+ann@role admin from /ops by id [grants]", "+bob@role admin from /ops by id [grants]"},
			trips: []string{"grants: 2 new administrators are wanted and 0 were made within 24h0m0s, guards.max_admin_grants is 1: all new administrators are withheld; if they are correct, approve them"}},
		{name: "admins.via role: the floor counts those who keep the role",
			world: "both ann\nclearml bob role=admin id=kc-bob\nkeycloak bob\n/ops:\n/x: ann bob\nx = ann bob", rules: byRole, change: func(b *bench) { b.limits.Floor = 1 },
			want:  []string{"-bob@role admin not_member by id [admins]"},
			trips: []string{"admins role admin: 0 administrators would remain, admins.floor is 1: the removals of administrators are withheld; first make another person an administrator in Keycloak; a new administrator counts from the pass after the addition"}},
		{name: "new administrators by a name that collides do not count toward max_admin_grants",
			world: "both a b c\n/ops: a\n/x/ops: b\n/sec: c\nAdmins! =", rules: func(o *match.Options) { o.AdminGroups = []string{"ops", "sec"} }, change: func(b *bench) { b.limits.MaxAdminGrants = 1 },
			want:  []string{"+a@Admins from /ops by id [collision]", "+b@Admins from /x/ops by id [collision]", "+c@Admins from /sec by id"},
			trips: []string{`collision Admins: several Keycloak groups have the name "ops" of admins.groups ("/ops", "/x/ops"): nobody becomes an administrator through that name, and 2 new administrators are withheld; write the path of the right group into admins.groups`}},

		// grace
		{name: "a removal that rests on a federation waits",
			world: "federation corp\nboth ann bob cid\nldap bob\n/team: ann\nteam = ann bob cid", change: func(b *bench) { b.limits.Grace = time.Hour },
			want:  []string{"-bob@team not_member by id [grace]", "-cid@team not_member by id"},
			trips: []string{"grace: 1 removals depend on a federation and wait until every pass has wanted them for 1h0m0s; the first pass after that makes them"}},
		{name: "a removal that rests on a federation and is known says when it is due",
			world: "federation corp\nboth ann bob cid\nldap bob cid\n/team: ann\nteam = ann bob cid",
			change: func(b *bench) {
				b.limits.Grace = time.Hour
				b.memory.Wanted = map[string]time.Time{memory.Key("cm-team", "bob"): now.Add(-20 * time.Minute), memory.Key("cm-team", "cid"): now.Add(-40 * time.Minute)}
			},
			want:  []string{"-bob@team not_member by id [grace]", "-cid@team not_member by id [grace]"},
			trips: []string{"grace: 2 removals depend on a federation and wait until every pass has wanted them for 1h0m0s; the last of them is due at 2026-11-24T12:40:00Z"}},
		{name: "a single pass cannot wait",
			world: "federation corp\nboth ann bob\nldap bob\n/team: ann\nteam = ann bob", change: func(b *bench) { b.limits.Grace, b.limits.Forgets = time.Hour, true },
			want:  []string{"-bob@team not_member by id [grace]"},
			trips: []string{"grace: 1 removals depend on a federation and wait until every pass has wanted them for 1h0m0s; a single pass cannot wait: set state_dir, so that later passes remember the time, or set guards.federation_grace: 0s"}},
		{name: "A8: an account that something else disables waits, local or not",
			world: "both ann bob cid\ndisable bob elsewhere\ndisable cid\n/team: ann\nteam = ann bob cid\n/x: bob cid\nx =", change: func(b *bench) { b.limits.Grace = time.Hour },
			want:  []string{"-bob@team disabled by id [grace]", "-cid@team disabled by id"},
			trips: []string{"grace: 1 removals depend on a federation and wait until every pass has wanted them for 1h0m0s; the first pass after that makes them"}},
		{name: "B4: a removal that rests on an email alone waits longer",
			world: "both ann\nclearml eve\nclearml fay id=kc-fay\n/team: ann\nteam = ann eve fay", change: func(b *bench) { b.limits.GoneGrace = 24 * time.Hour },
			want:  []string{"-eve@team gone [grace]", "-fay@team gone"},
			trips: []string{"grace: 1 removals depend on an email alone, because ClearML keeps no account id of the person, and wait until every pass has wanted them for 24h0m0s; the first pass after that makes them"}},
		{name: "a removal that rests on an email alone cannot wait in a single pass",
			world: "both ann\nclearml eve\n/team: ann\nteam = ann eve", change: func(b *bench) { b.limits.GoneGrace, b.limits.Forgets = 24*time.Hour, true },
			want:  []string{"-eve@team gone [grace]"},
			trips: []string{"grace: 1 removals depend on an email alone, because ClearML keeps no account id of the person, and wait until every pass has wanted them for 24h0m0s; a single pass cannot wait: set state_dir, so that later passes remember the time, or set guards.gone_grace: 0s"}},
		{name: "in a realm with federations a removal by the email alone waits for the longer grace",
			world: "federation corp\nboth ann\nclearml eve\n/team: ann\nteam = ann eve", change: func(b *bench) { b.limits.GoneGrace, b.limits.Grace = time.Hour, 2*time.Hour },
			want:  []string{"-eve@team gone [grace]"},
			trips: []string{"grace: 1 removals depend on an email alone, because ClearML keeps no account id of the person, and wait until every pass has wanted them for 2h0m0s; the first pass after that makes them"}},
		{name: "without a gone_grace a removal by the email alone waits like any other",
			world: "federation corp\nboth ann\nclearml eve\n/team: ann\nteam = ann eve", change: func(b *bench) { b.limits.Grace = time.Hour },
			want:  []string{"-eve@team gone [grace]"},
			trips: []string{"grace: 1 removals depend on an email alone, because ClearML keeps no account id of the person, and wait until every pass has wanted them for 1h0m0s; the first pass after that makes them"}},
		{name: "an admin event that explains the removal ends its grace, and nobody else's",
			world: "federation corp\nboth ann bob cid\nldap bob cid\n/team: ann\nteam = ann bob cid",
			change: func(b *bench) {
				b.limits.Grace = time.Hour
				b.seen = []source.Witness{{Account: "kc-bob", Group: "/team"}}
			},
			want:  []string{"-bob@team not_member by id", "-cid@team not_member by id [grace]"},
			trips: []string{"grace: 1 removals depend on a federation and wait until every pass has wanted them for 1h0m0s; the first pass after that makes them"}},
		{name: "an admin event about another group explains nothing",
			world: "federation corp\nboth ann bob\nldap bob\n/team: ann\n/x:\nx =\nteam = ann bob",
			change: func(b *bench) {
				b.limits.Grace = time.Hour
				b.seen = []source.Witness{{Account: "kc-bob", Group: "/x"}, {Account: "kc-bob"}}
			},
			want:  []string{"-bob@team not_member by id [grace]"},
			trips: []string{"grace: 1 removals depend on a federation and wait until every pass has wanted them for 1h0m0s; the first pass after that makes them"}},
		{name: "an admin event about one of two groups that feed the user group explains nothing: the person may have been in the other",
			world: "federation corp\nboth ann bob\nldap bob\n/team: ann\n/a/team: ann\nteam = ann bob",
			change: func(b *bench) {
				b.limits.Grace = time.Hour
				b.seen = []source.Witness{{Account: "kc-bob", Group: "/team"}}
			},
			want:  []string{"-bob@team not_member by id [grace]"},
			trips: []string{"grace: 1 removals depend on a federation and wait until every pass has wanted them for 1h0m0s; the first pass after that makes them"}},
		{name: "an admin event about the account explains that the account is disabled",
			world: "both ann bob\ndisable bob elsewhere\n/team: ann\nteam = ann bob\n/x: bob\nx =",
			change: func(b *bench) {
				b.limits.Grace = time.Hour
				b.seen = []source.Witness{{Account: "kc-bob"}}
			},
			want: []string{"-bob@team disabled by id"}},
		{name: "an admin event about a group does not explain that the account is disabled",
			world: "both ann bob\ndisable bob elsewhere\n/team: ann\nteam = ann bob\n/x: bob\nx =",
			change: func(b *bench) {
				b.limits.Grace = time.Hour
				b.seen = []source.Witness{{Account: "kc-bob", Group: "/team"}}
			},
			want:  []string{"-bob@team disabled by id [grace]"},
			trips: []string{"grace: 1 removals depend on a federation and wait until every pass has wanted them for 1h0m0s; the first pass after that makes them"}},
		{name: "an admin event ends no grace of somebody who is known by the email only",
			world: "federation corp\nboth ann\nclearml eve\n/team: ann\nteam = ann eve",
			change: func(b *bench) {
				b.limits.Grace, b.limits.GoneGrace = time.Hour, time.Hour
				b.seen = []source.Witness{{Account: "kc-eve"}}
			},
			want:  []string{"-eve@team gone [grace]"},
			trips: []string{"grace: 1 removals depend on an email alone, because ClearML keeps no account id of the person, and wait until every pass has wanted them for 1h0m0s; the first pass after that makes them"}},
		{name: "an admin event that an account was deleted ends the grace of the person who had its id",
			world: "federation corp\nboth ann\nclearml fay id=kc-fay\nclearml gus id=kc-gus\n/team: ann\nteam = ann fay gus",
			change: func(b *bench) {
				b.limits.Grace = time.Hour
				b.seen = []source.Witness{{Account: "kc-fay", Deleted: true}, {Account: "kc-gus"}}
			},
			want:  []string{"-fay@team gone", "-gus@team gone [grace]"},
			trips: []string{"grace: 1 removals depend on a federation and wait until every pass has wanted them for 1h0m0s; the first pass after that makes them"}},
		{name: "a local person's removal waits for nothing",
			world: "federation corp\nboth ann bob\nldap ann\n/team: ann\nteam = ann bob", change: func(b *bench) { b.limits.Grace, b.limits.GoneGrace = time.Hour, time.Hour },
			want: []string{"-bob@team not_member by id"}},
		{name: "an addition waits for nothing",
			world: "federation corp\nboth ann\nldap ann\n/team: ann\nteam =", change: func(b *bench) { b.limits.Grace, b.limits.GoneGrace = time.Hour, time.Hour },
			want: []string{"+ann@team from /team by id"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, tt.world)
			if tt.rules != nil {
				b.Configure(t, tt.rules)
			}
			if tt.change != nil {
				tt.change(b)
			}
			j := b.judge(t)
			if d := cmp.Diff(tt.want, plantest.Lines(j.Plan)); d != "" {
				t.Errorf("%s\nplan: -want +got\n%s", tt.world, d)
			}
			if d := cmp.Diff(tt.trips, trips(j)); d != "" {
				t.Errorf("%s\ntrips: -want +got\n%s", tt.world, d)
			}
			for _, trip := range j.Trips {
				tripped[trip.Guard] = true
				override := ""
				if trip.Guard.Rule().Liftable {
					override = "--approve " + j.Digest
				}
				if trip.Override != override {
					t.Errorf("%s: override %q, want %q", trip.Guard, trip.Override, override)
				}
			}
		})
	}
	atWriting := []report.Guard{report.Age, report.Concurrent, report.Canary} // these guards belong to apply
	for _, r := range report.Rules {
		if !tripped[r.Guard] && !slices.Contains(atWriting, r.Guard) {
			t.Errorf("no row trips the guard %s", r.Guard)
		}
	}
}

// suspend suspends writing for an hour. The reason contains a line break.
func suspend(removalsOnly bool) func(*bench) {
	return func(b *bench) {
		b.suspended = memory.Suspension{Until: now.Add(time.Hour), Reason: "move\nof LDAP", By: "alice", At: now, RemovalsOnly: removalsOnly}
	}
}

// TestAnApprovalLiftsNoSuspension: a person who wants the changes now must resume first.
func TestAnApprovalLiftsNoSuspension(t *testing.T) {
	b := newBench(t, "both ann bob\n/team: ann\nteam = bob")
	b.suspended = memory.Suspension{Until: now.Add(time.Hour), Reason: "r", By: "alice", At: now}
	j := b.judge(t)
	ok := b.approve(t, j.Digest)
	if !ok.Granted || len(cleared(ok)) > 0 || len(ok.Lifted) > 0 {
		t.Errorf("granted %v, cleared %q, lifted %q", ok.Granted, cleared(ok), ok.Lifted)
	}
	for _, x := range ok.Trips {
		if x.Override != "" {
			t.Errorf("an approval is offered: %+v", x)
		}
	}
}

// TestASuspensionDoesNotStartTheGraceAnew: the grace continues, because every pass still
// proposes the removal.
func TestASuspensionDoesNotStartTheGraceAnew(t *testing.T) {
	b := newBench(t, "federation corp\nboth ann bob\nldap bob\n/team: ann\nteam = ann bob")
	b.limits.Grace = 2 * time.Hour
	b.pass(t, "")
	b.at = now.Add(time.Hour)
	b.suspended = memory.Suspension{Until: b.at.Add(time.Hour), Reason: "r", By: "alice", At: b.at}
	if j := b.pass(t, ""); len(cleared(j)) > 0 {
		t.Errorf("cleared under a suspension: %q", cleared(j))
	}
	b.at = now.Add(2 * time.Hour)
	if d := cmp.Diff([]string{"team -bob"}, cleared(b.judge(t))); d != "" {
		t.Errorf("after it has ended: -want +got\n%s", d)
	}
}

func rulesOf(change func(*match.Options)) *match.Rules {
	o := match.Options{Include: []string{"*"}, Provider: "keycloak"}
	change(&o)
	r, err := match.Compile(o)
	if err != nil {
		panic(err)
	}
	return &r
}

func accepted(a memory.Accepted) func(*bench) {
	return func(b *bench) { b.memory.Groups = map[string]memory.Accepted{"cm-team": a} }
}

func TestWithoutASecondLookEverythingIsWithheld(t *testing.T) {
	b := newBench(t, "both ann bob\n/team: ann\nteam = bob")
	_, in := b.input(t, "")
	j := guard.Judge(b.Pass(t).Plan, in)
	if got := cleared(j); got != nil || j.Digest != "" {
		t.Errorf("cleared %q, digest %q", got, j.Digest)
	}
	want := []string{"confirm team: the second look did not confirm 2 of 2 changes (the first unconfirmed change: the second look gave no answer): they are withheld, and the next pass checks them again"}
	if d := cmp.Diff(want, trips(j)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// TestLimits tests each limit with one below, at, and one above. Only one above trips.
func TestLimits(t *testing.T) {
	groups := func(n, leave int) string { // n groups of 4 members; the leavers are spread over the groups
		s := "both " + names("p", 4) + "\n"
		for g := range n {
			stay := 4 - (leave+n-1-g)/n
			s += fmt.Sprintf("/g%d: %s\ng%d = %s\n", g, names("p", stay), g, names("p", 4))
		}
		return s
	}
	gone := func(n int) string {
		s := "both ann\n/team: ann\nteam = ann " + names("e", n)
		for _, e := range strings.Fields(names("e", n)) {
			s += "\nclearml " + e
		}
		return s
	}
	federated := func(lost, of int) string {
		return fmt.Sprintf("federation corp\nboth leaver %s\nldap leaver %s\n/team: %s\nteam = leaver", names("p", of), names("p", of), names("p", of)[:max(0, 4*(of-lost)-1)])
	}
	fedIDs := func(n int) (ids []string) {
		for _, p := range strings.Fields(names("p", n)) {
			ids = append(ids, "kc-"+p)
		}
		return ids
	}
	for _, tt := range []struct {
		name   string
		at     int // the limit: at−1 and at do not trip, at+1 trips
		world  func(n int) string
		rules  func(*match.Options)
		limits func(*bench, int)
		trip   string
		below  bool // the reverse: at−1 trips, at and at+1 do not
	}{
		{name: "max_removals in a pass", at: 3, world: func(n int) string { return leavers(n, 10) },
			limits: func(b *bench, _ int) { b.limits.MaxRemovals = 3 },
			trip:   "removals: 4 removals are wanted and 0 were made within 24h0m0s, guards.max_removals is 3: all removals are withheld; if they are correct, approve them"},
		{name: "max_removals within the window", at: 4, world: func(int) string { return leavers(2, 10) },
			limits: func(b *bench, n int) {
				b.limits.MaxRemovals, b.memory.Removed = 6, intents(n, now.Add(-24*time.Hour))
			},
			trip: "removals: 2 removals are wanted and 5 were made within 24h0m0s, guards.max_removals is 6: all removals are withheld; if they are correct, approve them"},
		{name: "max_removals by an entry of a memory that counts", at: 4, world: func(int) string { return leavers(2, 10) },
			limits: func(b *bench, n int) {
				b.limits.MaxRemovals, b.memory.Removed = 6, []memory.Intent{{At: now.Add(-time.Hour), Count: n}}
			},
			trip: "removals: 2 removals are wanted and 5 were made within 24h0m0s, guards.max_removals is 6: all removals are withheld; if they are correct, approve them"},
		{name: "the window itself, in hours before now: what is older does not count", at: 24, below: true, world: func(int) string { return leavers(1, 10) },
			limits: func(b *bench, n int) {
				b.limits.MaxRemovals, b.memory.Removed = 1, intents(1, now.Add(-time.Duration(n)*time.Hour-1))
			},
			trip: "removals: 1 removals are wanted and 1 were made within 24h0m0s, guards.max_removals is 1: all removals are withheld; if they are correct, approve them"},
		{name: "max_removal_ratio of a group", at: 5, world: func(n int) string {
			return leavers(n, 10) + "\n/x: p01\nx = p01 p02 p03 p04 p05 p06 p07 p08 p09 p10\n/x: " + names("p", 10)
		},
			limits: func(b *bench, _ int) { b.limits.MaxRatio, b.limits.FreeRemovals = 0.5, 2 },
			trip:   "removals team: 6 of its 10 members would be removed (60 %), guards.max_removal_ratio is 0.5 and guards.free_removals 2: the group's removals are withheld; if they are correct, approve them"},
		{name: "free_removals of a group", at: 3, world: func(n int) string {
			return leavers(n, 4) + "\nboth " + names("q", 30) + "\n/x: " + names("q", 30) + "\nx = " + names("q", 30)
		},
			limits: func(b *bench, _ int) { b.limits.MaxRatio = 0.2 },
			trip:   "removals team: 4 of its 4 members would be removed (100 %), guards.max_removal_ratio is 0.2 and guards.free_removals 3: the group's removals are withheld; if they are correct, approve them"},
		{name: "max_removal_ratio of all", at: 10, world: func(n int) string { return groups(5, n) },
			limits: func(b *bench, _ int) { b.limits.MaxRatio = 0.5 },
			trip:   "removals: 11 of all 20 managed memberships would be removed (55 %), guards.max_removal_ratio is 0.5 and guards.free_removals 3: all removals are withheld; if they are correct, approve them"},
		{name: "free_removals of all", at: 3, world: func(n int) string { return groups(4, n) },
			limits: func(b *bench, _ int) { b.limits.MaxRatio = 0.1 },
			trip:   "removals: 4 of all 16 managed memberships would be removed (25 %), guards.max_removal_ratio is 0.1 and guards.free_removals 3: all removals are withheld; if they are correct, approve them"},
		{name: "free_removals of a fall", at: 3, world: func(n int) string { return federated(n, 10) },
			limits: func(b *bench, _ int) {
				b.limits.MaxRatio = 0.2
				accepted(memory.Accepted{Federated: fedIDs(10)})(b)
			},
			trip: "fall team: since the last accepted pass it lost 4 of 10 federated members (limits: guards.free_removals 3, guards.max_removal_ratio 0.2): 1 removals are withheld; if they are correct, approve them"},
		{name: "max_removal_ratio of a fall", at: 5, world: func(n int) string { return federated(n, 10) },
			limits: func(b *bench, _ int) {
				b.limits.MaxRatio = 0.5
				accepted(memory.Accepted{Federated: fedIDs(10)})(b)
			},
			trip: "fall team: since the last accepted pass it lost 6 of 10 federated members (limits: guards.free_removals 3, guards.max_removal_ratio 0.5): 1 removals are withheld; if they are correct, approve them"},
		{name: "max_gone", at: 3, world: gone, limits: func(b *bench, _ int) { b.limits.MaxGone = 3 },
			trip: "gone: 4 people are gone from Keycloak at once, guards.max_gone is 3: all removals are withheld; if these people were deleted on purpose, approve the removals"},
		{name: "max_admin_grants in a pass", at: 3, rules: admins,
			world:  func(n int) string { return "both " + names("p", n) + "\n/ops: " + names("p", n) + "\nAdmins! =" },
			limits: func(b *bench, _ int) { b.limits.MaxAdminGrants = 3 },
			trip:   "grants: 4 new administrators are wanted and 0 were made within 24h0m0s, guards.max_admin_grants is 3: all new administrators are withheld; if they are correct, approve them"},
		{name: "max_admin_grants within the window", at: 1, rules: admins,
			world: func(int) string { return "both p01 p02\n/ops: p01 p02\nAdmins! =" },
			limits: func(b *bench, n int) {
				b.limits.MaxAdminGrants, b.memory.Granted = 3, intents(n, now.Add(-24*time.Hour))
			},
			trip: "grants: 2 new administrators are wanted and 2 were made within 24h0m0s, guards.max_admin_grants is 3: all new administrators are withheld; if they are correct, approve them"},
		{name: "max_additions in a pass", at: 3,
			world:  func(n int) string { return "both " + names("p", n) + "\n/team: " + names("p", n) + "\nteam =" },
			limits: func(b *bench, _ int) { b.limits.MaxAdditions = 3 },
			trip:   "grants: 4 additions are wanted and 0 were made within 24h0m0s, guards.max_additions is 3: all additions are withheld; if they are correct, approve them"},
		{name: "max_additions within the window", at: 1,
			world:  func(int) string { return "both p01 p02\n/team: p01 p02\nteam =" },
			limits: func(b *bench, n int) { b.limits.MaxAdditions, b.memory.Added = 3, intents(n, now.Add(-24*time.Hour)) },
			trip:   "grants: 2 additions are wanted and 2 were made within 24h0m0s, guards.max_additions is 3: all additions are withheld; if they are correct, approve them"},
		{name: "federation_grace, in nanoseconds that the removal was wanted", at: int(time.Hour), below: true,
			world: func(int) string { return "federation corp\nboth ann bob\nldap bob\n/team: ann\nteam = ann bob" },
			limits: func(b *bench, n int) {
				b.limits.Grace = time.Hour
				b.memory.Wanted = map[string]time.Time{memory.Key("cm-team", "bob"): now.Add(-time.Duration(n))}
			},
			trip: "grace: 1 removals depend on a federation and wait until every pass has wanted them for 1h0m0s; the last of them is due at 2026-11-24T12:00:00Z"},
		{name: "gone_grace, in nanoseconds that the removal was wanted", at: int(24 * time.Hour), below: true,
			world: func(int) string { return "both ann\nclearml eve\n/team: ann\nteam = ann eve" },
			limits: func(b *bench, n int) {
				b.limits.GoneGrace = 24 * time.Hour
				b.memory.Wanted = map[string]time.Time{memory.Key("cm-team", "eve") + "/email": now.Add(-time.Duration(n))}
			},
			trip: "grace: 1 removals depend on an email alone, because ClearML keeps no account id of the person, and wait until every pass has wanted them for 24h0m0s; the last of them is due at 2026-11-24T12:00:00Z"},
		{name: "admins.floor", at: 2, below: true, rules: admins,
			world: func(n int) string {
				return "both leaver " + names("p", n) + "\n/ops: " + names("p", n) + "\nAdmins! = leaver " + names("p", n)
			},
			limits: func(b *bench, _ int) { b.limits.Floor = 2 },
			trip:   "admins Admins: 1 administrators would remain, admins.floor is 2: the removals of administrators are withheld; first make another person an administrator in Keycloak; a new administrator counts from the pass after the addition"},
	} {
		for _, n := range []int{tt.at - 1, tt.at, tt.at + 1} {
			t.Run(fmt.Sprintf("%s: %d", tt.name, n), func(t *testing.T) {
				b := newBench(t, tt.world(n))
				if tt.rules != nil {
					b.Configure(t, tt.rules)
				}
				tt.limits(b, n)
				var want []string
				if n > tt.at && !tt.below || n < tt.at && tt.below {
					want = []string{tt.trip}
				}
				j := b.judge(t)
				if d := cmp.Diff(want, trips(j)); d != "" {
					t.Errorf("%s\n%q\n-want +got\n%s", tt.world(n), plantest.Lines(j.Plan), d)
				}
				withheld := slices.ContainsFunc(plantest.Lines(j.Plan), func(l string) bool { return strings.Contains(l, "[") })
				if withheld != (want != nil) {
					t.Errorf("a change is withheld: %v\n%q", withheld, plantest.Lines(j.Plan))
				}
			})
		}
	}
}

// TestALimitOf0IsOff: a limit of 0 withholds nothing, however many changes the plan proposes.
func TestALimitOf0IsOff(t *testing.T) {
	b := newBench(t, "federation corp\nboth a b c d e f\nldap f\nclearml g\n/ops: a b c\nAdmins! = d e f g", admins)
	b.limits = guard.Limits{Window: 24 * time.Hour}
	j := b.judge(t)
	if got := trips(j); got != nil {
		t.Errorf("trips %q", got)
	}
	if d := cmp.Diff([]string{"Admins +a +b +c -d -e -f -g"}, cleared(j)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestExceeds(t *testing.T) {
	for _, tt := range []struct {
		n, all int
		ratio  float64
		want   bool
	}{
		{1, 2, 0.5, false}, {2, 2, 0.5, true}, {2, 4, 0.5, false}, {3, 4, 0.5, true}, {5, 5, 1, false}, {5, 5, 0, false}, {1, 0, 0.5, true}, {0, 0, 0.5, false},
	} {
		if got := guard.Exceeds(tt.n, tt.all, tt.ratio); got != tt.want {
			t.Errorf("Exceeds(%d, %d, %g) = %v, want %v", tt.n, tt.all, tt.ratio, got, tt.want)
		}
	}
}

// TestOnlyRemovalsWithEvidenceCount: a removal without evidence is never written, so it
// does not count toward a limit.
func TestOnlyRemovalsWithEvidenceCount(t *testing.T) {
	b := newBench(t, "federation corp away\nboth a b c d e\nldap b c d\n/team: a\nteam = a b c d e")
	b.limits.MaxRemovals, b.limits.MaxRatio, b.limits.FreeRemovals = 1, 0.5, 1
	if d := cmp.Diff([]string{"team -e"}, cleared(b.judge(t))); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// TestTheFirstGuardOfTheTableIsNamed: if several guards withhold a change, the change names
// the first one. The others trip nevertheless.
func TestTheFirstGuardOfTheTableIsNamed(t *testing.T) {
	b := newBench(t, "both ann bob\n/ops: ann\nAdmins! = ann bob", admins)
	b.limits.Floor, b.limits.MaxGone = 2, 0
	b.before = rulesOf(func(o *match.Options) { o.AdminGroups = []string{"idle"} })
	b.limits.MaxRatio, b.limits.FreeRemovals = 0.1, 0
	j := b.judge(t)
	if d := cmp.Diff([]string{"-bob@Admins not_member by id [admins]"}, plantest.Lines(j.Plan)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	var guards []report.Guard
	for _, t := range j.Trips {
		guards = append(guards, t.Guard)
	}
	if d := cmp.Diff([]report.Guard{report.Admins, report.Removals, report.Removals}, guards); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// TestOnTripStop: a trip stops every write, unless the guard only waits or only reports.
func TestOnTripStop(t *testing.T) {
	for _, tt := range []struct {
		name   string
		world  string
		rules  func(*match.Options)
		change func(*bench)
		want   []string
	}{
		{"removals stop additions of every group", "both ann bob cid\n/team: ann\n/x: ann\nteam = bob cid\nx =", nil, func(b *bench) { b.limits.MaxRemovals = 1 },
			[]string{"+ann@team from /team by id [removals]", "-bob@team not_member by id [removals]", "-cid@team not_member by id [removals]", "+ann@x from /x by id [removals]"}},
		{"a missing source stops what has nothing to do with it", "both ann\n/team: ann\nteam =\nx =", func(o *match.Options) { o.Mapping = map[string][]string{"y": {"x"}} }, nil,
			[]string{"+ann@team from /team by id [missing_source]", `frozen x: no group "y"`}},
		{"the first trip is named, and what another guard withholds keeps its guard", "federation corp away\nboth ann bob cid\nldap bob\n/team: ann\nteam = bob cid", nil, func(b *bench) { b.limits.MaxRemovals = 0 },
			[]string{"+ann@team from /team by id [federation]", "-bob@team not_member by id (away) [federation]", "-cid@team not_member by id [federation]"}},
		{"the grace only waits", "federation corp\nboth ann bob\nldap bob\n/team: ann\nteam = bob", nil, func(b *bench) { b.limits.Grace = time.Hour },
			[]string{"+ann@team from /team by id", "-bob@team not_member by id [grace]"}},
		{"an ambiguous administrator is only reported", "both ann\nkeycloak new email=eve@example.com\nclearml eve id=kc-old\n/ops: ann new\nAdmins! = eve", admins, nil,
			[]string{"+ann@Admins from /ops by id", "=eve@Admins rekeyed"}},
		{"a trip behind one that only waits or reports stops", "both ann\nkeycloak new email=eve@example.com\nclearml eve id=kc-old\nboth bob\n/ops: ann new\nAdmins! = eve bob", admins, func(b *bench) { b.limits.MaxRatio, b.limits.FreeRemovals = 0.1, 0 },
			[]string{"+ann@Admins from /ops by id [removals]", "-bob@Admins not_member by id [removals]", "=eve@Admins rekeyed"}},
		{"nothing tripped", "both ann bob\n/team: ann\nteam = bob", nil, nil, []string{"+ann@team from /team by id", "-bob@team not_member by id"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, tt.world)
			if tt.rules != nil {
				b.Configure(t, tt.rules)
			}
			b.limits.Stop = true
			if tt.change != nil {
				tt.change(b)
			}
			j := b.judge(t)
			if d := cmp.Diff(tt.want, plantest.Lines(j.Plan)); d != "" {
				t.Errorf("%s\n-want +got\n%s", tt.world, d)
			}
			for _, c := range cleared(j) {
				if !slices.ContainsFunc(tt.want, func(l string) bool { return !strings.Contains(l, "[") }) {
					t.Errorf("cleared %s", c)
				}
			}
		})
	}
}

// TestWritesAreOrdered: first groups that only gain, then groups that gain and lose, then
// groups that only lose, and administrators last. In each part the group with the fewest
// changes comes first.
func TestWritesAreOrdered(t *testing.T) {
	// The order of the names differs from the order of the writes, forwards and backwards.
	b := newBench(t, "both a b c d\n/ops: a\n/a-lose2:\n/b-lose1:\n/c-lose3:\n/d-mixed3: a b\n/e-mixed2: a\n/f-mixed4: a\n/g-gain2: a b\n/h-gain1: a\n/i-gain3: a b c\nAdmins! =\n"+
		"a-lose2 = a b\nb-lose1 = a\nc-lose3 = a b c\nd-mixed3 = d\ne-mixed2 = d\nf-mixed4 = b c d\ng-gain2 =\nh-gain1 =\ni-gain3 =", admins)
	want := []string{"h-gain1 +a", "g-gain2 +a +b", "i-gain3 +a +b +c", "e-mixed2 +a -d", "d-mixed3 +a +b -d", "f-mixed4 +a -b -c -d", "b-lose1 -a", "a-lose2 -a -b", "c-lose3 -a -b -c", "Admins +a"}
	j := b.judge(t)
	if d := cmp.Diff(want, cleared(j)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if got := j.Cleared.Limits(); got != b.limits {
		t.Errorf("limits %+v, want %+v", got, b.limits)
	}
	j.Cleared.Writes()[0].Group.Name = "changed"
	if cleared(j)[0] != want[0] {
		t.Error("a caller can change what is cleared")
	}
	for _, w := range j.Cleared.Writes() {
		if w.Admins != (w.Group.Name == "Admins") || w.Approved {
			t.Errorf("%+v", w)
		}
	}
}

func TestWritesCarryTheFloor(t *testing.T) {
	b := newBench(t, "both ann bob\n/ops: ann\nAdmins! = ann bob", admins)
	w := b.judge(t).Cleared.Writes()[0]
	if d := cmp.Diff([]string{"ann"}, w.Floor); d != "" || !w.Remove[0].Evidence.Valid() {
		t.Errorf("%s%+v", d, w)
	}
}

func TestWithheldNamesTheGuardsInTheOrderOfTheTable(t *testing.T) {
	g := plan.Group{Add: []plan.Change{{Guard: report.Grants}}, Remove: []plan.Change{{Guard: report.Grace}, {Guard: report.Federation}, {Guard: report.Grace}, {}}}
	if d := cmp.Diff([]report.Guard{report.Federation, report.Grants, report.Grace}, guard.Withheld(g)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if d := cmp.Diff([]report.Guard{report.MissingSource}, guard.Withheld(plan.Group{Unreadable: "status 400"})); d != "" {
		t.Errorf("a frozen group: -want +got\n%s", d)
	}
	if got := guard.Withheld(plan.Group{Add: []plan.Change{{}}}); got != nil {
		t.Errorf("nothing is withheld: %v", got)
	}
}

// Approvals.

func TestAnApprovalLiftsWhatItNames(t *testing.T) {
	const world = "federation corp\nboth a b c d e f g h\nldap b\nclearml gone\n/ops: e f\n/team: a h\nteam = a b c gone\nAdmins! = g"
	narrow := func(b *bench) {
		b.limits.MaxRemovals, b.limits.MaxRatio, b.limits.FreeRemovals, b.limits.MaxGone, b.limits.MaxAdminGrants, b.limits.Grace = 1, 0.1, 0, 0, 1, time.Hour
		b.limits.MaxGone = 1
	}
	b := newBench(t, world, admins)
	narrow(b)
	j := b.judge(t)
	if len(j.Digest) != 16 || j.Changes != 6 || j.Granted || j.Lifted != nil {
		t.Fatalf("digest %q of %d changes, granted %v, lifted %v", j.Digest, j.Changes, j.Granted, j.Lifted)
	}
	if d := cmp.Diff([]string{"team +h"}, cleared(j)); d != "" {
		t.Errorf("not approved: -want +got\n%s", d)
	}
	ok := b.approve(t, j.Digest)
	if d := cmp.Diff([]string{"team +h -b -c -gone", "Admins +e +f -g"}, cleared(ok)); d != "" {
		t.Errorf("approved: -want +got\n%s", d)
	}
	if d := cmp.Diff([]report.Guard{report.Removals, report.Grants, report.Grace}, ok.Lifted); d != "" || !ok.Granted || len(ok.Trips) > 0 || ok.Digest != j.Digest {
		t.Errorf("granted %v, trips %q, lifted: -want +got\n%s", ok.Granted, trips(ok), d)
	}
	for _, w := range ok.Cleared.Writes() {
		if !w.Approved {
			t.Errorf("the write of %s is not marked as approved", w.Group.Name)
		}
	}
	other := b.approve(t, "0123456789abcdef")
	if d := cmp.Diff([]string{"team +h"}, cleared(other)); d != "" || other.Granted || other.Lifted != nil {
		t.Errorf("another digest: granted %v, lifted %v; -want +got\n%s", other.Granted, other.Lifted, d)
	}
	if d := cmp.Diff(trips(j), trips(other)); d != "" {
		t.Errorf("another digest trips otherwise\n%s", d)
	}
}

func TestTheDigestNamesRemovalsAndNewAdministrators(t *testing.T) {
	digest := func(world string, change ...func(*bench)) string {
		b := newBench(t, world, admins)
		for _, c := range change {
			c(b)
		}
		return b.judge(t).Digest
	}
	const base = "both ann bob cid dan\n/ops: ann\n/team: ann\nteam = bob\nAdmins! ="
	one := digest(base)
	for _, tt := range []struct {
		name   string
		world  string
		change func(*bench)
		same   bool
	}{
		{"the same plan", base, nil, true},
		{"a joiner elsewhere", base + "\n/x: cid\nx =", nil, true},
		{"a joiner of the same group", base + "\n/team: ann cid", nil, true},
		{"a removal that has no evidence", base + "\nfederation corp away\nkeycloak eve ldap\nclearml eve id=kc-eve\n/y: \ny = eve\n/z: eve\nz = eve", nil, true},
		{"another limit", base, func(b *bench) { b.limits.MaxRemovals = 1 }, true},
		{"another time", base, func(b *bench) { b.at = now.Add(time.Hour) }, true},
		{"another removal", base + "\nteam = bob cid", nil, false},
		{"the same person is removed from another group", base + "\nteam = \n/x: ann\nx = bob", nil, false},
		{"another new administrator", base + "\n/ops: ann dan", nil, false},
		{"a new administrator in the place of another", base + "\n/ops: dan", nil, false},
		{"additions beyond max_additions", base, func(b *bench) { b.limits.MaxAdditions = 1 }, false},
		{"additions within max_additions", base, func(b *bench) { b.limits.MaxAdditions = 2 }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var changes []func(*bench)
			if tt.change != nil {
				changes = append(changes, tt.change)
			}
			if got := digest(tt.world, changes...); (got == one) != tt.same {
				t.Errorf("%s\ngot %s, before %s; want the same: %v", tt.world, got, one, tt.same)
			}
		})
	}
	if got := digest("both ann\n/team: ann\nteam =\nAdmins! =\n/ops:"); got != "" {
		t.Errorf("a plan that only adds members has the digest %q", got)
	}
	b := newBench(t, "both ann\n/team: ann\nteam =")
	if j := b.approve(t, ""); j.Granted {
		t.Error("an empty digest approves a plan without one")
	}
}

func TestAnApprovalLiftsNoFixedGuard(t *testing.T) {
	for _, tt := range []struct {
		name   string
		world  string
		change func(*bench)
		want   []string
		trips  int
	}{
		{"federation", "federation corp away\nboth ann bob cid\nldap bob\n/team: ann\nteam = bob cid", nil,
			[]string{"+ann@team from /team by id", "-bob@team not_member by id (away) [federation]", "-cid@team not_member by id"}, 1},
		{"confirm", "both ann bob cid\n/team: ann\nteam = bob cid", func(b *bench) {
			b.Second = func(s *source.SecondLook) { s.Members["/team"] = append(s.Members["/team"], source.User{ID: "kc-bob"}) }
		}, []string{"+ann@team from /team by id", "-bob@team not_member by id (unclear) [confirm]", "-cid@team not_member by id"}, 1},
		{"collision", "both ann bob\n/ops: ann\n/x/ops:\nAdmins! = bob", nil,
			[]string{"+ann@Admins from /ops by id [collision]", "-bob@Admins not_member by id"}, 1},
		{"views", "both ann bob\n/team: ann\nteam = bob\nview team bob", nil,
			[]string{"+ann@team from /team by id [views]", "-bob@team not_member by id [views]"}, 1},
		{"admins", "both ann bob\n/ops: ann\nAdmins! = bob", func(b *bench) { b.limits.Floor = 1 },
			[]string{"+ann@Admins from /ops by id", "-bob@Admins not_member by id [admins]"}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, tt.world, func(o *match.Options) {
				if strings.Contains(tt.world, "/ops") {
					admins(o)
				}
			})
			if tt.change != nil {
				tt.change(b)
			}
			j := b.approve(t, b.judge(t).Digest)
			if d := cmp.Diff(tt.want, plantest.Lines(j.Plan)); d != "" || !j.Granted || len(j.Trips) != tt.trips {
				t.Errorf("%s\ngranted %v, trips %q\n-want +got\n%s", tt.world, j.Granted, trips(j), d)
			}
			if j.Lifted != nil {
				t.Errorf("lifted %v", j.Lifted)
			}
		})
	}
}

// TestEachLiftableGuardIsLifted has one plan for each liftable guard.
func TestEachLiftableGuardIsLifted(t *testing.T) {
	for guardName, change := range map[report.Guard]func(*bench){
		report.Scope:     func(b *bench) { b.before = rulesOf(func(o *match.Options) { o.Exclude = []string{"team"} }) },
		report.Fall:      accepted(memory.Accepted{Sources: map[string]string{"1": "/team"}}),
		report.Removals:  func(b *bench) { b.limits.MaxRemovals, b.memory.Removed = 1, intents(1, now) },
		report.GoneLimit: func(b *bench) { b.Add(t, "clearml e1\nclearml e2\nteam = bob e1 e2"); b.limits.MaxGone = 1 },
		report.Grants:    func(b *bench) { b.limits.MaxAdditions, b.memory.Added = 1, intents(1, now) },
		report.Grace:     func(b *bench) { b.Add(t, "federation corp\nldap bob"); b.limits.Grace = time.Hour },
	} {
		t.Run(string(guardName), func(t *testing.T) {
			b := newBench(t, "both ann bob\n/team: ann\nteam = bob")
			change(b)
			j := b.judge(t)
			if len(j.Trips) != 1 || j.Trips[0].Guard != guardName {
				t.Fatalf("trips %q", trips(j))
			}
			ok := b.approve(t, j.Digest)
			if d := cmp.Diff([]report.Guard{guardName}, ok.Lifted); d != "" || len(ok.Trips) > 0 {
				t.Errorf("trips %q; lifted: -want +got\n%s", trips(ok), d)
			}
			for _, l := range plantest.Lines(ok.Plan) {
				if strings.Contains(l, "[") {
					t.Errorf("still withheld: %s", l)
				}
			}
		})
	}
	for _, r := range report.Rules {
		if want := slices.Contains([]report.Guard{report.Scope, report.Fall, report.Removals, report.GoneLimit, report.Grants, report.Grace}, r.Guard); r.Liftable != want {
			t.Errorf("%s: liftable %v, want %v", r.Guard, r.Liftable, want)
		}
	}
}
