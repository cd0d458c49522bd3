package processtest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary also be a program that starts a process and then panics.
func TestMain(m *testing.M) {
	log := os.Getenv("START_AND_PANIC")
	if log == "" {
		os.Exit(m.Run())
	}
	p, err := Start(log, nil, "sleep", "600")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(p.pid)
	panic("as a test may")
}

func TestNoProcessOutlivesATestBinaryThatPanics(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a process with its parent")
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "START_AND_PANIC="+filepath.Join(t.TempDir(), "log"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the binary ended well, want a panic")
	}
	for deadline := time.Now().Add(10 * time.Second); runs(pid); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("process %d outlives the test binary by 10s", pid)
		}
	}
}

// runs reports whether the process exists and is not a zombie. An orphan can stay a zombie if
// nothing waits for it.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestAProcessIsAskedThenKilled(t *testing.T) {
	for _, tt := range []struct {
		name   string
		script string
		killed bool
	}{
		{"one that ends when asked ends so", "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done", false},
		{"one that ignores the request is killed", "trap '' TERM; echo up; while :; do sleep 0.05; done", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "log")
			p, err := Start(log, nil, "sh", "-c", tt.script)
			if err != nil {
				t.Fatal(err)
			}
			up := func() bool { out, _ := os.ReadFile(log); return string(out) == "up\n" }
			if err := p.Await(10*time.Second, up); err != nil {
				t.Fatal(err)
			}
			within, start := 10*time.Second, time.Now()
			if tt.killed {
				within = 300 * time.Millisecond
			}
			if err := p.End(within); err != nil || !p.Ended() {
				t.Fatalf("End: %v, ended %t", err, p.Ended())
			}
			if waited := time.Since(start) >= within; waited != tt.killed {
				t.Errorf("it took %v, killed after %v: want %t", time.Since(start), within, tt.killed)
			}
			if err := p.Signal(syscall.SIGTERM); err != nil {
				t.Errorf("a signal to an ended process: %v, want none sent", err)
			}
		})
	}
}

func TestWhatWasNotReadyIsToldWithItsOutput(t *testing.T) {
	p, err := Start(filepath.Join(t.TempDir(), "log"), []string{"WHY=no such file"}, "sh", "-c", `echo "$WHY"; exit 1`)
	if err != nil {
		t.Fatal(err)
	}
	err = p.Await(10*time.Second, func() bool { return false })
	if want := "the process ended before it was ready:\nno such file\n"; err == nil || err.Error() != want {
		t.Errorf("%v, want %q", err, want)
	}
}

func TestAMissingProgramIsToldWithWhatToDo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := Install("the real tree", []string{"oakd", "oakmodify"}, "oak-server", "oak-utils")
	want := "the real tree needs oakd and oakmodify on the PATH: install them (Debian: apt-get install oak-server oak-utils, with /usr/sbin on the PATH), or run go test -short"
	if err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
}

// TestAFreePortIsNotOneOfOutgoingConnections: an outgoing connection once took the port of a
// Keycloak that was about to start.
func TestAFreePortIsNotOneOfOutgoingConnections(t *testing.T) {
	content, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		t.Skip("the range of local ports is known on Linux only")
	}
	var first, last int
	if _, err := fmt.Sscan(string(content), &first, &last); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		port, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if first <= port && port <= last {
			t.Fatalf("port %d is one of %d to %d, which outgoing connections are given", port, first, last)
		}
	}
}
