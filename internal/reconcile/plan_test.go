package reconcile

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/match"
	"groupsync/internal/report"
)

func TestPlan(t *testing.T) {
	tests := []struct {
		name    string
		world   string
		options func(*match.Options)
		want    []string
	}{
		{
			name:  "a joiner is added, a leaver is removed, who is right stays",
			world: "both ann bob cid\n/team: ann bob\nteam = bob cid",
			want:  []string{"+ann@team planned", "-cid@team planned not_member"},
		},
		{
			name:  "a disabled member leaves every group",
			world: "both ann bob\ndisable bob\n/team: ann bob\nteam = ann bob",
			want:  []string{"-bob@team planned disabled"},
		},
		{
			name:  "a disabled member is not added",
			world: "both ann\nkeycloak bob disabled\n/team: ann bob\nteam = ann",
			want:  []string{},
		},
		{
			name:  "somebody whom Keycloak has no more is removed as gone",
			world: "both ann\nclearml eve\n/team: ann\nteam = ann eve",
			want:  []string{"-eve@team planned gone"},
		},
		{
			name:    "users.gone keep keeps them",
			world:   "both ann\nclearml eve\n/team: ann\nteam = ann eve",
			options: func(o *match.Options) { o.KeepGone = true },
			want:    []string{"=eve@team gone_kept"},
		},
		{
			name:  "who never signed in through a provider stays as local",
			world: "both ann\nclearml eve local\n/team: ann\nteam = ann eve",
			want:  []string{"=eve@team local"},
		},
		{
			name:  "who also signed in elsewhere stays as other_provider",
			world: "both ann\nclearml eve other\n/team: ann\nteam = ann eve",
			want:  []string{"=eve@team other_provider"},
		},
		{
			name:  "a user without an email cannot be looked up and stays as unknown",
			world: "both ann\nclearml eve email=\n/team: ann\nteam = ann eve",
			want:  []string{"=eve@team unknown"},
		},
		{
			name:  "a service account stays",
			world: "both ann\nclearml bot service\n/team: ann\nteam = ann bot",
			want:  []string{"=bot@team service_account"},
		},
		{
			name:  "a member id that the user list lacks stays as unresolved",
			world: "both ann\n/team: ann\nteam = ann ghost",
			want:  []string{"=ghost@team unresolved"},
		},
		{
			name:  "groupsync itself never loses anything",
			world: "both ann\n/team: ann\nteam = ann groupsync",
			want:  []string{"=groupsync@team self"},
		},
		{
			name:    "protected people stay, by email, case ignored",
			world:   "both ann bob\n/team: ann\nteam = ann bob",
			options: func(o *match.Options) { o.Protect = []string{"BOB@*"} },
			want:    []string{"=bob@team protected"},
		},
		{
			name:    "protected people stay, by id",
			world:   "both ann bob\n/team: ann\nteam = ann bob",
			options: func(o *match.Options) { o.Protect = []string{"bob"} },
			want:    []string{"=bob@team protected"},
		},
		{
			name:  "two ClearML users of one email: nothing is granted, and they stay where the account is in",
			world: "both ann\nkeycloak bob\nclearml b1 email=bob@example.com\nclearml b2 email=BOB@example.com\n/team: ann bob\n/other: ann bob\n/gone: ann\nteam = ann b1\nother = ann\ngone = ann b2",
			want:  []string{"-b2@gone planned not_member", "=b1@team ambiguous"},
		},
		{
			name:  "two Keycloak users of one email are ambiguous and get nothing",
			world: "duplicates\nboth ann\nkeycloak b1 email=b@example.com\nkeycloak b2 email=b@example.com\nclearml b email=b@example.com\n/team: ann b1\nteam = ann",
			want:  []string{},
		},
		{
			name:  "the id that ClearML keeps outranks the email",
			world: "keycloak ann email=new@example.com\nclearml ann id=kc-ann email=old@example.com\n/team: ann\nteam =",
			want:  []string{"+ann@team planned"},
		},
		{
			name:  "an id that is one account's while the email is another's: the id decides",
			world: "both bob\nkeycloak boss\nkeycloak ann\nclearml ann id=kc-boss\n/lead: boss\n/team: bob ann\nlead = bob ann\nteam = bob",
			want:  []string{"-bob@lead planned not_member", "?ann@team"},
		},
		{
			name:  "several kept ids are several accounts: one of them in keeps the person, all of them out do not",
			world: "both bob\nclearml ann id=kc-ann,kc-eve\nkeycloak ann\nkeycloak eve\n/team: bob eve\n/other: bob\nteam = bob ann\nother = bob ann",
			want:  []string{"-ann@other planned not_member", "=ann@team ambiguous"},
		},
		{
			name:  "an id that the realm has no more, and an account of that email: nothing is granted",
			world: "keycloak ann\nclearml ann id=11111111-2222-3333-4444-555555555555\n/team: ann\nteam =",
			want:  []string{},
		},
		{
			name:  "a gone user who shares a pending account's name has changed the email",
			world: "both bob\nkeycloak ann2 name=Ann_Lee\nclearml ann name=Ann_Lee\n/team: bob ann2\nteam = bob ann",
			want:  []string{"=ann@team renamed", "?ann2@team"},
		},
		{
			name:  "a member without a ClearML account is pending",
			world: "both ann\nkeycloak dan\n/team: ann dan\nteam = ann",
			want:  []string{"?dan@team"},
		},
		{
			name:  "groups of one claim name are one desired group, the union of their members",
			world: "both ann bob cid\n/a:\n/b:\n/a/team: ann\n/b/team: bob\nteam = ann cid",
			want:  []string{"+bob@team planned", "-cid@team planned not_member"},
		},
		{
			name:    "with full paths the same leaves are two groups",
			world:   "both ann bob\n/a:\n/b:\n/a/team: ann\n/b/team: bob\n/a/team = bob",
			options: func(o *match.Options) { o.FullPath = true },
			want:    []string{"+ann@/a/team planned", "-bob@/a/team planned not_member"},
		},
		{
			name:  "membership is direct: a child's members are not the parent's",
			world: "both ann bob\n/team: ann\n/team/sub: bob\nteam = ann bob",
			want:  []string{"-bob@team planned not_member"},
		},
		{
			name:    "a mapping renames, and one claim name may feed several groups",
			world:   "both ann\n/team: ann\nteam = \nx =\ny =",
			options: func(o *match.Options) { o.Mapping = map[string][]string{"team": {"x", "y"}} },
			want:    []string{"+ann@x planned", "+ann@y planned"},
		},
		{
			name:    "several claim names may feed one group",
			world:   "both ann bob cid\n/a: ann\n/b: bob\nx = cid",
			options: func(o *match.Options) { o.Mapping = map[string][]string{"a": {"x"}, "b": {"x"}} },
			want:    []string{"+ann@x planned", "+bob@x planned", "-cid@x planned not_member"},
		},
		{
			name:    "an excluded claim name is left alone",
			world:   "both ann bob\n/team: ann\nteam = bob",
			options: func(o *match.Options) { o.Exclude = []string{"te*"} },
			want:    []string{},
		},
		{
			name:  "built-in and unassignable groups are never written",
			world: "both ann bob\n/Users: ann\n/locked: ann\n/idle: ann\nUsers! = bob\nlocked? = bob\nidle = ann",
			want:  []string{},
		},
		{
			name:  "nor are groups of the built-in ones' names, whatever ClearML says of them",
			world: "both ann bob\n/Users: ann\n/Admins: ann\n/idle: ann\nUsers = bob\nAdmins = bob\nidle = ann",
			want:  []string{},
		},
		{
			name:    "admin groups and holders of the role become administrators, nobody else stays one",
			world:   "both ann bob cid dan\n/ops: ann\n/sec:\n/sec/leads: cid\nrole boss: bob /sec\nAdmins! = dan",
			options: func(o *match.Options) { o.AdminGroups, o.AdminRole = []string{"ops"}, "boss" },
			want:    []string{"+ann@Admins planned", "+bob@Admins planned", "+cid@Admins planned", "-dan@Admins planned not_member"},
		},
		{
			name:  "without admin groups and role administrators are not touched",
			world: "both ann dan\n/Admins: ann\n/team: ann\nteam = ann\nAdmins! = dan",
			want:  []string{},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.world)
			r, _ := w.reconciler(t, wide, tt.options)
			rep := r.Pass(context.Background(), Request{})
			if len(rep.Errors) > 0 {
				t.Fatalf("errors: %v", rep.Errors)
			}
			if d := cmp.Diff(tt.want, lines(rep)); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
			if len(w.writes) > 0 {
				t.Errorf("an observing pass wrote %q", w.writes)
			}
		})
	}
}

