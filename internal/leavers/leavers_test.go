package leavers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
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
	"groupsync/internal/source"
	"groupsync/internal/source/realmfile"
	"groupsync/internal/target/clearml"
	"groupsync/internal/target/clearmltest"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// id returns an account id that ends in n, which has at most twelve letters of a to f.
func id(n string) string { return "00000000-0000-0000-0000-" + strings.Repeat("0", 12-len(n)) + n }

func at(days int) string { return noon.AddDate(0, 0, -days).Format(time.RFC3339) }

// quiet is the activity of a user who used nothing for a hundred days.
var quiet = map[string]any{"last_ui_access": at(100), "last_credentials_login": at(100)}

// scene is a realm and a ClearML. The realm has the groups /team and /other and the enabled
// member ann; /team feeds a group of ClearML. ClearML has the groups team, lab and Admins.
type scene struct {
	realm   *realmfile.Realm
	options clearmltest.Options
	server  *clearmltest.Server
	rules   match.Options
	asked   []string // ids of the people who were looked up
}

func newScene(t *testing.T, o clearmltest.Options) *scene {
	s := &scene{options: o, server: clearmltest.New(t, o), rules: match.Options{Include: []string{"*"}, Provider: "keycloak"}}
	s.realm = &realmfile.Realm{Name: "clearml", Groups: []realmfile.Group{{ID: "g-team", Name: "team"}, {ID: "g-other", Name: "other"}}}
	s.server.AddTeam("team")
	s.server.AddTeam("lab")
	s.account("ann", "a", "/team")
	s.user("ann", sub("a"))
	return s
}

// account adds an enabled account and returns it. The caller may change it before the next
// call.
func (s *scene) account(name, account string, groups ...string) *realmfile.User {
	s.realm.Users = append(s.realm.Users, realmfile.User{ID: id(account), Username: name, Email: name + "@example.com", Enabled: true, Groups: groups})
	return &s.realm.Users[len(s.realm.Users)-1]
}

func sub(account string) map[string]any {
	return map[string]any{"keycloak": map[string]any{"sub": id(account)}}
}

// byEmail is the provider data of a user whose id ClearML does not keep.
var byEmail = map[string]any{"keycloak": map[string]any{"email": "x"}}

// user adds a ClearML user, cm-NAME, who used nothing recently.
func (s *scene) user(name string, providers map[string]any, edit ...func(*clearmltest.User)) {
	u := clearmltest.User{ID: "cm-" + name, Name: strings.ToUpper(name[:1]) + name[1:], Email: name + "@example.com", Providers: providers, Activity: quiet}
	for _, e := range edit {
		e(&u)
	}
	s.server.AddUser(u)
}

type lookUps struct {
	reconcile.Source
	s *scene
}

func (l lookUps) LookUp(ctx context.Context, snap *source.Snapshot, people []source.Person, known []source.Federation) (*source.Snapshot, error) {
	for _, p := range people {
		l.s.asked = append(l.s.asked, p.Key)
	}
	return l.Source.LookUp(ctx, snap, people, known)
}

