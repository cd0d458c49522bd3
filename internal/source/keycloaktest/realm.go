package keycloaktest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"groupsync/internal/processtest"
)

// Realm is a realm of a running server, with the client by which groupsync signs in.
type Realm struct {
	Server   *Server
	Name     string
	ClientID string
	Secret   string
}

// Spec says what a realm contains. Roles are written "role" for a realm role and
// "client/role" for a client's role. NewRealm creates the clients that the roles name.
type Spec struct {
	Name       string              // empty: a unique name
	Groups     []string            // paths such as "/eng/ops"; their parents are created too
	GroupRoles map[string][]string // roles by the path of the group that holds them
	Users      []User
	Roles      []string            // further roles; NewRealm also creates every role that another field names
	Composites map[string][]string // by composite role: the roles that it contains

	// ServiceRoles are the roles of realm-management that the service account of groupsync's
	// client holds. nil means view-users and view-realm.
	ServiceRoles  []string
	ServiceGroups []string // groups of the service account
	TokenSeconds  int      // lifespan of an access token; 0: Keycloak's 300
	Lightweight   bool     // the client's access tokens carry no roles
	Permissions   bool     // fine-grained permissions v2 are switched on

	DefaultGroups   []string // paths of Groups that every new account joins
	DuplicateEmails bool     // several accounts may have the same email
	DefaultRoles    bool     // all Users hold the realm's default roles, like people who register
	Organizations   bool     // organizations are switched on
}

// User is an account of a Spec.
type User struct {
	Username, Email, FirstName, LastName string

	Disabled bool
	Groups   []string // paths
	Roles    []string
}

// ClientID and Secret belong to the client that NewRealm creates.
const (
	ClientID = "groupsync"
	Secret   = "groupsync-test-secret"
)

var realms atomic.Int64

// NewRealm creates the realm. The realm lives as long as the server. A test of organizations
// is skipped on a release before 26.0, where organizations are a preview.
func (s *Server) NewRealm(tb testing.TB, spec Spec) *Realm {
	tb.Helper()
	if spec.Organizations && s.options.before(2600) {
		tb.Skipf("Keycloak %s has no organizations", s.options.Version)
	}
	if spec.Name == "" {
		spec.Name = fmt.Sprintf("realm-%d-%d", os.Getpid(), realms.Add(1))
	}
	s.admin.Do(tb, http.MethodPost, "", spec.representation(), nil)
	return &Realm{Server: s, Name: spec.Name, ClientID: ClientID, Secret: Secret}
}

// ImportRealm imports a realm export unchanged. If the export has no client with the id groupsync,
// ImportRealm creates the client and gives it view-users and view-realm. If the export's
// client has no secret, ImportRealm sets Secret.
//
// The realm is deleted when the test ends. If another test, in any process, imports a realm with
// the same name into the server, that test waits until this test ends.
func (s *Server) ImportRealm(tb testing.TB, export []byte) *Realm {
	tb.Helper()
	var head struct {
		Realm   string
		Clients []struct{ ClientID, Secret string }
	}
	must(tb, json.Unmarshal(export, &head))
	unlock, err := processtest.Lock(filepath.Join(s.home, "realm-"+head.Realm+".lock"))
	must(tb, err)
	tb.Cleanup(unlock)
	s.admin.Do(tb, http.MethodPost, "", export, nil)
	tb.Cleanup(func() {
		if !s.proc.Ended() {
			s.admin.Do(tb, http.MethodDelete, "/"+head.Realm, nil, nil)
		}
	})
	r := &Realm{Server: s, Name: head.Realm, ClientID: ClientID, Secret: Secret}
	for _, c := range head.Clients {
		switch {
		case c.ClientID != ClientID:
			continue
		case c.Secret != "":
			r.Secret = c.Secret
		default:
			r.setSecret(tb)
		}
		return r
	}
	r.Do(tb, http.MethodPost, "/clients", serviceClient(false), nil)
	r.GrantClient(tb, "view-users", "view-realm")
	return r
}

// setSecret sets the secret of the realm's existing client to Secret.
func (r *Realm) setSecret(tb testing.TB) {
	tb.Helper()
	r.Do(tb, http.MethodPut, "/clients/"+r.clientUUID(tb, ClientID), map[string]any{"secret": Secret}, nil)
}

// GrantClient gives these roles of realm-management to the service account of groupsync's client.
func (r *Realm) GrantClient(tb testing.TB, roles ...string) {
	tb.Helper()
	management := r.clientUUID(tb, "realm-management")
	grants := make([]json.RawMessage, len(roles))
	for i, role := range roles {
		r.Do(tb, http.MethodGet, "/clients/"+management+"/roles/"+role, nil, &grants[i])
	}
	account := r.UserID(tb, "service-account-"+ClientID)
	r.Do(tb, http.MethodPost, "/users/"+account+"/role-mappings/clients/"+management, grants, nil)
}

func (r *Realm) clientUUID(tb testing.TB, clientID string) string {
	tb.Helper()
	var clients []struct{ ID string }
	r.Do(tb, http.MethodGet, "/clients?clientId="+clientID, nil, &clients)
	if len(clients) != 1 {
		tb.Fatalf("the realm %s has %d clients named %q, want 1", r.Name, len(clients), clientID)
	}
	return clients[0].ID
}

