package simulate

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"groupsync/internal/simulate/history"
)

// The times of the Lease, with the values that internal/kube has.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
)

// lease is one Lease that the replicas compete for.
type lease struct {
	log *history.Log

	mu      sync.Mutex
	holder  string
	renewed time.Time
	blocked map[string]bool // processes that cannot reach the Lease

	// late returns how long a process takes to notice that it is no longer the leader. A process
	// that was paused notices the loss late. Until then, only its fence (held) prevents writes.
	late func() time.Duration
}

func newLease(log *history.Log, rng *rand.Rand) *lease {
	return &lease{log: log, blocked: make(map[string]bool), late: func() time.Duration { return time.Duration(rng.IntN(60)) * time.Second }}
}

// renew takes or renews the Lease for a process. It returns false if the process cannot reach
// the Lease, or if another process holds the Lease.
func (l *lease) renew(node string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.blocked[node] || l.holder != "" && l.holder != node && now.Sub(l.renewed) < leaseDuration {
		return false
	}
	l.holder, l.renewed = node, now
	l.log.Add(history.Leads{Node: node, Until: now.Add(renewDeadline)})
	return true
}

// held is the fence of a process before each write. It returns an error if another process holds
// the Lease, or if this process did not renew the Lease within renewDeadline.
func (l *lease) held(node string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.holder != node || time.Since(l.renewed) >= renewDeadline {
		return errors.New("this process does not hold the Lease")
	}
	return nil
}

func (l *lease) release(node string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.holder == node {
		l.holder = ""
	}
}

func (l *lease) block(node string, blocked bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blocked[node] = blocked
}

func (l *lease) unblock() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.blocked)
}

func (l *lease) leader() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.holder
}

// run tries to take the Lease until ctx ends, and runs lead while the process holds the Lease.
func (l *lease) run(ctx context.Context, node string, lead func(context.Context) error) error {
	tick := time.NewTicker(retryPeriod)
	defer tick.Stop()
	for {
		if l.renew(node) {
			if err := l.term(ctx, node, tick, lead); err != nil {
				return err
			}
			l.release(node)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// term runs lead until ctx ends or the Lease is lost, and returns the error of lead. term renews the
// Lease whenever tick fires. If the process no longer holds the Lease (held), term first waits for
// the delay late, because the process notices the loss late. Then term ends the context of lead, and
// waits until lead has returned.
func (l *lease) term(ctx context.Context, node string, tick *time.Ticker, lead func(context.Context) error) error {
	leading, cancel := context.WithCancel(ctx)
	defer cancel()
	over := make(chan error, 1)
	go func() { over <- lead(leading) }()
	for {
		select {
		case err := <-over:
			return err
		case <-ctx.Done():
			return <-over
		case <-tick.C:
			if l.held(node) != nil {
				time.Sleep(l.late())
				cancel()
				return <-over
			}
			l.renew(node)
		}
	}
}
