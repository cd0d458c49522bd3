package source

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	corp = Federation{ID: "f", Name: "corp", Enabled: true, Imports: true, Answered: true}
	hq   = Federation{ID: "h", Name: "hq", Enabled: true, Imports: true, Answered: true}
)

func TestMergeProbes(t *testing.T) {
	up := func(f Federation) Probe { return Probe{Federation: f, Up: true} }
	down := func(f Federation, why string) Probe { return Probe{Federation: f, Detail: why} }
	for _, tt := range []struct {
		name       string
		a, b, want []Probe
	}{
		{"up in both is up", []Probe{up(corp)}, []Probe{up(corp)}, []Probe{up(corp)}},
		{"not up in the first is not up", []Probe{down(corp, "status 500")}, []Probe{up(corp)}, []Probe{down(corp, "status 500")}},
		{"not up in the second is not up", []Probe{up(corp)}, []Probe{down(corp, "status 500")}, []Probe{down(corp, "status 500")}},
		{"of two reasons the first is kept", []Probe{down(corp, "one")}, []Probe{down(corp, "two")}, []Probe{down(corp, "one")}},
		{"each federation once, sorted by id", []Probe{up(hq)}, []Probe{up(corp)}, []Probe{up(corp), up(hq)}},
		{"nothing was probed", nil, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := slices.Clone(tt.a), slices.Clone(tt.b)
			if d := cmp.Diff(tt.want, mergeProbes(tt.a, tt.b)); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
			if cmp.Diff(a, tt.a)+cmp.Diff(b, tt.b) != "" {
				t.Error("mergeProbes changed its input")
			}
		})
	}
}

func TestBlocks(t *testing.T) {
	off, never := corp, corp
	off.Enabled, never.Answered = false, false
	vanished := off
	vanished.Vanished = true
	plain, own, foreign := []string{"11111111-2222-3333-4444-555555555555"}, []string{"f:f:ann"}, []string{"f:h:ann"}
	for _, tt := range []struct {
		name   string
		ids    []string
		probes []Probe
		want   string // the blocking federation
	}{
		{"a federation that is up blocks nobody", nil, []Probe{{Federation: corp, Up: true}}, ""},
		{"a federation that is away blocks people without a kept id", nil, []Probe{{Federation: corp}}, "corp"},
		{"a federation that is away blocks people with a plain id too", plain, []Probe{{Federation: corp}}, "corp"},
		{"a federation that is away blocks people with another federation's id", foreign, []Probe{{Federation: corp}}, "corp"},
		{"a federation that is switched off blocks people without a kept id", nil, []Probe{{Federation: off}}, "corp"},
		{"a federation that is switched off does not block a plain id", plain, []Probe{{Federation: off}}, ""},
		{"a federation that vanished during the pass blocks a plain id too", plain, []Probe{{Federation: vanished}}, "corp"},
		{"a federation that is switched off blocks an id of its own form", own, []Probe{{Federation: off}}, "corp"},
		{"a federation that is switched off does not block another one's id", foreign, []Probe{{Federation: off}}, ""},
		{"one id of its own form among several blocks", []string{"11111111-2222-3333-4444-555555555555", "f:f:ann"}, []Probe{{Federation: off}}, "corp"},
		{"a federation that never answered blocks people without a kept id", nil, []Probe{{Federation: never}}, "corp"},
		{"a federation that never answered does not block a plain id", plain, []Probe{{Federation: never}}, ""},
		{"a trusted federation blocks nobody", nil, []Probe{{Federation: corp, Trusted: true}}, ""},
		{"the result is the first federation that blocks", nil, []Probe{{Federation: corp, Up: true}, {Federation: hq}, {Federation: never}}, "hq"},
		{"without federations nothing blocks", nil, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, blocks := Blocks(Person{IDs: tt.ids}, tt.probes)
			if p.Federation.Name != tt.want || blocks != (tt.want != "") {
				t.Errorf("got %q, %v; want %q", p.Federation.Name, blocks, tt.want)
			}
		})
	}
}

func TestAwayNamesTheFederationsWhoseSilenceCounts(t *testing.T) {
	probes := []Probe{{Federation: corp, Up: true}, {Federation: hq}, {Federation: Federation{ID: "x", Name: "old"}, Trusted: true}}
	c := Confirmation{Probes: probes}
	if got := c.Away(); len(got) != 1 || got[0].Federation.Name != "hq" {
		t.Errorf("got %v", got)
	}
	if c.Probes[0].Federation.Name != "corp" || len(c.Probes) != 3 {
		t.Errorf("Away changed the probes: %v", c.Probes)
	}
}

// weighing returns the realm that the rows of TestWeigh share, and a function that returns
// its groups by name. The groups are dev, devops, qa, team and a\b, all at the top. The name
// "devops" contains "dev".
func weighing(t *testing.T) (catalog Catalog, group func(names ...string) []Group) {
	var groups []Group
	for _, n := range []string{"dev", "devops", "qa", "team", `a\b`} {
		groups = append(groups, Group{ID: n, Name: n})
	}
	catalog = mustCatalog(t, groups...)
	return catalog, func(names ...string) (found []Group) {
		for _, n := range names {
			g, ok := catalog.Group(n)
			if !ok {
				t.Fatalf("no group %s", n)
			}
			found = append(found, g)
		}
		return found
	}
}

