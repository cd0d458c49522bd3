package keycloaktest

import (
	"cmp"
	"net/http"
	"strconv"
	"testing"
	"time"
)

// Mode is the mode of a group-ldap-mapper, the part of a federation that turns LDAP groups into
// Keycloak groups. The mode says where the memberships of these groups are kept: in LDAP, in
// Keycloak's database, or in both.
type Mode string

// The values of Mode.
const (
	ReadOnly Mode = "READ_ONLY"
	LDAPOnly Mode = "LDAP_ONLY"
	Import   Mode = "IMPORT"
)

// CachePolicy says how long Keycloak's user cache keeps the people of a federation.
type CachePolicy string

// The values of CachePolicy that need no further setting.
const (
	CacheDefault CachePolicy = "DEFAULT"
	NoCache      CachePolicy = "NO_CACHE"
)

// FederationOptions say how a realm uses an LDAP server.
type FederationOptions struct {
	Mode        Mode          // empty: ReadOnly
	NoImport    bool          // importEnabled=false: accounts are not copied into Keycloak's database
	KeepInvalid bool          // removeInvalidUsersEnabled=false: Keycloak does not delete accounts whose person LDAP no longer has
	DropGroups  bool          // a sync deletes groups that LDAP does not have
	Timeout     time.Duration // for connecting and for reading; 0: two seconds

	Name       string     // empty: "ldap"
	Through    *LDAPProxy // Keycloak connects to the LDAP server through this proxy; nil: directly
	Subtree    bool       // searchScope 2: searches for people and groups cover every depth, so they find groups in units
	Mappers    []GroupMapper
	NoMapper   bool        // the federation does not get the default group mapper, which is named "groups"
	NoSync     bool        // Federate does not sync groups and people
	Cache      CachePolicy // empty: CacheDefault
	Pooling    bool        // connections to LDAP are kept and reused
	Pagination bool        // searches ask for pages of 1,000 entries

	UsernameAttribute string // usernameLDAPAttribute; empty: uid
	RDNAttribute      string // rdnLDAPAttribute; empty: uid
	UUIDAttribute     string // uuidLDAPAttribute; empty: entryUUID
	UserFilter        string // customUserSearchFilter, for example "(mail=*)"
}

// GroupMapper is a group-ldap-mapper of a federation.
type GroupMapper struct {
	Name       string
	Mode       Mode   // empty: ReadOnly
	Unit       string // the unit whose LDAP groups are imported; empty: the groups below the base of all groups
	Path       string // path of the existing Keycloak group below which the groups are imported; empty: "/", the top level
	DropGroups bool   // a sync deletes groups that LDAP does not have
}

// Federation is a user-storage component of a realm.
type Federation struct {
	ID, Name string

	realm   *Realm
	mappers []mapper // the group mappers, oldest first
}

type mapper struct{ id, name string }

// Federate adds the LDAP server to the realm as a user-storage component with the edit mode
// READ_ONLY. It adds a group mapper named "groups", which searches from the base of the LDAP
// groups, and the mappers of o.Mappers. It then syncs the groups and the people. The groups of
// the mapper "groups" become top-level groups of Keycloak.
func (r *Realm) Federate(tb testing.TB, l *LDAP, o FederationOptions) *Federation {
	tb.Helper()
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Second
	}
	address, scope := l.URL, "1"
	if o.Through != nil {
		address = o.Through.URL
	}
	if o.Subtree {
		scope = "2"
	}
	timeout := strconv.FormatInt(o.Timeout.Milliseconds(), 10)
	config := map[string]string{
		"enabled": "true", "priority": "0", "editMode": "READ_ONLY", "vendor": "other",
		"importEnabled": strconv.FormatBool(!o.NoImport), "removeInvalidUsersEnabled": strconv.FormatBool(!o.KeepInvalid),
		"connectionUrl": address, "authType": "simple", "bindDn": ldapReader, "bindCredential": ldapPassword,
		"usersDn": ldapPeople, "searchScope": scope, "userObjectClasses": "inetOrgPerson",
		"usernameLDAPAttribute": cmp.Or(o.UsernameAttribute, "uid"), "rdnLDAPAttribute": cmp.Or(o.RDNAttribute, "uid"),
		"uuidLDAPAttribute": cmp.Or(o.UUIDAttribute, "entryUUID"),
		"connectionTimeout": timeout, "readTimeout": timeout,
		"connectionPooling": strconv.FormatBool(o.Pooling), "pagination": strconv.FormatBool(o.Pagination),
		"cachePolicy": string(cmp.Or(o.Cache, CacheDefault)),
	}
	if o.UserFilter != "" {
		config["customUserSearchFilter"] = o.UserFilter
	}
	f := r.addStorage(tb, cmp.Or(o.Name, "ldap"), "ldap", config)
	if !o.NoMapper {
		f.AddGroupMapper(tb, GroupMapper{Name: "groups", Mode: o.Mode, DropGroups: o.DropGroups})
	}
	for _, m := range o.Mappers {
		f.AddGroupMapper(tb, m)
	}
	if !o.NoSync {
		f.Sync(tb)
	}
	return f
}

// addStorage adds a user-storage component of the provider.
func (r *Realm) addStorage(tb testing.TB, name, provider string, config map[string]string) *Federation {
	tb.Helper()
	var realm struct{ ID string }
	r.Do(tb, http.MethodGet, "", nil, &realm)
	id := r.Do(tb, http.MethodPost, "/components",
		component(name, provider, "org.keycloak.storage.UserStorageProvider", realm.ID, config), nil)
	return &Federation{ID: id, Name: name, realm: r}
}

