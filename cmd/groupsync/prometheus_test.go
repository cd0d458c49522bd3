package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"groupsync/internal/processtest"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target/clearmltest"
)

const rulesFile = "../../charts/groupsync/files/rules.yaml"

// hastened is how many times faster the shipped rules run here: ten minutes become a second. A
// test cannot wait for hours.
const hastened = 600

// trial is one sync in which one thing goes wrong.
type trial struct {
	name    string
	realm   *keycloaktest.Realm
	clearml *clearmltest.Server
	config  string

	fault, undo func()
	alerts      []string // the alerts that the fault must fire; no other may fire
}

// staff are the people of each trial. All of them are in its one team, on both sides.
var staff = []string{"ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal"}

func newTrial(t *testing.T, server *keycloaktest.Server, name string, alerts ...string) *trial {
	t.Helper()
	spec := keycloaktest.Spec{Groups: []string{"/team"}}
	for _, n := range staff {
		spec.Users = append(spec.Users, keycloaktest.User{Username: n, Email: n + "@example.com", Groups: spec.Groups})
	}
	// The tokens live only a short time, so that a changed secret has an effect soon.
	tr := &trial{name: name, alerts: alerts, realm: server.NewRealm(t, spec), clearml: clearmltest.New(t, clearmltest.Options{TokenLife: 4 * time.Second})}
	var ids []string
	for _, n := range staff {
		person(tr.clearml, n, tr.realm.UserID(t, n))
		ids = append(ids, "cm-"+n)
	}
	tr.clearml.AddTeam("team", ids...)
	// The leavers are not counted, because a count takes as long as a pass. Three seconds
	// leave no room for both.
	tr.config = configure(t, server.URL, tr.realm.Name, tr.clearml.URL, "name: "+name+"\nmode: apply\njitter: 0s\nleavers: {interval: 0s}")
	return tr
}

// serve starts the trial's daemon and returns it with its address. The schedule is half an
// hour in the hastened time. The log is read to its end. If passed is not nil, it is called
// after each pass.
func (tr *trial) serve(t *testing.T, passed func(), args ...string) (*service, string) {
	t.Helper()
	s := serveIn(t, nil, tr.config, append(args, "--schedule", "@every 3s")...)
	address := s.until(t, "groupsync starts")["listen"].(string)
	read := make(chan struct{})
	var log bytes.Buffer
	go func() {
		defer close(read)
		for line := range s.lines {
			fmt.Fprintln(&log, line)
			if passed != nil && strings.Contains(line, `"msg":"pass ended"`) {
				passed()
			}
		}
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // it may have ended
		<-read
		_ = s.cmd.Wait()
		if t.Failed() {
			t.Logf("the last of %s:\n%s", tr.name, log.Bytes()[max(0, log.Len()-3000):])
		}
	})
	return s, address
}

