// Package memory is what the guards must know from earlier passes. It is a value: a
// pass is handed one and returns the next. Only Dir touches a file.
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

	"groupsync/internal/atomicfile"
)

// Accepted is what fed a user group when a pass was last accepted for it.
type Accepted struct {
	Sources     map[string]string `json:"sources"`     // path by id of each Keycloak group
	Federated   []string          `json:"federated"`   // ids of enabled federated members, sorted
	Federations []string          `json:"federations"` // ids of the realm's federations then, sorted

	// Forgotten is how many ids did not fit where the memory was kept (PackWithin). Each
	// stands in Federated as a text that is no account's id.
	Forgotten int `json:"forgotten,omitempty"`
}

// Intent is one change that was about to be written. It is remembered before the
// write is sent. The next reading of ClearML tells whether the change was made.
type Intent struct {
	At      time.Time `json:"at"`
	Group   string    `json:"group,omitempty"` // of ClearML
	User    string    `json:"user,omitempty"`
	Settled bool      `json:"settled,omitempty"` // a later reading showed that the change was made

	// Count is how many changes the entry stands for, in a memory that a version
	// wrote which kept no groups and users. 0 means 1.
	Count int `json:"count,omitempty"`
}

// Memory is what the guards remember. The zero Memory remembers nothing.
type Memory struct {
	Federations map[string]string    `json:"federations"` // name by id of every federation seen whose loss is not accepted everywhere
	Answered    map[string]bool      `json:"answered"`    // by id: federations that have answered a probe
	Groups      map[string]Accepted  `json:"groups"`      // by id of the ClearML user group
	Wanted      map[string]time.Time `json:"wanted"`      // by Key: since when every pass has wanted the removal
	Removed     []Intent             `json:"removed"`     // removals that no approval covered, oldest first
	Granted     []Intent             `json:"granted"`     // new administrators that no approval covered, oldest first
	Added       []Intent             `json:"added"`       // additions that no approval covered, oldest first; only if max_additions is set
	Pending     map[string]time.Time `json:"pending"`     // by Keycloak user id: when first seen without a ClearML account
	Rules       string               `json:"rules"`       // the rules of matching of the last accepted pass; empty: none was accepted yet
	FailedAt    time.Time            `json:"failed_at"`   // the first pass since the last plan that ended in an error; zero: none
}

// Resumed adjusts the clocks of Wanted for failed passes. The time between the first
// failed pass and now does not count toward a grace, and does not reset it. Time in
// which no pass ran (the process was down) does count.
func (m Memory) Resumed(now time.Time) Memory {
	if m.FailedAt.IsZero() {
		return m
	}
	next := m.Clone()
	for key, since := range next.Wanted {
		next.Wanted[key] = since.Add(now.Sub(m.FailedAt))
	}
	next.FailedAt = time.Time{}
	return next
}

// Settled compares the intents with a reading of ClearML, made after them. A removal
// whose person the reading still shows as a member was not made, and is forgotten; an
// addition whose person the reading does not show was not made either. member reports
// what the reading shows; known is false for a group that the reading lacks, and then
// the intent stays as it is.
func (m Memory) Settled(member func(group, user string) (is, known bool)) Memory {
	next := m.Clone()
	settle := func(intents []Intent, made bool) []Intent {
		return slices.DeleteFunc(intents, func(i Intent) bool {
			is, known := member(i.Group, i.User)
			return i.Group != "" && !i.Settled && known && is != made
		})
	}
	next.Removed, next.Granted, next.Added = settle(next.Removed, false), settle(next.Granted, true), settle(next.Added, true)
	for _, list := range [][]Intent{next.Removed, next.Granted, next.Added} {
		for i := range list {
			_, known := member(list[i].Group, list[i].User)
			list[i].Settled = list[i].Settled || known
		}
	}
	return next
}

// Key names one removal in Wanted.
func Key(group, user string) string { return group + "/" + user }

// Clone returns a copy that shares nothing which a caller may change; its maps
// are never nil.
func (m Memory) Clone() Memory {
	m.Federations, m.Answered, m.Groups = cloneMap(m.Federations), cloneMap(m.Answered), cloneMap(m.Groups)
	m.Wanted, m.Pending = cloneMap(m.Wanted), cloneMap(m.Pending)
	m.Removed, m.Granted, m.Added = slices.Clone(m.Removed), slices.Clone(m.Granted), slices.Clone(m.Added)
	return m
}

func cloneMap[V any](m map[string]V) map[string]V {
	if m == nil {
		return make(map[string]V)
	}
	return maps.Clone(m)
}

// Since returns how many changes the intents at or after a time stand for.
func Since(intents []Intent, t time.Time) (n int) {
	for _, i := range intents {
		if !i.At.Before(t) {
			n += max(i.Count, 1)
		}
	}
	return n
}

// PeopleSince returns how many people the intents at or after a time are about. An
// intent of a version that kept no users counts as its number of changes.
func PeopleSince(intents []Intent, t time.Time) (n int) {
	people := make(map[string]bool)
	for _, i := range intents {
		switch {
		case i.At.Before(t):
		case i.User == "":
			n += max(i.Count, 1)
		default:
			people[i.User] = true
		}
	}
	return n + len(people)
}

const (
	fileName = "memory.json"
	version  = 1
)

type file struct {
	Version int `json:"version"`
	Memory
}

// load returns what was saved in a directory, or the zero Memory where nothing
// was yet. A file that cannot be read whole is an error: to forget silently
// would lift the guards that rest on it.
func load(dir string) (Memory, error) {
	path := filepath.Join(dir, fileName)
	data, err := os.ReadFile(path) // #nosec G304 -- a fixed name in state_dir
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

// save writes the memory into a directory, which is made where it is missing.
// The file is replaced in one step, so a crash leaves the old one or the new.
func save(dir string, m Memory) error {
	data, err := json.Marshal(file{Version: version, Memory: m})
	if err != nil {
		return fmt.Errorf("saving the guards' memory: %w", err)
	}
	if err := atomicfile.Write(dir, fileName, data, 0o600); err != nil {
		return fmt.Errorf("saving the guards' memory: %w", err)
	}
	return nil
}
