package docs

import (
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"groupsync/internal/report"
)

// proof matches a test that a page names: the package below internal (or its path if it is a
// command), the function, and the name of a row if there is one.
var proof = regexp.MustCompile("`([\\w/]+)\\.(Test\\w+)`(?: \"([^\"|]+)\")?")

// TestTheNamedTestsExist: each test and each row that a page names exists in that package.
// Each rule or claim of a table names a test.
func TestTheNamedTestsExist(t *testing.T) {
	tests := map[string]map[string]*ast.FuncDecl{}
	for page, least := range map[string]int{"semantics.md": 60, "../SECURITY.md": 30} {
		text := read(t, page)
		named := proof.FindAllStringSubmatch(text, -1)
		if len(named) < least {
			t.Errorf("%s names only %d tests", page, len(named))
		}
		for _, m := range named {
			pkg, name, row := m[1], m[2], m[3]
			dir := filepath.Join("../internal", pkg)
			if strings.HasPrefix(pkg, "cmd/") {
				dir = filepath.Join("..", pkg)
			}
			if tests[pkg] == nil {
				tests[pkg] = testsOf(t, dir)
			}
			switch f := tests[pkg][name]; {
			case f == nil:
				t.Errorf("%s names %s.%s, which is not in %s", page, pkg, name, dir)
			case row != "" && !holds(f, row):
				t.Errorf("%s names the row %q, which %s.%s does not have", page, row, pkg, name)
			}
		}
		for _, line := range strings.Split(text, "\n") {
			rule := strings.HasPrefix(line, "| ") && !strings.HasSuffix(line, "| test |")
			if rule && !proof.MatchString(line) {
				t.Errorf("%s names no test of the rule %s", page, line)
			}
		}
	}
}

// testsOf returns the tests of a directory that go test runs on this machine, by name.
func testsOf(t *testing.T, dir string) map[string]*ast.FuncDecl {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	tests := make(map[string]*ast.FuncDecl)
	for _, name := range files {
		if built, err := build.Default.MatchFile(dir, filepath.Base(name)); err != nil || !built {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, is := d.(*ast.FuncDecl); is && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				tests[f.Name.Name] = f
			}
		}
	}
	return tests
}

// holds reports whether the code of the test has the text as a whole string. A text in a
// comment, or inside another string, is not a row.
func holds(test *ast.FuncDecl, row string) (found bool) {
	ast.Inspect(test, func(n ast.Node) bool {
		if text, is := n.(*ast.BasicLit); is && text.Kind == token.STRING {
			value, err := strconv.Unquote(text.Value)
			found = found || err == nil && value == row
		}
		return !found
	})
	return found
}

// TestOnlyRunningCodeProvesARule: a text that looks like a test or a row but does not run is
// refused.
func TestOnlyRunningCodeProvesARule(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a_test.go": "package a\n\nfunc TestA(t *testing.T) {\n\t// \"in a comment\"\n\tuse(`\"in a string\"`, \"a row\", `raw`)\n}\n\nfunc (s suite) TestMethod(t *testing.T) {}\n\n/*\nfunc TestInAComment(t *testing.T) {\n}\n*/\n",
		"b_test.go": "//go:build never\n\npackage a\n\nfunc TestB(t *testing.T) {}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := testsOf(t, dir)
	if len(tests) != 1 || tests["TestA"] == nil {
		t.Fatalf("got the tests %v, want TestA alone", tests)
	}
	for row, want := range map[string]bool{"a row": true, "raw": true, "in a comment": false, "in a string": false, "row": false} {
		if got := holds(tests["TestA"], row); got != want {
			t.Errorf("row %q: got %t, want %t", row, got, want)
		}
	}
}

// TestEveryGuardHasARule: semantics.md has an example of each guard.
func TestEveryGuardHasARule(t *testing.T) {
	text := read(t, "semantics.md")
	for _, r := range report.Rules {
		if !strings.Contains(text, "| `"+string(r.Guard)+"`") {
			t.Errorf("semantics.md has no example of the guard %s", r.Guard)
		}
	}
}
