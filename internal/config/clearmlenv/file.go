package clearmlenv

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// file holds what has been read so far from a file that sets ClearML's variables.
type file struct {
	name string // of the file, without its directory
	vars []variable
	errs []error
}

// readFile returns the relevant variables that a file sets, in the order of the file.
// It recognizes the kind of the file by the content.
func readFile(path string) ([]variable, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path) // #nosec G304 -- the operator names the file with --clearml-env
	if err != nil {
		return nil, fmt.Errorf("reading ClearML's variables: %w: name an existing file with --clearml-env", err)
	}
	f := &file{name: filepath.Base(path)}
	if err := f.parse(string(data)); err != nil {
		return nil, err
	}
	return f.vars, errors.Join(f.errs...)
}

func (f *file) parse(text string) error {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		if assignment.MatchString(line) {
			f.env(text)
			return nil
		}
		break
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		// The error of the YAML library may quote a secret, so only the line number is kept.
		at := ""
		if line := atLine.FindString(err.Error()); line != "" {
			at = " (" + line + ")"
		}
		return fmt.Errorf("%s: is neither an env file nor YAML%s: %s", f.name, at, kinds)
	}
	if len(doc.Content) > 0 {
		root := doc.Content[0]
		if services := below(root, "services"); services != nil {
			return f.compose(below(below(services, "apiserver"), "environment"))
		}
		if apiserver := below(root, "apiserver"); apiserver != nil {
			return f.helm(below(apiserver, "extraEnvs"))
		}
	}
	return fmt.Errorf("%s: is not a file that sets ClearML's variables: %s", f.name, kinds)
}

const kinds = "give --clearml-env an env file (NAME=value lines), a docker-compose override (services.apiserver.environment) or Helm values (apiserver.extraEnvs)"

var (
	assignment = regexp.MustCompile(`^(?:export\s+)?([A-Za-z_]\w*)=(.*)$`)
	atLine     = regexp.MustCompile(`line \d+`)
	// shellReference matches a reference that a shell or docker compose replaces.
	// helmReference matches a reference that Helm or Kubernetes replaces.
	shellReference = regexp.MustCompile(`\$[A-Za-z_{]`)
	helmReference  = regexp.MustCompile(`\{\{|\$\(`)
)

// below returns the value of a name in a mapping, or nil if there is none.
func below(n *yaml.Node, name string) *yaml.Node {
	var m map[string]yaml.Node // decoding into a map resolves YAML's aliases and merge keys
	if n == nil || n.Decode(&m) != nil {
		return nil
	}
	if v, there := m[name]; there {
		return resolve(&v)
	}
	return nil
}

func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func (f *file) wrong(line int, format string, args ...any) {
	f.errs = append(f.errs, fmt.Errorf("%s:%d: %s", f.name, line, fmt.Sprintf(format, args...)))
}

func (f *file) found(line int, name, value string, elsewhere bool) {
	if relevant(name) {
		f.vars = append(f.vars, variable{name, value, fmt.Sprintf("%s:%d", f.name, line), elsewhere})
	}
}

// env reads an env file: lines of NAME=value. Quotes and comments mean the same as in
// docker compose.
func (f *file) env(text string) {
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		m := assignment.FindStringSubmatch(line)
		if m == nil {
			f.wrong(number, "is not NAME=value: correct the line, or begin it with #")
			continue
		}
		name, value := m[1], m[2]
		switch {
		case strings.HasPrefix(value, "'"):
			inner, rest, closed := strings.Cut(value[1:], "'")
			if !closed || !nothing(rest) {
				f.wrong(number, "%s begins with a quote and does not end with one: correct the quotes", name)
				continue
			}
			f.found(number, name, inner, false)
		case strings.HasPrefix(value, `"`):
			d := json.NewDecoder(strings.NewReader(value))
			var inner string
			if d.Decode(&inner) != nil || !nothing(value[d.InputOffset():]) {
				f.wrong(number, "%s begins with a quote and does not end with one: correct the quotes", name)
				continue
			}
			f.found(number, name, inner, shellReference.MatchString(inner))
		default:
			value, _, _ = strings.Cut(value, " #")
			value = strings.TrimSpace(value)
			f.found(number, name, value, shellReference.MatchString(value))
		}
	}
}

// nothing reports whether the rest of a line is empty or a comment.
func nothing(rest string) bool {
	rest = strings.TrimSpace(rest)
	return rest == "" || rest[0] == '#'
}

// compose reads the environment of a docker compose service, which is a mapping or a list.
func (f *file) compose(n *yaml.Node) error {
	switch {
	case n == nil:
		return fmt.Errorf("%s: has services, but no services.apiserver.environment: %s", f.name, kinds)
	case n.Kind == yaml.SequenceNode:
		for _, item := range n.Content {
			item = resolve(item)
			name, value, given := strings.Cut(item.Value, "=")
			if item.Kind != yaml.ScalarNode {
				f.wrong(item.Line, "expected NAME=value in services.apiserver.environment: correct it")
				continue
			}
			f.composed(item.Line, name, value, given)
		}
		return nil
	}
	var m map[string]yaml.Node
	if n.Kind != yaml.MappingNode || n.Decode(&m) != nil {
		return fmt.Errorf("%s:%d: services.apiserver.environment is neither a list nor a mapping with each name once: write \"- NAME=value\" or \"NAME: value\" lines", f.name, n.Line)
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		v := m[name]
		value := resolve(&v)
		if value.Kind != yaml.ScalarNode {
			f.notText(value.Line, name)
			continue
		}
		f.composed(value.Line, name, value.Value, value.ShortTag() != "!!null")
	}
	return nil
}

// composed adds a variable of a docker compose file. given is false if the file has only
// the name. docker compose then takes the value from the shell, which groupsync cannot see.
func (f *file) composed(line int, name, value string, given bool) {
	elsewhere := !given || shellReference.MatchString(strings.ReplaceAll(value, "$$", ""))
	f.found(line, name, strings.ReplaceAll(value, "$$", "$"), elsewhere)
}

func (f *file) notText(line int, name string) {
	if relevant(name) {
		f.wrong(line, "%s: expected text: put it in quotes", name)
	}
}

// helm reads the list of a container's variables from Helm values.
func (f *file) helm(n *yaml.Node) error {
	if n == nil || n.Kind != yaml.SequenceNode {
		return fmt.Errorf("%s: has apiserver, but no list apiserver.extraEnvs: %s", f.name, kinds)
	}
	for _, item := range n.Content {
		item = resolve(item)
		var v struct {
			Name      string
			Value     yaml.Node
			ValueFrom yaml.Node `yaml:"valueFrom"`
		}
		if item.Decode(&v) != nil || v.Name == "" {
			f.wrong(item.Line, "expected name and value in apiserver.extraEnvs: correct it")
			continue
		}
		value := resolve(&v.Value)
		switch {
		case !v.ValueFrom.IsZero():
			f.found(item.Line, v.Name, "", true)
		case value.IsZero() || value.ShortTag() == "!!null":
			f.found(item.Line, v.Name, "", false)
		case value.Kind != yaml.ScalarNode:
			f.notText(value.Line, v.Name)
		default:
			f.found(value.Line, v.Name, value.Value, helmReference.MatchString(value.Value))
		}
	}
	return nil
}
