// Package reconcile makes passes. A pass is one run: it reads Keycloak and ClearML, and plans
// changes from Keycloak's member lists. Then it takes a second look: it asks Keycloak once
// more about each change. This time it asks about the person's account, not about the group's
// member list. The answer (the person's own side) is the evidence of the change. The guards
// withhold some changes. The pass writes the others, which are the cleared changes. Only
// apply.go writes.
package reconcile

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"groupsync/internal/fault"
	"groupsync/internal/guard"
	"groupsync/internal/journal"
	"groupsync/internal/match"
	"groupsync/internal/memory"
	"groupsync/internal/plan"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// Source is Keycloak's side as a pass needs it.
type Source interface {
	// Catalog returns the complete list of groups, with the federations.
	Catalog(ctx context.Context) (source.Catalog, error)
	// Read returns a snapshot of the selected groups and roles with their members. The snapshot
	// is complete, or Read returns an error.
	Read(ctx context.Context, catalog source.Catalog, selection source.Selection) (*source.Snapshot, error)
	// LookUp asks the realm about people whom no member list has shown. It returns the snapshot
	// with the answers. known are the federations of earlier passes. They are probed too,
	// even if the realm does not list them now.
	LookUp(ctx context.Context, snap *source.Snapshot, people []source.Person, known []source.Federation) (*source.Snapshot, error)
	// Confirm takes the second look. It answers the questions, in their order, from a new
	// reading of each person's own side.
	Confirm(ctx context.Context, snap *source.Snapshot, questions []source.Question, known []source.Federation) (source.Confirmation, error)
	// Find returns the realm's answers about people. Unlike LookUp, it needs no snapshot and
	// can search for a username. Only Look and PassOf use Find.
	Find(ctx context.Context, catalog source.Catalog, people []source.Person, known []source.Federation) (source.LookUps, error)
	// GroupsOf returns the groups of each account (its own side), by account id. Keycloak
	// answers this from its user cache, and the question keeps old cache entries alive. So only
	// Look and PassOf use GroupsOf.
	GroupsOf(ctx context.Context, catalog source.Catalog, accounts []source.User, known []source.Federation) (map[string]source.OwnGroups, error)
}

// Directory is ClearML as a pass needs it.
type Directory interface {
	// UserGroups returns every user group of ClearML, without roles. Snapshot needs this list.
	UserGroups(ctx context.Context) ([]target.Group, error)
	// Snapshot reads the users and returns the snapshot of groups and users. groups must be
	// those that UserGroups returned last.
	Snapshot(ctx context.Context, groups []target.Group) (*target.Snapshot, error)
	// Groups returns the groups of UserGroups and, if groupsync manages the role admin, that
	// role. A write compares them before and after.
	Groups(ctx context.Context) ([]target.Group, error)
	// Group returns one user group and prepares its write, so that SetMembers needs no other
	// request. It returns false if the group is gone.
	Group(ctx context.Context, id string) (target.Group, bool, error)
	// SetMembers replaces the members of a group that Group has just returned. It sends one
	// request for a user group at most, and one for each person of a role at most. Before each
	// request it asks the fence whether this process may still write. It returns the ids that
	// ClearML gave the answered calls, even with an error. Its errors are those of
	// clearml.Client.SetMembers.
	SetMembers(ctx context.Context, fence target.Fence, group target.Group, members []string) (target.Calls, error)
}

// Store keeps the memory from one pass to the next.
type Store interface {
	Load() (memory.Memory, error)
	Save(memory.Memory) error
	// Lock prevents passes of other processes until release is called. It does not wait: if
	// this process must not make a pass now, Lock returns an error.
	Lock() (release func(), err error)
	// Suspension returns the suspension that was set last, by any process, even if it has
	// ended.
	Suspension(ctx context.Context) (memory.Suspension, error)
}

// Journal keeps some of the reports. These are the reports of passes that were allowed to write
// and have a change that was made, failed or was withheld. A report that shows an undone change
// is kept too (pass.needsJournal).
type Journal interface {
	// Add stores the report of a pass.
	Add(report.Report) error
	// Reports lists the ids of the passes without reading the reports, and returns each report
	// by its id. If a report is gone, the error is journal.ErrNoReport.
	journal.Reports
}

