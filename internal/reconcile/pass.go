package reconcile

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"groupsync/internal/guard"
	"groupsync/internal/match"
	"groupsync/internal/memory"
	"groupsync/internal/plan"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// pass is one pass while it runs. Its report grows with each step.
type pass struct {
	request Request
	log     *slog.Logger
	report  report.Report
	planned bool   // the plan was made; false: the pass ended earlier
	undone  undone // changes of groupsync that somebody else undid

	suspended memory.Suspension // the suspension that the pass found last; zero: none
}

// prober is an error that has the probes of federations that were made before the error, for
// the report.
type prober interface{ Probes() []source.Probe }

// fail puts the error that ended the pass into the report, with the probes that were made
// before it.
func (p *pass) fail(err error) {
	p.planned = false
	p.failure(err)
	var known prober
	if errors.As(err, &known) {
		p.probes(known.Probes())
	}
}

func (p *pass) failure(err error) {
	system, reason := systemOf(err)
	p.report.Errors = append(p.report.Errors, report.Failure{System: system, Reason: reason, Text: err.Error()})
}

func (p *pass) probes(probes []source.Probe) {
	for _, x := range probes {
		p.report.Probes = append(p.report.Probes, report.Probe{Federation: cmp.Or(x.Federation.Name, x.Federation.ID), Up: x.Up})
	}
}

// found puts the readings, the plan and the decisions of the guards into the report.
func (p *pass) found(d decision) {
	p.planned = true
	r, in, judged := &p.report, d.in, d.judged
	p.suspended = in.Suspended
	r.Source.Groups, r.Source.Users, r.Source.Memberships = in.Source.Counts()
	r.Target.Groups, r.Target.Users, r.Target.Memberships = in.Target.Counts()
	r.Digest = judged.Digest
	r.Users = stateCounts(judged.Plan.Users)
	r.Guards = append(r.Guards, judged.Trips...)
	r.Approval = p.approval(judged, in)
	p.probes(slices.DeleteFunc(slices.Clone(in.Probes), func(x source.Probe) bool {
		// Keycloak answers 404 to the probe of a federation that the realm no longer has, as
		// it does for a federation that is up. Such a probe shows nothing.
		_, there := in.Source.Catalog().Federation(x.Federation.ID)
		return x.Up && !there
	}))
	for _, s := range d.pairing.Skips {
		r.Skipped = append(r.Skipped, report.Skip(s))
	}
	r.Skipped = append(r.Skipped, otherRoles(judged.Plan)...)
	slices.SortFunc(r.Skipped, func(a, b report.Skip) int {
		return cmp.Or(strings.Compare(a.Side, b.Side), strings.Compare(a.Why, b.Why), strings.Compare(a.Name, b.Name))
	})
	r.AdminMismatch = len(match.Mismatched(in.Target, d.pairing))
	for _, g := range judged.Plan.Groups {
		r.Groups = append(r.Groups, groupReport(g))
	}
	p.undone.mark(r)
	r.People = personsOf(in.Source, in.Target, d.people, judged.Plan)
}

// approval returns what happened to the approval of the request, or nil if there was none.
func (p *pass) approval(judged guard.Judged, in guard.Input) *report.Approval {
	if p.request.Approval.Digest == "" {
		return nil
	}
	a := &report.Approval{
		Digest: p.request.Approval.Digest, By: p.request.Approval.By, At: in.Now.UTC(), Granted: judged.Granted,
		Lifted: append([]report.Guard{}, judged.Lifted...),
	}
	switch {
	case judged.Digest == "":
		a.Detail = "there is nothing to approve: the plan proposes no removal and no new administrator; nothing was lifted"
	case !judged.Granted:
		a.Detail = fmt.Sprintf("the plan has changed: the approval names the digest %s, and this pass has the digest %s; nothing was lifted; look at the new plan", a.Digest, judged.Digest)
	case len(a.Lifted) == 0:
		a.Changes = judged.Changes
		a.Detail = fmt.Sprintf("no guard withheld any of the %d changes, so nothing had to be lifted", a.Changes)
	default:
		a.Changes = judged.Changes
		names := make([]string, len(a.Lifted))
		for i, g := range a.Lifted {
			names[i] = string(g)
		}
		a.Detail = fmt.Sprintf("the guards %s were lifted for %d changes", strings.Join(names, ", "), a.Changes)
	}
	return a
}

