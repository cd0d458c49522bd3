package simulate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"groupsync/internal/reconcile"
	"groupsync/internal/report"
	"groupsync/internal/schedule"
	"groupsync/internal/simulate/history"
	"groupsync/internal/simulate/idp"
	"groupsync/internal/simulate/oracle"
)

// Outcome is the result of a schedule. The field Sometimes says how often each fault, event, guard
// and state occurred, by name. With it a test finds what never occurred. Virtual is how much virtual
// time the schedule took.
type Outcome struct {
	Violations []oracle.Violation
	Sometimes  map[string]int
	Passes     int
	Virtual    time.Duration
}

// Run runs one schedule in virtual time (testing/synctest).
func Run(t *testing.T, s Scenario) (out Outcome) {
	synctest.Test(t, func(*testing.T) { out = run(s) })
	return out
}

func run(s Scenario) Outcome {
	w := newWorld(s)
	begin := time.Now()
	judge := oracle.New()
	judge.Strict = Known
	for range 1 + number(w.lease != nil) {
		w.spawn()
	}
	w.script(begin)
	end := w.settle()
	settled := time.Now() // judgeEnd uses the state at this time; an exception of users.protect could expire during the shutdown, and no pass would act on it
	w.shutdown()
	judge.Judge(w.log.Take())
	w.judgeEnd(judge, end, settled)
	out := Outcome{Violations: judge.Violations, Sometimes: w.sometimes, Passes: int(w.passes.Load()), Virtual: time.Since(begin)}
	for k, n := range w.wire.Counts() {
		out.Sometimes["fault "+string(k)] += n
	}
	for _, m := range []map[string]int{w.realm.Sometimes, w.directory.Sometimes, judge.Sometimes} {
		for k, n := range m {
			out.Sometimes[k] += n
		}
	}
	return out
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// spawn starts another process.
func (w *world) spawn() {
	w.made++
	n, err := w.start(fmt.Sprintf("node%d", w.made), w.base)
	if err != nil {
		panic(err) // the settings come from this package, so they are valid
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes = append(w.nodes, n)
}

// living returns the processes that run, oldest first.
func (w *world) living() []*node {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.nodes)
}

// restart ends the oldest process and starts a new one. If kill is true, the old process ends as by
// a crash. If not, it shuts down normally. If forget is true, restart also deletes the guards'
// memory, which all processes share.
func (w *world) restart(kill, forget bool) {
	w.mu.Lock()
	n := w.nodes[0]
	w.nodes = w.nodes[1:]
	w.mu.Unlock()
	if kill {
		w.count("killed")
		n.kill()
	} else {
		w.count("restarted")
		n.end()
	}
	if forget {
		w.count("memory lost")
		w.disk.forget()
	}
	w.spawn()
}

// leading returns the process that is the leader, or nil.
func (w *world) leading() *node {
	for _, n := range w.living() {
		if w.lease == nil || w.lease.leader() == n.name {
			return n
		}
	}
	return nil
}

// sync asks the leader for a pass of one person. If user is empty, it asks for a pass of
// everybody.
func (w *world) sync(user string, req reconcile.Request) (report.Report, error) {
	n := w.leading()
	if n == nil {
		return report.Report{}, errNoLeader
	}
	return w.ask(n, user, req)
}

// ask asks the process n for a pass, as sync does.
func (w *world) ask(n *node, user string, req reconcile.Request) (report.Report, error) {
	r, err := n.daemon.Sync(context.Background(), user, req)
	switch {
	case errors.Is(err, schedule.ErrStandby):
		w.count("a standby was asked for a pass")
	case err == nil && user != "":
		w.count("pass of one person")
	}
	return r, err
}

// approve asks the leader for a pass. If the report has a digest, it then asks for a second pass,
// with an approval of that digest. It returns the last report.
func (w *world) approve() (report.Report, error) {
	r, err := w.sync("", reconcile.Request{Early: true})
	if err != nil || r.Digest == "" {
		return r, err
	}
	time.Sleep(time.Second)
	return w.sync("", reconcile.Request{Approval: reconcile.Approval{Digest: r.Digest, By: "somebody"}})
}

// settle ends all faults and events, and lets passes run until a pass finds both sides in sync, at
// most five times. It returns the last report.
func (w *world) settle() report.Report {
	w.over.Store(true)
	w.wire.Calm()
	w.passBegins(true)
	for i := range w.realm.Federations() {
		w.realm.SetMode(i, idp.Up)
		w.realm.Switch(i, true)
	}
	w.realm.Settle()
	w.realm.Refresh()
	w.directory.Cut(0, false)
	w.directory.Behave()
	w.disk.forgetSuspension()
	if w.lease != nil {
		w.lease.unblock()
	}
	time.Sleep(10 * time.Minute) // requests that are under way arrive, and a leader is found
	w.log.Add(history.Calm{})
	var last report.Report
	for range 5 {
		for _, n := range w.living() {
			if n.broken.Load() { // the process writes nothing more; a person would look at ClearML and then restart it
				w.restart(false, false)
				time.Sleep(time.Minute)
				break
			}
		}
		r, err := w.approve()
		if err != nil {
			last.Errors = append(last.Errors, report.Failure{Text: err.Error()})
		} else if last = r; r.Result == report.InSync {
			break
		}
		time.Sleep(time.Minute)
	}
	return last
}

func (w *world) shutdown() {
	for _, n := range w.living() {
		n.end()
	}
	time.Sleep(20 * time.Minute) // in this time, requests end that a process no longer waits for
}

// waiting lists the guards that may withhold changes for ever, although nothing fails: only a
// change in Keycloak or ClearML ends the cause.
var waiting = []report.Guard{report.Admins, report.MissingSource, report.Collision, report.Ambiguity, report.Confirm}

// judgeEnd judges the end of a schedule: the last report must say in_sync, and both sides must
// agree. settled is the time of the last report.
func (w *world) judgeEnd(judge *oracle.Oracle, last report.Report, settled time.Time) {
	for text, what := range map[string]string{"no account at all": "an empty realm", "the realm has no groups": "a realm without groups", "returned no user's email": "a ClearML without people"} {
		if slices.ContainsFunc(last.Errors, func(f report.Failure) bool { return strings.Contains(f.Text, text) }) {
			w.count(what)
			return // groupsync rightly refuses to synchronize, so both sides need not agree
		}
	}
	var frozen []string
	for _, t := range last.Guards {
		if slices.Contains(waiting, t.Guard) {
			frozen = append(frozen, t.Group)
		}
	}
	exempt := len(frozen) > 0
	if last.Result != report.InSync && !exempt {
		text := fmt.Sprintf("the last report is %q:", last.Result)
		for _, g := range last.Guards {
			text += fmt.Sprintf(" [%s %s: %s]", g.Guard, g.Group, g.Detail)
		}
		for _, e := range last.Errors {
			text += " " + e.Text
		}
		for _, g := range last.Groups {
			for _, c := range slices.Concat(g.Add, g.Remove) {
				text += fmt.Sprintf(" %s %s %s %s %s", g.Name, c.ID, c.Why, c.Outcome, c.Doubt)
			}
		}
		judge.Violations = append(judge.Violations, oracle.Violation{Law: oracle.Converges, At: settled, Text: text})
	}
	if w.Trace != nil {
		_ = report.JSON(w.Trace, last)
	}
	if exempt && w.living()[0].settings.Limits.Stop {
		return // with on_trip: stop, one trip withholds all changes, so the sides need not agree
	}
	judge.Settled(settled, w.living()[0].name, frozen)
}

// Merge adds each count of from to the count in into with the same name.
func Merge(into, from map[string]int) {
	for k, n := range from {
		into[k] += n
	}
}

// Sorted returns the keys of the map in order.
func Sorted(m map[string]int) []string { return slices.Sorted(maps.Keys(m)) }
