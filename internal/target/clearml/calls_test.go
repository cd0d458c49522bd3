package clearml

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/target"
	"groupsync/internal/target/clearmltest"
)

// answered starts a proxy before the server s. ids returns the meta.id of each answer to a call, in
// order. rewrite may change the body of an answer.
func answered(t *testing.T, s *clearmltest.Server, rewrite func(call, body string) string) (url string, ids func(call string) []string) {
	t.Helper()
	var mu sync.Mutex
	seen := make(map[string][]string)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		r.Header.Del("Accept-Encoding")
		s.ServeHTTP(rec, r)
		call, body := strings.TrimPrefix(r.URL.Path, "/"), rec.Body.String()
		if rewrite != nil && r.Header.Get("Authorization") != "" {
			body = rewrite(call, body)
		}
		var e struct {
			Meta struct {
				ID any `json:"id"`
			} `json:"meta"`
		}
		_ = json.Unmarshal([]byte(body), &e)
		if id, is := e.Meta.ID.(string); is && r.Header.Get("Authorization") != "" {
			mu.Lock()
			seen[call] = append(seen[call], id)
			mu.Unlock()
		}
		w.Header().Set("Content-Type", rec.Header().Get("Content-Type"))
		w.WriteHeader(rec.Code)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(front.Close)
	return front.URL, func(call string) []string {
		mu.Lock()
		defer mu.Unlock()
		return seen[call]
	}
}

// TestAWriteReturnsClearMLsIDOfTheCall checks that the id is returned for the users whom the
// write adds or removes, and for no others.
func TestAWriteReturnsClearMLsIDOfTheCall(t *testing.T) {
	for _, tt := range []struct {
		name    string
		fault   *clearmltest.Fault
		rewrite func(call, body string) string
		users   []string // the users for whom the id of the call is returned
	}{
		{name: "a write that is accepted", users: []string{"a", "b"}},
		{name: "a write that is refused", fault: &clearmltest.Fault{Call: writeCall, Code: 400, Subcode: 10, Text: "no"}, users: []string{"a", "b"}},
		{name: "an uncertain write that was answered", fault: &clearmltest.Fault{Call: writeCall, Code: 500, Subcode: 1, Text: "away"}, users: []string{"a", "b"}},
		{name: "a proxy's answer has no id", fault: &clearmltest.Fault{Call: writeCall, Status: 502, Body: "bad"}},
		{name: "an answer whose id is a number", rewrite: func(_, body string) string { return meta(body, `"id":1,"was":"`) }},
		{name: "an answer whose id repeats a secret", rewrite: func(_, body string) string { return meta(body, `"id":"secret-`) }},
		{name: "an answer whose id is far too long", rewrite: func(_, body string) string {
			return meta(body, `"id":"`+strings.Repeat("x", maxID))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := setup(t, clearmltest.Options{})
			rewrite := tt.rewrite
			url, ids := answered(t, s, func(call, body string) string {
				if rewrite == nil || call != writeCall {
					return body
				}
				return rewrite(call, body)
			})
			c := client(t, url)
			s.AddUser(clearmltest.User{ID: "stays", Name: "stays", Email: "stays@x"})
			s.SetMembers("team", "a", "stays")
			g := team(t, c)
			if tt.fault != nil {
				s.Inject(*tt.fault)
			}
			calls, err := c.SetMembers(t.Context(), open, g, []string{"b", "stays"})
			if (err != nil) != (tt.fault != nil) {
				t.Fatal(err)
			}
			want := target.Calls{}
			for _, u := range tt.users {
				want[u] = ids(writeCall)[0]
			}
			if diff := cmp.Diff(want, calls); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// meta replaces the beginning of the id in the envelope's meta. data, which also has an id,
// comes before meta.
func meta(body, with string) string {
	at := strings.LastIndex(body, `"id":"`)
	return body[:at] + with + body[at+len(`"id":"`):]
}

// TestEachRoleHasItsOwnCall checks the ids of calls, also of those that were made before one
// failed.
func TestEachRoleHasItsOwnCall(t *testing.T) {
	s, _ := roles(t)
	url, ids := answered(t, s, nil)
	c := client(t, url)
	c.adminRole = true
	g := admin(t, c)
	s.Inject(clearmltest.Fault{Call: roleCall, Nth: 3, Status: 502})
	calls, err := c.SetMembers(t.Context(), open, g, []string{"bob", "cid", clearmltest.Self}) // ann leaves
	made := ids(roleCall)
	if !target.Uncertain(err) || len(made) != 2 || made[0] == made[1] {
		t.Fatalf("%v, answered %v", err, made)
	}
	if diff := cmp.Diff(target.Calls{"bob": made[0], "cid": made[1]}, calls); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
