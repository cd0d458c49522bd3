package config

import (
	"maps"
	"reflect"
	"strings"
	"time"
)

// Schema returns a JSON Schema (draft-07) of the configuration file. The schema has every key
// of Config and no other, with its type, its default and its allowed values. No key is required
// in the file, because each key can be set by the environment or a flag instead. A schema cannot
// express some rules, which only Load checks: the grammar of schedules, globs and admins.role,
// the days of a month, the smallest guards.max_age, ClearML's built-in groups, and keys that
// depend on one another. The caller may change the result.
func Schema() map[string]any {
	return section("", reflect.TypeFor[Config](), reflect.ValueOf(Default()))
}

// section returns the schema of the keys below a path. The schema allows null, because in YAML
// a section whose keys are all commented out is null, and Load accepts such a section.
func section(path string, t reflect.Type, defaults reflect.Value) map[string]any {
	properties := make(map[string]any)
	for i := range t.NumField() {
		f, name := t.Field(i), t.Field(i).Tag.Get("key")
		if f.Type.Kind() == reflect.Struct {
			properties[name] = section(path+name+".", f.Type, defaults.Field(i))
			continue
		}
		k, _ := find(path + name)
		properties[name] = k.schema(defaults.Field(i))
	}
	return map[string]any{"type": []any{"object", "null"}, "properties": properties, "additionalProperties": false}
}

// schema returns the schema of one key: its type, its default and its rule.
func (k key) schema(initial reflect.Value) map[string]any {
	s := make(map[string]any)
	switch k.typ {
	case reflect.TypeFor[time.Duration](): // the rule's own schema contains the type
	case reflect.TypeFor[[]string]():
		maps.Copy(s, map[string]any{"type": "array", "items": map[string]any{"type": "string", "minLength": 1}})
	case reflect.TypeFor[[]Protection]():
		maps.Copy(s, map[string]any{"type": "array", "items": protected})
	case reflect.TypeFor[Mapping]():
		maps.Copy(s, mappings)
	case reflect.TypeFor[Masked]():
		maps.Copy(s, map[string]any{"type": "string", "writeOnly": true})
	default:
		s["type"] = map[reflect.Kind]string{
			reflect.Bool: "boolean", reflect.Int: "integer", reflect.Float64: "number",
			reflect.String: "string", reflect.Pointer: "string",
		}[k.typ.Kind()]
	}
	maps.Copy(s, k.rule.schema)
	if v, is := written(initial); is {
		s["default"] = v
	}
	return s
}

const (
	unit = `(ns|us|µs|ms|s|m|h)`
	some = `([0-9]+(\.[0-9]+)?` + unit + `)*`
)

var (
	// durations matches a duration of 0 or more, such as 1h30m. 0 needs no unit and no quotes.
	durations = map[string]any{
		"type": []any{"string", "integer"}, "pattern": `^(0|([0-9]+(\.[0-9]+)?` + unit + `)+)$`, "minimum": 0, "maximum": 0,
	}
	// longer matches a duration of more than 0: at least one digit must not be 0.
	longer = map[string]any{
		"type": "string", "pattern": `^` + some + `([0-9]*[1-9][0-9]*(\.[0-9]+)?|[0-9]+\.[0-9]*[1-9][0-9]*)` + unit + some + `$`,
	}
	// mappings matches a mapping of names. Each value is one group or a list of groups.
	mappings = map[string]any{
		"type": "object", "propertyNames": map[string]any{"minLength": 1},
		"additionalProperties": map[string]any{
			"type": []any{"string", "array"}, "minLength": 1, "minItems": 1, "items": map[string]any{"type": "string", "minLength": 1},
		},
	}
	// protected matches a glob or an exception. It accepts days that do not exist, such as
	// 2026-02-31.
	protected = map[string]any{
		"type": []any{"string", "object"}, "minLength": 1, "required": []any{"match"}, "additionalProperties": false,
		"properties": map[string]any{
			"match":  map[string]any{"type": "string", "minLength": 1},
			"groups": map[string]any{"type": "array", "minItems": 1, "items": map[string]any{"type": "string", "minLength": 1}},
			"until":  map[string]any{"type": "string", "pattern": `^([0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])(T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.,][0-9]+)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]))?)?$`},
			"reason": map[string]any{"type": "string"},
		},
	}
)

// written returns a default in the form that a configuration file has. It returns false if
// the key has no default, or an empty one.
func written(v reflect.Value) (any, bool) {
	if v.IsZero() && v.Kind() != reflect.Bool {
		return nil, false
	}
	if d, is := v.Interface().(time.Duration); is {
		return short(d), true
	}
	return v.Interface(), true
}

// short formats the duration without trailing zeros: 1h, not 1h0m0s.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
