package keycloaktest

import (
	"net/http"
	"testing"
)

func TestAMemberOfAnOrganizationThatIsOffLooksDisabled(t *testing.T) {
	r := Shared(t).NewRealm(t, Spec{Organizations: true, Groups: []string{"/staff"}, Users: []User{
		{Username: "local", Groups: []string{"/staff"}}, {Username: "off", Disabled: true, Groups: []string{"/staff"}},
	}})
	r.AddClearML(t, false)
	o := r.AddOrganization(t, "acme", "olga")
	var managed []struct{ MembershipType string }
	r.Do(t, http.MethodGet, "/organizations/"+o.ID+"/members", nil, &managed)
	equal(t, "members of the organization", managed, []struct{ MembershipType string }{{"MANAGED"}})
	r.Join(t, "olga", "/staff")
	check := func(when string, enabled bool, disabled ...string) {
		t.Helper()
		for _, a := range get[[]account](t, r, "/groups/"+r.GroupID(t, "/staff")+"/members") {
			if a.Username == "olga" {
				equal(t, "olga is enabled as a member "+when, a.Enabled, enabled)
			}
		}
		byID := get[account](t, r, "/users/"+r.UserID(t, "olga")).Enabled
		equal(t, "olga is enabled by id "+when, byID, enabled || r.Server.Before(2601))
		equal(t, "olga is enabled in the database "+when, r.State(t).User(t, "olga").Enabled, true)
		equal(t, "users?enabled=false "+when, usernames(get[[]account](t, r, "/users?enabled=false&max=100")), disabled)
	}
	check("at first", true, "off")
	o.SetEnabled(t, false)
	check("while the organization is off", false, "off")
	o.SetEnabled(t, true)
	check("when the organization is back", true, "off")
}
