package report

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
)

// JSON writes the report as one indented JSON object and a newline. No list and no map in it
// is null.
func JSON(w io.Writer, r Report) error { return WriteJSON(w, r.filled()) }

// WriteJSON writes a value as indented JSON and a newline. It escapes characters that could
// control a terminal.
func WriteJSON(w io.Writer, value any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return err
	}
	_, err := w.Write(EscapeJSON(b.Bytes()))
	return err
}

// filled returns the report with an empty list or map instead of each nil.
func (r Report) filled() Report {
	r.Groups = slices.Clone(list(r.Groups))
	for i, g := range r.Groups {
		g.From, g.Add, g.Remove = list(g.From), list(g.Add), list(g.Remove)
		g.Pending, g.Kept, g.Withheld = list(g.Pending), list(g.Kept), list(g.Withheld)
		r.Groups[i] = g
	}
	r.Skipped, r.People, r.Guards = list(r.Skipped), list(r.People), list(r.Guards)
	r.Errors, r.Probes = list(r.Errors), list(r.Probes)
	if r.Users == nil {
		r.Users = map[string]int{}
	}
	if r.Reverted == nil {
		r.Reverted = map[string]int{}
	}
	if r.Approval != nil {
		a := *r.Approval
		a.Lifted = list(a.Lifted)
		r.Approval = &a
	}
	return r
}

func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}
