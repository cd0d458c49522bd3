package keycloak

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"groupsync/internal/fault"
	"groupsync/internal/source"
	"groupsync/internal/transport"
)

// This file holds the reads of the command groupsync check. A pass uses only Discover.

const discovering = "reading the realm's discovery document"

// Discovery is the part of the realm's discovery document that groupsync uses. Reading the
// document needs no credentials.
type Discovery struct {
	Issuer  string   `json:"issuer"`                                // the realm's own address; empty: the answer does not come from Keycloak
	Methods []string `json:"token_endpoint_auth_methods_supported"` // methods by which a client may send its secret
}

// Discover reads the realm's discovery document. It returns an error of reason not_found if
// there is no such realm, or no Keycloak at the address.
func (s *Source) Discover(ctx context.Context) (Discovery, error) {
	resp, err := s.cloak.GetRequest(transport.WithCall(ctx, "discovery")).Get(s.address("realms", s.config.Realm, ".well-known", "openid-configuration"))
	if err = s.incompleteAnswer(ctx, discovering, resp, err); err != nil {
		return Discovery{}, err
	}
	if code := resp.StatusCode(); code < 200 || code > 299 {
		if why, own := keycloakErrorIn(resp); own && code == http.StatusNotFound {
			return Discovery{}, s.noRealm(discovering, s.cause(why, code))
		}
		return Discovery{}, s.refusal(call{doing: discovering, role: viewUsers}, resp)
	}
	var d Discovery
	err = s.decode(discovering, resp, &d)
	return d, err
}

// Grant describes a new access token of the client's service account.
type Grant struct {
	Method      string              // how the client sent its secret: client_secret_post or client_secret_basic
	Life        time.Duration       // lifetime of the token
	Lightweight bool                // the token's id says that the token is lightweight; such a token carries no roles
	RealmRoles  []string            // the realm roles that the token carries, sorted
	ClientRoles map[string][]string // the clients' roles that the token carries, by client id, sorted
	Management  string              // client id of the client whose roles allow calls of the admin API
	Refusal     error               // why a pass cannot use the token; nil if it can
}

// SignIn fetches a new access token and describes it. A token without the roles that a pass
// needs is no error: Grant.Refusal says which roles are missing.
func (s *Source) SignIn(ctx context.Context) (Grant, error) {
	release, err := s.takeTurn(ctx)
	if err != nil {
		return Grant{}, err
	}
	defer release()
	g, err := s.fetchGrant(ctx)
	if err != nil {
		return Grant{}, err
	}
	grant := Grant{
		Method: string(cmp.Or(s.tokens.method, post)), Life: g.life, Lightweight: g.claims.kind() == "lt",
		RealmRoles: slices.Sorted(slices.Values(g.claims.RealmAccess.Roles)), ClientRoles: make(map[string][]string), Management: s.management(),
	}
	for client, access := range g.claims.ResourceAccess {
		grant.ClientRoles[client] = slices.Sorted(slices.Values(access.Roles))
	}
	_, grant.Refusal = s.rolesOf(g.claims)
	return grant, nil
}

// Settings are the realm's settings that groupsync check looks at.
type Settings struct {
	// Permissions says whether fine-grained admin permissions (v2) are switched on. It is nil if
	// the release does not have such permissions: Keycloak up to 26.0.
	Permissions *bool `json:"adminPermissionsEnabled"`

	// AdminEvents says whether the realm saves admin events. It is nil if the answer does not
	// contain the setting.
	AdminEvents *bool `json:"adminEventsEnabled"`

	DefaultRole Role `json:"defaultRole"` // the composite role that every new account gets
}

// Role names a role of the realm.
type Role struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Settings reads the realm's representation from Keycloak.
func (s *Source) Settings(ctx context.Context) (Settings, error) {
	var settings Settings
	err := s.get(ctx, call{name: "realm", doing: "reading the realm's settings", role: viewRealm}, &settings)
	return settings, err
}

// DefaultRoles returns the names of the realm roles that every new account gets, sorted: the
// default role and the realm roles that it contains, at any depth.
func (s *Source) DefaultRoles(ctx context.Context) ([]string, error) {
	settings, err := s.Settings(ctx)
	if err != nil {
		return nil, err
	}
	if settings.DefaultRole.ID == "" {
		return nil, fault.New(fault.Keycloak, fault.Shape, "reading the realm's settings: the answer names no default role; check that groupsync supports this version of Keycloak")
	}
	names := map[string]bool{settings.DefaultRole.Name: true}
	for open := []Role{settings.DefaultRole}; len(open) > 0; open = open[1:] {
		c := call{name: "composites", doing: "reading what the default role " + open[0].Name + " contains", role: viewRealm, path: []string{"roles-by-id", open[0].ID, "composites", "realm"}}
		parts, err := s.roles(ctx, "", c)
		if err != nil {
			return nil, err
		}
		for _, part := range parts {
			if !names[part.Name] {
				names[part.Name] = true
				open = append(open, Role{part.ID, part.Name})
			}
		}
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// Version returns Keycloak's release number, or "" if Keycloak does not show the number to
// groupsync. Keycloak 24.0 and 26.0 show the number to every account with a role of the
// management client. Keycloak 26.7 shows the number only to administrators (measured).
func (s *Source) Version(ctx context.Context) (string, error) {
	var info struct {
		System struct {
			Version string `json:"version"`
		} `json:"systemInfo"`
	}
	err := s.get(ctx, call{name: "serverinfo", doing: "reading Keycloak's version", role: viewRealm, path: []string{"serverinfo"}, ofServer: true}, &info)
	if isReason(err, fault.Forbidden) {
		return "", nil
	}
	return info.System.Version, err
}

// Accounts looks up one person as a pass does: first by the account ids that ClearML keeps,
// and if no account has such an id, by the exact email. byID is true if the accounts were
// found by a kept id. If the look-up is not complete, Accounts returns an error.
func (s *Source) Accounts(ctx context.Context, p source.Person) (accounts []source.User, byID bool, err error) {
	catalog, err := s.Catalog(ctx)
	if err != nil {
		return nil, false, err
	}
	all, err := s.Find(ctx, catalog, []source.Person{p}, nil)
	if err != nil {
		return nil, false, err
	}
	found := all.Found[0]
	if found.Doubt != "" {
		return nil, false, fault.New(fault.Keycloak, fault.Incomplete, "looking up a person: %s", found.Doubt)
	}
	return found.Accounts, found.ByID, nil
}
