// Command groupsync keeps ClearML Enterprise user groups equal to Keycloak group
// membership. Without a command it runs the schedule; README.md has the rest.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program: arguments in, exit code out.
func run(ctx context.Context, args, env []string, stdout, stderr io.Writer) int {
	root := newRoot(program{env: env, stdout: stdout, stderr: stderr})
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var exit exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	}
	fmt.Fprintf(stderr, "groupsync: %v\n", err)
	return 1
}

// exitCode ends the program with a code of its own; what there is to say has
// been said.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// program is what commands share of the process.
type program struct {
	env            []string
	stdout, stderr io.Writer
}

// lookup returns the value of a variable; empty where it is not set.
func (p program) lookup(name string) string {
	for _, entry := range p.env {
		if key, value, _ := strings.Cut(entry, "="); key == name {
			return value
		}
	}
	return ""
}
