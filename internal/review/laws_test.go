package review_test

import (
	"bytes"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"groupsync/internal/match"
	"groupsync/internal/memory"
	"groupsync/internal/plan"
	"groupsync/internal/plan/plantest"
	"groupsync/internal/reconcile"
	"groupsync/internal/review"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// drawn returns a random world with random rules, and a memory in which some removals wait.
func drawn(t *rapid.T) (text string, rules func(*match.Options), mem memory.Memory) {
	base := plantest.DrawRules(t)
	via := rapid.SampledFrom([]match.Via{match.ViaGroup, match.ViaRole, match.ViaBoth}).Draw(t, "via")
	missing := rapid.IntRange(0, 3).Draw(t, "a source is missing") == 0
	rules = func(o *match.Options) {
		base(o)
		o.AdminVia = via
		if missing {
			o.Mapping = map[string][]string{"nobody's": {"x"}}
		}
	}
	mem.Wanted = map[string]time.Time{}
	for _, person := range []string{"a", "b", "c"} {
		mem.Wanted[memory.Key("cm-team", person)] = noon.Add(-time.Minute)
	}
	return plantest.Draw(t) + "clearml boss role=admin local\n", rules, mem
}

type membership struct{ Group, User string }

// TestLawEachMembershipIsOneRow checks the rows. The rows that join are exactly the additions
// of the plan. The other rows are exactly the memberships of ClearML, each once.
func TestLawEachMembershipIsOneRow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, rules, mem := drawn(t)
		v := survey(t, plantest.New(t, text, rules), limits, mem)
		r := review.Of(v, scope)
		got := make(map[membership]review.Status)
		joins := make(map[membership]review.Status)
		counts := make(map[review.Status]int)
		for _, row := range r.Rows {
			into, m := got, membership{row.GroupID, row.UserID}
			if row.Status == review.Joins {
				into = joins
			}
			if into[m] != "" {
				t.Fatalf("%s\n%v is listed twice", text, m)
			}
			into[m] = row.Status
			counts[row.Status]++
			if row.Status == "" || row.Reason == "" || row.Why == "" || row.By == nil {
				t.Fatalf("%s\nsomething of the row is missing: %+v", text, row)
			}
		}
		if d := cmp.Diff(owed(v), got); d != "" {
			t.Fatalf("%s\nmemberships, -ClearML and the plan +review\n%s", text, d)
		}
		adds := make(map[membership]review.Status)
		for _, g := range v.Plan.Groups {
			for _, c := range g.Add {
				adds[membership{c.Group, c.User.ID}] = review.Joins
			}
		}
		if d := cmp.Diff(adds, joins); d != "" {
			t.Fatalf("%s\nadditions, -plan +review\n%s", text, d)
		}
		maps.DeleteFunc(r.Statuses, func(_ review.Status, n int) bool { return n == 0 })
		if d := cmp.Diff(counts, r.Statuses); d != "" {
			t.Fatalf("%s\ncounts, -rows +statuses\n%s", text, d)
		}
	})
}

// owed returns the expected status of every membership in ClearML, from the plan.
func owed(v reconcile.View) map[membership]review.Status {
	all := make(map[membership]review.Status)
	groups := v.Input.Target.Groups()
	if !slices.ContainsFunc(groups, func(g target.Group) bool { return g.Role != "" }) {
		groups = append(slices.Clone(groups), target.AdminRole(v.Input.Target.Users()))
	}
	for _, g := range groups {
		for _, m := range g.Members {
			if g.Name != "Users" || !g.System {
				all[membership{g.ID, m.ID}] = review.Unmanaged
			}
		}
	}
	for _, g := range v.Plan.Groups {
		id := g.Feed.Group.ID
		for _, m := range g.Feed.Group.Members {
			is := membership{id, m.ID}
			switch {
			case g.Frozen():
				all[is] = review.Frozen
			case slices.ContainsFunc(g.Remove, func(c plan.Change) bool { return c.User.ID == m.ID }):
				all[is] = review.Leaves
			case slices.ContainsFunc(g.Keep, func(k plan.Keeper) bool { return k.Member.ID == m.ID }):
				all[is] = review.Kept
			default:
				all[is] = review.Granted
			}
		}
	}
	return all
}

// TestLawGrantedIsGivenByKeycloak checks the people who have or get a group. Either a source
// in the row lists an enabled account of the person, or the account's own side in the world
// has a source.
func TestLawGrantedIsGivenByKeycloak(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, rules, mem := drawn(t)
		w := plantest.New(t, text, rules)
		v := survey(t, w, limits, mem)
		feeds := make(map[string]plan.Group)
		for _, g := range v.Plan.Groups {
			feeds[g.Feed.Group.ID] = g
		}
		for _, row := range review.Of(v, scope).Rows {
			if row.Status != review.Granted && row.Status != review.Joins {
				continue
			}
			i, _ := v.Input.Target.UserIndex(row.UserID)
			f := feeds[row.GroupID].Feed
			given := slices.ContainsFunc(v.People.Person(i).Accounts, func(a int) bool {
				u := v.Input.Source.Users()[a]
				name := u.Username
				listed := slices.ContainsFunc(row.By, func(path string) bool { return member(v, path, u.ID) }) ||
					slices.Contains(row.By, "role "+f.Role) && slices.Contains(v.Input.Source.HoldersOfRole(f.Role), u.ID)
				owns := slices.ContainsFunc(w.Catalog(t).Groups(), func(g source.Group) bool {
					return slices.ContainsFunc(f.Sources, func(s source.Group) bool { return s.ID == g.ID }) && w.Owns(g.Path, name)
				})
				return u.Enabled && (listed || owns || f.Role != "" && w.Holds(f.Role, name))
			})
			if !given {
				t.Fatalf("%s\nnothing gives %s", text, line(row))
			}
		}
	})
}

// member reports whether the list of the group with that path shows the account.
func member(v reconcile.View, path, account string) bool {
	return slices.ContainsFunc(v.Input.Source.Catalog().Groups(), func(g source.Group) bool {
		ids, _ := v.Input.Source.Members(g.ID)
		return g.Path == path && slices.Contains(ids, account)
	})
}

// TestLawEqualStatesGiveEqualBytes checks that the order of the answers and the time of the
// run change no byte of any format.
func TestLawEqualStatesGiveEqualBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, rules, mem := drawn(t)
		one := survey(t, plantest.New(t, text, rules), limits, mem)
		seed := rapid.Uint64().Draw(t, "seed")
		other := survey(t, plantest.New(t, plantest.Shuffled(text, rand.New(rand.NewPCG(seed, 1))), rules), limits, mem)
		other.Input.Now = other.Input.Now.Add(time.Second)
		for name, render := range map[string]func(io.Writer, review.Review) error{"csv": review.CSV, "json": review.JSON, "html": review.HTML} {
			var a, b bytes.Buffer
			if err := render(&a, review.Of(one, scope)); err != nil {
				t.Fatal(err)
			}
			if err := render(&b, review.Of(other, scope)); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(a.String(), b.String()); d != "" {
				t.Fatalf("%s\n%s differs\n%s", text, name, d)
			}
		}
	})
}
