package daemon

import (
	"context"
	"net/http"
	"sync"
	"time"

	"groupsync/internal/memory"
	"groupsync/internal/web"
	"groupsync/internal/wire"
)

// suspensionInterval is the time between two reads of the suspension, which another process may
// have set. These reads are only for the log, the page and the metrics. A pass reads the
// suspension itself before each write.
const suspensionInterval = 10 * time.Second

// suspension is the suspension in force, as the daemon read it last.
type suspension struct {
	mu     sync.Mutex
	known  memory.Suspension // zero: none
	failed bool              // the last read failed, and its error is in the log
}

// Suspend sets a suspension. After Suspend has returned nil, no further write begins, or no further
// removal if removalsOnly is true. It is a part of web.Control, as Resume is.
func (s *replica) Suspend(ctx context.Context, lasts time.Duration, reason string, removalsOnly bool, by string) (string, error) {
	next, err := memory.NewSuspension(time.Now(), lasts, reason, by, removalsOnly)
	if err != nil {
		return "", &web.Refusal{Status: http.StatusBadRequest, Err: err}
	}
	return s.setSuspension(ctx, next, by)
}

// Resume ends a suspension.
func (s *replica) Resume(ctx context.Context, by string) (string, error) {
	return s.setSuspension(ctx, memory.Suspension{}, by)
}

func (s *replica) setSuspension(ctx context.Context, next memory.Suspension, by string) (string, error) {
	text, err := wire.SetSuspension(ctx, s.store, next)
	if err != nil {
		return "", err
	}
	if next.IsZero() {
		s.log.Info("a suspension was ended by request", "by", by)
	}
	s.readSuspension(ctx)
	return text, nil
}

// followSuspension reads the suspension every suspensionInterval until ctx ends.
func (s *replica) followSuspension(ctx context.Context) {
	ticks := time.NewTicker(suspensionInterval)
	defer ticks.Stop()
	for {
		s.readSuspension(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

// readSuspension reads the suspension from the store. If the suspension has changed, readSuspension
// logs the change and updates the page and the metrics. If the store cannot be read, the page and
// the metrics keep the last known suspension, and passes write nothing.
func (s *replica) readSuspension(ctx context.Context) {
	k := &s.suspension
	k.mu.Lock()
	defer k.mu.Unlock()
	stored, err := s.store.Suspension(ctx)
	if err != nil {
		if !k.failed && ctx.Err() == nil {
			s.log.Error("the stored suspension cannot be read, so passes write nothing until it can be read", "error", err)
		}
		k.failed = true
		return
	}
	k.failed = false
	now := stored.Current(time.Now())
	if now == k.known {
		return
	}
	before := k.known
	k.known = now
	// The log line comes last. Somebody who reads the line then finds the same state on the page
	// and in the metrics.
	s.status.Suspend(now)
	s.metrics.Suspend(now)
	if now.IsZero() {
		s.log.Info("the suspension has ended: passes write again", "until", before.Until, "reason", before.Reason)
		return
	}
	s.log.Warn("writing is suspended", "what", now.What(), "until", now.Until, "by", now.By, "at", now.At, "reason", now.Reason)
}
