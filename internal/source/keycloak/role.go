package keycloak

import (
	"context"
	"slices"
	"strings"
	"sync"

	"groupsync/internal/fault"
	"groupsync/internal/near"
	"groupsync/internal/source"
)

// holding is a role of the realm with its holders.
type holding struct {
	source.RoleHolders
	role roleRep // the zero value if RoleHolders.Found is false
}

// roleBook holds every role of the realm that groupsync may see.
type roleBook struct {
	roles   []roleRep
	clients map[string]string // client's internal id -> clientId; nil if groupsync may not see clients
}

// name returns the role's name in the form that the configuration uses.
func (b roleBook) name(r roleRep) string {
	if r.client == "" {
		return source.RealmRoleName(r.Name)
	}
	return b.clients[r.client] + "/" + r.Name
}

// find returns the roles that a configured name can mean. "a/b" is the role b of the client
// a, even if the realm has a role with the name a/b. "realm:a/b" is the realm role. Several
// roles can match, because the client id and the role name may both contain a slash.
func (b roleBook) find(name string) []roleRep {
	ofRealm, named := source.RealmRole(name)
	var found []roleRep
	for _, r := range b.roles {
		if (r.client == "") == ofRealm && (ofRealm && r.Name == named || !ofRealm && b.name(r) == named) {
			found = append(found, r)
		}
	}
	return found
}

// near returns the names of roles that nearly match (see near.Names).
func (b roleBook) near(name string) []string {
	names := make([]string, len(b.roles))
	for i, r := range b.roles {
		names[i] = b.name(r)
	}
	slices.Sort(names)
	return near.Names(name, names)
}

// holders reads the accounts and groups that hold the role with that configured name, or a
// composite that contains the role at any depth. The groups include all groups below, because
// these inherit the role. holders does not read the groups' members.
func (s *Source) holders(ctx context.Context, tok *token, catalog source.Catalog, name string) (holding, error) {
	book, err := s.readRoles(ctx, tok, name)
	if err != nil {
		return holding{}, err
	}
	h := holding{RoleHolders: source.RoleHolders{Name: name, Partial: book.clients == nil}}
	found := book.find(name)
	ofRealm, _ := source.RealmRole(name)
	switch {
	case len(found) > 1:
		h.Several = true
		return h, nil
	case len(found) == 0 && book.clients == nil && !ofRealm:
		return holding{}, fault.New(fault.Keycloak, fault.Forbidden, "reading the role %q: the name means a role of a client, and groupsync cannot read the clients' roles. Give the service account of the client %q the role %s of %s", name, s.config.ClientID, viewClients, s.management())
	case len(found) == 0:
		h.Near = book.near(name)
		return h, nil
	}
	h.role, h.Found = found[0], true
	containers, err := s.containers(ctx, book, h.role)
	if err != nil {
		return holding{}, err
	}
	return h, s.collect(ctx, book, containers, catalog, &h)
}

