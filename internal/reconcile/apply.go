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
	"groupsync/internal/report"
	"groupsync/internal/target"
)

// writeTimeout bounds one write with the reads around it. A shutdown does not
// cut it short: a write is finished or not begun.
const writeTimeout = 2 * time.Minute

// outcome is what became of one cleared write. A change that is in none of the
// maps was not reached; one whose value is empty was made by somebody else.
type outcome struct {
	add, remove map[string]report.Outcome // by user id
	guard       report.Guard              // withholds what is withheld
}

// applied is what a run of apply did.
type applied struct {
	outcomes map[string]*outcome // by user group id
	trips    []report.Trip
	errors   []error
	removed  int // removals that were written, or may have been
}

// writer applies cleared plans. It is kept for the life of the process, since
// its first write is the canary, and a write that did harm stops all later ones.
type writer struct {
	dir    Directory
	proved bool            // the canary did exactly what was sent
	lost   int             // members that were to stay and were missing after writes, since the last pass that wrote without a loss
	broken string          // why this process writes no more; empty: all is well
	late   map[string]bool // by user group id: ended a run, so that it comes after the others in the next
}

// apply writes what was cleared, in order, one group at a time: it reads the
// group, writes it whole, and reads it back. It looks before each write whether
// the pass still may write (target.Lead), and lets none be cut short.
func (w *writer) apply(ctx context.Context, log *slog.Logger, c Cleared) applied {
	r := &run{writer: w, log: log, limits: c.limits, applied: applied{outcomes: make(map[string]*outcome)}}
	if w.broken != "" {
		r.trip(report.Canary, "", w.broken)
	}
	lostBefore := w.lost
	for _, write := range w.inOrder(c.writes) {
		switch {
		case w.broken != "":
			r.mark(write, report.Withheld, report.Canary)
		case !r.stopped && target.Lead(ctx) == nil:
			bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
			r.one(ctx, bounded, write)
			cancel()
			w.late[write.group.ID] = r.stopped
		}
	}
	if left, err := len(c.writes)-len(r.outcomes), target.Lead(ctx); left > 0 && err != nil {
		r.errors = append(r.errors, fmt.Errorf("the pass was abandoned before %d of %d groups were written: %w", left, len(c.writes), err))
	}
	if len(r.outcomes) > 0 && w.lost == lostBefore {
		w.lost = 0 // what logins moved long ago does not add up
	}
	return r.applied
}

// inOrder puts the groups that ended an earlier run after the others, so that
// one that cannot be written does not keep the rest waiting for ever.
// Administrators stay last.
func (w *writer) inOrder(writes []Write) []Write {
	rank := func(x Write) int {
		switch {
		case x.admins:
			return 2
		case w.late[x.group.ID]:
			return 1
		default:
			return 0
		}
	}
	ordered := slices.Clone(writes)
	slices.SortStableFunc(ordered, func(a, b Write) int { return rank(a) - rank(b) })
	return ordered
}

// run is one run of apply.
type run struct {
	applied
	*writer
	log     *slog.Logger
	limits  Limits
	stopped bool // this run writes no more
}

// one takes one group through read, compare, write and read-back. pass is
// looked at just before the write, ctx bounds the calls.
func (r *run) one(pass, ctx context.Context, w Write) {
	before, err := r.read(ctx, w.group.ID)
	if err != nil {
		r.fail(w, fmt.Errorf("reading the user group %q before its write: %w", w.group.Name, err))
		return
	}
	w, sent, ok := r.again(ctx, w, before)
	if target.Lead(pass) != nil {
		delete(r.outcomes, w.group.ID) // not reached, whatever the read showed
		return
	}
	if !ok {
		return
	}
	r.audit("membership change begins", w)
	r.removed += len(w.remove)
	writeErr := r.dir.SetMembers(ctx, before[w.group.ID], sent)
	if writeErr != nil && !target.Uncertain(writeErr) {
		r.removed -= len(w.remove)
		if !errors.Is(writeErr, target.ErrNotLeading) {
			r.fail(w, fmt.Errorf("writing the user group %q: %w", w.group.Name, writeErr))
		}
		r.audit("membership change ended", w)
		if errors.Is(writeErr, target.ErrNotLeading) {
			delete(r.outcomes, w.group.ID) // kept back at the last moment: not reached
		}
		return
	}
	after, err := r.read(ctx, w.group.ID)
	if err != nil {
		r.stopped = true
		r.fail(w, fmt.Errorf("reading the user group %q back after its write, which may or may not have been made: %w", w.group.Name, err))
	} else {
		r.settle(w, before, after, sent, writeErr)
	}
	r.audit("membership change ended", w)
}

