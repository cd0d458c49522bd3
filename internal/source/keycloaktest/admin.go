package keycloaktest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// Admin is a small client of the admin API with the rights of the server's administrator. Admin
// fetches a new token before the old one ends.
type Admin struct {
	server *Server

	mu      sync.Mutex
	token   string
	renewAt time.Time
}

// Admin returns the server's administrator.
func (s *Server) Admin() *Admin { return s.admin }

// Do sends a request to the admin API. path is the part after /admin/realms, for example
// "/demo/groups". If body is nil, the request has no body. A []byte is sent unchanged, and
// any other body is sent as JSON. If out is not nil, Do decodes the answer into out. If the
// request creates an object, Do returns its id. Any status other than 2xx fails the test.
func (a *Admin) Do(tb testing.TB, method, path string, body, out any) (id string) {
	tb.Helper()
	status, answer, id := a.Try(tb, method, path, body)
	if status/100 != 2 {
		tb.Fatalf("%s /admin/realms%s: %d %s", method, path, status, answer)
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			tb.Fatalf("%s /admin/realms%s: %v", method, path, err)
		}
	}
	return id
}

// Try sends a request as Do does, but the server may refuse the request. Try returns the status
// and the body of the answer, and the id of a created object. It fails the test only if there is
// no answer.
func (a *Admin) Try(tb testing.TB, method, path string, body any) (status int, answer []byte, id string) {
	tb.Helper()
	token, err := a.bearer()
	must(tb, err)
	status, answer, header, err := send(method, a.server.URL+"/admin/realms"+path, token, body)
	must(tb, err)
	return status, answer, last(header.Get("Location"))
}

func (a *Admin) bearer() (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Now().Before(a.renewAt) {
		return a.token, nil
	}
	token, life, err := a.server.token("master", url.Values{
		"grant_type": {"password"}, "client_id": {"admin-cli"}, "username": {adminName}, "password": {adminPassword},
	})
	if err != nil {
		return "", err
	}
	a.token, a.renewAt = token, time.Now().Add(life/2)
	return token, nil
}

// token requests an access token of the realm, and returns the token and its lifespan.
func (s *Server) token(realm string, form url.Values) (string, time.Duration, error) {
	resp, err := client.PostForm(s.URL+"/realms/"+realm+"/protocol/openid-connect/token", form)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return "", 0, fmt.Errorf("a token of the realm %s: %s, %w", realm, resp.Status, err)
	}
	if answer.AccessToken == "" {
		return "", 0, fmt.Errorf("a token of the realm %s: %s, %s: %s", realm, resp.Status, answer.Error, answer.Description)
	}
	return answer.AccessToken, time.Duration(answer.ExpiresIn) * time.Second, nil
}

// client has a long timeout, because a large import takes minutes.
var client = &http.Client{Timeout: 5 * time.Minute}

func send(method, address, token string, body any) (int, []byte, http.Header, error) {
	var content io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		content = bytes.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return 0, nil, nil, err
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, address, content)
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, resp.Header, err
}

// Get sends a GET with the rights of the realm's own client. path is the part after the
// realm's name, for example "/groups/count". Get returns the status and the body.
func (r *Realm) Get(tb testing.TB, path string) (int, []byte) {
	tb.Helper()
	token, _, err := r.Server.token(r.Name, url.Values{
		"grant_type": {"client_credentials"}, "client_id": {r.ClientID}, "client_secret": {r.Secret},
	})
	must(tb, err)
	status, body, _, err := send(http.MethodGet, r.Server.URL+"/admin/realms/"+r.Name+path, token, nil)
	must(tb, err)
	return status, body
}

// Do calls Admin.Do for the realm. path is the part after the realm's name, for example
// "/groups".
func (r *Realm) Do(tb testing.TB, method, path string, body, out any) (id string) {
	tb.Helper()
	return r.Server.admin.Do(tb, method, "/"+r.Name+path, body, out)
}

// GroupID returns the id of the group with that path, for example "/eng/ops".
func (r *Realm) GroupID(tb testing.TB, path string) string {
	tb.Helper()
	var group struct{ ID string }
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	r.Do(tb, http.MethodGet, "/group-by-path/"+strings.Join(parts, "/"), nil, &group)
	return group.ID
}

// UserID returns the id of the account with that username, which may be a service account. If
// the person is in LDAP only, Keycloak imports the person. The look-up does not use the user
// cache.
func (r *Realm) UserID(tb testing.TB, username string) string {
	tb.Helper()
	var users []struct{ ID string }
	r.Do(tb, http.MethodGet, "/users?exact=true&username="+url.QueryEscape(username), nil, &users)
	if len(users) != 1 {
		tb.Fatalf("the realm %s has %d users named %q, want 1", r.Name, len(users), username)
	}
	return users[0].ID
}

