package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/spf13/cobra"

	"groupsync/internal/config"
	"groupsync/internal/config/clearmlenv"
	"groupsync/internal/match"
	"groupsync/internal/memory"
	"groupsync/internal/preflight"
	"groupsync/internal/preflight/federation"
	"groupsync/internal/preflight/pairing"
	"groupsync/internal/preflight/reach"
	"groupsync/internal/preflight/signin"
	"groupsync/internal/reconcile"
	"groupsync/internal/wire"
)

func newCheck(p program) *cobra.Command {
	var s sources
	var strict bool
	var output string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Find wrong settings in Keycloak and ClearML, and change nothing",
		Long: `check reads the live systems. It finds settings that would make a pass fail, or make a pass
and ClearML's sync at login undo each other's changes. It prints each finding, how to fix
what is wrong, and where the documentation is. It only reads.

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
		checks, err := checksOf(t.Config, t.SignIn, p, newLog(p, t.Config.Log))
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

// runCheck makes the checks and prints the findings. As text, it prints each finding at once,
// because some checks take seconds. At the end it prints how many checks were not made.
func runCheck(ctx context.Context, w io.Writer, checks []preflight.Check, asJSON, strict bool) error {
	var failed error
	r := preflight.Run(ctx, checks, func(f preflight.Finding) {
		if asJSON || failed != nil || f.Prerequisite != "" {
			return
		}
		_, failed = io.WriteString(w, f.Line())
	})
	switch {
	case failed != nil:
	case ctx.Err() != nil:
		return errors.New("the check was stopped before its end, so the findings are not complete: run it again")
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

// checksOf returns all checks in the order in which they run. A check comes after the checks that
// it depends on.
func checksOf(c config.Config, signIn clearmlenv.SignIn, p program, log *slog.Logger) ([]preflight.Check, error) {
	m := wire.Metrics(c, build())
	keycloak, err := wire.Keycloak(c, m, wire.Progress{}, log)
	if err != nil {
		return nil, err
	}
	clearml, err := wire.ClearML(c, m, log)
	if err != nil {
		return nil, err
	}
	rules, err := wire.Rules(c)
	if err != nil {
		return nil, err
	}
	ofKeycloak := reach.Keycloak(keycloak, reach.KeycloakOptions{
		Address: reach.Address{Side: "keycloak", URL: c.Keycloak.URL, CAFile: c.Keycloak.CAFile, InsecureSkipVerify: c.Keycloak.InsecureSkipVerify},
		Realm:   c.Keycloak.Realm, ClientID: c.Keycloak.ClientID, AdminRole: rules.AdminRole,
		Events: c.Keycloak.Events == "poll",
	})
	admins := rules.AdminRole != "" || len(rules.AdminGroups) > 0
	ofClearML := reach.ClearML(clearml, keycloak, reach.ClearMLOptions{
		Address:  reach.Address{Side: "clearml", URL: c.ClearML.URL, CAFile: c.ClearML.CAFile, InsecureSkipVerify: c.ClearML.InsecureSkipVerify},
		Provider: c.ClearML.Provider, AdminsGroup: admins && rules.AdminVia.Group(), AdminsRole: admins && rules.AdminVia.Role(),
	})
	return slices.Concat(
		ofKeycloak, ofClearML,
		signin.Checks(signInOf(c, signIn), keycloak, "keycloak-credentials"),
		federation.Checks(keycloak, clearml, rules, reach.Prerequisites(ofKeycloak), reach.Prerequisites(ofClearML)),
		pairing.Checks(pairing.Options{
			Open: func() (pairing.Surveyor, string) {
				o, lost := surveyOptions(c, rules, p, log)
				return reconcile.New(keycloak, clearml, o), lost
			},
			URL: c.Keycloak.URL, Realm: c.Keycloak.Realm, ClientID: c.Keycloak.ClearMLClientID, Claim: c.Groups.Claim, NeedsGroup: signIn.NeedsGroup,
		}, keycloak, clearml, reach.Prerequisites(ofKeycloak), reach.Prerequisites(ofClearML)),
		preflight.Exceptions(rules.Exceptions),
	), nil
}

// surveyOptions returns the options of a survey. A survey reads both sides and makes a plan, and
// writes nothing. It reads the guards' memory, without locking the memory. If the memory cannot be
// opened, the options have no store, and lost says why.
func surveyOptions(c config.Config, rules match.Rules, p program, log *slog.Logger) (o reconcile.Options, lost string) {
	store, _, err := openMemory(c, p, log)
	if err != nil {
		return wire.Options(c, rules, nil, wire.Progress{}, log), err.Error()
	}
	o = wire.Options(c, rules, store, wire.Progress{}, log)
	_, o.Limits.Forgets = store.(*memory.Process)
	return o, ""
}

// signInOf returns the options of the checks of the sign-in to ClearML. theirs has the values from
// ClearML's own variables.
func signInOf(c config.Config, theirs clearmlenv.SignIn) signin.Options {
	s := signin.Options{
		ClientID: c.Keycloak.ClearMLClientID, Own: c.Keycloak.ClientID, Claim: c.Groups.Claim, FullPath: c.Groups.FullPath,
		Userinfo: theirs.FromUserinfo, NameClaim: theirs.NameClaim,
	}
	if c.Admins.Role != nil {
		s.AdminRole = *c.Admins.Role
	}
	return s
}
