package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"groupsync/internal/config"
	"groupsync/internal/reconcile"
	"groupsync/internal/report"
	"groupsync/internal/wire"
)

// planFlags are the flags of groupsync plan that are not keys of the configuration.
type planFlags struct {
	sources
	against string
	output  string
	full    bool
}

func newPlan(p program) *cobra.Command {
	var f planFlags
	cmd := &cobra.Command{
		Use:   "plan --against OTHER.yaml",
		Short: "Compare what a changed configuration would do with what the present one does",
		Long: `plan reads Keycloak and ClearML once, plans under the present configuration and under
the changed one, and prints the memberships that only one of them adds or removes. It
changes nothing. The flags and the environment apply to both configurations.

The exit code is 2 if the configurations differ in what they do, 0 if they do not, and
1 if there was an error.`,
		Args: hinted(cobra.NoArgs),
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.check(); err != nil {
			return err
		}
		from := f.options(p, cmd.Flags())
		present, err := config.Trace(from)
		if err != nil {
			return err
		}
		from.File = f.against
		changed, err := config.Trace(from)
		if err != nil {
			return fmt.Errorf("the changed configuration: %w", err)
		}
		if err := sameSystems(present.Config, changed.Config); err != nil {
			return err
		}
		shown := showProgress(&p)
		log := newLog(p, present.Config.Log)
		for _, remark := range present.Remarks {
			log.Warn("ClearML's own variables: " + remark)
		}
		return runPlan(cmd.Context(), p, present.Config, changed.Config, f, shown, log)
	}
	f.add(cmd.Flags())
	cmd.Flags().StringVar(&f.against, "against", "", "the changed configuration file (YAML)")
	cmd.Flags().StringVarP(&f.output, "output", "o", "text", "text, markdown or json")
	cmd.Flags().BoolVar(&f.full, "full", false, "cut no list")
	return cmd
}

// check returns an error if a flag has a wrong value, or if flags cannot be combined.
func (f planFlags) check() error {
	switch {
	case f.against == "":
		return errors.New("plan needs --against OTHER.yaml, the changed configuration: groupsync --once shows the plan of the present configuration")
	case f.output != "text" && f.output != "markdown" && f.output != "json":
		return fmt.Errorf("-o %s is not a format: write -o text, markdown or json", f.output)
	case f.full && f.output == "json":
		return errors.New("--full needs -o text or -o markdown: -o json is never cut")
	}
	return nil
}

// sameSystems returns an error if the configurations do not name the same realm and the same
// ClearML server. plan reads both sides only once, for both configurations.
func sameSystems(present, changed config.Config) error {
	for _, key := range []struct{ name, present, changed string }{
		{"keycloak.url", strings.TrimRight(present.Keycloak.URL, "/"), strings.TrimRight(changed.Keycloak.URL, "/")},
		{"keycloak.realm", present.Keycloak.Realm, changed.Keycloak.Realm},
		{"clearml.url", strings.TrimRight(present.ClearML.URL, "/"), strings.TrimRight(changed.ClearML.URL, "/")},
	} {
		if key.present != key.changed {
			return fmt.Errorf("%s is %q in the present configuration and %q in the changed one: plan compares two configurations of one Keycloak realm and one ClearML server; write the same value into both", key.name, key.present, key.changed)
		}
	}
	return nil
}

// runPlan compares the configurations and prints the comparison. The systems, the
// credentials, the limits of the guards and their memory are those of the present
// configuration.
func runPlan(ctx context.Context, p program, present, changed config.Config, f planFlags, shown *progress, log *slog.Logger) error {
	defer shown.end()
	rules, err := wire.Rules(present)
	if err != nil {
		return err
	}
	changedRules, err := wire.Rules(changed)
	if err != nil {
		return fmt.Errorf("the changed configuration: %w", err)
	}
	// ClearML's role admin is read only if admins.via is role or both. If the present configuration
	// does not need the role, the value of the changed one decides.
	if present.Admins.Via == "group" {
		present.Admins.Via = changed.Admins.Via
	}
	s, _, err := openSides(present, p, shown, log)
	if err != nil {
		return err
	}
	s.Options.Rules = rules
	c, err := reconcile.New(s.Source, s.Target, s.Options).Compare(ctx, changedRules)
	if err != nil {
		return err
	}
	shown.end()
	if err := f.print(p, c); err != nil {
		return fmt.Errorf("printing the comparison: %w", err)
	}
	if code := c.ExitCode(); code != 0 {
		return exitCode(code)
	}
	return nil
}

func (f planFlags) print(p program, c report.Comparison) error {
	switch f.output {
	case "json":
		return c.JSON(p.stdout)
	case "markdown":
		return c.Markdown(p.stdout, f.full)
	}
	return c.Text(p.stdout, report.Style{Full: f.full, Color: p.colors()})
}
