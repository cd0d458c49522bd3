package keycloaktest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"groupsync/internal/processtest"
)

// lentVariable is the environment variable that tells test binaries of the server which
// Lend has started. It holds a lent server as JSON.
const lentVariable = "KEYCLOAK_TEST_SERVER"

// lent is what another process needs to know of a server.
type lent struct {
	URL, Home, Log string
	Version        string
	PID            int
}

// Lend starts a server, calls use with the environment variable by which Shared finds
// the server in other processes, and stops the server. Test binaries of several packages
// then start no server of their own, which takes each of them about half a minute of the
// processor's time.
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
// none, or if the tests are to run on another release.
func borrowOrStart() (*Server, error) {
	description := os.Getenv(lentVariable)
	if description == "" {
		return start(Options{})
	}
	var l lent
	if err := json.Unmarshal([]byte(description), &l); err != nil {
		return nil, fmt.Errorf("the server of %s: %w", lentVariable, err)
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
		return nil, fmt.Errorf("the server of %s at %s: %w", lentVariable, s.URL, err)
	}
	return s, nil
}
