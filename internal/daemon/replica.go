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

// replica is the running daemon. A reload replaces only those parts that depend on the
// configuration.
type replica struct {
	options   config.Options // where the configuration comes from
	log       *slog.Logger
	metrics   *metrics.Metrics
	status    *web.Status
	lease     *kube.Lease // nil: this is the only replica
	store     wire.Store
	scheduler *schedule.Scheduler
	counted   counting
	stopped   context.Context // ends with the process

	// reconciler is the Reconciler of the configuration in force. Only a goroutine that holds
	// mu stores a new one. Explain loads it without mu, because a reload holds mu while it
	// waits for the running pass.
	reconciler atomic.Pointer[reconcile.Reconciler]

	mu      sync.Mutex // held while a configuration is loaded
	config  config.Config
	reader  events.Reader // of Keycloak's admin events, by the configuration in force
	refusal string        // why the last configuration was refused; empty: the last configuration is in force

	suspension suspension
}

// newReplica connects the Lease, the memory and both sides. It returns an error for a fault
// that would not go away by itself. It makes no pass.
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

// job returns what the daemon runs under the configuration in force.
func (s *replica) job() schedule.Job {
	r, directory, interval := s.reconciler.Load(), s.counted.directory, s.config.Leavers.Interval
	return schedule.Job{
		After: func(ctx context.Context, rep report.Report) {
			s.counted.after(ctx, rep, interval, r, directory)
			// A pass over a large realm needs a lot of memory, and the next one is minutes away.
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

// newStatus returns the status that the page shows.
func newStatus(c config.Config, lease *kube.Lease) *web.Status {
	if lease == nil {
		return web.NewStatus(c.Name, nil)
	}
	return web.NewStatus(c.Name, lease.Holder)
}

// events returns how admin events are read under the configuration in force. In mode observe
// groupsync does not read them, because an early pass would write nothing.
func (s *replica) events() events.Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.config.Keycloak
	if k.Events != "poll" || s.config.Mode != config.Apply {
		return events.Settings{Every: k.EventsInterval}
	}
	return events.Settings{From: s.reader, Every: k.EventsInterval}
}

// eventPasses returns how the passes that admin events ask for are made. Their errors are only
// logged, because the passes of the schedule find the same changes.
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

// lead tells the metrics and the page whether this process is the leader from now on.
func (s *replica) lead(leads bool) {
	s.metrics.SetLeader(leads)
	s.status.SetLeader(leads)
}

// Reload loads the configuration again and puts it in force after the running pass. If the new
// configuration is refused, the old one stays in force. The log has the error, unless the
// process is ending.
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

// newTerm begins a term without the ledger and without the last count of the leavers. The
// ledger is the list of the changes that this process has made, and shows which of them
// somebody reverted. Another process may have written since the last term, so the old ledger is
// no longer right.
func (s *replica) newTerm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reconciler.Load().NewTerm()
	s.counted.begun = time.Time{} // the metrics have forgotten the last count
}

// stale reports whether the configuration in force differs from what its sources say now. A
// configuration that cannot be loaded counts as different.
func (s *replica) stale() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := config.Load(s.options)
	return err != nil || !reflect.DeepEqual(c, s.config)
}

// refused reports whether the last configuration was refused. Such a configuration can become
// valid without a change of its files. For example, Kubernetes can mount a Secret later than the
// ConfigMap that names the Secret's file.
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

// Approve makes a pass as Sync does, with an approval. It logs the request before the pass,
// because the process may end before the pass does.
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
	case errors.As(err, &several): // this error lists no people; the page and groupsync explain do
		err = &web.Refusal{Status: http.StatusConflict, Err: fmt.Errorf("%d people match, so no pass was made: groupsync explain lists them; ask again with the id of one of them", len(several.Matches))}
	}
	return rep, err
}

// Explain returns the answer of groupsync explain under the configuration in force. It
// implements web.Explainer.
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

// webOptions returns what the web server serves.
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
