package clearml

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/fault"
	"groupsync/internal/target"
	"groupsync/internal/target/clearmltest"
	"groupsync/internal/transport"
)

// open allows every write.
var open = target.NewFence(func() error { return nil })

// team reads the team in the way that a write needs.
func team(t *testing.T, c *Client) target.Group {
	t.Helper()
	g, found, err := c.Group(t.Context(), "cm-team")
	if err != nil || !found {
		t.Fatalf("reading the team: found %v, %v", found, err)
	}
	return g
}

// notTakenAfter returns the After of a *target.NotTakenError, or -1.
func notTakenAfter(err error) time.Duration {
	var n *target.NotTakenError
	if errors.As(err, &n) {
		return n.After
	}
	return -1
}

func TestGroupsAndGroup(t *testing.T) {
	s, c := setup(t, clearmltest.Options{})
	g, found, err := c.Group(t.Context(), "cm-team")
	if err != nil || !found || g.Name != "team" || !slices.Equal(g.MemberIDs(), []string{"a"}) {
		t.Errorf("the team: %+v, %v, %v", g, found, err)
	}
	if body := string(s.Requests()[len(s.Requests())-1].Body); body != `{"groups":["cm-team"],"include_permissions":false}` {
		t.Errorf("one group is asked for by %s", body)
	}
	if g, found, err = c.Group(t.Context(), "nobody"); err != nil || found || g.ID != "" {
		t.Errorf("a group that is gone: %+v, %v, %v", g, found, err)
	}
	if groups, err := c.Groups(t.Context()); err != nil || len(groups) != 4 {
		t.Errorf("all: got %v, %v", groups, err)
	}
	if body := string(s.Requests()[len(s.Requests())-1].Body); body != `{"include_permissions":false}` {
		t.Errorf("all are asked for by %s", body)
	}
}

// TestAnEmptyIDIsNotAskedFor checks that an empty id is refused, because the server would
// answer with every group.
func TestAnEmptyIDIsNotAskedFor(t *testing.T) {
	s, c := setup(t, clearmltest.Options{})
	_, found, err := c.Group(t.Context(), "")
	refused(t, c, err, "ClearML permissions.get_user_groups: the group id is empty, so no request was sent", fault.Rejected)
	if found || len(s.Requests()) != 0 {
		t.Errorf("found %v, %d requests", found, len(s.Requests()))
	}
}

func TestAGroupIsHeldAgainstTheQuestion(t *testing.T) {
	tests := []struct {
		name, data, want string
		reason           fault.Reason
	}{
		{"another group", `{"groups": [{"id": "x", "name": "other", "users": []}]}`,
			`ClearML permissions.get_user_groups: the answer has the group "other", and groupsync asked only for another group, by its id. The server ignores the ids in a request, so groupsync uses nothing of the answer: check the server's version`, fault.Shape},
		{"it and another group", `{"groups": [{"id": "cm-team", "name": "team", "users": []}, {"id": "x", "name": "other", "users": []}]}`,
			`ClearML permissions.get_user_groups: the answer has the group "other", and groupsync asked only for another group, by its id. The server ignores the ids in a request, so groupsync uses nothing of the answer: check the server's version`, fault.Shape},
		{"the members left out", `{"groups": [{"id": "cm-team", "name": "team"}]}`,
			`ClearML permissions.get_user_groups: the group "team" has no list of members when it is read by its id: groupsync writes nothing from such an answer; groupsync does not know this version of ClearML`, fault.Shape},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, c := setup(t, clearmltest.Options{})
			s.Inject(clearmltest.Fault{Call: groupsCall, Nth: 1, Data: tt.data})
			_, found, err := c.Group(t.Context(), "cm-team")
			refused(t, c, err, tt.want, tt.reason)
			if found {
				t.Error("found all the same")
			}
		})
	}
}

