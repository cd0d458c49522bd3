package debian

import "testing"

func TestInstall(t *testing.T) {
	for _, tt := range []struct {
		name     string
		path     string
		programs []string
		want     string
	}{
		{name: "what is there is not installed again", path: t.TempDir()},
		{
			name: "without apt-get it is said what to install", path: t.TempDir(), programs: []string{"slapd", "ldapmodify"},
			want: "the test needs slapd, ldapmodify, which are not all on the PATH: install them (Debian: apt-get install slapd ldap-utils, with /usr/sbin on the PATH), or run go test -short",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("PATH", tt.path)
			got := ""
			if err := Install(tt.programs, "slapd", "ldap-utils"); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}
