package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target/clearmltest"
)

// post sends a POST request to the daemon and returns the answer.
func post(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return answered(t, req)
}

// rewrite replaces a text in the configuration file.
func rewrite(t *testing.T, config, before, after string) {
	t.Helper()
	data, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), before) {
		t.Fatalf("the configuration has no %q\n%s", before, data)
	}
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(string(data), before, after)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestReload: on SIGHUP and on request a valid configuration comes into force. An invalid one
// changes only the log and a metric.
func TestReload(t *testing.T) {
	p := newServicePlace(t)
	config := p.configured(t, p.url, "observe")
	s := serve(t, config, "--web.enable_lifecycle")
	address := s.until(t, "groupsync starts")["listen"].(string)
	s.until(t, "pass ended")
	hangUp := func() {
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	metric := func(want string) {
		t.Helper()
		_, metrics := fetch(t, address+"/metrics")
		mustContain(t, "/metrics", metrics, "\n"+want+"\n")
	}
	const refusal = "the new configuration was refused. The previous configuration stays in force"

	rewrite(t, config, "mode: observe", "mode: on")
	hangUp()
	if got := s.until(t, refusal)["error"]; got != `mode: "on" is unknown: write observe or apply` {
		t.Errorf("a bad file: %v", got)
	}
	metric(`groupsync_config_last_reload_successful{sync="default"} 0`)
	if code, body := post(t, address+"/-/reload"); code != 500 || body != "mode: \"on\" is unknown: write observe or apply\n" {
		t.Errorf("asked to load it: %d %q", code, body)
	}
	s.until(t, refusal)

	rewrite(t, config, "mode: on", "mode: observe\nname: other")
	hangUp()
	if got := s.until(t, refusal)["error"]; got != "name changed, and a running process cannot apply this change: restart groupsync" {
		t.Errorf("what cannot be taken over: %v", got)
	}
	if code, body := post(t, address+"/-/sync"); code != 200 || !strings.Contains(body, ": drift; 0 added, 0 removed, 0 failed; left to add 1, to remove 1; digest ") {
		t.Errorf("the configuration before is not in force: %d %q", code, body)
	}

	rewrite(t, config, "mode: observe\nname: other", "mode: apply")
	hangUp()
	s.until(t, "the configuration was reloaded")
	ended := s.until(t, "pass ended")
	if ended["mode"] != "apply" || ended["result"] != "applied" {
		t.Errorf("after the reload: %v", ended)
	}
	metric(`groupsync_config_last_reload_successful{sync="default"} 1`)
	metric(`groupsync_apply_enabled{sync="default"} 1`)
	if code, body := post(t, address+"/-/reload"); code != 200 || body != "the configuration was reloaded\n" {
		t.Errorf("asked to load it: %d %q", code, body)
	}
	if code := s.terminate(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.log.String())
	}
	if diff := cmp.Diff([]string{"cm-ann", "cm-bob"}, p.clearml.Members("team")); diff != "" {
		t.Errorf("the team: -want +got\n%s", diff)
	}
}

// volume is a directory as Kubernetes mounts a ConfigMap or a Secret. Its files are links
// through ..data, which is replaced as a whole.
type volume struct {
	dir string
	n   int
}

func (v *volume) update(t *testing.T, files map[string]string) {
	t.Helper()
	v.n++
	version := fmt.Sprintf("..version-%d", v.n)
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(filepath.Join(v.dir, version), 0o700))
	for name, text := range files {
		must(os.WriteFile(filepath.Join(v.dir, version, name), []byte(text), 0o600))
	}
	must(os.Symlink(version, filepath.Join(v.dir, "..next")))
	must(os.Rename(filepath.Join(v.dir, "..next"), filepath.Join(v.dir, "..data")))
	if v.n > 1 {
		must(os.RemoveAll(filepath.Join(v.dir, fmt.Sprintf("..version-%d", v.n-1))))
		return
	}
	for name := range files {
		must(os.Symlink(filepath.Join("..data", name), filepath.Join(v.dir, name)))
	}
}

// TestVolumesAreFollowed: when Kubernetes replaces a mounted ConfigMap, it comes into force
// without a signal or a restart. The next pass that signs in uses a rotated Secret.
func TestVolumesAreFollowed(t *testing.T) {
	p := newPlace(t, nil, clearmltest.Options{AccessKey: "access", SecretKey: "second"})
	secrets, configs := &volume{dir: t.TempDir()}, &volume{dir: t.TempDir()}
	text := func(mode string) map[string]string {
		return map[string]string{"config.yaml": fmt.Sprintf(`mode: %s
schedule: "@every 1h"
keycloak: {url: %q, realm: %q, client_secret_file: %q, timeout: 15s}
clearml: {url: %q, access_key_file: %q, secret_key_file: %q, timeout: 15s}
guards: {max_removal_ratio: 0}
web: {listen: "127.0.0.1:0", enable_lifecycle: true}
`, mode, p.realm.Server.URL, p.realm.Name, secrets.dir+"/client_secret", p.url, secrets.dir+"/access_key", secrets.dir+"/secret_key")}
	}
	keys := func(clearml, keycloak string) map[string]string {
		return map[string]string{"access_key": "access\n", "secret_key": clearml + "\n", "client_secret": keycloak + "\n"}
	}
	secrets.update(t, keys("first", "first"))
	configs.update(t, text("observe"))
	s := serveIn(t, nil, filepath.Join(configs.dir, "config.yaml"))
	address := s.until(t, "groupsync starts")["listen"].(string)
	s.until(t, "pass ended")
	for _, step := range []struct{ name, clearml, keycloak, want string }{
		{"neither is right", "first", "first", "error: ClearML auth.login: wrong credentials (401/22, "},
		{"ClearML's was rotated", "second", "first", "error: signing in to Keycloak: the realm "},
		{"Keycloak's too", "second", keycloaktest.Secret, ": drift; "},
	} {
		secrets.update(t, keys(step.clearml, step.keycloak))
		if _, body := post(t, address+"/-/sync"); !strings.Contains(body, step.want) {
			t.Errorf("%s: got %q, want %q", step.name, body, step.want)
		}
	}
	configs.update(t, text("apply"))
	s.until(t, "a file of the configuration changed: the configuration is loaded again")
	s.until(t, "the configuration was reloaded")
	if ended := s.until(t, "pass ended"); ended["result"] != "applied" {
		t.Errorf("after the change: %v", ended)
	}
	if code := s.terminate(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.log.String())
	}
	if strings.Contains(s.log.String(), keycloaktest.Secret) {
		t.Errorf("the log holds a secret\n%s", s.log.String())
	}
}

