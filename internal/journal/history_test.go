package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/report"
)

// story returns a journal of three passes. ann joins team. Then a mass removal is withheld.
// Then the removal is approved, and one of its changes fails.
func story(t *testing.T) Dir {
	t.Helper()
	change := func(name string, o report.Outcome, g report.Guard) report.Change {
		return report.Change{ID: "cm-" + strings.ToLower(name), Name: name, Email: strings.ToLower(name) + "@example.com", Why: "not_member", Match: "id", Evidence: "read twice: not in the one Keycloak group", Outcome: o, Guard: g}
	}
	d := Dir{Path: filepath.Join(t.TempDir(), "journal"), Sync: "default", Keep: 10}
	first, second, third := sample(1), sample(2), sample(3)
	first.Groups[0].Add[0].Name = "Ann"
	first.Groups[0].Add = append(first.Groups[0].Add, report.Change{ID: "cm-fay", Name: "Fay", Email: "fay@example.com", Why: "member of /team", Match: "id", Outcome: report.Planned})
	second.Groups = []report.Group{{Name: "x\n", ID: "cm-x", Remove: []report.Change{change("Bob", report.Withheld, report.Removals), change("Cyn", report.Withheld, report.Removals)}}}
	second.Approval = &report.Approval{Digest: "0123456789abcdef", By: "somebody refused"}
	third.Groups = []report.Group{{Name: "x\n", ID: "cm-x", Remove: []report.Change{change("Bob", report.Done, ""), change("Cyn", report.Failed, "")}}, {
		Name: "team", ID: "cm-team", Add: []report.Change{{ID: "cm-ann", Name: "Ann", Email: "Ann@example.com", Why: "member of /team", Match: "email", Outcome: report.Done, Reverted: true, Call: "beef"}},
	}}
	third.Approval = &report.Approval{Digest: "a7576ab8daf0ed35", By: "root", Granted: true}
	for _, r := range []report.Report{first, second, third} {
		if err := d.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func TestHistory(t *testing.T) {
	all := []string{"1 +Ann@team applied", "2 -Bob@x\n withheld by removals", "2 -Cyn@x\n withheld by removals", "3 -Bob@x\n applied approved by root", "3 -Cyn@x\n failed approved by root", "3 +Ann@team applied approved by root"}
	for _, tt := range []struct {
		name  string
		query Query
		want  []int // indexes in all
	}{
		{"everything, the newest last; what was not reached is left out", Query{}, []int{0, 1, 2, 3, 4, 5}},
		{"a person by email, whose case is folded", Query{User: "ANN@EXAMPLE.COM"}, []int{0, 5}},
		{"a person by id", Query{User: "cm-bob"}, []int{1, 3}},
		{"a person by name", Query{User: "Cyn"}, []int{2, 4}},
		{"a name in another case is another name", Query{User: "cyn"}, []int{}},
		{"a part of an email is nobody", Query{User: "ann"}, []int{}},
		{"a group by name", Query{Group: "team"}, []int{0, 5}},
		{"a group by id", Query{Group: "cm-x"}, []int{1, 2, 3, 4}},
		{"a person in a group", Query{User: "cm-bob", Group: "team"}, []int{}},
		{"since a pass began, that pass included", Query{Since: noon.Add(2 * time.Hour)}, []int{1, 2, 3, 4, 5}},
		{"since later", Query{Since: noon.Add(2*time.Hour + 1)}, []int{3, 4, 5}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, err := story(t).History(tt.query)
			if err != nil || h.Reports != 3 || !h.From.Equal(noon.Add(time.Hour)) {
				t.Fatalf("%d reports from %s, %v", h.Reports, h.From, err)
			}
			got, want := []string{}, []string{}
			for _, i := range tt.want {
				want = append(want, all[i])
			}
			for _, c := range h.Changes {
				text := c.Pass[len(c.Pass)-1:] + " " + signs[c.Action] + c.Name + "@" + c.Group + " " + string(c.Outcome)
				if c.Guard != "" {
					text += " by " + string(c.Guard)
				}
				if c.ApprovedBy != "" {
					text += " approved by " + c.ApprovedBy
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestTheTextOfAHistory(t *testing.T) {
	d := story(t)
	broken := filepath.Join(d.Path, passOf(2)+".json")
	if err := os.WriteFile(broken, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	show := func(q Query) string {
		h, err := d.History(q)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := Text(&b, h); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	skipped := fmt.Sprintf("\nskipped: the report %s was cut or edited: it does not end in its sha256: groupsync ignores the file; remove it, or restore it from a backup\n", broken)
	want := `journal of default: 2 reports since 2026-11-27T13:00:00Z

20261127T130000Z-00000001  2026-11-27T13:00:00Z
  + team  Ann <Ann@example.com>  applied  member of /team, matched by email, read twice  call c0ffee

20261127T150000Z-00000003  2026-11-27T15:00:00Z  approved by root
  - "x\n"  Bob <bob@example.com>  applied  not_member, matched by id, read twice: not in the one Keycloak group
  - "x\n"  Cyn <cyn@example.com>  failed  not_member, matched by id, read twice: not in the one Keycloak group
  + team  Ann <Ann@example.com>  applied  again, since somebody else undid it  member of /team, matched by email  call beef
` + skipped
	if diff := cmp.Diff(want, show(Query{})); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	want = "journal of default: 2 reports since 2026-11-27T13:00:00Z\nno change in the journal matches\n" + skipped
	if diff := cmp.Diff(want, show(Query{User: "nobody"})); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// TestTheJSONOfAHistory checks the keys that docs/running.md names.
func TestTheJSONOfAHistory(t *testing.T) {
	h, err := story(t).History(Query{User: "cm-ann", Since: noon.Add(3 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := JSON(&b, h); err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(`{"sync": "default", "reports": 3, "from": "2026-11-27T13:00:00Z", "unreadable": [], "changes": [{
		"pass": "20261127T150000Z-00000003", "at": "2026-11-27T15:00:00Z", "approved_by": "root", "group": "team", "group_id": "cm-team", "action": "add",
		"id": "cm-ann", "name": "Ann", "email": "Ann@example.com", "why": "member of /team", "match": "email", "outcome": "applied", "reverted": true, "call": "beef"}]}`), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestAnEmptyJournalIsAnError(t *testing.T) {
	d := Dir{Path: filepath.Join(t.TempDir(), "journal"), Sync: "default", Keep: 1}
	want := "the journal " + d.Path + " is empty: no pass that may write has made, failed or withheld a change, or its reports are older than state.keep_for"
	for _, arrange := range []func() error{func() error { return nil }, func() error { return os.Mkdir(d.Path, 0o700) }} {
		if err := arrange(); err != nil {
			t.Fatal(err)
		}
		if _, err := d.History(Query{}); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestTheLatestChangeOfAMembershipIsTheLastThatWasMade checks that failed and withheld changes
// do not count.
func TestTheLatestChangeOfAMembershipIsTheLastThatWasMade(t *testing.T) {
	all := PastOf(story(t), func(Membership) bool { return true }, always)
	if !all.From.Equal(noon.Add(time.Hour)) || len(all.Skipped) > 0 {
		t.Errorf("from %s, skipped %v", all.From, all.Skipped)
	}
	got := make(map[Membership]string)
	for m, c := range all.Latest {
		got[m] = c.Pass + " " + c.Action
	}
	want := map[Membership]string{{"cm-team", "cm-ann"}: passOf(3) + " add", {"cm-x", "cm-bob"}: passOf(3) + " remove"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if bob := PastOf(story(t), func(m Membership) bool { return m.User == "cm-bob" }, always); len(bob.Latest) != 1 {
		t.Errorf("of bob: %v", bob.Latest)
	}
}

func always() bool { return true }

// TestThePastOfALongJournal checks that the newest report is read first, and that Skipped
// names the reports that were not read.
func TestThePastOfALongJournal(t *testing.T) {
	reads := 0
	p := PastOf(story(t), func(Membership) bool { return true }, func() bool { reads++; return reads < 2 })
	want := []string{"2 reports of the journal, up to the pass " + passOf(2) + ", were not read, because that takes too long here: groupsync history reads them"}
	if d := cmp.Diff(want, p.Skipped); d != "" || !p.From.Equal(noon.Add(3*time.Hour)) {
		t.Errorf("from %s, -want +got\n%s", p.From, d)
	}
	if x := p.Latest[Membership{"cm-team", "cm-ann"}]; x.Pass != passOf(3) {
		t.Errorf("the latest change of ann in team is of the pass %q", x.Pass)
	}
}
