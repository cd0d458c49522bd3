package reconcile

import (
	"bytes"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"groupsync/internal/match"
	"groupsync/internal/memory"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// drawWorld draws a small realm and a small ClearML that overlap at random:
// shared emails, ids under old emails, people of every kind, groups of one leaf.
func drawWorld(t *rapid.T, tb testing.TB) *world {
	w := newWorld(tb, "federation corp")
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	emails := []string{"", "one@x", "two@x", "ONE@x", "three@x"}
	for _, n := range names {
		if rapid.Bool().Draw(t, "in keycloak "+n) {
			u := account(n)
			u.Enabled = rapid.IntRange(0, 4).Draw(t, "enabled") > 0
			if rapid.IntRange(0, 3).Draw(t, "federated") == 0 {
				u.Federation = "fed-corp"
			}
			if rapid.IntRange(0, 3).Draw(t, "odd email") == 0 {
				u.Email = rapid.SampledFrom(emails).Draw(t, "email")
			}
			w.users[u.ID] = u
		}
		if rapid.Bool().Draw(t, "in clearml "+n) {
			flags := []string{n}
			flags = append(flags, rapid.SampledFrom([][]string{nil, nil, nil, {"local"}, {"other"}, {"service"}, {"untold"}, {"email=one@x"}, {"email=two@x"}, {"email="}, {"id=kc-a"}, {"id=kc-gone"}, {"name=b"}}).Draw(t, "kind")...)
			u := clearmlUser(flags)
			w.accounts[u.ID] = u
		}
	}
	for _, path := range []string{"/x", "/x/team", "/y", "/y/team", "/ops", "/Users"} {
		if rapid.IntRange(0, 4).Draw(t, "has "+path) == 0 && !strings.HasPrefix(path, "/x") {
			continue
		}
		if cut := strings.LastIndex(path, "/"); cut > 0 && w.groups[path[:cut]] == nil {
			w.groups[path[:cut]] = []string{}
		}
		w.groups[path] = []string{}
		for _, n := range names {
			if _, ok := w.users["kc-"+n]; ok && rapid.Bool().Draw(t, "member") {
				w.groups[path] = append(w.groups[path], n)
			}
		}
	}
	for _, g := range []string{"team", "x", "y", "Users!", "Admins!", "alone"} {
		var members []string
		for _, n := range append(slices.Clone(names), "ghost", "groupsync") {
			if rapid.Bool().Draw(t, "in group") {
				members = append(members, n)
			}
		}
		w.setTarget(g, members)
	}
	return w
}

func adminsAndProtected(o *match.Options) {
	o.AdminGroups, o.Protect = []string{"ops"}, []string{"h@*"}
}

func snapshots(tb testing.TB, w *world, r match.Rules) (*source.Snapshot, *target.Snapshot, match.Pairing) {
	tb.Helper()
	tgt, err := directory{w}.Read(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	var pairing match.Pairing
	src, err := w.Read(context.Background(), func(c source.Catalog) source.Selection {
		if pairing, err = match.Groups(c, tgt.Groups(), r); err != nil {
			tb.Fatal(err)
		}
		return pairing.Selection()
	})
	if err != nil {
		tb.Fatal(err)
	}
	return src, tgt, pairing
}

// checkWorlds holds a law against every drawn world that can be read at all.
func checkWorlds(t *testing.T, law func(*rapid.T, *world)) {
	t.Helper()
	rapid.Check(t, func(rt *rapid.T) {
		if w := drawWorld(rt, t); viable(w) {
			law(rt, w)
		}
	})
}

func viable(w *world) bool {
	for _, u := range w.accounts {
		if u.Email != "" {
			return true
		}
	}
	return false
}

func TestLawPlanOfAnAppliedPlanIsEmpty(t *testing.T) {
	checkWorlds(t, func(rt *rapid.T, w *world) {
		r, _ := w.reconciler(t, wide, adminsAndProtected)
		first := r.Pass(context.Background(), Request{Apply: true})
		second := r.Pass(context.Background(), Request{Apply: true})
		if add, remove := second.Drift(); len(first.Errors) > 0 || add+remove > 0 && len(second.Guards) == 0 {
			rt.Fatalf("after applying %q\nthe second pass wants %q", lines(first), lines(second))
		}
	})
}

func TestLawShuffledInputGivesTheSameBytes(t *testing.T) {
	checkWorlds(t, func(rt *rapid.T, w *world) {
		render := func() string {
			r, _ := w.reconciler(t, wide, adminsAndProtected)
			rep := r.Pass(context.Background(), Request{})
			rep.Pass = ""
			var b bytes.Buffer
			if err := report.JSON(&b, rep); err != nil {
				t.Fatal(err)
			}
			return b.String()
		}
		first := render()
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		rng.Shuffle(len(w.targets), func(i, j int) { w.targets[i], w.targets[j] = w.targets[j], w.targets[i] })
		for i := range w.targets {
			m := w.targets[i].Members
			rng.Shuffle(len(m), func(i, j int) { m[i], m[j] = m[j], m[i] })
		}
		for _, names := range w.groups {
			rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		}
		if d := cmp.Diff(first, render()); d != "" {
			rt.Fatal(d)
		}
	})
}

func TestLawInputsAreUnchanged(t *testing.T) {
	checkWorlds(t, func(rt *rapid.T, w *world) {
		rl := rules(t, adminsAndProtected)
		src, tgt, pairing := snapshots(t, w, rl)
		mem := memory.Memory{Wanted: map[string]time.Time{"cm-team/a": {}}}
		print := func() string {
			return fmt.Sprintf("%v %v %v %v %v %v", src.Users(), src.Catalog().Groups(), tgt.Groups(), tgt.Users(), pairing, mem)
		}
		before := print()
		plan := MakePlan(src, tgt, pairing, match.Who(src, tgt, rl), rl)
		c, _ := w.Confirm(context.Background(), src, plan.Claims(), nil)
		planned := fmt.Sprintf("%v", plan)
		j := Judge(plan, src, tgt, c, wide, mem, time.Now(), "")
		lesson{judged: j, src: src, tgt: tgt, now: time.Now(), window: time.Hour}.remember(mem, 3)
		if d := cmp.Diff(before, print()); d != "" {
			rt.Fatal(d)
		}
		if d := cmp.Diff(planned, fmt.Sprintf("%v", plan)); d != "" {
			rt.Fatal(d)
		}
	})
}

func TestLawNobodyWithoutEvidenceIsRemoved(t *testing.T) {
	checkWorlds(t, func(rt *rapid.T, w *world) {
		before := map[string]string{}
		for _, g := range w.targets {
			before[g.Name] = w.members(g.Name)
		}
		r, _ := w.reconciler(t, wide, adminsAndProtected)
		rl := rules(t, adminsAndProtected)
		src, tgt, _ := snapshots(t, w, rl)
		people := match.Who(src, tgt, rl)
		r.Pass(context.Background(), Request{Apply: true})
		for group, members := range before {
			for _, id := range strings.Fields(members) {
				if slices.Contains(strings.Fields(w.members(group)), id) {
					continue
				}
				i, known := tgt.UserIndex(id)
				if !known || people.State(i) != match.Matched && people.State(i) != match.GoneNow {
					rt.Fatalf("%s was removed from %s", id, group)
				}
			}
		}
	})
}

func TestLawGuardsOnlyEverShrink(t *testing.T) {
	checkWorlds(t, func(rt *rapid.T, w *world) {
		rl := rules(t, adminsAndProtected)
		src, tgt, pairing := snapshots(t, w, rl)
		plan := MakePlan(src, tgt, pairing, match.Who(src, tgt, rl), rl)
		c, _ := w.Confirm(context.Background(), src, plan.Claims(), nil)
		limits := Limits{
			MaxRemovals: rapid.IntRange(0, 5).Draw(rt, "max_removals"), Window: time.Hour,
			MaxRatio: rapid.Float64Range(0, 1).Draw(rt, "ratio"), FreeRemovals: rapid.IntRange(0, 3).Draw(rt, "free"),
			MaxGone: rapid.IntRange(0, 3).Draw(rt, "max_gone"), Floor: rapid.IntRange(0, 3).Draw(rt, "floor"),
			Grace: time.Duration(rapid.IntRange(0, 1).Draw(rt, "grace")) * time.Hour, Stop: rapid.Bool().Draw(rt, "stop"),
		}
		if rapid.Bool().Draw(rt, "no second look") {
			c.Verdicts = nil
		}
		j := Judge(plan, src, tgt, c, limits, memory.Memory{}, time.Now(), "")
		wanted := map[string]bool{}
		for _, g := range plan.Groups {
			for _, a := range g.Add {
				wanted["+"+a.User.ID+"@"+g.Feed.Group.ID] = true
			}
			for _, x := range g.Remove {
				wanted["-"+x.User.ID+"@"+g.Feed.Group.ID] = true
			}
		}
		for _, write := range j.Cleared.writes {
			for _, a := range write.add {
				if !wanted["+"+a.User.ID+"@"+write.group.ID] {
					rt.Fatalf("%s is cleared to join %s, which was not planned", a.User.ID, write.group.Name)
				}
			}
			for _, x := range write.remove {
				if !wanted["-"+x.user.ID+"@"+write.group.ID] || !x.evidence.Valid() {
					rt.Fatalf("%s is cleared to leave %s, unplanned or without evidence", x.user.ID, write.group.Name)
				}
			}
		}
		if limits.MaxRemovals > 0 && j.Cleared.removals() > limits.MaxRemovals {
			rt.Fatalf("%d removals are cleared, the limit is %d", j.Cleared.removals(), limits.MaxRemovals)
		}
	})
}

func TestLawEqualClaimNamesAreAUnion(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, "both a b c d e f\n/x:\n/y:\n/x/team:\n/y/team:\nteam =")
		in := map[string]bool{}
		for _, path := range []string{"/x/team", "/y/team"} {
			for _, n := range []string{"a", "b", "c", "d", "e", "f"} {
				if rapid.Bool().Draw(rt, path+n) {
					w.groups[path] = append(w.groups[path], n)
					in[n] = true
				}
			}
		}
		r, _ := w.reconciler(t, wide, nil)
		r.Pass(context.Background(), Request{Apply: true})
		if got, want := w.members("team"), strings.Join(slices.Sorted(maps.Keys(in)), " "); got != want {
			rt.Fatalf("got %q, want %q", got, want)
		}
	})
}

