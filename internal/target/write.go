package target

import "errors"

// UncertainError is a write of which nobody can tell whether it was carried
// out: the request may have reached the server. Only reading back tells.
type UncertainError struct{ Err error }

func (e *UncertainError) Error() string {
	return "it is not known whether the write was carried out: " + e.Err.Error()
}

func (e *UncertainError) Unwrap() error { return e.Err }

// Uncertain reports whether an error leaves open whether the write was done.
func Uncertain(err error) bool {
	var u *UncertainError
	return errors.As(err, &u)
}
