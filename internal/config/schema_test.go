package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// compiled returns the schema as Helm uses it: encoded as JSON, and compiled by Helm's
// validator.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7)
	if err := c.AddResource("config.json", throughJSON(t, Schema())); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("config.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func throughJSON(t *testing.T, v any) any {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// loads returns the error of Load for a document.
func loads(t *testing.T, doc any) error {
	t.Helper()
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Load(Options{File: path})
	return err
}

// complete is the smallest configuration, which each test changes in one place.
func complete() map[string]any {
	return map[string]any{
		"keycloak": map[string]any{"url": "https://auth.example.com", "realm": "clearml", "client_secret": "x"},
		"clearml":  map[string]any{"url": "https://api.example.com", "access_key": "x", "secret_key": "x"},
		"admins":   map[string]any{"role": ""},
	}
}

// with returns the document with a value at a dotted key.
func with(doc map[string]any, key string, value any) map[string]any {
	section, rest, below := strings.Cut(key, ".")
	if !below {
		doc[key] = value
		return doc
	}
	inner, _ := doc[section].(map[string]any)
	if inner == nil {
		inner = make(map[string]any)
	}
	doc[section] = with(inner, rest, value)
	return doc
}

// TestTheSchemaHasTheKeysOfTheLoader: the schema and the table have the same keys.
func TestTheSchemaHasTheKeysOfTheLoader(t *testing.T) {
	if d := cmp.Diff(slices.Sorted(names()), slices.Sorted(maps.Keys(leaves("", Schema())))); d != "" {
		t.Errorf("-loader +schema\n%s", d)
	}
}

// names yields the names of the keys, in the order of the table.
func names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, k := range keys {
			if !yield(k.name) {
				return
			}
		}
	}
}

// leaves returns the schemas of the keys by their dotted name.
func leaves(path string, s map[string]any) map[string]map[string]any {
	all := make(map[string]map[string]any)
	for name, v := range s["properties"].(map[string]any) {
		inner := v.(map[string]any)
		if _, section := inner["properties"]; section {
			maps.Copy(all, leaves(path+name+".", inner))
			continue
		}
		all[path+name] = inner
	}
	return all
}

// TestTheSchemasDefaultsAreTheLoaders: a file that sets each key to the schema's default
// gives the same configuration as a file without these keys.
func TestTheSchemasDefaultsAreTheLoaders(t *testing.T) {
	doc := make(map[string]any)
	for name, s := range leaves("", Schema()) {
		if v, is := s["default"]; is {
			with(doc, name, v)
		}
	}
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	told, err := decodeYAML("config.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Default(), merge(told).Config); d != "" {
		t.Errorf("-defaults +with the schema's\n%s", d)
	}
	for _, name := range []string{"schedule", "keycloak.timeout", "guards.window", "users.gone", "web.listen"} {
		if _, is := told[name]; !is {
			t.Errorf("%s has no default in the schema", name)
		}
	}
}

// leftToLoad are the keys of which the schema checks only the type, because they depend
// on another key, or because no pattern can express their grammar.
var leftToLoad = []string{
	"schedule", "state_dir",
	"keycloak.client_secret", "keycloak.client_secret_file",
	"clearml.access_key", "clearml.access_key_file", "clearml.secret_key", "clearml.secret_key_file",
	"lease.namespace",
	"admins.role", "guards.max_age",
}

// probes are the values that the test writes into every key, one after the other.
var probes = []any{
	nil, true, false, -1, 0, 1, 0.5, 1.5, "", " ", "x", "0", "-1s", "0s", "1m30s", "1.5h", "0.5s", "0.0s", "0h0m1s", "30",
	"https://auth.example.com/prefix", "http://[::1]:8080", "auth.example.com", "ftp://auth.example.com", "https://", "https://:80",
	"https://user:password@auth.example.com", "https://auth.example.com?a=b", "https://auth.example.com#a",
	[]any{}, []any{"a"}, []any{""}, []any{1}, map[string]any{}, map[string]any{"a": "b"}, map[string]any{"a": []any{"b", "c"}},
	map[string]any{"a": []any{}}, map[string]any{"a": []any{""}}, map[string]any{"a": ""}, map[string]any{"a": 1}, map[string]any{"": "b"},
	"observe", "apply", "debug", "info", "warn", "error", "text", "json", "group", "role", "remove", "keep", "additions_only", "stop",
	"realm:", "realm:a/b", "a/", "/b", []any{"/"}, []any{"/a"}, []any{"a", "//"}, "59s", "60s", "10m",
	[]any{map[string]any{"match": "a"}}, []any{"a", map[string]any{"match": "b", "groups": []any{"c"}, "until": "2026-12-31", "reason": "d"}}, []any{map[string]any{}},
	[]any{map[string]any{"until": "2026-12-31"}}, []any{map[string]any{"match": ""}}, []any{map[string]any{"match": "a", "until": "31.12.2026"}}, []any{map[string]any{"match": "a", "until": "2026-13-01"}},
	[]any{map[string]any{"match": "a", "until": "2026-12-31T18:00:00Z"}}, []any{map[string]any{"match": "a", "until": "2026-12-31T18:00:00.5+01:00"}}, []any{map[string]any{"match": "a", "until": "2026-12-31T24:00:00Z"}},
	[]any{map[string]any{"match": "a", "until": "2026-12-31T18:00:00"}}, []any{map[string]any{"match": "a", "until": ""}}, []any{map[string]any{"match": "a", "until": 2026}}, []any{map[string]any{"match": "a", "unitl": "2026-12-31"}},
	[]any{map[string]any{"match": "a", "groups": []any{}}}, []any{map[string]any{"match": "a", "groups": []any{""}}}, []any{map[string]any{"match": "a", "groups": "b"}}, []any{map[string]any{"match": "a", "reason": 1}},
	":8080", "127.0.0.1:http", "[::1]:80", "::1:80", "localhost:",
}

