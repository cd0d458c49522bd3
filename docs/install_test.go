// Package docs holds the tests of the pages in this directory that are not transcripts.
package docs

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/config/clearmlenv"
	"groupsync/internal/processtest"
	"groupsync/internal/source/keycloaktest"
)

func TestMain(m *testing.M) { os.Exit(keycloaktest.Main(m)) }

// page is a page of docs, split into what the reader writes and what the reader runs.
type page struct {
	name     string
	files    map[string]string // by the name that stands before the block
	scripts  []string          // blocks of sh
	commands []string          // indented lines, in the page's order
}

func install(t *testing.T) page { return apart(t, "install.md") }

// apart splits a page. It fails if it does not understand a block of the page.
func apart(t *testing.T, name string) page {
	t.Helper()
	text := read(t, name)
	p := page{name: name, files: map[string]string{}}
	for _, m := range regexp.MustCompile("(?ms)^`([\\w.-]+)`:\n\n```yaml\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		p.files[m[1]] = m[2]
	}
	for _, m := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		p.scripts = append(p.scripts, m[1])
	}
	for _, m := range regexp.MustCompile(`(?m)^(?: {4}| {6})(\w.*)$`).FindAllStringSubmatch(regexp.MustCompile("(?ms)^```.*?^```$").ReplaceAllString(text, ""), -1) {
		p.commands = append(p.commands, m[1])
	}
	if blocks := strings.Count(text, "```") / 2; blocks != len(p.files)+len(p.scripts) {
		t.Fatalf("%s has %d blocks, of which the test understands %d files and %d scripts", name, blocks, len(p.files), len(p.scripts))
	}
	return p
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestFragmentsSayTheSame: groupsync understands both forms of ClearML's variables, and gets
// the same values from them.
func TestFragmentsSayTheSame(t *testing.T) {
	p := install(t)
	role := ""
	want := map[string]any{
		"keycloak.url": "https://auth.example.com", "keycloak.realm": "clearml",
		"groups.claim": "groups", "admins.groups": []string{"clearml-admins"}, "admins.role": &role,
	}
	for _, name := range []string{"docker-compose.override.yaml", "clearml-values.yaml"} {
		path := filepath.Join(t.TempDir(), name)
		write(t, path, p.files[name])
		facts, err := clearmlenv.Read(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]any{}
		for _, v := range facts.Values {
			got[v.Key] = v.Value
		}
		if d := cmp.Diff(want, got); d != "" || len(facts.Remarks) > 0 {
			t.Errorf("%s: -want +got\n%s%v", name, d, facts.Remarks)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestTheOverrideIsOne merges the override into a file with the parts of ClearML's own that it
// needs. compose must find every network, secret and volume.
func TestTheOverrideIsOne(t *testing.T) {
	program, dir := processtest.Tool(t, "COMPOSE_SPEC"), t.TempDir()
	write(t, filepath.Join(dir, "docker-compose.yaml"), "services: {apiserver: {image: clearml, networks: [backend]}}\nnetworks: {backend: {}}\n")
	write(t, filepath.Join(dir, "docker-compose.override.yaml"), install(t).files["docker-compose.override.yaml"])
	cmd := exec.Command(program, "-format", "json", "docker-compose.yaml", "docker-compose.override.yaml")
	cmd.Dir = dir
	var merged struct {
		Services map[string]struct {
			Networks    map[string]any
			Environment []string // in the form KEY=value
			Volumes     []struct{ Target string }
			Secrets     []struct{ Target string }
		}
	}
	if err := json.Unmarshal([]byte(processtest.Output(t, cmd)), &merged); err != nil {
		t.Fatal(err)
	}
	groupsync := merged.Services["groupsync"]
	if _, shared := groupsync.Networks["backend"]; !shared || len(merged.Services["apiserver"].Environment) != 5 {
		t.Errorf("merged: %+v", merged.Services)
	}
	var targets []string
	for _, m := range append(groupsync.Volumes, groupsync.Secrets...) {
		targets = append(targets, m.Target)
	}
	var named []string // the paths that the configuration and the commands name
	for _, text := range append(install(t).commands, install(t).files["groupsync.yaml"]) {
		if strings.HasPrefix(text, "kubectl") {
			continue
		}
		named = append(named, regexp.MustCompile(`/(?:etc/groupsync|run/secrets|var/lib)/[\w./]+`).FindAllString(text, -1)...)
	}
	for _, path := range named {
		if !slices.Contains(targets, path) {
			t.Errorf("%s is named, and nothing is mounted there", path)
		}
	}
}

// reader does what the page says, on a real Keycloak and a ClearML stand-in. docker, kubectl
// and the cluster are left out. groupsync runs with the arguments that they would pass to it.
type reader struct {
	page
	dir     string // the working directory of the reader
	program string // path of groupsync
	realm   *keycloaktest.Realm
	clearml string // its URL
	applied bool   // a pass with --apply on the reader's machine has left no drift
}

// open returns a reader before the first line of the page. groupsync is built, the realm has
// no client for it, and one person has left a group.
func open(t *testing.T, p page) *reader {
	t.Helper()
	processtest.Tool(t, "HELM")
	r := &reader{page: p, dir: t.TempDir(), program: processtest.Groupsync(t, "..")}
	r.realm = keycloaktest.Shared(t).ImportRealm(t, []byte(read(t, "../examples/realm/clearml-realm.json")))
	r.realm.Do(t, "DELETE", "/clients/"+r.clients(t)[0], nil, nil) // the page begins without the client
	r.begin(t)
	r.realm.Leave(t, "ken", "/platform")
	return r
}

// credentials does what the reader does in ClearML.
func (r *reader) credentials(t *testing.T) {
	t.Helper()
	write(t, filepath.Join(r.dir, "secrets", "access_key"), "access\n")
	write(t, filepath.Join(r.dir, "secrets", "secret_key"), "secret\n")
}

// TestFollowed follows docs/install.md from the first line to the last. It fails at a command
// that it does not know.
func TestFollowed(t *testing.T) {
	r := open(t, install(t))
	r.script(t, 0) // the client
	r.credentials(t)
	r.script(t, 1)
	r.mount(t, "config.yaml", r.files["groupsync.yaml"])
	r.mount(t, "override.yaml", r.files["docker-compose.override.yaml"])
	for _, c := range r.commands {
		r.command(t, c)
	}
	r.script(t, 2) // the client is deleted again
	if left := r.clients(t); len(left) != 0 {
		t.Errorf("the client is still there: %v", left)
	}
}

// TestGettingStarted follows docs/getting-started.md in the same way.
func TestGettingStarted(t *testing.T) {
	r := open(t, apart(t, "getting-started.md"))
	r.script(t, 0) // the client
	r.credentials(t)
	write(t, filepath.Join(r.dir, "config.yaml"), r.here(r.files["config.yaml"]))
	for _, c := range r.commands {
		r.command(t, c)
	}
}

// clients returns the ids of the clients named groupsync.
func (r *reader) clients(t *testing.T) (ids []string) {
	t.Helper()
	var clients []struct{ ID string }
	r.realm.Do(t, "GET", "/clients?clientId=groupsync", nil, &clients)
	for _, c := range clients {
		ids = append(ids, c.ID)
	}
	return ids
}
