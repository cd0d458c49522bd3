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

// The calls that write: the first replaces the members of a user group, the second
// sets the role of one user.
const (
	writeCall = "permissions.add_or_update_user_group"
	roleCall  = "users.set_role"
)

// maxRetryAfter limits how long a server may ask a write to wait.
const maxRetryAfter = 30 * time.Second

// SetMembers replaces the members of a group by exactly these users; an empty
// list is allowed. For a role that stands as a group see setRoles; what follows is of
// user groups. The group must be what Group returned last. Name and
// description are sent as they were read; a description that the server does
// not show is not sent.
//
// SetMembers returns target.Calls: the id of ClearML's answer for each user whom the
// write adds or removes. An error comes with the calls that were answered.
//
// SetMembers sends one request, at most once. It does not log in, does not
// probe, and nothing below it repeats the request. The fence is asked
// immediately before the request goes onto the connection.
//
// It refuses a group without an id or a name, because the server would create
// one, and every group that is built in or not assignable, except Admins.
//
// Its errors are:
//   - *target.FenceError: the fence refused, and nothing was sent;
//   - *target.NotTakenError: the server certainly did not carry the write out,
//     and the caller may begin again with Group;
//   - *target.UncertainError: nobody can tell whether it was carried out;
//   - any other error: the server refused the write for good.
func (c *Client) SetMembers(ctx context.Context, fence target.Fence, g target.Group, users []string) (target.Calls, error) {
	if g.Role != "" {
		return c.setRoles(ctx, fence, g, users)
	}
	switch {
	case g.ID == "" || g.Name == "":
		return nil, failf(fault.Rejected, writeCall, "a group without an id or a name is not written, since that would create one")
	case !g.Assignable, g.Name != target.Admins && (g.System || target.Builtin(g.Name)):
		return nil, failf(fault.Rejected, writeCall, "the group %q is built in or not assignable, and never written", g.Name)
	case slices.Contains(users, ""):
		return nil, failf(fault.Rejected, writeCall, "an empty user id is not written into the group %q", g.Name)
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
	if data.ID != "" && data.ID != g.ID { // an answer that names no group is for the read-back to judge
		return calls, &target.UncertainError{Err: failf(fault.Rejected, writeCall, "the answer to the write of %q (%s) names the group %q: look in ClearML for a group that was created or changed beside it", g.Name, g.ID, data.ID)}
	}
	return calls, nil
}

// change is one user whom a write adds to a group or removes from it.
type change struct {
	user string // the id
	adds bool
}

// difference returns what makes the group's members exactly these users: additions
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

// setRoles makes the users who are to have the role admin, and no others of the
// group's members, administrators: one request for each user whose role changes. It asks
// the fence before each request. After the first request that is not carried out it sends
// no more; if others were carried out before, that is a *target.UncertainError, because
// only a read tells what was done.
func (c *Client) setRoles(ctx context.Context, fence target.Fence, g target.Group, users []string) (target.Calls, error) {
	if slices.Contains(users, "") {
		return nil, failf(fault.Rejected, roleCall, "the role of a user without an id is not set")
	}
	calls := make(target.Calls)
	for i, x := range difference(g, users) {
		role := target.RoleUser
		if x.adds {
			role = target.RoleAdmin
		}
		// The answer says `updated: 0` for a role that is set already and for one that may
		// not be set, so the read-back judges (reference/clearml-api.md).
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

// write sends one write with the token that the last read left. It returns ClearML's id
// of the call, also with an error; empty: no answer of ClearML came.
func (c *Client) write(ctx context.Context, fence target.Fence, r request, out any) (string, error) {
	t := c.held()
	if !c.exists(r.call) || !t.lasts(0) {
		return "", &target.NotTakenError{Err: failf(fault.Auth, r.call, "there is no valid login any more, and a write does not log in: the group must be read again first")}
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

// outcome says what is known of a write that failed.
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

// notTaken reports whether a write certainly did not reach the part of the
// server that carries it out, for a reason that may pass.
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

// rejected reports whether a write was certainly refused: by the server, with
// its envelope, or by an answer that carries nothing out.
func rejected(a answer) bool {
	return a.code >= 300 && a.code < 400 || a.code == http.StatusUnsupportedMediaType || a.enveloped && a.code >= 400 && a.code < 500
}

// undialled reports whether no connection was made.
func undialled(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// after returns how long the answer asks to wait, at most maxRetryAfter. It is
// 0 if the answer does not say, or says something that is no time.
func (a answer) after(now time.Time) time.Duration {
	wait := time.Duration(0)
	if seconds, err := strconv.ParseFloat(a.retryAfter, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		wait = time.Duration(min(seconds, maxRetryAfter.Seconds()) * float64(time.Second))
	} else if at, err := http.ParseTime(a.retryAfter); err == nil {
		wait = at.Sub(now)
	}
	return max(0, min(wait, maxRetryAfter))
}
