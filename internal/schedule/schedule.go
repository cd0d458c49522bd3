// Package schedule runs passes: one as soon as it starts, then on a schedule, and on request. It
// never runs two passes at the same time.
package schedule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/robfig/cron/v3"
	"golang.org/x/sync/semaphore"

	"groupsync/internal/reconcile"
	"groupsync/internal/report"
)

// Job is the schedule, and the functions that make passes. Scheduler.Replace replaces the Job while
// the Scheduler runs.
type Job struct {
	Schedule cron.Schedule // in UTC
	Jitter   time.Duration // the longest random delay of a scheduled pass; at most half the time to the next pass; the first pass has none
	Apply    bool          // passes may write
	Pass     func(context.Context, reconcile.Request) report.Report
	// PassOf makes the pass of one person. If it returns an error, there is no report.
	PassOf func(ctx context.Context, user string, req reconcile.Request) (report.Report, error)

	// After is called with the report after each pass of the schedule, but not after a pass of
	// Sync. No pass runs during the call. The context of After ends after nine tenths of the time
	// to the next scheduled pass, so that the next pass is not skipped. If somebody calls Sync or
	// Replace, the context ends at once, with the cause ErrAsked. If a call of Sync or Replace is
	// already waiting when the pass ends, After is not called. After may be nil.
	After func(context.Context, report.Report)
}

// Options are what a Scheduler needs besides its Job. Several goroutines call Next and Skipped, also
// while a pass runs.
type Options struct {
	ShutdownTimeout time.Duration   // how long Run waits for a running pass after its context has ended
	Next            func(time.Time) // called with the time of the next scheduled pass, without jitter, when that time changes; may be nil
	Skipped         func()          // called for each pass that was due while a whole pass ran or waited; may be nil
	Log             *slog.Logger    // nil: nothing is logged

	// Jitter returns the delay of a scheduled pass, which is less than most. If Jitter is nil,
	// the delay is random.
	Jitter func(most time.Duration) time.Duration
}

// Scheduler makes passes.
type Scheduler struct {
	options Options
	// wholePass is held by a whole pass (a pass of everybody) while the pass runs, and while it
	// waits for anyPass. A caller that needs both semaphores acquires wholePass first.
	wholePass *semaphore.Weighted
	anyPass   *semaphore.Weighted // held by the pass that runs, and while the job is replaced

	mu       sync.Mutex
	job      Job
	term     *term                   // nil: this process is a standby, or the schedule has not started
	waiting  int                     // number of calls of Sync and Replace that wait for a semaphore
	endAfter context.CancelCauseFunc // ends the context of Job.After; nil: Job.After does not run
}

// term is the time from a call of Run to the end of the context of Run. This process makes passes
// only in a term.
type term struct {
	ctx   context.Context
	cron  *cron.Cron
	entry cron.EntryID
	jobs  sync.WaitGroup // passes that the cron schedule did not start: the first pass of a job, and those of Sync
}

// New returns a Scheduler. It makes no passes until Run is called.
func New(j Job, o Options) *Scheduler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Next == nil {
		o.Next = func(time.Time) {}
	}
	if o.Skipped == nil {
		o.Skipped = func() {}
	}
	if o.Jitter == nil {
		o.Jitter = func(most time.Duration) time.Duration { return rand.N(most) } // #nosec G404 -- the delay spreads load and keeps no secret
	}
	return &Scheduler{options: o, job: j, wholePass: semaphore.NewWeighted(1), anyPass: semaphore.NewWeighted(1)}
}

// Run makes passes until ctx ends. Run then waits until the running pass ends. If that takes longer
// than ShutdownTimeout, Run returns an error. If a pass panics, Run logs the panic and goes on with
// the schedule. Run may be called again after it has returned.
func (d *Scheduler) Run(ctx context.Context) error {
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
		return fmt.Errorf("the running pass did not end within shutdown_timeout (%s) and was abandoned: look at its last log lines; the next pass reads both sides again", d.options.ShutdownTimeout)
	}
}

// begin starts the schedule of d.job in the term t, and starts a first pass at once. It replaces the
// schedule of an earlier job. The caller holds d.mu.
func (d *Scheduler) begin(t *term) {
	j := d.job
	next := func() { d.options.Next(j.Schedule.Next(time.Now().UTC())) }
	next()
	t.cron.Remove(t.entry)
	t.entry = t.cron.Schedule(j.Schedule, cron.FuncJob(func() {
		next()
		j.wait(t.ctx, d.options.Jitter)
		d.scheduled(t)
	}))
	t.jobs.Go(func() {
		if d.wholePass.Acquire(t.ctx, 1) == nil {
			defer d.wholePass.Release(1)
			d.passAndAfter(t)
		}
	})
}

