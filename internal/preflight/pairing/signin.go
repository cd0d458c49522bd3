package pairing

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"groupsync/internal/config/clearmlenv"
	"groupsync/internal/fault"
	"groupsync/internal/match"
	"groupsync/internal/preflight"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/target"
	"groupsync/internal/target/clearml"
)

const webSettings = "in ClearML's settings, under Identity Providers"

// connection compares the sign-in connections that somebody made in ClearML's web application
// with groupsync's configuration.
func (p *pairing) connection(ctx context.Context) []preflight.Finding {
	all, err := p.Connections(ctx)
	if f := fault.Of(err); f != nil && f.Reason == fault.NotFound {
		return []preflight.Finding{preflight.Warn("groupsync could not check the sign-in connections of ClearML's web application, because ClearML has no call that returns them (sso.get_provider_configurations)",
			"look for a connection to Keycloak "+webSettings+". If there is one, compare its realm, client and groups claim with groupsync's configuration")}
	}
	if err != nil {
		return []preflight.Finding{preflight.Unchecked(err, "look for a connection to Keycloak "+webSettings+". If there is one, compare its realm, client and groups claim with groupsync's configuration")}
	}
	ours := slices.DeleteFunc(all, func(c clearml.Connection) bool { return !strings.EqualFold(c.Provider, "keycloak") })
	if len(ours) == 0 {
		return preflight.Fine("nobody has made a connection to Keycloak in ClearML's web application. This check cannot see a connection that ClearML's environment variables make")
	}
	var findings []preflight.Finding
	for _, c := range ours {
		p.learn(c)
		findings = append(findings, p.compare(c)...)
	}
	if findings == nil {
		return preflight.Fine(report.Counted(len(ours), "connection", "connections") + " of ClearML's web application to Keycloak: the realm, the client and the claim are those of the configuration")
	}
	return findings
}

// learn updates needsGroup from one connection. needsGroup becomes On if the connection refuses
// people who are in no group. It becomes Off if the connection accepts such people, and no earlier
// connection refuses them.
func (p *pairing) learn(c clearml.Connection) {
	syncs := c.Groups != nil && *c.Groups
	switch {
	case syncs && c.NeedsGroup != nil && *c.NeedsGroup:
		p.needsGroup = clearmlenv.On
	case p.needsGroup == clearmlenv.Unknown && (c.Groups != nil && !syncs || c.NeedsGroup != nil):
		p.needsGroup = clearmlenv.Off
	}
}

func (p *pairing) compare(c clearml.Connection) (findings []preflight.Finding) {
	for _, endpoint := range []struct{ name, url string }{{"authorization endpoint", c.Authorization}, {"token endpoint", c.Token}} {
		findings = append(findings, p.compareEndpoint(endpoint.name, endpoint.url)...)
	}
	switch {
	case c.ClientID == "":
	case p.ClientID == "":
		findings = append(findings, preflight.Warn(fmt.Sprintf("the connection signs people in by the client %q, and groupsync knows no client, so the checks sign-in-… did not check that client", c.ClientID), "set keycloak.clearml_client_id to this client"))
	case p.ClientID != c.ClientID:
		findings = append(findings, preflight.Warn(fmt.Sprintf("the connection signs people in by the client %q, and the checks sign-in-… checked the client %q", c.ClientID, p.ClientID),
			"set keycloak.clearml_client_id to the client that people sign in by, and run the check again"))
	}
	switch {
	case c.Groups != nil && !*c.Groups:
		findings = append(findings, preflight.Fine("the connection does not sync groups at a login, so only groupsync writes memberships")...)
	case c.Claim != "" && c.Claim != p.Claim:
		findings = append(findings, preflight.Fail(fmt.Sprintf("the connection reads groups from the claim %q, and groups.claim is %q", c.Claim, p.Claim),
			"make them equal, "+webSettings+" or in groups.claim"))
	}
	return findings
}

