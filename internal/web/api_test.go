package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/google/go-cmp/cmp"

	"groupsync/internal/memory"
	"groupsync/internal/report"
)

// described sends a request to the server and checks the answer against openapi.yaml.
func described(t *testing.T, base, path string) (int, string) {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatalf("openapi.yaml: %v", err)
	}
	doc.Servers = openapi3.Servers{{URL: base}}
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	route, params, err := router.FindRoute(&http.Request{Method: "GET", URL: req.URL, Header: http.Header{}})
	if err != nil {
		t.Fatalf("openapi.yaml does not describe %s: %v", path, err)
	}
	in := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route}
	if err := openapi3filter.ValidateRequest(t.Context(), in); err != nil {
		t.Errorf("the request %s: %v", path, err)
	}
	err = openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: resp.StatusCode, Header: resp.Header, Body: io.NopCloser(bytes.NewReader(body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	})
	if err != nil {
		t.Errorf("the answer to %s is not as described: %v\n%.400s", path, err, body)
	}
	return resp.StatusCode, string(body)
}

// decoded is the answer of /api/v1/status.
type decoded struct {
	Sync    string         `json:"sync"`
	Leads   bool           `json:"leads"`
	Leader  string         `json:"leader"`
	Running *time.Time     `json:"running_since"`
	Next    *time.Time     `json:"next_pass"`
	Passes  []Pass         `json:"passes"`
	Last    *report.Report `json:"last"`
	Planned *report.Report `json:"planned"`
}