// TestAnEmptyGroupWithoutAList checks a group whose record has no member list. Group then reads all
// groups, and returns the group's record from that answer if that record has no members either.
func TestAnEmptyGroupWithoutAList(t *testing.T) {
	s, c := setup(t, clearmltest.Options{})
	s.SetMembers("team")
	s.Inject(clearmltest.Fault{Call: groupsCall, Nth: 1, Data: `{"groups": [{"id": "cm-team", "name": "old"}]}`})
	g, found, err := c.Group(t.Context(), "cm-team")
	want := target.Group{ID: "cm-team", Name: "team", Description: "ours", Assignable: true, Members: []target.Member{}}
	if err != nil || !found || cmp.Diff(want, g) != "" {
		t.Errorf("got %+v, %v, %v", g, found, err)
	}
	s.Inject(clearmltest.Fault{Call: groupsCall, Nth: 1, Data: `{"groups": [{"id": "cm-team", "name": "team"}]}`, Meanwhile: func() { s.RemoveGroup("cm-team") }})
	if g, found, err = c.Group(t.Context(), "cm-team"); err != nil || found {
		t.Errorf("a group that goes away between the two: %+v, %v, %v", g, found, err)
	}
}

func TestSetMembersSendsTheWholeGroup(t *testing.T) {
	s, c := setup(t, clearmltest.Options{})
	for _, members := range [][]string{{"a", "b"}, nil} {
		if _, err := c.SetMembers(t.Context(), open, team(t, c), members); err != nil {
			t.Fatal(err)
		}
		if got := s.Members("team"); !slices.Equal(got, members) && len(got)+len(members) > 0 {
			t.Errorf("members %v, want %v", got, members)
		}
	}
	var bodies []string
	for _, r := range s.Requests() {
		if r.Call == writeCall {
			bodies = append(bodies, string(r.Body))
		}
	}
	want := []string{`{}`, `{"description":"ours","id":"cm-team","name":"team","users":["a","b"]}`, `{"description":"ours","id":"cm-team","name":"team","users":[]}`}
	if diff := cmp.Diff(want, bodies); diff != "" {
		t.Errorf("bodies, the probe's first (-want +got):\n%s", diff)
	}
}

