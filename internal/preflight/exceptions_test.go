package preflight_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/match"
	"groupsync/internal/preflight"
)

func TestEnds(t *testing.T) {
	now := time.Date(2026, 12, 30, 12, 0, 0, 0, time.UTC)
	newYear := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	const (
		later = "set a later until in users.protect if these people still need the memberships; when the exception ends, groupsync removes them from the groups that Keycloak does not give them"
		over  = "remove the entry from users.protect, or set a later until"
	)
	for _, tt := range []struct {
		name string
		list []match.Exception
		want []preflight.Finding
	}{
		{"one without an end and one that ends in eight days", []match.Exception{{Match: "a"}, {Match: "b", Until: now.AddDate(0, 0, 8)}},
			preflight.Fine("2 exceptions of users.protect, and none ends within 7 days")},
		{"one without an end", []match.Exception{{Match: "a"}}, preflight.Fine("1 exception of users.protect, and none ends within 7 days")},
		{"one that ends in every group", []match.Exception{{Match: "a"}, {Match: "b@*", Until: newYear}},
			[]preflight.Finding{preflight.Warn(`the exception for "b@*" ends at 2027-01-01T00:00:00Z`, later)}},
		{"one that ends in some groups, for a reason", []match.Exception{{Match: "b", Groups: []string{"team", "a\n"}, Until: newYear, Reason: "handover"}},
			[]preflight.Finding{preflight.Warn(`the exception for "b" in "team", "a\n" ends at 2027-01-01T00:00:00Z: handover`, later)}},
		{"one that has ended, after one that ends", []match.Exception{{Match: "a", Until: now}, {Match: "b", Until: newYear}},
			[]preflight.Finding{preflight.Warn(`the exception for "b" ends at 2027-01-01T00:00:00Z`, later), preflight.Warn(`the exception for "a" ended at 2026-12-30T12:00:00Z`, over)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, preflight.Ends(tt.list, now)); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

func TestWithoutExceptionsThereIsNoCheck(t *testing.T) {
	if got := preflight.Exceptions(nil); got != nil {
		t.Errorf("got %v", got)
	}
	checks := preflight.Exceptions([]match.Exception{{Match: "a", Until: time.Unix(0, 0)}})
	if got := checks[0].Run(t.Context()); len(got) != 1 || got[0].Level != preflight.Warning {
		t.Errorf("the check says %v of an exception that has ended", got)
	}
}
