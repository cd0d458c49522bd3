//go:build unix && !linux

package processtest

import "syscall"

// ownGroup puts the program into its own process group. On Linux the kernel also ends the program
// if the test binary is killed. Other systems cannot do so, and the program goes on running.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
