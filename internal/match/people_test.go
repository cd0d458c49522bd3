package match_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/match"
	"groupsync/internal/plan/plantest"
	"groupsync/internal/source"
	"groupsync/internal/target"
)

// person returns the Person of a ClearML user as text:
//
//	matched kc-ann by id, sure
//	rekeyed kc-new by email, gone by id
//	ambiguous kc-ann by email, ask, before grants
func person(people match.People, src *source.Snapshot, tgt *target.Snapshot, id string) string {
	i, ok := tgt.UserIndex(id)
	if !ok {
		return "no such user"
	}
	p := people.Person(i)
	words := []string{string(p.State)}
	if p.State == match.NotAsked {
		words[0] = "not_asked"
	}
	for _, a := range p.Accounts {
		words = append(words, src.Users()[a].ID)
	}
	if p.Match != "" {
		words = append(words, "by "+p.Match)
	}
	s := strings.Join(words, " ")
	if p.Sure {
		s += ", sure"
	}
	if p.GoneBy != source.NotGone {
		s += ", gone by " + string(p.GoneBy)
	}
	if p.Ask.Key != "" {
		s += fmt.Sprintf(", ask %v %s", p.Ask.IDs, p.Ask.Email)
	}
	if p.AskBeforeGrant {
		s += ", before grants"
	}
	return s
}

