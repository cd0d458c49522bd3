package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document holds the settings and the errors that were found so far in a YAML file.
type document struct {
	name string // of the file, without its directory
	into layer
	errs []error
}

// decodeYAML returns the settings in data, the content of the file path. Its error joins a
// sentence, with file and line, for each key that is unknown, repeated or of the wrong type.
func decodeYAML(path string, data []byte) (layer, error) {
	d := &document{name: filepath.Base(path), into: layer{}}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return d.into, nil // an empty file
	case err != nil:
		return nil, d.malformed(err)
	}
	var next yaml.Node
	switch err := dec.Decode(&next); {
	case errors.Is(err, io.EOF):
	case err != nil:
		return nil, d.malformed(err)
	default:
		d.wrong(&next, errTwoDocuments)
	}
	d.section("", doc.Content[0])
	return d.into, errors.Join(d.errs...)
}

// malformed returns the error for a file that is not valid YAML. It quotes the error of the YAML
// library, except the error about an unknown alias, because that error may quote a secret. In
// YAML, a value that begins with * and is not in quotes is an alias.
func (d *document) malformed(err error) error {
	if strings.Contains(err.Error(), "unknown anchor") {
		return fmt.Errorf("%s: a value begins with * and names no anchor of the file: put it in quotes", d.name)
	}
	return fmt.Errorf("%s: %w: correct the YAML there", d.name, err)
}

func (d *document) wrong(n *yaml.Node, err error) {
	d.errs = append(d.errs, fmt.Errorf("%s:%d: %w", d.name, n.Line, err))
}

// section decodes the keys of a section. path is the section's name with a dot at the end, or ""
// for the top of the file.
func (d *document) section(path string, n *yaml.Node) {
	n = resolve(n)
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return // a section whose keys are all commented out
	}
	if n.Kind != yaml.MappingNode {
		d.wrong(n, fmt.Errorf("%s: expected keys below it, got %s", orTop(path), kindOf(n)))
		return
	}
	known := below(path)
	seen := make(map[string]int)
	for i := 0; i < len(n.Content); i += 2 {
		at, value := n.Content[i], n.Content[i+1]
		name := at.Value
		if first, twice := seen[name]; twice {
			d.wrong(at, fmt.Errorf("%s occurs twice, first in line %d: keep one of them", path+name, first))
			continue
		}
		seen[name] = at.Line
		if _, ok := known[name]; !ok || at.Kind != yaml.ScalarNode {
			d.wrong(at, fmt.Errorf("unknown key %q%s", path+name, suggest(name, known)))
			continue
		}
		d.value(path+name, value)
	}
}

func (d *document) value(name string, n *yaml.Node) {
	k, leaf := find(name)
	if !leaf {
		d.section(name+".", n)
		return
	}
	v, err := k.decode(n)
	if err != nil {
		d.wrong(n, fmt.Errorf("%s: %w", name, err))
		return
	}
	d.into[name] = setting{v, fmt.Sprintf("%s:%d", d.name, n.Line)}
}

func orTop(path string) string {
	if path == "" {
		return "the file"
	}
	return path[:len(path)-1]
}
