package simulate

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"groupsync/internal/report"
	"groupsync/internal/simulate/chaos"
)

var (
	seeds  = flag.Int("seeds", 0, "how many schedules to run; 0: as many as fit into the time of make test")
	limit  = flag.Duration("limit", 0, "begin no schedule after that time; 0: no limit")
	seed   = flag.Uint64("seed", 1, "the first seed")
	off    = flag.String("off", "", "kinds of faults and events to switch off, separated by commas")
	focus  = flag.String("focus", "", "kinds of faults, events and features that are to happen often, separated by commas")
	hours  = flag.Int("hours", 0, "length of each schedule in hours; 0: the seed decides")
	folk   = flag.Int("people", 0, "number of people in each schedule; 0: the seed decides")
	trace  = flag.Bool("trace", false, "print what the processes log, and the faults")
	shrink = flag.Int("shrink", 150, "how many schedules may be run to make a failing one smaller")
	first  = flag.Bool("first", false, "stop at the first schedule that fails")
)

func init() {
	flag.BoolVar(&Known, "known", false, "let happen what is known to go wrong, too")
}

func scenario(seed uint64) Scenario {
	s := Scenario{Seed: seed, Hours: *hours, People: *folk, Off: set(*off), Focus: set(*focus)}
	if *trace {
		s.Trace = os.Stdout
	}
	return s
}

// set returns the words of a comma-separated list.
func set(list string) map[string]bool {
	words := make(map[string]bool)
	for _, k := range strings.Split(list, ",") {
		if k != "" {
			words[k] = true
		}
	}
	return words
}

// tally is the result of many schedules.
type tally struct {
	sometimes map[string]int
	schedules int
	passes    int
	virtual   time.Duration
	failed    []uint64
}

// runAll runs n schedules, from a seed on, on all processors. It stops when the time is up.
func runAll(t *testing.T, from uint64, n int, limit time.Duration) tally {
	// A schedule needs a few MiB and ends within a tenth of a second. With the default
	// percentage half of the time would go to the garbage collector.
	defer debug.SetGCPercent(debug.SetGCPercent(1000))
	all := tally{sometimes: make(map[string]int)}
	begin, next := time.Now(), from
	var mu sync.Mutex
	var work sync.WaitGroup
	take := func() (uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		over := limit > 0 && time.Since(begin) > limit || *first && len(all.failed) > 0
		return next - 1, next-1 < from+uint64(n) && !over
	}
	for range runtime.GOMAXPROCS(0) {
		work.Go(func() {
			for s, more := take(); more; s, more = take() {
				out := Run(t, scenario(s))
				mu.Lock()
				all.schedules++
				Merge(all.sometimes, out.Sometimes)
				all.passes += out.Passes
				all.virtual += out.Virtual
				if len(out.Violations) > 0 {
					all.failed = append(all.failed, s)
					t.Errorf("seed %d: %s", s, out.Violations[0])
				}
				mu.Unlock()
			}
		})
	}
	work.Wait()
	slices.Sort(all.failed)
	return all
}

// TestEverySchedule runs many schedules. Each must keep every law. The variable SCHEDULES says how
// many, like the flag -seeds. go test can use the cached result of a run with the variable, but not
// of one with the flag.
func TestEverySchedule(t *testing.T) {
	n, most := *seeds, *limit
	if text := os.Getenv("SCHEDULES"); n == 0 && text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatalf("SCHEDULES: %v", err)
		}
	}
	switch {
	case n > 0:
	case testing.Short():
		n = 60
	default:
		n, most = 5000, 40*time.Second
	}
	begin := time.Now()
	all := runAll(t, *seed, n, most)
	t.Logf("%d schedules, %d passes, %s of virtual time in %s; %d failed", all.schedules, all.passes, all.virtual.Round(time.Hour), time.Since(begin).Round(time.Millisecond), len(all.failed))
	if testing.Verbose() {
		for _, k := range Sorted(all.sometimes) {
			fmt.Println(all.sometimes[k], k)
		}
	}
	if all.schedules >= 2000 {
		for _, k := range missing(all.sometimes) {
			t.Errorf("in %d schedules this never happened: %s", all.schedules, k)
		}
	}
	if len(all.failed) == 0 {
		return
	}
	small := scenario(all.failed[0])
	t.Logf("replay: %s -trace", small.Command())
	small = Shrink(small, *shrink, func(s Scenario) bool { return len(Run(t, s).Violations) > 0 })
	t.Logf("a smaller one: %s -trace", small.Command())
	for _, v := range Run(t, small).Violations {
		t.Logf("%s", v)
	}
}

// missing returns what a large run must see and has not seen.
func missing(seen map[string]int) []string {
	var wanted []string
	for _, k := range chaos.Kinds {
		wanted = append(wanted, "fault "+string(k))
	}
	for _, e := range events {
		wanted = append(wanted, "event "+e.kind)
	}
	for _, g := range report.Guards {
		wanted = append(wanted, "guard "+string(g))
	}
	for _, r := range report.Results {
		wanted = append(wanted, "result "+string(r))
	}
	for _, o := range []report.Outcome{report.Planned, report.Done, report.Failed, report.Withheld} {
		wanted = append(wanted, "change "+string(o))
	}
	wanted = append(wanted, sights...)
	return slices.DeleteFunc(wanted, func(k string) bool { return seen[k] > 0 })
}

// sights are the states that a large run must reach.
var sights = []string{
	"a cache that is old", "a list hides somebody", "a list shows somebody wrongly", "a list without the people of a federation that is away",
	"a member list that the server cuts", "a standby was asked for a pass", "a token of ClearML expired during a pass", "a token of Keycloak expired during a pass",
	"a role written", "a write did more than it said", "an administrator removed", "approval granted true", "change reverted",
	"kept ambiguous", "kept local", "kept other_provider", "kept protected", "kept rekeyed", "kept self", "killed", "memory lost", "restarted", "reloaded",
	"pass of one person", "people deleted by a read while LDAP shows nobody", "people imported again under new ids",
	"people shown as disabled because their federation is away", "probe up false", "probe up true", "somebody whom only a login settles", "somebody with another role", "suspended",
	"the Lease was out of reach",
}

// TestAScheduleFollowsFromItsSeed compares the passes and the changes of two runs of one seed. It
// leaves out errors, because the seed does not decide which of two requests with one deadline ends
// first.
func TestAScheduleFollowsFromItsSeed(t *testing.T) {
	for s := range uint64(5) {
		a, b := Run(t, scenario(s+1)), Run(t, scenario(s+1))
		if a.Passes != b.Passes {
			t.Errorf("seed %d: the first run made %d passes, the second %d", s+1, a.Passes, b.Passes)
		}
		for _, k := range Sorted(a.Sometimes) {
			if strings.HasPrefix(k, "change ") && a.Sometimes[k] != b.Sometimes[k] {
				t.Errorf("seed %d: %s: %d in the first run and %d in the second", s+1, k, a.Sometimes[k], b.Sometimes[k])
			}
		}
	}
}
