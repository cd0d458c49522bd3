package groupsync_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"groupsync/internal/processtest"
)

// least holds the values that every installation must set. The tests add to it.
const least = "testdata/shapes/observe.yaml"

// program returns the path of a tool that reads the chart.
func program(t *testing.T, variable string) string {
	t.Helper()
	path := processtest.Tool(t, variable)
	processtest.Inputs(t, ".")
	return path
}

// helm returns the stdout and the stderr of the client.
func helm(t *testing.T, args ...string) (out, complaint string, err error) {
	t.Helper()
	cmd := exec.Command(program(t, "HELM"), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	return stdout.String(), stderr.String(), err
}

// rendered returns what is installed with least and further arguments.
func rendered(t *testing.T, args ...string) string {
	t.Helper()
	out, complaint, err := helm(t, append([]string{"template", "release", ".", "--namespace", "clearml", "-f", least}, args...)...)
	if err != nil {
		t.Fatalf("helm template %s: %v\n%s", strings.Join(args, " "), err, complaint)
	}
	return out
}

// manifest is the part of a rendered Kubernetes object that the tests read.
type manifest struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct {
		Name                string
		Labels, Annotations map[string]string
	}
	Spec       object
	Rules      []object
	Data       map[string]string
	StringData map[string]string `yaml:"stringData"`
}

// manifests returns the objects by kind. If there are several of a kind, the end of the name
// follows the kind.
func manifests(t *testing.T, text string) map[string]manifest {
	t.Helper()
	all := make(map[string]manifest)
	d := yaml.NewDecoder(strings.NewReader(text))
	for {
		var m manifest
		switch err := d.Decode(&m); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatalf("%v\n%s", err, text)
		}
		key := m.Kind
		for _, suffix := range []string{"memory", "dashboard", "web", "check", "test"} {
			if strings.HasSuffix(m.Metadata.Name, "-"+suffix) {
				key += " " + suffix
			}
		}
		if _, twice := all[key]; twice {
			t.Fatalf("there are two of %s", key)
		}
		all[key] = m
	}
}

// at returns the value at a path of keys and indices.
func at(t *testing.T, v any, keys ...any) any {
	t.Helper()
	for _, key := range keys {
		switch key := key.(type) {
		case string:
			v = v.(object)[key]
		case int:
			v = v.([]any)[key]
		}
	}
	return v
}

