package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// long replaces the abbreviations of the tests, such as KC_, by the long names of ClearML's
// variables.
func long(text string) string {
	return strings.NewReplacer(
		"KC_", "CLEARML__services__login__sso__oauth_client__keycloak__",
		"SECURE_", "CLEARML__secure__login__sso__oauth_client__keycloak__",
	).Replace(text)
}

// clearmlEnv sets the variables that ClearML's documentation tells an operator to set.
const clearmlEnv = `SECURE_client_id=web
SECURE_client_secret=hidden
KC_base_url=https://auth.example.com/auth/realms/clearml
KC_groups__enabled=true
KC_groups__claim=teams
KC_groups__admins=["boss"]
KC_admin_role=admin
KC_groups__case_sensitive=false
`

// theirs writes clearml.env and returns its path.
func theirs(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "clearml.env")
	if err := os.WriteFile(path, []byte(long(text)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// own is the smallest configuration file that is valid together with clearmlEnv.
const own = `
keycloak: {client_secret: one}
clearml: {url: https://api.example.com, access_key: two, secret_key: three}
`

func TestClearMLsVariablesAreDefaults(t *testing.T) {
	role := "admin"
	want := Default()
	want.Keycloak.URL, want.Keycloak.Realm, want.Keycloak.ClientSecret = "https://auth.example.com/auth", "clearml", "one"
	want.Keycloak.ClearMLClientID = "web"
	want.ClearML.URL, want.ClearML.AccessKey, want.ClearML.SecretKey = "https://api.example.com", "two", "three"
	want.Groups.Claim, want.Groups.CaseSensitive, want.Admins.Groups, want.Admins.Role = "teams", false, []string{"boss"}, &role
	for _, tt := range []struct {
		name string
		o    Options
	}{
		{"from a file", Options{ClearMLEnv: theirs(t, clearmlEnv)}},
		{"from the environment", Options{Env: strings.Split(strings.TrimSpace(long(clearmlEnv)), "\n")}},
		{"from both, where they say the same", Options{ClearMLEnv: theirs(t, clearmlEnv), Env: []string{long("KC_admin_role=admin")}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.File = write(t, own)
			got, err := Load(tt.o)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestWhatContradictsClearML(t *testing.T) {
	const fight = `: make them equal, else groupsync and ClearML's login undo each other's changes`
	for _, tt := range []struct{ name, yaml, want string }{
		{"the same in other words", "keycloak: {url: https://AUTH.example.com/auth/, realm: clearml}\ngroups: {claim: teams, case_sensitive: false}\nadmins: {groups: [/teams/boss], role: web/admin}\n", ""},
		{"another URL", "keycloak: {url: https://auth.example.com}\n", `keycloak.url: "https://auth.example.com" (config.yaml:4) contradicts "https://auth.example.com/auth" of ClearML's KC_base_url (clearml.env:3)` + fight},
		{"another realm", "keycloak: {realm: other}\n", `keycloak.realm: "other" (config.yaml:4) contradicts "clearml" of ClearML's KC_base_url (clearml.env:3)` + fight},
		{"another claim", "groups: {claim: groups}\n", `groups.claim: "groups" (config.yaml:4) contradicts "teams" of ClearML's KC_groups__claim (clearml.env:5)` + fight},
		{"names in another way", "groups: {case_sensitive: true}\n", `groups.case_sensitive: true (config.yaml:4) contradicts false of ClearML's KC_groups__case_sensitive (clearml.env:8)` + fight},
		{"other administrators", "admins: {groups: [chief, <b>]}\n", `admins.groups: ["chief","<b>"] (config.yaml:4) contradicts ["boss"] of ClearML's KC_groups__admins (clearml.env:6)` + fight},
		{"no administrators", "admins: {groups: []}\n", `admins.groups: [] (config.yaml:4) contradicts ["boss"] of ClearML's KC_groups__admins (clearml.env:6)` + fight},
		{"another role", "admins: {role: owner}\n", `admins.role: "owner" (config.yaml:4) contradicts "admin" of ClearML's KC_admin_role (clearml.env:7)` + fight},
		{"no role", "admins: {role: \"\"}\n", `admins.role: "" (config.yaml:4) contradicts "admin" of ClearML's KC_admin_role (clearml.env:7)` + fight},
		{"everything at once, the URL with credentials unquoted", "admins: {role: owner}\nkeycloak: {realm: other, url: \"https://me:hidden@auth.example.com\"}\n",
			`keycloak.url: contains an @. Remove credentials from the URL: they have their own keys
keycloak.url: "[masked]" (config.yaml:5) contradicts "https://auth.example.com/auth" of ClearML's KC_base_url (clearml.env:3)` + fight + `
keycloak.realm: "other" (config.yaml:5) contradicts "clearml" of ClearML's KC_base_url (clearml.env:3)` + fight + `
admins.role: "owner" (config.yaml:4) contradicts "admin" of ClearML's KC_admin_role (clearml.env:7)` + fight},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := "clearml: {url: https://api.example.com, access_key: two, secret_key: three}\n\n\n" + tt.yaml
			_, err := Load(Options{File: write(t, text), ClearMLEnv: theirs(t, clearmlEnv), Env: []string{"GROUPSYNC_KEYCLOAK_CLIENT_SECRET=one"}})
			if d := cmp.Diff(long(tt.want), errorText(err)); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestAdministratorsByPath: ClearML's variable must have the names that the groups claim of the
// token has. So a path in the variable needs groups.full_path.
func TestAdministratorsByPath(t *testing.T) {
	const paths, leaf = `["/x/boss", "/chief"]`, `["boss"]`
	for _, tt := range []struct{ name, admins, yaml, want string }{
		{"paths, with full paths", paths, "groups: {full_path: true}\n", ""},
		{"paths, without", paths, "", `admins.groups: "/x/boss" of ClearML's KC_groups__admins (clearml.env:3) is a path, but groups.full_path is false, so no login matches the path: set groups.full_path if the group mapper gives full paths, else write the group's leaf name into the variable
admins.groups: "/chief" of ClearML's KC_groups__admins (clearml.env:3) is a path, but groups.full_path is false, so no login matches the path: set groups.full_path if the group mapper gives full paths, else write the group's leaf name into the variable`},
		{"a path to the leaf name", leaf, "admins: {groups: [/x/boss]}\n", ""},
		{"a path to the leaf name, with full paths", leaf, "groups: {full_path: true}\nadmins: {groups: [/x/boss]}\n",
			`admins.groups: ["/x/boss"] (config.yaml:6) contradicts ["boss"] of ClearML's KC_groups__admins (clearml.env:3): make them equal, else groupsync and ClearML's login undo each other's changes`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := "KC_base_url=https://auth.example.com/realms/clearml\nKC_groups__enabled=true\nKC_groups__admins=" + tt.admins + "\nKC_admin_role=\n"
			_, err := Load(Options{File: write(t, own+"\n"+tt.yaml), ClearMLEnv: theirs(t, env)})
			if d := cmp.Diff(long(tt.want), errorText(err)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestContradictionsNameEveryKindOfSource(t *testing.T) {
	flags := pflag.NewFlagSet("groupsync", pflag.ContinueOnError)
	AddFlags(flags)
	if err := flags.Parse([]string{"--admins.role=owner"}); err != nil {
		t.Fatal(err)
	}
	_, err := Load(Options{File: write(t, own), Flags: flags, Env: append(strings.Split(strings.TrimSpace(long(clearmlEnv)), "\n"), "GROUPSYNC_KEYCLOAK_REALM=other")})
	want := long(`keycloak.realm: "other" (environment GROUPSYNC_KEYCLOAK_REALM) contradicts "clearml" of ClearML's KC_base_url (environment): make them equal, else groupsync and ClearML's login undo each other's changes
admins.role: "owner" (flag --admins.role) contradicts "admin" of ClearML's KC_admin_role (environment): make them equal, else groupsync and ClearML's login undo each other's changes`)
	if d := cmp.Diff(want, errorText(err)); d != "" {
		t.Error(d)
	}
}

func TestGroupsThatClearMLDoesNotSync(t *testing.T) {
	base := "KC_base_url=https://auth.example.com/realms/clearml\nKC_admin_role=\nKC_groups__enabled=false\n"
	for _, tt := range []struct{ name, yaml, want string }{
		{"nothing said of groups", "", ""},
		{"groups of its own, said once", "admins: {groups: [boss]}\ngroups: {exclude: [a], include: [b]}\n",
			`groups.include: the configuration sets this key to ["b"] (config.yaml:6), but KC_groups__enabled (clearml.env:3) is false, so ClearML's login changes no groups: set that variable to true, or do not give ClearML's variables to groupsync`},
		{"administrators by group", "admins: {groups: [boss]}\n",
			`admins.groups: the configuration sets this key to ["boss"] (config.yaml:5), but KC_groups__enabled (clearml.env:3) is false, so ClearML's login changes no groups: set that variable to true, or do not give ClearML's variables to groupsync`},
		{"administrators by role alone", "admins: {floor: 2}\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(Options{File: write(t, own+"\n"+tt.yaml), ClearMLEnv: theirs(t, base)})
			if d := cmp.Diff(long(tt.want), errorText(err)); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestARoleLeftOpen: if admins.groups comes from ClearML's variables and no variable sets
// the role, groupsync's own configuration must set admins.role.
func TestARoleLeftOpen(t *testing.T) {
	env := theirs(t, strings.ReplaceAll(clearmlEnv, "KC_admin_role=admin\n", "KC_nonsense=hidden\n"))
	_, err := Load(Options{File: write(t, own), ClearMLEnv: env})
	want := `admins.role: must be set when admins.groups is set. ClearML's login also makes administrators from a role claim. If groupsync does not know this role, groupsync and ClearML's login undo each other's changes: write the role that ClearML's login reads, as client/role or realm:role, or "" if it reads none`
	if d := cmp.Diff(want, errorText(err)); d != "" {
		t.Error(d)
	}
	for _, tt := range []struct {
		name, yaml string
		want       []string
	}{
		{"left open", own, []string{
			"KC_nonsense (clearml.env:7) is unknown to groupsync, which ignores it: correct the name if it is mistyped",
			"KC_admin_role is not set, so ClearML uses its default role claim, which groupsync does not know: set the variable, or set admins.role",
		}},
		{"settled", own + "admins: {role: \"\"}\n", []string{"KC_nonsense (clearml.env:7) is unknown to groupsync, which ignores it: correct the name if it is mistyped"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			traced, _ := Trace(Options{File: write(t, tt.yaml), ClearMLEnv: env})
			if d := cmp.Diff(long(strings.Join(tt.want, "\n")), strings.Join(traced.Remarks, "\n")); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestSettingsNameTheirOrigin(t *testing.T) {
	flags := pflag.NewFlagSet("groupsync", pflag.ContinueOnError)
	AddFlags(flags)
	if err := flags.Parse([]string{"--guards.window=2h"}); err != nil {
		t.Fatal(err)
	}
	got, err := Trace(Options{File: write(t, own+"mode: apply\njitter: 1s\n"), ClearMLEnv: theirs(t, clearmlEnv), Env: []string{"GROUPSYNC_JITTER=2s"}, Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	origins, order := make(map[string]string), []string{}
	for _, s := range got.Settings {
		origins[s.Key], order = s.Origin, append(order, s.Key)
	}
	if d := cmp.Diff(slices.Collect(names()), order); d != "" {
		t.Errorf("not every key in the order of the table:\n%s", d)
	}
	for key, want := range map[string]string{
		"name": "default", "mode": "config.yaml:4", "jitter": "environment GROUPSYNC_JITTER", "guards.window": "flag --guards.window",
		"clearml.secret_key": "config.yaml:3", "keycloak.realm": long("ClearML's KC_base_url (clearml.env:3)"), "admins.role": long("ClearML's KC_admin_role (clearml.env:7)"),
	} {
		if origins[key] != want {
			t.Errorf("%s comes from %q, want %q", key, origins[key], want)
		}
	}
}

func TestABadFileOfClearMLIsSaidWithTheRest(t *testing.T) {
	traced, err := Trace(Options{File: write(t, "nane: a\n"), ClearMLEnv: theirs(t, "a: b\n")})
	want := `clearml.env: is not a file that sets ClearML's variables: give --clearml-env an env file (NAME=value lines), a docker-compose override (services.apiserver.environment) or Helm values (apiserver.extraEnvs)
config.yaml:1: unknown key "nane"; did you mean "name"?`
	if d := cmp.Diff(want, errorText(err)); d != "" {
		t.Error(d)
	}
	if traced.Settings != nil {
		t.Errorf("there are settings of a source that cannot be read: %v", traced.Settings)
	}
}
