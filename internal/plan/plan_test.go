package plan_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/match"
	"groupsync/internal/plan"
	"groupsync/internal/plan/plantest"
	"groupsync/internal/source"
)

func admins(o *match.Options) { o.AdminGroups = []string{"ops"} }

// TestPlan checks the plan from the member lists after the look-ups, with the answers of the
// person's own side.
func TestPlan(t *testing.T) {
	for _, tt := range []struct {
		name  string
		world string
		rules func(*match.Options)
		want  []string
	}{
		// Additions and removals.
		{name: "a joiner is added, a leaver is removed, and who is right stays",
			world: "both ann bob cid\n/team: ann bob\nteam = bob cid",
			want:  []string{"+ann@team from /team by id", "-cid@team not_member by id"}},
		{name: "a disabled member leaves every group, listed or not",
			world: "both ann bob\ndisable bob\n/team: ann bob\n/x: ann\nteam = ann bob\nx = ann bob",
			want:  []string{"-bob@team disabled by id", "-bob@x disabled by id"}},
		{name: "a disabled member is not added",
			world: "both ann bob\ndisable bob\n/team: ann bob\nteam = ann",
			want:  []string{}},
		{name: "an account of a service is nobody's membership",
			world: "keycloak bot service\nclearml bot id=kc-bot\nboth ann\n/team: ann bot\nteam = ann",
			want:  []string{}},
		{name: "B2: somebody whom Keycloak has no more is removed as gone, by the kept id",
			world: "both ann\nclearml eve id=kc-eve\n/team: ann\nteam = ann eve",
			want:  []string{"-eve@team gone"}},
		{name: "somebody whom Keycloak has no more is removed as gone, by the email",
			world: "both ann\nclearml eve\n/team: ann\nteam = ann eve",
			want:  []string{"-eve@team gone"}},
		{name: "an account that is in no group is no gone account",
			world: "both ann\nkeycloak eve\nclearml eve\n/team: ann\nteam = ann eve",
			want:  []string{"-eve@team not_member by email"}},
		{name: "membership is direct: a child's members are not the parent's",
			world: "both ann bob\n/team: ann\n/team/sub: bob\nteam = ann bob",
			want:  []string{"-bob@team not_member by id"}},
		{name: "groups of one claim name are one desired group, and the first source is named",
			world: "both ann bob cid\n/b/team: ann bob\n/a/team: ann\nteam = cid",
			want:  []string{"+ann@team from /a/team by id", "+bob@team from /b/team by id", "-cid@team not_member by id"}},
		{name: "who is in one of several sources stays",
			world: "both ann bob\n/a/team: ann\n/b/team: bob\nteam = ann bob",
			want:  []string{}},
		{name: "C8: without case groups that differ by case are united",
			world: "both ann bob\n/Team: ann\n/x/team: bob\nTEAM = ann",
			rules: func(o *match.Options) { o.CaseInsensitive = true },
			want:  []string{"+bob@TEAM from /x/team by id"}},

		// Members who stay.
		{name: "B1: who never signed in through a provider stays as local, whoever has the email",
			world: "both ann\nkeycloak eve disabled\nclearml eve local\n/team: ann\nteam = ann eve",
			want:  []string{"=eve@team local"}},
		{name: "B1: who signs in by another provider stays, whoever has the email",
			world: "both ann\nkeycloak eve disabled\nclearml eve google\n/team: ann\nteam = ann eve",
			want:  []string{"=eve@team other_provider"}},
		{name: "B1: who signs in by another provider is granted nothing, and the account is pending",
			world: "both ann\nkeycloak eve\nclearml eve google\n/team: ann eve\nteam = ann",
			want:  []string{"?eve@team"}},
		{name: "who also signed in elsewhere and is gone stays",
			world: "both ann\nclearml eve also=google\n/team: ann\nteam = ann eve",
			want:  []string{"=eve@team other_provider"}},
		{name: "who also signed in elsewhere and is no member is removed",
			world: "both ann\nkeycloak eve\nclearml eve also=google\n/team: ann\nteam = ann eve",
			want:  []string{"-eve@team not_member by email"}},
		{name: "a user without an email stays as unknown",
			world: "both ann\nclearml eve email= id=kc-old\n/team: ann\nteam = ann eve",
			want:  []string{"=eve@team unknown"}},
		{name: "a user whose kept id is a service account's stays", world: "both ann\nkeycloak bot service\nclearml bob id=kc-bot\n/team: ann\n/x: bot\nteam = ann bob\nx =", want: []string{"=bob@team service_account"}},
		{name: "a service account stays", world: "both ann\nclearml bot service\n/team: ann\nteam = ann bot", want: []string{"=bot@team service_account"}},
		{name: "a member id that the user list lacks stays as unresolved", world: "both ann\n/team: ann\nteam = ann ghost", want: []string{"=ghost@team unresolved"}},
		{name: "groupsync itself never loses anything", world: "both ann\n/team: ann\nteam = ann groupsync", want: []string{"=groupsync@team self"}},
		{name: "groupsync itself never loses anything, disabled in Keycloak or not",
			world: "both ann\nkeycloak g disabled\nclearml groupsync id=kc-g\n/team: ann\nteam = ann groupsync",
			want:  []string{"=groupsync@team self"}},
		{name: "protected people stay", world: "both ann bob\n/team: ann\nteam = ann bob",
			rules: func(o *match.Options) { o.Protect = []string{"BOB@*"} }, want: []string{"=bob@team protected"}},
		{name: "users.gone is keep", world: "both ann\nclearml eve\n/team: ann\nteam = ann eve",
			rules: func(o *match.Options) { o.KeepGone = true }, want: []string{"=eve@team gone_kept"}},
		{name: "keepers are sorted by id", world: "both ann\nclearml a local\nclearml z local\n/team: ann\nteam = z ghost ann a", want: []string{"=a@team local", "=ghost@team unresolved", "=z@team local"}},

		// Ambiguous people: other changes of the group are still made.
		{name: "B3: two accounts of one email: no grant",
			world: "duplicates\nboth ann\nkeycloak b1 email=b@x\nkeycloak b2 email=b@x\nclearml b email=b@x\n/team: ann b1\nteam = ann",
			want:  []string{}},
		{name: "B3: two accounts of one email: one is in, so the person stays and is reported",
			world: "duplicates\nboth ann\nkeycloak b1 email=b@x\nkeycloak b2 email=b@x\nclearml b email=b@x\n/team: ann b1\n/x: b2\nteam = ann b\nx =",
			want:  []string{"=b@team ambiguous"}},
		{name: "who is in by the one account that was met is in sync, also where another one may have the email",
			world: "duplicates\nboth ann\nkeycloak b1 email=b@x\nkeycloak b2 email=b@x\nclearml b email=b@x\n/team: ann b1\nteam = ann b",
			want:  []string{}},
		{name: "B3: two accounts of one email: both are out, so the person is removed",
			world: "duplicates\nboth ann\nkeycloak b1 email=b@x disabled\nkeycloak b2 email=b@x\nclearml b email=b@x\n/team: ann\nteam = ann b",
			want:  []string{"-b@team disabled by email"}},
		{name: "two accounts of one email, both disabled",
			world: "duplicates\nboth ann\nkeycloak b1 email=b@x disabled\nkeycloak b2 email=b@x disabled\nclearml b email=b@x\n/team: ann b1 b2\nteam = ann b",
			want:  []string{"-b@team disabled by email"}},
		{name: "B3: where the id is kept, the second account of the email changes nothing",
			world: "duplicates\nboth ann bob\nkeycloak b2 email=bob@example.com\ndisable bob\n/team: ann b2\nteam = ann bob",
			want:  []string{"-bob@team disabled by id", "?b2@team"}},
		{name: "a second account that is in no group is found before a grant",
			world: "duplicates\nboth ann\nkeycloak bob\nkeycloak b2 email=bob@example.com\nclearml bob\n/team: ann bob\nteam = ann",
			want:  []string{}},
		{name: "a second account that is in no group keeps nobody",
			world: "duplicates\nboth ann\nkeycloak bob\nkeycloak b2 email=bob@example.com\nclearml bob\n/team: ann\nteam = ann bob",
			want:  []string{"-bob@team not_member by email"}},
		{name: "B8: two ClearML users of one email: no grant, and who is in stays",
			world: "both ann\nkeycloak bob\nclearml b1 email=bob@example.com\nclearml b2 email=BOB@example.com\n/team: ann bob\nteam = ann b1",
			want:  []string{"=b1@team ambiguous"}},
		{name: "B8: two ClearML users of one id: removed when the account is out",
			world: "both ann\nkeycloak bob\nclearml b1 id=kc-bob\nclearml b2 id=kc-bob\n/team: ann\nteam = ann b1 b2",
			want:  []string{"-b1@team not_member by id", "-b2@team not_member by id"}},
		{name: "B8: a leaver known by id, whose address a new colleague has",
			world: "both ann\nkeycloak old disabled email=x@x\nkeycloak new email=leaver@example.com\nclearml leaver id=kc-old\nclearml colleague id=kc-new email=leaver@example.com\n/ops: ann new\nAdmins! = ann leaver",
			rules: admins,
			want:  []string{"+colleague@Admins from /ops by id", "-leaver@Admins disabled by id"}},

		// Rekeyed people.
		{name: "B2: a kept id that is gone, and the email is a new colleague's who is in: no removal, reported",
			world: "both ann\nkeycloak new email=eve@example.com\nclearml eve id=kc-old\n/team: ann new\nteam = ann eve",
			want:  []string{"=eve@team rekeyed"}},
		{name: "B2: a kept id that is gone, and the email is a new colleague's who is in: no grant",
			world: "both ann\nkeycloak new email=eve@example.com\nclearml eve id=kc-old\n/team: ann new\nteam = ann",
			want:  []string{}},
		{name: "B2: a kept id that is gone, and the colleague is out too: removed",
			world: "both ann\nkeycloak new email=eve@example.com\nclearml eve id=kc-old\n/team: ann\n/x: new\nteam = ann eve",
			want:  []string{"-eve@team not_member by email"}},

		// Renamed people.
		{name: "B5: an enabled, pending member of the very group bears the name",
			world: "both bob\nkeycloak ann2 name=Ann_Lee\nclearml ann name=Ann_Lee\n/team: bob ann2\nteam = bob ann",
			want:  []string{"=ann@team renamed", "?ann2@team"}},
		{name: "B5: a pending member of another group bears the name",
			world: "both bob\nkeycloak ann2 name=Ann_Lee\nclearml ann name=Ann_Lee\n/team: bob\n/x: ann2\nteam = bob ann\nx =",
			want:  []string{"-ann@team gone", "?ann2@x"}},
		{name: "B5: a disabled namesake keeps nobody",
			world: "both bob\nkeycloak ann2 name=Ann_Lee disabled\nclearml ann name=Ann_Lee\n/team: bob ann2\nteam = bob ann",
			want:  []string{"-ann@team gone"}},
		{name: "B5: a namesake who has a ClearML account is not pending, and keeps nobody",
			world: "both bob\nkeycloak ann2 name=Ann_Lee\nclearml ann2\nclearml ann name=Ann_Lee\n/team: bob ann2\nteam = bob ann ann2",
			want:  []string{"-ann@team gone"}},
		{name: "B5: who is gone by the kept id is not renamed",
			world: "both bob\nkeycloak ann2 name=Ann_Lee\nclearml ann name=Ann_Lee id=kc-old\n/team: bob ann2\nteam = bob ann",
			want:  []string{"-ann@team gone", "?ann2@team"}},
		{name: "a disabled leaver with a pending namesake is removed",
			world: "both bob ann\ndisable ann\nkeycloak ann2 name=ann_\n/team: bob ann2\nteam = bob ann",
			want:  []string{"-ann@team disabled by id", "?ann2@team"}},

		// Pending accounts.
		{name: "a member without a ClearML account is pending", world: "both ann\nkeycloak dan\nkeycloak bea\n/team: ann dan bea\nteam = ann", want: []string{"?bea@team", "?dan@team"}},
		{name: "a disabled member without a ClearML account is not pending", world: "both ann\nkeycloak dan disabled\n/team: ann dan\nteam = ann", want: []string{}},

		// Administrators and roles.
		{name: "members of admin groups and holders of the role are administrators, and nobody else stays one",
			world: "both ann bob cid dan\n/ops: ann\n/sec/leads: cid\nrole boss: bob /sec\nAdmins! = dan",
			rules: func(o *match.Options) { o.AdminGroups, o.AdminRole = []string{"ops"}, "boss" },
			want:  []string{"+ann@Admins from /ops by id", "+bob@Admins from role boss by id", "+cid@Admins from role boss by id", "-dan@Admins not_member by id"}},
		{name: "a role that does not exist freezes the administrators",
			world: "both ann dan\n/ops: ann\nAdmins! = dan", rules: func(o *match.Options) { o.AdminGroups, o.AdminRole = []string{"ops"}, "boss" },
			want: []string{`frozen Admins: no role "boss"`}},
		{name: "a missing source freezes the user group, others go on",
			world: "both ann bob\n/team: ann\nteam = bob\nx = bob", rules: func(o *match.Options) { o.Mapping = map[string][]string{"taem": {"x"}} },
			want: []string{"+ann@team from /team by id", "-bob@team not_member by id", `frozen x: no group "taem"`}},
		{name: "A1: a source that Keycloak cannot list freezes the user group",
			world: "both ann bob\n/a/team: ann\n/b/team: bob\nunreadable /b/team\nteam = bob", want: []string{"frozen team: status 400"}},
		{name: "a group that gives the role and cannot be listed freezes the administrators",
			world: "both ann bob\n/ops: ann\n/sec/leads: bob\nrole boss: /sec\nunreadable /sec/leads\nAdmins! = ann", rules: func(o *match.Options) { o.AdminGroups, o.AdminRole = []string{"ops"}, "boss" },
			want: []string{"frozen Admins: status 400"}},

		// The own side.
		{name: "A1: the list hides members, so they are in sync",
			world: "federation corp\nboth ann bob cid\nldap ann bob\n/team: cid\nhides /team ann bob\nteam = ann bob cid",
			want:  []string{"hidden ann@team", "hidden bob@team"}},
		{name: "A1: a real leaver of such a group goes",
			world: "federation corp\nboth ann bob\nldap ann bob\n/team:\nhides /team ann\nteam = ann bob",
			want:  []string{"-bob@team not_member by id", "hidden ann@team"}},
		{name: "A3: only the list shows people, so they are granted nothing",
			world: "federation corp\nboth ann bob cid\nldap ann bob\n/team: cid\nshows /team ann bob\nteam = cid bob",
			want:  []string{"shown ann@team"}},
		{name: "F5: a local subgroup of the leaf name grants nothing to people whose own side has the other",
			world: "federation corp\nboth ann\nldap ann\n/dev: ann\n/projects/dev:\nshows /projects/dev ann\n/projects/dev =",
			rules: func(o *match.Options) { o.FullPath = true },
			want:  []string{"shown ann@/projects/dev"}},
		{name: "a federation that is away holds up its own people only",
			world: "federation corp away\nboth ann bob cid dan\nldap ann bob\n/team: ann cid\nteam = bob dan",
			want:  []string{"+ann@team from /team by id (away)", "+cid@team from /team by id", "-bob@team not_member by id (away)", "-dan@team not_member by id"}},
		{name: "a removal without evidence says what the account is, disabled or not",
			world: "federation corp away\nduplicates\nboth ann bob\nldap bob\ndisable bob\nkeycloak c1 ldap disabled email=c@x\nkeycloak c2 ldap email=c@x\nclearml cid email=c@x\n/team: ann\n/x: bob c1 c2\nteam = ann bob cid\nx =",
			want:  []string{"-bob@team disabled by id (away)", "-cid@team not_member by email (away)"}},
		{name: "a federation that is away holds up whoever may be gone",
			world: "federation corp away\nboth ann\nclearml eve\n/team: ann\nteam = ann eve",
			want:  []string{"-eve@team gone (away)"}},
		{name: "A6: a federation that is switched off holds up nobody who has another kept id",
			world: "federation corp off\nboth ann\nclearml eve id=11111111-2222-3333-4444-555555555555\nclearml fay id=f:fed-corp:fay\nclearml gus\n/team: ann\nteam = ann eve fay gus",
			want:  []string{"-eve@team gone", "-fay@team gone (away)", "-gus@team gone (away)"}},
		{name: "A7: a trusted federation holds up nobody",
			world: "federation corp unanswered trusted\nboth ann bob\nldap bob\nclearml eve\n/team: ann\nteam = ann bob eve",
			want:  []string{"-bob@team not_member by id", "-eve@team gone"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := plantest.New(t, tt.world)
			if tt.rules != nil {
				w.Configure(t, tt.rules)
			}
			got := plantest.Lines(w.Pass(t).Weighed)
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("%s\n-want +got\n%s", tt.world, d)
			}
		})
	}
}

