package keycloak

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// echoes returns answers that repeat the request, like those of a debugging proxy.
func echoes(r *http.Request) map[string]http.HandlerFunc {
	body, _ := io.ReadAll(r.Body)
	auth := r.Header.Get("Authorization")
	said := string(body) + " " + auth
	return map[string]http.HandlerFunc{
		"a page":                         status(http.StatusInternalServerError, "text/html", "<pre>"+said),
		"a page with 200":                status(http.StatusOK, "text/html", "<pre>"+said),
		"plain text with 500":            status(http.StatusInternalServerError, "text/plain", said),
		"JSON with 500":                  status(http.StatusInternalServerError, "application/json", fmt.Sprintf(`{"error":%q}`, said)),
		"Keycloak's own form with 400":   status(http.StatusBadRequest, "application/json", fmt.Sprintf(`{"error":"invalid_client","error_description":%q}`, said)),
		"Keycloak's own form with 401":   status(http.StatusUnauthorized, "application/json", fmt.Sprintf(`{"error":"unauthorized_client","error_description":%q}`, said)),
		"Keycloak's own form with 403":   status(http.StatusForbidden, "application/json", fmt.Sprintf(`{"error":"forbidden","error_description":%q}`, said)),
		"Keycloak's own form with 404":   status(http.StatusNotFound, "application/json", fmt.Sprintf(`{"error":"gone","errorMessage":%q}`, said)),
		"a page that is cut in a secret": status(http.StatusInternalServerError, "text/plain", strings.Repeat("x", 140)+auth+string(body)),
		"the content type":               status(http.StatusOK, "application/"+strings.ReplaceAll(auth+string(body), " ", ""), "x"),
		"a header with 404": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Server", said)
			w.WriteHeader(http.StatusNotFound)
		},
		"the address of a redirect": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://elsewhere.example.com/"+strings.ReplaceAll(said, " ", "/")+"?"+string(body))
			w.WriteHeader(http.StatusFound)
		},
		"an answer that is no HTTP": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			defer conn.Close()
			fmt.Fprintf(conn, "%s\r\n\r\n", said)
		},
	}
}

// TestAnAnswerThatRepeatsTheRequestShowsNoSecret checks the error's text and every error in
// its chain.
func TestAnAnswerThatRepeatsTheRequestShowsNoSecret(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for seconds until requests are given up")
	}
	const secret = "canary/client+secret"
	for name := range echoes(&http.Request{Body: http.NoBody, Header: http.Header{}}) {
		for _, at := range []string{"/realms/demo/protocol/openid-connect/token", "/groups"} {
			for _, basicOnly := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s at %s, basic %v", name, at, basicOnly), func(t *testing.T) {
					f, s := newFake(t, func(c *Config) { c.ClientSecret = func() (string, error) { return secret, nil } })
					if basicOnly {
						s.tokens.method = basic
					}
					var token string
					f.answers[at] = func(w http.ResponseWriter, r *http.Request) {
						if _, bearer, is := strings.Cut(r.Header.Get("Authorization"), "Bearer "); is {
							token = bearer
						}
						echoes(r)[name](w, r)
					}
					_, err := read(t.Context(), s)
					if err == nil {
						t.Fatal("no error")
					}
					shown := ""
					for e := err; e != nil; e = errors.Unwrap(e) {
						shown += fmt.Sprintf("%s\n%+v\n%#v\n", e, e, e)
					}
					for _, text := range []string{secret, "canary", "client%2Bsecret", "Y2FuYXJ5", token} {
						if text != "" && strings.Contains(shown, text) {
							t.Errorf("the error shows %q: %s", text, shown)
						}
					}
				})
			}
		}
	}
}
