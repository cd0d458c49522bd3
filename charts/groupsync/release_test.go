package groupsync_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"groupsync/internal/kube"
	"groupsync/internal/kube/kubetest"
)

// release is a Helm release named "groupsync", in its own namespace.
type release struct {
	*kubetest.Client // the administrator, in that namespace
	namespace        string
}

func newRelease(t *testing.T, c *kubetest.Cluster) release {
	t.Helper()
	ns := c.Namespace(t, restricted)
	return release{c.In(ns), ns}
}

// mustHave fails the test if the API server does not keep every field of the release's
// manifest. It returns the kinds and names of the objects.
func (r release) mustHave(t *testing.T) []string {
	t.Helper()
	var names []string
	r.Each(t, r.MustHelm(t, "get", "manifest", "groupsync"), func(path string, asked object) {
		t.Helper()
		var kept object
		if !r.Get(t, path, &kept) {
			t.Errorf("%s: is not there", path)
			return
		}
		// The one field that can be written and not read.
		if text, is := asked["stringData"]; is && len(text.(object)) != len(kept["data"].(object)) {
			t.Errorf("%s: of the keys %v are kept %v", path, text, kept["data"])
		}
		delete(asked, "stringData")
		for _, d := range lost("", plain(t, asked), kept) {
			t.Errorf("%s: %s", path, d)
		}
		names = append(names, fmt.Sprint(kept["kind"], " ", asked["metadata"].(object)["name"]))
	})
	slices.Sort(names)
	return names
}

