package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"groupsync/internal/leavers"
	"groupsync/internal/metrics"
	"groupsync/internal/report"
	"groupsync/internal/schedule"
)

// retryAfter is the time from a failed count to the next one.
const retryAfter = time.Hour

// counting counts the leavers for the metrics at an interval. The daemon calls it after a
// pass, and runs no pass meanwhile, so two goroutines never use it at once. The daemon ends a
// count if somebody asks for a pass or a reload.
type counting struct {
	log       *slog.Logger
	metrics   *metrics.Metrics
	directory leavers.Directory // of the configuration in force

	begun  time.Time // start of the last count, without counts that a request for a pass or a reload ended; zero: no count in this term
	failed bool      // the last count failed, and the log has its error
}

// after counts the leavers after a pass, if the interval since the last count has gone by. An
// interval of 0 means never. If a count fails, the metrics keep the values of the last one.
// The next count follows after an hour, or after the interval if that is shorter. A count that
// ends because somebody asked for a pass or a reload is not a failure. It is made again after
// the next pass.
func (c *counting) after(ctx context.Context, rep report.Report, interval time.Duration, s leavers.Surveyor, d leavers.Directory) {
	if interval == 0 || rep.Result == report.Error {
		return // the count would fail as the pass did
	}
	wait := interval
	if c.failed {
		wait = min(interval, retryAfter)
	}
	if now := time.Now(); c.begun.IsZero() || now.Sub(c.begun) >= wait {
		before := c.begun
		c.begun = now
		if asked := c.count(ctx, s, d); asked {
			c.begun = before
		}
	}
}

// count counts the leavers. It returns true if the count ended without a result because
// somebody asked for a pass or a reload.
func (c *counting) count(ctx context.Context, s leavers.Surveyor, d leavers.Directory) (asked bool) {
	found, err := leavers.Find(ctx, s, d, leavers.Recent)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("the count did not end before the next pass: %w", err)
	}
	asked = errors.Is(context.Cause(ctx), schedule.ErrAsked)
	switch {
	case asked && err != nil:
		c.log.Debug("the leavers were not counted: the count is made again after the next pass of the schedule", "error", context.Cause(ctx))
		return true
	case !asked && errors.Is(ctx.Err(), context.Canceled):
		return false // the process ends, or no longer leads
	case err != nil && c.failed:
		c.log.Debug("the leavers were not counted", "error", err)
		return false
	case err != nil:
		c.failed = true
		c.log.Warn("the leavers were not counted: the metric groupsync_leavers keeps the last count, and the next count is tried within an hour", "error", err)
		return false
	}
	c.failed = false
	counts := make(map[string]int)
	for holds, n := range found.Count() {
		counts[string(holds)] = n
	}
	c.metrics.Leavers(counts, found.At)
	c.log.Info("the leavers were counted", "leavers", len(found.Leavers), "in_doubt", len(found.InDoubt))
	return false
}
