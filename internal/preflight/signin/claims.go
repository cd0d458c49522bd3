package signin

import (
	"context"
	"fmt"
	"strings"

	"groupsync/internal/preflight"
	"groupsync/internal/source"
	"groupsync/internal/source/keycloak"
)

// exampleOfPerson checks the claims of the example (a simulated sign-in) that identify the person.
// It returns no finding if these claims are right.
func (l *mapperLint) exampleOfPerson() []preflight.Finding {
	var found []preflight.Finding
	begin := l.token() + " that Keycloak would give one person "
	say := func(what string) {
		found = append(found, preflight.Fail(begin+what, "see the check sign-in-person"))
	}
	claims, person := l.example.Claims, l.example.Person
	switch sub := claims["sub"]; {
	case sub == nil:
		say(`has no claim "sub"`)
	case sub != person.ID:
		say(`has a claim "sub" that is not the id of the account. ` + pairwise)
	}
	if person.Email != "" && claims["email"] == nil {
		say(`has no claim "email", although the account has an email`)
	}
	// This is only a warning, because the account may have no first and last name from which
	// Keycloak could make the claim. If a mapper is missing, the check sign-in-person reports an
	// error.
	if l.NameClaim != "" && claimIn(claims, l.NameClaim) == nil {
		found = append(found, preflight.Warn(fmt.Sprintf("%shas no claim %q, which ClearML reads the name from", begin, l.NameClaim),
			"see the check sign-in-person. If it found no error, the mapper is there, but the account of this simulated sign-in has no value for the claim, such as a first and last name. Then fill in the names of the accounts that lack them"))
	}
	return found
}

// pairwise is a sentence for a sign-in that gives ClearML an id other than the account's id, as the
// pairwise subject mapper does.
const pairwise = "ClearML then keeps an id that the realm does not have, so groupsync treats the person as deleted and created again, and grants nothing"

// checkPersonClaims checks that mappers add the claims that identify the person who signs in.
func (l *mapperLint) checkPersonClaims(context.Context) []preflight.Finding {
	found := l.subjectWriters()
	claims := []string{"email"}
	// Keycloak always adds the claim "sub" to the user-info answer. Since Keycloak 25 an access
	// token has the claim only if a mapper adds it. In a realm without mappers of this kind (an
	// older Keycloak), Keycloak adds the claim itself.
	if !l.Userinfo && l.client.SubjectMapper {
		claims = append(claims, "sub")
	}
	if l.NameClaim != "" && l.NameClaim != "email" && l.NameClaim != "sub" {
		claims = append(claims, l.NameClaim)
	}
	for _, claim := range claims {
		always, optional := l.writers(claim)
		switch {
		case len(always) > 0:
		case len(optional) > 0:
			found = append(found, preflight.Warn(fmt.Sprintf("the claim %q is in %s only if ClearML asks for the optional client scope %s", claim, l.token(), scopesOf(optional)),
				fmt.Sprintf("make it a default scope in %s", l.console("Client scopes"))))
		default:
			found = append(found, preflight.Fail(fmt.Sprintf("no mapper adds the claim %q to %s. ClearML needs it to know %s", claim, l.tokenKind(), purpose(claim)), l.adviceFor(claim)))
		}
	}
	if found == nil {
		return preflight.Fine(fmt.Sprintf("mappers add %s to %s", quoted(claims), l.token()))
	}
	return found
}

// subjectWriters returns a finding for each mapper that replaces the account's id in the claim
// "sub".
func (l *mapperLint) subjectWriters() (found []preflight.Finding) {
	always, optional := l.writers("sub")
	for _, m := range append(always, optional...) {
		if m.Kind != keycloak.Subject {
			found = append(found, preflight.Fail(fmt.Sprintf(`%s (%s) replaces the id of the account in the claim "sub". %s`, named(m), m.Kind, pairwise),
				"remove the mapper in "+l.settings(m)))
		}
	}
	return found
}

// purpose says what ClearML reads from the claim.
func purpose(claim string) string {
	switch claim {
	case "sub":
		return "the id of a person"
	case "email":
		return "the email of a person"
	}
	return "the name of a person"
}

