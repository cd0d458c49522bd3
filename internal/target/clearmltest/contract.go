package clearmltest

import (
	"cmp"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// pageCap is the largest number of users in a page. If a request asks for more, the server
// returns pageCap users and no error, as ClearML does.
const pageCap = 500

// answer is what the server sends back for one call, before encode adds ClearML's envelope.
type answer struct {
	code, subcode int
	text          string
	data          any
	raw           string // JSON text that replaces data
	version       any    // requested_version: a string, a number or null
	trx           string
	cookie        string
}

func ok(data any) answer { return answer{code: 200, data: data, version: "2.34"} }

// failed returns an error answer. Its requested_version is a number, as in ClearML's error
// answers.
func failed(code, subcode int, format string, args ...any) answer {
	return answer{code: code, subcode: subcode, text: fmt.Sprintf(format, args...), version: 2.34}
}

func (a answer) encode(call string) []byte {
	var data any = struct{}{}
	switch {
	case a.raw != "":
		data = json.RawMessage(a.raw)
	case a.data != nil:
		data = a.data
	}
	body, err := json.Marshal(map[string]any{
		"meta": map[string]any{
			"id": randomID(), "trx": cmp.Or(a.trx, randomID()),
			"endpoint":    map[string]any{"name": call, "requested_version": a.version, "actual_version": a.version},
			"result_code": a.code, "result_subcode": a.subcode, "result_msg": cmp.Or(a.text, "OK"),
			"error_stack": nil, "error_data": struct{}{},
		},
		"data": data,
	})
	if err != nil {
		return []byte(`{"broken fault": true}`)
	}
	return body
}

func (a answer) send(w http.ResponseWriter, r *http.Request, call string) {
	w.Header().Set("Content-Type", "application/json")
	a.trx = r.Header.Get("X-Clearml-Trx")
	if a.cookie != "" {
		http.SetCookie(w, &http.Cookie{Name: "clearml_token_basic", Value: a.cookie, Path: "/", HttpOnly: true}) // #nosec G124 -- it imitates a cookie of ClearML, which groupsync never keeps
	}
	body := a.encode(call)
	if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.WriteHeader(a.code)
		_, _ = w.Write(body)
		return
	}
	w.Header().Set("Content-Encoding", "gzip")
	w.WriteHeader(a.code)
	z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is valid, so there is no error
	_, _ = z.Write(body)
	_ = z.Close()
}

var callPath = regexp.MustCompile(`^(?:/v(\d+(?:\.\d+)?))?/(\w+\.\w+)$`)

// ServeHTTP answers a request. It checks a request in the order in which ClearML does.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Connection", "close")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	path, inside := strings.CutPrefix(r.URL.Path, s.options.Base)
	if !inside {
		webPage(w, r)
		return
	}
	if r.Header.Get("Content-Encoding") != "" {
		http.Error(w, "Content-Encoding is not supported", http.StatusUnsupportedMediaType)
		return
	}
	call := path
	m := callPath.FindStringSubmatch(path)
	if m != nil {
		call = m[2]
	}
	cookie, _ := r.Cookie("clearml_token_basic")
	probe := r.Header.Get("Authorization") == "" && cookie == nil
	n, fault := s.record(Request{Call: call, Probe: probe, Trx: r.Header.Get("X-Clearml-Trx"), Header: r.Header.Clone(), Body: body})
	carry := func() answer {
		if m == nil {
			a := failed(400, 0, "Invalid request path %s", path)
			a.version = nil
			return a
		}
		if probe {
			return s.answer(call, r, body)
		}
		s.runHooks(false, call, n)
		a := s.answer(call, r, body)
		s.runHooks(true, call, n)
		if a.code == 200 && m[1] != "" {
			a.version = m[1]
		}
		return a
	}
	if fault != nil && fault.strike(s, w, r, call, carry) {
		return
	}
	carry().send(w, r, call)
}

// webPage answers a request outside Options.Base, as ClearML's web server does: with an HTML page.
func webPage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	if r.Method != http.MethodGet {
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
	_, _ = io.WriteString(w, "<!doctype html><html><head><title>ClearML</title></head></html>")
}

// endpoint describes one call: the roles that may make the call, the types of the request's
// fields by name, and the function that answers. The server ignores fields without a type.
type endpoint struct {
	roles  []string // empty: everybody with valid credentials
	open   bool     // needs no credentials
	fields map[string]string
	run    func(*Server, identity, map[string]any) answer
}

var admins = []string{"system", "root", "admin"}

