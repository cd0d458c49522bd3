package kubetest

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// installed has the objects that the Helm chart makes for the leader election of a release named
// groupsync. The tests of the chart check that the chart's Role has these rules.
const installed = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: groupsync, namespace: NS}
rules:
- {apiGroups: [coordination.k8s.io], resources: [leases], resourceNames: [groupsync], verbs: [get, update]}
- {apiGroups: [""], resources: [configmaps], resourceNames: [groupsync-memory], verbs: [get, update]}
- {apiGroups: [""], resources: [events], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: groupsync, namespace: NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: groupsync}
subjects: [{kind: ServiceAccount, name: groupsync, namespace: NS}]
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: groupsync, namespace: NS}
spec: {holderIdentity: "", leaseDurationSeconds: 1}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: groupsync-memory, namespace: NS}
`

// Groupsync makes a namespace with the Lease and the memory's ConfigMap, as the chart does. In this
// namespace the ServiceAccount groupsync has the rights that the chart gives. groupsync waits
// before it takes a Lease that was not released, so this Lease looks like a released one. Groupsync
// returns the name of the namespace and the path of the account's kubeconfig.
func (c *Cluster) Groupsync(tb testing.TB) (namespace, kubeconfig string) {
	tb.Helper()
	namespace = c.Namespace(tb, nil)
	kubeconfig = c.ServiceAccount(tb, namespace, "groupsync")
	c.Apply(tb, strings.ReplaceAll(installed, "NS", namespace))
	c.AwaitRole(tb, namespace)
	return namespace, kubeconfig
}

// AwaitRole waits until the API server applies the Role of the account groupsync, which takes a
// moment after the Role was created.
func (c *Cluster) AwaitRole(tb testing.TB, namespace string) {
	tb.Helper()
	as := c.As(tb, namespace, "groupsync")
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if status, _ := as.Try(tb, http.MethodGet, "/api/v1/namespaces/"+namespace+"/configmaps/groupsync-memory", nil); status == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatal("the API server does not apply the Role")
		}
	}
}
