package keycloak

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"groupsync/internal/fault"
	"groupsync/internal/source"
)

// crowd is a fake realm with people of the federation c1 and local people, all in no group,
// and the answers of their own sides.
type crowd struct {
	*fake
	s    *Source
	snap *source.Snapshot
	name string // name of the group g1
}

func newCrowd(t *testing.T, group string, change func(*Config)) *crowd {
	t.Helper()
	f, s := newFake(t, change)
	c := &crowd{fake: f, s: s, name: group}
	f.answers["/components"] = answer(ldapComponent)
	f.answers["probe"] = probeUp
	f.answers["/groups"] = answer(fmt.Sprintf(`[{"id":"g1","name":%q,"subGroupCount":0},{"id":"g2","name":"ops","subGroupCount":0}]`, group))
	f.answers["/groups/count"] = answer(`{"count":2}`)
	f.answers["/groups/g1/members"] = answer(`[]`)
	snap, err := read(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	c.snap = snap
	f.forget()
	return c
}

// people returns n accounts of the federation, or n local accounts if federation is empty.
func people(n int, federation string) []source.User {
	users := make([]source.User, n)
	for i := range users {
		users[i] = source.User{ID: fmt.Sprintf("%s-%d", federation+"u", i), Username: fmt.Sprintf("user%d", i), Enabled: true, Federation: federation}
	}
	return users
}

// ask sets the answer for the path below /users/{id} of every account.
func (c *crowd) ask(users []source.User, below string, h http.HandlerFunc) {
	for _, u := range users {
		c.answers["/users/"+u.ID+below] = h
	}
}

// exist sets the answer for users/{id} of every account.
func (c *crowd) exist(users []source.User) {
	for _, u := range users {
		link := ""
		if u.Federation != "" {
			link = `,"federationLink":"` + u.Federation + `"`
		}
		c.answers["/users/"+u.ID] = answer(fmt.Sprintf(`{"id":%q,"username":%q,"enabled":%t%s}`, u.ID, u.Username, u.Enabled, link))
	}
}

func (c *crowd) removals(t *testing.T, users []source.User) []source.Question {
	t.Helper()
	groups := groupsOf(t, c.snap.Catalog(), "/"+c.name)
	var questions []source.Question
	for i, u := range users {
		q := removal(groups, u)
		q.User = fmt.Sprint(i)
		questions = append(questions, q)
	}
	return questions
}

func (c *crowd) confirm(t *testing.T, questions []source.Question) source.Confirmation {
	t.Helper()
	got, err := c.s.Confirm(t.Context(), c.snap, questions, []source.Federation{{ID: "c1", Name: "ldap", Answered: true}})
	if err != nil {
		t.Fatalf("Confirm: %v", err)
	}
	return got
}

// counts returns the number of requests below /users by kind.
func (f *fake) counts() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := make(map[string]int)
	for i, r := range f.requests {
		path, below := strings.CutPrefix(r, "GET /users")
		switch {
		case !below:
			n["other"]++
		case strings.Contains(path, ":groupsync-probe-"):
			n["probe"]++
		case strings.HasSuffix(path, "/groups/count"):
			n["count"]++
		case strings.HasSuffix(path, "/groups"):
			n["own"]++
		case path == "" && f.queries[i].Get("enabled") == "false" && f.queries[i].Get("username") != "":
			n["database"]++
		case path == "":
			n["list"]++
		case strings.Contains(path, "/role-mappings/"):
			n["effective"]++
		default:
			n["account"]++
		}
	}
	return n
}

func wantCounts(t *testing.T, f *fake, want string) {
	t.Helper()
	n := f.counts()
	var got []string
	for _, kind := range []string{"list", "account", "database", "count", "own", "effective", "probe"} {
		if n[kind] > 0 {
			got = append(got, fmt.Sprintf("%d %s", n[kind], kind))
		}
	}
	if text := strings.Join(got, ", "); text != want {
		t.Errorf("requests about people: %q, want %q", text, want)
	}
}

