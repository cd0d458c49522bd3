package web

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/memory"
	"groupsync/internal/report"
)

// shown returns the page.
func shown(t *testing.T, o Options, path string) (int, string, http.Header) {
	t.Helper()
	base, stop := start(t, o)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(base + path)
	if err != nil {
		t.Fatal(err)
	}
	header := resp.Header
	resp.Body.Close()
	req, err := http.NewRequestWithContext(t.Context(), "GET", base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	code, body := do(t, client, req)
	if err := stop(); err != nil {
		t.Error(err)
	}
	return code, body, header
}

// TestHeadline checks the sentence about the state of the sync, and the sentences below it.
func TestHeadline(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	change := func(outcome report.Outcome, guard report.Guard) []report.Group {
		return []report.Group{{Remove: []report.Change{{Outcome: outcome, Guard: guard}}}}
	}
	for _, tt := range []struct {
		name  string
		state state
		want  string
	}{
		{"before the first pass", state{leads: true}, "idle: No pass has ended yet."},
		{"during the first pass", state{leads: true, running: now}, "idle: The first pass is running."},
		{"a standby", state{leader: "pod-b"}, "idle: This process is a standby and makes no passes. pod-b is the leader. Its page shows the passes."},
		{"a standby without a leader", state{}, "idle: This process is a standby and makes no passes. The leader is not known. Reload the page in a few seconds."},
		{"nothing differs", of(report.Report{Result: report.InSync}), "good: ClearML agrees with Keycloak."},
		{"everything was written", of(report.Report{Result: report.Applied, Applied: report.Tally{Added: 1}}), "good: ClearML agrees with Keycloak. The last pass made 1 change."},
		{"a person approved", of(report.Report{Result: report.Applied, Approval: &report.Approval{Digest: "d", By: "op", At: now, Granted: true, Changes: 1}}), "good: ClearML agrees with Keycloak. The last pass had an approval of d by op at 2026-11-27T12:00:00Z: granted: lifted no guard for 1 change."},
		{"nothing may be written", of(report.Report{Result: report.Drift, Mode: "observe", Groups: change(report.Planned, "")}), "wait: 1 membership differs from Keycloak. The mode is observe, so groupsync writes nothing."},
		{"a removal waits", of(report.Report{Result: report.Drift, Groups: change(report.Withheld, report.Grace)}), "wait: 1 membership differs from Keycloak. 1 removal waits only for the grace. groupsync writes a removal after all passes have wanted it throughout the grace."},
		{"a write failed", of(report.Report{Result: report.Drift, Groups: change(report.Failed, ""), Applied: report.Tally{Removed: 2, Failed: 1}}), "bad: 1 membership differs from Keycloak. The last pass made 2 changes. 1 write failed. The next pass tries again."},
		{"a guard withholds", of(report.Report{Result: report.Guarded, Groups: change(report.Withheld, report.Removals)}), "bad: Guards withhold 1 change."},
		{"a guard only reports", of(report.Report{Result: report.Guarded}), "bad: A guard reports a problem that a person must resolve."},
		{"the pass failed", of(report.Report{Result: report.Error}), "bad: The last pass failed, and nothing was written."},
		{"the pass failed while it wrote", of(report.Report{Result: report.Error, Applied: report.Tally{Added: 1}}), "bad: The last pass failed while it wrote. The last pass made 1 change."},
		{"the next pass is overdue", func() state {
			s := of(report.Report{Result: report.InSync})
			s.next = now.Add(-7 * time.Minute)
			return s
		}(), "bad: ClearML agrees with Keycloak. The next pass is overdue by 7 min. See docs/runbook.md, GroupsyncNoTicks."},
		{"writing is suspended, and nothing differs", func() state {
			s := of(report.Report{Result: report.InSync})
			s.suspension = memory.Suspension{Until: now.Add(90 * time.Minute), Reason: "LDAP\nmove", By: "<b>", At: now}
			return s
		}(), `wait: ClearML agrees with Keycloak. All writing is suspended until 2026-11-27T13:30:00Z by "<b>": "LDAP\nmove", 90 min from now. groupsync resume ends the suspension earlier. See docs/running.md, Suspend.`},
		{"removals are suspended, and a suspension is no grace", func() state {
			s := of(report.Report{Result: report.Drift, Groups: change(report.Withheld, report.Suspended)})
			s.suspension = memory.Suspension{Until: now.Add(90 * time.Minute), Reason: "r", By: "op", At: now, RemovalsOnly: true}
			return s
		}(), `wait: 1 membership differs from Keycloak. The removal of members is suspended until 2026-11-27T13:30:00Z by "op": "r", 90 min from now. groupsync resume ends the suspension earlier. See docs/running.md, Suspend.`},
		{"a standby of a suspended sync", state{leader: "pod-b", suspension: memory.Suspension{Until: now.Add(time.Hour), Reason: "r", By: "op"}},
			`idle: This process is a standby and makes no passes. All writing is suspended until 2026-11-27T13:00:00Z by "op": "r", 60 min from now. groupsync resume ends the suspension earlier. See docs/running.md, Suspend. pod-b is the leader. Its page shows the passes.`},
		{"a suspension that has ended", func() state {
			s := of(report.Report{Result: report.InSync})
			s.suspension = memory.Suspension{Until: now, Reason: "r", By: "op"}
			return s
		}(), "good: ClearML agrees with Keycloak."},
		{"the next pass is due", func() state {
			s := of(report.Report{Result: report.InSync})
			s.next = now.Add(-time.Minute)
			return s
		}(), "good: ClearML agrees with Keycloak."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := viewOf(tt.state, now, approveWay{})
			got := v.Tone + ": " + v.Headline
			for _, d := range v.Detail {
				got += " " + d.String()
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// of returns the state after one pass.
func of(r report.Report) state {
	s := NewStatus("s", nil)
	s.Record(r)
	return s.state()
}

// TestHowToApprove checks that the page shows the command that works for this process.
func TestHowToApprove(t *testing.T) {
	observing, settled := sample(), sample()
	observing.Mode = "observe"
	for i := range settled.Guards {
		settled.Guards[i].Override = ""
	}
	const digest = "a7576ab8daf0ed35"
	at := &net.TCPAddr{IP: net.IPv4zero, Port: 8080}
	alone, leased := NewStatus("s", nil), NewStatus("s", func() string { return "" })
	for _, tt := range []struct {
		name    string
		options Options
		https   bool
		report  report.Report
		want    *approval
	}{
		{"a process alone", Options{Status: alone}, false, sample(), &approval{Digest: digest, Command: "groupsync --once --apply --approve " + digest + " --config config.yaml"}},
		{"over HTTP", Options{Status: leased, Control: &asked{}}, false, sample(), &approval{Digest: digest, Command: "curl -X POST 'http://localhost:8080/-/approve?digest=" + digest + "'"}},
		{"over HTTPS", Options{Status: leased, Control: &asked{}}, true, sample(), &approval{Digest: digest, Command: "curl -X POST 'https://localhost:8080/-/approve?digest=" + digest + "'"}},
		{"over HTTP, in mode observe", Options{Status: leased, Control: &asked{}}, false, observing, &approval{Digest: digest, Command: "curl -X POST 'http://localhost:8080/-/approve?digest=" + digest + "'", Note: "The mode is observe. Set mode: apply first."}},
		{"with a Lease, and nothing over HTTP", Options{Status: leased}, false, sample(), &approval{Digest: digest, Note: "Only the leader writes. Set web.enable_lifecycle, then send the approval to the leader. See docs/running.md, Approvals."}},
		{"no guard that an approval lifts", Options{Status: alone}, false, settled, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			how := approveBy(tt.options, at)
			how.https = tt.https
			if d := cmp.Diff(tt.want, how.of(tt.report)); d != "" {
				t.Error(d)
			}
		})
	}
}

// hostile holds markup, an escape sequence of a terminal, a line break, and characters that
// change the direction of text or hide something.
const hostile = "<script>alert(1)</script>'\"&\x1b[31m\nx\u202e\u200b"

// TestHostileTextIsInert puts a hostile text into every string of a report, of the Lease and
// of a query. The text must have no effect on the page.
func TestHostileTextIsInert(t *testing.T) {
	r := sample()
	r.Approval = &report.Approval{Lifted: []report.Guard{"x"}}
	fill(reflect.ValueOf(&r).Elem())
	s := NewStatus(hostile, func() string { return hostile })
	s.Record(r)
	standby := NewStatus(hostile, func() string { return hostile })
	standby.SetLeader(false)
	query := "/?user=" + strings.NewReplacer("<", "%3C", "\x1b", "%1b", "\n", "%0a", "&", "%26", "\"", "%22", "\u202e", "%E2%80%AE", "\u200b", "%E2%80%8B").Replace(hostile)
	for _, tt := range []struct {
		name, path string
		status     *Status
	}{{"in a report", "/", s}, {"in a Lease", "/", standby}, {"in a query", query, s}} {
		t.Run(tt.name, func(t *testing.T) {
			_, body, _ := shown(t, Options{Status: tt.status, Explainer: knowing{}}, tt.path)
			if n := strings.Count(body, "<script"); n != 1 {
				t.Errorf("%d scripts, want the page's own", n)
			}
			if want := `&lt;script&gt;alert(1)&lt;/script&gt;`; !strings.Contains(body, want) {
				t.Errorf("the page does not show the name")
			}
			if got := strings.NewReplacer("\n", "", "\t", "").Replace(body); report.Escape(got) != got {
				t.Errorf("the page holds characters that are not shown as themselves")
			}
			if regexp.MustCompile(`\[31m\s*\n`).MatchString(body) {
				t.Errorf("a name begins a line")
			}
		})
	}
}

// fill puts the hostile text into every string inside the value.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(hostile)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && v.Type().Field(i).Name != "Outcome" && v.Type().Field(i).Name != "State" {
				fill(v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			fill(v.Elem())
		}
	}
}

// crowd returns a report of 1,000 groups and 10,000 people. All groups differ, everybody is
// pending, and every group has a guard and an error.
func crowd() report.Report {
	r := sample()
	r.Groups, r.People, r.Guards, r.Errors = nil, nil, nil, nil
	for i := range 1000 {
		name := fmt.Sprintf("group number %04d with a long name", i)
		g := report.Group{Name: name, ID: fmt.Sprint("g", i), From: []string{"/companies/example/departments/" + name}, Withheld: []report.Guard{report.Removals}}
		for j := range 50 {
			g.Remove = append(g.Remove, report.Change{ID: fmt.Sprint(i, j), Name: fmt.Sprintf("Person Number %d of %d", j, i), Email: fmt.Sprintf("person%d.%d@example.com", i, j), Why: "not_member", Outcome: report.Withheld, Guard: report.Removals})
		}
		r.Groups = append(r.Groups, g)
		r.Guards = append(r.Guards, report.Trip{Guard: report.Removals, Group: name, Detail: "50 of its 60 members would be removed: the group's removals are withheld; if they are correct, approve them", Override: "--approve x"})
		r.Errors = append(r.Errors, report.Failure{System: "clearml", Reason: "rejected", Text: "writing the user group " + name + ": ClearML refused the list"})
	}
	for i := range 10000 {
		r.People = append(r.People, report.Person{ID: fmt.Sprint(i), Name: fmt.Sprintf("person.number.%d", i), Side: "keycloak", State: []string{"pending", "ambiguous", "rekeyed"}[i%3]})
	}
	return r
}

// TestTheCrowdFitsThePage checks that the page stays below 300 kB and says how much it leaves
// out.
func TestTheCrowdFitsThePage(t *testing.T) {
	status := busy(crowd())
	began := time.Now()
	_, body, _ := shown(t, Options{Status: status}, "/")
	t.Logf("%d bytes, twice in %s", len(body), time.Since(began))
	if len(body) > 300_000 {
		t.Errorf("%d bytes", len(body))
	}
	for _, want := range []string{
		`<p class="more">960 more in`, `<p class="more">980 more in`, `<p class="more">990 more in`, `<p class="more">40 more in`, `<p class="more">3309 more in`,
		`Drift by group <span class="n">1000</span>`, `id="figure-withheld">50000<`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
}

// TestThePageSaysWhereToRead checks that every named place exists in the documentation, and
// that every guard has one.
func TestThePageSaysWhereToRead(t *testing.T) {
	var places []string
	for _, g := range report.Guards {
		if runbook[g] == "" {
			t.Errorf("the guard %s says nowhere what to do", g)
		}
		places = append(places, runbook[g])
	}
	for _, p := range waiting {
		places = append(places, p.See)
	}
	source, err := os.ReadFile("view.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`docs/[a-z]+\.md, [A-Z][A-Za-z]+`).FindAllString(pageHTML+string(source), -1) {
		if !strings.HasSuffix(m, "What") && !strings.HasSuffix(m, "Who") {
			places = append(places, m)
		}
	}
	if len(places) < 20 {
		t.Errorf("only %d places were found", len(places))
	}
	for _, place := range places {
		file, heading, _ := strings.Cut(place, ", ")
		text, err := os.ReadFile(filepath.Join("..", "..", file))
		if err != nil || !strings.Contains(string(text), "\n## "+heading+"\n") {
			t.Errorf("%s is not there: %v", place, err)
		}
	}
}

// TestThePagesHeaders checks that a browser runs only the page's own script and stores no copy
// of the page.
func TestThePagesHeaders(t *testing.T) {
	_, body, header := shown(t, Options{Status: busy(calm())}, "/")
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(body)[1]
	for key, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; connect-src 'self'; img-src data:; style-src 'sha256-" + hash(style) +
			"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
		"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
		"Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin",
	} {
		if got := header.Get(key); got != want {
			t.Errorf("%s: got %s, want %s", key, got, want)
		}
	}
	if strings.Contains(body, " style=") || regexp.MustCompile(` on[a-z]+=`).MatchString(body) {
		t.Error("the page holds inline style or script, which its policy forbids")
	}
}

// TestThePageExplains checks that the page shows the explanation, or the reason why there is
// none, with the status of the API. The page does not refresh itself then.
func TestThePageExplains(t *testing.T) {
	for _, tt := range []struct {
		name, path string
		explainer  Explainer
		code       int
		want, not  string
	}{
		{"an answer", "/?user=ada&group=team", knowing{}, 200, "  matched by id: ClearML keeps sub 4711\n", `http-equiv="refresh"`},
		{"nobody", "/?user=bob", knowing{}, 404, "no person has the id, username or email &#34;bob&#34;: correct it", `http-equiv="refresh"`},
		{"no question", "/", knowing{}, 200, `http-equiv="refresh"`, `id="answer"`},
		{"nothing that explains", "/?user=ada", nil, 200, `http-equiv="refresh"`, "<form"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, body, _ := shown(t, Options{Status: busy(calm()), Explainer: tt.explainer}, tt.path)
			if code != tt.code || !strings.Contains(body, tt.want) || strings.Contains(body, tt.not) {
				t.Errorf("%d, want %d with %q and without %q\n%s", code, tt.code, tt.want, tt.not, body[strings.Index(body, "</style>"):])
			}
		})
	}
}
