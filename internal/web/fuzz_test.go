package web

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzRequest checks that groupsync does something only for a POST that no page in a browser
// sent, and does nothing without a Control. No request may get a 5xx other than 503.
func FuzzRequest(f *testing.F) {
	f.Add("POST", "/-/sync?user=ann", "", "", "")
	f.Add("POST", "/-/approve?digest=x", "https://evil.example.com", "cross-site", "digest=x")
	f.Add("POST", "/-/suspend?for=2h&reason=x%0a", "", "same-origin", "")
	f.Add("POST", "/-/suspend?for=-1&removals_only=maybe", "null", "none", "")
	f.Add("GET", "/-/resume", "", "", "")
	f.Add("POST", "//-/reload", "", "", "")
	f.Add("GET", "/?group=%3Cb%3E&user=%1b", "", "", "")
	f.Add("GET", "/api/v1/explain?user=a&group=%zz", "", "", "")
	f.Fuzz(func(t *testing.T, method, target, origin, site, body string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		req, err := http.NewRequest(method, "http://groupsync.example.com/", strings.NewReader(body))
		if err != nil {
			return
		}
		req.URL, req.RequestURI, req.RemoteAddr = u, target, "127.0.0.1:9"
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		if site != "" {
			req.Header.Set("Sec-Fetch-Site", site)
		}
		c := &asked{}
		for _, o := range []Options{{Control: c}, {}} {
			o.Log, o.Metrics, o.Status = quiet, http.NotFoundHandler(), new(Status)
			w := httptest.NewRecorder()
			routes(o, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}).ServeHTTP(w, req)
			if w.Code >= 500 && w.Code != http.StatusServiceUnavailable {
				t.Errorf("%s %s: %d %s", method, target, w.Code, w.Body)
			}
			if o.Control == nil && strings.HasPrefix(u.Path, "/-/") && w.Code < 300 {
				t.Errorf("%s %s is answered by %d without a Control", method, target, w.Code)
			}
		}
		if len(c.log) > 1 || len(c.log) == 1 && (method != http.MethodPost || origin != "" || site != "" && site != "none") {
			t.Errorf("%s %s, Origin %q, Sec-Fetch-Site %q made groupsync do %q", method, target, origin, site, c.log)
		}
	})
}
