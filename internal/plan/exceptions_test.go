package plan_test

import (
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"groupsync/internal/match"
	"groupsync/internal/plan"
	"groupsync/internal/plan/plantest"
	"groupsync/internal/source"
)

// noon is the time of the tests' passes. The exceptions end an hour later, at one.
var (
	noon = time.Date(2026, 12, 31, 12, 0, 0, 0, time.UTC)
	one  = noon.Add(time.Hour)
)

func except(list ...match.Exception) func(*match.Options) {
	return func(o *match.Options) { o.Exceptions = list }
}

// kept returns the members whom an exception keeps, as text: "bob@team until 13:00 for
// reason".
func kept(p plan.Plan) []string {
	list := []string{}
	for _, g := range p.Groups {
		for _, k := range g.Keep {
			if e := k.Exception; e.Match != "" {
				list = append(list, k.Member.ID+"@"+g.Feed.Group.Name+" until "+e.Until.Format("15:04")+" for "+e.Reason)
			}
		}
	}
	return list
}

func TestExceptions(t *testing.T) {
	const leaver = "both ann bob\n/team: ann\n/x: ann\nteam = ann bob\nx = ann bob"
	bob := match.Exception{Match: "bob@*", Until: one, Reason: "handover"}
	in := func(groups ...string) match.Exception { e := bob; e.Groups = groups; return e }
	for _, tt := range []struct {
		name       string
		world      string
		exceptions []match.Exception
		at         time.Time
		want, kept []string
	}{
		{"without groups it keeps every membership", leaver, []match.Exception{bob}, noon,
			[]string{"=bob@team protected", "=bob@x protected"}, []string{"bob@team until 13:00 for handover", "bob@x until 13:00 for handover"}},
		{"with the name of a group it keeps the membership of that group only", leaver, []match.Exception{in("team")}, noon,
			[]string{"=bob@team protected", "-bob@x not_member by id"}, []string{"bob@team until 13:00 for handover"}},
		{"with the id of a group it keeps the membership of that group only", leaver, []match.Exception{in("cm-x")}, noon,
			[]string{"-bob@team not_member by id", "=bob@x protected"}, []string{"bob@x until 13:00 for handover"}},
		{"a name of another case is another group", leaver, []match.Exception{in("Team")}, noon,
			[]string{"-bob@team not_member by id", "-bob@x not_member by id"}, []string{}},
		{"a moment before its end it counts", leaver, []match.Exception{bob}, one.Add(-time.Nanosecond),
			[]string{"=bob@team protected", "=bob@x protected"}, []string{"bob@team until 13:00 for handover", "bob@x until 13:00 for handover"}},
		{"from its end on it counts no more", leaver, []match.Exception{bob}, one,
			[]string{"-bob@team not_member by id", "-bob@x not_member by id"}, []string{}},
		{"without an end it counts always", leaver, []match.Exception{{Match: "bob@*"}}, one.AddDate(100, 0, 0),
			[]string{"=bob@team protected", "=bob@x protected"}, []string{"bob@team until 00:00 for ", "bob@x until 00:00 for "}},
		{"of several the one that ends last is named", leaver, []match.Exception{bob, {Match: "bob", Until: one.Add(time.Hour)}, {Match: "kc-bob", Until: one, Reason: "other"}}, noon,
			[]string{"=bob@team protected", "=bob@x protected"}, []string{"bob@team until 14:00 for ", "bob@x until 14:00 for "}},
		{"of several the one without an end is named", leaver, []match.Exception{bob, {Match: "bob", Groups: []string{"x"}, Reason: "ever"}}, noon,
			[]string{"=bob@team protected", "=bob@x protected"}, []string{"bob@team until 13:00 for handover", "bob@x until 00:00 for ever"}},
		{"the glob matches an account's id, case ignored", leaver, []match.Exception{{Match: "KC-B*", Until: one}}, noon,
			[]string{"=bob@team protected", "=bob@x protected"}, []string{"bob@team until 13:00 for ", "bob@x until 13:00 for "}},
		{"it adds nobody", "both ann bob\n/team: ann\n/x: ann\nteam = ann\nx = ann", []match.Exception{bob}, noon, []string{}, []string{}},
		{"it hinders no addition", "both ann bob\n/team: ann bob\nteam = ann", []match.Exception{bob}, noon, []string{"+bob@team from /team by id"}, []string{}},
		{"it is not needed for a member whom Keycloak has in the group", "both ann bob\n/team: ann bob\nteam = ann bob", []match.Exception{bob}, noon, []string{}, []string{}},
		{"it keeps somebody disabled", "both ann bob\ndisable bob\n/team: ann bob\nteam = ann bob", []match.Exception{bob}, noon, []string{"=bob@team protected"}, []string{"bob@team until 13:00 for handover"}},
		{"it keeps somebody gone", "both ann\nclearml bob\n/team: ann\nteam = ann bob", []match.Exception{bob}, noon, []string{"=bob@team protected"}, []string{"bob@team until 13:00 for handover"}},
		{"another reason to stay comes first", "both ann\nclearml bob local\n/team: ann\nteam = ann bob", []match.Exception{bob}, noon, []string{"=bob@team local"}, []string{}},
		{"groupsync itself needs none", "both ann\n/team: ann\nteam = ann groupsync", []match.Exception{{Match: "groupsync"}}, noon, []string{"=groupsync@team self"}, []string{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := plantest.New(t, tt.world, except(tt.exceptions...))
			w.Rules = w.Rules.At(tt.at)
			p := w.Pass(t).Weighed
			if d := cmp.Diff(tt.want, plantest.Lines(p)); d != "" {
				t.Errorf("%s\n-want +got\n%s", tt.world, d)
			}
			if d := cmp.Diff(tt.kept, kept(p)); d != "" {
				t.Errorf("%s\nkept by exceptions, -want +got\n%s", tt.world, d)
			}
		})
	}
}

