package reconcile

import (
	"context"

	"groupsync/internal/report"
	"groupsync/internal/target"
)

// Survey reads and decides as a pass does, and returns the result as a View without a subject.
// The Plan of the View has every feed, and its Trips are those of a whole pass. Survey writes
// nothing and does not change the memory.
//
// Errors are those of a pass.
func (r *Reconciler) Survey(ctx context.Context) (View, error) {
	r = r.peeking(r.Now())
	ctx = target.WithPass(ctx, passID(r.Now().UTC()))
	mem, err := r.Store.Load()
	if err != nil {
		return View{}, err
	}
	d, err := r.decide(ctx, mem.Resumed(r.Now()), Request{})
	if err != nil {
		return View{}, err
	}
	return View{
		Rules: r.Rules, Input: d.in, Pairing: d.pairing, People: d.people,
		Plan: d.judged.Plan, Trips: append([]report.Trip{}, d.judged.Trips...),
	}, nil
}