// TestWho checks the match of accounts and users before and after the look-ups. By default
// every person is a member of the group team on both sides. An account that is in no group is
// found only by a look-up.
func TestWho(t *testing.T) {
	for _, tt := range []struct {
		name   string
		world  string
		rules  func(*match.Options)
		before map[string]string // by ClearML user: before the look-ups
		after  map[string]string // after the look-ups
	}{
		{
			name:   "the id that ClearML keeps is the account's",
			world:  "both ann",
			before: map[string]string{"ann": "matched kc-ann by id, sure"},
			after:  map[string]string{"ann": "matched kc-ann by id, sure"},
		},
		{
			name:   "the email is the account's, case ignored",
			world:  "keycloak ann email=Ann@Example.com\nclearml ann",
			before: map[string]string{"ann": "matched kc-ann by email, sure"},
		},
		{
			name:   "B2: the email decides where no id is kept, and a time or a number is no id",
			world:  "keycloak ann\nclearml ann id=2026-01-01T10:00:00Z,1767261600.5",
			before: map[string]string{"ann": "matched kc-ann by email, sure"},
		},
		{
			name:   "B7: the Kelvin sign is another letter, so the email is another address",
			world:  "keycloak kit email=kit@example.com\nclearml kit email=\u212Ait@example.com",
			before: map[string]string{"kit": "not_asked, ask [] \u212Ait@example.com"},
			after:  map[string]string{"kit": "gone, gone by email"},
		},
		{
			name:   "B4: an email, a username and a name that all changed: the id decides",
			world:  "keycloak new\nclearml ann id=kc-new",
			before: map[string]string{"ann": "matched kc-new by id, sure"},
		},
		{
			name:   "B4: without a kept id the person is gone by the email only",
			world:  "keycloak new\nclearml ann",
			before: map[string]string{"ann": "not_asked, ask [] ann@example.com"},
			after:  map[string]string{"ann": "gone, gone by email"},
		},
		{
			name:   "a kept id that the realm has no more, and no account has the email",
			world:  "keycloak new\nclearml ann id=11111111-2222-3333-4444-555555555555",
			before: map[string]string{"ann": "not_asked, ask [11111111-2222-3333-4444-555555555555] ann@example.com"},
			after:  map[string]string{"ann": "gone, gone by id"},
		},
		{
			name:   "a kept text that is no id of Keycloak's form, in a ClearML that keeps no account ids: the email decides",
			world:  "keycloak new email=ann@example.com\nclearml ann id=ann",
			before: map[string]string{"ann": "ambiguous kc-new by email, ask [ann] ann@example.com, before grants"},
			after:  map[string]string{"ann": "matched kc-new by email, sure"},
		},
		{
			name:   "a kept text that is no id of Keycloak's form proves nobody gone: the email does",
			world:  "keycloak new\nclearml ann id=ann",
			before: map[string]string{"ann": "not_asked, ask [ann] ann@example.com"},
			after:  map[string]string{"ann": "gone, gone by email"},
		},
		{
			name:   "a kept id of another form is an id where ClearML keeps such ids of accounts",
			world:  "both bob\nkeycloak new email=ann@example.com\nclearml ann id=kc-old",
			before: map[string]string{"ann": "ambiguous kc-new by email, ask [kc-old] ann@example.com, before grants"},
			after:  map[string]string{"ann": "rekeyed kc-new by email, gone by id"},
		},
		{
			name:   "B2: a kept id that the realm has no more, and another account has the email",
			world:  "keycloak new email=ann@example.com\nclearml ann id=11111111-2222-3333-4444-555555555555",
			before: map[string]string{"ann": "ambiguous kc-new by email, ask [11111111-2222-3333-4444-555555555555] ann@example.com, before grants"},
			after:  map[string]string{"ann": "rekeyed kc-new by email, gone by id"},
		},
		{
			name:   "a kept id of an account that is in no group: the look-up finds it",
			world:  "keycloak new email=ann@example.com\nkeycloak out email=out@example.com\nclearml ann id=kc-out\n/team: new",
			before: map[string]string{"ann": "ambiguous kc-new by email, ask [kc-out] ann@example.com, before grants"},
			after:  map[string]string{"ann": "matched kc-out by id, sure"},
		},
		{
			name:   "an id beats an email: the email's account is somebody else's",
			world:  "keycloak boss\nkeycloak ann\nclearml ann id=kc-boss",
			before: map[string]string{"ann": "matched kc-boss by id, sure"},
		},
		{
			name:   "of several kept ids the one that the realm has decides, once the others were looked up",
			world:  "keycloak ann\nclearml ann id=kc-old,kc-ann",
			before: map[string]string{"ann": "matched kc-ann by id, ask [kc-old kc-ann] ann@example.com, before grants"},
			after:  map[string]string{"ann": "matched kc-ann by id, sure"},
		},
		{
			name:   "two kept ids of two accounts are ambiguous",
			world:  "keycloak a\nkeycloak b\nclearml ann id=kc-b,kc-a",
			before: map[string]string{"ann": "ambiguous kc-a kc-b by id"},
		},

		// B1: people who do not sign in through Keycloak.
		{
			name:   "B1: who signs in by another provider is not matched by an email",
			world:  "keycloak ann\nclearml ann google\nclearml idle",
			before: map[string]string{"ann": "other_provider"},
		},
		{
			name:   "B1: who never signed in by a provider is not matched by an email",
			world:  "keycloak ann\nclearml ann local\nclearml idle",
			before: map[string]string{"ann": "local"},
		},
		{
			name:   "B1: who signed in by Keycloak and another provider is matched",
			world:  "keycloak ann\nclearml ann also=google",
			before: map[string]string{"ann": "matched kc-ann by email, sure"},
		},
		{
			name:   "who signed in by Keycloak and another provider, and whom Keycloak has no more, may still sign in",
			world:  "keycloak new\nclearml ann also=google",
			before: map[string]string{"ann": "not_asked, ask [] ann@example.com"},
			after:  map[string]string{"ann": "other_provider"},
		},
		{
			name:   "a server that tells nobody's provider: the email decides, and nobody is gone",
			world:  "keycloak ann\nclearml ann untold\nclearml eve untold\nclearml groupsync untold",
			before: map[string]string{"ann": "matched kc-ann by email, sure", "eve": "not_asked, ask [] eve@example.com"},
			after:  map[string]string{"ann": "matched kc-ann by email, sure", "eve": "unknown"},
		},
		{
			name:   "a server that tells some people's provider: who has none is local",
			world:  "keycloak ann\nclearml ann untold\nclearml idle",
			before: map[string]string{"ann": "local"},
		},
		{
			name:   "another provider's id is looked at by nobody",
			world:  "keycloak boss\nclearml ann google",
			rules:  func(o *match.Options) { o.Provider = "okta" },
			before: map[string]string{"ann": "other_provider"},
		},

		// B3 and B8: several accounts, several users.
		{
			name:   "B3: two accounts of one email, and no id is kept",
			world:  "duplicates\nkeycloak a email=ann@example.com\nkeycloak b email=ann@example.com disabled\nclearml ann",
			before: map[string]string{"ann": "ambiguous kc-a kc-b by email, ask [] ann@example.com"},
			after:  map[string]string{"ann": "ambiguous kc-a kc-b by email"},
		},
		{
			name:   "B3: two accounts of one email, and the id is kept",
			world:  "duplicates\nkeycloak a email=ann@example.com\nkeycloak b email=ann@example.com\nclearml ann id=kc-b",
			before: map[string]string{"ann": "matched kc-b by id, sure"},
		},
		{
			name:   "where the realm allows duplicate emails, one account is not sure before the email is looked up",
			world:  "duplicates\nkeycloak ann\nclearml ann",
			before: map[string]string{"ann": "matched kc-ann by email, ask [] ann@example.com, before grants"},
			after:  map[string]string{"ann": "matched kc-ann by email, sure"},
		},
		{
			name:   "where the realm allows duplicate emails and has a federation, no look-up makes an email sure",
			world:  "duplicates\nfederation corp\nkeycloak ann\nclearml ann",
			before: map[string]string{"ann": "matched kc-ann by email, ask [] ann@example.com, before grants"},
			after:  map[string]string{"ann": "matched kc-ann by email"},
		},
		{
			name:   "where the realm allows duplicate emails and has a federation, a kept id is sure",
			world:  "duplicates\nfederation corp\nkeycloak ann\nclearml ann id=kc-ann",
			before: map[string]string{"ann": "matched kc-ann by id, sure"},
		},
		{
			name:   "the look-up finds a second account of the email",
			world:  "duplicates\nkeycloak ann\nkeycloak b email=ann@example.com\nclearml ann\n/team: ann",
			before: map[string]string{"ann": "matched kc-ann by email, ask [] ann@example.com, before grants"},
			after:  map[string]string{"ann": "ambiguous kc-ann kc-b by email"},
		},
		{
			name:   "two ClearML users of one email claim it by equal strength",
			world:  "keycloak ann\nclearml a email=ann@example.com\nclearml b email=ANN@example.com",
			before: map[string]string{"a": "ambiguous kc-ann by email", "b": "ambiguous kc-ann by email"},
		},
		{
			name:   "B8: two ClearML users of one id",
			world:  "keycloak ann\nclearml a id=kc-ann\nclearml b id=kc-ann",
			before: map[string]string{"a": "ambiguous kc-ann by id", "b": "ambiguous kc-ann by id"},
		},
		{
			name:   "an account belongs to the one who claims it by id",
			world:  "keycloak ann\nclearml a email=ann@example.com\nclearml b id=kc-ann",
			before: map[string]string{"a": "ambiguous kc-ann by email", "b": "matched kc-ann by id, sure"},
		},
		{
			name:   "two users of one id, and a third of the email: none is sure",
			world:  "keycloak ann\nclearml a id=kc-ann\nclearml b id=kc-ann\nclearml c email=ann@example.com",
			before: map[string]string{"a": "ambiguous kc-ann by id", "b": "ambiguous kc-ann by id", "c": "ambiguous kc-ann by email"},
		},
		{
			name:   "B8: a leaver known by id whose address a new colleague has: each has an account",
			world:  "keycloak old email=gone@example.com disabled\nkeycloak new email=ann@example.com\nclearml ann id=kc-old\nclearml ann2 id=kc-new email=ann@example.com",
			before: map[string]string{"ann": "matched kc-old by id, sure", "ann2": "matched kc-new by id, sure"},
		},
		{
			name:   "one of two claimants by email keeps an id, which settles both",
			world:  "keycloak ann\nkeycloak out\nclearml a email=ann@example.com\nclearml b email=ann@example.com id=kc-out\n/team: ann",
			before: map[string]string{"a": "ambiguous kc-ann by email", "b": "ambiguous kc-ann by email, ask [kc-out] ann@example.com, before grants"},
			after:  map[string]string{"a": "matched kc-ann by email, sure", "b": "matched kc-out by id, sure"},
		},
		{
			name:   "B6: an id in a field that is none is not among the values, so the email decides",
			world:  "keycloak boss\nkeycloak ann\nclearml ann",
			before: map[string]string{"ann": "matched kc-ann by email, sure"},
		},

		// People whom no pass removes.
		{
			name:   "groupsync itself",
			world:  "keycloak groupsync\nclearml ann",
			before: map[string]string{"groupsync": "self"},
		},
		{
			name:   "groupsync itself, who signs in by Keycloak",
			world:  "keycloak g\nclearml groupsync id=kc-g",
			before: map[string]string{"groupsync": "self kc-g by id, sure"},
		},
		{
			name:   "groupsync itself is looked up by nobody",
			world:  "keycloak g\nclearml groupsync id=kc-old",
			before: map[string]string{"groupsync": "self"},
		},
		{
			name:   "a service account is no person",
			world:  "keycloak bot\nclearml bot service",
			before: map[string]string{"bot": "service_account"},
		},
		{
			name:   "an account that is a service account has no email of a person",
			world:  "keycloak bot service\nclearml bot",
			before: map[string]string{"bot": "not_asked, ask [] bot@example.com"},
		},
		{
			name:   "a kept id that is a service account's is no person's",
			world:  "keycloak bot service\nclearml ann id=kc-bot",
			before: map[string]string{"ann": "service_account"},
		},
		{
			name:   "protected by the ClearML email, case ignored",
			world:  "keycloak ann\nclearml ann email=Ann@Example.com",
			rules:  func(o *match.Options) { o.Protect = []string{"ANN@*"} },
			before: map[string]string{"ann": "protected kc-ann by email, sure"},
		},
		{
			name:   "protected by the ClearML id, and looked up by nobody",
			world:  "keycloak new\nclearml ann id=kc-old",
			rules:  func(o *match.Options) { o.Protect = []string{"ann"} },
			before: map[string]string{"ann": "protected"},
		},
		{
			name:   "protected by the account's id",
			world:  "both ann",
			rules:  func(o *match.Options) { o.Protect = []string{"kc-ann"} },
			before: map[string]string{"ann": "protected kc-ann by id, sure"},
		},
		{
			name:   "protected by the account's email",
			world:  "keycloak boss\nclearml ann id=kc-boss",
			rules:  func(o *match.Options) { o.Protect = []string{"boss@*"} },
			before: map[string]string{"ann": "protected kc-boss by id, sure"},
		},
		{
			name:   "protected, and not signed in by Keycloak",
			world:  "keycloak ann\nclearml ann local\nclearml idle",
			rules:  func(o *match.Options) { o.Protect = []string{"ann"} },
			before: map[string]string{"ann": "protected"},
		},
		{
			name:   "a glob that matches an empty text protects nobody for having no email",
			world:  "keycloak new\nclearml ann email=",
			rules:  func(o *match.Options) { o.Protect = []string{"{,x}"} },
			before: map[string]string{"ann": "unknown"},
		},
		{
			name:   "without an email nobody is known to be gone, a kept id or not",
			world:  "keycloak new\nclearml ann email=\nclearml bob email= id=kc-old",
			before: map[string]string{"ann": "unknown", "bob": "not_asked, ask [kc-old] "},
			after:  map[string]string{"ann": "unknown", "bob": "unknown"},
		},
		{
			name:   "users.gone is keep",
			world:  "keycloak new\nclearml ann",
			rules:  func(o *match.Options) { o.KeepGone = true },
			before: map[string]string{"ann": "not_asked, ask [] ann@example.com"},
			after:  map[string]string{"ann": "gone_kept"},
		},

		// A look-up with a doubt proves nothing.
		{
			name:   "an away federation keeps everybody who was not found from being gone",
			world:  "federation corp away\nkeycloak new\nclearml ann",
			before: map[string]string{"ann": "not_asked, ask [] ann@example.com"},
			after:  map[string]string{"ann": "not_asked, ask [] ann@example.com"},
		},
		{
			name:   "an away federation may have the kept id, so nobody is rekeyed",
			world:  "duplicates\nfederation corp away\nkeycloak new email=ann@example.com\nclearml ann id=kc-old",
			before: map[string]string{"ann": "ambiguous kc-new by email, ask [kc-old] ann@example.com, before grants"},
			after:  map[string]string{"ann": "ambiguous kc-new by email, ask [kc-old] ann@example.com, before grants"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := plantest.New(t, "/team:\nteam =")
			names := func(side string) (all []string) {
				for line := range strings.Lines(tt.world) {
					if f := strings.Fields(line); f[0] == side {
						all = append(all, f[1])
					} else if f[0] == "both" {
						all = append(all, f[1:]...)
					}
				}
				return all
			}
			w.Add(t, "/team: "+strings.Join(names("keycloak"), " ")+"\n"+tt.world)
			if tt.rules != nil {
				w.Configure(t, tt.rules)
			}
			src, tgt := w.Source(t), w.Target(t)
			people := match.Who(src, tgt, w.Rules)
			for id, want := range tt.before {
				if got := person(people, src, tgt, id); got != want {
					t.Errorf("%s\n%s before the look-up\ngot  %s\nwant %s", tt.world, id, got, want)
				}
			}
			var asks []source.Person
			for i := range tgt.Users() {
				if p := people.Person(i); p.Ask.Key != "" {
					asks = append(asks, p.Ask)
				}
			}
			src = w.LookUp(t, src, asks)
			people = match.Who(src, tgt, w.Rules)
			for id, want := range tt.after {
				if got := person(people, src, tgt, id); got != want {
					t.Errorf("%s\n%s after the look-up\ngot  %s\nwant %s", tt.world, id, got, want)
				}
			}
			consistent(t, people, src, tgt)
		})
	}
}

