package keycloak

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"groupsync/internal/source"
)

// FederationSettings are the realm's settings that concern federations.
type FederationSettings struct {
	Storages      []Storage      // sorted by name, then id
	DefaultGroups []source.Group // the groups that every new account joins, sorted by path; Parent is not set
}

// Storage is the configuration of one user federation (a user-storage component). It
// holds no credentials and no addresses.
type Storage struct {
	ID, Name string
	Provider string // kind of the federation: "ldap", "kerberos", or another kind
	Enabled  bool
	Imports  bool // Keycloak copies the accounts into its database, so the database can hold memberships of these accounts

	CachePolicy string        // how long the user cache keeps people; never empty
	Sync        time.Duration // the shorter period of the full and the changed-users sync; 0: neither sync runs periodically

	// The fields below have a meaning only for LDAP.
	Subtree           bool   // searches cover every depth, not only one level below the base
	ConnectionTimeout bool   // a time limit for connecting is set
	ReadTimeout       bool   // a time limit for an answer is set
	UsernameAttribute string // attribute of an entry that holds the username
	RDNAttribute      string // attribute that names an entry
	UUIDAttribute     string // attribute that identifies an entry
	UserFilter        string // additional filter of the search for people; empty: none

	Mappers []StorageMapper // sorted by name, then id
}

// StorageMapper is one mapper of an LDAP federation. Fields that its kind does not use are
// empty.
type StorageMapper struct {
	ID, Name string
	Kind     string // GroupMapper, HardcodedGroup, HardcodedRole, or another kind

	Mode          string // GroupMapper: READ_ONLY, LDAP_ONLY or IMPORT
	Path          string // GroupMapper: path of the Keycloak group that holds the mapper's groups; "/" for the top level
	NameAttribute string // GroupMapper: attribute that names an LDAP group
	Group         string // HardcodedGroup: path of the group, with the leading slash
	Role          string // HardcodedRole: "role" or "client.role"
}

// The kinds of mappers that decide about groups and roles.
const (
	GroupMapper    = "group-ldap-mapper"
	HardcodedGroup = "hardcoded-ldap-group-mapper"
	HardcodedRole  = "hardcoded-ldap-role-mapper"
)

// InspectFederations reads the configuration of the realm's federations and of their
// mappers, and the realm's default groups. Its errors are *fault.Error. The reason is
// forbidden if groupsync lacks the role view-users or view-realm.
func (s *Source) InspectFederations(ctx context.Context) (FederationSettings, error) {
	components, err := s.components(ctx)
	if err != nil {
		return FederationSettings{}, err
	}
	groups, err := s.groups(ctx, call{name: "default_groups", doing: "reading the realm's default groups", role: viewRealm, path: []string{"default-groups"}})
	if err != nil {
		return FederationSettings{}, err
	}
	var found FederationSettings
	for _, c := range components {
		storage := c.storage()
		mappers, err := list[storageMapperRep](ctx, s, call{
			name: "components", doing: "reading the mappers of the federation " + c.Name, role: viewRealm, path: []string{"components"},
			// Without the parameter parent, Keycloak lists only components of the realm itself.
			query: url.Values{"parent": {c.ID}, "type": {"org.keycloak.storage.ldap.mappers.LDAPStorageMapper"}},
		})
		if err != nil {
			return FederationSettings{}, err
		}
		for _, m := range mappers {
			storage.Mappers = append(storage.Mappers, m.mapper())
		}
		slices.SortFunc(storage.Mappers, func(a, b StorageMapper) int { return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID) })
		found.Storages = append(found.Storages, storage)
	}
	slices.SortFunc(found.Storages, func(a, b Storage) int { return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID) })
	for _, g := range groups {
		found.DefaultGroups = append(found.DefaultGroups, source.Group{ID: g.ID, Name: g.Name, Path: g.Path})
	}
	slices.SortFunc(found.DefaultGroups, func(a, b source.Group) int { return strings.Compare(a.Path+"\x00"+a.ID, b.Path+"\x00"+b.ID) })
	return found, nil
}

// ProbeFederations probes each federation: it looks up a name that no account can have, to find
// out whether the federation answers. It returns the probes in the order of the federations.
func (s *Source) ProbeFederations(ctx context.Context, federations []source.Federation) []source.Probe {
	return s.probe(ctx, federations)
}

// storageMapperRep is one mapper of a federation, as Keycloak returns it.
type storageMapperRep struct{ componentRep }

// first returns the first value of a setting, or "" if the setting has no value.
func (c componentRep) first(key string) string {
	if v := c.Config[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// storage returns the settings of a federation, with Keycloak's defaults for missing
// settings. It copies only the settings that Storage has, so the result contains no
// credentials.
func (c componentRep) storage() Storage {
	f := c.federation()
	positive := func(key string) bool { n, err := strconv.Atoi(c.first(key)); return err == nil && n > 0 }
	s := Storage{
		ID: c.ID, Name: c.Name, Provider: c.ProviderID, Enabled: f.Enabled, Imports: f.Imports, CachePolicy: "DEFAULT",
		Subtree: c.is("searchScope", "2"), ConnectionTimeout: positive("connectionTimeout"), ReadTimeout: positive("readTimeout"),
		UsernameAttribute: c.first("usernameLDAPAttribute"), RDNAttribute: c.first("rdnLDAPAttribute"),
		UUIDAttribute: c.first("uuidLDAPAttribute"), UserFilter: c.first("customUserSearchFilter"),
	}
	if policy := c.first("cachePolicy"); policy != "" {
		s.CachePolicy = policy
	}
	for _, key := range []string{"changedSyncPeriod", "fullSyncPeriod"} {
		seconds, err := strconv.Atoi(c.first(key))
		if period := time.Duration(seconds) * time.Second; err == nil && seconds > 0 && (s.Sync == 0 || period < s.Sync) {
			s.Sync = period
		}
	}
	return s
}

// mapper returns the settings of a mapper, with Keycloak's defaults for missing settings.
func (m storageMapperRep) mapper() StorageMapper {
	out := StorageMapper{ID: m.ID, Name: m.Name, Kind: m.ProviderID}
	switch m.ProviderID {
	case GroupMapper:
		out.Mode, out.Path, out.NameAttribute = m.first("mode"), absolute(m.first("groups.path")), m.first("group.name.ldap.attribute")
		if out.NameAttribute == "" {
			out.NameAttribute = "cn"
		}
	case HardcodedGroup:
		out.Group = absolute(m.first("group"))
	case HardcodedRole:
		out.Role = m.first("role")
	}
	return out
}

// absolute returns the path in the form that Keycloak's groups have: with a slash at the
// beginning and without a slash at the end. A setting of a mapper can have another form,
// because Keycloak accepts a missing first slash and an additional last slash.
func absolute(path string) string { return "/" + strings.Trim(path, "/") }
