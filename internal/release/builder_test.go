// Package release holds the tests of what is released: the image, the configuration of
// GoReleaser, and the workflows. It has no other code.
package release

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"groupsync/internal/processtest"
)

const root = "../.."

// builder is a store of images for one test, and the programs that fill the store and run the
// images.
type builder struct {
	store []string // the arguments that name the store
	cache string   // what the builds keep between tests
	dir   string
}

// newBuilder returns a store with the base images of the Dockerfile. They cannot be downloaded
// here, so they are made from what this machine has: a shell, certificates, and the Go that
// runs the test.
func newBuilder(t *testing.T) *builder {
	t.Helper()
	if testing.Short() {
		t.Skip("builds an image")
	}
	if err := processtest.Install("the real builder of images", []string{"buildah", "podman", "runc"}, "buildah", "podman", "runc"); err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatalf("no place to keep what is compiled: %v; set HOME or XDG_CACHE_HOME", err)
	}
	cache = filepath.Join(cache, "groupsync", "image")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	b := &builder{dir: dir, cache: cache, store: []string{
		"--root", filepath.Join(dir, "store"), "--runroot", filepath.Join(dir, "run"), "--storage-driver", "vfs",
	}}
	// The builds download no module. They read the cache that this command fills.
	command(t, root, "go", "mod", "download")
	for _, name := range bases(t) {
		if !strings.HasPrefix(name, "golang:") {
			t.Fatalf("the Dockerfile is built on %s, for which the test makes no stand-in", name)
		}
		b.makeGolang(t, "docker.io/library/"+name)
	}
	return b
}

// bases returns the images that the Dockerfile builds on, except scratch.
func bases(t *testing.T) (names []string) {
	t.Helper()
	from := regexp.MustCompile(`(?m)^FROM (?:--platform=\S+ )?(\S+)`)
	for _, m := range from.FindAllStringSubmatch(read(t, "Dockerfile"), -1) {
		if m[1] != "scratch" {
			names = append(names, m[1])
		}
	}
	return names
}

// makeGolang makes an image with everything that a build of the Dockerfile runs, except Go.
// build mounts Go into it.
func (b *builder) makeGolang(t *testing.T, name string) {
	t.Helper()
	dir := filepath.Join(b.dir, "golang")
	for _, program := range []string{"sh", "mkdir"} {
		path, err := exec.LookPath(program)
		if err != nil {
			t.Fatal(err)
		}
		place(t, path, filepath.Join(dir, "bin", program))
		for _, lib := range regexp.MustCompile(`/\S+`).FindAllString(command(t, root, "ldd", path), -1) {
			place(t, lib, filepath.Join(dir, lib))
		}
	}
	place(t, "/etc/ssl/certs/ca-certificates.crt", filepath.Join(dir, "/etc/ssl/certs/ca-certificates.crt"))
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o777); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(b.dir, "Base")
	write(t, file, "FROM scratch\nCOPY . /\nENV PATH=/usr/local/go/bin:/bin GOTOOLCHAIN=local GOPATH=/go\n")
	b.buildah(t, "build", "--pull-never", "--isolation", "chroot", "-t", name, "-f", file, dir)
}

// build builds the Dockerfile of the context and returns the image's id, which is a digest of
// its contents. It gives Go no address to download from.
func (b *builder) build(t *testing.T, context, platform, tag string) string {
	t.Helper()
	goroot := strings.TrimSpace(command(t, root, "go", "env", "GOROOT"))
	modules := strings.TrimSpace(command(t, root, "go", "env", "GOMODCACHE"))
	return strings.TrimSpace(b.buildah(t, "build", "-q", "--no-cache", "--pull-never", "--isolation", "chroot", "--network", "host",
		"--timestamp", "0", "--platform", platform, "-t", tag, "--build-arg", "BUILDPLATFORM="+host,
		"--build-arg", "GOPROXY=file:///modules", "--build-arg", "GOSUMDB=off",
		"--build-arg", "VERSION="+version, "--build-arg", "REVISION="+revision(t), "--build-arg", "SOURCE="+source,
		"-v", goroot+":/usr/local/go:ro", "-v", filepath.Join(modules, "cache", "download")+":/modules:ro", context))
}

func (b *builder) buildah(t *testing.T, args ...string) string {
	t.Helper()
	return b.run(t, exec.Command("buildah", b.with(args[0], args[1:])...))
}

// with adds the arguments of the store after the command, where buildah accepts them. podman
// needs them before its command.
func (b *builder) with(command string, args []string) []string {
	return append(append([]string{command}, b.store...), args...)
}

// podman returns the command. The runtime runc works with every version of cgroups.
func (b *builder) podman(args ...string) *exec.Cmd {
	return exec.Command("podman", append(append([]string{"--cgroup-manager", "cgroupfs", "--runtime", "runc"}, b.store...), args...)...)
}

// sandbox returns the arguments of a run with a read-only root, no capabilities, no network
// and no new privileges. The limits are lower than those that a test may have, because podman
// would raise them.
func sandbox(args ...string) []string {
	return append([]string{
		"run", "--pull", "never", "--read-only", "--read-only-tmpfs=false", "--cap-drop", "all", "--network", "none",
		"--security-opt", "no-new-privileges", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000",
	}, args...)
}

// run runs the command and returns its stdout.
func (b *builder) run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = append(os.Environ(), "TMPDIR="+b.cache) // buildah keeps its cache mounts there
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd.Args, err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// inspect returns the image's configuration.
func (b *builder) inspect(t *testing.T, image string) (c imageConfig) {
	t.Helper()
	var o struct{ OCIv1 imageConfig }
	if err := json.Unmarshal([]byte(b.buildah(t, "inspect", "--type", "image", image)), &o); err != nil {
		t.Fatal(err)
	}
	return o.OCIv1
}

type imageConfig struct {
	Architecture, OS string
	Config           struct {
		User            string
		Entrypoint, Cmd []string
		ExposedPorts    map[string]struct{}
		Labels          map[string]string
	}
}

// mount mounts the files of the image until the test ends, and returns the directory.
func (b *builder) mount(t *testing.T, image string) string {
	t.Helper()
	container := strings.TrimSpace(b.buildah(t, "from", "--pull-never", image))
	t.Cleanup(func() { b.buildah(t, "rm", container) })
	return strings.TrimSpace(b.buildah(t, "mount", container))
}

// command runs a program in a directory and returns its stdout.
func command(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	return processtest.Output(t, cmd)
}

// place copies a file with its mode. It makes the directory if it does not exist.
func place(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, info.Mode().Perm()); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// read returns a file of the repository.
func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
