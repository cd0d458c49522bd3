package near

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNearest(t *testing.T) {
	keys := []string{"jitter", "mode", "name", "state", "state_dir"}
	for asked, want := range map[string]string{"mod": "mode", "nane": "name", "state_di": "state_dir", "shutdown": ""} {
		if got := Nearest(asked, keys); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", asked, got, want)
		}
	}
}

func TestNames(t *testing.T) {
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
			if d := cmp.Diff(tt.want, Names(tt.asked, tt.names)); d != "" {
				t.Errorf("Names(%q, %q): -want +got\n%s", tt.asked, tt.names, d)
			}
		})
	}
}
