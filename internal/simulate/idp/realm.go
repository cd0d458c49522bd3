// Package idp is a model of Keycloak and of the LDAP servers behind it, for the simulation. It
// implements the calls of Keycloak's admin API that groupsync uses, as the notes in reference/
// describe them. It shares no code with keycloaktest. The model adds its true state to the log. It
// answers requests as a Keycloak in this state would, and such an answer is not always true.
//
// The own side of an account is Keycloak's answer about the groups of this one account. A group's
// member list can differ from the own side.
package idp

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"groupsync/internal/simulate/history"
)

// Mode is the state of an LDAP server.
type Mode int

// The modes.
const (
	Up      Mode = iota
	Away         // refuses connections
	Hanging      // takes connections, and never answers
	Blind        // answers, and shows nobody
)

// Federation is a user storage of the realm.
type Federation struct {
	ID, Name string
	Enabled  bool
	Mode     Mode
	Forgets  bool // Keycloak deletes the people whom an LDAP in the mode Blind does not show (removeInvalidUsersEnabled)
	Caches   bool // Keycloak's user cache holds the own side of the federation's people
	removed  []account
}

// Quirk is a lasting difference between a group's member list and the own side of the people of
// a federation.
type Quirk int

// The quirks.
const (
	True   Quirk = iota
	Hides        // the list shows none of the federation's members of the group
	Halves       // the list shows about half of the federation's members of the group
	Shows        // the list also shows people whose own side does not have the group
	Twice        // the list shows each of the federation's members of the group twice
)

type account struct {
	id, username, email, federation string
	enabled, service                bool
	own                             map[string]bool // by group id: the account's token holds the group
	roles                           map[string]bool // by name: the account itself was given the role
	cached                          map[string]bool // the own side in the user cache, by group id; nil: not in the cache
}

type group struct {
	id, name, parent string
	federation       string // id of the federation, if this is an LDAP group; empty: a local group
	quirk            Quirk
	roles            map[string]bool // by name: the group was given the role
}

// Realm is the model of a realm of Keycloak.
type Realm struct {
	Duplicates bool // several accounts may have the same email
	TokenLife  time.Duration

	log *history.Log

	mu          sync.Mutex
	rng         *rand.Rand
	accounts    map[string]*account
	groups      map[string]*group
	federations []*Federation
	tokens      map[string]time.Time
	made        int
	Sometimes   map[string]int // names of things that happened, and how often
}

// New returns an empty realm.
func New(log *history.Log, rng *rand.Rand) *Realm {
	return &Realm{log: log, rng: rng, TokenLife: time.Minute, accounts: make(map[string]*account), groups: make(map[string]*group), tokens: make(map[string]time.Time), Sometimes: make(map[string]int)}
}

// newID returns a new id in the form of Keycloak's ids (a UUID).
func (r *Realm) newID() string {
	r.made++
	return fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", r.rng.Uint32(), r.rng.IntN(1<<16), r.rng.IntN(1<<12), r.rng.IntN(1<<12), r.made)
}

// AddFederation adds a user storage that is up.
func (r *Realm) AddFederation(name string, forgets, caches bool) *Federation {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := &Federation{ID: r.newID(), Name: name, Enabled: true, Forgets: forgets, Caches: caches}
	r.federations = append(r.federations, f)
	return f
}

// SetMode sets the state of an LDAP server.
func (r *Realm) SetMode(i int, m Mode) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.federations[i].Mode = m
	r.log.Add(history.Blind{Federation: r.federations[i].ID, Is: m == Blind})
}

// Switch switches a federation of Keycloak on or off.
func (r *Realm) Switch(i int, on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.federations[i].Enabled = on
}

// Refresh clears the user cache.
func (r *Realm) Refresh() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.accounts {
		a.cached = nil
	}
}

func (r *Realm) federation(id string) *Federation {
	for _, f := range r.federations {
		if f.ID == id {
			return f
		}
	}
	return nil
}

// Federations returns the number of federations.
func (r *Realm) Federations() int { return len(r.federations) }

// AddGroup makes a group and returns its id. parent is the id of the parent, or empty for a group
// at the top. federation is the index of the federation of an LDAP group, or -1 for a local group.
func (r *Realm) AddGroup(name, parent string, federation int, q Quirk) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	g := &group{id: r.newID(), name: name, parent: parent, quirk: q, roles: make(map[string]bool)}
	if federation >= 0 {
		g.federation = r.federations[federation].ID
	}
	r.groups[g.id] = g
	r.tell(g)
	for _, a := range r.sorted() {
		r.tellListed(a, g)
	}
	return g.id
}

// tell adds a group, and the groups below it, to the log.
func (r *Realm) tell(g *group) {
	r.log.Add(history.Group{ID: g.id, Name: g.name, Path: r.path(g), Parent: g.parent})
	for _, c := range r.below(g.id) {
		r.tell(c)
	}
}

func (r *Realm) path(g *group) string {
	if g.parent == "" {
		return "/" + g.name
	}
	return r.path(r.groups[g.parent]) + "/" + g.name
}

