package docs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"groupsync/internal/processtest"
)

// script runs a block of sh unchanged, except for the address of Keycloak.
func (r *reader) script(t *testing.T, i int) {
	t.Helper()
	cmd := exec.Command("bash", "-e", "-u", "-c", r.here(r.scripts[i]))
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "HOME="+r.dir, "KC_CLI_PASSWORD=admin",
		"KC_OPTS=-XX:TieredStopAtLevel=1 -XX:+UseSerialGC", // kcadm.sh then ends in half the time
		"PATH="+filepath.Dir(r.realm.Server.Program("kcadm.sh"))+string(os.PathListSeparator)+os.Getenv("PATH"))
	processtest.Output(t, cmd)
}

// here replaces the addresses and directories of the page by those of this machine.
func (r *reader) here(text string) string {
	return strings.NewReplacer(
		"https://auth.example.com", r.realm.Server.URL,
		"http://apiserver:8008", r.clearml, "https://api.clearml.example.com", r.clearml,
		"/run/secrets", filepath.Join(r.dir, "secrets"), "/etc/groupsync/secret", filepath.Join(r.dir, "secrets"),
		"/etc/groupsync/config/config.yaml", filepath.Join(r.dir, "mounted", "config.yaml"),
		"/etc/groupsync/clearml/override.yaml", filepath.Join(r.dir, "mounted", "override.yaml"),
		"/etc/groupsync/clearml-env/clearml.env", filepath.Join(r.dir, "mounted", "clearml.env"),
		"/var/lib/groupsync", filepath.Join(r.dir, "state"),
	).Replace(text)
}

// mount writes a file of the page to the place where the container would see it.
func (r *reader) mount(t *testing.T, name, text string) {
	t.Helper()
	write(t, filepath.Join(r.dir, "mounted", name), r.here(text))
}

// begin starts a ClearML that no pass has changed yet. Each of the two halves of the page
// begins with one.
func (r *reader) begin(t *testing.T) {
	t.Helper()
	port, err := processtest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	server, err := processtest.Start(filepath.Join(t.TempDir(), "log"), nil, r.program, "demo", "--serve", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.End(10 * time.Second); err != nil {
			t.Error(err)
		}
	})
	healthy := func() bool { return exec.Command(r.program, "health", "http://"+address+"/").Run() == nil }
	if err := server.Await(20*time.Second, healthy); err != nil {
		t.Fatal(err)
	}
	r.clearml = "http://" + address + "/api"
	if err := os.RemoveAll(filepath.Join(r.dir, "state")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(r.dir, "state"), 0o755); err != nil {
		t.Fatal(err)
	}
}

// kinds are the commands that the page may show, by their first words.
var kinds = []struct {
	prefix string
	follow func(r *reader, t *testing.T, rest string)
}{
	{"docker compose run --rm groupsync ", (*reader).inside},
	{"kubectl --namespace clearml exec deploy/groupsync -- /groupsync ", (*reader).inside},
	{"kubectl --namespace clearml create secret generic groupsync ", (*reader).secret},
	{"kubectl --namespace clearml create secret generic clearml-variables ", (*reader).variables},
	{"groupsync ", (*reader).atHand},
	{"helm upgrade --install groupsync charts/groupsync --namespace clearml ", (*reader).release},
	{"helm upgrade groupsync charts/groupsync --namespace clearml ", (*reader).upgrade},
	// Commands that need docker or the cluster are not run.
	{"docker compose up --detach groupsync", nil},
	{"docker compose restart groupsync", nil},
	{"docker compose rm --stop --force groupsync", nil},
	{"helm uninstall groupsync --namespace clearml", nil},
	{"kubectl --namespace clearml delete secret clearml-variables", nil},
	{"kubectl --namespace clearml delete secret groupsync clearml-variables", nil},
	{"kubectl --namespace clearml delete pod groupsync-check groupsync-test", nil},
	{"helm test groupsync --namespace clearml --logs", nil},
}

func (r *reader) command(t *testing.T, line string) {
	t.Helper()
	for _, k := range kinds {
		rest, is := strings.CutPrefix(line, k.prefix)
		switch {
		case is && k.follow != nil:
			k.follow(r, t, rest)
			return
		case is && rest == "":
			return
		}
	}
	t.Errorf("no test runs what %s shows: %s", r.name, line)
}

// inside runs groupsync as the container would. A dry run finds drift, and a pass with --apply
// leaves none.
func (r *reader) inside(t *testing.T, args string) {
	t.Helper()
	code, want := 0, ""
	switch {
	case strings.HasPrefix(args, "config ") && r.files["clearml-values.yaml"] != "":
		want = "realm: clearml # ClearML's CLEARML__services__login__sso__oauth_client__keycloak__base_url"
	case strings.Contains(args, "--approve"):
		want = "refused: there is nothing to approve" // the page's drift has been applied by then
	case strings.Contains(args, "--apply"):
		want = "drift left: 0 to add, 0 to remove"
	default:
		code, want = 2, "- Ken Thompson <ken@example.com>  planned"
	}
	r.run(t, args, code, want)
}

