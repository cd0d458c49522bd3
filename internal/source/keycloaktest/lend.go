package keycloaktest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"groupsync/internal/processtest"
)

// lentVariable is the environment variable by which other processes find the server that Lend
// has started. Its value is the JSON of the type lent.
const lentVariable = "KEYCLOAK_TEST_SERVER"

// lent describes a running server to another process.
type lent struct {
	URL, Home, Log string
	Version        string
	PID            int
}

// Lend starts a server, calls use, and then stops the server. The argument of use is an
// environment variable (NAME=VALUE). If a process has this variable, its calls of Shared
// return the server. So the test binaries of several packages use one server. Starting a
// server takes about half a minute of processor time.
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

// borrowOrStart returns the server that Lend has started. If there is no such server, or if
// the tests must run on another release, borrowOrStart starts a server.
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
