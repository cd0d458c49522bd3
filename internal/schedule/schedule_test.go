package schedule

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/robfig/cron/v3"
	"go.uber.org/goleak"

	"groupsync/internal/reconcile"
	"groupsync/internal/report"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// making returns a Job.Pass that calls the function pass and returns an empty report.
func making(pass func(context.Context)) func(context.Context, reconcile.Request) report.Report {
	return func(ctx context.Context, _ reconcile.Request) report.Report { pass(ctx); return report.Report{} }
}

// run runs the Scheduler for a time, in virtual time.
func run(t *testing.T, j Job, o Options, last time.Duration) (err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), last)
		defer cancel()
		err = New(j, o).Run(ctx)
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
	err := run(t, Job{
		Schedule: every(t, "*/15 * * * *"),
		Pass:     making(func(context.Context) { at = append(at, time.Now().UTC().Format("15:04:05")) }),
	}, Options{
		ShutdownTimeout: time.Second,
		Next: func(n time.Time) {
			mu.Lock()
			defer mu.Unlock()
			next = append(next, n.Format("15:04:05 MST"))
		},
	}, 31*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	// Virtual time begins at midnight UTC.
	if want := []string{"00:00:00", "00:15:00", "00:30:00"}; !slices.Equal(at, want) {
		t.Errorf("passes at %v, want %v", at, want)
	}
	if want := []string{"00:15:00 UTC", "00:30:00 UTC", "00:45:00 UTC"}; !slices.Equal(next, want) {
		t.Errorf("next passes %v, want %v", next, want)
	}
}

func TestJitterDelaysEveryPassButTheFirst(t *testing.T) {
	var late []time.Duration
	if err := run(t, Job{
		Schedule: every(t, "@hourly"), Jitter: 10 * time.Minute,
		Pass: making(func(context.Context) { late = append(late, time.Since(time.Now().Truncate(time.Hour))) }),
	}, Options{ShutdownTimeout: time.Second}, 20*time.Hour+30*time.Minute); err != nil {
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
	if err := run(t, Job{
		Schedule: every(t, "@every 10m"),
		Pass: making(func(ctx context.Context) {
			passes++
			if running++; running > 1 {
				t.Error("two passes at a time")
			}
			defer func() { running-- }()
			select {
			case <-time.After(25 * time.Minute):
			case <-ctx.Done():
			}
		}),
	}, Options{
		ShutdownTimeout: time.Minute,
		Skipped:         func() { skipped.Add(1) },
		Log:             slog.New(slog.NewTextHandler(&log, nil)),
	}, 59*time.Minute); err != nil {
		t.Fatal(err)
	}
	// Passes from 0, 30; skipped at 10, 20, 40, 50.
	if n := skipped.Load(); passes != 2 || n != 4 {
		t.Errorf("%d passes, %d skipped; want 2 and 4", passes, n)
	}
	if n := strings.Count(log.String(), `level=WARN msg="a pass was due and is skipped, because another pass has not ended: if this repeats, run passes less often (schedule)"`); n != 4 {
		t.Errorf("%d warnings, want 4\n%s", n, &log)
	}
}

// TestWhatFollowsAPass: Job.After gets the report. No pass begins before Job.After has returned.
// The context of Job.After ends before the next pass is due. A panic in Job.After does not end the
// schedule.
func TestWhatFollowsAPass(t *testing.T) {
	var log bytes.Buffer
	passes, follows, running := 0, 0, false
	var cut []time.Duration
	if err := run(t, Job{
		Schedule: every(t, "@every 10m"),
		Pass: func(context.Context, reconcile.Request) report.Report {
			if running {
				t.Error("a pass begins while the work after another one goes on")
			}
			passes++
			return report.Report{Pass: "the report"}
		},
		After: func(ctx context.Context, r report.Report) {
			running = true
			defer func() { running = false }()
			if follows++; follows == 1 {
				panic("a bug")
			}
			began := time.Now()
			<-ctx.Done()
			cut = append(cut, time.Since(began))
			if r.Pass != "the report" {
				t.Errorf("told of %q", r.Pass)
			}
		},
	}, Options{ShutdownTimeout: time.Minute, Log: slog.New(slog.NewTextHandler(&log, nil))}, 25*time.Minute); err != nil {
		t.Fatal(err)
	}
	if passes != 3 || follows != passes {
		t.Errorf("%d passes, followed %d times; want 3 and 3", passes, follows)
	}
	// The last one ends with the Scheduler.
	if want := []time.Duration{9 * time.Minute, 5 * time.Minute}; !slices.Equal(cut, want) {
		t.Errorf("the work went on for %v, want %v", cut, want)
	}
	if !strings.Contains(log.String(), `level=ERROR msg="schedule: panic" error="a bug"`) {
		t.Errorf("the panic is not in the log\n%s", &log)
	}
}

// TestNothingFollowsAPassThatSomebodyWaitsFor: Job.After does not run after a pass of Sync, so Sync
// returns at once when its pass has ended.
func TestNothingFollowsAPassThatSomebodyWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		follows := 0
		d := New(Job{Schedule: every(t, "@hourly"), Pass: making(func(context.Context) {}), After: func(context.Context, report.Report) { follows++ }}, Options{ShutdownTimeout: time.Minute})
		done := make(chan error)
		go func() { done <- d.Run(ctx) }()
		synctest.Wait()
		if _, err := d.Sync(ctx, everybody, reconcile.Request{}); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-done; err != nil || follows != 1 {
			t.Errorf("%v; work followed %d passes, want the first only", err, follows)
		}
	})
}

