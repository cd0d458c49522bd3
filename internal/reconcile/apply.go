package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"groupsync/internal/fault"
	"groupsync/internal/guard"
	"groupsync/internal/memory"
	"groupsync/internal/plan"
	"groupsync/internal/report"
	"groupsync/internal/target"
)

// The limits of writing that cannot be configured.
const (
	// callTimeout limits each step of a write: the read before it, the write, and the
	// read-back. Each step has its own limit, so a slow write leaves the read-back its full
	// time.
	callTimeout = 2 * time.Minute
	// maxRounds is how many times groupsync reads and sends one group if the server does not
	// accept the write. After that, groupsync gives up.
	maxRounds = 3
	// minPause and maxPause limit the pause between two rounds. Within these limits the
	// server's Retry-After decides.
	minPause, maxPause = time.Second, 30 * time.Second
	// lostFreely is how many members may be missing after writes that did not remove them. If
	// more are missing, this process stops writing. A login between a write and its read-back
	// changes the groups of one or two people. lostFreely does not depend on
	// guards.free_removals: if that were 0, one such login would stop all writing.
	lostFreely = 3
)

// outcome says what happened to each change of one guard.Write. If a change is in neither map,
// the run did not reach it. If its value is empty, somebody else made the change before
// groupsync did.
type outcome struct {
	add, remove map[string]report.Outcome // by user id
	guard       report.Guard              // the guard of the withheld changes
	calls       target.Calls              // ClearML's ids of the calls that it answered
}

// applied is the result of one call of writer.apply.
type applied struct {
	outcomes map[string]*outcome // by user group id
	trips    []report.Trip
	errors   []error

	suspended memory.Suspension // a suspension that began during the run and withheld a write; zero: none
}

// writer writes cleared changes, which are the changes that no guard withholds. Its first
// write of a member list and its first write of a role are canaries: each is read back, and
// all groups are compared, before the next write of that kind. If a write did more than was
// sent, or lost too many members, the writer stops for good (broken). A Reconciler keeps one
// writer for all its passes, so that later passes know this.
type writer struct {
	dir Directory
	// suspension returns the suspension that is in force now, or the zero Suspension. It
	// returns an error if it cannot read that.
	suspension func(context.Context) (memory.Suspension, error)

	proved map[string]bool                      // by target.Group.Role, which is empty for a member list: the canary's read-back showed exactly the members that were sent
	before map[string]target.Group              // by id, all groups before a canary that could not be read back; nil: there is no such canary
	lost   int                                  // members who were missing after writes that did not remove them, since the last run that wrote and lost nobody
	broken string                               // why this process no longer writes; empty: it writes
	late   map[string]bool                      // by user group id: the last run that reached the group stopped there, so the next run writes the group after the others
	pause  func(context.Context, time.Duration) // waits between two rounds; nil: uses a timer
}

// run is one call of writer.apply.
type run struct {
	applied
	*writer
	ctx     context.Context // of the pass; when it ends, the run stops between two writes
	fence   target.Fence    // the fence of the pass, and the end of ctx
	log     *slog.Logger
	limits  guard.Limits
	wrote   int          // writes that were made according to the read-back
	stopped bool         // this run sends no more writes, and the rest stays planned
	held    report.Guard // with guards.on_trip: stop, the guard that tripped, so that the run withholds the rest; empty: none
	fenced  error        // why the fence ended the run
}

// apply writes the cleared changes in order, one group at a time, and returns the outcomes.
// job.replace makes each write. If ctx ends or the fence refuses, the run stops before the
// next write. A write that was sent is always read back.
func (w *writer) apply(ctx context.Context, log *slog.Logger, fence target.Fence, c guard.Cleared) applied {
	return w.write(ctx, log, fence, c.Writes(), c.Limits())
}