// readRoles reads every realm role. It reads the clients' roles too, if the token carries the
// role view-clients. If not, it logs one warning for each Source. name is only for the warning.
func (s *Source) readRoles(ctx context.Context, tok *token, name string) (roleBook, error) {
	var book roleBook
	var err error
	if book.roles, err = s.roles(ctx, "", s.rolesCall("")); err != nil {
		return book, err
	}
	if !tok.roles[viewClients] {
		s.warned.Do(func() {
			s.config.Log.WarnContext(ctx, "groupsync cannot see who holds the admin role through a client's composite role; give the service account the role view-clients", "role", name, "client_id", s.config.ClientID)
		})
		return book, nil
	}
	clients, err := list[clientRep](ctx, s, call{name: "clients", doing: "listing the clients", role: viewClients, path: []string{"clients"}})
	if err != nil {
		return book, err
	}
	book.clients = make(map[string]string, len(clients))
	perClient := make([][]roleRep, len(clients))
	work, ctx := s.errgroup(ctx)
	for i, c := range clients {
		if c.ID == "" || c.ClientID == "" {
			return book, incompleteEntry("listing the clients")
		}
		book.clients[c.ID] = c.ClientID
		work.Go(func() (err error) {
			perClient[i], err = s.roles(ctx, c.ID, s.rolesCall(c.ID))
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return book, err
	}
	book.roles = append(book.roles, slices.Concat(perClient...)...)
	return book, nil
}

func (s *Source) rolesCall(client string, more ...string) call {
	c := call{name: "roles", doing: "listing the realm's roles", role: viewRealm, path: []string{"roles"}}
	if client != "" {
		c = call{name: "roles", doing: "listing the roles of the client " + client, role: viewClients, path: []string{"clients", client, "roles"}}
	}
	c.path = append(c.path, more...)
	c.query = unpaged()
	if len(more) == 0 {
		c.query.Set("briefRepresentation", "false") // the brief form lacks the field composite
	}
	return c
}

// containers returns the role and every role that contains it, at any depth. Keycloak has no
// such call. It only returns the roles that a given composite contains. So containers reads the
// content of every composite.
func (s *Source) containers(ctx context.Context, book roleBook, role roleRep) ([]roleRep, error) {
	var mu sync.Mutex
	holds := make(map[string][]roleRep) // by the id of a role: the composites that contain it directly
	work, ctx := s.errgroup(ctx)
	for _, composite := range book.roles {
		if !composite.Composite {
			continue
		}
		work.Go(func() error {
			opens := viewRealm
			if composite.client != "" {
				opens = viewClients
			}
			parts, err := s.roles(ctx, "", call{name: "composites", doing: "reading what the role " + book.name(composite) + " contains", role: opens, path: []string{"roles-by-id", composite.ID, "composites"}})
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			for _, part := range parts {
				holds[part.ID] = append(holds[part.ID], composite)
			}
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	found, seen := []roleRep{role}, map[string]bool{role.ID: true}
	for i := 0; i < len(found); i++ {
		for _, r := range holds[found[i].ID] {
			if !seen[r.ID] {
				seen[r.ID] = true
				found = append(found, r)
			}
		}
	}
	return found, nil
}

// collect reads the people and groups to which the roles are assigned, and puts them into h. It
// adds all groups below these groups, which inherit the roles.
func (s *Source) collect(ctx context.Context, book roleBook, roles []roleRep, catalog source.Catalog, h *holding) error {
	users := make([][]source.User, len(roles))
	groups := make([][]groupRep, len(roles))
	work, inner := s.errgroup(ctx)
	for i, r := range roles {
		work.Go(func() (err error) {
			c := s.rolesCall(r.client, r.Name, "users")
			c.name, c.doing = "role_users", "reading the holders of the role "+book.name(r)
			users[i], err = s.users(inner, c)
			return err
		})
		work.Go(func() (err error) {
			c := s.rolesCall(r.client, r.Name, "groups")
			c.name, c.doing = "role_groups", "reading the groups with the role "+book.name(r)
			groups[i], err = s.groups(inner, c)
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	h.Direct = unique(slices.Concat(users...))
	if err := s.markServiceAccounts(ctx, h.Direct); err != nil {
		return err
	}
	var ids []string
	for _, g := range slices.Concat(groups...) {
		if _, ok := catalog.Group(g.ID); !ok {
			return fault.New(fault.Keycloak, fault.Incomplete, "reading the groups with the role %s: the group %q was not in the list of groups; run again", h.Name, g.Name)
		}
		ids = append(ids, g.ID)
	}
	h.Groups = catalog.WithDescendants(ids)
	return nil
}

// unique merges the entries of each account and returns one entry for each, sorted by id. An
// account that holds several of the roles has several entries. If one entry says that the
// account is disabled, the account is disabled in the result, as in a snapshot.
func unique(users []source.User) []source.User {
	slices.SortStableFunc(users, func(a, b source.User) int { return strings.Compare(a.ID, b.ID) })
	var kept []source.User
	for _, u := range users {
		if n := len(kept); n > 0 && kept[n-1].ID == u.ID {
			kept[n-1].Enabled = kept[n-1].Enabled && u.Enabled
			continue
		}
		kept = append(kept, u)
	}
	return kept
}

// holdsInEffect reads whether the account holds the role directly, or through a group or a
// composite. found is false if the realm no longer has the account.
func (s *Source) holdsInEffect(ctx context.Context, user string, role roleRep) (held, found bool, err error) {
	path := []string{"users", user, "role-mappings", "realm", "composite"}
	if role.client != "" {
		path = []string{"users", user, "role-mappings", "clients", role.client, "composite"}
	}
	c := call{name: "effective_roles", doing: "reading the roles that an account holds in effect", role: viewUsers, path: path}
	roles, err := s.roles(ctx, role.client, c)
	if isReason(err, fault.NotFound) {
		return false, false, nil
	}
	if err != nil {
		return false, false, err
	}
	return slices.ContainsFunc(roles, func(r roleRep) bool { return r.ID == role.ID }), true, nil
}
