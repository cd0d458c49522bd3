package leavers

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"groupsync/internal/report"
)

// Text writes the report for a person. Names are quoted if they hold characters that could
// forge a line or control the terminal. Text cuts no list, because every person in a list
// needs a decision.
func Text(w io.Writer, r Report) error {
	p := &printer{}
	p.linef("%s", r.headline())
	for _, u := range r.NotReturned {
		p.linef("ClearML did not return %s: %s", returnable[u.What], u.Why)
	}
	since := r.At.Add(-time.Duration(r.Recent * float64(time.Second)))
	for _, list := range [][]Person{r.Leavers, r.InDoubt} {
		for _, person := range list {
			p.person(person, since)
		}
	}
	_, err := io.WriteString(w, p.String())
	return err
}

// returnable has words for the kinds that the server may not return, or not for everybody.
var returnable = map[Holding]string{Rule: "all access rules", RecentUse: "when people last used ClearML"}

func (r Report) headline() string {
	line := "leavers: nobody who is disabled or gone in Keycloak holds anything in ClearML"
	if n := len(r.Leavers); n > 0 {
		line = fmt.Sprintf("leavers: people who are disabled or gone in Keycloak and hold, or may hold, something in ClearML: %d", n)
	}
	if n := len(r.InDoubt); n > 0 {
		line += fmt.Sprintf("; people who may be disabled or gone: %d", n)
	}
	return line
}

type printer struct{ strings.Builder }

// linef writes one line. It escapes line breaks and control characters in its arguments.
func (p *printer) linef(format string, args ...any) {
	_, _ = p.WriteString(report.Escape(fmt.Sprintf(format, args...)) + "\n")
}

func (p *printer) person(who Person, since time.Time) {
	name := report.Name(who.Name)
	if who.Email != "" {
		name += " <" + report.Name(who.Email) + ">"
	}
	p.linef("")
	p.linef("%s  %s  (id %s)", who.Status, name, report.Name(who.ID))
	p.linef("  why: %s", who.Why)
	var groups []string
	for _, g := range who.Groups {
		text := g.show()
		if !g.Managed {
			text += " (not managed by groupsync)"
		}
		groups = append(groups, text)
	}
	p.linef("  groups: %s", list(groups, false))
	p.linef("  role: %s", role(who))
	var rules []string
	for _, r := range who.Rules {
		rules = append(rules, r.show())
	}
	p.linef("  access rules that name the person: %s", list(rules, slices.Contains(who.Unknown, Rule)))
	p.linef("  last use of the UI: %s", used(who.UI, since))
	p.linef("  last use of API keys: %s", used(who.Keys, since))
}

const unknown = "unknown"

// list returns the names, or "none", or "unknown" if incomplete is set and there are no names.
func list(names []string, incomplete bool) string {
	switch {
	case len(names) > 0:
		return strings.Join(names, ", ")
	case incomplete:
		return unknown
	}
	return "none"
}

func (n Named) show() string {
	switch {
	case n.Name == "" && n.ID == "":
		return "(no name)"
	case n.Name == "":
		return report.Name(n.ID)
	}
	return report.Name(n.Name)
}

func role(who Person) string {
	if who.Role == "" {
		return unknown
	}
	return report.Name(who.Role)
}

func used(at *time.Time, since time.Time) string {
	switch {
	case at == nil:
		return unknown
	case at.After(since):
		return at.UTC().Format(time.RFC3339) + ", recent"
	}
	return at.UTC().Format(time.RFC3339)
}
