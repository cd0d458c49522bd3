package keycloak

import (
	"context"
	"regexp"
	"strings"
	"sync"

	"groupsync/internal/fault"
	"groupsync/internal/source"
)

// Confirm takes the second look that the claims need and weighs it; the
// verdicts come in the claims' order. known are federations of earlier passes:
// they are probed together with those of the realm. With federations, each read
// stands between two probes of all of them, and a read that fails because one
// is away is no error: the probes deny every claim. Whatever else could not be
// read is an error.
func (s *Source) Confirm(ctx context.Context, snap *source.Snapshot, claims []source.Claim, known []source.Federation) (source.Confirmation, error) {
	if len(claims) == 0 {
		return source.Confirmation{}, nil
	}
	tok, err := s.fresh(ctx)
	if err != nil {
		return source.Confirmation{}, err
	}
	components, err := s.components(ctx)
	if err != nil {
		return source.Confirmation{}, err
	}
	federations := union(snap.Federations(), federationsOf(components), known)
	l := newLook(s, tok, snap.Catalog(), components)
	if err := l.take(ctx, claims, federations); err != nil {
		return source.Confirmation{}, err
	}
	// A right that was taken away meanwhile hides people without an error. A look
	// that was called off, whose probes say nothing, ends here too.
	if _, err := s.fresh(ctx); err != nil {
		return source.Confirmation{}, err
	}
	return source.Weigh(claims, l.second, len(federations) > 0), nil
}

func federationsOf(components []componentRep) []source.Federation {
	var federations []source.Federation
	for _, c := range components {
		federations = append(federations, c.federation())
	}
	return federations
}

// look is a second look in the making.
type look struct {
	s          *Source
	tok        *token
	catalog    source.Catalog
	unimported map[string]bool // ids of federations that never import
	members    memberReads
	role       holding

	mu     sync.Mutex // guards the maps of second
	second source.Second
}

func newLook(s *Source, tok *token, catalog source.Catalog, components []componentRep) *look {
	l := &look{s: s, tok: tok, catalog: catalog, unimported: make(map[string]bool), members: memberReads{byGroup: make(map[string][]source.User)}}
	l.second = source.Second{
		Members: l.members.byGroup, Accounts: make(map[string]source.Account), DisabledDB: make(map[string]bool),
		Emails: make(map[string][]source.User), Effective: make(map[string]bool),
	}
	for _, c := range components {
		l.unimported[c.ID] = c.is("importEnabled", "false")
	}
	return l
}

// read is one question of the look.
type read func(context.Context) error

// take asks everything: first what the claims name, then what the answers lead
// to (the members of groups that give the role).
func (l *look) take(ctx context.Context, claims []source.Claim, federations []source.Federation) error {
	if len(federations) > 0 {
		if l.second.Probes = l.s.probe(ctx, federations); !allUp(l.second.Probes) {
			return nil
		}
	}
	if err := l.ask(ctx, l.first(claims), federations); err != nil || !allUp(l.second.Probes) {
		return err
	}
	return l.ask(ctx, l.then(claims), federations)
}

