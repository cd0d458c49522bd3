package memory

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestSavedMemoryIsLoaded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	at := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	want := Memory{
		Federations: map[string]string{"f": "corp"},
		Groups:      map[string]Accepted{"g": {Sources: map[string]string{"1": "/a"}, Federated: []string{"u"}, Federations: []string{"f"}}},
		Wanted:      map[string]time.Time{Key("g", "u"): at},
		Answered:    map[string]bool{"f": true},
		Removed:     []Intent{{At: at, Group: "g", User: "u", Settled: true}, {At: at, Count: 3}},
		Granted:     []Intent{{At: at, Group: "a", User: "v"}},
		Added:       []Intent{{At: at, Group: "g", User: "w"}},
		Pending:     map[string]time.Time{"p": at},
		Rules:       `{"include":["*"]}`,
		FailedAt:    at,
	}
	if err := save(dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := load(dir)
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
	got, err := load(t.TempDir())
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
		if _, err := load(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", content, err, want)
		}
	}
}

func TestOnlyIntentsOfTheWindowCount(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	day := now.Add(-24 * time.Hour)
	for _, tt := range []struct {
		name    string
		intents []Intent
		want    int
	}{
		{"nothing is remembered", nil, 0},
		{"at the beginning of the window", []Intent{{At: day}}, 1},
		{"a moment before the window", []Intent{{At: day.Add(-1)}}, 0},
		{"each is one", []Intent{{At: now}, {At: now, Settled: true}}, 2},
		{"an entry of the version before counts as many as it stands for", []Intent{{At: day.Add(-1), Count: 7}, {At: day, Count: 2}, {At: now}}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Since(tt.intents, day); got != tt.want {
				t.Errorf("%v: got %d, want %d", tt.intents, got, tt.want)
			}
		})
	}
}

func TestPeopleOfTheWindowCountOnce(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	day := now.Add(-24 * time.Hour)
	for _, tt := range []struct {
		name    string
		intents []Intent
		want    int
	}{
		{"nothing is remembered", nil, 0},
		{"two groups of one person", []Intent{{At: now, Group: "g", User: "ann"}, {At: day, Group: "h", User: "ann"}}, 1},
		{"two people", []Intent{{At: now, User: "ann"}, {At: now, User: "bob"}}, 2},
		{"a moment before the window", []Intent{{At: day.Add(-1), User: "ann"}}, 0},
		{"entries of the version before count as many as they stand for", []Intent{{At: day, Count: 2}, {At: now}, {At: now, User: "ann"}}, 4},
	} {
		if got := PeopleSince(tt.intents, day); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
}

// TestSettled is D2: the next reading of ClearML shows whether a change was made.
func TestSettled(t *testing.T) {
	// In the reading ann is a member of the group g, bob is not, and h is not listed.
	member := func(group, user string) (is, known bool) { return user == "ann", group == "g" }
	of := func(group, user string) Intent { return Intent{Group: group, User: user} }
	settled := func(group, user string) Intent { return Intent{Group: group, User: user, Settled: true} }
	for _, tt := range []struct {
		name   string
		intent Intent
		remove []Intent // the expected result if the intent is a removal
		add    []Intent // the expected result if the intent is an addition
	}{
		{"the person is a member", of("g", "ann"), nil, []Intent{settled("g", "ann")}},
		{"the person is no member", of("g", "bob"), []Intent{settled("g", "bob")}, nil},
		{"the group is not listed", of("h", "ann"), []Intent{of("h", "ann")}, []Intent{of("h", "ann")}},
		{"the change was seen as made, and the person is a member", settled("g", "ann"), []Intent{settled("g", "ann")}, []Intent{settled("g", "ann")}},
		{"the change was seen as made, and the person is no member", settled("g", "bob"), []Intent{settled("g", "bob")}, []Intent{settled("g", "bob")}},
		{"an entry of the version before names nobody", Intent{Count: 3}, []Intent{{Count: 3}}, []Intent{{Count: 3}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := Memory{Removed: []Intent{tt.intent, of("h", "x")}, Granted: []Intent{tt.intent}, Added: []Intent{tt.intent}}
			before := m.Clone()
			got := m.Settled(member)
			want := Memory{Removed: append(append([]Intent{}, tt.remove...), of("h", "x")), Granted: tt.add, Added: tt.add}
			if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
			if d := cmp.Diff(before, m, cmpopts.EquateEmpty()); d != "" {
				t.Errorf("Settled changed the memory that it was given\n%s", d)
			}
		})
	}
}

// TestAnEntryWithoutAGroupIsOfTheVersionBefore: an entry without a group stays, whatever a
// reading shows for the empty group id.
func TestAnEntryWithoutAGroupIsOfTheVersionBefore(t *testing.T) {
	m := Memory{Removed: []Intent{{Count: 3}}}.Settled(func(string, string) (bool, bool) { return true, true })
	if len(m.Removed) != 1 || m.Removed[0].Count != 3 {
		t.Errorf("got %v", m.Removed)
	}
}

func TestAFileOfTheVersionBeforeIsLoaded(t *testing.T) {
	dir := t.TempDir()
	const text = `{"version":1,"federations":{"f":"corp"},"groups":{"g":{"sources":{"1":"/a"},"federated":["u"],"federations":["f"]}},
		"wanted":{"g/u":"2026-11-24T00:00:00Z"},"removed":[{"at":"2026-11-24T00:00:00Z","count":3}],"pending":null,"planned":"2026-11-24T00:00:00Z","failed_at":"0001-01-01T00:00:00Z"}`
	if err := os.WriteFile(filepath.Join(dir, fileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := load(dir)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	want := Memory{
		Federations: map[string]string{"f": "corp"}, Groups: map[string]Accepted{"g": {Sources: map[string]string{"1": "/a"}, Federated: []string{"u"}, Federations: []string{"f"}}},
		Wanted: map[string]time.Time{"g/u": at}, Removed: []Intent{{At: at, Count: 3}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestACloneSharesNothing(t *testing.T) {
	m := Memory{
		Federations: map[string]string{"f": "corp"}, Answered: map[string]bool{"f": true}, Groups: map[string]Accepted{"g": {}}, Wanted: map[string]time.Time{"w": {}},
		Pending: map[string]time.Time{"p": {}}, Removed: []Intent{{User: "u"}}, Granted: []Intent{{User: "u"}}, Added: []Intent{{User: "u"}},
	}
	c := m.Clone()
	delete(c.Federations, "f")
	delete(c.Answered, "f")
	delete(c.Groups, "g")
	delete(c.Wanted, "w")
	delete(c.Pending, "p")
	c.Removed[0].User, c.Granted[0].User, c.Added[0].User = "", "", ""
	if len(m.Federations)+len(m.Answered)+len(m.Groups)+len(m.Wanted)+len(m.Pending) != 5 || m.Removed[0].User+m.Granted[0].User+m.Added[0].User != "uuu" {
		t.Errorf("the memory changed with its clone: %+v", m)
	}
	if c := (Memory{}).Clone(); c.Federations == nil || c.Answered == nil || c.Groups == nil || c.Wanted == nil || c.Pending == nil {
		t.Errorf("a clone has maps that are nil: %+v", c)
	}
}
