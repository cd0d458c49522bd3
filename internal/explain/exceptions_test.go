package explain_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"groupsync/internal/explain"
	"groupsync/internal/match"
	"groupsync/internal/reconcile"
)

// TestAnswersTellOfExceptions checks that the answer says until when an exception keeps the
// member, and why.
func TestAnswersTellOfExceptions(t *testing.T) {
	for _, tt := range []struct {
		name string
		of   match.Exception
		want string
	}{
		{"with an end and a reason", match.Exception{Match: "eve@*", Until: noon.Add(time.Hour), Reason: "hands over"},
			"  = kept  stays: an exception of users.protect keeps the membership until 2026-11-24T13:00:00Z: hands over\n"},
		{"without an end", match.Exception{Match: "eve@*", Groups: []string{"ml-team"}},
			"  = kept  stays: an exception of users.protect keeps the membership\n"},
		{"with a hostile reason", match.Exception{Match: "eve@*", Reason: hostile},
			`  = kept  stays: an exception of users.protect keeps the membership: \u202e<script>alert(1)</script>\n  + add  forged\x1b[2J` + "\n"},
		{"that has ended", match.Exception{Match: "eve@*", Until: noon}, "  - remove  the next pass that may write removes the person: the account is disabled\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := look(t, nil)
			o := r.Rules.Options
			o.Exceptions = []match.Exception{tt.of}
			var err error
			if r.Rules, err = match.Compile(o); err != nil {
				t.Fatal(err)
			}
			v, err := r.Look(t.Context(), reconcile.Subject{User: "eve"})
			if err != nil {
				t.Fatal(err)
			}
			var text, data bytes.Buffer
			if err := explain.Text(&text, explain.Of(v)); err != nil {
				t.Fatal(err)
			}
			if err := explain.JSON(&data, explain.Of(v)); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(text.String(), tt.want) {
				t.Errorf("the text lacks %q:\n%s", tt.want, text.String())
			}
			plain(t, text.String()+data.String())
		})
	}
}
