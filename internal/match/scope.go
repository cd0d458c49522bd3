package match

import (
	"encoding/json"
	"fmt"
	"slices"
)

// scope is the part of the rules that decides which Keycloak groups and roles feed which user
// groups. The guards' memory keeps it, so that the guard `scope` can compare it with the rules
// of the next pass. It contains no secret.
type scope struct {
	FullPath        bool                `json:"full_path"`
	CaseInsensitive bool                `json:"case_insensitive"`
	Include         []string            `json:"include"`
	Exclude         []string            `json:"exclude"`
	Mapping         map[string][]string `json:"mapping"`
	AdminGroups     []string            `json:"admin_groups"`
	AdminRole       string              `json:"admin_role"`
	AdminVia        Via                 `json:"admin_via,omitempty"` // empty: ViaGroup; also empty in a memory from a version without admins.via
}

// Scope returns, as JSON, the part of the rules that decides which groups and roles feed which
// user groups. If two rules differ only in the order of a list in the configuration, Scope
// returns the same text for both.
func (r Rules) Scope() string {
	sorted := func(list []string) []string {
		s := slices.Compact(slices.Sorted(slices.Values(list)))
		return append([]string{}, s...)
	}
	mapping := make(map[string][]string, len(r.Mapping))
	for claim, groups := range r.Mapping {
		mapping[claim] = sorted(groups)
	}
	text, err := json.Marshal(scope{r.FullPath, r.CaseInsensitive, sorted(r.Include), sorted(r.Exclude), mapping, sorted(r.AdminGroups), r.AdminRole, r.AdminVia})
	if err != nil {
		panic(err) // strings and booleans always encode
	}
	return string(text)
}

// WithScope returns the rules with their scope replaced by text, a result of Scope. Rules
// outside the scope, for example users.protect, stay unchanged. If the text cannot be decoded
// or a glob does not compile, WithScope returns an error.
func (r Rules) WithScope(text string) (Rules, error) {
	var s scope
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return Rules{}, fmt.Errorf("the rules that the memory keeps of the last accepted pass cannot be read: %w", err)
	}
	o := r.Options
	o.FullPath, o.CaseInsensitive, o.Include, o.Exclude = s.FullPath, s.CaseInsensitive, s.Include, s.Exclude
	o.Mapping, o.AdminGroups, o.AdminRole, o.AdminVia = s.Mapping, s.AdminGroups, s.AdminRole, s.AdminVia
	return Compile(o)
}
