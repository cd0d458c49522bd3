// Command schemas writes JSON Schemas below the directory that is its argument. With these schemas
// kubeconform checks the manifests that the chart renders. kubeconform alone would download its
// schemas. This command makes them from Go modules: from the OpenAPI description of the Kubernetes
// API, in two versions, and from the CRDs of the Prometheus operator. The schemas are strict: they
// refuse a field that is not described. They contain no descriptions of fields.
//
// The files are named KUBERNETES_VERSION/KIND-GROUP-VERSION.json. The schemas of the CRDs are in
// monitoring/. The CRDs themselves are there too, as PLURAL.yaml, for tests with a real API server.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// module is a pinned Go module. Only its data files are read.
type module struct{ path, version, sum string }

var (
	kubernetes = []module{
		{"k8s.io/kubernetes", "v1.33.4", "h1:T1d5FLUYm3/KyUeV7YJhKTR980zHCHb7K2xhCSo3lE8="},
		{"k8s.io/kubernetes", "v1.35.4", "h1:o/8dBC/pHVpYoGV4OAIytAlNPZbdYVTXJHoYvXC4qzM="},
	}
	operator = module{"github.com/prometheus-operator/prometheus-operator", "v0.85.0", "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s="}
)

// kinds lists the Kubernetes kinds that the chart may render, by the group in apiVersion.
var kinds = map[string][]string{
	"":                          {"ConfigMap", "PersistentVolumeClaim", "Pod", "Secret", "Service", "ServiceAccount"},
	"apps":                      {"Deployment"},
	"coordination.k8s.io":       {"Lease"},
	"networking.k8s.io":         {"NetworkPolicy"},
	"policy":                    {"PodDisruptionBudget"},
	"rbac.authorization.k8s.io": {"Role", "RoleBinding"},
}

// resources are the plural names of the kinds of the Prometheus operator that the chart may render.
var resources = []string{"podmonitors", "prometheusrules", "servicemonitors"}

// schema is a JSON Schema, or a part of one.
type schema = map[string]any

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: schemas DIRECTORY")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "schemas:", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	for _, m := range kubernetes {
		if err := writeKubernetes(filepath.Join(dir, m.version), m); err != nil {
			return fmt.Errorf("%s: %w", m.version, err)
		}
	}
	return writeOperator(filepath.Join(dir, "monitoring"))
}

// fetch returns the directory of the module. Go verifies the module against its checksum
// database, and fetch checks the sum against the pin.
func (m module) fetch() (string, error) {
	cmd := exec.Command("go", "mod", "download", "-json", m.path+"@"+m.version)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	var got struct{ Dir, Sum, Error string }
	if e := json.Unmarshal(out, &got); e != nil || got.Error != "" {
		return "", fmt.Errorf("downloading %s: %w %s", m.path, errors.Join(err, e), got.Error)
	}
	if got.Sum != m.sum {
		return "", fmt.Errorf("%s %s has the sum %s, not %s: correct the pin", m.path, m.version, got.Sum, m.sum)
	}
	return got.Dir, nil
}

func writeKubernetes(dir string, m module) error {
	from, err := m.fetch()
	if err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(from, "api", "openapi-spec", "swagger.json"))
	if err != nil {
		return err
	}
	var api struct {
		Definitions map[string]schema `json:"definitions"`
	}
	if err := json.Unmarshal(data, &api); err != nil {
		return err
	}
	left := maps.Clone(kinds)
	for _, name := range slices.Sorted(maps.Keys(api.Definitions)) {
		group, version, kind := identify(api.Definitions[name])
		at := slices.Index(left[group], kind)
		if at < 0 || version != "v1" {
			continue
		}
		left[group] = slices.Delete(slices.Clone(left[group]), at, at+1)
		if err := save(dir, group, version, kind, standalone(api.Definitions, name)); err != nil {
			return err
		}
	}
	for group, missing := range left {
		if len(missing) > 0 {
			return fmt.Errorf("there is no %s of the group %q", strings.Join(missing, ", "), group)
		}
	}
	return nil
}

