package groupsync_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/kube/kubetest"
	"groupsync/internal/memory"
)

// These tests run the chart on the real API server. It keeps, admits and allows what Helm
// sends, as in any cluster. There is no kubelet, so no pod runs.

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// restricted is the label of a namespace for the strictest Pod Security Standard.
var restricted = map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}

// TestTheControlOfPodSecurity: the same pods are refused if they may gain privileges. Without
// this control it would prove nothing that the pods are accepted.
func TestTheControlOfPodSecurity(t *testing.T) {
	r := newRelease(t, kubetest.Shared(t))
	r.MustHelm(t, "install", "groupsync", ".", "-f", least)
	r.mustAdmitPods(t, 3)
	for name, pod := range r.pods(t) {
		container := pod["spec"].(object)["containers"].([]any)[0].(object)
		container["securityContext"].(object)["allowPrivilegeEscalation"] = true
		want := `violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false`
		if status, answer := r.post(t, pod); status != http.StatusForbidden || !strings.Contains(answer, want) {
			t.Errorf("the pod, %s, with privilege escalation: %d %s\nwant 403 and %s", name, status, answer, want)
		}
	}
}

// TestTheLifeOfARelease installs, upgrades, rolls back and uninstalls. It reads each result
// back from the API server.
func TestTheLifeOfARelease(t *testing.T) {
	r := newRelease(t, kubetest.Shared(t))
	more := []string{"-f", least, "--set", "replicas=2,config.mode=apply,networkPolicy.enabled=true,podDisruptionBudget.enabled=true,dashboard.enabled=true"}
	first := []string{
		"ConfigMap groupsync", "ConfigMap groupsync-memory", "Deployment groupsync", "Lease groupsync",
		"Role groupsync", "RoleBinding groupsync", "Service groupsync", "ServiceAccount groupsync",
	}
	second := append([]string{"ConfigMap groupsync-dashboard", "NetworkPolicy groupsync", "PodDisruptionBudget groupsync"}, first...)
	slices.Sort(second)
	third := []string{"ConfigMap groupsync", "Deployment groupsync", "PersistentVolumeClaim groupsync", "Service groupsync", "ServiceAccount groupsync"}
	for _, step := range []struct {
		name     string
		helm     []string
		mode     string
		replicas float64
		objects  []string
	}{
		{"an installation observes", []string{"install", "groupsync", ".", "-f", least}, "observe", 1, first},
		{"an upgrade to two replicas that apply, and all that is optional", append([]string{"upgrade", "groupsync", "."}, more...), "apply", 2, second},
		{"a rollback is as the installation was", []string{"rollback", "groupsync", "1"}, "observe", 1, first},
		{"an upgrade from the Lease to a volume", []string{"upgrade", "groupsync", ".", "-f", least, "--set", "leaderElection.enabled=false,state.enabled=true"}, "observe", 1, third},
		{"and back", []string{"upgrade", "groupsync", ".", "-f", least}, "observe", 1, first},
	} {
		t.Run(step.name, func(t *testing.T) {
			r.MustHelm(t, step.helm...)
			if d := cmp.Diff(step.objects, r.mustHave(t)); d != "" {
				t.Errorf("the objects: -want +got\n%s", d)
			}
			if d := cmp.Diff(step.objects, r.labelled(t)); d != "" {
				t.Errorf("what is labelled as the release's: -want +got\n%s", d)
			}
			mode, replicas := r.running(t)
			if mode != step.mode || replicas != step.replicas {
				t.Errorf("%v replicas with mode %s, want %v with %s", replicas, mode, step.replicas, step.mode)
			}
			r.mustAdmitPods(t, 3)
		})
	}
	r.MustHelm(t, "uninstall", "groupsync")
	r.mustBeEmpty(t)
}

