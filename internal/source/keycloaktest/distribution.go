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

// Version is the release of Keycloak that tests use, unless Options.Version or the environment
// variable KEYCLOAK_VERSION names another release.
const Version = "26.7.3"

// version returns the release to start. If o.Version is set, the environment variable
// KEYCLOAK_VERSION has no effect, because the test is about this one release.
func (o Options) version() string {
	return cmp.Or(o.Version, os.Getenv("KEYCLOAK_VERSION"), Version)
}

// Older releases for tests. Each release is fetched and built at its first use on a machine,
// which takes a minute.
const (
	Version260 = "26.0.8"
	Version24  = "24.0.5"
)

// Older returns the releases on which a test about older releases must run. If KEYCLOAK_VERSION
// is not set, these are Version260 and Version24. If KEYCLOAK_VERSION names Version, Older
// returns nil. If KEYCLOAK_VERSION names another release, Older returns only that release.
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

// prepared returns a directory with two parts:
//
//	dist/  the distribution of o.Version, built for o; all servers share it and do not change it
//	data/  a database with the master realm and its administrator; each server gets a copy
//
// prepared makes the directory once on a machine. Meanwhile it holds a lock, because several test
// binaries can run at the same time. The directory gets its final name as the last step. So if a
// test binary is killed, no other test binary uses an incomplete directory.
func prepared(o Options) (string, error) {
	cache, err := cacheDir("")
	if err != nil {
		return "", err
	}
	// The name must not contain a +, because Keycloak 24 reads a + in its own path as a space.
	name := "keycloak-" + o.Version + strings.ReplaceAll(o.Path, "/", "-") + "-" + storageVersion()
	dir := filepath.Join(cache, name)
	// This check comes before the lock: if the directory exists, the test need not wait while
	// another process prepares another release.
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	// data is the directory of a database to copy, or "". The database with only the master realm
	// is the same for every Options.Path. So for a Path, prepare copies the database that was made
	// for the server without a Path.
	var data string
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
	// Only the process that holds the lock makes directories with these names. So an existing
	// directory was left by a process that was killed.
	left, err := filepath.Glob(filepath.Join(cache, "new-*"))
	if err != nil {
		return "", err
	}
	for _, dir := range left {
		if err := os.RemoveAll(dir); err != nil {
			return "", fmt.Errorf("removing an incomplete copy of Keycloak: %w", err)
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

// cacheDir returns the directory with the given path below groupsync's part of the user's cache
// directory. If it does not exist, cacheDir makes it.
func cacheDir(path string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place to keep Keycloak: %w; set HOME or XDG_CACHE_HOME", err)
	}
	dir := filepath.Join(cache, "groupsync", path)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", fmt.Errorf("no place to keep Keycloak: %w", err)
	}
	return dir, nil
}

// prepare creates the directories dist and data in the directory work. If the argument data is
// the path of a directory, prepare copies that directory. If the argument is empty, prepare starts
// the server once, and the server creates the database.
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
	// The first start creates the database, and takes most of the time of prepare.
	first, err := launch(dist, filepath.Join(work, "first"), Options{Path: o.Path, Version: o.Version})
	if err != nil {
		return err
	}
	if err := first.shutdown(); err != nil {
		return err
	}
	return os.Rename(filepath.Join(first.home, "data"), filepath.Join(work, "data"))
}

// download returns the path of the distribution's zip file in Maven's local repository. If the
// file does not exist, download fetches it.
func download(version string) (string, error) {
	for program, pkg := range map[string]string{"java": "openjdk-17-jdk-headless", "javac": "openjdk-17-jdk-headless", "mvn": "maven", "unzip": "unzip"} {
		if _, err := exec.LookPath(program); err != nil {
			return "", fmt.Errorf("the real Keycloak needs %s, and the PATH does not have this program. Install it (Debian: apt-get install %s), or run go test -short", program, pkg)
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
		return "", fmt.Errorf("fetching %s: the file is not where Maven stores artifacts: %w", artifact, err)
	}
	return zip, nil
}

func run(program string, args ...string) error {
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(program), strings.Join(args, " "), err, out)
	}
	return nil
}
