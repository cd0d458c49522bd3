package federation_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"groupsync/internal/match"
	"groupsync/internal/preflight"
	"groupsync/internal/preflight/federation"
	"groupsync/internal/source"
	"groupsync/internal/source/keycloak"
	"groupsync/internal/target"
)

// realm is a Keycloak in memory, and the ClearML that belongs to it. People are accounts of
// the federation corp. A name x@other belongs to the federation other, and a name that begins
// with "local" to no federation. A name that begins with "off" is a disabled account. A
// group's id is its path.
type realm struct {
	storages []keycloak.Storage
	defaults []string // paths
	groups   []string // paths; ClearML has a team with the name of each, except those in unfed
	unfed    []string
	lists    map[string]string // by path: the people whom the list shows; a name that is there twice is listed twice
	own      map[string]string // by path: the people whose own side has the group; a missing path is as in lists
	roles    map[string]string // by role: the holders by the list
	held     map[string]string // by role: the holders by their own side
	gives    string            // path of a group whose members hold the role
	teams    map[string]string // by name: members in ClearML
	settled  []string          // people whom only a look-up finds

	away       map[string]string // by federation id: the answer of the probe
	goes       map[string]string // by federation id: the answer of the probe from the second look on
	unreadable map[string]string // by path
	failed     map[string]string // by name: why the own side could not be read
	forbidden  error             // error of reading the configuration
	broken     error             // error of reading the lists
	blind      error             // error of reading ClearML

	asked []source.Question
}

const corp = "corp-id"

// ldap is a federation without any trait.
func ldap(change func(*keycloak.Storage)) keycloak.Storage {
	s := keycloak.Storage{
		ID: corp, Name: "corp", Provider: "ldap", Enabled: true, Imports: true, CachePolicy: "DEFAULT", Sync: time.Hour,
		ConnectionTimeout: true, ReadTimeout: true, UsernameAttribute: "uid", RDNAttribute: "uid", UUIDAttribute: "entryUUID",
		Mappers: []keycloak.StorageMapper{ldapMapper("groups", "/", "READ_ONLY")},
	}
	if change != nil {
		change(&s)
	}
	return s
}

func ldapMapper(name, path, mode string) keycloak.StorageMapper {
	return keycloak.StorageMapper{ID: name, Name: name, Kind: keycloak.GroupMapper, Mode: mode, Path: path, NameAttribute: "cn"}
}

func (r *realm) InspectFederations(context.Context) (keycloak.FederationSettings, error) {
	out := keycloak.FederationSettings{Storages: r.storages}
	for _, path := range r.defaults {
		out.DefaultGroups = append(out.DefaultGroups, group(path))
	}
	return out, r.forbidden
}

func group(path string) source.Group {
	return source.Group{ID: path, Name: path[strings.LastIndex(path, "/")+1:], Path: path}
}

func (r *realm) ProbeFederations(_ context.Context, federations []source.Federation) []source.Probe {
	return r.probes(federations, r.away)
}

func (r *realm) probes(federations []source.Federation, away map[string]string) []source.Probe {
	var probes []source.Probe
	for _, f := range federations {
		probes = append(probes, source.Probe{Federation: f, Up: away[f.ID] == "", Detail: away[f.ID]})
	}
	return probes
}

func (r *realm) Catalog(context.Context) (source.Catalog, error) {
	var p source.CatalogParts
	for _, path := range r.groups {
		p.Groups = append(p.Groups, group(path))
	}
	for _, s := range r.storages {
		p.Federations = append(p.Federations, source.Federation{ID: s.ID, Name: s.Name, Enabled: s.Enabled, Imports: s.Imports})
	}
	p.Counted = len(p.Groups)
	return source.NewCatalog(p)
}

func person(name string) source.User {
	u := source.User{ID: "id-" + name, Username: name, Email: name + "@example.org", Enabled: true, Federation: corp}
	if at := strings.Index(name, "@"); at > 0 {
		u.Federation = name[at+1:]
	}
	if strings.HasPrefix(name, "local") {
		u.Federation = ""
	}
	u.Enabled = !strings.HasPrefix(name, "off")
	return u
}

func persons(names string) []source.User {
	users := []source.User{}
	for _, name := range strings.Fields(names) {
		users = append(users, person(name))
	}
	return users
}

func (r *realm) members(groups []string) map[string][]source.User {
	members := make(map[string][]source.User)
	for _, path := range groups {
		if r.unreadable[path] == "" {
			members[path] = persons(r.lists[path])
		}
	}
	return members
}

func (r *realm) Read(_ context.Context, c source.Catalog, sel source.Selection) (*source.Snapshot, error) {
	if r.broken != nil {
		return nil, r.broken
	}
	parts := source.Parts{Catalog: c, Selection: sel, Unreadable: r.unreadable, Roles: r.holders(sel.Roles)}
	parts.Members = r.members(slices.Concat(sel.Groups, strings.Fields(r.gives)))
	return source.NewSnapshot(parts)
}

func (r *realm) holders(names []string) map[string]*source.RoleHolders {
	roles := make(map[string]*source.RoleHolders)
	for _, name := range names {
		holders, found := r.roles[name]
		roles[name] = &source.RoleHolders{Name: name, Found: found, Direct: persons(holders), Groups: strings.Fields(r.gives)}
	}
	return roles
}

