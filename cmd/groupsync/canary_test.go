package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// TestNoOutputShowsASecret runs the commands against servers that repeat each request in
// their answers. Neither stdout nor stderr, at level debug, nor a file that groupsync leaves
// holds a secret.
func TestNoOutputShowsASecret(t *testing.T) {
	const (
		client = "canary-client-secret/+"
		access = "CANARYACCESSKEY0001"
		secret = "canary-clearml-secret-key"
		token  = "eyJhbGciOiJub25lIn0.eyJqdGkiOiJjYW5hcnkiLCJyZXNvdXJjZV9hY2Nlc3MiOnsicmVhbG0tbWFuYWdlbWVudCI6eyJyb2xlcyI6WyJ2aWV3LXVzZXJzIiwidmlldy1yZWFsbSJdfX19.Y2FuYXJ5LXNpZ25hdHVyZQ"
	)
	faults := map[string]func(w http.ResponseWriter, said string){
		"a page with 200":           func(w http.ResponseWriter, said string) { fmt.Fprint(w, "<html>"+said) },
		"text with 500":             func(w http.ResponseWriter, said string) { http.Error(w, said, 500) },
		"JSON of Keycloak with 401": func(w http.ResponseWriter, said string) { inJSON(w, 401, `{"error":"x","error_description":%q}`, said) },
		"JSON of Keycloak with 403": func(w http.ResponseWriter, said string) { inJSON(w, 403, `{"error":"x","errorMessage":%q}`, said) },
		"ClearML's envelope of 400": func(w http.ResponseWriter, said string) {
			inJSON(w, 400, `{"meta":{"result_code":400,"result_subcode":1,"result_msg":%q},"data":{}}`, said)
		},
		"an answer that is no HTTP":  func(w http.ResponseWriter, said string) { raw(w, said+"\r\n\r\n") },
		"a status line that repeats": func(w http.ResponseWriter, said string) { raw(w, "HTTP/1.1 500 "+said+"\r\nContent-Length: 0\r\n\r\n") },
		"a redirect": func(w http.ResponseWriter, said string) {
			w.Header().Set("Location", "https://elsewhere.example.com/"+strings.ReplaceAll(said, " ", "/"))
			w.WriteHeader(302)
		},
	}
	for name, answer := range faults {
		for _, signsIn := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, Keycloak signs in %v", name, signsIn), func(t *testing.T) {
				var sent atomic.Bool // ClearML's keys
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					if signsIn && strings.HasSuffix(r.URL.Path, "/token") {
						inJSON(w, 200, `{"access_token":%q,"expires_in":60}`, token)
						return
					}
					said := r.Header.Get("Authorization") + " " + string(body)
					switch {
					case strings.HasPrefix(said, "Basic "): // decoded, as a server that debugs shows it
						said += " " + access + ":" + secret
						sent.Store(true)
					case r.Header.Get("Authorization") == "" && !strings.Contains(r.URL.Path, "/realms/"):
						// ClearML's calls are probed without credentials first.
						inJSON(w, 401, `{"meta":{"result_code":401,"result_subcode":20,"result_msg":%q},"data":{}}`, "no credentials")
						return
					}
					answer(w, said)
				}))
				defer server.Close()
				dir := t.TempDir()
				config := filepath.Join(dir, "config.yaml")
				text := fmt.Sprintf("schedule: '@hourly'\nstate_dir: %s\nlog: {level: debug}\nkeycloak: {url: %q, realm: demo, client_id: groupsync, client_secret: %q}\nclearml: {url: %q, access_key: %s, secret_key: %s}\n",
					filepath.Join(dir, "state"), server.URL, client, server.URL, access, secret)
				if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				shown := ""
				for _, args := range [][]string{{"--once"}, {"--once", "-o", "json"}, {"check"}, {"config"}} {
					got := inProcess(t, nil, append(args, "--config", config)...)
					if args[0] != "config" && got.code == 0 {
						t.Errorf("%v: exit code 0", args)
					}
					shown += fmt.Sprintln(args, got.stdout, got.stderr)
				}
				err := filepath.WalkDir(filepath.Join(dir, "state"), func(path string, d fs.DirEntry, err error) error {
					if err != nil || d.IsDir() {
						return nil
					}
					data, err := os.ReadFile(path)
					shown += string(data)
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				if !sent.Load() {
					t.Error("ClearML's keys were never sent")
				}
				basic := base64.StdEncoding.EncodeToString([]byte(access + ":" + secret))
				for _, canary := range []string{client, "canary-client", "%2F%2B", access, secret, token, "Y2FuYXJ5", basic[:16]} {
					if at := strings.Index(shown, canary); at >= 0 {
						t.Errorf("%s is shown: …%s", canary, shown[max(0, at-200):min(len(shown), at+100)])
					}
				}
			})
		}
	}
}

func inJSON(w http.ResponseWriter, code int, form, said string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	fmt.Fprintf(w, form, said)
}

// raw answers with that text and closes the connection.
func raw(w http.ResponseWriter, text string) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, text)
}
