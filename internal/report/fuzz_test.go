package report

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode"
)

// FuzzReport checks that a decoded report is the same after it is sealed and unsealed, and
// that its JSON holds nothing that could control a terminal. A changed byte of a sealed report
// must be detected.
func FuzzReport(f *testing.F) {
	f.Add([]byte(`{"pass":"p","groups":[{"name":"a","id":"g","add":[{"id":"u","name":"\u001b[31m\u202e"}]}]}`), 7)
	f.Add([]byte(`{"pass":"p","errors":[{"system":"keycloak","text":"<b>\n"}],"duration_seconds":1e300}`), 0)
	f.Add([]byte(`{}`), 3)
	f.Fuzz(func(t *testing.T, text []byte, at int) {
		var r Report
		if json.Unmarshal(text, &r) != nil {
			return
		}
		var first, second bytes.Buffer
		if err := SealedJSON(&first, r); err != nil {
			return // a time beyond the year 9999
		}
		for _, c := range first.String() {
			if c != '\n' && (unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c)) {
				t.Errorf("the JSON holds %U", c)
			}
		}
		again, err := Unseal(first.Bytes())
		if err != nil {
			t.Fatalf("sealed, and not unsealed: %v", err)
		}
		if err := SealedJSON(&second, again); err != nil || !bytes.Equal(first.Bytes(), second.Bytes()) {
			t.Errorf("%v\nfirst\n%s\nagain\n%s", err, first.Bytes(), second.Bytes())
		}
		changed := bytes.Clone(first.Bytes())
		changed[uint(at)%uint(len(changed))] ^= 1
		if _, err := Unseal(changed); err == nil {
			t.Errorf("a changed byte at %d is accepted", at)
		}
	})
}

// FuzzUnseal checks that a file which Unseal accepts gives a report that can be sealed.
func FuzzUnseal(f *testing.F) {
	var b bytes.Buffer
	if err := SealedJSON(&b, Report{Pass: "p"}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Unseal(data)
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := SealedJSON(&again, r); err != nil {
			t.Errorf("accepted, and not sealed: %v", err)
		}
	})
}
