package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"groupsync/internal/config/clearmlenv"
)

// derived returns the defaults that ClearML's own variables give.
func derived(facts clearmlenv.Facts) layer {
	l := layer{}
	for _, v := range facts.Values {
		l[v.Key] = setting{v.Value, "ClearML's " + v.From}
	}
	return l
}

// contradictions returns an error for each thing that groupsync is told itself
// and that ClearML's own variables gainsay, in the order of the keys.
func contradictions(facts clearmlenv.Facts, told layer) error {
	var errs []error
	off := facts.GroupsOff
	for _, name := range keyNames {
		s, is := told[name]
		if !is {
			continue
		}
		if off != "" && (strings.HasPrefix(name, "groups.") || name == "admins.groups") {
			errs = append(errs, fmt.Errorf("%s: %s (%s) is about groups, but %s is false: set that to true, or leave ClearML's variables out", name, quote(name, s.value), s.origin, off))
			off = "" // said once
		}
		for _, v := range facts.Values {
			if v.Key == name && !v.Agrees(s.value) {
				errs = append(errs, fmt.Errorf("%s: %s (%s) contradicts %s of ClearML's %s: make them equal, or the two syncs would fight", name, quote(name, s.value), s.origin, quote(name, v.Value), v.From))
			}
		}
	}
	return errors.Join(errs...)
}

// quote writes a value for an error.
func quote(name string, value any) string {
	var text strings.Builder
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	_ = e.Encode(printable(name, value)) // of texts, lists, mappings, booleans: none fails
	return strings.TrimSpace(text.String())
}

// printable masks a URL that may hold credentials, too.
func printable(name string, value any) any {
	if text, is := value.(string); is && strings.HasSuffix(name, ".url") && strings.ContainsAny(text, "@?#") {
		return Masked(text)
	}
	return value
}