func TestWhatTheSecondLookCosts(t *testing.T) {
	rows := []struct {
		name     string
		group    string
		people   []source.User
		off      bool   // the accounts are disabled
		count    string // number of groups that contain the name
		groups   string // the account's own list
		want     string // the expected requests
		evidence int
		doubt    string
	}{
		{"150 people of a federation: one count each, between 4 probes", "eng", people(150, "c1"), false, `{"count":0}`, "", "150 count, 4 probe", 150, ""},
		{"64 people are one batch", "eng", people(64, "c1"), false, `{"count":0}`, "", "64 count, 2 probe", 64, ""},
		{"65 people are two batches", "eng", people(65, "c1"), false, `{"count":0}`, "", "65 count, 3 probe", 65, ""},
		{"150 local people: whether each is still there, and no probe", "eng", people(150, ""), false, `{"count":0}`, "", "150 account", 150, ""},
		{"a count that says in, and no other group's name contains this one: no cached list", "eng", people(3, "c1"), false, `{"count":1}`, "", "3 count, 2 probe", 0,
			`Keycloak's list of the group does not show the account, but the account's own side holds the group "eng"`},
		{"a count of 0 is exact though another group's name contains this one", "o", people(3, "c1"), false, `{"count":0}`, "", "3 count, 2 probe", 3, ""},
		{"a tie: the cached list is asked for too, it lacks the group", "o", people(3, "c1"), false, `{"count":1}`, `[{"id":"g2","name":"ops"}]`, "3 count, 3 own, 3 probe", 3, ""},
		{"a tie: the cached list holds the group", "o", people(3, "c1"), false, `{"count":1}`, `[{"id":"g1","name":"o"}]`, "3 count, 3 own, 3 probe", 0,
			`Keycloak's list of the group does not show the account, but the account's own side holds the group "o"`},
		{"a tie: the cached list is old", "o", people(3, "c1"), false, `{"count":2}`, `[{"id":"g2","name":"ops"}]`, "3 count, 3 own, 3 probe", 0,
			`the names of other groups contain "o", and Keycloak's user cache is too old to tell which of them the account has; a periodic sync of changed users or clearing the user cache refreshes it`},
		{"100 disabled people of a federation: the database's word, 1 each", "eng", people(100, "c1"), true, "", "", "100 database, 3 probe", 100, ""},
		{"3 disabled local people: no probe", "eng", people(3, ""), true, "", "", "3 database", 3, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c := newCrowd(t, row.group, nil)
			c.ask(row.people, "/groups/count", answer(row.count))
			c.ask(row.people, "/groups", answer(row.groups))
			for i := range row.people {
				row.people[i].Enabled = !row.off
			}
			c.exist(row.people)
			c.answers["/users"] = func(w http.ResponseWriter, r *http.Request) {
				i := slices.IndexFunc(row.people, func(u source.User) bool { return u.Username == r.URL.Query().Get("username") })
				if r.URL.Query().Get("exact") != "true" || i < 0 {
					t.Errorf("a list of accounts was asked for: %s", r.URL.RawQuery)
				}
				answer(fmt.Sprintf(`[{"id":%q,"username":%q,"enabled":false}]`, row.people[i].ID, row.people[i].Username))(w, r)
			}
			got := c.confirm(t, c.removals(t, row.people))
			wantCounts(t, c.fake, row.want)
			evidence := 0
			for _, a := range got.Answers {
				if a.Evidence.Valid() {
					evidence++
				} else if a.Doubt != row.doubt {
					t.Fatalf("doubt %q, want %q", a.Doubt, row.doubt)
				}
			}
			if evidence != row.evidence {
				t.Errorf("%d removals have evidence, want %d", evidence, row.evidence)
			}
			if tokens := c.count("POST /realms/demo/protocol/openid-connect/token"); tokens != 2 || c.count("GET /components") != 1 {
				t.Errorf("%d tokens and %d looks at the federations, want 2 and 1", tokens, c.count("GET /components"))
			}
		})
	}
}

// A local account that was deleted during a pass is in no list of the second look, like an account
// that left its groups. But the person may have a new account, with another id and the same groups.
func TestALocalAccountThatIsDeletedMeanwhileIsNoLeaver(t *testing.T) {
	c := newCrowd(t, "eng", nil)
	users := people(5, "")
	users[3].ID = "half/an address"
	c.exist(users[:1])
	c.answers["/users/"+users[1].ID] = status(404, "application/json", `{"error":"User not found"}`)
	c.answers["/users/"+users[2].ID] = probeDown
	c.answers["/users/"+users[4].ID] = answer(`{"id":"u-4","username":"user4","enabled":true,"federationLink":"c1"}`)
	got := c.confirm(t, c.removals(t, users))
	wantEvidence(t, got, 0, source.NotMember, false, "read twice: not in the one Keycloak group")
	wantDoubt(t, got, 1, source.Unclear, "the second look finds no such account")
	wantDoubt(t, got, 2, source.Unclear, "the account was not read a second time: Keycloak answered with an error about the person; look into Keycloak's log")
	wantDoubt(t, got, 3, source.Unclear, "the account was not read a second time: groupsync cannot look up the account, because its id has an unexpected form")
	wantDoubt(t, got, 4, source.Unclear, "the first read shows the account as local, and the second look finds it in a federation, so the account's own side was not read")
	wantCounts(t, c.fake, "4 account")
}

