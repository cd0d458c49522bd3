// Package clearmltest simulates a ClearML Enterprise server, for tests and for the demo. This
// stand-in listens on the loopback interface by default. It copies ClearML's behaviour, with its
// oddities, as reference/clearml-api.md describes it. state.go holds the server's data,
// contract.go its answers, and faults.go the failures that tests ask for.
package clearmltest

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// The ids of the built-in groups. Documents about ClearML disagree on which of the last two ids
// is the id of Admins (reference/clearml-api.md). groupsync does not depend on the ids.
const (
	UsersID       = "30795571-a470-4717-a80d-e8705fc776bf"
	AdminsID      = "c14a3cc6-1144-4896-8ea6-fb186ee19896"
	QueueAdminsID = "30795571a4704717a80de8705897ytuyg"
)

// Self is the id of the user that the default credentials belong to.
const Self = "groupsync"

// Options say how the stand-in behaves. The zero value is an Enterprise server at the root of
// its host, whose user list does not hold the service accounts.
type Options struct {
	AccessKey, SecretKey string        // of Self; default "access", "secret"
	Role                 string        // of Self; default "admin"
	Listen               string        // address; empty: a free loopback port
	Base                 string        // path prefix of the API, for example "/api" as behind ClearML's web server; empty: none
	Open                 bool          // behave as the open-source server: no calls for groups, and no fields of include_auth
	NoServiceUsers       bool          // users.get_service_users does not exist
	ServiceUsersListed   bool          // users.get_all lists service accounts too
	NoProviders          bool          // users.get_all returns no providers
	NoRoles              bool          // users.get_all returns no roles
	NoBuiltinSecGroups   bool          // a user's own list of groups (sec_groups) lacks the built-in groups
	NoConnections        bool          // sso.get_provider_configurations does not exist
	RolesApart           bool          // a member of Admins does not get the role admin
	NoAccessRules        bool          // permissions.get_access_rules does not exist
	NoActivity           bool          // users.get_all_ex returns no activity
	TokenLife            time.Duration // life of every token, whatever the login asks for; 0: the life that the login asks for
}

// User is a user or a service account. Empty fields are absent from the answers.
type User struct {
	ID, Name, GivenName, FamilyName, Email, Role string

	Providers map[string]any // by name: what the sign-in provider sent about the user
	Activity  map[string]any // what users.get_all_ex returns, for example last_ui_access; nil: nothing
	Service   bool
}

// Rule is an access rule. Nil lists are absent from the answer.
type Rule struct {
	ID, Name      string
	Users, Groups []string
}

// Group is a user group.
type Group struct {
	ID, Name, Description string
	System, Assignable    bool
	Members               []string // user ids, in the order they were written
}

// credential is the secret that belongs to an access key, and the id of the key's user.
type credential struct{ secret, user string }

// Server is a running stand-in. Its methods may be called at any time, also from hooks.
type Server struct {
	URL string // with Options.Base, without a trailing slash

	options Options
	http    *http.Server
	done    chan struct{} // Close closes it, which ends every delayed or hanging answer
	stop    sync.Once
	key     []byte // signs tokens

	mu          sync.Mutex
	users       map[string]User
	order       []string // user ids in the order in which they were added
	groups      map[string]Group
	groupOrder  []string
	rules       []Rule
	credentials map[string]credential
	tokens      map[string]bool
	connections []map[string]any
	faults      faults
}

// Start starts a stand-in. The caller closes the stand-in.
func Start(o Options) (*Server, error) {
	o.AccessKey, o.SecretKey = cmp.Or(o.AccessKey, "access"), cmp.Or(o.SecretKey, "secret")
	o.Role = cmp.Or(o.Role, "admin")
	s := &Server{
		options: o, done: make(chan struct{}), key: make([]byte, 32),
		users: make(map[string]User), groups: make(map[string]Group),
		credentials: make(map[string]credential), tokens: make(map[string]bool),
	}
	rand.Read(s.key) // never fails
	s.AddGroup(Group{ID: UsersID, Name: "Users", System: true})
	s.AddGroup(Group{ID: AdminsID, Name: "Admins", System: true, Assignable: true})
	s.AddGroup(Group{ID: QueueAdminsID, Name: "Queue admins", System: true, Assignable: true})
	s.AddUser(User{ID: Self, Name: "groupsync", Role: o.Role, Service: true})
	s.SetCredentials(o.AccessKey, o.SecretKey, Self)
	listener, err := net.Listen("tcp", cmp.Or(o.Listen, "127.0.0.1:0"))
	if err != nil {
		return nil, fmt.Errorf("starting the ClearML stand-in: %w", err)
	}
	s.URL = "http://" + listener.Addr().String() + o.Base
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go s.http.Serve(listener)
	return s, nil
}

