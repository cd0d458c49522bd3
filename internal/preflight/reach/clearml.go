package reach

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"groupsync/internal/fault"
	"groupsync/internal/preflight"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/target"
	"groupsync/internal/target/clearml"
)

// clearmlSide has the requests that the checks of ClearML make.
type clearmlSide interface {
	Calls(ctx context.Context, setsRole bool) []clearml.Call
	Login(context.Context) (clearml.Login, error)
	Features(context.Context) ([]string, error)
	ServiceUsers(context.Context) ([]string, error)
	directory
}

// directory reads the user groups of ClearML with their members.
type directory interface {
	UserGroups(context.Context) ([]target.Group, error)
	Snapshot(context.Context, []target.Group) (*target.Snapshot, error)
}

// lookUp looks a person up in Keycloak.
type lookUp interface {
	Accounts(context.Context, source.Person) (accounts []source.User, byID bool, err error)
}

// ClearMLOptions hold the configuration that the checks of ClearML need.
type ClearMLOptions struct {
	Address  Address // with Side clearml
	Provider string  // clearml.provider
	// AdminsGroup and AdminsRole say what a pass writes to make somebody an administrator.
	// Both are false if the configuration names no administrators.
	AdminsGroup bool // the members of Admins
	AdminsRole  bool // the role admin
}

// ClearML returns the checks of ClearML. They check that groupsync can reach ClearML, that the
// credentials may read and write user groups, and that ClearML's own lists agree. people looks up
// in Keycloak whom the credentials belong to.
func ClearML(c clearmlSide, people lookUp, o ClearMLOptions) []preflight.Check {
	r := &clearmlReach{clearmlSide: c, people: people, ClearMLOptions: o}
	checks := append(o.Address.checks(), []preflight.Check{
		{Name: "clearml-calls", Run: r.calls},
		{Name: "clearml-credentials", Run: r.credentials},
		{Name: "clearml-rights", Run: r.rights},
		{Name: "clearml-version", Run: r.version},
		{Name: "clearml-features", Run: r.features},
		{Name: "clearml-builtin", Run: r.builtin},
		{Name: "clearml-admins", Run: r.admins},
		{Name: "clearml-views", Run: r.views},
		{Name: "clearml-identity", Run: r.identity},
	}...)
	return chained(checks, 5)
}

type clearmlReach struct {
	clearmlSide
	ClearMLOptions
	people lookUp

	login    clearml.Login
	snapshot *target.Snapshot // ClearML as the check clearml-rights has read it
}

func (r *clearmlReach) calls(ctx context.Context) (findings []preflight.Finding) {
	var there []string
	for _, c := range r.Calls(ctx, r.AdminsRole) {
		switch {
		case c.Err != nil:
			return preflight.Refused(c.Err, "check clearml.url: https://api.<domain>, or https://<web host>/api")
		case c.Missing && c.Needed:
			findings = append(findings, preflight.Fail("ClearML has no call "+c.Name, c.Advice))
		case c.Missing:
			findings = append(findings, preflight.Warn("ClearML has no call "+c.Name+", so "+c.Lost, c.Advice))
		default:
			there = append(there, c.Name)
		}
	}
	if len(there) > 0 {
		findings = append(findings, preflight.Fine("ClearML has "+strings.Join(there, ", "))...)
	}
	return findings
}

func (r *clearmlReach) credentials(ctx context.Context) []preflight.Finding {
	var err error
	if r.login, err = r.Login(ctx); err != nil {
		return preflight.Refused(err, "check clearml.access_key and clearml.secret_key: ClearML shows them only once, so make new ones if in doubt")
	}
	return preflight.Fine(fmt.Sprintf("ClearML accepts the credentials, which are those of the user %s; a token lives %s", r.login.Identity.User, r.login.Life))
}

func (r *clearmlReach) version(context.Context) []preflight.Finding {
	s := r.login.Server
	if s.Version == "" {
		return []preflight.Finding{preflight.Warn("groupsync could not complete this check: the token does not contain the version of ClearML", "read the version in ClearML's settings")}
	}
	seen := "ClearML " + s.Version
	if s.APIVersion != "" {
		seen += ", API " + s.APIVersion
	}
	if s.FeatureSet != "" {
		seen += ", feature set " + s.FeatureSet
	}
	return preflight.Fine(seen)
}

// userGroups is the feature that switches user groups on.
const userGroups = "user_management"