// TestWhatGroupsyncWroteOutlivesHelm: an upgrade and a rollback change neither the Lease nor
// the memory of a leader.
func TestWhatGroupsyncWroteOutlivesHelm(t *testing.T) {
	c := kubetest.Shared(t)
	r := newRelease(t, c)
	r.MustHelm(t, "install", "groupsync", ".", "-f", least)
	lease := r.open(t, c)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	kept := memory.Memory{Wanted: map[string]time.Time{memory.Key("group", "ann"): at}}
	lead := func(ctx context.Context) error {
		store := lease.Memory()
		if _, err := store.Load(); err != nil {
			return err
		}
		if err := store.Save(kept); err != nil {
			return err
		}
		before := r.written(t)
		r.MustHelm(t, "upgrade", "groupsync", ".", "-f", least, "--set", "replicas=2,config.mode=apply")
		after := r.written(t)
		if after.holder == "" || after != before {
			t.Errorf("an upgrade: before %+v, after %+v", before, after)
		}
		r.MustHelm(t, "rollback", "groupsync", "1")
		if after := r.written(t); after != before {
			t.Errorf("a rollback: before %+v, after %+v", before, after)
		}
		if err := lease.Held(); err != nil {
			return err
		}
		return store.Save(kept) // Helm's writes do not count as those of another process
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := lease.Take(ctx, lead); err != nil {
		t.Fatal(err)
	}
	got, err := r.open(t, c).Memory().Load()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(kept.Wanted, got.Wanted); d != "" {
		t.Errorf("the memory: -want +got\n%s", d)
	}
}

// TestGroupsyncMakesWhatTheChartLeavesOut: with leaderElection.create=false groupsync makes
// the Lease and the memory itself. Its Role allows that in addition, and nothing else.
func TestGroupsyncMakesWhatTheChartLeavesOut(t *testing.T) {
	c := kubetest.Shared(t)
	r := newRelease(t, c)
	r.MustHelm(t, "install", "groupsync", ".", "-f", least, "--set", "leaderElection.create=false")
	r.mustHave(t)
	lease := r.open(t, c)
	if err := lease.Take(t.Context(), func(context.Context) error {
		store := lease.Memory()
		if _, err := store.Load(); err != nil {
			return err
		}
		return store.Save(memory.Memory{})
	}); err != nil {
		t.Fatal(err)
	}
	made := r.all(t, "")
	for _, want := range []string{"Lease groupsync", "ConfigMap groupsync-memory"} {
		if !slices.Contains(made, want) {
			t.Errorf("%s is not there: %v", want, made)
		}
	}
	want := []string{
		"[create] [] [configmaps] []",
		"[create] [] [events] []",
		"[create] [coordination.k8s.io] [leases] []",
		"[get update] [] [configmaps] [groupsync-memory]",
		"[get update] [coordination.k8s.io] [leases] [groupsync]",
	}
	if d := cmp.Diff(want, r.given(t, c)); d != "" {
		t.Errorf("what it may do: -want +got\n%s", d)
	}
}

// TestBadValuesInstallNothing: if a value is refused, nothing is installed.
func TestBadValuesInstallNothing(t *testing.T) {
	r := newRelease(t, kubetest.Shared(t))
	for _, tt := range []struct {
		name string
		args []string
		says string
	}{
		{"no values at all", nil, "config.keycloak.url: is missing: write https://auth.example.com, with Keycloak's path prefix if there is one"},
		{"no Secret", []string{"-f", least, "--set", "existingSecret="}, "existingSecret: is missing: name a Secret with the keys client_secret, access_key and secret_key, or set secret.create with the three values"},
		{"a key that the configuration does not have", []string{"-f", least, "--set", "config.keyclok.url=x"}, "- at '/config': additional properties 'keyclok' not allowed"},
		{"two replicas without a Lease", []string{"-f", least, "--set", "replicas=2,leaderElection.enabled=false"}, "replicas: 2 processes would write at the same time: set leaderElection.enabled, or replicas to 1"},
		{"a schedule that is none", []string{"-f", least, "--set", "config.schedule=often"}, `config.schedule: "often" is not a schedule: write @every 15m, @hourly, or five cron fields`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := r.Helm(t, append([]string{"install", "groupsync", "."}, tt.args...)...)
			if err == nil || !strings.Contains(out, tt.says) {
				t.Errorf("helm install: %v\n%s\nwant %s", err, out, tt.says)
			}
			r.mustBeEmpty(t)
		})
	}
	// The control: with correct values the same release is installed.
	r.MustHelm(t, "install", "groupsync", ".", "-f", least)
	if len(r.mustHave(t)) == 0 {
		t.Error("nothing is installed")
	}
}

