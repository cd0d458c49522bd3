package groupsync_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write files/dashboard.json")

const dashboardFile = "files/dashboard.json"

// panel is one panel of the dashboard.
type panel struct {
	title   string
	kind    string // stat, timeseries, state-timeline or table
	unit    string // in Grafana's terms
	about   string
	red     float64 // stat: the value from which the panel is red; 0: never
	queries []query
}

type query struct{ expr, legend string }

// row is a heading with its panels, which share the width evenly.
type row struct {
	title  string
	height int
	panels []panel
}

// dashboard is what files/dashboard.json shows. Each group answers one question. Every query
// selects the chosen syncs, and gives one line for any number of replicas. Only the queries of
// the last row that are about the replicas show each replica. Here the query names a sync by
// its label sync. inPlace adds the other labels.
var dashboard = []row{
	{"Does it follow?", 4, []panel{
		{title: "Since the last success", kind: "stat", unit: "s", about: "Both sides read whole and no write failed. Three schedules are GroupsyncStale.",
			queries: []query{{`time() - max by (sync) (groupsync_last_success_timestamp_seconds{sync=~"$sync"})`, "{{sync}}"}}},
		{title: "Next pass in", kind: "stat", unit: "s", about: "Jitter aside.",
			queries: []query{{`max by (sync) (groupsync_next_pass_timestamp_seconds{sync=~"$sync"}) - time()`, "{{sync}}"}}},
		{title: "Memberships that differ", kind: "stat", unit: "none", red: 1, about: "Left after the last pass that came to a plan.",
			queries: []query{{`sum by (sync) (max by (sync, action) (groupsync_drift_memberships{sync=~"$sync"}))`, "{{sync}}"}}},
		{title: "Guards that withhold", kind: "stat", unit: "none", red: 1, about: "Without grace, which waits by design, and suspended, which a person wanted.",
			queries: []query{{`sum by (sync) (max by (sync, guard) (groupsync_guard_active{sync=~"$sync", guard!~"grace|suspended"}))`, "{{sync}}"}}},
		{title: "Leaders", kind: "stat", unit: "none", red: 2, about: "Processes that make passes. 1 is right; 0 is GroupsyncNoLeader, 2 are GroupsyncTwoLeaders.",
			queries: []query{{`sum by (sync) (groupsync_leader{sync=~"$sync"})`, "{{sync}}"}}},
		{title: "Unverified certificates", kind: "stat", unit: "none", red: 1, about: "Sides with insecure_skip_verify.",
			queries: []query{{`sum by (sync) (max by (sync, system) (groupsync_tls_insecure{sync=~"$sync"}))`, "{{sync}}"}}},
	}},
	{"Passes", 8, []panel{
		{title: "Passes in an hour, by result", kind: "timeseries", unit: "none",
			queries: []query{{`sum by (sync, result) (increase(groupsync_passes_total{sync=~"$sync"}[1h]))`, "{{sync}} {{result}}"}, {`sum by (sync) (increase(groupsync_passes_skipped_total{sync=~"$sync"}[1h]))`, "{{sync}} skipped"}}},
		{title: "How long they take", kind: "timeseries", unit: "s",
			queries: []query{{`histogram_quantile(0.95, sum by (sync, le) (increase(groupsync_pass_duration_seconds_bucket{sync=~"$sync"}[6h])))`, "{{sync}} 95 %"}, {`sum by (sync) (increase(groupsync_pass_duration_seconds_sum{sync=~"$sync"}[6h])) / sum by (sync) (increase(groupsync_pass_duration_seconds_count{sync=~"$sync"}[6h]))`, "{{sync}} mean"}}},
		{title: "When passes ended", kind: "timeseries", unit: "s", about: "A line that climbs is a side that cannot be read, or a pass that hangs.",
			queries: []query{{`time() - max by (sync) (groupsync_last_pass_timestamp_seconds{sync=~"$sync"})`, "{{sync}} any pass"}, {`time() - max by (sync) (groupsync_last_success_timestamp_seconds{sync=~"$sync"})`, "{{sync}} success"}}},
	}},
	{"Drift and changes", 8, []panel{
		{title: "Memberships that differ", kind: "timeseries", unit: "none",
			queries: []query{{`max by (sync, action) (groupsync_drift_memberships{sync=~"$sync"})`, "{{sync}} {{action}}"}}},
		{title: "Ten groups that differ most", kind: "timeseries", unit: "none",
			queries: []query{{`topk(10, max by (sync, group, action) (groupsync_group_drift_memberships{sync=~"$sync"}))`, "{{sync}} {{group}} {{action}}"}}},
		{title: "Undone by somebody else in an hour", kind: "timeseries", unit: "none", about: "Changes that were made, undone, and wanted again: the per-login sync, or a person, thinks otherwise.",
			queries: []query{{`sum by (sync, action) (increase(groupsync_reverted_changes_total{sync=~"$sync"}[1h]))`, "{{sync}} {{action}}"}}},
		{title: "Changes written in an hour", kind: "timeseries", unit: "none",
			queries: []query{{`sum by (sync, action, result) (increase(groupsync_changes_total{sync=~"$sync"}[1h]))`, "{{sync}} {{action}} {{result}}"}}},
	}},
	{"What holds changes back", 8, []panel{
		{title: "Guards", kind: "state-timeline", unit: "none", about: "1 while a guard withholds or reports something.",
			queries: []query{{`max by (sync, guard) (groupsync_guard_active{sync=~"$sync"})`, "{{sync}} {{guard}}"}}},
		{title: "Trips in six hours", kind: "timeseries", unit: "none",
			queries: []query{{`sum by (sync, guard) (increase(groupsync_guard_trips_total{sync=~"$sync"}[6h])) > 0`, "{{sync}} {{guard}}"}}},
		{title: "Federations", kind: "state-timeline", unit: "none", about: "1 if the federation answered every probe of the last pass; nothing if the pass needed no probe.",
			queries: []query{{`min by (sync, federation) (groupsync_federation_up{sync=~"$sync"})`, "{{sync}} {{federation}}"}}},
		{title: "Approvals in a day", kind: "timeseries", unit: "none", about: "granted: a person lifted guards for exactly the changes of one digest. refused: the digest was not that of the plan.",
			queries: []query{{`sum by (sync, result) (increase(groupsync_approvals_total{sync=~"$sync"}[1d]))`, "{{sync}} {{result}}"}}},
		{title: "Writing is suspended for another", kind: "timeseries", unit: "s", about: "Until the suspension ends that a person has set, by action; 0 if none is in force. After a day it is GroupsyncSuspended.",
			queries: []query{{`clamp_min(max by (sync, action) (groupsync_suspended_until_timestamp_seconds{sync=~"$sync"}) - time(), 0)`, "{{sync}} {{action}}"}}},
	}},
	{"Groups and people", 8, []panel{
		{title: "Groups by state", kind: "timeseries", unit: "none",
			queries: []query{{`max by (sync, state) (groupsync_groups{sync=~"$sync"})`, "{{sync}} {{state}}"}}},
		{title: "People by state", kind: "timeseries", unit: "none", about: "The people who matter to the pass: members of user groups that something feeds, and Keycloak members of what feeds them. Not the whole realm.",
			queries: []query{{`max by (sync, state) (groupsync_users{sync=~"$sync"}) > 0`, "{{sync}} {{state}}"}}},
		{title: "Longest without a ClearML account", kind: "timeseries", unit: "s",
			queries: []query{{`max by (sync) (groupsync_pending_oldest_seconds{sync=~"$sync"})`, "{{sync}}"}}},
		{title: "Where Keycloak's lists are wrong", kind: "timeseries", unit: "none", about: "Memberships that a group's member list hides or wrongly shows. The person's own groups count, so nothing is wrong in ClearML.",
			queries: []query{{`max by (sync, list) (groupsync_own_view_memberships{sync=~"$sync"})`, "{{sync}} {{list}}"}}},
		{title: "Administrators by one sign only", kind: "timeseries", unit: "none", about: "ClearML users whose role and membership of Admins disagree. The report names them.",
			queries: []query{{`max by (sync) (groupsync_admin_mismatch{sync=~"$sync"})`, "{{sync}}"}}},
		{title: "Exceptions that end within 7 days", kind: "timeseries", unit: "none", about: "Entries of users.protect that still keep memberships. groupsync check names them.",
			queries: []query{{`max by (sync) (groupsync_exceptions_expiring{sync=~"$sync"})`, "{{sync}}"}}},
		{title: "Memberships that the guards forgot", kind: "timeseries", unit: "none", about: "Federated memberships for which the ConfigMap of the guards' memory has no place. The guard `fall` withholds removals of federated people from their user groups until they are approved.",
			queries: []query{{`max by (sync) (groupsync_memory_forgotten_memberships{sync=~"$sync"})`, "{{sync}}"}}},
	}},
	{"Leavers", 8, []panel{
		{title: "Leavers who still hold something", kind: "timeseries", unit: "none", about: "People who are disabled or gone in Keycloak, by what they hold in ClearML. groupsync leavers names them. No line: it is not known, or not counted.",
			queries: []query{{`max by (sync, holds) (groupsync_leavers{sync=~"$sync"})`, "{{sync}} {{holds}}"}}},
		{title: "Since leavers were counted", kind: "timeseries", unit: "s", about: "Counted every leavers.interval. A line that climbs beyond that is a count that fails.",
			queries: []query{{`time() - max by (sync) (groupsync_leavers_last_success_timestamp_seconds{sync=~"$sync"})`, "{{sync}}"}}},
	}},
	{"The two sides", 8, []panel{
		{title: "Errors in an hour", kind: "timeseries", unit: "none",
			queries: []query{{`sum by (sync, system, reason) (increase(groupsync_errors_total{sync=~"$sync"}[1h])) > 0`, "{{sync}} {{system}} {{reason}}"}}},
		{title: "Requests", kind: "timeseries", unit: "reqps", about: "Retries included; code none: no answer came. Probes are 404 when all is well.",
			queries: []query{{`sum by (sync, system, code) (rate(groupsync_requests_total{sync=~"$sync"}[$__rate_interval]))`, "{{sync}} {{system}} {{code}}"}}},
		{title: "Until the answer, 95 % by call", kind: "timeseries", unit: "s",
			queries: []query{{`histogram_quantile(0.95, sum by (sync, system, call, le) (increase(groupsync_request_duration_seconds_bucket{sync=~"$sync"}[1h])))`, "{{sync}} {{system}} {{call}}"}}},
	}},
	{"What runs", 7, []panel{
		{title: "Who leads", kind: "state-timeline", unit: "none", about: "1 on the process that makes the passes, 0 on its standbys.",
			queries: []query{{`max by (sync, instance) (groupsync_leader{sync=~"$sync"})`, "{{sync}} {{instance}}"}}},
		{title: "Schedules that write", kind: "state-timeline", unit: "none", about: "1 with mode: apply, 0 with mode: observe; the leader's.",
			queries: []query{{`max by (sync) (groupsync_apply_enabled{sync=~"$sync"} and groupsync_leader{sync=~"$sync"} == 1)`, "{{sync}}"}}},
		{title: "Configuration in force", kind: "state-timeline", unit: "none", about: "1 where it is the one that was loaded last, 0 where that was refused.",
			queries: []query{{`min by (sync, instance) (groupsync_config_last_reload_successful{sync=~"$sync"})`, "{{sync}} {{instance}}"}}},
		{title: "Versions", kind: "table", unit: "none",
			queries: []query{{`count by (sync, version, revision, goversion) (groupsync_build_info{sync=~"$sync"})`, ""}}},
	}},
}

