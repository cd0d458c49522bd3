package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"groupsync/internal/kube/kubetest"
	"groupsync/internal/memory"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target/clearmltest"
)

// The times of the Lease, as docs/running.md promises them.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	look          = 4400 * time.Millisecond // the longest time between two reads of the Lease by a standby
	slack         = time.Second             // the longest time from an event to its line in the log
)

// election is a namespace of the real API server with what the chart makes there. Several
// processes keep its realm and its ClearML equal.
type election struct {
	*chaos
	cluster   *kubetest.Cluster
	namespace string
	account   string // path of the ServiceAccount's kubeconfig
}

func newElection(t *testing.T, cluster *kubetest.Cluster) *election {
	t.Helper()
	e := &election{chaos: newChaos(t, keycloaktest.Shared(t)), cluster: cluster}
	e.namespace, e.account = cluster.Groupsync(t)
	return e
}

// candidate is one of the processes. It has its own front before ClearML.
type candidate struct {
	*service
	front   *trap
	address string

	mu     sync.Mutex
	writes []time.Time // when it sent each write
}

// enter starts a process. onWrite is called before each write is passed on, with the number of
// writes so far.
func (e *election) enter(t *testing.T, name, guards string, onWrite func(c *candidate, n int)) *candidate {
	t.Helper()
	c := &candidate{front: front(t, e.clearml)}
	c.front.on(func(r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, writeGroup) || r.Header.Get("Authorization") == "" {
			return
		}
		c.mu.Lock()
		c.writes = append(c.writes, time.Now())
		n := len(c.writes)
		c.mu.Unlock()
		if onWrite != nil {
			onWrite(c, n)
		}
	})
	c.service = serveIn(t, []string{"KUBECONFIG=" + e.account, "POD_NAME=" + name, "POD_UID=uid-of-" + name}, e.file(t, c.front.URL, guards))
	c.address, _ = c.until(t, "groupsync starts")["listen"].(string)
	t.Cleanup(func() {
		if c.cmd.ProcessState == nil {
			_ = c.cmd.Process.Kill()
			_ = c.cmd.Wait()
		}
	})
	return c
}

// file writes a configuration with the Lease.
func (e *election) file(t *testing.T, clearml, guards string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	text := fmt.Sprintf(`mode: apply
schedule: "@every 1h"
keycloak: {url: %q, realm: %q, client_secret: %q, timeout: 15s}
clearml: {url: %q, access_key: access, secret_key: secret, timeout: 35s}
guards: %s
lease: {name: groupsync, namespace: %s}
web: {listen: "127.0.0.1:0", enable_lifecycle: true}
`, e.server.URL, e.realm.Name, keycloaktest.Secret, clearml, guards, e.namespace)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (c *candidate) sent() []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]time.Time{}, c.writes...)
}

// leads waits until the process is the leader, and returns its identity.
func (c *candidate) leads(t *testing.T) string {
	t.Helper()
	id, _ := c.until(t, "this process leads")["identity"].(string)
	return id
}

// standsBy checks the answers of a standby.
func (c *candidate) standsBy(t *testing.T, leader string) {
	t.Helper()
	if code, _ := fetch(t, c.address+"/readyz"); code != http.StatusOK {
		t.Errorf("a standby is not ready: %d", code)
	}
	_, metrics := fetch(t, c.address+"/metrics")
	mustContain(t, "/metrics of a standby", metrics, "\ngroupsync_leader{sync=\"default\"} 0\n")
	for _, name := range []string{"drift_memberships", "group_drift_memberships", "groups", "users", "guard_active", "last_pass_timestamp_seconds", "last_success_timestamp_seconds", "next_pass_timestamp_seconds"} {
		if strings.Contains(metrics, "\ngroupsync_"+name+"{") {
			t.Errorf("a standby exports groupsync_%s", name)
		}
	}
	if leader != "" {
		want := "this process is a standby and makes no passes: ask the leader: " + leader + "\n"
		if code, body := post(t, c.address+"/-/sync"); code != http.StatusServiceUnavailable || body != want {
			t.Errorf("asked for a pass: %d %q, want 503 %q", code, body, want)
		}
		_, page := fetch(t, c.address+"/")
		mustContain(t, "the page of a standby", page, "This process is a standby and makes no passes.")
		mustContain(t, "the page of a standby", page, leader+" is the leader. Its page shows the passes.")
	}
	if n := len(c.sent()); n != 0 {
		t.Errorf("a standby has sent %d writes", n)
	}
}