// consistent checks what must be true of every result: an owner certainly has exactly that
// account, no user owns two accounts, and the claimants are the users who have the account
// among theirs.
func consistent(t *testing.T, people match.People, src *source.Snapshot, tgt *target.Snapshot) {
	t.Helper()
	for a := range src.Users() {
		owner, owned := people.Owner(a)
		if owned {
			if p := people.Person(owner); !p.Sure || !slices.Equal(p.Accounts, []int{a}) {
				t.Errorf("the owner of %s: %+v", src.Users()[a].ID, p)
			}
		}
		var claimants []int
		for u := range tgt.Users() {
			p := people.Person(u)
			if slices.Contains(p.Accounts, a) {
				claimants = append(claimants, u)
			}
			if p.Sure && p.Accounts[0] == a && (!owned || owner != u) {
				t.Errorf("%s is surely %s and does not own it", tgt.Users()[u].ID, src.Users()[a].ID)
			}
		}
		if !slices.Equal(claimants, people.Claimants(a)) || people.Claimed(a) != (len(claimants) > 0) {
			t.Errorf("claimants of %s: got %v, want %v", src.Users()[a].ID, people.Claimants(a), claimants)
		}
	}
}

// TestWhoIsNotClaimed is B9. An account that cannot belong to any user has no claimants, even if a
// user of another provider has the same email.
func TestWhoIsNotClaimed(t *testing.T) {
	w := plantest.New(t, "keycloak ann\nkeycloak bob\nkeycloak cid\nclearml ann google\nclearml bob local\nclearml cid\n/team: ann bob cid\nteam =")
	src, tgt := w.Source(t), w.Target(t)
	people := match.Who(src, tgt, w.Rules)
	for id, want := range map[string]bool{"kc-ann": false, "kc-bob": false, "kc-cid": true} {
		i, _ := src.UserIndex(id)
		if got := people.Claimed(i); got != want {
			t.Errorf("%s is claimed: %v, want %v", id, got, want)
		}
		if _, owned := people.Owner(i); owned != want {
			t.Errorf("%s is owned: %v, want %v", id, owned, want)
		}
	}
}

