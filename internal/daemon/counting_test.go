package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/config"
	"groupsync/internal/reconcile"
	"groupsync/internal/report"
	"groupsync/internal/schedule"
	"groupsync/internal/source"
	"groupsync/internal/target"
	"groupsync/internal/wire"
)

// surveyor fails, and counts how often it was called.
type surveyor struct{ asked int }

func (s *surveyor) Survey(ctx context.Context) (reconcile.View, error) {
	s.asked++
	return reconcile.View{}, errors.Join(errors.New("Keycloak is away"), ctx.Err())
}

func (s *surveyor) LookUpPeople(context.Context, reconcile.View, []source.Person) (reconcile.View, error) {
	panic("nobody is asked for after a survey that failed")
}

func (s *surveyor) Confirm(context.Context, reconcile.View, []source.Question) ([]source.Answer, error) {
	panic("nothing is confirmed after a survey that failed")
}

func (s *surveyor) Holdings(context.Context) (target.Holdings, error) { return target.Holdings{}, nil }

// TestWhenLeaversAreCounted makes a pass every fifteen minutes. A count that fails is made
// again after an hour, or after the interval if that is shorter, and its error is logged once.
func TestWhenLeaversAreCounted(t *testing.T) {
	for _, row := range []struct {
		name     string
		interval time.Duration
		result   report.Result
		want     []int // minutes of the counts, in three hours
	}{
		{"a count that fails is made again after an hour", 24 * time.Hour, report.InSync, []int{0, 60, 120}},
		{"a shorter interval holds for a count that failed, too", 30 * time.Minute, report.InSync, []int{0, 30, 60, 90, 120, 150}},
		{"an interval of 0 counts never", 0, report.InSync, nil},
		{"a pass that could not read is followed by no count", time.Hour, report.Error, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				var s surveyor
				c := counting{log: slog.New(slog.NewTextHandler(&log, nil)), metrics: wire.Metrics(config.Default(), wire.Build{})}
				var counts []int
				for minute := 0; minute < 180; minute += 15 {
					before := s.asked
					c.after(t.Context(), report.Report{Result: row.result}, row.interval, &s, &s)
					if s.asked > before {
						counts = append(counts, minute)
					}
					time.Sleep(15 * time.Minute)
				}
				if diff := cmp.Diff(row.want, counts); diff != "" {
					t.Errorf("-want +got\n%s", diff)
				}
				if n := strings.Count(log.String(), "the leavers were not counted"); n != min(1, len(row.want)) {
					t.Errorf("a failure was logged %d times:\n%s", n, log.String())
				}
			})
		})
	}
}

// TestACountThatIsCutShort: a count that the next pass ends is logged as a failure. A count
// that ends with the process or the term is not a failure. A count that ends because somebody
// asks for a pass is not a failure either, and is made again after the next pass.
func TestACountThatIsCutShort(t *testing.T) {
	for _, row := range []struct {
		name string
		ctx  func() (context.Context, context.CancelFunc)
		want string // in the log; empty: nothing is logged
		next int    // how often the pass after this one counts
	}{
		{"the next pass is due", func() (context.Context, context.CancelFunc) {
			return context.WithDeadline(context.Background(), time.Now())
		}, `level=WARN msg="the leavers were not counted: the metric groupsync_leavers keeps the last count, and the next count follows the first scheduled pass after an hour, or after leavers.interval if that is shorter" error="the count did not end before the next pass`, 0},
		{"the process ends", func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			return ctx, cancel
		}, "", 0},
		{"the process ends because something else in it failed", func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(context.Background())
			cancel(errors.New("the port is taken"))
			return ctx, func() { cancel(nil) }
		}, "", 0},
		{"somebody asks for a pass", func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(context.Background())
			cancel(schedule.ErrAsked)
			return ctx, func() { cancel(nil) }
		}, `level=DEBUG msg="the leavers were not counted: the count is made again after the next pass of the schedule" error="a pass or a reload was requested"`, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			var log bytes.Buffer
			var s surveyor
			ctx, cancel := row.ctx()
			defer cancel()
			c := counting{log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), metrics: wire.Metrics(config.Default(), wire.Build{})}
			c.after(ctx, report.Report{}, time.Hour, &s, &s)
			if got := log.String(); (got == "") != (row.want == "") || !strings.Contains(got, row.want) || strings.Count(got, "\n") > 1 {
				t.Errorf("logged %q, want %q", got, row.want)
			}
			if want := strings.Contains(row.want, "level=WARN"); c.failed != want {
				t.Errorf("failed: %t, want %t", c.failed, want)
			}
			c.after(t.Context(), report.Report{}, time.Hour, &s, &s)
			if s.asked != 1+row.next {
				t.Errorf("counted %d times, want %d", s.asked, 1+row.next)
			}
		})
	}
}