func (r *realm) LookUp(_ context.Context, snap *source.Snapshot, people []source.Person, _ []source.Federation) (*source.Snapshot, error) {
	var l source.LookUps
	for _, p := range people {
		f := source.Found{Person: p, ByID: true}
		if slices.Contains(r.settled, p.Key) {
			f.Accounts = persons(p.Key)
		}
		l.Found = append(l.Found, f)
	}
	return snap.With(l)
}

func (r *realm) Confirm(ctx context.Context, snap *source.Snapshot, questions []source.Question, _ []source.Federation) (source.Confirmation, error) {
	r.asked = questions
	second := source.SecondLook{
		Probes: r.probes(snap.Catalog().Federations(), r.goes), Own: make(map[source.OwnKey]source.Own), Effective: make(map[source.Held]bool),
		Failed: make(map[string]string), Members: r.members(r.groups), Roles: r.holders(slices.Collect(maps.Keys(r.roles))),
	}
	for _, q := range questions {
		u := q.Accounts[0]
		if why := r.failed[u.Username]; why != "" {
			second.Failed[u.ID] = why
			continue
		}
		if q.Role != "" {
			second.Effective[source.Held{Account: u.ID, Role: q.Role}] = slices.Contains(strings.Fields(r.held[q.Role]), u.Username)
			continue
		}
		second.Own[source.OwnKey{Account: u.ID, Name: q.Sources[0].Name}] = r.ownSide(u.Username, q.Sources[0].Name)
	}
	return source.Weigh(snap, questions, second), nil
}

// ownSide is the own side of one person.
func (r *realm) ownSide(username, name string) source.Own {
	o := source.Own{Asked: true}
	for _, path := range r.groups {
		holders, different := r.own[path]
		if !different {
			holders = r.lists[path]
		}
		if !slices.Contains(strings.Fields(holders), username) {
			continue
		}
		o.Cached = append(o.Cached, path)
		if strings.Contains(group(path).Name, name) {
			o.Count++
		}
	}
	return o
}

// beside is the ClearML of a realm.
type beside struct{ *realm }

func (c beside) UserGroups(context.Context) ([]target.Group, error) {
	if c.blind != nil {
		return nil, c.blind
	}
	groups := []target.Group{{ID: "Admins", Name: target.Admins, System: true, Assignable: true, Members: teamOf(c.teams[target.Admins])}}
	for _, path := range c.groups {
		if !slices.Contains(c.unfed, path) {
			groups = append(groups, target.Group{ID: path, Name: path, Assignable: true, Members: teamOf(c.teams[path])})
		}
	}
	return groups, nil
}

func (c beside) Snapshot(_ context.Context, groups []target.Group) (*target.Snapshot, error) {
	p := target.Parts{Identity: target.Identity{User: "self"}, Users: []target.User{{ID: "self", Email: "self@example.org", ServiceAccount: true}}, Groups: groups}
	known := make(map[string]bool)
	for _, names := range c.teams {
		for _, name := range strings.Fields(names) {
			if !known[name] {
				known[name] = true
				p.Users = append(p.Users, target.User{ID: name, Name: name, Email: name + "@example.org", Providers: map[string][]string{"keycloak": {"id-" + name}}})
			}
		}
	}
	return target.NewSnapshot(p)
}

func teamOf(names string) []target.Member {
	var members []target.Member
	for _, name := range strings.Fields(names) {
		members = append(members, target.Member{ID: name, Name: name})
	}
	return members
}

func rules(t *testing.T, role string) match.Rules {
	t.Helper()
	r, err := match.Compile(match.Options{FullPath: true, Include: []string{"*"}, Provider: "keycloak", AdminRole: role})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// look makes one of the two checks of the federations and returns the findings as lines.
func look(t *testing.T, checks []preflight.Check, name string) string {
	t.Helper()
	at := slices.IndexFunc(checks, func(c preflight.Check) bool { return c.Name == name })
	if at < 0 {
		t.Fatalf("there is no check %q", name)
	}
	return lines(checks[at].Run(t.Context()))
}

// lines returns findings as text: the level, what was seen, and the advice below it.
func lines(findings []preflight.Finding) string {
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "%s: %s\n", f.Level, f.Seen)
		if f.Advice != "" {
			fmt.Fprintf(&b, "    %s\n", f.Advice)
		}
	}
	return b.String()
}

func wantLines(t *testing.T, what, got, want string) {
	t.Helper()
	if d := gocmp.Diff(want, got); d != "" {
		t.Errorf("%s: -want +got\n%s\nwhole:\n%s", what, d, got)
	}
}