// TestAsks checks that the plan asks for the necessary look-ups and no others. A pass in sync
// asks for none.
func TestAsks(t *testing.T) {
	for _, tt := range []struct {
		name  string
		world string
		want  []string
	}{
		{"nobody in an in-sync pass", "duplicates\nboth ann bob\nkeycloak cid\nclearml cid\nclearml dan local\n/team: ann bob cid\nteam = ann bob cid dan", nil},
		{"a listed account that one of its claimants lacks the group for", "duplicates\nboth ann\nkeycloak cid\nclearml c1 email=cid@example.com id=kc-1\nclearml c2 email=cid@example.com id=kc-2\n/team: ann cid\nteam = ann c1", []string{"c1", "c2"}},
		{"nobody for an addition that is sure", "both ann\nkeycloak cid\nclearml cid\n/team: ann cid\nteam =", nil},
		{"a member whom the lists do not show", "both ann\nclearml eve\n/team: ann\nteam = ann eve", []string{"eve"}},
		{"a member whom the lists do not show, once for all groups", "both ann\nclearml eve id=kc-old\n/team: ann\n/x: ann\nteam = ann eve\nx = ann eve", []string{"eve"}},
		{"a member who is no matched person stays unasked", "both ann\nclearml eve local\nclearml bot service\n/team: ann\nteam = ann eve bot ghost groupsync", nil},
		{"nobody who is no member", "both ann\nclearml eve\n/team: ann\nteam = ann", nil},
		{"whoever is to be granted something by an email that another account may have", "duplicates\nboth ann\nkeycloak cid\nclearml cid\n/team: ann cid\nteam = ann", []string{"cid"}},
		{"nobody for a grant by id where emails may repeat", "duplicates\nboth ann\n/team: ann\nteam =", nil},
		{"whoever claims a listed account by email and keeps an id that was not met", "both ann\nkeycloak cid\nclearml cid id=kc-old\n/team: ann cid\nteam = ann", []string{"cid"}},
		{"every claimant whose answer can settle the account", "both ann\nkeycloak cid\nclearml c1 email=cid@example.com id=kc-1\nclearml c2 email=cid@example.com id=kc-2\nclearml c3 email=cid@example.com\n/team: ann cid\nteam = ann", []string{"c1", "c2"}},
		{"a member whose one account is listed and who keeps an id that was not met", "both ann\nkeycloak cid\nclearml cid id=kc-old\n/team: ann cid\nteam = ann cid", []string{"cid"}},
		{"a removal of somebody matched for sure asks for nobody", "both ann bob\n/team: ann\n/x: bob\nteam = ann bob\nx = bob", nil},
		{"a removal of an account that another one may share the email with", "duplicates\nboth ann\nkeycloak cid\nclearml cid\n/team: ann\n/x: cid\nteam = ann cid\nx = cid", []string{"cid"}},
		{"nobody of a frozen group", "both ann\nclearml eve\n/team: ann\nunreadable /team\nteam = ann eve", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, p := range plantest.New(t, tt.world).Pass(t).Draft.Asks {
				got = append(got, p.Key)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("%s\n-want +got\n%s", tt.world, d)
			}
		})
	}
}

