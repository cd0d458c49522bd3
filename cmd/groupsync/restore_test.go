package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/config"
	"groupsync/internal/report"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target/clearmltest"
)

// TestTheJSONOfAPassIsSealed: a saved report can be restored.
func TestTheJSONOfAPassIsSealed(t *testing.T) {
	const pass = "20260102T150405Z-0a1b2c3d"
	var b bytes.Buffer
	if err := (flags{output: "json"}).format().render(&b, report.Report{Pass: pass, Sync: "default"}, report.Style{}); err != nil {
		t.Fatal(err)
	}
	file := write(t, "saved.json", b.String())
	for _, row := range []struct {
		name, text, want string
	}{
		{"as it was printed", b.String(), ""},
		{"edited", strings.Replace(b.String(), `"default"`, `"other"`, 1), "the report " + file + " was edited: its sha256 does not match its content: groupsync ignores the file; give a file of a journal, or a file with the output of groupsync --once -o json"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(row.text), 0o600); err != nil {
				t.Fatal(err)
			}
			// A process with a Lease keeps no journal.
			got, err := reportOf(config.Config{Name: "default"}, file)
			if row.want == "" && (err != nil || got.Pass != pass) || row.want != "" && (err == nil || err.Error() != row.want) {
				t.Errorf("the pass %q, error %v", got.Pass, err)
			}
		})
	}
}

// TestTheRunbookTakesAMassRemovalBack empties a group of 500 people in Keycloak by mistake,
// and the removals are approved. The commands of docs/runbook.md give all 500 memberships
// back, even if a pass in between adds somebody else. The next pass leaves them alone.
func TestTheRunbookTakesAMassRemovalBack(t *testing.T) {
	const people = 500
	spec := keycloaktest.Spec{Groups: []string{"/team"}}
	clearml := clearmltest.New(t, clearmltest.Options{})
	var members []string
	for i := range people {
		name := fmt.Sprintf("user-%03d", i)
		spec.Users = append(spec.Users, keycloaktest.User{Username: name, Email: name + "@example.com"})
		clearml.AddUser(clearmltest.User{ID: "cm-" + name, Name: name, Email: name + "@example.com", Role: "user", Providers: map[string]any{"keycloak": "2026-11-24T00:00:00Z"}})
		members = append(members, "cm-"+name)
	}
	spec.Users = append(spec.Users, keycloaktest.User{Username: "joiner", Email: "joiner@example.com"})
	clearml.AddUser(clearmltest.User{ID: "cm-joiner", Name: "joiner", Email: "joiner@example.com", Role: "user", Providers: map[string]any{"keycloak": "2026-11-24T00:00:00Z"}})
	realm := keycloaktest.Shared(t).NewRealm(t, spec)
	clearml.AddTeam("team", members...)
	config := configure(t, realm.Server.URL, realm.Name, clearml.URL, "")

	withheld := groupsync(t, "--once", "--apply", "-o", "json", "--config", config).report(t)
	if withheld.Applied.Removed != 0 || withheld.Digest == "" {
		t.Fatalf("without an approval %d were removed; digest %q", withheld.Applied.Removed, withheld.Digest)
	}
	done := groupsync(t, "--once", "--apply", "--approve", withheld.Digest, "-o", "json", "--config", config).report(t)
	if done.Applied.Removed != people {
		t.Fatalf("%d were removed, want %d", done.Applied.Removed, people)
	}

	page, err := os.ReadFile("../../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "### A pass removed people wrongly\n")
	section, _, _ = strings.Cut(section, "\n### ")
	var commands []string
	for line := range strings.Lines(section) {
		if command, is := strings.CutPrefix(line, "    groupsync "); is {
			commands = append(commands, strings.TrimSpace(command))
		}
	}
	if len(commands) != 4 {
		t.Fatalf("the runbook has the commands %q, want one that looks, two that restore and one that resumes", commands)
	}
	run := func(command string, want int) (stdout string) {
		t.Helper()
		filled := strings.NewReplacer("config.yaml", config, "PASS", done.Pass)
		before, quoted, _ := strings.Cut(filled.Replace(command), `"`)
		reason, after, _ := strings.Cut(quoted, `"`)
		args := strings.Fields(before)
		if reason != "" {
			args = append(args, reason)
		}
		o := groupsync(t, append(args, strings.Fields(after)...)...)
		if o.code != want {
			t.Fatalf("groupsync %s: exit %d, want %d\n%s\n%s", command, o.code, want, o.stdout, o.stderr)
		}
		return o.stdout
	}
	if shown := run(commands[0], 0); !strings.Contains(shown, done.Pass) {
		t.Fatalf("history does not show the pass %s", done.Pass)
	}
	run(commands[1], 0)
	realm.Join(t, "joiner", "/team")
	if joined := groupsync(t, "--once", "--apply", "-o", "json", "--config", config).report(t); joined.Applied != (report.Tally{Added: 1}) {
		t.Fatalf("between the two commands: %s", joined.Applied)
	}
	first, _, _ := strings.Cut(run(commands[2], 0), "\n")
	if want := fmt.Sprintf("takes back the pass %s, which started at %s: 0 added, 500 removed, 0 failed", done.Pass, done.Started.Format(time.RFC3339)); first != want {
		t.Errorf("the restore says %q first, want %q", first, want)
	}
	members = append(members, "cm-joiner")
	slices.Sort(members)
	if d := cmp.Diff(members, clearml.Members("team")); d != "" {
		t.Errorf("after the two commands, -want +got:\n%s", d)
	}
	next := groupsync(t, "--once", "--apply", "--approve", withheld.Digest, "-o", "json", "--config", config).report(t)
	if next.Applied.Removed != 0 || len(clearml.Members("team")) != people+1 {
		t.Errorf("the next pass removed %d people although removals are suspended", next.Applied.Removed)
	}
	run(commands[3], 0)
}
