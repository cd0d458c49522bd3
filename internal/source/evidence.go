package source

import (
	"fmt"
	"slices"
	"strings"
)

// Why says for what reason somebody is to leave a user group.
type Why string

// The reasons there are; nobody is removed for another one.
const (
	NotMember Why = "not_member" // known and enabled, in none of the sources
	Disabled  Why = "disabled"   // the account is disabled
	Gone      Why = "gone"       // the realm has the account no more
)

// Claim is one removal that the plan wants and that a second look must bear
// out. What it holds beyond Why depends on the reason.
type Claim struct {
	Why    Why
	User   User     // not_member, disabled: the account
	Email  string   // gone: the email by which the other side knows the person
	IDs    []string // gone: ids that the other side keeps of the person
	Groups []Group  // not_member: every Keycloak group that feeds the user group
	Role   string   // not_member: the admin role, where that feeds it too
}

// Probe is one federation's answer to a lookup of a name that nobody can have.
type Probe struct {
	Federation Federation
	Up         bool
	Detail     string // why it is not up, for a person to read
}

// Account is a reading of one account by its id.
type Account struct {
	Found bool
	User  User
}

// Second is what a second look at the realm found. A reader fills in what the
// claims need; what it could not read must be an error of the look, never an
// empty entry here.
type Second struct {
	Probes     []Probe            // each federation once; not up where any of its probes was not
	Members    map[string][]User  // by group id: the direct members, read again
	Role       *RoleHolders       // the admin role's holders, read again
	Accounts   map[string]Account // by id, for disabled and gone
	DisabledDB map[string]bool    // ids that the database itself lists as disabled
	Emails     map[string][]User  // by lower-case email, for gone: accounts with exactly that email
	Effective  map[string]bool    // by user id: whether the admin role is held in effect
}

// Evidence is what bears out one removal. Only Weigh makes it; the zero value
// is none, and Is tells.
type Evidence struct {
	why   Why
	text  string
	waits bool
}

// Valid reports whether the evidence was made by Weigh.
func (e Evidence) Valid() bool { return e.why != "" }

// Why returns the reason that the evidence bears out.
func (e Evidence) Why() Why { return e.why }

// String returns the evidence in words, for the audit line and the report.
func (e Evidence) String() string { return e.text }

// Waits reports whether the removal rests on what a federation said (or, in a
// realm with federations, on somebody's absence), so that later passes must
// want it too. Somebody whom the database itself calls disabled waits for
// nothing.
func (e Evidence) Waits() bool { return e.waits }

// Verdict is the answer to one claim: Evidence, or the doubt that denies it.
type Verdict struct {
	Evidence Evidence
	Doubt    string // empty exactly where Evidence is valid
}

// Confirmation is the outcome of a second look.
type Confirmation struct {
	Verdicts []Verdict // one a claim, in the claims' order
	Probes   []Probe   // sorted by federation id; empty where none was needed
}

// Away returns the probes that were not up.
func (c Confirmation) Away() []Probe {
	var away []Probe
	for _, p := range c.Probes {
		if !p.Up {
			away = append(away, p)
		}
	}
	return away
}

// Weigh answers each claim from the second look. Where any probe is not up,
// every claim is denied: Keycloak's 200 is then not the truth
// (reference/keycloak-traps.md). federated says whether the realm has, or is
// remembered to have had, federations.
func Weigh(claims []Claim, s Second, federated bool) Confirmation {
	c := Confirmation{Verdicts: make([]Verdict, len(claims)), Probes: slices.Clone(s.Probes)}
	slices.SortFunc(c.Probes, func(a, b Probe) int { return strings.Compare(a.Federation.ID, b.Federation.ID) })
	holders := s.roleHolders()
	members := s.memberSets()
	away := c.Away()
	for i, claim := range claims {
		switch {
		case len(away) > 0:
			c.Verdicts[i] = doubt("the federation %s is not up: %s", away[0].Federation.Name, away[0].Detail)
		case claim.Why == NotMember:
			c.Verdicts[i] = weighNotMember(claim, members, s, holders)
		case claim.Why == Disabled:
			c.Verdicts[i] = weighDisabled(claim, s)
		case claim.Why == Gone:
			c.Verdicts[i] = weighGone(claim, s, federated)
		default:
			c.Verdicts[i] = doubt("no such reason: %q", claim.Why)
		}
	}
	return c
}

