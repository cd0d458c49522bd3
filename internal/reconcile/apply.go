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
	// callTimeout limits each step of a write: the read before the write, the write, and the
	// read-back. Each step has its own limit, so a slow write does not shorten the time for the
	// read-back.
	callTimeout = 2 * time.Minute
	// maxRounds is how many times groupsync tries to write one group. Each round reads the
	// group and sends the members. groupsync starts another round only if the server did not
	// accept the write.
	maxRounds = 3
	// minPause and maxPause limit the pause between two rounds. Within these limits, the pause
	// is the server's Retry-After.
	minPause, maxPause = time.Second, 30 * time.Second
	// lostFreely is how many members this process may lose. If it loses more, it stops all writing.
	// A member is lost if the reading before the write and the list that was sent both have the
	// member, and the read-back does not. A login between a write and its read-back causes this for
	// one or two people. The count starts again after a run that wrote and lost nobody. The limit
	// is fixed. It is not guards.free_removals (how many removals guards.max_removal_ratio never
	// withholds), because an operator may set that key to 0. Then one such login would stop all
	// writing.
	lostFreely = 3
)

// outcome says what happened to each change of one guard.Write. A change that is in neither
// map was not reached by the run. An empty value in a map means that somebody else made the
// change before groupsync did.
type outcome struct {
	add, remove map[string]report.Outcome // by user id
	guard       report.Guard              // the guard of the withheld changes
	calls       target.Calls              // the ids that ClearML gave the answered calls
}

// applied is the result of one call of writer.apply.
type applied struct {
	outcomes map[string]*outcome // by user group id
	trips    []report.Trip
	errors   []error

	suspended memory.Suspension // a suspension that began during the run and withheld a write; zero: none
}

// writer writes cleared changes, which are the changes that no guard withholds. There are two
// kinds of writes: ClearML's list of the members of a user group, and the role admin. The
// first write of each kind is a canary. A canary is read back, and all groups are compared,
// before the next write of the same kind. The writer stops for good (broken) if a write did
// more than was sent, or lost too many members (lostFreely). A Reconciler uses one writer for
// all its passes, so that this stop and the count of lost members last.
type writer struct {
	dir Directory
	// suspension returns the suspension that is in force now, or the zero Suspension if there
	// is none. An error means that the store could not be read.
	suspension func(context.Context) (memory.Suspension, error)

	proved map[string]bool                      // true: the canary of this kind was read back with exactly the members that were sent; the key is target.Group.Role, empty for member lists
	before map[string]target.Group              // all groups, by id, as they were before a canary that could not be read back; nil: every canary was read back
	lost   int                                  // members lost (see lostFreely) since the last run that wrote and lost nobody
	broken string                               // why this process no longer writes; empty: it writes
	late   map[string]bool                      // by user group id; true: the last run that reached this group stopped at it, so the next run writes the group later (inOrder)
	pause  func(context.Context, time.Duration) // waits between two rounds; nil: uses a timer
}

// run is one call of writer.apply.
type run struct {
	applied
	*writer
	ctx     context.Context // the context of the pass; when ctx ends, the run stops before its next write
	fence   target.Fence    // refuses a write if the fence of the pass refuses it, or if ctx has ended
	log     *slog.Logger
	limits  guard.Limits
	wrote   int          // number of writes that the read-back shows as made
	stopped bool         // this run sends no more writes, and the changes that are left keep the outcome `planned`
	held    report.Guard // only if guards.on_trip is "stop": the guard that tripped first in this run, which then withholds all further changes; empty: none
	fenced  error        // the fence's refusal, which ended the run; nil: it did not refuse
}

// apply writes the cleared changes, one group at a time (job.replace), and returns the
// outcomes. If ctx ends or the fence refuses, the run stops before the next write. A write
// that was sent is always read back.
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
		w.lost = 0 // this run wrote and lost nobody, so logins probably caused the earlier losses, and they no longer count
	}
	return r.applied
}

