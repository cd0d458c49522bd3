package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/gobwas/glob"
	"go.yaml.in/yaml/v3"
)

// Protection is one entry of users.protect. groupsync removes no membership of the people
// whose email or id matches the glob Match. An entry that also sets Groups, Until or Reason is
// called an exception. Groups limits the protection to some user groups, and Until limits its
// time. Reports show the Reason.
type Protection struct {
	Match  string   `yaml:"match"`            // glob over emails and ids
	Groups []string `yaml:"groups,omitempty"` // names or ids of ClearML groups; nil: every group
	Until  string   `yaml:"until,omitempty"`  // end of the protection, as in the file: a day (its end in UTC) or a time; empty: no end
	Reason string   `yaml:"reason,omitempty"`
}

// Plain reports whether the entry is only a glob, and not an exception.
func (p Protection) Plain() bool { return p.Groups == nil && p.Until == "" && p.Reason == "" }

// MarshalYAML returns the glob if the entry is only a glob, and otherwise a mapping.
func (p Protection) MarshalYAML() (any, error) {
	if p.Plain() {
		return p.Match, nil
	}
	type mapping Protection
	return mapping(p), nil
}

// End returns the time, in UTC, from which the entry protects nobody. It returns the zero time
// if the entry has no end. The configuration must be valid.
func (p Protection) End() time.Time {
	end, err := p.end()
	if err != nil {
		panic("config: End of a configuration that was not validated: " + err.Error())
	}
	return end
}

// end returns the time that Until means. If Until is a day, this is the end of the day in UTC.
func (p Protection) end() (time.Time, error) {
	if p.Until == "" {
		return time.Time{}, nil
	}
	if day, err := time.Parse(time.DateOnly, p.Until); err == nil {
		return day.AddDate(0, 0, 1), nil
	}
	at, err := time.Parse(time.RFC3339, p.Until)
	return at.UTC(), err
}

// Ended returns a sentence for each entry of users.protect that has ended at the time now, in
// the order of the entries. The sentences name no people. The configuration must be valid.
func (u Users) Ended(now time.Time) (remarks []string) {
	for i, p := range u.Protect {
		if end := p.End(); !end.IsZero() && !now.Before(end) {
			remarks = append(remarks, fmt.Sprintf("users.protect: entry %d ended at %s and no longer protects anybody: remove the entry, or set a later end", i+1, end.Format(time.RFC3339)))
		}
	}
	return remarks
}

func validProtections(c *checking, list []Protection) {
	if slices.ContainsFunc(list, func(p Protection) bool { return p.Match == "" && p.Plain() }) {
		c.wrong("has an empty entry: remove it")
		return
	}
	for i, p := range list {
		if err := p.validate(); err != nil {
			c.wrong("entry %d: %w", i+1, err)
		}
	}
}

func (p Protection) validate() error {
	switch {
	case p.Match == "":
		return errors.New("match is missing: write a glob over the emails and ids of the people whom the exception protects")
	case p.Groups != nil && len(p.Groups) == 0:
		return errors.New("groups is empty: name a group, or leave groups out to protect the people in every group")
	case slices.Contains(p.Groups, ""):
		return errors.New("groups has an empty entry: remove it")
	}
	if _, err := glob.Compile(p.Match); err != nil {
		return fmt.Errorf("%q is not a valid glob (%w): correct it, or escape the character with \\", p.Match, err)
	}
	if _, err := p.end(); err != nil {
		return fmt.Errorf("until: %q is neither a day nor a time: write 2026-12-31 for the end of that day in UTC, or 2026-12-31T18:00:00Z", p.Until)
	}
	return nil
}

// protections decodes a list of globs and exceptions.
func (k key) protections(n *yaml.Node) ([]Protection, error) {
	if n.Kind != yaml.SequenceNode {
		return nil, k.mistyped(n)
	}
	list := make([]Protection, 0, len(n.Content))
	for i, item := range n.Content {
		item = resolve(item)
		switch {
		case item.Kind == yaml.ScalarNode && item.ShortTag() == "!!str":
			list = append(list, Protection{Match: item.Value})
		case item.Kind == yaml.MappingNode:
			p, err := protection(item)
			if err != nil {
				return nil, fmt.Errorf("entry %d: %w", i+1, err)
			}
			list = append(list, p)
		default:
			return nil, fmt.Errorf("expected %s, got %s in the list: put it in quotes", k.expected(), kindOf(item))
		}
	}
	return list, nil
}

// protectionKeys are the keys of an exception.
var protectionKeys = map[string]string{"match": "match", "groups": "groups", "until": "until", "reason": "reason"}

// protection decodes one exception.
func protection(n *yaml.Node) (p Protection, err error) {
	text := key{typ: reflect.TypeFor[string]()}
	seen := make(map[string]bool)
	for i := 0; i < len(n.Content) && err == nil; i += 2 {
		name, value := n.Content[i].Value, resolve(n.Content[i+1])
		if _, known := protectionKeys[name]; !known {
			return p, fmt.Errorf("unknown key %q%s", name, suggest(name, protectionKeys))
		}
		if seen[name] {
			return p, fmt.Errorf("%s occurs twice: keep one of them", name)
		}
		seen[name] = true
		var v any
		switch name {
		case "groups":
			p.Groups, err = key{typ: reflect.TypeFor[[]string]()}.texts(value)
		case "until":
			p.Until, err = until(value)
		case "match":
			v, err = text.decode(value)
			p.Match, _ = v.(string)
		case "reason":
			v, err = text.decode(value)
			p.Reason, _ = v.(string)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
	}
	return p, err
}

// until returns the text of a day or a time. In YAML it may be in quotes or not.
func until(n *yaml.Node) (string, error) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" && n.ShortTag() != "!!timestamp" {
		return "", fmt.Errorf("expected a day such as 2026-12-31 or a time such as 2026-12-31T18:00:00Z, got %s", kindOf(n))
	}
	return n.Value, nil
}
