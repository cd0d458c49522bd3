package processtest

import (
	"runtime"
	"time"
)

// WatchHeap collects garbage, then looks at this process's heap until the function that
// WatchHeap returns is called. That function returns the most that was in use, in MB.
func WatchHeap() func() float64 {
	runtime.GC()
	done, most := make(chan struct{}), make(chan uint64)
	go func() {
		var peak uint64
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapInuse)
			select {
			case <-done:
				most <- peak
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() float64 { close(done); return float64(<-most) / 1e6 }
}
