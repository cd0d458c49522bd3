package source

import (
	"maps"
	"slices"

	"groupsync/internal/fault"
)

// Person is a ClearML user whom groupsync looks up in the realm.
type Person struct {
	Key   string   // id of the user in ClearML
	IDs   []string // account ids that ClearML keeps of the person
	Email string   // empty: the person is not looked up by email

	// Username is looked up in addition to the email. It comes from an operator, because no
	// value in ClearML is certainly a username. If it is empty, the person is not looked up
	// by username.
	Username string
}

// Found is the result of the look-up of one person.
type Found struct {
	Person   Person
	Accounts []User // accounts with a kept id; if there are none, accounts with the email or the username
	ByID     bool   // a kept id found the accounts, and the email was not looked up
	Doubt    string // why the look-up is not complete; empty: it is complete
	Away     string // id of the federation that Doubt is about; empty: Doubt is not about a federation
}

// LookUps are the results of the look-ups of several people.
type LookUps struct {
	Found  []Found
	Probes []Probe // one for each probed federation, sorted by id
}

// With returns a snapshot that also holds the accounts of the look-ups. The receiver does
// not change. With returns an error of reason incomplete if the result would have no account
// at all, although a look-up is complete. A realm whose accounts were all deleted looks like
// this, and so does the wrong realm.
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

// Probes returns the federations' probes around the look-ups, sorted by id.
func (s *Snapshot) Probes() []Probe { return s.probes }

// OwnGroups are the groups of one account according to its own side. Keycloak reads them from
// its user cache, so they can be out of date (reference/keycloak-own-view.md). groupsync
// decides no change by them.
type OwnGroups struct {
	Groups []string // ids, sorted
	Doubt  string   // why groups can be missing; empty: the list is complete
}
