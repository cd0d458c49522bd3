package reach

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"groupsync/internal/preflight"
	"groupsync/internal/source"
	"groupsync/internal/source/keycloak"
)

// keycloakSide has the requests that the checks of Keycloak make.
type keycloakSide interface {
	Discover(context.Context) (keycloak.Discovery, error)
	SignIn(context.Context) (keycloak.Grant, error)
	Settings(context.Context) (keycloak.Settings, error)
	DefaultRoles(context.Context) ([]string, error)
	Version(context.Context) (string, error)
	Catalog(context.Context) (source.Catalog, error)
}

// KeycloakOptions hold the configuration that the checks of Keycloak need.
type KeycloakOptions struct {
	Address   Address // with Side keycloak
	Realm     string
	ClientID  string
	AdminRole string // admins.role; empty: none
	Events    bool   // the daemon reads admin events: keycloak.events is poll
}

// Keycloak returns the checks of Keycloak. They check that groupsync can reach Keycloak, and that
// groupsync's client may read what a pass reads, and nothing else.
func Keycloak(k keycloakSide, o KeycloakOptions) []preflight.Check {
	r := &keycloakReach{keycloakSide: k, KeycloakOptions: o}
	checks := append(o.Address.checks(), []preflight.Check{
		{Name: "keycloak-realm", Run: r.realm},
		{Name: "keycloak-credentials", Run: r.credentials},
		{Name: "keycloak-token", Run: r.token},
		{Name: "keycloak-scope", Run: r.scope},
		{Name: "keycloak-roles", Run: r.roles},
		{Name: "keycloak-version", Run: r.version},
		{Name: "keycloak-permissions", Run: r.permissions},
		{Name: "keycloak-groups", Run: r.groups},
	}...)
	if o.Events {
		checks = append(checks, preflight.Check{Name: "keycloak-events", Run: r.events})
	}
	return chained(checks, 7)
}

// chained sets After of the checks of one side. Each of the first n checks depends on all checks
// before it. Every later check depends only on the first n checks.
func chained(checks []preflight.Check, n int) []preflight.Check {
	var names []string
	for i := range checks {
		checks[i].After = slices.Clone(names)
		if i < n {
			names = append(names, checks[i].Name)
		}
	}
	return checks
}

// Prerequisites returns the names of the checks that must find no error before another package's
// checks can read this side. side is the result of Keycloak or ClearML.
func Prerequisites(side []preflight.Check) []string { return side[len(side)-1].After }

type keycloakReach struct {
	keycloakSide
	KeycloakOptions
	grant keycloak.Grant // the token of the last sign-in, with the roles in the token
}

func (r *keycloakReach) realm(ctx context.Context) []preflight.Finding {
	d, err := r.Discover(ctx)
	if err != nil {
		return preflight.Refused(err, "check keycloak.url and keycloak.realm, and Keycloak's health")
	}
	if d.Issuer == "" {
		return []preflight.Finding{preflight.Fail("the realm's discovery document has no issuer, so the answer does not come from Keycloak", "check keycloak.url, and the proxies between groupsync and Keycloak")}
	}
	return preflight.Fine(fmt.Sprintf("Keycloak has the realm %q, whose issuer is %s", r.Realm, d.Issuer))
}

func (r *keycloakReach) credentials(ctx context.Context) (findings []preflight.Finding) {
	var err error
	if r.grant, err = r.SignIn(ctx); err != nil {
		return preflight.Refused(err, "check keycloak.client_id and the client secret, and look into Keycloak's log")
	}
	return preflight.Fine(fmt.Sprintf("Keycloak accepts the secret of the client %q, by the method %s", r.ClientID, r.grant.Method))
}

// The shortest and the longest lifetime of an access token that cause no warning. groupsync renews
// a token when a quarter of its lifetime is left, at most 30 seconds before the end.
const (
	shortToken = time.Minute
	longToken  = time.Hour
)

func (r *keycloakReach) token(context.Context) []preflight.Finding {
	const where = `"Access Token Lifespan" in Realm settings > Tokens, or for the client in `
	client := "Clients > " + r.ClientID + " > Advanced > Advanced settings"
	switch life := r.grant.Life; {
	case life < shortToken:
		return []preflight.Finding{preflight.Warn(fmt.Sprintf("an access token lives %s. A pass renews it every few seconds, and Keycloak refuses a request that is sent after its token has ended", life),
			fmt.Sprintf("set %s%s, to one minute at least", where, client))}
	case life > longToken:
		return []preflight.Finding{preflight.Warn(fmt.Sprintf("an access token lives %s. Anybody who gets a token can read the realm for that time", life),
			fmt.Sprintf("set %s%s, to five minutes, for example: groupsync renews it by itself", where, client))}
	default:
		return preflight.Fine(fmt.Sprintf("an access token lives %s", life))
	}
}

