package match

import (
	"regexp"
	"slices"
	"strings"

	"groupsync/internal/source"
	"groupsync/internal/target"
)

// State says what groupsync knows of a person; the values are those of the
// label `state` of groupsync_users.
type State string

// The states of a ClearML user. All but Matched and GoneNow are reasons why a
// person keeps every membership.
const (
	Matched        State = "matched"         // is one Keycloak user
	GoneNow        State = "gone"            // only ever signed in through Keycloak, which has them no more
	Local          State = "local"           // has no sign-in provider
	OtherProvider  State = "other_provider"  // signed in by another provider too
	Unknown        State = "unknown"         // nothing tells whether Keycloak ever knew them
	ServiceAccount State = "service_account" // not a person
	Protected      State = "protected"       // by users.protect
	Unresolved     State = "unresolved"      // a member id that the user list lacks
	Ambiguous      State = "ambiguous"       // several accounts could be this person
	Renamed        State = "renamed"         // probably a changed email
	GoneKept       State = "gone_kept"       // gone, and users.gone is keep
	Self           State = "self"            // groupsync itself
	Pending        State = "pending"         // a Keycloak member without a ClearML account
)

const none = -1

// People says who is who. The slices are parallel to the users of the
// snapshots from which it was made.
type People struct {
	toSource  []int32 // by target user: the source user, or none
	toTarget  []int32 // by source user: the target user, or none
	states    []State // by target user
	ambiguous []bool  // by source user
}

// State returns the state of the target user at that place.
func (p People) State(targetUser int) State { return p.states[targetUser] }

// Source returns the place of the source user who is that target user.
func (p People) Source(targetUser int) (int, bool) {
	i := p.toSource[targetUser]
	return int(i), i != none
}

// Target returns the place of the target user who is that source user.
func (p People) Target(sourceUser int) (int, bool) {
	i := p.toTarget[sourceUser]
	return int(i), i != none
}

// Ambiguous reports whether that source user is involved in a conflict.
func (p People) Ambiguous(sourceUser int) bool { return p.ambiguous[sourceUser] }

// Who matches the people of both sides: by the Keycloak id that ClearML keeps
// of the sign-in provider, else by email, case ignored. It is one to one: a
// conflict leaves all involved ambiguous, and so does an id that is one
// account's while the email is another's. Names identify nobody, since any
// ClearML user may rename any other (reference/clearml-api.md).
func Who(src *source.Snapshot, tgt *target.Snapshot, r Rules) People {
	users, accounts := tgt.Users(), src.Users()
	m := &matcher{
		src: src, tgt: tgt, rules: r,
		People: People{
			toSource: filled(len(users)), toTarget: filled(len(accounts)),
			states: make([]State, len(users)), ambiguous: make([]bool, len(accounts)),
		},
		conflict: make([]bool, len(users)),
	}
	m.link()
	m.unlinkConflicts()
	m.judge()
	return m.People
}

type matcher struct {
	People
	src      *source.Snapshot
	tgt      *target.Snapshot
	rules    Rules
	conflict []bool // by target user
}

func filled(n int) []int32 {
	s := make([]int32, n)
	for i := range s {
		s[i] = none
	}
	return s
}

// link finds each target user's candidates; more than one is a conflict.
func (m *matcher) link() {
	byEmail := make(map[string][]int32, len(m.src.Users()))
	for i, a := range m.src.Users() {
		if a.Email != "" && !a.ServiceAccount {
			email := strings.ToLower(a.Email)
			byEmail[email] = append(byEmail[email], int32(i))
		}
	}
	for i, u := range m.tgt.Users() {
		if u.ServiceAccount {
			continue
		}
		candidates := agreed(m.byID(u), byEmail[strings.ToLower(u.Email)])
		switch len(candidates) {
		case 0:
		case 1:
			m.toSource[i] = candidates[0]
		default:
			m.conflict[i] = true
			for _, c := range candidates {
				m.ambiguous[c] = true
			}
		}
	}
}

