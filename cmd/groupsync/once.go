package main

import (
	"context"
	"fmt"
	"log/slog"

	"groupsync/internal/config"
	"groupsync/internal/kube"
	"groupsync/internal/reconcile"
	"groupsync/internal/report"
)

// runOnce makes one pass and prints it. Its exit code is the report's, or 0 for
// the 2 of drift where that is said to be fine.
func runOnce(ctx context.Context, p program, c config.Config, f flags, log *slog.Logger) error {
	lease, err := openLease(c, p, log)
	if err != nil {
		return err
	}
	store, err := openStore(c, lease)
	if err != nil {
		return err
	}
	s, err := connect(c, newMetrics(c), lease, store, log)
	if err != nil {
		return err
	}
	s.options.Limits.Forgets = store == nil
	r := reconcile.New(s.source, s.target, s.options)
	var rep report.Report
	pass := func(ctx context.Context) error {
		rep = r.Pass(ctx, reconcile.Request{Apply: f.apply, Approve: f.approve, DryRun: !f.apply})
		return nil
	}
	if err := leading(ctx, lease, f.apply, pass); err != nil {
		return err
	}
	render := report.Text
	if f.output == "json" {
		render = report.JSON
	}
	if err := render(p.stdout, rep); err != nil {
		return fmt.Errorf("printing the report: %w", err)
	}
	if code := rep.ExitCode(); code != 0 && !(f.driftOK && rep.OnlyDrift()) {
		return exitCode(code)
	}
	return nil
}

// leading makes a pass that writes while the Lease is held, where there is one;
// a dry run needs none.
func leading(ctx context.Context, lease *kube.Lease, writes bool, pass func(context.Context) error) error {
	if lease == nil || !writes {
		return pass(ctx)
	}
	if err := lease.Check(ctx); err != nil {
		return err
	}
	return lease.Take(ctx, pass)
}
