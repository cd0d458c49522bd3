// Package history is the log of everything that happened in a simulated world: a plain
// list of facts, each with its virtual time. The models of Keycloak and of ClearML write
// it, and so does whatever drives the daemon. The oracle judges from it alone.
package history

import (
	"sync"
	"time"
)

// Facts about Keycloak. They are the truth, whatever its answers say.
type (
	// Account is an account as it is from then on.
	Account struct {
		ID, Username, Email, Federation string
		Enabled, Service                bool
	}
	// AccountGone says that Keycloak has the account no more. Misread says that it was
	// deleted only because LDAP showed too little: the person is still there.
	AccountGone struct {
		ID      string
		Misread bool
	}
	// Group is a group of the realm as it is from then on.
	Group struct{ ID, Name, Path, Parent string }
	// GroupGone says that the realm has the group no more.
	GroupGone struct{ ID string }
	// Claim says whether a token of the account holds the group.
	Claim struct {
		Account, Group string
		In             bool
	}
	// Role says whether an account or a group holds the role of administrators: itself, or by
	// a role that contains it. Whoever is in the group, or in one below it, holds the role.
	Role struct {
		Holder string // id of an account or of a group
		In     bool
	}
	// Blind says whether a federation answers, and shows nobody.
	Blind struct {
		Federation string
		Is         bool
	}
	// Listed says whether the group's member list shows the account while all is well.
	Listed struct {
		Account, Group string
		In             bool
	}
)

// Facts about ClearML.
type (
	// User is a user as it is from then on. Kept is the id that ClearML keeps of the sign-in
	// by Keycloak. Role is ClearML's.
	User struct {
		ID, Name, Email, Kept, Role string
		Keycloak, Other, Service    bool // has signed in by Keycloak; by something else; is a service account
	}
	// UserGone says that ClearML has the user no more.
	UserGone struct{ ID string }
	// UserGroup is a user group as it is from then on.
	UserGroup struct {
		ID, Name, Description string
		System, Assignable    bool
	}
	// UserGroupGone says that ClearML has the user group no more.
	UserGroupGone struct{ ID string }
	// Member says that somebody is a member from then on, or no longer. By is "login",
	// "person", "tool", "setup" or Writer.
	Member struct {
		Group, User string
		In          bool
		By          string
		Write       int // number of the Sent that did it; 0: another did it
	}
)

// AdminRole is the id of the user group that stands for ClearML's role admin.
const AdminRole = "role:admin"

// Writer is the Member.By of groupsync.
const Writer = "groupsync"

// Facts about what groupsync did.
type (
	// Read says that the server put together an answer with the group's members: of that
	// group, or of all groups if Group is empty. The users with their roles are AdminRole.
	Read struct{ Node, Group string }
	// Short says that an answer to the process left somebody out of the group's members.
	Short struct{ Node, Group string }
	// Sent is a write at the moment in which its body went onto the connection. It is
	// numbered from 1.
	Sent struct {
		Node, Group, Name, Description string
		Number                         int
		Members                        []string
	}
	// SentRole is a write that sets the role of one user, at the same moment. Its number is
	// one of those of Sent.
	SentRole struct {
		Node, User, Role string
		Number           int
	}
	// Harm says that the server did more than a write asked for.
	Harm struct{ Number int }
	// Carried says that the server carried a write out, perhaps for a second time.
	Carried struct{ Number int }
	// PassBegan is the beginning of a pass. A person's approval may lift guards for it. It may
	// be about one person only.
	PassBegan struct {
		Node     string
		Pass     int
		Approved bool
		OfOne    bool
	}
	// PassEnded is the end of a pass, with what its report says.
	PassEnded struct {
		Node           string
		Pass           int
		ID             string // of the report
		Result         string
		Exit           int
		Early, Faulted bool // asked for by somebody; a fault hit one of its requests
		Done, Failed   []Change
		Left           int  // changes that are left
		Journaled      bool // the journal has the report
		HasJournal     bool
		Errors, Guards []string
		Counted        Counters
	}
	// Counters are the memberships that the metrics of a process have counted since it began.
	Counters struct{ Added, Removed, NotAdded, NotRemoved int }
	// Leads says that the process leads until then, at the longest.
	Leads struct {
		Node  string
		Until time.Time
	}
	// InForce are the settings of a process from then on.
	InForce struct {
		Node string
		Settings
	}
	// Calm says that nothing changes from then on, and that nothing fails.
	Calm struct{}
)

// Change is one membership of ClearML, added or removed.
type Change struct {
	Group, User string
	Add         bool
}

// Settings are what the oracle must know of the configuration.
type Settings struct {
	FullPath         bool
	Mapping          map[string][]string // claim name to names of user groups
	AdminGroups      []string
	AdminRole        string // Keycloak's role of administrators; empty: none
	AdminVia         string // what makes administrators in ClearML: group, role or both
	Self             string // the id that groupsync has in ClearML
	Protected        []string
	Exceptions       []Exception
	Grace, GoneGrace time.Duration
	Floor            int
	MaxAge           time.Duration
}

// Exception keeps one person's memberships until a time.
type Exception struct {
	User  string
	Until time.Time
}

// Entry is a fact with its time.
type Entry struct {
	At   time.Time
	What any
}

// Log is the list of facts in the order of their times.
type Log struct {
	mu      sync.Mutex
	entries []Entry
}

// Add enters what happens now.
func (l *Log) Add(what any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, Entry{time.Now(), what})
}

// Take returns the facts that were entered since the last Take.
func (l *Log) Take() []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.entries
	l.entries = nil
	return taken
}
