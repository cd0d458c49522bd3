package keycloak

import "sync"

// late holds the people for whom Keycloak's last answer did not come in time. A Source keeps late
// from pass to pass, so that later passes ask about these people last.
type late struct {
	mu     sync.Mutex
	people map[string]bool // by the key of a source.Person, or the id of an account
}

func (l *late) set(person string, slow bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !slow:
		delete(l.people, person)
	case l.people == nil:
		l.people = map[string]bool{person: true}
	default:
		l.people[person] = true
	}
}

// compare compares two people for sorting: the people in late come after all others.
func (l *late) compare(a, b string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.people[a] == l.people[b]:
		return 0
	case l.people[a]:
		return 1
	default:
		return -1
	}
}
