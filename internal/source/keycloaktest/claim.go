package keycloaktest

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"testing"
)

// ClearML is the id of the client by which ClearML signs people in.
const ClearML = "clearml"

// ClearMLSecret is the secret of the client that AddClearML creates.
const ClearMLSecret = "clearml-test-secret" // #nosec G101 -- only a Keycloak of the tests knows it

// AddClearML creates the client by which ClearML signs people in. If the client exists already,
// because a role of the Spec names it, AddClearML changes it. AddClearML adds a Group
// Membership mapper to the client. If fullPath is true, the claim "groups" of tokens holds
// the paths of groups, and otherwise their names. People can sign in through the client with a
// password (direct grant).
func (r *Realm) AddClearML(tb testing.TB, fullPath bool) {
	tb.Helper()
	client := object{
		"clientId": ClearML, "secret": ClearMLSecret, "enabled": true, "publicClient": false,
		"standardFlowEnabled": true, "directAccessGrantsEnabled": true, "fullScopeAllowed": true,
		"redirectUris": []string{landing},
	}
	var there []struct{ ID string }
	r.Do(tb, http.MethodGet, "/clients?clientId="+ClearML, nil, &there)
	var id string
	if len(there) > 0 {
		id = there[0].ID
		r.Do(tb, http.MethodPut, "/clients/"+id, client, nil)
	} else {
		id = r.Do(tb, http.MethodPost, "/clients", client, nil)
	}
	r.Do(tb, http.MethodPost, "/clients/"+id+"/protocol-mappers/models", object{
		"name": "groups", "protocol": "openid-connect", "protocolMapper": "oidc-group-membership-mapper",
		"config": object{
			"claim.name": "groups", "full.path": strconv.FormatBool(fullPath),
			"id.token.claim": "true", "access.token.claim": "true", "userinfo.token.claim": "true",
		},
	}, nil)
}

// landing is the address to which a browser is sent after a sign-in to ClearML. No server
// listens there.
const landing = "http://127.0.0.1:9/landing"

// Token is the part of an access token for ClearML that concerns groups and roles. Keycloak
// gives both lists in no particular order.
type Token struct {
	Groups     []string
	RealmRoles []string
}

// Token returns the token that the person would get at a sign-in to ClearML now. Like a
// sign-in, Token looks up the username, and Keycloak imports a person who is only in LDAP.
// Keycloak answers from its user cache and fills the cache. AddClearML must be called first.
func (r *Realm) Token(tb testing.TB, username string) Token {
	tb.Helper()
	return r.TokenOf(tb, r.UserID(tb, username))
}

// TokenOf is Token for the account with that id. It makes no look-up by username, so it imports
// nobody.
func (r *Realm) TokenOf(tb testing.TB, userID string) Token {
	tb.Helper()
	var token struct {
		Groups      []string
		RealmAccess struct{ Roles []string } `json:"realm_access"`
	}
	r.Do(tb, http.MethodGet, "/clients/"+r.clientUUID(tb, ClearML)+
		"/evaluate-scopes/generate-example-access-token?userId="+url.QueryEscape(userID), nil, &token)
	return Token{Groups: token.Groups, RealmRoles: token.RealmAccess.Roles}
}

// Claim returns the groups of Token, sorted. They are names, or paths if AddClearML was
// called with fullPath.
func (r *Realm) Claim(tb testing.TB, username string) []string {
	tb.Helper()
	return slices.Sorted(slices.Values(r.Token(tb, username).Groups))
}

// ClaimOf is Claim for the account with that id. It makes no look-up by username, so it imports
// nobody.
func (r *Realm) ClaimOf(tb testing.TB, userID string) []string {
	tb.Helper()
	return slices.Sorted(slices.Values(r.TokenOf(tb, userID).Groups))
}

// RealmRoles returns the realm roles of Token, sorted.
func (r *Realm) RealmRoles(tb testing.TB, username string) []string {
	tb.Helper()
	return slices.Sorted(slices.Values(r.Token(tb, username).RealmRoles))
}
