package keycloak

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"groupsync/internal/fault"
	"groupsync/internal/source"
)

// Catalog reads every group at every depth, the number of groups that Keycloak counts, the
// federations, and whether several accounts may have the same email. A pass needs these
// facts to decide which groups' members it reads.
func (s *Source) Catalog(ctx context.Context) (source.Catalog, error) {
	if _, err := s.fresh(ctx); err != nil {
		return source.Catalog{}, err
	}
	var parts source.CatalogParts
	work, inner := s.errgroup(ctx)
	work.Go(func() error {
		components, err := s.components(inner)
		for _, c := range components {
			parts.Federations = append(parts.Federations, c.federation())
		}
		return err
	})
	work.Go(func() (err error) {
		parts.DuplicateEmails, err = s.duplicateEmails(inner)
		return err
	})
	work.Go(func() (err error) {
		parts.Groups, err = s.tree(inner)
		return err
	})
	if err := work.Wait(); err != nil {
		return source.Catalog{}, err
	}
	// The count is read last. If a group was made or deleted during the read, the count differs
	// from the length of the list, and NewCatalog returns an error.
	counted, err := s.readCount(ctx, call{name: "groups_count", doing: "counting the groups", role: viewUsers, path: []string{"groups", "count"}})
	if err != nil {
		return source.Catalog{}, err
	}
	parts.Counted = counted
	return source.NewCatalog(parts)
}

// duplicateEmails reads whether two accounts of the realm may have the same email. It returns
// true if the answer lacks the setting.
//
// duplicateEmails also returns an error if Keycloak is older than release 24. This is so if the
// answer has the setting permanentLockout, and neither maxTemporaryLockouts nor
// firstBrokerLoginFlow. Releases 24.0.5 and 26.7.3 have all three settings, and 23.0.7 has only
// permanentLockout. If the answer lacks permanentLockout, it shows nothing about the release.
func (s *Source) duplicateEmails(ctx context.Context) (bool, error) {
	var realm struct {
		Allowed  *bool   `json:"duplicateEmailsAllowed"`
		Lockout  *bool   `json:"permanentLockout"`
		Lockouts *int    `json:"maxTemporaryLockouts"`
		Broker   *string `json:"firstBrokerLoginFlow"`
	}
	c := call{name: "realm", doing: "reading the realm's settings", role: viewRealm}
	if err := s.get(ctx, c, &realm); err != nil {
		return false, err
	}
	if realm.Lockout != nil && realm.Lockouts == nil && realm.Broker == nil {
		return false, tooOld(c.doing, "the settings that Keycloak 24 added are missing")
	}
	return realm.Allowed == nil || *realm.Allowed, nil
}

// Read reads the members of the selected groups and the holders of the selected roles. It
// never reads the list of all accounts. It returns a complete snapshot or an error. If a
// federation may have caused the failure, Read probes the federations. The text of the error
// then says whether a federation is not up. The error also wraps an error with a method Probes,
// which returns the results of the probes.
func (s *Source) Read(ctx context.Context, catalog source.Catalog, selection source.Selection) (*source.Snapshot, error) {
	tok, err := s.token(ctx)
	if err != nil {
		return nil, err
	}
	parts := source.Parts{Catalog: catalog, Selection: selection}
	if err := s.fill(ctx, tok, &parts); err != nil {
		return nil, s.blame(ctx, err, catalog.Federations())
	}
	return source.NewSnapshot(parts)
}

// errgroup returns a group of goroutines, of which at most Config.Concurrency run at a time.
func (s *Source) errgroup(ctx context.Context) (*errgroup.Group, context.Context) {
	work, inner := errgroup.WithContext(ctx)
	work.SetLimit(s.config.Concurrency)
	return work, inner
}

