package reach_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"groupsync/internal/source"
	"groupsync/internal/source/keycloak"
	"groupsync/internal/source/keycloaktest"
)

// TestTheDocumentedRolesSuffice checks the table of docs/security.md against the real
// Keycloak. With its roles everything that a pass reads can be read, and check finds no role
// missing and none unused. With one role less, the reading fails or check warns, and the role
// is named.
func TestTheDocumentedRolesSuffice(t *testing.T) {
	for _, tt := range []struct {
		name   string
		roles  []string
		admin  string // admins.role
		events bool   // keycloak.events: poll
		less   []string
	}{
		{"a pass", []string{"view-users", "view-realm"}, "", false, []string{"view-users", "view-realm"}},
		{"an admin role of a client", []string{"view-users", "view-realm", "view-clients"}, "web/admin", false, []string{"view-clients"}},
		{"an admin role of the realm, which a composite role of a client contains", []string{"view-users", "view-realm", "view-clients"}, "realm:boss", false, []string{"view-clients"}},
		{"admin events", []string{"view-users", "view-realm", "view-events"}, "", true, []string{"view-events"}},
		{"all of it", []string{"view-users", "view-realm", "view-clients", "view-events"}, "web/admin", true, nil},
	} {
		try := func(t *testing.T, roles []string) (findings string, err error) {
			r := keycloaktest.Shared(t).NewRealm(t, keycloaktest.Spec{
				Groups: []string{"/team", "/other"}, ServiceRoles: roles,
				Users:      []keycloaktest.User{{Username: "ann", Groups: []string{"/team"}, Roles: []string{"web/lead"}}, {Username: "bob"}},
				Composites: map[string][]string{"web/lead": {"web/admin", "boss"}},
			})
			r.SaveAdminEvents(t)
			c := reachingOf(r)
			c.options.AdminRole, c.options.Events = tt.admin, tt.events
			findings = printed(t, c.checks(t), "keycloak-credentials", "keycloak-token", "keycloak-scope", "keycloak-roles", "keycloak-permissions", "keycloak-groups", "keycloak-events")
			s, err := keycloak.New(c.keycloak)
			must(t, err)
			return findings, reads(t.Context(), s, tt.admin, tt.events, r.UserID(t, "bob"))
		}
		t.Run(tt.name, func(t *testing.T) {
			findings, err := try(t, tt.roles)
			if err != nil {
				t.Errorf("with the roles %s: %v", tt.roles, err)
			}
			for _, line := range strings.Split(strings.TrimSpace(findings), "\n") {
				if !strings.HasPrefix(line, "✔ ") {
					t.Errorf("with the roles %s check finds %s", tt.roles, line)
				}
			}
		})
		for _, role := range tt.less {
			t.Run(tt.name+", without "+role, func(t *testing.T) {
				findings, err := try(t, slices.DeleteFunc(slices.Clone(tt.roles), func(r string) bool { return r == role }))
				sensed := false
				for _, line := range strings.Split(findings, "\n") {
					sensed = sensed || !strings.HasPrefix(line, "✔ ") && strings.Contains(line, "lacks "+role+" of realm-management")
				}
				if !sensed {
					t.Errorf("check does not name the role:\n%s", findings)
				}
				// A realm role can be read without view-clients too. Its holders by a
				// composite of a client are then kept. Everything else fails.
				if partial := role == "view-clients" && strings.HasPrefix(tt.admin, "realm:"); partial {
					if err == nil || !strings.Contains(err.Error(), "partly") {
						t.Errorf("the reading says %v, want that the holders are seen partly", err)
					}
				} else if err == nil || !strings.Contains(err.Error(), role) {
					t.Errorf("the reading says %v, and does not name the role", err)
				}
			})
		}
	}
}

// reads makes each kind of read of a pass: groups, members, holders of the admin role, the
// look-up and the second look of somebody who is in no group, and admin events.
func reads(ctx context.Context, s *keycloak.Source, admin string, events bool, bob string) error {
	catalog, err := s.Catalog(ctx)
	if err != nil {
		return err
	}
	var wanted source.Selection
	if admin != "" {
		wanted.Roles = []string{admin}
	}
	for _, g := range catalog.Groups() {
		wanted.Groups = append(wanted.Groups, g.ID)
	}
	snap, err := s.Read(ctx, catalog, wanted)
	if err != nil {
		return err
	}
	if admin != "" {
		if r := snap.Role(admin); !r.Found || r.Partial {
			return fmt.Errorf("the role %s is seen partly: %+v", admin, r)
		}
		if n := len(snap.HoldersOfRole(admin)); n != 1 {
			return fmt.Errorf("%d people hold the role %s, want 1", n, admin)
		}
	}
	if snap, err = s.LookUp(ctx, snap, []source.Person{{Key: "bob", IDs: []string{bob}}}, nil); err != nil {
		return err
	}
	found, _ := snap.Found("bob")
	if len(found.Accounts) != 1 || found.Doubt != "" {
		return fmt.Errorf("the look-up finds %+v", found)
	}
	c, err := s.Confirm(ctx, snap, []source.Question{{Group: "target", User: "bob", Accounts: found.Accounts, Sources: catalog.Groups(), Role: admin}}, nil)
	if err != nil {
		return err
	}
	if a := c.Answers[0]; a.Doubt != "" {
		return fmt.Errorf("the second look is in doubt: %+v", a)
	}
	if events {
		_, _, err = s.AdminEvents(ctx, time.Now().Add(-time.Hour))
	}
	return err
}
