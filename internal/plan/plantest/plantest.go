// Package plantest builds both sides of a synchronization from lines of text. Tests of packages that
// read no network use it, such as match, plan and guard. Both sides together are a World. A World
// answers look-ups and second looks as Keycloak does.
package plantest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"groupsync/internal/match"
	"groupsync/internal/near"
	"groupsync/internal/plan"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// TB is the part of testing.TB that this package uses. *rapid.T has it too.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
}

// World is a realm and a ClearML server in memory. New describes the lines.
type World struct {
	Rules  match.Rules
	Second func(*source.SecondLook) // changes what a second look reads; nil: no change
	Away   map[string]bool          // by federation id: its probes fail

	users       map[string]source.User   // by name
	groups      map[string][]string      // by path: the names in the member list
	ids         map[string]string        // by path: the group's id, if it differs from the path
	hidden      map[string][]string      // by path: names for whom the own side has the group and the member list does not
	shown       map[string][]string      // by path: names for whom only the member list has the group
	unreadable  map[string]string        // reason by path
	roles       map[string]*holders      // by name
	federations []source.Federation      // the flag ldap without a name means the first one
	trusted     map[string]bool          // by federation id
	duplicates  bool                     // the realm allows duplicate emails
	elsewhere   map[string]bool          // by name: accounts that Keycloak's list of disabled accounts lacks
	accounts    map[string]target.User   // ClearML's users by id
	targets     map[string]*target.Group // by id
	views       map[string][]string      // by ClearML group id: the users whose own list of groups lacks the group
}

type holders struct{ users, paths []string }

// New returns the world that the lines describe. The rules include every group, and the
// provider in the rules is "keycloak". A line has one of these forms:
//
//	both ann bob              people with an account and a user; ClearML keeps the account's id
//	keycloak dan FLAGS        an account; flags: disabled, ldap, ldap=FEDERATION, service, email=X, name=First_Last
//	clearml eve FLAGS         a ClearML user who signed in by keycloak; flags: local (signed in by no provider),
//	                          google (only by google), also=google (by google too), untold (ClearML returns no
//	                          providers), service, email=X, name=First_Last, id=X,Y (account ids that ClearML has
//	                          stored), role=X
//	disable ann, ldap ann     changes an account; "disable ann elsewhere": the account is disabled, but Keycloak's
//	                          list of disabled accounts does not have the account
//	federation corp FLAGS     flags: off (disabled), away (the probe fails, earlier ones did not), unanswered (no
//	                          probe has ever succeeded), trusted (keycloak.trusted_federations names it),
//	                          foreign (Keycloak does not copy its accounts into its database)
//	duplicates                the realm allows duplicate emails
//	/team: ann dan            a Keycloak group with its direct members
//	id /team X                the group's id; the default is the path
//	hides /team ann           ann's own side has /team, but the member list of /team lacks ann
//	shows /team ann           the member list of /team has ann, but ann's own side lacks /team
//	unreadable /team          Keycloak cannot list the members
//	role boss: ann /team      holders of a role, people and groups
//	team = ann eve            a ClearML user group with its members; "team!" is built in, "team?" is not assignable
//	                          (ClearML refuses changes of its members), "team#2" is a second group with that name
//	view team ann             ann's own list in ClearML lacks the group
//
// The account of NAME has the id kc-NAME, and the ClearML group NAME has the id cm-NAME.
// ClearML always has the user groupsync, which is groupsync's own user.
func New(tb TB, text string, options ...func(*match.Options)) *World {
	tb.Helper()
	w := &World{
		Away: map[string]bool{}, users: map[string]source.User{}, groups: map[string][]string{"/idle": {}}, ids: map[string]string{},
		hidden: map[string][]string{}, shown: map[string][]string{}, unreadable: map[string]string{}, roles: map[string]*holders{},
		trusted: map[string]bool{}, elsewhere: map[string]bool{}, accounts: map[string]target.User{}, targets: map[string]*target.Group{}, views: map[string][]string{},
	}
	w.accounts["groupsync"] = target.User{ID: "groupsync", Name: "groupsync", Email: "groupsync@example.com", Providers: map[string][]string{}}
	w.Configure(tb, options...)
	w.Add(tb, text)
	return w
}

