package target

import (
	"errors"
	"testing"
	"time"
)

func TestAFenceThatNobodyGaveRefuses(t *testing.T) {
	open := func() error { return nil }
	const none = "no write fence was given, so nothing is written: this is a fault in groupsync, report it"
	for name, f := range map[string]Fence{
		"the zero fence":              {},
		"a fence without a check":     NewFence(nil),
		"leadership without a check":  Leading(nil),
		"the zero fence and a check":  Fence{}.And(open),
		"a fence and a check of none": NewFence(open).And(nil),
	} {
		if err := f.Check(); err == nil || err.Error() != none || !Fenced(err) {
			t.Errorf("%s: got %v, want %s", name, err, none)
		}
	}
}

func TestAFenceAsksItsChecksInTurn(t *testing.T) {
	first, second := errors.New("the first says no"), errors.New("the second says no")
	var a, b error
	f := NewFence(func() error { return a })
	both := f.And(func() error { return b })
	if f.Check() != nil || both.Check() != nil {
		t.Fatalf("nobody objects: %v, %v", f.Check(), both.Check())
	}
	b = second
	if err := both.Check(); !errors.Is(err, second) || err.Error() != "the second says no" || f.Check() != nil {
		t.Errorf("the second objects: %v, and the first fence %v", err, f.Check())
	}
	a = first
	if err := both.Check(); !errors.Is(err, first) {
		t.Errorf("both object: %v, want the first", err)
	}
}

func TestLostLeadership(t *testing.T) {
	err := Leading(func() error { return errors.New("somebody else holds the Lease") }).Check()
	if !errors.Is(err, ErrNotLeading) || err.Error() != "the leadership is lost: somebody else holds the Lease" {
		t.Errorf("got %v", err)
	}
	if err := Leading(func() error { return nil }).Check(); err != nil {
		t.Errorf("held: %v", err)
	}
}

func TestAPlanThatIsTooOld(t *testing.T) {
	began := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	const limit = 10 * time.Minute
	for _, tt := range []struct {
		name  string
		limit time.Duration
		age   time.Duration
		want  string
	}{
		{"one second before the limit", limit, limit - time.Second, ""},
		{"at the limit", limit, limit, ""},
		{"one nanosecond after it", limit, limit + 1, "the plan is too old: its reads began 10m0s ago, guards.max_age is 10m0s"},
		{"one second after it", limit, limit + time.Second, "the plan is too old: its reads began 10m1s ago, guards.max_age is 10m0s"},
		{"a limit of 0 is off", 0, 1000 * time.Hour, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := NotOlder(began, tt.limit, func() time.Time { return began.Add(tt.age) })()
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.want || err != nil && !errors.Is(err, ErrTooOld) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
