package main

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"groupsync/internal/journal"
	"groupsync/internal/report"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target/clearmltest"
)

// chaos is a realm and a ClearML that differ in a known way.
type chaos struct {
	server  *keycloaktest.Server
	realm   *keycloaktest.Realm
	clearml *clearmltest.Server
	front   *trap // before ClearML
	proxy   *trap // before Keycloak
	config  string
	journal journal.Dir
}

const teams = 6

// newChaos makes six teams. In Keycloak each team has ann. In ClearML each has cid, who is in
// no team any more, and the last three also have dan, who is disabled. ann must be added to
// the first three.
func newChaos(t *testing.T, server *keycloaktest.Server) *chaos {
	t.Helper()
	spec := keycloaktest.Spec{}
	member := func(name string, disabled bool, groups ...string) {
		spec.Users = append(spec.Users, keycloaktest.User{Username: name, Email: name + "@example.com", Disabled: disabled, Groups: groups})
	}
	for i := range teams {
		spec.Groups = append(spec.Groups, fmt.Sprintf("/team%d", i))
	}
	member("ann", false, spec.Groups...)
	member("bob", false, spec.Groups...)
	member("cid", false)
	member("dan", true, spec.Groups...)
	c := &chaos{server: server, realm: server.NewRealm(t, spec), clearml: clearmltest.New(t, clearmltest.Options{})}
	for _, n := range []string{"ann", "bob", "cid", "dan"} {
		person(c.clearml, n, c.realm.UserID(t, n))
	}
	for i := range teams {
		c.clearml.AddTeam(fmt.Sprintf("team%d", i), c.before(i)...)
	}
	c.journal = journal.Dir{Path: journal.Under(t.TempDir()), Sync: "default", Keep: 10}
	c.restore(t)
	return c
}

// restore puts new fronts before both sides, without faults.
func (c *chaos) restore(t *testing.T) {
	t.Helper()
	c.front, c.proxy = front(t, c.clearml), front(t, toServer(t, c.server.URL))
	c.config = configure(t, c.proxy.URL, c.realm.Name, c.front.URL, "guards: {max_removal_ratio: 0}")
}

func (c *chaos) before(team int) []string {
	if team < teams/2 {
		return []string{"cm-bob", "cm-cid"}
	}
	return []string{"cm-ann", "cm-bob", "cm-cid", "cm-dan"}
}

var after = []string{"cm-ann", "cm-bob"}

// check compares every team with its members before and after the pass: only cid and dan may
// have left, and only ann may have joined. It returns the number of teams that are done.
func (c *chaos) check(t *testing.T) (done int) {
	t.Helper()
	for i := range teams {
		got := c.clearml.Members(fmt.Sprintf("team%d", i))
		slices.Sort(got)
		switch {
		case slices.Equal(got, after):
			done++
		case !slices.Equal(got, c.before(i)):
			t.Errorf("team%d has %v: neither what it had, %v, nor what Keycloak says, %v", i, got, c.before(i), after)
		}
	}
	return done
}

// told checks the journal: every report is complete, and names each change at most once. It
// returns how many changes the journal says were made.
func (c *chaos) told(t *testing.T) (made int) {
	t.Helper()
	seen := make(map[journal.Membership]bool)
	for r, err := range c.journal.List() {
		if err != nil {
			t.Errorf("the journal: %v", err)
			continue
		}
		for _, x := range journal.Records(r) {
			m := journal.Membership{Group: x.GroupID, User: x.ID}
			if x.Outcome != report.Done {
				continue
			}
			if made++; seen[m] || x.Call == "" || x.Reverted {
				t.Errorf("the journal has a change twice, without its call, or as one that was undone: %+v", x)
			}
			seen[m] = true
		}
	}
	return made
}

// TestKills kills Keycloak, ClearML or groupsync itself at three moments of a pass. The pass
// may then have ended only memberships that the complete snapshot would have ended. When
// everything is back, the next pass finishes the work.
func TestKills(t *testing.T) {
	t.Parallel() // most of it is waiting
	if testing.Short() {
		t.Skip("needs a real Keycloak")
	}
	moments := []moment{
		{
			name:  "while members are read",
			arm:   func(c *chaos, kill func()) { c.proxy.on(nth(members, 3, kill)) },
			reach: func(done int) bool { return done == 0 },
		},
		{
			name:  "while the removals are confirmed",
			arm:   func(c *chaos, kill func()) { c.proxy.on(nth(members, teams+3, kill)) },
			reach: func(done int) bool { return done == 0 },
		},
		{
			name: "between two writes",
			arm: func(c *chaos, kill func()) {
				var once sync.Once
				c.clearml.After("permissions.add_or_update_user_group", func(int) { once.Do(func() { go kill() }) })
			},
			reach: func(done int) bool { return done >= 1 },
		},
	}
	for _, victim := range []string{"keycloak", "clearml", "groupsync"} {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			server := keycloaktest.Shared(t)
			if victim == "keycloak" {
				server = keycloaktest.Start(t, keycloaktest.Options{})
			}
			for _, m := range moments {
				t.Run("is killed "+m.name, func(t *testing.T) { killed(t, server, victim, m) })
			}
		})
	}
}

// moment is a moment of a pass at which something is killed.
type moment struct {
	name  string
	arm   func(c *chaos, kill func()) // makes kill run at that moment
	reach func(done int) bool         // how many teams may be done at that moment
}

// killed kills the victim at the moment, checks what the pass has done, and makes a second pass.
func killed(t *testing.T, server *keycloaktest.Server, victim string, m moment) {
	t.Helper()
	c := newChaos(t, server)
	cmd := command(t.Context(), "--once", "--apply", "-o", "json", "--state_dir", filepath.Dir(c.journal.Path), "--config", c.config)
	started, killed := make(chan struct{}), make(chan struct{})
	m.arm(c, func() {
		<-started
		defer close(killed)
		switch victim {
		case "keycloak":
			server.Kill(t)
		case "clearml":
			c.front.kill()
		case "groupsync":
			kill(t, cmd)
		}
	})
	wait := start(t, cmd)
	close(started)
	o := wait()
	<-killed
	if victim == "keycloak" {
		server.Restart(t)
	}
	done, told := c.check(t), c.told(t)
	if !m.reach(done) && !(victim == "keycloak" && done == teams) {
		t.Errorf("%d of %d teams are done", done, teams)
	}
	if done < teams && victim != "groupsync" && o.code == 0 {
		t.Errorf("exit code 0 with %d of %d teams done\n%s", done, teams, o.stdout)
	}
	if victim == "groupsync" && told > 0 {
		t.Errorf("the pass was killed, and its report tells of %d changes", told)
	}
	c.restore(t)
	if o := groupsync(t, "--once", "--apply", "-o", "json", "--state_dir", filepath.Dir(c.journal.Path), "--config", c.config); o.code != 0 || c.check(t) != teams {
		t.Errorf("the next pass: exit %d\n%s\n%s", o.code, o.stdout, o.stderr)
	}
	if now := c.told(t); done < teams && now == told {
		t.Errorf("the next pass stored no change: there are %d as before", now)
	}
}

func members(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/members") }

// nth calls f at the nth request of a kind.
func nth(is func(*http.Request) bool, n int32, f func()) func(*http.Request) {
	var seen atomic.Int32
	return func(r *http.Request) {
		if is(r) && seen.Add(1) == n {
			f()
		}
	}
}

func kill(t *testing.T, cmd *exec.Cmd) {
	if err := cmd.Process.Kill(); err != nil {
		t.Errorf("killing groupsync: %v", err)
	}
}
