package metrics

import (
	"bytes"
	"flag"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"groupsync/internal/fault"
	"groupsync/internal/memory"
	"groupsync/internal/report"
	"groupsync/internal/transport"
)

var update = flag.Bool("update", false, "write docs/metrics.md")

const docs = "../../docs/metrics.md"

var at = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// full returns a report in which every metric has a value.
func full() report.Report {
	return report.Report{
		Result: report.Guarded, Started: at, Duration: 2,
		Groups: []report.Group{
			{Name: "team", Add: []report.Change{{Outcome: report.Done}, {Outcome: report.Planned}}, Remove: []report.Change{{Outcome: report.Withheld, Guard: report.Removals}, {Outcome: report.Failed}}, Withheld: []report.Guard{report.Removals}},
			{Name: "quiet", OwnView: report.OwnView{Hides: 2, Shows: 1}},
			{Name: "ldap", OwnView: report.OwnView{Hides: 3}},
		},
		Skipped:       []report.Skip{{Name: "x", Why: "no_target"}, {Name: "y", Why: "a remark"}},
		Guards:        []report.Trip{{Guard: report.Removals}},
		Errors:        []report.Failure{{System: "clearml", Reason: "rejected"}},
		Applied:       report.Tally{Added: 1, Failed: 1},
		Users:         map[string]int{"matched": 5, "pending": 1},
		Probes:        []report.Probe{{Federation: "corp", Up: false}},
		PendingOldest: time.Minute.Seconds(), Forgotten: 7,
		Reverted: map[string]int{"add": 2},
		Approval: &report.Approval{By: "operator", Granted: true},
	}
}

func recorded(reports ...report.Report) *Metrics {
	m := New(Options{Sync: "default", Version: "1.2.3", Revision: "abc"}, Settings{Leavers: true, Expiring: func(time.Time) int { return 3 }, Insecure: map[fault.System]bool{fault.ClearML: true}})
	for _, r := range reports {
		m.Record(r)
	}
	return m
}