// TB holds the methods of *testing.T that New needs. The type is here so that the demo does
// not link the testing package.
type TB interface {
	Helper()
	Fatal(args ...any)
	Cleanup(func())
}

// New starts a stand-in that is closed when the test ends.
func New(tb TB, o Options) *Server {
	tb.Helper()
	s, err := Start(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// Close stops the server and ends every delayed or hanging answer. It may be called twice.
func (s *Server) Close() {
	s.stop.Do(func() {
		close(s.done)
		_ = s.http.Close()
	})
}

// SetCredentials sets the secret and the user of an access key.
func (s *Server) SetCredentials(access, secret, user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.credentials[access] = credential{secret, user}
}

// SetConnections replaces the connections to identity providers that were made in the web
// application. The server returns each connection unchanged.
func (s *Server) SetConnections(connections ...map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connections = connections
}

// AddUser adds a user, or replaces the user with the same id. The role defaults to "user".
func (s *Server) AddUser(u User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.Role = cmp.Or(u.Role, "user")
	if _, known := s.users[u.ID]; !known {
		s.order = append(s.order, u.ID)
	}
	s.users[u.ID] = u
}

// RemoveUser removes a user and all their memberships.
func (s *Server) RemoveUser(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.users, id)
	s.order = slices.DeleteFunc(s.order, func(x string) bool { return x == id })
	for gid, g := range s.groups {
		g.Members = slices.DeleteFunc(slices.Clone(g.Members), func(x string) bool { return x == id })
		s.groups[gid] = g
	}
}

// AddRule adds an access rule.
func (s *Server) AddRule(r Rule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = append(s.rules, r)
}

// AddTeam adds an ordinary group, which is assignable and not built in. It returns the group's
// id, which it makes from the name.
func (s *Server) AddTeam(name string, members ...string) string {
	g := Group{ID: "cm-" + name, Name: name, Assignable: true, Members: members}
	s.AddGroup(g)
	return g.ID
}

// AddGroup adds a group exactly as given, or replaces the group with the same id.
func (s *Server) AddGroup(g Group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putGroup(g)
}

func (s *Server) putGroup(g Group) {
	if _, known := s.groups[g.ID]; !known {
		s.groupOrder = append(s.groupOrder, g.ID)
	}
	g.Members = slices.Clone(g.Members)
	s.groups[g.ID] = g
}

// RemoveGroup removes the group with that id.
func (s *Server) RemoveGroup(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.groups, id)
	s.groupOrder = slices.DeleteFunc(s.groupOrder, func(x string) bool { return x == id })
}

// SetMembers replaces the members of the group with that name, as a login or a person does. It
// panics if there is no such group.
func (s *Server) SetMembers(name string, members ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.named(name)
	if !ok {
		panic("clearmltest: no group named " + name)
	}
	g.Members = slices.Clone(members)
	s.groups[g.ID] = g
}

// Members returns the ids of the members of the group with that name, sorted. It returns nil
// if there is no such group.
func (s *Server) Members(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.named(name)
	if !ok {
		return nil
	}
	members := append([]string{}, s.members(g)...)
	slices.Sort(members)
	return members
}

// Groups returns every group, sorted by name and then id, its members sorted.
func (s *Server) Groups() []Group {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Group
	for _, g := range s.groups {
		g.Members = append([]string{}, s.members(g)...)
		slices.Sort(g.Members)
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b Group) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	return all
}

// Users returns every user, service accounts included, sorted by id.
func (s *Server) Users() []User {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.users), func(a, b User) int { return strings.Compare(a.ID, b.ID) })
}

func (s *Server) named(name string) (Group, bool) {
	for _, id := range s.groupOrder {
		if s.groups[id].Name == name {
			return s.groups[id], true
		}
	}
	return Group{}, false
}

// members returns the members of a group. Every user is a member of the built-in Users.
func (s *Server) members(g Group) []string {
	if g.ID == UsersID {
		return s.order
	}
	return g.Members
}

func randomID() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
