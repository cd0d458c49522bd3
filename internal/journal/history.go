package journal

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"groupsync/internal/report"
	"groupsync/internal/source"
)

// Record is one change that a pass made, failed to make or withheld.
type Record struct {
	Pass       string    `json:"pass"`
	At         time.Time `json:"at"`          // start of the pass, in UTC
	ApprovedBy string    `json:"approved_by"` // who gave the approval that the pass granted; empty: nobody
	Group      string    `json:"group"`       // name of the ClearML group
	GroupID    string    `json:"group_id"`
	Action     string    `json:"action"` // add or remove
	report.Change
}

// The values of Record.Action.
const (
	Added   = "add"
	Removed = "remove"
)

// Records returns the changes that a pass made, failed to make or withheld, in the order of
// the report. A planned change that the pass did not reach is not a record.
func Records(r report.Report) []Record {
	var records []Record
	of := Record{Pass: r.Pass, At: r.Started.UTC()}
	if r.Approval != nil && r.Approval.Granted {
		of.ApprovedBy = r.Approval.By
	}
	for _, g := range r.Groups {
		of.Group, of.GroupID = g.Name, g.ID
		take := func(action string, changes []report.Change) {
			for _, c := range changes {
				if c.Outcome != report.Planned {
					of.Action, of.Change = action, c
					records = append(records, of)
				}
			}
		}
		take(Added, g.Add)
		take(Removed, g.Remove)
	}
	return records
}

// Query selects changes of the journal. An empty field selects all changes.
type Query struct {
	User  string    // exact id, name or email of a ClearML user; upper and lower case (A to Z) are equal in an email
	Group string    // exact name or id of a ClearML group
	Since time.Time // only passes that started at this time or later
}

func (q Query) matches(r Record) bool {
	user := q.User == "" || q.User == r.ID || q.User == r.Name || r.Email != "" && source.FoldEmail(q.User) == source.FoldEmail(r.Email)
	group := q.Group == "" || q.Group == r.Group || q.Group == r.GroupID
	return user && group && !r.At.Before(q.Since)
}

// History is the result of a Query. Its lists can be empty, but are not nil.
type History struct {
	Sync       string    `json:"sync"`
	Reports    int       `json:"reports"`    // number of readable reports in the journal, whatever the query selects
	From       time.Time `json:"from"`       // start of the oldest readable report's pass, in UTC
	Changes    []Record  `json:"changes"`    // the selected changes, those of the newest pass last
	Unreadable []string  `json:"unreadable"` // a sentence for each report that cannot be read
}

// History returns the changes in the journal that the query selects. If the journal has no report,
// not even an unreadable one, History returns an error whose text says why that can be.
func (d Dir) History(q Query) (History, error) {
	h := History{Sync: d.Sync, Changes: []Record{}, Unreadable: []string{}}
	for r, err := range d.List() {
		if err != nil {
			h.Unreadable = append(h.Unreadable, err.Error())
			continue
		}
		if h.Reports++; h.Reports == 1 {
			h.From = r.Started.UTC()
		}
		for _, record := range Records(r) {
			if q.matches(record) {
				h.Changes = append(h.Changes, record)
			}
		}
	}
	if h.Reports == 0 && len(h.Unreadable) == 0 {
		return History{}, fmt.Errorf("the journal %s is empty: no pass that may write has made, failed or withheld a change, or its reports are older than state.keep_for", d.Path)
	}
	return h, nil
}

// Past holds the last change of each membership, from a journal. If there is no journal, callers
// use the zero Past.
type Past struct {
	From    time.Time             // start of the pass of the oldest report that was read, in UTC; zero: no report was read
	Latest  map[Membership]Record // the last change of the membership that a pass wrote
	Skipped []string              // a sentence for each report that cannot be read, and one about the reports that were not read
}

// Reports gives access to the reports of a journal, one at a time.
type Reports interface {
	// Passes returns the ids of the passes that have a report, the oldest first.
	Passes() ([]string, error)
	// Get returns the report of one pass.
	Get(pass string) (report.Report, error)
}

// PastOf returns the past of the memberships for which wanted returns true. It reads the reports
// from the newest to the oldest. Reading a large journal takes long, so PastOf calls goOn before
// each report, and stops if goOn returns false. Skipped then says which reports were not read.
func PastOf(j Reports, wanted func(Membership) bool, goOn func() bool) Past {
	p := Past{Latest: make(map[Membership]Record)}
	passes, err := j.Passes()
	if err != nil {
		p.Skipped = append(p.Skipped, err.Error())
	}
	for i, pass := range slices.Backward(passes) {
		if !goOn() {
			p.Skipped = append(p.Skipped, fmt.Sprintf("%s of the journal, up to the pass %s, were not read, because that takes too long here: groupsync history reads them", counted(i+1, "report"), pass))
			break
		}
		r, err := j.Get(pass)
		switch {
		case errors.Is(err, ErrNoReport): // another process has removed the report in the meantime
			continue
		case err != nil:
			p.Skipped = append(p.Skipped, err.Error())
			continue
		}
		p.From = r.Started.UTC()
		for _, x := range Records(r) {
			m := Membership{x.GroupID, x.ID}
			if _, later := p.Latest[m]; !later && x.Outcome == report.Done && wanted(m) {
				p.Latest[m] = x
			}
		}
	}
	return p
}

// Membership is a pair of a user and a user group, by their ids in ClearML.
type Membership struct{ Group, User string }

// JSON writes the history as one indented JSON object and a newline.
func JSON(w io.Writer, h History) error { return report.WriteJSON(w, h) }

// Text writes the history as text for people to read: a line for each pass with changes, and below it a line
// for each change.
func Text(w io.Writer, h History) error {
	var b strings.Builder
	line := func(format string, args ...any) {
		b.WriteString(report.Escape(fmt.Sprintf(format, args...)) + "\n")
	}
	if h.Reports > 0 {
		line("journal of %s: %s since %s", report.Name(h.Sync), counted(h.Reports, "report"), stamp(h.From))
	}
	pass := ""
	for _, c := range h.Changes {
		if c.Pass != pass {
			pass = c.Pass
			line("")
			line("%s  %s%s", c.Pass, stamp(c.At), approval(c))
		}
		line("  %s %s  %s  %s", signs[c.Action], report.Name(c.Group), person(c), what(c))
	}
	if len(h.Changes) == 0 {
		line("no change in the journal matches")
	}
	for i, text := range h.Unreadable {
		if i == 0 {
			line("")
		}
		line("skipped: %s", text)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

var signs = map[string]string{Added: "+", Removed: "-"}

func approval(c Record) string {
	if c.ApprovedBy == "" {
		return ""
	}
	return "  approved by " + report.Name(c.ApprovedBy)
}

func person(c Record) string {
	who := report.Name(c.Name)
	if c.Email != "" {
		who += " <" + report.Name(c.Email) + ">"
	}
	return who
}

// what describes a change: its outcome, the reason for the change, and ClearML's id of the call
// that wrote the change.
func what(c Record) string {
	parts := []string{string(c.Outcome)}
	if c.Guard != "" {
		parts[0] += " by " + string(c.Guard)
	}
	if c.Reverted {
		parts = append(parts, "again, since somebody else undid it")
	}
	parts = append(parts, c.Because())
	if c.Call != "" {
		parts = append(parts, "call "+report.Name(c.Call))
	}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "  ")
}

func counted(n int, one string) string {
	if n != 1 {
		one += "s"
	}
	return fmt.Sprintf("%d %s", n, one)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
