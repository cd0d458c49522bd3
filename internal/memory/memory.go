// Package memory is what the guards must know from earlier passes. It is a
// value: a pass is handed one and returns the next, and only Load and Save
// touch a file.
package memory

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Accepted is what fed a user group when a pass was last accepted for it.
type Accepted struct {
	Sources     map[string]string `json:"sources"`     // path by id of each Keycloak group
	Federated   []string          `json:"federated"`   // ids of enabled federated members, sorted
	Federations []string          `json:"federations"` // ids of the realm's federations then, sorted
}

// Removed counts removals that were written at one time and not approved.
type Removed struct {
	At    time.Time `json:"at"`
	Count int       `json:"count"`
}

// Memory is what the guards remember. The zero Memory remembers nothing.
type Memory struct {
	Federations map[string]string    `json:"federations"` // name by id of every federation seen whose loss is not accepted everywhere
	Groups      map[string]Accepted  `json:"groups"`      // by id of the ClearML user group
	Wanted      map[string]time.Time `json:"wanted"`      // by Key: since when every pass has wanted the removal
	Removed     []Removed            `json:"removed"`     // oldest first
	Pending     map[string]time.Time `json:"pending"`     // by Keycloak user id: when first seen without a ClearML account
	Planned     time.Time            `json:"planned"`     // the last pass that came to a plan
	FailedAt    time.Time            `json:"failed_at"`   // the first pass since then that ended in an error; zero: none
}

// Resumed returns the memory as a pass at that time takes it up: the time in
// which passes failed neither counts for what is wanted nor starts it anew. A
// time without any pass counts: nobody looked, and nobody saw otherwise.
func (m Memory) Resumed(now time.Time) Memory {
	if m.FailedAt.IsZero() {
		return m
	}
	next := m.Clone()
	for key, since := range next.Wanted {
		next.Wanted[key] = since.Add(now.Sub(m.FailedAt))
	}
	next.Planned, next.FailedAt = now, time.Time{}
	return next
}

// Key names one removal in Wanted.
func Key(group, user string) string { return group + "/" + user }

// Clone returns a copy that shares nothing which a caller may change; its maps
// are never nil.
func (m Memory) Clone() Memory {
	return Memory{
		Federations: cloneMap(m.Federations),
		Groups:      cloneMap(m.Groups),
		Wanted:      cloneMap(m.Wanted),
		Removed:     slices.Clone(m.Removed),
		Pending:     cloneMap(m.Pending),
		Planned:     m.Planned,
		FailedAt:    m.FailedAt,
	}
}

func cloneMap[V any](m map[string]V) map[string]V {
	if m == nil {
		return make(map[string]V)
	}
	return maps.Clone(m)
}

// RemovedSince returns how many removals were written at or after a time.
func (m Memory) RemovedSince(t time.Time) (n int) {
	for _, r := range m.Removed {
		if !r.At.Before(t) {
			n += r.Count
		}
	}
	return n
}

const (
	fileName = "memory.json"
	version  = 1
)

type file struct {
	Version int `json:"version"`
	Memory
}

// Load returns what was saved in a directory, or the zero Memory where nothing
// was yet. A file that cannot be read whole is an error: to forget silently
// would lift the guards that rest on it.
func Load(dir string) (Memory, error) {
	path := filepath.Join(dir, fileName)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Memory{}, nil
	}
	if err != nil {
		return Memory{}, fmt.Errorf("reading the guards' memory: %w", err)
	}
	f := file{}
	if err := json.Unmarshal(data, &f); err != nil {
		return Memory{}, fmt.Errorf("the guards' memory %s is corrupt (%w): restore it, or remove it to start without memory", path, err)
	}
	if f.Version != version {
		return Memory{}, fmt.Errorf("the guards' memory %s has version %d, this groupsync reads version %d: remove it to start without memory", path, f.Version, version)
	}
	return f.Memory, nil
}

// Save writes the memory into a directory, which is made where it is missing.
// The file is replaced in one step, so a crash leaves the old one or the new.
func Save(dir string, m Memory) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("saving the guards' memory: %w", err)
	}
	data, err := json.Marshal(file{Version: version, Memory: m})
	if err != nil {
		return fmt.Errorf("saving the guards' memory: %w", err)
	}
	if err := replace(dir, data); err != nil {
		return fmt.Errorf("saving the guards' memory: %w", err)
	}
	return nil
}

func replace(dir string, data []byte) error {
	tmp, err := os.CreateTemp(dir, fileName+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails after the rename, as it should
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), filepath.Join(dir, fileName))
}
