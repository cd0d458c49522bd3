package clearml

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"groupsync/internal/fault"
	"groupsync/internal/target"
)

// This file holds the calls that `groupsync check` makes and a pass does not.

// Login is the content of the token of a new login.
type Login struct {
	Identity target.Identity
	Server   ServerInfo
	Life     time.Duration // time from the token's issue to its end
}

// Login logs in and returns the content of the new token. Unlike the login of a pass, it returns
// no error if the credentials belong to a user who is no administrator.
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
	Needed  bool   // a pass needs the call
	Lost    string // if Needed is false: a clause that says what groupsync does not know without the call
	Advice  string // what to do if the call is missing; a sentence
	Missing bool   // the server does not have the call
	Err     error  // why groupsync cannot tell whether the server has the call; nil: it can tell
}

// callsOf returns the calls that a pass makes, in the order in which it makes them, and then the
// calls that only `groupsync leavers` makes. setsRole is true if a pass sets the role admin.
func callsOf(setsRole bool) []Call {
	const enterprise = "check clearml.url, and that the server is ClearML Enterprise with user groups (its feature user_management)"
	const leavers = "look up in ClearML what the command groupsync leavers lists as unknown; passes do not need this call"
	calls := []Call{
		{Name: loginCall, Needed: true, Advice: enterprise},
		{Name: groupsCall, Needed: true, Advice: enterprise},
		{Name: "users.get_all", Needed: true, Advice: enterprise},
		{Name: serviceUsersCall, Lost: "groupsync does not know the service accounts", Advice: "name the service accounts in users.protect"},
		{Name: writeCall, Needed: true, Advice: enterprise},
	}
	if setsRole {
		calls = append(calls, Call{Name: roleCall, Needed: true, Advice: "set admins.via to group: this server does not let groupsync set the role of a user"})
	}
	return append(calls,
		Call{Name: rulesCall, Lost: "groupsync leavers does not know who is in an access rule", Advice: leavers},
		Call{Name: activityCall, Lost: "groupsync leavers does not know when people last used ClearML", Advice: leavers})
}

// Calls returns the list of callsOf, and fills in which of these calls the server has. It asks the
// server without credentials, so the requests have no effect. setsRole is true if a pass sets the
// role admin. If an answer shows neither that the server has a call nor that it lacks the call, the
// returned list ends with this call, whose field Err is set.
func (c *Client) Calls(ctx context.Context, setsRole bool) []Call {
	calls := callsOf(setsRole)
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

// ErrNoFeatures is the error of Features if the server's answer lists no features.
var ErrNoFeatures = errors.New("ClearML users.get_current_user: the answer lists no features")

// Features returns the names of the features that the server reports for groupsync's own user,
// sorted. ClearML documents the request but not the form of the answer
// (reference/clearml-api.md). So Features accepts a list of names or an object of switches, under
// a key that ends in "features". If groupsync's credentials belong to a service account, the
// error has the reason rejected.
func (c *Client) Features(ctx context.Context) ([]string, error) {
	var data map[string]json.RawMessage
	if err := c.read(ctx, request{call: "users.get_current_user", body: map[string]bool{"get_supported_features": true}}, &data); err != nil {
		return nil, err
	}
	var user map[string]json.RawMessage
	_ = json.Unmarshal(data["user"], &user) // if "user" is no object, it holds no features
	for _, object := range []map[string]json.RawMessage{data, user} {
		for key, value := range object {
			if names, ok := featuresIn(value); ok && strings.HasSuffix(key, "features") {
				slices.Sort(names)
				return names, nil
			}
		}
	}
	return nil, ErrNoFeatures
}

// featuresIn returns the names in a JSON list of names. From a JSON object of booleans it returns
// the keys whose value is true. ok is false if the value has neither form.
func featuresIn(value json.RawMessage) (names []string, ok bool) {
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

// ServiceUsers returns the ids of the service accounts. If the server has no such call, the
// error has the reason not_found.
func (c *Client) ServiceUsers(ctx context.Context) ([]string, error) {
	records, err := c.listServiceUsers(ctx)
	ids := make([]string, len(records))
	for i, r := range records {
		ids[i] = r.ID
	}
	return ids, err
}

// Connection is the part that groupsync uses of a connection to an identity provider. Somebody
// made the connection in ClearML's web application. An empty field was not in the answer.
type Connection struct {
	Provider      string `json:"provider"` // "keycloak", for example
	ClientID      string `json:"client_id"`
	Authorization string `json:"authorization_endpoint"` // URLs
	Token         string `json:"token_endpoint"`
	Groups        *bool  `json:"group_enabled"`                             // a login synchronizes groups
	Claim         string `json:"claim_groups"`                              // the claim that holds the groups
	NeedsGroup    *bool  `json:"group_prohibit_user_login_if_not_in_group"` // refuse the login of people in no group that ClearML knows
}

// Connections returns the connections that were made in the web application, in ClearML's
// order. Connections that environment variables of ClearML's server configure may be missing
// (reference/clearml-api.md). The answer can hold secrets, so Connections keeps only the
// fields of Connection. If the server has no such call, the error has the reason not_found.
func (c *Client) Connections(ctx context.Context) ([]Connection, error) {
	const call = "sso.get_provider_configurations"
	var data struct {
		Configurations []struct {
			Connection
			Nested Connection `json:"configuration"` // the fields may be here, as in the call that saves a connection
		} `json:"configurations"`
	}
	if err := c.read(ctx, request{call: call, body: struct{}{}}, &data); err != nil {
		return nil, err
	}
	if data.Configurations == nil {
		return nil, failf(fault.Shape, call, "the answer has no list of configurations; groupsync may not know this version of ClearML")
	}
	connections := make([]Connection, len(data.Configurations))
	for i, r := range data.Configurations {
		flat, nested := r.Connection, r.Nested
		connections[i] = Connection{
			Provider: cmp.Or(flat.Provider, nested.Provider), ClientID: cmp.Or(flat.ClientID, nested.ClientID),
			Authorization: cmp.Or(flat.Authorization, nested.Authorization), Token: cmp.Or(flat.Token, nested.Token),
			Groups: cmp.Or(flat.Groups, nested.Groups), Claim: cmp.Or(flat.Claim, nested.Claim), NeedsGroup: cmp.Or(flat.NeedsGroup, nested.NeedsGroup),
		}
	}
	return connections, nil
}
