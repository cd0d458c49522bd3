// Package explain says why a person is or is not in a group. It takes the reasons from a
// reconcile.View: one reading of Keycloak and ClearML, with the decisions that a pass would make.
// Text writes only values that the Answer holds. docs/explain.md describes the JSON of an Answer,
// which stays stable.
//
// Keycloak says in two ways who is in a group. A group's member list names the accounts in the
// group. An account's own side names the groups of the account, as a login reads them.
package explain

import "time"

// Answer says why a person is or is not in ClearML groups, or what feeds a group and who is in
// it. No list is nil.
type Answer struct {
	User    string    `json:"user"`    // the person as the question names it; empty: the question is about a group
	Group   string    `json:"group"`   // the group as the question names it; empty: every group of the person
	At      time.Time `json:"at"`      // when both sides had been read, in UTC
	Person  *Person   `json:"person"`  // null: the question is about a group
	Groups  []Group   `json:"groups"`  // ClearML groups: first the fed ones, with the administrators last, and then the groups that nothing feeds
	Sources []Source  `json:"sources"` // the Keycloak groups that Group names, sorted by path
	Notes   []string  `json:"notes"`   // sentences about the limits of this answer
}

// Person is the person of an answer: the ClearML user and the Keycloak accounts.
type Person struct {
	State    string    `json:"state"` // a state of the metric groupsync_users; for an account without a possible ClearML user: pending, disabled, in_doubt, service_account or no_account
	Means    string    `json:"means"` // the state in a sentence
	ClearML  *User     `json:"clearml"`
	Keycloak []Account `json:"keycloak"` // every account that could be the person, sorted by id
	Doubt    string    `json:"doubt"`    // why accounts may be missing; empty: the list is complete
}

// User is a ClearML user.
type User struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Email     string   `json:"email"`
	Role      string   `json:"role"`
	Providers []string `json:"providers"` // sign-in providers that the user has used, sorted
	KeptIDs   []string `json:"kept_ids"`  // possible account ids: the values that ClearML keeps from sign-ins through clearml.provider
}

// Account is a Keycloak account that could be the person.
type Account struct {
	ID             string         `json:"id"`
	Username       string         `json:"username"`
	Email          string         `json:"email"`
	Enabled        bool           `json:"enabled"`
	ServiceAccount bool           `json:"service_account"`
	Federation     string         `json:"federation"`    // name of the federation; empty: a local account
	Match          string         `json:"match"`         // what links the account to the person's ClearML user: id or email; empty: nothing does, or there is no ClearML user
	Rivals         []string       `json:"rivals"`        // ids of other ClearML users who could be the account, sorted
	SameEmail      []Namesake     `json:"same_email"`    // other ClearML users who have the email and could not be the account
	PendingSince   *time.Time     `json:"pending_since"` // since when passes have counted the account as pending; null: the account is not pending, or the memory does not have the time
	Groups         []AccountGroup `json:"groups"`        // sorted by path
	AdminRole      *AdminRole     `json:"admin_role"`    // null: admins.role is empty, or was not read
	Doubt          string         `json:"doubt"`         // why groups may be missing; empty: the list is complete
}

// Namesake is a ClearML user who has the email of an account and is not that account.
type Namesake struct {
	ID    string `json:"id"`
	State string `json:"state"` // empty: not known, because Keycloak was not asked
}

// AccountGroup is a Keycloak group that the account has by its own side or by the member list.
type AccountGroup struct {
	Source
	Own  bool   `json:"own"`  // the account's own side has the group; Keycloak answers this from its user cache
	List string `json:"list"` // yes or no: whether the member list shows the account; not_read: the group feeds nothing, so its list was not read
}

// AdminRole says whether an account holds admins.role. The account holds the role if Keycloak lists
// the account as a holder, or if the account is in a group that gives the role.
type AdminRole struct {
	Name    string   `json:"name"`
	Held    bool     `json:"held"`
	Through []string `json:"through"` // paths of groups that give the role, and "direct" for the account itself or a composite role
}

// Source is a Keycloak group and the ClearML groups that it feeds.
type Source struct {
	ID    string   `json:"id"`
	Path  string   `json:"path"`
	Claim string   `json:"claim"` // the group's name in the token's claim
	Feeds []string `json:"feeds"` // names of the ClearML groups that the group feeds, sorted
	Unfed []string `json:"unfed"` // why the group feeds no ClearML group: no_target, excluded, builtin, not_assignable, duplicate, or a remark
}