// adviceFor returns the advice how to add a claim to what ClearML reads. It names a client scope
// that Keycloak assigns to every new client. This scope has the mapper of the claim.
func (l *mapperLint) adviceFor(claim string) string {
	scope := map[string]string{"sub": "basic", "email": "email"}[claim]
	if scope == "" {
		scope = "profile"
	}
	_, setting := l.addTo()
	advice := fmt.Sprintf("make the client scope %q a default scope in %s, and leave the setting %q on in the mapper of this claim", scope, l.console("Client scopes"), setting)
	if l.client.Lightweight && !l.Userinfo {
		advice += `, or switch off "Always use lightweight access token" in ` + l.console("Advanced > Advanced settings")
	}
	return advice
}

// checkRoleClaim looks for a mapper that adds the person's roles to what ClearML reads. Without
// such a mapper, ClearML cannot see who holds the role of its administrators.
func (l *mapperLint) checkRoleClaim(ctx context.Context) []preflight.Finding {
	ofRealm, _ := source.RealmRole(l.AdminRole)
	kind, what := keycloak.ClientRoles, "client roles"
	if ofRealm {
		kind, what = keycloak.RealmRoles, "realm roles"
	}
	var found []preflight.Finding
	var always, optional []keycloak.Mapper
	for _, m := range l.client.Mappers {
		switch {
		case m.Kind != kind || !isRoleClaim(claimOf(m)) || !l.reaches(m) || !l.covers(m):
		case m.Optional:
			optional = append(optional, m)
		default:
			always = append(always, m)
		}
	}
	switch {
	case len(always) > 0:
	case len(optional) > 0:
		found = append(found, preflight.Warn(fmt.Sprintf("the %s are in %s only if ClearML asks for the optional client scope %s", what, l.token(), scopesOf(optional)),
			"make it a default scope in "+l.console("Client scopes")))
	default:
		_, setting := l.addTo()
		found = append(found, preflight.Fail(fmt.Sprintf("no mapper adds a claim \"roles\" with %s to %s, so no sign-in shows ClearML the role %q of its administrators", what, l.tokenKind(), l.AdminRole),
			fmt.Sprintf("make the client scope \"roles\" a default scope in %s, and switch on %q in its mapper %q; or set admins.role and ClearML's variable admin_role to \"\"", l.console("Client scopes"), setting, what)))
	}
	for _, m := range always {
		if prefix := m.Config["usermodel."+map[bool]string{true: "realm", false: "client"}[ofRealm]+"RoleMapping.rolePrefix"]; prefix != "" {
			found = append(found, preflight.Fail(fmt.Sprintf("%s puts %q before the names of roles, so ClearML does not see the role %q by its name", named(m), prefix, l.AdminRole),
				"remove the prefix in "+l.settings(m)+", or write ClearML's variable admin_role with the prefix"))
		}
	}
	found = append(found, l.roleScope(ctx)...)
	if found == nil {
		return preflight.Fine(fmt.Sprintf("%s adds the claim %q with %s to %s", named(always[0]), claimOf(always[0]), what, l.token()))
	}
	return found
}

// isRoleClaim reports whether ClearML looks for roles in the claim. ClearML does so if the claim is
// named "roles", or if the name ends in ".roles".
func isRoleClaim(claim string) bool { return claim == "roles" || strings.HasSuffix(claim, ".roles") }

// covers reports whether the mapper adds the admin role. A mapper of client roles can be limited to
// one client. It then covers the admin role only if the role belongs to this client.
func (l *mapperLint) covers(m keycloak.Mapper) bool {
	only := m.Config["usermodel.clientRoleMapping.clientId"]
	return m.Kind != keycloak.ClientRoles || only == "" || strings.HasPrefix(l.AdminRole, only+"/")
}

// roleScope returns a finding if the scope of the client keeps the admin role out of its tokens. It
// returns nil if the tokens can hold the role.
func (l *mapperLint) roleScope(ctx context.Context) []preflight.Finding {
	if l.client.FullScope {
		return nil
	}
	place := l.console("Client scopes > " + l.ClientID + "-dedicated > Scope")
	granted, err := l.read.InScope(ctx, l.client, l.AdminRole)
	switch {
	case err != nil:
		return []preflight.Finding{preflight.Unchecked(err, `look whether the role is listed in `+place+`, because "Full scope allowed" is off there`)}
	case !granted:
		return []preflight.Finding{preflight.Fail(fmt.Sprintf(`"Full scope allowed" of the client %q is off, and the role %q is not in its scope, so no token holds the role`, l.ClientID, l.AdminRole),
			fmt.Sprintf(`switch on "Full scope allowed" in %s, or assign the role there`, place))}
	}
	return nil
}
