package reconcile

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"groupsync/internal/guard"
	"groupsync/internal/match"
	"groupsync/internal/near"
	"groupsync/internal/report"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// world is both sides in memory, built from lines of text:
//
//	both ann bob                 people with an account and a user, and the same email on both sides
//	keycloak dan [flags]         only in Keycloak; flags: disabled, ldap, email=X, name=X
//	clearml eve [flags]          only in ClearML; flags: local, other, google, untold, service, email=X, name=X, id=X, role=X
//	disable ann, ldap ann        changes the Keycloak account
//	/team: ann dan               a Keycloak group with its direct members
//	team = ann eve               a ClearML user group with its members
//	Admins! = ann                a built-in user group; "team? = …" is not assignable
//	role admin: ann /team        holders of the admin role, people and groups
//	federation corp              a user-storage component; ldap accounts belong to the first
//	hides /team: ann             the list of the group lacks ann, and her own side has the group
//	shows /team: ann             the list of the group has ann, and her own side lacks the group
//	duplicates                   the realm lets two accounts share an email
type world struct {
	users       map[string]source.User
	groups      map[string][]string // by path
	ids         map[string]string   // by path: group ids that differ from the path
	role        string
	holders     []string
	holderPaths []string
	federations []source.Federation
	hides       map[string][]string // by path: names for whom only the own side has the group
	shows       map[string][]string // by path: names for whom only the member list has the group
	duplicates  bool

	accounts map[string]target.User
	targets  []target.Group
	self     string

	away     map[string]string        // probe detail by federation id
	trusted  []string                 // names of trusted federations
	lookedUp []string                 // keys of the look-ups that were made
	second   func(*source.SecondLook) // changes the answer of the second look
	readKC   error
	readCM   error
	writes   []string // what was written, "group: members"
	// Hooks in the calls of the directory.
	beforeGroups func(call int)
	onWrite      func(g target.Group, members []string) (write bool, err error)
	groupCalls   int
	sent         int // number of SetMembers calls; the nth has the id call-n

	adminRole bool // ClearML's role admin is among the groups, as with admins.via role and both

	limits guard.Limits // wide, unless a test sets others
	admins []string     // admins.groups, if a test sets them here
}

func newWorld(tb testing.TB, text string) *world {
	tb.Helper()
	w := &world{users: map[string]source.User{}, groups: map[string][]string{}, ids: map[string]string{}, hides: map[string][]string{}, shows: map[string][]string{}, accounts: map[string]target.User{}, self: "groupsync", limits: wide}
	w.accounts["groupsync"] = target.User{ID: "groupsync", Name: "groupsync", Providers: map[string][]string{}}
	w.users["kc-idle"] = account("idle")
	w.groups["/idle"] = nil
	w.add(tb, text)
	return w
}

func account(name string) source.User {
	return source.User{ID: "kc-" + name, Username: name, Email: name + "@example.com", Enabled: true}
}

// add reads more lines.
func (w *world) add(tb testing.TB, text string) {
	tb.Helper()
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if !w.line(words) {
			tb.Fatalf("world: no such line: %q", line)
		}
	}
}

