package processtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Inputs reads every file below the directory dir, so that go test does not repeat a cached result
// after one of these files has changed. go test notices only changes of files that the test binary
// itself reads, and not of files that a program reads for the test.
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
