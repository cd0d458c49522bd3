package reconcile_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"groupsync/internal/guard"
	"groupsync/internal/processtest"
	"groupsync/internal/reconcile"
	"groupsync/internal/report"
	"groupsync/internal/source/keycloak"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target/clearmltest"
)

// The requests that every pass makes, besides one for the members of each group that is read.
// A token is fetched when it is needed.
var always = map[string]int{"components": 1, "realm": 1, "groups": 1, "groups_count": 1}

// asked returns the requests of the last pass without those of a pass in sync with that many
// groups, and without tokens.
func (s *site) asked(groups int) map[string]int {
	by := maps.Clone(s.seen.take())
	delete(by, "token")
	for call, n := range always {
		by[call] -= n
	}
	by["members"] -= groups
	maps.DeleteFunc(by, func(_ string, n int) bool { return n == 0 })
	return by
}

// TestWhatAPassAsks checks the requests of a pass in sync, and the additional requests for
// each person who must be asked about.
func TestWhatAPassAsks(t *testing.T) {
	var people []string
	for i := range 100 {
		people = append(people, fmt.Sprintf("fed-%02d", i))
	}
	var locals []keycloaktest.User
	for i := range 10 {
		locals = append(locals, keycloaktest.User{Username: fmt.Sprintf("local-%d", i), Groups: []string{"/club"}})
	}
	var proxy *keycloaktest.LDAPProxy
	s := newStage(t, scene{
		spec: keycloaktest.Spec{Groups: []string{"/club"}, Users: locals}, teams: []string{"club", "hidden", "staff"},
		staff: people, ldap: map[string][]string{"staff": people[:40], "eu/hidden": people[40:45], "us/hidden": people[45:50]},
		build: func(r *keycloaktest.Realm, l *keycloaktest.LDAP) *keycloaktest.Federation {
			proxy = l.Proxy(t)
			return r.Federate(t, l, keycloaktest.FederationOptions{Subtree: true, Through: proxy})
		},
		setup: setup{limits: func(l *guard.Limits) { l.MaxRatio = 0 }},
	})
	const groups, members = 3, 50
	// dryRun makes a pass with an empty user cache. It checks the requests that a pass in sync
	// would not make, and the number of LDAP searches.
	dryRun := func(name string, lookedUp int, want map[string]int) report.Report {
		t.Helper()
		s.clearCaches(t)
		proxy.Reset()
		s.seen.take()
		r := s.rec.Pass(t.Context(), reconcile.Request{DryRun: true})
		if len(r.Errors) > 0 {
			t.Fatalf("%s: %v", name, r.Errors)
		}
		if diff := gocmp.Diff(want, s.asked(groups)); diff != "" {
			t.Errorf("%s: beside a pass in sync (-want +got):\n%s", name, diff)
		}
		searches, most := proxy.Searches(), 3*members+2*lookedUp
		t.Logf("%s: %d LDAP searches, at most %d", name, searches, most)
		if searches > most {
			t.Errorf("%s: %d LDAP searches, want at most %d", name, searches, most)
		}
		return r
	}
	hidden := s.clearml.Members("hidden")
	if len(hidden) != 10 {
		t.Fatalf("%d people are in hidden after the sign-ins, want 10", len(hidden))
	}
	// For each person whose own side is asked there is a look-up by id, because no list shows
	// the person, and a count. The sources are read again, and the federations are probed
	// twice.
	dryRun("10 whom the list hides", 10, map[string]int{"user": 10, "own_count": 10, "members": 1, "group": 1, "components": 2, "probe": 2})

	s.clearml.SetMembers("hidden")
	if r := dryRun("in sync", 0, map[string]int{}); r.Result != report.InSync {
		t.Errorf("the pass is %s, want in sync: %+v", r.Result, r.Guards)
	}

	s.clearml.SetMembers("staff", people[20:90]...)
	r := dryRun("20 joiners and 50 leavers of LDAP", 70, map[string]int{"user": 50, "own_count": 70, "members": 1, "group": 1, "components": 2, "probe": 3})
	if add, remove := r.Drift(); add != 20 || remove != 50 {
		t.Errorf("%d to add and %d to remove, want 20 and 50", add, remove)
	}
	s.clearml.SetMembers("staff", people[:40]...)

	for _, u := range locals[:5] {
		s.realm.Leave(t, u.Username, "/club")
	}
	s.clearml.SetMembers("club", s.clearml.Members("club")[:9]...)
	// Each leaver needs a look-up by id, and the second look reads the account once more.
	r = dryRun("a joiner and 5 leavers who are local", 5, map[string]int{"user": 10, "members": 1, "group": 1, "components": 2})
	if add, remove := r.Drift(); add != 1 || remove != 5 {
		t.Errorf("%d to add and %d to remove, want 1 and 5", add, remove)
	}
}

// bigSite is a site with many accounts. The first of them are in ClearML's teams.
func bigSite(b *testing.B, r *keycloaktest.Realm, ids map[string]string, teams map[string][]string) *site {
	b.Helper()
	s := &site{now: noon, realm: r, clearml: clearmltest.New(b, clearmltest.Options{})}
	for _, name := range slices.Sorted(maps.Keys(ids)) {
		s.clearml.AddUser(clearmltest.User{ID: name, Name: name, Email: name + "@example.org", Providers: map[string]any{"keycloak": map[string]any{"id": ids[name]}}})
	}
	for _, name := range slices.Sorted(maps.Keys(teams)) {
		s.clearml.AddTeam(name, teams[name]...)
	}
	s.rec = s.reconciler(b, setup{config: func(c *keycloak.Config) { c.Timeout = 5 * time.Minute }}) // the machine may be busy
	return s
}

