package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"

	"groupsync/internal/target/clearmltest"
)

// stream is one output of a process, a pipe or a terminal.
type stream struct {
	to   *os.File // the end of the process
	from *os.File
	text chan string // all that was written, once the process has ended
}

// open returns a stream and reads it to its end.
func open(t *testing.T, terminal bool) *stream {
	t.Helper()
	var s stream
	var err error
	if terminal {
		s.from, s.to, err = pty.Open()
	} else {
		s.from, s.to, err = os.Pipe()
	}
	if err != nil {
		t.Fatal(err)
	}
	s.text = make(chan string, 1)
	go func() {
		var b bytes.Buffer
		_, _ = io.Copy(&b, s.from) // a terminal ends in an error (EIO)
		s.from.Close()
		s.text <- strings.ReplaceAll(b.String(), "\r\n", "\n") // a terminal adds \r
	}()
	return &s
}

// shows runs a command with terminals for some of its outputs, and returns both outputs. It
// calls meanwhile while the command runs.
func shows(t *testing.T, cmd *exec.Cmd, outTerminal, errTerminal bool, meanwhile func()) (stdout, stderr string) {
	t.Helper()
	out, errs := open(t, outTerminal), open(t, errTerminal)
	cmd.Stdout, cmd.Stderr = out.to, errs.to
	err := cmd.Start()
	out.to.Close()
	errs.to.Close()
	if err != nil {
		t.Fatal(err)
	}
	meanwhile()
	_ = cmd.Wait() // another test checks the exit code
	return <-out.text, <-errs.text
}

var (
	erased = regexp.MustCompile(`groupsync: [^\r\n]*\r\x1b\[K`) // a line of progress that was erased
	colors = regexp.MustCompile("\x1b\\[[0-9]*m")
)

// doings returns what the progress showed, in order, without the counts.
func doings(stderr string) (list []string) {
	for _, line := range erased.FindAllString(stderr, -1) {
		doing := regexp.MustCompile(`groupsync: (.*?)( …|: \d+ of \d+)`).FindStringSubmatch(line)
		if doing == nil {
			list = append(list, "not understood: "+line)
		} else if len(list) == 0 || list[len(list)-1] != doing[1] {
			list = append(list, doing[1])
		}
	}
	return list
}

// TestOnlyATerminalIsShownMore checks which outputs get colours and progress. The pass ends
// early, because there is a ClearML and no Keycloak.
func TestOnlyATerminalIsShownMore(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for seconds until requests are given up")
	}
	clearml := clearmltest.New(t, clearmltest.Options{})
	people(clearml, "ann")
	config := configure(t, "http://127.0.0.1:1", "nowhere", clearml.URL, "")
	const early, report = "error (dry run): the pass ended early, and nothing was written; 1 error", "error: signing in to Keycloak: no connection"
	reading := []string{"reading ClearML and Keycloak's groups"}
	for _, row := range []struct {
		name             string
		outputs          string // the outputs that are terminals
		env              string
		args             []string
		colors, progress bool
	}{
		{name: "two pipes show neither"},
		{name: "a terminal shows both", outputs: "out err", colors: true, progress: true},
		{name: "a redirected report has no colour", outputs: "err", progress: true},
		{name: "a redirected log has no progress", outputs: "out", colors: true},
		{name: "NO_COLOR switches colours off, not progress", outputs: "out err", env: "NO_COLOR=1", progress: true},
		{name: "an empty NO_COLOR is none", outputs: "out err", env: "NO_COLOR=", colors: true, progress: true},
		{name: "a dumb terminal shows neither", outputs: "out err", env: "TERM=dumb"},
		{name: "JSON has no colour", outputs: "out err", args: []string{"-o", "json"}, progress: true},
		{name: "a diff has no colour", outputs: "out err", args: []string{"-o", "diff"}, progress: true},
		{name: "Markdown has no colour", outputs: "out err", args: []string{"-o", "markdown"}, progress: true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel() // each row waits for the retries of a connection
			cmd := command(t.Context(), append(row.args, "--once", "--config", config)...)
			cmd.Env = append(cmd.Env, "TERM=xterm", "NO_COLOR=", row.env)
			stdout, stderr := shows(t, cmd, strings.Contains(row.outputs, "out"), strings.Contains(row.outputs, "err"), func() {})
			if got := colors.MatchString(stdout); got != row.colors {
				t.Errorf("colours: %t, want %t\n%q", got, row.colors, stdout)
			}
			if len(row.args) == 0 {
				mustContain(t, "stdout without colours", colors.ReplaceAllString(stdout, ""), early)
				mustContain(t, "stdout without colours", colors.ReplaceAllString(stdout, ""), report)
			}
			var want []string
			if row.progress {
				want = reading
			}
			if d := cmp.Diff(want, doings(stderr)); d != "" {
				t.Errorf("the progress: -want +got\n%s\n%q", d, stderr)
			}
			if left := erased.ReplaceAllString(stderr, ""); strings.ContainsAny(left, "\r\x1b") || strings.Contains(left, "groupsync: ") || !strings.Contains(left, `msg="pass ended"`) {
				t.Errorf("the log is not left alone: %q", left)
			}
		})
	}
}

