// Package reconcile makes one pass: it reads both sides, plans, asks the person's own
// side about every proposed change, holds the plan against the guards, and applies what
// they return. apply.go alone writes.
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
	"groupsync/internal/match"
	"groupsync/internal/memory"
	"groupsync/internal/plan"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// Source is the identity provider as a pass needs it.
type Source interface {
	// Catalog returns the complete list of groups, with the federations.
	Catalog(ctx context.Context) (source.Catalog, error)
	// Read returns a complete snapshot of the selection, or an error.
	Read(ctx context.Context, catalog source.Catalog, selection source.Selection) (*source.Snapshot, error)
	// LookUp returns the snapshot with what the realm says of those people. known are
	// federations of earlier passes.
	LookUp(ctx context.Context, snap *source.Snapshot, people []source.Person, known []source.Federation) (*source.Snapshot, error)
	// Confirm answers the questions, in order, from a second and independent look at
	// each person's own side.
	Confirm(ctx context.Context, snap *source.Snapshot, questions []source.Question, known []source.Federation) (source.Confirmation, error)
	// Find returns what the realm says of those people, who may be named by username too.
	// Only Look asks it.
	Find(ctx context.Context, catalog source.Catalog, people []source.Person, known []source.Federation) (source.LookUps, error)
	// GroupsOf returns, by account id, the groups that each account's own side tells.
	// Only Look asks it, because the answer comes from Keycloak's user cache.
	GroupsOf(ctx context.Context, catalog source.Catalog, accounts []source.User, known []source.Federation) (map[string]source.OwnGroups, error)
}

// Directory is ClearML as a pass needs it.
type Directory interface {
	// UserGroups returns every user group, read for a snapshot.
	UserGroups(ctx context.Context) ([]target.Group, error)
	// Complete reads the users and returns the snapshot of the groups and the users. The
	// groups are those that UserGroups returned last.
	Complete(ctx context.Context, groups []target.Group) (*target.Snapshot, error)
	// Groups returns every user group, read for a write.
	Groups(ctx context.Context) ([]target.Group, error)
	// Group returns one user group, read for a write; false: it is gone.
	Group(ctx context.Context, id string) (target.Group, bool, error)
	// SetMembers replaces the members of a group that Group has just returned. It
	// sends at most one request, and only while the fence allows it. Its errors
	// are those of clearml.Client.SetMembers.
	SetMembers(ctx context.Context, fence target.Fence, group target.Group, members []string) error
}

// Store keeps the guards' memory from one pass to the next.
type Store interface {
	Load() (memory.Memory, error)
	Save(memory.Memory) error
	// Lock keeps other processes' passes out until release is called.
	Lock() (release func(), err error)
}

// Options are what a Reconciler needs beside the two sides.
type Options struct {
	Name   string // the sync's name
	Rules  match.Rules
	Limits guard.Limits
	Store  Store             // keeps what the guards remember; nil: for the life of the process
	Now    func() time.Time  // nil: time.Now
	Step   func(step string) // told what the pass does next, for a person who waits; may be nil
	Log    *slog.Logger
}

// Reconciler makes passes, one at a time. What its guards remember, and whether
// its canary is proved, lives from one pass to the next.
type Reconciler struct {
	Options
	source Source
	target Directory
	writer *writer
	ledger ledger
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
	return &Reconciler{Options: o, source: src, target: tgt, writer: &writer{dir: tgt, late: make(map[string]bool)}, ledger: make(ledger)}
}

// Succeed returns the Reconciler that follows after a change of configuration.
// It keeps what such a change must not undo: what the guards remember, if o
// names no Store, and that writing was stopped for good. Its first write is a
// canary again. No pass may run meanwhile, and r makes none any more.
func (r *Reconciler) Succeed(src Source, tgt Directory, o Options) *Reconciler {
	if o.Store == nil {
		o.Store = r.Store
	}
	next := New(src, tgt, o)
	next.ledger = r.ledger
	next.writer.broken, next.writer.lost, next.writer.late = r.writer.broken, r.writer.lost, r.writer.late
	return next
}

// NewTerm forgets which changes were ours: since the last term another process
// may have made its own. No pass may run meanwhile.
func (r *Reconciler) NewTerm() { clear(r.ledger) }

// Approval is a person's permission for the changes that a digest names.
type Approval struct {
	Digest string // empty: no approval
	By     string // who approves
}

// Request says what a pass may do.
type Request struct {
	Apply    bool         // write what the guards clear
	Approval Approval     // lifts the liftable guards for the changes that the digest names
	Lead     func() error // asked before each write: why this process no longer leads; nil: nothing is written
	DryRun   bool         // remember nothing of the pass
}

// Pass makes one pass and returns what it found and did. Errors are in the
// report; nothing was written unless it says so.
func (r *Reconciler) Pass(ctx context.Context, req Request) report.Report {
	p := r.begin(req)
	ctx = target.WithPass(ctx, p.report.Pass)
	if err := r.remembering(p, func(mem memory.Memory) error { return r.run(ctx, p, mem) }); err != nil {
		p.fail(err)
	}
	return r.end(p)
}

