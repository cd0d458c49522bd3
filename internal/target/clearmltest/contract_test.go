package clearmltest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// reply holds the parts of an answer that the tests check.
type reply struct {
	status int
	close  bool
	kind   string
	cookie *http.Cookie
	body   string
	meta   struct {
		Trx      string `json:"trx"`
		Code     int    `json:"result_code"`
		Subcode  int    `json:"result_subcode"`
		Endpoint struct {
			Version json.RawMessage `json:"requested_version"`
		} `json:"endpoint"`
	}
	data map[string]any
}

// said returns code/subcode of the envelope, or the bare status.
func (r reply) said() string {
	if r.meta.Code == 0 {
		return fmt.Sprint(r.status)
	}
	return fmt.Sprintf("%d/%d", r.meta.Code, r.meta.Subcode)
}

func (r reply) ids(list string) []string {
	var ids []string
	items, _ := r.data[list].([]any)
	for _, x := range items {
		id, _ := x.(map[string]any)["id"].(string)
		ids = append(ids, id)
	}
	return ids
}

func post(t *testing.T, s *Server, path, auth, body string, headers ...string) reply {
	t.Helper()
	return request(t, http.MethodPost, s.URL+path, auth, body, headers...)
}

func request(t *testing.T, method, url, auth, body string, headers ...string) reply {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	r := reply{status: resp.StatusCode, close: resp.Close, kind: resp.Header.Get("Content-Type"), body: string(text)}
	for _, c := range resp.Cookies() {
		r.cookie = c
	}
	var e struct {
		Meta any            `json:"meta"`
		Data map[string]any `json:"data"`
	}
	e.Meta = &r.meta
	if json.Unmarshal(text, &e) == nil {
		r.data = e.Data
	}
	return r
}

// bearer logs in and returns the Authorization header.
func bearer(t *testing.T, s *Server, access, secret string) string {
	t.Helper()
	req, _ := http.NewRequest(http.MethodPost, s.URL+"/auth.login", strings.NewReader("{}"))
	req.SetBasicAuth(access, secret)
	r := post(t, s, "/auth.login", req.Header.Get("Authorization"), `{"expiration_sec": 3600}`)
	token, _ := r.data["token"].(string)
	if token == "" {
		t.Fatalf("no token: %s", r.body)
	}
	return "Bearer " + token
}

func TestChecksComeInTheServersOrder(t *testing.T) {
	s := New(t, Options{})
	s.AddUser(User{ID: "u", Name: "plain"})
	s.SetCredentials("plain", "secret", "u")
	admin, plain := bearer(t, s, "access", "secret"), bearer(t, s, "plain", "secret")
	tests := []struct {
		name, path, auth, body string
		headers                []string
		want                   string
	}{
		{"any Content-Encoding is 415, ahead of the path", "/nonsense", "", "{", []string{"Content-Encoding", "identity"}, "415"},
		{"a path that is no call, ahead of credentials", "/nonsense", "", "{}", nil, "400/0"},
		{"a call that does not exist, ahead of credentials", "/users.nonsense", "", "{}", nil, "404/0"},
		{"names are case-sensitive", "/Users.get_all", admin, "{}", nil, "404/0"},
		{"no credentials", "/users.get_all", "", "{", nil, "401/20"},
		{"wrong credentials", "/users.get_all", "Basic eDp5", "{}", nil, "401/22"},
		{"bearer in lower case is another scheme", "/users.get_all", "bearer" + admin[6:], "{}", nil, "401/10"},
		{"a malformed token", "/users.get_all", "Bearer x", "{", nil, "401/30"},
		{"the role, ahead of the body", "/permissions.get_user_groups", plain, "{", nil, "403/20"},
		{"malformed JSON", "/permissions.get_user_groups", admin, "{", nil, "400/0"},
		{"a body that is no object", "/users.get_all", admin, "[]", nil, "500/0"},
		{"a field of the wrong type", "/users.get_all", admin, `{"page": "0"}`, nil, "400/12"},
		{"an unknown field is ignored", "/users.get_all", admin, `{"nonsense": 1}`, nil, "200/0"},
		{"an unknown field in order_by", "/users.get_all", admin, `{"order_by": ["nonsense"]}`, nil, "400/14"},
		{"an unknown field in only_fields", "/users.get_all", admin, `{"only_fields": ["nonsense"]}`, nil, "400/14"},
		{"a version before the call", "/v2.30/users.get_all", admin, "{}", nil, "200/0"},
		{"a form's body is ignored without a word", "/users.get_all", admin, "page=x", []string{"Content-Type", "application/x-www-form-urlencoded"}, "200/0"},
		{"ping needs nobody", "/debug.ping", "", "{}", nil, "200/0"},
		{"an identity without a user record", "/users.get_current_user", admin, "{}", nil, "400/300"},
		{"expiration_sec beyond a year", "/auth.login", admin, `{"expiration_sec": 31536001}`, nil, "400/12"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := post(t, s, tt.path, tt.auth, tt.body, tt.headers...)
			if r.said() != tt.want {
				t.Errorf("got %s, want %s: %s", r.said(), tt.want, r.body)
			}
			if !r.close {
				t.Error("the connection was kept")
			}
		})
	}
}

