package config

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "write config.example.yaml")

const example = "../../config.example.yaml"

const exampleHead = `# Every key of groupsync with its default. You can also set a key in the environment
# (keycloak.url: GROUPSYNC_KEYCLOAK_URL) or by a flag (--keycloak.url). A flag wins
# over the environment, and the environment wins over this file. ClearML's own
# variables (--clearml-env, docs/clearml-variables.md) replace defaults.
# ` + "`" + `groupsync config` + "`" + ` prints the configuration in force, and where each value is from.
# Durations are written 30s, 15m, 1h. An unknown key is an error.
`

// exampleOf has, by key, the comment below the key in config.example.yaml.
var exampleOf = map[string]string{
	"users.protect": `  # An exception keeps the memberships of the people whose email or id matches the glob match.
  # It adds nobody. groups: names or ids of ClearML groups; absent: every group. until: a day,
  # whose end in UTC ends the exception, or a time such as 2026-12-31T18:00:00+01:00; absent:
  # no end. reason: a text that groupsync shows if the exception keeps somebody.
  # protect:
  #   - breakglass@*
  #   - {match: "ann@example.com", groups: [nlp], until: 2026-12-31, reason: "hands over, TICKET-7"}
`,
}

// renderExample returns config.example.yaml: a block for each section, with the comments of
// a block below one another.
func renderExample() string {
	var out strings.Builder
	out.WriteString(exampleHead)
	for start := 0; start < len(keys); {
		section, _, _ := cutSection(keys[start].name)
		lines, width := [][3]string{}, 29
		end := start
		for ; end < len(keys); end++ {
			in, name, indent := cutSection(keys[end].name)
			if in != section {
				break
			}
			value := keys[end].initial
			if keys[end].example != "" {
				value = keys[end].example
			}
			line := indent + name + ": " + value
			lines, width = append(lines, [3]string{keys[end].name, line, keys[end].doc}), max(width, len(line))
		}
		out.WriteString("\n")
		switch doc := sections[section]; {
		case section == "":
		case doc == "":
			out.WriteString(section + ":\n")
		default:
			fmt.Fprintf(&out, "%-*s # %s\n", width, section+":", doc)
		}
		for _, l := range lines {
			fmt.Fprintf(&out, "%-*s # %s\n%s", width, l[1], l[2], exampleOf[l[0]])
		}
		start = end
	}
	return out.String()
}

// cutSection splits the name of a key, and returns the indent of the key in a file.
func cutSection(key string) (section, name, indent string) {
	if section, name, in := strings.Cut(key, "."); in {
		return section, name, "  "
	}
	return "", key, ""
}

// TestTheExampleIsTheTable: config.example.yaml is made from the table of keys.
func TestTheExampleIsTheTable(t *testing.T) {
	if *update {
		if err := os.WriteFile(example, []byte(renderExample()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(data), renderExample()); d != "" {
		t.Errorf("run go test ./internal/config -update\n-example +table\n%s", d)
	}
}

// TestTheExampleIsValid: the example loads, and has the default of each key, except the keys that
// must be set.
func TestTheExampleIsValid(t *testing.T) {
	said, err := decodeYAML(example, []byte(renderExample()))
	if err != nil {
		t.Fatal(err)
	}
	got := merge(said).Config
	if err := got.Validate(time.Now()); err != nil {
		t.Errorf("the example is not valid:\n%v", err)
	}
	role := "" // admins.role has no default
	want := Default()
	want.Admins.Role = &role
	ignore := []cmp.Option{
		cmpopts.IgnoreFields(Keycloak{}, "URL", "Realm", "ClientSecretFile"),
		cmpopts.IgnoreFields(ClearML{}, "URL", "AccessKeyFile", "SecretKeyFile"),
	}
	if d := cmp.Diff(want, got, ignore...); d != "" {
		t.Errorf("the example differs from the defaults:\n%s", d)
	}
	for _, k := range keys {
		if k.doc == "" {
			t.Errorf("%s has no line of documentation", k.name)
		}
	}
}
