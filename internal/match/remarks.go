package match

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"groupsync/internal/source"
	"groupsync/internal/target"
)

// Remarks returns the skips of the pairing and warnings that do not stop the pass, in one
// sorted list. A warning says one of these:
//   - No ClearML user has signed in through clearml.provider, so no user can be matched.
//   - An administrator has only the role admin, or only the membership of the group Admins.
//   - ClearML shows the members of built-in groups only in the group's own member list.
//   - An exception names a group that ClearML does not have.
//
// more are further remarks for the list, such as those of Unsure.
func Remarks(tgt *target.Snapshot, p Pairing, r Rules, more ...Skip) []Skip {
	all := slices.Concat(p.Skips, UnusedProvider(tgt, r), Mismatched(tgt, p), oneView(tgt), unknownExceptionGroups(tgt, r), more)
	slices.SortFunc(all, compareSkips)
	return slices.Compact(all)
}

// UnusedProvider returns a remark if no user has signed in through the provider that
// clearml.provider names, because then no user is matched. If ClearML does not return the
// providers of any user (target.User.Providers is nil), it returns nothing. If ClearML returns
// them, and every user has none, it returns a remark.
func UnusedProvider(tgt *target.Snapshot, r Rules) []Skip {
	others, returned := make(map[string]bool), false
	for _, u := range tgt.Users() {
		returned = returned || u.Providers != nil
		for name := range u.Providers {
			others[name] = true
		}
	}
	if returned && len(others) == 0 {
		return []Skip{{r.Provider, InClearML, "the value of clearml.provider, but according to ClearML no user has signed in through any provider. No user can be matched until somebody signs in to ClearML through Keycloak"}}
	}
	if len(others) == 0 || others[r.Provider] {
		return nil
	}
	return []Skip{{r.Provider, InClearML, "the value of clearml.provider, but no user has signed in through that provider. Users signed in through " + strings.Join(slices.Sorted(maps.Keys(others)), ", ")}}
}

// Unsure returns a remark if two things are true. In this realm an email is not enough to
// identify one account (see source.Catalog.HidesEmails). ClearML knows at least one person only
// by email.
func Unsure(c source.Catalog, people People) []Skip {
	if !c.HidesEmails() || !slices.ContainsFunc(people.persons, Person.EmailOnly) {
		return nil
	}
	return []Skip{{"duplicateEmailsAllowed", InKeycloak, "emails may repeat in the realm, and a federation can hide an account. groupsync adds nobody whom ClearML knows only by email. Such people get their groups at their next login"}}
}

// oneView returns a remark if ClearML shows the members of built-in groups only in the group's
// own list.
func oneView(tgt *target.Snapshot) []Skip {
	if !tgt.OneView() {
		return nil
	}
	return []Skip{{target.Admins, InClearML, "ClearML shows the members of built-in groups only in the group's member list, so groupsync uses that list alone"}}
}

// Mismatched returns a remark for each user who has the role admin and is not in the built-in
// group Admins. It also returns one for each user in Admins who does not have an
// administrator's role. It returns nothing if groupsync does not manage administrators.
//
// groupsync does not know whether ClearML gives the role to the members of the group, or the
// group to the holders of the role (reference/clearml-api.md). So a person who lost the group
// may still have the role, or the reverse.
func Mismatched(tgt *target.Snapshot, p Pairing) (remarks []Skip) {
	if !slices.ContainsFunc(p.Feeds, func(f Feed) bool { return f.Admins }) {
		return nil
	}
	member := make(map[string]bool)
	for _, g := range tgt.Groups() {
		if g.System && g.Name == target.Admins {
			for _, m := range g.Members {
				member[m.ID] = true
			}
		}
	}
	for _, u := range tgt.Users() {
		name := cmp.Or(u.Email, u.ID)
		switch {
		case u.ServiceAccount || u.Role == "":
		case u.Role == target.RoleAdmin && !member[u.ID]:
			remarks = append(remarks, Skip{name, InClearML, "has the role admin and is not in Admins: check in Keycloak whether the person must be an administrator, and correct in ClearML only what admins.via does not name"})
		case !target.Administrator(u.Role) && member[u.ID]:
			remarks = append(remarks, Skip{name, InClearML, "is in Admins and has no administrator's role: check in Keycloak whether the person must be an administrator, and correct in ClearML only what admins.via does not name; the role is " + u.Role})
		}
	}
	return remarks
}