// TestATickWaitsForAPassOfOnePerson: if a pass of one person runs, a scheduled pass waits for
// its end. If a whole pass runs or waits, a scheduled pass is skipped. A whole pass takes a
// minute here.
func TestATickWaitsForAPassOfOnePerson(t *testing.T) {
	for _, row := range []struct {
		name    string
		user    string
		at      time.Duration // when the pass is asked for
		takes   time.Duration // the pass of one person
		want    []string
		skipped int32
	}{
		{"one tick comes meanwhile", "ann", 5 * time.Minute, 7 * time.Minute, []string{"00:00", "00:05 ann", "00:12", "00:20", "00:30", "00:40"}, 0},
		{"two ticks come meanwhile", "ann", 5 * time.Minute, 17 * time.Minute, []string{"00:00", "00:05 ann", "00:22", "00:30", "00:40"}, 1},
		{"no tick comes meanwhile", "ann", 5 * time.Minute, time.Minute, []string{"00:00", "00:05 ann", "00:10", "00:20", "00:30", "00:40"}, 0},
		{"a tick comes while a whole pass runs that was asked for", everybody, 9*time.Minute + 30*time.Second, 0, []string{"00:00", "00:09", "00:20", "00:30", "00:40"}, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var lines []string
				var skipped atomic.Int32
				j := journal(t, "@every 10m", false, &lines)
				j.PassOf = func(_ context.Context, user string, _ reconcile.Request) (report.Report, error) {
					lines = append(lines, time.Now().UTC().Format("15:04")+" "+user)
					time.Sleep(row.takes)
					return report.Report{}, nil
				}
				ctx, cancel := context.WithTimeout(t.Context(), 45*time.Minute)
				defer cancel()
				d := New(j, Options{ShutdownTimeout: time.Hour, Skipped: func() { skipped.Add(1) }})
				ended := make(chan error)
				go func() { ended <- d.Run(ctx) }()
				time.Sleep(row.at)
				if _, err := d.Sync(t.Context(), row.user, reconcile.Request{}); err != nil {
					t.Error(err)
				}
				if err := <-ended; err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(row.want, lines); diff != "" {
					t.Errorf("-want +got\n%s", diff)
				}
				if n := skipped.Load(); n != row.skipped {
					t.Errorf("%d ticks were skipped, want %d", n, row.skipped)
				}
			})
		})
	}
}

// TestATickThatWaitsEndsWithTheTerm: a scheduled pass that waits is not made after the term.
func TestATickThatWaitsEndsWithTheTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines []string
		j := journal(t, "@every 10m", false, &lines)
		j.PassOf = func(ctx context.Context, _ string, _ reconcile.Request) (report.Report, error) {
			<-ctx.Done()
			return report.Report{}, nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
		defer cancel()
		d := New(j, Options{ShutdownTimeout: time.Minute})
		ended := make(chan error)
		go func() { ended <- d.Run(ctx) }()
		time.Sleep(5 * time.Minute)
		_, _ = d.Sync(t.Context(), "ann", reconcile.Request{}) // the test does not check the result of Sync
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"00:00"}, lines); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}