// Join makes the user a direct member of the group.
func (r *Realm) Join(tb testing.TB, username, group string) {
	tb.Helper()
	r.Do(tb, http.MethodPut, "/users/"+r.UserID(tb, username)+"/groups/"+r.GroupID(tb, group), nil, nil)
}

// Leave ends the user's direct membership of the group.
func (r *Realm) Leave(tb testing.TB, username, group string) {
	tb.Helper()
	r.Do(tb, http.MethodDelete, "/users/"+r.UserID(tb, username)+"/groups/"+r.GroupID(tb, group), nil, nil)
}

// SetEnabled switches the account on or off.
func (r *Realm) SetEnabled(tb testing.TB, username string, enabled bool) {
	tb.Helper()
	r.EditUser(tb, username, func(user map[string]any) { user["enabled"] = enabled })
}

// EditUser reads the account's representation, edits it and writes it back. It writes the
// whole representation, because Keycloak can erase fields that a PUT leaves out.
func (r *Realm) EditUser(tb testing.TB, username string, edit func(user map[string]any)) {
	tb.Helper()
	path := "/users/" + r.UserID(tb, username)
	var user map[string]any
	r.Do(tb, http.MethodGet, path, nil, &user)
	edit(user)
	r.Do(tb, http.MethodPut, path, user, nil)
}

// EditClient reads the representation of groupsync's client, edits it and writes it back.
func (r *Realm) EditClient(tb testing.TB, edit func(client map[string]any)) {
	tb.Helper()
	path := "/clients/" + r.clientUUID(tb, r.ClientID)
	var client map[string]any
	r.Do(tb, http.MethodGet, path, nil, &client)
	edit(client)
	r.Do(tb, http.MethodPut, path, client, nil)
}

// GrantClientRole gives a role to the service account of groupsync's client. The role is written
// "role" for a realm role and "client/role" for a client's role.
func (r *Realm) GrantClientRole(tb testing.TB, role string) {
	tb.Helper()
	client, name := splitRole(role)
	from, to := "/roles/", "/users/"+r.UserID(tb, "service-account-"+r.ClientID)+"/role-mappings/realm"
	if client != "" {
		uuid := r.clientUUID(tb, client)
		from, to = "/clients/"+uuid+"/roles/", strings.TrimSuffix(to, "realm")+"clients/"+uuid
	}
	var representation json.RawMessage
	r.Do(tb, http.MethodGet, from+url.PathEscape(name), nil, &representation)
	r.Do(tb, http.MethodPost, to, []json.RawMessage{representation}, nil)
}

// ScopeClient adds these roles of realm-management to the scope of groupsync's client. If the
// client's setting "Full scope allowed" is off, its tokens can carry only roles in the scope.
func (r *Realm) ScopeClient(tb testing.TB, roles ...string) {
	tb.Helper()
	management := r.clientUUID(tb, "realm-management")
	scoped := make([]json.RawMessage, len(roles))
	for i, role := range roles {
		r.Do(tb, http.MethodGet, "/clients/"+management+"/roles/"+role, nil, &scoped[i])
	}
	r.Do(tb, http.MethodPost, "/clients/"+r.clientUUID(tb, r.ClientID)+"/scope-mappings/clients/"+management, scoped, nil)
}

// DeleteUser deletes the account.
func (r *Realm) DeleteUser(tb testing.TB, username string) {
	tb.Helper()
	r.Do(tb, http.MethodDelete, "/users/"+r.UserID(tb, username), nil, nil)
}

// DeleteGroup deletes the group and the groups below it.
func (r *Realm) DeleteGroup(tb testing.TB, path string) {
	tb.Helper()
	r.Do(tb, http.MethodDelete, "/groups/"+r.GroupID(tb, path), nil, nil)
}

// AddDefaultGroup makes every new account of the realm a member of the group.
func (r *Realm) AddDefaultGroup(tb testing.TB, path string) {
	tb.Helper()
	r.Do(tb, http.MethodPut, "/default-groups/"+r.GroupID(tb, path), nil, nil)
}

// AddDefaultRole adds the realm role to the realm's default role, a composite role that every
// new account gets. Spec.Users hold the default role only if Spec.DefaultRoles is set.
func (r *Realm) AddDefaultRole(tb testing.TB, role string) {
	tb.Helper()
	var representation json.RawMessage
	r.Do(tb, http.MethodGet, "/roles/"+url.PathEscape(role), nil, &representation)
	r.Do(tb, http.MethodPost, "/roles/"+defaultRoles(r.Name)+"/composites", []json.RawMessage{representation}, nil)
}

// ClearUserCache empties the realm's user cache.
func (r *Realm) ClearUserCache(tb testing.TB) {
	tb.Helper()
	r.Do(tb, http.MethodPost, "/clear-user-cache", nil, nil)
}

// SaveAdminEvents makes the realm save its admin events.
func (r *Realm) SaveAdminEvents(tb testing.TB) {
	tb.Helper()
	r.Do(tb, http.MethodPut, "", map[string]any{"adminEventsEnabled": true}, nil)
}
