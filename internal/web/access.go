package web

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// access decides which requests may see people's names.
type access struct {
	at     net.Addr // the address on which the server listens
	listen string   // web.listen as configured
	file   string   // exporter-toolkit's web configuration, or empty
	public bool     // web.public_status
}

// The refusals of a request for a path that shows people's names.
var (
	errNames   = &Refusal{http.StatusForbidden, errors.New("this path shows people's names, so groupsync serves it only on loopback, to somebody who has signed in by web.config_file, or to everybody if web.public_status is true. Set basic_auth_users in web.config_file, or set web.public_status")}
	errHost    = &Refusal{http.StatusForbidden, errors.New("this path shows people's names, and the Host header of the request does not name this machine, as in an attack by DNS rebinding. Open localhost or 127.0.0.1. If a proxy on this machine decides who may see names, set web.public_status")}
	errForeign = &Refusal{http.StatusForbidden, errors.New("this path shows people's names, and a page of another site sent the request. Open the path in its own tab, or use curl")}
)

// guarded wraps the handler h of a path that shows people's names. It answers 403 if refuse
// returns an error, and calls h if not.
func (a access) guarded(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		// These headers forbid browsers to give an answer to a page of another site, and forbid
		// every cache to store an answer.
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if err := a.refuse(r); err != nil {
			answer(w, "", err)
			return
		}
		h(w, r)
	}
}

// refuse returns an error that says why the request may not see people's names. It returns nil if
// the request may see them.
func (a access) refuse(r *http.Request) error {
	_, known := signedIn(r, a.file)
	switch {
	case foreign(r):
		return errForeign
	case a.public || known:
		return nil
	case !isLoopback(a.at):
		return errNames
	case !a.local(r.Host):
		return errHost
	}
	return nil
}

// local reports whether the Host header names this machine or the host of web.listen. In an
// attack by DNS rebinding, a foreign page points its own name at this machine, and the Host header
// then has that foreign name. local ignores the port, because a tunnel changes the port.
func (a access) local(host string) bool {
	name, configured := hostname(host), hostname(a.listen)
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.IsLoopback() || strings.EqualFold(name, "localhost") || name != "" && strings.EqualFold(name, configured)
}

// hostname returns the host without its port and without the brackets of IPv6.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}

// foreign reports whether the headers of the browser say that a page of another site sent the
// request. It returns false for a click on a link, because the browser then shows groupsync's page
// to the person and not to the other site.
func foreign(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	linked := r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	return (site == "cross-site" || site == "same-site") && !linked
}

func isLoopback(at net.Addr) bool {
	tcp, is := at.(*net.TCPAddr)
	return is && tcp.IP.IsLoopback()
}
