package reconcile

import (
	"context"
	"errors"
	"slices"
	"testing"

	"groupsync/internal/memory"
)

// forgetful is a store that lost its memory and suspension. It returns each loss as an error
// once, as the ConfigMap of a Lease does. It is not safe for concurrent use.
type forgetful struct {
	memory.Process
	memoryLost, suspensionLost bool // and the error was not returned yet
}

func (f *forgetful) Load() (memory.Memory, error) {
	lost := f.memoryLost
	f.memoryLost = false
	if lost {
		return memory.Memory{}, errors.New("the memory was emptied")
	}
	return f.Process.Load()
}

func (f *forgetful) Suspension(ctx context.Context) (memory.Suspension, error) {
	lost := f.suspensionLost
	f.suspensionLost = false
	if lost {
		return memory.Suspension{}, errors.New("the suspension was deleted")
	}
	return f.Process.Suspension(ctx)
}

// looks are the calls that may run beside a pass.
var looks = map[string]func(*Reconciler) error{
	"Look": func(r *Reconciler) error {
		_, err := r.Look(context.Background(), Subject{User: "ann"})
		return err
	},
	"Survey": func(r *Reconciler) error {
		_, err := r.Survey(context.Background())
		return err
	},
	"Compare": func(r *Reconciler) error {
		_, err := r.Compare(context.Background(), r.Rules)
		return err
	},
}

func peekingWorld(t *testing.T) (*Reconciler, *forgetful) {
	t.Helper()
	r, _ := newWorld(t, "both ann\n/team: ann\nteam = ann").reconciler(t, wide, nil)
	store := new(forgetful)
	r.Store, r.Peek = store, func() Store { return new(memory.Process) }
	return r, store
}

// TestALookLeavesTheErrorToThePass: if a store returns an error once, the pass gets it, even
// if a look runs first.
func TestALookLeavesTheErrorToThePass(t *testing.T) {
	for name, look := range looks {
		t.Run(name, func(t *testing.T) {
			r, store := peekingWorld(t)
			store.memoryLost, store.suspensionLost = true, true
			if err := look(r); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"the memory was emptied", "finding out whether writing is suspended: the suspension was deleted", ""} {
				var got []string
				for _, e := range r.Pass(context.Background(), Request{}).Errors {
					got = append(got, e.Text)
				}
				if want == "" && len(got) > 0 || want != "" && !slices.Equal(got, []string{want}) {
					t.Errorf("the pass says %q, want %q", got, want)
				}
			}
		})
	}
}

// TestALookBesideAPass: a look does not use the store of a pass. The race detector would
// report it.
func TestALookBesideAPass(t *testing.T) {
	for name, look := range looks {
		t.Run(name, func(t *testing.T) {
			r, store := peekingWorld(t)
			looked := make(chan error, 1)
			go func() { looked <- look(r) }()
			for range 20 {
				store.memoryLost, store.suspensionLost = false, false
				if _, err := store.Load(); err != nil {
					t.Error(err)
				}
			}
			if err := <-looked; err != nil {
				t.Error(err)
			}
		})
	}
}
