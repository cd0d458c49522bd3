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

// members returns the usernames of the group's members, and whether all of them are enabled.
func members(tb testing.TB, r *Realm, group string) (names []string, enabled bool) {
	tb.Helper()
	all := get[[]account](tb, r, "/groups/"+r.GroupID(tb, group)+"/members")
	enabled = true
	for _, a := range all {
		enabled = enabled && a.Enabled
	}
	return usernames(all), enabled
}

// membersWhileAway checks members while LDAP is away. Keycloak 26.0 and older then refuse
// the whole list, with its local members.
func membersWhileAway(tb testing.TB, r *Realm, group string, want []string, wantEnabled bool) {
	tb.Helper()
	if r.Server.Before(2601) {
		status, _ := r.Get(tb, "/groups/"+r.GroupID(tb, group)+"/members")
		equal(tb, "members while LDAP is away", status, http.StatusBadRequest)
		return
	}
	names, enabled := members(tb, r, group)
	equal(tb, "members while LDAP is away", names, want)
	equal(tb, "all enabled while LDAP is away", enabled, wantEnabled)
}

func probe(tb testing.TB, r *Realm, f *Federation) int {
	tb.Helper()
	status, _ := r.Get(tb, "/users/f:"+f.ID+":nobody-0a5f1d")
	return status
}

// The rows are those of reference/keycloak-traps.md on which the guards rely.
func TestWhileLDAPIsAwayMembersAreMissingWith200(t *testing.T) {
	for _, row := range []struct {
		name    string
		options FederationOptions
		away    []string // members of the LDAP group while LDAP is away
		enabled bool     // whether all of those members are enabled
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
			if row.options.Mode != LDAPOnly { // with LDAP_ONLY, no local account can join the group
				r.Join(t, "local", "/staff")
				whole = append(whole, "local")
			}
			up := func(when string) {
				t.Helper()
				equal(t, "probe "+when, probe(t, r, f), http.StatusNotFound)
				names, enabled := members(t, r, "/staff")
				equal(t, "members "+when, names, whole)
				equal(t, "all enabled "+when, enabled, true)
			}
			up("while LDAP is up")
			l.Stop(t)
			equal(t, "probe while LDAP refuses", probe(t, r, f), http.StatusInternalServerError)
			membersWhileAway(t, r, "/staff", row.away, row.enabled)
			l.Start(t)
			up("when LDAP is back")
		})
	}
}

func TestAHangingLDAPLooksAsAway(t *testing.T) {
	l := StartLDAP(t, people(2), map[string][]string{"staff": {"feda"}})
	r := Shared(t).NewRealm(t, Spec{})
	f := r.Federate(t, l, FederationOptions{})
	l.Pause(t)
	equal(t, "probe", probe(t, r, f), http.StatusInternalServerError)
	membersWhileAway(t, r, "/staff", []string{}, true)
	l.Resume(t)
	equal(t, "probe afterwards", probe(t, r, f), http.StatusNotFound)
}

func TestWhatLDAPHoldsBackTheProbeDoesNotSee(t *testing.T) {
	for _, row := range []struct {
		name    string
		answers Answers
		probe   int
		want    []string // members of the group of five
	}{
		{"users unreadable", Answers{NoUsers: true}, http.StatusNotFound, []string{}},
		{"groups unreadable", Answers{NoGroups: true}, http.StatusNotFound, []string{}},
		{"two entries a search at most", Answers{SizeLimit: 2}, http.StatusNotFound, people(2)},
		{"password refused", Answers{WrongBind: true}, http.StatusInternalServerError, []string{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := StartLDAP(t, people(5), map[string][]string{"staff": people(5)})
			r := Shared(t).NewRealm(t, Spec{})
			f := r.Federate(t, l, FederationOptions{})
			names, _ := members(t, r, "/staff")
			equal(t, "members before", names, people(5))
			l.Answer(t, row.answers)
			equal(t, "probe", probe(t, r, f), row.probe)
			if row.probe != http.StatusNotFound {
				membersWhileAway(t, r, "/staff", row.want, true)
				return
			}
			names, _ = members(t, r, "/staff")
			equal(t, "members", names, row.want)
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
