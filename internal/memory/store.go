package memory

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
)

// Dir keeps the memory in a directory, state_dir. Several processes may share it,
// such as a daemon and the `--once --apply` of a person.
type Dir string

// Load returns the memory that was saved last, or the zero Memory if none was saved.
func (d Dir) Load() (Memory, error) { return load(string(d)) }

// Save replaces the saved memory in one step.
func (d Dir) Save(m Memory) error { return save(string(d), m) }

// Lock prevents passes of other processes with the same directory, until release is called. It
// does not wait: if another pass is running, Lock returns an error that says so.
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
		return nil, fmt.Errorf("another pass is running with the state_dir %s, so this pass was not made: try again when the other pass has ended (%w)", d, err)
	}
	return func() { _ = f.Close() }, nil // closing the file releases the lock
}

// Process keeps the memory only for the life of the process. Load and Save are safe for
// concurrent use. Lock keeps other processes out only if NewProcess made the Process. The zero
// Process lets other processes make passes at the same time.
type Process struct {
	mu         sync.Mutex // protects memory and suspension, because a look at one person may load while a pass saves
	memory     Memory
	suspension Suspension
	clearml    string // ClearML's URL: Lock prevents passes of other processes that have this URL; empty: Lock does nothing
}

// NewProcess returns a Process with a lock: Lock prevents passes of other processes on this
// machine that have the same ClearML URL.
func NewProcess(clearmlURL string) *Process { return &Process{clearml: clearmlURL} }

// Move changes the ClearML URL that Lock uses, after a change of the configuration. No pass
// may run during the call.
func (p *Process) Move(clearmlURL string) { p.clearml = clearmlURL }

// Load returns the memory that was saved last.
func (p *Process) Load() (Memory, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.memory, nil
}

// Save keeps the memory.
func (p *Process) Save(m Memory) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.memory = m
	return nil
}

// Lock prevents passes of other processes until release is called. It binds an abstract Unix
// socket whose name contains a hash of ClearML's URL. Such a socket needs no file system, and
// the kernel frees it when the process ends. Lock does not wait: if another pass is running,
// it returns an error that says so. Only Linux has abstract sockets; on other systems Lock
// does nothing.
func (p *Process) Lock() (release func(), err error) {
	if p.clearml == "" || runtime.GOOS != "linux" {
		return func() {}, nil
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket(p.clearml), Net: "unix"})
	if err == nil {
		return func() { _ = l.Close() }, nil
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, errors.New("another groupsync on this machine is making a pass for the same clearml.url, so this pass was not made: try again when the other pass has ended; if the two synchronize different groups and may run at the same time, give each its own state_dir or lease.name")
	}
	return nil, fmt.Errorf("locking out other passes on this machine: %w: set state_dir or lease.name, which lock in another way", err)
}

// socket returns the name of the abstract socket for one ClearML. Spellings of the
// URL that name the same server give the same socket.
func socket(clearmlURL string) string {
	key := strings.TrimRight(clearmlURL, "/")
	if u, err := url.Parse(key); err == nil {
		u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
		key = u.String()
	}
	sum := sha256.Sum256([]byte(key))
	return "@groupsync-" + hex.EncodeToString(sum[:16])
}
