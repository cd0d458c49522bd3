package groupsync_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write files/dashboard.json")

const dashboardFile = "files/dashboard.json"

// panel is one panel of the dashboard.
type panel struct {
	title   string
	kind    string // stat, timeseries, state-timeline or table
	unit    string // Grafana's
	about   string
	red     float64 // stat: the value from which it is red; 0: never
	queries []query
}

type query struct{ expr, legend string }

// row is a heading with its panels, which share the width evenly.
type row struct {
	title  string
	height int
	panels []panel
}

// dashboard is what files/dashboard.json shows, in groups of one question
// each. Every query keeps to the chosen syncs, and gives one line whatever the
// number of replicas; those of the last row that are about the replicas show
// each.
var dashboard = []row{
	{"Does it follow?", 4, []panel{
		{title: "Since the last success", kind: "stat", unit: "s", about: "Both sides read whole and no write failed. Three schedules are GroupsyncStale.",
			queries: []query{{`time() - max by (sync) (groupsync_last_success_timestamp_seconds{sync=~"$sync"})`, "{{sync}}"}}},
		{title: "Next pass in", kind: "stat", unit: "s", about: "Jitter aside.",
			queries: []query{{`max by (sync) (groupsync_next_pass_timestamp_seconds{sync=~"$sync"}) - time()`, "{{sync}}"}}},
		{title: "Memberships that differ", kind: "stat", unit: "none", red: 1, about: "Left after the last pass that came to a plan.",
			queries: []query{{`sum by (sync) (max by (sync, action) (groupsync_drift_memberships{sync=~"$sync"}))`, "{{sync}}"}}},
		{title: "Guards that withhold", kind: "stat", unit: "none", red: 1, about: "Without grace, which waits by design.",
			queries: []query{{`sum by (sync) (max by (sync, guard) (groupsync_guard_active{sync=~"$sync", guard!="grace"}))`, "{{sync}}"}}},
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
	{"What holds removals back", 8, []panel{
		{title: "Guards", kind: "state-timeline", unit: "none", about: "1 while a guard withholds something.",
			queries: []query{{`max by (sync, guard) (groupsync_guard_active{sync=~"$sync"})`, "{{sync}} {{guard}}"}}},
		{title: "Trips in six hours", kind: "timeseries", unit: "none",
			queries: []query{{`sum by (sync, guard) (increase(groupsync_guard_trips_total{sync=~"$sync"}[6h])) > 0`, "{{sync}} {{guard}}"}}},
		{title: "Federations", kind: "state-timeline", unit: "none", about: "1 where every probe of the last pass was answered; nothing where none was needed.",
			queries: []query{{`min by (sync, federation) (groupsync_federation_up{sync=~"$sync"})`, "{{sync}} {{federation}}"}}},
	}},
	{"Groups and people", 8, []panel{
		{title: "Groups by state", kind: "timeseries", unit: "none",
			queries: []query{{`max by (sync, state) (groupsync_groups{sync=~"$sync"})`, "{{sync}} {{state}}"}}},
		{title: "People by state", kind: "timeseries", unit: "none",
			queries: []query{{`max by (sync, state) (groupsync_users{sync=~"$sync"}) > 0`, "{{sync}} {{state}}"}}},
		{title: "Longest without a ClearML account", kind: "timeseries", unit: "s",
			queries: []query{{`max by (sync) (groupsync_pending_oldest_seconds{sync=~"$sync"})`, "{{sync}}"}}},
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

type object = map[string]any

var datasource = object{"type": "prometheus", "uid": "${datasource}"}

func (p panel) json(id, x, y, w, h int) object {
	targets := []object{}
	for i, q := range p.queries {
		t := object{"refId": string(rune('A' + i)), "datasource": datasource, "editorMode": "code", "expr": q.expr, "legendFormat": q.legend}
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

// render returns the dashboard in Grafana's form, the same bytes each time.
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
			{"name": "sync", "label": "Sync", "type": "query", "datasource": datasource, "query": "label_values(groupsync_build_info, sync)",
				"refresh": 2, "sort": 1, "multi": true, "includeAll": true, "current": object{"text": "All", "value": "$__all"}},
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

func TestTheDashboardShowsEveryMetricOfTheChosenSyncs(t *testing.T) {
	shown := make(map[string]bool)
	for _, x := range dashboardExprs(t) {
		for _, u := range uses(x.expr) {
			shown[u.metric] = true
		}
	}
	for _, r := range dashboard {
		for _, p := range r.panels {
			for _, q := range p.queries {
				if strings.Count(q.expr, `sync=~"$sync"`) != len(uses(q.expr)) {
					t.Errorf("panel %q does not keep to the chosen syncs: %s", p.title, q.expr)
				}
			}
		}
	}
	for name := range catalogue(t) {
		if !shown[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
}

// dashboardExprs returns the queries of the file, not of the code, with
// Grafana's variables as it would fill them in.
func dashboardExprs(t *testing.T) []expression {
	t.Helper()
	data, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	var found []expression
	for _, p := range d.Panels {
		for i, target := range p.Targets {
			found = append(found, expression{fmt.Sprintf("panel %q, query %d", p.Title, i+1), filled.Replace(target.Expr)})
		}
	}
	if len(found) == 0 {
		t.Fatal("the dashboard has no query")
	}
	return found
}