// shapes returns the files of values that are rendered completely.
func shapes(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/shapes/*.yaml")
	if err != nil || len(files) < 6 {
		t.Fatalf("there are %d shapes (%v)", len(files), err)
	}
	return files
}

func TestTheChartPassesLint(t *testing.T) {
	for _, args := range append([]string{""}, shapes(t)...) {
		command := []string{"lint", "--strict", "."}
		if args != "" {
			command = append(command, "-f", args)
		}
		if out, complaint, err := helm(t, command...); err != nil {
			t.Errorf("%s: %v\n%s%s", args, err, out, complaint)
		}
	}
}

// TestThePackage checks that the package contains everything that is installed, and no tests.
func TestThePackage(t *testing.T) {
	dir := t.TempDir()
	if _, complaint, err := helm(t, "package", ".", "--destination", dir); err != nil {
		t.Fatalf("%v\n%s", err, complaint)
	}
	packed, err := os.Open(filepath.Join(dir, "groupsync-0.1.0.tgz"))
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	z, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if name := strings.TrimPrefix(h.Name, "groupsync/"); !strings.HasPrefix(name, "templates/") {
			got = append(got, name)
		}
	}
	slices.Sort(got)
	want := []string{".helmignore", "Chart.yaml", "README.md", "files/dashboard.json", "files/rules.yaml", "values.schema.json", "values.yaml"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestTheShapesRenderAsBefore shows a change of what is installed as a change of a file, for
// the review.
func TestTheShapesRenderAsBefore(t *testing.T) {
	for _, shape := range shapes(t) {
		golden := filepath.Join("testdata", "golden", filepath.Base(shape))
		got := abridged(rendered(t, "-f", shape))
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), got); d != "" {
			t.Errorf("%s: -before +now; run go test ./charts/groupsync -update where it is meant\n%s", shape, d)
		}
	}
}

// abridged leaves out the rules and the dashboard. Other tests compare these with their
// source.
func abridged(text string) string {
	documents := strings.Split(text, "\n---\n")
	for i, d := range documents {
		for kind, line := range map[string]string{"\nkind: PrometheusRule\n": "\nspec:\n", "-dashboard\n": "\n  groupsync.json: |\n"} {
			if head, _, is := strings.Cut(d, line); is && strings.Contains(d, kind) {
				documents[i] = head + line + "    # as in files/"
			}
		}
	}
	return strings.Join(documents, "\n---\n")
}

// kubeconform returns the output of kubeconform for the manifests.
func kubeconform(t *testing.T, version, text string) (string, error) {
	t.Helper()
	tool, schemas := program(t, "KUBECONFORM"), program(t, "KUBESCHEMAS")
	const name = "{{.ResourceKind}}{{.KindSuffix}}.json"
	cmd := exec.Command(tool, "-strict", "-summary", "-kubernetes-version", version,
		"-schema-location", filepath.Join(schemas, "{{.NormalizedKubernetesVersion}}", name),
		"-schema-location", filepath.Join(schemas, "monitoring", name), "-")
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// kubernetes are the versions for which tools/kubeconform has schemas.
var kubernetes = []string{"1.33.4", "1.35.4"}

func TestTheManifestsAreWhatKubernetesTakes(t *testing.T) {
	for _, shape := range shapes(t) {
		text := rendered(t, "-f", shape)
		want := fmt.Sprintf("Summary: %d resources found parsing stdin - Valid: %[1]d, Invalid: 0, Errors: 0, Skipped: 0", len(manifests(t, text)))
		for _, version := range kubernetes {
			if out, err := kubeconform(t, version, text); err != nil || !strings.Contains(out, want) {
				t.Errorf("%s on %s: %v\n%s\nwant %s", shape, version, err, out, want)
			}
		}
	}
}

// TestNamesThatLookLikeNumbers: names that look like numbers stay texts.
func TestNamesThatLookLikeNumbers(t *testing.T) {
	names := "existingSecret=123,secretKeys.clientSecret=1,secretKeys.accessKey=true,secretKeys.secretKey=null,priorityClassName=7," +
		"serviceAccount.name=1e3,clearmlEnv.secret=0,clearmlEnv.key=on,caBundle.configMap=077,caBundle.key=y,webConfig.existingSecret=8,webConfig.key=9,webConfig.tlsSecret=10,image.tag=1.0"
	for _, how := range []string{"replicas=2", "leaderElection.enabled=false,state.enabled=true"} {
		text := rendered(t, "--set", how, "--set-string", names+",state.existingClaim=77")
		for _, version := range kubernetes {
			if out, err := kubeconform(t, version, text); err != nil {
				t.Errorf("%s, %s: %v\n%s", how, version, err, out)
			}
		}
	}
	for _, name := range []string{"on", "123"} {
		text, complaint, err := helm(t, "template", name, ".", "-f", least, "--set", "fullnameOverride=sync")
		if err != nil {
			t.Fatalf("%v\n%s", err, complaint)
		}
		if out, err := kubeconform(t, kubernetes[0], text); err != nil {
			t.Errorf("a release called %s: %v\n%s", name, err, out)
		}
	}
}

// TestKubeconformSeesWhatIsWrong: the schemas are strict, so kubeconform finds these mistakes.
func TestKubeconformSeesWhatIsWrong(t *testing.T) {
	text := rendered(t, "-f", "testdata/shapes/apply.yaml")
	for _, tt := range []struct{ name, old, new, want string }{
		{"an unknown field of a pod", "enableServiceLinks: false", "enableServiceLink: false", "at '/spec/template/spec': additional properties 'enableServiceLink' not allowed"},
		{"a number for a text", "  type: ClusterIP", "  type: 1", "at '/spec/type': got number, want string"},
		{"a kind that there is not", "kind: Deployment", "kind: Deploymint", "could not find schema for Deploymint"},
		{"an unknown field of the operator's", "selector:\n    matchLabels:\n      app.kubernetes.io/name: \"groupsync\"\n      app.kubernetes.io/instance: \"release\"\n  endpoints", "selectors: {}\n  endpoints", "at '/spec': missing property 'selector'"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			broken := strings.ReplaceAll(text, tt.old, tt.new)
			if broken == text {
				t.Fatalf("%q is not there", tt.old)
			}
			for _, version := range kubernetes {
				if out, err := kubeconform(t, version, broken); err == nil || !strings.Contains(out, tt.want) {
					t.Errorf("%s: %v\n%s\nwant %s", version, err, out, tt.want)
				}
			}
		})
	}
}

// TestTheSwitches: each part is rendered exactly when its switch is on, and every object
// belongs to the release.
func TestTheSwitches(t *testing.T) {
	always := []string{"ConfigMap", "ConfigMap memory", "Deployment", "Lease", "Pod check", "Pod test", "Role", "RoleBinding", "Service", "ServiceAccount"}
	alone := []string{"ConfigMap", "Deployment", "Pod check", "Pod test", "Service", "ServiceAccount"}
	for _, tt := range []struct {
		name, set string
		want      []string
	}{
		{"by default", "", always},
		{"created secret", "existingSecret=,secret.create=true,secret.clientSecret=a,secret.accessKey=b,secret.secretKey=c", append(slices.Clone(always), "Secret")},
		{"service monitor", "serviceMonitor.enabled=true", append(slices.Clone(always), "ServiceMonitor")},
		{"pod monitor", "podMonitor.enabled=true", append(slices.Clone(always), "PodMonitor")},
		{"rules", "prometheusRule.enabled=true", append(slices.Clone(always), "PrometheusRule")},
		{"dashboard", "dashboard.enabled=true", append(slices.Clone(always), "ConfigMap dashboard")},
		{"network policy", "networkPolicy.enabled=true", append(slices.Clone(always), "NetworkPolicy")},
		{"disruption budget", "podDisruptionBudget.enabled=true", append(slices.Clone(always), "PodDisruptionBudget")},
		{"web configuration", "webConfig.config.basic_auth_users.ops=x", append(slices.Clone(always), "Secret web")},
		{"no leader election", "leaderElection.enabled=false", alone},
		{"a Lease that groupsync makes", "leaderElection.create=false", slices.DeleteFunc(slices.Clone(always), func(s string) bool { return s == "Lease" || s == "ConfigMap memory" })},
		{"a volume", "leaderElection.enabled=false,state.enabled=true", append(slices.Clone(alone), "PersistentVolumeClaim")},
		{"a volume that is there", "leaderElection.enabled=false,state.enabled=true,state.existingClaim=mine", alone},
		{"no test", "leaderElection.enabled=false,test.enabled=false", []string{"ConfigMap", "Deployment", "Service", "ServiceAccount"}},
		{"an account that is there", "leaderElection.enabled=false,serviceAccount.create=false,serviceAccount.name=", []string{"ConfigMap", "Deployment", "Pod check", "Pod test", "Service"}},
		{"rights that are given elsewhere", "rbac.create=false", slices.DeleteFunc(slices.Clone(always), func(s string) bool { return strings.HasPrefix(s, "Role") })},
	} {
		got := manifests(t, rendered(t, "--set", tt.set))
		slices.Sort(tt.want)
		if kinds := slices.Sorted(maps.Keys(got)); !slices.Equal(kinds, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, kinds, tt.want)
		}
		for kind, m := range got {
			if m.Metadata.Labels["app.kubernetes.io/instance"] != "release" {
				t.Errorf("%s: the %s does not say of which release it is", tt.name, kind)
			}
		}
	}
}

// TestOneReplicaCanWrite: with leader election, the Role allows one Lease and one ConfigMap,
// and both exist. Without leader election there is no token, and the old pod ends before the
// new one begins.
func TestOneReplicaCanWrite(t *testing.T) {
	all := manifests(t, rendered(t, "--set", "replicas=2"))
	want := []object{
		{"apiGroups": []any{"coordination.k8s.io"}, "resources": []any{"leases"}, "resourceNames": []any{"release-groupsync"}, "verbs": []any{"get", "update"}},
		{"apiGroups": []any{""}, "resources": []any{"configmaps"}, "resourceNames": []any{"release-groupsync-memory"}, "verbs": []any{"get", "update"}},
		{"apiGroups": []any{""}, "resources": []any{"events"}, "verbs": []any{"create"}},
	}
	if d := cmp.Diff(want, all["Role"].Rules); d != "" {
		t.Errorf("the Role: -want +got\n%s", d)
	}
	if d := cmp.Diff(object{}, all["Lease"].Spec); d != "" || all["Lease"].Metadata.Name != "release-groupsync" {
		t.Errorf("the Lease %s: -empty +got\n%s", all["Lease"].Metadata.Name, d)
	}
	if m, is := all["ConfigMap memory"]; !is || m.Data != nil {
		t.Errorf("the memory is there: %t, and holds %v", is, m.Data)
	}
	if got := all["ConfigMap"].Data["config.yaml"]; !strings.Contains(got, "lease:\n  name: release-groupsync\n") {
		t.Errorf("the configuration names no Lease:\n%s", got)
	}
	alone := manifests(t, rendered(t, "--set", "leaderElection.enabled=false"))
	for _, tt := range []struct {
		of       manifest
		token    bool
		strategy string
	}{{all["Deployment"], true, "RollingUpdate"}, {alone["Deployment"], false, "Recreate"}} {
		if got := at(t, tt.of.Spec, "template", "spec", "automountServiceAccountToken"); got != tt.token {
			t.Errorf("%s: a token is mounted: %v", tt.strategy, got)
		}
		if got := at(t, tt.of.Spec, "strategy", "type"); got != tt.strategy {
			t.Errorf("got the strategy %v, want %s", got, tt.strategy)
		}
	}
}

// TestThePodsAreRestricted: the pods satisfy the Pod Security Standard. Another test uses the
// real admission.
func TestThePodsAreRestricted(t *testing.T) {
	for _, shape := range shapes(t) {
		for kind, m := range manifests(t, rendered(t, "-f", shape)) {
			pod := m.Spec
			switch m.Kind {
			case "Deployment":
				pod = at(t, m.Spec, "template", "spec").(object)
			case "Pod":
			default:
				continue
			}
			got := []any{
				at(t, pod, "securityContext", "runAsNonRoot"), at(t, pod, "securityContext", "seccompProfile", "type"),
				at(t, pod, "containers", 0, "securityContext", "allowPrivilegeEscalation"),
				at(t, pod, "containers", 0, "securityContext", "capabilities", "drop", 0),
				at(t, pod, "containers", 0, "securityContext", "readOnlyRootFilesystem"),
			}
			if d := cmp.Diff([]any{true, "RuntimeDefault", false, "ALL", true}, got); d != "" {
				t.Errorf("%s, %s: -want +got\n%s", shape, kind, d)
			}
		}
	}
}

// TestTheServiceFindsTheDaemonOnly: the Service does not select the pods of helm test.
func TestTheServiceFindsTheDaemonOnly(t *testing.T) {
	all := manifests(t, rendered(t))
	selector := at(t, all["Service"].Spec, "selector").(object)
	matches := func(labels map[string]string) bool {
		for name, value := range selector {
			if labels[name] != value {
				return false
			}
		}
		return true
	}
	daemon := make(map[string]string)
	for name, value := range at(t, all["Deployment"].Spec, "template", "metadata", "labels").(object) {
		daemon[name] = value.(string)
	}
	if !matches(daemon) || matches(all["Pod check"].Metadata.Labels) || matches(all["Pod test"].Metadata.Labels) {
		t.Errorf("%v finds the daemon's pods: %t, the check's: %t, the test's: %t", selector, matches(daemon), matches(all["Pod check"].Metadata.Labels), matches(all["Pod test"].Metadata.Labels))
	}
}

// TestHelmTestChecksAndMakesAPass: helm test first runs the check, then a pass that writes
// nothing.
func TestHelmTestChecksAndMakesAPass(t *testing.T) {
	all := manifests(t, rendered(t, "--set", "extraArgs={--log.level=debug}"))
	const config = "--config=/etc/groupsync/config/config.yaml"
	for i, want := range []struct {
		pod  string
		args []any
	}{
		{"Pod check", []any{"check", config, "--log.level=debug"}},
		{"Pod test", []any{config, "--log.level=debug", "--once", "--drift-ok"}},
	} {
		pod := all[want.pod]
		if args := at(t, pod.Spec, "containers", 0, "args").([]any); !slices.Equal(args, want.args) {
			t.Errorf("%s runs %q, want %q", want.pod, args, want.args)
		}
		if weight := pod.Metadata.Annotations["helm.sh/hook-weight"]; weight != strconv.Itoa(i) {
			t.Errorf("%s has the weight %q, want %d", want.pod, weight, i)
		}
	}
}

// TestTheOperatorsLabelsAndAnnotationsAreAdded: they are added. They cannot change the labels
// by which pods are found, or the annotations whose change replaces pods.
func TestTheOperatorsLabelsAndAnnotationsAreAdded(t *testing.T) {
	all := manifests(t, rendered(t, "--set-json", `podLabels={"team":"ml","app.kubernetes.io/name":"other","app.kubernetes.io/component":"other"}`,
		"--set-json", `podAnnotations={"team":"ml","checksum/config":"0","helm.sh/hook":"other"}`))
	pod := at(t, all["Deployment"].Spec, "template", "metadata").(object)
	labels, annotations, test := pod["labels"].(object), pod["annotations"].(object), all["Pod test"].Metadata
	for name, want := range at(t, all["Deployment"].Spec, "selector", "matchLabels").(object) {
		if labels[name] != want {
			t.Errorf("the label %s of the daemon's pods: got %v, want %v", name, labels[name], want)
		}
	}
	if labels["team"] != "ml" || test.Labels["team"] != "ml" || test.Labels["app.kubernetes.io/component"] != "test" {
		t.Errorf("the daemon's pods have %v, the test's %v", labels, test.Labels)
	}
	if annotations["team"] != "ml" || len(annotations["checksum/config"].(string)) < 64 || test.Annotations["team"] != "ml" || test.Annotations["helm.sh/hook"] != "test" {
		t.Errorf("the daemon's pods have %v, the test's %v", annotations, test.Annotations)
	}
}

// TestThePolicysPorts: the ports are those of the URLs, unless the values name others.
func TestThePolicysPorts(t *testing.T) {
	for _, tt := range []struct {
		name, set string
		want      []any
	}{
		{"of the schemes", "config.keycloak.url=http://auth.example.com/auth", []any{53, 53, 80, 443, 443, 6443}},
		{"of the URLs", "config.keycloak.url=https://auth.example.com:8443,config.clearml.url=http://[fd00::1]:8008", []any{53, 53, 8443, 8008, 443, 6443}},
		{"of the values", "networkPolicy.keycloak.ports={8080,8443},networkPolicy.clearml.ports={8008}", []any{53, 53, 8080, 8443, 8008, 443, 6443}},
		{"of a DNS elsewhere", "networkPolicy.dns.ports={5353}", []any{5353, 5353, 443, 443, 443, 6443}},
		{"no API server without leader election", "leaderElection.enabled=false", []any{53, 53, 443, 443}},
	} {
		policy := manifests(t, rendered(t, "--set", "networkPolicy.enabled=true", "--set", tt.set))["NetworkPolicy"]
		var got []any
		for _, rule := range at(t, policy.Spec, "egress").([]any) {
			for _, port := range at(t, rule, "ports").([]any) {
				got = append(got, at(t, port, "port"))
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestTheRulesAreTheFile: the PrometheusRule has exactly the rules that promtool tests, except
// for the address of the runbook.
func TestTheRulesAreTheFile(t *testing.T) {
	data, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	const base = "https://docs.example.com/groupsync"
	for _, tt := range []struct{ name, set, file string }{
		{"as they are", "prometheusRule.enabled=true", string(data)},
		{"with links to where the runbook is", "prometheusRule.enabled=true,prometheusRule.runbookBase=" + base + "/", strings.ReplaceAll(string(data), "docs/runbook.md#", base+"/runbook.md#")},
	} {
		var want object
		if err := yaml.Unmarshal([]byte(tt.file), &want); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, manifests(t, rendered(t, "--set", tt.set))["PrometheusRule"].Spec); d != "" {
			t.Errorf("%s: -file +rendered\n%s", tt.name, d)
		}
	}
}

// TestTheRulesAsTheOperatorWantsThem: one alert waits longer, one has another severity, and
// one is left out. The others are unchanged.
func TestTheRulesAsTheOperatorWantsThem(t *testing.T) {
	var want object
	readYAML(t, rulesFile, &want)
	group := want["groups"].([]any)[0].(object)
	group["rules"] = slices.DeleteFunc(group["rules"].([]any), func(r any) bool {
		switch r := r.(object); r["alert"] {
		case "GroupsyncAdminDrift":
			r["for"] = "4h"
		case "GroupsyncStale":
			r["labels"].(object)["severity"] = "page"
		case "GroupsyncPendingOld":
			return true
		}
		return false
	})
	got := manifests(t, rendered(t, "--set", "prometheusRule.enabled=true", "--set-json",
		`prometheusRule.alerts={"GroupsyncAdminDrift":{"for":"4h"},"GroupsyncStale":{"severity":"page","enabled":true},"GroupsyncPendingOld":{"enabled":false}}`))["PrometheusRule"].Spec
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// TestTheDashboardIsTheFile: the rendered dashboard is the file, byte for byte.
func TestTheDashboardIsTheFile(t *testing.T) {
	want, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	got := manifests(t, rendered(t, "--set", "dashboard.enabled=true"))["ConfigMap dashboard"].Data["groupsync.json"]
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("-file +rendered\n%s", d)
	}
}

// TestTheNotes: the notes say whether groupsync writes, and what to do next. helm template
// prints no notes, so a copy of the chart has them in a manifest.
func TestTheNotes(t *testing.T) {
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(".")); err != nil {
		t.Fatal(err)
	}
	notes, err := os.ReadFile("templates/NOTES.txt")
	if err != nil {
		t.Fatal(err)
	}
	const wrap = "kind: ConfigMap\ndata:\n  notes: |\n    {{- tpl (.Files.Get \"notes\") . | nindent 4 }}\n"
	for name, text := range map[string]string{"notes": string(notes), "templates/notes.yaml": wrap} {
		if err := os.WriteFile(filepath.Join(copied, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name, set string
		want, not []string
	}{
		{"watching", "", []string{"release-groupsync OBSERVES: it reads", "writes\nnothing until config.mode is apply", "logs deployment/release-groupsync", "helm test release -n clearml --logs", "helm upgrade release CHART -n clearml -f VALUES", "kubectl -n clearml exec deployment/release-groupsync -- /groupsync suspend --for 2h --reason WHY --config=/etc/groupsync/config/config.yaml\n", "No ServiceMonitor and no PodMonitor", "only the log of the pods records what groupsync changed", "`groupsync history` needs state.enabled"}, []string{"APPLIES", "replicas", "loses"}},
		{"writing", "config.mode=apply,replicas=2,podMonitor.enabled=true", []string{"release-groupsync APPLIES: on schedule it mirrors", "One of the 2 replicas", "get lease release-groupsync"}, []string{"OBSERVES", "helm upgrade", "No ServiceMonitor"}},
		{"without a memory", "leaderElection.enabled=false", []string{"A restart loses the guards' memory", "only the log of the pods records what groupsync changed"}, []string{"suspend"}},
		{"with a volume", "leaderElection.enabled=false,state.enabled=true", []string{"release-groupsync OBSERVES"}, []string{"loses", "only the log"}},
		{"without the test", "test.enabled=false", []string{"what it would do:"}, []string{"helm test"}},
		{"stopped", "replicas=0", []string{"There are 0 replicas, so nothing runs."}, nil},
	} {
		out, complaint, err := helm(t, "template", "release", copied, "--namespace", "clearml", "-f", least, "--set", tt.set, "--show-only", "templates/notes.yaml")
		if err != nil {
			t.Fatalf("%v\n%s", err, complaint)
		}
		got := manifests(t, out)["ConfigMap"].Data["notes"]
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q is not said:\n%s", tt.name, want, got)
			}
		}
		for _, not := range tt.not {
			if strings.Contains(got, not) {
				t.Errorf("%s: %q is said:\n%s", tt.name, not, got)
			}
		}
	}
}