// read returns the group, by id; while the canary is not proved, all groups.
func (r *run) read(ctx context.Context, id string) (map[string]target.Group, error) {
	ids := []string{id}
	if !r.proved {
		ids = nil
	}
	groups, err := r.dir.Groups(ctx, ids...)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]target.Group, len(groups))
	for _, g := range groups {
		byID[g.ID] = g
	}
	return byID, nil
}

// again plans the group anew on what was just read: the same people join and
// leave, as far as they are still to. Somebody first seen in this read is never
// removed, and a member who is missing from it must be missing from a second
// one too: what is sent replaces the whole list. It returns the members to
// send, or false where nothing is to be written.
func (r *run) again(ctx context.Context, w Write, before map[string]target.Group) (Write, []string, bool) {
	now, there := before[w.group.ID]
	switch {
	case !there:
		r.withhold(w, report.Concurrent, "the group is gone from ClearML: nothing is written, since a write would create it anew")
		return w, nil, false
	case now.Name != w.group.Name || now.System != w.group.System || now.Assignable != w.group.Assignable:
		r.withhold(w, report.Concurrent, "the group was renamed or changed in kind while the pass ran: the next pass pairs it anew")
		return w, nil, false
	}
	present := idSet(now.MemberIDs())
	if !maps.Equal(idSet(w.group.MemberIDs()), present) {
		if why := r.vanished(ctx, w, present); why != "" {
			r.withhold(w, report.Concurrent, why)
			return w, nil, false
		}
		w = r.shrink(w, present)
	}
	if n := w.remaining(present); len(w.remove) > 0 && w.admins && n < r.limits.Floor {
		r.withhold(Write{group: w.group, remove: w.remove}, report.Admins, fmt.Sprintf("just before the write %d administrators would remain, admins.floor is %d: the removals of administrators are withheld", n, r.limits.Floor))
		w.remove = nil
	}
	for _, x := range w.add {
		present[x.User.ID] = true
	}
	for _, x := range w.remove {
		delete(present, x.user.ID)
	}
	w.group = now
	return w, slices.Sorted(maps.Keys(present)), len(w.add)+len(w.remove) > 0
}

// vanished says why a read that lacks members whom the plan has cannot be
// believed: another read shows other members, or too many are missing.
func (r *run) vanished(ctx context.Context, w Write, present map[string]bool) string {
	leaving := make(map[string]bool, len(w.remove))
	for _, x := range w.remove {
		leaving[x.user.ID] = true
	}
	members, missing := w.group.MemberIDs(), 0
	for _, id := range members {
		if !present[id] && !leaving[id] {
			missing++
		}
	}
	if missing == 0 {
		return ""
	}
	groups, err := r.dir.Groups(ctx)
	i := slices.IndexFunc(groups, func(g target.Group) bool { return g.ID == w.group.ID })
	switch {
	case err != nil || i < 0 || !maps.Equal(idSet(groups[i].MemberIDs()), present):
		return fmt.Sprintf("just before the write %d of its %d members were missing, and a second read does not say the same: the group is not written", missing, len(members))
	case missing > r.limits.FreeRemovals && exceeds(missing, len(members), r.limits.MaxRatio):
		return fmt.Sprintf("just before the write %d of its %d members were missing, more than guards.max_removal_ratio %g: the group is not written, look at it in ClearML", missing, len(members), r.limits.MaxRatio)
	}
	return ""
}