func TestTheEnvelopesOddities(t *testing.T) {
	s := New(t, Options{})
	admin := bearer(t, s, "access", "secret")
	for path, want := range map[string]string{"/users.get_all": `"2.34"`, "/v2.30/users.get_all": `"2.30"`, "/users.nonsense": `2.34`, "/nonsense": `null`} {
		r := post(t, s, path, admin, "{}", "X-Clearml-Trx", "pass-1")
		if got := string(r.meta.Endpoint.Version); got != want {
			t.Errorf("%s: requested_version is %s, want %s", path, got, want)
		}
		if r.meta.Trx != "pass-1" {
			t.Errorf("%s: trx is %q", path, r.meta.Trx)
		}
	}
	if r := request(t, http.MethodGet, s.URL+"/users.get_all", admin, ""); r.said() != "200/0" {
		t.Errorf("GET: %s", r.said())
	}
}

func TestOutsideTheBaseIsTheWebServersPage(t *testing.T) {
	s := New(t, Options{Base: "/api"})
	root := strings.TrimSuffix(s.URL, "/api")
	if r := request(t, http.MethodGet, root+"/users.get_all", "", ""); r.said() != "200" || r.kind != "text/html" {
		t.Errorf("GET: %s %s", r.said(), r.kind)
	}
	if r := request(t, http.MethodPost, root+"/users.get_all", "", "{}"); r.said() != "405" {
		t.Errorf("POST: %s", r.said())
	}
	if r := post(t, s, "/users.get_all", "", "{}"); r.said() != "401/20" {
		t.Errorf("below the base: %s", r.said())
	}
}

func TestTokens(t *testing.T) {
	s := New(t, Options{})
	admin := bearer(t, s, "access", "secret")
	s.AddUser(User{ID: Self, Name: "groupsync", Role: "user", Service: true})
	if r := post(t, s, "/permissions.get_user_groups", admin, "{}"); r.said() != "200/0" {
		t.Errorf("a token keeps the role of its issue: got %s", r.said())
	}
	if r := post(t, s, "/permissions.get_user_groups", bearer(t, s, "access", "secret"), "{}"); r.said() != "403/20" {
		t.Errorf("a new token has the new role: got %s", r.said())
	}
	r := post(t, s, "/auth.login", admin, `{"expiration_sec": -5}`)
	token, _ := r.data["token"].(string)
	if again := post(t, s, "/users.get_all", "Bearer "+token, "{}"); r.status != 200 || again.said() != "401/30" {
		t.Errorf("a negative life: login %d, then %s", r.status, again.said())
	}
	if r.cookie == nil {
		t.Fatal("the login sets no cookie")
	}
	r = post(t, s, "/auth.login", admin, `{}`)
	if again := post(t, s, "/users.get_all", "", "{}", "Cookie", r.cookie.Name+"="+r.cookie.Value); again.said() != "200/0" {
		t.Errorf("the cookie in place of the header: %s", again.said())
	}
	s.ExpireTokens()
	if r := post(t, s, "/users.get_all", admin, "{}"); r.said() != "401/30" {
		t.Errorf("an expired token: %s", r.said())
	}
}

