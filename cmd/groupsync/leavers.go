package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"groupsync/internal/config"
	"groupsync/internal/leavers"
)

// leaversFlags are the flags of groupsync leavers that are not keys of the configuration.
type leaversFlags struct {
	sources
	recent time.Duration
	output string
}

func newLeavers(p program) *cobra.Command {
	var f leaversFlags
	cmd := &cobra.Command{
		Use:   "leavers",
		Short: "List people who left Keycloak and still hold something in ClearML, and change nothing",
		Long: `leavers lists the people who are disabled or gone in Keycloak and what each still holds
in ClearML: user groups, also those that groupsync does not manage; the role; access
rules that name the person; the last use of the UI and of API keys.

If ClearML does not return some of this, leavers shows it as unknown. The person is then
listed, because the person may hold it. If groupsync cannot tell whether a person is
disabled or gone, it lists the person too, and says why it cannot tell.

leavers only reads, and remembers nothing. The exit code is 2 if anybody is listed, 0 if
nobody is, and 1 if there was an error.`,
		Args: hinted(cobra.NoArgs),
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.check(); err != nil {
			return err
		}
		t, err := config.Trace(f.options(p, cmd.Flags()))
		if err != nil {
			return err
		}
		shown := showProgress(&p)
		return runLeavers(cmd.Context(), p, t.Config, f, shown, newLog(p, t.Config.Log))
	}
	f.add(cmd.Flags())
	cmd.Flags().DurationVar(&f.recent, "recent", leavers.Recent, "how long ago a use of the UI or of API keys counts as recent")
	cmd.Flags().StringVarP(&f.output, "output", "o", "text", "text or json")
	return cmd
}

// check returns an error if a flag has a wrong value.
func (f leaversFlags) check() error {
	switch {
	case f.output != "text" && f.output != "json":
		return fmt.Errorf("-o %s is not a format: write -o text or -o json", f.output)
	case f.recent <= 0:
		return fmt.Errorf("--recent %s is not a positive duration: write more than 0s, 720h for example", f.recent)
	}
	return nil
}

// runLeavers finds the leavers and prints them.
func runLeavers(ctx context.Context, p program, c config.Config, f leaversFlags, shown *progress, log *slog.Logger) error {
	defer shown.end()
	r, s, _, err := openReconciler(c, p, shown, log)
	if err != nil {
		return err
	}
	found, err := leavers.Find(ctx, r, s.Target, f.recent)
	if err != nil {
		return err
	}
	shown.end()
	render := leavers.Text
	if f.output == "json" {
		render = leavers.JSON
	}
	if err := render(p.stdout, found); err != nil {
		return fmt.Errorf("printing the leavers: %w", err)
	}
	if code := found.ExitCode(); code != 0 {
		return exitCode(code)
	}
	return nil
}
