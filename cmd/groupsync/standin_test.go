package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"testing"
	"time"
)

// TestTheStandInServes: the page that examples/compose uses as its health check is served
// until the process is told to end.
func TestTheStandInServes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	got := inProcess(t, nil, "demo", "--serve", address)
	want := fmt.Sprintf("groupsync: starting the ClearML stand-in: listen tcp %s: bind: address already in use: name a free address, such as 127.0.0.1:8008\n", address)
	if got.code != 1 || got.stderr != want {
		t.Errorf("where the address is taken: exit %d\n%swant\n%s", got.code, got.stderr, want)
	}
	l.Close()

	ctx, end := context.WithCancel(t.Context())
	var stdout, stderr bytes.Buffer
	code := make(chan int)
	go func() { code <- run(ctx, []string{"demo", "--serve", address}, nil, &stdout, &stderr) }()
	healthy := func() bool { return inProcess(t, nil, "health", "http://"+address+"/").code == 0 }
	for deadline := time.Now().Add(10 * time.Second); !healthy(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not answer")
		}
	}
	end()
	if c := <-code; c != 0 || stderr.Len() > 0 || stdout.String() != "The ClearML stand-in: http://"+address+"/api (Ctrl-C ends)\n" {
		t.Errorf("exit %d\n%s%s", c, stdout.String(), stderr.String())
	}
}
