package source

import (
	"slices"
	"strings"
)

// Why says for what reason an account is out of a user group, or in.
type Why string

// The reasons there are. A removal is made for one of the first three only.
const (
	NotMember Why = "not_member" // the account is known and enabled, and in none of the sources
	Disabled  Why = "disabled"   // the account is disabled
	Gone      Why = "gone"       // the realm has the account no more
	Member    Why = "member"     // the account is in a source: the reason of a grant
	Restored  Why = "restored"   // an operator takes back what an earlier pass did
)

// GoneBy says how the other side knows a person whom the realm has no more.
type GoneBy string

// The ways there are.
const (
	NotGone GoneBy = ""      // the person is not gone
	ByID    GoneBy = "id"    // by the account's id, which the realm has no more
	ByEmail GoneBy = "email" // by the email only
)

// Question is one change that a plan proposes, put to the person's own side.
type Question struct {
	Group, User string // ids of the user group and of the user on the other side
	Grant       bool   // false: a removal
	// Accounts are, for a grant, the one account; for a removal, every account that
	// could be the person.
	Accounts []User
	GoneBy   GoneBy  // removals: the person, or one of the accounts, is gone from the realm
	Sources  []Group // every Keycloak group that feeds the user group, for a grant without those whose name collides
	Role     string  // the admin role, if that feeds the user group too
}

// Probe is one federation's answer to a look-up of a name that nobody can have.
type Probe struct {
	Federation Federation
	Up         bool
	Trusted    bool   // keycloak.trusted_federations names it: its silence means nothing
	Detail     string // why it is not up, for a person to read
}

// Silent reports that the federation is not up and has no say about people who are
// not surely its own: it is switched off, or has never answered a probe. A federation
// that vanished during the pass may have had anybody: its people vanished with it.
func (p Probe) Silent() bool {
	return !p.Up && !p.Federation.Vanished && (!p.Federation.Enabled || !p.Federation.Answered)
}

// speaks reports whether what Keycloak says of the federation's people counts.
func (p Probe) speaks() bool { return p.Up || p.Trusted }

// mergeProbes returns one probe a federation, sorted by id. A federation is up only
// if it was up in all of them.
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

// Blocks returns the first federation that keeps an empty look-up from saying that
// the person is gone: one that is away may have the person. A silent federation blocks
// only people whom it may have had: those without a kept id of Keycloak's form, and
// those whose kept id is of the federation's own form.
func Blocks(p Person, probes []Probe) (Probe, bool) {
	for _, probe := range probes {
		if probe.speaks() {
			continue
		}
		own := func(id string) bool { return strings.HasPrefix(id, "f:"+probe.Federation.ID+":") }
		if !probe.Silent() || !slices.ContainsFunc(p.IDs, IsAccountID) || slices.ContainsFunc(p.IDs, own) {
			return probe, true
		}
	}
	return Probe{}, false
}

// Account is a reading of one account by its id.
type Account struct {
	Found bool
	User  User
}

// Own is what the realm computes from one account's own side, for one name.
type Own struct {
	Count int // groups of the account whose names contain the name, read past Keycloak's user cache

	// Cached are the ids of the account's groups as the user cache has them. They
	// are asked for only where Count alone decides nothing.
	Cached []string
	Asked  bool // Cached was asked for
}

// OwnKey names one entry of Second.Own.
type OwnKey struct{ Account, Name string }

// Held names one entry of Second.Effective.
type Held struct{ Account, Role string }

// Second is what a second look at the realm found. A reader fills in what the
// questions need. What it could not read is an error of the look, or an entry of
// Failed; it is never an empty entry here.
type Second struct {
	Probes     []Probe                 // each federation that was probed, once; not up if any of its probes was not
	Members    map[string][]User       // by group id: the direct members, read again
	Roles      map[string]*RoleHolders // by name, read again
	Accounts   map[string]Account      // by id, for accounts that are disabled, and local ones that are to be removed
	DisabledDB map[string]bool         // ids that the database itself lists as disabled
	Own        map[OwnKey]Own          // for accounts of federations
	Effective  map[Held]bool           // whether the account holds the role in effect
	Failed     map[string]string       // by account id: why its own side could not be read
	Federated  bool                    // the realm has, or had, federations
}

// Evidence is what bears out one change. Only Weigh and Recorded make it; the zero value
// is none, and Valid tells. It names the change that it is for.
type Evidence struct {
	group, user string
	grant       bool
	why         Why
	text        string
	waits       bool
	byEmail     bool
}

// Recorded returns the evidence for taking back one change of an earlier pass: the report
// of that pass has the change. grant is the direction of the change that takes it back.
// failed says that the write of the earlier pass failed and may have been made all the same.
// The evidence says nothing about Keycloak, so only a restore may rest on it.
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

// Valid reports whether the evidence is any.
func (e Evidence) Valid() bool { return e.why != "" }

// For reports whether the evidence is for that change: the user group and the user
// by their ids on the other side, and the direction.
func (e Evidence) For(group, user string, grant bool) bool {
	return e.Valid() && e.group == group && e.user == user && e.grant == grant
}

// Why returns the reason that the evidence bears out.
func (e Evidence) Why() Why { return e.why }

// String returns the evidence in words, for the audit line and the report. It names
// no person.
func (e Evidence) String() string { return e.text }

// Waits reports whether the removal rests on what a federation (or an organization)
// said, or on somebody's absence in a realm with federations, so that every pass
// must want it for guards.federation_grace.
func (e Evidence) Waits() bool { return e.waits }

// ByEmail reports whether the person was judged by the email only, so that every
// pass must want the removal for guards.gone_grace.
func (e Evidence) ByEmail() bool { return e.byEmail }

// Denial says why there is no evidence for a change.
type Denial string

// The denials there are.
const (
	Borne    Denial = ""        // there is evidence
	OwnHas   Denial = "hides"   // the person's own side has the group and the list hides it: in sync, nobody is removed
	OwnLacks Denial = "shows"   // only the list shows the person: nobody is granted anything
	Away     Denial = "away"    // a federation that has a say is not up
	Unclear  Denial = "unclear" // the second look disagrees, or could not be had
)

// Answer is the answer to one question: Evidence, or the doubt that denies it.
type Answer struct {
	group, user string
	grant       bool

	Evidence   Evidence
	Denial     Denial
	Doubt      string // in words, naming no person; empty exactly if Evidence is valid
	Federation string // id of the federation that is not up, for Away
	Stale      bool   // the account's cached side was seen to differ from the fresh one
	Enabled    bool   // a question named an account as disabled, and the second look finds it enabled
}

// For reports whether the answer is for that change.
func (a Answer) For(group, user string, grant bool) bool {
	return a.group == group && a.user == user && a.grant == grant
}

// Confirmation is the outcome of a second look.
type Confirmation struct {
	Answers []Answer // one a question, in the questions' order
	Probes  []Probe  // sorted by federation id; empty if none was needed
}

// Away returns the probes that were not up and whose silence counts.
func (c Confirmation) Away() []Probe {
	return slices.DeleteFunc(slices.Clone(c.Probes), Probe.speaks)
}
