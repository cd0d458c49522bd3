package keycloaktest

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"testing"
)

// ClearML is the id of the client that ClearML signs people in by.
const ClearML = "clearml"

// ClearMLSecret is the secret of the client that AddClearML makes.
const ClearMLSecret = "clearml-test-secret" // #nosec G101 -- only a Keycloak of the tests knows it

// AddClearML makes the client ClearML, or changes the one that a role of the Spec
// made, and gives it a Group Membership mapper: the claim "groups" of its access
// tokens holds the paths of groups, or their names. People can sign in by it with
// a password (direct grant).
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

// landing is where a browser goes after it has signed in to ClearML. Nothing
// listens there.
const landing = "http://127.0.0.1:9/landing"

// Token is what an access token for ClearML says of a person. Both lists are in
// Keycloak's order, which is none.
type Token struct {
	Groups     []string
	RealmRoles []string
}

// Token returns the token that the person would get at a sign-in to ClearML now.
// As a sign-in does, it looks the username up (which imports a person who is in
// LDAP only) and reads by the user cache (which it fills). AddClearML comes
// first.
func (r *Realm) Token(tb testing.TB, username string) Token {
	tb.Helper()
	return r.TokenOf(tb, r.UserID(tb, username))
}

// TokenOf is Token for the account with that id, without the look-up.
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

// Claim returns the groups of Token, sorted: names, or paths if AddClearML was
// told so.
func (r *Realm) Claim(tb testing.TB, username string) []string {
	tb.Helper()
	return slices.Sorted(slices.Values(r.Token(tb, username).Groups))
}

// ClaimOf is Claim for the account with that id, without the look-up.
func (r *Realm) ClaimOf(tb testing.TB, userID string) []string {
	tb.Helper()
	return slices.Sorted(slices.Values(r.TokenOf(tb, userID).Groups))
}

// RealmRoles returns the realm roles of Token, sorted.
func (r *Realm) RealmRoles(tb testing.TB, username string) []string {
	tb.Helper()
	return slices.Sorted(slices.Values(r.Token(tb, username).RealmRoles))
}