func (p *pairing) compareEndpoint(name, endpoint string) []preflight.Finding {
	if endpoint == "" {
		return nil
	}
	root, realm, err := clearmlenv.SplitURL(endpoint)
	if err != nil || realm == "" {
		return []preflight.Finding{preflight.Warn("the "+name+" of the connection is not an endpoint of a Keycloak realm, so groupsync could not compare it", "look at the connection "+webSettings)}
	}
	ours, _, err := clearmlenv.SplitURL(p.URL)
	switch {
	case realm != p.Realm:
		return []preflight.Finding{preflight.Fail(fmt.Sprintf("the %s of the connection is of the realm %q, and keycloak.realm is %q, so people sign in with accounts that groupsync does not see", name, realm, p.Realm),
			"make them equal, "+webSettings+" or in keycloak.realm")}
	case err == nil && root != ours:
		return []preflight.Finding{preflight.Warn(fmt.Sprintf("the %s of the connection is on %s, and keycloak.url is %s", name, report.Name(root), report.Name(ours)),
			"make sure that both are one Keycloak. Two addresses of one server are all right")}
	}
	return nil
}

// mostAsked is the largest number of people that shutOut asks Keycloak about.
const mostAsked = 50

// shutOut lists the people whom ClearML would refuse at sign-in. ClearML can be configured to refuse
// people who are in no Keycloak group that has a ClearML group.
func (p *pairing) shutOut(ctx context.Context) []preflight.Finding {
	const setting = "prohibit_user_signup_if_not_in_group"
	switch {
	case p.NeedsGroup == clearmlenv.On || p.needsGroup == clearmlenv.On:
	case p.NeedsGroup == clearmlenv.Off || p.needsGroup == clearmlenv.Off:
		return preflight.Fine("ClearML lets people sign in who are in no group (" + setting + " is off)")
	default:
		return []preflight.Finding{preflight.Warn("groupsync could not check whether people are shut out of ClearML: neither ClearML's variables nor its web application show whether ClearML refuses people who are in no group ("+setting+")",
			"name the file of ClearML's variables with --clearml-env")}
	}
	return p.surveyed(func(ctx context.Context) []preflight.Finding {
		found, err := p.outside(ctx)
		if err != nil {
			return []preflight.Finding{preflight.Unchecked(err, "run the check again")}
		}
		return found.findings("ClearML refuses people who are in no group that it knows (" + setting + "). ")
	})(ctx)
}

// outside is the result of the method outside: the ClearML users who are in no member list of an
// allowed group. An allowed group is a Keycloak group whose members may sign in to ClearML.
type outside struct {
	shut      []string // names of people who are also by their own side in no allowed group
	unasked   int      // people whom groupsync did not check, because there are more than mostAsked
	federated int      // people whom groupsync did not check, because an account comes from a federation
}

func (o outside) findings(begin string) []preflight.Finding {
	var findings []preflight.Finding
	if n := len(o.shut); n > 0 {
		findings = append(findings, preflight.Warn(fmt.Sprintf("%s%s whom ClearML knows cannot sign in: %s", begin, report.Counted(n, "person", "people"), preflight.Some(o.shut)),
			"put them into a Keycloak group that has a ClearML group of the same name, or switch the setting off"))
	}
	if n := o.unasked + o.federated; n > 0 {
		findings = append(findings, preflight.Warn(fmt.Sprintf("%sgroupsync did not check %s in no member list of such a group: %d because groupsync checks at most %d, and %d because they belong to a user federation, where each question would fill Keycloak's user cache", begin, report.Counted(n, "person who is", "people who are"), o.unasked, mostAsked, o.federated),
			"check single people with groupsync explain USER"))
	}
	if findings == nil {
		return preflight.Fine(begin + "Everybody whom ClearML knows and who may sign in through Keycloak is in such a group")
	}
	return findings
}