// tree reads all groups, level by level: Keycloak's list of groups holds only the top level.
func (s *Source) tree(ctx context.Context) ([]source.Group, error) {
	top, err := s.groups(ctx, call{name: "groups", doing: "listing the groups", role: viewUsers, path: []string{"groups"}, query: unpaged()})
	if err != nil {
		return nil, err
	}
	found := make([]source.Group, 0, len(top))
	var parents []groupRep
	take := func(parent string, reps []groupRep) error {
		for _, g := range reps {
			if g.SubGroupCount == nil {
				return tooOld("listing the groups", "the list does not tell how many groups are below each one")
			}
			found = append(found, source.Group{ID: g.ID, Name: g.Name, Path: g.Path, Parent: parent})
			if *g.SubGroupCount > 0 {
				parents = append(parents, g)
			}
		}
		return nil
	}
	if err := take("", top); err != nil {
		return nil, err
	}
	for len(parents) > 0 {
		level := parents
		parents = nil
		below, err := s.children(ctx, level)
		if err != nil {
			return nil, err
		}
		for i, g := range level {
			if err := take(g.ID, below[i]); err != nil {
				return nil, err
			}
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
			c := call{name: "children", doing: fmt.Sprintf("listing the groups below %q", g.Name), role: viewUsers, path: []string{"groups", g.ID, "children"}, query: unpaged()}
			reps, err := s.groups(ctx, c)
			if isReason(err, fault.NotFound) {
				return vanished(c.doing)
			}
			if err == nil && len(reps) != *g.SubGroupCount {
				return fault.New(fault.Keycloak, fault.Incomplete, "%s: Keycloak announced %d groups and listed %d; run again", c.doing, *g.SubGroupCount, len(reps))
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

// fill reads the members and the role holders of the selection.
func (s *Source) fill(ctx context.Context, tok *token, p *source.Parts) error {
	wanted := slices.Clone(p.Selection.Groups)
	p.Roles = make(map[string]*source.RoleHolders, len(p.Selection.Roles))
	for _, name := range p.Selection.Roles {
		found, err := s.holders(ctx, tok, p.Catalog, name)
		if err != nil {
			return err
		}
		p.Roles[name] = &found.RoleHolders
		wanted = append(wanted, found.Groups...)
	}
	members, err := s.membersOf(ctx, p.Catalog, wanted)
	if err != nil {
		return err
	}
	p.Members, p.Unreadable = members.byGroup, members.unreadable
	return nil
}

// memberReads collects the members of groups, by group id. Each list comes from one complete
// answer. unreadable says why Keycloak cannot list the members of a group.
type memberReads struct {
	mu         sync.Mutex
	byGroup    map[string][]source.User
	unreadable map[string]string
}

// membersOf reads the members of the groups, each group once.
func (s *Source) membersOf(ctx context.Context, catalog source.Catalog, groups []string) (*memberReads, error) {
	groups = slices.Clone(groups)
	slices.Sort(groups)
	groups = slices.Compact(groups)
	m := &memberReads{byGroup: make(map[string][]source.User, len(groups)), unreadable: make(map[string]string)}
	work, inner := s.errgroup(ctx)
	counted := s.counter(len(groups))
	for _, id := range groups {
		work.Go(func() error {
			defer counted()
			return m.read(inner, s, catalog, id)
		})
	}
	return m, work.Wait()
}

func (m *memberReads) read(ctx context.Context, s *Source, catalog source.Catalog, id string) error {
	g, _ := catalog.Group(id)
	name := g.Path
	if name == "" {
		name = id
	}
	c := call{name: "members", doing: "reading the members of the group " + name, role: viewUsers, path: []string{"groups", id, "members"}, query: unpaged()}
	users, err := s.users(ctx, c)
	switch {
	case isReason(err, fault.NotFound):
		return vanished(c.doing)
	case isReason(err, fault.Rejected):
		// Older releases answer 400 if two LDAP groups with the same name are one group of
		// Keycloak (reference/keycloak-own-view.md).
		s.config.Log.DebugContext(ctx, "the members of a group cannot be listed", "error", err)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.unreadable[id] = withoutBody(err)
		return nil
	case err != nil:
		return err
	}
	if err := s.markServiceAccounts(ctx, users); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.byGroup[id] = users
	return nil
}

// withoutBody returns the error's text up to the status that Keycloak answered, without the body
// of the answer. The body may name people, and groupsync shows the text in reports and in
// Kubernetes Events.
func withoutBody(err error) string {
	const status = "Keycloak answered "
	before, after, _ := strings.Cut(err.Error(), status)
	return before + status + after[:min(len(after), len("400"))]
}

// markServiceAccounts sets ServiceAccount for the service accounts among the users. Their
// usernames begin with "service-account-", but a person can have such a username too. So
// markServiceAccounts searches for the username: Keycloak's search never finds a service account
// (reference/keycloak-api.md).
func (s *Source) markServiceAccounts(ctx context.Context, users []source.User) error {
	for i := range users {
		u := &users[i]
		if u.Federation != "" || !strings.HasPrefix(u.Username, "service-account-") {
			continue
		}
		query := unpaged()
		query.Set("search", strconv.Quote(u.Username))
		found, err := s.users(ctx, call{name: "users_search", doing: "checking whether an account is a service account", role: viewUsers, path: []string{"users"}, query: query})
		if err != nil {
			return err
		}
		u.ServiceAccount = !slices.ContainsFunc(found, func(other source.User) bool { return other.ID == u.ID })
	}
	return nil
}
