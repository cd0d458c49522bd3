package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
)

// Comparison holds the differences between two plans: that of the present configuration and that
// of a changed one. Keycloak and ClearML are read only once, for both plans. Every list is sorted
// and none is nil.
type Comparison struct {
	Source  Counts       `json:"source"`
	Target  Counts       `json:"target"`
	Groups  []Difference `json:"groups"`  // the user groups in which the plans differ
	Guards  []Trip       `json:"guards"`  // the guard trips that only the plan of the changed configuration has
	Skipped []Skip       `json:"skipped"` // the skipped groups and remarks that only the changed configuration has
}

// Difference is one user group in which the plans of the two configurations differ.
type Difference struct {
	Name        string   `json:"name"`
	ID          string   `json:"id"`
	FromPresent []string `json:"from_present"` // the sources under the present configuration: paths of Keycloak groups, and "role NAME" for the admin role
	FromChanged []string `json:"from_changed"` // the sources under the changed configuration
	Add         []Change `json:"add"`          // additions that only the changed configuration makes
	Remove      []Change `json:"remove"`       // removals that only the changed configuration makes
	NotAdded    []Change `json:"not_added"`    // additions that only the present configuration makes
	NotRemoved  []Change `json:"not_removed"`  // removals that only the present configuration makes
}

// ExitCode returns 2 if the plans differ, or if a guard trips only under the changed
// configuration. Else it returns 0.
func (c Comparison) ExitCode() int {
	if len(c.Groups) > 0 || len(c.Guards) > 0 {
		return 2
	}
	return 0
}

// JSON writes the comparison as one indented JSON object and a newline.
func (c Comparison) JSON(w io.Writer) error { return WriteJSON(w, c) }

// Text writes the comparison for a person. It cuts long lists unless s.Full is set, but it never
// leaves out a guard or an administrator. It escapes names as the function Text does.
func (c Comparison) Text(w io.Writer, s Style) error {
	p := &printer{Style: s}
	color := green
	if c.ExitCode() != 0 {
		color = yellow
	}
	p.linef(color, "%s", c.headline())
	p.linef("", "%s", c.readings())
	for _, h := range holds(c.report()) {
		p.linef(yellow, "%s", h)
		p.reasons(h)
	}
	shown, rest := fitting(c.sections(), s.Full)
	if len(shown) > 0 {
		p.linef("", "")
	}
	for _, x := range shown {
		p.section(x)
	}
	if rest > 0 {
		p.linef("", "")
		p.linef("", "… the people of %s: --full shows them", Counted(rest, "more group", "more groups"))
	}
	p.notices(c.Skipped)
	_, err := io.WriteString(w, p.String())
	return err
}

// Markdown writes the comparison as Markdown with tables, for a pull request. It cuts long lists
// as Text does, unless full is set. It writes names in code spans, as the function Markdown does.
func (c Comparison) Markdown(w io.Writer, full bool) error {
	d := &document{full: full}
	d.block("**" + code(c.headline()) + "**")
	d.block(code(c.readings()))
	d.holds(c.report())
	var groups [][]string
	for _, g := range c.Groups {
		row := []string{codeName(g.Name), code(names(g.FromPresent)), code(names(g.FromChanged))}
		for _, l := range [][]Change{g.Add, g.Remove, g.NotAdded, g.NotRemoved} {
			row = append(row, fmt.Sprint(len(l)))
		}
		groups = append(groups, row)
	}
	if more := len(groups) - groupsShown; !full && more > 0 {
		groups = append(groups[:groupsShown], []string{"… " + Counted(more, "more group", "more groups"), "", "", "", "", "", ""})
	}
	d.table([]string{"group", "present sources", "changed sources", "add", "remove", "no longer add", "no longer remove"}, groups)
	d.people(fitting(c.sections(), full))
	d.notices(c.Skipped)
	_, err := io.WriteString(w, d.String())
	return err
}

// headline returns one line with the number of changes that only one of the two configurations
// makes.
func (c Comparison) headline() string {
	var add, remove, notAdded, notRemoved int
	for _, g := range c.Groups {
		add, remove = add+len(g.Add), remove+len(g.Remove)
		notAdded, notRemoved = notAdded+len(g.NotAdded), notRemoved+len(g.NotRemoved)
	}
	if add+remove+notAdded+notRemoved == 0 {
		return "same: both configurations change the same memberships"
	}
	line := fmt.Sprintf("differs: the changed configuration alone adds %d and removes %d", add, remove)
	if notAdded+notRemoved > 0 {
		line += fmt.Sprintf(", no longer adds %d and no longer removes %d", notAdded, notRemoved)
	}
	return line + fmt.Sprintf(", in %s", Counted(len(c.Groups), "group", "groups"))
}

func (c Comparison) readings() string {
	return fmt.Sprintf("both plans use one reading: keycloak %s; clearml %s", c.Source, c.Target)
}

// report returns the guard trips, and the additions and removals that only the changed
// configuration makes, as a Report. The function holds() needs a Report to group them by guard.
func (c Comparison) report() Report {
	r := Report{Guards: c.Guards}
	for _, g := range c.Groups {
		r.Groups = append(r.Groups, Group{Name: g.Name, ID: g.ID, Add: g.Add, Remove: g.Remove})
	}
	return r
}

// sections returns the groups with their people. Admins comes first, and then the groups with
// the most differences.
func (c Comparison) sections() []section {
	var all []section
	for _, g := range c.Groups {
		all = append(all, section{Group{Name: g.Name, ID: g.ID}, g.from(), g.rows()})
	}
	slices.SortStableFunc(all, func(a, b section) int {
		return cmp.Or(b2i(b.administrators())-b2i(a.administrators()), len(b.rows)-len(a.rows))
	})
	return all
}

// from returns a text with the sources of the group. If the two configurations have different
// sources, the text names both.
func (d Difference) from() string {
	present, changed := feeders(d.FromPresent), feeders(d.FromChanged)
	if present == changed {
		return present
	}
	return present + "; changed: " + changed
}

// rows returns one row for each change that only one of the two configurations makes. The sign ~
// marks a change that only the present configuration makes.
func (d Difference) rows() []row {
	var rows []row
	for _, c := range d.Add {
		rows = append(rows, c.row("+"))
	}
	for _, c := range d.Remove {
		rows = append(rows, c.row("-"))
	}
	for _, c := range d.NotAdded {
		rows = append(rows, c.dropped("no longer added"))
	}
	for _, c := range d.NotRemoved {
		rows = append(rows, c.dropped("no longer removed"))
	}
	return rows
}

func (c Change) dropped(outcome string) row {
	x := c.row("~")
	x.outcome = outcome
	return x
}