// atHand runs groupsync on the reader's own machine. A dry run finds drift until the page has
// applied it.
func (r *reader) atHand(t *testing.T, args string) {
	t.Helper()
	switch {
	case strings.HasPrefix(args, "config "):
		r.run(t, args, 0, "realm: clearml # ")
	case strings.HasPrefix(args, "check "):
		r.run(t, args, 0, ", 0 errors")
	case strings.HasPrefix(args, "explain "):
		r.run(t, args, 0, "platform")
	case strings.Contains(args, "--apply"):
		r.inside(t, args)
		r.applied = true
	case r.applied:
		r.run(t, args, 0, "0 to add, 0 to remove")
	default:
		r.inside(t, args)
	}
}

// run runs groupsync with the arguments of the page.
func (r *reader) run(t *testing.T, args string, code int, want string) {
	t.Helper()
	cmd := exec.Command(r.program, strings.Fields(r.here(args))...)
	cmd.Dir = r.dir
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code || !bytes.Contains(out, []byte(want)) {
		t.Errorf("groupsync %s: exit %d, want %d and %q in\n%s", args, got, code, want, out)
	}
}

// secret checks that the Secret has the keys that the chart mounts.
func (r *reader) secret(t *testing.T, args string) {
	t.Helper()
	var keys []string
	for _, m := range regexp.MustCompile(`--from-file=(\S+)`).FindAllStringSubmatch(args, -1) {
		if _, err := os.Stat(filepath.Join(r.dir, m[1])); err != nil {
			t.Error(err)
		}
		keys = append(keys, filepath.Base(m[1]))
	}
	if want := []string{"client_secret", "access_key", "secret_key"}; !slices.Equal(keys, want) {
		t.Errorf("the Secret has the keys %v, want %v", keys, want)
	}
	r.begin(t) // the second half of the page begins
}

// variables mounts the file of the second Secret, under the key that the chart expects.
func (r *reader) variables(t *testing.T, args string) {
	t.Helper()
	if want := "--from-file=clearml.env=clearml-values.yaml"; args != want {
		t.Errorf("the Secret is made with %s, want %s", args, want)
	}
	r.mount(t, "clearml.env", r.files["clearml-values.yaml"])
}

// release renders what helm would install, and mounts its configuration. If the values let it
// write, release runs groupsync as the daemon would.
func (r *reader) release(t *testing.T, args string) {
	t.Helper()
	write(t, filepath.Join(r.dir, "groupsync-values.yaml"), r.files["groupsync-values.yaml"])
	chart, err := filepath.Abs("../charts/groupsync")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(processtest.Tool(t, "HELM"), append([]string{"template", "groupsync", chart}, strings.Fields(args)...)...)
	cmd.Dir = r.dir
	rendered := processtest.Output(t, cmd)
	const file = "/etc/groupsync/clearml-env/clearml.env"
	wants := []string{
		"image: registry.example.com/groupsync:", `secretName: "groupsync"`,
		"--config=/etc/groupsync/config/config.yaml", "helm.sh/hook: test",
	}
	pass := "--once --apply --config /etc/groupsync/config/config.yaml"
	if r.files["clearml-values.yaml"] != "" {
		wants = append(wants, `secretName: "clearml-variables"`, "--clearml-env="+file)
		pass += " --clearml-env " + file
	}
	for _, want := range wants {
		if !strings.Contains(rendered, want) {
			t.Errorf("what helm %s renders has no %s", args, want)
		}
	}
	c := configOf(t, rendered)
	delete(c, "lease") // there is no API server
	c["state_dir"] = "/var/lib/groupsync"
	text, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	r.mount(t, "config.yaml", string(text))
	mode := "mode: " + fmt.Sprint(c["mode"])
	if !strings.Contains(r.files["groupsync-values.yaml"], mode) {
		t.Errorf("helm %s gives %s, which the values do not have", args, mode)
	}
	if mode == "mode: apply" {
		r.inside(t, pass)
	}
}

// upgrade is release after the reader has changed the values to mode: apply.
func (r *reader) upgrade(t *testing.T, args string) {
	t.Helper()
	const name = "groupsync-values.yaml"
	before := r.files[name]
	if r.files[name] = strings.Replace(before, "mode: observe", "mode: apply", 1); r.files[name] == before {
		t.Errorf("%s does not observe at first", name)
	}
	r.release(t, args)
}

// configOf returns the configuration in the rendered ConfigMap.
func configOf(t *testing.T, rendered string) (config map[string]any) {
	t.Helper()
	d := yaml.NewDecoder(strings.NewReader(rendered))
	for {
		var o struct{ Data map[string]string }
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			t.Fatalf("no ConfigMap has a config.yaml:\n%s", rendered)
		} else if err != nil {
			t.Fatal(err)
		}
		if o.Data["config.yaml"] == "" {
			continue
		}
		if err := yaml.Unmarshal([]byte(o.Data["config.yaml"]), &config); err != nil {
			t.Fatal(err)
		}
		return config
	}
}
