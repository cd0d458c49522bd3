package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/config"
	"groupsync/internal/config/clearmlenv"
	"groupsync/internal/preflight"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target/clearmltest"
)

// TestEveryCheckIsDocumented checks that docs/check.md has a section for each check, in the
// order of the checks, and no other section of that level.
func TestEveryCheckIsDocumented(t *testing.T) {
	checks := everyCheck(t)
	var want []string
	for _, check := range checks {
		want = append(want, check.Name)
	}
	page, err := os.ReadFile("../../docs/check.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, heading := range regexp.MustCompile(`(?m)^### (.+)$`).FindAllStringSubmatch(string(page), -1) {
		got = append(got, heading[1])
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-checks +sections\n%s", d)
	}
}

// everyCheck returns the checks of a configuration with which all checks are made.
func everyCheck(t *testing.T) []preflight.Check {
	t.Helper()
	c, role := config.Default(), "clearml-admin"
	c.Keycloak.URL, c.Keycloak.Realm, c.ClearML.URL = "https://auth.example.com", "clearml", "https://api.clearml.example.com"
	c.Keycloak.ClearMLClientID, c.Keycloak.Events, c.Admins.Role = "clearml", "poll", &role
	c.Users.Protect = []config.Protection{{Match: "a", Until: "2026-12-31"}}
	checks, err := checksOf(c, clearmlenv.SignIn{}, program{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return checks
}

// TestChecksNeedOnlyEarlierOnes checks that a check depends only on checks before it.
func TestChecksNeedOnlyEarlierOnes(t *testing.T) {
	checks := everyCheck(t)
	made := make(map[string]bool)
	for _, check := range checks {
		for _, needed := range check.After {
			if !made[needed] {
				t.Errorf("%s needs %s, which is not made before it", check.Name, needed)
			}
		}
		if made[check.Name] {
			t.Errorf("there are two checks %s", check.Name)
		}
		made[check.Name] = true
	}
}

// TestCheckOfAPersonsOwnCredentials runs the command against a real Keycloak. It must
// recognize a person's own credentials by the kept id and by the email. Names must be harmless
// in both formats, and the command takes only seconds.
func TestCheckOfAPersonsOwnCredentials(t *testing.T) {
	realm := readmeRealm(t)
	ann := realm.UserID(t, "ann")
	const hostile = "\u202e<script>\x1b[2J\n=cmd"
	for _, tt := range []struct {
		name string
		user clearmltest.User
		how  string
	}{
		{"by the kept id", clearmltest.User{ID: "boss", Name: hostile, Email: "other@example.com", Role: "admin", Providers: map[string]any{"keycloak": map[string]any{"sub": ann}}}, "id"},
		{"by the email", clearmltest.User{ID: "boss", Name: hostile, Email: "Ann@example.com", Role: "admin"}, "email"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := clearmltest.New(t, clearmltest.Options{})
			s.AddUser(tt.user)
			s.AddUser(clearmltest.User{ID: "cyn", Email: "cyn@example.com"})
			s.AddTeam(hostile, "boss", "cyn")
			s.TruncateMembers(1)
			s.SetCredentials("access", "secret", "boss")
			env := []string{
				"GROUPSYNC_KEYCLOAK_URL=" + realm.Server.URL, "GROUPSYNC_KEYCLOAK_REALM=" + realm.Name, "GROUPSYNC_KEYCLOAK_CLIENT_SECRET=" + keycloaktest.Secret,
				"GROUPSYNC_CLEARML_URL=" + s.URL, "GROUPSYNC_CLEARML_ACCESS_KEY=access", "GROUPSYNC_CLEARML_SECRET_KEY=secret",
			}
			start := time.Now()
			var text, asJSON, stderr bytes.Buffer
			if code := run(t.Context(), []string{"check"}, env, &text, &stderr); code != 0 {
				t.Errorf("exit code %d\n%s%s", code, text.String(), stderr.String())
			}
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("the check took %s", took)
			}
			want := "! clearml-identity: the credentials belong to a person: the ClearML user boss is the Keycloak account " + ann + ", matched by the " + tt.how + ". "
			if !strings.Contains(text.String(), want) {
				t.Errorf("got\n%s\nwant a line that begins with\n%s", text.String(), want)
			}
			if code := run(t.Context(), []string{"check", "--strict", "-o", "json"}, env, &asJSON, &stderr); code != 2 {
				t.Errorf("exit code %d with --strict, want 2", code)
			}
			var r preflight.Report
			if err := json.Unmarshal(asJSON.Bytes(), &r); err != nil {
				t.Fatal(err)
			}
			if lines := strings.Count(text.String(), "\n✔") + strings.Count(text.String(), "\n!") + 1; len(r.Findings) != lines {
				t.Errorf("%d findings in JSON, %d in the text", len(r.Findings), lines)
			}
			for format, shown := range map[string]string{"text": text.String(), "JSON": asJSON.String(), "stderr": stderr.String()} {
				if strings.ContainsAny(shown, "\u202e\x1b") || strings.Contains(shown, "Ann Lee") || strings.Contains(shown, keycloaktest.Secret) {
					t.Errorf("%s is not harmless:\n%q", format, shown)
				}
			}
			if !strings.Contains(text.String(), `\u202e<script>\x1b[2J\n=cmd`) {
				t.Errorf("the hostile name of the group is not shown:\n%s", text.String())
			}
		})
	}
}

// TestASignalStopsTheCheck checks that a signal stops the check with one sentence and exit
// code 1, in both formats.
func TestASignalStopsTheCheck(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		ctx, stop := context.WithCancel(t.Context())
		stop()
		env := []string{
			"GROUPSYNC_KEYCLOAK_URL=http://127.0.0.1:1", "GROUPSYNC_KEYCLOAK_REALM=r", "GROUPSYNC_KEYCLOAK_CLIENT_SECRET=s",
			"GROUPSYNC_CLEARML_URL=http://127.0.0.1:1", "GROUPSYNC_CLEARML_ACCESS_KEY=a", "GROUPSYNC_CLEARML_SECRET_KEY=b",
		}
		var stdout, stderr bytes.Buffer
		code := run(ctx, []string{"check", "-o", format}, env, &stdout, &stderr)
		want := "groupsync: the check was stopped before its end, so the findings are not complete: run it again\n"
		if code != 1 || stdout.String() != "" || stderr.String() != want {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q, want 1, nothing and %q", format, code, stdout.String(), stderr.String(), want)
		}
	}
}

// TestCheckBehindAProxy: behind a proxy the machine must know only the proxy's name, not
// Keycloak's.
func TestCheckBehindAProxy(t *testing.T) {
	t.Parallel() // most of it is waiting
	if testing.Short() {
		t.Skip("it waits for seconds until requests are given up")
	}
	cmd := command(t.Context(), "check", "--keycloak.url", "https://auth.example.com", "--keycloak.realm", "r", "--clearml.url", "http://127.0.0.1:1")
	cmd.Env = append(cmd.Env, "HTTPS_PROXY=http://proxy.invalid:3128", "HTTP_PROXY=", "NO_PROXY=",
		"GROUPSYNC_KEYCLOAK_CLIENT_SECRET=s", "GROUPSYNC_CLEARML_ACCESS_KEY=a", "GROUPSYNC_CLEARML_SECRET_KEY=b")
	o := finish(t, cmd)
	const want = "✘ keycloak-dns: DNS has no address for the host proxy.invalid of the proxy that HTTP_PROXY or HTTPS_PROXY names (no such host)\n"
	if o.code != 1 || !strings.Contains(o.stdout, want) {
		t.Errorf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
}
