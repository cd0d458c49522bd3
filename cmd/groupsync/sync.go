package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"groupsync/internal/config"
	"groupsync/internal/explain"
	"groupsync/internal/reconcile"
	"groupsync/internal/report"
	"groupsync/internal/wire"
)

// syncFlags are the flags of groupsync sync that are not keys of the configuration.
type syncFlags struct {
	sources
	apply   bool
	approve string
	output  string
}

func newSync(p program) *cobra.Command {
	var f syncFlags
	cmd := &cobra.Command{
		Use:   "sync USER",
		Short: "Make the pass of one person: show it, and with --apply write it",
		Long: `sync makes the pass of one person. It reads the data of the person, shows the
accounts, the groups, the evidence and the guards as groupsync explain does, and then
what was written and read back. Without --apply it writes nothing.
USER is an email, a username, or an id of either side.

The guards are the same as in a full pass, and the changes count against the limits of
later passes. If a guard withholds a change, the report shows the command that approves
the change. The exit code is that of --once: 0 in sync, 2 drift is left, 1 an error.`,
		Args: hinted(cobra.ExactArgs(1)),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case args[0] == "":
			return errors.New("USER is empty: write groupsync sync with an email, a username or an id")
		case f.output != "text" && f.output != "json":
			return fmt.Errorf("-o %s is not a format: write -o text or -o json", f.output)
		case f.approve != "" && !f.apply:
			return errors.New("--approve needs --apply: a dry run writes nothing")
		}
		t, err := config.Trace(f.options(p, cmd.Flags()))
		if err != nil {
			return err
		}
		return runSync(cmd.Context(), p, t.Config, args[0], f, newLog(p, t.Config.Log))
	}
	f.add(cmd.Flags())
	cmd.Flags().BoolVar(&f.apply, "apply", false, "write, whatever the mode")
	cmd.Flags().StringVar(&f.approve, "approve", "", "with --apply: lift the guards that a person may lift, for exactly the changes that this digest names")
	cmd.Flags().StringVarP(&f.output, "output", "o", "text", "text or json")
	return cmd
}

// runSync makes the pass of one person and prints it.
func runSync(ctx context.Context, p program, c config.Config, user string, f syncFlags, log *slog.Logger) error {
	r, _, lease, err := openReconciler(c, p, nil, log)
	if err != nil {
		return err
	}
	req := requestOf(f.apply, f.approve, lease)
	var view reconcile.View
	var rep report.Report
	pass := func(ctx context.Context) (err error) {
		view, rep, err = r.PassOf(ctx, user, req)
		wire.LogApproval(ctx, log, lease, rep)
		return err
	}
	if err := leading(ctx, lease, f.apply, pass); err != nil {
		return err
	}
	if err := synced(p, view, rep, f.output == "json"); err != nil {
		return fmt.Errorf("printing the report: %w", err)
	}
	if code := rep.ExitCode(); code != 0 {
		return exitCode(code)
	}
	return nil
}

// synced prints the explanation of the person, as groupsync explain does, and then the report of
// the pass. If the pass failed, there is no explanation.
func synced(p program, view reconcile.View, rep report.Report, asJSON bool) error {
	var answer *explain.Answer
	if rep.Result != report.Error {
		a := explain.Of(view)
		answer = &a
	}
	if asJSON {
		return report.WriteJSON(p.stdout, struct {
			Explain *explain.Answer `json:"explain"` // null: the pass failed
			Report  report.Report   `json:"report"`
		}{answer, rep})
	}
	if answer != nil && rep.Mode == "apply" {
		if _, err := io.WriteString(p.stdout, "before the pass:\n"); err != nil {
			return err
		}
	}
	if answer != nil {
		if err := explain.Text(p.stdout, *answer); err != nil {
			return err
		}
		after := "\n"
		if rep.Mode == "apply" {
			after = "\nthe pass:\n"
		}
		if _, err := io.WriteString(p.stdout, after); err != nil {
			return err
		}
	}
	return report.Text(p.stdout, rep, report.Style{Color: p.colors()})
}
