// Package compose holds the tests of the compose example.
package compose

import (
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"groupsync/internal/config"
	"groupsync/internal/processtest"
	"groupsync/internal/source/keycloaktest"
)

func TestMain(m *testing.M) { os.Exit(keycloaktest.Main(m)) }

// project holds the parts of docker-compose.yaml that the tests check, in the form that
// compose understands: with complete paths, and with short forms written out.
type project struct {
	Services map[string]service
	Secrets  map[string]struct{ File string }
	Volumes  map[string]any
}

type service struct {
	Image       string
	Build       *struct{ Context, Dockerfile string }
	Command     []string
	Environment map[string]*string
	Ports       []struct {
		HostIP    string `json:"host_ip"`
		Published string
		Target    int
	}
	Volumes []struct {
		Type, Source, Target string
		ReadOnly             bool `json:"read_only"`
	}
	Secrets     []struct{ Source, Target string }
	HealthCheck struct{ Test []string }
	ReadOnly    bool                                  `json:"read_only"`
	CapDrop     []string                              `json:"cap_drop"`
	SecurityOpt []string                              `json:"security_opt"`
	DependsOn   map[string]struct{ Condition string } `json:"depends_on"`
}

// load returns the project. compose-go reads and checks the file, as in docker compose
// config.
func load(t *testing.T) (p project) {
	t.Helper()
	out := processtest.Output(t, exec.Command(processtest.Tool(t, "COMPOSE_SPEC"), "-format", "json", "docker-compose.yaml"))
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestDockerComposeAgrees checks the file with docker compose, if docker has the plugin.
func TestDockerComposeAgrees(t *testing.T) {
	if exec.Command("docker", "compose", "version").Run() != nil {
		t.Skip("this machine's docker has no compose; compose-go, which it is made of, is asked by the other tests")
	}
	processtest.Output(t, exec.Command("docker", "compose", "config", "--quiet"))
}

func TestServices(t *testing.T) {
	p := load(t)
	pinned := regexp.MustCompile(`:v?\d+\.\d+\.\d+$`)
	for name, s := range p.Services {
		switch {
		case s.Build == nil && !pinned.MatchString(s.Image):
			t.Errorf("%s: the image %s is not pinned to a version", name, s.Image)
		case s.Build != nil:
			exists(t, name, filepath.Join(s.Build.Context, s.Build.Dockerfile))
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is published on %q, want 127.0.0.1", name, port.Published, port.HostIP)
			}
		}
		for _, v := range s.Volumes {
			if v.Type == "volume" {
				continue // compose-go refuses a volume that is not declared
			}
			exists(t, name, v.Source)
			if !v.ReadOnly {
				t.Errorf("%s: %s is mounted to be written", name, v.Source)
			}
		}
		for _, secret := range s.Secrets {
			readable(t, name, p.Secrets[secret.Source].File)
		}
		if len(s.HealthCheck.Test) == 0 {
			t.Errorf("%s has no health check", name)
		}
		// Keycloak's start-dev writes its build into its own files.
		if s.ReadOnly == (name == "keycloak") {
			t.Errorf("%s: read_only is %t", name, s.ReadOnly)
		}
		if !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
			t.Errorf("%s keeps privileges: cap_drop %v, security_opt %v", name, s.CapDrop, s.SecurityOpt)
		}
	}
}

func exists(t *testing.T, service, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("%s needs a file that is not there: %v", service, err)
	}
}

// readable fails the test unless the user in a container can read the secret's file.
func readable(t *testing.T, service, path string) {
	t.Helper()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o004 == 0 {
		t.Errorf("%s: the user in the container cannot read %s: %v", service, path, err)
	}
}

