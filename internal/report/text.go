package report

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// Style says how Text shows a report.
type Style struct {
	Full  bool // cut no list
	Color bool // for a terminal that shows colours
}

// Text writes the report for a person. The summary comes first: what would change or
// did, what each guard withholds and why, and the command that approves it. The people
// follow by group, then what is left alone. The summary closes the report again, without
// the reasons. Long lists are cut unless the style says otherwise, and then a table
// counts what each group has; guards and administrators are never cut.
//
// Text needs nothing that the JSON does not hold. Names are quoted if they hold
// characters that could forge a line or reach the terminal.
func Text(w io.Writer, r Report, s Style) error {
	p := &printer{Style: s}
	p.summary(r, true)
	head := p.Len()
	p.groups(r)
	p.block(differences(r), "own views")
	p.notices(r.Skipped)
	if p.Len() > head {
		p.linef("", "")
		p.summary(r, false)
	}
	_, err := io.WriteString(w, p.String())
	return err
}

type printer struct {
	Style
	strings.Builder
}

// The colours, as parameters of ECMA-48's SGR.
const (
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
)

var (
	resultColors = map[Result]string{InSync: green, Applied: green, Drift: yellow, Guarded: red, Error: red}
	signColors   = map[string]string{"+": green, "-": red, "?": yellow}
)

// linef writes one line, whatever its arguments hold, in that colour if there is one.
func (p *printer) linef(color, format string, args ...any) {
	line := Escape(fmt.Sprintf(format, args...))
	if p.Color && color != "" {
		line = "\x1b[" + color + "m" + line + "\x1b[0m"
	}
	_, _ = p.WriteString(line + "\n")
}

func (p *printer) lines(color string, lines []string) {
	for _, l := range lines {
		p.linef(color, "%s", l)
	}
}

// block writes an empty line and a list of lines. Without lines it writes nothing.
func (p *printer) block(lines []string, what string) {
	if len(lines) > 0 {
		p.linef("", "")
		p.lines("", cutLines(lines, p.Full, what+": --full shows them"))
	}
}

// summary writes how the pass stands, with the reasons or without.
func (p *printer) summary(r Report, reasons bool) {
	p.linef(resultColors[r.Result], "%s", r.headline())
	if reasons {
		if read := r.readings(); read != "" {
			p.linef("", "%s", read)
		}
		p.lines(red, cutLines(errorLines(r), p.Full, "errors: --full shows them"))
	}
	if r.Approval != nil {
		p.linef("", "%s", *r.Approval)
	}
	for _, h := range holds(r) {
		p.linef(yellow, "%s", h)
		if reasons {
			p.reasons(h)
		}
	}
	add, remove := r.Drift()
	switch command := r.approving(); {
	case command != "":
		p.linef(bold, "approve every removal and new administrator of this plan: %s", command)
	case r.Digest != "" && add+remove > 0 && !reasons:
		p.linef("", "digest for --approve: %s", r.Digest)
	}
}

// reasons writes the sentences of a guard.
func (p *printer) reasons(h hold) {
	sentences, others := h.sentences(p.Full)
	for _, s := range sentences {
		p.linef("", "  %s", s)
	}
	if len(others) == 0 {
		return
	}
	p.linef("", "  and so for %s, which --full explains:", Counted(len(others), "more group", "more groups"))
	line := ""
	for i, g := range others {
		item := Escape(name(g))
		if i < len(others)-1 {
			item += ", "
		}
		if line != "" && columns(line+item) > pageWidth {
			p.linef("", "    %s", strings.TrimRight(line, " "))
			line = ""
		}
		line += item
	}
	p.linef("", "    %s", line)
}

// groups writes the people by group. If not everybody is shown, a table comes first
// that counts the changes of each group.
func (p *printer) groups(r Report) {
	shown, rest := sections(r, p.Full)
	cut := rest > 0
	for _, s := range shown {
		for _, x := range s.rows {
			cut = cut || x.more > 0
		}
	}
	if cut {
		p.linef("", "")
		lines := aligned(groupTable(r, p.Full))
		p.linef(bold, "%s", strings.ToUpper(lines[0]))
		p.lines("", lines[1:])
	}
	if len(shown) > 0 {
		p.linef("", "")
	}
	for _, s := range shown {
		p.section(s)
	}
	if rest > 0 {
		p.linef("", "… the people of %s: --full shows them", Counted(rest, "more group", "more groups"))
	}
}

func (p *printer) section(s section) {
	p.linef(bold, "%s  (%s)", name(s.Name), s.from)
	p.rows(s.rows)
}

func (p *printer) rows(rows []row) {
	table := make([][]string, len(rows))
	for i, x := range rows {
		table[i] = []string{"  " + x.sign + " " + x.person(), x.outcome, x.why}
		if x.more > 0 {
			table[i] = []string{fmt.Sprintf("  %s … %d more", x.sign, x.more)}
		}
	}
	for i, line := range aligned(table) {
		color := signColors[rows[i].sign]
		if rows[i].withheld {
			color = yellow
		}
		p.linef(color, "%s", line)
	}
}

func (p *printer) notices(skips []Skip) {
	var table [][]string
	for _, n := range notices(skips) {
		table = append(table, []string{n.kind(), n.side, n.why + ": " + n.shown(p.Full, name)})
	}
	p.block(aligned(table), "reasons and remarks")
}

// What a terminal of ordinary width shows in one line, and the widest cell that a column
// makes room for: a name that is longer moves only its own line.
const (
	pageWidth = 100
	cellWidth = 48
)

// aligned returns a line for each row, with the cells of a column below one another and
// two spaces between the columns. The cells are escaped.
func aligned(table [][]string) []string {
	var widths []int
	for _, row := range table {
		for i, cell := range row {
			row[i] = Escape(cell)
			if i == len(widths) {
				widths = append(widths, 0)
			}
			if w := columns(row[i]); i < len(row)-1 && w <= cellWidth {
				widths[i] = max(widths[i], w)
			}
		}
	}
	lines := make([]string, len(table))
	for i, row := range table {
		for j, cell := range row {
			lines[i] += cell
			if j < len(row)-1 {
				lines[i] += strings.Repeat(" ", max(0, widths[j]-columns(cell))+2)
			}
		}
	}
	return lines
}

// columns returns how many columns of a terminal the text takes: two for a wide
// character of East Asian writing, none for a mark that stands on another character.
func columns(s string) (n int) {
	for _, r := range s {
		if r < unicode.MaxASCII { // nearly all of a long report
			n++
			continue
		}
		switch kind := width.LookupRune(r).Kind(); {
		case unicode.In(r, unicode.Mn, unicode.Me):
		case kind == width.EastAsianWide, kind == width.EastAsianFullwidth:
			n += 2
		default:
			n++
		}
	}
	return n
}
