package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"groupsync/internal/config"
	"groupsync/internal/journal"
	"groupsync/internal/review"
	"groupsync/internal/wire"
)

// reviewFlags are the flags of groupsync review that are not keys of the configuration.
type reviewFlags struct {
	sources
	output string
	date   bool
}

// reviewFormats are the values of -o of groupsync review.
var reviewFormats = map[string]func(io.Writer, review.Review) error{"csv": review.CSV, "json": review.JSON, "html": review.HTML}

func newReview(p program) *cobra.Command {
	var f reviewFlags
	cmd := &cobra.Command{
		Use:   "review",
		Short: "List who is in which ClearML group, and what gives each membership",
		Long: `review reads Keycloak and ClearML as a pass does, and lists every membership of ClearML's
user groups and every holder of the role admin: the person, the Keycloak account, the
group, and the Keycloak groups or the role that give the membership. If Keycloak does not
give a membership, the list says why it stays. Additions that a pass would make are
listed too. review changes nothing and remembers nothing.

The list is CSV unless -o says otherwise. Two reviews of the same state are the same
bytes. The exit code is 0, also if there is drift, and 1 if there was an error.`,
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
		log := newLog(p, t.Config.Log)
		for _, remark := range t.Remarks {
			log.Warn("ClearML's own variables: " + remark)
		}
		return runReview(cmd.Context(), p, t.Config, f, shown, log)
	}
	f.add(cmd.Flags())
	cmd.Flags().StringVarP(&f.output, "output", "o", "csv", "csv, json or html")
	cmd.Flags().BoolVar(&f.date, "date", false, "with -o json and -o html: say when both sides were read")
	return cmd
}

// check returns an error if a flag has a wrong value, or if flags cannot be combined.
func (f reviewFlags) check() error {
	switch {
	case reviewFormats[f.output] == nil:
		return fmt.Errorf("-o %s is not a format: write -o csv, json or html", f.output)
	case f.date && f.output == "csv":
		return errors.New("--date needs -o json or -o html: a CSV holds rows only; write the date into the name of the file")
	}
	return nil
}

// runReview reads both sides and prints who has access.
func runReview(ctx context.Context, p program, c config.Config, f reviewFlags, shown *progress, log *slog.Logger) error {
	defer shown.end()
	reconciler, _, _, err := openReconciler(c, p, shown, log)
	if err != nil {
		return err
	}
	view, err := reconciler.Survey(ctx)
	if err != nil {
		return err
	}
	if d, kept := wire.Journal(c); kept {
		everybody := func(journal.Membership) bool { return true }
		view.Past = journal.PastOf(d, everybody, func() bool { return ctx.Err() == nil })
		for _, text := range view.Past.Skipped {
			log.Warn("a report of the journal could not be read, so the review may not say since when some people have been members", "why", text)
		}
	}
	shown.end()
	r := review.Of(view, review.Scope{Sync: c.Name, Keycloak: c.Keycloak.URL, Realm: c.Keycloak.Realm, ClearML: c.ClearML.URL})
	if f.date {
		at := view.Input.Now.UTC()
		r.At = &at
	}
	if err := reviewFormats[f.output](p.stdout, r); err != nil {
		return fmt.Errorf("printing the review: %w", err)
	}
	return nil
}
