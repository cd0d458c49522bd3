package daemon

import (
	"fmt"
	"runtime/debug"
)

// Recovered calls f and returns the error of f. If f panics, Recovered returns an error with the
// panic and its stack.
func Recovered(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a fault in groupsync: %v: report it with these lines\n\n%s", p, debug.Stack())
		}
	}()
	return f()
}
