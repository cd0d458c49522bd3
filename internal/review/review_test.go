package review_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/guard"
	"groupsync/internal/journal"
	"groupsync/internal/match"
	"groupsync/internal/memory"
	"groupsync/internal/plan/plantest"
	"groupsync/internal/reconcile"
	"groupsync/internal/review"
	"groupsync/internal/target"
)

var (
	noon  = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	scope = review.Scope{Sync: "test", Keycloak: "https://auth.example.com", Realm: "clearml", ClearML: "https://api.clearml.example.com"}
)

// limits allow everything except removals that rest on a federation or only on an email.
var limits = guard.Limits{Window: 24 * time.Hour, Grace: time.Hour, GoneGrace: time.Hour, MaxAdminGrants: 3}

// survey returns the View of reconcile's Survey of a world.
func survey(tb plantest.TB, w *plantest.World, l guard.Limits, m memory.Memory) reconcile.View {
	tb.Helper()
	p := w.Pass(tb)
	in := guard.Input{Source: p.Source, Target: p.Target, Probes: p.Confirmation.Probes, Limits: l, Memory: m, Now: noon}
	judged := guard.Judge(p.Weighed, in)
	return reconcile.View{Rules: w.Rules, Input: in, Pairing: p.Pairing, People: p.People, Plan: judged.Plan, Trips: judged.Trips}
}

// line returns the fields that distinguish rows. "-" stands for an empty field.
func line(r review.Row) string {
	since := "-"
	if r.Since != nil {
		since = r.Since.Format("15:04")
	}
	or := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	return fmt.Sprintf("%s %s: %s %s, account %s %s, matched %s, by %s, since %s, guard %s",
		r.Name, r.Group, r.Status, r.Reason, or(r.Username), or(r.AccountID), or(r.Matched), or(strings.Join(r.By, " ")), since, or(r.Guard))
}

func lines(r review.Review) []string {
	var out []string
	for _, row := range r.Rows {
		out = append(out, line(row))
	}
	return out
}

