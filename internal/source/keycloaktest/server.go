// Package keycloaktest starts a real Keycloak, and a real LDAP server behind it, for tests
// and benchmarks.
//
// The package fetches Keycloak's distribution with Maven, and keeps it in the user's cache
// directory (reference/keycloak-api.md). go test -short skips every test that needs Keycloak.
// If Java, Maven or unzip is missing, the test fails and says what to install. All servers
// listen on 127.0.0.1 only, and stop when the test binary ends.
package keycloaktest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"groupsync/internal/processtest"
)

// Name and password of the administrator whom Keycloak creates at its first start. The
// password may be simple, because the servers run only during tests.
const (
	adminName     = "admin"
	adminPassword = "admin"
)

// Options are the options of a server. The zero value is right for most tests.
type Options struct {
	Path    string // prefix of all paths, for example "/auth"; empty: no prefix
	Version string // release of Keycloak; empty: KEYCLOAK_VERSION of the environment, or Version

	// EscapeSlashes makes the server write a slash in a group's name as ~/ in the group's
	// path.
	EscapeSlashes bool

	node  *node // nil: the server is not part of a cluster
	brief bool  // only one test uses the server
	lent  bool  // Lend starts the server; many test binaries use the server, each with its own realms
}

// machine returns the options of the Java virtual machine. A server of only one test, and a node
// of a cluster, runs without the second JIT compiler. This saves a third of the processor time,
// because such a server ends before that compiler has an advantage.
func (o Options) machine() []string {
	switch {
	case o.brief, o.node != nil:
		return []string{"-Xmx768m", "-XX:TieredStopAtLevel=1"}
	case o.lent:
		return []string{"-Xmx1g"}
	default:
		return []string{"-Xmx768m"}
	}
}

// Server is a running Keycloak with a database of its own.
type Server struct {
	URL string // with the path prefix, without a trailing slash

	home       string // Keycloak's home directory: links to the shared distribution, and the server's own data
	options    Options
	port, mgmt int
	proc       *processtest.Process
	borrowed   bool // another process started the server, and will stop it
	admin      *Admin
}

// Start starts a server for the test and stops it when the test ends. It takes about five
// seconds. The first start on a machine takes half a minute more for every Path and Version.
func Start(tb testing.TB, o Options) *Server {
	tb.Helper()
	skipShort(tb)
	o.brief, o.Version = true, o.version()
	if o.EscapeSlashes && o.before(2500) {
		tb.Skipf("Keycloak %s cannot escape slashes in names of groups", o.Version)
	}
	s, err := start(o)
	if err != nil {
		tb.Fatalf("starting Keycloak %s: %v", o.version(), err)
	}
	tb.Cleanup(func() {
		if err := s.close(); err != nil {
			tb.Errorf("stopping Keycloak: %v", err)
		}
	})
	return s
}

var shared = processtest.Shared[*Server]{
	Name: "Keycloak " + Options{}.version(), Start: borrowOrStart, Stop: (*Server).close,
}

// Shared returns the server that all tests of the test binary share. If Lend has started a
// server, Shared returns that server. If there is none, the first call of Shared starts one.
// The TestMain of the test binary must call Main, which stops the server.
//
// Other tests, also those of other test binaries, can use the server at the same time. So a
// test must not stop it. A test that stops its server must call Start instead of Shared.
func Shared(tb testing.TB) *Server {
	tb.Helper()
	skipShort(tb)
	return shared.Get(tb)
}

// Main runs the tests, stops the server that Shared started, and returns the exit code:
//
//	func TestMain(m *testing.M) { os.Exit(keycloaktest.Main(m)) }
func Main(m interface{ Run() int }) int { return shared.Main(m) }

func skipShort(tb testing.TB) {
	tb.Helper()
	if testing.Short() {
		tb.Skip("needs a real Keycloak")
	}
}

func start(o Options) (*Server, error) {
	o.Version = o.version()
	from, err := prepared(o)
	if err != nil {
		return nil, err
	}
	home, err := os.MkdirTemp("", "keycloaktest-")
	if err != nil {
		return nil, err
	}
	if err := os.CopyFS(filepath.Join(home, "data"), os.DirFS(filepath.Join(from, "data"))); err != nil {
		return nil, errors.Join(err, os.RemoveAll(home))
	}
	s, err := launch(filepath.Join(from, "dist"), home, o)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(home))
	}
	return s, nil
}

// launch starts a server on free ports and waits until it is ready. dist is the directory of
// the distribution, and home is the server's own directory.
func launch(dist, home string, o Options) (*Server, error) {
	if err := os.MkdirAll(filepath.Join(home, "data"), 0o750); err != nil {
		return nil, err
	}
	for _, name := range []string{"bin", "conf", "lib", "providers", "themes"} {
		if err := os.Symlink(filepath.Join(dist, name), filepath.Join(home, name)); err != nil {
			return nil, err
		}
	}
	port, err := processtest.FreePort()
	if err != nil {
		return nil, err
	}
	mgmt, err := processtest.FreePort()
	if err != nil {
		return nil, err
	}
	s := &Server{
		URL:  "http://127.0.0.1:" + strconv.Itoa(port) + o.Path,
		home: home, options: o, port: port, mgmt: mgmt,
	}
	s.admin = &Admin{server: s}
	return s, s.run()
}

