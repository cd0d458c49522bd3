// Package trait finds the settings of a user federation that make a list of Keycloak differ
// from a person's own side (reference/keycloak-own-view.md, reference/keycloak-traps.md). The
// own side is Keycloak's answer about the groups and roles of one person. A login reads it.
package trait

import (
	"fmt"
	"slices"
	"strings"

	"groupsync/internal/match"
	"groupsync/internal/preflight"
	"groupsync/internal/source"
	"groupsync/internal/source/keycloak"
)

// List is one list of Keycloak that feeds user groups: the members of a group, or the
// holders of the admin role.
type List struct {
	Role   string         // admins.role, if this is the list of its holders; empty: the list is the members of a group
	Groups []source.Group // the group, or the groups that give the role
	Feeds  []string       // ids of the user groups
}

func (l List) String() string {
	if l.Role != "" {
		return "the list of holders of the role " + l.Role
	}
	return "the list of the group " + l.Groups[0].Path
}

// Lists returns the lists that feed a user group, each once, in the order of the feeds. For the
// list of a role, Groups is empty: the caller adds the groups after it has read the role.
func Lists(pairing match.Pairing) []List {
	var lists []List
	add := func(l List, feed string) {
		i := slices.IndexFunc(lists, func(o List) bool {
			return o.Role == l.Role && (l.Role != "" || o.Groups[0].ID == l.Groups[0].ID)
		})
		if i < 0 {
			lists = append(lists, l)
			i = len(lists) - 1
		}
		lists[i].Feeds = append(lists[i].Feeds, feed)
	}
	for _, feed := range pairing.Feeds {
		for _, g := range feed.Sources {
			add(List{Groups: []source.Group{g}}, feed.Group.ID)
		}
		if feed.Role != "" {
			add(List{Role: feed.Role}, feed.Group.ID)
		}
	}
	return lists
}

// Trait is a setting of a federation that can cause a problem. It can make a list of Keycloak
// differ from the people's own side, or make the list or the own side late.
type Trait struct {
	level        preflight.Level // empty: the setting is no mistake by itself, and is named only as a possible cause of a measured difference
	cause        string          // a clause that describes the setting
	effect       string          // a sentence about what the setting does; empty if the level is empty
	advice       string
	federation   string          // id of the federation
	hides, shows bool            // the list hides people, or shows people wrongly, because of the trait
	sure         bool            // the trait always has this effect; false: the effect depends on what LDAP holds
	touches      func(List) bool // whether the trait acts on the list; nil: it acts on no list
}

// Finding returns the trait as a finding of the check federation.
func (t Trait) Finding() preflight.Finding {
	return preflight.Finding{Level: t.level, Seen: t.cause + ". " + t.effect, Advice: t.advice}
}

// Concerns reports whether the check federation reports the trait. It does so if the trait has a
// level and acts on one of the lists. lists are the lists that feed a user group. If lists is nil
// (not known), or if touches is nil, a trait with a level is always reported.
func (t Trait) Concerns(lists []List) bool {
	return t.level != "" && (t.touches == nil || lists == nil || slices.ContainsFunc(lists, t.touches))
}

// throughGroup returns a function for Trait.touches. The function returns true for a list that
// depends on a group for which the function is returns true.
func throughGroup(is func(source.Group) bool) func(List) bool {
	return func(l List) bool { return slices.ContainsFunc(l.Groups, is) }
}

// below returns a function for Trait.touches. The function returns true for a list of a group at
// or below the path, at every depth. A mapper with this groups path reads these groups from LDAP.
func below(path string) func(List) bool {
	return throughGroup(func(g source.Group) bool { return isBelow(g.Path, path) })
}

func isBelow(group, path string) bool {
	return path == "/" || group == path || strings.HasPrefix(group, path+"/")
}

// Of returns the traits of all federations, in the order of the federations. A federation that is
// switched off has only one trait, which reports that.
func Of(settings keycloak.FederationSettings, catalog source.Catalog) []Trait {
	var all []Trait
	for _, s := range settings.Storages {
		c := configuration{Storage: s, defaults: settings.DefaultGroups, catalog: catalog}
		for _, m := range s.Mappers {
			if m.Kind == keycloak.GroupMapper && m.Mode != importMode {
				c.mappers = append(c.mappers, m)
			}
		}
		rules := []func(configuration) []Trait{
			overlappingMappers, filteredGroups, hardcodedGroups, hardcodedRoles, ldapOnly, defaultGroups,
			usernameAttribute, oldCache, timeouts, sameNames, sameLeaf,
		}
		if !s.Enabled {
			rules = []func(configuration) []Trait{switchedOff}
		}
		for _, rule := range rules {
			for _, t := range rule(c) {
				t.federation = s.ID
				all = append(all, t)
			}
		}
	}
	return all
}

