package guard

import (
	"fmt"
	"strings"
	"time"

	"groupsync/internal/match"
	"groupsync/internal/memory"
	"groupsync/internal/plan"
	"groupsync/internal/report"
	"groupsync/internal/source"
)

// suspended withholds changes while a suspension is in force: all changes, or only removals.
// It trips even if no change is withheld, so that every report shows the suspension.
func (e *evaluation) suspended() {
	s := e.in.Suspended
	if s.IsZero() {
		return
	}
	n := withhold(e.changes(), report.Suspended, func(c *plan.Change) bool { return s.Withholds(isRemoval(c)) })
	e.trip(report.Suspended, "", "%s: %d changes are withheld; the suspension ends by itself, or by groupsync resume", SuspensionText(s), n)
}

// SuspensionText returns the part of a guard's message that says what is suspended, until when
// and why. It leaves out who asked for the suspension, because guards name no people.
func SuspensionText(s memory.Suspension) string {
	return fmt.Sprintf("%s is suspended until %s (%q)", s.What(), s.Until.UTC().Format(time.RFC3339), s.Reason)
}

// federation withholds the changes that depend on a federation that is not up. It adds one
// trip for each such federation on which a change depends.
func (e *evaluation) federation() {
	for _, p := range e.in.Probes {
		if p.Up {
			continue
		}
		n := withhold(e.changes(), report.Federation, func(c *plan.Change) bool {
			return c.Denial == source.Away && c.Federation == p.Federation.ID
		})
		if n == 0 {
			continue
		}
		advice := "check that its server answers Keycloak"
		if !p.Federation.Enabled {
			advice = "enable it again, or delete it in Keycloak if its people must lose their memberships"
		}
		e.trip(report.Federation, "", "the federation %q is not up (%s): %d changes that depend on it are withheld, and its people keep their memberships; %s; if it stays switched off, or never answers a probe although it works, name it in keycloak.trusted_federations", p.Federation.Name, p.Detail, n, advice)
	}
	// These changes depend on federations that this pass has not probed.
	rest := withhold(e.changes(), report.Federation, func(c *plan.Change) bool { return c.Denial == source.Away && c.Guard == "" })
	if rest > 0 {
		e.trip(report.Federation, "", "%d changes are withheld: they depend on federations that this pass could not probe; if the next pass reports the same, look for the failed probes in the log", rest)
	}
}

// confirm withholds changes that the second look did not confirm.
func (e *evaluation) confirm() {
	for i := range e.Plan.Groups {
		g := &e.Plan.Groups[i]
		changes := changesOf(g)
		why := ""
		n := withhold(changes, report.Confirm, func(c *plan.Change) bool {
			unconfirmed := c.Denial == source.Unclear || c.Denial == source.Proved && !c.Evidence.Valid()
			if unconfirmed && why == "" {
				why = c.Doubt
			}
			return unconfirmed
		})
		if n == 0 {
			continue
		}
		if why == "" {
			why = "the second look gave no answer"
		}
		e.trip(report.Confirm, g.Feed.Group.Name, "the second look did not confirm %d of %d changes (the first unconfirmed change: %s): they are withheld, and the next pass checks them again", n, len(changes), why)
	}
}

// missingSource reports what the configuration names and what does not exist or cannot be
// read: Keycloak groups and roles, and ClearML's group Admins. It withholds nothing, because
// the plan proposes nothing for their user groups.
func (e *evaluation) missingSource() {
	for _, g := range e.Plan.Groups {
		for _, m := range g.Missing {
			if m.Several {
				e.trip(report.MissingSource, g.Feed.Group.Name, "the role name %q in %s fits roles of several clients: the user group is frozen; rename one of the clients or roles in Keycloak", m.Name, m.Key)
				continue
			}
			e.trip(report.MissingSource, g.Feed.Group.Name, "the Keycloak %s %q, named in %s, does not exist: the user group is frozen; create it or correct the configuration%s", m.Kind, m.Name, m.Key, near(m))
		}
		if g.Unreadable != "" {
			e.trip(report.MissingSource, g.Feed.Group.Name, "Keycloak cannot list the members of a group that feeds this user group, which is frozen (%s). Known causes: two LDAP groups of one name under the mapper's base (rename one, or exclude the group), and in Keycloak 26.0 and older an LDAP server that is away", g.Unreadable)
		}
	}
	for _, m := range e.Plan.Missing {
		if m.Kind == "user group" {
			e.trip(report.MissingSource, "", "ClearML did not return exactly one user group %q that is built in and assignable (users can be added and removed). Its members were not synchronized. Check these three points in ClearML, or set admins.via to role, or remove admins.groups and admins.role", m.Name)
		} else {
			e.trip(report.MissingSource, "", "the Keycloak %s %q, named in %s, does not exist: nothing is synchronized from it; create it or correct the configuration%s", m.Kind, m.Name, m.Key, near(m))
		}
	}
}