func TestKeptIDs(t *testing.T) {
	r := match.Rules{Options: match.Options{Provider: "keycloak"}}
	for _, tt := range []struct {
		name  string
		value string
		is    bool
	}{
		{"an id of the database", "3f2a8c1e-5b7d-4e9f-8a6b-1c2d3e4f5a6b", true},
		{"an id of the database that begins like a date", "20260101-5b7d-4e9f-8a6b-1c2d3e4f5a6b", true},
		{"an id of a federation that does not import", "f:3f2a8c1e-5b7d:ann.lee@corp", true},
		{"an id of a federation without a name", "f:3f2a8c1e-5b7d:", false},
		{"an id of a federation without an id", "f::ann", false},
		{"an id in Keycloak's own hand", "custom_id-1", true},
		{"a date", "2026-01-01", false},
		{"a time", "2026-01-01T10:00:00Z", false},
		{"a time with a blank", "2026-01-01 10:00:00", false},
		{"a number", "1767261600", false},
		{"a number with a point", "1767261600.25", false},
		{"an email", "ann@example.com", false},
		{"an empty text", "", false},
		{"a text with a blank", "ann lee", false},
		{"a text that begins with a dash", "-ann", false},
		{"a path", "a/b", false},
		{"a text of two lines", "abc\ndef", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := target.User{Providers: map[string][]string{"keycloak": {tt.value}, "google": {"other"}}}
			var want []string
			if tt.is {
				want = []string{tt.value}
			}
			if d := cmp.Diff(want, r.KeptIDs(u)); d != "" {
				t.Errorf("KeptIDs of %q: -want +got\n%s", tt.value, d)
			}
		})
	}
}

