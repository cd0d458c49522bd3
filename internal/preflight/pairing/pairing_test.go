package pairing_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/config/clearmlenv"
	"groupsync/internal/preflight"
	"groupsync/internal/preflight/pairing"
	"groupsync/internal/reconcile"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target/clearml"
	"groupsync/internal/target/clearmltest"
)

// failing is a survey that returns an error.
type failing struct{ err error }

func (f failing) Survey(context.Context) (reconcile.View, error) { return reconcile.View{}, f.err }

// checksOf returns checks without a Keycloak. Their survey returns the error.
func checksOf(t *testing.T, o pairing.Options, s *clearmltest.Server, err error) []preflight.Check {
	t.Helper()
	c, clientErr := clearml.New(clearml.Config{URL: s.URL, Keys: func() (clearml.Keys, error) { return clearml.Keys{Access: "access", Secret: "secret"}, nil }})
	must(t, clientErr)
	o.Open = func() (pairing.Surveyor, string) { return failing{err}, "" }
	return pairing.Checks(o, nil, c, nil, nil)
}

func TestASurveyThatFails(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"a refusal that holds the advice", errors.New("the token lacks view-users. To fix it, assign view-users"),
			"✘ pairing-groups: the token lacks view-users.\n    assign view-users\n"},
		{"any other error", errors.New("the realm is empty"),
			"✘ pairing-groups: the realm is empty\n    correct this cause: a pass would fail for the same reason\n"},
		{"no time is left", fmt.Errorf("reading: %w", context.DeadlineExceeded),
			"! pairing-groups: groupsync could not complete this check: reading: context deadline exceeded\n    find out why both sides answer slowly: a pass takes as long\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, r := printed(t, checksOf(t, pairing.Options{}, clearmltest.New(t, clearmltest.Options{}), tt.err), "pairing-groups")
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
			blind := 0
			for _, f := range r.Findings {
				if f.Seen == "groupsync did not make this check, because it could not survey both sides" {
					blind++
				}
			}
			if blind != 5 {
				t.Errorf("%d checks say that there is no survey, want 5", blind)
			}
		})
	}
}

