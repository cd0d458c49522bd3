package keycloak

import (
	"cmp"
	"context"
	"net/url"
	"strings"

	"groupsync/internal/fault"
	"groupsync/internal/source"
)

// The types below are the parts of Keycloak's answers that groupsync reads. The types of gocloak
// (the client library) are larger, but lack subGroupCount and origin.

type groupRep struct {
	ID            string `json:"id"`
	Name          string `json:"name"`
	Path          string `json:"path"`
	SubGroupCount *int   `json:"subGroupCount"` // nil: the release is older than those that groupsync supports
}

type userRep struct {
	ID             string `json:"id"`
	Username       string `json:"username"`
	Email          string `json:"email"`
	FirstName      string `json:"firstName"`
	LastName       string `json:"lastName"`
	Enabled        *bool  `json:"enabled"`
	FederationLink string `json:"federationLink"`
	Origin         string `json:"origin"`
}

type roleRep struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Composite bool   `json:"composite"`

	client string // the client's internal id; empty for a realm role
}

type clientRep struct {
	ID       string `json:"id"`
	ClientID string `json:"clientId"`
}

type componentRep struct {
	ID         string              `json:"id"`
	Name       string              `json:"name"`
	ProviderID string              `json:"providerId"`
	Config     map[string][]string `json:"config"`
}

func (c componentRep) is(key, value string) bool {
	v := c.Config[key]
	return len(v) > 0 && v[0] == value
}

// federation returns the component as a source.Federation. LDAP and Kerberos import accounts
// unless importEnabled is false. A provider of another kind imports accounts only if
// importEnabled is true.
func (c componentRep) federation() source.Federation {
	imports := c.is("importEnabled", "true")
	if c.ProviderID == "ldap" || c.ProviderID == "kerberos" {
		imports = !c.is("importEnabled", "false")
	}
	return source.Federation{ID: c.ID, Name: c.Name, Enabled: !c.is("enabled", "false"), Imports: imports}
}

// incompleteEntry returns the error for an entry of a list that has no id or no name. A list
// that Keycloak could not finish can end with an error object, which has neither
// (reference/libraries.md).
func incompleteEntry(doing string) error {
	return fault.New(fault.Keycloak, fault.Shape, "%s: an entry lacks its id or its name, so the answer may be incomplete; look into Keycloak's log and run again", doing)
}

// otherObject returns the error for an answer with another id than the request.
func otherObject(doing string) error {
	return fault.New(fault.Keycloak, fault.Shape, "%s: the answer is not about the requested object; look into Keycloak's log and run again", doing)
}

func (u userRep) user(doing string) (source.User, error) {
	if u.ID == "" || u.Username == "" {
		return source.User{}, incompleteEntry(doing)
	}
	if u.Enabled == nil {
		return source.User{}, fault.New(fault.Keycloak, fault.Shape, "%s: an account does not say whether it is enabled; check that groupsync supports this version of Keycloak", doing)
	}
	return source.User{
		ID: u.ID, Username: u.Username, Email: u.Email, FirstName: u.FirstName, LastName: u.LastName,
		Enabled: *u.Enabled, Federation: cmp.Or(u.FederationLink, u.Origin, storageOf(u.ID)),
	}, nil
}

// storageOf returns the id of the federation in an account's id, or "" if the account's id
// has another form. An account that is not imported has the id f:FEDERATION:NAME. Keycloak 24
// shows the federation of such an account only in this id. Without storageOf, the account would
// count as local. While LDAP is away, groupsync would then take a missing account for a removed
// one.
func storageOf(id string) string {
	rest, is := strings.CutPrefix(id, "f:")
	federation, _, named := strings.Cut(rest, ":")
	if !is || !named {
		return ""
	}
	return federation
}

// unpaged returns the query of a request for all entries in one answer, in brief form.
func unpaged() url.Values {
	return url.Values{"first": {"0"}, "max": {all}, "briefRepresentation": {"true"}}
}

// users sends one GET whose answer is a list of accounts.
func (s *Source) users(ctx context.Context, c call) ([]source.User, error) {
	reps, err := list[userRep](ctx, s, c)
	if err != nil {
		return nil, err
	}
	users := make([]source.User, len(reps))
	for i, rep := range reps {
		if users[i], err = rep.user(c.doing); err != nil {
			return nil, err
		}
	}
	return users, nil
}

// groups sends one GET whose answer is a list of groups.
func (s *Source) groups(ctx context.Context, c call) ([]groupRep, error) {
	reps, err := list[groupRep](ctx, s, c)
	if err != nil {
		return nil, err
	}
	for _, g := range reps {
		if g.ID == "" || g.Name == "" {
			return nil, incompleteEntry(c.doing)
		}
	}
	return reps, nil
}

// groupsOf reads the groups of an account, from Keycloak's user cache.
func (s *Source) groupsOf(ctx context.Context, account string) ([]groupRep, error) {
	return s.groups(ctx, call{name: "own_groups", doing: "reading the groups of an account", role: viewUsers, path: []string{"users", account, "groups"}, query: unpaged()})
}

// readCount sends one GET whose answer is a count. If the answer lacks the count, readCount
// returns an error.
func (s *Source) readCount(ctx context.Context, c call) (int, error) {
	var counted struct {
		Count *int `json:"count"`
	}
	if err := s.get(ctx, c, &counted); err != nil {
		return 0, err
	}
	if counted.Count == nil {
		return 0, fault.New(fault.Keycloak, fault.Shape, "%s: the answer holds no count; check the proxies between groupsync and Keycloak", c.doing)
	}
	return *counted.Count, nil
}

// tooOld returns the error for a Keycloak older than release 24. seen says how groupsync
// recognized the release.
func tooOld(doing, seen string) error {
	return fault.New(fault.Keycloak, fault.Shape, "%s: %s, so this Keycloak is too old: groupsync supports Keycloak 24 and newer; upgrade Keycloak", doing, seen)
}

// roles sends one GET whose answer is a list of roles. It marks them as roles of the client,
// or as realm roles if client is empty.
func (s *Source) roles(ctx context.Context, client string, c call) ([]roleRep, error) {
	reps, err := list[roleRep](ctx, s, c)
	if err != nil {
		return nil, err
	}
	for i := range reps {
		if reps[i].ID == "" || reps[i].Name == "" {
			return nil, incompleteEntry(c.doing)
		}
		reps[i].client = client
	}
	return reps, nil
}

func (s *Source) components(ctx context.Context) ([]componentRep, error) {
	c := call{
		name: "components", doing: "reading the realm's federations", role: viewRealm, path: []string{"components"},
		query: url.Values{"type": {"org.keycloak.storage.UserStorageProvider"}},
	}
	reps, err := list[componentRep](ctx, s, c)
	if err != nil {
		return nil, err
	}
	for _, r := range reps {
		if r.ID == "" || r.Name == "" {
			return nil, incompleteEntry(c.doing)
		}
	}
	return reps, nil
}