// The advice of the rules, which several rows expect.
const (
	adviceHardcoded = "let LDAP hold the group and a group mapper read it, or leave the group to ClearML's own sync at login"
	adviceOverlap   = "give each mapper a groups path that is not below the path of the other mapper, or let one mapper read all the groups"
	adviceFilter    = "remove the user filter of the federation, or identify entries by an attribute that is made for it, such as entryUUID or objectGUID. With another attribute, Keycloak may treat existing people as new people. Test this first"
	adviceTimeouts  = `set "Connection timeout" and "Read timeout" of the federation, for example to 5000 and 10000 milliseconds`
	adviceSameNames = "look in LDAP for groups with the same name. Rename all but one of them, or give each unit a mapper with a groups path of its own"
	adviceLDAPOnly  = "set the mode of the mapper to READ_ONLY, or take the group out of the realm's default groups"
	adviceRows      = "set the mode of the mapper to READ_ONLY. If these people should not be in the group, take them out of it in Keycloak then, and set the mode back"
	adviceImport    = `switch on "Import users" in the federation, or take the group out of the realm's default groups`
	adviceCache     = "set a periodic sync of changed users, or the cache policy MAX_LIFESPAN or NO_CACHE"
	adviceRole      = "give the role to a group, and name that group in admins.groups"
	adviceLeaf      = "rename the other Keycloak group, or give the mapper a groups path below which only LDAP groups are"
	adviceNoCause   = "compare the group in LDAP with the list in Keycloak's admin console. groupsync follows the people's own side, as a login does"
	adviceBlind     = "correct the cause first, then run groupsync check again"
	adviceUsername  = "let every member of an LDAP group have uid, and check that entries are named by cn"
	adviceOff       = "switch the federation on. If it is no longer needed, delete it: Keycloak then deletes the people that it imported"
	adviceAway      = "check the federation in Keycloak and its server, then run groupsync check again"
)

const nothing = "ok: nothing in the configuration of the federation corp makes a list that feeds a ClearML group differ from what a login reads\n"

