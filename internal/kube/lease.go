package kube

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// client-go recommends these durations. A standby reads the Lease every 2 to 4.4 seconds. So it
// takes the Lease at most 24 seconds after the leader's last renewal: 4.4 seconds until it reads
// that renewal, leaseDuration, and 4.4 seconds until the next read.
//
// The leader sends no write later than renewDeadline after its last renewal (Held). A standby
// waits for leaseDuration, which is 5 seconds longer. In these 5 seconds no process sends a write.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
	// released is the value of leaseDurationSeconds in a Lease that its holder has released.
	// client-go writes this value.
	released = 1
	// unknown is the holder that lock.Get returns for a Lease that names no holder and was not
	// released, because a process may still believe that it holds this Lease.
	unknown = "unknown"
)

// Run tries to take the Lease until ctx ends. When this process has taken the Lease, Run calls
// lead. The context of lead ends when this process loses the Lease, or when ctx ends. Only after
// lead has returned, Run releases the Lease or tries to take it again. If lead returns an error,
// Run returns that error and does not release the Lease, because a write may still be under way.
// Another process can then lead only after the Lease has expired.
func (l *Lease) Run(ctx context.Context, lead func(context.Context) error) error {
	for ctx.Err() == nil {
		if err := l.runElection(ctx, func(resourcelock.LeaderElectionRecord) {}, lead); err != nil {
			return err
		}
	}
	return nil
}

// Take takes the Lease, calls lead once and releases the Lease. If lead returns an error, Take
// returns that error and does not release the Lease. If another process holds and renews the
// Lease, Take gives up, and the error names that process.
func (l *Lease) Take(ctx context.Context, lead func(context.Context) error) error {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	patience := time.AfterFunc(2*leaseDuration+retryPeriod, func() {
		giveUp(fmt.Errorf("the Lease %s could not be taken within %s, so nothing was done: read the holder (holderIdentity) and the last renewal (renewTime) of the Lease with kubectl, and check that the API server answers", l, 2*leaseDuration+retryPeriod))
	})
	defer patience.Stop()
	var led atomic.Bool
	var first *resourcelock.LeaderElectionRecord
	others := func(r resourcelock.LeaderElectionRecord) {
		switch {
		case led.Load(): // this process has led, so "nothing was done" in the error would be wrong
		case first == nil || first.HolderIdentity != r.HolderIdentity:
			first = &r
		case !first.RenewTime.Equal(&r.RenewTime):
			giveUp(fmt.Errorf("the Lease %s is held by %s, so nothing was done: ask that process instead (POST /-/sync, /-/approve), or stop it first", l, r.HolderIdentity))
		}
	}
	err := l.runElection(ctx, others, func(ctx context.Context) error {
		led.Store(true)
		patience.Stop()
		return lead(ctx)
	})
	if err == nil && !led.Load() {
		return context.Cause(ctx)
	}
	return err
}

// runElection waits until it can take the Lease, calls lead and releases the Lease. Each time a read
// of the Lease shows another holder, runElection calls others with what it read.
func (l *Lease) runElection(ctx context.Context, others func(resourcelock.LeaderElectionRecord), lead func(context.Context) error) error {
	electing, stop := context.WithCancel(l.quiet(context.WithoutCancel(ctx)))
	defer stop()
	won, over := make(chan struct{}), make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name: l.String(), LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod, ReleaseOnCancel: true,
		Lock: &lock{lease: l, others: others, stop: stop, Interface: &resourcelock.LeaseLock{
			LeaseMeta: meta.ObjectMeta{Namespace: l.namespace, Name: l.name}, Client: l.client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: l.identity},
		}},
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { close(won) },
			OnStoppedLeading: func() {},
			OnNewLeader:      l.leaderIs,
		},
	})
	if err != nil {
		return fmt.Errorf("setting up the election for the Lease %s: %w", l, err)
	}
	go func() { defer close(over); elector.Run(electing) }()
	select {
	case <-won:
		err = l.lead(ctx, over, lead)
	case <-ctx.Done():
	}
	if err != nil {
		l.end(err) // writes may still be under way, so the Lease is not released
	}
	stop()
	<-over
	l.forget()
	return err
}

// lead runs the function that it gets as an argument, which makes the passes of a term. The context
// of that function ends when ctx ends, or when this process has lost the Lease. The caller closes
// the channel `lost` when the Lease is lost.
func (l *Lease) lead(ctx context.Context, lost <-chan struct{}, lead func(context.Context) error) error {
	leading, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-lost:
			err := l.Held()
			if err == nil {
				err = fmt.Errorf("the Lease %s could not be renewed", l)
			}
			l.log.Warn("the leadership is lost: this process makes no passes until it has the Lease again", "lease", l.String(), "error", err)
			cancel(fmt.Errorf("the leadership is lost: %w", err))
		case <-ended:
		}
	}()
	l.log.Info("this process leads", "lease", l.String(), "identity", l.identity)
	return lead(leading)
}

// leaderIs records the new holder of the Lease. client-go calls it when the holder changes.
func (l *Lease) leaderIs(holder string) {
	if holder == unknown {
		holder = ""
	}
	l.mu.Lock()
	l.holder = holder
	l.mu.Unlock()
	if holder != "" && holder != l.identity {
		l.log.Info("this process stands by", "lease", l.String(), "leader", holder)
	}
}

// Holder returns the identity of the Lease's holder, as this process read it last. The identity is
// empty if there is no holder, or if the holder is unknown.
func (l *Lease) Holder() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.holder
}