// TestASecretThatComesLate: a configuration that names a missing file is refused, and logged
// once. It comes into force when the file exists.
func TestASecretThatComesLate(t *testing.T) {
	t.Parallel() // most of it is waiting
	p := newServicePlace(t)
	config := p.configured(t, p.url, "observe")
	s := serve(t, config)
	s.until(t, "pass ended")
	late := filepath.Join(t.TempDir(), "client_secret")
	rewrite(t, config, fmt.Sprintf("client_secret: %q", keycloaktest.Secret), fmt.Sprintf("client_secret_file: %q", late))
	refusal := s.until(t, "the new configuration was refused. The previous configuration stays in force")
	if want := "keycloak.client_secret_file: there is no file " + late; !strings.HasPrefix(fmt.Sprint(refusal["error"]), want) {
		t.Errorf("refused for %v, want %s", refusal["error"], want)
	}
	if err := os.WriteFile(late, []byte(keycloaktest.Secret), 0o600); err != nil {
		t.Fatal(err)
	}
	s.until(t, "the configuration was reloaded")
	if ended := s.until(t, "pass ended"); ended["result"] != "drift" {
		t.Errorf("after the reload: %v", ended)
	}
	if code := s.terminate(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.log.String())
	}
}

// TestApproval: changes that a guard withholds are applied if a person approves exactly these
// changes, and not if the approval names other changes.
func TestApproval(t *testing.T) {
	p := newServicePlace(t)
	config := configure(t, p.realm.Server.URL, p.realm.Name, p.url, "mode: apply\nguards: {free_removals: 0}")
	s := serve(t, config, "--web.enable_lifecycle")
	address := s.until(t, "groupsync starts")["listen"].(string)
	digest, _ := s.until(t, "pass ended")["digest"].(string)
	members := func(want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, p.clearml.Members("team")); diff != "" {
			t.Errorf("the team: -want +got\n%s", diff)
		}
	}
	members("cm-ann", "cm-bob", "cm-cid")
	code, body := post(t, address+"/-/approve?digest=0123456789abcdef")
	if code != 409 || !strings.HasPrefix(body, "approval of 0123456789abcdef by anonymous via HTTP at ") || !strings.Contains(body, ": refused: ") || strings.Contains(body, "\nerror: ") {
		t.Errorf("an approval of something else: %d %q", code, body)
	}
	members("cm-ann", "cm-bob", "cm-cid")
	code, body = post(t, address+"/-/approve?digest="+digest)
	if code != 200 || !strings.Contains(body, ": granted: lifted removals for 1 change\n") || !strings.Contains(body, ": applied; 0 added, 1 removed, 0 failed; left to add 0, to remove 0; digest "+digest+"\n") {
		t.Errorf("an approval of exactly that: %d %q", code, body)
	}
	members("cm-ann", "cm-bob")
	if code, body = post(t, address+"/-/approve?digest="+digest); code != 409 || !strings.Contains(body, ": refused: ") {
		t.Errorf("an approval of it again: %d %q", code, body)
	}
	_, metrics := fetch(t, address+"/metrics")
	mustContain(t, "/metrics", metrics, `groupsync_approvals_total{result="granted",sync="default"} 1`)
	mustContain(t, "/metrics", metrics, `groupsync_approvals_total{result="refused",sync="default"} 2`)
	if regexp.MustCompile(`(?m)^groupsync_errors_total.* [1-9]`).MatchString(metrics) || strings.Contains(metrics, "anonymous") {
		t.Errorf("an approval is counted as an error, or names somebody\n%s", metrics)
	}
	if code := s.terminate(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.log.String())
	}
	var said []string
	for _, e := range append(s.with("changes were approved"), s.with("an approval was refused, so it lifted no guard")...) {
		said = append(said, fmt.Sprint(e["digest"], " ", e["by"], " ", e["lifted"], " ", e["changes"]))
	}
	want := []string{digest + " anonymous via HTTP removals 1", "0123456789abcdef anonymous via HTTP <nil> <nil>", digest + " anonymous via HTTP <nil> <nil>"}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("the log's lines of approvals: -want +got\n%s", diff)
	}
}
