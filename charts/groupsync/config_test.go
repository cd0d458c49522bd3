package groupsync_test

import (
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"groupsync/internal/config"
)

// TestTheConfigurationLoads: the chart writes a valid configuration, with mode observe unless
// the values set another mode. Every file that the configuration or the arguments name is
// mounted.
func TestTheConfigurationLoads(t *testing.T) {
	for _, shape := range shapes(t) {
		t.Run(strings.TrimSuffix(filepath.Base(shape), ".yaml"), func(t *testing.T) {
			all := manifests(t, rendered(t, "-f", shape))
			root := t.TempDir()
			c, files := loaded(t, root, all)
			want := config.Observe
			if strings.Contains(shape, "apply") {
				want = config.Apply
			}
			if c.Mode != want || c.Web.Listen != ":8080" {
				t.Errorf("mode %s on %s, want %s on :8080", c.Mode, c.Web.Listen, want)
			}
			for _, file := range []string{c.Keycloak.CAFile, c.ClearML.CAFile, c.Web.ConfigFile} {
				if file != "" && !slices.Contains(files, strings.TrimPrefix(file, root)) {
					t.Errorf("%s is not mounted; there are %q", file, files)
				}
			}
		})
	}
}

// loaded returns the configuration that the daemon's arguments name, and the mounted files. It
// writes the files below root to load them.
func loaded(t *testing.T, root string, all map[string]manifest) (config.Config, []string) {
	t.Helper()
	files := mounted(t, all["Deployment"])
	elsewhere := strings.NewReplacer(" /etc/groupsync/", " "+root+"/etc/groupsync/", " /vault/", " "+root+"/vault/")
	for _, file := range files {
		content := "x\n"
		switch path.Base(file) {
		case "config.yaml":
			content = elsewhere.Replace(all["ConfigMap"].Data["config.yaml"])
		case "clearml.env":
			content = "CLEARML__services__login__sso__oauth_client__keycloak__base_url=https://auth.example.com/realms/clearml\n"
		}
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	options := config.Options{}
	for _, arg := range at(t, all["Deployment"].Spec, "template", "spec", "containers", 0, "args").([]any) {
		if file, is := strings.CutPrefix(arg.(string), "--config="); is {
			options.File = filepath.Join(root, file)
		}
		if file, is := strings.CutPrefix(arg.(string), "--clearml-env="); is {
			options.ClearMLEnv = filepath.Join(root, file)
		}
	}
	c, err := config.Load(options)
	if err != nil {
		t.Fatalf("%v\n%s", err, all["ConfigMap"].Data["config.yaml"])
	}
	return c, files
}

// mounted returns the files that the volumes put into the container.
func mounted(t *testing.T, m manifest) (files []string) {
	t.Helper()
	pod := at(t, m.Spec, "template", "spec")
	at := func(v any, keys ...any) any { return at(t, v, keys...) }
	dirs := make(map[string]string)
	for _, v := range at(pod, "containers", 0, "volumeMounts").([]any) {
		dirs[at(v, "name").(string)] = at(v, "mountPath").(string)
	}
	for _, v := range at(pod, "volumes").([]any) {
		name := at(v, "name").(string)
		dir, is := dirs[name]
		if !is {
			t.Errorf("the volume %s is not mounted", name)
		}
		delete(dirs, name)
		switch name {
		case "config":
			files = append(files, dir+"/config.yaml")
		case "vault": // the volume of the operator
			files = append(files, dir+"/client_secret", dir+"/access_key", dir+"/secret_key")
		}
		for _, source := range []string{"configMap", "secret"} {
			if s, is := at(v, source).(object); is {
				items, _ := s["items"].([]any)
				for _, item := range items {
					files = append(files, dir+"/"+at(item, "path").(string))
				}
			}
		}
	}
	for name := range dirs {
		t.Errorf("%s is mounted, and there is no such volume", name)
	}
	return files
}

// TestReload checks which changes of the configuration replace the pods.
func TestReload(t *testing.T) {
	for _, tt := range []struct {
		name, before, after string
		replaced            bool
	}{
		{"by checksum, any change", "reload=checksum", "reload=checksum,config.schedule=@hourly", true},
		{"by watching, several that are taken over", "reload=watch", "reload=watch,config.schedule=@hourly,config.mode=apply", false},
		{"by watching, TLS, which is taken up at the start", "reload=watch,webConfig.config.basic_auth_users.ops=x", "reload=watch,webConfig.config.basic_auth_users.ops=x,webConfig.config.tls_server_config.cert_file=a", true},
		{"by watching, a password, which is read again", "reload=watch,webConfig.config.basic_auth_users.ops=x", "reload=watch,webConfig.config.basic_auth_users.ops=y", false},
		{"by watching, the volume", "reload=watch,leaderElection.enabled=false", "reload=watch,leaderElection.enabled=false,state.enabled=true", true},
	} {
		if got := checksum(t, manifests(t, rendered(t, "--set", tt.before))) != checksum(t, manifests(t, rendered(t, "--set", tt.after))); got != tt.replaced {
			t.Errorf("%s: the pods are replaced: %t", tt.name, got)
		}
	}
}

// checksum returns the annotations that replace the pods when they change.
func checksum(t *testing.T, all map[string]manifest) any {
	t.Helper()
	annotations := at(t, all["Deployment"].Spec, "template", "metadata", "annotations").(object)
	return [2]any{annotations["checksum/config"], annotations["checksum/web"]}
}

// TestWhatIsWatchedIsTakenOver: with reload=watch, a change replaces the pods exactly if a
// running process would refuse it.
func TestWhatIsWatchedIsTakenOver(t *testing.T) {
	changes := map[string]string{
		"name":             "config.name=other",
		"mode":             "config.mode=apply",
		"schedule":         "config.schedule=@hourly",
		"jitter":           "config.jitter=1s",
		"shutdown_timeout": "config.shutdown_timeout=25s",
		"state":            "config.state.keep=7",
		"state_dir":        "leaderElection.enabled=false,state.enabled=true",
		"log":              "config.log.level=debug",
		"keycloak":         "config.keycloak.concurrency=2",
		"clearml":          "config.clearml.provider=other",
		"groups":           "config.groups.full_path=true",
		"admins":           "config.admins.floor=2",
		"users":            "config.users.gone=keep",
		"guards":           "config.guards.max_removals=7",
		"leavers":          "config.leavers.interval=1h",
		"lease":            "leaderElection.enabled=false",
		"web":              "webConfig.existingSecret=web",
	}
	root := t.TempDir()
	at := func(set string) (config.Config, any) {
		all := manifests(t, rendered(t, "--set", "reload=watch", "--set", set))
		c, _ := loaded(t, root, all)
		return c, checksum(t, all)
	}
	before, was := at("reload=watch")
	for key := range config.Schema()["properties"].(map[string]any) {
		change, is := changes[key]
		if !is {
			t.Errorf("no change of %s is tried", key)
			continue
		}
		after, sum := at(change)
		if reflect.DeepEqual(before, after) {
			t.Errorf("%s: %s changes nothing", key, change)
		}
		if refused, replaced := before.Unchangeable(after), was != sum; (len(refused) > 0) != replaced {
			t.Errorf("%s: a process refuses a change of %q; the pods are replaced: %t", change, refused, replaced)
		}
	}
}

// TestADayInTheValuesIsTheDayInTheConfiguration: YAML reads a day without quotes as a time.
func TestADayInTheValuesIsTheDayInTheConfiguration(t *testing.T) {
	values := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(values, []byte("config: {users: {protect: [root@*, {match: b@*, groups: [nlp], until: 2026-12-31}]}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := manifests(t, rendered(t, "-f", shapes(t)[0], "-f", values))["ConfigMap"].Data["config.yaml"]
	want := "  protect:\n  - root@*\n  - groups:\n    - nlp\n    match: b@*\n    until: \"2026-12-31\"\n"
	if !strings.Contains(got, want) {
		t.Errorf("%q is not there:\n%s", want, got)
	}
}

// TestTheConfigurationIsTheValues: numbers stay numbers, and an empty section is left out.
func TestTheConfigurationIsTheValues(t *testing.T) {
	text := rendered(t, "--set-json", `config.guards={"max_removals":1000000,"max_removal_ratio":0.25,"federation_grace":0}`, "--set", "config.log=null")
	got := manifests(t, text)["ConfigMap"].Data["config.yaml"]
	for _, want := range []string{"  max_removals: 1000000\n", "  max_removal_ratio: 0.25\n", "  federation_grace: 0\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not there:\n%s", want, got)
		}
	}
}
