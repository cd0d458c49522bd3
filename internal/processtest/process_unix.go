//go:build unix && !linux

package processtest

import "syscall"

// Only Linux can end the program with a test binary that is killed. Elsewhere nothing does.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
