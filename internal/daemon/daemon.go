// Package daemon is the long-running process of groupsync. It makes passes on a schedule, if it
// holds the Lease or there is no Lease. It counts leavers, reads Keycloak's admin events, and
// runs the web server. It shows a suspension, and reloads its configuration.
package daemon

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"groupsync/internal/config"
	"groupsync/internal/events"
	"groupsync/internal/kube"
	"groupsync/internal/transport"
	"groupsync/internal/web"
	"groupsync/internal/wire"
)

// Options are what the daemon needs besides its configuration.
type Options struct {
	Sources config.Options // the files, variables and flags from which a reload reads the configuration
	Pod     kube.Pod       // the pod that this process runs in
	Build   wire.Build
	Log     *slog.Logger
}

// Run runs the web server and the schedule until ctx is done. If there is a Lease, the schedule
// runs only while this process holds the Lease. Run reloads the configuration if one of the
// configuration's files changes, after SIGHUP, and when a person requests it over HTTP.
func Run(ctx context.Context, c config.Config, o Options) error {
	log := o.Log
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	s, err := newReplica(ctx, c, o)
	if err != nil {
		return err
	}
	server, err := web.Listen(s.webOptions(c))
	if err != nil {
		return err
	}
	log.Info("groupsync starts", "version", o.Build.Version, "sync", c.Name, "mode", c.Mode, "writes", c.Mode == config.Apply, "schedule", c.Schedule, "lease", c.Lease.Name, "listen", server.Addr())
	warn(c, log)
	group, ctx := errgroup.WithContext(ctx)
	s.stopped = ctx // if a part of the daemon fails, ctx ends, and so does a reload that waits for a pass
	for _, work := range []func() error{
		func() error { return server.Serve(ctx) },
		func() error { return s.run(ctx) },
		func() error { s.follow(ctx, hangups); return nil },
		func() error { s.followSuspension(ctx); return nil },
	} {
		group.Go(func() error { return Recovered(work) })
	}
	err = group.Wait()
	log.Info("groupsync ends")
	return err
}

// run makes passes until ctx ends. If there is a Lease, run makes passes only while
// this process holds the Lease.
func (s *replica) run(ctx context.Context) error {
	if s.lease == nil {
		return s.passes(ctx)
	}
	s.lead(false)
	return s.lease.Run(ctx, func(ctx context.Context) error {
		s.newTerm()
		s.lead(true)
		defer s.lead(false)
		// The deferred call above runs only after the running pass has ended. The call below runs
		// as soon as ctx ends. So the metrics and the page show at once that the Lease is lost.
		defer context.AfterFunc(ctx, func() { s.lead(false) })()
		return s.passes(ctx)
	})
}

// passes runs the schedule until ctx ends. At the same time a goroutine reads the admin events,
// which can cause early passes. If the goroutine panics, the function waits until the running pass
// has ended, and returns the panic as an error. After the end of ctx, the schedule abandons a pass
// that runs longer than shutdown_timeout. In that case the function does not wait for the
// goroutine, because the goroutine may wait for that pass.
func (s *replica) passes(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	read := make(chan error, 1)
	go func() {
		defer cancel()
		read <- Recovered(func() error { events.Run(ctx, s.eventPasses()); return nil })
	}()
	abandoned := s.scheduler.Run(ctx)
	if abandoned == nil {
		return <-read
	}
	select {
	case err := <-read:
		return errors.Join(err, abandoned)
	default:
		return abandoned
	}
}

// warn logs the settings that are allowed but unsafe, and the exceptions that have ended.
func warn(c config.Config, log *slog.Logger) {
	WarnOfEnded(c, log)
	if c.Keycloak.InsecureSkipVerify {
		log.Warn("keycloak.insecure_skip_verify is set: groupsync does not verify Keycloak's certificate. Another machine can answer as Keycloak and cause wrong removals. Set keycloak.ca_file instead")
	}
	if c.ClearML.InsecureSkipVerify {
		log.Warn("clearml.insecure_skip_verify is set: groupsync does not verify ClearML's certificate. Another machine can answer as ClearML and read the credentials. Set clearml.ca_file instead")
	}
	for _, side := range []struct{ key, address string }{{"keycloak.url", c.Keycloak.URL}, {"clearml.url", c.ClearML.URL}} {
		if transport.InTheClear(side.address) {
			log.Warn(side.key + " is an http:// address of another machine: groupsync sends its secret and its tokens unencrypted. Others on the network can read them and change the answers. Use https://")
		}
	}
}

// WarnOfEnded logs a warning for each exception of users.protect that has ended.
func WarnOfEnded(c config.Config, log *slog.Logger) {
	for _, sentence := range c.Users.Ended(time.Now()) {
		log.Warn(sentence)
	}
}
