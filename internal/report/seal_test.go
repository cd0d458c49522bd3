package report

import (
	"bytes"
	"strings"
	"testing"
)

// TestASealedReportComesBack checks that a sealed report is the JSON of the report with one
// more key, and that Unseal returns the same report. It refuses a changed one.
func TestASealedReportComesBack(t *testing.T) {
	r := Report{Pass: "P", Sync: "default", Groups: []Group{{Name: "a \u202e b", ID: "g", Remove: []Change{{ID: "ann", Outcome: Done}}}}}
	var plain, sealed, again bytes.Buffer
	if err := JSON(&plain, r); err != nil {
		t.Fatal(err)
	}
	if err := SealedJSON(&sealed, r); err != nil {
		t.Fatal(err)
	}
	body, tail, found := strings.Cut(sealed.String(), ",\n  \"sha256\": ")
	if !found || body+"\n}\n" != plain.String() || len(tail) != 64+len("\"\"\n}\n") {
		t.Errorf("the sealed report is\n%s", sealed.String())
	}
	back, err := Unseal(sealed.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := JSON(&again, back); err != nil || again.String() != plain.String() {
		t.Errorf("%v; it came back as\n%s", err, again.String())
	}
	for _, row := range []struct{ name, text, want string }{
		{"without the key", plain.String(), "was cut or edited: it does not end in its sha256"},
		{"cut", sealed.String()[:sealed.Len()-2], "was cut or edited: it does not end in its sha256"},
		{"edited", strings.Replace(sealed.String(), "ann", "bob", 1), "was edited: its sha256 does not match its content"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := Unseal([]byte(row.text)); err == nil || err.Error() != row.want {
				t.Errorf("error %v, want %s", err, row.want)
			}
		})
	}
}