// TestRows checks one kind of membership in each table row. ann is in sync everywhere, so that
// no world is empty.
func TestRows(t *testing.T) {
	group := func(o *match.Options) { o.AdminGroups, o.AdminRole = []string{"admins"}, "" }
	ann := "ann team: granted member, account ann kc-ann, matched id, by /team, since -, guard -"
	for _, row := range []struct {
		name   string
		world  string
		rules  func(*match.Options)
		memory memory.Memory
		want   []string // rows without the row of ann
		why    string   // Why of the first of these rows
	}{
		{
			name: "a member by two Keycloak groups has both paths", rules: func(o *match.Options) { o.Mapping = map[string][]string{"ops": {"team"}} },
			world: "both bob\n/team: ann bob\n/ops: bob\nteam = ann bob",
			want:  []string{"bob team: granted member, account bob kc-bob, matched id, by /ops /team, since -, guard -"},
			why:   "ClearML has the group, and so has Keycloak, by /ops, /team",
		},
		{
			name:  "a member whom an email matches",
			world: "keycloak bob\nclearml bob\n/team: ann bob\nteam = ann bob",
			want:  []string{"bob team: granted member, account bob kc-bob, matched email, by /team, since -, guard -"},
			why:   "ClearML has the group, and so has Keycloak, by /team",
		},
		{
			name:  "a member whom Keycloak's list hides is granted by the own side",
			world: "federation corp\nboth bob\nldap bob\n/team: ann\nhides /team bob\n/else: bob\nelse = bob\nteam = ann bob",
			want: []string{
				"bob else: granted member, account bob kc-bob, matched id, by /else, since -, guard -",
				"bob team: granted hidden, account bob kc-bob, matched id, by -, since -, guard -",
			},
			why: "ClearML has the group, and so has Keycloak, by /else",
		},
		{
			name:  "a hidden member of whom two accounts could be the person is kept",
			world: "federation corp\nduplicates\nclearml bob email=two@x\nkeycloak b1 ldap email=two@x\nkeycloak b2 email=two@x\n/team: ann\n/else: b1 b2\nelse = bob\nhides /team b1\nteam = ann bob",
			want: []string{
				"bob else: kept ambiguous, account - -, matched email, by /else, since -, guard -",
				"bob team: kept ambiguous, account - -, matched email, by -, since -, guard -",
			},
			why: "stays: several accounts could be this person, or several ClearML users could be the account; nothing is granted, and a removal needs every account to be out",
		},
		{
			name:  "a local user is kept",
			world: "clearml bob local\n/team: ann\nteam = ann bob",
			want:  []string{"bob team: kept local, account - -, matched -, by -, since -, guard -"},
			why:   "stays: the person never signed in through a provider, so nothing is granted and nothing is removed",
		},
		{
			name:  "a service account is kept",
			world: "clearml bob service\n/team: ann\nteam = ann bob",
			want:  []string{"bob team: kept service_account, account - -, matched -, by -, since -, guard -"},
			why:   "stays: this is a service account and no person, so nothing is granted and nothing is removed",
		},
		{
			name: "a protected person is kept", rules: func(o *match.Options) { o.Protect = []string{"bob@*"} },
			world: "both bob\n/team: ann\n/else: bob\nelse = bob\nteam = ann bob",
			want: []string{
				"bob else: granted member, account bob kc-bob, matched id, by /else, since -, guard -",
				"bob team: kept protected, account bob kc-bob, matched id, by -, since -, guard -",
			},
			why: "ClearML has the group, and so has Keycloak, by /else",
		},
		{
			name:  "a member whom ClearML's list of users lacks is kept",
			world: "/team: ann\nteam = ann ghost",
			want:  []string{"ghost team: kept unresolved, account - -, matched -, by -, since -, guard -"},
			why:   "stays: ClearML's list of users lacks this member, so nothing is removed",
		},
		{
			name:  "somebody who is in no source leaves",
			world: "both bob\n/team: ann\n/else: bob\nelse = bob\nteam = ann bob",
			want: []string{
				"bob else: granted member, account bob kc-bob, matched id, by /else, since -, guard -",
				"bob team: leaves not_member, account bob kc-bob, matched id, by -, since -, guard -",
			},
			why: "ClearML has the group, and so has Keycloak, by /else",
		},
		{
			name:  "a disabled account leaves, whatever the list shows",
			world: "both bob\ndisable bob\n/team: ann bob\nteam = ann bob",
			want:  []string{"bob team: leaves disabled, account bob kc-bob, matched id, by /team, since -, guard -"},
			why:   "the next pass that may write removes the person: the account is disabled",
		},
		{
			name:   "a removal that waits tells since when and which guard withholds it",
			world:  "federation corp\nboth bob\nldap bob\n/team: ann\n/else: bob\nelse = bob\nteam = ann bob",
			memory: memory.Memory{Wanted: map[string]time.Time{memory.Key("cm-team", "bob"): noon.Add(-30 * time.Minute)}},
			want: []string{
				"bob else: granted member, account bob kc-bob, matched id, by /else, since -, guard -",
				"bob team: leaves not_member, account bob kc-bob, matched id, by -, since 11:30, guard grace",
			},
			why: "ClearML has the group, and so has Keycloak, by /else",
		},
		{
			name:   "a removal without evidence has no start, whatever the memory holds",
			world:  "federation corp away\nboth bob\nldap bob\n/team: ann\n/else: bob\nelse = bob\nteam = ann bob",
			memory: memory.Memory{Wanted: map[string]time.Time{memory.Key("cm-team", "bob"): noon.Add(-30 * time.Minute)}},
			want: []string{
				"bob else: granted member, account bob kc-bob, matched id, by /else, since -, guard -",
				"bob team: leaves not_member, account bob kc-bob, matched id, by -, since -, guard federation",
			},
			why: "ClearML has the group, and so has Keycloak, by /else",
		},
		{
			name: "a group whose source is missing is frozen, whoever is in it", rules: func(o *match.Options) { o.Mapping = map[string][]string{"tema": {"ops"}} },
			world: "both bob\n/team: ann bob\nteam = ann bob\nops = bob",
			want: []string{
				"bob ops: frozen missing, account bob kc-bob, matched id, by -, since -, guard missing_source",
				"bob team: granted member, account bob kc-bob, matched id, by /team, since -, guard -",
			},
			why: "a source of the group is missing or cannot be read, so groupsync changes nothing in the group",
		},
		{
			name:  "a group whose source cannot be read is frozen",
			world: "both bob\n/team: ann bob\nteam = ann bob\n/ops: bob\nops = bob\nunreadable /ops status_500",
			want: []string{
				"bob ops: frozen unreadable, account bob kc-bob, matched id, by -, since -, guard missing_source",
				"bob team: granted member, account bob kc-bob, matched id, by /team, since -, guard -",
			},
			why: "a source of the group is missing or cannot be read, so groupsync changes nothing in the group",
		},
		{
			name:  "a group that nothing feeds is unmanaged, and the person is known all the same",
			world: "both bob\n/team: ann bob\nteam = ann bob\nguests = bob",
			want: []string{
				"bob guests: unmanaged no_source, account bob kc-bob, matched id, by -, since -, guard -",
				"bob team: granted member, account bob kc-bob, matched id, by /team, since -, guard -",
			},
			why: "no Keycloak group feeds this ClearML group",
		},
		{
			name:  "the group of all users is not listed, and another built-in group is",
			world: "/team: ann\nteam = ann\nUsers! = ann groupsync\nQueue! = groupsync",
			want:  []string{"groupsync Queue: unmanaged builtin, account - -, matched -, by -, since -, guard -"},
			why:   "ClearML has the group built in, and groupsync never writes it",
		},
		{
			name:  "a group that is only called like the group of all users is listed",
			world: "/team: ann\nteam = ann\nUsers = groupsync",
			want:  []string{"groupsync Users: unmanaged builtin, account - -, matched -, by -, since -, guard -"},
			why:   "ClearML has the group built in, and groupsync never writes it",
		},
		{
			name:  "somebody who is about to be added joins",
			world: "both bob\n/team: ann bob\nteam = ann",
			want:  []string{"bob team: joins member, account bob kc-bob, matched id, by /team, since -, guard -"},
			why:   "the next pass that may write adds the person: a member of /team",
		},
		{
			name:  "somebody pending has no row, and neither has somebody whom only the list shows",
			world: "federation corp\nboth bob\nldap bob\nkeycloak cyn\n/team: ann cyn\nshows /team bob\nteam = ann",
		},
		{
			name: "administrators by group and by role", rules: func(o *match.Options) {
				o.AdminGroups, o.AdminRole, o.AdminVia = []string{"admins"}, "boss", match.ViaBoth
			},
			world: "both bob\n/team: ann\n/admins: bob\nrole boss: bob\nteam = ann\nAdmins! = bob\nclearml cyn role=admin local",
			want: []string{
				"bob Admins: granted member, account bob kc-bob, matched id, by /admins role boss, since -, guard -",
				"bob role admin: joins member, account bob kc-bob, matched id, by /admins role boss, since -, guard -",
				"cyn role admin: kept local, account - -, matched -, by -, since -, guard -",
			},
			why: "ClearML has the group, and so has Keycloak, by /admins, role boss",
		},
		{
			name: "holders of the role admin that groupsync does not manage are listed", rules: group,
			world: "/team: ann\n/admins:\nteam = ann\nAdmins! =\nclearml cyn role=admin local",
			want:  []string{"cyn role admin: unmanaged no_source, account - -, matched -, by -, since -, guard -"},
			why:   "admins.via is group, so groupsync does not manage ClearML's role admin",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			rules := row.rules
			if rules == nil {
				rules = func(*match.Options) {}
			}
			r := review.Of(survey(t, plantest.New(t, "both ann\n"+row.world, rules), limits, row.memory), scope)
			var got []string
			why := ""
			for _, x := range r.Rows {
				if l := line(x); l != ann {
					got = append(got, l)
					if why == "" {
						why = x.Why
					}
				}
			}
			if d := cmp.Diff(row.want, got); d != "" || len(got) == len(r.Rows) {
				t.Errorf("-want +got\n%s\nall rows: %q", d, lines(r))
			}
			if why != row.why {
				t.Errorf("why: %s\nwant: %s", why, row.why)
			}
		})
	}
}

