package leavers_test

import (
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/guard"
	"groupsync/internal/leavers"
	"groupsync/internal/match"
	"groupsync/internal/memory"
	"groupsync/internal/reconcile"
	"groupsync/internal/source/keycloak"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target/clearml"
	"groupsync/internal/target/clearmltest"
)

func TestMain(m *testing.M) { os.Exit(keycloaktest.Main(m)) }

// TestLeaversOfLDAP uses a real Keycloak with a real LDAP. A person whom LDAP deleted is gone.
// While LDAP is not reachable, nobody of LDAP is gone or disabled, and local people are judged
// as usual.
func TestLeaversOfLDAP(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a real Keycloak")
	}
	realm := keycloaktest.Shared(t).NewRealm(t, keycloaktest.Spec{
		Groups: []string{"/club"},
		Users:  []keycloaktest.User{{Username: "luke", Email: "luke@example.org", Groups: []string{"/club"}}, {Username: "lola", Email: "lola@example.org"}},
	})
	ldap := keycloaktest.StartLDAP(t, []string{"feda", "fedb", "fedc"}, nil)
	realm.Federate(t, ldap, keycloaktest.FederationOptions{})
	server := clearmltest.New(t, clearmltest.Options{})
	add := func(name string, told map[string]any) {
		server.AddUser(clearmltest.User{ID: "cm-" + name, Name: name, Email: name + "@example.org", Providers: map[string]any{"keycloak": told}, Activity: quiet})
	}
	for _, name := range []string{"luke", "lola", "feda", "fedb"} {
		add(name, map[string]any{"sub": realm.UserID(t, name)})
	}
	add("fedc", map[string]any{"email": "fedc@example.org"}) // ClearML keeps no id
	add("gone", map[string]any{"email": "gone@example.org"})
	server.AddTeam("lab", "cm-luke", "cm-lola", "cm-feda", "cm-fedb", "cm-fedc", "cm-gone")
	server.AddTeam("club", "cm-luke")
	realm.SetEnabled(t, "lola", false)
	realm.SetEnabled(t, "fedb", false)

	src, err := keycloak.New(keycloak.Config{URL: realm.Server.URL, Realm: realm.Name, ClientID: realm.ClientID, ClientSecret: func() (string, error) { return realm.Secret, nil }})
	if err != nil {
		t.Fatal(err)
	}
	c, err := clearml.New(clearml.Config{URL: server.URL, Keys: func() (clearml.Keys, error) { return clearml.Keys{Access: "access", Secret: "secret"}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	rules, err := match.Compile(match.Options{Include: []string{"*"}, Provider: "keycloak"})
	if err != nil {
		t.Fatal(err)
	}
	r := reconcile.New(src, c, reconcile.Options{Name: "test", Rules: rules, Store: new(memory.Process), Log: slog.New(slog.DiscardHandler),
		Now:    func() time.Time { return noon },
		Limits: guard.Limits{MaxRemovals: 50, Window: 24 * time.Hour, Grace: time.Hour, GoneGrace: time.Hour}})
	find := func(when string, want ...string) leavers.Report {
		t.Helper()
		found, err := leavers.Find(t.Context(), r, c, leavers.Recent)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if diff := cmp.Diff(want, lines(found)); diff != "" {
			t.Errorf("%s, -want +got\n%s", when, diff)
			for _, p := range slices.Concat(found.Leavers, found.InDoubt) {
				t.Logf("%s: %s", p.ID, p.Why)
			}
		}
		return found
	}
	find("LDAP is up", "cm-fedb disabled group", "cm-gone gone group", "cm-lola disabled group")
	realm.ClearUserCache(t)
	ldap.Stop(t)
	away := find("LDAP is away", "cm-lola disabled group", "cm-feda unknown group", "cm-fedb unknown group", "cm-fedc unknown group", "cm-gone unknown group")
	for _, p := range away.InDoubt {
		if !strings.Contains(p.Why, "the federation ldap is not up") {
			t.Errorf("%s: %s", p.ID, p.Why)
		}
	}
	if n := server.Count("permissions.add_or_update_user_group"); n > 0 {
		t.Errorf("ClearML was written %d times", n)
	}
}