// Configure replaces the rules.
func (w *World) Configure(tb TB, options ...func(*match.Options)) {
	tb.Helper()
	o := match.Options{Include: []string{"*"}, Provider: "keycloak"}
	for _, change := range options {
		change(&o)
	}
	rules, err := match.Compile(o)
	if err != nil {
		tb.Fatalf("rules: %v", err)
	}
	w.Rules = rules
}

// Add reads more lines, in the form that New describes. A line about a thing that exists
// replaces this thing.
func (w *World) Add(tb TB, text string) {
	tb.Helper()
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) > 0 && !w.line(words) {
			tb.Fatalf("plantest: no such line: %q", line)
		}
	}
}

func (w *World) line(words []string) bool {
	first, rest := words[0], words[1:]
	switch {
	case len(rest) > 0 && rest[0] == "=":
		w.setTarget(first, rest[1:])
	case strings.HasPrefix(first, "/") && strings.HasSuffix(first, ":"):
		w.setGroup(strings.TrimSuffix(first, ":"), rest)
	case first == "duplicates":
		w.duplicates = true
	case len(rest) == 0:
		return false
	case first == "both":
		for _, n := range rest {
			w.users[n] = account(n)
			w.accounts[n] = target.User{ID: n, Name: n, Email: n + "@example.com", Role: target.RoleUser, Providers: map[string][]string{"keycloak": {"kc-" + n}}}
		}
	case first == "keycloak":
		w.users[rest[0]] = w.flagged(account(rest[0]), rest[1:])
	case first == "clearml":
		w.accounts[rest[0]] = clearmlUser(rest[0], rest[1:])
	case first == "disable" && len(rest) == 2 && rest[1] == "elsewhere":
		w.users[rest[0]] = w.flagged(w.users[rest[0]], []string{"disabled"})
		w.elsewhere[rest[0]] = true
	case first == "disable", first == "ldap":
		flag := map[string]string{"disable": "disabled", "ldap": "ldap"}[first]
		for _, n := range rest {
			w.users[n] = w.flagged(w.users[n], []string{flag})
		}
	case first == "federation":
		w.federation(rest[0], rest[1:])
	case first == "role":
		w.role(strings.TrimSuffix(rest[0], ":"), rest[1:])
	case first == "id":
		w.ids[rest[0]] = rest[1]
	case first == "hides":
		w.hidden[rest[0]] = rest[1:]
	case first == "shows":
		w.shown[rest[0]] = rest[1:]
	case first == "unreadable":
		w.unreadable[rest[0]] = "status 400"
	case first == "view":
		w.views["cm-"+rest[0]] = rest[1:]
	default:
		return false
	}
	return true
}

func account(name string) source.User {
	return source.User{ID: "kc-" + name, Username: name, Email: name + "@example.com", Enabled: true}
}

func (w *World) flagged(u source.User, flags []string) source.User {
	for _, f := range flags {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "disabled":
			u.Enabled = false
		case "ldap":
			u.Federation = "fed-" + value
			if value == "" {
				u.Federation = w.federations[0].ID
			}
		case "service":
			u.ServiceAccount = true
		case "email":
			u.Email = value
		case "name":
			u.FirstName, u.LastName, _ = strings.Cut(value, "_")
		default:
			panic("plantest: no such flag of an account: " + f)
		}
	}
	return u
}

func clearmlUser(name string, flags []string) target.User {
	u := target.User{ID: name, Name: name, Email: name + "@example.com", Providers: map[string][]string{"keycloak": {"2026-01-01 10:00:00"}}}
	for _, f := range flags {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "local":
			u.Providers = map[string][]string{}
		case "google":
			u.Providers = map[string][]string{"google": {"2026-01-01 10:00:00"}}
		case "also":
			u.Providers[value] = []string{"2026-01-01 10:00:00"}
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
		default:
			panic("plantest: no such flag of a ClearML user: " + f)
		}
	}
	return u
}

