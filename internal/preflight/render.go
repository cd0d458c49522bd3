package preflight

import (
	"encoding/json"
	"fmt"
	"io"

	"groupsync/internal/report"
)

var signs = map[Level]string{OK: "✔", Warning: "!", Error: "✘"}

// Line returns a finding as text: the sign, the check and what was seen, and below that
// the advice and where the documentation is. Each line ends in a newline.
func (f Finding) Line() string {
	line := fmt.Sprintf("%s %s: %s\n", signs[f.Level], f.Check, report.Escape(f.Seen))
	if f.Level == OK {
		return line
	}
	return line + fmt.Sprintf("    %s\n    see %s\n", report.Escape(f.Advice), f.Docs)
}

// Summary returns the last line of the text: how many findings have each level.
func (r Report) Summary() string {
	return fmt.Sprintf("%d ok, %d warnings, %d errors\n", r.Count(OK), r.Count(Warning), r.Count(Error))
}

// JSON writes the report as one indented JSON object and a newline.
func (r Report) JSON(w io.Writer) error {
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(report.EscapeJSON(data), '\n'))
	return err
}
