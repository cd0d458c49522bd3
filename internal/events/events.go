// Package events reads Keycloak's admin events between the scheduled passes, and starts early
// passes because of them. An event about a person starts a pass for that person only. An event
// about a group or a role starts a whole pass, which is a pass for everybody. If an event is
// missed, repeated or out of order, no change is lost, because the scheduled passes find every
// change too.
package events

import (
	"slices"
	"strings"
	"time"

	"groupsync/internal/source"
)

// Event is one change that somebody made in Keycloak's admin console or with its admin API.
// Changes by a login or by LDAP are not admin events (reference/keycloak-api.md).
type Event struct {
	At        time.Time
	Operation string // CREATE, UPDATE, DELETE or ACTION
	Resource  string // the kind of the changed resource: GROUP_MEMBERSHIP, USER, GROUP and others
	Path      string // path of the changed resource, for example "users/ID/groups/ID"
}

// Work says which passes a list of events needs.
type Work struct {
	// People are the accounts in the events, in the order in which they first appear. Each of
	// them needs a pass.
	People []Person
	Whole  bool // a whole pass is needed, because an event is about a group or a role and can concern anybody
}

// Person is one account that appears in events.
type Person struct {
	Account   string           // id of the account
	Witnesses []source.Witness // the events that explain why the account may have lost a membership
}

// Read returns the passes that the events need. It ignores events that are about no account, group
// or role, and events whose path does not have Keycloak's form.
func Read(events []Event) (w Work) {
	for _, e := range events {
		parts := strings.Split(e.Path, "/")
		switch {
		case e.Resource == "GROUP", e.Resource == "REALM_ROLE", e.Resource == "CLIENT_ROLE":
			w.Whole = true
		case len(parts) < 2 || parts[1] == "":
		case parts[0] == "users":
			w.person(parts, e)
		case parts[0] == "groups" && strings.HasSuffix(e.Resource, "_ROLE_MAPPING"):
			w.Whole = true
		}
	}
	return w
}

// person adds an event about one account. parts are the segments of the event's path.
func (w *Work) person(parts []string, e Event) {
	account := parts[1]
	at := slices.IndexFunc(w.People, func(p Person) bool { return p.Account == account })
	if at < 0 {
		at = len(w.People)
		w.People = append(w.People, Person{Account: account})
	}
	p := &w.People[at]
	witness := source.Witness{Account: account}
	switch {
	case e.Resource == "GROUP_MEMBERSHIP" && len(parts) == 4 && parts[2] == "groups" && parts[3] != "":
		witness.Group = parts[3]
	case e.Resource == "USER" && len(parts) == 2 && (e.Operation == "UPDATE" || e.Operation == "DELETE"):
		witness.Deleted = e.Operation == "DELETE"
	default:
		return
	}
	// A later event about the same membership, or about the account itself, replaces the earlier
	// event. For example, if the account was removed from a group and then added again, the
	// removal explains nothing.
	p.Witnesses = slices.DeleteFunc(p.Witnesses, func(x source.Witness) bool { return x.Group == witness.Group })
	if e.Resource == "USER" || e.Operation == "DELETE" {
		p.Witnesses = append(p.Witnesses, witness)
	}
}