func TestOnePersonInManyQuestionsIsAskedOnce(t *testing.T) {
	c := newCrowd(t, "eng", nil)
	one := people(1, "c1")
	c.ask(one, "/groups/count", answer(`{"count":0}`))
	questions := c.removals(t, one)
	both := groupsOf(t, c.snap.Catalog(), "/eng", "/ops")
	for range 10 {
		questions = append(questions, questions[0], removal(both, one[0]), grant(both, one[0]))
	}
	c.confirm(t, questions)
	wantCounts(t, c.fake, "2 count, 2 probe") // a count for each name
	if n := c.asked("/groups/"); n != 4 {
		t.Errorf("%d requests about groups, want the members and the name of each group once", n)
	}
}

// TestAGroupThatIsRenamedMeanwhile: the members are read by the group's id, and somebody may
// have joined only after the group got its new name.
func TestAGroupThatIsRenamedMeanwhile(t *testing.T) {
	for name, now := range map[string]string{
		"another name": `{"id":"g1","name":"ops-archive"}`,
		"another path": `{"id":"g1","name":"eng","path":"/old/eng"}`,
	} {
		t.Run(name, func(t *testing.T) {
			c := newCrowd(t, "eng", nil)
			one := people(1, "")
			c.exist(one)
			c.answers["/groups/g1"] = answer(now)
			groups := groupsOf(t, c.snap.Catalog(), "/eng")
			c.answers["/groups/g1/members"] = answer(`[{"id":"u-0","username":"user0","enabled":true}]`)
			wantDoubt(t, c.confirm(t, []source.Question{grant(groups, one[0])}), 0, source.Unclear, "the Keycloak group /eng was renamed or moved while the pass read")
			c.answers["/groups/g1/members"] = answer(`[]`)
			wantDoubt(t, c.confirm(t, c.removals(t, one)), 0, source.Unclear, "the Keycloak group /eng was renamed or moved while the pass read")
		})
	}
}

func TestTheSecondLookOfAFederationStandsBetweenProbes(t *testing.T) {
	const away = "the federation ldap is not up: the probe got 500 instead of a 404 from Keycloak itself"
	rows := []struct {
		name   string
		probes []http.HandlerFunc // answers to random names, in order; the last one repeats
		counts int                // number of requested counts
		doubts int                // number of denied removals
	}{
		{"all up", []http.HandlerFunc{probeUp}, 100, 0},
		{"the first is down: nobody is asked about", []http.HandlerFunc{probeDown, probeUp}, 0, 100},
		{"the second is down: the rest is not asked, and what was asked is not believed", []http.HandlerFunc{probeUp, probeDown, probeUp}, 64, 100},
		{"the last is down: nothing is believed", []http.HandlerFunc{probeUp, probeUp, probeDown}, 100, 100},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c := newCrowd(t, "eng", nil)
			users := people(100, "c1")
			c.ask(users, "/groups/count", answer(`{"count":0}`))
			var n atomic.Int32
			c.answers["probe"] = func(w http.ResponseWriter, r *http.Request) {
				if !strings.Contains(r.URL.Path, ":groupsync-probe-") {
					probeDown(w, r) // the second try, with a number
					return
				}
				row.probes[min(int(n.Add(1)), len(row.probes))-1](w, r)
			}
			local := source.Question{Group: "target", User: "local", Accounts: people(1, ""), Sources: groupsOf(t, c.snap.Catalog(), "/eng")}
			c.exist(local.Accounts)
			got := c.confirm(t, append(c.removals(t, users), local))
			if asked := c.counts()["count"]; asked != row.counts {
				t.Errorf("%d counts were asked for, want %d", asked, row.counts)
			}
			doubts := 0
			for i := range users {
				if a := got.Answers[i]; a.Denial == source.Away && a.Doubt == away && a.Federation == "c1" {
					doubts++
				} else if !a.Evidence.Valid() {
					t.Fatalf("removal %d is denied by %q: %s", i, a.Denial, a.Doubt)
				}
			}
			if doubts != row.doubts {
				t.Errorf("%d removals are denied, want %d", doubts, row.doubts)
			}
			wantEvidence(t, got, len(users), source.NotMember, false, "read twice: not in the one Keycloak group")
		})
	}
}