// shrink strikes what somebody else has done since the plan, and withholds the
// removals where they have become too large a share.
func (r *run) shrink(w Write, present map[string]bool) Write {
	r.mark(w, "", "") // what is struck below was done by somebody else
	w.add = slices.DeleteFunc(slices.Clone(w.add), func(x Addition) bool { return present[x.User.ID] })
	w.remove = slices.DeleteFunc(slices.Clone(w.remove), func(x Removal) bool { return !present[x.user.ID] })
	const detail = "its members changed while the pass ran: planned again on what was read just before the write"
	n := len(w.remove)
	if n <= r.limits.FreeRemovals || !exceeds(n, len(present), r.limits.MaxRatio) || w.approved {
		r.trip(report.Concurrent, w.group.Name, detail)
		return w
	}
	r.withhold(Write{group: w.group, remove: w.remove}, report.Concurrent, fmt.Sprintf("%s, and %d removals of %d members are now more than guards.max_removal_ratio %g", detail, n, len(present), r.limits.MaxRatio))
	w.remove = nil
	return w
}

// remaining counts the administrators of whom the floor is counted that are
// still there and do not leave.
func (w Write) remaining(present map[string]bool) (n int) {
	for _, id := range w.floor {
		if present[id] {
			n++
		}
	}
	return n
}

// settle compares what was sent with what was read back.
func (r *run) settle(w Write, before, after map[string]target.Group, sent []string, writeErr error) {
	got := after[w.group.ID]
	was, members := idSet(before[w.group.ID].MemberIDs()), idSet(got.MemberIDs())
	o, failed := r.outcome(w.group.ID), 0
	judge := func(took bool) report.Outcome {
		if took {
			return report.Done
		}
		failed++
		return report.Failed
	}
	for _, x := range w.add {
		o.add[x.User.ID] = judge(members[x.User.ID])
	}
	for _, x := range w.remove {
		o.remove[x.user.ID] = judge(!members[x.user.ID])
	}
	undone := writeErr != nil && maps.Equal(was, members)
	lost := 0
	for _, id := range sent {
		if was[id] && !members[id] {
			lost++
		}
	}
	switch {
	case undone:
		// The request may still be under way: nothing more goes to this server.
		r.stopped = true
		r.errors = append(r.errors, fmt.Errorf("writing the user group %q: %w; by the read-back the group is as before, and nothing more is written in this pass", w.group.Name, writeErr))
	case failed > 0 || lost > 0:
		r.errors = append(r.errors, rejected("ClearML accepted the write of %q, but by the read-back %d changes were not made and %d members are missing that were to stay", w.group.Name, failed, lost))
	case writeErr != nil && odd(writeErr):
		// The members are right, but the answer told of something else.
		r.stopped = true
		r.errors = append(r.errors, fmt.Errorf("writing the user group %q: %w", w.group.Name, writeErr))
	}
	r.harm(w, got, lost)
	if !r.proved {
		r.canary(w, before, after, sent, undone)
	}
}

// odd reports an answer that the server does not give to a write in order.
func odd(err error) bool {
	f := fault.Of(err)
	return f != nil && (f.Reason == fault.Rejected || f.Reason == fault.Shape)
}

// harm stops writing where a write did what it must never do: for this run
// where members are missing that were to stay, since a login may have moved
// them between write and read-back; for good where it cannot have been that.
func (r *run) harm(w Write, got target.Group, lost int) {
	if got.ID != w.group.ID || got.Name != w.group.Name || got.Description != w.group.Description {
		r.errors = append(r.errors, rejected("the write of %q changed its name or description, or the group is gone after it", w.group.Name))
		r.halt(w, "the write of %q changed more than its members", w.group.Name)
	}
	r.lost += lost
	if lost > 0 {
		r.stopped = true
	}
	if lost > 0 && r.lost > r.limits.FreeRemovals {
		r.halt(w, "the last writes of this process, up to that of %q, lost %d members that were to stay", w.group.Name, r.lost)
	}
}

