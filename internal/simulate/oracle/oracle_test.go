package oracle

import (
	"slices"
	"testing"
	"time"

	"groupsync/internal/simulate/history"
)

// world is a log with two people. ann is in the Keycloak group ml, and bob is in no group.
// Both have users in ClearML and are in the user group ml.
func world(s history.Settings) []any {
	return []any{
		history.InForce{Node: "n", Settings: s},
		history.Group{ID: "g", Name: "ml", Path: "/ml"},
		history.Account{ID: "ann", Username: "ann", Email: "Ann@example.com", Federation: "ldap", Enabled: true},
		history.Account{ID: "bob", Username: "bob", Email: "bob@example.com", Enabled: true},
		history.Claim{Account: "ann", Group: "g", In: true},
		history.UserGroup{ID: "t", Name: "ml", Assignable: true},
		history.UserGroup{ID: history.AdminRole, Name: "role admin", System: true, Assignable: true},
		history.User{ID: "u-ann", Kept: "ann", Email: "ann@example.com", Role: "user", Keycloak: true},
		history.User{ID: "u-bob", Kept: "bob", Email: "bob@example.com", Role: "superuser", Keycloak: true},
		history.Member{Group: "t", User: "u-ann", In: true},
		history.Member{Group: "t", User: "u-bob", In: true},
	}
}