// TestTheSchemaAgreesWithTheLoader: the schema and Load accept the same values of each
// key.
func TestTheSchemaAgreesWithTheLoader(t *testing.T) {
	schema := compiled(t)
	for key := range names() {
		for _, probe := range probes {
			doc := with(complete(), key, probe)
			refused, err := schema.Validate(throughJSON(t, doc)), loads(t, doc)
			if slices.Contains(leftToLoad, key) && refused == nil {
				continue
			}
			if (refused == nil) != (err == nil) {
				t.Errorf("%s: %#v\nschema: %v\nloader: %v", key, probe, refused, err)
			}
		}
	}
}

// TestBadDocuments checks the errors of the schema and of Load, and the place that each
// names.
func TestBadDocuments(t *testing.T) {
	schema := compiled(t)
	for _, tt := range []struct {
		name           string
		doc            map[string]any
		schema, loader string
	}{
		{"a key that is misspelt", with(complete(), "shedule", "@hourly"),
			`at '': additional properties 'shedule' not allowed`, `unknown key "shedule"; did you mean "schedule"?`},
		{"a key that is misspelt in a section", with(complete(), "guards.max_removal", 1),
			`at '/guards': additional properties 'max_removal' not allowed`, `unknown key "guards.max_removal"; did you mean "max_removals"?`},
		{"a key of another section", with(complete(), "users.max_gone", 1),
			`at '/users': additional properties 'max_gone' not allowed`, `unknown key "users.max_gone"; did you mean "guards.max_gone"?`},
		{"a section that is a text", with(complete(), "log", "debug"),
			`at '/log': got string, want null or object`, `log: expected keys below it, got text`},
		{"a mode that is none", with(complete(), "mode", "write"),
			`at '/mode': value must be one of 'observe', 'apply'`, `mode: "write" is unknown: write observe or apply`},
		{"a number without a unit as a duration", with(complete(), "jitter", 30),
			`at '/jitter': maximum: got 30, want 0`, `jitter: expected a duration such as 30s, 15m or 1h, got a number`},
		{"a text for a switch", with(complete(), "groups.full_path", "yes"),
			`at '/groups/full_path': got string, want boolean`, `groups.full_path: expected true or false, got text`},
		{"a negative limit", with(complete(), "guards.max_admin_grants", -1),
			`at '/guards/max_admin_grants': minimum: got -1, want 0`, `guards.max_admin_grants: -1 is too small: write 0 or more`},
		{"a name for a list", with(complete(), "admins.groups", "clearml-admins"),
			`at '/admins/groups': got string, want array`, `admins.groups: expected a list of texts such as ["a", "b"], got text`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mentions(t, "schema", schema.Validate(throughJSON(t, tt.doc)), tt.schema)
			mentions(t, "loader", loads(t, tt.doc), tt.loader)
		})
	}
}

func mentions(t *testing.T, who string, err error, want string) {
	t.Helper()
	if got := fmt.Sprint(err); !strings.Contains(got, want) {
		t.Errorf("%s: got %s\nwant %s", who, got, want)
	}
}

// TestGoodDocuments: the schema and Load accept the forms that people write.
func TestGoodDocuments(t *testing.T) {
	schema := compiled(t)
	example, err := os.ReadFile("../../config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var whole map[string]any
	if err := yaml.Unmarshal(example, &whole); err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(throughJSON(t, whole)); err != nil {
		t.Errorf("config.example.yaml: %v", err)
	}
	for _, tt := range []struct {
		name string
		doc  map[string]any
	}{
		{"the smallest", complete()},
		{"a section with nothing in it", with(complete(), "log", nil)},
		{"limits that are off", with(with(complete(), "guards.federation_grace", 0), "guards.max_removals", 0)},
		{"a mapping in both forms", with(complete(), "groups.mapping", map[string]any{"a": "b", "c": []any{"d", "e"}})},
		{"exceptions", with(complete(), "users.protect", []any{"a@*", map[string]any{"match": "b@*", "until": "2026-12-31"}})},
		{"administrators", with(with(complete(), "admins.groups", []any{"clearml-admins"}), "admins.role", "clearml/admin")},
	} {
		if err := schema.Validate(throughJSON(t, tt.doc)); err != nil {
			t.Errorf("%s: schema: %v", tt.name, err)
		}
		if err := loads(t, tt.doc); err != nil {
			t.Errorf("%s: loader: %v", tt.name, err)
		}
	}
}