// Options are what a Reconciler needs besides the two sides.
type Options struct {
	Name   string // the sync's name
	Rules  match.Rules
	Limits guard.Limits
	Store  Store // keeps the memory; nil: the memory lasts as long as the process
	// Peek returns the store for one Look, Survey or Compare, which may run beside a pass. If
	// Peek is nil, these use Store. Peek is needed if Store reports a problem only once, for
	// example that its ConfigMap was deleted. The pass must get that error, so a look must not
	// use it up.
	Peek func() Store
	// Journal keeps the reports, and shows which changes other groupsync processes made. If
	// Journal is nil, no report is kept, and the changes of other processes are unknown.
	Journal Journal
	Now     func() time.Time  // nil: time.Now
	Step    func(step string) // called before each step of a pass with its name, to show a waiting person the progress; may be nil
	Log     *slog.Logger
}

// Reconciler makes passes, one at a time. From one pass to the next it keeps the memory, the
// ledger and the writer.
type Reconciler struct {
	Options
	source Source
	target Directory
	writer *writer
	ledger ledger
	// seen has the ids of the passes whose reports were entered into the ledger.
	seen map[string]bool
}

// New returns a Reconciler of the two sides.
func New(src Source, tgt Directory, o Options) *Reconciler {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Step == nil {
		o.Step = func(string) {}
	}
	if o.Store == nil {
		o.Store = new(memory.Process)
	}
	r := &Reconciler{Options: o, source: src, target: tgt, ledger: make(ledger), seen: make(map[string]bool)}
	r.writer = &writer{dir: tgt, suspension: r.suspension, proved: make(map[string]bool), late: make(map[string]bool)}
	return r
}

// Reconfigured returns the Reconciler to use after a change of the configuration. The new
// Reconciler keeps what must outlive the change: the ledger, the count of lost members, the
// groups to write last, a canary that could not be read back, and whether writing was stopped
// for good. If o.Store is nil, it also keeps the memory. Its first write is a canary again
// (see writer). No pass may run during the call, and r must make no pass afterwards.
func (r *Reconciler) Reconfigured(src Source, tgt Directory, o Options) *Reconciler {
	if o.Store == nil {
		o.Store = r.Store
	}
	next := New(src, tgt, o)
	next.ledger, next.seen = r.ledger, r.seen
	next.writer.broken, next.writer.lost, next.writer.late, next.writer.before = r.writer.broken, r.writer.lost, r.writer.late, r.writer.before
	return next
}

// NewTerm clears the ledger. It is called when this process becomes the leader. Another leader
// may have made changes in between, so the entries may be out of date. No pass may run during
// the call.
func (r *Reconciler) NewTerm() { clear(r.ledger) }

// Approval is a person's permission for the changes that a digest names.
type Approval struct {
	Digest string // empty: no approval
	By     string // who approves
}

// Request says what a pass may do.
type Request struct {
	Apply    bool         // write the cleared changes; false (mode observe): only report them, but still take the lock and save the memory, unless DryRun is set
	Approval Approval     // lifts the liftable guards for the changes that the digest names
	MayWrite func() error // called before each write; an error means that this process is not the leader and must not write; if MayWrite is nil, nothing is written
	DryRun   bool         // take no lock, and do not change the memory; set only if Apply is false

	// Early says that the pass runs outside the schedule, which makes some limits stricter
	// (guard.Input.Early). A PassOf is always early.
	Early bool

	// Witnesses are admin events about the person of a PassOf. A removal that they explain
	// needs no grace.
	Witnesses []source.Witness
}

// Pass makes one pass and returns what it found and did. Errors are in the report. Nothing was
// written unless the report says so.
func (r *Reconciler) Pass(ctx context.Context, req Request) report.Report {
	p := r.begin(req)
	r = r.asOf(p.report.Started)
	ctx = target.WithPass(ctx, p.report.Pass)
	if err := r.remembering(p, func(mem memory.Memory) error { return r.run(ctx, p, mem) }); err != nil {
		p.fail(err)
	}
	return r.end(p)
}

// asOf returns a copy of the Reconciler without the exceptions of users.protect that have
// ended at the time now. The copy shares everything else with r. A pass uses one such copy,
// made when the pass starts. So an exception that ends during the pass counts for the whole
// pass.
func (r *Reconciler) asOf(now time.Time) *Reconciler {
	c := *r
	c.Rules = r.Rules.At(now)
	return &c
}

