package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// needed is the smallest valid configuration file.
const needed = `
keycloak: {url: https://auth.example.com, realm: clearml, client_secret: one}
clearml: {url: https://api.example.com, access_key: two, secret_key: three}
`

// write writes config.yaml and returns its path.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestWhatAFileSays(t *testing.T) {
	got, err := Load(Options{File: write(t, `
name: prod
mode: apply
schedule: "0 3 * * *"
jitter: 0s
log: {level: debug, format: json}
keycloak:
  url: http://auth.example.com:8080/auth
  realm: "123"
  clearml_client_id: web
  client_secret: one
  concurrency: 2
  trusted_federations: [old ldap]
clearml: {url: https://api.example.com, access_key: two, secret_key: three, insecure_skip_verify: true}
groups:
  full_path: true
  case_sensitive: false
  include: ["/a/**", b]
  mapping:
    plain: one
    /with.a.dot/and slash: [two, "three"]
admins: {groups: [boss], role: "", floor: 0}
users: # all commented out
guards: {max_removal_ratio: 1, window: 0s, max_admin_grants: 1, max_additions: 100, gone_grace: 2h, max_age: 90s}
`)})
	if err != nil {
		t.Fatal(err)
	}
	role := ""
	want := Default()
	want.Name, want.Mode, want.Schedule, want.Jitter = "prod", Apply, "0 3 * * *", 0
	want.Log = Log{"debug", "json"}
	want.Keycloak.URL, want.Keycloak.Realm, want.Keycloak.ClientSecret, want.Keycloak.Concurrency = "http://auth.example.com:8080/auth", "123", "one", 2
	want.Keycloak.ClearMLClientID = "web"
	want.ClearML.URL, want.ClearML.AccessKey, want.ClearML.SecretKey, want.ClearML.InsecureSkipVerify = "https://api.example.com", "two", "three", true
	want.Groups.FullPath, want.Groups.Include = true, []string{"/a/**", "b"}
	want.Groups.Mapping = Mapping{"plain": {"one"}, "/with.a.dot/and slash": {"two", "three"}}
	want.Admins.Groups, want.Admins.Role, want.Admins.Floor = []string{"boss"}, &role, 0
	want.Guards.MaxRemovalRatio, want.Guards.Window = 1, 0
	want.Guards.MaxAdminGrants, want.Guards.MaxAdditions, want.Guards.GoneGrace, want.Guards.MaxAge = 1, 100, 2*time.Hour, 90*time.Second
	want.Keycloak.TrustedFederations, want.Groups.CaseSensitive = []string{"old ldap"}, false
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestALaterSourceWins(t *testing.T) {
	flags := pflag.NewFlagSet("groupsync", pflag.ContinueOnError)
	flags.Bool("once", false, "not of the configuration")
	AddFlags(flags)
	if err := flags.Parse([]string{"--once", "--name=by-flag", "--keycloak.insecure_skip_verify", "--groups.exclude=[x, y]", "--guards.window=2h", "--guards.max_age=5m", "--keycloak.trusted_federations=[ldap]"}); err != nil {
		t.Fatal(err)
	}
	got, err := Load(Options{
		File:  write(t, needed+"name: by-file\nmode: apply\njitter: 1s\ngroups: {mapping: {a: b}, include: [f]}\n"),
		Flags: flags,
		Env: []string{
			"GROUPSYNC_NAME=by-env", "GROUPSYNC_JITTER=2s", "GROUPSYNC_KEYCLOAK_CLIENT_SECRET=with = and: [odd] ones",
			`GROUPSYNC_GROUPS_MAPPING={"c.d": [e]}`, "GROUPSYNC_ADMINS_ROLE=", "GROUPSYNC_GUARDS_MAX_GONE=7", "GROUPSYNC_GUARDS_WINDOW=1h", "GROUPSYNC_GROUPS_CASE_SENSITIVE=false", "GROUPSYNC_GUARDS_MAX_ADMIN_GRANTS=0", "GROUPSYNC_GUARDS_GONE_GRACE=0s",
			"GROUPSYNCX=1", "PATH=/bin",
			// Kubernetes sets these for a Service named groupsync, or groupsync-metrics.
			"GROUPSYNC_SERVICE_HOST=10.0.0.1", "GROUPSYNC_SERVICE_PORT_HTTP=80", "GROUPSYNC_PORT=tcp://10.0.0.1:80", "GROUPSYNC_PORT_80_TCP_ADDR=10.0.0.1",
			"GROUPSYNC_METRICS_PORT_8080_TCP=tcp://10.0.0.1:8080", "GROUPSYNC_METRICS_SERVICE_HOST=10.0.0.1",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	role := ""
	want := Default()
	want.Name, want.Mode, want.Jitter = "by-flag", Apply, 2*time.Second
	want.Keycloak.URL, want.Keycloak.Realm, want.Keycloak.ClientSecret, want.Keycloak.InsecureSkipVerify = "https://auth.example.com", "clearml", "with = and: [odd] ones", true
	want.ClearML.URL, want.ClearML.AccessKey, want.ClearML.SecretKey = "https://api.example.com", "two", "three"
	want.Groups.Include, want.Groups.Exclude, want.Groups.Mapping = []string{"f"}, []string{"x", "y"}, Mapping{"c.d": {"e"}}
	want.Admins.Role, want.Guards.MaxGone, want.Guards.Window = &role, 7, 2*time.Hour
	want.Groups.CaseSensitive, want.Keycloak.TrustedFederations = false, []string{"ldap"}
	want.Guards.MaxAdminGrants, want.Guards.GoneGrace, want.Guards.MaxAge = 0, 0, 5*time.Minute
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestNothingNeedsAFile(t *testing.T) {
	if _, err := Load(Options{Env: []string{
		"GROUPSYNC_KEYCLOAK_URL=https://auth.example.com", "GROUPSYNC_KEYCLOAK_REALM=123", "GROUPSYNC_KEYCLOAK_CLIENT_SECRET=1",
		"GROUPSYNC_CLEARML_URL=https://api.example.com", "GROUPSYNC_CLEARML_ACCESS_KEY=2", "GROUPSYNC_CLEARML_SECRET_KEY=3",
	}}); err != nil {
		t.Error(err)
	}
}

func TestWhatIsRefusedByLine(t *testing.T) {
	for _, tt := range []struct{ name, yaml, want string }{
		{"an unknown key names its line and the nearest", "name: a\nshedule: x\n", `config.yaml:2: unknown key "shedule"; did you mean "schedule"?`},
		{"so does one in a section", "keycloak:\n  relm: x\n", `config.yaml:2: unknown key "keycloak.relm"; did you mean "realm"?`},
		{"a key of another section is named whole", "max_removals: 3\n", `config.yaml:1: unknown key "max_removals"; did you mean "guards.max_removals"?`},
		{"where nothing is near, all are named", "lease: {qqqqqqqqq: 1}\n", `config.yaml:1: unknown key "lease.qqqqqqqqq": the known names are name, namespace`},
		{"a merge key is unknown", "log: &l {level: info}\nlease:\n  <<: *l\n", `config.yaml:3: unknown key "lease.<<": the known names are name, namespace`},
		{"a key that is there twice", "name: a\nmode: apply\nname: b\n", `config.yaml:3: name occurs twice, first in line 1: keep one of them`},
		{"a number where text is expected", "keycloak: {realm: 123}\n", `config.yaml:1: keycloak.realm: expected text, got a number: put it in quotes`},
		{"a secret of the wrong type is not quoted", "clearml:\n  secret_key: 4711\n", `config.yaml:2: clearml.secret_key: expected text, got a number: put it in quotes`},
		{"nothing where text is expected", "admins:\n  role:\n", `config.yaml:2: admins.role: expected text, got nothing: write "" for an empty one`},
		{"text where a number is expected", "keycloak: {concurrency: \"8\"}\n", `config.yaml:1: keycloak.concurrency: expected a whole number, got text`},
		{"a fraction where a whole number is expected", "guards: {max_gone: 1.5}\n", `config.yaml:1: guards.max_gone: expected a whole number, got a number`},
		{"a number that no integer holds", "guards: {max_gone: 99999999999999999999}\n", `config.yaml:1: guards.max_gone: expected a whole number, got a number`},
		{"text where a number may be a fraction", "guards: {max_removal_ratio: high}\n", `config.yaml:1: guards.max_removal_ratio: expected a number, got text`},
		{"yes is no boolean", "groups: {full_path: yes}\n", `config.yaml:1: groups.full_path: expected true or false, got text`},
		{"a duration without its unit", "jitter: 30\n", `config.yaml:1: jitter: expected a duration such as 30s, 15m or 1h, got a number`},
		{"a list where a duration is expected", "jitter: [1s]\n", `config.yaml:1: jitter: expected a duration such as 30s, 15m or 1h, got a list`},
		{"text where a list is expected", "groups: {include: a}\n", `config.yaml:1: groups.include: expected a list of texts such as ["a", "b"], got text`},
		{"a number in a list", "users: {protect: [a, 1]}\n", `config.yaml:1: users.protect: expected a list of globs and exceptions such as ["a@*", {match: "b@*", until: 2026-12-31}], got a number in the list: put it in quotes`},
		{"text where exceptions are expected", "users: {protect: a}\n", `config.yaml:1: users.protect: expected a list of globs and exceptions such as ["a@*", {match: "b@*", until: 2026-12-31}], got text`},
		{"an exception with an unknown key", "users: {protect: [a, {math: b}]}\n", `config.yaml:1: users.protect: entry 2: unknown key "math"; did you mean "match"?`},
		{"an exception with a key twice", "users: {protect: [{match: a, match: b}]}\n", `config.yaml:1: users.protect: entry 1: match occurs twice: keep one of them`},
		{"an exception with a number as its glob", "users: {protect: [{match: 1}]}\n", `config.yaml:1: users.protect: entry 1: match: expected text, got a number: put it in quotes`},
		{"an exception with one group as a text", "users: {protect: [{match: a, groups: b}]}\n", `config.yaml:1: users.protect: entry 1: groups: expected a list of texts such as ["a", "b"], got text`},
		{"an exception with a number as its end", "users: {protect: [{match: a, until: 20261231}]}\n", `config.yaml:1: users.protect: entry 1: until: expected a day such as 2026-12-31 or a time such as 2026-12-31T18:00:00Z, got a number`},
		{"an exception with nothing as its reason", "users: {protect: [{match: a, reason: }]}\n", `config.yaml:1: users.protect: entry 1: reason: expected text, got nothing: write "" for an empty one`},
		{"a list where a mapping is expected", "groups: {mapping: [a]}\n", `config.yaml:1: groups.mapping: expected a mapping such as {"keycloak name": "clearml name"} or {"name": ["one", "two"]}, got a list`},
		{"a name that is mapped twice", "groups: {mapping: {a: b, a: c}}\n", `config.yaml:1: groups.mapping: "a" occurs twice: keep one of them`},
		{"a name that is mapped to nothing", "groups: {mapping: {a: }}\n", `config.yaml:1: groups.mapping: "a": expected a mapping such as {"keycloak name": "clearml name"} or {"name": ["one", "two"]}, got nothing`},
		{"text where a section is expected", "log: debug\n", `config.yaml:1: log: expected keys below it, got text`},
		{"a file that is a list", "- name: a\n", `config.yaml:1: the file: expected keys below it, got a list`},
		{"a second document", "name: a\n---\nname: b\n", `config.yaml:2: a second YAML document begins here, and groupsync reads only one: keep one`},
		{"what is no YAML", "name: a\n\tmode: b\n", `config.yaml: yaml: line 2: found a tab character that violates indentation: correct the YAML there`},
		{"everything at once", "nane: a\njitter: x\nmod: b\n",
			`config.yaml:1: unknown key "nane"; did you mean "name"?
config.yaml:2: jitter: expected a duration such as 30s, 15m or 1h, got text
config.yaml:3: unknown key "mod"; did you mean "mode"?`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(Options{File: write(t, tt.yaml)})
			if d := cmp.Diff(tt.want, errorText(err)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestWhatIsRefusedByValue(t *testing.T) {
	for _, tt := range []struct{ name, yaml, want string }{
		{"an empty name", `name: " "`, `name: is missing: set it`},
		{"an unknown mode", `mode: dry`, `mode: "dry" is unknown: write observe or apply`},
		{"what is no schedule", `schedule: often`, `schedule: "often" is not a schedule (expected exactly 5 fields, found 1: [often]): write @every 15m, @hourly, or five cron fields`},
		{"a schedule that never comes true", `schedule: "0 0 31 2 *"`, `schedule: "0 0 31 2 *" never occurs: write a date that exists`},
		{"a schedule that runs at once and again", `schedule: "@every -1h"`, `schedule: "@every -1h" is less than a second: write a longer one, @every 15m for example`},
		{"a schedule in a time zone", `schedule: "TZ=Europe/Berlin 0 3 * * *"`, `schedule: "TZ=Europe/Berlin 0 3 * * *" names a time zone, but schedules are in UTC: write the schedule without a time zone`},
		{"a negative duration", `jitter: -1s`, `jitter: -1s is negative: write 0s or more`},
		{"an unknown log level", `log: {level: loud}`, `log.level: "loud" is unknown: write debug or info or warn or error`},
		{"a URL without a scheme", `keycloak: {url: auth.example.com}`, `keycloak.url: "auth.example.com" has no scheme: write https://auth.example.com`},
		{"a URL with a port and no scheme", `clearml: {url: "api.example.com:8008"}`, `clearml.url: "api.example.com:8008" has no scheme: write https://api.example.com:8008`},
		{"a URL of another scheme", `clearml: {url: "ftp://api.example.com"}`, `clearml.url: "ftp://api.example.com" has the scheme ftp: write http or https`},
		{"a URL without a host", `clearml: {url: "https:///api"}`, `clearml.url: "https:///api" has no host: write https://api.clearml.example.com`},
		{"a URL of a realm", `keycloak: {url: "https://auth.example.com/auth/realms/clearml"}`, `keycloak.url: "https://auth.example.com/auth/realms/clearml" contains a realm. Remove /realms/ and everything after it, and write the realm into keycloak.realm`},
		{"a URL with credentials is not quoted", `keycloak: {url: "https://me:hidden@auth.example.com"}`, `keycloak.url: contains an @. Remove credentials from the URL: they have their own keys`},
		{"a URL with a query is not quoted", `keycloak: {url: "https://auth.example.com?key=hidden"}`, `keycloak.url: has a query or a fragment. Remove everything after the path`},
		{"no time to answer", `clearml: {timeout: 0s}`, `clearml.timeout: 0s is not a positive duration: write more than 0s`},
		{"zero requests at the same time", `keycloak: {concurrency: 0}`, `keycloak.concurrency: 0 is too small: write 1 or more`},
		{"a text that is no valid glob", `groups: {include: ["{a"]}`, "groups.include: \"{a\" is not a valid glob (" + globError(t, "{a") + "): correct it, or escape the character with \\"},
		{"a federation without a name", `keycloak: {trusted_federations: [ldap, ""]}`, `keycloak.trusted_federations: has an empty entry: remove it`},
		{"an empty glob", `users: {protect: [""]}`, `users.protect: has an empty entry: remove it`},
		{"an exception without anything", `users: {protect: [{}]}`, `users.protect: has an empty entry: remove it`},
		{"an end without a glob", `users: {protect: [a, {until: 2026-12-31}]}`, `users.protect: entry 2: match is missing: write a glob over the emails and ids of the people whom the exception protects`},
		{"an exception whose glob is none", `users: {protect: [{match: "[a", until: 2026-12-31}]}`, "users.protect: entry 1: \"[a\" is not a valid glob (" + globError(t, "[a") + "): correct it, or escape the character with \\"},
		{"a glob of users.protect that is none", `users: {protect: ["[a"]}`, "users.protect: entry 1: \"[a\" is not a valid glob (" + globError(t, "[a") + "): correct it, or escape the character with \\"},
		{"an exception for no group", `users: {protect: [{match: a, groups: []}]}`, `users.protect: entry 1: groups is empty: name a group, or leave groups out to protect the people in every group`},
		{"an exception for a group without a name", `users: {protect: [{match: a, groups: [b, ""]}]}`, `users.protect: entry 1: groups has an empty entry: remove it`},
		{"a day that does not exist", `users: {protect: [{match: a, until: 2026-02-30}]}`, `users.protect: entry 1: until: "2026-02-30" is neither a day nor a time: write 2026-12-31 for the end of that day in UTC, or 2026-12-31T18:00:00Z`},
		{"a time without its zone", `users: {protect: [{match: a, until: "2026-12-31T18:00:00"}]}`, `users.protect: entry 1: until: "2026-12-31T18:00:00" is neither a day nor a time: write 2026-12-31 for the end of that day in UTC, or 2026-12-31T18:00:00Z`},
		{"two exceptions that are wrong", `users: {protect: [{match: a, until: soon}, {reason: b}]}`, "users.protect: entry 1: until: \"soon\" is neither a day nor a time: write 2026-12-31 for the end of that day in UTC, or 2026-12-31T18:00:00Z\nusers.protect: entry 2: match is missing: write a glob over the emails and ids of the people whom the exception protects"},
		{"an exception that has ended", `users: {protect: [{match: a, until: 2020-12-31}]}`, ``},
		{"a mapping to a built-in", `groups: {mapping: {a: [b, Queue admins]}}`, `groups.mapping: "a" feeds "Queue admins", which is built into ClearML, and groupsync writes no built-in group: map the name to another ClearML group, or name administrators in admins.groups`},
		{"a mapping to what is built in but for case", `groups: {mapping: {a: admins}}`, ``},
		{"a mapping to what is built in, without case", `groups: {case_sensitive: false, mapping: {a: admins}}`, `groups.mapping: "a" feeds "admins", which is built into ClearML, and groupsync writes no built-in group: map the name to another ClearML group, or name administrators in admins.groups`},
		{"names that differ by case", `groups: {mapping: {ML: a, ml: b}}`, ``},
		{"names that differ by case, without case", `groups: {case_sensitive: false, mapping: {ML: a, ml: b}}`, `groups.mapping: "ML" and "ml" differ only by case, and groups.case_sensitive is false, so they are one name: keep one of them`},
		{"a mapping to no group", `groups: {mapping: {a: []}}`, `groups.mapping: "a" names no ClearML group: name one, or put the group into groups.exclude`},
		{"admin groups without a role written down", `admins: {groups: [a]}`, `admins.role: must be set when admins.groups is set. ClearML's login also makes administrators from a role claim. If groupsync does not know this role, groupsync and ClearML's login undo each other's changes: write the role that ClearML's login reads, as client/role or realm:role, or "" if it reads none`},
		{"an admin group by its path", `admins: {groups: [/teams/admins, leaf], role: ""}`, ``},
		{"an admin group by its path, with full paths", "groups: {full_path: true}\nadmins: {groups: [/teams/admins], role: \"\"}", ``},
		{"an admin group without a name", `admins: {groups: [a, "/"], role: ""}`, `admins.groups: "/" names no group: write the path of one, /teams/clearml-admins for example`},
		{"an empty admin group", `admins: {groups: [""], role: ""}`, `admins.groups: has an empty entry: remove it`},
		{"a client's role", `admins: {role: clearml/admin}`, ``},
		{"a realm role with a slash", `admins: {role: "realm:a/b"}`, ``},
		{"a realm role without a name", `admins: {role: "realm: "}`, `admins.role: "realm: " names no role: write the realm role's name after realm:, or "" for none`},
		{"a role of no client", `admins: {role: /admin}`, `admins.role: "/admin" is not client/role: write both parts, clearml/admin for example, or realm: and the name of a realm role`},
		{"no role of a client", `admins: {role: clearml/}`, `admins.role: "clearml/" is not client/role: write both parts, clearml/admin for example, or realm: and the name of a realm role`},
		{"a negative floor", `admins: {floor: -1}`, `admins.floor: -1 is too small: write 0 or more`},
		{"what to do with people who are gone", `users: {gone: delete}`, `users.gone: "delete" is unknown: write remove or keep`},
		{"a ratio above one", `guards: {max_removal_ratio: 25}`, `guards.max_removal_ratio: 25 is not a ratio: write a number from 0 (no limit) to 1`},
		{"a ratio that is no number", `guards: {max_removal_ratio: .nan}`, `guards.max_removal_ratio: NaN is not a ratio: write a number from 0 (no limit) to 1`},
		{"a negative limit", `guards: {max_removals: -1}`, `guards.max_removals: -1 is too small: write 0 or more`},
		{"a negative limit of administrators", `guards: {max_admin_grants: -1}`, `guards.max_admin_grants: -1 is too small: write 0 or more`},
		{"a negative limit of additions", `guards: {max_additions: -1}`, `guards.max_additions: -1 is too small: write 0 or more`},
		{"a negative grace", `guards: {gone_grace: -1h}`, `guards.gone_grace: -1h0m0s is negative: write 0s or more`},
		{"a negative age", `guards: {max_age: -1m}`, `guards.max_age: -1m0s is negative: write 1m or more, or 0s for no limit`},
		{"a max_age that is too short for every pass", `guards: {max_age: 59s}`, `guards.max_age: 59s is too short, because reading alone may take a minute and nothing would be written: write 1m or more, or 0s for no limit`},
		{"the least age", `guards: {max_age: 1m}`, ``},
		{"every new limit off", `guards: {max_admin_grants: 0, max_additions: 0, gone_grace: 0s, max_age: 0s}`, ``},
		{"an unknown trip", `guards: {on_trip: go}`, `guards.on_trip: "go" is unknown: write additions_only or stop`},
		{"an address without a port", `web: {listen: localhost}`, `web.listen: "localhost" is not an address: write host:port, 127.0.0.1:8080 or :8080 for example`},

		{"a Lease", `lease: {name: groupsync, namespace: clearml}`, ``},
		{"the namespace of no Lease", `lease: {namespace: a}`, `lease.namespace: is set without lease.name: set lease.name too, or neither for a single replica`},
		{"a name that no Lease can have", `lease: {name: Group_Sync}`, `lease.name: "Group_Sync" is not a valid name of a Kubernetes object: write lower-case letters, digits and dashes, 202 at most`},
		{"a Lease and a directory", "state_dir: a\nlease: {name: a}", `state_dir: cannot be combined with lease.name. With a Lease, the guards' memory is in a ConfigMap that every replica can read: leave state_dir empty`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// The row's section replaces keys of the needed configuration, as a variable would.
			c := laidOver(t, tt.yaml)
			if d := cmp.Diff(tt.want, errorText(c.Validate(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)))); d != "" {
				t.Error(d)
			}
		})
	}
}

// laidOver returns the needed configuration, with the keys of a line of YAML replaced.
func laidOver(t *testing.T, line string) Config {
	t.Helper()
	over, err := decodeYAML("config.yaml", []byte(line))
	if err != nil {
		t.Fatal(err)
	}
	below, err := decodeYAML("config.yaml", []byte(needed))
	if err != nil {
		t.Fatal(err)
	}
	return merge(below, over).Config
}

func globError(t *testing.T, pattern string) string {
	t.Helper()
	var c checking
	globs.check(&c, []string{pattern})
	if len(c.errs) != 1 {
		t.Fatalf("%q is a glob", pattern)
	}
	_, text, _ := strings.Cut(c.errs[0].Error(), " is not a valid glob (")
	text, _, _ = strings.Cut(text, "): correct it")
	return text
}

func TestWhatIsMissingIsNamedAtOnce(t *testing.T) {
	_, err := Load(Options{})
	want := `keycloak.url: is missing: write https://auth.example.com
keycloak.realm: is missing: set it
keycloak.client_secret: is missing: set keycloak.client_secret_file, or keycloak.client_secret
clearml.url: is missing: write https://api.clearml.example.com
clearml.access_key: is missing: set clearml.access_key_file, or clearml.access_key
clearml.secret_key: is missing: set clearml.secret_key_file, or clearml.secret_key`
	if d := cmp.Diff(want, errorText(err)); d != "" {
		t.Error(d)
	}
}

func TestWhatIsRefusedOfVariablesAndFlags(t *testing.T) {
	flags := pflag.NewFlagSet("groupsync", pflag.ContinueOnError)
	AddFlags(flags)
	if err := flags.Parse([]string{"--guards.max_gone=many"}); err != nil {
		t.Fatal(err)
	}
	_, err := Load(Options{Flags: flags, Env: []string{"GROUPSYNC_SHEDULE=x", "GROUPSYNC_JITTER=", "GROUPSYNC_GROUPS_INCLUDE=a,b", "GROUPSYNC_TURBO_ENCABULATOR=hidden"}})
	want := `GROUPSYNC_GROUPS_INCLUDE: expected a list of texts such as ["a", "b"], got text
GROUPSYNC_JITTER: expected a duration such as 30s, 15m or 1h, got text
GROUPSYNC_SHEDULE: unknown variable; did you mean "GROUPSYNC_SCHEDULE"?
GROUPSYNC_TURBO_ENCABULATOR: unknown variable: see config.example.yaml for the keys
--guards.max_gone: expected a whole number, got text`
	if d := cmp.Diff(want, errorText(err)); d != "" {
		t.Error(d)
	}
	for _, name := range []string{"keycloak.client_secret", "clearml.access_key", "clearml.secret_key"} {
		if flags.Lookup(name) != nil {
			t.Errorf("--%s is a flag: command lines can be read by others", name)
		}
	}
}

func TestAMissingFileIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.yaml")
	_, err := Load(Options{File: path})
	want := "reading the configuration: open " + path + ": no such file or directory: name an existing file with --config"
	if errorText(err) != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	none := filepath.Join(dir, "none")
	empty, blank, good := file("empty", ""), file("blank", " \n"), file("good", " a secret\r\n\n")
	for _, tt := range []struct{ name, keycloak, want string }{
		{"the file is not there", "client_secret_file: " + none, "keycloak.client_secret_file: there is no file " + none + ": put the secret there, or correct the path"},
		{"the file is empty", "client_secret_file: " + empty, "keycloak.client_secret_file: " + empty + " is empty: write the secret into it"},
		{"the file is blank", "client_secret_file: " + blank, "keycloak.client_secret_file: " + blank + " is empty: write the secret into it"},
		{"the file is a directory", "client_secret_file: " + dir, "keycloak.client_secret_file: read " + dir + ": is a directory: correct the path"},
		{"both are set", "client_secret: hidden, client_secret_file: " + good, "keycloak.client_secret: is set, and keycloak.client_secret_file too: keep one of them"},
		{"all is well", "client_secret_file: " + good, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(Options{File: write(t, "keycloak: {url: https://a.example.com, realm: r, "+tt.keycloak+"}\nclearml: {url: https://b.example.com, access_key: a, secret_key: b}\n")})
			if d := cmp.Diff(tt.want, errorText(err)); d != "" {
				t.Error(d)
			}
		})
	}
	s := Keycloak{ClientSecretFile: good}.Secret()
	if text, err := s.Read(); text != " a secret" || err != nil {
		t.Errorf("got %q, %v; want the text without its line ends", text, err)
	}
	file("good", "another")
	if text, err := s.Read(); text != "another" || err != nil {
		t.Errorf("got %q, %v; want what the file holds now", text, err)
	}
}

func TestSecretsNeverPrint(t *testing.T) {
	c := Default()
	c.Keycloak.ClientSecret, c.ClearML.AccessKey, c.ClearML.SecretKey = "hidden", "hidden", "hidden"
	for _, v := range []any{c, &c, c.Keycloak, c.ClearML.SecretKey, c.ClearML.Secret(), []any{c.ClearML.Access()}, map[string]Secret{"key": c.Keycloak.Secret()}} {
		var out strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb, v)
		}
		fmt.Fprintln(&out, v, errors.New(fmt.Sprint(v)))
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		y, err := yaml.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		text := out.String() + string(j) + string(y)
		if strings.Contains(text, "hidden") || strings.Contains(text, "68696464656e") || !strings.Contains(text, mask) {
			t.Errorf("%T prints a secret:\n%s", v, text)
		}
	}
}

func TestKeyNames(t *testing.T) {
	env := make(map[string]string)
	for _, k := range keys {
		name := k.name
		if other, twice := env[envName(name)]; twice {
			t.Errorf("%s and %s share the variable %s", name, other, envName(name))
		}
		env[envName(name)] = name
		if serviceLink.MatchString("_" + strings.TrimPrefix(envName(name), prefix)) {
			t.Errorf("%s looks like a Kubernetes service link and would be ignored", envName(name))
		}
	}
}

func TestCron(t *testing.T) {
	c := Default()
	c.Schedule = "30 3 * * *"
	at := time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC)
	if got, want := c.Cron().Next(at), time.Date(2026, 3, 29, 3, 30, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWhatARunningProcessCannotTakeOverIsNamed(t *testing.T) {
	before := laidOver(t, "mode: observe")
	for line, want := range map[string][]string{
		"mode: apply":                           nil,
		"schedule: '@hourly'":                   nil,
		"guards: {max_removals: 1}":             nil,
		"name: other":                           {"name"},
		"web: {enable_lifecycle: true}":         {"web"},
		"web: {public_status: true}":            {"web"},
		"log: {level: debug}\nlease: {name: a}": {"log", "lease"},
	} {
		if got := before.Unchangeable(laidOver(t, line)); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", line, got, want)
		}
	}
}
