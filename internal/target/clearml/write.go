package clearml

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"groupsync/internal/fault"
	"groupsync/internal/target"
	"groupsync/internal/transport"
)

// The calls that write.
const (
	writeCall = "permissions.add_or_update_user_group" // replaces the members of a user group
	roleCall  = "users.set_role"                       // sets the role of one user
)

// maxRetryAfter is the longest wait before a repeated write that groupsync accepts from a server
// (Retry-After).
const maxRetryAfter = 30 * time.Second

// SetMembers replaces the members of the group g by exactly these users. The list of users may be
// empty. g must be the last result of Group. If g is the role admin, SetMembers sets roles instead,
// as setRoles describes. Then only the errors below, and the ids of the calls, are the same.
//
// The write repeats the name and description of g. It contains no description if the server
// returned none. SetMembers sends one request, at most once. It does not log in, does not ask
// whether the server has the call, and the transport does not repeat the request. The transport
// asks the fence immediately before it sends the request.
//
// SetMembers returns, for each user whom the write adds or removes, ClearML's id of the call
// (target.Calls). It returns these ids also with an error, unless ClearML did not answer.
//
// SetMembers refuses a group without an id or a name, because the server would create a group.
// It refuses every group that is built in or not assignable, except Admins. It sends nothing then,
// and the error has the reason fault.Rejected.
//
// Its errors are:
//   - *target.FenceError: the fence refused, and nothing was sent;
//   - *target.NotTakenError: the server certainly did not carry the write out,
//     and the caller may begin again with Group;
//   - *target.UncertainError: the server may or may not have carried the write out;
//   - any other error: the server refused the write for good.
func (c *Client) SetMembers(ctx context.Context, fence target.Fence, g target.Group, users []string) (target.Calls, error) {
	if g.Role != "" {
		return c.setRoles(ctx, fence, g, users)
	}
	switch {
	case g.ID == "" || g.Name == "":
		return nil, failf(fault.Rejected, writeCall, "the group has no id or no name, so nothing was written: ClearML would create a group")
	case !g.Assignable, g.Name != target.Admins && (g.System || target.Builtin(g.Name)):
		return nil, failf(fault.Rejected, writeCall, "the group %q is built in or not assignable, so groupsync never writes it", g.Name)
	case slices.Contains(users, ""):
		return nil, failf(fault.Rejected, writeCall, "a user id is empty, so nothing was written into the group %q", g.Name)
	}
	body := map[string]any{"id": g.ID, "name": g.Name, "users": append([]string{}, users...)}
	if !g.Undescribed {
		body["description"] = g.Description
	}
	var data struct {
		ID string `json:"id"`
	}
	id, err := c.write(ctx, fence, request{call: writeCall, body: body}, &data)
	calls := make(target.Calls)
	for _, x := range difference(g, users) {
		calls.Answered(x.user, id)
	}
	if err != nil {
		return calls, err
	}
	if data.ID != "" && data.ID != g.ID { // an answer without an id is accepted: the caller reads the group after the write
		return calls, &target.UncertainError{Err: failf(fault.Rejected, writeCall, "the answer to the write of %q (%s) names the group %q: look in ClearML for another group that was created or changed", g.Name, g.ID, data.ID)}
	}
	return calls, nil
}

// change is one user whom a write adds to a group or removes from it.
type change struct {
	user string // the id
	adds bool
}

// difference returns the changes that make the group's members exactly these users, additions
// first.
func difference(g target.Group, users []string) []change {
	var changes []change
	before, after := make(map[string]bool, len(g.Members)), make(map[string]bool, len(users))
	for _, m := range g.Members {
		before[m.ID] = true
	}
	for _, u := range users {
		after[u] = true
		if !before[u] {
			changes = append(changes, change{u, true})
		}
	}
	for _, m := range g.Members {
		if !after[m.ID] {
			changes = append(changes, change{m.ID, false})
		}
	}
	return changes
}

