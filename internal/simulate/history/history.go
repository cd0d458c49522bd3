// Package history is the log of everything that happened in a simulated world. The log is a list
// of facts, each with its virtual time. The models of Keycloak and ClearML add facts to the log,
// and so does the code that runs the daemon. After the simulation the oracle (package oracle)
// reads the log and decides whether everything that groupsync did was right. The log is all that
// the oracle reads.
package history

import (
	"sync"
	"time"
)

// Facts about Keycloak. A fact is the true state of the model. An answer of Keycloak can differ
// from it, for example while LDAP is away.
type (
	// Account is the new state of an account.
	Account struct {
		ID, Username, Email, Federation string
		Enabled, Service                bool
	}
	// AccountGone says that Keycloak no longer has the account. Misread is true if Keycloak
	// deleted the account although the person is still in LDAP, because LDAP did not show the
	// person.
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
	// Role says whether an account or a group was given the role of administrators, or a role
	// that contains it. If the holder is a group, the members of the group, and of the groups
	// below, hold the role too.
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
	// User is the new state of a user. Kept is the account id that ClearML has stored at a sign-in
	// through Keycloak. (It is not about members whom a rule keeps.) Role is the role in ClearML.
	User struct {
		ID, Name, Email, Kept, Role string
		Keycloak, Other, Service    bool // has signed in through Keycloak; has signed in through another provider; is a service account
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
	// Member says that a user became a member of the user group Group, or no longer is one. By
	// says what made the change: "login" (a sign-in), "person" (somebody in ClearML's interface),
	// "tool" (another program), "setup" (the begin of the schedule) or Writer (groupsync).
	Member struct {
		Group, User string
		In          bool
		By          string
		Write       int // number of the Sent or SentRole that caused the change; 0: groupsync did not cause it
	}
)

// AdminRole is the id of a user group that exists only in the log. Its members are the users with
// ClearML's role admin, so that the oracle can judge the role as it judges a group.
const AdminRole = "role:admin"

// Writer is the value of Member.By for a change that groupsync made.
const Writer = "groupsync"

// Facts about what groupsync did.
type (
	// Read says that the model of ClearML answered the process Node with the members of Group. If
	// Group is empty, the answer has the members of all groups. If Group is AdminRole, the answer
	// has the users and their roles.
	Read struct{ Node, Group string }
	// Short says that an answer to the process Node lacked members of the group.
	Short struct{ Node, Group string }
	// Sent is a write of a user group. Its time is the moment in which the body of the request
	// went onto the connection. Number counts the writes from 1.
	Sent struct {
		Node, Group, Name, Description string
		Number                         int
		Members                        []string
	}
	// SentRole is a write that sets the role of one user. Time and Number mean the same as for
	// Sent. The numbers of Sent and SentRole are one sequence.
	SentRole struct {
		Node, User, Role string
		Number           int
	}
	// Harm says that the server changed more than the write with this number asked for.
	Harm struct{ Number int }
	// Carried says that the server carried out the write with this number, perhaps for a second
	// time.
	Carried struct{ Number int }
	// PassBegan is the beginning of a pass. Approved is true if the pass has an approval, which
	// may lift guards. OfOne is true if the pass is about one person.
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
		ID             string // the id in the report of the pass
		Result         string
		Exit           int
		Early, Faulted bool // the pass ran outside the schedule; a fault hit one of its requests
		Done, Failed   []Change
		Left           int  // number of changes that the pass planned and did not make
		Journaled      bool // the journal has the report
		HasJournal     bool // the process keeps a journal
		Errors, Guards []string
		Counted        Counters
	}
	// Counters are numbers of memberships that the metrics of a process have counted since the
	// process began. NotAdded and NotRemoved count the memberships whose write failed.
	Counters struct{ Added, Removed, NotAdded, NotRemoved int }
	// Leads says that the process Node is the leader, at most until the time Until.
	Leads struct {
		Node  string
		Until time.Time
	}
	// InForce says that the process Node uses these settings from now on.
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
	AdminRole        string // name of Keycloak's role of administrators (admins.role); empty: none; the constant AdminRole is about ClearML's role
	AdminVia         string // what makes administrators in ClearML: group, role or both
	Self             string // id of groupsync's own ClearML user
	Protected        []string
	Exceptions       []Exception
	Grace, GoneGrace time.Duration
	Floor            int
	MaxAge           time.Duration
	HidesEmails      bool // several accounts may have one email, and the realm has a federation, which can hide a second account
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

// Add adds a fact with the current virtual time.
func (l *Log) Add(what any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, Entry{time.Now(), what})
}

// Take returns the facts that were added since the last Take.
func (l *Log) Take() []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.entries
	l.entries = nil
	return taken
}
