// Package chromium starts a real Chromium without a window for tests.
package chromium

import (
	"context"
	"testing"

	"github.com/chromedp/chromedp"

	"groupsync/internal/processtest"
)

// Tab starts Chromium and returns the context of its one tab. Chromium is stopped when the test
// ends. If Chromium is missing, Tab installs the Debian package. If Tab cannot install it, the test
// fails. purpose names what needs Chromium, for that message.
func Tab(tb testing.TB, purpose string) context.Context {
	tb.Helper()
	if err := processtest.Install(purpose, []string{"chromium"}, "chromium"); err != nil {
		tb.Fatal(err)
	}
	options := []chromedp.ExecAllocatorOption{chromedp.ExecPath("chromium"), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.UserDataDir(tb.TempDir())}
	for _, flag := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "hide-scrollbars"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	tb.Cleanup(end)
	tab, closeTab := chromedp.NewContext(allocator)
	tb.Cleanup(closeTab)
	return tab
}