// TestRemarks: the report has the remarks that stop nothing.
func TestRemarks(t *testing.T) {
	admins := func(o *match.Options) { o.AdminGroups = []string{"ops"} }
	for _, tt := range []struct {
		name    string
		world   string
		options func(*match.Options)
		want    []report.Skip
	}{
		{"a provider that nobody came by, where there are others", "keycloak ann\nclearml ann other\nclearml bob local\n/team: ann\nteam = ann",
			func(o *match.Options) { o.Provider = "Keycloak-prod" },
			[]report.Skip{{Name: "Keycloak-prod", Side: "clearml", Why: "the value of clearml.provider, but no user has signed in through that provider. Users signed in through google, keycloak"}}},
		{"no provider at all", "clearml ann local\n/team:\nteam = ann", nil,
			[]report.Skip{{Name: "keycloak", Side: "clearml", Why: "the value of clearml.provider, but according to ClearML no user has signed in through any provider. No user can be matched until somebody signs in to ClearML through Keycloak"}}},
		{"administrators by one of two signs", "keycloak ann\nclearml ann role=user\nclearml bob role=admin\nclearml cid role=admin\nclearml dan\nclearml bot role=admin service\n/ops: ann\nAdmins! = ann cid dan", admins,
			[]report.Skip{
				{Name: "bob@example.com", Side: "clearml", Why: "has the role admin and is not in Admins: check in Keycloak whether the person must be an administrator, and correct in ClearML only what admins.via does not name"},
				{Name: "ann@example.com", Side: "clearml", Why: "is in Admins and has no administrator's role: check in Keycloak whether the person must be an administrator, and correct in ClearML only what admins.via does not name; the role is user"},
			}},
		{"administrators that are not ours", "clearml ann role=admin\n/team:\nteam =\nAdmins! =", nil, []report.Skip{{Name: "Admins", Side: "clearml", Why: "builtin"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.world)
			r, _ := w.reconciler(t, wide, tt.options)
			got := slices.DeleteFunc(r.Pass(context.Background(), Request{}).Skipped, func(s report.Skip) bool { return s.Side == match.InKeycloak })
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

// TestStepsOfAPass: a person who waits for a pass gets its steps, in order.
func TestStepsOfAPass(t *testing.T) {
	read := []string{"reading ClearML and Keycloak's groups", "reading the members of Keycloak's groups"}
	for _, tt := range []struct {
		name, world string
		apply       bool
		want        []string
	}{
		{"a dry run with a joiner, who needs no look-up", "both ann bob\n/team: ann bob\nteam = ann", false, append(slices.Clone(read), "taking the second look")},
		{"a pass that looks somebody up and writes", "both ann\nclearml eve\n/team: ann\nteam = eve", true, append(slices.Clone(read), "looking people up", "taking the second look", "writing to ClearML")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var steps []string
			r, _ := newWorld(t, tt.world).reconciler(t, wide, nil)
			r.Step = func(step string) { steps = append(steps, step) }
			r.Pass(t.Context(), Request{MayWrite: leads, Apply: tt.apply, DryRun: !tt.apply})
			if d := cmp.Diff(tt.want, steps); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}
