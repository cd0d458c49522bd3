package keycloak

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"groupsync/internal/source"
	"groupsync/internal/source/keycloaktest"
)

var bigRealm struct {
	once  sync.Once
	realm *keycloaktest.Realm
}

// big is one realm of keycloaktest.BigSpec for all benchmarks.
func big(b *testing.B) *keycloaktest.Realm {
	b.Helper()
	bigRealm.once.Do(func() { bigRealm.realm = keycloaktest.Shared(b).NewRealm(b, keycloaktest.BigSpec()) })
	return bigRealm.realm
}

// delayed adds the round trip that there is between two pods.
type delayed struct {
	next  http.RoundTripper
	delay time.Duration
}

func (d delayed) RoundTrip(req *http.Request) (*http.Response, error) {
	time.Sleep(d.delay)
	return d.next.RoundTrip(req)
}

// puller reads the big realm with one Source, pass after pass.
func puller(b *testing.B, r *keycloaktest.Realm, delay time.Duration) (pull func() *source.Snapshot, seen *counted) {
	seen = new(counted)
	c := configOf(r)
	c.Observe = seen.observe
	c.Timeout = 5 * time.Minute // the machine may be busy with other tests
	s := newSource(b, c)
	client := s.cloak.RestyClient().GetClient()
	client.Transport = delayed{client.Transport, delay}
	return func() *source.Snapshot {
		snap, err := read(b.Context(), s)
		if err != nil {
			b.Fatal(err)
		}
		groups, users, memberships := snap.Counts()
		if groups != keycloaktest.BigGroups || users != keycloaktest.BigUsers || memberships != keycloaktest.BigMemberships {
			b.Fatalf("read %d groups, %d users, %d memberships", groups, users, memberships)
		}
		return snap
	}, seen
}

// bare fetches the addresses that a pull needs, all of them known beforehand, 8
// at a time, and looks at none of the bodies.
type bare struct {
	client *http.Client
	token  string // address
	form   url.Values
	urls   []string
}

func newBare(r *keycloaktest.Realm, snap *source.Snapshot, delay time.Duration) *bare {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 8
	base := r.Server.URL + "/admin/realms/" + r.Name
	f := &bare{
		client: &http.Client{Transport: delayed{transport, delay}},
		token:  r.Server.URL + "/realms/" + r.Name + "/protocol/openid-connect/token",
		form:   url.Values{"grant_type": {"client_credentials"}, "client_id": {r.ClientID}, "client_secret": {r.Secret}},
	}
	query := "?" + whole().Encode()
	f.urls = []string{base, base + "/groups" + query, base + "/groups/count", base + "/components?type=org.keycloak.storage.UserStorageProvider"}
	parents := make(map[string]bool)
	for _, g := range snap.Catalog().Groups() {
		f.urls = append(f.urls, base+"/groups/"+g.ID+"/members"+query)
		if g.Parent != "" && !parents[g.Parent] {
			parents[g.Parent] = true
			f.urls = append(f.urls, base+"/groups/"+g.Parent+"/children"+query)
		}
	}
	return f
}

func (f *bare) pull(b *testing.B) {
	resp, err := f.client.PostForm(f.token, f.form)
	if err != nil {
		b.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(body), `"access_token":"`)
	token, _, _ := strings.Cut(rest, `"`)
	var work errgroup.Group
	work.SetLimit(8)
	for _, address := range f.urls {
		work.Go(func() error {
			req, err := http.NewRequest(http.MethodGet, address, nil)
			if err != nil {
				return err
			}
			req.Header.Set("Authorization", "Bearer "+token)
			resp, err := f.client.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("%s: %s", address, resp.Status)
			}
			_, err = io.Copy(io.Discard, resp.Body)
			return err
		})
	}
	if err := work.Wait(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkRead is a whole read of the big realm.
func BenchmarkRead(b *testing.B) {
	pull, seen := puller(b, big(b), 0)
	b.ReportAllocs()
	for b.Loop() {
		seen.calls = nil
		pull()
	}
	b.ReportMetric(float64(seen.total()), "requests")
}

// BenchmarkBareClient is a plain HTTP client's fetching of the same addresses.
func BenchmarkBareClient(b *testing.B) {
	r := big(b)
	pull, _ := puller(b, r, 0)
	f := newBare(r, pull(), 0)
	b.ReportAllocs()
	for b.Loop() {
		f.pull(b)
	}
	b.ReportMetric(float64(len(f.urls)+1), "requests")
}

// BenchmarkPullAgainstBareClient runs both side by side, turn about, and
// reports how many times as long as the bare client a read takes (the medians),
// without and with a round trip as between pods. Use -benchtime 10x.
func BenchmarkPullAgainstBareClient(b *testing.B) {
	for _, delay := range []time.Duration{0, 5 * time.Millisecond} {
		b.Run(fmt.Sprintf("delay=%s", delay), func(b *testing.B) {
			r := big(b)
			pull, seen := puller(b, r, delay)
			f := newBare(r, pull(), delay) // warms both up
			f.pull(b)
			var ours, theirs []time.Duration
			timed := func(into *[]time.Duration, do func()) {
				start := time.Now()
				do()
				*into = append(*into, time.Since(start))
			}
			for i := 0; b.Loop(); i++ {
				read := func() { seen.calls = nil; timed(&ours, func() { pull() }) }
				fetch := func() { timed(&theirs, func() { f.pull(b) }) }
				if i%2 == 0 {
					read()
					fetch()
				} else {
					fetch()
					read()
				}
			}
			a, c := median(ours), median(theirs)
			b.ReportMetric(a.Seconds()/c.Seconds(), "x-bare")
			b.ReportMetric(float64(seen.total()), "requests")
			b.ReportMetric(float64(len(f.urls)+1), "bare-requests")
			b.ReportMetric(float64(a.Milliseconds()), "read-ms")
			b.ReportMetric(float64(c.Milliseconds()), "bare-ms")
			if limit := keycloaktest.BigGroups + keycloaktest.BigParents + 5; seen.total() > limit {
				b.Errorf("%d requests, want at most %d", seen.total(), limit)
			}
		})
	}
}

func median(of []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}