func TestFederationLint(t *testing.T) {
	overlap := func(paths string) string {
		return "warning: the group mappers groups (groups path /" + paths + " of the federation corp overlap. If both find an LDAP group with the same name, Keycloak's list of the group shows the people of one mapper only\n    " + adviceOverlap + "\n"
	}
	for _, tt := range []struct {
		name  string
		realm realm
		role  string
		want  string
	}{
		{name: "a realm without federations", realm: realm{}, want: "ok: the realm has no user federation\n"},
		{name: "a federation that has nothing to be said of", realm: realm{storages: []keycloak.Storage{ldap(nil)}}, want: nothing},
		{name: "two such federations", realm: realm{storages: []keycloak.Storage{ldap(nil), ldap(func(s *keycloak.Storage) { s.ID, s.Name = "other", "other" })}},
			want: "ok: nothing in the configuration of the federations corp and other makes a list that feeds a ClearML group differ from what a login reads\n"},
		{name: "a federation that is switched off has no other finding", realm: realm{storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) { s.Enabled, s.ReadTimeout = false, false })}},
			want: "warning: the federation corp is switched off. Its people cannot sign in, and groupsync neither adds nor removes any of them\n    " + adviceOff + "\n"},
		{name: "two group mappers of one path", realm: realm{storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) {
			s.Mappers = append(s.Mappers, ldapMapper("more", "/", "READ_ONLY"))
		})}}, want: overlap(") and more (groups path /)")},
		{name: "a group mapper below the path of another one", realm: realm{storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) {
			s.Mappers = append(s.Mappers, ldapMapper("more", "/team", "READ_ONLY"))
		})}}, want: overlap(") and more (groups path /team)")},
		{name: "the same the other way round", realm: realm{storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) {
			s.Mappers = []keycloak.StorageMapper{ldapMapper("groups", "/team", "READ_ONLY"), ldapMapper("more", "/", "LDAP_ONLY")}
		})}}, want: overlap("team) and more (groups path /)")},
		{name: "mappers overlap where nothing is fed", realm: realm{storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) {
			s.Mappers = append(s.Mappers, ldapMapper("more", "/elsewhere", "READ_ONLY"))
		})}}, want: nothing},
		{name: "paths that only begin with the same letters do not overlap", realm: realm{storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) {
			s.Mappers = []keycloak.StorageMapper{ldapMapper("a", "/tea", "READ_ONLY"), ldapMapper("b", "/team", "READ_ONLY")}
		})}}, want: nothing},
		{name: "a mapper of the mode IMPORT overlaps nothing", realm: realm{storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) {
			s.Mappers = append(s.Mappers, ldapMapper("more", "/", "IMPORT"))
		})}}, want: nothing},
		{name: "mappers of two federations do not overlap", realm: realm{storages: []keycloak.Storage{ldap(nil), ldap(func(s *keycloak.Storage) { s.ID, s.Name = "other", "other" })}},
			want: "ok: nothing in the configuration of the federations corp and other makes a list that feeds a ClearML group differ from what a login reads\n"},
		{name: "a user filter that also hits the look-up of groups", realm: realm{storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) { s.UUIDAttribute, s.UserFilter = "CN", "(mail=*)" })}},
			want: "error: the federation corp has a user filter and identifies entries by CN, and its mapper groups finds groups by cn too, so the filter of people is applied to groups. Keycloak finds no group that the filter leaves out and lists nobody for it, so groupsync adds nobody from this list\n    " + adviceFilter + "\n"},
		{name: "the same attribute without a user filter", realm: realm{storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) { s.UUIDAttribute = "cn" })}}, want: nothing},
		{name: "a user filter with another attribute", realm: realm{storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) { s.UserFilter = "(mail=*)" })}}, want: nothing},
		{name: "a hardcoded group", realm: realm{storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) {
			s.Mappers = append(s.Mappers, keycloak.StorageMapper{Name: "all", Kind: keycloak.HardcodedGroup, Group: "/team"})
		})}}, want: "warning: the mapper all of the federation corp puts everybody into the group /team. Keycloak's list of the group shows none of them, so groupsync adds none of them; a login does\n    " + adviceHardcoded + "\n"},
		{name: "a hardcoded group that feeds nothing", realm: realm{storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) {
			s.Mappers = append(s.Mappers, keycloak.StorageMapper{Name: "all", Kind: keycloak.HardcodedGroup, Group: "/elsewhere"})
		})}}, want: nothing},
		{name: "a hardcoded group while ClearML cannot be read may feed something", realm: realm{blind: errors.New("no ClearML"), storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) {
			s.Mappers = append(s.Mappers, keycloak.StorageMapper{Name: "all", Kind: keycloak.HardcodedGroup, Group: "/elsewhere"})
		})}}, want: "warning: the mapper all of the federation corp puts everybody into the group /elsewhere. Keycloak's list of the group shows none of them, so groupsync adds none of them; a login does\n    " + adviceHardcoded + "\n"},
		{name: "a hardcoded role of administrators", role: "boss", realm: realm{roles: map[string]string{"boss": ""}, storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) {
			s.Mappers = append(s.Mappers, keycloak.StorageMapper{Name: "all", Kind: keycloak.HardcodedRole, Role: "boss"})
		})}}, want: "warning: the mapper all of the federation corp gives everybody the role boss. Keycloak's list of the role's holders shows none of them, so groupsync makes none of them an administrator\n    " + adviceRole + "\n"},
		{name: "a hardcoded role of a client", role: "app/boss", realm: realm{roles: map[string]string{"app/boss": ""}, storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) {
			s.Mappers = append(s.Mappers, keycloak.StorageMapper{Name: "all", Kind: keycloak.HardcodedRole, Role: "app.boss"})
		})}}, want: "warning: the mapper all of the federation corp gives everybody the role app.boss. Keycloak's list of the role's holders shows none of them, so groupsync makes none of them an administrator\n    " + adviceRole + "\n"},
		{name: "a hardcoded role that makes nobody an administrator", role: "boss", realm: realm{roles: map[string]string{"boss": ""}, storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) {
			s.Mappers = append(s.Mappers, keycloak.StorageMapper{Name: "all", Kind: keycloak.HardcodedRole, Role: "reader"})
		})}}, want: nothing},
		{name: "a hardcoded role while no role makes administrators", realm: realm{storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) {
			s.Mappers = append(s.Mappers, keycloak.StorageMapper{Name: "all", Kind: keycloak.HardcodedRole, Role: "boss"})
		})}}, want: nothing},
		{name: "LDAP_ONLY and a default group", realm: realm{defaults: []string{"/elsewhere", "/team"}, storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) { s.Mappers[0].Mode = "LDAP_ONLY" })}},
			want: "warning: the mapper groups of the federation corp has the mode LDAP_ONLY, and /team is a default group of the realm. Keycloak's list of the group shows everybody whom the federation imports, and their tokens lack the group, so groupsync adds none of them\n    " + adviceLDAPOnly + "\n"},
		{name: "LDAP_ONLY below a path counts the database too", realm: realm{defaults: []string{"/team"}, storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) {
			s.Mappers[0].Mode, s.Mappers[0].Path = "LDAP_ONLY", "/team"
		})}}, want: nothing},
		{name: "READ_ONLY and a default group", realm: realm{defaults: []string{"/team"}, storages: []keycloak.Storage{ldap(nil)}}, want: nothing},
		{name: "LDAP_ONLY alone", realm: realm{storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) { s.Mappers[0].Mode = "LDAP_ONLY" })}}, want: nothing},
		{name: "no import and a default group", realm: realm{defaults: []string{"/team"}, storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) { s.Imports, s.Mappers[0].Mode = false, "LDAP_ONLY" })}},
			want: "warning: the federation corp does not import people, and /team is a default group of the realm. The tokens of its people have the group, and Keycloak's list of the group does not show them, so groupsync adds none of them\n    " + adviceImport + "\n"},
		{name: "no import and a default group that feeds nothing", realm: realm{defaults: []string{"/elsewhere"}, storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) { s.Imports = false })}}, want: nothing},
		{name: "an entry can lack the username", realm: realm{storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) { s.RDNAttribute = "cn" })}},
			want: "warning: the federation corp names entries by cn and takes the username from uid, which an entry can lack. If one member of an LDAP group lacks it, Keycloak's list of the group is empty\n    " + adviceUsername + "\n"},
		{name: "a user filter that requires the username changes nothing", realm: realm{storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) { s.RDNAttribute, s.UserFilter = "cn", "(uid=*)" })}},
			want: "warning: the federation corp names entries by cn and takes the username from uid, which an entry can lack. If one member of an LDAP group lacks it, Keycloak's list of the group is empty\n    " + adviceUsername + "\n"},
		{name: "every entry of Active Directory has a sAMAccountName", realm: realm{storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) { s.RDNAttribute, s.UsernameAttribute = "cn", "sAMAccountName" })}}, want: nothing},
		{name: "no group mapper lists members", realm: realm{storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) { s.RDNAttribute, s.Mappers = "cn", nil })}}, want: nothing},
		{name: "no periodic sync and a cache that nothing refreshes", realm: realm{storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) { s.Sync = 0 })}},
			want: "warning: the federation corp has the cache policy DEFAULT and no periodic sync of its people, so Keycloak's user cache keeps old groups and roles without end. A login can bring back a membership that the federation has ended\n    " + adviceCache + "\n"},
		{name: "no periodic sync and another cache policy", realm: realm{storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) { s.Sync, s.CachePolicy = 0, "MAX_LIFESPAN" })}}, want: nothing},
		{name: "no periodic sync, and groups are imported only", realm: realm{storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) { s.Sync, s.Mappers[0].Mode = 0, "IMPORT" })}}, want: nothing},
		{name: "Kerberos brings no groups", realm: realm{storages: []keycloak.Storage{{ID: corp, Name: "corp", Provider: "kerberos", Enabled: true, Imports: true, CachePolicy: "DEFAULT"}}}, want: nothing},
		{name: "a custom storage may bring groups", realm: realm{storages: []keycloak.Storage{{ID: corp, Name: "corp", Provider: "own", Enabled: true, CachePolicy: "DEFAULT"}}},
			want: "warning: the federation corp has the cache policy DEFAULT and no periodic sync of its people, so Keycloak's user cache keeps old groups and roles without end. A login can bring back a membership that the federation has ended\n    " + adviceCache + "\n"},
		{name: "no time-outs", realm: realm{storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) { s.ConnectionTimeout, s.ReadTimeout = false, false })}},
			want: "warning: the federation corp has no connection timeout and no read timeout. If LDAP accepts a search and does not answer, Keycloak waits without end, for a login too\n    " + adviceTimeouts + "\n"},
		{name: "no read time-out", realm: realm{storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) { s.ReadTimeout = false })}},
			want: "warning: the federation corp has no read timeout. If LDAP accepts a search and does not answer, Keycloak waits without end, for a login too\n    " + adviceTimeouts + "\n"},
		{name: "no connection time-out", realm: realm{storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) { s.ConnectionTimeout = false })}},
			want: "warning: the federation corp has no connection timeout. If LDAP is not reachable, each request waits for Keycloak's own 5 seconds\n    " + adviceTimeouts + "\n"},
		{name: "a search at every depth is no mistake by itself", realm: realm{storages: []keycloak.Storage{ldap(func(s *keycloak.Storage) { s.Subtree = true })}}, want: nothing},
		{name: "the configuration may not be read", realm: realm{forbidden: errors.New("403")}, want: "warning: groupsync could not complete this check: 403\n    " + adviceBlind + "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.realm
			r.groups, r.unfed = []string{"/elsewhere", "/team"}, []string{"/elsewhere"}
			wantLines(t, "federation", look(t, federation.Checks(&r, beside{&r}, rules(t, tt.role), nil, nil), "federation"), tt.want)
		})
	}
}