func (w *world) line(words []string) bool {
	rest := words[1:]
	switch first := words[0]; {
	case len(rest) > 0 && rest[0] == "=":
		w.setTarget(first, rest[1:])
	case first == "both":
		for _, n := range rest {
			w.users["kc-"+n] = account(n)
			w.accounts[n] = target.User{ID: n, Name: n, Email: n + "@example.com", Providers: map[string][]string{"keycloak": {"kc-" + n}}}
		}
	case first == "keycloak":
		w.users["kc-"+rest[0]] = keycloakUser(account(rest[0]), rest[1:], w)
	case first == "clearml":
		u := clearmlUser(rest)
		w.accounts[u.ID] = u
	case first == "disable", first == "ldap":
		for _, n := range rest {
			flag := map[string]string{"disable": "disabled", "ldap": "ldap"}[first]
			w.users["kc-"+n] = keycloakUser(w.users["kc-"+n], []string{flag}, w)
		}
	case first == "federation":
		for _, n := range rest {
			w.federations = append(w.federations, source.Federation{ID: "fed-" + n, Name: n, Enabled: true, Imports: true})
		}
	case first == "duplicates":
		w.duplicates = true
	case first == "hides":
		w.hides[strings.TrimSuffix(rest[0], ":")] = rest[1:]
	case first == "shows":
		w.shows[strings.TrimSuffix(rest[0], ":")] = rest[1:]
	case first == "role":
		w.role = strings.TrimSuffix(rest[0], ":")
		for _, n := range rest[1:] {
			if strings.HasPrefix(n, "/") {
				w.holderPaths = append(w.holderPaths, n)
			} else {
				w.holders = append(w.holders, n)
			}
		}
	case strings.HasPrefix(first, "/"):
		w.groups[strings.TrimSuffix(first, ":")] = rest
	default:
		return false
	}
	return true
}

func keycloakUser(u source.User, flags []string, w *world) source.User {
	for _, f := range flags {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "disabled":
			u.Enabled = false
		case "ldap":
			u.Federation = w.federations[0].ID
		case "email":
			u.Email = value
		case "name":
			u.FirstName, u.LastName, _ = strings.Cut(value, "_")
		}
	}
	return u
}

func clearmlUser(words []string) target.User {
	n := words[0]
	u := target.User{ID: n, Name: n, Email: n + "@example.com", Providers: map[string][]string{"keycloak": {"2026-01-01"}}}
	for _, f := range words[1:] {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "local":
			u.Providers = map[string][]string{}
		case "other":
			u.Providers["google"] = nil
		case "google":
			u.Providers = map[string][]string{"google": nil}
		case "untold":
			u.Providers = nil
		case "service":
			u.ServiceAccount, u.Email = true, ""
		case "email":
			u.Email = value
		case "name":
			u.Name = strings.ReplaceAll(value, "_", " ")
		case "role":
			u.Role = value
		case "id":
			u.Providers["keycloak"] = strings.Split(value, ",")
		}
	}
	return u
}

func (w *world) setTarget(name string, members []string) {
	g := target.Group{Name: strings.TrimRight(name, "!?"), Assignable: !strings.HasSuffix(name, "?"), System: strings.HasSuffix(name, "!"), Description: "about " + name}
	g.ID = "cm-" + g.Name
	for _, m := range members {
		g.Members = append(g.Members, target.Member{ID: m, Name: m})
	}
	w.targets = slices.DeleteFunc(w.targets, func(x target.Group) bool { return x.ID == g.ID })
	w.targets = append(w.targets, g)
}

func (w *world) catalog() (source.Catalog, error) {
	var groups []source.Group
	for path := range w.groups {
		cut := strings.LastIndex(path, "/")
		groups = append(groups, source.Group{ID: w.groupID(path), Name: path[cut+1:], Parent: w.groupID(path[:cut])})
	}
	return source.NewCatalog(source.CatalogParts{Groups: groups, Counted: len(groups), Federations: w.federations, DuplicateEmails: w.duplicates})
}

func (w *world) groupID(path string) string {
	if id := w.ids[path]; id != "" {
		return id
	}
	return path
}

// membersOf returns the list of the group's members.
func (w *world) membersOf(path string) []source.User {
	users := []source.User{}
	for _, n := range w.groups[path] {
		if !slices.Contains(w.hides[path], n) {
			users = append(users, w.users["kc-"+n])
		}
	}
	for _, n := range w.shows[path] {
		if !slices.Contains(w.groups[path], n) {
			users = append(users, w.users["kc-"+n])
		}
	}
	return users
}