// TestJudge gives the oracle a log in which each fact comes a second after the one before.
func TestJudge(t *testing.T) {
	begin := history.PassBegan{Node: "n", Pass: 1}
	read, readRoles := history.Read{Node: "n", Group: "t"}, history.Read{Node: "n", Group: history.AdminRole}
	write := func(number int, members ...string) history.Sent {
		return history.Sent{Node: "n", Group: "t", Name: "ml", Number: number, Members: members}
	}
	bobLeft := history.Member{Group: "t", User: "u-bob", By: history.Writer, Write: 1}
	bobIsOut := history.Change{Group: "t", User: "u-bob"}
	ended := func(done []history.Change, c history.Counters) history.PassEnded {
		return history.PassEnded{Node: "n", Pass: 1, Result: "applied", Done: done, Counted: c}
	}
	one := history.Counters{Removed: 1}
	annIsOut := history.Claim{Account: "ann", Group: "g"}
	annIs := func(enabled bool) history.Account {
		return history.Account{ID: "ann", Username: "ann", Email: "Ann@example.com", Federation: "ldap", Enabled: enabled}
	}
	for _, x := range []struct {
		name     string
		settings history.Settings
		strict   bool
		then     []any
		broken   []Law
	}{
		{"bob is taken out", history.Settings{}, false,
			[]any{begin, read, write(1, "u-ann"), bobLeft, ended([]history.Change{bobIsOut}, one)}, nil},
		{"ann is taken out", history.Settings{}, false,
			[]any{begin, read, write(1, "u-bob")}, []Law{Lost}},
		{"ann is taken out while her LDAP shows nobody", history.Settings{}, false,
			[]any{history.Blind{Federation: "ldap", Is: true}, begin, read, write(1, "u-bob")}, []Law{Lost}},
		{"ann is taken out while her LDAP shows nobody, and a person approves it", history.Settings{}, false,
			[]any{history.Blind{Federation: "ldap", Is: true}, history.PassBegan{Node: "n", Pass: 1, Approved: true}, read, write(1, "u-bob")}, nil},
		{"ann is taken out as soon as her LDAP has no membership of her", history.Settings{Grace: time.Hour}, false,
			[]any{begin, ended(nil, history.Counters{}), annIsOut, history.PassBegan{Node: "n", Pass: 2}, read, write(1, "u-bob")}, []Law{Wait}},
		{"ann is taken out, and was disabled while the pass read", history.Settings{Grace: time.Hour}, false,
			[]any{begin, ended(nil, history.Counters{}), annIs(false), history.PassBegan{Node: "n", Pass: 2}, read, annIs(true), write(1, "u-bob")}, nil},
		{"bob is taken out, and is protected in capital letters", history.Settings{Protected: []string{"BOB@example.com"}}, false,
			[]any{begin, read, write(1, "u-ann")}, []Law{Kept}},
		{"ann comes in while a write waits, and it is sent again as it was", history.Settings{}, false,
			[]any{history.Member{Group: "t", User: "u-ann"}, begin, read, write(1), history.Member{Group: "t", User: "u-ann", In: true, By: "login"}, write(2)}, []Law{Lost}},
		{"ann comes in while a write waits, and the group is read again", history.Settings{}, false,
			[]any{history.Member{Group: "t", User: "u-ann"}, begin, read, write(1), history.Member{Group: "t", User: "u-ann", In: true, By: "login"}, read, write(2, "u-ann")}, nil},
		{"a group is written that nothing feeds", history.Settings{Mapping: map[string][]string{"ml": {"other"}}}, false,
			[]any{begin, read, write(1, "u-ann")}, []Law{Bounds}},
		{"the report does not name a removal", history.Settings{}, false,
			[]any{begin, read, write(1, "u-ann"), bobLeft, ended(nil, history.Counters{})}, []Law{Agrees}},
		{"the report does not name a removal of somebody whom an answer left out", history.Settings{}, false,
			[]any{begin, read, history.Short{Node: "n", Group: "t"}, write(1, "u-ann"), bobLeft, ended(nil, history.Counters{})}, nil},
		{"so it does, and what is known is judged too", history.Settings{}, true,
			[]any{begin, read, history.Short{Node: "n", Group: "t"}, write(1, "u-ann"), bobLeft, ended(nil, history.Counters{})}, []Law{Agrees}},
		{"the metrics do not count a removal", history.Settings{}, false,
			[]any{begin, read, write(1, "u-ann"), bobLeft, ended([]history.Change{bobIsOut}, history.Counters{})}, []Law{Counts}},
		{"ann gets the role admin, and holds Keycloak's role", history.Settings{AdminRole: "boss", AdminVia: "role"}, false,
			[]any{history.Role{Holder: "ann", In: true}, begin, readRoles, history.SentRole{Node: "n", User: "u-ann", Role: "admin", Number: 1}}, nil},
		{"ann gets the role admin, and a group above hers holds Keycloak's role", history.Settings{AdminRole: "boss", AdminVia: "both"}, false,
			[]any{history.Group{ID: "g", Name: "ml", Path: "/top/ml", Parent: "top"}, history.Group{ID: "top", Name: "top", Path: "/top"}, history.Role{Holder: "top", In: true},
				begin, readRoles, history.SentRole{Node: "n", User: "u-ann", Role: "admin", Number: 1}}, nil},
		{"ann gets the role admin, and does not hold Keycloak's role", history.Settings{AdminRole: "boss", AdminVia: "role"}, false,
			[]any{begin, readRoles, history.SentRole{Node: "n", User: "u-ann", Role: "admin", Number: 1}}, []Law{Gained}},
		{"ann gets the role admin, and admins.via is group", history.Settings{AdminRole: "boss", AdminVia: "group"}, false,
			[]any{history.Role{Holder: "ann", In: true}, begin, readRoles, history.SentRole{Node: "n", User: "u-ann", Role: "admin", Number: 1}}, []Law{Bounds, Gained}},
		{"bob gets the role admin, and is a superuser", history.Settings{AdminRole: "boss", AdminVia: "role"}, false,
			[]any{history.Role{Holder: "bob", In: true}, begin, readRoles, history.SentRole{Node: "n", User: "u-bob", Role: "admin", Number: 1}}, []Law{Kept}},
		{"the last administrator loses the role, and the floor is one", history.Settings{AdminRole: "boss", AdminVia: "role", Floor: 1}, false,
			[]any{history.User{ID: "u-ann", Kept: "ann", Email: "ann@example.com", Role: "admin", Keycloak: true}, history.Member{Group: history.AdminRole, User: "u-ann", In: true},
				begin, readRoles, history.SentRole{Node: "n", User: "u-ann", Role: "user", Number: 1}}, []Law{Floor}},
	} {
		t.Run(x.name, func(t *testing.T) {
			o, now := New(), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			o.Strict = x.strict
			var log []history.Entry
			for _, what := range slices.Concat(world(x.settings), x.then) {
				now = now.Add(time.Second)
				log = append(log, history.Entry{At: now, What: what})
			}
			o.Judge(log)
			var broken []Law
			for _, v := range o.Violations {
				broken = append(broken, v.Law)
			}
			if !slices.Equal(broken, x.broken) {
				t.Errorf("the oracle finds %q, want the laws %q", o.Violations, x.broken)
			}
		})
	}
}
