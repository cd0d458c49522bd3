package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// comparisonOf returns a comparison with the names of a report. The report's changes are those
// of the changed configuration, and its additions are also those that only the present one
// makes.
func comparisonOf(r Report) Comparison {
	c := Comparison{Source: r.Source, Target: r.Target, Guards: r.Guards, Skipped: r.Skipped, Groups: []Difference{}}
	for _, g := range r.Groups {
		c.Groups = append(c.Groups, Difference{
			Name: g.Name, ID: g.ID, FromPresent: g.From, FromChanged: append([]string{"/new"}, g.From...),
			Add: list(g.Add), Remove: list(g.Remove), NotAdded: list(g.Add), NotRemoved: []Change{},
		})
	}
	return c
}

var comparisonRenderers = map[string]func(io.Writer, Comparison) error{
	"txt":     func(w io.Writer, c Comparison) error { return c.Text(w, Style{}) },
	"md":      func(w io.Writer, c Comparison) error { return c.Markdown(w, false) },
	"full.md": func(w io.Writer, c Comparison) error { return c.Markdown(w, true) },
	"json":    func(w io.Writer, c Comparison) error { return c.JSON(w) },
}

func renderComparison(t *testing.T, how string, c Comparison) string {
	t.Helper()
	var b bytes.Buffer
	if err := comparisonRenderers[how](&b, c); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestComparisonRenderers compares the renderers with the files in testdata. The files show
// cut lists, and administrators, which are not cut.
func TestComparisonRenderers(t *testing.T) {
	for _, how := range []string{"txt", "md"} {
		got := renderComparison(t, how, comparisonOf(everything()))
		file := filepath.Join("testdata", "comparison."+how)
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

// TestAComparisonHoldsNames checks that a hostile name has no effect in any renderer.
func TestAComparisonHoldsNames(t *testing.T) {
	c := comparisonOf(doubtful())
	for how := range comparisonRenderers {
		text := renderComparison(t, how, c)
		if !isPlain(strings.ReplaceAll(text, "\n", "")) {
			t.Errorf("as %s it holds a character that a terminal could take for its own: %q", how, text)
		}
		if strings.HasSuffix(how, "md") {
			holdsNames(t, text)
		}
	}
	if n, same := strings.Count(renderComparison(t, "full.md", c), "\n"), strings.Count(renderComparison(t, "full.md", comparisonOf(harmless(doubtful()))), "\n"); n != same {
		t.Errorf("hostile names make %d lines of %d", n, same)
	}
	var back Comparison
	if err := json.Unmarshal([]byte(renderComparison(t, "json", c)), &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(renderComparison(t, "txt", c), renderComparison(t, "txt", back)); d != "" {
		t.Errorf("the text differs after the JSON\n%s", d)
	}
}

// harmless returns the report with plain names in place of the people's names.
func harmless(r Report) Report {
	for i := range r.Groups {
		add := make([]Change, len(r.Groups[i].Add))
		for k, c := range r.Groups[i].Add {
			c.Name, c.Email = fmt.Sprintf("person%d", k), ""
			add[k] = c
		}
		r.Groups[i].Add = add
	}
	return r
}

func TestExitCodeOfAComparison(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    Comparison
		want int
	}{
		{"nothing differs", Comparison{}, 0},
		{"a remark is no difference", Comparison{Skipped: []Skip{{Name: "a", Side: "keycloak", Why: "no_target"}}}, 0},
		{"a membership differs", Comparison{Groups: []Difference{{Name: "team"}}}, 2},
		{"only a guard differs: the changed configuration freezes a group", Comparison{Guards: []Trip{{Guard: MissingSource, Group: "team"}}}, 2},
	} {
		if got := tt.c.ExitCode(); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
}