// otherRoles returns a remark for each person whom Keycloak makes an administrator, and whose
// role in ClearML is neither admin nor user. groupsync does not change such a role.
func otherRoles(p plan.Plan) (remarks []report.Skip) {
	for _, g := range p.Groups {
		for _, u := range g.OtherRole {
			why := "is an administrator in Keycloak, and did not get the role admin. If the person needs that role, set it in ClearML, because groupsync does not change " + roleText(u)
			remarks = append(remarks, report.Skip{Name: cmp.Or(u.Email, u.ID), Side: match.InClearML, Why: why})
		}
	}
	return remarks
}

// roleText returns words for the role of a user, such as "the role guest", for a message.
func roleText(u target.User) string {
	if u.Role == "" {
		return "a role that ClearML does not return"
	}
	return "the role " + u.Role
}

func groupReport(g plan.Group) report.Group {
	f := g.Feed
	out := report.Group{
		Name: f.Group.Name, ID: f.Group.ID, From: feeders(f), Add: changes(g.Add), Remove: changes(g.Remove),
		Pending: []report.Pending{}, Kept: []report.Kept{}, Withheld: append([]report.Guard{}, guard.Withheld(g)...),
		OwnView: report.OwnView{Hides: len(g.Own.Hidden), Shows: len(g.Own.Shown), Stale: g.Own.Stale},
	}
	for _, u := range g.Pending {
		out.Pending = append(out.Pending, report.Pending{Username: u.Username, Email: u.Email})
	}
	for _, k := range g.Keep {
		out.Kept = append(out.Kept, report.Kept{
			ID: k.Member.ID, Name: k.Member.Name, Why: string(k.Why), Until: k.Exception.Until, Reason: k.Exception.Reason,
		})
	}
	return out
}

// feeders returns the paths of a user group's sources, and the admin role if it is a source.
func feeders(f match.Feed) []string {
	from := []string{}
	for _, s := range f.Sources {
		from = append(from, s.Path)
	}
	if f.Role != "" {
		from = append(from, "role "+f.Role)
	}
	return from
}

// changes returns the plan's changes in the form of the report.
func changes(planned []plan.Change) []report.Change {
	list := []report.Change{}
	for _, x := range planned {
		c := report.Change{
			ID: x.User.ID, Name: x.User.Name, Email: x.User.Email, Why: whyOf(x), Match: x.Match,
			Evidence: x.Evidence.String(), Doubt: x.Doubt, Outcome: report.Planned, Guard: x.Guard,
		}
		if x.Guard != "" {
			c.Outcome = report.Withheld
		}
		list = append(list, c)
	}
	return list
}

// whyOf returns the reason of a change as text.
func whyOf(c plan.Change) string {
	if c.Why == source.Member {
		return "member of " + c.From
	}
	return string(c.Why)
}

// personsOf lists the people whom the plan concerns and whose state is not an ordinary match.
// They are sorted by side and id.
func personsOf(src *source.Snapshot, tgt *target.Snapshot, people match.People, judged plan.Plan) []report.Person {
	list := []report.Person{}
	for _, u := range tgt.Users() {
		if s, met := judged.People[u.ID]; met && s != match.Matched && s != match.NotAsked {
			list = append(list, report.Person{ID: u.ID, Name: u.Name, Side: match.InClearML, State: string(s)})
		}
	}
	for i, a := range src.Users() {
		if _, sure := people.Owner(i); !sure && people.Claimed(i) && !byEmailOnly(src, people, i) {
			list = append(list, report.Person{ID: a.ID, Name: a.Username, Side: match.InKeycloak, State: string(match.Ambiguous)})
		}
	}
	for _, a := range judged.Pending {
		list = append(list, report.Person{ID: a.ID, Name: a.Username, Side: match.InKeycloak, State: string(match.Pending)})
	}
	slices.SortFunc(list, func(a, b report.Person) int {
		return cmp.Or(strings.Compare(a.Side, b.Side), strings.Compare(a.ID, b.ID))
	})
	return list
}