// TestAnExceptionWithoutCase: if groups.case_sensitive is false, the group names of an
// exception compare without case too.
func TestAnExceptionWithoutCase(t *testing.T) {
	w := plantest.New(t, "both ann bob\n/team: ann\nteam = ann bob", except(match.Exception{Match: "bob", Groups: []string{"TEAM"}}), func(o *match.Options) { o.CaseInsensitive = true })
	if d := cmp.Diff([]string{"=bob@team protected"}, plantest.Lines(w.Pass(t).Weighed)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// TestAnExceptionLooksNobodyUp: while an exception keeps a person, no look-up is made for the
// person. The person then does not count toward admins.floor.
func TestAnExceptionLooksNobodyUp(t *testing.T) {
	const world = "both ann\nclearml bob\n/ops: ann\n/team: ann\nAdmins! = ann bob\nteam = ann bob"
	for _, tt := range []struct {
		name   string
		groups []string
		asks   int
		state  match.State
	}{
		{"in every group", nil, 0, match.Protected},
		{"in one group only, so the other one asks", []string{"Admins"}, 1, match.GoneNow},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := plantest.New(t, world, admins, except(match.Exception{Match: "bob", Groups: tt.groups})).Pass(t)
			if len(p.Draft.Asks) != tt.asks || p.Plan.People["bob"] != tt.state {
				t.Errorf("asks for %v, and bob is %s", p.Draft.Asks, p.Plan.People["bob"])
			}
			if d := cmp.Diff([]string{"ann"}, p.Weighed.Groups[len(p.Weighed.Groups)-1].Floor); d != "" {
				t.Errorf("the floor\n%s", d)
			}
		})
	}
}

func drawExceptions(t *rapid.T) []match.Exception {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) match.Exception {
		return match.Exception{
			Match:  rapid.SampledFrom([]string{"*", "a", "b", "C", "one@*", "kc-b", "f@*", "anchor"}).Draw(t, "match"),
			Groups: rapid.SampledFrom([][]string{nil, nil, {"team"}, {"cm-teams", "x"}, {"Admins", "nope"}, {"TEAM"}}).Draw(t, "groups"),
			Until:  one,
		}
	}), 1, 3).Draw(t, "exceptions")
}

// covered reports whether an exception covers a removal, by the rules in the documentation.
func covered(list []match.Exception, foldNames bool, g plan.Group, c plan.Change) bool {
	names := []string{c.User.ID, c.User.Email}
	for _, a := range c.Accounts {
		names = append(names, a.ID, a.Email)
	}
	same := func(a, b string) bool { return a == b || foldNames && strings.EqualFold(a, b) }
	return slices.ContainsFunc(list, func(e match.Exception) bool {
		group := e.Groups == nil || slices.ContainsFunc(e.Groups, func(n string) bool { return n == g.Feed.Group.ID || same(n, g.Feed.Group.Name) })
		return group && slices.ContainsFunc(names, func(n string) bool {
			is, err := path.Match(strings.ToLower(e.Match), strings.ToLower(n))
			return n != "" && is && err == nil
		})
	})
}

// TestLawAnExceptionOnlyKeepsMembers compares the plan with exceptions and the plan without
// them, from the same snapshots. The additions are the same. The removals are the same, but
// without those that an exception covers; these members stay. After the end of the exceptions
// the two plans are the same. The test uses the snapshots of a pass without exceptions and of
// a pass with them, because the two make different look-ups.
func TestLawAnExceptionOnlyKeepsMembers(t *testing.T) {
	law(t, func(t *rapid.T, text string, change func(*match.Options), w *plantest.World, p plantest.Pass) {
		opaque := cmp.AllowUnexported(source.Evidence{})
		list := drawExceptions(t)
		excepted := plantest.New(t, text, change, except(list...))
		planOf := func(src *source.Snapshot, rules match.Rules) plan.Plan {
			return plan.Make(src, p.Target, p.Pairing, match.Who(src, p.Target, rules))
		}
		for _, src := range []*source.Snapshot{p.Source, excepted.Pass(t).Source} {
			without := planOf(src, w.Rules)
			if d := cmp.Diff(without, planOf(src, excepted.Rules.At(one)), opaque); d != "" {
				t.Fatalf("%s\n%v\nafter the end, -without +with\n%s", text, list, d)
			}
			with := planOf(src, excepted.Rules.At(noon))
			for i, g := range without.Groups {
				got := with.Groups[i]
				if d := cmp.Diff(g.Add, got.Add, opaque); d != "" {
					t.Fatalf("%s\n%v\nthe additions of %s, -without +with\n%s", text, list, g.Feed.Group.Name, d)
				}
				var removes []plan.Change
				keeps := len(g.Keep)
				for _, c := range g.Remove {
					if covered(list, w.Rules.CaseInsensitive, g, c) {
						keeps++
					} else {
						removes = append(removes, c)
					}
				}
				if d := cmp.Diff(removes, got.Remove, opaque); d != "" {
					t.Fatalf("%s\n%v\nthe removals of %s, -want +got\n%s", text, list, g.Feed.Group.Name, d)
				}
				if len(got.Keep) != keeps {
					t.Fatalf("%s\n%v\n%s keeps %v, want %d", text, list, g.Feed.Group.Name, got.Keep, keeps)
				}
			}
		}
	})
}
