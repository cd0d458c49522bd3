package source

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// NearRoles returns up to five of the role names that nearly match one, case
// ignored, the nearest first and each once: what RoleHolders.Near holds.
func NearRoles(name string, names []string) []string {
	const most = 5
	distance := make(map[string]int)
	for _, other := range names {
		d := levenshtein.ComputeDistance(strings.ToLower(name), strings.ToLower(other))
		if d <= min(2, len(name)/3) {
			distance[other] = d
		}
	}
	near := slices.SortedFunc(maps.Keys(distance), func(a, b string) int {
		return cmp.Or(distance[a]-distance[b], strings.Compare(a, b))
	})
	return near[:min(len(near), most)]
}
