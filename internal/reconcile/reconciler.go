// Package reconcile makes one pass: it reads both sides, plans, has every
// removal confirmed, holds the plan against the guards, and applies what they
// return. plan.go and guard.go are pure; apply.go alone writes.
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

	"groupsync/internal/fault"
	"groupsync/internal/match"
	"groupsync/internal/memory"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// Source is the identity provider as a pass needs it.
type Source interface {
	// Read returns a complete snapshot of what pick selects, or an error.
	Read(ctx context.Context, pick func(source.Catalog) source.Selection) (*source.Snapshot, error)
	// Confirm answers the claims, in order, from a second and independent look
	// between probes of every federation, those remembered included.
	Confirm(ctx context.Context, snap *source.Snapshot, claims []source.Claim, remembered []source.Federation) (source.Confirmation, error)
}

// Directory is ClearML as a pass needs it.
type Directory interface {
	// Read returns a complete snapshot, or an error.
	Read(ctx context.Context) (*target.Snapshot, error)
	// Groups returns every user group.
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
	Limits Limits
	Fence  target.Fence     // asked before each write; the zero Fence refuses all
	Store  Store            // keeps what the guards remember; nil: for the life of the process
	Now    func() time.Time // nil: time.Now
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
	if o.Store == nil {
		o.Store = new(memory.Process)
	}
	return &Reconciler{Options: o, source: src, target: tgt, writer: &writer{dir: tgt, late: make(map[string]bool)}, ledger: make(ledger)}
}

// Succeed returns the Reconciler that follows after a change of configuration.
// It keeps what such a change must not undo: what the guards remember, where o
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

// Request says what a pass may do.
type Request struct {
	Apply   bool   // write what the guards clear
	Approve string // digest of removals for which the limits are lifted; empty: none
	DryRun  bool   // remember nothing of the pass
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

// run is the path of the data. ClearML is read before Keycloak's members, so
// that somebody whom a login places meanwhile shows as an addition already
// done, never as a stranger to remove.
func (r *Reconciler) run(ctx context.Context, p *pass, mem memory.Memory) error {
	tgt, err := r.target.Read(ctx)
	if err != nil {
		return err // it says itself what was being read
	}
	pairing, src, err := r.readSource(ctx, tgt)
	if err != nil {
		return err
	}
	pairing.Skips = match.Remarks(tgt, pairing, r.Rules)
	people := match.Who(src, tgt, r.Rules)
	plan := MakePlan(src, tgt, pairing, people, r.Rules)
	if !p.request.DryRun {
		p.report.Reverted = r.ledger.reverted(plan)
	}
	confirmation, err := r.confirm(ctx, src, plan, mem)
	if err != nil {
		return fmt.Errorf("confirming the removals: %w", err)
	}
	now := r.Now()
	judged := Judge(plan, src, tgt, confirmation, r.Limits, mem, now, p.request.Approve)
	p.found(src, tgt, pairing, people, plan, confirmation, judged)
	if a := p.request.Approve; a != "" && a != judged.Digest {
		return fmt.Errorf("the plan has changed: the approval names the removals %s, the plan's are %q; nothing was written, look at the plan again", a, judged.Digest)
	}
	l := lesson{judged: judged, src: src, tgt: tgt, away: len(confirmation.Away()) > 0, now: now, window: r.Limits.Window}
	written := 0
	if p.request.Apply {
		// Saved first, so that a crash in the middle cannot start the window anew.
		if err := r.keep(p, l.remember(mem, judged.Cleared.removals())); err != nil {
			return err
		}
		done := r.writer.apply(ctx, p.log, r.Fence, judged.Cleared)
		p.applied(done)
		r.ledger.enter(p.report)
		written = done.removed
	}
	next := l.remember(mem, written)
	p.report.PendingOldest = pendingOldest(next, now)
	return r.keep(p, next)
}

// readSource reads the realm for the groups that ClearML has.
func (r *Reconciler) readSource(ctx context.Context, tgt *target.Snapshot) (match.Pairing, *source.Snapshot, error) {
	var pairing match.Pairing
	var pairErr error
	src, err := r.source.Read(ctx, func(c source.Catalog) source.Selection {
		pairing, pairErr = match.Groups(c, tgt.Groups(), r.Rules)
		return pairing.Selection()
	})
	return pairing, src, errors.Join(pairErr, err)
}

// confirm has every removal that the plan wants looked at a second time; where
// it wants none, nothing is asked.
func (r *Reconciler) confirm(ctx context.Context, src *source.Snapshot, plan Plan, mem memory.Memory) (source.Confirmation, error) {
	claims := plan.Claims()
	if len(claims) == 0 {
		return source.Confirmation{}, nil
	}
	var remembered []source.Federation
	for _, id := range slices.Sorted(maps.Keys(mem.Federations)) {
		remembered = append(remembered, source.Federation{ID: id, Name: mem.Federations[id], Enabled: true})
	}
	return r.source.Confirm(ctx, src, claims, remembered)
}

func (r *Reconciler) keep(p *pass, m memory.Memory) error {
	if p.request.DryRun {
		return nil
	}
	return r.Store.Save(m)
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
		Guards: []report.Trip{}, Errors: []report.Failure{},
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
