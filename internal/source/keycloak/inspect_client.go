package keycloak

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"groupsync/internal/fault"
	"groupsync/internal/source"
)

// Client holds the settings of a client that decide who can sign in and what the tokens
// contain.
type Client struct {
	ID           string // Keycloak's internal id of the client
	ClientID     string
	Enabled      bool
	StandardFlow bool     // people can sign in with a browser
	FullScope    bool     // tokens can contain every role of a person, not only the roles in the client's scope
	Lightweight  bool     // access tokens contain only the claims that mappers add to lightweight tokens
	RedirectURIs []string // sorted; relative URIs are joined to the client's root URL
	Mappers      []Mapper // mappers of the client, then of its default client scopes, then of the optional ones
	ServiceRoles []string // the roles of realm-management that are assigned to the client's service account, sorted

	// SubjectMapper says that a client scope of the realm has a mapper of kind Subject. Before
	// Keycloak 25 no scope has such a mapper, and tokens contain the claim "sub" without one.
	SubjectMapper bool
}

// Kinds of mappers, by Keycloak's provider ids.
const (
	GroupMembership = "oidc-group-membership-mapper"
	RealmRoles      = "oidc-usermodel-realm-role-mapper"
	ClientRoles     = "oidc-usermodel-client-role-mapper"
	Subject         = "oidc-sub-mapper"
	PairwiseSubject = "oidc-sha256-pairwise-sub-mapper"
	FullName        = "oidc-full-name-mapper"
)

// Mapper is a protocol mapper that writes into the tokens of a client.
type Mapper struct {
	Name     string
	Kind     string // for example GroupMembership
	Scope    string // name of the mapper's client scope; empty: the client itself (its dedicated scope)
	Optional bool   // the scope is optional: the mapper works only if the sign-in requests the scope
	Config   map[string]string
}

// mapperRep, signInClientRep and clientScopeRep hold the parts of Keycloak's answers that Client
// needs.
type mapperRep struct {
	Name     string            `json:"name"`
	Kind     string            `json:"protocolMapper"`
	Protocol string            `json:"protocol"`
	Config   map[string]string `json:"config"`
}

type signInClientRep struct {
	ID             string            `json:"id"`
	ClientID       string            `json:"clientId"`
	Enabled        bool              `json:"enabled"`
	StandardFlow   bool              `json:"standardFlowEnabled"`
	FullScope      bool              `json:"fullScopeAllowed"`
	ServiceAccount bool              `json:"serviceAccountsEnabled"`
	Root           string            `json:"rootUrl"`
	RedirectURIs   []string          `json:"redirectUris"`
	Attributes     map[string]string `json:"attributes"`
	Mappers        []mapperRep       `json:"protocolMappers"`
	DefaultScopes  []string          `json:"defaultClientScopes"`
	OptionalScopes []string          `json:"optionalClientScopes"`
}

type clientScopeRep struct {
	Name    string      `json:"name"`
	Mappers []mapperRep `json:"protocolMappers"`
}

// lightweightTokens is the attribute that makes a client's access tokens lightweight.
const lightweightTokens = "client.use.lightweight.access.token.enabled"

// Client reads the client with that client id. It returns nil if the realm has no such
// client. Without view-clients it returns an error of reason forbidden.
func (s *Source) Client(ctx context.Context, clientID string) (*Client, error) {
	tok, err := s.fresh(ctx)
	if err != nil {
		return nil, err
	}
	c := call{name: "client", doing: "reading the client " + clientID, role: viewClients, path: []string{"clients"}, query: url.Values{"clientId": {clientID}}}
	// If the service account has query-clients and lacks view-clients, Keycloak does not refuse
	// the call. Keycloak answers 200 with an empty list.
	if !tok.roles[viewClients] {
		return nil, refused(fault.Forbidden, c.doing, fmt.Sprintf("the service account of the client %q lacks %s of %s", s.config.ClientID, viewClients, s.management()),
			fmt.Sprintf("assign %s in %s", viewClients, s.console("Service account roles")))
	}
	found, err := list[signInClientRep](ctx, s, c)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(found, func(c signInClientRep) bool { return c.ClientID == clientID && c.ID != "" })
	if i < 0 {
		return nil, nil
	}
	scopes, err := list[clientScopeRep](ctx, s, call{name: "client_scopes", doing: "reading the client scopes", role: viewClients, path: []string{"client-scopes"}})
	if err != nil {
		return nil, err
	}
	client, err := found[i].client(scopes)
	if err == nil && found[i].ServiceAccount {
		client.ServiceRoles, err = s.serviceRoles(ctx, client)
	}
	if err != nil {
		return nil, err
	}
	return client, nil
}

