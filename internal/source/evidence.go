package source

import (
	"slices"
	"strings"
)

// Why is the reason why an account does or does not belong in a user group.
type Why string

// The values of Why. A pass removes a membership only for one of the first three reasons.
const (
	NotMember Why = "not_member" // the account is known and enabled, and a member of none of the sources
	Disabled  Why = "disabled"   // the account is disabled
	Gone      Why = "gone"       // the realm no longer has the account
	Member    Why = "member"     // the account is a member of a source, or holds the admin role: the reason for a grant
	Restored  Why = "restored"   // an operator reverts a change of an earlier pass
)

// GoneBy says how groupsync knows that a person is gone from the realm: by an account id that
// ClearML keeps, or only by the email.
type GoneBy string

// The values of GoneBy.
const (
	NotGone GoneBy = ""      // the person is not gone
	ByID    GoneBy = "id"    // ClearML keeps an account id, and the realm no longer has an account with that id
	ByEmail GoneBy = "email" // ClearML keeps nothing that is certainly an account id, and the realm has no account with the email
)

// Question asks the second look whether one change that the plan proposes is right.
type Question struct {
	Group, User string // ids of the user group and of the user in ClearML
	Grant       bool   // true: the change adds the user; false: it removes the user
	// For a grant, Accounts holds the one account of the person. For a removal, Accounts holds
	// the candidates: every account that could be the person's.
	Accounts []User
	GoneBy   GoneBy // for a removal: not empty if the person, or an account id that ClearML keeps for the person, is gone from the realm

	// Sources are the Keycloak groups that feed the user group. A removal that a plan proposes has
	// all of them. If a removal has none and no role, the answer says only whether the accounts are
	// disabled or gone.
	// Groups collide if several groups have one name that is in admins.groups. If only groups that
	// collide list the account of a grant, Sources has them, and the guard "collision" withholds the
	// grant. If another source or the role lists the account, Sources leaves these groups out,
	// because they must not prove the grant.
	Sources []Group

	Role string // the admin role, if its holders belong in the user group too; empty: no role

	// ByEmail says that the accounts were found by the person's email, because ClearML keeps
	// no id of these accounts.
	ByEmail bool
}

// OwnSides returns the groups about which the second look asks for the own side of each enabled
// federated account. The first set holds the sources of the question, and the second set holds the
// groups that give the role. Weigh judges each set alone: is the account in a group of this set?
// roles holds the role's holders, which the second look has read before. If the question has no
// role, or roles has no entry for the role, there is no second set.
func (q Question) OwnSides(c Catalog, roles map[string]*RoleHolders) [][]Group {
	sets := [][]Group{q.Sources}
	if role := roles[q.Role]; role != nil && q.Role != "" {
		sets = append(sets, c.groupsOf(role.Groups))
	}
	return sets
}

// Probe is the result of a probe of one federation. A probe looks up a name that no account
// can have. If the federation answers that there is no such account, the federation is up.
type Probe struct {
	Federation Federation
	Up         bool
	Trusted    bool   // keycloak.trusted_federations names the federation: its people are judged even if it is not up
	Detail     string // why the federation is not up, in words
}

// Silent reports whether the federation is not up, and is switched off or has never answered a
// probe. A silent federation blocks only people who may come from it (see Blocks). A federation
// that vanished during the pass is not silent. Its people vanished together with it, so any
// missing person may have come from it.
func (p Probe) Silent() bool {
	return !p.Up && !p.Federation.Vanished && (!p.Federation.Enabled || !p.Federation.Answered)
}

// answersCount reports whether groupsync relies on Keycloak's answers about the federation's
// people.
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

// Blocks returns the first federation that may have the person although a look-up did not find
// the person. Such a federation blocks the person: groupsync does not treat the person as gone.
// The second result is false if no federation blocks the person.
//
// There are three cases:
//
//   - A federation that is up or trusted blocks nobody.
//   - A silent federation (see Probe.Silent) blocks the people for whom no kept id has the form
//     of a Keycloak id (IsAccountID). It also blocks those for whom ClearML keeps an id that begins
//     with "f:" and the federation's id.
//   - Every other federation blocks everybody.
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

// Own is the answer of one account's own side about one group name.
type Own struct {
	Count int // number of the account's groups whose names contain the group name; never from Keycloak's user cache

	// Cached are the ids of the account's groups, from Keycloak's user cache. They are read
	// only if Count does not decide whether the account is in a source (see Catalog.Tied).
	Cached []string
	Asked  bool // Cached was read
}

