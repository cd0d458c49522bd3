package signin_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/preflight/signin"
	"groupsync/internal/source/keycloak"
	"groupsync/internal/source/keycloaktest"
)

type object = map[string]any

// signInClient is ClearML's client in a real realm. Tests make mistakes in it.
type signInClient struct {
	*keycloaktest.Realm
	t      *testing.T
	id     string // Keycloak's own
	signIn signin.Options
}

var clientsMade atomic.Int64

// newSignInClient makes a client as ClearML's documentation says. Every row of a test makes
// its own, with another id.
func newSignInClient(t *testing.T, r *keycloaktest.Realm) *signInClient {
	t.Helper()
	c := &signInClient{Realm: r, t: t, signIn: signIn}
	c.signIn.ClientID = fmt.Sprintf("web-%d", clientsMade.Add(1))
	c.id = r.Do(t, http.MethodPost, "/clients", object{
		"clientId": c.signIn.ClientID, "enabled": true, "publicClient": false, "secret": "clearml-test-secret", "standardFlowEnabled": true,
		"fullScopeAllowed": true, "redirectUris": []string{"https://app.example.com/callback_keycloak"},
	}, nil)
	c.addMapper("groups", keycloak.GroupMembership, "groups", "full.path=false")
	return c
}

func (c *signInClient) path(rest string) string { return "/clients/" + c.id + rest }

// edit changes the client's representation.
func (c *signInClient) edit(change object) {
	c.t.Helper()
	var rep object
	c.Do(c.t, http.MethodGet, c.path(""), nil, &rep)
	for key, value := range change {
		rep[key] = value
	}
	c.Do(c.t, http.MethodPut, c.path(""), rep, nil)
}

func representation(name, kind, claim string, settings ...string) object {
	m := mapper(name, kind, "", claim, settings...)
	if claim == "" {
		delete(m.Config, "claim.name")
	}
	return object{"name": name, "protocol": "openid-connect", "protocolMapper": kind, "config": m.Config}
}

// addMapper adds a mapper to the client.
func (c *signInClient) addMapper(name, kind, claim string, settings ...string) {
	c.t.Helper()
	c.Do(c.t, http.MethodPost, c.path("/protocol-mappers/models"), representation(name, kind, claim, settings...), nil)
}

// editMapper changes settings of a mapper of the client. An empty value removes the setting.
func (c *signInClient) editMapper(name string, settings ...string) {
	c.t.Helper()
	var all []object
	c.Do(c.t, http.MethodGet, c.path("/protocol-mappers/models"), nil, &all)
	for _, m := range all {
		if m["name"] != name {
			continue
		}
		config := m["config"].(object)
		for _, s := range settings {
			key, value, _ := strings.Cut(s, "=")
			if config[key] = value; value == "" {
				delete(config, key)
			}
		}
		c.Do(c.t, http.MethodPut, c.path("/protocol-mappers/models/")+m["id"].(string), m, nil)
		return
	}
	c.t.Fatalf("no mapper %q", name)
}

func (c *signInClient) removeMapper(name string) {
	c.t.Helper()
	var all []struct{ ID, Name string }
	c.Do(c.t, http.MethodGet, c.path("/protocol-mappers/models"), nil, &all)
	for _, m := range all {
		if m.Name == name {
			c.Do(c.t, http.MethodDelete, c.path("/protocol-mappers/models/"+m.ID), nil, nil)
		}
	}
}

// grantOwn assigns roles of realm-management to the client's own service account.
func (c *signInClient) grantOwn(names ...string) {
	c.t.Helper()
	var management []struct{ ID string }
	c.Do(c.t, http.MethodGet, "/clients?clientId=realm-management", nil, &management)
	var roles []object
	for _, name := range names {
		var role object
		c.Do(c.t, http.MethodGet, "/clients/"+management[0].ID+"/roles/"+name, nil, &role)
		roles = append(roles, role)
	}
	var account struct{ ID string }
	c.Do(c.t, http.MethodGet, c.path("/service-account-user"), nil, &account)
	c.Do(c.t, http.MethodPost, "/users/"+account.ID+"/role-mappings/clients/"+management[0].ID, roles, nil)
}