func (s Second) memberSets() map[string]map[string]bool {
	sets := make(map[string]map[string]bool, len(s.Members))
	for group, users := range s.Members {
		set := make(map[string]bool, len(users))
		for _, u := range users {
			set[u.ID] = true
		}
		sets[group] = set
	}
	return sets
}

func (s Second) roleHolders() map[string]bool {
	if s.Role == nil || !s.Role.Found {
		return nil
	}
	held := make(map[string]bool)
	for _, u := range s.Role.Direct {
		held[u.ID] = true
	}
	for _, g := range s.Role.Groups {
		for _, u := range s.Members[g] {
			held[u.ID] = true
		}
	}
	return held
}

func weighNotMember(c Claim, members map[string]map[string]bool, s Second, holders map[string]bool) Verdict {
	for _, g := range c.Groups {
		set, read := members[g.ID]
		if !read {
			return doubt("the members of the Keycloak group %s were not read a second time", g.Path)
		}
		if set[c.User.ID] {
			return doubt("the second read of the members of the Keycloak group %s has them", g.Path)
		}
	}
	if c.Role != "" {
		if s.Role == nil || !s.Role.Found {
			return doubt("the holders of the role %s were not read a second time", c.Role)
		}
		for _, g := range s.Role.Groups {
			if _, read := members[g]; !read {
				return doubt("the members of the Keycloak group %s were not read a second time", g)
			}
		}
		if holders[c.User.ID] {
			return doubt("the second read of the holders of the role %s has them", c.Role)
		}
		held, read := s.Effective[c.User.ID]
		if !read {
			return doubt("the roles that they hold in effect were not read")
		}
		if held {
			return doubt("they hold the role %s in effect", c.Role)
		}
	}
	var text string
	switch n := len(c.Groups); {
	case n == 0:
		text = "read twice: without the role " + c.Role
	case n == 1:
		text = "read twice: not in the one Keycloak group"
	default:
		text = fmt.Sprintf("read twice: in none of %d Keycloak groups", n)
	}
	if len(c.Groups) > 0 && c.Role != "" {
		text += ", and without the role " + c.Role
	}
	return Verdict{Evidence: Evidence{why: NotMember, text: text, waits: c.User.Federation != ""}}
}

func weighDisabled(c Claim, s Second) Verdict {
	account, read := s.Accounts[c.User.ID]
	switch {
	case !read:
		return doubt("their account was not read a second time")
	case !account.Found:
		return doubt("the second look finds no such account")
	case account.User.Enabled:
		return doubt("the second look finds their account enabled")
	}
	federated := c.User.Federation != "" || account.User.Federation != ""
	if !federated {
		return Verdict{Evidence: Evidence{why: Disabled, text: "read twice: the account is disabled"}}
	}
	if s.DisabledDB[c.User.ID] {
		return Verdict{Evidence: Evidence{why: Disabled, text: "read twice: the account is disabled, in Keycloak's own database too"}}
	}
	return Verdict{Evidence: Evidence{why: Disabled, text: "read twice: the account is disabled by the federation", waits: true}}
}

func weighGone(c Claim, s Second, federated bool) Verdict {
	if c.Email == "" {
		return doubt("without an email nothing tells whether the person is gone")
	}
	found, read := s.Emails[strings.ToLower(c.Email)]
	if !read {
		return doubt("their email was not looked up")
	}
	if len(found) > 0 {
		return doubt("the second look finds an account with their email")
	}
	for _, id := range c.IDs {
		account, read := s.Accounts[id]
		if !read {
			return doubt("the account id that is kept of them was not looked up")
		}
		if account.Found {
			return doubt("the second look finds the account whose id is kept of them")
		}
	}
	return Verdict{Evidence: Evidence{why: Gone, text: "looked up: no account has the email", waits: federated}}
}

func doubt(format string, args ...any) Verdict {
	return Verdict{Doubt: fmt.Sprintf(format, args...)}
}
