package reconcile_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"groupsync/internal/reconcile"
	"groupsync/internal/report"
	"groupsync/internal/source/keycloak"
	"groupsync/internal/source/keycloaktest"
	"groupsync/internal/target/clearmltest"
)

// fetch is one request of a bare client, which does not decode the answer.
type fetch struct {
	method, url, body string
}

// bareRead sends the requests, at most atOnce at the same time.
func bareRead(b *testing.B, client *http.Client, bearer string, atOnce int, requests []fetch) {
	b.Helper()
	var work errgroup.Group
	work.SetLimit(atOnce)
	for _, r := range requests {
		work.Go(func() error {
			req, err := http.NewRequest(r.method, r.url, bytes.NewReader([]byte(r.body)))
			if err != nil {
				return err
			}
			req.Header.Set("Authorization", "Bearer "+bearer)
			req.Header.Set("Content-Type", "application/json")
			resp, err := client.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("%s: %s", r.url, resp.Status)
			}
			_, err = io.Copy(io.Discard, resp.Body)
			return err
		})
	}
	if err := work.Wait(); err != nil {
		b.Fatal(err)
	}
}

// recorded makes a pass through a proxy before Keycloak. It returns the requests with which
// the pass read each side.
func recorded(b *testing.B, s *site) (ofKeycloak, ofClearML []fetch) {
	b.Helper()
	server, err := url.Parse(s.realm.Server.URL)
	if err != nil {
		b.Fatal(err)
	}
	var mu sync.Mutex
	forward := httputil.NewSingleHostReverseProxy(server)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			mu.Lock()
			ofKeycloak = append(ofKeycloak, fetch{http.MethodGet, s.realm.Server.URL + r.URL.RequestURI(), ""})
			mu.Unlock()
		}
		forward.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	before := len(s.clearml.Requests())
	rec := s.reconciler(b, setup{config: func(c *keycloak.Config) { c.URL, c.Timeout = proxy.URL, 5*time.Minute }})
	if r := rec.Pass(b.Context(), reconcile.Request{DryRun: true}); r.Result != report.InSync {
		b.Fatalf("the pass is %s: %v", r.Result, r.Errors)
	}
	for _, r := range s.clearml.Requests()[before:] {
		if !r.Probe && r.Call != "auth.login" {
			ofClearML = append(ofClearML, fetch{http.MethodPost, s.clearml.URL + "/" + r.Call, string(r.Body)})
		}
	}
	return ofKeycloak, ofClearML
}

// token returns the bearer token in an answer.
func token(b *testing.B, resp *http.Response, err error) string {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	found := regexp.MustCompile(`"(?:access_)?token": ?"([^"]+)"`).FindSubmatch(body)
	if err != nil || found == nil {
		b.Fatalf("no token: %v", err)
	}
	return string(found[1])
}

// BenchmarkPassAgainstBareReads compares a dry run over 10,000 users, 1,000 groups and 50,000
// memberships in sync with bare clients. The bare clients fetch what the dry run reads: from
// Keycloak with 8 requests at a time, from ClearML with 4, and from both at once. All of them
// take turns. x-bare is the time of a pass divided by that of the slower bare read. x-both is
// the time of a pass divided by that of both at once. All times are medians. Use -benchtime
// 10x.
func BenchmarkPassAgainstBareReads(b *testing.B) {
	spec := keycloaktest.BigSpec()
	s := &site{now: noon, realm: keycloaktest.Shared(b).NewRealm(b, spec), clearml: clearmltest.New(b, clearmltest.Options{})}
	members := make(map[string][]string)
	for _, u := range spec.Users {
		s.clearml.AddUser(clearmltest.User{ID: "cm-" + u.Username, Name: u.Username, Email: u.Email, Providers: map[string]any{"keycloak": "2026-11-24T00:00:00Z"}})
		for _, path := range u.Groups {
			team := path[bytes.LastIndexByte([]byte(path), '/')+1:]
			members[team] = append(members[team], "cm-"+u.Username)
		}
	}
	for team, people := range members {
		s.clearml.AddTeam(team, people...)
	}
	ofKeycloak, ofClearML := recorded(b, s)
	s.rec = s.reconciler(b, setup{config: func(c *keycloak.Config) { c.Timeout = 5 * time.Minute }})
	pooled := http.DefaultTransport.(*http.Transport).Clone()
	pooled.MaxIdleConnsPerHost = 8
	client := &http.Client{Transport: pooled}
	turns := []struct {
		name string
		took []time.Duration
		read func()
	}{
		{name: "pass", read: func() {
			if r := s.rec.Pass(b.Context(), reconcile.Request{DryRun: true}); r.Result != report.InSync {
				b.Fatalf("the pass is %s: %v", r.Result, r.Errors)
			}
		}},
		{name: "keycloak", read: func() {
			resp, err := client.PostForm(s.realm.Server.URL+"/realms/"+s.realm.Name+"/protocol/openid-connect/token",
				url.Values{"grant_type": {"client_credentials"}, "client_id": {s.realm.ClientID}, "client_secret": {s.realm.Secret}})
			bareRead(b, client, token(b, resp, err), 8, ofKeycloak)
		}},
		{name: "clearml", read: func() {
			req, err := http.NewRequest(http.MethodPost, s.clearml.URL+"/auth.login", bytes.NewReader([]byte(`{"expiration_sec": 3600}`)))
			if err != nil {
				b.Fatal(err)
			}
			req.SetBasicAuth("access", "secret")
			req.Header.Set("Content-Type", "application/json")
			resp, err := client.Do(req)
			bareRead(b, client, token(b, resp, err), 4, ofClearML)
		}},
	}
	// Both bare reads at once. If the two servers and groupsync share the cores of one
	// machine, no pass can be faster.
	turns = append(turns, struct {
		name string
		took []time.Duration
		read func()
	}{name: "both", read: func() {
		var work errgroup.Group
		for _, t := range turns[1:3] {
			work.Go(func() error { t.read(); return nil })
		}
		_ = work.Wait() // the reads have reported their errors
	}})
	for _, t := range turns {
		t.read() // warms up
	}
	for i := 0; b.Loop(); i++ {
		for k := range turns {
			t := &turns[(i+k)%len(turns)]
			start := time.Now()
			t.read()
			t.took = append(t.took, time.Since(start))
		}
	}
	ms := make(map[string]float64)
	for _, t := range turns {
		slices.Sort(t.took)
		ms[t.name] = float64(t.took[len(t.took)/2].Milliseconds())
		b.ReportMetric(ms[t.name], t.name+"-ms")
	}
	b.ReportMetric(ms["pass"]/max(ms["keycloak"], ms["clearml"]), "x-bare")
	b.ReportMetric(ms["pass"]/ms["both"], "x-both")
	b.ReportMetric(float64(len(ofKeycloak)), "keycloak-requests")
	b.ReportMetric(float64(len(ofClearML)), "clearml-requests")
}
