// Package signin checks the client in Keycloak by which people sign in to ClearML. Protocol mappers
// of this client write claims into the token of a sign-in. The claim with the groups must give
// ClearML the same groups as groupsync does.
package signin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"groupsync/internal/preflight"
	"groupsync/internal/source/keycloak"
)

// clientReader reads a client of the realm. keycloak.Source implements it.
type clientReader interface {
	Client(ctx context.Context, clientID string) (*keycloak.Client, error)
	Example(ctx context.Context, c *keycloak.Client, userinfo bool) (*keycloak.Example, error)
	InScope(ctx context.Context, c *keycloak.Client, role string) (bool, error)
}

// Options describes how people sign in to ClearML. The values come from groupsync's configuration
// and from ClearML's own variables.
type Options struct {
	ClientID  string // keycloak.clearml_client_id
	Own       string // keycloak.client_id
	Claim     string // groups.claim
	FullPath  bool   // groups.full_path
	AdminRole string // admins.role; empty: none
	Userinfo  bool   // ClearML reads the claims from the user-info endpoint; false: from the access token
	NameClaim string // the claim that ClearML reads a person's name from; empty: not known
}

// Checks returns the checks of ClearML's client in Keycloak (reference/clearml-keycloak-idp.md).
// They check whether people can sign in by the client, and whether the client's mappers give
// ClearML the same groups as groupsync does. If s names no client, Checks returns only one check,
// which warns of that. after lists the names of the checks that must find no error before these
// checks are made.
func Checks(s Options, read clientReader, after ...string) []preflight.Check {
	l := &mapperLint{Options: s, read: read}
	checks := []preflight.Check{{Name: "sign-in-client", After: after, Run: l.checkClient}}
	if s.ClientID == "" {
		return checks
	}
	for _, c := range []preflight.Check{
		{Name: "sign-in-redirect", Run: l.checkRedirects},
		{Name: "sign-in-token", Run: l.checkExample},
		{Name: "sign-in-groups", Run: l.checkGroupMapper},
		{Name: "sign-in-other-mappers", Run: l.checkOtherWriters},
		{Name: "sign-in-person", Run: l.checkPersonClaims},
		{Name: "sign-in-roles", Run: l.checkRoleClaim},
	} {
		if c.Name == "sign-in-roles" && s.AdminRole == "" {
			continue
		}
		checks = append(checks, preflight.Check{Name: c.Name, Run: l.withClient(c.Run)})
	}
	return checks
}

// mapperLint holds the data that the checks of ClearML's client share. It has no lock, because
// the checks run one after another.
type mapperLint struct {
	Options
	read    clientReader
	client  *keycloak.Client  // nil: the client could not be read
	example *keycloak.Example // a sign-in that Keycloak simulated for one person; nil: there is none
}

// withClient wraps a check. If the client could not be read, the result is a warning that the check
// was not made.
func (l *mapperLint) withClient(check func(context.Context) []preflight.Finding) func(context.Context) []preflight.Finding {
	return func(ctx context.Context) []preflight.Finding {
		if l.client == nil {
			return preflight.NotMade("sign-in-client", "it could not read ClearML's client", "see the check sign-in-client")
		}
		return check(ctx)
	}
}

func (l *mapperLint) checkClient(ctx context.Context) []preflight.Finding {
	if l.ClientID == "" {
		return []preflight.Finding{preflight.Warn("groupsync does not know ClearML's client in Keycloak, so it did not look at the client and its mappers",
			"set keycloak.clearml_client_id to the client that ClearML signs people in by, or name the file of ClearML's variables with --clearml-env")}
	}
	client, err := l.read.Client(ctx, l.ClientID)
	if err != nil {
		return []preflight.Finding{preflight.Unchecked(err, "assign the role view-clients of realm-management if it is missing; a pass needs the role only for admins.role")}
	}
	if client == nil {
		return []preflight.Finding{preflight.Fail(fmt.Sprintf("the realm has no client %q, so nobody can sign in to ClearML by it", l.ClientID),
			"set keycloak.clearml_client_id to the client id that ClearML has, or register the client in Keycloak")}
	}
	l.client = client
	var found []preflight.Finding
	if !client.Enabled {
		found = append(found, preflight.Fail(fmt.Sprintf("the client %q is disabled, so nobody can sign in to ClearML", l.ClientID), `switch on "Enabled" in `+l.console("")))
	}
	if !client.StandardFlow {
		found = append(found, preflight.Fail(fmt.Sprintf("the standard flow of the client %q is off, so nobody can sign in to ClearML with a browser", l.ClientID),
			`switch on "Standard flow" in `+l.console("Settings > Capability config")))
	}
	switch {
	case l.Own == l.ClientID:
		found = append(found, preflight.Warn(fmt.Sprintf("groupsync signs in to Keycloak with ClearML's own client %q, so anybody who has the secret of ClearML's sign-in can read the whole realm", l.ClientID),
			"make a client for groupsync alone, name it in keycloak.client_id, and take the service account away from ClearML's client"))
	case len(client.ServiceRoles) > 0:
		found = append(found, preflight.Warn(fmt.Sprintf("the service account of the client %q has %s of realm-management, so anybody who has the secret of ClearML's sign-in has these rights", l.ClientID, listed(client.ServiceRoles)),
			"ClearML's sign-in needs no service account: remove the roles in "+l.console("Service account roles")))
	}
	if found == nil {
		return preflight.Fine(fmt.Sprintf("the client %q is enabled", l.ClientID))
	}
	return found
}

