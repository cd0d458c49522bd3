package explain_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/explain"
	"groupsync/internal/guard"
	"groupsync/internal/match"
	"groupsync/internal/memory"
	"groupsync/internal/reconcile"
	"groupsync/internal/source"
	"groupsync/internal/source/realmfile"
	"groupsync/internal/target/clearml"
	"groupsync/internal/target/clearmltest"
)

var update = flag.Bool("update", false, "write the answers in testdata anew")

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// id returns an account id that ends in n, which has at most twelve letters of a to f.
func id(n string) string { return "00000000-0000-0000-0000-" + strings.Repeat("0", 12-len(n)) + n }

const hostile = "\u202e<script>alert(1)</script>\n  + add  forged\x1b[2J"

// company is a realm and a ClearML with a person for every case.
func company() (*realmfile.Realm, []clearmltest.User, map[string][]string) {
	user := func(name, account string, groups ...string) realmfile.User {
		return realmfile.User{ID: id(account), Username: name, Email: name + "@example.com", Enabled: true, Groups: groups}
	}
	disabled := user("eve", "e", "/research/ml-team")
	disabled.Enabled = false
	ldap := user("fay", "f")
	ldap.FederationLink = "fed-1"
	app := realmfile.User{ID: id("a1"), Username: "service-account-app", Enabled: true, ServiceAccount: "app", Groups: []string{"/research/ml-team"}}
	twin := func(name, account string, groups ...string) realmfile.User {
		u := user(name, account, groups...)
		u.Email = "kim@example.com"
		return u
	}
	odd := user("odd", "0dd", "/research/ml-team")
	odd.FirstName, odd.LastName = hostile, hostile
	realm := &realmfile.Realm{
		Name: "clearml", DuplicateEmails: true,
		Groups: []realmfile.Group{
			{ID: "g-research", Name: "research", SubGroups: []realmfile.Group{{ID: "g-ml", Name: "ml-team"}}},
			{ID: "g-platform", Name: "platform"}, {ID: "g-finance", Name: "finance"}, {ID: "g-secret", Name: "secret"},
			{ID: "g-infra", Name: "infra"}, {ID: "g-ops", Name: "clearml-admins", RealmRoles: []string{"boss"}},
			{ID: "g-hostile", Name: hostile},
		},
		Users: []realmfile.User{
			user("ann", "a", "/research/ml-team", "/finance", "/secret"), user("bob", "b", "/platform"),
			user("cyn", "c", "/research/ml-team", "/clearml-admins"), user("dan", "d", "/research/ml-team", "/infra"), disabled, ldap,
			user("gus", "9", "/research/ml-team"), user("pia", "fa"), user("nel", "e1"), app, twin("kim", "c1", "/research/ml-team"), twin("kim2", "c2"), odd,
		},
		Roles:      realmfile.Roles{Realm: []realmfile.Role{{Name: "boss"}}},
		Components: map[string][]realmfile.Component{"org.keycloak.storage.UserStorageProvider": {{ID: "fed-1", Name: "corp", ProviderID: "ldap"}}},
	}
	sub := func(account string) map[string]any {
		return map[string]any{"keycloak": map[string]any{"sub": id(account)}}
	}
	byEmail := map[string]any{"keycloak": map[string]any{"email": "x"}}
	person := func(name string, providers map[string]any) clearmltest.User {
		return clearmltest.User{ID: "cm-" + name, Name: strings.ToUpper(name[:1]) + name[1:], Email: name + "@example.com", Role: "user", Providers: providers}
	}
	people := []clearmltest.User{
		person("ann", sub("a")), person("bob", sub("b")), person("cyn", sub("c")), person("eve", sub("e")), person("fay", sub("f")),
		person("gus", map[string]any{}), person("hal", map[string]any{"google": map[string]any{}}), person("ivy", sub("deadbeef")),
		person("jo", byEmail), person("pia", sub("fa")), person("kim", byEmail), person("odd", sub("0dd")),
		{ID: clearmltest.Self, Name: "Sync", Email: "sync@example.com", Role: "admin", Providers: sub("5e1f")}, {ID: "cm-bot", Name: "Bot", Service: true},
	}
	people[slices.IndexFunc(people, func(u clearmltest.User) bool { return u.ID == "cm-odd" })].Name = hostile
	teams := map[string][]string{
		"ml-team": {"cm-bob", "cm-cyn", "cm-eve", "cm-fay", "cm-gus", "cm-hal", "cm-ivy", "cm-jo", "cm-pia", "cm-bot"}, "platform": {"cm-bob"},
		"guests": {"cm-ann", "cm-odd"}, "Admins": {clearmltest.Self, "cm-cyn", "cm-pia"}, "Infrastructure": nil, hostile: {"cm-odd"},
	}
	return realm, people, teams
}

