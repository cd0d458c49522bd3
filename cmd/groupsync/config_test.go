package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/config"
)

// inside runs the command in this process. The environment holds only env.
func inside(t *testing.T, env []string, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(context.Background(), args, env, &stdout, &stderr)
	return outcome{code, stdout.String(), stderr.String()}
}

// file writes a file and returns its path.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const (
	services = "CLEARML__services__login__sso__oauth_client__keycloak__"
	secure   = "CLEARML__secure__login__sso__oauth_client__keycloak__"
)

// override is the docker-compose override from ClearML's documentation.
const override = `services:
  apiserver:
    environment:
      ` + services + `base_url: https://auth.example.com/realms/clearml
      ` + services + `groups__enabled: "true"
      ` + services + `groups__admins: '["boss"]'
      ` + services + `admin_role: ""
      ` + secure + `client_id: web
      ` + secure + `client_secret: hidden
      ` + services + `surprise: hidden
`

func TestConfigPrintsEachValueWithItsOrigin(t *testing.T) {
	got := inside(t, []string{"GROUPSYNC_CLEARML_ACCESS_KEY=hidden", "GROUPSYNC_CLEARML_SECRET_KEY=hidden"}, "config",
		"--config", file(t, "config.yaml", "clearml: {url: https://api.example.com}\nkeycloak:\n  client_secret: hidden\ngroups: {mapping: {a.b: c}}\nusers: {protect: [root@*, {match: b@*, groups: [nlp], until: 2026-12-31, reason: hands over}]}\n"),
		"--clearml-env", file(t, "override.yaml", override), "--guards.window=2h")
	want := `# ` + services + `surprise (override.yaml:10) is unknown to groupsync, which ignores it: correct the name if it is mistyped
name: default # default
mode: observe # default
schedule: '@every 15m' # default
jitter: 30s # default
shutdown_timeout: 20s # default
state_dir: "" # default
state:
  keep: 1000 # default
  keep_for: 2160h0m0s # default
log:
  level: info # default
  format: text # default
keycloak:
  url: https://auth.example.com # ClearML's ` + services + `base_url (override.yaml:4)
  realm: clearml # ClearML's ` + services + `base_url (override.yaml:4)
  clearml_client_id: web # ClearML's ` + secure + `client_id (override.yaml:8)
  client_id: groupsync # default
  client_secret: '[masked]' # config.yaml:3
  client_secret_file: "" # default
  ca_file: "" # default
  insecure_skip_verify: false # default
  timeout: 1m0s # default
  concurrency: 8 # default
  trusted_federations: [] # default
  events: "off" # default
  events_interval: 5s # default
clearml:
  url: https://api.example.com # config.yaml:1
  access_key: '[masked]' # environment GROUPSYNC_CLEARML_ACCESS_KEY
  access_key_file: "" # default
  secret_key: '[masked]' # environment GROUPSYNC_CLEARML_SECRET_KEY
  secret_key_file: "" # default
  ca_file: "" # default
  insecure_skip_verify: false # default
  timeout: 40s # default
  provider: keycloak # default
groups:
  claim: groups # default
  full_path: false # default
  case_sensitive: true # default
  include: ['*'] # default
  exclude: [] # default
  mapping: {a.b: [c]} # config.yaml:4
admins:
  groups: [boss] # ClearML's ` + services + `groups__admins (override.yaml:6)
  role: "" # ClearML's ` + services + `admin_role (override.yaml:7)
  via: group # default
  floor: 1 # default
users:
  gone: remove # default
  protect: [root@*, {match: b@*, groups: [nlp], until: "2026-12-31", reason: hands over}] # config.yaml:5
guards:
  max_removals: 50 # default
  window: 2h0m0s # flag --guards.window
  max_removal_ratio: 0.25 # default
  free_removals: 3 # default
  max_gone: 5 # default
  max_admin_grants: 3 # default
  max_additions: 0 # default
  federation_grace: 1h0m0s # default
  gone_grace: 24h0m0s # default
  max_age: 10m0s # default
  on_trip: additions_only # default
leavers:
  interval: 24h0m0s # default
lease:
  name: "" # default
  namespace: "" # default
web:
  listen: 127.0.0.1:8080 # default
  config_file: "" # default
  enable_lifecycle: false # default
  public_status: false # default
`
	if d := cmp.Diff(outcome{0, want, ""}, got, cmp.AllowUnexported(outcome{})); d != "" {
		t.Error(d)
	}
}

