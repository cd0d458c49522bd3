package reconcile

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/guard"
	"groupsync/internal/match"
	"groupsync/internal/report"
	"groupsync/internal/source"
)

// trips returns "guard group: detail" for every trip.
func trips(r report.Report) []string {
	var out []string
	for _, t := range r.Guards {
		out = append(out, strings.TrimSpace(string(t.Guard)+" "+t.Group)+": "+t.Detail)
	}
	return out
}

func TestGuards(t *testing.T) {
	admins := func(o *match.Options) { o.AdminGroups = []string{"ops"} }
	limit := func(change func(*guard.Limits)) guard.Limits {
		l := wide
		change(&l)
		return l
	}
	tests := []struct {
		name    string
		world   string
		change  func(*world)
		options func(*match.Options)
		limits  guard.Limits
		want    []string // lines
		trip    string   // start of the only trip
		result  report.Result
	}{
		{
			name:   "more removals than max_removals withhold all of them, additions go on",
			world:  "both ann bob cid\n/team: ann\nteam = bob cid",
			limits: limit(func(l *guard.Limits) { l.MaxRemovals = 1 }),
			want:   []string{"+ann@team applied", "-bob@team withheld not_member by removals", "-cid@team withheld not_member by removals"},
			trip:   "removals: 2 removals are wanted and 0 were made within 24h0m0s, guards.max_removals is 1: all removals are withheld; if they are correct, approve them",
			result: report.Guarded,
		},
		{
			name:   "with on_trip stop nothing at all is written",
			world:  "both ann bob cid\n/team: ann\nteam = bob cid",
			limits: limit(func(l *guard.Limits) { l.MaxRemovals, l.Stop = 1, true }),
			want:   []string{"+ann@team withheld by removals", "-bob@team withheld not_member by removals", "-cid@team withheld not_member by removals"},
			trip:   "removals: 2 removals are wanted",
			result: report.Guarded,
		},
		{
			name:   "a group that loses too large a share keeps its people, other groups go on",
			world:  "both a b c d e f\n/big: a\n/small: a\nbig = a b c d e f\nsmall = a b",
			limits: limit(func(l *guard.Limits) { l.MaxRatio = 0.8; l.FreeRemovals = 3 }),
			want: []string{"-b@big withheld not_member by removals", "-c@big withheld not_member by removals", "-d@big withheld not_member by removals",
				"-e@big withheld not_member by removals", "-f@big withheld not_member by removals", "-b@small applied not_member"},
			trip:   "removals big: 5 of its 6 members would be removed (83 %), guards.max_removal_ratio is 0.8 and guards.free_removals 3: the group's removals are withheld; if they are correct, approve them",
			result: report.Guarded,
		},
		{
			name:   "more than the ratio of all managed memberships withholds every removal",
			world:  "both a b c d\n/x: a\n/y: a\nx = a b\ny = a c d",
			limits: limit(func(l *guard.Limits) { l.MaxRatio = 0.5; l.FreeRemovals = 2 }),
			want:   []string{"-b@x withheld not_member by removals", "-c@y withheld not_member by removals", "-d@y withheld not_member by removals"},
			trip:   "removals: 3 of all 5 managed memberships would be removed (60 %), guards.max_removal_ratio is 0.5 and guards.free_removals 2: all removals are withheld; if they are correct, approve them",
			result: report.Guarded,
		},
		{
			name:   "free_removals covers the ratio of all too: a small installation loses its leavers by itself",
			world:  "both a b c d\n/x: a\n/y: a\nx = a b\ny = a c d",
			limits: limit(func(l *guard.Limits) { l.MaxRatio = 0.5; l.FreeRemovals = 3 }),
			want:   []string{"-b@x applied not_member", "-c@y applied not_member", "-d@y applied not_member"},
			result: report.Applied,
		},
		{
			name:   "more people gone at once than max_gone withhold every removal",
			world:  "both ann bob\nclearml eve\nclearml fay\n/team: ann\nteam = ann bob eve fay",
			limits: limit(func(l *guard.Limits) { l.MaxGone = 1 }),
			want:   []string{"-bob@team withheld not_member by gone", "-eve@team withheld gone by gone", "-fay@team withheld gone by gone"},
			trip:   "gone: 2 people are gone from Keycloak at once, guards.max_gone is 1: all removals are withheld; if these people were deleted on purpose, approve the removals",
			result: report.Guarded,
		},
		{
			name:   "while a federation is away its people stay, and a local leaver goes",
			world:  "federation corp\nboth ann bob cid\nldap ann bob\ndisable bob cid\n/team: ann\nteam = ann bob cid",
			change: func(w *world) { w.away = map[string]string{"fed-corp": "status 500"} },
			limits: wide,
			want:   []string{"-bob@team withheld disabled by federation", "-cid@team applied disabled"},
			trip:   `federation: the federation "corp" is not up (status 500): 1 changes that depend on it are withheld, and its people keep their memberships; check that its server answers Keycloak; if it stays switched off, or never answers a probe although it works, name it in keycloak.trusted_federations`,
			result: report.Guarded,
		},
		{
			name:  "the confirm step: a second look that has the person withholds the removal",
			world: "both ann bob\n/team: ann\nteam = ann bob",
			change: func(w *world) {
				w.second = func(s *source.SecondLook) { s.Members["/team"] = append(s.Members["/team"], w.users["kc-bob"]) }
			},
			limits: wide,
			want:   []string{"-bob@team withheld not_member by confirm"},
			trip:   "confirm team: the second look did not confirm 1 of 1 changes (the first unconfirmed change: the second read of the Keycloak group /team lists the account): they are withheld, and the next pass checks them again",
			result: report.Guarded,
		},
		{
			name:    "a missing group of admins.groups freezes the administrators",
			world:   "both ann dan\n/Ops: ann\n/team: ann\nteam =\nAdmins! = dan",
			options: admins,
			limits:  wide,
			want:    []string{"+ann@team applied"},
			trip:    `missing_source Admins: the Keycloak group "ops", named in admins.groups, does not exist: the user group is frozen; create it or correct the configuration; did you mean "Ops"?`,
			result:  report.Guarded,
		},
		{
			name:    "a missing admin role freezes the administrators and names what is near",
			world:   "both ann dan\nrole clearml-admin: ann\n/team: ann\nteam = ann\nAdmins! = dan",
			options: func(o *match.Options) { o.AdminRole = "clearml-admins" },
			limits:  wide,
			want:    []string{},
			trip:    `missing_source Admins: the Keycloak role "clearml-admins", named in admins.role, does not exist: the user group is frozen; create it or correct the configuration; did you mean "clearml-admin"?`,
			result:  report.Guarded,
		},
		{
			name:    "a missing group of groups.mapping freezes what it feeds",
			world:   "both ann dan\n/team: ann\nx = dan\nteam = ann",
			options: func(o *match.Options) { o.Mapping = map[string][]string{"team": {"x"}, "tema": {"x"}} },
			limits:  wide,
			want:    []string{},
			trip:    `missing_source x: the Keycloak group "tema", named in groups.mapping, does not exist`,
			result:  report.Guarded,
		},
		{
			name:    "fewer administrators than the floor: none is removed",
			world:   "both ann dan\ndisable ann\n/ops: ann\nAdmins! = dan groupsync",
			options: admins,
			limits:  limit(func(l *guard.Limits) { l.Floor = 1 }),
			want:    []string{"-dan@Admins withheld not_member by admins", "=groupsync@Admins self"},
			trip:    "admins Admins: 0 administrators would remain, admins.floor is 1: the removals of administrators are withheld; first make another person an administrator in Keycloak; a new administrator counts from the pass after the addition",
			result:  report.Guarded,
		},
		{
			name:    "an administrator who is only to be added does not yet hold the floor",
			world:   "both ann dan\n/ops: ann\nAdmins! = dan",
			options: admins,
			limits:  limit(func(l *guard.Limits) { l.Floor = 1 }),
			want:    []string{"+ann@Admins applied", "-dan@Admins withheld not_member by admins"},
			trip:    "admins Admins: 0 administrators would remain, admins.floor is 1",
			result:  report.Guarded,
		},
		{
			name:    "administrators are configured, and ClearML shows no built-in group for them",
			world:   "both ann\n/ops: ann\n/team: ann\nteam = ann\nAdmins = ann",
			options: admins,
			limits:  wide,
			want:    []string{},
			trip:    `missing_source: ClearML did not return exactly one user group "Admins" that is built in and assignable (users can be added and removed). Its members were not synchronized. Check these three points in ClearML, or set admins.via to role, or remove admins.groups and admins.role`,
			result:  report.Guarded,
		},
		{
			name:    "a mapping from a group that is not there to one that is not there either",
			world:   "both ann\n/team: ann\nteam = ann",
			options: func(o *match.Options) { o.Mapping = map[string][]string{"taem": {"nowhere"}} },
			limits:  wide,
			want:    []string{},
			trip:    `missing_source: the Keycloak group "taem", named in groups.mapping, does not exist: nothing is synchronized from it; create it or correct the configuration; did you mean "team"?`,
			result:  report.Guarded,
		},
		{
			name:  "a group that ClearML shows differently from its two sides is not written",
			world: "both ann bob\n/team: ann\nteam = bob",
			change: func(w *world) {
				u := w.accounts["ann"]
				u.Groups = []string{"cm-team"}
				w.accounts["ann"] = u
			},
			limits: wide,
			want:   []string{"+ann@team withheld by views", "-bob@team withheld not_member by views"},
			trip:   "views team: ClearML's two views of this group disagree after a second read (0 members only in the group's list, 1 only in the users' own lists, 1 in both): the group is not written; look at the group in ClearML",
			result: report.Guarded,
		},
		{
			name:   "a federated person's removal waits for the grace, which is drift and not guarded",
			world:  "federation corp\nboth ann bob\nldap ann bob\n/team: ann\nteam = ann bob",
			limits: limit(func(l *guard.Limits) { l.Grace = time.Hour; l.Forgets = true }),
			want:   []string{"-bob@team withheld not_member by grace"},
			trip:   "grace: 1 removals depend on a federation and wait until every pass has wanted them for 1h0m0s; a single pass cannot wait: set state_dir, so that later passes remember the time, or set guards.federation_grace: 0s",
			result: report.Drift,
		},
		{
			name:   "somebody whose id is gone in a realm with federations waits for the grace too",
			world:  "federation corp\nboth ann\nclearml eve id=11111111-2222-3333-4444-555555555555\n/team: ann\nteam = ann eve",
			limits: limit(func(l *guard.Limits) { l.Grace = time.Hour }),
			want:   []string{"-eve@team withheld gone by grace"},
			trip:   "grace: 1 removals depend on a federation and wait until every pass has wanted them for 1h0m0s; the first pass after that makes them",
			result: report.Drift,
		},
		{
			name:   "somebody whose email alone is gone waits for gone_grace, federation or not",
			world:  "both ann\nclearml eve\n/team: ann\nteam = ann eve",
			limits: limit(func(l *guard.Limits) { l.GoneGrace = 24 * time.Hour }),
			want:   []string{"-eve@team withheld gone by grace"},
			trip:   "grace: 1 removals depend on an email alone, because ClearML keeps no account id of the person, and wait until every pass has wanted them for 24h0m0s; the first pass after that makes them",
			result: report.Drift,
		},
		{
			name:  "a federated person whom the database itself calls disabled waits for nothing",
			world: "federation corp\nboth ann bob\nldap ann bob\ndisable bob\n/team: ann bob\nteam = ann bob",
			change: func(w *world) {
				w.second = func(s *source.SecondLook) { s.DisabledDB["kc-bob"] = true }
			},
			limits: limit(func(l *guard.Limits) { l.Grace = time.Hour }),
			want:   []string{"-bob@team applied disabled"},
			result: report.Applied,
		},
		{
			name:   "a local person's removal waits for nothing",
			world:  "federation corp\nboth ann bob\nldap ann\n/team: ann\nteam = ann bob",
			limits: limit(func(l *guard.Limits) { l.Grace = time.Hour }),
			want:   []string{"-bob@team applied not_member"},
			result: report.Applied,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.world)
			if tt.change != nil {
				tt.change(w)
			}
			r, _ := w.reconciler(t, tt.limits, tt.options)
			rep := r.Pass(context.Background(), Request{MayWrite: leads, Apply: true})
			if len(rep.Errors) > 0 {
				t.Fatalf("errors: %v", rep.Errors)
			}
			if d := cmp.Diff(tt.want, lines(rep)); d != "" {
				t.Errorf("lines: -want +got\n%s", d)
			}
			got := trips(rep)
			if tt.trip == "" && len(got) > 0 || tt.trip != "" && (len(got) != 1 || !strings.HasPrefix(got[0], tt.trip)) {
				t.Errorf("trips:\n got %q\nwant %q", got, tt.trip)
			}
			if rep.Result != tt.result {
				t.Errorf("result: got %s, want %s", rep.Result, tt.result)
			}
		})
	}
}

