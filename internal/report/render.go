package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// JSON writes the report as one indented JSON object and a newline. No list and
// no map of it is null.
func JSON(w io.Writer, r Report) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r.filled()); err != nil {
		return err
	}
	_, err := w.Write(EscapeJSON(b.Bytes()))
	return err
}

// filled returns the report with an empty list or map in the place of each nil.
func (r Report) filled() Report {
	r.Groups = slices.Clone(list(r.Groups))
	for i, g := range r.Groups {
		g.From, g.Add, g.Remove = list(g.From), list(g.Add), list(g.Remove)
		g.Pending, g.Kept, g.Withheld = list(g.Pending), list(g.Kept), list(g.Withheld)
		r.Groups[i] = g
	}
	r.Skipped, r.People, r.Guards = list(r.Skipped), list(r.People), list(r.Guards)
	r.Errors, r.Probes = list(r.Errors), list(r.Probes)
	if r.Users == nil {
		r.Users = map[string]int{}
	}
	if r.Reverted == nil {
		r.Reverted = map[string]int{}
	}
	if r.Approval != nil {
		a := *r.Approval
		a.Lifted = list(a.Lifted)
		r.Approval = &a
	}
	return r
}

func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

// Text writes the report for a person. It has one line a change, then the reasons
// for what is left, the guards, the approval, the errors and last the sums. It
// needs nothing that the JSON does not hold. Names are quoted if they hold
// characters that could forge a line or reach the terminal.
func Text(w io.Writer, r Report) error {
	p := &printer{}
	for _, g := range r.Groups {
		p.group(g)
	}
	for _, g := range r.Groups {
		p.ownView(g)
	}
	p.skipped(r.Skipped)
	p.guards(r.Guards)
	if r.Approval != nil {
		p.linef("%s", *r.Approval)
	}
	for _, f := range r.Errors {
		p.linef("error: %s", f.Text)
	}
	p.summary(r)
	_, err := io.WriteString(w, p.String())
	return err
}

type printer struct{ strings.Builder }

// linef writes one line, whatever its arguments hold.
func (p *printer) linef(format string, args ...any) {
	p.WriteString(Escape(fmt.Sprintf(format, args...)) + "\n")
}

func (p *printer) group(g Group) {
	if len(g.Add)+len(g.Remove)+len(g.Pending)+len(g.Kept)+len(g.Withheld) == 0 {
		return
	}
	p.linef("%s  (from %s)", name(g.Name), names(g.From))
	for _, c := range g.Add {
		p.change("+", c)
	}
	for _, c := range g.Remove {
		p.change("-", c)
	}
	for _, k := range g.Kept {
		p.linef("  = %s  stays: %s", name(k.Name), k.Why)
	}
	for _, m := range g.Pending {
		p.linef("  ? %s  waits for the first login", name(m.Username))
	}
}

func (p *printer) change(sign string, c Change) {
	who := name(c.Name)
	if c.Email != "" {
		who += " <" + name(c.Email) + ">"
	}
	outcome := string(c.Outcome)
	if c.Guard != "" {
		outcome += " by " + string(c.Guard)
	}
	why := c.Why
	if c.Match != "" {
		why += ", matched by " + c.Match
	}
	if c.Evidence != "" {
		why += ", " + c.Evidence
	}
	if c.Doubt != "" {
		why += ", but " + c.Doubt
	}
	p.linef("  %s %s  %s (%s)", sign, who, outcome, why)
}

// ownView says of one group that Keycloak's member list is not what a login reads.
func (p *printer) ownView(g Group) {
	var differs []string
	if n := g.OwnView.Hides; n > 0 {
		differs = append(differs, fmt.Sprintf("hides %d of its members", n))
	}
	if n := g.OwnView.Shows; n > 0 {
		differs = append(differs, "shows "+counted(n, "person who is not a member", "people who are not members"))
	}
	if len(differs) > 0 {
		p.linef("own view of %s: Keycloak's member list %s. The person's own side is right, because a login reads that side. Nothing is changed for it.",
			name(g.Name), strings.Join(differs, " and "))
	}
	if g.OwnView.Stale {
		p.linef("own view of %s: Keycloak's user cache may be older than its database. If it is, a periodic sync of changed users, or clearing the user cache, refreshes the cache; until then a login follows the old entry.", name(g.Name))
	}
}

// skipped names a few groups for each reason and counts the others: a realm can
// have thousands of groups that ClearML lacks.
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
		all := byWhy[key]
		more := ""
		if len(all) > named {
			more = fmt.Sprintf(" and %d more", len(all)-named)
			all = all[:named]
		}
		p.linef("left alone, %s: %s%s", key, names(all), more)
	}
}

// guards writes each trip once, also if two parts of a pass report the same.
func (p *printer) guards(trips []Trip) {
	type sentence struct {
		guard         Guard
		group, detail string
	}
	seen := make(map[sentence]bool)
	for _, t := range trips {
		s := sentence{t.Guard, t.Group, t.Detail}
		if seen[s] {
			continue
		}
		seen[s] = true
		where := ""
		if t.Group != "" {
			where = " " + name(t.Group) + ":"
		}
		p.linef("guard %s:%s %s", t.Guard, where, t.Detail)
	}
}

func (p *printer) summary(r Report) {
	p.linef("keycloak %s; clearml %s", r.Source, r.Target)
	add, remove := r.Drift()
	p.linef("%s (%s): %d added, %d removed, %d failed; drift left: %d to add, %d to remove; pending: %d",
		r.Result, r.Mode, r.Applied.Added, r.Applied.Removed, r.Applied.Failed, add, remove, r.Users["pending"])
	if r.Digest != "" {
		p.linef("digest for --approve: %s", r.Digest)
	}
}

func (c Counts) String() string {
	return fmt.Sprintf("%d groups, %d users, %d memberships", c.Groups, c.Users, c.Memberships)
}

// String says in one sentence who approved what, when, and what came of it.
func (a Approval) String() string {
	head := fmt.Sprintf("approval of %s by %s at %s: ", a.Digest, name(a.By), a.At.UTC().Format(time.RFC3339))
	if !a.Granted {
		return head + "refused: " + a.Detail
	}
	return head + fmt.Sprintf("granted: lifted %s for %s", a.LiftedNames(), counted(a.Changes, "change", "changes"))
}

func counted(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}

// LiftedNames returns the names of the guards that the approval lifted.
func (a Approval) LiftedNames() string {
	if len(a.Lifted) == 0 {
		return "no guard"
	}
	guards := make([]string, len(a.Lifted))
	for i, g := range a.Lifted {
		guards[i] = string(g)
	}
	return strings.Join(guards, ", ")
}
