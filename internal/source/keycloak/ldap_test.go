package keycloak

import (
	"maps"
	"slices"
	"testing"
	"time"

	"groupsync/internal/fault"
	"groupsync/internal/source"
	"groupsync/internal/source/keycloaktest"
)

// federated is a realm with a real LDAP server behind it. The LDAP group /staff has four
// members. The local group /club has two of them and the local account.
type federated struct {
	ldap   *keycloaktest.LDAP
	realm  *keycloaktest.Realm
	fed    *keycloaktest.Federation
	source *Source
	seen   counted
}

var staff = []string{"feda", "fedb", "fedc", "fedd"}

func newFederated(t *testing.T, o keycloaktest.FederationOptions, change func(*Config)) *federated {
	t.Helper()
	f := &federated{ldap: keycloaktest.StartLDAP(t, staff, map[string][]string{"staff": staff})}
	f.realm = keycloaktest.Shared(t).NewRealm(t, keycloaktest.Spec{
		Groups: []string{"/club"}, Users: []keycloaktest.User{{Username: "local", Email: "local@example.org", Groups: []string{"/club"}}},
	})
	f.fed = f.realm.Federate(t, f.ldap, o)
	if !o.NoImport {
		f.realm.Join(t, "feda", "/club")
		f.realm.Join(t, "fedb", "/club")
	}
	c := configOf(f.realm)
	c.Observe = f.seen.observe
	if change != nil {
		change(&c)
	}
	f.source = newSource(t, c)
	return f
}

// removals returns questions about every removal that a plan could want of the federated
// people: out of the group, disabled, and the results of a look-up by id and a look-up by
// email. It also returns the snapshot with these look-ups.
func (f *federated) removals(t *testing.T, snap, healthy *source.Snapshot) (*source.Snapshot, []source.Question) {
	t.Helper()
	group := groupsOf(t, snap.Catalog(), "/staff")
	var questions []source.Question
	var people []source.Person
	for _, name := range staff {
		u := userOf(t, healthy, name)
		if i, met := snap.UserIndex(u.ID); met {
			u = snap.Users()[i]
		}
		off := u
		off.Enabled = false
		people = append(people, source.Person{Key: name, IDs: []string{u.ID}, Email: u.Email}, source.Person{Key: name + " by email", Email: u.Email})
		questions = append(questions, removal(group, u), removal(group, off))
	}
	next, err := f.source.LookUp(t.Context(), snap, people, f.known())
	if err != nil {
		t.Fatalf("LookUp: %v", err)
	}
	for _, p := range people {
		q := removal(group)
		q.User = p.Key
		switch found, _ := next.Found(p.Key); {
		case len(found.Accounts) > 0:
			q.Accounts = found.Accounts
		case len(p.IDs) > 0:
			q.GoneBy = source.ByID
		default:
			q.GoneBy = source.ByEmail
		}
		questions = append(questions, q)
	}
	return next, questions
}

// known returns the federations that an earlier pass remembers: the federation has answered
// a probe.
func (f *federated) known() []source.Federation {
	return []source.Federation{{ID: f.fed.ID, Name: f.fed.Name, Answered: true}}
}

func (f *federated) confirm(t *testing.T, snap *source.Snapshot, questions []source.Question) source.Confirmation {
	t.Helper()
	c, err := f.source.Confirm(t.Context(), snap, questions, f.known())
	if err != nil {
		t.Fatalf("Confirm: %v", err)
	}
	return c
}

// wantNone fails the test if a removal is not denied.
func wantNone(t *testing.T, when string, c source.Confirmation, questions []source.Question) {
	t.Helper()
	if len(c.Answers) != len(questions) {
		t.Fatalf("%s: %d answers to %d questions", when, len(c.Answers), len(questions))
	}
	for i, a := range c.Answers {
		if a.Evidence.Valid() || a.Doubt == "" {
			t.Errorf("%s: evidence for the removal %+v: %s", when, questions[i], a.Evidence)
		}
	}
}

