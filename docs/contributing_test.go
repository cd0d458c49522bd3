package docs

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// testsOnly are packages that only tests use, the demo aside.
var testsOnly = []string{"kube/kubetest", "plan/plantest", "processtest", "release", "source/keycloaktest", "target/clearmltest"}

// packages returns the packages of the program, each with the packages of this module that it
// imports. Names are paths below internal. Files of tests do not count.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	const own, internal = "groupsync/", "groupsync/internal/"
	found := map[string][]string{}
	for _, root := range []string{"../cmd", "../internal"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			name := strings.TrimPrefix(strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../"), "internal/")
			found[name] = append(found[name], nil...)
			for _, i := range file.Imports {
				if p, _ := strconv.Unquote(i.Path.Value); strings.HasPrefix(p, own) {
					found[name] = append(found[name], strings.TrimPrefix(strings.TrimPrefix(p, internal), own))
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// rowOf returns the row of a package in the picture. A package below another one has the row
// of that one, unless the picture names it.
func rowOf(rows map[string]int, name string) (row int, is bool) {
	for {
		if row, is = rows[name]; is {
			return row, true
		}
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			return 0, false
		}
		name = name[:i]
	}
}

// TestTheHouse: a package imports only packages of the rows below its own, and the picture has
// every package.
func TestTheHouse(t *testing.T) {
	_, picture, _ := strings.Cut(read(t, "../CONTRIBUTING.md"), "```\n")
	picture, _, _ = strings.Cut(picture, "```")
	all, rows := packages(t), map[string]int{}
	for row, line := range strings.Split(strings.TrimSpace(picture), "\n") {
		names, _, _ := strings.Cut(line, "   ")
		for _, name := range strings.Fields(names) {
			if _, is := all[name]; !is {
				t.Errorf("the picture has %s, and there is no such package", name)
			}
			rows[name] = row
		}
	}
	for name, imports := range all {
		row, is := rowOf(rows, name)
		if slices.ContainsFunc(testsOnly, func(p string) bool { return name == p || strings.HasPrefix(name, p+"/") }) {
			continue
		}
		if !is {
			t.Errorf("the picture lacks %s", name)
			continue
		}
		for _, i := range imports {
			below, is := rowOf(rows, i)
			part := strings.Split(i, "/")[0] == strings.Split(name, "/")[0] && below == row
			if is && below <= row && !part {
				t.Errorf("%s imports %s, which stands beside it or above", name, i)
			}
		}
	}
}

// TestOnlyTheDemoHasTheStandIn: the stand-in, with its faults and its known keys, is no part of
// what the daemon runs. The same holds for the other packages that tests use.
func TestOnlyTheDemoHasTheStandIn(t *testing.T) {
	all := packages(t)
	var reaches func(name string, seen map[string]bool)
	reaches = func(name string, seen map[string]bool) {
		if !seen[name] {
			seen[name] = true
			for _, i := range all[name] {
				reaches(i, seen)
			}
		}
	}
	for _, root := range []string{"daemon", "wire", "review"} {
		seen := map[string]bool{}
		reaches(root, seen)
		for _, p := range testsOnly {
			if seen[p] {
				t.Errorf("%s reaches %s", root, p)
			}
		}
	}
	for name, imports := range all {
		if slices.Contains(imports, "target/clearmltest") && name != "demo" {
			t.Errorf("%s imports the stand-in", name)
		}
	}
}

// TestWhereToLookIsTrue looks for each function of the table "Where to look in the code" in its
// file.
func TestWhereToLookIsTrue(t *testing.T) {
	_, table, _ := strings.Cut(read(t, "../CONTRIBUTING.md"), "\nWhere to look in the code:\n")
	table, _, _ = strings.Cut(table, "\n## ")
	places := regexp.MustCompile("`([\\w.]+)` (?:of `\\w+` )?in ((?:internal|cmd)/[\\w/]+\\.go)").FindAllStringSubmatch(table, -1)
	if len(places) < 10 {
		t.Fatalf("the table names %d functions with their files: %v", len(places), places)
	}
	for _, p := range places {
		name, file := p[1][strings.LastIndexByte(p[1], '.')+1:], p[2]
		if !regexp.MustCompile(`(?m)^func (\(.*\) )?` + name + `\(|^\t` + name + `\b`).MatchString(read(t, filepath.Join("..", file))) {
			t.Errorf("%s has no %s", file, p[1])
		}
	}
	for _, file := range regexp.MustCompile(`(?:internal|cmd)/[\w/]+\.go`).FindAllString(table, -1) {
		read(t, filepath.Join("..", file))
	}
}

// insertion is one step of a how-to: text that is put behind a place of a file.
type insertion struct{ file, behind, text string }

// put returns the content of the step's file with the step's text in its place. The test fails if
// the content lacks the place.
func (s insertion) put(t *testing.T, content string) string {
	t.Helper()
	before, after, is := strings.Cut(content, s.behind)
	if !is {
		t.Fatalf("%s has no place %q", s.file, s.behind)
	}
	return before + s.behind + s.text + after
}

// howTos are examples of the how-tos of CONTRIBUTING.md. checks are the packages whose tests
// must pass at the end.
var howTos = []struct {
	heading string
	steps   []insertion
	checks  []string
}{
	{"Add a key", []insertion{
		{"internal/config/config.go", "PublicStatus    bool   `key:\"public_status\"` // anybody who can reach Listen may see people's names\n", "\tBanner string `key:\"banner\"`\n"},
		{"internal/config/table.go", "n loopback, or with the authentication of config_file\", \"\"},\n", "\t{\"web.banner\", `\"\"`, anything, \"a line above the status page\", \"\"},\n"},
	}, []string{"./internal/config", "./internal/wire", "./charts/groupsync"}},
	{"Add a metric", []insertion{
		{"internal/metrics/catalogue.go", "var (\n", "\tweekend = define(\"weekend\", \"gauge\", \"1 on a Sunday.\")\n"},
		{"internal/metrics/state.go", "pendingOldest, forgotten, ", "weekend, "},
		{"internal/metrics/state.go", "\tch <- pendingOldest.gauge(r.PendingOldest)\n", "\tch <- weekend.gauge(0)\n"},
		{"charts/groupsync/dashboard_test.go", "{`max by (sync) (groupsync_memory_forgotten_memberships{sync=~\"$sync\"})`, \"{{sync}}\"}", ", {`max by (sync) (groupsync_weekend{sync=~\"$sync\"})`, \"{{sync}} weekend\"}"},
	}, []string{"./internal/metrics", "./charts/groupsync"}},
	{"Add a guard", []insertion{
		{"internal/report/guards.go", "const (\n", "\tWeekend Guard = \"weekend\"\n"},
		{"internal/report/guards.go", "differs from the groups that ClearML shows for each user\", Event: true},\n", "\t{Guard: Weekend, Withholds: \"every change on a Sunday\", Drift: true, Event: true},\n"},
		{"internal/guard/fixed.go", "\t\"groupsync/internal/source\"\n)\n", "\n// weekend withholds every change on a Sunday.\nfunc (e *evaluation) weekend() {\n\tif e.in.Now.Weekday() == time.Sunday {\n\t\tn := withhold(e.changes(), report.Weekend, func(*plan.Change) bool { return true })\n\t\te.trip(report.Weekend, \"\", \"it is Sunday: %d changes are withheld\", n)\n\t}\n}\n"},
		{"internal/guard/guard.go", "\te.ambiguity()\n", "\te.weekend()\n"},
		{"internal/guard/guard_test.go", "\t\t// suspended\n", "\t\t{name: \"nothing is written on a Sunday\", world: \"both ann\\n/team: ann\\nteam =\", change: func(b *bench) { b.at = b.at.AddDate(0, 0, 5) },\n\t\t\twant: []string{\"+ann@team from /team by id [weekend]\"}, trips: []string{\"weekend: it is Sunday: 1 changes are withheld\"}},\n"},
		{"docs/semantics.md", "differently from its two sides is not written, others are\" |\n", "| `weekend` | it is Sunday | `guard.TestGuards` \"nothing is written on a Sunday\" |\n"},
		{"internal/web/view.go", "var runbook = map[report.Guard]string{\n", "\treport.Weekend: \"docs/runbook.md, GroupsyncGuardStuck\",\n"},
		{"internal/web/openapi.yaml", "collision, views, ", "weekend, "},
	}, []string{"./internal/report", "./internal/guard", "./internal/web", "./docs"}},
}

// TestTheHowTosHaveTheirPlaces finds the place of each step in the repository. It is the part of
// TestTheHowTosAreTrue that takes no time.
func TestTheHowTosHaveTheirPlaces(t *testing.T) {
	for _, h := range howTos {
		t.Run(h.heading, func(t *testing.T) {
			for _, s := range h.steps {
				s.put(t, read(t, filepath.Join("..", s.file)))
			}
		})
	}
}

// TestTheHowTosAreTrue follows each how-to of CONTRIBUTING.md in a copy of the repository: its
// steps, and the commands that the page shows. Then the tests must pass.
func TestTheHowTosAreTrue(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds copies of the repository")
	}
	page := read(t, "../CONTRIBUTING.md")
	for _, h := range howTos {
		t.Run(h.heading, func(t *testing.T) {
			_, section, is := strings.Cut(page, "\n## "+h.heading+"\n")
			section, _, _ = strings.Cut(section, "\n## ")
			var commands [][]string
			for line := range strings.Lines(section) {
				if words := strings.Fields(line); len(words) > 2 && words[0] == "go" {
					commands = append(commands, words)
				}
			}
			if n := strings.Count(strings.TrimSpace(section), "\n"); !is || len(commands) == 0 || n > 13 {
				t.Fatalf("the page has %d lines and %d commands about it", n, len(commands))
			}
			dir := clone(t)
			for _, s := range h.steps {
				if !strings.Contains(section, filepath.Base(s.file)) && !strings.Contains(section, filepath.Dir(s.file)) {
					t.Errorf("the page does not name %s", s.file)
				}
				path := filepath.Join(dir, s.file)
				if err := os.WriteFile(path, []byte(s.put(t, read(t, path))), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, c := range append(commands, append([]string{"go", "test", "-short"}, h.checks...)) {
				cmd := exec.CommandContext(t.Context(), c[0], c[1:]...) // #nosec G204 -- the page is part of the repository
				cmd.Dir = dir
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%s: %v\n%s", strings.Join(c, " "), err, out)
				}
			}
		})
	}
}

// clone returns a copy of the files of the repository that git knows or would add.
func clone(t *testing.T) string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
	list.Dir = ".."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.Join("..", name))
		if os.IsNotExist(err) {
			continue // deleted, and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