func (w *writer) write(ctx context.Context, log *slog.Logger, fence target.Fence, writes []guard.Write, limits guard.Limits) applied {
	r := &run{writer: w, ctx: ctx, log: log, limits: limits, applied: applied{outcomes: make(map[string]*outcome)}}
	r.fence = target.NewFence(func() error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fence.Check()
	})
	if w.broken != "" {
		r.trip(report.Canary, "", w.broken)
	}
	lostBefore := w.lost
	for _, write := range w.inOrder(writes) {
		switch {
		case w.broken != "":
			r.mark(write, report.Withheld, report.Canary)
		case r.held != "":
			r.mark(write, report.Withheld, r.held)
		case !r.stopped && r.fenced == nil:
			r.writeGroup(write)
		}
	}
	r.reportUnreached(writes)
	if r.wrote > 0 && w.lost == lostBefore {
		w.lost = 0 // this run lost nobody, so earlier losses came from logins and no longer count
	}
	return r.applied
}

// reportUnreached reports the groups that the run did not reach because the fence refused. If
// the plan is too old, the guard `age` withholds their changes. Any other reason is an error.
func (r *run) reportUnreached(writes []guard.Write) {
	if r.fenced == nil {
		return
	}
	groups, changes := 0, 0
	for _, w := range writes {
		if _, reached := r.outcomes[w.Group.ID]; reached {
			continue
		}
		groups++
		changes += len(w.Add) + len(w.Remove)
		if errors.Is(r.fenced, target.ErrTooOld) {
			r.mark(w, report.Withheld, report.Age)
		}
	}
	switch {
	case groups == 0:
	case errors.Is(r.fenced, target.ErrTooOld):
		r.trip(report.Age, "", fmt.Sprintf("%v: %d changes in %d of %d groups were not written and are left for the next pass; if that happens again, see why ClearML answers slowly, or raise guards.max_age", r.fenced, changes, groups, len(writes)))
	default:
		r.errors = append(r.errors, fmt.Errorf("the pass was abandoned before %d of %d groups were written: %w", groups, len(writes), r.fenced))
	}
}

// inOrder returns the writes in the order of this run. A group at which an earlier run stopped
// comes after the others: if it came first, a group that cannot be written could stop every
// run. Administrators stay last.
func (w *writer) inOrder(writes []guard.Write) []guard.Write {
	rank := func(x guard.Write) int {
		switch {
		case x.Admins:
			return 2
		case w.late[x.Group.ID]:
			return 1
		default:
			return 0
		}
	}
	ordered := slices.Clone(writes)
	slices.SortStableFunc(ordered, func(a, b guard.Write) int { return rank(a) - rank(b) })
	return ordered
}

// job is the write of one group, from the first read to the read-back.
type job struct {
	*run
	planned guard.Write  // the changes as the guards cleared them
	now     guard.Write  // the changes after they were compared with the last reading
	trips0  int          // how many trips the run had before this group
	begun   bool         // the audit log says that the group's changes begin
	calls   target.Calls // of the last write that was sent
}

// reading is a group as it was read for a write.
type reading struct {
	group target.Group
	found bool
	doubt string // why the reading is not trusted; empty: it is trusted
	// all is every group, by id. The groups are read just before the group itself, and only if
	// the write is watched (see watched).
	all map[string]target.Group
}

// replaced describes a write that was sent to ClearML.
type replaced struct {
	before, after reading
	sent          []string // the members, sorted
	err           error    // nil, or an error for which target.Uncertain holds
	unread        error    // why the group could not be read back
}

// unreadError is a failed read before a write.
type unreadError struct{ error }

// writeGroup writes one group with replace and records the outcome.
func (r *run) writeGroup(w guard.Write) {
	j := &job{run: r, planned: w, now: w, trips0: len(r.trips)}
	made, err := j.replace()
	var unread unreadError
	var busy *target.NotTakenError
	var suspended *suspendedError
	switch {
	case errors.As(err, &suspended):
		r.suspend(suspended.Suspension)
		r.mark(w, report.Withheld, report.Suspended)
	case target.Fenced(err):
		r.fenced = err
		j.ended()
		j.restart() // the group counts as not reached, whatever an earlier round did
		return
	case errors.As(err, &unread):
		r.fail(w, fmt.Errorf("reading the user group %q before its write: %w", w.Group.Name, unread.error))
	case errors.As(err, &busy):
		r.stopped = true
		r.fail(j.now, fmt.Errorf("writing the user group %q: the server did not accept the write in %d rounds, each with a new reading: %w; nothing more is written in this pass", w.Group.Name, maxRounds, busy.Err))
	case err != nil:
		r.fail(j.now, fmt.Errorf("writing the user group %q: %w", w.Group.Name, err))
	case made != nil && made.unread != nil:
		r.stopped = true
		if r.before == nil {
			r.before = made.before.all
		}
		r.fail(j.now, fmt.Errorf("reading the user group %q back after its write, which may or may not have been made: %w", w.Group.Name, made.unread))
	case made != nil:
		r.recordWrite(j.now, *made)
	}
	j.ended()
	r.late[w.Group.ID] = r.stopped
}

