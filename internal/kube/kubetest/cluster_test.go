package kubetest

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

const leases = "/apis/coordination.k8s.io/v1/namespaces/"

// TestAServiceAccountMayDoWhatItsRoleSays: the API server authorises by RBAC as in a cluster.
func TestAServiceAccountMayDoWhatItsRoleSays(t *testing.T) {
	c := Shared(t)
	ns := c.Namespace(t, nil)
	account := c.As(t, ns, "daemon")
	path := leases + ns + "/leases/one"
	c.In(ns).Apply(t, "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: one}}")

	status, answer := account.Try(t, http.MethodGet, path, nil)
	if want := `cannot get resource`; status != http.StatusForbidden || !strings.Contains(string(answer), want) {
		t.Fatalf("without a Role: %d %s, want 403 and %q", status, answer, want)
	}
	const role = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: daemon}
rules:
- {apiGroups: [coordination.k8s.io], resources: [leases], resourceNames: [one], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: daemon}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: daemon}
subjects: [{kind: ServiceAccount, name: daemon}]
`
	c.In(ns).Apply(t, role)
	eventually(t, "the Role to hold", func() bool {
		status, _ := account.Try(t, http.MethodGet, path, nil)
		return status == http.StatusOK
	})
	if status, _ := account.Try(t, http.MethodDelete, path, nil); status != http.StatusForbidden {
		t.Errorf("a DELETE that the Role does not name: %d, want 403", status)
	}
	c.In(ns).Delete(t, role)
	eventually(t, "the Role to be gone", func() bool {
		status, _ := account.Try(t, http.MethodGet, path, nil)
		return status == http.StatusForbidden
	})
}

// TestARestrictedNamespaceRefusesABadPod: the API server admits pods as in a cluster.
func TestARestrictedNamespaceRefusesABadPod(t *testing.T) {
	c := Shared(t)
	ns := c.Namespace(t, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	pod := func(name string, security object) object {
		return object{"metadata": object{"name": name}, "spec": object{
			"securityContext": object{"runAsNonRoot": true, "seccompProfile": object{"type": "RuntimeDefault"}},
			"containers":      []object{{"name": "c", "image": "i", "securityContext": security}},
		}}
	}
	drop := object{"drop": []string{"ALL"}}
	for _, tt := range []struct {
		name     string
		security object
		status   int
		says     string
	}{
		{"a pod by the standard is accepted", object{"allowPrivilegeEscalation": false, "capabilities": drop}, http.StatusCreated, ""},
		{"a pod that may gain privileges is refused", object{"allowPrivilegeEscalation": true, "capabilities": drop}, http.StatusForbidden,
			`violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, answer := c.Try(t, http.MethodPost, "/api/v1/namespaces/"+ns+"/pods", pod("p", tt.security))
			if status != tt.status || !strings.Contains(string(answer), tt.says) {
				t.Errorf("%d %s\nwant %d and %q", status, answer, tt.status, tt.says)
			}
		})
	}
}

// TestTheAPIServerComesBackWithItsData: after StopAPI and StartAPI the API server has the same
// address, data and accounts.
func TestTheAPIServerComesBackWithItsData(t *testing.T) {
	c := Start(t)
	ns := c.Namespace(t, nil)
	account := c.As(t, ns, "daemon")
	c.StopAPI(t)
	if _, _, err := c.answer(http.MethodGet, "/readyz", "", nil); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Fatalf("a request to the stopped server: %v, want a refused connection", err)
	}
	c.StartAPI(t)
	var got struct{ Metadata struct{ Name string } }
	if !c.Get(t, "/api/v1/namespaces/"+ns, &got) || got.Metadata.Name != ns {
		t.Errorf("the namespace is %+v, want %s", got, ns)
	}
	review := object{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
	var who struct {
		Status struct{ UserInfo struct{ Username string } }
	}
	account.Do(t, http.MethodPost, "/apis/authentication.k8s.io/v1/selfsubjectreviews", review, &who)
	if want := "system:serviceaccount:" + ns + ":daemon"; who.Status.UserInfo.Username != want {
		t.Errorf("the token of before is of %q, want %q", who.Status.UserInfo.Username, want)
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 10s for %s", what)
		}
	}
}
