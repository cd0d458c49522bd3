package clearmltest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestFaultsStrikeTheNthRequestOfTheirCall(t *testing.T) {
	s := New(t, Options{})
	admin := bearer(t, s, "access", "secret")
	s.Inject(Fault{Call: "users.get_all", Nth: 2, Code: 500, Subcode: 1, Text: "no database", Header: map[string]string{"Retry-After": "1"}})
	s.Inject(Fault{Call: "users.get_all", Probe: true, Status: 404, Body: "<html>"})
	s.Inject(Fault{Call: "server.info", Data: `{"odd": 1}`})
	var said []string
	for range 3 {
		said = append(said, post(t, s, "/users.get_all", admin, "{}").said())
	}
	said = append(said, post(t, s, "/users.get_all", "", "{}").said())
	if want := []string{"200/0", "500/1", "200/0", "404"}; !slices.Equal(said, want) {
		t.Errorf("got %v, want %v", said, want)
	}
	if r := post(t, s, "/server.info", admin, "{}"); r.data["odd"] != 1.0 {
		t.Errorf("data: %s", r.body)
	}
	if n := s.Count("users.get_all"); n != 3 {
		t.Errorf("counted %d, want 3: probes do not count", n)
	}
	if want := []string{"auth.login", "users.get_all", "users.get_all", "users.get_all", "server.info"}; !slices.Equal(s.Calls(), want) {
		t.Errorf("calls: %v", s.Calls())
	}
	s.Heal()
	s.Forget()
	if r := post(t, s, "/users.get_all", "", "{}"); r.said() != "401/20" || len(s.Requests()) != 1 {
		t.Errorf("after healing: %s, %d requests", r.said(), len(s.Requests()))
	}
}

func TestFaultsOfTheConnection(t *testing.T) {
	put := `{"id": "g", "name": "team", "users": ["a"]}`
	tests := []struct {
		name  string
		fault Fault
		want  error
		wrote bool
	}{
		{"a reset carries nothing out", Fault{Reset: true}, syscall.ECONNRESET, false},
		{"a lost answer was carried out", Fault{Lose: true}, syscall.ECONNRESET, true},
		{"a truncated answer was carried out", Fault{Truncate: 10}, io.ErrUnexpectedEOF, true},
		{"a hang carries nothing out", Fault{Hang: true}, context.DeadlineExceeded, false},
		{"an answer that never comes was carried out", Fault{LoseSlow: true}, context.DeadlineExceeded, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := New(t, Options{})
			s.AddUser(User{ID: "a"})
			s.AddGroup(Group{ID: "g", Name: "team", Assignable: true})
			admin := bearer(t, s, "access", "secret")
			s.Inject(tt.fault)
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/permissions.add_or_update_user_group", strings.NewReader(put))
			req.Header.Set("Authorization", admin)
			req.Header.Set("Accept-Encoding", "identity")
			resp, err := http.DefaultClient.Do(req)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if wrote := len(s.Members("team")) == 1; wrote != tt.wrote {
				t.Errorf("written: %v, want %v", wrote, tt.wrote)
			}
		})
	}
}

// TestAFaultMayChangeTheStateFirst checks Meanwhile, which stands for an administrator or a
// login that changes the state while a client waits.
func TestAFaultMayChangeTheStateFirst(t *testing.T) {
	s := New(t, Options{})
	s.AddUser(User{ID: "a"})
	s.AddTeam("team")
	admin := bearer(t, s, "access", "secret")
	s.Inject(Fault{Call: "permissions.add_or_update_user_group", Nth: 1, Status: 429, Meanwhile: func() { s.SetMembers("team", "a") }})
	r := post(t, s, "/permissions.add_or_update_user_group", admin, `{"id": "cm-team", "name": "team", "users": []}`)
	if m := s.Members("team"); r.said() != "429" || !slices.Equal(m, []string{"a"}) {
		t.Errorf("answered %s, the members are %v", r.said(), m)
	}
}

func TestHooksRunBeforeAndAfter(t *testing.T) {
	s := New(t, Options{})
	s.AddUser(User{ID: "a"})
	s.AddTeam("team")
	admin := bearer(t, s, "access", "secret")
	s.Before("permissions.get_user_groups", func(n int) {
		if n == 2 {
			s.SetMembers("team", "a")
		}
	})
	s.After("permissions.get_user_groups", func(n int) { s.RemoveGroup("cm-team") })
	if ids := post(t, s, "/permissions.get_user_groups", admin, "{}").ids("groups"); !slices.Contains(ids, "cm-team") {
		t.Error("the hook after the call ran before it")
	}
	s.AddTeam("team")
	r := post(t, s, "/permissions.get_user_groups", admin, `{"groups": ["cm-team"]}`)
	if !strings.Contains(r.body, `"users":[{"id":"a","name":""}]`) {
		t.Errorf("the hook before the call did not run: %s", r.body)
	}
}

func TestMisbehavingWrites(t *testing.T) {
	tests := []struct {
		name   string
		writes Writes
		want   string
	}{
		{"as asked", Writes{}, "other: ; team ours: b c"},
		{"nothing is done", Writes{Ignore: true}, "other: ; team ours: a"},
		{"merged", Writes{Merge: true}, "other: ; team ours: a b c"},
		{"the description cleared", Writes{ClearDescription: true}, "other: ; team : b c"},
		{"a user dropped", Writes{DropUser: "c"}, "other: ; team ours: b"},
		{"another group created", Writes{CreateOther: true}, "other: ; team : b c; team ours: b c"},
		{"another renamed", Writes{RenameOther: "other"}, "other (renamed): ; team ours: b c"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := New(t, Options{})
			for _, id := range []string{"a", "b", "c"} {
				s.AddUser(User{ID: id})
			}
			s.AddGroup(Group{ID: "~", Name: "team", Description: "ours", Assignable: true, Members: []string{"a"}})
			s.AddTeam("other")
			s.MisbehaveWrites(tt.writes)
			admin := bearer(t, s, "access", "secret")
			if r := post(t, s, "/permissions.add_or_update_user_group", admin, `{"id": "~", "name": "team", "description": "ours", "users": ["b", "c"]}`); r.said() != "200/0" {
				t.Fatal(r.body)
			}
			var got []string
			for _, g := range s.Groups() {
				switch {
				case g.System:
				case g.ID == "cm-other":
					got = append(got, g.Name+": "+strings.Join(g.Members, " "))
				default:
					got = append(got, g.Name+" "+g.Description+": "+strings.Join(g.Members, " "))
				}
			}
			if text := strings.Join(got, "; "); text != tt.want {
				t.Errorf("got %s, want %s", text, tt.want)
			}
		})
	}
}

func TestFalseViews(t *testing.T) {
	s := New(t, Options{})
	s.AddUser(User{ID: "a"})
	s.AddUser(User{ID: "b"})
	s.AddTeam("team", "a", "b")
	admin := bearer(t, s, "access", "secret")
	s.FreezeSecGroups()
	s.SetMembers("team", "b", "a")
	s.TruncateMembers(1)
	if r := post(t, s, "/permissions.get_user_groups", admin, `{"groups": ["cm-team"]}`); !strings.Contains(r.body, `"users":[{"id":"b","name":""}]`) {
		t.Errorf("not cut: %s", r.body)
	}
	s.SetMembers("team")
	if r := post(t, s, "/users.get_all", admin, `{"id": ["a"], "include_auth": true}`); !strings.Contains(r.body, `"cm-team"`) {
		t.Errorf("not stale: %s", r.body)
	}
}
