package keycloak

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/Nerzal/gocloak/v13"

	"groupsync/internal/source"
	"groupsync/internal/source/keycloaktest"
)

// oneByOne reads like redhat-cop/group-sync-operator v0.0.36: one request after another, in
// pages of 100, with the details of each group, and one empty page after the last one
// (reference/keycloak-api.md). That operator does not read nested groups. oneByOne gets
// their ids, so that both ways read the same memberships.
type oneByOne struct {
	cloak *gocloak.GoCloak
	realm *keycloaktest.Realm
	ids   []string // of every group
}

func newOneByOne(r *keycloaktest.Realm, snap *source.Snapshot, delay time.Duration) *oneByOne {
	o := &oneByOne{cloak: gocloak.NewClient(r.Server.URL), realm: r}
	client := o.cloak.RestyClient().GetClient()
	client.Transport = delayed{client.Transport, delay}
	for _, g := range snap.Catalog().Groups() {
		o.ids = append(o.ids, g.ID)
	}
	return o
}

// pages calls get with the first index of each page, until get returns an empty page.
func pages(get func(first, most *int) (listed int, err error)) error {
	for first := 0; ; first += 100 {
		listed, err := get(gocloak.IntP(first), gocloak.IntP(100))
		if err != nil || listed == 0 {
			return err
		}
	}
}

// pull reads all groups and returns the number of memberships.
func (o *oneByOne) pull(ctx context.Context) (memberships int, err error) {
	token, err := o.cloak.LoginClient(ctx, o.realm.ClientID, o.realm.Secret, o.realm.Name)
	if err != nil {
		return 0, err
	}
	brief := gocloak.BoolP(true)
	err = pages(func(first, most *int) (int, error) {
		groups, err := o.cloak.GetGroups(ctx, token.AccessToken, o.realm.Name, gocloak.GetGroupsParams{First: first, Max: most, BriefRepresentation: brief})
		return len(groups), err
	})
	if err != nil {
		return 0, err
	}
	for _, id := range o.ids {
		if _, err := o.cloak.GetGroup(ctx, token.AccessToken, o.realm.Name, id); err != nil {
			return 0, err
		}
		err := pages(func(first, most *int) (int, error) {
			users, err := o.cloak.GetGroupMembers(ctx, token.AccessToken, o.realm.Name, id, gocloak.GetGroupsParams{First: first, Max: most, BriefRepresentation: brief})
			memberships += len(users)
			return len(users), err
		})
		if err != nil {
			return 0, err
		}
	}
	return memberships, nil
}

// BenchmarkPullAgainstOneByOne compares a read with the pattern of group-sync-operator,
// which reads every group, even if only 200 of the 1,000 groups matter. x-faster is the
// median time of the pattern divided by the median time of a read. The two ways run
// alternately.
func BenchmarkPullAgainstOneByOne(b *testing.B) {
	for _, row := range []struct {
		groups int // number of groups that matter
		delay  time.Duration
	}{
		{keycloaktest.BigGroups, 0},
		{keycloaktest.BigGroups, 5 * time.Millisecond},
		{200, 0},
		{200, 5 * time.Millisecond},
	} {
		b.Run(fmt.Sprintf("groups=%d/delay=%s", row.groups, row.delay), func(b *testing.B) {
			r := big(b)
			whole, _ := puller(b, r, row.delay)
			other := newOneByOne(r, whole(), row.delay)
			s := newSource(b, func() Config { c := configOf(r); c.Timeout = 5 * time.Minute; return c }())
			client := s.cloak.RestyClient().GetClient()
			client.Transport = delayed{client.Transport, row.delay}
			var ours, theirs []time.Duration
			read := func() {
				catalog := mustCatalog(b, s)
				var selection source.Selection
				for _, g := range catalog.Groups()[:row.groups] {
					selection.Groups = append(selection.Groups, g.ID)
				}
				snap, err := s.Read(b.Context(), catalog, selection)
				if err != nil {
					b.Fatal(err)
				}
				if _, _, n := snap.Counts(); n != row.groups*keycloaktest.BigMemberships/keycloaktest.BigGroups {
					b.Fatalf("%d memberships of %d groups", n, row.groups)
				}
			}
			pull := func() {
				if n, err := other.pull(b.Context()); err != nil || n != keycloaktest.BigMemberships {
					b.Fatalf("%d memberships, %v", n, err)
				}
			}
			read()
			for i := 0; b.Loop(); i++ {
				turns(i, timing{&ours, read}, timing{&theirs, pull})
			}
			b.ReportMetric(median(theirs).Seconds()/median(ours).Seconds(), "x-faster")
			b.ReportMetric(float64(median(ours).Milliseconds()), "read-ms")
			b.ReportMetric(float64(median(theirs).Milliseconds()), "one-by-one-ms")
		})
	}
}

// timing is a function to measure, and the list to which its durations are appended.
type timing struct {
	took *[]time.Duration
	do   func()
}

// turns runs and times every function once. Each round starts with another function, so that
// no function always runs first.
func turns(i int, timings ...timing) {
	for k := range timings {
		t := timings[(i+k)%len(timings)]
		start := time.Now()
		t.do()
		*t.took = append(*t.took, time.Since(start))
	}
}

// BenchmarkGrowth reads realms of three sizes alternately. Each group has 50 members, and
// each person is in five groups. us-a-group is the median time of a read divided by the
// number of groups. x-linear is us-a-group divided by the us-a-group of 1,000 groups.
func BenchmarkGrowth(b *testing.B) {
	sizes := []int{100, 1_000, 3_000}
	took := make([][]time.Duration, len(sizes))
	var timings []timing
	for i, groups := range sizes {
		s := newSource(b, func() Config {
			c := configOf(keycloaktest.Shared(b).NewRealm(b, keycloaktest.FlatSpec(groups)))
			c.Timeout = 5 * time.Minute
			return c
		}())
		timings = append(timings, timing{&took[i], func() {
			if _, _, n := mustRead(b, s).Counts(); n != groups*50 {
				b.Fatalf("%d memberships of %d groups", n, groups)
			}
		}})
		timings[i].do() // warms up
	}
	for i := 0; b.Loop(); i++ {
		turns(i, timings...)
	}
	perGroup := func(i int) float64 { return float64(median(took[i]).Microseconds()) / float64(sizes[i]) }
	for i, groups := range sizes {
		b.ReportMetric(float64(median(took[i]).Milliseconds()), fmt.Sprintf("read-ms@%d", groups))
		b.ReportMetric(perGroup(i), fmt.Sprintf("us-a-group@%d", groups))
	}
	b.ReportMetric(perGroup(2)/perGroup(1), "x-linear")
}