// Two modes of an LDAP group mapper. With IMPORT, Keycloak copies memberships into its database.
// The member list and the person's own side then read the same rows, and cannot differ.
const (
	ldapOnlyMode = "LDAP_ONLY"
	importMode   = "IMPORT"
)

// configuration is one federation, with the data that the functions below need to find traits.
type configuration struct {
	keycloak.Storage
	mappers  []keycloak.StorageMapper // the group mappers whose mode is not IMPORT, so that Keycloak reads memberships from LDAP
	defaults []source.Group
	catalog  source.Catalog
}

func (c configuration) mapper(m keycloak.StorageMapper) string {
	return "the mapper " + m.Name + " of the federation " + c.Name
}

func switchedOff(c configuration) []Trait {
	return []Trait{{
		level:  preflight.Warning,
		cause:  "the federation " + c.Name + " is switched off",
		effect: "Its people cannot sign in, and groupsync neither adds nor removes any of them",
		advice: "switch the federation on. If it is no longer needed, delete it: Keycloak then deletes the people that it imported",
	}}
}

// overlappingMappers finds pairs of mappers that are responsible for the same groups. For such a
// group, Keycloak lists only the people of the first mapper that finds somebody.
func overlappingMappers(c configuration) []Trait {
	var traits []Trait
	for i, a := range c.mappers {
		for _, b := range c.mappers[i+1:] {
			if !isBelow(a.Path, b.Path) && !isBelow(b.Path, a.Path) {
				continue
			}
			inner := a.Path
			if isBelow(b.Path, inner) {
				inner = b.Path
			}
			traits = append(traits, Trait{
				level:  preflight.Warning,
				cause:  fmt.Sprintf("the group mappers %s (groups path %s) and %s (groups path %s) of the federation %s overlap", a.Name, a.Path, b.Name, b.Path, c.Name),
				effect: "If both find an LDAP group with the same name, Keycloak's list of the group shows the people of one mapper only",
				advice: "give each mapper a groups path that is not below the path of the other mapper, or let one mapper read all the groups",
				hides:  true, shows: true, touches: below(inner),
			})
		}
	}
	return traits
}

// filteredGroups finds mappers that search groups by the attribute that the federation uses as the
// id of its entries. Keycloak treats such a search as a search for people, and adds the user
// filter.
func filteredGroups(c configuration) []Trait {
	var traits []Trait
	for _, m := range c.mappers {
		if c.UserFilter == "" || !strings.EqualFold(c.UUIDAttribute, m.NameAttribute) {
			continue
		}
		traits = append(traits, Trait{
			level:  preflight.Error,
			cause:  fmt.Sprintf("the federation %s has a user filter and identifies entries by %s, and its mapper %s finds groups by %s too, so the filter of people is applied to groups", c.Name, c.UUIDAttribute, m.Name, m.NameAttribute),
			effect: "Keycloak finds no group that the filter leaves out and lists nobody for it, so groupsync adds nobody from this list",
			advice: "remove the user filter of the federation, or identify entries by an attribute that is made for it, such as entryUUID or objectGUID. With another attribute, Keycloak may treat existing people as new people. Test this first",
			hides:  true, sure: true, touches: below(m.Path),
		})
	}
	return traits
}

// hardcodedGroups finds mappers that put everybody of the federation into a group. A mapper of this
// kind cannot list members, so the group's member list lacks these people.
func hardcodedGroups(c configuration) []Trait {
	var traits []Trait
	for _, m := range c.Mappers {
		if m.Kind != keycloak.HardcodedGroup {
			continue
		}
		traits = append(traits, Trait{
			level:  preflight.Warning,
			cause:  c.mapper(m) + " puts everybody into the group " + m.Group,
			effect: "Keycloak's list of the group shows none of them, so groupsync adds none of them; a login does",
			advice: "let LDAP hold the group and a group mapper read it, or leave the group to ClearML's own sync at login",
			hides:  true, sure: true, touches: throughGroup(func(g source.Group) bool { return g.Path == m.Group }),
		})
	}
	return traits
}

func hardcodedRoles(c configuration) []Trait {
	var traits []Trait
	for _, m := range c.Mappers {
		if m.Kind != keycloak.HardcodedRole {
			continue
		}
		traits = append(traits, Trait{
			level:  preflight.Warning,
			cause:  c.mapper(m) + " gives everybody the role " + m.Role,
			effect: "Keycloak's list of the role's holders shows none of them, so groupsync makes none of them an administrator",
			advice: "give the role to a group, and name that group in admins.groups",
			hides:  true, sure: true, touches: func(l List) bool { return l.Role != "" && hardcodes(m.Role, l.Role) },
		}, Trait{ // the mapper's role can be a composite role that contains the admin role
			cause:  c.mapper(m) + " gives everybody the role " + m.Role,
			advice: "look whether the role " + m.Role + " contains the role of administrators. If so, remove that role from it",
			hides:  true, touches: func(l List) bool { return l.Role != "" },
		})
	}
	return traits
}

