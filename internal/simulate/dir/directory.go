// Package dir is a model of a ClearML Enterprise server for the simulation. It implements the calls
// that groupsync makes, as reference/clearml-api.md describes them. Its other methods are what
// people do in ClearML: they sign in, and administrators and other tools edit groups. The package
// shares no code with clearmltest, the stand-in of the other tests.
package dir

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"groupsync/internal/simulate/chaos"
	"groupsync/internal/simulate/history"
)

// Base is the server's address.
const Base = "http://127.0.0.1:2"

// Provider is ClearML's name of the sign-in by Keycloak.
const Provider = "keycloak"

// The names of the built-in groups.
const (
	Admins = "Admins"
	Users  = "Users"
)

type user struct {
	id, name, email string
	kept            string // the account id that the server keeps from a sign-in through Keycloak; empty: no id
	keycloak, other bool
	service         bool
	role            string
	bossByLogin     bool // a sign-in made the user an administrator
}

type group struct {
	id, name, description string
	system, assignable    bool
	members               map[string]bool
	byLogin               map[string]bool // the users whom a sign-in made members
}

// Directory is the model of the server. Its exported bool fields choose how the server behaves.
type Directory struct {
	TokenLife time.Duration
	KeepsIDs  bool // the server keeps the id that the identity provider sent
	OneView   bool // the users' own lists of groups leave out built-in groups
	Rogue     bool // the server changes another group too when it carries out a write

	// CutsAdmins matters only if OneView is set. If it is true, Cut shortens the member lists of
	// built-in groups too. If it is false, Cut leaves them complete, because only these lists show
	// their members, and groupsync could not detect a short one.
	CutsAdmins bool

	log *history.Log

	mu        sync.Mutex
	rng       *rand.Rand
	users     map[string]*user
	groups    map[string]*group
	tokens    map[string]time.Time
	cut       int // the largest number of members that a member list shows; 0: no limit
	cutOwn    bool
	made      int
	sent      int
	Sometimes map[string]int
}

// New returns a server with the built-in groups and one user: groupsync's own, an administrator.
func New(log *history.Log, rng *rand.Rand) *Directory {
	d := &Directory{
		log: log, rng: rng, TokenLife: time.Hour, users: make(map[string]*user), groups: make(map[string]*group),
		tokens: make(map[string]time.Time), Sometimes: make(map[string]int),
	}
	for _, name := range []string{Users, Admins, "Queue admins"} {
		d.addGroup(name, true, name == Admins)
	}
	d.log.Add(history.UserGroup{ID: history.AdminRole, Name: "role admin", System: true, Assignable: true})
	d.put(&user{id: Self, name: "groupsync", role: "user"})
	d.setRole(d.users[Self], roleAdmin, "setup", 0)
	d.set(d.named(Admins), Self, true, "setup", 0)
	return d
}

// Self is the id of groupsync's own user.
const Self = "self"

func (d *Directory) newID() string {
	d.made++
	return fmt.Sprintf("%08x%06x", d.rng.Uint32(), d.made)
}

func (d *Directory) addGroup(name string, system, assignable bool) *group {
	g := &group{id: d.newID(), name: name, description: "about " + name, system: system, assignable: assignable, members: make(map[string]bool), byLogin: make(map[string]bool)}
	d.groups[g.id] = g
	d.tell(g)
	return g
}

func (d *Directory) tell(g *group) {
	d.log.Add(history.UserGroup{ID: g.id, Name: g.name, Description: g.description, System: g.system, Assignable: g.assignable})
}

// AddGroup makes a user group that people can be put into.
func (d *Directory) AddGroup(name string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.addGroup(name, false, true).id
}

// RenameGroup renames a user group, as an administrator does.
func (d *Directory) RenameGroup(id, name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if g := d.groups[id]; g != nil && !g.system {
		g.name = name
		d.tell(g)
	}
}

