// Package debian brings programs that tests run for real and that Debian
// packages: an LDAP server, a builder of images.
package debian

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Install makes sure that the programs are on the PATH, by installing the
// packages where one is not and the test runs as root on Debian. Elsewhere the
// error says what to install. Test binaries that run side by side take turns,
// and a service that a package brings is kept from starting.
func Install(programs []string, packages ...string) error {
	if have(programs) {
		return nil
	}
	unlock, err := lock(filepath.Join(os.TempDir(), "groupsync-debian.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if have(programs) {
		return nil
	}
	advice := fmt.Sprintf("the test needs %s, which are not all on the PATH: install them (Debian: apt-get install %s, with /usr/sbin on the PATH), or run go test -short",
		strings.Join(programs, ", "), strings.Join(packages, " "))
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return errors.New(advice)
	}
	if out, err := exec.Command("sh", append([]string{"-c", script, "sh"}, packages...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", advice, err, out)
	}
	if !have(programs) {
		return errors.New(advice)
	}
	return nil
}

func have(programs []string) bool {
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			return false
		}
	}
	return true
}

// A policy-rc.d that exits 101 denies services their start; one that is there
// already, as in containers, is the machine's own and stays.
const script = `set -e
export DEBIAN_FRONTEND=noninteractive
p=/usr/sbin/policy-rc.d
if ! test -e $p; then
	printf '#!/bin/sh\nexit 101\n' >$p
	chmod +x $p
	trap "rm -f $p" EXIT
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"`

// lock takes the file's exclusive lock, waiting for it, and returns its release.
func lock(path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("taking turns at installing: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("taking turns at installing: %w", err)
	}
	return func() { f.Close() }, nil
}
