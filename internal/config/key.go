package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"groupsync/internal/near"
)

// key is one key of the configuration: its row of the table, and its field of Config.
type key struct {
	row
	index []int // of the field, for reflect.Value.FieldByIndex
	typ   reflect.Type
}

// keys has all keys, in the order of the table.
var keys = fields(table)

// fields returns a key for each row of the table, with the field of Config that has the row's
// name. It panics unless the table and Config have the same keys.
func fields(rows []row) (found []key) {
	all := make(map[string]key)
	collect(all, "", reflect.TypeFor[Config](), nil)
	for _, r := range rows {
		k, is := all[r.name]
		if !is {
			panic("config: the table has " + r.name + " twice, or Config has no such field")
		}
		delete(all, r.name)
		k.row = r
		found = append(found, k)
	}
	for name := range all {
		panic("config: the table has no row for " + name)
	}
	return found
}

func collect(into map[string]key, path string, t reflect.Type, index []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, at := path+f.Tag.Get("key"), append(slices.Clone(index), i)
		if f.Type.Kind() == reflect.Struct {
			collect(into, name+".", f.Type, at)
			continue
		}
		into[name] = key{index: at, typ: f.Type}
	}
}

// find returns the key with that name, such as keycloak.url. It returns false if there is none.
func find(name string) (key, bool) {
	i := slices.IndexFunc(keys, func(k key) bool { return k.name == name })
	if i < 0 {
		return key{}, false
	}
	return keys[i], true
}

// IsKey reports whether the name is a key of the configuration.
func IsKey(name string) bool {
	_, is := find(name)
	return is
}

// of is a method that returns the value which the configuration c has for the key k.
func (k key) of(c Config) any { return reflect.ValueOf(c).FieldByIndex(k.index).Interface() }

// set sets the key in c. The value must have the type of the key's field.
func (k key) set(c *Config, value any) {
	reflect.ValueOf(c).Elem().FieldByIndex(k.index).Set(reflect.ValueOf(value))
}

// initialValue returns the default of the key, or the zero value of its type if it has no
// default. The caller may change the result.
func (k key) initialValue() any {
	if k.initial == "" {
		return reflect.Zero(k.typ).Interface()
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(k.initial), &doc); err != nil {
		panic("config: the default of " + k.name + ": " + err.Error())
	}
	v, err := k.decode(doc.Content[0])
	if err != nil {
		panic("config: the default of " + k.name + ": " + err.Error())
	}
	return v
}

// below returns the names that may occur directly in a section, without the section's path. The
// result is a set of names: each map value is the same as its map key. section ends in a dot, or is
// "" for the top of the file.
func below(section string) map[string]string {
	names := make(map[string]string)
	for _, k := range keys {
		if rest, in := strings.CutPrefix(k.name, section); in {
			first, _, _ := strings.Cut(rest, ".")
			names[first] = first
		}
	}
	return names
}

// literal reports whether the value of an environment variable or a flag for this key is
// plain text. The values of other keys are YAML.
func (k key) literal() bool {
	return k.typ.Kind() == reflect.String || k.typ.Kind() == reflect.Pointer || k.typ == reflect.TypeFor[time.Duration]()
}

// expected describes, for an error, the values that the key's type allows.
func (k key) expected() string {
	switch k.typ {
	case reflect.TypeFor[time.Duration]():
		return `a duration such as 30s, 15m or 1h`
	case reflect.TypeFor[[]string]():
		return `a list of texts such as ["a", "b"]`
	case reflect.TypeFor[[]Protection]():
		return `a list of globs and exceptions such as ["a@*", {match: "b@*", until: 2026-12-31}]`
	case reflect.TypeFor[Mapping]():
		return `a mapping such as {"keycloak name": "clearml name"} or {"name": ["one", "two"]}`
	}
	switch k.typ.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	default:
		return "text"
	}
}

