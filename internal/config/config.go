// Package config holds the configuration of groupsync as one value. It knows the
// defaults, loads a file, the environment and flags, and validates the result.
// The tags of Config are the names of the keys everywhere: in the file, in
// variables, flags, the schema and the documentation.
package config

import (
	"reflect"
	"slices"
	"time"

	"groupsync/internal/transport"
)

// Config is the whole configuration. Load and Default return one; the zero value
// is not valid.
type Config struct {
	Name            string        `koanf:"name"`
	Mode            string        `koanf:"mode"`
	Schedule        string        `koanf:"schedule"`
	Jitter          time.Duration `koanf:"jitter"`
	ShutdownTimeout time.Duration `koanf:"shutdown_timeout"`
	StateDir        string        `koanf:"state_dir"`
	State           State         `koanf:"state"`
	Log             Log           `koanf:"log"`
	Keycloak        Keycloak      `koanf:"keycloak"`
	ClearML         ClearML       `koanf:"clearml"`
	Groups          Groups        `koanf:"groups"`
	Admins          Admins        `koanf:"admins"`
	Users           Users         `koanf:"users"`
	Guards          Guards        `koanf:"guards"`
	Leavers         Leavers       `koanf:"leavers"`
	Lease           Lease         `koanf:"lease"`
	Web             Web           `koanf:"web"`
}

// The values of mode.
const (
	Observe = "observe"
	Apply   = "apply"
)

// State says how much of the journal in state_dir is kept.
type State struct {
	Keep    int           `koanf:"keep"`     // reports; 0: there is no journal
	KeepFor time.Duration `koanf:"keep_for"` // 0: a report may be of any age
}

// Log says what is logged, and how.
type Log struct {
	Level  string `koanf:"level"`  // debug, info, warn or error
	Format string `koanf:"format"` // text or json
}

// Keycloak says how the realm is read.
type Keycloak struct {
	URL                string        `koanf:"url"`
	Realm              string        `koanf:"realm"`
	ClearMLClientID    string        `koanf:"clearml_client_id"` // ClearML's own client; empty: unknown; only check reads the client
	ClientID           string        `koanf:"client_id"`
	ClientSecret       Masked        `koanf:"client_secret"`
	ClientSecretFile   string        `koanf:"client_secret_file"`
	CAFile             string        `koanf:"ca_file"`
	InsecureSkipVerify bool          `koanf:"insecure_skip_verify"`
	Timeout            time.Duration `koanf:"timeout"`
	Concurrency        int           `koanf:"concurrency"`
	// TrustedFederations names user federations whose silence means nothing:
	// their people are not held up by it, and only the grace protects them.
	TrustedFederations []string `koanf:"trusted_federations"`

	Events         string        `koanf:"events"`          // off or poll: whether admin events bring passes forward
	EventsInterval time.Duration `koanf:"events_interval"` // between two readings of admin events
}

// ClearML says how ClearML is read and written.
type ClearML struct {
	URL                string        `koanf:"url"`
	AccessKey          Masked        `koanf:"access_key"`
	AccessKeyFile      string        `koanf:"access_key_file"`
	SecretKey          Masked        `koanf:"secret_key"`
	SecretKeyFile      string        `koanf:"secret_key_file"`
	CAFile             string        `koanf:"ca_file"`
	InsecureSkipVerify bool          `koanf:"insecure_skip_verify"`
	Timeout            time.Duration `koanf:"timeout"`
	Provider           string        `koanf:"provider"`
}

// Mapping holds, for each claim name, the names of the user groups that it feeds.
type Mapping map[string][]string

// Groups says which groups are kept equal.
type Groups struct {
	Claim         string   `koanf:"claim"`
	FullPath      bool     `koanf:"full_path"`
	CaseSensitive bool     `koanf:"case_sensitive"` // false: names that differ only by case are one name
	Include       []string `koanf:"include"`
	Exclude       []string `koanf:"exclude"`
	Mapping       Mapping  `koanf:"mapping"`
}

// Admins says who becomes an administrator.
type Admins struct {
	Groups []string `koanf:"groups"` // claim names, or paths that begin with /
	Role   *string  `koanf:"role"`   // NAME, client/NAME or realm:NAME; empty: none; nil: not set
	Via    string   `koanf:"via"`    // what makes an administrator in ClearML: group, role or both
	Floor  int      `koanf:"floor"`
}

