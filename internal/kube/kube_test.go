package kube

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"

	"groupsync/internal/kube/kubetest"
	"groupsync/internal/memory"
	"groupsync/internal/report"
)

// look is the longest time between two reads of the Lease by a standby. client-go adds up to 1.2
// times retryPeriod to retryPeriod. One second more is for a busy machine.
const look = 22*retryPeriod/10 + time.Second

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// place is a namespace in which groupsync may do what the chart allows.
type place struct {
	cluster    *kubetest.Cluster
	namespace  string
	kubeconfig string // of the ServiceAccount
}

func newPlace(t *testing.T, c *kubetest.Cluster) place {
	t.Helper()
	p := place{cluster: c}
	p.namespace, p.kubeconfig = c.Groupsync(t)
	return p
}

func (p place) named(manifest string) string { return strings.ReplaceAll(manifest, "NS", p.namespace) }

func (p place) open(t *testing.T, o Options) *Lease {
	t.Helper()
	if o.Name == "" {
		o.Name = "groupsync"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l, err := open(o, &clientcmd.ClientConfigLoadingRules{ExplicitPath: p.kubeconfig})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestWhatIsNotAllowedOrNotThereIsSaid(t *testing.T) {
	c := kubetest.Shared(t)
	p := newPlace(t, c)
	admin, bare := c.Kubeconfig(t), c.ServiceAccount(t, p.namespace, "nobody")
	for _, tt := range []struct {
		name       string
		kubeconfig string
		options    Options
		want       []string
	}{
		{"what the chart allows is enough", p.kubeconfig, Options{}, nil},
		{"if groupsync may create both objects, it creates them", admin, Options{Name: "new", Namespace: p.namespace}, nil},
		{"no permission on the Lease", bare, Options{}, []string{"the Lease NS/groupsync may not be used: ", `"system:serviceaccount:NS:nobody" cannot get resource "leases"`, ": give the service account get and update on it, as the chart's Role does, or correct lease.name and lease.namespace"}},
		{"another Lease than the Role's", p.kubeconfig, Options{Name: "other"}, []string{"the Lease NS/other may not be used: "}},
		{"no such namespace", admin, Options{Namespace: "nowhere"}, []string{"the Lease nowhere/groupsync: there is no namespace nowhere: create it, or correct lease.namespace"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := p
			q.kubeconfig = tt.kubeconfig
			err := q.open(t, tt.options).Check(t.Context())
			if (err == nil) != (tt.want == nil) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			for _, want := range tt.want {
				if want = p.named(want); !strings.Contains(err.Error(), want) {
					t.Errorf("got  %v\nwant %s", err, want)
				}
			}
		})
	}
	t.Run("no API at all", func(t *testing.T) {
		t.Setenv("KUBECONFIG", t.TempDir()+"/none")
		t.Setenv("KUBERNETES_SERVICE_HOST", "")
		_, err := Open(Options{Name: "groupsync"})
		const want = "run in a pod with a service account token, set KUBECONFIG, or leave lease.name empty and run one replica"
		if err == nil || !strings.HasPrefix(err.Error(), "lease.name: finding the Kubernetes API: ") || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}

// terms records which process leads, in order. It fails the test if two processes lead at the same
// time.
type terms struct {
	mu      sync.Mutex
	leading string
	log     []string
	changed chan struct{}
}

// lead returns a function for Lease.Run. The function records that name leads, until ctx ends or
// the test sends an error (or nil) to end.
func (x *terms) lead(t *testing.T, name string, l *Lease, end <-chan error) func(context.Context) error {
	return func(ctx context.Context) error {
		x.mu.Lock()
		if x.leading != "" {
			t.Errorf("%s leads while %s does", name, x.leading)
		}
		if err := l.Held(); err != nil {
			t.Errorf("%s leads, and %v", name, err)
		}
		x.leading = name
		x.log = append(x.log, name)
		x.mu.Unlock()
		x.changed <- struct{}{}
		var err error
		select {
		case err = <-end:
		case <-ctx.Done():
		}
		x.mu.Lock()
		x.leading = ""
		x.mu.Unlock()
		return err
	}
}

func wait(t *testing.T, what string, c <-chan struct{}, most time.Duration) time.Duration {
	t.Helper()
	start := time.Now()
	select {
	case <-c:
		return time.Since(start)
	case <-time.After(most):
		t.Fatalf("%s: not within %s", what, most)
		return 0
	}
}

// TestTheLeadershipGoesFromOneToTheOther: if the leader releases the Lease, a standby
// takes the Lease at its next read. If the leader dies, a standby takes the Lease
// after leaseDuration.
func TestTheLeadershipGoesFromOneToTheOther(t *testing.T) {
	t.Parallel() // most of it is waiting
	p := newPlace(t, kubetest.Shared(t))
	x := &terms{changed: make(chan struct{}, 10)}
	a, b := p.open(t, Options{}), p.open(t, Options{})
	endA, endB := make(chan error), make(chan error)
	ctxA, stopA := context.WithCancel(t.Context())
	ctxB, stopB := context.WithCancel(t.Context())
	ranA, ranB := make(chan error, 1), make(chan error, 1)
	go func() { ranA <- a.Run(ctxA, x.lead(t, "a", a, endA)) }()
	wait(t, "the first leader", x.changed, 5*time.Second)
	go func() { ranB <- b.Run(ctxB, x.lead(t, "b", b, endB)) }()
	awaitHolder(t, b, a.identity)
	if b.Held() == nil {
		t.Error("the standby holds the Lease")
	}
	stopA()
	wait(t, "the leadership was given up", x.changed, look)
	if err := <-ranA; err != nil {
		t.Error(err)
	}
	c := p.open(t, Options{})
	ranC := make(chan error, 1)
	ctxC, stopC := context.WithCancel(t.Context())
	go func() { ranC <- c.Run(ctxC, x.lead(t, "c", c, make(chan error))) }()
	awaitHolder(t, c, b.identity)
	died := errors.New("did not end in order")
	endB <- died
	took := wait(t, "the leader died", x.changed, leaseDuration+2*look)
	if took < renewDeadline {
		t.Errorf("the Lease was taken %s after its holder was last heard of", took)
	}
	if err := <-ranB; !errors.Is(err, died) {
		t.Errorf("b ended with %v", err)
	}
	t.Logf("taken over %s after the end of a leader that gave nothing up", took)
	stopB()
	stopC()
	if err := <-ranC; err != nil {
		t.Error(err)
	}
	if got := strings.Join(x.log, " "); got != "a b c" {
		t.Errorf("leaders: %s", got)
	}
}

// TestTake: Take takes the Lease, runs the task and releases the Lease. If another
// process holds the Lease, the error names that process, and the task does not run.
func TestTake(t *testing.T) {
	t.Parallel() // most of it is waiting
	p := newPlace(t, kubetest.Shared(t))
	holder, other := p.open(t, Options{}), p.open(t, Options{})
	err := holder.Take(t.Context(), func(ctx context.Context) error {
		if err := holder.Held(); err != nil {
			t.Error(err)
		}
		start := time.Now()
		err := other.Take(ctx, func(context.Context) error { t.Error("two have it"); return nil })
		if want := "the Lease " + p.namespace + "/groupsync is held by " + holder.identity + ", so nothing was done: "; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		if took := time.Since(start); took > 2*look {
			t.Errorf("it took %s to say so", took)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	did := false
	if err := other.Take(t.Context(), func(context.Context) error { did = true; return nil }); err != nil || !did {
		t.Errorf("after it was given up: done %t, %v", did, err)
	}
	if took := time.Since(start); took > retryPeriod {
		t.Errorf("it was not given up: taking it took %s", took)
	}
	failed := errors.New("the task failed")
	if err := other.Take(t.Context(), func(context.Context) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
}

// TestTheAPIServerGoesAway: if the API server does not answer, the leader loses the
// leadership before another process could take the Lease. When the API server is back,
// the process leads again.
func TestTheAPIServerGoesAway(t *testing.T) {
	t.Parallel() // most of it is waiting
	cluster := kubetest.Start(t)
	p := newPlace(t, cluster)
	l := p.open(t, Options{})
	led, lost := make(chan struct{}, 2), make(chan error, 2)
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() {
		ran <- l.Run(ctx, func(ctx context.Context) error {
			led <- struct{}{}
			<-ctx.Done()
			lost <- context.Cause(ctx)
			return nil
		})
	}()
	wait(t, "the leadership", led, 5*time.Second)
	cluster.StopAPI(t)
	away := time.Now()
	asked := time.Now() // taken before the call of Held, so that a delay of the test does not count
	for l.Held() == nil {
		if took := asked.Sub(away); took >= renewDeadline {
			t.Fatalf("it takes the Lease for its own %s after the API server had gone", took)
		}
		time.Sleep(20 * time.Millisecond)
		asked = time.Now()
	}
	err := <-lost
	if took := time.Since(away); took > leaseDuration {
		t.Errorf("the pass went on for %s after the API server had gone", took)
	}
	if want := "the leadership is lost: the Lease " + p.namespace + "/groupsync has not been renewed for 1"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	cluster.StartAPI(t)
	wait(t, "the leadership again", led, leaseDuration+look+5*time.Second)
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}

// TestATermThatAnotherBrokeIsNotResumed: while a leader is paused, another process takes
// the Lease. When the paused process continues, its term is over, even if the other
// process has released the Lease by then. If the other process still holds the Lease,
// the end of the old term does not release it.
func TestATermThatAnotherBrokeIsNotResumed(t *testing.T) {
	t.Parallel() // most of it is waiting
	for _, tt := range []struct {
		name  string
		stays bool // the other process still holds the Lease when the first one continues
	}{{"the Lease is free again", false}, {"the Lease is another's", true}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, kubetest.Shared(t))
			l, other := p.open(t, Options{}), p.open(t, Options{})
			path := "/apis/coordination.k8s.io/v1/namespaces/" + p.namespace + "/leases/groupsync"
			var lease map[string]any
			holder := func() any {
				p.cluster.Get(t, path, &lease)
				return lease["spec"].(map[string]any)["holderIdentity"]
			}
			ctx, stop := context.WithCancel(t.Context())
			led, ran := make(chan struct{}), make(chan error, 1)
			err := l.Take(t.Context(), func(mine context.Context) error {
				// A paused leader does not notice that another process takes the Lease.
				for status := 0; status != 200; { // 409: the leader has renewed the Lease since the read
					holder()
					lease["spec"].(map[string]any)["holderIdentity"] = ""
					status, _ = p.cluster.Try(t, "PUT", path, lease)
				}
				go func() {
					ran <- other.Run(ctx, func(ctx context.Context) error { close(led); <-ctx.Done(); return nil })
				}()
				<-led
				if !tt.stays {
					stop()
					if err := <-ran; err != nil {
						t.Error(err)
					}
				}
				select {
				case <-mine.Done():
					if l.Held() == nil {
						t.Error("it takes the Lease for its own")
					}
				case <-time.After(leaseDuration + look):
					t.Error("the term goes on")
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := holder(); tt.stays && (got != other.identity || other.Held() != nil) {
				t.Errorf("the Lease is %v's, want the other's; %v", got, other.Held())
			}
			stop()
			if tt.stays {
				if err := <-ran; err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestAnEmptiedLeaseIsNotTakenUnderItsHolder: a person empties the Lease while a process
// holds it. No other process takes the Lease before the holder has noticed the change or
// has stopped writing. This is so for a standby that knew the holder, and for a process
// that has just started.
func TestAnEmptiedLeaseIsNotTakenUnderItsHolder(t *testing.T) {
	t.Parallel() // most of it is waiting
	for name, seen := range map[string]bool{"a standby": true, "a newcomer": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, kubetest.Shared(t))
			a, b := p.open(t, Options{}), p.open(t, Options{})
			ctx, stop := context.WithCancel(t.Context())
			led, ran := make(chan string, 10), make(chan error, 2)
			run := func(name string, l *Lease) {
				ran <- l.Run(ctx, func(ctx context.Context) error { led <- name; <-ctx.Done(); return nil })
			}
			go run("a", a)
			if first := <-led; first != "a" {
				t.Fatal(first)
			}
			if seen {
				go run("b", b)
				awaitHolder(t, b, a.identity)
			}
			p.empty(t)
			if !seen {
				go run("b", b)
			}
			for end := time.Now().Add(look + 2*time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
				if a.Held() == nil && b.Held() == nil {
					t.Fatal("both hold it")
				}
			}
			select {
			case <-led:
			case <-time.After(leaseDuration + 2*look):
				t.Error("nobody leads any more")
			}
			stop()
			for range 2 {
				if err := <-ran; err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestADeletedLeaseIsCreatedAgain: if a person deletes the Lease, the holder's term is over. If the
// service account may create a Lease, a process leads again after leaseDuration.
func TestADeletedLeaseIsCreatedAgain(t *testing.T) {
	t.Parallel() // most of it is waiting
	c := kubetest.Shared(t)
	p := newPlace(t, c)
	p.kubeconfig = c.Kubeconfig(t)
	l := p.open(t, Options{Namespace: p.namespace})
	ctx, stop := context.WithCancel(t.Context())
	led, ran := make(chan struct{}, 10), make(chan error, 1)
	go func() {
		ran <- l.Run(ctx, func(ctx context.Context) error { led <- struct{}{}; <-ctx.Done(); return nil })
	}()
	wait(t, "the first term", led, 5*time.Second)
	p.cluster.Do(t, "DELETE", "/apis/coordination.k8s.io/v1/namespaces/"+p.namespace+"/leases/groupsync", nil, nil)
	if took := wait(t, "the second term", led, leaseDuration+3*look); took < leaseDuration {
		t.Errorf("somebody leads %s after the Lease was deleted", took)
	}
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}

// awaitHolder waits until the standby has read that holder is the holder of the Lease.
func awaitHolder(t *testing.T, standby *Lease, holder string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); standby.Holder() != holder; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the standby takes %q for the leader, not %q", standby.Holder(), holder)
		}
	}
}

// empty empties the spec of the Lease, as a person or helm upgrade --force can do.
func (p place) empty(t *testing.T) {
	t.Helper()
	path := "/apis/coordination.k8s.io/v1/namespaces/" + p.namespace + "/leases/groupsync"
	for range 10 {
		var lease map[string]any
		p.cluster.Get(t, path, &lease)
		lease["spec"] = map[string]any{}
		if status, _ := p.cluster.Try(t, "PUT", path, lease); status == 200 {
			return // another status means that the holder has renewed the Lease since the read
		}
	}
	t.Fatal("the Lease cannot be emptied")
}

// TestWhoLosesTheLeaseAgainHasDoneSomething: a process takes the Lease with Take, runs
// its task, and then loses the Lease to the earlier holder. The error must not say that
// nothing was done.
func TestWhoLosesTheLeaseAgainHasDoneSomething(t *testing.T) {
	t.Parallel() // most of it is waiting
	p := newPlace(t, kubetest.Shared(t))
	path := "/apis/coordination.k8s.io/v1/namespaces/" + p.namespace + "/leases/groupsync"
	var lease map[string]any
	hold := func() {
		for status := 0; status != 200; { // 409: the Lease has been renewed since the read
			p.cluster.Get(t, path, &lease)
			now := time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")
			lease["spec"] = map[string]any{"holderIdentity": "x", "leaseDurationSeconds": 2, "acquireTime": now, "renewTime": now}
			status, _ = p.cluster.Try(t, "PUT", path, lease)
		}
	}
	hold() // the holder x does not renew the Lease
	l := p.open(t, Options{})
	err := l.Take(t.Context(), func(ctx context.Context) error {
		hold()
		<-ctx.Done()
		return context.Cause(ctx)
	})
	if want := "the leadership is lost: another process held the Lease " + p.namespace + "/groupsync meanwhile"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// TestMemoryFollowsTheLeadership: a new leader loads the memory that the leader before it
// saved. A process that leads no longer cannot save.
func TestMemoryFollowsTheLeadership(t *testing.T) {
	t.Parallel() // most of it is waiting
	p := newPlace(t, kubetest.Shared(t))
	a, b := p.open(t, Options{}), p.open(t, Options{})
	ma, mb := a.Memory(), b.Memory()
	removed := func(n int) memory.Memory {
		return memory.Memory{Removed: []memory.Intent{{At: time.Unix(1, 0).UTC(), Count: n}}}
	}
	load := func(m *Memory, want int) {
		t.Helper()
		got, err := m.Load()
		if err != nil || memory.Since(got.Removed, time.Time{}) != want {
			t.Errorf("loaded %+v, %v; want %d removals", got, err, want)
		}
	}
	refused := func(err error, want string) {
		t.Helper()
		if want = p.named(want); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	load(ma, 0)
	refused(ma.Save(removed(1)), "saving the guards' memory: this process does not hold the Lease NS/groupsync")
	if _, err := ma.Lock(); err == nil {
		t.Error("a standby may lock it")
	}
	take := func(l *Lease, do func()) {
		t.Helper()
		if err := l.Take(t.Context(), func(context.Context) error { do(); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	path := "/api/v1/namespaces/" + p.namespace + "/configmaps/groupsync-memory"
	take(a, func() {
		load(ma, 0)
		for n := range 2 {
			if err := ma.Save(removed(n + 1)); err != nil {
				t.Error(err)
			}
		}
		var m map[string]any
		p.cluster.Get(t, path, &m)
		m["metadata"].(map[string]any)["labels"] = map[string]any{"helm.sh/chart": "new"}
		p.cluster.Do(t, "PUT", path, m, nil)
		if err := ma.Save(removed(3)); err != nil {
			t.Errorf("after somebody else changed its labels: %v", err)
		}
	})
	take(b, func() {
		load(mb, 3)
		if err := mb.Save(removed(4)); err != nil {
			t.Error(err)
		}
	})
	take(a, func() {
		refused(ma.Save(removed(0)), "another process has written the ConfigMap NS/groupsync-memory since this pass read it")
		load(ma, 4)
		var big memory.Memory
		for range 60_000 {
			big.Removed = append(big.Removed, memory.Intent{At: time.Now(), User: identity()})
		}
		refused(ma.Save(big), "more than 1040384: narrow groups.include, or run one replica with state_dir and without a Lease")
		load(ma, 4)
		large := memory.Memory{Removed: removed(4).Removed, Groups: map[string]memory.Accepted{"g": {}, "small": {Federated: []string{"u"}}}}
		g := memory.Accepted{}
		for range 100_000 {
			g.Federated = append(g.Federated, identity())
		}
		large.Groups["g"] = g
		if err := ma.Save(large); err != nil {
			t.Errorf("a memory that is too large for a ConfigMap fails the pass: %v", err)
		}
		load(ma, 4)
		if got, err := ma.Load(); err != nil || got.Forgotten() != (memory.Forgotten{Groups: 1, Memberships: 100_000}) || got.Groups["small"].Federated[0] != "u" {
			t.Errorf("forgotten %+v, %v", got.Forgotten(), err)
		}
		p.cluster.Do(t, "PUT", path, map[string]any{"metadata": map[string]any{"name": "groupsync-memory"}}, nil)
		load(ma.Peek(), 0) // a Load of another Memory does not use up the error of ma
		_, err := ma.Load()
		refused(err, "reading the guards' memory: the ConfigMap NS/groupsync-memory was emptied, and the guards' memory with it. This pass fails, and the next one starts without memory: the guards' windows and graces start again")
		load(ma, 0)
		var m map[string]any
		p.cluster.Get(t, path, &m)
		m["binaryData"] = map[string]any{memoryKey: "b29wcw=="}
		p.cluster.Do(t, "PUT", path, m, nil)
		_, err = ma.Load()
		refused(err, "the ConfigMap NS/groupsync-memory: the guards' memory is corrupt (unexpected EOF): empty the ConfigMap to start without memory")
		p.cluster.Do(t, "DELETE", path, nil, nil)
		_, err = ma.Load()
		refused(err, "reading the guards' memory: the ConfigMap NS/groupsync-memory was deleted, and the guards' memory with it. This pass fails, and the next one starts without memory: the guards' windows and graces start again. If groupsync may not create the ConfigMap, create it again, empty, as helm upgrade does")
		load(ma, 0)
	})
}

// events returns the Events of the place as TYPE REASON MESSAGE, oldest first.
func (p place) events(t *testing.T) (found []string) {
	t.Helper()
	var list struct {
		Items []struct {
			Metadata              struct{ ResourceVersion string }
			Type, Reason, Message string
			InvolvedObject        struct{ Kind, Name, UID string }
		}
	}
	p.cluster.Get(t, "/api/v1/namespaces/"+p.namespace+"/events", &list)
	version := func(i int) int { n, _ := strconv.Atoi(list.Items[i].Metadata.ResourceVersion); return n }
	sort.Slice(list.Items, func(i, j int) bool { return version(i) < version(j) })
	for _, e := range list.Items {
		if e.InvolvedObject.Kind != "Pod" || e.InvolvedObject.Name != "groupsync-0" || e.InvolvedObject.UID != "0123" {
			t.Errorf("event %+v", e)
		}
		found = append(found, e.Type+" "+e.Reason+" "+e.Message)
	}
	return found
}

// TestATrippedGuardMakesOneEvent: a guard that trips in several passes in a row makes one Event.
func TestATrippedGuardMakesOneEvent(t *testing.T) {
	t.Parallel() // most of it is waiting
	p := newPlace(t, kubetest.Shared(t))
	l := p.open(t, Options{Pod: Pod{Name: "groupsync-0", UID: "0123"}})
	removals := report.Trip{Guard: report.Removals, Detail: "60 are wanted"}
	for _, pass := range [][]report.Trip{
		{removals, {Guard: report.Grace, Detail: "waits"}, {Guard: report.Concurrent, Group: "team"}},
		{removals, {Guard: report.Fall, Group: "team", Detail: strings.Repeat("é", 1000)}, {Guard: report.Fall, Group: "other"}},
		{},
		{removals, {Guard: report.Views, Group: "a\u202e", Detail: "b\nc"}},
	} {
		l.Tripped(t.Context(), pass)
	}
	fall := `the guard fall, of the group "team": `
	want := []string{
		"Warning GuardTripped the guard removals: 60 are wanted",
		"Warning GuardTripped " + fall + strings.Repeat("é", (maxMessage-len(fall)-len("…"))/2) + "…",
		"Warning GuardTripped the guard removals: 60 are wanted",
		`Warning GuardTripped the guard views, of the group "a\u202e": b\nc`,
	}
	if d := cmp.Diff(want, p.events(t)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	p.open(t, Options{}).Tripped(t.Context(), []report.Trip{removals}) // no pod, no Event
	if n := len(p.events(t)); n != len(want) {
		t.Errorf("%d Events", n)
	}
}

func TestTheTableSaysWhichGuardsMakeEvents(t *testing.T) {
	t.Parallel() // most of it is waiting
	p := newPlace(t, kubetest.Shared(t))
	var trips []report.Trip
	var want []string
	for _, r := range report.Rules {
		trips = append(trips, report.Trip{Guard: r.Guard, Detail: "tripped"})
		if r.Event {
			want = append(want, "Warning GuardTripped the guard "+string(r.Guard)+": tripped")
		}
	}
	p.open(t, Options{Pod: Pod{Name: "groupsync-0", UID: "0123"}}).Tripped(t.Context(), trips)
	if d := cmp.Diff(want, p.events(t)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// TestAnApprovalMakesAnEvent: a granted approval makes an Event, and a refused approval makes none.
func TestAnApprovalMakesAnEvent(t *testing.T) {
	t.Parallel() // most of it is waiting
	p := newPlace(t, kubetest.Shared(t))
	l := p.open(t, Options{Pod: Pod{Name: "groupsync-0", UID: "0123"}})
	a := report.Approval{Digest: "d1", By: "operator", At: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), Granted: true, Lifted: []report.Guard{report.Removals, report.Grace}, Changes: 8}
	refused := a
	refused.Granted = false
	for _, x := range []*report.Approval{nil, &refused, &a} {
		l.Approved(t.Context(), x)
	}
	want := []string{"Normal ChangesApproved approval of d1 by operator at 2026-11-24T12:00:00Z: granted: lifted removals, grace for 8 changes"}
	if d := cmp.Diff(want, p.events(t)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}
