// Package history is the log of everything that happened in a simulated world. It is a list of
// facts, each with its virtual time. The models of Keycloak and of ClearML write it, and so
// does the code that drives the daemon. The oracle judges from the log alone.
package history

import (
	"sync"
	"time"
)

// Facts about Keycloak. They are true even if the answers of Keycloak differ.
type (
	// Account is the new state of an account.
	Account struct {
		ID, Username, Email, Federation string
		Enabled, Service                bool
	}
	// AccountGone says that Keycloak no longer has the account. Misread says that Keycloak
	// deleted it only because LDAP showed too little: the person is still there.
	AccountGone struct {
		ID      string
		Misread bool
	}
	// Group is the new state of a group of the realm.
	Group struct{ ID, Name, Path, Parent string }
	// GroupGone says that the realm no longer has the group.
	GroupGone struct{ ID string }
	// Claim says whether a token of the account holds the group.
	Claim struct {
		Account, Group string
		In             bool
	}
	// Role says whether an account or a group holds the role of administrators, itself or by a
	// role that contains it. The members of such a group, and of the groups below it, hold the
	// role too.
	Role struct {
		Holder string // id of an account or of a group
		In     bool
	}
	// Blind says whether a federation answers but shows nobody.
	Blind struct {
		Federation string
		Is         bool
	}
	// Listed says whether the group's member list shows the account when nothing fails.
	Listed struct {
		Account, Group string
		In             bool
	}
)

// Facts about ClearML.
type (
	// User is the new state of a user. Kept is the id that ClearML keeps of the sign-in by
	// Keycloak. Role is the role in ClearML.
	User struct {
		ID, Name, Email, Kept, Role string
		Keycloak, Other, Service    bool // has signed in by Keycloak; by something else; is a service account
	}
	// UserGone says that ClearML no longer has the user.
	UserGone struct{ ID string }
	// UserGroup is the new state of a user group.
	UserGroup struct {
		ID, Name, Description string
		System, Assignable    bool
	}
	// UserGroupGone says that ClearML no longer has the user group.
	UserGroupGone struct{ ID string }
	// Member says that a user became a member, or no longer is one. By is "login", "person",
	// "tool", "setup" or Writer.
	Member struct {
		Group, User string
		In          bool
		By          string
		Write       int // number of the Sent that caused it; 0: groupsync did not cause it
	}
)

// AdminRole is the id of the user group that stands for ClearML's role admin.
const AdminRole = "role:admin"

// Writer is the Member.By of groupsync.
const Writer = "groupsync"

// Facts about what groupsync did.
type (
	// Read says that the server put together an answer with members: of that group, or of all
	// groups if Group is empty. An answer with the users and their roles has Group AdminRole.
	Read struct{ Node, Group string }
	// Short says that an answer to the process lacked members of the group.
	Short struct{ Node, Group string }
	// Sent is a write at the moment in which its body went onto the connection. The numbers
	// begin at 1.
	Sent struct {
		Node, Group, Name, Description string
		Number                         int
		Members                        []string
	}
	// SentRole is a write that sets the role of one user, at the same moment. It shares the
	// numbers with Sent.
	SentRole struct {
		Node, User, Role string
		Number           int
	}
	// Harm says that the server did more than a write asked for.
	Harm struct{ Number int }
	// Carried says that the server carried out a write, perhaps for a second time.
	Carried struct{ Number int }
	// PassBegan is the beginning of a pass. Approved says that a person's approval may lift
	// guards for it. OfOne says that it is the pass of one person.
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
	// Counters are the memberships that the metrics of a process have counted since the
	// process began.
	Counters struct{ Added, Removed, NotAdded, NotRemoved int }
	// Leads says that the process is the leader, at most until that time.
	Leads struct {
		Node  string
		Until time.Time
	}
	// InForce holds the settings of a process from now on.
	InForce struct {
		Node string
		Settings
	}
	// Calm says that from now on nothing changes and nothing fails.
	Calm struct{}
)

// Change is one membership of ClearML, added or removed.
type Change struct {
	Group, User string
	Add         bool
}

// Settings hold the configuration that the oracle needs.
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
	HidesEmails      bool // accounts may share an email, and a federation can hide one of them
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

// Add enters a fact with the present time.
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
