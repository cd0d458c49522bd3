package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"groupsync/internal/report"
)

// Control carries out the requests POST /-/…. If a method returns a *Refusal, the HTTP answer
// has its Status. For any other error the answer has the status 500.
type Control interface {
	// Sync runs a pass now and returns its report. The pass covers only the user, or everybody if
	// user is empty.
	Sync(ctx context.Context, user string) (report.Report, error)
	// Approve runs a pass as Sync does, with an approval. The pass lifts the liftable guards
	// for exactly the changes that the digest names. by is the name of the person who approves,
	// for the log and the report.
	Approve(ctx context.Context, user, digest, by string) (report.Report, error)
	// Reload loads the configuration again. If the configuration is not valid, Reload returns an
	// error, and the old configuration stays in force.
	Reload() error
	// Suspend stops writing for the duration lasts. After Suspend has returned, no new write
	// begins. If removalsOnly is true, this holds only for writes that remove somebody. Suspend
	// returns a few lines of text about the new suspension, and about an earlier suspension that
	// the new one replaces. by is the name of the person who suspends.
	Suspend(ctx context.Context, lasts time.Duration, reason string, removalsOnly bool, by string) (string, error)
	// Resume ends the suspension and returns a few lines that say so. by is the name of the
	// person who resumes.
	Resume(ctx context.Context, by string) (string, error)
}

// Refusal is an error with an HTTP status.
type Refusal struct {
	Status int
	Err    error
}

func (r *Refusal) Error() string { return r.Err.Error() }

// Unwrap returns Err, so that errors.Is and errors.As find the cause of the refusal.
func (r *Refusal) Unwrap() error { return r.Err }

// control registers the paths /-/…, which make the process do something. It refuses every request
// that a page in a browser sends, because groupsync's own page sends no such request. So it also
// refuses a page that was loaded under this server's own name (DNS rebinding). file is the name of
// exporter-toolkit's web configuration, or empty.
func control(mux *http.ServeMux, c Control, file string) {
	post := func(path string, do func(ctx context.Context, r *http.Request) (string, error)) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			if site := r.Header.Get("Sec-Fetch-Site"); r.Header.Get("Origin") != "" || site != "" && site != "none" {
				answer(w, "", &Refusal{http.StatusForbidden, errors.New("groupsync does not accept this request from a page in a browser, so nothing was done. Use curl")})
				return
			}
			// The body is read before patient removes the timeout of the request. So a body that
			// never arrives does not delay the shutdown.
			if _, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 64<<10)); err != nil {
				answer(w, "", &Refusal{http.StatusBadRequest, fmt.Errorf("the body of the request did not arrive, so nothing was done: %w. Send an empty body", err)})
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
	post("/-/sync", func(ctx context.Context, r *http.Request) (string, error) {
		user, err := userOf(r)
		if err != nil {
			return "", err
		}
		rep, err := c.Sync(ctx, user)
		return passAnswer(rep, err)
	})
	post("/-/approve", func(ctx context.Context, r *http.Request) (string, error) {
		digest := r.URL.Query().Get("digest")
		if digest == "" {
			return "", &Refusal{http.StatusBadRequest, errors.New("no digest was given, so nothing was approved. Use POST /-/approve?digest=…, with the digest in the summary line of the pass")}
		}
		user, err := userOf(r)
		if err != nil {
			return "", err
		}
		rep, err := c.Approve(ctx, user, digest, approver(r, file))
		return passAnswer(rep, err)
	})
	post("/-/suspend", func(ctx context.Context, r *http.Request) (string, error) {
		q := r.URL.Query()
		lasts, err := time.ParseDuration(q.Get("for"))
		if err != nil {
			return "", &Refusal{http.StatusBadRequest, fmt.Errorf("for=%q is not a duration, so nothing was suspended. Use POST /-/suspend?for=2h&reason=…", q.Get("for"))}
		}
		removalsOnly, err := strconv.ParseBool(cmp.Or(q.Get("removals_only"), "false"))
		if err != nil {
			return "", &Refusal{http.StatusBadRequest, fmt.Errorf("removals_only=%q is neither true nor false, so nothing was suspended", q.Get("removals_only"))}
		}
		return c.Suspend(ctx, lasts, q.Get("reason"), removalsOnly, approver(r, file))
	})
	post("/-/resume", func(ctx context.Context, r *http.Request) (string, error) {
		return c.Resume(ctx, approver(r, file))
	})
}

