package journal

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"groupsync/internal/report"
)

// FuzzFile puts a file next to the report of another pass of the same second. The other report
// must be found, whatever the file holds. All ways to read the journal must agree about the
// file: either they accept it and return it unchanged, or they name it as skipped. Printed
// text must hold no control or direction character.
func FuzzFile(f *testing.F) {
	text := func(r report.Report) []byte {
		var b bytes.Buffer
		if err := report.SealedJSON(&b, r); err != nil {
			f.Fatal(err)
		}
		return b.Bytes()
	}
	whole := sample(1)
	f.Add(text(whole), false)
	f.Add(text(whole)[:200], false)
	f.Add(text(sample(2)), false)
	f.Add([]byte(`{"started":"2026-11-27T13:00:00.5Z","groups":[{"name":"\u001b[31m","id":"g","add":[{"id":"u","name":"\u202e","outcome":"done"}],"remove":[{"id":"v","outcome":"withheld","guard":"removals","call":"\n"}]}],"approval":{"by":"\u0085","granted":true}}`), true)
	f.Add([]byte(`{"sync":"other","restores":"x","groups":[{"add":[{"outcome":"failed"}]}]}`), true)
	f.Add([]byte(`{"started":"0000-01-01T00:00:00Z"}`), true)
	f.Fuzz(func(t *testing.T, data []byte, seal bool) {
		d := Dir{Path: t.TempDir(), Sync: "default", Keep: 100}
		pass, other := passOf(1), passOf(1)[:len(passOf(1))-8]+"ffffffff"
		if seal { // the sum is correct, so the content of the report decides
			var r report.Report
			if json.Unmarshal(data, &r) != nil {
				return
			}
			var b bytes.Buffer
			if r.Pass = pass; report.SealedJSON(&b, r) != nil {
				return // a time beyond the year 9999
			}
			data = b.Bytes()
		}
		known := sample(1)
		known.Pass = other
		if err := d.Add(known); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(d.Path, pass+suffix)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}

		got, unread := d.Get(pass)
		if unread == nil {
			holdsBelieved(t, d, got, pass)
		} else if !strings.Contains(unread.Error(), file) || got.Pass != "" {
			t.Errorf("the error %v comes with the report of %q", unread, got.Pass)
		}
		if alone, err := d.File(file); unread == nil && (err != nil || alone.Pass != pass) {
			t.Errorf("Get believes the file, File says %v", err)
		}
		holdsHistory(t, d, got, unread)
		holdsPast(t, d, got, unread)
		switch last, err := d.LastThatWrote(); {
		case unread != nil:
			if err == nil || err.Error() != unread.Error() {
				t.Errorf("the last is %q, %v, and the file may be newer", last.Pass, err)
			}
		case err != nil || last.Pass != other && last.Pass != pass:
			t.Errorf("the last is %q, %v", last.Pass, err)
		case last.Pass == pass && (!got.MayHaveChanged() || got.Restores != ""):
			t.Error("the last is a report that changed nothing, or a restore")
		}
	})
}

// holdsBelieved checks a report that Get accepted: it belongs to this journal, and another
// journal returns it unchanged.
func holdsBelieved(t *testing.T, d Dir, r report.Report, pass string) {
	t.Helper()
	if r.Pass != pass || r.Sync != d.Sync {
		t.Fatalf("believed: pass %q, sync %q", r.Pass, r.Sync)
	}
	copied := Dir{Path: t.TempDir(), Sync: d.Sync, Keep: 100}
	if err := copied.Add(r); err != nil {
		t.Fatalf("believed, and not stored: %v", err)
	}
	again, err := copied.Get(pass)
	var first, second bytes.Buffer
	if err != nil || report.SealedJSON(&first, r) != nil || report.SealedJSON(&second, again) != nil || !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Errorf("%v\nfirst\n%s\nagain\n%s", err, first.Bytes(), second.Bytes())
	}
}

// holdsHistory checks the history of both reports and its printed form.
func holdsHistory(t *testing.T, d Dir, r report.Report, unread error) {
	t.Helper()
	h, err := d.History(Query{})
	if err != nil {
		t.Fatal(err)
	}
	changes := Records(sample(1))
	if unread == nil {
		changes = append(changes, Records(r)...)
		if h.Reports != 2 || len(h.Unreadable) != 0 {
			t.Errorf("%d reports, and skipped %q", h.Reports, h.Unreadable)
		}
	} else if h.Reports != 1 || !slices.Equal(h.Unreadable, []string{unread.Error()}) {
		t.Errorf("%d reports, and skipped %q, want %v", h.Reports, h.Unreadable, unread)
	}
	if len(h.Changes) != len(changes) {
		t.Errorf("%d changes, want %d", len(h.Changes), len(changes))
	}
	var printed bytes.Buffer
	if err := Text(&printed, h); err != nil {
		t.Fatal(err)
	}
	if err := JSON(&printed, h); err != nil {
		t.Fatal(err)
	}
	for _, c := range printed.String() {
		if c != '\n' && (unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c)) {
			t.Errorf("what is printed holds %U", c)
		}
	}
}

// holdsPast checks the past of the memberships in both reports.
func holdsPast(t *testing.T, d Dir, r report.Report, unread error) {
	t.Helper()
	p := PastOf(d, func(Membership) bool { return true }, func() bool { return true })
	if (unread != nil) != (len(p.Skipped) == 1) {
		t.Errorf("skipped %q, want %v", p.Skipped, unread)
	}
	if latest, known := p.Latest[Membership{"cm-team", "cm-ann"}]; !known || latest.Outcome != report.Done {
		t.Errorf("of the other report it knows %+v", latest)
	}
	for m, x := range p.Latest {
		if x.Pass == r.Pass && unread == nil && (x.Outcome != report.Done || x.GroupID != m.Group || x.ID != m.User || !x.At.Equal(r.Started.In(time.UTC))) {
			t.Errorf("%v is %+v", m, x)
		}
	}
}
