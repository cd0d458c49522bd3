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

	"groupsync/internal/processtest"
	"groupsync/internal/source"
	"groupsync/internal/source/keycloaktest"
)

var bigRealm struct {
	once  sync.Once
	realm *keycloaktest.Realm
}

// big returns the realm of keycloaktest.BigSpec that all benchmarks share.
func big(b *testing.B) *keycloaktest.Realm {
	b.Helper()
	bigRealm.once.Do(func() { bigRealm.realm = keycloaktest.Shared(b).NewRealm(b, keycloaktest.BigSpec()) })
	return bigRealm.realm
}

// delayed delays each request by the round trip between two pods.
type delayed struct {
	next  http.RoundTripper
	delay time.Duration
}

func (d delayed) RoundTrip(req *http.Request) (*http.Response, error) {
	time.Sleep(d.delay)
	return d.next.RoundTrip(req)
}

// puller returns a function that reads the big realm, always with the same Source, and the
// counter of its requests.
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

// bare fetches the addresses that a read needs, 8 at a time. It knows all addresses
// beforehand and does not decode the bodies.
type bare struct {
	client *http.Client
	token  string // address of the token endpoint
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
	query := "?" + unpaged().Encode()
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

// BenchmarkRead measures a complete read of the big realm.
func BenchmarkRead(b *testing.B) {
	pull, seen := puller(b, big(b), 0)
	b.ReportAllocs()
	for b.Loop() {
		seen.calls = nil
		pull()
	}
	b.ReportMetric(float64(seen.total()), "requests")
}

// BenchmarkBareClient measures how long a plain HTTP client takes to fetch the same
// addresses.
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

// BenchmarkPullAgainstBareClient runs both alternately, without a delay and with a round
// trip as between pods. x-bare is the median time of a read divided by the median time of
// the bare client. Use -benchtime 10x.
func BenchmarkPullAgainstBareClient(b *testing.B) {
	for _, delay := range []time.Duration{0, 5 * time.Millisecond} {
		b.Run(fmt.Sprintf("delay=%s", delay), func(b *testing.B) {
			r := big(b)
			pull, seen := puller(b, r, delay)
			f := newBare(r, pull(), delay) // warms both clients up
			f.pull(b)
			var ours, theirs []time.Duration
			read := func() { seen.calls = nil; pull() }
			for i := 0; b.Loop(); i++ {
				turns(i, timing{&ours, read}, timing{&theirs, func() { f.pull(b) }})
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

// crowdPass reads the groups of a crowd and takes second looks, with its own counter of
// requests.
type crowdPass struct {
	crowd *keycloaktest.Crowd
	seen  counted
	s     *Source
}

func newCrowdPass(b *testing.B, crowd *keycloaktest.Crowd) *crowdPass {
	p := &crowdPass{crowd: crowd}
	c := configOf(crowd.Realm)
	c.Observe = p.seen.observe
	p.s = newSource(b, c)
	return p
}

func (p *crowdPass) read(b *testing.B, paths ...string) *source.Snapshot {
	b.Helper()
	catalog := mustCatalog(b, p.s)
	var selection source.Selection
	for _, g := range groupsOf(b, catalog, paths...) {
		selection.Groups = append(selection.Groups, g.ID)
	}
	snap, err := p.s.Read(b.Context(), catalog, selection)
	if err != nil {
		b.Fatal(err)
	}
	return snap
}

// byID returns the people with those usernames, as if ClearML keeps their account ids.
func (p *crowdPass) byID(names []string) []source.Person {
	var people []source.Person
	for _, name := range names {
		people = append(people, source.Person{Key: name, IDs: []string{p.crowd.IDs[name]}, Email: name + "@example.org"})
	}
	return people
}

// removals returns questions about the removal of each person from the group with that path.
func removals(b *testing.B, snap *source.Snapshot, names []string, path string) []source.Question {
	b.Helper()
	groups := groupsOf(b, snap.Catalog(), path)
	var questions []source.Question
	for _, name := range names {
		found, _ := snap.Found(name)
		if len(found.Accounts) != 1 || found.Doubt != "" {
			b.Fatalf("%s was found as %+v", name, found)
		}
		q := removal(groups, found.Accounts...)
		q.User = name
		questions = append(questions, q)
	}
	return questions
}

// timeCold measures the pass with an empty user cache, and reports the requests and LDAP
// searches. pass returns how many members it read. It also returns how many people it looked
// up by id or email, or whose own side it read.
func (p *crowdPass) timeCold(b *testing.B, pass func() (members, asked int)) {
	for b.Loop() {
		b.StopTimer()
		p.crowd.Realm.ClearUserCache(b)
		p.crowd.Proxy.Reset()
		p.seen.calls = nil
		b.StartTimer()
		members, asked := pass()
		b.StopTimer()
		searches, limit := p.crowd.Proxy.Searches(), 3*members+2*asked
		b.ReportMetric(float64(searches), "searches")
		b.ReportMetric(float64(limit), "most-searches")
		b.ReportMetric(float64(p.seen.total()), "requests")
		b.Logf("%d members read, %d people asked about, %d searches of at most %d, requests %v", members, asked, searches, limit, p.seen.calls)
		if searches > limit {
			b.Errorf("%d LDAP searches, want at most %d", searches, limit)
		}
		b.StartTimer()
	}
}

// BenchmarkCrowdLDAP measures the reads of a dry run in a realm with 10,000 people of LDAP.
// LDAP has a latency of 5 ms, and the user cache is empty. A run with a warm cache is for
// comparison.
func BenchmarkCrowdLDAP(b *testing.B) {
	crowd := keycloaktest.NewCrowd(b, keycloaktest.Shared(b), 10_000, 5*time.Millisecond)
	p := newCrowdPass(b, crowd)
	memberships := func(b *testing.B, snap *source.Snapshot) int {
		_, _, n := snap.Counts()
		if n != keycloaktest.CrowdGroups*50 {
			b.Fatalf("%d memberships were read, want %d", n, keycloaktest.CrowdGroups*50)
		}
		return n
	}
	typical := func(b *testing.B) (int, int) {
		snap := p.read(b, crowd.Groups...)
		members := memberships(b, snap)
		people := p.byID(crowd.Leavers[:20])
		for i := range 10 {
			people = append(people,
				source.Person{Key: fmt.Sprint("gone ", i), IDs: []string{fmt.Sprintf("11111111-2222-3333-4444-%012d", i)}, Email: fmt.Sprintf("gone-%d@example.org", i)},
				source.Person{Key: fmt.Sprint("by email ", i), Email: fmt.Sprintf("never-%d@example.org", i)})
		}
		snap = mustLookUp(b, p.s, snap, people...)
		questions := removals(b, snap, crowd.Leavers[:20], crowd.Groups[0])
		for i := range 10 {
			questions = append(questions, gone(source.ByID, fmt.Sprint("gone ", i)), gone(source.ByEmail, fmt.Sprint("by email ", i)))
		}
		joiners := crowd.ClearML[:20]
		for _, name := range joiners {
			questions = append(questions, grant(groupsOf(b, snap.Catalog(), crowd.Groups[0]), userOf(b, snap, name)))
		}
		got := mustConfirm(b, p.s, snap, questions...)
		for i, a := range got.Answers {
			if !a.Evidence.Valid() {
				b.Fatalf("answer %d of %d: %s", i, len(got.Answers), a.Doubt)
			}
		}
		return members, len(people) + 20 + len(joiners)
	}
	b.Run("read", func(b *testing.B) {
		p.timeCold(b, func() (int, int) { return memberships(b, p.read(b, crowd.Groups...)), 0 })
	})
	b.Run("dry run", func(b *testing.B) {
		p.timeCold(b, func() (int, int) { return typical(b) })
	})
	b.Run("dry run, warm", func(b *testing.B) {
		for b.Loop() {
			typical(b)
		}
	})
	b.Run("200 leavers", func(b *testing.B) {
		p.timeCold(b, func() (int, int) {
			snap := p.read(b, crowd.Groups...)
			members := memberships(b, snap)
			snap = mustLookUp(b, p.s, snap, p.byID(crowd.Leavers)...)
			got := mustConfirm(b, p.s, snap, removals(b, snap, crowd.Leavers, crowd.Groups[0])...)
			for _, a := range got.Answers {
				if a.Evidence.Why() != source.NotMember {
					b.Fatalf("a leaver stays: %s", a.Doubt)
				}
			}
			return members, 2 * len(crowd.Leavers)
		})
	})
	b.Run("500 hidden members", func(b *testing.B) {
		p.timeCold(b, func() (int, int) {
			snap := mustLookUp(b, p.s, p.read(b, crowd.Hidden), p.byID(crowd.Unseen)...)
			got := mustConfirm(b, p.s, snap, removals(b, snap, crowd.Unseen, crowd.Hidden)...)
			for _, a := range got.Answers {
				if a.Denial != source.HiddenByList {
					b.Fatalf("a member whom the list hides: %s%s", a.Evidence, a.Doubt)
				}
			}
			return 0, 2 * len(crowd.Unseen)
		})
	})
}

// BenchmarkCrowdLocal measures the reads of a dry run in a realm with 100,000 local people:
// 20 leavers, 20 people who are gone, and 20 joiners. B/op is all allocated memory. peak-MB
// is the largest heap.
func BenchmarkCrowdLocal(b *testing.B) {
	r := keycloaktest.NewLocalCrowd(b, keycloaktest.Shared(b), 100_000)
	var seen counted
	c := configOf(r)
	c.Observe = seen.observe
	s := newSource(b, c)
	var leavers []source.Person
	for i := range 20 {
		name := fmt.Sprintf("user-%06d", 50_000+i)
		leavers = append(leavers, source.Person{Key: name, IDs: []string{r.UserID(b, name)}},
			source.Person{Key: fmt.Sprint("gone ", i), IDs: []string{fmt.Sprintf("11111111-2222-3333-4444-%012d", i)}, Email: fmt.Sprintf("gone-%d@example.org", i)})
	}
	b.ReportAllocs()
	for b.Loop() {
		seen.calls = nil
		peak := processtest.WatchHeap()
		snap := mustRead(b, s)
		snap = mustLookUp(b, s, snap, leavers...)
		groups := groupsOf(b, snap.Catalog(), "/group-00")
		var questions []source.Question
		for i := range 20 {
			questions = append(questions, removal(groups, userOf(b, snap, fmt.Sprintf("user-%06d", 50_000+i))), gone(source.ByID, fmt.Sprint("gone ", i)))
		}
		members, _ := snap.Members(groups[0].ID)
		for _, id := range members[:20] {
			i, _ := snap.UserIndex(id)
			questions = append(questions, grant(groups, snap.Users()[i]))
		}
		for _, a := range mustConfirm(b, s, snap, questions...).Answers {
			if !a.Evidence.Valid() {
				b.Fatal(a.Doubt)
			}
		}
		b.ReportMetric(peak(), "peak-MB")
		b.ReportMetric(float64(seen.total()), "requests")
	}
}
