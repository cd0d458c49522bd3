package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"groupsync/internal/report"
)

// began is the start of the newest pass of the samples.
var began = time.Now().UTC().Add(-4 * time.Minute).Truncate(time.Second)

// sample returns the report of a pass in mode apply in which guards withheld changes. All
// names are invented.
func sample() report.Report {
	leaver := func(name, id string) report.Change {
		return report.Change{ID: id, Name: name, Email: id + "@example.com", Why: "not_member", Match: "id", Outcome: report.Withheld, Guard: report.Removals,
			Evidence: "read twice: not in the one Keycloak group"}
	}
	r := report.Report{
		Pass: "20261127T120000Z-0a1b2c3d", Sync: "production", Mode: "apply", Result: report.Guarded, Digest: "a7576ab8daf0ed35",
		Started: began, Duration: 3.482, Source: report.Counts{Groups: 41, Users: 812, Memberships: 1904}, Target: report.Counts{Groups: 24, Users: 790, Memberships: 1893},
		Groups: []report.Group{
			{Name: "Admins", ID: "g-admins", From: []string{"/clearml-admins", "role clearml-admin"},
				Add: []report.Change{{ID: "u9", Name: "Mallory Quick", Email: "mallory@example.com", Why: "member of /clearml-admins", Match: "email", Outcome: report.Withheld, Guard: report.Grants}}, Withheld: []report.Guard{report.Grants}},
			{Name: "data-science", ID: "g-ds", From: []string{"/data-science", "/data-science/interns"}, Withheld: []report.Guard{report.Removals}},
			{Name: "platform", ID: "g-platform", From: []string{"/platform"},
				Add: []report.Change{{ID: "u3", Name: "Leslie Lamport", Email: "leslie@example.com", Why: "member of /platform", Match: "id", Outcome: report.Failed}}},
			{Name: "vision", ID: "g-vision", From: []string{"/research/vision"},
				Remove: []report.Change{{ID: "u4", Name: "Bob Roe", Email: "bob@example.com", Why: "not_member", Match: "id", Outcome: report.Withheld, Guard: report.Grace}}, Withheld: []report.Guard{report.Grace}},
		},
		Skipped: []report.Skip{{Name: "finance", Side: "keycloak", Why: "no_target"}, {Name: "guests", Side: "clearml", Why: "no_source"}, {Name: "Users", Side: "clearml", Why: "builtin"}},
		People: []report.Person{
			{ID: "k1", Name: "eve", Side: "keycloak", State: "pending"}, {ID: "k2", Name: "frank", Side: "keycloak", State: "pending"}, {ID: "k3", Name: "grace", Side: "keycloak", State: "pending"},
			{ID: "u5", Name: "Ken Thompson", Side: "clearml", State: "ambiguous"}, {ID: "k7", Name: "ken.old", Side: "keycloak", State: "ambiguous"},
			{ID: "u6", Name: "Barbara Liskov", Side: "clearml", State: "rekeyed"}, {ID: "u7", Name: "Zoe", Side: "clearml", State: "local"},
		},
		Guards: []report.Trip{
			{Guard: report.Removals, Group: "data-science", Detail: "14 of its 38 members would be removed (37 %), guards.max_removal_ratio is 0.25 and guards.free_removals 3: the group's removals are withheld; if they are correct, approve them", Override: "--approve a7576ab8daf0ed35"},
			{Guard: report.Grants, Group: "Admins", Detail: "1 new administrator is wanted and 3 were made in the last 24h, guards.max_admin_grants is 3: all new administrators are withheld; if they are correct, approve them", Override: "--approve a7576ab8daf0ed35"},
			{Guard: report.Grace, Group: "vision", Detail: "1 removal rests on a federation and waits until 13:05 UTC", Override: "--approve a7576ab8daf0ed35"},
		},
		Applied: report.Tally{Added: 2, Removed: 1, Failed: 1},
		Errors:  []report.Failure{{System: "clearml", Reason: "rejected", Text: "writing the user group platform: ClearML refused the list (400: invalid user): look at the group in ClearML"}},
		Users:   map[string]int{"matched": 770, "pending": 3, "ambiguous": 2, "rekeyed": 1, "local": 12, "other_provider": 4},
		Probes:  []report.Probe{{Federation: "ldap", Up: true}}, PendingOldest: 86400,
		Reverted: map[string]int{"add": 1},
	}
	for i := range 14 {
		r.Groups[1].Remove = append(r.Groups[1].Remove, leaver(fmt.Sprintf("Leaver Number %d", i+1), fmt.Sprintf("leaver%d", i+1)))
	}
	for i := range 20 {
		r.Groups = append(r.Groups, report.Group{Name: fmt.Sprintf("team-%02d", i), ID: fmt.Sprintf("g-%02d", i), From: []string{fmt.Sprintf("/teams/team-%02d", i)}})
	}
	return r
}

// calm returns a report of a pass that found nothing to do.
func calm() report.Report {
	r := sample()
	r.Result, r.Digest, r.Guards, r.Errors, r.Applied = report.InSync, "", nil, nil, report.Tally{}
	r.People, r.Users = nil, map[string]int{"matched": 776, "local": 12}
	for i := range r.Groups {
		r.Groups[i].Add, r.Groups[i].Remove, r.Groups[i].Withheld = nil, nil, nil
	}
	return r
}

// busy returns a status with many passes. The report is the one of the last pass.
func busy(last report.Report) *Status {
	s := NewStatus("production", nil)
	for i := range 47 {
		r := calm()
		switch {
		case i > 43:
			r.Result = report.Guarded
		case i == 29 || i == 30:
			r.Result, r.Errors = report.Error, sample().Errors
		case i%9 == 4:
			r.Result, r.Applied = report.Applied, report.Tally{Added: i % 3, Removed: 1}
		case i%17 == 6:
			r.Result = report.Drift
		}
		r.Pass, r.Started = fmt.Sprintf("p%d", i), began.Add(time.Duration(i-47)*15*time.Minute)
		s.Record(r)
	}
	s.Record(last)
	s.NextPass(began.Add(15 * time.Minute))
	return s
}

// knowing is an Explainer that explains ada, or a group alone, and returns errors for other
// names.
type knowing struct{}

func (knowing) Explain(_ context.Context, user, group string) (Explanation, error) {
	switch user {
	case "ada", "":
		return Explanation{
			Value: map[string]any{"user": user, "group": group, "accounts": []string{"ada (id 4711)"}},
			Text: "ada  Keycloak account 4711, enabled, of the federation ldap\n  matched by id: ClearML keeps sub 4711\n" +
				group + "  wanted: no. Not a member of /data-science (count 0, between two probes of ldap)\n  has it: yes. The removal waits for guards.federation_grace until 13:05 UTC\n",
		}, nil
	case "twins":
		return Explanation{}, &Refusal{http.StatusConflict, errors.New("\"twins\" names several people: write one of these ids\n  4711  ada@example.com\n  4712  ada@example.org")}
	case "broken":
		return Explanation{}, errors.New("asking Keycloak: connection refused: see that it runs")
	}
	return Explanation{}, &Refusal{http.StatusNotFound, fmt.Errorf("no person has the id, username or email %q: correct it", user)}
}
