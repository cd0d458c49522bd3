package report

import (
	"cmp"
	"io"
	"slices"
	"strings"
)

// Diff writes one line for each membership that the pass would change or has changed. The line
// has + or -, the user group, and the person with the email. If ClearML has no email, the line has
// the id of the ClearML user. If the change is withheld or failed, the line ends in a comment.
//
// The lines are sorted by group and person, and equal plans give equal bytes. So a person can
// compare two outputs, or paste an output into a pull request.
//
// Errors and guard trips come first, in lines that begin with #. Without these lines an
// incomplete plan would look like a plan without changes.
func Diff(w io.Writer, r Report) error {
	p := &printer{Style: Style{Full: true}}
	for _, f := range r.Errors {
		p.linef("", "# error: %s", f.Text)
	}
	for _, h := range holds(r) {
		for _, t := range h.trips {
			p.linef("", "# guard %s: %s", h.guard, t)
		}
	}
	groups := slices.Clone(r.Groups)
	slices.SortStableFunc(groups, func(a, b Group) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	for _, g := range groups {
		rows := slices.DeleteFunc(g.rows(), func(x row) bool { return x.sign != "+" && x.sign != "-" })
		slices.SortStableFunc(rows, func(a, b row) int {
			return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.email, b.email), strings.Compare(a.id, b.id), strings.Compare(a.sign, b.sign))
		})
		for _, x := range rows {
			x.email = cmp.Or(x.email, x.id)
			comment := ""
			if x.withheld || x.outcome == string(Failed) {
				comment = "  # " + x.outcome
			}
			p.linef("", "%s %s  %s%s", x.sign, name(g.Name), x.person(), comment)
		}
	}
	_, err := io.WriteString(w, p.String())
	return err
}
