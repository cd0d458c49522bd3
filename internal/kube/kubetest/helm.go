package kubetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"groupsync/internal/processtest"
)

// Helm runs the program helm as the client's user and in the client's namespace, and returns
// everything that helm prints. The environment variable HELM names the program, which the
// Makefile builds from tools/helm. If helm ends with an exit code other than 0, Helm returns an
// error. If HELM is not set, the test fails.
func (c *Client) Helm(tb testing.TB, args ...string) (string, error) {
	tb.Helper()
	program := processtest.Tool(tb, "HELM")
	for _, arg := range args {
		if _, err := os.Stat(filepath.Join(arg, "Chart.yaml")); err == nil {
			processtest.Inputs(tb, arg)
		}
	}
	own := tb.TempDir()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig(tb),
		"HELM_CACHE_HOME="+own, "HELM_CONFIG_HOME="+own, "HELM_DATA_HOME="+own)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// MustHelm runs Helm and fails the test if the command fails.
func (c *Client) MustHelm(tb testing.TB, args ...string) string {
	tb.Helper()
	out, err := c.Helm(tb, args...)
	if err != nil {
		tb.Fatalf("helm %q: %v\n%s", args, err, out)
	}
	return out
}
