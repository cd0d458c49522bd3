package keycloak

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/fault"
	"groupsync/internal/source"
)

const theClient = `[{"id":"c1","clientId":"web","enabled":true,"standardFlowEnabled":true,"rootUrl":"https://app.example.com/",
	"redirectUris":["/callback_keycloak","https://a.example.com/*"],"attributes":{"client.use.lightweight.access.token.enabled":"true"},
	"protocolMappers":[{"name":"z","protocol":"openid-connect","protocolMapper":"k"},{"name":"groups","protocol":"openid-connect","protocolMapper":"oidc-group-membership-mapper","config":{"full.path":"true"}}],
	"defaultClientScopes":["basic"],"optionalClientScopes":["jwt"]}]`

const theScopes = `[{"name":"jwt","protocolMappers":[{"name":"b","protocol":"openid-connect","protocolMapper":"k"}]},
	{"name":"unused","protocolMappers":[{"name":"never","protocol":"openid-connect","protocolMapper":"k"}]},
	{"name":"basic","protocolMappers":[{"name":"sub","protocol":"openid-connect","protocolMapper":"oidc-sub-mapper"},{"name":"saml","protocol":"saml","protocolMapper":"k"}]},
	{"name":"empty"}]`

func TestClientHasTheMappersOfItsScopes(t *testing.T) {
	f, s := newFake(t, nil)
	f.roles = append(f.roles, viewClients)
	f.answers["/clients"], f.answers["/client-scopes"] = answer(theClient), answer(theScopes)
	got, err := s.Client(t.Context(), "web")
	if err != nil {
		t.Fatal(err)
	}
	want := &Client{
		ID: "c1", ClientID: "web", Enabled: true, StandardFlow: true, Lightweight: true, SubjectMapper: true,
		RedirectURIs: []string{"https://a.example.com/*", "https://app.example.com/callback_keycloak"},
		Mappers: []Mapper{
			{Name: "groups", Kind: GroupMembership, Config: map[string]string{"full.path": "true"}},
			{Name: "z", Kind: "k"},
			{Name: "sub", Kind: Subject, Scope: "basic"},
			{Name: "b", Kind: "k", Scope: "jwt", Optional: true},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestClientThatCannotBeRead(t *testing.T) {
	for _, row := range []struct {
		name            string
		roles           []string
		clients, scopes string
		reason          fault.Reason
		want            string
	}{
		{"without view-clients, an empty list proves nothing", []string{viewUsers, viewRealm, "query-clients"}, `[]`, `[]`, fault.Forbidden,
			`reading the client web: the service account of the client "groupsync" lacks view-clients of realm-management. groupsync did not complete this read. To fix it, assign view-clients in Clients > groupsync > Service account roles`},
		{"a scope that is not in the list", []string{viewUsers, viewRealm, viewClients}, theClient, `[]`, fault.Incomplete,
			`reading the client scopes: the client web has the scope "basic", which is not in the realm's list; run again`},
		{"no list", []string{viewUsers, viewRealm, viewClients}, `null`, `[]`, fault.Shape,
			`reading the client web: Keycloak answered null instead of a list; check the proxies between groupsync and Keycloak`},
	} {
		t.Run(row.name, func(t *testing.T) {
			f, s := newFake(t, nil)
			f.roles = row.roles
			f.answers["/clients"], f.answers["/client-scopes"] = answer(row.clients), answer(row.scopes)
			c, err := s.Client(t.Context(), "web")
			if c != nil {
				t.Errorf("a client came of it: %+v", c)
			}
			wantError(t, err, row.reason, row.want)
		})
	}
}

func TestClientThatIsNotThere(t *testing.T) {
	f, s := newFake(t, nil)
	f.roles = append(f.roles, viewClients)
	f.answers["/clients"] = answer(`[{"id":"c2","clientId":"web2"}]`)
	if c, err := s.Client(t.Context(), "web"); c != nil || err != nil {
		t.Errorf("got %+v, %v; want neither a client nor an error", c, err)
	}
}

// TestExampleIsOfALocalPerson: Example skips federated people, disabled accounts, service
// accounts, and groups whose members cannot be listed.
func TestExampleIsOfALocalPerson(t *testing.T) {
	f, s := newFake(t, nil)
	f.answers["/groups/g1/members"] = status(500, "application/json", `{"error":"unknown_error"}`)
	f.answers["/groups/g2/members"] = answer(`[{"id":"u1","username":"a","enabled":true,"federationLink":"ldap"},{"id":"u2","username":"b","enabled":false},{"id":"u3","username":"service-account-x","enabled":true}]`)
	f.answers["/groups/g3/members"] = answer(`[{"id":"u4","username":"d","enabled":true}]`)
	f.answers["/clients/c1/evaluate-scopes/generate-example-access-token"] = answer(`{"groups":["night"]}`)
	f.answers["/clients/c1/evaluate-scopes/generate-example-userinfo"] = answer(`{"groups":["from user-info"]}`)
	f.answers["/users/u4/groups"] = answer(`[{"id":"g3","name":"night","path":"/eng/night"}]`)
	want := &Example{Claims: map[string]any{"groups": []any{"night"}}, Person: source.User{ID: "u4", Username: "d", Enabled: true}, Groups: []source.Group{{ID: "g3", Name: "night", Path: "/eng/night"}}}
	for userinfo, groups := range map[bool]string{false: "night", true: "from user-info"} {
		want.Claims["groups"] = []any{groups}
		got, err := s.Example(t.Context(), &Client{ID: "c1", ClientID: "web"}, userinfo)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("user-info %t: -want +got\n%s", userinfo, d)
		}
	}
	f.answers["/users/u4/groups"] = answer(`[]`)
	if e, err := s.Example(t.Context(), &Client{ID: "c1"}, false); e != nil || err != nil {
		t.Errorf("with a person who is in no group any more: got %+v, %v; want neither", e, err)
	}
	f.answers["/groups/g3/members"] = answer(`[]`)
	if e, err := s.Example(t.Context(), &Client{ID: "c1"}, false); e != nil || err != nil {
		t.Errorf("with nobody fit: got %+v, %v; want neither", e, err)
	}
	f.answers["/groups/g3/members"] = status(403, "application/json", `{"error":"HTTP 403 Forbidden"}`)
	_, err := s.Example(t.Context(), &Client{ID: "c1"}, false)
	wantError(t, err, fault.Forbidden, "reading members of the group night", "the role view-users of realm-management")
}
