// Package wire builds the parts of groupsync from a configuration: the clients of Keycloak and
// ClearML, the rules of matching, the guards' limits, the store of the guards' memory, the
// journal, the Lease and the metrics. The daemon and the commands use this package.
package wire

import (
	"context"
	"log/slog"
	"time"

	"groupsync/internal/config"
	"groupsync/internal/events"
	"groupsync/internal/fault"
	"groupsync/internal/guard"
	"groupsync/internal/journal"
	"groupsync/internal/kube"
	"groupsync/internal/match"
	"groupsync/internal/memory"
	"groupsync/internal/metrics"
	"groupsync/internal/reconcile"
	"groupsync/internal/source/keycloak"
	"groupsync/internal/target/clearml"
)

var adminVia = map[string]match.Via{"group": match.ViaGroup, "role": match.ViaRole, "both": match.ViaBoth}

// Rules returns the rules of matching from the configuration: which groups of Keycloak feed which
// user groups, and which account belongs to which user.
func Rules(c config.Config) (match.Rules, error) {
	o := match.Options{
		FullPath: c.Groups.FullPath, CaseInsensitive: !c.Groups.CaseSensitive, Include: c.Groups.Include, Exclude: c.Groups.Exclude, Mapping: c.Groups.Mapping,
		AdminGroups: c.Admins.Groups, AdminVia: adminVia[c.Admins.Via], Provider: c.ClearML.Provider, KeepGone: c.Users.Gone == "keep",
	}
	if c.Admins.Role != nil {
		o.AdminRole = *c.Admins.Role
	}
	for _, p := range c.Users.Protect {
		if p.Plain() {
			o.Protect = append(o.Protect, p.Match)
		}
	}
	o.Exceptions = Exceptions(c)
	return match.Compile(o)
}

// Exceptions returns the exceptions in users.protect. Exceptions that have ended are in the
// list too.
func Exceptions(c config.Config) (list []match.Exception) {
	for _, p := range c.Users.Protect {
		if !p.Plain() {
			list = append(list, match.Exception{Match: p.Match, Groups: p.Groups, Until: p.End(), Reason: p.Reason})
		}
	}
	return list
}

// Limits returns the limits of the guards from the configuration.
func Limits(c config.Config) guard.Limits {
	g := c.Guards
	return guard.Limits{
		MaxRemovals: g.MaxRemovals, MaxAdminGrants: g.MaxAdminGrants, MaxAdditions: g.MaxAdditions, Window: g.Window,
		MaxRatio: g.MaxRemovalRatio, FreeRemovals: g.FreeRemovals, MaxGone: g.MaxGone,
		Grace: g.FederationGrace, GoneGrace: g.GoneGrace, MaxAge: g.MaxAge, Floor: c.Admins.Floor, Stop: g.OnTrip == "stop",
	}
}

// Metrics returns the metrics as they are before the first pass.
func Metrics(c config.Config, b Build) *metrics.Metrics {
	return metrics.New(metrics.Options{Sync: c.Name, Version: b.Version, Revision: b.Revision}, Settings(c))
}

// Settings returns the parts of the configuration that the metrics show.
func Settings(c config.Config) metrics.Settings {
	return metrics.Settings{
		Apply:    c.Mode == config.Apply,
		Leavers:  c.Leavers.Interval > 0,
		Expiring: func(now time.Time) int { return len(match.Expiring(Exceptions(c), now)) },
		Insecure: map[fault.System]bool{fault.Keycloak: c.Keycloak.InsecureSkipVerify, fault.ClearML: c.ClearML.InsecureSkipVerify},
	}
}

// Build is the version and the commit of this program.
type Build struct{ Version, Revision string }

// Progress holds functions that show a person the progress of a pass. They may be nil.
type Progress struct {
	Step  func(step string)  // called when a step begins, with its name
	Count func(done, of int) // called with the number of finished reads, and of all reads, of the step
}

// Store keeps the guards' memory and the suspension.
type Store interface {
	reconcile.Store
	// Suspend replaces the suspension. The zero Suspension ends the suspension. Suspend does
	// not wait until a running pass ends.
	Suspend(ctx context.Context, s memory.Suspension) error
}

// Sides holds the clients of both sides, and the options of a Reconciler that uses them.
type Sides struct {
	Source  reconcile.Source
	Target  *clearml.Client
	Events  events.Reader
	Options reconcile.Options
}

