package reconcile

import (
	"context"
	"errors"
	"slices"

	"groupsync/internal/memory"
	"groupsync/internal/report"
	"groupsync/internal/target"
)

// PassOf makes a pass of one person. It reads and decides as Look does, and writes the
// person's cleared changes as a whole pass does. user is as in Subject.User. The report has
// only that person. If the report's result is error, the View is empty.
//
// PassOf's changes count toward the limits of later passes. But PassOf has not read the other
// people, so it starts no grace, and is never an accepted pass.
//
// If the returned error is not nil, it is *UnknownError or *SeveralError, and no pass was
// made. All other errors are in the report.
func (r *Reconciler) PassOf(ctx context.Context, user string, req Request) (View, report.Report, error) {
	req.Early = true
	p := r.begin(req)
	r = r.asOf(p.report.Started)
	p.log = p.log.With("scope", "person")
	p.report.Person = user // as typed; foundOf replaces it with the id
	view, err := r.runOf(target.WithPass(ctx, p.report.Pass), p, user)
	var unknown *UnknownError
	var several *SeveralError
	switch {
	case errors.As(err, &unknown), errors.As(err, &several):
		return View{}, report.Report{}, err
	case err != nil:
		p.fail(err)
	}
	return view, r.end(p), nil
}

// runOf does for one person what run does for a whole pass.
func (r *Reconciler) runOf(ctx context.Context, p *pass, user string) (view View, err error) {
	err = r.locked(p, func(mem memory.Memory) error {
		began := r.Now()
		l, err := r.look(ctx, Subject{User: user}, mem, p.request)
		if err != nil {
			return err
		}
		p.foundOf(l)
		view = l.view
		u := view.Person.User
		if !p.request.Apply || u == nil {
			return nil
		}
		judged := l.judged.Of(u.ID)
		return r.write(ctx, p, began, judged.Intended(mem.Settled(l.tgt.Member), view.Input), judged.Cleared)
	})
	if err != nil {
		return View{}, err
	}
	return view, nil
}

// foundOf puts what the look found into the report, reduced to the person of the look.
func (p *pass) foundOf(l *looking) {
	v := l.view
	judged := l.judged
	judged.Plan = judged.Plan.Cut(l.ofPerson)
	p.found(decision{in: v.Input, pairing: v.Pairing, people: v.People, judged: judged})
	r := &p.report
	ids, usernames := make(map[string]bool), make(map[string]bool)
	if u := v.Person.User; u != nil {
		r.Person, ids[u.ID] = u.ID, true
	} else {
		for _, a := range v.Person.Accounts {
			r.Person, ids[a.ID], usernames[a.Username] = a.ID, true, true
		}
	}
	for i := range r.Groups {
		g := &r.Groups[i]
		g.Kept = slices.DeleteFunc(g.Kept, func(k report.Kept) bool { return !ids[k.ID] })
		g.Pending = slices.DeleteFunc(g.Pending, func(x report.Pending) bool { return !usernames[x.Username] })
	}
	r.Groups = slices.DeleteFunc(r.Groups, func(g report.Group) bool {
		return len(g.Add)+len(g.Remove)+len(g.Kept)+len(g.Pending) == 0
	})
	r.People = slices.DeleteFunc(r.People, func(x report.Person) bool { return !ids[x.ID] })
	// These cover everybody, so they have no meaning in the report of one person.
	r.Skipped, r.Users, r.AdminMismatch = []report.Skip{}, map[string]int{}, 0
}
