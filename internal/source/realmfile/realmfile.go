// Package realmfile reads a realm from its export, for the demo, rehearsals and tests. The
// snapshot is the same as the one that package keycloak reads from a server with this realm,
// except for ids that the export leaves out.
//
// If an export does not contain a needed fact, the package returns an error and does not
// guess. A federation in an export cannot be probed, so it counts as up if it is switched on.
package realmfile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"

	"groupsync/internal/fault"
	"groupsync/internal/source"
)

// Source reads the realm again for every call, so an edit between two calls has an effect.
type Source struct {
	name string // of the realm, in errors: for example "the realm file realm.json"

	mu    sync.Mutex
	load  func() (*Realm, error)
	realm *Realm // nil if the source reads a file
}

// Open returns a source that reads the file for every call. Open reads the file once itself, and
// returns an error if the file is not a complete realm.
func Open(path string) (*Source, error) {
	s := &Source{name: "the realm file " + path, load: func() (*Realm, error) {
		text, err := os.ReadFile(path) // #nosec G304 -- the operator names the realm file
		if err != nil {
			// The text of a PathError has the path. The function wrap adds the path, so it is
			// removed here.
			var where *fs.PathError
			if errors.As(err, &where) {
				err = where.Err
			}
			return nil, fmt.Errorf("%w; give the path of a realm export", err)
		}
		return decode(text)
	}}
	_, err := s.reading(context.Background())
	return only(s, err)
}

// Parse returns a source for the text of a realm export, or an error if the text is not a
// complete realm.
func Parse(text []byte) (*Source, error) {
	realm, err := decode(text)
	s := New(realm)
	if err != nil {
		return nil, s.wrap(err)
	}
	_, err = s.reading(context.Background())
	return only(s, err)
}

// New returns a source for a realm in memory. From then on, only Edit may change the realm.
// If the realm is not valid, every read returns an error.
func New(realm *Realm) *Source {
	s := &Source{name: "the realm in memory", realm: realm}
	s.load = func() (*Realm, error) { return s.realm, nil }
	return s
}

// Edit changes a realm in memory between two reads. It must not be called on a source that
// Open returned.
func (s *Source) Edit(edit func(*Realm)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	edit(s.realm)
}

func only(s *Source, err error) (*Source, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Source) wrap(err error) error {
	reason := fault.Shape
	if errors.Is(err, fs.ErrNotExist) {
		reason = fault.NotFound
	}
	return fault.New(fault.Keycloak, reason, "reading %s: %w", s.name, err)
}

