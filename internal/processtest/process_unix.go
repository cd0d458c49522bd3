//go:build unix && !linux

package processtest

import "syscall"

// Nothing here ends the program with a test binary that is killed; only Linux
// has that.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
