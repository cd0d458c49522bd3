// Package daemon says when a pass runs: at once, then on a schedule, and when
// somebody asks for one; never two at a time, until it is told to stop.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/robfig/cron/v3"
	"golang.org/x/sync/semaphore"

	"groupsync/internal/reconcile"
	"groupsync/internal/report"
)

// Job is what runs when. It may be replaced while the daemon runs.
type Job struct {
	Schedule cron.Schedule // in UTC
	Jitter   time.Duration // a scheduled pass starts up to so much later, at most half the pause to the next; the first never
	Apply    bool          // passes may write
	Pass     func(context.Context, reconcile.Request) report.Report
}

// Options are what a Daemon needs beside its job. Next and Skipped are called
// from goroutines of their own, also while a pass runs.
type Options struct {
	ShutdownTimeout time.Duration   // how long a running pass is awaited in the end
	Next            func(time.Time) // told of each next scheduled pass, jitter left out; may be nil
	Skipped         func()          // told of each pass that was due while one ran; may be nil
	Log             *slog.Logger    // nil: nothing is logged
}

// Daemon makes passes.
type Daemon struct {
	options Options
	passing *semaphore.Weighted // held by the pass that runs, and while the job is replaced

	mu   sync.Mutex
	job  Job
	term *term // nil: this process stands by
}

// term is one run of the schedule.
type term struct {
	ctx   context.Context
	cron  *cron.Cron
	entry cron.EntryID
	jobs  sync.WaitGroup // passes that no tick started
}

// New returns a Daemon that stands by.
func New(j Job, o Options) *Daemon {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Next == nil {
		o.Next = func(time.Time) {}
	}
	if o.Skipped == nil {
		o.Skipped = func() {}
	}
	return &Daemon{options: o, job: j, passing: semaphore.NewWeighted(1)}
}

// Run makes passes until ctx ends, then waits for the one that is running. It
// returns nil, or an error where that pass had to be abandoned. A pass that
// panics is logged, and the schedule goes on. It may be called again after that.
func (d *Daemon) Run(ctx context.Context) error {
	log := logger{ctx: ctx, log: d.options.Log}
	t := &term{ctx: ctx, cron: cron.New(cron.WithLocation(time.UTC), cron.WithLogger(log))}
	d.mu.Lock()
	d.term = t
	d.begin(t)
	d.mu.Unlock()
	t.cron.Start()
	<-ctx.Done()

	d.mu.Lock()
	d.term = nil
	d.mu.Unlock()
	stopped := t.cron.Stop()
	finished := make(chan struct{})
	go func() {
		<-stopped.Done()
		t.jobs.Wait()
		close(finished)
	}()
	patience := time.NewTimer(d.options.ShutdownTimeout)
	defer patience.Stop()
	select {
	case <-finished:
		return nil
	case <-patience.C:
		return fmt.Errorf("the running pass did not end within shutdown_timeout (%s) and was abandoned: look at its last log lines, the next pass starts from a fresh reading", d.options.ShutdownTimeout)
	}
}

// begin puts the job on the term's schedule, and makes its first pass at once.
// d.mu is held.
func (d *Daemon) begin(t *term) {
	j := d.job
	next := func() { d.options.Next(j.Schedule.Next(time.Now().UTC())) }
	next()
	t.cron.Remove(t.entry)
	t.entry = t.cron.Schedule(j.Schedule, cron.FuncJob(func() {
		next()
		j.wait(t.ctx)
		d.scheduled(t)
	}))
	t.jobs.Go(func() {
		if d.passing.Acquire(t.ctx, 1) == nil {
			defer d.passing.Release(1)
			d.pass(t, reconcile.Approval{})
		}
	})
}

// wait waits out the jitter of a scheduled pass. Beyond half the pause, passes
// would skip each other.
func (j Job) wait(ctx context.Context) {
	now := time.Now().UTC()
	most := min(j.Jitter, j.Schedule.Next(now).Sub(now)/2)
	if most <= 0 {
		return
	}
	timer := time.NewTimer(rand.N(most))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// scheduled makes a pass, unless one is running.
func (d *Daemon) scheduled(t *term) {
	if !d.passing.TryAcquire(1) {
		d.options.Log.WarnContext(t.ctx, "a pass was due while one was running and is skipped: make schedule longer if this repeats")
		d.options.Skipped()
		return
	}
	defer d.passing.Release(1)
	d.pass(t, reconcile.Approval{})
}

// pass makes a pass of the current job. The caller holds passing. pass returns
// false if the term has ended or if the pass panicked.
func (d *Daemon) pass(t *term, a reconcile.Approval) (r report.Report, made bool) {
	d.mu.Lock()
	j := d.job
	d.mu.Unlock()
	if t.ctx.Err() != nil {
		return r, false
	}
	log := logger{ctx: t.ctx, log: d.options.Log}
	cron.Recover(log)(cron.FuncJob(func() {
		r = j.Pass(t.ctx, reconcile.Request{Apply: j.Apply, Approval: a})
		made = true
	})).Run()
	return r, made
}

// Errors of Sync, which then makes no pass.
var (
	ErrStandby  = errors.New("this process stands by and makes no passes: ask the one that leads")
	ErrObserves = errors.New("mode is observe, so a pass writes nothing and there is nothing to approve: set mode: apply first")
)

// Sync makes a pass as soon as the running pass has ended, and returns its
// report. The pass is given the approval; the zero Approval approves nothing.
// Sync returns ErrStandby, ErrObserves, the error of ctx, or an error that says
// that the pass panicked. The pass ends with the term, not with ctx.
func (d *Daemon) Sync(ctx context.Context, a reconcile.Approval) (report.Report, error) {
	d.mu.Lock()
	t := d.term
	if t != nil {
		t.jobs.Add(1)
	}
	d.mu.Unlock()
	if t == nil {
		return report.Report{}, ErrStandby
	}
	defer t.jobs.Done()
	if err := d.passing.Acquire(ctx, 1); err != nil {
		return report.Report{}, fmt.Errorf("waiting for the running pass: %w", err)
	}
	defer d.passing.Release(1)
	d.mu.Lock()
	apply := d.job.Apply // read only now: the job may have been replaced while Sync waited
	d.mu.Unlock()
	if a.Digest != "" && !apply {
		return report.Report{}, ErrObserves
	}
	r, made := d.pass(t, a)
	switch {
	case !made && t.ctx.Err() != nil:
		return r, ErrStandby
	case !made:
		return r, errors.New("the pass did not end in order: look at the log")
	}
	return r, nil
}

// Replace puts another job in the place of the daemon's, after the pass that is
// running. make builds it and may fail, which leaves all as it was. Where the
// daemon makes passes, the new job begins with one at once.
func (d *Daemon) Replace(ctx context.Context, make func() (Job, error)) error {
	if err := d.passing.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("waiting for the running pass: %w", err)
	}
	defer d.passing.Release(1)
	j, err := make()
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.job = j
	if d.term != nil {
		d.begin(d.term)
	}
	return nil
}

// logger is cron's logger over slog.
type logger struct {
	ctx context.Context
	log *slog.Logger
}

func (l logger) Info(msg string, keysAndValues ...any) {
	l.log.DebugContext(l.ctx, "schedule: "+msg, keysAndValues...)
}

func (l logger) Error(err error, msg string, keysAndValues ...any) {
	l.log.ErrorContext(l.ctx, "schedule: "+msg, append([]any{"error", err}, keysAndValues...)...)
}