// canary judges the first write of the process: the written group must be what
// was sent, and everywhere else the set of groups, their names and
// descriptions as before. Members elsewhere may have moved. Where only the
// members differ, which a login may have caused, the run ends and the next
// one's first write is the canary; any other difference ends all writing. A
// write that was surely not made (undone) proves nothing, but may have harmed.
func (r *run) canary(w Write, before, after map[string]target.Group, sent []string, undone bool) {
	changed := changedElsewhere(before, after)
	exact := slices.Equal(slices.Sorted(slices.Values(after[w.group.ID].MemberIDs())), sent)
	switch {
	case changed != "":
		r.halt(w, "the first write of this process, to %q, did more than was sent: %s", w.group.Name, changed)
	case undone:
	case !exact:
		r.stopped = true
		r.trip(report.Canary, w.group.Name, fmt.Sprintf("the first write of this process, to %q, was read back with other members than were sent; nothing more is written in this pass", w.group.Name))
	default:
		r.proved = true
	}
}

// changedElsewhere says how the set of groups, a name or a description differs.
func changedElsewhere(before, after map[string]target.Group) string {
	for _, id := range slices.Sorted(maps.Keys(before)) {
		b, x := before[id], after[id]
		if b.ID != x.ID || b.Name != x.Name || b.Description != x.Description {
			return fmt.Sprintf("the group %q changed its name or description, or is gone", b.Name)
		}
	}
	if len(before) != len(after) {
		return fmt.Sprintf("there were %d user groups before it and %d after", len(before), len(after))
	}
	return ""
}

func rejected(format string, args ...any) error {
	return fault.New(fault.ClearML, fault.Rejected, format+"; look at the group in ClearML", args...)
}

// halt ends all writing for the life of the process.
func (r *run) halt(w Write, format string, args ...any) {
	if r.broken == "" {
		r.broken = fmt.Sprintf(format, args...) + "; nothing more is written until a person has looked at ClearML and restarted groupsync"
		r.trip(report.Canary, w.group.Name, r.broken)
	}
}

// outcome returns what is known of a group's write, which is nothing at first.
func (r *run) outcome(group string) *outcome {
	o, known := r.outcomes[group]
	if !known {
		o = &outcome{add: make(map[string]report.Outcome), remove: make(map[string]report.Outcome)}
		r.outcomes[group] = o
	}
	return o
}

// mark gives every change of a write one outcome.
func (r *run) mark(w Write, result report.Outcome, guard report.Guard) {
	o := r.outcome(w.group.ID)
	o.guard = cmp.Or(guard, o.guard)
	for _, x := range w.add {
		o.add[x.User.ID] = result
	}
	for _, x := range w.remove {
		o.remove[x.user.ID] = result
	}
}

func (r *run) fail(w Write, err error) {
	r.mark(w, report.Failed, "")
	r.errors = append(r.errors, err)
}

func (r *run) withhold(w Write, guard report.Guard, detail string) {
	r.mark(w, report.Withheld, guard)
	r.trip(guard, w.group.Name, detail)
}

func (r *run) trip(guard report.Guard, group, detail string) {
	r.trips = append(r.trips, report.Trip{Guard: guard, Group: group, Detail: detail})
}

// audit logs one line a change: who, group, why, evidence and, once it is
// known, the outcome. The logger carries the pass.
func (r *run) audit(message string, w Write) {
	o := r.outcome(w.group.ID)
	line := func(action string, u target.User, why string, evidence string, result report.Outcome) {
		r.log.Info(message, "audit", true, "action", action, "group", w.group.Name, "group_id", w.group.ID,
			"user", u.Name, "user_id", u.ID, "email", u.Email, "why", why, "evidence", evidence, "outcome", string(result))
	}
	for _, x := range w.add {
		line("add", x.User, x.Why, "", o.add[x.User.ID])
	}
	for _, x := range w.remove {
		line("remove", x.user, string(x.evidence.Why()), x.evidence.String(), o.remove[x.user.ID])
	}
}

func idSet(ids []string) map[string]bool {
	set := make(map[string]bool, len(ids))
	for _, id := range ids {
		set[id] = true
	}
	return set
}
