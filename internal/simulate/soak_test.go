package simulate

import (
	"flag"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

var year = flag.Bool("year", false, "run a simulated year, which takes minutes")

// usage is what the process uses at one moment.
type usage struct {
	goroutines, descriptors, heap, memory int
}

// measure returns the usage. It first drops the log of facts, because the log grows with
// everything that happens.
func (w *world) measure() usage {
	w.log.Take()
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		open = nil // not on Linux
	}
	return usage{runtime.NumGoroutine(), len(open), int(m.HeapAlloc), w.disk.size()}
}

// TestAYearOfPassesDoesNotGrow runs one process for a year of passes, with faults and events,
// and measures it every month. Without -year it runs two months.
func TestAYearOfPassesDoesNotGrow(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	months := 2
	if *year {
		months = 12
	}
	var list []usage
	passes := 0
	synctest.Test(t, func(*testing.T) {
		s := scenario(*seed)
		s.Hours, s.People = months*30*24, 12
		// The world itself must not grow, and one process must run for the whole time.
		for _, k := range []string{"new account", "new group", "new user group", "delete account", "delete group", "delete user group", "delete user", "restart", "forget", "replicas", "import again", "rogue server"} {
			s.Off[k] = true
		}
		w := newWorld(s)
		w.base.Every = 2 * time.Hour
		w.spawn()
		go func() {
			for range months {
				time.Sleep(30*24*time.Hour - time.Minute)
				list = append(list, w.measure())
			}
		}()
		w.script(time.Now())
		w.settle()
		w.shutdown()
		passes = int(w.passes.Load())
	})
	first, last := list[0], list[len(list)-1]
	for i, u := range list {
		t.Logf("month %d: %d goroutines, %d descriptors, heap %d KiB, memory of the guards %d bytes", i+1, u.goroutines, u.descriptors, u.heap>>10, u.memory)
	}
	t.Logf("%d passes", passes)
	if last.goroutines > first.goroutines+5 {
		t.Errorf("goroutines grew from %d to %d", first.goroutines, last.goroutines)
	}
	if last.descriptors > first.descriptors+5 {
		t.Errorf("descriptors grew from %d to %d", first.descriptors, last.descriptors)
	}
	if last.heap > 2*first.heap+1<<20 {
		t.Errorf("the heap grew from %d to %d bytes", first.heap, last.heap)
	}
	if last.memory > 2*first.memory+4096 {
		t.Errorf("the stored memory of the guards grew from %d to %d bytes", first.memory, last.memory)
	}
}