// object is a JSON object of the admin API.
type object = map[string]any

func (spec Spec) representation() object {
	users := make([]object, 0, len(spec.Users)+1)
	for _, u := range spec.Users {
		user := object{
			"username": u.Username, "email": u.Email, "firstName": u.FirstName, "lastName": u.LastName,
			"enabled": !u.Disabled, "groups": u.Groups,
		}
		grant(user, u.Roles)
		if spec.DefaultRoles {
			user["realmRoles"] = append(user["realmRoles"].([]string), defaultRoles(spec.Name))
		}
		users = append(users, user)
	}
	serviceRoles := spec.ServiceRoles
	if serviceRoles == nil {
		serviceRoles = []string{"view-users", "view-realm"}
	}
	users = append(users, object{
		"username": "service-account-" + ClientID, "enabled": true, "serviceAccountClientId": ClientID,
		"clientRoles": object{"realm-management": serviceRoles}, "groups": spec.ServiceGroups,
	})
	realm := object{
		"realm": spec.Name, "enabled": true, "groups": spec.groups(), "users": users,
		"clients": spec.clients(), "roles": spec.roles(), "privateKey": signingKey(),
	}
	if len(spec.DefaultGroups) > 0 {
		realm["defaultGroups"] = spec.DefaultGroups
	}
	if spec.DuplicateEmails { // Keycloak allows shared emails only without sign-in by email
		realm["duplicateEmailsAllowed"], realm["loginWithEmailAllowed"] = true, false
	}
	// Older releases refuse unknown settings.
	if spec.Permissions {
		realm["adminPermissionsEnabled"] = true
	}
	if spec.Organizations {
		realm["organizationsEnabled"] = true
	}
	if spec.TokenSeconds > 0 {
		realm["accessTokenLifespan"] = spec.TokenSeconds
	}
	return realm
}

// signingKey returns the key with which all realms of a test binary sign tokens, in the form
// of Keycloak's realm import. The realms share one key, because Keycloak takes longer to make
// a key than to create the rest of a realm.
var signingKey = sync.OnceValue(func() string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
})

// defaultRoles returns the name of the realm's default role, which is a composite.
func defaultRoles(realm string) string { return "default-roles-" + strings.ToLower(realm) }

// grant adds the roles to the JSON object of a user or a group.
func grant(to object, roles []string) {
	byClient := map[string][]string{}
	for _, role := range roles {
		client, name := splitRole(role)
		byClient[client] = append(byClient[client], name)
	}
	to["realmRoles"] = byClient[""]
	delete(byClient, "")
	to["clientRoles"] = byClient
}

func splitRole(role string) (client, name string) {
	if client, name, ok := strings.Cut(role, "/"); ok {
		return client, name
	}
	return "", role
}

func (spec Spec) groups() []object {
	var top []object
	byPath := map[string]object{}
	var find func(path string) object
	find = func(path string) object {
		if g, ok := byPath[path]; ok {
			return g
		}
		at := strings.LastIndexByte(path, '/')
		g := object{"name": path[at+1:]}
		grant(g, spec.GroupRoles[path])
		byPath[path] = g
		if at > 0 {
			parent := find(path[:at])
			below, _ := parent["subGroups"].([]object)
			parent["subGroups"] = append(below, g)
		} else {
			top = append(top, g)
		}
		return g
	}
	for _, path := range spec.Groups {
		find(path)
	}
	return top
}

// roleNames returns every role that the Spec names, sorted.
func (spec Spec) roleNames() []string {
	names := slices.Clone(spec.Roles)
	for _, roles := range spec.GroupRoles {
		names = append(names, roles...)
	}
	for composite, roles := range spec.Composites {
		names = append(append(names, composite), roles...)
	}
	for _, u := range spec.Users {
		names = append(names, u.Roles...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (spec Spec) roles() object {
	realm, byClient := []object{}, map[string][]object{}
	for _, role := range spec.roleNames() {
		client, name := splitRole(role)
		o := object{"name": name}
		if contained := spec.Composites[role]; len(contained) > 0 {
			holder := object{}
			grant(holder, contained)
			o["composite"] = true
			o["composites"] = object{"realm": holder["realmRoles"], "client": holder["clientRoles"]}
		}
		if client == "" {
			realm = append(realm, o)
		} else {
			byClient[client] = append(byClient[client], o)
		}
	}
	return object{"realm": realm, "client": byClient}
}

func (spec Spec) clients() []object {
	clients := []object{serviceClient(spec.Lightweight)}
	named := map[string]bool{}
	for _, role := range spec.roleNames() {
		if client, _ := splitRole(role); client != "" {
			named[client] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		clients = append(clients, object{"clientId": name, "enabled": true})
	}
	return clients
}

func serviceClient(lightweight bool) object {
	attributes := object{}
	if lightweight {
		attributes["client.use.lightweight.access.token.enabled"] = "true"
	}
	return object{
		"clientId": ClientID, "secret": Secret, "enabled": true, "publicClient": false,
		"serviceAccountsEnabled": true, "standardFlowEnabled": false, "directAccessGrantsEnabled": false,
		"fullScopeAllowed": true, "attributes": attributes,
	}
}