// agreed returns the accounts that a user may be: those that both the ids and
// the email name; where there are none, all that either names.
func agreed(ids, emails []int32) []int32 {
	both := slices.DeleteFunc(slices.Clone(ids), func(i int32) bool { return !slices.Contains(emails, i) })
	if len(both) > 0 {
		return both
	}
	return slices.Concat(ids, emails)
}

// byID returns the accounts whose ids ClearML keeps of the sign-in provider.
// An id that the realm has no longer counts as none.
func (m *matcher) byID(u target.User) []int32 {
	var found []int32
	for _, value := range u.Providers[m.rules.Provider] {
		if i, ok := m.src.UserIndex(value); ok && !slices.Contains(found, int32(i)) {
			found = append(found, int32(i))
		}
	}
	return found
}

// unlinkConflicts leaves one to one links only.
func (m *matcher) unlinkConflicts() {
	claimed := make([]bool, len(m.toTarget))
	for _, a := range m.toSource {
		if a == none {
			continue
		}
		m.ambiguous[a] = m.ambiguous[a] || claimed[a]
		claimed[a] = true
	}
	for i, a := range m.toSource {
		switch {
		case a == none:
		case m.ambiguous[a]:
			m.conflict[i], m.toSource[i] = true, none
		default:
			m.toTarget[a] = int32(i)
		}
	}
}

func (m *matcher) judge() {
	told := false // whether the server tells any sign-in provider
	for _, u := range m.tgt.Users() {
		told = told || u.Providers != nil
	}
	waiting := m.waitingNames()
	self := m.tgt.Identity().User
	for i, u := range m.tgt.Users() {
		switch {
		case u.ServiceAccount:
			m.states[i] = ServiceAccount
		case u.ID == self:
			m.states[i] = Self
		case m.protected(i, u):
			m.states[i] = Protected
		case m.conflict[i]:
			m.states[i] = Ambiguous
		case m.toSource[i] != none:
			m.states[i] = Matched
		default:
			m.states[i] = m.absent(u, told, waiting)
		}
	}
}

func (m *matcher) protected(i int, u target.User) bool {
	if len(m.rules.protect) == 0 {
		return false
	}
	names := []string{u.ID, u.Email}
	if a := m.toSource[i]; a != none {
		names = append(names, m.src.Users()[a].ID, m.src.Users()[a].Email)
	}
	return slices.ContainsFunc(names, func(n string) bool {
		return n != "" && anyMatch(m.rules.protect, strings.ToLower(n))
	})
}

// absent judges a user whom Keycloak does not have.
func (m *matcher) absent(u target.User, told bool, waiting map[string]bool) State {
	_, ours := u.Providers[m.rules.Provider]
	switch {
	case !told:
		return Unknown
	case len(u.Providers) == 0:
		return Local
	case !ours || len(u.Providers) > 1:
		return OtherProvider
	case u.Email == "":
		return Unknown // without an email nobody can be looked up, and an old id proves nothing
	case slices.ContainsFunc(targetNames(u), func(n string) bool { return waiting[n] }):
		return Renamed
	case m.rules.KeepGone:
		return GoneKept
	default:
		return GoneNow
	}
}

// waitingNames are the names of all accounts that are no ClearML user. A gone
// user who bears one of them has probably changed the email.
func (m *matcher) waitingNames() map[string]bool {
	names := make(map[string]bool)
	for i, a := range m.src.Users() {
		if m.toTarget[i] != none || a.ServiceAccount {
			continue
		}
		for _, n := range []string{a.Username, a.FirstName + " " + a.LastName} {
			if n = normal(n); n != "" {
				names[n] = true
			}
		}
	}
	return names
}

func targetNames(u target.User) []string {
	return slices.DeleteFunc([]string{normal(u.Name), normal(u.GivenName + " " + u.FamilyName)},
		func(n string) bool { return n == "" })
}

func normal(name string) string { return strings.ToLower(strings.Join(strings.Fields(name), " ")) }

var keycloakID = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// KeptIDs returns those values that ClearML keeps of the sign-in provider and
// that have the form of a Keycloak id.
func (r Rules) KeptIDs(u target.User) []string {
	var ids []string
	for _, v := range u.Providers[r.Provider] {
		if keycloakID.MatchString(v) {
			ids = append(ids, v)
		}
	}
	return ids
}