// decode returns the node as a value of the key's type. Its error says what is
// expected, and never quotes the value.
func (k key) decode(n *yaml.Node) (any, error) {
	n = resolve(n)
	switch k.typ {
	case reflect.TypeFor[time.Duration]():
		d, err := time.ParseDuration(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil {
			return nil, k.mistyped(n)
		}
		return d, nil
	case reflect.TypeFor[[]string]():
		return k.texts(n)
	case reflect.TypeFor[[]Protection]():
		return k.protections(n)
	case reflect.TypeFor[Mapping]():
		return k.mapping(n)
	}
	tags := map[reflect.Kind][]string{
		reflect.Bool: {"!!bool"}, reflect.Int: {"!!int"}, reflect.Float64: {"!!int", "!!float"},
		reflect.String: {"!!str"}, reflect.Pointer: {"!!str"},
	}[k.typ.Kind()]
	v := reflect.New(k.typ)
	if n.Kind != yaml.ScalarNode || !slices.Contains(tags, n.ShortTag()) || n.Decode(v.Interface()) != nil {
		return nil, k.mistyped(n)
	}
	return v.Elem().Interface(), nil
}

func (k key) mistyped(n *yaml.Node) error {
	hint := ""
	switch seen := kindOf(n); {
	case k.literal() && k.expected() == "text" && seen == "nothing":
		hint = `: write "" for an empty one`
	case k.expected() == "text" && n.Kind == yaml.ScalarNode:
		hint = ": put it in quotes"
	}
	return fmt.Errorf("expected %s, got %s%s", k.expected(), kindOf(n), hint)
}

// texts decodes a list of texts.
func (k key) texts(n *yaml.Node) ([]string, error) {
	if n.Kind != yaml.SequenceNode {
		return nil, k.mistyped(n)
	}
	list := make([]string, 0, len(n.Content))
	for _, item := range n.Content {
		item = resolve(item)
		if item.Kind != yaml.ScalarNode || item.ShortTag() != "!!str" {
			return nil, fmt.Errorf("expected %s, got %s in the list: put it in quotes", k.expected(), kindOf(item))
		}
		list = append(list, item.Value)
	}
	return list, nil
}

// mapping decodes a mapping of names to one text or a list of texts.
func (k key) mapping(n *yaml.Node) (Mapping, error) {
	if n.Kind != yaml.MappingNode {
		return nil, k.mistyped(n)
	}
	m := make(Mapping, len(n.Content)/2)
	for i := 0; i < len(n.Content); i += 2 {
		from, to := resolve(n.Content[i]), resolve(n.Content[i+1])
		if from.Kind != yaml.ScalarNode || from.ShortTag() != "!!str" {
			return nil, fmt.Errorf("expected %s, got %s as a name: put it in quotes", k.expected(), kindOf(from))
		}
		if _, twice := m[from.Value]; twice {
			return nil, fmt.Errorf("%q occurs twice: keep one of them", from.Value)
		}
		if to.Kind == yaml.ScalarNode && to.ShortTag() == "!!str" {
			m[from.Value] = []string{to.Value}
			continue
		}
		list, err := k.texts(to)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", from.Value, err)
		}
		m[from.Value] = list
	}
	return m, nil
}

// resolve returns the node that n is an alias of, or n if n is no alias.
func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// kindOf describes, for an error, what kind of value a node is.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a mapping"
	}
	return cmp.Or(map[string]string{
		"!!str": "text", "!!int": "a number", "!!float": "a number", "!!bool": "true or false", "!!null": "nothing", "!!timestamp": "a date",
	}[n.ShortTag()], "something else")
}

// suggest returns the end of an error about an unknown name. It proposes the known name
// that is most like the unknown one. If no known name is like it, it lists the known names.
func suggest(name string, known map[string]string) string {
	names := slices.Sorted(maps.Keys(known))
	if n := near.Nearest(name, names); n != "" {
		return fmt.Sprintf("; did you mean %q?", n)
	}
	// Perhaps the name is the name of a key in another section.
	for _, k := range keys {
		if strings.HasSuffix(k.name, "."+name) {
			return fmt.Sprintf("; did you mean %q?", k.name)
		}
	}
	if strings.HasPrefix(name, prefix) {
		return ": see config.example.yaml for the keys"
	}
	return ": the known names are " + strings.Join(names, ", ")
}

// errTwoDocuments is the error of a configuration file with more than one YAML document.
var errTwoDocuments = errors.New("a second YAML document begins here, and groupsync reads only one: keep one")
