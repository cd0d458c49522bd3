package match

import (
	"regexp"
	"slices"
	"strings"

	"groupsync/internal/source"
	"groupsync/internal/target"
)

// State says what groupsync knows of a person. The metric groupsync_users has the same values
// in its label `state`.
type State string

// The states of a ClearML user, except Pending, which is a state of an account. In Matched,
// Rekeyed, Ambiguous, GoneNow and NotAsked a pass may remove memberships (Removable). Every
// other state is a reason why the person keeps every membership.
const (
	Matched        State = "matched"         // one Keycloak account was found; Person.Sure says whether it is certain
	GoneNow        State = "gone"            // the person has signed in only through Keycloak, and Keycloak no longer has the account
	Rekeyed        State = "rekeyed"         // the account whose id ClearML keeps is gone, and another account has the email
	Ambiguous      State = "ambiguous"       // several accounts could be this person's, or several users could have one account
	Local          State = "local"           // ClearML shows no sign-in provider for the user
	OtherProvider  State = "other_provider"  // the person signs in by another provider than Keycloak
	Unknown        State = "unknown"         // no account was found, and ClearML returns no providers for any user, or no email of this user, so it is unknown whether the account is gone
	ServiceAccount State = "service_account" // not a person
	Protected      State = "protected"       // users.protect names the person
	Unresolved     State = "unresolved"      // a user group has a member with this id, and ClearML's user list has no such user
	Renamed        State = "renamed"         // the person's email has probably changed in Keycloak
	GoneKept       State = "gone_kept"       // gone from Keycloak, and users.gone is keep
	Self           State = "self"            // groupsync's own user
	Pending        State = "pending"         // an account that belongs in a user group and has no ClearML user
	NotAsked       State = ""                // no account that was read could be the person's, and the person has not been looked up completely
)

// Removable reports whether a pass may remove memberships of a person in that state, if there
// is evidence. In every other state the person keeps every membership, and the state is the
// reason.
func (s State) Removable() bool {
	switch s {
	case Matched, Ambiguous, Rekeyed, GoneNow, NotAsked:
		return true
	}
	return false
}

// Person is what the package finds out about one ClearML user.
type Person struct {
	State State

	// Accounts are the accounts that could be the person's, as sorted indexes in the users of
	// the source snapshot.
	Accounts []int
	Sure     bool          // Accounts has one account, which is certainly the person's; only then can the person get a grant
	GoneBy   source.GoneBy // if the person is gone: whether a kept id or only the email shows this
	Match    string        // how the accounts were found: "id" or "email"; empty: none was found

	// Ask is the look-up that a pass must make before it removes a membership of the person.
	// Its Key is empty if no look-up is needed.
	Ask source.Person

	// AskBeforeGrant says that a pass must make the look-up Ask also before it grants anything
	// to one of the accounts. The answer decides which user has the account.
	AskBeforeGrant bool
}

// People says which account belongs to which user. A source user is an account of the realm,
// and a target user is a ClearML user. Each is identified by the index in the snapshot of its
// side.
type People struct {
	persons   []Person // by target user
	owner     []int    // by source user: the target user who certainly has the account, or none
	claimants [][]int  // by source user: the target users who could have the account, sorted

	excepted [][]Exception // by target user: the exceptions that match the person; nil: no exceptions
	rules    Rules
}

const none = -1 // no user

// Person returns what is known of the target user with that index.
func (p People) Person(targetUser int) Person { return p.persons[targetUser] }

// Owner returns the index of the target user to whom the account with the index sourceUser
// certainly belongs. It returns false if there is no such target user.
func (p People) Owner(sourceUser int) (int, bool) {
	i := p.owner[sourceUser]
	return i, i != none
}

// Claimed reports whether the account with the index sourceUser could belong to some target user.
func (p People) Claimed(sourceUser int) bool { return len(p.claimants[sourceUser]) > 0 }

// EmailOnly reports whether only the email connects the person with the one account, and
// another account may have the same email.
func (p Person) EmailOnly() bool { return p.State == Matched && p.Match == "email" && !p.Sure }

// Claimants returns the indexes of the target users to whom the account with the index
// sourceUser could belong, sorted.
func (p People) Claimants(sourceUser int) []int { return p.claimants[sourceUser] }