func (w *World) setTarget(name string, members []string) {
	g := &target.Group{ID: "cm-" + strings.TrimRight(name, "!?"), Assignable: !strings.HasSuffix(name, "?"), System: strings.HasSuffix(name, "!")}
	g.Name, _, _ = strings.Cut(strings.TrimRight(name, "!?"), "#")
	for _, m := range members {
		g.Members = append(g.Members, target.Member{ID: m, Name: m})
	}
	w.targets[g.ID] = g
}

func (w *World) setGroup(path string, names []string) {
	w.groups[path] = names
	for cut := strings.LastIndex(path, "/"); cut > 0; cut = strings.LastIndex(path[:cut], "/") {
		if w.groups[path[:cut]] == nil {
			w.groups[path[:cut]] = []string{}
		}
	}
}

func (w *World) federation(name string, flags []string) {
	f := source.Federation{ID: "fed-" + name, Name: name, Enabled: true, Imports: true, Answered: true}
	for _, flag := range flags {
		switch flag {
		case "off":
			f.Enabled = false
			w.Away[f.ID] = true
		case "away":
			w.Away[f.ID] = true
		case "unanswered":
			f.Answered = false
			w.Away[f.ID] = true
		case "trusted":
			w.trusted[f.ID] = true
		case "foreign":
			f.Imports = false
		default:
			panic("plantest: no such flag of a federation: " + flag)
		}
	}
	w.federations = slices.DeleteFunc(w.federations, func(x source.Federation) bool { return x.ID == f.ID })
	w.federations = append(w.federations, f)
}

func (w *World) role(name string, of []string) {
	h := &holders{}
	for _, n := range of {
		if strings.HasPrefix(n, "/") {
			h.paths = append(h.paths, n)
		} else {
			h.users = append(h.users, n)
		}
	}
	w.roles[name] = h
}

// Delete removes a thing that a line made: a ClearML group by id, a Keycloak group by path, an
// account, a ClearML user or a federation by name.
func (w *World) Delete(name string) {
	delete(w.targets, name)
	delete(w.groups, name)
	delete(w.users, name)
	delete(w.accounts, name)
	w.federations = slices.DeleteFunc(w.federations, func(f source.Federation) bool { return f.Name == name })
}

// SetMembers replaces the members of a ClearML group.
func (w *World) SetMembers(id string, members []string) {
	if id == target.AdminRoleID {
		w.setRole(members)
		return
	}
	g := *w.targets[id]
	g.Members = nil
	for _, m := range members {
		g.Members = append(g.Members, target.Member{ID: m, Name: m})
	}
	w.targets[id] = &g
}

// setRole gives the role admin to the named users and takes it from all others.
func (w *World) setRole(admins []string) {
	for name, u := range w.accounts {
		switch {
		case slices.Contains(admins, name):
			u.Role = target.RoleAdmin
		case u.Role == target.RoleAdmin:
			u.Role = target.RoleUser
		}
		w.accounts[name] = u
	}
}

func (w *World) groupID(path string) string {
	if id := w.ids[path]; id != "" {
		return id
	}
	return path
}

// Catalog returns the realm's groups.
func (w *World) Catalog(tb TB) source.Catalog {
	tb.Helper()
	var groups []source.Group
	for path := range w.groups {
		cut := strings.LastIndex(path, "/")
		groups = append(groups, source.Group{ID: w.groupID(path), Name: path[cut+1:], Parent: w.groupID(path[:cut])})
	}
	c, err := source.NewCatalog(source.CatalogParts{Groups: groups, Counted: len(groups), Federations: w.federations, DuplicateEmails: w.duplicates})
	if err != nil {
		tb.Fatalf("the catalog: %v", err)
	}
	return c
}

func (w *World) membersOf(path string) []source.User {
	users := []source.User{}
	for _, n := range slices.Concat(w.groups[path], w.shown[path]) {
		if u, there := w.users[n]; there {
			users = append(users, u)
		}
	}
	return users
}

// Owns reports whether the account's own side has the group.
func (w *World) Owns(path, name string) bool {
	return slices.Contains(w.groups[path], name) || slices.Contains(w.hidden[path], name)
}

