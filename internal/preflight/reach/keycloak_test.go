package reach_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/preflight"
	"groupsync/internal/preflight/reach"
	"groupsync/internal/source"
	"groupsync/internal/source/keycloak"
	"groupsync/internal/source/keycloaktest"
)

// reaching is the configuration of groupsync for a realm. A row can change it.
type reaching struct {
	keycloak keycloak.Config
	options  reach.KeycloakOptions
}

func reachingOf(r *keycloaktest.Realm) *reaching {
	secret := r.Secret
	return &reaching{
		keycloak.Config{URL: r.Server.URL, Realm: r.Name, ClientID: r.ClientID, ClientSecret: func() (string, error) { return secret, nil }},
		reach.KeycloakOptions{Address: reach.Address{Side: "keycloak", URL: r.Server.URL}, Realm: r.Name, ClientID: r.ClientID},
	}
}

// at changes the address of Keycloak.
func (c *reaching) at(url, ca string) {
	c.keycloak.URL, c.keycloak.CAFile = url, ca
	c.options.Address.URL, c.options.Address.CAFile = url, ca
}

func (c *reaching) checks(t *testing.T) []preflight.Check {
	t.Helper()
	s, err := keycloak.New(c.keycloak)
	must(t, err)
	return reach.Keycloak(s, c.options)
}

// lifespan replaces the remaining life of a token by the configured life. Keycloak answers
// with the rest of the life in whole seconds, so one second may be gone.
var lifespan = strings.NewReplacer(" 19s", " 20s", " 4m59s", " 5m0s", " 9h59m59s", " 10h0m0s").Replace

func TestAKeycloakThatIsAsItShouldBe(t *testing.T) {
	r := keycloaktest.Shared(t).NewRealm(t, keycloaktest.Spec{Groups: []string{"/a/b", "/c"}})
	r.GrantClientRole(t, "default-roles-"+r.Name) // as in a realm from the admin console
	ours := newAuthority(t, "Our Authority")
	until := time.Now().Add(90 * day)
	c := reachingOf(r)
	c.at(serveTLS(t, proxyTo(t, r.Server.URL), ours.server(t, -day, 90*day, "127.0.0.1")), ours.file(t))
	start := time.Now()
	got := lifespan(printed(t, c.checks(t)))
	want := `✔ keycloak-dns: the host is the IP address 127.0.0.1, so DNS is not needed
✔ keycloak-tls: TLS 1.3, a certificate chain to "CN=Our Authority" that is valid until ` + until.UTC().Format(time.DateOnly) + `
✔ keycloak-realm: Keycloak has the realm "REALM", whose issuer is URL/realms/REALM
✔ keycloak-credentials: Keycloak accepts the secret of the client "groupsync", by the method client_secret_post
✔ keycloak-token: an access token lives 5m0s
✔ keycloak-scope: the token carries roles of clients and of the realm
✔ keycloak-roles: the token carries view-users and view-realm of realm-management
✔ keycloak-version: Keycloak does not show the client its version. The settings of the realm show that Keycloak is newer than 26.0
✔ keycloak-permissions: fine-grained admin permissions are off
✔ keycloak-groups: Keycloak lists 3 groups, and its count of groups is the same
`
	issuer := "http" + strings.TrimPrefix(c.keycloak.URL, "https") // the proxy does not say that it ends TLS
	if d := cmp.Diff(strings.NewReplacer("REALM", r.Name, "URL", issuer).Replace(want), got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("the checks of Keycloak took %s", took)
	}
}

// proxyTo passes requests on, as a proxy that ends TLS does.
func proxyTo(t *testing.T, address string) http.Handler {
	t.Helper()
	u, err := url.Parse(address)
	must(t, err)
	return httputil.NewSingleHostReverseProxy(u)
}

