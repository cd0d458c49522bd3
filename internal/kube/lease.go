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

// client-go recommends these durations. A standby looks at the Lease every 2 to 4.4 seconds.
// It takes the Lease at most 24 seconds after the last renewal: one look to see the renewal,
// leaseDuration, and one look to find the renewal too old.
//
// The leader sends no write later than renewDeadline after its last renewal (Held). A standby
// waits for leaseDuration. In the time between the two, nobody writes.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
	// released is the duration, in seconds, that client-go writes into a Lease that its
	// holder released in order.
	released = 1
	// unknown is the holder that Get returns for a Lease that names no holder but may have one.
	unknown = "unknown"
)

// Run campaigns for the Lease until ctx ends. While this process leads, it runs lead. The
// context of lead ends when the leadership is lost or ctx ends. Run releases the Lease, or
// campaigns again, only after lead has returned. If lead returns an error, Run returns it and
// does not release the Lease, because writes may still be under way. Another process then
// leads only when the Lease has expired.
func (l *Lease) Run(ctx context.Context, lead func(context.Context) error) error {
	for ctx.Err() == nil {
		if err := l.campaign(ctx, func(resourcelock.LeaderElectionRecord) {}, lead); err != nil {
			return err
		}
	}
	return nil
}

// Take takes the Lease, runs lead once and releases the Lease. If lead returns an error, Take
// does not release the Lease. If another process renews the Lease, the error names that process.
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
		case led.Load(): // this process has led, so "nothing was done" would be wrong
		case first == nil || first.HolderIdentity != r.HolderIdentity:
			first = &r
		case !first.RenewTime.Equal(&r.RenewTime):
			giveUp(fmt.Errorf("the Lease %s is held by %s, so nothing was done: ask that process instead (POST /-/sync, /-/approve), or stop it first", l, r.HolderIdentity))
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

// campaign waits for the Lease, leads once and releases the Lease. It calls others with each
// record that shows another holder.
func (l *Lease) campaign(ctx context.Context, others func(resourcelock.LeaderElectionRecord), lead func(context.Context) error) error {
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
		return fmt.Errorf("campaigning for the Lease %s: %w", l, err)
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

// lead runs lead under a context that ends with the leadership.
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

// leaderIs remembers the holder of the Lease.
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

// Holder returns the identity of the last holder that this process has seen. It is empty if
// there was none.
func (l *Lease) Holder() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.holder
}

// Held returns nil if this process may write because of the Lease: this process holds the Lease,
// and the last renewal is younger than renewDeadline. If not, the error says why. Held reads the
// clock and uses no timer. So its answer is right also when a paused process has just continued.
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
// longer. The monotonic clock stands still while a machine sleeps.
func since(t time.Time) time.Duration {
	now := time.Now()
	return max(now.Sub(t), now.Round(0).Sub(t.Round(0)))
}

// end ends the term, if there is one. From then on the lock sends no request.
func (l *Lease) end(reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.renewed.IsZero() && l.ended == nil {
		l.ended = reason
	}
}

// forget makes the Lease ready for another campaign.
func (l *Lease) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewed, l.ended = time.Time{}, nil
	if l.holder == l.identity {
		l.holder = ""
	}
}

// lock adds two things to client-go's lock. It records when the Lease was renewed. And it ends
// a term for good as soon as another process has held the Lease. client-go alone would take the
// Lease again in the same campaign, and a running pass would continue, although the other
// process may have changed what the pass has read.
type lock struct {
	resourcelock.Interface
	lease  *Lease
	others func(resourcelock.LeaderElectionRecord)
	stop   func() // ends the campaign
	failed bool   // the last request got an error
}

// over returns why the term is over, and ends the campaign. It returns nil if the term is not
// over, or if this process has no term.
func (k *lock) over() error {
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

// Get reads the Lease. If this process leads, and the Lease does not name this process, the
// term is over.
//
// If somebody empties, deletes or replaces the Lease, its holder does not notice that at once.
// Within renewDeadline the holder notices it or stops writing. So if a Lease names no holder
// and was not released, Get returns the holder unknown, and client-go waits for leaseDuration as
// for any other holder. If the Lease does not exist, Get creates it without a holder.
func (k *lock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	if err := k.over(); err != nil {
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
	if err := k.over(); err != nil {
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
		if err != nil { // not wrapped, because client-go would take a missing namespace for a missing Lease
			return nil, nil, fmt.Errorf("creating the Lease %s, which did not exist: %v", k.lease, err)
		}
		return nil, nil, fmt.Errorf("the Lease %s did not exist. The next look reads the new one", k.lease)
	case record.HolderIdentity != "":
		k.others(*record)
		// The holder counts on leaseDuration, even if somebody edits the Lease.
		record.LeaseDurationSeconds = max(record.LeaseDurationSeconds, int(leaseDuration/time.Second))
	case record.LeaseDurationSeconds != released:
		record.HolderIdentity, record.LeaseDurationSeconds = unknown, int(leaseDuration/time.Second)
	}
	return record, raw, nil
}

// Create is never called. client-go would call it if Get returned that there is no Lease, but
// Get then creates the Lease itself.
func (k *lock) Create(context.Context, resourcelock.LeaderElectionRecord) error {
	return fmt.Errorf("the Lease %s did not exist", k.lease)
}

// Update takes, renews or releases the Lease.
func (k *lock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	if err := k.over(); err != nil {
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

// trouble logs the first failed request, and the first successful request after it. err is the
// error of the last request. A conflict does not count as a failure, because it only means that
// another process was faster. An error after the end of ctx does not count either.
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
