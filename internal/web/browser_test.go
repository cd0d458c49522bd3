package web

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"groupsync/internal/processtest"
	"groupsync/internal/report"
)

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
	if err := processtest.Install("the page in a browser", []string{"chromium"}, "chromium"); err != nil {
		t.Fatal(err)
	}
	options := []chromedp.ExecAllocatorOption{chromedp.ExecPath("chromium"), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.UserDataDir(t.TempDir())}
	for _, flag := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "hide-scrollbars"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(end)
	tab, closeTab := chromedp.NewContext(allocator)
	t.Cleanup(closeTab)
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
	default:
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, complaint)
}

// do runs the actions.
func (b *browser) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ran(t, b, chromedp.Steps(steps...))
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

// eval returns what the script gives.
func eval[T any](t *testing.T, b *browser, script string) T {
	t.Helper()
	return ran(t, b, chromedp.Evaluate[T](script))
}

// isQuiet fails the test if the browser complained of anything.
func (b *browser) isQuiet(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.complaints {
		t.Errorf("the browser complains: %s", c)
	}
	b.complaints = nil
}

// scheme makes the browser prefer a colour scheme, light or dark.
func scheme(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
		})
		return err
	})
}

// TestScreenshots writes what the page looks like, for a person to look at. No page
// is wider than the window.
func TestScreenshots(t *testing.T) {
	b := newBrowser(t)
	dir := t.ArtifactDir()
	t.Logf("screenshots: %s", dir)
	failed := report.Report{Pass: "p", Sync: "production", Mode: "apply", Result: report.Error, Started: began, Duration: 40.2,
		Errors: []report.Failure{{System: "keycloak", Reason: "timeout", Text: "reading the groups of the realm: no answer within 40s: look at Keycloak and the LDAP behind it, then raise keycloak.timeout"}}}
	after := busy(sample())
	after.Record(failed)
	standby := NewStatus("production", func() string { return "groupsync-7c9d8f6b5-x2x4z_0a1b" })
	standby.Lead(false)
	for _, page := range []struct {
		name, path string
		status     *Status
	}{
		{"guarded", "/", busy(sample())},
		{"calm", "/", busy(calm())},
		{"failed", "/", after},
		{"standby", "/", standby},
		{"first", "/", NewStatus("production", nil)},
		{"explained", "/?user=ada&group=data-science", busy(calm())},
		{"notexplained", "/?user=nobody", busy(calm())},
	} {
		base, stop := start(t, Options{Status: page.status, Explainer: knowing{}})
		for _, width := range []int64{390, 1280} {
			for _, colours := range []string{"light", "dark"} {
				b.do(t, chromedp.EmulateViewport(width, 900), scheme(colours), chromedp.Navigate(base+page.path),
					chromedp.Evaluate[chromedp.Void](`for (const d of document.querySelectorAll("details")) { d.open = d.dataset.key === "g-ds" || d.dataset.key === "people-pending" }`))
				picture := ran(t, b, chromedp.FullScreenshot(100))
				if overflow := eval[int](t, b, `document.documentElement.scrollWidth - window.innerWidth`); overflow > 0 {
					t.Errorf("%s is %d pixels wider than a window of %d", page.name, overflow, width)
				}
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d-%s.png", page.name, width, colours)), picture, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}
