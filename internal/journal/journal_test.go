package journal

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/report"
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// passOf returns the id of the nth pass of these tests. The passes are an hour apart.
func passOf(n int) string {
	return fmt.Sprintf("%s-%08x", noon.Add(time.Duration(n)*time.Hour).Format("20060102T150405Z"), n)
}

// sample returns the report of the nth pass, in which ann joined team.
func sample(n int) report.Report {
	return report.Report{
		Pass: passOf(n), Sync: "default", Mode: "apply", Result: report.Applied, Applied: report.Tally{Added: 1}, Started: noon.Add(time.Duration(n) * time.Hour),
		Groups: []report.Group{{Name: "team", ID: "cm-team", From: []string{"/team"},
			Add: []report.Change{{ID: "cm-ann", Name: "Ann \u202e Lee", Email: "Ann@example.com", Why: "member of /team", Match: "email", Evidence: "read twice", Outcome: report.Done, Call: "c0ffee"}},
		}},
	}
}

// full returns a journal with the reports of passes 1 to n.
func full(t *testing.T, n int) Dir {
	t.Helper()
	d := Dir{Path: filepath.Join(t.TempDir(), "state", "journal"), Sync: "default", Keep: 100}
	for i := range n {
		if err := d.Add(sample(i + 1)); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// listed returns the passes and the errors of List, in order.
func listed(d Dir) []string {
	got := []string{}
	for r, err := range d.List() {
		if err != nil {
			got = append(got, err.Error())
			continue
		}
		got = append(got, r.Pass)
	}
	return got
}

func TestAReportComesBackAsItWasStored(t *testing.T) {
	d := full(t, 3)
	got, err := d.Get(passOf(2))
	if err != nil {
		t.Fatal(err)
	}
	var want, text bytes.Buffer
	if err := errors.Join(report.JSON(&want, sample(2)), report.JSON(&text, got)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.String(), text.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if diff := cmp.Diff([]string{passOf(1), passOf(2), passOf(3)}, listed(d)); diff != "" {
		t.Errorf("the list, newest last: -want +got\n%s", diff)
	}
	if last, err := d.LastThatWrote(); err != nil || last.Pass != passOf(3) {
		t.Errorf("the last is %s, %v", last.Pass, err)
	}
	entries, err := os.ReadDir(d.Path)
	if err != nil || len(entries) != 3 {
		t.Errorf("%d files, %v; temporary files were left", len(entries), err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", e.Name(), info.Mode(), err)
		}
	}
}

// TestTwoPassesOfOneSecondAreInOrder checks the order of passes whose ids differ only in their
// random parts.
func TestTwoPassesOfOneSecondAreInOrder(t *testing.T) {
	d := full(t, 1)
	want := []string{passOf(1)}
	for i, random := range []string{"cccccccc", "aaaaaaaa", "bbbbbbbb"} {
		r := sample(2)
		r.Pass, r.Started = r.Pass[:17]+random, r.Started.Add(time.Duration(i)*time.Millisecond)
		if err := d.Add(r); err != nil {
			t.Fatal(err)
		}
		want = append(want, r.Pass)
	}
	if diff := cmp.Diff(want, listed(d)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if last, err := d.LastThatWrote(); err != nil || last.Pass != want[3] {
		t.Errorf("the last is %s, %v", last.Pass, err)
	}
}

func TestAReportThatCannotBeBelievedIsNamedAndSkipped(t *testing.T) {
	edit := func(from, to string) func([]byte) []byte {
		return func(data []byte) []byte { return bytes.Replace(data, []byte(from), []byte(to), 1) }
	}
	for _, tt := range []struct {
		name  string
		spoil func(data []byte) []byte
		want  string // FILE stands for the file
	}{
		{"an outcome was edited", edit(`"applied"`, `"planned"`), "the report FILE was edited: its sha256 does not match its content: groupsync ignores the file; remove it, or restore it from a backup"},
		{"a space was added", edit(`"sync": "default"`, `"sync":  "default"`), "the report FILE was edited: its sha256 does not match its content: groupsync ignores the file; remove it, or restore it from a backup"},
		{"the sum was edited", func(data []byte) []byte { data[len(data)-6] ^= 1; return data }, "the report FILE was edited: its sha256 does not match its content: groupsync ignores the file; remove it, or restore it from a backup"},
		{"the end is missing", func(data []byte) []byte { return data[:len(data)/2] }, "the report FILE was cut or edited: it does not end in its sha256: groupsync ignores the file; remove it, or restore it from a backup"},
		{"the last byte is missing", func(data []byte) []byte { return data[:len(data)-1] }, "the report FILE was cut or edited: it does not end in its sha256: groupsync ignores the file; remove it, or restore it from a backup"},
		{"the file is empty", func([]byte) []byte { return nil }, "the report FILE was cut or edited: it does not end in its sha256: groupsync ignores the file; remove it, or restore it from a backup"},
		{"only the end is there", func(data []byte) []byte { return data[len(data)-70:] }, "the report FILE was cut or edited: it does not end in its sha256: groupsync ignores the file; remove it, or restore it from a backup"},
		{"text follows", func(data []byte) []byte { return append(data, "{}"...) }, "the report FILE was cut or edited: it does not end in its sha256: groupsync ignores the file; remove it, or restore it from a backup"},
		{"the whole report of another sync", func([]byte) []byte { r := sample(2); r.Sync = "other"; return sealed(r) }, `the report FILE is of the sync "other", and this configuration is of the sync "default": groupsync ignores the report; give each sync its own state_dir`},
		{"the whole report of another pass", func([]byte) []byte { return sealed(sample(1)) }, `the report FILE is of the pass "` + passOf(1) + `": groupsync ignores the file; give it its original name`},
		{"a whole text that is no report", func([]byte) []byte { return summed("{\n  \"pass\": 1\n}\n") }, "the report FILE is not a report that this groupsync can read (json: cannot unmarshal number into Go struct field Report.pass of type string): groupsync ignores the file; remove it, or restore it from a backup"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := full(t, 3)
			file := filepath.Join(d.Path, passOf(2)+".json")
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, tt.spoil(data), 0o600); err != nil {
				t.Fatal(err)
			}
			want := strings.ReplaceAll(tt.want, "FILE", file)
			if _, err := d.Get(passOf(2)); err == nil || err.Error() != want {
				t.Errorf("Get: got %v, want %s", err, want)
			}
			if diff := cmp.Diff([]string{passOf(1), want, passOf(3)}, listed(d)); diff != "" {
				t.Errorf("List: -want +got\n%s", diff)
			}
		})
	}
}

// summed returns a text with its correct sum.
func summed(body string) []byte {
	sum := sha256.Sum256([]byte(body))
	return fmt.Appendf(nil, "%s,\n  \"sha256\": \"%x\"\n}\n", strings.TrimSuffix(body, "\n}\n"), sum)
}

// plain returns the JSON of a report without its sum.
func plain(r report.Report) []byte {
	var b bytes.Buffer
	if err := report.JSON(&b, r); err != nil {
		panic(err) // a buffer takes everything
	}
	return b.Bytes()
}

// sealed returns the content of a report's file.
func sealed(r report.Report) []byte {
	var b bytes.Buffer
	if err := report.SealedJSON(&b, r); err != nil {
		panic(err) // a buffer takes everything
	}
	return b.Bytes()
}

// TestTheLastPassThatWrote: the three passes of a full journal each added somebody. More
// reports follow.
func TestTheLastPassThatWrote(t *testing.T) {
	const unbelievable = "the report FILE was cut or edited: it does not end in its sha256: groupsync ignores the file; remove it, or restore it from a backup"
	outcome := func(n int, o report.Outcome) report.Report {
		r := sample(n)
		r.Applied, r.Groups[0].Add[0].Outcome = report.Tally{}, o
		return r
	}
	restore := sample(4)
	restore.Restores = passOf(2)
	second := sample(3) // of the same second as the third pass
	second.Pass = second.Pass[:17] + "ffffffff"
	for _, row := range []struct {
		name  string
		more  []report.Report
		spoil string // the pass whose report is cut
		want  string // pass or error
	}{
		{name: "the newest one", want: passOf(3)},
		{name: "a pass that withheld everything is passed over", more: []report.Report{outcome(4, report.Withheld)}, want: passOf(3)},
		{name: "a pass whose changes failed may have made them", more: []report.Report{outcome(4, report.Failed)}, want: passOf(4)},
		{name: "a restore is passed over", more: []report.Report{restore}, want: passOf(3)},
		{name: "a newer report that was cut is an error", spoil: passOf(3), want: unbelievable},
		{name: "a newer report that was cut is an error, whatever it was", more: []report.Report{outcome(4, report.Withheld)}, spoil: passOf(4), want: unbelievable},
		{name: "a report of the same second that was cut is an error", more: []report.Report{second}, spoil: second.Pass, want: unbelievable},
		{name: "an older report that was cut does not matter", spoil: passOf(2), want: passOf(3)},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := full(t, 3)
			for _, r := range row.more {
				if err := d.Add(r); err != nil {
					t.Fatal(err)
				}
			}
			file := filepath.Join(d.Path, row.spoil+".json")
			if row.spoil != "" {
				if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			last, err := d.LastThatWrote()
			got := last.Pass
			if err != nil {
				got = err.Error()
			}
			if want := strings.ReplaceAll(row.want, "FILE", file); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

// TestAFileOfAJournal: File reads the file of a report from any directory.
func TestAFileOfAJournal(t *testing.T) {
	d := full(t, 1)
	from, to := filepath.Join(d.Path, passOf(1)+".json"), filepath.Join(t.TempDir(), "copy.json")
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, sync, want string
		data             []byte
	}{
		{"a copy", "default", "", data},
		{"a copy without the sum", "default", "the report " + to + " was cut or edited: it does not end in its sha256: groupsync ignores the file; give a file of a journal, or a file with the output of groupsync --once -o json", plain(sample(1))},
		{"what --once -o json printed", "default", "", sealed(sample(1))},
		{"a copy that was cut", "default", "the report " + to + " was cut or edited: it does not end in its sha256: groupsync ignores the file; give a file of a journal, or a file with the output of groupsync --once -o json", data[:len(data)-9]},
		{"a copy of another sync", "other", "the report " + to + ` is of the sync "default", and this configuration is of the sync "other": give a report of this sync, or the configuration with that name`, data},
	} {
		t.Run(row.name, func(t *testing.T) {
			if err := os.WriteFile(to, row.data, 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := Dir{Sync: row.sync}.File(to)
			switch {
			case row.want == "" && (err != nil || r.Pass != passOf(1)):
				t.Errorf("%q, %v", r.Pass, err)
			case row.want != "" && (err == nil || err.Error() != row.want):
				t.Errorf("got %v, want %s", err, row.want)
			}
		})
	}
	if _, err := d.File(filepath.Join(t.TempDir(), "none.json")); err == nil || !strings.HasPrefix(err.Error(), "reading the report: ") {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestWhatTheJournalDoesNotHave(t *testing.T) {
	d := Dir{Path: filepath.Join(t.TempDir(), "journal"), Sync: "default", Keep: 1}
	if _, err := d.LastThatWrote(); err == nil || err.Error() != "the journal has no report of a pass that changed anything" {
		t.Errorf("the last of no journal: %v", err)
	}
	if got := listed(d); len(got) > 0 {
		t.Errorf("the list of no journal: %q", got)
	}
	for id, want := range map[string]string{
		passOf(1):          "the journal has no report of this pass",
		"../../etc/passwd": `"../../etc/passwd" is not the id of a pass: the report and the log show ids like 20260102T150405Z-0a1b2c3d`,
		"":                 `"" is not the id of a pass: the report and the log show ids like 20260102T150405Z-0a1b2c3d`,
	} {
		if _, err := d.Get(id); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", id, err, want)
		}
	}
	r := sample(1)
	r.Pass = "../x"
	if err := d.Add(r); err == nil || err.Error() != `"../x" is not the id of a pass` {
		t.Errorf("a report with a path for an id: %v", err)
	}
}

func TestWhatIsKept(t *testing.T) {
	for _, tt := range []struct {
		name    string
		keep    int
		keepFor time.Duration
		want    []int
	}{
		{"the newest by number", 2, 0, []int{4, 5}},
		{"one", 1, 0, []int{5}},
		{"more than there are", 9, 0, []int{1, 2, 3, 4, 5}},
		{"the youngest by age; exactly as old is kept", 9, 2 * time.Hour, []int{3, 4, 5}},
		{"both limits", 2, 3 * time.Hour, []int{4, 5}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := full(t, 4)
			other := filepath.Join(d.Path, "notes.json")
			if err := os.WriteFile(other, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			d.Keep, d.KeepFor = tt.keep, tt.keepFor
			if err := d.Add(sample(5)); err != nil {
				t.Fatal(err)
			}
			want := []string{}
			for _, n := range tt.want {
				want = append(want, passOf(n))
			}
			if diff := cmp.Diff(want, listed(d)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if _, err := os.Stat(other); err != nil {
				t.Errorf("a file that is no report: %v", err)
			}
		})
	}
}

// TestWhatAKilledProcessLeftIsRemoved: Add removes a temporary file a day after its pass, and no
// other file.
func TestWhatAKilledProcessLeftIsRemoved(t *testing.T) {
	d := full(t, 1)
	leave := func(name string) string {
		if err := os.WriteFile(filepath.Join(d.Path, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	leave("." + passOf(2) + ".json.123")
	young, foreign := leave("."+passOf(6)+".json.456"), leave(".notes.json.1")
	if err := d.Add(sample(27)); err != nil {
		t.Fatal(err)
	}
	var got []string
	entries, _ := os.ReadDir(d.Path)
	for _, e := range entries {
		got = append(got, e.Name())
	}
	want := []string{young, foreign, passOf(1) + ".json", passOf(27) + ".json"}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
