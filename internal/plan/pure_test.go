package plan_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestPureImports lists the packages that the pure packages may import: nothing for I/O,
// logging or a clock. match and guard may import time, because they get the time from the
// caller. So the test searches them for the clock functions by name.
func TestPureImports(t *testing.T) {
	const own = "groupsync/internal/"
	pure := map[string][]string{
		"source": {"cmp", "fmt", "maps", "regexp", "slices", "strings", own + "fault"},
		"near":   {"strings", "github.com/agnivade/levenshtein"},
		"match":  {"cmp", "encoding/json", "fmt", "maps", "regexp", "slices", "strings", "time", "github.com/gobwas/glob", own + "near", own + "source", own + "target"},
		"plan":   {"cmp", "fmt", "slices", "strings", own + "match", own + "report", own + "source", own + "target"},
		"guard": {"crypto/sha256", "encoding/hex", "fmt", "maps", "slices", "strings", "time",
			own + "match", own + "memory", own + "plan", own + "report", own + "source", own + "target"},
	}
	clocks := []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTimer", "NewTicker"}
	for pkg, allowed := range pure {
		files, err := filepath.Glob(filepath.Join("..", pkg, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		used := make(map[string]bool)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range f.Imports {
				path := strings.Trim(i.Path.Value, `"`)
				used[path] = true
				if !slices.Contains(allowed, path) || i.Name != nil {
					t.Errorf("%s imports %s", file, path)
				}
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clocks, s.Sel.Name) {
						t.Errorf("%s uses time.%s", file, s.Sel.Name)
					}
				}
				return true
			})
		}
		for _, path := range allowed {
			if !used[path] {
				t.Errorf("%s no longer imports %s: take it off the list", pkg, path)
			}
		}
		if len(files) == 0 {
			t.Errorf("%s has no files", pkg)
		}
	}
}