// TestTheIdOfTheRole checks the id of the role admin in a review, managed or not.
func TestTheIdOfTheRole(t *testing.T) {
	for _, via := range []match.Via{match.ViaGroup, match.ViaRole} {
		w := plantest.New(t, "both ann\n/team: ann\nteam = ann\nclearml cyn role=admin local", func(o *match.Options) { o.AdminVia = via })
		r := review.Of(survey(t, w, limits, memory.Memory{}), scope)
		if last := r.Rows[len(r.Rows)-2]; last.UserID != "cyn" || last.GroupID != target.AdminRoleID {
			t.Errorf("%v: %+v", via, last)
		}
	}
}

// TestTheOrder checks the sorting: by the group's name, its id, the person's name, and the
// person's id.
func TestTheOrder(t *testing.T) {
	w := plantest.New(t, "both ann\n/team: ann\nteam = ann z y x\nzoo = ann\nteam#2 = ann\n"+
		"clearml z name=Kim role=admin local\nclearml y name=Kim local\nclearml x name=Lee local")
	r := review.Of(survey(t, w, limits, memory.Memory{}), scope)
	var got []string
	for _, row := range r.Rows {
		got = append(got, row.GroupID+" "+row.UserID)
	}
	want := []string{"role:admin z", "cm-team y", "cm-team z", "cm-team x", "cm-team ann", "cm-team#2 ann", "cm-zoo ann"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// TestSinceWhenByTheJournal checks that a present membership that groupsync added has its
// time. A membership that groupsync removed, and that a login added again, has none.
func TestSinceWhenByTheJournal(t *testing.T) {
	v := survey(t, plantest.New(t, "both ann bob cid\n/team: ann bob cid\nteam = ann bob cid"), guard.Limits{}, memory.Memory{})
	at := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	of := func(user, action string) {
		v.Past.Latest[journal.Membership{Group: "cm-team", User: user}] = journal.Record{At: at, Action: action}
	}
	v.Past.Latest = make(map[journal.Membership]journal.Record)
	of("ann", journal.Added)
	of("bob", journal.Removed)
	got := make(map[string]string)
	for _, r := range review.Of(v, review.Scope{}).Rows {
		if r.Since != nil {
			got[r.UserID] = r.Since.Format(time.RFC3339)
		}
	}
	if d := cmp.Diff(map[string]string{"ann": "2026-11-20T08:00:00Z"}, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}
