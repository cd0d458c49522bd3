package signin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"groupsync/internal/preflight"
	"groupsync/internal/report"
	"groupsync/internal/source/keycloak"
)

// checkExample lets Keycloak simulate a sign-in of one person. It compares the claims with the
// person's groups in Keycloak, and stores the result as the example, which other checks use. The
// findings name no person and quote no claim, because a claim can hold personal data.
func (l *mapperLint) checkExample(ctx context.Context) []preflight.Finding {
	e, err := l.read.Example(ctx, l.client, l.Userinfo)
	if err != nil {
		return []preflight.Finding{preflight.Unchecked(err, "the checks below use only the settings of the client")}
	}
	if e == nil {
		return []preflight.Finding{preflight.Warn("groupsync could not simulate a sign-in, because the groups that it looked at have no enabled local account as a member. The checks below use only the settings of the client",
			"put a local account of Keycloak into one of the groups, for example one made for tests")}
	}
	l.example = e
	return append([]preflight.Finding{l.exampleOfGroups()}, l.exampleOfPerson()...)
}

// claimed returns the entries of the group claim in the example, sorted, each once. It returns
// false if the example has no group claim.
func (l *mapperLint) claimed() ([]string, bool) {
	var entries []string
	switch value := claimIn(l.example.Claims, l.Claim).(type) {
	case nil:
		return nil, false
	case []any:
		for _, v := range value {
			entries = append(entries, fmt.Sprint(v))
		}
	default:
		entries = append(entries, fmt.Sprint(value))
	}
	return sortedOnce(entries), true
}

// claimIn returns the value of a claim, or nil if there is no such claim. name has the form of a
// mapper's setting "Token Claim Name". In this form, a.b is the claim b in the object a, and a\.b
// is one name with a dot (seen on Keycloak 26.7).
func claimIn(claims map[string]any, name string) any {
	var part strings.Builder
	for i := 0; i < len(name); i++ {
		switch {
		case name[i] == '\\' && i+1 < len(name):
			i++
			part.WriteByte(name[i])
		case name[i] == '.':
			object, _ := claims[part.String()].(map[string]any)
			return claimIn(object, name[i+1:])
		default:
			part.WriteByte(name[i])
		}
	}
	return claims[part.String()]
}

// expected returns the entries that the group claim of the example should have, sorted, each
// once. The entries are paths if fullPath is true, else leaf names.
func (l *mapperLint) expected(fullPath bool) []string {
	var names []string
	for _, g := range l.example.Groups {
		if fullPath {
			names = append(names, g.Path)
		} else {
			names = append(names, g.Name)
		}
	}
	return sortedOnce(names)
}