func (s *Server) endpoint(call string) (endpoint, bool) {
	groupCalls := !s.options.Open
	switch call {
	case "auth.login":
		return endpoint{fields: map[string]string{"expiration_sec": "integer"}, run: (*Server).login}, true
	case "users.get_all":
		return endpoint{fields: map[string]string{
			"page": "integer", "page_size": "integer", "order_by": "list", "only_fields": "list", "id": "list",
			"include_auth": "boolean", "include_providers_info": "boolean",
		}, run: (*Server).getAll}, true
	case "users.get_all_ex":
		return endpoint{fields: map[string]string{
			"page": "integer", "page_size": "integer", "order_by": "list", "only_fields": "list", "id": "list",
			"include_auth": "boolean", "include_activity": "boolean",
		}, run: (*Server).getAllEx}, true
	case "users.get_current_user":
		return endpoint{run: (*Server).currentUser}, true
	case "users.get_service_users":
		return endpoint{roles: admins, run: (*Server).serviceUsers}, groupCalls && !s.options.NoServiceUsers
	case "users.set_role":
		return endpoint{roles: admins, fields: map[string]string{"user": "string", "role": "string"}, run: (*Server).setRole}, groupCalls
	case "permissions.get_user_groups":
		return endpoint{roles: admins, fields: map[string]string{"groups": "list", "include_permissions": "boolean"}, run: (*Server).getUserGroups}, groupCalls
	case "permissions.get_access_rules":
		return endpoint{roles: admins, run: (*Server).getAccessRules}, groupCalls && !s.options.NoAccessRules
	case "permissions.add_or_update_user_group":
		return endpoint{roles: admins, fields: map[string]string{"id": "string", "name": "string", "description": "string", "users": "list"}, run: (*Server).writeGroup}, groupCalls
	case "sso.get_provider_configurations":
		return endpoint{roles: admins, run: (*Server).providerConfigurations}, groupCalls && !s.options.NoConnections
	case "server.info":
		return endpoint{run: (*Server).info}, true
	case "debug.ping":
		return endpoint{open: true, run: func(*Server, identity, map[string]any) answer { return ok(map[string]any{"msg": "ping"}) }}, true
	}
	return endpoint{}, false
}

func (s *Server) answer(call string, r *http.Request, body []byte) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, there := s.endpoint(call)
	if !there {
		return failed(404, 0, "Unable to find endpoint for name %s and version 2.34", call)
	}
	who, refused := s.authenticate(r)
	if refused.code != 0 && !e.open {
		return refused
	}
	if len(e.roles) > 0 && !slices.Contains(e.roles, who.Role) {
		return failed(403, 20, "Unauthorized (user role is not allowed): required roles %s", strings.Join(e.roles, ", "))
	}
	fields, refused := decode(r, body)
	if refused.code != 0 {
		return refused
	}
	for name, kind := range e.fields {
		if v, given := fields[name]; given && v != nil && !isKind(v, kind) {
			return failed(400, 12, "Validation error (invalid type): %s is not of type %s", name, kind)
		}
	}
	return e.run(s, who, fields)
}

func decode(r *http.Request, body []byte) (map[string]any, answer) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind == "application/x-www-form-urlencoded" || len(body) == 0 {
		return nil, answer{} // ignored without an error
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return nil, failed(400, 0, "Invalid JSON: %v", err)
	}
	fields, isObject := v.(map[string]any)
	if !isObject {
		return nil, failed(500, 0, "General server error: type error, the body is not an object")
	}
	return fields, answer{}
}

func isKind(v any, kind string) bool {
	switch kind {
	case "integer":
		n, is := v.(float64)
		return is && n == math.Trunc(n)
	case "boolean":
		_, is := v.(bool)
		return is
	case "string":
		_, is := v.(string)
		return is
	}
	list, is := v.([]any)
	return is && !slices.ContainsFunc(list, func(x any) bool { _, text := x.(string); return !text })
}

// identity is the user in a token. The role is the one at the time of the login.
type identity struct {
	User        string `json:"user"`
	UserName    string `json:"user_name"`
	Role        string `json:"role"`
	Company     string `json:"company"`
	CompanyName string `json:"company_name"`
}

type claims struct {
	jwt.RegisteredClaims
	Identity      identity `json:"identity"`
	ServerVersion string   `json:"server_version"`
	APIVersion    string   `json:"api_version"`
	FeatureSet    string   `json:"feature_set"`
}

