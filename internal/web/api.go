package web

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"net/http"
	"time"

	"groupsync/internal/memory"
	"groupsync/internal/report"
)

// openAPI is the OpenAPI 3.1 description of /api/v1/, in YAML.
//
//go:embed openapi.yaml
var openAPI []byte

// api serves /api/v1/. openapi.yaml describes the answers.
type api struct {
	status     *Status
	explaining *explaining
}

// statusAnswer is the JSON of /api/v1/status.
type statusAnswer struct {
	Sync    string     `json:"sync"`
	Leads   bool       `json:"leads"`         // this process makes the passes
	Leader  string     `json:"leader"`        // on a standby: the holder of the Lease; empty: not known
	Running *time.Time `json:"running_since"` // null: no pass is running
	Next    *time.Time `json:"next_pass"`     // null: no pass is due

	Suspension *memory.Suspension `json:"suspension"` // the suspension in force; null: nothing is suspended
	Passes     []Pass             `json:"passes"`     // the last passes of this process, newest first
	Last       json.RawMessage    `json:"last"`       // the last report; null: no pass has ended
	Planned    json.RawMessage    `json:"planned"`    // if the last pass had no plan: the last report with a plan, or null
}

func (a api) serveStatus(w http.ResponseWriter, _ *http.Request) {
	s := a.status.state()
	body := statusAnswer{
		Sync: s.sync, Leads: s.leads, Leader: s.leader, Running: moment(s.running), Next: moment(s.next),
		Passes: append([]Pass{}, s.passes...),
	}
	if x := s.suspension.Current(time.Now()); !x.IsZero() {
		body.Suspension = &x
	}
	var err error
	if body.Last, err = journal(s.last); err == nil && s.planned != s.last {
		body.Planned, err = journal(s.planned)
	}
	writeJSON(w, body, err)
}

func (a api) serveExplain(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	x, err := a.explaining.explain(r.Context(), q.Get("user"), q.Get("group"))
	writeJSON(w, x.Value, err)
}

func serveOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(openAPI) // an error only means that the client has gone away
}

// moment returns a pointer to the time, or nil for the zero time. In JSON, nil is null.
func moment(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	return &at
}

// journal returns the JSON of the report, as report.JSON writes it. It returns nil for a nil
// report.
func journal(r *report.Report) (json.RawMessage, error) {
	if r == nil {
		return nil, nil
	}
	var b bytes.Buffer
	err := report.JSON(&b, *r)
	return b.Bytes(), err
}

// writeJSON answers with the JSON of v. If err is not nil, or v cannot be encoded, it answers with
// the error.
func writeJSON(w http.ResponseWriter, v any, err error) {
	var b bytes.Buffer
	if err == nil {
		enc := json.NewEncoder(&b)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		err = enc.Encode(v)
	}
	if err != nil {
		answer(w, "", err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(report.EscapeJSON(b.Bytes())) // an error only means that the client has gone away
}