// reportUnreached reports the groups that the run did not reach because the fence refused. If
// the fence refused because the plan is too old, the guard `age` withholds the changes of
// these groups. Any other refusal becomes an error.
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
// (late) comes after the other groups. If it stayed first, a group that cannot be written
// could stop every run before the other groups. Administrators stay last.
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
	now     guard.Write  // the planned changes that the last reading shows to be still needed
	trips0  int          // number of the run's trips before this group; restart drops later ones
	begun   bool         // the audit log has the line that the group's changes begin
	calls   target.Calls // the ids of ClearML's answers to the last write that was sent
}

// reading is a group as it was read for a write.
type reading struct {
	group target.Group
	found bool
	doubt string // why the reading is not trusted; empty: it is trusted
	// all has every group, by id. They are read just before the group itself. all is nil if the
	// write is not watched (see watched).
	all map[string]target.Group
}

// replaced describes a write that was sent to ClearML.
type replaced struct {
	before, after reading
	sent          []string // the members, sorted
	err           error    // nil, or an error after which it is unknown whether the write was made (target.Uncertain)
	unread        error    // why the group could not be read back
}

// unreadError is a failed read before a write, so nothing was sent. The field replaced.unread
// is a failed read after a write.
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
		j.restart() // the fence refused this round, so the group counts as not reached; if an earlier round sent a write, the server did not make that write
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
// was made. If the suspension withholds this write, the error is a *suspendedError. If only
// removals are suspended, a write with a removal is withheld completely. The next pass then
// makes its additions. If the store cannot be read, the error is a fence error.
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

// suspend records a suspension that began during the run. The first call of a run adds a trip
// to the report. Later calls add none.
func (r *run) suspend(s memory.Suspension) {
	if r.suspended.IsZero() {
		r.note(report.Suspended, "", "a suspension began while the pass was writing: "+guard.SuspensionText(s)+"; a write that had begun was finished, and the remaining changes are withheld; the suspension ends by itself, or by groupsync resume")
	}
	r.suspended = s
}

// replace is the only code that writes a user group. One round has these steps: ask the fence
// and the suspension, read the group, compute the new members from that reading, ask the fence
// again, send the new members once, read the group back. No other request goes to ClearML
// between the reading and the write. If the server did not make the write for a reason that may
// pass, such as a busy server (*target.NotTakenError), replace waits and starts a new round. The
// new round needs a new reading, because the group may have changed. If the server rejected the
// request itself, replace returns that error at once.
//
// replace returns nil and no error if there is nothing to write. An error means that nothing
// was written. The error is a *suspendedError, an unreadError, the fence's error, a
// *target.NotTakenError after the last round, or the server's rejection.
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

// restart discards what earlier rounds recorded for the group: its changes, its outcome, and
// its trips.
func (j *job) restart() {
	j.now, j.trips, j.held = j.planned, j.trips[:j.trips0], ""
	delete(j.outcomes, j.planned.Group.ID)
}

// ended logs the outcomes of the group's changes. It logs nothing if the audit log has no line
// that the changes began.
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

// send sends the new members to ClearML. The end of the pass does not interrupt a write that
// was sent. Only callTimeout does.
func (j *job) send(g target.Group, members []string) (target.Calls, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(j.ctx), callTimeout)
	defer cancel()
	fence := j.fence
	if g.Role != "" {
		fence = fence.And(j.checkSuspension) // ClearML writes a role with one request for each person, so a suspension can take effect between two requests
	}
	return j.dir.SetMembers(ctx, fence, g, members)
}

// read reads the group before its write. A write replaces the whole member list. If the server
// returned too short a list, the write would remove the missing people. So if a member is
// missing whom the plan does not remove, read checks the list: it reads all groups and all
// users, and then the group again. The users' own lists of groups would contradict a list that
// is too short. If the readings do not all agree, the result has a doubt, and planAgain
// withholds the changes.
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
		now.doubt = fmt.Sprintf("just before the write %d of the group's %d members were missing, and a second read did not confirm that: the group is not written, and the next pass reads it again; if that pass reports the same, look at the group in ClearML", n, len(j.planned.Group.Members))
	}
	return now, nil
}

// watched reports whether all groups must be read and compared before and after a write of the
// group. This is so for a canary, and for each write after a canary that could not be read
// back. ClearML writes a member list and a role with different calls, so each kind has its own
// canary.
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
// the users' own lists of groups both show the same members as first. Some servers show the
// members of a built-in group only in its member list. Then viewsAgree returns false, because
// there is nothing to compare with.
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

