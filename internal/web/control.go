package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"groupsync/internal/report"
)

// Control is what POST /-/… asks of the process. An error that is a *Refusal
// says with which code it is answered; any other is answered with 500.
type Control interface {
	// Sync makes a pass now and returns its report; with a digest, one that
	// lifts the limits for exactly the removals that the digest names.
	Sync(ctx context.Context, approve string) (report.Report, error)
	// Reload loads the configuration anew, and puts it in force if it is good.
	Reload() error
}

// Refusal is an error with the HTTP status that says what kind it is.
type Refusal struct {
	Status int
	Err    error
}

func (r *Refusal) Error() string { return r.Err.Error() }

// Unwrap returns the reason.
func (r *Refusal) Unwrap() error { return r.Err }

// control routes the requests that make the process do something. Whatever a
// page in a browser sends is turned away, also one that claims this server's own
// name (DNS rebinding): there is no page of ours that would.
func control(mux *http.ServeMux, c Control) {
	post := func(path string, do func(ctx context.Context, r *http.Request) (string, error)) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			if site := r.Header.Get("Sec-Fetch-Site"); r.Header.Get("Origin") != "" || site != "" && site != "none" {
				answer(w, "", &Refusal{http.StatusForbidden, errors.New("this is not for pages in a browser: use curl")})
				return
			}
			// Within the time of ordinary requests: a body that never comes holds nothing up.
			if _, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 64<<10)); err != nil {
				answer(w, "", &Refusal{http.StatusBadRequest, fmt.Errorf("reading the body, of which nothing is wanted: %w", err)})
				return
			}
			patient(w)
			text, err := do(r.Context(), r)
			answer(w, text, err)
		})
	}
	post("/-/reload", func(context.Context, *http.Request) (string, error) {
		return "the configuration was reloaded", c.Reload()
	})
	post("/-/sync", func(ctx context.Context, _ *http.Request) (string, error) {
		r, err := c.Sync(ctx, "")
		return told(r, "", err)
	})
	post("/-/approve", func(ctx context.Context, r *http.Request) (string, error) {
		digest := r.URL.Query().Get("digest")
		if digest == "" {
			return "", &Refusal{http.StatusBadRequest, errors.New("name the removals: POST /-/approve?digest=…, with the digest that the summary line of the pass has")}
		}
		rep, err := c.Sync(ctx, digest)
		return told(rep, digest, err)
	})
}

// told is what is answered of a pass that was to approve a digest, or none: its
// summary, with a status of its own where the plan is another or there is none.
func told(r report.Report, approve string, err error) (string, error) {
	text := summary(r)
	switch {
	case err != nil:
		return "", err
	case approve != "" && r.Digest != "" && r.Digest != approve:
		return "", &Refusal{http.StatusConflict, errors.New(text)}
	case r.Result == report.Error:
		return "", &Refusal{http.StatusBadGateway, errors.New(text)}
	}
	return text, nil
}

// patient lets an answer take as long as a pass does. Without it the time-outs
// of ordinary requests would cut it off.
func patient(w http.ResponseWriter) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Time{}) // at worst the ordinary time-outs hold
	_ = c.SetWriteDeadline(time.Time{})
}

func answer(w http.ResponseWriter, text string, err error) {
	code := http.StatusOK
	if err != nil {
		text, code = err.Error(), http.StatusInternalServerError
		var refusal *Refusal
		if errors.As(err, &refusal) {
			code = refusal.Status
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text+"\n")
}

// summary tells a pass in a few lines, without the name of any person.
func summary(r report.Report) string {
	var b strings.Builder
	add, remove := r.Drift()
	fmt.Fprintf(&b, "pass %s: %s; %d added, %d removed, %d failed; left to add %d, to remove %d", r.Pass, r.Result, r.Applied.Added, r.Applied.Removed, r.Applied.Failed, add, remove)
	if r.Digest != "" {
		fmt.Fprintf(&b, "; digest %s", r.Digest)
	}
	for _, t := range r.Guards {
		fmt.Fprintf(&b, "\nguard %s: %s", t.Guard, t.Detail)
	}
	for _, e := range r.Errors {
		fmt.Fprintf(&b, "\nerror: %s", e.Text)
	}
	return b.String()
}
