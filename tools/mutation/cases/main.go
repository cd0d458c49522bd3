// Command cases mutates the conditions of case clauses. The mutation tool gremlins leaves them out:
// Go's coverage does not count them, so gremlins believes that no test runs them. Each mutant has
// one changed condition. Go's flag -overlay replaces the original file by the changed one. The
// tests of the package must fail for each mutant.
//
//	cases [-only EXPRESSION] DIRECTORY...
//
// It prints each mutant for which the tests pass, and exits with 1 if there is such a mutant.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// mutant is one change of a file: the bytes from begin to end become text.
type mutant struct {
	kind       string
	at         token.Position
	begin, end int
	text       string
}

var (
	negated  = map[token.Token]string{token.EQL: "!=", token.NEQ: "==", token.LSS: ">=", token.GEQ: "<", token.GTR: "<=", token.LEQ: ">"}
	boundary = map[token.Token]string{token.LSS: "<=", token.LEQ: "<", token.GTR: ">=", token.GEQ: ">"}
	logical  = map[token.Token]string{token.LAND: "||", token.LOR: "&&"}
)

func main() {
	only := flag.String("only", "", "an expression over file names")
	flag.Parse()
	lived, killed := 0, 0
	for _, dir := range flag.Args() {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			fail(fmt.Errorf("no Go files in %s (%v)", dir, err))
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") || !regexp.MustCompile(*only).MatchString(file) {
				continue
			}
			source, err := os.ReadFile(file)
			fail(err)
			mutants, err := mutantsOf(file, source)
			fail(err)
			for _, m := range mutants {
				if lives(dir, file, source, m) {
					lived++
					fmt.Printf("LIVED %s at %s:%d:%d\n", m.kind, file, m.at.Line, m.at.Column)
				} else {
					killed++
				}
			}
		}
	}
	fmt.Printf("Case conditions: killed %d, lived %d\n", killed, lived)
	if lived > 0 {
		os.Exit(1)
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "cases:", err)
		os.Exit(2)
	}
}

// mutantsOf returns the mutants of a file, in the order of the file.
func mutantsOf(file string, source []byte) (mutants []mutant, err error) {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, file, source, 0)
	if err != nil {
		return nil, err
	}
	offset := func(p token.Pos) int { return set.Position(p).Offset }
	ast.Inspect(f, func(n ast.Node) bool {
		s, is := n.(*ast.SwitchStmt)
		if !is {
			return true
		}
		for _, stmt := range s.Body.List {
			list := stmt.(*ast.CaseClause).List
			for i, e := range list {
				begin, end := offset(e.Pos()), offset(e.End())
				at := set.Position(e.Pos())
				switch {
				case s.Tag == nil:
					mutants = append(mutants, mutant{"CASE_NEVER", at, begin, end, "false && (" + string(source[begin:end]) + ")"})
				case i > 0: // a value in a list is removed with the comma before it
					mutants = append(mutants, mutant{"CASE_NEVER", at, offset(list[i-1].End()), end, ""})
				case len(list) > 1:
					mutants = append(mutants, mutant{"CASE_NEVER", at, begin, offset(list[1].Pos()), ""})
				}
				ast.Inspect(e, func(n ast.Node) bool {
					if b, is := n.(*ast.BinaryExpr); is {
						for kind, table := range map[string]map[token.Token]string{"CONDITIONALS_NEGATION": negated, "CONDITIONALS_BOUNDARY": boundary, "INVERT_LOGICAL": logical} {
							if text, known := table[b.Op]; known {
								mutants = append(mutants, mutant{kind, set.Position(b.OpPos), offset(b.OpPos), offset(b.OpPos) + len(b.Op.String()), text})
							}
						}
					}
					return true
				})
			}
		}
		return true
	})
	return mutants, nil
}

// lives reports whether the package's tests pass with the mutant.
func lives(dir, file string, source []byte, m mutant) bool {
	tmp, err := os.MkdirTemp("", "cases")
	fail(err)
	defer os.RemoveAll(tmp)
	mutated := filepath.Join(tmp, "mutated.go")
	fail(os.WriteFile(mutated, slicesOf(source, m), 0o600))
	path, err := filepath.Abs(file)
	fail(err)
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: mutated}})
	fail(err)
	fail(os.WriteFile(filepath.Join(tmp, "overlay.json"), overlay, 0o600))
	// The property tests (TestLaw…) run last. They take long to fail, because the library rapid
	// first makes the failing case smaller.
	for _, which := range []string{"-skip=^TestLaw", "-run=^TestLaw"} {
		var out bytes.Buffer
		test := exec.Command("go", "test", "-failfast", "-vet=off", "-overlay="+filepath.Join(tmp, "overlay.json"), which, ".")
		test.Dir, test.Stdout, test.Stderr = dir, &out, &out
		if err := test.Run(); err != nil {
			if strings.Contains(out.String(), "[build failed]") {
				fail(fmt.Errorf("%s at %s does not build:\n%s", m.kind, m.at, out.String()))
			}
			return false
		}
	}
	return true
}

func slicesOf(source []byte, m mutant) []byte {
	var b bytes.Buffer
	b.Write(source[:m.begin])
	b.WriteString(m.text)
	b.Write(source[m.end:])
	return b.Bytes()
}
