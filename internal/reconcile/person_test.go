package reconcile

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"groupsync/internal/guard"
	"groupsync/internal/match"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// membersByGroup returns the members of each user group of ClearML, sorted.
func (w *world) membersByGroup() map[string][]string {
	members := make(map[string][]string)
	for _, g := range w.targets {
		members[g.ID] = slices.Sorted(slices.Values(g.MemberIDs()))
	}
	return members
}

// written returns the members of each group after the changes of one user.
func written(members map[string][]string, user string, s share) map[string][]string {
	after := maps.Clone(members)
	for id := range s.Add {
		after[id] = slices.Sorted(slices.Values(append(slices.Clone(after[id]), user)))
	}
	for id := range s.Remove {
		after[id] = slices.DeleteFunc(slices.Clone(after[id]), func(m string) bool { return m == user })
	}
	return after
}

// TestLawAPassOfOnePersonIsAPassCutToThePerson: the pass of one person makes exactly that
// person's changes of a whole pass. It withholds the same changes by the same guards, and
// changes nothing else in ClearML.
func TestLawAPassOfOnePersonIsAPassCutToThePerson(t *testing.T) {
	checkWorlds(t, func(rt *rapid.T, w *world) {
		limits := wide
		limits.Grace, limits.GoneGrace = time.Hour, 2*time.Hour
		limits.Floor = rapid.IntRange(0, 3).Draw(rt, "floor")
		r, now := w.reconciler(t, limits, func(o *match.Options) {
			adminsAndProtected(o)
			o.AdminVia = w.drawVia(rt)
		})
		if rapid.Bool().Draw(rt, "there was a pass") {
			r.Pass(context.Background(), Request{MayWrite: leads})
			now.Time = now.Add(time.Duration(rapid.IntRange(1, 5).Draw(rt, "half hours later")) * 30 * time.Minute)
		}
		full := r.Pass(context.Background(), Request{DryRun: true})
		if emptyRealm(full) {
			return
		}
		id := rapid.SampledFrom(slices.Sorted(maps.Keys(w.accounts))).Draw(rt, "person")
		if w.hangsOnShown(id) {
			return
		}
		want, planned := newShare(), newShare()
		for _, g := range full.Groups {
			want.add(g, id, "")
		}
		for _, side := range []struct{ all, made map[string]report.Change }{{want.Add, planned.Add}, {want.Remove, planned.Remove}} {
			for group, c := range side.all {
				if c.Outcome == report.Planned {
					c.Outcome = report.Done
					side.all[group], side.made[group] = c, c
				}
			}
		}
		before := w.membersByGroup()
		if w.adminRole {
			before[target.AdminRoleID] = target.AdminRole(slices.Collect(maps.Values(w.accounts))).MemberIDs()
			slices.Sort(before[target.AdminRoleID])
		}
		_, rep, err := r.PassOf(context.Background(), id, Request{Apply: true, MayWrite: leads})
		if err != nil {
			rt.Fatal(err)
		}
		got := newShare()
		for _, g := range rep.Groups {
			got.add(g, id, "")
		}
		for _, changes := range []map[string]report.Change{got.Add, got.Remove} {
			for group, c := range changes {
				c.Call = "" // a dry run has no call
				changes[group] = c
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			rt.Fatalf("%s, -the whole pass +the pass of the person:\n%s\n%q", id, d, lines(full))
		}
		after := w.membersByGroup()
		if w.adminRole {
			after[target.AdminRoleID] = target.AdminRole(slices.Collect(maps.Values(w.accounts))).MemberIDs()
			slices.Sort(after[target.AdminRoleID])
		}
		if d := cmp.Diff(written(before, id, planned), after, cmpopts.EquateEmpty()); d != "" {
			rt.Fatalf("ClearML after the pass of %s, -want +got:\n%s\n%q", id, d, lines(full))
		}
	})
}

// TestPassOf checks what the pass of one person does, and what it leaves unchanged.
func TestPassOf(t *testing.T) {
	const two = "both ann bob\n/team: idle\nteam = ann bob"
	apply := Request{Apply: true, MayWrite: leads}
	for _, row := range []struct {
		name  string
		world string
		user  string
		req   Request
		rules func(*match.Options)
		edit  func(*world)
		want  []string // lines of the report
		wrote []string
		err   string
	}{
		{name: "one of two leavers is removed, the other waits for a whole pass", world: two, user: "ann", req: apply, want: []string{"-ann@team applied not_member"}, wrote: []string{"team: bob"}},
		{name: "the username names the person too", world: two, user: "kc-bob", req: apply, want: []string{"-bob@team applied not_member"}, wrote: []string{"team: ann"}},
		{name: "a dry run writes nothing", world: two, user: "ann", req: Request{DryRun: true}, want: []string{"-ann@team planned not_member"}},
		{name: "somebody unknown is an error, and nothing is written", world: two, user: "zoe", req: apply, err: "no person zoe in ClearML (by email or id) or in Keycloak (by username, email or id): give the complete email, username or id"},
		{name: "a process that does not lead writes nothing", world: two, user: "ann", req: Request{Apply: true}, want: []string{"-ann@team planned not_member"}},
		{
			name: "a guard withholds as in a whole pass", world: "both ann\n/ops: idle\nAdmins! = ann", user: "ann", req: apply,
			rules: func(o *match.Options) { o.AdminGroups = []string{"ops"} }, edit: func(w *world) { w.limits.Floor = 1 },
			want: []string{"-ann@Admins withheld not_member by admins"},
		},
		{
			name:  "with via both the floor counts the others who leave, in the group and in the role",
			world: "clearml ann role=admin id=kc-ann\nclearml bob role=admin id=kc-bob\nkeycloak ann\nkeycloak bob\n/ops: idle\nAdmins! = ann bob", user: "ann", req: apply,
			rules: func(o *match.Options) { o.AdminGroups, o.AdminVia = []string{"ops"}, match.ViaBoth }, edit: func(w *world) { w.limits.Floor, w.adminRole = 1, true },
			want: []string{"-ann@Admins withheld not_member by admins", "-ann@role admin withheld not_member by admins"},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, row.world)
			if row.edit != nil {
				row.edit(w)
			}
			r, _ := w.reconciler(t, w.limits, row.rules)
			_, rep, err := r.PassOf(context.Background(), row.user, row.req)
			if text := errorText(err); text != row.err {
				t.Fatalf("error %q, want %q", text, row.err)
			}
			if row.want == nil {
				row.want = []string{}
			}
			if d := cmp.Diff(row.want, lines(rep)); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			if d := cmp.Diff(row.wrote, w.writes); d != "" {
				t.Errorf("writes, -want +got:\n%s", d)
			}
		})
	}
}

