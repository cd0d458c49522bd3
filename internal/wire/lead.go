package wire

import (
	"context"
	"log/slog"

	"groupsync/internal/kube"
	"groupsync/internal/report"
)

// MayWrite returns the check that a pass calls before each write. The check returns an error if
// this process does not hold the Lease. If lease is nil, the check always returns nil.
func MayWrite(lease *kube.Lease) func() error {
	if lease == nil {
		return func() error { return nil }
	}
	return lease.Held
}

// LogApproval logs whether the pass granted or refused its approval. If the pass granted it, and
// lease is not nil, LogApproval also creates a Kubernetes Event. If the pass had no approval,
// LogApproval does nothing.
func LogApproval(ctx context.Context, log *slog.Logger, lease *kube.Lease, rep report.Report) {
	a := rep.Approval
	if a == nil {
		return
	}
	log = log.With("sync", rep.Sync, "pass", rep.Pass, "digest", a.Digest, "by", a.By, "at", a.At)
	if !a.Granted {
		log.Warn("an approval was refused, so it lifted no guard", "detail", a.Detail)
		return
	}
	log.Info("changes were approved", "lifted", a.LiftedNames(), "changes", a.Changes)
	if lease != nil {
		lease.Approved(ctx, a)
	}
}
