package match

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestExpiring(t *testing.T) {
	now := time.Date(2026, 12, 24, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name  string
		until time.Time
		want  int
	}{
		{"without an end", time.Time{}, 0},
		{"ended long ago", now.AddDate(-1, 0, 0), 0},
		{"ends now", now, 0},
		{"ends in a moment", now.Add(1), 1},
		{"ends in seven days", now.AddDate(0, 0, 7), 1},
		{"ends a moment later than that", now.AddDate(0, 0, 7).Add(1), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := len(Expiring([]Exception{{Match: "a", Until: tt.until}}, now)); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

// TestAt: At returns rules with only the exceptions that have not ended. The original rules
// stay unchanged.
func TestAt(t *testing.T) {
	now := time.Date(2026, 12, 24, 12, 0, 0, 0, time.UTC)
	over, counts, ever := Exception{Match: "over", Until: now}, Exception{Match: "counts", Until: now.Add(1)}, Exception{Match: "ever"}
	r := compile(t, Options{Exceptions: []Exception{over, counts, ever}})
	if d := cmp.Diff([]Exception{counts, ever}, r.At(now).Exceptions); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if d := cmp.Diff([]Exception{over, counts, ever}, r.Exceptions); d != "" {
		t.Errorf("At changed its rules\n%s", d)
	}
	if got := r.At(now).matching([]string{"over"}); got != nil {
		t.Errorf("one that has ended still matches: %v", got)
	}
	if d := cmp.Diff([]Exception{over}, r.matching([]string{"", "OVER"})); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}
