package main

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"groupsync/internal/processtest"
	"groupsync/internal/report"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target/clearml"
	"groupsync/internal/target/clearmltest"
)

var bigRealm = struct {
	sync.Mutex
	realm *keycloaktest.Realm
}{}

// bigPlace returns the realm of keycloaktest.BigSpec, which the tests of this package share.
// It also returns a ClearML that is equal to the realm, except for one joiner and one leaver
// of the first group.
func bigPlace(t testing.TB) (keycloaktest.Spec, *keycloaktest.Realm, *clearmltest.Server) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a real Keycloak")
	}
	spec := keycloaktest.BigSpec()
	bigRealm.Lock()
	defer bigRealm.Unlock()
	if bigRealm.realm == nil {
		bigRealm.realm = keycloaktest.Shared(t).NewRealm(t, spec)
	}
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
	return spec, bigRealm.realm, clearml
}

// built returns the program as people run it. The test binary may contain the race detector,
// which makes the commands below several times slower.
func built(t *testing.T) func(args ...string) outcome {
	t.Helper()
	program := processtest.Groupsync(t, "../..")
	return func(args ...string) outcome {
		t.Helper()
		return finish(t, exec.CommandContext(t.Context(), program, args...))
	}
}

// TestOnceAtSize makes one dry run over 10,000 users, 1,000 groups and 50,000 memberships.
// ClearML has all of them, except for one joiner and one leaver.
func TestOnceAtSize(t *testing.T) {
	_, realm, clearml := bigPlace(t)
	var requests atomic.Int32
	proxy := front(t, toServer(t, realm.Server.URL))
	proxy.on(func(*http.Request) { requests.Add(1) })
	config := configure(t, proxy.URL, realm.Name, clearml.URL, "")

	run := built(t)

	start := time.Now()
	o := run("--once", "-o", "json", "--keycloak.timeout", "5m", "--config", config)
	t.Logf("%s, %d requests to Keycloak, %d calls to ClearML", time.Since(start).Round(time.Millisecond), requests.Load(), len(clearml.Calls()))

	rep := o.report(t)
	if add, remove := rep.Drift(); o.code != 2 || rep.Result != report.Drift || add != 1 || remove != 1 {
		t.Errorf("exit %d, result %s, %d to add, %d to remove; want 2, drift, 1 and 1\n%s", o.code, rep.Result, add, remove, o.stderr)
	}
	want := report.Counts{Groups: keycloaktest.BigGroups, Users: keycloaktest.BigUsers, Memberships: keycloaktest.BigMemberships}
	if rep.Source != want {
		t.Errorf("source %v, want %v", rep.Source, want)
	}
	// The most requests of a pull, and of the confirmation that removes a local account: one
	// list of members, the name of the group and the account, with the token and the components
	// around them.
	const pull, confirm = keycloaktest.BigGroups + keycloaktest.BigParents + 5, 6
	if n := int(requests.Load()); n > pull+confirm {
		t.Errorf("%d requests, want at most %d to pull and %d to confirm", n, pull, confirm)
	}
}

