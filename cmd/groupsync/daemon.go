package main

import (
	"context"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"groupsync/internal/config"
	"groupsync/internal/daemon"
	"groupsync/internal/reconcile"
	"groupsync/internal/web"
)

// runDaemon serves the metrics and runs the schedule until ctx is done.
func runDaemon(ctx context.Context, c config.Config, log *slog.Logger) error {
	m := newMetrics(c)
	r, err := newReconciler(c, m, log, false)
	if err != nil {
		return err
	}
	server, err := web.Listen(c.Web.Listen, m.Handler(), log)
	if err != nil {
		return err
	}
	v, _ := build()
	log.Info("groupsync starts", "version", v, "sync", c.Name, "mode", c.Mode, "writes", c.Mode == config.Apply, "schedule", c.Schedule, "listen", server.Addr())
	warnInsecure(c, log)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Serve(ctx) })
	group.Go(func() error {
		return daemon.Run(ctx, daemon.Options{
			Schedule: c.Cron(), Jitter: c.Jitter, ShutdownTimeout: c.ShutdownTimeout,
			Pass: func(ctx context.Context) {
				m.Record(r.Pass(ctx, reconcile.Request{Apply: c.Mode == config.Apply}))
			},
			Next: m.NextPass, Skipped: m.Skipped, Log: log,
		})
	})
	err = group.Wait()
	log.Info("groupsync ends")
	return err
}

func warnInsecure(c config.Config, log *slog.Logger) {
	if c.Keycloak.InsecureSkipVerify {
		log.Warn("keycloak.insecure_skip_verify is set: whoever stands in between can make removals look right")
	}
	if c.ClearML.InsecureSkipVerify {
		log.Warn("clearml.insecure_skip_verify is set: whoever stands in between can read the credentials")
	}
}
