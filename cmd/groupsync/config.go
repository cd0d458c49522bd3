package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"groupsync/internal/config"
)

// sources holds the flags that name the files of the configuration. The keys of
// the configuration have flags of their own.
type sources struct {
	config, clearmlEnv string
}

func (s *sources) add(flags *pflag.FlagSet) {
	flags.StringVarP(&s.config, "config", "c", "", "the configuration file (YAML)")
	flags.StringVar(&s.clearmlEnv, "clearml-env", "", "take the defaults of keys from a file that sets ClearML's own CLEARML__…keycloak__… variables: an env file, a docker-compose override or Helm values")
	config.AddFlags(flags)
}

func (s *sources) options(p program, flags *pflag.FlagSet) config.Options {
	return config.Options{File: s.config, ClearMLEnv: s.clearmlEnv, Env: p.env, Flags: flags}
}

func newConfig(p program) *cobra.Command {
	var s sources
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the effective configuration, each value with its origin",
		Long: `config prints the effective configuration as YAML. A comment names the origin of
each value: default, file and line, environment, flag, or ClearML's own variable.
Secrets are masked. If the configuration is not valid, config still prints it, and
the exit code is 1.`,
		Args: cobra.NoArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		t, err := config.Trace(s.options(p, cmd.Flags()))
		if len(t.Settings) == 0 {
			return err
		}
		if err := printConfig(p.stdout, t); err != nil {
			return fmt.Errorf("printing the configuration: %w", err)
		}
		return err
	}
	s.add(cmd.Flags())
	return cmd
}

// printConfig writes the configuration as YAML. groupsync can read the output as a configuration
// file, except for the masked secrets.
func printConfig(w io.Writer, t config.Traced) error {
	for _, remark := range t.Remarks {
		if _, err := fmt.Fprintf(w, "# %s\n", remark); err != nil {
			return err
		}
	}
	root := &yaml.Node{Kind: yaml.MappingNode}
	sections := make(map[string]*yaml.Node)
	unwritten := "" // "# NAME is not set", for a key without a value; it becomes a comment above the key that follows
	for _, s := range t.Settings {
		into, name := root, s.Key
		if section, key, is := strings.Cut(s.Key, "."); is {
			name = key
			if into = sections[section]; into == nil {
				into = &yaml.Node{Kind: yaml.MappingNode}
				sections[section] = into
				root.Content = append(root.Content, keyNode(section), into)
			}
		}
		if text, is := s.Value.(*string); is && text == nil {
			unwritten = "# " + name + " is not set"
			continue
		}
		value, err := valueNode(s)
		if err != nil {
			return err
		}
		key := keyNode(name)
		key.HeadComment, unwritten = unwritten, ""
		into.Content = append(into.Content, key, value)
	}
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(root); err != nil {
		return err
	}
	return e.Close()
}

// valueNode returns the value of a setting on one line of YAML, with the origin of the value as a
// comment.
func valueNode(s config.Setting) (*yaml.Node, error) {
	value := s.Value
	if value == config.Masked("") { // the secret is empty, so there is nothing to mask
		value = ""
	}
	n := new(yaml.Node)
	if err := n.Encode(value); err != nil {
		return nil, fmt.Errorf("%s: %w", s.Key, err)
	}
	if n.Kind != yaml.ScalarNode {
		n.Style = yaml.FlowStyle
	}
	n.LineComment = "# " + s.Origin
	return n, nil
}

func keyNode(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: s} }
