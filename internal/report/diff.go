package report

import (
	"cmp"
	"io"
	"slices"
	"strings"
)

// Diff writes one line for each membership that the pass would change or has changed: + or -,
// the user group, and the person with the email. If there is no email, the line has ClearML's
// id. A line ends in a comment if the change is withheld or failed. The lines are sorted by
// group and person, and equal plans give equal bytes. So two outputs can be compared, and an
// output can be pasted into a pull request.
//
// If there are errors or guards, lines that begin with # come first. Without these lines an
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
