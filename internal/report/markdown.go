package report

import (
	"fmt"
	"io"
	"strings"
)

// Markdown writes the report as Markdown with tables, for a pull request or an issue. It cuts
// long lists as Text does, unless full is set.
//
// Every name, and every sentence with names, is in a code span. There a renderer recognizes no
// Markdown, no HTML, no link and no mention of an account. Backticks could end the span and pipes
// the table cell, so Markdown writes them as \x60 and \x7c.
func Markdown(w io.Writer, r Report, full bool) error {
	d := &document{full: full}
	d.summary(r)
	if groups := groupTable(r, full); len(ordered(r.Groups)) > 0 {
		for _, row := range groups[1:] {
			row[0] = code(row[0])
		}
		d.table(groups[0], groups[1:])
	}
	d.people(sections(r, full))
	d.bullets(cutLines(differences(r), full, "differences of lists and caches"))
	d.notices(r.Skipped)
	_, err := io.WriteString(w, d.String())
	return err
}

// document builds a Markdown text: blocks with an empty line between them.
type document struct {
	strings.Builder
	full bool
}

func (d *document) block(text string) {
	if d.Len() > 0 {
		_, _ = d.WriteString("\n")
	}
	_, _ = d.WriteString(text + "\n")
}

func (d *document) summary(r Report) {
	d.block("**" + code(r.headline()) + "**")
	if read := r.readings(); read != "" {
		d.block(code(read))
	}
	d.bullets(cutLines(errorLines(r), d.full, "errors"))
	if r.Approval != nil {
		d.block(code(r.Approval.String()))
	}
	d.holds(r)
	if command := r.approving(); command != "" {
		d.block("Approve every removal and new administrator of this plan: " + code(command))
	}
}

func (d *document) holds(r Report) {
	for _, h := range holds(r) {
		d.block("**" + code(h.String()) + "**")
		sentences, others := h.sentences(d.full)
		if len(others) > 0 {
			sentences = append(sentences, fmt.Sprintf("and %s: %s", Counted(len(others), "more group", "more groups"), names(others)))
		}
		d.bullets(sentences)
	}
}

func (d *document) notices(skips []Skip) {
	var table [][]string
	for _, n := range notices(skips) {
		table = append(table, []string{n.kind(), code(n.side), code(n.why), n.shown(d.full, codeName)})
	}
	if !d.full && len(table) > listShown {
		table = append(table[:listShown], []string{fmt.Sprintf("… %d more", len(table)-listShown), "", "", ""})
	}
	d.table([]string{"what", "side", "why", "names"}, table)
}

func (d *document) bullets(list []string) {
	lines := make([]string, len(list))
	for i, text := range list {
		lines[i] = "- " + code(text)
	}
	if len(lines) > 0 {
		d.block(strings.Join(lines, "\n"))
	}
}

// people writes one table with the people of the shown groups. rest is the number of groups whose
// people are not shown.
func (d *document) people(shown []section, rest int) {
	var table [][]string
	for _, s := range shown {
		group := codeName(s.Name)
		for _, x := range s.rows {
			if x.more > 0 {
				table = append(table, []string{group, code(x.sign), fmt.Sprintf("… %d more", x.more), "", "", ""})
				continue
			}
			email := ""
			if x.email != "" {
				email = codeName(x.email)
			}
			table = append(table, []string{group, code(x.sign), codeName(x.name), email, code(x.outcome), code(x.why)})
		}
	}
	d.table([]string{"group", "change", "person", "email", "outcome", "why"}, table)
	if rest > 0 {
		d.block("… the people of " + Counted(rest, "more group", "more groups"))
	}
}

// table writes a table. It writes nothing if there are no rows.
func (d *document) table(head []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	line := func(cells []string) string { return "| " + strings.Join(cells, " | ") + " |" }
	lines := []string{line(head), "|" + strings.Repeat("---|", len(head))}
	for _, row := range rows {
		lines = append(lines, line(row))
	}
	d.block(strings.Join(lines, "\n"))
}

// unspanned replaces the characters that could end a code span or a table cell.
var unspanned = strings.NewReplacer("`", `\x60`, "|", `\x7c`)

// code returns a text as a code span of one line. The span holds no backtick and no pipe.
func code(text string) string {
	text = strings.TrimSpace(unspanned.Replace(Escape(text)))
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

// codeName returns a name as a code span.
func codeName(s string) string { return code(quotedWith(s, "`|")) }
