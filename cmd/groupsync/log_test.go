package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/config"
)

var logTime = regexp.MustCompile(`time=\d\S+|"time":"[^"]*"`)

// TestNamesForgeNoLineOfTheLog: names cannot forge a line of the log or control a terminal, in
// either format.
func TestNamesForgeNoLineOfTheLog(t *testing.T) {
	for _, tt := range []struct{ format, want string }{
		{"text", `TIME level=INFO msg="membership change\nended" audit=true user="Ann\ntime=x level=INFO" group="\u202eteam" path=/a\x7f email="\x1b[2J" errors="[a\nb \u200f]" csi="\u009b31m" filler=\u3164 bytes="\xff"
TIME level=INFO msg="the next line"
`},
		{"json", `{TIME,"level":"INFO","msg":"membership change\nended","audit":true,"user":"Ann\ntime=x level=INFO","group":"\u202eteam","path":"/a\u007f","email":"\u001b[2J","errors":["a\nb","\u200f"],"csi":"\u009b31m","filler":"\u3164","bytes":"\ufffd"}
{TIME,"level":"INFO","msg":"the next line"}
`},
	} {
		var b strings.Builder
		log := newLog(program{stderr: &b}, config.Log{Level: "info", Format: tt.format})
		log.Info("membership change\nended", "audit", true, "user", "Ann\ntime=x level=INFO", "group", "\u202eteam", "path", "/a\x7f",
			"email", "\x1b[2J", "errors", []string{"a\nb", "\u200f"}, "csi", "\u009b31m", "filler", "\u3164", "bytes", "\xff")
		log.Info("the next line")
		if d := cmp.Diff(tt.want, logTime.ReplaceAllString(b.String(), "TIME")); d != "" {
			t.Errorf("%s: -want +got\n%s", tt.format, d)
		}
	}
}

// TestAnErrorForgesNothingOnStderr: several errors stay several lines.
func TestAnErrorForgesNothingOnStderr(t *testing.T) {
	got := inProcess(t, nil, "--once", "--\x1b[2J\u202e")
	if want := "groupsync: unknown flag: --\\x1b[2J\\u202e: groupsync --help lists the commands and flags\n"; got.code != 1 || got.stderr != want {
		t.Errorf("exit code %d, %q\nwant 1, %q", got.code, got.stderr, want)
	}
}