// Users says who never loses a membership.
type Users struct {
	Gone    string       `koanf:"gone"` // remove or keep
	Protect []Protection `koanf:"protect"`
}

// Guards holds the limits. 0 turns a limit off.
type Guards struct {
	MaxRemovals     int           `koanf:"max_removals"`
	Window          time.Duration `koanf:"window"`
	MaxRemovalRatio float64       `koanf:"max_removal_ratio"`
	FreeRemovals    int           `koanf:"free_removals"`
	MaxGone         int           `koanf:"max_gone"`
	MaxAdminGrants  int           `koanf:"max_admin_grants"` // new administrators in a pass, and within Window
	MaxAdditions    int           `koanf:"max_additions"`    // additions in a pass, and within Window
	FederationGrace time.Duration `koanf:"federation_grace"`
	GoneGrace       time.Duration `koanf:"gone_grace"` // how long a person known only by email must be gone
	MaxAge          time.Duration `koanf:"max_age"`    // of a plan, from the start of its reads; after it, no write
	OnTrip          string        `koanf:"on_trip"`    // additions_only or stop
}

// Leavers says how often the daemon counts people who left and still hold something.
type Leavers struct {
	Interval time.Duration `koanf:"interval"` // 0: never
}

// Lease names the Kubernetes Lease of the replicas.
type Lease struct {
	Name      string `koanf:"name"`
	Namespace string `koanf:"namespace"`
}

// Web says what is served over HTTP, and where.
type Web struct {
	Listen          string `koanf:"listen"`
	ConfigFile      string `koanf:"config_file"`
	EnableLifecycle bool   `koanf:"enable_lifecycle"`
	PublicStatus    bool   `koanf:"public_status"` // whoever reaches Listen may see people's names
}

// Default returns the defaults. The required keys (URLs, realm, secrets) are
// empty, and admins.role is not set.
func Default() Config {
	return Config{
		Name:            "default",
		Mode:            Observe,
		Schedule:        "@every 15m",
		Jitter:          30 * time.Second,
		ShutdownTimeout: 20 * time.Second,
		State:           State{Keep: 1000, KeepFor: 90 * 24 * time.Hour},
		Log:             Log{Level: "info", Format: "text"},
		Keycloak:        Keycloak{ClientID: "groupsync", Timeout: transport.KeycloakTimeout, Concurrency: 8, TrustedFederations: []string{}, Events: "off", EventsInterval: 5 * time.Second},
		// ClearML's API answers only after 30 s when its database is away
		// (reference/clearml-api.md). A shorter timeout would hide that error.
		ClearML: ClearML{Timeout: transport.ClearMLTimeout, Provider: "keycloak"},
		Groups:  Groups{Claim: "groups", CaseSensitive: true, Include: []string{"*"}, Exclude: []string{}, Mapping: Mapping{}},
		Admins:  Admins{Groups: []string{}, Via: "group", Floor: 1},
		Users:   Users{Gone: "remove", Protect: []Protection{}},
		Guards: Guards{
			MaxRemovals: 50, Window: 24 * time.Hour, MaxRemovalRatio: 0.25, FreeRemovals: 3, MaxGone: 5,
			MaxAdminGrants: 3, FederationGrace: time.Hour, GoneGrace: 24 * time.Hour, MaxAge: 10 * time.Minute,
			OnTrip: "additions_only",
		},
		Leavers: Leavers{Interval: 24 * time.Hour},
		Web:     Web{Listen: "127.0.0.1:8080"},
	}
}

// fixed holds the keys, or sections, that a process reads only when it starts.
var fixed = []string{"name", "shutdown_timeout", "state_dir", "log", "lease", "web"}

// Unchangeable returns the keys, or sections, that differ in the next
// configuration and that a running process cannot take over.
func (c Config) Unchangeable(next Config) []string {
	var differ []string
	a, b := reflect.ValueOf(c), reflect.ValueOf(next)
	for i := range a.NumField() {
		key := a.Type().Field(i).Tag.Get("koanf")
		if slices.Contains(fixed, key) && !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			differ = append(differ, key)
		}
	}
	return differ
}
