package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"groupsync/internal/config/clearmlenv"
)

// Options names the sources of a configuration. For each key, a later source wins
// over an earlier one. The order is: defaults, ClearML's own variables (in ClearMLEnv
// and Env), File, Env, Flags.
type Options struct {
	File       string         // YAML; empty: none
	ClearMLEnv string         // a file that sets ClearML's own variables; empty: none
	Env        []string       // NAME=value, as os.Environ gives it
	Flags      *pflag.FlagSet // flags of AddFlags, parsed; nil: none
}

// prefix begins the name of every environment variable that sets a key. For example,
// GROUPSYNC_KEYCLOAK_URL sets keycloak.url.
const prefix = "GROUPSYNC_"

// Setting is the value of one key, and its source.
type Setting struct {
	Key    string
	Value  any    // has the type of the key's field in Config; a nil *string is not set
	Origin string // the source, for example "default" or a file with the line
}

// Traced is a configuration with the source of each value.
type Traced struct {
	Config   Config
	Settings []Setting         // one for each key, in the order of config.example.yaml; a URL that may hold credentials is Masked
	SignIn   clearmlenv.SignIn // settings of ClearML's sign-in, from ClearML's own variables
	Remarks  []string          // sentences about variables of ClearML that give no value to groupsync
}

// Load returns a valid configuration, and has read its secrets once. The error joins all
// faults, one a line. If the sources cannot be read, the lines have the order of the
// sources. If values are wrong, they have the order of the keys. No line holds a secret.
func Load(o Options) (Config, error) {
	t, err := Trace(o)
	if err != nil {
		return Config{}, err
	}
	return t.Config, nil
}

// Trace does what Load does, and also returns the source of each value. If a source cannot
// be read, Trace returns an error and no Settings. If the sources can be read, but the
// configuration is not valid, it returns both an error and the configuration, which may then be
// used only for printing.
func Trace(o Options) (Traced, error) {
	facts, factsErr := clearmlenv.Read(o.ClearMLEnv, o.Env)
	own, err := readOwn(o)
	if err := errors.Join(factsErr, err); err != nil {
		return Traced{}, err
	}
	t := merge(derived(facts), own)
	t.SignIn = facts.SignIn
	for _, r := range facts.Remarks {
		if _, given := own[r.Key]; !given {
			t.Remarks = append(t.Remarks, r.Text)
		}
	}
	if err := errors.Join(t.Config.Validate(time.Now()), contradictions(facts, own, t.Config.Groups.FullPath)); err != nil {
		return t, err
	}
	var errs []error
	for _, s := range t.Config.secrets() {
		_, err := s.Read()
		errs = append(errs, err)
	}
	return t, errors.Join(errs...)
}

// setting is the value of a key, and the source of the value.
type setting struct {
	value  any
	origin string
}

// layer holds the settings of one source, by key.
type layer map[string]setting

// readOwn returns the settings from groupsync's own sources: the file, the environment and the
// flags.
func readOwn(o Options) (layer, error) {
	file, fileErr := readFile(o.File)
	env, envErr := readEnv(o.Env)
	flags, flagErr := readFlags(o.Flags)
	own := layer{}
	for _, l := range []layer{file, env, flags} {
		maps.Copy(own, l)
	}
	return own, errors.Join(fileErr, envErr, flagErr)
}

// merge returns the configuration in which each key has the value of the last layer that sets the
// key, or its default. It does not validate the result.
func merge(layers ...layer) (t Traced) {
	for _, k := range keys {
		s := setting{k.initialValue(), "default"}
		for _, l := range layers {
			if over, is := l[k.name]; is {
				s = over
			}
		}
		k.set(&t.Config, s.value)
		t.Settings = append(t.Settings, Setting{k.name, printable(k.name, s.value), s.origin})
	}
	return t
}

func readFile(path string) (layer, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path) // #nosec G304 -- the operator names the file with --config
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w: name an existing file with --config", err)
	}
	return decodeYAML(path, data)
}

// serviceLink matches the environment variables that Kubernetes sets in every pod for a
// Service whose name begins with groupsync. groupsync ignores them. No key's variable matches.
var serviceLink = regexp.MustCompile(`_SERVICE_(HOST|PORT)$|_SERVICE_PORT_\w+$|_PORT$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$`)

func readEnv(env []string) (layer, error) {
	byName := make(map[string]string, len(keys))
	for _, k := range keys {
		byName[envName(k.name)] = k.name
	}
	l := layer{}
	var errs []error
	for _, entry := range slices.Sorted(slices.Values(env)) {
		name, text, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, prefix) || serviceLink.MatchString("_"+strings.TrimPrefix(name, prefix)) {
			continue
		}
		key, known := byName[name]
		if !known {
			errs = append(errs, fmt.Errorf("%s: unknown variable%s", name, suggest(name, byName)))
			continue
		}
		v, err := parse(key, text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		l[key] = setting{v, "environment " + name}
	}
	return l, errors.Join(errs...)
}

func envName(key string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// AddFlags adds a hidden flag for each key to the set: --keycloak.url for
// keycloak.url. Secrets have no flag, because other users of the machine can read
// a command line.
func AddFlags(flags *pflag.FlagSet) {
	for _, k := range keys {
		if k.typ != reflect.TypeFor[Masked]() {
			addFlag(flags, k)
		}
	}
}

func addFlag(flags *pflag.FlagSet, k key) {
	flags.String(k.name, "", "the key "+k.name)
	flags.Lookup(k.name).Hidden = true
	if k.typ.Kind() == reflect.Bool {
		flags.Lookup(k.name).NoOptDefVal = "true"
	}
}

// readFlags returns the settings from the flags that have the name of a key and were set. It
// ignores the other flags of a command.
func readFlags(flags *pflag.FlagSet) (layer, error) {
	if flags == nil {
		return nil, nil
	}
	l := layer{}
	var errs []error
	flags.Visit(func(f *pflag.Flag) {
		if !IsKey(f.Name) {
			return
		}
		v, err := parse(f.Name, f.Value.String())
		if err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w", f.Name, err))
			return
		}
		l[f.Name] = setting{v, "flag --" + f.Name}
	})
	return l, errors.Join(errs...)
}

// parse returns the value of the key with that name. text is the text of an environment variable
// or of a flag. If the key is literal, the text itself is the value. Otherwise the text is YAML.
func parse(name, text string) (any, error) {
	k, _ := find(name)
	node := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
	if k.literal() {
		return k.decode(node)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil || len(doc.Content) == 0 {
		return nil, fmt.Errorf("expected %s", k.expected())
	}
	return k.decode(doc.Content[0])
}
