package source

import (
	"strings"

	"github.com/agnivade/levenshtein"
)

// Fold returns a name in the form in which near misses are found: lower case,
// without blanks, dashes and underscores.
func Fold(name string) string {
	return strings.NewReplacer(" ", "", "-", "", "_", "").Replace(strings.ToLower(name))
}

// Near returns up to three of the names that nearly match one, in the order of
// names: the same but for case, blanks, dashes and the path before the name, or at
// most two letters off.
func Near(name string, names []string) []string {
	const most = 3
	leaf := Fold(name[strings.LastIndex(name, "/")+1:])
	var near []string
	for _, n := range names {
		other := Fold(n[strings.LastIndex(n, "/")+1:])
		if n == name || other != leaf && (len(leaf) < 4 || levenshtein.ComputeDistance(leaf, other) > 2) {
			continue
		}
		if near = append(near, n); len(near) == most {
			break
		}
	}
	return near
}
