package keycloak

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"groupsync/internal/fault"
	"groupsync/internal/source"
)

// Read reads the realm: every group at every depth, counted; then what pick
// chooses of it, every user, and the federations. It returns a whole snapshot
// or an error. Where an answer failed because a federation is away, the error
// says so, and has a method Probes that returns what each federation answered.
func (s *Source) Read(ctx context.Context, pick func(source.Catalog) source.Selection) (*source.Snapshot, error) {
	tok, err := s.fresh(ctx)
	if err != nil {
		return nil, err
	}
	catalog, components, err := s.catalog(ctx)
	if err != nil {
		return nil, err
	}
	parts := source.Parts{Catalog: catalog, Selection: pick(catalog)}
	for _, c := range components {
		parts.Federations = append(parts.Federations, c.federation())
	}
	if err := s.fill(ctx, tok, &parts); err != nil {
		return nil, s.blame(ctx, err, parts.Federations)
	}
	snap, err := source.NewSnapshot(parts)
	if err != nil {
		return nil, err
	}
	return snap, nil
}

// catalog reads the list of groups and, beside it, the federations. The count
// comes last, so that a group made or deleted on the way is noticed.
func (s *Source) catalog(ctx context.Context) (source.Catalog, []componentRep, error) {
	var groups []source.Group
	var components []componentRep
	work, inner := s.errgroup(ctx)
	work.Go(func() (err error) {
		components, err = s.components(inner)
		return err
	})
	work.Go(func() (err error) {
		groups, err = s.tree(inner)
		return err
	})
	if err := work.Wait(); err != nil {
		return source.Catalog{}, nil, err
	}
	var counted struct {
		Count *int `json:"count"`
	}
	c := call{name: "groups_count", doing: "counting the groups", role: viewUsers, path: []string{"groups", "count"}}
	if err := s.get(ctx, c, &counted); err != nil {
		return source.Catalog{}, nil, err
	}
	if counted.Count == nil {
		return source.Catalog{}, nil, fault.New(fault.Keycloak, fault.Shape, "%s: the answer holds no count; check what stands between groupsync and Keycloak", c.doing)
	}
	catalog, err := source.NewCatalog(groups, *counted.Count)
	return catalog, components, err
}

// errgroup returns a group that keeps to the configured number of requests.
func (s *Source) errgroup(ctx context.Context) (*errgroup.Group, context.Context) {
	work, inner := errgroup.WithContext(ctx)
	work.SetLimit(s.config.Concurrency)
	return work, inner
}

// tree reads the groups level by level: the list holds the top only.
func (s *Source) tree(ctx context.Context) ([]source.Group, error) {
	top, err := s.groups(ctx, call{name: "groups", doing: "listing the groups", role: viewUsers, path: []string{"groups"}, query: whole()})
	if err != nil {
		return nil, err
	}
	found := make([]source.Group, 0, len(top))
	var parents []groupRep
	take := func(parent string, reps []groupRep) {
		for _, g := range reps {
			found = append(found, source.Group{ID: g.ID, Name: g.Name, Parent: parent})
			if g.SubGroupCount > 0 {
				parents = append(parents, g)
			}
		}
	}
	take("", top)
	for len(parents) > 0 {
		level := parents
		parents = nil
		below, err := s.children(ctx, level)
		if err != nil {
			return nil, err
		}
		for i, g := range level {
			take(g.ID, below[i])
		}
	}
	return found, nil
}

// children reads the direct children of each group, in the groups' order.
func (s *Source) children(ctx context.Context, groups []groupRep) ([][]groupRep, error) {
	below := make([][]groupRep, len(groups))
	work, ctx := s.errgroup(ctx)
	for i, g := range groups {
		work.Go(func() error {
			c := call{name: "children", doing: fmt.Sprintf("listing the groups below %q", g.Name), role: viewUsers, path: []string{"groups", g.ID, "children"}, query: whole()}
			reps, err := s.groups(ctx, c)
			if isReason(err, fault.NotFound) {
				return vanished(c.doing)
			}
			if err == nil && len(reps) != g.SubGroupCount {
				return fault.New(fault.Keycloak, fault.Incomplete, "%s: %d were announced and %d listed; run again", c.doing, g.SubGroupCount, len(reps))
			}
			below[i] = reps
			return err
		})
	}
	return below, work.Wait()
}

func vanished(doing string) error {
	return fault.New(fault.Keycloak, fault.Incomplete, "%s: the group vanished during the read (404); run again", doing)
}

// fill reads what the selection asks for, the longest request first.
func (s *Source) fill(ctx context.Context, tok *token, p *source.Parts) error {
	wanted := slices.Clone(p.Selection.Groups)
	if p.Selection.Role != "" {
		found, err := s.holders(ctx, tok, p.Catalog, p.Selection.Role)
		if err != nil {
			return err
		}
		p.Role = &found.RoleHolders
		wanted = append(wanted, p.Role.Groups...)
	}
	work, ctx := s.errgroup(ctx)
	work.Go(func() (err error) {
		p.Users, err = s.users(ctx, call{name: "users", doing: "listing the users", role: viewUsers, path: []string{"users"}, query: whole()})
		return err
	})
	slices.Sort(wanted)
	members := memberReads{byGroup: make(map[string][]source.User, len(wanted))}
	for _, id := range slices.Compact(wanted) {
		work.Go(func() error { return members.read(ctx, s, p.Catalog, id) })
	}
	if err := work.Wait(); err != nil {
		return err
	}
	p.Members = members.byGroup
	return nil
}

// memberReads collects the members of groups, one whole read each.
type memberReads struct {
	mu      sync.Mutex
	byGroup map[string][]source.User
}

func (m *memberReads) read(ctx context.Context, s *Source, catalog source.Catalog, id string) error {
	g, _ := catalog.Group(id)
	name := g.Path
	if name == "" {
		name = id
	}
	c := call{name: "members", doing: "reading the members of the group " + name, role: viewUsers, path: []string{"groups", id, "members"}, query: whole()}
	users, err := s.users(ctx, c)
	if isReason(err, fault.NotFound) {
		return vanished(c.doing)
	}
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.byGroup[id] = users
	return nil
}