const wideGuards = "{max_removal_ratio: 0}"

// TestALeaderIsKilled: of three processes the leader is killed. One of the others takes over
// in time, and keeps the counts of the guards.
func TestALeaderIsKilled(t *testing.T) {
	t.Parallel() // most of it is waiting
	e := newElection(t, kubetest.Shared(t))
	killed := make(chan time.Time, 1)
	// In Keycloak nine memberships have ended, which is as many removals as the window allows.
	const guards = "{max_removal_ratio: 0, max_removals: 9}"
	first := e.enter(t, "first", guards, func(c *candidate, n int) {
		if n == 3 { // the third write is under way
			kill(t, c.cmd)
			killed <- time.Now()
		}
	})
	leader := first.leads(t)
	others := []*candidate{e.enter(t, "second", guards, nil), e.enter(t, "third", guards, nil)}
	for _, c := range others {
		c.until(t, "this process stands by")
		c.standsBy(t, leader)
	}
	at := <-killed
	// A tenth removal: dan is disabled. Only a leader that forgot the removals of the one
	// before would make it.
	e.clearml.SetMembers("team0", append(e.clearml.Members("team0"), "cm-dan")...)
	taken, won := make(chan *candidate, 2), make(chan string, 2)
	for _, c := range others {
		go func() {
			for line := range c.lines { // until may only be called by the goroutine of the test
				if strings.Contains(line, `"msg":"this process leads"`) {
					_, id, _ := strings.Cut(line, `"identity":"`)
					taken <- c
					won <- strings.SplitN(id, `"`, 2)[0]
					return
				}
			}
		}()
	}
	var second *candidate
	select {
	case second = <-taken:
	case <-time.After(leaseDuration + 2*look + slack - time.Since(at)):
		t.Fatalf("nobody has taken over %s after the leader was killed", time.Since(at))
	}
	t.Logf("taken over %s after the leader was killed", time.Since(at).Round(time.Millisecond))
	<-won
	ended := second.until(t, "pass ended")
	if ended["result"] != "guarded" || len(second.sent()) > 3 {
		t.Errorf("the new leader forgot the removals of the one before: %d writes, %v", len(second.sent()), ended)
	}
	for _, c := range others {
		if c != second {
			c.standsBy(t, "")
		}
	}
	e.oneEvent(t)
	digest, _ := ended["digest"].(string)
	if code, body := post(t, second.address+"/-/approve?digest="+digest); code != http.StatusOK || !strings.Contains(body, ": applied; ") {
		t.Errorf("the approval: %d %s", code, body)
	}
	if done := e.check(t); done != teams {
		t.Errorf("%d of %d teams are done", done, teams)
	}
	// The killed leader had made two or three removals. Approved removals do not count.
	if n := memory.Since(e.remembered(t).Removed, time.Now().Add(-time.Hour)); n != 2 && n != 3 {
		t.Errorf("%d removals are remembered, want 2 or 3", n)
	}
	approved := e.events(t, "ChangesApproved")
	if want := "approval of " + digest + " by anonymous via HTTP at "; len(approved) != 1 || !strings.HasPrefix(approved[0], want) || !strings.Contains(approved[0], ": granted: lifted removals for ") {
		t.Errorf("Events of the approval: %q", approved)
	}
}

// remembered reads the guards' memory from the ConfigMap.
func (e *election) remembered(t *testing.T) memory.Memory {
	t.Helper()
	var object struct{ BinaryData map[string][]byte }
	e.cluster.Get(t, "/api/v1/namespaces/"+e.namespace+"/configmaps/groupsync-memory", &object)
	m, err := memory.Unpack(object.BinaryData["memory.json.gz"])
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// oneEvent checks that the guard that tripped made one Event on the pod.
func (e *election) oneEvent(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second) // the Event comes after the last line of the pass
	for len(e.events(t, "GuardTripped")) == 0 && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond)
	}
	if tripped := e.events(t, "GuardTripped"); len(tripped) != 1 || !strings.HasPrefix(tripped[0], "the guard removals: ") {
		t.Errorf("Events of guards: %q", tripped)
	}
}

