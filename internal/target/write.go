package target

import (
	"errors"
	"time"
)

// Calls holds, by user id, ClearML's id of the call that added or removed the user. This id is
// meta.id in the answer, which is likely the call_id in ClearML's API audit log
// (reference/clearml-api.md). If ClearML did not answer, the user is not in the map.
type Calls map[string]string

// Answered records the id of the call that changed one user. It ignores an empty id.
func (c Calls) Answered(user, call string) {
	if call != "" {
		c[user] = call
	}
}

// UncertainError is the error of a write that the server may or may not have carried out. Only
// a read of the group shows the result.
type UncertainError struct{ Err error }

func (e *UncertainError) Error() string {
	return "it is not known whether the write was carried out: " + e.Err.Error()
}

// Unwrap returns the error of the request.
func (e *UncertainError) Unwrap() error { return e.Err }

// Uncertain reports whether err is an UncertainError: the write may or may not be done.
func Uncertain(err error) bool {
	var u *UncertainError
	return errors.As(err, &u)
}

// NotTakenError is the error of a write that the server certainly did not carry out, for a
// reason that may pass: no connection, a refused token, or a busy server. The caller may try
// again, but must first read the group again, because the group may have changed.
type NotTakenError struct {
	Err   error
	After time.Duration // the wait that the server asks for (Retry-After), limited by the client; 0: none
}

func (e *NotTakenError) Error() string { return "the write was not carried out: " + e.Err.Error() }

// Unwrap returns the error of the request.
func (e *NotTakenError) Unwrap() error { return e.Err }