// scopes returns the ids of the realm's client scopes by name.
func (c *signInClient) scopes() map[string]string {
	c.t.Helper()
	var all []struct{ ID, Name string }
	c.Do(c.t, http.MethodGet, "/client-scopes", nil, &all)
	ids := make(map[string]string)
	for _, s := range all {
		ids[s.Name] = s.ID
	}
	return ids
}

// scope makes a client scope with one mapper and assigns it to the client, as "default" or as
// "optional".
func (c *signInClient) scope(kind, name string, mapper object) {
	c.t.Helper()
	id, there := c.scopes()[name]
	if !there {
		id = c.Do(c.t, http.MethodPost, "/client-scopes", object{"name": name, "protocol": "openid-connect", "protocolMappers": []object{mapper}}, nil)
	}
	if kind == "default" { // Keycloak ignores a default scope that the client already has as an optional one
		c.Do(c.t, http.MethodDelete, c.path("/optional-client-scopes/"+id), nil, nil)
	}
	c.Do(c.t, http.MethodPut, c.path("/"+kind+"-client-scopes/"+id), nil, nil)
}

// drop removes a default client scope from the client.
func (c *signInClient) drop(name string) {
	c.t.Helper()
	c.Do(c.t, http.MethodDelete, c.path("/default-client-scopes/"+c.scopes()[name]), nil, nil)
}

