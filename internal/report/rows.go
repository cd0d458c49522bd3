package report

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// The limits of long lists in a report, unless the report is shown in full. Administrators are
// always shown in full.
const (
	listShown   = 5  // the most people of one group with one sign (+, -, ?, =), and the most entries of any other list
	rowsShown   = 30 // the most rows of people in all groups together
	groupsShown = 10 // the most groups in the table of groups
)

// administrators reports whether the group is ClearML's built-in group Admins, or represents
// ClearML's role admin. A group named Admins in a report is always the built-in group.
func (g Group) administrators() bool { return g.Name == "Admins" || g.ID == "role:admin" }

// row is one person in one group.
type row struct {
	sign        string // + joins, - leaves, ? waits for the first login, = stays; ~ in a Comparison: only the present configuration makes the change
	name, email string
	id          string // id of the ClearML user; empty for a person who waits for the first login
	outcome     string
	why         string
	withheld    bool
	more        int // 0: the row is a person; else the number of people with this sign that are not shown
}

// person returns the name and, in angle brackets, the email. A name with angle brackets is
// quoted, so the last pair of brackets is always the email's.
func (x row) person() string {
	if x.email == "" {
		return name(x.name)
	}
	return name(x.name) + " <" + name(x.email) + ">"
}

// section is one group, and those of its rows that are shown.
type section struct {
	Group
	from string // the sources of the group
	rows []row
}

// feeders returns a text with the sources of a group: paths of Keycloak groups, and the admin
// role.
func feeders(from []string) string {
	if len(from) == 0 {
		return "from nothing"
	}
	return "from " + names(from)
}

// sections returns the groups with something to report. Admins comes first, and then the groups
// with the most changes. Unless full is set, sections cuts long lists. rest is the number of
// groups whose people are not shown at all.
func sections(r Report, full bool) (shown []section, rest int) {
	var all []section
	for _, g := range ordered(r.Groups) {
		all = append(all, section{g, feeders(g.From), g.rows()})
	}
	return fitting(all, full)
}

// fitting returns the sections to show, with their long lists cut. rest is the number of sections
// that are not shown. fitting cuts nothing of administrators, and nothing at all if full is set.
func fitting(all []section, full bool) (shown []section, rest int) {
	used := 0
	for i, s := range all {
		if !full && !s.administrators() {
			s.rows = cut(s.rows)
			if used += len(s.rows); used > rowsShown {
				return shown, len(all) - i
			}
		}
		shown = append(shown, s)
	}
	return shown, 0
}

// ordered returns the groups with something to report, in the order in which they are shown.
func ordered(groups []Group) []Group {
	groups = slices.DeleteFunc(slices.Clone(groups), func(g Group) bool {
		return len(g.Add)+len(g.Remove)+len(g.Pending)+len(g.Kept)+len(g.Withheld) == 0
	})
	slices.SortStableFunc(groups, func(a, b Group) int {
		return cmp.Or(b2i(b.administrators())-b2i(a.administrators()), len(b.Add)+len(b.Remove)-len(a.Add)-len(a.Remove))
	})
	return groups
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// rows returns one row for each person of the group: first who joins, then who leaves, who waits
// for the first login, and who stays.
func (g Group) rows() []row {
	var rows []row
	for _, c := range g.Add {
		rows = append(rows, c.row("+"))
	}
	for _, c := range g.Remove {
		rows = append(rows, c.row("-"))
	}
	for _, p := range g.Pending {
		rows = append(rows, row{sign: "?", name: p.Username, email: p.Email, outcome: "waits", why: "for the first login"})
	}
	for _, k := range g.Kept {
		rows = append(rows, row{sign: "=", name: k.Name, id: k.ID, outcome: "stays", why: k.because()})
	}
	return rows
}

// because returns why the member stays, and for an exception of users.protect its end and reason.
func (k Kept) because() string {
	why := k.Why
	if !k.Until.IsZero() {
		why += " until " + k.Until.UTC().Format(time.RFC3339)
	}
	if k.Reason != "" {
		why += ": " + k.Reason
	}
	return why
}

func (c Change) row(sign string) row {
	x := row{sign: sign, name: c.Name, email: c.Email, id: c.ID, outcome: string(c.Outcome), why: c.Because(), withheld: c.Outcome == Withheld}
	if c.Guard != "" {
		x.outcome += " by " + string(c.Guard)
	}
	return x
}

// Because returns one line: why the plan proposes the change, how the person was matched, and what
// the person's own side showed.
func (c Change) Because() string {
	because := c.Why
	if c.Match != "" {
		because += ", matched by " + c.Match
	}
	if c.Evidence != "" {
		because += ", " + c.Evidence
	}
	if c.Doubt != "" {
		because += ", but " + c.Doubt
	}
	return because
}

// cut returns the first listShown rows of each sign. If a sign has more rows, one row with the
// number of the missing rows follows. Rows with the same sign must be next to each other.
func cut(rows []row) (left []row) {
	for len(rows) > 0 {
		n := slices.IndexFunc(rows, func(x row) bool { return x.sign != rows[0].sign })
		if n < 0 {
			n = len(rows)
		}
		same := rows[:n]
		rows = rows[n:]
		if n > listShown {
			same = append(slices.Clone(same[:listShown]), row{sign: same[0].sign, more: n - listShown})
		}
		left = append(left, same...)
	}
	return left
}

// sums are the figures of one or several groups.
type sums struct{ add, remove, done, withheld, waits, stays int }

func sumsOf(groups []Group) (s sums) {
	for _, g := range groups {
		s.add, s.remove = s.add+len(g.Add), s.remove+len(g.Remove)
		for _, c := range slices.Concat(g.Add, g.Remove) {
			s.done += b2i(c.Outcome == Done)
			s.withheld += b2i(c.Outcome == Withheld)
		}
		s.waits, s.stays = s.waits+len(g.Pending), s.stays+len(g.Kept)
	}
	return s
}

// groupTable returns a table with the figures of the groups with something to report. The first
// row is the head, and each group has one row. Unless full is set, one row sums up the groups
// after the first groupsShown. If there are several groups, the last row is the sum of all.
func groupTable(r Report, full bool) [][]string {
	groups := ordered(r.Groups)
	table := [][]string{{"group", "add", "remove", "done", "withheld", "wait", "stay"}}
	add := func(what string, of ...Group) {
		s := sumsOf(of)
		cells := []string{what}
		for _, n := range []int{s.add, s.remove, s.done, s.withheld, s.waits, s.stays} {
			cells = append(cells, fmt.Sprint(n))
		}
		table = append(table, cells)
	}
	shown := groups
	if !full && len(groups) > groupsShown {
		shown = groups[:groupsShown]
	}
	for _, g := range shown {
		add(name(g.Name), g)
	}
	if more := groups[len(shown):]; len(more) > 0 {
		add("… "+Counted(len(more), "more group", "more groups"), more...)
	}
	if len(groups) > 1 {
		add(fmt.Sprintf("all %d groups", len(groups)), groups...)
	}
	return table
}