// Each of two federations has its own probes. If one is away, only its own people wait.
func TestEachFederationSpeaksForItsOwnPeople(t *testing.T) {
	c := newCrowd(t, "eng", nil)
	c.answers["/components"] = answer(`[{"id":"c1","name":"ldap","providerId":"ldap","config":{}},{"id":"c2","name":"other","providerId":"ldap","config":{}},{"id":"c3","name":"idle","providerId":"ldap","config":{}}]`)
	mine, other := people(2, "c1"), people(2, "c2")
	c.ask(mine, "/groups/count", answer(`{"count":0}`))
	c.ask(other, "/groups/count", answer(`{"count":0}`))
	c.answers["probe"] = func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/users/f:c2:") {
			probeDown(w, r)
			return
		}
		probeUp(w, r)
	}
	got := c.confirm(t, c.removals(t, append(mine, other...)))
	for i := range 2 {
		wantEvidence(t, got, i, source.NotMember, true, "read twice: not in the one Keycloak group, on the account's own side too")
		wantDoubt(t, got, 2+i, source.Away, "the federation other is not up: the probe got 500 instead of a 404 from Keycloak itself; this federation has never answered a probe")
	}
	if idle := c.asked("/users/f:c3:"); idle != 0 {
		t.Errorf("a federation that nobody is of was probed %d times", idle)
	}
}

func TestWhatOneFailedQuestionMeans(t *testing.T) {
	t.Parallel()
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	const unread = `the account's own side was not read for the group "eng": `
	rows := []struct {
		name   string
		answer http.HandlerFunc
		doubt  string
		err    string
	}{
		{"404: the account is gone since", status(404, "application/json", `{"error":"User not found"}`), unread + "Keycloak no longer finds the account", ""},
		{"500", probeDown, unread + "Keycloak fails to count the groups of the account; if the person was deleted or hidden in LDAP, Keycloak's user cache is old; a periodic sync of changed users or clearing the user cache refreshes it", ""},
		{"a time-out", hang, unread + "Keycloak did not answer about the person in time", ""},
		{"a count without a number", answer(`{}`), "", "counting the groups of an account: the answer holds no count; check the proxies between groupsync and Keycloak"},
		{"a page", status(200, "text/html", "<html>"), "", `counting the groups of an account: the answer has status 200 and content type "text/html" instead of JSON: "<html>"; check the proxies between groupsync and Keycloak`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c := newCrowd(t, "eng", func(c *Config) { c.Timeout = 500 * time.Millisecond })
			users := people(3, "c1")
			c.ask(users, "/groups/count", answer(`{"count":0}`))
			c.answers["/users/"+users[0].ID+"/groups/count"] = row.answer
			if row.err != "" {
				_, err := c.s.Confirm(t.Context(), c.snap, c.removals(t, users), nil)
				if err == nil || err.Error() != row.err {
					t.Errorf("the error is %v, want %s", err, row.err)
				}
				return
			}
			got := c.confirm(t, c.removals(t, users))
			wantDoubt(t, got, 0, source.Unclear, row.doubt)
			for i := 1; i < 3; i++ {
				wantEvidence(t, got, i, source.NotMember, true, "read twice: not in the one Keycloak group, on the account's own side too")
			}
		})
	}
	t.Run("the first slow question ends the others, and not those about other accounts before it", func(t *testing.T) {
		c := newCrowd(t, "eng", func(c *Config) { c.Timeout, c.Concurrency = 300*time.Millisecond, 1 })
		users := people(20, "c1")
		c.ask(users, "/groups/count", answer(`{"count":0}`))
		c.answers["/users/"+users[1].ID+"/groups/count"] = hang
		start := time.Now()
		got := c.confirm(t, c.removals(t, users))
		if took := time.Since(start); took > 3*time.Second || c.counts()["count"] != 2 {
			t.Errorf("%d counts in %v, want 2 in one time-out", c.counts()["count"], took)
		}
		wantEvidence(t, got, 0, source.NotMember, true, "read twice: not in the one Keycloak group, on the account's own side too")
		wantDoubt(t, got, 1, source.Unclear, unread+"Keycloak did not answer about the person in time")
		wantDoubt(t, got, 2, source.Unclear, unread+"Keycloak was too slow, so groupsync did not ask about the remaining people")
	})
	t.Run("members that cannot be listed leave the group's people as they are", func(t *testing.T) {
		c := newCrowd(t, "eng", nil)
		c.answers["/groups/g1/members"] = status(400, "application/json", `{"error":"unknown_error","error_description":"Cannot parse the JSON"}`)
		users := append(people(1, "c1"), people(1, "")...)
		c.ask(users, "/groups/count", answer(`{"count":0}`))
		c.exist(users)
		got := c.confirm(t, append(c.removals(t, users), removal(groupsOf(t, c.snap.Catalog(), "/ops"), users[1])))
		wantDoubt(t, got, 0, source.Unclear, "the members of the Keycloak group /eng were not read a second time")
		wantDoubt(t, got, 1, source.Unclear, "the members of the Keycloak group /eng were not read a second time")
		wantEvidence(t, got, 2, source.NotMember, false, "read twice: not in the one Keycloak group")
	})
	t.Run("members that are answered 500 end the look, and the federation that is away is named", func(t *testing.T) {
		c := newCrowd(t, "eng", nil)
		c.answers["/groups/g1/members"], c.answers["probe"] = probeDown, probeDown
		_, err := c.s.Confirm(t.Context(), c.snap, c.removals(t, people(1, "c1")), nil)
		wantError(t, err, fault.Server, "reading the members of the group /eng: Keycloak answered 500", "the federation ldap is not up (the probe got 500 instead of a 404 from Keycloak itself). Repair the federation first")
		if p := probesOf(err); len(p) != 1 || p[0].Up {
			t.Errorf("the error's probes are %+v, want ldap, not up", p)
		}
	})
}