// scope checks whether the token carries any roles. A service account always holds some default
// roles. So if the token carries none, Keycloak left the roles out of the token, and the token does
// not show what groupsync may read.
func (r *keycloakReach) scope(context.Context) []preflight.Finding {
	if r.grant.Refusal != nil && len(r.grant.RealmRoles) == 0 && len(r.grant.ClientRoles) == 0 {
		return preflight.Refused(r.grant.Refusal, "")
	}
	if len(r.grant.RealmRoles) == 0 {
		return preflight.Fine(`the token carries roles of clients and none of the realm. "Full scope allowed" may be off, which is all right if the check keycloak-roles is ok`)
	}
	return preflight.Fine("the token carries roles of clients and of the realm")
}

// usedRoles are the roles of Keycloak's management client (realm-management) that groupsync uses,
// and the roles that these include.
var usedRoles = []string{"view-users", "view-realm", "view-clients", "query-users", "query-groups", "query-clients", "query-realms"}

func (r *keycloakReach) roles(ctx context.Context) []preflight.Finding {
	assign := fmt.Sprintf("in Clients > %s > Service account roles", r.ClientID)
	held := r.grant.ClientRoles[r.grant.Management]
	if r.grant.Refusal != nil {
		findings := preflight.Refused(r.grant.Refusal, "assign view-users and view-realm of "+r.grant.Management+" "+assign)
		if slices.Contains(held, "query-groups") && !slices.Contains(held, "view-users") {
			findings[0].Seen += " The role query-groups with fine-grained permissions is not enough: Keycloak would then leave hidden groups out of its count of groups too, so groupsync could not detect that groups are missing."
		}
		return findings
	}
	findings := preflight.Fine("the token carries view-users and view-realm of " + r.grant.Management)
	findings = append(findings, r.viewClients(held, assign)...)
	return append(findings, r.excess(ctx, assign)...)
}

// viewClients checks the role view-clients. groupsync needs the role only for admins.role. assign
// is the place in the admin console where a person assigns the role.
func (r *keycloakReach) viewClients(held []string, assign string) []preflight.Finding {
	ofRealm, _ := source.RealmRole(r.AdminRole)
	todo := fmt.Sprintf("assign view-clients of %s %s", r.grant.Management, assign)
	switch {
	case r.AdminRole == "" || slices.Contains(held, "view-clients"):
		return nil
	case ofRealm:
		return []preflight.Finding{preflight.Warn(fmt.Sprintf("the token lacks view-clients of %s: groupsync does not see who holds the admin role %q through a composite role of a client", r.grant.Management, r.AdminRole), todo)}
	default:
		return []preflight.Finding{preflight.Fail(fmt.Sprintf("the token lacks view-clients of %s, and admins.role is the client's role %q", r.grant.Management, r.AdminRole), todo)}
	}
}

// excess warns of roles that the token carries and groupsync does not use. It leaves out the roles
// of the client "account", because these are default roles and concern only the account itself.
func (r *keycloakReach) excess(ctx context.Context, assign string) (findings []preflight.Finding) {
	warn := func(whose string, roles []string) {
		if len(roles) > 0 {
			findings = append(findings, preflight.Warn(fmt.Sprintf("the token carries roles %s that groupsync never uses: %s. Anybody who gets the client secret has these roles too", whose, strings.Join(roles, ", ")),
				"remove these roles "+assign+", or from the group that gives them to the service account"))
		}
	}
	beyond := func(roles, known []string) []string {
		return slices.DeleteFunc(slices.Clone(roles), func(role string) bool { return slices.Contains(known, role) })
	}
	for _, client := range slices.Sorted(maps.Keys(r.grant.ClientRoles)) {
		switch roles := r.grant.ClientRoles[client]; client {
		case r.grant.Management:
			used := usedRoles
			if r.Events {
				used = append(slices.Clone(used), "view-events")
			}
			warn("of the client "+client, beyond(roles, used))
		case "account":
		default:
			warn("of the client "+client, roles)
		}
	}
	defaults, err := r.DefaultRoles(ctx)
	if err != nil {
		return append(findings, preflight.Unchecked(err, "look "+assign+" for realm roles that groupsync does not need"))
	}
	warn("of the realm", beyond(r.grant.RealmRoles, defaults))
	return findings
}

