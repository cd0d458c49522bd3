package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/processtest"
	"groupsync/internal/report"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target/clearmltest"
)

const writeGroup = "permissions.add_or_update_user_group"

// service is a daemon that runs as a process.
type service struct {
	cmd    *exec.Cmd
	lines  chan string
	stdout strings.Builder  // may be read once the daemon has ended
	log    strings.Builder  // everything that was read of lines
	seen   []map[string]any // the lines that are JSON, decoded
}

// serve starts the daemon with a log in JSON at level debug. The credentials of ClearML are
// easy to recognize in an output.
func serve(t *testing.T, config string, args ...string) *service {
	t.Helper()
	return serveIn(t, []string{"GROUPSYNC_CLEARML_ACCESS_KEY=opensesame-access", "GROUPSYNC_CLEARML_SECRET_KEY=opensesame-secret"}, config, args...)
}

// serveIn starts the daemon with these variables added.
func serveIn(t *testing.T, env []string, config string, args ...string) *service {
	t.Helper()
	cmd := command(t.Context(), append(args, "--config", config, "--log.format", "json", "--log.level", "debug")...)
	cmd.Env = append(cmd.Env, env...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	s := &service{cmd: cmd, lines: make(chan string, 1000)}
	cmd.Stdout = &s.stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.lines)
		for in := bufio.NewScanner(stderr); in.Scan(); {
			s.lines <- in.Text()
		}
	}()
	return s
}

// next reads a line of the log. It returns false at the end of the log.
func (s *service) next(t *testing.T) (map[string]any, bool) {
	t.Helper()
	select {
	case line, more := <-s.lines:
		if !more {
			return nil, false
		}
		s.log.WriteString(line + "\n")
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) == nil {
			s.seen = append(s.seen, entry)
		}
		return entry, true
	case <-time.After(30 * time.Second):
		t.Fatalf("the daemon has not logged anything for 30 s\n%s", s.log.String())
		return nil, false
	}
}

// until reads the log up to the entry with that message.
func (s *service) until(t *testing.T, message string) map[string]any {
	t.Helper()
	for {
		entry, more := s.next(t)
		if !more {
			t.Fatalf("the daemon ended without logging %q\n%s", message, s.log.String())
		}
		if entry["msg"] == message {
			return entry
		}
	}
}

// terminate sends SIGTERM, reads the log to its end, and returns the exit code.
func (s *service) terminate(t *testing.T) int {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for more := true; more; {
		_, more = s.next(t)
	}
	_ = s.cmd.Wait() // the exit code is enough
	return s.cmd.ProcessState.ExitCode()
}

// with returns the entries with that message.
func (s *service) with(message string) (found []map[string]any) {
	for _, e := range s.seen {
		if e["msg"] == message {
			found = append(found, e)
		}
	}
	return found
}

func newServicePlace(t *testing.T) *place {
	return newPlace(t, nil, clearmltest.Options{AccessKey: "opensesame-access", SecretKey: "opensesame-secret"})
}

// configured writes the configuration of the place, with the mode.
func (p *place) configured(t *testing.T, url, mode string) string {
	return configure(t, p.realm.Server.URL, p.realm.Name, url, "mode: "+mode+"\nguards: {max_removal_ratio: 0}")
}

func fetch(t *testing.T, address string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address, nil)
	if err != nil {
		t.Fatal(err)
	}
	return answered(t, req)
}

// answered sends the request and returns the status and the body of its answer.
func answered(t *testing.T, req *http.Request) (int, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// recorded returns the metrics when they include a pass. That is a moment after the last log
// line of the pass.
func recorded(t *testing.T, address string) string {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		_, metrics := fetch(t, address+"/metrics")
		if strings.Contains(metrics, "\ngroupsync_last_pass_timestamp_seconds{") {
			return metrics
		}
		if time.Now().After(deadline) {
			t.Fatalf("no pass is told of\n%s", metrics)
		}
	}
}

