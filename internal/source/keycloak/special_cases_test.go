package keycloak

import (
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/source"
	"groupsync/internal/source/keycloaktest"
)

// A custom user storage may fail on every probe. Changes of its own people then wait. Changes of
// other people do not.
func TestACustomStorageThatFailsOnForeignIDs(t *testing.T) {
	server := keycloaktest.Shared(t)
	const (
		never = "the probe got 500 instead of a 404 from Keycloak itself; this federation has never answered a probe"
		out   = "read twice: not in the one Keycloak group, on the account's own side too"
	)
	for _, row := range []struct {
		name     string
		foreign  keycloaktest.ForeignID
		trusted  []string
		up       bool
		evidence bool // whether changes of the storage's own people get evidence
	}{
		{"it parses ids as numbers: the second probe is a number and answered", keycloaktest.ForeignParsed, nil, true, true},
		{"it fails on every foreign id: its people wait", keycloaktest.ForeignThrown, nil, false, false},
		{"it fails on every foreign id and is trusted: its people do not wait", keycloaktest.ForeignThrown, []string{"people"}, false, true},
		{"it fails on every foreign id and another one is trusted", keycloaktest.ForeignThrown, []string{"ldap"}, false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := server.NewRealm(t, keycloaktest.Spec{Groups: []string{"/staff", "/other"}, Users: []keycloaktest.User{{Username: "local", Email: "local@example.org", Groups: []string{"/staff"}}}})
			r.AddClearML(t, false)
			f := r.AddStorage(t, "people", "/staff", row.foreign)
			c := configOf(r)
			c.Trusted = row.trusted
			s := newSource(t, c)
			snap := mustRead(t, s)
			ann, local := userOf(t, snap, "stored-ann"), userOf(t, snap, "local")
			if claim := r.ClaimOf(t, ann.ID); !slices.Equal(claim, []string{"staff"}) || ann.ID != "f:"+f.ID+":1" {
				t.Fatalf("the account %s has the claim %q, want staff of the first of the storage's people", ann.ID, claim)
			}
			snap = mustLookUp(t, s, snap,
				source.Person{Key: "local gone", IDs: []string{"11111111-2222-3333-4444-555555555555"}, Email: "gone@example.org"},
				source.Person{Key: "stored gone", IDs: []string{"f:" + f.ID + ":7"}, Email: "gone@example.org"},
				source.Person{Key: "gone by email", Email: "gone@example.org"},
			)
			staff, other := groupsOf(t, snap.Catalog(), "/staff"), groupsOf(t, snap.Catalog(), "/other")
			r.Leave(t, "local", "/staff")
			got := mustConfirm(t, s, snap, removal(staff, local), gone(source.ByID, "local gone"),
				grant(staff, ann), removal(other, ann), gone(source.ByEmail, "gone by email"), gone(source.ByID, "stored gone"))
			wantEvidence(t, got, 0, source.NotMember, false, "read twice: not in the one Keycloak group")
			wantEvidence(t, got, 1, source.Gone, true, "looked up: Keycloak has neither the id that ClearML keeps nor the email")
			if len(got.Probes) != 1 || got.Probes[0].Up != row.up {
				t.Errorf("the probe is %+v, want up: %v", got.Probes, row.up)
			}
			if row.evidence {
				wantEvidence(t, got, 2, source.Member, false, "read twice, on the account's own side too")
				wantEvidence(t, got, 3, source.NotMember, true, out)
				wantEvidence(t, got, 4, source.Gone, true, "looked up: no account has the email; ClearML keeps no account id, so the person is judged by the email only")
			} else {
				wantDoubt(t, got, 2, source.Away, "the federation people is not up: "+never)
				wantDoubt(t, got, 3, source.Away, "the federation people is not up: "+never)
				wantDoubt(t, got, 4, source.Away, "the federation people is not up, and may have the person: "+never)
				wantDoubt(t, got, 5, source.Away, "the federation people is not up, and may have the person: "+never)
			}
			if a := got.Answers[5]; row.foreign == keycloaktest.ForeignThrown && a.Evidence.Valid() {
				t.Errorf("evidence against somebody whose look-up failed: %s", a.Evidence)
			}
		})
	}
}

// Keycloak shows the members of an organization that is switched off as disabled. The
// database does not, so the removal waits for the grace.
func TestAMemberOfAnOrganizationThatIsSwitchedOffWaits(t *testing.T) {
	r := keycloaktest.Shared(t).NewRealm(t, keycloaktest.Spec{Organizations: true, Groups: []string{"/staff"}, Users: []keycloaktest.User{
		{Username: "local", Groups: []string{"/staff"}}, {Username: "off", Disabled: true, Groups: []string{"/staff"}},
	}})
	r.AddClearML(t, false)
	o := r.AddOrganization(t, "acme", "olga", "both")
	r.Join(t, "olga", "/staff")
	r.Join(t, "both", "/staff")
	r.SetEnabled(t, "both", false)
	o.SetEnabled(t, false)
	s := newSource(t, configOf(r))
	snap := mustRead(t, s)
	groups := groupsOf(t, snap.Catalog(), "/staff")
	olga := userOf(t, snap, "olga")
	if olga.Enabled {
		t.Fatal("olga does not look disabled")
	}
	got := mustConfirm(t, s, snap, removal(groups, olga), removal(groups, userOf(t, snap, "off")), removal(groups, userOf(t, snap, "both")), grant(groups, userOf(t, snap, "local")))
	wantEvidence(t, got, 0, source.Disabled, true, "read twice: the account is disabled, but not in Keycloak's database (Keycloak shows the members of an organization that is switched off as disabled)")
	wantEvidence(t, got, 1, source.Disabled, false, "read twice: the account is disabled, in Keycloak's own database too")
	wantEvidence(t, got, 2, source.Disabled, false, "read twice: the account is disabled, in Keycloak's own database too")
	wantEvidence(t, got, 3, source.Member, false, "read twice")
	o.SetEnabled(t, true)
	got = mustConfirm(t, s, snap, removal(groups, olga), grant(groups, userOf(t, mustRead(t, s), "olga")))
	wantDoubt(t, got, 0, source.Unclear, "the second look finds the account enabled")
	wantEvidence(t, got, 1, source.Member, false, "read twice")
}