// Holds reports whether the account has the role, directly or through a group.
func (w *World) Holds(role, name string) bool {
	h, there := w.roles[role]
	return there && w.holds(name, h)
}

func (w *World) roleHolders(name string, c source.Catalog) *source.RoleHolders {
	h, found := w.roles[name]
	out := &source.RoleHolders{Name: name, Found: found, Near: near.Names(name, slices.Sorted(maps.Keys(w.roles)))}
	if !found {
		return out
	}
	out.Near = nil
	for _, n := range h.users {
		if u, there := w.users[n]; there {
			out.Direct = append(out.Direct, u)
		}
	}
	var ids []string
	for _, p := range h.paths {
		ids = append(ids, w.groupID(p))
	}
	out.Groups = c.WithDescendants(ids)
	return out
}

// Target returns ClearML's side.
func (w *World) Target(tb TB) *target.Snapshot {
	tb.Helper()
	users := maps.Clone(w.accounts)
	var groups []target.Group
	for _, g := range w.targets {
		groups = append(groups, *g)
		for _, m := range g.Members {
			if u, there := users[m.ID]; there && !slices.Contains(w.views[g.ID], m.ID) {
				u.Groups = append(slices.Clone(u.Groups), g.ID)
				slices.Sort(u.Groups)
				users[m.ID] = u
			}
		}
	}
	s, err := target.NewSnapshot(target.Parts{Identity: target.Identity{User: "groupsync"}, Groups: groups, Users: slices.Collect(maps.Values(users)), AdminRole: w.Rules.AdminVia != match.ViaGroup})
	if err != nil {
		tb.Fatalf("ClearML's side: %v", err)
	}
	return s
}

// Pairing returns the pairing of the groups of both sides.
func (w *World) Pairing(tb TB) match.Pairing {
	tb.Helper()
	p, err := match.Groups(w.Catalog(tb), w.Target(tb).Groups(), w.Rules)
	if err != nil {
		tb.Fatalf("pairing the groups: %v", err)
	}
	return p
}

// Source returns the realm's snapshot before any look-up.
func (w *World) Source(tb TB) *source.Snapshot {
	tb.Helper()
	return w.read(tb, match.Selection(w.Pairing(tb)))
}

func (w *World) read(tb TB, sel source.Selection) *source.Snapshot {
	tb.Helper()
	c := w.Catalog(tb)
	parts := source.Parts{Catalog: c, Selection: sel, Members: map[string][]source.User{}, Unreadable: map[string]string{}, Roles: map[string]*source.RoleHolders{}}
	ids := slices.Clone(sel.Groups)
	for _, name := range sel.Roles {
		parts.Roles[name] = w.roleHolders(name, c)
		ids = append(ids, parts.Roles[name].Groups...)
	}
	for path := range w.groups {
		if id := w.groupID(path); slices.Contains(ids, id) {
			if why := w.unreadable[path]; why != "" {
				parts.Unreadable[id] = why
			} else {
				parts.Members[id] = w.membersOf(path)
			}
		}
	}
	s, err := source.NewSnapshot(parts)
	if err != nil {
		tb.Fatalf("Keycloak's side: %v", err)
	}
	return s
}

func (w *World) probes() (probes []source.Probe) {
	for _, f := range w.federations {
		p := source.Probe{Federation: f, Up: !w.Away[f.ID], Trusted: w.trusted[f.ID]}
		if !p.Up {
			p.Detail = "status 500"
		}
		probes = append(probes, p)
	}
	return probes
}

// LookUp returns the snapshot with the realm's answers to the look-ups. The answers always
// include one account that belongs to nobody, so that the realm does not look emptied.
func (w *World) LookUp(tb TB, snap *source.Snapshot, people []source.Person) *source.Snapshot {
	tb.Helper()
	if len(people) == 0 {
		return snap
	}
	found := []source.Found{{Person: source.Person{Key: "idle"}, Accounts: []source.User{account("idle")}}}
	for _, p := range people {
		found = append(found, w.find(p))
	}
	next, err := snap.With(source.LookUps{Found: found, Probes: w.probes()})
	if err != nil {
		tb.Fatalf("the look-ups: %v", err)
	}
	return next
}

