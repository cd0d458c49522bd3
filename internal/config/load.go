package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// Options say where a configuration comes from. A later source wins over an
// earlier one, key by key: defaults, File, Env, Flags.
type Options struct {
	File  string         // YAML; empty: none
	Env   []string       // NAME=value, as os.Environ gives it
	Flags *pflag.FlagSet // flags made by AddFlags that were set; nil: none
}

// prefix begins the name of every environment variable that is a key:
// keycloak.url is GROUPSYNC_KEYCLOAK_URL.
const prefix = "GROUPSYNC_"

// Load returns the configuration, valid and with secrets that can be read now.
// Its error joins everything that is wrong, a line each, in the order of the
// sources and, below one, of its text; no line holds a secret.
func Load(o Options) (Config, error) {
	c, err := merge(o)
	if err != nil {
		return Config{}, err
	}
	if err := c.Validate(time.Now()); err != nil {
		return Config{}, err
	}
	var errs []error
	for _, s := range c.secrets() {
		_, err := s.Read()
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return Config{}, err
	}
	return c, nil
}

// layer is what one source says: values by key, each of its key's type.
type layer map[string]any

// merge lays the sources over one another. Whether the outcome makes sense is
// not its business.
func merge(o Options) (Config, error) {
	file, fileErr := readFile(o.File)
	env, envErr := readEnv(o.Env)
	flags, flagErr := readFlags(o.Flags)
	if err := errors.Join(fileErr, envErr, flagErr); err != nil {
		return Config{}, err
	}
	k := koanf.New(".")
	for _, l := range []layer{defaults(), file, env, flags} {
		if err := k.Load(confmap.Provider(l, "."), nil); err != nil {
			return Config{}, fmt.Errorf("merging the configuration: %w", err)
		}
	}
	var c Config
	if err := k.UnmarshalWithConf("", &c, koanf.UnmarshalConf{Tag: "koanf"}); err != nil {
		return Config{}, fmt.Errorf("merging the configuration: %w", err)
	}
	return c, nil
}

func defaults() layer {
	l := layer{}
	value := reflect.ValueOf(Default())
	for name, k := range keys {
		if v := value.FieldByIndex(k.index); v.Kind() != reflect.Pointer || !v.IsNil() {
			l[name] = v.Interface()
		}
	}
	return l
}

func readFile(path string) (layer, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w: name an existing file with --config", err)
	}
	return decodeYAML(path, data)
}

// serviceLink matches what Kubernetes sets in every pod for a Service whose
// name begins with groupsync. No key looks like it.
var serviceLink = regexp.MustCompile(`_SERVICE_(HOST|PORT)$|_SERVICE_PORT_\w+$|_PORT$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$`)

func readEnv(env []string) (layer, error) {
	byName := make(map[string]string, len(keys))
	for name := range keys {
		byName[envName(name)] = name
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
		l[key] = v
	}
	return l, errors.Join(errs...)
}

func envName(key string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// AddFlags adds a flag for each key to the set, --keycloak.url for keycloak.url,
// except for secrets: other users of a machine can read a command line. The
// flags are hidden, being as many as there are keys.
func AddFlags(flags *pflag.FlagSet) {
	for _, name := range keyNames {
		k := keys[name]
		if k.typ == reflect.TypeFor[Masked]() {
			continue
		}
		flags.String(name, "", "the key "+name)
		flags.Lookup(name).Hidden = true
		if k.typ.Kind() == reflect.Bool {
			flags.Lookup(name).NoOptDefVal = "true"
		}
	}
}

// readFlags takes the flags that are named as a key is; what else a command
// has is not of the configuration.
func readFlags(flags *pflag.FlagSet) (layer, error) {
	if flags == nil {
		return nil, nil
	}
	l := layer{}
	var errs []error
	flags.Visit(func(f *pflag.Flag) {
		if _, known := keys[f.Name]; !known {
			return
		}
		v, err := parse(f.Name, f.Value.String())
		if err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w", f.Name, err))
			return
		}
		l[f.Name] = v
	})
	return l, errors.Join(errs...)
}

// parse reads the text of a variable or a flag: text as it is, anything else
// as YAML would.
func parse(name, text string) (any, error) {
	k := keys[name]
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
