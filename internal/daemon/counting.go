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

// retryAfter is the shortest time from the start of a failed count to the next count, if
// leavers.interval is not shorter.
const retryAfter = time.Hour

// counting is the state of the counts of leavers for the metrics. A count follows the first
// scheduled pass after leavers.interval. The daemon calls the method after at the end of a pass, and
// runs no pass during the call. So only one goroutine at a time uses this state. If somebody
// requests a pass or a reload, the daemon interrupts the count.
type counting struct {
	log       *slog.Logger
	metrics   *metrics.Metrics
	directory leavers.Directory // the client of ClearML; a reload replaces it

	begun  time.Time // start of the last count that no request interrupted; zero: no such count in this term
	failed bool      // the last count failed, and its error is in the log
}

// after is the method that the daemon calls at the end of each pass of the schedule. It counts the
// leavers if the last count began at least interval ago. If interval is 0, it never counts. If a
// count fails, the metrics keep the values of the previous count. The next count then starts one
// hour later (retryAfter), or one interval later if that is shorter. A count that a request for a
// pass or a reload interrupts has not failed. A new count follows the next pass of the schedule.
func (c *counting) after(ctx context.Context, rep report.Report, interval time.Duration, s leavers.Surveyor, d leavers.Directory) {
	if interval == 0 || rep.Result == report.Error {
		return // the pass failed, and a count makes similar requests and would fail too
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

// count counts the leavers. asked is true if a request for a pass or a reload ended the count
// before there was a result.
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
		c.log.Warn("the leavers were not counted: the metric groupsync_leavers keeps the last count, and the next count follows the first scheduled pass after an hour, or after leavers.interval if that is shorter", "error", err)
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
