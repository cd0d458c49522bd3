package main

import (
	"cmp"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"groupsync/internal/config"
	"groupsync/internal/daemon"
	"groupsync/internal/wire"
)

// version and revision are set when an image or a release is made. If they are empty, the
// function build takes the version and the commit from the build information in the binary.
var version, revision = "", ""

// flags are the flags of the root command that are not keys of the configuration.
type flags struct {
	sources
	once    bool
	apply   bool
	approve string
	driftOK bool
	output  string
	full    bool
}

func newRoot(p program) *cobra.Command {
	var f flags
	root := &cobra.Command{
		Use:   "groupsync",
		Short: "Keep ClearML Enterprise user groups equal to Keycloak group membership",
		Long: `groupsync keeps ClearML Enterprise user groups equal to Keycloak group membership.

Without --once it runs the schedule, and writes only with mode: apply. With
--once it makes one pass, prints what it found, and writes only with --apply.`,
		Version:       versionLine(),
		Args:          hinted(cobra.NoArgs),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return hint(err) })
	root.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.check(); err != nil {
			return err
		}
		from := f.options(p, cmd.Flags())
		t, err := config.Trace(from)
		if err != nil {
			return err
		}
		c := t.Config
		var shown *progress // nil: the daemon shows no progress
		if f.once {
			shown = showProgress(&p)
		}
		log := newLog(p, c.Log)
		for _, remark := range t.Remarks {
			log.Warn("ClearML's own variables: " + remark)
		}
		if f.once {
			return runOnce(cmd.Context(), p, c, f, shown, log)
		}
		return daemon.Run(cmd.Context(), c, daemon.Options{Sources: from, Pod: p.pod(), Build: build(), Log: log})
	}
	own := root.Flags()
	own.SortFlags = false // the help keeps the order of the calls below
	f.add(own)
	own.BoolVar(&f.once, "once", false, "make one pass, print it and end")
	own.BoolVar(&f.apply, "apply", false, "with --once: write, whatever the mode")
	own.StringVar(&f.approve, "approve", "", "with --once --apply: lift the guards that a person may lift, for exactly the changes that this digest names")
	own.BoolVar(&f.driftOK, "drift-ok", false, "with --once: exit 0, not 2, if only drift is left")
	own.StringVarP(&f.output, "output", "o", "text", "with --once: "+formatNames())
	own.BoolVar(&f.full, "full", false, "with --once: cut no list of the report")
	own.Bool("version", false, "print the version and the commit") // cobra handles this flag
	root.Long += keysHelp(own)
	root.AddCommand(newCheck(p), newConfig(p), newDemo(p), newExplain(p), newHealth(), newHistory(p), newLeavers(p), newPlan(p), newRestore(p), newResume(p), newReview(p), newSuspend(p), newSync(p), newVersion(p))
	complete(root)
	return root
}

// check returns an error if a flag has a wrong value, or if flags cannot be combined.
func (f flags) check() error {
	switch {
	case f.apply && !f.once:
		return errors.New("--apply needs --once: the daemon writes if the configuration has mode: apply")
	case f.approve != "" && !f.apply:
		return errors.New("--approve needs --once --apply: an approval lifts guards for what that pass writes")
	case f.driftOK && !f.once:
		return errors.New("--drift-ok needs --once: the daemon has no exit code for drift")
	case !f.format().known():
		return fmt.Errorf("-o %s is not a format: write -o %s", f.output, formatNames())
	case f.output != "text" && !f.once:
		return errors.New("-o needs --once: the daemon prints no report. For a log in JSON, set log.format to json")
	case f.full && !f.once:
		return errors.New("--full needs --once: the daemon prints no report")
	case f.full && !f.format().cuts:
		return fmt.Errorf("--full needs -o text or -o markdown: -o %s is never cut", f.output)
	}
	return nil
}

// hint adds advice to an error of cobra about a wrong command or flag: groupsync --help lists the
// allowed ones.
func hint(err error) error {
	return fmt.Errorf("%w: groupsync --help lists the commands and flags", err)
}

func hinted(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return hint(err)
		}
		return nil
	}
}

// keysHelp returns the part of the help about flags that are keys of the configuration. It lists
// the flags of a section in one line. With one line per flag, the list would be so long that nobody
// notices the other flags.
func keysHelp(flags *pflag.FlagSet) string {
	var b strings.Builder
	b.WriteString(`

Every key of the configuration can be given as a flag (--keycloak.url) or in the
environment (GROUPSYNC_KEYCLOAK_URL); the keys of secrets not as flags. A flag
wins over the environment, which wins over the file. The flags of keys are:
`)
	last := "none yet"
	flags.VisitAll(func(f *pflag.Flag) {
		section, key, below := strings.Cut(f.Name, ".")
		switch {
		case !config.IsKey(f.Name):
			return
		case !below:
			section, key = "", f.Name
		default:
			section += "."
		}
		if section != last {
			fmt.Fprintf(&b, "\n  %-12s", "--"+section)
			last = section
		}
		b.WriteString(" " + key)
	})
	return b.String()
}

func newVersion(p program) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(p.stdout, "groupsync %s\n", versionLine())
			return err
		},
	}
}

// versionLine returns the version and, in parentheses, the commit.
func versionLine() string {
	b := build()
	return fmt.Sprintf("%s (%s)", b.Version, b.Revision)
}

// build returns the version and the commit of this program.
func build() wire.Build {
	b := wire.Build{Version: version, Revision: cmp.Or(revision, "unknown")}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version = cmp.Or(b.Version, info.Main.Version)
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && revision == "" {
			b.Revision = s.Value
		}
	}
	return b
}