// TestEveryShapeIsKeptAsAsked: the API server drops or changes no field that a shape of the
// chart renders, also not in the objects of the Prometheus operator. It admits the pods.
func TestEveryShapeIsKeptAsAsked(t *testing.T) {
	c := kubetest.Shared(t)
	monitoring(t, c)
	for _, shape := range shapes(t) {
		t.Run(filepath.Base(shape), func(t *testing.T) {
			r := newRelease(t, c)
			r.MustHelm(t, "install", "groupsync", ".", "-f", shape)
			if len(r.mustHave(t)) == 0 {
				t.Error("nothing is installed")
			}
			for name, pod := range r.pods(t) {
				if status, answer := r.post(t, pod); status != http.StatusCreated {
					t.Errorf("the pod, %s, in a restricted namespace: %d %s", name, status, answer)
				}
			}
			r.MustHelm(t, "uninstall", "groupsync")
		})
	}
}

// TestMonitoringNeedsTheOperator: without the CRDs nothing is installed, and the refusal says
// what is missing. With the CRDs, the API server keeps each object as it was sent.
func TestMonitoringNeedsTheOperator(t *testing.T) {
	c := kubetest.Start(t) // a CRD is there for all namespaces
	r := newRelease(t, c)
	args := []string{"install", "groupsync", ".", "-f", least, "--set", "prometheusRule.enabled=true,prometheusRule.runbookBase=https://docs.example.com", "--set"}
	service, pod := append(slices.Clone(args), "serviceMonitor.enabled=true"), append(slices.Clone(args), "podMonitor.enabled=true")
	out, err := r.Helm(t, service...)
	for _, want := range []string{`no matches for kind "ServiceMonitor" in version "monitoring.coreos.com/v1"`, "ensure CRDs are installed first"} {
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("without CRDs: %v\n%s\nwant %s", err, out, want)
		}
	}
	r.mustBeEmpty(t)
	monitoring(t, c)
	for monitor, args := range map[string][]string{"ServiceMonitor groupsync": service, "PodMonitor groupsync": pod} {
		r := newRelease(t, c)
		r.MustHelm(t, args...)
		got := r.mustHave(t)
		for _, want := range []string{monitor, "PrometheusRule groupsync"} {
			if !slices.Contains(got, want) {
				t.Errorf("%s is not there: %v", want, got)
			}
		}
	}
}

// monitoring installs the CRDs of the Prometheus operator.
func monitoring(t *testing.T, c *kubetest.Cluster) {
	t.Helper()
	dir := program(t, "KUBESCHEMAS")
	for _, plural := range []string{"podmonitors", "prometheusrules", "servicemonitors"} {
		crd, err := os.ReadFile(filepath.Join(dir, "monitoring", plural+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		c.Apply(t, string(crd))
		for deadline := time.Now().Add(30 * time.Second); !served(t, c, plural); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the CRD of %s is not served", plural)
			}
		}
	}
}

func served(t *testing.T, c *kubetest.Cluster, plural string) bool {
	t.Helper()
	status, _ := c.Try(t, http.MethodGet, "/apis/monitoring.coreos.com/v1/"+plural, nil)
	if status != http.StatusOK {
		return false
	}
	_, resources := c.Try(t, http.MethodGet, "/apis/monitoring.coreos.com/v1", nil)
	return strings.Contains(string(resources), `"`+plural+`"`)
}
