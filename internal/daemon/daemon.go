// Package daemon says when a pass runs: at once, then on a schedule, never two
// at a time, until it is told to stop.
package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/robfig/cron/v3"
)

// Options are what Run needs. Schedule and Pass are required. Next and Skipped
// are called from goroutines of their own, also while Pass runs.
type Options struct {
	Schedule        cron.Schedule         // in UTC
	Jitter          time.Duration         // a scheduled pass starts up to so much later, at most half the pause to the next; the first never
	ShutdownTimeout time.Duration         // how long a running pass is awaited in the end
	Pass            func(context.Context) // its context ends with Run's
	Next            func(time.Time)       // told of each next scheduled pass, jitter left out; may be nil
	Skipped         func()                // told of each pass that was due while one ran; may be nil
	Log             *slog.Logger          // nil: nothing is logged
}

// Run makes passes until ctx ends, then waits for the one that is running. It
// returns nil, or an error where that pass had to be abandoned. A pass that
// panics is logged, and the schedule goes on.
func Run(ctx context.Context, o Options) error {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	log := logger{ctx: ctx, log: o.Log, skipped: o.Skipped}
	// In this order: with Recover outside, a panic would keep the token of
	// SkipIfStillRunning, and every later pass would be skipped.
	job := cron.NewChain(cron.SkipIfStillRunning(log), cron.Recover(log)).Then(pass(ctx, o))
	next := func() {
		if o.Next != nil {
			o.Next(o.Schedule.Next(time.Now().UTC()))
		}
	}
	c := cron.New(cron.WithLocation(time.UTC), cron.WithLogger(log))
	c.Schedule(o.Schedule, cron.FuncJob(func() { next(); job.Run() }))

	next()
	var first sync.WaitGroup
	first.Go(job.Run)
	c.Start()
	<-ctx.Done()

	stopped := c.Stop()
	finished := make(chan struct{})
	go func() {
		<-stopped.Done()
		first.Wait()
		close(finished)
	}()
	patience := time.NewTimer(o.ShutdownTimeout)
	defer patience.Stop()
	select {
	case <-finished:
		return nil
	case <-patience.C:
		return fmt.Errorf("the running pass did not end within shutdown_timeout (%s) and was abandoned: look at its last log lines, the next pass starts from a fresh reading", o.ShutdownTimeout)
	}
}

// pass returns the job: every one but the first waits out its jitter, and none
// starts once ctx has ended.
func pass(ctx context.Context, o Options) cron.FuncJob {
	var later atomic.Bool
	return func() {
		// A jitter beyond half the pause would make passes skip each other.
		now := time.Now().UTC()
		if most := min(o.Jitter, o.Schedule.Next(now).Sub(now)/2); later.Swap(true) && most > 0 {
			wait := time.NewTimer(rand.N(most))
			defer wait.Stop()
			select {
			case <-wait.C:
			case <-ctx.Done():
			}
		}
		if ctx.Err() == nil {
			o.Pass(ctx)
		}
	}
}

// logger is cron's logger over slog. Cron reports a skipped job as an Info
// that says "skip", and nowhere else.
type logger struct {
	ctx     context.Context
	log     *slog.Logger
	skipped func()
}

func (l logger) Info(msg string, keysAndValues ...any) {
	if msg != "skip" {
		l.log.DebugContext(l.ctx, "schedule: "+msg, keysAndValues...)
		return
	}
	l.log.WarnContext(l.ctx, "a pass was due while one was running and is skipped: make schedule longer if this repeats")
	if l.skipped != nil {
		l.skipped()
	}
}

func (l logger) Error(err error, msg string, keysAndValues ...any) {
	l.log.ErrorContext(l.ctx, "schedule: "+msg, append([]any{"error", err}, keysAndValues...)...)
}