// TestAlertsInPrometheus runs a real Prometheus on real daemons, each with one thing that goes
// wrong. By the API of Prometheus, the expected alerts fire, they are resolved when the fault
// is undone, and no other alert fires at any time. The rules are the shipped ones, hastened. A
// second Prometheus has the rules unchanged.
func TestAlertsInPrometheus(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a real Keycloak and Prometheus, and a minute")
	}
	shipped := readRules(t)
	trials, targets := trialsOf(t)
	hasty, plain := startPrometheus(t, hasten(t, shipped), targets), startPrometheus(t, shipped, targets)
	evaluated := func(p *scraper) {
		t.Helper()
		p.await(t, "every rule evaluated, and what they record of every sync", func() bool {
			return p.healthy(t, shipped) && p.count(t, "sync:groupsync_schedule_seconds:max1d") == len(trials) && p.count(t, "sync:groupsync_last_success_timestamp_seconds:max7d") == len(trials)
		})
	}
	var want []string
	for _, tr := range trials {
		want = append(want, tr.all()...)
	}
	slices.Sort(want)
	// On a busy machine these can fire. Half an hour is three seconds here, and a scrape
	// without an answer for a second counts as an absence of ten minutes.
	busy := func(alert string) bool {
		return strings.HasSuffix(alert, " GroupsyncStale") || strings.HasSuffix(alert, " GroupsyncAbsent")
	}
	fired := func(expected ...string) []string {
		return slices.DeleteFunc(hasty.fired(t), func(a string) bool { return busy(a) && !slices.Contains(expected, a) })
	}
	evaluated(hasty)
	hasty.await(t, "no alert before anything went wrong", func() bool { return len(hasty.firing(t)) == 0 })
	if found := fired(); len(found) > 0 {
		t.Fatalf("before anything went wrong there fired %v", found)
	}

	for _, tr := range trials {
		tr.fault()
	}
	wrong := slices.Clone(trials)
	hasty.await(t, "every alert", func() bool {
		firing := hasty.firing(t)
		wrong = slices.DeleteFunc(wrong, func(tr *trial) bool {
			for _, a := range tr.all() {
				if !slices.Contains(firing, a) {
					return false
				}
			}
			tr.undo()
			return true
		})
		return len(wrong) == 0
	})
	hasty.await(t, "every alert to be resolved", func() bool { return len(hasty.firing(t)) == 0 })

	if d := cmp.Diff(want, fired(want...)); d != "" {
		t.Errorf("what has fired: -want +got\n%s", d)
	}
	evaluated(plain) // it evaluates once a minute, and has done so by now
	if fired := plain.fired(t); len(fired) > 0 {
		t.Errorf("with the rules as they are %v fired within minutes", fired)
	}
}

// all returns the trial's alerts, each with the name of the trial.
func (tr *trial) all() (named []string) {
	for _, a := range tr.alerts {
		named = append(named, tr.name+" "+a)
	}
	return named
}

