package groupsync_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"groupsync/internal/config"
)

const (
	schemaFile = "values.schema.json"
	readmeFile = "README.md"
)

// value is one value of values.yaml: its path, its node, and its comment.
type value struct {
	path        string
	node        *yaml.Node
	description string
}

// described returns the values of a document in its order. A section comes before its values.
// A section that is written in one line counts as a value.
func described(t *testing.T, file string) []value {
	t.Helper()
	var doc yaml.Node
	readYAML(t, file, &doc)
	var all []value
	var below func(path string, n *yaml.Node)
	below = func(path string, n *yaml.Node) {
		for i := 0; i < len(n.Content); i += 2 {
			key, v := n.Content[i], n.Content[i+1]
			all = append(all, value{path + key.Value, v, comment(key.LineComment, v.LineComment, key.HeadComment)})
			if v.Kind == yaml.MappingNode && v.Style&yaml.FlowStyle == 0 {
				below(path+key.Value+".", v)
			}
		}
	}
	below("", doc.Content[0])
	return all
}

// comment returns the first text that is not empty, without the comment marks. The text at a
// key can begin with a paragraph about the whole file, which is left out.
func comment(texts ...string) string {
	for _, text := range texts {
		if text == "" {
			continue
		}
		paragraphs := strings.Split(text, "\n\n")
		var words []string
		for line := range strings.Lines(paragraphs[len(paragraphs)-1]) {
			words = append(words, strings.TrimSpace(strings.TrimLeft(line, "# ")))
		}
		return strings.Join(words, " ")
	}
	return ""
}

// part returns the schema of a value. It returns nil if a section above the value has a free
// form.
func part(root object, path string) object {
	for _, name := range strings.Split(path, ".") {
		properties, _ := root["properties"].(object)
		if root, _ = properties[name].(object); root == nil {
			return nil
		}
	}
	return root
}