// DeleteGroup deletes a user group, as an administrator does.
func (d *Directory) DeleteGroup(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if g := d.groups[id]; g != nil && !g.system {
		delete(d.groups, id)
		d.log.Add(history.UserGroupGone{ID: id})
	}
}

// NewUser describes a user to add.
type NewUser struct {
	Name, Email, Kept        string
	Keycloak, Other, Service bool
}

// AddUser adds a user and returns the id.
func (d *Directory) AddUser(n NewUser) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	u := &user{id: d.newID(), name: n.Name, email: n.Email, kept: n.Kept, keycloak: n.Keycloak, other: n.Other, service: n.Service, role: "user"}
	d.put(u)
	return u.id
}

func (d *Directory) put(u *user) {
	d.users[u.id] = u
	d.tellUser(u)
}

func (d *Directory) tellUser(u *user) {
	d.log.Add(history.User{ID: u.id, Name: u.name, Email: u.email, Kept: u.kept, Role: u.role, Keycloak: u.keycloak, Other: u.other, Service: u.service})
}

// DeleteUser deletes a user.
func (d *Directory) DeleteUser(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.users[id] == nil || id == Self {
		return
	}
	for _, g := range d.sorted() {
		d.set(g, id, false, "person", 0)
	}
	d.setRole(d.users[id], "user", "person", 0)
	delete(d.users, id)
	d.log.Add(history.UserGone{ID: id})
}

func (d *Directory) named(name string) *group {
	for _, g := range d.groups {
		if g.name == name {
			return g
		}
	}
	return nil
}

// set adds the user id to the group (in is true) or removes the user. It returns false if nothing
// had to be changed. by and write are for the fact history.Member.
func (d *Directory) set(g *group, id string, in bool, by string, write int) bool {
	if g.members[id] == in {
		return false
	}
	if in {
		g.members[id] = true
	} else {
		delete(g.members, id)
		delete(g.byLogin, id)
	}
	d.log.Add(history.Member{Group: g.id, User: id, In: in, By: by, Write: write})
	return true
}

// Edit adds or removes one membership, as an administrator does.
func (d *Directory) Edit(groupID, userID string, in bool, by string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	g := d.groups[groupID]
	if g == nil || d.users[userID] == nil || !g.assignable || userID == Self {
		return
	}
	d.set(g, userID, in, by, 0)
}

// Members returns the ids of a group's members, sorted.
func (d *Directory) Members(groupID string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if g := d.groups[groupID]; g != nil {
		return keys(g.members)
	}
	return nil
}

// Replace writes the complete member list of a group, as another tool does. The tool may have read
// the list some time before, and then undoes newer changes.
func (d *Directory) Replace(groupID string, members []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	g := d.groups[groupID]
	if g == nil || !g.assignable {
		return
	}
	d.replace(g, members, "tool", 0)
}

func (d *Directory) replace(g *group, members []string, by string, write int) {
	want := make(map[string]bool, len(members))
	for _, id := range members {
		want[id] = d.users[id] != nil
	}
	for _, id := range keys(g.members) {
		if !want[id] {
			d.set(g, id, false, by, write)
		}
	}
	for _, id := range members {
		if want[id] {
			d.set(g, id, true, by, write)
		}
	}
}

// Cut shortens the member lists of groups from now on. The parameter to is the largest number of
// members that a list then shows. If to is 0, lists are complete again. Lists of built-in groups can
// be an exception (CutsAdmins). If own is true, the users' own lists of groups lack the same
// memberships.
func (d *Directory) Cut(to int, own bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut, d.cutOwn = to, own
}

// Login is what the identity provider sends about a person who signs in.
type Login struct {
	ID, Name, Email string
	Claim           []string // names of groups
	Admin, Boss     bool     // Admin: the sign-in puts the person into the group Admins; Boss: it gives the role admin
}

