// Package fault is the one vocabulary in which the two sides say why a
// request, a read or a write failed. The reasons are the values of the label
// `reason` of groupsync_errors_total.
package fault

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// Reason says of which kind a failure is. The zero value is not a reason.
type Reason string

// The reasons, as docs/metrics.md lists them.
const (
	Auth       Reason = "auth"       // the credentials, or the token, are refused
	Forbidden  Reason = "forbidden"  // known, but a role is missing
	NotFound   Reason = "not_found"  // the realm, or the call, does not exist
	Timeout    Reason = "timeout"    // no answer within the time that was given
	Connection Reason = "connection" // no connection, or one that broke
	Server     Reason = "server"     // the other side failed, or is away
	Shape      Reason = "shape"      // an answer, but not of the documented form
	Incomplete Reason = "incomplete" // an answer that cannot be the whole
	Rejected   Reason = "rejected"   // the request was refused, or was not carried out
)

// System names a side, as the label `system` of the metrics does.
type System string

// The two sides.
const (
	Keycloak System = "keycloak"
	ClearML  System = "clearml"
)

// Error is a failure of one side. Its text says what was being done, what was
// seen and what to do; it never holds a secret.
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

// OfNetwork tells a time-out from a broken connection: the reason of an error
// that a transport returned in place of an answer.
func OfNetwork(err error) Reason {
	var n net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout() {
		return Timeout
	}
	return Connection
}

// Reasons lists every reason, for metrics that start at zero.
var Reasons = []Reason{Auth, Forbidden, NotFound, Timeout, Connection, Server, Shape, Incomplete, Rejected}
