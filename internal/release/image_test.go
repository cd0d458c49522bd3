package release

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The version and the source that the test's images are built with.
const (
	version = "v0.0.0-test"
	source  = "https://git.example.com/groupsync"
)

// revision is the commit that is tested.
func revision(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(command(t, root, "git", "rev-parse", "HEAD"))
}

var host = "linux/" + runtime.GOARCH

// TestImage builds the image, checks everything in it, and runs it with the least privileges.
func TestImage(t *testing.T) {
	b := newBuilder(t)
	id := b.build(t, root, host, "groupsync:test")

	t.Run("it is the same image from another checkout", func(t *testing.T) {
		other := checkout(t)
		write(t, filepath.Join(other, "cmd", "groupsync", "rubbish_test.go"), "not Go")
		if again := b.build(t, other, host, "groupsync:again"); again != id {
			t.Errorf("built twice: %s and %s", id, again)
		}
	})
	t.Run("it says what it is", func(t *testing.T) { b.holdsConfig(t, "groupsync:test") })
	t.Run("it holds the binary and the certificates only", func(t *testing.T) { b.holdsFiles(t, "groupsync:test") })
	t.Run("its binary is the one that is built outside", func(t *testing.T) {
		got, want := digest(t, filepath.Join(b.mount(t, "groupsync:test"), "groupsync")), digest(t, binary(t))
		if got != want {
			t.Errorf("the image's binary has the digest %s, the one that GoReleaser's flags build %s", got, want)
		}
	})
	t.Run("it is built for another processor without running it", func(t *testing.T) {
		other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
		b.build(t, small(t), "linux/"+other, "groupsync:other")
		machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[other]
		if got := program(t, filepath.Join(b.mount(t, "groupsync:other"), "groupsync")).Machine; got != machine {
			t.Errorf("the binary is for %s, want %s", got, machine)
		}
		if c := b.inspect(t, "groupsync:other"); c.Architecture != other || c.OS != "linux" {
			t.Errorf("the image says %s/%s, want linux/%s", c.OS, c.Architecture, other)
		}
	})
	t.Run("it runs with nothing", func(t *testing.T) { b.runs(t, "groupsync:test") })
	t.Run("the daemon runs with nothing", func(t *testing.T) { b.daemon(t, "groupsync:test") })
}

// checkout returns another directory with everything that a build needs, with new file times.
func checkout(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, part := range []string{"cmd", "internal", "examples"} {
		if err := os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join(root, part))); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"Dockerfile", ".dockerignore", "go.mod", "go.sum"} {
		write(t, filepath.Join(dir, file), read(t, file))
	}
	return dir
}

// small returns a context with a program of one line in the place of groupsync. groupsync
// takes minutes to compile for another processor, and the test is only about the Dockerfile.
func small(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"Dockerfile": read(t, "Dockerfile"), ".dockerignore": read(t, ".dockerignore"),
		"go.mod": "module groupsync\n\ngo 1.26\n", "go.sum": "",
		"cmd/groupsync/main.go": "package main\n\nfunc main() {}\n", "internal/none.go": "package none\n", "examples/realm/none.go": "package none\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, path, text)
	}
	return dir
}

