package keycloak

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"

	"groupsync/internal/fault"
	"groupsync/internal/source"
)

// Confirm is the second look: it reads from Keycloak what the questions need, and returns an
// answer to each question, in the questions' order. known are the federations of earlier passes.
//
// Questions about local people need no probes. Questions about federated people are asked in
// batches, and the federation is probed before and after each batch. If a federation is not
// up, only its people stay in doubt. If a question about one person fails, only that person
// stays in doubt. If any other read fails, Confirm returns an error.
func (s *Source) Confirm(ctx context.Context, snap *source.Snapshot, questions []source.Question, known []source.Federation) (source.Confirmation, error) {
	if len(questions) == 0 {
		return source.Weigh(snap, nil, source.SecondLook{}), nil
	}
	tok, err := s.fresh(ctx)
	if err != nil {
		return source.Confirmation{}, err
	}
	components, err := s.components(ctx)
	if err != nil {
		return source.Confirmation{}, err
	}
	c := &confirming{personReader: newPersonReader(s, snap, components, known), tok: tok, snap: snap, questions: questions, roles: make(map[string]roleRep)}
	c.second = source.SecondLook{
		Accounts: make(map[string]source.Account), DisabledDB: make(map[string]bool), Own: make(map[source.OwnKey]source.Own),
		Effective: make(map[source.Held]bool), Failed: make(map[string]string), Roles: make(map[string]*source.RoleHolders),
		Federated: len(c.federations) > 0,
	}
	if err := c.take(ctx); err != nil {
		return source.Confirmation{}, err
	}
	// If the service account loses a role during the second look, Keycloak hides people and
	// still answers 200. A new token shows that the role is lost.
	if _, err := s.fresh(ctx); err != nil {
		return source.Confirmation{}, err
	}
	c.second.Probes = c.probes()
	return source.Weigh(snap, questions, c.second), nil
}

// confirming is the state of a running second look. The lock of personReader guards the maps in
// the field second.
type confirming struct {
	*personReader
	tok       *token
	snap      *source.Snapshot
	questions []source.Question
	roles     map[string]roleRep // by the name in the configuration
	second    source.SecondLook
}

// question is one read about one account. ask returns a doubt about that account, or an error
// that ends the whole second look.
type question struct {
	account source.User
	ask     func(context.Context) (doubt string, err error)
}

func (c *confirming) take(ctx context.Context) error {
	if err := c.readLists(ctx); err != nil {
		return c.s.blame(ctx, err, c.federations)
	}
	if err := c.askAll(ctx, c.accounts()); err != nil {
		return err
	}
	return c.askAll(ctx, c.ties())
}

