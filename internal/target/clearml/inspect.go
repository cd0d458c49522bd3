package clearml

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"groupsync/internal/fault"
	"groupsync/internal/target"
)

// What groupsync check looks at, beside what a pass reads.

// Login is what a new login tells.
type Login struct {
	Identity target.Identity
	Server   ServerInfo
	Life     time.Duration // of the token
}

// Login logs in anew and returns what the token tells, whatever the role is.
func (c *Client) Login(ctx context.Context) (Login, error) {
	t, err := c.signIn(ctx)
	if err != nil {
		return Login{}, err
	}
	return Login{Identity: t.identity, Server: t.server, Life: t.life}, nil
}

// Call is a call of the API that groupsync makes.
type Call struct {
	Name    string
	Needed  bool  // a pass cannot do without the call
	Missing bool  // the server does not have the call
	Err     error // why nobody can tell whether it has; nil if the answer was clear
}

// Calls asks without credentials, and so without any effect, whether the server has each
// call that a pass makes, in the order in which a pass makes them. The first answer that
// is not clear ends the questions and is the last call returned.
func (c *Client) Calls(ctx context.Context) []Call {
	calls := []Call{
		{Name: loginCall, Needed: true}, {Name: groupsCall, Needed: true}, {Name: "users.get_all", Needed: true},
		{Name: serviceUsersCall}, {Name: writeCall, Needed: true},
	}
	for i := range calls {
		err := c.probe(ctx, calls[i].Name)
		if f := fault.Of(err); f != nil && f.Reason == fault.NotFound {
			calls[i].Missing = true
		} else if err != nil {
			calls[i].Err = err
			return calls[:i+1]
		}
	}
	return calls
}

// ErrNotTold is the error of Features if the server answers, and tells no features.
var ErrNotTold = errors.New("ClearML users.get_current_user: the answer lists no features")

// Features returns the features that the caller has, sorted. The request is documented
// and the form of the answer is not (reference/clearml-api.md), so Features takes a list
// of names or an object of switches, under a key that ends in "features". Identities
// without a user record get an error of reason rejected.
func (c *Client) Features(ctx context.Context) ([]string, error) {
	var data map[string]json.RawMessage
	if err := c.read(ctx, request{call: "users.get_current_user", body: map[string]bool{"get_supported_features": true}}, &data); err != nil {
		return nil, err
	}
	var user map[string]json.RawMessage
	_ = json.Unmarshal(data["user"], &user) // whatever is no object has no features
	for _, object := range []map[string]json.RawMessage{data, user} {
		for key, value := range object {
			if names, told := featuresIn(value); told && strings.HasSuffix(key, "features") {
				slices.Sort(names)
				return names, nil
			}
		}
	}
	return nil, ErrNotTold
}

// featuresIn reads a list of names, or the names whose value is true.
func featuresIn(value json.RawMessage) (names []string, told bool) {
	if json.Unmarshal(value, &names) == nil {
		return names, names != nil
	}
	var switches map[string]bool
	if json.Unmarshal(value, &switches) != nil {
		return nil, false
	}
	names = nil
	for name, on := range switches {
		if on {
			names = append(names, name)
		}
	}
	return names, true
}

// ServiceUsers returns the ids of the service accounts. An error of reason not_found says
// that the server does not list them.
func (c *Client) ServiceUsers(ctx context.Context) ([]string, error) {
	records, err := c.listServiceUsers(ctx)
	ids := make([]string, len(records))
	for i, r := range records {
		ids[i] = r.ID
	}
	return ids, err
}