func TestFederationLists(t *testing.T) {
	two := []string{"/team", "/ops"}
	one := []keycloak.Storage{ldap(nil)}
	with := func(change func(*keycloak.Storage)) []keycloak.Storage { return []keycloak.Storage{ldap(change)} }
	hardcoded := keycloak.StorageMapper{Name: "all", Kind: keycloak.HardcodedGroup, Group: "/team"}
	people := func(n string) string {
		if n == "1" {
			return "1 person"
		}
		return n + " people"
	}
	hides := func(list, who, state, asked, because string) string {
		return fmt.Sprintf("warning: %s hides %s of the federation corp who %s by their own side (groupsync checked %s of the federation). groupsync does not add these people. %s\n", list, who, state, people(asked), because)
	}
	shows := func(list, who, state, asked, because string) string {
		return fmt.Sprintf("warning: %s shows %s of the federation corp who %s by their own side (groupsync checked %s of the federation). groupsync adds none of these people, because it follows their own side. %s\n", list, who, state, people(asked), because)
	}
	const noCause = "No cause was found in the configuration of the federations"
	for _, tt := range []struct {
		name  string
		realm realm
		role  string
		want  string
	}{
		{name: "a realm without federations", realm: realm{groups: two}, want: "ok: the realm has no user federation\n"},
		{name: "nothing is fed", realm: realm{groups: two, unfed: two, storages: one}, want: "ok: no Keycloak group feeds a ClearML group, so there is nothing to compare\n"},
		{name: "both sides agree", realm: realm{groups: two, storages: one, lists: map[string]string{"/team": "ann bob local", "/ops": "bob cid"}},
			want: "ok: Keycloak's lists and the people's own side agree: 6 answers about 3 people (everybody of a federation whom groupsync knows) in 2 of 2 lists\n"},
		{name: "disabled people are not asked about", realm: realm{groups: two, storages: one, lists: map[string]string{"/team": "ann offline"}, own: map[string]string{"/team": "ann", "/ops": "offline"}},
			want: "ok: Keycloak's lists and the people's own side agree: 2 answers about 1 person (everybody of a federation whom groupsync knows) in 2 of 2 lists\n"},
		{name: "the list hides people, without a cause", realm: realm{groups: two, storages: one, lists: map[string]string{"/ops": "ann bob cid"}, own: map[string]string{"/team": "ann bob"}},
			want: hides("the list of the group /team", "2 people", "are in the group", "3", noCause) + "    " + adviceNoCause + "\n"},
		{name: "a list that shows nobody hides a member of the ClearML group", realm: realm{groups: []string{"/team"}, storages: one, own: map[string]string{"/team": "ann"}, teams: map[string]string{"/team": "ann"}, settled: []string{"ann"}},
			want: hides("the list of the group /team", "1 person", "is in the group", "1", noCause) + "    " + adviceNoCause + "\n"},
		{name: "the sure cause goes before possible ones", realm: realm{groups: two, lists: map[string]string{"/ops": "ann"}, own: map[string]string{"/team": "ann"}, storages: with(func(s *keycloak.Storage) {
			s.Subtree, s.Mappers = true, append(s.Mappers, hardcoded)
		})}, want: hides("the list of the group /team", "1 person", "is in the group", "1", "Cause: the mapper all of the federation corp puts everybody into the group /team") + "    " + adviceHardcoded + "\n"},
		{name: "possible causes are all named", realm: realm{groups: two, lists: map[string]string{"/ops": "ann"}, own: map[string]string{"/team": "ann"}, storages: with(func(s *keycloak.Storage) {
			s.Subtree, s.Mappers = true, append(s.Mappers, ldapMapper("more", "/", "READ_ONLY"))
		})}, want: hides("the list of the group /team", "1 person", "is in the group", "1", "Possible causes: the group mappers groups (groups path /) and more (groups path /) of the federation corp overlap; "+
			"or the federation corp searches LDAP at every depth (search scope Subtree), and its mapper groups makes one Keycloak group of several LDAP groups with the same name; "+
			"or the federation corp searches LDAP at every depth (search scope Subtree), and its mapper more makes one Keycloak group of several LDAP groups with the same name") +
			"    " + adviceOverlap + "; or " + adviceSameNames + "\n"},
		{name: "a cause of another group is no cause", realm: realm{groups: two, lists: map[string]string{"/team": "ann"}, own: map[string]string{"/ops": "ann"}, storages: with(func(s *keycloak.Storage) {
			s.Mappers = append(s.Mappers, hardcoded)
		})}, want: hides("the list of the group /ops", "1 person", "is in the group", "1", noCause) + "    " + adviceNoCause + "\n"},
		{name: "a cause of another federation is no cause", realm: realm{groups: two, lists: map[string]string{"/ops": "ann"}, own: map[string]string{"/team": "ann"}, storages: []keycloak.Storage{ldap(nil), ldap(func(s *keycloak.Storage) {
			s.ID, s.Name, s.Mappers = "other", "other", append(s.Mappers, hardcoded)
		})}}, want: hides("the list of the group /team", "1 person", "is in the group", "1", noCause) + "    " + adviceNoCause + "\n" +
			"warning: groupsync knows nobody of the federation other: no list that feeds a ClearML group shows anybody of it, and no member of these ClearML groups belongs to it. Cause: the mapper all of the federation other puts everybody into the group /team\n    " + adviceHardcoded + "\n"},
		{name: "the list shows people, without a cause", realm: realm{groups: two, storages: one, lists: map[string]string{"/team": "ann bob"}, own: map[string]string{"/team": "bob"}},
			want: shows("the list of the group /team", "1 person", "is not in the group", "2", noCause) + "    " + adviceNoCause + "\n"},
		{name: "LDAP_ONLY, and rows that are left", realm: realm{groups: two, lists: map[string]string{"/team": "ann bob"}, own: map[string]string{"/team": "bob"}, storages: with(func(s *keycloak.Storage) { s.Mappers[0].Mode = "LDAP_ONLY" })},
			want: shows("the list of the group /team", "1 person", "is not in the group", "2", "Possible cause: the mapper groups of the federation corp has the mode LDAP_ONLY, and Keycloak's database still holds memberships from another mode or from the admin console") + "    " + adviceRows + "\n"},
		{name: "LDAP_ONLY hides nobody", realm: realm{groups: two, lists: map[string]string{"/ops": "ann"}, own: map[string]string{"/team": "ann"}, storages: with(func(s *keycloak.Storage) { s.Mappers[0].Mode = "LDAP_ONLY" })},
			want: hides("the list of the group /team", "1 person", "is in the group", "1", noCause) + "    " + adviceNoCause + "\n"},
		{name: "Keycloak groups of one name", realm: realm{groups: []string{"/a/team", "/team"}, storages: one, lists: map[string]string{"/a/team": "ann", "/team": "ann"}, own: map[string]string{"/a/team": ""}},
			want: shows("the list of the group /a/team", "1 person", "is not in the group", "1", "Possible cause: the mapper groups of the federation corp lists the members of an LDAP group for every Keycloak group of the same name below its groups path /") + "    " + adviceLeaf + "\n"},
		{name: "a role that the list of holders hides", role: "boss", realm: realm{groups: two, roles: map[string]string{"boss": ""}, held: map[string]string{"boss": "ann"}, lists: map[string]string{"/team": "ann bob"}, storages: with(func(s *keycloak.Storage) {
			s.Mappers = append(s.Mappers, keycloak.StorageMapper{Name: "all", Kind: keycloak.HardcodedRole, Role: "boss"})
		})}, want: hides("the list of holders of the role boss", "1 person", "holds the role", "2", "Cause: the mapper all of the federation corp gives everybody the role boss") + "    " + adviceRole + "\n"},
		{name: "a role by a composite, and a cache that may be old", role: "boss", realm: realm{groups: two, roles: map[string]string{"boss": ""}, held: map[string]string{"boss": "ann"}, lists: map[string]string{"/team": "ann"}, storages: with(func(s *keycloak.Storage) {
			s.Sync, s.Mappers = 0, append(s.Mappers, keycloak.StorageMapper{Name: "all", Kind: keycloak.HardcodedRole, Role: "all"})
		})}, want: hides("the list of holders of the role boss", "1 person", "holds the role", "1", "Possible causes: the mapper all of the federation corp gives everybody the role all; "+
			"or the federation corp has the cache policy DEFAULT and no periodic sync of its people, so Keycloak's user cache keeps old groups and roles without end") +
			"    look whether the role all contains the role of administrators. If so, remove that role from it; or " + adviceCache + "\n"},
		{name: "a role by a hardcoded group", role: "boss", realm: realm{groups: two, gives: "/team", roles: map[string]string{"boss": ""}, held: map[string]string{"boss": "ann"}, own: map[string]string{"/team": "ann"}, lists: map[string]string{"/ops": "ann"}, storages: with(func(s *keycloak.Storage) {
			s.Mappers = append(s.Mappers, hardcoded)
		})}, want: hides("the list of the group /team", "1 person", "is in the group", "1", "Cause: the mapper all of the federation corp puts everybody into the group /team") + "    " + adviceHardcoded + "\n" +
			hides("the list of holders of the role boss", "1 person", "holds the role", "1", "Cause: the mapper all of the federation corp puts everybody into the group /team") + "    " + adviceHardcoded + "\n"},
		{name: "a role that only the list shows", role: "boss", realm: realm{groups: two, roles: map[string]string{"boss": "ann"}, storages: one},
			want: shows("the list of holders of the role boss", "1 person", "does not hold the role", "1", noCause) + "    " + adviceNoCause + "\n"},
		{name: "a role that the realm lacks is no list", role: "boss", realm: realm{groups: two, storages: one, lists: map[string]string{"/team": "ann"}},
			want: "ok: Keycloak's lists and the people's own side agree: 2 answers about 1 person (everybody of a federation whom groupsync knows) in 2 of 3 lists\n"},
		{name: "people who are listed twice", realm: realm{groups: two, storages: one, lists: map[string]string{"/team": "ann ann bob bob bob cid local local"}},
			want: "warning: the list of the group /team shows 2 people of the federation corp twice: LDAP and Keycloak's database both hold the membership. If LDAP ends the membership, the row in the database keeps the person in the group, for a login too. A mapper that was switched from the mode IMPORT to READ_ONLY leaves such rows\n    " +
				"set the mode of the mapper groups to IMPORT, take these people out of the group in Keycloak, and set the mode back\n" +
				"ok: Keycloak's lists and the people's own side agree: 6 answers about 3 people (everybody of a federation whom groupsync knows) in 2 of 2 lists\n"},
		{name: "a list that Keycloak cannot give", realm: realm{groups: two, lists: map[string]string{"/ops": "ann"}, unreadable: map[string]string{"/team": "reading the members of the group /team: Keycloak answered 400"}, storages: with(func(s *keycloak.Storage) { s.Subtree = true })},
			want: "error: reading the members of the group /team: Keycloak answered 400. groupsync changes nothing in the ClearML groups that this group feeds. Possible cause: the federation corp searches LDAP at every depth (search scope Subtree), and its mapper groups makes one Keycloak group of several LDAP groups with the same name\n    " + adviceSameNames + "\n" +
				"ok: Keycloak's lists and the people's own side agree: 1 answer about 1 person (everybody of a federation whom groupsync knows) in 1 of 2 lists\n"},
		{name: "nobody of the federation is known", realm: realm{groups: two, storages: one, lists: map[string]string{"/team": "local"}},
			want: "ok: groupsync knows nobody of the federation corp: no list that feeds a ClearML group shows anybody of it, and no member of these ClearML groups belongs to it\n"},
		{name: "nobody is known, and lists may hide people", realm: realm{groups: two, storages: with(func(s *keycloak.Storage) { s.Subtree = true })},
			want: "warning: groupsync knows nobody of the federation corp: no list that feeds a ClearML group shows anybody of it, and no member of these ClearML groups belongs to it. Possible cause: the federation corp searches LDAP at every depth (search scope Subtree), and its mapper groups makes one Keycloak group of several LDAP groups with the same name\n    " + adviceSameNames + "\n"},
		{name: "the federation is away", realm: realm{groups: two, storages: one, lists: map[string]string{"/team": "ann"}, own: map[string]string{"/team": ""}, away: map[string]string{corp: "it hangs"}},
			want: "warning: groupsync did not check the people of the federation corp, because the federation is away: it hangs\n    " + adviceAway + "\n"},
		{name: "one federation of two is away", realm: realm{groups: two, storages: []keycloak.Storage{ldap(nil), ldap(func(s *keycloak.Storage) { s.ID, s.Name = "other", "other" })}, lists: map[string]string{"/team": "ann x@other"}, away: map[string]string{"other": "it hangs"}},
			want: "warning: groupsync did not check the people of the federation other, because the federation is away: it hangs\n    " + adviceAway + "\n" +
				"ok: Keycloak's lists and the people's own side agree: 2 answers about 1 person (everybody of a federation whom groupsync knows) in 2 of 2 lists\n"},
		{name: "the federation goes away while people are asked", realm: realm{groups: two, storages: one, lists: map[string]string{"/team": "ann"}, goes: map[string]string{corp: "it hangs"}},
			want: "warning: groupsync did not check some people of the federation corp: the federation corp is not up: it hangs\n    " + adviceAway + "\n"},
		{name: "an own side that cannot be read", realm: realm{groups: two, storages: one, lists: map[string]string{"/team": "ann bob"}, failed: map[string]string{"ann": "the account vanished"}},
			want: `warning: unclear: 2 answers about people of the federation corp: the account's own side was not read for the group "ops": the account vanished; the account's own side was not read for the group "team": the account vanished` +
				"\n    run the check again. If the answers stay unclear, look into Keycloak's log\n"},
		{name: "ClearML cannot be read", realm: realm{groups: two, storages: one, blind: errors.New("no ClearML")}, want: "warning: groupsync could not complete this check: no ClearML\n    " + adviceBlind + "\n"},
		{name: "the configuration may not be read", realm: realm{groups: two, storages: one, forbidden: errors.New("403")}, want: "warning: groupsync could not complete this check: 403\n    " + adviceBlind + "\n"},
		{name: "the lists cannot be read", realm: realm{groups: two, storages: one, broken: errors.New("500")}, want: "warning: groupsync could not complete this check: 500\n    " + adviceBlind + "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.realm
			got := look(t, federation.Checks(&r, beside{&r}, rules(t, tt.role), nil, nil), "federation-lists")
			wantLines(t, "federation-lists", got, tt.want)
			for _, name := range []string{"ann", "bob", "cid"} {
				if strings.Contains(got, name) {
					t.Errorf("a finding names %s:\n%s", name, got)
				}
			}
		})
	}
}

