package match

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/source"
	"groupsync/internal/target"
)

// catalog builds the groups of a realm from paths. The ids are the paths.
func catalog(t *testing.T, paths ...string) source.Catalog {
	t.Helper()
	var groups []source.Group
	for _, p := range paths {
		cut := strings.LastIndex(p, "/")
		groups = append(groups, source.Group{ID: p, Name: p[cut+1:], Parent: p[:cut]})
	}
	return counted(t, groups...)
}

func counted(t *testing.T, groups ...source.Group) source.Catalog {
	t.Helper()
	c, err := source.NewCatalog(source.CatalogParts{Groups: groups, Counted: len(groups)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// groups builds user groups from names: "x!" is built in, "x?" is not assignable, "x*" is the
// role admin.
func groups(names ...string) []target.Group {
	var out []target.Group
	for i, n := range names {
		if strings.HasSuffix(n, "*") {
			out = append(out, target.AdminRole(nil))
			continue
		}
		out = append(out, target.Group{ID: fmt.Sprint(i), Name: strings.TrimRight(n, "!?"), System: strings.Contains(n, "!"), Assignable: !strings.Contains(n, "?")})
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

// show returns a pairing as text, with one line for each feed, missing source and skip.
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
			line += fmt.Sprintf(" missing:%s in %s, near %q", m.Name, m.Key, m.Near)
		}
		for _, c := range f.Collisions {
			line += fmt.Sprintf(" collision:%s of %s", c.Name, paths(c.Groups))
		}
		if f.Admins {
			line += " (administrators)"
		}
		feeds = append(feeds, line)
	}
	for _, m := range p.Missing {
		feeds = append(feeds, fmt.Sprintf("missing %s %s in %s, near %q", m.Kind, m.Name, m.Key, m.Near))
	}
	for _, s := range p.Skips {
		skips = append(skips, s.Side+" "+s.Name+": "+s.Why)
	}
	return feeds, skips
}

func TestGroups(t *testing.T) {
	nocase := func(o Options) Options { o.CaseInsensitive = true; return o }
	to := func(claim string, groups ...string) map[string][]string { return map[string][]string{claim: groups} }
	for _, tt := range []struct {
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
			name:  "names compare byte for byte, and a near miss is only reported",
			paths: []string{"/Data Science"}, groups: []string{"data-science"},
			skips: []string{"clearml data-science: no_source", `keycloak Data Science: near miss: the wanted name feeds no user group, and ClearML has the similar name "data-science": if the two belong together and that group is not built in, make the names equal, or correct groups.mapping`, "keycloak Data Science: no_target"},
		},
		{
			name:  "a name of another case is a near miss",
			paths: []string{"/Team"}, groups: []string{"team"},
			skips: []string{"clearml team: no_source", `keycloak Team: near miss: the wanted name feeds no user group, and ClearML has the similar name "team": if the two belong together and that group is not built in, make the names equal, or correct groups.mapping`, "keycloak Team: no_target"},
		},
		{
			name:  "equal leaf names are united, and the collision is reported",
			paths: []string{"/a", "/b", "/a/team", "/b/team"}, groups: []string{"team"},
			feeds: []string{"team <- /a/team /b/team"},
			skips: []string{"keycloak team: collision: /a/team, /b/team have the same claim name, so their members are united", "keycloak a: no_target", "keycloak b: no_target"},
		},
		{
			name:  "equal leaf names without a user group are no collision",
			paths: []string{"/a", "/a/team", "/team"}, groups: []string{"a"},
			feeds: []string{"a <- /a"},
			skips: []string{"keycloak team: no_target"},
		},
		{
			name:  "with full_path the path is the name",
			paths: []string{"/x", "/x/team", "/team"}, groups: []string{"/x/team", "team"}, options: Options{FullPath: true},
			feeds: []string{"/x/team <- /x/team"},
			skips: []string{"clearml team: no_source", "keycloak /team: no_target", "keycloak /x: no_target"},
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
			paths: []string{"/Users", "/locked", "/Queue admins", "/Special"}, groups: []string{"Users!", "locked?", "Queue admins!", "Special!"},
			skips: []string{"clearml Queue admins: builtin", "clearml Special: builtin", "clearml Users: builtin", "clearml locked: not_assignable",
				"keycloak Queue admins: builtin", "keycloak Special: builtin", "keycloak Users: builtin"},
		},
		{
			name:  "a group of a built-in one's name is left alone, whatever ClearML says of it",
			paths: []string{"/Users", "/Admins"}, groups: []string{"Users", "Admins"},
			skips: []string{"clearml Admins: builtin", "clearml Users: builtin", "keycloak Admins: builtin", "keycloak Users: builtin"},
		},
		{
			name:  "include and exclude are globs over claim names, and * crosses /",
			paths: []string{"/a", "/a/b", "/c"}, groups: []string{"/a/b", "/c"}, options: Options{FullPath: true, Include: []string{"/a*"}, Exclude: []string{"/a"}},
			feeds: []string{"/a/b <- /a/b"},
			skips: []string{"clearml /c: no_source", "keycloak /a: excluded", "keycloak /c: excluded"},
		},
		{
			name:  "a mapping replaces the identity",
			paths: []string{"/team"}, groups: []string{"team", "x", "y"}, options: Options{Mapping: to("team", "x", "y")},
			feeds: []string{"x <- /team", "y <- /team"},
			skips: []string{"clearml team: no_source"},
		},
		{
			name:  "several claim names may feed one user group",
			paths: []string{"/a", "/b"}, groups: []string{"x"}, options: Options{Mapping: map[string][]string{"a": {"x"}, "b": {"x"}}},
			feeds: []string{"x <- /a /b"},
		},
		{
			name:  "a mapping onto a group that ClearML lacks is reported",
			paths: []string{"/team"}, groups: []string{"team"}, options: Options{Mapping: to("team", "tame")},
			skips: []string{"clearml team: no_source", "keycloak team → tame: no_target"},
		},
		{
			name:  "a mapping from a group that Keycloak lacks freezes its target",
			paths: []string{"/team"}, groups: []string{"team", "x"}, options: Options{Mapping: to("taem", "x")},
			feeds: []string{"team <- /team", `x <- missing:taem in groups.mapping, near ["team"]`},
		},
		{
			name:  "a mapping from a group that Keycloak lacks to one that ClearML lacks is missing",
			paths: []string{"/team"}, groups: []string{"team"}, options: Options{Mapping: to("taem", "x")},
			feeds: []string{"team <- /team", `missing group taem in groups.mapping, near ["team"]`},
			skips: []string{"keycloak taem → x: no_target"},
		},
		{
			name:  "an excluded claim name feeds nothing, mapped or not",
			paths: []string{"/team"}, groups: []string{"x"}, options: Options{Mapping: to("team", "x"), Exclude: []string{"te*"}},
			skips: []string{"clearml x: no_source", "keycloak team: excluded"},
		},

		// C8: groups.case_sensitive is false.
		{
			name:  "without case a name of another case is the same name",
			paths: []string{"/Team"}, groups: []string{"tEAM"}, options: nocase(Options{}),
			feeds: []string{"tEAM <- /Team"},
		},
		{
			name:  "without case several Keycloak groups that differ by case are one desired group",
			paths: []string{"/Team", "/a", "/a/team"}, groups: []string{"TEAM"}, options: nocase(Options{}),
			feeds: []string{"TEAM <- /Team /a/team"},
			skips: []string{"keycloak Team: collision: /Team, /a/team have the same claim name, so their members are united", "keycloak a: no_target"},
		},
		{
			name:  "without case several user groups that differ by case are duplicates",
			paths: []string{"/team"}, groups: []string{"team", "Team"}, options: nocase(Options{}),
			skips: []string{"clearml Team: duplicate", "clearml team: duplicate"},
		},
		{
			name:  "with case user groups that differ by case are two",
			paths: []string{"/team", "/Team"}, groups: []string{"team", "Team"},
			feeds: []string{"Team <- /Team", "team <- /team"},
		},
		{
			name:  "without case mappings, globs and built-in names ignore case too",
			paths: []string{"/Team", "/QA", "/USERS"}, groups: []string{"X", "qa", "users"}, options: nocase(Options{Mapping: to("TEAM", "x"), Exclude: []string{"Q*"}}),
			feeds: []string{"X <- /Team"},
			skips: []string{"clearml users: builtin", "clearml qa: no_source", "keycloak USERS: builtin", "keycloak QA: excluded"},
		},
		{
			name:  "without case mappings of two spellings are united",
			paths: []string{"/team"}, groups: []string{"x", "y"}, options: nocase(Options{Mapping: map[string][]string{"TEAM": {"x"}, "team": {"y"}}}),
			feeds: []string{"x <- /team", "y <- /team"},
		},
		{
			name:  "without case full paths ignore case too",
			paths: []string{"/A", "/A/Team"}, groups: []string{"/a/team"}, options: nocase(Options{FullPath: true}),
			feeds: []string{"/a/team <- /A/Team"},
			skips: []string{"keycloak /A: no_target"},
		},

		// Administrators.
		{
			name:  "an admin group needs no namesake, and the administrators come last",
			paths: []string{"/ops", "/zebra"}, groups: []string{"Admins!", "zebra"}, options: Options{AdminGroups: []string{"ops"}, AdminRole: "boss"},
			feeds: []string{"zebra <- /zebra", "Admins <- /ops role:boss (administrators)"},
		},
		{
			name:  "the administrators come last of many, whatever the names",
			paths: []string{"/A", "/B", "/C", "/D", "/E", "/F", "/G", "/H"}, groups: []string{"H", "G", "F", "E", "Admins!", "D", "C", "B", "A"}, options: Options{AdminRole: "boss"},
			feeds: []string{"A <- /A", "B <- /B", "C <- /C", "D <- /D", "E <- /E", "F <- /F", "G <- /G", "H <- /H", "Admins <- role:boss (administrators)"},
		},
		{
			name:  "an admin group may have a namesake too",
			paths: []string{"/ops"}, groups: []string{"Admins!", "ops"}, options: Options{AdminGroups: []string{"ops"}},
			feeds: []string{"ops <- /ops", "Admins <- /ops (administrators)"},
		},
		{
			name:  "a role alone makes administrators",
			paths: []string{"/ops"}, groups: []string{"Admins!", "ops"}, options: Options{AdminRole: "boss"},
			feeds: []string{"ops <- /ops", "Admins <- role:boss (administrators)"},
		},
		{
			name:  "without admin groups and role administrators are not touched",
			paths: []string{"/Admins"}, groups: []string{"Admins!"},
			skips: []string{"clearml Admins: builtin", "keycloak Admins: builtin"},
		},
		{
			name:  "C1: a leaf name that several groups bear collides",
			paths: []string{"/ops", "/x", "/x/ops"}, groups: []string{"Admins!"}, options: Options{AdminGroups: []string{"ops"}},
			feeds: []string{"Admins <- /ops /x/ops collision:ops of /ops, /x/ops (administrators)"},
			skips: []string{"keycloak x: no_target"},
		},
		{
			name:  "C1: a path names the one group",
			paths: []string{"/ops", "/x", "/x/ops"}, groups: []string{"Admins!"}, options: Options{AdminGroups: []string{"/ops"}},
			feeds: []string{"Admins <- /ops (administrators)"},
			skips: []string{"keycloak ops: no_target", "keycloak x: no_target"},
		},
		{
			name:  "an admin group that is named by its path needs no namesake",
			paths: []string{"/x", "/x/ops"}, groups: []string{"Admins!"}, options: Options{AdminGroups: []string{"/x/ops"}},
			feeds: []string{"Admins <- /x/ops (administrators)"},
			skips: []string{"keycloak x: no_target"},
		},
		{
			name:  "C1: a group that a path names too does not collide, the others of its name do",
			paths: []string{"/ops", "/x", "/x/ops", "/y", "/y/ops"}, groups: []string{"Admins!"}, options: Options{AdminGroups: []string{"ops", "/ops"}},
			feeds: []string{"Admins <- /ops /x/ops /y/ops collision:ops of /x/ops, /y/ops (administrators)"},
			skips: []string{"keycloak x: no_target", "keycloak y: no_target"},
		},
		{
			name:  "C1: a collision of which every group is named by a path is none",
			paths: []string{"/ops", "/x", "/x/ops"}, groups: []string{"Admins!"}, options: Options{AdminGroups: []string{"ops", "/ops", "/x/ops"}},
			feeds: []string{"Admins <- /ops /x/ops (administrators)"},
			skips: []string{"keycloak x: no_target"},
		},
		{
			name:  "with full_path an entry is a path",
			paths: []string{"/ops", "/x", "/x/ops"}, groups: []string{"Admins!"}, options: Options{FullPath: true, AdminGroups: []string{"/x/ops"}},
			feeds: []string{"Admins <- /x/ops (administrators)"},
			skips: []string{"keycloak /ops: no_target", "keycloak /x: no_target"},
		},
		{
			name:  "with full_path a leaf name names nothing",
			paths: []string{"/ops"}, groups: []string{"Admins!"}, options: Options{FullPath: true, AdminGroups: []string{"ops"}},
			feeds: []string{`Admins <- missing:ops in admins.groups, near ["/ops"] (administrators)`},
			skips: []string{"keycloak /ops: no_target"},
		},
		{
			name:  "an admin group that Keycloak lacks freezes the administrators",
			paths: []string{"/ops"}, groups: []string{"Admins!"}, options: Options{AdminGroups: []string{"ops", "/sec/opss"}},
			feeds: []string{`Admins <- /ops missing:/sec/opss in admins.groups, near ["ops"] (administrators)`},
		},
		{
			name:  "without case admin groups that differ by case collide",
			paths: []string{"/ops", "/x", "/x/OPS"}, groups: []string{"Admins!"}, options: nocase(Options{AdminGroups: []string{"Ops"}}),
			feeds: []string{"Admins <- /ops /x/OPS collision:Ops of /ops, /x/OPS (administrators)"},
			skips: []string{"keycloak x: no_target"},
		},
		{
			name:  "without case a path that one group bears letter by letter names that group",
			paths: []string{"/ops", "/Ops"}, groups: []string{"Admins!"}, options: nocase(Options{AdminGroups: []string{"/ops"}}),
			feeds: []string{"Admins <- /ops (administrators)"},
			skips: []string{"keycloak Ops: no_target"},
		},
		{
			name:  "without case a path that differs from every group's by case can collide",
			paths: []string{"/ops", "/Ops"}, groups: []string{"Admins!"}, options: nocase(Options{AdminGroups: []string{"/OPS"}}),
			feeds: []string{"Admins <- /Ops /ops collision:/OPS of /Ops, /ops (administrators)"},
		},
		{
			name:  "via role: the role admin is fed, and Admins is left alone",
			paths: []string{"/ops"}, groups: []string{"Admins!", "role admin*"}, options: Options{AdminGroups: []string{"ops"}, AdminRole: "boss", AdminVia: ViaRole},
			feeds: []string{"role admin <- /ops role:boss (administrators)"},
			skips: []string{"clearml Admins: builtin"},
		},
		{
			name:  "via both: the role admin and Admins are fed alike",
			paths: []string{"/ops"}, groups: []string{"Admins!", "role admin*"}, options: Options{AdminGroups: []string{"ops"}, AdminVia: ViaBoth},
			feeds: []string{"Admins <- /ops (administrators)", "role admin <- /ops (administrators)"},
		},
		{
			name:  "via role: a ClearML without the group Admins lacks nothing",
			paths: []string{"/ops"}, groups: []string{"role admin*"}, options: Options{AdminGroups: []string{"ops"}, AdminVia: ViaRole},
			feeds: []string{"role admin <- /ops (administrators)"},
		},
		{
			name:  "via both: a ClearML without the group Admins lacks it, and the role is fed",
			paths: []string{"/ops"}, groups: []string{"role admin*"}, options: Options{AdminGroups: []string{"ops", "opss"}, AdminVia: ViaBoth},
			feeds: []string{`role admin <- /ops missing:opss in admins.groups, near ["ops"] (administrators)`, "missing user group Admins in admins, near []"},
		},
		{
			name:  "a user group that bears the role's name is another one",
			paths: []string{"/role admin"}, groups: []string{"role admin", "role admin*"},
			feeds: []string{"role admin <- /role admin"},
		},
		{
			name:  "an Admins group that people made is not the built-in one",
			paths: []string{"/ops"}, groups: []string{"Admins"}, options: Options{AdminGroups: []string{"ops", "opps"}},
			feeds: []string{`missing user group Admins in admins, near []`, `missing group opps in admins.groups, near ["ops"]`},
			skips: []string{"clearml Admins: builtin"},
		},
		{
			name:  "two groups Admins are both left alone",
			paths: []string{"/ops"}, groups: []string{"Admins!", "Admins!"}, options: Options{AdminGroups: []string{"ops"}},
			feeds: []string{"missing user group Admins in admins, near []"},
			skips: []string{"clearml Admins: duplicate"},
		},
		{
			name:  "a group Admins that is not assignable is left alone",
			paths: []string{"/ops"}, groups: []string{"Admins!?"}, options: Options{AdminRole: "boss"},
			feeds: []string{"missing user group Admins in admins, near []"},
			skips: []string{"clearml Admins: not_assignable", "keycloak ops: no_target"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Groups(catalog(t, tt.paths...), groups(tt.groups...), compile(t, tt.options))
			if err != nil {
				t.Fatal(err)
			}
			feeds, skips := show(p)
			if d := cmp.Diff(tt.feeds, feeds); d != "" {
				t.Errorf("Keycloak %q, ClearML %q, rules %+v\nfeeds: -want +got\n%s", tt.paths, tt.groups, tt.options, d)
			}
			if d := cmp.Diff(tt.skips, skips); d != "" {
				t.Errorf("Keycloak %q, ClearML %q, rules %+v\nskips: -want +got\n%s", tt.paths, tt.groups, tt.options, d)
			}
			shuffled := slices.Clone(groups(tt.groups...))
			slices.Reverse(shuffled)
			again, err := Groups(catalog(t, tt.paths...), shuffled, compile(t, tt.options))
			if d := cmp.Diff(p, again, cmp.AllowUnexported()); d != "" && err == nil {
				t.Errorf("another order of ClearML's groups pairs otherwise\n%s", d)
			}
		})
	}
}

// TestTheClaimIsKeycloaksOwnPath is C6. A top-level group a/b and a child b of a have two
// claim names if the server escapes slashes in paths, and one claim name if not.
func TestTheClaimIsKeycloaksOwnPath(t *testing.T) {
	child := []source.Group{{ID: "1", Name: "a", Path: "/a"}, {ID: "2", Name: "b", Parent: "1", Path: "/a/b"}}
	rules := compile(t, Options{FullPath: true})
	for _, tt := range []struct {
		name  string
		top   string // the path of the top-level group a/b
		feeds []string
		skips []string
	}{
		{"escaped: two claim names", "/a~/b", []string{"/a/b <- /a/b", "/a~/b <- /a~/b"}, []string{"keycloak /a: no_target"}},
		{"not escaped: one claim name", "/a/b", []string{"/a/b <- /a/b /a/b"},
			[]string{"clearml /a~/b: no_source", "keycloak /a/b: collision: /a/b, /a/b have the same claim name, so their members are united", "keycloak /a: no_target", "keycloak /a/b: two groups have this path, because a name contains a slash"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := counted(t, append(slices.Clone(child), source.Group{ID: "3", Name: "a/b", Path: tt.top})...)
			p, err := Groups(c, groups("/a/b", "/a~/b"), rules)
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
	g := source.Group{Name: "b", Path: "/a~/b"}
	if got := rules.Claim(g); got != "/a~/b" {
		t.Errorf("with full_path the claim is %q", got)
	}
	if got := compile(t, Options{}).Claim(g); got != "b" {
		t.Errorf("without full_path the claim is %q", got)
	}
}

func TestMappingOntoABuiltinIsAnError(t *testing.T) {
	for _, tt := range []struct {
		name          string
		groups        string
		to            string
		caseSensitive bool
	}{
		{"a group that ClearML calls built in", "Special!", "Special", true},
		{"a group of a built-in one's name", "Users", "Users", true},
		{"a built-in name that ClearML does not list", "x", "Admins", true},
		{"without case, a built-in name in another case", "x", "admins", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Groups(catalog(t, "/team"), groups(tt.groups), compile(t, Options{Mapping: map[string][]string{"team": {tt.to}}, CaseInsensitive: !tt.caseSensitive}))
			want := `groups.mapping: "team" is mapped to ClearML's built-in group "` + tt.to + `", and a mapping cannot write a built-in group. Map it to another user group`
			if b, is := err.(*BuiltinError); !is || err.Error() != want || b.Claim != "team" || b.Group != tt.to {
				t.Fatalf("got  %v\nwant %s", err, want)
			}
		})
	}
}

func TestAGlobThatIsNoneIsQuoted(t *testing.T) {
	for _, tt := range []struct {
		options Options
		want    string
	}{
		{Options{Include: []string{"*", "[a"}}, `groups.include: "[a" is not a glob: `},
		{Options{Exclude: []string{"[a"}}, `groups.exclude: "[a" is not a glob: `},
		{Options{Protect: []string{"[a"}}, `users.protect: "[a" is not a glob: `},
		{Options{Exceptions: []Exception{{Match: "[a"}}}, `users.protect: "[a" is not a glob: `},
	} {
		if _, err := Compile(tt.options); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%+v: got %v, want %s…", tt.options, err, tt.want)
		}
	}
}

func TestSelectionNamesEverythingOnce(t *testing.T) {
	feed := func(role string, ids ...string) Feed {
		f := Feed{Role: role}
		for _, id := range ids {
			f.Sources = append(f.Sources, source.Group{ID: id})
		}
		return f
	}
	got := Selection(Pairing{Feeds: []Feed{feed("", "2", "1"), feed("boss", "1")}}, Pairing{Feeds: []Feed{feed("", "3"), feed("boss"), feed("a/b")}})
	if d := cmp.Diff(source.Selection{Groups: []string{"1", "2", "3"}, Roles: []string{"a/b", "boss"}}, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestColliding(t *testing.T) {
	f := Feed{Collisions: []Collision{{Name: "ops", Groups: []source.Group{{ID: "1"}, {ID: "2"}}}}}
	if !f.Colliding("1") || !f.Colliding("2") || f.Colliding("3") || (Feed{}).Colliding("1") {
		t.Error("Colliding is true exactly for the groups of a collision")
	}
}

func TestBoolCompare(t *testing.T) {
	if boolCompare(false, true) >= 0 || boolCompare(true, false) <= 0 || boolCompare(true, true) != 0 || boolCompare(false, false) != 0 {
		t.Error("false comes before true")
	}
}
