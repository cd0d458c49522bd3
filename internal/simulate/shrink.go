package simulate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"groupsync/internal/simulate/chaos"
)

// Command returns the command that runs the schedule again.
func (s Scenario) Command() string {
	off, focus := slices.Sorted(maps.Keys(s.Off)), slices.Sorted(maps.Keys(s.Focus))
	c := fmt.Sprintf("go test ./internal/simulate -run TestEverySchedule -v -seeds 1 -seed %d", s.Seed)
	if len(off) > 0 {
		c += fmt.Sprintf(" -off %q", strings.Join(off, ","))
	}
	if len(focus) > 0 {
		c += fmt.Sprintf(" -focus %q", strings.Join(focus, ","))
	}
	if s.Hours > 0 {
		c += fmt.Sprintf(" -hours %d", s.Hours)
	}
	if s.People > 0 {
		c += fmt.Sprintf(" -people %d", s.People)
	}
	return c
}

// features lists the parts that a schedule can have in addition to faults and events.
var features = []string{"replicas", "journal", "rogue server", "one view", "duplicate emails", "mapping", "full path", "admins", "admin role", "via role", "collision", "quirk", "federation"}

// Shrink returns a smaller schedule for which fails is still true. It first leaves out the
// faults, events and features that the failure does not need. Then it makes the schedule
// shorter, and then it leaves out people. Shrink calls fails at most as often as
// the parameter most says.
func Shrink(s Scenario, most int, fails func(Scenario) bool) Scenario {
	try := func(smaller Scenario) bool {
		if most <= 0 {
			return false
		}
		most--
		return fails(smaller)
	}
	without := func(names []string) bool {
		smaller := s
		smaller.Off = maps.Clone(s.Off)
		if smaller.Off == nil {
			smaller.Off = make(map[string]bool)
		}
		for _, n := range names {
			smaller.Off[n] = true
		}
		if !try(smaller) {
			return false
		}
		s = smaller
		return true
	}
	var names []string
	for _, k := range chaos.Kinds {
		names = append(names, string(k))
	}
	for _, e := range events {
		names = append(names, e.kind)
	}
	names = append(names, features...)
	// First many names are left out at once, because most names do not matter for the failure.
	for size := len(names); size > 0; size /= 2 {
		for i := 0; i < len(names); {
			piece := names[i:min(i+size, len(names))]
			if without(piece) {
				names = slices.Delete(slices.Clone(names), i, i+len(piece))
			} else {
				i += size
			}
		}
	}
	for _, hours := range []int{1, 2, 4, 8, 16} {
		smaller := s
		if smaller.Hours = hours; (s.Hours == 0 || hours < s.Hours) && try(smaller) {
			s = smaller
			break
		}
	}
	for people := 1; people < 12; people++ {
		smaller := s
		if smaller.People = people; (s.People == 0 || people < s.People) && try(smaller) {
			s = smaller
			break
		}
	}
	return s
}
