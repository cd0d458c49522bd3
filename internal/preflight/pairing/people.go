package pairing

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"groupsync/internal/match"
	"groupsync/internal/plan"
	"groupsync/internal/preflight"
	"groupsync/internal/report"
	"groupsync/internal/target"
)

// census counts people by how they are matched. It counts only the members of fed user groups and
// of the Keycloak groups that feed these.
func (p *pairing) census(context.Context) []preflight.Finding {
	by := make(map[string]int)
	ids := make(map[match.State][]string)
	for i, u := range p.view.Input.Target.Users() {
		state, met := p.view.Plan.People[u.ID]
		if !met {
			continue
		}
		ids[state] = append(ids[state], report.Name(u.ID))
		if state == match.Matched {
			by[p.view.People.Person(i).Match]++
		}
	}
	n := p.view.Plan.Users
	known := []match.State{match.Matched, match.Pending, match.Ambiguous, match.Rekeyed, match.GoneNow, match.GoneKept}
	others := 0
	for state, count := range n {
		if !slices.Contains(known, state) {
			others += count
		}
	}
	findings := preflight.Fine(fmt.Sprintf("people of the groups: %d matched by the id, %d by the email, %d pending (in Keycloak, and not yet signed in to ClearML), %d ambiguous, %d rekeyed, %d gone from Keycloak, %d disabled there, %d others",
		by["id"], by["email"], n[match.Pending], n[match.Ambiguous], n[match.Rekeyed], n[match.GoneNow]+n[match.GoneKept], len(p.view.Plan.CannotSignIn), others))
	if list := ids[match.Ambiguous]; len(list) > 0 {
		findings = append(findings, preflight.Warn(fmt.Sprintf("%s ambiguous: several accounts could be this person, or several users could be one account. groupsync grants nothing to them. Their ids in ClearML: %s", counted(len(list)), preflight.Some(list)),
			"look at each with groupsync explain ID, and correct the email in ClearML or in Keycloak, so that one account is left"))
	}
	if list := ids[match.Rekeyed]; len(list) > 0 {
		findings = append(findings, preflight.Warn(fmt.Sprintf("%s rekeyed: the account whose id ClearML keeps is gone, and another account has the email. groupsync grants nothing to them. Their ids in ClearML: %s", counted(len(list)), preflight.Some(list)),
			"look at each with groupsync explain ID. If both accounts are of one person, let the person sign in to ClearML, and run the check again. If the email now belongs to another person, correct the old user in ClearML before that person signs in"))
	}
	if by["email"] > 0 && p.view.Input.Source.Catalog().HidesEmails() {
		findings = append(findings, preflight.Warn(fmt.Sprintf("%s matched by the email only, the realm allows duplicate emails, and it has a federation, which can hide a second account. groupsync adds none of these people to a group. They get their groups at their next login to ClearML", report.Counted(by["email"], "person is", "people are")),
			"switch duplicate emails off in the realm, or look whether ClearML can keep the data of the sign-in provider (include_providers_info)"))
	}
	return append(findings, p.unmatched(by)...)
}

// counted returns the beginning of a sentence, such as "3 ClearML users are".
func counted(n int) string { return report.Counted(n, "ClearML user is", "ClearML users are") }

// unmatched returns a warning if nobody is matched at all, or if nobody is matched by the account
// id. by has the number of matched people, by "id" and "email".
func (p *pairing) unmatched(by map[string]int) []preflight.Finding {
	switch unused := match.UnusedProvider(p.view.Input.Target, p.view.Rules); {
	case len(unused) > 0:
		return []preflight.Finding{preflight.Warn("nobody is matched: "+report.Name(unused[0].Name)+" is "+unused[0].Why, "set clearml.provider to the name that ClearML has for the sign-in through Keycloak")}
	case by["id"]+by["email"] == 0:
		return []preflight.Finding{preflight.Warn("nobody of the groups is matched, so groupsync changes nothing", "let somebody who is in one of the groups sign in to ClearML, and compare the emails of both sides")}
	case by["id"] == 0:
		return []preflight.Finding{preflight.Warn("nobody is matched by the id. Everybody is matched by the email alone, so groupsync treats a person whose email changes in Keycloak as gone",
			"look whether ClearML can keep the data of the sign-in provider (include_providers_info). Until then change an email on both sides")}
	}
	return nil
}

// admins lists the people who would become administrators or stop being administrators. It
// names all of them, however many there are.
func (p *pairing) admins(context.Context) []preflight.Finding {
	var findings []preflight.Finding
	managed := false
	for _, g := range p.view.Plan.Groups {
		if !g.Feed.Admins {
			continue
		}
		managed = true
		name := report.Name(g.Feed.Group.Name)
		for _, c := range []struct {
			changes      []plan.Change
			what, advice string
		}{
			{g.Add, "the first apply would make administrators", "look whether each of them should be one. If not, take them out of the Keycloak group or role that the finding names"},
			{g.Remove, "the first apply would remove administrators", "if somebody should stay, put this person into the Keycloak group or role that makes administrators, or into users.protect"},
		} {
			if len(c.changes) > 0 {
				findings = append(findings, preflight.Warn(fmt.Sprintf("%s (%s): %s", c.what, name, changesOf(c.changes)), c.advice))
			}
		}
		if len(g.OtherRole) > 0 {
			findings = append(findings, preflight.Warn(fmt.Sprintf("Keycloak makes these people administrators, but their role in ClearML is neither user nor admin, so groupsync does not change it: %s", others(g.OtherRole)),
				"set the role to user in ClearML if they should become administrators"))
		}
		if floor := p.view.Input.Limits.Floor; len(g.Floor) < floor && !g.Frozen() {
			findings = append(findings, preflight.Warn(fmt.Sprintf("after the first apply, %s who can sign in would be left in %s, and admins.floor is %d. groupsync removes no administrator while fewer than admins.floor would be left", report.Counted(len(g.Floor), "administrator", "administrators"), name, floor),
				"add a person to a group of admins.groups, or give a person admins.role, or lower admins.floor"))
		}
	}
	switch {
	case !managed && len(p.view.Rules.AdminGroups) == 0 && p.view.Rules.AdminRole == "":
		return preflight.Fine("the configuration names no administrators, so groupsync does not touch them")
	case !managed:
		return []preflight.Finding{preflight.Warn("the configuration names administrators, and ClearML has no group that they could be written to", "see the check clearml-builtin")}
	case findings == nil:
		return preflight.Fine("the first apply would change no administrator")
	}
	return findings
}

// changesOf names the people of changes. For each person it gives the reason, and the guard
// that withholds the change.
func changesOf(changes []plan.Change) string {
	each := make([]string, len(changes))
	for i, c := range changes {
		why := string(c.Why)
		if c.Grant() {
			why = "by " + report.Name(c.From)
		}
		if c.Guard != "" {
			why += ", withheld by the guard " + string(c.Guard)
		}
		each[i] = fmt.Sprintf("%s (%s)", named(c.User), why)
	}
	return strings.Join(each, "; ")
}

func others(users []target.User) string {
	each := make([]string, len(users))
	for i, u := range users {
		each[i] = fmt.Sprintf("%s (%s)", named(u), report.Name(u.Role))
	}
	return strings.Join(each, "; ")
}