func (s *scene) find(t *testing.T) leavers.Report {
	t.Helper()
	rules, err := match.Compile(s.rules)
	if err != nil {
		t.Fatal(err)
	}
	c, err := clearml.New(clearml.Config{URL: s.server.URL, Keys: func() (clearml.Keys, error) { return clearml.Keys{Access: "access", Secret: "secret"}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	r := reconcile.New(lookUps{realmfile.New(s.realm), s}, c, reconcile.Options{
		Name: "test", Rules: rules, Store: new(memory.Process), Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return noon },
		Limits: guard.Limits{MaxRemovals: 50, Window: 24 * time.Hour, Grace: time.Hour, GoneGrace: time.Hour, MaxAdminGrants: 3},
	})
	found, err := leavers.Find(t.Context(), r, c, leavers.Recent)
	if err != nil {
		t.Fatal(err)
	}
	if n := s.server.Count("permissions.add_or_update_user_group") + s.server.Count("users.set_role"); n > 0 {
		t.Errorf("ClearML was written %d times", n)
	}
	return found
}

// short returns one line about a person of a report.
func short(p leavers.Person) string {
	words := []string{p.ID, string(p.Status)}
	for _, h := range p.Holds {
		words = append(words, string(h))
	}
	for _, h := range p.Unknown {
		words = append(words, string(h)+"?")
	}
	return strings.Join(words, " ")
}

func lines(r leavers.Report) (all []string) {
	for _, p := range slices.Concat(r.Leavers, r.InDoubt) {
		all = append(all, short(p))
	}
	return all
}

// TestWhoLeft checks who is disabled, gone, in doubt or neither, and what they hold.
func TestWhoLeft(t *testing.T) {
	inLab := func(s *scene, names ...string) {
		for i, n := range names {
			names[i] = "cm-" + n
		}
		s.server.SetMembers("lab", names...)
	}
	ldap := func(s *scene, enabled string) {
		s.realm.Components = map[string][]realmfile.Component{"org.keycloak.storage.UserStorageProvider": {{ID: "fed-1", Name: "corp", ProviderID: "ldap", Config: map[string][]string{"enabled": {enabled}}}}}
	}
	for _, row := range []struct {
		name    string
		options clearmltest.Options
		arrange func(*scene)
		want    []string // one line for each person
		why     string   // part of the first person's Why
	}{
		{name: "an enabled person in an unmanaged group did not leave", arrange: func(s *scene) {
			s.account("bob", "b")
			s.user("bob", sub("b"))
			inLab(s, "bob")
		}},
		{name: "somebody disabled, still in a managed group", arrange: func(s *scene) {
			s.account("bob", "b", "/team").Enabled = false
			s.user("bob", sub("b"))
			s.server.SetMembers("team", "cm-bob")
		}, want: []string{"cm-bob disabled group"}, why: "read twice: the account is disabled, in Keycloak's own database too"},
		{name: "somebody disabled whom no managed group has, in an unmanaged group", arrange: func(s *scene) {
			s.account("bob", "b", "/other").Enabled = false
			s.user("bob", sub("b"))
			inLab(s, "bob")
		}, want: []string{"cm-bob disabled group"}},
		{name: "somebody gone, known by id, in Admins", arrange: func(s *scene) {
			s.user("bob", sub("b"))
			s.server.SetMembers("Admins", "cm-bob")
		}, want: []string{"cm-bob gone group admin"}, why: "looked up: Keycloak has neither the id that ClearML keeps nor the email"},
		{name: "somebody gone, known by email only, with the role admin", arrange: func(s *scene) {
			s.user("bob", byEmail, func(u *clearmltest.User) { u.Role = "admin" })
		}, want: []string{"cm-bob gone admin"}, why: "judged by the email only"},
		{name: "membership of Admins that does not give the role counts as administration", options: clearmltest.Options{RolesApart: true}, arrange: func(s *scene) {
			s.user("bob", sub("b"))
			s.server.SetMembers("Admins", "cm-bob")
		}, want: []string{"cm-bob gone group admin"}},
		{name: "groups that only the group's own list shows count", options: clearmltest.Options{NoBuiltinSecGroups: true}, arrange: func(s *scene) {
			s.user("bob", sub("b"))
			s.server.SetMembers("Queue admins", "cm-bob")
		}, want: []string{"cm-bob gone group"}},
		{name: "an access rule that names somebody gone, and one that names a group", arrange: func(s *scene) {
			s.user("bob", sub("b"))
			s.server.AddRule(clearmltest.Rule{ID: "r1", Users: []string{"cm-bob"}})
			s.server.AddRule(clearmltest.Rule{ID: "r2", Groups: []string{"cm-lab"}})
		}, want: []string{"cm-bob gone rule"}},
		{name: "API keys used yesterday by somebody who is disabled", arrange: func(s *scene) {
			s.account("bob", "b").Enabled = false
			s.user("bob", sub("b"), func(u *clearmltest.User) {
				u.Activity = map[string]any{"last_ui_access": at(100), "last_credentials_login": at(1)}
			})
		}, want: []string{"cm-bob disabled recent_use"}},
		{name: "the UI used 29 days ago counts, 31 days ago does not", arrange: func(s *scene) {
			for name, days := range map[string]int{"bob": 29, "cid": 31} {
				s.user(name, sub(name[:1]), func(u *clearmltest.User) {
					u.Activity = map[string]any{"last_ui_access": at(days), "last_credentials_login": at(100)}
				})
			}
		}, want: []string{"cm-bob gone recent_use"}},
		{name: "somebody gone who holds nothing, not even the group of all users", arrange: func(s *scene) { s.user("bob", sub("b")) }},
		{name: "nothing told of the use of API keys is unknown", arrange: func(s *scene) {
			s.user("bob", sub("b"), func(u *clearmltest.User) { u.Activity = map[string]any{"last_ui_access": at(100)} })
		}, want: []string{"cm-bob gone recent_use?"}},
		{name: "a role that is not told is unknown", options: clearmltest.Options{NoRoles: true}, arrange: func(s *scene) { s.user("bob", sub("b")) },
			want: []string{"cm-bob gone admin?"}},
		{name: "a protected leaver whom no managed group has is asked for", arrange: func(s *scene) {
			s.rules.Protect = []string{"bob@*"}
			s.account("bob", "b").Enabled = false
			s.user("bob", sub("b"))
			inLab(s, "bob")
		}, want: []string{"cm-bob disabled group"}},
		{name: "a ClearML without access rules", options: clearmltest.Options{NoAccessRules: true}, arrange: func(s *scene) { s.user("bob", sub("b")) },
			want: []string{"cm-bob gone rule?"}},
		{name: "a ClearML without activity", options: clearmltest.Options{NoActivity: true}, arrange: func(s *scene) { s.user("bob", sub("b")) },
			want: []string{"cm-bob gone recent_use?"}},
		{name: "a local user, a user of another provider and a service account are not Keycloak's", arrange: func(s *scene) {
			s.user("bob", nil, func(u *clearmltest.User) { u.Role = "admin" })
			s.user("cid", map[string]any{"google": map[string]any{}}, func(u *clearmltest.User) { u.Role = "admin" })
			inLab(s, "bob", "cid")
		}},
		{name: "somebody gone who signs in by another provider too", arrange: func(s *scene) {
			s.user("bob", map[string]any{"keycloak": sub("b")["keycloak"], "google": map[string]any{}})
			inLab(s, "bob")
		}, want: []string{"cm-bob unknown group"}, why: "the person signs in by another provider too"},
		{name: "somebody whose id is gone and whose email another account has", arrange: func(s *scene) {
			s.account("bob", "bb")
			s.user("bob", sub("b"))
			inLab(s, "bob")
		}, want: []string{"cm-bob unknown group"}, why: "another, enabled account has the email"},
		{name: "the same, and that account is disabled", arrange: func(s *scene) {
			s.account("bob", "bb").Enabled = false
			s.user("bob", sub("b"))
			inLab(s, "bob")
		}, want: []string{"cm-bob disabled group"}, why: "none of the 2 accounts that could be this person belongs in the user group"},
		{name: "two accounts of one email, one of them enabled", arrange: func(s *scene) {
			s.realm.DuplicateEmails = true
			s.account("bob", "b")
			twin := s.account("bobby", "bb")
			twin.Email, twin.Enabled = "bob@example.com", false
			s.user("bob", byEmail)
			inLab(s, "bob")
		}, want: []string{"cm-bob unknown group"}, why: "2 accounts could be the person, and 1 of them are enabled"},
		{name: "an enabled account that is another ClearML user's", arrange: func(s *scene) {
			s.account("bob", "b", "/team")
			s.user("bob", sub("b"))
			s.user("rob", byEmail, func(u *clearmltest.User) { u.Email = "bob@example.com" })
			inLab(s, "rob")
		}, want: []string{"cm-rob unknown group"}, why: "that account belongs to another ClearML user"},
		{name: "a changed email", arrange: func(s *scene) {
			s.account("bob", "b", "/team").Email = "robert@example.com"
			s.user("bob", byEmail, func(u *clearmltest.User) { u.Name = "bob" })
			inLab(s, "bob")
		}, want: []string{"cm-bob unknown group"}, why: "the email may have changed"},
		{name: "a server that tells no sign-in provider of anybody", options: clearmltest.Options{NoProviders: true}, arrange: func(s *scene) {
			s.user("bob", nil)
			inLab(s, "bob")
		}, want: []string{"cm-bob unknown group"}, why: "ClearML does not return whether the person ever signed in through Keycloak"},
		{name: "users.gone: keep and users.protect keep memberships, and hide nobody", arrange: func(s *scene) {
			s.rules.KeepGone, s.rules.Protect = true, []string{"cid@*", "dee@*"}
			s.user("bob", sub("b"))
			s.user("cid", sub("c"))
			s.account("dee", "d").Enabled = false
			s.user("dee", sub("d"))
			inLab(s, "bob", "cid", "dee")
		}, want: []string{"cm-bob gone group", "cm-cid gone group", "cm-dee disabled group"}},
		{name: "somebody of a federation that is up is disabled", arrange: func(s *scene) {
			ldap(s, "true")
			bob := s.account("bob", "b")
			bob.Enabled, bob.FederationLink = false, "fed-1"
			s.user("bob", sub("b"))
			inLab(s, "bob")
		}, want: []string{"cm-bob disabled group"}},
		{name: "somebody of a federation that is switched off only looks disabled", arrange: func(s *scene) {
			ldap(s, "false")
			bob := s.account("bob", "b")
			bob.Enabled, bob.FederationLink = false, "fed-1"
			s.user("bob", sub("b"))
			inLab(s, "bob")
		}, want: []string{"cm-bob unknown group"}, why: "the federation corp is not up: it is switched off in Keycloak"},
		{name: "somebody known by email whom a federation that is switched off may have", arrange: func(s *scene) {
			ldap(s, "false")
			s.user("bob", byEmail)
			inLab(s, "bob")
		}, want: []string{"cm-bob unknown group"}, why: "the federation corp is not up, and may have the person"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newScene(t, row.options)
			row.arrange(s)
			r := s.find(t)
			got := lines(r)
			got = slices.DeleteFunc(got, func(line string) bool { return strings.HasPrefix(line, "cm-ann ") })
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Fatalf("-want +got\n%s", diff)
			}
			if len(got) > 0 && row.why != "" {
				if all := slices.Concat(r.Leavers, r.InDoubt); !strings.Contains(all[0].Why, row.why) {
					t.Errorf("why: %s\nwant %s", all[0].Why, row.why)
				}
			}
			if want := 2; len(got) > 0 && r.ExitCode() != want || len(got) == 0 && r.ExitCode() != 0 {
				t.Errorf("exit code %d", r.ExitCode())
			}
		})
	}
}

