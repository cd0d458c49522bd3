package daemon

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"groupsync/internal/config"
)

// TestAnEndedExceptionIsAWarning: the log names the number of the entry, and no person.
func TestAnEndedExceptionIsAWarning(t *testing.T) {
	c := config.Default()
	c.Users.Protect = []config.Protection{{Match: "ann@*"}, {Match: "bob@*", Until: "2020-12-31"}}
	var log bytes.Buffer
	warn(c, slog.New(slog.NewTextHandler(&log, nil)))
	want := `level=WARN msg="users.protect: entry 2 ended at 2021-01-01T00:00:00Z and no longer protects anybody: remove the entry, or set a later end"`
	if got := log.String(); !strings.Contains(got, want) || strings.Count(got, "\n") != 1 || strings.Contains(got, "bob") {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// TestWarnOfPlainHTTP: a daemon warns of each side that it reaches without TLS.
func TestWarnOfPlainHTTP(t *testing.T) {
	const what = " is an http:// address of another machine: groupsync sends its secret and its tokens unencrypted. Others on the network can read them and change the answers. Use https://"
	for _, tt := range []struct {
		name, keycloak, clearml string
		want                    []string
	}{
		{"both by https", "https://auth.example.com", "https://api.example.com", nil},
		{"both on this machine", "http://127.0.0.1:8080", "http://localhost:8008", nil},
		{"Keycloak by http", "http://auth.example.com", "https://api.example.com", []string{"keycloak.url" + what}},
		{"ClearML by http", "https://auth.example.com", "http://apiserver:8008", []string{"clearml.url" + what}},
		{"both by http", "http://10.0.0.7", "http://apiserver:8008", []string{"keycloak.url" + what, "clearml.url" + what}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var c config.Config
			c.Keycloak.URL, c.ClearML.URL = tt.keycloak, tt.clearml
			var out bytes.Buffer
			warn(c, slog.New(slog.NewJSONHandler(&out, nil)))
			var got []string
			for d := json.NewDecoder(&out); d.More(); {
				var line struct{ Level, Msg string }
				if err := d.Decode(&line); err != nil || line.Level != "WARN" {
					t.Fatalf("%+v: %v", line, err)
				}
				got = append(got, line.Msg)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}
