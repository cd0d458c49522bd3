// Package keycloaktest starts the real Keycloak, and a real LDAP server behind
// it, for tests and benchmarks; it is to them what httptest is to handlers.
//
// Keycloak comes from its Maven distribution and is kept in the user's cache
// directory (reference/keycloak-api.md). A test that uses it is skipped under
// go test -short, and fails where Java or Maven is missing, saying what to
// install. Everything listens on 127.0.0.1 only and ends with the test binary.
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

// The bootstrap administrator's name and password, of servers that live for
// the length of a test.
const (
	adminName     = "admin"
	adminPassword = "admin"
)

// Options say how a server is started.
type Options struct {
	Path    string // prefix of all paths, for example "/auth"; empty: none
	Version string // release of Keycloak; empty: KEYCLOAK_VERSION of the environment, or Version

	// EscapeSlashes has the server write a slash in the name of a group as ~/ in
	// its path.
	EscapeSlashes bool

	node  *node // nil: the server is alone
	brief bool  // one test has the server
	lent  bool  // many test binaries have the server, and each makes its realms in it
}

// machine returns options of the Java machine. A server of one test ends before the
// second compiler has paid for itself: without that compiler the server takes two thirds
// of the processor's time.
func (o Options) machine() []string {
	switch {
	case o.brief:
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

	home       string // Keycloak's home directory: shared but for the data
	options    Options
	port, mgmt int
	proc       *processtest.Process
	borrowed   bool // another process has started the server, and ends it
	admin      *Admin
}

// Start starts a server for the test, which is stopped when the test ends. It
// takes about five seconds, and half a minute more once a machine for every
// Path and Version.
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

// Shared returns the one server of the test binary. It is the server that Lend has
// started, or else a server that the first test to ask for it starts. The TestMain of
// the binary must call Main. Other test binaries may use the same server at the same
// time, so a test that stops the server uses Start.
func Shared(tb testing.TB) *Server {
	tb.Helper()
	skipShort(tb)
	return shared.Get(tb)
}

// Main runs the tests, stops what Shared started, and returns the exit code:
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

// launch starts a server of the distribution on free ports, with home for its
// home directory, and waits until it is ready.
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
	if s.options.before(2500) { // it has no management port
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

// command is what kc.sh would run. It is run without that script, which does
// not pass on every signal to the Java process.
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
	args = append(args, "--db-url-properties=;WRITE_DELAY=0") // a killed server keeps what it has answered
	if !s.options.before(2500) {
		args = append(args, localCache)
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

// localCache is an option of the start, and of the build before 25.0. The default
// cache opens the ports of a cluster on all interfaces.
const localCache = "--cache=local"

// before reports whether the release is older than the given one, which is written
// as one number: 2603 is 26.3.
func (o Options) before(release int) bool {
	var major, minor int
	if _, err := fmt.Sscanf(o.Version, "%d.%d", &major, &minor); err != nil {
		panic(fmt.Sprintf("Keycloak %q is no release: %v", o.Version, err))
	}
	return major*100+minor < release
}

// Before reports whether the server is of an older release than the given one, which
// is written as one number: 2603 is 26.3. Tests that KEYCLOAK_VERSION runs on several
// releases say with it what differs.
func (s *Server) Before(release int) bool { return s.options.before(release) }

// Program returns the path of a program of the distribution, such as kcadm.sh.
func (s *Server) Program(name string) string { return filepath.Join(s.home, "bin", name) }

// Stop ends the server in good order; Restart brings it back.
func (s *Server) Stop(tb testing.TB) { tb.Helper(); must(tb, s.shutdown()) }

// Kill ends the server at once, in the middle of whatever it answers.
func (s *Server) Kill(tb testing.TB) { tb.Helper(); must(tb, s.proc.Kill()) }

// Pause makes the server hang: connections are accepted, nothing is answered.
func (s *Server) Pause(tb testing.TB) { tb.Helper(); must(tb, s.proc.Signal(syscall.SIGSTOP)) }

// Resume lets a paused server go on.
func (s *Server) Resume(tb testing.TB) { tb.Helper(); must(tb, s.proc.Signal(syscall.SIGCONT)) }

// Restart starts the server again, ending it first where it runs, with the same
// URL and data.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	must(tb, s.shutdown())
	must(tb, s.run())
}

func (s *Server) shutdown() error { return s.proc.End(30 * time.Second) }

// close ends the server and removes its data. A borrowed server stays as it is.
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

// answers reports whether a GET is answered with 200 within a second.
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

// last returns what follows the last slash.
func last(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }
