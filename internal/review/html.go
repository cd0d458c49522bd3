package review

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"io"

	"groupsync/internal/report"
)

var (
	//go:embed review.html
	pageHTML string
	//go:embed review.css
	pageCSS string

	page = template.Must(template.New("review").Funcs(template.FuncMap{
		"css":      func() template.CSS { return template.CSS(pageCSS) }, // #nosec G203 -- the text is embedded at build time
		"policy":   policy,
		"show":     report.Escape,
		"clock":    clock,
		"statuses": func() []Status { return Statuses },
		"means":    func(s Status) string { return meanings[s] },
	}).Parse(pageHTML))
)

// meanings describes each status in words, for the page.
var meanings = map[Status]string{
	Granted:   "ClearML has the membership, and Keycloak gives it",
	Kept:      "ClearML has the membership, Keycloak does not certainly give it, and it stays",
	Leaves:    "ClearML has the membership, and a removal is planned",
	Frozen:    "ClearML has the membership, and a source of the group is missing or cannot be read",
	Unmanaged: "ClearML has the membership, and no Keycloak group or role feeds the group",
	Joins:     "ClearML does not have the membership, and an addition is planned",
}

// policy returns the Content-Security-Policy of the page. It allows only the page's own style.
func policy() string {
	sum := sha256.Sum256([]byte(pageCSS))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
}

// HTML writes the review as one page. The page needs no other file, runs no script and can be
// printed. Control characters and the Unicode characters that change the direction of the text
// are escaped.
func HTML(w io.Writer, r Review) error {
	var b bytes.Buffer
	if err := page.Execute(&b, r); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// JSON writes the review as one indented JSON object and a newline. It escapes characters that
// could control a terminal.
func JSON(w io.Writer, r Review) error { return report.WriteJSON(w, r) }
