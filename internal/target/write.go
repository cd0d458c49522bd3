package target

import (
	"errors"
	"time"
)

// Calls holds, by id of a user whom a write adds or removes, the directory's own id of
// the call that did so. It is ClearML's meta.id, which is likely what ClearML's API audit
// log calls call_id (reference/clearml-api.md). A user whose call was not answered is not
// in it.
type Calls map[string]string

// Answered enters the call of one user; an empty id is none.
func (c Calls) Answered(user, call string) {
	if call != "" {
		c[user] = call
	}
}

// UncertainError is the error of a write that the server may have carried out
// or not. Only a read of the group tells.
type UncertainError struct{ Err error }

func (e *UncertainError) Error() string {
	return "it is not known whether the write was carried out: " + e.Err.Error()
}

// Unwrap returns the error of the request.
func (e *UncertainError) Unwrap() error { return e.Err }

// Uncertain reports whether an error leaves open whether the write was done.
func Uncertain(err error) bool {
	var u *UncertainError
	return errors.As(err, &u)
}

// NotTakenError is the error of a write that the server certainly did not carry
// out, for a reason that may pass: no connection, a refused token, or a busy
// server. The caller may try again, but must begin with a new read of the
// group, because the group may have changed in the meantime.
type NotTakenError struct {
	Err   error
	After time.Duration // what the server asks to wait (Retry-After), limited by the client; 0: it does not say
}

func (e *NotTakenError) Error() string { return "the write was not carried out: " + e.Err.Error() }

// Unwrap returns the error of the request.
func (e *NotTakenError) Unwrap() error { return e.Err }
