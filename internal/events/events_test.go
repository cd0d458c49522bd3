package events

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"groupsync/internal/source"
)

func TestRead(t *testing.T) {
	ann := func(w ...source.Witness) Work { return Work{People: []Person{{"ann", w}}} }
	for _, row := range []struct {
		name   string
		events []Event
		want   Work
	}{
		{"nothing happened", nil, Work{}},
		{"somebody joined a group", []Event{{Operation: "CREATE", Resource: "GROUP_MEMBERSHIP", Path: "users/ann/groups/g1"}}, ann()},
		{"somebody was removed from a group: a witness for that group", []Event{{Operation: "DELETE", Resource: "GROUP_MEMBERSHIP", Path: "users/ann/groups/g1"}}, ann(source.Witness{Account: "ann", Group: "g1"})},
		{"an account was changed: a witness", []Event{{Operation: "UPDATE", Resource: "USER", Path: "users/ann"}}, ann(source.Witness{Account: "ann"})},
		{"an account was deleted: a witness", []Event{{Operation: "DELETE", Resource: "USER", Path: "users/ann"}}, ann(source.Witness{Account: "ann", Deleted: true})},
		{"somebody was removed from a group and put into it again: no witness", []Event{{Operation: "DELETE", Resource: "GROUP_MEMBERSHIP", Path: "users/ann/groups/g1"}, {Operation: "CREATE", Resource: "GROUP_MEMBERSHIP", Path: "users/ann/groups/g1"}}, ann()},
		{"somebody was put into a group and removed again: one witness", []Event{{Operation: "CREATE", Resource: "GROUP_MEMBERSHIP", Path: "users/ann/groups/g1"}, {Operation: "DELETE", Resource: "GROUP_MEMBERSHIP", Path: "users/ann/groups/g1"}}, ann(source.Witness{Account: "ann", Group: "g1"})},
		{"a password was reset: no witness", []Event{{Operation: "ACTION", Resource: "USER", Path: "users/ann/reset-password"}}, ann()},
		{"a role of one account", []Event{{Operation: "DELETE", Resource: "REALM_ROLE_MAPPING", Path: "users/ann/role-mappings/realm"}}, ann()},
		{"a role of a group concerns its members", []Event{{Operation: "CREATE", Resource: "CLIENT_ROLE_MAPPING", Path: "groups/g1/role-mappings/clients/c1"}}, Work{Whole: true}},
		{"a group was renamed", []Event{{Operation: "UPDATE", Resource: "GROUP", Path: "groups/g1"}}, Work{Whole: true}},
		{"a role was deleted", []Event{{Operation: "DELETE", Resource: "REALM_ROLE", Path: "roles-by-id/r1"}}, Work{Whole: true}},
		{"an event of another kind needs no pass", []Event{{Operation: "UPDATE", Resource: "CLIENT", Path: "clients/c1"}}, Work{}},
		{"a path without an account needs no pass", []Event{{Operation: "UPDATE", Resource: "USER", Path: "users/"}, {Operation: "UPDATE", Resource: "USER", Path: ""}, {Operation: "DELETE", Resource: "GROUP_MEMBERSHIP", Path: "a b/c"}}, Work{}},
		{"a removal whose path names no group is no witness", []Event{{Operation: "DELETE", Resource: "GROUP_MEMBERSHIP", Path: "users/ann/groups/"}}, ann()},
		{
			"several events about one account are one pass",
			[]Event{{Operation: "DELETE", Resource: "GROUP_MEMBERSHIP", Path: "users/ann/groups/g1"}, {Operation: "UPDATE", Resource: "USER", Path: "users/ann"}},
			ann(source.Witness{Account: "ann", Group: "g1"}, source.Witness{Account: "ann"}),
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			if d := cmp.Diff(row.want, Read(row.events), cmpopts.EquateEmpty()); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// log holds the admin events of a realm.
type log struct {
	mu     sync.Mutex
	events []Event
	err    error
	most   int
}

// answers sets the error of the readings, and the largest number of events that one reading
// returns.
func (l *log) answers(err error, most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err, l.most = err, most
}

func (l *log) AdminEvents(_ context.Context, since time.Time) ([]Event, int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []Event
	for _, e := range l.events {
		if !e.At.Before(since) {
			found = append(found, e)
		}
	}
	return found, max(l.most, 100), l.err
}

func (l *log) add(at time.Time, resource, path string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, Event{At: at, Operation: "UPDATE", Resource: resource, Path: path})
}

// run reads events every 5 s for the given time. It returns which passes were made and when,
// and the log.
func run(t *testing.T, l *log, last time.Duration, happen func(start time.Time)) (made []string, logged string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var text strings.Builder
		ctx, cancel := context.WithTimeout(t.Context(), last)
		defer cancel()
		go happen(start)
		Run(ctx, Options{
			Settings: func() Settings { return Settings{From: l, Every: 5 * time.Second} },
			Person: func(_ context.Context, p Person) {
				made = append(made, time.Since(start).String()+" "+p.Account)
			},
			Whole: func(context.Context) { made = append(made, time.Since(start).String()+" whole") },
			Log: slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}})),
		})
		logged = text.String()
	})
	return made, logged
}

