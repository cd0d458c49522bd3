package source

import (
	"slices"
	"strings"
)

// Why is the reason why an account does or does not belong in a user group.
type Why string

// The values of Why. Only the first three are reasons of a removal in a pass.
const (
	NotMember Why = "not_member" // the account is known and enabled, and a member of none of the sources
	Disabled  Why = "disabled"   // the account is disabled
	Gone      Why = "gone"       // the realm no longer has the account
	Member    Why = "member"     // the account is a member of a source: the reason of a grant
	Restored  Why = "restored"   // an operator reverts a change of an earlier pass
)

// GoneBy says what ClearML keeps of a person who is gone from the realm.
type GoneBy string

// The values of GoneBy.
const (
	NotGone GoneBy = ""      // the person is not gone
	ByID    GoneBy = "id"    // an account id, which the realm no longer has
	ByEmail GoneBy = "email" // only the email
)

// Question asks the person's own side about one change that a plan proposes.
type Question struct {
	Group, User string // ids of the user group and of the user in ClearML
	Grant       bool   // false: a removal
	// Accounts holds, for a grant, the one account. For a removal, it holds every candidate:
	// every account that could be the person.
	Accounts []User
	GoneBy   GoneBy // for a removal: the person, or one of the kept account ids, is gone from the realm

	// Sources are the Keycloak groups that feed the user group. A grant leaves out the
	// groups whose claim name collides, if another source or the role lists the account.
	Sources []Group

	Role string // the admin role, if that feeds the user group too

	// ByEmail says that the accounts were found by the person's email: ClearML keeps no id of
	// theirs.
	ByEmail bool
}

// OwnSides returns the sets of groups for which the second look must ask the own side of each
// enabled federated account: the question's sources, and the groups whose members hold the
// role. roles are the holders from the second read.
func (q Question) OwnSides(c Catalog, roles map[string]*RoleHolders) [][]Group {
	sets := [][]Group{q.Sources}
	if role := roles[q.Role]; role != nil && q.Role != "" {
		sets = append(sets, c.groupsOf(role.Groups))
	}
	return sets
}

// Probe is one federation's answer to a look-up of a name that no account can have.
type Probe struct {
	Federation Federation
	Up         bool
	Trusted    bool   // keycloak.trusted_federations names the federation: its people are judged even if it is not up
	Detail     string // why the federation is not up, in words
}

// Silent reports whether the federation is not up, and is switched off or has never answered
// a probe. Such a federation blocks only people who are possibly its own (see Blocks). A
// federation that vanished during the pass is not silent: any person may have come from it,
// and its people vanished together with it.
func (p Probe) Silent() bool {
	return !p.Up && !p.Federation.Vanished && (!p.Federation.Enabled || !p.Federation.Answered)
}

// answersCount reports whether Keycloak's answers about the federation's people count.
func (p Probe) answersCount() bool { return p.Up || p.Trusted }

// mergeProbes returns one probe for each federation, sorted by id. A federation is up only
// if all its probes were up.
func mergeProbes(a, b []Probe) []Probe {
	all := slices.Concat(a, b)
	slices.SortStableFunc(all, func(x, y Probe) int { return strings.Compare(x.Federation.ID, y.Federation.ID) })
	var merged []Probe
	for _, p := range all {
		if n := len(merged); n > 0 && merged[n-1].Federation.ID == p.Federation.ID {
			if merged[n-1].Up {
				merged[n-1] = p
			}
			continue
		}
		merged = append(merged, p)
	}
	return merged
}

// Blocks returns the first federation that may have a person whom a look-up did not find.
// Such a person does not count as gone. A federation that is not up and not trusted blocks
// everybody. The exception is a silent federation: it blocks only people who have no kept id
// of Keycloak's form, and people who have a kept id of its own form.
func Blocks(p Person, probes []Probe) (Probe, bool) {
	for _, probe := range probes {
		if probe.answersCount() {
			continue
		}
		own := func(id string) bool { return strings.HasPrefix(id, "f:"+probe.Federation.ID+":") }
		if !probe.Silent() || !slices.ContainsFunc(p.IDs, IsAccountID) || slices.ContainsFunc(p.IDs, own) {
			return probe, true
		}
	}
	return Probe{}, false
}

// Account is the answer to a read of one account by its id.
type Account struct {
	Found bool
	User  User
}

// Own is the answer of one account's own side for one group name.
type Own struct {
	Count int // number of the account's groups whose names contain the name; not from Keycloak's user cache

	// Cached are the ids of the account's groups in Keycloak's user cache. They are read
	// only if Count does not decide whether the account is in a source.
	Cached []string
	Asked  bool // Cached was read
}

