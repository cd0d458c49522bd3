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

// A standby takes over at the latest leaseDuration + retryPeriod after the last
// renewal. The leader sends no write from renewDeadline after it on, so that
// between the two nobody does.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
	// look is how often client-go does something; a campaign stretches it by up
	// to JitterFactor. A standby needs two looks, one to see the last renewal
	// and one to find it too old: 2 x 2.2 x look is less than retryPeriod.
	look = 400 * time.Millisecond
	// released is the duration, in seconds, of a Lease that was given up in order;
	// client-go writes the same.
	released = 1
)

// Run campaigns for the Lease until ctx ends. While this process holds it, lead
// runs, under a context that ends when the leadership is lost or ctx ends; it
// is awaited, and only then is the Lease given up or campaigned for again. Run
// returns nil, or the error of a lead that did not end in order: then the Lease
// is left to run out.
func (l *Lease) Run(ctx context.Context, lead func(context.Context) error) error {
	for ctx.Err() == nil {
		if err := l.campaign(ctx, func(resourcelock.LeaderElectionRecord) {}, lead); err != nil {
			return err
		}
	}
	return nil
}

// Take is Run for one task: it takes the Lease, awaits lead and gives the Lease
// up. Where another process is seen to renew it, the error says who.
func (l *Lease) Take(ctx context.Context, lead func(context.Context) error) error {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	patience := time.AfterFunc(2*leaseDuration+retryPeriod, func() {
		giveUp(fmt.Errorf("the Lease %s could not be had for %s, so nothing was done: look at it with kubectl, and at the API server", l, 2*leaseDuration+retryPeriod))
	})
	defer patience.Stop()
	var led atomic.Bool
	var first *resourcelock.LeaderElectionRecord
	others := func(r resourcelock.LeaderElectionRecord) {
		switch {
		case led.Load(): // then something was done
		case first == nil || first.HolderIdentity != r.HolderIdentity:
			first = &r
		case !first.RenewTime.Equal(&r.RenewTime):
			giveUp(fmt.Errorf("the Lease %s is held by %s, so nothing was done: have that process do it (POST /-/sync, /-/approve), or stop it first", l, r.HolderIdentity))
		}
	}
	err := l.campaign(ctx, others, func(ctx context.Context) error {
		led.Store(true)
		patience.Stop()
		return lead(ctx)
	})
	if err == nil && !led.Load() {
		return context.Cause(ctx)
	}
	return err
}

// campaign waits for the Lease, leads once and gives it up. others is told of
// every record that shows another holder.
func (l *Lease) campaign(ctx context.Context, others func(resourcelock.LeaderElectionRecord), lead func(context.Context) error) error {
	electing, stop := context.WithCancel(l.quiet(context.WithoutCancel(ctx)))
	defer stop()
	won, over := make(chan struct{}), make(chan struct{})
	k := &lock{lease: l, others: others, end: stop, Interface: &resourcelock.LeaseLock{
		LeaseMeta: meta.ObjectMeta{Namespace: l.namespace, Name: l.name}, Client: l.client.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: l.identity},
	}}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: k, Name: l.String(), LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: look,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { close(won) },
			OnStoppedLeading: func() {},
			OnNewLeader:      l.leaderIs,
		},
	})
	if err != nil {
		return fmt.Errorf("campaigning for the Lease %s: %w", l, err)
	}
	go func() { defer close(over); elector.Run(electing) }()
	select {
	case <-won:
		if err := l.lead(ctx, over, lead); err != nil {
			return err
		}
	case <-ctx.Done():
	}
	stop()
	<-over // the elector uses the lock no more
	l.release(k)
	return nil
}

// lead runs lead until it has ended, under a context that ends with the
// leadership.
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

// leaderIs notes who holds the Lease.
func (l *Lease) leaderIs(holder string) {
	l.mu.Lock()
	l.holder = holder
	l.mu.Unlock()
	if holder != "" && holder != l.identity {
		l.log.Info("this process stands by", "lease", l.String(), "leader", holder)
	}
}

// Holder returns who held the Lease when it was seen last; empty: nobody.
func (l *Lease) Holder() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.holder
}

// Held returns nil while this process surely holds the Lease, else why not. It
// looks at the clock, so that a process that was paused knows before any timer
// of it has fired.
func (l *Lease) Held() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch age := since(l.renewed); {
	case l.renewed.IsZero():
		return fmt.Errorf("this process does not hold the Lease %s", l)
	case l.passed:
		return fmt.Errorf("another process held the Lease %s meanwhile", l)
	case age >= renewDeadline:
		return fmt.Errorf("the Lease %s has not been renewed for %s", l, age.Round(time.Second))
	}
	return nil
}

