package keycloak

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/source"
)

// TestProgressCountsTheReads holds that Progress is told of every read of a step, in
// order, and of no other request.
func TestProgressCountsTheReads(t *testing.T) {
	var told []string // Progress is called by one goroutine at a time
	f, s := newFake(t, func(c *Config) {
		c.Progress = func(done, of int) { told = append(told, fmt.Sprintf("%d of %d", done, of)) }
	})
	expect := func(what string, want ...string) {
		t.Helper()
		if d := cmp.Diff(want, told); d != "" {
			t.Errorf("%s: -want +got\n%s", what, d)
		}
		told = nil
	}
	snap := mustRead(t, s)
	expect("the members of three groups", "1 of 3", "2 of 3", "3 of 3")
	f.forget()
	mustLookUp(t, s, snap,
		source.Person{Key: "1", IDs: []string{"u1"}, Email: "ann@example.com"}, // has no account under that id
		source.Person{Key: "2", Email: "bob@example.com"})
	expect("two people by id, and both by email", "1 of 2", "2 of 2", "1 of 2", "2 of 2")
}
