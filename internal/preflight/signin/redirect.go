package signin

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"groupsync/internal/preflight"
)

// callback is the path at which ClearML's web application receives sign-ins from Keycloak.
const callback = "/callback_keycloak"

// checkRedirects looks for a redirect URI of the client that is ClearML's callback address. It
// warns of a URI with a wildcard, because Keycloak may then send the code of a sign-in to another
// address.
func (l *mapperLint) checkRedirects(context.Context) []preflight.Finding {
	wanted := "the address of ClearML's web application with " + callback
	place := `"Valid redirect URIs" in ` + l.console("Settings > Access settings")
	var exact, wide, dead []string
	for _, uri := range l.client.RedirectURIs {
		switch {
		case isCallback(uri):
			exact = append(exact, uri)
		case reach(uri) != "":
			wide = append(wide, uri)
		case strings.Contains(uri, "*"):
			dead = append(dead, uri)
		}
	}
	advice := fmt.Sprintf("replace it by %s, in %s", wanted, place)
	if len(exact) > 0 {
		advice = "remove it from " + place
	}
	var found []preflight.Finding
	for _, uri := range wide {
		found = append(found, preflight.Warn(fmt.Sprintf("the redirect URI %q of the client %q has a wildcard, so the code of a sign-in can be sent to %s", uri, l.ClientID, reach(uri)), advice))
	}
	switch {
	case found != nil:
		return found
	case len(exact) > 0:
		return preflight.Fine(fmt.Sprintf("the client %q has the redirect URI %s", l.ClientID, quoted(exact)))
	}
	seen := fmt.Sprintf("no redirect URI of the client %q is %s, so Keycloak refuses every sign-in to ClearML", l.ClientID, wanted)
	if len(dead) > 0 {
		seen += ". Keycloak treats a * as a wildcard only at the end of a URI, and not in " + quoted(dead)
	}
	return []preflight.Finding{preflight.Fail(seen, fmt.Sprintf("add %s to %s", wanted, place))}
}

// isCallback reports whether a redirect URI names exactly one address, with the callback path of
// ClearML.
func isCallback(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && u.Host != "" && u.RawQuery == "" && strings.HasSuffix(u.Path, callback) && !strings.Contains(uri, "*")
}

// reach returns a phrase for the addresses other than ClearML's to which Keycloak may send the
// code of a sign-in, because the redirect URI has a wildcard. It returns "" for a URI that Keycloak
// compares letter by letter, and for a URI that no address on the web matches.
//
// Keycloak treats a * as a wildcard only at the end of a URI without a query. The wildcard matches
// any text (seen on Keycloak 24.0, 26.0 and 26.7). If the URI ends in a host and the wildcard,
// Keycloak 26.7 also compares the host. Keycloak 24.0 and 26.0 do not.
func reach(uri string) string {
	begin, wild := strings.CutSuffix(uri, "*")
	if !wild || strings.ContainsAny(begin, "*?#") {
		return ""
	}
	for _, scheme := range []string{"https://", "http://"} {
		host, on := strings.CutPrefix(begin, scheme)
		switch {
		case strings.HasPrefix(scheme, begin):
			return "another server"
		case on && !strings.Contains(host, "/"):
			return "another page, and in older releases of Keycloak (24.0 and 26.0, not 26.7) to another server: " + begin + ".example.org fits too"
		case on:
			return "another page"
		}
	}
	return ""
}