func TestUsersGetAll(t *testing.T) {
	s := New(t, Options{})
	for i := range 1205 {
		s.AddUser(User{ID: fmt.Sprintf("u%04d", 1204-i), Name: "n", Email: "e@x", Providers: map[string]any{"keycloak": map[string]any{"sub": "k"}}})
	}
	s.AddUser(User{ID: "Z", Name: "z"})
	s.AddUser(User{ID: "plain"})
	s.SetCredentials("plain", "secret", "plain")
	s.AddTeam("team", "Z")
	admin, plain := bearer(t, s, "access", "secret"), bearer(t, s, "plain", "secret")
	first := func(body string) []string { return post(t, s, "/users.get_all", admin, body).ids("users") }
	if n := len(first(`{}`)); n != 500 {
		t.Errorf("no page fields: %d users, want the first 500", n)
	}
	if n := len(first(`{"page": 0, "page_size": 1000}`)); n != 500 {
		t.Errorf("page_size 1000: %d users, want 500", n)
	}
	if ids := first(`{"page": 1, "page_size": 1000, "order_by": ["id"]}`); ids[0] != "u0498" {
		t.Errorf("page 1 of 1000 begins with %s, want u0498: the capped size sets the offset", ids[0])
	}
	if ids := first(`{"page": 0, "page_size": 3, "order_by": ["id"]}`); !slices.Equal(ids, []string{"Z", "plain", "u0000"}) {
		t.Errorf("order by bytes: %v", ids)
	}
	if ids := first(`{"page": 0, "page_size": 1, "order_by": ["-id"]}`); !slices.Equal(ids, []string{"u1204"}) {
		t.Errorf("order down: %v", ids)
	}
	if n := len(first(`{"page": 9, "page_size": 500}`)); n != 0 {
		t.Errorf("beyond the end: %d", n)
	}
	if ids := first(`{"id": ["Z", "nobody"]}`); !slices.Equal(ids, []string{"Z"}) {
		t.Errorf("by id: %v", ids)
	}
	if n := len(first(`{"id": []}`)); n != 500 {
		t.Errorf("an empty list of ids: %d users, want everybody's first 500", n)
	}
	rows := []struct{ name, auth, body, want string }{
		{"without auth fields", admin, `{"id": ["u0000"]}`, `{"company":"company-1","created":"2026-01-01T00:00:00Z","id":"u0000","name":"n"}`},
		{"with them, the time of each provider", admin, `{"id": ["u0000"], "include_auth": true}`, `{"company":"company-1","created":"2026-01-01T00:00:00Z","email":"e@x","id":"u0000","name":"n","providers":{"keycloak":"2026-01-01T00:00:00Z"},"role":"user","sec_groups":["` + UsersID + `"]}`},
		{"with what the provider told", admin, `{"id": ["u0000"], "include_auth": true, "include_providers_info": true, "only_fields": ["id", "providers"]}`, `{"id":"u0000","providers":{"keycloak":{"sub":"k"}}}`},
		{"unset fields are absent", admin, `{"id": ["Z"], "include_auth": true, "only_fields": ["email", "providers", "sec_groups"]}`, `{"sec_groups":["` + UsersID + `","cm-team"]}`},
		{"auth fields are for admins", plain, `{"id": ["u0000"], "include_auth": true}`, `{"company":"company-1","created":"2026-01-01T00:00:00Z","id":"u0000","name":"n"}`},
		{"only_fields without id leaves it out", admin, `{"id": ["Z"], "only_fields": ["name"]}`, `{"name":"z"}`},
	}
	for _, row := range rows {
		r := post(t, s, "/users.get_all", row.auth, row.body)
		list, _ := r.data["users"].([]any)
		if len(list) != 1 {
			t.Fatalf("%s: %s", row.name, r.body)
		}
		if got, _ := json.Marshal(list[0]); string(got) != row.want {
			t.Errorf("%s:\ngot  %s\nwant %s", row.name, got, row.want)
		}
	}
}

