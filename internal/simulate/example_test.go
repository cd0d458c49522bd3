package simulate

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"groupsync/internal/guard"
	"groupsync/internal/report"
	"groupsync/internal/simulate/chaos"
	"groupsync/internal/simulate/dir"
	"groupsync/internal/simulate/history"
	"groupsync/internal/simulate/idp"
	"groupsync/internal/simulate/oracle"
)

// small is a world with one group "ml". In Keycloak its members are stay and join, and in
// ClearML stay and leave.
func small() (w *world, group string) {
	log := new(history.Log)
	s := Scenario{Seed: 1}
	w = &world{
		Scenario: s, log: log, wire: chaos.New(1), disk: new(disk), sometimes: make(map[string]int), journals: true,
		realm: idp.New(log, s.rand("ids of Keycloak")), directory: dir.New(log, s.rand("ids of ClearML")),
		base: settings{Every: time.Hour, Timeout: time.Minute, Limits: guard.Limits{FreeRemovals: 3, MaxRatio: 0.5, MaxAge: 10 * time.Minute, Window: time.Hour}},
	}
	w.wire.Always, w.wire.Storm = true, 1
	ml := w.realm.AddGroup("ml", "", -1, idp.True)
	group = w.directory.AddGroup("ml")
	for _, name := range []string{"stay", "join", "leave"} {
		account := w.realm.AddAccount(name, name+"@example.com", -1, false)
		w.realm.Put(account, ml, name != "leave")
		user := w.directory.AddUser(dir.NewUser{Name: name, Email: name + "@example.com", Kept: account, Keycloak: true})
		w.directory.Edit(group, user, name != "join", "setup")
	}
	return w, group
}

// TestWhatAFaultDoes shows, for each kind of fault, the result of the first pass and the
// members after it. The second pass meets no fault. The oracle judges both passes.
func TestWhatAFaultDoes(t *testing.T) {
	const before, after = "leave stay", "join stay"
	for _, x := range []struct {
		name   string
		kind   chaos.Kind
		rate   float64
		result report.Result
		then   string // the members after the first pass
	}{
		{"without a fault the pass writes", "", 0, report.Applied, after},
		{"no connection: nothing is read, and nothing is written", chaos.Refused, 1, report.Error, before},
		{"the connection breaks before the answer", chaos.ResetBefore, 1, report.Error, before},
		{"the connection breaks in the answer", chaos.ResetIn, 1, report.Error, before},
		{"the connection breaks after the last byte: an answer that does not end is none", chaos.ResetAfter, 1, report.Error, before},
		{"the answer is shorter than announced", chaos.CutJSON, 1, report.Error, before},
		{"the JSON ends too early", chaos.ShortJSON, 1, report.Error, before},
		{"an error object follows the list", chaos.TrailingJSON, 1, report.Error, before},
		{"a proxy's page with 200 is no answer", chaos.HTML200, 1, report.Error, before},
		{"204 is no empty list", chaos.NoContent, 1, report.Error, before},
		{"401 to every token", chaos.Unauthorized, 1, report.Error, before},
		{"403 for the members of one group is not an empty group", chaos.GroupForbidden, 1, report.Error, before},
		{"404 for the members of one group is not an empty group", chaos.GroupMissing, 1, report.Error, before},
		{"404 in HTML is not a person who is gone", chaos.Page404, 1, report.Error, before},
		{"409", chaos.Conflict, 1, report.Error, before},
		{"429 with a Retry-After of hours does not stop the schedule", chaos.TooMany, 1, report.Error, before},
		{"500", chaos.ServerError, 1, report.Error, before},
		{"501", chaos.NotImplemented, 1, report.Error, before},
		{"502", chaos.BadGateway, 1, report.Error, before},
		{"503", chaos.Unavailable, 1, report.Error, before},
		{"504", chaos.GatewayTimeout, 1, report.Error, before},
		{"the server never answers", chaos.Timeout, 1, report.Error, before},
		{"every list is empty at the first reading", chaos.Empty, 1, report.Error, before},
		{"the lists are short at the first reading", chaos.ShortList, 1, report.Error, before},
		{"ClearML's member lists are short at the first reading: the group is not written", chaos.ShortMembers, 1, report.Guarded, before},
		{"a page of ClearML's users lacks somebody once: it is read again", chaos.ShiftedPage, 1, report.Applied, after},
		{"a page of ClearML's users repeats somebody once: it is read again", chaos.TwicePage, 1, report.Applied, after},
		{"a write that was done is answered by an error: the read-back tells", chaos.WriteDone500, 1, report.Applied, after},
		{"a write that was done breaks the connection: the read-back tells", chaos.WriteDoneReset, 1, report.Applied, after},
		{"a write that was not done is answered by 200: the read-back tells", chaos.WriteNot200, 1, report.Guarded, before},
		{"a write is done twice", chaos.WriteTwice, 1, report.Applied, after},
		{"a write is done minutes later: the pass calls it failed", chaos.WriteLate, 1, report.Drift, before},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, group := small()
				w.wire.Kinds[x.kind], w.wire.Rate = true, x.rate
				reports := make(chan report.Report, 9)
				w.watch = func(r report.Report) { reports <- r }
				w.spawn() // the first pass begins at once
				r := <-reports
				if got := w.names(group); r.Result != x.result || got != x.then {
					t.Errorf("the first pass: %s and the members %q, want %s and %q; errors %v, guards %v", r.Result, got, x.result, x.then, r.Errors, r.Guards)
				}
				if x.kind != "" && w.wire.Counts()[x.kind] == 0 {
					t.Error("the fault was never put in")
				}
				w.wire.Calm()
				time.Sleep(2 * time.Hour)
				if got := w.names(group); got != after {
					t.Errorf("passes without a fault leave the members %q, want %q", got, after)
				}
				w.shutdown()
				judge := oracle.New()
				judge.Judge(w.log.Take())
				for _, v := range judge.Violations {
					t.Error(v)
				}
			})
		})
	}
}

// names returns the names of a group's members.
func (w *world) names(group string) string {
	var names []string
	for _, id := range w.directory.Members(group) {
		names = append(names, w.directory.NameOf(id))
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}
