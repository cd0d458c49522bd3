// Package config is what groupsync can be told, as one value: its defaults,
// how it is loaded from a file, the environment and flags, and what each part
// refuses. docs and config.example.yaml name the keys as the tags here do.
package config

import (
	"reflect"
	"slices"
	"time"
)

// Config is everything that can be configured. It is obtained from Load or
// Default; the zero value is not valid.
type Config struct {
	Name            string        `koanf:"name"`
	Mode            string        `koanf:"mode"`
	Schedule        string        `koanf:"schedule"`
	Jitter          time.Duration `koanf:"jitter"`
	ShutdownTimeout time.Duration `koanf:"shutdown_timeout"`
	StateDir        string        `koanf:"state_dir"`
	Log             Log           `koanf:"log"`
	Keycloak        Keycloak      `koanf:"keycloak"`
	ClearML         ClearML       `koanf:"clearml"`
	Groups          Groups        `koanf:"groups"`
	Admins          Admins        `koanf:"admins"`
	Users           Users         `koanf:"users"`
	Guards          Guards        `koanf:"guards"`
	Lease           Lease         `koanf:"lease"`
	Web             Web           `koanf:"web"`
}

// The values of mode.
const (
	Observe = "observe"
	Apply   = "apply"
)

// Log says what is logged, and how.
type Log struct {
	Level  string `koanf:"level"`  // debug, info, warn or error
	Format string `koanf:"format"` // text or json
}

// Keycloak says how the realm is read.
type Keycloak struct {
	URL                string        `koanf:"url"`
	Realm              string        `koanf:"realm"`
	ClientID           string        `koanf:"client_id"`
	ClientSecret       Masked        `koanf:"client_secret"`
	ClientSecretFile   string        `koanf:"client_secret_file"`
	CAFile             string        `koanf:"ca_file"`
	InsecureSkipVerify bool          `koanf:"insecure_skip_verify"`
	Timeout            time.Duration `koanf:"timeout"`
	Concurrency        int           `koanf:"concurrency"`
	ClearMLClientID    string        `koanf:"clearml_client_id"`
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

// Mapping is claim names, each with the names of the user groups it feeds.
type Mapping map[string][]string

// Groups says which groups are kept equal.
type Groups struct {
	Claim    string   `koanf:"claim"`
	FullPath bool     `koanf:"full_path"`
	Include  []string `koanf:"include"`
	Exclude  []string `koanf:"exclude"`
	Mapping  Mapping  `koanf:"mapping"`
}

// Admins says who becomes an administrator.
type Admins struct {
	Groups []string `koanf:"groups"`
	Role   *string  `koanf:"role"` // nil: not written down
	Via    string   `koanf:"via"`
	Floor  int      `koanf:"floor"`
}

// Users says who is spared.
type Users struct {
	Gone    string   `koanf:"gone"` // remove or keep
	Protect []string `koanf:"protect"`
}

// Guards are the limits; 0 turns one off.
type Guards struct {
	MaxRemovals     int           `koanf:"max_removals"`
	Window          time.Duration `koanf:"window"`
	MaxRemovalRatio float64       `koanf:"max_removal_ratio"`
	FreeRemovals    int           `koanf:"free_removals"`
	MaxGone         int           `koanf:"max_gone"`
	FederationGrace time.Duration `koanf:"federation_grace"`
	OnTrip          string        `koanf:"on_trip"` // additions_only or stop
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
	PublicStatus    bool   `koanf:"public_status"`
	EnableLifecycle bool   `koanf:"enable_lifecycle"`
}

// Default returns the defaults. What must be told (URLs, realm, secrets) is
// empty, and admins.role is not written down.
func Default() Config {
	return Config{
		Name:            "default",
		Mode:            Observe,
		Schedule:        "@every 15m",
		Jitter:          30 * time.Second,
		ShutdownTimeout: 20 * time.Second,
		Log:             Log{Level: "info", Format: "text"},
		Keycloak:        Keycloak{ClientID: "groupsync", Timeout: time.Minute, Concurrency: 8, ClearMLClientID: "clearml"},
		// The API is silent for 30 s before it says that its database is away
		// (reference/clearml-api.md), so less would never hear it.
		ClearML: ClearML{Timeout: 40 * time.Second, Provider: "keycloak"},
		Groups:  Groups{Claim: "groups", Include: []string{"*"}, Exclude: []string{}, Mapping: Mapping{}},
		Admins:  Admins{Groups: []string{}, Via: "group", Floor: 1},
		Users:   Users{Gone: "remove", Protect: []string{}},
		Guards: Guards{
			MaxRemovals: 50, Window: 24 * time.Hour, MaxRemovalRatio: 0.25, FreeRemovals: 3, MaxGone: 5,
			FederationGrace: time.Hour, OnTrip: "additions_only",
		},
		Web: Web{Listen: "127.0.0.1:8080"},
	}
}

// fixed are the keys that a process takes once, when it starts.
var fixed = []string{"name", "shutdown_timeout", "state_dir", "log", "lease", "web"}

// Unchangeable returns those of the keys, or of the sections, in which the next
// configuration differs and which a running process cannot take over.
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