// ask answers the questions: several at a time in a realm without federations,
// else one by one, each followed by the probes.
func (l *look) ask(ctx context.Context, reads []read, federations []source.Federation) error {
	if len(federations) == 0 {
		work, ctx := l.s.errgroup(ctx)
		for _, r := range reads {
			work.Go(func() error { return r(ctx) })
		}
		return work.Wait()
	}
	for _, r := range reads {
		err := r(ctx)
		if err != nil && !mayBeAway(err) {
			return err
		}
		if l.second.Probes = l.s.probe(ctx, federations); !allUp(l.second.Probes) {
			return nil // they deny every claim, so nothing more is asked
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// first are the questions that the claims name, each once.
func (l *look) first(claims []source.Claim) []read {
	var reads []read
	once := make(map[string]bool)
	add := func(key string, r read) {
		if !once[key] {
			once[key] = true
			reads = append(reads, r)
		}
	}
	for _, c := range claims {
		switch c.Why {
		case source.NotMember:
			for _, g := range c.Groups {
				id := g.ID
				add("members "+id, func(ctx context.Context) error { return l.members.read(ctx, l.s, l.catalog, id) })
			}
			if c.Role != "" {
				add("role", func(ctx context.Context) error { return l.readRole(ctx, c.Role) })
			}
		case source.Disabled:
			add("account "+c.User.ID, func(ctx context.Context) error { return l.readAccount(ctx, c.User.ID) })
			if c.User.Federation != "" {
				add("disabled", l.readDisabled)
			}
		case source.Gone:
			if email := strings.ToLower(c.Email); email != "" {
				add("email "+email, func(ctx context.Context) error { return l.readEmail(ctx, email) })
			}
			for _, id := range c.IDs {
				add("account "+id, func(ctx context.Context) error { return l.readAccount(ctx, id) })
			}
		}
	}
	return reads
}

// then are the questions that the holders of the role raise.
func (l *look) then(claims []source.Claim) []read {
	if !l.role.Found {
		return nil
	}
	var reads []read
	for _, id := range l.role.Groups {
		if _, done := l.members.byGroup[id]; !done {
			reads = append(reads, func(ctx context.Context) error { return l.members.read(ctx, l.s, l.catalog, id) })
		}
	}
	asked := make(map[string]bool)
	for _, c := range claims {
		id := c.User.ID
		if c.Why != source.NotMember || c.Role == "" || asked[id] || !l.mayLookUp(id) {
			continue
		}
		asked[id] = true
		reads = append(reads, func(ctx context.Context) error {
			held, found, err := l.s.holdsInEffect(ctx, id, l.role.role)
			if err == nil && found {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.second.Effective[id] = held
			}
			return err
		})
	}
	return reads
}

func (l *look) readRole(ctx context.Context, name string) error {
	h, err := l.s.holders(ctx, l.tok, l.catalog, name)
	if err != nil {
		return err
	}
	l.role, l.second.Role = h, &h.RoleHolders
	return nil
}

// plainID is what may stand in an address in an account's place; ids are what
// the other side keeps, so anything may be among them.
var plainID = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z_-]*$`)

// mayLookUp tells whether a GET of users/{id} is a mere lookup. An id
// "f:{federation}:{name}" imports that person, and enables them again where an
// admin had disabled them, unless the federation imports nobody
// (reference/keycloak-traps.md). An account that is not looked up leaves its
// claim denied.
func (l *look) mayLookUp(id string) bool {
	if federation, _, ok := strings.Cut(strings.TrimPrefix(id, "f:"), ":"); ok && strings.HasPrefix(id, "f:") {
		return l.unimported[federation]
	}
	return plainID.MatchString(id) && id != "count" && id != "profile"
}

func (l *look) readAccount(ctx context.Context, id string) error {
	if !l.mayLookUp(id) {
		return nil
	}
	c := call{name: "user", doing: "looking up the user " + id, role: viewUsers, path: []string{"users", id}}
	var rep userRep
	err := l.s.get(ctx, c, &rep)
	account := source.Account{Found: true}
	switch {
	case isReason(err, fault.NotFound):
		account.Found = false
	case err != nil:
		return err
	case rep.ID != id:
		return nameless(c.doing)
	default:
		if account.User, err = rep.user(c.doing); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.second.Accounts[id] = account
	return nil
}

// readDisabled asks the database, which a federation cannot speak for.
func (l *look) readDisabled(ctx context.Context) error {
	query := whole()
	query.Set("enabled", "false")
	users, err := l.s.users(ctx, call{name: "users_disabled", doing: "listing the disabled users", role: viewUsers, path: []string{"users"}, query: query})
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, u := range users {
		l.second.DisabledDB[u.ID] = true
	}
	return nil
}

func (l *look) readEmail(ctx context.Context, email string) error {
	query := whole()
	query.Set("email", email)
	query.Set("exact", "true")
	users, err := l.s.users(ctx, call{name: "users_email", doing: "looking up an email", role: viewUsers, path: []string{"users"}, query: query})
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.second.Emails[email] = users
	return nil
}