// trialsOf starts a daemon for each trial, and returns the trials and the file that lists the
// targets for Prometheus.
func trialsOf(t *testing.T) (trials []*trial, targets string) {
	t.Helper()
	own, shared := keycloaktest.Start(t, keycloaktest.Options{}), keycloaktest.Shared(t)
	outage := newTrial(t, own, "outage", "GroupsyncFailing", "GroupsyncStale", "GroupsyncErrors")
	outage.fault = func() { own.Kill(t) }
	outage.undo = func() { own.Restart(t) }

	secret := newTrial(t, shared, "secret", "GroupsyncFailing", "GroupsyncStale", "GroupsyncErrors")
	secret.fault = func() { secret.clearml.SetCredentials("access", "another", clearmltest.Self) }
	secret.undo = func() { secret.clearml.SetCredentials("access", "secret", clearmltest.Self) }

	// Two thirds of the team leave. The guard must trip even if a pass sees some of them leave
	// before the others.
	removals := newTrial(t, shared, "removals", "GroupsyncRemovalsWithheld", "GroupsyncGuardStuck", "GroupsyncDriftPersists")
	rewrite(t, removals.config, "mode: apply", "mode: apply\nguards: {free_removals: 0}")
	each := func(change func(tb testing.TB, username, group string)) func() {
		return func() {
			for _, n := range staff[:5] {
				change(t, n, "/team")
			}
		}
	}
	removals.fault, removals.undo = each(removals.realm.Leave), each(removals.realm.Join)

	reload := newTrial(t, shared, "reload", "GroupsyncReloadFailed")
	reload.fault = func() { rewrite(t, reload.config, "mode: apply", "mode: on") }
	reload.undo = func() { rewrite(t, reload.config, "mode: on", "mode: apply") }

	reverted := newTrial(t, shared, "reverted", "GroupsyncReverted")
	var undoes atomic.Bool
	undone := func() {
		if undoes.Load() {
			reverted.clearml.SetMembers("team", reverted.clearml.Members("team")[1:]...)
		}
	}
	reverted.fault, reverted.undo = func() { undoes.Store(true) }, func() { undoes.Store(false) }

	leaders := newTrial(t, shared, "leaders", "GroupsyncTwoLeaders")
	trials = []*trial{secret, removals, reload, reverted, leaders, outage}
	var addresses []string
	for _, tr := range trials {
		_, address := tr.serve(t, map[*trial]func(){reverted: undone}[tr])
		addresses = append(addresses, address)
	}
	targets = filepath.Join(t.TempDir(), "targets.json")
	writeTargets(t, targets, addresses)
	var second *service
	leaders.fault = func() {
		var address string
		second, address = leaders.serve(t, nil, "--state_dir", t.TempDir())
		writeTargets(t, targets, append(addresses, address))
	}
	leaders.undo = func() {
		if err := second.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	return trials, targets
}

// writeTargets writes the targets for Prometheus. It replaces the file as a whole, because
// Prometheus may read it at any time.
func writeTargets(t *testing.T, file string, addresses []string) {
	t.Helper()
	data, err := json.Marshal([]map[string]any{{"targets": addresses}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// scraper is a running Prometheus.
type scraper struct{ url string }

// startPrometheus starts the Prometheus that the Makefile has built, with the text of a rule
// file, and stops it at the end of the test.
func startPrometheus(t *testing.T, rules, targets string) *scraper {
	t.Helper()
	program := processtest.Tool(t, "PROMETHEUS")
	dir := t.TempDir()
	config := fmt.Sprintf(`global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 250ms}
rule_files: [rules.yaml]
scrape_configs: [{job_name: groupsync, file_sd_configs: [{files: [%q]}]}]
`, targets)
	for name, text := range map[string]string{"rules.yaml": rules, "prometheus.yaml": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	port, err := processtest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	address := "127.0.0.1:" + strconv.Itoa(port)
	proc, err := processtest.Start(filepath.Join(dir, "log"), nil, program,
		"--config.file="+filepath.Join(dir, "prometheus.yaml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address,
		"--scrape.discovery-reload-interval=100ms") // the default is five seconds: without a scrape GroupsyncAbsent fires
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proc.End(10 * time.Second); err != nil {
			t.Errorf("stopping Prometheus: %v", err)
		}
	})
	p := &scraper{"http://" + address}
	if err := proc.Await(time.Minute, func() bool {
		resp, err := http.Get(p.url + "/-/ready")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}); err != nil {
		t.Fatalf("starting Prometheus: %v", err)
	}
	return p
}

// await calls done again and again until it returns true.
func (p *scraper) await(t *testing.T, what string, done func() bool) {
	t.Helper()
	began := time.Now()
	for !done() {
		if time.Since(began) > 2*time.Minute {
			t.Fatalf("after two minutes Prometheus has not seen %s; now fire %v, fired have %v", what, p.firing(t), p.fired(t))
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("%s: %s", what, time.Since(began).Round(100*time.Millisecond))
}

// get asks the API of Prometheus and decodes the data.
func (p *scraper) get(t *testing.T, path string, into any) {
	t.Helper()
	resp, err := http.Get(p.url + "/api/v1/" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: into}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Status != "success" {
		t.Fatalf("Prometheus, %s: %d %s %v", path, resp.StatusCode, answer.Error, err)
	}
}

// firing returns the alerts that fire now, each after the name of its sync.
func (p *scraper) firing(t *testing.T) (found []string) {
	t.Helper()
	var data struct {
		Alerts []struct {
			Labels map[string]string
			State  string
		}
	}
	p.get(t, "alerts", &data)
	for _, a := range data.Alerts {
		if a.State == "firing" {
			found = append(found, a.Labels["sync"]+" "+a.Labels["alertname"])
		}
	}
	return found
}

// fired returns the alerts that have fired since the start, sorted.
func (p *scraper) fired(t *testing.T) (found []string) {
	t.Helper()
	for _, labels := range p.query(t, `group by (sync, alertname) (count_over_time(ALERTS{alertstate="firing"}[1h]))`) {
		found = append(found, labels["sync"]+" "+labels["alertname"])
	}
	slices.Sort(found)
	return found
}

// count returns how many series the query gives.
func (p *scraper) count(t *testing.T, query string) int {
	t.Helper()
	return len(p.query(t, query))
}

// query returns the labels of the series that a query gives.
func (p *scraper) query(t *testing.T, query string) (found []map[string]string) {
	t.Helper()
	var data struct {
		Result []struct{ Metric map[string]string }
	}
	p.get(t, "query?query="+url.QueryEscape(query), &data)
	for _, r := range data.Result {
		found = append(found, r.Metric)
	}
	return found
}

// healthy reports whether Prometheus has evaluated every rule of the file. It fails if
// Prometheus could not evaluate a rule.
func (p *scraper) healthy(t *testing.T, shipped string) bool {
	t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	p.get(t, "rules", &data)
	ok := 0
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			switch r.Health {
			case "ok":
				ok++
			case "err":
				t.Fatalf("the rule %s: %s", r.Name, r.LastError)
			}
		}
	}
	return ok == len(regexp.MustCompile(`(?m)^ +- (alert|record): `).FindAllString(shipped, -1))
}

func readRules(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// period matches a duration in the rules: a window, the step of a window, a wait, or one of
// the constants in seconds.
var period = regexp.MustCompile(`(\[|:|for: )(\d+[smhd])\b|\b(300|86400)\b`)

// hasten returns the rules with every period divided by hastened.
func hasten(t *testing.T, rules string) string {
	t.Helper()
	return period.ReplaceAllStringFunc(rules, func(s string) string {
		m := period.FindStringSubmatch(s)
		if m[3] == "" {
			return m[1] + strconv.FormatInt(inMilliseconds(t, m[2])/hastened, 10) + "ms"
		}
		seconds, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			t.Fatal(err)
		}
		return strconv.FormatFloat(seconds/hastened, 'f', -1, 64)
	})
}

func inMilliseconds(t *testing.T, duration string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(duration[:len(duration)-1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n * map[byte]int64{'s': 1000, 'm': 60_000, 'h': 3_600_000, 'd': 86_400_000}[duration[len(duration)-1]]
}

// TestTheHastenedRulesDifferInPeriodsOnly checks that Prometheus is tested with the shipped
// rules. The hastened file differs only in the periods, no period is unchanged, and the other
// numbers of the expressions are shares and counts.
func TestTheHastenedRulesDifferInPeriodsOnly(t *testing.T) {
	shipped := readRules(t)
	hasty := hasten(t, shipped)
	shrunk := regexp.MustCompile(`(\[|:|for: )(\d+ms)\b|\b(0\.5|144)\b`)
	if d := cmp.Diff(period.ReplaceAllString(shipped, "$1…"), shrunk.ReplaceAllString(hasty, "$1…")); d != "" {
		t.Errorf("-shipped +hastened\n%s", d)
	}
	for _, row := range []struct{ name, rule, want string }{
		{"a window", "increase(x[6h])", "increase(x[36000ms])"},
		{"a window with a step", "(x - time())[1d:1m]", "(x - time())[144000ms:100ms]"},
		{"a wait", "for: 10m # longer than 5m", "for: 1000ms # longer than 5m"},
		{"a constant in seconds", "clamp_min(x, 300) > 30 * 86400", "clamp_min(x, 0.5) > 30 * 144"},
		{"a share, and the name of a recording", "x:y:max1d > 1.5 * 3", "x:y:max1d > 1.5 * 3"},
	} {
		if got := hasten(t, row.rule); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
	var file struct {
		Groups []struct {
			Rules []struct{ Alert, Record, Expr, For string }
		}
	}
	if err := yaml.Unmarshal([]byte(hasty), &file); err != nil {
		t.Fatal(err)
	}
	number := regexp.MustCompile(`(?:^|[ (])(\d[\d.]*)`)
	for _, r := range file.Groups[0].Rules {
		if r.For != "" && !strings.HasSuffix(r.For, "ms") {
			t.Errorf("%s waits for %s", r.Alert, r.For)
		}
		for _, m := range number.FindAllStringSubmatch(r.Expr, -1) {
			if !slices.Contains([]string{"0", "0.2", "0.5", "1", "1.5", "10", "144", "2.5", "3", "30", "60"}, m[1]) {
				t.Errorf("%s%s: is %s a time in seconds? Then hasten it, else name it here", r.Alert, r.Record, m[1])
			}
		}
	}
}
