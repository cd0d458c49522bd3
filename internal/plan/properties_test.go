package plan_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"groupsync/internal/match"
	"groupsync/internal/plan"
	"groupsync/internal/plan/plantest"
	"groupsync/internal/source"
)

// law checks a law with random worlds and rules.
func law(t *testing.T, check func(t *rapid.T, text string, rules func(*match.Options), w *plantest.World, p plantest.Pass)) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		text, rules := plantest.Draw(t), plantest.DrawRules(t)
		w := plantest.New(t, text, rules)
		check(t, text, rules, w, w.Pass(t))
	})
}

func TestLawTheOrderOfTheInputChangesNothing(t *testing.T) {
	law(t, func(t *rapid.T, text string, rules func(*match.Options), _ *plantest.World, p plantest.Pass) {
		seed := rapid.Uint64().Draw(t, "seed")
		other := plantest.New(t, plantest.Shuffled(text, rand.New(rand.NewPCG(seed, 1))), rules).Pass(t)
		if d := cmp.Diff(p.Weighed, other.Weighed, cmp.AllowUnexported(source.Evidence{})); d != "" {
			t.Fatalf("%s\nshuffled, the plan differs\n%s", text, d)
		}
		if d := cmp.Diff(p.Draft.Asks, other.Draft.Asks); d != "" {
			t.Fatalf("%s\nshuffled, other people are asked for\n%s", text, d)
		}
	})
}

func TestLawTheInputStaysAsItIs(t *testing.T) {
	law(t, func(t *rapid.T, text string, _ func(*match.Options), w *plantest.World, p plantest.Pass) {
		dump := func() string {
			return fmt.Sprintf("%+v\n%+v\n%+v\n%+v\n%+v\n%+v", *p.Source, *p.Target, p.Pairing, p.People, p.Plan, p.Confirmation)
		}
		before := dump()
		plan.Make(p.Source, p.Target, p.Pairing, match.Who(p.Source, p.Target, w.Rules))
		if _, err := p.Plan.Weighed(p.Confirmation); err != nil {
			t.Fatal(err)
		}
		if _, err := match.Groups(p.Source.Catalog(), p.Target.Groups(), w.Rules); err != nil {
			t.Fatal(err)
		}
		match.Remarks(p.Target, p.Pairing, w.Rules)
		if d := cmp.Diff(before, dump()); d != "" {
			t.Fatalf("%s\nthe input changed\n%s", text, d)
		}
	})
}

// TestLawThePlanIsAboutDifferences: no addition is for a member, every removal is for a
// member, and no user has both.
func TestLawThePlanIsAboutDifferences(t *testing.T) {
	law(t, func(t *rapid.T, text string, _ func(*match.Options), _ *plantest.World, p plantest.Pass) {
		for _, g := range p.Plan.Groups {
			members := make(map[string]int)
			for _, m := range g.Feed.Group.Members {
				members[m.ID]++
			}
			for _, c := range g.Add {
				if members[c.User.ID] > 0 || len(c.Accounts) != 1 || !c.Accounts[0].Enabled || c.Accounts[0].ServiceAccount || c.Why != source.Member || c.From == "" {
					t.Fatalf("%s\nadds %+v", text, c)
				}
			}
			for _, c := range g.Remove {
				if members[c.User.ID]--; members[c.User.ID] != 0 {
					t.Fatalf("%s\nremoves %+v", text, c)
				}
				if len(c.Accounts) == 0 && c.GoneBy == source.NotGone {
					t.Fatalf("%s\nremoves somebody of whom nothing is asked: %+v", text, c)
				}
			}
			for _, k := range g.Keep {
				if members[k.Member.ID]--; members[k.Member.ID] != 0 {
					t.Fatalf("%s\nkeeps and removes %+v", text, k)
				}
			}
			if g.Frozen() && len(g.Add)+len(g.Remove)+len(g.Keep)+len(g.Pending) > 0 {
				t.Fatalf("%s\na frozen group has changes: %+v", text, g)
			}
		}
	})
}

// TestLawEvidenceAgreesWithTheOwnSide: a removal needs every account that could be the
// person's to be out of the group. A grant needs the one account to be in it. The test takes
// the person's own side from the world itself.
func TestLawEvidenceAgreesWithTheOwnSide(t *testing.T) {
	law(t, func(t *rapid.T, text string, _ func(*match.Options), w *plantest.World, p plantest.Pass) {
		for _, g := range p.Weighed.Groups {
			in := func(a source.User) bool {
				name := strings.TrimPrefix(a.ID, "kc-")
				return a.Enabled && (slices.ContainsFunc(g.Feed.Sources, func(s source.Group) bool { return w.Owns(s.ID, name) }) || g.Feed.Role != "" && w.Holds(g.Feed.Role, name))
			}
			for _, c := range slices.Concat(g.Add, g.Remove) {
				if !c.Evidence.Valid() {
					continue
				}
				if !c.Evidence.For(c.Group, c.User.ID, c.Grant()) {
					t.Fatalf("%s\nthe evidence is for another change than %+v", text, c)
				}
				if c.Grant() && !in(c.Accounts[0]) {
					t.Fatalf("%s\n%s is granted %s, and the own side lacks it", text, c.User.ID, g.Feed.Group.Name)
				}
				if !c.Grant() && slices.ContainsFunc(c.Accounts, in) {
					t.Fatalf("%s\n%s loses %s, and an account's own side has it", text, c.User.ID, g.Feed.Group.Name)
				}
			}
			for _, c := range g.Own.Hidden {
				if !slices.ContainsFunc(c.Accounts, in) {
					t.Fatalf("%s\n%s is said to be hidden in %s, and the own side lacks it", text, c.User.ID, g.Feed.Group.Name)
				}
			}
			for _, c := range g.Own.Shown { // a group whose name collides confirms no grant
				name := strings.TrimPrefix(c.Accounts[0].ID, "kc-")
				if slices.ContainsFunc(c.Sources, func(s source.Group) bool { return w.Owns(s.ID, name) }) || g.Feed.Role != "" && w.Holds(g.Feed.Role, name) {
					t.Fatalf("%s\n%s is said to be only shown in %s, and the own side has it", text, c.User.ID, g.Feed.Group.Name)
				}
			}
		}
	})
}