func TestHasName(t *testing.T) {
	user := target.User{Name: "Ann  LEE", GivenName: "Anna", FamilyName: "Lee"}
	for _, tt := range []struct {
		name    string
		account source.User
		user    target.User
		want    bool
	}{
		{"the name, case and blanks ignored", source.User{FirstName: "ann", LastName: "Lee"}, user, true},
		{"the given and the family name", source.User{FirstName: "Anna", LastName: "Lee"}, user, true},
		{"the username", source.User{Username: "ann lee"}, user, true},
		{"another name", source.User{Username: "bob", FirstName: "Bob", LastName: "Lee"}, user, false},
		{"two people without names bear no name", source.User{}, target.User{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := match.HasName(tt.account, match.Names(tt.user)); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestRemarks(t *testing.T) {
	admins := func(o *match.Options) { o.AdminGroups = []string{"ops"} }
	for _, tt := range []struct {
		name  string
		world string
		rules func(*match.Options)
		want  []string
	}{
		{"a provider by which nobody signed in, where there are others", "keycloak ann\nclearml ann also=google\nclearml bob local\n/team: ann\nteam = ann",
			func(o *match.Options) { o.Provider = "Keycloak-prod" },
			[]string{"clearml Keycloak-prod: the value of clearml.provider, but no user has signed in through that provider. Users signed in through google, keycloak", "keycloak idle: no_target"}},
		{"a provider by which somebody signed in", "keycloak ann\nclearml ann\nclearml bob google\n/team: ann\nteam = ann", nil, []string{"keycloak idle: no_target"}},
		{"no provider at all", "clearml ann local\n/team:\nteam = ann", nil,
			[]string{"clearml keycloak: the value of clearml.provider, but according to ClearML no user has signed in through any provider. No user can be matched until somebody signs in to ClearML through Keycloak", "keycloak idle: no_target"}},
		{"administrators by one of two signs", "keycloak ann\nclearml ann role=user\nclearml bob role=admin\nclearml cid role=admin\nclearml dan\nclearml eve role=user\nclearml bot role=admin service\nclearml fay role=root\n/ops: ann\nAdmins! = ann cid dan fay", admins,
			[]string{"clearml bob@example.com: has the role admin and is not in Admins: check in Keycloak whether the person must be an administrator, and correct in ClearML only what admins.via does not name", "clearml ann@example.com: is in Admins and has no administrator's role: check in Keycloak whether the person must be an administrator, and correct in ClearML only what admins.via does not name; the role is user", "keycloak idle: no_target"}},
		{"administrators without an email are named by id", "clearml bob email= role=admin\nclearml ann\n/ops:\nAdmins! =", admins,
			[]string{"clearml bob: has the role admin and is not in Admins: check in Keycloak whether the person must be an administrator, and correct in ClearML only what admins.via does not name", "keycloak idle: no_target"}},
		{"administrators that groupsync does not manage", "clearml ann role=admin\n/team:\nteam =\nAdmins! =", nil, []string{"clearml Admins: builtin", "keycloak idle: no_target"}},
		{"an exception for a group that ClearML lacks, in two entries, and for groups that it has by name and by id", "clearml ann\n/team:\nteam =\nops =", func(o *match.Options) {
			o.Exceptions = []match.Exception{{Match: "a", Groups: []string{"nope", "team", "cm-ops"}}, {Match: "b", Groups: []string{"nope"}}, {Match: "c"}}
		}, []string{"clearml ops: no_source", "clearml nope: users.protect names this group in an exception, and ClearML has no such group", "keycloak idle: no_target"}},
		{"a server that shows built-in groups from one side", "clearml ann id=kc-ann\nkeycloak ann\n/ops: ann\nAdmins! = ann\nview Admins ann", admins,
			[]string{"clearml Admins: ClearML shows the members of built-in groups only in the group's member list, so groupsync uses that list alone", "keycloak idle: no_target"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := plantest.New(t, tt.world)
			if tt.rules != nil {
				w.Configure(t, tt.rules)
			}
			var got []string
			for _, s := range match.Remarks(w.Target(t), w.Pairing(t), w.Rules) {
				got = append(got, s.Side+" "+s.Name+": "+s.Why)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("%s\n-want +got\n%s", tt.world, d)
			}
		})
	}
}
