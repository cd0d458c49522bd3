package simulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/robfig/cron/v3"

	"groupsync/internal/fault"
	"groupsync/internal/guard"
	"groupsync/internal/match"
	"groupsync/internal/metrics"
	"groupsync/internal/reconcile"
	"groupsync/internal/report"
	"groupsync/internal/schedule"
	"groupsync/internal/simulate/chaos"
	"groupsync/internal/simulate/dir"
	"groupsync/internal/simulate/history"
	"groupsync/internal/simulate/idp"
	"groupsync/internal/source/keycloak"
	"groupsync/internal/target/clearml"
)

// settings hold the configuration of a process that can differ between schedules.
type settings struct {
	FullPath    bool
	Mapping     map[string][]string
	AdminGroups []string
	AdminRole   string
	AdminVia    match.Via
	Protect     []string
	Exceptions  []match.Exception
	Limits      guard.Limits
	Every       time.Duration
	Jitter      time.Duration
	Timeout     time.Duration // of one request
}

// rules compiles the rules of matching.
func (s settings) rules() (match.Rules, error) {
	return match.Compile(match.Options{
		Include: []string{"*"}, FullPath: s.FullPath, Mapping: s.Mapping, AdminGroups: s.AdminGroups, AdminRole: s.AdminRole, AdminVia: s.AdminVia, Protect: s.Protect, Exceptions: s.Exceptions, Provider: dir.Provider,
	})
}

// forOracle returns the settings in the form that the oracle reads. r is the model of the realm.
func (s settings) forOracle(r *idp.Realm) history.Settings {
	h := history.Settings{
		FullPath: s.FullPath, Mapping: s.Mapping, AdminGroups: s.AdminGroups, AdminRole: s.AdminRole, AdminVia: string(s.AdminVia), Self: dir.Self, Protected: s.Protect,
		Grace: s.Limits.Grace, GoneGrace: s.Limits.GoneGrace, Floor: s.Limits.Floor, MaxAge: s.Limits.MaxAge,
		HidesEmails: r.Duplicates && r.Federations() > 0,
	}
	for _, x := range s.Exceptions {
		h.Exceptions = append(h.Exceptions, history.Exception{User: x.Match, Until: x.Until})
	}
	return h
}

// cronOf returns the cron schedule of passes. The parameter every is the time between two passes.
func cronOf(every time.Duration) cron.Schedule {
	spec := fmt.Sprintf("*/%d * * * *", int(every/time.Minute))
	if every >= time.Hour {
		spec = fmt.Sprintf("0 */%d * * *", int(every/time.Hour))
	}
	s, err := cron.ParseStandard(spec)
	if err != nil {
		panic(err)
	}
	return s
}

// node is one process of groupsync. start builds it from the parts that the daemon uses, but with
// models in place of the network, the store and the Lease.
type node struct {
	name    string
	w       *world
	log     *slog.Logger
	store   store
	metrics *metrics.Metrics
	daemon  *schedule.Scheduler
	stop    context.CancelFunc
	ended   chan struct{}
	dead    atomic.Bool
	broken  atomic.Bool // the guard canary tripped in the last pass, so the process writes nothing until it is restarted

	reconciler *reconcile.Reconciler // the Reconciler that the daemon's job uses
	settings   settings
}

