// Package atomicfile replaces a file. After a crash of the process or of the machine, the file
// has either its whole old content or its whole new content.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Write writes data to the file name in the directory dir, with the given mode. If dir is
// missing, Write creates dir with mode 0700. When Write has returned nil, the file is on the
// disk. If the process is killed during Write, a temporary file can remain. Temporary returns
// the pattern of that file's name.
//
// Write syncs the data before it renames the temporary file, because a file system may store the
// new name before the data. Write syncs the directory after the rename. Otherwise a crash of the
// machine could undo the rename.
func Write(dir, name string, data []byte, mode fs.FileMode) error {
	if err := makeDir(dir); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, Temporary(name))
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is no temporary file, and the error of Remove is ignored
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}

// Remove removes the file name in the directory dir. A missing file is no error. When Remove
// has returned nil, a crash does not bring the file back.
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

// Temporary returns the pattern, in the syntax of path.Match, of the temporary files that
// Write creates for a file name.
func Temporary(name string) string { return "." + name + ".*" }

// makeDir creates the directory and its missing parents, with mode 0700. It syncs the parent of
// each new directory, so that a crash of the machine does not remove the directory.
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

// syncDir syncs a directory, so that new and removed names in the directory are on the disk. Some
// file systems cannot sync a directory, and return EINVAL. syncDir ignores that error.
func syncDir(dir string) error {
	d, err := os.Open(dir) // #nosec G304 -- the directory of a file that groupsync writes
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("the change of the directory %s may not be on the disk: %w", dir, err)
	}
	return nil
}