// TestAnUnansweredQuestionProvesNothing: a removal of a person who was not looked up has no
// evidence, even if all other readings agree with the removal.
func TestAnUnansweredQuestionProvesNothing(t *testing.T) {
	for _, tt := range []struct{ name, world, want string }{
		{"the person was not met at all", "both ann\nclearml eve\n/team: ann\nteam = ann eve", "the person was not looked up in Keycloak"},
		{"another account may have the email", "duplicates\nboth ann\nkeycloak cid\nclearml cid\n/team: ann\n/x: cid\nteam = ann cid\nx = cid", "the person was not looked up in Keycloak"},
		{"the kept id may be an account's", "both ann\nkeycloak cid\nclearml cid id=kc-old\n/team: ann\n/x: cid\nteam = ann cid\nx = cid", "the person was not looked up in Keycloak"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := plantest.New(t, tt.world)
			src := w.Source(t)
			draft := plan.Make(src, w.Target(t), w.Pairing(t), match.Who(src, w.Target(t), w.Rules))
			for i, a := range w.Confirm(t, src, draft).Answers {
				if q := draft.Questions()[i]; a.Evidence.Valid() || a.Doubt != tt.want || q.Grant {
					t.Errorf("%+v\ngot evidence %q, doubt %q\nwant %q", q, a.Evidence, a.Doubt, tt.want)
				}
			}
			if len(draft.Questions()) == 0 {
				t.Error("the plan proposes nothing")
			}
		})
	}
}

