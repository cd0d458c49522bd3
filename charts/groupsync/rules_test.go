// Package groupsync_test compares the chart's alerts and dashboard with what groupsync
// exports. Every query parses, and every metric, label and label value exists. promtool shows
// every alert both firing and silent. Every alert has its section in the runbook.
package groupsync_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"groupsync/internal/fault"
	"groupsync/internal/metrics"
	"groupsync/internal/report"
)

const (
	rulesFile   = "files/rules.yaml"
	casesFiles  = "testdata/*_test.yaml"
	runbookFile = "../../docs/runbook.md"
)

// rule is an alert, or a recording rule.
type rule struct {
	Alert       string            `yaml:"alert"`
	Record      string            `yaml:"record"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func rules(t *testing.T) (all, alerts []rule) {
	t.Helper()
	var f struct {
		Groups []struct {
			Rules []rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	readYAML(t, rulesFile, &f)
	for _, g := range f.Groups {
		for _, r := range g.Rules {
			all = append(all, r)
			if r.Alert != "" {
				alerts = append(alerts, r)
			}
		}
	}
	if len(alerts) == 0 {
		t.Fatal("there is no alert")
	}
	return all, alerts
}

// promtool runs the pinned promtool of tools/ and returns what it prints.
func promtool(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := exec.Command(program(t, "PROMTOOL"), args...).CombinedOutput()
	return string(out), err
}

func TestTheRulesAreLintFree(t *testing.T) {
	if out, err := promtool(t, "check", "rules", "--lint=all", "--lint-fatal", rulesFile); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestTheAlertsFireAndAreSilentAsTheirCasesSay(t *testing.T) {
	if out, err := promtool(t, append([]string{"test", "rules"}, cases(t)...)...); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestEveryAlertHasACaseInWhichItFiresAndOneInWhichItIsSilent: promtool does not notice that
// an alert has no case.
func TestEveryAlertHasACaseInWhichItFiresAndOneInWhichItIsSilent(t *testing.T) {
	_, alerts := rules(t)
	fires, silent := shown(t)
	names := map[string]bool{}
	for _, a := range alerts {
		names[a.Alert] = true
		if !fires[a.Alert] || !silent[a.Alert] {
			t.Errorf("%s: a case in which it fires: %t, one in which it is silent: %t", a.Alert, fires[a.Alert], silent[a.Alert])
		}
	}
	for name := range silent { // an alert that does not exist is silent for the wrong reason
		if !names[name] {
			t.Errorf("%s has a case and is no alert", name)
		}
	}
}

// cases returns the files of promtool's cases.
func cases(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(casesFiles)
	if err != nil || len(files) == 0 {
		t.Fatalf("no case in %s: %v", casesFiles, err)
	}
	return files
}

// shown returns the alerts that a case expects to fire, and those that a case expects to be
// silent.
func shown(t *testing.T) (fires, silent map[string]bool) {
	t.Helper()
	fires, silent = map[string]bool{}, map[string]bool{}
	for _, file := range cases(t) {
		var f struct {
			Tests []struct {
				Cases []struct {
					Alert  string `yaml:"alertname"`
					Alerts []any  `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			} `yaml:"tests"`
		}
		readYAML(t, file, &f)
		for _, test := range f.Tests {
			for _, c := range test.Cases {
				if len(c.Alerts) > 0 {
					fires[c.Alert] = true
				} else {
					silent[c.Alert] = true
				}
			}
		}
	}
	return fires, silent
}

// guardsOf returns the guards that a rule names after this operator.
func guardsOf(r rule, operator string) (named []string) {
	for _, u := range uses(r.Expr) {
		for _, m := range u.matchers {
			if u.metric == "groupsync_guard_active" && m[1] == "guard" && m[2] == operator {
				named = append(named, strings.Split(m[3], "|")...)
			}
		}
	}
	return named
}

