package clearmlenv

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// variable is one of ClearML's variables, from the environment or from the file.
type variable struct {
	name, value string
	origin      string // "environment", or file and line
	elsewhere   bool   // the value is a reference, for example to a Secret, that groupsync cannot resolve
}

// String returns the name of the variable and its source, never its value.
func (v variable) String() string {
	name := v.name
	if strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' }) {
		name = strconv.Quote(name)
	}
	return fmt.Sprintf("%s (%s)", name, v.origin)
}

// short returns the name without its prefix, in lower case, because ClearML ignores the case.
func (v variable) short() string {
	return strings.ToLower(strings.TrimPrefix(strings.TrimPrefix(v.name, prefix), klique))
}

// known reports whether the variable is in names.
func (v variable) known() bool {
	_, is := names[v.short()]
	return is
}

// boolean returns the value as true or false. given is false if the variable has no value.
func (v variable) boolean() (value, given bool, err error) {
	text, v, err := v.text()
	if err != nil {
		return false, false, fmt.Errorf("%s: %w", v, err)
	}
	switch strings.ToLower(text) {
	case "true":
		return true, true, nil
	case "false":
		return false, true, nil
	case "":
		return false, false, nil
	}
	return false, false, fmt.Errorf("%s: %q is neither true nor false: write one of them", v, text)
}

// text returns the value as ClearML reads a text: without quotes, without a comment, and
// empty if the value is null. It also returns v, which callers need for their errors.
func (v variable) text() (string, variable, error) {
	text := strings.TrimSpace(v.value)
	if strings.HasPrefix(text, `"`) {
		var inner string
		if err := json.Unmarshal([]byte(text), &inner); err != nil {
			return "", v, errors.New("begins with a quote and does not end with one: correct the quotes")
		}
		return inner, v, nil
	}
	text, _, _ = strings.Cut(text, "#")
	text = strings.TrimSpace(text)
	if text == "null" {
		text = ""
	}
	return text, v, nil
}

const exampleURL = "https://auth.example.com/realms/NAME"

// SplitURL splits the URL of a realm or of its endpoint into Keycloak's own URL (root) and the
// name of the realm. realm is empty if the URL contains no realm. The error does not quote a URL
// that may hold credentials.
func SplitURL(text string) (root, realm string, err error) {
	text, _, _ = strings.Cut(text, "?")
	if strings.Contains(text, "@") {
		return "", "", errors.New("contains an @. Remove credentials from the URL")
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return "", "", fmt.Errorf("%q is not a URL: write %s for example", text, exampleURL)
	}
	path, rest, _ := strings.Cut(strings.TrimRight(u.EscapedPath(), "/")+"/", "/realms/")
	root = u.Scheme + "://" + host(u) + strings.TrimRight(path, "/")
	if rest == "" {
		return root, "", nil
	}
	name, tail, _ := strings.Cut(rest, "/")
	if tail != "" && !strings.HasPrefix(tail, "protocol/openid-connect/") {
		return "", "", fmt.Errorf("%q has a path after the realm that is not /protocol/openid-connect: write %s for example", text, exampleURL)
	}
	realm, err = url.PathUnescape(name)
	if err != nil || realm == "" {
		return "", "", fmt.Errorf("%q names no realm: write %s for example", text, exampleURL)
	}
	return root, realm, nil
}

// host returns the host in lower case, without the default port of the scheme.
func host(u *url.URL) string {
	h := strings.ToLower(u.Host)
	if port := map[string]string{"http": ":80", "https": ":443"}[u.Scheme]; strings.HasSuffix(h, port) {
		return strings.TrimSuffix(h, port)
	}
	return h
}
