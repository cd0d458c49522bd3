package explain

import (
	"fmt"
	"io"
	"strings"
	"time"

	"groupsync/internal/journal"
	"groupsync/internal/report"
)

// JSON writes the answer as one indented JSON object and a newline. It escapes characters that
// could control a terminal.
func JSON(w io.Writer, a Answer) error { return report.WriteJSON(w, a) }

// Text writes the answer for a person. Names are quoted if they hold characters that could
// forge a line or control the terminal.
func Text(w io.Writer, a Answer) error {
	p := &printer{}
	if a.Person != nil {
		p.person(*a.Person)
	}
	for _, s := range a.Sources {
		p.linef("Keycloak group %s  (id %s)%s", report.Name(s.Path), report.Name(s.ID), fed(s))
	}
	for _, g := range a.Groups {
		p.group(g, a.Person != nil)
	}
	if a.Person != nil && len(a.Groups) == 0 {
		p.linef("no ClearML group concerns the person")
	}
	for _, n := range a.Notes {
		p.linef("note: %s", n)
	}
	_, err := io.WriteString(w, p.String())
	return err
}

type printer struct{ strings.Builder }

// linef writes one line. It escapes line breaks and control characters in its arguments.
func (p *printer) linef(format string, args ...any) {
	_, _ = p.WriteString(report.Escape(fmt.Sprintf(format, args...)) + "\n")
}

func (p *printer) person(who Person) {
	p.linef("state: %s (%s)", who.State, who.Means)
	if u := who.ClearML; u == nil {
		p.linef("ClearML: no user")
	} else {
		p.linef("ClearML user %s  (%s)", address(u.Name, u.Email), strings.Join(about(*u), ", "))
	}
	for _, a := range who.Keycloak {
		p.account(a, who.ClearML != nil && a.Match == "")
	}
	if len(who.Keycloak) == 0 {
		p.linef("Keycloak: no account")
	}
	if who.Doubt != "" {
		p.linef("there may be other accounts: %s", who.Doubt)
	}
}

// about returns what ClearML has about a user besides name and email: the id, the role, the sign-in
// providers and the kept account ids.
func about(u User) []string {
	parts := []string{"id " + report.Name(u.ID)}
	if u.Role != "" {
		parts = append(parts, "role "+report.Name(u.Role))
	}
	if len(u.Providers) > 0 {
		parts = append(parts, "signs in by "+strings.Join(shown(u.Providers), ", "))
	}
	if len(u.KeptIDs) > 0 {
		parts = append(parts, "keeps the id "+strings.Join(shown(u.KeptIDs), ", "))
	}
	return parts
}

// account writes one account with its groups. other means that there is a ClearML user, and that
// neither the id nor the email links the account to that user.
func (p *printer) account(a Account, other bool) {
	parts := []string{"id " + report.Name(a.ID), "enabled"}
	if !a.Enabled {
		parts[1] = "disabled"
	}
	if a.ServiceAccount {
		parts = append(parts, "a service account")
	}
	if a.Federation == "" {
		parts = append(parts, "local")
	} else {
		parts = append(parts, "of the federation "+report.Name(a.Federation))
	}
	if a.Match != "" {
		parts = append(parts, "matched by "+a.Match)
	}
	if other {
		parts = append(parts, "not matched")
	}
	if len(a.Rivals) > 0 {
		parts = append(parts, "could also be the ClearML users "+strings.Join(shown(a.Rivals), ", "))
	}
	if a.PendingSince != nil {
		parts = append(parts, "pending since "+stamp(*a.PendingSince))
	}
	p.linef("Keycloak account %s  (%s)", address(a.Username, a.Email), strings.Join(parts, ", "))
	for _, n := range a.SameEmail {
		why := ""
		if n.State != "" {
			why = " (" + n.State + ")"
		}
		p.linef("  the ClearML user %s has the same email, and is not this account%s", report.Name(n.ID), why)
	}
	for _, g := range a.Groups {
		p.linef("  in %s%s%s", report.Name(g.Path), fed(g.Source), sides(g))
	}
	if r := a.AdminRole; r != nil && r.Held {
		p.linef("  holds the role %s, %s", report.Name(r.Name), through(r.Through))
	} else if r != nil {
		p.linef("  does not hold the role %s", report.Name(r.Name))
	}
	if a.Doubt != "" {
		p.linef("  groups can be missing here: %s", a.Doubt)
	}
}

