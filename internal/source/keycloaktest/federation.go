package keycloaktest

import (
	"net/http"
	"strconv"
	"testing"
	"time"
)

// Mode is the mode of a group-ldap-mapper: where memberships of LDAP groups are
// kept.
type Mode string

// The modes there are.
const (
	ReadOnly Mode = "READ_ONLY"
	LDAPOnly Mode = "LDAP_ONLY"
	Import   Mode = "IMPORT"
)

// FederationOptions say how a realm uses an LDAP server.
type FederationOptions struct {
	Mode        Mode          // empty: ReadOnly
	NoImport    bool          // importEnabled=false: accounts are not kept in Keycloak's database
	KeepInvalid bool          // removeInvalidUsersEnabled=false
	DropGroups  bool          // a sync deletes groups that LDAP does not have
	Timeout     time.Duration // to connect and to read; 0: two seconds
}

// Federation is a user-storage component of a realm.
type Federation struct {
	ID, Name string

	realm  *Realm
	mapper string
}

// Federate adds the LDAP server to the realm as a user-storage component of
// edit mode READ_ONLY named "ldap", with a group mapper, and takes over its
// groups (at the top level) and people.
func (r *Realm) Federate(tb testing.TB, l *LDAP, o FederationOptions) *Federation {
	tb.Helper()
	if o.Mode == "" {
		o.Mode = ReadOnly
	}
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Second
	}
	var realm struct{ ID string }
	r.Do(tb, http.MethodGet, "", nil, &realm)
	timeout := strconv.FormatInt(o.Timeout.Milliseconds(), 10)
	f := &Federation{Name: "ldap", realm: r}
	f.ID = r.Do(tb, http.MethodPost, "/components", component("ldap", "ldap", "org.keycloak.storage.UserStorageProvider", realm.ID, map[string]string{
		"enabled": "true", "priority": "0", "editMode": "READ_ONLY", "vendor": "other",
		"importEnabled": strconv.FormatBool(!o.NoImport), "removeInvalidUsersEnabled": strconv.FormatBool(!o.KeepInvalid),
		"connectionUrl": l.URL, "authType": "simple", "bindDn": ldapReader, "bindCredential": ldapPassword,
		"usersDn": ldapPeople, "searchScope": "1", "userObjectClasses": "inetOrgPerson",
		"usernameLDAPAttribute": "uid", "rdnLDAPAttribute": "uid", "uuidLDAPAttribute": "entryUUID",
		"connectionTimeout": timeout, "readTimeout": timeout, "connectionPooling": "false", "pagination": "false",
		"cachePolicy": "DEFAULT",
	}), nil)
	f.mapper = r.Do(tb, http.MethodPost, "/components", component("groups", "group-ldap-mapper", "org.keycloak.storage.ldap.mappers.LDAPStorageMapper", f.ID, map[string]string{
		"mode": string(o.Mode), "groups.dn": ldapGroups, "groups.path": "/", "group.name.ldap.attribute": "cn",
		"group.object.classes": "groupOfNames", "preserve.group.inheritance": "false",
		"membership.ldap.attribute": "member", "membership.attribute.type": "DN", "membership.user.ldap.attribute": "uid",
		"user.roles.retrieve.strategy":         "LOAD_GROUPS_BY_MEMBER_ATTRIBUTE",
		"drop.non.existing.groups.during.sync": strconv.FormatBool(o.DropGroups),
	}), nil)
	f.Sync(tb)
	return f
}

func component(name, provider, kind, parent string, config map[string]string) object {
	lists := map[string][]string{}
	for key, value := range config {
		lists[key] = []string{value}
	}
	return object{"name": name, "providerId": provider, "providerType": kind, "parentId": parent, "config": lists}
}

// Sync takes over groups and then people from LDAP.
func (f *Federation) Sync(tb testing.TB) {
	tb.Helper()
	f.realm.Do(tb, http.MethodPost, "/user-storage/"+f.ID+"/mappers/"+f.mapper+"/sync?direction=fedToKeycloak", nil, nil)
	f.realm.Do(tb, http.MethodPost, "/user-storage/"+f.ID+"/sync?action=triggerFullSync", nil, nil)
}

// SetEnabled switches the component on or off.
func (f *Federation) SetEnabled(tb testing.TB, enabled bool) {
	tb.Helper()
	var whole map[string]any
	f.realm.Do(tb, http.MethodGet, "/components/"+f.ID, nil, &whole)
	whole["config"].(map[string]any)["enabled"] = []string{strconv.FormatBool(enabled)}
	f.realm.Do(tb, http.MethodPut, "/components/"+f.ID, whole, nil)
}

// Delete deletes the component, and with it its imported people.
func (f *Federation) Delete(tb testing.TB) {
	tb.Helper()
	f.realm.Do(tb, http.MethodDelete, "/components/"+f.ID, nil, nil)
}