// peeking returns the Reconciler for one Look, Survey or Compare: a copy as of now (asOf),
// with the store that Peek returns, if Peek is set.
func (r *Reconciler) peeking(now time.Time) *Reconciler {
	r = r.asOf(now)
	if r.Peek != nil {
		r.Store = r.Peek()
	}
	return r
}

// record stores the report in the journal if it must be kept (pass.needsJournal). If the
// report cannot be stored, record adds an error to it. This does not undo what was written in
// ClearML. A dry run writes nothing and counts no undone changes, so its report is not stored.
func (r *Reconciler) record(p *pass) {
	if r.Journal == nil || !p.needsJournal() {
		return
	}
	r.seen[p.report.Pass] = true // the ledger has the changes of this pass, so recall must not read the report
	if err := r.Journal.Add(p.report); err != nil {
		p.report.Errors = append(p.report.Errors, report.Failure{System: "groupsync", Reason: "journal", Text: fmt.Sprintf("storing the report of this pass in the journal: %v: make room in state_dir, or make it writable; the log has the changes of this pass", err)})
	}
}

// locked calls run with the stored memory while this process holds the store's lock, which
// prevents passes of other processes. A dry run takes no lock, because it writes nothing.
func (r *Reconciler) locked(p *pass, run func(memory.Memory) error) error {
	if !p.request.DryRun {
		release, err := r.Store.Lock()
		if err != nil {
			return err
		}
		defer release()
	}
	mem, err := r.Store.Load()
	if err != nil {
		return err
	}
	return run(mem)
}

// remembering makes a whole pass by calling run with the stored memory. If the pass fails,
// remembering saves the time of the failure, unless an earlier failure is saved
// (Memory.FailedAt).
func (r *Reconciler) remembering(p *pass, run func(memory.Memory) error) error {
	return r.locked(p, func(mem memory.Memory) error {
		err := run(mem.Resumed(r.Now()))
		if err == nil || p.request.DryRun {
			return err
		}
		mem, loadErr := r.Store.Load() // the pass may have saved before it failed
		if loadErr != nil {
			return errors.Join(err, loadErr)
		}
		if mem.FailedAt.IsZero() {
			mem.FailedAt = r.Now()
		}
		return errors.Join(err, r.Store.Save(mem))
	})
}

// decision is what a pass has read and decided before it writes.
type decision struct {
	in      guard.Input
	pairing match.Pairing
	people  match.People
	judged  guard.Judged
}

// decide does the steps of a pass before its writes: it reads both sides, plans, takes the
// second look, and applies the guards.
func (r *Reconciler) decide(ctx context.Context, mem memory.Memory, req Request) (d decision, err error) {
	rules := r.remembered(mem)
	tgt, src, err := r.read(ctx, rules)
	if err != nil {
		return d, err // the error says what could not be read
	}
	mem = mem.Settled(tgt.Member)
	pairs, err := rules(src.Catalog(), tgt.Groups())
	if err != nil {
		return d, err
	}
	src, people, draft, err := r.plan(ctx, src, tgt, pairs.now, mem, nil)
	if err != nil {
		return d, err
	}
	r.Step("taking the second look")
	confirmation, err := r.source.Confirm(ctx, src, draft.Questions(), known(mem))
	if err != nil {
		return d, fmt.Errorf("confirming the changes: %w", err)
	}
	weighed, err := draft.Weighed(confirmation)
	if err != nil {
		return d, err
	}
	scoped, err := r.scoped(ctx, pairs, src, tgt, people, weighed, known(mem))
	if err != nil {
		return d, err
	}
	suspended, err := r.suspension(ctx)
	if err != nil {
		return d, err
	}
	d.in = guard.Input{
		Source: src, Target: tgt, Probes: confirmation.Probes, Scoped: scoped,
		Limits: r.Limits, Memory: mem, Now: r.Now(), Approve: req.Approval.Digest, Early: req.Early, Suspended: suspended,
	}
	d.judged = guard.Judge(weighed, d.in)
	d.pairing, d.people = pairs.now, people
	d.pairing.Skips = match.Remarks(tgt, d.pairing, r.Rules, match.Unsure(src.Catalog(), people)...)
	return d, nil
}

// suspension returns the suspension that is in force now, or the zero Suspension. If it
// returns an error, it is unknown whether writing is suspended, and nothing may be written.
func (r *Reconciler) suspension(ctx context.Context) (memory.Suspension, error) {
	s, err := r.Store.Suspension(ctx)
	if err != nil {
		return memory.Suspension{}, fmt.Errorf("finding out whether writing is suspended: %w", err)
	}
	return s.Current(r.Now()), nil
}

