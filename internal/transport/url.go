package transport

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// ServerURL parses text, the address of a server in the configuration. It returns the URL without
// a slash at the end. The error says what is wrong with the address, and what to write. It shows
// the parameter example as a right address. The error begins with a verb, so the caller must put
// the key of the configuration before it. The error quotes text only if text certainly holds no
// credentials.
func ServerURL(text, example string) (*url.URL, error) {
	switch {
	case text == "":
		return nil, fmt.Errorf("is missing: write %s", example)
	case strings.Contains(text, "@"):
		return nil, errors.New("contains an @. Remove credentials from the URL: they have their own keys")
	case !strings.Contains(text, "://"):
		return nil, fmt.Errorf("%q has no scheme: write https://%s", text, text)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%q is no URL: write %s", text, example)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%q has the scheme %s: write http or https", text, u.Scheme)
	case u.Hostname() == "":
		return nil, fmt.Errorf("%q has no host: write %s", text, example)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("has a query or a fragment. Remove everything after the path")
	case strings.Contains(text+"/", "/realms/"):
		return nil, fmt.Errorf("%q contains a realm. Remove /realms/ and everything after it, and write the realm into keycloak.realm", text)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}

// InTheClear reports whether requests to the address leave this machine without TLS. They do
// if the address begins with http:// and its host is neither localhost nor a loopback address.
func InTheClear(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return !strings.EqualFold(u.Hostname(), "localhost") && (err != nil || !ip.IsLoopback())
}