// serviceRoles returns the roles of realm-management that are assigned to the client's
// service account, sorted.
func (s *Source) serviceRoles(ctx context.Context, c *Client) ([]string, error) {
	doing := "reading the service account of the client " + c.ClientID
	var account userRep
	if err := s.get(ctx, call{name: "service_account", doing: doing, role: viewClients, path: []string{"clients", c.ID, "service-account-user"}}, &account); err != nil {
		return nil, err
	}
	if account.ID == "" {
		return nil, incompleteEntry(doing)
	}
	var assigned struct {
		Clients map[string]struct {
			Mappings []roleRep `json:"mappings"`
		} `json:"clientMappings"`
	}
	err := s.get(ctx, call{name: "role_mappings", doing: doing, role: viewUsers, path: []string{"users", account.ID, "role-mappings"}}, &assigned)
	var names []string
	for _, role := range assigned.Clients[s.management()].Mappings {
		names = append(names, role.Name)
	}
	slices.Sort(names)
	return names, err
}

func (c signInClientRep) client(scopes []clientScopeRep) (*Client, error) {
	read := &Client{
		ID: c.ID, ClientID: c.ClientID, Enabled: c.Enabled, StandardFlow: c.StandardFlow,
		FullScope: c.FullScope, Lightweight: c.Attributes[lightweightTokens] == "true",
	}
	for _, uri := range c.RedirectURIs {
		// Keycloak reads a URI without a scheme as relative to the root URL.
		if strings.HasPrefix(uri, "/") {
			uri = strings.TrimSuffix(c.Root, "/") + uri
		}
		read.RedirectURIs = append(read.RedirectURIs, uri)
	}
	slices.Sort(read.RedirectURIs)
	read.add(Mapper{}, c.Mappers)
	byName := make(map[string]clientScopeRep, len(scopes))
	for _, scope := range scopes {
		byName[scope.Name] = scope
		read.SubjectMapper = read.SubjectMapper || slices.ContainsFunc(scope.Mappers, func(m mapperRep) bool { return m.Kind == Subject })
	}
	for i, name := range slices.Concat(c.DefaultScopes, c.OptionalScopes) {
		scope, there := byName[name]
		if !there {
			return nil, fault.New(fault.Keycloak, fault.Incomplete, "reading the client scopes: the client %s has the scope %q, which is not in the realm's list; run again", c.ClientID, name)
		}
		read.add(Mapper{Scope: name, Optional: i >= len(c.DefaultScopes)}, scope.Mappers)
	}
	return read, nil
}

// add adds the OpenID Connect mappers of the client itself, or of one client scope, sorted by
// name. Each gets the fields Scope and Optional of place.
func (c *Client) add(place Mapper, mappers []mapperRep) {
	slices.SortFunc(mappers, func(a, b mapperRep) int { return strings.Compare(a.Name, b.Name) })
	for _, m := range mappers {
		if m.Protocol == "openid-connect" {
			c.Mappers = append(c.Mappers, Mapper{Name: m.Name, Kind: m.Kind, Scope: place.Scope, Optional: place.Optional, Config: m.Config})
		}
	}
}

// InScope reports whether the client's scope contains the role. If Client.FullScope is false, the
// client's tokens can contain only roles in the scope. The name of the role is written as in
// admins.role. For a role that does not exist, InScope returns false.
func (s *Source) InScope(ctx context.Context, c *Client, role string) (bool, error) {
	ofRealm, name := source.RealmRole(role)
	if ofRealm {
		return s.grants(ctx, c, s.config.Realm, name)
	}
	// The client id and the role name may both contain a slash, so the loop tries every slash as
	// the separator.
	for i := range role {
		if role[i] != '/' {
			continue
		}
		holder, err := list[clientRep](ctx, s, call{
			name: "clients", doing: "looking up the client " + role[:i], role: viewClients, path: []string{"clients"}, query: url.Values{"clientId": {role[:i]}},
		})
		if err != nil {
			return false, err
		}
		for _, h := range holder {
			if granted, err := s.grants(ctx, c, h.ID, role[i+1:]); granted || err != nil {
				return granted, err
			}
		}
	}
	return false, nil
}

