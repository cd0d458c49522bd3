package keycloaktest

import "fmt"

// The size of the realm of BigSpec.
const (
	BigUsers       = 10_000
	BigGroups      = 1_000
	BigNested      = 330 // how many of the groups have a parent
	BigParents     = 66  // how many of the groups have children
	BigMemberships = 50_000
)

// BigSpec returns a large realm for benchmarks. It has BigUsers people and BigGroups groups.
// Each person is in five groups, each group has fifty direct members, and BigParents of the
// top-level groups have five children each. The realm is always the same. NewRealm creates it
// in about twenty seconds.
func BigSpec() Spec {
	groups := make([]string, BigGroups)
	for i := range groups {
		groups[i] = fmt.Sprintf("/group-%03d", i)
		if i < BigNested {
			groups[i] = fmt.Sprintf("/group-%03d/nested-%03d", BigNested+i%BigParents, i)
		}
	}
	const each = BigMemberships / BigUsers
	users := make([]User, BigUsers)
	for i := range users {
		name := fmt.Sprintf("user-%05d", i)
		users[i] = User{Username: name, Email: name + "@example.com", FirstName: "User", LastName: fmt.Sprintf("No. %d", i)}
		for k := range each {
			users[i].Groups = append(users[i].Groups, groups[(i+k*199)%BigGroups])
		}
	}
	return Spec{Groups: groups, Users: users}
}

// FlatSpec returns a realm with the given number of top-level groups and ten times as many people.
// Each person is in five groups, and each group has fifty direct members. The realm is always the
// same.
func FlatSpec(groups int) Spec {
	spec := Spec{Users: make([]User, 10*groups)}
	for i := range groups {
		spec.Groups = append(spec.Groups, fmt.Sprintf("/group-%04d", i))
	}
	for i := range spec.Users {
		u := &spec.Users[i]
		u.Username = fmt.Sprintf("user-%05d", i)
		u.Email = u.Username + "@example.com"
		for k := range 5 {
			u.Groups = append(u.Groups, spec.Groups[(i+k*19)%groups])
		}
	}
	return spec
}
