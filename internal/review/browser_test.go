package review_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"groupsync/internal/processtest/chromium"
	"groupsync/internal/review"
)

const hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>\u202e\x1b[2J"

// browser is a tab of a real Chromium without a window.
type browser struct {
	tab context.Context

	mu         sync.Mutex
	complaints []string // what the console shows: errors, warnings, CSP violations, exceptions
}

// newBrowser starts Chromium, which ends with the test.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	if testing.Short() {
		t.Skip("runs Chromium")
	}
	tab := chromium.Tab(t, "the review in a browser")
	b := &browser{tab: tab}
	if err := chromedp.Listen(tab, b.listen); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *browser) listen(event any) {
	complaint := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		complaint = "exception: " + e.ExceptionDetails.Text
	case *runtime.EventConsoleAPICalled:
		complaint = "console." + string(e.Type)
	case *cdplog.EventEntryAdded:
		complaint = fmt.Sprintf("%s %s: %s %s", e.Entry.Source, e.Entry.Level, e.Entry.Text, e.Entry.URL)
	case *cdppage.EventJavascriptDialogOpening:
		complaint = "a dialog: " + e.Message
	default:
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, complaint)
}

// ran runs the action and returns its value.
func ran[T any](t *testing.T, b *browser, a chromedp.Action[T]) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.tab, 30*time.Second)
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// media makes the browser show a page for the screen or for paper, in a colour scheme.
func media(medium, scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Media: medium, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	})
}

// open opens the review from a file, as an auditor does.
func (b *browser) open(t *testing.T, r review.Review, before ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	var page bytes.Buffer
	if err := review.HTML(&page, r); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "review.html")
	if err := os.WriteFile(file, page.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	ran(t, b, chromedp.Steps(append(before, chromedp.Navigate("file://"+file))...))
}

// isQuiet fails the test if the browser reported an error, a warning or a violation.
func (b *browser) isQuiet(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.complaints {
		t.Errorf("the browser complains: %s", c)
	}
	b.complaints = nil
}

// TestHostileNamesAreInert checks that markup in any text of a review is shown and has no
// effect.
func TestHostileNamesAreInert(t *testing.T) {
	b := newBrowser(t)
	r := sample()
	r.Scope = review.Scope{Sync: hostile, Keycloak: hostile, Realm: hostile, ClearML: hostile}
	r.Rows = r.Rows[:1]
	row := &r.Rows[0]
	row.Name, row.Email, row.UserID, row.Username, row.AccountID, row.Group, row.GroupID = hostile, hostile, hostile, hostile, hostile, hostile, hostile
	row.By, row.Reason, row.Why, row.Evidence, row.Doubt, row.Guard, row.Detail = []string{hostile}, hostile, hostile, hostile, hostile, "grace", hostile
	b.open(t, r)
	got := ran(t, b, chromedp.Evaluate[map[string]string](`({
		elements: String(document.querySelectorAll("script, img, iframe, object, link, a").length),
		group: document.querySelector("tbody td b").textContent,
		title: document.title,
	})`))
	shown := `<script>alert(1)</script><img src=x onerror=alert(2)>\u202e\x1b[2J`
	want := map[string]string{"elements": "0", "group": shown, "title": "Access review of " + shown}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	b.isQuiet(t)
}

// TestThePageAllowsNoScript checks that the page's own policy stops a script that is in the
// page.
func TestThePageAllowsNoScript(t *testing.T) {
	b := newBrowser(t)
	b.open(t, sample())
	b.isQuiet(t)
	ran(t, b, chromedp.Evaluate[chromedp.Void](`{ const s = document.createElement("script"); s.textContent = "document.title = 'run'"; document.body.append(s); }`))
	if title := ran(t, b, chromedp.Evaluate[string](`document.title`)); title != "Access review of test" {
		t.Errorf("a script ran: %s", title)
	}
}

// TestThePage compares the page with the review, in every width and on paper. It also writes
// pictures for a person to look at.
func TestThePage(t *testing.T) {
	b := newBrowser(t)
	dir := t.ArtifactDir()
	t.Logf("screenshots: %s", dir)
	r := sample()
	for i := range 40 { // enough rows for more than one sheet of paper
		row := r.Rows[0]
		row.UserID = fmt.Sprint("cm-", i)
		r.Rows = append(r.Rows, row)
		r.Statuses[row.Status]++
	}
	at := since
	r.At = &at
	for _, shown := range []struct {
		name           string
		width          int64
		medium, scheme string
	}{
		{"wide, light", 1280, "screen", "light"}, {"wide, dark", 1280, "screen", "dark"},
		{"narrow, light", 390, "screen", "light"}, {"narrow, dark", 390, "screen", "dark"},
		{"paper", 1040, "print", "light"}, {"paper of somebody who likes it dark", 1040, "print", "dark"},
	} {
		t.Run(shown.name, func(t *testing.T) {
			b.open(t, r, chromedp.EmulateViewport(shown.width, 900), media(shown.medium, shown.scheme))
			got := ran(t, b, chromedp.Evaluate[map[string]int](`Object.fromEntries([
				...[...document.querySelectorAll(".counts dd")].map((d) => [d.id, Number(d.textContent)]),
				["rows", document.querySelectorAll("tbody tr").length],
				["broken figures", [...document.querySelectorAll(".counts dd")].filter((d) => d.offsetHeight > 2 * parseFloat(getComputedStyle(d).fontSize)).length],
				["wider than the window", Math.max(0, document.documentElement.scrollWidth - window.innerWidth)],
			])`))
			want := map[string]int{"rows": len(r.Rows), "wider than the window": 0, "broken figures": 0}
			for _, s := range review.Statuses {
				want["count-"+string(s)] = r.Statuses[s]
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("-review +page\n%s", d)
			}
			look := ran(t, b, chromedp.Evaluate[map[string]string](`({
				head: getComputedStyle(document.querySelector("thead")).display,
				paper: getComputedStyle(document.body).backgroundColor,
				read: document.querySelector(".scope div:last-child dd").textContent,
			})`))
			head := map[bool]string{false: "table-header-group", true: "block"}[shown.width < 900]
			paper := map[string]string{"screenlight": "rgb(246, 247, 249)", "screendark": "rgb(18, 21, 27)", "printlight": "rgb(255, 255, 255)", "printdark": "rgb(255, 255, 255)"}[shown.medium+shown.scheme]
			if d := cmp.Diff(map[string]string{"head": head, "paper": paper, "read": "2026-11-24T10:30:00Z"}, look); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
			picture := ran(t, b, chromedp.FullScreenshot(100))
			if err := os.WriteFile(filepath.Join(dir, strings.NewReplacer(", ", "-", " ", "-").Replace(shown.name)+".png"), picture, 0o644); err != nil {
				t.Fatal(err)
			}
			b.isQuiet(t)
		})
	}
}
