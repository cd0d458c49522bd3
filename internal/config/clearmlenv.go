package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"groupsync/internal/config/clearmlenv"
)

// derived returns the settings that groupsync takes from ClearML's own variables: the environment
// variables that configure ClearML's sign-in through Keycloak (package clearmlenv).
func derived(facts clearmlenv.Facts) layer {
	l := layer{}
	for _, v := range facts.Values {
		l[v.Key] = setting{v.Value, "ClearML's " + v.From}
	}
	return l
}

// contradictions compares groupsync's own settings with ClearML's own variables. Its error joins
// a sentence for each key that has one value in own and another value in facts, in the order of
// the keys. If the variables switch ClearML's sync of groups off, a key about groups in own is an
// error too. fullPath is the value of groups.full_path.
func contradictions(facts clearmlenv.Facts, own layer, fullPath bool) error {
	errs := []error{pathsWithoutFullPath(facts, fullPath)}
	off := facts.GroupsOff
	for _, k := range keys {
		name := k.name
		s, is := own[name]
		if !is {
			continue
		}
		if off != "" && (strings.HasPrefix(name, "groups.") || name == "admins.groups") {
			errs = append(errs, fmt.Errorf("%s: the configuration sets this key to %s (%s), but %s is false, so ClearML's login changes no groups: set that variable to true, or do not give ClearML's variables to groupsync", name, quote(name, s.value), s.origin, off))
			off = "" // one error about the variable is enough
		}
		for _, v := range facts.Values {
			if v.Key == name && !v.Agrees(s.value, fullPath) {
				errs = append(errs, fmt.Errorf("%s: %s (%s) contradicts %s of ClearML's %s: make them equal, else groupsync and ClearML's login undo each other's changes", name, quote(name, s.value), s.origin, quote(name, v.Value), v.From))
			}
		}
	}
	return errors.Join(errs...)
}

// pathsWithoutFullPath returns an error if ClearML's variable for administrators names a
// group by its path, but fullPath is false. The login token then holds leaf names, so ClearML's
// login finds no group with this path, and makes nobody an administrator. groupsync would find
// the group by its path, and make its members administrators.
func pathsWithoutFullPath(facts clearmlenv.Facts, fullPath bool) error {
	var errs []error
	for _, v := range facts.Values {
		groups, _ := v.Value.([]string)
		for _, name := range groups {
			if !fullPath && strings.HasPrefix(name, "/") {
				errs = append(errs, fmt.Errorf("admins.groups: %q of ClearML's %s is a path, but groups.full_path is false, so no login matches the path: set groups.full_path if the group mapper gives full paths, else write the group's leaf name into the variable", name, v.From))
			}
		}
	}
	return errors.Join(errs...)
}

// quote returns the value as JSON, for an error. The value belongs to the key with that name.
func quote(name string, value any) string {
	var text strings.Builder
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	_ = e.Encode(printable(name, value)) // this cannot fail: the value is a text, a list, a mapping or a boolean
	return strings.TrimSpace(text.String())
}

// printable returns the value, which belongs to the key with that name. If the value is a URL that
// may hold credentials, printable masks the credentials (Masked).
func printable(name string, value any) any {
	if text, is := value.(string); is && strings.HasSuffix(name, ".url") && strings.ContainsAny(text, "@?#") {
		return Masked(text)
	}
	return value
}
