package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/leavers"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target/clearmltest"
)

// TestLeaversIsRefused checks what leavers says of flags that cannot work.
func TestLeaversIsRefused(t *testing.T) {
	for _, row := range []struct {
		name string
		args []string
		want string // all of stderr
	}{
		{"an output format that there is not", []string{"-o", "csv"}, "groupsync: -o csv is not a format: write -o text or -o json"},
		{"no time at all", []string{"--recent", "0s"}, "groupsync: --recent 0s is not a positive duration: write more than 0s, 720h for example"},
		{"an argument", []string{"bob"}, `groupsync: unknown command "bob" for "groupsync leavers": groupsync --help lists the commands and flags`},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := inProcess(t, nil, append([]string{"leavers", "--config", write(t, "config.yaml", good)}, row.args...)...)
			if diff := cmp.Diff(outcome{code: 1, stderr: row.want + "\n"}, got, cmp.AllowUnexported(outcome{})); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

var instant = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)

// left makes the place that docs/leavers.md shows: ann is enabled, bob is disabled, and cid is
// deleted.
func left(t *testing.T, o clearmltest.Options) *place {
	t.Helper()
	p := newPlace(t, nil, o)
	p.realm.SetEnabled(t, "bob", false)
	ids := map[string]string{}
	for _, name := range []string{"ann", "bob", "cid"} {
		ids[name] = p.realm.UserID(t, name)
	}
	p.realm.DeleteUser(t, "cid")
	day := func(ago int) string { return time.Now().AddDate(0, 0, -ago).UTC().Format(time.RFC3339) }
	for name, activity := range map[string]map[string]any{
		"ann": {"last_ui_access": day(1), "last_credentials_login": day(1)},
		"bob": {"last_ui_access": day(90), "last_credentials_login": day(2)},
		"cid": nil,
	} {
		p.clearml.AddUser(clearmltest.User{ID: "cm-" + name, Name: name, Email: name + "@example.com", Activity: activity,
			Providers: map[string]any{"keycloak": map[string]any{"sub": ids[name]}}})
	}
	p.clearml.SetMembers("team", "cm-ann", "cm-bob")
	p.clearml.AddRule(clearmltest.Rule{ID: "r1", Name: "old project", Users: []string{"cm-cid", "cm-ann"}})
	return p
}

// TestLeaversOnRealServers finds a disabled and a deleted person of a real realm, and not the
// enabled one. docs/leavers.md shows exactly this output.
func TestLeaversOnRealServers(t *testing.T) {
	p := left(t, clearmltest.Options{})
	before := p.clearml.Groups()
	config := configure(t, p.realm.Server.URL, p.realm.Name, p.url, "")
	got := inProcess(t, nil, "leavers", "--config", config)
	if got.code != 2 || got.stderr != "" {
		t.Fatalf("exit %d, want 2, without a word on stderr\n%s%s", got.code, got.stdout, got.stderr)
	}
	p.untouched(t, before)
	shown := instant.ReplaceAllString(got.stdout, "2026-11-20T09:30:00Z")

	const page, start = "../../docs/leavers.md", "    groupsync leavers --config config.yaml\n\n```\n"
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(data), start)
	want, tail, closed := strings.Cut(rest, "```\n")
	switch {
	case !found || !closed:
		t.Errorf("%s does not show the output", page)
	case shown == want:
	case *update:
		if err := os.WriteFile(page, []byte(head+start+shown+"```\n"+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s shows something else, -page +output; run go test ./cmd/groupsync -update\n%s", page, cmp.Diff(want, shown))
	}

	asJSON := inProcess(t, nil, "leavers", "-o", "json", "--recent", "24h", "--config", config)
	var r leavers.Report
	if err := json.Unmarshal([]byte(asJSON.stdout), &r); err != nil {
		t.Fatalf("%v\n%s%s", err, asJSON.stdout, asJSON.stderr)
	}
	if len(r.Leavers) != 2 || cmp.Diff([]leavers.Holding{leavers.Group, leavers.Admin}, r.Leavers[0].Holds) != "" {
		t.Errorf("two days ago is not recent within 24h: %+v", r.Leavers)
	}
}

// TestLeaversOfAServerThatTellsLittle: ClearML shows neither access rules nor activity. These
// are then unknown, and a leaver of whom everything is unknown is listed.
func TestLeaversOfAServerThatTellsLittle(t *testing.T) {
	p := left(t, clearmltest.Options{NoAccessRules: true, NoActivity: true})
	got := inProcess(t, nil, "leavers", "--config", configure(t, p.realm.Server.URL, p.realm.Name, p.url, ""))
	if got.code != 2 {
		t.Errorf("exit %d, want 2\n%s", got.code, got.stderr)
	}
	for _, want := range []string{
		"ClearML did not return all access rules: ClearML has no call permissions.get_access_rules",
		"ClearML did not return when people last used ClearML: ClearML users.get_all_ex: the server returned no user's activity",
		"gone  cid <cid@example.com>  (id cm-cid)\n  why: looked up: Keycloak has neither the id that ClearML keeps nor the email\n  groups: none\n  role: user\n  access rules that name the person: unknown\n  last use of the UI: unknown\n  last use of API keys: unknown\n",
	} {
		mustContain(t, "the output", got.stdout, want)
	}
	if strings.Contains(got.stdout, "(id cm-ann)") {
		t.Errorf("an enabled person is listed\n%s", got.stdout)
	}
}

// TestLeaversOfNobody: the exit code is 0 if nobody left, and 1 after an error.
func TestLeaversOfNobody(t *testing.T) {
	p := newPlace(t, func(s *keycloaktest.Spec) {}, clearmltest.Options{})
	config := configure(t, p.realm.Server.URL, p.realm.Name, p.url, "")
	if got := inProcess(t, nil, "leavers", "--config", config); got.code != 0 || got.stdout != "leavers: nobody who is disabled or gone in Keycloak holds anything in ClearML\nClearML did not return when people last used ClearML: ClearML users.get_all_ex: the server returned no user's activity\n" {
		t.Errorf("exit %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	p.clearml.Inject(clearmltest.Fault{Call: "permissions.get_access_rules", Code: 500, Text: "no"})
	got := inProcess(t, nil, "leavers", "--config", config)
	if got.code != 1 || got.stdout != "" {
		t.Errorf("exit %d, want 1\n%s", got.code, got.stdout)
	}
	mustContain(t, "stderr", got.stderr, "groupsync: reading what people hold in ClearML: ClearML permissions.get_access_rules: the server failed (500/0, no)")
}

// TestTheDaemonCountsLeavers: the daemon counts after its first pass, and only once for
// several passes. A reload that sets the interval to 0 removes the metrics of the count.
func TestTheDaemonCountsLeavers(t *testing.T) {
	p := left(t, clearmltest.Options{NoAccessRules: true})
	path := configure(t, p.realm.Server.URL, p.realm.Name, p.url, "leavers: {interval: 12h}")
	s := serveIn(t, nil, path, "--web.enable_lifecycle")
	address := s.until(t, "groupsync starts")["listen"].(string)
	counted := s.until(t, "the leavers were counted")
	if counted["leavers"] != 2.0 || counted["in_doubt"] != 0.0 || len(s.with("pass ended")) != 1 {
		t.Errorf("the log tells %v", counted)
	}
	code, metrics := fetch(t, address+"/metrics")
	for _, want := range []string{
		`groupsync_leavers{holds="group",sync="default"} 1`, `groupsync_leavers{holds="admin",sync="default"} 1`,
		`groupsync_leavers{holds="recent_use",sync="default"} 1`, `groupsync_leavers_last_success_timestamp_seconds{sync="default"} `,
	} {
		mustContain(t, "/metrics", metrics, "\n"+want)
	}
	if code != 200 || strings.Contains(metrics, `holds="rule"`) {
		t.Errorf("the server tells no access rules, and the metrics tell a number of them\n%s", metrics)
	}
	surveys := p.clearml.Count("users.get_all_ex")
	if code, body := post(t, address+"/-/sync"); code != 200 {
		t.Fatalf("%d %s", code, body)
	}
	rewrite(t, path, "interval: 12h", "interval: 0s")
	if code, body := post(t, address+"/-/reload"); code != 200 {
		t.Fatalf("%d %s", code, body)
	}
	if _, metrics := fetch(t, address+"/metrics"); strings.Contains(metrics, "groupsync_leavers") {
		t.Error("leavers are told although they are not counted any more")
	}
	for len(s.with("pass ended")) < 3 {
		s.until(t, "pass ended")
	}
	if code := s.terminate(t); code != 0 {
		t.Errorf("SIGTERM: exit code %d\n%s", code, s.log.String())
	}
	if n := p.clearml.Count("users.get_all_ex"); n != surveys {
		t.Errorf("%d requests for activity after the first count, want none", n-surveys)
	}
}
