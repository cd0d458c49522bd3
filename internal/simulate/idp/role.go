package idp

import (
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"

	"groupsync/internal/simulate/chaos"
	"groupsync/internal/simulate/history"
)

// The roles of the realm. Chief contains Boss.
const (
	Boss  = "boss"
	Chief = "chief"
)

// contains has, for each role by name, the roles that this role contains.
var contains = map[string][]string{Boss: nil, Chief: {Boss}}

// GiveRole gives an account or a group a role, or takes it away.
func (r *Realm) GiveRole(id, role string, in bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var roles map[string]bool
	if a := r.accounts[id]; a != nil {
		roles, a.cached = a.roles, nil // Keycloak itself writes the role, so it clears the cache
	} else if g := r.groups[id]; g != nil {
		roles = g.roles
	} else {
		return
	}
	if roles[role] = in; !in {
		delete(roles, role)
	}
	r.tellRole(id, roles)
}

// Hidden returns the ids of an account and of a group of the same LDAP. The account is not in the
// group. If it joins the group, the group's member list will not show it. If there is no such pair,
// both ids are "".
func (r *Realm) Hidden(rng *rand.Rand) (account, group string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var pairs [][2]string
	for _, g := range slices.Sorted(maps.Keys(r.groups)) {
		for _, a := range r.sorted() {
			if k := r.groups[g]; k.quirk == Hides && k.federation != "" && k.federation == a.federation && !a.own[g] {
				pairs = append(pairs, [2]string{a.id, g})
			}
		}
	}
	if len(pairs) == 0 {
		return "", ""
	}
	p := pairs[rng.IntN(len(pairs))]
	return p[0], p[1]
}

func (r *Realm) tellRole(holder string, roles map[string]bool) {
	r.log.Add(history.Role{Holder: holder, In: roles[Boss] || roles[Chief]})
}

// rolesOf returns the roles that a token of the account holds: its own roles, the roles of its
// groups, and the roles that these contain. The groups come from cachedOwn. The roles of an LDAP
// group do not count while the federation is not up.
func (r *Realm) rolesOf(a *account) map[string]bool {
	held := maps.Clone(a.roles)
	groups := r.cachedOwn(a)
	for id := range groups {
		for g := r.groups[id]; g != nil; g = r.groups[g.parent] {
			if g.federation == "" || r.speaks(a) {
				maps.Copy(held, g.roles)
			}
		}
	}
	for role := range held {
		for _, part := range contains[role] {
			held[part] = true
		}
	}
	return held
}

func roleRep(name string) any {
	return map[string]any{"id": "role-" + name, "name": name, "composite": len(contains[name]) > 0, "clientRole": false}
}

func roleReps(names []string) []any {
	list := make([]any, len(names))
	for i, n := range names {
		list[i] = roleRep(n)
	}
	return list
}

// answerRoles answers requests for the path roles and the paths below it. path has the parts after
// roles.
func (r *Realm) answerRoles(path []string, query url.Values) chaos.Answer {
	if len(path) == 0 {
		return ok(page(roleReps([]string{Boss, Chief, "offline_access"}), query, 100))
	}
	if _, is := contains[path[0]]; !is || len(path) != 2 {
		return refusal(404, "Could not find role")
	}
	list := []any{}
	switch path[1] {
	case "users":
		for _, a := range r.sorted() {
			if a.roles[path[0]] {
				list = append(list, r.shown(a))
			}
		}
	case "groups":
		for _, id := range slices.Sorted(maps.Keys(r.groups)) {
			if g := r.groups[id]; g.roles[path[0]] {
				list = append(list, r.rep(g))
			}
		}
	}
	return ok(page(list, query, 100))
}
