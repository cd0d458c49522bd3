package keycloaktest

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"groupsync/internal/processtest"
)

// Version is the release of Keycloak that is started if neither Options nor
// KEYCLOAK_VERSION name another.
const Version = "26.7.3"

// version returns the release that the server is of. KEYCLOAK_VERSION replaces the
// default only: a test that names a release is about that release.
func (o Options) version() string {
	return cmp.Or(o.Version, os.Getenv("KEYCLOAK_VERSION"), Version)
}

// Older releases that the tests know to start. Each is fetched and built at its
// first use on a machine, which takes a minute.
const (
	Version260 = "26.0.8"
	Version24  = "24.0.5"
)

// Older returns the older releases that a test is to start by itself: the one that
// KEYCLOAK_VERSION names if it is older than Version, and nothing if that is Version.
func Older() []string {
	switch v := (Options{}).version(); {
	case os.Getenv("KEYCLOAK_VERSION") == "":
		return []string{Version260, Version24}
	case v == Version:
		return nil
	default:
		return []string{v}
	}
}

// prepared returns the directory of a distribution of o.Version that is built for
// o, and beside it the data of a server that has been started once:
//
//	dist/  bin, conf, lib, providers, themes: shared by all servers, never written again
//	data/  a database with the master realm and its administrator: copied for each server
//
// It is made once a machine, under a lock, and appears by a rename, so that
// test binaries may run side by side and one that is killed leaves nothing that
// another would take for whole.
func prepared(o Options) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place to keep Keycloak: %w; set HOME or XDG_CACHE_HOME", err)
	}
	cache = filepath.Join(cache, "groupsync")
	if err := os.MkdirAll(cache, 0o750); err != nil {
		return "", fmt.Errorf("no place to keep Keycloak: %w", err)
	}
	// Keycloak 24 reads a + in its own path as a space.
	name := "keycloak-" + o.Version + strings.ReplaceAll(o.Path, "/", "-") + "-" + storageVersion()
	dir := filepath.Join(cache, name)
	// A release that is there need not wait for another one that is being made.
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	var data string // a database with nothing but the master realm is the same under every path
	if o.Path != "" {
		plain, err := prepared(Options{Version: o.Version})
		if err != nil {
			return "", err
		}
		data = filepath.Join(plain, "data")
	}
	unlock, err := processtest.Lock(filepath.Join(cache, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	// Whoever left one was killed: only the lock's holder makes them.
	left, err := filepath.Glob(filepath.Join(cache, "new-*"))
	if err != nil {
		return "", err
	}
	for _, dir := range left {
		if err := os.RemoveAll(dir); err != nil {
			return "", fmt.Errorf("removing a half made Keycloak: %w", err)
		}
	}
	work, err := os.MkdirTemp(cache, "new-")
	if err != nil {
		return "", fmt.Errorf("no place to unpack Keycloak: %w", err)
	}
	defer os.RemoveAll(work)
	if err := prepare(work, data, o); err != nil {
		return "", err
	}
	return dir, os.Rename(work, dir)
}

// prepare fills work with dist and data. The data is a copy of the given directory, or
// else what a first start makes.
func prepare(work, data string, o Options) error {
	zip, err := download(o.Version)
	if err != nil {
		return err
	}
	if err := run("unzip", "-q", zip, "-d", work); err != nil {
		return err
	}
	dist := filepath.Join(work, "dist")
	if err := os.Rename(filepath.Join(work, "keycloak-"+o.Version), dist); err != nil {
		return err
	}
	build := []string{"build", "--db=dev-file", "--health-enabled=true"}
	if o.Path != "" {
		build = append(build, "--http-relative-path="+o.Path)
	}
	if o.before(2500) {
		build = append(build, localCache)
	}
	if err := buildStorage(dist); err != nil {
		return err
	}
	if err := run(filepath.Join(dist, "bin", "kc.sh"), build...); err != nil {
		return err
	}
	if data != "" {
		return os.CopyFS(filepath.Join(work, "data"), os.DirFS(data))
	}
	// The first start makes the database, which takes longer than all the rest.
	first, err := launch(dist, filepath.Join(work, "first"), Options{Path: o.Path, Version: o.Version})
	if err != nil {
		return err
	}
	if err := first.shutdown(); err != nil {
		return err
	}
	return os.Rename(filepath.Join(first.home, "data"), filepath.Join(work, "data"))
}

// download returns the path of the distribution in Maven's local repository,
// fetching it where it is not there yet.
func download(version string) (string, error) {
	for program, pkg := range map[string]string{"java": "openjdk-17-jdk-headless", "javac": "openjdk-17-jdk-headless", "mvn": "maven", "unzip": "unzip"} {
		if _, err := exec.LookPath(program); err != nil {
			return "", fmt.Errorf("the real Keycloak needs %s, which is not on the PATH: install it (Debian: apt-get install %s), or run go test -short", program, pkg)
		}
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("looking for the local repository of Maven: %w; set HOME", err)
	}
	zip := filepath.Join(home, ".m2", "repository", "org", "keycloak", "keycloak-quarkus-dist", version,
		"keycloak-quarkus-dist-"+version+".zip")
	if _, err := os.Stat(zip); !errors.Is(err, fs.ErrNotExist) {
		return zip, err
	}
	artifact := "org.keycloak:keycloak-quarkus-dist:" + version + ":zip"
	if err := run("mvn", "-q", "dependency:get", "-Dartifact="+artifact, "-Dtransitive=false"); err != nil {
		return "", err
	}
	if _, err := os.Stat(zip); err != nil {
		return "", fmt.Errorf("fetching %s: it is not where Maven puts it: %w", artifact, err)
	}
	return zip, nil
}

func run(program string, args ...string) error {
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(program), strings.Join(args, " "), err, out)
	}
	return nil
}
