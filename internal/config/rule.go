package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gobwas/glob"
	"github.com/robfig/cron/v3"

	"groupsync/internal/config/clearmlenv"
	"groupsync/internal/target"
	"groupsync/internal/transport"
)

// rule says which values of a key are allowed. Values of another type are refused earlier.
type rule struct {
	// check calls wrong for each fault of the value. If check is nil, every value is allowed.
	check func(c *checking, value any)
	// schema holds the rule as JSON Schema, as far as a schema can express the rule. A test
	// compares check with schema.
	schema map[string]any
}

// checking holds what the check of one key needs, and the faults that the check has found.
type checking struct {
	config Config // the whole configuration, for rules that compare two keys
	now    time.Time
	key    string
	errs   []error
}

// wrong adds an error that begins with the name of the key.
func (c *checking) wrong(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(c.key+": "+format, args...))
}

// Validate returns one error that joins a sentence for each wrong value, in the order of the
// keys. It returns nil if every value is allowed. It reads no file and no clock: now is the time
// for checks of the schedule.
func (c Config) Validate(now time.Time) error {
	var errs []error
	for _, k := range keys {
		if k.rule.check != nil {
			check := checking{config: c, now: now, key: k.name}
			k.rule.check(&check, k.of(c))
			errs = append(errs, check.errs...)
		}
	}
	return errors.Join(errs...)
}

// The rules of texts.
var (
	anything rule
	filled   = text(map[string]any{"pattern": `\S`}, func(c *checking, text string) {
		if strings.TrimSpace(text) == "" {
			c.wrong("is missing: set it")
		}
	})
	schedule  = text(nil, validSchedule)
	adminRole = rule{check: func(c *checking, v any) { validRole(c, v.(*string)) }}
	stateDir  = text(nil, func(c *checking, dir string) {
		if lease := c.config.Lease.Name; dir != "" && objectName.MatchString(lease) {
			c.wrong("cannot be combined with lease.name. With a Lease, the guards' memory is in a ConfigMap that every replica can read: leave state_dir empty")
		}
	})
	leaseName = text(map[string]any{"pattern": `^(` + objectPattern + `)?$`}, func(c *checking, name string) {
		if name != "" && !objectName.MatchString(name) {
			c.wrong("%q is not a valid name of a Kubernetes object: write lower-case letters, digits and dashes, 202 at most", name)
		}
	})
	leaseNamespace = text(nil, func(c *checking, namespace string) {
		if namespace != "" && c.config.Lease.Name == "" {
			c.wrong("is set without lease.name: set lease.name too, or neither for a single replica")
		}
	})
	listen = text(map[string]any{"pattern": `^([^:\[\]]*|\[[^\[\]]*\]):[^:\[\]]+$`}, func(c *checking, address string) {
		if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
			c.wrong("%q is not an address: write host:port, 127.0.0.1:8080 or :8080 for example", address)
		}
	})
)

// objectPattern matches a name that Kubernetes accepts for a Lease. The name of the memory's
// ConfigMap is the Lease's name with "-memory" added, so the pattern allows only 202 characters.
const objectPattern = `[a-z0-9]([-a-z0-9.]{0,200}[a-z0-9])?`

var objectName = regexp.MustCompile(`^` + objectPattern + `$`)

func text(schema map[string]any, check func(*checking, string)) rule {
	return rule{func(c *checking, v any) { check(c, v.(string)) }, schema}
}

func oneOf(allowed ...string) rule {
	enum := make([]any, len(allowed))
	for i, a := range allowed {
		enum[i] = a
	}
	return text(map[string]any{"enum": enum}, func(c *checking, text string) {
		if !slices.Contains(allowed, text) {
			c.wrong("%q is unknown: write %s", text, strings.Join(allowed, " or "))
		}
	})
}

func serverURL(example string) rule {
	return text(map[string]any{"pattern": `^https?://[^/?#@:][^/?#@]*(/[^?#@]*)?$`}, func(c *checking, text string) {
		if _, err := transport.ServerURL(text, example); err != nil {
			c.wrong("%w", err)
		}
	})
}

// secret is the rule that exactly one of the two keys of a secret is set: the secret itself, or
// the file that holds it.
func secret(of func(Config) Secret) rule {
	return rule{check: func(c *checking, _ any) {
		switch s := of(c.config); {
		case s.value == "" && s.file == "":
			c.wrong("is missing: set %s_file, or %s", c.key, c.key)
		case s.value != "" && s.file != "":
			c.wrong("is set, and %s_file too: keep one of them", c.key)
		}
	}}
}

func validSchedule(c *checking, spec string) {
	if strings.Contains(spec, "TZ=") {
		c.wrong("%q names a time zone, but schedules are in UTC: write the schedule without a time zone", spec)
		return
	}
	// robfig/cron would accept a duration under a second, and a negative one, and use 1 s.
	if every, is := strings.CutPrefix(spec, "@every "); is {
		if d, err := time.ParseDuration(every); err == nil && d < time.Second {
			c.wrong("%q is less than a second: write a longer one, @every 15m for example", spec)
			return
		}
	}
	s, err := cron.ParseStandard(spec)
	switch {
	case err != nil:
		c.wrong("%q is not a schedule (%w): write @every 15m, @hourly, or five cron fields", spec, err)
	case s.Next(c.now.UTC()).IsZero():
		c.wrong("%q never occurs: write a date that exists", spec)
	}
}