// SignIn signs a person in. It looks for the user by the kept id, and then by the email. If there
// is no user, it makes one. It then sets the user's memberships from the claim, as the per-login
// sync does, and returns the id of the user.
func (d *Directory) SignIn(l Login) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.find(l)
	if u == nil {
		u = &user{id: d.newID(), role: roleUser}
	}
	before := *u
	u.name, u.email, u.keycloak = l.Name, l.Email, true
	if d.KeepsIDs {
		u.kept = l.ID
	}
	if *u != before || d.users[u.id] == nil {
		d.put(u)
	}
	for _, g := range d.sorted() {
		if g.system && g.name != Admins || !g.assignable {
			continue
		}
		in := slices.Contains(l.Claim, g.name) && !g.system || g.name == Admins && l.Admin
		switch {
		case in:
			d.set(g, u.id, true, "login", 0)
			g.byLogin[u.id] = true
		case g.byLogin[u.id]:
			d.set(g, u.id, false, "login", 0)
		}
	}
	switch {
	case l.Boss && u.role == roleUser:
		d.setRole(u, roleAdmin, "login", 0)
		u.bossByLogin = true
	case !l.Boss && u.bossByLogin:
		d.setRole(u, roleUser, "login", 0)
	}
	return u.id
}

func (d *Directory) find(l Login) *user {
	for _, id := range keysOf(d.users) {
		if u := d.users[id]; u.keycloak && u.kept == l.ID {
			return u
		}
	}
	for _, id := range keysOf(d.users) {
		if u := d.users[id]; !u.service && u.email != "" && strings.EqualFold(u.email, l.Email) {
			return u
		}
	}
	return nil
}

// UserIDs returns the ids of the users that an event can be about, sorted. It leaves out
// groupsync's own user and service accounts.
func (d *Directory) UserIDs() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.DeleteFunc(keysOf(d.users), func(id string) bool { return id == Self || d.users[id].service })
}

// GroupIDs returns the ids of the groups that people can be put into, sorted by the groups'
// names.
func (d *Directory) GroupIDs() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var ids []string
	for _, g := range d.sorted() {
		if g.assignable {
			ids = append(ids, g.id)
		}
	}
	return ids
}

func (d *Directory) sorted() []*group {
	list := make([]*group, 0, len(d.groups))
	for _, g := range d.groups {
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b *group) int { return strings.Compare(a.name+a.id, b.name+b.id) })
	return list
}

func keys(m map[string]bool) []string { return keysOf(m) }