// ownGroups returns the ids of the groups that the account's own side has.
func (w *world) ownGroups(name string) []string {
	var ids []string
	for path, names := range w.groups {
		if (slices.Contains(names, name) || slices.Contains(w.hides[path], name)) && !slices.Contains(w.shows[path], name) {
			ids = append(ids, w.groupID(path))
		}
	}
	return ids
}

func (w *world) roleHolders(name string, c source.Catalog) *source.RoleHolders {
	h := &source.RoleHolders{Name: name, Found: name == w.role, Near: near.Names(name, []string{w.role})}
	if !h.Found {
		return h
	}
	for _, n := range w.holders {
		h.Direct = append(h.Direct, w.users["kc-"+n])
	}
	h.Groups = c.WithDescendants(w.holderPaths)
	return h
}

// Catalog and the methods below make world a Source.
func (w *world) Catalog(context.Context) (source.Catalog, error) {
	if w.readKC != nil {
		return source.Catalog{}, w.readKC
	}
	return w.catalog()
}

func (w *world) Read(_ context.Context, c source.Catalog, sel source.Selection) (*source.Snapshot, error) {
	p := source.Parts{Catalog: c, Selection: sel, Members: map[string][]source.User{}, Roles: map[string]*source.RoleHolders{}}
	ids := slices.Clone(sel.Groups)
	for _, name := range sel.Roles {
		p.Roles[name] = w.roleHolders(name, c)
		ids = append(ids, p.Roles[name].Groups...)
	}
	for path := range w.groups {
		if slices.Contains(ids, w.groupID(path)) {
			p.Members[w.groupID(path)] = w.membersOf(path)
		}
	}
	return source.NewSnapshot(p)
}

func (w *world) probes(known []source.Federation) []source.Probe {
	var probes []source.Probe
	for _, f := range w.federations {
		f.Answered = w.away[f.ID] == "" || slices.ContainsFunc(known, func(k source.Federation) bool { return k.ID == f.ID && k.Answered })
		probes = append(probes, source.Probe{Federation: f, Up: w.away[f.ID] == "", Detail: w.away[f.ID], Trusted: slices.Contains(w.trusted, f.Name)})
	}
	return probes
}

func (w *world) LookUp(_ context.Context, snap *source.Snapshot, people []source.Person, known []source.Federation) (*source.Snapshot, error) {
	for _, p := range people {
		w.lookedUp = append(w.lookedUp, p.Key)
	}
	return snap.With(w.find(people, known))
}

func (w *world) Find(_ context.Context, _ source.Catalog, people []source.Person, known []source.Federation) (source.LookUps, error) {
	return w.find(people, known), nil
}

func (w *world) find(people []source.Person, known []source.Federation) source.LookUps {
	l := source.LookUps{Probes: w.probes(known)}
	for _, p := range people {
		f := source.Found{Person: p}
		for _, id := range p.IDs {
			if u, found := w.users[id]; found {
				f.ByID, f.Accounts = true, append(f.Accounts, u)
			}
		}
		for _, id := range slices.Sorted(maps.Keys(w.users)) {
			u := w.users[id]
			byEmail := p.Email != "" && source.FoldEmail(u.Email) == source.FoldEmail(p.Email) && !u.ServiceAccount
			if !f.ByID && (byEmail || p.Username != "" && u.Username == p.Username) {
				f.Accounts = append(f.Accounts, u)
			}
		}
		if whole := f.ByID || len(f.Accounts) > 0 && !w.duplicates; !whole {
			if probe, blocks := source.Blocks(p, l.Probes); blocks {
				f.Away, f.Doubt = probe.Federation.ID, "the federation "+probe.Federation.Name+" is not up"
			}
		}
		l.Found = append(l.Found, f)
	}
	return l
}

