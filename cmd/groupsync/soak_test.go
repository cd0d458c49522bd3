package main

import (
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/procfs"

	"groupsync/internal/target/clearmltest"
)

var soak = flag.Duration("soak", 0, "how long TestSoak lets the daemon run; 0 skips the test")

// consumption is what a process uses of its machine.
type consumption struct{ threads, descriptors, mib int }

// most returns the largest value of each.
func most(all []consumption) (c consumption) {
	for _, x := range all {
		c = consumption{max(c.threads, x.threads), max(c.descriptors, x.descriptors), max(c.mib, x.mib)}
	}
	return c
}

func (s *service) consumes(t *testing.T) consumption {
	t.Helper()
	proc, err := procfs.NewProc(s.cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := proc.Stat()
	if err != nil {
		t.Fatal(err)
	}
	descriptors, err := proc.FileDescriptorsLen()
	if err != nil {
		t.Fatal(err)
	}
	return consumption{stat.NumThreads, descriptors, stat.ResidentMemory() >> 20}
}

// TestSoak runs the daemon in real time with a pass every second. Meanwhile people join and
// leave, other tools edit ClearML, writes fail, and the configuration is reloaded. The
// daemon's use of the machine must not grow, and both sides must agree when the changes end.
// make soak runs the test under the race detector: a race ends the daemon with an exit code
// other than 0.
func TestSoak(t *testing.T) {
	if *soak == 0 {
		t.Skip("takes minutes: make soak")
	}
	p := newServicePlace(t)
	p.clearml.AddTeam("leads")
	s := serve(t, p.configured(t, p.url, "apply"), "--schedule", "@every 1s", "--jitter", "0s", "--state_dir", t.TempDir(),
		"--guards.max_removals", "0", "--guards.max_additions", "0") // no daily limits, because the test would soon reach them
	address := s.until(t, "groupsync starts")["listen"].(string)
	passes := make(chan int)
	var end string // of the last pass
	go func() {
		n := 0
		for line := range s.lines {
			if strings.Contains(line, `"msg":"pass ended"`) {
				n, end = n+1, line
			}
		}
		passes <- n
	}()

	names, teams := []string{"ann", "bob", "cid"}, []string{"leads", "team"}
	in := map[string][]string{"team": {"ann", "bob"}}
	var seen []consumption
	began := time.Now()
	// A reload leaves connections of the earlier clients, which end after 90 seconds without a
	// request. So the daemon is measured when no reload follows.
	warm := func() bool { return time.Since(began) > *soak/3 }
	for time.Since(began) < *soak {
		name, team := names[rand.IntN(len(names))], teams[rand.IntN(len(teams))]
		switch rand.IntN(10) {
		case 0:
			p.clearml.SetMembers(team, "cm-"+name)
		case 1:
			p.clearml.Inject(clearmltest.Fault{Call: writeGroup, Status: 500})
		case 2:
			p.clearml.Heal()
		case 3:
			fetch(t, address+"/metrics")
		case 4:
			if warm() {
				continue
			}
			if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
		default:
			if at := slices.Index(in[team], name); at >= 0 {
				p.realm.Leave(t, name, "/"+team)
				in[team] = slices.Delete(in[team], at, at+1)
			} else {
				p.realm.Join(t, name, "/"+team)
				in[team] = append(in[team], name)
			}
		}
		time.Sleep(200 * time.Millisecond)
		if warm() {
			seen = append(seen, s.consumes(t))
		}
	}

	p.clearml.Heal()
	want, got := map[string][]string{}, map[string][]string{}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Second) {
		for _, team := range teams {
			want[team], got[team] = nil, slices.Sorted(slices.Values(p.clearml.Members(team)))
			for _, name := range slices.Sorted(slices.Values(in[team])) {
				want[team] = append(want[team], "cm-"+name)
			}
		}
		if cmp.Equal(want, got) {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("30 seconds after the last change: -Keycloak +ClearML\n%s", cmp.Diff(want, got))
			break
		}
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	n := <-passes
	t.Logf("the last pass: %s", end)
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("the daemon ended with %v", err)
	}
	first, last := most(seen[:len(seen)/2]), most(seen[len(seen)/2:])
	t.Logf("%d passes in %s; at most %+v in the first half, %+v in the second", n, *soak, first, last)
	if n < int(*soak/time.Second)/4 {
		t.Errorf("%d passes in %s", n, *soak)
	}
	if last.threads > first.threads+5 || last.descriptors > first.descriptors+5 || last.mib > first.mib*5/4+8 {
		t.Errorf("what the daemon takes has grown from %+v to %+v", first, last)
	}
}
