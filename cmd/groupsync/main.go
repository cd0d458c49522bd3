// Command groupsync keeps ClearML Enterprise user groups equal to Keycloak group
// membership. Without a command it runs the schedule; README.md has the rest.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"groupsync/internal/daemon"
	"groupsync/internal/report"
)

func main() {
	asProcess(func(ctx context.Context) int { return run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr) })
}

// run runs the program and returns the exit code. args do not contain the name of the program. env
// has entries of the form NAME=value. A panic counts as an error (exit code 1).
func run(ctx context.Context, args, env []string, stdout, stderr io.Writer) int {
	root := newRoot(program{env: env, stdout: stdout, stderr: stderr})
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := daemon.Recovered(func() error { return root.ExecuteContext(ctx) })
	var exit exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	}
	fmt.Fprintf(stderr, "groupsync: %s\n", report.EscapeLines(err.Error()))
	return 1
}

// exitCode is an error that a command returns to end the program with this exit code. run prints no
// message for it, because the command has already printed everything.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// program holds the environment and the outputs that all commands share.
type program struct {
	env            []string
	stdout, stderr io.Writer
}

// lookup returns the value of an environment variable. If the variable is not set, it returns
// an empty text.
func (p program) lookup(name string) string {
	for _, entry := range p.env {
		if key, value, _ := strings.Cut(entry, "="); key == name {
			return value
		}
	}
	return ""
}
