package target

import (
	"errors"
	"fmt"
	"time"
)

// Fence decides whether a write may still be sent. A write takes the fence as an
// argument, so no caller can forget it. The client asks the fence immediately
// before the request goes onto the connection. If it asked earlier, the process
// could lose the right to write during a pause or a slow connection, and still write.
//
// The zero Fence refuses every write.
type Fence struct {
	checks []func() error
}

// NewFence returns a fence that allows writes while check returns nil. A nil
// check gives the zero Fence.
func NewFence(check func() error) Fence { return Fence{}.with(check) }

// Leading returns a fence that allows writes while held returns nil. An error of held is
// wrapped together with ErrNotLeading.
func Leading(held func() error) Fence {
	if held == nil {
		return Fence{}
	}
	return NewFence(func() error {
		if err := held(); err != nil {
			return fmt.Errorf("%w: %w", ErrNotLeading, err)
		}
		return nil
	})
}

// And returns a fence that allows writes while f allows them and check returns
// nil. f is asked first. If f is the zero Fence or check is nil, the result
// refuses every write.
func (f Fence) And(check func() error) Fence {
	if len(f.checks) == 0 {
		return f
	}
	return f.with(check)
}

func (f Fence) with(check func() error) Fence {
	if check == nil {
		return Fence{}
	}
	return Fence{checks: append(f.checks[:len(f.checks):len(f.checks)], check)}
}

// Check returns nil if a write may be sent now, else a *FenceError.
func (f Fence) Check() error {
	if len(f.checks) == 0 {
		return &FenceError{errNoFence}
	}
	for _, check := range f.checks {
		if err := check(); err != nil {
			return &FenceError{err}
		}
	}
	return nil
}

// FenceError is the error of a write that a fence refused. The write was not
// sent. It wraps ErrNotLeading or ErrTooOld, or the error of another check.
type FenceError struct{ Err error }

func (e *FenceError) Error() string { return e.Err.Error() }

// Unwrap returns the error of the check.
func (e *FenceError) Unwrap() error { return e.Err }

// Fenced reports whether a fence refused the write that returned err.
func Fenced(err error) bool {
	var f *FenceError
	return errors.As(err, &f)
}

// The reasons for which a fence refuses a write.
var (
	ErrNotLeading = errors.New("the leadership is lost")
	ErrTooOld     = errors.New("the plan is too old")

	errNoFence = errors.New("no write fence was given, so nothing is written: this is a fault in groupsync, report it")
)

// NotOlder returns a check for a fence. The check returns ErrTooOld when more than limit has
// passed since the given time. A limit of 0 switches the check off. The check measures the age
// with the monotonic clock and with the wall clock, and takes the larger age. The monotonic
// clock stands still while a machine is suspended, and the wall clock can be set back.
func NotOlder(since time.Time, limit time.Duration, now func() time.Time) func() error {
	return func() error {
		t := now()
		age := max(t.Sub(since), t.Round(0).Sub(since.Round(0)))
		if limit > 0 && age > limit {
			return fmt.Errorf("%w: its reads began %s ago, guards.max_age is %s", ErrTooOld, age.Round(time.Second), limit)
		}
		return nil
	}
}