func (s *Server) authenticate(r *http.Request) (identity, answer) {
	header := r.Header.Get("Authorization")
	if access, secret, is := r.BasicAuth(); is {
		c, known := s.credentials[access]
		if !known || c.secret != secret {
			return identity{}, failed(401, 22, "Unauthorized (invalid credentials) (failed to locate provided credentials)")
		}
		u := s.users[c.user]
		return identity{u.ID, u.Name, u.Role, "company-1", "clearml"}, answer{}
	}
	token, is := strings.CutPrefix(header, "Bearer ")
	switch cookie, err := r.Cookie("clearml_token_basic"); {
	case is:
	case header != "":
		return identity{}, failed(401, 10, "Unauthorized (bad authentication scheme)")
	case err == nil:
		token = cookie.Value
	default:
		return identity{}, failed(401, 20, "Unauthorized (missing credentials)")
	}
	var c claims
	_, err := jwt.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return s.key, nil }, jwt.WithValidMethods([]string{"HS256"}))
	if err != nil || !s.tokens[token] {
		return identity{}, failed(401, 30, "Unauthorized (invalid token): token expired, revoked or malformed")
	}
	return c.Identity, answer{}
}

func (s *Server) login(who identity, fields map[string]any) answer {
	const day = 24 * time.Hour
	asked, _ := fields["expiration_sec"].(float64)
	if asked > 31_536_000 {
		return failed(400, 12, "Validation error: expiration_sec is more than 31536000")
	}
	life := time.Duration(asked) * time.Second
	if asked == 0 {
		life = 30 * day
	}
	life = cmp.Or(s.options.TokenLife, life)
	now := time.Now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(life)), ID: randomID()},
		Identity:         who, ServerVersion: "3.30.0", APIVersion: "2.34", FeatureSet: "enterprise",
	}).SignedString(s.key)
	if err != nil {
		return failed(500, 0, "General server error: %v", err)
	}
	s.tokens[token] = true
	a := ok(map[string]any{"token": token})
	a.cookie = token
	return a
}

func (s *Server) info(identity, map[string]any) answer {
	return ok(map[string]any{"version": "3.30.0", "build": "1", "commit": "0", "api_version": "2.34"})
}

func (s *Server) currentUser(who identity, _ map[string]any) answer {
	u, known := s.users[who.User]
	if !known || u.Service {
		return failed(400, 300, "Invalid user id: id=%s", who.User)
	}
	return ok(map[string]any{"user": map[string]any{"id": u.ID, "name": u.Name, "role": u.Role,
		"company": map[string]any{"id": who.Company, "name": who.CompanyName}}})
}

// userFields returns the fields that order_by and only_fields may name.
func (s *Server) userFields() []string {
	fields := []string{"id", "name", "given_name", "family_name", "company", "created"}
	if !s.options.Open {
		fields = append(fields, "email", "role", "providers", "sec_groups")
	}
	return fields
}

func (s *Server) getAll(who identity, fields map[string]any) answer {
	return s.list(who, fields, false)
}

// getAllEx is like getAll, with two differences. The company of a user is an object, and not only
// an id. And include_providers_info has no effect, because only getAll has this parameter. So the
// answer has only the name of each provider, and the time of the last sign-in through it.
func (s *Server) getAllEx(who identity, fields map[string]any) answer {
	delete(fields, "include_providers_info")
	return s.list(who, fields, true)
}

func (s *Server) list(who identity, fields map[string]any, extended bool) answer {
	ids, order, only := texts(fields["id"]), texts(fields["order_by"]), texts(fields["only_fields"])
	for _, f := range append(slices.Clone(only), order...) {
		if !slices.Contains(s.userFields(), strings.TrimPrefix(f, "-")) {
			return failed(400, 14, "Fields error: unknown field %s", f)
		}
	}
	info, _ := fields["include_providers_info"].(bool)
	auth, _ := fields["include_auth"].(bool)
	auth = auth && !s.options.Open && slices.Contains(admins, who.Role)
	var users []User
	for _, id := range s.order {
		u := s.users[id]
		if u.Service && !s.options.ServiceUsersListed || len(ids) > 0 && !slices.Contains(ids, id) {
			continue
		}
		users = append(users, u)
	}
	for _, f := range slices.Backward(order) {
		name, down := strings.CutPrefix(f, "-")
		slices.SortStableFunc(users, func(a, b User) int {
			c := strings.Compare(s.userField(a, name, auth), s.userField(b, name, auth))
			if down {
				return -c
			}
			return c
		})
	}
	// Only this page's records and groups are built, to save time in lists with many pages.
	users = cut(users, fields)
	var groups map[string][]string
	if auth {
		groups = s.secGroups(users)
	}
	var page []map[string]any
	for _, u := range users {
		r := s.userRecord(u, auth, info, groups[u.ID])
		if extended {
			r["company"] = map[string]any{"id": "company-1", "name": "clearml"}
		}
		// It is unknown whether include_activity works without include_auth in ClearML. It does
		// not work here.
		if activity, _ := fields["include_activity"].(bool); extended && auth && activity && u.Activity != nil && !s.options.NoActivity {
			r["activity"] = u.Activity
		}
		page = append(page, r)
	}
	if len(only) > 0 {
		for i, r := range page {
			kept := make(map[string]any)
			for _, f := range only {
				if v, there := r[f]; there {
					kept[f] = v
				}
			}
			page[i] = kept
		}
	}
	return ok(map[string]any{"users": append([]map[string]any{}, page...)})
}

