package wire

import (
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/config"
	"groupsync/internal/kube"
	"groupsync/internal/match"
	"groupsync/internal/memory"
	"groupsync/internal/reconcile"
)

// TestProtectIsGlobsAndExceptions: an entry that is only a glob protects the person. Every
// other entry is an exception. The metric counts the exceptions that end within seven days.
func TestProtectIsGlobsAndExceptions(t *testing.T) {
	c := config.Default()
	c.Users.Protect = []config.Protection{{Match: "root@*"}, {Match: "b", Until: "2026-12-31"}, {Match: "c", Groups: []string{"team"}, Reason: "why"}}
	r, err := Rules(c)
	if err != nil {
		t.Fatal(err)
	}
	newYear := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	if d := cmp.Diff([]string{"root@*"}, r.Protect); d != "" {
		t.Errorf("globs: -want +got\n%s", d)
	}
	if d := cmp.Diff([]match.Exception{{Match: "b", Until: newYear}, {Match: "c", Groups: []string{"team"}, Reason: "why"}}, r.Exceptions); d != "" {
		t.Errorf("exceptions: -want +got\n%s", d)
	}
	for at, want := range map[time.Time]int{newYear.AddDate(0, 0, -8): 0, newYear.AddDate(0, 0, -7): 1, newYear: 0} {
		if got := Settings(c).Expiring(at); got != want {
			t.Errorf("at %s %d exceptions end soon, want %d", at, got, want)
		}
	}
}

// TestALookReadsAStoreOfItsOwn: with a Lease, a look (reconcile.Look) shares no store with a
// pass. Other stores may be shared.
func TestALookReadsAStoreOfItsOwn(t *testing.T) {
	of := func(store reconcile.Store) func() reconcile.Store {
		return Options(config.Default(), match.Rules{}, store, Progress{}, slog.New(slog.DiscardHandler)).Peek
	}
	store := new(kube.Memory)
	peek := of(store)
	if peek == nil {
		t.Fatal("a look shares the store")
	}
	if one, two := peek(), peek(); one == reconcile.Store(store) || one == two {
		t.Error("two looks, or a look and a pass, share a store")
	}
	for _, shared := range []reconcile.Store{new(memory.Process), memory.Dir(t.TempDir())} {
		if of(shared) != nil {
			t.Errorf("%T: a look has a store of its own", shared)
		}
	}
}
