package main

import (
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

// rulesOf returns the rules of matching that the configuration states.
func rulesOf(c config.Config) (match.Rules, error) {
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
	o.Exceptions = exceptionsOf(c)
	return match.Compile(o)
}

// exceptionsOf returns the exceptions that the configuration states, ended ones included.
func exceptionsOf(c config.Config) (list []match.Exception) {
	for _, p := range c.Users.Protect {
		if !p.Plain() {
			list = append(list, match.Exception{Match: p.Match, Groups: p.Groups, Until: p.End(), Reason: p.Reason})
		}
	}
	return list
}

// limitsOf returns the limits of the guards that the configuration states.
func limitsOf(c config.Config) guard.Limits {
	g := c.Guards
	return guard.Limits{
		MaxRemovals: g.MaxRemovals, MaxAdminGrants: g.MaxAdminGrants, MaxAdditions: g.MaxAdditions, Window: g.Window,
		MaxRatio: g.MaxRemovalRatio, FreeRemovals: g.FreeRemovals, MaxGone: g.MaxGone,
		Grace: g.FederationGrace, GoneGrace: g.GoneGrace, MaxAge: g.MaxAge, Floor: c.Admins.Floor, Stop: g.OnTrip == "stop",
	}
}

// newMetrics returns the metrics of a sync before its first pass.
func newMetrics(c config.Config) *metrics.Metrics {
	v, revision := build()
	return metrics.New(metrics.Options{Sync: c.Name, Version: v, Revision: revision}, settingsOf(c))
}

// settingsOf returns the settings that the metrics show.
func settingsOf(c config.Config) metrics.Settings {
	return metrics.Settings{
		Apply:    c.Mode == config.Apply,
		Leavers:  c.Leavers.Interval > 0,
		Expiring: func(now time.Time) int { return len(match.Expiring(exceptionsOf(c), now)) },
		Insecure: map[fault.System]bool{fault.Keycloak: c.Keycloak.InsecureSkipVerify, fault.ClearML: c.ClearML.InsecureSkipVerify},
	}
}

// sides holds what a Reconciler is made of: both sides and its options.
type sides struct {
	source  reconcile.Source
	target  *clearml.Client
	events  events.Reader
	options reconcile.Options
}

// connect connects the two sides as the configuration says. The store keeps the guards'
// memory. shown gets the progress of a pass, and may be nil.
func connect(c config.Config, m *metrics.Metrics, store reconcile.Store, shown *progress, log *slog.Logger) (sides, error) {
	rules, err := rulesOf(c)
	if err != nil {
		return sides{}, err
	}
	source, err := newSource(c, m, shown, log)
	if err != nil {
		return sides{}, err
	}
	directory, err := newTarget(c, m, log)
	if err != nil {
		return sides{}, err
	}
	return sides{source, directory, source, optionsOf(c, rules, store, shown, log)}, nil
}

func optionsOf(c config.Config, rules match.Rules, store reconcile.Store, shown *progress, log *slog.Logger) reconcile.Options {
	o := reconcile.Options{Name: c.Name, Rules: rules, Limits: limitsOf(c), Store: store, Step: shown.step, Log: log}
	if beside, is := store.(*kube.Memory); is {
		o.Peek = func() reconcile.Store { return beside.Peek() }
	}
	if d, kept := journalOf(c); kept {
		o.Journal = d
	}
	return o
}

// journalOf returns the journal in state_dir. It returns false if the configuration keeps no
// journal.
func journalOf(c config.Config) (journal.Dir, bool) {
	d := journal.Dir{Path: journal.Under(c.StateDir), Sync: c.Name, Keep: c.State.Keep, KeepFor: c.State.KeepFor}
	return d, c.StateDir != "" && c.State.Keep > 0
}

// openSides connects the two sides for a command that makes no more than one pass, with the
// guards' memory where the configuration keeps it. The Lease is nil if the configuration
// names none.
func openSides(c config.Config, p program, shown *progress, log *slog.Logger) (sides, *kube.Lease, error) {
	store, lease, err := openMemory(c, p, log)
	if err != nil {
		return sides{}, nil, err
	}
	s, err := connect(c, newMetrics(c), store, shown, log)
	return s, lease, err
}

// openReconciler returns the Reconciler of a command that makes no more than one pass, with
// the sides and the Lease of openSides. If the memory ends with the process, it sets
// Limits.Forgets: no removal can then wait for its grace.
func openReconciler(c config.Config, p program, shown *progress, log *slog.Logger) (*reconcile.Reconciler, sides, *kube.Lease, error) {
	s, lease, err := openSides(c, p, shown, log)
	if err != nil {
		return nil, sides{}, nil, err
	}
	_, s.options.Limits.Forgets = s.options.Store.(*memory.Process)
	return reconcile.New(s.source, s.target, s.options), s, lease, nil
}

// requestOf returns the request of a command's one pass. Without apply the pass is a dry
// run. approve is the digest of an approval, or empty.
func requestOf(apply bool, approve string, lease *kube.Lease) reconcile.Request {
	req := reconcile.Request{Apply: apply, Lead: leadOf(lease), DryRun: !apply}
	if approve != "" {
		req.Approval = reconcile.Approval{Digest: approve, By: osUser()}
	}
	return req
}

// openMemory returns where the guards' memory is kept, and the Lease. The Lease is nil if the
// configuration names none.
func openMemory(c config.Config, p program, log *slog.Logger) (reconcile.Store, *kube.Lease, error) {
	lease, err := openLease(c, p, log)
	if err != nil {
		return nil, nil, err
	}
	store, err := openStore(c, lease)
	return store, lease, err
}

// openStore returns where the guards' memory is kept: beside the Lease, in
// state_dir, or in this process. A store that cannot be read is an error at start.
func openStore(c config.Config, lease *kube.Lease) (keeper, error) {
	store := storeOf(c, lease)
	_, err := store.Load()
	return store, err
}

// storeOf returns the store without reading it. A suspension must be possible even if the
// memory in the store cannot be read.
func storeOf(c config.Config, lease *kube.Lease) keeper {
	switch {
	case lease != nil:
		return lease.Memory()
	case c.StateDir != "":
		return memory.Dir(c.StateDir)
	default:
		return memory.NewProcess(c.ClearML.URL)
	}
}

// openLease returns the Lease that the configuration names, or nil.
func openLease(c config.Config, p program, log *slog.Logger) (*kube.Lease, error) {
	if c.Lease.Name == "" {
		return nil, nil
	}
	return kube.Open(kube.Options{
		Name: c.Lease.Name, Namespace: c.Lease.Namespace, Log: log,
		Pod: kube.Pod{Name: p.lookup("POD_NAME"), UID: p.lookup("POD_UID")},
	})
}

func newSource(c config.Config, m *metrics.Metrics, shown *progress, log *slog.Logger) (*keycloak.Source, error) {
	return keycloak.New(keycloak.Config{
		URL: c.Keycloak.URL, Realm: c.Keycloak.Realm, ClientID: c.Keycloak.ClientID, ClientSecret: c.Keycloak.Secret().Read,
		CAFile: c.Keycloak.CAFile, InsecureSkipVerify: c.Keycloak.InsecureSkipVerify,
		Timeout: c.Keycloak.Timeout, Concurrency: c.Keycloak.Concurrency, Trusted: c.Keycloak.TrustedFederations, Observe: m.Observe(fault.Keycloak), Log: log,
		Progress: shown.count,
	})
}

func newTarget(c config.Config, m *metrics.Metrics, log *slog.Logger) (*clearml.Client, error) {
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