// suspendedError is the error of a write that a suspension withholds.
type suspendedError struct{ memory.Suspension }

func (e *suspendedError) Error() string { return guard.SuspensionText(e.Suspension) }

// checkSuspension reads from the store whether a person has suspended writing since the plan
// was made. If the suspension withholds this write, checkSuspension returns a *suspendedError.
// If only removals are suspended, a write with a removal is still withheld completely, and the
// next pass makes its additions. If the store cannot be read, checkSuspension returns a fence
// error.
func (j *job) checkSuspension() error {
	s, err := j.suspension(j.ctx)
	switch {
	case err != nil:
		return cmp.Or(j.fence.Check(), error(&target.FenceError{Err: err})) // if a shutdown interrupted the read, the fence has the reason
	case s.Withholds(len(j.planned.Remove) > 0):
		return &suspendedError{s}
	}
	return nil
}

// suspend records a suspension that began during the run. Only the first call of a run adds a
// trip to the report.
func (r *run) suspend(s memory.Suspension) {
	if r.suspended.IsZero() {
		r.note(report.Suspended, "", "a suspension began while the pass was writing: "+guard.SuspensionText(s)+"; a write that had begun was finished, and the remaining changes are withheld; the suspension ends by itself, or by groupsync resume")
	}
	r.suspended = s
}

// replace is the only code that writes a user group. Each round has these steps: ask the fence
// and the suspension, read the group, compute the members from that reading, ask the fence
// again, send the members once, read the group back. No other request goes to ClearML between
// the reading and the write. If the server did not take the write, replace waits and starts a
// new round with a new reading, because the group may have changed.
//
// replace returns nil if there is nothing to write. An error means that nothing was written.
// The error is a *suspendedError, an unreadError, the fence's error, a *target.NotTakenError
// after the last round, or the server's refusal.
func (j *job) replace() (*replaced, error) {
	for round := 1; ; round++ {
		j.restart()
		if err := j.fence.Check(); err != nil {
			return nil, err
		}
		if err := j.checkSuspension(); err != nil {
			return nil, err
		}
		now, err := j.read()
		if err != nil {
			return nil, cmp.Or(j.fence.Check(), error(unreadError{err})) // if a shutdown interrupted the read, the fence has the reason
		}
		members, write := j.planAgain(now)
		if err := j.fence.Check(); err != nil {
			return nil, err
		}
		if !write {
			return nil, nil
		}
		j.begun = true
		j.audit("membership change begins", j.now)
		j.calls, err = j.send(now.group, members)
		if err == nil || target.Uncertain(err) {
			after, unread := j.readBack()
			return &replaced{before: now, after: after, sent: members, err: err, unread: unread}, nil
		}
		var busy *target.NotTakenError
		if !errors.As(err, &busy) || round == maxRounds {
			return nil, err
		}
		wait := min(max(busy.After, minPause), maxPause)
		j.log.Warn("the server did not accept a write: the group is read and written again", "group", j.planned.Group.Name, "group_id", j.planned.Group.ID, "round", round, "wait", wait, "error", busy.Err)
		j.wait(wait)
	}
}

// restart resets the group's state to that before the first round.
func (j *job) restart() {
	j.now, j.trips, j.held = j.planned, j.trips[:j.trips0], ""
	delete(j.outcomes, j.planned.Group.ID)
}

// ended logs the outcomes of the group's changes, if the audit log says that they began.
func (j *job) ended() {
	if j.begun {
		j.outcome(j.planned.Group.ID).calls = j.calls
		j.audit("membership change ended", j.now)
	}
}

// wait waits for d, or until the pass ends.
func (j *job) wait(d time.Duration) {
	if j.pause != nil {
		j.pause(j.ctx, d)
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-j.ctx.Done():
	}
}

