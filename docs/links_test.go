package docs

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	fence    = regexp.MustCompile("(?ms)^(```|~~~).*?^(```|~~~)$")
	heading  = regexp.MustCompile(`(?m)^#{1,6} +(.*)$`)
	inline   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	linkText = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// anchors returns the fragments of the headings of a page, as GitHub makes them.
func anchors(text string) map[string]bool {
	made := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		title := strings.ToLower(linkText.ReplaceAllString(strings.TrimSpace(m[1]), "$1"))
		made[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return r
			}
			return -1
		}, title)] = true
	}
	return made
}

// TestAnchors: headings give the fragments that GitHub makes.
func TestAnchors(t *testing.T) {
	text := "# `groupsync` check\n## 3a. With docker-compose\n### [A link](x.md#y), and more!\n```\n# a comment\n```\n"
	got := anchors(text)
	for _, want := range []string{"groupsync-check", "3a-with-docker-compose", "a-link-and-more"} {
		if !got[want] {
			t.Errorf("no anchor %s in %v", want, got)
		}
	}
	if len(got) != 3 {
		t.Errorf("%d anchors, want 3: %v", len(got), got)
	}
}

// TestLinksAndAnchorsLead: every relative link of the documentation leads to a file. Its
// fragment leads to a heading of that file.
func TestLinksAndAnchorsLead(t *testing.T) {
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	files, fragments := 0, 0
	for _, page := range append(pages, "../README.md", "../SECURITY.md", "../charts/groupsync/README.md", "../examples/compose/README.md") {
		for _, m := range inline.FindAllStringSubmatch(fence.ReplaceAllString(read(t, page), ""), -1) {
			u, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: %v", page, err)
				continue
			}
			if u.Scheme != "" {
				continue
			}
			to := page
			if u.Path != "" {
				to = filepath.Join(filepath.Dir(page), u.Path)
			}
			files++
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
				continue
			}
			if u.Fragment == "" {
				continue
			}
			fragments++
			if strings.HasSuffix(to, ".md") && !anchors(read(t, to))[u.Fragment] {
				t.Errorf("%s links to %s, and that page has no such heading", page, m[1])
			}
		}
	}
	if files < 50 || fragments < 5 {
		t.Errorf("only %d links and %d fragments were found", files, fragments)
	}
}

// TestEveryPageIsLinkedFromReadme: README.md has a link to each page of docs.
func TestEveryPageIsLinkedFromReadme(t *testing.T) {
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := read(t, "../README.md")
	for _, page := range pages {
		if !strings.Contains(readme, "](docs/"+page) {
			t.Errorf("README.md has no link to docs/%s", page)
		}
	}
}
