// Package config holds the configuration of groupsync as one value. It loads the file, the
// environment and flags over the defaults, and validates the result. One table (table.go)
// has a row for each key: defaults, validation, schema, flags, variables and
// config.example.yaml are made from it.
package config

import (
	"reflect"
	"slices"
	"time"

	"github.com/robfig/cron/v3"
)

// Config is the whole configuration. Load and Default return a Config. The zero value is not
// valid. The tags are the names of the keys.
type Config struct {
	Name            string        `key:"name"`
	Mode            string        `key:"mode"`
	Schedule        string        `key:"schedule"`
	Jitter          time.Duration `key:"jitter"`
	ShutdownTimeout time.Duration `key:"shutdown_timeout"`
	StateDir        string        `key:"state_dir"`
	State           State         `key:"state"`
	Log             Log           `key:"log"`
	Keycloak        Keycloak      `key:"keycloak"`
	ClearML         ClearML       `key:"clearml"`
	Groups          Groups        `key:"groups"`
	Admins          Admins        `key:"admins"`
	Users           Users         `key:"users"`
	Guards          Guards        `key:"guards"`
	Leavers         Leavers       `key:"leavers"`
	Lease           Lease         `key:"lease"`
	Web             Web           `key:"web"`
}

// The values of mode.
const (
	Observe = "observe"
	Apply   = "apply"
)

// State says how many reports the journal in state_dir keeps, and for how long.
type State struct {
	Keep    int           `key:"keep"`     // largest number of reports; 0: there is no journal
	KeepFor time.Duration `key:"keep_for"` // largest age of a report; 0: any age
}

// Log holds the settings of the log.
type Log struct {
	Level  string `key:"level"`  // debug, info, warn or error
	Format string `key:"format"` // text or json
}

// Keycloak holds the address of the realm, the credentials, and the settings of reading it.
type Keycloak struct {
	URL                string        `key:"url"`
	Realm              string        `key:"realm"`
	ClearMLClientID    string        `key:"clearml_client_id"` // the client through which ClearML signs people in; empty: unknown; only groupsync check uses it
	ClientID           string        `key:"client_id"`
	ClientSecret       Masked        `key:"client_secret"`
	ClientSecretFile   string        `key:"client_secret_file"`
	CAFile             string        `key:"ca_file"`
	InsecureSkipVerify bool          `key:"insecure_skip_verify"`
	Timeout            time.Duration `key:"timeout"`
	Concurrency        int           `key:"concurrency"`
	// TrustedFederations names user federations whose failed probes groupsync ignores. A probe
	// is a question to a federation that shows whether it answers. Only
	// guards.federation_grace then protects the people of these federations.
	TrustedFederations []string `key:"trusted_federations"`

	Events         string        `key:"events"`          // off or poll: whether admin events bring passes forward
	EventsInterval time.Duration `key:"events_interval"` // time between two readings of admin events
}

// ClearML holds the address of ClearML's API, the credentials, and the settings of its use.
type ClearML struct {
	URL                string        `key:"url"`
	AccessKey          Masked        `key:"access_key"`
	AccessKeyFile      string        `key:"access_key_file"`
	SecretKey          Masked        `key:"secret_key"`
	SecretKeyFile      string        `key:"secret_key_file"`
	CAFile             string        `key:"ca_file"`
	InsecureSkipVerify bool          `key:"insecure_skip_verify"`
	Timeout            time.Duration `key:"timeout"`
	Provider           string        `key:"provider"`
}

// Mapping holds, for each claim name, the names of the user groups that it feeds.
type Mapping map[string][]string

// Groups says which groups of Keycloak feed which user groups, and how names are compared.
type Groups struct {
	Claim         string   `key:"claim"`
	FullPath      bool     `key:"full_path"`
	CaseSensitive bool     `key:"case_sensitive"` // false: names that differ only by case are one name
	Include       []string `key:"include"`
	Exclude       []string `key:"exclude"`
	Mapping       Mapping  `key:"mapping"`
}

// Admins says who becomes an administrator of ClearML.
type Admins struct {
	Groups []string `key:"groups"` // claim names, or paths that begin with /
	Role   *string  `key:"role"`   // NAME, client/NAME or realm:NAME; empty: none; nil: not set
	Via    string   `key:"via"`    // what makes an administrator in ClearML: group, role or both
	Floor  int      `key:"floor"`
}

// Users says which people keep their memberships although they are not in Keycloak's groups.
type Users struct {
	Gone    string       `key:"gone"` // remove or keep
	Protect []Protection `key:"protect"`
}

// Guards holds the limits of the guards, which withhold changes. 0 turns a limit off.
type Guards struct {
	MaxRemovals     int           `key:"max_removals"`
	Window          time.Duration `key:"window"`
	MaxRemovalRatio float64       `key:"max_removal_ratio"`
	FreeRemovals    int           `key:"free_removals"`
	MaxGone         int           `key:"max_gone"`
	MaxAdminGrants  int           `key:"max_admin_grants"` // new administrators in a pass, and within Window
	MaxAdditions    int           `key:"max_additions"`    // additions in a pass, and within Window
	FederationGrace time.Duration `key:"federation_grace"`
	GoneGrace       time.Duration `key:"gone_grace"` // how long a person whom ClearML knows only by email must be gone
	MaxAge          time.Duration `key:"max_age"`    // from the start of a plan's reads to its last write
	OnTrip          string        `key:"on_trip"`    // additions_only or stop
}

// Leavers says how often the daemon counts the leavers: people who are disabled or gone in
// Keycloak and still hold something in ClearML.
type Leavers struct {
	Interval time.Duration `key:"interval"` // 0: never
}

// Lease names the Kubernetes Lease of the replicas.
type Lease struct {
	Name      string `key:"name"`
	Namespace string `key:"namespace"`
}

// Web says what the web server serves, and at which address.
type Web struct {
	Listen          string `key:"listen"`
	ConfigFile      string `key:"config_file"`
	EnableLifecycle bool   `key:"enable_lifecycle"`
	PublicStatus    bool   `key:"public_status"` // anybody who can reach Listen may see people's names
}

// Default returns the configuration with the defaults of the table of keys (table.go). The
// required keys (URLs, realm, secrets) and admins.role have no default.
func Default() (c Config) {
	for _, k := range keys {
		k.set(&c, k.initialValue())
	}
	return c
}

// Cron returns the schedule, in UTC. The configuration must be valid.
func (c Config) Cron() cron.Schedule {
	s, err := cron.ParseStandard(c.Schedule)
	if err != nil {
		panic("config: Cron of a configuration that was not validated: " + err.Error())
	}
	return s
}

func (c Config) secrets() []Secret {
	return []Secret{c.Keycloak.Secret(), c.ClearML.Access(), c.ClearML.Secret()}
}

// fixed holds the keys and sections that a process reads only when it starts. A reload cannot
// change them.
var fixed = []string{"name", "shutdown_timeout", "state_dir", "log", "lease", "web"}

// Unchangeable returns the keys and sections that have another value in next, and that a
// running process cannot change (fixed).
func (c Config) Unchangeable(next Config) []string {
	var differ []string
	a, b := reflect.ValueOf(c), reflect.ValueOf(next)
	for i := range a.NumField() {
		key := a.Type().Field(i).Tag.Get("key")
		if slices.Contains(fixed, key) && !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			differ = append(differ, key)
		}
	}
	return differ
}