// Held returns nil if this process holds the Lease and renewed it less than renewDeadline ago. Only
// then may the process write. Otherwise the error says why not. Held reads the clock and uses no
// timer, so its result is right even if the process was paused and has just continued.
func (l *Lease) Held() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch age := since(l.renewed); {
	case l.renewed.IsZero():
		return fmt.Errorf("this process does not hold the Lease %s", l)
	case l.ended != nil:
		return l.ended
	case age >= renewDeadline:
		return fmt.Errorf("the Lease %s has not been renewed for %s", l, age.Round(time.Second))
	}
	return nil
}

// since returns the time since t by the monotonic clock or by the wall clock, whichever is
// longer. The monotonic clock stops while a machine is suspended.
func since(t time.Time) time.Duration {
	now := time.Now()
	return max(now.Sub(t), now.Round(0).Sub(t.Round(0)))
}

// end ends the term of this process, if it has one. After that, lock sends no more requests, so
// the Lease is neither renewed nor released.
func (l *Lease) end(reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.renewed.IsZero() && l.ended == nil {
		l.ended = reason
	}
}

// forget deletes what the last election left, so that another election can begin.
func (l *Lease) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewed, l.ended = time.Time{}, nil
	if l.holder == l.identity {
		l.holder = ""
	}
}

// lock adds two things to client-go's lock. It records when this process renewed the Lease. And it
// ends the term as soon as another process has held the Lease. client-go alone would take the Lease
// again in the same election. A running pass would then continue with what it has read, although
// the other process may have changed that.
type lock struct {
	resourcelock.Interface
	lease  *Lease
	others func(resourcelock.LeaderElectionRecord)
	stop   func() // ends the election
	failed bool   // the last request failed, and its error is in the log
}

// termEnded reports whether the term of this process has ended. If so, it stops client-go's election
// loop, which runElection started, and returns the reason of the end. It returns nil if the term
// continues, or if this process is not the leader.
func (k *lock) termEnded() error {
	k.lease.mu.Lock()
	term := !k.lease.renewed.IsZero()
	k.lease.mu.Unlock()
	if !term {
		return nil
	}
	err := k.lease.Held()
	if err != nil {
		k.stop()
	}
	return err
}

// Get reads the Lease. If this process leads, and the Lease does not name this process as the
// holder, Get ends the term.
//
// If a person empties, deletes or replaces the Lease, its holder may write for up to renewDeadline
// before it notices the change. So if a Lease names no holder and was not released, Get returns the
// holder unknown, and client-go waits for leaseDuration, as for any other holder. If the Lease does
// not exist, Get creates a Lease without a holder.
func (k *lock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	if err := k.termEnded(); err != nil {
		return nil, nil, err
	}
	record, raw, err := k.Interface.Get(ctx)
	gone := apierrors.IsNotFound(err)
	if !gone {
		k.trouble(ctx, err)
	}
	if err != nil && !gone || err == nil && record.HolderIdentity == k.lease.identity {
		return record, raw, err
	}
	k.lease.end(fmt.Errorf("another process held the Lease %s meanwhile", k.lease))
	if err := k.termEnded(); err != nil {
		return nil, nil, err
	}
	switch {
	case gone:
		// The API server accepts no duration of 0.
		err := k.Interface.Create(ctx, resourcelock.LeaderElectionRecord{LeaseDurationSeconds: int(leaseDuration / time.Second)})
		if apierrors.IsAlreadyExists(err) {
			err = nil // another process was faster
		}
		k.trouble(ctx, err)
		if err != nil { // err is not wrapped, because client-go would take "namespace not found" for "Lease not found"
			return nil, nil, fmt.Errorf("creating the Lease %s, which did not exist: %v", k.lease, err)
		}
		return nil, nil, fmt.Errorf("the Lease %s did not exist, so it was created, and this process reads it again at its next attempt", k.lease)
	case record.HolderIdentity != "":
		k.others(*record)
		// The holder renews in time for leaseDuration. A person may have edited a shorter
		// duration into the Lease, so that is ignored.
		record.LeaseDurationSeconds = max(record.LeaseDurationSeconds, int(leaseDuration/time.Second))
	case record.LeaseDurationSeconds != released:
		record.HolderIdentity, record.LeaseDurationSeconds = unknown, int(leaseDuration/time.Second)
	}
	return record, raw, nil
}

// Create returns an error, and is never called. client-go would call Create if Get returned that
// there is no Lease, but Get creates a missing Lease itself.
func (k *lock) Create(context.Context, resourcelock.LeaderElectionRecord) error {
	return fmt.Errorf("the Lease %s did not exist", k.lease)
}

// Update writes the Lease: client-go calls it to take, renew or release the Lease.
func (k *lock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	if err := k.termEnded(); err != nil {
		return err
	}
	sent := time.Now()
	err := k.Interface.Update(ctx, record)
	k.trouble(ctx, err)
	if err == nil && record.HolderIdentity == k.lease.identity {
		k.lease.mu.Lock()
		k.lease.renewed = sent
		k.lease.mu.Unlock()
	}
	return err
}

// trouble logs the first failure in a row, and the first success after a failure. err is the error
// of the last request, or nil. A conflict is no failure, because it only means that another process
// was faster. trouble ignores requests after the end of ctx.
func (k *lock) trouble(ctx context.Context, err error) {
	if apierrors.IsConflict(err) {
		err = nil
	}
	switch {
	case ctx.Err() != nil:
		return
	case err != nil && !k.failed:
		k.lease.log.Warn("the Lease cannot be read or written", "lease", k.lease.String(), "error", k.lease.explain("Lease", k.lease.name, err))
	case err == nil && k.failed:
		k.lease.log.Info("the Lease can be read and written again", "lease", k.lease.String())
	}
	k.failed = err != nil
}
