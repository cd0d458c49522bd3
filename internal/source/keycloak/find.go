package keycloak

import (
	"context"
	"slices"
	"strings"
	"sync"

	"groupsync/internal/fault"
	"groupsync/internal/source"
)

// Find looks up people as LookUp does, but needs no snapshot. The catalog must have been read
// just before, because Find does not read the list of federations again. known are the
// federations of earlier passes.
//
// Like every look-up by email or username, Find can change the realm: Keycloak imports a
// person whom it finds in a federation that imports, if its database lacks the person
// (reference/keycloak-api.md).
func (s *Source) Find(ctx context.Context, catalog source.Catalog, people []source.Person, known []source.Federation) (source.LookUps, error) {
	if len(people) == 0 {
		return source.LookUps{}, nil
	}
	return s.personReaderOf(catalog, known).find(ctx, people)
}

// personReaderOf returns a reader of single people. The catalog must have been read just before.
func (s *Source) personReaderOf(catalog source.Catalog, known []source.Federation) *personReader {
	return &personReader{s: s, catalog: catalog, federations: union(nil, catalog.Federations(), known), answered: make(map[string]source.Probe), hangs: make(map[string]bool)}
}

// GroupsOf returns, by account id, the groups of each account according to its own side. It
// probes the federations of the accounts before and after the reads. While LDAP is away,
// Keycloak leaves out the groups from LDAP and still answers 200
// (reference/keycloak-traps.md).
//
// Keycloak answers from its user cache, and the request fills the cache. A pass must not call
// GroupsOf, because frequent requests would keep old entries in the cache. GroupsOf is for rare
// questions about one person.
func (s *Source) GroupsOf(ctx context.Context, catalog source.Catalog, accounts []source.User, known []source.Federation) (map[string]source.OwnGroups, error) {
	r := s.personReaderOf(catalog, known)
	federations := r.federationsOf(accounts)
	r.probeAll(ctx, federations)
	var mu sync.Mutex
	found := make(map[string]source.OwnGroups, len(accounts))
	work, inner := s.errgroup(ctx)
	for _, u := range accounts {
		work.Go(func() error {
			own, err := r.ownGroups(inner, u)
			mu.Lock()
			defer mu.Unlock()
			found[u.ID] = own
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	r.probeAll(ctx, federations)
	for _, u := range accounts {
		if p, probed := r.probeOf(u.Federation); probed && !p.Up && !p.Trusted {
			own := found[u.ID]
			own.Doubt = "the federation " + p.Federation.Name + " is not up, so groups that come from it can be missing: " + p.Detail
			found[u.ID] = own
		}
	}
	return found, nil
}

func (r *personReader) ownGroups(ctx context.Context, u source.User) (source.OwnGroups, error) {
	ctx = withLimit(ctx, r.limit())
	groups, err := r.s.groupsOf(ctx, u.ID)
	switch {
	case isReason(err, fault.NotFound):
		return source.OwnGroups{Doubt: noAccount}, nil
	case err != nil:
		doubt, err := r.doubtful(ctx, err)
		return source.OwnGroups{Doubt: doubt}, err
	}
	var own source.OwnGroups
	for _, g := range groups {
		own.Groups = append(own.Groups, g.ID)
	}
	slices.Sort(own.Groups)
	return own, nil
}

// federationsOf returns the federations of the accounts, sorted by id. An account can name a
// federation that r.federations lacks, because the realm no longer has it. federationsOf then
// adds it to r.federations as switched off. So the federation counts as not up without a request,
// and its accounts stay in doubt. Keycloak would answer a probe of it as if it were up.
func (r *personReader) federationsOf(accounts []source.User) []source.Federation {
	var needed []source.Federation
	for _, u := range accounts {
		id := u.Federation
		if id == "" || slices.ContainsFunc(needed, func(f source.Federation) bool { return f.ID == id }) {
			continue
		}
		i := slices.IndexFunc(r.federations, func(f source.Federation) bool { return f.ID == id })
		if i < 0 {
			r.federations = append(r.federations, source.Federation{ID: id, Name: id})
			i = len(r.federations) - 1
		}
		needed = append(needed, r.federations[i])
	}
	slices.SortFunc(needed, func(a, b source.Federation) int { return strings.Compare(a.ID, b.ID) })
	return needed
}
