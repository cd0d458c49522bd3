package keycloaktest

import (
	"strings"
	"testing"
)

func TestTheBigSpecHasItsMeasure(t *testing.T) {
	spec := BigSpec()
	groups, parents := map[string]int{}, map[string]bool{}
	for _, path := range spec.Groups {
		groups[path] = 0
		if at := strings.LastIndexByte(path, '/'); at > 0 {
			parents[path[:at]] = true
		}
	}
	memberships := 0
	for _, u := range spec.Users {
		in := map[string]bool{}
		for _, path := range u.Groups {
			if _, ok := groups[path]; !ok || in[path] {
				t.Fatalf("%s is in %s, which is no group or twice", u.Username, path)
			}
			in[path] = true
			groups[path]++
			memberships++
		}
	}
	nested := 0
	for path, members := range groups {
		if members != 50 {
			t.Errorf("%s has %d members, want 50", path, members)
		}
		if strings.Count(path, "/") == 2 {
			nested++
		}
	}
	for parent := range parents {
		if _, ok := groups[parent]; !ok {
			t.Errorf("the parent %s is no group of its own", parent)
		}
	}
	equal(t, "users, groups, nested, parents, memberships",
		[]int{len(spec.Users), len(groups), nested, len(parents), memberships},
		[]int{BigUsers, BigGroups, BigNested, BigParents, BigMemberships})
}