// AddGroupMapper adds a group-ldap-mapper. The next Sync or SyncGroups imports its groups.
func (f *Federation) AddGroupMapper(tb testing.TB, m GroupMapper) {
	tb.Helper()
	id := f.addMapper(tb, m.Name, "group-ldap-mapper", map[string]string{
		"mode": string(cmp.Or(m.Mode, ReadOnly)), "groups.dn": unitDN(m.Unit), "groups.path": cmp.Or(m.Path, "/"),
		"group.name.ldap.attribute": "cn", "group.object.classes": "groupOfNames", "preserve.group.inheritance": "false",
		"membership.ldap.attribute": "member", "membership.attribute.type": "DN", "membership.user.ldap.attribute": "uid",
		"user.roles.retrieve.strategy":         "LOAD_GROUPS_BY_MEMBER_ATTRIBUTE",
		"drop.non.existing.groups.during.sync": strconv.FormatBool(m.DropGroups),
	})
	f.mappers = append(f.mappers, mapper{id, m.Name})
}

// AddHardcodedGroup adds a hardcoded-ldap-group-mapper: everybody in the federation is a
// member of the Keycloak group with that path.
func (f *Federation) AddHardcodedGroup(tb testing.TB, path string) {
	tb.Helper()
	f.addMapper(tb, "hardcoded group "+last(path), "hardcoded-ldap-group-mapper", map[string]string{"group": path})
}

// AddHardcodedRole adds a hardcoded-ldap-role-mapper: everybody in the federation holds the
// realm role.
func (f *Federation) AddHardcodedRole(tb testing.TB, role string) {
	tb.Helper()
	f.addMapper(tb, "hardcoded role "+role, "hardcoded-ldap-role-mapper", map[string]string{"role": role})
}

func (f *Federation) addMapper(tb testing.TB, name, provider string, config map[string]string) (id string) {
	tb.Helper()
	return f.realm.Do(tb, http.MethodPost, "/components",
		component(name, provider, "org.keycloak.storage.ldap.mappers.LDAPStorageMapper", f.ID, config), nil)
}

func component(name, provider, kind, parent string, config map[string]string) object {
	lists := map[string][]string{}
	for key, value := range config {
		lists[key] = []string{value}
	}
	return object{"name": name, "providerId": provider, "providerType": kind, "parentId": parent, "config": lists}
}

// Taken is Keycloak's answer to a sync of people: how many accounts the sync changed.
type Taken struct {
	Added, Updated, Removed, Failed int
	Ignored                         bool // Keycloak did not sync, because another sync was running
}

// Sync imports groups and then people from LDAP.
func (f *Federation) Sync(tb testing.TB) {
	tb.Helper()
	f.SyncGroups(tb)
	f.SyncUsers(tb)
}

// SyncGroups imports groups from LDAP with every group mapper. It imports no people, and
// does not change the user cache.
func (f *Federation) SyncGroups(tb testing.TB) {
	tb.Helper()
	for _, m := range f.mappers {
		f.realm.Do(tb, http.MethodPost, "/user-storage/"+f.ID+"/mappers/"+m.id+"/sync?direction=fedToKeycloak", nil, nil)
	}
}

// SyncUsers imports all people from LDAP.
func (f *Federation) SyncUsers(tb testing.TB) Taken {
	tb.Helper()
	return f.sync(tb, "triggerFullSync")
}

// SyncChangedUsers imports the people whose entry has changed since the last sync, and
// clears the user cache of the federation.
func (f *Federation) SyncChangedUsers(tb testing.TB) Taken {
	tb.Helper()
	return f.sync(tb, "triggerChangedUsersSync")
}

func (f *Federation) sync(tb testing.TB, action string) (t Taken) {
	tb.Helper()
	f.realm.Do(tb, http.MethodPost, "/user-storage/"+f.ID+"/sync?action="+action, nil, &t)
	return t
}

// SetMode changes the mode of the group mapper with that name. The default mapper is named
// "groups".
func (f *Federation) SetMode(tb testing.TB, mapperName string, mode Mode) {
	tb.Helper()
	for _, m := range f.mappers {
		if m.name == mapperName {
			f.realm.configure(tb, m.id, "mode", string(mode))
			return
		}
	}
	tb.Fatalf("the federation %s has no group mapper %q", f.Name, mapperName)
}

// SetEnabled switches the component on or off.
func (f *Federation) SetEnabled(tb testing.TB, enabled bool) {
	tb.Helper()
	f.realm.configure(tb, f.ID, "enabled", strconv.FormatBool(enabled))
}

// SetCache changes the component's cache policy.
func (f *Federation) SetCache(tb testing.TB, policy CachePolicy) {
	tb.Helper()
	f.realm.configure(tb, f.ID, "cachePolicy", string(policy))
}

// Configure changes one setting of the component, by its name in Keycloak's representation.
// An empty value removes the setting.
func (f *Federation) Configure(tb testing.TB, key, value string) {
	tb.Helper()
	f.realm.configure(tb, f.ID, key, value)
}

// configure changes one setting of a component.
func (r *Realm) configure(tb testing.TB, id, key, value string) {
	tb.Helper()
	var component map[string]any
	r.Do(tb, http.MethodGet, "/components/"+id, nil, &component)
	component["config"].(map[string]any)[key] = []string{value}
	r.Do(tb, http.MethodPut, "/components/"+id, component, nil)
}

// Delete deletes the component and its imported people.
func (f *Federation) Delete(tb testing.TB) {
	tb.Helper()
	f.realm.Do(tb, http.MethodDelete, "/components/"+f.ID, nil, nil)
}
