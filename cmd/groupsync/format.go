package main

import (
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"groupsync/internal/report"
)

// format is one value of -o.
type format struct {
	name   string
	cuts   bool // the format cuts long lists unless --full is given
	render func(io.Writer, report.Report, report.Style) error
}

var formats = []format{
	{"text", true, report.Text},
	{"json", false, func(w io.Writer, r report.Report, _ report.Style) error { return report.SealedJSON(w, r) }},
	{"diff", false, func(w io.Writer, r report.Report, _ report.Style) error { return report.Diff(w, r) }},
	{"markdown", true, func(w io.Writer, r report.Report, s report.Style) error { return report.Markdown(w, r, s.Full) }},
}

// format returns the format that -o names. If no format has that name, it returns the zero
// format.
func (f flags) format() format {
	i := slices.IndexFunc(formats, func(x format) bool { return x.name == f.output })
	if i < 0 {
		return format{}
	}
	return formats[i]
}

func (x format) known() bool { return x.name != "" }

// formatNames lists the values of -o.
func formatNames() string {
	names := make([]string, len(formats))
	for i, x := range formats {
		names[i] = x.name
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// complete adds cobra's completion command. It also gives the shell the values of -o and the
// file endings of --config.
func complete(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" { // cobra's own command would print help and exit with 0 for an unknown shell
			c.Args = cobra.ArbitraryArgs
			c.RunE = func(*cobra.Command, []string) error {
				return errors.New("completion needs a shell: write groupsync completion bash, zsh, fish or powershell")
			}
		}
	}
	values := make([]string, len(formats))
	for i, x := range formats {
		values[i] = x.name
	}
	// These calls return an error only if the flag does not exist. A test would notice that.
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	_ = root.MarkFlagFilename("config", "yaml", "yml")
}