// through returns a phrase for what gives the admin role to an account. list has the form of
// AdminRole.Through.
func through(list []string) string {
	parts := make([]string, len(list))
	for i, t := range list {
		parts[i] = "by the group " + report.Name(t)
		if t == "direct" {
			parts[i] = "by the account's own roles (this role, or a composite role that contains it)"
		}
	}
	return strings.Join(parts, " and ")
}

// fed returns a phrase for the ClearML groups that a Keycloak group feeds, or for why the group
// feeds none.
func fed(s Source) string {
	if len(s.Feeds) > 0 {
		return "  feeds " + strings.Join(shown(s.Feeds), ", ")
	}
	why := ""
	if len(s.Unfed) > 0 {
		why = ": " + strings.Join(s.Unfed, ", ")
	}
	return "  feeds nothing" + why
}

// sides returns a remark if the member list and the account's own side disagree.
func sides(g AccountGroup) string {
	switch {
	case g.Own && g.List == no:
		return "  (Keycloak's member list does not show the account)"
	case !g.Own:
		return "  (only Keycloak's member list shows the account: its own side does not have the group)"
	}
	return ""
}

func (p *printer) group(g Group, ofPerson bool) {
	p.linef("ClearML group %s  (id %s)%s", report.Name(g.Name), report.Name(g.ID), origin(g))
	for _, t := range g.Guards {
		p.linef("  guard %s: %s", t.Guard, t.Detail)
	}
	for _, s := range g.People {
		p.standing(s, ofPerson)
	}
	if !ofPerson {
		p.linef("  %s", tally(g.People))
	}
}

// origin returns what feeds a ClearML group, or why nothing feeds it.
func origin(g Group) string {
	if g.Unfed != "" {
		return "  " + g.Unfed
	}
	var parts []string
	for _, f := range g.From {
		how := ""
		if f.How != "name" {
			how = " by " + f.How
		}
		parts = append(parts, report.Name(f.Path)+how)
	}
	if g.Role != "" {
		parts = append(parts, "role "+report.Name(g.Role))
	}
	if len(parts) == 0 {
		return "  from no existing Keycloak group"
	}
	return "  from " + strings.Join(parts, ", ")
}

// signs has the sign before a line of the text, for each status that proposes a change or waits.
var signs = map[Status]string{Add: "+", Remove: "-", Pending: "?"}

func (p *printer) standing(s Standing, ofPerson bool) {
	sign := "="
	switch {
	case signs[s.Status] != "":
		sign = signs[s.Status]
	case !s.Has:
		sign = "·"
	}
	who := ""
	if !ofPerson {
		who = "  " + address(s.Name, s.Email)
	}
	p.linef("  %s %s%s  %s", sign, s.Status, who, s.Why)
	if s.Match != "" && !ofPerson {
		p.linef("      matched by %s", s.Match)
	}
	if s.Evidence != "" {
		p.linef("      evidence: %s", s.Evidence)
	}
	if s.Doubt != "" {
		p.linef("      doubt: %s", s.Doubt)
	}
	if s.Guard != "" {
		p.linef("      guard %s: %s", s.Guard, s.Detail)
	}
	if s.Until != nil {
		p.linef("      the grace ends at %s", stamp(*s.Until))
	}
	if s.Last != nil {
		p.last(s)
	}
}

// last writes when and by which pass the person was added or removed. It also says if somebody
// undid that change since.
func (p *printer) last(s Standing) {
	c, added := *s.Last, s.Last.Action == journal.Added
	did, since := "removed", ""
	if added {
		did = "added"
	}
	if added != s.Has {
		since = "; since then somebody else has reverted this change"
	}
	by := ""
	if c.ApprovedBy != "" {
		by = ", approved by " + report.Name(c.ApprovedBy)
	}
	p.linef("      %s by the pass %s at %s%s: %s%s", did, c.Pass, stamp(c.At), by, report.Change{Why: c.Why, Match: c.Match, Evidence: c.Evidence}.Because(), since)
}

// tally returns the number of people of a group by status.
func tally(people []Standing) string {
	counts := make(map[Status]int)
	for _, s := range people {
		counts[s.Status]++
	}
	var parts []string
	for _, status := range statuses {
		if n := counts[status]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s: %d", status, n))
		}
	}
	if len(parts) == 0 {
		return "nobody is in the group on either side"
	}
	return strings.Join(parts, ", ")
}

func address(name, email string) string {
	if email == "" {
		return report.Name(name)
	}
	return report.Name(name) + " <" + report.Name(email) + ">"
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
