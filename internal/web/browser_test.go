package web

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"groupsync/internal/processtest/chromium"
	"groupsync/internal/report"
)

// browser is a tab of a real Chromium without a window.
type browser struct {
	t   *testing.T // the browser ends when this test ends
	tab context.Context

	stops []func() error // functions that stop the servers

	mu         sync.Mutex
	complaints []string // what the console shows: errors, warnings, CSP violations, exceptions
}

// newBrowser starts Chromium, which ends with the test.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	if testing.Short() {
		t.Skip("runs Chromium")
	}
	b := &browser{t: t}
	// The servers stop after the browser. A connection that the browser keeps open delays
	// their stop.
	t.Cleanup(func() {
		for _, stop := range b.stops {
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
	})
	b.tab = chromium.Tab(t, "the page in a browser")
	if err := chromedp.Listen(b.tab, b.listen); err != nil {
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

// serve starts a server of the page and returns its base URL.
func (b *browser) serve(o Options) string {
	b.t.Helper()
	base, stop := start(b.t, o)
	b.stops = append(b.stops, stop)
	return base
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

// eval returns the value of the script.
func eval[T any](t *testing.T, b *browser, script string) T {
	t.Helper()
	return ran(t, b, chromedp.Evaluate[T](script))
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

// scheme makes the browser prefer a colour scheme, light or dark.
func scheme(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
		})
		return err
	})
}

// TestThePageInABrowser checks the content of the page, and that the browser reports no
// problem.
func TestThePageInABrowser(t *testing.T) {
	b := newBrowser(t)
	named := sample()
	named.Groups[0].Name, named.Groups[1].Remove[0].Name = "<script>alert(1)</script>", "Eve\x1b[2J\u202e"
	named.Guards[0].Group, named.People[0].Name = "<img src=x onerror=alert(1)>", "<b>eve</b>"
	for _, page := range []struct {
		name   string
		status *Status
	}{{"guarded", busy(sample())}, {"calm", busy(calm())}, {"hostile names", busy(named)}, {"a crowd", busy(crowd())}} {
		t.Run(page.name, func(t *testing.T) {
			base := b.serve(Options{Status: page.status, Explainer: knowing{}})
			began := time.Now()
			b.do(t, chromedp.EmulateViewport(1280, 900), chromedp.Navigate(base+"/"))
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %s to open", took)
			}
			b.showsTheFigures(t, base)
			b.named(t)
			if n := eval[int](t, b, `document.querySelectorAll("script, img, main b b, iframe, object").length`); n != 1 {
				t.Errorf("%d scripts and the like, want the page's own", n)
			}
			b.isQuiet(t)
		})
	}
}

// showsTheFigures compares the page with /api/v1/status.
func (b *browser) showsTheFigures(t *testing.T, base string) {
	t.Helper()
	_, body := described(t, base, "/api/v1/status")
	var status decoded
	if err := json.Unmarshal([]byte(body), &status); err != nil {
		t.Fatal(err)
	}
	add, remove, withheld, drifting := 0, 0, 0, 0
	for _, g := range status.Last.Groups {
		for _, c := range g.Add {
			add += one(c.Outcome != report.Done)
			withheld += one(c.Outcome == report.Withheld)
		}
		for _, c := range g.Remove {
			remove += one(c.Outcome != report.Done)
			withheld += one(c.Outcome == report.Withheld)
		}
		drifting += one(len(g.Add)+len(g.Remove) > 0)
	}
	waiting := make(map[string]int)
	for _, p := range status.Last.People {
		waiting[p.State]++
	}
	want := map[string]string{
		"#figure-add": fmt.Sprint(add), "#figure-remove": fmt.Sprint(remove), "#figure-withheld": fmt.Sprint(withheld),
		"#figure-pending": fmt.Sprint(status.Last.Users["pending"]), ".sync": status.Sync, "#digest": status.Last.Digest,
		"#groups .n": shownIf(drifting), "#errors .n": shownIf(len(status.Last.Errors)), "#guards .n": shownIf(len(status.Last.Guards)),
		"[data-key=people-pending] .n": shownIf(waiting["pending"]), "[data-key=people-ambiguous] .n": shownIf(waiting["ambiguous"]), "[data-key=people-rekeyed] .n": shownIf(waiting["rekeyed"]),
	}
	got := eval[map[string]string](t, b, `Object.fromEntries([`+selectors(want)+`].map((s) => [s, document.querySelector(s)?.textContent ?? ""]))`)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the figures: -JSON +page\n%s", d)
	}
	var strip []string
	for _, p := range slices.Backward(status.Passes) {
		strip = append(strip, strings.ReplaceAll(string(p.Result), "_", " "))
	}
	bars := eval[[]string](t, b, `[...document.querySelectorAll(".strip li")].map((li) => li.textContent.match(/UTC: ([a-z ]+);/)[1])`)
	if d := cmp.Diff(strip, bars); d != "" {
		t.Errorf("the strip: -JSON +page\n%s", d)
	}
	if next := eval[string](t, b, `[...document.querySelectorAll(".times div")].find((d) => d.textContent.startsWith("Next pass")).querySelector("time").dateTime`); next != status.Next.Format(time.RFC3339) {
		t.Errorf("the next pass: %s, want %s", next, status.Next)
	}
}