func (r *clearmlReach) features(ctx context.Context) []preflight.Finding {
	features, err := r.Features(ctx)
	f := fault.Of(err)
	switch {
	case err != nil && r.service() && (errors.Is(err, clearml.ErrNoFeatures) || f != nil && f.Reason == fault.Rejected):
		return preflight.Fine(fmt.Sprintf("the user %s is a service account, which has no features of its own; the check clearml-rights has read the user groups", r.login.Identity.User))
	case err != nil:
		return []preflight.Finding{preflight.Unchecked(err, "there is nothing to do if the check clearml-rights is ok: it has read the user groups")}
	case !slices.Contains(features, userGroups):
		return []preflight.Finding{preflight.Warn(fmt.Sprintf("the credentials do not have the feature %s, which the calls for user groups need. %s", userGroups, orNone(features)), "give the user a group with the feature "+userGroups+", or check the server's licence")}
	}
	return preflight.Fine("the credentials have the feature " + userGroups)
}

// service reports whether the credentials belong to a service account. A user who is not in the
// list of users counts as one, because some ClearML servers do not list service accounts there.
func (r *clearmlReach) service() bool {
	i, listed := r.snapshot.UserIndex(r.login.Identity.User)
	return !listed || r.snapshot.Users()[i].ServiceAccount
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "They have no features"
	}
	return "Their features are " + strings.Join(list, ", ")
}

// rights reads all users and user groups, as a pass does. It does not try to write, because
// writing needs the same roles as reading (reference/clearml-api.md).
func (r *clearmlReach) rights(ctx context.Context) []preflight.Finding {
	var err error
	if r.snapshot, err = Directory(ctx, r); err != nil {
		if f := fault.Of(err); f != nil && f.Reason == fault.Forbidden {
			return preflight.Refused(err, "give groupsync the access key of a ClearML administrator")
		}
		return preflight.Refused(err, "correct this cause: groupsync makes no pass until it can read all users and user groups")
	}
	groups, users, memberships := r.snapshot.Counts()
	return preflight.Fine(fmt.Sprintf("the role %q may read user groups: ClearML shows %d groups, %d users and %d memberships", r.login.Identity.Role, groups, users, memberships))
}