// TestWhatConfigPrintsLoads: the printed configuration loads again with the same values,
// except for the masked secrets.
func TestWhatConfigPrintsLoads(t *testing.T) {
	secret := file(t, "secret", "x")
	o := config.Options{File: file(t, "config.yaml", `
name: "yes"
keycloak: {url: https://auth.example.com, realm: "1", client_secret_file: `+secret+`}
clearml: {url: https://api.example.com, access_key_file: `+secret+`, secret_key_file: `+secret+`, provider: "a # b"}
groups: {include: ["*", "#a", "{b,c}"], mapping: {"a: b": ["c, d", "null"]}}
admins: {groups: ["true"], role: "1.5"}
users: {protect: ["root@*", {match: "b@*", groups: [nlp, "1"], until: 2026-12-31, reason: "a: b # c"}, {match: c, until: 2026-12-31T18:00:00Z}]}
`)}
	want, err := config.Load(o)
	if err != nil {
		t.Fatal(err)
	}
	printed := inside(t, nil, "config", "-c", o.File)
	got, err := config.Load(config.Options{File: file(t, "config.yaml", printed.stdout)})
	if err != nil {
		t.Fatalf("%v\n%s", err, printed.stdout)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s\n%s", d, printed.stdout)
	}
}

func TestConfigOfWhatIsNotValid(t *testing.T) {
	for _, tt := range []struct {
		name   string
		yaml   string
		env    []string
		stdout []string // lines that are printed; none: nothing is
		stderr string
	}{
		{"a source that cannot be read prints nothing", "nane: x\n", nil, nil, "groupsync: config.yaml:1: unknown key \"nane\"; did you mean \"name\"?\n"},
		{"what is not valid is printed, and said", "keycloak: {url: \"https://me:hidden@auth.example.com\", realm: r, client_secret: x}\nclearml: {url: https://api.example.com, access_key: x, secret_key: x}\n", nil,
			[]string{"  url: '[masked]' # config.yaml:1", "  # role is not set"},
			"groupsync: keycloak.url: contains an @. Remove credentials from the URL: they have their own keys\n"},
		{"so is what contradicts ClearML", "keycloak: {realm: other, client_secret: x}\nclearml: {url: https://api.example.com, access_key: x, secret_key: x}\n",
			[]string{services + "base_url=https://auth.example.com/realms/clearml", services + "admin_role="},
			[]string{"  realm: other # config.yaml:1", "  url: https://auth.example.com # ClearML's " + services + "base_url (environment)"},
			`groupsync: keycloak.realm: "other" (config.yaml:1) contradicts "clearml" of ClearML's ` + services + "base_url (environment): make them equal, else groupsync and ClearML's login undo each other's changes\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := inside(t, tt.env, "config", "--config", file(t, "config.yaml", tt.yaml))
			if got.code != 1 || got.stderr != tt.stderr {
				t.Errorf("code %d, want 1; stderr\n  %s\nwant\n  %s", got.code, got.stderr, tt.stderr)
			}
			for _, line := range tt.stdout {
				mustContain(t, "stdout", got.stdout, line+"\n")
			}
			if tt.stdout == nil && got.stdout != "" {
				t.Errorf("stdout is not empty:\n%s", got.stdout)
			}
			if strings.Contains(got.stdout+got.stderr, "hidden") {
				t.Errorf("a secret is printed:\n%s%s", got.stdout, got.stderr)
			}
		})
	}
}

// TestClearMLsVariablesBeforeAPass: the log names variables that groupsync does not
// understand. A contradiction with ClearML's variables ends the command before any pass.
func TestClearMLsVariablesBeforeAPass(t *testing.T) {
	env := file(t, "override.yaml", override)
	yaml := "keycloak: {client_secret: x}\nclearml: {url: \"http://127.0.0.1:1\", access_key: x, secret_key: x, timeout: 1s}\n"
	got := inside(t, nil, "--once", "--clearml-env", env, "--config", file(t, "config.yaml", yaml+"log: {level: debug}\nadmins: {groups: [chief]}\n"))
	want := `groupsync: admins.groups: ["chief"] (config.yaml:4) contradicts ["boss"] of ClearML's ` + services + "groups__admins (override.yaml:6): make them equal, else groupsync and ClearML's login undo each other's changes\n"
	if d := cmp.Diff(outcome{1, "", want}, got, cmp.AllowUnexported(outcome{})); d != "" {
		t.Error(d)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // the pass itself does not matter here
	var stdout, stderr bytes.Buffer
	run(ctx, []string{"--once", "--clearml-env", env, "--config", file(t, "config.yaml", yaml)}, nil, &stdout, &stderr)
	mustContain(t, "the log", stderr.String(), `level=WARN msg="ClearML's own variables: `+services+`surprise (override.yaml:10) is unknown to groupsync, which ignores it: correct the name if it is mistyped"`)
	if strings.Contains(stdout.String()+stderr.String(), "hidden") {
		t.Errorf("a secret is printed:\n%s%s", stdout.String(), stderr.String())
	}
}
