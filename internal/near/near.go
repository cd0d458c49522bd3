// Package near finds names that are similar to a given name. If the configuration names
// something that does not exist, groupsync proposes such names ("did you mean"). The package
// does no I/O.
package near

import (
	"strings"

	"github.com/agnivade/levenshtein"
)

var separators = strings.NewReplacer(" ", "", "-", "", "_", "")

// Fold returns the name in lower case, without blanks, dashes and underscores. Two names that
// differ only in these are the same after Fold.
func Fold(name string) string { return separators.Replace(strings.ToLower(name)) }

// Names returns the first three or fewer elements of the list names that are similar to the
// given name. It compares only the text after the last slash. Two names are similar if they
// differ only by case, blanks, dashes and underscores, or only by singular and plural. If the
// given name has at least four letters, they are also similar if at most two letters differ.
// Then the digits must be the same: team-1 and team-2 are not similar. A name equal to the
// given one is left out.
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

// Nearest returns the element of names from which the given name differs by the fewest
// letters. At most two letters may differ, or a quarter of the given name if that is more. If
// no element is so near, Nearest returns "".
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

// nearly reports whether two names are similar in the sense of Names. Both are results of
// foldLeaf.
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
