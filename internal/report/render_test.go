package report

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the files of testdata anew")

// renderers are all ways to show a report, by the name of the file in testdata.
var renderers = map[string]func(io.Writer, Report) error{
	"txt":       func(w io.Writer, r Report) error { return Text(w, r, Style{}) },
	"full.txt":  func(w io.Writer, r Report) error { return Text(w, r, Style{Full: true}) },
	"color.txt": func(w io.Writer, r Report) error { return Text(w, r, Style{Color: true}) },
	"diff":      Diff,
	"md":        func(w io.Writer, r Report) error { return Markdown(w, r, false) },
	"full.md":   func(w io.Writer, r Report) error { return Markdown(w, r, true) },
}

// everything returns a report with content for every part of a renderer: lists that are cut,
// administrators, which are not cut, wide characters, and one guard that trips in more groups
// than are explained.
func everything() Report {
	r := sample()
	crew := Group{Name: "crew", ID: "c", From: []string{"/crew"}, Withheld: []Guard{Grace}}
	for i := range 8 {
		who := fmt.Sprintf("crew%d", i)
		crew.Add = append(crew.Add, Change{ID: who, Name: who, Email: who + "@x", Why: "member of /crew", Match: "id", Outcome: Failed})
		crew.Pending = append(crew.Pending, Pending{Username: "new-" + who, Email: "new-" + who + "@x"})
	}
	crew.Remove = []Change{{ID: "w1", Name: "山田太郎", Email: "yamada@x", Why: "gone", Match: "id", Outcome: Withheld, Guard: Grace}}
	boss := Group{Name: "Admins", ID: "A", From: []string{"/admins", "role admin"}}
	for i := range 7 {
		who := fmt.Sprintf("boss%d", i)
		boss.Kept = append(boss.Kept, Kept{ID: who, Name: who, Why: "local"})
	}
	boss.Add = []Change{{ID: "9", Name: "Zoe\u0301", Email: "zoe@x", Why: "member of /admins", Match: "email", Outcome: Planned}}
	r.Groups = append(r.Groups, crew, boss)
	r.Guards = append(r.Guards, Trip{Guard: Grace, Detail: "1 removal waits", Override: "--approve 0123456789abcdef"}, Trip{Guard: MissingSource, Group: "team", Detail: `the Keycloak group "taem" does not exist`})
	for i := range 25 {
		r.Guards = append(r.Guards, Trip{Guard: Views, Group: fmt.Sprintf("view%02d", i), Detail: "the two sides differ"})
	}
	for i := range 12 {
		r.Errors = append(r.Errors, Failure{"clearml", "rejected", fmt.Sprintf("write %d was refused", i)})
		r.Skipped = append(r.Skipped, Skip{fmt.Sprintf("s%02d", i), "keycloak", "no_target"}, Skip{fmt.Sprintf("m%02d", i), "keycloak", fmt.Sprintf("near miss %d", i)})
	}
	return r
}