// cut returns the records of the page that the request asks for. The page size is pageCap at
// most. Pages are counted from 0.
func cut[T any](records []T, fields map[string]any) []T {
	size, page := pageCap, 0
	if n, given := fields["page_size"].(float64); given && n > 0 {
		size = min(int(n), pageCap)
	}
	if n, given := fields["page"].(float64); given && n > 0 {
		page = int(n)
	}
	start := min(page*size, len(records))
	return slices.Clone(records[start:min(start+size, len(records))])
}

// userField returns the value of the named field of a user, as text. Lists of users are sorted by
// this text. If auth is false, the fields of include_auth, such as email and role, are empty.
func (s *Server) userField(u User, name string, auth bool) string {
	if name == "id" {
		return u.ID
	}
	text, _ := s.userRecord(u, auth, false, nil)[name].(string)
	return text
}

// userRecord returns the record of a user for an answer. Unset fields are absent. The fields of
// include_auth are absent unless auth is true. groups is the value of the field sec_groups. If info
// is true (include_providers_info), a provider has all that User.Providers holds about it, and
// otherwise only a time.
func (s *Server) userRecord(u User, auth, info bool, groups []string) map[string]any {
	r := map[string]any{"id": u.ID, "company": "company-1", "created": "2026-01-01T00:00:00Z"}
	set := func(name, value string) {
		if value != "" {
			r[name] = value
		}
	}
	set("name", u.Name)
	set("given_name", u.GivenName)
	set("family_name", u.FamilyName)
	if !auth {
		return r
	}
	set("email", u.Email)
	if !s.options.NoRoles {
		set("role", s.roleOf(u))
	}
	if len(groups) > 0 {
		r["sec_groups"] = groups
	}
	if u.Providers != nil && !s.options.NoProviders {
		providers := make(map[string]any, len(u.Providers))
		for name, told := range u.Providers {
			providers[name] = "2026-01-01T00:00:00Z"
			if info {
				providers[name] = told
			}
		}
		r["providers"] = providers
	}
	return r
}

// roleOf returns the role in a user's record. It is unknown whether a member of Admins also has
// the role admin in ClearML. Here a member of Admins has the role, unless RolesApart is set.
func (s *Server) roleOf(u User) string {
	if !s.options.RolesApart && slices.Contains(s.groups[AdminsID].Members, u.ID) {
		return "admin"
	}
	return u.Role
}

// setRole sets the role of a user, with the limits that reference/clearml-api.md lists: some
// roles cannot be set, and nobody can set their own role.
func (s *Server) setRole(who identity, fields map[string]any) answer {
	id, _ := fields["user"].(string)
	role, _ := fields["role"].(string)
	u, known := s.users[id]
	switch {
	case id == "" || role == "":
		return failed(400, 12, "Validation error (missing required field): user and role are required")
	case !slices.Contains([]string{"admin", "user", "consumer"}, role):
		return failed(400, 12, "Validation error: role %s is not one of admin, user, consumer", role)
	case !known:
		return failed(400, 10, "Invalid user id: id=%s", id)
	case id == who.User:
		return failed(400, 300, "Cannot change own role: id=%s", id)
	case u.Role == role || slices.Contains([]string{"system", "root"}, u.Role):
		return ok(map[string]any{"updated": 0})
	}
	if !s.faults.writes.Ignore {
		u.Role = role
		s.users[id] = u
	}
	return ok(map[string]any{"updated": 1})
}

// secGroups returns the users' own view of the groups: group ids by user id.
func (s *Server) secGroups(users []User) map[string][]string {
	if s.faults.stale != nil {
		return s.faults.stale
	}
	view := make(map[string][]string, len(users))
	for _, u := range users {
		view[u.ID] = nil
	}
	for _, id := range s.groupOrder {
		if s.options.NoBuiltinSecGroups && s.groups[id].System {
			continue
		}
		for _, u := range s.members(s.groups[id]) {
			if list, asked := view[u]; asked {
				view[u] = append(list, id)
			}
		}
	}
	return view
}

