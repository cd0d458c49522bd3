package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"groupsync/internal/kube/kubetest"
	"groupsync/internal/memory"
	"groupsync/internal/report"
	"groupsync/internal/source/keycloaktest"
)

// suspendedLine is the first line of the answer to groupsync suspend.
var suspendedLine = regexp.MustCompile(`^all writing is suspended until \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ by "[^"]+": "LDAP move"\nfrom now on no write begins; a write that has begun is finished\n$`)

// TestASuspensionHoldsForTheOtherProcess runs a daemon that is the leader and writes, on the
// real API server. Another process suspends writing while one write is under way. No write
// follows it. The suspension also holds for the next pass, for --once --apply, and for a
// daemon that starts later.
func TestASuspensionHoldsForTheOtherProcess(t *testing.T) {
	t.Parallel() // most of it is waiting
	e := newElection(t, kubetest.Shared(t))
	other := func(args ...string) outcome {
		cmd := command(t.Context(), append(args, "--config", e.file(t, e.clearml.URL, wideGuards))...)
		cmd.Env = append(cmd.Env, "KUBECONFIG="+e.account)
		return finish(t, cmd)
	}
	answers := make(chan outcome, 1)
	daemon := e.enter(t, "first", wideGuards, func(_ *candidate, n int) {
		if n == 2 { // the second write is under way until suspend has returned
			answers <- other("suspend", "--for", "2h", "--reason", "LDAP move")
		}
	})
	daemon.leads(t)
	ended := daemon.until(t, "pass ended")
	if o := <-answers; o.code != 0 || !suspendedLine.MatchString(o.stdout) {
		t.Fatalf("suspend while a daemon leads: exit %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	if n, done := len(daemon.sent()), e.check(t); n != 2 || done != 2 {
		t.Errorf("%d writes were sent and %d teams are done, want the 2 that had begun", n, done)
	}
	if ended["result"] != "drift" || ended["suspended"] != "all writing" || fmt.Sprint(ended["errors"]) != "[]" {
		t.Errorf("the pass: %v", ended)
	}
	e.tellsOfTheSuspension(t, daemon)

	standby := e.enter(t, "second", wideGuards, nil)
	standby.until(t, "writing is suspended")
	if code, body := post(t, standby.address+"/-/suspend?for=3h&reason=it+takes+longer"); code != http.StatusOK || !strings.Contains(body, "\nthe new suspension replaces this one: all writing is suspended until ") || !strings.Contains(body, ": \"LDAP move\"\n") {
		t.Errorf("a standby that is asked to suspend anew: %d %s", code, body)
	}
	if code, body := post(t, daemon.address+"/-/sync"); code != http.StatusOK || !strings.Contains(body, "guard suspended: all writing is suspended until ") || !strings.Contains(body, `("it takes longer")`) {
		t.Errorf("the next pass: %d %s", code, body)
	}
	for _, c := range []*candidate{daemon, standby} {
		if code := c.terminate(t); code != 0 {
			t.Errorf("exit code %d\n%s", code, c.log.String())
		}
	}
	o := other("--once", "--apply", "-o", "json")
	if r := o.report(t); o.code != 2 || r.Applied != (report.Tally{}) || r.Groups[5].Remove[0].Guard != report.Suspended {
		t.Errorf("--once --apply under a suspension: exit %d, %+v\n%s", o.code, r.Applied, o.stderr)
	}
	again := e.enter(t, "third", wideGuards, nil)
	again.leads(t)
	if ended := again.until(t, "pass ended"); ended["result"] != "drift" || len(again.sent()) > 0 {
		t.Errorf("a daemon that starts anew: %d writes, %v", len(again.sent()), ended)
	}
	if n := len(e.events(t, "GuardTripped")); n > 0 {
		t.Errorf("%d Events of a guard were made for a suspension", n)
	}
	if o := other("resume"); o.code != 0 || !strings.HasPrefix(o.stdout, "nothing is suspended: the next pass writes\nthis suspension was ended: all writing is suspended until ") {
		t.Errorf("resume: exit %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	if o := other("resume"); o.code != 0 || o.stdout != "no suspension was in force, so nothing was changed\n" {
		t.Errorf("resume of nothing: exit %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	if code, body := post(t, again.address+"/-/sync"); code != http.StatusOK || e.check(t) != teams {
		t.Errorf("after the end: %d %s", code, body)
	}
	if n := memory.Since(e.remembered(t).Removed, time.Now().Add(-time.Hour)); n == 0 {
		t.Error("the suspension took what the guards remember")
	}
	again.until(t, "the suspension has ended: passes write again")
	if code := again.terminate(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// tellsOfTheSuspension checks what the daemon shows of the suspension within its interval.
func (e *election) tellsOfTheSuspension(t *testing.T, c *candidate) {
	t.Helper()
	c.until(t, "writing is suspended")
	_, metrics := fetch(t, c.address+"/metrics")
	if !regexp.MustCompile(`\ngroupsync_suspended_until_timestamp_seconds\{action="remove",sync="default"\} 1\.\d+e\+09\n`).MatchString(metrics) {
		t.Errorf("the metrics do not tell of the suspension\n%s", metrics)
	}
	_, page := fetch(t, c.address+"/")
	mustContain(t, "the page", page, "All writing is suspended until ")
	_, status := fetch(t, c.address+"/api/v1/status")
	mustContain(t, "/api/v1/status", status, `"reason": "LDAP move"`)
}

// TestASuspensionInADirectory runs the daemon with state_dir, and another process. If the
// stored suspension was edited, the daemon writes nothing and logs that.
func TestASuspensionInADirectory(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a real Keycloak")
	}
	c := newChaos(t, keycloaktest.Shared(t))
	var writes atomic.Int32
	answers := make(chan outcome, 1)
	c.front.on(func(r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, writeGroup) || r.Header.Get("Authorization") == "" {
			return
		}
		if writes.Add(1) == 4 {
			answers <- groupsync(t, "suspend", "--removals-only", "--for", "1h", "--reason", "LDAP move", "--config", c.config)
		}
	})
	o := groupsync(t, "--once", "--apply", "-o", "json", "--config", c.config)
	if a := <-answers; a.code != 0 || !strings.HasPrefix(a.stdout, "the removal of members is suspended until ") || !strings.Contains(a.stdout, "\nfrom now on no write that removes somebody begins; ") {
		t.Fatalf("suspend: exit %d\n%s%s", a.code, a.stdout, a.stderr)
	}
	if r := o.report(t); o.code != 2 || writes.Load() != 4 || c.check(t) != 4 || r.Result != report.Drift || len(r.Errors) > 0 {
		t.Errorf("exit %d, %d writes, %d teams, %s %v", o.code, writes.Load(), c.check(t), r.Result, r.Errors)
	}
	state := filepath.Join(filepath.Dir(c.config), "state")
	file := filepath.Join(state, "suspension.json")
	if err := os.WriteFile(file, []byte(`{"version":1,"until":"2026-`), 0o600); err != nil {
		t.Fatal(err)
	}
	o = groupsync(t, "--once", "--apply", "-o", "json", "--config", c.config)
	want := "finding out whether writing is suspended: " + file + ": the suspension is corrupt (unexpected end of JSON input), and groupsync writes nothing until groupsync resume removes the suspension or groupsync suspend replaces it"
	if r := o.report(t); o.code != 1 || writes.Load() != 4 || len(r.Errors) != 1 || r.Errors[0].Text != want {
		t.Errorf("a suspension that was cut: exit %d, %d writes, %v\nwant %s", o.code, writes.Load(), r.Errors, want)
	}
	if o := groupsync(t, "resume", "--config", c.config); o.code != 0 || o.stdout != "nothing is suspended: the next pass writes\nthis suspension was ended: a suspension that could not be read\n" {
		t.Errorf("resume: exit %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	if o := groupsync(t, "--once", "--apply", "--config", c.config); o.code != 0 || c.check(t) != teams {
		t.Errorf("after the end: exit %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	entries, err := os.ReadDir(state)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, x := range entries {
		names = append(names, x.Name())
	}
	if slices.Contains(names, "suspension.json") || slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "suspension.json.") }) {
		t.Errorf("left in the directory: %v", names)
	}
}

// TestARefusedSuspensionWritesNothing: a refused suspension does not even make the directory.
func TestARefusedSuspensionWritesNothing(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	config := write(t, "config.yaml", good+"state_dir: "+state+"\n")
	for _, args := range [][]string{{"--for", "0s", "--reason", "r"}, {"--for", "1h"}, {"--for", "721h", "--reason", "r"}, {"--reason", "r"}} {
		if o := inProcess(t, nil, append([]string{"suspend", "--config", config}, args...)...); o.code != 1 || o.stdout != "" || strings.Count(o.stderr, "\n") != 1 {
			t.Errorf("%q: exit %d\n%s%s", args, o.code, o.stdout, o.stderr)
		}
	}
	if _, err := os.Stat(state); !os.IsNotExist(err) {
		t.Errorf("the directory: %v", err)
	}
	if o := inProcess(t, nil, "suspend", "--config", config, "--for", "1h", "--reason", "a\n\x1b[2Jb"); o.code != 0 || !strings.Contains(o.stdout, `: "a\n\x1b[2Jb"`+"\n") {
		t.Errorf("a hostile reason: exit %d\n%q%s", o.code, o.stdout, o.stderr)
	}
}

// TestADaemonWithoutASharedStore: POST /-/suspend holds until the daemon ends.
func TestADaemonWithoutASharedStore(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a real Keycloak")
	}
	p := newServicePlace(t)
	config := p.configured(t, p.url, "apply")
	rewrite(t, config, `web: {listen: "127.0.0.1:0"}`, `web: {listen: "127.0.0.1:0", enable_lifecycle: true}`)
	s := serve(t, config, "--state_dir=")
	address := s.until(t, "groupsync starts")["listen"].(string)
	s.until(t, "pass ended")
	p.clearml.SetMembers("team", "cm-cid")
	if code, body := post(t, address+"/-/suspend?for=-1h&reason=r"); code != http.StatusBadRequest || body != "a suspension of -1h0m0s would end before it begins: give a time in the future, such as 2h\n" {
		t.Errorf("a suspension in the past: %d %s", code, body)
	}
	if code, body := post(t, address+"/-/suspend?for=8s&reason=LDAP+move"); code != http.StatusOK || !strings.Contains(body, ` by "anonymous via HTTP": "LDAP move"`) {
		t.Errorf("a suspension: %d %s", code, body)
	}
	set := s.until(t, "writing is suspended")
	if set["by"] != "anonymous via HTTP" || set["reason"] != "LDAP move" {
		t.Errorf("the log: %v", set)
	}
	if code, body := post(t, address+"/-/sync"); code != http.StatusOK || !strings.Contains(body, "guard suspended: ") || !slices.Equal(p.clearml.Members("team"), []string{"cm-cid"}) {
		t.Errorf("a pass under a suspension: %d %s, %v", code, body, p.clearml.Members("team"))
	}
	s.until(t, "the suspension has ended: passes write again") // without a request
	if code, body := post(t, address+"/-/sync"); code != http.StatusOK || !strings.Contains(body, ": applied; ") {
		t.Errorf("after its end: %d %s", code, body)
	}
	if code := s.terminate(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.log.String())
	}
}
