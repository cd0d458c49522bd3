package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/report"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target/clearmltest"
)

// The parts of a configuration that loads. Each row spoils one of them.
const (
	goodKeycloak = `keycloak: {url: "https://auth.example.com", realm: clearml, client_secret: s}` + "\n"
	goodClearML  = `clearml: {url: "https://api.clearml.example.com", access_key: a, secret_key: k}` + "\n"
	good         = goodKeycloak + goodClearML // two lines
)

// inProcess runs the program inside the test. The environment holds only env.
func inProcess(t *testing.T, env []string, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), args, env, &stdout, &stderr)
	return outcome{code, stdout.String(), stderr.String()}
}

// TestRefusedBeforeAnyRequest checks what the program says of a configuration or a command
// line that cannot work: exactly these sentences, exit code 1, and nothing else.
func TestRefusedBeforeAnyRequest(t *testing.T) {
	for _, row := range []struct {
		name   string
		config string // empty: none is named
		args   []string
		env    []string
		want   string // all of stderr
	}{
		{
			name:   "an unknown key is named with its line and the nearest known one",
			config: good + "shedule: '@hourly'\n",
			want:   `groupsync: config.yaml:3: unknown key "shedule"; did you mean "schedule"?`,
		},
		{
			name:   "so is an unknown key of a section",
			config: good + "guards:\n  max_removals: 5\n  max_removal_ration: 0.5\n",
			want:   `groupsync: config.yaml:5: unknown key "guards.max_removal_ration"; did you mean "max_removal_ratio"?`,
		},
		{
			name:   "a key that stands in the wrong place is told its own",
			config: good + "realm: clearml\n",
			want:   `groupsync: config.yaml:3: unknown key "realm"; did you mean "keycloak.realm"?`,
		},
		{
			name:   "a mistyped value is told what belongs there",
			config: good + "guards: {max_removals: many}\njitter: 30\nadmins: {role: }\n",
			want: `groupsync: config.yaml:3: guards.max_removals: expected a whole number, got text
config.yaml:4: jitter: expected a duration such as 30s, 15m or 1h, got a number
config.yaml:5: admins.role: expected text, got nothing: write "" for an empty one`,
		},
		{
			name: "an unknown variable of the environment is named like a key",
			env:  []string{"GROUPSYNC_KEYCLOAK_URI=https://auth.example.com"},
			want: `groupsync: GROUPSYNC_KEYCLOAK_URI: unknown variable; did you mean "GROUPSYNC_KEYCLOAK_URL"?`,
		},
		{
			name: "a configuration that is not there",
			args: []string{"--config", "/nowhere/config.yaml"},
			want: `groupsync: reading the configuration: open /nowhere/config.yaml: no such file or directory: name an existing file with --config`,
		},
		{
			name: "no configuration at all",
			want: `groupsync: keycloak.url: is missing: write https://auth.example.com
keycloak.realm: is missing: set it
keycloak.client_secret: is missing: set keycloak.client_secret_file, or keycloak.client_secret
clearml.url: is missing: write https://api.clearml.example.com
clearml.access_key: is missing: set clearml.access_key_file, or clearml.access_key
clearml.secret_key: is missing: set clearml.secret_key_file, or clearml.secret_key`,
		},
		{
			name: "secret files that are not there",
			config: `keycloak: {url: "https://auth.example.com", realm: clearml, client_secret_file: /nowhere/client}
clearml: {url: "https://api.clearml.example.com", access_key_file: /nowhere/access, secret_key_file: /nowhere/secret}
`,
			want: `groupsync: keycloak.client_secret_file: there is no file /nowhere/client: put the secret there, or correct the path
clearml.access_key_file: there is no file /nowhere/access: put the secret there, or correct the path
clearml.secret_key_file: there is no file /nowhere/secret: put the secret there, or correct the path`,
		},
		{
			name: "URLs without a scheme",
			config: `keycloak: {url: auth.example.com/auth, realm: clearml, client_secret: s}
clearml: {url: api.clearml.example.com, access_key: a, secret_key: k}
`,
			want: `groupsync: keycloak.url: "auth.example.com/auth" has no scheme: write https://auth.example.com/auth
clearml.url: "api.clearml.example.com" has no scheme: write https://api.clearml.example.com`,
		},
		{
			name:   "a schedule that never comes true",
			config: good + "schedule: 0 0 31 2 *\n",
			want:   `groupsync: schedule: "0 0 31 2 *" never occurs: write a date that exists`,
		},
		{
			name:   "admin groups without a word about the admin role",
			config: good + "admins: {groups: [clearml-admins]}\n",
			want:   `groupsync: admins.role: must be set when admins.groups is set. ClearML's login also makes administrators from a role claim. If groupsync does not know this role, groupsync and ClearML's login undo each other's changes: write the role that ClearML's login reads, as client/role or realm:role, or "" if it reads none`,
		},
		{
			name:   "a mapping to a group that is built into ClearML",
			config: good + "groups: {mapping: {staff: Users, ops: [ops, Admins]}}\n",
			want: `groupsync: groups.mapping: "ops" feeds "Admins", which is built into ClearML, and groupsync writes no built-in group: map the name to another ClearML group, or name administrators in admins.groups
groups.mapping: "staff" feeds "Users", which is built into ClearML, and groupsync writes no built-in group: map the name to another ClearML group, or name administrators in admins.groups`,
		},
		{
			name:   "a web configuration that is not there",
			config: good + "web: {config_file: /nowhere/web.yaml}\n",
			want:   `groupsync: web.config_file: /nowhere/web.yaml: open /nowhere/web.yaml: no such file or directory: see exporter-toolkit's documentation of the web configuration`,
		},
		{
			name:   "a Lease and a directory for one memory",
			config: good + "state_dir: /var/lib/groupsync\nlease: {name: groupsync}\n",
			want:   `groupsync: state_dir: cannot be combined with lease.name. With a Lease, the guards' memory is in a ConfigMap that every replica can read: leave state_dir empty`,
		},
		{
			name:   "--drift-ok without --once",
			config: good,
			args:   []string{"--drift-ok"},
			want:   `groupsync: --drift-ok needs --once: the daemon has no exit code for drift`,
		},
		{
			name:   "--apply without --once",
			config: good,
			args:   []string{"--apply"},
			want:   `groupsync: --apply needs --once: the daemon writes if the configuration has mode: apply`,
		},
		{
			name:   "--approve without --apply",
			config: good,
			args:   []string{"--once", "--approve", "7d0cf8ae4c2f5b91"},
			want:   `groupsync: --approve needs --once --apply: an approval lifts guards for what that pass writes`,
		},
		{
			name:   "an output format that there is not",
			config: good,
			args:   []string{"--once", "-o", "xml"},
			want:   `groupsync: -o xml is not a format: write -o text, json, diff or markdown`,
		},
		{
			name:   "an output format of the daemon, which prints no report",
			config: good,
			args:   []string{"-o", "json"},
			want:   `groupsync: -o needs --once: the daemon prints no report. For a log in JSON, set log.format to json`,
		},
		{
			name:   "--full of the daemon, which prints no report",
			config: good,
			args:   []string{"--full"},
			want:   `groupsync: --full needs --once: the daemon prints no report`,
		},
		{
			name:   "--full with JSON, which is never cut",
			config: good,
			args:   []string{"--once", "--full", "-o", "json"},
			want:   `groupsync: --full needs -o text or -o markdown: -o json is never cut`,
		},
		{
			name:   "--full with a diff, which is never cut",
			config: good,
			args:   []string{"--once", "--full", "-o", "diff"},
			want:   `groupsync: --full needs -o text or -o markdown: -o diff is never cut`,
		},
		{
			name: "a shell that completion does not know",
			args: []string{"completion", "tcsh"},
			want: `groupsync: completion needs a shell: write groupsync completion bash, zsh, fish or powershell`,
		},
		{
			name: "completion without a shell",
			args: []string{"completion"},
			want: `groupsync: completion needs a shell: write groupsync completion bash, zsh, fish or powershell`,
		},
		{
			name:   "explain without a person or a group",
			config: good,
			args:   []string{"explain"},
			want:   `groupsync: explain needs a USER or --group: write groupsync explain USER, or groupsync explain --group GROUP`,
		},
		{
			name:   "explain of an empty text",
			config: good,
			args:   []string{"explain", ""},
			want:   `groupsync: explain needs a USER or --group: write groupsync explain USER, or groupsync explain --group GROUP`,
		},
		{
			name:   "explain of two people",
			config: good,
			args:   []string{"explain", "ann", "bob"},
			want:   `groupsync: accepts at most 1 arg(s), received 2: groupsync --help lists the commands and flags`,
		},
		{
			name:   "explain in another format",
			config: good,
			args:   []string{"explain", "ann", "-o", "xml"},
			want:   `groupsync: -o xml is not a format: write -o text or -o json`,
		},
		{
			name:   "a suspension without an end",
			config: good,
			args:   []string{"suspend", "--reason", "r"},
			want:   `groupsync: suspend needs --for, such as --for 2h, because a suspension ends by itself; the longest is 720h0m0s`,
		},
		{
			name:   "a suspension in the past",
			config: good,
			args:   []string{"suspend", "--for", "-2h", "--reason", "r"},
			want:   `groupsync: a suspension of -2h0m0s would end before it begins: give a time in the future, such as 2h`,
		},
		{
			name:   "a suspension without a reason",
			config: good,
			args:   []string{"suspend", "--for", "2h"},
			want:   `groupsync: a suspension needs a reason: write one sentence for the person who finds that groupsync writes nothing`,
		},
		{
			name:   "a suspension that is too long",
			config: good,
			args:   []string{"suspend", "--for", "1000h", "--reason", "r"},
			want:   `groupsync: a suspension of 1000h0m0s is longer than 720h0m0s: suspend for a shorter time, and again if that is not enough`,
		},
		{
			name:   "a suspension that no other process would see",
			config: good,
			args:   []string{"suspend", "--for", "2h", "--reason", "r"},
			want:   `groupsync: neither state_dir nor lease.name is set, so no other process would see a suspension: set one of them, or ask the daemon itself (POST /-/suspend, /-/resume)`,
		},
		{
			name:   "the end of a suspension that no other process would see",
			config: good,
			args:   []string{"resume"},
			want:   `groupsync: neither state_dir nor lease.name is set, so no other process would see a suspension: set one of them, or ask the daemon itself (POST /-/suspend, /-/resume)`,
		},
		{
			name:   "a suspension of something",
			config: good,
			args:   []string{"suspend", "team", "--for", "2h", "--reason", "r"},
			want:   `groupsync: unknown command "team" for "groupsync suspend": groupsync --help lists the commands and flags`,
		},
		{
			name: "a flag that there is not",
			args: []string{"--onze"},
			want: `groupsync: unknown flag: --onze: groupsync --help lists the commands and flags`,
		},
		{
			name: "a command that there is not",
			args: []string{"chekc"},
			want: `groupsync: unknown command "chekc" for "groupsync": groupsync --help lists the commands and flags`,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.config != "" {
				row.args = append(row.args, "--config", write(t, "config.yaml", row.config))
			}
			got := inProcess(t, row.env, row.args...)
			if diff := cmp.Diff(outcome{code: 1, stderr: row.want + "\n"}, got, cmp.AllowUnexported(outcome{})); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// write writes a file of that name into a directory of its own.
func write(t *testing.T, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestCorruptMemory checks that no pass begins if the guards' memory cannot be read.
func TestCorruptMemory(t *testing.T) {
	for name, row := range map[string]struct{ content, want string }{
		"a memory that breaks off": {
			`{"version":1,"fed`,
			"groupsync: the guards' memory FILE is corrupt (unexpected end of JSON input): restore it, or remove it to start without memory\n",
		},
		"a memory of another version": {
			`{"version":7}`,
			"groupsync: the guards' memory FILE has version 7, this groupsync reads version 1: remove it to start without memory\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := write(t, "memory.json", row.content)
			config := write(t, "config.yaml", good+"state_dir: "+filepath.Dir(file)+"\n")
			for _, args := range [][]string{{"--once", "--apply"}, {}} {
				got := inProcess(t, nil, append(args, "--config", config)...)
				if want := strings.ReplaceAll(row.want, "FILE", file); got.code != 1 || got.stderr != want || got.stdout != "" {
					t.Errorf("%v: exit %d\n%s%swant\n%s", args, got.code, got.stdout, got.stderr, want)
				}
			}
		})
	}
}

func TestPortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	got := inProcess(t, nil, "--config", write(t, "config.yaml", good), "--web.listen", taken.Addr().String())
	want := fmt.Sprintf("groupsync: listening for HTTP: listen tcp %s: bind: address already in use. Free the port or set web.listen to another address\n", taken.Addr())
	if got.code != 1 || got.stderr != want || got.stdout != "" {
		t.Errorf("exit %d\n%s%swant\n%s", got.code, got.stdout, got.stderr, want)
	}
}

// place is a realm and a ClearML between which one addition and one removal are due. ann must
// be added to the team, and cid has left it.
type place struct {
	realm   *keycloaktest.Realm
	clearml *clearmltest.Server
	url     string // the URL of ClearML
}

func newPlace(t *testing.T, edit func(*keycloaktest.Spec), o clearmltest.Options) *place {
	t.Helper()
	spec := keycloaktest.Spec{
		Groups: []string{"/team", "/leads"},
		Users: []keycloaktest.User{
			{Username: "ann", Email: "ann@example.com", Groups: []string{"/team"}},
			{Username: "bob", Email: "bob@example.com", Groups: []string{"/team"}},
			{Username: "cid", Email: "cid@example.com"},
		},
	}
	if edit != nil {
		edit(&spec)
	}
	p := &place{realm: keycloaktest.Shared(t).NewRealm(t, spec), clearml: clearmltest.New(t, o)}
	p.url = p.clearml.URL
	for _, u := range spec.Users {
		person(p.clearml, u.Username, p.realm.UserID(t, u.Username))
	}
	p.clearml.AddTeam("team", "cm-bob", "cm-cid")
	p.clearml.SetMembers("Admins", clearmltest.Self, "cm-bob")
	return p
}

// apply runs --once --apply: a pass that would write the addition and the removal that are due.
func (p *place) apply(t *testing.T, more string, env []string, args ...string) outcome {
	t.Helper()
	more += "\nguards: {max_removal_ratio: 0, federation_grace: 0s}"
	config := configure(t, p.realm.Server.URL, p.realm.Name, p.url, more)
	return inProcess(t, env, append(args, "--once", "--apply", "-o", "json", "--config", config)...)
}

// untouched checks that the pass did not even try to write.
func (p *place) untouched(t *testing.T, before []clearmltest.Group) {
	t.Helper()
	if n := p.clearml.Count("permissions.add_or_update_user_group"); n != 0 {
		t.Errorf("%d writes were sent", n)
	}
	if diff := cmp.Diff(before, p.clearml.Groups()); diff != "" {
		t.Errorf("ClearML's groups changed\n%s", diff)
	}
}

// TestRefusedPass checks what a pass says if a side cannot be read completely: exactly this
// one error, exit code 1, and nothing written of what is due.
func TestRefusedPass(t *testing.T) {
	keycloaktest.Shared(t)
	for _, row := range []struct {
		name    string
		realm   func(*keycloaktest.Spec)
		clearml clearmltest.Options
		arrange func(*testing.T, *place)
		config  string
		env     []string
		args    []string
		want    report.Failure // KEYCLOAK, CLEARML and REALM stand for what they are
	}{
		{
			name: "Keycloak refuses the secret",
			env:  []string{"GROUPSYNC_KEYCLOAK_CLIENT_SECRET=wrong"},
			want: report.Failure{System: "keycloak", Reason: "auth",
				Text: `signing in to Keycloak: the realm "REALM" refuses the client "groupsync" (401 unauthorized_client: Invalid client or Invalid client credentials). The client exists, but Keycloak does not accept the secret. groupsync did not read the realm. To fix it, check keycloak.client_id and the client secret, which Keycloak shows in Clients > groupsync > Credentials`},
		},
		{
			name: "Keycloak does not know the client",
			args: []string{"--keycloak.client_id", "groupsink"},
			want: report.Failure{System: "keycloak", Reason: "auth",
				Text: `signing in to Keycloak: the realm "REALM" refuses the client "groupsink" (401 invalid_client: Invalid client or Invalid client credentials). There is no such client, or it is disabled, or it is set to sign in without a client secret. groupsync did not read the realm. To fix it, check keycloak.client_id, and that the client is enabled with the "Client Authenticator" "Client Id and Secret" in Clients > groupsink > Credentials`},
		},
		{
			name: "the realm does not exist",
			args: []string{"--keycloak.realm", "nowhere"},
			want: report.Failure{System: "keycloak", Reason: "not_found",
				Text: `signing in to Keycloak: there is no realm "nowhere" at KEYCLOAK (404 Realm does not exist). groupsync did not read the realm. To fix it, check keycloak.realm, and the path prefix in keycloak.url`},
		},
		{
			name: "nothing listens where Keycloak should",
			args: []string{"--keycloak.url", "http://127.0.0.1:1"},
			want: report.Failure{System: "keycloak", Reason: "connection",
				Text: `signing in to Keycloak: no connection to http://127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused; check keycloak.url. If the error is about a certificate, check keycloak.ca_file`},
		},
		{
			name:  "the service account has query-groups only",
			realm: func(s *keycloaktest.Spec) { s.ServiceRoles = []string{"query-groups"} },
			want: report.Failure{System: "keycloak", Reason: "forbidden",
				Text: `signing in to Keycloak: the access token lacks view-users and view-realm of realm-management, without which Keycloak hides people and reports no error. groupsync did not read the realm. To fix it, assign view-users and view-realm of realm-management to the service account of the client "groupsync" in Clients > groupsync > Service account roles. If they are listed there, switch on "Full scope allowed" in Clients > groupsync > Client scopes > groupsync-dedicated > Scope`},
		},
		{
			name:  "the service account has view-users only",
			realm: func(s *keycloaktest.Spec) { s.ServiceRoles = []string{"view-users"} },
			want: report.Failure{System: "keycloak", Reason: "forbidden",
				Text: `signing in to Keycloak: the access token lacks view-realm of realm-management, without which Keycloak hides people and reports no error. groupsync did not read the realm. To fix it, assign view-realm of realm-management to the service account of the client "groupsync" in Clients > groupsync > Service account roles. If they are listed there, switch on "Full scope allowed" in Clients > groupsync > Client scopes > groupsync-dedicated > Scope`},
		},
		{
			name:  "the access token is a lightweight one",
			realm: func(s *keycloaktest.Spec) { s.Lightweight = true },
			want: report.Failure{System: "keycloak", Reason: "forbidden",
				Text: `signing in to Keycloak: the client "groupsync" gets lightweight access tokens: the access token carries no client roles, so groupsync cannot tell what it may read. groupsync did not read the realm. To fix it, switch off "Always use lightweight access token" in Clients > groupsync > Advanced > Advanced settings. If it is off, a client policy of the realm (executor use-lightweight-access-token) sets it`},
		},
		{
			name:   "a client's admin role, which the service account may not see",
			realm:  func(s *keycloaktest.Spec) { s.Roles = []string{"grafana/admin"} },
			config: "admins: {role: grafana/admin}",
			want: report.Failure{System: "keycloak", Reason: "forbidden",
				Text: `reading the role "grafana/admin": the name means a role of a client, and groupsync cannot read the clients' roles. Give the service account of the client "groupsync" the role view-clients of realm-management`},
		},
		{
			name: "the realm has no groups",
			realm: func(s *keycloaktest.Spec) {
				s.Groups = nil
				for i := range s.Users {
					s.Users[i].Groups = nil
				}
			},
			want: report.Failure{System: "keycloak", Reason: "incomplete",
				Text: `the realm has no groups: nothing is synchronized from an empty realm; check keycloak.realm`},
		},
		{
			name:    "the realm has no users",
			realm:   func(s *keycloaktest.Spec) { s.Users = nil },
			arrange: func(_ *testing.T, p *place) { people(p.clearml, "ann", "bob", "cid") },
			want: report.Failure{System: "keycloak", Reason: "incomplete",
				Text: `looking people up: the realm shows no account at all: not in the groups that were read, and not for 2 people of ClearML who were looked up; nothing is synchronized from an empty realm; check keycloak.realm`},
		},
		{
			name: "ClearML does not know the access key",
			env:  []string{"GROUPSYNC_CLEARML_ACCESS_KEY=wrong"},
			want: report.Failure{System: "clearml", Reason: "auth",
				Text: `ClearML auth.login: wrong credentials (401/22, Unauthorized (invalid credentials) (failed to locate provided credentials)): check clearml.access_key and clearml.secret_key`},
		},
		{
			name: "ClearML refuses the secret key",
			env:  []string{"GROUPSYNC_CLEARML_SECRET_KEY=wrong"},
			want: report.Failure{System: "clearml", Reason: "auth",
				Text: `ClearML auth.login: wrong credentials (401/22, Unauthorized (invalid credentials) (failed to locate provided credentials)): check clearml.access_key and clearml.secret_key`},
		},
		{
			name:    "the credentials are not an administrator's",
			clearml: clearmltest.Options{Role: "user"},
			want: report.Failure{System: "clearml", Reason: "forbidden",
				Text: `ClearML auth.login: the role of these credentials is "user": user groups need the access key of a ClearML administrator`},
		},
		{
			name:    "this ClearML has no user groups",
			clearml: clearmltest.Options{Open: true},
			want: report.Failure{System: "clearml", Reason: "not_found",
				Text: `ClearML has no call permissions.get_user_groups: user groups are part of ClearML Enterprise, and this server does not have them; check clearml.url, and the server's licence and version`},
		},
		{
			name:    "clearml.url lacks /api, and the web server answers 405",
			clearml: clearmltest.Options{Base: "/api"},
			arrange: func(_ *testing.T, p *place) { p.url = strings.TrimSuffix(p.url, "/api") },
			want: report.Failure{System: "clearml", Reason: "shape",
				Text: `ClearML permissions.get_user_groups: 405 without ClearML's envelope (text/html, <!doctype html><html><head><title>ClearML</title></head></html>): another server answers, not ClearML's API server; set clearml.url to https://api.<domain>, or https://<web host>/api`},
		},
		{
			name:    "clearml.url lacks /api, and the web server answers 200",
			arrange: func(t *testing.T, p *place) { p.url = front(t, http.HandlerFunc(aPage)).URL },
			want: report.Failure{System: "clearml", Reason: "shape",
				Text: `ClearML permissions.get_user_groups: 200 without ClearML's envelope (text/html, <title>ClearML</title>): another server answers, not ClearML's API server; set clearml.url to https://api.<domain>, or https://<web host>/api`},
		},
		{
			name: "a mapping to a group that this ClearML calls built in",
			arrange: func(_ *testing.T, p *place) {
				p.clearml.AddGroup(clearmltest.Group{ID: "b1", Name: "Auditors", System: true, Assignable: true})
			},
			config: "groups: {mapping: {team: Auditors}}",
			want: report.Failure{System: "groupsync", Reason: "config",
				Text: `groups.mapping: "team" is mapped to ClearML's built-in group "Auditors", and a mapping cannot write a built-in group. Map it to another user group`},
		},
		{
			name: "nobody in ClearML has an email",
			arrange: func(t *testing.T, p *place) {
				for _, u := range p.clearml.Users() {
					u.Email = ""
					p.clearml.AddUser(u)
				}
			},
			want: report.Failure{System: "clearml", Reason: "shape",
				Text: `ClearML returned no user's email, so groupsync can match nobody, and nothing was synchronized. Give groupsync the access key of a ClearML administrator. If it has one, this server does not return emails (include_auth of users.get_all): check the server's version`},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPlace(t, row.realm, row.clearml)
			if row.arrange != nil {
				row.arrange(t, p)
			}
			before := p.clearml.Groups()
			got := p.apply(t, row.config, row.env, row.args...)
			r := got.report(t)
			row.want.Text = strings.NewReplacer("KEYCLOAK", p.realm.Server.URL, "CLEARML", p.url, "REALM", p.realm.Name).Replace(row.want.Text)
			if diff := cmp.Diff([]report.Failure{row.want}, r.Errors); diff != "" {
				t.Errorf("the errors: -want +got\n%s", diff)
			}
			if got.code != 1 || r.Result != report.Error {
				t.Errorf("exit code %d, result %s; want 1, error", got.code, r.Result)
			}
			p.untouched(t, before)
		})
	}
}

func aPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	io.WriteString(w, "<title>ClearML</title>")
}