// TestProgressOfAPass checks that a terminal shows each step of a pass, with counts.
func TestProgressOfAPass(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a real Keycloak")
	}
	p := newPlace(t, nil, clearmltest.Options{})
	person(p.clearml, "eve", "00000000-0000-0000-0000-0000000000ee") // Keycloak no longer has eve
	p.clearml.SetMembers("team", "cm-bob", "cm-cid", "cm-eve")
	config := configure(t, p.realm.Server.URL, p.realm.Name, p.url, "guards: {max_removal_ratio: 0, federation_grace: 0s}")
	cmd := command(t.Context(), "--once", "--apply", "--config", config)
	cmd.Env = append(cmd.Env, "TERM=xterm")
	_, stderr := shows(t, cmd, false, true, func() {})
	want := []string{"reading ClearML and Keycloak's groups", "reading the members of Keycloak's groups", "looking people up", "taking the second look", "writing to ClearML"}
	if d := cmp.Diff(want, doings(stderr)); d != "" {
		t.Errorf("-want +got\n%s\n%q", d, stderr)
	}
	for _, count := range []string{"members of Keycloak's groups: 1 of 1", "looking people up: 2 of 2"} {
		mustContain(t, "the progress", stderr, count)
	}
}

// TestTheDaemonShowsNoProgress checks that a daemon on a terminal shows only its log.
func TestTheDaemonShowsNoProgress(t *testing.T) {
	clearml := clearmltest.New(t, clearmltest.Options{})
	cmd := command(t.Context(), "--config", configure(t, "http://127.0.0.1:1", "nowhere", clearml.URL, ""))
	cmd.Env = append(cmd.Env, "TERM=xterm")
	_, stderr := shows(t, cmd, true, true, func() {
		for deadline := time.Now().Add(20 * time.Second); len(clearml.Calls()) == 0 && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	})
	for _, want := range []string{`msg="groupsync starts"`, `msg="pass ended"`, `msg="groupsync ends"`} {
		mustContain(t, "the log", stderr, want)
	}
	if strings.ContainsAny(stderr, "\r\x1b") || strings.Contains(stderr, "groupsync: ") {
		t.Errorf("the daemon shows more than its log: %q", stderr)
	}
}

func TestProgressIsOneLine(t *testing.T) {
	var out bytes.Buffer
	g := &progress{out: &out, width: 40}
	g.step("reading ClearML")
	g.step("reading the members of Keycloak's groups")
	g.count(1, 900) // drawn: the first count
	g.count(2, 900) // not drawn: too soon
	if _, err := io.WriteString(g, "a line of the log\n"); err != nil {
		t.Fatal(err)
	}
	g.count(900, 900) // drawn: the last count
	g.end()
	g.end()
	const erase = "\r\x1b[K"
	want := "groupsync: reading ClearML …" + erase +
		"groupsync: reading the members of Keycl" + erase + // 39 columns of 40
		"groupsync: reading the members of Keycl" + erase +
		"a line of the log\n" +
		"groupsync: reading the members of Keycl" + erase
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
}