// finished returns the schema with what is known elsewhere. The schema of the configuration
// comes from its Go type, and the descriptions come from the comments. It also says that a
// default may not be deleted with null.
func finished(t *testing.T, data []byte) []byte {
	t.Helper()
	var root object
	if err := json.Unmarshal(data, &root); err != nil {
		t.Fatal(err)
	}
	root["properties"].(object)["config"] = throughJSON(t, config.Schema())
	for _, v := range described(t, "values.yaml") {
		if p := part(root, v.path); p != nil && v.description != "" {
			p["description"] = v.description
		}
	}
	for _, v := range described(t, "../../config.example.yaml") {
		if p := part(root, "config."+v.path); p != nil && v.description != "" {
			p["description"] = v.description
		}
	}
	require(root, "", emptyDefaults(t))
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(root); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// throughJSON returns the value as it is after a trip through JSON.
func throughJSON(t *testing.T, v any) (out object) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// emptyDefaults returns the lists and mappings of values.yaml that are empty. A null, such as
// a key without a value, means the same.
func emptyDefaults(t *testing.T) map[string]bool {
	t.Helper()
	all := make(map[string]bool)
	for _, v := range described(t, "values.yaml") {
		if v.node.Kind != yaml.ScalarNode && len(v.node.Content) == 0 {
			all[v.path] = true
		}
	}
	return all
}

// require marks every value as required that has a default which is not empty. It leaves out
// the configuration, which has its own schema.
func require(section object, path string, empty map[string]bool) {
	properties, _ := section["properties"].(object)
	var names []string
	for name, p := range properties {
		if path+name != "global" && !empty[path+name] {
			names = append(names, name)
		}
		if p := p.(object); path+name != "config" && !empty[path+name] && p["additionalProperties"] == false {
			require(p, path+name+".", empty)
		}
	}
	slices.Sort(names)
	section["required"] = names
}

// TestAnEmptyValueMayBeNull: null renders the same as an empty value, for each of these values
// and for all together.
func TestAnEmptyValueMayBeNull(t *testing.T) {
	everything := []string{"--set", "dashboard.enabled=true,networkPolicy.enabled=true,serviceMonitor.enabled=true,prometheusRule.enabled=true,podDisruptionBudget.enabled=true"}
	want, together := rendered(t, everything...), everything
	for _, name := range slices.Sorted(maps.Keys(emptyDefaults(t))) {
		null := []string{"--set", name + "=null"}
		together = append(together, null...)
		if d := cmp.Diff(want, rendered(t, append(null, everything...)...)); d != "" {
			t.Errorf("%s: null is something: -want +got\n%s", name, d)
		}
	}
	if d := cmp.Diff(want, rendered(t, together...)); d != "" {
		t.Errorf("all at once: -want +got\n%s", d)
	}
}

// TestTheSchemaOfTheValues: the schema follows from the Go type of the configuration and from
// the comments.
func TestTheSchemaOfTheValues(t *testing.T) {
	data, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	want := finished(t, data)
	if *update {
		if err := os.WriteFile(schemaFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
		data = want
	}
	if d := cmp.Diff(string(want), string(data)); d != "" {
		t.Errorf("%s is not what the sources say; run go test ./charts/groupsync -update\n%s", schemaFile, d)
	}
}

// TestTheSchemaHasTheValues: each default is in the schema and has a description. The schema
// has no value without a default.
func TestTheSchemaHasTheValues(t *testing.T) {
	var root object
	readYAML(t, schemaFile, &root) // JSON is YAML
	known := leaves("", root)
	for _, v := range described(t, "values.yaml") {
		if part(root, v.path) == nil && !inFreeSection(root, v.path) {
			t.Errorf("%s has a default and is not in %s", v.path, schemaFile)
		}
		if v.description == "" && !inFreeSection(root, v.path) {
			t.Errorf("%s has no comment in values.yaml", v.path)
		}
		for name := range known {
			if name == v.path || strings.HasPrefix(name, v.path+".") && v.node.Style&yaml.FlowStyle != 0 {
				delete(known, name)
			}
		}
	}
	for name := range known {
		t.Errorf("%s is in %s and has no default in values.yaml", name, schemaFile)
	}
}

// leaves returns the values of a schema that are not sections. It leaves out those of the
// configuration and of Helm.
func leaves(path string, section object) map[string]bool {
	all := make(map[string]bool)
	for name, p := range section["properties"].(object) {
		switch p := p.(object); {
		case path == "" && (name == "config" || name == "global"):
		case p["properties"] != nil && p["additionalProperties"] == false:
			maps.Copy(all, leaves(path+name+".", p))
		default:
			all[path+name] = true
		}
	}
	return all
}

// inFreeSection reports whether a value belongs to a section that Kubernetes defines.
func inFreeSection(root object, path string) bool {
	for section := path; ; {
		cut := strings.LastIndex(section, ".")
		if cut < 0 {
			return false
		}
		section = section[:cut]
		if p := part(root, section); p != nil && p["additionalProperties"] != false {
			return true
		}
	}
}

// table is the place of the values in the README.
var table = regexp.MustCompile(`(?s)(<!-- values: .*? -->\n).*?(<!-- end -->)`)

// TestTheReadmesTable: the table has every value with its default.
func TestTheReadmesTable(t *testing.T) {
	readme, err := os.ReadFile(readmeFile)
	if err != nil {
		t.Fatal(err)
	}
	var root object
	readYAML(t, schemaFile, &root)
	var b strings.Builder
	b.WriteString("\n| value | default | what it is |\n|---|---|---|\n")
	for _, v := range described(t, "values.yaml") {
		if inFreeSection(root, v.path) {
			continue
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", v.path, asShown(t, root, v), strings.ReplaceAll(v.description, "|", `\|`))
	}
	if !table.Match(readme) {
		t.Fatalf("%s has no place for the values", readmeFile)
	}
	want := table.ReplaceAllString(string(readme), "${1}"+strings.ReplaceAll(b.String(), "$", "$$")+"\n${2}")
	if *update {
		if err := os.WriteFile(readmeFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		readme = []byte(want)
	}
	if d := cmp.Diff(want, string(readme)); d != "" {
		t.Errorf("the values in %s are not those of values.yaml; run go test ./charts/groupsync -update\n%s", readmeFile, d)
	}
}

// asShown returns a default as the README shows it. A section shows nothing, because its
// values follow.
func asShown(t *testing.T, root object, v value) string {
	t.Helper()
	if p := part(root, v.path); v.node.Kind == yaml.MappingNode && v.node.Style&yaml.FlowStyle == 0 && p["additionalProperties"] == false {
		return ""
	}
	var plain any
	if err := v.node.Decode(&plain); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(plain)
	if err != nil {
		t.Fatal(err)
	}
	return "`" + string(data) + "`"
}
