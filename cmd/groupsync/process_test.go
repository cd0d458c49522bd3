package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"groupsync/internal/daemon"
	"groupsync/internal/target/clearmltest"
)

// faulty are programs that the test binary can be, if BE_GROUPSYNC is set to the name.
var faulty = map[string]func(context.Context) int{
	"a panic of the program": func(context.Context) int {
		if err := daemon.Recovered(func() error { panic("a bug\x1b[2J") }); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	},
	"a panic of a goroutine": func(context.Context) int {
		go func() { panic("a bug") }()
		select {}
	},
	"a fatal error of the runtime": func(context.Context) int {
		var m sync.Mutex
		m.Unlock()
		return 0
	},
	"a program that does not end": func(ctx context.Context) int {
		fmt.Println("runs")
		<-ctx.Done()
		fmt.Println("finishes the write in hand")
		select {}
	},
	"a program that ends": func(ctx context.Context) int {
		fmt.Println("runs")
		<-ctx.Done()
		fmt.Println("finishes the write in hand")
		return 0
	},
}

func faultyProcess(t *testing.T, name string) *exec.Cmd {
	t.Helper()
	cmd := command(t.Context())
	cmd.Env = append(os.Environ(), "BE_GROUPSYNC="+name)
	return cmd
}

// TestAPanicIsNotDrift checks that no panic ends the process with exit code 2.
func TestAPanicIsNotDrift(t *testing.T) {
	for _, tt := range []struct {
		name   string
		code   int // -1: ended by a signal
		signal syscall.Signal
		stderr string
	}{
		{"a panic of the program", 1, 0, "a fault in groupsync: a bug"},
		{"a panic of a goroutine", -1, syscall.SIGABRT, "panic: a bug"},
		{"a fatal error of the runtime", -1, syscall.SIGABRT, "fatal error: sync: unlock of unlocked mutex"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := faultyProcess(t, tt.name)
			cmd.Dir = t.TempDir()
			got := finish(t, cmd)
			status := cmd.ProcessState.Sys().(syscall.WaitStatus)
			if got.code != tt.code || tt.code < 0 && status.Signal() != tt.signal {
				t.Errorf("exit code %d, signal %v; want %d, %v", got.code, status.Signal(), tt.code, tt.signal)
			}
			mustContain(t, "stderr", got.stderr, tt.stderr)
			mustContain(t, "the stack", got.stderr, "process_test.go")
			if status.CoreDump() {
				t.Error("it left a core file, which holds the secrets")
			}
		})
	}
}

// TestAPanicOfACommandIsAnError: daemon.Recovered returns a panic as an error with the stack.
func TestAPanicOfACommandIsAnError(t *testing.T) {
	err := daemon.Recovered(func() error { panic(fmt.Errorf("a bug")) })
	if err == nil || !strings.HasPrefix(err.Error(), "a fault in groupsync: a bug: report it with these lines\n\ngoroutine ") {
		t.Errorf("got %v", err)
	}
}

// TestSignals: the first signal lets the program finish, and the second ends the process.
func TestSignals(t *testing.T) {
	for _, tt := range []struct {
		name, program string
		signals       []syscall.Signal
		code          int
		stderr        string
	}{
		{"SIGINT", "a program that ends", []syscall.Signal{syscall.SIGINT}, 0, ""},
		{"SIGTERM", "a program that ends", []syscall.Signal{syscall.SIGTERM}, 0, ""},
		{"SIGINT twice", "a program that does not end", []syscall.Signal{syscall.SIGINT, syscall.SIGINT}, 130,
			"groupsync: a second signal (interrupt) came, so the process ends at once: a write that was under way may or may not have been made\n"},
		{"SIGTERM twice", "a program that does not end", []syscall.Signal{syscall.SIGTERM, syscall.SIGTERM}, 143,
			"groupsync: a second signal (terminated) came, so the process ends at once: a write that was under way may or may not have been made\n"},
		{"SIGTERM, then SIGINT", "a program that does not end", []syscall.Signal{syscall.SIGTERM, syscall.SIGINT}, 130,
			"groupsync: a second signal (interrupt) came, so the process ends at once: a write that was under way may or may not have been made\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := faultyProcess(t, tt.program)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			for i, want := range []string{"runs", "finishes the write in hand"} {
				if !lines.Scan() || lines.Text() != want {
					t.Fatalf("line %d is %q, want %q", i+1, lines.Text(), want)
				}
				if i < len(tt.signals) {
					if err := cmd.Process.Signal(tt.signals[i]); err != nil {
						t.Fatal(err)
					}
				}
			}
			_ = cmd.Wait() // the exit code is enough
			if got := cmd.ProcessState.ExitCode(); got != tt.code || stderr.String() != tt.stderr {
				t.Errorf("exit code %d, stderr %q\nwant %d, %q", got, stderr.String(), tt.code, tt.stderr)
			}
		})
	}
}

// TestASecondSignalEndsTheDaemon: it does so even while the daemon waits for a write that
// hangs.
func TestASecondSignalEndsTheDaemon(t *testing.T) {
	p := newServicePlace(t)
	p.clearml.Inject(clearmltest.Fault{Call: writeGroup, Hang: true})
	reached := make(chan struct{}, 100)
	trap := front(t, p.clearml)
	trap.on(func(r *http.Request) {
		if strings.HasSuffix(r.URL.Path, writeGroup) && r.Header.Get("Authorization") != "" {
			reached <- struct{}{}
		}
	})
	s := serve(t, p.configured(t, trap.URL, "apply"), "--shutdown_timeout", "5m")
	select {
	case <-reached:
	case <-time.After(30 * time.Second):
		t.Fatal("the pass never came to a write")
	}
	signal := func() {
		if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	signal()
	time.Sleep(time.Second) // the daemon waits for the write
	asked := time.Now()
	signal()
	for more := true; more; {
		_, more = s.next(t)
	}
	_ = s.cmd.Wait() // the exit code is enough
	if code, took := s.cmd.ProcessState.ExitCode(), time.Since(asked); code != 143 || took > 5*time.Second {
		t.Errorf("exit code %d after %s, want 143 at once\n%s", code, took, s.log.String())
	}
}