// events returns the messages of the pod's Events with that reason.
func (e *election) events(t *testing.T, reason string) (messages []string) {
	t.Helper()
	var list struct {
		Items []struct {
			Reason, Message string
			InvolvedObject  struct{ Kind, Name string }
		}
	}
	e.cluster.Get(t, "/api/v1/namespaces/"+e.namespace+"/events", &list)
	for _, x := range list.Items {
		if x.Reason == reason && x.InvolvedObject.Kind == "Pod" {
			messages = append(messages, x.Message)
		}
	}
	return messages
}

// TestTheAPIServerIsAway: the leader abandons its pass before another process could become the
// leader. It logs that, and becomes the leader again when the API server is back.
func TestTheAPIServerIsAway(t *testing.T) {
	t.Parallel() // most of it is waiting
	cluster := kubetest.Start(t)
	e := newElection(t, cluster)
	stopped := make(chan time.Time, 1)
	slow := true
	c := e.enter(t, "first", wideGuards, func(_ *candidate, n int) {
		if n == 1 {
			cluster.StopAPI(t)
			stopped <- time.Now()
		}
		if slow {
			time.Sleep(4 * time.Second)
		}
	})
	c.leads(t)
	ended := c.until(t, "pass ended")
	at := <-stopped
	errors := fmt.Sprint(ended["errors"])
	// Without the API server the suspension cannot be read either. The error that comes first
	// ends the pass.
	if !strings.Contains(errors, "the pass was abandoned before") || !strings.Contains(errors, "the leadership is lost: ") && !strings.Contains(errors, "finding out whether writing is suspended: ") {
		t.Errorf("the pass: %v", ended)
	}
	sent := c.sent()
	if last := sent[len(sent)-1].Sub(at); len(sent) == teams || last > renewDeadline {
		t.Errorf("%d writes, the last %s after the API server had gone", len(sent), last)
	}
	for deadline := time.Now().Add(leaseDuration); ; time.Sleep(100 * time.Millisecond) {
		if _, metrics := fetch(t, c.address+"/metrics"); strings.Contains(metrics, "\ngroupsync_leader{sync=\"default\"} 0\n") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it still says that it leads")
		}
	}
	slow = false
	cluster.StartAPI(t)
	c.leads(t)
	if ended := c.until(t, "pass ended"); ended["result"] != "applied" || e.check(t) != teams {
		t.Errorf("with the API server back: %v", ended)
	}
	if code := c.terminate(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, c.log.String())
	}
}

// TestALeaderIsPaused: the leader is paused with one write under way. Another process takes
// over and finishes the work. When the first process wakes up, it sends no further write.
func TestALeaderIsPaused(t *testing.T) {
	t.Parallel() // most of it is waiting
	e := newElection(t, kubetest.Shared(t))
	paused, underWay := make(chan time.Time, 1), make(chan struct{})
	first := e.enter(t, "first", wideGuards, func(c *candidate, n int) {
		if n == 2 {
			if err := c.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Error(err)
			}
			paused <- time.Now()
			<-underWay // the write reaches ClearML when everything else is over
		}
	})
	first.leads(t)
	second := e.enter(t, "second", wideGuards, nil)
	at := <-paused
	second.leads(t)
	if took := time.Since(at); took > leaseDuration+2*look+slack {
		t.Errorf("taken over %s after the leader was paused", took)
	}
	if ended := second.until(t, "pass ended"); ended["result"] != "applied" || e.check(t) != teams {
		t.Errorf("the new leader: %v", ended)
	}
	if err := first.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	close(underWay)
	ended := first.until(t, "pass ended")
	if errors := fmt.Sprint(ended["errors"]); !strings.Contains(errors, "the leadership is lost: ") {
		t.Errorf("the one that woke up: %v", ended)
	}
	first.until(t, "this process stands by")
	if n := len(first.sent()); n != 2 {
		t.Errorf("it has sent %d writes, want the 2 from before", n)
	}
	if done := e.check(t); done != teams {
		t.Errorf("%d of %d teams are done", done, teams)
	}
	// The first process becomes the leader again in the ordinary way.
	if code := second.terminate(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, second.log.String())
	}
	first.leads(t)
	if ended := first.until(t, "pass ended"); ended["result"] != "in_sync" {
		t.Errorf("the next term: %v", ended)
	}
}

