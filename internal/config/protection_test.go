package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// TestProtect: a file, a variable and a flag can each set users.protect with globs and exceptions.
func TestProtect(t *testing.T) {
	const list = `[root@*, {match: "b@*", groups: [team, cm-1], until: 2026-12-31, reason: "leaves: soon"}, {match: c}]`
	want := []Protection{{Match: "root@*"}, {Match: "b@*", Groups: []string{"team", "cm-1"}, Until: "2026-12-31", Reason: "leaves: soon"}, {Match: "c"}}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	AddFlags(flags)
	if err := flags.Parse([]string{"--users.protect", list}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		from Options
	}{
		{"a file", Options{File: write(t, needed+"users:\n  protect: "+list+"\n")}},
		{"a file with the day in quotes, and an alias", Options{File: write(t, needed+`
users:
  protect:
    - root@*
    - match: "b@*"
      groups: [&team team, cm-1]
      until: "2026-12-31"
      reason: "leaves: soon"
    - {match: c}
`)}},
		{"the environment", Options{File: write(t, needed), Env: []string{"GROUPSYNC_USERS_PROTECT=" + list}}},
		{"the environment, as JSON", Options{File: write(t, needed), Env: []string{`GROUPSYNC_USERS_PROTECT=["root@*", {"match": "b@*", "groups": ["team", "cm-1"], "until": "2026-12-31", "reason": "leaves: soon"}, {"match": "c"}]`}}},
		{"a flag", Options{File: write(t, needed), Flags: flags}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Load(tt.from)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, c.Users.Protect); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

func TestPlain(t *testing.T) {
	for _, tt := range []struct {
		name string
		of   Protection
		want bool
	}{
		{"a glob alone", Protection{Match: "a"}, true},
		{"with groups", Protection{Match: "a", Groups: []string{"b"}}, false},
		{"with an end", Protection{Match: "a", Until: "2026-12-31"}, false},
		{"with a reason", Protection{Match: "a", Reason: "b"}, false},
	} {
		if got := tt.of.Plain(); got != tt.want {
			t.Errorf("%s: got %v", tt.name, got)
		}
	}
}

func TestEnd(t *testing.T) {
	for _, tt := range []struct {
		until string
		want  time.Time
	}{
		{"", time.Time{}},
		{"2026-12-31", time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"2028-02-28", time.Date(2028, 2, 29, 0, 0, 0, 0, time.UTC)},
		{"2026-12-31T18:00:00Z", time.Date(2026, 12, 31, 18, 0, 0, 0, time.UTC)},
		{"2026-12-31T18:00:00.5+01:00", time.Date(2026, 12, 31, 17, 0, 0, 500_000_000, time.UTC)},
	} {
		if got := (Protection{Match: "a", Until: tt.until}).End(); !got.Equal(tt.want) || got.Location() != time.UTC {
			t.Errorf("%q ends at %s, want %s", tt.until, got, tt.want)
		}
	}
}

// TestEnded: the sentence names the entry by its number, and contains no person's name or email.
func TestEnded(t *testing.T) {
	u := Users{Protect: []Protection{{Match: "ann@*"}, {Match: "bob@*", Until: "2026-12-31"}, {Match: "cid@*", Until: "2027-01-01T00:00:01Z"}}}
	want := []string{"users.protect: entry 2 ended at 2027-01-01T00:00:00Z and no longer protects anybody: remove the entry, or set a later end"}
	if d := cmp.Diff(want, u.Ended(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if got := u.Ended(time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC)); got != nil {
		t.Errorf("before the end: %q", got)
	}
}
