package source

import "strings"

// realmPrefix marks a realm role in the configuration. The configuration needs the prefix if the
// role's name contains a slash or begins with realmPrefix. Without the prefix, a name with a
// slash means a role of a client.
const realmPrefix = "realm:"

// RealmRole parses the name of a role in the configuration. "NAME" without a slash and
// "realm:NAME" are realm roles: RealmRole returns true and NAME. "client/role" is a role of a
// client: RealmRole returns false and the text unchanged.
func RealmRole(configured string) (bool, string) {
	if name, marked := strings.CutPrefix(configured, realmPrefix); marked {
		return true, name
	}
	return !strings.Contains(configured, "/"), configured
}

// RealmRoleName returns how the configuration must write the realm role with that name. It is
// the reverse of RealmRole.
func RealmRoleName(name string) string {
	if strings.Contains(name, "/") || strings.HasPrefix(name, realmPrefix) {
		return realmPrefix + name
	}
	return name
}