// grants reports whether the client's scope contains the role with that name. container is the
// owner of the role: the name of the realm, or the internal id of a client.
func (s *Source) grants(ctx context.Context, c *Client, container, name string) (bool, error) {
	roles, err := s.roles(ctx, "", call{
		name: "client_scope_roles", doing: "reading the roles in the scope of the client " + c.ClientID, role: viewClients,
		path: []string{"clients", c.ID, "evaluate-scopes", "scope-mappings", container, "granted"},
	})
	return slices.ContainsFunc(roles, func(r roleRep) bool { return r.Name == name }), err
}

// Example holds the claims that one person would get at a sign-in by a client. It also holds
// the person's account and groups as the admin API returns them.
type Example struct {
	Claims map[string]any // the claims of the access token or of the user-info answer
	Person source.User
	Groups []source.Group // the person's groups according to the own side; at least one group
}

const (
	// exampleTimeout limits the search for a person, because a federation can be slow.
	exampleTimeout = 10 * time.Second
	// exampleGroups is the largest number of groups whose members the search for a person reads.
	exampleGroups = 50
)

// Example returns the claims that one person would get at a sign-in by the client. It returns
// nil if no suitable person was found. The claims are those of the access token, or those of
// the user-info answer if userinfo is true. The call needs the roles view-clients and
// view-users. Keycloak issues no real token, and the session that Keycloak creates ends with
// the answer.
//
// The person is local, enabled and a member of a group. Example does not use federated people,
// because the call would put their groups into Keycloak's user cache. A later sign-in would
// then read these groups, even if they had changed (reference/keycloak-own-view.md).
func (s *Source) Example(ctx context.Context, c *Client, userinfo bool) (*Example, error) {
	person, err := s.somebody(ctx)
	if person == nil || err != nil {
		return nil, err
	}
	e := &Example{Person: *person}
	what, doing := "generate-example-access-token", "making an example access token"
	if userinfo {
		what, doing = "generate-example-userinfo", "making an example user-info answer"
	}
	err = s.get(ctx, call{
		name: "example", doing: doing + " of the client " + c.ClientID, role: viewClients,
		path: []string{"clients", c.ID, "evaluate-scopes", what}, query: url.Values{"scope": {"openid"}, "userId": {person.ID}},
	}, &e.Claims)
	if err != nil {
		return nil, err
	}
	groups, err := s.groupsOf(ctx, person.ID)
	if err != nil || len(groups) == 0 { // the person left the group just now
		return nil, err
	}
	for _, g := range groups {
		e.Groups = append(e.Groups, source.Group{ID: g.ID, Name: g.Name, Path: g.Path})
	}
	return e, nil
}

// somebody returns a local, enabled person who is a member of a group. It returns nil if the
// first exampleGroups groups have no such member.
func (s *Source) somebody(ctx context.Context) (*source.User, error) {
	groups, err := s.tree(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, exampleTimeout, fault.New(fault.Keycloak, fault.Timeout, "no local person was found within %s", exampleTimeout))
	defer cancel()
	for _, g := range groups[:min(len(groups), exampleGroups)] {
		query := unpaged()
		query.Set("max", "100")
		members, err := s.users(ctx, call{name: "members", doing: "reading members of the group " + cmp.Or(g.Path, g.Name), role: viewUsers, path: []string{"groups", g.ID, "members"}, query: query})
		if isReason(err, fault.NotFound, fault.Server, fault.Rejected) {
			continue // the group was deleted just now, or its members cannot be listed
		}
		if err == nil {
			err = s.markServiceAccounts(ctx, members)
		}
		if err != nil {
			return nil, err
		}
		for _, m := range members {
			if m.Federation == "" && m.Enabled && !m.ServiceAccount {
				return &m, nil
			}
		}
	}
	return nil, nil
}