// send sends the members to ClearML. It has its own time limit: the end of the pass does not
// interrupt a write that was begun.
func (j *job) send(g target.Group, members []string) (target.Calls, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(j.ctx), callTimeout)
	defer cancel()
	fence := j.fence
	if g.Role != "" {
		fence = fence.And(j.checkSuspension) // a role is written with one request for each person, so a suspension can stop the write between two requests
	}
	return j.dir.SetMembers(ctx, fence, g, members)
}

// read reads the group and returns the last reading before the write. A write replaces the
// whole member list. If the server returned a list that is too short, a write would remove the
// missing people. So if members are missing whom the plan does not remove, read checks the
// list: it also reads all groups and all users, and then the group again. The users' own lists
// would still have the group, so a list that is too short does not agree with them. If the
// readings do not all agree, the result has a doubt, and planAgain withholds the changes.
func (j *job) read() (reading, error) {
	first, err := j.readGroup()
	if err != nil || !first.found || j.missing(first.group) == 0 {
		return first, err
	}
	agree, err := j.viewsAgree(first.group)
	if err != nil {
		return reading{}, err
	}
	now, err := j.readGroup()
	if err != nil || !now.found {
		return now, err
	}
	if !agree || !sameMembers(first.group, now.group) {
		n := max(j.missing(first.group), j.missing(now.group))
		now.doubt = fmt.Sprintf("just before the write %d of its %d members were missing, and a second read did not confirm that: the group is not written", n, len(j.planned.Group.Members))
	}
	return now, nil
}

// watched reports whether a write of the group is a canary, or follows a canary that could not
// be read back. Then all groups are read before and after the write, and compared. ClearML
// writes a member list and a role with different calls, so each has a canary of its own.
func (w *writer) watched(g target.Group) bool { return !w.proved[g.Role] || w.before != nil }

// readGroup reads the group. If the write is watched, readGroup first reads all groups.
func (j *job) readGroup() (now reading, err error) {
	ctx, cancel := context.WithTimeout(j.ctx, callTimeout)
	defer cancel()
	id := j.planned.Group.ID
	if j.watched(j.planned.Group) {
		if now.all, err = j.all(ctx); err != nil {
			return reading{}, err
		}
	}
	now.group, now.found, err = j.dir.Group(ctx, id)
	if now.found && now.all != nil {
		now.all[id] = now.group
	}
	return now, err
}

// viewsAgree reads all groups and all users. It reports whether the group's member list and
// the users' own lists of groups both show the members in first. For some servers, only the
// member list shows the members of a built-in group. Then viewsAgree returns false, because
// there is no second view.
func (j *job) viewsAgree(first target.Group) (bool, error) {
	ctx, cancel := context.WithTimeout(j.ctx, callTimeout)
	defer cancel()
	groups, err := j.dir.UserGroups(ctx)
	if err != nil {
		return false, err
	}
	snap, err := j.dir.Snapshot(ctx, groups)
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(snap.Groups(), func(g target.Group) bool { return g.ID == first.ID })
	oneView := snap.OneView() && first.System && first.Role == ""
	return i >= 0 && !oneView && snap.Disagreement(first.ID) == "" && sameMembers(snap.Groups()[i], first), nil
}

func sameMembers(a, b target.Group) bool {
	return maps.Equal(idSet(a.MemberIDs()), idSet(b.MemberIDs()))
}

// readBack reads the group after its write. If the write is watched, readBack reads all groups
// instead.
func (j *job) readBack() (after reading, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(j.ctx), callTimeout)
	defer cancel()
	id := j.planned.Group.ID
	if !j.watched(j.planned.Group) {
		after.group, after.found, err = j.dir.Group(ctx, id)
		return after, err
	}
	after.all, err = j.all(ctx)
	after.group, after.found = after.all[id]
	return after, err
}

// all reads all groups and returns them by id.
func (j *job) all(ctx context.Context) (map[string]target.Group, error) {
	groups, err := j.dir.Groups(ctx)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]target.Group, len(groups))
	for _, g := range groups {
		byID[g.ID] = g
	}
	return byID, nil
}

