package report

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// hostile returns a report in which every text from outside tries to forge a line of the
// report or to control the terminal.
func hostile() Report {
	return Report{
		Mode: "apply", Result: Guarded, Digest: "d1\nguard x",
		Groups: []Group{
			{Name: "team\nerror: forged", From: []string{"/a\u202e", "role r\x1b[2J"},
				Add:     []Change{{Name: "Ann\n  - Bob  applied", Email: "a\r@x", Why: "member of /a\n", Match: "id\n", Evidence: "\u2066e", Outcome: Done}},
				Remove:  []Change{{Name: "\u061cArabic", Email: "z\u200b@x", Why: "gone", Doubt: "\x9b31m", Outcome: Withheld, Guard: "g\n"}},
				Pending: []Pending{{Username: "p\u200f"}},
				Kept:    []Kept{{Name: "k\xff", Why: "local\u2028", Reason: "r\u2066\n  + Bob"}}},
			{Name: "own\u200e", OwnView: OwnView{Hides: 1}},
		},
		Skipped:  []Skip{{Name: "s\x00", Side: "clearml", Why: "remark\tabout \u2069"}},
		Guards:   []Trip{{Guard: Removals, Group: "t\n", Detail: "60 of \"x\n\""}},
		Approval: &Approval{Digest: "d\x1b", By: "o\u202d", Detail: "no\u200d"},
		Errors:   []Failure{{Text: "ClearML says:\nin_sync (apply)"}},
	}
}

func TestNamesAsTheyAreShown(t *testing.T) {
	for _, tt := range []struct{ what, in, want string }{
		{"an ordinary name", "Zoë O'Brien (local)", "Zoë O'Brien (local)"},
		{"a name in Arabic", "أحمد", "أحمد"},
		{"a name in Japanese with its wide space", "山田\u3000太郎", "山田\u3000太郎"},
		{"a name with a combining mark", "e\u0301ve", "e\u0301ve"},
		{"a heart with its variation selector", "I \u2764\ufe0f ML", "I \u2764\ufe0f ML"},
		{"a path with a backslash", `/a\b`, `/a\b`},
		{"a line break", "a\nb", `"a\nb"`},
		{"a carriage return", "a\rb", `"a\rb"`},
		{"a vertical tab", "a\vb", `"a\vb"`},
		{"a line separator", "a\u2028b", `"a\u2028b"`},
		{"a paragraph separator", "a\u2029b", `"a\u2029b"`},
		{"a next line", "a\u0085b", `"a\u0085b"`},
		{"an escape sequence", "\x1b[31mred", `"\x1b[31mred"`},
		{"a control sequence in one character", "\u009b31m", `"\u009b31m"`},
		{"a backspace", "ab\b", `"ab\b"`},
		{"a delete", "a\x7f", `"a\x7f"`},
		{"a null", "a\x00", `"a\x00"`},
		{"embeddings and overrides", "\u202a\u202b\u202c\u202d\u202e", `"\u202a\u202b\u202c\u202d\u202e"`},
		{"isolates", "\u2066\u2067\u2068\u2069", `"\u2066\u2067\u2068\u2069"`},
		{"marks of direction", "\u200e\u200f\u061c", `"\u200e\u200f\u061c"`},
		{"zero widths", "a\u200b\u200c\u200d\u2060\ufeffb", `"a\u200b\u200c\u200d\u2060\ufeffb"`},
		{"a soft hyphen", "a\u00adb", `"a\u00adb"`},
		{"a filler that shows nothing", "\u3164", `"\u3164"`},
		{"a tag character", "a\U000e0041", `"a\U000e0041"`},
		{"bytes that are not UTF-8", "a\xff\xfe", `"a\ufffd\ufffd"`},
		{"quotes where others are needed", "\"a\\\n", `"\"a\\\n"`},
		{"a name that looks quoted", `"a\n"`, `"\"a\\n\""`},
		{"a name that looks like two columns", "Bob  applied", `"Bob  applied"`},
		{"a name that brings an address", "Bob <b@x>", `"Bob <b@x>"`},
		{"a space at the end", "Bob ", `"Bob "`},
		{"nothing", "", `""`},
	} {
		if got := name(tt.in); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.what, got, tt.want)
		}
	}
}

func TestEscapedLinesStayLines(t *testing.T) {
	if got, want := EscapeLines("a\x1b\n\tb\u202e\r\n"), "a\\x1b\n\tb\\u202e\\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestTheJSONReachesNoTerminal checks that the JSON holds nothing that controls a terminal,
// and that it decodes to the same report.
func TestTheJSONReachesNoTerminal(t *testing.T) {
	r := hostile()
	r.Groups[0].Kept[0].Name = "a\U000e0041\u202e\x7f\u009b"
	var b bytes.Buffer
	if err := JSON(&b, r); err != nil {
		t.Fatal(err)
	}
	if s := strings.ReplaceAll(b.String(), "\n", ""); !isPlain(s) {
		t.Errorf("it holds a character that a terminal could take for its own: %q", s)
	}
	if got := throughJSON(t, r).Groups[0].Kept[0].Name; got != r.Groups[0].Kept[0].Name {
		t.Errorf("decoded %q", got)
	}
	if !json.Valid(b.Bytes()) {
		t.Error("it is no JSON")
	}
}
