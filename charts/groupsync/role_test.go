package groupsync_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/kube/kubetest"
)

// The API paths of the two kinds of which the Role allows one object each.
const (
	leases     = "/apis/coordination.k8s.io/v1/namespaces/NS/leases"
	configMaps = "/api/v1/namespaces/NS/configmaps"
)

// TestTheRoleAllowsThatAndNothingElse makes calls with a token of the chart's ServiceAccount.
func TestTheRoleAllowsThatAndNothingElse(t *testing.T) {
	c := kubetest.Shared(t)
	r := newRelease(t, c)
	r.MustHelm(t, "install", "groupsync", ".", "-f", least)
	r.open(t, c)
	r.Apply(t, "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: other}}\n---\n{apiVersion: v1, kind: Secret, metadata: {name: other}}")
	account := c.As(t, r.namespace, "groupsync")
	for _, tt := range []struct {
		name   string
		method string
		path   string // NS is the release's namespace
		status int
	}{
		{"reads its Lease", "GET", leases + "/groupsync", 200},
		{"writes its Lease", "PUT", leases + "/groupsync", 200},
		{"reads its memory", "GET", configMaps + "/groupsync-memory", 200},
		{"writes its memory", "PUT", configMaps + "/groupsync-memory", 200},
		{"makes an Event", "POST", "/api/v1/namespaces/NS/events", 201},
		{"does not delete its Lease", "DELETE", leases + "/groupsync", 403},
		{"does not make a Lease", "POST", leases, 403},
		{"does not read another Lease", "GET", leases + "/other", 403},
		{"does not write another Lease", "PUT", leases + "/other", 403},
		{"does not list Leases", "GET", leases, 403},
		{"does not delete its memory", "DELETE", configMaps + "/groupsync-memory", 403},
		{"does not make a ConfigMap", "POST", configMaps, 403},
		{"does not write its own configuration", "PUT", configMaps + "/groupsync", 403},
		{"does not list ConfigMaps", "GET", configMaps, 403},
		{"does not read Secrets", "GET", "/api/v1/namespaces/NS/secrets/other", 403},
		{"does not read Events", "GET", "/api/v1/namespaces/NS/events", 403},
		{"does not read its pods", "GET", "/api/v1/namespaces/NS/pods", 403},
		{"makes no Event in another namespace", "POST", "/api/v1/namespaces/default/events", 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := strings.ReplaceAll(tt.path, "NS", r.namespace)
			var body any
			switch tt.method {
			case http.MethodPut:
				r.Do(t, http.MethodGet, path, nil, &body)
			case http.MethodPost: // the fields that an Event must have
				body = object{"metadata": object{"generateName": "new-"}, "involvedObject": object{"namespace": r.namespace}}
			}
			if status, answer := account.Try(t, tt.method, path, body); status != tt.status {
				t.Errorf("%s %s: %d %s\nwant %d", tt.method, path, status, answer, tt.status)
			}
		})
	}
}

// TestTheRulesAreThoseOfTheRole reads the API server's own list of what the account may do.
// Compared with an account without a Role, it has only the rules of the Role, and none in
// another namespace.
func TestTheRulesAreThoseOfTheRole(t *testing.T) {
	c := kubetest.Shared(t)
	r := newRelease(t, c)
	r.MustHelm(t, "install", "groupsync", ".", "-f", least)
	r.open(t, c)
	account, nobody := c.As(t, r.namespace, "groupsync"), c.As(t, r.namespace, "nobody")
	want := []string{
		"[create] [] [events] []",
		"[get update] [] [configmaps] [groupsync-memory]",
		"[get update] [coordination.k8s.io] [leases] [groupsync]",
	}
	if d := cmp.Diff(want, r.given(t, c)); d != "" {
		t.Errorf("in its namespace: -want +got\n%s", d)
	}
	if d := cmp.Diff(allowed(t, nobody, "default"), allowed(t, account, "default")); d != "" {
		t.Errorf("elsewhere: -nobody +account\n%s", d)
	}
}

// given returns what the chart's account may do in the release's namespace and an account
// without a Role may not.
func (r release) given(t *testing.T, c *kubetest.Cluster) []string {
	t.Helper()
	anybody := allowed(t, c.As(t, r.namespace, "nobody"), r.namespace)
	return slices.DeleteFunc(allowed(t, c.As(t, r.namespace, "groupsync"), r.namespace), func(rule string) bool { return slices.Contains(anybody, rule) })
}

// allowed returns the rules that allow the client something in the namespace, sorted: verbs,
// groups, resources and their names.
func allowed(t *testing.T, client *kubetest.Client, namespace string) []string {
	t.Helper()
	var review struct {
		Status struct {
			Incomplete    bool
			ResourceRules []struct{ Verbs, APIGroups, Resources, ResourceNames []string }
		}
	}
	client.Do(t, http.MethodPost, "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", map[string]any{"spec": map[string]any{"namespace": namespace}}, &review)
	if review.Status.Incomplete {
		t.Fatal("the API server does not know all the rules")
	}
	var rules []string
	for _, r := range review.Status.ResourceRules {
		rules = append(rules, fmt.Sprintf("%v %v %v %v", r.Verbs, r.APIGroups, r.Resources, r.ResourceNames))
	}
	slices.Sort(rules)
	return rules
}
