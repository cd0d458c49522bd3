package processtest

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
)

// Tool returns the path of a program that the Makefile builds from tools/. variable is the name of
// the environment variable that holds this path. The Makefile exports the variable. Tool skips the
// test under go test -short. If the variable is not set, the test fails.
func Tool(tb testing.TB, variable string) string {
	tb.Helper()
	if testing.Short() {
		tb.Skipf("runs %s", variable)
	}
	_ = os.Getenv("TOOLS") // stands for the versions of all tools: after a change of it, go test uses no cached result
	path := os.Getenv(variable)
	if path == "" {
		tb.Fatalf("the environment variable %s is not set, so there is no program to run: run make test, or run make tools and set the variable to the path of the program in ~/.cache/groupsync/bin", variable)
	}
	return path
}

// Output runs the command and returns its stdout. If the command fails, the test fails, and the
// message has the stdout and the stderr of the command.
func Output(tb testing.TB, cmd *exec.Cmd) string {
	tb.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("%v: %v\n%s%s", cmd.Args, err, out, stderr.String())
	}
	return string(out)
}
