package explain_test

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/explain"
	"groupsync/internal/reconcile"
	"groupsync/internal/report"
)

// reports is a journal in memory. The errors in damage follow the reports.
type reports struct {
	list   []report.Report
	damage []error
}

func (r reports) Add(report.Report) error { return nil }

// Passes returns the indexes of the reports and errors as ids.
func (r reports) Passes() ([]string, error) {
	ids := []string{}
	for i := range len(r.list) + len(r.damage) {
		ids = append(ids, strconv.Itoa(i))
	}
	return ids, nil
}

func (r reports) Get(pass string) (report.Report, error) {
	i, err := strconv.Atoi(pass)
	if err != nil {
		return report.Report{}, err
	}
	if i >= len(r.list) {
		return report.Report{}, r.damage[i-len(r.list)]
	}
	return r.list[i], nil
}

// past returns the report of a pass at an hour that adds and removes ClearML users. A word is
// "+ann@cm-pla" or "-ann@cm-pla".
func past(hour int, approvedBy string, words ...string) report.Report {
	at := noon.Add(-24 * time.Hour).Add(time.Duration(hour) * time.Hour)
	r := report.Report{Pass: "P" + at.Format("15"), Started: at}
	if approvedBy != "" {
		r.Approval = &report.Approval{By: approvedBy, Granted: true}
	}
	for _, w := range words {
		user, group, _ := strings.Cut(w[1:], "@")
		c := report.Change{ID: "cm-" + user, Why: "not_member", Match: "id", Evidence: "read twice", Outcome: report.Done, Call: "c0ffee"}
		g := report.Group{ID: group}
		if w[0] == '+' {
			c.Why = "member of /x"
			g.Add = []report.Change{c}
		} else {
			g.Remove = []report.Change{c}
		}
		r.Groups = append(r.Groups, g)
	}
	return r
}

// TestSinceWhenAndByWhichPass checks the last change of each group that the person has or has
// lost.
func TestSinceWhenAndByWhichPass(t *testing.T) {
	for _, row := range []struct {
		name    string
		journal reports
		subject reconcile.Subject
		want    string // the lines about earlier passes, each after the heading of its group
		call    string // ClearML's id of the call of the first standing with a last change
	}{
		{"a group that a pass gave, by approval", reports{list: []report.Report{past(1, "", "+bob@cm-pla"), past(2, "root", "+bob@cm-pla")}}, reconcile.Subject{User: "bob", Group: "platform"},
			"ClearML group platform\n      added by the pass P14 at 2026-11-23T14:00:00Z, approved by root: member of /x, matched by id, read twice\nnote: The journal begins at 2026-11-23T13:00:00Z. If this answer names no pass for a membership, groupsync has not changed the membership since then.\n", "c0ffee"},
		{"a group that was lost, although nothing links the two any more", reports{list: []report.Report{past(1, "", "-ann@cm-pla", "-bob@cm-Inf")}}, reconcile.Subject{User: "ann@example.com"},
			"ClearML group ml-team\nClearML group Users\nClearML group guests\nClearML group platform\n      removed by the pass P13 at 2026-11-23T13:00:00Z: not_member, matched by id, read twice\nnote: The journal begins at 2026-11-23T13:00:00Z. If this answer names no pass for a membership, groupsync has not changed the membership since then.\n", "c0ffee"},
		{"a group that somebody else gave back", reports{list: []report.Report{past(1, "", "-bob@cm-ml-")}}, reconcile.Subject{User: "bob", Group: "ml-team"},
			"ClearML group ml-team\n      removed by the pass P13 at 2026-11-23T13:00:00Z: not_member, matched by id, read twice; since then somebody else has reverted this change\nnote: The journal begins at 2026-11-23T13:00:00Z. If this answer names no pass for a membership, groupsync has not changed the membership since then.\n", "c0ffee"},
		{"a group that somebody else took", reports{list: []report.Report{past(1, "", "+ann@cm-ml-")}}, reconcile.Subject{User: "ann@example.com", Group: "ml-team"},
			"ClearML group ml-team\n      added by the pass P13 at 2026-11-23T13:00:00Z: member of /x, matched by id, read twice; since then somebody else has reverted this change\nnote: The journal begins at 2026-11-23T13:00:00Z. If this answer names no pass for a membership, groupsync has not changed the membership since then.\n", "c0ffee"},
		{"the members of a group", reports{list: []report.Report{past(1, "", "+bob@cm-pla")}}, reconcile.Subject{Group: "platform"},
			"ClearML group platform\n      added by the pass P13 at 2026-11-23T13:00:00Z: member of /x, matched by id, read twice\nnote: The journal begins at 2026-11-23T13:00:00Z. If this answer names no pass for a membership, groupsync has not changed the membership since then.\n", "c0ffee"},
		{"a journal that knows nothing of the person", reports{list: []report.Report{past(1, "", "+bob@cm-pla")}}, reconcile.Subject{User: "ann@example.com", Group: "platform"},
			"ClearML group platform\nnote: The journal begins at 2026-11-23T13:00:00Z. If this answer names no pass for a membership, groupsync has not changed the membership since then.\n", ""},
		{"a report that cannot be believed", reports{damage: []error{errors.New("the report X was edited: nothing in it counts")}}, reconcile.Subject{User: "ann@example.com", Group: "platform"},
			"ClearML group platform\nnote: The journal is incomplete: the report X was edited: nothing in it counts.\n", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := look(t, nil)
			r.Journal = row.journal
			v, err := r.Look(t.Context(), row.subject)
			if err != nil {
				t.Fatal(err)
			}
			a := explain.Of(v)
			var text bytes.Buffer
			if err := explain.Text(&text, a); err != nil {
				t.Fatal(err)
			}
			got := ""
			for line := range strings.Lines(text.String()) {
				head, _, is := strings.Cut(line, "  (id ")
				switch {
				case is && strings.HasPrefix(line, "ClearML group "):
					got += head + "\n"
				case strings.Contains(line, " by the pass "), strings.HasPrefix(line, "note: The journal"):
					got += line
				}
			}
			if d := cmp.Diff(row.want, got); d != "" {
				t.Errorf("-want +got\n%s\n%s", d, text.String())
			}
			call := ""
			for _, g := range a.Groups {
				for _, s := range g.People {
					if s.Last != nil && call == "" {
						call = s.Last.Call
					}
				}
			}
			if call != row.call {
				t.Errorf("the call is %q, want %q", call, row.call)
			}
		})
	}
}
