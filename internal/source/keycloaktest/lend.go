package keycloaktest

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"groupsync/internal/processtest"
)

// lentVariable is the environment variable by which other processes find the server that Lend
// has started. Its value is the path of a file that holds the type lent as JSON.
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
//
// The variable has the same value each time that Lend is called in one directory. So go test can
// use the cached results of packages that have not changed. If Lend is called again in the same
// directory before the first call has ended, the second call waits.
func Lend(use func(variable string) error) error {
	path, err := lentPath()
	if err != nil {
		return err
	}
	unlock, err := processtest.Lock(path + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	s, err := start(Options{lent: true})
	if err != nil {
		return fmt.Errorf("starting Keycloak: %w", err)
	}
	description, err := json.Marshal(lent{s.URL, s.home, s.log(), s.options.Version, s.proc.PID()})
	if err == nil {
		err = os.WriteFile(path, description, 0o600)
	}
	if err != nil {
		return errors.Join(err, s.close())
	}
	return errors.Join(use(lentVariable+"="+path), os.Remove(path), s.close())
}

// lentPath returns the path of the file that describes the server of Lend to other processes. The
// file is outside the module, because each run writes it, and go test uses no cached result of a
// test that has read a changed file of the module.
func lentPath() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	cache, err := cacheDir("lent")
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, fmt.Sprintf("%x.json", sha256.Sum256([]byte(dir)))), nil
}

// borrowOrStart returns the server that Lend has started. If there is no such server, or if
// the tests must run on another release, borrowOrStart starts a server.
func borrowOrStart() (*Server, error) {
	path := os.Getenv(lentVariable)
	if path == "" {
		return start(Options{})
	}
	var l lent
	description, err := os.ReadFile(path) // #nosec G304 G703 -- Lend has made the variable
	if err == nil {
		err = json.Unmarshal(description, &l)
	}
	if err != nil {
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