// start starts a process with the name and the settings, and returns it. The process runs until
// end or kill is called.
func (w *world) start(name string, s settings) (*node, error) {
	n := &node{name: name, w: w, log: slog.New(slog.NewTextHandler(w.trace(), &slog.HandlerOptions{Level: slog.LevelInfo})).With("node", name), ended: make(chan struct{}), settings: s}
	n.store = store{w.disk, n.dead.Load}
	n.metrics = metrics.New(metrics.Options{Sync: "sim"}, metrics.Settings{Apply: true})
	r, err := n.connect(s)
	if err != nil {
		return nil, err
	}
	n.reconciler = reconcile.New(r.source, r.target, r.options)
	jitter := chaos.Rand(w.Seed, "jitter", name)
	n.daemon = schedule.New(n.job(), schedule.Options{
		ShutdownTimeout: time.Minute, Log: n.log, Next: n.metrics.NextPass,
		Skipped: func() { n.metrics.Skipped(); w.count("pass skipped") },
		Jitter:  func(most time.Duration) time.Duration { return time.Duration(jitter.Int64N(int64(most))) },
	})
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	w.log.Add(history.InForce{Node: name, Settings: s.forOracle(w.realm)})
	go func() {
		defer close(n.ended)
		var err error
		if w.lease == nil {
			err = n.daemon.Run(ctx)
		} else {
			err = w.lease.run(ctx, name, func(ctx context.Context) error {
				n.reconciler.NewTerm()
				n.metrics.SetLeader(true)
				defer n.metrics.SetLeader(false)
				return n.daemon.Run(ctx)
			})
		}
		if err != nil {
			w.count("pass abandoned")
		}
	}()
	return n, nil
}

// sides holds the clients of both sides and the options from which a Reconciler is made.
type sides struct {
	source  *keycloak.Source
	target  *clearml.Client
	options reconcile.Options
}

func (n *node) connect(s settings) (sides, error) {
	rules, err := s.rules()
	if err != nil {
		return sides{}, err
	}
	src, err := keycloak.New(keycloak.Config{
		URL: idp.Base, Realm: idp.Name, ClientID: "groupsync", ClientSecret: func() (string, error) { return "secret", nil },
		Timeout: s.Timeout, Concurrency: 64, // so many that no request waits for another, because the seed could not decide the order of waiting requests
		Observe: n.metrics.Observe(fault.Keycloak), Transport: n.w.wire.To(chaos.Keycloak, n.name, n.w.realm), Log: n.log,
	})
	if err != nil {
		return sides{}, err
	}
	tgt, err := clearml.New(clearml.Config{
		URL: dir.Base, Keys: func() (clearml.Keys, error) { return clearml.Keys{Access: "access", Secret: "secret"}, nil },
		Timeout: s.Timeout, AdminRole: s.AdminVia.Role(), Observe: n.metrics.Observe(fault.ClearML), Transport: n.w.wire.To(chaos.ClearML, n.name, n.w.directory), Log: n.log,
	})
	if err != nil {
		return sides{}, err
	}
	o := reconcile.Options{Name: "sim", Rules: rules, Limits: s.Limits, Store: n.store, Log: n.log}
	if n.w.journals {
		o.Journal = n.store
	}
	return sides{src, tgt, o}, nil
}

// lead returns an error if the process was killed, or if it does not hold the Lease (lease.held).
// groupsync calls lead before each write, as one part of its fence. groupsync itself checks the other
// parts, the age of the plan and a suspension.
func (n *node) lead() error {
	switch {
	case n.dead.Load():
		return errDead
	case n.w.lease == nil:
		return nil
	}
	return n.w.lease.held(n.name)
}

func (n *node) job() schedule.Job {
	r := n.reconciler
	return schedule.Job{
		Schedule: cronOf(n.settings.Every), Jitter: n.settings.Jitter, Apply: true,
		Pass: func(ctx context.Context, req reconcile.Request) report.Report {
			req.MayWrite = n.lead
			number := n.began(req, false)
			defer n.w.running.Add(-1)
			rep := r.Pass(ctx, req)
			n.passed(number, rep, req)
			return rep
		},
		PassOf: func(ctx context.Context, user string, req reconcile.Request) (report.Report, error) {
			req.MayWrite = n.lead
			number := n.began(req, true)
			defer n.w.running.Add(-1)
			_, rep, err := r.PassOf(ctx, user, req)
			if err != nil {
				n.w.log.Add(history.PassEnded{Node: n.name, Pass: number, Result: "error", Exit: 1, Early: true, Counted: n.counted()})
				return rep, err
			}
			n.passed(number, rep, req)
			return rep, nil
		},
	}
}

