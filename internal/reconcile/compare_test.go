package reconcile

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/guard"
	"groupsync/internal/match"
	"groupsync/internal/memory"
	"groupsync/internal/report"
)

// differing returns a line for each change and each guard of a comparison. "+" and "-" are
// changes that only the changed rules make. "~+" and "~-" are changes that only the present
// rules make.
func differing(c report.Comparison) []string {
	list := []string{}
	for _, d := range c.Groups {
		g := report.Group{Name: d.Name}
		for _, part := range []struct {
			mark, sign string
			changes    []report.Change
		}{{"", "+", d.Add}, {"", "-", d.Remove}, {"~", "+", d.NotAdded}, {"~", "-", d.NotRemoved}} {
			for _, x := range part.changes {
				list = append(list, part.mark+line(part.sign, g, x))
			}
		}
	}
	for _, t := range c.Guards {
		list = append(list, fmt.Sprintf("guard %s %s", t.Guard, t.Group))
	}
	for _, s := range c.Skipped {
		list = append(list, fmt.Sprintf("%s %s %s", s.Side, s.Name, s.Why))
	}
	return list
}

func TestCompare(t *testing.T) {
	feeding := func(claims ...string) func(*match.Options) {
		return func(o *match.Options) {
			o.Include = nil
			o.Mapping = make(map[string][]string)
			for _, c := range claims {
				o.Include = append(o.Include, c)
				o.Mapping[c] = []string{"team"}
			}
		}
	}
	for _, tt := range []struct {
		name             string
		world            string
		away             bool // the federation ldap is away
		present, changed func(*match.Options)
		want             []string
	}{
		{
			name:    "the same rules differ in nothing, whatever drift there is",
			world:   "both ann bob\n/a: ann\nteam = bob",
			present: feeding("a"), changed: feeding("a"),
			want: []string{},
		},
		{
			name:    "a source less: who is only there is removed and held by scope, who leaves anyway is not named",
			world:   "both ann bob cid\n/a: ann\n/b: bob\nteam = ann bob cid",
			present: feeding("a", "b"), changed: feeding("a"),
			want: []string{"-bob@team withheld not_member by scope", "guard scope team", "keycloak b excluded"},
		},
		{
			name:    "a source more: who is only there is added, who joins anyway is not named",
			world:   "both ann bob\n/a: ann\n/b: bob\nteam =",
			present: feeding("a"), changed: feeding("a", "b"),
			want: []string{"+bob@team planned"},
		},
		{
			name:    "a source less: an addition that is still to be made falls away",
			world:   "both ann bob\n/a: ann\n/b: bob\nteam = ann",
			present: feeding("a", "b"), changed: feeding("a"),
			want: []string{"~+bob@team planned", "keycloak b excluded"},
		},
		{
			name:    "a source more: a removal that is still to be made falls away",
			world:   "both ann bob\n/a: ann\n/b: bob\nteam = ann bob",
			present: feeding("a"), changed: feeding("a", "b"),
			want: []string{"~-bob@team planned not_member"},
		},
		{
			name:    "a list that hides somebody from the present rules does not make the removal look old",
			world:   "federation ldap\nboth ann lee\nldap lee\n/a: ann\n/b: ann lee\nhides /b: lee\nteam = ann lee",
			present: feeding("a", "b"), changed: feeding("a"),
			want: []string{"-lee@team withheld not_member by scope", "guard scope team", "keycloak b excluded"},
		},
		{
			name:    "a list that hides somebody from the changed rules does not make the removal stay",
			world:   "federation ldap\nboth ann lee\nldap lee\n/a: ann\n/b: ann lee\nhides /b: lee\nteam = ann lee",
			present: feeding("a"), changed: feeding("a", "b"),
			want: []string{"~-lee@team planned not_member"},
		},
		{
			name:    "a list that shows somebody wrongly to the changed rules adds nobody",
			world:   "federation ldap\nboth ann lee\nldap lee\n/a: ann\n/b: ann\nshows /b: lee\nteam = ann",
			present: feeding("a"), changed: feeding("a", "b"),
			want: []string{},
		},
		{
			name:    "a list that shows somebody wrongly to the present rules does not make the addition look old",
			world:   "federation ldap\nboth ann lee\nldap lee\n/a: ann\n/b: ann lee\nshows /a: lee\nteam = ann",
			present: feeding("a"), changed: feeding("b"),
			want: []string{"+lee@team planned", "keycloak a excluded"},
		},
		{
			name:  "while the federation is away, a removal of which other sources decide is named and held",
			world: "federation ldap\nboth ann lee\nldap lee\n/a: ann\n/b: ann\nteam = ann lee", away: true,
			present: feeding("a", "b"), changed: feeding("a"),
			want: []string{"-lee@team withheld not_member by federation", "guard scope team", "keycloak b excluded"},
		},
		{
			name:  "while the federation is away, the same rules still differ in nothing",
			world: "federation ldap\nboth ann lee\nldap lee\n/a: ann\n/b: ann\nteam = ann lee", away: true,
			present: feeding("a", "b"), changed: feeding("a", "b"),
			want: []string{},
		},
		{
			name:    "somebody who is protected no longer is removed, and scope does not hold that",
			world:   "both ann bob\n/a: ann\nteam = ann bob",
			present: func(o *match.Options) { feeding("a")(o); o.Protect = []string{"bob"} }, changed: feeding("a"),
			want: []string{"-bob@team planned not_member"},
		},
		{
			name:    "somebody whom only the changed rules must look up is looked up",
			world:   "both ann\nclearml eve\n/a: ann\n/b: ann\nteam = ann\nb = ann eve",
			present: feeding("a"), changed: func(o *match.Options) { feeding("a")(o); o.Include = []string{"*"} },
			want: []string{"-eve@b withheld gone by scope", "guard scope b", "keycloak idle no_target"},
		},
		{
			name:    "somebody whom only the present rules must look up is looked up",
			world:   "both ann\nclearml eve\n/a: ann\n/b: ann\nteam = ann\nb = ann eve",
			present: func(o *match.Options) { feeding("a")(o); o.Include = []string{"*"} }, changed: feeding("a"),
			want: []string{"~-eve@b planned gone", "clearml b no_source", "keycloak b excluded", "keycloak idle excluded"},
		},
		{
			name:    "a source that does not exist freezes the group, and the guard says so",
			world:   "both ann bob\n/a: ann\nteam = bob",
			present: feeding("a"), changed: feeding("a", "nope"),
			want: []string{"~+ann@team planned", "~-bob@team planned not_member", "guard missing_source team"},
		},
		{
			name:    "a source that the present rules lack, too, is no difference",
			world:   "both ann bob\n/a: ann\nteam = bob",
			present: feeding("a", "nope"), changed: feeding("a", "nope"),
			want: []string{},
		},
		{
			name:    "another role makes other administrators",
			world:   "both ann bob\n/a: ann\nrole boss: bob\nAdmins! = ann",
			present: func(o *match.Options) { o.AdminGroups = []string{"a"} },
			changed: func(o *match.Options) { o.AdminGroups, o.AdminRole = []string{"a"}, "boss" },
			want:    []string{"+bob@Admins planned"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.world)
			if tt.away {
				w.away = map[string]string{"fed-ldap": "no answer"}
			}
			store := new(memory.Process)
			r, c := w.reconciler(t, wide, tt.present)
			r.Store = store
			before, err := store.Load()
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.Compare(context.Background(), rules(t, tt.changed))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, differing(got)); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
			after, err := store.Load()
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(before, after); d != "" || len(w.writes) > 0 {
				t.Errorf("the comparison wrote %q and remembered\n%s", w.writes, d)
			}
			holdsOnApply(t, w, c, tt.present, tt.changed, got)
		})
	}
}