// token returns a phrase for where ClearML reads the claims of a sign-in: the user-info answer or
// the access token.
func (l *mapperLint) token() string {
	if l.Userinfo {
		return "the user-info answer"
	}
	return "the access token"
}

// addTo returns the setting of a mapper that adds the mapper's claim to what ClearML reads. key is
// the key of the setting, and name is its name in the admin console.
func (l *mapperLint) addTo() (key, name string) {
	switch {
	case l.Userinfo:
		return "userinfo.token.claim", "Add to userinfo"
	case l.client.Lightweight:
		return "lightweight.claim", "Add to lightweight access token"
	}
	return "access.token.claim", "Add to access token"
}

// reaches reports whether the mapper adds its claim to what ClearML reads.
func (l *mapperLint) reaches(m keycloak.Mapper) bool {
	key, _ := l.addTo()
	value, given := m.Config[key]
	if l.Userinfo && !given {
		value = m.Config["id.token.claim"] // an old mapper lacks userinfo.token.claim; Keycloak then uses id.token.claim in its place, and so does groupsync
	}
	return value == "true" || m.Kind == keycloak.PairwiseSubject
}

// writes reports whether the mapper writes the claim into an access token, an ID token or the
// user-info answer.
func writes(m keycloak.Mapper, claim string) bool {
	switch m.Kind {
	case keycloak.Subject, keycloak.PairwiseSubject:
		return claim == "sub"
	case keycloak.FullName:
		return claim == "name"
	}
	return claimOf(m) == claim
}

func claimOf(m keycloak.Mapper) string { return m.Config["claim.name"] }

// writers returns the mappers that write the claim into what ClearML reads. The mappers in always
// write the claim at every sign-in. The mappers in optional belong to an optional client scope, and
// write the claim only if ClearML asks for that scope.
func (l *mapperLint) writers(claim string) (always, optional []keycloak.Mapper) {
	for _, m := range l.client.Mappers {
		switch {
		case !writes(m, claim) || !l.reaches(m):
		case m.Optional:
			optional = append(optional, m)
		default:
			always = append(always, m)
		}
	}
	return always, optional
}

// named returns a phrase with the name of a mapper and the place where it is configured.
func named(m keycloak.Mapper) string {
	if m.Scope == "" {
		return fmt.Sprintf("the mapper %q of the client", m.Name)
	}
	return fmt.Sprintf("the mapper %q of the client scope %q", m.Name, m.Scope)
}

// console returns the path of menus in Keycloak's admin console to a place in the settings of
// ClearML's client. If place is empty, it returns the path to the client.
func (l *mapperLint) console(place string) string {
	if place == "" {
		return "Clients > " + l.ClientID
	}
	return "Clients > " + l.ClientID + " > " + place
}

// settings returns the path of menus in Keycloak's admin console to the settings of the mapper.
func (l *mapperLint) settings(m keycloak.Mapper) string {
	if m.Scope == "" {
		return l.console("Client scopes > " + l.ClientID + "-dedicated > Mappers > " + m.Name)
	}
	return "Client scopes > " + m.Scope + " > Mappers > " + m.Name
}

// listed joins the parts of a sentence, such as "a, b and c".
func listed(parts []string) string {
	if n := len(parts); n > 1 {
		return strings.Join(parts[:n-1], ", ") + " and " + parts[n-1]
	}
	return strings.Join(parts, "")
}

// quoted returns the names in quotes, joined by listed.
func quoted(names []string) string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = fmt.Sprintf("%q", name)
	}
	return listed(list)
}

func scopesOf(mappers []keycloak.Mapper) string {
	var names []string
	for _, m := range mappers {
		names = append(names, m.Scope)
	}
	slices.Sort(names)
	return quoted(slices.Compact(names))
}
