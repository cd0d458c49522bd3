package keycloaktest

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"
)

// The size of a Crowd.
const (
	CrowdClearML = 300 // people of LDAP who have a ClearML user and are in groups
	CrowdGroups  = 20  // LDAP groups, each with thirty people who have a ClearML user and twenty who have none
	CrowdLeavers = 200 // people of LDAP who have a ClearML user and are in no group
	CrowdHidden  = 500 // members of the group /hidden; LDAP has two groups of this name, so no member list shows these people
)

// Crowd is a realm whose people come from a large LDAP directory, for benchmarks. Keycloak has
// imported all people. The realm is always the same except for ids.
type Crowd struct {
	LDAP       *LDAP
	Proxy      *LDAPProxy // between Keycloak and LDAP
	Realm      *Realm
	Federation *Federation

	Groups  []string // paths of the CrowdGroups groups
	Hidden  string   // path of the group whose members no member list shows
	ClearML []string // usernames of the members with a ClearML user
	Leavers []string // usernames of the people with a ClearML user who are in no group
	Unseen  []string // usernames of the members of Hidden

	// IDs are the account ids of all people, by username.
	IDs map[string]string
}

// NewCrowd creates a realm on the server. people is the number of people, at least 2,000.
// 10,000 people take about a minute. After NewCrowd, each request to LDAP takes longer by
// latency, half of it in each direction.
func NewCrowd(tb testing.TB, s *Server, people int, latency time.Duration) *Crowd {
	tb.Helper()
	names := make([]string, people)
	for i := range names {
		names[i] = fmt.Sprintf("user-%05d", i)
	}
	c := &Crowd{Hidden: "/hidden", ClearML: names[:CrowdClearML], Leavers: names[800 : 800+CrowdLeavers], Unseen: names[1000 : 1000+CrowdHidden]}
	half := CrowdHidden / 2
	groups := map[string][]string{"eu/hidden": c.Unseen[:half], "us/hidden": c.Unseen[half:]}
	for g := range CrowdGroups {
		name := fmt.Sprintf("group-%02d", g)
		c.Groups = append(c.Groups, "/"+name)
		for i := range 30 {
			groups[name] = append(groups[name], c.ClearML[(g*15+i)%CrowdClearML])
		}
		groups[name] = append(groups[name], names[400+g*20:400+(g+1)*20]...)
	}
	c.LDAP = StartLDAP(tb, names, groups)
	c.Proxy = c.LDAP.Proxy(tb)
	c.Realm = s.NewRealm(tb, Spec{})
	c.Federation = c.Realm.Federate(tb, c.LDAP, FederationOptions{Through: c.Proxy, Subtree: true, Pagination: true, Timeout: 30 * time.Second})
	state := c.Realm.State(tb)
	c.IDs = make(map[string]string, len(state.Users))
	for _, u := range state.Users {
		c.IDs[u.Username] = u.ID
	}
	for _, name := range names {
		if c.IDs[name] == "" {
			tb.Fatalf("%s was not imported", name)
		}
	}
	c.Proxy.SetLatency(latency/2, latency-latency/2)
	return c
}

// NewLocalCrowd creates a realm with that many local people. 100,000 people take some minutes.
// The first CrowdClearML people are in CrowdGroups groups, thirty in each group. All other people
// are in no group.
func NewLocalCrowd(tb testing.TB, s *Server, people int) *Realm {
	tb.Helper()
	spec := Spec{}
	for g := range CrowdGroups {
		spec.Groups = append(spec.Groups, fmt.Sprintf("/group-%02d", g))
	}
	r := s.NewRealm(tb, spec)
	type account struct {
		Username string   `json:"username"`
		Email    string   `json:"email"`
		Enabled  bool     `json:"enabled"`
		Groups   []string `json:"groups,omitempty"`
	}
	users := make([]account, people)
	for i := range users {
		name := fmt.Sprintf("user-%06d", i)
		users[i] = account{Username: name, Email: name + "@example.org", Enabled: true}
		if i < CrowdClearML {
			users[i].Groups = []string{spec.Groups[i/15], spec.Groups[(i/15+1)%CrowdGroups]}
		}
	}
	for part := range slices.Chunk(users, 1_000) {
		r.Do(tb, http.MethodPost, "/partialImport", object{"ifResourceExists": "FAIL", "users": part}, nil)
	}
	return r
}
