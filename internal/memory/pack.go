package memory

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// packed is the stored form of a Memory. It contains the id of each federated member once,
// even if the person is in several groups. In a large realm these ids are almost all of the
// memory.
type packed struct {
	Version int              `json:"version"`
	People  []string         `json:"people"`
	Members map[string][]int `json:"members"` // by group id: the federated members, as indexes into People
	Memory  Memory           `json:"memory"`  // its Groups have no Federated
}

// Pack returns the memory in few bytes, for stores with little space, such as a ConfigMap.
// Equal memories give equal bytes.
func Pack(m Memory) ([]byte, error) {
	p := packed{Version: m.packedVersion(), Members: make(map[string][]int, len(m.Groups)), Memory: m.Clone()}
	index := make(map[string]int)
	for _, id := range slices.Sorted(maps.Keys(m.Groups)) {
		g := m.Groups[id]
		if g.Forgotten > 0 {
			g.Federated = nil
		}
		for _, person := range g.Federated {
			if _, known := index[person]; !known {
				index[person] = len(p.People)
				p.People = append(p.People, person)
			}
			p.Members[id] = append(p.Members[id], index[person])
		}
		g.Federated = nil
		p.Memory.Groups[id] = g
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := errors.Join(json.NewEncoder(z).Encode(p), z.Close()); err != nil {
		return nil, fmt.Errorf("packing the guards' memory: %w", err)
	}
	return b.Bytes(), nil
}

// forgettingVersion is the version of packed bytes with forgotten members. An older groupsync
// must refuse these bytes. It does not have the field Forgotten, so it would assume that such
// a group had no federated members.
const forgettingVersion = version + 1

func (m Memory) packedVersion() int {
	if m.Forgotten() != (Forgotten{}) {
		return forgettingVersion
	}
	return version
}

// Forgotten counts the federated memberships that did not fit into the store.
type Forgotten struct {
	Groups      int // groups whose federated members are forgotten
	Memberships int // memberships of those groups
}

// Forgotten returns how much of the memory is missing because it did not fit into the store.
// The zero value means that nothing is missing.
func (m Memory) Forgotten() (f Forgotten) {
	for _, g := range m.Groups {
		if g.Forgotten > 0 {
			f.Groups, f.Memberships = f.Groups+1, f.Memberships+g.Forgotten
		}
	}
	return f
}

// forgotten is the placeholder in Accepted.Federated for an id that is no longer known. No
// Keycloak account has it as its id.
const forgotten = "(forgotten)"

// PackWithin packs the memory into at most limit bytes. If the memory is larger, PackWithin
// forgets the federated members of the largest groups. If it is too large even without all
// federated members, PackWithin also forgets since when accounts have been pending. Forgetting
// never makes groupsync remove somebody sooner:
//
//   - A forgotten member counts as lost at the next comparison. So the guard `fall` withholds
//     the removals of federated people from such a group until a person approves them.
//   - The grace of every removal from such a group starts again in each pass, so a removal that
//     needs a grace waits for an approval. Without this, a person who is gone could be removed:
//     only the forgotten ids could show `fall` that the person's account was federated.
//
// Additions, removals of local people that need no grace, and the other groups are not affected.
// PackWithin returns an error if the part that must not be forgotten takes more than limit bytes.
// That part is mainly the changes within the window, the time for which changes count toward a
// limit.
func PackWithin(m Memory, limit int) ([]byte, error) {
	data, err := Pack(m)
	if err != nil || len(data) <= limit {
		return data, err
	}
	bySize := slices.SortedFunc(maps.Keys(m.Groups), func(a, b string) int {
		return cmp.Or(len(m.Groups[a].Federated)-len(m.Groups[b].Federated), strings.Compare(a, b))
	})
	kept := 0 // how many federated memberships to keep
	for _, g := range m.Groups {
		kept += len(g.Federated)
	}
	kept = int(float64(kept) * float64(limit) / float64(len(data)))
	for {
		if data, err = Pack(m.keep(bySize, kept)); err != nil || len(data) <= limit {
			return data, err
		}
		if kept == 0 {
			break
		}
		kept = kept / 2
	}
	m = m.keep(bySize, 0)
	m.Pending = nil
	if data, err = Pack(m); err == nil && len(data) > limit {
		err = fmt.Errorf("packing the guards' memory: the part that must not be forgotten takes %d bytes, more than %d", len(data), limit)
	}
	return data, err
}

// keep returns the memory in which only the first of the given groups keep their federated
// members. Together these groups have at most the given number of memberships. The members of
// the other groups are forgotten.
func (m Memory) keep(groups []string, memberships int) Memory {
	m = m.Clone()
	for _, id := range groups {
		g := m.Groups[id]
		n := len(g.Federated)
		if memberships -= n; memberships >= 0 || n == 0 {
			continue
		}
		g.Forgotten = n
		m.Groups[id] = g.placeheld()
		maps.DeleteFunc(m.Wanted, func(key string, _ time.Time) bool { return strings.HasPrefix(key, Key(id, "")) })
	}
	return m
}

// placeheld returns a copy of the Accepted. In the copy, Federated has only placeholders, one
// for each forgotten id.
func (a Accepted) placeheld() Accepted {
	a.Federated = slices.Repeat([]string{forgotten}, a.Forgotten)
	return a
}

// maxUnpacked limits the unpacked bytes, because a ConfigMap can contain a gzip of a gigabyte.
// The limit is about ten times the memory of 1,000,000 memberships.
const (
	maxUnpacked  = 256 << 20
	maxForgotten = 10_000_000 // the most forgotten members that one group can have
)

// errCorrupt is the error for packed bytes that cannot be decoded into a memory.
var errCorrupt = errors.New("the guards' memory is corrupt")

// Unpack returns the memory that Pack stored. If the bytes cannot be read completely, Unpack
// returns an error and no zero Memory. With a zero Memory, the guards that compare with
// earlier passes would silently not work.
func Unpack(data []byte) (Memory, error) {
	text, err := unzipped(data, maxUnpacked)
	if err != nil {
		return Memory{}, fmt.Errorf("%w (%w)", errCorrupt, err)
	}
	var p packed
	if err := json.Unmarshal(text, &p); err != nil {
		return Memory{}, fmt.Errorf("%w (%w)", errCorrupt, err)
	}
	if p.Version != version && p.Version != forgettingVersion {
		return Memory{}, fmt.Errorf("the guards' memory has version %d, this groupsync reads version %d", p.Version, version)
	}
	for id, g := range p.Memory.Groups {
		if g.Forgotten < 0 || g.Forgotten > maxForgotten || g.Forgotten > 0 && (p.Version != forgettingVersion || len(p.Members[id]) > 0) {
			return Memory{}, fmt.Errorf("%w (%d forgotten members of the group %s do not fit its other entries)", errCorrupt, g.Forgotten, id)
		}
		if g.Forgotten > 0 {
			p.Memory.Groups[id] = g.placeheld()
		}
	}
	for id, members := range p.Members {
		g, there := p.Memory.Groups[id]
		if !there {
			return Memory{}, fmt.Errorf("%w (no group %s)", errCorrupt, id)
		}
		for _, i := range members {
			if i < 0 || i >= len(p.People) {
				return Memory{}, fmt.Errorf("%w (no person %d)", errCorrupt, i)
			}
			g.Federated = append(g.Federated, p.People[i])
		}
		p.Memory.Groups[id] = g
	}
	return p.Memory, nil
}

// unzipped returns the unpacked bytes. If there are more bytes than the parameter most, it
// returns an error.
func unzipped(data []byte, most int64) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(z, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("it is longer than %d MiB", most>>20)
	}
	return text, err
}