// TestLawEqualsTheNaiveReference compares the planner with a quadratic one that
// is written straight from the semantics.
func TestLawEqualsTheNaiveReference(t *testing.T) {
	checkWorlds(t, func(rt *rapid.T, w *world) {
		r, _ := w.reconciler(t, wide, nil)
		var got []string
		for _, l := range lines(r.Pass(context.Background(), Request{})) {
			if l[0] == '+' || l[0] == '-' {
				got = append(got, strings.Fields(l)[0])
			}
		}
		want := naive(w)
		slices.Sort(got)
		slices.Sort(want)
		if d := cmp.Diff(want, got); d != "" {
			rt.Fatalf("-naive +planner\n%s", d)
		}
	})
}

// naive is the plan by the letter of the semantics, one question at a time.
func naive(w *world) []string {
	byID := func(a target.User, k source.User) bool { return slices.Contains(a.Providers["keycloak"], k.ID) }
	byEmail := func(a target.User, k source.User) bool { return a.Email != "" && strings.EqualFold(a.Email, k.Email) }
	same := func(a target.User, k source.User) bool {
		for _, x := range w.users { // whom the id and the email name is the one, or one of those
			if byID(a, x) && byEmail(a, x) {
				return byID(a, k) && byEmail(a, k)
			}
		}
		return byID(a, k) || byEmail(a, k)
	}
	who := func(a target.User) (k source.User, n int, ambiguous bool) {
		for _, x := range w.users {
			if same(a, x) {
				k, n = x, n+1
			}
		}
		for _, other := range w.accounts {
			ambiguous = ambiguous || n > 0 && other.ID != a.ID && !other.ServiceAccount && same(other, k)
		}
		if n > 1 {
			return k, n, true
		}
		for _, other := range w.accounts { // k is claimed together with another account
			claims := 0
			for _, x := range w.users {
				if !other.ServiceAccount && same(other, x) {
					claims++
				}
			}
			ambiguous = ambiguous || n == 1 && claims > 1 && same(other, k)
		}
		return k, n, ambiguous
	}
	told := slices.ContainsFunc(slices.Collect(maps.Values(w.accounts)), func(a target.User) bool { return a.Providers != nil })
	var out []string
	for _, g := range w.targets {
		var members []string
		sources := 0
		for path, names := range w.groups {
			if path[strings.LastIndex(path, "/")+1:] == g.Name {
				members = append(members, names...)
				sources++
			}
		}
		if sources == 0 || g.System {
			continue
		}
		for _, a := range w.accounts {
			if a.ServiceAccount {
				continue
			}
			k, n, ambiguous := who(a)
			is := slices.Contains(g.MemberIDs(), a.ID)
			should := n == 1 && !ambiguous && k.Enabled && slices.Contains(members, strings.TrimPrefix(k.ID, "kc-"))
			waits := slices.ContainsFunc(slices.Collect(maps.Values(w.users)), func(x source.User) bool {
				if x.Username != a.Name {
					return false
				}
				for _, b := range w.accounts {
					if bk, m, amb := who(b); !b.ServiceAccount && m == 1 && !amb && bk.ID == x.ID {
						return false
					}
				}
				return true
			})
			gone := n == 0 && told && len(a.Providers) == 1 && a.Email != "" && !waits
			switch {
			case should && !is:
				out = append(out, "+"+a.ID+"@"+g.Name)
			case is && !should && a.ID != w.self && !ambiguous && (n == 1 || gone):
				out = append(out, "-"+a.ID+"@"+g.Name)
			}
		}
	}
	return out
}

