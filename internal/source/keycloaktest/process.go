package keycloaktest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is a program that was started in a process group of its own. It
// does not outlive the test binary.
type process struct {
	pid  int
	log  string        // file of its output
	done chan struct{} // closed when it has ended
}

// spawn starts the program with its output going to the file log.
func spawn(log string, env []string, program string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = ownGroup()
	p := &process{log: log, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel ends the program when the thread that started it ends:
		// the thread must wait for it, and nothing else may end the thread.
		runtime.LockOSThread()
		defer out.Close()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		p.pid = cmd.Process.Pid
		started <- nil
		cmd.Wait() // how it ended is in its log
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// signal sends the signal to the process group; an ended one gets none.
func (p *process) signal(s syscall.Signal) error {
	if p.ended() {
		return nil
	}
	if err := syscall.Kill(-p.pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal %v to process group %d: %w", s, p.pid, err)
	}
	return nil
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// end asks the process to end (a paused one too) and kills it if it has not
// within the time.
func (p *process) end(within time.Duration) error {
	if err := errors.Join(p.signal(syscall.SIGTERM), p.signal(syscall.SIGCONT)); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(within):
		return p.kill()
	}
}

// kill ends the process at once.
func (p *process) kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// await calls ready until it is true, and fails with the end of the process's
// output when the process ends or the time is up.
func (p *process) await(within time.Duration, ready func() bool) error {
	deadline := time.Now().Add(within)
	for !ready() {
		switch {
		case p.ended():
			return fmt.Errorf("it ended before it was ready:\n%s", p.tail())
		case time.Now().After(deadline):
			return fmt.Errorf("it was not ready within %v:\n%s", within, p.tail())
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}

func (p *process) tail() []byte {
	out, err := os.ReadFile(p.log)
	if err != nil {
		return []byte(err.Error())
	}
	lines := bytes.SplitAfter(out, []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-20):], nil)
}
