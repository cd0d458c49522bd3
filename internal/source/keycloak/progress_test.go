package keycloak

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/source"
)

// TestProgressCountsTheReads checks that Progress is called for every read of a step, in
// order, and for no other request.
func TestProgressCountsTheReads(t *testing.T) {
	var told []string // needs no lock, because calls of Progress do not overlap
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
		source.Person{Key: "1", IDs: []string{"u1"}, Email: "ann@example.com"}, // the realm has no account with that id
		source.Person{Key: "2", Email: "bob@example.com"})
	expect("two people by id, and both by email", "1 of 2", "2 of 2", "1 of 2", "2 of 2")
}