func TestRun(t *testing.T) {
	for _, row := range []struct {
		name   string
		happen func(l *log, start time.Time)
		last   time.Duration
		want   []string
	}{
		{"what happened before the start is left to the first pass", func(*log, time.Time) {}, 20 * time.Second, nil},
		{"somebody is synchronized within one interval, once", func(l *log, start time.Time) {
			time.Sleep(7 * time.Second)
			l.add(time.Now(), "USER", "users/ann")
		}, time.Minute, []string{"10s ann"}},
		{"an event that appears late is found, also after one with a later time", func(l *log, start time.Time) {
			time.Sleep(7 * time.Second)
			l.add(time.Now(), "USER", "users/ann")
			time.Sleep(5 * time.Second)
			l.add(time.Now().Add(-8*time.Second), "USER", "users/bob")
		}, time.Minute, []string{"10s ann", "15s bob"}},
		{"Keycloak's clock is four minutes behind", func(l *log, start time.Time) {
			time.Sleep(7 * time.Second)
			l.add(time.Now().Add(-4*time.Minute), "USER", "users/ann")
			time.Sleep(10 * time.Second)
			l.add(time.Now().Add(-4*time.Minute), "USER", "users/bob")
		}, time.Minute, []string{"10s ann", "20s bob"}},
		{"an event in the far future does not hide later events", func(l *log, start time.Time) {
			time.Sleep(7 * time.Second)
			l.add(time.Now().Add(240*time.Hour), "USER", "users/ann")
			time.Sleep(10 * time.Second)
			l.add(time.Now(), "USER", "users/bob")
		}, time.Minute, []string{"10s ann", "20s bob"}},
		{"a burst about groups starts one pass a minute", func(l *log, start time.Time) {
			time.Sleep(2 * time.Second)
			for range 80 {
				l.add(time.Now(), "GROUP", "groups/g")
				time.Sleep(time.Second)
			}
		}, 3 * time.Minute, []string{"5s whole", "1m5s whole", "2m5s whole"}},
		{"more people than one reading starts passes for are left to a whole pass", func(l *log, start time.Time) {
			time.Sleep(2 * time.Second)
			for i := range mostPeople + 1 {
				l.add(time.Now(), "USER", "users/"+strings.Repeat("x", i+1))
			}
		}, 20 * time.Second, []string{"5s whole"}},
		{"a reading that may have left events out starts a whole pass", func(l *log, start time.Time) {
			time.Sleep(2 * time.Second)
			l.answers(nil, 1)
			l.add(time.Now(), "USER", "users/ann")
			for i := range 100 {
				l.add(time.Now(), "USER", "users/ann/"+strings.Repeat("x", i))
			}
		}, 20 * time.Second, []string{"5s ann", "5s whole"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := &log{}
			l.add(time.Date(1999, 12, 31, 23, 51, 0, 0, time.UTC), "USER", "users/old") // the bubble of synctest starts at the year 2000
			made, _ := run(t, l, row.last, func(start time.Time) { row.happen(l, start) })
			if d := cmp.Diff(row.want, made, cmpopts.EquateEmpty()); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// TestAReadingThatFailsIsLoggedOnce checks the log. It also checks that groupsync finds the
// events of the failed readings when the realm answers again.
func TestAReadingThatFailsIsLoggedOnce(t *testing.T) {
	l := &log{}
	made, logged := run(t, l, time.Minute, func(time.Time) {
		time.Sleep(7 * time.Second)
		l.answers(errors.New("the role view-events is missing"), 0)
		l.add(time.Now(), "USER", "users/ann")
		time.Sleep(20 * time.Second)
		l.answers(nil, 0)
	})
	if want := []string{"30s ann"}; !slices.Equal(made, want) {
		t.Errorf("got %q, want %q", made, want)
	}
	const want = `level=WARN msg="the admin events cannot be read, so changes in Keycloak wait for the next scheduled pass" error="the role view-events is missing"
level=INFO msg="the admin events can be read again"
`
	if d := cmp.Diff(want, logged); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
