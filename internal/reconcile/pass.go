package reconcile

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"groupsync/internal/match"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// pass is one pass in the making: its report grows as it goes.
type pass struct {
	request Request
	log     *slog.Logger
	report  report.Report
	planned bool // the plan was made; false: the pass ended before
}

// prober is an error that knows what federations answered before it.
type prober interface{ Probes() []source.Probe }

// fail puts an error that ended the pass into the report.
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

// found puts what was read, planned and judged into the report.
func (p *pass) found(src *source.Snapshot, tgt *target.Snapshot, pairing match.Pairing, people match.People, plan Plan, c source.Confirmation, judged Judged) {
	p.planned = true
	r := &p.report
	r.Source.Groups, r.Source.Users, r.Source.Memberships = src.Counts()
	r.Target.Groups, r.Target.Users, r.Target.Memberships = tgt.Counts()
	r.Digest = judged.Digest
	r.Users = stateCounts(plan.Users)
	r.Guards = append(r.Guards, judged.Trips...)
	p.probes(slices.DeleteFunc(slices.Clone(c.Probes), func(x source.Probe) bool {
		// One that the realm has no more answers 404 like one that is up.
		return x.Up && !slices.ContainsFunc(src.Federations(), func(f source.Federation) bool { return f.ID == x.Federation.ID })
	}))
	for _, s := range pairing.Skips {
		r.Skipped = append(r.Skipped, report.Skip(s))
	}
	for _, g := range judged.Groups {
		r.Groups = append(r.Groups, groupReport(g))
	}
	r.People = personsOf(src, tgt, people, plan)
}

// approved says what became of the approval that the pass was given.
func (p *pass) approved(judged Judged, now time.Time) {
	a := p.request.Approval
	if a.Digest == "" {
		return
	}
	said := &report.Approval{Digest: a.Digest, By: a.By, At: now.UTC(), Granted: judged.lifted, Lifted: []report.Guard{}}
	p.report.Approval = said
	switch {
	case judged.lifted:
		said.Lifted = judged.wouldTrip
		for _, g := range judged.Groups {
			said.Changes += len(g.Plan.Remove)
		}
		said.Detail = fmt.Sprintf("the limits were lifted for %d changes", said.Changes)
	case judged.Digest == "":
		said.Detail = "there is nothing to approve: this plan has no change that an approval lifts"
	default:
		said.Detail = fmt.Sprintf("the plan has changed: its digest is %s, so nothing was lifted; look at the plan again", judged.Digest)
	}
}

func groupReport(g JudgedGroup) report.Group {
	f := g.Plan.Feed
	out := report.Group{
		Name: f.Group.Name, ID: f.Group.ID, From: []string{}, Add: []report.Change{}, Remove: []report.Change{},
		Pending: []report.Pending{}, Kept: []report.Kept{}, Withheld: []report.Guard{},
	}
	for _, s := range f.Sources {
		out.From = append(out.From, s.Path)
	}
	if f.Role != "" {
		out.From = append(out.From, "role "+f.Role)
	}
	for _, a := range g.Plan.Add {
		out.Add = append(out.Add, change(a.User, a.Why, g.AddGuard))
	}
	for i, x := range g.Plan.Remove {
		c := change(x.User, string(x.Claim.Why), g.Guards[i])
		c.Evidence = g.Evidence[i].String()
		out.Remove = append(out.Remove, c)
	}
	for _, u := range g.Plan.Pending {
		out.Pending = append(out.Pending, report.Pending{Username: u.Username, Email: u.Email})
	}
	for _, k := range g.Plan.Keep {
		out.Kept = append(out.Kept, report.Kept{ID: k.Member.ID, Name: k.Member.Name, Why: string(k.Why)})
	}
	out.Withheld = append(out.Withheld, g.withheld()...)
	return out
}

func change(u target.User, why string, guard report.Guard) report.Change {
	c := report.Change{ID: u.ID, Name: u.Name, Email: u.Email, Why: why, Outcome: report.Planned, Guard: guard}
	if guard != "" {
		c.Outcome = report.Withheld
	}
	return c
}

// personsOf lists everybody who is not plainly matched, by side and id.
func personsOf(src *source.Snapshot, tgt *target.Snapshot, people match.People, plan Plan) []report.Person {
	list := []report.Person{}
	for i, u := range tgt.Users() {
		if s := people.State(i); s != match.Matched {
			list = append(list, report.Person{ID: u.ID, Name: u.Name, Side: match.InClearML, State: string(s)})
		}
	}
	for i, a := range src.Users() {
		if people.Ambiguous(i) {
			list = append(list, report.Person{ID: a.ID, Name: a.Username, Side: match.InKeycloak, State: string(match.Ambiguous)})
		}
	}
	for _, a := range plan.Pending {
		list = append(list, report.Person{ID: a.ID, Name: a.Username, Side: match.InKeycloak, State: string(match.Pending)})
	}
	slices.SortFunc(list, func(a, b report.Person) int {
		return cmp.Or(strings.Compare(a.Side, b.Side), strings.Compare(a.ID, b.ID))
	})
	return list
}

// applied puts what was written into the report.
func (p *pass) applied(done applied) {
	r := &p.report
	r.Guards = append(r.Guards, done.trips...)
	for _, err := range done.errors {
		p.failure(err)
	}
	for i := range r.Groups {
		g := &r.Groups[i]
		o, reached := done.outcomes[g.ID]
		if !reached {
			continue
		}
		g.Add = settled(g.Add, o.add, o.guard)
		g.Remove = settled(g.Remove, o.remove, o.guard)
		if o.guard != "" && !slices.Contains(g.Withheld, o.guard) {
			g.Withheld = append(g.Withheld, o.guard)
		}
		r.Applied.Added += count(g.Add, report.Done)
		r.Applied.Removed += count(g.Remove, report.Done)
		r.Applied.Failed += count(g.Add, report.Failed) + count(g.Remove, report.Failed)
	}
}

// settled gives planned changes their outcome and strikes those that somebody
// else has made.
func settled(changes []report.Change, outcomes map[string]report.Outcome, guard report.Guard) []report.Change {
	kept := []report.Change{}
	for _, c := range changes {
		o, reached := outcomes[c.ID]
		switch {
		case c.Outcome != report.Planned || !reached:
		case o == "":
			continue
		default:
			c.Outcome = o
			if o == report.Withheld {
				c.Guard = guard
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

// result is the outcome of the pass in one word.
func (p *pass) result() report.Result {
	r := p.report
	add, remove := r.Drift()
	withheld := slices.ContainsFunc(r.Groups, func(g report.Group) bool {
		return slices.ContainsFunc(g.Withheld, func(x report.Guard) bool { return x != report.Grace })
	})
	switch {
	case !p.planned:
		return report.Error
	case withheld || slices.ContainsFunc(r.Guards, func(t report.Trip) bool { return t.Guard == report.Canary || t.Guard == report.MissingSource }):
		return report.Guarded
	case add+remove > 0 || len(r.Errors) > 0:
		return report.Drift
	case r.Applied.Added+r.Applied.Removed > 0:
		return report.Applied
	default:
		return report.InSync
	}
}