// step is one pass of a story over one world. Before each pass something happens, and the
// memory is kept.
type step struct {
	do      func(w *world, c *clock)
	approve bool // with the digest of the pass before
	want    []string
}

func TestGuardsRemember(t *testing.T) {
	limits := wide
	limits.Grace, limits.MaxRatio, limits.MaxRemovals = time.Hour, 0.25, 2
	later := func(d time.Duration) func(*world, *clock) {
		return func(_ *world, c *clock) { c.Time = c.Add(d) }
	}
	group := func(path string, names ...string) func(*world, *clock) {
		return func(w *world, _ *clock) { w.groups[path] = names }
	}
	const ten = "both a b c d e f g h i j\n"
	tests := []struct {
		name  string
		world string
		steps []step
	}{
		{
			name:  "the grace: wanted by every pass for an hour, then applied",
			world: "federation corp\n" + ten + "ldap a b\n/team: a b c d e f\nteam = a b c d e f",
			steps: []step{
				{want: []string{}},
				{do: group("/team", "a", "c", "d", "e", "f"), want: []string{"-b@team withheld not_member by grace"}},
				{do: later(30 * time.Minute), want: []string{"-b@team withheld not_member by grace"}},
				{do: later(30 * time.Minute), want: []string{"-b@team applied not_member"}},
			},
		},
		{
			name:  "the grace: a pass that does not want it starts the clock anew",
			world: "federation corp\n" + ten + "ldap a b\n/team: a b c d e f\nteam = a b c d e f",
			steps: []step{
				{do: group("/team", "a", "c", "d", "e", "f"), want: []string{"-b@team withheld not_member by grace"}},
				{do: group("/team", "a", "b", "c", "d", "e", "f"), want: []string{}},
				{do: func(w *world, c *clock) { later(2*time.Hour)(w, c); group("/team", "a", "c", "d", "e", "f")(w, c) },
					want: []string{"-b@team withheld not_member by grace"}},
			},
		},
		{
			name:  "the grace: a probe that is not up resets it",
			world: "federation corp\n" + ten + "ldap a b\n/team: a c d e f\nteam = a b c d e f",
			steps: []step{
				{want: []string{"-b@team withheld not_member by grace"}},
				{do: func(w *world, c *clock) {
					later(2*time.Hour)(w, c)
					w.away = map[string]string{"fed-corp": "status 500"}
				},
					want: []string{"-b@team withheld not_member by federation"}},
				{do: func(w *world, _ *clock) { w.away = nil }, want: []string{"-b@team withheld not_member by grace"}},
			},
		},
		{
			name:  "the grace: a pass with an error neither counts nor resets",
			world: "federation corp\n" + ten + "ldap a b\n/team: a c d e f\nteam = a b c d e f",
			steps: []step{
				{want: []string{"-b@team withheld not_member by grace"}},
				{do: func(w *world, c *clock) { later(time.Minute)(w, c); w.readKC = context.DeadlineExceeded }, want: []string{}},
				{do: func(w *world, c *clock) { later(2*time.Hour)(w, c); w.readKC = nil }, want: []string{"-b@team withheld not_member by grace"}},
				{do: later(58 * time.Minute), want: []string{"-b@team withheld not_member by grace"}},
				{do: later(time.Minute), want: []string{"-b@team applied not_member"}},
			},
		},
		{
			name:  "the fall: federated members fell to none since the last accepted pass, until approved",
			world: "federation corp\n" + ten + "ldap a\n/team: a b c d e f\nteam = a b c d e f",
			steps: []step{
				{want: []string{}},
				{do: group("/team", "b", "c", "d", "e", "f"), want: []string{"-a@team withheld not_member by fall"}},
				{do: later(48 * time.Hour), want: []string{"-a@team withheld not_member by fall"}},
				{approve: true, want: []string{"-a@team applied not_member"}},
				{want: []string{}},
			},
		},
		{
			name:  "the fall: it is remembered through passes that want no removal",
			world: "federation corp\n" + ten + "ldap a\n/team: a b c d e f\nteam = b c d e f",
			steps: []step{
				{want: []string{"+a@team applied"}},
				{do: func(w *world, c *clock) {
					group("/team", "b", "c", "d", "e", "f")(w, c)
					w.setTarget("team", []string{"b", "c", "d", "e", "f"})
				}, want: []string{}},
				{do: func(w *world, _ *clock) { w.setTarget("team", []string{"a", "b", "c", "d", "e", "f"}) }, want: []string{"-a@team withheld not_member by fall"}},
			},
		},
		{
			name:  "the fall: a list of ClearML's groups that lacks one takes no memory",
			world: "federation corp\n" + ten + "ldap a\n/team: a b c d e f\n/other:\nother =\nteam = a b c d e f",
			steps: []step{
				{want: []string{}},
				{do: func(w *world, _ *clock) { w.targets = w.targets[:1] }, want: []string{}},
				{do: func(w *world, c *clock) {
					w.setTarget("team", []string{"a", "b", "c", "d", "e", "f"})
					group("/team", "b", "c", "d", "e", "f")(w, c)
				},
					want: []string{"-a@team withheld not_member by fall"}},
			},
		},
		{
			name:  "the fall: a source group that has a new id under its old name",
			world: ten + "/team: a b c d e f\nteam = a b c d e f",
			steps: []step{
				{want: []string{}},
				{do: func(w *world, c *clock) { w.ids["/team"] = "new-id"; group("/team", "b", "c", "d", "e", "f")(w, c) },
					want: []string{"-a@team withheld not_member by fall"}},
			},
		},
		{
			name:  "the fall: a federation that is gone holds up no local person",
			world: "federation corp hq\n" + ten + "ldap b\n/team: a b c d e f\nteam = a b c d e f",
			steps: []step{
				{want: []string{}},
				{do: func(w *world, c *clock) {
					w.federations = w.federations[:1]
					group("/team", "c", "d", "e", "f")(w, c)
				},
					want: []string{"-a@team applied not_member", "-b@team withheld not_member by fall"}},
			},
		},
		{
			name:  "the window: removals of earlier passes count, until they are old",
			world: ten + "/team: a b c d e f g h i\nteam = a b c d e f g h i j",
			steps: []step{
				{want: []string{"-j@team applied not_member"}},
				{do: group("/team", "a", "b", "c", "d", "e", "f", "g", "h"), want: []string{"-i@team applied not_member"}},
				{do: group("/team", "a", "b", "c", "d", "e", "f", "g"), want: []string{"-h@team withheld not_member by removals"}},
				{do: later(25 * time.Hour), want: []string{"-h@team applied not_member"}},
			},
		},
		{
			name:  "approved removals do not count in the window",
			world: ten + "both k l\n/team: a b c d e f g h i\nteam = a b c d e f g h i j k l",
			steps: []step{
				{want: []string{"-j@team withheld not_member by removals", "-k@team withheld not_member by removals", "-l@team withheld not_member by removals"}},
				{approve: true, want: []string{"-j@team applied not_member", "-k@team applied not_member", "-l@team applied not_member"}},
				{do: group("/team", "a", "b", "c", "d", "e", "f", "g"), want: []string{"-h@team applied not_member", "-i@team applied not_member"}},
			},
		},
		{
			name:  "an approval lifts no probe that is not up",
			world: "federation corp\n" + ten + "ldap b\n/team: a c d e f\nteam = a b c d e f",
			steps: []step{
				{want: []string{"-b@team withheld not_member by grace"}},
				{do: func(w *world, _ *clock) { w.away = map[string]string{"fed-corp": "status 500"} }, approve: true, want: []string{"-b@team withheld not_member by federation"}},
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.world)
			r, c := w.reconciler(t, limits, nil)
			digest := ""
			for i, s := range tt.steps {
				if s.do != nil {
					s.do(w, c)
				}
				req := Request{MayWrite: leads, Apply: true}
				if s.approve {
					req.Approval.Digest = digest
				}
				rep := r.Pass(context.Background(), req)
				if d := cmp.Diff(s.want, lines(rep)); d != "" {
					t.Fatalf("pass %d: -want +got\n%s\n%q", i+1, d, trips(rep))
				}
				digest = rep.Digest
			}
		})
	}
}