// Who finds, for every ClearML user, the accounts that could be the user's. These are the
// accounts with an id that ClearML keeps from the sign-in provider. Only if no account has such an
// id, these are the accounts with the user's email. The user claims each of these accounts.
//
// Several users can claim one account. If exactly one of them claims the account by id, that
// user gets it, and the users who claim it by email are ambiguous. If several claim it by id,
// all who claim it are ambiguous. If nobody claims it by id and several by email, these are
// ambiguous. Names do not identify anybody, because any ClearML user can rename any other
// (reference/clearml-api.md).
func Who(src *source.Snapshot, tgt *target.Snapshot, r Rules) People {
	m := &matcher{People: People{rules: r}, src: src, tgt: tgt, byEmail: make(map[string][]int)}
	m.persons = make([]Person, len(tgt.Users()))
	m.owner = make([]int, len(src.Users()))
	m.claimants = make([][]int, len(src.Users()))
	for i := range m.owner {
		m.owner[i] = none
	}
	for i, a := range src.Users() {
		if a.Email != "" && !a.ServiceAccount {
			email := source.FoldEmail(a.Email)
			m.byEmail[email] = append(m.byEmail[email], i)
		}
	}
	for _, u := range tgt.Users() {
		m.providersReturned = m.providersReturned || u.Providers != nil
		for _, id := range r.KeptIDs(u) {
			_, known := src.UserIndex(id)
			m.otherIDs = m.otherIDs || known && !source.IsAccountID(id)
		}
	}
	for i, u := range tgt.Users() {
		m.persons[i] = m.person(u)
	}
	m.except()
	m.resolveClaims()
	return m.People
}

type matcher struct {
	People
	src               *source.Snapshot
	tgt               *target.Snapshot
	byEmail           map[string][]int // enabled and disabled accounts, by folded email
	providersReturned bool             // ClearML returned the sign-in provider of at least one user

	otherIDs bool // for some user, ClearML keeps the id of an account, and the id does not have the form of a Keycloak id
}

// person finds one user's accounts, without regard to other users' claims.
func (m *matcher) person(u target.User) Person {
	switch {
	case u.ServiceAccount:
		return Person{State: ServiceAccount}
	case !m.signedIn(u) && m.self(u):
		return Person{State: Self}
	case !m.signedIn(u) && m.protected(u, nil):
		return Person{State: Protected}
	case !m.signedIn(u) && len(u.Providers) == 0:
		return Person{State: Local}
	case !m.signedIn(u):
		return Person{State: OtherProvider}
	}
	p := m.accounts(u)
	switch {
	case slices.ContainsFunc(p.Accounts, func(a int) bool { return m.src.Users()[a].ServiceAccount }):
		return Person{State: ServiceAccount}
	case m.self(u):
		p.State, p.Ask = Self, source.Person{}
	case m.protected(u, p.Accounts):
		p.State, p.Ask = Protected, source.Person{}
	}
	return p
}

// signedIn reports whether Keycloak could have an account of the user: the user has signed in
// through clearml.provider, or ClearML returned no sign-in provider of any user.
func (m *matcher) signedIn(u target.User) bool {
	_, ours := u.Providers[m.rules.Provider]
	return ours || !m.providersReturned
}

func (m *matcher) self(u target.User) bool { return u.ID == m.tgt.Identity().User }

func (m *matcher) protected(u target.User, accounts []int) bool {
	if len(m.rules.protect) == 0 {
		return false
	}
	return slices.ContainsFunc(m.names(u, accounts), func(n string) bool {
		return n != "" && anyMatch(m.rules.protect, strings.ToLower(n))
	})
}

// names returns the emails and ids of a person, with which the globs of users.protect are
// compared. accounts are the person's.
func (m *matcher) names(u target.User, accounts []int) []string {
	names := []string{u.ID, u.Email}
	for _, a := range accounts {
		names = append(names, m.src.Users()[a].ID, m.src.Users()[a].Email)
	}
	return names
}

// except finds the exceptions of each user.
func (m *matcher) except() {
	if len(m.rules.exceptions) == 0 {
		return
	}
	m.excepted = make([][]Exception, len(m.persons))
	for i, u := range m.tgt.Users() {
		m.excepted[i] = m.rules.matching(m.names(u, m.persons[i].Accounts))
	}
}

// accounts finds the accounts of a user who may have signed in through Keycloak.
func (m *matcher) accounts(u target.User) Person {
	kept := m.rules.KeptIDs(u)
	found, asked := m.src.Found(u.ID)
	complete := asked && found.Doubt == ""
	if byID := m.known(kept); len(byID) > 0 {
		p := Person{Accounts: byID, Match: "id", Sure: len(byID) == 1, State: Matched}
		switch {
		case len(byID) > 1:
			p.State = Ambiguous
		case len(kept) > 1 && !complete: // another kept id may belong to a second account of the person
			p.Sure, p.AskBeforeGrant = false, true
			p.Ask = source.Person{Key: u.ID, IDs: kept, Email: u.Email}
		}
		return p
	}
	var byEmail []int
	if u.Email != "" {
		byEmail = m.byEmail[source.FoldEmail(u.Email)]
	}
	p := Person{Accounts: byEmail, Match: "email"}
	if !complete {
		p.Ask = source.Person{Key: u.ID, IDs: kept, Email: u.Email}
	}
	if len(byEmail) == 0 {
		p.Match = ""
		return m.absent(p, u, kept, complete)
	}
	switch {
	case m.wasAccount(kept) && complete:
		p.State, p.GoneBy = Rekeyed, source.ByID
	case len(kept) > 0 && !complete: // an account that was not read may have the kept id
		p.State, p.AskBeforeGrant = Ambiguous, true
	case len(byEmail) > 1:
		p.State = Ambiguous
	case m.src.Catalog().HidesEmails(): // even a complete look-up does not show that there is no other account
		p.State, p.AskBeforeGrant = Matched, !complete
	case complete || !m.src.Catalog().DuplicateEmails():
		p.State, p.Sure = Matched, true
		p.Ask = source.Person{}
	default: // another account may have the same email
		p.State, p.AskBeforeGrant = Matched, true
	}
	return p
}

