package plan_test

import (
	"fmt"
	"testing"

	"groupsync/internal/match"
	"groupsync/internal/plan"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// BenchmarkPlan matches people and plans at three sizes. The largest has 1,000,000 memberships
// of 100,000 users in 10,000 groups, and 1 % of them drift. The goal for one plan is under 1 s
// and 256 MiB. Run it with
//
//	go test -run '^$' -bench Plan -benchmem ./internal/plan
func BenchmarkPlan(b *testing.B) {
	for _, size := range []struct{ users, groups, memberships int }{
		{1_000, 100, 10_000}, {10_000, 1_000, 100_000}, {100_000, 10_000, 1_000_000},
	} {
		b.Run(fmt.Sprintf("memberships=%d", size.memberships), func(b *testing.B) {
			src, tgt, pairing, rules := big(b, size.users, size.groups, size.memberships)
			b.ReportAllocs()
			for b.Loop() {
				drift := 0
				for _, g := range plan.Make(src, tgt, pairing, match.Who(src, tgt, rules)).Groups {
					drift += len(g.Add) + len(g.Remove)
				}
				if want := 2 * size.memberships / 100; drift != want {
					b.Fatalf("drift %d, want %d", drift, want)
				}
			}
		})
	}
}

// big has every group on both sides. For each hundredth membership ClearML has another user
// instead, so one user is added and one removed.
func big(tb testing.TB, users, groups, memberships int) (*source.Snapshot, *target.Snapshot, match.Pairing, match.Rules) {
	tb.Helper()
	id := func(kind string, i int) string { return fmt.Sprintf("%s-%08d-4d2b-8c3e-5f6a7b8c9d0e", kind, i) }
	per := memberships / groups
	p := source.Parts{Members: make(map[string][]source.User, groups)}
	t := target.Parts{Identity: target.Identity{User: "groupsync"}}
	var accounts []source.User
	for i := range users {
		email := fmt.Sprintf("user%d@example.com", i)
		accounts = append(accounts, source.User{ID: id("kc", i), Username: fmt.Sprintf("user%d", i), Email: email, Enabled: true})
		t.Users = append(t.Users, target.User{ID: id("cm", i), Name: fmt.Sprintf("user%d", i), Email: email, Providers: map[string][]string{"keycloak": {id("kc", i)}}})
	}
	var list []source.Group
	n := 0
	for g := range groups {
		name := fmt.Sprintf("group%d", g)
		list = append(list, source.Group{ID: id("kcg", g), Name: name})
		p.Selection.Groups = append(p.Selection.Groups, id("kcg", g))
		tg := target.Group{ID: id("cmg", g), Name: name, Assignable: true}
		for m := range per {
			u := (g*7 + m) % users
			p.Members[id("kcg", g)] = append(p.Members[id("kcg", g)], accounts[u])
			if n++; n%100 == 0 {
				u = (g*7 + per + m) % users
			}
			tg.Members = append(tg.Members, target.Member{ID: id("cm", u)})
		}
		t.Groups = append(t.Groups, tg)
	}
	var err error
	if p.Catalog, err = source.NewCatalog(source.CatalogParts{Groups: list, Counted: groups}); err != nil {
		tb.Fatal(err)
	}
	src, err := source.NewSnapshot(p)
	if err != nil {
		tb.Fatal(err)
	}
	tgt, err := target.NewSnapshot(t)
	if err != nil {
		tb.Fatal(err)
	}
	rules, err := match.Compile(match.Options{Include: []string{"*"}, Provider: "keycloak"})
	if err != nil {
		tb.Fatal(err)
	}
	pairing, err := match.Groups(p.Catalog, tgt.Groups(), rules)
	if err != nil {
		tb.Fatal(err)
	}
	return src, tgt, pairing, rules
}