// since is how long ago a time was, by the clock that runs evenly or by that of
// the wall, whichever says more: the first stands still while a machine sleeps.
func since(t time.Time) time.Duration {
	now := time.Now()
	return max(now.Sub(t), now.Round(0).Sub(t.Round(0)))
}

// release gives the Lease up where this process still holds it. client-go's own
// would also overwrite one that another process has taken since.
func (l *Lease) release(k *lock) {
	l.mu.Lock()
	held := !l.renewed.IsZero()
	l.renewed, l.passed = time.Time{}, false
	if l.holder == l.identity {
		l.holder = ""
	}
	l.mu.Unlock()
	if !held {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	record, _, err := k.Interface.Get(ctx)
	if err == nil && record.HolderIdentity != l.identity {
		return
	}
	if err == nil {
		record.HolderIdentity, record.LeaseDurationSeconds, record.RenewTime = "", released, meta.Now()
		err = k.Interface.Update(ctx, *record)
	}
	if err != nil {
		l.log.Warn("the Lease was not given up: a standby waits until it has run out", "lease", l.String(), "error", err)
	}
}

// lock is client-go's lock, with an eye on when it was renewed, on who has it,
// and on whether the API answers.
type lock struct {
	resourcelock.Interface
	lease  *Lease
	others func(resourcelock.LeaderElectionRecord)
	end    func()    // ends the campaign
	heldAt time.Time // when another process was seen to hold it last
	bareAt time.Time // since when it is seen with no holder, and not given up
	failed bool      // the last request got an error
}

func (k *lock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := k.Interface.Get(ctx)
	k.trouble(err)
	gone := apierrors.IsNotFound(err)
	if err != nil && !gone || err == nil && record.HolderIdentity == k.lease.identity {
		return record, raw, err
	}
	k.broken(true)
	switch {
	case !gone && record.HolderIdentity != "":
		k.heldAt, k.bareAt = time.Now(), time.Time{}
		k.others(*record)
		// The holder counts on leaseDuration, also if somebody edits what the Lease says.
		record.LeaseDurationSeconds = max(record.LeaseDurationSeconds, int(leaseDuration/time.Second))
	case !gone && record.LeaseDurationSeconds == released:
		k.bareAt = time.Time{}
	default:
		if left := k.bare(); left > 0 {
			return nil, nil, fmt.Errorf("the Lease %s has no holder and was not given up: it is taken in %s, should somebody hold it who has not looked yet", k.lease, left)
		}
	}
	return record, raw, err
}

// bare returns how long a Lease without a holder is still left alone that nobody
// gave up. It is new, or it was emptied or deleted under a holder, who learns of
// it only when it looks, and who takes the Lease for its own until renewDeadline.
func (k *lock) bare() time.Duration {
	if k.bareAt.IsZero() {
		k.bareAt = time.Now()
	}
	if !k.heldAt.IsZero() {
		return leaseDuration - since(k.heldAt)
	}
	return renewDeadline - since(k.bareAt)
}

// broken is told whether the Lease shows another term. If this process has one,
// that is over, and so is the campaign: it is never resumed, since what this
// process knew when it began may be long untrue.
func (k *lock) broken(another bool) bool {
	l := k.lease
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.renewed.IsZero() && another {
		l.passed = true
		k.end()
	}
	return l.passed
}

func (k *lock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return k.write(ctx, record, k.Interface.Create)
}

func (k *lock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return k.write(ctx, record, k.Interface.Update)
}

// write takes or renews the Lease, and renews no more often than retryPeriod.
func (k *lock) write(ctx context.Context, record resourcelock.LeaderElectionRecord, send func(context.Context, resourcelock.LeaderElectionRecord) error) error {
	l, asked := k.lease, time.Now()
	if k.broken(record.LeaderTransitions != l.term) {
		return l.Held()
	}
	l.mu.Lock()
	fresh := !l.renewed.IsZero() && since(l.renewed) < retryPeriod
	l.mu.Unlock()
	if fresh {
		return nil
	}
	err := send(ctx, record)
	k.trouble(err)
	if err == nil {
		l.mu.Lock()
		l.renewed = asked
		l.mu.Unlock()
		l.term = record.LeaderTransitions
	}
	return err
}

// trouble says once that the API does not do what is asked of it, and once that
// it does again. That somebody else was faster is no trouble.
func (k *lock) trouble(err error) {
	err = unlessConflict(err)
	switch {
	case err != nil && !k.failed:
		k.lease.log.Warn("the Lease cannot be read or written", "lease", k.lease.String(), "error", k.lease.explain("Lease", k.lease.name, err))
	case err == nil && k.failed:
		k.lease.log.Info("the Lease can be read and written again", "lease", k.lease.String())
	}
	k.failed = err != nil
}
