package reconcile

import (
	"context"
	"slices"
	"strings"
	"testing"

	"groupsync/internal/guard"
	"groupsync/internal/match"
)

// TestWhatALookReadsBesideThePerson: other people can decide which account a user has. A look
// reads their groups too, and says the same as a pass.
func TestWhatALookReadsBesideThePerson(t *testing.T) {
	for _, row := range []struct {
		name, world, user string
		limits            func(*guard.Limits)
		want              string // of the look and of the pass
	}{
		{"another user with the email is an account of another group",
			"keycloak a email=one@x\nkeycloak b\nclearml u email=one@x\nclearml v email=one@x id=kc-b\n/team: a\n/y: b\nteam =\ny = v", "u", nil,
			"+u@team planned"},
		{"a kept text was an id, since ClearML keeps ids of that form for somebody of another group",
			"keycloak b\nkeycloak c\nclearml c\nclearml u id=old\nclearml v id=kc-b\n/team: c\n/y: b\nteam = c u\ny = v", "u", func(l *guard.Limits) { l.GoneGrace = 1 },
			"-u@team planned gone"},
		{"a kept text is no id, since ClearML keeps none of that form: the email alone waits",
			"keycloak b\nkeycloak c\nclearml c\nclearml u id=old\nclearml v\n/team: c\n/y: b\nteam = c u\ny = v", "u", func(l *guard.Limits) { l.GoneGrace = 1 },
			"-u@team withheld gone by grace"},
		{"a pending member of the name is somebody else in ClearML",
			"keycloak z name=u_x\nkeycloak b\nboth c\nclearml u name=u_x\nclearml w email=z@example.com id=kc-b\n/team: c z\n/y: b\nteam = c u w\ny = w", "u", nil,
			"=u@team renamed"},
		{"another administrator is disabled and seen in another group only",
			"both a b c\ndisable b\n/ops:\n/y: b c\nAdmins! = a b\ny = c", "a", func(l *guard.Limits) { l.Floor = 1 },
			"-a@Admins withheld not_member by admins"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, row.world)
			limits := wide
			if row.limits != nil {
				row.limits(&limits)
			}
			r, _ := w.reconciler(t, limits, func(o *match.Options) { o.AdminGroups = []string{"ops"} })
			of := func(all []string) string {
				return strings.Join(slices.DeleteFunc(all, func(l string) bool { return !strings.HasPrefix(l[1:], row.user+"@") }), "\n")
			}
			pass := r.Pass(context.Background(), Request{DryRun: true})
			v, err := r.Look(context.Background(), Subject{User: row.user})
			if err != nil {
				t.Fatal(err)
			}
			rep := pass
			rep.Groups = nil
			for _, g := range v.Plan.Groups {
				rep.Groups = append(rep.Groups, groupReport(g))
			}
			if p, l := of(lines(pass)), of(lines(rep)); p != row.want || l != row.want {
				t.Errorf("the pass says %q, the look %q, want %q", p, l, row.want)
			}
		})
	}
}