func keysOf[V any](m map[string]V) []string {
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

const (
	writeCall = "/permissions.add_or_update_user_group"
	roleCall  = "/users.set_role"
)

// Writes implements chaos.Model.
func (d *Directory) Writes(path string) bool { return path == writeCall || path == roleCall }

type writeBody struct {
	ID, Name    string
	Description *string
	Users       *[]string
}

// Sent implements chaos.Model. It adds the write to the log and returns the number of the write.
// It returns 0 for a request without credentials, which only asks whether the call exists.
func (d *Directory) Sent(q chaos.Request) int {
	if q.Header.Get("Authorization") == "" {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sent++
	if q.Path == roleCall {
		var b roleBody
		_ = json.Unmarshal(q.Body, &b)
		d.log.Add(history.SentRole{Node: q.Node, User: b.User, Role: b.Role, Number: d.sent})
		return d.sent
	}
	var b writeBody
	_ = json.Unmarshal(q.Body, &b)
	s := history.Sent{Node: q.Node, Group: b.ID, Name: b.Name, Number: d.sent}
	if b.Description != nil {
		s.Description = *b.Description
	}
	if b.Users != nil {
		s.Members = *b.Users
	}
	d.log.Add(s)
	return d.sent
}

func envelope(code, subcode int, words string, id int, data any) chaos.Answer {
	return chaos.Answer{Status: code, JSON: map[string]any{
		"meta": map[string]any{"id": fmt.Sprintf("call-%d", id), "trx": "", "endpoint": map[string]any{"name": "", "requested_version": 1.0, "actual_version": nil}, "result_code": code, "result_subcode": subcode, "result_msg": words},
		"data": data,
	}}
}

var calls = []string{"/auth.login", "/users.get_all", "/users.get_service_users", "/permissions.get_user_groups", writeCall, roleCall}

// Answer implements chaos.Model. It answers one request of groupsync.
func (d *Directory) Answer(q chaos.Request) chaos.Answer {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.made++
	fail := func(code, subcode int, words string) chaos.Answer {
		return envelope(code, subcode, words, d.made, map[string]any{})
	}
	if !slices.Contains(calls, q.Path) {
		return fail(404, 0, "no such call")
	}
	auth := q.Header.Get("Authorization")
	switch {
	case auth == "":
		return fail(401, 20, "no credentials")
	case q.Path == "/auth.login":
		if auth != "Basic "+base64.StdEncoding.EncodeToString([]byte("access:secret")) {
			return fail(401, 22, "wrong credentials")
		}
		return d.login(q)
	}
	if end, known := d.tokens[strings.TrimPrefix(auth, "Bearer ")]; !known || !time.Now().Before(end) {
		d.Sometimes["a token of ClearML expired during a pass"]++
		return fail(401, 30, "token expired")
	}
	switch q.Path {
	case "/users.get_all":
		return d.getUsers(q)
	case "/users.get_service_users":
		list := []any{}
		for _, id := range keysOf(d.users) {
			if u := d.users[id]; u.service {
				list = append(list, map[string]any{"id": u.id, "name": u.name, "role": u.role})
			}
		}
		return envelope(200, 0, "OK", d.made, map[string]any{"users": list})
	case "/permissions.get_user_groups":
		return d.getGroups(q)
	case roleCall:
		return d.updateRole(q)
	}
	return d.update(q)
}

func (d *Directory) login(q chaos.Request) chaos.Answer {
	now := time.Now()
	life := d.TokenLife
	payload := fmt.Sprintf(`{"exp":%d,"iat":%d,"identity":{"user":%q,"user_name":"groupsync","role":"admin"},"jti":"%d"}`, now.Add(life).Unix(), now.Unix(), Self, d.made)
	b64 := base64.RawURLEncoding.EncodeToString
	token := b64([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + b64([]byte(payload)) + "." + b64([]byte("signed"))
	for t, end := range d.tokens {
		if now.After(end) {
			delete(d.tokens, t)
		}
	}
	d.tokens[token] = now.Add(life)
	return envelope(200, 0, "OK", d.made, map[string]any{"token": token})
}

func (d *Directory) getUsers(q chaos.Request) chaos.Answer {
	var b struct {
		Page     int `json:"page"`
		PageSize int `json:"page_size"`
	}
	_ = json.Unmarshal(q.Body, &b)
	size := min(b.PageSize, 500)
	ids := slices.DeleteFunc(keysOf(d.users), func(id string) bool { return d.users[id].service })
	ids = ids[min(b.Page*size, len(ids)):]
	ids = ids[:min(size, len(ids))]
	list := []any{}
	for _, id := range ids {
		u := d.users[id]
		rep := map[string]any{"id": u.id, "name": u.name, "role": u.role, "company": "c"}
		if u.email != "" {
			rep["email"] = u.email
		}
		providers := map[string]any{}
		if u.keycloak {
			providers[Provider] = map[string]any{"email": u.email}
			if u.kept != "" {
				providers[Provider] = map[string]any{"sub": u.kept, "email": u.email}
			}
		}
		if u.other {
			providers["google"] = map[string]any{"email": u.email}
		}
		rep["providers"] = providers
		own := []string{}
		for _, g := range d.sorted() {
			if g.members[u.id] && !(g.system && d.OneView) && !(d.cutOwn && d.cut > 0 && !slices.Contains(d.shown(g), u.id)) {
				own = append(own, g.id)
			}
		}
		rep["sec_groups"] = own
		list = append(list, rep)
	}
	d.log.Add(history.Read{Node: q.Node, Group: history.AdminRole})
	return envelope(200, 0, "OK", d.made, map[string]any{"users": list})
}

// shown returns the members that the list of the group shows.
func (d *Directory) shown(g *group) []string {
	ids := keys(g.members)
	if d.cut > 0 && len(ids) > d.cut && (d.CutsAdmins || !d.OneView || !g.system) {
		d.Sometimes["a member list that the server cuts"]++
		ids = ids[:d.cut]
	}
	return ids
}

func (d *Directory) getGroups(q chaos.Request) chaos.Answer {
	var b struct{ Groups []string }
	_ = json.Unmarshal(q.Body, &b)
	list := []any{}
	for _, g := range d.sorted() {
		if len(b.Groups) > 0 && !slices.Contains(b.Groups, g.id) {
			continue
		}
		members := []any{}
		shown := d.shown(g)
		if len(shown) < len(g.members) {
			d.log.Add(history.Short{Node: q.Node, Group: g.id})
		}
		for _, id := range shown {
			u := d.users[id]
			members = append(members, map[string]any{"id": u.id, "name": u.name, "email": u.email})
		}
		list = append(list, map[string]any{"id": g.id, "name": g.name, "description": g.description, "system": g.system, "assignable": g.assignable, "users": members})
	}
	read := history.Read{Node: q.Node}
	if len(b.Groups) == 1 {
		read.Group = b.Groups[0]
	}
	d.log.Add(read)
	return envelope(200, 0, "OK", d.made, map[string]any{"groups": list})
}

// harm changes the description of a group other than the written one, and adds the fact Harm to the
// log. A canary must notice such a server.
func (d *Directory) harm(written *group, number int) {
	for _, g := range d.sorted() {
		if g != written && !g.system {
			g.description += "!"
			d.tell(g)
			d.log.Add(history.Harm{Number: number})
			return
		}
	}
}

// Behave ends the misbehaviour: it sets Rogue to false.
func (d *Directory) Behave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.Rogue = false
}

// update carries out a write of a user group. If there is no group with the id, update makes one,
// as ClearML does by reference/clearml-api.md.
func (d *Directory) update(q chaos.Request) chaos.Answer {
	var b writeBody
	if json.Unmarshal(q.Body, &b) != nil || b.Users == nil {
		return envelope(400, 12, "users missing", d.made, map[string]any{})
	}
	d.log.Add(history.Carried{Number: q.Number})
	g := d.groups[b.ID]
	if g == nil {
		g = &group{id: b.ID, name: b.Name, assignable: true, members: make(map[string]bool), byLogin: make(map[string]bool)}
		d.groups[g.id] = g
		d.tell(g)
	}
	if g.system && g.name != Admins || !g.assignable {
		return envelope(400, 0, "not assignable", d.made, map[string]any{})
	}
	if b.Name != "" && b.Name != g.name || b.Description != nil && *b.Description != g.description {
		g.name = b.Name
		if b.Description != nil {
			g.description = *b.Description
		}
		d.tell(g)
	}
	d.replace(g, *b.Users, history.Writer, q.Number)
	if d.Rogue {
		d.harm(g, q.Number)
	}
	return envelope(200, 0, "OK", d.made, map[string]any{"id": g.id, "name": g.name, "assignable": g.assignable, "system": g.system})
}

// NameOf returns the name of a user, or an empty text if there is no such user.
func (d *Directory) NameOf(id string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if u := d.users[id]; u != nil {
		return u.name
	}
	return ""
}

// EmailOf returns the email of a user, or an empty text if there is no such user.
func (d *Directory) EmailOf(id string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if u := d.users[id]; u != nil {
		return u.email
	}
	return ""
}
