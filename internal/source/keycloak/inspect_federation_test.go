package keycloak

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"groupsync/internal/fault"
	"groupsync/internal/source"
	"groupsync/internal/source/keycloaktest"
)

// components answers the request by its type and parent: with the federations, or with the
// mappers of one federation. A request for mappers without a parent finds none, as in a real
// Keycloak.
func components(storages string, mappers map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body := storages
		if strings.HasSuffix(r.URL.Query().Get("type"), ".LDAPStorageMapper") {
			body = cmp.Or(mappers[r.URL.Query().Get("parent")], `[]`)
		}
		answer(body)(w, r)
	}
}

func TestInspectFederations(t *testing.T) {
	for _, tt := range []struct {
		name     string
		storages string
		mappers  map[string]string // by federation
		defaults string
		want     FederationSettings
	}{
		{"a realm without federations", `[]`, nil, `[]`, FederationSettings{}},
		{
			"Keycloak's defaults stand for settings that are not there",
			`[{"id":"f1","name":"corp","providerId":"ldap","config":{"searchScope":["1"]}}]`,
			map[string]string{"f1": `[{"id":"m1","name":"groups","providerId":"group-ldap-mapper","config":{"mode":["READ_ONLY"]}}]`}, `[]`,
			FederationSettings{Storages: []Storage{{
				ID: "f1", Name: "corp", Provider: "ldap", Enabled: true, Imports: true, CachePolicy: "DEFAULT",
				Mappers: []StorageMapper{{ID: "m1", Name: "groups", Kind: GroupMapper, Mode: "READ_ONLY", Path: "/", NameAttribute: "cn"}},
			}}},
		},
		{
			"every setting, sorted by name, with mappers at their own federation",
			`[{"id":"f2","name":"b","providerId":"kerberos","config":{}},
			  {"id":"f1","name":"a","providerId":"ldap","config":{"enabled":["false"],"importEnabled":["false"],"cachePolicy":["NO_CACHE"],
			   "changedSyncPeriod":["60"],"fullSyncPeriod":["86400"],"searchScope":["2"],"connectionTimeout":["5000"],"readTimeout":["1"],
			   "usernameLDAPAttribute":["uid"],"rdnLDAPAttribute":["cn"],"uuidLDAPAttribute":["entryUUID"],"customUserSearchFilter":["(mail=*)"]}}]`,
			map[string]string{"f1": `[{"id":"m3","name":"z","providerId":"hardcoded-ldap-role-mapper","config":{"role":["app.boss"]}},
			  {"id":"m2","name":"y","providerId":"hardcoded-ldap-group-mapper","config":{"group":["all/of us"]}},
			  {"id":"m1","name":"x","providerId":"group-ldap-mapper","config":{"mode":["IMPORT"],"groups.path":["/teams/"],"group.name.ldap.attribute":["ou"]}}]`,
				"f2": `[{"id":"m4","name":"email","providerId":"user-attribute-ldap-mapper","config":{}}]`},
			`[{"id":"g2","name":"new","path":"/new"},{"id":"g1","name":"a","path":"/all/a"}]`,
			FederationSettings{
				Storages: []Storage{
					{
						ID: "f1", Name: "a", Provider: "ldap", CachePolicy: "NO_CACHE", Sync: time.Minute, Subtree: true, ConnectionTimeout: true, ReadTimeout: true,
						UsernameAttribute: "uid", RDNAttribute: "cn", UUIDAttribute: "entryUUID", UserFilter: "(mail=*)",
						Mappers: []StorageMapper{
							{ID: "m1", Name: "x", Kind: GroupMapper, Mode: "IMPORT", Path: "/teams", NameAttribute: "ou"},
							{ID: "m2", Name: "y", Kind: HardcodedGroup, Group: "/all/of us"},
							{ID: "m3", Name: "z", Kind: HardcodedRole, Role: "app.boss"},
						},
					},
					{ID: "f2", Name: "b", Provider: "kerberos", Enabled: true, Imports: true, CachePolicy: "DEFAULT", Mappers: []StorageMapper{{ID: "m4", Name: "email", Kind: "user-attribute-ldap-mapper"}}},
				},
				DefaultGroups: []source.Group{{ID: "g1", Name: "a", Path: "/all/a"}, {ID: "g2", Name: "new", Path: "/new"}},
			},
		},
		{
			"a period or a limit that is none is not set, and a full sync is a sync",
			`[{"id":"f1","name":"a","providerId":"ldap","config":{"changedSyncPeriod":["-1"],"fullSyncPeriod":["3600"],"connectionTimeout":["0"],"readTimeout":["soon"]}}]`, nil, `[]`,
			FederationSettings{Storages: []Storage{{ID: "f1", Name: "a", Provider: "ldap", Enabled: true, Imports: true, CachePolicy: "DEFAULT", Sync: time.Hour}}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, s := newFake(t, nil)
			f.answers["/components"], f.answers["/default-groups"] = components(tt.storages, tt.mappers), answer(tt.defaults)
			got, err := s.InspectFederations(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if d := gocmp.Diff(tt.want, got); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

func TestInspectFederationsRefusesWhatIsNotWhole(t *testing.T) {
	forbidden := status(http.StatusForbidden, "application/json", `{"error":"HTTP 403 Forbidden"}`)
	one := `[{"id":"f1","name":"a","providerId":"ldap"}]`
	for _, tt := range []struct {
		name               string
		components, groups http.HandlerFunc
		reason             fault.Reason
		want               string
	}{
		{"the reader may not see components", forbidden, answer(`[]`), fault.Forbidden,
			`reading the realm's federations: Keycloak refuses the call (403 HTTP 403 Forbidden). The call needs the role view-realm of realm-management`},
		{"the reader may not see default groups", components(one, nil), forbidden, fault.Forbidden,
			`reading the realm's default groups: Keycloak refuses the call (403 HTTP 403 Forbidden). The call needs the role view-realm of realm-management`},
		{"the mappers are no list", components(one, map[string]string{"f1": `{}`}), answer(`[]`), fault.Shape, `reading the mappers of the federation a: the answer of 2 bytes is not complete JSON of the documented form`},
		{"a default group without a name", components(one, nil), answer(`[{"id":"g1"}]`), fault.Shape, `reading the realm's default groups: an entry lacks its id or its name`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, s := newFake(t, nil)
			f.answers["/components"], f.answers["/default-groups"] = tt.components, tt.groups
			_, err := s.InspectFederations(t.Context())
			wantError(t, err, tt.reason, tt.want)
		})
	}
}

// Keycloak masks the bind's password and shows the bind DN. The package returns neither.
func TestInspectFederationsOfARealKeycloakTellsNoCredentials(t *testing.T) {
	l := keycloaktest.StartLDAP(t, staff, map[string][]string{"staff": staff})
	r := keycloaktest.Shared(t).NewRealm(t, keycloaktest.Spec{Groups: []string{"/new"}, DefaultGroups: []string{"/new"}})
	fed := r.Federate(t, l, keycloaktest.FederationOptions{Subtree: true, UserFilter: "(mail=*)", Cache: keycloaktest.NoCache})
	fed.AddHardcodedGroup(t, "/new")
	got, err := newSource(t, configOf(r)).InspectFederations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Storages) != 1 || len(got.DefaultGroups) != 1 {
		t.Fatalf("got %+v, want one federation and one default group", got)
	}
	s := got.Storages[0]
	var mappers []StorageMapper
	for _, m := range s.Mappers {
		if m.ID = ""; m.Kind == GroupMapper || m.Kind == HardcodedGroup {
			mappers = append(mappers, m)
		}
	}
	s.Mappers = mappers
	want := Storage{
		ID: fed.ID, Name: "ldap", Provider: "ldap", Enabled: true, Imports: true, CachePolicy: "NO_CACHE", Subtree: true, ConnectionTimeout: true, ReadTimeout: true,
		UsernameAttribute: "uid", RDNAttribute: "uid", UUIDAttribute: "entryUUID", UserFilter: "(mail=*)",
		Mappers: []StorageMapper{{Name: "groups", Kind: GroupMapper, Mode: "READ_ONLY", Path: "/", NameAttribute: "cn"}, {Name: "hardcoded group new", Kind: HardcodedGroup, Group: "/new"}},
	}
	if d := gocmp.Diff(want, s); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if d := gocmp.Diff([]source.Group{{ID: r.GroupID(t, "/new"), Name: "new", Path: "/new"}}, got.DefaultGroups); d != "" {
		t.Errorf("default groups: -want +got\n%s", d)
	}
	for _, secret := range []string{"reader", "password", "**", l.URL} {
		if strings.Contains(fmt.Sprintf("%+v", got), secret) {
			t.Errorf("the settings hold %q: %+v", secret, got)
		}
	}
}
