package memory

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOnePassAtATimeHasTheDirectory(t *testing.T) {
	dir := Dir(t.TempDir())
	release, err := dir.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dir.Lock(); err == nil || !strings.HasPrefix(err.Error(), "another pass is running with the state_dir "+string(dir)+": try again when it has ended") {
		t.Errorf("a second lock: %v", err)
	}
	release()
	release, err = dir.Lock()
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	release()
}

func TestTheTimeOfFailedPassesDoesNotCount(t *testing.T) {
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	m := Memory{Wanted: map[string]time.Time{"g/u": at}}
	if d := cmp.Diff(m, m.Resumed(at.Add(time.Hour))); d != "" {
		t.Errorf("no pass failed, and the memory differs\n%s", d)
	}
	m.FailedAt = at.Add(20 * time.Minute)
	got := m.Resumed(at.Add(time.Hour))
	if want := at.Add(40 * time.Minute); !got.Wanted["g/u"].Equal(want) || !got.FailedAt.IsZero() || !m.Wanted["g/u"].Equal(at) {
		t.Errorf("wanted since %s, want %s: twenty minutes before now, as when the first pass failed", got.Wanted["g/u"], want)
	}
}

func TestAProcessKeepsItsMemory(t *testing.T) {
	p := new(Process)
	if m, err := p.Load(); err != nil || m.Rules != "" {
		t.Errorf("before anything was saved: %+v, %v", m, err)
	}
	release, err := p.Lock()
	if err != nil {
		t.Fatal(err)
	}
	release()
	if err := p.Save(Memory{Rules: "r"}); err != nil {
		t.Fatal(err)
	}
	if m, err := p.Load(); err != nil || m.Rules != "r" {
		t.Errorf("got %+v, %v", m, err)
	}
}
