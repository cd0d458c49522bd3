//go:build unix && !linux

package processtest

import "syscall"

// ownGroup puts the program into its own process group. Only Linux can also end the program when
// the test binary is killed. On other systems the program then goes on running.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