// TestNobodyIsAskedInVain checks that Keycloak is asked only about people who hold, or may
// hold, something, and about whom the survey did not ask.
func TestNobodyIsAskedInVain(t *testing.T) {
	s := newScene(t, clearmltest.Options{})
	s.server.SetMembers("team", "cm-ann")
	s.account("bob", "b")
	s.user("bob", sub("b")) // holds nothing
	s.account("cid", "c")
	s.user("cid", sub("c"), func(u *clearmltest.User) {
		u.Activity = map[string]any{"last_ui_access": at(1), "last_credentials_login": at(1)}
	})
	s.user("dan", nil)
	s.server.SetMembers("lab", "cm-ann", "cm-dan")
	if got := lines(s.find(t)); len(got) > 0 {
		t.Errorf("found %q", got)
	}
	if diff := cmp.Diff([]string{"cm-cid"}, s.asked); diff != "" {
		t.Errorf("who was looked up, -want +got\n%s", diff)
	}
}

const hostile = "\u202e<script>alert(1)</script>\n  role: forged\x1b[2J"

// TestRenderings checks the text and the JSON of a report with every kind of content, hostile
// names included.
func TestRenderings(t *testing.T) {
	ui := noon.AddDate(0, 0, -3)
	r := leavers.Report{
		At: noon, Recent: leavers.Recent.Seconds(), NotReturned: []leavers.NotReturned{{What: leavers.Rule, Why: "ClearML has no call\x1b[2J"}},
		Leavers: []leavers.Person{{ID: "cm-odd", Name: hostile, Email: "odd@example.com", Status: leavers.Disabled, Match: "id", Why: "read twice: the account is disabled",
			Groups: []leavers.Membership{{Named: leavers.Named{ID: "g", Name: hostile}}, {Named: leavers.Named{ID: "cm-team", Name: "team"}, Managed: true}},
			Rules:  []leavers.Named{}, UI: &ui, Holds: []leavers.Holding{leavers.Group, leavers.RecentUse}, Unknown: []leavers.Holding{leavers.Admin, leavers.Rule}}},
		InDoubt: []leavers.Person{{ID: "cm-bob", Name: "Bob", Status: leavers.Doubtful, Why: "the federation corp is not up", Role: "user",
			Groups: []leavers.Membership{}, Rules: []leavers.Named{{ID: "r1", Name: hostile}, {ID: "r2"}, {}}, Holds: []leavers.Holding{leavers.Rule}, Unknown: []leavers.Holding{leavers.RecentUse}}},
	}
	const want = `leavers: people who are disabled or gone in Keycloak and hold, or may hold, something in ClearML: 1; people who may be disabled or gone: 1
ClearML did not return all access rules: ClearML has no call\x1b[2J

disabled  "\u202e<script>alert(1)</script>\n  role: forged\x1b[2J" <odd@example.com>  (id cm-odd)
  why: read twice: the account is disabled
  groups: "\u202e<script>alert(1)</script>\n  role: forged\x1b[2J" (not managed by groupsync), team
  role: unknown
  access rules that name the person: unknown
  last use of the UI: 2026-11-21T12:00:00Z, recent
  last use of API keys: unknown

unknown  Bob  (id cm-bob)
  why: the federation corp is not up
  groups: none
  role: user
  access rules that name the person: "\u202e<script>alert(1)</script>\n  role: forged\x1b[2J", r2, (no name)
  last use of the UI: unknown
  last use of API keys: unknown
`
	var text, data bytes.Buffer
	if err := leavers.Text(&text, r); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Errorf("text, -want +got\n%s", diff)
	}
	if err := leavers.JSON(&data, r); err != nil {
		t.Fatal(err)
	}
	var back leavers.Report
	if err := json.Unmarshal(data.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, back); diff != "" {
		t.Errorf("JSON, -want +got\n%s", diff)
	}
	if strings.ContainsAny(data.String(), "\x1b\u202e") {
		t.Errorf("the JSON is not inert:\n%s", data.String())
	}
}

