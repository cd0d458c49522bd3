package signin_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/preflight"
	"groupsync/internal/preflight/signin"
	"groupsync/internal/source"
	"groupsync/internal/source/keycloak"
)

// clients reads clients, as the checks need it.
type clients interface {
	Client(context.Context, string) (*keycloak.Client, error)
	Example(context.Context, *keycloak.Client, bool) (*keycloak.Example, error)
	InScope(context.Context, *keycloak.Client, string) (bool, error)
}

// fakeClients is a realm with at most one client.
type fakeClients struct {
	client  *keycloak.Client
	example *keycloak.Example // nil: there is no person for an example
	granted bool              // the admin role is in the client's scope

	clientErr, exampleErr, scopeErr error
}

func (f *fakeClients) Client(context.Context, string) (*keycloak.Client, error) {
	return f.client, f.clientErr
}

func (f *fakeClients) Example(context.Context, *keycloak.Client, bool) (*keycloak.Example, error) {
	return f.example, f.exampleErr
}

func (f *fakeClients) InScope(context.Context, *keycloak.Client, string) (bool, error) {
	return f.granted, f.scopeErr
}

// mapper makes a mapper that writes the claim everywhere. Settings have the form key=value.
func mapper(name, kind, scope, claim string, settings ...string) keycloak.Mapper {
	m := keycloak.Mapper{Name: name, Kind: kind, Scope: scope, Config: map[string]string{
		"claim.name": claim, "access.token.claim": "true", "id.token.claim": "true", "userinfo.token.claim": "true",
	}}
	for _, s := range settings {
		key, value, _ := strings.Cut(s, "=")
		m.Config[key] = value
	}
	return m
}

func optional(m keycloak.Mapper) keycloak.Mapper {
	m.Optional = true
	return m
}

const attribute = "oidc-usermodel-attribute-mapper"

// groupMapper is the mapper from ClearML's documentation.
func groupMapper(settings ...string) keycloak.Mapper {
	return mapper("groups", keycloak.GroupMembership, "", "groups", append([]string{"full.path=false"}, settings...)...)
}

// sound is a client as in ClearML's documentation, in a new realm.
func sound() *fakeClients {
	return &fakeClients{
		client: &keycloak.Client{
			ID: "c1", ClientID: "web", Enabled: true, StandardFlow: true, FullScope: true, SubjectMapper: true,
			RedirectURIs: []string{"https://app.example.com/callback_keycloak"},
			Mappers: []keycloak.Mapper{
				groupMapper(),
				mapper("sub", keycloak.Subject, "basic", ""),
				mapper("email", attribute, "email", "email"),
				mapper("username", attribute, "profile", "preferred_username"),
				mapper("client roles", keycloak.ClientRoles, "roles", "resource_access.${client_id}.roles"),
				mapper("realm roles", keycloak.RealmRoles, "roles", "realm_access.roles"),
				optional(mapper("groups", keycloak.RealmRoles, "microprofile-jwt", "groups")),
			},
		},
		example: exampleOf([]any{"ops", "eng"}),
		granted: true,
	}
}

// exampleOf is the example for a person in /eng and /x/ops.
func exampleOf(groups any) *keycloak.Example {
	e := &keycloak.Example{
		Person: source.User{ID: "u1", Username: "hidden", Email: "hidden@example.com"},
		Groups: []source.Group{{ID: "g1", Name: "eng", Path: "/eng"}, {ID: "g2", Name: "ops", Path: "/x/ops"}},
		Claims: map[string]any{"sub": "u1", "email": "hidden@example.com", "preferred_username": "hidden"},
	}
	if groups != nil {
		e.Claims["groups"] = groups
	}
	return e
}

var signIn = signin.Options{ClientID: "web", Own: "groupsync", Claim: "groups", AdminRole: "boss", NameClaim: "preferred_username"}

// textOf makes the checks and returns the findings that are not OK, or all of them.
func textOf(t *testing.T, s signin.Options, read clients, all bool) string {
	t.Helper()
	var text strings.Builder
	preflight.Run(t.Context(), signin.Checks(s, read), func(f preflight.Finding) {
		if all || f.Level != preflight.OK {
			line, _, _ := strings.Cut(f.Line(), "    see docs/")
			text.WriteString(line)
		}
	})
	return text.String()
}