// run starts the process and waits until it is ready.
func (s *Server) run() error {
	var err error
	admin := "KC_BOOTSTRAP_ADMIN_USERNAME=" + adminName
	password := "KC_BOOTSTRAP_ADMIN_PASSWORD=" + adminPassword
	port := s.mgmt
	if s.options.before(2600) {
		admin, password = "KEYCLOAK_ADMIN="+adminName, "KEYCLOAK_ADMIN_PASSWORD="+adminPassword
	}
	if s.options.before(2500) { // these releases have no management port
		port = s.port
	}
	s.proc, err = processtest.Start(s.log(), []string{admin, password}, "java", s.command()...)
	if err != nil {
		return fmt.Errorf("java: %w", err)
	}
	health := fmt.Sprintf("http://127.0.0.1:%d%s/health/ready", port, s.options.Path)
	if err := s.proc.Await(3*time.Minute, func() bool { return answers(health) }); err != nil {
		return errors.Join(err, s.proc.Kill())
	}
	return nil
}

func (s *Server) log() string { return filepath.Join(s.home, "server.log") }

// command returns the arguments that kc.sh would pass to java. The package does not use kc.sh,
// because kc.sh does not pass every signal on to the Java process.
func (s *Server) command() []string {
	args := append(s.options.machine(),
		"-Xms64m", "-XX:MaxMetaspaceSize=256m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError",
		"-Dfile.encoding=UTF-8", "-Djava.security.egd=file:/dev/urandom", "-Duser.language=en", "-Duser.country=US",
	)
	for _, pkg := range []string{"util", "util.concurrent", "security", "lang"} {
		args = append(args, "--add-opens=java.base/java."+pkg+"=ALL-UNNAMED")
	}
	if s.options.node != nil {
		args = append(args, s.options.node.properties()...)
	}
	args = append(args,
		"-Djava.util.concurrent.ForkJoinPool.common.threadFactory=io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory",
		"-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
		"-Dkc.home.dir="+s.home, "-Djboss.server.config.dir="+filepath.Join(s.home, "conf"),
		"-cp", filepath.Join(s.home, "lib", "quarkus-run.jar"), "io.quarkus.bootstrap.runner.QuarkusEntryPoint",
		"start", "--optimized", "--http-enabled=true", "--hostname-strict=false",
		"--http-host=127.0.0.1", "--http-port="+strconv.Itoa(s.port),
	)
	if !s.options.before(2500) {
		args = append(args, "--http-management-host=127.0.0.1", "--http-management-port="+strconv.Itoa(s.mgmt))
	}
	if s.options.node != nil {
		return append(args, s.options.node.arguments()...)
	}
	args = append(args, "--db-url-properties=;WRITE_DELAY=0") // a killed server then loses no change that it has confirmed
	if !s.options.before(2500) {
		args = append(args, localCache)
	}
	if s.options.lent && !s.options.before(2600) {
		args = append(args, roomyCache)
	}
	if s.options.EscapeSlashes {
		option := "--spi-group--jpa--escape-slashes-in-group-path=true"
		if s.options.before(2603) {
			option = "--spi-group-jpa-escape-slashes-in-group-path=true"
		}
		args = append(args, option)
	}
	return args
}

// localCache makes Keycloak use a cache of its own process. Keycloak's default cache opens the
// ports of a cluster on all interfaces. The option belongs to the command start, and before
// release 25.0 to the command build.
const localCache = "--cache=local"

// roomyCache gives the user cache room for ten large realms. The default is 10,000 accounts.
// With the default, a large realm of one test binary evicts the people whose old cache entries
// the tests of another binary need.
const roomyCache = "--cache-embedded-users-max-count=100000"

// before reports whether the release is older than the given release, which is written as
// one number: 2603 is 26.3.
func (o Options) before(release int) bool {
	var major, minor int
	if _, err := fmt.Sscanf(o.Version, "%d.%d", &major, &minor); err != nil {
		panic(fmt.Sprintf("Keycloak %q is no release: %v", o.Version, err))
	}
	return major*100+minor < release
}

// Before reports whether the server's release is older than the given release, which is
// written as one number: 2603 is 26.3. A test uses Before if it expects another result from an
// older release, on which KEYCLOAK_VERSION can run it.
func (s *Server) Before(release int) bool { return s.options.before(release) }

// Program returns the path of a program of the distribution, such as kcadm.sh.
func (s *Server) Program(name string) string { return filepath.Join(s.home, "bin", name) }

// Stop shuts the server down. Restart starts it again.
func (s *Server) Stop(tb testing.TB) { tb.Helper(); must(tb, s.shutdown()) }

// Kill ends the server at once, in the middle of its answers.
func (s *Server) Kill(tb testing.TB) { tb.Helper(); must(tb, s.proc.Kill()) }

// Pause makes the server hang: it accepts connections and answers nothing.
func (s *Server) Pause(tb testing.TB) { tb.Helper(); must(tb, s.proc.Signal(syscall.SIGSTOP)) }

// Resume ends a Pause.
func (s *Server) Resume(tb testing.TB) { tb.Helper(); must(tb, s.proc.Signal(syscall.SIGCONT)) }

// Restart starts the server again with the same URL and data. If the server runs, Restart
// stops it first.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	must(tb, s.shutdown())
	must(tb, s.run())
}

func (s *Server) shutdown() error { return s.proc.End(30 * time.Second) }

// close ends the server and removes its data. For a borrowed server, close does nothing.
func (s *Server) close() error {
	if s.borrowed {
		return nil
	}
	return errors.Join(s.proc.Kill(), os.RemoveAll(s.home))
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// answers reports whether the URL answers a GET with 200 within a second.
func answers(url string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// last returns the text after the last slash.
func last(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }
