package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rogpeppe/go-internal/txtar"

	"groupsync/internal/config"
	"groupsync/internal/report"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target/clearmltest"
)

var update = flag.Bool("update", false, "write the outputs in testdata, and those that the documentation shows, anew")

const readme = "../../README.md"

// TestTranscripts runs the scripts of testdata. They have these commands beside those of
// testscript:
//
//	groupsync ARGS   runs the program; what differs from run to run becomes …
//	code N           checks the exit code of the last groupsync
//	members G U…     checks the members of a user group of the script's own ClearML
//
// config.yaml is README's example. The environment gives the real addresses of both sides.
func TestTranscripts(t *testing.T) {
	env := map[string]string{}
	if !testing.Short() {
		realm := readmeRealm(t)
		env["GROUPSYNC_KEYCLOAK_URL"], env["GROUPSYNC_KEYCLOAK_REALM"] = realm.Server.URL, realm.Name
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata", UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			c, err := readmeClearML()
			if err != nil {
				return err
			}
			e.Defer(c.Close)
			e.Values["clearml"] = c
			for name, value := range env {
				e.Setenv(name, value)
			}
			e.Setenv("GROUPSYNC_CLEARML_URL", c.URL)
			for key, secret := range map[string]string{"KEYCLOAK_CLIENT_SECRET": keycloaktest.Secret, "CLEARML_ACCESS_KEY": "access", "CLEARML_SECRET_KEY": "secret"} {
				file := filepath.Join(e.WorkDir, key)
				e.Setenv("GROUPSYNC_"+key+"_FILE", file)
				if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
					return err
				}
			}
			return os.WriteFile(filepath.Join(e.WorkDir, "config.yaml"), []byte(exampleYAML()), 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"groupsync": runScripted, "code": holdCode, "members": holdMembers,
		},
	})
}

// varying matches what differs from run to run: in the JSON of a report the values of the pass
// and the sum, in an answer the time, the ids that Keycloak gives, and who approved or
// suspended and when. It also matches what a transcript does not check: the number of
// requests.
var varying = regexp.MustCompile(`("(?:pass|started|duration_seconds)": )[^,]*|("id": )"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"|(\bid )[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|("(?:at|sha256)": )"[^"]*"|(?m)^(groupsync_requests_total\{.*\} )\d+$|^(approval of \S+ by ).+ at \d{4}-\S+Z|(is suspended until )\d{4}-\S+Z(?: by "[^"]*")?`)

// examples replaces what differs from run to run in outputs of the journal: ids of passes and
// of calls, times, and the name of the approver.
var examples = []struct {
	varying *regexp.Regexp
	example string
}{
	{regexp.MustCompile(`\b\d{8}T\d{6}Z-[0-9a-f]{8}\b`), "20260102T150405Z-0a1b2c3d"},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\dT[\d:.]+Z`), "2026-01-02T15:04:05Z"},
	{regexp.MustCompile(`(\bcall(?:": ")? ?)[0-9a-f]{32}`), "${1}c0ffeec0ffeec0ffeec0ffeec0ffee00"},
	{regexp.MustCompile(`((?:, |  )approved by )[^:\n]+`), "${1}root"},
}

func runScripted(ts *testscript.TestScript, _ bool, args []string) {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Dir, cmd.Stderr = ts.MkAbs("."), ts.Stderr()
	cmd.Env = []string{"BE_GROUPSYNC=1", raceOptions + "=" + os.Getenv(raceOptions)}
	if dir := os.Getenv(coverDir); dir != "" {
		cmd.Env = append(cmd.Env, coverDir+"="+dir)
	}
	for _, e := range keyVariables() {
		if v := ts.Getenv(e); v != "" {
			cmd.Env = append(cmd.Env, e+"="+v)
		}
	}
	stdout, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("%v", err)
	}
	stdout = varying.ReplaceAll(stdout, []byte(`$1$2$3$4$5$6$7…`))
	for _, e := range examples {
		stdout = e.varying.ReplaceAll(stdout, []byte(e.example))
	}
	_, err = ts.Stdout().Write(stdout)
	ts.Check(err)
	ts.Setenv("CODE", strconv.Itoa(cmd.ProcessState.ExitCode()))
}

func keyVariables() []string {
	return []string{
		"GROUPSYNC_KEYCLOAK_URL", "GROUPSYNC_KEYCLOAK_REALM", "GROUPSYNC_KEYCLOAK_CLIENT_SECRET_FILE", "GROUPSYNC_CLEARML_URL",
		"GROUPSYNC_CLEARML_ACCESS_KEY_FILE", "GROUPSYNC_CLEARML_SECRET_KEY_FILE", "GROUPSYNC_GUARDS_FREE_REMOVALS", "GROUPSYNC_GUARDS_MAX_REMOVAL_RATIO",
		"GROUPSYNC_STATE_DIR",
	}
}

func holdCode(ts *testscript.TestScript, _ bool, args []string) {
	if want := strings.Join(args, " "); ts.Getenv("CODE") != want {
		ts.Fatalf("exit code %s, want %s", ts.Getenv("CODE"), want)
	}
}

func holdMembers(ts *testscript.TestScript, _ bool, args []string) {
	want := slices.Clone(args[1:])
	for i := range want {
		want[i] = "cm-" + want[i]
	}
	if got := ts.Value("clearml").(*clearmltest.Server).Members(args[0]); !slices.Equal(got, want) {
		ts.Fatalf("the members of %s are %v, want %v", args[0], got, want)
	}
}

// readmeRealm and readmeClearML are the two sides of README's example: Ann has joined the ML
// team, Bob has left it, and Eve has not yet signed in to ClearML.
func readmeRealm(t *testing.T) *keycloaktest.Realm {
	user := func(name, last string, groups ...string) keycloaktest.User {
		return keycloaktest.User{Username: name, Email: name + "@example.com", FirstName: name, LastName: last, Groups: groups}
	}
	return keycloaktest.Shared(t).NewRealm(t, keycloaktest.Spec{
		Groups: []string{"/research/ml-team", "/platform", "/finance"},
		Users: []keycloaktest.User{
			user("ann", "Lee", "/research/ml-team"), user("bob", "Roe", "/platform"), user("cyn", "Dow", "/research/ml-team"),
			user("dee", "Fox", "/research/ml-team", "/finance"), user("eve", "Gray", "/platform"),
		},
	})
}

func readmeClearML() (*clearmltest.Server, error) {
	s, err := clearmltest.Start(clearmltest.Options{})
	if err != nil {
		return nil, err
	}
	for id, name := range map[string]string{"ann": "Ann Lee", "bob": "Bob Roe", "cyn": "Cyn Dow", "dee": "Dee Fox"} {
		s.AddUser(clearmltest.User{ID: "cm-" + id, Name: name, Email: id + "@example.com", Providers: map[string]any{"keycloak": map[string]any{"email": id + "@example.com"}}})
	}
	s.AddUser(clearmltest.User{ID: "cm-zoe", Name: "Zoe (local)", Email: "zoe@example.com"})
	s.AddTeam("ml-team", "cm-bob", "cm-cyn", "cm-dee")
	s.AddTeam("platform", "cm-bob", "cm-zoe")
	s.AddTeam("guests", "cm-ann")
	return s, nil
}

func readmeText() string {
	text, err := os.ReadFile(readme)
	if err != nil {
		panic(err) // the tests run in the directory of their sources
	}
	return string(text)
}

// exampleYAML returns README's example of a configuration.
func exampleYAML() string {
	_, block, _ := strings.Cut(readmeText(), "\n```yaml\n")
	block, _, _ = strings.Cut(block, "\n```\n")
	return block + "\n"
}

// section returns a file of a script in testdata.
func section(t *testing.T, script, name string) string {
	t.Helper()
	archive, err := txtar.ParseFile(filepath.Join("testdata", script))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range archive.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	t.Fatalf("%s has no part %s", script, name)
	return ""
}

