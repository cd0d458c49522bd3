package main

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"groupsync/internal/config"
	"groupsync/internal/memory"
	"groupsync/internal/wire"
)

// suspending holds the flags of groupsync suspend.
type suspending struct {
	lasts        time.Duration
	reason       string
	removalsOnly bool
}

func newSuspend(p program) *cobra.Command {
	var s sources
	var ask suspending
	cmd := &cobra.Command{
		Use:   "suspend --for 2h --reason TEXT [--removals-only]",
		Short: "Stop all writing to ClearML for a time",
		Long: `suspend stops writing to ClearML for a time, for every process that shares the
state_dir or the Lease: the daemon, all its replicas, and --once --apply. When suspend
has answered, no further write begins. A write that has begun is finished.

Passes go on: they read, plan and report. The guard named "suspended" withholds every
change, or with --removals-only every removal. An approval does not lift this guard. The
suspension survives a restart. It ends by itself, or earlier by groupsync resume. suspend
replaces a suspension that is in force.`,
		Args: hinted(cobra.NoArgs),
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !cmd.Flags().Changed("for") {
			return fmt.Errorf("suspend needs --for, such as --for 2h, because a suspension ends by itself; the longest is %s", memory.LongestSuspension)
		}
		next, err := memory.NewSuspension(time.Now(), ask.lasts, ask.reason, osUser(), ask.removalsOnly)
		if err != nil {
			return err
		}
		return replaceSuspension(cmd, p, s, next)
	}
	s.add(cmd.Flags())
	cmd.Flags().DurationVar(&ask.lasts, "for", 0, "how long, such as 45m or 2h; at most 720h")
	cmd.Flags().StringVar(&ask.reason, "reason", "", "one sentence for the person who finds that groupsync writes nothing")
	cmd.Flags().BoolVar(&ask.removalsOnly, "removals-only", false, "withhold removals only; additions go on")
	return cmd
}

func newResume(p program) *cobra.Command {
	var s sources
	cmd := &cobra.Command{
		Use:   "resume",
		Short: "End a suspension, so that passes write again",
		Long: `resume ends the suspension that groupsync suspend or POST /-/suspend has set. It makes
no pass: the next one writes again.`,
		Args: hinted(cobra.NoArgs),
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return replaceSuspension(cmd, p, s, memory.Suspension{})
	}
	s.add(cmd.Flags())
	return cmd
}

// replaceSuspension stores next in place of the suspension that all processes share, and prints
// what was done. A zero next ends the suspension.
func replaceSuspension(cmd *cobra.Command, p program, from sources, next memory.Suspension) error {
	t, err := config.Trace(from.options(p, cmd.Flags()))
	if err != nil {
		return err
	}
	store, err := sharedStore(t.Config, p, newLog(p, t.Config.Log))
	if err != nil {
		return err
	}
	text, err := wire.SetSuspension(cmd.Context(), store, next)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(p.stdout, text); err != nil {
		return fmt.Errorf("printing the answer: %w", err)
	}
	return nil
}

// sharedStore opens the store that this process shares with other processes. If neither state_dir
// nor lease.name is set, no store is shared, and it returns an error.
func sharedStore(c config.Config, p program, log *slog.Logger) (wire.Store, error) {
	lease, err := wire.OpenLease(c, p.pod(), log)
	if err != nil {
		return nil, err
	}
	store := wire.StoreOf(c, lease)
	if _, alone := store.(*memory.Process); alone {
		return nil, errors.New("neither state_dir nor lease.name is set, so no other process would see a suspension: set one of them, or ask the daemon itself (POST /-/suspend, /-/resume)")
	}
	return store, nil
}