func (s *Source) reading(ctx context.Context) (*reading, error) {
	if err := ctx.Err(); err != nil {
		return nil, fault.New(fault.Keycloak, fault.OfNetwork(err), "reading %s: given up: %w", s.name, context.Cause(ctx))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	realm, err := s.load()
	if err != nil {
		return nil, s.wrap(err)
	}
	r, err := newReading(realm)
	if err != nil {
		return nil, s.wrap(err)
	}
	return r, nil
}

// Catalog returns the realm's groups and federations.
func (s *Source) Catalog(ctx context.Context) (source.Catalog, error) {
	r, err := s.reading(ctx)
	if err != nil {
		return source.Catalog{}, err
	}
	return r.catalog()
}

func (r *reading) catalog() (source.Catalog, error) {
	return source.NewCatalog(source.CatalogParts{Groups: r.groups, Counted: len(r.groups), Federations: r.federations, DuplicateEmails: r.duplicates})
}

// Read reads the realm and returns a complete snapshot of the selection, or an error. It
// returns an error if a needed group has vanished since the catalog was read.
func (s *Source) Read(ctx context.Context, catalog source.Catalog, selection source.Selection) (*source.Snapshot, error) {
	r, err := s.reading(ctx)
	if err != nil {
		return nil, err
	}
	parts := source.Parts{Catalog: catalog, Selection: selection, Members: make(map[string][]source.User), Roles: make(map[string]*source.RoleHolders)}
	wanted := slices.Clone(selection.Groups)
	for _, name := range selection.Roles {
		parts.Roles[name] = r.holders(name, catalog)
		wanted = append(wanted, parts.Roles[name].Groups...)
	}
	for _, id := range wanted {
		if members, ok := r.members[id]; ok {
			parts.Members[id] = members
		}
	}
	return source.NewSnapshot(parts)
}

// LookUp looks up people in the realm. It looks for Person.IDs first, and if no account has one
// of them, for the email and the username. It returns a snapshot with the accounts that it found.
// known are the federations of earlier passes.
func (s *Source) LookUp(ctx context.Context, snap *source.Snapshot, people []source.Person, known []source.Federation) (*source.Snapshot, error) {
	if len(people) == 0 {
		return snap, nil
	}
	r, err := s.reading(ctx)
	if err != nil {
		return nil, err
	}
	return snap.With(r.find(snap.Catalog(), people, known))
}

// Find looks up people as LookUp does, but needs no snapshot. The result holds one entry for each
// of people, in the same order.
func (s *Source) Find(ctx context.Context, catalog source.Catalog, people []source.Person, known []source.Federation) (source.LookUps, error) {
	if len(people) == 0 {
		return source.LookUps{}, nil
	}
	r, err := s.reading(ctx)
	if err != nil {
		return source.LookUps{}, err
	}
	return r.find(catalog, people, known), nil
}

func (r *reading) find(catalog source.Catalog, people []source.Person, known []source.Federation) source.LookUps {
	l := source.LookUps{Probes: r.probes(catalog.Federations(), known)}
	for _, p := range people {
		f := source.Found{Person: p}
		for _, id := range p.IDs {
			f.Accounts = append(f.Accounts, r.accountsWith(func(a account) bool { return a.ID == id })...)
		}
		if f.ByID = len(f.Accounts) > 0; !f.ByID {
			f.Accounts = r.accountsWith(func(a account) bool {
				email := p.Email != "" && !a.ServiceAccount && source.FoldEmail(a.Email) == source.FoldEmail(p.Email)
				return email || p.Username != "" && source.FoldEmail(a.Username) == source.FoldEmail(p.Username)
			})
		}
		if complete := f.ByID || len(f.Accounts) > 0 && !catalog.DuplicateEmails(); !complete {
			if probe, blocks := source.Blocks(p, l.Probes); blocks {
				f.Away, f.Doubt = probe.Federation.ID, "the federation "+probe.Federation.Name+" is not up, and may have the person: "+probe.Detail
			}
		}
		l.Found = append(l.Found, f)
	}
	return l
}

func (r *reading) accountsWith(is func(account) bool) []source.User {
	var users []source.User
	for _, a := range r.accounts {
		if is(a) {
			users = append(users, a.User)
		}
	}
	return users
}

// GroupsOf returns the groups that each account is in, by account id. An entry has a doubt if the
// account is gone, or if its federation is not up.
func (s *Source) GroupsOf(ctx context.Context, catalog source.Catalog, accounts []source.User, known []source.Federation) (map[string]source.OwnGroups, error) {
	r, err := s.reading(ctx)
	if err != nil {
		return nil, err
	}
	probes := r.probes(catalog.Federations(), known)
	found := make(map[string]source.OwnGroups, len(accounts))
	for _, u := range accounts {
		own := source.OwnGroups{Doubt: "the realm no longer has the account"}
		if i := slices.IndexFunc(r.accounts, func(a account) bool { return a.ID == u.ID }); i >= 0 {
			own = source.OwnGroups{Groups: slices.Sorted(slices.Values(r.accounts[i].groups))}
		}
		for _, p := range probes {
			if p.Federation.ID == u.Federation && !p.Up {
				own.Doubt = "the federation " + p.Federation.Name + " is not up, so groups that come from it can be missing: " + p.Detail
			}
		}
		found[u.ID] = own
	}
	return found, nil
}

// Confirm reads the realm a second time, and answers each question from that reading. The
// answers are in the questions' order. known are the federations of earlier passes.
//
// A federation is not up if it is switched off, or if it vanished between the two reads. A
// federation that was gone before the first read is only in known, and counts as up. In each user
// group whose last accepted pass had the federation, the guard "fall" withholds the removals.
func (s *Source) Confirm(ctx context.Context, snap *source.Snapshot, questions []source.Question, known []source.Federation) (source.Confirmation, error) {
	if len(questions) == 0 {
		return source.Weigh(snap, nil, source.SecondLook{}), nil
	}
	r, err := s.reading(ctx)
	if err != nil {
		return source.Confirmation{}, err
	}
	catalog, err := r.catalog()
	if err != nil {
		return source.Confirmation{}, err
	}
	second := source.SecondLook{
		Probes: r.probes(snap.Catalog().Federations(), known), Members: make(map[string][]source.User), Roles: make(map[string]*source.RoleHolders),
		Accounts: make(map[string]source.Account), DisabledDB: make(map[string]bool), Own: make(map[source.OwnKey]source.Own), Effective: make(map[source.Held]bool),
	}
	second.Federated = len(second.Probes) > 0
	if err := r.answer(&second, questions, catalog); err != nil {
		return source.Confirmation{}, err
	}
	return source.Weigh(snap, questions, second), nil
}

// answer fills the second look with the facts that the questions need.
func (r *reading) answer(second *source.SecondLook, questions []source.Question, catalog source.Catalog) error {
	byID := make(map[string]account)
	for _, a := range r.accounts {
		byID[a.ID] = a
		second.DisabledDB[a.ID] = !a.Enabled
	}
	for _, q := range questions {
		groups := make([]string, len(q.Sources))
		for i, g := range q.Sources {
			groups[i] = g.ID
		}
		if q.Role != "" {
			second.Roles[q.Role] = r.holders(q.Role, catalog)
			groups = append(groups, second.Roles[q.Role].Groups...)
		}
		for _, id := range groups {
			members, ok := r.members[id]
			if !ok {
				return fault.New(fault.Keycloak, fault.Incomplete, "the group %s vanished from the realm between two reads; run again", id)
			}
			second.Members[id] = members
		}
		for _, u := range q.Accounts {
			a, found := byID[u.ID]
			second.Accounts[u.ID] = source.Account{Found: found, User: a.User}
			if q.Role != "" && found {
				second.Effective[source.Held{Account: u.ID, Role: q.Role}] = r.effective(a, q.Role, catalog)
			}
			for _, g := range slices.Concat(q.OwnSides(catalog, second.Roles)...) {
				second.Own[source.OwnKey{Account: u.ID, Name: g.Name}] = own(a, g.Name, catalog)
			}
		}
	}
	return nil
}

// own returns the answer of the account's own side about a group name. On a server, the count and
// the cached list of groups can differ. Here they agree, because an export has no cache.
func own(a account, name string, catalog source.Catalog) source.Own {
	o := source.Own{Asked: true, Cached: a.groups}
	for _, id := range catalog.Containing(name) {
		if slices.Contains(a.groups, id) {
			o.Count++
		}
	}
	return o
}

// probes returns a probe for every federation that the realm has now, that it had at the first
// read (read), or that it had in earlier passes (known).
func (r *reading) probes(read, known []source.Federation) []source.Probe {
	var probes []source.Probe
	asked := make(map[string]bool)
	answer := func(federations []source.Federation, detail func(source.Federation) string) {
		for _, f := range federations {
			if asked[f.ID] {
				continue
			}
			asked[f.ID] = true
			f.Name = cmp.Or(f.Name, f.ID)
			why := detail(f)
			f.Answered = true
			probes = append(probes, source.Probe{Federation: f, Up: why == "", Detail: why})
		}
	}
	answer(r.federations, func(f source.Federation) string {
		if f.Enabled {
			return ""
		}
		return "it is switched off in Keycloak"
	})
	gone := slices.Clone(read)
	for i := range gone {
		gone[i].Enabled, gone[i].Vanished = false, true
	}
	answer(gone, func(source.Federation) string { return "it vanished from the realm between two reads" })
	answer(known, func(source.Federation) string { return "" })
	return probes
}
