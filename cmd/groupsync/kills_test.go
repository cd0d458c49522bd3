package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/journal"
	"groupsync/internal/memory"
	"groupsync/internal/processtest"
	"groupsync/internal/report"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target/clearmltest"
)

// keepThread is the name of an environment variable. If it is set, groupsync as a process of a test
// keeps its main goroutine on the main thread. strace follows only that thread, so its output has
// all file operations of a pass in one order.
const keepThread = "TEST_KEEP_THREAD"

func init() {
	if os.Getenv(keepThread) != "" {
		runtime.LockOSThread()
	}
}

// fuse counts the requests of groupsync to both sides, and kills groupsync at one of them.
type fuse struct {
	mu    sync.Mutex
	seen  []string      // paths of the requests
	at    int           // the number of the request at which groupsync is killed; 0: none
	lost  bool          // no server receives the request at which groupsync is killed
	kill  func()        // returns when the process has ended
	over  chan struct{} // closed when the request at which groupsync is killed is done
	fatal string        // path of the request at which groupsync was killed; empty: that request has not come
}

// before returns a handler that puts the fuse before a server.
func (f *fuse) before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.seen = append(f.seen, r.URL.Path)
		mine := len(f.seen) == f.at
		if mine {
			f.fatal = r.URL.Path
		}
		kill, over, lost := f.kill, f.over, f.lost
		f.mu.Unlock()
		if mine {
			defer close(over)
			kill()
			if lost {
				panic(http.ErrAbortHandler)
			}
		}
		next.ServeHTTP(w, r)
	})
}

// written is a command that writes, and the state before it.
type written struct {
	name   string
	daemon bool
	args   []string // %s is the id of the earlier pass
	after  bool     // it starts after a whole pass, whose report is in the journal
	again  []string // the command that runs after a kill; nil: the command itself
	want   string   // members of each team at the end
}

var writing = []written{
	{name: "the daemon", daemon: true, again: []string{"--once", "--apply"}, want: "cm-ann cm-bob"},
	{name: "--once --apply", args: []string{"--once", "--apply"}, want: "cm-ann cm-bob"},
	{name: "restore --apply", args: []string{"restore", "%s", "--apply"}, after: true, want: "cm-bob cm-cid"},
	{name: "sync USER --apply", args: []string{"sync", "cid@example.com", "--apply"}, want: "cm-bob"},
}

// arena is the place in which one command is killed many times. Nothing writes to Keycloak, so
// each run starts from the same ClearML and from a copy of the same state_dir.
type arena struct {
	written
	clearml *clearmltest.Server
	fuse    *fuse
	config  string
	start   string // members of each team before a run
	seed    string // the state_dir before a run
	earlier string // id of the pass whose report is in the seed; empty: none
	calm    trace  // what a run without a kill leaves behind

	requests []string // paths of the requests of the undisturbed run
}

var arenaTeams = []string{"blue", "red"}

