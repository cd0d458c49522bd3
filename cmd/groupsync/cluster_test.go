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
	"groupsync/internal/source/keycloaktest"
)

// container is what a pod of the chart says of how groupsync runs in it.
type container struct {
	Args []string
	Env  []struct{ Name, Value string }

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

// installed is a release of the chart on the real API server, by the name of
// groupsync. No kubelet runs its pods: the tests run them as processes.
type installed struct {
	*election
	kubernetes *kubetest.Client // the administrator, in the namespace
}

// install installs the chart for a realm and a ClearML that differ.
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
	i.kubernetes.MustHelm(t, "install", "groupsync", "../../charts/groupsync", "-f", values)
	return i
}

// pods returns the release's pods: the Deployment's and that of helm test.
func (i installed) pods(t *testing.T) (replica, test pod) {
	t.Helper()
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
			if err := json.Unmarshal(text, &test); err != nil {
				t.Fatal(err)
			}
		}
	})
	return replica, test
}

// prepare returns the variables and arguments with which the kubelet would run the
// pod's container, with its files and its ServiceAccount's token. What differs is
// where the files are, and the port.
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
		case "POD_NAME", "POD_UID": // of the downward API
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

// TestAnInstalledRelease: what helm test runs ends well and writes nothing; and
// two replicas, run as the chart says with what it has made and allowed, share
// the work by its Lease.
func TestAnInstalledRelease(t *testing.T) {
	i := install(t, kubetest.Shared(t))
	replica, test := i.pods(t)
	env, args := i.prepare(t, "test", test)
	cmd := command(t.Context(), args...)
	cmd.Env = append(cmd.Env, env...)
	o := finish(t, cmd)
	if o.code != 0 || i.check(t) != 0 {
		t.Errorf("helm test: exit code %d, %d teams are done\n%s%s", o.code, i.check(t), o.stdout, o.stderr)
	}
	mustContain(t, "helm test", o.stdout, "9 to remove")

	i.awaitRole(t)
	first := i.enter(t, "replica-0", replica)
	leader := first.leads(t)
	if ended := first.until(t, "pass ended"); ended["result"] != "applied" || i.check(t) != teams {
		t.Errorf("the first pass: %v", ended)
	}
	second := i.enter(t, "replica-1", replica)
	second.until(t, "this process stands by")
	second.standsBy(t, "")
	var lease struct {
		Spec struct{ HolderIdentity string }
	}
	i.kubernetes.Get(t, "/apis/coordination.k8s.io/v1/namespaces/"+i.namespace+"/leases/groupsync", &lease)
	if lease.Spec.HolderIdentity != leader {
		t.Errorf("the Lease is held by %q, want %q", lease.Spec.HolderIdentity, leader)
	}
	if n := i.remembered(t).RemovedSince(time.Now().Add(-time.Hour)); n != 9 {
		t.Errorf("%d removals are remembered, want 9", n)
	}
	for _, c := range []*candidate{first, second} {
		if code := c.terminate(t); code != 0 {
			t.Errorf("exit code %d\n%s", code, c.log.String())
		}
	}
}