// byEmailOnly returns true if three things are true. The account could belong to exactly one
// user. Only the email connects the two. And in this realm an email is not enough to identify an
// account (source.Catalog.HidesEmails). personsOf leaves out such accounts, because one remark
// of the report is about all of them (match.Unsure).
func byEmailOnly(src *source.Snapshot, people match.People, account int) bool {
	users := people.Claimants(account)
	return src.Catalog().HidesEmails() && len(users) == 1 && people.Person(users[0]).EmailOnly()
}

// stateCounts returns the number of people in each state, by the name of the state in the
// report. Every state has an entry, if need be 0.
func stateCounts(users map[match.State]int) map[string]int {
	counts := make(map[string]int, len(report.UserStates))
	for _, s := range report.UserStates {
		counts[s] = users[match.State(s)]
	}
	return counts
}

// applied puts the results of the writes into the report.
func (p *pass) applied(done applied) {
	r := &p.report
	r.Guards = append(r.Guards, done.trips...)
	if !done.suspended.IsZero() {
		p.suspended = done.suspended
	}
	for _, err := range done.errors {
		p.failure(err)
	}
	for i := range r.Groups {
		g := &r.Groups[i]
		o, reached := done.outcomes[g.ID]
		if !reached {
			continue
		}
		g.Add = withOutcomes(g.Add, o.add, o)
		g.Remove = withOutcomes(g.Remove, o.remove, o)
		if o.guard != "" && !slices.Contains(g.Withheld, o.guard) {
			g.Withheld = append(g.Withheld, o.guard)
		}
		r.Applied.Added += count(g.Add, report.Done)
		r.Applied.Removed += count(g.Remove, report.Done)
		r.Applied.Failed += count(g.Add, report.Failed) + count(g.Remove, report.Failed)
	}
}

// withOutcomes sets the outcomes of the planned changes. It drops a change that somebody else
// has made, and does not alter a change that the run did not reach.
func withOutcomes(changes []report.Change, outcomes map[string]report.Outcome, of *outcome) []report.Change {
	kept := []report.Change{}
	for _, c := range changes {
		o, reached := outcomes[c.ID]
		switch {
		case c.Outcome != report.Planned || !reached:
		case o == "":
			continue
		default:
			c.Outcome = o
			switch o {
			case report.Withheld:
				c.Guard = of.guard
			case report.Done, report.Failed:
				c.Call = of.calls[c.ID]
			}
		}
		kept = append(kept, c)
	}
	return kept
}

func count(changes []report.Change, o report.Outcome) (n int) {
	for _, c := range changes {
		if c.Outcome == o {
			n++
		}
	}
	return n
}

// result returns the result of the pass. A trip of a guard that only waits (Rule.Waits), such
// as a grace or a suspension, does not make the result "guarded". A guard that can trip
// without withholding anything (Rule.Informs) makes the result "guarded" only if it withholds
// changes.
func (p *pass) result() report.Result {
	r := p.report
	add, remove := r.Drift()
	withheld := slices.ContainsFunc(r.Groups, func(g report.Group) bool {
		return slices.ContainsFunc(g.Withheld, func(x report.Guard) bool { return !x.Rule().Waits })
	})
	tripped := slices.ContainsFunc(r.Guards, func(t report.Trip) bool { return !t.Guard.Rule().Waits && !t.Guard.Rule().Informs })
	switch {
	case !p.planned:
		return report.Error
	case withheld || tripped:
		return report.Guarded
	case add+remove > 0 || len(r.Errors) > 0:
		return report.Drift
	case r.Applied.Added+r.Applied.Removed > 0:
		return report.Applied
	default:
		return report.InSync
	}
}

// needsJournal reports whether the report must be kept in the journal. There are two reasons.
// The pass was allowed to write, and a change was made, failed or was withheld. Or the pass
// found that somebody has undone a change of groupsync.
func (p *pass) needsJournal() bool {
	for _, g := range p.report.Groups {
		for _, c := range slices.Concat(g.Add, g.Remove) {
			if c.Reverted || p.request.Apply && c.Outcome != report.Planned {
				return true
			}
		}
	}
	return false
}