func text(t *testing.T, m *Metrics) string {
	t.Helper()
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func has(t *testing.T, text string, want ...string) {
	t.Helper()
	lines := strings.Split(text, "\n")
	for _, w := range want {
		if !slices.Contains(lines, w) {
			t.Errorf("no line %s", w)
		}
	}
}

func TestAReportInNumbers(t *testing.T) {
	m := recorded(full())
	m.Observe(fault.Keycloak)(transport.Attempt{Call: "members", Code: 200, Took: time.Millisecond})
	m.Observe(fault.ClearML)(transport.Attempt{Call: "users.get_all", Took: time.Millisecond})
	m.NextPass(at.Add(time.Hour))
	m.Skipped()
	has(t, text(t, m),
		`groupsync_passes_total{result="guarded",sync="default"} 1`,
		`groupsync_passes_total{result="error",sync="default"} 0`,
		`groupsync_passes_skipped_total{sync="default"} 1`,
		`groupsync_pass_duration_seconds_sum{sync="default"} 2`,
		`groupsync_last_pass_timestamp_seconds{sync="default"} 1.795521602e+09`,
		`groupsync_next_pass_timestamp_seconds{sync="default"} 1.7955252e+09`,
		`groupsync_drift_memberships{action="add",sync="default"} 1`,
		`groupsync_drift_memberships{action="remove",sync="default"} 2`,
		`groupsync_group_drift_memberships{action="add",group="team",sync="default"} 1`,
		`groupsync_group_drift_memberships{action="remove",group="team",sync="default"} 2`,
		`groupsync_groups{state="in_sync",sync="default"} 2`,
		`groupsync_groups{state="withheld",sync="default"} 1`,
		`groupsync_groups{state="no_target",sync="default"} 1`,
		`groupsync_groups{state="drift",sync="default"} 0`,
		`groupsync_users{state="matched",sync="default"} 5`,
		`groupsync_users{state="local",sync="default"} 0`,
		`groupsync_pending_oldest_seconds{sync="default"} 60`,
		`groupsync_memory_forgotten_memberships{sync="default"} 7`,
		`groupsync_changes_total{action="add",result="applied",sync="default"} 1`,
		`groupsync_changes_total{action="remove",result="failed",sync="default"} 1`,
		`groupsync_changes_total{action="remove",result="applied",sync="default"} 0`,
		`groupsync_guard_active{guard="removals",sync="default"} 1`,
		`groupsync_guard_active{guard="grace",sync="default"} 0`,
		`groupsync_guard_trips_total{guard="removals",sync="default"} 1`,
		`groupsync_federation_up{federation="corp",sync="default"} 0`,
		`groupsync_errors_total{reason="rejected",sync="default",system="clearml"} 1`,
		`groupsync_errors_total{reason="timeout",sync="default",system="keycloak"} 0`,
		`groupsync_requests_total{code="200",sync="default",system="keycloak"} 1`,
		`groupsync_requests_total{code="none",sync="default",system="clearml"} 1`,
		`groupsync_request_duration_seconds_count{call="members",sync="default",system="keycloak"} 1`,
		`groupsync_reverted_changes_total{action="add",sync="default"} 2`,
		`groupsync_reverted_changes_total{action="remove",sync="default"} 0`,
		`groupsync_own_view_memberships{list="hides",sync="default"} 5`,
		`groupsync_own_view_memberships{list="shows",sync="default"} 1`,
		`groupsync_approvals_total{result="granted",sync="default"} 1`,
		`groupsync_approvals_total{result="refused",sync="default"} 0`,
		`groupsync_leader{sync="default"} 1`,
		`groupsync_apply_enabled{sync="default"} 0`,
		`groupsync_config_last_reload_successful{sync="default"} 1`,
		`groupsync_exceptions_expiring{sync="default"} 3`,
		`groupsync_tls_insecure{sync="default",system="clearml"} 1`,
		`groupsync_tls_insecure{sync="default",system="keycloak"} 0`,
	)
	if got := text(t, m); strings.Contains(got, "groupsync_last_success") || strings.Contains(got, "a remark") {
		t.Errorf("a pass with a failed write counts as a success, or a remark as a state:\n%s", got)
	}
	if strings.Contains(text(t, m), "operator") {
		t.Error("the metrics hold the name of the person who approved")
	}
}

// TestANameForgesNoSample checks that Prometheus reads each hostile name back as the value of
// one label, and finds no sample that a name tries to add.
func TestANameForgesNoSample(t *testing.T) {
	for _, tt := range []struct{ what, name, want string }{
		{"a quote and a brace end no label", `a",action="remove"} 9`, `a",action="remove"} 9`},
		{"a line break begins no sample", "a\ngroupsync_leader{sync=\"default\"} 9\n", "a\ngroupsync_leader{sync=\"default\"} 9\n"},
		{"a backslash escapes nothing", `a\`, `a\`},
		{"a backslash before an n is no line break", `a\nb`, `a\nb`},
		{"a comment is none", "# HELP groupsync_leader x", "# HELP groupsync_leader x"},
		{"an escape sequence is text", "\x1b[2J", "\x1b[2J"},
		{"a direction mark is text", "\u202ea", "\u202ea"},
		{"markup is text", "<script>alert(1)</script>", "<script>alert(1)</script>"},
		{"a formula in a name is text", "=1+1", "=1+1"},
		{"bytes that are not UTF-8 do not fail the page", "a\xff", "a\ufffd"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			r := full()
			r.Groups[0].Name, r.Probes[0].Federation = tt.name, tt.name
			parser := expfmt.NewTextParser(model.UTF8Validation)
			families, err := parser.TextToMetricFamilies(strings.NewReader(text(t, recorded(r))))
			if err != nil {
				t.Fatal(err)
			}
			for family, label := range map[string]string{"groupsync_group_drift_memberships": "group", "groupsync_federation_up": "federation"} {
				var got []string
				for _, sample := range families[family].GetMetric() {
					for _, l := range sample.GetLabel() {
						if l.GetName() == label && !slices.Contains(got, l.GetValue()) {
							got = append(got, l.GetValue())
						}
					}
				}
				if !slices.Equal(got, []string{tt.want}) {
					t.Errorf("%s has the values %q of %s, want %q", family, got, label, tt.want)
				}
			}
			for _, sample := range families["groupsync_leader"].GetMetric() {
				if sample.GetGauge().GetValue() == 9 || sample.GetUntyped().GetValue() == 9 {
					t.Error("a name made a sample of groupsync_leader")
				}
			}
		})
	}
}

func TestAPassWithoutAPlanLeavesWhatTheLastOneFound(t *testing.T) {
	good := full()
	good.Errors, good.Applied = nil, report.Tally{}
	bad := report.Report{Result: report.Error, Started: at.Add(time.Hour), Errors: []report.Failure{{System: "keycloak", Reason: "timeout"}}}
	has(t, text(t, recorded(good, bad)),
		`groupsync_drift_memberships{action="remove",sync="default"} 2`,
		`groupsync_last_success_timestamp_seconds{sync="default"} 1.795521602e+09`,
		`groupsync_last_pass_timestamp_seconds{sync="default"} 1.7955252e+09`,
		`groupsync_errors_total{reason="timeout",sync="default",system="keycloak"} 1`,
	)
	if got := text(t, recorded(good, bad)); strings.Contains(got, "groupsync_federation_up") {
		t.Error("a federation that the last pass did not probe is still shown")
	}
}

func TestBeforeTheFirstPassThereIsNoState(t *testing.T) {
	if got := text(t, recorded()); strings.Contains(got, "groupsync_drift_memberships") || strings.Contains(got, "groupsync_last_pass") {
		t.Errorf("state is shown before the first pass:\n%s", got)
	}
}

// TestAStandbyTellsNothingOfPasses checks that a standby serves no values of passes: when it
// loses the lease, when a pass ends after that, and when it leads again.
func TestAStandbyTellsNothingOfPasses(t *testing.T) {
	m := recorded(full())
	m.NextPass(at)
	m.Leavers(map[string]int{"admin": 1}, at)
	m.SetLeader(false)
	m.Record(full())
	m.NextPass(at)
	m.Leavers(map[string]int{"admin": 1}, at)
	got := text(t, m)
	has(t, got, `groupsync_leader{sync="default"} 0`, `groupsync_passes_total{result="guarded",sync="default"} 2`)
	for _, name := range []string{"drift_memberships", "group_drift_memberships", "groups", "users", "guard_active", "own_view_memberships", "pending_oldest_seconds", "federation_up", "leavers", "leavers_last_success_timestamp_seconds", "last_pass_timestamp_seconds", "last_success_timestamp_seconds", "next_pass_timestamp_seconds"} {
		if strings.Contains(got, "\ngroupsync_"+name+"{") {
			t.Errorf("a standby exports groupsync_%s", name)
		}
	}
	m.SetLeader(true)
	if got := text(t, m); strings.Contains(got, "groupsync_drift_memberships") {
		t.Error("a new leader tells what it found long ago")
	}
	m.Record(full())
	has(t, text(t, m), `groupsync_leader{sync="default"} 1`, `groupsync_drift_memberships{action="add",sync="default"} 1`)
}

// TestLeavers checks that an unknown number has no series. If the configuration does not count
// leavers, no old count is served.
func TestLeavers(t *testing.T) {
	m := recorded(full())
	if got := text(t, m); strings.Contains(got, "groupsync_leavers") {
		t.Error("leavers are told before they were counted")
	}
	m.Leavers(map[string]int{"group": 0, "admin": 2}, at)
	m.Record(full())
	got := text(t, m)
	has(t, got, `groupsync_leavers{holds="admin",sync="default"} 2`, `groupsync_leavers{holds="group",sync="default"} 0`, `groupsync_leavers_last_success_timestamp_seconds{sync="default"} 1.7955216e+09`)
	if strings.Contains(got, `holds="rule"`) {
		t.Error("what is unknown has a series")
	}
	m.Configure(Settings{})
	if got := text(t, m); strings.Contains(got, "groupsync_leavers") {
		t.Error("an old count is told although leavers are not counted any more")
	}
}

func TestAGuardIsActiveAsItsRowSays(t *testing.T) {
	active := func(trip report.Guard, withheld ...report.Guard) string {
		r := report.Report{Guards: []report.Trip{{Guard: trip}}, Groups: []report.Group{{Withheld: withheld}}}
		var names []string
		for _, g := range report.Guards {
			if activeGuards(r)[g] {
				names = append(names, string(g))
			}
		}
		return strings.Join(names, " ")
	}
	for _, tt := range []struct{ name, got, want string }{
		{"a limit that tripped", active(report.Removals, report.Removals), "removals"},
		{"a guard that withholds nothing of a group but needs a person", active(report.Ambiguity), "ambiguous"},
		{"a group that changed and was planned again", active(report.Concurrent), ""},
		{"a group that changed and is withheld", active(report.Concurrent, report.Concurrent), "concurrent"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: active %q, want %q", tt.name, tt.got, tt.want)
		}
	}
}

func TestApprovalsAreCountedByResult(t *testing.T) {
	refused := report.Report{Approval: &report.Approval{Detail: "the plan has changed"}}
	got := text(t, recorded(report.Report{}, refused, full(), refused))
	has(t, got, `groupsync_approvals_total{result="granted",sync="default"} 1`, `groupsync_approvals_total{result="refused",sync="default"} 2`)
	if strings.Contains(got, `system="groupsync"`) {
		t.Error("a refused approval is counted as an error")
	}
}

func TestWhatIsInForceChangesWithTheConfiguration(t *testing.T) {
	m := recorded()
	m.Configure(Settings{Apply: true, Insecure: map[fault.System]bool{fault.Keycloak: true}})
	m.Refused()
	has(t, text(t, m),
		`groupsync_apply_enabled{sync="default"} 1`,
		`groupsync_exceptions_expiring{sync="default"} 0`,
		`groupsync_tls_insecure{sync="default",system="keycloak"} 1`,
		`groupsync_tls_insecure{sync="default",system="clearml"} 0`,
		`groupsync_config_last_reload_successful{sync="default"} 0`,
	)
	m.Configure(Settings{})
	has(t, text(t, m), `groupsync_apply_enabled{sync="default"} 0`, `groupsync_config_last_reload_successful{sync="default"} 1`)
}

func TestASuspensionInNumbers(t *testing.T) {
	m := recorded()
	none := []string{`groupsync_suspended_until_timestamp_seconds{action="add",sync="default"} 0`, `groupsync_suspended_until_timestamp_seconds{action="remove",sync="default"} 0`}
	has(t, text(t, m), none...)
	until := time.Unix(time.Now().Unix()+3600, 0)
	set := memory.Suspension{Until: until, Reason: "a reason", By: "operator"}
	number := strconv.FormatFloat(float64(until.Unix()), 'g', -1, 64)
	m.Suspend(set)
	m.SetLeader(false)
	has(t, text(t, m), `groupsync_suspended_until_timestamp_seconds{action="add",sync="default"} `+number, `groupsync_suspended_until_timestamp_seconds{action="remove",sync="default"} `+number)
	if got := text(t, m); strings.Contains(got, "operator") || strings.Contains(got, "a reason") {
		t.Error("the metrics hold what the person wrote")
	}
	set.RemovalsOnly = true
	m.Suspend(set)
	has(t, text(t, m), `groupsync_suspended_until_timestamp_seconds{action="add",sync="default"} 0`, `groupsync_suspended_until_timestamp_seconds{action="remove",sync="default"} `+number)
	set.Until = time.Now()
	m.Suspend(set) // the suspension has ended
	has(t, text(t, m), none...)
	m.Suspend(memory.Suspension{})
	has(t, text(t, m), none...)
}

func TestTwoFederationsOfOneNameAreOneSeries(t *testing.T) {
	r := full()
	r.Probes = []report.Probe{{Federation: "corp", Up: false}, {Federation: "corp", Up: true}, {Federation: "other", Up: true}, {Federation: "other", Up: true}}
	has(t, text(t, recorded(r)),
		`groupsync_federation_up{federation="corp",sync="default"} 0`,
		`groupsync_federation_up{federation="other",sync="default"} 1`,
	)
}

func TestEveryMetricOfTheCatalogueIsThereAndNoOther(t *testing.T) {
	good := full()
	good.Errors, good.Applied = nil, report.Tally{}
	m := recorded(full(), good)
	m.Observe(fault.Keycloak)(transport.Attempt{})
	m.NextPass(at)
	m.Leavers(map[string]int{"admin": 1}, at)
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range families {
		got[f.GetName()] = strings.ToLower(f.GetType().String())
	}
	want := map[string]string{}
	for _, m := range catalogue {
		want[m.name] = m.kind
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-catalogue +registry\n%s", d)
	}
}

func TestLint(t *testing.T) {
	m := recorded(full())
	m.Observe(fault.Keycloak)(transport.Attempt{})
	var problems []promlint.Problem
	problems, err := testutil.GatherAndLint(m.Gatherer())
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

func TestDocsAreTrue(t *testing.T) {
	var want bytes.Buffer
	if err := WriteDocs(&want); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(docs, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want.String(), string(got)); d != "" {
		t.Errorf("docs/metrics.md is not what the catalogue says; run go test ./internal/metrics -update\n%s", d)
	}
}
