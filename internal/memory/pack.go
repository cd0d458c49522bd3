package memory

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
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
	p := packed{Version: version, Members: make(map[string][]int, len(m.Groups)), Memory: m.Clone()}
	index := make(map[string]int)
	for _, id := range slices.Sorted(maps.Keys(m.Groups)) {
		g := m.Groups[id]
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

// errCorrupt is of packed bytes that make no memory.
var errCorrupt = errors.New("the guards' memory is corrupt")

// Unpack returns what was packed, or an error: to forget silently would lift
// the guards that rest on it.
func Unpack(data []byte) (Memory, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return Memory{}, fmt.Errorf("%w (%w)", errCorrupt, err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return Memory{}, fmt.Errorf("%w (%w)", errCorrupt, err)
	}
	var p packed
	if err := json.Unmarshal(text, &p); err != nil {
		return Memory{}, fmt.Errorf("%w (%w)", errCorrupt, err)
	}
	if p.Version != version {
		return Memory{}, fmt.Errorf("the guards' memory has version %d, this groupsync reads version %d", p.Version, version)
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
