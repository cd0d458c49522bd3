package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"groupsync/internal/report"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target/clearmltest"
)

// TestOnceAtSize makes one dry run over 10,000 users, 1,000 groups and 50,000
// memberships, all of which ClearML has but for one joiner and one leaver.
func TestOnceAtSize(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a real Keycloak")
	}
	spec := keycloaktest.BigSpec()
	realm := keycloaktest.Shared(t).NewRealm(t, spec)
	clearml := clearmltest.New(t, clearmltest.Options{})
	members := make(map[string][]string)
	for _, u := range spec.Users {
		clearml.AddUser(clearmltest.User{ID: "cm-" + u.Username, Name: u.Username, Email: u.Email, Role: "user", Providers: map[string]any{"keycloak": "2026-11-24T00:00:00Z"}})
		for _, path := range u.Groups {
			members[path] = append(members[path], "cm-"+u.Username)
		}
	}
	for i, path := range spec.Groups {
		ids := members[path]
		if i == 0 {
			ids = append([]string{"cm-" + outsider(spec, path)}, ids[1:]...)
		}
		clearml.AddTeam(path[strings.LastIndexByte(path, '/')+1:], ids...)
	}
	var requests atomic.Int32
	proxy := front(t, toServer(t, realm.Server.URL))
	proxy.on(func(*http.Request) { requests.Add(1) })
	config := configure(t, proxy.URL, realm.Name, clearml.URL, "")

	start := time.Now()
	o := groupsync(t, "--once", "-o", "json", "--keycloak.timeout", "5m", "--config", config)
	t.Logf("%s, %d requests to Keycloak, %d calls to ClearML", time.Since(start).Round(time.Millisecond), requests.Load(), len(clearml.Calls()))

	rep := o.report(t)
	if add, remove := rep.Drift(); o.code != 2 || rep.Result != report.Drift || add != 1 || remove != 1 {
		t.Errorf("exit %d, result %s, %d to add, %d to remove; want 2, drift, 1 and 1\n%s", o.code, rep.Result, add, remove, o.stderr)
	}
	want := report.Counts{Groups: keycloaktest.BigGroups, Users: keycloaktest.BigUsers, Memberships: keycloaktest.BigMemberships}
	if rep.Source != want {
		t.Errorf("source %v, want %v", rep.Source, want)
	}
	// The budget of a pull, and one members call to confirm the removal with
	// the token and the components around it.
	const pull, confirm = keycloaktest.BigGroups + keycloaktest.BigParents + 5, 4
	if n := int(requests.Load()); n > pull+confirm {
		t.Errorf("%d requests, want at most %d to pull and %d to confirm", n, pull, confirm)
	}
}

// outsider returns somebody who is not in that group.
func outsider(spec keycloaktest.Spec, group string) string {
	for _, u := range spec.Users {
		if !strings.Contains(fmt.Sprint(u.Groups), group) {
			return u.Username
		}
	}
	return ""
}
