// Package near finds names that nearly match another name. groupsync proposes such a name if
// the configuration names something that does not exist. The package does no I/O.
package near

import (
	"strings"

	"github.com/agnivade/levenshtein"
)

var separators = strings.NewReplacer(" ", "", "-", "", "_", "")

// Fold returns the name in lower case, without blanks, dashes and underscores. Two names that
// differ only in these are the same after Fold.
func Fold(name string) string { return separators.Replace(strings.ToLower(name)) }

// Names returns up to three of the names that nearly match the given name, in the order of
// names. It compares only the text after the last slash. Two names nearly match if they differ
// only by case, blanks, dashes and underscores, or only by singular and plural. They also
// nearly match if they differ by at most two letters, have the same digits, and the given name
// has at least four letters. So team-1 and team-2 do not nearly match.
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

// Nearest returns the one of names that differs from the given name by the fewest letters. At
// most two letters may differ, or a quarter of the given name if that is more. If no name is
// so near, Nearest returns "".
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
	const off, letter = 2, 4 // how many letters may differ, and how many bytes one letter has at most
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