// dryRun measures a dry run and reports its requests.
func (s *site) dryRun(b *testing.B) report.Report {
	b.Helper()
	s.seen.take()
	peak := processtest.WatchHeap()
	r := s.rec.Pass(b.Context(), reconcile.Request{DryRun: true})
	b.ReportMetric(peak(), "heap-MB")
	requests := 0
	for _, n := range s.seen.take() {
		requests += n
	}
	b.ReportMetric(float64(requests), "requests")
	if len(r.Errors) > 0 {
		b.Fatal(r.Errors)
	}
	return r
}

// BenchmarkPassLDAPCrowd is a whole dry run with 2,000 and 10,000 LDAP people, 300 ClearML
// users and 20 groups. LDAP is 5 ms away. It runs with an empty and with a full user cache.
func BenchmarkPassLDAPCrowd(b *testing.B) {
	for _, people := range []int{2_000, 10_000} {
		b.Run(fmt.Sprintf("people=%d", people), func(b *testing.B) { passLDAPCrowd(b, people) })
	}
}

func passLDAPCrowd(b *testing.B, people int) {
	crowd := keycloaktest.NewCrowd(b, keycloaktest.Shared(b), people, 5*time.Millisecond)
	inSync := make(map[string][]string)
	members := 0
	for g, path := range crowd.Groups {
		for i := range 30 {
			inSync[path[1:]] = append(inSync[path[1:]], crowd.ClearML[(g*15+i)%len(crowd.ClearML)])
		}
		members += 50
	}
	some := func(lists ...[]string) map[string]string {
		ids := make(map[string]string)
		for _, name := range slices.Concat(lists...) {
			ids[name] = crowd.IDs[name]
		}
		return ids
	}
	team := crowd.Groups[0][1:]
	with := func(name string, people ...string) map[string][]string {
		teams := maps.Clone(inSync)
		teams[name] = append(slices.Clone(teams[name]), people...)
		return teams
	}
	typical := with(team, crowd.Leavers[:20]...)
	typical["group-01"] = typical["group-01"][:10]
	for _, row := range []struct {
		name     string
		ids      map[string]string
		teams    map[string][]string
		lookedUp int
		add      int
		remove   int
		hides    int
	}{
		{"in sync", some(crowd.ClearML), inSync, 0, 0, 0, 0},
		{"20 leavers and 20 joiners", some(crowd.ClearML, crowd.Leavers[:20]), typical, 40, 20, 20, 0},
		{"200 leavers", some(crowd.ClearML, crowd.Leavers), with(team, crowd.Leavers...), 200, 0, 200, 0},
		{"500 whom the list hides", some(crowd.ClearML, crowd.Unseen), with(crowd.Hidden[1:], crowd.Unseen...), 500, 0, 0, 500},
	} {
		for _, cold := range []bool{true, false} {
			b.Run(row.name+map[bool]string{true: ", cold", false: ", warm"}[cold], func(b *testing.B) {
				s := bigSite(b, crowd.Realm, row.ids, row.teams)
				for b.Loop() {
					b.StopTimer()
					if cold {
						crowd.Realm.ClearUserCache(b)
					}
					crowd.Proxy.Reset()
					b.StartTimer()
					r := s.dryRun(b)
					searches, most := crowd.Proxy.Searches(), 3*members+2*row.lookedUp
					b.ReportMetric(float64(searches), "searches")
					b.ReportMetric(float64(most), "most-searches")
					if searches > most {
						b.Errorf("%d LDAP searches, want at most %d", searches, most)
					}
					hides := 0
					for _, g := range r.Groups {
						hides += g.OwnView.Hides
					}
					if add, remove := r.Drift(); add != row.add || remove != row.remove || hides != row.hides {
						b.Errorf("%d to add, %d to remove, %d hidden; want %d, %d and %d", add, remove, hides, row.add, row.remove, row.hides)
					}
				}
			})
		}
	}
}

// BenchmarkPassLocalCrowd is a whole dry run with 100,000 local people and 300 ClearML users.
// heap-MB is the largest heap of groupsync together with the stand-in for ClearML.
func BenchmarkPassLocalCrowd(b *testing.B) {
	const people = 100_000
	r := keycloaktest.NewLocalCrowd(b, keycloaktest.Shared(b), people)
	ids, teams := make(map[string]string), make(map[string][]string)
	for i := range keycloaktest.CrowdClearML {
		name := fmt.Sprintf("user-%06d", i)
		ids[name] = r.UserID(b, name)
		for k := range 2 {
			team := fmt.Sprintf("group-%02d", (i/15+k)%keycloaktest.CrowdGroups)
			teams[team] = append(teams[team], name)
		}
	}
	for _, row := range []struct {
		name   string
		leaver int
	}{{"in sync", 0}, {"20 leavers", 20}, {"200 leavers", 200}} {
		b.Run(row.name, func(b *testing.B) {
			ids, teams := maps.Clone(ids), maps.Clone(teams)
			for i := range row.leaver {
				name := fmt.Sprintf("user-%06d", people/2+i)
				ids[name] = r.UserID(b, name)
				teams["group-00"] = append(slices.Clip(teams["group-00"]), name)
			}
			s := bigSite(b, r, ids, teams)
			b.ReportAllocs()
			for b.Loop() {
				if add, remove := s.dryRun(b).Drift(); add != 0 || remove != row.leaver {
					b.Errorf("%d to add, %d to remove; want 0 and %d", add, remove, row.leaver)
				}
			}
		})
	}
}
