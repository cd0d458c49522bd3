package memory

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func TestNewSuspension(t *testing.T) {
	for _, tt := range []struct {
		name   string
		lasts  time.Duration
		reason string
		err    string
	}{
		{"two hours", 2 * time.Hour, "LDAP migration", ""},
		{"as long as can be", 30 * 24 * time.Hour, "r", ""},
		{"of no time", 0, "r", "a suspension of 0s would end before it begins: give a time in the future, such as 2h"},
		{"in the past", -time.Hour, "r", "a suspension of -1h0m0s would end before it begins: give a time in the future, such as 2h"},
		{"too long", 30*24*time.Hour + time.Second, "r", "a suspension of 720h0m1s is longer than 720h0m0s: suspend for a shorter time, and again if that is not enough"},
		{"without a reason", time.Hour, " \n", "a suspension needs a reason: write one sentence for the person who finds that groupsync writes nothing"},
		{"with a long reason", time.Hour, strings.Repeat("é", 251), "the reason has 502 bytes, the most is 500: shorten it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := NewSuspension(noon, tt.lasts, tt.reason, "alice", true)
			if tt.err != "" {
				if err == nil || err.Error() != tt.err || !s.IsZero() {
					t.Errorf("got %v, %v; want %s", s, err, tt.err)
				}
				return
			}
			want := Suspension{Until: noon.Add(tt.lasts), Reason: tt.reason, By: "alice", At: noon, RemovalsOnly: true}
			if d := cmp.Diff(want, s); err != nil || d != "" {
				t.Errorf("%v: -want +got\n%s", err, d)
			}
		})
	}
	if _, err := NewSuspension(noon, time.Hour, "r", strings.Repeat("a", 501), false); err == nil || !strings.Contains(err.Error(), "the name of the person who suspends has 501 bytes") {
		t.Errorf("a name that is too long: %v", err)
	}
}

func TestWhatASuspensionWithholds(t *testing.T) {
	all, removals := Suspension{Until: noon}, Suspension{Until: noon, RemovalsOnly: true}
	for _, tt := range []struct {
		name                string
		s                   Suspension
		removal, additional bool
	}{
		{"none", Suspension{}, false, false},
		{"everything", all, true, true},
		{"removals only", removals, true, false},
		{"one that has ended", all.Current(noon), false, false},
		{"one in its last second", all.Current(noon.Add(-time.Second)), true, true},
	} {
		if r, a := tt.s.Withholds(true), tt.s.Withholds(false); r != tt.removal || a != tt.additional {
			t.Errorf("%s: removals %v, additions %v", tt.name, r, a)
		}
	}
}

// suspends is a store that keeps a suspension.
type suspends interface {
	Suspension(ctx context.Context) (Suspension, error)
	Suspend(ctx context.Context, s Suspension) error
}

// TestAStoreKeepsTheSuspension: a suspension is set, replaced and removed, and the memory does
// not change. Another process with the same directory finds the suspension.
func TestAStoreKeepsTheSuspension(t *testing.T) {
	dir := Dir(filepath.Join(t.TempDir(), "state"))
	process := NewProcess("")
	for name, store := range map[string]suspends{"state_dir": dir, "process": process} {
		expect := func(want Suspension) {
			t.Helper()
			got, err := store.Suspension(t.Context())
			if d := cmp.Diff(want, got); err != nil || d != "" {
				t.Errorf("%s: %v: -want +got\n%s", name, err, d)
			}
		}
		set := func(s Suspension) {
			t.Helper()
			if err := store.Suspend(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			expect(s)
		}
		expect(Suspension{})
		set(Suspension{}) // no suspension is set
		set(Suspension{Until: noon, Reason: "r\n\u202e", By: "alice", At: noon.Add(-time.Hour)})
		set(Suspension{Until: noon.Add(time.Hour), Reason: "other", By: "bob", At: noon, RemovalsOnly: true})
		set(Suspension{})
	}
	if err := dir.Suspend(t.Context(), Suspension{Until: noon, Reason: "r"}); err != nil {
		t.Fatal(err)
	}
	if err := dir.Save(Memory{Rules: "x"}); err != nil {
		t.Fatal(err)
	}
	if s, err := Dir(string(dir)).Suspension(t.Context()); err != nil || s.Reason != "r" {
		t.Errorf("a pass that saved its memory changed the suspension: %v, %v", s, err)
	}
	if left, _ := filepath.Glob(filepath.Join(string(dir), "*.json.*")); len(left) > 0 {
		t.Errorf("temporary files are left: %v", left)
	}
	info, err := os.Stat(filepath.Join(string(dir), "suspension.json"))
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("the daemon's user could not read what another user has set: %v, %v", info, err)
	}
	info, err = os.Stat(filepath.Join(string(dir), "memory.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the memory: %v, %v", info, err)
	}
}

// TestASuspensionThatIsNotWholeIsAnError: without the error, groupsync would write again.
func TestASuspensionThatIsNotWholeIsAnError(t *testing.T) {
	const advice = "groupsync writes nothing until groupsync resume removes the suspension or groupsync suspend replaces it"
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "the suspension is corrupt (unexpected end of JSON input), and " + advice},
		{"cut", `{"version":1,"until":"2026-11-2`, "the suspension is corrupt (unexpected end of JSON input), and " + advice},
		{"a time that is none", `{"version":1,"until":"soon"}`, "the suspension is corrupt ("},
		{"of a later version", `{"version":2,"until":"2026-11-24T12:00:00Z"}`, "the suspension has version 2, but this groupsync reads only version 1, and " + advice},
		{"without an end", `{"version":1}`, "the suspension has no end, and " + advice},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := Dir(t.TempDir())
			path := filepath.Join(string(dir), "suspension.json")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if s, err := dir.Suspension(t.Context()); err == nil || !strings.HasPrefix(err.Error(), path+": "+tt.want) || !s.IsZero() {
				t.Errorf("got %v, %v\nwant %s", s, err, tt.want)
			}
			for _, s := range []Suspension{{Until: noon, Reason: "new"}, {}} {
				if err := dir.Suspend(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				if got, err := dir.Suspension(t.Context()); err != nil || got != s {
					t.Errorf("after it was replaced by %v: %v, %v", s, got, err)
				}
			}
		})
	}
}

func TestASuspensionInALine(t *testing.T) {
	s := Suspension{Until: noon, Reason: "a\nb\u202e", By: "al\x1bice", At: noon}
	if got, want := s.String(), `all writing is suspended until 2026-11-24T12:00:00Z by "al\x1bice": "a\nb\u202e"`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	s.RemovalsOnly = true
	if got, want := s.String(), "the removal of members is suspended until "; !strings.HasPrefix(got, want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