// userOf returns the one user that the pass is for. If the request names no user, it returns an
// empty string. userOf refuses a parameter user with an empty value: a script whose variable is
// empty must not start a pass of everybody.
func userOf(r *http.Request) (string, error) {
	query := r.URL.Query()
	if query.Has("user") && query.Get("user") == "" {
		return "", &Refusal{http.StatusBadRequest, errors.New("user is empty, so no pass was made. Use POST /-/sync?user=… with an email, a username or an id, or POST /-/sync for everybody")}
	}
	return query.Get("user"), nil
}

// anonymous is the name of the approver if nobody was authenticated.
const anonymous = "anonymous via HTTP"

// approver returns the name that exporter-toolkit authenticated. If it authenticated no name,
// approver returns the constant anonymous.
func approver(r *http.Request, file string) string {
	name, _ := signedIn(r, file)
	return cmp.Or(name, anonymous)
}

// signedIn reports whether exporter-toolkit authenticated the request, and returns the name.
// The name is the user of basic auth. Without basic auth, the name is the common name of the
// verified client certificate, which may be empty. A user name counts only if the web
// configuration lists it: if that file lists no users, exporter-toolkit checks no password.
func signedIn(r *http.Request, file string) (name string, is bool) {
	if user, _, ok := r.BasicAuth(); ok && user != "" {
		if _, known := readAuth(file).Users[user]; known {
			return user, true
		}
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return r.TLS.VerifiedChains[0][0].Subject.CommonName, true
	}
	return "", false
}

// passAnswer returns the summary of a pass as the text of the answer. It returns a Refusal if the
// pass ended before it had a plan (502), or if the approval was not granted (409).
func passAnswer(r report.Report, err error) (string, error) {
	text := summary(r)
	switch {
	case err != nil:
		return "", err
	case r.Result == report.Error:
		return "", &Refusal{http.StatusBadGateway, errors.New(text)}
	case r.Approval != nil && !r.Approval.Granted:
		return "", &Refusal{http.StatusConflict, errors.New(text)}
	}
	return text, nil
}

// patient removes the read and write timeouts of this one request, because the answer comes only
// after a whole pass.
func patient(w http.ResponseWriter) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Time{}) // if the call fails, the ordinary timeouts stay
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
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text+"\n") // #nosec G705 -- the answer is plain text, and nosniff keeps a browser from reading it as HTML
}

// summary describes a pass in a few lines. It names no synchronized person, only the person
// who approved.
func summary(r report.Report) string {
	var b strings.Builder
	if a := r.Approval; a != nil {
		b.WriteString(report.Escape(a.String()) + "\n")
	}
	add, remove := r.Drift()
	fmt.Fprintf(&b, "pass %s: %s; %d added, %d removed, %d failed; left to add %d, to remove %d", r.Pass, r.Result, r.Applied.Added, r.Applied.Removed, r.Applied.Failed, add, remove)
	if r.Digest != "" {
		fmt.Fprintf(&b, "; digest %s", r.Digest)
	}
	for _, t := range r.Guards {
		fmt.Fprintf(&b, "\nguard %s: %s", t.Guard, report.Escape(t.Detail))
	}
	for _, e := range r.Errors {
		fmt.Fprintf(&b, "\nerror: %s", report.Escape(e.Text))
	}
	return b.String()
}
