package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// asProcess runs the program as this process and ends the process with its exit
// code. It makes two promises that exit codes rest on.
//
// Signals: the first SIGINT or SIGTERM ends ctx, and the program then finishes the
// write in hand. The second one ends the process at once with 128 and the number
// of the signal, as a shell does.
//
// Panics: the exit code is never 2, which is Go's own code for a panic and means
// drift here. run and the goroutines of the daemon use recovered, so their panics
// end the process with code 1. A panic in any other goroutine, such as a
// library's, and a fatal error of Go's runtime cannot be caught. They end the
// process by SIGABRT, which a shell shows as 134.
func asProcess(program func(context.Context) int) {
	abortOnPanic()
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		second := <-signals
		fmt.Fprintf(os.Stderr, "groupsync: a second signal (%s) came, so the process ends at once: a write that was under way may or may not have been made\n", second)
		code := 1
		if number, is := second.(syscall.Signal); is {
			code = 128 + int(number)
		}
		os.Exit(code)
	}()
	os.Exit(program(ctx))
}

// abortOnPanic makes Go's runtime end the process by SIGABRT after a panic that
// nobody recovers, in the place of exit code 2. It also switches core files off,
// which SIGABRT would otherwise ask for: they would hold the secrets.
func abortOnPanic() {
	debug.SetTraceback("crash")
	var core syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_CORE, &core) == nil {
		core.Cur = 0
		_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &core) // if this fails, the limit of the machine stays
	}
}

// recovered calls f and returns a panic of f as an error, with the stack.
func recovered(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a fault in groupsync: %v: report it with these lines\n\n%s", p, debug.Stack())
		}
	}()
	return f()
}
