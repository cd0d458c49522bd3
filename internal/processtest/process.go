// Package processtest runs the real servers of the tests as processes. On Linux the processes
// end with the test binary, even if the test binary is killed.
package processtest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// Process is a program that was started in its own process group.
type Process struct {
	pid  int
	log  string        // file of its output
	done chan struct{} // closed when the program has ended
}

// Start starts the program. Its output is appended to the file log, and env is added to the
// environment.
func Start(log string, env []string, program string, args ...string) (*Process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = ownGroup()
	p := &Process{log: log, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// On Linux the kernel kills the program when the thread that started the program ends
		// (Pdeathsig). So this goroutine keeps the thread until the program has ended.
		runtime.LockOSThread()
		defer out.Close()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		p.pid = cmd.Process.Pid
		started <- nil
		_ = cmd.Wait() // the log of the program shows how the program ended
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// PID returns the process's id, which is also the id of its group.
func (p *Process) PID() int { return p.pid }

// Attach returns a Process for a process that another program has started with Start. pid is the
// process's id. Signal works as usual. Ended always returns false, and Kill never returns, because
// only the program that called Start learns of the end.
func Attach(pid int, log string) *Process {
	return &Process{pid: pid, log: log, done: make(chan struct{})}
}

// Signal sends the signal to the process group. If the process has ended, Signal does nothing.
func (p *Process) Signal(s syscall.Signal) error {
	if p.Ended() {
		return nil
	}
	if err := syscall.Kill(-p.pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal %v to process group %d: %w", s, p.pid, err)
	}
	return nil
}

// Ended reports whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// End asks the process to end, by SIGTERM. A paused process is continued for that. If the process
// has not ended within the given time, End kills the process.
func (p *Process) End(within time.Duration) error {
	if err := errors.Join(p.Signal(syscall.SIGTERM), p.Signal(syscall.SIGCONT)); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(within):
		return p.Kill()
	}
}

// Kill ends the process group at once, by SIGKILL, and waits until the process has ended.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// Await calls ready every 100 ms until ready returns true. If the process ends first, or ready is
// not true within the given time, Await returns an error with the last lines of the output.
func (p *Process) Await(within time.Duration, ready func() bool) error {
	deadline := time.Now().Add(within)
	for !ready() {
		switch {
		case p.Ended():
			return fmt.Errorf("the process ended before it was ready:\n%s", p.tail())
		case time.Now().After(deadline):
			return fmt.Errorf("the process was not ready within %v:\n%s", within, p.tail())
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}

// The ports that FreePort chooses from. They are below 32768, because Linux gives higher ports to
// outgoing connections and to listeners that ask for any port. A server that starts seconds later
// could find a higher port taken.
const (
	firstPort = 10_000
	lastPort  = 32_767
)

// FreePort returns a loopback port that nothing listens on, and that Linux gives to no
// outgoing connection.
func FreePort() (int, error) {
	var err error
	for range 100 {
		port := firstPort + rand.IntN(lastPort-firstPort+1) // #nosec G404 -- the port of a server of the tests is no secret
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("looking for a free port: %w", err)
}

func (p *Process) tail() []byte {
	out, err := os.ReadFile(p.log)
	if err != nil {
		return []byte(err.Error())
	}
	lines := bytes.SplitAfter(out, []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-20):], nil)
}
