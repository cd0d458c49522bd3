package processtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Inputs reads every file below the directory. go test caches a result by the files that the
// test itself reads. It does not see files that only another program reads, and would repeat
// an old result after they changed.
func Inputs(tb testing.TB, dir string) {
	tb.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			_, err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
}
