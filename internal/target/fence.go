package target

import (
	"errors"
	"fmt"
	"time"
)

// Fence decides whether a write may be sent now. Every function that writes has a Fence
// as a parameter, so no caller can forget the fence. The client asks the fence
// immediately before it sends the request. If the client asked earlier, the process
// could lose the right to write while it connects, and write nevertheless.
//
// The zero Fence refuses every write.
type Fence struct {
	checks []func() error
}

// NewFence returns a fence that allows writes while check returns nil. A nil
// check gives the zero Fence.
func NewFence(check func() error) Fence { return Fence{}.with(check) }

// Leading returns a fence that allows writes while held returns nil. held reports whether this
// process holds the Lease. If held returns an error, the fence's error wraps that error and
// ErrNotLeading. A nil held gives the zero Fence.
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

// And returns a fence that allows a write if f allows the write and check returns
// nil. The new fence asks f first. If f is the zero Fence or check is nil, the new
// fence refuses every write.
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
// sent. FenceError wraps the error of the check that refused the write, for example
// ErrNotLeading or ErrTooOld.
type FenceError struct{ Err error }

func (e *FenceError) Error() string { return e.Err.Error() }

// Unwrap returns the error of the check.
func (e *FenceError) Unwrap() error { return e.Err }

// Fenced reports whether err, the error of a write, means that a fence refused the write.
func Fenced(err error) bool {
	var f *FenceError
	return errors.As(err, &f)
}

// Errors of the checks of a fence. A check may return other errors too.
var (
	ErrNotLeading = errors.New("the leadership is lost")
	ErrTooOld     = errors.New("the plan is too old")

	errNoFence = errors.New("no write fence was given, so nothing is written: this is a fault in groupsync, report it")
)

// NotOlder returns a check for a fence. The check returns ErrTooOld if the plan is older than
// limit. The age of the plan is now() minus since. The parameter since is when the reads of the
// plan began. If limit is 0, the check always returns nil. The check measures the age with the
// monotonic clock and with the wall clock, and takes the larger age. The monotonic clock stops while
// a machine is suspended, and the wall clock can be set back.
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