// TestVersions checks that the images have the versions with which the other tests run.
func TestVersions(t *testing.T) {
	p := load(t)
	tools, err := os.ReadFile("../../tools/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	module := regexp.MustCompile(`github.com/prometheus/prometheus v0\.(\d)(\d\d)\.(\d+)`).FindStringSubmatch(string(tools))
	minor := strings.TrimPrefix(module[2], "0")
	for name, want := range map[string]string{
		"keycloak":   "quay.io/keycloak/keycloak:" + keycloaktest.Version,
		"prometheus": "prom/prometheus:v" + module[1] + "." + minor + "." + module[3],
	} {
		if got := p.Services[name].Image; got != want {
			t.Errorf("%s runs %s, the tests run %s", name, got, want)
		}
	}
}

// outside returns the path on this machine of the file that a service sees at the given
// path.
func (p project) outside(t *testing.T, name, path string) string {
	t.Helper()
	s := p.Services[name]
	for _, secret := range s.Secrets {
		if secret.Target == path {
			return p.Secrets[secret.Source].File
		}
	}
	for _, v := range s.Volumes {
		if below, is := strings.CutPrefix(path, v.Target); v.Type == "bind" && is && (below == "" || below[0] == '/') {
			return v.Source + below
		}
	}
	t.Fatalf("%s sees nothing at %s", name, path)
	return ""
}

// configuration returns the path of groupsync's configuration, with the paths of the secrets
// on this machine and with an empty state_dir.
func (p project) configuration(t *testing.T) (path string) {
	t.Helper()
	text := read(t, p.outside(t, "groupsync", "/etc/groupsync/config/config.yaml"))
	text = regexp.MustCompile(`/run/secrets/\w+`).ReplaceAllStringFunc(text, func(path string) string { return p.outside(t, "groupsync", path) })
	text = strings.Replace(text, "state_dir: /var/lib/groupsync", "state_dir: "+t.TempDir(), 1)
	return write(t, "config.yaml", text)
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t *testing.T, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestGroupsyncsConfigurationLoads also checks that the addresses lead to services that
// listen there.
func TestGroupsyncsConfigurationLoads(t *testing.T) {
	p := load(t)
	c, err := config.Load(config.Options{File: p.configuration(t)})
	if err != nil {
		t.Fatal(err)
	}
	if c.Mode != config.Observe || c.Web.Listen != ":8080" {
		t.Errorf("mode %s on %s", c.Mode, c.Web.Listen)
	}
	for _, address := range []string{c.Keycloak.URL, c.ClearML.URL} {
		p.leads(t, address)
	}
}

// leads fails the test unless the address names a service and one of its ports.
func (p project) leads(t *testing.T, address string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	for _, port := range p.Services[u.Hostname()].Ports {
		if u.Port() == strconv.Itoa(port.Target) {
			return
		}
	}
	t.Errorf("%s leads to no port of a service", address)
}

// TestPrometheusConfiguration checks the configuration together with the rules, with
// promtool.
func TestPrometheusConfiguration(t *testing.T) {
	p, promtool := load(t), processtest.Tool(t, "PROMTOOL")
	text := read(t, p.outside(t, "prometheus", "/etc/prometheus/prometheus.yml"))
	const rules = "/etc/prometheus/rules/groupsync.yaml"
	text = strings.Replace(text, rules, p.outside(t, "prometheus", rules), 1)
	out := processtest.Output(t, exec.Command(promtool, "check", "config", write(t, "prometheus.yaml", text)))
	if !strings.Contains(out, "rules found") {
		t.Errorf("promtool finds no rules:\n%s", out)
	}
	var c struct {
		ScrapeConfigs []struct {
			JobName       string                       `yaml:"job_name"`
			StaticConfigs []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	if job := c.ScrapeConfigs[0]; job.JobName != "groupsync" {
		t.Errorf("the job is %q, and docs/runbook.md looks for groupsync", job.JobName)
	}
	p.leads(t, "http://"+c.ScrapeConfigs[0].StaticConfigs[0].Targets[0])
}

// TestGrafanaFindsTheDashboard: the dashboard is mounted where the provider searches for it,
// and its data source is Prometheus.
func TestGrafanaFindsTheDashboard(t *testing.T) {
	p := load(t)
	const provisioning = "/etc/grafana/provisioning/"
	var providers struct {
		Providers []struct{ Options struct{ Path string } }
	}
	if err := yaml.Unmarshal([]byte(read(t, p.outside(t, "grafana", provisioning+"dashboards/groupsync.yaml"))), &providers); err != nil {
		t.Fatal(err)
	}
	board := read(t, p.outside(t, "grafana", providers.Providers[0].Options.Path+"/groupsync.json"))
	if !strings.Contains(board, "groupsync_last_success_timestamp_seconds") {
		t.Error("what is mounted there is not the dashboard")
	}
	var sources struct {
		Datasources []struct{ Type, URL string }
	}
	if err := yaml.Unmarshal([]byte(read(t, p.outside(t, "grafana", provisioning+"datasources/prometheus.yaml"))), &sources); err != nil {
		t.Fatal(err)
	}
	if len(sources.Datasources) != 1 || sources.Datasources[0].Type != "prometheus" {
		t.Fatalf("the data sources are %v", sources.Datasources)
	}
	p.leads(t, sources.Datasources[0].URL)
}
