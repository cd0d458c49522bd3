package clearml

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"groupsync/internal/target/clearmltest"
)

// TestAnAnswerThatRepeatsTheRequestShowsNoSecret checks the text of the error and every error
// in its chain.
func TestAnAnswerThatRepeatsTheRequestShowsNoSecret(t *testing.T) {
	const access, secret = "CANARYACCESSKEY", "canary-secret-key"
	page := func(code int, kind, text string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(code)
			io.WriteString(w, text)
		}
	}
	echoes := map[string]func(auth, keys string) func(http.ResponseWriter){
		"a page":          func(auth, keys string) func(http.ResponseWriter) { return page(502, "text/html", auth+keys) },
		"a page with 200": func(auth, keys string) func(http.ResponseWriter) { return page(200, "text/html", auth+keys) },
		"JSON with 200": func(auth, keys string) func(http.ResponseWriter) {
			return page(200, "application/json", fmt.Sprintf(`{"you":%q}`, auth+keys))
		},
		"a content type": func(auth, keys string) func(http.ResponseWriter) {
			return page(200, "x/"+strings.ReplaceAll(auth, " ", "-"), "")
		},
		"a page that is cut": func(auth, keys string) func(http.ResponseWriter) {
			return page(502, "text/plain", strings.Repeat("x", 130)+auth+keys)
		},
		"an envelope with 400": func(auth, keys string) func(http.ResponseWriter) {
			return page(400, "application/json", envelope(400, 1, auth+keys))
		},
		"an envelope with 401": func(auth, keys string) func(http.ResponseWriter) {
			return page(401, "application/json", envelope(401, 22, auth+keys))
		},
		"an envelope with 500": func(auth, keys string) func(http.ResponseWriter) {
			return page(500, "application/json", envelope(500, 9, auth+keys))
		},
		"a redirect": func(auth, keys string) func(http.ResponseWriter) {
			return func(w http.ResponseWriter) {
				w.Header().Set("Location", "https://"+strings.NewReplacer(" ", "-", "=", "").Replace(auth)+"/x")
				w.WriteHeader(302)
			}
		},
		"an answer that is no HTTP": func(auth, keys string) func(http.ResponseWriter) {
			return func(w http.ResponseWriter) {
				conn, _, _ := w.(http.Hijacker).Hijack()
				defer conn.Close()
				fmt.Fprintf(conn, "%s %s\r\n\r\n", auth, keys)
			}
		},
	}
	for name, echo := range echoes {
		for _, at := range []string{loginCall, groupsCall} {
			t.Run(name+" at "+at, func(t *testing.T) {
				s := clearmltest.New(t, clearmltest.Options{AccessKey: access, SecretKey: secret})
				s.AddTeam("team")
				var token string
				srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					auth := r.Header.Get("Authorization")
					if !strings.HasSuffix(r.URL.Path, at) || auth == "" {
						s.ServeHTTP(w, r)
						return
					}
					if _, bearer, is := strings.Cut(auth, "Bearer "); is {
						token = bearer
					}
					echo(auth, " "+access+":"+secret)(w)
				}))
				defer srv.Close()
				c := configured(t, Config{URL: srv.URL, Keys: keys(access, secret), RetryWait: 1})
				_, err := c.Read(t.Context())
				if err == nil {
					t.Fatal("no error")
				}
				shown := ""
				for e := err; e != nil; e = errors.Unwrap(e) {
					shown += fmt.Sprintf("%s\n%+v\n%#v\n", e, e, e)
				}
				basic := base64.StdEncoding.EncodeToString([]byte(access + ":" + secret))
				for _, text := range []string{access, secret, "canary", basic[:12], token} {
					if text != "" && strings.Contains(shown, text) {
						t.Errorf("the error shows %q: %s", text, shown)
					}
				}
			})
		}
	}
}

// envelope returns ClearML's envelope of an error with that text.
func envelope(code, subcode int, text string) string {
	return fmt.Sprintf(`{"meta":{"id":"x","result_code":%d,"result_subcode":%d,"result_msg":%q},"data":{}}`, code, subcode, text)
}