// setRoles gives the role admin to exactly these users. The members of g are the present holders
// of the role. setRoles sends one request for each user whose role changes, and the transport
// asks the fence before each request. setRoles stops at the first request that fails. If an
// earlier request succeeded, the error is a *target.UncertainError, because only a read shows
// which roles have changed.
func (c *Client) setRoles(ctx context.Context, fence target.Fence, g target.Group, users []string) (target.Calls, error) {
	if slices.Contains(users, "") {
		return nil, failf(fault.Rejected, roleCall, "a user id is empty, so no role was set")
	}
	calls := make(target.Calls)
	for i, x := range difference(g, users) {
		role := target.RoleUser
		if x.adds {
			role = target.RoleAdmin
		}
		// setRoles does not check the answer. ClearML answers `updated: 0` both if the user has the
		// role already and if the role may not be set (reference/clearml-api.md). The caller reads
		// the role again and finds out.
		id, err := c.write(ctx, fence, request{call: roleCall, body: map[string]any{"user": x.user, "role": role}}, new(map[string]any))
		calls.Answered(x.user, id)
		if err != nil && i > 0 {
			return calls, &target.UncertainError{Err: err}
		}
		if err != nil {
			return calls, err
		}
	}
	return calls, nil
}

// write sends one write with the token that the client has, and decodes the answer's data into
// out. It returns ClearML's id of the call, also with an error. The id is empty if ClearML did
// not answer.
func (c *Client) write(ctx context.Context, fence target.Fence, r request, out any) (string, error) {
	t := c.held()
	if !c.exists(r.call) || !t.lasts(0) {
		return "", &target.NotTakenError{Err: failf(fault.Auth, r.call, "there is no valid login any more, and a write does not log in. groupsync logs in again when it reads the group again, before it repeats the write")}
	}
	ctx = transport.WithGate(ctx, fence.Check)
	r.auth = "Bearer " + t.text
	a, err := c.send(ctx, r)
	if refusedToken(a) {
		c.forget(t)
	}
	if err != nil {
		return a.id, outcome(a, err)
	}
	if err := c.decode(a, r.call, out); err != nil {
		return a.id, &target.UncertainError{Err: err}
	}
	return a.id, nil
}

// outcome turns the error of a failed write into one of the errors that SetMembers documents.
func outcome(a answer, err error) error {
	var gate *transport.GateError
	switch {
	case errors.As(err, &gate):
		return gate.Err
	case notTaken(a, err):
		return &target.NotTakenError{Err: err, After: a.after(time.Now())}
	case rejected(a):
		return err
	default:
		return &target.UncertainError{Err: err}
	}
}

// notTaken reports whether the server certainly did not carry the write out, for a reason that
// may be temporary (target.NotTakenError).
func notTaken(a answer, err error) bool {
	switch a.code {
	case 0:
		return undialled(err)
	case http.StatusUnauthorized:
		return a.enveloped // the server checks credentials before it does anything
	case http.StatusTooManyRequests:
		return true
	case http.StatusServiceUnavailable:
		return a.retryAfter != ""
	}
	return false
}

// rejected reports whether a write was certainly refused for good, so that the same write would
// fail again. (notTaken is about temporary reasons.) Either the answer is ClearML's own refusal, or
// the status of the answer shows that no server carried the write out.
func rejected(a answer) bool {
	return a.code >= 300 && a.code < 400 || a.code == http.StatusUnsupportedMediaType || a.enveloped && a.code >= 400 && a.code < 500
}

// undialled reports whether no connection was made.
func undialled(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// after returns how long the answer asks to wait, at most maxRetryAfter. It returns 0 if the
// answer has no valid Retry-After.
func (a answer) after(now time.Time) time.Duration {
	wait := time.Duration(0)
	if seconds, err := strconv.ParseFloat(a.retryAfter, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		wait = time.Duration(min(seconds, maxRetryAfter.Seconds()) * float64(time.Second))
	} else if at, err := http.ParseTime(a.retryAfter); err == nil {
		wait = at.Sub(now)
	}
	return max(0, min(wait, maxRetryAfter))
}
