package web

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"html/template"
	"net/http"
	"time"

	"groupsync/internal/report"
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS []byte

	pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
		"css": func() template.CSS { return template.CSS(pageCSS) }, // #nosec G203 -- the text is embedded at build time
	}).Parse(pageHTML))

	// policy is the Content-Security-Policy of the page. It allows only the page's own style
	// and script, and requests to this server.
	policy = "default-src 'none'; script-src 'self'; connect-src 'self'; img-src data:; style-src 'sha256-" + hash(pageCSS) +
		"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// page serves the status page.
type page struct {
	status     *Status
	explaining *explaining
	approve    approveWay
}

func (p page) serve(w http.ResponseWriter, r *http.Request) {
	how := p.approve
	how.https = r.TLS != nil
	v := viewOf(p.status.state(), time.Now(), how)
	code := http.StatusOK
	if p.explaining.explainer != nil {
		v.Search, code = p.search(r)
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, v); err != nil {
		answer(w, "", err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", policy)
	w.WriteHeader(code)
	_, _ = w.Write(b.Bytes()) // an error only means that the client has gone away
}

// search returns the explanation for the person or the group in the form, and the HTTP status of
// the page. If the form is empty, the result has no explanation, and the status is 200.
func (p page) search(r *http.Request) (*search, int) {
	q := r.URL.Query()
	user, group := q.Get("user"), q.Get("group")
	s := &search{User: text(user), Group: text(group), Asked: user != "" || group != ""}
	if !s.Asked {
		return s, http.StatusOK
	}
	x, err := p.explaining.explain(r.Context(), user, group)
	if err == nil {
		s.Answer = report.EscapeLines(x.Text)
		return s, http.StatusOK
	}
	s.Failed = report.EscapeLines(err.Error())
	code := http.StatusInternalServerError
	var refusal *Refusal
	if errors.As(err, &refusal) {
		code = refusal.Status
	}
	return s, code
}

func serveScript(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	_, _ = w.Write(pageJS) // an error only means that the client has gone away
}