// TestConnections checks that only an administrator may read the connections, and that the server
// returns them exactly as they are stored.
func TestConnections(t *testing.T) {
	const call = "/sso.get_provider_configurations"
	s := New(t, Options{})
	s.AddUser(User{ID: "u", Name: "plain"})
	s.SetCredentials("plain", "secret", "u")
	admin := bearer(t, s, "access", "secret")
	if r := post(t, s, call, admin, "{}"); r.said() != "200/0" || fmt.Sprint(r.data) != "map[configurations:[]]" {
		t.Errorf("none: %s", r.body)
	}
	s.SetConnections(map[string]any{"provider": "keycloak", "client_secret": "x"})
	if r := post(t, s, call, admin, "{}"); fmt.Sprint(r.data) != "map[configurations:[map[client_secret:x provider:keycloak]]]" {
		t.Errorf("one: %s", r.body)
	}
	for _, row := range []struct {
		name, auth, want string
		server           *Server
	}{
		{"without credentials", "", "401/20", s},
		{"by a plain user", bearer(t, s, "plain", "secret"), "403/20", s},
		{"a server without the call", "", "404/0", New(t, Options{NoConnections: true})},
		{"the open server", "", "404/0", New(t, Options{Open: true})},
	} {
		if got := post(t, row.server, call, row.auth, "{}").said(); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
}

func TestServiceUsersAndTheOpenServer(t *testing.T) {
	s := New(t, Options{})
	admin := bearer(t, s, "access", "secret")
	if ids := post(t, s, "/users.get_service_users", admin, "{}").ids("users"); !slices.Equal(ids, []string{Self}) {
		t.Errorf("service users: %v", ids)
	}
	if ids := post(t, s, "/users.get_all", admin, "{}").ids("users"); len(ids) != 0 {
		t.Errorf("listed among the users: %v", ids)
	}
	listed := New(t, Options{ServiceUsersListed: true, NoServiceUsers: true})
	admin = bearer(t, listed, "access", "secret")
	if ids := post(t, listed, "/users.get_all", admin, "{}").ids("users"); !slices.Equal(ids, []string{Self}) {
		t.Errorf("not listed among the users: %v", ids)
	}
	if r := post(t, listed, "/users.get_service_users", "", "{}"); r.said() != "404/0" {
		t.Errorf("a call that is not there: %s", r.said())
	}
	open := New(t, Options{Open: true})
	admin = bearer(t, open, "access", "secret")
	if r := post(t, open, "/permissions.get_user_groups", "", "{}"); r.said() != "404/0" {
		t.Errorf("the open server's group calls: %s", r.said())
	}
	if r := post(t, open, "/users.get_all", admin, `{"only_fields": ["email"]}`); r.said() != "400/14" {
		t.Errorf("the open server's emails: %s", r.said())
	}
}

func TestUserGroups(t *testing.T) {
	s := New(t, Options{})
	s.AddUser(User{ID: "a", Name: "A", Email: "a@x"})
	s.AddUser(User{ID: "b"})
	s.AddGroup(Group{ID: "g", Name: "team", Description: "ours", Assignable: true, Members: []string{"a"}})
	s.AddGroup(Group{ID: "fixed", Name: "fixed"})
	admin := bearer(t, s, "access", "secret")
	get := func(body string) reply { return post(t, s, "/permissions.get_user_groups", admin, body) }
	put := func(body string) reply { return post(t, s, "/permissions.add_or_update_user_group", admin, body) }

	all := []string{UsersID, AdminsID, QueueAdminsID, "g", "fixed"}
	for _, body := range []string{`{}`, `{"groups": []}`} {
		if ids := get(body).ids("groups"); !slices.Equal(ids, all) {
			t.Errorf("%s: %v, want all", body, ids)
		}
	}
	if got, _ := json.Marshal(get(`{"groups": ["g", "nobody"]}`).data); string(got) != `{"groups":[{"assignable":true,"description":"ours","id":"g","name":"team","system":false,"users":[{"email":"a@x","id":"a","name":"A"}]}]}` {
		t.Errorf("one group: %s", got)
	}
	if m := s.Members("Users"); !slices.Equal(m, []string{"a", "b", Self}) {
		t.Errorf("everybody is in Users: %v", m)
	}
	rows := []struct{ name, body, want string }{
		{"an unknown user", `{"id": "g", "users": ["a", "ghost"]}`, "400/10"},
		{"the built-in Users", `{"id": "` + UsersID + `", "users": []}`, "400/300"},
		{"a group that is not assignable", `{"id": "fixed", "users": ["a"]}`, "400/300"},
		{"users of the wrong type", `{"id": "g", "users": [{"id": "a"}]}`, "400/12"},
		{"users replaces the whole list", `{"id": "g", "users": ["b"]}`, "200/0"},
		{"an unknown id creates a group with that id", `{"id": "new", "name": "made", "users": ["a"]}`, "200/0"},
	}
	for _, row := range rows {
		if r := put(row.body); r.said() != row.want {
			t.Errorf("%s: got %s, want %s", row.name, r.said(), row.want)
		}
	}
	if m := s.Members("team"); !slices.Equal(m, []string{"b"}) {
		t.Errorf("team: %v", m)
	}
	if m := s.Members("made"); !slices.Equal(m, []string{"a"}) {
		t.Errorf("made: %v", m)
	}
}

// TestARefusedWriteChangesNothing checks that credentials, role and body are checked before
// anything is carried out, and that a refused write creates no group.
func TestARefusedWriteChangesNothing(t *testing.T) {
	s := New(t, Options{})
	s.AddUser(User{ID: "a"})
	s.AddUser(User{ID: "b"})
	s.SetCredentials("plain", "secret", "a")
	s.AddGroup(Group{ID: "g", Name: "team", Description: "ours", Assignable: true, Members: []string{"a"}})
	expired, plain := bearer(t, s, "access", "secret"), bearer(t, s, "plain", "secret")
	s.ExpireTokens()
	admin := bearer(t, s, "access", "secret")
	const write = `{"id": "g", "name": "renamed", "description": "", "users": ["b"]}`
	rows := []struct {
		name, auth, body string
		headers          []string
		want             string
	}{
		{"a token that expired or was revoked", expired, write, nil, "401/30"},
		{"a token of another scheme", "bearer" + admin[6:], write, nil, "401/10"},
		{"no credentials", "", write, nil, "401/20"},
		{"no credentials and an unknown id", "", `{"id": "new", "users": ["b"]}`, nil, "401/20"},
		{"an encoded body", admin, write, []string{"Content-Encoding", "identity"}, "415"},
		{"malformed JSON", admin, write[1:], nil, "400/0"},
		{"a body that is no object", admin, "[" + write + "]", nil, "500/0"},
		{"a description that is no text", admin, `{"id": "g", "description": 1, "users": ["b"]}`, nil, "400/12"},
		{"one unknown user among the known", admin, `{"id": "new", "name": "new", "users": ["b", "ghost"]}`, nil, "400/10"},
	}
	before := s.Groups()
	for _, row := range rows {
		if r := post(t, s, "/permissions.add_or_update_user_group", row.auth, row.body, row.headers...); r.said() != row.want {
			t.Errorf("%s: got %s, want %s", row.name, r.said(), row.want)
		}
		if got, want := fmt.Sprint(s.Groups()), fmt.Sprint(before); got != want {
			t.Errorf("%s changed the groups:\ngot  %s\nwant %s", row.name, got, want)
		}
	}
	if r := post(t, s, "/permissions.add_or_update_user_group", plain, write); r.said() != "401/30" {
		t.Errorf("a plain user's expired token: %s", r.said())
	}
	if r := post(t, s, "/permissions.add_or_update_user_group", bearer(t, s, "plain", "secret"), write); r.said() != "403/20" || fmt.Sprint(s.Groups()) != fmt.Sprint(before) {
		t.Errorf("a plain user: %s, the groups are %v", r.said(), s.Groups())
	}
}

func TestSecGroupsMayLeaveBuiltInGroupsOut(t *testing.T) {
	for leftOut, want := range map[bool]string{false: `["` + UsersID + `","` + AdminsID + `","cm-team"]`, true: `["cm-team"]`} {
		s := New(t, Options{NoBuiltinSecGroups: leftOut})
		s.AddUser(User{ID: "a"})
		s.AddTeam("team", "a")
		s.SetMembers("Admins", "a")
		r := post(t, s, "/users.get_all", bearer(t, s, "access", "secret"), `{"id": ["a"], "include_auth": true, "only_fields": ["sec_groups"]}`)
		if got := r.body[strings.Index(r.body, `"sec_groups":`)+len(`"sec_groups":`):]; !strings.HasPrefix(got, want) {
			t.Errorf("left out %v: got %s, want %s", leftOut, got, want)
		}
	}
}

func TestAnswersComeCompressedWhenAsked(t *testing.T) {
	s := New(t, Options{})
	r := post(t, s, "/debug.ping", "", "{}", "Accept-Encoding", "gzip") // set explicitly, so net/http does not undo gzip
	if !bytes.HasPrefix([]byte(r.body), []byte{0x1f, 0x8b}) {
		t.Errorf("not compressed: %q", r.body)
	}
}

// TestWhatPeopleHold checks the calls of groupsync leavers. Only an administrator may make
// them, and they leave out a value that the server does not return.
func TestWhatPeopleHold(t *testing.T) {
	s := New(t, Options{})
	s.AddUser(User{ID: "a", Email: "a@x", Activity: map[string]any{"last_ui_access": "2026-11-20T10:00:00Z"}})
	s.AddUser(User{ID: "plain"})
	s.SetCredentials("plain", "secret", "plain")
	s.AddRule(Rule{ID: "r", Users: []string{"a"}})
	admin, plain := bearer(t, s, "access", "secret"), bearer(t, s, "plain", "secret")
	lacks := New(t, Options{NoAccessRules: true, NoActivity: true})
	lacks.AddUser(User{ID: "a", Activity: map[string]any{"last_ui_access": "2026-11-20T10:00:00Z"}})
	const both = `{"include_auth": true, "include_activity": true, "order_by": ["id"]}`
	for _, row := range []struct {
		name, path, auth, body string
		said                   string
		has, lacks             string // texts in the body
	}{
		{"access rules", "/permissions.get_access_rules", admin, "{}", "200/0", `"users":["a"]`, `"groups"`},
		{"access rules, asked by a plain user", "/permissions.get_access_rules", plain, "{}", "403/20", "", `"a"`},
		{"activity", "/users.get_all_ex", admin, both, "200/0", `"activity":{"last_ui_access":"2026-11-20T10:00:00Z"}`, ""},
		{"the company is an object", "/users.get_all_ex", admin, both, "200/0", `"company":{"id":"company-1","name":"clearml"}`, ""},
		{"activity, asked by a plain user", "/users.get_all_ex", plain, both, "200/0", `"id":"a"`, "activity"},
		{"activity of the call that has none", "/users.get_all", admin, both, "200/0", `"email":"a@x"`, "activity"},
		{"activity of another type", "/users.get_all_ex", admin, `{"include_activity": "yes"}`, "400/12", "", ""},
		{"an order by a field that there is not", "/users.get_all_ex", admin, `{"order_by": ["activity"]}`, "400/14", "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := post(t, s, row.path, row.auth, row.body)
			if r.said() != row.said || !strings.Contains(r.body, row.has) || row.lacks != "" && strings.Contains(r.body, row.lacks) {
				t.Errorf("%s, want %s with %q and without %q\n%s", r.said(), row.said, row.has, row.lacks, r.body)
			}
		})
	}
	admin = bearer(t, lacks, "access", "secret")
	if r := post(t, lacks, "/permissions.get_access_rules", "", "{}"); r.said() != "404/0" {
		t.Errorf("a call that is not there: %s", r.said())
	}
	if r := post(t, lacks, "/users.get_all_ex", admin, both); strings.Contains(r.body, "activity") {
		t.Errorf("activity is told: %s", r.body)
	}
}