// wasAccount reports whether one of the kept values was probably the id of an account. The
// caller has found that no account has such an id now. A value with the form of a Keycloak id
// counts. If otherIDs is true, account ids of this realm can have any form, and every value
// counts. Any other value may be a username and proves nothing.
func (m *matcher) wasAccount(kept []string) bool {
	return slices.ContainsFunc(kept, func(id string) bool { return m.otherIDs || source.IsAccountID(id) })
}

// known returns the indexes of the snapshot's accounts with those ids, sorted.
func (m *matcher) known(ids []string) []int {
	var found []int
	for _, id := range ids {
		if i, ok := m.src.UserIndex(id); ok && !slices.Contains(found, i) {
			found = append(found, i)
		}
	}
	slices.Sort(found)
	return found
}

// absent decides the state of a user for whom no account was found among those that were read.
// complete says that a look-up of the user is complete. The caller has checked that Keycloak
// could have an account of the user (signedIn).
func (m *matcher) absent(p Person, u target.User, kept []string, complete bool) Person {
	switch {
	case len(kept) == 0 && u.Email == "":
		p.State, p.Ask = Unknown, source.Person{} // there is no id and no email to look up
	case !complete:
		p.State = NotAsked
	case !m.providersReturned:
		p.State = Unknown
	case len(u.Providers) > 1:
		p.State = OtherProvider // the person may still be able to sign in through the other provider
	case u.Email == "":
		p.State = Unknown // the person can have an account with another id, and only an email could find that account
	case m.rules.KeepGone:
		p.State = GoneKept
	default:
		p.State, p.GoneBy = GoneNow, source.ByEmail
		if m.wasAccount(kept) {
			p.GoneBy = source.ByID
		}
	}
	return p
}

// resolveClaims decides between users who claim the same account, as Who describes, and sets
// the owner of each account.
func (m *matcher) resolveClaims() {
	type claims struct{ byID, byEmail []int }
	all := make([]claims, len(m.owner))
	for i, p := range m.persons {
		for _, a := range p.Accounts {
			m.claimants[a] = append(m.claimants[a], i)
			if p.Match == "id" {
				all[a].byID = append(all[a].byID, i)
			} else {
				all[a].byEmail = append(all[a].byEmail, i)
			}
		}
	}
	for _, c := range all {
		contested := c.byEmail // if one user claims the account by id, only the claims by email are contested
		if len(c.byID) > 1 {
			contested = slices.Concat(c.byID, c.byEmail)
		} else if len(c.byID) == 0 && len(c.byEmail) < 2 {
			contested = nil
		}
		for _, i := range contested {
			p := &m.persons[i]
			p.Sure = false
			if p.State == Matched {
				p.State = Ambiguous
			}
		}
	}
	for i, p := range m.persons {
		if p.Sure {
			m.owner[p.Accounts[0]] = i
		}
	}
}

// keptID matches an account id of Keycloak's database, or of a federation that does not import
// its accounts. timestamp matches a time, or a number that can be a time. If ClearML keeps no id
// from a sign-in, it keeps only the time of the sign-in in this place.
var (
	keptID    = regexp.MustCompile(`^(f:[^:]+:.+|[0-9A-Za-z][0-9A-Za-z_-]*)$`)
	timestamp = regexp.MustCompile(`^(\d{4}-\d{2}-\d{2}.*|\d{8}T\d{6}.*|[0-9.]+)$`)
)

// KeptIDs returns the values that ClearML keeps for the sign-in provider and that can be a
// Keycloak id. It leaves out times and numbers: ClearML also keeps these for a sign-in, and
// they identify nobody.
func (r Rules) KeptIDs(u target.User) []string {
	var ids []string
	for _, v := range u.Providers[r.Provider] {
		if keptID.MatchString(v) && !timestamp.MatchString(v) {
			ids = append(ids, v)
		}
	}
	return ids
}

// Names returns the names of a user: the name, and the given name with the family name. If the
// user's email may have changed in Keycloak, HasName finds the account by these. The names are
// in lower case, with single blanks, and not empty.
func Names(u target.User) []string {
	return slices.DeleteFunc([]string{normal(u.Name), normal(u.GivenName + " " + u.FamilyName)}, func(n string) bool { return n == "" })
}

// HasName reports whether the account's username or full name is one of the names.
func HasName(a source.User, names []string) bool {
	return slices.Contains(names, normal(a.Username)) || slices.Contains(names, normal(a.FirstName+" "+a.LastName))
}

func normal(name string) string { return strings.ToLower(strings.Join(strings.Fields(name), " ")) }