// TestWhoeverAsksDoesNotWaitForWhatFollowsAPass: Sync and Replace end the context of Job.After
// with the cause ErrAsked.
func TestWhoeverAsksDoesNotWaitForWhatFollowsAPass(t *testing.T) {
	for _, row := range []struct {
		name  string
		after time.Duration // from the start of the daemon, whose first pass takes a minute
		ask   func(context.Context, *Scheduler, Job) error
		waits time.Duration
		want  []error // the causes by which the work after a pass ended, within the first hour
	}{
		{"a whole pass", 10 * time.Minute, func(ctx context.Context, d *Scheduler, _ Job) error {
			_, err := d.Sync(ctx, everybody, reconcile.Request{})
			return err
		}, time.Minute, []error{ErrAsked}},
		{"a pass of one person", 10 * time.Minute, func(ctx context.Context, d *Scheduler, _ Job) error {
			_, err := d.Sync(ctx, "ann", reconcile.Request{})
			return err
		}, 0, []error{ErrAsked}},
		{"a reload, whose first pass is followed again", 10 * time.Minute, func(ctx context.Context, d *Scheduler, j Job) error {
			return d.Replace(ctx, func() (Job, error) { return j, nil })
		}, 0, []error{ErrAsked, context.Canceled}},
		{"a pass that is asked for before the work begins, which then does not begin", 30 * time.Second, func(ctx context.Context, d *Scheduler, _ Job) error {
			_, err := d.Sync(ctx, "ann", reconcile.Request{})
			return err
		}, 30 * time.Second, nil},
		{"nobody asks, and the term ends", 10 * time.Minute, func(context.Context, *Scheduler, Job) error { return nil }, 0, []error{context.Canceled}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var lines []string
				var causes []error
				j := journal(t, "@every 2h", false, &lines)
				j.PassOf = func(context.Context, string, reconcile.Request) (report.Report, error) {
					return report.Report{}, nil
				}
				j.After = func(ctx context.Context, _ report.Report) {
					<-ctx.Done()
					causes = append(causes, context.Cause(ctx))
				}
				ctx, cancel := context.WithCancel(t.Context())
				d := New(j, Options{ShutdownTimeout: time.Hour})
				ended := make(chan error)
				go func() { ended <- d.Run(ctx) }()
				time.Sleep(row.after)
				asked := time.Now()
				if err := row.ask(t.Context(), d, j); err != nil {
					t.Error(err)
				}
				if waited := time.Since(asked); waited != row.waits {
					t.Errorf("it took %s, want %s", waited, row.waits)
				}
				time.Sleep(50 * time.Minute)
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				if !slices.Equal(causes, row.want) {
					t.Errorf("the work ended by %v, want %v", causes, row.want)
				}
			})
		})
	}
}

func TestTheScheduleGoesOnAfterAPanic(t *testing.T) {
	var log bytes.Buffer
	passes := 0
	if err := run(t, Job{
		Schedule: every(t, "@every 10m"),
		Pass: making(func(context.Context) {
			if passes++; passes == 1 {
				panic("a bug")
			}
		}),
	}, Options{ShutdownTimeout: time.Minute, Log: slog.New(slog.NewTextHandler(&log, nil))}, 35*time.Minute); err != nil {
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
			"the running pass did not end within shutdown_timeout (20s) and was abandoned: look at its last log lines; the next pass reads both sides again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var passes atomic.Int32
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				start := time.Now()
				err := New(Job{
					Schedule: every(t, "@every 30s"),
					Pass:     making(func(ctx context.Context) { passes.Add(1); <-ctx.Done(); time.Sleep(tt.ends) }),
				}, Options{ShutdownTimeout: patience}).Run(ctx)
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
		if err := run(t, Job{
			Schedule: every(t, "@every 1m"), Jitter: time.Hour,
			Pass: making(func(context.Context) { passes++ }),
		}, Options{ShutdownTimeout: time.Second}, time.Minute+time.Second); err != nil {
			t.Fatal(err)
		}
		if passes > 2 {
			t.Fatalf("%d passes", passes)
		}
	}
}

// journal is a job whose passes take a minute. It records when each pass began, and its
// request.
func journal(t *testing.T, spec string, apply bool, lines *[]string) Job {
	return Job{Schedule: every(t, spec), Apply: apply, Pass: func(_ context.Context, r reconcile.Request) report.Report {
		line := time.Now().UTC().Format("15:04")
		if r.Apply {
			line += " apply"
		}
		if a := r.Approval; a.Digest != "" {
			line += " " + a.Digest + " by " + a.By
		}
		*lines = append(*lines, line)
		time.Sleep(time.Minute)
		return report.Report{Pass: line}
	}}
}