// people adds ClearML users who have no account in any realm of these tests.
func people(s *clearmltest.Server, names ...string) {
	for _, n := range names {
		person(s, n, "00000000-0000-0000-0000-0000000000"+n[:2])
	}
}

// TestCountedFindings checks findings that do not end a pass. The report must have each finding
// with its label, the exit code must be right, and no finding may change anybody.
func TestCountedFindings(t *testing.T) {
	keycloaktest.Shared(t)
	for _, row := range []struct {
		name    string
		realm   func(*keycloaktest.Spec)
		arrange func(*testing.T, *place)
		config  string
		code    int
		want    []string // the findings, and no others
	}{
		{
			name:   "an admin group that is not there",
			config: `admins: {groups: [laeds], role: ""}`,
			code:   2,
			want: []string{
				`guard missing_source of Admins: the Keycloak group "laeds", named in admins.groups, does not exist: the user group is frozen; create it or correct the configuration; did you mean "leads"?`,
				`keycloak leads: no_target`,
			},
		},
		{
			name:   "an admin role that is not there",
			realm:  func(s *keycloaktest.Spec) { s.Roles = []string{"platform-lead"} },
			config: `admins: {role: platform-leed}`,
			code:   2,
			want: []string{
				`guard missing_source of Admins: the Keycloak role "platform-leed", named in admins.role, does not exist: the user group is frozen; create it or correct the configuration; did you mean "platform-lead"?`,
				`keycloak leads: no_target`,
			},
		},
		{
			name:    "a mapping from a group that is not there freezes what it feeds",
			arrange: func(_ *testing.T, p *place) { p.clearml.SetMembers("team", "cm-cid") },
			config:  `groups: {mapping: {teem: team}}`,
			code:    2,
			want: []string{
				`guard missing_source of team: the Keycloak group "teem", named in groups.mapping, does not exist: the user group is frozen; create it or correct the configuration; did you mean "team"?`,
				`keycloak leads: no_target`,
			},
		},
		{
			name:    "a mapping to a group that ClearML lacks",
			arrange: func(_ *testing.T, p *place) { p.clearml.SetMembers("team", "cm-cid") },
			config:  `groups: {mapping: {team: squad}}`,
			code:    0,
			want:    []string{`clearml team: no_source`, `keycloak leads: no_target`, `keycloak team → squad: no_target`},
		},
		{
			name: "a Keycloak member without an email waits for the first login",
			realm: func(s *keycloaktest.Spec) {
				s.Users = append(s.Users, keycloaktest.User{Username: "dan", Groups: []string{"/team"}})
			},
			arrange: func(_ *testing.T, p *place) { p.clearml.RemoveUser("cm-dan") },
			code:    0,
			want:    []string{`keycloak leads: no_target`, `keycloak person dan: pending`, `team: dan <> is pending`},
		},
		{
			name: "a ClearML member without an email keeps the membership",
			arrange: func(_ *testing.T, p *place) {
				p.clearml.AddUser(clearmltest.User{ID: "cm-eve", Name: "eve",
					Providers: map[string]any{"keycloak": map[string]any{"sub": "00000000-0000-0000-0000-0000000000ee"}}})
				p.clearml.SetMembers("team", "cm-ann", "cm-bob", "cm-eve")
			},
			code: 0,
			want: []string{`clearml person eve: unknown`, `keycloak leads: no_target`, `team: eve stays: unknown`},
		},
		{
			name: "two Keycloak accounts with one email, one of them a member, give no membership",
			arrange: func(t *testing.T, p *place) {
				p.realm.Do(t, http.MethodPut, "", map[string]any{"realm": p.realm.Name, "loginWithEmailAllowed": false, "duplicateEmailsAllowed": true}, nil)
				p.realm.EditUser(t, "ann", func(u map[string]any) { u["email"] = "cid@example.com" })
				p.clearml.AddUser(clearmltest.User{ID: "cm-cid", Name: "cid", Email: "CID@example.com", Providers: map[string]any{"keycloak": map[string]any{"email": "cid@example.com"}}})
				p.clearml.RemoveUser("cm-ann")
				p.clearml.SetMembers("team", "cm-bob")
			},
			code: 0,
			want: []string{
				`clearml person cid: ambiguous`, `keycloak leads: no_target`, `keycloak person ann: ambiguous`,
				`keycloak person cid: ambiguous`,
			},
		},
		{
			name:  "two ClearML users with one email are given no membership of their one account",
			realm: func(s *keycloaktest.Spec) { s.Users[2].Groups = []string{"/team"} },
			arrange: func(_ *testing.T, p *place) {
				p.clearml.AddUser(clearmltest.User{ID: "cm-cid", Name: "cid", Email: "cid@example.com", Providers: map[string]any{"keycloak": map[string]any{"email": "cid@example.com"}}})
				p.clearml.AddUser(clearmltest.User{ID: "cm-cid2", Name: "cid the second", Email: "Cid@example.com", Providers: map[string]any{"keycloak": map[string]any{"email": "cid@example.com"}}})
			},
			code: 0,
			want: []string{
				`clearml person cid the second: ambiguous`, `clearml person cid: ambiguous`, `keycloak leads: no_target`,
				`keycloak person cid: ambiguous`,
			},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPlace(t, row.realm, clearmltest.Options{})
			p.clearml.SetMembers("team", "cm-ann", "cm-bob")
			if row.arrange != nil {
				row.arrange(t, p)
			}
			before := p.clearml.Groups()
			got := p.apply(t, row.config, nil)
			if diff := cmp.Diff(row.want, findings(got.report(t))); diff != "" {
				t.Errorf("the findings: -want +got\n%s", diff)
			}
			if got.code != row.code {
				t.Errorf("exit code %d, want %d\n%s", got.code, row.code, got.stderr)
			}
			p.untouched(t, before)
		})
	}
}