// TestExplainAtSize explains people and a group in the big realm, and makes the pass of one
// person, each with the whole program. It prints the times. It takes the best of up to three
// tries, because other tests run at the same time. The number of requests must not grow with the
// members of the realm: of Keycloak the command reads only the list of groups and the data of the
// person.
func TestExplainAtSize(t *testing.T) {
	spec, realm, directory := bigPlace(t)
	var requests atomic.Int32
	proxy := front(t, toServer(t, realm.Server.URL))
	proxy.on(func(*http.Request) { requests.Add(1) })
	config := configure(t, proxy.URL, realm.Name, directory.URL, "")
	run := built(t)
	first := spec.Groups[0]
	leaver := outsider(spec, first)
	// The token, the realm, the federations, the list of groups with a call for each
	// parent, and the count.
	const catalog = keycloaktest.BigParents + 5
	for _, row := range []struct {
		name string
		args []string
		most int // requests beside the catalog
		want []string
	}{
		{"someone in sync, by username", []string{"user-05000"}, 4 + 5, []string{"state: matched", "matched by email", "  = in_sync  "}},
		{"someone to be removed, by email", []string{leaver + "@example.com"}, 3 + 6 + 8, []string{"  - remove  the next pass that may write removes the person", "evidence: read twice: not in the one Keycloak group"}},
		{"someone to be added, by the id in ClearML", []string{"cm-user-00000"}, 3 + 6 + 8, []string{"  + add  the next pass that may write adds the person: a member of " + first}},
		{"a group", []string{"--group", first}, 9, []string{"in_sync: 49, add: 1, remove: 1"}},
		{"the pass of someone to be removed", []string{"sync", leaver}, 3 + 6 + 8, []string{"drift (dry run): 0 to add, 1 to remove in 1 of 1 group"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var o outcome
			const limit = 2 * time.Second
			took, bare, asked := time.Hour, time.Duration(0), 0
			for try := 0; try < 3 && took > max(limit, 4*bare); try++ { // the machine may be busy with other tests
				bare = max(bare, bareRead(t, directory.URL))
				requests.Store(0)
				start := time.Now()
				args := row.args
				if args[0] != "sync" {
					args = append([]string{"explain"}, args...)
				}
				o = run(append(args, "--config", config)...)
				took, asked = min(took, time.Since(start)), int(requests.Load())
			}
			t.Logf("%s at best, %d requests to Keycloak; a bare read of ClearML took %s", took.Round(time.Millisecond), asked, bare.Round(time.Millisecond))
			if o.code != 0 && (o.code != 2 || row.args[0] != "sync") {
				t.Fatalf("exit %d\n%s", o.code, o.stderr)
			}
			for _, want := range row.want {
				mustContain(t, "the answer", o.stdout, want)
			}
			if asked > catalog+row.most {
				t.Errorf("%d requests, want at most %d for the list of groups and %d beside", asked, catalog, row.most)
			}
			if took > max(limit, 4*bare) {
				t.Errorf("it took %s, want at most 2s, or four times the bare read of ClearML (%s)", took, bare)
			}
		})
	}
}

// bareRead returns how long the reading of ClearML takes by itself.
func bareRead(t *testing.T, url string) time.Duration {
	t.Helper()
	client, err := clearml.New(clearml.Config{URL: url, Keys: func() (clearml.Keys, error) { return clearml.Keys{Access: "access", Secret: "secret"}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	groups, err := client.UserGroups(t.Context())
	if err == nil {
		_, err = client.Snapshot(t.Context(), groups)
	}
	if err != nil {
		t.Fatal(err)
	}
	return time.Since(start)
}

// outsider returns the name of a person who is not in the group.
func outsider(spec keycloaktest.Spec, group string) string {
	for _, u := range spec.Users {
		if !strings.Contains(fmt.Sprint(u.Groups), group) {
			return u.Username
		}
	}
	return ""
}

// TestCheckAtSize makes all checks in the big realm. They read what a pass reads, and must
// take less than 30 seconds. If other tests keep the machine busy, the limit grows with the
// bare read of ClearML, which takes about a second on an idle machine.
func TestCheckAtSize(t *testing.T) {
	_, realm, clearml := bigPlace(t)
	config := configure(t, realm.Server.URL, realm.Name, clearml.URL, "")
	const limit = 30 * time.Second
	run := built(t)
	var o outcome
	took, bare := time.Hour, time.Duration(0)
	for try := 0; try < 3 && took > limit; try++ {
		bare = max(bare, bareRead(t, clearml.URL))
		start := time.Now()
		o = run("check", "--config", config)
		took = min(took, time.Since(start))
	}
	t.Logf("%s at best; a bare read of ClearML took %s\n%s", took.Round(time.Millisecond), bare.Round(time.Millisecond), o.stdout)
	if o.code != 0 {
		t.Errorf("exit %d\n%s", o.code, o.stderr)
	}
	mustContain(t, "the findings", o.stdout, fmt.Sprintf("✔ pairing-groups: %d ClearML groups are fed by %d Keycloak groups\n", keycloaktest.BigGroups, keycloaktest.BigGroups))
	mustContain(t, "the findings", o.stdout, "✔ pairing-guards: no guard would withhold anything at the first apply, which would make 2 changes\n")
	if took > max(limit, 20*bare) {
		t.Errorf("the checks took %s, want at most %s, or 20 times the bare read of ClearML (%s)", took, limit, bare)
	}
}