func render(t *testing.T, how string, r Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := renderers[how](&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestRenderers compares every renderer with the files in testdata.
func TestRenderers(t *testing.T) {
	ended := Report{Mode: "observe", Result: Error, Errors: []Failure{{"keycloak", "auth", "signing in to Keycloak: the secret is wrong"}}}
	for what, r := range map[string]Report{"everything": everything(), "hostile": hostile(), "ended": ended} {
		for how := range renderers {
			got := render(t, how, r)
			file := filepath.Join("testdata", what+"."+how)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("%s: -want +got; go test -update writes it anew\n%s", file, d)
			}
		}
	}
}

func TestRenderersNeedNothingButTheJSON(t *testing.T) {
	for what, r := range map[string]Report{"everything": everything(), "hostile names": hostile(), "nothing": {}, "a crowd": crowd()} {
		read := throughJSON(t, r)
		for how := range renderers {
			if d := cmp.Diff(render(t, how, r), render(t, how, read)); d != "" {
				t.Errorf("%s as %s differs after the JSON\n%s", what, how, d)
			}
		}
	}
}

// TestNothingReachesTheTerminal checks that only the colours control the terminal, and that
// only the renderer for terminals writes colours.
func TestNothingReachesTheTerminal(t *testing.T) {
	colors := regexp.MustCompile(`\x1b\[(1|31|32|33)m([^\x1b]*)\x1b\[0m`)
	for what, r := range map[string]Report{"hostile": hostile(), "hostile and in doubt": doubtful(), "everything": everything()} {
		for how := range renderers {
			text := render(t, how, r)
			if how == "color.txt" {
				if !colors.MatchString(text) {
					t.Errorf("%s has no colour", what)
				}
				text = colors.ReplaceAllString(text, "$2")
				if d := cmp.Diff(render(t, "txt", r), text); d != "" {
					t.Errorf("%s: the colours change more than the colour\n%s", what, d)
				}
			}
			if !isPlain(strings.ReplaceAll(text, "\n", "")) {
				t.Errorf("%s as %s holds a character that a terminal could take for its own: %q", what, how, text)
			}
		}
	}
}

// doubtful returns hostile with names made for Markdown, for HTML and for a diff.
func doubtful() Report {
	r := hostile()
	r.Groups[0].Name = "a|b` <script>alert(1)</script>"
	for _, bad := range markdownNames {
		r.Groups[0].Add = append(r.Groups[0].Add, Change{Name: bad, Email: bad, Why: "member of " + bad, Outcome: Planned})
		r.Groups[0].Kept = append(r.Groups[0].Kept, Kept{Name: bad, Why: bad, Reason: bad})
		r.Guards = append(r.Guards, Trip{Guard: Collision, Group: bad, Detail: bad})
		r.Skipped = append(r.Skipped, Skip{bad, "clearml", bad})
	}
	return r
}

var markdownNames = []string{
	"a|b", `a\|b`, "a`b", "``", "`", "[text](https://evil.example)", "![image](https://evil.example/x.png)",
	"<img src=x onerror=alert(1)>", "</code></td>", "https://evil.example", "www.evil.example", "@octocat", "#1", "**bold**", "_it_", "~~no~~",
	"| --- |", "- item", "# head", "> quote", "```", "&lt;b&gt;", "$x$", "a\\", ":tada:",
}

func TestMarkdownHoldsNames(t *testing.T) {
	for _, how := range []string{"md", "full.md"} {
		holdsNames(t, render(t, how, doubtful()))
	}
}

// holdsNames checks that every text that is not the renderer's own is in a code span, and that
// no name ends its span, its cell or its line.
func holdsNames(t *testing.T, markdown string) {
	t.Helper()
	own := regexp.MustCompile(`^[A-Za-z0-9 |*:,…-]*$`)
	cells := 0
	for _, line := range strings.Split(markdown, "\n") {
		parts := strings.Split(line, "`")
		if len(parts)%2 == 0 {
			t.Errorf("an odd number of backticks: %s", line)
		}
		outside, inside := "", ""
		for i, part := range parts {
			if i%2 == 0 {
				outside += part
			} else {
				inside += part
			}
		}
		if !own.MatchString(outside) {
			t.Errorf("outside of code spans stands %q in: %s", outside, line)
		}
		if strings.Contains(inside, "|") {
			t.Errorf("a pipe stands in a cell: %s", line)
		}
		switch n := strings.Count(line, "|"); {
		case !strings.HasPrefix(line, "|"):
			cells = 0
		case cells == 0:
			cells = n
		case n != cells:
			t.Errorf("%d pipes in a row of a table with %d: %s", n, cells, line)
		}
	}
}

func TestNamesInMarkdown(t *testing.T) {
	for in, want := range map[string]string{
		"Ann Lee":            "`Ann Lee`",
		"":                   "`\"\"`",
		"a|b":                "`\"a\\x7cb\"`",
		`a\|b`:               "`\"a\\\\\\x7cb\"`",
		"a`b":                "`\"a\\x60b\"`",
		"<script>":           "`\"<script>\"`",
		"[a](https://x.org)": "`[a](https://x.org)`",
	} {
		if got := codeName(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

// TestDiffLines checks that the diff has one line for each membership and is sorted, whatever
// the order of the report.
func TestDiffLines(t *testing.T) {
	r := crowd()
	r.Guards = nil
	lines := strings.Split(strings.TrimSuffix(render(t, "diff", r), "\n"), "\n")
	changes := 0
	for _, g := range r.Groups {
		changes += len(g.Add) + len(g.Remove)
	}
	if len(lines) != changes {
		t.Errorf("%d lines for %d changes", len(lines), changes)
	}
	if !slices.IsSortedFunc(lines, func(a, b string) int { return strings.Compare(a[2:], b[2:]) }) {
		t.Error("the lines are not sorted by group and person")
	}
	mixed := r
	mixed.Groups = slices.Clone(r.Groups)
	slices.Reverse(mixed.Groups)
	for i, g := range mixed.Groups {
		mixed.Groups[i].Add, mixed.Groups[i].Remove = slices.Clone(g.Add), slices.Clone(g.Remove)
		slices.Reverse(mixed.Groups[i].Add)
		slices.Reverse(mixed.Groups[i].Remove)
	}
	if render(t, "diff", r) != render(t, "diff", mixed) {
		t.Error("the order of the report changes the diff")
	}
}

// crowd returns the report of a first dry run over 200 groups and 5,000 people. Half of the
// people join two groups, and the others leave two. A guard withholds all removals, with a
// trip for the whole plan and one for each group.
func crowd() Report {
	const groups, people = 200, 5000
	r := Report{Mode: "observe", Result: Guarded, Digest: "0123456789abcdef", Source: Counts{groups, people, people}, Target: Counts{groups, people, people}, Users: map[string]int{"pending": 400}}
	for g := range groups {
		name := fmt.Sprintf("team-%03d", g)
		r.Groups = append(r.Groups, Group{Name: name, ID: name, From: []string{"/research/" + name}, Withheld: []Guard{Removals}})
		r.Guards = append(r.Guards, Trip{Guard: Removals, Group: name, Detail: "25 of its 50 members would be removed", Override: "--approve 0123456789abcdef"})
		r.Skipped = append(r.Skipped, Skip{name, "keycloak", "no_target"}, Skip{name, "keycloak", "near miss: ClearML has " + name})
	}
	for i := range people {
		who := Change{ID: fmt.Sprint(i), Name: fmt.Sprintf("Person %04d", i), Email: fmt.Sprintf("person%04d@example.com", i), Why: "not_member", Match: "email", Evidence: "read twice"}
		for _, g := range []int{i % groups, (i + 7) % groups} {
			c := who
			if i/groups%2 == 0 {
				c.Outcome, c.Guard = Withheld, Removals
				r.Groups[g].Remove = append(r.Groups[g].Remove, c)
			} else {
				c.Outcome, c.Why = Planned, "member of "+r.Groups[g].From[0]
				r.Groups[g].Add = append(r.Groups[g].Add, c)
			}
		}
		if i < 400 {
			r.Groups[i%groups].Pending = append(r.Groups[i%groups].Pending, Pending{Username: fmt.Sprintf("new%03d", i)})
		}
	}
	r.Guards = append(r.Guards, Trip{Guard: Removals, Detail: theGuard, Override: "--approve 0123456789abcdef"})
	boss := Group{Name: "Admins", ID: "Admins", From: []string{"/admins"}}
	for i := range 12 {
		boss.Add = append(boss.Add, Change{ID: fmt.Sprint(i), Name: fmt.Sprintf("Admin %02d", i), Why: "member of /admins", Match: "id", Outcome: Planned})
	}
	r.Groups = append(r.Groups, boss)
	return r
}

const theGuard = "5200 of all 6000 managed memberships would be removed (87 %): all removals are withheld; if they are correct, approve them"

// Two screens of a terminal with 50 lines.
const twoScreens = 100

// TestADryRunOfACrowdIsReadable checks that a dry run of 200 groups and 5,000 people fits on
// two screens. They must show the guard, its command and every administrator.
func TestADryRunOfACrowdIsReadable(t *testing.T) {
	text := render(t, "txt", crowd())
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) > twoScreens {
		t.Errorf("%d lines, want at most %d\n%s", len(lines), twoScreens, text)
	}
	const guard, command = "guard removals: 5200 changes withheld in 200 groups; an approval lifts it", "groupsync --once --apply --approve 0123456789abcdef"
	top, end := strings.Join(lines[:6], "\n"), strings.Join(lines[len(lines)-3:], "\n")
	for _, want := range []string{guard, theGuard} {
		if !strings.Contains(top, want) {
			t.Errorf("the first lines lack %q:\n%s", want, top)
		}
	}
	for _, want := range []string{guard, command, "guarded (dry run): 4812 to add, 5200 to remove in 201 of 201 groups; 5200 withheld; 400 people wait"} {
		if !strings.Contains(end, want) {
			t.Errorf("the last lines lack %q:\n%s", want, end)
		}
	}
	for i := range 12 {
		if who := fmt.Sprintf("+ Admin %02d", i); !strings.Contains(text, who) {
			t.Errorf("%s is not shown", who)
		}
	}
	for g := range 200 { // the name of each group of the guard, but not each sentence
		if name := fmt.Sprintf("team-%03d", g); !strings.Contains(text, name) {
			t.Errorf("the guard of %s is not shown", name)
		}
	}
	if full := strings.Count(render(t, "full.txt", crowd()), "\n"); full < 10_000 {
		t.Errorf("in full it has %d lines", full)
	}
}

// TestFullCutsNothing checks that the report in full has every name.
func TestFullCutsNothing(t *testing.T) {
	text := render(t, "full.txt", everything())
	if strings.Contains(text, "… ") || strings.Contains(text, " more") {
		t.Errorf("something is cut:\n%s", text)
	}
	for _, want := range []string{"crew7", "new-crew7", "s11", "near miss 11", "write 11 was refused", "view24: the two sides differ"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not shown", want)
		}
	}
}

func TestColumnsOfATerminal(t *testing.T) {
	for _, tt := range []struct {
		what, in string
		want     int
	}{
		{"Latin letters", "Ann", 3},
		{"a letter with a combining mark", "e\u0301", 1},
		{"Japanese", "山田", 4},
		{"the wide space", "a\u3000b", 4},
		{"half-width Katakana", "ｱｲ", 2},
		{"an emoji", "🚀", 2},
		{"Arabic", "أحمد", 4},
		{"nothing", "", 0},
	} {
		if got := columns(tt.in); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.what, got, tt.want)
		}
	}
}

