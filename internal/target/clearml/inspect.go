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
	Needed  bool   // a pass cannot do without the call
	Lost    string // what groupsync cannot do without a call that is not needed, a clause
	Advice  string // what to do if the call is missing, a sentence
	Missing bool   // the server does not have the call
	Err     error  // why groupsync cannot tell whether the server has the call; nil if the answer was clear
}

// callsOf returns the calls of a pass, in the order of a pass, and then those of groupsync
// leavers.
func callsOf(setsRole bool) []Call {
	const enterprise = "check clearml.url, and that the server is ClearML Enterprise with user groups (its feature user_management)"
	const leavers = "look at what groupsync leavers lists as unknown; a pass does not make the call"
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
		Call{Name: activityCall, Lost: "groupsync leavers does not know who used ClearML last when", Advice: leavers})
}

// Calls asks without credentials, and so without any effect, whether the server has each
// call that a pass makes, in the order of a pass, and then each call of groupsync leavers.
// setsRole says that a pass sets the role admin. The first answer that is not clear ends
// the questions and is the last call returned.
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

// Connection is a connection to an identity provider that somebody made in ClearML's web
// application. Empty fields were not told.
type Connection struct {
	Provider      string `json:"provider"` // "keycloak", for example
	ClientID      string `json:"client_id"`
	Authorization string `json:"authorization_endpoint"` // URLs
	Token         string `json:"token_endpoint"`
	Groups        *bool  `json:"group_enabled"`                             // a login syncs groups
	Claim         string `json:"claim_groups"`                              // of the groups
	NeedsGroup    *bool  `json:"group_prohibit_user_login_if_not_in_group"` // people in no group that ClearML knows are refused
}

// Connections returns the connections that were made in the web application, in ClearML's
// order. Connections by ClearML's variables may not be among them
// (reference/clearml-api.md). The answer can hold secrets, so only the fields of Connection
// are kept. An error of reason not_found says that the server has no such call.
func (c *Client) Connections(ctx context.Context) ([]Connection, error) {
	const call = "sso.get_provider_configurations"
	var data struct {
		Configurations []struct {
			Connection
			Nested Connection `json:"configuration"` // the form in which a connection is saved
		} `json:"configurations"`
	}
	if err := c.read(ctx, request{call: call, body: struct{}{}}, &data); err != nil {
		return nil, err
	}
	if data.Configurations == nil {
		return nil, failf(fault.Shape, call, "the answer has no list of configurations; is this a ClearML version that groupsync knows?")
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