// below returns the groups directly below the group, sorted by name.
func (r *Realm) below(id string) []*group {
	var list []*group
	for _, g := range r.groups {
		if g.parent == id {
			list = append(list, g)
		}
	}
	slices.SortFunc(list, func(a, b *group) int { return strings.Compare(a.name+a.id, b.name+b.id) })
	return list
}

// RenameGroup gives a group another name.
func (r *Realm) RenameGroup(id, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if g := r.groups[id]; g != nil {
		g.name = name
		r.tell(g)
	}
}

// NameContains reports whether name contains the name of a group of the realm.
func (r *Realm) NameContains(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, g := range r.groups {
		if strings.Contains(name, g.name) {
			return true
		}
	}
	return false
}

// DeleteGroup deletes a group, and the groups below it.
func (r *Realm) DeleteGroup(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deleteGroup(id)
}

func (r *Realm) deleteGroup(id string) {
	if r.groups[id] == nil {
		return
	}
	for _, c := range r.below(id) {
		r.deleteGroup(c.id)
	}
	for _, a := range r.sorted() {
		r.setOwn(a, id, false)
	}
	delete(r.groups, id)
	r.log.Add(history.GroupGone{ID: id})
}

// AddAccount makes an enabled account and returns its id. federation is the index of its federation,
// or -1 for a local account.
func (r *Realm) AddAccount(username, email string, federation int, service bool) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := &account{id: r.newID(), username: username, email: email, enabled: true, service: service, own: make(map[string]bool), roles: make(map[string]bool)}
	if federation >= 0 {
		a.federation = r.federations[federation].ID
	}
	r.put(a)
	return a.id
}

func (r *Realm) put(a *account) {
	r.accounts[a.id] = a
	r.tellAccount(a)
	for _, g := range r.groups {
		r.tellListed(a, g)
	}
}

func (r *Realm) tellAccount(a *account) {
	r.log.Add(history.Account{ID: a.id, Username: a.username, Email: a.email, Federation: a.federation, Enabled: a.enabled, Service: a.service})
}

// DeleteAccount deletes an account.
func (r *Realm) DeleteAccount(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deleteAccount(id, false)
}

func (r *Realm) deleteAccount(id string, misread bool) {
	if r.accounts[id] == nil {
		return
	}
	delete(r.accounts, id)
	r.log.Add(history.AccountGone{ID: id, Misread: misread})
}

// Reimport deletes an account and makes it again with the same groups, as an import from a
// file does. It returns the new id.
func (r *Realm) Reimport(id string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.accounts[id]
	if old == nil {
		return ""
	}
	r.deleteAccount(id, false)
	again := *old
	again.id, again.cached, again.own = r.newID(), nil, make(map[string]bool)
	r.put(&again)
	r.tellRole(again.id, again.roles)
	for _, g := range sortedKeys(old.own) {
		r.setOwn(&again, g, true)
	}
	return again.id
}

// Enable enables or disables an account.
func (r *Realm) Enable(id string, enabled bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.accounts[id]; a != nil && a.enabled != enabled {
		a.enabled = enabled
		r.tellAccount(a)
	}
}

// SetEmail gives an account another email. If another account has the email, it does nothing, as
// Keycloak does, unless several accounts may have the same email.
func (r *Realm) SetEmail(id, email string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.accounts[id]
	if a == nil || email == "" {
		return
	}
	if r.hasEmail(email, id) && !r.Duplicates {
		return
	}
	a.email = email
	r.tellAccount(a)
}

// EmailOf returns the email of an account.
func (r *Realm) EmailOf(id string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.accounts[id]; a != nil {
		return a.email
	}
	return ""
}

// HasEmail reports whether an account has the email.
func (r *Realm) HasEmail(email string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hasEmail(email, "")
}

// hasEmail reports whether an account other than except has the email. A person whose account
// Keycloak deleted counts too, if LDAP will show the person again.
func (r *Realm) hasEmail(email, except string) bool {
	for _, a := range r.accounts {
		if a.id != except && strings.EqualFold(a.email, email) {
			return true
		}
	}
	for _, f := range r.federations {
		if slices.ContainsFunc(f.removed, func(a account) bool { return strings.EqualFold(a.email, email) }) {
			return true
		}
	}
	return false
}

// Put adds an account to a group, or removes it. An account of an LDAP can be in the groups of
// that LDAP and in local groups. A local account can only be in local groups.
func (r *Realm) Put(id, groupID string, in bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a, g := r.accounts[id], r.groups[groupID]
	if a == nil || g == nil || g.federation != "" && g.federation != a.federation {
		return
	}
	r.setOwn(a, groupID, in)
	if g.federation == "" {
		a.cached = nil // Keycloak writes this membership itself, so it clears the cache
	}
}

// setOwn changes one membership. It adds to the log what the account's token holds, and what the
// group's list shows.
func (r *Realm) setOwn(a *account, groupID string, in bool) {
	if a.own[groupID] == in {
		return
	}
	if in {
		a.own[groupID] = true
	} else {
		delete(a.own, groupID)
	}
	r.log.Add(history.Claim{Account: a.id, Group: groupID, In: in})
	r.tellListed(a, r.groups[groupID])
}

