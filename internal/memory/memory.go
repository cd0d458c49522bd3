// Package memory holds what the guards must remember of earlier passes. A pass gets a Memory,
// and returns the Memory for the next pass. Only Dir reads and writes files.
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

// Accepted holds the sources and the federated members of a user group at its last accepted
// pass: the last pass that withheld nothing in the group, and in which the group had not fallen or
// a person approved its fall (guard.Judged.Remember). This is decided for each group alone: a pass
// that withheld changes of other groups counts too. The
// sources are the Keycloak groups whose members belong in the user group. A federated member
// has an account from a federation, such as LDAP.
type Accepted struct {
	Sources     map[string]string `json:"sources"`     // path by id of each Keycloak group
	Federated   []string          `json:"federated"`   // ids of the enabled federated accounts of ClearML users in the group, sorted
	Federations []string          `json:"federations"` // ids of the realm's federations at that time, sorted

	// Forgotten is the number of ids of Federated that did not fit into the store (PackWithin).
	// Federated has a placeholder for each of them, which is the id of no account.
	Forgotten int `json:"forgotten,omitempty"`
}

// Intent is one change that is about to be written. It is saved in the memory before the write
// is sent, so that a crash cannot lose it. The next reading of ClearML shows whether the
// change was made.
type Intent struct {
	At      time.Time `json:"at"`
	Group   string    `json:"group,omitempty"` // id of the ClearML user group
	User    string    `json:"user,omitempty"`
	Settled bool      `json:"settled,omitempty"` // true: a later reading of ClearML showed that the change was made

	// Count is the number of changes for which the entry counts; 0 means 1. Only an entry from
	// an old version has a Count, because that version kept no groups and users.
	Count int `json:"count,omitempty"`
}

// Memory is what the guards remember of earlier passes. The zero Memory is that of a groupsync
// that has made no pass.
type Memory struct {
	Federations map[string]string    `json:"federations"` // name by id: the federations of the realm, and those with which the guard `fall` still compares a group (Accepted.Federations)
	Answered    map[string]bool      `json:"answered"`    // by id: federations that have answered a probe
	Groups      map[string]Accepted  `json:"groups"`      // by id of the ClearML user group
	Wanted      map[string]time.Time `json:"wanted"`      // since when every pass has proposed the removal and had evidence for it; by Key, with "/email" after it if the evidence is an email alone
	Removed     []Intent             `json:"removed"`     // removals that no approval covered, oldest first; only if max_removals is set, or from early passes
	Granted     []Intent             `json:"granted"`     // new administrators that no approval covered, oldest first; only if max_admin_grants is set
	Added       []Intent             `json:"added"`       // additions that no approval covered, oldest first; only if max_additions is set
	Pending     map[string]time.Time `json:"pending"`     // by Keycloak account id: when the account was first seen without a ClearML user
	Rules       string               `json:"rules"`       // match.Rules.Scope of the last accepted pass; empty: no pass was accepted yet
	FailedAt    time.Time            `json:"failed_at"`   // time of the first failed pass after the last pass that made a plan; zero: no pass has failed since
}

// Resumed returns the memory with the times in Wanted adjusted for failed passes. These times
// are for the grace: how long every pass must propose a removal before it is written. The time
// between the first failed pass and now does not count toward a grace, and does not reset it.
// Time in which no pass ran (the process was down) does count.
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

// Settled compares the intents with a reading of ClearML that was made after them. It removes
// the intents of changes that were not made: a removal whose person is still a member, and an
// addition whose person is not a member. It marks the other intents as settled. The function
// member returns whether the reading has the membership (is), and whether it has the group
// (known). If it does not have the group, the intent stays as it is.
func (m Memory) Settled(member func(group, user string) (is, known bool)) Memory {
	next := m.Clone()
	dropUnmade := func(intents []Intent, made bool) []Intent {
		return slices.DeleteFunc(intents, func(i Intent) bool {
			is, known := member(i.Group, i.User)
			return i.Group != "" && !i.Settled && known && is != made
		})
	}
	next.Removed, next.Granted, next.Added = dropUnmade(next.Removed, false), dropUnmade(next.Granted, true), dropUnmade(next.Added, true)
	for _, list := range [][]Intent{next.Removed, next.Granted, next.Added} {
		for i := range list {
			_, known := member(list[i].Group, list[i].User)
			list[i].Settled = list[i].Settled || known
		}
	}
	return next
}

// Key returns the key in Wanted of the removal of user from group. Both are ids of ClearML.
func Key(group, user string) string { return group + "/" + user }

// Clone returns a copy with its own maps and lists. The maps are never nil. The copy shares
// only the contents of each Accepted, which nobody may change.
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

// Since returns the number of changes at or after the time t.
func Since(intents []Intent, t time.Time) (n int) {
	for _, i := range intents {
		if !i.At.Before(t) {
			n += max(i.Count, 1)
		}
	}
	return n
}

// PeopleSince returns the number of different people with a change at or after the time t. An
// intent from an old version that kept no users counts as Count people.
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

// load returns the memory that was saved in a directory, or the zero Memory if none was saved.
// If the file cannot be read completely, load returns an error and no zero Memory. With a zero
// Memory, the guards that compare with earlier passes would silently not work.
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

// save writes the memory into a directory. It makes the directory if necessary. It replaces
// the file in one step, so after a crash the file is the old or the new one.
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
