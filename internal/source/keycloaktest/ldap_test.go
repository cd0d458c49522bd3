package keycloaktest

import (
	"net/http"
	"testing"
)

func people(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = "fed" + string(rune('a'+i))
	}
	return names
}

// members returns the usernames and whether all are enabled.
func members(tb testing.TB, r *Realm, group string) (names []string, enabled bool) {
	tb.Helper()
	all := get[[]account](tb, r, "/groups/"+r.GroupID(tb, group)+"/members")
	enabled = true
	for _, a := range all {
		enabled = enabled && a.Enabled
	}
	return usernames(all), enabled
}

func probe(tb testing.TB, r *Realm, f *Federation) int {
	tb.Helper()
	status, _ := r.Get(tb, "/users/f:"+f.ID+":nobody-0a5f1d")
	return status
}

// The rows of reference/keycloak-traps.md on which the guards rest.
func TestWhileLDAPIsAwayMembersAreMissingWith200(t *testing.T) {
	for _, row := range []struct {
		name    string
		options FederationOptions
		away    []string // members of the LDAP group while LDAP is away
		enabled bool     // whether all of those are
	}{
		{"mapper READ_ONLY: only the local member is left", FederationOptions{Mode: ReadOnly}, []string{"local"}, true},
		{"mapper LDAP_ONLY: only the local member is left", FederationOptions{Mode: LDAPOnly}, []string{}, true},
		{"mapper IMPORT: all are there, and disabled", FederationOptions{Mode: Import}, []string{"feda", "fedb", "local"}, false},
		{"no import: only the local member is left", FederationOptions{NoImport: true}, []string{"local"}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := StartLDAP(t, people(3), map[string][]string{"staff": {"feda", "fedb"}})
			r := Shared(t).NewRealm(t, Spec{Users: []User{{Username: "local"}}})
			f := r.Federate(t, l, row.options)
			whole := []string{"feda", "fedb"}
			if row.options.Mode != LDAPOnly { // there nobody local can join
				r.Join(t, "local", "/staff")
				whole = append(whole, "local")
			}
			check := func(when string, wantProbe int, want []string, wantEnabled bool) {
				t.Helper()
				equal(t, "probe "+when, probe(t, r, f), wantProbe)
				names, enabled := members(t, r, "/staff")
				equal(t, "members "+when, names, want)
				equal(t, "all enabled "+when, enabled, wantEnabled)
			}
			check("while LDAP is up", http.StatusNotFound, whole, true)
			l.Stop(t)
			check("while LDAP refuses", http.StatusInternalServerError, row.away, row.enabled)
			l.Start(t)
			check("when LDAP is back", http.StatusNotFound, whole, true)
		})
	}
}

func TestAHangingLDAPLooksAsAway(t *testing.T) {
	l := StartLDAP(t, people(2), map[string][]string{"staff": {"feda"}})
	r := Shared(t).NewRealm(t, Spec{})
	f := r.Federate(t, l, FederationOptions{})
	l.Pause(t)
	equal(t, "probe", probe(t, r, f), http.StatusInternalServerError)
	names, _ := members(t, r, "/staff")
	equal(t, "members", names, []string{})
	l.Resume(t)
	equal(t, "probe afterwards", probe(t, r, f), http.StatusNotFound)
}

func TestWhatLDAPHoldsBackTheProbeDoesNotSee(t *testing.T) {
	for _, row := range []struct {
		name    string
		answers Answers
		probe   int
		want    int // members of the group of five
	}{
		{"users unreadable", Answers{NoUsers: true}, http.StatusNotFound, 0},
		{"groups unreadable", Answers{NoGroups: true}, http.StatusNotFound, 0},
		{"two entries a search at most", Answers{SizeLimit: 2}, http.StatusNotFound, 2},
		{"password refused", Answers{WrongBind: true}, http.StatusInternalServerError, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := StartLDAP(t, people(5), map[string][]string{"staff": people(5)})
			r := Shared(t).NewRealm(t, Spec{})
			f := r.Federate(t, l, FederationOptions{})
			names, _ := members(t, r, "/staff")
			equal(t, "members before", names, people(5))
			l.Answer(t, row.answers)
			equal(t, "probe", probe(t, r, f), row.probe)
			names, _ = members(t, r, "/staff")
			equal(t, "members", len(names), row.want)
		})
	}
}

func TestAFederationChangesSwitchesOffAndIsDeleted(t *testing.T) {
	l := StartLDAP(t, people(3), map[string][]string{"staff": {"feda", "fedb"}})
	r := Shared(t).NewRealm(t, Spec{Users: []User{{Username: "local"}}})
	f := r.Federate(t, l, FederationOptions{})
	l.Join(t, "fedc", "staff")
	l.Leave(t, "feda", "staff")
	l.DeleteUser(t, "fedb")
	names, _ := members(t, r, "/staff")
	equal(t, "members after the changes", names, []string{"fedc"})
	f.SetEnabled(t, false)
	equal(t, "probe of one that is switched off", probe(t, r, f), http.StatusNotFound)
	names, _ = members(t, r, "/staff")
	equal(t, "members of one that is switched off", names, []string{})
	f.Delete(t)
	equal(t, "users of one that is deleted", usernames(get[[]account](t, r, "/users")), []string{"local"})
}