// plain returns the object with the types of decoded JSON.
func plain(t *testing.T, o any) (out any) {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// lost lists the fields that were sent and are not kept. Additional fields, such as defaults,
// are fine. So is an empty value that is dropped.
func lost(path string, asked, kept any) (all []string) {
	switch asked := asked.(type) {
	case object:
		have, _ := kept.(object)
		for _, key := range slices.Sorted(maps.Keys(asked)) {
			all = append(all, lost(path+"."+key, asked[key], have[key])...)
		}
		return all
	case []any:
		have, _ := kept.([]any)
		if len(have) != len(asked) {
			return []string{fmt.Sprintf("%s: asked %v, kept %v", path, asked, kept)}
		}
		for i := range asked {
			all = append(all, lost(fmt.Sprintf("%s[%d]", path, i), asked[i], have[i])...)
		}
		return all
	case nil:
		return nil
	case string:
		if asked == "" && kept == nil {
			return nil
		}
	}
	if asked != kept {
		return []string{fmt.Sprintf("%s: asked %v, kept %v", path, asked, kept)}
	}
	return nil
}

// pods returns the pods that the release would run: the Deployment's, and those of helm test
// by name.
func (r release) pods(t *testing.T) map[string]object {
	t.Helper()
	pods := make(map[string]object)
	r.Each(t, r.MustHelm(t, "get", "manifest", "groupsync")+"\n---\n"+r.MustHelm(t, "get", "hooks", "groupsync"), func(_ string, o object) {
		switch o["kind"] {
		case "Deployment":
			pod := o["spec"].(object)["template"].(object)
			pod["metadata"].(object)["name"] = "replica"
			pods["the Deployment's"] = pod
		case "Pod":
			pods[o["metadata"].(object)["name"].(string)] = o
		}
	})
	return pods
}

// post sends the pod to the API server, which applies Pod Security. It is a dry run, so the
// pod is not kept.
func (r release) post(t *testing.T, pod object) (status int, answer string) {
	t.Helper()
	status, body := r.Try(t, http.MethodPost, "/api/v1/namespaces/"+r.namespace+"/pods?dryRun=All&fieldValidation=Strict", pod)
	return status, string(body)
}

func (r release) mustAdmitPods(t *testing.T, want int) {
	t.Helper()
	pods := r.pods(t)
	if len(pods) != want {
		t.Errorf("the release has %d pods, want %d", len(pods), want)
	}
	for name, pod := range pods {
		if status, answer := r.post(t, pod); status != http.StatusCreated {
			t.Errorf("the pod, %s, in a restricted namespace: %d %s", name, status, answer)
		}
	}
}

// running returns the configured mode and the number of replicas.
func (r release) running(t *testing.T) (mode string, replicas float64) {
	t.Helper()
	var config struct{ Data map[string]string }
	var deployment struct{ Spec struct{ Replicas float64 } }
	r.Get(t, "/api/v1/namespaces/"+r.namespace+"/configmaps/groupsync", &config)
	r.Get(t, "/apis/apps/v1/namespaces/"+r.namespace+"/deployments/groupsync", &deployment)
	for line := range strings.Lines(config.Data["config.yaml"]) {
		if key, value, _ := strings.Cut(strings.TrimSpace(line), ": "); key == "mode" {
			mode = value
		}
	}
	return mode, deployment.Spec.Replicas
}

// collections are the API paths of the chart's objects, by kind.
var collections = map[string]string{
	"ConfigMap": "/api/v1/configmaps", "Pod": "/api/v1/pods", "PersistentVolumeClaim": "/api/v1/persistentvolumeclaims",
	"Secret": "/api/v1/secrets", "Service": "/api/v1/services", "ServiceAccount": "/api/v1/serviceaccounts",
	"Deployment": "/apis/apps/v1/deployments", "Lease": "/apis/coordination.k8s.io/v1/leases",
	"NetworkPolicy": "/apis/networking.k8s.io/v1/networkpolicies", "PodDisruptionBudget": "/apis/policy/v1/poddisruptionbudgets",
	"Role": "/apis/rbac.authorization.k8s.io/v1/roles", "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/rolebindings",
}

// all lists kind and name of the namespace's objects of the chart's kinds, by the query. A
// deleted object with a finalizer counts as gone, because the controller that removes the
// finalizer of a volume claim does not run here.
func (r release) all(t *testing.T, query string) []string {
	t.Helper()
	var names []string
	for kind, path := range collections {
		at := strings.LastIndexByte(path, '/')
		var list struct {
			Items []struct {
				Metadata struct {
					Name              string
					DeletionTimestamp *time.Time
				}
			}
		}
		r.Do(t, http.MethodGet, path[:at]+"/namespaces/"+r.namespace+path[at:]+query, nil, &list)
		for _, o := range list.Items {
			if o.Metadata.DeletionTimestamp == nil {
				names = append(names, kind+" "+o.Metadata.Name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// labelled lists the objects with the label of the release.
func (r release) labelled(t *testing.T) []string {
	t.Helper()
	return r.all(t, "?labelSelector=app.kubernetes.io/instance=groupsync")
}

// mustBeEmpty fails the test if anything is left in the namespace, including what Helm stores
// of a release.
func (r release) mustBeEmpty(t *testing.T) {
	t.Helper()
	if left := r.all(t, ""); len(left) > 0 {
		t.Errorf("left in the namespace: %v", left)
	}
}

// written is what groupsync stores in the cluster.
type written struct {
	holder      string
	transitions int
	memory      string
}

func (r release) written(t *testing.T) written {
	t.Helper()
	var lease struct {
		Spec struct {
			HolderIdentity   string
			LeaseTransitions int
		}
	}
	var memory struct{ BinaryData map[string]string }
	r.Get(t, "/apis/coordination.k8s.io/v1/namespaces/"+r.namespace+"/leases/groupsync", &lease)
	r.Get(t, "/api/v1/namespaces/"+r.namespace+"/configmaps/groupsync-memory", &memory)
	return written{lease.Spec.HolderIdentity, lease.Spec.LeaseTransitions, fmt.Sprint(memory.BinaryData)}
}

// open returns the release's Lease as one of its pods has it: with the token of the chart's
// ServiceAccount and only the rights of its Role. open waits, because the Role takes effect a
// moment after it was made.
func (r release) open(t *testing.T, c *kubetest.Cluster) *kube.Lease {
	t.Helper()
	t.Setenv("KUBECONFIG", c.ServiceAccount(t, r.namespace, "groupsync"))
	lease, err := kube.Open(kube.Options{Name: "groupsync", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := lease.Check(t.Context())
		if err == nil {
			return lease
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}