// hardcodes reports whether the role of a mapper is the configured admin role. The mapper has the
// role as "role", or as "client.role".
func hardcodes(mapper, configured string) bool {
	realm, name := source.RealmRole(configured)
	if !realm {
		name = strings.Replace(name, "/", ".", 1)
	}
	return mapper == name
}

// ldapOnly finds mappers in the mode LDAP_ONLY. Such a mapper hides the memberships in
// Keycloak's database from the people's own side, and the list still shows them. Only mappers
// with the groups path / do so.
func ldapOnly(c configuration) []Trait {
	var traits []Trait
	for _, m := range c.mappers {
		if m.Mode != ldapOnlyMode || m.Path != "/" || !c.Imports {
			continue
		}
		for _, g := range c.defaults {
			traits = append(traits, Trait{
				level:  preflight.Warning,
				cause:  fmt.Sprintf("%s has the mode LDAP_ONLY, and %s is a default group of the realm", c.mapper(m), g.Path),
				effect: "Keycloak's list of the group shows everybody whom the federation imports, and their tokens lack the group, so groupsync adds none of them",
				advice: "set the mode of the mapper to READ_ONLY, or take the group out of the realm's default groups",
				shows:  true, sure: true, touches: throughGroup(func(o source.Group) bool { return o.ID == g.ID }),
			})
		}
		traits = append(traits, Trait{
			cause:  c.mapper(m) + " has the mode LDAP_ONLY, and Keycloak's database still holds memberships from another mode or from the admin console",
			advice: "set the mode of the mapper to READ_ONLY. If these people should not be in the group, take them out of it in Keycloak then, and set the mode back",
			shows:  true, touches: func(List) bool { return true },
		})
	}
	return traits
}

// defaultGroups finds default groups of the realm, for a federation that does not import
// people. Such people have no row in Keycloak's database, so the list does not show them.
func defaultGroups(c configuration) []Trait {
	var traits []Trait
	for _, g := range c.defaults {
		if c.Imports {
			break
		}
		traits = append(traits, Trait{
			level:  preflight.Warning,
			cause:  fmt.Sprintf("the federation %s does not import people, and %s is a default group of the realm", c.Name, g.Path),
			effect: "The tokens of its people have the group, and Keycloak's list of the group does not show them, so groupsync adds none of them",
			advice: `switch on "Import users" in the federation, or take the group out of the realm's default groups`,
			hides:  true, sure: true, touches: throughGroup(func(o source.Group) bool { return o.ID == g.ID }),
		})
	}
	return traits
}

// usernameAttribute finds a federation whose entries can lack the attribute of the username. It
// accepts sAMAccountName, because Active Directory gives that attribute to every account.
func usernameAttribute(c configuration) []Trait {
	username := c.UsernameAttribute
	if len(c.mappers) == 0 || username == "" || strings.EqualFold(username, c.RDNAttribute) || strings.EqualFold(username, "sAMAccountName") {
		return nil
	}
	return []Trait{{
		level:  preflight.Warning,
		cause:  fmt.Sprintf("the federation %s names entries by %s and takes the username from %s, which an entry can lack", c.Name, c.RDNAttribute, username),
		effect: "If one member of an LDAP group lacks it, Keycloak's list of the group is empty",
		advice: fmt.Sprintf("let every member of an LDAP group have %s, and check that entries are named by %s", username, c.RDNAttribute),
		hides:  true, touches: func(l List) bool {
			return slices.ContainsFunc(c.mappers, func(m keycloak.StorageMapper) bool { return below(m.Path)(l) })
		},
	}}
}

// oldCache finds a federation whose entries in Keycloak's user cache nothing refreshes. A login and
// Keycloak's answer about a person's effective roles come from this cache. Keycloak's count of a
// person's groups, which groupsync asks for, does not.
func oldCache(c configuration) []Trait {
	reads := c.Provider != "kerberos" && (c.Provider != "ldap" || len(c.mappers) > 0)
	if !reads || c.Sync > 0 || c.CachePolicy != "DEFAULT" {
		return nil
	}
	late := Trait{
		level:  preflight.Warning,
		cause:  "the federation " + c.Name + " has the cache policy DEFAULT and no periodic sync of its people, so Keycloak's user cache keeps old groups and roles without end",
		effect: "A login can bring back a membership that the federation has ended",
		advice: "set a periodic sync of changed users, or the cache policy MAX_LIFESPAN or NO_CACHE",
	}
	role := late
	role.level, role.hides, role.touches = "", true, func(l List) bool { return l.Role != "" }
	return []Trait{late, role}
}