func (f *federated) clearCaches(t *testing.T) {
	t.Helper()
	f.realm.ClearUserCache(t)
}

func TestNoEvidenceFollowsFromAFederationThatIsAway(t *testing.T) {
	options := []struct {
		name  string
		o     keycloaktest.FederationOptions
		colds []bool
	}{
		{"mapper READ_ONLY", keycloaktest.FederationOptions{Mode: keycloaktest.ReadOnly}, []bool{false, true}},
		{"mapper IMPORT", keycloaktest.FederationOptions{Mode: keycloaktest.Import}, []bool{true}},
		{"no import", keycloaktest.FederationOptions{NoImport: true}, []bool{true}},
	}
	for _, o := range options {
		t.Run(o.name, func(t *testing.T) {
			// Keycloak shows people as disabled when LDAP answers later than this, and a busy
			// machine can take a second.
			o.o.Timeout = 3 * time.Second
			f := newFederated(t, o.o, nil)
			healthy := mustRead(t, f.source)
			if got := membersOf(healthy)["/staff"]; !slices.Equal(got, staff) {
				t.Fatalf("/staff is %q, want %q", got, staff)
			}
			if u := userOf(t, healthy, "fedc"); u.Federation != f.fed.ID || !u.Enabled {
				t.Fatalf("fedc reads as %+v, want an enabled account of the federation %s", u, f.fed.ID)
			}
			asked, questions := f.removals(t, healthy, healthy)
			wantNone(t, "up", f.confirm(t, asked, questions), questions)
			for _, away := range []struct {
				name       string
				make, undo func(testing.TB)
			}{
				{"stopped", f.ldap.Stop, f.ldap.Start},
				{"hanging", f.ldap.Pause, f.ldap.Resume},
			} {
				if away.name == "hanging" && o.o.Mode != keycloaktest.ReadOnly {
					continue // the result is the same, but takes one time-out for each person
				}
				for _, cold := range o.colds {
					when := away.name + ", warm cache"
					away.make(t)
					if cold {
						when = away.name + ", cold cache"
						f.clearCaches(t)
					}
					asked, questions := f.removals(t, healthy, healthy)
					got := f.confirm(t, asked, questions)
					wantNone(t, when, got, questions)
					wantDoubt(t, got, 0, source.Away, "the federation ldap is not up: the probe got 500 instead of a 404 from Keycloak itself")
					if len(got.Away()) != 1 || got.Answers[0].Federation != f.fed.ID {
						t.Errorf("%s: %d federations are away, and the answer names %q; want 1, %s", when, len(got.Away()), got.Answers[0].Federation, f.fed.ID)
					}
					wrong, err := read(t.Context(), f.source)
					if err == nil {
						asked, questions = f.removals(t, wrong, healthy)
						wantNone(t, "read and asked while "+when, f.confirm(t, asked, questions), questions)
					}
					away.undo(t)
					if err != nil {
						wantError(t, err, fault.Server, "the federation ldap is not up")
						continue
					}
					wantNone(t, "asked while "+when+", confirmed afterwards", f.confirm(t, asked, questions), questions)
					asked, questions = f.removals(t, wrong, healthy)
					wantNone(t, "read while "+when+", asked afterwards", f.confirm(t, asked, questions), questions)
				}
			}
			if got := membersOf(mustRead(t, f.source))["/staff"]; !slices.Equal(got, staff) {
				t.Errorf("/staff is %q at the end, want %q", got, staff)
			}
		})
	}
}

func TestAFederationThatHangsIsNamedInTheError(t *testing.T) {
	f := newFederated(t, keycloaktest.FederationOptions{Timeout: time.Minute}, func(c *Config) { c.Timeout = 2 * time.Second })
	catalog := mustCatalog(t, f.source)
	f.clearCaches(t)
	f.ldap.Pause(t)
	_, err := f.source.Read(t.Context(), catalog, everything(catalog))
	f.ldap.Resume(t)
	wantError(t, err, fault.Timeout, "within 2s", "the federation ldap is not up (Keycloak did not answer the probe within 2s). Repair the federation first")
	probes := probesOf(err)
	if len(probes) != 1 || probes[0].Up || probes[0].Federation.ID != f.fed.ID {
		t.Errorf("the error's probes are %+v, want ldap, not up", probes)
	}
}