// remembering runs a pass on what the guards remember, and keeps other
// processes' passes out meanwhile. That a pass failed is remembered too. A dry
// run only looks.
func (r *Reconciler) remembering(p *pass, run func(memory.Memory) error) error {
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
	err = run(mem.Resumed(r.Now()))
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
}

// run is the path of the data.
func (r *Reconciler) run(ctx context.Context, p *pass, mem memory.Memory) error {
	began := r.Now()
	rules := r.remembered(mem)
	tgt, src, err := r.read(ctx, rules)
	if err != nil {
		return err // the error says what was being read
	}
	mem = mem.Settled(tgt.Member)
	pairs, err := rules(src.Catalog(), tgt.Groups())
	if err != nil {
		return err
	}
	src, people, draft, err := r.plan(ctx, src, tgt, pairs.now, mem, nil)
	if err != nil {
		return err
	}
	if !p.request.DryRun {
		p.report.Reverted = r.ledger.reverted(draft)
	}
	r.Step("taking the second look")
	confirmation, err := r.source.Confirm(ctx, src, draft.Questions(), known(mem))
	if err != nil {
		return fmt.Errorf("confirming the changes: %w", err)
	}
	weighed, err := draft.Weighed(confirmation)
	if err != nil {
		return err
	}
	scoped, err := r.scoped(ctx, pairs, src, tgt, people, weighed, known(mem))
	if err != nil {
		return err
	}
	in := guard.Input{
		Source: src, Target: tgt, Probes: confirmation.Probes, Scoped: scoped,
		Limits: r.Limits, Memory: mem, Now: r.Now(), Approve: p.request.Approval.Digest,
	}
	judged := guard.Judge(weighed, in)
	pairs.now.Skips = match.Remarks(tgt, pairs.now, r.Rules)
	p.found(in, pairs.now, people, judged)
	next := judged.Remember(in, r.Rules.Scope(), p.request.Apply)
	p.report.PendingOldest = pendingOldest(next, in.Now).Seconds()
	// Saved before the first write, so that a crash in the middle does not start the
	// window anew.
	if err := r.keep(p, next); err != nil || !p.request.Apply {
		return err
	}
	r.Step("writing to ClearML")
	p.applied(r.writer.apply(ctx, p.log, r.fence(p.request, began), judged.Cleared))
	r.ledger.enter(p.report)
	return nil
}

// read reads both sides. ClearML's groups come before Keycloak's members, so that somebody
// whom a login places meanwhile shows as an addition already done, never as a stranger to
// remove. ClearML's users are read beside Keycloak. If the two views of a user group
// disagree, which a login during the reading brings about, both sides are read once more.
func (r *Reconciler) read(ctx context.Context, pair pairer) (*target.Snapshot, *source.Snapshot, error) {
	tgt, src, err := r.readOnce(ctx, pair)
	if err != nil || tgt.Disagreements() == 0 {
		return tgt, src, err
	}
	return r.readOnce(ctx, pair)
}

func (r *Reconciler) readOnce(ctx context.Context, pair pairer) (tgt *target.Snapshot, src *source.Snapshot, err error) {
	r.Step("reading ClearML and Keycloak's groups")
	groups, err := r.target.UserGroups(ctx)
	if err != nil {
		return nil, nil, err
	}
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() (err error) {
		tgt, err = r.target.Complete(ctx, groups)
		return err
	})
	work.Go(func() error {
		catalog, err := r.source.Catalog(ctx)
		if err != nil {
			return err
		}
		// Who has the role admin is not known yet, and does not matter for what is read.
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

// fence returns what must hold for a write to be sent: this process leads, and the plan
// is young enough.
func (r *Reconciler) fence(req Request, began time.Time) target.Fence {
	return target.Leading(req.Lead).And(target.NotOlder(began, r.Limits.MaxAge, r.Now))
}

// plan plans on what was read, asks the realm for the people of whom that does not tell
// enough, and plans again. If asks is not nil, only people whom it reports are asked for.
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

// lookUp returns the snapshot with what the realm says of these people.
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

// pendingOldest returns how long the longest waiting of them has been pending.
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

// passID is the time and a random part, so that ids sort and never repeat.
func passID(started time.Time) string {
	var random [4]byte
	rand.Read(random[:]) // never fails
	return started.Format("20060102T150405Z") + "-" + hex.EncodeToString(random[:])
}

// end settles the result and logs the one summary line of the pass.
func (r *Reconciler) end(p *pass) report.Report {
	rep := &p.report
	rep.Duration = r.Now().Sub(rep.Started).Seconds()
	rep.Result = p.result()
	level := slog.LevelInfo
	if rep.Result == report.Error || !rep.Complete() {
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
	p.log.Log(context.Background(), level, "pass ended", "mode", rep.Mode, "result", string(rep.Result), "duration", rep.Duration,
		"added", rep.Applied.Added, "removed", rep.Applied.Removed, "failed", rep.Applied.Failed,
		"drift_add", add, "drift_remove", remove, "pending", rep.Users["pending"], "digest", rep.Digest, "errors", errorTexts)
	return *rep
}

// systemOf names the side and the reason of an error, for the report.
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
