package memory

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Dir keeps the memory in a directory, state_dir, which several processes may
// share: a daemon and a person who approves a plan.
type Dir string

// Load is Load of the directory.
func (d Dir) Load() (Memory, error) { return Load(string(d)) }

// Save is Save into the directory.
func (d Dir) Save(m Memory) error { return Save(string(d), m) }

// Lock keeps other processes' passes out until release is called. It does not
// wait: while another pass runs, it returns an error that says so.
func (d Dir) Lock() (release func(), err error) {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return nil, fmt.Errorf("locking state_dir: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(string(d), "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking state_dir: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		err = errors.Join(err, f.Close())
		return nil, fmt.Errorf("another pass is running with the state_dir %s: try again when it has ended (%w)", d, err)
	}
	return func() { _ = f.Close() }, nil // closing gives the lock up
}

// Process keeps the memory for the life of the process only.
type Process struct{ memory Memory }

// Load returns what was saved last.
func (p *Process) Load() (Memory, error) { return p.memory, nil }

// Save keeps the memory.
func (p *Process) Save(m Memory) error {
	p.memory = m
	return nil
}

// Lock does nothing: nobody else has the memory.
func (p *Process) Lock() (release func(), err error) { return func() {}, nil }