// TestTheAlertsKnowEveryGuard: the table of guards says which guards a person must settle. An
// alert on these guards does not wait for hours.
func TestTheAlertsKnowEveryGuard(t *testing.T) {
	_, alerts := rules(t)
	byName := make(map[string]rule)
	for _, a := range alerts {
		byName[a.Alert] = a
	}
	soon := slices.Concat(guardsOf(byName["GroupsyncRemovalsWithheld"], "=~"), guardsOf(byName["GroupsyncGrantsWithheld"], "=~"))
	silent := guardsOf(byName["GroupsyncGuardStuck"], "!~")
	if len(soon) == 0 || len(silent) == 0 {
		t.Fatal("the alerts name no guard")
	}
	own := []report.Guard{report.Federation, report.Canary} // each of these has an alert of its own
	for _, r := range report.Rules {
		name := string(r.Guard)
		if r.Liftable && !r.Waits && !slices.Contains(soon, name) {
			t.Errorf("a person can lift %s, and neither GroupsyncRemovalsWithheld nor GroupsyncGrantsWithheld names it", name)
		}
		if want := r.Waits || slices.Contains(own, r.Guard); slices.Contains(silent, name) != want {
			t.Errorf("GroupsyncGuardStuck leaves %s out: %t, want %t", name, !want, want)
		}
	}
}

// TestAnOwnViewThatDiffersPagesNobody: no alert fires for it, because such a membership is in
// sync.
func TestAnOwnViewThatDiffersPagesNobody(t *testing.T) {
	_, alerts := rules(t)
	for _, a := range alerts {
		if strings.Contains(a.Expr, "groupsync_own_view_memberships") {
			t.Errorf("%s asks for groupsync_own_view_memberships", a.Alert)
		}
	}
}

// TestEveryRuleKeepsTheSyncAndDropsTheInstance: a rule must keep two syncs apart. A restart or
// another replica must not begin a wait anew.
func TestEveryRuleKeepsTheSyncAndDropsTheInstance(t *testing.T) {
	all, _ := rules(t)
	for _, r := range all {
		clauses := grouping.FindAllStringSubmatch(r.Expr, -1)
		if len(clauses) == 0 {
			t.Errorf("%s%s groups by nothing", r.Alert, r.Record)
		}
		for _, c := range clauses {
			if c[2] != "" && !strings.HasPrefix(c[2], "cluster, namespace, job, sync") {
				t.Errorf("%s%s: %s", r.Alert, r.Record, c[0])
			}
		}
	}
}

func TestEveryAlertSaysWhatItIsAndWhereToLook(t *testing.T) {
	_, alerts := rules(t)
	sections := runbook(t)
	seen := map[string]bool{}
	for _, a := range alerts {
		seen[a.Alert] = true
		if !slices.Contains([]string{"critical", "warning", "info"}, a.Labels["severity"]) {
			t.Errorf("%s: severity %q", a.Alert, a.Labels["severity"])
		}
		if !strings.Contains(a.Annotations["summary"], "$labels.sync") {
			t.Errorf("%s: its summary does not say which sync: %q", a.Alert, a.Annotations["summary"])
		}
		if a.Annotations["description"] == "" {
			t.Errorf("%s has no description", a.Alert)
		}
		anchor := "docs/runbook.md#" + strings.ToLower(a.Alert)
		if a.Annotations["runbook_url"] != anchor {
			t.Errorf("%s: runbook_url %q, want %q", a.Alert, a.Annotations["runbook_url"], anchor)
		}
		text, there := sections[a.Alert]
		if !there {
			t.Errorf("docs/runbook.md has no section ## %s", a.Alert)
		}
		for _, part := range []string{"**What it means.**", "**How to look.**", "**How to fix.**"} {
			if there && strings.Count(text, part) != 1 {
				t.Errorf("docs/runbook.md, %s: %d times %s, want once", a.Alert, strings.Count(text, part), part)
			}
		}
		if there && !strings.Contains(text, "`"+a.Labels["severity"]+"`") {
			t.Errorf("docs/runbook.md, %s: its severity `%s` is not there", a.Alert, a.Labels["severity"])
		}
	}
	for name := range sections {
		if strings.HasPrefix(name, "Groupsync") && !seen[name] {
			t.Errorf("docs/runbook.md has a section ## %s, and there is no such alert", name)
		}
	}
}

