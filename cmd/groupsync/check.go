package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/spf13/cobra"

	"groupsync/internal/config"
	"groupsync/internal/config/clearmlenv"
	"groupsync/internal/preflight"
)

func newCheck(p program) *cobra.Command {
	var s sources
	var strict bool
	var output string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Look at Keycloak and ClearML for what is set wrong, and change nothing",
		Long: `check looks at the live systems for what would make a pass fail, or fight ClearML's
own sync at login. It prints what it saw, how to fix what is wrong, and where the
documentation is. It only reads.

The exit code is 1 if a check found an error, and with --strict 2 if one found a
warning.`,
		Args: hinted(cobra.NoArgs),
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if output != "text" && output != "json" {
			return fmt.Errorf("-o %s is not a format: write -o text or -o json", output)
		}
		t, err := config.Trace(s.options(p, cmd.Flags()))
		if err != nil {
			return err
		}
		checks, err := checksOf(t.Config, t.SignIn, newLog(p, t.Config.Log))
		if err != nil {
			return err
		}
		return runCheck(cmd.Context(), p.stdout, checks, output == "json", strict)
	}
	s.add(cmd.Flags())
	cmd.Flags().BoolVar(&strict, "strict", false, "exit 2 if a check found a warning")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// runCheck makes the checks and prints the findings. The text shows each finding as
// soon as it is there, because some checks take seconds.
func runCheck(ctx context.Context, w io.Writer, checks []preflight.Check, asJSON, strict bool) error {
	var failed error
	r := preflight.Run(ctx, checks, func(f preflight.Finding) {
		if asJSON || failed != nil {
			return
		}
		_, failed = io.WriteString(w, f.Line())
	})
	switch {
	case failed != nil:
	case asJSON:
		failed = r.JSON(w)
	default:
		_, failed = io.WriteString(w, r.Summary())
	}
	if failed != nil {
		return fmt.Errorf("printing the findings: %w", failed)
	}
	if code := r.ExitCode(strict); code != 0 {
		return exitCode(code)
	}
	return nil
}

// checksOf returns the checks in the order in which they are made: what is needed to
// see anything comes first.
func checksOf(c config.Config, signIn clearmlenv.SignIn, log *slog.Logger) ([]preflight.Check, error) {
	m := newMetrics(c)
	keycloak, err := newSource(c, m, nil, log)
	if err != nil {
		return nil, err
	}
	clearml, err := newTarget(c, m, log)
	if err != nil {
		return nil, err
	}
	rules, err := rulesOf(c)
	if err != nil {
		return nil, err
	}
	return slices.Concat(
		preflight.KeycloakReach(keycloak, preflight.KeycloakOptions{
			Address: preflight.Address{Side: "keycloak", URL: c.Keycloak.URL, CAFile: c.Keycloak.CAFile, InsecureSkipVerify: c.Keycloak.InsecureSkipVerify},
			Realm:   c.Keycloak.Realm, ClientID: c.Keycloak.ClientID, AdminRole: rules.AdminRole,
		}),
		preflight.ClearMLReach(clearml, keycloak, preflight.ClearMLOptions{
			Address:  preflight.Address{Side: "clearml", URL: c.ClearML.URL, CAFile: c.ClearML.CAFile, InsecureSkipVerify: c.ClearML.InsecureSkipVerify},
			Provider: c.ClearML.Provider, Admins: rules.AdminRole != "" || len(rules.AdminGroups) > 0,
		}),
		preflight.Mapper(signInOf(c, signIn), keycloak, "keycloak-credentials"),
		preflight.Federation(keycloak, clearml, rules),
	), nil
}

// signInOf returns how people sign in to ClearML.
func signInOf(c config.Config, theirs clearmlenv.SignIn) preflight.SignIn {
	s := preflight.SignIn{
		ClientID: c.Keycloak.ClearMLClientID, Own: c.Keycloak.ClientID, Claim: c.Groups.Claim, FullPath: c.Groups.FullPath,
		Userinfo: theirs.FromUserinfo, NameClaim: theirs.NameClaim,
	}
	if c.Admins.Role != nil {
		s.AdminRole = *c.Admins.Role
	}
	return s
}