// Group is a ClearML group with the people of the answer.
type Group struct {
	Name   string     `json:"name"`
	ID     string     `json:"id"`
	From   []Feeder   `json:"from"`   // the Keycloak groups that feed the group, sorted by path
	Role   string     `json:"role"`   // the admin role, if it feeds the group too
	Unfed  string     `json:"unfed"`  // why nothing feeds the group: no_source, builtin, not_assignable or duplicate
	Guards []Trip     `json:"guards"` // guards that concern the whole group
	People []Standing `json:"people"` // in an answer about a person, that person; else members by id, then additions, then pending people
}

// Feeder is a Keycloak group that feeds a ClearML group.
type Feeder struct {
	ID    string `json:"id"`
	Path  string `json:"path"`
	Claim string `json:"claim"`
	How   string `json:"how"` // why the group feeds the ClearML group: name (equal names), groups.mapping or admins.groups
}

// Trip is one trip of a guard. Its numbers count only the changes of this answer.
type Trip struct {
	Guard  string `json:"guard"`
	Detail string `json:"detail"`
}

// Status is the relation of a person to a ClearML group, in one word.
type Status string

// The values of Status.
const (
	InSync     Status = "in_sync"     // both ClearML and Keycloak have the person in the group
	Out        Status = "out"         // neither ClearML nor Keycloak has the person in the group
	Add        Status = "add"         // a pass adds the person, unless Guard withholds the change
	Remove     Status = "remove"      // a pass removes the person, unless Guard withholds the change
	Kept       Status = "kept"        // ClearML has the person in the group, Keycloak does not or may not, and a rule keeps the membership
	Pending    Status = "pending"     // Keycloak has the person in a source of the group, and the person has no ClearML user yet
	NotGranted Status = "not_granted" // Keycloak has an account in the group, but the account is disabled or may not be this person's
	Hidden     Status = "hidden"      // the person's own side has the group, and Keycloak's member list hides the person
	Shown      Status = "shown"       // only Keycloak's member list has the person; groupsync follows the own side, which does not have the group
	Frozen     Status = "frozen"      // a source is missing or cannot be read, so nothing is decided
	Unmanaged  Status = "unmanaged"   // nothing feeds the ClearML group, so groupsync does not change it
)

var statuses = []Status{InSync, Out, Add, Remove, Kept, Pending, NotGranted, Hidden, Shown, Frozen, Unmanaged}

// Standing is the relation of one person to one ClearML group, with the reason.
type Standing struct {
	ID       string     `json:"id"` // of the ClearML user; for a pending person, of the account
	Name     string     `json:"name"`
	Email    string     `json:"email"`
	Has      bool       `json:"has"`      // ClearML has the person in the group
	Wants    string     `json:"wants"`    // where the person belongs by Keycloak: in the group, out of it, or unknown
	Status   Status     `json:"status"`   //
	By       []string   `json:"by"`       // the sources that list an account of the person: paths of Keycloak groups, and "role NAME"
	Why      string     `json:"why"`      // in a sentence
	Match    string     `json:"match"`    // for a change: how the person was matched, id or email
	Evidence string     `json:"evidence"` // for a change: what the person's own side said
	Doubt    string     `json:"doubt"`    // for a change: why there is no evidence
	Guard    string     `json:"guard"`    // for a change: the guard that withholds it; empty: no guard withholds it
	Detail   string     `json:"detail"`   // for a change that Guard withholds: what the guard reports about it
	Until    *time.Time `json:"until"`    // when the grace ends; null: the change does not wait for a grace, or no pass has proposed it yet
	Last     *Change    `json:"last"`     // the last change of the membership by a pass; null: the journal has none, or there is no journal
}

// Change is a change that an earlier pass made, from the journal.
type Change struct {
	Action     string    `json:"action"` // add or remove
	Pass       string    `json:"pass"`
	At         time.Time `json:"at"`          // start of the pass, in UTC
	ApprovedBy string    `json:"approved_by"` // who approved withheld changes of that pass; empty: nobody
	Why        string    `json:"why"`         // the reason in the report of that pass
	Match      string    `json:"match"`
	Evidence   string    `json:"evidence"`
	Call       string    `json:"call"` // ClearML's id of the call (meta.id); empty: not known
}
