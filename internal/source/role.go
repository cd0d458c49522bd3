package source

import "strings"

// realmPrefix marks a realm role whose name contains a slash or begins with the prefix.
const realmPrefix = "realm:"

// RealmRole parses a configured role name. For a name without a slash and for "realm:NAME",
// it returns true and the name of the realm role. Otherwise it returns false and
// "client/role".
func RealmRole(configured string) (bool, string) {
	if name, marked := strings.CutPrefix(configured, realmPrefix); marked {
		return true, name
	}
	return !strings.Contains(configured, "/"), configured
}

// RealmRoleName returns the configured form of a realm role's name.
func RealmRoleName(name string) string {
	if strings.Contains(name, "/") || strings.HasPrefix(name, realmPrefix) {
		return realmPrefix + name
	}
	return name
}
