// Package daemon says when a pass runs: at start, then on a schedule, never two
// at a time, and no longer once the process is asked to stop.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/robfig/cron/v3"
)

// Options say what runs, and when.
type Options struct {
	Schedule        cron.Schedule
	Jitter          time.Duration         // scheduled passes start up to so much later; the first never does
	ShutdownTimeout time.Duration         // how long a running pass may take to end
	Pass            func(context.Context) // one pass; it must heed its context
	Next            func(time.Time)       // told when the next pass is due; may be nil
	Skipped         func()                // told of each tick that found a pass still running; may be nil
	Log             *slog.Logger
}

// ErrAbandoned is returned by Run where the last pass did not end in time.
var ErrAbandoned = errors.New("the running pass did not end in time and was abandoned")

// Run runs until ctx is done: no pass begins any more, the running one's
// context is cancelled, and it is awaited for ShutdownTimeout. It returns nil,
// or an error that wraps ErrAbandoned.
func Run(ctx context.Context, o Options) error {
	logger := cronLog{o.Log, o.Skipped}
	// SkipIfStillRunning must be outside Recover: otherwise a panic keeps its
	// token and every later tick is skipped (reference/libraries.md).
	chain := cron.NewChain(cron.SkipIfStillRunning(logger), cron.Recover(logger))
	// One job serves the start and every tick, so that they skip each other.
	first := true
	job := chain.Then(cron.FuncJob(func() {
		delay := time.Duration(0)
		if !first && o.Jitter > 0 {
			delay = rand.N(o.Jitter)
		}
		first = false
		o.announce()
		if sleep(ctx, delay) {
			o.Pass(ctx)
		}
	}))
	c := cron.New(cron.WithLocation(time.UTC), cron.WithLogger(logger))
	c.Schedule(o.Schedule, job)
	started := make(chan struct{})
	go func() {
		defer close(started)
		job.Run()
	}()
	c.Start()
	<-ctx.Done()
	return await(c.Stop(), started, o.ShutdownTimeout)
}

// await waits for the passes that were begun at a tick or at start.
func await(ticked context.Context, started <-chan struct{}, limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for _, done := range []<-chan struct{}{ticked.Done(), started} {
		select {
		case <-done:
		case <-timer.C:
			return fmt.Errorf("after shutdown_timeout of %s: %w", limit, ErrAbandoned)
		}
	}
	return nil
}

func (o Options) announce() {
	if o.Next != nil {
		o.Next(o.Schedule.Next(time.Now().UTC()))
	}
}

// sleep reports whether the whole time passed.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// cronLog passes cron's words on: skips as warnings, since cron logs them at
// info, and panics as errors.
type cronLog struct {
	log     *slog.Logger
	skipped func()
}

func (l cronLog) Info(msg string, args ...any) {
	if msg != "skip" {
		l.log.Debug("cron: "+msg, args...)
		return
	}
	l.log.Warn("a pass was skipped, since the one before it is still running")
	if l.skipped != nil {
		l.skipped()
	}
}

func (l cronLog) Error(err error, msg string, args ...any) {
	l.log.Error("a pass panicked", append([]any{"error", err, "what", msg}, args...)...)
}