// findings returns the findings of a report, sorted. ClearML's built-in groups and groupsync
// itself are left out.
func findings(r report.Report) []string {
	found := []string{}
	add := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	for _, e := range r.Errors {
		add("error %s %s: %s", e.System, e.Reason, e.Text)
	}
	for _, g := range r.Guards {
		add("guard %s of %s: %s", g.Guard, g.Group, g.Detail)
	}
	for _, s := range r.Skipped {
		if s.Why != "builtin" {
			add("%s %s: %s", s.Side, s.Name, s.Why)
		}
	}
	for _, p := range r.People {
		if p.ID != clearmltest.Self {
			add("%s person %s: %s", p.Side, p.Name, p.State)
		}
	}
	for _, g := range r.Groups {
		for _, k := range g.Kept {
			add("%s: %s stays: %s", g.Name, k.Name, k.Why)
		}
		for _, p := range g.Pending {
			add("%s: %s <%s> is pending", g.Name, p.Username, p.Email)
		}
		for _, c := range append(slices.Clone(g.Add), g.Remove...) {
			add("%s: %s %s %s", g.Name, c.Name, c.Why, c.Outcome)
		}
	}
	slices.Sort(found)
	return found
}

// TestNoSecretIsSaid checks that a pass that fails, and its log at level debug, show no
// secret.
func TestNoSecretIsSaid(t *testing.T) {
	got := inProcess(t, nil, "--once", "-o", "json", "--log.level", "debug", "--config", write(t, "config.yaml",
		`keycloak: {url: "http://127.0.0.1:1", realm: clearml, client_secret: opensesame1}
clearml: {url: "http://127.0.0.1:1", access_key: opensesame2, secret_key: opensesame3, timeout: 1s}
`))
	var whole map[string]any
	if err := json.Unmarshal([]byte(got.stdout), &whole); err != nil {
		t.Error(err)
	}
	if got.code != 1 || strings.Contains(got.stdout+got.stderr, "opensesame") {
		t.Errorf("exit %d\n%s\n%s", got.code, got.stdout, got.stderr)
	}
}