func (w *world) GroupsOf(_ context.Context, _ source.Catalog, accounts []source.User, known []source.Federation) (map[string]source.OwnGroups, error) {
	found := make(map[string]source.OwnGroups)
	for _, u := range accounts {
		own := source.OwnGroups{Groups: slices.Sorted(slices.Values(w.ownGroups(strings.TrimPrefix(u.ID, "kc-"))))}
		if why := w.away[u.Federation]; why != "" {
			own.Doubt = "the federation " + u.Federation + " is not up, so groups that come from it can be missing: " + why
		}
		found[u.ID] = own
	}
	return found, nil
}

func (w *world) Confirm(_ context.Context, snap *source.Snapshot, questions []source.Question, known []source.Federation) (source.Confirmation, error) {
	s := source.SecondLook{
		Members: map[string][]source.User{}, Roles: map[string]*source.RoleHolders{}, Accounts: map[string]source.Account{}, DisabledDB: map[string]bool{},
		Own: map[source.OwnKey]source.Own{}, Effective: map[source.Held]bool{}, Failed: map[string]string{}, Federated: len(w.federations)+len(known) > 0,
	}
	if len(questions) == 0 {
		return source.Weigh(snap, nil, s), nil
	}
	s.Probes = w.probes(known)
	for path := range w.groups {
		s.Members[w.groupID(path)] = w.membersOf(path)
	}
	for _, q := range questions {
		if q.Role != "" {
			s.Roles[q.Role] = w.roleHolders(q.Role, snap.Catalog())
		}
		for _, a := range q.Accounts {
			u, found := w.users[a.ID]
			s.Accounts[a.ID] = source.Account{Found: found, User: u}
			if !u.Enabled && u.Federation == "" {
				s.DisabledDB[a.ID] = true
			}
			name := strings.TrimPrefix(a.ID, "kc-")
			if q.Role != "" {
				s.Effective[source.Held{Account: a.ID, Role: q.Role}] = w.holdsRole(name)
			}
			for _, g := range slices.Concat(q.OwnSides(snap.Catalog(), s.Roles)...) {
				own := source.Own{Asked: true, Cached: w.ownGroups(name)}
				for _, id := range snap.Catalog().Containing(g.Name) {
					if slices.Contains(own.Cached, id) {
						own.Count++
					}
				}
				s.Own[source.OwnKey{Account: a.ID, Name: g.Name}] = own
			}
		}
	}
	if w.second != nil {
		w.second(&s)
	}
	return source.Weigh(snap, questions, s), nil
}

// holdsRole reports whether the account has the role, directly or through a group.
func (w *world) holdsRole(name string) bool {
	own := w.ownGroups(name)
	return slices.Contains(w.holders, name) || slices.ContainsFunc(slices.Collect(maps.Keys(w.groups)), func(path string) bool {
		gives := slices.ContainsFunc(w.holderPaths, func(p string) bool { return path == p || strings.HasPrefix(path, p+"/") })
		return gives && slices.Contains(own, w.groupID(path))
	})
}

// directory makes world a Directory.
type directory struct{ *world }

func (d directory) UserGroups(context.Context) ([]target.Group, error) {
	return slices.Clone(d.targets), d.readCM
}

func (d directory) Snapshot(_ context.Context, groups []target.Group) (*target.Snapshot, error) {
	users := make(map[string]target.User, len(d.accounts))
	for id, u := range d.accounts {
		u.Groups = slices.Clone(u.Groups)
		users[id] = u
	}
	for _, g := range groups {
		for _, m := range g.Members {
			if u, ok := users[m.ID]; ok {
				u.Groups = append(u.Groups, g.ID)
				users[m.ID] = u
			}
		}
	}
	return target.NewSnapshot(target.Parts{Identity: target.Identity{User: d.self}, Groups: groups, Users: slices.Collect(maps.Values(users)), AdminRole: d.adminRole})
}

func (d directory) Groups(context.Context) ([]target.Group, error) {
	d.groupCalls++
	if d.beforeGroups != nil {
		d.beforeGroups(d.groupCalls)
	}
	groups := slices.Clone(d.targets)
	if d.adminRole {
		groups = append(groups, target.AdminRole(slices.Collect(maps.Values(d.accounts))))
	}
	return groups, nil
}