// missing returns how many members of the planned group are not in now. Members whom the plan
// removes do not count.
func (j *job) missing(now target.Group) (n int) {
	present := idSet(now.MemberIDs())
	for _, x := range j.planned.Remove {
		present[x.User.ID] = true
	}
	for _, m := range j.planned.Group.Members {
		if !present[m.ID] {
			n++
		}
	}
	return n
}

// planAgain plans the group again from now, the last reading: it keeps the planned additions
// and removals that are still needed. It never removes a person who first appears in this
// reading. It returns the members to send, and false if nothing is to be written.
func (j *job) planAgain(now reading) ([]string, bool) {
	w := j.planned
	if changed := j.changedUnread(now.all); changed != "" {
		j.halt(w, "a canary write could not be read back, and since then more has changed in ClearML than was sent: %s", changed)
		j.mark(w, report.Withheld, report.Canary)
		return nil, false
	}
	switch {
	case !now.found:
		j.withhold(w, report.Concurrent, "the group is gone from ClearML: it is not written, because a write would create it again")
		return nil, false
	case now.group.Name != w.Group.Name || now.group.System != w.Group.System || now.group.Assignable != w.Group.Assignable:
		j.withhold(w, report.Concurrent, "the name or the kind of the group changed while the pass ran: the group is not written, and the next pass matches it again")
		return nil, false
	case now.doubt != "":
		j.withhold(w, report.Concurrent, now.doubt)
		return nil, false
	}
	if n, all := j.missing(now.group), len(w.Group.Members); n > j.limits.FreeRemovals && guard.Exceeds(n, all, j.limits.MaxRatio) {
		j.withhold(w, report.Concurrent, fmt.Sprintf("just before the write %d of its %d members were missing, more than guards.max_removal_ratio %g: the group is not written; look at the group in ClearML", n, all, j.limits.MaxRatio))
		return nil, false
	}
	present := idSet(now.group.MemberIDs())
	if !maps.Equal(idSet(w.Group.MemberIDs()), present) {
		w = j.shrink(w, present)
	}
	if n := remaining(w, present); len(w.Remove) > 0 && w.Admins && n < j.limits.Floor {
		j.withhold(guard.Write{Group: w.Group, Remove: w.Remove}, report.Admins, fmt.Sprintf("just before the write %d administrators would remain, admins.floor is %d: the removals of administrators are withheld", n, j.limits.Floor))
		w.Remove = nil
	}
	if j.held != "" {
		j.mark(w, report.Withheld, j.held) // with on_trip: stop, additions are withheld too
		return nil, false
	}
	for _, x := range w.Add {
		present[x.User.ID] = true
	}
	for _, x := range w.Remove {
		delete(present, x.User.ID)
	}
	w.Group = now.group
	j.now = w
	return slices.Sorted(maps.Keys(present)), len(w.Add)+len(w.Remove) > 0
}

// shrink drops the changes that somebody else has made since the plan. present are the ids of
// the present members. If the removals have become too large a share of the members, shrink
// withholds them.
func (j *job) shrink(w guard.Write, present map[string]bool) guard.Write {
	j.mark(w, "", "") // changes that are dropped below keep this empty outcome: somebody else made them
	w.Add = slices.DeleteFunc(slices.Clone(w.Add), func(x plan.Change) bool { return present[x.User.ID] })
	w.Remove = slices.DeleteFunc(slices.Clone(w.Remove), func(x plan.Change) bool { return !present[x.User.ID] })
	const detail = "the members changed while the pass ran: the changes were planned again from the last reading"
	n := len(w.Remove)
	if n <= j.limits.FreeRemovals || !guard.Exceeds(n, len(present), j.limits.MaxRatio) || w.Approved {
		if w.Group.Role == "" { // the role is written one person at a time, so a change of one person's role does not affect the others
			j.note(report.Concurrent, w.Group.Name, detail)
		}
		return w
	}
	j.withhold(guard.Write{Group: w.Group, Remove: w.Remove}, report.Concurrent, fmt.Sprintf("%s, and now %d removals of %d members are more than guards.max_removal_ratio %g: these removals are withheld", detail, n, len(present), j.limits.MaxRatio))
	w.Remove = nil
	return w
}

// remaining returns how many of the administrators in w.Floor are still members. w removes
// none of them.
func remaining(w guard.Write, present map[string]bool) (n int) {
	for _, id := range w.Floor {
		if present[id] {
			n++
		}
	}
	return n
}