// wait waits for the jitter of a scheduled pass, but at most half the time to the next pass. After a
// longer wait, the pass could still run when the next pass is due, and the next pass would be
// skipped.
func (j Job) wait(ctx context.Context, jitter func(time.Duration) time.Duration) {
	now := time.Now().UTC()
	most := min(j.Jitter, j.Schedule.Next(now).Sub(now)/2)
	if most <= 0 {
		return
	}
	timer := time.NewTimer(jitter(most))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// scheduled makes a scheduled pass. If a whole pass runs or waits, scheduled skips the scheduled
// pass. If a pass of one person runs, scheduled waits until that pass ends, because that pass does
// nothing for other people.
func (d *Scheduler) scheduled(t *term) {
	if !d.wholePass.TryAcquire(1) {
		d.options.Log.WarnContext(t.ctx, "a pass was due and is skipped, because another pass has not ended: if this repeats, run passes less often (schedule)")
		d.options.Skipped()
		return
	}
	defer d.wholePass.Release(1)
	d.passAndAfter(t)
}

// passAndAfter makes a pass of the schedule, and then runs Job.After. The caller holds wholePass.
func (d *Scheduler) passAndAfter(t *term) {
	if d.anyPass.Acquire(t.ctx, 1) != nil {
		return // the term has ended
	}
	defer d.anyPass.Release(1)
	d.mu.Lock()
	j := d.job
	d.mu.Unlock()
	r, err := d.pass(t, everybody, reconcile.Request{})
	if err != nil || j.After == nil {
		return
	}
	now := time.Now().UTC()
	ctx, cancel := context.WithTimeout(t.ctx, j.Schedule.Next(now).Sub(now)*9/10)
	defer cancel()
	d.runAfter(ctx, j, r)
}

// runAfter calls j.After, and ends its context when somebody calls Sync or Replace. The caller holds
// anyPass.
func (d *Scheduler) runAfter(ctx context.Context, j Job, r report.Report) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d.mu.Lock()
	asked := d.waiting > 0
	d.endAfter = cancel
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.endAfter = nil
		d.mu.Unlock()
	}()
	if asked || ctx.Err() != nil {
		return
	}
	cron.Recover(logger{ctx: ctx, log: d.options.Log})(cron.FuncJob(func() { j.After(ctx, r) })).Run()
}

// everybody is the value of the parameter user for a whole pass.
const everybody = ""

// pass makes a pass with the functions of the current job: for one user, or for everybody. The
// caller holds anyPass. If the term has ended, the error is ErrStandby. Otherwise an error means
// that the pass panicked, or is the error of Job.PassOf.
func (d *Scheduler) pass(t *term, user string, req reconcile.Request) (r report.Report, err error) {
	d.mu.Lock()
	j := d.job
	d.mu.Unlock()
	if t.ctx.Err() != nil {
		return r, ErrStandby
	}
	req.Apply = j.Apply
	err = errors.New("the pass ended with a fault in groupsync: look at the log")
	log := logger{ctx: t.ctx, log: d.options.Log}
	cron.Recover(log)(cron.FuncJob(func() {
		if user == everybody {
			r, err = j.Pass(t.ctx, req), nil
			return
		}
		r, err = j.PassOf(t.ctx, user, req)
	})).Run()
	return r, err
}

// ErrAsked is the context.Cause of Job.After's context if somebody calls Sync or Replace while
// Job.After runs. Such a call ends Job.After early, so that the new pass or the new job need not
// wait long.
var ErrAsked = errors.New("a pass or a reload was requested")

// acquire acquires the semaphores in order. If Job.After runs, acquire first ends its context.
func (d *Scheduler) acquire(ctx context.Context, semaphores ...*semaphore.Weighted) (release func(), err error) {
	d.mu.Lock()
	d.waiting++
	if d.endAfter != nil {
		d.endAfter(ErrAsked)
	}
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.waiting--
		d.mu.Unlock()
	}()
	var held []*semaphore.Weighted
	release = func() {
		for _, s := range slices.Backward(held) {
			s.Release(1)
		}
	}
	for _, s := range semaphores {
		if err := s.Acquire(ctx, 1); err != nil {
			release()
			return nil, fmt.Errorf("waiting for the running pass: %w", err)
		}
		held = append(held, s)
	}
	return release, nil
}

// Errors of Sync for a request that this process cannot serve now.
var (
	ErrStandby  = errors.New("this process is a standby and makes no passes: ask the leader")
	ErrObserves = errors.New("mode is observe, so a pass writes nothing and there is nothing to approve: set mode: apply first")
)

// Sync waits until the running pass has ended, makes a pass, and returns the report of that pass.
// The pass is for one user (reconcile.Subject.User), or for everybody if user is empty. Sync sets
// req.Apply to Job.Apply. It returns ErrStandby if there is no term, and ErrObserves if req has an
// approval but Job.Apply is false. Other errors are those of ctx and of Job.PassOf, and an error
// about a panic. The end of ctx does not stop a pass that has begun. The end of Run's context does.
func (d *Scheduler) Sync(ctx context.Context, user string, req reconcile.Request) (report.Report, error) {
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
	needed := []*semaphore.Weighted{d.anyPass}
	if user == everybody {
		needed = []*semaphore.Weighted{d.wholePass, d.anyPass}
	}
	release, err := d.acquire(ctx, needed...)
	if err != nil {
		return report.Report{}, err
	}
	defer release()
	d.mu.Lock()
	apply := d.job.Apply // read after the wait, because Replace may have replaced the job during the wait
	d.mu.Unlock()
	if req.Approval.Digest != "" && !apply {
		return report.Report{}, ErrObserves
	}
	r, err := d.pass(t, user, req)
	if err != nil && t.ctx.Err() != nil {
		err = ErrStandby
	}
	return r, err
}

// Replace waits until the running pass has ended, calls make, and replaces the job by the result.
// If make returns an error, Replace keeps the old job and returns the error. If the Scheduler runs,
// the new job begins with a pass at once.
func (d *Scheduler) Replace(ctx context.Context, make func() (Job, error)) error {
	release, err := d.acquire(ctx, d.anyPass)
	if err != nil {
		return err
	}
	defer release()
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

// logger writes the log of the cron library to log. It lowers the level info to debug.
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
