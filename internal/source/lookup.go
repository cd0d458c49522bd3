package source

import (
	"maps"
	"slices"

	"groupsync/internal/fault"
)

// Person is somebody of the other side for whom the realm is asked.
type Person struct {
	Key   string   // the other side's own id of the person
	IDs   []string // account ids that the other side keeps of the person
	Email string   // empty: the person is not looked up by email

	// Username is asked for beside the email. It is what a person typed: nothing that the
	// other side keeps of a person is known to be a username. Empty: nobody is looked up
	// by username.
	Username string
}

// Found is what the realm answered for one person.
type Found struct {
	Person   Person
	Accounts []User // those with a kept id; if there is none, those with the email or the username
	ByID     bool   // Accounts were found by a kept id, and the email was not asked for
	Doubt    string // why the look-up is not whole; empty: it is
	Away     string // id of the federation that Doubt is about; empty: none
}

// LookUps is what a reader found when it asked for people.
type LookUps struct {
	Found  []Found
	Probes []Probe // one a federation that was probed, sorted by id
}

// With returns a snapshot that knows the looked-up accounts too. The receiver stays
// as it is. It returns an error of reason incomplete if neither the reading nor any
// look-up met a single account: an emptied realm answers so.
func (s *Snapshot) With(l LookUps) (*Snapshot, error) {
	next := *s
	next.users, next.byID = slices.Clone(s.users), maps.Clone(s.byID)
	next.found = maps.Clone(s.found)
	if next.found == nil {
		next.found = make(map[string]Found, len(l.Found))
	}
	whole := 0
	for _, f := range l.Found {
		next.found[f.Person.Key] = f
		for _, u := range f.Accounts {
			next.add(u)
		}
		if f.Doubt == "" {
			whole++
		}
	}
	next.sortUsers()
	next.probes = mergeProbes(s.probes, l.Probes)
	if whole > 0 && len(next.users) == 0 {
		return nil, fault.New(fault.Keycloak, fault.Incomplete,
			"the realm shows no account at all: not in the groups that were read, and not for %d people of ClearML who were looked up; nothing is synchronized from an empty realm; check keycloak.realm", whole)
	}
	return &next, nil
}

// Found returns what the realm answered for the person with that key; false if the
// person was not looked up.
func (s *Snapshot) Found(key string) (Found, bool) {
	f, ok := s.found[key]
	return f, ok
}

// Probes returns what the federations answered around the look-ups, sorted by id.
func (s *Snapshot) Probes() []Probe { return s.probes }

// OwnGroups are the groups of one account as the account's own side tells them. They
// come through Keycloak's user cache, so they can be older than the database
// (reference/keycloak-own-view.md). No change rests on them.
type OwnGroups struct {
	Groups []string // ids, sorted
	Doubt  string   // why groups can be missing; empty: the list is whole
}
