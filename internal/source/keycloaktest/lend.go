package keycloaktest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"groupsync/internal/processtest"
)

// lentVariable is the environment variable that describes the server that Lend has started
// to test binaries. Its value is a lent server as JSON.
const lentVariable = "KEYCLOAK_TEST_SERVER"

// lent describes a server to another process.
type lent struct {
	URL, Home, Log string
	Version        string
	PID            int
}

// Lend starts a server, calls use with an environment variable (NAME=VALUE), and then stops
// the server. Shared finds the server by this variable in other processes. Test binaries of
// several packages then need not start a server each, which would take each of them about
// half a minute of processor time.
func Lend(use func(variable string) error) error {
	s, err := start(Options{lent: true})
	if err != nil {
		return fmt.Errorf("starting Keycloak: %w", err)
	}
	description, err := json.Marshal(lent{s.URL, s.home, s.log(), s.options.Version, s.proc.PID()})
	if err != nil {
		return errors.Join(err, s.close())
	}
	return errors.Join(use(lentVariable+"="+string(description)), s.close())
}

// borrowOrStart returns the server that Lend has started. It starts a server if there is
// none, or if the tests must run on another release.
func borrowOrStart() (*Server, error) {
	description := os.Getenv(lentVariable)
	if description == "" {
		return start(Options{})
	}
	var l lent
	if err := json.Unmarshal([]byte(description), &l); err != nil {
		return nil, fmt.Errorf("reading %s, which describes a running Keycloak: %w", lentVariable, err)
	}
	if l.Version != (Options{}).version() {
		return start(Options{})
	}
	s := &Server{
		URL: l.URL, home: l.Home, options: Options{Version: l.Version}, borrowed: true,
		proc: processtest.Attach(l.PID, l.Log),
	}
	s.admin = &Admin{server: s}
	if err := s.proc.Await(time.Minute, func() bool { return answers(s.URL + "/realms/master") }); err != nil {
		return nil, fmt.Errorf("the Keycloak that %s describes, at %s: %w", lentVariable, s.URL, err)
	}
	return s, nil
}
