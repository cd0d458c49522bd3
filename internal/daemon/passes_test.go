package daemon

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"groupsync/internal/config"
	"groupsync/internal/events"
	"groupsync/internal/reconcile"
	"groupsync/internal/report"
	"groupsync/internal/schedule"
)

// oneEvent is a reader of admin events. Its second reading finds an event about a person.
type oneEvent struct{ readings *int }

func (r oneEvent) AdminEvents(context.Context, time.Time) ([]events.Event, int, error) {
	if *r.readings++; *r.readings < 2 {
		return nil, 100, nil
	}
	return []events.Event{{At: time.Now(), Operation: "UPDATE", Resource: "USER", Path: "users/ann"}}, 100, nil
}

// reading is a replica that reads admin events every five seconds, with an hourly schedule.
// Its whole passes do nothing.
func reading(r events.Reader, passOf func(context.Context), patience time.Duration) *replica {
	c := config.Default()
	c.Mode, c.Schedule = config.Apply, "@hourly"
	c.Keycloak.Events, c.Keycloak.EventsInterval = "poll", 5*time.Second
	return &replica{config: c, reader: r, log: slog.New(slog.DiscardHandler), scheduler: schedule.New(schedule.Job{
		Schedule: c.Cron(), Apply: true,
		Pass: func(context.Context, reconcile.Request) report.Report { return report.Report{} },
		PassOf: func(ctx context.Context, _ string, _ reconcile.Request) (report.Report, error) {
			passOf(ctx)
			return report.Report{}, nil
		},
	}, schedule.Options{ShutdownTimeout: patience})}
}

// TestAPassOfAnEventIsAwaitedForShutdownTimeout: when the daemon ends, it waits up to
// shutdown_timeout for a pass that an admin event started.
func TestAPassOfAnEventIsAwaitedForShutdownTimeout(t *testing.T) {
	const patience = 20 * time.Second
	for _, row := range []struct {
		name string
		ends time.Duration // how long the pass goes on after its context ended
		took time.Duration
		want string
	}{
		{"a pass that ends in time", 19 * time.Second, 19 * time.Second, ""},
		{"a pass that does not, such as one whose write hangs", time.Hour, patience,
			"the running pass did not end within shutdown_timeout (20s) and was abandoned: look at its last log lines; the next pass reads both sides again"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				var began, ended atomic.Bool
				readings := 0
				start := time.Now()
				err := reading(oneEvent{&readings}, func(ctx context.Context) {
					began.Store(true)
					<-ctx.Done()
					time.Sleep(row.ends)
					ended.Store(true)
				}, patience).passes(ctx)
				if (err == nil) != (row.want == "") || err != nil && err.Error() != row.want {
					t.Errorf("got %v\nwant %q", err, row.want)
				}
				if took := time.Since(start) - time.Minute; took != row.took {
					t.Errorf("it took %s to stop, want %s", took, row.took)
				}
				if !began.Load() || ended.Load() != (row.want == "") {
					t.Errorf("the pass began: %t, ended: %t", began.Load(), ended.Load())
				}
				time.Sleep(2 * time.Hour)
			})
		})
	}
}

// TestAPanicOfTheReadingEndsThePasses: passes returns the panic as an error, long before ctx
// ends.
func TestAPanicOfTheReadingEndsThePasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		start := time.Now()
		err := reading(panicking{}, nil, time.Minute).passes(ctx)
		if err == nil || !strings.HasPrefix(err.Error(), "a fault in groupsync: a bug: report it with these lines\n") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("it took %s", took)
		}
	})
}

// panicking is a reader of admin events that panics.
type panicking struct{}

func (panicking) AdminEvents(context.Context, time.Time) ([]events.Event, int, error) {
	panic("a bug")
}
