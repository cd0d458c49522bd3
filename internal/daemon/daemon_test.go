package daemon

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/robfig/cron/v3"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run runs the daemon in a bubble of its own time for so long.
func run(t *testing.T, o Options, last time.Duration) (err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), last)
		defer cancel()
		err = Run(ctx, o)
	})
	return err
}

func every(t *testing.T, spec string) cron.Schedule {
	t.Helper()
	s, err := cron.ParseStandard(spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPassesRunAtOnceAndThenOnTheSchedule(t *testing.T) {
	var mu sync.Mutex
	var at, next []string
	err := run(t, Options{
		Schedule: every(t, "*/15 * * * *"), ShutdownTimeout: time.Second,
		Pass: func(context.Context) { at = append(at, time.Now().UTC().Format("15:04:05")) },
		Next: func(n time.Time) {
			mu.Lock()
			defer mu.Unlock()
			next = append(next, n.Format("15:04:05 MST"))
		},
	}, 31*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	// A bubble begins at midnight UTC.
	if want := []string{"00:00:00", "00:15:00", "00:30:00"}; !slices.Equal(at, want) {
		t.Errorf("passes at %v, want %v", at, want)
	}
	if want := []string{"00:15:00 UTC", "00:30:00 UTC", "00:45:00 UTC"}; !slices.Equal(next, want) {
		t.Errorf("next passes %v, want %v", next, want)
	}
}

func TestJitterDelaysEveryPassButTheFirst(t *testing.T) {
	var late []time.Duration
	if err := run(t, Options{
		Schedule: every(t, "@hourly"), Jitter: 10 * time.Minute, ShutdownTimeout: time.Second,
		Pass: func(context.Context) { late = append(late, time.Since(time.Now().Truncate(time.Hour))) },
	}, 20*time.Hour+30*time.Minute); err != nil {
		t.Fatal(err)
	}
	if len(late) != 21 || late[0] != 0 {
		t.Fatalf("%d passes, the first %s late; want 21, the first at once", len(late), late[0])
	}
	if low, high := slices.Min(late[1:]), slices.Max(late[1:]); low == high || high >= 10*time.Minute {
		t.Errorf("the later passes are between %s and %s late, want them spread below 10m", low, high)
	}
}

func TestAPassThatIsDueWhileOneRunsIsSkippedAndCounted(t *testing.T) {
	var log bytes.Buffer
	running, passes := 0, 0
	var skipped atomic.Int32
	if err := run(t, Options{
		Schedule: every(t, "@every 10m"), ShutdownTimeout: time.Minute,
		Pass: func(ctx context.Context) {
			passes++
			if running++; running > 1 {
				t.Error("two passes at a time")
			}
			defer func() { running-- }()
			select {
			case <-time.After(25 * time.Minute):
			case <-ctx.Done():
			}
		},
		Skipped: func() { skipped.Add(1) },
		Log:     slog.New(slog.NewTextHandler(&log, nil)),
	}, 59*time.Minute); err != nil {
		t.Fatal(err)
	}
	// Passes from 0, 30; skipped at 10, 20, 40, 50.
	if n := skipped.Load(); passes != 2 || n != 4 {
		t.Errorf("%d passes, %d skipped; want 2 and 4", passes, n)
	}
	if n := strings.Count(log.String(), `level=WARN msg="a pass was due while one was running and is skipped: make schedule longer if this repeats"`); n != 4 {
		t.Errorf("%d warnings, want 4\n%s", n, &log)
	}
}

func TestTheScheduleGoesOnAfterAPanic(t *testing.T) {
	var log bytes.Buffer
	passes := 0
	if err := run(t, Options{
		Schedule: every(t, "@every 10m"), ShutdownTimeout: time.Minute,
		Pass: func(context.Context) {
			if passes++; passes == 1 {
				panic("a bug")
			}
		},
		Log: slog.New(slog.NewTextHandler(&log, nil)),
	}, 35*time.Minute); err != nil {
		t.Fatal(err)
	}
	if passes != 4 {
		t.Errorf("%d passes, want 4", passes)
	}
	if !strings.Contains(log.String(), `level=ERROR msg="schedule: panic" error="a bug"`) {
		t.Errorf("the panic is not in the log\n%s", &log)
	}
}

func TestShutdown(t *testing.T) {
	const patience = 20 * time.Second
	for _, tt := range []struct {
		name string
		ends time.Duration // how long the pass goes on after its context ended
		took time.Duration
		want string
	}{
		{"a pass that ends in time is awaited", 19 * time.Second, 19 * time.Second, ""},
		{"a pass that does not is abandoned, and the error says so", time.Hour, patience,
			"the running pass did not end within shutdown_timeout (20s) and was abandoned: look at its last log lines, the next pass starts from a fresh reading"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var passes atomic.Int32
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				start := time.Now()
				err := Run(ctx, Options{
					Schedule: every(t, "@every 30s"), ShutdownTimeout: patience,
					Pass: func(ctx context.Context) { passes.Add(1); <-ctx.Done(); time.Sleep(tt.ends) },
				})
				if got := errorText(err); got != tt.want {
					t.Errorf("got %q\nwant %q", got, tt.want)
				}
				if took := time.Since(start) - time.Minute; took != tt.took {
					t.Errorf("it took %s to stop, want %s", took, tt.took)
				}
				time.Sleep(2 * time.Hour)
				if n := passes.Load(); n != 1 {
					t.Errorf("%d passes, want 1: none starts after the end", n)
				}
			})
		})
	}
}

func TestNoPassStartsFromItsJitterAfterTheEnd(t *testing.T) {
	for range 20 { // the jitter is random; were the end ignored, most rounds would show it
		passes := 0
		if err := run(t, Options{
			Schedule: every(t, "@every 1m"), Jitter: time.Hour, ShutdownTimeout: time.Second,
			Pass: func(context.Context) { passes++ },
		}, time.Minute+time.Second); err != nil {
			t.Fatal(err)
		}
		if passes > 2 {
			t.Fatalf("%d passes", passes)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