func TestWeigh(t *testing.T) {
	catalog, group := weighing(t)
	ann, lea := User{ID: "ann", Enabled: true}, User{ID: "lea", Enabled: true, Federation: "f"}
	bob := User{ID: "bob", Enabled: true}
	off := func(u User) User { u.Enabled = false; return u }
	read := func(u User) map[string]Account { return map[string]Account{u.ID: {Found: true, User: u}} }
	lists := func(group string, users ...User) map[string][]User { return map[string][]User{group: users} }
	own := func(name string, o Own) map[OwnKey]Own { return map[OwnKey]Own{{"lea", name}: o} }
	holders := func(users ...User) map[string]*RoleHolders {
		return map[string]*RoleHolders{"boss": {Found: true, Direct: users}}
	}
	byQA := map[string]*RoleHolders{"boss": {Name: "boss", Found: true, Groups: []string{"qa"}}}
	held := func(user string, is bool) map[Held]bool { return map[Held]bool{{user, "boss"}: is} }
	up := []Probe{{Federation: corp, Up: true}}
	down := []Probe{{Federation: corp, Detail: "status 500"}}

	remove := func(u ...User) Question { return Question{Accounts: u, Sources: group("team")} }
	grant := func(u ...User) Question { return Question{Grant: true, Accounts: u, Sources: group("team")} }
	with := func(q Question, change func(*Question)) Question { change(&q); return q }
	by := func(g GoneBy) func(*Question) { return func(q *Question) { q.GoneBy = g } }
	from := func(names ...string) func(*Question) { return func(q *Question) { q.Sources = group(names...) } }
	role := func(q *Question) { q.Role = "boss" }
	onlyRole := func(q *Question) { q.Role, q.Sources = "boss", nil }

	for _, tt := range []struct {
		name   string
		ask    Question
		found  *Found // result of the look-up; nil: the person was not looked up
		probed []Probe
		second SecondLook

		why      Why
		evidence string
		waits    bool
		byEmail  bool

		denial     Denial
		doubt      string
		federation string
		stale      bool
		enabled    bool
	}{
		// Removals of a local person: not_member.
		{name: "a local leaver is in none of the sources at the second read", ask: remove(ann), second: SecondLook{Members: lists("team", bob)},
			why: NotMember, evidence: "read twice: not in the one Keycloak group"},
		{name: "a local leaver of several sources", ask: with(remove(ann), from("team", "qa")), second: SecondLook{Members: map[string][]User{"team": nil, "qa": {bob}}},
			why: NotMember, evidence: "read twice: in none of 2 Keycloak groups"},
		{name: "one of the sources was not read again", ask: with(remove(ann), from("team", "qa")), second: SecondLook{Members: lists("team")},
			denial: Unclear, doubt: "the members of the Keycloak group /qa were not read a second time"},
		{name: "the second read lists a local person", ask: remove(ann), second: SecondLook{Members: lists("team", bob, ann)},
			denial: Unclear, doubt: "the second read of the Keycloak group /team lists the account"},
		{name: "a local account that was deleted meanwhile is in no list either", ask: remove(ann), second: SecondLook{Members: lists("team"), Accounts: map[string]Account{"ann": {}}},
			denial: Unclear, doubt: "the second look finds no such account"},
		{name: "the second look did not read the local account by its id", ask: remove(ann), second: SecondLook{Members: lists("team"), Accounts: map[string]Account{}},
			denial: Unclear, doubt: "the account was not read a second time"},
		{name: "the denial says why the local account could not be read", ask: remove(ann), second: SecondLook{Members: lists("team"), Accounts: map[string]Account{}, Failed: map[string]string{"ann": "status 500"}},
			denial: Unclear, doubt: "the account was not read a second time: status 500"},
		{name: "a local account became federated between the reads", ask: remove(ann), second: SecondLook{Members: lists("team"), Accounts: map[string]Account{"ann": {Found: true, User: User{ID: "ann", Enabled: true, Federation: "f"}}}},
			denial: Unclear, doubt: "the first read shows the account as local, and the second look finds it in a federation, so the account's own side was not read"},
		{name: "an outage of a federation does not stop the removal of a local person", ask: remove(ann), second: SecondLook{Members: lists("team"), Probes: down},
			why: NotMember, evidence: "read twice: not in the one Keycloak group"},

		// Removals of a federated person: not_member.
		{name: "a federated leaver whose count is 0 is out, and waits", ask: remove(lea), second: SecondLook{Members: lists("team"), Probes: up, Own: own("team", Own{})},
			why: NotMember, evidence: "read twice: not in the one Keycloak group, on the account's own side too", waits: true},
		{name: "the list hides a federated member whom the own side has", ask: remove(lea), second: SecondLook{Members: lists("team"), Probes: up, Own: own("team", Own{Count: 1})},
			denial: HiddenByList, doubt: `Keycloak's list of the group does not show the account, but the account's own side holds the group "team"`},
		{name: "the own side of a federated person was not read", ask: remove(lea), second: SecondLook{Members: lists("team"), Probes: up},
			denial: Unclear, doubt: `the account's own side was not read for the group "team"`},
		{name: "the denial says why the own side could not be read", ask: remove(lea), second: SecondLook{Members: lists("team"), Probes: up, Failed: map[string]string{"lea": "status 500", "bob": "status 403"}},
			denial: Unclear, doubt: `the account's own side was not read for the group "team": status 500`},
		{name: "the federation is not up", ask: remove(lea), second: SecondLook{Members: lists("team"), Probes: down, Own: own("team", Own{})},
			denial: Away, doubt: "the federation corp is not up: status 500", federation: "f"},
		{name: "a federation without a name is named by its id", ask: remove(lea), second: SecondLook{Members: lists("team"), Probes: []Probe{{Federation: Federation{ID: "f"}, Detail: "status 500"}}, Own: own("team", Own{})},
			denial: Away, doubt: "the federation f is not up: status 500", federation: "f"},
		{name: "the federation was not probed", ask: remove(lea), second: SecondLook{Members: lists("team"), Probes: []Probe{{Federation: hq, Up: true}}, Own: own("team", Own{})},
			denial: Away, doubt: "the federation with the id f was not probed", federation: "f"},
		{name: "an outage of a trusted federation does not stop the removal", ask: remove(lea), second: SecondLook{Members: lists("team"), Probes: []Probe{{Federation: corp, Trusted: true}}, Own: own("team", Own{})},
			why: NotMember, evidence: "read twice: not in the one Keycloak group, on the account's own side too", waits: true},
		{name: "an outage of another federation does not stop the removal", ask: remove(lea), probed: []Probe{{Federation: hq}}, second: SecondLook{Members: lists("team"), Probes: up, Own: own("team", Own{})},
			why: NotMember, evidence: "read twice: not in the one Keycloak group, on the account's own side too", waits: true},
		{name: "the own side must have answered for the name of every source", ask: with(remove(lea), from("team", "qa")), second: SecondLook{Members: map[string][]User{"team": nil, "qa": nil}, Probes: up, Own: own("qa", Own{})},
			denial: Unclear, doubt: `the account's own side was not read for the group "team"`},

		// Ties: the names of other groups contain the name.
		{name: "a count of 0 is exact where names overlap", ask: with(remove(lea), from("dev")), second: SecondLook{Members: lists("dev"), Probes: up, Own: own("dev", Own{})},
			why: NotMember, evidence: "read twice: not in the one Keycloak group, on the account's own side too", waits: true},
		{name: "a tie: the own list holds the group", ask: with(remove(lea), from("dev")), second: SecondLook{Members: lists("dev"), Probes: up, Own: own("dev", Own{Count: 1, Asked: true, Cached: []string{"dev", "qa"}})},
			denial: HiddenByList, doubt: `Keycloak's list of the group does not show the account, but the account's own side holds the group "dev"`},
		{name: "a tie: the own list lacks the group, and its other groups make up the count", ask: with(remove(lea), from("dev")), second: SecondLook{Members: lists("dev"), Probes: up, Own: own("dev", Own{Count: 1, Asked: true, Cached: []string{"devops", "qa"}})},
			why: NotMember, evidence: "read twice: not in the one Keycloak group, on the account's own side too", waits: true},
		{name: "a tie: the own list lacks the group, and the count is higher: the cache is too old", ask: with(remove(lea), from("dev")), second: SecondLook{Members: lists("dev"), Probes: up, Own: own("dev", Own{Count: 2, Asked: true, Cached: []string{"devops"}})},
			denial: Unclear, doubt: `the names of other groups contain "dev", and Keycloak's user cache is too old to tell which of them the account has; a periodic sync of changed users or clearing the user cache refreshes it`, stale: true},
		{name: "a tie: the own list lacks the group, and the count is lower: the cache is too old", ask: with(remove(lea), from("dev")), second: SecondLook{Members: lists("dev"), Probes: up, Own: own("dev", Own{Count: 1, Asked: true, Cached: nil})},
			denial: Unclear, doubt: `the names of other groups contain "dev", and Keycloak's user cache is too old to tell which of them the account has; a periodic sync of changed users or clearing the user cache refreshes it`, stale: true},
		{name: "a tie: the own list was not asked for", ask: with(remove(lea), from("dev")), second: SecondLook{Members: lists("dev"), Probes: up, Own: own("dev", Own{Count: 1}), Failed: map[string]string{"lea": "status 500"}},
			denial: Unclear, doubt: `Keycloak's count of the account's groups with "dev" in the name does not decide, because it can include other groups; the list of the account's groups was not read: status 500`},
		{name: "a tie: the own list holds the group, and the cache is seen to be old", ask: with(remove(lea), from("dev")), second: SecondLook{Members: lists("dev"), Probes: up, Own: own("dev", Own{Count: 1, Asked: true, Cached: []string{"dev", "devops"}})},
			denial: HiddenByList, doubt: `Keycloak's list of the group does not show the account, but the account's own side holds the group "dev"`, stale: true},
		{name: "no tie where every group of such a name is a source", ask: with(remove(lea), from("dev", "devops")), second: SecondLook{Members: map[string][]User{"dev": nil, "devops": nil}, Probes: up, Own: own("dev", Own{Count: 1})},
			denial: HiddenByList, doubt: `Keycloak's list of the group does not show the account, but the account's own side holds the group "dev"`},
		{name: "a name with a backslash: 0 decides nothing without the own list", ask: with(remove(lea), from(`a\b`)), second: SecondLook{Members: lists(`a\b`), Probes: up, Own: own(`a\b`, Own{})},
			denial: Unclear, doubt: `Keycloak's count of the account's groups with "a\\b" in the name does not decide, because it can include other groups; the list of the account's groups was not read`},
		{name: "a name with a backslash: the own list lacks the group", ask: with(remove(lea), from(`a\b`)), second: SecondLook{Members: lists(`a\b`), Probes: up, Own: own(`a\b`, Own{Asked: true, Cached: []string{"qa"}})},
			why: NotMember, evidence: "read twice: not in the one Keycloak group, on the account's own side too", waits: true},
		{name: "a name with a backslash: the own list holds the group", ask: with(remove(lea), from(`a\b`)), second: SecondLook{Members: lists(`a\b`), Probes: up, Own: own(`a\b`, Own{Asked: true, Cached: []string{`a\b`}})},
			denial: HiddenByList, doubt: `Keycloak's list of the group does not show the account, but the account's own side holds the group "a\\b"`, stale: true},
		{name: "the cache is seen to be old, and the count decides", ask: remove(lea), second: SecondLook{Members: lists("team"), Probes: up, Own: own("team", Own{Asked: true, Cached: []string{"team"}})},
			why: NotMember, evidence: "read twice: not in the one Keycloak group, on the account's own side too", waits: true, stale: true},

		// Removals: disabled.
		{name: "a local account is disabled in the database", ask: remove(off(ann)), second: SecondLook{Accounts: read(off(ann)), DisabledDB: map[string]bool{"ann": true}},
			why: Disabled, evidence: "read twice: the account is disabled, in Keycloak's own database too"},
		{name: "a local account is disabled, but not in the database: the removal waits", ask: remove(off(ann)), second: SecondLook{Accounts: read(off(ann)), DisabledDB: map[string]bool{"bob": true}},
			why: Disabled, evidence: "read twice: the account is disabled, but not in Keycloak's database (Keycloak shows the members of an organization that is switched off as disabled)", waits: true},
		{name: "a federated account is disabled in the database", ask: remove(off(lea)), second: SecondLook{Accounts: read(off(lea)), DisabledDB: map[string]bool{"lea": true}, Probes: up},
			why: Disabled, evidence: "read twice: the account is disabled, in Keycloak's own database too"},
		{name: "the federation disables the account, and the removal waits", ask: remove(off(lea)), second: SecondLook{Accounts: read(off(lea)), Probes: up},
			why: Disabled, evidence: "read twice: the federation disables the account, but Keycloak's database does not", waits: true},
		{name: "a disabled local account became federated between the reads", ask: remove(off(ann)), second: SecondLook{Accounts: map[string]Account{"ann": {Found: true, User: User{ID: "ann", Federation: "f"}}}},
			why: Disabled, evidence: "read twice: the federation disables the account, but Keycloak's database does not", waits: true},
		{name: "the federation of a disabled account is not up", ask: remove(off(lea)), second: SecondLook{Accounts: read(off(lea)), DisabledDB: map[string]bool{"lea": true}, Probes: down},
			denial: Away, doubt: "the federation corp is not up: status 500", federation: "f"},
		{name: "a disabled account is enabled again", ask: remove(off(ann)), second: SecondLook{Accounts: read(ann)},
			denial: Unclear, doubt: "the second look finds the account enabled", enabled: true},
		{name: "a disabled account is gone meanwhile", ask: remove(off(ann)), second: SecondLook{Accounts: map[string]Account{"ann": {}}},
			denial: Unclear, doubt: "the second look finds no such account"},
		{name: "a disabled account was not read again", ask: remove(off(ann)), second: SecondLook{Accounts: read(bob)},
			denial: Unclear, doubt: "the account was not read a second time"},

		// Removals: gone.
		{name: "neither the kept id nor the email is in the realm", ask: with(remove(), by(ByID)), found: &Found{Person: Person{Email: "a@x"}},
			why: Gone, evidence: "looked up: Keycloak has neither the id that ClearML keeps nor the email"},
		{name: "neither the kept id nor the email is in a realm with federations: the removal waits", ask: with(remove(), by(ByID)), found: &Found{Person: Person{Email: "a@x"}}, second: SecondLook{Federated: true},
			why: Gone, evidence: "looked up: Keycloak has neither the id that ClearML keeps nor the email", waits: true},
		{name: "ClearML keeps no account id, and the email is not in the realm", ask: with(remove(), by(ByEmail)), found: &Found{Person: Person{Email: "a@x"}},
			why: Gone, evidence: "looked up: no account has the email; ClearML keeps no account id, so the person is judged by the email only", byEmail: true},
		{name: "the person was not looked up", ask: with(remove(), by(ByEmail)), denial: Unclear, doubt: "the person was not looked up in Keycloak"},
		{name: "the look-up is in doubt", ask: with(remove(), by(ByID)), found: &Found{Person: Person{Email: "a@x"}, Doubt: "Keycloak did not answer about the person in time"},
			denial: Unclear, doubt: "Keycloak did not answer about the person in time"},
		{name: "a federation that may have the person is away", ask: with(remove(), by(ByID)), found: &Found{Person: Person{Email: "a@x"}, Doubt: "the federation corp is not up", Away: "f"},
			denial: Away, doubt: "the federation corp is not up", federation: "f"},
		{name: "a person without an email", ask: with(remove(), by(ByID)), found: &Found{},
			denial: Unclear, doubt: "the person has no email, so groupsync cannot tell whether the person is gone"},
		{name: "the look-up finds an account with the kept id", ask: with(remove(), by(ByID)), found: &Found{Person: Person{Email: "a@x"}, ByID: true},
			denial: Unclear, doubt: "the look-up finds the account whose id ClearML keeps"},
		{name: "the look-up finds an account that the question does not name", ask: with(remove(), by(ByEmail)), found: &Found{Person: Person{Email: "a@x"}, Accounts: []User{ann}},
			denial: Unclear, doubt: "the look-up finds another account with the email, and the plan does not name that account"},

		// Several accounts, and rekeyed people.
		{name: "each of two accounts is out", ask: remove(ann, off(bob)), second: SecondLook{Members: lists("team"), Accounts: map[string]Account{"ann": {Found: true, User: ann}, "bob": {Found: true, User: off(bob)}}, DisabledDB: map[string]bool{"bob": true}},
			why: NotMember, evidence: "none of the 2 accounts that could be this person belongs in the user group: read twice: not in the one Keycloak group; read twice: the account is disabled, in Keycloak's own database too"},
		{name: "one of two accounts is in", ask: remove(ann, bob), second: SecondLook{Members: lists("team", bob)},
			denial: Unclear, doubt: "the second read of the Keycloak group /team lists the account"},
		{name: "one of two accounts waits, so the removal waits", ask: remove(ann, lea), second: SecondLook{Members: lists("team"), Probes: up, Own: own("team", Own{})},
			why: NotMember, evidence: "none of the 2 accounts that could be this person belongs in the user group: read twice: not in the one Keycloak group; read twice: not in the one Keycloak group, on the account's own side too", waits: true},
		{name: "the other of two accounts waits, so the removal waits", ask: remove(lea, ann), second: SecondLook{Members: lists("team"), Probes: up, Own: own("team", Own{})},
			why: NotMember, evidence: "none of the 2 accounts that could be this person belongs in the user group: read twice: not in the one Keycloak group, on the account's own side too; read twice: not in the one Keycloak group", waits: true},
		{name: "the cache of one of two accounts is old", ask: remove(lea, ann), second: SecondLook{Members: lists("team"), Probes: up, Own: own("team", Own{Asked: true, Cached: []string{"team"}})},
			why: NotMember, evidence: "none of the 2 accounts that could be this person belongs in the user group: read twice: not in the one Keycloak group, on the account's own side too; read twice: not in the one Keycloak group", waits: true, stale: true},
		{name: "rekeyed: the kept id is gone, and the account with the email is out", ask: with(remove(ann), by(ByID)), found: &Found{Person: Person{Email: "a@x"}, Accounts: []User{ann}}, second: SecondLook{Members: lists("team")},
			why: NotMember, evidence: "none of the 2 accounts that could be this person belongs in the user group: read twice: not in the one Keycloak group; looked up: Keycloak no longer has the id that ClearML keeps"},
		{name: "rekeyed, in a realm with federations: the removal waits", ask: with(remove(ann), by(ByID)), found: &Found{Person: Person{Email: "a@x"}, Accounts: []User{ann}}, second: SecondLook{Members: lists("team"), Federated: true},
			why: NotMember, evidence: "none of the 2 accounts that could be this person belongs in the user group: read twice: not in the one Keycloak group; looked up: Keycloak no longer has the id that ClearML keeps", waits: true},
		{name: "rekeyed: the account with the email is in", ask: with(remove(ann), by(ByID)), found: &Found{Person: Person{Email: "a@x"}, Accounts: []User{ann}}, second: SecondLook{Members: lists("team", ann)},
			denial: Unclear, doubt: "the second read of the Keycloak group /team lists the account"},
		{name: "rekeyed: the look-up is in doubt", ask: with(remove(ann), by(ByID)), found: &Found{Person: Person{Email: "a@x"}, Doubt: "status 500"}, second: SecondLook{Members: lists("team")},
			denial: Unclear, doubt: "status 500"},
		{name: "a removal by email is marked, even if an account is out too", ask: with(remove(ann), by(ByEmail)), found: &Found{Person: Person{Email: "a@x"}, Accounts: []User{ann}}, second: SecondLook{Members: lists("team")},
			why: NotMember, evidence: "none of the 2 accounts that could be this person belongs in the user group: read twice: not in the one Keycloak group; looked up: no account has the email; ClearML keeps no account id, so the person is judged by the email only", byEmail: true},
		{name: "a removal without an account and without a gone person is denied", ask: remove(), denial: Unclear, doubt: "the plan names no account that could be this person"},
		{name: "a removal without a source is denied", ask: Question{Accounts: []User{ann}}, denial: Unclear, doubt: "the plan names no Keycloak group and no role that feeds the user group"},

		// Removals: roles.
		{name: "without the role, and in no group", ask: with(remove(ann), role), second: SecondLook{Members: lists("team"), Roles: holders(bob), Effective: held("ann", false)},
			why: NotMember, evidence: "read twice: not in the one Keycloak group, and without the role boss"},
		{name: "without the role, and in none of several groups", ask: with(with(remove(ann), role), from("team", "qa")), second: SecondLook{Members: map[string][]User{"team": nil, "qa": nil}, Roles: holders(), Effective: held("ann", false)},
			why: NotMember, evidence: "read twice: in none of 2 Keycloak groups, and without the role boss"},
		{name: "only the role feeds the group", ask: with(remove(ann), onlyRole), second: SecondLook{Roles: holders(), Effective: held("ann", false)},
			why: NotMember, evidence: "read twice: without the role boss"},
		{name: "a federated person without the role waits", ask: with(remove(lea), onlyRole), second: SecondLook{Probes: up, Roles: holders(), Effective: held("lea", false)},
			why: NotMember, evidence: "read twice: without the role boss, on the account's own side too", waits: true},
		{name: "the holders were not read again", ask: with(remove(ann), onlyRole), second: SecondLook{Effective: held("ann", false)},
			denial: Unclear, doubt: "the holders of the role boss were not read a second time"},
		{name: "the role is gone at the second look", ask: with(remove(ann), onlyRole), second: SecondLook{Roles: map[string]*RoleHolders{"boss": {}}, Effective: held("ann", false)},
			denial: Unclear, doubt: "the holders of the role boss were not read a second time"},
		{name: "a group that gives the role was not read again", ask: with(remove(ann), onlyRole), second: SecondLook{Roles: map[string]*RoleHolders{"boss": {Found: true, Groups: []string{"qa"}}}, Effective: held("ann", false)},
			denial: Unclear, doubt: "the members of a group that gives the role boss were not read a second time"},
		{name: "the second read lists a direct holder", ask: with(remove(ann), onlyRole), second: SecondLook{Roles: holders(ann), Effective: held("ann", false)},
			denial: Unclear, doubt: "the second read of the holders of the role boss lists the account"},
		{name: "the second read lists a holder by group", ask: with(remove(ann), onlyRole), second: SecondLook{Roles: map[string]*RoleHolders{"boss": {Found: true, Groups: []string{"qa"}}}, Members: lists("qa", ann), Effective: held("ann", false)},
			denial: Unclear, doubt: "the second read of the holders of the role boss lists the account"},
		{name: "the effective roles were not read", ask: with(remove(ann), onlyRole), second: SecondLook{Roles: holders(), Failed: map[string]string{"ann": "status 403"}},
			denial: Unclear, doubt: "the roles that the account holds in effect were not read: status 403"},
		{name: "a local account holds the role in effect", ask: with(remove(ann), onlyRole), second: SecondLook{Roles: holders(), Effective: held("ann", true)},
			denial: Unclear, doubt: "the account holds the role boss in effect; if the role was taken away, Keycloak's user cache is old: clearing the user cache refreshes it"},
		{name: "a local account holds the role in effect, perhaps through a role that the reader may not see", ask: with(remove(ann), onlyRole), second: SecondLook{Roles: map[string]*RoleHolders{"boss": {Found: true, Partial: true}}, Effective: held("ann", true)},
			denial: Unclear, doubt: "the account holds the role boss in effect, perhaps through a client's role. groupsync cannot read the clients' roles. Give the service account of keycloak.client_id the role view-clients"},
		{name: "a local account does not hold the role in effect, whatever the reader may see", ask: with(remove(ann), onlyRole), second: SecondLook{Roles: map[string]*RoleHolders{"boss": {Found: true, Partial: true}}, Effective: held("ann", false)},
			why: NotMember, evidence: "read twice: without the role boss"},
		{name: "a federated account holds the role in effect", ask: with(remove(lea), onlyRole), second: SecondLook{Probes: up, Roles: holders(), Effective: held("lea", true)},
			denial: HiddenByList, doubt: "Keycloak's list of holders does not show the account, but the account holds the role boss in effect; if the role was taken away, Keycloak's user cache is old: a periodic sync of changed users or clearing the user cache refreshes it", stale: true},

		{name: "the list hides a federated account whose group gives the role, and the cache is old", ask: with(remove(lea), onlyRole), second: SecondLook{Probes: up, Roles: byQA, Members: lists("qa"), Own: own("qa", Own{Count: 1}), Effective: held("lea", false)},
			denial: HiddenByList, doubt: "Keycloak's list of holders does not show the account, but the account's own side holds a group that gives the role boss"},
		{name: "a federated account is in none of the groups that give the role", ask: with(remove(lea), onlyRole), second: SecondLook{Probes: up, Roles: byQA, Members: lists("qa"), Own: own("qa", Own{}), Effective: held("lea", false)},
			why: NotMember, evidence: "read twice: without the role boss, on the account's own side too", waits: true},
		{name: "the groups of a federated account that give the role were not counted", ask: with(remove(lea), onlyRole), second: SecondLook{Probes: up, Roles: byQA, Members: lists("qa"), Effective: held("lea", false), Failed: map[string]string{"lea": "status 500"}},
			denial: Unclear, doubt: `the account's own side was not read for the group "qa": status 500`},
		{name: "a group that gives the role is new", ask: with(remove(lea), onlyRole), second: SecondLook{Probes: up, Roles: map[string]*RoleHolders{"boss": {Name: "boss", Found: true, Groups: []string{"new"}}}, Members: lists("new"), Effective: held("lea", false)},
			denial: Unclear, doubt: "a group that gives the role boss was made while the pass read"},

		// Grants by group.
		{name: "both reads list a local joiner", ask: grant(ann), second: SecondLook{Members: lists("team", bob, ann)},
			why: Member, evidence: "read twice"},
		{name: "an account listed twice in one answer is a member", ask: grant(ann), second: SecondLook{Members: lists("team", ann, ann)},
			why: Member, evidence: "read twice"},
		{name: "an outage of a federation does not stop the grant to a local person", ask: grant(ann), second: SecondLook{Members: lists("team", ann), Probes: down},
			why: Member, evidence: "read twice"},
		{name: "the second read does not list the joiner", ask: grant(ann), second: SecondLook{Members: lists("team", bob)},
			denial: Unclear, doubt: "the second read of the Keycloak group /team does not list the account"},
		{name: "the group of a joiner was not read again", ask: grant(ann), second: SecondLook{Members: lists("qa", ann)},
			denial: Unclear, doubt: "the members of the Keycloak group /team were not read a second time"},
		{name: "the joiner was disabled meanwhile", ask: grant(ann), second: SecondLook{Members: lists("team", off(ann))},
			denial: Unclear, doubt: "the second read finds the account disabled"},
		{name: "the own side of a federated joiner has the group", ask: grant(lea), second: SecondLook{Members: lists("team", lea), Probes: up, Own: own("team", Own{Count: 1})},
			why: Member, evidence: "read twice, on the account's own side too"},
		{name: "only the list shows a federated joiner", ask: grant(lea), second: SecondLook{Members: lists("team", lea), Probes: up, Own: own("team", Own{})},
			denial: OnlyInList, doubt: "Keycloak's list of the group /team shows the account, but the account's own side does not hold the group"},
		{name: "the own side of a federated joiner was not read", ask: grant(lea), second: SecondLook{Members: lists("team", lea), Probes: up},
			denial: Unclear, doubt: `the account's own side was not read for the group "team"`},
		{name: "the federation of a joiner is not up", ask: grant(lea), second: SecondLook{Members: lists("team", lea), Probes: down, Own: own("team", Own{Count: 1})},
			denial: Away, doubt: "the federation corp is not up: status 500", federation: "f"},
		{name: "the federation of a joiner was not probed", ask: grant(lea), second: SecondLook{Members: lists("team", lea), Own: own("team", Own{Count: 1})},
			denial: Away, doubt: "the federation with the id f was not probed", federation: "f"},
		{name: "a tie: a joiner's own list has another group of such a name only", ask: with(grant(lea), from("dev")), second: SecondLook{Members: lists("dev", lea), Probes: up, Own: own("dev", Own{Count: 1, Asked: true, Cached: []string{"devops"}})},
			denial: OnlyInList, doubt: "Keycloak's list of the group /dev shows the account, but the account's own side does not hold the group"},
		{name: "a tie: a joiner's own list has the group", ask: with(grant(lea), from("dev")), second: SecondLook{Members: lists("dev", lea), Probes: up, Own: own("dev", Own{Count: 2, Asked: true, Cached: []string{"dev", "devops"}})},
			why: Member, evidence: "read twice, on the account's own side too"},
		{name: "a tie: a joiner's own list was not asked for", ask: with(grant(lea), from("dev")), second: SecondLook{Members: lists("dev", lea), Probes: up, Own: own("dev", Own{Count: 1})},
			denial: Unclear, doubt: `Keycloak's count of the account's groups with "dev" in the name does not decide, because it can include other groups; the list of the account's groups was not read`},
		{name: "a tie: the cache is too old to tell", ask: with(grant(lea), from("dev")), second: SecondLook{Members: lists("dev", lea), Probes: up, Own: own("dev", Own{Count: 2, Asked: true, Cached: []string{"devops"}})},
			denial: Unclear, doubt: `the names of other groups contain "dev", and Keycloak's user cache is too old to tell which of them the account has; a periodic sync of changed users or clearing the user cache refreshes it`, stale: true},
		{name: "a name with a backslash: a count may be of a name without it", ask: with(grant(lea), from(`a\b`)), second: SecondLook{Members: lists(`a\b`, lea), Probes: up, Own: own(`a\b`, Own{Count: 1})},
			denial: Unclear, doubt: `Keycloak's count of the account's groups with "a\\b" in the name does not decide, because it can include other groups; the list of the account's groups was not read`},
		{name: "the own side has the second of two sources", ask: with(grant(lea), from("qa", "team")), second: SecondLook{Members: map[string][]User{"qa": {lea}, "team": {lea}}, Probes: up, Own: map[OwnKey]Own{{"lea", "qa"}: {}, {"lea", "team"}: {Count: 1}}},
			why: Member, evidence: "read twice, on the account's own side too"},
		{name: "the own side is unclear for the first source and lacks the second: the grant is unclear", ask: with(grant(lea), from("qa", "team")), second: SecondLook{Members: map[string][]User{"qa": {lea}, "team": {lea}}, Probes: up, Own: own("team", Own{})},
			denial: Unclear, doubt: `the account's own side was not read for the group "qa"`},
		{name: "the own side lacks the first source and is unclear for the second: the grant is unclear", ask: with(grant(lea), from("qa", "team")), second: SecondLook{Members: map[string][]User{"qa": {lea}, "team": {lea}}, Probes: up, Own: own("qa", Own{})},
			denial: Unclear, doubt: `the account's own side was not read for the group "team"`},
		{name: "one list shows the account wrongly, and another hides it: the own side has the second group", ask: with(grant(lea), from("qa", "team")), second: SecondLook{Members: map[string][]User{"qa": {lea}, "team": {}}, Probes: up, Own: map[OwnKey]Own{{"lea", "qa"}: {}, {"lea", "team"}: {Count: 1}}},
			why: Member, evidence: "read twice, on the account's own side too"},
		{name: "one list shows the account, and the own side has none of the groups", ask: with(grant(lea), from("qa", "team")), second: SecondLook{Members: map[string][]User{"qa": {}, "team": {lea}}, Probes: up, Own: map[OwnKey]Own{{"lea", "qa"}: {}, {"lea", "team"}: {}}},
			denial: OnlyInList, doubt: "Keycloak's list of the group /team shows the account, but the account's own side holds none of the 2 groups that feed the user group"},
		{name: "one list shows the account, and the cache is old for one of the two names", ask: with(grant(lea), from("dev", "team")), second: SecondLook{Members: map[string][]User{"dev": {}, "team": {lea}}, Probes: up, Own: map[OwnKey]Own{{"lea", "dev"}: {Asked: true, Cached: []string{"dev"}}, {"lea", "team"}: {}}},
			denial: OnlyInList, doubt: "Keycloak's list of the group /team shows the account, but the account's own side holds none of the 2 groups that feed the user group", stale: true},
		{name: "no list of the second read shows a joiner whose own side has the group", ask: with(grant(lea), from("qa", "team")), second: SecondLook{Members: map[string][]User{"qa": {}, "team": {}}, Probes: up, Own: map[OwnKey]Own{{"lea", "qa"}: {Count: 1}, {"lea", "team"}: {}}},
			denial: Unclear, doubt: "the second read of 2 Keycloak groups lists the account in none of them"},
		{name: "a local joiner is in the second of two groups", ask: with(grant(ann), from("qa", "team")), second: SecondLook{Members: map[string][]User{"qa": {bob}, "team": {ann}}},
			why: Member, evidence: "read twice"},
		{name: "a grant needs one account, not none", ask: grant(), denial: Unclear, doubt: "a grant needs exactly one account, but the plan names 0"},
		{name: "a grant needs one account, not two", ask: grant(ann, bob), second: SecondLook{Members: lists("team", ann, bob)}, denial: Unclear, doubt: "a grant needs exactly one account, but the plan names 2"},
		{name: "a grant without a source is denied", ask: Question{Grant: true, Accounts: []User{ann}}, denial: Unclear, doubt: "the plan names no Keycloak group and no role that feeds the user group"},

		// Grants by role.
		{name: "a holder of the role, in effect too", ask: with(grant(ann), onlyRole), second: SecondLook{Roles: holders(ann), Effective: held("ann", true)},
			why: Member, evidence: "read twice, and the account holds the role in effect"},
		{name: "a holder by group, in effect too", ask: with(grant(ann), onlyRole), second: SecondLook{Roles: map[string]*RoleHolders{"boss": {Found: true, Groups: []string{"qa"}}}, Members: lists("qa", ann), Effective: held("ann", true)},
			why: Member, evidence: "read twice, and the account holds the role in effect"},
		{name: "the second read does not list the holder", ask: with(grant(ann), onlyRole), second: SecondLook{Roles: holders(bob), Effective: held("ann", true)},
			denial: Unclear, doubt: "the second read of the holders of the role boss does not list the account"},
		{name: "the role is gone meanwhile", ask: with(grant(ann), onlyRole), second: SecondLook{Roles: map[string]*RoleHolders{"boss": {Direct: []User{ann}}}, Effective: held("ann", true)},
			denial: Unclear, doubt: "the second read of the holders of the role boss does not list the account"},
		{name: "the holder was disabled meanwhile", ask: with(grant(ann), onlyRole), second: SecondLook{Roles: holders(off(ann)), Effective: held("ann", true)},
			denial: Unclear, doubt: "the second read finds the account disabled"},
		{name: "the holder by group was disabled meanwhile", ask: with(grant(ann), onlyRole), second: SecondLook{Roles: map[string]*RoleHolders{"boss": {Found: true, Groups: []string{"qa"}}}, Members: lists("qa", off(ann)), Effective: held("ann", true)},
			denial: Unclear, doubt: "the second read finds the account disabled"},
		{name: "a local holder does not hold the role in effect", ask: with(grant(ann), onlyRole), second: SecondLook{Roles: holders(ann), Effective: held("ann", false)},
			denial: Unclear, doubt: "the account does not hold the role boss in effect; if the role was given just now, Keycloak's user cache is old"},
		{name: "a federated holder does not hold the role in effect", ask: with(grant(lea), onlyRole), second: SecondLook{Probes: up, Roles: holders(lea), Effective: held("lea", false)},
			denial: OnlyInList, doubt: "Keycloak's list of holders shows the account, but the account does not hold the role boss in effect", stale: true},
		{name: "the effective roles of a holder were not read", ask: with(grant(ann), onlyRole), second: SecondLook{Roles: holders(ann), Failed: map[string]string{"ann": "status 500"}},
			denial: Unclear, doubt: "the roles that the account holds in effect were not read: status 500"},
		{name: "a federated holder by group, in effect and by the fresh count", ask: with(grant(lea), onlyRole), second: SecondLook{Probes: up, Roles: byQA, Members: lists("qa", lea), Own: own("qa", Own{Count: 1}), Effective: held("lea", true)},
			why: Member, evidence: "read twice, and the account holds the role in effect"},
		{name: "a federated holder by group and in effect, whom the fresh count does not show", ask: with(grant(lea), onlyRole), second: SecondLook{Probes: up, Roles: byQA, Members: lists("qa", lea), Own: own("qa", Own{}), Effective: held("lea", true)},
			denial: Unclear, doubt: "the account holds the role boss in effect, but by a fresh count it is in none of the groups that give the role; Keycloak's user cache is old: a periodic sync of changed users or clearing the user cache refreshes it", stale: true},
		{name: "the groups of a federated holder were not counted", ask: with(grant(lea), onlyRole), second: SecondLook{Probes: up, Roles: byQA, Members: lists("qa", lea), Effective: held("lea", true)},
			denial: Unclear, doubt: `the account's own side was not read for the group "qa"`},
		{name: "the own side lacks the group, and the account holds the role", ask: with(grant(lea), role), second: SecondLook{Members: lists("team", lea), Probes: up, Own: own("team", Own{}), Roles: holders(lea), Effective: held("lea", true)},
			why: Member, evidence: "read twice, and the account holds the role in effect"},
		{name: "group and role both show the account, and the own side has neither", ask: with(grant(lea), role), second: SecondLook{Members: lists("team", lea), Probes: up, Own: own("team", Own{}), Roles: holders(lea), Effective: held("lea", false)},
			denial: OnlyInList, doubt: "Keycloak's list of the group /team shows the account, but the account's own side does not hold the group", stale: true},
		{name: "the own side lacks the group, and the roles were not read: unclear", ask: with(grant(lea), role), second: SecondLook{Members: lists("team", lea), Probes: up, Own: own("team", Own{}), Roles: holders(lea)},
			denial: Unclear, doubt: "the roles that the account holds in effect were not read"},
		{name: "the list of the group shows the account wrongly, and the account holds the role in effect, which no list shows", ask: with(grant(lea), role), second: SecondLook{Members: lists("team", lea), Probes: up, Own: own("team", Own{}), Roles: holders(bob), Effective: held("lea", true)},
			denial: Unclear, doubt: "the account holds the role boss in effect, but Keycloak's list of holders does not show the account; if the role was taken away, Keycloak's user cache is old: a periodic sync of changed users or clearing the user cache refreshes it", stale: true},
		{name: "the list of the group shows the account wrongly, and the account has no role", ask: with(grant(lea), role), second: SecondLook{Members: lists("team", lea), Probes: up, Own: own("team", Own{}), Roles: holders(bob), Effective: held("lea", false)},
			denial: OnlyInList, doubt: "Keycloak's list of the group /team shows the account, but the account's own side does not hold the group"},
		{name: "the own side has the group, and nobody can read the roles", ask: with(grant(lea), role), second: SecondLook{Members: lists("team", lea), Probes: up, Own: own("team", Own{Count: 1}), Failed: map[string]string{"lea": "status 500"}},
			why: Member, evidence: "read twice, on the account's own side too"},
		{name: "neither a group nor the role lists the account in the second read", ask: with(grant(ann), role), second: SecondLook{Members: lists("team", bob), Roles: holders(bob), Effective: held("ann", true)},
			denial: Unclear, doubt: "the second read lists the account neither in a Keycloak group of administrators nor among the holders of the role boss"},
		{name: "the group is unclear, and the own side lacks the role: unclear", ask: with(grant(lea), role), second: SecondLook{Members: lists("team", lea), Probes: up, Roles: holders(lea), Effective: held("lea", false)},
			denial: Unclear, doubt: `the account's own side was not read for the group "team"`, stale: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			snap, err := NewSnapshot(Parts{Catalog: catalog})
			if err != nil {
				t.Fatal(err)
			}
			look := LookUps{Probes: tt.probed}
			if tt.found != nil {
				tt.found.Person.Key = "user"
				look.Found = []Found{*tt.found, {Person: Person{Key: "idle"}, Accounts: []User{{ID: "idle"}}}}
			}
			if snap, err = snap.With(look); err != nil {
				t.Fatal(err)
			}
			if tt.second.Accounts == nil { // Keycloak still has the local accounts
				tt.second.Accounts = make(map[string]Account)
				for _, u := range tt.ask.Accounts {
					if u.Enabled && u.Federation == "" {
						tt.second.Accounts[u.ID] = Account{Found: true, User: u}
					}
				}
			}
			tt.ask.Group, tt.ask.User = "group", "user"
			c := Weigh(snap, []Question{tt.ask}, tt.second)
			want := Answer{group: "group", user: "user", grant: tt.ask.Grant, Denial: tt.denial, Doubt: tt.doubt, Federation: tt.federation, Stale: tt.stale, Enabled: tt.enabled}
			if tt.evidence != "" {
				want.Evidence = Evidence{group: "group", user: "user", grant: tt.ask.Grant, why: tt.why, text: tt.evidence, waits: tt.waits, byEmail: tt.byEmail}
			}
			if d := cmp.Diff(want, c.Answers[0], cmp.AllowUnexported(Answer{}, Evidence{})); d != "" {
				t.Errorf("question %+v\nsecond look %+v\n-want +got\n%s", tt.ask, tt.second, d)
			}
			if a := c.Answers[0]; (a.Doubt == "") != a.Evidence.Valid() {
				t.Errorf("a doubt %q and evidence %q in one answer", a.Doubt, a.Evidence)
			}
		})
	}
}

