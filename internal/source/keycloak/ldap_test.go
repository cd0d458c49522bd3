package keycloak

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"groupsync/internal/fault"
	"groupsync/internal/source"
	"groupsync/internal/source/keycloaktest"
)

// federated is a realm with a real LDAP server behind it: the LDAP group /staff
// of four, the local group /club of two of them and the local account.
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

// claims are every removal that a plan could want of the federated people.
func (f *federated) claims(t *testing.T, snap *source.Snapshot) []source.Claim {
	t.Helper()
	var claims []source.Claim
	for _, name := range staff {
		u := userOf(t, snap, name)
		claims = append(claims,
			source.Claim{Why: source.NotMember, User: u, Groups: groupsOf(f.realm.GroupID(t, "/staff"))},
			source.Claim{Why: source.Disabled, User: u},
			source.Claim{Why: source.Gone, Email: u.Email, IDs: []string{u.ID}},
		)
	}
	return claims
}

// wantNone holds every claim to be denied.
func wantNone(t *testing.T, when string, c source.Confirmation, claims []source.Claim) {
	t.Helper()
	if len(c.Verdicts) != len(claims) {
		t.Fatalf("%s: %d verdicts for %d claims", when, len(c.Verdicts), len(claims))
	}
	for i, v := range c.Verdicts {
		if v.Evidence.Valid() || v.Doubt == "" {
			t.Errorf("%s: evidence against %s (%s): %s", when, claims[i].User.Username+claims[i].Email, claims[i].Why, v.Evidence)
		}
	}
}

func (f *federated) clearCaches(t *testing.T) {
	t.Helper()
	f.realm.Do(t, http.MethodPost, "/clear-user-cache", nil, nil)
}

func TestNoEvidenceFollowsFromAFederationThatIsAway(t *testing.T) {
	options := []struct {
		name string
		o    keycloaktest.FederationOptions
	}{
		{"mapper READ_ONLY", keycloaktest.FederationOptions{Mode: keycloaktest.ReadOnly}},
		{"mapper IMPORT", keycloaktest.FederationOptions{Mode: keycloaktest.Import}},
		{"no import", keycloaktest.FederationOptions{NoImport: true}},
	}
	for _, o := range options {
		t.Run(o.name, func(t *testing.T) {
			f := newFederated(t, o.o, nil)
			healthy := mustRead(t, f.source, "")
			if got := membersOf(healthy)["/staff"]; !slices.Equal(got, staff) {
				t.Fatalf("/staff is %q, want %q", got, staff)
			}
			if u := userOf(t, healthy, "fedc"); u.Federation != f.fed.ID || !u.Enabled {
				t.Fatalf("fedc reads as %+v, want an enabled account of the federation %s", u, f.fed.ID)
			}
			claims := f.claims(t, healthy)
			wantNone(t, "up", mustConfirm(t, f.source, healthy, claims...), claims)
			for _, away := range []struct {
				name       string
				make, undo func(testing.TB)
			}{
				{"stopped", f.ldap.Stop, f.ldap.Start},
				{"hanging", f.ldap.Pause, f.ldap.Resume},
			} {
				for _, cold := range []bool{false, true} {
					when := away.name + ", warm cache"
					away.make(t)
					if cold {
						when = away.name + ", cold cache"
						f.clearCaches(t)
					}
					got := mustConfirm(t, f.source, healthy, claims...)
					wantNone(t, when, got, claims)
					wantDoubt(t, got, 0, "the federation ldap is not up: a lookup through it answered 500 in place of 404")
					if len(got.Away()) != 1 {
						t.Errorf("%s: %d federations are away, want 1", when, len(got.Away()))
					}
					wrong, err := f.source.Read(t.Context(), pickAll(""))
					away.undo(t)
					if err != nil {
						wantError(t, err, fault.Server, "the federation ldap is not up")
						continue
					}
					wantNone(t, "back after "+when, mustConfirm(t, f.source, wrong, claims...), claims)
				}
			}
			if got := membersOf(mustRead(t, f.source, ""))["/staff"]; !slices.Equal(got, staff) {
				t.Errorf("/staff is %q at the end, want %q", got, staff)
			}
		})
	}
}

func TestAFederationThatHangsIsNamedInTheError(t *testing.T) {
	f := newFederated(t, keycloaktest.FederationOptions{Timeout: time.Minute}, func(c *Config) { c.Timeout = 2 * time.Second })
	_, err := f.source.Read(t.Context(), func(c source.Catalog) source.Selection {
		f.clearCaches(t)
		f.ldap.Pause(t)
		return pickAll("")(c)
	})
	f.ldap.Resume(t)
	wantError(t, err, fault.Timeout, "within 2s", "the federation ldap is not up (Keycloak had no answer from it within 2s): look after it first")
	probes := probesOf(err)
	if len(probes) != 1 || probes[0].Up || probes[0].Federation.ID != f.fed.ID {
		t.Errorf("the error's probes are %+v, want ldap, not up", probes)
	}
}

// probesOf finds the probes as reconcile does: by the method alone.
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
	club, staffID := f.realm.GroupID(t, "/club"), f.realm.GroupID(t, "/staff")
	f.ldap.Leave(t, "fedd", "staff")
	f.realm.SetEnabled(t, "fedb", false)
	snap := mustRead(t, f.source, "")
	f.seen.calls = nil
	got := mustConfirm(t, f.source, snap,
		source.Claim{Why: source.NotMember, User: userOf(t, snap, "fedd"), Groups: groupsOf(staffID, club)},
		source.Claim{Why: source.Disabled, User: userOf(t, snap, "fedb")},
		source.Claim{Why: source.Gone, Email: "gone@example.org"},
		source.Claim{Why: source.NotMember, User: userOf(t, snap, "local"), Groups: groupsOf(staffID)},
	)
	wantEvidence(t, got, 0, source.NotMember, true)
	wantEvidence(t, got, 1, source.Disabled, false)
	wantEvidence(t, got, 2, source.Gone, true)
	wantEvidence(t, got, 3, source.NotMember, false)
	// Two members, an account, the database's list, an email: five reads, six probes.
	if f.seen.calls["probe"] != 6 || f.seen.calls["members"] != 2 {
		t.Errorf("requests are %v; want 6 probes around 5 reads", f.seen.calls)
	}
	if u := userOf(t, mustRead(t, f.source, ""), "fedb"); u.Enabled {
		t.Error("the second look has enabled fedb again")
	}
}

func TestAFederationThatIsSwitchedOffOrDeletedCountsAsAway(t *testing.T) {
	f := newFederated(t, keycloaktest.FederationOptions{}, nil)
	snap := mustRead(t, f.source, "")
	claims := f.claims(t, snap)
	f.fed.SetEnabled(t, false)
	got := mustConfirm(t, f.source, snap, claims...)
	wantNone(t, "switched off", got, claims)
	wantDoubt(t, got, 0, "the federation ldap is not up: it is switched off in Keycloak")
	f.fed.SetEnabled(t, true)
	wantNone(t, "switched on again", mustConfirm(t, f.source, snap, claims...), claims)
	f.fed.Delete(t)
	got = mustConfirm(t, f.source, snap, claims...)
	wantNone(t, "deleted since the read", got, claims)
	wantDoubt(t, got, 0, "the federation ldap is not up: it is switched off in Keycloak")
}
