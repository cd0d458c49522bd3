package match

import (
	"slices"
	"testing"

	"groupsync/internal/source"
	"groupsync/internal/target"
)

// TestUnfed checks the reasons why each Keycloak group feeds no user group.
func TestUnfed(t *testing.T) {
	catalog, err := source.NewCatalog(source.CatalogParts{Counted: 8, Groups: []source.Group{
		{ID: "1", Name: "team"}, {ID: "2", Name: "secret"}, {ID: "3", Name: "finance"}, {ID: "4", Name: "Users"}, {ID: "5", Name: "locked"}, {ID: "6", Name: "twice"},
		{ID: "7", Name: "mapped"}, {ID: "8", Name: "Data Science"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	groups := []target.Group{
		{ID: "a", Name: "team", Assignable: true}, {ID: "b", Name: "locked"}, {ID: "c", Name: "twice", Assignable: true}, {ID: "d", Name: "twice", Assignable: true},
		{ID: "e", Name: "Users", System: true}, {ID: "f", Name: "data-science", Assignable: true},
	}
	rules := compile(t, Options{Include: []string{"*"}, Exclude: []string{"secret"}, Mapping: map[string][]string{"mapped": {"locked", "nowhere"}}})
	pairing, err := Groups(catalog, groups, rules)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, id string
		want     []string
	}{
		{"a group that feeds its namesake", "1", nil},
		{"an excluded group", "2", []string{"excluded"}},
		{"a group without a namesake", "3", []string{"no_target"}},
		{"the name of a built-in group", "4", []string{"builtin"}},
		{"a namesake that nobody can be assigned to", "5", []string{"not_assignable"}},
		{"two namesakes", "6", []string{"duplicate"}},
		{"a mapping to what cannot be written and to what there is not", "7", []string{"no_target", "not_assignable"}},
		{"a near miss", "8", []string{`near miss: the wanted name feeds no user group, and ClearML has the similar name "data-science": if the two belong together and that group is not built in, make the names equal, or correct groups.mapping`, "no_target"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			g, _ := catalog.Group(row.id)
			if got := rules.Unfed(pairing, g); !slices.Equal(got, row.want) {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}