// missing returns how many of the members that the group had when the plan was made are not in
// now, the last reading. Members whom the plan removes do not count.
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

// planAgain compares the plan with now, the last reading. It keeps the planned additions and
// removals that are still needed. It never removes a person whom the plan did not remove. It
// returns the members to send, and false if nothing is to be written.
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
		j.withhold(w, report.Concurrent, "the group's name, or whether it is built in or assignable in ClearML, changed while the pass ran: the group is not written, and the next pass matches it again")
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

// shrink drops the changes that somebody else has made since the plan. present has the ids of
// the members in the last reading. If the remaining removals are now too large a share of the
// members, shrink withholds them.
func (j *job) shrink(w guard.Write, present map[string]bool) guard.Write {
	j.mark(w, "", "") // changes that are dropped below keep this empty outcome: somebody else made them
	w.Add = slices.DeleteFunc(slices.Clone(w.Add), func(x plan.Change) bool { return present[x.User.ID] })
	w.Remove = slices.DeleteFunc(slices.Clone(w.Remove), func(x plan.Change) bool { return !present[x.User.ID] })
	const detail = "the members changed while the pass ran: the changes were planned again from the last reading"
	n := len(w.Remove)
	if n <= j.limits.FreeRemovals || !guard.Exceeds(n, len(present), j.limits.MaxRatio) || w.Approved {
		if w.Group.Role == "" { // a role is written one person at a time, so this write cannot overwrite a change that somebody else makes to the role, and no trip is needed
			j.note(report.Concurrent, w.Group.Name, detail)
		}
		return w
	}
	j.withhold(guard.Write{Group: w.Group, Remove: w.Remove}, report.Concurrent, fmt.Sprintf("%s, and now %d removals of %d members are more than guards.max_removal_ratio %g: these removals are withheld", detail, n, len(present), j.limits.MaxRatio))
	w.Remove = nil
	return w
}

// remaining returns how many of the administrators in w.Floor are still members. w.Floor lists
// the administrators who count toward admins.floor. The write w does not remove any of them.
// present has the ids of the members in the last reading.
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
	cut := errors.As(made.err, &suspended) // a suspension stopped the write of a role after some of its people
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
		r.errors = append(r.errors, rejected("after the write of %q the read-back shows that %d changes were not made, and that %d members are missing who had to stay: look at the members in ClearML", w.Group.Name, failed, lost))
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

// badAnswer reports whether the server rejected the write, or its answer did not have the
// documented form.
func badAnswer(err error) bool {
	f := fault.Of(err)
	return f != nil && (f.Reason == fault.Rejected || f.Reason == fault.Shape)
}

// harm stops writing if a write changed more than was sent. lost is how many members the
// read-back does not show although the write kept them. A login between the write and the
// read-back may be the cause, so a loss ends only this run. harm stops all writing of this
// process in two cases: more than lostFreely members are lost over several writes, or the
// group is gone or has another name or description.
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

// canary judges a watched write. The set of groups, and the name and description of each
// group, must be as before the write. If they are not, canary stops all writing of this
// process. The members of other groups may have changed. The written group must have exactly
// the members that were sent. If its members differ, a login may be the cause: the run ends,
// and the next write of that kind is a canary again. undone is true if the write was not made,
// or was made only for some people of a role. (The type undone has another meaning: changes
// that somebody else has reversed.) Such a write proves nothing, but canary still compares the
// groups.
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

// changedUnread compares now, all groups as they are now, with the groups before a canary that
// could not be read back. It returns the first difference as text (changedElsewhere). It
// returns "" if there was no such canary, or if nothing differs. The canary or a person may
// have made the difference, so a person must check.
func (w *writer) changedUnread(now map[string]target.Group) string {
	if w.before == nil {
		return ""
	}
	return changedElsewhere(w.before, now)
}

// changedElsewhere returns a text about the first difference between before and after: a group
// that is gone or new, or has another name or description. It does not compare members. It
// returns "" if there is no difference.
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

// outcome returns the outcome of the user group with the id group. It adds an empty outcome to
// the run if there is none.
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

// audit writes one log line for each change: person, group, reason, evidence, and the outcome
// and ClearML's id of the call as far as they are known. The logger adds the id of the pass.
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
