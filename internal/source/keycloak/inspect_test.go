package keycloak

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/fault"
	"groupsync/internal/source"
	"groupsync/internal/source/keycloaktest"
)

// Accounts looks up one person as a pass does. If the look-up is not complete, Accounts returns an
// error.
func TestAccountsOfOnePerson(t *testing.T) {
	l := keycloaktest.StartLDAP(t, []string{"feda"}, map[string][]string{"staff": {"feda"}})
	r := keycloaktest.Shared(t).NewRealm(t, keycloaktest.Spec{Groups: []string{"/a"}, Users: []keycloaktest.User{{Username: "ann", Email: "ann@example.com"}}})
	r.Federate(t, l, keycloaktest.FederationOptions{})
	ann := r.UserID(t, "ann")
	s := newSource(t, configOf(r))
	rows := []struct {
		name   string
		person source.Person
		want   []string // usernames
		byID   bool
	}{
		{"by the kept id, whatever the email", source.Person{IDs: []string{"other", ann}, Email: "feda@example.org"}, []string{"ann"}, true},
		{"by the email, case ignored", source.Person{IDs: []string{"other"}, Email: "ANN@example.com"}, []string{"ann"}, false},
		{"nobody", source.Person{Email: "nobody@example.com"}, nil, false},
		{"nobody is looked up by an empty email", source.Person{}, nil, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			accounts, byID, err := s.Accounts(t.Context(), row.person)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, a := range accounts {
				got = append(got, a.Username)
			}
			if d := cmp.Diff(row.want, got); d != "" || byID != row.byID {
				t.Errorf("by id %v, want %v; -want +got\n%s", byID, row.byID, d)
			}
		})
	}
	t.Run("LDAP is away", func(t *testing.T) {
		l.Stop(t)
		_, _, err := s.Accounts(t.Context(), source.Person{Email: "nobody@example.com"})
		wantError(t, err, fault.Incomplete)
	})
}
