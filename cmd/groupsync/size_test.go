package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"groupsync/internal/processtest"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target/clearmltest"
)

const mib = 1 << 20

// released builds the program as a release does, and returns its path and its size in
// bytes.
func released(b *testing.B) (path string, size int64) {
	b.Helper()
	path = filepath.Join(b.TempDir(), "groupsync")
	cmd := exec.CommandContext(b.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	processtest.Output(b, cmd)
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	return path, info.Size()
}

// until waits for a line of the daemon's log with that message.
func until(b *testing.B, log *json.Decoder, message string) {
	b.Helper()
	for {
		var entry struct {
			Message string `json:"msg"`
		}
		if err := log.Decode(&entry); err != nil {
			b.Fatalf("the log has no %q: %v", message, err)
		}
		if entry.Message == message {
			return
		}
	}
}

// BenchmarkProcess measures the program as it is released, against the real Keycloak and the
// realm of 10,000 users, 1,000 groups and 50,000 memberships. start-ms is the time from the
// start of the process to the log line with its address. idle-MiB is the resident memory ten
// seconds after a pass over a few people. peak-MiB is the most resident memory during a pass
// over the large realm, and rest-MiB the resident memory ten seconds later. Both include the
// count of leavers, which follows the first pass of a process.
func BenchmarkProcess(b *testing.B) {
	program, size := released(b)
	_, big, clearml := bigPlace(b)
	small := keycloaktest.Shared(b).NewRealm(b, keycloaktest.Spec{Groups: []string{"/team"}, Users: []keycloaktest.User{{Username: "ann", Email: "ann@example.com", Groups: []string{"/team"}}}})
	// daemon starts the program, waits for its first pass, and returns its status from procfs.
	few := clearmltest.New(b, clearmltest.Options{})
	few.AddUser(clearmltest.User{ID: "cm-ann", Name: "ann", Email: "ann@example.com", Role: "user", Providers: map[string]any{"keycloak": "2026-11-24T00:00:00Z"}})
	few.AddTeam("team", "cm-ann")
	daemon := func(realm *keycloaktest.Realm, clearml *clearmltest.Server) (started time.Duration, status procfs.ProcStatus) {
		config := configure(b, realm.Server.URL, realm.Name, clearml.URL, "")
		cmd := exec.CommandContext(b.Context(), program, "--config", config, "--log.format", "json", "--keycloak.timeout", "5m")
		log, err := cmd.StderrPipe()
		if err != nil {
			b.Fatal(err)
		}
		begun := time.Now()
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
		lines := json.NewDecoder(log)
		until(b, lines, "groupsync starts")
		started = time.Since(begun)
		until(b, lines, "the leavers were counted") // this follows the first pass
		time.Sleep(10 * time.Second)
		proc, err := procfs.NewProc(cmd.Process.Pid)
		if err != nil {
			b.Fatal(err)
		}
		if status, err = proc.NewStatus(); err != nil {
			b.Fatal(err)
		}
		return started, status
	}
	for b.Loop() {
		started, idle := daemon(small, few)
		_, busy := daemon(big, clearml)
		b.ReportMetric(float64(started.Milliseconds()), "start-ms")
		b.ReportMetric(float64(idle.VmRSS)/mib, "idle-MiB")
		b.ReportMetric(float64(busy.VmHWM)/mib, "peak-MiB")
		b.ReportMetric(float64(busy.VmRSS)/mib, "rest-MiB")
		b.ReportMetric(float64(size)/mib, "binary-MiB")
	}
}