func TestChangesCarryWhatTheGuardsNeed(t *testing.T) {
	w := plantest.New(t, "federation corp\nboth ann bob\nldap bob\nclearml eve id=kc-old\nclearml fay\nkeycloak new email=gil@example.com\nclearml gil id=kc-old2\n/ops: ann\n/x/ops: ann\n/sec: ann\n/idle: new\nrole boss: ann\nAdmins! = bob eve fay gil",
		func(o *match.Options) { o.AdminGroups, o.AdminRole = []string{"ops", "/sec"}, "boss" })
	g := w.Pass(t).Plan.Groups[0]
	var got []string
	for _, c := range append(g.Add, g.Remove...) {
		var accounts, sources []string
		for _, a := range c.Accounts {
			accounts = append(accounts, a.ID)
		}
		for _, s := range c.Sources {
			sources = append(sources, s.Path)
		}
		line := string(c.Action) + " " + c.User.ID + " " + string(c.Why) + " accounts " + strings.Join(accounts, " ") + "; sources " + strings.Join(sources, " ")
		if c.GoneBy != source.NotGone {
			line += "; gone by " + string(c.GoneBy)
		}
		if c.Group != "cm-Admins" || c.Grant() != (c.Action == plan.Add) {
			t.Errorf("%+v", c)
		}
		got = append(got, line)
	}
	want := []string{
		"add ann member accounts kc-ann; sources /sec",
		"remove bob not_member accounts kc-bob; sources /ops /sec /x/ops",
		"remove eve gone accounts ; sources /ops /sec /x/ops; gone by id",
		"remove fay gone accounts ; sources /ops /sec /x/ops; gone by email",
		"remove gil not_member accounts kc-new; sources /ops /sec /x/ops; gone by id",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// TestCollides: an addition collides if only groups with a colliding name list the person.
func TestCollides(t *testing.T) {
	for _, tt := range []struct {
		name  string
		world string
		rules func(*match.Options)
		want  bool
	}{
		{"a name that one group bears", "/ops: ann", func(o *match.Options) { o.AdminGroups = []string{"ops"} }, false},
		{"a name that several groups bear", "/ops: ann\n/x/ops:", func(o *match.Options) { o.AdminGroups = []string{"ops"} }, true},
		{"several groups of the name list the person", "/ops: ann\n/x/ops: ann", func(o *match.Options) { o.AdminGroups = []string{"ops"} }, true},
		{"the group is named by its path too", "/ops: ann\n/x/ops:\n/y/ops:", func(o *match.Options) { o.AdminGroups = []string{"ops", "/ops"} }, false},
		{"another group is named by its path", "/ops:\n/x/ops: ann\n/y/ops:", func(o *match.Options) { o.AdminGroups = []string{"ops", "/ops"} }, true},
		{"another name lists the person too", "/ops: ann\n/x/ops:\n/sec: ann", func(o *match.Options) { o.AdminGroups = []string{"ops", "sec"} }, false},
		{"the role lists the person too", "/ops: ann\n/x/ops:\nrole boss: ann", func(o *match.Options) { o.AdminGroups, o.AdminRole = []string{"ops"}, "boss" }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := plantest.New(t, "both ann\nAdmins! =\n"+tt.world, tt.rules).Pass(t).Plan.Groups[0]
			if len(g.Add) != 1 || g.Add[0].Collides != tt.want {
				t.Errorf("%s\ngot %+v\nwant one addition, collides %v", tt.world, g.Add, tt.want)
			}
		})
	}
}

func TestFloorCountsAdministratorsWhoRemain(t *testing.T) {
	for _, tt := range []struct {
		name  string
		world string
		want  []string
	}{
		{"members who stay", "both ann bob\n/ops: ann bob\nAdmins! = ann bob", []string{"ann", "bob"}},
		{"not those whom the plan removes", "both ann bob\n/ops: ann\nAdmins! = ann bob", []string{"ann"}},
		{"not those whom the plan wants to remove and may not", "federation corp away\nboth ann bob\nldap bob\n/ops: ann\nAdmins! = ann bob", []string{"ann"}},
		{"not those whom the plan is about to add", "both ann bob\n/ops: ann bob\nAdmins! = ann", []string{"ann"}},
		{"those whom the list hides", "federation corp\nboth ann bob\nldap bob\n/ops: ann\nhides /ops bob\nAdmins! = ann bob", []string{"ann", "bob"}},
		{"local people and people of another provider", "both ann\nclearml bob local\nclearml cid google\n/ops: ann\nAdmins! = ann bob cid", []string{"ann", "bob", "cid"}},
		{"not groupsync itself", "both ann\n/ops: ann\nAdmins! = ann groupsync", []string{"ann"}},
		{"not a service account", "both ann\nclearml bot service\n/ops: ann\nAdmins! = ann bot", []string{"ann"}},
		{"not somebody whom ClearML does not list", "both ann\n/ops: ann\nAdmins! = ann ghost", []string{"ann"}},
		{"not somebody disabled whom users.protect keeps", "both ann hal\ndisable hal\n/ops: ann hal\nAdmins! = ann hal", []string{"ann"}},
		{"somebody ambiguous of whom one account is enabled", "duplicates\nboth ann\nkeycloak b1 email=b@x\nkeycloak b2 email=b@x disabled\nclearml b email=b@x\n/ops: ann b1\nAdmins! = ann b", []string{"ann", "b"}},
		{"nobody who is gone and kept", "both ann\nclearml eve\nclearml hal email=\n/ops: ann\nAdmins! = ann eve", []string{"ann"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := plantest.New(t, tt.world, admins, func(o *match.Options) { o.Protect = []string{"hal"}; o.KeepGone = true })
			p := w.Pass(t).Weighed
			if d := cmp.Diff(tt.want, p.Groups[0].Floor); d != "" {
				t.Errorf("%s\n%q\n-want +got\n%s", tt.world, plantest.Lines(p), d)
			}
		})
	}
	w := plantest.New(t, "both ann\n/team: ann\nteam = ann")
	if got := w.Pass(t).Weighed.Groups[0].Floor; got != nil {
		t.Errorf("a group that is not of the administrators has a floor: %v", got)
	}
}

func TestFederatedAreTheAccountsOfClearMLUsers(t *testing.T) {
	const people = "federation corp\nboth ann bob cid dan\nldap ann bob cid\nkeycloak eve ldap\n"
	for _, tt := range []struct {
		name  string
		world string
		want  []string
	}{
		{"enabled federated members that ClearML knows, sorted", "/b/team: cid bob ann\n/a/team: ann dan\nteam =", []string{"kc-ann", "kc-bob", "kc-cid"}},
		{"not those who are pending", "/team: ann eve\nteam = ann", []string{"kc-ann"}},
		{"not those who are disabled", "disable bob\n/team: ann bob\nteam = ann", []string{"kc-ann"}},
		{"those whom the list hides", "/team: cid\nhides /team bob ann\nteam = ann bob cid", []string{"kc-ann", "kc-bob", "kc-cid"}},
		{"nobody of a group of local people", "/team: dan\nteam = dan", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := plantest.New(t, people+tt.world).Pass(t).Weighed.Groups[0]
			if d := cmp.Diff(tt.want, g.Federated); d != "" {
				t.Errorf("%s\n-want +got\n%s", tt.world, d)
			}
		})
	}
}

