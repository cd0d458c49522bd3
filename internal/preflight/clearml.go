package preflight

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"groupsync/internal/fault"
	"groupsync/internal/source"
	"groupsync/internal/target"
	"groupsync/internal/target/clearml"
)

// clearmlSide is what the checks of Reach ask of ClearML.
type clearmlSide interface {
	Calls(context.Context) []clearml.Call
	Login(context.Context) (clearml.Login, error)
	Features(context.Context) ([]string, error)
	ServiceUsers(context.Context) ([]string, error)
	UserGroups(context.Context) ([]target.Group, error)
	Complete(context.Context, []target.Group) (*target.Snapshot, error)
}

// lookUp looks a person up in Keycloak.
type lookUp interface {
	Accounts(context.Context, source.Person) (accounts []source.User, byID bool, err error)
}

// ClearMLOptions say what of the configuration the checks of ClearML must know.
type ClearMLOptions struct {
	Address  Address // its Side is clearml
	Provider string  // clearml.provider
	Admins   bool    // the configuration says who becomes an administrator
}

// ClearMLReach returns the checks that ClearML can be reached, that the credentials may
// read and write user groups, and that ClearML shows them without contradiction.
func ClearMLReach(c clearmlSide, people lookUp, o ClearMLOptions) []Check {
	r := &clearmlReach{clearmlSide: c, people: people, ClearMLOptions: o}
	checks := append(o.Address.checks(), []Check{
		{Name: "clearml-calls", Look: r.calls},
		{Name: "clearml-credentials", Look: r.credentials},
		{Name: "clearml-rights", Look: r.rights},
		{Name: "clearml-version", Look: r.version},
		{Name: "clearml-features", Look: r.features},
		{Name: "clearml-builtin", Look: r.builtin},
		{Name: "clearml-admins", Look: r.admins},
		{Name: "clearml-views", Look: r.views},
		{Name: "clearml-identity", Look: r.identity},
	}...)
	return chained(checks, 5)
}

type clearmlReach struct {
	clearmlSide
	ClearMLOptions
	people lookUp

	login    clearml.Login
	snapshot *target.Snapshot // what rights read
}

func (r *clearmlReach) calls(ctx context.Context) (findings []Finding) {
	var there []string
	for _, c := range r.Calls(ctx) {
		switch {
		case c.Err != nil:
			return refusal(c.Err, "check clearml.url: https://api.<domain>, or https://<web host>/api")
		case c.Missing && c.Needed:
			findings = append(findings, Fail("ClearML has no call "+c.Name, "check clearml.url, and that the server is ClearML Enterprise with user groups (its feature user_management)"))
		case c.Missing:
			findings = append(findings, Warn("ClearML has no call "+c.Name+", so groupsync does not know the service accounts", "name the service accounts in users.protect"))
		default:
			there = append(there, c.Name)
		}
	}
	if len(there) > 0 {
		findings = append(findings, Fine("ClearML has "+strings.Join(there, ", "))...)
	}
	return findings
}

func (r *clearmlReach) credentials(ctx context.Context) []Finding {
	var err error
	if r.login, err = r.Login(ctx); err != nil {
		return refusal(err, "check clearml.access_key and clearml.secret_key: ClearML shows them only once, so make new ones if in doubt")
	}
	return Fine(fmt.Sprintf("ClearML accepts the credentials, which are those of the user %s; a token lives %s", r.login.Identity.User, r.login.Life))
}

func (r *clearmlReach) version(context.Context) []Finding {
	s := r.login.Server
	if s.Version == "" {
		return []Finding{Warn("groupsync could not look: the token does not tell the version of ClearML", "look into ClearML's settings which version runs")}
	}
	seen := "ClearML " + s.Version
	if s.APIVersion != "" {
		seen += ", API " + s.APIVersion
	}
	if s.FeatureSet != "" {
		seen += ", feature set " + s.FeatureSet
	}
	return Fine(seen)
}

// userGroups is the feature that switches user groups on.
const userGroups = "user_management"

func (r *clearmlReach) features(ctx context.Context) []Finding {
	features, err := r.Features(ctx)
	switch {
	case err != nil:
		return []Finding{Blind(err, "there is nothing to do if the check clearml-rights is ok: it has read the user groups")}
	case !slices.Contains(features, userGroups):
		return []Finding{Warn(fmt.Sprintf("the features of the credentials do not hold %s, which the calls of user groups need: %s", userGroups, orNone(features)), "give the user a group with the feature "+userGroups+", or check the server's licence")}
	}
	return Fine("the features of the credentials hold " + userGroups)
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "there are none"
	}
	return "they are " + strings.Join(list, ", ")
}

// rights reads all users and user groups, as a pass does. Writing needs the same roles
// as reading (reference/clearml-api.md), and is not tried.
func (r *clearmlReach) rights(ctx context.Context) []Finding {
	var err error
	if r.snapshot, err = directory(ctx, r); err != nil {
		if f := fault.Of(err); f != nil && f.Reason == fault.Forbidden {
			return refusal(err, "give groupsync the access key of a ClearML administrator")
		}
		return refusal(err, "fix what the sentence names: without all users and user groups there is no pass")
	}
	groups, users, memberships := r.snapshot.Counts()
	return Fine(fmt.Sprintf("the role %q may read user groups: ClearML shows %d groups, %d users and %d memberships", r.login.Identity.Role, groups, users, memberships))
}

// directory reads both views of every user group, and once more if they disagree: a login
// during the reading brings that about.
func directory(ctx context.Context, c federationTarget) (snapshot *target.Snapshot, err error) {
	for range 2 {
		groups, err := c.UserGroups(ctx)
		if err != nil {
			return nil, err
		}
		if snapshot, err = c.Complete(ctx, groups); err != nil || snapshot.Disagreements() == 0 {
			return snapshot, err
		}
	}
	return snapshot, nil
}

