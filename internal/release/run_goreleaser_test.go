//go:build release

package release

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"groupsync/internal/processtest"
)

// TestGoReleaser lets GoReleaser check its configuration and build the program for this
// machine. The checkout has a remote, as in a forge.
func TestGoReleaser(t *testing.T) {
	program, helm := processtest.Tool(t, "GORELEASER"), processtest.Tool(t, "HELM")
	dir := checkout(t)
	write(t, filepath.Join(dir, ".goreleaser.yaml"), read(t, ".goreleaser.yaml"))
	if err := os.CopyFS(filepath.Join(dir, "charts"), os.DirFS(filepath.Join(root, "charts"))); err != nil {
		t.Fatal(err)
	}
	command(t, dir, "git", "init", "-q")
	command(t, dir, "git", "remote", "add", "origin", "https://github.com/example/groupsync.git")
	command(t, dir, "git", "add", "-A")
	command(t, dir, "git", "-c", "user.name=test", "-c", "user.email=test@example.com", "commit", "-q", "-m", "all")
	bin := filepath.Join(t.TempDir(), "bin")
	place(t, helm, filepath.Join(bin, "helm"))
	run := func(args ...string) {
		cmd := exec.Command(program, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "IMAGE_REPOSITORY=registry.example.com/us/groupsync", "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("goreleaser %v: %v\n%s", args, err, out)
		}
	}
	run("check")
	run("build", "--snapshot", "--single-target")

	built, err := filepath.Glob(filepath.Join(dir, "dist", "groupsync_"+runtime.GOOS+"_"+runtime.GOARCH+"*", "groupsync"))
	if err != nil || len(built) != 1 {
		t.Fatalf("it has built %v: %v", built, err)
	}
	commit := strings.TrimSpace(command(t, dir, "git", "rev-parse", "HEAD"))
	if got, want := command(t, dir, built[0], "version"), "groupsync v0.0.1-snapshot ("+commit+")\n"; got != want {
		t.Errorf("version prints %q, want %q", got, want)
	}
	chart := filepath.Join("build", "chart", "groupsync-0.0.1-snapshot.tgz")
	rendered := command(t, dir, helm, "template", "release", chart, "-f", filepath.Join("charts", "groupsync", "testdata", "shapes", "observe.yaml"))
	if want := "image: registry.example.com/us/groupsync:0.0.1-snapshot\n"; !strings.Contains(rendered, want) {
		t.Errorf("the packed chart has no %s\n%s", want, rendered)
	}
}