func TestCensus(t *testing.T) {
	w := plantest.New(t, "federation corp\nboth ann bob\nkeycloak dan\nkeycloak cid disabled\nclearml cid id=kc-cid\nclearml eve local\nclearml idle\nclearml gus\n/team: ann dan\n/x: dan ann\n/frozen: ann\nunreadable /frozen\nteam = ann cid eve ghost\nx = bob gus\nfrozen = bob eve")
	p := w.Pass(t).Weighed
	if p.Managed != 6 {
		t.Errorf("managed memberships: got %d, want 6: those of frozen groups do not count", p.Managed)
	}
	users := map[match.State]int{match.Matched: 3, match.Local: 1, match.Unresolved: 1, match.GoneNow: 1, match.Pending: 1}
	if d := cmp.Diff(users, p.Users); d != "" {
		t.Errorf("users by state, those who matter, each once: -want +got\n%s", d)
	}
	people := map[string]match.State{"ann": match.Matched, "bob": match.Matched, "cid": match.Matched, "eve": match.Local, "ghost": match.Unresolved, "gus": match.GoneNow}
	if d := cmp.Diff(people, p.People); d != "" {
		t.Errorf("people: -want +got\n%s", d)
	}
	if d := cmp.Diff(map[string]bool{"cid": true}, p.CannotSignIn); d != "" {
		t.Errorf("CannotSignIn: -want +got\n%s", d)
	}
	if len(p.Pending) != 1 || p.Pending[0].ID != "kc-dan" {
		t.Errorf("pending, once over all groups: %v", p.Pending)
	}
}

