package reconcile

import (
	"fmt"
	"strings"

	"groupsync/internal/match"
	"groupsync/internal/report"
)

// UnknownError says that no person, or no group, matches a subject.
type UnknownError struct {
	User, Group string   // what the subject names; one of the two is empty
	Near        []string // names of groups that are similar
	Doubt       string   // why the realm may have the person although nobody was found; empty: it does not have the person
}

func (e *UnknownError) Error() string {
	switch {
	case e.Group != "" && len(e.Near) > 0:
		return fmt.Sprintf("no group %s in ClearML (by name or id) or in Keycloak (by path, claim name or id): did you mean %s?", report.Name(e.Group), names(e.Near))
	case e.Group != "":
		return fmt.Sprintf("no group %s in ClearML (by name or id) or in Keycloak (by path, claim name or id): look the name up in ClearML or Keycloak", report.Name(e.Group))
	case e.Doubt != "":
		return fmt.Sprintf("ClearML has nobody with the email or id %s, and the answer of Keycloak is not complete (%s): correct this, then ask again", report.Name(e.User), e.Doubt)
	}
	return fmt.Sprintf("no person %s in ClearML (by email or id) or in Keycloak (by username, email or id): give the complete email, username or id", report.Name(e.User))
}

func names(list []string) string {
	shown := make([]string, len(list))
	for i, n := range list {
		shown[i] = report.Name(n)
	}
	return strings.Join(shown, " or ")
}

// SeveralError says that several people match a subject.
type SeveralError struct {
	User    string
	Matches []Match // ClearML users sorted by id, then Keycloak accounts in Keycloak's order
}

// Match is one of the people who match a subject.
type Match struct {
	Side            string // match.InClearML or match.InKeycloak
	ID, Name, Email string // the name of a Keycloak account is its username
	State           match.State
}

func (e *SeveralError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s matches %d people: ask again with the id of one of them:", report.Name(e.User), len(e.Matches))
	for _, m := range e.Matches {
		b.WriteString("\n  " + m.String())
	}
	return b.String()
}

func (m Match) String() string {
	who := report.Name(m.Name)
	if m.Email != "" {
		who += " <" + report.Name(m.Email) + ">"
	}
	if m.Side == match.InKeycloak {
		return fmt.Sprintf("%s  the Keycloak account %s, which matches no ClearML user", report.Name(m.ID), who)
	}
	if m.State != match.NotAsked {
		return fmt.Sprintf("%s  the ClearML user %s (%s)", report.Name(m.ID), who, m.State)
	}
	return fmt.Sprintf("%s  the ClearML user %s", report.Name(m.ID), who)
}