func (s *Server) serviceUsers(identity, map[string]any) answer {
	list := []map[string]any{}
	for _, id := range s.order {
		if u := s.users[id]; u.Service {
			list = append(list, map[string]any{"id": u.ID, "name": u.Name, "role": u.Role})
		}
	}
	return ok(map[string]any{"users": list})
}

// getAccessRules answers permissions.get_access_rules. Each rule has its id, its name, and the
// ids of the users and groups that it names. ClearML documents the fields users and groups
// (reference/clearml-api.md). The key "rules" of the list, and that users are ids, are guesses.
func (s *Server) getAccessRules(identity, map[string]any) answer {
	list := []map[string]any{}
	for _, rule := range s.rules {
		r := map[string]any{"id": rule.ID, "name": rule.Name}
		if rule.Users != nil {
			r["users"] = rule.Users
		}
		if rule.Groups != nil {
			r["groups"] = rule.Groups
		}
		list = append(list, r)
	}
	return ok(map[string]any{"rules": list})
}

// providerConfigurations answers sso.get_provider_configurations with the connections that
// SetConnections set. It does not remove secrets from them.
func (s *Server) providerConfigurations(identity, map[string]any) answer {
	return ok(map[string]any{"configurations": append([]map[string]any{}, s.connections...)})
}

func (s *Server) getUserGroups(_ identity, fields map[string]any) answer {
	ids := texts(fields["groups"]) // an empty list and an absent field mean all groups
	permissions, _ := fields["include_permissions"].(bool)
	list := []map[string]any{}
	for _, id := range s.groupOrder {
		if len(ids) > 0 && !slices.Contains(ids, id) {
			continue
		}
		g := s.groups[id]
		members := []map[string]any{}
		for _, m := range s.members(g) {
			if n := s.faults.truncate; n > 0 && len(members) == n {
				break
			}
			member := map[string]any{"id": m}
			if u, known := s.users[m]; known {
				member["name"] = u.Name
				if u.Email != "" {
					member["email"] = u.Email
				}
			}
			members = append(members, member)
		}
		r := map[string]any{"id": g.ID, "name": g.Name, "description": g.Description, "system": g.System, "assignable": g.Assignable, "users": members}
		if permissions {
			r["permissions"] = []any{}
		}
		list = append(list, r)
	}
	return ok(map[string]any{"groups": list})
}

// writeGroup changes the fields of a group that the request contains. If no group has the id, or
// if the request has no id, writeGroup creates a group.
func (s *Server) writeGroup(_ identity, fields map[string]any) answer {
	id, _ := fields["id"].(string)
	g, known := s.groups[id]
	users, given := fields["users"]
	switch {
	case !known:
		g = Group{ID: cmp.Or(id, randomID()), Assignable: true}
	case g.ID == UsersID || given && !g.Assignable:
		return failed(400, 300, "Group cannot be modified: id=%s", id)
	}
	for _, u := range texts(users) {
		if _, there := s.users[u]; !there {
			return failed(400, 10, "Invalid user id: id=%s", u)
		}
	}
	if name, set := fields["name"].(string); set && !g.System {
		g.Name = name
	}
	if description, set := fields["description"].(string); set {
		g.Description = description
	}
	if given {
		g.Members = texts(users)
	}
	return s.store(g)
}

// store stores a written group, or misbehaves as MisbehaveWrites says.
func (s *Server) store(g Group) answer {
	w, before := s.faults.writes, s.groups[g.ID]
	shown := g.ID
	if w.Merge {
		for _, m := range before.Members {
			if !slices.Contains(g.Members, m) {
				g.Members = append(g.Members, m)
			}
		}
	}
	if w.ClearDescription {
		g.Description = ""
	}
	if w.DropUser != "" {
		g.Members = slices.DeleteFunc(g.Members, func(x string) bool { return x == w.DropUser })
	}
	if w.CreateOther {
		s.putGroup(Group{ID: randomID(), Name: g.Name, Assignable: true, Members: g.Members})
	}
	if other, there := s.named(w.RenameOther); there && w.RenameOther != "" {
		other.Name += " (renamed)"
		s.putGroup(other)
	}
	if w.OtherID {
		shown = randomID()
	}
	if !w.Ignore {
		s.putGroup(g)
	}
	return ok(map[string]any{"id": shown, "name": g.Name, "assignable": g.Assignable, "system": g.System})
}

func texts(v any) []string {
	list, _ := v.([]any)
	var out []string
	for _, x := range list {
		if text, is := x.(string); is {
			out = append(out, text)
		}
	}
	return out
}