// TestConnection compares connections of the web application with a configuration: the realm r
// on https://auth.example.com, the client clearml and the claim groups.
func TestConnection(t *testing.T) {
	const begin = "https://auth.example.com/realms/r/protocol/openid-connect/"
	connection := func(changes ...any) map[string]any {
		c := map[string]any{"provider": "keycloak", "client_id": "clearml", "client_secret": "s3cr3t", "authorization_endpoint": begin + "auth", "token_endpoint": begin + "token", "group_enabled": true, "claim_groups": "groups"}
		for i := 0; i < len(changes); i += 2 {
			c[changes[i].(string)] = changes[i+1]
		}
		return c
	}
	const (
		unknown = "! shut-out: groupsync could not check whether people are shut out of ClearML: neither ClearML's variables nor its web application show whether ClearML refuses people who are in no group (prohibit_user_signup_if_not_in_group)\n    name the file of ClearML's variables with --clearml-env\n"
		off     = "✔ shut-out: ClearML lets people sign in who are in no group (prohibit_user_signup_if_not_in_group is off)\n"
		on      = "! shut-out: groupsync did not make this check, because it could not survey both sides\n    see the check groups\n"
		agrees  = "✔ connection: 1 connection of ClearML's web application to Keycloak: the realm, the client and the claim are those of the configuration\n"
		none    = "✔ connection: nobody has made a connection to Keycloak in ClearML's web application. This check cannot see a connection that ClearML's environment variables make\n"
		web     = "look for a connection to Keycloak in ClearML's settings, under Identity Providers. If there is one, compare its realm, client and groups claim with groupsync's configuration\n"
	)
	for _, tt := range []struct {
		name    string
		server  clearmltest.Options
		fault   clearmltest.Fault
		there   []map[string]any
		options func(*pairing.Options)
		want    string
	}{
		{"there is none", clearmltest.Options{}, clearmltest.Fault{}, nil, nil, none + unknown},
		{"there is none to Keycloak", clearmltest.Options{}, clearmltest.Fault{}, []map[string]any{connection("provider", "okta", "client_id", "x")}, nil, none + unknown},
		{"the server has no such call", clearmltest.Options{NoConnections: true}, clearmltest.Fault{}, nil, nil,
			"! connection: groupsync could not check the sign-in connections of ClearML's web application, because ClearML has no call that returns them (sso.get_provider_configurations)\n    " + web + unknown},
		{"the caller may not see them", clearmltest.Options{}, clearmltest.Fault{Call: "sso.get_provider_configurations", Code: 403, Subcode: 20, Text: "no"}, nil, nil,
			"! connection: groupsync could not complete this check: ClearML sso.get_provider_configurations: the role of these credentials may not make this call (403/20, no): give groupsync the access key of a ClearML administrator\n    " + web + unknown},
		{"it agrees", clearmltest.Options{}, clearmltest.Fault{}, []map[string]any{connection()}, nil, agrees + unknown},
		{"the host is written in another way", clearmltest.Options{}, clearmltest.Fault{}, []map[string]any{connection("token_endpoint", "https://AUTH.example.com:443/realms/r/protocol/openid-connect/token")}, nil, agrees + unknown},
		{"people in no group may sign in", clearmltest.Options{}, clearmltest.Fault{}, []map[string]any{connection("group_prohibit_user_login_if_not_in_group", false)}, nil, agrees + off},
		{"people in no group are refused", clearmltest.Options{}, clearmltest.Fault{}, []map[string]any{connection("group_prohibit_user_login_if_not_in_group", true)}, nil, agrees + on},
		{"the variables let them in, and one of two connections does not", clearmltest.Options{}, clearmltest.Fault{},
			[]map[string]any{connection("group_prohibit_user_login_if_not_in_group", true), connection("group_prohibit_user_login_if_not_in_group", false)},
			func(o *pairing.Options) { o.NeedsGroup = clearmlenv.Off }, strings.Replace(agrees, "1 connection", "2 connections", 1) + on},
		{"the variables refuse them", clearmltest.Options{}, clearmltest.Fault{}, nil, func(o *pairing.Options) { o.NeedsGroup = clearmlenv.On }, none + on},
		{"the variables let them in", clearmltest.Options{}, clearmltest.Fault{}, nil, func(o *pairing.Options) { o.NeedsGroup = clearmlenv.Off }, none + off},
		{"it does not sync groups", clearmltest.Options{}, clearmltest.Fault{}, []map[string]any{connection("group_enabled", false, "claim_groups", "teams", "group_prohibit_user_login_if_not_in_group", true)}, nil,
			"✔ connection: the connection does not sync groups at a login, so only groupsync writes memberships\n" + off},
		{"another realm", clearmltest.Options{}, clearmltest.Fault{}, []map[string]any{connection("token_endpoint", "https://auth.example.com/realms/s/protocol/openid-connect/token")}, nil,
			"✘ connection: the token endpoint of the connection is of the realm \"s\", and keycloak.realm is \"r\", so people sign in with accounts that groupsync does not see\n    make them equal, in ClearML's settings, under Identity Providers or in keycloak.realm\n" + unknown},
		{"another host", clearmltest.Options{}, clearmltest.Fault{}, []map[string]any{connection("authorization_endpoint", "https://login.example.com/realms/r/protocol/openid-connect/auth")}, nil,
			"! connection: the authorization endpoint of the connection is on https://login.example.com, and keycloak.url is https://auth.example.com\n    make sure that both are one Keycloak. Two addresses of one server are all right\n" + unknown},
		{"no endpoint of a realm", clearmltest.Options{}, clearmltest.Fault{}, []map[string]any{connection("authorization_endpoint", "https://user:s3cr3t@auth.example.com/")}, nil,
			"! connection: the authorization endpoint of the connection is not an endpoint of a Keycloak realm, so groupsync could not compare it\n    look at the connection in ClearML's settings, under Identity Providers\n" + unknown},
		{"another client", clearmltest.Options{}, clearmltest.Fault{}, []map[string]any{connection("client_id", "web")}, nil,
			"! connection: the connection signs people in by the client \"web\", and the checks sign-in-… checked the client \"clearml\"\n    set keycloak.clearml_client_id to the client that people sign in by, and run the check again\n" + unknown},
		{"the client is not configured", clearmltest.Options{}, clearmltest.Fault{}, []map[string]any{connection()}, func(o *pairing.Options) { o.ClientID = "" },
			"! connection: the connection signs people in by the client \"clearml\", and groupsync knows no client, so the checks sign-in-… did not check that client\n    set keycloak.clearml_client_id to this client\n" + unknown},
		{"another claim", clearmltest.Options{}, clearmltest.Fault{}, []map[string]any{connection("claim_groups", "teams")}, nil,
			"✘ connection: the connection reads groups from the claim \"teams\", and groups.claim is \"groups\"\n    make them equal, in ClearML's settings, under Identity Providers or in groups.claim\n" + unknown},
		{"a connection of which little is told", clearmltest.Options{}, clearmltest.Fault{}, []map[string]any{{"provider": "Keycloak"}}, nil, agrees + unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := clearmltest.New(t, tt.server)
			s.SetConnections(tt.there...)
			if tt.fault.Call != "" {
				s.Inject(tt.fault)
			}
			o := pairing.Options{URL: "https://auth.example.com", Realm: "r", ClientID: "clearml", Claim: "groups"}
			if tt.options != nil {
				tt.options(&o)
			}
			got, _ := printed(t, checksOf(t, o, s, errors.New("no Keycloak")), "pairing-connection", "pairing-shut-out")
			if d := cmp.Diff(tt.want, strings.ReplaceAll(got, "pairing-", "")); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
			if strings.Contains(got, "s3cr3t") {
				t.Errorf("a secret is shown:\n%s", got)
			}
		})
	}
}