// TestAFailureOfOneAccountIsOfThatAccountOnly checks that a failed read about one account denies
// no change of another account.
func TestAFailureOfOneAccountIsOfThatAccountOnly(t *testing.T) {
	catalog, group := weighing(t)
	snap, err := NewSnapshot(Parts{Catalog: catalog})
	if err != nil {
		t.Fatal(err)
	}
	lea, max := User{ID: "lea", Enabled: true, Federation: "f"}, User{ID: "max", Enabled: true, Federation: "f"}
	c := Weigh(snap, []Question{
		{Group: "g", User: "1", Accounts: []User{lea}, Sources: group("team")},
		{Group: "g", User: "2", Accounts: []User{max}, Sources: group("team")},
	}, SecondLook{Members: map[string][]User{"team": nil}, Probes: []Probe{{Federation: corp, Up: true}}, Own: map[OwnKey]Own{{"max", "team"}: {}}, Failed: map[string]string{"lea": "status 500"}})
	if got, want := c.Answers[0].Doubt, `the account's own side was not read for the group "team": status 500`; got != want {
		t.Errorf("the first: got %q, want %q", got, want)
	}
	if !c.Answers[1].Evidence.For("g", "2", false) {
		t.Errorf("the second: %+v", c.Answers[1])
	}
}