// newArena makes two teams. In Keycloak their members are ann and bob, and in ClearML bob and
// cid.
func newArena(t *testing.T, w written) *arena {
	t.Helper()
	spec := keycloaktest.Spec{Groups: []string{"/blue", "/red"}}
	for _, n := range []string{"ann", "bob", "cid"} {
		u := keycloaktest.User{Username: n, Email: n + "@example.com"}
		if n != "cid" {
			u.Groups = spec.Groups
		}
		spec.Users = append(spec.Users, u)
	}
	realm := keycloaktest.Shared(t).NewRealm(t, spec)
	a := &arena{written: w, clearml: clearmltest.New(t, clearmltest.Options{}), fuse: new(fuse), start: "cm-bob cm-cid", seed: t.TempDir()}
	for _, n := range []string{"ann", "bob", "cid"} {
		person(a.clearml, n, realm.UserID(t, n))
	}
	for _, team := range arenaTeams {
		a.clearml.AddTeam(team, strings.Fields(a.start)...)
	}
	clearml, keycloak := front(t, a.fuse.before(a.clearml)), front(t, a.fuse.before(toServer(t, realm.Server.URL)))
	a.config = configure(t, keycloak.URL, realm.Name, clearml.URL, "mode: apply\nleavers: {interval: 0}\nguards: {max_removal_ratio: 0, max_additions: 100}")
	if w.after {
		o := groupsync(t, "--once", "--apply", "-o", "json", "--state_dir", a.seed, "--config", a.config)
		a.earlier, a.start = o.report(t).Pass, "cm-ann cm-bob"
		if got := a.trace(t, "the earlier pass", a.seed).members; got != "blue: cm-ann cm-bob, red: cm-ann cm-bob" {
			t.Fatalf("the earlier pass: %s\n%s", got, o.stdout)
		}
	}
	dir := a.fresh(t)
	if o, _ := a.run(t, command(t.Context(), a.arguments(dir, a.args)...), 0, false); o.code != 0 {
		t.Fatalf("undisturbed: exit %d\n%s\n%s", o.code, o.stdout, o.stderr)
	}
	a.calm, a.requests = a.trace(t, "undisturbed", dir), a.fuse.seen
	if want := fmt.Sprintf("blue: %s, red: %[1]s", w.want); a.calm.members != want || len(a.calm.told) < 2 || len(a.calm.counted) < 2 {
		t.Fatalf("undisturbed: %+v, want the members %s", a.calm, want)
	}
	return a
}

// fresh resets ClearML, and returns a state_dir in the state before a run.
func (a *arena) fresh(t *testing.T) string {
	t.Helper()
	for _, team := range arenaTeams {
		a.clearml.SetMembers(team, strings.Fields(a.start)...)
	}
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.CopyFS(dir, os.DirFS(a.seed)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// arguments returns the arguments of a command that uses a state_dir.
func (a *arena) arguments(dir string, args []string) []string {
	args = slices.Concat(args, []string{"--state_dir", dir, "--config", a.config})
	for i, x := range args {
		if x == "%s" {
			args[i] = a.earlier
		}
	}
	return args
}

// run runs a command to its end. It kills the command at request number at; 0: never. The
// daemon ends when its first pass has ended.
func (a *arena) run(t *testing.T, cmd *exec.Cmd, at int, lost bool) (o outcome, killedAt string) {
	t.Helper()
	var stdout bytes.Buffer
	stderr := &passLog{ended: func() {
		if a.daemon {
			_ = cmd.Process.Signal(syscall.SIGTERM) // an error means that it was killed
		}
	}}
	cmd.Stdout, cmd.Stderr = &stdout, stderr
	ended, f := make(chan struct{}), a.fuse
	f.mu.Lock()
	f.seen, f.at, f.lost, f.fatal, f.over = nil, at, lost, "", make(chan struct{})
	f.kill = func() {
		kill(t, cmd)
		<-ended
	}
	err := cmd.Start()
	f.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	close(ended)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	f.mu.Lock()
	killedAt = f.fatal
	f.mu.Unlock()
	if killedAt != "" {
		<-f.over
	}
	return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.text.String()}, killedAt
}

// passLog is a log that calls ended when it has the end of a pass.
type passLog struct {
	text  bytes.Buffer // not embedded, because its ReadFrom would bypass Write
	ended func()
}

func (l *passLog) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("pass ended")) {
		l.ended()
	}
	return l.text.Write(p)
}

// trace is what runs have left behind.
type trace struct {
	members string
	done    map[string]bool // by change that the command makes: ClearML has it
	told    map[string]int  // by change: how often the journal has it, in the passes after the earlier one
	counted map[string]int  // by change: how often the memory of the limits counts it
}