func TestAGroupThatKeycloakCannotListIsUnreadable(t *testing.T) {
	f, s := newFake(t, nil)
	f.answers["/groups/g3/members"] = status(400, "application/json", `{"error":"unknown_error","error_description":"Cannot parse the JSON"}`)
	snap := mustRead(t, s)
	night, eng := groupsOf(t, snap.Catalog(), "/eng/night")[0], groupsOf(t, snap.Catalog(), "/eng")[0]
	const why = `reading the members of the group /eng/night: Keycloak answered 400`
	if got := snap.Unreadable(night.ID); got != why {
		t.Errorf("the cause is %q, want %q", got, why)
	}
	if members, read := snap.Members(night.ID); read || len(members) > 0 {
		t.Errorf("the group that cannot be listed has members: %q", members)
	}
	if members, read := snap.Members(eng.ID); !read || len(members) != 1 || snap.Unreadable(eng.ID) != "" {
		t.Errorf("the other group: %q, read %v, %q", members, read, snap.Unreadable(eng.ID))
	}
}

func TestAMemberListedTwiceInOneAnswerIsOneMember(t *testing.T) {
	f, s := newFake(t, nil)
	f.answers["/groups/g1/members"] = answer(`[{"id":"u1","username":"ann","enabled":true},{"id":"u2","username":"bob","enabled":true},{"id":"u1","username":"ann","enabled":true}]`)
	snap := mustRead(t, s)
	if got := membersOf(snap)["/eng"]; !slices.Equal(got, []string{"ann", "bob"}) {
		t.Errorf("members are %q, want ann and bob once each", got)
	}
	if _, users, memberships := snap.Counts(); users != 2 || memberships != 2 {
		t.Errorf("%d accounts with %d memberships, want 2 and 2", users, memberships)
	}
}

func TestARightThatIsTakenAwayDuringTheLookEndsIt(t *testing.T) {
	f, s := newFake(t, nil)
	snap := mustRead(t, s)
	f.answers["/groups/g2/members"] = func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.roles = []string{viewRealm, "query-users"} // with these roles, Keycloak answers 200 with an empty list
		f.mu.Unlock()
		answer("[]")(w, r)
	}
	_, err := s.Confirm(t.Context(), snap, []source.Question{removal(groupsOf(t, snap.Catalog(), "/ops"), people(1, "")...)}, nil)
	wantError(t, err, fault.Forbidden, "the access token lacks view-users of realm-management")
}