// TestOnceAndTheLease: a single pass that writes takes the Lease and releases it, or names the
// leader. A dry run needs no Lease.
func TestOnceAndTheLease(t *testing.T) {
	t.Parallel() // most of it is waiting
	e := newElection(t, kubetest.Shared(t))
	once := func(args ...string) outcome {
		cmd := command(t.Context(), append(args, "--once", "-o", "json", "--config", e.file(t, e.clearml.URL, wideGuards))...)
		cmd.Env = append(cmd.Env, "KUBECONFIG="+e.account)
		return finish(t, cmd)
	}
	if o := once(); o.code != 2 || o.report(t).Mode != "observe" {
		t.Errorf("a dry run: exit %d\n%s", o.code, o.stderr)
	}
	if o := once("--drift-ok"); o.code != 0 {
		t.Errorf("a dry run for which drift is fine: exit %d\n%s", o.code, o.stderr)
	}
	e.clearml.Inject(clearmltest.Fault{Call: writeGroup, Delay: 300 * time.Millisecond})
	daemon := e.enter(t, "daemon", wideGuards, nil)
	leader := daemon.leads(t)
	o := once("--apply")
	want := "groupsync: the Lease " + e.namespace + "/groupsync is held by " + leader + ", so nothing was done: ask that process instead (POST /-/sync, /-/approve), or stop it first\n"
	if o.code != 1 || !strings.HasSuffix(o.stderr, "\n"+want) || o.stdout != "" {
		t.Errorf("while a daemon leads: exit %d\n%s\nwant %s", o.code, o.stderr, want)
	}
	daemon.until(t, "pass ended")
	if code := daemon.terminate(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	e.clearml.SetMembers("team0", "cm-bob")
	for range 2 { // the second finds that the first has released it
		start := time.Now()
		if o := once("--apply"); o.code != 0 {
			t.Errorf("with nobody leading: exit %d\n%s", o.code, o.stderr)
		}
		if took := time.Since(start); took > leaseDuration {
			t.Errorf("it took %s", took)
		}
	}
	if done := e.check(t); done != teams {
		t.Errorf("%d of %d teams are done", done, teams)
	}
}

// TestALeaseThatCannotBeHad: if the Lease cannot be used, there is one sentence, exit code 1,
// and no pass.
func TestALeaseThatCannotBeHad(t *testing.T) {
	cluster := kubetest.Shared(t)
	e := newElection(t, cluster)
	nobody, admin := cluster.ServiceAccount(t, e.namespace, "nobody"), cluster.Kubeconfig(t)
	for _, tt := range []struct {
		name, kubeconfig, namespace string
		args                        []string
		want                        string
	}{
		{"no permission, the daemon", nobody, e.namespace, nil, "groupsync: the Lease " + e.namespace + "/groupsync may not be used: "},
		{"no permission, a single pass", nobody, e.namespace, []string{"--once", "--apply"}, "groupsync: reading the guards' memory: the ConfigMap " + e.namespace + "/groupsync-memory may not be used: "},
		{"no such namespace", admin, "nowhere", nil, "groupsync: the Lease nowhere/groupsync: there is no namespace nowhere: create it, or correct lease.namespace"},
		{"no Kubernetes", filepath.Join(t.TempDir(), "none"), e.namespace, nil, "groupsync: lease.name: finding the Kubernetes API: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e.clearml.Forget()
			cmd := command(t.Context(), append(tt.args, "--config", e.file(t, e.clearml.URL, wideGuards), "--lease.namespace", tt.namespace)...)
			cmd.Env = append(cmd.Env, "KUBECONFIG="+tt.kubeconfig, "KUBERNETES_SERVICE_HOST=")
			o := finish(t, cmd)
			if o.code != 1 || !strings.HasPrefix(o.stderr, tt.want) || strings.Count(o.stderr, "\n") != 1 || o.stdout != "" {
				t.Errorf("exit %d\n%s%s\nwant %s", o.code, o.stdout, o.stderr, tt.want)
			}
			if n := len(e.clearml.Requests()); n != 0 {
				t.Errorf("%d requests were made", n)
			}
		})
	}
}