// TestTheSampleOfManyPeople: a sample has at most 50 people and 200 questions. Every list gets
// its turn. People on whom a list and ClearML disagree come first.
func TestTheSampleOfManyPeople(t *testing.T) {
	names := func(from, to int) string {
		var all []string
		for i := from; i < to; i++ {
			all = append(all, fmt.Sprintf("p%03d", i))
		}
		return strings.Join(all, " ")
	}
	for _, tt := range []struct {
		name              string
		groups            int
		lists, teams      map[string]string
		people, questions int
		first             map[string]string // by group: the person who is asked about first
		want              string
	}{
		{"60 people of one group", 1, map[string]string{"/g00": names(0, 60)}, map[string]string{"/g00": names(0, 60)}, 50, 50, map[string]string{"/g00": "p000"},
			"ok: Keycloak's lists and the people's own side agree: 50 answers about 50 people (a sample of the 60 whom groupsync knows) in 1 of 1 lists\n"},
		{"60 people of ten groups", 10, map[string]string{"/g00": names(0, 60), "/g03": names(0, 60)}, map[string]string{"/g00": names(0, 59), "/g03": names(0, 58) + " p059"}, 22, 200, map[string]string{"/g00": "p059", "/g03": "p058"},
			"ok: Keycloak's lists and the people's own side agree: 200 answers about 22 people (a sample of the 60 whom groupsync knows) in 10 of 10 lists\n"},
		{"people whom a list shows and others take turns", 10, map[string]string{"/g00": names(0, 30), "/g01": names(30, 60)}, map[string]string{"/g00": names(0, 30), "/g01": names(30, 60)}, 30, 200, map[string]string{"/g00": "p000", "/g01": "p030"},
			"ok: Keycloak's lists and the people's own side agree: 200 answers about 30 people (a sample of the 60 whom groupsync knows) in 10 of 10 lists\n"},
		{"40 people of five groups are everybody", 5, map[string]string{"/g00": names(0, 40)}, nil, 40, 200, map[string]string{"/g04": "p000"},
			"ok: Keycloak's lists and the people's own side agree: 200 answers about 40 people (everybody of a federation whom groupsync knows) in 5 of 5 lists\n"},
		{"250 groups of one person", 250, map[string]string{"/g00": "p000"}, nil, 1, 200, map[string]string{"/g00": "p000"},
			"ok: Keycloak's lists and the people's own side agree: 200 answers about 1 person (everybody of a federation whom groupsync knows) in 200 of 250 lists\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &realm{storages: []keycloak.Storage{ldap(nil)}, lists: tt.lists, teams: tt.teams}
			for i := range tt.groups {
				r.groups = append(r.groups, fmt.Sprintf("/g%02d", i))
			}
			wantLines(t, "federation-lists", look(t, federation.Checks(r, beside{r}, rules(t, ""), nil, nil), "federation-lists"), tt.want)
			people, first := make(map[string]bool), make(map[string]string)
			for _, q := range r.asked {
				name := q.Accounts[0].Username
				people[name] = true
				first[q.Sources[0].Path] = cmp.Or(first[q.Sources[0].Path], name)
			}
			if len(people) != tt.people || len(r.asked) != tt.questions {
				t.Errorf("%d people, %d questions; want %d, %d", len(people), len(r.asked), tt.people, tt.questions)
			}
			for path, want := range tt.first {
				if first[path] != want {
					t.Errorf("the first of %s is %s, want %s", path, first[path], want)
				}
			}
		})
	}
}