// recordWrite compares the members that were sent with those that were read back, and records the
// outcomes.
func (r *run) recordWrite(w guard.Write, made replaced) {
	was, members := idSet(made.before.group.MemberIDs()), idSet(made.after.group.MemberIDs())
	o, failed := r.outcome(w.Group.ID), 0
	var suspended *suspendedError
	cut := errors.As(made.err, &suspended) // the suspension stopped the write between two people of a role
	if cut {
		r.suspend(suspended.Suspension)
		o.guard = report.Suspended
	}
	outcomeOf := func(took bool) report.Outcome {
		switch {
		case took:
			return report.Done
		case cut:
			return report.Withheld
		}
		failed++
		return report.Failed
	}
	for _, x := range w.Add {
		o.add[x.User.ID] = outcomeOf(members[x.User.ID])
	}
	for _, x := range w.Remove {
		o.remove[x.User.ID] = outcomeOf(!members[x.User.ID])
	}
	undone := made.err != nil && maps.Equal(was, members)
	if !undone {
		r.wrote++
	}
	lost := 0
	for _, id := range made.sent {
		if was[id] && !members[id] {
			lost++
		}
	}
	switch {
	case undone:
		// The request may still be running, so this run sends nothing more to the server.
		r.stopped = true
		r.errors = append(r.errors, fmt.Errorf("writing the user group %q: %w; the read-back shows the group unchanged, and nothing more is written in this pass", w.Group.Name, made.err))
	case failed > 0 || lost > 0:
		r.errors = append(r.errors, rejected("after the write of %q the read-back shows that %d changes were not made, and that %d members are missing who had to stay", w.Group.Name, failed, lost))
	case made.err != nil && badAnswer(made.err):
		// The members are right, but the answer reported another problem.
		r.stopped = true
		r.errors = append(r.errors, fmt.Errorf("writing the user group %q: %w", w.Group.Name, made.err))
	}
	r.harm(w, made.after.group, lost)
	if r.watched(w.Group) {
		r.canary(w, made, undone || cut)
	}
}

// badAnswer reports whether the server rejected the write or answered in an unknown form.
func badAnswer(err error) bool {
	f := fault.Of(err)
	return f != nil && (f.Reason == fault.Rejected || f.Reason == fault.Shape)
}

// harm stops writing if a write changed more than was sent. lost is how many members are
// missing whom the write did not remove. A login between the write and the read-back may have
// removed them, so a loss ends only this run. If more than lostFreely are lost over several
// writes, harm stops all writing of this process. It does the same if the name or description
// of the group changed, or if the group is gone.
func (r *run) harm(w guard.Write, got target.Group, lost int) {
	if got.ID != w.Group.ID || got.Name != w.Group.Name || got.Description != w.Group.Description {
		r.errors = append(r.errors, rejected("the write of %q changed the group's name or description, or the group is gone after the write", w.Group.Name))
		r.halt(w, "the write of %q changed more than the group's members", w.Group.Name)
	}
	r.lost += lost
	if lost > 0 {
		r.stopped = true
	}
	if lost > 0 && r.lost > lostFreely {
		r.halt(w, "the last writes of this process, up to the write of %q, lost %d members who had to stay", w.Group.Name, r.lost)
	}
}

// canary checks a watched write. The written group must have exactly the members that were
// sent. The set of groups, and the name and description of each group, must be as before. The
// members of other groups may have changed. If only the written group's members differ from
// what was sent, a login may have caused that: the run ends, and the next write of that kind
// is the canary. Any other difference stops all writing of this process. If undone is true,
// the write was not made or was cut short. Such a write proves nothing, but canary still
// compares the groups.
func (r *run) canary(w guard.Write, made replaced, undone bool) {
	changed := changedElsewhere(made.before.all, made.after.all)
	exact := slices.Equal(slices.Sorted(slices.Values(made.after.group.MemberIDs())), made.sent)
	switch {
	case changed != "":
		r.halt(w, "the canary write to %q did more than was sent: %s", w.Group.Name, changed)
	case undone:
	case !exact:
		r.stopped = true
		r.trip(report.Canary, w.Group.Name, fmt.Sprintf("the read-back of the canary write to %q shows other members than were sent; nothing more is written in this pass", w.Group.Name))
	default:
		r.proved[w.Group.Role], r.before = true, nil
	}
}