// runbook returns the runbook's sections by heading.
func runbook(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile(runbookFile)
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, s := range strings.Split(string(data), "\n## ")[1:] {
		heading, text, _ := strings.Cut(s, "\n")
		sections[heading] = text
	}
	return sections
}

var codeSpan = regexp.MustCompile("`([^`\n]*groupsync_[^`\n]*)`")

// runbookExprs returns the code of the runbook that names a metric.
func runbookExprs(t *testing.T) []expression {
	t.Helper()
	var found []expression
	for heading, text := range runbook(t) {
		for _, m := range codeSpan.FindAllStringSubmatch(text, -1) {
			found = append(found, expression{"docs/runbook.md, " + heading, m[1]})
		}
	}
	if len(found) == 0 {
		t.Fatal("the runbook has no query")
	}
	return found
}

// expression is a query and its place.
type expression struct{ where, expr string }

func ruleExprs(t *testing.T) []expression {
	all, _ := rules(t)
	var found []expression
	for _, r := range all {
		found = append(found, expression{"rule " + r.Alert + r.Record, r.Expr})
	}
	return found
}

// filled replaces Grafana's variables, so that promtool can read the query.
var filled = strings.NewReplacer("$namespace", ".*", "$job", ".*", "$sync", "default", "$__rate_interval", "5m")

func TestEveryQueryOfTheDashboardAndTheRunbookParses(t *testing.T) {
	type recorded struct {
		Record string `yaml:"record"`
		Expr   string `yaml:"expr"`
	}
	var list []recorded
	for i, x := range append(dashboardExprs(t), runbookExprs(t)...) {
		list = append(list, recorded{fmt.Sprintf("query:%d", i), x.expr})
	}
	data, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "queries", "rules": list}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "queries.yaml")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := promtool(t, "check", "rules", file)
	if want := fmt.Sprintf("%d rules found", len(list)); err != nil || !strings.Contains(out, want) {
		t.Errorf("want %s; got %v\n%s", want, err, out)
	}
}

// catalogue returns the labels of each metric, from the table that is generated from the
// catalogue of internal/metrics. Every metric has the label sync.
func catalogue(t *testing.T) map[string][]string {
	t.Helper()
	var table bytes.Buffer
	if err := metrics.WriteDocs(&table); err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for _, m := range tableRow.FindAllStringSubmatch(table.String(), -1) {
		labels := []string{"sync"}
		if m[2] == "histogram" {
			labels = append(labels, "le")
		}
		found[m[1]] = append(labels, word.FindAllString(m[3], -1)...)
	}
	if len(found) == 0 {
		t.Fatal("no row of the table of metrics was understood")
	}
	return found
}

var (
	tableRow = regexp.MustCompile("(?m)^\\| `(groupsync_[a-z_]+)` \\| ([a-z]+) \\| ([^|]*) \\|")
	word     = regexp.MustCompile("[a-z_]+")
)

// family returns the name of the histogram for one of its series.
func family(series string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		series = strings.TrimSuffix(series, suffix)
	}
	return series
}

// use is one metric in a query, with its matchers.
type use struct {
	metric   string
	matchers [][]string // each has the whole text, the label, the operator and the value
}

