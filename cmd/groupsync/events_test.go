package main

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target/clearmltest"
)

// within waits until the condition is true, and returns how long that took.
func within(t *testing.T, limit time.Duration, what string, is func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !is() {
		if time.Since(start) > limit {
			t.Fatalf("%s: not within %s", what, limit)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return time.Since(start)
}

// TestAdminEventsBringPassesForward: with a schedule of an hour, a change in Keycloak is in
// ClearML within 10 s. The test prints the times.
func TestAdminEventsBringPassesForward(t *testing.T) {
	t.Parallel() // most of it is waiting
	p := newPlace(t, func(s *keycloaktest.Spec) {
		s.ServiceRoles = []string{"view-users", "view-realm", "view-events"}
		s.Users = append(s.Users, keycloaktest.User{Username: "dee", Email: "dee@example.com", Groups: []string{"/team"}})
	}, clearmltest.Options{AccessKey: "opensesame-access", SecretKey: "opensesame-secret"})
	p.realm.SaveAdminEvents(t)
	p.clearml.AddTeam("crew")
	s := serve(t, configure(t, p.realm.Server.URL, p.realm.Name, p.url, "mode: apply\nguards: {max_removal_ratio: 0}"), "--keycloak.events", "poll")
	s.until(t, "pass ended")
	go func() { // the log must not fill up
		for range s.lines {
		}
	}()
	in := func(team, user string) func() bool {
		return func() bool { return slices.Contains(p.clearml.Members(team), "cm-"+user) }
	}
	not := func(is func() bool) func() bool { return func() bool { return !is() } }
	within(t, 10*time.Second, "the first pass adds ann", in("team", "ann"))
	time.Sleep(6 * time.Second) // the first reading of events has ended
	for _, row := range []struct {
		name   string
		change func()
		done   func() bool
	}{
		{"a disabled user is out", func() { p.realm.SetEnabled(t, "ann", false) }, not(in("team", "ann"))},
		{"a user who leaves a group is out", func() { p.realm.Leave(t, "bob", "/team") }, not(in("team", "bob"))},
		{"a user who joins a group is in", func() { p.realm.Join(t, "cid", "/team") }, in("team", "cid")},
		{"a deleted user is out", func() { p.realm.DeleteUser(t, "dee") }, not(in("team", "dee"))},
		{"a renamed group feeds another user group", func() {
			p.realm.Do(t, http.MethodPut, "/groups/"+p.realm.GroupID(t, "/team"), map[string]any{"name": "crew"}, nil)
		}, in("crew", "cid")},
	} {
		row.change()
		t.Logf("%s after %s", row.name, within(t, 10*time.Second, row.name, row.done).Round(10*time.Millisecond))
	}
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Wait()
}

// TestAdminEventsThatCannotBeRead: without the role view-events the log names the role, and
// passes are made as before.
func TestAdminEventsThatCannotBeRead(t *testing.T) {
	p := newServicePlace(t)
	s := serve(t, p.configured(t, p.url, "apply"), "--keycloak.events", "poll")
	text, _ := s.until(t, "the admin events cannot be read, so changes in Keycloak wait for the next scheduled pass")["error"].(string)
	if want := "view-events"; !strings.Contains(text, want) {
		t.Errorf("the error is %q, and lacks %s", text, want)
	}
	if code := s.terminate(t); code != 0 {
		t.Errorf("exit %d", code)
	}
}