// outside asks Keycloak for the groups of each person who is in no member list of an allowed group.
// If the survey found no account of the person, it first looks the account up.
func (p *pairing) outside(ctx context.Context) (o outside, err error) {
	src, tgt, rules := p.view.Input.Source, p.view.Input.Target, p.view.Rules
	allowed := p.allowed()
	candidates := p.candidates(allowed)
	if n := len(candidates) - mostAsked; n > 0 {
		candidates, o.unasked = candidates[:mostAsked], n
	}
	var asks []source.Person
	for _, i := range candidates {
		if u := tgt.Users()[i]; len(p.view.People.Person(i).Accounts) == 0 {
			asks = append(asks, source.Person{Key: u.ID, IDs: rules.KeptIDs(u), Email: u.Email})
		}
	}
	if src, err = p.LookUp(ctx, src, asks, nil); err != nil {
		return o, fmt.Errorf("looking people up: %w", err)
	}
	who := match.Who(src, tgt, rules)
	local := make(map[int][]source.User)
	var all []source.User
	for _, i := range candidates {
		accounts := enabled(src, who.Person(i))
		if slices.ContainsFunc(accounts, func(a source.User) bool { return a.Federation != "" }) {
			o.federated++
			continue
		}
		local[i], all = accounts, append(all, accounts...)
	}
	own, err := p.GroupsOf(ctx, src.Catalog(), all, nil)
	if err != nil {
		return o, fmt.Errorf("reading people's groups: %w", err)
	}
	mayBeIn := func(a source.User) bool {
		return own[a.ID].Doubt != "" || slices.ContainsFunc(own[a.ID].Groups, func(g string) bool { return allowed[g] })
	}
	for _, i := range candidates {
		if len(local[i]) > 0 && !slices.ContainsFunc(local[i], mayBeIn) {
			o.shut = append(o.shut, named(tgt.Users()[i]))
		}
	}
	return o, nil
}

// allowed returns the ids of the Keycloak groups whose members may sign in. These are the
// groups that feed a user group or make administrators, and the groups with the same claim
// name as a ClearML group.
func (p *pairing) allowed() map[string]bool {
	ids, names := make(map[string]bool), make(map[string]bool)
	for _, f := range p.view.Pairing.Feeds {
		for _, g := range f.Sources {
			ids[g.ID] = true
		}
	}
	for _, g := range p.view.Input.Target.Groups() {
		if g.Role == "" {
			names[p.view.Rules.Key(g.Name)] = true
		}
	}
	for _, g := range p.view.Input.Source.Catalog().Groups() {
		if names[p.view.Rules.Key(p.view.Rules.Claim(g))] {
			ids[g.ID] = true
		}
	}
	return ids
}

// candidates returns the indexes of the ClearML users who sign in through Keycloak and are in
// no member list of an allowed group. It leaves out people who are gone or disabled.
func (p *pairing) candidates(allowed map[string]bool) (candidates []int) {
	src, users := p.view.Input.Source, p.view.Input.Target.Users()
	in := make(map[string]bool) // ids of the accounts in the member lists of allowed groups
	for id := range allowed {
		members, _ := src.Members(id)
		for _, account := range members {
			in[account] = true
		}
	}
	providersKnown := slices.ContainsFunc(users, func(u target.User) bool { return u.Providers != nil })
	for i, u := range users {
		person := p.view.People.Person(i)
		_, ours := u.Providers[p.view.Rules.Provider]
		accounts := enabled(src, person)
		switch {
		case u.ServiceAccount, providersKnown && !ours:
		case person.State == match.GoneNow, person.State == match.GoneKept, person.State == match.ServiceAccount:
		case len(person.Accounts) > 0 && len(accounts) == 0:
		case slices.ContainsFunc(accounts, func(a source.User) bool { return in[a.ID] }):
		default:
			candidates = append(candidates, i)
		}
	}
	return candidates
}

// enabled returns the enabled accounts that could be the person.
func enabled(src *source.Snapshot, person match.Person) (accounts []source.User) {
	for _, a := range person.Accounts {
		if account := src.Users()[a]; account.Enabled {
			accounts = append(accounts, account)
		}
	}
	return accounts
}
