package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"groupsync/internal/config"
	"groupsync/internal/reconcile"
	"groupsync/internal/report"
	"groupsync/internal/wire"
)

// restoreFlags are the flags of groupsync restore that are not keys of the configuration.
type restoreFlags struct {
	sources
	last    bool
	apply   bool
	approve string
	output  string
	full    bool
}

func newRestore(p program) *cobra.Command {
	var f restoreFlags
	cmd := &cobra.Command{
		Use:   "restore PASS|REPORT|--last",
		Short: "Take back what a pass did: show it, and with --apply write it",
		Long: `restore takes back what an earlier pass did. It adds the people that the pass removed, and
removes the people that the pass added. PASS is the id of a pass in the journal. REPORT is a
file of the journal, or a file with the output of --once -o json. --last means the newest
pass that changed something, or may have, and is not a restore. Without --apply restore
writes nothing.

The plan goes through the guards of every pass. restore lists what it leaves out: what has
changed since, people who are not certainly enabled in Keycloak, and people whom a pass must
not remove.

If Keycloak does not change, the next pass makes the same changes again. Stop it with
groupsync suspend, or correct Keycloak first. The exit code is that of --once.`,
		Args: hinted(cobra.MaximumNArgs(1)),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := ""
		if len(args) == 1 {
			name = args[0]
		}
		if err := f.check(name); err != nil {
			return err
		}
		t, err := config.Trace(f.options(p, cmd.Flags()))
		if err != nil {
			return err
		}
		return runRestore(cmd.Context(), p, t.Config, name, f, newLog(p, t.Config.Log))
	}
	f.add(cmd.Flags())
	cmd.Flags().BoolVar(&f.last, "last", false, "the newest pass in the journal that changed something and is not a restore")
	cmd.Flags().BoolVar(&f.apply, "apply", false, "write, whatever the mode")
	cmd.Flags().StringVar(&f.approve, "approve", "", "with --apply: lift the guards that a person may lift, for exactly the changes that this digest names")
	cmd.Flags().StringVarP(&f.output, "output", "o", "text", "text or json")
	cmd.Flags().BoolVar(&f.full, "full", false, "cut no list of the report")
	return cmd
}

// check returns an error if a flag has a wrong value, or if flags and arguments cannot be
// combined. name is the argument, or empty.
func (f restoreFlags) check(name string) error {
	switch {
	case name == "" && !f.last:
		return errors.New("restore needs a pass: write groupsync restore with the id of a pass or a file of the journal, or --last")
	case name != "" && f.last:
		return errors.New("--last cannot be combined with PASS or REPORT: leave one of them out")
	case f.output != "text" && f.output != "json":
		return fmt.Errorf("-o %s is not a format: write -o text or -o json", f.output)
	case f.approve != "" && !f.apply:
		return errors.New("--approve needs --apply: a dry run writes nothing")
	}
	return nil
}

// reportOf returns the report of the pass to undo. name is a file, or the id of a pass in the
// journal. An empty name means the newest pass that wrote something and is not a restore.
func reportOf(c config.Config, name string) (report.Report, error) {
	d, kept := wire.Journal(c)
	switch {
	case strings.ContainsAny(name, "/\\") || strings.HasSuffix(name, ".json"):
		return d.File(name)
	case !kept:
		return report.Report{}, errors.New("this configuration keeps no journal: give the file of a report, or set state_dir for the passes to come")
	case name == "":
		return d.LastThatWrote()
	}
	return d.Get(name)
}

// runRestore undoes the changes of a past pass and prints the report.
func runRestore(ctx context.Context, p program, c config.Config, name string, f restoreFlags, log *slog.Logger) error {
	past, err := reportOf(c, name)
	if err != nil {
		return fmt.Errorf("nothing was restored: %w", err)
	}
	r, _, lease, err := openReconciler(c, p, nil, log)
	if err != nil {
		return err
	}
	req := requestOf(f.apply, f.approve, lease)
	var made reconcile.Restoration
	pass := func(ctx context.Context) (err error) {
		made, err = r.Restore(ctx, past, req)
		wire.LogApproval(ctx, log, lease, made.Report)
		return err
	}
	if err := leading(ctx, lease, f.apply, pass); err != nil {
		return err
	}
	if err := restored(p, past, made, f); err != nil {
		return fmt.Errorf("printing the report: %w", err)
	}
	if code := made.Report.ExitCode(); code != 0 {
		return exitCode(code)
	}
	return nil
}

// restored prints which pass the restore undoes, and the report of the restore. It then prints how
// many of these changes the next pass would undo, because Keycloak has not changed.
func restored(p program, past report.Report, made reconcile.Restoration, f restoreFlags) error {
	if f.output == "json" {
		return report.WriteJSON(p.stdout, struct {
			Report report.Report `json:"report"`
			Redone int           `json:"redone"`
		}{made.Report, made.Redone})
	}
	if _, err := fmt.Fprintln(p.stdout, takenBack(past)); err != nil {
		return err
	}
	if err := report.Text(p.stdout, made.Report, report.Style{Full: f.full, Color: p.colors()}); err != nil {
		return err
	}
	if made.Redone == 0 {
		return nil
	}
	_, err := fmt.Fprintf(p.stdout, "The next pass undoes %d of these changes unless Keycloak changes first; groupsync suspend prevents that.\n", made.Redone)
	return err
}

// takenBack returns a line with the id, the time and the figures of the undone pass, so that a
// person notices a wrong choice.
func takenBack(past report.Report) string {
	what := "the pass"
	switch {
	case past.Restores != "":
		what = "the restore"
	case past.Person != "":
		what = "the pass of one person"
	}
	return fmt.Sprintf("takes back %s %s, which started at %s: %s", what, report.Name(past.Pass), past.Started.UTC().Format(time.RFC3339), past.Applied)
}