// trace reads the present state. Every report must be complete, and must name only changes
// that were made.
func (a *arena) trace(t *testing.T, what, dir string) trace {
	t.Helper()
	x := trace{done: make(map[string]bool), told: make(map[string]int), counted: make(map[string]int)}
	var members []string
	for _, team := range arenaTeams {
		got := slices.Sorted(slices.Values(a.clearml.Members(team)))
		members = append(members, team+": "+strings.Join(got, " "))
		for _, id := range []string{"cm-ann", "cm-bob", "cm-cid"} {
			x.done["add cm-"+team+" "+id] = slices.Contains(got, id)
			x.done["remove cm-"+team+" "+id] = !slices.Contains(got, id)
		}
	}
	x.members = strings.Join(members, ", ")
	h, err := journal.Dir{Path: journal.Under(dir), Sync: "default", Keep: 10}.History(journal.Query{})
	if err != nil && a.earlier != "" { // without an earlier pass there may be no report
		t.Errorf("%s: %v", what, err)
	}
	for _, text := range h.Unreadable {
		t.Errorf("%s: a report is not whole: %s", what, text)
	}
	for _, r := range h.Changes {
		if r.Outcome != report.Done || r.Call == "" || r.Reverted {
			t.Errorf("%s: the journal has a change that was not made once: %+v", what, r)
		}
		if r.Pass != a.earlier {
			x.told[r.Action+" "+r.GroupID+" "+r.ID]++
		}
	}
	mem, err := memory.Dir(dir).Load()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
	for action, intents := range map[string][]memory.Intent{journal.Removed: mem.Removed, journal.Added: mem.Added} {
		for _, i := range intents {
			x.counted[action+" "+i.Group+" "+i.User]++
		}
	}
	return x
}

// converges reads what a killed run has left, runs the next command, and compares the result
// with that of the undisturbed run.
func (a *arena) converges(t *testing.T, what, dir string) {
	t.Helper()
	killed := a.trace(t, what, dir)
	for team := range strings.SplitSeq(killed.members, ", ") {
		name, members, _ := strings.Cut(team, ": ")
		if members != a.start && members != a.want {
			t.Errorf("%s: %s has %s, want %s as before or %s", what, name, members, a.start, a.want)
		}
	}
	next := a.again
	if next == nil {
		next = a.args
	}
	var stdout, stderr bytes.Buffer // runs in this process, to save time
	if code := run(t.Context(), a.arguments(dir, next), os.Environ(), &stdout, &stderr); code != 0 {
		t.Errorf("%s: the next run: exit %d\n%s\n%s", what, code, &stdout, &stderr)
	}
	after := a.trace(t, what+", and after the next run", dir)
	if after.members != a.calm.members {
		t.Errorf("%s: the next run leaves %s, want %s", what, after.members, a.calm.members)
	}
	if diff := cmp.Diff(a.calm.counted, after.counted); diff != "" {
		t.Errorf("%s: what the limits' memory counts, -undisturbed +got\n%s", what, diff)
	}
	// The journal has a change of the killed run if its report is there. The next run makes
	// the other changes, and its report has them.
	want := maps.Clone(a.calm.told)
	for change := range want {
		if killed.done[change] && killed.told[change] == 0 {
			delete(want, change)
		}
	}
	if diff := cmp.Diff(want, after.told); diff != "" {
		t.Errorf("%s: what the journal tells, -want +got\n%s", what, diff)
	}
}

// TestAKillAtEveryRequest kills groupsync at the last request to Keycloak and at every later
// request, which belong to the write phase. No server receives the request at which groupsync
// is killed. For a write there is a second run: the server carries it out after the kill, and
// nobody reads the answer.
func TestAKillAtEveryRequest(t *testing.T) {
	t.Parallel() // most of it is waiting
	for _, w := range writing {
		t.Run(w.name, func(t *testing.T) {
			a := newArena(t, w)
			first := 1
			for i, path := range a.requests {
				if strings.Contains(path, "/realms/") {
					first = i + 1
				}
			}
			kills, writes := 0, 0
			at := func(n int, lost bool) (path string) {
				dir := a.fresh(t)
				if _, path = a.run(t, command(t.Context(), a.arguments(dir, a.args)...), n, lost); path != "" {
					kills++
					a.converges(t, fmt.Sprintf("killed at request %d, %s, lost: %v", n, path, lost), dir)
				}
				return path
			}
			for n := first; ; n++ {
				path := at(n, true)
				if path == "" {
					break
				}
				if strings.HasSuffix(path, writeGroup) {
					writes++
					at(n, false)
				}
			}
			// Before the first write, all teams are read and the call is probed, which changes
			// nothing. Each team is read, written and read back.
			if want := len(arenaTeams) + 1; writes != want || kills < 12 {
				t.Errorf("%d kills, %d of them before a write, want 12 and %d; the requests are %q", kills, writes, want, a.requests)
			}
			t.Logf("%d kills, %d of them before a write, of %d requests", kills, writes, len(a.requests))
		})
	}
}