const hostile = "\u202e<script>\x1b[2J\n=cmd"

// TestHostileNamesAreHarmless: names that could harm a terminal or a reader are escaped in
// both formats, wherever they come from.
func TestHostileNamesAreHarmless(t *testing.T) {
	s := newSite(t, keycloaktest.Spec{
		Groups: []string{"/a/" + hostile, "/b/" + hostile, "/c/near " + hostile, "/d/boss " + hostile, "/e/boss " + hostile, "/f/lost " + hostile},
		Users:  []keycloaktest.User{user("ann", "/a/"+hostile), user("bob", "/d/boss "+hostile), user("cyn"), user("dan")},
	})
	s.clearml.AddUser(clearmltest.User{ID: "cm-ann", Name: hostile, Email: "ann@example.com" + hostile, Providers: map[string]any{"keycloak": map[string]any{"sub": s.realm.UserID(t, "ann")}}})
	s.clearml.AddUser(clearmltest.User{ID: "cm-bob" + hostile, Name: hostile, Role: hostile, Providers: map[string]any{"keycloak": map[string]any{"sub": s.realm.UserID(t, "bob")}}})
	s.clearml.AddUser(clearmltest.User{ID: "cm-cyn" + hostile, Email: "cyn@example.com", Providers: map[string]any{"keycloak": map[string]any{"sub": s.realm.UserID(t, "cyn")}}})
	s.clearml.AddUser(clearmltest.User{ID: "cm-gus" + hostile, Email: "cyn@example.com", Providers: map[string]any{"keycloak": map[string]any{}}})
	s.clearml.AddUser(clearmltest.User{ID: "cm-dan", Email: "dan@example.com" + hostile, Providers: map[string]any{"keycloak": map[string]any{"sub": s.realm.UserID(t, "dan")}}})
	s.clearml.AddTeam(hostile, "cm-cyn"+hostile, "cm-gus"+hostile)
	s.clearml.AddTeam("NEAR " + hostile)
	s.clearml.SetMembers("Admins", "cm-cyn"+hostile)
	s.clearml.SetConnections(map[string]any{"provider": "keycloak", "client_id": hostile, "claim_groups": hostile, "token_endpoint": "https://auth.example.com/realms/" + hostile})
	s.rules.AdminGroups = []string{"boss " + hostile, "/d/boss " + hostile}
	s.lost = hostile
	s.options.NeedsGroup = clearmlenv.On
	names := []string{"pairing-groups", "pairing-near-misses", "pairing-collisions", "pairing-people", "pairing-admins", "pairing-guards", "pairing-connection", "pairing-shut-out"}
	text, r := s.look(t, names...)
	var json bytes.Buffer
	must(t, r.JSON(&json))
	for format, shown := range map[string]string{"text": text, "JSON": json.String()} {
		if strings.ContainsAny(shown, "\u202e\x1b") || strings.Contains(shown, "\n=cmd") {
			t.Errorf("%s is not harmless:\n%q", format, shown)
		}
	}
	for _, name := range names {
		if !strings.Contains(text, name+": ") || !strings.Contains(one(text, name), "script>") {
			t.Errorf("the check %s shows no hostile name:\n%s", name, one(text, name))
		}
	}
}

