package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// JSON writes the report as one indented JSON object and a newline.
func JSON(w io.Writer, r Report) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(r)
}

// Text writes the report for a person: one line a change, then the reasons for
// what is left, then one line of sums.
func Text(w io.Writer, r Report) error {
	p := &printer{}
	for _, g := range r.Groups {
		p.group(g)
	}
	p.skipped(r.Skipped)
	for _, t := range r.Guards {
		p.trip(t)
	}
	for _, f := range r.Errors {
		p.linef("error: %s", f.Text)
	}
	p.summary(r)
	_, err := io.WriteString(w, p.String())
	return err
}

type printer struct{ strings.Builder }

func (p *printer) linef(format string, args ...any) {
	fmt.Fprintf(p, format+"\n", args...)
}

func (p *printer) group(g Group) {
	if len(g.Add)+len(g.Remove)+len(g.Pending)+len(g.Kept)+len(g.Withheld) == 0 {
		return
	}
	p.linef("%s  (from %s)", g.Name, strings.Join(g.From, ", "))
	for _, c := range g.Add {
		p.change("+", c)
	}
	for _, c := range g.Remove {
		p.change("-", c)
	}
	for _, k := range g.Kept {
		p.linef("  = %s  stays: %s", k.Name, k.Why)
	}
	for _, m := range g.Pending {
		p.linef("  ? %s  waits for the first login", m.Username)
	}
}

func (p *printer) change(sign string, c Change) {
	who := c.Name
	if c.Email != "" {
		who += " <" + c.Email + ">"
	}
	outcome := string(c.Outcome)
	if c.Guard != "" {
		outcome += " by " + string(c.Guard)
	}
	why := c.Why
	if c.Evidence != "" {
		why += ", " + c.Evidence
	}
	p.linef("  %s %s  %s (%s)", sign, who, outcome, why)
}

// skipped names the remarks and the near misses, and only counts the rest: a
// realm may well have thousands of groups that ClearML lacks.
func (p *printer) skipped(skips []Skip) {
	const named = 5
	byWhy := make(map[string][]string)
	var order []string
	for _, s := range skips {
		key := s.Side + ": " + s.Why
		if byWhy[key] == nil {
			order = append(order, key)
		}
		byWhy[key] = append(byWhy[key], s.Name)
	}
	for _, key := range order {
		names := byWhy[key]
		more := ""
		if len(names) > named {
			more = fmt.Sprintf(" and %d more", len(names)-named)
			names = names[:named]
		}
		p.linef("left alone, %s: %s%s", key, strings.Join(names, ", "), more)
	}
}

func (p *printer) trip(t Trip) {
	where := ""
	if t.Group != "" {
		where = " " + t.Group + ":"
	}
	p.linef("guard %s:%s %s", t.Guard, where, t.Detail)
}

func (p *printer) summary(r Report) {
	p.linef("keycloak %s; clearml %s", r.Source, r.Target)
	add, remove := r.Drift()
	p.linef("%s (%s): %d added, %d removed, %d failed; drift left: %d to add, %d to remove; pending: %d",
		r.Result, r.Mode, r.Applied.Added, r.Applied.Removed, r.Applied.Failed, add, remove, r.Users["pending"])
	if r.Digest != "" {
		p.linef("digest of the removals: %s", r.Digest)
	}
}

func (c Counts) String() string {
	return fmt.Sprintf("%d groups, %d users, %d memberships", c.Groups, c.Users, c.Memberships)
}