func (r *clearmlReach) named(name string) (groups []target.Group) {
	for _, g := range r.snapshot.Groups() {
		if g.Name == name {
			groups = append(groups, g)
		}
	}
	return groups
}

func (r *clearmlReach) builtin(context.Context) (findings []Finding) {
	const todo = "look at the groups in ClearML's settings, under Users & Groups"
	for _, name := range target.BuiltinNames {
		problem := Warn
		if name == target.Admins && r.Admins {
			problem = Fail
		}
		groups := r.named(name)
		switch {
		case len(groups) == 0:
			findings = append(findings, problem(fmt.Sprintf("ClearML shows no user group %q, which is built in", name), todo))
		case len(groups) > 1:
			findings = append(findings, problem(fmt.Sprintf("ClearML shows %d user groups named %q, which is the name of a built-in one", len(groups), name), "rename the groups that are not built in"))
		case !groups[0].System:
			findings = append(findings, problem(fmt.Sprintf("the user group %q is not marked as built in (system)", name), todo))
		case name == target.Admins && !groups[0].Assignable:
			findings = append(findings, problem(fmt.Sprintf("the members of the user group %q cannot be changed (assignable is false)", name), "make administrators in the way that ClearML is configured for, and empty admins.groups and admins.role"))
		}
	}
	if len(findings) == 0 {
		return Fine("the built-in groups are there: " + strings.Join(target.BuiltinNames, ", "))
	}
	return findings
}

// admins holds the role admin against the membership of Admins: whether they imply each
// other is unknown (reference/clearml-api.md).
func (r *clearmlReach) admins(context.Context) (findings []Finding) {
	member := make(map[string]bool)
	for _, g := range r.named(target.Admins) {
		for _, id := range g.MemberIDs() {
			member[id] = true
		}
	}
	var only, without []string
	agree := 0
	for _, u := range r.snapshot.Users() {
		switch admin := u.Role == "admin"; {
		case u.ServiceAccount:
		case admin && member[u.ID]:
			agree++
		case admin:
			only = append(only, u.ID)
		case member[u.ID]:
			without = append(without, u.ID)
		}
	}
	if len(only) > 0 {
		findings = append(findings, Warn(fmt.Sprintf("users who have the role admin and are not members of Admins: %s. groupsync writes the group, and does not take the role from them", some(only)),
			"look at their role in ClearML's settings, under Users & Groups"))
	}
	if len(without) > 0 {
		findings = append(findings, Warn(fmt.Sprintf("members of Admins who do not have the role admin: %s. On this server the group alone may not make an administrator", some(without)),
			"try what such a user may do, and set the role in ClearML's settings, under Users & Groups"))
	}
	if len(findings) == 0 {
		return Fine(fmt.Sprintf("the role admin and the membership of Admins agree: %d users have both, service accounts aside", agree))
	}
	return findings
}

// some returns the first few of a list.
func some(list []string) string {
	const most = 5
	if len(list) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
	}
	return strings.Join(list, ", ")
}

func (r *clearmlReach) views(context.Context) (findings []Finding) {
	for _, g := range r.snapshot.Groups() {
		if differ := r.snapshot.Disagreement(g.ID); differ != "" {
			findings = append(findings, Warn(fmt.Sprintf("ClearML shows the members of the user group %q differently from its two sides: %s. groupsync writes nothing into such a group (guard views)", g.Name, differ),
				"run the check again, because a login between the two reads looks the same. If the difference stays, open the group in ClearML and save it"))
		}
	}
	if r.snapshot.OneView() {
		findings = append(findings, Warn("ClearML shows the members of built-in groups from one side only, so groupsync would not notice if the list of Admins were cut short",
			"look at the members of Admins after the first pass that changes them"))
	}
	if len(findings) == 0 {
		return Fine("ClearML shows the members of every user group alike from both sides")
	}
	return findings
}

// identity looks whether the credentials are a person's: that person leaves one day.
func (r *clearmlReach) identity(ctx context.Context) []Finding {
	const todo = "make a service account with the rights of an administrator in ClearML, and give groupsync its credentials (since ClearML 3.25, with CLEARML__services__organization__allow_service_user_admins=true)"
	id := r.login.Identity.User
	service, err := r.ServiceUsers(ctx)
	if f := fault.Of(err); err != nil && (f == nil || f.Reason != fault.NotFound) {
		return []Finding{Blind(err, "look in ClearML whose credentials groupsync has")}
	}
	if slices.Contains(service, id) {
		return Fine(fmt.Sprintf("the user %s is a service account", id))
	}
	i, listed := r.snapshot.UserIndex(id)
	if !listed {
		return Fine(fmt.Sprintf("the user %s is not in the list of users, so it is no person's account", id))
	}
	u := r.snapshot.Users()[i]
	accounts, byID, err := r.people.Accounts(ctx, source.Person{Key: id, IDs: u.Providers[r.Provider], Email: u.Email})
	switch how := map[bool]string{true: "id", false: "email"}[byID]; {
	case err != nil:
		return []Finding{Blind(err, "look in ClearML whether the user "+id+" is a person. If so, "+todo)}
	case len(accounts) > 0:
		return []Finding{Warn(fmt.Sprintf("the credentials are a person's own: the ClearML user %s is the Keycloak account %s, by its %s. When that person leaves, the credentials end, and groupsync stops", id, accounts[0].ID, how), todo)}
	}
	return Fine(fmt.Sprintf("the user %s is no service account, and Keycloak has no account that could be it", id))
}
