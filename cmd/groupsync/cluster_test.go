package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"groupsync/internal/kube/kubetest"
	"groupsync/internal/memory"
	"groupsync/internal/source/keycloaktest"
)

const chart = "../../charts/groupsync"

// container is the part of a pod's specification that says how groupsync runs.
type container struct {
	Args         []string
	Env          []struct{ Name, Value string }
	VolumeMounts []struct{ Name, MountPath string }
}

// pod is a pod of the chart with its one container.
type pod struct {
	Spec struct {
		ServiceAccountName string
		Containers         []container
		Volumes            []struct {
			Name      string
			ConfigMap struct{ Name string }
			Secret    struct {
				SecretName string
				Items      []struct{ Key, Path string }
			}
		}
	}
}

// installed is a release of the chart, named groupsync, on the real API server. No kubelet
// runs its pods. The tests run them as processes.
type installed struct {
	*election
	kubernetes *kubetest.Client // the administrator, in the namespace
}

// install installs the chart for a realm and a ClearML with differences between them.
func install(t *testing.T, cluster *kubetest.Cluster) installed {
	t.Helper()
	e := &election{chaos: newChaos(t, keycloaktest.Shared(t)), cluster: cluster}
	e.namespace = cluster.Namespace(t, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	i := installed{election: e, kubernetes: cluster.In(e.namespace)}
	values := filepath.Join(t.TempDir(), "values.yaml")
	text := fmt.Sprintf(`
replicas: 2
secret: {create: true, clientSecret: %q, accessKey: access, secretKey: secret}
config:
  mode: apply
  schedule: "@every 1h"
  guards: {max_removal_ratio: 0}
  keycloak: {url: %q, realm: %q}
  clearml: {url: %q}
`, keycloaktest.Secret, e.server.URL, e.realm.Name, e.clearml.URL)
	if err := os.WriteFile(values, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	i.kubernetes.MustHelm(t, "install", "groupsync", chart, "-f", values)
	return i
}

// pods returns the release's pods: that of the Deployment, and those of helm test by name.
func (i installed) pods(t *testing.T) (replica pod, tests map[string]pod) {
	t.Helper()
	tests = make(map[string]pod)
	manifest := i.kubernetes.MustHelm(t, "get", "manifest", "groupsync") + "\n---\n" + i.kubernetes.MustHelm(t, "get", "hooks", "groupsync")
	i.kubernetes.Each(t, manifest, func(path string, o map[string]any) {
		text, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		var deployment struct{ Spec struct{ Template pod } }
		switch o["kind"] {
		case "Deployment":
			i.kubernetes.Get(t, path, &deployment)
			replica = deployment.Spec.Template
		case "Pod":
			var test pod
			if err := json.Unmarshal(text, &test); err != nil {
				t.Fatal(err)
			}
			tests[o["metadata"].(map[string]any)["name"].(string)] = test
		}
	})
	return replica, tests
}

// prepare returns the variables and arguments with which the kubelet would run the pod's
// container, with its files and the token of its ServiceAccount. Only the place of the files
// and the port differ.
func (i installed) prepare(t *testing.T, name string, p pod) (env, args []string) {
	t.Helper()
	root := t.TempDir()
	here := strings.NewReplacer("/etc/groupsync", root)
	c := p.Spec.Containers[0]
	for _, m := range c.VolumeMounts {
		i.mount(t, p, m.Name, here.Replace(m.MountPath), here)
	}
	for _, arg := range c.Args {
		args = append(args, here.Replace(arg))
	}
	env = []string{"KUBECONFIG=" + i.cluster.ServiceAccount(t, i.namespace, p.Spec.ServiceAccountName), "GROUPSYNC_WEB_LISTEN=127.0.0.1:0"}
	for _, e := range c.Env {
		switch e.Name {
		case "POD_NAME", "POD_UID": // the downward API sets these
			e.Value = name
		}
		env = append(env, e.Name+"="+e.Value)
	}
	return env, args
}

// mount writes the files of the volume into the directory.
func (i installed) mount(t *testing.T, p pod, volume, dir string, here *strings.Replacer) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	var o struct{ Data map[string]string }
	for _, v := range p.Spec.Volumes {
		switch {
		case v.Name != volume:
		case v.ConfigMap.Name != "":
			i.kubernetes.Get(t, "/api/v1/namespaces/"+i.namespace+"/configmaps/"+v.ConfigMap.Name, &o)
			for key, text := range o.Data {
				files[key] = here.Replace(text)
			}
		default:
			i.kubernetes.Get(t, "/api/v1/namespaces/"+i.namespace+"/secrets/"+v.Secret.SecretName, &o)
			for _, item := range v.Secret.Items {
				text, err := base64.StdEncoding.DecodeString(o.Data[item.Key])
				if err != nil {
					t.Fatal(err)
				}
				files[item.Path] = string(text)
			}
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// enter starts a replica.
func (i installed) enter(t *testing.T, name string, p pod) *candidate {
	t.Helper()
	env, args := i.prepare(t, name, p)
	config, is := strings.CutPrefix(args[0], "--config=")
	if !is {
		t.Fatalf("the first argument is %s, want --config", args[0])
	}
	c := &candidate{service: serveIn(t, env, config, args[1:]...)}
	c.address, _ = c.until(t, "groupsync starts")["listen"].(string)
	return c
}

// TestAsTheChartInstallsIt runs two replicas as the chart says, with the objects and rights
// that the chart makes. One is the leader and does the work, and the other is a standby. An
// upgrade keeps what they store.
func TestAsTheChartInstallsIt(t *testing.T) {
	t.Parallel() // most of it is waiting
	i := install(t, kubetest.Shared(t))
	i.cluster.AwaitRole(t, i.namespace)
	replica, _ := i.pods(t)
	first := i.enter(t, "replica-0", replica)
	leader := first.leads(t)
	second := i.enter(t, "replica-1", replica)
	second.until(t, "this process stands by")
	second.standsBy(t, "")
	if ended := first.until(t, "pass ended"); ended["result"] != "applied" || i.check(t) != teams {
		t.Errorf("the first pass: %v", ended)
	}
	if holder := i.holder(t); holder != leader {
		t.Errorf("the Lease is held by %q, want %q", holder, leader)
	}

	i.kubernetes.MustHelm(t, "upgrade", "groupsync", chart, "--reuse-values", "--set", "config.mode=observe")
	replica, _ = i.pods(t)
	first.mustEnd(t) // an upgrade of the Deployment replaces one pod after the other
	second.leads(t)
	if ended := second.until(t, "pass ended"); ended["mode"] != "apply" || ended["result"] != "in_sync" {
		t.Errorf("the second: %v", ended)
	}
	second.mustEnd(t)
	third := i.enter(t, "replica-2", replica)
	third.leads(t)
	if ended := third.until(t, "pass ended"); ended["mode"] != "observe" || ended["result"] != "in_sync" {
		t.Errorf("after the upgrade: %v", ended)
	}
	if n := memory.Since(i.remembered(t).Removed, time.Now().Add(-time.Hour)); n != 9 {
		t.Errorf("%d removals are remembered after the upgrade, want 9", n)
	}
	third.mustEnd(t)
}

// mustEnd ends the process, and fails if the exit code is not 0.
func (c *candidate) mustEnd(t *testing.T) {
	t.Helper()
	if code := c.terminate(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, c.log.String())
	}
}

// holder returns the identity of the holder of the release's Lease.
func (i installed) holder(t *testing.T) string {
	t.Helper()
	var lease struct {
		Spec struct{ HolderIdentity string }
	}
	i.kubernetes.Get(t, "/apis/coordination.k8s.io/v1/namespaces/"+i.namespace+"/leases/groupsync", &lease)
	return lease.Spec.HolderIdentity
}

// TestWhatHelmTestRuns: the pods of helm test succeed although there is drift, and write
// nothing.
func TestWhatHelmTestRuns(t *testing.T) {
	i := install(t, kubetest.Shared(t))
	_, tests := i.pods(t)
	for name, want := range map[string]string{
		"groupsync-check": "✔ clearml-identity: ",
		"groupsync-test":  "(dry run): 3 to add, 9 to remove in ",
	} {
		env, args := i.prepare(t, name, tests[name])
		cmd := command(t.Context(), args...)
		cmd.Env = append(cmd.Env, env...)
		if o := finish(t, cmd); o.code != 0 || !strings.Contains(o.stdout, want) {
			t.Errorf("%s: exit code %d\n%s%s", name, o.code, o.stdout, o.stderr)
		}
	}
	if done := i.check(t); done != 0 {
		t.Errorf("%d of %d teams are done, though the release applies", done, teams)
	}
}

// TestHelmTestFailsWhereTheCheckDoes: helm test fails if check does, here after the secret was
// changed in Keycloak.
func TestHelmTestFailsWhereTheCheckDoes(t *testing.T) {
	i := install(t, kubetest.Shared(t))
	i.realm.EditClient(t, func(client map[string]any) { client["secret"] = "another" })
	_, tests := i.pods(t)
	env, args := i.prepare(t, "check", tests["groupsync-check"])
	cmd := command(t.Context(), args...)
	cmd.Env = append(cmd.Env, env...)
	if o := finish(t, cmd); o.code != 1 || !strings.Contains(o.stdout, "✘ keycloak-credentials: ") {
		t.Errorf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
}