// probesOf finds the probes like reconcile does: only by the method Probes.
func probesOf(err error) []source.Probe {
	for err != nil {
		if p, ok := err.(interface{ Probes() []source.Probe }); ok {
			return p.Probes()
		}
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return nil
		}
		err = u.Unwrap()
	}
	return nil
}

func TestEvidenceAgainstFederatedPeopleThatIsTrue(t *testing.T) {
	f := newFederated(t, keycloaktest.FederationOptions{}, nil)
	f.ldap.Leave(t, "fedd", "staff")
	f.realm.SetEnabled(t, "fedb", false)
	snap := mustRead(t, f.source)
	f.seen.calls = nil
	snap = mustLookUp(t, f.source, snap,
		source.Person{Key: "fedd", IDs: []string{f.realm.UserID(t, "fedd")}, Email: "fedd@example.org"},
		source.Person{Key: "gone", Email: "gone@example.org"})
	if f.seen.calls["probe"] != 2 || f.seen.calls["users_email"] != 2 || f.seen.calls["user"] != 1 {
		t.Errorf("requests of the look-up are %v; want an id, and twice an email, between 2 probes", f.seen.calls)
	}
	f.seen.calls = nil
	all, staffOnly := groupsOf(t, snap.Catalog(), "/staff", "/club"), groupsOf(t, snap.Catalog(), "/staff")
	got := mustConfirm(t, f.source, snap,
		removal(all, userOf(t, snap, "fedd")),
		removal(all, userOf(t, snap, "fedb")),
		gone(source.ByEmail, "gone"),
		removal(staffOnly, userOf(t, snap, "local")),
		grant(staffOnly, userOf(t, snap, "feda")),
	)
	wantEvidence(t, got, 0, source.NotMember, true, "read twice: in none of 2 Keycloak groups, on the account's own side too")
	users := 1
	if f.realm.Server.Before(2600) { // the read of the member list has enabled fedb again
		users = 2
		wantDoubt(t, got, 1, source.Unclear, "the second look finds the account enabled")
	} else {
		wantEvidence(t, got, 1, source.Disabled, false, "read twice: the account is disabled, in Keycloak's own database too")
	}
	wantEvidence(t, got, 2, source.Gone, true, "looked up: no account has the email; ClearML keeps no account id, so the person is judged by the email only")
	wantEvidence(t, got, 3, source.NotMember, false, "read twice: not in the one Keycloak group")
	wantEvidence(t, got, 4, source.Member, false, "read twice, on the account's own side too")
	// Expected: two member lists, and the local account. Then one batch between two probes:
	// two counts for fedd, one for feda, and the question whether the database says that
	// fedb is disabled.
	if want := map[string]int{"token": 2, "components": 1, "members": 2, "group": 2, "user": users, "users_disabled": 1, "probe": 2, "own_count": 3}; !maps.Equal(f.seen.calls, want) {
		t.Errorf("requests are %v; want %v", f.seen.calls, want)
	}
	if u := userOf(t, mustRead(t, f.source), "fedb"); u.Enabled != f.realm.Server.Before(2600) {
		t.Errorf("after the second look fedb is enabled: %v", u.Enabled)
	}
}

