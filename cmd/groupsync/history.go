package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"groupsync/internal/config"
	"groupsync/internal/journal"
	"groupsync/internal/wire"
)

func newHistory(p program) *cobra.Command {
	var s sources
	var query journal.Query
	var since, output string
	cmd := &cobra.Command{
		Use:   "history",
		Short: "List what passes changed, withheld or failed to change, from the journal",
		Long: `history lists the changes in the journal, pass by pass, the newest last: what was done,
what failed, what a guard withheld, and who approved. It reads the files in state_dir and
asks neither Keycloak nor ClearML.`,
		Args: hinted(cobra.NoArgs),
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if output != "text" && output != "json" {
			return fmt.Errorf("-o %s is not a format: write -o text or -o json", output)
		}
		var err error
		if query.Since, err = sinceOf(since, time.Now()); err != nil {
			return err
		}
		t, err := config.Trace(s.options(p, cmd.Flags()))
		if err != nil {
			return err
		}
		return runHistory(p, t.Config, query, output)
	}
	s.add(cmd.Flags())
	cmd.Flags().StringVar(&query.User, "user", "", "only this person: the id, name or email of a ClearML user")
	cmd.Flags().StringVar(&query.Group, "group", "", "only this ClearML group: its name or id")
	cmd.Flags().StringVar(&since, "since", "", "only passes since then: 48h, or 2026-01-02T15:04:05Z")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// sinceOf returns the time that the text of --since means. The text is a duration before now, or a
// time. For an empty text sinceOf returns the zero time.
func sinceOf(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("--since %s is neither a duration nor a time: write 48h, or 2026-01-02T15:04:05Z", text)
	}
	return t, nil
}

func runHistory(p program, c config.Config, q journal.Query, output string) error {
	d, kept := wire.Journal(c)
	switch {
	case kept:
	case c.Lease.Name != "":
		return errors.New("groupsync keeps no journal when it uses a Lease, so history has nothing to read: look for audit=true in the logs of all replicas")
	case c.StateDir == "":
		return errors.New("groupsync keeps no journal when state_dir is not set, so history has nothing to read: look for audit=true in the log, and set state_dir to keep a journal of later passes")
	default:
		return errors.New("groupsync keeps no journal when state.keep is 0, so history has nothing to read: look for audit=true in the log, and set state.keep to keep a journal of later passes")
	}
	h, err := d.History(q)
	if err != nil {
		return err
	}
	render := journal.Text
	if output == "json" {
		render = journal.JSON
	}
	if err := render(p.stdout, h); err != nil {
		return fmt.Errorf("printing the history: %w", err)
	}
	return nil
}