// OwnKey is the key of SecondLook.Own.
type OwnKey struct{ Account, Name string }

// Held is the key of SecondLook.Effective.
type Held struct{ Account, Role string }

// SecondLook is the result of the second look at the realm. A reader fills in the fields that
// the questions need. A failed read is an error of the look, or an entry of Failed. It is
// never an empty entry of another field.
type SecondLook struct {
	Probes     []Probe                 // one for each probed federation; not up if any of its probes was not up
	Members    map[string][]User       // by group id: the direct members, read again
	Renamed    map[string]bool         // by group id: after Members was read, the group had another name or path than in the snapshot
	Roles      map[string]*RoleHolders // by name, read again
	Accounts   map[string]Account      // by id, for disabled accounts, and for local accounts that a removal is about
	DisabledDB map[string]bool         // ids that the database itself lists as disabled
	Own        map[OwnKey]Own          // for federated accounts
	Effective  map[Held]bool           // whether the account holds the role, in any way
	Failed     map[string]string       // by account id: why its own side could not be read
	Federated  bool                    // the realm has, or had, federations
}

// Evidence is the proof for one change, and names that change. Only Weigh and Recorded make
// valid evidence. The zero value is not valid (see Valid).
type Evidence struct {
	group, user string
	grant       bool
	why         Why
	text        string
	waits       bool
	byEmail     bool
}

// Recorded returns the evidence for reverting one change of an earlier pass, which the
// report of that pass lists. grant is the direction of the reverting change. failed says
// that the write of the earlier pass failed, but may have taken effect. The evidence says
// nothing about Keycloak, so only a restore may use it.
func Recorded(pass, group, user string, grant, failed bool) Evidence {
	did := "added"
	if grant {
		did = "removed"
	}
	if failed {
		did = "may have " + did
	}
	return Evidence{group: group, user: user, grant: grant, why: Restored, text: "the report of pass " + pass + " says that groupsync " + did + " the person"}
}

// Valid reports whether there is evidence. The zero value is not valid.
func (e Evidence) Valid() bool { return e.why != "" }

// For reports whether the evidence is for that change: the ids of the user group and of the
// user in ClearML, and the direction.
func (e Evidence) For(group, user string, grant bool) bool {
	return e.Valid() && e.group == group && e.user == user && e.grant == grant
}

// Why returns the reason that the evidence proves.
func (e Evidence) Why() Why { return e.why }

// String returns the evidence in words, for the audit line and the report. The text names no
// person.
func (e Evidence) String() string { return e.text }

// Waits reports whether the removal waits for guards.federation_grace: every pass must want
// it for that long. It waits if it relies on the answer of a federation or an organization.
// It also waits if a person is gone from a realm with federations.
func (e Evidence) Waits() bool { return e.waits }

// ByEmail reports whether the person was looked up by the email only. Then every pass must
// want the removal for guards.gone_grace.
func (e Evidence) ByEmail() bool { return e.byEmail }

// Denial says why there is no evidence for a change.
type Denial string

// The values of Denial.
const (
	Proved       Denial = ""        // there is evidence
	HiddenByList Denial = "hides"   // the list of members or holders does not show the account, the own side does: the user keeps the membership
	OnlyInList   Denial = "shows"   // only the list of members or holders shows the account: nothing is granted
	Away         Denial = "away"    // a federation whose answer counts is not up
	Unclear      Denial = "unclear" // the second look disagrees, or was not possible
)

// Answer is the answer to one question: either valid Evidence, or a Denial with its Doubt.
type Answer struct {
	group, user string
	grant       bool

	Evidence   Evidence
	Denial     Denial
	Doubt      string // why there is no evidence, in words that name no person; empty if and only if Evidence is valid
	Federation string // id of the federation that is not up; set for Away
	Stale      bool   // Keycloak's user cache differs from the fresh answer for the account
	Enabled    bool   // the question says that an account is disabled, and the second look finds it enabled
}

// For reports whether the answer is for that change.
func (a Answer) For(group, user string, grant bool) bool {
	return a.group == group && a.user == user && a.grant == grant
}

// Confirmation is the outcome of a second look.
type Confirmation struct {
	Answers []Answer // one for each question, in the questions' order
	Probes  []Probe  // sorted by federation id; empty if no probe was needed
}

// Away returns the probes that were not up, except those of trusted federations.
func (c Confirmation) Away() []Probe {
	return slices.DeleteFunc(slices.Clone(c.Probes), Probe.answersCount)
}
