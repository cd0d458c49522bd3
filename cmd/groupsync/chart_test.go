package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"groupsync/internal/config"
)

const chart = "../../charts/groupsync"

// helm runs the client that the Makefile has built.
func helm(t *testing.T, args ...string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("needs helm")
	}
	program := os.Getenv("HELM")
	if program == "" {
		t.Fatal("HELM names no helm client: run make test, which builds one")
	}
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("helm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestTheChartPassesLint(t *testing.T) { helm(t, "lint", "--strict", chart) }

// TestTheChartsConfigurationLoads: what the chart writes into the ConfigMap is
// a configuration, with the secrets where the Deployment mounts them.
func TestTheChartsConfigurationLoads(t *testing.T) {
	secrets := t.TempDir()
	for _, name := range []string{"client_secret", "access_key", "secret_key"} {
		if err := os.WriteFile(filepath.Join(secrets, name), []byte("x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name   string
		values []string
		mode   string
	}{
		{"by default it only watches", nil, config.Observe},
		{"it writes where the values say so", []string{"--set", "config.mode=apply"}, config.Apply},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rendered := helm(t, append([]string{"template", "release", chart}, tt.values...)...)
			text := configOf(t, rendered)
			text = strings.ReplaceAll(text, "/etc/groupsync/secret", secrets)
			path := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := config.Load(config.Options{File: path})
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if c.Mode != tt.mode || c.Web.Listen != ":8080" {
				t.Errorf("mode %s on %s, want %s on :8080", c.Mode, c.Web.Listen, tt.mode)
			}
			mustContain(t, "the deployment", rendered, "mountPath: /etc/groupsync/secret, readOnly: true")
		})
	}
}

// configOf returns the configuration in the rendered ConfigMap.
func configOf(t *testing.T, rendered string) string {
	t.Helper()
	d := yaml.NewDecoder(strings.NewReader(rendered))
	for {
		var o struct {
			Kind string
			Data map[string]string
		}
		if err := d.Decode(&o); err != nil {
			t.Fatal(fmt.Errorf("no ConfigMap: %w", err))
		}
		if o.Kind == "ConfigMap" {
			return o.Data["config.yaml"]
		}
	}
}

// object is what the tests look at of a rendered Kubernetes object.
type object struct {
	Kind     string
	Metadata struct{ Labels map[string]string }
	Spec     map[string]any
	Data     map[string]string
}

func objects(t *testing.T, rendered string) map[string]object {
	t.Helper()
	all := make(map[string]object)
	d := yaml.NewDecoder(strings.NewReader(rendered))
	for {
		var o object
		switch err := d.Decode(&o); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatalf("%v\n%s", err, rendered)
		case o.Kind == "ConfigMap" && o.Data["groupsync.json"] != "":
			all["dashboard"] = o
		default:
			all[o.Kind] = o
		}
	}
}

// TestTheChartsSwitches: each part is there exactly where its switch says so,
// and every object belongs to the release.
func TestTheChartsSwitches(t *testing.T) {
	always := []string{"ConfigMap", "Deployment", "Service"}
	for name, kind := range map[string]string{
		"": "", "state": "PersistentVolumeClaim", "serviceMonitor": "ServiceMonitor", "prometheusRule": "PrometheusRule", "dashboard": "dashboard",
	} {
		args, want := []string{"template", "release", chart}, always
		if name != "" {
			args, want = append(args, "--set", name+".enabled=true"), append(slices.Clone(always), kind)
		}
		got := objects(t, helm(t, args...))
		slices.Sort(want)
		if kinds := slices.Sorted(maps.Keys(got)); !slices.Equal(kinds, want) {
			t.Errorf("%s: got %v, want %v", name, kinds, want)
		}
		for kind, o := range got {
			if o.Metadata.Labels["app.kubernetes.io/instance"] != "release" {
				t.Errorf("%s: the %s does not say of which release it is", name, kind)
			}
		}
	}
}

// TestTheChartsRulesAreTheFile: the PrometheusRule holds the very rules that
// promtool tests, but for where their runbook is published.
func TestTheChartsRulesAreTheFile(t *testing.T) {
	data, err := os.ReadFile(chart + "/files/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const base = "https://docs.example.com/groupsync"
	for _, tt := range []struct {
		name, set, file string
	}{
		{"as they are", "prometheusRule.enabled=true", string(data)},
		{"with links to where the runbook is", "prometheusRule.enabled=true,prometheusRule.runbookBase=" + base + "/", strings.ReplaceAll(string(data), "docs/runbook.md#", base+"/runbook.md#")},
	} {
		var want map[string]any
		if err := yaml.Unmarshal([]byte(tt.file), &want); err != nil {
			t.Fatal(err)
		}
		got := objects(t, helm(t, "template", "release", chart, "--set", tt.set))["PrometheusRule"].Spec
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: -file +rendered\n%s", tt.name, d)
		}
	}
}

// TestTheChartsState: with a volume the guards remember on it.
func TestTheChartsState(t *testing.T) {
	rendered := helm(t, "template", "release", chart, "--set", "state.enabled=true")
	mustContain(t, "the configuration", configOf(t, rendered), "state_dir: /var/lib/groupsync")
	mustContain(t, "the deployment", rendered, "{name: state, mountPath: /var/lib/groupsync}")
}