// TestPureImports pins what the pure parts may import: no clock, no I/O, no
// logging. "time" is allowed to the guards, who are handed the time, so its
// clock is looked for by name.
func TestPureImports(t *testing.T) {
	pure := map[string][]string{
		"plan.go":               {"slices", "strings", "groupsync/internal/match", "groupsync/internal/source", "groupsync/internal/target"},
		"remember.go":           {"maps", "slices", "time", "groupsync/internal/match", "groupsync/internal/memory", "groupsync/internal/report", "groupsync/internal/source", "groupsync/internal/target"},
		"guard.go":              {"crypto/sha256", "encoding/hex", "fmt", "maps", "slices", "strings", "time", "groupsync/internal/match", "groupsync/internal/memory", "groupsync/internal/report", "groupsync/internal/source", "groupsync/internal/target"},
		"../match/groups.go":    {"cmp", "fmt", "maps", "slices", "strings", "github.com/agnivade/levenshtein", "github.com/gobwas/glob", "groupsync/internal/source", "groupsync/internal/target"},
		"../match/remarks.go":   {"cmp", "maps", "slices", "strings", "groupsync/internal/target"},
		"../match/people.go":    {"regexp", "slices", "strings", "groupsync/internal/source", "groupsync/internal/target"},
		"../source/source.go":   {"cmp", "fmt", "maps", "slices", "strings", "groupsync/internal/fault"},
		"../target/target.go":   {"fmt", "slices", "strings", "groupsync/internal/fault"},
		"../source/evidence.go": {"fmt", "slices", "strings"},
	}
	clock := []string{"Now", "Since", "Until", "After", "Sleep", "Tick", "NewTimer", "NewTicker", "AfterFunc"}
	for file, allowed := range pure {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			if path := strings.Trim(i.Path.Value, `"`); !slices.Contains(allowed, path) {
				t.Errorf("%s imports %s", file, path)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clock, s.Sel.Name) {
					t.Errorf("%s uses time.%s", file, s.Sel.Name)
				}
			}
			return true
		})
	}
}