func near(m match.Missing) string {
	if len(m.Near) == 0 {
		return ""
	}
	return fmt.Sprintf(`; did you mean "%s"?`, strings.Join(m.Near, `" or "`))
}

// collision withholds a new administrator if only a colliding name makes this person one. A
// name in admins.groups collides if several Keycloak groups have it.
func (e *evaluation) collision() {
	for i := range e.Plan.Groups {
		g := &e.Plan.Groups[i]
		if len(g.Feed.Collisions) == 0 {
			continue
		}
		n := withhold(changesOf(g), report.Collision, func(c *plan.Change) bool { return isAddition(c) && c.Collides })
		for _, c := range g.Feed.Collisions {
			paths := make([]string, len(c.Groups))
			for k, s := range c.Groups {
				paths[k] = fmt.Sprintf("%q", s.Path)
			}
			withheld := ""
			if n > 0 {
				withheld = fmt.Sprintf(", and %d new administrators are withheld", n)
			}
			e.trip(report.Collision, g.Feed.Group.Name, "several Keycloak groups have the name %q of admins.groups (%s): nobody becomes an administrator through that name%s; write the path of the right group into admins.groups", c.Name, strings.Join(paths, ", "), withheld)
		}
	}
}

// views withholds the changes of a group if ClearML's two views of its members disagree: the
// group's member list, and the users' own lists of groups. A write replaces the whole member
// list, so groupsync must know that list.
func (e *evaluation) views() {
	for i := range e.Plan.Groups {
		g := &e.Plan.Groups[i]
		differ := e.in.Target.Disagreement(g.Feed.Group.ID)
		if differ == "" || len(g.Add)+len(g.Remove) == 0 {
			continue
		}
		withhold(changesOf(g), report.Views, func(*plan.Change) bool { return true })
		e.trip(report.Views, g.Feed.Group.Name, "ClearML's two views of this group disagree after a second read (%s): the group is not written; look at the group in ClearML", differ)
	}
}

// ambiguity reports administrators who stay because groupsync cannot tell which Keycloak
// account is theirs. It withholds nothing, because the plan proposes nothing for them.
func (e *evaluation) ambiguity() {
	for _, g := range e.Plan.Groups {
		n := 0
		for _, k := range g.Keep {
			if g.Feed.Admins && (k.Why == match.Ambiguous || k.Why == match.Rekeyed) {
				n++
			}
		}
		if n > 0 {
			e.trip(report.Ambiguity, g.Feed.Group.Name, "groupsync cannot tell which Keycloak account %d administrators have. At least one possible account of each is still an administrator in Keycloak, so nobody was removed. The report names them under kept; correct the email or the sign-in in ClearML, or remove the administrator there", n)
		}
	}
}

// floor withholds the removals of administrators if fewer than admins.floor would remain who
// can still sign in.
func (e *evaluation) floor() {
	for i := range e.Plan.Groups {
		g := &e.Plan.Groups[i]
		if !g.Feed.Admins || len(g.Remove) == 0 || len(g.Floor) >= e.in.Limits.Floor {
			continue
		}
		withhold(changesOf(g), report.Admins, isRemoval)
		e.trip(report.Admins, g.Feed.Group.Name, "%d administrators would remain, admins.floor is %d: the removals of administrators are withheld; first make another person an administrator in Keycloak; a new administrator counts from the pass after the addition", len(g.Floor), e.in.Limits.Floor)
	}
}
