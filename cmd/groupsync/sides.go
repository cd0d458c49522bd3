package main

import (
	"log/slog"

	"groupsync/internal/config"
	"groupsync/internal/kube"
	"groupsync/internal/memory"
	"groupsync/internal/reconcile"
	"groupsync/internal/wire"
)

// openSides connects to Keycloak and ClearML, and opens the guards' memory, for a command that
// makes no more than one pass. The Lease is nil if the configuration names none.
func openSides(c config.Config, p program, shown *progress, log *slog.Logger) (wire.Sides, *kube.Lease, error) {
	store, lease, err := openMemory(c, p, log)
	if err != nil {
		return wire.Sides{}, nil, err
	}
	s, err := wire.Connect(c, wire.Metrics(c, build()), store, shown.hooks(), log)
	return s, lease, err
}

// openReconciler returns the Reconciler of a command that makes no more than one pass, with the
// sides and the Lease of openSides. If the guards' memory is kept only in this process, no later pass
// can know how long a removal has waited. openReconciler then sets Limits.Forgets, and the guard
// grace advises the user to set state_dir.
func openReconciler(c config.Config, p program, shown *progress, log *slog.Logger) (*reconcile.Reconciler, wire.Sides, *kube.Lease, error) {
	s, lease, err := openSides(c, p, shown, log)
	if err != nil {
		return nil, wire.Sides{}, nil, err
	}
	_, s.Options.Limits.Forgets = s.Options.Store.(*memory.Process)
	return reconcile.New(s.Source, s.Target, s.Options), s, lease, nil
}

// requestOf returns the request of a command's one pass. Without apply the pass is a dry run.
// approve is the digest of an approval, or empty. If lease is not nil, the pass checks before each
// write that this process holds the Lease.
func requestOf(apply bool, approve string, lease *kube.Lease) reconcile.Request {
	req := reconcile.Request{Apply: apply, MayWrite: wire.MayWrite(lease), DryRun: !apply}
	if approve != "" {
		req.Approval = reconcile.Approval{Digest: approve, By: osUser()}
	}
	return req
}

// openMemory opens the store of the guards' memory, and the Lease. The Lease is nil if the
// configuration names none.
func openMemory(c config.Config, p program, log *slog.Logger) (reconcile.Store, *kube.Lease, error) {
	lease, err := wire.OpenLease(c, p.pod(), log)
	if err != nil {
		return nil, nil, err
	}
	store, err := wire.OpenStore(c, lease)
	return store, lease, err
}

// pod returns the Kubernetes pod that this process runs in, from the environment variables POD_NAME
// and POD_UID. The chart sets both through the downward API of Kubernetes. If a variable is not set,
// as outside Kubernetes, its field is empty.
func (p program) pod() kube.Pod {
	return kube.Pod{Name: p.lookup("POD_NAME"), UID: p.lookup("POD_UID")}
}