// TestBetweenReadAndWriteThereIsNoOtherCall checks that the read before a write probes the
// call of the write and renews the token, so that the write needs neither.
func TestBetweenReadAndWriteThereIsNoOtherCall(t *testing.T) {
	write := func(t *testing.T, s *clearmltest.Server, c *Client) (before, after []string) {
		t.Helper()
		s.Forget()
		g := team(t, c)
		name := func(r clearmltest.Request) string {
			if r.Probe {
				return "probe " + r.Call
			}
			return r.Call
		}
		for _, r := range s.Requests() {
			before = append(before, name(r))
		}
		s.Forget()
		if _, err := c.SetMembers(t.Context(), open, g, []string{"a", "b"}); err != nil {
			t.Fatal(err)
		}
		for _, r := range s.Requests() {
			after = append(after, name(r))
		}
		return before, after
	}
	const probe, probeGroups = "probe " + writeCall, "probe " + groupsCall
	tests := []struct {
		name    string
		options clearmltest.Options
		arrange func(*clearmltest.Server, *Client)
		read    []string // the calls of the read; the write is always a single call
	}{
		{"the first write of the process", clearmltest.Options{}, nil, []string{probe, loginCall, probeGroups, groupsCall}},
		{"a later write", clearmltest.Options{}, func(_ *clearmltest.Server, c *Client) { team(t, c) }, []string{groupsCall}},
		{"a token that ends within the time of a write", clearmltest.Options{}, func(_ *clearmltest.Server, c *Client) {
			team(t, c)
			c.token.renewAt = time.Now().Add(c.timeout - time.Millisecond)
		}, []string{loginCall, groupsCall}},
		{"a token that lasts just long enough for a write", clearmltest.Options{}, func(_ *clearmltest.Server, c *Client) {
			team(t, c)
			c.token.renewAt = time.Now().Add(c.timeout + time.Minute)
		}, []string{groupsCall}},
		{"a token that comes too close to its end during the read", clearmltest.Options{}, func(s *clearmltest.Server, c *Client) {
			team(t, c)
			s.After(groupsCall, func(n int) {
				if n == 1 {
					c.mu.Lock()
					c.token.renewAt = time.Now().Add(time.Second)
					c.mu.Unlock()
				}
			})
		}, []string{groupsCall, loginCall, groupsCall}},
		{"a token that was revoked", clearmltest.Options{}, func(s *clearmltest.Server, c *Client) { team(t, c); s.ExpireTokens() }, []string{groupsCall, loginCall, groupsCall}},
		{"tokens that live two seconds", clearmltest.Options{TokenLife: 2 * time.Second}, func(_ *clearmltest.Server, c *Client) { team(t, c) }, []string{groupsCall}},
		{"a token of two seconds that is due for renewal", clearmltest.Options{TokenLife: 2 * time.Second}, func(_ *clearmltest.Server, c *Client) {
			team(t, c)
			c.token.renewAt = time.Now().Add(100 * time.Millisecond)
		}, []string{loginCall, groupsCall}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, c := setup(t, tt.options)
			if tt.arrange != nil {
				tt.arrange(s, c)
			}
			read, wrote := write(t, s, c)
			if diff := cmp.Diff(tt.read, read); diff != "" {
				t.Errorf("the read's calls (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{writeCall}, wrote); diff != "" {
				t.Errorf("the write's calls (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAWriteNeitherLogsInNorProbes checks that SetMembers sends nothing if there is no valid token,
// or if the call was not probed. The caller must begin again with Group.
func TestAWriteNeitherLogsInNorProbes(t *testing.T) {
	const want = "the write was not carried out: ClearML permissions.add_or_update_user_group: there is no valid login any more, and a write does not log in. groupsync logs in again when it reads the group again, before it repeats the write"
	g := target.Group{ID: "cm-team", Name: "team", Assignable: true}
	for name, arrange := range map[string]func(*testing.T, *Client){
		"nothing was read":       func(*testing.T, *Client) {},
		"the token is over":      func(t *testing.T, c *Client) { team(t, c); c.token.renewAt = time.Now().Add(-time.Millisecond) },
		"the token was refused":  func(t *testing.T, c *Client) { team(t, c); c.forget(c.token) },
		"the call is not probed": func(t *testing.T, c *Client) { team(t, c); clear(c.probed) },
	} {
		s, c := setup(t, clearmltest.Options{})
		arrange(t, c)
		s.Forget()
		_, err := c.SetMembers(t.Context(), open, g, []string{"b"})
		refused(t, c, err, want, fault.Auth)
		if notTakenAfter(err) != 0 || len(s.Requests()) != 0 || !slices.Equal(s.Members("team"), []string{"a"}) {
			t.Errorf("%s: after %s, requests %v, members %v", name, notTakenAfter(err), s.Calls(), s.Members("team"))
		}
	}
}

func TestSetMembersNeverCreates(t *testing.T) {
	tests := []struct {
		name  string
		group target.Group
		users []string
		want  string
	}{
		{"a group without an id", target.Group{Name: "x", Assignable: true}, nil, "ClearML permissions.add_or_update_user_group: the group has no id or no name, so nothing was written: ClearML would create a group"},
		{"a group without a name", target.Group{ID: "x", Assignable: true}, nil, "ClearML permissions.add_or_update_user_group: the group has no id or no name, so nothing was written: ClearML would create a group"},
		{"an unassignable group", target.Group{ID: "x", Name: "x"}, nil, `ClearML permissions.add_or_update_user_group: the group "x" is built in or not assignable, so groupsync never writes it`},
		{"a built-in group", target.Group{ID: "x", Name: "Users", System: true, Assignable: true}, nil, `ClearML permissions.add_or_update_user_group: the group "Users" is built in or not assignable, so groupsync never writes it`},
		{"a group of a built-in name", target.Group{ID: "x", Name: "Queue admins", Assignable: true}, nil, `ClearML permissions.add_or_update_user_group: the group "Queue admins" is built in or not assignable, so groupsync never writes it`},
		{"an empty user id", target.Group{ID: "x", Name: "x", Assignable: true}, []string{""}, `ClearML permissions.add_or_update_user_group: a user id is empty, so nothing was written into the group "x"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, c := setup(t, clearmltest.Options{})
			team(t, c)
			s.Forget()
			_, err := c.SetMembers(t.Context(), open, tt.group, tt.users)
			refused(t, c, err, tt.want, fault.Rejected)
			if target.Uncertain(err) || len(s.Requests()) != 0 {
				t.Errorf("uncertain %v, %d requests", target.Uncertain(err), len(s.Requests()))
			}
		})
	}
	s, c := setup(t, clearmltest.Options{})
	g, _, err := c.Group(t.Context(), clearmltest.AdminsID)
	if err == nil {
		_, err = c.SetMembers(t.Context(), open, g, []string{"a"})
	}
	if err != nil || !slices.Equal(s.Members("Admins"), []string{"a"}) {
		t.Errorf("Admins: %v, %v", err, s.Members("Admins"))
	}
}

// The kinds of error that SetMembers returns for a failed write.
const (
	forGood     = "refused for good"
	notTakenYet = "not taken"
	unknown     = "uncertain"
)

func said(err error) string {
	switch {
	case target.Uncertain(err):
		return unknown
	case notTakenAfter(err) >= 0:
		return notTakenYet
	default:
		return forGood
	}
}

// TestWhatIsKnownOfAFailedWrite checks the error of each failed write, and that no failed
// write is sent a second time.
func TestWhatIsKnownOfAFailedWrite(t *testing.T) {
	const (
		unsure = "it is not known whether the write was carried out: "
		taken  = "the write was not carried out: "
		call   = "ClearML permissions.add_or_update_user_group: "
		away   = "the API server is not reachable or fails; try later, and look at the log of the proxy in front of it"
	)
	after := func(text string) map[string]string { return map[string]string{"Retry-After": text} }
	tests := []struct {
		name   string
		fault  clearmltest.Fault
		want   string
		reason fault.Reason
		known  string
		after  time.Duration
		wrote  bool
	}{
		{"refused by the role", clearmltest.Fault{Code: 403, Subcode: 20, Text: "no"}, call + "the role of these credentials may not make this call (403/20, no): give groupsync the access key of a ClearML administrator", fault.Forbidden, forGood, 0, false},
		{"an unknown user", clearmltest.Fault{Code: 400, Subcode: 10, Text: "Invalid user id"}, call + "the request was refused (400/10, Invalid user id): look at the log of the API server", fault.Rejected, forGood, 0, false},
		{"a call that is gone", clearmltest.Fault{Code: 404, Text: "no"}, "ClearML has no call permissions.add_or_update_user_group: user groups are part of ClearML Enterprise, and this server does not have them; check clearml.url, and the server's licence and version", fault.NotFound, forGood, 0, false},
		{"a redirect", clearmltest.Fault{Status: 301, Header: map[string]string{"Location": "/x"}}, call + "redirected (301) to another path, and groupsync does not follow redirects: set clearml.url to the API server's own address", fault.Shape, forGood, 0, false},
		{"an encoded body", clearmltest.Fault{Status: 415, Body: "no"}, call + "415 without ClearML's envelope (text/html, no): a proxy has encoded the request's body; set clearml.url to the API server's own address", fault.Rejected, forGood, 0, false},

		{"429", clearmltest.Fault{Status: 429, Body: "slow"}, taken + call + "429 without ClearML's envelope (text/html, slow): too many requests, also after waiting; run passes less often", fault.Server, notTakenYet, 0, false},
		{"429 that asks to wait", clearmltest.Fault{Status: 429, Body: "slow", Header: after("7")}, taken + call + "429 without ClearML's envelope (text/html, slow): too many requests, also after waiting; run passes less often", fault.Server, notTakenYet, 7 * time.Second, false},
		{"429 of the server's own", clearmltest.Fault{Code: 429, Text: "slow"}, taken + call + "too many requests, also after waiting (429/0, slow): run passes less often", fault.Server, notTakenYet, 0, false},
		{"503 with Retry-After", clearmltest.Fault{Status: 503, Body: "busy", Header: after("0")}, taken + call + "503 without ClearML's envelope (text/html, busy): " + away, fault.Server, notTakenYet, 0, false},
		{"503 that asks for ten hours", clearmltest.Fault{Status: 503, Body: "busy", Header: after("36000")}, taken + call + "503 without ClearML's envelope (text/html, busy): " + away, fault.Server, notTakenYet, 30 * time.Second, false},
		{"a token that expired or was revoked", clearmltest.Fault{Code: 401, Subcode: 30, Text: "expired"}, taken + call + "a new token is refused too (401/30, expired): check the clocks of the API servers, and that all of them sign tokens with the same secret", fault.Auth, notTakenYet, 0, false},
		{"credentials that are unknown", clearmltest.Fault{Code: 401, Subcode: 22, Text: "unknown"}, taken + call + "wrong credentials (401/22, unknown): check clearml.access_key and clearml.secret_key", fault.Auth, notTakenYet, 0, false},
		{"a header that got lost", clearmltest.Fault{Code: 401, Subcode: 20, Text: "missing"}, taken + call + "the server received no credentials (401/20, missing): a proxy removes the Authorization header; check clearml.url", fault.Auth, notTakenYet, 0, false},

		{"a proxy's 401", clearmltest.Fault{Status: 401, Body: "who?"}, unsure + call + "401 without ClearML's envelope (text/html, who?): a server in front of the API server asks for credentials; set clearml.url to the API server's own address", fault.Auth, unknown, 0, false},
		{"the database away", clearmltest.Fault{Code: 500, Subcode: 1, Text: "away"}, unsure + call + "the server failed (500/1, away): ClearML's database is not reachable; look at the log of the API server", fault.Server, unknown, 0, false},
		{"a proxy's 502", clearmltest.Fault{Status: 502, Body: "bad"}, unsure + call + "502 without ClearML's envelope (text/html, bad): " + away, fault.Server, unknown, 0, false},
		{"a proxy's 502 with Retry-After", clearmltest.Fault{Status: 502, Body: "bad", Header: after("0")}, unsure + call + "502 without ClearML's envelope (text/html, bad): " + away, fault.Server, unknown, 0, false},
		{"a proxy's 503 without Retry-After", clearmltest.Fault{Status: 503, Body: "bad"}, unsure + call + "503 without ClearML's envelope (text/html, bad): " + away, fault.Server, unknown, 0, false},
		{"a proxy's 504", clearmltest.Fault{Status: 504, Body: "bad", Header: after("0")}, unsure + call + "504 without ClearML's envelope (text/html, bad): " + away, fault.Server, unknown, 0, false},
		{"a proxy's 404", clearmltest.Fault{Status: 404, Body: "away"}, unsure + call + "404 without ClearML's envelope (text/html, away): the API server behind the web server is not reachable, or clearml.url lacks /api", fault.Server, unknown, 0, false},
		{"200 without the envelope", clearmltest.Fault{Status: 200, Body: "ok"}, unsure + call + "200 without ClearML's envelope (text/html, ok): another server answers, not ClearML's API server; set clearml.url to https://api.<domain>, or https://<web host>/api", fault.Shape, unknown, 0, false},
		{"200 that names another group", clearmltest.Fault{Data: `{"id": "x"}`}, unsure + call + `the answer to the write of "team" (cm-team) names the group "x": look in ClearML for another group that was created or changed`, fault.Rejected, unknown, 0, false},
		{"200 of another shape", clearmltest.Fault{Data: `{"id": 1}`}, unsure + call + "the answer's data does not have the documented form: json: cannot unmarshal number into Go struct field .id of type string; groupsync may not know this version of ClearML", fault.Shape, unknown, 0, false},
		{"an answer that broke off", clearmltest.Fault{Truncate: 30}, unsure + call + "the answer broke off after 30 bytes: unexpected EOF; groupsync uses nothing of the answer", fault.Connection, unknown, 0, true},
		{"silence after it was carried out", clearmltest.Fault{LoseSlow: true}, unsure + call + "no answer from http://HOST in time (an attempt may take 200ms): context deadline exceeded; check the API server, and clearml.timeout", fault.Timeout, unknown, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := setup(t, clearmltest.Options{})
			limit := time.Minute
			if tt.reason == fault.Timeout {
				limit = 200 * time.Millisecond
			}
			c := configured(t, Config{URL: s.URL, Keys: keys("access", "secret"), Timeout: limit, RetryWait: time.Millisecond})
			g := team(t, c)
			tt.fault.Call = writeCall
			s.Inject(tt.fault)
			s.Forget()
			_, err := c.SetMembers(t.Context(), open, g, []string{"a", "b"})
			refused(t, c, err, tt.want, tt.reason)
			if got := said(err); got != tt.known {
				t.Errorf("the write is %s, want %s", got, tt.known)
			}
			if got := notTakenAfter(err); tt.known == notTakenYet && got != tt.after {
				t.Errorf("to wait for %s, want %s", got, tt.after)
			}
			if wrote := len(s.Members("team")) == 2; wrote != tt.wrote {
				t.Errorf("written: %v, want %v", wrote, tt.wrote)
			}
			if diff := cmp.Diff([]string{writeCall}, s.Calls()); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRetryAfterIsLimited(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"":                              0,
		"0":                             0,
		"-5":                            0,
		"29":                            29 * time.Second,
		"30":                            30 * time.Second,
		"31":                            30 * time.Second,
		"99999999999999999999999999":    30 * time.Second,
		"soon":                          0,
		"Tue, 24 Nov 2026 12:00:07 GMT": 7 * time.Second,
		"Tue, 24 Nov 2026 13:00:00 GMT": 30 * time.Second,
		"Tue, 24 Nov 2026 11:00:00 GMT": 0,
	} {
		if got := (answer{retryAfter: text}).after(now); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

// TestARefusedTokenIsForgotten checks that the next read logs in first and does not use the
// refused token again.
func TestARefusedTokenIsForgotten(t *testing.T) {
	s, c := setup(t, clearmltest.Options{})
	g := team(t, c)
	s.ExpireTokens()
	s.Forget()
	if _, err := c.SetMembers(t.Context(), open, g, []string{"b"}); said(err) != notTakenYet || !slices.Equal(s.Members("team"), []string{"a"}) {
		t.Fatalf("got %v, the members are %v", err, s.Members("team"))
	}
	if _, err := c.SetMembers(t.Context(), open, team(t, c), []string{"b"}); err != nil || !slices.Equal(s.Members("team"), []string{"b"}) {
		t.Errorf("after a new read: %v, the members are %v", err, s.Members("team"))
	}
	if diff := cmp.Diff([]string{writeCall, loginCall, groupsCall, writeCall}, s.Calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// TestAWriteWhoseAnswerNamesNoGroup checks that an answer without the group's id is no error,
// because the caller reads the group after the write.
func TestAWriteWhoseAnswerNamesNoGroup(t *testing.T) {
	for _, data := range []string{`{}`, `{"updated": 1}`, `{"group": {"id": "cm-team"}}`} {
		s, c := setup(t, clearmltest.Options{})
		g := team(t, c)
		s.Inject(clearmltest.Fault{Call: writeCall, Data: data})
		if _, err := c.SetMembers(t.Context(), open, g, []string{"a", "b"}); err != nil {
			t.Errorf("%s: %v", data, err)
		}
	}
}

func TestAWriteThatWasLostIsNotRepeated(t *testing.T) {
	for _, f := range []clearmltest.Fault{{Reset: true}, {Lose: true}} {
		s, c := setup(t, clearmltest.Options{})
		g := team(t, c)
		f.Call = writeCall
		s.Inject(f)
		_, err := c.SetMembers(t.Context(), open, g, []string{"a", "b"})
		if !target.Uncertain(err) || fault.Of(err).Reason != fault.Connection || s.Count(writeCall) != 1 {
			t.Errorf("%+v: %v, %d attempts", f, err, s.Count(writeCall))
		}
	}
}

// TestARefusedConnectionIsNotRepeated checks that a write is not repeated even if nothing was
// sent.
func TestARefusedConnectionIsNotRepeated(t *testing.T) {
	s, _ := setup(t, clearmltest.Options{})
	var attempts atomic.Int32
	c := configured(t, Config{URL: s.URL, Keys: keys("access", "secret"), RetryWait: time.Millisecond, Observe: func(a transport.Attempt) {
		if a.Call == writeCall {
			attempts.Add(1)
		}
	}})
	g := team(t, c)
	s.Close()
	attempts.Store(0)
	_, err := c.SetMembers(t.Context(), open, g, []string{"b"})
	if notTakenAfter(err) != 0 || fault.Of(err) == nil || fault.Of(err).Reason != fault.Connection || attempts.Load() != 1 {
		t.Errorf("a server that is gone: %v after %d attempts", err, attempts.Load())
	}
}

// TestAWriteIsSentOnlyWhileTheFenceAllowsIt checks that the fence is asked before the
// connection is made, and again before the request is sent.
func TestAWriteIsSentOnlyWhileTheFenceAllowsIt(t *testing.T) {
	lost := errors.New("somebody else holds the Lease")
	for _, tt := range []struct {
		name  string
		fence func(asked *int) target.Fence
		want  string
		is    error
		asked int
	}{
		{"no fence was given", func(*int) target.Fence { return target.Fence{} }, "no write fence was given, so nothing is written: this is a fault in groupsync, report it", nil, 0},
		{"the leadership is lost before the connection", func(n *int) target.Fence { return target.Leading(refuseFrom(1, n, lost)) }, "the leadership is lost: somebody else holds the Lease", target.ErrNotLeading, 1},
		{"the leadership is lost when the connection is there", func(n *int) target.Fence { return target.Leading(refuseFrom(2, n, lost)) }, "the leadership is lost: somebody else holds the Lease", target.ErrNotLeading, 2},
		{"the plan becomes too old when the connection is there", func(n *int) target.Fence {
			return target.NewFence(refuseFrom(2, n, fmt.Errorf("%w: by 1 s", target.ErrTooOld)))
		}, "the plan is too old: by 1 s", target.ErrTooOld, 2},
		{"the leadership is never lost", func(n *int) target.Fence { return target.Leading(refuseFrom(3, n, lost)) }, "", nil, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, c := setup(t, clearmltest.Options{})
			g, asked := team(t, c), 0
			_, err := c.SetMembers(t.Context(), tt.fence(&asked), g, []string{"b"})
			got, members := "", []string{"b"}
			if err != nil {
				got = err.Error()
			}
			if tt.want != "" {
				members = []string{"a"}
				if !target.Fenced(err) || target.Uncertain(err) || notTakenAfter(err) >= 0 || tt.is != nil && !errors.Is(err, tt.is) {
					t.Errorf("%v is not the fence's error alone", err)
				}
			}
			if got != tt.want || asked != tt.asked || !slices.Equal(s.Members("team"), members) {
				t.Errorf("got %q after %d questions, want %q after %d; the members are %v", got, asked, tt.want, tt.asked, s.Members("team"))
			}
		})
	}
}

// refuseFrom returns a check of a fence that returns err from its nth call on. asked counts the
// calls.
func refuseFrom(n int, asked *int, err error) func() error {
	return func() error {
		if *asked++; *asked >= n {
			return err
		}
		return nil
	}
}

// TestAWriteThatDialsForLongIsKeptBack checks that the client does not send a write if the
// leadership is lost while the client connects.
func TestAWriteThatDialsForLongIsKeptBack(t *testing.T) {
	s, _ := setup(t, clearmltest.Options{})
	var dialling atomic.Bool
	dialled := make(chan struct{}, 1)
	front := httptest.NewUnstartedServer(s)
	front.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew && dialling.Load() {
			dialled <- struct{}{} // the connection is made, and the request is not sent yet
			time.Sleep(50 * time.Millisecond)
		}
	}
	front.Start()
	t.Cleanup(front.Close)
	c := client(t, front.URL)
	g, asked := team(t, c), 0
	dialling.Store(true)
	_, err := c.SetMembers(t.Context(), target.Leading(refuseFrom(2, &asked, errors.New("somebody else holds the Lease"))), g, []string{"b"})
	if !errors.Is(err, target.ErrNotLeading) || target.Uncertain(err) {
		t.Errorf("got %v, want that the leadership is lost, for certain", err)
	}
	select { // the server may see the connection later than the client
	case <-dialled:
	case <-time.After(10 * time.Second):
		t.Error("there was no connection")
	}
	if !slices.Equal(s.Members("team"), []string{"a"}) {
		t.Errorf("the members are %v", s.Members("team"))
	}
}

// TestAForgottenTokenIsStillRedacted checks that messages mask an old token. A proxy may still
// quote it.
func TestAForgottenTokenIsStillRedacted(t *testing.T) {
	_, c := setup(t, clearmltest.Options{})
	team(t, c)
	text := c.token.text
	c.forget(c.token)
	if got := c.secrets.Mask("Bearer " + text); strings.Contains(got, text) {
		t.Error("the token is shown")
	}
	c.forget(token{text: "an older one"})
	if c.token.text != text {
		t.Error("another token was forgotten")
	}
}
