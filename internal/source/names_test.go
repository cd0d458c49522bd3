package source

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestFoldEmail covers B7: two emails are equal only if they differ in nothing but the case
// of ASCII letters.
func TestFoldEmail(t *testing.T) {
	for _, tt := range []struct {
		name, a, b string
		one        bool
	}{
		{"the case of ASCII letters does not count", "Kit@Example.COM", "kit@example.com", true},
		{"the Kelvin sign (U+212A) is no k", "\u212Ait@example.com", "kit@example.com", false},
		{"a dotted capital I (U+0130) is no i", "k\u0130t@example.com", "kit@example.com", false},
		{"a dotless i (U+0131) is no i", "k\u0131t@example.com", "KIT@example.com", false},
		{"other letters keep their case", "Ärzte@example.com", "ärzte@example.com", false},
		{"a long s (U+017F) is no s", "\u017Fam@example.com", "sam@example.com", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := FoldEmail(tt.a) == FoldEmail(tt.b); got != tt.one {
				t.Errorf("%q and %q fold to %q and %q", tt.a, tt.b, FoldEmail(tt.a), FoldEmail(tt.b))
			}
		})
	}
}

func TestRealmRole(t *testing.T) {
	for _, tt := range []struct {
		name, configured string
		realm            bool
		role             string
	}{
		{"a name without a slash is a realm role", "admin", true, "admin"},
		{"a name with a slash is a client's role", "a/b", false, "a/b"},
		{"a realm role whose name holds a slash is marked", "realm:a/b", true, "a/b"},
		{"the mark may stand before a plain name too", "realm:admin", true, "admin"},
		{"the mark is taken off once", "realm:realm:x", true, "realm:x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if realm, role := RealmRole(tt.configured); realm != tt.realm || role != tt.role {
				t.Errorf("RealmRole(%q) = %v, %q; want %v, %q", tt.configured, realm, role, tt.realm, tt.role)
			}
		})
	}
}

func TestEveryRealmRoleCanBeConfigured(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching("(realm:)?[a/:]{0,3}").Draw(t, "name")
		if realm, got := RealmRole(RealmRoleName(name)); !realm || got != name {
			t.Errorf("%q is configured as %q, which names %q (realm role: %v)", name, RealmRoleName(name), got, realm)
		}
	})
	if got := RealmRoleName("admin"); got != "admin" {
		t.Errorf("a plain name needs no mark, got %q", got)
	}
}

func TestNear(t *testing.T) {
	for _, tt := range []struct {
		name  string
		asked string
		names []string
		want  []string
	}{
		{"case, blanks, dashes and underscores do not count", "data-science", []string{"Data Science", "data_science", "datascience"}, []string{"Data Science", "data_science", "datascience"}},
		{"the path before the name does not count", "admins", []string{"/it/Admins"}, []string{"/it/Admins"}},
		{"the name itself is no near miss", "team", []string{"team"}, nil},
		{"two letters off", "engineers", []string{"enginers", "engines", "engine"}, []string{"enginers", "engines"}},
		{"a short name is near by its letters only", "dev", []string{"dex", "DEV"}, []string{"DEV"}},
		{"a name of four letters is long enough", "devs", []string{"devz"}, []string{"devz"}},
		{"singular and plural, of a short name too", "dev", []string{"devs", "Dev s"}, []string{"devs", "Dev s"}},
		{"an irregular plural", "policies", []string{"policy"}, []string{"policy"}},
		{"two letters that changed places", "team", []string{"taem"}, []string{"taem"}},
		{"other digits make another name", "team-17", []string{"team-18", "Team 17"}, []string{"Team 17"}},
		{"letters of several bytes count as one", "ärzte-nord", []string{"aerzte-nord", "arzte-nord"}, []string{"aerzte-nord", "arzte-nord"}},
		{"an ending of two s is no plural", "oss", []string{"os"}, nil},
		{"not more than three", "team", []string{"Team", "TEAM", "teams", "team-"}, []string{"Team", "TEAM", "teams"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, Near(tt.asked, tt.names)); d != "" {
				t.Errorf("Near(%q, %q): -want +got\n%s", tt.asked, tt.names, d)
			}
		})
	}
}
