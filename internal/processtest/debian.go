package processtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Install makes sure that the programs are on the PATH. If a program is missing, Install installs
// the Debian packages. It needs apt-get and root for that. Without them it returns an error that
// says what to do. what names the part of the tests that needs the programs, for the error.
func Install(what string, programs []string, packages ...string) error {
	have := func() bool {
		for _, p := range programs {
			if _, err := exec.LookPath(p); err != nil {
				return false
			}
		}
		return true
	}
	if have() {
		return nil
	}
	// Two test binaries can need packages at the same time, and apt-get does not wait for another
	// apt-get.
	unlock, err := Lock(filepath.Join(os.TempDir(), "groupsync-apt.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if have() {
		return nil
	}
	all := strings.Join(packages, " ")
	advice := fmt.Errorf("%s needs %s on the PATH: install them (Debian: apt-get install %s, with /usr/sbin on the PATH), or run go test -short",
		what, strings.Join(programs, " and "), all)
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return advice
	}
	if out, err := exec.Command("sh", "-c", installScript+all).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: apt-get: %w\n%s", advice, err, out)
	}
	return nil
}

// installScript installs the packages whose names are appended to the script. A file policy-rc.d
// that exits with 101 keeps packages from starting their services. If the machine already has such
// a file, as containers do, the script leaves it alone.
const installScript = `set -e
export DEBIAN_FRONTEND=noninteractive
p=/usr/sbin/policy-rc.d
if ! test -e $p; then
	printf '#!/bin/sh\nexit 101\n' >$p
	chmod +x $p
	trap "rm -f $p" EXIT
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 `

// Lock waits for the exclusive lock of the file at path, and takes it. The returned function
// releases the lock.
func Lock(path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the lock %s: %w", path, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("the lock %s: %w", path, err)
	}
	return func() { _ = f.Close() }, nil
}
