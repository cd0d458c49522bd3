package source

import (
	"maps"
	"slices"

	"groupsync/internal/fault"
)

// Person is a ClearML user whom groupsync looks up in the realm.
type Person struct {
	Key   string   // id of the user in ClearML
	IDs   []string // values that ClearML keeps for the person and that can be account ids
	Email string   // empty: the person is not looked up by email

	// Username is looked up in addition to the email. It comes from an operator, because no
	// value in ClearML is certainly a username. If it is empty, the person is not looked up
	// by username.
	Username string
}

// Found is the result of the look-up of one person.
type Found struct {
	Person   Person
	Accounts []User // accounts with one of Person.IDs; if there are none, accounts with the email or the username
	ByID     bool   // one of Person.IDs found an account, so the email was not looked up
	Doubt    string // why the look-up is not complete; empty: it is complete
	Away     string // id of the federation whose outage is the cause of Doubt; empty: Doubt has another cause
}

// LookUps are the results of the look-ups of several people.
type LookUps struct {
	Found  []Found
	Probes []Probe // one for each probed federation, sorted by id
}

// With returns a snapshot with the accounts of s and of the look-ups. s does not change. With
// returns an error of reason incomplete if a look-up is complete and the new snapshot has no
// account at all. The realm is then empty, or keycloak.realm names the wrong one.
func (s *Snapshot) With(l LookUps) (*Snapshot, error) {
	next := *s
	next.users, next.byID = slices.Clone(s.users), maps.Clone(s.byID)
	next.found = maps.Clone(s.found)
	if next.found == nil {
		next.found = make(map[string]Found, len(l.Found))
	}
	complete := 0
	for _, f := range l.Found {
		next.found[f.Person.Key] = f
		for _, u := range f.Accounts {
			next.add(u)
		}
		if f.Doubt == "" {
			complete++
		}
	}
	next.sortUsers()
	next.probes = mergeProbes(s.probes, l.Probes)
	if complete > 0 && len(next.users) == 0 {
		return nil, fault.New(fault.Keycloak, fault.Incomplete,
			"the realm shows no account at all: not in the groups that were read, and not for %d people of ClearML who were looked up; nothing is synchronized from an empty realm; check keycloak.realm", complete)
	}
	return &next, nil
}

// Found returns the look-up of the person with that key, and false if the person was not
// looked up.
func (s *Snapshot) Found(key string) (Found, bool) {
	f, ok := s.found[key]
	return f, ok
}

// Probes returns one probe for each federation that was probed before and after the look-ups,
// sorted by the federation's id.
func (s *Snapshot) Probes() []Probe { return s.probes }

// OwnGroups is Keycloak's list of the groups of one account. It is for display, and for the choice
// of the member lists that a pass of one person reads. Keycloak reads the list from its user cache,
// so it can be out of date (reference/keycloak-own-view.md). It is no evidence for a change. The
// second look asks Keycloak about the account again, and also counts its groups. That count does
// not come from the cache.
type OwnGroups struct {
	Groups []string // ids, sorted
	Doubt  string   // why groups can be missing; empty: the list is complete
}