// TestDaemonObserves: the daemon makes its first pass at once, writes nothing in mode observe,
// and reports the drift.
func TestDaemonObserves(t *testing.T) {
	p := newServicePlace(t)
	before := p.clearml.Groups()
	s := serve(t, p.configured(t, p.url, "observe"))
	address := s.until(t, "groupsync starts")["listen"].(string)
	ended := s.until(t, "pass ended")
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ok\n"} {
		if code, body := fetch(t, address+path); code != 200 || body != want {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	metrics := recorded(t, address)
	for _, want := range []string{
		`groupsync_drift_memberships{action="add",sync="default"} 1`,
		`groupsync_drift_memberships{action="remove",sync="default"} 1`,
		`groupsync_passes_total{result="drift",sync="default"} 1`,
		`groupsync_changes_total{action="remove",result="applied",sync="default"} 0`,
	} {
		mustContain(t, "/metrics", metrics, "\n"+want+"\n")
	}
	showsThePass(t, address, ended["pass"].(string))
	if code := s.terminate(t); code != 0 {
		t.Errorf("SIGTERM: exit code %d\n%s", code, s.log.String())
	}
	p.untouched(t, before)
	if n := len(s.with("pass ended")); n != 1 || ended["result"] != "drift" || ended["mode"] != "observe" {
		t.Errorf("%d summary lines, the first: %v", n, ended)
	}
}

// showsThePass compares the status page and its JSON with the pass in mode observe.
func showsThePass(t *testing.T, address, pass string) {
	t.Helper()
	_, page := fetch(t, address+"/")
	mustContain(t, "the page", page, "2 memberships differ from Keycloak.")
	mustContain(t, "the page", page, "The mode is observe, so groupsync writes nothing.")
	_, body := fetch(t, address+"/api/v1/status")
	var status struct {
		Leads bool          `json:"leads"`
		Next  time.Time     `json:"next_pass"`
		Last  report.Report `json:"last"`
	}
	if err := json.Unmarshal([]byte(body), &status); err != nil {
		t.Fatal(err)
	}
	if until := time.Until(status.Next); !status.Leads || status.Last.Pass != pass || status.Last.Mode != "observe" || until <= 0 || until > time.Hour {
		t.Errorf("the next pass in %s, want the pass %s\n%s", until, pass, body)
	}
}

// TestDaemonApplies: in mode apply the daemon writes. The log has an audit line before and
// after each change and one summary, and never a secret.
func TestDaemonApplies(t *testing.T) {
	p := newServicePlace(t)
	p.clearml.Inject(clearmltest.Fault{Call: "users.get_all", Nth: 1, Status: 502, Body: "<html>away</html>"}) // logged when it is repeated
	s := serve(t, p.configured(t, p.url, "apply"))
	address := s.until(t, "groupsync starts")["listen"].(string)
	ended := s.until(t, "pass ended")
	metrics := recorded(t, address)
	if code := s.terminate(t); code != 0 {
		t.Errorf("SIGTERM: exit code %d", code)
	}
	if diff := cmp.Diff([]string{"cm-ann", "cm-bob"}, p.clearml.Members("team")); diff != "" {
		t.Errorf("the team: -want +got\n%s", diff)
	}
	line := func(message, action, user, why, evidence, outcome string) string {
		return fmt.Sprint([]any{message, ended["pass"], "default", action, "team", "cm-team", "cm-" + user, user, user + "@example.com", why, evidence, outcome})
	}
	const begins, ends, evidence = "membership change begins", "membership change ended", "read twice: not in the one Keycloak group"
	want := []string{
		line(begins, "add", "ann", "member of /team", "read twice", ""),
		line(begins, "remove", "cid", "not_member", evidence, ""),
		line(ends, "add", "ann", "member of /team", "read twice", "applied"),
		line(ends, "remove", "cid", "not_member", evidence, "applied"),
	}
	var got []string
	for _, e := range s.seen {
		if e["audit"] == true {
			if id, _ := e["call"].(string); (id != "") != (e["msg"] == ends) {
				t.Errorf("ClearML's id of the call is %q in %v", id, e["msg"])
			}
			got = append(got, fmt.Sprint([]any{e["msg"], e["pass"], e["sync"], e["action"], e["group"], e["group_id"], e["user_id"], e["user"], e["email"], e["why"], e["evidence"], e["outcome"]}))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the audit lines: -want +got\n%s", diff)
	}
	if n := len(s.with("pass ended")); n != 1 || ended["result"] != "applied" || ended["added"] != 1.0 || ended["removed"] != 1.0 {
		t.Errorf("%d summary lines, the first: %v", n, ended)
	}
	if len(s.with("request attempt failed")) != 1 {
		t.Errorf("the log at level debug lacks the attempt that failed\n%s", s.log.String())
	}
	for _, secret := range []string{"opensesame", keycloaktest.Secret, "eyJ"} { // every JWT begins with eyJ
		if strings.Contains(s.log.String()+metrics, secret) {
			t.Errorf("the log or the metrics hold %q\n%s", secret, s.log.String())
		}
	}
	promtool(t, metrics)
}

// promtool checks the metrics with promtool.
func promtool(t *testing.T, metrics string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), processtest.Tool(t, "PROMTOOL"), "check", "metrics")
	cmd.Stdin = strings.NewReader(metrics)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// TestDaemonEndsDuringAPass: after SIGTERM the daemon ends a pass between two writes. It waits
// for a write that is under way, and abandons a write that does not end in time.
func TestDaemonEndsDuringAPass(t *testing.T) {
	const abandoned = "groupsync: the running pass did not end within shutdown_timeout (1s) and was abandoned: look at its last log lines; the next pass reads both sides again\n"
	untouched, written := []string{"cm-bob", "cm-cid"}, []string{"cm-ann", "cm-bob"}
	for _, row := range []struct {
		name    string
		fault   clearmltest.Fault
		timeout string
		code    int
		last    string // the last line of the log; empty: the daemon logs its end
		team    []string
	}{
		{"a read that hangs is given up", clearmltest.Fault{Call: "users.get_all", Hang: true}, "20s", 0, "", untouched},
		{"a write in hand is finished", clearmltest.Fault{Call: writeGroup, Delay: time.Second}, "20s", 0, "", written},
		{"a write that hangs is abandoned", clearmltest.Fault{Call: writeGroup, Hang: true}, "1s", 1, abandoned, untouched},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newServicePlace(t)
			p.clearml.Inject(row.fault)
			reached := make(chan struct{}, 100)
			trap := front(t, p.clearml)
			trap.on(func(r *http.Request) {
				if strings.HasSuffix(r.URL.Path, row.fault.Call) && r.Header.Get("Authorization") != "" {
					reached <- struct{}{}
				}
			})
			s := serve(t, p.configured(t, trap.URL, "apply"), "--shutdown_timeout", row.timeout)
			select {
			case <-reached:
			case <-time.After(30 * time.Second):
				t.Fatalf("the pass never came to %s", row.fault.Call)
			}
			asked := time.Now()
			if code := s.terminate(t); code != row.code {
				t.Errorf("exit code %d, want %d\n%s", code, row.code, s.log.String())
			}
			if took := time.Since(asked); took > 15*time.Second {
				t.Errorf("it took %s", took)
			}
			if row.last != "" && !strings.HasSuffix(s.log.String(), "\n"+row.last) {
				t.Errorf("the log does not end in\n%sbut\n%s", row.last, s.log.String())
			}
			if row.last == "" && len(s.with("groupsync ends")) != 1 {
				t.Errorf("no farewell in the log\n%s", s.log.String())
			}
			if diff := cmp.Diff(row.team, p.clearml.Members("team")); diff != "" {
				t.Errorf("the team: -want +got\n%s\n%s", diff, s.log.String())
			}
		})
	}
}
