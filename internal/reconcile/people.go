package reconcile

import (
	"context"
	"fmt"

	"groupsync/internal/match"
	"groupsync/internal/source"
)

// LookUpPeople looks up more people for a view, which is a result of Survey. It returns the view
// with the answers, and with all accounts and users matched again under the view's Rules. The rest
// of the view stays unchanged. Errors are those of a look-up.
func (r *Reconciler) LookUpPeople(ctx context.Context, v View, people []source.Person) (View, error) {
	if len(people) > 0 {
		src, err := r.lookUp(ctx, v.Input.Source, people, v.Input.Memory)
		if err != nil {
			return View{}, err
		}
		v.Input.Source = src
	}
	v.People = match.Who(v.Input.Source, v.Input.Target, v.Rules)
	return v, nil
}

// Confirm takes a second look at people of v, which holds both snapshots, and returns the answers
// in the order of the questions. If a question's Sources is empty, the answer says only whether the
// accounts are disabled or gone. Such a question can be about a person in no user group.
func (r *Reconciler) Confirm(ctx context.Context, v View, questions []source.Question) ([]source.Answer, error) {
	r.Step("taking the second look")
	c, err := r.source.Confirm(ctx, v.Input.Source, questions, known(v.Input.Memory))
	if err != nil {
		return nil, fmt.Errorf("confirming who is disabled or gone: %w", err)
	}
	return c.Answers, nil
}