func (d directory) Group(ctx context.Context, id string) (target.Group, bool, error) {
	all, err := d.Groups(ctx)
	i := slices.IndexFunc(all, func(g target.Group) bool { return g.ID == id })
	if err != nil || i < 0 {
		return target.Group{}, false, err
	}
	return all[i], true, nil
}

func (d directory) SetMembers(_ context.Context, fence target.Fence, g target.Group, members []string) (target.Calls, error) {
	if err := fence.Check(); err != nil {
		return nil, err
	}
	write, err := true, error(nil)
	d.sent++
	calls := make(target.Calls)
	for _, u := range slices.Concat(g.MemberIDs(), members) {
		calls.Answered(u, fmt.Sprintf("call-%d", d.sent))
	}
	if d.onWrite != nil {
		write, err = d.onWrite(g, members)
	}
	if write {
		d.writes = append(d.writes, g.Name+": "+strings.Join(members, " "))
		d.setMembers(g.ID, members)
	}
	return calls, err
}

func (w *world) setMembers(id string, members []string) {
	if id == target.AdminRoleID {
		for user, u := range w.accounts {
			if is := slices.Contains(members, user); is != (u.Role == target.RoleAdmin) {
				u.Role = map[bool]string{true: target.RoleAdmin, false: target.RoleUser}[is]
				w.accounts[user] = u
			}
		}
		return
	}
	for i := range w.targets {
		if w.targets[i].ID == id {
			w.targets[i].Members = nil
			for _, m := range members {
				w.targets[i].Members = append(w.targets[i].Members, target.Member{ID: m, Name: m})
			}
		}
	}
}

func (w *world) members(name string) string {
	for _, g := range w.targets {
		if g.Name == name {
			return strings.Join(g.MemberIDs(), " ")
		}
	}
	return "no such group"
}

// wide are limits that no small world reaches.
var wide = guard.Limits{MaxRemovals: 1000, Window: 24 * time.Hour, MaxRatio: 0, FreeRemovals: 3, MaxGone: 100, Floor: 0}

func rules(tb testing.TB, change func(*match.Options)) match.Rules {
	tb.Helper()
	o := match.Options{Include: []string{"*"}, Provider: "keycloak"}
	if change != nil {
		change(&o)
	}
	r, err := match.Compile(o)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// clock is a time that a test can change.
type clock struct{ time.Time }

func (c *clock) now() time.Time { return c.Time }

func (w *world) reconciler(tb testing.TB, limits guard.Limits, options func(*match.Options)) (*Reconciler, *clock) {
	tb.Helper()
	c := &clock{time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	return New(w, directory{w}, Options{Name: "test", Rules: rules(tb, options), Limits: limits, Now: c.now, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}), c
}

// lines returns a line for each change and each kept or pending person of a report, such as
// "+ann@team planned".
func lines(r report.Report) []string {
	out := []string{}
	for _, g := range r.Groups {
		for _, c := range g.Add {
			out = append(out, line("+", g, c))
		}
		for _, c := range g.Remove {
			out = append(out, line("-", g, c))
		}
		for _, k := range g.Kept {
			out = append(out, fmt.Sprintf("=%s@%s %s", k.ID, g.Name, k.Why))
		}
		for _, p := range g.Pending {
			out = append(out, fmt.Sprintf("?%s@%s", p.Username, g.Name))
		}
	}
	return out
}

// leads is the Lead of the leader.
func leads() error { return nil }

func line(sign string, g report.Group, c report.Change) string {
	s := fmt.Sprintf("%s%s@%s %s", sign, c.ID, g.Name, c.Outcome)
	if sign == "-" {
		s += " " + c.Why
	}
	if c.Guard != "" {
		s += " by " + string(c.Guard)
	}
	return s
}
