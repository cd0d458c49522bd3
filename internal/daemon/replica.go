package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"groupsync/internal/config"
	"groupsync/internal/events"
	"groupsync/internal/explain"
	"groupsync/internal/kube"
	"groupsync/internal/memory"
	"groupsync/internal/metrics"
	"groupsync/internal/reconcile"
	"groupsync/internal/report"
	"groupsync/internal/schedule"
	"groupsync/internal/web"
	"groupsync/internal/wire"
)

// replica is the running daemon: the leader, a standby, or the only process. A reload replaces
// only the fields that depend on the configuration.
type replica struct {
	options   config.Options // the sources of the configuration
	log       *slog.Logger
	metrics   *metrics.Metrics
	status    *web.Status
	lease     *kube.Lease // nil: this is the only replica
	store     wire.Store
	scheduler *schedule.Scheduler
	counted   counting
	stopped   context.Context // ends when the process must end

	// reconciler is the Reconciler of the configuration in force. Only a goroutine that holds
	// mu stores a new one. Explain loads it without mu, because a reload holds mu while it
	// waits for the running pass.
	reconciler atomic.Pointer[reconcile.Reconciler]

	mu      sync.Mutex // held while a configuration is loaded
	config  config.Config
	reader  events.Reader // reads Keycloak's admin events
	refusal string        // why the configuration that was loaded last was refused; empty: it is in force

	suspension suspension
}

// newReplica opens the Lease and the store of the memory, and makes the clients of both sides. It
// returns an error if a person must change something before groupsync can run. It makes no pass.
func newReplica(ctx context.Context, c config.Config, o Options) (*replica, error) {
	log := o.Log
	lease, err := wire.OpenLease(c, o.Pod, log)
	if err != nil {
		return nil, err
	}
	if lease != nil {
		if err := lease.Check(ctx); err != nil {
			return nil, err
		}
	}
	store, err := wire.OpenStore(c, lease)
	if err != nil {
		return nil, err
	}
	s := &replica{options: o.Sources, log: log, metrics: wire.Metrics(c, o.Build), status: newStatus(c, lease), lease: lease, store: store, stopped: ctx, config: c}
	connected, err := wire.Connect(c, s.metrics, store, wire.Progress{}, log)
	if err != nil {
		return nil, err
	}
	s.reader = connected.Events
	s.reconciler.Store(reconcile.New(connected.Source, connected.Target, connected.Options))
	s.counted = counting{log: log, metrics: s.metrics, directory: connected.Target}
	s.scheduler = schedule.New(s.job(), schedule.Options{ShutdownTimeout: c.ShutdownTimeout, Next: s.nextPass, Skipped: s.metrics.Skipped, Log: log})
	return s, nil
}

// job returns the schedule and the functions that make passes under the configuration in force.
func (s *replica) job() schedule.Job {
	r, directory, interval := s.reconciler.Load(), s.counted.directory, s.config.Leavers.Interval
	return schedule.Job{
		After: func(ctx context.Context, rep report.Report) {
			s.counted.after(ctx, rep, interval, r, directory)
			// A pass over a large realm needs a lot of memory, and the next pass is minutes away.
			// So the memory goes back to the operating system.
			debug.FreeOSMemory()
		},
		Schedule: s.config.Cron(), Jitter: s.config.Jitter, Apply: s.config.Mode == config.Apply,
		Pass: func(ctx context.Context, req reconcile.Request) report.Report {
			defer s.status.Begin()()
			req.MayWrite = wire.MayWrite(s.lease)
			rep := r.Pass(ctx, req)
			s.status.Record(rep)
			s.metrics.Record(rep)
			wire.LogApproval(ctx, s.log, s.lease, rep)
			if s.lease != nil {
				s.lease.Tripped(ctx, rep.Guards)
			}
			return rep
		},
		PassOf: func(ctx context.Context, user string, req reconcile.Request) (report.Report, error) {
			req.MayWrite = wire.MayWrite(s.lease)
			_, rep, err := r.PassOf(ctx, user, req)
			if err != nil {
				return rep, err
			}
			s.metrics.Record(rep)
			wire.LogApproval(ctx, s.log, s.lease, rep)
			return rep, nil
		},
	}
}