func (w *World) find(p source.Person) source.Found {
	f := source.Found{Person: p}
	for _, name := range slices.Sorted(maps.Keys(w.users)) {
		if slices.Contains(p.IDs, w.users[name].ID) {
			f.ByID = true
			f.Accounts = append(f.Accounts, w.users[name])
		}
	}
	if f.ByID {
		return f
	}
	for _, name := range slices.Sorted(maps.Keys(w.users)) {
		if u := w.users[name]; p.Email != "" && !u.ServiceAccount && source.FoldEmail(u.Email) == source.FoldEmail(p.Email) {
			f.Accounts = append(f.Accounts, u)
		}
	}
	foreign := slices.ContainsFunc(w.federations, func(f source.Federation) bool { return !f.Imports })
	if len(f.Accounts) > 0 && !w.duplicates && !foreign {
		return f
	}
	if probe, blocks := source.Blocks(p, w.probes()); blocks {
		f.Away, f.Doubt = probe.Federation.ID, "the federation "+probe.Federation.Name+" is not up, and may have the person: "+probe.Detail
	}
	return f
}

// Confirm takes the second look for the plan and returns its answers.
func (w *World) Confirm(tb TB, snap *source.Snapshot, p plan.Plan) source.Confirmation {
	tb.Helper()
	s := source.SecondLook{
		Probes: w.probes(), Members: map[string][]source.User{}, Roles: map[string]*source.RoleHolders{}, Accounts: map[string]source.Account{},
		DisabledDB: map[string]bool{}, Own: map[source.OwnKey]source.Own{}, Effective: map[source.Held]bool{}, Federated: len(w.federations) > 0,
	}
	for path := range w.groups {
		if w.unreadable[path] == "" {
			s.Members[w.groupID(path)] = w.membersOf(path)
		}
	}
	for name, u := range w.users {
		s.Accounts[u.ID] = source.Account{Found: true, User: u}
		if !u.Enabled && u.Federation == "" && !w.elsewhere[name] {
			s.DisabledDB[u.ID] = true
		}
		for path := range w.groups {
			leaf := path[strings.LastIndex(path, "/")+1:]
			s.Own[source.OwnKey{Account: u.ID, Name: leaf}] = w.own(name, leaf)
		}
		for role, h := range w.roles {
			s.Effective[source.Held{Account: u.ID, Role: role}] = w.holds(name, h)
		}
	}
	for name := range w.roles {
		s.Roles[name] = w.roleHolders(name, snap.Catalog())
	}
	if w.Second != nil {
		w.Second(&s)
	}
	return source.Weigh(snap, p.Questions(), s)
}

func (w *World) own(name, leaf string) source.Own {
	o := source.Own{Asked: true}
	for path := range w.groups {
		if w.Owns(path, name) {
			o.Cached = append(o.Cached, w.groupID(path))
			if strings.Contains(strings.ToLower(path[strings.LastIndex(path, "/")+1:]), strings.ToLower(leaf)) {
				o.Count++
			}
		}
	}
	return o
}

func (w *World) holds(name string, h *holders) bool {
	if slices.Contains(h.users, name) {
		return true
	}
	for path := range w.groups {
		for _, p := range h.paths {
			if (path == p || strings.HasPrefix(path, p+"/")) && w.Owns(path, name) {
				return true
			}
		}
	}
	return false
}

// Pass is everything that a pass has read and planned before the guards judge its plan.
type Pass struct {
	Pairing      match.Pairing
	Source       *source.Snapshot
	Target       *target.Snapshot
	People       match.People
	Draft        plan.Plan // the plan before the look-ups
	Plan         plan.Plan
	Confirmation source.Confirmation
	Weighed      plan.Plan
}