// TestWhatIsWrongInKeycloak makes each mistake in the real Keycloak.
func TestWhatIsWrongInKeycloak(t *testing.T) {
	server := keycloaktest.Shared(t)
	set := func(key string, value any) func(*testing.T, *keycloaktest.Realm, *reaching) {
		return func(t *testing.T, r *keycloaktest.Realm, _ *reaching) {
			r.EditClient(t, func(client map[string]any) { client[key] = value })
		}
	}
	realm := func(key string, value any) func(*testing.T, *keycloaktest.Realm, *reaching) {
		return func(t *testing.T, r *keycloaktest.Realm, _ *reaching) {
			r.Do(t, http.MethodPut, "", map[string]any{key: value}, nil)
		}
	}
	const assign = "in Clients > groupsync > Service account roles"
	const takeAway = "    remove these roles " + assign + ", or from the group that gives them to the service account\n"
	needs := []string{"view-users", "view-realm"}
	for _, tt := range []struct {
		name    string
		spec    keycloaktest.Spec
		mistake func(*testing.T, *keycloaktest.Realm, *reaching)
		check   string
		want    string
	}{
		{name: "there is no such realm", check: "keycloak-realm",
			mistake: func(_ *testing.T, _ *keycloaktest.Realm, c *reaching) { c.keycloak.Realm = "no-such-realm" },
			want: `✘ keycloak-realm: reading the realm's discovery document: there is no realm "no-such-realm" at URL (404 Realm does not exist). groupsync did not read the realm.
    check keycloak.realm, and the path prefix in keycloak.url
`},
		{name: "the path prefix is wrong", check: "keycloak-realm",
			mistake: func(t *testing.T, r *keycloaktest.Realm, c *reaching) { c.at(r.Server.URL+"/auth", "") },
			want: `✘ keycloak-realm: reading the realm's discovery document: there is no realm "REALM" at URL/auth (404 Unable to find matching target resource method). groupsync did not read the realm.
    check keycloak.realm, and the path prefix in keycloak.url
`},
		{name: "the realm requires HTTPS", check: "keycloak-realm", mistake: realm("sslRequired", "all"),
			want: `✘ keycloak-realm: reading the realm's discovery document: the realm "REALM" requires HTTPS, and the request reached Keycloak as plain HTTP (403 invalid_request: HTTPS required). groupsync did not read the realm.
    put the https:// address of Keycloak into keycloak.url. "Require SSL" in the realm's Realm settings says who may use plain HTTP
`},
		{name: "the realm is switched off", check: "keycloak-credentials", mistake: realm("enabled", false),
			want: `✘ keycloak-credentials: signing in to Keycloak: the realm "REALM" is switched off (403 access_denied: Realm not enabled). groupsync did not read the realm.
    switch on "Enabled" in the realm's Realm settings, or check keycloak.realm
`},
		{name: "the secret is wrong", check: "keycloak-credentials", mistake: set("secret", "another"),
			want: `✘ keycloak-credentials: signing in to Keycloak: the realm "REALM" refuses the client "groupsync" (401 unauthorized_client: Invalid client or Invalid client credentials). The client exists, but Keycloak does not accept the secret. groupsync did not read the realm.
    check keycloak.client_id and the client secret, which Keycloak shows in Clients > groupsync > Credentials
`},
		{name: "the client signs in by a certificate", check: "keycloak-credentials", mistake: set("clientAuthenticatorType", "client-jwt"),
			want: `✘ keycloak-credentials: signing in to Keycloak: the realm "REALM" refuses the client "groupsync" (400 invalid_client: Parameter client_assertion_type is missing). The client is set to sign in by a signed JWT, and groupsync has only a client secret. groupsync did not read the realm.
    set "Client Authenticator" to "Client Id and Secret" in Clients > groupsync > Credentials
`},
		{name: "the client accepts the secret in the header only", check: "keycloak-credentials",
			mistake: func(t *testing.T, r *keycloaktest.Realm, _ *reaching) {
				r.EditClient(t, func(client map[string]any) {
					client["attributes"].(map[string]any)["client.secret.authentication.allowed.method"] = "client_secret_basic"
				})
			},
			want: "✔ keycloak-credentials: Keycloak accepts the secret of the client \"groupsync\", by the method client_secret_basic\n"},
		{name: "the token is short", spec: keycloaktest.Spec{TokenSeconds: 20}, check: "keycloak-token",
			want: `! keycloak-token: an access token lives 20s. A pass renews it every few seconds, and Keycloak refuses a request that is sent after its token has ended
    set "Access Token Lifespan" in Realm settings > Tokens, or for the client in Clients > groupsync > Advanced > Advanced settings, to one minute at least
`},
		{name: "the token is long", spec: keycloaktest.Spec{TokenSeconds: 86400}, check: "keycloak-token",
			want: `! keycloak-token: an access token lives 10h0m0s. Anybody who gets a token can read the realm for that time
    set "Access Token Lifespan" in Realm settings > Tokens, or for the client in Clients > groupsync > Advanced > Advanced settings, to five minutes, for example: groupsync renews it by itself
`},
		{name: "full scope is not allowed", check: "keycloak-scope", mistake: set("fullScopeAllowed", false),
			want: `✘ keycloak-scope: signing in to Keycloak: the access token carries no client roles and no realm roles. groupsync did not read the realm.
    check 3 settings, each of which can be the cause. Assign view-users and view-realm of realm-management in Clients > groupsync > Service account roles. Switch on "Full scope allowed" in Clients > groupsync > Client scopes > groupsync-dedicated > Scope. Keep "roles" among the default scopes in Clients > groupsync > Client scopes
`},
		{name: "full scope is not allowed, and the scope has what is needed", check: "keycloak-scope",
			mistake: func(t *testing.T, r *keycloaktest.Realm, c *reaching) {
				set("fullScopeAllowed", false)(t, r, c)
				r.ScopeClient(t, needs...)
			},
			want: "✔ keycloak-scope: the token carries roles of clients and none of the realm. \"Full scope allowed\" may be off, which is all right if the check keycloak-roles is ok\n"},
		{name: "the token is a lightweight one", spec: keycloaktest.Spec{Lightweight: true}, check: "keycloak-scope",
			want: `✘ keycloak-scope: signing in to Keycloak: the client "groupsync" gets lightweight access tokens: the access token carries no client roles, so groupsync cannot tell what it may read. groupsync did not read the realm.
    switch off "Always use lightweight access token" in Clients > groupsync > Advanced > Advanced settings. If it is off, a client policy of the realm (executor use-lightweight-access-token) sets it
`},
		{name: "a role is missing", spec: keycloaktest.Spec{ServiceRoles: []string{"view-users"}, Roles: []string{"other"}}, check: "keycloak-roles",
			mistake: func(t *testing.T, r *keycloaktest.Realm, _ *reaching) { r.GrantClientRole(t, "other") },
			want: `✘ keycloak-roles: signing in to Keycloak: the access token lacks view-realm of realm-management, without which Keycloak hides people and reports no error. The token carries other roles, so the missing roles are probably not assigned. groupsync did not read the realm.
    assign view-realm of realm-management to the service account of the client "groupsync" in Clients > groupsync > Service account roles. If they are listed there, switch on "Full scope allowed" in Clients > groupsync > Client scopes > groupsync-dedicated > Scope
`},
		{name: "fine-grained permissions in place of view-users", spec: keycloaktest.Spec{ServiceRoles: []string{"query-groups", "view-realm"}, Permissions: true}, check: "keycloak-roles",
			want: `✘ keycloak-roles: signing in to Keycloak: the access token lacks view-users of realm-management, without which Keycloak hides people and reports no error. groupsync did not read the realm. The role query-groups with fine-grained permissions is not enough: Keycloak would then leave hidden groups out of its count of groups too, so groupsync could not detect that groups are missing.
    assign view-users of realm-management to the service account of the client "groupsync" in Clients > groupsync > Service account roles. If they are listed there, switch on "Full scope allowed" in Clients > groupsync > Client scopes > groupsync-dedicated > Scope
`},
		{name: "too many roles", spec: keycloaktest.Spec{ServiceRoles: append([]string{"manage-users", "impersonation"}, needs...), Roles: []string{"boss\u202e", "web/<script>"}}, check: "keycloak-roles",
			mistake: func(t *testing.T, r *keycloaktest.Realm, _ *reaching) {
				r.GrantClientRole(t, "boss\u202e")
				r.GrantClientRole(t, "web/<script>")
			},
			want: "✔ keycloak-roles: the token carries view-users and view-realm of realm-management\n" +
				"! keycloak-roles: the token carries roles of the client realm-management that groupsync never uses: impersonation, manage-users. Anybody who gets the client secret has these roles too\n" + takeAway +
				"! keycloak-roles: the token carries roles of the client web that groupsync never uses: <script>. Anybody who gets the client secret has these roles too\n" + takeAway +
				"! keycloak-roles: the token carries roles of the realm that groupsync never uses: boss\\u202e. Anybody who gets the client secret has these roles too\n" + takeAway},
		{name: "a role that everybody new in the realm holds is not too much", spec: keycloaktest.Spec{Roles: []string{"staff", "inner"}, Composites: map[string][]string{"staff": {"inner"}}}, check: "keycloak-roles",
			mistake: func(t *testing.T, r *keycloaktest.Realm, _ *reaching) {
				r.AddDefaultRole(t, "staff")
				r.GrantClientRole(t, "staff")
			},
			want: "✔ keycloak-roles: the token carries view-users and view-realm of realm-management\n"},
		{name: "the admin role is a client's, and clients may not be seen", spec: keycloaktest.Spec{Roles: []string{"web/admin"}}, check: "keycloak-roles",
			mistake: func(_ *testing.T, _ *keycloaktest.Realm, c *reaching) { c.options.AdminRole = "web/admin" },
			want: "✔ keycloak-roles: the token carries view-users and view-realm of realm-management\n" +
				"✘ keycloak-roles: the token lacks view-clients of realm-management, and admins.role is the client's role \"web/admin\"\n    assign view-clients of realm-management " + assign + "\n"},
		{name: "the admin role is the realm's, and clients may not be seen", check: "keycloak-roles",
			mistake: func(_ *testing.T, _ *keycloaktest.Realm, c *reaching) { c.options.AdminRole = "realm:a/b" },
			want: "✔ keycloak-roles: the token carries view-users and view-realm of realm-management\n" +
				"! keycloak-roles: the token lacks view-clients of realm-management: groupsync does not see who holds the admin role \"realm:a/b\" through a composite role of a client\n    assign view-clients of realm-management " + assign + "\n"},
		{name: "clients may be seen", spec: keycloaktest.Spec{ServiceRoles: append([]string{"view-clients"}, needs...)}, check: "keycloak-roles",
			mistake: func(_ *testing.T, _ *keycloaktest.Realm, c *reaching) { c.options.AdminRole = "web/admin" },
			want:    "✔ keycloak-roles: the token carries view-users and view-realm of realm-management\n"},
		{name: "fine-grained permissions are on", spec: keycloaktest.Spec{Permissions: true}, check: "keycloak-permissions",
			want: "✔ keycloak-permissions: fine-grained admin permissions are on. They hide nothing from groupsync, since the token carries view-users\n"},
		{name: "admin events are wanted, and the role is missing", check: "keycloak-events",
			mistake: func(_ *testing.T, _ *keycloaktest.Realm, c *reaching) { c.options.Events = true },
			want: "! keycloak-events: keycloak.events is poll, and the token lacks view-events of realm-management: groupsync cannot read admin events, so changes in Keycloak wait for the schedule\n" +
				"    assign view-events of realm-management " + assign + ", or set keycloak.events: off\n"},
		{name: "admin events are wanted, and the realm saves none", spec: keycloaktest.Spec{ServiceRoles: append([]string{"view-events"}, needs...)}, check: "keycloak-events",
			mistake: func(_ *testing.T, _ *keycloaktest.Realm, c *reaching) { c.options.Events = true },
			want: "! keycloak-events: keycloak.events is poll, and the realm saves no admin events: changes in Keycloak wait for the schedule\n" +
				"    switch on Realm settings > Events > Admin events settings > Save events\n"},
		{name: "admin events can be read", spec: keycloaktest.Spec{ServiceRoles: append([]string{"view-events"}, needs...)}, check: "keycloak-events",
			mistake: func(t *testing.T, r *keycloaktest.Realm, c *reaching) {
				c.options.Events = true
				r.SaveAdminEvents(t)
			},
			want: "✔ keycloak-events: the realm saves admin events, and groupsync may read them\n"},
		{name: "the role view-events is one too many if events are off", spec: keycloaktest.Spec{ServiceRoles: append([]string{"view-events"}, needs...)}, check: "keycloak-roles",
			want: "✔ keycloak-roles: the token carries view-users and view-realm of realm-management\n" +
				"! keycloak-roles: the token carries roles of the client realm-management that groupsync never uses: view-events. Anybody who gets the client secret has these roles too\n" + takeAway},
		{name: "the realm has no groups", check: "keycloak-groups",
			mistake: func(t *testing.T, r *keycloaktest.Realm, _ *reaching) { r.DeleteGroup(t, "/a") },
			want: `✘ keycloak-groups: the realm has no groups: nothing is synchronized from an empty realm; check keycloak.realm
    correct this cause: groupsync makes no pass until it can read the complete list of groups
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.spec.Groups = []string{"/a"}
			r := server.NewRealm(t, tt.spec)
			c := reachingOf(r)
			if tt.mistake != nil {
				tt.mistake(t, r, c)
			}
			got := lifespan(printed(t, c.checks(t), tt.check))
			if d := cmp.Diff(strings.NewReplacer("REALM", r.Name, "URL", r.Server.URL).Replace(tt.want), got); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
			if strings.Contains(got, keycloaktest.Secret) || strings.Contains(got, "eyJ") {
				t.Errorf("the finding holds a secret: %s", got)
			}
		})
	}
}

// answers is a Keycloak that gives these answers.
type answers struct {
	discovery keycloak.Discovery
	grant     keycloak.Grant
	settings  keycloak.Settings
	version   string
	catalog   source.Catalog
	err       error // the error of everything that is read with the token
}

func (a answers) Discover(context.Context) (keycloak.Discovery, error) { return a.discovery, nil }
func (a answers) SignIn(context.Context) (keycloak.Grant, error)       { return a.grant, nil }
func (a answers) Settings(context.Context) (keycloak.Settings, error)  { return a.settings, a.err }
func (a answers) DefaultRoles(context.Context) ([]string, error)       { return nil, a.err }
func (a answers) Version(context.Context) (string, error)              { return a.version, a.err }
func (a answers) Catalog(context.Context) (source.Catalog, error)      { return a.catalog, a.err }

// TestAKeycloakThatCannotBeLookedAt: if Keycloak refuses the request of a check, the finding is a
// warning or an error, and never OK.
func TestAKeycloakThatCannotBeLookedAt(t *testing.T) {
	k := answers{
		discovery: keycloak.Discovery{Issuer: "x"}, err: errors.New("403 from a proxy\x1b[2J"),
		grant: keycloak.Grant{Life: 5 * time.Minute, Management: "realm-management", RealmRoles: []string{"x"}, ClientRoles: map[string][]string{"realm-management": {"view-realm", "view-users"}}},
	}
	want := `✔ keycloak-roles: the token carries view-users and view-realm of realm-management
! keycloak-roles: groupsync could not complete this check: 403 from a proxy\x1b[2J
    look in Clients > c > Service account roles for realm roles that groupsync does not need
! keycloak-version: groupsync could not complete this check: 403 from a proxy\x1b[2J
    make sure that Keycloak is 24 or newer
! keycloak-permissions: groupsync could not complete this check: 403 from a proxy\x1b[2J
    look at Realm settings > General > Admin permissions
✘ keycloak-groups: 403 from a proxy\x1b[2J
    correct this cause: groupsync makes no pass until it can read the complete list of groups
`
	checks := reach.Keycloak(k, reach.KeycloakOptions{Address: reach.Address{Side: "keycloak", URL: "http://127.0.0.1"}, ClientID: "c"})
	if d := cmp.Diff(want, printed(t, checks, "keycloak-roles", "keycloak-version", "keycloak-permissions", "keycloak-groups")); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	k.discovery.Issuer = ""
	checks = reach.Keycloak(k, reach.KeycloakOptions{Address: reach.Address{Side: "keycloak", URL: "http://127.0.0.1"}})
	want = `✘ keycloak-realm: the realm's discovery document has no issuer, so the answer does not come from Keycloak
    check keycloak.url, and the proxies between groupsync and Keycloak
`
	if d := cmp.Diff(want, printed(t, checks, "keycloak-realm")); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestTheVersionOfKeycloak(t *testing.T) {
	off := false
	for _, tt := range []struct {
		name, version string
		settings      keycloak.Settings
		want          string
	}{
		{"too old", "23.0.7", keycloak.Settings{}, "✘ keycloak-version: Keycloak is 23.0.7, and groupsync supports 24 and newer\n    upgrade Keycloak\n"},
		{"the oldest, and no federation", "24.0.5", keycloak.Settings{}, "✔ keycloak-version: Keycloak is 24.0.5; groupsync supports 24 and newer\n"},
		{"one that enables people of LDAP again", "25.0.6", keycloak.Settings{}, "! keycloak-version: Keycloak is 25.0.6. When the members of an LDAP group are read, Keycloak before 26 enables accounts again that an administrator disabled in Keycloak. groupsync reads members in every pass\n    upgrade to Keycloak 26, or disable people in LDAP\n"},
		{"a release to come", "100", keycloak.Settings{}, "✔ keycloak-version: Keycloak is 100; groupsync supports 24 and newer\n"},
		{"no number", "main\x1b[2J", keycloak.Settings{}, "! keycloak-version: groupsync could not complete this check: Keycloak's version \"main\\x1b[2J\" is not a number\n    make sure that Keycloak is 24 or newer\n"},
		{"not told, by a new one", "", keycloak.Settings{Permissions: &off}, "✔ keycloak-version: Keycloak does not show the client its version. The settings of the realm show that Keycloak is newer than 26.0\n"},
		{"not told, by one that shows nothing", "", keycloak.Settings{}, "! keycloak-version: groupsync could not complete this check: Keycloak does not show the client its version, and the settings of the realm do not show it\n    make sure that Keycloak is 24 or newer\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			parts := source.CatalogParts{Groups: []source.Group{{ID: "g", Name: "a", Path: "/a"}}, Counted: 1}
			if strings.Contains(tt.name, "LDAP") {
				parts.Federations = []source.Federation{{ID: "f", Name: "ldap", Enabled: true}}
			}
			catalog, err := source.NewCatalog(parts)
			must(t, err)
			checks := reach.Keycloak(answers{version: tt.version, settings: tt.settings, catalog: catalog}, reach.KeycloakOptions{})
			if d := cmp.Diff(tt.want, findingsOf(t, t.Context(), checks, "keycloak-version")); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

// TestOlderReleasesTellTheirVersion: older releases tell the client their version.
func TestOlderReleasesTellTheirVersion(t *testing.T) {
	for _, version := range []string{keycloaktest.Version24, keycloaktest.Version260} {
		t.Run(version, func(t *testing.T) {
			r := keycloaktest.Start(t, keycloaktest.Options{Version: version}).NewRealm(t, keycloaktest.Spec{Groups: []string{"/a/b"}})
			want := "✔ keycloak-version: Keycloak is " + version + "; groupsync supports 24 and newer\n✔ keycloak-permissions: fine-grained admin permissions are off\n✔ keycloak-groups: Keycloak lists 2 groups, and its count of groups is the same\n"
			if d := cmp.Diff(want, printed(t, reachingOf(r).checks(t), "keycloak-version", "keycloak-permissions", "keycloak-groups")); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}