// call is one system call of a process: the nth of its name.
type call struct {
	name string
	n    int
}

// stateCalls are the system calls that touch files. strace ignores a name with a question mark
// on machines that do not have the call.
const stateCalls = "openat,mkdirat,write,fchmod,fsync,close,renameat,unlinkat,flock,fcntl,?fstat,newfstatat"

// TestAKillAtEveryFileOperation kills groupsync between every two operations that change a
// file or a name in state_dir. The daemon is left out, because its pass is the same as that of
// --once.
func TestAKillAtEveryFileOperation(t *testing.T) {
	t.Parallel() // most of it is waiting
	if testing.Short() || runtime.GOOS != "linux" {
		t.Skip("needs strace and a real Keycloak")
	}
	if err := processtest.Install("killing at each file operation", []string{"strace"}, "strace"); err != nil {
		t.Fatal(err)
	}
	for _, w := range writing {
		if w.daemon {
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			a := newArena(t, w)
			calls, shown := a.calls(t)
			for _, c := range calls {
				dir, what := a.fresh(t), fmt.Sprintf("killed before %s number %d", c.name, c.n)
				o, _ := a.run(t, a.traced(dir, os.DevNull, "-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", c.name, c.n)), 0, false)
				if o.code != -1 {
					t.Errorf("%s: exit %d, want a kill\n%s", what, o.code, o.stderr)
				}
				a.converges(t, what, dir)
			}
			// The memory and the report each have a temporary file, its text, its mode, and
			// their own name.
			if len(calls) < 8 {
				t.Errorf("only %d kills: %v\n%s", len(calls), calls, shown)
			}
			t.Logf("%d kills: %v", len(calls), calls)
		})
	}
}

// traced returns the command under strace, which follows only the main thread.
func (a *arena) traced(dir, trace string, more ...string) *exec.Cmd {
	args := slices.Concat([]string{"-qq", "-y", "-o", trace, "-e", "trace=" + stateCalls}, more, []string{os.Args[0]}, a.arguments(dir, a.args))
	cmd := exec.Command("strace", args...)
	cmd.Env = append(os.Environ(), "BE_GROUPSYNC=1", keepThread+"=1")
	return cmd
}

// calls returns one system call on state_dir for each interval between two changes of a file
// or a name there, and for the intervals before the first and after the last change. It does
// not matter which call of an interval it is, because a kill before any of them leaves the
// same files. write is not used: the runtime also writes to its own pipes, and not always
// equally often. calls also returns the output of strace.
func (a *arena) calls(t *testing.T) (calls []call, shown string) {
	t.Helper()
	dir, file := a.fresh(t), filepath.Join(t.TempDir(), "trace")
	if o, _ := a.run(t, a.traced(dir, file), 0, false); o.code != 0 {
		t.Fatalf("under strace: exit %d\n%s", o.code, o.stderr)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	seen, changed := make(map[string]int), true
	for line := range strings.Lines(string(data)) {
		name, _, is := strings.Cut(line, "(")
		if !is {
			continue // a signal
		}
		seen[name]++
		if !strings.Contains(line, dir) {
			continue
		}
		if changed && name != "write" {
			calls, changed = append(calls, call{name, seen[name]}), false
		}
		switch name {
		case "mkdirat", "write", "fchmod", "renameat", "unlinkat":
			changed = true
		case "openat":
			changed = changed || strings.Contains(line, "O_CREAT")
		}
	}
	return calls, string(data)
}