// TestDocsShowTheOutputs checks that each output in the documentation is exactly the output of
// TestTranscripts.
func TestDocsShowTheOutputs(t *testing.T) {
	for _, row := range []struct{ page, script, section, before, after string }{
		{readme, "dry-run.txt", "report", "--once --config config.yaml\n\n```\n", "```\n"},
		{"../../docs/report.md", "dry-run.txt", "report.diff", "-o diff --config config.yaml\n\n```diff\n", "```\n"},
		{"../../docs/report.md", "dry-run.txt", "report.md", "-o markdown --config config.yaml\n\n~~~markdown\n", "~~~\n"},
		{"../../docs/explain.md", "explain.txt", "bob", "    groupsync explain bob@example.com --config config.yaml\n\n```\n", "```\n"},
		{"../../docs/explain.md", "explain.txt", "eve", "    groupsync explain eve --group platform --config config.yaml\n\n```\n", "```\n"},
		{"../../docs/explain.md", "explain.txt", "ml-team", "    groupsync explain --group ml-team --config config.yaml\n\n```\n", "```\n"},
		{"../../docs/explain.md", "history.txt", "explained", "    groupsync explain bob@example.com --group ml-team --state_dir state --config config.yaml\n\n```\n", "```\n"},
		{"../../docs/history.md", "history.txt", "history", "    groupsync history --state_dir state --config config.yaml\n\n```\n", "```\n"},
		{"../../docs/history.md", "history.txt", "bob", "    groupsync history --user BOB@example.com --since 48h --state_dir state --config config.yaml\n\n```\n", "```\n"},
		{"../../docs/restore.md", "restore.txt", "dry", "    groupsync restore --last --state_dir state --config config.yaml\n\n```\n", "```\n"},
		{"../../docs/restore.md", "restore.txt", "restored", "    groupsync restore --last --apply --state_dir state --config config.yaml\n\n```\n", "```\n"},
		{"../../docs/sync.md", "sync.txt", "dry", "    groupsync sync bob@example.com --config config.yaml\n\n```\n", "```\n"},
		{"../../docs/sync.md", "sync.txt", "applied", "    groupsync sync bob@example.com --apply --config config.yaml\n\n```\n", "```\n"},
		{"../../docs/running.md", "suspend.txt", "suspended", "--reason \"LDAP migration\" --config config.yaml\n\n```\n", "```\n"},
		{"../../docs/running.md", "suspend.txt", "resumed", "    groupsync resume --config config.yaml\n\n```\n", "```\n"},
		{"../../docs/plan.md", "plan.txt", "comparison", "--against changed.yaml --config config.yaml\n\n```\n", "```\n"},
		{"../../docs/plan.md", "plan.txt", "comparison.md", "-o markdown --config config.yaml\n\n~~~markdown\n", "~~~\n"},
	} {
		want := section(t, row.script, row.section)
		text, err := os.ReadFile(row.page)
		if err != nil {
			t.Fatal(err)
		}
		head, rest, found := strings.Cut(string(text), row.before)
		got, tail, closed := strings.Cut(rest, row.after)
		switch {
		case !found || !closed:
			t.Errorf("%s does not show the part %s of testdata/%s", row.page, row.section, row.script)
		case got == want:
		case *update:
			if err := os.WriteFile(row.page, []byte(head+row.before+want+row.after+tail), 0o644); err != nil {
				t.Fatal(err)
			}
		default:
			t.Errorf("%s shows\n%swhere testdata/%s has\n%srun go test ./cmd/groupsync -update twice", row.page, got, row.script, want)
		}
	}
}

// TestReadmeShowsTheTableOfGuards checks that README's table of guards has the rows of
// report.Rules, in their order.
func TestReadmeShowsTheTableOfGuards(t *testing.T) {
	var want strings.Builder
	for _, r := range report.Rules {
		lifted := "no"
		if r.Liftable {
			lifted = "yes"
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s |\n", r.Guard, r.Withholds, lifted)
	}
	const before, after = "| guard | withholds | lifted by `--approve` |\n|---|---|---|\n", "\n"
	head, rest, found := strings.Cut(readmeText(), before)
	end := strings.Index(rest, "\n"+after)
	switch {
	case !found || end < 0:
		t.Fatal("README.md shows no table of guards")
	case rest[:end+1] == want.String():
	case *update:
		if err := os.WriteFile(readme, []byte(head+before+want.String()+rest[end+1:]), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("README.md's table of guards is not report.Rules; run go test ./cmd/groupsync -update\n%s", cmp.Diff(want.String(), rest[:end+1]))
	}
}

// TestDocsCommandsAreRun checks that every command in README, docs/report.md, docs/plan.md and
// docs/history.md is in a transcript, including its digest.
func TestDocsCommandsAreRun(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, s := range scripts {
		text, err := os.ReadFile(s)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.Split(string(text), "\n")...)
	}
	for _, page := range []string{readme, "../../docs/report.md", "../../docs/plan.md", "../../docs/history.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		shown := regexp.MustCompile(`(?m)^    (groupsync .*)$`).FindAllStringSubmatch(string(text), -1)
		if len(shown) < 3 {
			t.Errorf("%s shows %d commands", page, len(shown))
		}
		for _, m := range shown {
			if !slices.Contains(lines, m[1]) {
				t.Errorf("no script of testdata runs what %s shows: %s", page, m[1])
			}
		}
	}
}

// TestReadmeConfigurationLoads checks that README's example is a complete configuration,
// except for the files of the secrets.
func TestReadmeConfigurationLoads(t *testing.T) {
	dir := t.TempDir()
	text := strings.ReplaceAll(exampleYAML(), "/etc/groupsync/", dir+"/")
	for _, f := range []string{"keycloak/client_secret", "clearml/access_key", "clearml/secret_key"} {
		path := filepath.Join(dir, f)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("secret\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Load(config.Options{File: write(t, "config.yaml", text)})
	if err != nil {
		t.Fatal(err)
	}
	if c.Keycloak.Realm != "clearml" || c.Mode != config.Observe {
		t.Errorf("realm %q, mode %q", c.Keycloak.Realm, c.Mode)
	}
}
