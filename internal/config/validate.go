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

// Validate returns one error that joins a sentence for each wrong value, in the
// order of the keys. It returns nil if every value is right. It is pure: it reads
// no file, and takes the time from now.
func (c Config) Validate(now time.Time) error {
	return errors.Join(
		filled("name", c.Name),
		oneOf("mode", c.Mode, Observe, Apply),
		validSchedule(c.Schedule, now),
		notNegative("jitter", c.Jitter),
		notNegative("shutdown_timeout", c.ShutdownTimeout),
		atLeast("state.keep", c.State.Keep, 0),
		notNegative("state.keep_for", c.State.KeepFor),
		oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error"),
		oneOf("log.format", c.Log.Format, "text", "json"),
		c.Keycloak.validate(),
		c.ClearML.validate(),
		c.Groups.validate(),
		c.Admins.validate(),
		c.Users.validate(),
		c.Guards.validate(),
		notNegative("leavers.interval", c.Leavers.Interval),
		c.Lease.validate(c.StateDir),
		c.Web.validate(),
	)
}

func (c Config) secrets() []Secret {
	return []Secret{c.Keycloak.Secret(), c.ClearML.Access(), c.ClearML.Secret()}
}

// Cron returns the schedule, in UTC. The configuration must be valid.
func (c Config) Cron() cron.Schedule {
	s, err := cron.ParseStandard(c.Schedule)
	if err != nil {
		panic("config: Cron of a configuration that was not validated: " + err.Error())
	}
	return s
}

func validSchedule(spec string, now time.Time) error {
	if strings.Contains(spec, "TZ=") {
		return fmt.Errorf("schedule: %q names a time zone: schedules are in UTC, where no hour is missing or doubled", spec)
	}
	// robfig/cron turns less than a second, and a negative duration, into a second.
	if every, is := strings.CutPrefix(spec, "@every "); is {
		if d, err := time.ParseDuration(every); err == nil && d < time.Second {
			return fmt.Errorf("schedule: %q is less than a second: write a longer one, @every 15m for example", spec)
		}
	}
	s, err := cron.ParseStandard(spec)
	if err != nil {
		return fmt.Errorf("schedule: %q is no schedule (%w): write @every 15m, @hourly, or five cron fields", spec, err)
	}
	if s.Next(now.UTC()).IsZero() {
		return fmt.Errorf("schedule: %q never comes true: write a date that exists", spec)
	}
	return nil
}

func (k Keycloak) validate() error {
	return errors.Join(
		validURL("keycloak.url", k.URL, "https://auth.example.com"),
		filled("keycloak.realm", k.Realm),
		filled("keycloak.client_id", k.ClientID),
		k.Secret().named(),
		positive("keycloak.timeout", k.Timeout),
		atLeast("keycloak.concurrency", k.Concurrency, 1),
		noneEmpty("keycloak.trusted_federations", k.TrustedFederations),
		oneOf("keycloak.events", k.Events, "off", "poll"),
		positive("keycloak.events_interval", k.EventsInterval),
	)
}

func (c ClearML) validate() error {
	return errors.Join(
		validURL("clearml.url", c.URL, "https://api.clearml.example.com"),
		c.Access().named(),
		c.Secret().named(),
		positive("clearml.timeout", c.Timeout),
		filled("clearml.provider", c.Provider),
	)
}

func (g Groups) validate() error {
	same := func(a, b string) bool { return a == b }
	if !g.CaseSensitive {
		same = strings.EqualFold
	}
	errs := []error{
		filled("groups.claim", g.Claim),
		validGlobs("groups.include", g.Include),
		validGlobs("groups.exclude", g.Exclude),
	}
	names := slices.Sorted(maps.Keys(g.Mapping))
	for i, from := range names {
		to := g.Mapping[from]
		if from == "" || len(to) == 0 || slices.Contains(to, "") {
			errs = append(errs, fmt.Errorf("groups.mapping: %q names no ClearML group: name one, or put the group into groups.exclude", from))
		}
		if twin := slices.IndexFunc(names[:i], func(name string) bool { return same(name, from) }); twin >= 0 {
			errs = append(errs, fmt.Errorf("groups.mapping: %q and %q differ only by case, and groups.case_sensitive is false, so they are one name: keep one of them", names[twin], from))
		}
		for _, name := range to {
			if slices.ContainsFunc(target.BuiltinNames, func(builtin string) bool { return same(builtin, name) }) {
				errs = append(errs, fmt.Errorf("groups.mapping: %q feeds %q, which is built into ClearML, and groupsync does not write it: map it to a group of your own, or name administrators in admins.groups", from, name))
			}
		}
	}
	return errors.Join(errs...)
}

func (a Admins) validate() error {
	var nameless, missing error
	if slices.Contains(a.Groups, "/") {
		nameless = errors.New(`admins.groups: "/" names no group: write the path of one, /teams/clearml-admins for example`)
	}
	if len(a.Groups) > 0 && a.Role == nil {
		missing = errors.New(`admins.role: must be written down when admins.groups is set: ClearML's login sync honours a role claim by default, and one sync would demote whom the other promotes: write the role, or "" for none`)
	}
	return errors.Join(noneEmpty("admins.groups", a.Groups), nameless, missing, a.validRole(), oneOf("admins.via", a.Via, "group", "role", "both"), atLeast("admins.floor", a.Floor, 0))
}

