package idp

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"groupsync/internal/simulate/chaos"
)

// Name is the name of the realm. Base is the address of the server.
const (
	Name = "work"
	Base = "http://127.0.0.1:1/kc"
)

// Writes implements chaos.Model. groupsync writes nothing into Keycloak.
func (r *Realm) Writes(string) bool { return false }

// Sent implements chaos.Model. It returns 0, because no request writes.
func (r *Realm) Sent(chaos.Request) int { return 0 }

func ok(v any) chaos.Answer { return chaos.Answer{Status: 200, JSON: v} }

func refusal(status int, words string) chaos.Answer {
	return chaos.Answer{Status: status, JSON: map[string]any{"error": words}}
}

// Answer implements chaos.Model. It answers one request of groupsync.
func (r *Realm) Answer(q chaos.Request) chaos.Answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	path := strings.TrimPrefix(q.Path, "/kc")
	if path == "/realms/"+Name+"/protocol/openid-connect/token" {
		return r.token(q)
	}
	rest, admin := strings.CutPrefix(path, "/admin/realms/"+Name)
	if !admin {
		return refusal(404, "HTTP 404 Not Found")
	}
	if end, known := r.tokens[strings.TrimPrefix(q.Header.Get("Authorization"), "Bearer ")]; !known || !time.Now().Before(end) {
		r.Sometimes["a token of Keycloak expired during a pass"]++
		return refusal(401, "HTTP 401 Unauthorized")
	}
	parts := strings.Split(strings.Trim(rest, "/"), "/")
	switch {
	case rest == "":
		return ok(map[string]any{"realm": Name, "duplicateEmailsAllowed": r.Duplicates, "permanentLockout": false, "maxTemporaryLockouts": 0, "firstBrokerLoginFlow": "first broker login"})
	case parts[0] == "components":
		return ok(r.components())
	case parts[0] == "groups":
		return r.answerGroups(parts[1:], q.Query)
	case parts[0] == "roles":
		return r.answerRoles(parts[1:], q.Query)
	case parts[0] == "roles-by-id" && len(parts) == 3:
		return ok(page(roleReps(contains[strings.TrimPrefix(parts[1], "role-")]), q.Query, 100))
	case parts[0] == "users":
		return r.answerUsers(parts[1:], q.Query)
	}
	return refusal(404, "HTTP 404 Not Found")
}

func (r *Realm) token(q chaos.Request) chaos.Answer {
	form, err := url.ParseQuery(string(q.Body))
	if err != nil || form.Get("client_secret") != "secret" || form.Get("client_id") != "groupsync" {
		return chaos.Answer{Status: 401, JSON: map[string]any{"error": "unauthorized_client", "error_description": "Invalid client or Invalid client credentials"}}
	}
	payload := `{"jti":"trrtcc:x","realm_access":{"roles":["default-roles-work"]},"resource_access":{"realm-management":{"roles":["view-users","view-realm"]}}}`
	r.made++
	access := "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + "." + strconv.Itoa(r.made)
	now := time.Now()
	for t, end := range r.tokens {
		if now.After(end) {
			delete(r.tokens, t)
		}
	}
	r.tokens[access] = now.Add(r.TokenLife)
	return ok(map[string]any{"access_token": access, "expires_in": int(r.TokenLife / time.Second), "token_type": "Bearer"})
}

func (r *Realm) components() []any {
	list := []any{}
	for _, f := range r.federations {
		list = append(list, map[string]any{"id": f.ID, "name": f.Name, "providerId": "ldap", "config": map[string]any{"enabled": []string{strconv.FormatBool(f.Enabled)}, "importEnabled": []string{"true"}}})
	}
	return list
}

func (r *Realm) rep(g *group) any {
	return map[string]any{"id": g.id, "name": g.name, "path": r.path(g), "subGroupCount": len(r.below(g.id)), "subGroups": []any{}}
}

func (r *Realm) reps(list []*group) []any {
	reps := make([]any, len(list))
	for i, g := range list {
		reps[i] = r.rep(g)
	}
	return reps
}

func (r *Realm) answerGroups(path []string, query url.Values) chaos.Answer {
	switch {
	case len(path) == 0:
		return ok(page(r.reps(r.below("")), query, 100))
	case path[0] == "count":
		return ok(map[string]any{"count": len(r.groups)})
	}
	g := r.groups[path[0]]
	switch {
	case g == nil:
		return refusal(404, "Could not find group by id")
	case len(path) == 2 && path[1] == "children":
		return ok(page(r.reps(r.below(g.id)), query, 10))
	case len(path) == 2 && path[1] == "members":
		list, took := r.members(g)
		a := ok(page(list, query, 100))
		a.Took = took
		return a
	}
	return ok(r.rep(g))
}

// page returns the part of a list that the query parameters first and max ask for. If the query has
// no max, page uses the value of the parameter otherwise. A negative value means no limit.
func page(list []any, query url.Values, otherwise int) []any {
	first, _ := strconv.Atoi(query.Get("first"))
	most := otherwise
	if m := query.Get("max"); m != "" {
		most, _ = strconv.Atoi(m)
	}
	list = list[min(first, len(list)):]
	if most >= 0 {
		list = list[:min(most, len(list))]
	}
	return list
}

// hangTime is how long Keycloak waits for an LDAP that hangs.
const hangTime = 5 * time.Second

