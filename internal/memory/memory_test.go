package memory

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSavedMemoryIsLoaded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	at := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	want := Memory{
		Federations: map[string]string{"f": "corp"},
		Groups:      map[string]Accepted{"g": {Sources: map[string]string{"1": "/a"}, Federated: []string{"u"}, Federations: []string{"f"}}},
		Wanted:      map[string]time.Time{Key("g", "u"): at},
		Removed:     []Removed{{at, 3}},
		Pending:     map[string]time.Time{"p": at},
	}
	if err := Save(dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.json.*")); len(left) > 0 {
		t.Errorf("temporary files are left: %v", left)
	}
}

func TestNothingSavedIsNoMemory(t *testing.T) {
	got, err := Load(t.TempDir())
	if d := cmp.Diff(Memory{}, got); d != "" || err != nil {
		t.Error(d, err)
	}
}

func TestACorruptFileIsAnErrorAndNotForgotten(t *testing.T) {
	for content, want := range map[string]string{
		`{"version":1,"wanted"`: "is corrupt (unexpected end of JSON input): restore it, or remove it to start without memory",
		`{"version":2}`:         "has version 2, this groupsync reads version 1: remove it to start without memory",
		``:                      "is corrupt (unexpected end of JSON input)",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fileName), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", content, err, want)
		}
	}
}

func TestOnlyRemovalsOfTheWindowCount(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	m := Memory{Removed: []Removed{{now.Add(-25 * time.Hour), 7}, {now.Add(-24 * time.Hour), 2}, {now, 1}}}
	if got := m.RemovedSince(now.Add(-24 * time.Hour)); got != 3 {
		t.Errorf("got %d, want 3", got)
	}
}