func (a Admins) validRole() error {
	if a.Role == nil {
		return nil
	}
	role := *a.Role
	name, inRealm := strings.CutPrefix(role, clearmlenv.RealmRole)
	switch {
	case inRealm && strings.TrimSpace(name) == "":
		return fmt.Errorf(`admins.role: %q names no role: write the realm role's name behind realm:, or "" for none`, role)
	case !inRealm && (strings.HasPrefix(role, "/") || strings.Index(role, "/") == len(role)-1 && role != ""):
		return fmt.Errorf("admins.role: %q is no client/role: write both, clearml/admin for example, or realm: and the name of a realm role", role)
	}
	return nil
}

func (u Users) validate() error {
	return errors.Join(
		oneOf("users.gone", u.Gone, "remove", "keep"),
		validProtections(u.Protect),
	)
}

func (g Guards) validate() error {
	var ratio error
	if !(g.MaxRemovalRatio >= 0 && g.MaxRemovalRatio <= 1) { // written so that NaN is refused too
		ratio = fmt.Errorf("guards.max_removal_ratio: %v is no ratio: write a number from 0 (no limit) to 1", g.MaxRemovalRatio)
	}
	return errors.Join(
		atLeast("guards.max_removals", g.MaxRemovals, 0),
		notNegative("guards.window", g.Window),
		ratio,
		atLeast("guards.free_removals", g.FreeRemovals, 0),
		atLeast("guards.max_gone", g.MaxGone, 0),
		atLeast("guards.max_admin_grants", g.MaxAdminGrants, 0),
		atLeast("guards.max_additions", g.MaxAdditions, 0),
		notNegative("guards.federation_grace", g.FederationGrace),
		notNegative("guards.gone_grace", g.GoneGrace),
		validAge(g.MaxAge),
		oneOf("guards.on_trip", g.OnTrip, "additions_only", "stop"),
	)
}

// leastAge is the shortest limit of a plan's age. A pass reads both sides and asks
// again about each change, and one slow request alone may take keycloak.timeout
// (1m by default). A shorter limit would end such a pass before its first write,
// every time.
const leastAge = time.Minute

func validAge(d time.Duration) error {
	switch {
	case d < 0:
		return fmt.Errorf("guards.max_age: %s is negative: write 1m or more, or 0s for no limit", d)
	case d != 0 && d < leastAge:
		return fmt.Errorf("guards.max_age: %s is too short, because reading alone may take a minute and nothing would be written: write 1m or more, or 0s for no limit", d)
	}
	return nil
}

// objectName matches a name that Kubernetes accepts for a Lease. It leaves room for
// the longer name of the ConfigMap beside it.
var objectName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,200}[a-z0-9])?$`)

func (l Lease) validate(stateDir string) error {
	switch {
	case l.Name == "" && l.Namespace == "":
		return nil
	case l.Name == "":
		return errors.New("lease.namespace: is set without lease.name: set lease.name too, or neither for a single replica")
	case !objectName.MatchString(l.Name):
		return fmt.Errorf("lease.name: %q is no name of a Kubernetes object: write lower-case letters, digits and dashes, 202 at most", l.Name)
	case stateDir != "":
		return errors.New("state_dir: goes without lease.name: with a Lease, what the guards remember is in a ConfigMap beside it, where every replica finds it: leave state_dir empty")
	}
	return nil
}

func (w Web) validate() error {
	if _, port, err := net.SplitHostPort(w.Listen); err != nil || port == "" {
		return fmt.Errorf("web.listen: %q is no address: write host:port, 127.0.0.1:8080 or :8080 for example", w.Listen)
	}
	return nil
}

func validURL(key, text, example string) error {
	if _, err := transport.ServerURL(text, example); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

func validGlobs(key string, globs []string) error {
	errs := []error{noneEmpty(key, globs)}
	for _, g := range globs {
		if _, err := glob.Compile(g); err != nil {
			errs = append(errs, fmt.Errorf("%s: %q is no glob (%w): correct it, or escape the character with \\", key, g, err))
		}
	}
	return errors.Join(errs...)
}

func noneEmpty(key string, texts []string) error {
	if slices.Contains(texts, "") {
		return fmt.Errorf("%s: has an empty entry: remove it", key)
	}
	return nil
}

func filled(key, text string) error {
	if strings.TrimSpace(text) == "" {
		return fmt.Errorf("%s: is missing: set it", key)
	}
	return nil
}

func oneOf(key, text string, allowed ...string) error {
	if !slices.Contains(allowed, text) {
		return fmt.Errorf("%s: %q is unknown: write %s", key, text, strings.Join(allowed, " or "))
	}
	return nil
}

func notNegative(key string, d time.Duration) error {
	if d < 0 {
		return fmt.Errorf("%s: %s is negative: write 0s or more", key, d)
	}
	return nil
}

func positive(key string, d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("%s: %s is no time at all: write more than 0s", key, d)
	}
	return nil
}

func atLeast(key string, n, least int) error {
	if n < least {
		return fmt.Errorf("%s: %d is too little: write %d or more", key, n, least)
	}
	return nil
}