// run decides, saves the memory, and writes the cleared changes.
func (r *Reconciler) run(ctx context.Context, p *pass, mem memory.Memory) error {
	began := r.Now()
	d, err := r.decide(ctx, mem, p.request)
	if err != nil {
		return err
	}
	if !p.request.DryRun {
		r.recall(p)
		p.undone = r.ledger.reverted(d.judged.Plan)
	}
	p.found(d)
	next := d.judged.Remember(d.in, r.Rules.Scope(), p.request.Apply)
	p.report.PendingOldest = pendingOldest(next, d.in.Now).Seconds()
	p.report.Forgotten = mem.Forgotten().Memberships
	return r.write(ctx, p, began, next, d.judged.Cleared)
}

// write saves the memory and then, if the pass applies, writes the cleared changes. next, the
// memory, includes the cleared changes. So if the process crashes during the writes, the next
// pass still counts them toward the limits. began is when the pass began to read, for the age
// of the plan.
func (r *Reconciler) write(ctx context.Context, p *pass, began time.Time, next memory.Memory, cleared guard.Cleared) error {
	if err := r.keep(p, next); err != nil || !p.request.Apply {
		return err
	}
	r.Step("writing to ClearML")
	p.applied(r.writer.apply(ctx, p.log, r.fence(p.request, began), cleared))
	r.ledger.enter(p.report)
	return nil
}

// read reads both sides. ClearML has two views of a user group: the group's member list, and
// the users' own lists of groups. If the views disagree, read reads both sides once more,
// because a login during the reading can cause this.
func (r *Reconciler) read(ctx context.Context, pair pairer) (*target.Snapshot, *source.Snapshot, error) {
	tgt, src, err := r.readOnce(ctx, pair)
	if err != nil || tgt.Disagreements() == 0 {
		return tgt, src, err
	}
	return r.readOnce(ctx, pair)
}

// readOnce reads the two sides at the same time, with one exception: it reads the members of
// Keycloak's groups after ClearML's groups. If a login adds a person in between, the plan then
// proposes an addition that is already made. In the other order, the plan would propose to
// remove that person.
func (r *Reconciler) readOnce(ctx context.Context, pair pairer) (tgt *target.Snapshot, src *source.Snapshot, err error) {
	r.Step("reading ClearML and Keycloak's groups")
	work, ctx := errgroup.WithContext(ctx)
	groupsRead := make(chan []target.Group, 1)
	work.Go(func() error {
		groups, err := r.target.UserGroups(ctx)
		if err != nil {
			return err
		}
		groupsRead <- groups
		tgt, err = r.target.Snapshot(ctx, groups)
		return err
	})
	work.Go(func() error {
		catalog, err := r.source.Catalog(ctx)
		if err != nil {
			return err
		}
		var groups []target.Group
		select {
		case groups = <-groupsRead:
		case <-ctx.Done():
			return ctx.Err()
		}
		// nil: it is not known yet who has the role admin. What is read from Keycloak does not
		// depend on that.
		pairs, err := pair(catalog, append(slices.Clone(groups), target.AdminRole(nil)))
		if err != nil {
			return err
		}
		r.Step("reading the members of Keycloak's groups")
		src, err = r.source.Read(ctx, catalog, pairs.selection())
		return err
	})
	return tgt, src, work.Wait()
}

// fence returns the fence of the pass, which is asked before each write. The fence refuses if
// this process is not the leader, or if the plan is too old. began is when the pass began to
// read.
func (r *Reconciler) fence(req Request, began time.Time) target.Fence {
	return target.Leading(req.MayWrite).And(target.NotOlder(began, r.Limits.MaxAge, r.Now))
}

// plan plans, makes the look-ups that the plan asks for, and plans again. If asks is not nil,
// it makes only the look-ups for which asks returns true.
func (r *Reconciler) plan(ctx context.Context, src *source.Snapshot, tgt *target.Snapshot, pairing match.Pairing, mem memory.Memory, asks func(source.Person) bool) (*source.Snapshot, match.People, plan.Plan, error) {
	people := match.Who(src, tgt, r.Rules)
	draft := plan.Make(src, tgt, pairing, people)
	if asks != nil {
		draft.Asks = slices.DeleteFunc(draft.Asks, func(p source.Person) bool { return !asks(p) })
	}
	if len(draft.Asks) == 0 {
		return src, people, draft, nil
	}
	src, err := r.lookUp(ctx, src, draft.Asks, mem)
	if err != nil {
		return nil, people, draft, err
	}
	people = match.Who(src, tgt, r.Rules)
	return src, people, plan.Make(src, tgt, pairing, people), nil
}

