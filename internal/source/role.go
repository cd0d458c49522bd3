package source

import "strings"

// realmPrefix marks a realm role whose name holds a slash or begins with the prefix
// itself.
const realmPrefix = "realm:"

// RealmRole tells how a configured role name is meant. It returns true and the name
// of a realm role for a name without a slash and for "realm:NAME"; else false and
// "client/role".
func RealmRole(configured string) (bool, string) {
	if name, marked := strings.CutPrefix(configured, realmPrefix); marked {
		return true, name
	}
	return !strings.Contains(configured, "/"), configured
}

// RealmRoleName returns how the configuration names a realm role.
func RealmRoleName(name string) string {
	if strings.Contains(name, "/") || strings.HasPrefix(name, realmPrefix) {
		return realmPrefix + name
	}
	return name
}