func one(is bool) int {
	if is {
		return 1
	}
	return 0
}

// shownIf returns the number as the page shows it: an empty text for 0.
func shownIf(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func selectors(of map[string]string) string {
	var quoted []string
	for s := range of {
		quoted = append(quoted, fmt.Sprintf("%q", s))
	}
	return strings.Join(quoted, ",")
}

// named fails the test if a control has no accessible name, or if the headings skip a level.
func (b *browser) named(t *testing.T) {
	t.Helper()
	tree := ran(t, b, func(ctx context.Context, tab *chromedp.Target) (accessibility.GetFullAXTreeResult, error) {
		return cdp.Call(ctx, tab, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	})
	seen := make(map[string]int)
	for _, node := range tree.Nodes {
		if node.Ignored || node.Role == nil {
			continue
		}
		role, name := strings.Trim(string(node.Role.Value), `"`), ""
		if node.Name != nil {
			name = strings.TrimSpace(strings.Trim(string(node.Name.Value), `"`))
		}
		seen[role]++
		if name == "" && slices.Contains([]string{"link", "button", "textbox", "heading", "region", "image", "RootWebArea", "DisclosureTriangle"}, role) {
			t.Errorf("a %s has no name", role)
		}
	}
	for role, least := range map[string]int{"main": 1, "banner": 1, "contentinfo": 1, "search": 1, "textbox": 2, "button": 1, "link": 5, "heading": 4, "region": 4} {
		if seen[role] < least {
			t.Errorf("%d of the role %s, want %d at least: %v", seen[role], role, least, seen)
		}
	}
	levels := eval[string](t, b, `[...document.querySelectorAll("h1, h2, h3, h4")].map((h) => h.tagName[1]).join("")`)
	if !regexp.MustCompile(`^1(2+3?)*$`).MatchString(levels) {
		t.Errorf("the headings have the levels %s", levels)
	}
	if lang := eval[string](t, b, `document.documentElement.lang`); lang != "en" {
		t.Errorf("the language is %q", lang)
	}
}

// contrastScript returns each text whose contrast is below WCAG 2.2 AA: 4.5, or 3 for large
// text. It also returns each bar of the strip and each border of a control below 3.
const contrastScript = `(() => {
  const parse = (c) => { const [r, g, b, a = 1] = c.match(/[\d.]+/g).map(Number); return { r, g, b, a }; };
  const over = (f, b) => ({ r: f.r * f.a + b.r * (1 - f.a), g: f.g * f.a + b.g * (1 - f.a), b: f.b * f.a + b.b * (1 - f.a), a: 1 });
  const behind = (e) => {
    const layers = [];
    for (; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer, below), { r: 255, g: 255, b: 255, a: 1 });
  };
  const part = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (c) => 0.2126 * part(c.r) + 0.7152 * part(c.g) + 0.0722 * part(c.b);
  const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const failures = new Set();
  let texts = 0;
  const test = (what, ratio, least) => { texts++; if (ratio < least) failures.add(what + ": " + ratio.toFixed(2) + ", want " + least); };
  for (const d of document.querySelectorAll("details")) d.open = true;
  for (const e of document.querySelectorAll("body *")) {
    const style = getComputedStyle(e);
    if (e.closest(".strip span") || !e.getClientRects().length) continue;
    const text = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    const size = parseFloat(style.fontSize);
    const least = size >= 24 || size >= 18.66 && style.fontWeight >= 700 ? 3 : 4.5;
    if (text || e.matches("input")) test(e.tagName + "." + e.className, contrast(over(parse(style.color), behind(e)), behind(e)), least);
    if (e.matches("input")) test("placeholder", contrast(over(parse(getComputedStyle(e, "::placeholder").color), behind(e)), behind(e)), least);
    if (e.matches("input, button")) test("border of " + e.tagName, contrast(parse(style.borderTopColor), behind(e.parentElement)), 3);
    if (e.matches(".strip li, .legend i")) test("bar " + e.className + e.parentElement.className, contrast(parse(style.backgroundColor), behind(e.parentElement)), 3);
  }
  return { texts, failures: [...failures] };
})()`

// TestContrast checks the contrast of the page in both colour schemes.
func TestContrast(t *testing.T) {
	b := newBrowser(t)
	failed := busy(sample())
	failed.Record(report.Report{Pass: "f", Mode: "apply", Result: report.Error, Started: began, Errors: sample().Errors})
	standby := NewStatus("s", nil)
	standby.SetLeader(false)
	drifting := calm()
	drifting.Result = report.Drift
	for _, page := range []struct {
		name, path string
		status     *Status
	}{
		{"guarded", "/", busy(sample())}, {"calm", "/", busy(calm())}, {"failed", "/", failed}, {"standby", "/", standby}, {"drift", "/", busy(drifting)},
		{"explained", "/?user=ada", busy(calm())}, {"not explained", "/?user=bob", busy(calm())},
	} {
		base := b.serve(Options{Status: page.status, Explainer: knowing{}})
		for _, colours := range []string{"light", "dark"} {
			b.do(t, scheme(colours), chromedp.Navigate(base+page.path))
			got := eval[struct {
				Texts    int
				Failures []string
			}](t, b, contrastScript)
			if got.Texts < 10 {
				t.Errorf("%s, %s: only %d texts were looked at", page.name, colours, got.Texts)
			}
			for _, f := range got.Failures {
				t.Errorf("%s, %s: %s", page.name, colours, f)
			}
		}
		if page.name == "not explained" {
			b.complaints = nil // the complaint about the status 404, which is expected
		}
		b.isQuiet(t)
	}
}

// TestThePageRefreshesItself checks that the page shows the next pass and keeps open parts,
// typed text and the focus. It says so when groupsync no longer answers.
func TestThePageRefreshesItself(t *testing.T) {
	b := newBrowser(t)
	status := busy(sample())
	base, stop := start(t, Options{Status: status, Explainer: knowing{}})
	// The script also refreshes when the page becomes visible again. This event simulates
	// that.
	const lookAgain = `document.dispatchEvent(new Event("visibilitychange"))`
	b.do(t, chromedp.Navigate(base+"/"),
		chromedp.SetValue(`input[name=user]`, "ada"),
		chromedp.Evaluate[chromedp.Void](`document.querySelector("[data-key=g-ds]").open = true; document.querySelector("[data-key=g-ds] summary").focus()`))
	status.Record(func() report.Report {
		r := sample()
		r.Pass, r.Users["pending"] = "next", 4
		return r
	}())
	b.do(t, chromedp.Evaluate[chromedp.Void](lookAgain))
	b.await(t, "the next pass", `document.querySelector("#figure-pending").textContent === "4"`)
	for what, is := range map[string]string{
		"the group is still open":    `document.querySelector("[data-key=g-ds]").open && !document.querySelector("[data-key=g-vision]").open`,
		"the focus is where it was":  `document.activeElement === document.querySelector("[data-key=g-ds] summary")`,
		"what was typed is there":    `document.querySelector("input[name=user]").value === "ada"`,
		"nothing is said to be old":  `document.querySelector("#unreachable").hidden`,
		"there is one status, not 2": `document.querySelectorAll("#live").length === 1`,
	} {
		if !eval[bool](t, b, is) {
			t.Errorf("it is not so that %s", what)
		}
	}
	b.isQuiet(t)
	if err := stop(); err != nil {
		t.Error(err)
	}
	b.do(t, chromedp.Evaluate[chromedp.Void](lookAgain))
	b.await(t, "that groupsync does not answer", `!document.querySelector("#unreachable").hidden`)
}

// await waits until the script returns true.
func (b *browser) await(t *testing.T, what, script string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !eval[bool](t, b, script); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the page does not show %s", what)
		}
	}
}

