package keycloaktest

import (
	"net/http"
	"testing"
)

func TestSlashesInNamesOfGroupsAreEscaped(t *testing.T) {
	paths := func(r *Realm) (paths []string) {
		for _, g := range get[[]struct{ ID, Path string }](t, r, "/groups?briefRepresentation=true") {
			paths = append(paths, g.Path)
			for _, below := range get[[]struct{ Path string }](t, r, "/groups/"+g.ID+"/children?briefRepresentation=true") {
				paths = append(paths, below.Path)
			}
		}
		return paths
	}
	for _, row := range []struct {
		name   string
		server func(testing.TB) *Server
		want   []string
	}{
		{"by default", Shared, []string{"/a", "/a/b", "/a/b"}},
		{"with the option", func(tb testing.TB) *Server { return Start(tb, Options{EscapeSlashes: true}) }, []string{"/a", "/a/b", "/a~/b"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := row.server(t).NewRealm(t, Spec{Groups: []string{"/a/b"}, Users: []User{{Username: "ann"}}})
			r.AddClearML(t, true)
			slashed := r.Do(t, http.MethodPost, "/groups", object{"name": "a/b"}, nil)
			equal(t, "paths", paths(r), row.want)
			r.Do(t, http.MethodPut, "/users/"+r.UserID(t, "ann")+"/groups/"+slashed, nil, nil)
			equal(t, "claim", r.Claim(t, "ann"), row.want[2:])
		})
	}
}

func TestACustomStorageFailsOnForeignIDs(t *testing.T) {
	s := Shared(t)
	for _, row := range []struct {
		foreign        ForeignID
		random, digits int
	}{
		{ForeignParsed, http.StatusInternalServerError, http.StatusNotFound},
		{ForeignThrown, http.StatusInternalServerError, http.StatusInternalServerError},
	} {
		t.Run(string(row.foreign), func(t *testing.T) {
			r := s.NewRealm(t, Spec{Groups: []string{"/staff"}, Users: []User{{Username: "local", Groups: []string{"/staff"}}}})
			r.AddClearML(t, false)
			f := r.AddStorage(t, "people", "/staff", row.foreign)
			status := func(id string) int { status, _ := r.Get(t, "/users/f:"+f.ID+":"+id); return status }
			equal(t, "probe by a random name", status("nobody-0a5f1d"), row.random)
			equal(t, "probe by a random number", status("839201745"), row.digits)
			equal(t, "look-up of one of its people", status("1"), http.StatusOK)
			names, _ := members(t, r, "/staff")
			equal(t, "members", names, append([]string{"local"}, StoragePeople...))
			equal(t, "views of one of its people", view(t, r, "f:"+f.ID+":1", "/staff"), views{1, 1, 1, 1})
			equal(t, "look-up by email", usernames(get[[]account](t, r, "/users?exact=true&email=stored-bob@example.org")), []string{"stored-bob"})
			f.SetEnabled(t, false)
			equal(t, "probe of one that is switched off", status("nobody-0a5f1d"), http.StatusNotFound)
		})
	}
}

// TestOlderReleasesHideTheSamePeople covers the difference of older releases: the member
// list of a group that LDAP has twice.
func TestOlderReleasesHideTheSamePeople(t *testing.T) {
	for _, version := range Older() {
		t.Run(version, func(t *testing.T) {
			s := Start(t, Options{Version: version})
			l := StartLDAP(t, people(3), map[string][]string{"eu/staff": {"feda"}, "us/staff": {"fedb"}})
			r := s.NewRealm(t, Spec{Groups: []string{"/everybody"}, Users: []User{{Username: "local", Groups: []string{"/everybody"}}}})
			r.AddClearML(t, false)
			f := r.Federate(t, l, FederationOptions{Subtree: true})
			f.AddHardcodedGroup(t, "/everybody")
			id := r.UserID(t, "feda")
			r.ClearUserCache(t)
			equal(t, "probe", probe(t, r, f), http.StatusNotFound)
			status, _ := r.Get(t, "/groups/"+r.GroupID(t, "/staff")+"/members?max=-1")
			equal(t, "members of the group that LDAP has twice", status, http.StatusBadRequest)
			equal(t, "count", count(t, r, id, "staff"), 1)
			equal(t, "own", own(t, r, id, "/staff"), 1)
			equal(t, "claim", r.ClaimOf(t, id), []string{"everybody", "staff"})
			equal(t, "views of the hardcoded group", view(t, r, id, "/everybody"), views{Claim: 1, Own: 1, Count: 1})
			l.Leave(t, "feda", "eu/staff")
			equal(t, "count goes past the cache", count(t, r, id, "staff"), 0)
			equal(t, "own is old", own(t, r, id, "/staff"), 1)
		})
	}
}