// If a federation is switched off or deleted, only its own people wait (design 10).
func TestAFederationThatIsSwitchedOffHoldsUpItsOwnPeopleOnly(t *testing.T) {
	f := newFederated(t, keycloaktest.FederationOptions{}, nil)
	f.realm.Leave(t, "local", "/club")
	f.realm.Join(t, "local", "/staff")
	snap := mustRead(t, f.source)
	f.realm.Leave(t, "local", "/staff")
	local := removal(groupsOf(t, snap.Catalog(), "/staff", "/club"), userOf(t, snap, "local"))
	gonePeople := []source.Person{
		{Key: "deleted, id kept", IDs: []string{"11111111-2222-3333-4444-555555555555"}, Email: "deleted@example.org"},
		{Key: "of the federation's own form", IDs: []string{"f:" + f.fed.ID + ":deleted"}, Email: "deleted@example.org"},
		{Key: "by email", Email: "deleted@example.org"},
	}
	// If the component is deleted, its imported people are deleted too. Then nothing
	// distinguishes them from a local person who is gone.
	check := func(when, detail string, deleted bool) {
		t.Helper()
		asked, questions := f.removals(t, snap, snap)
		got := f.confirm(t, asked, questions)
		wantNone(t, when, got, questions)
		wantDoubt(t, got, 0, source.Away, "the federation ldap is not up: "+detail)
		asked, err := f.source.LookUp(t.Context(), asked, gonePeople, f.known())
		if err != nil {
			t.Fatalf("LookUp: %v", err)
		}
		got = f.confirm(t, asked, []source.Question{local, gone(source.ByID, gonePeople[0].Key), gone(source.ByID, gonePeople[1].Key), gone(source.ByEmail, gonePeople[2].Key)})
		wantEvidence(t, got, 0, source.NotMember, false, "read twice: in none of 2 Keycloak groups")
		if deleted {
			wantDoubt(t, got, 1, source.Away, "the federation ldap is not up, and may have the person: "+detail)
		} else {
			wantEvidence(t, got, 1, source.Gone, true, "looked up: Keycloak has neither the id that ClearML keeps nor the email")
		}
		wantDoubt(t, got, 2, source.Away, "the federation ldap is not up, and may have the person: "+detail)
		wantDoubt(t, got, 3, source.Away, "the federation ldap is not up, and may have the person: "+detail)
	}
	off := "it is switched off in Keycloak, or was deleted since the read"
	f.fed.SetEnabled(t, false)
	check("switched off", off, false)
	f.fed.SetEnabled(t, true)
	asked, questions := f.removals(t, snap, snap)
	wantNone(t, "switched on again", f.confirm(t, asked, questions), questions)
	f.fed.Delete(t)
	check("deleted since the read", off, true)
}

// A server that is gone for good answers every probe with 500. It has answered before, so a
// person who is not found may be there. Local leavers are removed all the same.
func TestALocalLeaverGoesOutWhileTheLDAPServerIsGone(t *testing.T) {
	f := newFederated(t, keycloaktest.FederationOptions{}, nil)
	if f.realm.Server.Before(2601) {
		t.Skip("Keycloak 26.0 and older answer 400 for the members of every group while LDAP is away, so nobody goes out")
	}
	f.ldap.Stop(t)
	defer f.ldap.Start(t)
	f.realm.Join(t, "local", "/staff")
	snap := mustRead(t, f.source)
	f.realm.Leave(t, "local", "/staff")
	f.realm.Leave(t, "local", "/club")
	snap, err := f.source.LookUp(t.Context(), snap, []source.Person{{Key: "deleted", IDs: []string{"11111111-2222-3333-4444-555555555555"}, Email: "deleted@example.org"}}, f.known())
	if err != nil {
		t.Fatalf("LookUp: %v", err)
	}
	got := f.confirm(t, snap, []source.Question{
		removal(groupsOf(t, snap.Catalog(), "/staff", "/club"), userOf(t, snap, "local")),
		removal(groupsOf(t, snap.Catalog(), "/staff"), userOf(t, snap, "feda")),
		gone(source.ByID, "deleted"),
	})
	wantEvidence(t, got, 0, source.NotMember, false, "read twice: in none of 2 Keycloak groups")
	wantDoubt(t, got, 1, source.Away, "the federation ldap is not up: the probe got 500 instead of a 404 from Keycloak itself")
	wantDoubt(t, got, 2, source.Away, "the federation ldap is not up, and may have the person: the probe got 500 instead of a 404 from Keycloak itself")
}