// Connect makes the clients of both sides, and the options of a Reconciler. It sends no request.
// m counts the requests of the clients, store keeps the guards' memory, and shown shows the
// progress of a pass.
func Connect(c config.Config, m *metrics.Metrics, store reconcile.Store, shown Progress, log *slog.Logger) (Sides, error) {
	rules, err := Rules(c)
	if err != nil {
		return Sides{}, err
	}
	source, err := Keycloak(c, m, shown, log)
	if err != nil {
		return Sides{}, err
	}
	directory, err := ClearML(c, m, log)
	if err != nil {
		return Sides{}, err
	}
	return Sides{source, directory, source, Options(c, rules, store, shown, log)}, nil
}

func Options(c config.Config, rules match.Rules, store reconcile.Store, shown Progress, log *slog.Logger) reconcile.Options {
	o := reconcile.Options{Name: c.Name, Rules: rules, Limits: Limits(c), Store: store, Step: shown.Step, Log: log}
	if beside, is := store.(*kube.Memory); is {
		o.Peek = func() reconcile.Store { return beside.Peek() }
	}
	if d, kept := Journal(c); kept {
		o.Journal = d
	}
	return o
}

// Journal returns the journal in state_dir. It returns false if the configuration keeps no
// journal.
func Journal(c config.Config) (journal.Dir, bool) {
	d := journal.Dir{Path: journal.Under(c.StateDir), Sync: c.Name, Keep: c.State.Keep, KeepFor: c.State.KeepFor}
	return d, c.StateDir != "" && c.State.Keep > 0
}

// OpenStore returns the store that StoreOf returns, and reads the store once. If the store cannot
// be read, OpenStore returns an error, and the caller must not start.
func OpenStore(c config.Config, lease *kube.Lease) (Store, error) {
	store := StoreOf(c, lease)
	_, err := store.Load()
	return store, err
}

// StoreOf returns the store of the guards' memory. If lease is not nil, the memory is kept
// beside the Lease. If lease is nil, it is kept in state_dir, or in this process if state_dir
// is empty. StoreOf does not read the store. So an operator can suspend groupsync even if the
// memory cannot be read.
func StoreOf(c config.Config, lease *kube.Lease) Store {
	switch {
	case lease != nil:
		return lease.Memory()
	case c.StateDir != "":
		return memory.Dir(c.StateDir)
	default:
		return memory.NewProcess(c.ClearML.URL)
	}
}

// OpenLease returns the Lease that the configuration names. It returns nil if the configuration
// names no Lease.
func OpenLease(c config.Config, pod kube.Pod, log *slog.Logger) (*kube.Lease, error) {
	if c.Lease.Name == "" {
		return nil, nil
	}
	return kube.Open(kube.Options{
		Name: c.Lease.Name, Namespace: c.Lease.Namespace, Log: log,
		Pod: pod,
	})
}

func Keycloak(c config.Config, m *metrics.Metrics, shown Progress, log *slog.Logger) (*keycloak.Source, error) {
	return keycloak.New(keycloak.Config{
		URL: c.Keycloak.URL, Realm: c.Keycloak.Realm, ClientID: c.Keycloak.ClientID, ClientSecret: c.Keycloak.Secret().Read,
		CAFile: c.Keycloak.CAFile, InsecureSkipVerify: c.Keycloak.InsecureSkipVerify,
		Timeout: c.Keycloak.Timeout, Concurrency: c.Keycloak.Concurrency, Trusted: c.Keycloak.TrustedFederations, Observe: m.Observe(fault.Keycloak), Log: log,
		Progress: shown.Count,
	})
}

func ClearML(c config.Config, m *metrics.Metrics, log *slog.Logger) (*clearml.Client, error) {
	return clearml.New(clearml.Config{
		URL: c.ClearML.URL, Keys: keysOf(c.ClearML), CAFile: c.ClearML.CAFile,
		InsecureSkipVerify: c.ClearML.InsecureSkipVerify, Timeout: c.ClearML.Timeout, AdminRole: c.Admins.Via != "group", Observe: m.Observe(fault.ClearML), Log: log,
	})
}

func keysOf(c config.ClearML) func() (clearml.Keys, error) {
	return func() (clearml.Keys, error) {
		access, err := c.Access().Read()
		if err != nil {
			return clearml.Keys{}, err
		}
		secret, err := c.Secret().Read()
		return clearml.Keys{Access: access, Secret: secret}, err
	}
}