// lookUp returns the snapshot with the realm's answers about these people.
func (r *Reconciler) lookUp(ctx context.Context, src *source.Snapshot, asks []source.Person, mem memory.Memory) (*source.Snapshot, error) {
	r.Step("looking people up")
	src, err := r.source.LookUp(ctx, src, asks, known(mem))
	if err != nil {
		return nil, fmt.Errorf("looking people up: %w", err)
	}
	return src, nil
}

// known returns the federations of earlier passes, sorted by id.
func known(mem memory.Memory) []source.Federation {
	var federations []source.Federation
	for _, id := range slices.Sorted(maps.Keys(mem.Federations)) {
		federations = append(federations, source.Federation{ID: id, Name: mem.Federations[id], Enabled: true, Answered: mem.Answered[id]})
	}
	return federations
}

func (r *Reconciler) keep(p *pass, m memory.Memory) error {
	if p.request.DryRun {
		return nil
	}
	return r.Store.Save(m)
}

// pendingOldest returns how long the oldest pending account has been pending.
func pendingOldest(mem memory.Memory, now time.Time) time.Duration {
	var oldest time.Duration
	for _, since := range mem.Pending {
		oldest = max(oldest, now.Sub(since))
	}
	return oldest
}

func (r *Reconciler) begin(req Request) *pass {
	started := r.Now().UTC()
	mode := "observe"
	if req.Apply {
		mode = "apply"
	}
	id := passID(started)
	return &pass{request: req, log: r.Log.With("sync", r.Name, "pass", id), report: report.Report{
		Pass: id, Sync: r.Name, Mode: mode, Started: started,
		Groups: []report.Group{}, Skipped: []report.Skip{}, People: []report.Person{},
		Guards: []report.Trip{}, Errors: []report.Failure{}, Users: map[string]int{}, Probes: []report.Probe{}, Reverted: map[string]int{},
	}}
}

// passID returns a unique id. It begins with the time, so that ids sort by time, and ends with
// a random part.
func passID(started time.Time) string {
	var random [4]byte
	rand.Read(random[:]) // never fails
	return started.Format("20060102T150405Z") + "-" + hex.EncodeToString(random[:])
}

// end sets the result, stores the report in the journal, and logs the trips and the summary
// line of the pass.
func (r *Reconciler) end(p *pass) report.Report {
	rep := &p.report
	rep.Duration = r.Now().Sub(rep.Started).Seconds()
	rep.Result = p.result()
	r.record(p)
	level := slog.LevelInfo
	if rep.Result == report.Error || !rep.Succeeded() {
		level = slog.LevelError
	}
	for _, t := range rep.Guards {
		p.log.Warn("guard tripped", "guard", string(t.Guard), "group", t.Group, "detail", t.Detail, "override", t.Override)
	}
	add, remove := rep.Drift()
	errorTexts := make([]string, len(rep.Errors))
	for i, e := range rep.Errors {
		errorTexts[i] = e.Text
	}
	log := p.log
	if !p.suspended.IsZero() {
		log = log.With("suspended_until", p.suspended.Until, "suspended", p.suspended.What())
	}
	log.Log(context.Background(), level, "pass ended", "mode", rep.Mode, "result", string(rep.Result), "duration", rep.Duration,
		"added", rep.Applied.Added, "removed", rep.Applied.Removed, "failed", rep.Applied.Failed,
		"drift_add", add, "drift_remove", remove, "pending", rep.Users["pending"], "digest", rep.Digest, "errors", errorTexts)
	return *rep
}

// systemOf returns where an error comes from ("keycloak", "clearml" or "groupsync") and the kind
// of the error (a fault.Reason, "config" or "internal"), for the report.
func systemOf(err error) (system, reason string) {
	if f := fault.Of(err); f != nil {
		return string(f.System), string(f.Reason)
	}
	var builtin *match.BuiltinError
	if errors.As(err, &builtin) {
		return "groupsync", "config"
	}
	return "groupsync", "internal"
}