// holdsOnApply compares the comparison with what the next passes do. It makes a pass under the
// present rules and then one under the changed rules. In the second pass the guard `scope`
// must withhold each removal for which the comparison says so. It must withhold nothing that
// the comparison does not name. A membership that only the present rules add is one more
// removal in the second pass.
func holdsOnApply(t *testing.T, w *world, c *clock, present, changed func(*match.Options), got report.Comparison) {
	t.Helper()
	said, named := map[string]bool{}, map[string]bool{}
	for _, d := range got.Groups {
		for _, x := range d.Remove {
			if x.Guard == report.Scope {
				said[x.ID+"@"+d.Name], named[x.ID+"@"+d.Name] = true, true
			}
		}
		for _, x := range d.NotAdded {
			named[x.ID+"@"+d.Name] = true
		}
	}
	store := new(memory.Process)
	var last report.Report
	for _, options := range []func(*match.Options){present, changed} {
		r, _ := w.reconciler(t, wide, options)
		r.Store, r.Now = store, c.now
		last = r.Pass(context.Background(), Request{Apply: true, MayWrite: leads})
		c.Time = c.Add(time.Hour)
	}
	for _, g := range last.Groups {
		for _, x := range g.Remove {
			if x.Guard != report.Scope {
				continue
			}
			if !named[x.ID+"@"+g.Name] {
				t.Errorf("scope withholds the removal of %s from %s, which the comparison does not name", x.ID, g.Name)
			}
			delete(said, x.ID+"@"+g.Name)
		}
	}
	if len(said) > 0 {
		t.Errorf("the comparison says that scope will withhold %v, and the pass does not", said)
	}
}

func TestCompareFails(t *testing.T) {
	builtin := func(o *match.Options) { o.Mapping = map[string][]string{"a": {"Users"}} }
	for _, tt := range []struct {
		name             string
		present, changed func(*match.Options)
		break_           func(*world)
		want             string
	}{
		{
			name: "the changed mapping feeds a built-in group", changed: builtin,
			want: `the changed configuration: groups.mapping: "a" is mapped to ClearML's built-in group "Users", and a mapping cannot write a built-in group. Map it to another user group`,
		},
		{
			name: "the present mapping feeds a built-in group", present: builtin,
			want: `the present configuration: groups.mapping: "a" is mapped to ClearML's built-in group "Users", and a mapping cannot write a built-in group. Map it to another user group`,
		},
		{name: "Keycloak cannot be read", break_: func(w *world) { w.readKC = errors.New("keycloak is down") }, want: "keycloak is down"},
		{name: "ClearML cannot be read", break_: func(w *world) { w.readCM = errors.New("clearml is down") }, want: "clearml is down"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "both ann\n/a: ann\nUsers! = ann\na = ann")
			if tt.break_ != nil {
				tt.break_(w)
			}
			r, _ := w.reconciler(t, guard.Limits{}, tt.present)
			if _, err := r.Compare(context.Background(), rules(t, tt.changed)); err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}
