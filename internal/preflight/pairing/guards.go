package pairing

import (
	"context"
	"fmt"
	"slices"

	"groupsync/internal/preflight"
	"groupsync/internal/report"
)

// guards returns a finding for each guard that would trip at the first pass that writes (the first
// apply), in the order of report.Rules. A finding says how many changes the guard would withhold.
func (p *pairing) guards(context.Context) []preflight.Finding {
	withheld := make(map[report.Guard]int)
	for _, g := range p.view.Plan.Groups {
		for _, c := range slices.Concat(g.Add, g.Remove) {
			withheld[c.Guard]++
		}
	}
	var findings []preflight.Finding
	if p.lost != "" {
		findings = append(findings, preflight.Warn("groupsync could not read the memory of earlier passes, so the guards decide here as in a first pass: "+p.lost,
			"correct this cause. If the daemon can read its memory, its guards use the memory, and may withhold other changes than shown here"))
	}
	for _, rule := range report.Rules {
		if f, trips := p.tripped(rule, withheld[rule.Guard]); trips {
			findings = append(findings, f)
		}
	}
	if findings == nil {
		return preflight.Fine("no guard would withhold anything at the first apply, which would make " + report.Counted(withheld[""], "change", "changes"))
	}
	return findings
}

// tripped returns a finding if the guard trips or withholds something.
func (p *pairing) tripped(rule report.Rule, withheld int) (preflight.Finding, bool) {
	var details []string
	for _, t := range p.view.Trips {
		if t.Guard == rule.Guard {
			detail := t.Detail
			if t.Group != "" {
				detail = report.Name(t.Group) + ": " + detail
			}
			details = append(details, detail)
		}
	}
	if len(details) == 0 && withheld == 0 {
		return preflight.Finding{}, false
	}
	seen := fmt.Sprintf("the guard %s would withhold %s", rule.Guard, report.Counted(withheld, "change", "changes"))
	if withheld == 0 {
		seen = fmt.Sprintf("the guard %s would trip", rule.Guard)
	}
	if n := len(details); n > 0 {
		seen += ". " + details[0]
		if n > 1 {
			seen += fmt.Sprintf(" (and %d more trips)", n-1)
		}
	}
	switch {
	case rule.Waits:
		return preflight.Fine(seen + ". A later pass makes these changes, if its plan proposes them too")[0], true
	case rule.Liftable:
		return preflight.Warn(seen, "look at the changes with a dry run, groupsync --once. If they are right, approve them with the command that it prints"), true
	}
	return preflight.Warn(seen, "correct this cause: no approval lifts this guard"), true
}