var (
	selector = regexp.MustCompile(`(^|[^:a-z_])(groupsync_[a-z_]+)(\{[^}]*\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
	grouping = regexp.MustCompile(`\b(by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
)

func uses(expr string) []use {
	var found []use
	for _, m := range selector.FindAllStringSubmatch(expr, -1) {
		found = append(found, use{family(m[2]), matcher.FindAllStringSubmatch(m[3], -1)})
	}
	return found
}

// values returns the values of each label that has a closed list of values.
func values() map[string][]string {
	v := map[string][]string{
		"action": {"add", "remove"},
		"system": {string(fault.Keycloak), string(fault.ClearML)},
		"state":  append(append([]string{"in_sync", "drift", "withheld"}, report.SkipStates...), report.UserStates...),
		"result": {string(report.Done), string(report.Failed), "granted", "refused"},
		"list":   {"hides", "shows"},
	}
	for _, g := range report.Guards {
		v["guard"] = append(v["guard"], string(g))
	}
	for _, r := range report.Results {
		v["result"] = append(v["result"], string(r))
	}
	for _, r := range fault.Reasons {
		v["reason"] = append(v["reason"], string(r))
	}
	return v
}

// place are the labels that Prometheus puts on every series.
var place = []string{"cluster", "namespace", "job", "instance"}

func TestEveryQueryAsksForWhatThereIs(t *testing.T) {
	known, closed := catalogue(t), values()
	recorded := map[string]bool{}
	all, _ := rules(t)
	for _, r := range all {
		recorded[r.Record] = true
	}
	for _, x := range slices.Concat(ruleExprs(t), dashboardExprs(t), runbookExprs(t)) {
		for _, problem := range problems(x.expr, known, closed, recorded) {
			t.Errorf("%s: %s", x.where, problem)
		}
	}
}

func TestAQueryForWhatIsNotThereIsSeen(t *testing.T) {
	known, closed := catalogue(t), values()
	for _, row := range []struct{ name, expr, want string }{
		{"a metric that does not exist", `groupsync_leaders`, "groupsync_leaders does not exist"},
		{"a label that the metric does not have", `groupsync_users{action="add"}`, "groupsync_users has no label action"},
		{"a value that the label cannot have", `groupsync_guard_active{guard="removal"}`, `guard is never "removal"`},
		{"an alternative that the label cannot have", `groupsync_guard_active{guard=~"gone|removal"}`, `guard is never "removal"`},
		{"a grouping by a label that no metric of the query has", `sum by (sync, reason) (groupsync_users)`, "no metric of the query has the label reason"},
		{"a recording that does not exist", `sync:groupsync_schedule:max`, "the recording sync:groupsync_schedule:max does not exist"},
		{"no metric at all", `vector(1)`, "asks for no metric of groupsync"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := problems(row.expr, known, closed, nil); !slices.Equal(got, []string{row.want}) {
				t.Errorf("%s\n got %q\nwant %q", row.expr, got, row.want)
			}
		})
	}
}

var recording = regexp.MustCompile(`[a-z_]+:[a-z_]+(:[a-z0-9_]+)?`)

func problems(expr string, known map[string][]string, closed map[string][]string, recorded map[string]bool) (found []string) {
	say := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	labels := slices.Clone(place)
	recordings := recording.FindAllString(expr, -1)
	for _, r := range recordings {
		if !recorded[r] {
			say("the recording %s does not exist", r)
		}
		labels = append(labels, "sync")
	}
	used := uses(expr)
	if len(used)+len(recordings) == 0 {
		say("asks for no metric of groupsync")
	}
	for _, u := range used {
		has, there := known[u.metric]
		if !there {
			say("%s does not exist", u.metric)
			continue
		}
		labels = append(labels, has...)
		for _, m := range u.matchers {
			label, value := m[1], m[3]
			if !slices.Contains(has, label) && !slices.Contains(place, label) {
				say("%s has no label %s", u.metric, label)
				continue
			}
			for _, v := range strings.Split(value, "|") {
				if list, ok := closed[label]; ok && !slices.Contains(list, v) {
					say("%s is never %q", label, v)
				}
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for _, l := range strings.Split(g[2], ",") {
			if l = strings.TrimSpace(l); l != "" && !slices.Contains(labels, l) {
				say("no metric of the query has the label %s", l)
			}
		}
	}
	return found
}