func TestALookThatIsCalledOffIsAnErrorAndNoAnswer(t *testing.T) {
	for _, at := range []string{"probe", "/groups/g1/members", "/users/c1u-0/groups/count"} {
		c := newCrowd(t, "eng", nil)
		users := people(1, "c1")
		c.ask(users, "/groups/count", answer(`{"count":0}`))
		ctx, cancel := context.WithCancel(t.Context())
		c.answers[at] = func(w http.ResponseWriter, r *http.Request) {
			cancel()
			<-r.Context().Done()
		}
		got, err := c.s.Confirm(ctx, c.snap, c.removals(t, users), nil)
		wantError(t, err, fault.Connection, "given up: context canceled")
		if len(got.Answers) > 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("called off at %s: answers %v, error %v; want none, and one that is context.Canceled", at, got.Answers, err)
		}
	}
}

// groupsync never looks up a real name in a federation that imports, because the GET would
// import the person or enable the account again.
func TestAnAccountOfAnImportingFederationIsNotAskedForByName(t *testing.T) {
	c := newCrowd(t, "eng", nil)
	c.answers["/roles"] = answer(`[{"id":"r1","name":"boss"}]`)
	c.answers["/roles/boss/users"], c.answers["/roles/boss/groups"] = answer(`[]`), answer(`[]`)
	stored := source.User{ID: "f:c1:ann", Username: "ann", Federation: "c1"}
	on := stored
	on.Enabled = true
	got := c.confirm(t, []source.Question{removal(groupsOf(t, c.snap.Catalog(), "/eng"), stored), withRole(removal(nil, on), "boss")})
	wantDoubt(t, got, 0, source.Unclear, "the second look finds no such account")
	wantDoubt(t, got, 1, source.Unclear, "the roles that the account holds in effect were not read: the roles of the account cannot be read without importing the person")
	for _, r := range c.requests {
		if strings.HasPrefix(r, "GET /users/") && !strings.HasPrefix(r, "GET /users/f:c1:groupsync-probe-") {
			t.Errorf("asked for %s", r)
		}
	}
}

// Keycloak's database has no account of a federation that does not import. If such a federation
// ignored the filter enabled=false, its answer would look like an answer of the database.
func TestTheDatabaseIsNotAskedForAnAccountThatItDoesNotHave(t *testing.T) {
	c := newCrowd(t, "eng", nil)
	c.answers["/components"] = answer(`[{"id":"c2","name":"no import","providerId":"ldap","config":{"importEnabled":["false"]}}]`)
	c.snap = mustRead(t, c.s)
	c.forget()
	ann := source.User{ID: "f:c2:ann", Username: "ann", Federation: "c2"}
	c.answers["/users"] = answer(`[{"id":"f:c2:ann","username":"ann","enabled":false}]`)
	c.answers["probe"] = func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/f:c2:ann") {
			answer(`{"id":"f:c2:ann","username":"ann","enabled":false}`)(w, r)
			return
		}
		probeUp(w, r)
	}
	got := c.confirm(t, c.removals(t, []source.User{ann}))
	if e := got.Answers[0].Evidence; !e.Valid() || !e.Waits() {
		t.Errorf("the answer is %+v; want evidence that waits", got.Answers[0])
	}
	if n := c.count("GET /users"); n != 0 {
		t.Errorf("the database was asked %d times", n)
	}
}

func TestTheSecondLookKeepsToItsConcurrency(t *testing.T) {
	const most = 3
	c := newCrowd(t, "o", func(c *Config) { c.Concurrency = most })
	users := append(people(100, "c1"), people(20, "")...)
	for i := range users[100:] {
		users[100+i].Enabled = false
	}
	var mu sync.Mutex
	now, peak := 0, 0
	slow := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			now++
			peak = max(peak, now)
			mu.Unlock()
			time.Sleep(2 * time.Millisecond)
			mu.Lock()
			now--
			mu.Unlock()
			h(w, r)
		}
	}
	c.ask(users, "/groups/count", slow(answer(`{"count":1}`)))
	c.ask(users, "/groups", slow(answer(`[]`)))
	for _, u := range users[100:] {
		c.answers["/users/"+u.ID] = slow(answer(fmt.Sprintf(`{"id":%q,"username":%q,"enabled":false}`, u.ID, u.Username)))
	}
	c.answers["/users"] = slow(answer(`[]`))
	c.confirm(t, c.removals(t, users))
	if peak > most || peak < 2 {
		t.Errorf("up to %d requests at a time, want at most %d and more than one", peak, most)
	}
}