// changedUnread compares all groups, now, with the groups before a canary that could not be
// read back. It returns the first difference, as changedElsewhere does. It returns "" if there
// was no such canary, or if nothing differs. A person may have made the difference. The
// process cannot know that, so a person must check.
func (w *writer) changedUnread(now map[string]target.Group) string {
	if w.before == nil {
		return ""
	}
	return changedElsewhere(w.before, now)
}

// changedElsewhere returns the first difference between before and after, in the set of groups
// and in their names and descriptions. It returns "" if there is no difference.
func changedElsewhere(before, after map[string]target.Group) string {
	for _, id := range slices.Sorted(maps.Keys(before)) {
		b, x := before[id], after[id]
		if b.ID != x.ID || b.Name != x.Name || b.Description != x.Description {
			return fmt.Sprintf("the group %q changed its name or description, or is gone", b.Name)
		}
	}
	if len(before) != len(after) {
		return fmt.Sprintf("there were %d user groups before the write and %d after the write", len(before), len(after))
	}
	return ""
}

func rejected(format string, args ...any) error {
	return fault.New(fault.ClearML, fault.Rejected, format+"; look at the group in ClearML", args...)
}

// halt stops all writing of this process.
func (r *run) halt(w guard.Write, format string, args ...any) {
	if r.broken == "" {
		r.broken = fmt.Sprintf(format, args...) + "; nothing more is written until a person has looked at ClearML and restarted groupsync"
		r.trip(report.Canary, w.Group.Name, r.broken)
	}
}

// outcome returns the outcome of the group with that id. It makes an empty outcome if the run
// has none yet.
func (r *run) outcome(group string) *outcome {
	o, known := r.outcomes[group]
	if !known {
		o = &outcome{add: make(map[string]report.Outcome), remove: make(map[string]report.Outcome)}
		r.outcomes[group] = o
	}
	return o
}

// mark sets the same outcome for every change of a write.
func (r *run) mark(w guard.Write, result report.Outcome, guard report.Guard) {
	o := r.outcome(w.Group.ID)
	o.guard = cmp.Or(guard, o.guard)
	for _, x := range w.Add {
		o.add[x.User.ID] = result
	}
	for _, x := range w.Remove {
		o.remove[x.User.ID] = result
	}
}

func (r *run) fail(w guard.Write, err error) {
	r.mark(w, report.Failed, "")
	r.errors = append(r.errors, err)
}

func (r *run) withhold(w guard.Write, guard report.Guard, detail string) {
	r.mark(w, report.Withheld, guard)
	r.trip(guard, w.Group.Name, detail)
}

// trip records a guard's trip. With guards.on_trip: stop, the run then withholds all further
// changes.
func (r *run) trip(guard report.Guard, group, detail string) {
	r.note(guard, group, detail)
	if r.limits.Stop && r.held == "" {
		r.held = guard
	}
}

// note records a trip after which the run continues, even with guards.on_trip: stop.
func (r *run) note(guard report.Guard, group, detail string) {
	r.trips = append(r.trips, report.Trip{Guard: guard, Group: group, Detail: detail})
}

// audit logs one line for each change: person, group, reason and evidence. The line also has
// the outcome and ClearML's id of the call, if they are known. The logger adds the id of the
// pass.
func (r *run) audit(message string, w guard.Write) {
	o := r.outcome(w.Group.ID)
	for _, x := range slices.Concat(w.Add, w.Remove) {
		outcomes := o.add
		if x.Action == plan.Remove {
			outcomes = o.remove
		}
		r.log.Info(message, "audit", true, "action", string(x.Action), "group", w.Group.Name, "group_id", w.Group.ID,
			"user", x.User.Name, "user_id", x.User.ID, "email", x.User.Email, "match", x.Match, "why", whyOf(x),
			"evidence", x.Evidence.String(), "outcome", string(outcomes[x.User.ID]), "call", o.calls[x.User.ID])
	}
}

func idSet(ids []string) map[string]bool {
	set := make(map[string]bool, len(ids))
	for _, id := range ids {
		set[id] = true
	}
	return set
}