// members returns the member list of a group as Keycloak answers it while its federations are in
// their present states, and how long Keycloak takes.
func (r *Realm) members(g *group) (list []any, took time.Duration) {
	list = []any{}
	for _, f := range r.federations {
		if g.federation == f.ID {
			r.see(f)
		}
	}
	for _, a := range r.sorted() {
		f := r.federation(a.federation)
		n := r.listed(a, g)
		switch {
		case n == 0:
			continue
		case f == nil || f.Enabled && f.Mode == Up:
		case g.federation != "": // the group comes from LDAP, and the account's federation is not up or is switched off (see the case before): the list leaves the account out
			r.Sometimes["a list without the people of a federation that is away"]++
			if f.Mode == Hanging {
				took = hangTime
			}
			continue
		default:
			if f.Mode == Hanging && f.Enabled {
				took += 2 * time.Second
			}
			if f.Mode == Blind && f.Forgets && f.Enabled {
				continue // the call of forget below deletes the account
			}
			list = append(list, r.user(a, false))
			r.Sometimes["people shown as disabled because their federation is away"]++
			continue
		}
		for range n {
			list = append(list, r.user(a, a.enabled))
		}
	}
	for _, f := range r.federations {
		r.forget(f)
	}
	return list, took
}

// user returns the JSON of an account, with the given value of enabled.
func (r *Realm) user(a *account, enabled bool) any {
	u := map[string]any{"id": a.id, "username": a.username, "email": a.email, "enabled": enabled, "firstName": "", "lastName": ""}
	if a.federation != "" {
		u["federationLink"], u["origin"] = a.federation, a.federation
	}
	return u
}

// shown returns the JSON of an account as the paths users and users/{id} show it. While its
// federation is not up, the account is shown as disabled.
func (r *Realm) shown(a *account) any { return r.user(a, a.enabled && r.speaks(a)) }

// wait returns how much longer a search for people takes because an LDAP hangs. If no LDAP hangs,
// it returns 0.
func (r *Realm) wait() time.Duration {
	for _, f := range r.federations {
		if f.Enabled && f.Mode == Hanging {
			return hangTime
		}
	}
	return 0
}

func (r *Realm) answerUsers(path []string, query url.Values) chaos.Answer {
	if len(path) == 0 {
		return r.search(query)
	}
	id, err := url.PathUnescape(path[0])
	if err != nil {
		return refusal(400, "bad path")
	}
	if strings.HasPrefix(id, "f:") {
		return r.probe(strings.Split(id, ":")[1])
	}
	a := r.accounts[id]
	if a == nil {
		return refusal(404, "User not found")
	}
	f := r.federation(a.federation)
	if f != nil && f.Enabled && f.Mode == Blind && len(path) == 1 {
		r.forget(f)
		if r.accounts[id] == nil {
			return refusal(404, "User not found")
		}
	}
	answer := chaos.Answer{}
	switch {
	case len(path) == 1:
		answer = ok(r.shown(a))
	case len(path) == 3 && path[1] == "groups" && path[2] == "count":
		answer = r.count(a, query.Get("search"))
	case len(path) == 2 && path[1] == "groups":
		own := r.cachedOwn(a)
		if !r.speaks(a) {
			own = nil
		}
		list := []any{}
		for _, g := range sortedKeys(own) {
			if k := r.groups[g]; k != nil {
				list = append(list, r.rep(k))
			}
		}
		answer = ok(page(list, query, 100))
	case len(path) == 4 && path[1] == "role-mappings":
		answer = ok(roleReps(sortedKeys(r.rolesOf(a))))
	default:
		return refusal(404, "HTTP 404 Not Found")
	}
	if f != nil && f.Enabled && f.Mode == Hanging {
		answer.Took = hangTime
	}
	return answer
}

// count answers how many groups of the account have a name that contains the text search. Keycloak
// does not use its user cache for this answer.
func (r *Realm) count(a *account, search string) chaos.Answer {
	n := 0
	for id := range a.own {
		g := r.groups[id]
		if g == nil || !strings.Contains(strings.ToLower(g.name), strings.ToLower(search)) {
			continue
		}
		if g.federation == "" || r.speaks(a) {
			n++
		}
	}
	return ok(map[string]any{"count": n})
}

// probe answers a probe of a federation: a look-up of a name that nobody has. The answer is 404 if
// the LDAP answers or the federation is switched off, and 500 if the LDAP does not answer.
func (r *Realm) probe(id string) chaos.Answer {
	f := r.federation(id)
	if f == nil || !f.Enabled || f.Mode == Up || f.Mode == Blind {
		return refusal(404, "User not found")
	}
	a := refusal(500, "unknown_error")
	if f.Mode == Hanging {
		a.Took = 3 * hangTime
	}
	return a
}

// search answers the request GET users, which looks for accounts by email, username or another
// filter.
func (r *Realm) search(query url.Values) chaos.Answer {
	for _, f := range r.federations {
		r.see(f)
		if query.Get("enabled") == "" {
			r.forget(f)
		}
	}
	list := []any{}
	for _, a := range r.sorted() {
		fits := false
		switch {
		case query.Get("email") != "":
			fits = strings.EqualFold(a.email, query.Get("email"))
		case query.Get("username") != "":
			fits = strings.EqualFold(a.username, query.Get("username"))
		case query.Get("search") != "":
			fits = !a.service && strings.EqualFold(a.username, strings.Trim(query.Get("search"), `"`))
		default:
			fits = !a.service
		}
		if query.Get("enabled") == "false" && a.enabled {
			fits = false // Keycloak evaluates the filter enabled=false in its database; there the account is enabled, even if the answer shows it as disabled (see shown)
		}
		if fits {
			list = append(list, r.shown(a))
		}
	}
	answer := ok(page(list, query, 100))
	if query.Get("enabled") == "" {
		answer.Took = r.wait()
	}
	return answer
}

// String describes the realm, for the message of a test that fails.
func (r *Realm) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, _ := json.Marshal(r.components())
	return fmt.Sprintf("%d accounts, %d groups, federations %s", len(r.accounts), len(r.groups), b)
}
