// Package preflight looks for wrong settings in the running Keycloak and ClearML, before groupsync
// makes a pass. It only reads. Each package below preflight holds one family of checks.
package preflight

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
)

// limit is how long a check may take if its Limit is 0. If Keycloak does not answer, only one check
// of Keycloak waits so long, because the later checks depend on that check and are then not made.
// The same holds for ClearML.
const limit = 20 * time.Second

// Level says how bad a finding is.
type Level string

// The levels of a finding.
const (
	OK      Level = "ok"      // the setting is right
	Warning Level = "warning" // a person should look at the setting, or groupsync could not check the setting
	Error   Level = "error"   // a pass would fail, or a pass and the per-login sync would undo each other's changes
)

// Finding is one result of a check. A check can have several.
type Finding struct {
	Check        string `json:"check"`            // name of the check
	Level        Level  `json:"level"`            //
	Seen         string `json:"seen"`             // what the check saw, a sentence
	Advice       string `json:"advice,omitempty"` // how to fix it, a sentence; empty for OK
	Docs         string `json:"docs"`             // where the documentation describes the check
	Prerequisite string `json:"-"`                // if the check was not made: name of the check that it depends on; else empty
}

// Check is one thing to look at.
type Check struct {
	Name  string        // unique; the heading of docs/check.md that describes it
	After []string      // names of earlier checks; if one of them found an error, Run does not make this check
	Limit time.Duration // how long the check may take; 0: 20 seconds
	Run   func(context.Context) []Finding
}

// Fine returns the result of a check without a problem: one finding of level OK.
func Fine(seen string) []Finding { return []Finding{{Level: OK, Seen: seen}} }

// Warn returns a finding of level Warning. advice says how to fix what was seen.
func Warn(seen, advice string) Finding { return Finding{Level: Warning, Seen: seen, Advice: advice} }

// Fail returns a finding of level Error. advice says how to fix what was seen.
func Fail(seen, advice string) Finding { return Finding{Level: Error, Seen: seen, Advice: advice} }

// Unchecked returns the warning of a check that could not be completed because of err. Without
// a warning the report would look as if the check had found no problem.
func Unchecked(err error, advice string) Finding {
	return Warn("groupsync could not complete this check: "+err.Error(), advice)
}

// NotMade returns the warning of a check that was not made. prerequisite is the name of the
// earlier check whose result this check lacks. because is a clause with the reason.
func NotMade(prerequisite, because, advice string) []Finding {
	f := Warn("groupsync did not make this check, because "+because, advice)
	f.Prerequisite = prerequisite
	return []Finding{f}
}

// Refused returns the result of a check that ended with err: one finding of level Error. If the
// text of err has its own advice after "To fix it, ", the finding has that advice. If not, it has
// the parameter advice.
func Refused(err error, advice string) []Finding {
	if seen, todo, found := strings.Cut(err.Error(), " To fix it, "); found {
		return []Finding{Fail(seen, todo)}
	}
	return []Finding{Fail(err.Error(), advice)}
}

// Run makes the checks in their order. It calls emit with each finding as soon as the check has
// ended. If a check named in After has found an error, Run does not make the check, and a warning
// says so. Run stops when ctx is done. The report then lacks the check that was under way and all
// later checks.
func Run(ctx context.Context, checks []Check, emit func(Finding)) Report {
	var r Report
	failed := make(map[string]bool)
	for _, c := range checks {
		findings := c.run(ctx, failed)
		if ctx.Err() != nil {
			break
		}
		for _, f := range findings {
			f.Check, f.Docs = c.Name, "docs/check.md#"+c.Name
			failed[c.Name] = failed[c.Name] || f.Level == Error
			r.Findings = append(r.Findings, f)
			emit(f)
		}
	}
	return r
}

func (c Check) run(ctx context.Context, failed map[string]bool) []Finding {
	for _, name := range c.After {
		if failed[name] {
			return NotMade(name, "the check "+name+" found an error", "correct that error first, then run groupsync check again")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.Limit, limit))
	defer cancel()
	return c.Run(ctx)
}

// Report holds the findings of all checks, in the order of the checks.
type Report struct {
	Findings []Finding `json:"findings"`
}

// Count returns how many findings have the level.
func (r Report) Count(l Level) (n int) {
	for _, f := range r.Findings {
		if f.Level == l {
			n++
		}
	}
	return n
}

// ExitCode returns 1 if a finding is an error, 2 if strict and a finding is a warning,
// else 0.
func (r Report) ExitCode(strict bool) int {
	has := func(l Level) bool {
		return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Level == l })
	}
	switch {
	case has(Error):
		return 1
	case strict && has(Warning):
		return 2
	}
	return 0
}
