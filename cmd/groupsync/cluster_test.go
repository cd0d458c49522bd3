package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"groupsync/internal/kube/kubetest"
	"groupsync/internal/source/keycloaktest"
)

// TestAsTheChartInstallsIt: Helm installs the chart on a real API server, with
// two replicas that apply. There is no kubelet, so two processes run in their
// place: with the configuration that the ConfigMap then holds and a token of the
// chart's ServiceAccount. One leads and does the work, the other stands by, and
// an upgrade takes nothing of what they keep.
func TestAsTheChartInstallsIt(t *testing.T) {
	t.Parallel() // most of it is waiting
	cluster := kubetest.Shared(t)
	c := newChaos(t, keycloaktest.Shared(t))
	namespace := cluster.Namespace(t, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	admin := cluster.Kubeconfig(t)
	helm := func(args ...string) {
		t.Helper()
		program := os.Getenv("HELM")
		if program == "" {
			t.Fatal("HELM names no helm client: run make test, which builds one")
		}
		args = append(args, "groupsync", "../../charts/groupsync", "--kubeconfig", admin, "--namespace", namespace,
			"--set", "replicas=2,existingSecret=groupsync,config.guards.max_removal_ratio=0",
			"--set", "config.keycloak.url="+c.server.URL+",config.keycloak.realm="+c.realm.Name+",config.clearml.url="+c.clearml.URL)
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+t.TempDir(), "HELM_CONFIG_HOME="+t.TempDir(), "HELM_DATA_HOME="+t.TempDir())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("helm %s: %v\n%s", args[0], err, out)
		}
	}
	secrets := t.TempDir()
	for name, text := range map[string]string{"client_secret": keycloaktest.Secret, "access_key": "access", "secret_key": "secret"} {
		if err := os.WriteFile(filepath.Join(secrets, name), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// mounted is the configuration as a pod would have it.
	mounted := func() string {
		t.Helper()
		var object struct{ Data map[string]string }
		if !cluster.Get(t, "/api/v1/namespaces/"+namespace+"/configmaps/groupsync", &object) {
			t.Fatal("there is no ConfigMap groupsync")
		}
		text := strings.ReplaceAll(object.Data["config.yaml"], "/etc/groupsync/secret", secrets)
		text = strings.ReplaceAll(text, "listen: :8080", "listen: 127.0.0.1:0")
		path := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var account string
	run := func() *candidate {
		c := &candidate{service: serveIn(t, []string{"KUBECONFIG=" + account, "POD_NAME=groupsync"}, mounted())}
		c.address, _ = c.until(t, "groupsync starts")["listen"].(string)
		return c
	}

	helm("install", "--set", "config.mode=apply")
	account = cluster.ServiceAccount(t, namespace, "groupsync")
	as := cluster.As(t, namespace, "groupsync")
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if status, _ := as.Try(t, http.MethodGet, "/apis/coordination.k8s.io/v1/namespaces/"+namespace+"/leases/groupsync", nil); status == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the chart's Role does not hold")
		}
	}
	first := run()
	leader := first.leads(t)
	second := run()
	second.until(t, "this process stands by")
	second.standsBy(t, "")
	if ended := first.until(t, "pass ended"); ended["result"] != "applied" || c.check(t) != teams {
		t.Errorf("the leader, %s: %v", leader, ended)
	}

	helm("upgrade", "--set", "config.mode=observe")
	if code := first.terminate(t); code != 0 { // as the Deployment would, one after the other
		t.Errorf("exit code %d\n%s", code, first.log.String())
	}
	second.leads(t)
	if ended := second.until(t, "pass ended"); ended["result"] != "in_sync" {
		t.Errorf("the second: %v", ended)
	}
	if code := second.terminate(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, second.log.String())
	}
	third := run()
	third.leads(t)
	if ended := third.until(t, "pass ended"); ended["mode"] != "observe" || ended["result"] != "in_sync" {
		t.Errorf("after the upgrade: %v", ended)
	}
	e := election{cluster: cluster, namespace: namespace}
	if n := e.remembered(t).RemovedSince(time.Now().Add(-time.Hour)); n != 9 {
		t.Errorf("%d removals are remembered after the upgrade, want 9", n)
	}
	if code := third.terminate(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, third.log.String())
	}
}
