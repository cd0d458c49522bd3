package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	osuser "os/user"

	"groupsync/internal/kube"
	"groupsync/internal/report"
)

// osUser returns the name of the user that this process runs as, who approves with
// --approve.
func osUser() string {
	u, err := osuser.Current()
	if err != nil || u.Username == "" {
		return fmt.Sprintf("uid %d", os.Getuid())
	}
	return u.Username
}

// leadOf returns what a pass asks right before each write: whether this process
// still leads. Without a Lease it always does.
func leadOf(lease *kube.Lease) func() error {
	if lease == nil {
		return func() error { return nil }
	}
	return lease.Held
}

// tellApproval logs what became of the approval that a pass was given, and makes
// the Kubernetes Event if there is a Lease.
func tellApproval(ctx context.Context, log *slog.Logger, lease *kube.Lease, rep report.Report) {
	a := rep.Approval
	if a == nil {
		return
	}
	log = log.With("sync", rep.Sync, "pass", rep.Pass, "digest", a.Digest, "by", a.By, "at", a.At)
	if !a.Granted {
		log.Warn("an approval was refused: nothing was lifted", "detail", a.Detail)
		return
	}
	log.Info("changes were approved", "lifted", a.LiftedNames(), "changes", a.Changes)
	if lease != nil {
		lease.Approved(ctx, a)
	}
}
