package source

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"groupsync/internal/fault"
)

// mustCatalog returns the catalog of the groups, with their number as the realm's count.
func mustCatalog(t testing.TB, groups ...Group) Catalog {
	t.Helper()
	c, err := NewCatalog(CatalogParts{Groups: groups, Counted: len(groups)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCatalogRefusesAListThatIsNotWhole(t *testing.T) {
	a, b := Group{ID: "1", Name: "a"}, Group{ID: "2", Name: "b", Parent: "1"}
	for _, tt := range []struct {
		name    string
		groups  []Group
		counted int
		want    string
	}{
		{"the count is larger than the list", []Group{a}, 2, "Keycloak listed 1 groups but counts 2: the list is not complete; check that the client's service account holds view-users, and run again if groups were being changed"},
		{"the count is smaller than the list", []Group{a, b}, 1, "Keycloak listed 2 groups but counts 1: the list is not complete; check that the client's service account holds view-users, and run again if groups were being changed"},
		{"the list is empty and the count says so", nil, 0, "the realm has no groups: nothing is synchronized from an empty realm; check keycloak.realm"},
		{"a group is listed twice", []Group{a, a}, 2, `Keycloak listed the group "a" (id "1") twice, so another may be missing; run again`},
		{"a group has no id", []Group{{Name: "a"}}, 1, `Keycloak listed the group "a" (id "") twice, so another may be missing; run again`},
		{"a parent is missing", []Group{b}, 1, `the group "b" has a parent that Keycloak did not list; run again`},
		{"a parent is missing, although Keycloak gives the path", []Group{{ID: "2", Name: "b", Parent: "1", Path: "/a/b"}}, 1, `the group "b" has a parent that Keycloak did not list; run again`},
		{"parents form a ring", []Group{{ID: "1", Name: "a", Parent: "2"}, b}, 2, `the group "b" has a parent that Keycloak did not list; run again`},
		{"a group is its own parent", []Group{{ID: "1", Name: "a", Parent: "1"}}, 1, `the group "a" has a parent that Keycloak did not list; run again`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewCatalog(CatalogParts{Groups: tt.groups, Counted: tt.counted})
			if f := fault.Of(err); f == nil || f.Error() != tt.want || f.Reason != fault.Incomplete || f.System != fault.Keycloak {
				t.Errorf("groups %v, counted %d\ngot  %v\nwant %s", tt.groups, tt.counted, err, tt.want)
			}
		})
	}
}

// TestCatalogKeepsKeycloaksOwnPath covers C6 of the semantics: with the server's option that
// escapes slashes, a top-level group "a/b" and a child "b" of "a" have two paths.
func TestCatalogKeepsKeycloaksOwnPath(t *testing.T) {
	groups := []Group{
		{ID: "4", Name: "a/b", Path: "/a~/b"},
		{ID: "3", Name: "c", Parent: "2"},
		{ID: "2", Name: "b", Parent: "1", Path: "/a/b"},
		{ID: "1", Name: "a"},
		{ID: "5", Name: "x/y"},
	}
	before := slices.Clone(groups)
	c := mustCatalog(t, groups...)
	var got []string
	for _, g := range c.Groups() {
		got = append(got, g.ID+" "+g.Path)
	}
	if d := cmp.Diff([]string{"1 /a", "2 /a/b", "3 /a/b/c", "4 /a~/b", "5 /x/y"}, got); d != "" {
		t.Errorf("sorted by path, and an empty path is built from the names: -want +got\n%s", d)
	}
	if d := cmp.Diff(before, groups); d != "" {
		t.Errorf("NewCatalog changed its input\n%s", d)
	}
	for _, g := range c.Groups() {
		if found, ok := c.Group(g.ID); !ok || found != g {
			t.Errorf("Group(%s) = %v, %v; want %v", g.ID, found, ok, g)
		}
	}
	if g, ok := c.Group("none"); ok {
		t.Errorf("Group of an unknown id = %v", g)
	}
}

func TestGroupsOfOnePathAreSortedByID(t *testing.T) {
	c := mustCatalog(t, Group{ID: "3", Name: "a/b"}, Group{ID: "2", Name: "b", Parent: "1"}, Group{ID: "1", Name: "a"})
	if got := c.Groups(); got[1].ID != "2" || got[2].ID != "3" || got[1].Path != got[2].Path {
		t.Errorf("got %v", got)
	}
}

func TestWithDescendants(t *testing.T) {
	c := mustCatalog(t, Group{ID: "3", Name: "c", Parent: "2"}, Group{ID: "2", Name: "b", Parent: "1"}, Group{ID: "1", Name: "a"}, Group{ID: "4", Name: "d"})
	if d := cmp.Diff([]string{"2", "3"}, c.WithDescendants([]string{"2", "3"})); d != "" {
		t.Errorf("each group once, sorted by path: -want +got\n%s", d)
	}
	if got := c.WithDescendants(nil); got != nil {
		t.Errorf("descendants of nothing: %v", got)
	}
}

func TestFederationsAreSortedByID(t *testing.T) {
	feds := []Federation{{ID: "2", Name: "b"}, {ID: "1", Name: "a"}}
	c, err := NewCatalog(CatalogParts{Groups: []Group{{ID: "g", Name: "g"}}, Counted: 1, Federations: feds})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Federations(); got[0].ID != "1" || got[1].ID != "2" || feds[0].ID != "2" {
		t.Errorf("got %v, the input is now %v", got, feds)
	}
	if f, ok := c.Federation("2"); !ok || f.Name != "b" {
		t.Errorf("Federation(2) = %v, %v", f, ok)
	}
	if f, ok := c.Federation("3"); ok {
		t.Errorf("Federation(3) = %v", f)
	}
}

func TestDuplicateEmails(t *testing.T) {
	imports, not := Federation{ID: "1", Imports: true}, Federation{ID: "2"}
	for _, tt := range []struct {
		name    string
		setting bool
		feds    []Federation
		want    bool
	}{
		{"the realm forbids them and has no federation", false, nil, false},
		{"the realm forbids them and its federation imports", false, []Federation{imports}, false},
		{"the realm allows them", true, nil, true},
		{"a federation keeps its people out of the database", false, []Federation{imports, not}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := NewCatalog(CatalogParts{Groups: []Group{{ID: "g", Name: "g"}}, Counted: 1, Federations: tt.feds, DuplicateEmails: tt.setting})
			if err != nil {
				t.Fatal(err)
			}
			if got := c.DuplicateEmails(); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestContaining(t *testing.T) {
	for _, tt := range []struct {
		name   string
		search string
		groups []string
		want   []string
	}{
		{"a name is contained in itself", "dev", []string{"dev", "ops"}, []string{"dev"}},
		{"a longer name contains it, case ignored", "dev", []string{"DevOps", "my-DEV", "de", "ev"}, []string{"DevOps", "my-DEV"}},
		{"a shorter name does not", "devops", []string{"dev"}, nil},
		{"an underscore stands for any one character", "a_b", []string{"a-b", "xaybx", "ab", "a--b", "a_b"}, []string{"a-b", "a_b", "xaybx"}},
		{"a percent sign stands for any text", "a%b", []string{"ab", "a---b", "ba", "a%b"}, []string{"a%b", "a---b", "ab"}},
		{"a percent sign at the end stands for nothing too", "a%", []string{"a", "b"}, []string{"a"}},
		{"letters beyond ASCII", "ÄRZTE", []string{"ärzte-nord", "arzte"}, []string{"ärzte-nord"}},
		{"a name that lower case changes is still its own", "İ", []string{"İ", "x"}, []string{"İ"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var groups []Group
			for _, n := range tt.groups {
				groups = append(groups, Group{ID: n, Name: n})
			}
			got := mustCatalog(t, groups...).Containing(tt.search)
			slices.Sort(got)
			want := slices.Sorted(slices.Values(tt.want))
			if d := cmp.Diff(want, got); d != "" && len(want)+len(got) > 0 {
				t.Errorf("Containing(%q) of %q: -want +got\n%s", tt.search, tt.groups, d)
			}
		})
	}
}

// naiveLike translates a pattern of SQL's LIKE into a regular expression.
func naiveLike(text, pattern string) bool {
	var b strings.Builder
	for _, r := range pattern {
		switch r {
		case '_':
			b.WriteString(".")
		case '%':
			b.WriteString(".*")
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	return regexp.MustCompile("(?s)" + b.String()).MatchString(text)
}

func TestLikeIsWhatARegularExpressionSays(t *testing.T) {
	text := rapid.StringOfN(rapid.RuneFrom([]rune("abé_%\n")), 0, 8, -1)
	rapid.Check(t, func(t *rapid.T) {
		s, p := text.Draw(t, "text"), text.Draw(t, "pattern")
		if got, want := like(s, p), naiveLike(s, p); got != want {
			t.Errorf("like(%q, %q) = %v, want %v", s, p, got, want)
		}
	})
}

func TestTied(t *testing.T) {
	catalog := mustCatalog(t,
		Group{ID: "dev", Name: "dev"}, Group{ID: "devops", Name: "devops"}, Group{ID: "qa", Name: "qa"},
		Group{ID: "p", Name: "projects"}, Group{ID: "p/qa", Name: "qa", Parent: "p"}, Group{ID: `a\b`, Name: `a\b`})
	group := func(ids ...string) (groups []Group) {
		for _, id := range ids {
			g, ok := catalog.Group(id)
			if !ok {
				t.Fatalf("no group %s", id)
			}
			groups = append(groups, g)
		}
		return groups
	}
	for _, tt := range []struct {
		name    string
		count   int
		search  string
		sources []Group
		want    bool
	}{
		{"a count of 0 is exact, whatever the names", 0, "dev", group("dev"), false},
		{"no other group's name contains this one", 1, "devops", group("devops"), false},
		{"another group's name contains this one", 1, "dev", group("dev"), true},
		{"every group whose name contains this one is a source", 2, "dev", group("dev", "devops"), false},
		{"a group elsewhere has the same name", 1, "qa", group("p/qa"), true},
		{"groups of one name that are all sources", 1, "qa", group("qa", "p/qa"), false},
		{"a backslash: 0 may be an escape of the database", 0, `a\b`, group(`a\b`), true},
		{"a backslash: more than 0 may count a name without it", 1, `a\b`, group(`a\b`), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := catalog.Tied(Own{Count: tt.count}, tt.search, tt.sources); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
