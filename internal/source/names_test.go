package source

import (
	"testing"

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
