package match

import (
	"slices"
	"strings"
	"time"

	"github.com/gobwas/glob"

	"groupsync/internal/target"
)

// Exception keeps memberships of some people, usually until a given time. groupsync does not
// remove a membership that an exception keeps. An exception never adds a membership, and does
// not change which account is which user.
type Exception struct {
	Match  string    // glob; the exception is for each person whose email or id matches
	Groups []string  // names or ids of user groups; nil: every group
	Until  time.Time // the exception ends at this time; zero: no end
	Reason string    // shown with each membership that the exception keeps
}

// Notice is the time before the end of an exception in which groupsync announces the end.
const Notice = 7 * 24 * time.Hour

// Ended reports whether the exception has ended at that time.
func (e Exception) Ended(now time.Time) bool { return !e.Until.IsZero() && !now.Before(e.Until) }

func (e Exception) expiring(now time.Time) bool {
	return !e.Until.IsZero() && !e.Ended(now) && e.Until.Sub(now) <= Notice
}

// Expiring returns the exceptions that have not ended at that time and end within Notice.
func Expiring(list []Exception, now time.Time) []Exception {
	return slices.DeleteFunc(slices.Clone(list), func(e Exception) bool { return !e.expiring(now) })
}

// later reports whether the exception ends after the other one.
func (e Exception) later(other Exception) bool {
	return !other.Until.IsZero() && (e.Until.IsZero() || e.Until.After(other.Until))
}

// exception is a compiled Exception.
type exception struct {
	Exception
	people *glob.Pattern
}

// At returns the rules without the exceptions that have ended at the time now. Rules have no
// clock: unless At is called, they also apply exceptions that have ended.
func (r Rules) At(now time.Time) Rules {
	r.Exceptions = slices.DeleteFunc(slices.Clone(r.Exceptions), func(e Exception) bool { return e.Ended(now) })
	r.exceptions = slices.DeleteFunc(slices.Clone(r.exceptions), func(e exception) bool { return e.Ended(now) })
	return r
}

// Exception returns the exception that keeps a ClearML user in a user group. targetUser is the
// user's index in the snapshot. If several exceptions apply, Exception returns the one that
// ends last. If several of these end at the same time, it returns the one that is configured
// first.
func (p People) Exception(targetUser int, g target.Group) (best Exception, excepted bool) {
	if p.excepted == nil {
		return Exception{}, false
	}
	for _, e := range p.excepted[targetUser] {
		if p.rules.covers(e, g) && (!excepted || e.later(best)) {
			best, excepted = e, true
		}
	}
	return best, excepted
}

// covers reports whether the exception applies to the user group.
func (r Rules) covers(e Exception, g target.Group) bool {
	return e.Groups == nil || slices.ContainsFunc(e.Groups, func(name string) bool { return name == g.ID || r.Same(name, g.Name) })
}

// matching returns the exceptions whose glob matches one of the names. names are the emails
// and ids of one person (matcher.names).
func (r Rules) matching(names []string) (list []Exception) {
	for _, e := range r.exceptions {
		if slices.ContainsFunc(names, func(n string) bool { return n != "" && e.people.Match(strings.ToLower(n)) }) {
			list = append(list, e.Exception)
		}
	}
	return list
}

// unknownExceptionGroups returns a remark for each group that an exception names and ClearML
// does not have.
func unknownExceptionGroups(tgt *target.Snapshot, r Rules) (remarks []Skip) {
	for _, e := range r.Exceptions {
		for _, name := range e.Groups {
			one := Exception{Groups: []string{name}}
			if !slices.ContainsFunc(tgt.Groups(), func(g target.Group) bool { return r.covers(one, g) }) {
				remarks = append(remarks, Skip{name, InClearML, "users.protect names this group in an exception, and ClearML has no such group"})
			}
		}
	}
	return remarks
}
