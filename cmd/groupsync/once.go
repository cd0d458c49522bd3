package main

import (
	"context"
	"fmt"
	"log/slog"

	"groupsync/internal/config"
	"groupsync/internal/daemon"
	"groupsync/internal/kube"
	"groupsync/internal/report"
	"groupsync/internal/wire"
)

// runOnce makes one pass and prints its report. The exit code is Report.ExitCode. With --drift-ok
// the exit code is 0 instead of 2 if the pass found no problem but drift.
func runOnce(ctx context.Context, p program, c config.Config, f flags, shown *progress, log *slog.Logger) error {
	defer shown.end()
	r, _, lease, err := openReconciler(c, p, shown, log)
	if err != nil {
		return err
	}
	daemon.WarnOfEnded(c, log)
	req := requestOf(f.apply, f.approve, lease)
	var rep report.Report
	pass := func(ctx context.Context) error {
		rep = r.Pass(ctx, req)
		wire.LogApproval(ctx, log, lease, rep)
		return nil
	}
	if err := leading(ctx, lease, f.apply, pass); err != nil {
		return err
	}
	shown.end()
	if err := f.format().render(p.stdout, rep, report.Style{Full: f.full, Color: p.colors()}); err != nil {
		return fmt.Errorf("printing the report: %w", err)
	}
	if code := rep.ExitCode(); code != 0 && !(f.driftOK && rep.OnlyDrift()) {
		return exitCode(code)
	}
	return nil
}

// leading calls pass. If there is a Lease and the pass writes, leading first takes the Lease, so
// that no other process writes at the same time. A dry run needs no Lease.
func leading(ctx context.Context, lease *kube.Lease, writes bool, pass func(context.Context) error) error {
	if lease == nil || !writes {
		return pass(ctx)
	}
	if err := lease.Check(ctx); err != nil {
		return err
	}
	return lease.Take(ctx, pass)
}
