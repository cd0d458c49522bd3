package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	model "groupsync/internal/simulate/chaos" // the package has a type chaos
	"groupsync/internal/simulate/history"
	"groupsync/internal/simulate/idp"
	"groupsync/internal/target/clearmltest"
)

// The secrets that no output may show.
const (
	canaryClient = "canary-client-secret/+"
	canaryAccess = "CANARYACCESSKEY0001"
	canarySecret = "canary-clearml-secret-key"
	canaryToken  = "eyJhbGciOiJub25lIn0.eyJqdGkiOiJjYW5hcnkiLCJyZXNvdXJjZV9hY2Nlc3MiOnsicmVhbG0tbWFuYWdlbWVudCI6eyJyb2xlcyI6WyJ2aWV3LXVzZXJzIiwidmlldy1yZWFsbSJdfX19.Y2FuYXJ5LXNpZ25hdHVyZQ"
)

// The kinds of secrets that a server repeats.
const (
	clientSecret  = "Keycloak's client secret"
	keycloakToken = "a token of Keycloak"
	clearmlKeys   = "ClearML's keys"
	clearmlToken  = "a token of ClearML"
)

// repeating are answers that contain what the request said.
var repeating = map[string]func(w http.ResponseWriter, said string){
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

// parrot is Keycloak and ClearML on one address. A side with a fault repeats each request in
// its answer. The other side works.
type parrot struct {
	*httptest.Server
	keycloak http.Handler        // as it works
	clearml  *clearmltest.Server // as it works

	mu       sync.Mutex
	fault    func(w http.ResponseWriter, said string)
	at       map[string]bool // the sides with the fault: "keycloak", "clearml"
	signsIn  bool            // Keycloak still signs groupsync in
	repeated map[string]bool // the kinds of secrets that answers have repeated since the last set
	issued   []string        // the tokens in the answers of sides that work
}

// newParrot starts a server whose sides both work: one addition and one removal are due.
func newParrot(t *testing.T) *parrot {
	t.Helper()
	p := &parrot{}
	realm := idp.New(&history.Log{}, rand.New(rand.NewPCG(1, 1)))
	team := realm.AddGroup("team", "", -1, idp.True)
	p.clearml = clearmltest.New(t, clearmltest.Options{AccessKey: canaryAccess, SecretKey: canarySecret})
	for _, name := range []string{"ann", "bob", "cid"} {
		id := realm.AddAccount(name, name+"@example.com", -1, false)
		realm.Put(id, team, name != "cid")
		person(p.clearml, name, id)
	}
	p.clearml.AddTeam("team", "cm-bob", "cm-cid")
	p.keycloak = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if form, err := url.ParseQuery(string(body)); err == nil && form.Get("client_secret") == canaryClient {
			form.Set("client_secret", "secret") // the secret that the model knows
			body = []byte(form.Encode())
		}
		answer := realm.Answer(model.Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Header: r.Header, Body: body})
		text, err := json.Marshal(answer.JSON)
		if err != nil {
			panic(err)
		}
		inJSON(w, answer.Status, "%s", string(text))
	})
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Server.Close)
	return p
}

// set puts the fault into the named sides, and removes it from the others.
func (p *parrot) set(fault func(w http.ResponseWriter, said string), signsIn bool, at ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.signsIn, p.at, p.repeated = fault, signsIn, make(map[string]bool), make(map[string]bool)
	for _, side := range at {
		p.at[side] = true
	}
}

// mustHaveRepeated fails if one of the kinds of secrets was not repeated by a server with a
// fault. The outputs would then prove nothing.
func (p *parrot) mustHaveRepeated(t *testing.T, kinds ...string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, kind := range kinds {
		if !p.repeated[kind] {
			t.Errorf("no answer repeated %s", kind)
		}
	}
}

// secretOf returns the kind of the secret in a request, and the secret in clear text.
func secretOf(r *http.Request, side string, body []byte) (kind, clear string) {
	user, password, _ := r.BasicAuth()
	form, _ := url.ParseQuery(string(body))
	_, bearer, _ := strings.Cut(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case side == "keycloak" && (form.Get("client_secret") == canaryClient || password == url.QueryEscape(canaryClient)):
		return clientSecret, canaryClient
	case side == "keycloak" && bearer != "":
		return keycloakToken, bearer
	case side == "clearml" && user == canaryAccess && password == canarySecret:
		return clearmlKeys, canaryAccess + ":" + canarySecret
	case side == "clearml" && bearer != "":
		return clearmlToken, bearer
	}
	return "", ""
}