// Pass does the steps of a pass before the guards. It reads both sides, matches groups and people,
// plans, makes the look-ups and plans again. Then it takes the second look, and adds the answers to
// the plan (Plan.Weighed).
func (w *World) Pass(tb TB) Pass {
	tb.Helper()
	p := Pass{Pairing: w.Pairing(tb), Target: w.Target(tb), Source: w.Source(tb)}
	p.Draft = plan.Make(p.Source, p.Target, p.Pairing, match.Who(p.Source, p.Target, w.Rules))
	p.Source = w.LookUp(tb, p.Source, p.Draft.Asks)
	p.People = match.Who(p.Source, p.Target, w.Rules)
	p.Plan = plan.Make(p.Source, p.Target, p.Pairing, p.People)
	p.Confirmation = w.Confirm(tb, p.Source, p.Plan)
	weighed, err := p.Plan.Weighed(p.Confirmation)
	if err != nil {
		tb.Fatalf("weighing: %v", err)
	}
	p.Weighed = weighed
	return p
}

// Scoped returns the removals of the plan that the rules of an earlier pass would not propose,
// by plan.Change.Key.
func (w *World) Scoped(tb TB, before match.Rules, p Pass) map[string]bool {
	tb.Helper()
	pairing, err := match.Groups(w.Catalog(tb), p.Target.Groups(), before)
	if err != nil {
		tb.Fatalf("pairing the groups under the rules of the earlier pass: %v", err)
	}
	snap := w.LookUp(tb, w.read(tb, match.Selection(p.Pairing, pairing)), p.Draft.Asks)
	scoped := make(map[string]bool)
	for _, g := range p.Plan.Groups {
		for _, c := range g.Remove {
			scoped[c.Key()] = true
		}
	}
	for _, g := range plan.Make(snap, p.Target, pairing, match.Who(snap, p.Target, w.Rules)).Groups {
		for _, c := range g.Remove {
			delete(scoped, c.Key())
		}
	}
	return scoped
}

// Lines returns a plan as text, with one line for each change or person:
//
//	+ann@team from /team by id            an addition: its source, and how the account was found (id or email)
//	-bob@team not_member by id            a removal: the reason, and how the account was found
//	=eve@team local                       a member whom a rule keeps, and the rule
//	?dan@team                             a pending account
//	hidden bob@team, shown ann@team       the own side contradicts the member list
//	frozen team: …                        why the group is frozen
//
// A change without evidence ends with the reason (source.Denial) in parentheses, such as "(away)". A
// change that a guard withholds ends with the guard in brackets, such as "[federation]".
func Lines(p plan.Plan) []string {
	lines := []string{}
	for _, g := range p.Groups {
		name := g.Feed.Group.Name
		for _, m := range g.Missing {
			lines = append(lines, fmt.Sprintf("frozen %s: no %s %q", name, m.Kind, m.Name))
		}
		if g.Unreadable != "" {
			lines = append(lines, fmt.Sprintf("frozen %s: %s", name, g.Unreadable))
		}
		for _, c := range g.Add {
			lines = append(lines, fmt.Sprintf("+%s@%s from %s by %s%s", c.User.ID, name, c.From, c.Match, fate(c)))
		}
		for _, c := range g.Remove {
			by := ""
			if c.Match != "" {
				by = " by " + c.Match
			}
			lines = append(lines, fmt.Sprintf("-%s@%s %s%s%s", c.User.ID, name, c.Why, by, fate(c)))
		}
		for _, k := range g.Keep {
			lines = append(lines, fmt.Sprintf("=%s@%s %s", k.Member.ID, name, k.Why))
		}
		for _, u := range g.Pending {
			lines = append(lines, fmt.Sprintf("?%s@%s", u.Username, name))
		}
		for _, c := range g.Own.Hidden {
			lines = append(lines, fmt.Sprintf("hidden %s@%s", c.User.ID, name))
		}
		for _, c := range g.Own.Shown {
			lines = append(lines, fmt.Sprintf("shown %s@%s", c.User.ID, name))
		}
	}
	return lines
}

func fate(c plan.Change) string {
	s := ""
	if c.Denial != source.Proved {
		s += fmt.Sprintf(" (%s)", c.Denial)
	}
	if c.Guard != "" {
		s += fmt.Sprintf(" [%s]", c.Guard)
	}
	return s
}
