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

	"github.com/agnivade/levenshtein"
	"go.yaml.in/yaml/v3"
)

// key is one known key: a leaf of Config.
type key struct {
	index []int // of the field in Config
	typ   reflect.Type
}

// keys holds all known keys by their dotted name. keyNames holds the names in the
// order of Config. Both are made once, from the tags of Config.
var (
	keys     = make(map[string]key)
	keyNames = collect("", reflect.TypeFor[Config](), nil)
)

// IsKey reports whether the name is a key of the configuration.
func IsKey(name string) bool {
	_, is := keys[name]
	return is
}

func collect(path string, t reflect.Type, index []int) (names []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, at := path+f.Tag.Get("koanf"), append(slices.Clone(index), i)
		if f.Type.Kind() == reflect.Struct {
			names = append(names, collect(name+".", f.Type, at)...)
			continue
		}
		keys[name] = key{at, f.Type}
		names = append(names, name)
	}
	return names
}

// below returns the keys and sections that a section may contain, without their
// path. The section "" is the top of the file.
func below(section string) map[string]string {
	names := make(map[string]string)
	for _, name := range keyNames {
		if rest, in := strings.CutPrefix(name, section); in {
			first, _, _ := strings.Cut(rest, ".")
			names[first] = first
		}
	}
	return names
}

// literal reports whether a variable or a flag of the key is taken as plain text,
// not as YAML.
func (k key) literal() bool {
	return k.typ.Kind() == reflect.String || k.typ.Kind() == reflect.Pointer || k.typ == reflect.TypeFor[time.Duration]()
}

// expected describes a value of the key.
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
			return nil, fmt.Errorf("%q is there twice: keep one of them", from.Value)
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

// resolve follows aliases.
func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// kindOf describes the kind of a node.
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

// suggest returns the advice for an unknown name: the nearest known name, or all
// known names if none is near.
func suggest(name string, known map[string]string) string {
	names := slices.Sorted(maps.Keys(known))
	best, distance := "", max(2, len(name)/4)+1
	for _, n := range names {
		if d := levenshtein.ComputeDistance(name, n); d < distance {
			best, distance = n, d
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	// No name is near. The name may belong to another section.
	for _, full := range keyNames {
		if strings.HasSuffix(full, "."+name) {
			return fmt.Sprintf("; did you mean %q?", full)
		}
	}
	if strings.HasPrefix(name, prefix) {
		return ": see config.example.yaml for the keys"
	}
	return ": known here are " + strings.Join(names, ", ")
}

// errTwoDocuments says that a file holds more than one YAML document.
var errTwoDocuments = errors.New("a second YAML document begins: keep one, groupsync reads no other")
