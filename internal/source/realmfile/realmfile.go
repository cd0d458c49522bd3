// Package realmfile reads a realm from its export, for the demo, rehearsals and
// tests: the same snapshot that the server gives for the same realm
// (internal/source/keycloak), but for ids that the export leaves out.
//
// What an export cannot tell is refused, never guessed. A federation counts as
// up where its component is there and switched on, since nobody can be asked.
package realmfile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"groupsync/internal/fault"
	"groupsync/internal/source"
)

// Source reads a realm anew at every look: edits between two looks show.
type Source struct {
	name string // of the realm, for errors

	mu    sync.Mutex
	load  func() (*Realm, error)
	realm *Realm // in memory only
}

// Open returns a source that reads the file at every look. The file is read
// once now, so that a bad one is an error here.
func Open(path string) (*Source, error) {
	s := &Source{name: "the realm file " + path, load: func() (*Realm, error) {
		text, err := os.ReadFile(path)
		if err != nil {
			var where *fs.PathError // names the file a second time
			if errors.As(err, &where) {
				err = where.Err
			}
			return nil, fmt.Errorf("%w; give the path of a realm export", err)
		}
		return decode(text)
	}}
	_, err := s.look(context.Background())
	return only(s, err)
}

// Parse returns a source for the text of a realm export.
func Parse(text []byte) (*Source, error) {
	realm, err := decode(text)
	s := New(realm)
	if err != nil {
		return nil, s.wrap(err)
	}
	_, err = s.look(context.Background())
	return only(s, err)
}

// New returns a source for a realm in memory, which from then on may be changed
// only by Edit. A realm that cannot be is an error of each look.
func New(realm *Realm) *Source {
	s := &Source{name: "the realm in memory", realm: realm}
	s.load = func() (*Realm, error) { return s.realm, nil }
	return s
}

// Edit changes a realm in memory between two looks. It must not be called on a
// source that reads a file.
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

func (s *Source) look(ctx context.Context) (*reading, error) {
	if err := ctx.Err(); err != nil {
		return nil, fault.New(fault.Keycloak, fault.OfNetwork(err), "reading %s: given up: %w", s.name, context.Cause(ctx))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	realm, err := s.load()
	if err != nil {
		return nil, s.wrap(err)
	}
	r, err := look(realm)
	if err != nil {
		return nil, s.wrap(err)
	}
	return r, nil
}

// Read reads the realm and returns a whole snapshot of what pick chooses, or an
// error.
func (s *Source) Read(ctx context.Context, pick func(source.Catalog) source.Selection) (*source.Snapshot, error) {
	r, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	catalog, err := source.NewCatalog(r.groups, len(r.groups))
	if err != nil {
		return nil, err
	}
	parts := source.Parts{
		Catalog: catalog, Selection: pick(catalog), Federations: r.federations, Members: make(map[string][]source.User),
	}
	for _, a := range r.accounts {
		if !a.service {
			parts.Users = append(parts.Users, a.User)
		}
	}
	wanted := slices.Clone(parts.Selection.Groups)
	if parts.Selection.Role != "" {
		parts.Role = r.holders(parts.Selection.Role, catalog)
		wanted = append(wanted, parts.Role.Groups...)
	}
	for _, id := range wanted {
		if members, ok := r.members[id]; ok {
			parts.Members[id] = members
		}
	}
	return source.NewSnapshot(parts)
}

// Confirm reads the realm a second time and weighs the claims by that; the
// verdicts come in the claims' order. known are federations of earlier passes. One
// that is switched off, or that vanished between the looks, is not up; one that
// is only remembered is up, and its absence is judged elsewhere, as with the
// server.
func (s *Source) Confirm(ctx context.Context, snap *source.Snapshot, claims []source.Claim, known []source.Federation) (source.Confirmation, error) {
	if len(claims) == 0 {
		return source.Confirmation{}, nil
	}
	r, err := s.look(ctx)
	if err != nil {
		return source.Confirmation{}, err
	}
	catalog, err := source.NewCatalog(r.groups, len(r.groups))
	if err != nil {
		return source.Confirmation{}, err
	}
	second := source.Second{Members: make(map[string][]source.User), Probes: r.probes(snap.Federations(), known)}
	if err := r.answer(&second, claims, catalog); err != nil {
		return source.Confirmation{}, err
	}
	return source.Weigh(claims, second, len(second.Probes) > 0), nil
}

// answer fills the second look with what the claims ask of it.
func (r *reading) answer(second *source.Second, claims []source.Claim, catalog source.Catalog) error {
	byID, byEmail := make(map[string]account), make(map[string][]source.User)
	second.DisabledDB = make(map[string]bool)
	for _, a := range r.accounts {
		byID[a.ID] = a
		byEmail[a.Email] = append(byEmail[a.Email], a.User)
		second.DisabledDB[a.ID] = !a.Enabled
	}
	second.Accounts, second.Emails = make(map[string]source.Account), make(map[string][]source.User)
	second.Effective = make(map[string]bool)
	find := func(id string) {
		a, found := byID[id]
		second.Accounts[id] = source.Account{Found: found, User: a.User}
	}
	for _, c := range claims {
		groups := make([]string, len(c.Groups))
		for i, g := range c.Groups {
			groups[i] = g.ID
		}
		if c.Role != "" {
			second.Role = r.holders(c.Role, catalog)
			groups = append(groups, second.Role.Groups...)
			if a, found := byID[c.User.ID]; found {
				second.Effective[a.ID] = r.effective(a, c.Role, catalog)
			}
		}
		for _, id := range groups {
			members, ok := r.members[id]
			if !ok {
				return fault.New(fault.Keycloak, fault.Incomplete, "the group %s vanished from the realm between two looks; run again", id)
			}
			second.Members[id] = members
		}
		if c.User.ID != "" {
			find(c.User.ID)
		}
		for _, id := range c.IDs {
			find(id)
		}
		if email := strings.ToLower(c.Email); email != "" {
			second.Emails[email] = byEmail[email]
		}
	}
	return nil
}

// probes answers for every federation that the realm has, or had.
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
			probes = append(probes, source.Probe{Federation: f, Up: why == "", Detail: why})
		}
	}
	answer(r.federations, func(f source.Federation) string {
		if f.Enabled {
			return ""
		}
		return "it is switched off in Keycloak"
	})
	answer(read, func(source.Federation) string { return "it vanished from the realm between two looks" })
	answer(known, func(source.Federation) string { return "" })
	return probes
}