func sortedOnce(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// shown reports whether the group claim of the example has exactly the entries that groupsync
// expects. It returns false if there is no example.
func (l *mapperLint) shown() bool {
	if l.example == nil {
		return false
	}
	got, _ := l.claimed()
	return slices.Equal(got, l.expected(l.FullPath))
}

func (l *mapperLint) exampleOfGroups() preflight.Finding {
	got, there := l.claimed()
	want := l.expected(l.FullPath)
	begin := fmt.Sprintf("%s that Keycloak would give one person in %s", l.token(), report.Counted(len(want), "group", "groups"))
	switch {
	case l.shown():
		return preflight.Fine(fmt.Sprintf("%s holds them in the claim %q, as groupsync names them", begin, l.Claim))[0]
	case !there:
		return preflight.Fail(fmt.Sprintf("%s has no claim %q", begin, l.Claim), "see the check sign-in-groups")
	case slices.Equal(got, l.expected(!l.FullPath)):
		return preflight.Fail(fmt.Sprintf("%s holds them in the claim %q as %s, but groups.full_path is %t", begin, l.Claim, form(!l.FullPath), l.FullPath), "see the check sign-in-groups")
	}
	others, missing := without(got, want), without(want, got)
	return preflight.Fail(fmt.Sprintf("%s does not hold exactly these in the claim %q (missing: %d, others: %d)", begin, l.Claim, missing, others), "see the checks sign-in-groups and sign-in-other-mappers")
}

// without returns how many of names are not in others.
func without(names, others []string) (n int) {
	for _, name := range names {
		if !slices.Contains(others, name) {
			n++
		}
	}
	return n
}

// form returns a phrase for the form of the entries of a group claim: paths if fullPath is true,
// else leaf names.
func form(fullPath bool) string {
	if fullPath {
		return "full paths"
	}
	return "names without their path"
}

// checkGroupMapper looks for the mapper that adds a person's groups to what ClearML reads. There
// must be exactly one, with the claim groups.claim and the form groups.full_path.
func (l *mapperLint) checkGroupMapper(context.Context) []preflight.Finding {
	var mappers, claimed, always, optional []keycloak.Mapper
	for _, m := range l.client.Mappers {
		if m.Kind != keycloak.GroupMembership {
			continue
		}
		mappers = append(mappers, m)
		if claimOf(m) != l.Claim {
			continue
		}
		claimed = append(claimed, m)
		switch {
		case !l.reaches(m):
		case m.Optional:
			optional = append(optional, m)
		default:
			always = append(always, m)
		}
	}
	switch {
	case len(always) > 1:
		return l.severalGroupMappers(always)
	case len(always) == 1:
		return l.oneGroupMapper(always[0])
	case len(optional) > 0:
		return l.optionalGroupMappers(optional)
	case len(claimed) > 0:
		return l.groupMappersElsewhere(claimed)
	case len(mappers) > 0:
		return l.groupMappersOfOtherClaims(mappers)
	}
	return []preflight.Finding{l.failUnlessShown(fmt.Sprintf("the client %q has no group membership mapper, so no sign-in gives ClearML a group", l.ClientID),
		fmt.Sprintf(`add a mapper "Group Membership" with the token claim name %s in %s`, l.Claim, l.console("Client scopes > "+l.ClientID+"-dedicated")))}
}

// failUnlessShown returns a finding about a wrong setting of a mapper. The finding is an error. It
// is only a warning if the group claim of the example is right, because sign-ins then work in
// spite of the setting.
func (l *mapperLint) failUnlessShown(seen, advice string) preflight.Finding {
	if l.shown() {
		return preflight.Warn(seen+". What Keycloak would give one person is correct nevertheless", advice)
	}
	return preflight.Fail(seen, advice)
}

func (l *mapperLint) oneGroupMapper(m keycloak.Mapper) []preflight.Finding {
	if fullPath(m) != l.FullPath {
		return []preflight.Finding{l.wrongForm(m)}
	}
	return preflight.Fine(fmt.Sprintf("%s puts the groups into the claim %q of %s, as %s", named(m), l.Claim, l.token(), form(l.FullPath)))
}

func fullPath(m keycloak.Mapper) bool { return m.Config["full.path"] == "true" }

func (l *mapperLint) wrongForm(m keycloak.Mapper) preflight.Finding {
	turn := "off"
	if l.FullPath {
		turn = "on"
	}
	return l.failUnlessShown(fmt.Sprintf("%s writes groups as %s, but groups.full_path is %t, so the sign-in and groupsync name the groups differently", named(m), form(fullPath(m)), l.FullPath),
		fmt.Sprintf(`switch "Full group path" %s in %s, or set groups.full_path to %t`, turn, l.settings(m), fullPath(m)))
}

// severalGroupMappers returns the findings about several mappers that write the group claim.
// Keycloak then writes the entries of all these mappers, each entry once (seen on Keycloak 24.0,
// 26.0 and 26.7). So mappers of the same form do no harm. Mappers of different forms give each
// group two names.
func (l *mapperLint) severalGroupMappers(mappers []keycloak.Mapper) []preflight.Finding {
	var names []string
	differ := false
	for _, m := range mappers {
		names = append(names, named(m))
		differ = differ || fullPath(m) != fullPath(mappers[0])
	}
	seen := fmt.Sprintf("%s write the groups into the claim %q of %s", listed(names), l.Claim, l.token())
	advice := fmt.Sprintf(`keep one of them, with "Full group path" %s`, map[bool]string{true: "on", false: "off"}[l.FullPath])
	switch {
	case differ:
		return []preflight.Finding{l.failUnlessShown(seen+", some as full paths and some as names, so the claim holds two names of each group", advice)}
	case fullPath(mappers[0]) != l.FullPath:
		return []preflight.Finding{l.wrongForm(mappers[0]), preflight.Warn(seen, advice)}
	case l.example != nil && !l.shown():
		return []preflight.Finding{preflight.Fail(seen+", and what Keycloak would give one person is wrong", advice)}
	}
	return []preflight.Finding{preflight.Warn(seen, advice)}
}

func (l *mapperLint) optionalGroupMappers(mappers []keycloak.Mapper) []preflight.Finding {
	var found []preflight.Finding
	for _, m := range mappers {
		found = append(found, preflight.Warn(fmt.Sprintf("%s works only if ClearML asks for that scope, because the scope is an optional client scope of %q", named(m), l.ClientID),
			fmt.Sprintf("make %q a default scope in %s", m.Scope, l.console("Client scopes"))))
		if fullPath(m) != l.FullPath {
			found = append(found, l.wrongForm(m))
		}
	}
	return found
}

// groupMappersElsewhere returns the findings about mappers that have the right claim, but do
// not add the claim to what ClearML reads.
func (l *mapperLint) groupMappersElsewhere(mappers []keycloak.Mapper) []preflight.Finding {
	var found []preflight.Finding
	_, setting := l.addTo()
	for _, m := range mappers {
		advice := fmt.Sprintf("switch on %q in %s", setting, l.settings(m))
		if l.client.Lightweight && !l.Userinfo {
			advice += `, or switch off "Always use lightweight access token" in ` + l.console("Advanced > Advanced settings")
		}
		found = append(found, l.failUnlessShown(fmt.Sprintf("%s does not add the claim %q to %s, which is what ClearML reads", named(m), l.Claim, l.tokenKind()), advice))
	}
	return found
}

// tokenKind returns the same phrase as the method token, with the word "lightweight" if the client
// always uses lightweight access tokens. A mapper adds its claim to such a token only if its setting
// "Add to lightweight access token" is on.
func (l *mapperLint) tokenKind() string {
	if l.client.Lightweight && !l.Userinfo {
		return "the lightweight access token"
	}
	return l.token()
}

func (l *mapperLint) groupMappersOfOtherClaims(mappers []keycloak.Mapper) []preflight.Finding {
	var found []preflight.Finding
	for _, m := range mappers {
		found = append(found, l.failUnlessShown(fmt.Sprintf("%s writes groups into the claim %q, but groups.claim is %q", named(m), claimOf(m), l.Claim),
			fmt.Sprintf(`set "Token Claim Name" to %s in %s, or set groups.claim and ClearML's variable groups__claim to %s`, l.Claim, l.settings(m), claimOf(m))))
	}
	return found
}

// checkOtherWriters finds mappers that write into the group claim and are no group membership
// mappers. ClearML treats the values of such a mapper as names of groups.
func (l *mapperLint) checkOtherWriters(context.Context) []preflight.Finding {
	always, optional := l.writers(l.Claim)
	isGroups := func(m keycloak.Mapper) bool { return m.Kind == keycloak.GroupMembership }
	always, optional = slices.DeleteFunc(always, isGroups), slices.DeleteFunc(optional, isGroups)
	var found []preflight.Finding
	for _, m := range always {
		advice := `give it another "Token Claim Name" in ` + l.settings(m)
		if m.Scope != "" {
			advice += fmt.Sprintf(", or remove the client scope %q in %s", m.Scope, l.console("Client scopes"))
		}
		found = append(found, preflight.Fail(fmt.Sprintf("%s (%s) writes into the claim %q of %s too, and ClearML treats these values as names of groups", named(m), m.Kind, l.Claim, l.token()), advice))
	}
	switch {
	case found != nil:
		return found
	case optional != nil:
		return preflight.Fine(fmt.Sprintf("no mapper other than a group membership mapper writes into the claim %q of %s, unless ClearML asks for the optional client scope %s", l.Claim, l.token(), scopesOf(optional)))
	}
	return preflight.Fine(fmt.Sprintf("no mapper other than a group membership mapper writes into the claim %q of %s", l.Claim, l.token()))
}