// TestManyPassesOfOnePersonAreNoWayAroundTheShares: each pass removes one person. Together
// they stop at the same limit as a whole pass.
func TestManyPassesOfOnePersonAreNoWayAroundTheShares(t *testing.T) {
	const ten = "both a b c d e f g h i j\n/team: idle\nteam = a b c d e f g h i j"
	names := strings.Fields("a b c d e f g h i j")
	for _, row := range []struct {
		name   string
		limits func(*guard.Limits)
		gone   bool
		want   int // number of people removed before the guard trips
		guard  report.Guard
	}{
		{"a quarter of a group, and at least three", func(l *guard.Limits) { l.MaxRatio, l.FreeRemovals = 0.25, 3 }, false, 3, report.Removals},
		{"half of a group", func(l *guard.Limits) { l.MaxRatio, l.FreeRemovals = 0.5, 3 }, false, 5, report.Removals},
		{"also if max_removals is off", func(l *guard.Limits) { l.MaxRatio, l.FreeRemovals, l.MaxRemovals = 0.25, 3, 0 }, false, 3, report.Removals},
		{"people who are gone", func(l *guard.Limits) { l.MaxGone = 4 }, true, 4, report.GoneLimit},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, ten)
			limits := wide
			limits.Window = 24 * time.Hour
			row.limits(&limits)
			r, now := w.reconciler(t, limits, nil)
			removed := 0
			for _, n := range names {
				if row.gone {
					delete(w.users, "kc-"+n)
				}
				_, rep, err := r.PassOf(context.Background(), n, Request{Apply: true, MayWrite: leads})
				if err != nil {
					t.Fatal(err)
				}
				if removed += rep.Applied.Removed; rep.Applied.Removed == 0 && (len(rep.Guards) == 0 || rep.Guards[0].Guard != row.guard) {
					t.Fatalf("%s stays, and the trips are %v", n, rep.Guards)
				}
				now.Time = now.Add(time.Minute)
			}
			if removed != row.want {
				t.Errorf("%d were removed, want %d", removed, row.want)
			}
			now.Time = now.Add(25 * time.Hour)
			if _, rep, _ := r.PassOf(context.Background(), names[len(names)-1], Request{Apply: true, MayWrite: leads}); rep.Applied.Removed != 1 {
				t.Errorf("after the window: %v", rep.Guards)
			}
		})
	}
}

