package preflight

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"groupsync/internal/report"
)

// Some returns the first five names of a list as one text, in the order of the list, and the
// number of the other names.
func Some(list []string) string {
	const most = 5
	if len(list) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
	}
	return strings.Join(list, ", ")
}

var signs = map[Level]string{OK: "✔", Warning: "!", Error: "✘"}

// These returns a phrase for one name or several, such as "the federation a" or "the federations a
// and b". what is the noun in the singular.
func These(what string, names []string) string {
	if len(names) == 1 {
		return "the " + what + " " + names[0]
	}
	return "the " + what + "s " + strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// Line returns a finding as text: the sign, the check and what was seen, and below that
// the advice and where the documentation is. Each line ends in a newline.
func (f Finding) Line() string {
	line := fmt.Sprintf("%s %s: %s\n", signs[f.Level], f.Check, report.Escape(f.Seen))
	if f.Level == OK {
		return line
	}
	return line + fmt.Sprintf("    %s\n    see %s\n", report.Escape(f.Advice), f.Docs)
}

// Summary returns the last lines of the text: how many checks were not made and why, if
// there are any, and how many findings have each level.
func (r Report) Summary() string {
	var prerequisites []string // the checks that were made and whose error kept other checks from being made
	notMade := make(map[string]bool)
	for _, f := range r.Findings {
		if f.Prerequisite == "" {
			continue
		}
		notMade[f.Check] = true
		if !notMade[f.Prerequisite] && !slices.Contains(prerequisites, f.Prerequisite) {
			prerequisites = append(prerequisites, f.Prerequisite)
		}
	}
	n := len(notMade)
	counts := fmt.Sprintf("%d ok, %s, %s\n", r.Count(OK), report.Counted(r.Count(Warning), "warning", "warnings"), report.Counted(r.Count(Error), "error", "errors"))
	if n == 0 {
		return counts
	}
	return fmt.Sprintf("%s %s not made. Correct what %s found, then run groupsync check again\n", signs[Warning], report.Counted(n, "check was", "checks were"), These("check", prerequisites)) + counts
}

// JSON writes the report as one indented JSON object and a newline.
func (r Report) JSON(w io.Writer) error {
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
	return report.WriteJSON(w, r)
}