// TestCount checks the count of each kind. It is 0 if nobody can hold the kind. It is missing if
// nobody certainly holds the kind and somebody may hold it.
func TestCount(t *testing.T) {
	type holdings = []leavers.Holding
	person := func(holds, unknown holdings) leavers.Person { return leavers.Person{Holds: holds, Unknown: unknown} }
	for _, row := range []struct {
		name             string
		leavers, inDoubt []leavers.Person
		want             map[leavers.Holding]int
	}{
		{"nobody", nil, nil, map[leavers.Holding]int{leavers.Group: 0, leavers.Admin: 0, leavers.Rule: 0, leavers.RecentUse: 0}},
		{"what two hold", []leavers.Person{person(holdings{leavers.Group, leavers.Admin}, nil), person(holdings{leavers.Group}, nil)}, nil,
			map[leavers.Holding]int{leavers.Group: 2, leavers.Admin: 1, leavers.Rule: 0, leavers.RecentUse: 0}},
		{"what a leaver may hold", []leavers.Person{person(holdings{leavers.Group}, holdings{leavers.Rule})}, nil,
			map[leavers.Holding]int{leavers.Group: 1, leavers.Admin: 0, leavers.RecentUse: 0}},
		{"what one holds and another may hold", []leavers.Person{person(holdings{leavers.Rule}, nil), person(nil, holdings{leavers.Rule})}, nil,
			map[leavers.Holding]int{leavers.Group: 0, leavers.Admin: 0, leavers.Rule: 1, leavers.RecentUse: 0}},
		{"what somebody in doubt holds, or may hold", nil, []leavers.Person{person(holdings{leavers.Admin}, holdings{leavers.RecentUse})},
			map[leavers.Holding]int{leavers.Group: 0, leavers.Rule: 0}},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := leavers.Report{Leavers: row.leavers, InDoubt: row.inDoubt}.Count()
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}
