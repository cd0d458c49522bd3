package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	phrase   = regexp.MustCompile("`([a-z]\\w* [a-zA-Z ]+)`")
	searched = regexp.MustCompile(`grep -E '([^']+)'`)
	command  = regexp.MustCompile(`^(helm|kubectl|groupsync (config|health|history|version)|make)\b`)
)

// TestTheLinesThatPagesLookForAreLogged: the runbook and running.md quote log lines, and texts
// to search for in the log. Each of them must be in the source of the program.
func TestTheLinesThatPagesLookForAreLogged(t *testing.T) {
	var source strings.Builder
	for _, root := range []string{"../internal", "../cmd"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			data, err := os.ReadFile(path)
			source.Write(data)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	found := 0
	for _, page := range []string{"runbook.md", "running.md"} {
		text := read(t, page)
		var lines []string
		for _, m := range phrase.FindAllStringSubmatch(text, -1) {
			if !command.MatchString(m[1]) {
				lines = append(lines, m[1])
			}
		}
		for _, m := range searched.FindAllStringSubmatch(text, -1) {
			lines = append(lines, strings.Split(m[1], "|")...)
		}
		for _, line := range lines {
			if !strings.Contains(source.String(), line) {
				t.Errorf("%s names %q, which nothing logs", page, line)
			}
		}
		found += len(lines)
	}
	if found < 10 {
		t.Errorf("only %d lines are named", found)
	}
}