func TestPathsAreKeycloaksOwn(t *testing.T) {
	for _, row := range []struct {
		name   string
		server func(testing.TB) *keycloaktest.Server
		want   string // path of the top-level group a/b
	}{
		{"by default a slash in a name looks like a parent", keycloaktest.Shared, "/a/b"},
		{"with escaped slashes it does not", func(tb testing.TB) *keycloaktest.Server {
			return keycloaktest.Start(tb, keycloaktest.Options{EscapeSlashes: true})
		}, "/a~/b"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := row.server(t).NewRealm(t, keycloaktest.Spec{Groups: []string{"/a/b"}, Users: []keycloaktest.User{{Username: "slashed"}, {Username: "child", Groups: []string{"/a/b"}}}})
			r.AddClearML(t, true)
			top := r.Do(t, http.MethodPost, "/groups", map[string]any{"name": "a/b"}, nil)
			r.Do(t, http.MethodPut, "/users/"+r.UserID(t, "slashed")+"/groups/"+top, nil, nil)
			snap := mustRead(t, newSource(t, configOf(r)))
			g, _ := snap.Catalog().Group(top)
			if g.Path != row.want || g.Parent != "" {
				t.Errorf("the top-level group is %+v, want the path %s", g, row.want)
			}
			var paths []string
			for _, g := range snap.Catalog().Groups() {
				paths = append(paths, g.Path)
				members, _ := snap.Members(g.ID)
				for _, name := range names(snap, members) {
					if claim := r.Claim(t, name); !slices.Equal(claim, []string{g.Path}) {
						t.Errorf("%s is a member of %s and has the claim %q", name, g.Path, claim)
					}
				}
			}
			if diff := cmp.Diff([]string{"/a", "/a/b", row.want}, paths); diff != "" {
				t.Errorf("paths (-want +got):\n%s", diff)
			}
		})
	}
}

// Keycloak 24 and 26.0 answer 400 for the members of a group that LDAP has twice. groupsync reads
// the other groups. A question about the group that LDAP has twice gets no evidence.
func TestOlderReleasesCannotListAGroupThatLDAPHasTwice(t *testing.T) {
	for _, version := range keycloaktest.Older() {
		t.Run(version, func(t *testing.T) {
			server := keycloaktest.Start(t, keycloaktest.Options{Version: version})
			l := keycloaktest.StartLDAP(t, staff, map[string][]string{"eu/staff": {"feda"}, "us/staff": {"fedb"}, "dev": {"feda", "fedc"}})
			r := server.NewRealm(t, keycloaktest.Spec{Groups: []string{"/everybody"}, Users: []keycloaktest.User{{Username: "local", Email: "local@example.org", Groups: []string{"/everybody"}}}})
			r.AddClearML(t, false)
			f := r.Federate(t, l, keycloaktest.FederationOptions{Subtree: true})
			f.AddHardcodedGroup(t, "/everybody")
			r.ClearUserCache(t)
			o := &ownSide{ldap: l, realm: r, fed: f, source: newSource(t, configOf(r))}
			snap := o.read(t, staff...)
			twice := groupsOf(t, snap.Catalog(), "/staff")
			why := snap.Unreadable(twice[0].ID)
			if why != "reading the members of the group /staff: Keycloak answered 400" {
				t.Errorf("/staff is unreadable for the reason %q", why)
			}
			if got := membersOf(snap)["/dev"]; !slices.Equal(got, []string{"feda", "fedc"}) {
				t.Errorf("/dev is %q, want feda and fedc", got)
			}
			o.agree(t, snap, []string{"/dev"}, staff...)
			for name, s := range o.agree(t, snap, []string{"/everybody"}, staff...) {
				if !s.claimed || s.listed || s.removal.Denial != source.HiddenByList {
					t.Errorf("%s of the hardcoded group: %+v", name, s)
				}
			}
			got := mustConfirm(t, o.source, snap, removal(twice, userOf(t, snap, "fedc")), grant(twice, userOf(t, snap, "feda")))
			wantDoubt(t, got, 0, source.Unclear, "the members of the Keycloak group /staff were not read a second time")
			wantDoubt(t, got, 1, source.Unclear, "the members of the Keycloak group /staff were not read a second time")
		})
	}
}