// TestAWitnessEndsTheGraceOfAPassOfOnePerson: an admin event says that somebody removed the
// federated person from the group. So no outage can be the cause.
func TestAWitnessEndsTheGraceOfAPassOfOnePerson(t *testing.T) {
	w := newWorld(t, "federation corp\nboth ann bob\nldap ann\n/team: bob\nteam = ann bob")
	limits := wide
	limits.Grace = time.Hour
	r, _ := w.reconciler(t, limits, nil)
	for _, row := range []struct {
		witnesses []source.Witness
		want      string
	}{
		{nil, "-ann@team withheld not_member by grace"},
		{[]source.Witness{{Account: "kc-bob", Group: "/team"}}, "-ann@team withheld not_member by grace"},
		{[]source.Witness{{Account: "kc-ann", Group: "/team"}}, "-ann@team applied not_member"},
	} {
		_, rep, err := r.PassOf(context.Background(), "kc-ann", Request{Apply: true, MayWrite: leads, Witnesses: row.witnesses})
		if d := cmp.Diff([]string{row.want}, lines(rep)); err != nil || d != "" {
			t.Errorf("%v %v, -want +got:\n%s", row.witnesses, err, d)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestAPassOfOnePersonCountsAgainstTheLimits: its removal is remembered before it is written.
// It starts no grace of other people.
func TestAPassOfOnePersonCountsAgainstTheLimits(t *testing.T) {
	w := newWorld(t, "federation corp\nboth ann bob cid\nldap cid\n/team: idle\nteam = ann bob cid")
	limits := wide
	limits.MaxRemovals, limits.Window, limits.Grace = 1, time.Hour, time.Hour
	r, _ := w.reconciler(t, limits, nil)
	if _, rep, err := r.PassOf(context.Background(), "ann", Request{Apply: true, MayWrite: leads}); err != nil || rep.Applied.Removed != 1 {
		t.Fatalf("%v %v", rep.Applied, err)
	}
	mem, err := r.Store.Load()
	if err != nil || len(mem.Removed) != 1 || mem.Removed[0].User != "ann" || len(mem.Wanted) != 0 || len(mem.Groups) != 0 {
		t.Errorf("the memory is %+v (%v), want the one removal and nothing else", mem, err)
	}
	_, rep, err := r.PassOf(context.Background(), "bob", Request{Apply: true, MayWrite: leads})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"-bob@team withheld not_member by removals"}, lines(rep)); d != "" {
		t.Errorf("the second person within the window, -want +got:\n%s", d)
	}
	digest := rep.Digest
	_, rep, err = r.PassOf(context.Background(), "bob", Request{Apply: true, MayWrite: leads, Approval: Approval{Digest: digest, By: "eve"}})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"-bob@team applied not_member"}, lines(rep)); d != "" {
		t.Errorf("with the approval, -want +got:\n%s", d)
	}
}