// OwnKey is the key of SecondLook.Own: the id of an account and the name of a group.
type OwnKey struct{ Account, Name string }

// Held is the key of SecondLook.Effective: the id of an account and the name of a role.
type Held struct{ Account, Role string }

// SecondLook holds what the second look has read. The reader fills in only what the
// questions need. If a read fails, the second look returns an error, or Failed has an entry.
// A failed read never leaves an empty entry in another field.
type SecondLook struct {
	Probes     []Probe                 // one for each probed federation; up only if all probes of the federation were up
	Members    map[string][]User       // by group id: the direct members, read again
	Renamed    map[string]bool         // by group id: after Members was read, the group had another name or path than in the snapshot
	Roles      map[string]*RoleHolders // by name, read again
	Accounts   map[string]Account      // by id: disabled accounts, and the local accounts of removals
	DisabledDB map[string]bool         // by account id: whether the account is disabled in Keycloak's own database
	Own        map[OwnKey]Own          // the own sides of federated accounts
	Effective  map[Held]bool           // whether the account holds the role, directly or through a group or a composite role
	Failed     map[string]string       // by account id: why a read about the account failed
	Federated  bool                    // the realm has, or had, federations
}

// Evidence is the proof that one change is right. It holds for that change only (see For).
// Only Weigh and Recorded make valid evidence. The zero value is not valid.
type Evidence struct {
	group, user string
	grant       bool
	why         Why
	text        string
	waits       bool
	byEmail     bool
}

// Recorded returns the evidence for reverting one change of an earlier pass. The report of
// that pass lists the change. grant is true if the restore adds the membership again, and
// false if it removes the membership. failed says that the write of the earlier pass failed,
// but may have taken effect. The evidence says nothing about Keycloak, so only a restore may
// use it.
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

// Valid reports whether the evidence proves a change. The zero value proves nothing.
func (e Evidence) Valid() bool { return e.why != "" }

// For reports whether the evidence is valid for that change. group and user are the ids of
// the user group and of the user in ClearML.
func (e Evidence) For(group, user string, grant bool) bool {
	return e.Valid() && e.group == group && e.user == user && e.grant == grant
}

// Why returns the reason that the evidence proves.
func (e Evidence) Why() Why { return e.why }

// String returns the evidence in words, for the audit log and the report. The text names no
// person.
func (e Evidence) String() string { return e.text }

// Waits reports whether the removal must wait: groupsync writes it only after every pass has
// proposed it for the time guards.federation_grace. A removal waits if its evidence relies on
// the answer of a federation, or if the person is gone from a realm with federations. It also
// waits if a federation may hide another account of the person. And it waits if the account is
// shown as disabled, but is not disabled in Keycloak's database: Keycloak shows the members of an
// organization that is switched off as disabled.
func (e Evidence) Waits() bool { return e.waits }

// ByEmail reports whether the evidence relies on a look-up by email only. groupsync writes such
// a removal only after every pass has proposed it for the time guards.gone_grace.
func (e Evidence) ByEmail() bool { return e.byEmail }

// Denial says why there is no evidence for a change.
type Denial string

// The values of Denial.
const (
	Proved       Denial = ""        // there is evidence
	HiddenByList Denial = "hides"   // the own side shows the account, and the list of members or holders does not: the user keeps the membership
	OnlyInList   Denial = "shows"   // the list of members or holders shows the account, and the own side does not: nothing is granted
	Away         Denial = "away"    // the answer depends on a federation that is not up
	Unclear      Denial = "unclear" // the second look disagrees with the first read, or was not possible
)

// Answer is the answer to one Question: either valid Evidence, or a Denial and a Doubt.
type Answer struct {
	group, user string
	grant       bool

	Evidence   Evidence
	Denial     Denial
	Doubt      string // why there is no evidence, in words that name no person; empty if and only if Evidence is valid
	Federation string // id of the federation that is not up; empty unless Denial is Away
	Stale      bool   // Keycloak's user cache differs from the fresh answer about the account, so the cache may be out of date
	Enabled    bool   // the question says that an account is disabled, and the second look finds it enabled
}

// For reports whether the answer is about that change. group and user are the ids of the
// user group and of the user in ClearML.
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
