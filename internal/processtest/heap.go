package processtest

import (
	"runtime"
	"time"
)

// WatchHeap collects garbage and then samples the heap of this process every 5 ms. The returned
// function stops the sampling and returns the most heap that was in use, in MB.
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
