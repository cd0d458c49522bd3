package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// codeSpan matches a code span of Markdown, in which no markup is recognized.
var codeSpan = regexp.MustCompile("```.*?```|``.*?``|`[^`]*`")

// hostileNames are names that somebody may give to a group or a person.
var hostileNames = map[string]string{
	"a terminal escape":        "ann\x1b[2J\x1b]0;title\x07",
	"an eight-bit escape":      "ann\u009b31m",
	"a line break":             "ann\n-bob@team not_member\r\n",
	"a line separator":         "ann\u2028bob\u2029",
	"a right-to-left override": "ann\u202egpj.exe\u2066",
	"HTML":                     `<script>alert(1)</script><img src=x onerror=1>`,
	"a table of Markdown":      "ann|bob|\n|---|",
	"a label of Prometheus":    "ann\"} 1\ngroupsync_up{x=\"\\",
	"the end of a code span":   "ann` <script>x</script> ``",
	"a formula":                `=HYPERLINK("http://x")`,
}

// TestNamesAreInertInEveryOutput checks that no output of a report holds a character that
// could control a terminal, and that no output has more lines than for the same report with
// plain names.
func TestNamesAreInertInEveryOutput(t *testing.T) {
	outputs := map[string]func(io.Writer, Report) error{
		"text":     func(w io.Writer, r Report) error { return Text(w, r, Style{}) },
		"markdown": func(w io.Writer, r Report) error { return Markdown(w, r, true) },
		"diff":     Diff,
		"JSON":     JSON,
	}
	of := func(t *testing.T, name string) Report {
		quoted, err := json.Marshal(name)
		if err != nil {
			t.Fatal(err)
		}
		var r Report
		text := strings.ReplaceAll(`{"pass":"p","result":"drift","groups":[{"name":N,"id":"g","from":[N],"add":[{"id":"u","name":N,"email":N}],"remove":[{"id":"v","name":N}],"pending":[{"name":N,"email":N}],"withheld":[]}],
			"guards":[{"guard":"fall","group":N,"detail":N}],"errors":[{"system":"keycloak","reason":"shape","text":N}],"skipped":[{"name":N}]}`, "N", string(quoted))
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	for kind, write := range outputs {
		var plain bytes.Buffer
		if err := write(&plain, of(t, "plain")); err != nil || !strings.Contains(plain.String(), "plain") {
			t.Fatalf("%s does not show the name: %v\n%s", kind, err, plain.String())
		}
		for what, name := range hostileNames {
			t.Run(fmt.Sprintf("%s in %s", what, kind), func(t *testing.T) {
				var b bytes.Buffer
				if err := write(&b, of(t, name)); err != nil {
					t.Fatal(err)
				}
				for _, c := range b.String() {
					if c != '\n' && c != '\t' && unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) || c == '\u2028' || c == '\u2029' {
						t.Errorf("%U stands in\n%q", c, b.String())
						break
					}
				}
				if got, want := strings.Count(b.String(), "\n"), strings.Count(plain.String(), "\n"); got != want {
					t.Errorf("%d lines, want %d\n%s", got, want, b.String())
				}
				if kind == "markdown" && strings.Contains(codeSpan.ReplaceAllString(b.String(), ""), "<script>") {
					t.Errorf("markup stands in\n%s", b.String())
				}
			})
		}
	}
}