// TestAPassOfOnePerson: the pass waits for the running pass. It may write if a whole pass may.
// Sync returns its error.
func TestAPassOfOnePerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines []string
		j := journal(t, "@every 10m", true, &lines)
		unknown := errors.New("nobody zoe")
		j.PassOf = func(_ context.Context, user string, r reconcile.Request) (report.Report, error) {
			lines = append(lines, fmt.Sprintf("%s %v %s", user, r.Apply, r.Approval.Digest))
			if user == "zoe" {
				return report.Report{}, unknown
			}
			return report.Report{Pass: user}, nil
		}
		d := New(j, Options{ShutdownTimeout: time.Hour})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- d.Run(ctx) }()
		time.Sleep(30 * time.Second) // the first pass takes a minute
		if r, err := d.Sync(t.Context(), "ann", reconcile.Request{Approval: reconcile.Approval{Digest: "d1"}}); err != nil || r.Pass != "ann" {
			t.Errorf("%q, %v", r.Pass, err)
		}
		if _, err := d.Sync(t.Context(), "zoe", reconcile.Request{}); !errors.Is(err, unknown) {
			t.Errorf("somebody whom nobody knows: %v", err)
		}
		if d := cmp.Diff([]string{"00:00 apply", "ann true d1", "zoe true "}, lines); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestAPassThatIsAskedFor: the pass of Sync begins after the running pass and does not change the
// schedule. Sync returns the report of its pass.
func TestAPassThatIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines []string
		d := New(journal(t, "@every 10m", true, &lines), Options{ShutdownTimeout: time.Hour})
		if _, err := d.Sync(t.Context(), everybody, reconcile.Request{}); !errors.Is(err, ErrStandby) {
			t.Errorf("before the daemon runs: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- d.Run(ctx) }()
		time.Sleep(30 * time.Second)
		r, err := d.Sync(t.Context(), everybody, reconcile.Request{Approval: reconcile.Approval{Digest: "d1ge57", By: "op"}})
		if err != nil || r.Pass != "00:01 apply d1ge57 by op" {
			t.Errorf("%q, %v", r.Pass, err)
		}
		time.Sleep(time.Hour - 2*time.Minute + time.Second)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, err := d.Sync(t.Context(), everybody, reconcile.Request{}); !errors.Is(err, ErrStandby) {
			t.Errorf("after the daemon has ended: %v", err)
		}
		want := []string{"00:00 apply", "00:01 apply d1ge57 by op", "00:10 apply", "00:20 apply", "00:30 apply", "00:40 apply", "00:50 apply", "01:00 apply"}
		if diff := cmp.Diff(want, lines); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}

func TestNothingIsApprovedInObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines []string
		d := New(journal(t, "@hourly", false, &lines), Options{ShutdownTimeout: time.Hour})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- d.Run(ctx) }()
		synctest.Wait()
		if _, err := d.Sync(t.Context(), everybody, reconcile.Request{Approval: reconcile.Approval{Digest: "d1ge57", By: "op"}}); !errors.Is(err, ErrObserves) {
			t.Errorf("got %v", err)
		}
		cancel()
		if err := <-ended; err != nil || len(lines) != 1 {
			t.Errorf("passes %q, %v", lines, err)
		}
	})
}

// TestAnotherJob: a new job waits for the running pass, begins with a pass, and then follows
// its own schedule. If the new job cannot be made, the old one stays.
func TestAnotherJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines []string
		d := New(journal(t, "@every 10m", false, &lines), Options{ShutdownTimeout: time.Hour})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- d.Run(ctx) }()
		time.Sleep(15 * time.Minute)
		bad := errors.New("no")
		if err := d.Replace(t.Context(), func() (Job, error) { return Job{}, bad }); !errors.Is(err, bad) {
			t.Errorf("got %v", err)
		}
		time.Sleep(5*time.Minute + 30*time.Second) // in the pass of 00:20
		if err := d.Replace(t.Context(), func() (Job, error) { return journal(t, "@every 30m", true, &lines), nil }); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour + time.Second)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"00:00", "00:10", "00:20", "00:21 apply", "00:51 apply", "01:21 apply"}, lines); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}

// TestASecondTerm: Run can be called again after it has returned, and begins with a pass at
// once.
func TestASecondTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines []string
		d := New(journal(t, "@hourly", true, &lines), Options{ShutdownTimeout: time.Hour})
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), 29*time.Minute)
			if err := d.Run(ctx); err != nil {
				t.Error(err)
			}
			cancel()
			time.Sleep(time.Hour)
		}
		if diff := cmp.Diff([]string{"00:00 apply", "01:29 apply"}, lines); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