// newStatus returns the empty status of the web server's status page. If there is a Lease, the page
// names the holder of the Lease.
func newStatus(c config.Config, lease *kube.Lease) *web.Status {
	if lease == nil {
		return web.NewStatus(c.Name, nil)
	}
	return web.NewStatus(c.Name, lease.Holder)
}

// events returns how the daemon reads admin events under the configuration in force. In mode
// observe the daemon does not read admin events, because an early pass would write nothing.
func (s *replica) events() events.Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.config.Keycloak
	if k.Events != "poll" || s.config.Mode != config.Apply {
		return events.Settings{Every: k.EventsInterval}
	}
	return events.Settings{From: s.reader, Every: k.EventsInterval}
}

// eventPasses returns the functions that make the early passes for admin events. These functions
// only log errors, because the scheduled passes find the same changes.
func (s *replica) eventPasses() events.Options {
	return events.Options{
		Settings: s.events, Log: s.log,
		Person: func(ctx context.Context, p events.Person) {
			_, err := s.scheduler.Sync(ctx, p.Account, reconcile.Request{Witnesses: p.Witnesses})
			var unknown *reconcile.UnknownError
			var several *reconcile.SeveralError
			switch {
			case errors.As(err, &unknown), errors.As(err, &several): // the next scheduled pass decides about this account
				s.log.Debug("an admin event is about an account that matches no ClearML user, or several", "account", p.Account)
			case err != nil && ctx.Err() == nil:
				s.log.Warn("a pass that an admin event asked for was not made: the next scheduled pass finds the change", "error", err)
			}
		},
		Whole: func(ctx context.Context) {
			if _, err := s.scheduler.Sync(ctx, "", reconcile.Request{Early: true}); err != nil && ctx.Err() == nil {
				s.log.Warn("a pass that an admin event asked for was not made: the next scheduled pass finds the change", "error", err)
			}
		},
	}
}

// nextPass tells the metrics and the page when the next scheduled pass is due.
func (s *replica) nextPass(at time.Time) {
	s.metrics.NextPass(at)
	s.status.NextPass(at)
}

// lead tells the metrics and the page that this process is the leader from now on, or that it is
// not.
func (s *replica) lead(leads bool) {
	s.metrics.SetLeader(leads)
	s.status.SetLeader(leads)
}

// Reload waits until the running pass has ended, loads the configuration, and puts the new
// configuration in force. If the new configuration is refused, because it has an error or needs a
// restart, the old configuration stays in force. Reload logs the error, unless the process is
// ending.
func (s *replica) Reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.scheduler.Replace(s.stopped, func() (schedule.Job, error) {
		c, err := config.Load(s.options)
		if err != nil {
			return schedule.Job{}, err
		}
		if keys := s.config.Unchangeable(c); len(keys) > 0 {
			return schedule.Job{}, fmt.Errorf("%s changed, and a running process cannot apply this change: restart groupsync", strings.Join(keys, ", "))
		}
		next, err := wire.Connect(c, s.metrics, s.store, wire.Progress{}, s.log)
		if err != nil {
			return schedule.Job{}, err
		}
		s.reconciler.Store(s.reconciler.Load().Reconfigured(next.Source, next.Target, next.Options))
		s.config, s.reader, s.counted.directory = c, next.Events, next.Target
		if p, is := s.store.(*memory.Process); is {
			p.Move(c.ClearML.URL)
		}
		s.metrics.Configure(wire.Settings(c))
		return s.job(), nil
	})
	if err != nil && s.stopped.Err() != nil {
		return err // the process ends, and nothing was refused
	}
	if err != nil {
		level := slog.LevelError
		if err.Error() == s.refusal { // the log has this error already
			level = slog.LevelDebug
		}
		s.refusal = err.Error()
		s.metrics.Refused()
		s.log.Log(s.stopped, level, "the new configuration was refused. The previous configuration stays in force", "error", err)
		return err
	}
	s.refusal = ""
	s.log.Info("the configuration was reloaded", "mode", s.config.Mode, "writes", s.config.Mode == config.Apply, "schedule", s.config.Schedule)
	warn(s.config, s.log)
	return nil
}

