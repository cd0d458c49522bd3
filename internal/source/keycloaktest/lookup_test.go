package keycloaktest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// aftermath is the answer to a request about an imported person, and what has become of the
// person's row in the database.
type aftermath struct {
	Status int
	Found  bool   // the answer names the person, or counts more than 0
	Row    string // "same": not changed; "gone": deleted; "new id": another row; "none": never a row
}

// With nearly every call about a person, Keycloak writes to its database. It deletes the row of a
// person whom LDAP no longer has, even if the answer still comes from the user cache. It imports a
// person who is in LDAP only, or who was re-created there. These calls delete no row: counts of
// users, searches with enabled=false, the members of an LDAP group, and the groups of a person in
// the user cache.
func TestWhatAskingAboutAFederatedPersonWrites(t *testing.T) {
	const (
		ok, absent, broken    = http.StatusOK, http.StatusNotFound, http.StatusInternalServerError
		byEmail, byUsername   = "/users?exact=true&email={name}@example.org", "/users?exact=true&username={name}"
		same, gone, new, none = "same", "gone", "new id", "none"
	)
	type row struct {
		call                                              string
		deletedCold, deletedWarm, recreatedCold, ldapOnly aftermath
	}
	rows := []row{
		{"/users/{id}", aftermath{absent, false, gone}, aftermath{ok, true, gone}, aftermath{absent, false, gone}, aftermath{}},
		{byEmail, aftermath{ok, false, gone}, aftermath{ok, true, gone}, aftermath{ok, true, new}, aftermath{ok, true, new}},
		{byEmail + "&max=2", aftermath{ok, false, gone}, aftermath{ok, true, gone}, aftermath{ok, true, new}, aftermath{ok, true, new}},
		{byEmail + "&enabled=true", aftermath{ok, false, gone}, aftermath{ok, true, gone}, aftermath{ok, true, new}, aftermath{ok, true, new}},
		{byEmail + "&enabled=false", aftermath{ok, false, same}, aftermath{ok, false, same}, aftermath{ok, false, same}, aftermath{ok, false, none}},
		{byUsername, aftermath{ok, false, gone}, aftermath{ok, true, gone}, aftermath{ok, true, new}, aftermath{ok, true, new}},
		{`/users?search="{name}"`, aftermath{ok, false, gone}, aftermath{ok, true, gone}, aftermath{ok, true, new}, aftermath{ok, true, new}},
		{"/users/count?email={name}@example.org", aftermath{ok, true, same}, aftermath{ok, true, same}, aftermath{ok, true, same}, aftermath{ok, false, none}},
		{"/users/count?username={name}", aftermath{ok, true, same}, aftermath{ok, true, same}, aftermath{ok, true, same}, aftermath{ok, false, none}},
		{"/users/{id}/groups/count?search={name}", aftermath{absent, false, gone}, aftermath{broken, false, gone}, aftermath{absent, false, gone}, aftermath{}},
		{"/users/{id}/groups", aftermath{absent, false, gone}, aftermath{ok, true, same}, aftermath{absent, false, gone}, aftermath{}},
		{"/users/{id}/role-mappings/realm/composite", aftermath{absent, false, gone}, aftermath{ok, false, gone}, aftermath{absent, false, gone}, aftermath{}},
		{"/groups/{ldap}/members", aftermath{ok, false, same}, aftermath{ok, false, same}, aftermath{ok, false, same}, aftermath{ok, true, new}},
		{"/groups/{local}/members", aftermath{ok, false, gone}, aftermath{ok, false, gone}, aftermath{ok, false, gone}, aftermath{ok, false, none}},
	}
	var names, local []string
	groups := map[string][]string{}
	for i := range rows {
		names = append(names, fmt.Sprintf("person-%02d", i))
		groups["of-"+names[i]] = names[i : i+1]
		local = append(local, "/local-"+names[i])
	}
	for _, situation := range []struct {
		name           string
		imported, warm bool
		change         func(l *LDAP, name string)
		want           func(row) aftermath
	}{
		{"deleted, cache cold", true, false, func(l *LDAP, name string) { l.DeleteUser(t, name) }, func(r row) aftermath { return r.deletedCold }},
		{"deleted, cache warm", true, true, func(l *LDAP, name string) { l.DeleteUser(t, name) }, func(r row) aftermath { return r.deletedWarm }},
		{"re-created, cache cold", true, false, func(l *LDAP, name string) { l.RecreateUser(t, name) }, func(r row) aftermath { return r.recreatedCold }},
		{"in LDAP only", false, false, func(*LDAP, string) {}, func(r row) aftermath { return r.ldapOnly }},
	} {
		t.Run(situation.name, func(t *testing.T) {
			l := StartLDAP(t, names, groups)
			r := Shared(t).NewRealm(t, Spec{Groups: local})
			f := r.Federate(t, l, FederationOptions{NoSync: true})
			f.SyncGroups(t)
			ids := map[string]string{}
			if situation.imported {
				f.SyncUsers(t)
				for _, u := range r.State(t).Users {
					ids[u.Username] = u.ID
				}
				for i, name := range names {
					r.Do(t, http.MethodPut, "/users/"+ids[name]+"/groups/"+r.GroupID(t, local[i]), nil, nil)
				}
			}
			r.ClearUserCache(t)
			for _, name := range names {
				if situation.warm {
					own(t, r, ids[name], "")
				}
				situation.change(l, name)
			}
			got := make([]aftermath, len(rows))
			for i, row := range rows {
				if situation.want(row) == (aftermath{}) {
					continue
				}
				path := strings.NewReplacer(
					"{id}", ids[names[i]], "{name}", names[i], `"`, "%22",
					"{ldap}", r.GroupID(t, "/of-"+names[i]), "{local}", r.GroupID(t, local[i]),
				).Replace(row.call)
				status, body := r.Get(t, path)
				got[i].Status = status
				got[i].Found = status == ok && string(body) != "[]" && string(body) != "0" && string(body) != `{"count":0}`
			}
			after := map[string]string{}
			for _, u := range r.State(t).Users {
				after[u.Username] = u.ID
			}
			for i, row := range rows {
				want := situation.want(row)
				if want == (aftermath{}) {
					continue
				}
				if situation.warm && strings.HasPrefix(row.call, "/users?") && r.Server.Before(2601) {
					want.Found = false // older releases ask LDAP before they answer
				}
				switch before, now := ids[names[i]], after[names[i]]; {
				case before == "" && now == "":
					got[i].Row = none
				case now == "":
					got[i].Row = gone
				case before == now:
					got[i].Row = same
				default:
					got[i].Row = new
				}
				equal(t, row.call, got[i], want)
			}
		})
	}
}
