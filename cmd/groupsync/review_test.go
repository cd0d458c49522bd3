package main

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/review"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target/clearmltest"
)

// TestReviewIsRefused checks what review says of flags that cannot work: exactly these
// sentences, exit code 1, and nothing else.
func TestReviewIsRefused(t *testing.T) {
	for _, row := range []struct {
		name string
		args []string
		want string // all of stderr
	}{
		{"an output format that there is not", []string{"-o", "xlsx"}, `groupsync: -o xlsx is not a format: write -o csv, json or html`},
		{"a date in a CSV", []string{"--date"}, `groupsync: --date needs -o json or -o html: a CSV holds rows only; write the date into the name of the file`},
		{"an argument that review does not take", []string{"team"}, `groupsync: unknown command "team" for "groupsync review": groupsync --help lists the commands and flags`},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := inProcess(t, nil, append([]string{"review", "--config", write(t, "config.yaml", good)}, row.args...)...)
			if diff := cmp.Diff(outcome{code: 1, stderr: row.want + "\n"}, got, cmp.AllowUnexported(outcome{})); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// TestReviewOnRealServers reviews a real realm with hostile names and with drift. The exit
// code is 0, two reviews are the same bytes, and nothing is written.
func TestReviewOnRealServers(t *testing.T) {
	const formula = `=HYPERLINK("x")`
	p := newPlace(t, func(s *keycloaktest.Spec) {
		s.Groups = append(s.Groups, "/"+formula, "/<script>alert(1)<")
		s.Users[2].Groups = []string{"/" + formula, "/<script>alert(1)<"}
	}, clearmltest.Options{})
	p.clearml.AddTeam(formula, "cm-cid")
	p.clearml.AddTeam("<script>alert(1)<", "cm-cid")
	p.clearml.AddUser(clearmltest.User{ID: "cm-formula", Name: "@SUM(1)", Email: "sum@example.com", Role: "admin"})
	p.clearml.AddTeam("guests", "cm-formula")
	before := p.clearml.Groups()
	config := configure(t, p.realm.Server.URL, p.realm.Name, p.url, "name: production\nadmins: {groups: [leads], role: \"\"}")
	reviewed := func(args ...string) string {
		t.Helper()
		args = append([]string{"review", "--config", config}, args...)
		first, second := inProcess(t, nil, args...), inProcess(t, nil, args...)
		if first.code != 0 || first.stderr != "" {
			t.Fatalf("exit %d\n%s", first.code, first.stderr)
		}
		if d := cmp.Diff(first.stdout, second.stdout); d != "" && args[len(args)-1] != "--date" {
			t.Errorf("two reviews differ\n%s", d)
		}
		return first.stdout
	}

	records, err := csv.NewReader(strings.NewReader(reviewed())).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range records {
		got = append(got, strings.Join([]string{r[0], r[3], r[5], r[7], r[8], r[9], r[10]}, "|"))
	}
	want := []string{
		"name|username|group|status|reason|by|matched",
		"cid|cid|<script>alert(1)<|granted|member|/<script>alert(1)<|id",
		`cid|cid|'=HYPERLINK("x")|granted|member|/=HYPERLINK("x")|id`,
		"bob|bob|Admins|leaves|not_member||id",
		"groupsync||Admins|kept|service_account||",
		"'@SUM(1)||guests|unmanaged|no_source||",
		"'@SUM(1)||role admin|unmanaged|no_source||",
		"bob|bob|role admin|unmanaged|no_source||id",
		"groupsync||role admin|unmanaged|no_source||",
		"ann|ann|team|joins|member|/team|id",
		"bob|bob|team|granted|member|/team|id",
		"cid|cid|team|leaves|not_member||id",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if id := records[1][4]; id != p.realm.UserID(t, "cid") {
		t.Errorf("the account id of cid is %s", id)
	}

	var r review.Review
	if err := json.Unmarshal([]byte(reviewed("-o", "json")), &r); err != nil {
		t.Fatal(err)
	}
	scope := review.Scope{Sync: "production", Keycloak: p.realm.Server.URL, Realm: p.realm.Name, ClearML: p.url}
	if r.Scope != scope || len(r.Rows) != len(records)-1 || r.At != nil || r.Statuses[review.Granted] != 3 {
		t.Errorf("%+v", r)
	}
	if err := json.Unmarshal([]byte(reviewed("-o", "json", "--date")), &r); err != nil || r.At == nil || r.At.Location().String() != "UTC" {
		t.Errorf("the date is %v, %v", r.At, err)
	}

	page := reviewed("-o", "html")
	mustContain(t, "the page", page, "<title>Access review of production</title>")
	mustContain(t, "the page", page, "<b>&lt;script&gt;alert(1)&lt;</b>")
	if strings.Contains(page, "<script") || strings.Contains(page, "Read at") {
		t.Errorf("the page holds a script or a time:\n%s", page)
	}
	p.untouched(t, before)
}

// TestTheDocsShowTheReview checks that docs/review.md shows the CSV of README's example.
func TestTheDocsShowTheReview(t *testing.T) {
	const page, command, end = "../../docs/review.md", "    groupsync review --config config.yaml\n\n```\n", "```\n"
	realm := readmeRealm(t)
	server, err := readmeClearML()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	secret := func(text string) string { return write(t, "secret", text) }
	got := inProcess(t, []string{
		"GROUPSYNC_KEYCLOAK_URL=" + realm.Server.URL, "GROUPSYNC_KEYCLOAK_REALM=" + realm.Name, "GROUPSYNC_CLEARML_URL=" + server.URL,
		"GROUPSYNC_KEYCLOAK_CLIENT_SECRET_FILE=" + secret(keycloaktest.Secret), "GROUPSYNC_CLEARML_ACCESS_KEY_FILE=" + secret("access"), "GROUPSYNC_CLEARML_SECRET_KEY_FILE=" + secret("secret"),
	}, "review", "--config", write(t, "config.yaml", exampleYAML()))
	if got.code != 0 {
		t.Fatalf("exit %d\n%s", got.code, got.stderr)
	}
	want := strings.ReplaceAll(got.stdout, "\r\n", "\n")
	for _, name := range []string{"ann", "bob", "cyn", "dee"} {
		want = strings.ReplaceAll(want, realm.UserID(t, name), "…")
	}
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(data), command)
	shown, after, closed := strings.Cut(rest, end)
	switch {
	case !found || !closed:
		t.Errorf("%s does not show %s", page, command)
	case shown != want && *update:
		if err := os.WriteFile(page, []byte(before+command+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	case shown != want:
		t.Errorf("%s shows\n%swhere review prints\n%srun go test ./cmd/groupsync -update", page, shown, want)
	}
}
