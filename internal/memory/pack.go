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

// packed is a Memory in which each federated person is written once: in a
// large realm their ids, one a membership, are nearly all there is.
type packed struct {
	Version int              `json:"version"`
	People  []string         `json:"people"`
	Members map[string][]int `json:"members"` // Federated by group id, as places in People
	Memory  Memory           `json:"memory"`  // its groups without Federated
}

// Pack returns the memory in few bytes, for places that are small. Equal
// memories give equal bytes.
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

// forgettingVersion is the version of packed bytes in which something is forgotten. A
// version of groupsync that does not know Forgotten must not read them: it would take a
// group whose members are forgotten for one that had none.
const forgettingVersion = version + 1

func (m Memory) packedVersion() int {
	if m.Forgotten() != (Forgotten{}) {
		return forgettingVersion
	}
	return version
}

// Forgotten is what did not fit where the memory is kept.
type Forgotten struct {
	Groups      int // whose federated members are forgotten
	Memberships int // of those groups
}

// Forgotten returns what the memory has forgotten for lack of space.
func (m Memory) Forgotten() (f Forgotten) {
	for _, g := range m.Groups {
		if g.Forgotten > 0 {
			f.Groups, f.Memberships = f.Groups+1, f.Memberships+g.Forgotten
		}
	}
	return f
}

// forgotten stands in Accepted.Federated for an id that is not known any more. No account
// of Keycloak has it.
const forgotten = "(forgotten)"

// PackWithin packs the memory into at most limit bytes. If the memory is larger,
// PackWithin forgets the federated members of the largest groups, and then since when
// people are pending. It never makes a removal come sooner:
//
//   - A forgotten member counts as lost at the next comparison. So the guard fall withholds
//     the removals of federated people from such a group until a person approves them.
//   - A removal from such a group that waits a grace begins to wait anew in each pass. An
//     account that is gone may have been a federation's, and only the forgotten ids could
//     tell. So such a removal waits for an approval, too.
//
// Additions, local people and the other groups are not affected. An error says that what
// must not be forgotten takes more than limit: the changes within the window above all.
func PackWithin(m Memory, limit int) ([]byte, error) {
	data, err := Pack(m)
	if err != nil || len(data) <= limit {
		return data, err
	}
	bySize := slices.SortedFunc(maps.Keys(m.Groups), func(a, b string) int {
		return cmp.Or(len(m.Groups[a].Federated)-len(m.Groups[b].Federated), strings.Compare(a, b))
	})
	kept := 0 // memberships
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
		err = fmt.Errorf("packing the guards' memory: without what may be forgotten it takes %d bytes, more than %d", len(data), limit)
	}
	return data, err
}

// keep returns a memory in which the federated members of only so many groups are known
// that they have at most that many memberships together: of the first in the list.
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

// placeheld returns the group with the texts that stand for forgotten ids.
func (a Accepted) placeheld() Accepted {
	a.Federated = slices.Repeat([]string{forgotten}, a.Forgotten)
	return a
}

// maxUnpacked limits what is unpacked: about ten times the memory of 1,000,000
// memberships. A ConfigMap can hold a gzip of a gigabyte.
const (
	maxUnpacked  = 256 << 20
	maxForgotten = 10_000_000 // of one group
)

// errCorrupt is of packed bytes that make no memory.
var errCorrupt = errors.New("the guards' memory is corrupt")

// Unpack returns what was packed, or an error: to forget silently would lift
// the guards that rest on it.
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
			return Memory{}, fmt.Errorf("%w (%d forgotten members of the group %s)", errCorrupt, g.Forgotten, id)
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

// unzipped undoes gzip. A text of more than most bytes is an error.
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
