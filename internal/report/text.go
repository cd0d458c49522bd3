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

// Text writes the report for a person. The summary comes first: the numbers of changes, what each
// guard withholds and why, and the command that approves the withheld changes. The people follow
// by group, and then the skipped groups and remarks. At the end Text repeats the summary without
// the reasons of the guards.
//
// Unless s.Full is set, Text cuts long lists. If it cuts the people, it adds a table with the
// figures of each group. It never leaves out a guard or an administrator.
//
// Text uses only values that the JSON holds. It quotes a name with characters that could begin a
// line or control the terminal.
func Text(w io.Writer, r Report, s Style) error {
	p := &printer{Style: s}
	p.summary(r, true)
	head := p.Len()
	p.groups(r)
	p.block(differences(r), "differences of lists and caches")
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

// The colours, as parameters of SGR in ECMA-48.
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

// linef writes one line, in the given colour if it is not empty. It escapes line breaks and
// control characters, so the arguments cannot add a second line.
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

// block writes an empty line and then the lines, cut as cutLines does. what is the noun for the
// lines. If there are no lines, block writes nothing.
func (p *printer) block(lines []string, what string) {
	if len(lines) > 0 {
		p.linef("", "")
		p.lines("", cutLines(lines, p.Full, what+": --full shows them"))
	}
}

// summary writes the headline, the guards and the approval. If reasons is true, it also writes the
// sizes of both sides, the errors, and the sentences of each guard.
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

// reasons writes the sentences of a guard, and the names of the groups whose sentences are left
// out.
func (p *printer) reasons(h hold) {
	sentences, others := h.sentences(p.Full)
	for _, s := range sentences {
		p.linef("", "  %s", s)
	}
	if len(others) == 0 {
		return
	}
	p.linef("", "  and %s (--full shows the reasons):", Counted(len(others), "more group", "more groups"))
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

// groups writes the people by group. If some people are not shown, a table with the figures of
// each group comes first.
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

// pageWidth is the width of a line in terminal columns. A cell that is wider than cellWidth does
// not widen its column: it only moves the rest of its own line.
const (
	pageWidth = 100
	cellWidth = 48
)

// aligned returns one line for each row of the table. The columns are aligned, with two spaces
// between columns. aligned escapes the cells.
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

// columns returns the number of terminal columns that the text takes: two for a wide East
// Asian character, none for a combining mark.
func columns(s string) (n int) {
	for _, r := range s {
		if r < unicode.MaxASCII { // a fast path: most of a long report is ASCII
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