// TestThePageWithoutJavaScript checks that the page shows the same, reloads itself and answers
// searches.
func TestThePageWithoutJavaScript(t *testing.T) {
	b := newBrowser(t)
	base := b.serve(Options{Status: busy(sample()), Explainer: knowing{}})
	b.do(t, chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	}), chromedp.Navigate(base+"/"))
	b.showsTheFigures(t, base)
	if content := eval[string](t, b, `document.querySelector("meta[http-equiv=refresh]").content`); content != "60" {
		t.Errorf("the page reloads itself after %q s", content)
	}
	b.do(t, chromedp.SendKeys(`input[name=user]`, "ada"), chromedp.SendKeys(`input[name=group]`, "data-science\r"), chromedp.WaitVisible(`#answer`))
	if got := eval[string](t, b, `document.querySelector("#answer").textContent + "|" + document.querySelector(".answer pre").textContent.split("\n")[1] + "|" + location.search`); got != "ada in data-science|  matched by id: ClearML keeps sub 4711|?user=ada&group=data-science" {
		t.Errorf("the answer: %s", got)
	}
	b.isQuiet(t)
}

// TestScreenshots writes pictures of the page for a person to look at. It checks that no page
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
	standby.SetLeader(false)
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
		base := b.serve(Options{Status: page.status, Explainer: knowing{}})
		for _, width := range []int64{390, 1280} {
			for _, colours := range []string{"light", "dark"} {
				b.do(t, chromedp.EmulateViewport(width, 900), scheme(colours), chromedp.Navigate(base+page.path),
					chromedp.Evaluate[chromedp.Void](`for (const d of document.querySelectorAll("details")) { d.open = d.dataset.key === "g-ds" || d.dataset.key === "people-pending" }`))
				if overflow := eval[int](t, b, `document.documentElement.scrollWidth - window.innerWidth`); overflow > 0 {
					t.Errorf("%s is %d pixels wider than a window of %d", page.name, overflow, width)
				}
				picture := ran(t, b, chromedp.FullScreenshot(100))
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d-%s.png", page.name, width, colours)), picture, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