func (p *parrot) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	side, works := "clearml", http.Handler(p.clearml)
	if strings.Contains(r.URL.Path, "/realms/") {
		side, works = "keycloak", p.keycloak
	}
	kind, clear := secretOf(r, side, body)
	p.mu.Lock()
	fault, signsIn := p.fault, p.signsIn
	if !p.at[side] {
		fault = nil
	}
	signsIn = signsIn && strings.HasSuffix(r.URL.Path, "/token")
	if fault != nil && !signsIn {
		p.repeated[kind] = true
	}
	p.mu.Unlock()
	switch {
	case fault == nil:
		p.pass(works, w, r)
	case signsIn:
		inJSON(w, 200, `{"access_token":%q,"expires_in":60}`, canaryToken)
	case side == "clearml" && r.Header.Get("Authorization") == "":
		// groupsync first probes ClearML's calls without credentials.
		inJSON(w, 401, `{"meta":{"result_code":401,"result_subcode":20,"result_msg":%q},"data":{}}`, "no credentials")
	default:
		fault(w, r.Header.Get("Authorization")+" "+string(body)+" "+clear)
	}
}

// pass lets a side that works answer, and keeps the token of the answer.
func (p *parrot) pass(works http.Handler, w http.ResponseWriter, r *http.Request) {
	r.Header.Del("Accept-Encoding") // otherwise the token could not be read
	answer := httptest.NewRecorder()
	works.ServeHTTP(answer, r)
	var token struct {
		Keycloak string `json:"access_token"`
		Data     struct{ Token string }
	}
	if json.Unmarshal(answer.Body.Bytes(), &token) == nil && token.Keycloak+token.Data.Token != "" {
		p.mu.Lock()
		p.issued = append(p.issued, token.Keycloak+token.Data.Token)
		p.mu.Unlock()
	}
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// mustHideSecrets fails if the text contains a secret, or a token that a server issued.
func (p *parrot) mustHideSecrets(t *testing.T, what, text string) {
	t.Helper()
	basic := base64.StdEncoding.EncodeToString([]byte(canaryAccess + ":" + canarySecret))
	canaries := []string{canaryClient, "canary-client", "%2F%2B", canaryAccess, canarySecret, canaryToken, "Y2FuYXJ5", basic[:16]}
	p.mu.Lock()
	for _, token := range p.issued {
		canaries = append(canaries, token, token[:strings.LastIndex(token, ".")])
	}
	p.mu.Unlock()
	slices.Sort(canaries)
	for _, canary := range slices.Compact(canaries) {
		if at := strings.Index(text, canary); at >= 0 {
			t.Errorf("%s shows %s: …%s", what, canary, text[max(0, at-200):min(len(text), at+100)])
		}
	}
}

// configured writes a configuration with the secrets. It returns its path and its directory,
// which also holds state_dir, named state.
func (p *parrot) configured(t *testing.T, more string) (config, dir string) {
	t.Helper()
	dir = t.TempDir()
	config = filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf("schedule: '@hourly'\nstate_dir: %s\nlog: {level: debug}\nkeycloak: {url: %q, realm: %s, client_id: groupsync, client_secret: %q}\nclearml: {url: %q, access_key: %s, secret_key: %s}\n%s",
		filepath.Join(dir, "state"), p.URL+"/kc", idp.Name, canaryClient, p.URL, canaryAccess, canarySecret, more)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config, dir
}

// filesBelow returns the contents of all files in a directory and below it, by path.
func filesBelow(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		found[strings.TrimPrefix(path, dir+"/")] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestNoOutputShowsASecret runs the commands against servers that repeat each request in their
// answers. No secret appears on stdout, on stderr (at level debug) or in a file that groupsync
// leaves.
func TestNoOutputShowsASecret(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for seconds until requests are given up")
	}
	for name, fault := range repeating {
		for _, tt := range []struct {
			name     string
			at       []string
			signsIn  bool
			repeated string // the kinds of secrets that the fault repeats; empty: this depends on which side groupsync asks first
		}{
			{"ClearML repeats", []string{"clearml"}, false, clearmlKeys},
			{"Keycloak repeats", []string{"keycloak"}, false, clientSecret},
			{"Keycloak signs in and then repeats", []string{"keycloak"}, true, keycloakToken},
			{"both repeat", []string{"keycloak", "clearml"}, false, ""},
			{"both repeat, and Keycloak signs in", []string{"keycloak", "clearml"}, true, ""},
		} {
			t.Run(name+", "+tt.name, func(t *testing.T) {
				t.Parallel() // a row waits for a retry most of its time
				p := newParrot(t)
				p.set(fault, tt.signsIn, tt.at...)
				config, dir := p.configured(t, "")
				for _, args := range [][]string{{"--once"}, {"--once", "-o", "json"}, {"check"}, {"config"}} {
					got := inProcess(t, nil, append(args, "--config", config)...)
					if args[0] != "config" && got.code == 0 {
						t.Errorf("%v: exit code 0", args)
					}
					p.mustHideSecrets(t, fmt.Sprint("stdout of ", args), got.stdout)
					p.mustHideSecrets(t, fmt.Sprint("stderr of ", args), got.stderr)
				}
				for file, text := range filesBelow(t, dir) {
					if file != "config.yaml" {
						p.mustHideSecrets(t, file, text)
					}
				}
				if tt.repeated != "" {
					p.mustHaveRepeated(t, tt.repeated)
				}
			})
		}
	}
}

// TestTheDaemonShowsNoSecret runs a daemon against servers of which one repeats each request.
// Then both work, so that the daemon writes. Then the first fault returns, now with the
// daemon's tokens. The test reads every page after each pass, and at the end the log and the
// files in state_dir.
func TestTheDaemonShowsNoSecret(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for seconds until requests are given up")
	}
	type pass struct {
		works, signsIn bool
		repeated       string
	}
	sides := map[string][]pass{ // the daemon makes the first pass when it starts
		"clearml":  {{false, false, clearmlKeys}, {true, false, ""}, {false, false, clearmlToken}},
		"keycloak": {{false, false, clientSecret}, {false, true, keycloakToken}, {true, false, ""}, {false, false, ""}},
	}
	for name, fault := range repeating {
		for side, passes := range sides {
			t.Run(name+", "+side+" repeats", func(t *testing.T) {
				t.Parallel()
				p := newParrot(t)
				p.set(fault, false, side)
				config, dir := p.configured(t, "mode: apply\nguards: {max_removal_ratio: 0}\nweb: {listen: '127.0.0.1:0', enable_lifecycle: true}\n")
				s := serveIn(t, nil, config)
				address := s.until(t, "groupsync starts")["listen"].(string)
				if ended := s.until(t, "pass ended"); ended["result"] != "error" {
					t.Errorf("the first pass ended as %v", ended["result"])
				}
				for i, pass := range passes {
					if i > 0 {
						p.set(fault, pass.signsIn, side)
						result := ": error; "
						if pass.works {
							p.set(nil, false)
							result = ": applied; 1 added, 1 removed, "
						}
						answer := whole(t, http.MethodPost, address+"/-/sync")
						mustContain(t, "the answer of /-/sync", answer, result)
						p.mustHideSecrets(t, "the answer of /-/sync", answer)
					}
					if pass.repeated != "" {
						p.mustHaveRepeated(t, pass.repeated)
					}
					p.reads(t, address)
				}
				p.mustHideSecrets(t, "the answer of /-/reload", whole(t, http.MethodPost, address+"/-/reload"))

				cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.cmd.Process.Pid))
				if err != nil || !bytes.Contains(cmdline, []byte(config)) {
					t.Errorf("the command line of the daemon: %v, %q", err, cmdline)
				}
				p.mustHideSecrets(t, "the command line", string(cmdline))
				if code := s.terminate(t); code != 0 {
					t.Errorf("SIGTERM: exit code %d", code)
				}
				p.mustHideSecrets(t, "stderr", s.log.String())
				p.mustHideSecrets(t, "stdout", s.stdout.String())
				mustContain(t, "stderr", s.log.String(), `"level":"DEBUG"`)
				files := filesBelow(t, filepath.Join(dir, "state"))
				for file, text := range files {
					p.mustHideSecrets(t, file, text)
				}
				if reports, _ := filepath.Glob(filepath.Join(dir, "state", "journal", "*.json")); len(reports) == 0 || files["memory.json"] == "" {
					t.Errorf("state_dir has no memory or no journal: %v", files)
				}
			})
		}
	}
}

// reads checks every page of the daemon, with its headers, for secrets.
func (p *parrot) reads(t *testing.T, address string) {
	t.Helper()
	for _, path := range []string{"/", "/page.js", "/metrics", "/healthz", "/readyz", "/api/v1/status", "/api/v1/explain?user=ann", "/api/v1/openapi.yaml"} {
		p.mustHideSecrets(t, path, whole(t, http.MethodGet, address+path))
	}
	p.mustHideSecrets(t, "the answer of /-/approve", whole(t, http.MethodPost, address+"/-/approve?digest=x"))
}

// whole returns an answer with its status line and headers.
func whole(t *testing.T, method, address string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := httputil.DumpResponse(resp, true)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
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
