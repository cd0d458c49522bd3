package match

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/source"
	"groupsync/internal/target"
)

// catalog builds a realm's groups from paths; ids are the paths.
func catalog(t *testing.T, paths ...string) source.Catalog {
	t.Helper()
	var groups []source.Group
	for _, p := range paths {
		cut := strings.LastIndex(p, "/")
		groups = append(groups, source.Group{ID: p, Name: p[cut+1:], Parent: p[:cut]})
	}
	c, err := source.NewCatalog(groups, len(groups))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// groups builds user groups from names: "x!" is built in, "x?" not assignable.
func groups(names ...string) []target.Group {
	var out []target.Group
	for i, n := range names {
		out = append(out, target.Group{ID: fmt.Sprint(i), Name: strings.TrimRight(n, "!?"), System: strings.HasSuffix(n, "!"), Assignable: !strings.HasSuffix(n, "?")})
	}
	return out
}

func compile(t *testing.T, o Options) Rules {
	t.Helper()
	if o.Include == nil {
		o.Include = []string{"*"}
	}
	r, err := Compile(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func show(p Pairing) (feeds, skips []string) {
	for _, f := range p.Feeds {
		line := f.Group.Name + " <-"
		for _, s := range f.Sources {
			line += " " + s.Path
		}
		if f.Role != "" {
			line += " role:" + f.Role
		}
		for _, m := range f.Missing {
			line += fmt.Sprintf(" missing:%s%q", m.Name, m.Near)
		}
		feeds = append(feeds, line)
	}
	for _, s := range p.Skips {
		skips = append(skips, s.Side+" "+s.Name+": "+s.Why)
	}
	return feeds, skips
}

func TestGroups(t *testing.T) {
	tests := []struct {
		name    string
		paths   []string
		groups  []string
		options Options
		feeds   []string
		skips   []string
	}{
		{
			name:  "a leaf name feeds the user group of that very name",
			paths: []string{"/a", "/a/team"}, groups: []string{"team"},
			feeds: []string{"team <- /a/team"},
			skips: []string{"keycloak a: no_target"},
		},
		{
			name:  "names compare byte for byte, a near miss is only reported",
			paths: []string{"/Data Science"}, groups: []string{"data-science"},
			skips: []string{"clearml data-science: no_source", `keycloak Data Science: near miss: ClearML has "data-science"`, "keycloak Data Science: no_target"},
		},
		{
			name:  "equal leaf names are united and the collision is reported",
			paths: []string{"/a", "/b", "/a/team", "/b/team"}, groups: []string{"team"},
			feeds: []string{"team <- /a/team /b/team"},
			skips: []string{"keycloak team: collision: one claim name of /a/team, /b/team, their members are united", "keycloak a: no_target", "keycloak b: no_target"},
		},
		{
			name:  "a top-level group a/b does not collide with b in a by full path unless their paths are equal",
			paths: []string{"/x"}, groups: []string{"/x"}, options: Options{FullPath: true},
			feeds: []string{"/x <- /x"},
		},
		{
			name:  "two user groups of one name are both left alone",
			paths: []string{"/team"}, groups: []string{"team", "team"},
			skips: []string{"clearml team: duplicate"},
		},
		{
			name:  "a user group without a name is nobody's namesake",
			paths: []string{"/team"}, groups: []string{"team", "", ""},
			feeds: []string{"team <- /team"},
			skips: []string{"clearml 1: no_source", "clearml 2: no_source"},
		},
		{
			name:  "built-in and unassignable user groups are left alone",
			paths: []string{"/Users", "/locked", "/Queue admins"}, groups: []string{"Users!", "locked?", "Queue admins!"},
			skips: []string{"clearml Queue admins: builtin", "clearml Users: builtin", "clearml locked: not_assignable", "keycloak Queue admins: builtin", "keycloak Users: builtin"},
		},
		{
			name:  "include and exclude are globs over claim names, and * crosses /",
			paths: []string{"/a", "/a/b", "/c"}, groups: []string{"/a/b", "/c"}, options: Options{FullPath: true, Include: []string{"/a*"}, Exclude: []string{"/a"}},
			feeds: []string{"/a/b <- /a/b"},
			skips: []string{"clearml /c: no_source", "keycloak /a: excluded", "keycloak /c: excluded"},
		},
		{
			name:  "a mapping onto a group that ClearML lacks is a finding",
			paths: []string{"/team"}, groups: []string{"team"}, options: Options{Mapping: map[string][]string{"team": {"tame"}}},
			skips: []string{"clearml team: no_source", "keycloak team → tame: no_target"},
		},
		{
			name:  "a mapping from a group that Keycloak lacks freezes its target",
			paths: []string{"/team"}, groups: []string{"team", "x"}, options: Options{Mapping: map[string][]string{"taem": {"x"}}},
			feeds: []string{"team <- /team", `x <- missing:taem["team"]`},
		},
		{
			name:  "an admin group needs no namesake, and the administrators come last",
			paths: []string{"/ops", "/zebra"}, groups: []string{"Admins!", "zebra"}, options: Options{AdminGroups: []string{"ops"}, AdminRole: "boss"},
			feeds: []string{"zebra <- /zebra", "Admins <- /ops role:boss"},
		},
		{
			name:  "an Admins group that people made is no built-in one",
			paths: []string{"/ops"}, groups: []string{"Admins"}, options: Options{AdminGroups: []string{"ops"}},
			skips: []string{"clearml Admins: builtin"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Groups(catalog(t, tt.paths...), groups(tt.groups...), compile(t, tt.options))
			if err != nil {
				t.Fatal(err)
			}
			feeds, skips := show(p)
			if d := cmp.Diff(tt.feeds, feeds); d != "" {
				t.Errorf("feeds: -want +got\n%s", d)
			}
			if d := cmp.Diff(tt.skips, skips); d != "" {
				t.Errorf("skips: -want +got\n%s", d)
			}
		})
	}
}

func TestMappingOntoABuiltinIsAnError(t *testing.T) {
	_, err := Groups(catalog(t, "/team"), groups("Special!"), compile(t, Options{Mapping: map[string][]string{"team": {"Special"}}}))
	want := `groups.mapping: "team" is mapped to ClearML's built-in group "Special", which is never written: map it to a group of your own`
	if err == nil || err.Error() != want {
		t.Fatalf("got %v, want %s", err, want)
	}
}

func TestTwoGroupsThatShareOnePathAreReported(t *testing.T) {
	c, err := source.NewCatalog([]source.Group{{ID: "1", Name: "a"}, {ID: "2", Name: "b", Parent: "1"}, {ID: "3", Name: "a/b"}}, 3)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Groups(c, groups("/a/b"), compile(t, Options{FullPath: true}))
	if err != nil {
		t.Fatal(err)
	}
	feeds, skips := show(p)
	if d := cmp.Diff([]string{"/a/b <- /a/b /a/b"}, feeds); d != "" {
		t.Error(d)
	}
	if want := "keycloak /a/b: two groups share this path: a name holds a slash"; !strings.Contains(strings.Join(skips, "\n"), want) {
		t.Errorf("skips %q lack %q", skips, want)
	}
}