func validRole(c *checking, role *string) {
	if role == nil {
		if len(c.config.Admins.Groups) > 0 {
			c.wrong(`must be set when admins.groups is set. ClearML's login also makes administrators from a role claim. If groupsync does not know this role, groupsync and ClearML's login undo each other's changes: write the role that ClearML's login reads, as client/role or realm:role, or "" if it reads none`)
		}
		return
	}
	name, inRealm := strings.CutPrefix(*role, clearmlenv.RealmRole)
	switch {
	case inRealm && strings.TrimSpace(name) == "":
		c.wrong(`%q names no role: write the realm role's name after realm:, or "" for none`, *role)
	case !inRealm && (strings.HasPrefix(*role, "/") || strings.Index(*role, "/") == len(*role)-1 && *role != ""):
		c.wrong("%q is not client/role: write both parts, clearml/admin for example, or realm: and the name of a realm role", *role)
	}
}

// The rules of numbers and durations.
var (
	notNegative = duration(durations, func(c *checking, d time.Duration) {
		if d < 0 {
			c.wrong("%s is negative: write 0s or more", d)
		}
	})
	positive = duration(longer, func(c *checking, d time.Duration) {
		if d <= 0 {
			c.wrong("%s is not a positive duration: write more than 0s", d)
		}
	})
	planAge = duration(durations, func(c *checking, d time.Duration) {
		switch {
		case d < 0:
			c.wrong("%s is negative: write 1m or more, or 0s for no limit", d)
		case d != 0 && d < leastAge:
			c.wrong("%s is too short, because reading alone may take a minute and nothing would be written: write 1m or more, or 0s for no limit", d)
		}
	})
	ratio = rule{func(c *checking, v any) {
		if r := v.(float64); !(r >= 0 && r <= 1) { // written so that NaN is refused too
			c.wrong("%v is not a ratio: write a number from 0 (no limit) to 1", r)
		}
	}, map[string]any{"minimum": 0, "maximum": 1}}
)

// leastAge is the smallest value of guards.max_age, except 0. A pass reads both sides and asks
// again about each change, and one slow request alone may take keycloak.timeout (1m by default).
// With a smaller value, each such pass would end before its first write.
const leastAge = time.Minute

func duration(schema map[string]any, check func(*checking, time.Duration)) rule {
	return rule{func(c *checking, v any) { check(c, v.(time.Duration)) }, schema}
}

func least(n int) rule {
	return rule{func(c *checking, v any) {
		if v.(int) < n {
			c.wrong("%d is too small: write %d or more", v, n)
		}
	}, map[string]any{"minimum": n}}
}

// The rules of lists and mappings.
var (
	noneEmpty = texts(nil, func(*checking, []string) {})
	globs     = texts(nil, func(c *checking, list []string) {
		for _, g := range list {
			if _, err := glob.Compile(g); err != nil {
				c.wrong(`%q is not a valid glob (%w): correct it, or escape the character with \`, g, err)
			}
		}
	})
	adminGroups = texts(map[string]any{"items": map[string]any{"type": "string", "minLength": 1, "pattern": `^([^/]|/[\s\S])`}}, func(c *checking, names []string) {
		if slices.Contains(names, "/") {
			c.wrong(`"/" names no group: write the path of one, /teams/clearml-admins for example`)
		}
	})
	protections = rule{check: func(c *checking, v any) { validProtections(c, v.([]Protection)) }}
	mapping     = rule{check: func(c *checking, v any) { validMapping(c, v.(Mapping)) }}
)

// texts is the rule that no entry of a list is empty. check adds further conditions.
func texts(schema map[string]any, check func(*checking, []string)) rule {
	return rule{func(c *checking, v any) {
		list := v.([]string)
		if slices.Contains(list, "") {
			c.wrong("has an empty entry: remove it")
		}
		check(c, list)
	}, schema}
}

func validMapping(c *checking, m Mapping) {
	same := func(a, b string) bool { return a == b }
	if !c.config.Groups.CaseSensitive {
		same = strings.EqualFold
	}
	names := slices.Sorted(maps.Keys(m))
	for i, from := range names {
		to := m[from]
		if from == "" || len(to) == 0 || slices.Contains(to, "") {
			c.wrong("%q names no ClearML group: name one, or put the group into groups.exclude", from)
		}
		if twin := slices.IndexFunc(names[:i], func(name string) bool { return same(name, from) }); twin >= 0 {
			c.wrong("%q and %q differ only by case, and groups.case_sensitive is false, so they are one name: keep one of them", names[twin], from)
		}
		for _, name := range to {
			if slices.ContainsFunc(target.BuiltinNames, func(builtin string) bool { return same(builtin, name) }) {
				c.wrong("%q feeds %q, which is built into ClearML, and groupsync writes no built-in group: map the name to another ClearML group, or name administrators in admins.groups", from, name)
			}
		}
	}
}
