// Package near finds names that nearly match another name, for the advice "did you mean". It
// is pure.
package near

import (
	"strings"

	"github.com/agnivade/levenshtein"
)

var separators = strings.NewReplacer(" ", "", "-", "", "_", "")

// Fold returns the form of a name in which near misses are found: lower case, without
// blanks, dashes and underscores.
func Fold(name string) string { return separators.Replace(strings.ToLower(name)) }

// Names returns up to three of the names that nearly match the given name, in the order of
// names. Only the last path segments are compared. Names nearly match if they differ only by
// case, blanks, dashes and underscores, or only by singular and plural. They also nearly
// match if they differ by at most two letters and the given name has at least four. Names
// with different digits do not match: team-1 is no near miss of team-2.
func Names(name string, names []string) []string {
	const most = 3
	folded := foldLeaf(name)
	var near []string
	for _, n := range names {
		if n == name || !nearly(folded, foldLeaf(n)) {
			continue
		}
		if near = append(near, n); len(near) == most {
			break
		}
	}
	return near
}

// Nearest returns the name that has the fewest letters changed, or an empty text if none is
// near. At most a quarter of the letters may differ, and two letters always may.
func Nearest(name string, names []string) string {
	best, distance := "", max(2, len(name)/4)+1
	for _, n := range names {
		if d := levenshtein.ComputeDistance(name, n); d < distance {
			best, distance = n, d
		}
	}
	return best
}

func foldLeaf(name string) string { return Fold(name[strings.LastIndex(name, "/")+1:]) }

// nearly reports whether two folded names nearly match.
func nearly(a, b string) bool {
	const off, letter = 2, 4 // the most letters that may differ, and the most bytes of one letter
	switch {
	case a == b || singular(a) == singular(b):
		return true
	case len(a) < 4 || len(a)-len(b) > off*letter || len(b)-len(a) > off*letter:
		return false
	}
	return digits(a) == digits(b) && levenshtein.ComputeDistance(a, b) <= off
}

// singular returns a name without an English plural ending.
func singular(name string) string {
	switch {
	case len(name) > 4 && strings.HasSuffix(name, "ies"):
		return strings.TrimSuffix(name, "ies") + "y"
	case len(name) > 2 && strings.HasSuffix(name, "s") && !strings.HasSuffix(name, "ss"):
		return strings.TrimSuffix(name, "s")
	}
	return name
}

func digits(name string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, name)
}
