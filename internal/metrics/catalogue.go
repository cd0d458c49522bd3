package metrics

import (
	"fmt"
	"io"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// metric is one entry of the catalogue: the metric and its row in docs/metrics.md.
type metric struct {
	name   string
	kind   string // counter, gauge or histogram
	labels []string
	help   string
}

var catalogue []*metric

func define(name, kind, help string, labels ...string) *metric {
	m := &metric{name: "groupsync_" + name, kind: kind, labels: labels, help: help}
	catalogue = append(catalogue, m)
	return m
}

// All metrics. Every metric has the label sync, and none has a person's name.
var (
	passDuration    = define("pass_duration_seconds", "histogram", "Duration of passes.")
	passesTotal     = define("passes_total", "counter", "Passes by result: in_sync, drift, applied, guarded or error.", "result")
	passesSkipped   = define("passes_skipped_total", "counter", "Ticks of the schedule that found a whole pass still running, or waiting to run.")
	lastPass        = define("last_pass_timestamp_seconds", "gauge", "When the last pass ended.")
	lastSuccess     = define("last_success_timestamp_seconds", "gauge", "When the last successful pass ended: both sides were read completely, no write failed, and no canary changed more or less than groupsync sent.")
	nextPass        = define("next_pass_timestamp_seconds", "gauge", "When the next pass is due, without jitter.")
	drift           = define("drift_memberships", "gauge", "Memberships still to add or to remove after the last pass that had a plan, even if the pass may not write them.", "action")
	groupDrift      = define("group_drift_memberships", "gauge", "Memberships still to add or to remove in a user group after the last pass that had a plan, even if the pass may not write them. A group without drift has no series.", "group", "action")
	groups          = define("groups", "gauge", "Groups by state. User groups that have a source: in_sync, drift or withheld. Keycloak groups that feed nothing: no_target (no user group has the name), builtin (named as a built-in group of ClearML) or excluded (by the configuration). Other groups of ClearML: no_source (nothing feeds it), builtin, not_assignable (ClearML lets nobody change the members) or duplicate (several groups have the name).", "state")
	users           = define("users", "gauge", "People by state: matched, pending, and the reasons why a person keeps every membership. It counts the people who matter to the pass (members of user groups that have a source, and members of the sources), not every account of the realm.", "state")
	pendingOldest   = define("pending_oldest_seconds", "gauge", "Longest time that a pending account has waited. A pending account belongs in a user group, and has no ClearML user yet.")
	forgotten       = define("memory_forgotten_memberships", "gauge", "Federated memberships for which the guards' memory has no space, because the ConfigMap is full. The guard `fall` withholds removals of federated people from their user groups until a person approves the removals.")
	ownView         = define("own_view_memberships", "gauge", "Memberships in which a Keycloak group's member list and the person's own groups disagree: the list hides a member, or shows a person whose token lacks the group. The person's own groups count, so this is no drift.", "list")
	adminMismatch   = define("admin_mismatch", "gauge", "ClearML users whose role and membership of Admins disagree. 0 if administrators are not managed.")
	leavers         = define("leavers", "gauge", "People who are disabled or gone in Keycloak, by what they still hold in ClearML: group (a user group), admin (the role or the group of administrators), rule (an access rule that names the person) or recent_use (the UI or API keys were used within 30 days). Counted every leavers.interval. A series is absent while groupsync cannot tell whether any leaver holds that.", "holds")
	leaversSuccess  = define("leavers_last_success_timestamp_seconds", "gauge", "When leavers were last counted. If a count fails, the previous count stays.")
	approvals       = define("approvals_total", "counter", "Approvals of passes by result: granted, or refused because the digest was not the digest of the plan.", "result")
	changesTotal    = define("changes_total", "counter", "Membership changes that were written, by result: applied or failed.", "action", "result")
	guardActive     = define("guard_active", "gauge", "1 while a guard withholds something, or reports something that needs a decision by a person.", "guard")
	guardTrips      = define("guard_trips_total", "counter", "How often a guard tripped. Each group in which a guard withholds something counts once a pass. The guard `concurrent` also counts a group whose members somebody else changed during the pass, even if it withholds nothing there.", "guard")
	federationUp    = define("federation_up", "gauge", "1 if a federation answered every probe of the last pass, else 0. A pass probes a federation only if it confirms a change of that federation's people.", "federation")
	errorsTotal     = define("errors_total", "counter", "Errors of passes by side and reason: auth, forbidden, not_found, timeout, connection, server, shape, incomplete or rejected; of groupsync itself: config, internal, or journal (a report that was not stored).", "system", "reason")
	requestsTotal   = define("requests_total", "counter", "Requests sent, with retries, by status code; `none` if no answer came.", "system", "code")
	requestDuration = define("request_duration_seconds", "histogram", "Duration of requests until the header of the answer, by call.", "system", "call")
	reverted        = define("reverted_changes_total", "counter", "Changes that somebody else undid: groupsync made the last change of the membership, and the first pass that finds the change undone proposes it again. If state_dir keeps a journal, changes of earlier processes count too.", "action")
	leader          = define("leader", "gauge", "1 if this process makes the passes: it holds the Lease, or there is no Lease. 0 on a standby. A standby exports no metrics of passes, groups, users and guards.")
	suspendedUntil  = define("suspended_until_timestamp_seconds", "gauge", "When the suspension ends; 0 if none is in force. If only removals are suspended, the action `add` stays at 0. A standby exports this metric too.", "action")
	applyEnabled    = define("apply_enabled", "gauge", "1 if scheduled passes write (mode: apply), 0 if they only observe (mode: observe).")
	reloadOK        = define("config_last_reload_successful", "gauge", "1 if the last loaded configuration is in force; 0 if it was refused and the previous configuration stays in force.")
	expiringSoon    = define("exceptions_expiring", "gauge", "Exceptions of users.protect that end within 7 days. They still keep memberships.")
	tlsInsecure     = define("tls_insecure", "gauge", "1 if groupsync does not verify the certificate of a side.", "system")
	buildInfo       = define("build_info", "gauge", "Always 1. The labels describe the program.", "version", "revision", "goversion")
)

func (m *metric) desc() *prometheus.Desc {
	return prometheus.NewDesc(m.name, m.help, m.labels, nil)
}

// gauge returns a gauge with the value v. It replaces bytes in labels that are not UTF-8. The
// Prometheus library would panic because of such bytes, in a goroutine of its own, and that would
// end the process.
func (m *metric) gauge(v float64, labels ...string) prometheus.Metric {
	for i, l := range labels {
		labels[i] = strings.ToValidUTF8(l, "\ufffd")
	}
	return prometheus.MustNewConstMetric(m.desc(), prometheus.GaugeValue, v, labels...)
}

func (m *metric) counter() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.name, Help: m.help}, m.labels)
}

func (m *metric) histogram(buckets []float64) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: m.name, Help: m.help, Buckets: buckets}, m.labels)
}

// WriteDocs writes the table of docs/metrics.md.
func WriteDocs(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# Metrics\n\nServed at `/metrics` on `web.listen`. Every metric carries the label `sync`, the\nconfiguration's `name`; none carries a person's name. This table is generated by\n`go test ./internal/metrics -update`.\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, m := range catalogue {
		labels := "–"
		if len(m.labels) > 0 {
			labels = "`" + strings.Join(m.labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.name, m.kind, labels, m.help)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
