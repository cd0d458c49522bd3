package preflight

import (
	"context"
	"strconv"
	"strings"
	"time"

	"groupsync/internal/match"
	"groupsync/internal/report"
)

// Exceptions returns one check, which warns of the exceptions of users.protect that end soon or
// have ended. If the list is empty, it returns no check.
func Exceptions(list []match.Exception) []Check {
	if len(list) == 0 {
		return nil
	}
	return []Check{{Name: "exceptions", Run: func(context.Context) []Finding { return Ends(list, time.Now()) }}}
}

// Ends returns a warning for each exception that ends within 7 days after now, and then one for
// each exception that has ended. If there is neither, it returns one finding of level OK.
func Ends(list []match.Exception, now time.Time) (findings []Finding) {
	for _, e := range match.Expiring(list, now) {
		findings = append(findings, Warn(exceptionFor(e)+" ends at "+utc(e.Until)+because(e),
			"set a later until in users.protect if these people still need the memberships; when the exception ends, groupsync removes them from the groups that Keycloak does not give them"))
	}
	for _, e := range list {
		if e.Ended(now) {
			findings = append(findings, Warn(exceptionFor(e)+" ended at "+utc(e.Until)+because(e), "remove the entry from users.protect, or set a later until"))
		}
	}
	if findings == nil {
		return Fine(report.Counted(len(list), "exception", "exceptions") + " of users.protect, and none ends within 7 days")
	}
	return findings
}

func exceptionFor(e match.Exception) string {
	in := ""
	if e.Groups != nil {
		groups := make([]string, len(e.Groups))
		for i, g := range e.Groups {
			groups[i] = strconv.Quote(g)
		}
		in = " in " + strings.Join(groups, ", ")
	}
	return "the exception for " + strconv.Quote(e.Match) + in
}

func because(e match.Exception) string {
	if e.Reason == "" {
		return ""
	}
	return ": " + e.Reason
}

func utc(t time.Time) string { return t.UTC().Format(time.RFC3339) }