// one returns the lines of one check.
func one(text, name string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.Contains(line, " "+name+": ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// TestShutOutLeavesPeopleOfAFederationAlone: people of a federation are not asked about,
// because the answer would fill Keycloak's user cache.
func TestShutOutLeavesPeopleOfAFederationAlone(t *testing.T) {
	ldap := keycloaktest.StartLDAP(t, []string{"feda", "fedb"}, map[string][]string{"ops": {"feda"}})
	s := newSite(t, keycloaktest.Spec{Groups: []string{"/ops"}, Users: []keycloaktest.User{user("ann", "/ops"), user("bob")}})
	s.realm.Federate(t, ldap, keycloaktest.FederationOptions{Cache: keycloaktest.NoCache})
	s.signIn(t, "ann", "bob")
	s.clearml.AddUser(clearmltest.User{ID: "cm-fedb", Email: "fedb@example.org", Providers: map[string]any{"keycloak": map[string]any{"sub": s.realm.UserID(t, "fedb")}}})
	s.clearml.AddTeam("ops", "cm-ann")
	s.options.NeedsGroup = clearmlenv.On
	got, _ := s.look(t, "pairing-shut-out")
	const want = `! pairing-shut-out: ClearML refuses people who are in no group that it knows (prohibit_user_signup_if_not_in_group). 1 person whom ClearML knows cannot sign in: bob@example.com
    put them into a Keycloak group that has a ClearML group of the same name, or switch the setting off
! pairing-shut-out: ClearML refuses people who are in no group that it knows (prohibit_user_signup_if_not_in_group). groupsync did not check 1 person who is in no member list of such a group: 0 because groupsync checks at most 50, and 1 because they belong to a user federation, where each question would fill Keycloak's user cache
    check single people with groupsync explain USER
`
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// TestShutOutOfManyPeople: only the first 50 people are asked about. The others are counted.
func TestShutOutOfManyPeople(t *testing.T) {
	spec := keycloaktest.Spec{Groups: []string{"/ops"}, Users: []keycloaktest.User{user("ann", "/ops")}}
	for i := range 52 {
		spec.Users = append(spec.Users, user(fmt.Sprintf("out-%02d", i)))
	}
	s := newSite(t, spec)
	for _, u := range spec.Users {
		s.known(u.Username, map[string]any{})
	}
	s.clearml.AddTeam("ops", "cm-ann")
	s.options.NeedsGroup = clearmlenv.On
	got, _ := s.look(t, "pairing-shut-out")
	for _, want := range []string{
		"50 people whom ClearML knows cannot sign in: out-00@example.com, out-01@example.com, out-02@example.com, out-03@example.com, out-04@example.com and 45 more\n",
		"groupsync did not check 2 people who are in no member list of such a group: 2 because groupsync checks at most 50, and 0 because they belong to a user federation",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
}

// TestTheChecksOnlyRead: the checks change nothing on either side.
func TestTheChecksOnlyRead(t *testing.T) {
	s := newSite(t, keycloaktest.Spec{Groups: []string{"/ops"}, Users: []keycloaktest.User{user("ann", "/ops"), user("bob")}})
	s.signIn(t, "ann", "bob")
	s.clearml.AddTeam("ops", "cm-bob")
	s.options.NeedsGroup = clearmlenv.On
	before := s.realm.State(t)
	if _, r := s.look(t); r.Count(preflight.Error) > 0 || r.Count(preflight.OK) == 0 {
		t.Errorf("%+v", r)
	}
	if d := cmp.Diff(before, s.realm.State(t)); d != "" {
		t.Errorf("the realm, -before +after\n%s", d)
	}
	for _, c := range s.clearml.Calls() {
		switch c {
		case "auth.login", "permissions.get_user_groups", "users.get_all", "users.get_service_users", "sso.get_provider_configurations":
		default:
			t.Errorf("the checks call %s", c)
		}
	}
}
