package memory

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestMain lets the test binary act as another process that holds a lock until its standard
// input ends.
func TestMain(m *testing.M) {
	if url := os.Getenv("HOLD_LOCK_FOR"); url != "" {
		if _, err := NewProcess(url).Lock(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("locked")
		bufio.NewReader(os.Stdin).ReadString('\n')
		return
	}
	os.Exit(m.Run())
}

func TestOnePassAtATimeHasTheDirectory(t *testing.T) {
	dir := Dir(t.TempDir() + "/state")
	release, err := dir.Lock()
	if err != nil {
		t.Fatal(err)
	}
	want := "another pass is running with the state_dir " + string(dir) + ", so this pass was not made: try again when the other pass has ended (resource temporarily unavailable)"
	if _, err := dir.Lock(); err == nil || err.Error() != want {
		t.Errorf("a second lock: got %v\nwant %s", err, want)
	}
	release()
	release, err = dir.Lock()
	if err != nil {
		t.Errorf("after the release: %v", err)
	}
	release()
}

const locked = "another groupsync on this machine is making a pass for the same clearml.url, so this pass was not made: try again when the other pass has ended; if the two synchronize different groups and may run at the same time, give each its own state_dir or lease.name"

func onLinux(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has abstract Unix sockets")
	}
}

// ownURL returns the URL of a ClearML that no other test locks.
func ownURL(t *testing.T) string {
	return fmt.Sprintf("https://%s-%d.example.com/api", strings.ToLower(t.Name()), os.Getpid())
}

// TestOnePassAtATimeOnAMachine tests the lock without a directory and without a Lease.
func TestOnePassAtATimeOnAMachine(t *testing.T) {
	onLinux(t)
	url := ownURL(t)
	hold := func(s interface{ Lock() (func(), error) }) func() {
		t.Helper()
		release, err := s.Lock()
		if err != nil {
			t.Fatal(err)
		}
		return release
	}
	refused := func(s interface{ Lock() (func(), error) }, what string) {
		t.Helper()
		if _, err := s.Lock(); err == nil || err.Error() != locked {
			t.Errorf("%s: got %v\nwant %s", what, err, locked)
		}
	}
	first, second := NewProcess(url), NewProcess(url)
	release := hold(first)
	refused(second, "a second pass")
	refused(NewProcess(strings.Replace(url, "https://", "HTTPS://", 1)+"/"), "another spelling of the URL")
	hold(NewProcess(url + "/other"))()
	hold(new(Process))()
	release()
	second.Move(url + "/moved")
	release = hold(second)
	hold(first)()
	refused(NewProcess(url+"/moved"), "after a move")
	release()
}

// TestTheLockEndsWithItsProcess: the lock also ends if the process is killed.
func TestTheLockEndsWithItsProcess(t *testing.T) {
	onLinux(t)
	url := ownURL(t)
	other := exec.CommandContext(t.Context(), os.Args[0])
	other.Env = append(os.Environ(), "HOLD_LOCK_FOR="+url)
	if _, err := other.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "locked\n" {
		t.Fatalf("the other process: %q, %v", line, err)
	}
	if _, err := NewProcess(url).Lock(); err == nil || err.Error() != locked {
		t.Errorf("while the other process lives: got %v\nwant %s", err, locked)
	}
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = other.Wait() // returns an error, because the process was killed
	release, err := NewProcess(url).Lock()
	if err != nil {
		t.Fatal(err)
	}
	release()
}

func TestTheTimeOfFailedPassesDoesNotCount(t *testing.T) {
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	m := Memory{Wanted: map[string]time.Time{"g/u": at}}
	if d := cmp.Diff(m, m.Resumed(at.Add(time.Hour))); d != "" {
		t.Errorf("no pass failed, and the memory differs\n%s", d)
	}
	m.FailedAt = at.Add(20 * time.Minute)
	got := m.Resumed(at.Add(time.Hour))
	if want := at.Add(40 * time.Minute); !got.Wanted["g/u"].Equal(want) || !got.FailedAt.IsZero() || !m.Wanted["g/u"].Equal(at) {
		t.Errorf("wanted since %s, want %s: twenty minutes before now, as when the first pass failed", got.Wanted["g/u"], want)
	}
}

func TestAProcessKeepsItsMemory(t *testing.T) {
	p := new(Process)
	if m, err := p.Load(); err != nil || m.Rules != "" {
		t.Errorf("before anything was saved: %+v, %v", m, err)
	}
	release, err := p.Lock()
	if err != nil {
		t.Fatal(err)
	}
	release()
	if err := p.Save(Memory{Rules: "r"}); err != nil {
		t.Fatal(err)
	}
	if m, err := p.Load(); err != nil || m.Rules != "r" {
		t.Errorf("got %+v, %v", m, err)
	}
}
