package processtest

import (
	"io/fs"
	"os"
	"os/exec"
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

// Groupsync builds groupsync from the module in the directory root, as people build it, and returns
// the path of the program. The sources, and the versions of the modules, are Inputs of the test.
func Groupsync(tb testing.TB, root string) string {
	tb.Helper()
	for _, name := range []string{"cmd", "internal", "go.mod", "go.sum"} {
		Inputs(tb, filepath.Join(root, name))
	}
	program := filepath.Join(tb.TempDir(), "groupsync")
	build := exec.Command("go", "build", "-o", program, "./cmd/groupsync")
	build.Dir = root
	Output(tb, build)
	return program
}