// check makes the checks with groupsync's own client. It returns the findings that are not OK,
// or all of them. In the text ClearML's client is called web.
func (c *signInClient) check(all bool) string {
	c.t.Helper()
	read, err := keycloak.New(keycloak.Config{
		URL: c.Server.URL, Realm: c.Name, ClientID: c.ClientID, ClientSecret: func() (string, error) { return c.Secret, nil },
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.ReplaceAll(textOf(c.t, c.signIn, read, all), c.signIn.ClientID, "web")
}

// checker are the roles that the checks need.
var checker = []string{"view-users", "view-realm", "view-clients"}

// signInRealm is a realm with people in groups, and with a role of the administrators.
func signInRealm(t *testing.T, roles []string, users ...keycloaktest.User) *keycloaktest.Realm {
	t.Helper()
	return signInRealmOn(t, keycloaktest.Shared(t), roles, users...)
}

func signInRealmOn(t *testing.T, s *keycloaktest.Server, roles []string, users ...keycloaktest.User) *keycloaktest.Realm {
	t.Helper()
	if users == nil {
		users = []keycloaktest.User{{Username: "hidden", Email: "hidden@example.com", FirstName: "Hidden", LastName: "Hidden", Groups: []string{"/eng", "/x/ops"}}}
	}
	return s.NewRealm(t, keycloaktest.Spec{
		Groups: []string{"/eng", "/x/ops"}, Users: users, Roles: []string{"boss", "web/boss"}, DefaultRoles: true, ServiceRoles: roles,
	})
}

// Beginnings and ends of findings. Many rows use them.
const (
	given     = `the access token that Keycloak would give one person in 2 groups `
	answered  = `the user-info answer that Keycloak would give one person in 2 groups `
	givenOne  = `the access token that Keycloak would give one person `
	strangeID = "ClearML then keeps an id that the realm does not have, so groupsync treats the person as deleted and created again, and grants nothing\n"
	notLight  = `, or switch off "Always use lightweight access token" in Clients > web > Advanced > Advanced settings` + "\n"
	seeGroups = "    see the check sign-in-groups\n"
	seeBoth   = "    see the checks sign-in-groups and sign-in-other-mappers\n"
	seePerson = "    see the check sign-in-person\n"
	seeName   = "    see the check sign-in-person. If it found no error, the mapper is there, but the account of this simulated sign-in has no value for the claim, such as a first and last name. Then fill in the names of the accounts that lack them\n"
	groupsAt  = "Clients > web > Client scopes > web-dedicated > Mappers > groups"
	urisAt    = `"Valid redirect URIs" in Clients > web > Settings > Access settings` + "\n"
)

// TestMapperOnKeycloak makes each mistake on a real Keycloak.
func TestMapperOnKeycloak(t *testing.T) {
	r := signInRealm(t, checker)
	for _, tt := range []struct {
		name string
		make func(*signInClient)
		want string
	}{
		{"as documented", func(*signInClient) {}, ""},
		{"as documented, with the user-info answer", func(c *signInClient) { c.signIn.Userinfo, c.signIn.AdminRole = true, "" }, ""},
		{"as documented, with full paths", func(c *signInClient) {
			c.signIn.FullPath = true
			c.editMapper("groups", "full.path=true")
		}, ""},
		{"no such client", func(c *signInClient) { c.Do(c.t, http.MethodDelete, c.path(""), nil, nil); c.signIn.AdminRole = "" },
			`✘ sign-in-client: the realm has no client "web", so nobody can sign in to ClearML by it
    set keycloak.clearml_client_id to the client id that ClearML has, or register the client in Keycloak
` + notMade("redirect", "token", "groups", "other-mappers", "person")},
		{"disabled", func(c *signInClient) { c.edit(object{"enabled": false}) },
			`✘ sign-in-client: the client "web" is disabled, so nobody can sign in to ClearML
    switch on "Enabled" in Clients > web
`},
		{"no standard flow", func(c *signInClient) { c.edit(object{"standardFlowEnabled": false}) },
			`✘ sign-in-client: the standard flow of the client "web" is off, so nobody can sign in to ClearML with a browser
    switch on "Standard flow" in Clients > web > Settings > Capability config
`},
		{"a service account without rights", func(c *signInClient) { c.edit(object{"serviceAccountsEnabled": true}) }, ""},
		{"a service account that can change people", func(c *signInClient) {
			c.edit(object{"serviceAccountsEnabled": true})
			c.grantOwn("manage-users", "view-realm")
		},
			`! sign-in-client: the service account of the client "web" has manage-users and view-realm of realm-management, so anybody who has the secret of ClearML's sign-in has these rights
    ClearML's sign-in needs no service account: remove the roles in Clients > web > Service account roles
`},
		{"groupsync's own client", func(c *signInClient) { c.signIn.Own = c.signIn.ClientID },
			`! sign-in-client: groupsync signs in to Keycloak with ClearML's own client "web", so anybody who has the secret of ClearML's sign-in can read the whole realm
    make a client for groupsync alone, name it in keycloak.client_id, and take the service account away from ClearML's client
`},

		{"no redirect URI", func(c *signInClient) { c.edit(object{"redirectUris": []string{}}) },
			`✘ sign-in-redirect: no redirect URI of the client "web" is the address of ClearML's web application with /callback_keycloak, so Keycloak refuses every sign-in to ClearML
    add the address of ClearML's web application with /callback_keycloak to ` + urisAt},
		{"a redirect URI below the root URL", func(c *signInClient) {
			c.edit(object{"rootUrl": "https://app.example.com", "redirectUris": []string{"/callback_keycloak"}})
		}, ""},
		{"a wildcard", func(c *signInClient) { c.edit(object{"redirectUris": []string{"https://app.example.com/*"}}) },
			`! sign-in-redirect: the redirect URI "https://app.example.com/*" of the client "web" has a wildcard, so the code of a sign-in can be sent to another page
    replace it by the address of ClearML's web application with /callback_keycloak, in ` + urisAt},

		{"no group mapper", func(c *signInClient) { c.removeMapper("groups") },
			`✘ sign-in-token: ` + given + `has no claim "groups"
` + seeGroups + `✘ sign-in-groups: the client "web" has no group membership mapper, so no sign-in gives ClearML a group
    add a mapper "Group Membership" with the token claim name groups in Clients > web > Client scopes > web-dedicated
`},
		{"another claim", func(c *signInClient) { c.editMapper("groups", "claim.name=teams") },
			`✘ sign-in-token: ` + given + `has no claim "groups"
` + seeGroups + `✘ sign-in-groups: the mapper "groups" of the client writes groups into the claim "teams", but groups.claim is "groups"
    set "Token Claim Name" to groups in ` + groupsAt + `, or set groups.claim and ClearML's variable groups__claim to teams
`},
		{"a claim in an object", func(c *signInClient) {
			c.signIn.Claim = "clearml.groups"
			c.editMapper("groups", "claim.name=clearml.groups")
		}, ""},
		{"a claim with a dot in its name", func(c *signInClient) {
			c.signIn.Claim = `clearml\.groups`
			c.editMapper("groups", `claim.name=clearml\.groups`)
		}, ""},
		{"full paths that nobody expects", func(c *signInClient) { c.editMapper("groups", "full.path=true") },
			`✘ sign-in-token: ` + given + `holds them in the claim "groups" as full paths, but groups.full_path is false
` + seeGroups + `✘ sign-in-groups: the mapper "groups" of the client writes groups as full paths, but groups.full_path is false, so the sign-in and groupsync name the groups differently
    switch "Full group path" off in ` + groupsAt + `, or set groups.full_path to true
`},
		{"names where paths are expected", func(c *signInClient) { c.signIn.FullPath = true },
			`✘ sign-in-token: ` + given + `holds them in the claim "groups" as names without their path, but groups.full_path is true
` + seeGroups + `✘ sign-in-groups: the mapper "groups" of the client writes groups as names without their path, but groups.full_path is true, so the sign-in and groupsync name the groups differently
    switch "Full group path" on in ` + groupsAt + `, or set groups.full_path to false
`},
		{"not added to the access token", func(c *signInClient) { c.editMapper("groups", "access.token.claim=false") },
			`✘ sign-in-token: ` + given + `has no claim "groups"
` + seeGroups + `✘ sign-in-groups: the mapper "groups" of the client does not add the claim "groups" to the access token, which is what ClearML reads
    switch on "Add to access token" in ` + groupsAt + `
`},
		{"not added to the user-info answer", func(c *signInClient) {
			c.signIn.Userinfo, c.signIn.AdminRole = true, ""
			c.editMapper("groups", "userinfo.token.claim=false")
		},
			`✘ sign-in-token: ` + answered + `has no claim "groups"
` + seeGroups + `✘ sign-in-groups: the mapper "groups" of the client does not add the claim "groups" to the user-info answer, which is what ClearML reads
    switch on "Add to userinfo" in ` + groupsAt + `
`},
		{"a mapper older than the setting for user-info", func(c *signInClient) {
			c.signIn.Userinfo, c.signIn.AdminRole = true, ""
			c.editMapper("groups", "userinfo.token.claim=")
		}, ""},
		{"lightweight access tokens", func(c *signInClient) {
			c.edit(object{"attributes": object{"client.use.lightweight.access.token.enabled": "true"}})
		},
			`✘ sign-in-token: ` + given + `has no claim "groups"
` + seeGroups + `✘ sign-in-token: ` + givenOne + `has no claim "sub"
` + seePerson + `✘ sign-in-token: ` + givenOne + `has no claim "email", although the account has an email
` + seePerson + `! sign-in-token: ` + givenOne + `has no claim "preferred_username", which ClearML reads the name from
` + seeName + `✘ sign-in-groups: the mapper "groups" of the client does not add the claim "groups" to the lightweight access token, which is what ClearML reads
    switch on "Add to lightweight access token" in ` + groupsAt + notLight + `✘ sign-in-person: no mapper adds the claim "email" to the lightweight access token. ClearML needs it to know the email of a person
    make the client scope "email" a default scope in Clients > web > Client scopes, and leave the setting "Add to lightweight access token" on in the mapper of this claim` + notLight + `✘ sign-in-person: no mapper adds the claim "sub" to the lightweight access token. ClearML needs it to know the id of a person
    make the client scope "basic" a default scope in Clients > web > Client scopes, and leave the setting "Add to lightweight access token" on in the mapper of this claim` + notLight + `✘ sign-in-person: no mapper adds the claim "preferred_username" to the lightweight access token. ClearML needs it to know the name of a person
    make the client scope "profile" a default scope in Clients > web > Client scopes, and leave the setting "Add to lightweight access token" on in the mapper of this claim` + notLight + `✘ sign-in-roles: no mapper adds a claim "roles" with realm roles to the lightweight access token, so no sign-in shows ClearML the role "boss" of its administrators
    make the client scope "roles" a default scope in Clients > web > Client scopes, and switch on "Add to lightweight access token" in its mapper "realm roles"; or set admins.role and ClearML's variable admin_role to ""
`},
		{"lightweight access tokens, with the user-info answer", func(c *signInClient) {
			c.signIn.Userinfo, c.signIn.AdminRole = true, ""
			c.edit(object{"attributes": object{"client.use.lightweight.access.token.enabled": "true"}})
		}, ""},
		{"two mappers of one form", func(c *signInClient) { c.addMapper("members", keycloak.GroupMembership, "groups", "full.path=false") },
			`! sign-in-groups: the mapper "groups" of the client and the mapper "members" of the client write the groups into the claim "groups" of the access token
    keep one of them, with "Full group path" off
`},
		{"two mappers of two forms", func(c *signInClient) { c.addMapper("members", keycloak.GroupMembership, "groups", "full.path=true") },
			`✘ sign-in-token: ` + given + `does not hold exactly these in the claim "groups" (missing: 0, others: 2)
` + seeBoth + `✘ sign-in-groups: the mapper "groups" of the client and the mapper "members" of the client write the groups into the claim "groups" of the access token, some as full paths and some as names, so the claim holds two names of each group
    keep one of them, with "Full group path" off
`},
		{"a mapper in a shared scope", func(c *signInClient) {
			c.removeMapper("groups")
			c.scope("default", "teams", representation("members", keycloak.GroupMembership, "groups", "full.path=false"))
		}, ""},
		{"a mapper in an optional scope", func(c *signInClient) {
			c.removeMapper("groups")
			c.scope("optional", "teams-if-asked", representation("members", keycloak.GroupMembership, "groups", "full.path=false"))
		},
			`✘ sign-in-token: ` + given + `has no claim "groups"
` + seeGroups + `! sign-in-groups: the mapper "members" of the client scope "teams-if-asked" works only if ClearML asks for that scope, because the scope is an optional client scope of "web"
    make "teams-if-asked" a default scope in Clients > web > Client scopes
`},

		{"realm roles in the group claim", func(c *signInClient) { c.scope("default", "microprofile-jwt", nil) },
			`✘ sign-in-token: ` + given + `does not hold exactly these in the claim "groups" (missing: 0, others: 3)
` + seeBoth + `✘ sign-in-other-mappers: the mapper "groups" of the client scope "microprofile-jwt" (oidc-usermodel-realm-role-mapper) writes into the claim "groups" of the access token too, and ClearML treats these values as names of groups
    give it another "Token Claim Name" in Client scopes > microprofile-jwt > Mappers > groups, or remove the client scope "microprofile-jwt" in Clients > web > Client scopes
`},
		{"a hardcoded claim", func(c *signInClient) {
			c.addMapper("fixed", "oidc-hardcoded-claim-mapper", "groups", "claim.value=staff", "jsonType.label=String")
		},
			`✘ sign-in-token: ` + given + `does not hold exactly these in the claim "groups" (missing: 0, others: 1)
` + seeBoth + `✘ sign-in-other-mappers: the mapper "fixed" of the client (oidc-hardcoded-claim-mapper) writes into the claim "groups" of the access token too, and ClearML treats these values as names of groups
    give it another "Token Claim Name" in Clients > web > Client scopes > web-dedicated > Mappers > fixed
`},
		{"client roles", func(c *signInClient) {
			c.addMapper("roles", keycloak.ClientRoles, "groups", "multivalued=true", "usermodel.clientRoleMapping.clientId=account")
		},
			`✘ sign-in-token: ` + given + `does not hold exactly these in the claim "groups" (missing: 0, others: 3)
` + seeBoth + `✘ sign-in-other-mappers: the mapper "roles" of the client (oidc-usermodel-client-role-mapper) writes into the claim "groups" of the access token too, and ClearML treats these values as names of groups
    give it another "Token Claim Name" in Clients > web > Client scopes > web-dedicated > Mappers > roles
`},
		{"a user attribute", func(c *signInClient) {
			c.addMapper("attribute", attribute, "groups", "user.attribute=email", "jsonType.label=String")
		},
			`✘ sign-in-token: ` + given + `does not hold exactly these in the claim "groups" (missing: 0, others: 1)
` + seeBoth + `✘ sign-in-other-mappers: the mapper "attribute" of the client (oidc-usermodel-attribute-mapper) writes into the claim "groups" of the access token too, and ClearML treats these values as names of groups
    give it another "Token Claim Name" in Clients > web > Client scopes > web-dedicated > Mappers > attribute
`},

		{"no scope basic", func(c *signInClient) { c.drop("basic") },
			`✘ sign-in-token: ` + givenOne + `has no claim "sub"
` + seePerson + `✘ sign-in-person: no mapper adds the claim "sub" to the access token. ClearML needs it to know the id of a person
    make the client scope "basic" a default scope in Clients > web > Client scopes, and leave the setting "Add to access token" on in the mapper of this claim
`},
		{"pairwise subjects", func(c *signInClient) {
			c.addMapper("pairwise", keycloak.PairwiseSubject, "", "sectorIdentifierUri=", "pairwiseSubAlgorithmSalt=x")
		},
			`✘ sign-in-token: ` + givenOne + `has a claim "sub" that is not the id of the account. ` + strangeID + seePerson +
				`✘ sign-in-person: the mapper "pairwise" of the client (oidc-sha256-pairwise-sub-mapper) replaces the id of the account in the claim "sub". ` + strangeID +
				`    remove the mapper in Clients > web > Client scopes > web-dedicated > Mappers > pairwise
`},
		{"an attribute in place of the id", func(c *signInClient) {
			c.addMapper("attribute", attribute, "sub", "user.attribute=username", "jsonType.label=String")
		},
			`✘ sign-in-token: ` + givenOne + `has a claim "sub" that is not the id of the account. ` + strangeID + seePerson +
				`✘ sign-in-person: the mapper "attribute" of the client (oidc-usermodel-attribute-mapper) replaces the id of the account in the claim "sub". ` + strangeID +
				`    remove the mapper in Clients > web > Client scopes > web-dedicated > Mappers > attribute
`},
		{"no scope email", func(c *signInClient) { c.drop("email") },
			`✘ sign-in-token: ` + givenOne + `has no claim "email", although the account has an email
` + seePerson + `✘ sign-in-person: no mapper adds the claim "email" to the access token. ClearML needs it to know the email of a person
    make the client scope "email" a default scope in Clients > web > Client scopes, and leave the setting "Add to access token" on in the mapper of this claim
`},
		{"no scope profile", func(c *signInClient) { c.drop("profile") },
			`! sign-in-token: ` + givenOne + `has no claim "preferred_username", which ClearML reads the name from
` + seeName + `✘ sign-in-person: no mapper adds the claim "preferred_username" to the access token. ClearML needs it to know the name of a person
    make the client scope "profile" a default scope in Clients > web > Client scopes, and leave the setting "Add to access token" on in the mapper of this claim
`},

		{"no scope roles", func(c *signInClient) { c.drop("roles") },
			`✘ sign-in-roles: no mapper adds a claim "roles" with realm roles to the access token, so no sign-in shows ClearML the role "boss" of its administrators
    make the client scope "roles" a default scope in Clients > web > Client scopes, and switch on "Add to access token" in its mapper "realm roles"; or set admins.role and ClearML's variable admin_role to ""
`},
		{"a client's role", func(c *signInClient) { c.signIn.AdminRole = "web/boss" }, ""},
		{"roles in the user-info answer", func(c *signInClient) { c.signIn.Userinfo = true },
			`✘ sign-in-roles: no mapper adds a claim "roles" with realm roles to the user-info answer, so no sign-in shows ClearML the role "boss" of its administrators
    make the client scope "roles" a default scope in Clients > web > Client scopes, and switch on "Add to userinfo" in its mapper "realm roles"; or set admins.role and ClearML's variable admin_role to ""
`},
		{"no full scope", func(c *signInClient) { c.edit(object{"fullScopeAllowed": false}) },
			`✘ sign-in-roles: "Full scope allowed" of the client "web" is off, and the role "boss" is not in its scope, so no token holds the role
    switch on "Full scope allowed" in Clients > web > Client scopes > web-dedicated > Scope, or assign the role there
`},
		{"no full scope, for a client's role", func(c *signInClient) {
			c.signIn.AdminRole = "web/boss"
			c.edit(object{"fullScopeAllowed": false})
		},
			`✘ sign-in-roles: "Full scope allowed" of the client "web" is off, and the role "web/boss" is not in its scope, so no token holds the role
    switch on "Full scope allowed" in Clients > web > Client scopes > web-dedicated > Scope, or assign the role there
`},
		{"no full scope, but the role is in the scope", func(c *signInClient) {
			c.edit(object{"fullScopeAllowed": false})
			var role object
			c.Do(c.t, http.MethodGet, "/roles/boss", nil, &role)
			c.Do(c.t, http.MethodPost, c.path("/scope-mappings/realm"), []object{role}, nil)
		}, ""},
		{"no full scope, but the client's role is in the scope", func(c *signInClient) {
			c.signIn.AdminRole = "web/boss"
			c.edit(object{"fullScopeAllowed": false})
			var holder []struct{ ID string }
			c.Do(c.t, http.MethodGet, "/clients?clientId=web", nil, &holder)
			var role object
			c.Do(c.t, http.MethodGet, "/clients/"+holder[0].ID+"/roles/boss", nil, &role)
			c.Do(c.t, http.MethodPost, c.path("/scope-mappings/clients/"+holder[0].ID), []object{role}, nil)
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newSignInClient(t, r)
			tt.make(c)
			// Keycloak applies mappers of equal priority in the order of their random ids. If
			// a mapper of one value comes last, it replaces the groups. Otherwise it adds to
			// them.
			got := strings.Replace(c.check(false), "(missing: 2, others: 1)", "(missing: 0, others: 1)", 1)
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("-want +got\n%s\n%s", d, got)
			}
			if strings.Contains(strings.ToLower(got), "hidden") {
				t.Errorf("a person is named:\n%s", got)
			}
		})
	}
}

// notMade returns the text of checks that were not made.
func notMade(names ...string) (text string) {
	for _, name := range names {
		text += "! sign-in-" + name + ": groupsync did not make this check, because it could not read ClearML's client\n    see the check sign-in-client\n"
	}
	return text
}

// TestMapperWithoutRights: a client that cannot be read counts neither as missing nor as
// correct.
func TestMapperWithoutRights(t *testing.T) {
	for _, roles := range [][]string{{"view-users", "view-realm"}, {"view-users", "view-realm", "query-clients"}} {
		t.Run(strings.Join(roles, " "), func(t *testing.T) {
			c := newSignInClient(t, signInRealm(t, roles))
			want := `! sign-in-client: groupsync could not complete this check: reading the client web: the service account of the client "groupsync" lacks view-clients of realm-management. groupsync did not complete this read. To fix it, assign view-clients in Clients > groupsync > Service account roles
    assign the role view-clients of realm-management if it is missing; a pass needs the role only for admins.role
` + notMade("redirect", "token", "groups", "other-mappers", "person", "roles")
			if d := cmp.Diff(want, c.check(false)); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

// TestRedirectsOnKeycloak compares each finding with what a real Keycloak does. It tries a
// sign-in to ClearML, and sign-ins that send the code to another page or server.
func TestRedirectsOnKeycloak(t *testing.T) {
	t.Run("newest", func(t *testing.T) { redirectsOn(t, keycloaktest.Shared(t), true) })
	for _, version := range []string{keycloaktest.Version260, keycloaktest.Version24} {
		t.Run(version, func(t *testing.T) {
			redirectsOn(t, keycloaktest.Start(t, keycloaktest.Options{Version: version}), false)
		})
	}
}

// redirectsOn tries the rows on one server. comparesHosts says that this release compares the
// host if the URI has one before the wildcard.
func redirectsOn(t *testing.T, s *keycloaktest.Server, comparesHosts bool) {
	r := signInRealmOn(t, s, checker)
	const clearml, page, server = "https://app.example.com/callback_keycloak", "https://app.example.com/other", "https://app.example.com.example.org/other"
	for _, tt := range []struct {
		uri    string
		takes  []string // the addresses that Keycloak accepts
		begins string   // the beginning of the finding; empty: ok
	}{
		{clearml, []string{clearml}, ""},
		{"https://*.example.com/callback_keycloak", nil, "✘ sign-in-redirect: no redirect URI"},
		{"https://*.example.com/*", nil, "✘ sign-in-redirect: no redirect URI"},
		{"https://app.example.com/callback_keycloak?a=*", nil, "✘ sign-in-redirect: no redirect URI"},
		{clearml + "/*", []string{clearml}, "! sign-in-redirect: "},
		{"https://app.example.com/*", []string{clearml, page}, "! sign-in-redirect: "},
		{"https://app.example.com*", []string{clearml, page, server}, "! sign-in-redirect: "},
		{"https://*", []string{clearml, page, server}, "! sign-in-redirect: "},
		{"*", []string{clearml, page, server}, "! sign-in-redirect: "},
	} {
		t.Run(tt.uri, func(t *testing.T) {
			c := newSignInClient(t, r)
			c.edit(object{"redirectUris": []string{tt.uri}})
			var takes []string
			for _, address := range []string{clearml, page, server} {
				if c.takes(address) {
					takes = append(takes, address)
				}
			}
			want := tt.takes
			if comparesHosts && tt.uri == "https://app.example.com*" {
				want = []string{clearml, page}
			}
			if d := cmp.Diff(want, takes); d != "" {
				t.Errorf("Keycloak: -want +got\n%s", d)
			}
			got := c.check(false)
			if !strings.HasPrefix(got, tt.begins) || tt.begins == "" && got != "" {
				t.Errorf("got %q, want %q", got, tt.begins)
			}
			if says := strings.Contains(got, "to another server"); says != slices.Contains(tt.takes, server) {
				t.Errorf("Keycloak takes %q, and the check says %q", tt.takes, got)
			}
		})
	}
}

// takes reports whether Keycloak begins a sign-in that sends the code to the address.
func (c *signInClient) takes(address string) bool {
	c.t.Helper()
	query := url.Values{"client_id": {c.signIn.ClientID}, "response_type": {"code"}, "scope": {"openid"}, "redirect_uri": {address}}
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.Server.URL+"/realms/"+c.Name+"/protocol/openid-connect/auth?"+query.Encode(), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusBadRequest {
		c.t.Fatalf("Keycloak answers %s to a sign-in that goes to %s", resp.Status, address)
	}
	return resp.StatusCode == http.StatusOK
}

// TestMapperOfAPersonWithoutAName: an account without a name is not an error of the client.
func TestMapperOfAPersonWithoutAName(t *testing.T) {
	c := newSignInClient(t, signInRealm(t, checker, keycloaktest.User{Username: "hidden", Email: "hidden@example.com", Groups: []string{"/eng", "/x/ops"}}))
	c.signIn.NameClaim = "name"
	want := `! sign-in-token: ` + givenOne + `has no claim "name", which ClearML reads the name from
` + seeName
	if d := cmp.Diff(want, c.check(false)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// TestMapperWithoutAPerson: if there is no person for an example, only the settings are
// judged.
func TestMapperWithoutAPerson(t *testing.T) {
	c := newSignInClient(t, signInRealm(t, checker, keycloaktest.User{Username: "hidden", Disabled: true, Groups: []string{"/eng"}}, keycloaktest.User{Username: "nowhere"}))
	c.editMapper("groups", "full.path=true")
	want := `! sign-in-token: groupsync could not simulate a sign-in, because the groups that it looked at have no enabled local account as a member. The checks below use only the settings of the client
    put a local account of Keycloak into one of the groups, for example one made for tests
✘ sign-in-groups: the mapper "groups" of the client writes groups as full paths, but groups.full_path is false, so the sign-in and groupsync name the groups differently
    switch "Full group path" off in ` + groupsAt + `, or set groups.full_path to true
`
	if d := cmp.Diff(want, c.check(false)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}