func timeouts(c configuration) []Trait {
	t := Trait{level: preflight.Warning, advice: `set "Connection timeout" and "Read timeout" of the federation, for example to 5000 and 10000 milliseconds`,
		effect: "If LDAP accepts a search and does not answer, Keycloak waits without end, for a login too"}
	switch {
	case c.Provider != "ldap", c.ConnectionTimeout && c.ReadTimeout:
		return nil
	case c.ReadTimeout:
		t.cause = "the federation " + c.Name + " has no connection timeout"
		t.effect = "If LDAP is not reachable, each request waits for Keycloak's own 5 seconds"
	case c.ConnectionTimeout:
		t.cause = "the federation " + c.Name + " has no read timeout"
	default:
		t.cause = "the federation " + c.Name + " has no connection timeout and no read timeout"
	}
	return []Trait{t}
}

// sameNames finds mappers that can make one Keycloak group of two LDAP groups with the same name.
// Keycloak does not show from how many LDAP groups a group comes.
func sameNames(c configuration) []Trait {
	var traits []Trait
	for _, m := range c.mappers {
		if !c.Subtree {
			break
		}
		traits = append(traits, Trait{
			cause:  fmt.Sprintf("the federation %s searches LDAP at every depth (search scope Subtree), and its mapper %s makes one Keycloak group of several LDAP groups with the same name", c.Name, m.Name),
			advice: "look in LDAP for groups with the same name. Rename all but one of them, or give each unit a mapper with a groups path of its own",
			hides:  true, touches: below(m.Path),
		})
	}
	return traits
}

// sameLeaf finds Keycloak groups with the same name below a mapper's path. For each of these
// groups Keycloak lists the members of the LDAP group with that name.
func sameLeaf(c configuration) []Trait {
	var traits []Trait
	for _, m := range c.mappers {
		names := make(map[string]int)
		for _, g := range c.catalog.Groups() {
			if isBelow(g.Path, m.Path) {
				names[strings.ToLower(g.Name)]++
			}
		}
		traits = append(traits, Trait{
			cause:  c.mapper(m) + " lists the members of an LDAP group for every Keycloak group of the same name below its groups path " + m.Path,
			advice: "rename the other Keycloak group, or give the mapper a groups path below which only LDAP groups are",
			shows:  true, touches: throughGroup(func(g source.Group) bool { return isBelow(g.Path, m.Path) && names[strings.ToLower(g.Name)] > 1 }),
		})
	}
	return traits
}

// Causes returns the traits that can make one of the lists hide people. If hides is false, it
// returns the traits that can make one of the lists show people wrongly. federation is an id, or
// empty for all federations. If some of the traits are sure, Causes leaves out the others.
func Causes(traits []Trait, lists []List, federation string, hides bool) []Trait {
	var causes []Trait
	for _, t := range traits {
		does := t.hides && hides || t.shows && !hides
		if does && slices.ContainsFunc(lists, t.touches) && (federation == "" || federation == t.federation) {
			causes = append(causes, t)
		}
	}
	if sure := slices.DeleteFunc(slices.Clone(causes), func(t Trait) bool { return !t.sure }); len(sure) > 0 {
		return sure
	}
	return causes
}

// Explain returns a sentence that names the causes, and the advice how to fix them. Without causes,
// the advice is how to find one.
func Explain(causes []Trait) (because, advice string) {
	if len(causes) == 0 {
		return "No cause was found in the configuration of the federations",
			"compare the group in LDAP with the list in Keycloak's admin console. groupsync follows the people's own side, as a login does"
	}
	word := "Possible cause"
	if causes[0].sure {
		word = "Cause"
	}
	if len(causes) > 1 {
		word += "s"
	}
	var all, fixes []string
	for _, c := range causes {
		all = append(all, c.cause)
		if !slices.Contains(fixes, c.advice) {
			fixes = append(fixes, c.advice)
		}
	}
	return word + ": " + strings.Join(all, "; or "), strings.Join(fixes, "; or ")
}

// Mappers returns a phrase with the names of those mappers of the federation that read the list
// from LDAP.
func Mappers(settings keycloak.FederationSettings, l List, federation string) string {
	var names []string
	for _, s := range settings.Storages {
		for _, x := range s.Mappers {
			if s.ID == federation && x.Kind == keycloak.GroupMapper && x.Mode != importMode && below(x.Path)(l) {
				names = append(names, x.Name)
			}
		}
	}
	if len(names) == 0 {
		return "the federation's group mapper"
	}
	return preflight.These("mapper", names)
}