func TestALongNameMovesOnlyItsOwnLine(t *testing.T) {
	long := strings.Repeat("x", cellWidth+1)
	got := aligned([][]string{{"a", "one"}, {long, "two"}, {"ccc", "three"}})
	if d := cmp.Diff([]string{"a    one", long + "  two", "ccc  three"}, got); d != "" {
		t.Error(d)
	}
}

// TestAdministratorsAreNeverCut compares both groups of administrators with a group of other
// people of the same length.
func TestAdministratorsAreNeverCut(t *testing.T) {
	for _, row := range []struct {
		group Group
		cut   bool
	}{
		{Group{Name: "Admins", ID: "c14a3cc6"}, false},
		{Group{Name: "role admin", ID: "role:admin"}, false},
		{Group{Name: "role admin", ID: "c14a3cc7"}, true},
	} {
		for i := range 3 * listShown {
			row.group.Add = append(row.group.Add, Change{ID: fmt.Sprint(i), Name: fmt.Sprintf("Person %02d", i), Outcome: Planned})
		}
		text := render(t, "txt", Report{Mode: "observe", Result: Drift, Groups: []Group{row.group}})
		if cut := strings.Count(text, "Person") < 3*listShown; cut != row.cut {
			t.Errorf("the group %s (%s) is cut: %v, want %v\n%s", row.group.Name, row.group.ID, cut, row.cut, text)
		}
	}
}