// Directory reads both views of every user group: the member list of the group, and the users' own
// lists of groups. If the views disagree, it reads both views once more, because a login between
// the two reads can cause a difference. The second result counts even if the views still disagree.
func Directory(ctx context.Context, c directory) (snapshot *target.Snapshot, err error) {
	for range 2 {
		groups, err := c.UserGroups(ctx)
		if err != nil {
			return nil, err
		}
		if snapshot, err = c.Snapshot(ctx, groups); err != nil || snapshot.Disagreements() == 0 {
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

func (r *clearmlReach) builtin(context.Context) (findings []preflight.Finding) {
	const todo = "look at the groups in ClearML's settings, under Users & Groups"
	for _, name := range target.BuiltinNames {
		problem := preflight.Warn
		if name == target.Admins && r.AdminsGroup {
			problem = preflight.Fail
		}
		groups := r.named(name)
		switch {
		case len(groups) == 0:
			findings = append(findings, problem(fmt.Sprintf("ClearML shows no user group %q, which is built in", name), todo))
		case len(groups) > 1:
			findings = append(findings, problem(fmt.Sprintf("ClearML shows %d user groups named %q, which is the name of a built-in group", len(groups), name), "rename the groups that are not built in"))
		case !groups[0].System:
			findings = append(findings, problem(fmt.Sprintf("the user group %q is not marked as built in (system)", name), todo))
		case name == target.Admins && r.AdminsGroup && !groups[0].Assignable:
			findings = append(findings, problem(fmt.Sprintf("the members of the user group %q cannot be changed (assignable is false)", name), "set admins.via to role, so that groupsync writes the role admin and not the group. Or remove admins.groups and admins.role, and make administrators in ClearML without groupsync"))
		}
	}
	if len(findings) == 0 {
		return preflight.Fine("the built-in groups are there: " + strings.Join(target.BuiltinNames, ", "))
	}
	return findings
}

// admins compares two lists of ClearML: the users with the role admin, and the members of the
// group Admins. It is unknown whether ClearML derives one from the other
// (reference/clearml-api.md). If a pass writes only the role, a user who has the role and is no
// member is no problem.
func (r *clearmlReach) admins(context.Context) (findings []preflight.Finding) {
	member := make(map[string]bool)
	for _, g := range r.named(target.Admins) {
		for _, id := range g.MemberIDs() {
			member[id] = true
		}
	}
	var only, without []string
	agree := 0
	for _, u := range r.snapshot.Users() {
		switch admin := target.Administrator(u.Role); {
		case u.ServiceAccount:
		case admin && member[u.ID]:
			agree++
		case u.Role == target.RoleAdmin:
			only = append(only, u.ID)
		case member[u.ID] && !admin:
			without = append(without, u.ID)
		}
	}
	if roleAlone := r.AdminsRole && !r.AdminsGroup; len(only) > 0 && !roleAlone {
		does := "groupsync writes only the group, so these users keep the role"
		if r.AdminsRole {
			does = "A pass sets both, the group and the role, for the people whom it finds in Keycloak"
		}
		findings = append(findings, preflight.Warn(fmt.Sprintf("users who have the role admin and are not members of Admins: %s. %s", preflight.Some(only), does),
			"look at their role in ClearML's settings, under Users & Groups"))
	}
	if len(without) > 0 {
		findings = append(findings, preflight.Warn(fmt.Sprintf("members of Admins whose role is not one of an administrator: %s. On this server, membership of the group alone may not give administrator rights", preflight.Some(without)),
			"try what such a user may do, and set the role in ClearML's settings, under Users & Groups"))
	}
	switch {
	case len(findings) > 0:
		return findings
	case len(only) > 0:
		return preflight.Fine(fmt.Sprintf("groupsync writes only the role admin. %s and the membership of Admins, and %d only the role. Service accounts are not counted", report.Counted(agree, "user has both the role", "users have both the role"), len(only)))
	}
	return preflight.Fine(fmt.Sprintf("the role admin and the membership of Admins agree: %s both. Service accounts are not counted", report.Counted(agree, "user has", "users have")))
}

func (r *clearmlReach) views(context.Context) (findings []preflight.Finding) {
	for _, g := range r.snapshot.Groups() {
		if differ := r.snapshot.Disagreement(g.ID); differ != "" {
			findings = append(findings, preflight.Warn(fmt.Sprintf("ClearML's two lists of the members of the user group %q differ: %s. groupsync writes nothing into such a group (guard views)", g.Name, differ),
				"run the check again, because a login between the two reads can cause this too. If the difference stays, open the group in ClearML and save it"))
		}
	}
	if r.snapshot.OneView() {
		findings = append(findings, preflight.Warn("ClearML returns only one list of the members of built-in groups, so groupsync cannot detect that the list of Admins is incomplete",
			"look at the members of Admins after the first pass that changes them"))
	}
	if len(findings) == 0 {
		return preflight.Fine("ClearML's two lists of the members agree for every user group")
	}
	return findings
}

// identity checks whether the credentials belong to a person. Such credentials stop working
// when the person leaves.
func (r *clearmlReach) identity(ctx context.Context) []preflight.Finding {
	const todo = "make a service account with the rights of an administrator in ClearML, and give groupsync its credentials (since ClearML 3.25, with CLEARML__services__organization__allow_service_user_admins=true)"
	id := r.login.Identity.User
	service, err := r.ServiceUsers(ctx)
	if f := fault.Of(err); err != nil && (f == nil || f.Reason != fault.NotFound) {
		return []preflight.Finding{preflight.Unchecked(err, "look in ClearML whose credentials groupsync has")}
	}
	if slices.Contains(service, id) {
		return preflight.Fine(fmt.Sprintf("the user %s is a service account", id))
	}
	i, listed := r.snapshot.UserIndex(id)
	if !listed {
		return preflight.Fine(fmt.Sprintf("the user %s is not in the list of users, so it is no person's account", id))
	}
	u := r.snapshot.Users()[i]
	accounts, byID, err := r.people.Accounts(ctx, source.Person{Key: id, IDs: u.Providers[r.Provider], Email: u.Email})
	switch how := map[bool]string{true: "id", false: "email"}[byID]; {
	case err != nil:
		return []preflight.Finding{preflight.Unchecked(err, "look in ClearML whether the user "+id+" is a person. If so, "+todo)}
	case len(accounts) > 0:
		return []preflight.Finding{preflight.Warn(fmt.Sprintf("the credentials belong to a person: the ClearML user %s is the Keycloak account %s, matched by the %s. When that person leaves, the credentials end, and groupsync stops", id, accounts[0].ID, how), todo)}
	}
	return preflight.Fine(fmt.Sprintf("the user %s is no service account, and Keycloak has no account that could be it", id))
}