// newTerm deletes the ledger and the time of the last count of leavers when a term begins. The
// ledger is the list of this process's changes, which shows whether somebody reverted one of them.
// Another process may have written since the last term, so the old ledger is no longer right.
func (s *replica) newTerm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reconciler.Load().NewTerm()
	s.counted.begun = time.Time{} // the metrics deleted the last count when the last term ended
}

// stale reports whether the configuration in force differs from the configuration that Load would
// return now. An error of Load counts as a difference.
func (s *replica) stale() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := config.Load(s.options)
	return err != nil || !reflect.DeepEqual(c, s.config)
}

// refused reports whether the configuration that was loaded last was refused. A refused
// configuration can become valid without a change of its files. For example, Kubernetes can mount
// a Secret later than the ConfigMap that names the Secret's file.
func (s *replica) refused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refusal != ""
}

// Sync makes a pass now: of one user, or of everybody if user is empty. If this process is a
// standby, the error names the leader.
func (s *replica) Sync(ctx context.Context, user string) (report.Report, error) {
	return s.sync(ctx, user, reconcile.Request{})
}

// Approve makes a pass as Sync does, with an approval of the plan with that digest. by is the
// person who approves. Approve logs the request before the pass, so that the log has the request
// even if the process ends during the pass.
func (s *replica) Approve(ctx context.Context, user, digest, by string) (report.Report, error) {
	s.log.Info("a pass with an approval was asked for", "digest", digest, "by", by)
	return s.sync(ctx, user, reconcile.Request{Approval: reconcile.Approval{Digest: digest, By: by}})
}

func (s *replica) sync(ctx context.Context, user string, req reconcile.Request) (report.Report, error) {
	rep, err := s.scheduler.Sync(ctx, user, req)
	var unknown *reconcile.UnknownError
	var several *reconcile.SeveralError
	switch {
	case errors.Is(err, schedule.ErrStandby):
		if s.lease != nil && s.lease.Holder() != "" {
			err = fmt.Errorf("%w: %s", err, s.lease.Holder())
		}
		err = &web.Refusal{Status: http.StatusServiceUnavailable, Err: err}
	case errors.Is(err, schedule.ErrObserves):
		err = &web.Refusal{Status: http.StatusConflict, Err: err}
	case errors.As(err, &unknown):
		err = &web.Refusal{Status: http.StatusNotFound, Err: err}
	case errors.As(err, &several): // the answer does not list the people; groupsync explain and the page do
		err = &web.Refusal{Status: http.StatusConflict, Err: fmt.Errorf("%d people match, so no pass was made: groupsync explain lists them; ask again with the id of one of them", len(several.Matches))}
	}
	return rep, err
}

// Explain returns the answer that the command groupsync explain would give about the user, the
// group, or both (reconcile.Subject). It implements web.Explainer.
func (s *replica) Explain(ctx context.Context, user, group string) (web.Explanation, error) {
	view, err := s.reconciler.Load().Look(ctx, reconcile.Subject{User: user, Group: group})
	var unknown *reconcile.UnknownError
	var several *reconcile.SeveralError
	switch {
	case errors.As(err, &unknown):
		return web.Explanation{}, &web.Refusal{Status: http.StatusNotFound, Err: err}
	case errors.As(err, &several):
		return web.Explanation{}, &web.Refusal{Status: http.StatusConflict, Err: err}
	case err != nil:
		return web.Explanation{}, err
	}
	answer := explain.Of(view)
	var text strings.Builder
	if err := explain.Text(&text, answer); err != nil {
		return web.Explanation{}, err
	}
	return web.Explanation{Value: answer, Text: text.String()}, nil
}

// webOptions returns the options of the web server.
func (s *replica) webOptions(c config.Config) web.Options {
	o := web.Options{
		Address: c.Web.Listen, ConfigFile: c.Web.ConfigFile, Metrics: s.metrics.Handler(), Log: s.log,
		Status: s.status, Public: c.Web.PublicStatus,
		Explainer: s,
	}
	if c.Web.EnableLifecycle {
		o.Control = s
	}
	return o
}
