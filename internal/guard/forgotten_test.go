package guard_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/memory"
	"groupsync/internal/plan/plantest"
	"groupsync/internal/report"
)

// TestAMemoryThatForgotMakesNoRemovalSooner: if the ConfigMap had no space for the ids,
// removals of federated people wait for an approval. Removals of local people do not.
func TestAMemoryThatForgotMakesNoRemovalSooner(t *testing.T) {
	b := newBench(t, "federation corp\nboth ann bob cid dan eve\nldap ann dan eve\nclearml was-ldap id=kc-was-ldap\n/team: bob dan eve\nteam = ann bob cid dan eve was-ldap")
	b.limits.FreeRemovals, b.limits.MaxRatio, b.limits.Grace, b.limits.GoneGrace = 1, 0.9, time.Hour, time.Hour
	whole := memory.Memory{Wanted: map[string]time.Time{}, Groups: map[string]memory.Accepted{}}
	for _, g := range b.judge(t).Plan.Groups {
		whole.Groups[g.Feed.Group.ID] = memory.Accepted{Federations: []string{"fed-corp"}, Federated: []string{"kc-ann", "kc-dan", "kc-eve", "kc-was-ldap"}}
		for _, c := range g.Remove { // each grace has ended
			whole.Wanted[memory.Key(c.Group, c.User.ID)] = b.at.Add(-2 * time.Hour)
		}
	}
	data, err := memory.Pack(whole)
	if err != nil {
		t.Fatal(err)
	}
	if data, err = memory.PackWithin(whole, len(data)-1); err != nil {
		t.Fatal(err)
	}
	forgot, err := memory.Unpack(data)
	if err != nil || forgot.Forgotten() != (memory.Forgotten{Groups: 1, Memberships: 4}) {
		t.Fatalf("forgotten %+v, %v", forgot.Forgotten(), err)
	}
	for _, row := range []struct {
		name   string
		memory memory.Memory
		want   []string
		trip   string
	}{
		{"all is remembered", whole, []string{"-ann@team not_member by id", "-cid@team not_member by id", "-was-ldap@team gone"}, ""},
		{"the members are forgotten", forgot, []string{"-ann@team not_member by id [fall]", "-cid@team not_member by id", "-was-ldap@team gone [grace]"},
			"since the last accepted pass the group may have lost federated members (the guards' memory had no space for the ids of its 4 federated members): 1 removals are withheld; if they are correct, approve them"},
	} {
		t.Run(row.name, func(t *testing.T) {
			b.memory = row.memory
			judged := b.judge(t)
			if d := cmp.Diff(row.want, slices.Sorted(slices.Values(plantest.Lines(judged.Plan)))); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
			trip := ""
			for _, x := range judged.Trips {
				if x.Guard == report.Fall {
					trip = x.Detail
				}
			}
			if trip != row.trip {
				t.Errorf("the guard says %q, want %q", trip, row.trip)
			}
		})
	}
}
