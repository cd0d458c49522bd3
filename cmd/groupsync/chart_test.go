package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

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