func (r *Realm) tellListed(a *account, g *group) {
	r.log.Add(history.Listed{Account: a.id, Group: g.id, In: r.listed(a, g) > 0})
}

// listed returns how often the group's member list shows the account (0, 1 or 2) when every LDAP
// answers.
func (r *Realm) listed(a *account, g *group) int {
	own := a.own[g.id]
	if a.federation == "" || g.federation == "" {
		return number(own)
	}
	switch g.quirk {
	case Hides:
		return 0
	case Halves:
		return number(own && odd(a.id))
	case Shows:
		return number(own || odd(a.id))
	case Twice:
		return 2 * number(own)
	}
	return number(own)
}

func odd(id string) bool { return id[0]%2 == 1 }

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// sorted returns the accounts by username.
func (r *Realm) sorted() []*account {
	list := make([]*account, 0, len(r.accounts))
	for _, a := range r.accounts {
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b *account) int { return strings.Compare(a.username+a.id, b.username+b.id) })
	return list
}

func sortedKeys(m map[string]bool) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// IDs returns the ids of the accounts that are no service accounts, by username.
func (r *Realm) IDs() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ids []string
	for _, a := range r.sorted() {
		if !a.service {
			ids = append(ids, a.id)
		}
	}
	return ids
}

// Groups returns the ids of the groups, by path.
func (r *Realm) Groups() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []*group
	for _, g := range r.groups {
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b *group) int { return strings.Compare(r.path(a)+a.id, r.path(b)+b.id) })
	ids := make([]string, len(list))
	for i, g := range list {
		ids[i] = g.id
	}
	return ids
}

// Login holds what ClearML receives from Keycloak when an account signs in.
type Login struct {
	ID, Username, Email string
	Groups              []Named
	Boss                bool // the token holds the role of administrators
}

// Named is a group in the claim of a Login.
type Named struct{ Name, Path string }

// SignIn signs an account in. If the federation's people are cached, the claim comes from the
// user cache. SignIn returns false if the account is disabled or a service account, or if its
// federation is not up.
func (r *Realm) SignIn(id string) (Login, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.accounts[id]
	if a == nil || !a.enabled || a.service || !r.speaks(a) {
		return Login{}, false
	}
	l := Login{ID: a.id, Username: a.username, Email: a.email, Boss: r.rolesOf(a)[Boss]}
	for _, g := range sortedKeys(r.cachedOwn(a)) {
		if k := r.groups[g]; k != nil {
			l.Groups = append(l.Groups, Named{k.name, r.path(k)})
		}
	}
	return l, true
}

// speaks reports whether the account's federation is switched on and its LDAP answers correctly. If
// not, Keycloak cannot tell the state of the account. For a local account speaks returns true.
func (r *Realm) speaks(a *account) bool {
	f := r.federation(a.federation)
	return a.federation == "" || f != nil && f.Enabled && f.Mode == Up
}

// cachedOwn returns the groups of the account from the user cache, and fills the cache if it is
// empty. If the federation of the account does not cache, it returns the true groups.
func (r *Realm) cachedOwn(a *account) map[string]bool {
	f := r.federation(a.federation)
	if f == nil || !f.Caches {
		return a.own
	}
	if a.cached == nil {
		a.cached = make(map[string]bool, len(a.own))
		for g := range a.own {
			a.cached[g] = true
		}
	} else if len(a.cached) != len(a.own) {
		r.Sometimes["a cache that is old"]++
	}
	return a.cached
}

// forget deletes the accounts of a federation, if its LDAP is in the mode Blind and Forgets is set.
// When the LDAP shows these people again, the method see makes new accounts for them. The new
// accounts have other ids and no local groups.
func (r *Realm) forget(f *Federation) {
	if f.Mode != Blind || !f.Forgets || !f.Enabled {
		return
	}
	for _, a := range r.sorted() {
		if a.federation == f.ID {
			f.removed = append(f.removed, *a)
			r.Sometimes["people deleted by a read while LDAP shows nobody"]++
			r.deleteAccount(a.id, true)
		}
	}
}

func (r *Realm) see(f *Federation) {
	if f.Mode != Up || !f.Enabled {
		return
	}
	for _, old := range f.removed {
		again := old
		again.id, again.cached, again.own, again.roles = r.newID(), nil, make(map[string]bool), make(map[string]bool)
		r.put(&again)
		for _, g := range sortedKeys(old.own) {
			if k := r.groups[g]; k != nil && k.federation == f.ID {
				r.setOwn(&again, g, true)
			}
		}
		r.Sometimes["people imported again under new ids"]++
	}
	f.removed = nil
}

// Settle imports people again whose accounts the method forget has deleted. It leaves out the people
// of an LDAP that is not up or is switched off.
func (r *Realm) Settle() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.federations {
		r.see(f)
	}
}
