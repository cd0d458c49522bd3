package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/robfig/cron/v3"
)

func every(t *testing.T, spec string) cron.Schedule {
	t.Helper()
	s, err := cron.ParseStandard(spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// buffer is written by passes that the daemon has abandoned, too.
type buffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// run runs the daemon in a bubble whose clock moves by itself, and ends it
// after a time.
func run(t *testing.T, o Options, after time.Duration) (log string, err error) {
	t.Helper()
	var b buffer
	o.Log = slog.New(slog.NewTextHandler(&b, nil))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- Run(ctx, o) }()
	time.Sleep(after)
	cancel()
	err = <-done
	return b.String(), err
}

func TestAPassAtStartAndThenOnSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var at []time.Duration
		var next []time.Duration
		_, err := run(t, Options{
			Schedule: every(t, "@every 15m"), ShutdownTimeout: time.Second,
			Pass: func(context.Context) { at = append(at, time.Since(start)) },
			Next: func(n time.Time) { next = append(next, n.Sub(start)) },
		}, 31*time.Minute)
		if err != nil || len(at) != 3 || at[0] != 0 || at[1] != 15*time.Minute || at[2] != 30*time.Minute {
			t.Errorf("passes at %v, %v", at, err)
		}
		if len(next) != 3 || next[0] != 15*time.Minute || next[2] != 45*time.Minute {
			t.Errorf("announced %v", next)
		}
	})
}

func TestJitterDelaysEveryPassButTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var at []time.Duration
		run(t, Options{Schedule: every(t, "@every 1h"), Jitter: 10 * time.Minute, ShutdownTimeout: time.Second,
			Pass: func(context.Context) { at = append(at, time.Since(start)) }}, 100*time.Hour)
		late := 0
		for i, d := range at[1:] {
			if by := d - time.Duration(i+1)*time.Hour; by < 0 || by >= 10*time.Minute {
				t.Errorf("pass %d is late by %s", i+1, by)
			} else if by > 0 {
				late++
			}
		}
		if at[0] != 0 || late == 0 {
			t.Errorf("the first pass was at %s, %d of %d others were late", at[0], late, len(at)-1)
		}
	})
}

func TestNeverTwoAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most, passes, skipped atomic.Int32
		log, err := run(t, Options{
			Schedule: every(t, "@every 1m"), ShutdownTimeout: time.Second, Skipped: func() { skipped.Add(1) },
			Pass: func(context.Context) {
				most.Store(max(most.Load(), running.Add(1)))
				passes.Add(1)
				time.Sleep(150 * time.Second) // over two ticks
				running.Add(-1)
			},
		}, 6*time.Minute+10*time.Second)
		if err == nil || most.Load() != 1 || passes.Load() != 3 || skipped.Load() != 4 {
			t.Errorf("%d at a time, %d passes, %d skipped, %v", most.Load(), passes.Load(), skipped.Load(), err)
		}
		if want := "a pass was skipped, since the one before it is still running"; !strings.Contains(log, want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
		time.Sleep(time.Hour) // lets the abandoned pass end
	})
}

func TestAPanicEndsOnePassOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		passes := 0
		log, err := run(t, Options{Schedule: every(t, "@every 1m"), ShutdownTimeout: time.Second,
			Pass: func(context.Context) {
				if passes++; passes < 3 {
					panic("boom")
				}
			}}, 3*time.Minute+time.Second)
		if passes != 4 || err != nil || !strings.Contains(log, "a pass panicked") || !strings.Contains(log, "boom") {
			t.Errorf("%d passes, %v\n%s", passes, err, log)
		}
	})
}

func TestShutdown(t *testing.T) {
	for _, tt := range []struct {
		name string
		pass func(context.Context)
		want error
	}{
		{"a pass that heeds its context is awaited", func(ctx context.Context) { <-ctx.Done(); time.Sleep(5 * time.Second) }, nil},
		{"a pass that does not end in time is abandoned", func(context.Context) { time.Sleep(time.Hour) }, ErrAbandoned},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				_, err := run(t, Options{Schedule: every(t, "@every 15m"), ShutdownTimeout: 20 * time.Second, Pass: tt.pass}, time.Minute)
				if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				if took := time.Since(start) - time.Minute; took > 20*time.Second {
					t.Errorf("it took %s", took)
				}
				time.Sleep(2 * time.Hour)
			})
		})
	}
}

func TestNoPassBeginsAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		passes := 0
		run(t, Options{Schedule: every(t, "@every 1m"), Jitter: 30 * time.Second, ShutdownTimeout: time.Second, Pass: func(context.Context) { passes++ }}, time.Minute+time.Nanosecond)
		before := passes
		time.Sleep(time.Hour)
		if passes != before {
			t.Errorf("%d passes began after the end", passes-before)
		}
	})
}