// identify returns the group, version and kind that a definition describes. They are empty if
// it describes no kind or more than one.
func identify(s schema) (group, version, kind string) {
	list, _ := s["x-kubernetes-group-version-kind"].([]any)
	if len(list) != 1 { // such as DeleteOptions, which belongs to many groups, or a part of a kind
		return "", "", ""
	}
	gvk := list[0].(schema)
	return gvk["group"].(string), gvk["version"].(string), gvk["kind"].(string)
}

// standalone returns a definition with all definitions that it refers to.
func standalone(all map[string]schema, name string) schema {
	needed := schema{}
	var need func(name string)
	need = func(name string) {
		if _, is := needed[name]; is {
			return
		}
		needed[name] = nil // marks the definition as seen, so that definitions that refer to each other end the recursion
		s := strict(all[name], need)
		switch name {
		case "io.k8s.apimachinery.pkg.util.intstr.IntOrString":
			s = schema{"type": []string{"string", "integer"}}
		case "io.k8s.apimachinery.pkg.api.resource.Quantity":
			s = schema{"type": []string{"string", "number"}}
		}
		needed[name] = s
	}
	need(name)
	return schema{"$ref": "#/definitions/" + name, "definitions": needed}
}

// strict returns the schema without descriptions, and with the rule that an object has only the
// described properties. strict calls refers with the name of each definition that the schema refers
// to.
func strict(s schema, refers func(name string)) schema {
	out := schema{}
	for key, v := range s {
		switch {
		case key == "description", strings.HasPrefix(key, "x-kubernetes-"), key == "default":
		case key == "$ref":
			refers(strings.TrimPrefix(v.(string), "#/definitions/"))
			out[key] = v
		case key == "properties":
			properties := schema{}
			for name, p := range v.(schema) {
				properties[name] = strict(p.(schema), refers)
			}
			out[key] = properties
		default:
			out[key] = below(v, refers)
		}
	}
	_, described := s["properties"]
	_, more := s["additionalProperties"]
	if described && !more && s["x-kubernetes-preserve-unknown-fields"] != true {
		out["additionalProperties"] = false
	}
	return out
}

// below applies strict to a value inside a schema: to a schema, or to each schema in a list. It
// returns any other value unchanged.
func below(v any, refers func(string)) any {
	switch v := v.(type) {
	case schema:
		return strict(v, refers)
	case []any:
		list := make([]any, 0, len(v))
		for _, item := range v {
			list = append(list, below(item, refers))
		}
		return list
	default:
		return v
	}
}

func writeOperator(dir string) error {
	from, err := operator.fetch()
	if err != nil {
		return err
	}
	for _, plural := range resources {
		data, err := os.ReadFile(filepath.Join(from, "example", "prometheus-operator-crd", "monitoring.coreos.com_"+plural+".yaml"))
		if err != nil {
			return err
		}
		var crd struct {
			Spec struct {
				Group    string
				Names    struct{ Kind string }
				Versions []struct {
					Name   string
					Schema struct{ OpenAPIV3Schema schema }
				}
			}
		}
		if err := yaml.Unmarshal(data, &crd); err != nil {
			return fmt.Errorf("%s: %w", plural, err)
		}
		for _, v := range crd.Spec.Versions {
			if err := save(dir, crd.Spec.Group, v.Name, crd.Spec.Names.Kind, strict(v.Schema.OpenAPIV3Schema, nil)); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(dir, plural+".yaml"), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// save writes a schema to a file in dir with the name that kubeconform looks for.
func save(dir, group, version, kind string, s schema) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	name := strings.ToLower(kind)
	if first, _, _ := strings.Cut(group, "."); first != "" {
		name += "-" + first
	}
	s["$schema"] = "http://json-schema.org/draft-07/schema#"
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+"-"+version+".json"), data, 0o644)
}