func (n *node) began(req reconcile.Request, ofOne bool) int {
	number := int(n.w.passes.Add(1))
	n.w.running.Add(1)
	n.w.wire.PassBegins(n.name, number)
	n.w.passBegins(false)
	n.w.log.Add(history.PassBegan{Node: n.name, Pass: number, Approved: req.Approval.Digest != "", OfOne: ofOne})
	return number
}

// passed records a pass in the metrics, as the daemon does, and adds the end of the pass to the log
// of facts. number is the number of the pass.
func (n *node) passed(number int, rep report.Report, req reconcile.Request) {
	n.metrics.Record(rep)
	if n.dead.Load() {
		return
	}
	e := ending{history.PassEnded{
		Node: n.name, Pass: number, ID: rep.Pass, Result: string(rep.Result), Exit: rep.ExitCode(),
		Early: req.Early || rep.Person != "" || req.Approval.Digest != "", Faulted: n.w.wire.Hit(n.name), HasJournal: n.w.journals,
		Counted: n.counted(),
	}}
	for _, g := range rep.Groups {
		for _, c := range g.Add {
			e.note(g.ID, c, true)
		}
		for _, c := range g.Remove {
			e.note(g.ID, c, false)
		}
	}
	_, err := n.store.Get(rep.Pass)
	e.Journaled = err == nil
	for _, x := range rep.Errors {
		e.Errors = append(e.Errors, x.System+" "+x.Reason+" "+x.Text)
	}
	for _, x := range rep.Guards {
		e.Guards = append(e.Guards, string(x.Guard))
	}
	n.broken.Store(slices.ContainsFunc(rep.Guards, func(t report.Trip) bool { return t.Guard == report.Canary }))
	n.w.saw(rep)
	n.w.log.Add(e.PassEnded)
}

// counted returns the counters of changed memberships, as a scrape of /metrics shows them.
func (n *node) counted() (c history.Counters) {
	families, err := n.metrics.Gatherer().Gather()
	if err != nil {
		panic(err)
	}
	counters := map[string]*int{"add applied": &c.Added, "remove applied": &c.Removed, "add failed": &c.NotAdded, "remove failed": &c.NotRemoved}
	for _, f := range families {
		if f.GetName() != "groupsync_changes_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := make(map[string]string)
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if of := counters[labels["action"]+" "+labels["result"]]; of != nil {
				*of = int(m.GetCounter().GetValue())
			}
		}
	}
	return c
}

// ending is a history.PassEnded that the method passed still fills in. It adds the method note,
// which records one change.
type ending struct{ history.PassEnded }

func (e *ending) note(group string, c report.Change, add bool) {
	x := history.Change{Group: group, User: c.ID, Add: add}
	switch c.Outcome {
	case report.Done:
		e.Done = append(e.Done, x)
	case report.Failed:
		e.Failed = append(e.Failed, x)
		e.Left++
	default:
		e.Left++
	}
}

// reload makes the process use other settings, as POST /-/reload does.
func (n *node) reload(ctx context.Context, s settings) error {
	return n.daemon.Replace(ctx, func() (schedule.Job, error) {
		next, err := n.connect(s)
		if err != nil {
			return schedule.Job{}, err
		}
		n.reconciler = n.reconciler.Reconfigured(next.source, next.target, next.options)
		n.settings = s
		n.w.log.Add(history.InForce{Node: n.name, Settings: s.forOracle(n.w.realm)})
		return n.job(), nil
	})
}

// end stops a process and waits until it has ended.
func (n *node) end() {
	n.stop()
	<-n.ended
}

// kill ends a process as a crash does: from now on it sends nothing and stores nothing.
func (n *node) kill() {
	n.dead.Store(true)
	n.w.wire.Kill(n.name)
	n.end()
}

// trace returns the writer that the processes log to.
func (w *world) trace() io.Writer {
	if w.Trace != nil {
		return w.Trace
	}
	return io.Discard
}

var errNoLeader = errors.New("no process leads")