// readLists reads again the members of every source, the holders of every role, and then the
// names of the groups. It does not read lists for a source.Question whose accounts are all
// disabled: their removal is proved by the accounts themselves, and no list matters.
func (c *confirming) readLists(ctx context.Context) error {
	var groups []string
	names := make(map[string]bool)
	for _, q := range c.questions {
		enabled := slices.ContainsFunc(q.Accounts, func(u source.User) bool { return u.Enabled })
		if !enabled {
			continue
		}
		for _, g := range q.Sources {
			groups = append(groups, g.ID)
		}
		if q.Role != "" {
			names[q.Role] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		h, err := c.s.holders(ctx, c.tok, c.catalog, name)
		if err != nil {
			return err
		}
		c.second.Roles[name], c.roles[name] = &h.RoleHolders, h.role
		groups = append(groups, h.Groups...)
	}
	members, err := c.s.membersOf(ctx, c.catalog, groups)
	if err != nil {
		return err
	}
	c.second.Members = members.byGroup
	return c.readNames(ctx)
}

// readNames reads the names of the groups in second.Members again, and fills second.Renamed.
// groupsync reads members by the group's id, so a member list does not show that the group was
// renamed.
func (c *confirming) readNames(ctx context.Context) error {
	c.second.Renamed = make(map[string]bool)
	work, inner := c.s.errgroup(ctx)
	for id := range c.second.Members {
		g, known := c.catalog.Group(id)
		if !known {
			continue
		}
		work.Go(func() error {
			what := call{name: "group", doing: "reading the name of the group " + g.Path, role: viewUsers, path: []string{"groups", id}}
			var now groupRep
			err := c.s.get(inner, what, &now)
			switch {
			case isReason(err, fault.NotFound):
				return vanished(what.doing)
			case err != nil:
				return err
			case now.ID != id:
				return otherObject(what.doing)
			case now.Name != g.Name || now.Path != "" && now.Path != g.Path:
				c.mu.Lock()
				defer c.mu.Unlock()
				c.second.Renamed[id] = true
			}
			return nil
		})
	}
	return work.Wait()
}

// accounts returns the reads about single accounts that the questions need, without repeats.
func (c *confirming) accounts() []question {
	var list []question
	once := make(map[any]bool)
	add := func(key any, u source.User, ask func(context.Context) (string, error)) {
		if !once[key] {
			once[key] = true
			list = append(list, question{u, ask})
		}
	}
	for _, q := range c.questions {
		for _, u := range q.Accounts {
			if !u.Enabled {
				add(u.ID, u, func(ctx context.Context) (string, error) { return c.disabled(ctx, u) })
				continue
			}
			if u.Federation == "" && !q.Grant {
				add(u.ID, u, func(ctx context.Context) (string, error) { return c.exists(ctx, u) })
			}
			if u.Federation != "" {
				for _, g := range slices.Concat(q.OwnSides(c.catalog, c.second.Roles)...) {
					key := source.OwnKey{Account: u.ID, Name: g.Name}
					add(key, u, func(ctx context.Context) (string, error) { return c.count(ctx, key) })
				}
			}
			if role, found := c.roles[q.Role]; found && q.Role != "" {
				key := source.Held{Account: u.ID, Role: q.Role}
				add(key, u, func(ctx context.Context) (string, error) { return c.effective(ctx, key, role) })
			}
		}
	}
	return list
}

// ties returns the reads of accounts' groups from Keycloak's user cache. An account needs this
// read if the count of its groups does not decide (see source.Catalog.Tied).
func (c *confirming) ties() []question {
	var list []question
	once := make(map[source.OwnKey]bool)
	for _, q := range c.questions {
		for _, u := range q.Accounts {
			for _, set := range q.OwnSides(c.catalog, c.second.Roles) {
				for _, g := range set {
					key := source.OwnKey{Account: u.ID, Name: g.Name}
					o, read := c.second.Own[key]
					if once[key] || !read || !c.catalog.Tied(o, g.Name, set) {
						continue
					}
					once[key] = true
					list = append(list, question{u, func(ctx context.Context) (string, error) { return c.cached(ctx, key) }})
				}
			}
		}
	}
	return list
}

// askAll asks the questions about local accounts first, without probes. It then asks the
// questions about federated accounts in batches between probes.
func (c *confirming) askAll(ctx context.Context, questions []question) error {
	slices.SortStableFunc(questions, func(a, b question) int { return c.s.late.compare(a.account.ID, b.account.ID) })
	local, federated := []question{}, []question{}
	for _, q := range questions {
		if q.account.Federation == "" {
			local = append(local, q)
		} else {
			federated = append(federated, q)
		}
	}
	counted := c.s.counter(len(questions))
	if err := c.ask(ctx, local, counted); err != nil {
		return err
	}
	c.probeAll(ctx, c.unprobed(federated))
	for len(federated) > 0 {
		federated = slices.DeleteFunc(federated, func(q question) bool { return !c.mayAsk(q.account.Federation) })
		part := federated[:min(batch, len(federated))]
		if err := c.ask(ctx, part, counted); err != nil {
			return err
		}
		if len(part) > 0 {
			c.probeAll(ctx, c.federationsOf(part))
		}
		federated = federated[len(part):]
	}
	return nil
}

// ask asks the questions, several at a time, and calls counted after each. It puts doubts into
// second.Failed.
func (c *confirming) ask(ctx context.Context, questions []question, counted func()) error {
	work, inner := c.s.errgroup(ctx)
	for _, q := range questions {
		work.Go(func() error {
			defer counted()
			doubt := c.slow(q.account.Federation)
			var err error
			if doubt == "" {
				doubt, err = q.ask(inner)
				c.note(q.account.ID, q.account.Federation, doubt)
			}
			if doubt != "" {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.second.Failed[q.account.ID] = doubt
			}
			return err
		})
	}
	return work.Wait()
}

// mayAsk reports whether groupsync may ask about the federation's people: the federation was
// up at its last probe, or it is trusted.
func (c *confirming) mayAsk(id string) bool {
	p, probed := c.probeOf(id)
	return probed && (p.Up || p.Trusted)
}

// federationsOf returns the federations of the questions' accounts, sorted by id.
func (c *confirming) federationsOf(questions []question) []source.Federation {
	accounts := make([]source.User, len(questions))
	for i, q := range questions {
		accounts[i] = q.account
	}
	return c.personReader.federationsOf(accounts)
}

func (c *confirming) unprobed(questions []question) []source.Federation {
	return slices.DeleteFunc(c.federationsOf(questions), func(f source.Federation) bool { _, known := c.probeOf(f.ID); return known })
}

// disabled reads a disabled account again. It first searches for the username with the filter
// enabled=false, which Keycloak answers from its own database. If the search does not find the
// account, disabled reads the account by its id. It never requests the list of all disabled
// accounts: Keycloak would ask LDAP about each person in the list, and delete the people whom
// LDAP no longer has.
func (c *confirming) disabled(ctx context.Context, u source.User) (string, error) {
	named, doubt, err := c.namedDisabled(ctx, u)
	if doubt != "" || err != nil {
		return doubt, err
	}
	account := source.Account{Found: true, User: u}
	if !named {
		if account, doubt, err = c.account(ctx, u.ID); doubt != "" || err != nil {
			return doubt, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.second.Accounts[u.ID], c.second.DisabledDB[u.ID] = account, named
	return "", nil
}

// exists reads the local account of a proposed removal by its id. An account that was deleted
// between the two reads of a member list is missing in the second list. So is an account that was
// removed from the group. The read by id shows the difference.
func (c *confirming) exists(ctx context.Context, u source.User) (string, error) {
	if !c.mayLookUp(u.ID) {
		return "groupsync cannot look up the account, because its id has an unexpected form", nil
	}
	account, doubt, err := c.account(ctx, u.ID)
	if doubt != "" || err != nil {
		return doubt, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.second.Accounts[u.ID] = account
	return "", nil
}

// namedDisabled reports whether the account is disabled in Keycloak's own database. The second
// result is a doubt. If the account comes from a federation that does not import, namedDisabled
// returns false and sends no request. The database does not have such an account, and a
// federation that ignores the filter enabled=false could list it.
func (c *confirming) namedDisabled(ctx context.Context, u source.User) (bool, string, error) {
	if strings.HasPrefix(u.ID, "f:") {
		return false, "", nil
	}
	ctx = withLimit(ctx, c.limit())
	query := url.Values{"username": {u.Username}, "exact": {"true"}, "enabled": {"false"}, "first": {"0"}, "max": {"1"}, "briefRepresentation": {"true"}}
	users, err := c.s.users(ctx, call{name: "users_disabled", doing: "asking whether the database says that an account is disabled", role: viewUsers, path: []string{"users"}, query: query})
	if err != nil {
		doubt, err := c.doubtful(ctx, err)
		return false, doubt, err
	}
	return slices.ContainsFunc(users, func(found source.User) bool { return found.ID == u.ID && !found.Enabled }), "", nil
}

// noAccount is the doubt if Keycloak answers 404 for an account.
const noAccount = "Keycloak no longer finds the account"

// uncounted is the doubt if Keycloak answers 500 when it must count an account's groups. Keycloak
// answers 500 if the person was deleted in LDAP and is still in Keycloak's user cache.
const uncounted = "Keycloak fails to count the groups of the account; if the person was deleted or hidden in LDAP, Keycloak's user cache is old; a periodic sync of changed users or clearing the user cache refreshes it"

// count reads how many of the account's groups have a name that contains the given name. The
// answer does not come from Keycloak's user cache (reference/keycloak-own-view.md).
func (c *confirming) count(ctx context.Context, key source.OwnKey) (string, error) {
	ctx = withLimit(ctx, c.limit())
	n, err := c.s.readCount(ctx, call{name: "own_count", doing: "counting the groups of an account", role: viewUsers, path: []string{"users", key.Account, "groups", "count"}, query: url.Values{"search": {key.Name}}})
	switch {
	case isReason(err, fault.NotFound):
		return noAccount, nil
	case isReason(err, fault.Server):
		return uncounted, nil
	case err != nil:
		return c.doubtful(ctx, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.second.Own[key]
	o.Count = n
	c.second.Own[key] = o
	return "", nil
}

// cached reads the account's groups from Keycloak's user cache. The request also fills the
// cache, so groupsync sends it only if the count does not decide.
func (c *confirming) cached(ctx context.Context, key source.OwnKey) (string, error) {
	ctx = withLimit(ctx, c.limit())
	groups, err := c.s.groupsOf(ctx, key.Account)
	switch {
	case isReason(err, fault.NotFound):
		return noAccount, nil
	case err != nil:
		return c.doubtful(ctx, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.second.Own[key]
	o.Asked, o.Cached = true, make([]string, len(groups))
	for i, g := range groups {
		o.Cached[i] = g.ID
	}
	c.second.Own[key] = o
	return "", nil
}

func (c *confirming) effective(ctx context.Context, key source.Held, role roleRep) (string, error) {
	ctx = withLimit(ctx, c.limit())
	if !c.mayLookUp(key.Account) {
		return "the roles of the account cannot be read without importing the person", nil
	}
	held, found, err := c.s.holdsInEffect(ctx, key.Account, role)
	switch {
	case err != nil:
		return c.doubtful(ctx, err)
	case !found:
		return noAccount, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.second.Effective[key] = held
	return "", nil
}