// inPlace keeps syncs of the same name apart, by the same labels as the rules. Two Helm
// releases have syncs of the same name unless somebody renames one.
var inPlace = strings.NewReplacer(
	"by (sync", "by (cluster, namespace, job, sync",
	`sync=~"$sync"`, `namespace=~"$namespace", job=~"$job", sync=~"$sync"`,
)

// legend tells apart what inPlace keeps apart. Grafana shows nothing for a missing label, so
// the labels that can be missing come last.
func legend(short string) string {
	if short == "" {
		return ""
	}
	return short + ", {{job}} {{namespace}} {{cluster}}"
}

type object = map[string]any

var datasource = object{"type": "prometheus", "uid": "${datasource}"}

func (p panel) json(id, x, y, w, h int) object {
	targets := []object{}
	for i, q := range p.queries {
		t := object{"refId": string(rune('A' + i)), "datasource": datasource, "editorMode": "code", "expr": inPlace.Replace(q.expr), "legendFormat": legend(q.legend)}
		if p.kind == "stat" || p.kind == "table" {
			t["instant"] = true
		}
		if p.kind == "table" {
			t["format"] = "table"
		}
		targets = append(targets, t)
	}
	steps := []object{{"color": "green", "value": nil}}
	if p.red > 0 {
		steps = append(steps, object{"color": "red", "value": p.red})
	}
	return object{
		"id": id, "type": p.kind, "title": p.title, "description": p.about, "datasource": datasource,
		"gridPos": object{"x": x, "y": y, "w": w, "h": h}, "targets": targets,
		"fieldConfig": object{"defaults": object{"unit": p.unit, "thresholds": object{"mode": "absolute", "steps": steps}}, "overrides": []object{}},
	}
}

