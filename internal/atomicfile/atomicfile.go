// Package atomicfile replaces a file so that a crash, of the process or of the machine,
// leaves the old file or the new one, whole.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Write writes data to the file name in the directory dir, which it makes, with mode 0700,
// if it is missing. The file has that mode. When Write has returned nil, the file is on the
// disk. A process that is killed meanwhile can leave a temporary file, of which Temporary
// tells the pattern.
//
// The order matters. The data is synced before the rename, since a file system may store
// the new name before the data. The directory is synced after the rename, since the
// rename itself is lost otherwise if the machine stops.
func Write(dir, name string, data []byte, mode fs.FileMode) error {
	if err := makeDir(dir); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, Temporary(name))
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails after the rename, as it should
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}

// Remove removes the file name in the directory dir, if it is there. When Remove has
// returned nil, a crash does not bring the file back.
func Remove(dir, name string) error {
	err := os.Remove(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}

// Temporary returns the pattern, as path.Match knows them, of the temporary files of a
// file name.
func Temporary(name string) string { return "." + name + ".*" }

// makeDir makes the directory and its parents. The name of each new one is synced, too.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := makeDir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

// syncDir stores the names in a directory on the disk. Some file systems cannot sync a
// directory and say EINVAL: they are left to their own order.
func syncDir(dir string) error {
	d, err := os.Open(dir) // #nosec G304 -- the directory of a file that groupsync writes
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("the new name in it may not be on the disk: %w", err)
	}
	return nil
}
