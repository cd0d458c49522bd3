package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// asProcess runs the program as this process and ends the process with the program's exit
// code. Two rules decide the exit code if a signal or a panic ends the process.
//
// Signals: the first SIGINT or SIGTERM ends ctx, and the program then finishes the write that
// is under way. The second signal ends the process at once. The exit code is then 128 plus the
// number of the signal, as in a shell.
//
// Panics: a panic never ends the process with code 2. That is Go's own code for a panic, but
// here 2 means drift. run and the goroutines of the daemon call daemon.Recovered, so their
// panics end the process with code 1. A panic in any other goroutine, such as a library's, and
// a fatal error of Go's runtime cannot be caught. They end the process by SIGABRT, which a
// shell shows as 134.
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

// abortOnPanic makes Go's runtime end the process by SIGABRT after a panic that nothing
// recovers, instead of with exit code 2. It also disables core files, because SIGABRT would
// write a core file that holds the secrets.
func abortOnPanic() {
	debug.SetTraceback("crash")
	var core syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_CORE, &core) == nil {
		core.Cur = 0
		_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &core) // if the call fails, the limit of the machine for core files stays
	}
}