// variable is a choice of any number of a label's values. "All" also matches series without
// the label, which a list of the existing values would not. If no series has the label, "All"
// is the only choice.
func variable(name, title, query string) object {
	return object{
		"name": name, "label": title, "type": "query", "datasource": datasource, "query": query, "refresh": 2, "sort": 1,
		"multi": true, "includeAll": true, "allValue": ".*", "current": object{"text": "All", "value": "$__all"},
	}
}

// render returns the dashboard as JSON for Grafana. The bytes are the same each time.
func render(rows []row) ([]byte, error) {
	panels, y, id := []object{}, 0, 0
	for _, r := range rows {
		id++
		panels = append(panels, object{"id": id, "type": "row", "title": r.title, "collapsed": false, "panels": []object{}, "gridPos": object{"x": 0, "y": y, "w": 24, "h": 1}})
		for i, p := range r.panels {
			id++
			left, right := 24*i/len(r.panels), 24*(i+1)/len(r.panels)
			panels = append(panels, p.json(id, left, y+1, right-left, r.height))
		}
		y += 1 + r.height
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(object{
		"uid": "groupsync", "title": "groupsync", "tags": []string{"groupsync"}, "schemaVersion": 39, "version": 1,
		"editable": true, "refresh": "1m", "timezone": "browser", "time": object{"from": "now-24h", "to": "now"},
		"templating": object{"list": []object{
			{"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
			variable("namespace", "Namespace", `label_values(groupsync_build_info, namespace)`),
			variable("job", "Job", `label_values(groupsync_build_info{namespace=~"$namespace"}, job)`),
			variable("sync", "Sync", `label_values(groupsync_build_info{namespace=~"$namespace", job=~"$job"}, sync)`),
		}},
		"panels": panels,
	})
	return b.Bytes(), err
}

func TestTheDashboardIsWhatTheCodeSays(t *testing.T) {
	want, err := render(dashboard)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(dashboardFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s is not what dashboard_test.go says; run go test ./charts/groupsync -update\n%s", dashboardFile, d)
	}
}

func TestTheDashboardShowsEveryMetric(t *testing.T) {
	shown := make(map[string]bool)
	for _, x := range dashboardExprs(t) {
		for _, u := range uses(x.expr) {
			shown[u.metric] = true
		}
	}
	for name := range catalogue(t) {
		if !shown[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
}

// TestEveryQueryOfTheDashboardKeepsReleasesApart: two Helm releases can have syncs of the same
// name.
func TestEveryQueryOfTheDashboardKeepsReleasesApart(t *testing.T) {
	for _, q := range shownQueries(t) {
		for _, problem := range merged(q.expr) {
			t.Errorf("%s: %s: %s", q.where, problem, q.expr)
		}
		for _, l := range syncLabels {
			if q.legend != "" && !strings.Contains(q.legend, "{{"+l+"}}") { // a table has no legend, but a column for each label
				t.Errorf("%s: its legend %q does not say the %s", q.where, q.legend, l)
			}
		}
	}
}

func TestAQueryThatMergesReleasesIsSeen(t *testing.T) {
	const chosen = `{namespace=~"$namespace", job=~"$job", sync=~"$sync"}`
	for _, row := range []struct {
		name, expr string
		want       []string
	}{
		{"one that does not", `sum by (cluster, namespace, job, sync) (groupsync_leader` + chosen + `)`, nil},
		{"a selector by nothing", `groupsync_leader`, []string{"groupsync_leader is not kept to $namespace", "groupsync_leader is not kept to $job", "groupsync_leader is not kept to $sync"}},
		{"a selector of all namespaces", `groupsync_leader{job=~"$job", sync=~"$sync"}`, []string{"groupsync_leader is not kept to $namespace"}},
		{"a choice of several taken as one", `groupsync_leader{namespace=~"$namespace", job="$job", sync=~"$sync"}`, []string{"groupsync_leader is not kept to $job"}},
		{"the second of two selectors", `groupsync_leader` + chosen + ` and groupsync_apply_enabled{namespace=~"$namespace", job=~"$job"}`, []string{"groupsync_apply_enabled is not kept to $sync"}},
		{"a grouping by the sync alone", `max by (sync) (groupsync_leader` + chosen + `)`, []string{"by (sync) does not name cluster", "by (sync) does not name namespace", "by (sync) does not name job"}},
		{"the outer of two groupings", `sum by (cluster, job, sync) (max by (cluster, namespace, job, sync) (groupsync_leader` + chosen + `))`, []string{"by (cluster, job, sync) does not name namespace"}},
		{"no grouping", `max(groupsync_leader` + chosen + `)`, []string{"max( groups by nothing"}},
		{"a grouping without", `sum without (instance, job) (groupsync_leader` + chosen + `)`, []string{"without (instance, job) drops job"}},
		{"sides matched by the sync alone", `groupsync_leader` + chosen + ` * on (cluster, job, sync) groupsync_leader` + chosen, []string{"on (cluster, job, sync) does not name namespace"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if d := cmp.Diff(row.want, merged(row.expr)); d != "" {
				t.Errorf("%s\n%s", row.expr, d)
			}
		})
	}
}

// syncLabels tell one sync from all others, as in the rules.
var syncLabels = []string{"cluster", "namespace", "job", "sync"}

// ungrouped matches an aggregation over everything. topk is none, because it keeps every
// label.
var ungrouped = regexp.MustCompile(`\b(sum|min|max|avg|group|count|count_values|quantile|stddev|stdvar)\s*\(`)

// merged returns what makes a query show syncs that were not chosen, or show several syncs as
// one.
func merged(expr string) (found []string) {
	say := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	for _, u := range uses(expr) {
		for _, l := range []string{"namespace", "job", "sync"} {
			if !slices.ContainsFunc(u.matchers, func(m []string) bool { return m[1] == l && m[2] == "=~" && m[3] == "$"+l }) {
				say("%s is not kept to $%s", u.metric, l)
			}
		}
	}
	for _, m := range ungrouped.FindAllString(expr, -1) {
		say("%s groups by nothing", m)
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for _, l := range syncLabels {
			named := slices.Contains(word.FindAllString(g[2], -1), l)
			switch g[1] {
			case "by", "on":
				if !named {
					say("%s does not name %s", g[0], l)
				}
			case "without", "ignoring":
				if named {
					say("%s drops %s", g[0], l)
				}
			}
		}
	}
	return found
}

// TestTheDashboardShowsEachReleaseOnce: Prometheus itself counts the results of each query.
// The releases have all labels but one in common, and one release has no namespace label.
func TestTheDashboardShowsEachReleaseOnce(t *testing.T) {
	type sample struct {
		Labels string `yaml:"labels"`
		Value  int    `yaml:"value"`
	}
	type evaluation struct {
		Expr    string   `yaml:"expr"`
		Time    string   `yaml:"eval_time"`
		Samples []sample `yaml:"exp_samples"`
	}
	var evaluations []evaluation
	all := allValues(t)
	for _, choice := range []struct {
		namespace, job, sync string
		want                 int
	}{
		{all["namespace"], all["job"], all["sync"], 5},
		{"a", all["job"], all["sync"], 3},
		{"(a|b)", "groupsync", "default", 3},
	} {
		fill := strings.NewReplacer("$namespace", choice.namespace, "$job", choice.job, "$sync", choice.sync, "$__rate_interval", "5m")
		for _, q := range shownQueries(t) {
			evaluations = append(evaluations, evaluation{"count(" + fill.Replace(q.expr) + ")", "1h", []sample{{"{}", choice.want}}})
		}
	}
	data, err := yaml.Marshal(map[string]any{"tests": []any{map[string]any{"interval": "1m", "input_series": ofReleases(t), "promql_expr_test": evaluations}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "releases_test.yaml")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := promtool(t, "test", "rules", file); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// series is a metric in the notation of promtool.
type series struct {
	Series string `yaml:"series"`
	Values string `yaml:"values"`
}

// ofReleases returns every metric of five releases whose syncs have the same name.
func ofReleases(t *testing.T) (input []series) {
	t.Helper()
	closed := values()
	for name, labels := range catalogue(t) {
		own, suffixes, rise := "", []string{""}, "1+0x60"
		if strings.HasSuffix(name, "_total") {
			rise = "0+1x60"
		}
		for _, l := range labels {
			value := "some"
			switch {
			case l == "le":
				value, suffixes, rise = "+Inf", []string{"_bucket", "_sum", "_count"}, "0+1x60"
			case l == "sync":
				value = "default"
			case len(closed[l]) > 0:
				value = closed[l][len(closed[l])-1] // queries leave out the guards suspended and grace
			}
			own += fmt.Sprintf("%s=%q, ", l, value)
		}
		for _, release := range []string{
			`namespace="a", job="groupsync"`,
			`namespace="b", job="groupsync"`,
			`namespace="a", job="another"`,
			`namespace="a", job="groupsync", cluster="other"`,
			`job="groupsync"`,
		} {
			for _, suffix := range suffixes {
				input = append(input, series{name + suffix + "{" + own + release + "}", rise})
			}
		}
	}
	return input
}

// shownQuery is a query of the file and its place.
type shownQuery struct{ where, expr, legend string }

// shownQueries returns the queries of the file, not of the code.
func shownQueries(t *testing.T) []shownQuery {
	t.Helper()
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	readDashboard(t, &d)
	var found []shownQuery
	for _, p := range d.Panels {
		for i, target := range p.Targets {
			found = append(found, shownQuery{fmt.Sprintf("panel %q, query %d", p.Title, i+1), target.Expr, target.LegendFormat})
		}
	}
	if len(found) == 0 {
		t.Fatal("the dashboard has no query")
	}
	return found
}

// allValues returns the values of the file's variables when All is chosen.
func allValues(t *testing.T) map[string]string {
	t.Helper()
	var d struct {
		Templating struct {
			List []struct{ Name, AllValue string }
		}
	}
	readDashboard(t, &d)
	found := map[string]string{}
	for _, v := range d.Templating.List {
		found[v.Name] = v.AllValue
	}
	return found
}

func readDashboard(t *testing.T, into any) {
	t.Helper()
	data, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

// dashboardExprs returns the queries with the variables replaced, as Grafana does.
func dashboardExprs(t *testing.T) []expression {
	t.Helper()
	var found []expression
	for _, q := range shownQueries(t) {
		found = append(found, expression{q.where, filled.Replace(q.expr)})
	}
	return found
}