// events checks what keycloak.events: poll needs. It reports problems as warnings and not as
// errors, because without events a change in Keycloak only waits for the next scheduled pass.
func (r *keycloakReach) events(ctx context.Context) []preflight.Finding {
	if !slices.Contains(r.grant.ClientRoles[r.grant.Management], "view-events") {
		return []preflight.Finding{preflight.Warn(fmt.Sprintf("keycloak.events is poll, and the token lacks view-events of %s: groupsync cannot read admin events, so changes in Keycloak wait for the schedule", r.grant.Management),
			fmt.Sprintf("assign view-events of %s in Clients > %s > Service account roles, or set keycloak.events: off", r.grant.Management, r.ClientID))}
	}
	settings, err := r.Settings(ctx)
	switch {
	case err != nil:
		return []preflight.Finding{preflight.Unchecked(err, "look in Realm settings > Events > Admin events settings whether events are saved")}
	case settings.AdminEvents == nil:
		return []preflight.Finding{preflight.Warn("Keycloak does not return whether the realm saves admin events", "look in Realm settings > Events > Admin events settings")}
	case !*settings.AdminEvents:
		return []preflight.Finding{preflight.Warn("keycloak.events is poll, and the realm saves no admin events: changes in Keycloak wait for the schedule",
			"switch on Realm settings > Events > Admin events settings > Save events")}
	}
	return preflight.Fine("the realm saves admin events, and groupsync may read them")
}

func (r *keycloakReach) permissions(ctx context.Context) []preflight.Finding {
	settings, err := r.Settings(ctx)
	switch {
	case err != nil:
		return []preflight.Finding{preflight.Unchecked(err, "look at Realm settings > General > Admin permissions")}
	case settings.Permissions != nil && *settings.Permissions:
		return preflight.Fine("fine-grained admin permissions are on. They hide nothing from groupsync, since the token carries view-users")
	default:
		return preflight.Fine("fine-grained admin permissions are off")
	}
}

func (r *keycloakReach) groups(ctx context.Context) []preflight.Finding {
	c, err := r.Catalog(ctx)
	if err != nil {
		return preflight.Refused(err, "correct this cause: groupsync makes no pass until it can read the complete list of groups")
	}
	return preflight.Fine(fmt.Sprintf("Keycloak lists %d groups, and its count of groups is the same", len(c.Groups())))
}

// oldest is the oldest major release of Keycloak that groupsync supports and is tested with.
const oldest = 24

func (r *keycloakReach) version(ctx context.Context) []preflight.Finding {
	todo := fmt.Sprintf("make sure that Keycloak is %d or newer", oldest)
	v, err := r.Version(ctx)
	if err != nil {
		return []preflight.Finding{preflight.Unchecked(err, todo)}
	}
	if v == "" {
		return r.versionNotShown(ctx, todo)
	}
	major, err := strconv.Atoi(strings.SplitN(v, ".", 2)[0])
	switch {
	case err != nil:
		return []preflight.Finding{preflight.Warn(fmt.Sprintf("groupsync could not complete this check: Keycloak's version %q is not a number", v), todo)}
	case major < oldest:
		return []preflight.Finding{preflight.Fail(fmt.Sprintf("Keycloak is %s, and groupsync supports %d and newer", v, oldest), "upgrade Keycloak")}
	case major < leavesDisabled:
		if found := r.enablesAgain(ctx, v); found != nil {
			return found
		}
	}
	return preflight.Fine(fmt.Sprintf("Keycloak is %s; groupsync supports %d and newer", v, oldest))
}

// leavesDisabled is the first major release of Keycloak without this fault: when groupsync reads
// the members of an LDAP group, Keycloak enables accounts that an administrator has disabled.
const leavesDisabled = 26

// enablesAgain returns the warning for a Keycloak before leavesDisabled. In a realm without a
// federation it returns nil.
func (r *keycloakReach) enablesAgain(ctx context.Context, version string) []preflight.Finding {
	catalog, err := r.Catalog(ctx)
	if err != nil {
		return []preflight.Finding{preflight.Unchecked(err, fmt.Sprintf("upgrade to Keycloak %d if people come from LDAP", leavesDisabled))}
	}
	if len(catalog.Federations()) == 0 {
		return nil
	}
	return []preflight.Finding{preflight.Warn(
		fmt.Sprintf("Keycloak is %s. When the members of an LDAP group are read, Keycloak before %d enables accounts again that an administrator disabled in Keycloak. groupsync reads members in every pass", version, leavesDisabled),
		fmt.Sprintf("upgrade to Keycloak %d, or disable people in LDAP", leavesDisabled))}
}

// versionNotShown checks a Keycloak that does not show its version to groupsync's client. If the
// realm has the setting "Admin permissions", the release is newer than 26.0, and so supported: older
// releases lack the setting. If the realm lacks it, the release is not known.
func (r *keycloakReach) versionNotShown(ctx context.Context, todo string) []preflight.Finding {
	settings, err := r.Settings(ctx)
	switch {
	case err != nil:
		return []preflight.Finding{preflight.Unchecked(err, todo)}
	case settings.Permissions == nil:
		return []preflight.Finding{preflight.Warn("groupsync could not complete this check: Keycloak does not show the client its version, and the settings of the realm do not show it", todo)}
	}
	return preflight.Fine("Keycloak does not show the client its version. The settings of the realm show that Keycloak is newer than 26.0")
}
