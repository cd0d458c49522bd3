package reconcile

import (
	"bytes"
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"groupsync/internal/match"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// drawWorld returns a small random realm and ClearML that overlap. There are people of every
// kind, shared emails, and ids under old emails. Groups can have the same leaf name, or names
// that differ only by case. The member list and the own side of federated people can differ.
func drawWorld(t *rapid.T, tb testing.TB) *world {
	w := newWorld(tb, "federation corp")
	w.duplicates = rapid.Bool().Draw(t, "duplicates")
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	emails := []string{"", "one@x", "two@x", "ONE@x", "three@x"}
	for _, n := range names {
		if rapid.Bool().Draw(t, "in keycloak "+n) {
			u := account(n)
			u.Enabled = rapid.IntRange(0, 4).Draw(t, "enabled") > 0
			if rapid.IntRange(0, 2).Draw(t, "federated") == 0 {
				u.Federation = "fed-corp"
			}
			if rapid.IntRange(0, 3).Draw(t, "odd email") == 0 {
				u.Email = rapid.SampledFrom(emails).Draw(t, "email")
			}
			w.users[u.ID] = u
		}
		if rapid.Bool().Draw(t, "in clearml "+n) {
			flags := []string{n}
			flags = append(flags, rapid.SampledFrom([][]string{nil, nil, {"id=kc-" + n}, {"id=kc-" + n}, {"local"}, {"other"}, {"google"}, {"service"}, {"untold"}, {"email=one@x"}, {"email=two@x"}, {"email="}, {"id=kc-a"}, {"email=one@x", "id=kc-b"}, {"id=11111111-2222-3333-4444-555555555555"}, {"id=ann"}, {"name=b"}}).Draw(t, "kind")...)
			u := clearmlUser(flags)
			w.accounts[u.ID] = u
		}
	}
	emailed := map[string]bool{}
	for _, u := range w.users { // a realm that forbids duplicate emails has none
		w.duplicates = w.duplicates || u.Email != "" && emailed[strings.ToLower(u.Email)]
		emailed[strings.ToLower(u.Email)] = true
	}
	for _, path := range []string{"/x", "/x/team", "/y", "/y/team", "/Team", "/ops", "/Users", "/teamwork"} {
		if rapid.IntRange(0, 4).Draw(t, "has "+path) == 0 && !strings.HasPrefix(path, "/x") {
			continue
		}
		if cut := strings.LastIndex(path, "/"); cut > 0 && w.groups[path[:cut]] == nil {
			w.groups[path[:cut]] = []string{}
		}
		w.groups[path] = []string{}
		for _, n := range names {
			u, ok := w.users["kc-"+n]
			if !ok || !rapid.Bool().Draw(t, "member") {
				continue
			}
			view := 0
			if u.Federation != "" {
				view = rapid.IntRange(0, 3).Draw(t, "view")
			}
			switch view {
			case 1:
				w.hides[path] = append(w.hides[path], n)
			case 2:
				w.shows[path] = append(w.shows[path], n)
			default:
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

// drawVia returns a random admins.via, and sets who has the role admin.
func (w *world) drawVia(t *rapid.T) match.Via {
	via := rapid.SampledFrom([]match.Via{match.ViaGroup, match.ViaGroup, match.ViaRole, match.ViaBoth}).Draw(t, "admins via")
	if via == match.ViaGroup {
		return via
	}
	w.adminRole = true
	for _, id := range slices.Sorted(maps.Keys(w.accounts)) {
		u := w.accounts[id]
		u.Role = rapid.SampledFrom([]string{target.RoleUser, target.RoleAdmin}).Draw(t, "role of "+id)
		w.accounts[id] = u
	}
	return via
}

func adminsAndProtected(o *match.Options) {
	o.AdminGroups, o.Protect = []string{"ops"}, []string{"h@*"}
	o.Exceptions = []match.Exception{{Match: "g@*"}, {Match: "kc-[cd]", Groups: []string{"team", "Admins"}}}
}

// checkWorlds checks a law with random worlds, without those that cannot be read.
func checkWorlds(t *testing.T, law func(*rapid.T, *world)) {
	t.Helper()
	rapid.Check(t, func(rt *rapid.T) {
		if w := drawWorld(rt, t); viable(w) {
			law(rt, w)
		}
	})
}

// emptyRealm reports whether a pass failed because it read no account at all.
func emptyRealm(r report.Report) bool {
	return len(r.Errors) == 1 && strings.Contains(r.Errors[0].Text, "the realm shows no account at all")
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
		first := r.Pass(context.Background(), Request{MayWrite: leads, Apply: true})
		second := r.Pass(context.Background(), Request{MayWrite: leads, Apply: true})
		if emptyRealm(first) {
			return
		}
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

// login is the per-login sync exactly as documented, one question at a time. It shares no code
// with the product.
type login struct {
	w           *world
	insensitive bool
	admins      []string
}

func (l login) same(a, b string) bool {
	return a == b || l.insensitive && strings.EqualFold(a, b)
}

// claim returns the names in the account's token: the leaf names of the groups that the own
// side has.
func (l login) claim(name string) []string {
	var names []string
	for path, people := range l.w.groups {
		own := (slices.Contains(people, name) || slices.Contains(l.w.hides[path], name)) && !slices.Contains(l.w.shows[path], name)
		if own {
			names = append(names, path[strings.LastIndex(path, "/")+1:])
		}
	}
	return names
}

// keepsNoAccount reports whether ClearML keeps a text for the user that names no account but
// may be an id.
func (l login) keepsNoAccount(u target.User) bool {
	return slices.ContainsFunc(u.Providers["keycloak"], func(id string) bool {
		_, there := l.w.users[id]
		return !there && !strings.HasPrefix(id, "2026-")
	})
}

// gives reports whether a login of the account puts its user into the user group.
func (l login) gives(name string, g target.Group) bool {
	if u, there := l.w.users["kc-"+name]; !there || !u.Enabled {
		return false
	}
	return slices.ContainsFunc(l.claim(name), func(n string) bool {
		if g.System {
			return g.Name == "Admins" && slices.ContainsFunc(l.admins, func(a string) bool { return l.same(a, n) })
		}
		return l.same(n, g.Name)
	})
}

// fed reports whether a Keycloak group feeds the user group.
func (l login) fed(g target.Group) bool {
	if g.System {
		return g.Name == "Admins"
	}
	return slices.ContainsFunc(slices.Collect(maps.Keys(l.w.groups)), func(path string) bool { return l.same(path[strings.LastIndex(path, "/")+1:], g.Name) })
}

// candidates returns the names of the accounts that could be a ClearML user's, and whether
// ClearML keeps an id that the realm no longer has.
func (l login) candidates(u target.User) (names []string, lost bool) {
	told := slices.ContainsFunc(slices.Collect(maps.Values(l.w.accounts)), func(x target.User) bool { return x.Providers != nil })
	ids, ours := u.Providers["keycloak"]
	if u.ServiceAccount || told && !ours {
		return nil, false
	}
	for _, id := range ids {
		if _, there := l.w.users[id]; there {
			names = append(names, strings.TrimPrefix(id, "kc-"))
		}
		lost = lost || strings.HasPrefix(id, "11111111-") // the form of Keycloak's ids
	}
	if len(names) > 0 {
		return names, false
	}
	for id, a := range l.w.users {
		if u.Email != "" && strings.EqualFold(a.Email, u.Email) { // the random emails are ASCII
			names = append(names, strings.TrimPrefix(id, "kc-"))
		}
	}
	return names, lost
}

// unsure reports whether ClearML knows the user by an email only, in a realm in which a
// federation can hide another account with the email.
func (l login) unsure(u target.User) bool {
	return l.w.duplicates && len(l.w.federations) > 0 && !slices.ContainsFunc(u.Providers["keycloak"], func(id string) bool { _, is := l.w.users[id]; return is })
}

// listed reports whether the member list of a Keycloak group that feeds g shows the account.
// If ClearML agrees with the lists, no pass proposes a change, and so none asks the own side.
func (l login) listed(name string, g target.Group) bool {
	for path := range l.w.groups {
		leaf := path[strings.LastIndex(path, "/")+1:]
		feeds := !g.System && l.same(leaf, g.Name) || g.Name == "Admins" && slices.ContainsFunc(l.admins, func(a string) bool { return l.same(a, leaf) })
		if feeds && slices.ContainsFunc(l.w.membersOf(path), func(u source.User) bool { return u.ID == "kc-"+name }) {
			return true
		}
	}
	return false
}

// checkLogins makes one pass over a random world, with or without case. It gives law the
// members before the pass and the report.
func checkLogins(t *testing.T, law func(rt *rapid.T, l login, before map[string][]string, rep report.Report)) {
	t.Helper()
	checkWorlds(t, func(rt *rapid.T, w *world) {
		l := login{w: w, insensitive: rapid.Bool().Draw(rt, "case-insensitive"), admins: []string{"ops"}}
		before := map[string][]string{}
		for _, g := range w.targets {
			before[g.Name] = g.MemberIDs()
		}
		r, _ := w.reconciler(t, wide, func(o *match.Options) { o.AdminGroups, o.CaseInsensitive = l.admins, l.insensitive })
		law(rt, l, before, r.Pass(context.Background(), Request{MayWrite: leads, Apply: true}))
	})
}

// TestLawALoginAfterACleanPassChangesNothing is the most important test: after a pass without
// a trip, a login changes no membership. It leaves out people who could have several accounts,
// and memberships in which ClearML agrees with the lists.
func TestLawALoginAfterACleanPassChangesNothing(t *testing.T) {
	checkLogins(t, func(rt *rapid.T, l login, _ map[string][]string, rep report.Report) {
		if len(rep.Guards)+len(rep.Errors) > 0 {
			return
		}
		claims := map[string]int{}
		for _, u := range l.w.accounts {
			names, _ := l.candidates(u)
			for _, n := range names {
				claims[n]++
			}
		}
		for _, u := range l.w.accounts {
			names, lost := l.candidates(u)
			if len(names) != 1 || lost || l.unsure(u) || l.keepsNoAccount(u) || claims[names[0]] != 1 || u.ID == l.w.self || !l.w.users["kc-"+names[0]].Enabled {
				continue // it is unknown which account would log in
			}
			for _, g := range l.w.targets {
				is, gives := slices.Contains(strings.Fields(l.w.members(g.Name)), u.ID), l.gives(names[0], g)
				if l.fed(g) && !(g.System && g.Name != "Admins") && is != gives && is != l.listed(names[0], g) {
					rt.Fatalf("%s is in %s: %v, a login makes it %v\n%q", u.ID, g.Name, is, gives, lines(rep))
				}
			}
		}
	})
}

// TestLawNobodyLosesWhatEveryCandidateHas: a person is removed only if no account that could
// be the person's has the group in its token.
func TestLawNobodyLosesWhatEveryCandidateHas(t *testing.T) {
	checkLogins(t, func(rt *rapid.T, l login, before map[string][]string, rep report.Report) {
		for _, g := range l.w.targets {
			for _, id := range before[g.Name] {
				if slices.Contains(strings.Fields(l.w.members(g.Name)), id) {
					continue
				}
				u, known := l.w.accounts[id]
				names, _ := l.candidates(u)
				if !known || u.ServiceAccount || slices.ContainsFunc(names, func(n string) bool { return l.gives(n, g) }) {
					rt.Fatalf("%s lost %s, which an account that could be the person has (%q)\n%q", id, g.Name, names, lines(rep))
				}
			}
		}
	})
}

// TestLawNobodyGainsWhatNoCandidateHas: a person gains a group only if exactly one account
// could be the person's, and that account's token has the group.
func TestLawNobodyGainsWhatNoCandidateHas(t *testing.T) {
	checkLogins(t, func(rt *rapid.T, l login, before map[string][]string, rep report.Report) {
		for _, g := range l.w.targets {
			for _, id := range strings.Fields(l.w.members(g.Name)) {
				if slices.Contains(before[g.Name], id) {
					continue
				}
				names, lost := l.candidates(l.w.accounts[id])
				if len(names) != 1 || lost || !l.gives(names[0], g) {
					rt.Fatalf("%s gained %s; the accounts that could be the person are %q (kept id lost: %v)\n%q", id, g.Name, names, lost, lines(rep))
				}
			}
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
		r.Pass(context.Background(), Request{MayWrite: leads, Apply: true})
		if got, want := w.members("team"), strings.Join(slices.Sorted(maps.Keys(in)), " "); got != want {
			rt.Fatalf("got %q, want %q", got, want)
		}
	})
}