func TestMapperOfASoundClient(t *testing.T) {
	want := `✔ sign-in-client: the client "web" is enabled
✔ sign-in-redirect: the client "web" has the redirect URI "https://app.example.com/callback_keycloak"
✔ sign-in-token: the access token that Keycloak would give one person in 2 groups holds them in the claim "groups", as groupsync names them
✔ sign-in-groups: the mapper "groups" of the client puts the groups into the claim "groups" of the access token, as names without their path
✔ sign-in-other-mappers: no mapper other than a group membership mapper writes into the claim "groups" of the access token, unless ClearML asks for the optional client scope "microprofile-jwt"
✔ sign-in-person: mappers add "email", "sub" and "preferred_username" to the access token
✔ sign-in-roles: the mapper "realm roles" of the client scope "roles" adds the claim "realm_access.roles" with realm roles to the access token
`
	if d := cmp.Diff(want, textOf(t, signIn, sound(), true)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// none removes the example, so that only the settings decide.
func none(f *fakeClients) { f.example = nil }

// replace replaces the mapper with that name and scope by others.
func (f *fakeClients) replace(name, scope string, with ...keycloak.Mapper) {
	var kept []keycloak.Mapper
	for _, m := range f.client.Mappers {
		if m.Name == name && m.Scope == scope {
			kept = append(kept, with...)
			continue
		}
		kept = append(kept, m)
	}
	f.client.Mappers = kept
}

func TestMapper(t *testing.T) {
	const (
		noExample = `! sign-in-token: groupsync could not simulate a sign-in, because the groups that it looked at have no enabled local account as a member. The checks below use only the settings of the client
    put a local account of Keycloak into one of the groups, for example one made for tests
`
		allTheSame = `. What Keycloak would give one person is correct nevertheless
`
		lightweightOff = `, or switch off "Always use lightweight access token" in Clients > web > Advanced > Advanced settings
`
		pairwise = `ClearML then keeps an id that the realm does not have, so groupsync treats the person as deleted and created again, and grants nothing
`
	)
	for _, tt := range []struct {
		name   string
		change func(*signin.Options, *fakeClients)
		want   string
	}{
		{"ClearML's client is not known: nothing is asked", func(s *signin.Options, f *fakeClients) { s.ClientID, f.clientErr = "", errors.New("asked") },
			`! sign-in-client: groupsync does not know ClearML's client in Keycloak, so it did not look at the client and its mappers
    set keycloak.clearml_client_id to the client that ClearML signs people in by, or name the file of ClearML's variables with --clearml-env
`},
		{"a client that cannot be read is no client that is missing", func(_ *signin.Options, f *fakeClients) { f.client, f.clientErr = nil, errors.New("403") },
			`! sign-in-client: groupsync could not complete this check: 403
    assign the role view-clients of realm-management if it is missing; a pass needs the role only for admins.role
` + notMade("redirect", "token", "groups", "other-mappers", "person", "roles")},
		{"no such client", func(s *signin.Options, f *fakeClients) { s.AdminRole, f.client = "", nil },
			`✘ sign-in-client: the realm has no client "web", so nobody can sign in to ClearML by it
    set keycloak.clearml_client_id to the client id that ClearML has, or register the client in Keycloak
` + notMade("redirect", "token", "groups", "other-mappers", "person")},

		// Redirect URIs.
		{"no redirect URI", func(_ *signin.Options, f *fakeClients) { f.client.RedirectURIs = nil },
			`✘ sign-in-redirect: no redirect URI of the client "web" is the address of ClearML's web application with /callback_keycloak, so Keycloak refuses every sign-in to ClearML
    add the address of ClearML's web application with /callback_keycloak to "Valid redirect URIs" in Clients > web > Settings > Access settings
`},
		{"redirect URIs that are nearly right", func(_ *signin.Options, f *fakeClients) {
			f.client.RedirectURIs = []string{"/callback_keycloak", "https://app.example.com/callback_keycloak/", "https://app.example.com/callback_keycloak?a=b", "https://app.example.com/callback"}
		},
			`✘ sign-in-redirect: no redirect URI of the client "web" is the address of ClearML's web application with /callback_keycloak, so Keycloak refuses every sign-in to ClearML
    add the address of ClearML's web application with /callback_keycloak to "Valid redirect URIs" in Clients > web > Settings > Access settings
`},
		{"a web application below a path", func(_ *signin.Options, f *fakeClients) {
			f.client.RedirectURIs = []string{"https://example.com/clearml/callback_keycloak", "https://other.example.com/"}
		}, ""},
		{"wildcards that fit", func(_ *signin.Options, f *fakeClients) {
			f.client.RedirectURIs = []string{"*", "https://*", "https://app.example.com*", "https://app.example.com/*", "https://*.example.com/callback_keycloak"}
		},
			`! sign-in-redirect: the redirect URI "*" of the client "web" has a wildcard, so the code of a sign-in can be sent to another server
    replace it by the address of ClearML's web application with /callback_keycloak, in "Valid redirect URIs" in Clients > web > Settings > Access settings
! sign-in-redirect: the redirect URI "https://*" of the client "web" has a wildcard, so the code of a sign-in can be sent to another server
    replace it by the address of ClearML's web application with /callback_keycloak, in "Valid redirect URIs" in Clients > web > Settings > Access settings
! sign-in-redirect: the redirect URI "https://app.example.com*" of the client "web" has a wildcard, so the code of a sign-in can be sent to another page, and in older releases of Keycloak (24.0 and 26.0, not 26.7) to another server: https://app.example.com.example.org fits too
    replace it by the address of ClearML's web application with /callback_keycloak, in "Valid redirect URIs" in Clients > web > Settings > Access settings
! sign-in-redirect: the redirect URI "https://app.example.com/*" of the client "web" has a wildcard, so the code of a sign-in can be sent to another page
    replace it by the address of ClearML's web application with /callback_keycloak, in "Valid redirect URIs" in Clients > web > Settings > Access settings
`},
		{"wildcards that nothing fits", func(_ *signin.Options, f *fakeClients) {
			f.client.RedirectURIs = []string{"https://*.example.com/callback_keycloak", "https://*.example.com/*", "https://app.example.com/?a=*", "myapp:*"}
		},
			`✘ sign-in-redirect: no redirect URI of the client "web" is the address of ClearML's web application with /callback_keycloak, so Keycloak refuses every sign-in to ClearML. Keycloak treats a * as a wildcard only at the end of a URI, and not in "https://*.example.com/callback_keycloak", "https://*.example.com/*", "https://app.example.com/?a=*" and "myapp:*"
    add the address of ClearML's web application with /callback_keycloak to "Valid redirect URIs" in Clients > web > Settings > Access settings
`},
		{"a wildcard that nothing fits does no harm beside the right one", func(_ *signin.Options, f *fakeClients) {
			f.client.RedirectURIs = append(f.client.RedirectURIs, "https://*.example.com/callback_keycloak")
		}, ""},
		{"a wildcard beside the right one", func(_ *signin.Options, f *fakeClients) {
			f.client.RedirectURIs = append(f.client.RedirectURIs, "https://app.example.com/callback_keycloak*")
		},
			`! sign-in-redirect: the redirect URI "https://app.example.com/callback_keycloak*" of the client "web" has a wildcard, so the code of a sign-in can be sent to another page
    remove it from "Valid redirect URIs" in Clients > web > Settings > Access settings
`},

		// The group membership mapper.
		{"no group mapper", func(_ *signin.Options, f *fakeClients) { none(f); f.replace("groups", "") }, noExample +
			`✘ sign-in-groups: the client "web" has no group membership mapper, so no sign-in gives ClearML a group
    add a mapper "Group Membership" with the token claim name groups in Clients > web > Client scopes > web-dedicated
`},
		{"no group mapper, but a token that is right", func(_ *signin.Options, f *fakeClients) { f.replace("groups", "") },
			`! sign-in-groups: the client "web" has no group membership mapper, so no sign-in gives ClearML a group` + allTheSame +
				`    add a mapper "Group Membership" with the token claim name groups in Clients > web > Client scopes > web-dedicated
`},
		{"no group mapper, and a token that shows it", func(_ *signin.Options, f *fakeClients) { f.example = exampleOf(nil); f.replace("groups", "") },
			`✘ sign-in-token: the access token that Keycloak would give one person in 2 groups has no claim "groups"
` + seeGroups + `✘ sign-in-groups: the client "web" has no group membership mapper, so no sign-in gives ClearML a group
    add a mapper "Group Membership" with the token claim name groups in Clients > web > Client scopes > web-dedicated
`},
		{"another claim name", func(_ *signin.Options, f *fakeClients) {
			none(f)
			f.replace("groups", "", groupMapper("claim.name=teams"))
		}, noExample +
			`✘ sign-in-groups: the mapper "groups" of the client writes groups into the claim "teams", but groups.claim is "groups"
    set "Token Claim Name" to groups in Clients > web > Client scopes > web-dedicated > Mappers > groups, or set groups.claim and ClearML's variable groups__claim to teams
`},
		{"the claim that groups.claim names", func(s *signin.Options, f *fakeClients) {
			none(f)
			s.Claim = "teams"
			f.replace("groups", "", groupMapper("claim.name=teams"))
		}, noExample},
		{"a claim in an object", func(s *signin.Options, f *fakeClients) {
			s.Claim, f.example = "clearml.groups", exampleOf(nil)
			f.example.Claims["clearml"] = map[string]any{"groups": []any{"ops", "eng"}}
			f.replace("groups", "", groupMapper("claim.name=clearml.groups"))
		}, ""},
		{"a claim with a dot in its name is no claim in an object", func(s *signin.Options, f *fakeClients) {
			s.Claim, f.example = `clearml\.groups`, exampleOf(nil)
			f.example.Claims["clearml.groups"] = []any{"ops", "eng"}
			f.replace("groups", "", groupMapper(`claim.name=clearml\.groups`))
		}, ""},
		{"a claim in an object, and the token has one with a dot in its name", func(s *signin.Options, f *fakeClients) {
			s.Claim, f.example = "clearml.groups", exampleOf(nil)
			f.example.Claims["clearml.groups"] = []any{"ops", "eng"}
			f.replace("groups", "", groupMapper("claim.name=clearml.groups"))
		},
			`✘ sign-in-token: the access token that Keycloak would give one person in 2 groups has no claim "clearml.groups"
` + seeGroups},
		{"a claim for the name in an object", func(s *signin.Options, f *fakeClients) {
			s.NameClaim = "person.name"
			f.example.Claims["person"] = map[string]any{"name": "hidden"}
			f.replace("username", "profile", mapper("username", attribute, "profile", "person.name"))
		}, ""},
		{"a second mapper for another claim is no matter", func(_ *signin.Options, f *fakeClients) {
			f.replace("groups", "", groupMapper(), mapper("paths", keycloak.GroupMembership, "", "paths", "full.path=true"))
		}, ""},
		{"full paths where names are expected", func(_ *signin.Options, f *fakeClients) {
			f.example = exampleOf([]any{"/eng", "/x/ops"})
			f.replace("groups", "", groupMapper("full.path=true"))
		},
			`✘ sign-in-token: the access token that Keycloak would give one person in 2 groups holds them in the claim "groups" as full paths, but groups.full_path is false
` + seeGroups + `✘ sign-in-groups: the mapper "groups" of the client writes groups as full paths, but groups.full_path is false, so the sign-in and groupsync name the groups differently
    switch "Full group path" off in Clients > web > Client scopes > web-dedicated > Mappers > groups, or set groups.full_path to true
`},
		{"names where full paths are expected, in a shared scope", func(s *signin.Options, f *fakeClients) {
			none(f)
			s.FullPath = true
			f.replace("groups", "", mapper("members", keycloak.GroupMembership, "teams", "groups"))
		}, noExample +
			`✘ sign-in-groups: the mapper "members" of the client scope "teams" writes groups as names without their path, but groups.full_path is true, so the sign-in and groupsync name the groups differently
    switch "Full group path" on in Client scopes > teams > Mappers > members, or set groups.full_path to false
`},
		{"full paths where they are expected", func(s *signin.Options, f *fakeClients) {
			s.FullPath, f.example = true, exampleOf([]any{"/x/ops", "/eng"})
			f.replace("groups", "", groupMapper("full.path=true"))
		}, ""},
		{"not added to the access token", func(_ *signin.Options, f *fakeClients) {
			none(f)
			f.replace("groups", "", groupMapper("access.token.claim=false"))
		}, noExample +
			`✘ sign-in-groups: the mapper "groups" of the client does not add the claim "groups" to the access token, which is what ClearML reads
    switch on "Add to access token" in Clients > web > Client scopes > web-dedicated > Mappers > groups
`},
		{"not added to the user-info answer", func(s *signin.Options, f *fakeClients) {
			none(f)
			s.Userinfo, s.AdminRole = true, ""
			f.replace("groups", "", groupMapper("userinfo.token.claim=false"))
		}, noExample +
			`✘ sign-in-groups: the mapper "groups" of the client does not add the claim "groups" to the user-info answer, which is what ClearML reads
    switch on "Add to userinfo" in Clients > web > Client scopes > web-dedicated > Mappers > groups
`},
		{"a mapper older than the setting follows the ID token", func(s *signin.Options, f *fakeClients) {
			s.Userinfo, s.AdminRole = true, ""
			delete(f.client.Mappers[0].Config, "userinfo.token.claim")
		}, ""},
		{"lightweight access tokens, in which no mapper writes", func(s *signin.Options, f *fakeClients) {
			none(f)
			f.client.Lightweight, s.AdminRole, s.NameClaim = true, "", ""
		}, noExample +
			`✘ sign-in-groups: the mapper "groups" of the client does not add the claim "groups" to the lightweight access token, which is what ClearML reads
    switch on "Add to lightweight access token" in Clients > web > Client scopes > web-dedicated > Mappers > groups` + lightweightOff +
			`✘ sign-in-person: no mapper adds the claim "email" to the lightweight access token. ClearML needs it to know the email of a person
    make the client scope "email" a default scope in Clients > web > Client scopes, and leave the setting "Add to lightweight access token" on in the mapper of this claim` + lightweightOff +
			`✘ sign-in-person: no mapper adds the claim "sub" to the lightweight access token. ClearML needs it to know the id of a person
    make the client scope "basic" a default scope in Clients > web > Client scopes, and leave the setting "Add to lightweight access token" on in the mapper of this claim` + lightweightOff},
		{"lightweight access tokens, in which every mapper writes", func(_ *signin.Options, f *fakeClients) {
			f.client.Lightweight = true
			for _, m := range f.client.Mappers {
				m.Config["lightweight.claim"], m.Config["access.token.claim"] = "true", "false"
			}
		}, ""},
		{"lightweight access tokens do not matter to the user-info answer", func(s *signin.Options, f *fakeClients) {
			f.client.Lightweight, s.Userinfo = true, true
		}, ""},
		{"two mappers of one form", func(_ *signin.Options, f *fakeClients) {
			f.replace("groups", "", groupMapper(), mapper("members", keycloak.GroupMembership, "teams", "groups"))
		},
			`! sign-in-groups: the mapper "groups" of the client and the mapper "members" of the client scope "teams" write the groups into the claim "groups" of the access token
    keep one of them, with "Full group path" off
`},
		{"two mappers of one form, and a token that is wrong", func(_ *signin.Options, f *fakeClients) {
			f.example = exampleOf([]any{"eng"})
			f.replace("groups", "", groupMapper(), mapper("members", keycloak.GroupMembership, "teams", "groups"))
		},
			`✘ sign-in-token: the access token that Keycloak would give one person in 2 groups does not hold exactly these in the claim "groups" (missing: 1, others: 0)
` + seeBoth + `✘ sign-in-groups: the mapper "groups" of the client and the mapper "members" of the client scope "teams" write the groups into the claim "groups" of the access token, and what Keycloak would give one person is wrong
    keep one of them, with "Full group path" off
`},
		{"two mappers of one form, which is the wrong one", func(_ *signin.Options, f *fakeClients) {
			none(f)
			f.replace("groups", "", groupMapper("full.path=true"), mapper("members", keycloak.GroupMembership, "teams", "groups", "full.path=true"))
		}, noExample +
			`✘ sign-in-groups: the mapper "groups" of the client writes groups as full paths, but groups.full_path is false, so the sign-in and groupsync name the groups differently
    switch "Full group path" off in Clients > web > Client scopes > web-dedicated > Mappers > groups, or set groups.full_path to true
! sign-in-groups: the mapper "groups" of the client and the mapper "members" of the client scope "teams" write the groups into the claim "groups" of the access token
    keep one of them, with "Full group path" off
`},
		{"two mappers of two forms", func(s *signin.Options, f *fakeClients) {
			none(f)
			s.FullPath = true
			f.replace("groups", "", groupMapper(), mapper("members", keycloak.GroupMembership, "teams", "groups", "full.path=true"))
		}, noExample +
			`✘ sign-in-groups: the mapper "groups" of the client and the mapper "members" of the client scope "teams" write the groups into the claim "groups" of the access token, some as full paths and some as names, so the claim holds two names of each group
    keep one of them, with "Full group path" on
`},
		{"two mappers of two forms, and a token that is right", func(_ *signin.Options, f *fakeClients) {
			f.replace("groups", "", groupMapper(), mapper("members", keycloak.GroupMembership, "teams", "groups", "full.path=true"))
		},
			`! sign-in-groups: the mapper "groups" of the client and the mapper "members" of the client scope "teams" write the groups into the claim "groups" of the access token, some as full paths and some as names, so the claim holds two names of each group` + allTheSame +
				`    keep one of them, with "Full group path" off
`},
		{"two mappers, of which one writes elsewhere", func(_ *signin.Options, f *fakeClients) {
			f.replace("groups", "", groupMapper(), mapper("members", keycloak.GroupMembership, "teams", "groups", "full.path=true", "access.token.claim=false"))
		}, ""},
		{"a mapper in an optional scope, in the wrong form", func(_ *signin.Options, f *fakeClients) {
			none(f)
			f.replace("groups", "", optional(mapper("members", keycloak.GroupMembership, "teams", "groups", "full.path=true")))
		}, noExample +
			`! sign-in-groups: the mapper "members" of the client scope "teams" works only if ClearML asks for that scope, because the scope is an optional client scope of "web"
    make "teams" a default scope in Clients > web > Client scopes
✘ sign-in-groups: the mapper "members" of the client scope "teams" writes groups as full paths, but groups.full_path is false, so the sign-in and groupsync name the groups differently
    switch "Full group path" off in Client scopes > teams > Mappers > members, or set groups.full_path to true
`},

		// Mappers of another kind that write the group claim.
		{"realm roles in the group claim", func(_ *signin.Options, f *fakeClients) {
			f.example = exampleOf([]any{"eng", "ops", "offline_access", "admin"})
			f.replace("groups", "microprofile-jwt", mapper("groups", keycloak.RealmRoles, "microprofile-jwt", "groups"), mapper("extra", attribute, "", "groups"))
		},
			`✘ sign-in-token: the access token that Keycloak would give one person in 2 groups does not hold exactly these in the claim "groups" (missing: 0, others: 2)
` + seeBoth + `✘ sign-in-other-mappers: the mapper "groups" of the client scope "microprofile-jwt" (oidc-usermodel-realm-role-mapper) writes into the claim "groups" of the access token too, and ClearML treats these values as names of groups
    give it another "Token Claim Name" in Client scopes > microprofile-jwt > Mappers > groups, or remove the client scope "microprofile-jwt" in Clients > web > Client scopes
✘ sign-in-other-mappers: the mapper "extra" of the client (oidc-usermodel-attribute-mapper) writes into the claim "groups" of the access token too, and ClearML treats these values as names of groups
    give it another "Token Claim Name" in Clients > web > Client scopes > web-dedicated > Mappers > extra
`},
		{"a mapper and a scope with hostile names", func(_ *signin.Options, f *fakeClients) {
			f.client.Mappers = append(f.client.Mappers, mapper("a\x1b[31m\n✔ b", attribute, "\u202ec<script>", "groups"))
		},
			`✘ sign-in-other-mappers: the mapper "a\x1b[31m\n✔ b" of the client scope "\u202ec<script>" (oidc-usermodel-attribute-mapper) writes into the claim "groups" of the access token too, and ClearML treats these values as names of groups
    give it another "Token Claim Name" in Client scopes > \u202ec<script> > Mappers > a\x1b[31m\n✔ b, or remove the client scope "\u202ec<script>" in Clients > web > Client scopes
`},
		{"another mapper that writes the claim elsewhere", func(_ *signin.Options, f *fakeClients) {
			f.replace("groups", "", groupMapper(), mapper("extra", attribute, "", "groups", "access.token.claim=false"))
		}, ""},
		{"a claim that is one text", func(_ *signin.Options, f *fakeClients) { f.example = exampleOf("staff") },
			`✘ sign-in-token: the access token that Keycloak would give one person in 2 groups does not hold exactly these in the claim "groups" (missing: 2, others: 1)
` + seeBoth},

		// Who signs in.
		{"an example without id, email and name", func(_ *signin.Options, f *fakeClients) {
			f.example.Claims = map[string]any{"groups": []any{"eng", "ops"}}
		},
			`✘ sign-in-token: the access token that Keycloak would give one person has no claim "sub"
` + seePerson + `✘ sign-in-token: the access token that Keycloak would give one person has no claim "email", although the account has an email
` + seePerson + `! sign-in-token: the access token that Keycloak would give one person has no claim "preferred_username", which ClearML reads the name from
` + seeName},
		{"an account without an email", func(_ *signin.Options, f *fakeClients) {
			f.example.Person.Email = ""
			delete(f.example.Claims, "email")
		}, ""},
		{"pairwise subjects", func(_ *signin.Options, f *fakeClients) {
			f.example.Claims["sub"] = "hash"
			f.client.Mappers = append(f.client.Mappers, keycloak.Mapper{Name: "pairwise", Kind: keycloak.PairwiseSubject})
		},
			`✘ sign-in-token: the access token that Keycloak would give one person has a claim "sub" that is not the id of the account. ` + pairwise +
				seePerson + `✘ sign-in-person: the mapper "pairwise" of the client (oidc-sha256-pairwise-sub-mapper) replaces the id of the account in the claim "sub". ` + pairwise +
				`    remove the mapper in Clients > web > Client scopes > web-dedicated > Mappers > pairwise
`},
		{"no mapper of the id", func(_ *signin.Options, f *fakeClients) { f.replace("sub", "basic") },
			`✘ sign-in-person: no mapper adds the claim "sub" to the access token. ClearML needs it to know the id of a person
    make the client scope "basic" a default scope in Clients > web > Client scopes, and leave the setting "Add to access token" on in the mapper of this claim
`},
		{"no mapper of the id in a realm that has none", func(_ *signin.Options, f *fakeClients) {
			f.client.SubjectMapper = false
			f.replace("sub", "basic")
		}, ""},
		{"no mapper of the id, where the user-info answer is read", func(s *signin.Options, f *fakeClients) {
			s.Userinfo = true
			f.replace("sub", "basic")
		}, ""},
		{"no email, and a name in an optional scope", func(_ *signin.Options, f *fakeClients) {
			f.replace("email", "email")
			f.replace("username", "profile", optional(mapper("username", attribute, "profile", "preferred_username")))
		},
			`✘ sign-in-person: no mapper adds the claim "email" to the access token. ClearML needs it to know the email of a person
    make the client scope "email" a default scope in Clients > web > Client scopes, and leave the setting "Add to access token" on in the mapper of this claim
! sign-in-person: the claim "preferred_username" is in the access token only if ClearML asks for the optional client scope "profile"
    make it a default scope in Clients > web > Client scopes
`},
		{"the name that ClearML's variable names is missing", func(_ *signin.Options, f *fakeClients) { f.replace("username", "profile") },
			`✘ sign-in-person: no mapper adds the claim "preferred_username" to the access token. ClearML needs it to know the name of a person
    make the client scope "profile" a default scope in Clients > web > Client scopes, and leave the setting "Add to access token" on in the mapper of this claim
`},
		{"the email is the name, and is missing", func(s *signin.Options, f *fakeClients) {
			s.NameClaim = "email"
			f.replace("email", "email")
		},
			`✘ sign-in-person: no mapper adds the claim "email" to the access token. ClearML needs it to know the email of a person
    make the client scope "email" a default scope in Clients > web > Client scopes, and leave the setting "Add to access token" on in the mapper of this claim
`},
		{"the name that no variable names may be missing", func(s *signin.Options, f *fakeClients) {
			s.NameClaim = ""
			f.replace("username", "profile")
		}, ""},
		{"the id is the name, and the user-info answer has it without a mapper", func(s *signin.Options, f *fakeClients) {
			s.NameClaim, s.Userinfo, s.AdminRole = "sub", true, ""
			f.replace("sub", "basic")
		}, ""},
		{"the full name has a mapper without a claim name", func(s *signin.Options, f *fakeClients) {
			s.NameClaim, f.example.Claims["name"] = "name", "hidden"
			f.replace("username", "profile", mapper("full name", keycloak.FullName, "profile", ""))
		}, ""},

		// The roles claim.
		{"realm roles are not added to the user-info answer", func(s *signin.Options, f *fakeClients) {
			s.Userinfo = true
			f.replace("realm roles", "roles", mapper("realm roles", keycloak.RealmRoles, "roles", "realm_access.roles", "userinfo.token.claim=false"))
		},
			`✘ sign-in-roles: no mapper adds a claim "roles" with realm roles to the user-info answer, so no sign-in shows ClearML the role "boss" of its administrators
    make the client scope "roles" a default scope in Clients > web > Client scopes, and switch on "Add to userinfo" in its mapper "realm roles"; or set admins.role and ClearML's variable admin_role to ""
`},
		{"no roles, but no role is used either", func(s *signin.Options, f *fakeClients) {
			s.AdminRole = ""
			f.replace("realm roles", "roles")
		}, ""},
		{"roles in an optional scope", func(_ *signin.Options, f *fakeClients) {
			f.replace("realm roles", "roles", optional(mapper("realm roles", keycloak.RealmRoles, "roles", "roles")))
		},
			`! sign-in-roles: the realm roles are in the access token only if ClearML asks for the optional client scope "roles"
    make it a default scope in Clients > web > Client scopes
`},
		{"roles with a prefix", func(_ *signin.Options, f *fakeClients) {
			f.replace("realm roles", "roles", mapper("realm roles", keycloak.RealmRoles, "roles", "roles", "usermodel.realmRoleMapping.rolePrefix=kc-"))
		},
			`✘ sign-in-roles: the mapper "realm roles" of the client scope "roles" puts "kc-" before the names of roles, so ClearML does not see the role "boss" by its name
    remove the prefix in Client scopes > roles > Mappers > realm roles, or write ClearML's variable admin_role with the prefix
`},
		{"a client's role, by a mapper for another client", func(s *signin.Options, f *fakeClients) {
			s.AdminRole = "web/boss"
			f.replace("client roles", "roles", mapper("client roles", keycloak.ClientRoles, "roles", "roles", "usermodel.clientRoleMapping.clientId=other"))
		},
			`✘ sign-in-roles: no mapper adds a claim "roles" with client roles to the access token, so no sign-in shows ClearML the role "web/boss" of its administrators
    make the client scope "roles" a default scope in Clients > web > Client scopes, and switch on "Add to access token" in its mapper "client roles"; or set admins.role and ClearML's variable admin_role to ""
`},
		{"a client's role, by a mapper for that client", func(s *signin.Options, f *fakeClients) {
			s.AdminRole = "web/boss"
			f.replace("client roles", "roles", mapper("client roles", keycloak.ClientRoles, "roles", "roles", "usermodel.clientRoleMapping.clientId=web"))
		}, ""},
		{"a role outside the client's scope", func(_ *signin.Options, f *fakeClients) { f.client.FullScope, f.granted = false, false },
			`✘ sign-in-roles: "Full scope allowed" of the client "web" is off, and the role "boss" is not in its scope, so no token holds the role
    switch on "Full scope allowed" in Clients > web > Client scopes > web-dedicated > Scope, or assign the role there
`},
		{"a role within the client's scope", func(_ *signin.Options, f *fakeClients) { f.client.FullScope = false }, ""},
		{"a scope that cannot be read", func(_ *signin.Options, f *fakeClients) {
			f.client.FullScope, f.scopeErr = false, errors.New("500")
		},
			`! sign-in-roles: groupsync could not complete this check: 500
    look whether the role is listed in Clients > web > Client scopes > web-dedicated > Scope, because "Full scope allowed" is off there
`},

		// The client itself.
		{"a client that is disabled and without the standard flow", func(s *signin.Options, f *fakeClients) {
			s.AdminRole, f.client.Enabled, f.client.StandardFlow = "", false, false
		},
			`✘ sign-in-client: the client "web" is disabled, so nobody can sign in to ClearML
    switch on "Enabled" in Clients > web
✘ sign-in-client: the standard flow of the client "web" is off, so nobody can sign in to ClearML with a browser
    switch on "Standard flow" in Clients > web > Settings > Capability config
`},
		{"a service account that can change people", func(_ *signin.Options, f *fakeClients) {
			f.client.ServiceRoles = []string{"manage-users", "view-realm"}
		},
			`! sign-in-client: the service account of the client "web" has manage-users and view-realm of realm-management, so anybody who has the secret of ClearML's sign-in has these rights
    ClearML's sign-in needs no service account: remove the roles in Clients > web > Service account roles
`},
		{"groupsync's own client is ClearML's", func(s *signin.Options, f *fakeClients) {
			s.Own, f.client.ServiceRoles = "web", []string{"view-users"}
		},
			`! sign-in-client: groupsync signs in to Keycloak with ClearML's own client "web", so anybody who has the secret of ClearML's sign-in can read the whole realm
    make a client for groupsync alone, name it in keycloak.client_id, and take the service account away from ClearML's client
`},
		{"an example that cannot be had", func(_ *signin.Options, f *fakeClients) { f.example, f.exampleErr = nil, errors.New("403") },
			`! sign-in-token: groupsync could not complete this check: 403
    the checks below use only the settings of the client
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, read := signIn, sound()
			tt.change(&s, read)
			got := textOf(t, s, read, false)
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
			if strings.Contains(got, "hidden") {
				t.Errorf("a person is named:\n%s", got)
			}
		})
	}
}

// TestMapperIsDocumented: each check has a heading in docs/check.md.
func TestMapperIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/check.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range signin.Checks(signIn, sound()) {
		if !strings.Contains(string(page), "\n### "+c.Name+"\n") {
			t.Errorf("docs/check.md has no heading %q", c.Name)
		}
	}
}