func TestWeighMergesTheProbesOfTheLookUps(t *testing.T) {
	catalog, _ := weighing(t)
	snap, err := NewSnapshot(Parts{Catalog: catalog})
	if err != nil {
		t.Fatal(err)
	}
	if snap, err = snap.With(LookUps{Probes: []Probe{{Federation: hq, Detail: "status 500"}}}); err != nil {
		t.Fatal(err)
	}
	c := Weigh(snap, nil, SecondLook{Probes: []Probe{{Federation: hq, Up: true}, {Federation: corp, Up: true}}})
	want := []Probe{{Federation: corp, Up: true}, {Federation: hq, Detail: "status 500"}}
	if d := cmp.Diff(want, c.Probes); d != "" || len(c.Answers) != 0 {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestEvidenceNamesItsChange(t *testing.T) {
	e := Evidence{group: "g", user: "u", why: NotMember}
	for _, tt := range []struct {
		name        string
		evidence    Evidence
		group, user string
		grant       bool
		want        bool
	}{
		{"the very change", e, "g", "u", false, true},
		{"another group", e, "h", "u", false, false},
		{"another user", e, "g", "v", false, false},
		{"the other direction", e, "g", "u", true, false},
		{"no evidence is for nothing", Evidence{}, "", "", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.evidence.For(tt.group, tt.user, tt.grant); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
	if e.Why() != NotMember || !e.Valid() {
		t.Errorf("why %q, valid %v", e.Why(), e.Valid())
	}
}