// TestAnApprovalThatIsNotForThePlan: such an approval lifts nothing. It is not an error, and
// other changes are still written.
func TestAnApprovalThatIsNotForThePlan(t *testing.T) {
	for _, tt := range []struct {
		name, world, want string
		lines             []string
	}{
		{"the plan is another one", "both ann bob cid\n/team: ann\nteam = bob cid",
			"the plan has changed: the approval names the digest 0123456789abcdef, and this pass has the digest %s; nothing was lifted; look at the new plan",
			[]string{"+ann@team applied", "-bob@team withheld not_member by removals", "-cid@team withheld not_member by removals"}},
		{"there is nothing to approve", "both ann bob\n/team: ann bob\nteam = bob",
			"there is nothing to approve: the plan proposes no removal and no new administrator; nothing was lifted",
			[]string{"+ann@team applied"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.world)
			limits := wide
			limits.MaxRemovals = 1
			r, c := w.reconciler(t, limits, nil)
			rep := r.Pass(context.Background(), Request{MayWrite: leads, Apply: true, Approval: Approval{Digest: "0123456789abcdef", By: "grace"}})
			want := &report.Approval{Digest: "0123456789abcdef", By: "grace", At: c.Time, Lifted: []report.Guard{}, Detail: tt.want}
			if strings.Contains(tt.want, "%s") {
				want.Detail = fmt.Sprintf(tt.want, rep.Digest)
			}
			if d := cmp.Diff(want, rep.Approval); d != "" || len(rep.Errors) > 0 {
				t.Errorf("-want +got\n%s\nerrors %v", d, rep.Errors)
			}
			if d := cmp.Diff(tt.lines, lines(rep)); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

func TestDigestCoversTheRemovalsOnly(t *testing.T) {
	digest := func(text string) string {
		w := newWorld(t, text)
		r, _ := w.reconciler(t, wide, nil)
		return r.Pass(context.Background(), Request{}).Digest
	}
	one := digest("both ann bob cid\n/team: ann\nteam = bob")
	if joiner := digest("both ann bob cid\n/team: ann cid\nteam = bob"); one != joiner {
		t.Errorf("a joiner changed the digest: %s, %s", one, joiner)
	}
	if other := digest("both ann bob cid\n/team: ann\nteam = bob cid"); one == other {
		t.Errorf("another removal did not change the digest %s", one)
	}
	if none := digest("both ann\n/team: ann\nteam ="); none != "" {
		t.Errorf("a plan without removals has the digest %q", none)
	}
}
