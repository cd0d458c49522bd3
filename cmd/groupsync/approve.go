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

// osUser returns the name of the operating system user that runs this process. An approval and
// a suspension record the name as the person who gave them.
func osUser() string {
	u, err := osuser.Current()
	if err != nil || u.Username == "" {
		return fmt.Sprintf("uid %d", os.Getuid())
	}
	return u.Username
}

// leadOf returns the check that a pass makes before each write. The check returns an error if
// this process does not hold the Lease. Without a Lease it always returns nil.
func leadOf(lease *kube.Lease) func() error {
	if lease == nil {
		return func() error { return nil }
	}
	return lease.Held
}

// tellApproval logs what became of the approval that the pass was given. If the approval was
// granted and there is a Lease, tellApproval also makes the Kubernetes Event.
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
