// Package fault defines the error type of both sides, Keycloak and ClearML. A failed request,
// read or write has one of the reasons here. They are the values of the label `reason` of
// groupsync_errors_total.
package fault

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// Reason is the kind of a failure. The zero value is not a reason.
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

// System is one of the two sides, as in the label `system` of the metrics.
type System string

// The two sides.
const (
	Keycloak System = "keycloak"
	ClearML  System = "clearml"
)

// Error is a failure of one side. Its text says what was being done, what was seen and what to
// do. The text never holds a secret.
type Error struct {
	System System
	Reason Reason
	Err    error
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// New returns an *Error whose text is formatted as by fmt.Errorf, %w included.
func New(system System, reason Reason, format string, args ...any) *Error {
	return &Error{System: system, Reason: reason, Err: fmt.Errorf(format, args...)}
}

// Of returns the first *Error in err's tree, or nil.
func Of(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// OfNetwork returns the reason of an error that a transport returned in place of an answer:
// Timeout, or else Connection.
func OfNetwork(err error) Reason {
	var n net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout() {
		return Timeout
	}
	return Connection
}

// Reasons lists every reason, so that the metrics can start each one at zero.
var Reasons = []Reason{Auth, Forbidden, NotFound, Timeout, Connection, Server, Shape, Incomplete, Rejected}