func (b *builder) holdsConfig(t *testing.T, image string) {
	got := b.inspect(t, image)
	delete(got.Config.Labels, "io.buildah.version")
	var want imageConfig
	want.Architecture, want.OS = runtime.GOARCH, "linux"
	want.Config.User = "65532:65532"
	want.Config.Entrypoint = []string{"/groupsync"}
	want.Config.Cmd = []string{"--config", "/etc/groupsync/config/config.yaml"}
	want.Config.ExposedPorts = map[string]struct{}{"8080/tcp": {}}
	want.Config.Labels = map[string]string{
		"org.opencontainers.image.title":       "groupsync",
		"org.opencontainers.image.description": "Keeps ClearML Enterprise user groups equal to Keycloak group membership",
		"org.opencontainers.image.source":      source,
		"org.opencontainers.image.version":     version,
		"org.opencontainers.image.revision":    revision(t),
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// holdsFiles checks that the image has only two files and the directory of the state. None of
// them is setuid, and the binary needs no other file.
func (b *builder) holdsFiles(t *testing.T, image string) {
	dir := b.mount(t, image)
	var got []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, dir)
		if name == "/var/lib/groupsync" || !d.IsDir() {
			got = append(got, fmt.Sprintf("%s %s %d", name, info.Mode(), info.Sys().(*syscall.Stat_t).Uid))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	want := []string{
		"/etc/ssl/certs/ca-certificates.crt -rw-r--r-- 0",
		"/groupsync -rwxr-xr-x 0",
		"/var/lib/groupsync drwxr-xr-x 65532",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	p := program(t, filepath.Join(dir, "groupsync"))
	for _, part := range p.Progs {
		if part.Type == elf.PT_INTERP {
			t.Error("the binary is linked dynamically")
		}
	}
}

// program reads the header of an executable.
func program(t *testing.T, path string) *elf.File {
	t.Helper()
	p, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// binary builds the program outside of any image, with the flags of .goreleaser.yaml.
func binary(t *testing.T) string {
	t.Helper()
	build := goreleaser(t).Builds[0]
	flags := strings.NewReplacer("v{{ .Version }}", version, "{{ .FullCommit }}", revision(t)).Replace(strings.Join(build.Ldflags, " "))
	path := filepath.Join(t.TempDir(), "groupsync")
	args := append([]string{"build"}, build.Flags...)
	cmd := exec.Command("go", append(args, "-ldflags", flags, "-o", path, "./"+build.Main)...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), build.Env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return path
}

func digest(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))
}

func (b *builder) runs(t *testing.T, image string) {
	if got, want := b.run(t, b.podman(sandbox("--rm", image, "version")...)), fmt.Sprintf("groupsync %s (%s)\n", version, revision(t)); got != want {
		t.Errorf("version prints %q, want %q", got, want)
	}
	// The demo has both sides and the passes inside.
	if got := b.run(t, b.podman(sandbox("--rm", image, "demo", "--exit")...)); !strings.Contains(got, "The metrics of these passes") {
		t.Errorf("the demo prints\n%s", got)
	}
	cmd := b.podman(sandbox("--rm", "--entrypoint", "/bin/sh", image, "-c", "true")...)
	if out, err := cmd.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("stat /bin/sh: no such file or directory")) {
		t.Errorf("/bin/sh in the image: %v\n%s", err, out)
	}
}

// daemon runs the image as README does, with only a configuration. It checks the process from
// outside, and ends it.
func (b *builder) daemon(t *testing.T, image string) {
	dir := t.TempDir()
	const config = `keycloak: {url: "http://127.0.0.1:1", realm: clearml, client_secret: s}
clearml: {url: "http://127.0.0.1:1", access_key: a, secret_key: k}
state_dir: /var/lib/groupsync
`
	write(t, filepath.Join(dir, "config.yaml"), config)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	id := strings.TrimSpace(b.run(t, b.podman(sandbox("-d", "-v", dir+":/etc/groupsync/config:ro", "-v", "state:/var/lib/groupsync", image)...)))
	defer func() {
		if out, err := b.podman("rm", "-f", "-v", id).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}()
	b.await(t, id)
	pid := strings.TrimSpace(b.run(t, b.podman("inspect", "-f", "{{.State.Pid}}", id)))
	holdPrivileges(t, pid)
	b.run(t, b.podman("stop", "-t", "20", id))
	if code := strings.TrimSpace(b.run(t, b.podman("inspect", "-f", "{{.State.ExitCode}}", id))); code != "0" {
		t.Errorf("stopped with SIGTERM, it exits with %s\n%s", code, b.logs(id))
	}
	var volumes []struct{ Mountpoint string }
	if err := json.Unmarshal([]byte(b.run(t, b.podman("volume", "inspect", "state"))), &volumes); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(volumes[0].Mountpoint)
	if err != nil {
		t.Fatal(err)
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 65532 {
		t.Errorf("the volume of the state belongs to %d, want 65532", uid)
	}
}

// await waits until the health check of the container succeeds.
func (b *builder) await(t *testing.T, id string) {
	t.Helper()
	var out []byte
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		var err error
		if out, err = b.podman("exec", id, "/groupsync", "health", "http://127.0.0.1:8080/healthz").CombinedOutput(); err == nil {
			return
		}
	}
	t.Fatalf("it is not healthy: %s\n%s", out, b.logs(id))
}

func (b *builder) logs(id string) string {
	out, _ := b.podman("logs", id).CombinedOutput() // for a failure that the test has already reported
	return string(out)
}

// holdPrivileges checks the privileges of the process by its status in the kernel.
func holdPrivileges(t *testing.T, pid string) {
	t.Helper()
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]string{
		"Uid": "65532 65532 65532 65532", "Gid": "65532 65532 65532 65532", "NoNewPrivs": "1",
		"CapPrm": "0000000000000000", "CapEff": "0000000000000000", "CapBnd": "0000000000000000",
	} {
		m := regexp.MustCompile(`(?m)^` + field + `:\s+(.*)$`).FindSubmatch(status)
		if m == nil || strings.Join(strings.Fields(string(m[1])), " ") != want {
			t.Errorf("%s of the process is %q, want %s", field, m, want)
		}
	}
	mounts, err := os.ReadFile("/proc/" + pid + "/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^\S+ \S+ \S+ \S+ / ro[, ]`).Match(mounts) {
		t.Errorf("the root can be written:\n%s", mounts)
	}
}