// look returns the reconciler of the company, at noon, after a pass at ten o'clock.
func look(t *testing.T, edit func(*realmfile.Realm)) *reconcile.Reconciler {
	t.Helper()
	realm, people, teams := company()
	server := clearmltest.New(t, clearmltest.Options{})
	for _, u := range people {
		server.AddUser(u)
	}
	for name, members := range teams {
		if name == "Admins" {
			server.SetMembers(name, members...)
		} else {
			server.AddGroup(clearmltest.Group{ID: "cm-" + name[:3], Name: name, Assignable: true, Members: members})
		}
	}
	rules, err := match.Compile(match.Options{
		Include: []string{"*"}, Exclude: []string{"secret"}, Mapping: map[string][]string{"infra": {"Infrastructure"}}, Protect: []string{"pia@*"},
		AdminGroups: []string{"clearml-admins"}, AdminRole: "boss", Provider: "keycloak",
	})
	if err != nil {
		t.Fatal(err)
	}
	target, err := clearml.New(clearml.Config{URL: server.URL, Keys: func() (clearml.Keys, error) { return clearml.Keys{Access: "access", Secret: "secret"}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	now := noon.Add(-2 * time.Hour)
	src := realmfile.New(realm)
	r := reconcile.New(src, target, reconcile.Options{
		Name: "test", Rules: rules, Store: new(memory.Process), Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now },
		Limits: guard.Limits{MaxRemovals: 50, Window: 24 * time.Hour, MaxRatio: 0.9, FreeRemovals: 20, MaxGone: 20, Grace: 4 * time.Hour, GoneGrace: 4 * time.Hour, MaxAdminGrants: 3, Floor: 1},
	})
	if rep := r.Pass(t.Context(), reconcile.Request{}); len(rep.Errors) > 0 {
		t.Fatal(rep.Errors)
	}
	if edit != nil {
		src.Edit(edit)
	}
	now = noon
	return r
}

// account returns an account of the realm. The caller may change it.
func account(r *realmfile.Realm, name string) *realmfile.User {
	return &r.Users[slices.IndexFunc(r.Users, func(u realmfile.User) bool { return u.Username == name })]
}

// TestAnswers compares each answer with the text in testdata. go test -update writes the
// texts.
func TestAnswers(t *testing.T) {
	switchOff := func(r *realmfile.Realm) {
		r.Components["org.keycloak.storage.UserStorageProvider"][0].Config = map[string][]string{"enabled": {"false"}}
	}
	for _, row := range []struct {
		name    string // the file in testdata
		subject reconcile.Subject
		edit    func(*realmfile.Realm)
	}{
		{"someone who joins a group", reconcile.Subject{User: "ann@example.com"}, nil},
		{"someone asked for by username", reconcile.Subject{User: "bob"}, nil},
		{"someone asked for by account id, in one group", reconcile.Subject{User: id("b"), Group: "ml-team"}, nil},
		{"an administrator by group and role", reconcile.Subject{User: "cm-cyn"}, nil},
		{"someone pending", reconcile.Subject{User: "dan"}, nil},
		{"a disabled account", reconcile.Subject{User: "eve"}, nil},
		{"a removal that waits for the grace", reconcile.Subject{User: "fay@example.com"}, nil},
		{"a removal whose federation is switched off", reconcile.Subject{User: "fay@example.com"}, switchOff},
		{"an account that looks disabled while its federation is off", reconcile.Subject{User: "nel"}, func(r *realmfile.Realm) {
			switchOff(r)
			nel := account(r, "nel")
			nel.FederationLink, nel.Enabled, nel.Groups = "fed-1", false, []string{"/research/ml-team"}
		}},
		{"a local user of ClearML", reconcile.Subject{User: "cm-gus"}, nil},
		{"an account whose email a local user has", reconcile.Subject{User: "gus"}, nil},
		{"someone of another provider", reconcile.Subject{User: "hal@example.com"}, nil},
		{"someone gone from Keycloak", reconcile.Subject{User: "ivy@example.com"}, nil},
		{"someone gone by email only", reconcile.Subject{User: "jo@example.com"}, nil},
		{"someone protected", reconcile.Subject{User: "pia"}, nil},
		{"someone ambiguous", reconcile.Subject{User: "cm-kim"}, nil},
		{"an account in no group that matters", reconcile.Subject{User: "nel"}, nil},
		{"a service account of Keycloak", reconcile.Subject{User: "service-account-app"}, nil},
		{"a service account of ClearML", reconcile.Subject{User: "cm-bot"}, nil},
		{"groupsync itself", reconcile.Subject{User: clearmltest.Self}, nil},
		{"hostile names", reconcile.Subject{User: "odd"}, func(r *realmfile.Realm) { account(r, "odd").Groups = append(account(r, "odd").Groups, "/"+hostile) }},
		{"a group that someone is not in", reconcile.Subject{User: "bob", Group: "/infra"}, nil},
		{"a group by the name in ClearML", reconcile.Subject{Group: "ml-team"}, nil},
		{"a group by its Keycloak path, mapped", reconcile.Subject{Group: "/infra"}, nil},
		{"a group that is excluded", reconcile.Subject{Group: "secret"}, nil},
		{"a group without a namesake in ClearML", reconcile.Subject{Group: "/finance"}, nil},
		{"a ClearML group that nothing feeds", reconcile.Subject{Group: "cm-gue"}, nil},
		{"the administrators", reconcile.Subject{Group: "Admins"}, nil},
		{"a group whose mapped source is missing", reconcile.Subject{Group: "Infrastructure"}, func(r *realmfile.Realm) {
			r.Groups = slices.DeleteFunc(r.Groups, func(g realmfile.Group) bool { return g.Name == "infra" })
			account(r, "dan").Groups = []string{"/research/ml-team"}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			v, err := look(t, row.edit).Look(t.Context(), row.subject)
			if err != nil {
				t.Fatal(err)
			}
			a := explain.Of(v)
			var text, data bytes.Buffer
			if err := explain.Text(&text, a); err != nil {
				t.Fatal(err)
			}
			if err := explain.JSON(&data, a); err != nil {
				t.Fatal(err)
			}
			golden(t, row.name, text.String())
			noNull(t, data.Bytes())
			plain(t, text.String()+data.String())
			var back explain.Answer
			if err := json.Unmarshal(data.Bytes(), &back); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(a, back); d != "" {
				t.Errorf("the JSON does not hold the whole answer:\n%s", d)
			}
		})
	}
}

// TestTheNextLoginGivesNothingToADisabledAccount: the own side of an account has a group that
// the member list does not show. If the account is enabled, the next login gives the group. If
// it is disabled, the person cannot log in.
func TestTheNextLoginGivesNothingToADisabledAccount(t *testing.T) {
	for _, row := range []struct {
		name    string
		enabled bool
		status  explain.Status
		wants   string
		why     string
	}{
		{"an enabled account", true, explain.Hidden, "in",
			"the person's own side has /research/ml-team, but Keycloak's member list hides the person, so no pass adds the person; the next login to ClearML gives the group"},
		{"a disabled account", false, explain.NotGranted, "unknown", "no pass adds the person: only an account that Keycloak shows as disabled has /research/ml-team"},
	} {
		t.Run(row.name, func(t *testing.T) {
			v, err := look(t, func(r *realmfile.Realm) { account(r, "nel").Enabled = row.enabled }).Look(t.Context(), reconcile.Subject{User: "nel", Group: "ml-team"})
			if err != nil {
				t.Fatal(err)
			}
			v.Person.Own = map[string]source.OwnGroups{id("e1"): {Groups: []string{"g-ml"}}}
			var got []explain.Standing
			for _, g := range explain.Of(v).Groups {
				if g.Name == "ml-team" {
					got = append(got, g.People...)
				}
			}
			if len(got) != 1 || got[0].Status != row.status || got[0].Wants != row.wants || got[0].Why != row.why {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// TestAnAnswerUnderASuspension checks that the answer names the guard, until when and why.
func TestAnAnswerUnderASuspension(t *testing.T) {
	r := look(t, nil)
	set := memory.Suspension{Until: noon.Add(time.Hour), Reason: "LDAP\nmove", By: "alice", At: noon}
	if err := r.Store.(*memory.Process).Suspend(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	v, err := r.Look(t.Context(), reconcile.Subject{User: "ann@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := explain.Text(&text, explain.Of(v)); err != nil {
		t.Fatal(err)
	}
	want := `guard suspended: all writing is suspended until ` + set.Until.UTC().Format(time.RFC3339) + ` ("LDAP\nmove"): `
	if !strings.Contains(text.String(), want) || strings.Contains(text.String(), "alice") {
		t.Errorf("no %s, or a name, in\n%s", want, text.String())
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", strings.ReplaceAll(strings.ReplaceAll(name, ",", ""), " ", "-")+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// nullable are the keys whose value may be null.
var nullable = regexp.MustCompile(`"(person|clearml|pending_since|admin_role|until|last)": null`)

// noNull checks that no list is null.
func noNull(t *testing.T, data []byte) {
	t.Helper()
	if rest := nullable.ReplaceAllString(string(data), ""); strings.Contains(rest, "null") {
		t.Errorf("a list is null:\n%s", data)
	}
}

// plain checks that nothing reaches the terminal and no line is forged.
func plain(t *testing.T, text string) {
	t.Helper()
	if strings.ContainsAny(text, "\x1b\u202e\r") || strings.Contains(text, "\n  + add  forged") {
		t.Errorf("a hostile name is not harmless:\n%q", text)
	}
}

// TestNobodyOrSeveral checks the errors for a subject that names no person or group, or
// several.
func TestNobodyOrSeveral(t *testing.T) {
	switchOff := func(r *realmfile.Realm) {
		r.Components["org.keycloak.storage.UserStorageProvider"][0].Config = map[string][]string{"enabled": {"false"}}
	}
	for _, row := range []struct {
		name    string
		subject reconcile.Subject
		edit    func(*realmfile.Realm)
		want    string
		kind    any
	}{
		{"nobody", reconcile.Subject{User: "zoe@example.com"}, nil,
			"no person zoe@example.com in ClearML (by email or id) or in Keycloak (by username, email or id): give the complete email, username or id", new(*reconcile.UnknownError)},
		{"nobody, and a federation is away that may have the person", reconcile.Subject{User: "zoe@example.com"}, switchOff,
			"ClearML has nobody with the email or id zoe@example.com, and the answer of Keycloak is not complete (the federation corp is not up, and may have the person: it is switched off in Keycloak): correct this, then ask again", new(*reconcile.UnknownError)},
		{"no group", reconcile.Subject{Group: "ml-taem"}, nil,
			"no group ml-taem in ClearML (by name or id) or in Keycloak (by path, claim name or id): did you mean ml-team?", new(*reconcile.UnknownError)},
		{"no group that is near", reconcile.Subject{User: "ann", Group: "zzzz"}, nil,
			"no group zzzz in ClearML (by name or id) or in Keycloak (by path, claim name or id): look the name up in ClearML or Keycloak", new(*reconcile.UnknownError)},
		{"a hostile text", reconcile.Subject{User: hostile}, nil,
			`no person "\u202e<script>alert(1)</script>\n  + add  forged\x1b[2J" in ClearML (by email or id) or in Keycloak (by username, email or id): give the complete email, username or id`, new(*reconcile.UnknownError)},
		{"the email of a local user and of an account", reconcile.Subject{User: "gus@example.com"}, nil,
			"gus@example.com matches 2 people: ask again with the id of one of them:\n  cm-gus  the ClearML user Gus <gus@example.com> (local)\n  00000000-0000-0000-0000-000000000009  the Keycloak account gus <gus@example.com>, which matches no ClearML user", new(*reconcile.SeveralError)},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := look(t, row.edit).Look(t.Context(), row.subject)
			if err == nil || err.Error() != row.want || !errors.As(err, row.kind) {
				t.Errorf("got  %v\nwant %s (%s)", err, row.want, reflect.TypeOf(row.kind).Elem())
			}
		})
	}
}