func TestStatusAnswers(t *testing.T) {
	standby := NewStatus("s", func() string { return "pod-b" })
	standby.SetLeader(false)
	failed := busy(sample())
	failed.Record(report.Report{Pass: "f", Mode: "apply", Result: report.Error, Started: began, Errors: []report.Failure{{System: "keycloak", Reason: "timeout", Text: "away"}}})
	approved := sample()
	approved.Approval = &report.Approval{Digest: "d", By: "op", At: began, Granted: true, Lifted: []report.Guard{report.Removals}, Changes: 2}
	for _, tt := range []struct {
		name   string
		status *Status
		want   string // leads, last, planned, number of passes
	}{
		{"before the first pass", NewStatus("s", nil), "true - - 0"},
		{"a standby", standby, "false - - 0"},
		{"in sync", busy(calm()), "true 20261127T120000Z-0a1b2c3d - 48"},
		{"guarded", busy(sample()), "true 20261127T120000Z-0a1b2c3d - 48"},
		{"approved", busy(approved), "true 20261127T120000Z-0a1b2c3d - 48"},
		{"failed", failed, "true f 20261127T120000Z-0a1b2c3d 49"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base, stop := start(t, Options{Status: tt.status})
			code, body := described(t, base, "/api/v1/status")
			var got decoded
			if err := json.Unmarshal([]byte(body), &got); err != nil || code != 200 {
				t.Fatalf("%d %v\n%s", code, err, body)
			}
			pass := func(r *report.Report) string {
				if r == nil {
					return "-"
				}
				return r.Pass
			}
			short, _ := json.Marshal(got.Leads)
			if s := strings.Join([]string{string(short), pass(got.Last), pass(got.Planned), jsonOf(t, len(got.Passes))}, " "); s != tt.want {
				t.Errorf("got %s, want %s", s, tt.want)
			}
			if last := tt.status.state().last; last != nil {
				var b bytes.Buffer
				if err := report.JSON(&b, *last); err != nil {
					t.Fatal(err)
				}
				var want report.Report
				if err := json.Unmarshal(b.Bytes(), &want); err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(want, *got.Last); d != "" {
					t.Errorf("last is not the journal's report:\n%s", d)
				}
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestStatusTellsOfASuspension checks the suspension, also before the first pass. A suspension
// that has ended is null.
func TestStatusTellsOfASuspension(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	for _, tt := range []struct {
		name  string
		until time.Time
		want  bool
	}{{"in force", now.Add(time.Hour), true}, {"ended", now.Add(-time.Hour), false}} {
		t.Run(tt.name, func(t *testing.T) {
			set := memory.Suspension{Until: tt.until, Reason: "LDAP\n\u202emove", By: "op", At: now, RemovalsOnly: true}
			s := NewStatus("s", nil)
			s.Suspend(set)
			base, stop := start(t, Options{Status: s})
			_, body := described(t, base, "/api/v1/status")
			var got struct{ Suspension *memory.Suspension }
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatal(err)
			}
			if is := got.Suspension != nil && *got.Suspension == set; is != tt.want || !tt.want && got.Suspension != nil {
				t.Errorf("got %+v, want %v", got.Suspension, tt.want)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestTheDescriptionHasEveryKey checks that openapi.yaml has exactly the keys of the report.
// So a new key of the report must be described.
func TestTheDescriptionHasEveryKey(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		t.Fatal(err)
	}
	for name, of := range map[string]reflect.Type{
		"Status": reflect.TypeFor[statusAnswer](), "Pass": reflect.TypeFor[Pass](), "Report": reflect.TypeFor[report.Report](),
		"Group": reflect.TypeFor[report.Group](), "Change": reflect.TypeFor[report.Change](), "Tally": reflect.TypeFor[report.Tally](), "Counts": reflect.TypeFor[report.Counts](),
		"Suspension": reflect.TypeFor[memory.Suspension](),
	} {
		var want, got []string
		for i := range of.NumField() {
			key, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			want = append(want, key)
		}
		for key := range doc.Components.Schemas[name].Value.Properties {
			got = append(got, key)
		}
		slices.Sort(want)
		slices.Sort(got)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: -want +described\n%s", name, d)
		}
	}
	var guards []string
	for _, g := range doc.Components.Schemas["Guard"].Value.Enum {
		guards = append(guards, g.(string))
	}
	for i, g := range report.Guards {
		if i >= len(guards) || guards[i] != string(g) {
			t.Errorf("the guards are described as %v", guards)
			break
		}
	}
}

func TestExplainAnswers(t *testing.T) {
	base, stop := start(t, Options{Status: busy(calm()), Explainer: knowing{}})
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	for _, tt := range []struct {
		name, query string
		code        int
		body        string
	}{
		{"a person", "?user=ada", 200, "{\n  \"accounts\": [\n    \"ada (id 4711)\"\n  ],\n  \"group\": \"\",\n  \"user\": \"ada\"\n}\n"},
		{"a person and a group with a hostile name", "?user=ada&group=%3Cb%3E%E2%80%AE", 200, "{\n  \"accounts\": [\n    \"ada (id 4711)\"\n  ],\n  \"group\": \"<b>\\u202e\",\n  \"user\": \"ada\"\n}\n"},
		{"a group", "?group=team", 200, "{\n  \"accounts\": [\n    \"ada (id 4711)\"\n  ],\n  \"group\": \"team\",\n  \"user\": \"\"\n}\n"},
		{"nothing", "", 400, "neither a person nor a group was given, so nothing was explained. Use GET /api/v1/explain?user=…, ?group=…, or both\n"},
		{"nobody", "?user=bob", 404, "no person has the id, username or email \"bob\": correct it\n"},
		{"several people", "?user=twins", 409, "\"twins\" names several people: write one of these ids\n  4711  ada@example.com\n  4712  ada@example.org\n"},
		{"a Keycloak that is away", "?user=broken", 502, "nothing was explained: asking Keycloak: connection refused: see that it runs\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if code, body := described(t, base, "/api/v1/explain"+tt.query); code != tt.code || body != tt.body {
				t.Errorf("got %d %q, want %d %q", code, body, tt.code, tt.body)
			}
		})
	}
}

func TestNothingIsExplainedWithoutAnExplainer(t *testing.T) {
	base, stop := start(t, Options{Status: busy(calm())})
	code, body := described(t, base, "/api/v1/explain?user=ada")
	if want := "this process cannot explain anything. Run the command groupsync explain\n"; code != 404 || body != want {
		t.Errorf("got %d %q, want 404 %q", code, body, want)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// slow is an Explainer that waits for a signal or for the end of its context.
type slow struct{ asked, goOn chan struct{} }

func (s slow) Explain(ctx context.Context, _, _ string) (Explanation, error) {
	s.asked <- struct{}{}
	select {
	case <-s.goOn:
		return Explanation{Value: map[string]any{}}, nil
	case <-ctx.Done():
		return Explanation{}, errors.New("asking Keycloak: " + ctx.Err().Error())
	}
}

// TestOneExplanationAtATime checks that a second explanation is refused while the first one
// runs, and succeeds afterwards.
func TestOneExplanationAtATime(t *testing.T) {
	s := slow{make(chan struct{}, 1), make(chan struct{})}
	base, stop := start(t, Options{Status: busy(calm()), Explainer: s})
	first := make(chan int, 1)
	go func() {
		defer close(first)
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get(base + "/api/v1/explain?user=ada")
		if err != nil {
			t.Error(err)
			return
		}
		resp.Body.Close()
		first <- resp.StatusCode
	}()
	<-s.asked
	code, body := described(t, base, "/api/v1/explain?user=bob")
	if want := "groupsync makes one explanation at a time, and another one is under way. Try again in a few seconds\n"; code != 429 || body != want {
		t.Errorf("got %d %q, want 429 %q", code, body, want)
	}
	close(s.goOn)
	if code := <-first; code != 200 {
		t.Errorf("the first: %d", code)
	}
	if code, _ := described(t, base, "/api/v1/explain?user=bob"); code != 200 {
		t.Errorf("the second, afterwards: %d", code)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestAnExplanationHasItsTime checks that an explanation is cancelled after its timeout.
func TestAnExplanationHasItsTime(t *testing.T) {
	e := newExplaining(slow{make(chan struct{}, 1), nil}, quiet)
	if e.timeout != explainTimeout {
		t.Fatalf("it has %s", e.timeout)
	}
	e.timeout = 10 * time.Millisecond
	_, err := e.explain(t.Context(), "ada", "")
	var refusal *Refusal
	want := "nothing was explained, because Keycloak and ClearML did not answer within 10ms. Try again, or run groupsync explain, which waits longer: asking Keycloak: context deadline exceeded"
	if !errors.As(err, &refusal) || refusal.Status != http.StatusGatewayTimeout || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

// TestTheDescriptionIsServed checks that the served description is the file in docs/.
func TestTheDescriptionIsServed(t *testing.T) {
	base, stop := start(t, Options{Status: busy(calm())})
	if code, body := described(t, base, "/api/v1/openapi.yaml"); code != 200 || body != string(openAPI) {
		t.Errorf("%d %.100s", code, body)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
