package main

import (
	"context"
	"fmt"
	"log/slog"

	"groupsync/internal/config"
	"groupsync/internal/reconcile"
	"groupsync/internal/report"
)

// runOnce makes one pass and prints it. Its exit code is the report's.
func runOnce(ctx context.Context, p program, c config.Config, f flags, log *slog.Logger) error {
	r, err := newReconciler(c, newMetrics(c), log, true)
	if err != nil {
		return err
	}
	rep := r.Pass(ctx, reconcile.Request{Apply: f.apply, Approve: f.approve, DryRun: !f.apply})
	render := report.Text
	if f.output == "json" {
		render = report.JSON
	}
	if err := render(p.stdout, rep); err != nil {
		return fmt.Errorf("printing the report: %w", err)
	}
	if code := rep.ExitCode(); code != 0 {
		return exitCode(code)
	}
	return nil
}
