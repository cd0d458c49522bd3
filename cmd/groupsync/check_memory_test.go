package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"groupsync/internal/config"
	"groupsync/internal/match"
	"groupsync/internal/memory"
)

// TestCheckReadsTheMemoryOnly checks that the survey of groupsync check reads the guards'
// memory even if another pass holds the lock, and does not change it. If the memory cannot be
// read, the survey is made without it.
func TestCheckReadsTheMemoryOnly(t *testing.T) {
	discard := slog.New(slog.DiscardHandler)
	outside := program{}
	dir := t.TempDir()
	if err := memory.Dir(dir).Save(memory.Memory{Rules: "kept"}); err != nil {
		t.Fatal(err)
	}
	release, err := memory.Dir(dir).Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	before := contents(t, dir)
	c := config.Default()
	c.StateDir = dir
	o, lost := surveyOptions(c, match.Rules{}, outside, discard)
	if lost != "" || o.Limits.Forgets {
		t.Fatalf("lost %q, forgets %v", lost, o.Limits.Forgets)
	}
	if m, err := o.Store.Load(); err != nil || m.Rules != "kept" {
		t.Errorf("read %+v, %v", m, err)
	}
	if after := contents(t, dir); after != before {
		t.Errorf("state_dir changed from\n%s\nto\n%s", before, after)
	}

	c.StateDir = ""
	if o, lost = surveyOptions(c, match.Rules{}, outside, discard); lost != "" || !o.Limits.Forgets {
		t.Errorf("without state_dir: lost %q, forgets %v", lost, o.Limits.Forgets)
	}

	c.StateDir = t.TempDir()
	for _, name := range names(t, dir) {
		if err := os.WriteFile(filepath.Join(c.StateDir, name), []byte("{torn"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if o, lost = surveyOptions(c, match.Rules{}, outside, discard); !strings.Contains(lost, c.StateDir) || o.Store != nil || o.Limits.Forgets {
		t.Errorf("a torn memory: lost %q, store %v, forgets %v", lost, o.Store, o.Limits.Forgets)
	}

	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	c.StateDir, c.Lease.Name = "", "groupsync"
	if o, lost = surveyOptions(c, match.Rules{}, outside, discard); lost == "" || o.Store != nil {
		t.Errorf("a Lease without a cluster: lost %q, store %v", lost, o.Store)
	}
}

func names(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// contents returns the files of a directory with their times and contents.
func contents(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	for _, name := range names(t, dir) {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(name + " " + info.ModTime().String() + " " + string(data) + "\n")
	}
	return b.String()
}
