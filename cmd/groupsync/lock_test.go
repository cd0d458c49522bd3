package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestTwoPassesOnAMachineDoNotMeet runs a daemon and a --once --apply, both without state_dir
// and Lease. A dry run takes no lock.
func TestTwoPassesOnAMachineDoNotMeet(t *testing.T) {
	t.Parallel() // most of it is waiting
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has abstract Unix sockets")
	}
	asked := make(chan struct{}, 100)
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the context ends with the connection only after the body was read
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(silent.Close)
	t.Cleanup(silent.CloseClientConnections)
	config := write(t, "config.yaml", `keycloak: {url: "http://127.0.0.1:1", realm: clearml, client_secret: s, timeout: 1s}
clearml: {url: "`+silent.URL+`", access_key: a, secret_key: k}
web: {listen: "127.0.0.1:0"}
`)
	daemon := serveIn(t, nil, config, "--mode", "apply", "--clearml.timeout", "2m")
	select {
	case <-asked:
	case <-time.After(30 * time.Second):
		t.Fatal("the daemon's pass never began")
	}
	const locked = "another groupsync on this machine is making a pass for the same clearml.url, so this pass was not made: try again when the other pass has ended; if the two synchronize different groups and may run at the same time, give each its own state_dir or lease.name"
	got := groupsync(t, "--once", "--apply", "-o", "json", "--config", config, "--clearml.timeout", "1s")
	if r := got.report(t); got.code != 1 || len(r.Errors) != 1 || r.Errors[0].Text != locked {
		t.Errorf("beside the daemon's pass: exit code %d, %v\nwant 1, %s", got.code, r.Errors, locked)
	}
	got = groupsync(t, "--once", "-o", "json", "--config", config, "--clearml.timeout", "1s")
	if r := got.report(t); got.code != 1 || len(r.Errors) != 1 || strings.Contains(r.Errors[0].Text, "another groupsync") {
		t.Errorf("a dry run beside the daemon's pass: exit code %d, %v", got.code, r.Errors)
	}
	if code := daemon.terminate(t); code != 0 {
		t.Errorf("the daemon: exit code %d\n%s", code, daemon.log.String())
	}
	got = groupsync(t, "--once", "--apply", "-o", "json", "--config", config, "--clearml.timeout", "1s")
	if r := got.report(t); len(r.Errors) != 1 || strings.Contains(r.Errors[0].Text, "another groupsync") {
		t.Errorf("after the daemon has ended: %v", r.Errors)
	}
}
