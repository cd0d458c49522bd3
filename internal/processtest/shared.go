package processtest

import (
	"fmt"
	"os"
	"sync"
	"testing"
)

// Shared is one server that all tests of a binary share.
type Shared[S any] struct {
	Name  string // the name of the server, for errors
	Start func() (S, error)
	Stop  func(S) error

	once    sync.Once
	server  S
	err     error
	started bool
}

// Get returns the server, and starts it at the first call. The test fails if the server could
// not be started.
func (s *Shared[S]) Get(tb testing.TB) S {
	tb.Helper()
	s.once.Do(func() {
		s.server, s.err = s.Start()
		s.started = s.err == nil
	})
	if s.err != nil {
		tb.Fatalf("starting %s: %v", s.Name, s.err)
	}
	return s.server
}

// Main runs the tests, stops the server if one was started, and returns the exit code.
func (s *Shared[S]) Main(m interface{ Run() int }) int {
	code := m.Run()
	if !s.started {
		return code
	}
	if err := s.Stop(s.server); err != nil {
		fmt.Fprintf(os.Stderr, "stopping %s: %v\n", s.Name, err)
		return max(code, 1)
	}
	return code
}
