package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"groupsync/internal/config"
	"groupsync/internal/explain"
	"groupsync/internal/reconcile"
)

func newExplain(p program) *cobra.Command {
	var s sources
	var subject reconcile.Subject
	var output string
	cmd := &cobra.Command{
		Use:   "explain [USER] [--group GROUP]",
		Short: "Say why somebody is or is not in a group, and change nothing",
		Long: `explain says why a person is or is not in ClearML groups: the Keycloak accounts that
could be this person, their groups, what these feed, what a pass would do, and why.
USER is an email, a username, or an id of either side.

With --group the answer is about that group only. Without USER it shows what feeds the
group, and the status of every person. GROUP is a ClearML group's name or id, or a
Keycloak group's path, claim name or id.

explain only reads: ClearML, the list of Keycloak's groups, and the data of the person or
the group. It remembers nothing.`,
		Args: hinted(cobra.MaximumNArgs(1)),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			subject.User = args[0]
		}
		switch {
		case subject.User == "" && subject.Group == "":
			return errors.New("explain needs a USER or --group: write groupsync explain USER, or groupsync explain --group GROUP")
		case output != "text" && output != "json":
			return fmt.Errorf("-o %s is not a format: write -o text or -o json", output)
		}
		t, err := config.Trace(s.options(p, cmd.Flags()))
		if err != nil {
			return err
		}
		return runExplain(cmd.Context(), p, t.Config, subject, output, newLog(p, t.Config.Log))
	}
	s.add(cmd.Flags())
	cmd.Flags().StringVar(&subject.Group, "group", "", "the group that the answer is about")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// runExplain reads what the subject (a person, a group or both) needs of both sides, and prints the
// explanation.
func runExplain(ctx context.Context, p program, c config.Config, subject reconcile.Subject, output string, log *slog.Logger) error {
	r, _, _, err := openReconciler(c, p, nil, log)
	if err != nil {
		return err
	}
	view, err := r.Look(ctx, subject)
	if err != nil {
		return err
	}
	render := explain.Text
	if output == "json" {
		render = explain.JSON
	}
	if err := render(p.stdout, explain.Of(view)); err != nil {
		return fmt.Errorf("printing the answer: %w", err)
	}
	return nil
}
