package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target/clearmltest"
)

// TestPlanIsRefused checks what plan says of flags and configurations that cannot work:
// exactly these sentences, exit code 1, and nothing else.
func TestPlanIsRefused(t *testing.T) {
	elsewhere := func(before, after string) string { return strings.Replace(good, before, after, 1) }
	for _, row := range []struct {
		name    string
		changed string // empty: none is named
		args    []string
		want    string // all of stderr
	}{
		{
			name: "plan without a configuration to compare with",
			want: `groupsync: plan needs --against OTHER.yaml, the changed configuration: groupsync --once shows the plan of the present configuration`,
		},
		{
			name: "an output format that there is not", changed: good, args: []string{"-o", "diff"},
			want: `groupsync: -o diff is not a format: write -o text, markdown or json`,
		},
		{
			name: "--full with JSON, which is never cut", changed: good, args: []string{"--full", "-o", "json"},
			want: `groupsync: --full needs -o text or -o markdown: -o json is never cut`,
		},
		{
			name: "a changed configuration that is not valid", changed: good + "shedule: '@hourly'\n",
			want: `groupsync: the changed configuration: changed.yaml:3: unknown key "shedule"; did you mean "schedule"?`,
		},
		{
			name: "another Keycloak", changed: elsewhere("https://auth.example.com", "https://auth2.example.com"),
			want: `groupsync: keycloak.url is "https://auth.example.com" in the present configuration and "https://auth2.example.com" in the changed one: plan compares two configurations of one Keycloak realm and one ClearML server; write the same value into both`,
		},
		{
			name: "another realm", changed: elsewhere("realm: clearml", "realm: other"),
			want: `groupsync: keycloak.realm is "clearml" in the present configuration and "other" in the changed one: plan compares two configurations of one Keycloak realm and one ClearML server; write the same value into both`,
		},
		{
			name: "another ClearML", changed: elsewhere("https://api.clearml.example.com", "https://api2.clearml.example.com"),
			want: `groupsync: clearml.url is "https://api.clearml.example.com" in the present configuration and "https://api2.clearml.example.com" in the changed one: plan compares two configurations of one Keycloak realm and one ClearML server; write the same value into both`,
		},
		{
			name: "an argument that plan does not take", changed: good, args: []string{"changed.yaml"},
			want: `groupsync: unknown command "changed.yaml" for "groupsync plan": groupsync --help lists the commands and flags`,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			args := append([]string{"plan", "--config", write(t, "config.yaml", good)}, row.args...)
			if row.changed != "" {
				args = append(args, "--against", write(t, "changed.yaml", row.changed))
			}
			got := inProcess(t, nil, args...)
			if diff := cmp.Diff(outcome{code: 1, stderr: row.want + "\n"}, got, cmp.AllowUnexported(outcome{})); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// TestPlanOnRealServers compares configurations of a real realm. In one row only the changed
// configuration needs the role admin. Another has a hostile group name. None writes.
func TestPlanOnRealServers(t *testing.T) {
	const hostile = "<script>\u202e`|"
	p := newPlace(t, func(s *keycloaktest.Spec) {
		s.Groups = append(s.Groups, "/"+hostile)
		s.Users[2].Groups = []string{"/" + hostile}
	}, clearmltest.Options{})
	p.clearml.AddTeam(hostile)
	before := p.clearml.Groups()
	for _, row := range []struct {
		name, present, changed string
		args                   []string
		code                   int
		want                   []string // parts of stdout
	}{
		{
			name: "the role admin instead of the group Admins", code: 2,
			present: `admins: {groups: [leads], role: "", floor: 0}`, changed: `admins: {groups: [leads, team], role: "", floor: 0, via: role}`,
			want: []string{
				"~ bob <bob@example.com>  no longer removed",
				"role admin  (from nothing; changed: from /leads, /team)\n  + ann <ann@example.com>  planned",
			},
		},
		{
			name: "a hostile name in Markdown", code: 2, args: []string{"-o", "markdown"},
			present: `groups: {exclude: ["<*"]}`,
			want:    []string{"| `\"<script>\\u202e\\x60\\x7c\"` | `+` | `cid` | `cid@example.com` | `planned` |"},
		},
		{
			name: "a mapping of a group that there is not", code: 2,
			changed: `groups: {mapping: {tema: team}}`,
			want:    []string{`guard missing_source: no change withheld`, `the Keycloak group "tema", named in groups.mapping, does not exist`, `did you mean "team"?`},
		},
		{
			name: "an order of lists that changes", code: 0,
			present: `groups: {include: ["*", "team"]}`, changed: `groups: {include: ["team", "*"]}`,
			want: []string{"same: both configurations change the same memberships"},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			config := func(more string) string { return configure(t, p.realm.Server.URL, p.realm.Name, p.url, more) }
			got := inProcess(t, nil, append([]string{"plan", "--config", config(row.present), "--against", config(row.changed)}, row.args...)...)
			if got.code != row.code {
				t.Errorf("exit %d, want %d\n%s%s", got.code, row.code, got.stdout, got.stderr)
			}
			for _, want := range row.want {
				mustContain(t, "the comparison", got.stdout, want)
			}
			p.untouched(t, before)
		})
	}
}
