package explain_test

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"groupsync/internal/explain"
	"groupsync/internal/guard"
	"groupsync/internal/match"
	"groupsync/internal/memory"
	"groupsync/internal/reconcile"
	"groupsync/internal/source/keycloak"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target/clearml"
	"groupsync/internal/target/clearmltest"
)

func TestMain(m *testing.M) { os.Exit(keycloaktest.Main(m)) }

// TestPeopleOfLDAP explains people of a real Keycloak with a real LDAP. The member list and
// the own side of these people differ. It does so before and after LDAP becomes unreachable.
func TestPeopleOfLDAP(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a real Keycloak")
	}
	people := []string{"feda", "fedb", "fedc", "fedd"}
	realm := keycloaktest.Shared(t).NewRealm(t, keycloaktest.Spec{
		Groups: []string{"/club"}, Users: []keycloaktest.User{{Username: "luke", Email: "luke@example.org", Groups: []string{"/club"}}, {Username: "lola", Email: "lola@example.org"}},
	})
	// Two LDAP groups with the same name are one Keycloak group, whose list hides all members.
	ldap := keycloaktest.StartLDAP(t, people, map[string][]string{"staff": {"feda", "fedb"}, "eu/hidden": {"feda"}, "us/hidden": {"fedc"}})
	realm.Federate(t, ldap, keycloaktest.FederationOptions{Subtree: true})
	server := clearmltest.New(t, clearmltest.Options{})
	for _, name := range []string{"luke", "feda", "fedb", "fedc"} { // fedd and lola have never signed in
		server.AddUser(clearmltest.User{ID: "cm-" + name, Name: name, Email: name + "@example.org", Providers: map[string]any{"keycloak": map[string]any{"id": realm.UserID(t, name)}}})
	}
	server.AddTeam("staff", "cm-feda", "cm-fedc")
	server.AddTeam("hidden", "cm-feda")
	server.AddTeam("club", "cm-luke")
	src, err := keycloak.New(keycloak.Config{URL: realm.Server.URL, Realm: realm.Name, ClientID: realm.ClientID, ClientSecret: func() (string, error) { return realm.Secret, nil }})
	if err != nil {
		t.Fatal(err)
	}
	target, err := clearml.New(clearml.Config{URL: server.URL, Keys: func() (clearml.Keys, error) { return clearml.Keys{Access: "access", Secret: "secret"}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	rules, err := match.Compile(match.Options{Include: []string{"*"}, Provider: "keycloak"})
	if err != nil {
		t.Fatal(err)
	}
	r := reconcile.New(src, target, reconcile.Options{Name: "test", Rules: rules, Store: new(memory.Process), Log: slog.New(slog.DiscardHandler),
		Limits: guard.Limits{MaxRemovals: 50, Window: 24 * time.Hour, Grace: time.Hour, GoneGrace: time.Hour}})
	ask := func(t *testing.T, user, group string) string {
		t.Helper()
		v, err := r.Look(t.Context(), reconcile.Subject{User: user, Group: group})
		if err != nil {
			return "error: " + err.Error()
		}
		var text bytes.Buffer
		if err := explain.Text(&text, explain.Of(v)); err != nil {
			t.Fatal(err)
		}
		return text.String()
	}
	type row struct {
		name, user, group string
		want              []string
	}
	hold := func(when string, rows []row) {
		t.Helper()
		for _, row := range rows {
			t.Run(when+": "+row.name, func(t *testing.T) {
				got := ask(t, row.user, row.group)
				for _, want := range row.want {
					if !strings.Contains(got, want) {
						t.Errorf("the answer lacks\n%s\nit is\n%s", want, got)
					}
				}
			})
		}
	}
	hold("LDAP is up", []row{
		{"a member whom the list hides, and ClearML has", "feda@example.org", "hidden", []string{
			"of the federation ldap, matched by id", "  in /hidden  feeds hidden  (Keycloak's member list does not show the account)",
			"  = hidden  Keycloak's member list hides the person, but the person's own side has the group; groupsync follows the own side, so the person stays"}},
		{"a member whom the list hides, and ClearML lacks", "fedc", "hidden", []string{
			"  · hidden  the person's own side has /hidden, but Keycloak's member list hides the person, so no pass adds the person; the next login to ClearML gives the group"}},
		{"a joiner", "fedb", "", []string{"  + add  the next pass that may write adds the person: a member of /staff\n      evidence: read twice, on the account's own side too"}},
		{"a leaver waits for the grace", "cm-fedc", "staff", []string{
			"  - remove  the guard grace withholds the change", "      evidence: read twice: not in the one Keycloak group, on the account's own side too",
			"      guard grace: the evidence for the removal depends on a federation. The removal waits until every pass has wanted it for 1h0m0s"}},
		{"somebody without groups and without ClearML", "fedd@example.org", "", []string{"state: no_account", "ClearML: no user", "no ClearML group concerns the person"}},
		{"a local person", "luke", "", []string{"enabled, local, matched by id", "  = in_sync  ClearML has the group, and so has Keycloak, by /club"}},
		{"a service account, asked for by username", "service-account-" + realm.ClientID, "", []string{"state: service_account", "a service account, local"}},
		{"nobody", "nobody@example.org", "", []string{"error: no person nobody@example.org in ClearML"}},
		{"a group whose list hides its people", "", "hidden", []string{"  = hidden  feda <feda@example.org>", "Keycloak group /hidden"}},
	})
	realm.ClearUserCache(t)
	ldap.Stop(t)
	hold("LDAP is away", []row{
		{"what the lists want is withheld", "cm-fedc", "staff", []string{"  - remove  by the member lists a pass removes the person, but the person's own side did not confirm the change; the guard federation withholds it"}},
		{"the groups of the account can be missing", "feda@example.org", "", []string{"groups can be missing here: the federation ldap is not up, so groups that come from it can be missing"}},
		{"a local person is explained as ever", "luke", "", []string{"  = in_sync  ClearML has the group, and so has Keycloak, by /club"}},
		{"nobody can be said not to be there", "nobody@example.org", "", []string{"error: ClearML has nobody with the email or id nobody@example.org, and the answer of Keycloak is not complete (the federation ldap is not up, and may have the person"}},
	})
	if n := server.Count("permissions.add_or_update_user_group"); n > 0 {
		t.Errorf("looks wrote to ClearML %d times", n)
	}
}
