// Package fault defines the type of errors about the two sides, Keycloak and ClearML. Each error
// has a Reason. The metric groupsync_errors_total has the reasons as the values of its label
// `reason`.
package fault

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// Reason is the kind of a failure. The empty Reason is not valid.
type Reason string

// The reasons, as docs/metrics.md lists them.
const (
	Auth       Reason = "auth"       // the credentials or the token were refused
	Forbidden  Reason = "forbidden"  // the credentials are valid, but a role is missing
	NotFound   Reason = "not_found"  // the realm or the API call does not exist
	Timeout    Reason = "timeout"    // no answer within the timeout
	Connection Reason = "connection" // no connection, or the connection broke
	Server     Reason = "server"     // the server failed or is not reachable behind its proxy
	Shape      Reason = "shape"      // the answer does not have the documented form
	Incomplete Reason = "incomplete" // a part of the answer is missing, or may be missing
	Rejected   Reason = "rejected"   // the request was refused or not carried out
)

// System is one of the two sides. The metrics use its values in their label `system`.
type System string

// The two sides.
const (
	Keycloak System = "keycloak"
	ClearML  System = "clearml"
)

// Error is the error of a failed request to one side, or of an answer that groupsync cannot use.
// The text says what groupsync was doing, what went wrong, and what a person can do. It never
// contains a secret.
type Error struct {
	System System
	Reason Reason
	Err    error
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// New returns an *Error with a text that is formatted as in fmt.Errorf. If format contains %w, the
// *Error wraps the argument of %w.
func New(system System, reason Reason, format string, args ...any) *Error {
	return &Error{System: system, Reason: reason, Err: fmt.Errorf(format, args...)}
}

// Of returns the first *Error that err is or wraps. It returns nil if there is none.
func Of(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// OfNetwork returns the reason of an error that an HTTP client returned instead of an answer:
// Timeout if the timeout was exceeded, and otherwise Connection.
func OfNetwork(err error) Reason {
	var n net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout() {
		return Timeout
	}
	return Connection
}

// Reasons lists every reason, so that the metrics can start each one at zero.
var Reasons = []Reason{Auth, Forbidden, NotFound, Timeout, Connection, Server, Shape, Incomplete, Rejected}
