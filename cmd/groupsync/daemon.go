package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sync/errgroup"

	"groupsync/internal/config"
	"groupsync/internal/web"
)

// runDaemon serves the metrics and runs the schedule until ctx is done; where
// there is a Lease, while it is held. A reload takes the configuration from
// where the first one came from.
func runDaemon(ctx context.Context, p program, c config.Config, o config.Options, log *slog.Logger) error {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	s, err := newReplica(ctx, p, c, o, log)
	if err != nil {
		return err
	}
	server, err := web.Listen(s.webOptions(c))
	if err != nil {
		return err
	}
	v, _ := build()
	log.Info("groupsync starts", "version", v, "sync", c.Name, "mode", c.Mode, "writes", c.Mode == config.Apply, "schedule", c.Schedule, "lease", c.Lease.Name, "listen", server.Addr())
	warn(c, log)
	group, ctx := errgroup.WithContext(ctx)
	s.stopped = ctx // a reload that waits must not outlast a daemon that failed
	group.Go(func() error { return server.Serve(ctx) })
	group.Go(func() error { return s.run(ctx) })
	group.Go(func() error { s.follow(ctx, hangups); return nil })
	err = group.Wait()
	log.Info("groupsync ends")
	return err
}

// run makes passes until ctx ends, where there is a Lease while it is held.
func (s *replica) run(ctx context.Context) error {
	if s.lease == nil {
		return s.daemon.Run(ctx)
	}
	s.metrics.Lead(false)
	return s.lease.Run(ctx, func(ctx context.Context) error {
		s.newTerm()
		s.metrics.Lead(true)
		defer s.metrics.Lead(false)
		// At once, and not only when the pass that is running has ended.
		defer context.AfterFunc(ctx, func() { s.metrics.Lead(false) })()
		return s.daemon.Run(ctx)
	})
}

// warn says what is allowed and better not done.
func warn(c config.Config, log *slog.Logger) {
	if c.Keycloak.InsecureSkipVerify {
		log.Warn("keycloak.insecure_skip_verify is set: whoever stands in between can make removals look right")
	}
	if c.ClearML.InsecureSkipVerify {
		log.Warn("clearml.insecure_skip_verify is set: whoever stands in between can read the credentials")
	}
}
