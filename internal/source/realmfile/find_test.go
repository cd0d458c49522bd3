package realmfile_test

import (
	"slices"
	"testing"

	"groupsync/internal/source"
	"groupsync/internal/source/realmfile"
)

// TestFindAndGroupsOf looks up people by username, and the groups of an account whose
// federation may be switched off.
func TestFindAndGroupsOf(t *testing.T) {
	realm := &realmfile.Realm{
		Name: "r", Groups: []realmfile.Group{{ID: "a", Name: "a", SubGroups: []realmfile.Group{{ID: "b", Name: "b"}}}},
		Users: []realmfile.User{
			{ID: "1", Username: "ann", Enabled: true, Groups: []string{"/a/b", "/a"}, FederationLink: "fed"},
			{ID: "2", Username: "service-account-app", Enabled: true, ServiceAccount: "app"},
		},
		Components: map[string][]realmfile.Component{"org.keycloak.storage.UserStorageProvider": {{ID: "fed", Name: "corp", ProviderID: "ldap"}}},
	}
	s := realmfile.New(realm)
	catalog, err := s.Catalog(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"ANN": "1", "an": "", "service-account-app": "2"} {
		found, err := s.Find(t.Context(), catalog, []source.Person{{Username: name}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, u := range found.Found[0].Accounts {
			got += u.ID
		}
		if got != want {
			t.Errorf("the username %s finds %q, want %q", name, got, want)
		}
	}
	groups := func() source.OwnGroups {
		t.Helper()
		found, err := s.GroupsOf(t.Context(), catalog, []source.User{{ID: "1", Federation: "fed"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return found["1"]
	}
	if own := groups(); !slices.Equal(own.Groups, []string{"a", "b"}) || own.Doubt != "" {
		t.Errorf("got %+v", own)
	}
	s.Edit(func(r *realmfile.Realm) {
		r.Components["org.keycloak.storage.UserStorageProvider"][0].Config = map[string][]string{"enabled": {"false"}}
	})
	const want = "the federation corp is not up, so groups that come from it can be missing: it is switched off in Keycloak"
	if own := groups(); own.Doubt != want {
		t.Errorf("the doubt is %q, want %q", own.Doubt, want)
	}
	s.Edit(func(r *realmfile.Realm) {
		r.Users = r.Users[1:]
		r.Components["org.keycloak.storage.UserStorageProvider"][0].Config = nil
	})
	if own := groups(); own.Doubt != "the realm no longer has the account" {
		t.Errorf("the doubt is %q", own.Doubt)
	}
}