func TestQuestionsAreAskedGroupByGroupAdditionsFirst(t *testing.T) {
	w := plantest.New(t, "both ann bob cid\n/team: bob ann\n/x: cid\nteam = cid\nx = bob")
	var got []string
	for _, q := range w.Pass(t).Plan.Questions() {
		sign := "-"
		if q.Grant {
			sign = "+"
		}
		got = append(got, sign+q.User+"@"+q.Group)
	}
	if d := cmp.Diff([]string{"+ann@cm-team", "+bob@cm-team", "-cid@cm-team", "+cid@cm-x", "-bob@cm-x"}, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// A grant through a group also asks for the role. The group's list can show the account
// wrongly, and the role can still make the person an administrator.
func TestQuestionsAboutAdministratorsNameTheRole(t *testing.T) {
	w := plantest.New(t, "both ann bob cid dan\n/ops: ann\n/team: dan\nrole boss: bob\nAdmins! = cid\nteam =", func(o *match.Options) { o.AdminGroups, o.AdminRole = []string{"ops"}, "boss" })
	got := map[string]string{}
	for _, q := range w.Pass(t).Plan.Questions() {
		got[q.User] = q.Role
	}
	if d := cmp.Diff(map[string]string{"ann": "boss", "bob": "boss", "cid": "boss", "dan": ""}, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// The second look treats a person whom only an email names with more care
// (source.Catalog.HidesEmails).
func TestQuestionsSayWhoIsMatchedByEmail(t *testing.T) {
	w := plantest.New(t, "both ann bob\nkeycloak dan\nkeycloak eve\nclearml dan\nclearml eve\n/team: ann dan\nteam = bob eve")
	got := map[string]bool{}
	for _, q := range w.Pass(t).Plan.Questions() {
		got[q.User] = q.ByEmail
	}
	if d := cmp.Diff(map[string]bool{"ann": false, "bob": false, "dan": true, "eve": true}, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// groupsync changes the ClearML role user to admin and back, and no other role.
func TestOnlyTheRoleUserBecomesAdmin(t *testing.T) {
	w := plantest.New(t, "both ann\nclearml bob role=superuser id=kc-bob\nkeycloak bob\n/ops: ann bob\n/x:\nx =", func(o *match.Options) { o.AdminGroups, o.AdminVia = []string{"ops"}, match.ViaRole })
	var added, other []string
	for _, g := range w.Pass(t).Plan.Groups {
		for _, c := range g.Add {
			added = append(added, c.User.ID)
		}
		for _, u := range g.OtherRole {
			other = append(other, u.ID)
		}
	}
	if !slices.Equal(added, []string{"ann"}) || !slices.Equal(other, []string{"bob"}) {
		t.Errorf("administrators to add: %q, of another role: %q", added, other)
	}
}

func TestWeighedRefusesAnswersOfOtherQuestions(t *testing.T) {
	w := plantest.New(t, "both ann bob\n/team: ann\n/x: ann\nteam = bob\nx = bob")
	p := w.Pass(t)
	answers := p.Confirmation.Answers
	const other = "the second look answers for another change than the one asked about, in the user group with the id cm-team, so the changes were not judged: report this as a fault in groupsync"
	for _, tt := range []struct {
		name    string
		answers []source.Answer
		want    string
	}{
		{"the answers to these questions", answers, ""},
		{"an answer for the other direction", []source.Answer{answers[1], answers[0], answers[2], answers[3]}, other},
		{"an answer for another group", []source.Answer{answers[2], answers[1], answers[0], answers[3]}, other},
		{"too few answers", answers[:3], "the second look answers fewer questions than were asked (3 answers), so the changes were not judged: report this as a fault in groupsync"},
		{"too many answers", append(append([]source.Answer{}, answers...), source.Answer{}), "the second look answers more questions than were asked (5 answers), so the changes were not judged: report this as a fault in groupsync"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if _, err := p.Plan.Weighed(source.Confirmation{Answers: tt.answers}); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	denied := plantest.New(t, "federation corp away\nboth ann bob\nldap ann bob\n/team:\nteam = ann bob").Pass(t)
	slices.Reverse(denied.Confirmation.Answers)
	if _, err := denied.Plan.Weighed(denied.Confirmation); err == nil || err.Error() != other {
		t.Errorf("a doubt about another change: got %v", err)
	}
	p2 := plantest.New(t, "both ann cid\n/team: ann\nteam = cid").Pass(t)
	if _, err := p2.Plan.Weighed(source.Confirmation{Answers: answers[:2]}); err == nil || err.Error() != other {
		t.Errorf("an answer for another user: got %v", err)
	}
}

func TestWeighedCarriesTheAnswer(t *testing.T) {
	w := plantest.New(t, "federation corp away\nboth ann bob cid\nldap ann\n/team:\nteam = ann bob cid\ndisable cid")
	g := w.Pass(t).Weighed.Groups[0]
	if c := g.Remove[0]; c.Denial != source.Away || c.Federation != "fed-corp" || c.Doubt != "the federation corp is not up: status 500" || c.Evidence.Valid() {
		t.Errorf("ann: %+v", c)
	}
	if c := g.Remove[1]; c.Denial != source.Proved || c.Doubt != "" || !c.Evidence.For("cm-team", "bob", false) {
		t.Errorf("bob: %+v", c)
	}
	if c := g.Remove[2]; c.Why != source.Disabled || !c.Evidence.Valid() {
		t.Errorf("cid: %+v", c)
	}
}

// TestWhatIsSeenOfTheCacheIsKept: an answer that shows an old user cache marks its group and
// no other group.
func TestWhatIsSeenOfTheCacheIsKept(t *testing.T) {
	w := plantest.New(t, "federation corp\nboth ann bob\nldap ann bob\n/team:\n/x:\nteam = ann\nx = bob")
	w.Second = func(s *source.SecondLook) {
		s.Own[source.OwnKey{Account: "kc-ann", Name: "team"}] = source.Own{Asked: true, Cached: []string{"/team"}}
	}
	p := w.Pass(t).Weighed
	if !p.Groups[0].Own.Stale || p.Groups[1].Own.Stale {
		t.Errorf("team %v, x %v; want only team", p.Groups[0].Own.Stale, p.Groups[1].Own.Stale)
	}
}

// TestWeighedLeavesThePlanAlone: Weighed returns another plan and does not change this one.
func TestWeighedLeavesThePlanAlone(t *testing.T) {
	w := plantest.New(t, "federation corp\nboth a b c d e f\nldap a b c d e f\n/team: b c d e\nhides /team a\nteam = a b c d e")
	p := w.Pass(t)
	if got := p.Plan.Groups[0].Federated; cmp.Diff([]string{"kc-b", "kc-c", "kc-d", "kc-e"}, got) != "" {
		t.Errorf("the plan's federated members changed: %v", got)
	}
	if len(p.Plan.Groups[0].Remove) != 1 || len(p.Weighed.Groups[0].Remove) != 0 {
		t.Errorf("the plan %v\nweighed %v", p.Plan.Groups[0].Remove, p.Weighed.Groups[0].Remove)
	}
	again, err := p.Plan.Weighed(p.Confirmation)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(plantest.Lines(p.Weighed), plantest.Lines(again)); d != "" {
		t.Errorf("weighed twice\n%s", d)
	}
	// If the next two calls share one array, both write into its spare capacity.
	g := p.Plan.Groups[0]
	g.Federated = append(make([]string, 0, 16), g.Federated...)
	p.Plan.Groups = []plan.Group{g}
	if _, err := p.Plan.Weighed(p.Confirmation); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"kc-b", "kc-c", "kc-d", "kc-e"}, p.Plan.Groups[0].Federated); d != "" {
		t.Errorf("weighing sorted the plan's own list: -want +got\n%s", d)
	}
}

func TestKeysTellChangesApart(t *testing.T) {
	c := plan.Change{Group: "g", Action: plan.Add}
	c.User.ID = "u"
	keys := map[string]bool{c.Key(): true}
	d := c
	d.Action = plan.Remove
	keys[d.Key()] = true
	d.Group, d.User.ID = "gu", ""
	keys[d.Key()] = true
	d.Group = "h"
	keys[d.Key()] = true
	if len(keys) != 4 {
		t.Errorf("got %d keys of 4 changes", len(keys))
	}
}
